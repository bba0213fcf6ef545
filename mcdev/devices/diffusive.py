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
from pydantic import Field, model_validator
from scipy.constants import Boltzmann

from mcdev.devices.contract import CurrentLaw, DeviceConfig, Devices, LaneKey, Observable, Pace, PerLane
from mcdev.devices.landscape import (
    Attraction,
    InterfacialWells,
    Landscape,
    PeriodicPinning,
    RandomPinning,
    curvature_bound,
    random_tops,
    well_exchange,
)
from mcdev.devices.tunnelling import relative_conductance
from mcdev.integrators.langevin import SCHEMES, Scheme, diffuse
from mcdev.integrators.noise import threefry, uniform
from mcdev.schema import Drawn, PerDevice, Share, Strict, Unit, extremes, refuse, typical

_GRID = 1024  # points of each half on which the resting density is inverted
_REST_DRAWS = np.uint32(0xFFFFFFFF)  # counter word of the initial positions, beyond any step


class Integrator(Strict):
    """How the Langevin equation is stepped. The defaults follow from the device; docs/numerics.md says how."""

    scheme: Literal["euler_maruyama", "heun", "leimkuhler_matthews"] = "heun"
    step: Annotated[float, Unit("s", gt=0)] | Literal["auto"] = "auto"
    """Time step; auto: a fixed share of the time in which the steepest well relaxes."""
    coupling_interval: Annotated[float, Unit("s", gt=0)] | Literal["auto"] = "auto"
    """Interval at which resistance, circuit and temperature are updated."""


class PinningDisorder(Strict):
    """Random pinning: each well's width and depth is lognormal around the period and w_p, drawn per device."""

    period_sigma: Annotated[float, Unit("", ge=0, le=0.5)] = 0.0
    depth_sigma: Annotated[float, Unit("", ge=0, le=1)] = 0.0


