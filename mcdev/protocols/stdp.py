"""Plasticity that depends on the timing of two spikes that do not overlap (Wang et al. 2017, Fig. 6c, d; Shin et al.
2022, doi:10.1039/d1ma01078f, Fig. 7b, c)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from mcdev.protocols.timeline import Piece, Protocol
from mcdev.schema import Duration, Interval, Unit, Voltage, refuse


class Stdp(Protocol):
    """A read, two spikes, a time of rest, and a read again.

    A spike is a short high pulse, which can write the second memristor, and a long low one, which switches the device
    on. The neurons sit at either end of the pair, so that the presynaptic spike appears across it with the sign given
    and the postsynaptic one with the opposite. Δt is the time from the end of the first spike to the beginning of the
    second (as Wang et al. say; Shin et al. do not say); it is positive when the presynaptic spike comes first.

    Windows: read, high, low (two each), gap, rest.
    """

    kind: Literal["stdp"] = "stdp"
    example: ClassVar[Mapping[str, Any]] = {
        "pre_high": "1 V",
        "post_high": "-1 V",
        "pre_low": "-0.1 V",
        "post_low": "0.1 V",
    }
    pre_high: Voltage
    """Short pulse of the presynaptic spike."""
    post_high: Voltage
    """Short pulse of the postsynaptic spike, at its own neuron: the pair sees the negative."""
    pre_low: Voltage
    """Long pulse of the presynaptic spike."""
    post_low: Voltage
    """Long pulse of the postsynaptic spike, at its own neuron: the pair sees the negative."""
    high_width: Duration
    """Length of the short high pulse of each spike."""
    low_width: Duration
    """Length of the long low pulse of each spike."""
    delta_t: Annotated[float, Unit("s")]
    """Δt, from the end of the first spike to the beginning of the second; negative: the postsynaptic one is first."""
    rest: Interval = 0.0
    """Time at zero volts between the last spike and the read."""
    read_voltage: Voltage = 0.0
    """Voltage of both reads."""
    read_width: Duration
    """Length of each read."""
    samples_per_high: int = Field(8, ge=4, le=10_000)
    """Number of samples recorded in each high pulse."""
    samples_per_low: int = Field(12, ge=4, le=10_000)
    """Number of samples recorded in each low pulse."""
    samples_per_gap: int = Field(16, ge=1, le=10_000)
    """Number of samples recorded between the two spikes."""
    samples_per_read: int = Field(4, ge=1, le=10_000)
    """Number of samples recorded in each read."""

    equilibrium: ClassVar[bool] = False

    @model_validator(mode="after")
    def _consistent(self) -> Stdp:
        if self.delta_t == 0:
            refuse(
                "0 s", "expected a time between the spikes, positive if the presynaptic one comes first", key="delta_t"
            )
        return self

    def pieces(self) -> list[Piece]:
        def spike(high: float, low: float) -> list[Piece]:
            return [
                Piece(self.high_width, high, high, self.samples_per_high, ("high",)),
                Piece(
                    self.low_width, low, low, self.samples_per_low, ("low",), self.high_width / self.samples_per_high
                ),
            ]

        read = Piece(self.read_width, self.read_voltage, self.read_voltage, self.samples_per_read, ("read",))
        pre, post = spike(self.pre_high, self.pre_low), spike(-self.post_high, -self.post_low)
        first, second = (pre, post) if self.delta_t > 0 else (post, pre)
        sample = self.low_width / self.samples_per_low
        gap = Piece(abs(self.delta_t), 0.0, 0.0, self.samples_per_gap, ("gap",), sample)
        rest = Piece(self.rest, 0.0, 0.0, self.samples_per_gap, ("rest",), sample)
        return [read, *first, gap, *second, rest, read]
