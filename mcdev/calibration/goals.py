"""The numbers that a calibration is to meet, and those that might be measured next."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from pydantic_core import PydanticCustomError

from mcdev.calibration.job import Read, Target, given_for
from mcdev.configuration.address import OF_SPREAD
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import Problem, keys_of
from mcdev.schema import Unit, nearest, percentage, sentence
from mcdev.units import readable, unit_written


class Goal(NamedTuple):
    """One reported number."""

    label: str
    experiment: str
    device: str
    read: Read
    unit: str
    """In which it is written, and shown."""
    value: float
    """SI."""
    sigma: float
    """Standard deviation; without what the devices scatter by, until :meth:`among` is told."""
    scale: Scale
    """On which the deviation is taken."""
    weight: float
    source: str
    of_devices: int | None = None
    """Of how many devices the number is a statistic."""

    def deviation(self, simulated: float) -> float:
        """(t(simulated) - t(reported))/(σ t'(reported)), with t the identity, ln, or artanh of a correlation; infinite
        where there is no number."""
        there = _to(self.scale, simulated)
        if not math.isfinite(there):
            return math.inf
        return (there - _to(self.scale, self.value)) / (self.sigma * _slope(self.scale, self.value))

    def deviation_slope(self, simulated: float) -> float:
        """d(deviation)/d(simulated)."""
        return _slope(self.scale, simulated) / (self.sigma * _slope(self.scale, self.value))

    def among(self, simulated: float, scatter: float) -> Goal:
        """With what a statistic of so few devices scatters by added to σ; ``scatter``: standard deviation of one device
        alone, at the simulated value. The same of a number that is not of a few."""
        if self.of_devices is None or not (math.isfinite(scatter) and math.isfinite(_to(self.scale, simulated))):
            return self
        own = scatter / math.sqrt(self.of_devices) * _slope(self.scale, simulated) / _slope(self.scale, self.value)
        return self._replace(sigma=math.hypot(self.sigma, own))


Scale = Literal["linear", "log", "artanh"]


def _to(scale: Scale, x: float) -> float:
    """t(x); no number where there is none."""
    if not math.isfinite(x) or (scale == "log" and x <= 0) or (scale == "artanh" and abs(x) >= 1):
        return math.nan
    return {"linear": lambda: x, "log": lambda: math.log(x), "artanh": lambda: math.atanh(x)}[scale]()


def _slope(scale: Scale, x: float) -> float:
    """t'(x)."""
    if scale == "log":
        return 1.0 / x
    return 1.0 / (1.0 - x * x) if scale == "artanh" else 1.0


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
            if uncertainty is None and target.of_devices is None:
                message = (
                    f"has nothing for device {device}"
                    if target.uncertainty is not None
                    else ("is missing; give it, or of_devices = … where the devices' own scatter is all that there is")
                )
                found.append(Problem(at, None, message))
                continue
            share, sigma = percentage(uncertainty), 0.0
            if uncertainty is not None:
                sigma = abs(value) * share if share is not None else Unit(mark.unit, gt=0).parse(uncertainty)
        except PydanticCustomError as error:
            found.append(Problem(at, (error.context or {}).get("value"), sentence(error)))
            continue
        if uncertainty is not None and not sigma > 0:
            found.append(Problem(f"{key}.uncertainty", uncertainty, "expected more than zero; of a zero, a quantity"))
            continue
        relative = share is not None or (target.of_devices is not None and target.statistic != "censored_share")
        scale: Scale = (
            "log" if target.scale == "log" or (target.scale == "auto" and relative and value > 0) else "linear"
        )
        if target.statistic == "correlation" and target.scale == "auto":
            scale = "artanh"
        if not math.isfinite(_to(scale, value)):
            expected = "one between -1 and 1" if scale == "artanh" else "a positive one, or linear"
            found.append(Problem(f"{key}.scale", target.scale, f"the value is {value:g}; expected {expected}"))
            continue
        label = _label(target, experiments[target.experiment, device], device, len(devices))
        unit = unit_written(mark.unit, given_for(target.value, (device,))) or "1"
        goals.append(
            Goal(
                *(label, target.experiment, device, target, unit, value, sigma, scale, target.weight, target.source),
                of_devices=target.of_devices,
            )
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
        goals.append(Goal(label, candidate.experiment, device, candidate, unit, math.nan, sigma, "linear", 0.0, ""))
    return goals


def _label(read: Read, experiment: Experiment, device: str, devices: int) -> str:
    """``train: ppf at gap 50 ms (P)``."""
    every = experiment.sweep.points()
    values = every[read.point - 1] if len(every) > 1 and read.coefficient is None else {}
    at = ", ".join(f"{keys_of(path)[-1].replace('_', ' ')} {readable(value)}" for path, value in values.items())
    at = f" at {at}" if at else ""
    what = read.label if read.statistic in ("mean", "mean_response") else read.words
    return f"{read.experiment}: {what}{at}" + (f" ({device})" if devices > 1 else "")


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
    if not problems:
        problems = _without_spread(key, read, experiment)
    found += problems
    return None if problems else unit


def _without_spread(key: str, read: Read, experiment: Experiment) -> list[Problem]:
    """What a population cannot say that has no spread, or none that a search could follow."""
    drawn = any(not isinstance(law, float) for law in experiment.laws.values())
    cycles = bool(experiment.ensemble.cycle_to_cycle)
    if not experiment.device.exact:
        return []
    if not drawn and not cycles and (read.statistic in OF_SPREAD or getattr(read, "of_devices", None) is not None):
        which = "statistic" if read.statistic in OF_SPREAD else "of_devices"
        message = "its devices are alike; give a parameter a distribution, or ensemble.cycle_to_cycle"
        return [Problem(f"{key}.{which}", getattr(read, which), message)]
    if read.statistic == "sigma_ln_within" and not cycles:
        message = "its cycles are alike; give a parameter a spread in ensemble.cycle_to_cycle"
        return [Problem(f"{key}.statistic", read.statistic, message)]
    if read.statistic == "censored_share" and getattr(read, "weight", 0.0) > 0:
        message = (
            "is a share, which for devices without noise changes in steps and has no derivative to follow; expected a "
            "median or quantile, or weight = 0, which only shows it"
        )
        return [Problem(f"{key}.statistic", read.statistic, message)]
    return []
