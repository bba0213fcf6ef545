"""What the three views of the diffusive memristor share: the table of its parameters, and its random draws.

`diffusive.py` follows the particles step by step, `diffusive_hopping.py` hop by hop, `diffusive_density.py` follows
their density. The equations are in the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from pydantic import Field, model_validator
from scipy.constants import Boltzmann

from mcdev.devices.contract import DeviceConfig, Devices, FullScale, LaneKey, Observable, PerLane
from mcdev.devices.landscape import (
    Capacity,
    InterfacialWells,
    Landscape,
    PeriodicPinning,
    RandomPinning,
    random_tops,
    well_exchange,
)
from mcdev.devices.lengths import as_shares
from mcdev.devices.ohmic import Ohmic
from mcdev.integrators.noise import threefry, uniform
from mcdev.schema import Drawn, PerDevice, Share, Strict, Unit, extremes, refuse, typical

_COLD = 0.2  # k_B T/w_p below which particles hop rather than drift
_REST_DRAWS = np.uint32(0xFFFFFFFF)  # counter word of the initial positions, beyond any step


class PinningDisorder(Strict):
    """Random pinning. Width and depth of each well are lognormal around the period and w_p. Each device draws its
    own."""

    period_sigma: Annotated[float, Unit("", ge=0, le=0.5)] = 0.0
    """σ of ln(width) of a single well."""
    depth_sigma: Annotated[float, Unit("", ge=0, le=1)] = 0.0
    """σ of ln(depth) of a single well."""


class Nanoparticles(DeviceConfig):
    """Metal nanoparticles between two terminals. Pure numbers are in units of the five scales."""

    kind: str
    preset: str | None = None
    """Name of a preset. It supplies every key that is not written here."""

    particles: int = Field(40, ge=1, le=1000)
    """Number of nanoparticles. With one, G/G_max = 1/cosh(x/λ)."""
    half_gap: Annotated[Drawn, PerDevice("m", gt=0)]
    """L, half the distance between the terminals: the scale of length. Other lengths are written as shares of it. A
    change of ``half_gap`` alone then changes positions and nothing else. With ``reference_gap``, or where lengths have
    units, it changes the device."""
    reference_gap: Annotated[float, Unit("m", gt=0)] | None = None
    """Half gap to which the lengths below and the friction refer. With this key the lengths of the material in metres,
    and its diffusion coefficient, stay the same while ``half_gap`` changes."""
    cooling_rate: Annotated[Drawn, PerDevice("Hz", gt=0)]
    """κ, the rate at which the temperature relaxes. 1/κ is the scale of time."""
    threshold_voltage: Annotated[Drawn, PerDevice("V", gt=0)]
    """V_th, the scale of voltage. The threshold that a sweep measures depends on the rate of the sweep."""
    pinning_energy: Annotated[Drawn, PerDevice("eV", gt=0)]
    """w_p, energy of the pinning from peak to peak. It is the scale of energy."""
    maximum_conductance: Annotated[Drawn, PerDevice("S", gt=0)]
    """G_max = 1/R_min, the largest conductance. It is the scale of conductance."""
    background_temperature: Annotated[Drawn, PerDevice("K", gt=0)]
    """T_0, temperature of the surroundings; θ_0 = k_B T_0/w_p."""

    tunnelling_length: Annotated[Drawn, PerDevice("", gt=0, le=2)]
    """λ, tunnelling length: in units of L, or a length with its unit."""
    interfacial_energy: Annotated[Drawn, PerDevice("", ge=0)]
    """w_i, depth of the interfacial wells in units of w_p. With ``interfacial_ratio`` it is the depth of the left
    one."""
    interfacial_ratio: Annotated[Drawn, PerDevice("", ge=0)] = 1.0
    """r, depth of the right interfacial well (at x = +1) over that of the left one. With 0 the left well is the only
    one."""
    interfacial_centre: Annotated[Drawn, PerDevice("", gt=0, lt=1)]
    """x_c, centre of an interfacial well, from the middle of the reference gap: in units of L, or a length with its
    unit."""
    interfacial_width: Annotated[Drawn, PerDevice("", gt=0, lt=0.5)]
    """R_I, width of an interfacial well: in units of L, or a length with its unit."""
    pinning_period: Annotated[Drawn, PerDevice("", gt=0, le=2)]
    """R_p, period of the pinning: in units of L, or a length with its unit."""
    pinning_phase: Annotated[Drawn, PerDevice("rad")]
    """φ, phase of the pinning. A quarter turn (π/2) makes the two polarities equivalent."""
    drift: Annotated[Drawn, PerDevice("", ge=0)]
    """f = α V_th/w_p, force on a particle at V_th, in units of w_p/L."""
    heating: Annotated[Drawn, PerDevice("", ge=0)]
    """h, rise of θ in the steady state at V = V_th and G = G_max."""
    friction: Annotated[Drawn, PerDevice("", gt=0)]
    """η, friction of a particle: in units of w_p/(κ L²), or a diffusion coefficient at T_0 with its unit."""

    capacity_stiffness: Annotated[Drawn, PerDevice("", ge=0)] = 0.0
    """c. A cluster of N > N_0 particles binds them less: the depth of its well is w_i [1 - c (N/N_0 - 1)]. With 0, as
    in the paper, the depth does not depend on N."""
    capacity_content: Annotated[Drawn, PerDevice("", gt=0)] = 1.0
    """N_0 over half of the number of particles. See ``capacity_stiffness``."""

    pinning_disorder: PinningDisorder | None = None
    """Random widths and depths of the pinning wells. By default all wells are alike."""
    initial_state: Literal["rest", "bridge"] = "rest"
    """rest: the particles are in clusters at the terminals. bridge: they are spread evenly over the gap, at T_0. This
    is the most conducting state that a pulse can leave. With it a relaxation can be computed without its pulse."""
    initial_split: Share | Literal["equilibrium"] = 0.5
    """Share of the particles that start in the left cluster. With equilibrium the side of each particle is drawn by
    its weight. The key has no effect with bridge. With one particle it must be 1, 0 or equilibrium."""
    profile_count: int = Field(100, ge=4, le=1000)
    """Number of bins of the density along the gap."""

    @property
    def labels(self) -> Mapping[str, tuple[str, ...]]:
        if self.reference_gap is not None:
            return {}
        others = ("tunnelling_length", "interfacial_centre", "interfacial_width", "pinning_period", "friction")
        return {"half_gap": others}

    # ------------------------------------------------------------------------------- lengths

    def shares(self, p: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters with every length as a share of the device's own half gap L, where they are of a reference L_0:

            λ, R_I, R_p → · L_0/L,    1 - x_c → (1 - x_c) L_0/L,    η → η (L/L_0)²

        since η = γ κ L²/w_p with γ the friction of a particle. The work of a volt, f, is the same across any gap."""
        if self.reference_gap is None:
            return dict(p)
        ratio = self.reference_gap / p["half_gap"]
        lengths = {name: p[name] * ratio for name in ("tunnelling_length", "interfacial_width", "pinning_period")}
        centre = 1.0 - (1.0 - p["interfacial_centre"]) * ratio
        return {**p, **lengths, "interfacial_centre": centre, "friction": p["friction"] / ratio**2}

    def span(self, name: str) -> tuple[float, float]:
        """``extremes`` of a parameter, in shares of the device's own gap."""
        ends = []
        for gap in extremes(self.half_gap):
            for value in extremes(getattr(self, name)):
                common = {other: typical(getattr(self, other)) for other in self.parameters()}
                ends.append(self.shares({**common, name: value, "half_gap": gap})[name])
        return min(ends), max(ends)

    @property
    def median(self) -> dict[str, float]:
        """Parameters of the median device, lengths in shares of its own gap."""
        return self.shares({name: typical(getattr(self, name)) for name in self.parameters()})

    alike: ClassVar[bool] = False
    full_scale: ClassVar[FullScale | None] = FullScale(
        "maximum_conductance, when the gap is bridged", lambda p: p["maximum_conductance"]
    )

    @model_validator(mode="before")
    @classmethod
    def _in_metres(cls, table: Any) -> Any:
        return as_shares(table) if isinstance(table, Mapping) else table

    @model_validator(mode="after")
    def _wells_apart(self) -> Nanoparticles:
        if self.span("pinning_period")[1] > 2 or not self.span("interfacial_centre")[0] > 0:
            refuse(
                self.half_gap,
                "half_gap is too short for the lengths of the reference: expected the wells and a period of the "
                "pinning to lie within the gap",
                "take a half_gap nearer to reference_gap",
                key="half_gap",
            )
        if self.span("interfacial_centre")[0] < 3.5 * self.span("interfacial_width")[1]:
            refuse(
                self.interfacial_width,
                "the two interfacial wells overlap: expected interfacial_width ≤ interfacial_centre/3.5",
                key="interfacial_width",
            )
        return self

    @model_validator(mode="after")
    def _one_particle_on_one_side(self) -> Nanoparticles:
        drawn = self.initial_split == "equilibrium" or self.initial_state == "bridge"
        if self.particles == 1 and not drawn and self.initial_split not in (0.0, 1.0):
            refuse(
                self.initial_split,
                "one particle cannot be shared between two clusters: expected 1 (it starts on the left), 0 (on the "
                "right) or 'equilibrium' (each device draws its side)",
                "write initial_split = 1",
                key="initial_split",
            )
        return self

    @property
    def disordered(self) -> bool:
        return self.pinning_disorder is not None

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

    def idle(self, spectral: bool) -> Mapping[str, str]:
        found = {}
        if extremes(self.interfacial_energy)[1] == 0:
            wells = ("interfacial_ratio", "capacity_stiffness", "capacity_content")
            found = dict.fromkeys(wells, "it belongs to the interfacial wells, whose energy is 0")
        if extremes(self.capacity_stiffness)[1] == 0:
            found["capacity_content"] = "capacity_stiffness is 0"
        return found

    def median_landscape(self, dtype: Any) -> Landscape:
        """Of the median device; one lane."""
        draws = {name: np.array([value]) for name, value in self.median.items()}
        return self.landscape(draws, 0, np.array([0]), lambda value: np.asarray(value, dtype))

    @property
    def median_theta(self) -> float:
        """θ_0 of the median device."""
        return float(Boltzmann * typical(self.background_temperature) / typical(self.pinning_energy))

    @property
    def steepest(self) -> float:
        """Slope of the median device's interfacial well where it is steepest, sqrt(2/e) w_i/R_I (w_p/L)."""
        depth, width = typical(self.interfacial_energy), self.median["interfacial_width"]
        return float(np.sqrt(2.0) * np.exp(-0.5) * depth / width)

    def concerns(self) -> list[tuple[str, str]]:
        """Whether a voltage that frees particles from an interfacial well also sweeps the bridge away: the steepest
        slope of the one, 0.86 w_i/R_I, against that of the other, π/R_p."""
        theta, bowl = self.median_theta, self.steepest
        pinned = np.pi / self.median["pinning_period"]
        if theta >= _COLD or bowl <= pinned:
            return []
        message = (
            f"the interfacial wells are steeper ({bowl:.3g} w_p/L) than the pinning ({pinned:.3g}): at k_B T/w_p = "
            f"{theta:.2g} whatever frees a particle also sweeps it through the gap, so that no bridge stands under a "
            "voltage; expected 0.86 interfacial_energy/interfacial_width below π/pinning_period"
        )
        return [("interfacial_energy", message)]

    def hop_rate(self, voltage: float, heat: float = 0.0) -> float:
        """Rate (1/s) of the hop along the field over the pinning alone, of the fastest device; ``heat``: rise of θ."""
        period = self.span("pinning_period")[0]
        theta = Boltzmann * extremes(self.background_temperature)[1] / extremes(self.pinning_energy)[0] + heat
        pull = extremes(self.drift)[1] * voltage / extremes(self.threshold_voltage)[0]
        x = np.linspace(-1.0, 1.0, 257) * period
        e = (-0.5 * np.cos(2 * np.pi * x / period) - pull * x) / theta
        middle, dx = x.size // 2, x[1] - x[0]
        # In logarithms: far above V_th, and near 0 K, the energies span more than a number's exponent holds.
        left, right = (np.logaddexp.accumulate(part) for part in (e[: middle + 1], e[middle:][::-1]))
        meets = np.concatenate([left - left[-1], (right - right[-1])[::-1][2:], [-np.inf]])
        barrier_held = right[-1] - e[middle] + np.logaddexp.reduce(meets + e[middle] - e) + 2.0 * np.log(dx)
        scale = extremes(self.cooling_rate)[1] / self.span("friction")[0] * theta
        return float(np.exp(np.log(scale) - barrier_held))

    def rest_report(self, duration: float) -> list[str]:
        """Compares the initial split with the equilibrium of a single particle (quadrature, median device)."""
        if self.initial_split == "equilibrium" or self.initial_state != "rest":
            return []
        share, exchange = well_exchange(self.median_landscape(np.float32), self.median_theta, self.median["friction"])
        exchange /= typical(self.cooling_rate)
        change = (share - self.initial_split) * -np.expm1(-duration / exchange)
        if abs(change) < 0.02:
            return []
        return [
            f"rest check: this run starts out of equilibrium. Left alone for its {duration:.3g} s, a device that "
            f"starts with a share of {self.initial_split:g} of its particles on the left would end near "
            f"{self.initial_split + change:.2f} (equilibrium {share:.2f}, exchange time {exchange:.3g} s: the two "
            "interfacial wells differ unless the pinning phase is a quarter turn and interfacial_ratio is 1). To start "
            "from equilibrium write "
            'device.initial_split = "equilibrium"'
        ]

    @property
    def left(self) -> int | None:
        """How many particles start in the left cluster; None if each draws its side."""
        return None if self.initial_split == "equilibrium" else round(self.initial_split * self.particles)

    def landscape(self, p: dict[str, Any], seed: int, devices: np.ndarray, lanes: Any, fixed: float = 1.0) -> Landscape:
        """What acts on a particle of these devices, with a share ``fixed`` of the interfacial energy in the wells.
        ``p``: as ``shares`` gives it; ``lanes`` makes the arrays."""
        depth, ratio = p["interfacial_energy"] * fixed, p["interfacial_ratio"]
        wells = InterfacialWells.of(
            depth=lanes(depth),
            centre=lanes(p["interfacial_centre"]),
            width=lanes(p["interfacial_width"]),
            right=None if everywhere(ratio, 1.0) else lanes(depth * ratio),
        )
        capacity = None
        if not everywhere(p["capacity_stiffness"], 0.0):
            content = p["capacity_content"] * (0.5 * self.particles)
            capacity = Capacity(lanes(p["capacity_stiffness"]), lanes(content))
        if self.pinning_disorder is None:
            pinning = PeriodicPinning.of(lanes(p["pinning_period"]), lanes(p["pinning_phase"]))
            return Landscape(wells, pinning, capacity=capacity)
        return Landscape(wells, self._random_pinning(p, seed, devices, lanes), capacity=capacity)

    def _random_pinning(self, p: dict[str, Any], seed: int, devices: np.ndarray, lanes: Any) -> RandomPinning:
        assert self.pinning_disorder is not None
        period = self.span("pinning_period")[0]
        sigma = self.pinning_disorder.period_sigma
        count = int(np.ceil((2 + 2 * period) / period))
        count += int(np.ceil(6 * sigma * np.sqrt(count))) + 2  # reaches past the right wall for all but 1e-9 of devices
        width, depth = np.empty((count, devices.size)), np.empty((count, devices.size))
        for lane, device in enumerate(devices):  # a stream per device: independent of the ensemble's size
            draw = np.random.Generator(np.random.Philox(key=[seed, int(device)])).standard_normal((2, count))
            width[:, lane] = np.exp(sigma * draw[0])
            depth[:, lane] = np.exp(self.pinning_disorder.depth_sigma * draw[1])
        return RandomPinning.of(lanes(random_tops(p["pinning_period"], p["pinning_phase"], width)), lanes(depth))


