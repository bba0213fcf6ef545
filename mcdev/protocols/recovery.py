"""A short train and one more pulse after a recovery: 4+1 spikes (Shin et al. 2022, Fig. 6)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mcdev.protocols.timeline import Piece, Protocol
from mcdev.schema import Duration, Voltage


class Recovery(Protocol):
    """``count`` pulses ``gap`` apart, then one more ``recovery`` after the last."""

    kind: Literal["recovery"] = "recovery"
    amplitude: Voltage
    """Height of each pulse."""
    width: Duration
    """Length of each pulse."""
    gap: Duration
    """Time between two pulses of the train."""
    count: int = Field(4, ge=1, le=10_000)
    """Pulses of the train; the one that tests the recovery comes in addition."""
    recovery: Duration
    """Time between the train and the last pulse."""
    read_voltage: Voltage = 0.0
    """Voltage between the pulses."""
    samples_per_pulse: int = Field(16, ge=4, le=10_000)
    """Number of samples recorded in each pulse."""
    samples_per_gap: int = Field(8, ge=1, le=10_000)
    """Number of samples recorded between two pulses."""
    recovery_samples: int = Field(60, ge=1, le=100_000)
    """Number of samples recorded between the train and the last pulse."""

    equilibrium: ClassVar[bool] = False

    def pieces(self) -> list[Piece]:
        read, sample = self.read_voltage, self.width / self.samples_per_pulse
        pulse = Piece(self.width, self.amplitude, self.amplitude, self.samples_per_pulse, ("pulse",))
        gap = Piece(self.gap, read, read, self.samples_per_gap, ("gap",), sample)
        recovery = Piece(self.recovery, read, read, self.recovery_samples, ("recovery",), sample)
        return [*([pulse, gap] * (self.count - 1)), pulse, recovery, pulse]
