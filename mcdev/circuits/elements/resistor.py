"""An ohmic resistor: I = V/R."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from mcdev.circuits.elements.contract import Conductor
from mcdev.devices.contract import PerLane
from mcdev.devices.ohmic import Ohmic
from mcdev.schema import Drawn, PerDevice


class Resistor(Conductor):
    """I = V/R."""

    kind: Literal["resistor"] = "resistor"
    resistance: Annotated[Drawn, PerDevice("ohm", gt=0)]
    """R."""

    def law(self, values: Mapping[str, PerLane]) -> Ohmic:
        return Ohmic(1.0 / values["resistance"])
