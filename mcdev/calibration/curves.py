"""Measured currents, as an oscilloscope or a source meter writes them."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic_core import PydanticCustomError

from mcdev.calibration.job import ONLY, Curve, Job, Range, placed
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
    noise: np.ndarray
    """[sample], standard deviation of the instrument's (A)."""
    weight: float
    source: str
    mean_of: int
    """How many devices' currents the measured one is the mean of."""
    bound: np.ndarray
    """[sample], +1 where the current would have been larger but for the instrument's limit, -1 where it would have been
    smaller, 0 where it is a reading."""

    def away(self, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Simulated less measured current [sample], and which samples tell: one that lies beyond a bound is as the
        bound says, and no difference."""
        found = current - self.current
        telling = ~(found * self.bound > 0)
        return np.where(telling, found, 0.0), telling


class Rows(NamedTuple):
    """A measured file's rows in SI units. Two rows of one time are a step of the voltage."""

    time: np.ndarray
    voltage: np.ndarray
    current: np.ndarray
    """Mean since the row before; NaN where nothing was recorded."""
    unread: int
    """Currents that are an instrument's "not a number" or infinity."""
    bound: np.ndarray
    """+1 and -1 of currents that are bounds, as ``Trace.bound`` has them."""

    @property
    def lasting(self) -> np.ndarray:
        """The rows between which time passes: the first, and each that is later than the one before."""
        return np.concatenate([[0], 1 + np.flatnonzero(np.diff(self.time))])


def _read(path: Path, layout: Layout) -> Rows:
    """Raises ``ValueError`` naming line, column and remedy."""
    table = read_table(path, ("time", "voltage", "current"), layout, 5, 100_000)
    values = table.values
    recording = Rows(values["time"], values["voltage"], values["current"], table.unread, table.censored)
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
    noise: np.ndarray
    """Of each row."""


_UNREAD = Rows(np.array([0.0, 1.0]), np.zeros(2), np.zeros(2), 0, np.zeros(2, int))


def read_curve(key: str, curve: Curve, folder: Path, found: list[Problem]) -> Reading:
    """What a curve's table names; where something is wrong with it, a stand-in, so that nothing else is complained
    about."""
    recording = _UNREAD
    try:
        recording = _read(beside(folder, curve.file), curve)
    except ValueError as error:
        found.append(Problem(f"{key}.file", curve.file, str(error)))
    return Reading(recording, _noise(f"{key}.noise", curve, recording.current, found))


def _noise(key: str, curve: Curve, current: np.ndarray, found: list[Problem]) -> np.ndarray:
    """Of each current: floor + share · |I| in the first range that holds it; where nothing was recorded, the floor."""
    if not isinstance(curve.noise, (Range, tuple)):
        ranges: tuple[Range, ...] = (Range(floor=curve.noise),)
    else:
        ranges = curve.noise if isinstance(curve.noise, tuple) else (curve.noise,)
    noise, size = np.full(current.size, math.nan), np.nan_to_num(np.abs(current))
    below = -1.0
    for number, of in enumerate(ranges):
        try:
            floor = Unit("A", gt=0).parse(of.floor)
            end = math.inf if of.up_to is None else Unit("A", gt=below).parse(of.up_to)
        except PydanticCustomError as error:
            found.append(Problem(key, (error.context or {}).get("value", of.floor), sentence(error)))
            return noise
        if math.isinf(end) and number < len(ranges) - 1:
            found.append(Problem(key, None, "expected every range but the last to say up_to: its largest current"))
            return noise
        inside = np.isnan(noise) & (size <= end)
        noise[inside] = floor + of.share * size[inside]
        below = end
    if np.isnan(noise).any():
        message = f"a current of {np.nanmax(size):.3g} A lies beyond the last range; add one without up_to"
        found.append(Problem(key, None, message))
    return noise


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
            traces.append(
                Trace(
                    label,
                    name,
                    device,
                    time,
                    voltage,
                    current,
                    unread=recording.unread,
                    noise=noise[rows[1:]],
                    weight=curve.weight,
                    source=source,
                    mean_of=curve.mean_of,
                    bound=recording.bound[rows[1:]],
                )
            )
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
