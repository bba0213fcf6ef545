"""A memristor: a device of any family, between two nodes of a circuit."""

from __future__ import annotations

from typing import Literal

from mcdev.circuits.elements.contract import Element
from mcdev.schema import Name


class Memristor(Element):
    """A device of the table ``[device]``, or of one of ``[circuit.devices]``. Each memristor draws its own parameters
    and its own noise."""

    kind: Literal["memristor"] = "memristor"
    device: Name | None = None
    """Name of its table below ``[circuit.devices]``; without one it is a device of the table ``[device]``."""
