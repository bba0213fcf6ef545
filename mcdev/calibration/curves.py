"""Measured currents, as an oscilloscope or a source meter writes them."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic_core import PydanticCustomError

from mcdev.calibration.job import ONLY, Curve, Job, placed
from mcdev.configuration.experiment import Experiment, build
from mcdev.configuration.problems import ConfigError, Problem, beside
from mcdev.measured import Layout, read_table
from mcdev.schema import Unit, nearest, sentence


class Trace(NamedTuple):
    """A measured current, row by row: sample i lies between the rows i and i + 1."""

    label: str
    experiment: str
    device: str
    time: np.ndarray
    voltage: np.ndarray
    current: np.ndarray
    """[sample], NaN where nothing was recorded."""
    unread: int
    """Of these, how many are an instrument's "not a number" or infinity."""
    noise: float
    weight: float
    source: str
    mean_of: int
    """How many devices' currents the measured one is the mean of."""


class Rows(NamedTuple):
    """A measured file's rows in SI units. Two rows of one time are a step of the voltage."""

    time: np.ndarray
    voltage: np.ndarray
    current: np.ndarray
    """Mean since the row before; NaN where nothing was recorded."""
    unread: int
    """Currents that are an instrument's "not a number" or infinity."""

    @property
    def lasting(self) -> np.ndarray:
        """The rows between which time passes: the first, and each that is later than the one before."""
        return np.concatenate([[0], 1 + np.flatnonzero(np.diff(self.time))])


def _read(path: Path, layout: Layout) -> Rows:
    """Raises ``ValueError`` naming line, column and remedy."""
    table = read_table(path, ("time", "voltage", "current"), layout, 5, 100_000)
    recording = Rows(table.values["time"], table.values["voltage"], table.values["current"], table.unread)
    without = np.isfinite(recording.current)
    without[recording.lasting] = False
    if without.any():
        raise ValueError(
            f"line {table.lines[without][0]}: a current, and no time since the row before, over which it is the mean; "
            "leave it empty where the voltage steps, or write times with more digits"
        )
    if np.isfinite(recording.current[1:]).sum() < 3:
        raise ValueError("fewer than three currents are recorded")
    return recording


class Reading(NamedTuple):
    """A curve's file and the noise of its currents."""

    recording: Rows
    noise: float


_UNREAD = Rows(np.array([0.0, 1.0]), np.zeros(2), np.zeros(2), 0)


def read_curve(key: str, curve: Curve, folder: Path, found: list[Problem]) -> Reading:
    """What a curve's table names; where something is wrong with it, a stand-in, so that nothing else is complained
    about."""
    recording, noise = _UNREAD, math.nan
    try:
        recording = _read(beside(folder, curve.file), curve)
    except ValueError as error:
        found.append(Problem(f"{key}.file", curve.file, str(error)))
    try:
        noise = Unit("A", gt=0).parse(curve.noise)
    except PydanticCustomError as error:
        found.append(Problem(f"{key}.noise", curve.noise, sentence(error)))
    return Reading(recording, noise)


def traces_of(
    job: Job, devices: dict[str, Any], readings: Sequence[Reading], found: list[Problem]
) -> tuple[list[Trace], dict[tuple[str, str], Experiment]]:
    """The curves, and the experiment that each is a recording of by (its name, device)."""
    traces, experiments = [], {}
    for i, (curve, (recording, noise)) in enumerate(zip(job.curves, readings, strict=True)):
        key = f"curves.{i}"
        device = curve.device or (next(iter(devices)) if len(devices) == 1 else None)
        if device not in devices:
            found.append(Problem(f"{key}.device", device, f"expected one of the devices; {nearest('', devices)}"))
            continue
        words = f"curve {Path(curve.file).stem}" + (f" {i + 1}" if len(job.curves) > 1 else "")
        label = words + ("" if device == ONLY else f" ({device})")
        name = f"[{words}]"  # no experiment can be called so
        experiment = _experiment(key, curve, device, devices[device], recording, found)
        if experiment is not None:
            experiments[name, device] = experiment
            rows, source = recording.lasting, curve.source or curve.file
            time, voltage, current = recording.time[rows], recording.voltage[rows], recording.current[rows[1:]]
            unread, weight, mean_of = recording.unread, curve.weight, curve.mean_of
            traces.append(Trace(label, name, device, time, voltage, current, unread, noise, weight, source, mean_of))
    return traces, experiments


def _experiment(
    key: str, curve: Curve, name: str, device: dict[str, Any], recording: Rows, found: list[Problem]
) -> Experiment | None:
    """The device under the recorded voltage: in steps, each row's voltage holds since the row before."""
    at, volts = recording.time - recording.time[0], recording.voltage
    if curve.between == "step":
        rows = recording.lasting
        at, volts = np.repeat(at[rows], 2)[1:-1], np.repeat(volts[rows[1:]], 2)
    data = {
        "name": "curve",
        "device": copy.deepcopy(device),
        "protocol": {"kind": "waveform", "time": at.tolist(), "voltage": volts.tolist()},
        "measurements": {"g": {"kind": "mean_conductance"}},
    }
    if curve.circuit is not None:
        data["circuit"] = curve.circuit
    try:
        return build(data, source=key)
    except ConfigError as error:
        found += placed(key, {name: error.problems}, (name,))
        return None
