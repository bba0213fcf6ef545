"""All reported numbers at given parameters: simulated values, errors, derivatives by the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mcdev.calibration import exact, noisy, population
from mcdev.calibration.covariance import reduced
from mcdev.calibration.goals import Goal
from mcdev.calibration.noisy import Wanted
from mcdev.calibration.plan import Case, Plan
from mcdev.calibration.population import Number
from mcdev.calibration.reading import Reading
from mcdev.configuration.key_paths import axis_unit, axis_values
from mcdev.machine.threads import thread_pool
from mcdev.schema import Unit
from mcdev.simulation.jackknife import standard_error


class Evaluation(NamedTuple):
    """Everything in SI units; a number that could not be read is NaN."""

    value: np.ndarray
    """[goal]"""
    error: np.ndarray
    """Standard error over the ensemble."""
    jacobian: np.ndarray
    """d(value)/d(parameter) [goal, parameter]; empty if not asked for."""
    jacobian_error: np.ndarray
    currents: tuple[np.ndarray, ...]
    """Of each trace [sample]."""
    current_jacobians: tuple[np.ndarray, ...]
    """[sample, parameter]"""
    left_out: float
    """Largest share of realisations, in any case, that broke down."""
    methods: tuple[str, ...]
    """How each goal's derivative was found."""
    covariance: np.ndarray = np.empty((0, 0))
    """Of the values over the ensemble [goal, goal]: numbers read off the same realisations err together."""
    courses: tuple[np.ndarray, ...] = ()
    """Of each trace, every realisation's current as ``covariance.reduced`` has it [realisation, number]; none where
    devices are alike. Of evaluations with derivatives."""
    scatter: np.ndarray = np.empty((0, 0))
    """Of statistics of a population, their covariance if it were of one device [goal, goal]: divided by D, that of D
    devices. Zero of others."""


def evaluate(
    plan: Plan, x: np.ndarray, devices: int, seed: int, slopes: bool, goals: Sequence[Goal], traces: bool = True
) -> Evaluation:
    """Simulate what the goals (and traces) need with ensembles of ``devices`` realisations."""
    values = {pair: plan.given(x, *pair) for pair in plan.experiments}

    search = plan.job.search

    def together(task: _Task) -> dict[tuple[Case, bool], Reading]:
        """All that is read of these cases, from the same ensembles."""
        name, cases, wanted = task
        curve = any(name == t.experiment for t in plan.traces)
        if cases[0].base.exact:
            found: dict[tuple[Case, bool], Reading] = {}
            for own in wanted:
                settings = (own.names, own.of_mean, search.members, search.seed, slopes, curve)
                found |= {(case, own.of_mean): r for case, r in exact.read(cases, values, *settings).items()}
            return found
        derivatives = "differences" if curve else search.derivatives
        pair = cases[0].experiment, cases[0].device
        reach = {path: plan.parameters[j].reach for path, j in plan.columns(*pair).items()}
        ensemble = (devices, seed, slopes, derivatives, curve and slopes)
        return noisy.read(cases[0], values[pair], reach, wanted, *ensemble)

    readings: dict[tuple[Case, bool], Reading] = {}
    with thread_pool() as pool:
        for more in pool.map(together, _tasks(plan, goals, traces)):
            readings |= more

    count = len(plan.parameters)
    value, error = np.full(len(goals), np.nan), np.zeros(len(goals))
    jacobian = np.zeros((len(goals), count)) if slopes else np.empty((0, count))
    jacobian_error = np.zeros_like(jacobian)
    found = [_of_goal(plan, goal, readings) for goal in goals]
    for i, (goal, number) in enumerate(zip(goals, found, strict=True)):
        value[i], error[i] = number.value, number.error
        if slopes:
            for path, j in plan.columns(goal.experiment, goal.device).items():
                jacobian[i, j], jacobian_error[i, j] = number.slope.get(path, 0.0), number.slope_error.get(path, 0.0)
    currents: list[np.ndarray] = []
    courses: list[np.ndarray] = []
    current_jacobians: list[np.ndarray] = []
    for trace in plan.traces if traces else ():
        case = plan.cases[trace.experiment, trace.device][0]
        reading = readings[case, True]
        assert reading.current is not None
        currents.append(reading.current)
        if slopes:
            own = reading.courses if reading.courses is not None else np.empty((0, trace.current.size), np.float32)
            courses.append(reduced(trace, own).astype(np.float32))
            by_parameter = np.zeros((reading.current.size, count))
            assert reading.current_slope is not None
            for path, j in plan.columns(trace.experiment, trace.device).items():
                by_parameter[:, j] = reading.current_slope[reading.paths.index(path)]
            current_jacobians.append(by_parameter)
    left_out = max((r.left_out for r in readings.values()), default=0.0)
    return Evaluation(
        value,
        error,
        jacobian,
        jacobian_error,
        tuple(currents),
        tuple(current_jacobians),
        left_out,
        tuple(n.method for n in found),
        _covariance(error, [n.replicates for n in found]),
        tuple(courses),
        _scatter(goals, [n.scatter for n in found]),
    )