class NanoparticleDevices(Devices):
    """What the batches of all views have in common; reduced units."""

    parameters: dict[str, PerLane]
    theta_0: PerLane
    kelvin: PerLane
    """Of θ = 1."""
    particles: int = eqx.field(static=True)
    left: int | None = eqx.field(static=True)
    """How many start in the left cluster; None if each draws its side."""
    bins: int = eqx.field(static=True)
    profile_scale: float = eqx.field(static=True)
    """Half gap (m) of the profile's axis."""

    def on_left(self, side: Float[Array, "particle lane"], share: PerLane) -> Bool[Array, "particle lane"]:
        """Which particles start in the left cluster: with ``share`` of the equilibrium there, where each draws its
        side (``side`` of ``initial_draws``)."""
        if self.left is None:
            return side < share
        return jnp.broadcast_to(jnp.arange(self.particles)[:, None] < self.left, side.shape)

    def heated(self, theta: PerLane, voltage: PerLane, current: PerLane, elapsed: PerLane) -> tuple[PerLane, PerLane]:
        """θ in the middle and at the end of ``elapsed``/κ with this voltage (V) and current (A) held: eq. 5 exactly."""
        p = self.parameters
        v = voltage / p["threshold_voltage"]
        power = p["heating"] * v * current / (p["threshold_voltage"] * p["maximum_conductance"])
        return warmed(theta, self.theta_0, power, elapsed)

    def current_law(self, state: Any) -> Ohmic:
        return Ohmic(self.parameters["maximum_conductance"] * state.g)

    def observe(self, state: Any, voltage: PerLane) -> dict[str, PerLane]:
        return {"temperature": state.theta * self.kelvin}

    def snapshot(self, state: Any) -> dict[str, Float[Array, "part lane"]]:
        return {"position": state.x * self.parameters["half_gap"]}

    def counted(self, x: Float[Array, "particle lane"]) -> dict[str, Float[Array, "bin lane"]]:
        """Nanoparticles per metre in each bin, on the axis of the typical gap (devices may differ in theirs)."""
        bin_of = jnp.clip(((x + 1.0) * (0.5 * self.bins)).astype(jnp.int32), 0, self.bins - 1)
        lanes = x.shape[1]
        place = bin_of * lanes + jnp.arange(lanes)
        count = jnp.zeros(self.bins * lanes, x.dtype).at[place].add(1.0).reshape(self.bins, lanes)
        return {"density": count * (0.5 * self.bins / self.profile_scale)}


def everywhere(parameter: Any, value: float) -> bool:
    """Whether a parameter has this value in all of these devices. What JAX traces may become anything."""
    return isinstance(parameter, np.ndarray) and bool(np.all(parameter == value))


def initial_draws(
    key: LaneKey, particles: int, lanes: int, dtype: Any
) -> tuple[Float[Array, "particle lane"], Float[Array, "particle lane"]]:
    """Two uniform numbers a particle: how far from the middle of the gap it starts, as a share of its half's
    particles, and on which side."""
    counter = jnp.broadcast_to(jnp.uint32(_REST_DRAWS), (particles, lanes))
    a, b = threefry(key, (counter, jnp.arange(particles, dtype=jnp.uint32)[:, None]))
    return uniform(a, dtype), uniform(b, dtype)


def warmed(theta: PerLane, theta_0: PerLane, power: PerLane, elapsed: PerLane) -> tuple[PerLane, PerLane]:
    """θ in the middle and at the end of an interval of ``elapsed``/κ, from dθ = (power - (θ - θ_0)) dt at constant
    power, exactly."""
    gap = theta_0 + power - theta
    return theta - gap * jnp.expm1(-0.5 * elapsed), theta - gap * jnp.expm1(-elapsed)
