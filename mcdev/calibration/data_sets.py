"""Simulated data sets: what the targets would have read, had the parameters been these.

Each data set is of other devices. A target that is of D devices through C cycles is the same statistic of D simulated
devices through C cycles, and has a status as any reading: a bound is a bound, and what was not there is undefined. A
device is a sweep point of its own with one lane, so that the lanes of one compiled call are devices of many data sets,
whatever their parameters are (of the device, the circuit, the protocol or a distribution).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mcdev.calibration.goals import Goal
from mcdev.calibration.places import moved
from mcdev.calibration.plan import Case, Plan
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.key_paths import axis_unit, axis_values, path_of_law
from mcdev.configuration.problems import ConfigError
from mcdev.machine.threads import cores, thread_pool
from mcdev.measurements.contract import FAILED, LEFT_CENSORED, OK, RIGHT_CENSORED, UNDEFINED
from mcdev.schema import Unit
from mcdev.simulation.draws import draw_parameters
from mcdev.simulation.ensemble import perform, total_steps
from mcdev.simulation.ensemble import plan as cut
from mcdev.simulation.gathering import PointResult, gather
from mcdev.simulation.kept import InMemory
from mcdev.simulation.progress import Progress
from mcdev.simulation.trial import Trial
from mcdev.statistics.statistic import statistic

TOO_LONG = 100.0
"""Times the steps of the configuration's own start that a data set may take; one that takes more counts as failed, so
that no draw holds up the others for hours."""


class DataSets(NamedTuple):
    """Readings of every target."""

    value: np.ndarray
    """[set, target], SI; the bound of a censored one, NaN where there is none."""
    status: np.ndarray
    """[set, target]: as a measurement's, ``failed`` where a realisation broke down or was not computed."""
    currents: dict[tuple[str, str], np.ndarray]
    """(experiment, device) → mean current of the devices over time [set, sample], of those that were asked for."""


class _One(NamedTuple):
    """A device of a data set at one point of an experiment."""

    number: int
    case: Case
    device: int
    trial: Trial


def devices_of(plan: Plan, pair: tuple[str, str]) -> int:
    """How many devices of one experiment a data set holds."""
    return max((g.of_devices or 1 for g in plan.goals if (g.experiment, g.device) == pair), default=1)


def simulate_sets(
    plan: Plan, x: np.ndarray, seeds: np.ndarray, currents: bool = False, threads: int | None = None
) -> DataSets:
    """Data sets of parameters ``x`` [set, parameter] (SI), from random numbers ``seeds`` [set].

    A data set that cannot be computed (no finite number of steps, an error on the way, too many steps) has the status
    ``failed`` in what depends on it.
    """
    lanes: list[_One] = []
    for pair in dict.fromkeys((g.experiment, g.device) for g in plan.goals):
        longest = {case.point: _steps(case.base) for case in plan.cases[pair]}
        for case in plan.cases[pair]:
            for number, seed in enumerate(seeds):
                values = plan.given(x[number], *pair)
                for device in range(devices_of(plan, pair)):
                    trial = _trial(case, values, int(seed), device, TOO_LONG * longest[case.point])
                    if trial is not None:
                        lanes.append(_One(number, case, device, trial))
    results = _computed([one.trial for one in lanes], threads or cores()) if lanes else []
    found: dict[tuple[int, tuple[str, str]], dict[tuple[int, int], PointResult]] = {}
    for one, result in zip(lanes, results, strict=True):
        key = (one.number, (one.case.experiment, one.case.device))
        found.setdefault(key, {})[one.case.point, one.device] = result
    value = np.full((len(seeds), len(plan.goals)), np.nan)
    status = np.full(value.shape, FAILED, np.int8)
    for number in range(len(seeds)):
        for j, goal in enumerate(plan.goals):
            own = found.get((number, (goal.experiment, goal.device)), {})
            value[number, j], status[number, j] = _number(plan, goal, own)
    return DataSets(value, status, _currents(plan, len(seeds), found) if currents else {})


def _steps(experiment: Experiment) -> float:
    trial = Trial(experiment)
    return float(max(trial.rows.steps + (trial.settle.steps if trial.settle else 0), 1))


def _trial(case: Case, values: dict[str, float], seed: int, device: int, most: float) -> Trial | None:
    """One device; None where it cannot be computed."""
    try:
        experiment = case.at(values)
        ensemble = experiment.ensemble.model_copy(update={"devices": 1, "seed": seed})
        experiment = experiment.model_copy(update={"ensemble": ensemble})
        experiment = _alone(experiment, device, f"{case.experiment} {case.point}")
        output = experiment.output.model_copy(update={"trajectories": 0, "cycles": 1})
        trial = Trial(experiment.model_copy(update={"output": output}))
        steps = trial.rows.steps + (trial.settle.steps if trial.settle else 0)
    except (ConfigError, ArithmeticError, ValueError):
        return None
    return trial if steps <= most else None


def _alone(experiment: Experiment, device: int, where: str) -> Experiment:
    """One device of the population by itself: what is drawn of it as plain numbers, the same in every experiment, and
    thermal motion of its own in each. Where a circuit's devices draw each for themselves, what is drawn stays a
    distribution, and thermal motion is named alike in all experiments."""
    drawn = {path_of_law(name): name for name, law in experiment.laws.items() if not isinstance(law, float)}
    found = draw_parameters(experiment, device, device + 1) if drawn else {}
    plain = all(path.count(".") == 1 and found[name].ndim == 1 for path, name in drawn.items())
    words = where.encode() if plain else b""
    seed = int(np.random.SeedSequence([experiment.ensemble.seed, device, *words]).generate_state(1)[0])
    changed: dict[str, object] = {"seed": seed} | ({"correlation": None} if plain else {})
    experiment = experiment.model_copy(update={"ensemble": experiment.ensemble.model_copy(update=changed)})
    return moved(experiment, {path: float(found[name][0]) for path, name in drawn.items()}) if plain else experiment


