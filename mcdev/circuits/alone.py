"""The device directly at the source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from mcdev.circuits.compliance import limit_current
from mcdev.circuits.contract import NO_DRAWS, CircuitConfig, Division, Memoryless
from mcdev.devices.contract import CurrentLaw, PerLane
from mcdev.schema import Unit


class AloneCircuit(Memoryless):
    compliance: Float[Array, ""] | None

    @property
    def divides(self) -> bool:
        return self.compliance is not None

    def solve(self, state: None, applied: PerLane, law: CurrentLaw) -> Division:
        return Division(*limit_current(applied, law.current(applied), self.compliance, law), None)

    def impedance(self, device: Complex[Array, "frequency lane"]) -> Complex[Array, "frequency lane"]:
        return device


class Alone(CircuitConfig):
    """The device alone: it sees the source's voltage."""

    kind: Literal["alone"] = "alone"
    compliance: Annotated[float, Unit("A", gt=0)] | None = None
    """Largest current that the source lets through."""

    @property
    def divides(self) -> bool:
        return self.compliance is not None

    def build(self, dtype: Any, draws: Mapping[str, np.ndarray] = NO_DRAWS) -> AloneCircuit:
        return AloneCircuit(None if self.compliance is None else jnp.asarray(self.compliance, dtype))
