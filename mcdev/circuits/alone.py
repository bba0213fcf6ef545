"""The device directly at the source."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from mcdev.circuits.compliance import limit_current
from mcdev.circuits.contract import Circuit, CircuitConfig
from mcdev.devices.contract import CurrentLaw, PerLane
from mcdev.schema import Unit


class AloneCircuit(Circuit):
    compliance: Float[Array, ""] | None

    def rest(self, lanes: int, dtype: Any) -> None:
        return None

    def solve(self, state: None, applied: PerLane, law: CurrentLaw) -> tuple[PerLane, PerLane]:
        current = law.current(applied)
        return (applied, current) if self.compliance is None else limit_current(applied, current, self.compliance, law)

    def impedance(self, device: Complex[Array, "frequency lane"]) -> Complex[Array, "frequency lane"]:
        return device

    def advance(
        self, state: None, applied: PerLane, device_voltage: PerLane, current: PerLane, elapsed: Float[Array, ""]
    ) -> None:
        return None


class Alone(CircuitConfig):
    """The device alone: it sees the source's voltage."""

    kind: Literal["alone"] = "alone"
    compliance: Annotated[float, Unit("A", gt=0)] | None = None
    """Largest current that the source lets through."""

    def build(self, dtype: Any) -> AloneCircuit:
        return AloneCircuit(None if self.compliance is None else jnp.asarray(self.compliance, dtype))
