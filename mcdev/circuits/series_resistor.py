"""A resistor between source and device: V = v + R I(v)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from mcdev.circuits.elements import Memristor, Resistor
from mcdev.circuits.elements.contract import GROUND
from mcdev.circuits.loop import IN, OUT, Loop
from mcdev.circuits.wired import Part, part
from mcdev.schema import Drawn, PerDevice


class SeriesResistor(Loop):
    """The device in series with an ohmic resistor. Elements V1, R1, M1; nodes in, out."""

    kind: Literal["series_resistor"] = "series_resistor"
    example: ClassVar[Mapping[str, Any]] = {"resistance": "10 kohm"}
    resistance: Annotated[Drawn, PerDevice("ohm", gt=0)]
    """Resistance of the resistor."""

    def parts(self) -> dict[str, Part]:
        return self.source | {
            "R1": part(Resistor, IN, OUT, {"resistance": "circuit.resistance"}, resistance=self.resistance),
            "M1": part(Memristor, OUT, GROUND, {}),
        }
