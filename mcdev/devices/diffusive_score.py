"""The score of diffusive memristors: damped tangents, and a likelihood ratio that a trajectory carries along.

Differentiating a Langevin trajectory at fixed random numbers is finite, has small error bars and is wrong: tangents
grow as exp(|U''| t/η) on barrier tops, and what they are worth is carried by events that are never sampled. So the
growing part is taken out of the tangent and put into the weight of the trajectory (Girsanov 1960; for likelihood
ratios of Markov chains Glynn 1990, doi:10.1145/84537.84552). For each step x' = x + h F(x) + s ξ, with J = ∂F/∂x,

    δx'  = (1 + h min(J, 0)) δx + h ∂F/∂p + F ∂h/∂p + ξ ∂s/∂p       the tangent that a recorded number sees
    S'   = S + Σ_i ξ_i h max(J_i, 0) δx_i/s                          the score: derivative of the log-likelihood

    d E[y]/dp = E[∂y·δx + (y - b) S],     b any baseline that does not see the noise ahead of it.

`docs/gradients.md` derives it, and says what it was compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, UInt32

from mcdev.devices.contract import Devices, LaneKey, PerLane
from mcdev.devices.diffusive_particles import DiffusiveDevices, DiffusiveState
from mcdev.devices.landscape import Landscape, PeriodicPinning
from mcdev.devices.ohmic import Ohmic
from mcdev.devices.tunnelling import relative_conductance
from mcdev.integrators.interval import Interval
from mcdev.integrators.langevin import Positions, euler_maruyama, reflect
from mcdev.integrators.noise import normal_pair

_BLOCK = 64  # lanes whose particles are sorted together
_MOST_WELLS = 16
_SPARSE = 0.5  # ρ_0 of the draw at rest, where the density of a half that is spread evenly is one


def carrying_score(batch: Any, whole: DiffusiveDevices) -> ScoredDevices:
    """Some devices of a whole ensemble, or a direction of them, as a batch whose trajectories carry their score."""
    return ScoredDevices(batch, _wells(whole))


@jax.custom_jvp
def _move(
    landscape: Landscape, live: Bool[Array, ""], pull: PerLane, h: PerLane, s: PerLane, x: Positions, xi: Positions
) -> tuple[Positions, PerLane]:
    """One step of Euler-Maruyama between the walls, and what it adds to the score: zero, but not its tangent."""
    return reflect(euler_maruyama(lambda x: landscape.force(x) + pull, x, h, s, xi, x)), jnp.zeros_like(h)


@_move.defjvp
def _move_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    landscape, live, pull, h, s, x, xi = primals
    d_landscape, _, d_pull, d_h, d_s, d_x, _ = tangents

    leaves = jax.tree.leaves(landscape)
    per_lane = all(leaf.ndim == 1 for leaf in leaves)  # not so with random pinning, whose wells differ

    def forces() -> tuple[Positions, Positions, list[Positions]]:
        # Every particle feels its own position alone, so one product gives the diagonal that is the whole Jacobian.
        force, slope = jax.jvp(landscape.force, (x,), (jnp.ones_like(x),))
        return force + pull, slope, _slopes(landscape, x) if per_lane else []

    force, slope, by_leaf = _apart(live, forces)
    after = x + h * force + s * xi
    free = h * d_pull + force * d_h + xi * d_s + (1.0 + h * jnp.minimum(slope, 0.0)) * d_x
    if per_lane:
        for by, along in zip(by_leaf, jax.tree.leaves(d_landscape), strict=True):
            free += h * by * along
    else:
        free += h * jax.jvp(lambda landscape: landscape.force(x), (landscape,), (d_landscape,))[1]
    mirrored = jnp.where(jnp.abs(after) > 1.0, -free, free)
    excess = jnp.sum(h / s * jnp.maximum(slope, 0.0) * xi * d_x, axis=0)
    return (reflect(after), jnp.zeros_like(h)), (mirrored, excess)


def _apart(live: Bool[Array, ""], compute: Callable[[], Any]) -> Any:
    """The same numbers, behind the border of a conditional. The compiler fuses across anything else, and would repeat
    them, random numbers included, in each direction's tangent: three times the cost. ``live`` must be true and
    unknown to the compiler."""
    shapes = jax.eval_shape(compute)
    return lax.cond(live, compute, lambda: jax.tree.map(lambda out: jnp.zeros(out.shape, out.dtype), shapes))


def _slopes(landscape: Landscape, x: Positions) -> list[Positions]:
    """Derivative of the force by each array [lane] of the landscape."""
    leaves, structure = jax.tree.flatten(landscape)

    def by(k: int) -> Positions:
        def force(leaf: Array) -> Positions:
            return jax.tree.unflatten(structure, [*leaves[:k], leaf, *leaves[k + 1 :]]).force(x)

        return jax.jvp(force, (leaves[k],), (jnp.ones_like(leaves[k]),))[1]

    return [by(k) for k in range(len(leaves))]


@jax.custom_jvp
def _conductance(x: Positions, tunnelling_length: PerLane) -> PerLane:
    """g of the chain, a few lanes at a time: the sorting network must stay behind the border of a loop, or the
    compiler copies it into everything that uses its result."""
    particles, lanes = x.shape
    blocks = (x.reshape(particles, -1, _BLOCK).swapaxes(0, 1), tunnelling_length.reshape(-1, _BLOCK))
    return lax.map(lambda block: relative_conductance(*block), blocks).reshape(lanes)


@_conductance.defjvp
def _conductance_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[PerLane, PerLane]:
    """With g = n/Σ e_k over the n gaps, e_k = exp[(gap_k - 2/n)/λ]:

    ∂g/∂x_i = -(g²/n) (e_left of i - e_right of i)/λ      ∂g/∂λ = (g²/n) Σ e_k (gap_k - 2/n)/λ²

    The gaps beside each particle are found once for all directions; tangents through the sorting network would
    sort them again for each.
    """
    x, length = primals
    g, n = _conductance(x, length), x.shape[0] + 1
    to_left, to_right = _gaps(x)
    first = jnp.min(x, axis=0) + 1.0

    def term(gap: Array) -> Array:
        return jnp.exp((gap - 2.0 / n) / length)

    by_x = (term(to_right) - term(to_left)) / length
    stretch = jnp.sum(term(to_right) * (to_right - 2.0 / n), axis=0) + term(first) * (first - 2.0 / n)
    rise = jnp.sum(by_x * tangents[0], axis=0) + stretch / length**2 * tangents[1]
    return g, g * g / n * rise


def _gaps(x: Positions) -> tuple[Positions, Positions]:
    """Distance from each particle to its neighbours, or the walls, on the left and on the right."""

    def body(j: int, nearest: tuple[Positions, Positions]) -> tuple[Positions, Positions]:
        left, right = nearest
        return jnp.maximum(left, jnp.where(x[j] < x, x[j], -1.0)), jnp.minimum(right, jnp.where(x[j] > x, x[j], 1.0))

    left, right = lax.fori_loop(0, x.shape[0], body, (jnp.full_like(x, -1.0), jnp.ones_like(x)))
    return x - left, right - x


class ScoredState(NamedTuple):
    x: Positions
    theta: PerLane
    g: PerLane
    score: PerLane
    """Zero; its tangent is the derivative of the log-likelihood of all noise so far."""


class ScoredDevices(Devices):
    """Diffusive memristors whose tangents are damped and whose trajectories carry their score."""

    noisy: ClassVar[bool] = True

    inner: DiffusiveDevices
    wells: int = eqx.field(static=True)

    def rest(self, key: LaneKey) -> ScoredState:
        """The equilibrium inside each half of the gap follows the parameters, and its tangents are damped too.

        By inversion a particle moves with u = -∂F/ρ, F the cumulated density: far where ρ is small, on the barriers.
        It is let go at c u only, c = ρ/(ρ + ρ_0), and continuity, ∂ρ = -(ρ c u)' + ρ S, leaves for the score

            S = (1 - c) (∂_p ln ρ + c u ∂_x ln ρ).
        """
        draw, held = self.inner.draw(key), lax.stop_gradient
        zero = jnp.zeros_like(self.inner.theta_0)
        if self.inner.bridge:
            x, score = draw.x, zero
        else:
            log_z = jnp.where(draw.on_left, draw.log_left, draw.log_right)

            def log_density(x: Positions) -> Positions:
                return -draw.landscape.single_particle_energy(x) / self.inner.theta_0 - log_z

            damp = held(jax.nn.sigmoid(log_density(draw.x) - np.log(_SPARSE)))
            x = held(draw.x) + damp * (draw.x - held(draw.x))
            log_weight = (1.0 - damp) * log_density(x)
            if self.inner.left is None:  # which half was drawn, too
                log_weight += log_z - jnp.logaddexp(draw.log_left, draw.log_right)
            score = jnp.sum(log_weight - held(log_weight), axis=0)
        g = _conductance(x, self.inner.parameters["tunnelling_length"])
        return ScoredState(x, self.inner.theta_0 + zero, g, score)

    def current_law(self, state: ScoredState) -> Ohmic:
        return Ohmic(self.inner.parameters["maximum_conductance"] * state.g)

    def advance(
        self,
        state: ScoredState,
        voltage: PerLane,
        current: PerLane,
        interval: Interval,
        key: LaneKey,
        clock: UInt32[Array, " lane"],
    ) -> ScoredState:
        """All lanes take the same number of steps here."""
        move, live = self.inner.kinetics(state.theta, voltage, current, interval), interval.most > 0
        particle = jnp.arange(state.x.shape[0], dtype=jnp.uint32)[:, None]

        def body(i: UInt32[Array, ""], carry: tuple[Positions, PerLane]) -> tuple[Positions, PerLane]:
            x, score = carry
            counter = (jnp.broadcast_to(clock + i, x.shape), particle)
            noise: tuple[Positions, Positions] = _apart(live, lambda: normal_pair(key, counter, state.x.dtype))
            for xi in noise:
                x, excess = _move(self.inner.landscape, live, move.pull, move.h, move.s, x, xi)
                score = score + excess
            return x, score

        x, score = lax.fori_loop(jnp.uint32(0), interval.most, body, (state.x, state.score))
        g = _conductance(x, self.inner.parameters["tunnelling_length"])
        return ScoredState(x, move.theta, g, score)

    def observe(self, state: ScoredState, voltage: PerLane) -> dict[str, PerLane]:
        return {"temperature": state.theta * self.inner.kelvin}

    def profile(self, state: ScoredState) -> dict[str, Float[Array, "bin lane"]]:
        return {}

    def snapshot(self, state: ScoredState) -> dict[str, Float[Array, "part lane"]]:
        """The score, and what a critic may know of the state: ln g, g, θ, the largest gap, particles in each well."""
        return {"score": state.score[None], "feature": lax.stop_gradient(self.features(state))}

    def features(self, state: ScoredState) -> Float[Array, "feature lane"]:
        to_left, to_right = _gaps(state.x)
        largest = jnp.maximum(jnp.max(to_left, axis=0), jnp.max(to_right, axis=0))
        well = self._well(state.x)
        held = [jnp.sum(well == k, axis=0).astype(state.x.dtype) for k in range(self.wells)]
        return jnp.stack([jnp.log(state.g), state.g, state.theta, largest, *held])

    def _well(self, x: Positions) -> Positions:
        """Number of the pinning well that holds each particle, from the left; equal bins if they are random."""
        pinning = self.inner.landscape.pinning
        if not isinstance(pinning, PeriodicPinning):
            return jnp.clip(jnp.floor((x + 1.0) * (0.5 * self.wells)), 0, self.wells - 1)
        lowest, highest = (jnp.round(end * pinning.per_period + pinning.turns + 0.25) for end in (-1.0, 1.0))
        number = jnp.round(x * pinning.per_period + pinning.turns + 0.25) - lowest
        return jnp.floor(number * jnp.minimum(self.wells / (highest - lowest + 1.0), 1.0))

    def intact(self, state: ScoredState) -> Bool[Array, " lane"]:
        held = DiffusiveState(state.x, state.theta, state.x, state.g)
        return self.inner.intact(held)


def _wells(devices: DiffusiveDevices) -> int:
    pinning = devices.landscape.pinning
    if not isinstance(pinning, PeriodicPinning):
        return _MOST_WELLS
    return min(int(np.ceil(2 * float(np.max(np.asarray(pinning.per_period))))) + 1, _MOST_WELLS)
