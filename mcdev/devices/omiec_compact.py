"""The ion-conducting organic memristor as a compact model: two states a device (Shin et al. 2022,
doi:10.1039/d1ma01078f).

    C dq/dt = (σ/L) V_0 sinh{[(V - u)/V_0]_3},    u = q (1 + |q|/1 V)^α,    V_0 = E_0 L
    dm/dt   = (V - m) (k_f + σ/(L C_f))
    z       = β q + γ m                        (facilitation of the injection, injection.py)

[y]_3 is y held within ±3: beyond, where |V - u| > 3 V_0 (8 V in the presets), ions drift as fast as at 3 V_0. Nothing
was measured there, and e^y would grow without end; the short spikes of Fig. 7 (14 and 18 V) go that far.

q is the charge of the two electrical double layers in series, per area and per capacitance C; u their voltage. m is
a fast state at the interfaces that the measured 75-112 ms ask for; where it comes from is an assumption. The
measured conductivity σ sets every rate: τ_on σ/L is nearly constant over the three salt contents of Table 1.

With ``facilitation = "either_polarity"`` both states follow |V| and z is that of |V|: an assumption, see the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, UInt32
from pydantic import Field
from scipy.constants import epsilon_0

from mcdev.devices.contract import (
    FOLLOWED,
    DeviceConfig,
    Devices,
    LaneKey,
    Observable,
    Pace,
    PerLane,
    RateEquations,
    StateVariable,
    per_lane,
)
from mcdev.devices.injection import Injection
from mcdev.integrators.exponential import exact_relaxation, rosenbrock_euler
from mcdev.integrators.interval import Interval
from mcdev.schema import Drawn, PerDevice, Strict, Unit, extremes

_LARGEST = 3.0  # where the argument of the sinh is held
_STEP = 0.02  # default step, as a share of the fastest double layer's charging time; docs/numerics.md


class Integrator(Strict):
    """How the two states are integrated; docs/numerics.md shows the error of a step."""

    step: Annotated[float, Unit("s", gt=0)] | Literal["auto"] = "auto"
    """Time step. auto: a fixed share of the charging time at the applied voltage."""


class OmiecCompact(DeviceConfig):
    """The compact organic memristor: two states, the charge of the double layers and a fast interfacial state."""

    kind: Literal["omiec_compact"] = "omiec_compact"
    preset: str | None = None
    """Name of a preset. It supplies every key that is not written here."""

    conductivity: Annotated[Drawn, PerDevice("S/m", gt=0)]
    """σ, ionic conductivity of the layer, as measured by an impedance spectrum."""
    thickness: Annotated[Drawn, PerDevice("m", gt=0)]
    """L, thickness of the layer."""
    area: Annotated[Drawn, PerDevice("m^2", gt=0)]
    """Area of the electrodes."""
    relative_permittivity: Annotated[Drawn, PerDevice("", ge=1)]
    """ε_r of the layer. It gives the geometric capacitance in parallel to the ionic resistance, in the impedance
    only."""

    capacitance: Annotated[Drawn, PerDevice("F/m^2", gt=0)]
    """C, capacitance of both double layers in series, per area."""
    stiffening: Annotated[Drawn, PerDevice("", gt=-0.5, lt=2)]
    """α. At large charge q the voltage of the double layers grows as q^(1 + α)."""
    hopping_field: Annotated[Drawn, PerDevice("V/m", gt=0)]
    """E_0, field above which the drift of ions grows faster than in proportion to the field."""
    fast_rate: Annotated[Drawn, PerDevice("Hz", ge=0)]
    """k_f, part of the rate of the fast state that does not depend on the conductivity."""
    fast_capacitance: Annotated[Drawn, PerDevice("F/m^2", gt=0)]
    """C_f. The conductivity adds σ/(L C_f) to the rate of the fast state."""

    injection_conductance: Annotated[Drawn, PerDevice("S", gt=0)]
    """I_0 per volt, the scale of the current."""
    onset_voltage: Annotated[Drawn, PerDevice("V", gt=0)]
    """V_t, voltage at which injection sets in."""
    onset_width: Annotated[Drawn, PerDevice("V", gt=0)]
    """w, width in voltage of the onset of injection."""
    charge_gain: Annotated[Drawn, PerDevice("1/V", ge=0)]
    """β, facilitation by the charge of the double layers."""
    fast_gain: Annotated[Drawn, PerDevice("1/V", ge=0)]
    """γ, facilitation by the fast state."""
    exponent: Annotated[Drawn, PerDevice("", gt=0, le=20)]
    """n, exponent of the facilitation. 1 is linear."""
    facilitation: Literal["own_polarity", "either_polarity"] = "own_polarity"
    """own_polarity: double layers that help one polarity oppose the other. This follows from the mechanism.
    either_polarity: the double layers follow the size of the voltage, and help both polarities alike. This is an
    assumption without a mechanism. It is for circuits in which a spike comes after one of the other polarity (Shin et
    al. 2022, Fig. 7). The volatile model of that figure is in a supplement that was not available. With own_polarity
    the second of two such spikes would be opposed."""
    integrator: Integrator = Field(default_factory=Integrator)
    """How the two states are integrated."""

    small_signal: ClassVar[bool] = True
    layer: ClassVar[bool] = True
    lanes: ClassVar[dict[str, int]] = {"cpu": 1024, "gpu": 65536, "tpu": 16384}
    remedy: ClassVar[str] = "look for extreme parameters or voltages; a smaller device.integrator.step may help"

    @property
    def channels(self) -> dict[str, Observable]:
        return {
            "charge": Observable("C", "charge that ions have brought to the double layers"),
            "layer_voltage": Observable("V", "voltage across the double layers"),
            "fast_state": Observable("V", "fast interfacial state"),
        }

    @property
    def rate_equations(self) -> RateEquations:
        return RateEquations(
            {
                "q": StateVariable("charge of the double layers over their capacitance, in volts"),
                "m": StateVariable("fast interfacial state, in volts"),
            },
            lambda devices, state, voltage: devices.rates(state, voltage),
            notes=(
                "The current is the electrons'. The ions' charging current (at most V sigma A/L) is not in it.",
                "Temperature does not enter: the parameters are those at the temperature of the measurement.",
            ),
        )

    def idle(self, spectral: bool) -> Mapping[str, str]:
        return {} if spectral else {"relative_permittivity": "it enters the impedance alone, and none is taken"}

    def pace(self, voltage: float) -> Pace:
        """Step: a share of the time in which the double layers charge at this voltage. The circuit is solved twice
        a step pair, because the current follows the states."""
        rate = extremes(self.conductivity)[1] / extremes(self.thickness)[0] / extremes(self.capacitance)[0]
        drive = min(abs(voltage) / (extremes(self.hopping_field)[0] * extremes(self.thickness)[0]), _LARGEST)
        step = _STEP / (rate * float(np.cosh(drive)))
        if self.integrator.step != "auto":
            step = self.integrator.step
        return Pace(2 * step, step)

    def divided_pace(self, voltage: float) -> Pace:
        """The current follows the fast state as well, and with the current the divided voltage."""
        own = self.pace(voltage)
        if self.integrator.step != "auto":
            return own
        conductance = extremes(self.conductivity)[1] / extremes(self.thickness)[0]
        rate = extremes(self.fast_rate)[1] + conductance / extremes(self.fast_capacitance)[0]
        step = min(own.step, 0.5 * FOLLOWED / rate)
        return Pace(2 * step, step)

    def concerns(self) -> list[tuple[str, str]]:
        default = OmiecCompact.pace(self.model_copy(update={"integrator": Integrator()}), 4.0).step
        if self.integrator.step == "auto" or self.integrator.step <= 10 * default:
            return []
        ratio = self.integrator.step / default
        return [("integrator.step", f"{self.integrator.step:g} s is {ratio:.0f} times the default: times may be off")]

    def overdriven(self, voltage: float) -> list[tuple[str, str]]:
        held = _LARGEST * extremes(self.hopping_field)[0] * extremes(self.thickness)[0]
        if voltage <= held:
            return []
        text = f"above {held:.3g} V the ions drift no faster (the argument of the sinh is held within ±{_LARGEST:g})"
        return [("hopping_field", f"{text}; the source goes to {voltage:g} V, where no device was measured")]

    def build(self, draws: dict[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any) -> OmiecCompactDevices:
        p = {name: per_lane(value, np.float64) for name, value in draws.items()}
        return OmiecCompactDevices(
            parameters={name: per_lane(value, dtype) for name, value in p.items()},
            rate=per_lane(p["conductivity"] / (p["thickness"] * p["capacitance"]), dtype),
            fast=per_lane(p["fast_rate"] + p["conductivity"] / (p["thickness"] * p["fast_capacitance"]), dtype),
            hopping=per_lane(p["hopping_field"] * p["thickness"], dtype),
            geometric=per_lane(epsilon_0 * p["relative_permittivity"] * p["area"] / p["thickness"], dtype),
            layers=per_lane(p["capacitance"] * p["area"], dtype),
            either=self.facilitation == "either_polarity",
        )


class OmiecState(NamedTuple):
    q: PerLane
    """Charge of the double layers over C A (V)."""
    m: PerLane
    """Fast state (V)."""


class OmiecCompactDevices(Devices):
    """A batch of devices; see the module's equations."""

    parameters: dict[str, PerLane]
    rate: PerLane
    """σ/(L C) (1/s)."""
    fast: PerLane
    """k_f + σ/(L C_f) (1/s)."""
    hopping: PerLane
    """V_0 (V)."""
    geometric: PerLane
    """Geometric capacitance (F)."""
    layers: PerLane
    """C A (F)."""
    either: bool = eqx.field(static=True, default=False)
    """Whether the states follow |V| and help both polarities."""

    def rest(self, key: LaneKey) -> OmiecState:
        return OmiecState(jnp.zeros_like(self.rate), jnp.zeros_like(self.rate))

    def layer_voltage(self, q: PerLane) -> PerLane:
        """u(q) in volts."""
        return q * jnp.exp(self.parameters["stiffening"] * jnp.log1p(jnp.abs(q)))  # a power costs more

    def charging(self, q: PerLane, voltage: PerLane) -> PerLane:
        """dq/dt (V/s)."""
        drive = jnp.clip((voltage - self.layer_voltage(q)) / self.hopping, -_LARGEST, _LARGEST)
        up = jnp.exp(drive)  # the sinh, and its slope, from one exponential
        return self.rate * self.hopping * 0.5 * (up - 1.0 / up)

    def driving(self, voltage: PerLane) -> PerLane:
        """The voltage that the states follow."""
        return jnp.abs(voltage) if self.either else voltage

    def rates(self, state: OmiecState, voltage: PerLane) -> OmiecState:
        """d(state)/dt (V/s)."""
        voltage = self.driving(voltage)
        return OmiecState(self.charging(state.q, voltage), self.fast * (voltage - state.m))

    def current_law(self, state: OmiecState) -> Injection:
        p = self.parameters
        z = p["charge_gain"] * state.q + p["fast_gain"] * state.m
        none = jnp.zeros_like(z)
        scale, onset, width = p["injection_conductance"], p["onset_voltage"], p["onset_width"]
        return Injection(scale, onset, width, z, none, p["exponent"], self.either)

    def advance(
        self,
        state: OmiecState,
        voltage: PerLane,
        current: PerLane,
        interval: Interval,
        key: LaneKey,
        clock: UInt32[Array, " lane"],
    ) -> OmiecState:
        voltage = self.driving(voltage)
        q = rosenbrock_euler(lambda q: self.charging(q, voltage), state.q, interval)
        return OmiecState(q, exact_relaxation(state.m, voltage, self.fast, interval.duration))

    def observe(self, state: OmiecState, voltage: PerLane) -> dict[str, PerLane]:
        return {
            "charge": self.layers * state.q,
            "layer_voltage": self.layer_voltage(state.q),
            "fast_state": state.m,
        }

    def admittance(
        self, state: OmiecState, voltage: PerLane, frequency: Float[Array, " frequency"]
    ) -> Complex[Array, "frequency lane"]:
        """1/[1/(C A f_V + iω C_geo) + u'/(iω C A)] of the ions, with f = dq/dt, and of the electrons
        dI/dV + dI/dq dq/dV + dI/dm k/(iω + k)."""
        one = jnp.ones_like(voltage)
        voltage = self.driving(voltage)

        def current(q: PerLane, m: PerLane, v: PerLane) -> PerLane:
            return self.current_law(OmiecState(q, m)).current(v)

        _, f_q = jax.jvp(lambda q: self.charging(q, voltage), (state.q,), (one,))
        _, f_v = jax.jvp(lambda v: self.charging(state.q, v), (voltage,), (one,))
        at, zero = (state.q, state.m, voltage), jnp.zeros_like(one)
        i_q, i_m, i_v = (
            jax.jvp(current, at, tangent)[1] for tangent in ((one, zero, zero), (zero, one, zero), (zero, zero, one))
        )
        s = 2j * jnp.pi * frequency[:, None]
        stiffness = -f_q / f_v  # u'
        ions = 1.0 / (1.0 / (self.layers * f_v + s * self.geometric) + stiffness / (s * self.layers))
        return ions + i_v + i_q * ions / (s * self.layers) + i_m * self.fast / (s + self.fast)
