"""One cycle of an endurance test (Wang et al. 2017, inset of Fig. 1d)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mcdev.protocols.timeline import Piece, Protocol
from mcdev.schema import Duration, Voltage


class BipolarCycle(Protocol):
    """A pulse, a read, and both again with the other sign. Repeated as ``ensemble.cycles`` with ``between_cycles =
    "continue"``."""

    kind: Literal["bipolar_cycle"] = "bipolar_cycle"
    amplitude: Voltage
    """Height of the first pulse; the second has the other sign."""
    width: Duration
    """Length of each pulse."""
    read_voltage: Voltage
    """Takes the sign of the pulse before it."""
    read_width: Duration
    """Length of each read."""
    samples_per_pulse: int = Field(8, ge=4, le=10_000)
    """Number of samples recorded in each pulse."""
    samples_per_read: int = Field(8, ge=4, le=10_000)
    """Number of samples recorded in each read."""

    equilibrium: ClassVar[bool] = False

    def pieces(self) -> list[Piece]:
        """Windows: pulse and read, the positive one first."""
        pieces = []
        for sign in (1.0, -1.0):
            high, low = sign * self.amplitude, sign * self.read_voltage
            pieces.append(Piece(self.width, high, high, self.samples_per_pulse, ("pulse",)))
            pieces.append(Piece(self.read_width, low, low, self.samples_per_read, ("read",)))
        return pieces
