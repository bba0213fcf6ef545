"""A train of equal pulses (Wang et al. 2017, Figs 4b and 5b, Supplementary Fig. 7c)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from mcdev.protocols.timeline import Piece, Protocol
from mcdev.schema import Duration, Interval, Voltage, refuse


class PulseTrain(Protocol):
    """``count`` pulses, one every ``period`` (or ``gap`` apart), then relaxation at the read voltage."""

    kind: Literal["pulse_train"] = "pulse_train"
    example: ClassVar[Mapping[str, Any]] = {"count": 3, "gap": "100 ms"}
    amplitude: Voltage
    """Height of each pulse."""
    width: Duration
    """Length of each pulse."""
    period: Duration | None = None
    """Time from the start of one pulse to the start of the next. Give this or ``gap``."""
    gap: Duration | None = None
    """Time between two pulses (t_zero). Give this or ``period``."""
    count: int = Field(ge=1, le=100_000)
    """Number of pulses."""
    read_voltage: Voltage = 0.0
    """Voltage between and after the pulses."""
    relaxation: Interval = 0.0
    """Time at the read voltage after the last pulse's gap."""
    samples_per_pulse: int = Field(16, ge=4, le=10_000)
    """Number of samples recorded in each pulse."""
    samples_per_gap: int = Field(8, ge=1, le=10_000)
    """Number of samples recorded between two pulses."""
    relaxation_samples: int = Field(100, ge=1, le=100_000)
    """Number of samples recorded after the train; they grow from a gap's sample on."""

    equilibrium: ClassVar[bool] = False

    @model_validator(mode="after")
    def _consistent(self) -> PulseTrain:
        if (self.period is None) == (self.gap is None):
            refuse(
                self.period,
                "expected either the period or the gap of the pulses, and "
                + ("neither is given" if self.period is None else "both are given"),
                key="period",
            )
        if self.period is not None and self.period <= self.width:
            refuse(
                f"{self.width:g} s",
                f"the pulse does not fit its period of {self.period:g} s: expected width < period",
                key="width",
            )
        return self

    def pieces(self) -> list[Piece]:
        gap = self.gap if self.gap is not None else (self.period or 0.0) - self.width
        read, sample = self.read_voltage, self.width / self.samples_per_pulse
        pieces = []
        for _ in range(self.count):
            pieces.append(Piece(self.width, self.amplitude, self.amplitude, self.samples_per_pulse, ("pulse",)))
            pieces.append(Piece(gap, read, read, self.samples_per_gap, ("gap",), sample))
        pieces.append(Piece(self.relaxation, read, read, self.relaxation_samples, ("relaxation",), sample))
        return pieces
