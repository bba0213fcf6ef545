"""A voltage divider: the memristor behind a load resistor, and the voltage between them as the output.

    V = v + R I(v)        v: node "out", across the memristor

As ``series_resistor``, with the node's voltage recorded and an optional load at the output; a device with one state is
followed through the interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from mcdev.circuits.elements import Memristor, Resistor, VoltageSource
from mcdev.circuits.elements.contract import GROUND
from mcdev.circuits.wired import Part, Wired, part
from mcdev.schema import Drawn, PerDevice, Unit


class Divider(Wired):
    """A memristor behind a resistor, its voltage the output. Elements V1, R1, M1 and, with ``load``, R2; nodes in,
    out."""

    kind: Literal["divider"] = "divider"
    example: ClassVar[Mapping[str, Any]] = {"resistance": "10 kohm"}
    resistance: Annotated[Drawn, PerDevice("ohm", gt=0)]
    """R1, between source and output."""
    load: Annotated[Drawn, PerDevice("ohm", gt=0)] | None = None
    """R2, from the output to ground; by default none."""
    compliance: Annotated[float, Unit("A", gt=0)] | None = None
    """Largest current that the source lets through."""

    def parts(self) -> dict[str, Part]:
        found = {
            "V1": part(VoltageSource, "in", GROUND, {}, compliance=self.compliance),
            "R1": part(Resistor, "in", "out", {"resistance": "circuit.resistance"}, resistance=self.resistance),
            "M1": part(Memristor, "out", GROUND, {}),
        }
        if self.load is not None:
            found["R2"] = part(Resistor, "out", GROUND, {"resistance": "circuit.load"}, resistance=self.load)
        return found
