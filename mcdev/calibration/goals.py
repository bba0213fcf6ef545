"""The numbers that a calibration is to meet, and those that might be measured next."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from pydantic_core import PydanticCustomError

from mcdev.calibration.job import Read, Target, given_for
from mcdev.configuration.address import OF_SPREAD, Address
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import Problem, keys_of
from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED, UNDEFINED
from mcdev.schema import Unit, nearest, percentage, sentence
from mcdev.schema.units import readable, unit_written

_LEAST = 3  # devices whose scatter says something of itself


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
    status: int = OK
    """Whether it was read, is a bound, or there was nothing to read."""
    floor: float = 0.0
    """Of a candidate: least σ."""
    key: str = ""
    """Of the table of the calibration's file that it is from."""

    @property
    def mark(self) -> Unit:
        """The unit in which it is written."""
        return Unit.of_results(self.unit)

    def expected_sigma(self, value: float) -> float:
        """σ of a candidate with this value."""
        return max(self.sigma if self.sigma > 0 else -self.sigma * abs(value), self.floor)

    @property
    def noise(self) -> float:
        """Standard deviation of t(reported), σ t'(reported): what the instrument adds, on the scale of the deviation;
        without what devices scatter by."""
        if self.status == UNDEFINED:
            return self.sigma
        return self.sigma * _slope(self.scale, self.value) if self.sigma > 0 else 0.0

    @property
    def read_as(self) -> dict[str, Any]:
        """What is read, whatever was reported."""
        return self.read.model_dump(include=set(Address.model_fields))

    def on_scale(self, x: float) -> float:
        """t(x); no number where there is none."""
        return _to(self.scale, x)

    def off_scale(self, t: float) -> float:
        """x(t)."""
        return {"linear": lambda: t, "log": lambda: math.exp(min(t, 700.0)), "artanh": lambda: math.tanh(t)}[
            self.scale
        ]()

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
    simulated: bool = False,
) -> list[Goal]:
    """The numbers that one target asks for, one a device; what is wrong with it is added to ``found``. ``simulated``:
    by simulations, which know bounds and single devices, and not by gradients."""
    goals = []
    written = target.value if isinstance(target.value, dict) else None
    for device in _read_devices(key, target, devices, written, found):
        experiment = experiments.get((target.experiment, device))
        unit = _readable(key, target, experiment, device, experiments, found, not simulated)
        if unit is None:
            continue
        mark = Unit.of_results(unit)
        at = f"{key}.value"
        try:
            status, written_value = _status(given_for(target.value, (device,)))
            if status != OK and not simulated:
                message = (
                    "is no number that gradients could follow; add [simulations], where it counts as what it is, or "
                    "leave the target out"
                )
                found.append(Problem(at, given_for(target.value, (device,)), message))
                continue
            value = math.nan if written_value is None else mark.parse(written_value)
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
                of_value = 1.0 if status == UNDEFINED else abs(value)
                sigma = of_value * share if share is not None else Unit(mark.unit, gt=0).parse(uncertainty)
        except PydanticCustomError as error:
            found.append(Problem(at, (error.context or {}).get("value"), sentence(error)))
            continue
        if (few := target.of_devices) is not None and few < _LEAST and not simulated:
            message = (
                f"so few devices do not tell what they scatter by; expected {_LEAST} or more, or add [simulations], "
                "where each simulated number is of as many"
            )
            found.append(Problem(f"{key}.of_devices", few, message))
            continue
        if status == UNDEFINED and share is not None and target.scale == "linear":
            message = "a share of what has no value; expected a quantity, or leave it out"
            found.append(Problem(f"{key}.uncertainty", uncertainty, message))
            continue
        if uncertainty is not None and not sigma > 0:
            found.append(Problem(f"{key}.uncertainty", uncertainty, "expected more than zero; of a zero, a quantity"))
            continue
        relative = share is not None or (target.of_devices is not None and target.statistic != "censored_share")
        scale: Scale = (
            "log" if target.scale == "log" or (target.scale == "auto" and relative and not value <= 0) else "linear"
        )
        if target.statistic == "correlation" and target.scale == "auto":
            scale = "artanh"
        if status != UNDEFINED and not math.isfinite(_to(scale, value)):
            expected = "one between -1 and 1" if scale == "artanh" else "a positive one, or linear"
            found.append(Problem(f"{key}.scale", target.scale, f"the value is {value:g}; expected {expected}"))
            continue
        label = _label(target, experiments[target.experiment, device], device, len(devices))
        unit = unit_written(mark.unit, given_for(target.value, (device,))) or "1"
        goals.append(
            Goal(
                *(label, target.experiment, device, target, unit, value, sigma, scale, target.weight, target.source),
                of_devices=target.of_devices,
                status=status,
                key=key,
            )
        )
    return goals


