"""The device directly at the source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Array, Complex, Float

from mcdev.circuits.compliance import limit_current, limits
from mcdev.circuits.contract import CircuitConfig, Division, Memoryless
from mcdev.devices.contract import CurrentLaw, DeviceConfig, PerLane
from mcdev.schema import Unit


class AloneCircuit(Memoryless):
    compliance: PerLane | None

    @property
    def divides(self) -> bool:
        return self.compliance is not None

    def solve(self, state: None, applied: PerLane, law: CurrentLaw) -> Division:
        return Division(*limit_current(applied, law.current(applied), self.compliance, law), None)

    def impedance(
        self,
        state: None,
        division: Division,
        law: CurrentLaw,
        device: Complex[Array, "frequency lane"],
        frequency: Float[Array, " frequency"],
    ) -> Complex[Array, "frequency lane"]:
        return device


class Alone(CircuitConfig):
    """The device alone: it sees the source's voltage."""

    kind: Literal["alone"] = "alone"
    compliance: Annotated[float, Unit("A", gt=0)] | None = None
    """Largest current that the source lets through."""

    @property
    def divides(self) -> bool:
        return self.compliance is not None

    def build(
        self, device: DeviceConfig, draws: Mapping[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any
    ) -> AloneCircuit:
        return AloneCircuit(limits(self.compliance, devices.size, dtype))
