"""A constant voltage: for equilibrium averages, and for leaving a device alone."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mcdev.protocols.timeline import Piece, Protocol
from mcdev.schema import Duration, Voltage


class Hold(Protocol):
    """Hold one voltage for a time."""

    kind: Literal["hold"] = "hold"
    voltage: Voltage = 0.0
    """The voltage that is held."""
    duration: Duration
    """How long it is held."""
    samples: int = Field(100, ge=1, le=100_000)
    """Number of samples recorded."""

    equilibrium: ClassVar[bool] = True

    def pieces(self) -> list[Piece]:
        return [Piece(self.duration, self.voltage, self.voltage, self.samples, ("hold",))]
