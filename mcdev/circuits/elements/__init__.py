"""Elements of circuits, one kind a file. A new one: its file, and a line in ``ELEMENTS``."""

from typing import Annotated

from mcdev.circuits.elements.capacitor import Capacitor
from mcdev.circuits.elements.contract import Element
from mcdev.circuits.elements.memristor import Memristor
from mcdev.circuits.elements.resistor import Resistor
from mcdev.circuits.elements.selector import Selector
from mcdev.circuits.elements.source import CurrentSource, Source, VoltageSource
from mcdev.kinds import Kinds

ELEMENTS: Kinds[Element] = Kinds(
    Element,
    Capacitor,
    CurrentSource,
    Memristor,
    Resistor,
    Selector,
    VoltageSource,
)
AnyElement = Annotated[Element, ELEMENTS]

__all__ = [
    "ELEMENTS",
    "AnyElement",
    "Capacitor",
    "CurrentSource",
    "Element",
    "Memristor",
    "Resistor",
    "Selector",
    "Source",
    "VoltageSource",
]
