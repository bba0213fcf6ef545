"""The numbers that a calibration is to meet, and those that might be measured next."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from pydantic_core import PydanticCustomError

from mcdev.calibration.job import Read, Target, given_for
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import Problem, keys_of
from mcdev.schema import Unit, nearest, percentage, sentence


class Goal(NamedTuple):
    """One reported number."""

    label: str
    experiment: str
    device: str
    read: Read
    unit: str
    value: float
    """SI."""
    sigma: float
    log: bool
    weight: float
    source: str

    def deviation(self, simulated: float) -> float:
        """(simulated - reported)/σ, or its logarithmic counterpart; infinite where there is no number."""
        if not math.isfinite(simulated) or (self.log and simulated <= 0):
            return math.inf
        if self.log:
            return math.log(simulated / self.value) * self.value / self.sigma
        return (simulated - self.value) / self.sigma

    def deviation_slope(self, simulated: float) -> float:
        """d(deviation)/d(simulated)."""
        return (self.value / simulated if self.log else 1.0) / self.sigma


def goals_of(
    key: str,
    target: Target,
    devices: dict[str, Any],
    experiments: dict[tuple[str, str], Experiment],
    found: list[Problem],
) -> list[Goal]:
    """The numbers that one target asks for, one a device; what is wrong with it is added to ``found``."""
    goals = []
    written = target.value if isinstance(target.value, dict) else None
    for device in _read_devices(key, target, devices, written, found):
        experiment = experiments.get((target.experiment, device))
        unit = _readable(key, target, experiment, device, experiments, found)
        if unit is None:
            continue
        mark = Unit("" if unit == "1" else unit)
        at = f"{key}.value"
        try:
            value = mark.parse(given_for(target.value, (device,)))
            uncertainty, at = given_for(target.uncertainty, (device,)), f"{key}.uncertainty"
            if uncertainty is None:
                found.append(Problem(at, None, f"has nothing for device {device}"))
                continue
            share = percentage(uncertainty)
            sigma = abs(value) * share if share is not None else Unit(mark.unit, gt=0).parse(uncertainty)
        except PydanticCustomError as error:
            found.append(Problem(at, (error.context or {}).get("value"), sentence(error)))
            continue
        if not sigma > 0:
            found.append(Problem(f"{key}.uncertainty", uncertainty, "expected more than zero; of a zero, a quantity"))
            continue
        log = target.scale == "log" or (target.scale == "auto" and share is not None and value > 0)
        if log and value <= 0:
            found.append(Problem(f"{key}.scale", "log", f"the value is {value:g}; expected a positive one, or linear"))
            continue
        label = _label(target, experiments[target.experiment, device], device, len(devices))
        goals.append(
            Goal(label, target.experiment, device, target, unit, value, sigma, log, target.weight, target.source)
        )
    return goals


def candidates_of(
    key: str, candidate: Any, devices: dict[str, Any], experiments: dict[tuple[str, str], Experiment], found: list[Any]
) -> list[Goal]:
    """The same of a number that might be measured next."""
    goals = []
    for device in _read_devices(key, candidate, devices, None, found):
        experiment = experiments.get((candidate.experiment, device))
        unit = _readable(key, candidate, experiment, device, experiments, found)
        if unit is None:
            continue
        share, mark = percentage(candidate.uncertainty), Unit("" if unit == "1" else unit, gt=0)
        try:
            sigma = -share if share is not None else mark.parse(candidate.uncertainty)
        except PydanticCustomError as error:
            found.append(Problem(f"{key}.uncertainty", candidate.uncertainty, sentence(error)))
            continue
        label = _label(candidate, experiments[candidate.experiment, device], device, len(devices))
        goals.append(Goal(label, candidate.experiment, device, candidate, unit, math.nan, sigma, False, 0.0, ""))
    return goals


def _label(read: Read, experiment: Experiment, device: str, devices: int) -> str:
    """``train: ppf at gap 50 ms (P)``."""
    every = experiment.sweep.points()
    values = every[read.point - 1] if len(every) > 1 and read.coefficient is None else {}
    at = ", ".join(f"{keys_of(path)[-1].replace('_', ' ')} {value}" for path, value in values.items())
    at = f" at {at}" if at else ""
    return f"{read.experiment}: {read.label}{at}" + (f" ({device})" if devices > 1 else "")


def _read_devices(
    key: str, read: Read, devices: dict[str, Any], written: dict[str, Any] | None, found: list[Problem]
) -> list[str]:
    names = [read.device] if read.device is not None else list(written or devices)
    for name in names:
        if name not in devices:
            where = f"{key}.device" if read.device is not None else f"{key}.value"
            found.append(Problem(where, name, f"no such device; {nearest(name, devices)}"))
            return []
    return names


def _readable(
    key: str,
    read: Read,
    experiment: Experiment | None,
    device: str,
    experiments: dict[tuple[str, str], Experiment],
    found: list[Problem],
) -> str | None:
    """The unit of what is read; None, with the reason in ``found``, where it cannot be."""
    if experiment is None:
        names = {name for name, _ in experiments}
        if read.experiment not in names:
            message = f"no such experiment; {nearest(read.experiment, names)}"
        else:
            message = f"is not done on device {device}"
        found.append(Problem(f"{key}.experiment", read.experiment, message))
        return None
    unit, problems = read.resolved(experiment, key)
    measurement = experiment.measurements.get(read.measurement)
    if measurement is not None and measurement.stepped and experiment.device.exact and getattr(read, "weight", 1.0) > 0:
        message = (
            f"'{read.measurement}' is a count, which for devices that are alike changes in steps and has no derivative "
            "to follow; expected a time (spike_latency, interspike_interval), or weight = 0, which only shows it"
        )
        problems = [*problems, Problem(f"{key}.measurement", read.measurement, message)]
    found += problems
    return None if problems else unit