def _status(written: Any) -> tuple[int, Any]:
    """What a value says of itself, and the quantity that is left of it: ``> 20 ms``, ``< 1 ms``, ``undefined``."""
    text = written.strip() if isinstance(written, str) else ""
    if text == "undefined":
        return UNDEFINED, None
    for sign, status in ((">", RIGHT_CENSORED), ("<", LEFT_CENSORED)):
        if text.startswith(sign):
            return status, text[1:].strip()
    return OK, written


def candidates_of(
    key: str,
    candidate: Any,
    devices: dict[str, Any],
    experiments: dict[tuple[str, str], Experiment],
    found: list[Any],
    simulated: bool = False,
) -> list[Goal]:
    """The same of a number that might be measured next."""
    goals = []
    for device in _read_devices(key, candidate, devices, None, found):
        experiment = experiments.get((candidate.experiment, device))
        unit = _readable(key, candidate, experiment, device, experiments, found, not simulated)
        if unit is None:
            continue
        share, mark = percentage(candidate.uncertainty), Unit("" if unit == "1" else unit, gt=0)
        at, written = f"{key}.uncertainty", candidate.uncertainty
        try:
            sigma = -share if share is not None else mark.parse(written)
            at, written = f"{key}.floor", candidate.floor
            floor = 0.0 if written is None else mark.parse(written)
        except PydanticCustomError as error:
            found.append(Problem(at, written, sentence(error)))
            continue
        label = _label(candidate, experiments[candidate.experiment, device], device, len(devices))
        one = Goal(label, candidate.experiment, device, candidate, unit, math.nan, sigma, "linear", 0.0, "")
        goals.append(one._replace(floor=floor))
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
    followed: bool = True,
) -> str | None:
    """The unit of what is read; None, with the reason in ``found``, where it cannot be. ``followed``: by gradients."""
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
    if (
        followed
        and measurement is not None
        and measurement.stepped
        and experiment.exact
        and getattr(read, "weight", 1.0) > 0
    ):
        message = (
            f"'{read.measurement}' is a count, which for devices that are alike changes in steps and has no derivative "
            "to follow; expected a time (spike_latency, interspike_interval), or weight = 0, which only shows it"
        )
        problems = [*problems, Problem(f"{key}.measurement", read.measurement, message)]
    if not problems:
        problems = _without_spread(key, read, experiment, followed)
    found += problems
    return None if problems else unit


def _without_spread(key: str, read: Read, experiment: Experiment, followed: bool) -> list[Problem]:
    """What a population cannot say that has no spread, or none that a search could follow."""
    drawn = any(not isinstance(law, float) for law in experiment.laws.values())
    cycles = bool(experiment.ensemble.cycle_to_cycle)
    if not experiment.exact:
        return []
    if not drawn and not cycles and (read.statistic in OF_SPREAD or getattr(read, "of_devices", None) is not None):
        which = "statistic" if read.statistic in OF_SPREAD else "of_devices"
        message = "its devices are alike; give a parameter a distribution, or ensemble.cycle_to_cycle"
        return [Problem(f"{key}.{which}", getattr(read, which), message)]
    if read.statistic in ("sigma_ln_within", "sd_within") and not cycles:
        message = "its cycles are alike; give a parameter a spread in ensemble.cycle_to_cycle"
        return [Problem(f"{key}.statistic", read.statistic, message)]
    if followed and read.statistic == "censored_share" and getattr(read, "weight", 0.0) > 0:
        message = (
            "is a share, which for devices without noise changes in steps and has no derivative to follow; expected a "
            "median or quantile, or weight = 0, which only shows it"
        )
        return [Problem(f"{key}.statistic", read.statistic, message)]
    return []
