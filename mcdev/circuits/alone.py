"""The device directly at the source."""

from __future__ import annotations

from typing import Literal

from mcdev.circuits.elements import Memristor
from mcdev.circuits.elements.contract import GROUND
from mcdev.circuits.loop import IN, Loop
from mcdev.circuits.wired import Part, part


class Alone(Loop):
    """The device alone: it sees the source's voltage. Elements V1, M1; node in."""

    kind: Literal["alone"] = "alone"

    def parts(self) -> dict[str, Part]:
        return self.source | {"M1": part(Memristor, IN, GROUND, {})}
