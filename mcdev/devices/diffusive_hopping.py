"""The diffusive memristor in the hopping view: what `diffusive.py` does in steps, done hop by hop.

Reduced units as there. Particles stand at milestones of the landscape (`milestones.py`) and hop between neighbours with
exact rates; a hop at 300 K in a real device stands for some 1e5 steps of the Langevin equation.

    k(i → i±1)  as milestones.py has it, at the voltage and temperature of the interval
    x_i         drawn from h e^-E around the particle's milestone, anew in every interval
    g    = R_min/R_M(sorted x)                                          (eq. 3, tunnelling.py)
    dθ   = [h v² g - (θ - θ_0)] dt                                      (eq. 5)

Equilibrium and every mean first passage are those of `diffusive.py`; the distribution of a passage is approximate, and
`forgetting` says how far. Between two solutions of the circuit voltage and temperature are held; what happens then is
exact (`integrators/hops.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, UInt32
from scipy.constants import Boltzmann

from mcdev.devices.contract import Accuracy, LaneKey, Pace, PerLane, per_lane
from mcdev.devices.milestones import (
    PANELS,
    Chain,
    Milestones,
    chain,
    forgetting,
    hops_at_equilibrium,
    lengths,
    milestones,
)
from mcdev.devices.nanoparticles import NanoparticleDevices, Nanoparticles, initial_draws
from mcdev.devices.tunnelling import conductance_of_chain
from mcdev.integrators.hops import Crowding, hop
from mcdev.integrators.interval import Interval
from mcdev.integrators.noise import threefry, uniform
from mcdev.machine.environment import computing
from mcdev.schema import extremes, typical

_POSITIONS = np.uint32(1 << 31)
"""Counter words from here on draw positions, those below it hops."""
_FINE = 2.0**30  # steps of a position in a half of the gap
_HOPS = 0.5  # of a particle in the gap, between two solutions of a circuit that divides the voltage: docs/numerics.md
_FORGETS = 0.05  # difference of squared coefficients of variation, up to which a hop is as good as exponential
_EVENTS = 1e4  # hops of all particles in an interval, if all stood in the gap: one compiled call is to end in seconds
_HEATED = 0.1  # of 1/κ, between two solutions where a current heats


class DiffusiveHopping(Nanoparticles):
    """Metal nanoparticles that hop between milestones. Pure numbers are in units of the five scales."""

    kind: Literal["diffusive_hopping"] = "diffusive_hopping"
    subdivision: Literal["auto", 1, 2, 4] = "auto"
    """Number of milestones in a period of the pinning. auto: the smallest number with which the time of a hop is close
    to exponential at the voltages of the protocol (docs/views.md); 1 where no voltages are known."""

    differentiable: ClassVar[bool] = False
    adaptive: ClassVar[bool] = True
    single_precision: ClassVar[bool] = False
    call_steps: ClassVar[int] = 200  # two an interval, each of which may have ten thousand hops
    lanes: ClassVar[dict[str, int]] = {"cpu": 256, "gpu": 16384, "tpu": 8192}
    remedy: ClassVar[str] = "look for extreme parameters or voltages, under which particles hop without end"

    @property
    def rate_equations(self) -> str:
        return "the hopping view is not fitted: export the family diffusive"

    def pace(self, voltage: float) -> Pace:
        """As long as a sample, but no longer than ten thousand hops take; where a current heats, no longer
        than a tenth of the cooling time."""
        power = (voltage / extremes(self.threshold_voltage)[0]) ** 2
        heat = extremes(self.heating)[1] * power
        interval = _EVENTS / (self.particles * max(self.hop_rate(abs(voltage), heat), 1e-25))  # frozen: for ever
        if heat:
            interval = min(interval, _HEATED / extremes(self.cooling_rate)[1])
        return Pace(interval, 0.5 * interval)

    def divided_pace(self, voltage: float) -> Pace:
        """In which a particle in the gap makes half a hop."""
        pace = self.pace(voltage)
        if voltage == 0:
            return pace
        interval = min(pace.coupling, _HOPS / self.hop_rate(abs(voltage)))
        return Pace(interval, 0.5 * interval)

    # ------------------------------------------------------------------------------- how good the hops are

    @functools.cached_property
    def _minima(self) -> Milestones:
        """Of the median device."""
        landscape = self.median_landscape(np.float64)
        with computing(True):
            return jax.tree.map(np.asarray, milestones(landscape, self._most, 1))

    @property
    def _most(self) -> int:
        """Periods of the pinning that begin in the gap, of any device."""
        return int(np.ceil(2.0 / self.span("pinning_period")[0])) + 1

    @property
    def _parts(self) -> int:
        """Milestones a period; 1 where the choice is the program's and no voltage is known."""
        return 1 if self.subdivision == "auto" else self.subdivision

    def forgetting(self, voltage: float, temperature: float | None = None, parts: int | None = None) -> float:
        """How far the hops of the median device are from exponential, at this voltage of either polarity (V) and
        temperature (K, the background's by default), with its own milestones a period or so many:
        `milestones.forgetting`."""
        theta = self.median_theta if temperature is None else Boltzmann * temperature / typical(self.pinning_energy)
        pull = typical(self.drift) * abs(voltage) / typical(self.threshold_voltage)
        return max(forgetting(self._minima, parts or self._parts, sign * pull, theta) for sign in (1.0, -1.0))

    def under(self, voltage: float) -> DiffusiveHopping:
        if self.subdivision != "auto":
            return self
        return self.model_copy(update={"subdivision": self._chosen(voltage)[0]})

    def _chosen(self, voltage: float) -> tuple[int, float]:
        """Milestones a period up to this voltage, and what is left of forgetting with them."""
        for parts in (1, 2, 4) if self.subdivision == "auto" else (self._parts,):
            off = self.forgetting(voltage, parts=parts)
            if off < _FORGETS:
                break
        return parts, off

    def accuracy(self, voltage: float) -> list[Accuracy]:
        parts, off = self._chosen(voltage)
        each = "one milestone" if parts == 1 else f"{parts} milestones"
        said = (
            f"{each} a period of the pinning, over which a particle hops up to {self.hop_rate(abs(voltage)):.2g} times "
            f"a second; up to {voltage:.3g} V, at the background temperature, the distribution of a first passage over "
            f"one well is off by at most {0.5 * off:.1g}, its mean by nothing"
        )
        good = off < _FORGETS
        if not good:
            said += ': nearly no well is left, so that nothing hops. Write kind = "diffusive", which follows the drift'
        hottest = typical(self.heating) * (voltage / typical(self.threshold_voltage)) ** 2
        if hottest > 0:
            kelvin = typical(self.background_temperature) + hottest * typical(self.pinning_energy) / Boltzmann
            heated = self.forgetting(voltage, kelvin, parts)
            said += f". At the full power of G_max ({kelvin:.3g} K) by {0.5 * heated:.1g}"
            good = good and heated < _FORGETS
        return [Accuracy("subdivision", off, said, good)]

    def visited(self, most: Mapping[str, float]) -> list[Accuracy]:
        volts, kelvin = most.get("device_voltage"), most.get("temperature")
        if volts is None or kelvin is None:
            return []
        off = self.forgetting(volts, kelvin)
        said = (
            f"up to {volts:.3g} V across it and {kelvin:.4g} K, which were met, the distribution of a first "
            f"passage over one well is off by at most {0.5 * off:.1g}"
        )
        return [Accuracy("subdivision", off, said, off < _FORGETS)]

    def events(self, voltage: float) -> float:
        """Hops of all particles, of the median device at the background temperature."""
        pull = typical(self.drift) * abs(voltage) / typical(self.threshold_voltage)
        scale = self.particles * typical(self.cooling_rate) / typical(self.friction)
        return scale * max(hops_at_equilibrium(self._minima, f, self.median_theta) for f in (0.0, pull))

    def build(
        self, draws: dict[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any
    ) -> DiffusiveHoppingDevices:
        p = self.shares({name: np.asarray(value, dtype=np.float64) for name, value in draws.items()})

        def lanes(value: np.ndarray) -> Any:
            return per_lane(value, dtype)

        landscape = self.landscape(p, seed, devices, lanes)
        of = jax.tree.map(np.asarray, milestones(landscape, self._most, self._parts))
        crowding = None
        if landscape.capacity is not None:
            near = [
                np.exp(-(((of.at - side * p["interfacial_centre"]) / p["interfacial_width"]) ** 2)) for side in (-1, 1)
            ]
            depths = p["interfacial_energy"] * np.stack([np.ones_like(p["interfacial_ratio"]), p["interfacial_ratio"]])
            content = landscape.capacity.content
            crowding = Crowding(
                lanes(p["capacity_stiffness"] * depths / content),
                lanes(np.stack([content, content])),
                lanes(np.stack(near)),
            )
        return DiffusiveHoppingDevices(
            parameters={name: lanes(value) for name, value in p.items()},
            of=of,
            crowding=crowding,
            theta_0=lanes(Boltzmann * p["background_temperature"] / p["pinning_energy"]),
            kelvin=lanes(p["pinning_energy"] / Boltzmann),
            particles=self.particles,
            left=self.left,
            bridge=self.initial_state == "bridge",
            bins=self.profile_count,
            profile_scale=typical(self.half_gap),
        )


class HoppingState(NamedTuple):
    n: Float[Array, "site lane"]
    """Particles at each milestone."""
    x: Float[Array, "particle lane"]
    """Positions in units of L, from left to right: particles have no names."""
    theta: PerLane
    """k_B T/w_p."""
    g: PerLane
    """G/G_max at these positions."""


class DiffusiveHoppingDevices(NanoparticleDevices):
    """A batch of realisations; see the module's equations."""

    noisy: ClassVar[bool] = True

    of: Milestones
    crowding: Crowding | None
    """With push in units of w_p."""
    bridge: bool = eqx.field(static=True)

    def rest(self, key: LaneKey) -> HoppingState:
        """Each particle at a milestone of its half of the gap, by the weights at T_0, or anywhere; T = T_0."""
        lanes, dtype = self.theta_0.shape[0], self.theta_0.dtype
        u, side = initial_draws(key, self.particles, lanes, dtype)
        resting = chain(self.of, jnp.zeros(lanes, dtype), self.theta_0)
        weight = jnp.exp(resting.log_weight - jnp.max(resting.log_weight, axis=0))
        on_the_left = self.of.at < 0.0
        halves = jnp.stack([jnp.where(on_the_left, weight, 0.0), jnp.where(on_the_left, 0.0, weight)])
        total = jnp.sum(halves, axis=1)
        left = self.on_left(side, total[0] / (total[0] + total[1]))
        if self.bridge:
            both = jnp.cumsum(lengths(self.of, self.theta_0), axis=0)[None]
            cumulated = jnp.concatenate([both, both])
        else:
            cumulated = jnp.cumsum(halves, axis=1)
        target = u * jnp.where(left, cumulated[0, -1], cumulated[1, -1])
        sites = self.of.at.shape[0]

        def passed(k: Array, site: Array) -> Array:
            return site + (jnp.where(left, cumulated[0, k], cumulated[1, k]) < target)

        site = lax.fori_loop(0, sites - 1, passed, jnp.zeros(u.shape, jnp.int32))
        n = lax.map(lambda k: jnp.sum(jnp.where(site == k, 1.0, 0.0).astype(dtype), axis=0), jnp.arange(sites))
        return self._state(n, self.theta_0, resting, key, jnp.full(lanes, 0xFFFFFFFF, jnp.uint32))

    def _state(
        self, n: Float[Array, "site lane"], theta: PerLane, now: Chain, key: LaneKey, clock: UInt32[Array, " lane"]
    ) -> HoppingState:
        x = self.positions(n, now, key, clock)
        return HoppingState(n, x, theta, conductance_of_chain(x, self.parameters["tunnelling_length"]))

    def positions(
        self, n: Float[Array, "site lane"], now: Chain, key: LaneKey, clock: UInt32[Array, " lane"]
    ) -> Float[Array, "particle lane"]:
        """Of each particle, drawn from h e^-E of its milestone: by inversion, evenly within a panel."""
        number = jnp.arange(self.particles, dtype=jnp.uint32)[:, None]
        shape = (self.particles, n.shape[1])
        a, _ = threefry(key, (jnp.broadcast_to(clock, shape), jnp.broadcast_to(number + _POSITIONS, shape)))
        u = uniform(a, n.dtype)

        def passed(k: Array, at: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            site, upto, u = at
            upto = upto + n[k]
            return site + (number.astype(n.dtype) >= upto), upto, u

        # A loop: written out, all this would be worked out again in each of the look-ups that follow.
        begin = jnp.zeros(shape, jnp.int32), jnp.zeros_like(n[0]), u
        site, _, u = lax.fori_loop(0, n.shape[0] - 1, passed, begin)
        edges = 2 * PANELS + 1
        within = now.within.reshape(-1, shape[1])
        panel = jnp.zeros(shape, jnp.int32)
        step = PANELS
        while step:
            further = jnp.take_along_axis(within, site * edges + panel + step, axis=0) < u
            panel, step = panel + jnp.where(further, step, 0), step // 2
        low, high = (jnp.take_along_axis(within, site * edges + panel + i, axis=0) for i in (0, 1))
        share = jnp.clip((u - low) / jnp.where(high > low, high - low, 1.0), 0.0, 1.0)
        second = panel >= PANELS
        bond = site + second
        start = jnp.concatenate([-jnp.ones_like(self.of.at[:1]), self.of.at])
        from_start = panel - jnp.where(second, PANELS, 0) + share
        width = jnp.take_along_axis(self.of.width, bond, axis=0)
        x = jnp.take_along_axis(start, bond, axis=0) + from_start * width
        # Whole numbers are sorted in a third of the time.
        return lax.sort((x * _FINE).astype(jnp.int32), dimension=0).astype(x.dtype) / _FINE

    def advance(
        self,
        state: HoppingState,
        voltage: PerLane,
        current: PerLane,
        interval: Interval,
        key: LaneKey,
        clock: UInt32[Array, " lane"],
    ) -> HoppingState:
        """Power is held over the interval, for which eq. 5 is solved exactly; the particles hop at the temperature of
        its middle."""
        p = self.parameters
        elapsed = p["cooling_rate"] * interval.duration
        middle, after = self.heated(state.theta, voltage, current, elapsed)
        now = chain(self.of, p["drift"] * (voltage / p["threshold_voltage"]), middle)
        reduced = elapsed / p["friction"]
        crowding = None if self.crowding is None else self.crowding._replace(push=self.crowding.push / middle)
        n, followed = hop(state.n, now.right, now.left, crowding, reduced, key, clock)
        return self._state(n, jnp.where(followed, after, jnp.nan), now, key, clock)

    def profile(self, state: HoppingState) -> dict[str, Float[Array, "bin lane"]]:
        return self.counted(state.x)

    def intact(self, state: HoppingState) -> Bool[Array, " lane"]:
        return jnp.isfinite(state.theta) & jnp.all(jnp.isfinite(state.x), axis=0)
