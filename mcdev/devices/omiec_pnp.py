"""The ion-conducting organic memristor with its ions resolved in space (Shin et al. 2022, doi:10.1039/d1ma01078f).

Anions (PF6-, ClO4-) and, with salt, lithium cations move between two blocking electrodes over an immobile background
of Ru(bpy)3 2+ by the Poisson-Nernst-Planck equations (integrators/ion_transport.py). The measured conductivity sets
the diffusion coefficient, the same for all ions: D = σ U_T/(e N_0 (1 + salt)), U_T = k_B T/e. What the ions add to
the injection (injection.py) is

    z = β E_int + γ m,    dm/dt = (V - m) (k_f + σ/(L C_f))

with E_int the field at the electrodes. γ = 0 is plain Poisson-Nernst-Planck, which has no mode of 75-112 ms; the fast
state m of the compact model is there to be declared, not derived.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Complex, Float, UInt32
from pydantic import Field
from scipy.constants import Boltzmann, e, epsilon_0

from mcdev.devices.contract import FOLLOWED, DeviceConfig, Devices, LaneKey, Observable, Pace, PerLane, per_lane
from mcdev.devices.injection import Injection
from mcdev.integrators.drift_diffusion import graded_mesh
from mcdev.integrators.exponential import exact_relaxation
from mcdev.integrators.interval import Interval
from mcdev.integrators.ion_transport import FINE, TOLERANCE, IonState, IonTransport
from mcdev.schema import Drawn, PerDevice, Strict, Unit, extremes, typical

_COUPLING = 0.05  # default interval between two solutions of the circuit, as a share of the layers' charging time
_NO_CATIONS = 1e-12  # share that stands for a device without salt where its neighbours have some


class Mesh(Strict):
    """Finite volumes, finest at both electrodes; docs/numerics.md shows their error."""

    cells: int = Field(60, ge=8, le=2000)
    """Number of cells."""
    finest: Annotated[float, Unit("m", gt=0)] = 2e-11
    """Width of the cells at the electrodes."""


class Integrator(Strict):
    """How the equations are integrated in time; docs/numerics.md shows the error of the default."""

    tolerance: Annotated[float, Unit("", gt=0, le=1)] = TOLERANCE
    """Largest error of a step: number of misplaced ions over the number that charges a double layer to one volt."""
    step: Annotated[float, Unit("s", gt=0)] | Literal["auto"] = "auto"
    """auto: each device chooses its steps by the tolerance. A time: all steps have this length, for convergence
    tests."""


class OmiecPnp(DeviceConfig):
    """Ions resolved along the layer: Poisson-Nernst-Planck with Stern layers and a steric limit."""

    kind: Literal["omiec_pnp"] = "omiec_pnp"
    preset: str | None = None
    """Name of a preset. It supplies every key that is not written here."""

    conductivity: Annotated[Drawn, PerDevice("S/m", gt=0)]
    """σ, ionic conductivity of the layer. It determines the diffusion coefficient of the ions."""
    thickness: Annotated[Drawn, PerDevice("m", gt=0)]
    """L, thickness of the layer."""
    area: Annotated[Drawn, PerDevice("m^2", gt=0)]
    """Area of the electrodes."""
    temperature: Annotated[Drawn, PerDevice("K", gt=0)]
    """T, temperature of the layer."""
    relative_permittivity: Annotated[Drawn, PerDevice("", ge=1)]
    """ε_r of the layer."""
    stern_capacitance: Annotated[Drawn, PerDevice("F/m^2", gt=0)]
    """C_S, capacitance of the ion-free Stern layer at each electrode, per area."""
    ion_density: Annotated[Drawn, PerDevice("1/m^3", gt=0)]
    """N_0, density of the anions at rest."""
    largest_density: Annotated[Drawn, PerDevice("1/m^3", gt=0)]
    """c_max, largest density of all mobile ions together (steric limit). With 1e36 1/m^3 there is practically no
    limit."""
    salt: Annotated[Drawn, PerDevice("", ge=0, lt=1)]
    """Density of mobile cations at rest over that of the anions. An immobile background balances the charge."""
    hopping_field: Annotated[Drawn, PerDevice("V/m", gt=0)]
    """E_0, field above which the drift of ions grows faster than in proportion to the field."""

    injection_conductance: Annotated[Drawn, PerDevice("S", gt=0)]
    """I_0 per volt, the scale of the current."""
    onset_voltage: Annotated[Drawn, PerDevice("V", gt=0)]
    """V_t, voltage at which injection sets in."""
    onset_width: Annotated[Drawn, PerDevice("V", gt=0)]
    """w, width in voltage of the onset of injection."""
    field_gain: Annotated[Drawn, PerDevice("m/V", ge=0)]
    """β, facilitation by the field at the electrodes."""
    exponent: Annotated[Drawn, PerDevice("", gt=0, le=20)] = 1.0
    """n, exponent of the facilitation. 1 is linear."""
    fast_gain: Annotated[Drawn, PerDevice("1/V", ge=0)] = 0.0
    """γ, facilitation by the fast state. With zero the model is plain Poisson-Nernst-Planck."""
    fast_rate: Annotated[Drawn, PerDevice("Hz", ge=0)]
    """k_f, part of the rate of the fast state that does not depend on the conductivity."""
    fast_capacitance: Annotated[Drawn, PerDevice("F/m^2", gt=0)]
    """C_f. The conductivity adds σ/(L C_f) to the rate of the fast state."""
    mesh: Mesh = Field(default_factory=Mesh)
    """Into how many cells the layer is divided."""
    integrator: Integrator = Field(default_factory=Integrator)
    """How the equations are integrated."""

    adaptive: ClassVar[bool] = True
    small_signal: ClassVar[bool] = True
    layer: ClassVar[bool] = True
    single_precision: ClassVar[bool] = False
    # The blocks of 64 lanes stay in a core's second-level cache.
    lanes: ClassVar[dict[str, int]] = {"cpu": 64, "gpu": 16384, "tpu": 2048}
    remedy: ClassVar[str] = (
        "Newton's method found no step that converges: look at their parameters (a density near the steric limit, a "
        "Stern layer thinner than a cell), refine device.mesh, lower the voltage or raise device.largest_density"
    )

    @property
    def channels(self) -> dict[str, Observable]:
        return {
            "charge": Observable("C", "charge on the positive electrode"),
            "interface_field": Observable("V/m", "field at the electrodes"),
            "fast_state": Observable("V", "fast interfacial state"),
        }

    @property
    def rate_equations(self) -> str:
        return (
            "resolved ions have no circuit model: export the level-1 family omiec_compact (presets device_p, "
            "device_1s, device_2s), calibrated to the same numbers"
        )

    @property
    def charges(self) -> tuple[int, ...]:
        """Of the mobile species: anions, and cations where any device has salt."""
        return (-1, 1) if extremes(self.salt)[1] > 0 else (-1,)

    @property
    def profiles(self) -> dict[str, Observable]:
        ions = {"anions": Observable("1/m^3", "density of the mobile anions")}
        if len(self.charges) > 1:
            ions["cations"] = Observable("1/m^3", "density of the mobile cations")
        return ions | {"potential": Observable("V", "electric potential")}

    @property
    def widths(self) -> np.ndarray:
        """Of the cells, as shares of the thickness."""
        return graded_mesh(self.mesh.cells, self.mesh.finest / typical(self.thickness))

    @property
    def profile_bins(self) -> np.ndarray:
        edges = np.concatenate([[0.0], np.cumsum(self.widths)])
        return typical(self.thickness) * 0.5 * (edges[1:] + edges[:-1])

    @property
    def debye_length(self) -> float:
        """λ_D = sqrt[ε U_T/(e N_0 (1 + salt))] of the densest device (m)."""
        ions = extremes(self.ion_density)[1] * (1.0 + extremes(self.salt)[1])
        permittivity = epsilon_0 * extremes(self.relative_permittivity)[0]
        return float(np.sqrt(permittivity * Boltzmann * extremes(self.temperature)[0] / ions) / e)

    def pace(self, voltage: float) -> Pace:
        """The circuit is solved every twentieth of the layers' charging time; the ions take their own steps within."""
        charging = 0.5 * extremes(self.stern_capacitance)[0] * extremes(self.thickness)[0]
        charging /= extremes(self.conductivity)[1]
        drive = min(abs(voltage) / (extremes(self.hopping_field)[0] * extremes(self.thickness)[0]), 3.0)
        coupling = _COUPLING * charging / float(np.cosh(drive))
        return Pace(coupling, 0.5 * coupling)

    def idle(self, spectral: bool) -> Mapping[str, str]:
        if extremes(self.fast_gain)[1] > 0:
            return {}
        return dict.fromkeys(("fast_rate", "fast_capacitance"), "it acts through fast_gain, which is 0")

    def divided_pace(self, voltage: float) -> Pace:
        """The current follows the fast state, too, where it has a gain."""
        own = self.pace(voltage)
        if extremes(self.fast_gain)[1] == 0:
            return own
        conductance = extremes(self.conductivity)[1] / extremes(self.thickness)[0]
        rate = extremes(self.fast_rate)[1] + conductance / extremes(self.fast_capacitance)[0]
        coupling = min(own.coupling, FOLLOWED / rate)
        return Pace(coupling, 0.5 * coupling)

    def conflicts(self, kinetic: bool) -> list[tuple[str, Any, str]]:
        found: list[tuple[str, Any, str]] = []
        filled = extremes(self.ion_density)[1] * (1.0 + extremes(self.salt)[1])
        if filled >= extremes(self.largest_density)[0]:
            message = f"the ions at rest ({filled:.3g} 1/m³ with the salt) would not fit; expected more than that"
            found.append(("largest_density", f"{extremes(self.largest_density)[0]:.3g} 1/m^3", message))
        if self.mesh.finest * self.mesh.cells > 2 * typical(self.thickness):
            message = f"{self.mesh.cells} such cells are thicker than the layer; expected finer or fewer"
            found.append(("mesh.finest", f"{self.mesh.finest * 1e9:g} nm", message))
        return found

    def concerns(self) -> list[tuple[str, str]]:
        length = self.debye_length
        finest = float(self.widths[0]) * typical(self.thickness)
        if finest <= length:
            return []
        return [
            (
                "mesh",
                f"the cells at the electrodes ({finest * 1e9:.3g} nm) are coarser than the Debye length "
                f"({length * 1e9:.3g} nm): the double layers, and with them charge and field, will be wrong by tens of "
                "percent; lower mesh.finest or raise mesh.cells",
            )
        ]

    def build(self, draws: dict[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any) -> OmiecPnpDevices:
        p = {name: np.asarray(value, dtype=np.float64) for name, value in draws.items()}
        thermal = Boltzmann * p["temperature"] / e
        permittivity = epsilon_0 * p["relative_permittivity"]
        length, density = p["thickness"], p["ion_density"]
        cations = np.maximum(p["salt"], _NO_CATIONS) if len(self.charges) > 1 else 0.0 * p["salt"]
        diffusion = p["conductivity"] * thermal / (e * density * (1.0 + cations))

        def lanes(value: np.ndarray) -> Any:
            return per_lane(value, dtype)

        transport = IonTransport(
            widths=lanes(np.repeat(self.widths[:, None], length.size, axis=1)),
            charges=self.charges,
            screening=lanes(e * density * length**2 / (permittivity * thermal)),
            stern=lanes(permittivity / (p["stern_capacitance"] * length)),
            rates=lanes(np.stack([diffusion / length**2] * len(self.charges))),
            packing=lanes(density / p["largest_density"]),
            fixed_charge=lanes(1.0 - cations),
            field_scale=lanes(thermal / (length * p["hopping_field"])),
            tolerance=lanes(np.full_like(length, self.integrator.tolerance)),
            fixed_step=lanes(np.full_like(length, 0.0 if self.integrator.step == "auto" else self.integrator.step)),
        )
        return OmiecPnpDevices(
            parameters={name: lanes(value) for name, value in p.items()},
            transport=transport,
            contents=lanes(np.stack([np.ones_like(cations), cations][: len(self.charges)])),
            fast=lanes(p["fast_rate"] + p["conductivity"] / (length * p["fast_capacitance"])),
            permittivity=lanes(permittivity),
            volt=lanes(1.0 / thermal),
        )


class PnpState(NamedTuple):
    ions: IonState
    voltage: PerLane
    """The device's voltage (V) of the last interval."""
    m: PerLane
    """Fast state (V)."""


class OmiecPnpDevices(Devices):
    """A batch of devices; see the module's equations."""

    parameters: dict[str, PerLane]
    transport: IonTransport
    contents: Float[Array, "species lane"]
    """Densities at rest in N_0."""
    fast: PerLane
    """Rate of the fast state (1/s)."""
    permittivity: PerLane
    """ε (F/m)."""
    volt: PerLane
    """One volt in U_T."""

    def rest(self, key: LaneKey) -> PnpState:
        zero = jnp.zeros_like(self.fast)
        return PnpState(self.transport.rest(self.contents), zero, zero)

    def interface_field(self, state: PnpState, voltage: PerLane) -> PerLane:
        """E_int in V/m, positive under a positive voltage. Both electrodes have the same: the layer is neutral.

        A voltage other than the last adds its share of the empty layer at once: no ion has moved yet.
        """
        settled, _ = self.transport.wall_fields(state.ions, state.voltage * self.volt)
        reduced = settled + (voltage - state.voltage) * self.volt / (1.0 + 2.0 * self.transport.stern)
        return reduced / (self.volt * self.parameters["thickness"])

    def current_law(self, state: PnpState) -> Injection:
        p = self.parameters
        at_zero = self.interface_field(state, jnp.zeros_like(state.voltage))
        return Injection(
            conductance=p["injection_conductance"],
            onset=p["onset_voltage"],
            width=p["onset_width"],
            facilitation=p["field_gain"] * at_zero + p["fast_gain"] * state.m,
            response=p["field_gain"] / (p["thickness"] * (1.0 + 2.0 * self.transport.stern)),
            exponent=p["exponent"],
        )

    def advance(
        self,
        state: PnpState,
        voltage: PerLane,
        current: PerLane,
        interval: Interval,
        key: LaneKey,
        clock: UInt32[Array, " lane"],
    ) -> PnpState:
        duration = interval.duration
        ions = self.transport.advance(state.ions, voltage * self.volt, duration)
        return PnpState(ions, voltage, exact_relaxation(state.m, voltage, self.fast, duration))

    def observe(self, state: PnpState, voltage: PerLane) -> dict[str, PerLane]:
        field = self.interface_field(state, voltage)
        return {
            "charge": self.parameters["area"] * self.permittivity * field,
            "interface_field": field,
            "fast_state": state.m,
        }

    def profile(self, state: PnpState) -> dict[str, Float[Array, "bin lane"]]:
        densities = self.transport.densities(state.ions) * self.parameters["ion_density"]
        return dict(zip(("anions", "cations"), densities, strict=False)) | {
            "potential": state.ions.potential / self.volt
        }

    def intact(self, state: PnpState) -> Bool[Array, " lane"]:
        return (state.ions.status == FINE) & jnp.all(jnp.isfinite(state.ions.potential), axis=0)

    def admittance(
        self, state: PnpState, voltage: PerLane, frequency: Float[Array, " frequency"]
    ) -> Complex[Array, "frequency lane"]:
        """iω (ε A/L) dE/dV + dI/dV + dI/dE dE/dV + dI/dm k/(iω + k), E the field at the electrode."""
        p = self.parameters
        geometric = self.permittivity * p["area"] / p["thickness"]
        law = self.current_law(state)
        here = law.facilitation + law.response * voltage
        none, one = jnp.zeros_like(voltage), jnp.ones_like(voltage)

        def current(v: PerLane, z: PerLane) -> PerLane:
            return Injection(law.conductance, law.onset, law.width, z, none, law.exponent).current(v)

        i_v = jax.jvp(current, (voltage, here), (one, none))[1]
        i_z = jax.jvp(current, (voltage, here), (none, one))[1]

        def at(hertz: Float[Array, ""]) -> Complex[Array, " lane"]:
            s = 2j * jnp.pi * hertz
            response = self.transport.charge_response(state.ions, voltage * self.volt, 2 * jnp.pi * hertz)
            facilitated = p["field_gain"] * response / p["thickness"] + p["fast_gain"] * self.fast / (s + self.fast)
            return s * geometric * response + i_v + i_z * facilitated

        return lax.map(at, frequency)