class Diffusive(DeviceConfig):
    """Metal nanoparticles between two terminals. Pure numbers are in units of the five scales."""

    kind: Literal["diffusive"] = "diffusive"
    preset: str | None = None
    """The parameter set that this table started from; its values stand unless given here."""

    particles: int = Field(40, ge=2, le=1000)
    """Number of nanoparticles."""
    half_gap: Annotated[Drawn, PerDevice("m", gt=0)]
    """L, half the distance between the terminals: the scale of length."""
    cooling_rate: Annotated[Drawn, PerDevice("Hz", gt=0)]
    """κ, at which the temperature relaxes: 1/κ is the scale of time."""
    threshold_voltage: Annotated[Drawn, PerDevice("V", gt=0)]
    """V_th: the scale of voltage (what a given sweep measures as V_th depends on its rate)."""
    pinning_energy: Annotated[Drawn, PerDevice("eV", gt=0)]
    """w_p, peak to peak: the scale of energy."""
    maximum_conductance: Annotated[Drawn, PerDevice("S", gt=0)]
    """G_max = 1/R_min: the scale of conductance."""
    background_temperature: Annotated[Drawn, PerDevice("K", gt=0)]
    """T_0; θ_0 = k_B T_0/w_p."""

    tunnelling_length: Annotated[Drawn, PerDevice("", gt=0, le=2)]
    """λ in units of L."""
    interfacial_energy: Annotated[Drawn, PerDevice("", ge=0)]
    """w_i in units of w_p."""
    interfacial_centre: Annotated[Drawn, PerDevice("", gt=0, lt=1)]
    """x_c in units of L."""
    interfacial_width: Annotated[Drawn, PerDevice("", gt=0, lt=0.5)]
    """R_I in units of L."""
    pinning_period: Annotated[Drawn, PerDevice("", gt=0, le=2)]
    """R_p in units of L."""
    pinning_phase: Annotated[Drawn, PerDevice("rad")]
    """φ; a quarter turn makes the two polarities equivalent."""
    drift: Annotated[Drawn, PerDevice("", ge=0)]
    """f = α V_th/w_p: the force of one V_th, in units of w_p/L."""
    heating: Annotated[Drawn, PerDevice("", ge=0)]
    """h: rise of θ at v = g = 1 in the steady state."""
    friction: Annotated[Drawn, PerDevice("", gt=0)]
    """η in units of w_p/(κ L²)."""

    pinning_disorder: PinningDisorder | None = None
    interaction: Share = 0.0
    """Share of the interfacial energy that acts as an attraction between particles instead of fixed wells."""
    initial_split: Share | Literal["equilibrium"] = 0.5
    """Share of the particles that start in the left cluster; equilibrium draws each side by its weight."""
    profile_count: int = Field(100, ge=4, le=1000)
    """Number of bins of the density along the gap."""
    integrator: Integrator = Integrator()

    differentiable: ClassVar[bool] = False
    alike: ClassVar[bool] = False
    full_scale: ClassVar[bool] = True
    small_signal: ClassVar[bool] = False
    single_precision: ClassVar[bool] = True
    layer: ClassVar[bool] = False
    precision: ClassVar[Literal["float32", "float64"]] = "float32"
    # 40 particles of 256 lanes stay in a core's second-level cache.
    lanes: ClassVar[dict[str, int]] = {"cpu": 256, "gpu": 8192, "tpu": 8192}
    remedy: ClassVar[str] = "a smaller device.integrator.step may help"

    @model_validator(mode="after")
    def _consistent(self) -> Diffusive:
        if extremes(self.interfacial_centre)[0] < 3.5 * extremes(self.interfacial_width)[1]:
            refuse(
                self.interfacial_width,
                "the two interfacial wells overlap: expected interfacial_width ≤ interfacial_centre/3.5",
                key="interfacial_width",
            )
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

    # ------------------------------------------------------------------------------- description

    @property
    def channels(self) -> dict[str, Observable]:
        return {"temperature": Observable("K", "temperature of the nanoparticles")}

    @property
    def coordinates(self) -> dict[str, Observable]:
        return {"position": Observable("m", "position of each nanoparticle")}

    @property
    def profiles(self) -> dict[str, Observable]:
        return {"density": Observable("1/m", "nanoparticles per length")}

    @property
    def profile_bins(self) -> np.ndarray:
        edges = np.linspace(-1.0, 1.0, self.profile_count + 1)
        return typical(self.half_gap) * 0.5 * (edges[1:] + edges[:-1])

    @property
    def parts(self) -> int:
        return self.particles

    @property
    def reduced_units(self) -> dict[str, str]:
        scales = (
            self.half_gap,
            self.cooling_rate,
            self.threshold_voltage,
            self.maximum_conductance,
            typical(self.pinning_energy) / Boltzmann,
        )
        if any(not isinstance(scale, float) or abs(scale - 1.0) > 1e-9 for scale in scales):
            return {}
        return {"s": "1/κ", "V": "V_th", "S": "G_max", "A": "G_max V_th", "K": "w_p/k_B", "m": "L"}

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
        """Compares the initial split with the equilibrium of a single particle (quadrature, median device)."""
        if self.interaction > 0:
            return [
                "rest check: with an interaction between particles the resting state has no closed form; the run "
                "starts from clusters in the fixed wells (give ensemble.equilibration a time to let them settle)"
            ]
        if self.initial_split == "equilibrium":
            return []
        draws = {name: np.array([typical(getattr(self, name))]) for name in self.parameters()}
        devices = self.build(draws, 0, np.array([0]), np.float32)
        theta = Boltzmann * typical(self.background_temperature) / typical(self.pinning_energy)
        share, exchange = well_exchange(devices.landscape, theta, typical(self.friction))
        exchange /= typical(self.cooling_rate)
        change = (share - self.initial_split) * -np.expm1(-duration / exchange)
        if abs(change) < 0.02:
            return []
        return [
            f"rest check: this run starts out of equilibrium. Left alone for its {duration:.3g} s, a device that "
            f"starts with a share of {self.initial_split:g} of its particles on the left would end near "
            f"{self.initial_split + change:.2f} (equilibrium {share:.2f}, exchange time {exchange:.3g} s: the two "
            "interfacial wells differ unless the pinning phase is a quarter turn). To start from equilibrium write "
            'device.initial_split = "equilibrium"'
        ]

    # ------------------------------------------------------------------------------- building

    def build(self, draws: dict[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any) -> DiffusiveDevices:
        p = {name: np.asarray(value, dtype=np.float64) for name, value in draws.items()}

        def lanes(value: np.ndarray) -> Float[Array, "... lane"]:
            return jnp.asarray(np.asarray(value, dtype=dtype))

        wells = InterfacialWells.of(
            depth=lanes(p["interfacial_energy"] * (1.0 - self.interaction)),
            centre=lanes(p["interfacial_centre"]),
            width=lanes(p["interfacial_width"]),
        )
        attraction = None
        if self.interaction > 0:
            attraction = Attraction(
                lanes(p["interfacial_energy"] * self.interaction), lanes(1.0 / p["interfacial_width"])
            )
        pinning: PeriodicPinning | RandomPinning = PeriodicPinning.of(
            lanes(p["pinning_period"]), lanes(p["pinning_phase"])
        )
        if self.pinning_disorder is not None:
            pinning = self._random_pinning(p, seed, devices, lanes)
        return DiffusiveDevices(
            parameters={name: lanes(value) for name, value in p.items()},
            landscape=Landscape(wells, pinning, attraction),
            full_depth=lanes(p["interfacial_energy"]),
            theta_0=lanes(Boltzmann * p["background_temperature"] / p["pinning_energy"]),
            kelvin=lanes(p["pinning_energy"] / Boltzmann),
            particles=self.particles,
            left=None if self.initial_split == "equilibrium" else round(self.initial_split * self.particles),
            bins=self.profile_count,
            profile_scale=typical(self.half_gap),
            scheme=SCHEMES[self.integrator.scheme],
        )

    def _random_pinning(self, p: dict[str, np.ndarray], seed: int, devices: np.ndarray, lanes: Any) -> RandomPinning:
        assert self.pinning_disorder is not None
        period = extremes(self.pinning_period)[0]
        sigma = self.pinning_disorder.period_sigma
        count = int(np.ceil((2 + 2 * period) / period))
        count += int(np.ceil(6 * sigma * np.sqrt(count))) + 2  # reaches past the right wall for all but 1e-9 of devices
        width, depth = np.empty((count, devices.size)), np.empty((count, devices.size))
        for lane, device in enumerate(devices):  # a stream per device: independent of the ensemble's size
            draw = np.random.Generator(np.random.Philox(key=[seed, int(device)])).standard_normal((2, count))
            width[:, lane] = np.exp(sigma * draw[0])
            depth[:, lane] = np.exp(self.pinning_disorder.depth_sigma * draw[1])
        return RandomPinning.of(lanes(random_tops(p["pinning_period"], p["pinning_phase"], width)), lanes(depth))


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


class Ohmic(CurrentLaw):
    """I = G V: the tunnelling chain at fixed positions."""

    conductance: PerLane

    def current(self, voltage: PerLane) -> PerLane:
        return self.conductance * voltage

    def chord(self, voltage: PerLane) -> PerLane:
        return self.conductance


class DiffusiveDevices(Devices):
    """A batch of diffusive memristors; see the module's equations."""

    parameters: dict[str, PerLane]
    landscape: Landscape
    full_depth: PerLane
    theta_0: PerLane
    kelvin: PerLane
    particles: int = eqx.field(static=True)
    left: int | None = eqx.field(static=True)
    bins: int = eqx.field(static=True)
    profile_scale: float = eqx.field(static=True)
    scheme: Scheme = eqx.field(static=True)

    def rest(self, key: LaneKey) -> DiffusiveState:
        """Each particle from the Boltzmann density of its half of the gap, by inversion; T = T_0."""
        lanes, dtype = self.theta_0.shape[0], self.theta_0.dtype
        counter = jnp.broadcast_to(jnp.uint32(_REST_DRAWS), (self.particles, lanes))
        a, b = threefry(key, (counter, jnp.arange(self.particles, dtype=jnp.uint32)[:, None]))
        u, side = uniform(a, dtype), uniform(b, dtype)

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
            on_left = jnp.arange(self.particles)[:, None] < self.left
        x = jnp.where(on_left, x_left, x_right)
        return DiffusiveState(x, self.theta_0, jnp.zeros_like(x), self._relative_conductance(x))

    def _relative_conductance(self, x: Float[Array, "particle lane"]) -> PerLane:
        return relative_conductance(x, self.parameters["tunnelling_length"])

    def current_law(self, state: DiffusiveState) -> Ohmic:
        return Ohmic(self.parameters["maximum_conductance"] * state.g)

    def advance(
        self,
        state: DiffusiveState,
        voltage: PerLane,
        current: PerLane,
        step: Float[Array, ""],
        pairs: UInt32[Array, ""],
        key: LaneKey,
        clock: UInt32[Array, ""],
    ) -> DiffusiveState:
        """Power is held over the interval, for which eq. 5 is solved exactly; the particles move at the
        temperature of the interval's middle."""
        p = self.parameters
        v = voltage / p["threshold_voltage"]
        power = p["heating"] * v * current / (p["threshold_voltage"] * p["maximum_conductance"])
        elapsed = p["cooling_rate"] * step * (2.0 * pairs.astype(step.dtype))
        gap = self.theta_0 + power - state.theta
        middle = state.theta - gap * jnp.expm1(-0.5 * elapsed)
        after = state.theta - gap * jnp.expm1(-elapsed)

        h = p["cooling_rate"] * step / p["friction"]
        s = jnp.sqrt(2.0 * middle * h)
        pull = p["drift"] * v
        x, before = diffuse(
            self.scheme, lambda x: self.landscape.force(x) + pull, state.x, state.before, h, s, key, clock, pairs
        )
        return DiffusiveState(x, after, before, self._relative_conductance(x))

    def observe(self, state: DiffusiveState, voltage: PerLane) -> dict[str, PerLane]:
        return {"temperature": state.theta * self.kelvin}

    def profile(self, state: DiffusiveState, weight: PerLane) -> dict[str, Float[Array, " bin"]]:
        """Nanoparticles per metre in each bin, on the axis of the typical gap (devices may differ in theirs)."""
        bin_of = jnp.clip(((state.x + 1.0) * (0.5 * self.bins)).astype(jnp.int32), 0, self.bins - 1)
        share = jnp.broadcast_to(weight * (0.5 * self.bins / self.profile_scale), state.x.shape)
        return {"density": jnp.zeros(self.bins, share.dtype).at[bin_of].add(share)}

    def snapshot(self, state: DiffusiveState) -> dict[str, Float[Array, "part lane"]]:
        return {"position": state.x * self.parameters["half_gap"]}

    def intact(self, state: DiffusiveState) -> Bool[Array, " lane"]:
        return jnp.isfinite(state.theta) & jnp.all(jnp.isfinite(state.x), axis=0)
