"""A protocol of your own: a staircase of equal steps, and a rest.

mcdev check my_protocol.py
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mcdev.protocols.timeline import Piece, Protocol
from mcdev.schema import Duration, Interval, Voltage


class MyProtocol(Protocol):
    """Steps up to the amplitude, each as long as the others, then zero volts."""

    kind: Literal["my_protocol"] = "my_protocol"
    amplitude: Voltage
    """Of the last step."""
    steps: int = Field(5, ge=1, le=1000)
    """How many."""
    width: Duration
    """Of each step."""
    relaxation: Interval = 0.0
    """Time at zero volts afterwards."""
    samples_per_step: int = Field(20, ge=1, le=10_000)

    equilibrium: ClassVar[bool] = False

    def pieces(self) -> list[Piece]:
        """Pieces of voltage from start to end (V), in samples, each with the names of its windows. Measurements find
        the steps as the windows ``step``, and the time afterwards as ``relaxation``."""
        heights = [self.amplitude * (i + 1) / self.steps for i in range(self.steps)]
        stairs = [Piece(self.width, height, height, self.samples_per_step, ("step",)) for height in heights]
        return [*stairs, Piece(self.relaxation, 0.0, 0.0, 50, ("relaxation",))]