def _scatter(goals: Sequence[Goal], away: Sequence[np.ndarray | None]) -> np.ndarray:
    """Covariance of one device, of numbers that are read off the same devices."""
    found = np.zeros((len(goals), len(goals)))
    for i, (a, x) in enumerate(zip(goals, away, strict=True)):
        for j, (b, y) in enumerate(zip(goals, away, strict=True)):
            if x is not None and y is not None and x.size == y.size and a.device == b.device:
                found[i, j] = float(x @ y)
    return np.nan_to_num(found)


def _covariance(error: np.ndarray, replicates: Sequence[np.ndarray | None]) -> np.ndarray:
    """Sizes are the errors; correlations those of the numbers with one group of realisations left out after the other.
    Numbers that have no such groups err alone."""
    found = np.diag(error**2)
    for size in {r.size for r in replicates if r is not None and r.size > 2}:
        which = [i for i, r in enumerate(replicates) if r is not None and r.size == size]
        others = np.array([r[1:] for r in replicates if r is not None and r.size == size])
        away = others - others.mean(axis=1, keepdims=True)
        own = np.sqrt(np.maximum(np.sum(away**2, axis=1), 1e-300))
        found[np.ix_(which, which)] = (away @ away.T) * np.outer(error[which] / own, error[which] / own)
        found[which, which] = error[which] ** 2
    return np.nan_to_num(found)


class _Task(NamedTuple):
    """Cases of one experiment that are computed together: all that have exact derivatives, or one of an ensemble."""

    experiment: str
    cases: list[Case]
    wanted: list[Wanted]
    """What is read of each realisation, and what of the mean trajectory."""


def _tasks(plan: Plan, goals: Sequence[Goal], traces: bool) -> list[_Task]:
    """Only of sweep points that a number is read at."""
    needed: dict[Case, dict[bool, dict[str, bool]]] = {}

    def add(case: Case, of_mean: bool, name: str, spread: bool) -> None:
        own = needed.setdefault(case, {}).setdefault(of_mean, {})
        own[name] = own.get(name, False) or spread

    for goal in goals:
        experiment, cases = plan.experiments[goal.experiment, goal.device], plan.cases[goal.experiment, goal.device]
        fit = experiment.fit_read(goal.read.measurement, goal.read.coefficient)
        if fit is not None:
            for i in experiment.curves(fit.axis)[goal.read.point - 1][1]:
                add(cases[i], fit.statistic == "mean_response", fit.measurement, False)
            continue
        names = [goal.read.measurement] + ([goal.read.partner[0]] if goal.read.other is not None else [])
        for name in names:
            of_mean = goal.read.statistic == "mean_response"
            add(cases[goal.read.point - 1], of_mean, name, _of_population(plan, goal))
    for trace in plan.traces if traces else ():
        add(plan.cases[trace.experiment, trace.device][0], True, "g", False)

    exact_ones: dict[Any, list[Case]] = {}
    found = []
    for case, passes in needed.items():
        wanted = [
            Wanted(of_mean, tuple(own), frozenset(name for name, spread in own.items() if spread))
            for of_mean, own in sorted(passes.items())
        ]
        if not case.base.exact:
            found.append(_Task(case.experiment, [case], wanted))
            continue
        alike = case.experiment, tuple(wanted)
        if alike not in exact_ones:
            exact_ones[alike] = []
            found.append(_Task(case.experiment, exact_ones[alike], wanted))
        exact_ones[alike].append(case)
    return found


