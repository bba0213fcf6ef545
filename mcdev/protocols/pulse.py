"""One voltage pulse and the relaxation after it (Wang et al. 2017, Figs 3a and 4a)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mcdev.protocols.timeline import Piece, Protocol
from mcdev.schema import Duration, Interval, Voltage


class Pulse(Protocol):
    """Rest, pulse, relaxation at the read voltage."""

    kind: Literal["pulse"] = "pulse"
    amplitude: Voltage
    """Height of the pulse."""
    width: Duration
    """Length of the pulse."""
    rest: Interval = 0.0
    """Time at the read voltage before the pulse."""
    relaxation: Interval
    """Time at the read voltage after the pulse."""
    read_voltage: Voltage = 0.0
    """Voltage before and after the pulse."""
    samples_per_pulse: int = Field(100, ge=1, le=100_000)
    """Number of samples recorded in the pulse."""
    relaxation_samples: int = Field(200, ge=1, le=100_000)
    """Samples after the pulse; they grow from a pulse's sample on, to resolve decades of time."""

    equilibrium: ClassVar[bool] = False

    def pieces(self) -> list[Piece]:
        read, sample = self.read_voltage, self.width / self.samples_per_pulse
        return [
            Piece(self.rest, read, read, 20, ("rest",)),
            Piece(self.width, self.amplitude, self.amplitude, self.samples_per_pulse, ("pulse",)),
            Piece(self.relaxation, read, read, self.relaxation_samples, ("relaxation",), sample),
        ]
