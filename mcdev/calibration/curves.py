"""Measured currents from CSV files, as an oscilloscope or a source meter writes them."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Trace(NamedTuple):
    """A measured current, row by row: sample i lies between the rows i and i + 1."""

    label: str
    experiment: str
    device: str
    time: np.ndarray
    voltage: np.ndarray
    current: np.ndarray
    """[sample], NaN where nothing was recorded."""
    noise: float
    weight: float
    source: str


def read_curve(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (s), voltages (V) and currents (A) of a CSV file with three columns; an empty current is a NaN here.

    One header line is allowed; where it names units they must be s, V and A. Raises ``ValueError`` naming line and
    remedy.
    """
    rows: list[tuple[float, float, float]] = []
    header = False
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if not row or row[0].lstrip().startswith("#"):
                continue
            if len(row) != 3:
                raise ValueError(
                    f"line {number} has {len(row)} columns; expected three: time (s), voltage (V), current (A)"
                )
            try:
                time, voltage = float(row[0]), float(row[1])
                current = float(row[2]) if row[2].strip() else math.nan
            except ValueError:
                if not rows and not header:
                    header = True
                    _check_header(number, row)
                    continue
                raise ValueError(
                    f"line {number} is {','.join(row)[:60]!r}; expected three numbers, or an empty current"
                ) from None
            if not (math.isfinite(time) and math.isfinite(voltage)) or (row[2].strip() and not math.isfinite(current)):
                raise ValueError(
                    f"line {number} holds {','.join(row)[:60]!r}; expected finite numbers: leave a current empty where "
                    "nothing was recorded"
                )
            if rows and time <= rows[-1][0]:
                raise ValueError(f"line {number}: time {time:g} s does not follow {rows[-1][0]:g} s; sort the rows")
            rows.append((time, voltage, current))
    if len(rows) < 5:
        raise ValueError(f"{len(rows)} rows found; expected at least five of time (s), voltage (V), current (A)")
    if len(rows) > 100_000:
        raise ValueError(f"{len(rows)} rows found; expected at most 100000: average neighbouring rows")
    time_, voltage_, current_ = (np.array(column) for column in zip(*rows, strict=True))
    if np.isfinite(current_[1:]).sum() < 3:
        raise ValueError("fewer than three currents are recorded")
    return time_, voltage_, current_


def _check_header(number: int, row: list[str]) -> None:
    for name, cell, unit in zip(("time", "voltage", "current"), row, ("s", "V", "A"), strict=True):
        text = cell.strip()
        inner = text[text.rfind("(") + 1 : -1] if text.endswith(")") else text[text.rfind("[") + 1 : -1]
        if text.endswith((")", "]")) and inner.strip() != unit:
            raise ValueError(f"line {number}: {name} is in {inner.strip()!r}; expected {unit}: convert the column")
