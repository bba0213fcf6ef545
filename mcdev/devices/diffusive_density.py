"""The diffusive memristor in the density view: what `diffusive.py` does with particles, done with their density.

Reduced units as there. Of each realisation the left and the right cluster have a density of their own,

    η ∂p/∂t = ∂/∂x [p ∂U/∂x - f v p + θ ∂p/∂x]      between walls at ±1   (Risken 1989, §5; drift_diffusion.py)
    x_i(t)  = Q(u_i; t)                              Q the quantile of the particle's cluster
    g       = R_min/R_M(sorted x)                                          (eq. 3, tunnelling.py)
    dθ      = [h v² g - (θ - θ_0)] dt                                      (eq. 5)

with shares u_i drawn once, at rest, as `diffusive.py` draws them: the same realisation starts from the same positions.

Where the particles do not act on each other, that is without heating or without a voltage, the mean and the
distribution of g at any time are exact. Under pulses they are 1-5 % off: of two particles that feel the same heat only
the density knows. Always approximate is what one realisation does from one time to the next, since its particles keep
their shares: take a first passage from the mean trajectory. Nothing hops, so a trajectory is smooth in the parameters
and may be differentiated, forwards and backwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, UInt32
from pydantic import Field
from scipy.constants import Boltzmann

from mcdev.devices.contract import LaneKey, Pace, PerLane
from mcdev.devices.landscape import Landscape
from mcdev.devices.nanoparticles import NanoparticleDevices, Nanoparticles, initial_draws
from mcdev.devices.tunnelling import conductance_of_chain
from mcdev.integrators.drift_diffusion import fokker_planck_step
from mcdev.integrators.elementary import gaussian
from mcdev.integrators.interval import Interval
from mcdev.schema import Strict, Unit, extremes, typical

# Coupling interval at v = 1 in units of 1/κ (η = 4).
_COUPLING = 2e-2
_BLUR = 0.04
_SETTLED = 0.1
_UNDRIVEN = 1e-6  # V/V_th below which only the samples cut time


class Mesh(Strict):
    """Equal cells along the gap."""

    cells: int = Field(200, ge=20, le=4000, multiple_of=2)
    """Number of cells. A cell should be at most a tenth of the interfacial width, less where θ is small:
    docs/model.md."""


class Integrator(Strict):
    """How the densities are integrated in time."""

    step: Annotated[float, Unit("s", gt=0)] | Literal["auto"] = "auto"
    """Longest time step; the circuit is solved after every two steps. auto: by the voltage alone, so that without a
    voltage each sample takes two steps. For a relaxation use samples that grow geometrically, as those of the protocol
    pulse."""


class DiffusiveDensity(Nanoparticles):
    """Densities of the metal nanoparticles between two terminals. Pure numbers are in units of the five scales."""

    kind: Literal["diffusive_density"] = "diffusive_density"
    example: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "threshold_voltage": "0.4 V",
            "cooling_rate": "1 kHz",
            "pinning_energy": "0.086 eV",
            "background_temperature": "300 K",
            "half_gap": "7.5 nm",
            "maximum_conductance": "100 uS",
            "tunnelling_length": 0.2,
            "interfacial_energy": 4.5,
            "interfacial_centre": 0.85,
            "interfacial_width": 0.1,
            "pinning_period": 0.15,
            "pinning_phase": "0 rad",
            "drift": 9.0,
            "heating": 1.0,
            "friction": 4.0,
        }
    )
    mesh: Mesh = Mesh()
    """Into how many cells the gap is divided."""
    integrator: Integrator = Integrator()
    """How the densities are integrated."""

    single_precision: ClassVar[bool] = False
    lanes: ClassVar[dict[str, int]] = {"cpu": 64, "gpu": 16384, "tpu": 1024}
    remedy: ClassVar[str] = "look for extreme parameters; a smaller device.integrator.step may help"

    @property
    def rate_equations(self) -> str:
        return "the density view has no ensemble to fit to: export the family diffusive"

    def pace(self, voltage: float) -> Pace:
        """Conductance and temperature change through drift and heating, both driven by the voltage; without one the
        implicit step may be as long as a sample."""
        if self.integrator.step != "auto":
            return Pace(2 * self.integrator.step, self.integrator.step)
        v = max(abs(voltage) / extremes(self.threshold_voltage)[0], _UNDRIVEN)
        eta, kappa = self.span("friction")[0], extremes(self.cooling_rate)[1]
        step = min(self._crowded, 0.5 * _COUPLING / kappa * min(1.0, eta / 4.0) / v**2)
        return Pace(2 * step, step)

    @property
    def _crowded(self) -> float:
        """Longest step (s) for which the content of an overfull cluster may be held: a share of the time in which it
        settles, 1/(χ D) with D = ½ P k (R_p/R_I)² the rate at which hops exchange it, k that of one particle."""
        stiffness = extremes(self.capacity_stiffness)[1]
        if stiffness == 0:
            return np.inf
        theta = Boltzmann * extremes(self.background_temperature)[0] / extremes(self.pinning_energy)[1]
        content = 0.5 * self.particles * extremes(self.capacity_content)[0]
        push = stiffness * extremes(self.interfacial_energy)[1] / (content * theta)
        moved = (self.span("pinning_period")[1] / self.span("interfacial_width")[0]) ** 2
        return _SETTLED / (push * 0.5 * self.particles * self.hop_rate(0.0) * moved)

    def concerns(self) -> list[tuple[str, str]]:
        """The energy in kT that a cell's width blurs at a barrier's top, U'' Δx²/(8 θ), is about twice the error of
        the rate at which it is crossed."""
        theta = Boltzmann * extremes(self.background_temperature)[0] / extremes(self.pinning_energy)[1]
        curvature = 2.0 * (np.pi / self.span("pinning_period")[0]) ** 2
        blur = curvature * (2.0 / self.mesh.cells) ** 2 / (8.0 * theta)
        found = super().concerns()
        if blur <= _BLUR:
            return found
        enough = 50 * int(np.ceil(self.mesh.cells * np.sqrt(blur / _BLUR) / 50))
        return [
            *found,
            ("mesh.cells", f"{self.mesh.cells} cells cross barriers {50 * blur:.0f} % too fast: {enough} would do"),
        ]

    def build(self, draws: dict[str, Any], seed: int, devices: np.ndarray, dtype: Any) -> DiffusiveDensityDevices:
        """Differentiable in the parameters, but for those of random pinning."""

        def lanes(value: Any) -> Float[Array, "... lane"]:
            return jnp.asarray(value, dtype)

        p = self.shares(draws)
        return DiffusiveDensityDevices(
            parameters={name: lanes(value) for name, value in p.items()},
            landscape=self.landscape(p, seed, devices, lanes),
            theta_0=lanes(Boltzmann * p["background_temperature"] / p["pinning_energy"]),
            kelvin=lanes(p["pinning_energy"] / Boltzmann),
            bridge=jnp.full(devices.size, self.initial_state == "bridge"),
            particles=self.particles,
            left=self.left,
            cells=self.mesh.cells,
            bins=self.profile_count,
            profile_scale=typical(self.half_gap),
        )


class DensityState(NamedTuple):
    density: Float[Array, "cell 2 lane"]
    """Of the left and the right cluster, per L, each with integral 1."""
    share: Float[Array, "particle lane"]
    """What part of its cluster lies left of a particle; plus one for the right cluster. Never changes."""
    x: Float[Array, "particle lane"]
    """Positions in units of L."""
    theta: PerLane
    """k_B T/w_p."""
    g: PerLane
    """G/G_max at these positions."""


class DiffusiveDensityDevices(NanoparticleDevices):
    """A batch of realisations; see the module's equations."""

    landscape: Landscape
    bridge: Bool[Array, " lane"]
    """Not static: the sums of a constant density, folded by the compiler, take longer than the rest of a run."""
    cells: int = eqx.field(static=True)

    def _faces(self) -> np.ndarray:
        return np.linspace(-1.0, 1.0, self.cells + 1)

    def _energy(self) -> tuple[Float[Array, "cell 1"], Float[Array, "cell lane"]]:
        """Centres of the cells, and the energy there without a voltage."""
        faces = self._faces()
        centres = jnp.asarray(0.5 * (faces[1:] + faces[:-1]), self.theta_0.dtype)[:, None]
        everywhere = jnp.broadcast_to(centres, (self.cells, self.theta_0.shape[0]))
        return centres, self.landscape.single_particle_energy(everywhere)

    def rest(self, key: LaneKey) -> DensityState:
        """Each cluster with the Boltzmann density of its half of the gap, or both spread evenly; T = T_0."""
        centres, energy = self._energy()
        lanes, dtype = self.theta_0.shape[0], self.theta_0.dtype
        u, side = initial_draws(key, self.particles, lanes, dtype)
        exponent = -energy / self.theta_0
        weight = jnp.exp(exponent - jnp.max(exponent, axis=0))
        halves = jnp.stack([jnp.where(centres < 0, weight, 0.0), jnp.where(centres > 0, weight, 0.0)], axis=1)
        total = jnp.sum(halves, axis=0)
        on_left = self.on_left(side, total[0] / (total[0] + total[1]))
        density = jnp.where(self.bridge, 0.5, halves * (0.5 * self.cells) / total)
        share = jnp.where(on_left, 1.0 - u, 1.0 + u)
        return self._state(density, share, self.theta_0)

    def _state(self, density: Float[Array, "cell 2 lane"], share: Array, theta: PerLane) -> DensityState:
        """Positions and conductance of these densities.

        One table serves both clusters: the cumulated density of the left from 0 to 1, then that of the right from 1
        to 2. Negative densities, which a long time step may leave, count as none, so that it never falls."""
        mass = jnp.maximum(density, 0.0)
        cumulated = jnp.cumsum(mass, axis=0)
        cumulated = cumulated / cumulated[-1]
        zero = jnp.zeros_like(cumulated[:1, 0])
        table = jnp.concatenate([zero, cumulated[:, 0], zero + 1.0, 1.0 + cumulated[:, 1]])
        faces = jnp.asarray(np.tile(self._faces(), 2), density.dtype)
        x = jax.vmap(lambda s, t: jnp.interp(s, t, faces), in_axes=1, out_axes=1)(share, table)
        # Sorted by the library: for few lanes no slower than the network written out, whose derivatives cost five times
        # as much and compile for minutes.
        g = conductance_of_chain(lax.sort(x, dimension=0), self.parameters["tunnelling_length"])
        return DensityState(density, share, x, theta, g)

    def advance(
        self,
        state: DensityState,
        voltage: PerLane,
        current: PerLane,
        interval: Interval,
        key: LaneKey,
        clock: UInt32[Array, " lane"],
    ) -> DensityState:
        """Power is held over the interval, for which eq. 5 is solved exactly; the densities move at the temperature
        of the interval's middle. The family's pace asks for one pair of steps; more are taken as longer ones, so that
        no loop stands in a reverse derivative's way."""
        p = self.parameters
        v = voltage / p["threshold_voltage"]
        dt = p["cooling_rate"] * (0.5 * interval.duration)
        middle, after = self.heated(state.theta, voltage, current, 2.0 * dt)

        centres, energy = self._energy()
        energy = energy + self._pressed(state, centres)
        potential = (energy - p["drift"] * v * centres) / middle
        twice = jnp.concatenate([potential, potential], axis=1)
        rate, both = (jnp.concatenate([a, a]) for a in (middle / p["friction"], dt))
        widths = jnp.full(self.cells, 2.0 / self.cells, self.theta_0.dtype)
        density = state.density.reshape(self.cells, -1)
        for _ in range(2):
            density = fokker_planck_step(density, twice, widths, rate, both)
        return self._state(density.reshape(state.density.shape), state.share, after)

    def _pressed(self, state: DensityState, centres: Float[Array, "cell 1"]) -> Float[Array, "cell lane"] | float:
        """What overfull clusters add to a particle's energy. Each feels the others: of the mean content, a share of one
        over their number is its own."""
        capacity, wells = self.landscape.capacity, self.landscape.wells
        if capacity is None:
            return 0.0
        near = gaussian((jnp.abs(centres) - wells.centre) * wells.per_width)
        left = jnp.sum(state.share <= 1.0, axis=0)
        number = state.density[:, 0] * left + state.density[:, 1] * (self.particles - left)
        others = (2.0 / self.cells) * (1.0 - 1.0 / self.particles) * number * near
        on_left = centres < 0.0
        lost = [1.0 - capacity.of(jnp.sum(jnp.where(side, others, 0.0), axis=0)) for side in (on_left, ~on_left)]
        right = wells.depth if wells.right is None else wells.right.depth
        return near * jnp.where(on_left, wells.depth * lost[0], right * lost[1])

    def profile(self, state: DensityState) -> dict[str, Float[Array, "bin lane"]]:
        """Nanoparticles per metre in each bin, on the axis of the typical gap (devices may differ in theirs)."""
        left = jnp.sum(state.share <= 1.0, axis=0)
        held = state.density[:, 0] * left + state.density[:, 1] * (self.particles - left)
        below = jnp.concatenate(
            [jnp.zeros_like(held[:1]), jnp.cumsum(held, axis=0)]
        )  # to the left of each face, in cells
        edge = np.linspace(0.0, self.cells, self.bins + 1)  # of the bins, in cells
        cell = np.minimum(edge.astype(int), self.cells - 1)
        at_edge = below[cell] + jnp.asarray(edge - cell, held.dtype)[:, None] * held[cell]
        return {"density": (at_edge[1:] - at_edge[:-1]) * (self.bins / self.cells / self.profile_scale)}

    def intact(self, state: DensityState) -> Bool[Array, " lane"]:
        return jnp.isfinite(state.theta) & jnp.all(jnp.isfinite(state.x), axis=0) & jnp.isfinite(state.g)
