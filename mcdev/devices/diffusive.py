"""The diffusive memristor: metal nanoparticles in an oxide (Wang et al. 2017, doi:10.1038/nmat4756).

Reduced units inside: length L (half the gap), time 1/κ, energy w_p, v = V/V_th, θ = k_B T/w_p, g = G/G_max.

    η dx = [-U'(x) + f v] dt + sqrt(2 η θ) dW     every particle, walls at ±1   (eq. 4)
    g    = R_min/R_M(sorted x)                                                  (eq. 3, tunnelling.py)
    dθ   = [h v² g - (θ - θ_0)] dt                                              (eq. 5)

What the paper leaves open is resolved in docs/model.md.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt32
from pydantic import model_validator
from scipy.constants import Boltzmann

from mcdev.devices.contract import CurrentLaw, Devices, LaneKey, Pace, PerLane
from mcdev.devices.landscape import Attraction, Landscape, curvature_bound
from mcdev.devices.nanoparticles import Nanoparticles, initial_draws, warmed
from mcdev.devices.tunnelling import relative_conductance
from mcdev.integrators.interval import Interval
from mcdev.integrators.langevin import SCHEMES, Scheme, diffuse
from mcdev.schema import Share, Strict, Unit, extremes, refuse, typical

_GRID = 1024  # points of each half on which the resting density is inverted


class Integrator(Strict):
    """How the Langevin equation is stepped. The defaults follow from the device; docs/numerics.md says how."""

    scheme: Literal["euler_maruyama", "heun", "leimkuhler_matthews"] = "heun"
    step: Annotated[float, Unit("s", gt=0)] | Literal["auto"] = "auto"
    """Time step; auto: a fixed share of the time in which the steepest well relaxes."""
    coupling_interval: Annotated[float, Unit("s", gt=0)] | Literal["auto"] = "auto"
    """Interval at which resistance, circuit and temperature are updated."""


class Diffusive(Nanoparticles):
    """Metal nanoparticles between two terminals. Pure numbers are in units of the five scales."""

    kind: Literal["diffusive"] = "diffusive"
    interaction: Share = 0.0
    """Share of the interfacial energy that acts as an attraction between particles instead of fixed wells."""
    integrator: Integrator = Integrator()

    differentiable: ClassVar[bool] = False
    precision: ClassVar[Literal["float32", "float64"]] = "float32"
    # 40 particles of 256 lanes stay in a core's second-level cache.
    lanes: ClassVar[dict[str, int]] = {"cpu": 256, "gpu": 8192, "tpu": 8192}
    remedy: ClassVar[str] = "a smaller device.integrator.step may help"

    @model_validator(mode="after")
    def _consistent(self) -> Diffusive:
        if self.interaction > 0 and self.initial_split == "equilibrium":
            refuse(
                self.initial_split,
                "with an interaction between particles the equilibrium split has no closed form: expected a share",
                "write initial_split = 0.5 and give ensemble.equilibration a time",
                key="initial_split",
            )
        scheme = SCHEMES[self.integrator.scheme]
        if self.integrator.step != "auto" and self._stiffness(self.integrator.step) > scheme.stability_limit:
            refuse(
                f"{self.integrator.step:g} s",
                f"the step exceeds the stability limit of {self.integrator.scheme}, "
                f"{scheme.stability_limit / self._stiffness(1.0):.3g} s for the steepest well",
                f'write step = "auto" (it takes {scheme.curvature_step / self._stiffness(1.0):.3g} s)',
                key="integrator.step",
            )
        return self

    # ------------------------------------------------------------------------------- time steps

    def _stiffness(self, step: float) -> float:
        """h · max|U''| for the stiffest device: its curvature times its mobility times the step."""
        deepest, narrowest = 1.0, extremes(self.pinning_period)[0]
        if self.pinning_disorder is not None:  # four standard deviations of a single well
            deepest = float(np.exp(4 * self.pinning_disorder.depth_sigma))
            narrowest *= float(np.exp(-4 * self.pinning_disorder.period_sigma))
        depth = extremes(self.interfacial_energy)[1]
        curvature = curvature_bound(
            depth * (1 - self.interaction),
            extremes(self.interfacial_width)[0],
            narrowest,
            deepest,
            depth * self.interaction,
        )
        return curvature * extremes(self.cooling_rate)[1] * step / extremes(self.friction)[0]

    def pace(self, voltage: float) -> Pace:
        """Step: ``curvature_step`` of the scheme. Coupling interval: the conductance changes through drift and
        heating, both driven by the voltage; see docs/numerics.md for the measured bias."""
        step = SCHEMES[self.integrator.scheme].curvature_step / self._stiffness(1.0)
        if self.integrator.step != "auto":
            step = self.integrator.step
        if self.integrator.coupling_interval != "auto":
            return Pace(self.integrator.coupling_interval, step)
        v = abs(voltage) / extremes(self.threshold_voltage)[0]
        eta, kappa = extremes(self.friction)[0], extremes(self.cooling_rate)[1]
        driven = _COUPLING / kappa * min(1.0, eta / 4.0) / max(v, 1e-9) ** 2
        return Pace(min(max(driven, 2 * step), 64 * step), step)

    def conflicts(self, kinetic: bool) -> list[tuple[str, Any, str]]:
        scheme = self.integrator.scheme
        if SCHEMES[scheme].kinetics or not kinetic:
            return []
        message = (
            "slows barrier crossing, so it is for equilibrium averages only (protocol hold with measurement "
            "mean_conductance); for kinetics write 'heun'"
        )
        return [("integrator.scheme", scheme, message)]

    def concerns(self) -> list[tuple[str, str]]:
        found = []
        default = SCHEMES[self.integrator.scheme].curvature_step / self._stiffness(1.0)
        if self.integrator.step != "auto" and self.integrator.step > 1.5 * default:
            found.append(
                (
                    "integrator.step",
                    f"{self.integrator.step:g} s is {self.integrator.step / default:.1f} times the default of "
                    f"{default:.3g} s: rates may be off by more than 1 %",
                )
            )
        if self.integrator.coupling_interval != "auto":
            auto = self.model_copy(update={"integrator": Integrator(scheme=self.integrator.scheme)})
            if self.integrator.coupling_interval > 4 * auto.pace(4 * typical(self.threshold_voltage)).coupling:
                found.append(
                    (
                        "integrator.coupling_interval",
                        f"{self.integrator.coupling_interval:g} s holds resistance and temperature fixed for long: "
                        "at 4 V_th the conductance may be off by more than 1 %",
                    )
                )
        return found

    def rest_report(self, duration: float) -> list[str]:
        if self.interaction > 0 and self.initial_state == "rest":
            return [
                "rest check: with an interaction between particles the resting state has no closed form; the run "
                "starts from clusters in the fixed wells (give ensemble.equilibration a time to let them settle)"
            ]
        return [] if self.interaction > 0 else super().rest_report(duration)

    # ------------------------------------------------------------------------------- building

    def build(self, draws: dict[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any) -> DiffusiveDevices:
        p = {name: np.asarray(value, dtype=np.float64) for name, value in draws.items()}

        def lanes(value: np.ndarray) -> Any:  # NumPy's, until all is put together: JAX compiles each operation
            return np.asarray(value, dtype=dtype)

        attraction = None
        if self.interaction > 0:
            attraction = Attraction(
                lanes(p["interfacial_energy"] * self.interaction), lanes(1.0 / p["interfacial_width"])
            )
        fixed = self.landscape(p, seed, devices, lanes, 1.0 - self.interaction)
        built = DiffusiveDevices(
            parameters={name: lanes(value) for name, value in p.items()},
            landscape=Landscape(fixed.wells, fixed.pinning, attraction),
            full_depth=lanes(p["interfacial_energy"]),
            theta_0=lanes(Boltzmann * p["background_temperature"] / p["pinning_energy"]),
            kelvin=lanes(p["pinning_energy"] / Boltzmann),
            particles=self.particles,
            left=self.left,
            bridge=self.initial_state == "bridge",
            bins=self.profile_count,
            profile_scale=typical(self.half_gap),
            scheme=SCHEMES[self.integrator.scheme],
        )
        found: DiffusiveDevices = jax.tree.map(jnp.asarray, built)
        return found


# Coupling interval at v = 1 in units of 1/κ (η = 4): below 0.1 % bias of the conductance, docs/numerics.md.
_COUPLING = 2e-2


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


class Ohmic(CurrentLaw):
    """I = G V: the tunnelling chain at fixed positions."""

    conductance: PerLane

    def current(self, voltage: PerLane) -> PerLane:
        return self.conductance * voltage

    def chord(self, voltage: PerLane) -> PerLane:
        return self.conductance


class DiffusiveDevices(Devices):
    """A batch of diffusive memristors; see the module's equations."""

    noisy: ClassVar[bool] = True

    parameters: dict[str, PerLane]
    landscape: Landscape
    full_depth: PerLane
    theta_0: PerLane
    kelvin: PerLane
    particles: int = eqx.field(static=True)
    left: int | None = eqx.field(static=True)
    bridge: bool = eqx.field(static=True)
    bins: int = eqx.field(static=True)
    profile_scale: float = eqx.field(static=True)
    scheme: Scheme = eqx.field(static=True)

    def rest(self, key: LaneKey) -> DiffusiveState:
        """Each particle from the Boltzmann density of its half of the gap, by inversion, or anywhere; T = T_0."""
        x = self.draw(key).x
        return DiffusiveState(x, self.theta_0, jnp.zeros_like(x), self._relative_conductance(x))

    def draw(self, key: LaneKey) -> Draw:
        """Where the particles begin, and what they were drawn from."""
        lanes, dtype = self.theta_0.shape[0], self.theta_0.dtype
        u, side = initial_draws(key, self.particles, lanes, dtype)

        wells = eqx.tree_at(lambda w: w.depth, self.landscape.wells, self.full_depth)
        resting = Landscape(wells, self.landscape.pinning, None)
        distance = jnp.linspace(0.0, 1.0, _GRID, dtype=dtype)[:, None]

        def inverse(sign: float) -> tuple[Float[Array, "particle lane"], PerLane]:
            energy = resting.single_particle_energy(sign * jnp.broadcast_to(distance, (_GRID, lanes)))
            weight = jnp.exp((jnp.min(energy, axis=0) - energy) / self.theta_0)
            cumulated = jnp.cumsum(0.5 * (weight[1:] + weight[:-1]), axis=0)
            total = cumulated[-1]
            cumulated = jnp.concatenate([jnp.zeros_like(total)[None], cumulated / total])
            at = jax.vmap(lambda u, c: jnp.interp(u, c, distance[:, 0]), in_axes=1, out_axes=1)(u, cumulated)
            return sign * at, jnp.log(total) - jnp.min(energy, axis=0) / self.theta_0

        (x_left, log_left), (x_right, log_right) = inverse(-1.0), inverse(1.0)
        if self.left is None:
            on_left = side < jax.nn.sigmoid(log_left - log_right)
        else:
            on_left = jnp.broadcast_to(jnp.arange(self.particles)[:, None] < self.left, u.shape)
        x = jnp.where(on_left, 1.0 - 2.0 * u, 2.0 * u - 1.0) if self.bridge else jnp.where(on_left, x_left, x_right)
        step = jnp.log(distance[1, 0])
        return Draw(x, on_left, resting, log_left + step, log_right + step)

    def _relative_conductance(self, x: Float[Array, "particle lane"]) -> PerLane:
        return relative_conductance(x, self.parameters["tunnelling_length"])

    def current_law(self, state: DiffusiveState) -> Ohmic:
        return Ohmic(self.parameters["maximum_conductance"] * state.g)

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
        x, before = diffuse(
            self.scheme,
            lambda x: self.landscape.force(x) + move.pull,
            state.x,
            state.before,
            move.h,
            move.s,
            key,
            clock,
            interval,
        )
        return DiffusiveState(x, move.theta, before, self._relative_conductance(x))

    def kinetics(self, theta: PerLane, voltage: PerLane, current: PerLane, interval: Interval) -> Kinetics:
        """Power is held over the interval, for which eq. 5 is solved exactly; the particles move at the
        temperature of the interval's middle."""
        p = self.parameters
        v = voltage / p["threshold_voltage"]
        power = p["heating"] * v * current / (p["threshold_voltage"] * p["maximum_conductance"])
        step = p["cooling_rate"] * interval.step
        elapsed = step * (2.0 * interval.pairs.astype(step.dtype))
        middle, after = warmed(theta, self.theta_0, power, elapsed)
        h = step / p["friction"]
        return Kinetics(h, jnp.sqrt(2.0 * middle * h), p["drift"] * v, after)

    def observe(self, state: DiffusiveState, voltage: PerLane) -> dict[str, PerLane]:
        return {"temperature": state.theta * self.kelvin}

    def profile(self, state: DiffusiveState) -> dict[str, Float[Array, "bin lane"]]:
        """Nanoparticles per metre in each bin, on the axis of the typical gap (devices may differ in theirs)."""
        bin_of = jnp.clip(((state.x + 1.0) * (0.5 * self.bins)).astype(jnp.int32), 0, self.bins - 1)
        lane = jnp.broadcast_to(jnp.arange(state.x.shape[1]), bin_of.shape)
        count = jnp.zeros((self.bins, state.x.shape[1]), state.x.dtype).at[bin_of, lane].add(1.0)
        return {"density": count * (0.5 * self.bins / self.profile_scale)}

    def snapshot(self, state: DiffusiveState) -> dict[str, Float[Array, "part lane"]]:
        return {"position": state.x * self.parameters["half_gap"]}

    def intact(self, state: DiffusiveState) -> Bool[Array, " lane"]:
        return jnp.isfinite(state.theta) & jnp.all(jnp.isfinite(state.x), axis=0)
