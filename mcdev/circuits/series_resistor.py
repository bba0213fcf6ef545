"""A resistor between source and device: V = v + R I(v)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from mcdev.circuits.compliance import limit_current, limits
from mcdev.circuits.contract import CircuitConfig, Division, Memoryless
from mcdev.devices.contract import CurrentLaw, DeviceConfig, PerLane, per_lane
from mcdev.integrators.root import solve_monotone
from mcdev.schema import Drawn, PerDevice, Unit


class SeriesResistorCircuit(Memoryless):
    resistance: PerLane
    compliance: PerLane | None

    def solve(self, state: None, applied: PerLane, law: CurrentLaw) -> Division:
        guess = applied / (1.0 + self.resistance * law.chord(applied))
        v = solve_monotone(lambda v: v - applied + self.resistance * law.current(v), guess, applied, jnp.abs(applied))
        return Division(*limit_current(v, law.current(v), self.compliance, law), None)

    def impedance(
        self,
        state: None,
        division: Division,
        law: CurrentLaw,
        device: Complex[Array, "frequency lane"],
        frequency: Float[Array, " frequency"],
    ) -> Complex[Array, "frequency lane"]:
        return self.resistance + device


class SeriesResistor(CircuitConfig):
    """The device in series with an ohmic resistor."""

    kind: Literal["series_resistor"] = "series_resistor"
    resistance: Annotated[Drawn, PerDevice("ohm", gt=0)]
    """Resistance of the resistor."""
    compliance: Annotated[float, Unit("A", gt=0)] | None = None
    """Largest current that the source lets through."""

    def build(
        self, device: DeviceConfig, draws: Mapping[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any
    ) -> SeriesResistorCircuit:
        resistance = per_lane(draws["circuit.resistance"], dtype)
        return SeriesResistorCircuit(resistance, limits(self.compliance, devices.size, dtype))
