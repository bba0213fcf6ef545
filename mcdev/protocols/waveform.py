"""Any waveform: straight lines between given points of time and voltage."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal, TextIO

import numpy as np
from pydantic import Field, model_validator

from mcdev.protocols.timeline import Piece, Protocol, Timeline, timeline
from mcdev.schema import refuse


class Waveform(Protocol):
    """Points from a CSV file with the columns time (s) and voltage (V), or written out.

    The file is read when the configuration is loaded; results hold its points, not its path.
    """

    kind: Literal["waveform"] = "waveform"
    time: tuple[float, ...] = Field(min_length=2, max_length=200_000)
    """Times of the points in seconds, increasing, the first at zero."""
    voltage: tuple[float, ...] = Field(min_length=2, max_length=200_000)
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
        if not np.all(steps > 0):
            row = int(np.argmin(steps > 0)) + 1
            refuse(
                self.time[row], f"expected increasing times; point {row + 1} does not follow point {row}", key="time"
            )
        return self

    def timeline(self) -> Timeline:
        return timeline(
            [
                Piece(t1 - t0, v0, v1, self.samples_per_point)
                for t0, t1, v0, v1 in zip(self.time, self.time[1:], self.voltage, self.voltage[1:], strict=False)
            ]
        )


def _rows(file: TextIO) -> Iterator[list[str]]:
    reader = csv.reader(file)
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} cannot be read: {error}") from None


def read_points(path: Path) -> tuple[list[float], list[float]]:
    """Times (s, shifted to start at zero) and voltages (V) of a CSV file with two numeric columns.

    One header line is allowed. Raises ``ValueError`` naming the file, the line and the remedy.
    """
    times: list[float] = []
    voltages: list[float] = []
    header = False
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(_rows(file), start=1):
            if not row or row[0].lstrip().startswith("#"):
                continue
            try:
                time, voltage = (float(cell) for cell in row)
            except ValueError:
                if not times and not header:
                    header = True
                    continue
                raise ValueError(
                    f"line {number} is {','.join(row)[:60]!r}; expected two numbers, time in s and voltage in V"
                ) from None
            if not (math.isfinite(time) and math.isfinite(voltage)):
                raise ValueError(f"line {number} holds {row}; expected finite numbers: cut the gap or interpolate it")
            if times and time <= times[-1]:
                raise ValueError(f"line {number}: time {time:g} s does not follow {times[-1]:g} s; sort the rows")
            times.append(time)
            voltages.append(voltage)
    if len(times) < 2:
        raise ValueError(f"{len(times)} points found; expected at least two rows of time (s) and voltage (V)")
    return [time - times[0] for time in times], voltages
