"""A volatile memristor with a threshold and a hold voltage, as simple as it can be said.

    dx/dt = k (|V|/V_th - 1)^α (1 - x)       |V| > V_th
            0                                V_hold ≤ |V| ≤ V_th
            -(x/τ) (1 - |V|/V_hold)          |V| < V_hold
    I     = G_off^{1-x} G_on^x V

In the manner of VTEAM (Kvatinsky, Ramadan, Friedman, Kolodny 2015, doi:10.1109/TCSII.2015.2433536: growth as a power of
the voltage over its threshold, exponential law of the resistance) and of its volatile relative with V_th and V_hold
(V-VTEAM: Patni, Daniels, Kvatinsky 2024, doi:10.1109/IFETC61155.2024.10771870), but neither: the window 1 - x, the same
law for either polarity, the relaxation being exponential (V-VTEAM's is a stretched one, which needs the time since it
began as a second state), and its rate going to zero at V_hold instead of jumping there are this program's choices.
The last makes the law continuous, so that a device that holds itself at V_hold in a circuit has a steady state.
It is not the model of Berdan et al. (2014), whose equations were not at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from pydantic import model_validator

from mcdev.devices.contract import FullScale, LaneKey, PerLane, per_lane
from mcdev.devices.ohmic import Ohmic
from mcdev.devices.one_state import OneState, OneStateDevices
from mcdev.schema import Drawn, PerDevice, extremes, refuse


class VolatileThreshold(OneState):
    """A volatile switch. It switches on above V_th and relaxes below V_hold, in the same way for both polarities."""

    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    kind: Literal["volatile_threshold"] = "volatile_threshold"
    example: ClassVar[Mapping[str, Any]] = {
        "threshold_voltage": "0.6 V",
        "hold_voltage": "0.3 V",
        "switching_rate": "20 Hz",
        "switching_exponent": 1.5,
        "relaxation_time": "100 ms",
        "on_conductance": "100 uS",
        "off_conductance": "1 uS",
    }

    threshold_voltage: Annotated[Drawn, PerDevice("V", gt=0)]
    """V_th, voltage above which the device switches on."""
    hold_voltage: Annotated[Drawn, PerDevice("V", gt=0)]
    """V_hold, voltage below which the device relaxes."""
    switching_rate: Annotated[Drawn, PerDevice("Hz", gt=0)]
    """k, rate of switching at twice the threshold."""
    switching_exponent: Annotated[Drawn, PerDevice("", ge=1, le=10)]
    """α, exponent of the overvoltage V/V_th - 1."""
    relaxation_time: Annotated[Drawn, PerDevice("s", gt=0)]
    """τ, relaxation time of the state at zero volts."""
    on_conductance: Annotated[Drawn, PerDevice("S", gt=0)]
    """G_on, conductance at x = 1."""
    off_conductance: Annotated[Drawn, PerDevice("S", gt=0)]
    """G_off, conductance at x = 0."""

    full_scale: ClassVar[FullScale | None] = FullScale("on_conductance, at x = 1", lambda p: p["on_conductance"])

    @model_validator(mode="after")
    def _consistent(self) -> VolatileThreshold:
        if extremes(self.hold_voltage)[0] > extremes(self.threshold_voltage)[1]:
            refuse(None, "expected a hold voltage below the threshold", key="hold_voltage")
        return self

    def fastest(self, voltage: float) -> float:
        over = max(voltage / extremes(self.threshold_voltage)[0] - 1.0, 0.0)
        growth = extremes(self.switching_rate)[1] * max(over ** extremes(self.switching_exponent)[k] for k in (0, 1))
        return max(growth, 1.0 / extremes(self.relaxation_time)[0])

    def build(
        self, draws: dict[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any
    ) -> VolatileThresholdDevices:
        parameters = {name: per_lane(value, dtype) for name, value in draws.items()}
        return VolatileThresholdDevices(parameters, self.integrator.tolerance)


class VolatileThresholdDevices(OneStateDevices):
    """A batch of devices; see the module's equations."""

    def rest(self, key: LaneKey) -> PerLane:
        return jnp.zeros_like(self.parameters["relaxation_time"])

    def current_law(self, state: PerLane) -> Ohmic:
        p = self.parameters
        off = jnp.log(p["off_conductance"])
        return Ohmic(jnp.exp(off + state * (jnp.log(p["on_conductance"]) - off)))

    def drift(self, x: PerLane, voltage: PerLane) -> PerLane:
        p = self.parameters
        size = jnp.where(voltage < 0, -voltage, voltage)
        over = jnp.maximum(size / p["threshold_voltage"] - 1.0, 0.0)
        safe = jnp.where(over > 0, over, 1.0)
        growth = jnp.where(over > 0, p["switching_rate"] * safe ** p["switching_exponent"], 0.0)
        loss = jnp.maximum(1.0 - size / p["hold_voltage"], 0.0) / p["relaxation_time"]
        return growth * (1.0 - x) - loss * x
