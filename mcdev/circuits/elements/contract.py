"""What an element of a circuit is: a kind of two-terminal part between two named nodes.

    R1 = { kind = "resistor", between = ["in", "out"], resistance = "1 Mohm" }

Its current flows from the first node through it to the second, and its voltage is that of the first over the second.
Ground is the node ``0``.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from mcdev.devices.contract import CurrentLaw, PerLane
from mcdev.kinds import Kind
from mcdev.schema import Name, refuse

GROUND = "0"


def _two(nodes: tuple[str, str]) -> tuple[str, str]:
    if nodes[0] == nodes[1]:
        refuse(list(nodes), "both ends are one node: the element is shorted", "give it two nodes")
    return nodes


Between = Annotated[tuple[Name, Name], AfterValidator(_two)]
"""First and second node."""


class Element(Kind, abc.ABC):
    """One entry of ``[circuit.elements]``."""

    between: Between
    """The nodes that it lies between."""


class Conductor(Element):
    """An element whose current follows from its voltage at once. A new one: its file, and a line in ``ELEMENTS``."""

    @abc.abstractmethod
    def law(self, values: Mapping[str, PerLane]) -> CurrentLaw:
        """Current against voltage, for parameters [lane] in SI units."""
