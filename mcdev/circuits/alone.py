"""The device directly at the source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, UInt32

from mcdev.circuits.compliance import limit_current
from mcdev.circuits.contract import NO_DRAWS, Circuit, CircuitConfig, Division
from mcdev.devices.contract import CurrentLaw, PerLane
from mcdev.schema import Unit


class AloneCircuit(Circuit):
    compliance: Float[Array, ""] | None

    def rest(self, lanes: int, dtype: Any) -> None:
        return None

    def solve(self, state: None, applied: PerLane, law: CurrentLaw) -> Division:
        current = law.current(applied)
        if self.compliance is None:
            return Division(applied, current, None)
        return Division(*limit_current(applied, current, self.compliance, law), None)

    def observe(self, state: None, division: Division, law: CurrentLaw) -> dict[str, PerLane]:
        return {}

    def impedance(self, device: Complex[Array, "frequency lane"]) -> Complex[Array, "frequency lane"]:
        return device

    def advance(
        self,
        state: None,
        applied: PerLane,
        law: CurrentLaw,
        division: Division,
        step: Float[Array, ""],
        pairs: UInt32[Array, ""],
    ) -> None:
        return None


class Alone(CircuitConfig):
    """The device alone: it sees the source's voltage."""

    kind: Literal["alone"] = "alone"
    compliance: Annotated[float, Unit("A", gt=0)] | None = None
    """Largest current that the source lets through."""

    def build(self, dtype: Any, draws: Mapping[str, np.ndarray] = NO_DRAWS) -> AloneCircuit:
        return AloneCircuit(None if self.compliance is None else jnp.asarray(self.compliance, dtype))
