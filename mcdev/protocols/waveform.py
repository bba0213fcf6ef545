"""Any waveform: straight lines between given points of time and voltage."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from mcdev.measured import SENTINEL, Layout, read_table
from mcdev.protocols.timeline import Piece, Protocol
from mcdev.schema import REACH, refuse

MOST_POINTS = 200_000


class PointsFile(Layout):
    """What stands in a configuration instead of the points: the file that holds them."""

    file: str
    """Measured file with a column of time and one of voltage; relative to the configuration."""


_FEW = 50


class Waveform(Protocol):
    """Straight lines between points of time and voltage. Two points of one time are a step.

    The points are written out, or stand in a file (:class:`PointsFile`), which is read when the
    configuration is loaded; results hold its points, not its path.
    """

    kind: Literal["waveform"] = "waveform"
    example: ClassVar[Mapping[str, Any]] = {"time": [0.0, 1e-3, 2e-3], "voltage": [0.0, 1.0, 0.0]}
    time: tuple[float, ...] = Field(min_length=2, max_length=MOST_POINTS)
    """Times of the points in seconds, increasing, the first at zero; twice the same where the voltage steps."""
    voltage: tuple[float, ...] = Field(min_length=2, max_length=MOST_POINTS)
    """Source voltage at these times, in volts."""
    samples_per_point: int = Field(1, ge=1, le=1000)
    """Samples recorded between two neighbouring points."""

    equilibrium: ClassVar[bool] = False

    @model_validator(mode="after")
    def _consistent(self) -> Waveform:
        if len(self.time) != len(self.voltage):
            refuse(len(self.voltage), f"expected as many voltages as times ({len(self.time)})", key="voltage")
        if self.time[0] != 0:
            refuse(self.time[0], "expected the first time to be 0", "subtract it from every time", key="time")
        steps = np.diff(self.time)
        if np.any(steps < 0):
            row = int(np.argmax(steps < 0)) + 1
            refuse(
                self.time[row], f"expected increasing times; point {row + 1} does not follow point {row}", key="time"
            )
        if np.any((steps[1:] == 0) & (steps[:-1] == 0)):
            row = int(np.argmax((steps[1:] == 0) & (steps[:-1] == 0))) + 2
            refuse(self.time[row], f"expected two points of one time at most; point {row + 1} is a third", key="time")
        if not self.time[-1] > 0:
            refuse(self.time[-1], "expected increasing times; all points are at one", key="time")
        if abs(far := max(self.voltage, key=abs)) > REACH["V"][1]:
            sentinel = "so large a number is an instrument's infinity or none"
            unit = f"none is beyond {REACH['V'][1]:g} V: look at its unit and its power of ten"
            refuse(far, f"expected voltages; {sentinel if abs(far) >= SENTINEL else unit}", key="voltage")
        return self

    def concerns(self) -> Iterable[tuple[str, str]]:
        samples = self.timeline().samples
        if samples < _FEW:
            text = f"{self.samples_per_point} gives {samples} samples in all, each a mean over its time; measurements "
            yield "samples_per_point", text + "read these, so that a fast change within one is not seen: raise it"

    def pieces(self) -> list[Piece]:
        return [
            Piece(t1 - t0, v0, v1, self.samples_per_point)
            for (t0, v0), (t1, v1) in itertools.pairwise(zip(self.time, self.voltage, strict=True))
        ]


def read_points(path: Path, layout: Layout) -> tuple[list[float], list[float]]:
    """Times (s, shifted to start at zero) and voltages (V) of a measured file. Raises ``ValueError`` with line and
    remedy."""
    table = read_table(path, ("time", "voltage"), layout, 2, MOST_POINTS)
    time, voltage = table.values["time"], table.values["voltage"]
    return (time - time[0]).tolist(), voltage.tolist()
