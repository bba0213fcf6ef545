"""Trains of equal pulses at one rate after another (Wang et al. 2017, Fig. 5c: 196 Hz, 5 kHz, 196 Hz)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from mcdev.protocols.timeline import Piece, Protocol
from mcdev.schema import Duration, Rate, Voltage, refuse


class RateChange(Protocol):
    """``counts[k]`` pulses at ``rates[k]``, section after section."""

    kind: Literal["rate_change"] = "rate_change"
    example: ClassVar[Mapping[str, Any]] = {"rates": ["5 Hz", "2 Hz"], "counts": [3, 2]}
    amplitude: Voltage
    """Height of each pulse."""
    width: Duration
    """Length of each pulse."""
    rates: tuple[Rate, ...] = Field(min_length=1, max_length=100)
    """Rate of the pulses in each section."""
    counts: tuple[int, ...] = Field(min_length=1, max_length=100)
    """Number of pulses in each section."""
    read_voltage: Voltage = 0.0
    """Voltage between and after the pulses."""
    samples_per_pulse: int = Field(8, ge=4, le=10_000)
    """Number of samples recorded in each pulse."""
    samples_per_gap: int = Field(6, ge=1, le=10_000)
    """Number of samples recorded between two pulses."""

    equilibrium: ClassVar[bool] = False

    @model_validator(mode="after")
    def _consistent(self) -> RateChange:
        if len(self.rates) != len(self.counts):
            refuse(
                list(self.counts),
                f"expected one count for each of the {len(self.rates)} rates",
                key="counts",
            )
        if any(count < 1 for count in self.counts) or sum(self.counts) > 100_000:
            refuse(list(self.counts), "expected counts ≥ 1 that add up to at most 100000", key="counts")
        for rate in self.rates:
            if self.width * rate >= 1:
                refuse(
                    f"{self.width:g} s",
                    f"the pulse does not fit its period at {rate:g} Hz: expected width < {1 / rate:g} s",
                    key="width",
                )
        return self

    def pieces(self) -> list[Piece]:
        read, sample = self.read_voltage, self.width / self.samples_per_pulse
        pieces = []
        for section, (rate, count) in enumerate(zip(self.rates, self.counts, strict=True), start=1):
            for _ in range(count):
                pieces.append(
                    Piece(
                        self.width,
                        self.amplitude,
                        self.amplitude,
                        self.samples_per_pulse,
                        ("pulse", f"section_{section}"),
                    )
                )
                pieces.append(Piece(1 / rate - self.width, read, read, self.samples_per_gap, ("gap",), sample))
        return pieces
