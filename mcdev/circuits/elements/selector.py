"""A selector without memory, the same in either polarity: I = G V_s sinh(V/V_s).

Ohmic far below V_s, exponential far above it: as a current over a barrier that the field lowers from either side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import jax.numpy as jnp

from mcdev.circuits.elements.contract import Conductor
from mcdev.devices.contract import CurrentLaw, PerLane
from mcdev.schema import Drawn, PerDevice


class SinhLaw(CurrentLaw):
    conductance: PerLane
    steepness: PerLane

    def current(self, voltage: PerLane) -> PerLane:
        return self.conductance * self.steepness * jnp.sinh(voltage / self.steepness)

    def chord(self, voltage: PerLane) -> PerLane:
        x = voltage / self.steepness
        small = jnp.abs(x) < 1e-3
        safe = jnp.where(small, 1.0, x)
        return self.conductance * jnp.where(small, 1.0 + x * x / 6.0, jnp.sinh(safe) / safe)


class Selector(Conductor):
    """I = G V_s sinh(V/V_s)."""

    kind: Literal["selector"] = "selector"
    example: ClassVar[Mapping[str, Any]] = {"conductance": "1 nS", "steepness": "60 mV"}
    conductance: Annotated[Drawn, PerDevice("S", gt=0)]
    """G, at small voltage."""
    steepness: Annotated[Drawn, PerDevice("V", gt=0)]
    """V_s: far above it V_s more voltage is e times the current."""

    def law(self, values: Mapping[str, PerLane]) -> SinhLaw:
        return SinhLaw(values["conductance"], values["steepness"])