def _computed(trials: Sequence[Trial], workers: int) -> list[PointResult]:
    keeper = InMemory()
    shares = cut(trials, workers)
    progress = Progress(total_steps(trials), lambda done, total: None)
    with thread_pool(workers) as pool:
        perform(trials, shares, keeper, pool, workers, progress, attempts=2)
    return gather(trials, shares, keeper)


def _number(plan: Plan, goal: Goal, own: dict[tuple[int, int], PointResult]) -> tuple[float, int]:
    """What one target reads of a data set: (value, status)."""
    experiment = plan.experiments[goal.experiment, goal.device]
    fit = experiment.fit_read(goal.read.measurement, goal.read.coefficient)
    if fit is None:
        return _reading(goal, own, goal.read.point - 1)
    _, which = experiment.curves(fit.axis)[goal.read.point - 1]
    axis = np.asarray(axis_values(experiment, fit.axis), float) * Unit(axis_unit(experiment, fit.axis)).scale
    mean = goal.read.model_copy(
        update={"measurement": fit.measurement, "coefficient": None, "statistic": fit.statistic, "point": 1}
    )
    read = [_reading(goal._replace(read=mean), own, int(i)) for i in which]
    if any(status == FAILED for _, status in read):
        return np.nan, FAILED
    numbers = np.array([value if status == OK else np.nan for value, status in read])
    good = fit.usable(numbers)
    if good.sum() < fit.least_points:
        return np.nan, UNDEFINED
    coefficient = str(goal.read.coefficient)
    value = Unit(fit.coefficients[coefficient]).scale * fit.fit(axis[which][good], numbers[good])[coefficient].value
    return (float(value), OK) if np.isfinite(value) else (np.nan, UNDEFINED)


def _reading(goal: Goal, own: dict[tuple[int, int], PointResult], point: int) -> tuple[float, int]:
    """A statistic of the devices at one point."""
    devices = [own.get((point, device)) for device in range(goal.of_devices or 1)]
    results = [result for result in devices if result is not None and result.intact.all()]
    if len(results) < len(devices):
        return np.nan, FAILED
    name, entry = goal.read.measurement, goal.read.entry
    if goal.read.statistic == "mean_response":
        mean = np.array([np.asarray(r.of_mean[name])[0, 0] for r in results], float)
        value = float(mean.mean() if entry is None else mean[:, entry - 1].mean())
        return (value, OK) if np.isfinite(value) else (np.nan, UNDEFINED)
    values, status = _lanes(results, name, entry)
    if values.size == 1 and goal.read.statistic in ("mean", "median", "quantile"):
        code = int(status[0, 0])
        fine = code in (OK, RIGHT_CENSORED, LEFT_CENSORED) and np.isfinite(values[0, 0])
        return (float(values[0, 0]), code) if fine else (np.nan, FAILED if code == FAILED else UNDEFINED)
    other = _lanes(results, *goal.read.partner) if goal.read.other is not None else None
    found = statistic(goal.read.statistic, values, status, goal.read.level, other)
    if np.isfinite(found):
        return float(found), OK
    return _bound(goal, values, status)


def _lanes(results: Sequence[PointResult], name: str, entry: int | None) -> tuple[np.ndarray, np.ndarray]:
    """[device, cycle]"""
    values = np.concatenate([np.asarray(r.values[name], float) for r in results])
    status = np.concatenate([r.status[name] for r in results])
    return (values, status) if values.ndim == 2 else (values[..., (entry or 1) - 1], status[..., (entry or 1) - 1])


def _bound(goal: Goal, values: np.ndarray, status: np.ndarray) -> tuple[float, int]:
    """Of a statistic that is not determined: a bound where that is what most of the readings are, else undefined."""
    if goal.read.statistic in ("mean", "median", "quantile"):
        known = np.isin(status, (OK, RIGHT_CENSORED, LEFT_CENSORED)) & np.isfinite(values)
        for code in (RIGHT_CENSORED, LEFT_CENSORED):
            those = known & (status == code)
            if known.any() and 2 * those.sum() >= known.sum():
                return float(np.median(values[those])), code
    return np.nan, UNDEFINED


def _currents(
    plan: Plan, count: int, found: dict[tuple[int, tuple[str, str]], dict[tuple[int, int], PointResult]]
) -> dict[tuple[str, str], np.ndarray]:
    """Of the first point of each experiment whose samples are the same in all data sets."""
    kept = {}
    for pair in dict.fromkeys(pair for _, pair in found):
        if any(p.path.startswith("protocol.") and pair[0] in p.experiments for p in plan.parameters):
            continue
        samples = plan.cases[pair][0].base.timeline.samples
        rows = np.full((count, samples), np.nan)
        for number, own in _of(pair, found):
            here = [result for (point, _), result in own.items() if point == 0]
            if here:
                rows[number] = np.mean([np.asarray(r.mean["current"][0], float) for r in here], axis=0)
        kept[pair] = rows
    return kept


def _of(
    pair: tuple[str, str], found: dict[tuple[int, tuple[str, str]], dict[tuple[int, int], PointResult]]
) -> Iterator[tuple[int, dict[tuple[int, int], PointResult]]]:
    return ((number, own) for (number, other), own in found.items() if other == pair)
