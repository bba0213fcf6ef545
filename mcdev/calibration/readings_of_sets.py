"""The readings of measured devices, device by device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mcdev.measurements.contract import OK
from mcdev.schema import Unit
from mcdev.statistics.readings import Reading


class Which(NamedTuple):
    """A number that is read off every device."""

    name: str
    """Of the measurement."""
    entry: int | None
    """Of a list, counted from 0; None for a number."""
    point: int
    """Of the sweep point."""
    logarithmic: bool
    """Whether it is taken by its logarithm."""


class DeviceReadings(NamedTuple):
    """Of one set of files."""

    label: str
    experiment: str
    device: str
    which: tuple[Which, ...]
    values: np.ndarray
    """[device, reading], of each device the mean over its cycles; SI, or ln of it."""


def of_devices(values: np.ndarray, status: np.ndarray, logarithmic: bool) -> np.ndarray:
    """[device] of [device, cycle]: the mean over cycles, of ln x where that is what is taken; NaN where one is no
    number."""
    fine = (status == OK) & np.isfinite(values) & ((values > 0) | (not logarithmic))
    safe = np.where(fine, values, 1.0)
    return np.where(fine, np.log(safe) if logarithmic else safe, np.nan).mean(axis=1)


def set_of(label: str, experiment: str, device: str, readings: Iterable[Reading], linear: set[str]) -> DeviceReadings:
    """The readings that every device has. ``linear``: names of measurements whose lists are traces, which are not taken
    by their logarithms, as their spreads are not (``of_population.targets_of``)."""
    which, columns = [], []
    for r in readings:
        logarithmic = r.positive and not (r.name in linear and r.entry is not None)
        column = of_devices(r.values * Unit.of_results(r.unit).scale, r.status, logarithmic)
        if np.isfinite(column).all():
            which.append(Which(r.name, r.entry, r.index, logarithmic))
            columns.append(column)
    return DeviceReadings(
        label, experiment, device, tuple(which), np.stack(columns, axis=1) if columns else np.empty((0, 0))
    )
