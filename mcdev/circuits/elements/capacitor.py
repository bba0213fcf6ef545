"""A capacitor: I = C dV/dt. It begins without charge."""

from __future__ import annotations

from typing import Annotated, Literal

from mcdev.circuits.elements.contract import Element
from mcdev.schema import Drawn, PerDevice


class Capacitor(Element):
    """I = C dV/dt. At rest it holds no charge."""

    kind: Literal["capacitor"] = "capacitor"
    capacitance: Annotated[Drawn, PerDevice("F", gt=0)]
    """C."""