def _of_population(plan: Plan, goal: Goal) -> bool:
    """Whether more is read than the mean over devices in one cycle, or the measurement of the mean trajectory."""
    plain = goal.read.statistic in ("mean", "mean_response") and goal.of_devices is None
    return not (plain and plan.experiments[goal.experiment, goal.device].ensemble.cycles == 1)


def _of_goal(plan: Plan, goal: Goal, readings: Mapping[tuple[Case, bool], Reading]) -> Number:
    """A goal's number, its errors and derivatives."""
    experiment = plan.experiments[goal.experiment, goal.device]
    cases = plan.cases[goal.experiment, goal.device]
    fit = experiment.fit_read(goal.read.measurement, goal.read.coefficient)
    if fit is None:
        own = readings[cases[goal.read.point - 1], goal.read.statistic == "mean_response"]
        if _of_population(plan, goal):
            return population.number(own, goal.read)
        name, entry = goal.read.measurement, (goal.read.entry or 1) - 1
        slope, slope_error = {}, {}
        if name in own.slope:
            slope = {path: float(own.slope[name][j, entry]) for j, path in enumerate(own.paths)}
            slope_error = {path: float(own.slope_error[name][j, entry]) for j, path in enumerate(own.paths)}
        method = own.method.get(name, "")
        left = own.replicates[name][:, entry] if name in own.replicates else None
        return Number(float(own.value[name][entry]), float(own.error[name][entry]), slope, slope_error, method, left)
    _, which = experiment.curves(fit.axis)[goal.read.point - 1]
    axis = np.asarray(axis_values(experiment, fit.axis), float) * Unit(axis_unit(experiment, fit.axis)).scale
    along = [readings[cases[i], fit.statistic == "mean_response"] for i in which]
    numbers = np.array([r.value[fit.measurement][0] for r in along])
    good = fit.usable(numbers)
    if good.sum() < fit.least_points:
        return Number(np.nan, 0.0, {}, {}, "", None)
    coefficient = str(goal.read.coefficient)
    scale = Unit(fit.coefficients[coefficient]).scale  # a fit speaks in its own units, such as eV
    value = scale * fit.fit(axis[which][good], numbers[good])[coefficient].value
    by_value = scale * fit.sensitivity(axis[which][good], numbers[good])[coefficient]
    used = [r for r, fine in zip(along, good, strict=True) if fine]
    measured = fit.measurement

    def error(replicates: list[np.ndarray], independent: list[float]) -> float:
        """Of the weighted sum: of points that lost the same realisations, else of independent ones."""
        if len(replicates) == len(used):
            return float(standard_error(sum(w * r for w, r in zip(by_value, replicates, strict=True))))
        return float(np.sqrt(np.sum((by_value * np.array(independent)) ** 2)))

    spread = error(
        [r.replicates[measured][:, 0] for r in used if measured in r.replicates], [r.error[measured][0] for r in used]
    )
    slope, slope_error = {}, {}
    if measured in used[0].slope:
        for j, path in enumerate(used[0].paths):
            slope[path] = float(np.dot(by_value, [r.slope[measured][j, 0] for r in used]))
            slope_error[path] = error(
                [r.slope_replicates[measured][:, j, 0] for r in used if measured in r.slope_replicates],
                [r.slope_error[measured][j, 0] for r in used],
            )
    left = None
    if all(measured in r.replicates for r in used):
        left = np.asarray(sum(w * r.replicates[measured][:, 0] for w, r in zip(by_value, used, strict=True)))
    return Number(value, spread, slope, slope_error, used[0].method.get(measured, ""), left)
