"""Plasticity that depends on the rate of spikes: a train of pulses between two reads (Wang et al. 2017, Fig. 6b)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mcdev.protocols.timeline import Piece, Protocol
from mcdev.schema import Duration, Interval, Voltage


class Srdp(Protocol):
    """A read, ``count`` pulses ``t_zero`` apart, a time of rest, and a read again.

    Windows: read (two), pulse, gap, rest. Read at zero volts, a conductance is the slope of the current at the origin,
    and nothing is disturbed.
    """

    kind: Literal["srdp"] = "srdp"
    amplitude: Voltage
    """Height of each pulse."""
    width: Duration
    """Length of each pulse."""
    t_zero: Duration
    """Time at zero volts between two pulses."""
    count: int = Field(15, ge=1, le=10_000)
    """Number of pulses between the reads."""
    rest: Interval = 0.0
    """Time at zero volts between the last pulse and the read."""
    read_voltage: Voltage = 0.0
    """Voltage of both reads."""
    read_width: Duration
    """Length of each read."""
    samples_per_pulse: int = Field(8, ge=4, le=10_000)
    """Number of samples recorded in each pulse."""
    samples_per_gap: int = Field(4, ge=1, le=10_000)
    """Number of samples recorded between two pulses."""
    samples_per_read: int = Field(4, ge=1, le=10_000)
    """Number of samples recorded in each read."""

    equilibrium: ClassVar[bool] = False

    def pieces(self) -> list[Piece]:
        sample = self.width / self.samples_per_pulse
        read = Piece(self.read_width, self.read_voltage, self.read_voltage, self.samples_per_read, ("read",))
        pulse = Piece(self.width, self.amplitude, self.amplitude, self.samples_per_pulse, ("pulse",))
        gap = Piece(self.t_zero, 0.0, 0.0, self.samples_per_gap, ("gap",), sample)
        rest = Piece(self.rest, 0.0, 0.0, self.samples_per_gap, ("rest",), sample)
        return [read, *([pulse, gap] * (self.count - 1)), pulse, rest, read]
