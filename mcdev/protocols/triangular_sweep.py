"""A triangular voltage sweep: the current-voltage loop (Wang et al. 2017, Fig. 1b)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mcdev.protocols.timeline import Piece, Protocol
from mcdev.schema import Interval, Unit

_POLARITIES = {"positive": (1,), "negative": (-1,), "positive_first": (1, -1), "negative_first": (-1, 1)}

_RESTING = 10  # samples of a rest


class TriangularSweep(Protocol):
    """From zero to the amplitude and back, ``loops`` times, in one polarity or in both after another."""

    kind: Literal["triangular_sweep"] = "triangular_sweep"
    amplitude: Annotated[float, Unit("V", gt=0)]
    """Largest voltage of each branch."""
    rate: Annotated[float, Unit("V/s", gt=0)]
    """Sweep rate."""
    polarity: Literal["positive", "negative", "positive_first", "negative_first"] = "positive_first"
    """One polarity, or both in each loop and which one is first."""
    rest: Interval = 0.0
    """Time at 0 V before each loop, in which the device comes back."""
    loops: int = Field(1, ge=1, le=10_000)
    """How many times the sweep is repeated."""
    samples_per_branch: int = Field(100, ge=4, le=100_000)
    """Samples from zero to the amplitude."""

    equilibrium: ClassVar[bool] = False

    def pieces(self) -> list[Piece]:
        quarter, n = self.amplitude / self.rate, self.samples_per_branch
        pieces = []
        for _ in range(self.loops):
            if self.rest > 0:
                pieces.append(Piece(self.rest, 0.0, 0.0, _RESTING, ("rest",)))
            for sign in _POLARITIES[self.polarity]:
                name, top = ("positive" if sign > 0 else "negative"), sign * self.amplitude
                pieces.append(Piece(quarter, 0.0, top, n, (f"{name}_up",)))
                pieces.append(Piece(quarter, top, 0.0, n, (f"{name}_down",)))
        return pieces
