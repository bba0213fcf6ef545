"""Particles that hop along a chain of sites, event by event (Gillespie 1977, doi:10.1021/j100540a008).

Particles are alike, so how many stand at each site is all there is. In a lane the next hop comes after a time that is
exponential with the sum of all rates, and is one of them in proportion to its rate: exact while rates are held, also
where a hop changes the rates of all others.

    E_own(N) = ½ c Σ_T max(0, N_T - N_0)²,  N_T = Σ_i n_i s_T(i)        k → k e^{-ΔE_own/2θ} of that hop

``ΔE_own`` is that of the hop itself, so that detailed balance holds whatever the number of particles.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, UInt32

from mcdev.integrators.elementary import minus_twice_logarithm
from mcdev.integrators.noise import threefry

MOST = np.uint32(2**22)
"""Hops of a lane in one interval: beyond, it is given up rather than followed for hours."""

Sites = Float[Array, "site lane"]
PerLane = Float[Array, " lane"]
LaneKey = tuple[UInt32[Array, " lane"], UInt32[Array, " lane"]]


class Crowding(NamedTuple):
    """How particles that share a cluster push each other out."""

    push: Float[Array, "cluster lane"]
    """c/θ: of one particle more, in k_B T."""
    content: Float[Array, "cluster lane"]
    """N_0, up to which there is none."""
    share: Float[Array, "cluster site lane"]
    """s: how much of a particle at each site counts."""

    def energy(self, held: Array) -> Array:
        """E_own/k_B T of each cluster that holds this much; [cluster, …, lane]."""
        between = (slice(None), *(None,) * (held.ndim - 2))
        over = jnp.maximum(held - self.content[between], 0.0)
        return 0.5 * self.push[between] * over * over

    def held(self, n: Sites) -> Float[Array, "cluster lane"]:
        total = jnp.zeros_like(self.content)
        for k in range(n.shape[0]):  # written out, so that the order of the sum is everywhere the same
            total = total + n[k] * self.share[:, k]
        return total

    def steps(self) -> tuple[Array, Array]:
        """By how much a hop to the right, and one to the left, from each site changes what each cluster holds."""
        onward = self.share[:, 1:] - self.share[:, :-1]
        none = jnp.zeros_like(self.share[:, :1])
        return jnp.concatenate([onward, none], axis=1), jnp.concatenate([none, -onward], axis=1)

    def factors(self, held: Float[Array, "cluster lane"]) -> tuple[Sites, Sites]:
        """Of the rates of these hops."""
        now = self.energy(held)[:, None]
        rises = (self.energy(held[:, None] + step) - now for step in self.steps())
        to_right, to_left = (jnp.exp(-0.5 * (rise[0] + rise[1])) for rise in rises)
        return to_right, to_left


class Hopping(NamedTuple):
    """Where a batch of lanes is within an interval."""

    n: Sites
    held: Float[Array, "cluster lane"] | None
    """What the clusters hold, with the hop that was drawn."""
    time: PerLane
    event: PerLane
    """The hop that was drawn and not made yet: twice the site, plus one for a hop to the right; -1 for none."""
    j: UInt32[Array, ""]


def hop(
    n: Sites,
    right: Sites,
    left: Sites,
    crowding: Crowding | None,
    duration: PerLane,
    key: LaneKey,
    clock: UInt32[Array, " lane"],
) -> tuple[Sites, Bool[Array, " lane"]]:
    """The particles at each site after ``duration``, at these rates of one particle (to the next site, 0 at the last;
    to the one before, 0 at the first; per unit of that time), and whether that time was reached in ``MOST`` hops. Event
    j of an interval uses the random numbers (clock, j)."""
    sites = n.shape[0]
    number = jnp.arange(sites, dtype=n.dtype)[:, None]

    def after(n: Sites, event: PerLane) -> Sites:
        site = jnp.floor(0.5 * event)
        reached = jnp.where(event > 2.0 * site, site + 1.0, site - 1.0)
        moved = jnp.where(number == reached, 1.0, 0.0) - jnp.where(number == site, 1.0, 0.0)
        return jnp.where(event < 0, n, n + moved)

    def onward(at: Hopping) -> Hopping:
        """The hop that was drawn before is made here. So the loop is a border between choosing one of the sites and
        looking at each of them; the compiler would otherwise work out the former again for each of the latter."""
        n, held = after(at.n, at.event), at.held
        to_right, to_left = right, left
        if crowding is not None and held is not None:
            of_right, of_left = crowding.factors(held)
            to_right, to_left = right * of_right, left * of_left
        going = n * to_right
        leaving = going + n * to_left
        cumulated = [leaving[0]]  # written out over the sites, so that it fuses into one pass over the lanes
        for k in range(1, sites):
            cumulated.append(cumulated[-1] + leaving[k])
        total = cumulated[-1]
        a, b = threefry(key, (clock, jnp.broadcast_to(at.j, clock.shape)))
        then = at.time + 0.5 * minus_twice_logarithm(a, at.time.dtype) / total
        # The 32 bits and the 8 that the waiting time leaves: a rare hop of a full cluster must not fall between them.
        share = (b.astype(total.dtype) + (a & jnp.uint32(255)).astype(total.dtype) / 256.0 + 2.0**-9) * 2.0**-32
        target = share * total
        beyond = [sum_to < target for sum_to in cumulated[:-1]]

        def chosen(of_sites: Array) -> Array:
            """What stands at the hop's site."""
            found = of_sites[0]
            for k, past in enumerate(beyond):
                found = jnp.where(past, of_sites[k + 1], found)
            return found

        rightwards = target - chosen(jnp.stack([jnp.zeros_like(total), *cumulated[:-1]])) < chosen(going)
        event = chosen(2.0 * jnp.broadcast_to(number, n.shape)) + jnp.where(rightwards, 1.0, 0.0)
        happens = then < duration
        if crowding is not None and held is not None:
            step_right, step_left = (jnp.stack([chosen(of) for of in steps]) for steps in crowding.steps())
            held = held + jnp.where(happens, jnp.where(rightwards, step_right, step_left), 0.0)
        return Hopping(
            n, held, jnp.where(happens, then, duration), jnp.where(happens, event, -1.0), at.j + jnp.uint32(1)
        )

    held = None if crowding is None else crowding.held(n)
    begin = Hopping(n, held, jnp.zeros_like(duration), jnp.full_like(duration, -1.0), jnp.uint32(0))
    end = lax.while_loop(lambda at: (at.j < MOST) & jnp.any(at.time < duration), onward, begin)
    return after(end.n, end.event), end.time >= duration
