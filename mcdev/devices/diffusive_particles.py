"""A batch of diffusive memristors: particles, temperature, conductance. The equations stand in `diffusive.py`."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt32

from mcdev.devices.contract import LaneKey, PerLane
from mcdev.devices.landscape import Landscape
from mcdev.devices.nanoparticles import NanoparticleDevices, initial_draws
from mcdev.devices.tunnelling import conductance_once, relative_conductance
from mcdev.integrators import resident
from mcdev.integrators.elementary import plain_gaussian
from mcdev.integrators.interval import Interval
from mcdev.integrators.langevin import Scheme, diffuse

_GRID = 1024  # points of each half on which the resting density is inverted


class DiffusiveState(NamedTuple):
    x: Float[Array, "particle lane"]
    """Positions in units of L."""
    theta: PerLane
    """k_B T/w_p."""
    before: Float[Array, "particle lane"]
    """The last noise, which only leimkuhler_matthews uses."""
    g: PerLane
    """G/G_max at these positions. Part of the state so that a loop computes it once: otherwise the compiler
    repeats the sorting of the particles in everything that uses it."""


class Draw(NamedTuple):
    """Positions at rest, and the densities exp(-U/θ_0)/Z of either half of the gap that they were drawn from."""

    x: Float[Array, "particle lane"]
    on_left: Bool[Array, "particle lane"]
    landscape: Landscape
    log_left: PerLane
    """ln Z of the left half; the share of the halves in equilibrium is as their Z."""
    log_right: PerLane


class Kinetics(NamedTuple):
    """What moves the particles while voltage and current are held, and the temperature after it."""

    h: PerLane
    """κ dt/η: the mobility times one step."""
    s: PerLane
    """Noise amplitude of one step."""
    pull: PerLane
    """f v, the force of the field."""
    theta: PerLane
    """θ at the end of the interval."""


def _pulled(field: tuple[Landscape, PerLane], x: Float[Array, ...]) -> Float[Array, ...]:
    """The force on particles, each by itself, under a pull. No derivative is taken of it."""
    landscape, pull = field
    return landscape.force(x, plain_gaussian) + pull


class DiffusiveDevices(NanoparticleDevices):
    """A batch of diffusive memristors; see the equations of `diffusive.py`."""

    noisy: ClassVar[bool] = True

    landscape: Landscape
    full_depth: PerLane
    """Of the left well, or both, with what of it acts between particles."""
    full_right: PerLane | None
    """Of the right well where it has a depth of its own."""
    bridge: bool = eqx.field(static=True)
    scheme: Scheme = eqx.field(static=True)

    def rest(self, key: LaneKey) -> DiffusiveState:
        """Each particle from the Boltzmann density of its half of the gap, by inversion, or anywhere; T = T_0."""
        x = self.draw(key).x
        g = conductance_once(x, self.parameters["tunnelling_length"])
        return DiffusiveState(x, self.theta_0, jnp.zeros_like(x), g)

    def draw(self, key: LaneKey) -> Draw:
        """Where the particles begin, and what they were drawn from."""
        lanes, dtype = self.theta_0.shape[0], self.theta_0.dtype
        u, side = initial_draws(key, self.particles, lanes, dtype)

        wells = eqx.tree_at(lambda w: w.depth, self.landscape.wells, self.full_depth)
        if self.full_right is not None:
            wells = eqx.tree_at(lambda w: w.right.depth, wells, self.full_right)
        resting = Landscape(wells, self.landscape.pinning, None)
        distance = jnp.linspace(0.0, 1.0, _GRID, dtype=dtype)[:, None]

        @jax.vmap  # both halves by one program: half of what the compiler has to do
        def inverse(sign: Float[Array, ""]) -> tuple[Float[Array, "particle lane"], PerLane]:
            energy = resting.single_particle_energy(sign * jnp.broadcast_to(distance, (_GRID, lanes)))
            weight = jnp.exp((jnp.min(energy, axis=0) - energy) / self.theta_0)
            cumulated = jnp.cumsum(0.5 * (weight[1:] + weight[:-1]), axis=0)
            total = cumulated[-1]
            cumulated = jnp.concatenate([jnp.zeros_like(total)[None], cumulated / total])
            at = jax.vmap(lambda u, c: jnp.interp(u, c, distance[:, 0]), in_axes=1, out_axes=1)(u, cumulated)
            return sign * at, jnp.log(total) - jnp.min(energy, axis=0) / self.theta_0

        (x_left, x_right), (log_left, log_right) = inverse(jnp.array([-1.0, 1.0], dtype))
        on_left = self.on_left(side, jax.nn.sigmoid(log_left - log_right))
        x = jnp.where(on_left, 1.0 - 2.0 * u, 2.0 * u - 1.0) if self.bridge else jnp.where(on_left, x_left, x_right)
        step = jnp.log(distance[1, 0])
        return Draw(x, on_left, resting, log_left + step, log_right + step)

    def advance(
        self,
        state: DiffusiveState,
        voltage: PerLane,
        current: PerLane,
        interval: Interval,
        key: LaneKey,
        clock: UInt32[Array, " lane"],
    ) -> DiffusiveState:
        """Advance temperature and particles with voltage and current held over the interval."""
        move = self.kinetics(state.theta, voltage, current, interval)
        given = move.h, move.s, key, clock, interval
        if resident.possible(self.scheme, state.x) and self.landscape.each_alone:
            x = resident.diffuse(self.scheme, _pulled, (self.landscape, move.pull), state.x, *given)
            before = state.before
        else:
            x, before = diffuse(
                self.scheme, lambda x: self.landscape.force(x) + move.pull, state.x, state.before, *given
            )
        g = relative_conductance(x, self.parameters["tunnelling_length"])
        return DiffusiveState(x, move.theta, before, g)

    def kinetics(self, theta: PerLane, voltage: PerLane, current: PerLane, interval: Interval) -> Kinetics:
        """Power is held over the interval, for which eq. 5 is solved exactly; the particles move at the
        temperature of the interval's middle."""
        p = self.parameters
        v = voltage / p["threshold_voltage"]
        step = p["cooling_rate"] * interval.step
        elapsed = step * (2.0 * interval.pairs.astype(step.dtype))
        middle, after = self.heated(theta, voltage, current, elapsed)
        h = step / p["friction"]
        return Kinetics(h, jnp.sqrt(2.0 * middle * h), p["drift"] * v, after)

    def profile(self, state: DiffusiveState) -> dict[str, Float[Array, "bin lane"]]:
        return self.counted(state.x)

    def intact(self, state: DiffusiveState) -> Bool[Array, " lane"]:
        return jnp.isfinite(state.theta) & jnp.all(jnp.isfinite(state.x), axis=0)
