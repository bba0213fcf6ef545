"""The neuron of a volatile memristor: a capacitor in parallel with it, charged through a load resistor.

    C dv/dt = (V - v)/R - I(v)        v: node "out", across memristor and capacitor

The memristor switches on at its V_th, the capacitor discharges through it, and it relaxes below its V_hold: it spikes
where neither of its two states is stable behind the load (Pickett, Medeiros-Ribeiro, Williams 2013,
doi:10.1038/nmat3510, with another device). Several neurons are coupled by resistors between their outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from mcdev.circuits.elements import Capacitor, Memristor, Resistor, VoltageSource
from mcdev.circuits.elements.contract import GROUND
from mcdev.circuits.wired import Part, Wired, part
from mcdev.schema import Drawn, PerDevice, Unit


class Neuron(Wired):
    """A memristor with a capacitor in parallel, behind a load resistor. Elements V1, R1, C1, M1; nodes in, out."""

    kind: Literal["neuron"] = "neuron"
    example: ClassVar[Mapping[str, Any]] = {"resistance": "10 kohm", "capacitance": "1 nF"}
    resistance: Annotated[Drawn, PerDevice("ohm", gt=0)]
    """R, the load between source and memristor."""
    capacitance: Annotated[Drawn, PerDevice("F", gt=0)]
    """C, in parallel with the memristor."""
    compliance: Annotated[float, Unit("A", gt=0)] | None = None
    """Largest current that the source lets through."""

    def parts(self) -> dict[str, Part]:
        return {
            "V1": part(VoltageSource, "in", GROUND, {}, compliance=self.compliance),
            "R1": part(Resistor, "in", "out", {"resistance": "circuit.resistance"}, resistance=self.resistance),
            "C1": part(Capacitor, "out", GROUND, {"capacitance": "circuit.capacitance"}, capacitance=self.capacitance),
            "M1": part(Memristor, "out", GROUND, {}),
        }
