"""Values and derivatives of ensembles whose realisations differ: hopping particles, frozen quantiles of a density.

Values are those of the ensemble as ``mcdev run`` computes it. Of hopping particles, derivatives come from the estimator
in ``estimator.py`` for what is linear in the recorded trajectory or read off the mean trajectory: the measurement is
linearised there, and the estimator gives the derivative of that sum. Everything else (a first passage of each device
has no derivative along its own path) goes through differences with common random numbers, and so do densities, measured
curves and what the estimator leaves mostly noise. A difference is taken between the logarithms of parameter and number
where both are positive: rates are powers and exponentials of them, and a step may then be long.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mcdev.calibration import estimator
from mcdev.calibration.places import place
from mcdev.calibration.plan import Case
from mcdev.calibration.population import slope_between
from mcdev.calibration.reading import Ends, Lanes, Reading
from mcdev.configuration.experiment import Experiment
from mcdev.machine.environment import computing
from mcdev.measurements.contract import FAILED, OK, Measurement
from mcdev.schema import typical
from mcdev.simulation.ensemble import simulate
from mcdev.simulation.gathering import PointResult
from mcdev.simulation.jackknife import standard_error
from mcdev.simulation.reading import trajectory

_WIDTH = 1e-4  # relative, of the central difference of what the program starts from
_MANY = 16  # parameters from which the estimator is the cheaper at equal error (docs/calibration.md)
_BESIDE = 1e-9  # relative, of a derivative beside a value at which a device lacks a part
_NOISY = 0.5  # share of a derivative that its standard error may be before differences are tried


class Wanted(NamedTuple):
    """What is read of one ensemble."""

    of_mean: bool
    """Whether on the mean trajectory."""
    names: tuple[str, ...]
    """Measurements."""
    spread: frozenset[str] = frozenset()
    """Those of which statistics of the population are read, that is differences of all their realisations."""


class _Around:
    """The ensembles beside one, each parameter a little lower and a little higher, with the same random numbers. Each
    pair is simulated when it is first asked for, once."""

    def __init__(self, case: Case, values: dict[str, float], reach: Mapping[str, float], devices: int, seed: int):
        self.case, self.values, self.reach, self.devices, self.seed = case, values, reach, devices, seed
        self._found: dict[str, tuple[tuple[float, float], PointResult, PointResult]] = {}

    def __getitem__(self, path: str) -> tuple[tuple[float, float], PointResult, PointResult]:
        """Both values of the parameter, and what was simulated at them."""
        if path not in self._found:
            ends = _around(self.case, path, self.values[path], self.reach[path])
            low, high = (_run(self.case, {**self.values, path: x}, self.devices, self.seed) for x in ends)
            self._found[path] = ends, low, high
        return self._found[path]

    @property
    def how(self) -> str:
        """In words, how such a derivative was found."""
        shares = [100 * self.reach[path] for path in self.values]
        ends = " to ".join(f"{x:g}" for x in dict.fromkeys((min(shares), max(shares))))
        return f"differences of ±{ends} % with common random numbers"


def read(
    case: Case,
    values: Mapping[str, float],
    reach: Mapping[str, float],
    wanted: Sequence[Wanted],
    devices: int,
    seed: int,
    slopes: bool,
    derivatives: str = "auto",
    courses: bool = False,
) -> dict[tuple[Case, bool], Reading]:
    """(case, whether of the mean) → what is ``wanted`` of this case at these parameter values (path → SI); all of it
    from the same ensembles.

    ``reach``: path → half the width of a difference, relative to its parameter. ``derivatives`` "differences": no
    estimator.
    ``courses``: with the current of every realisation.
    """
    own = dict(values)
    result = simulate(_sized(case, own, devices, seed), courses=("current",) if courses else ())[0]
    around = _Around(case, own, reach, devices, seed)
    found = {}
    for of_mean, names, spread in wanted:
        reading = Reading(tuple(own), left_out=1.0 - float(result.intact.mean()))
        reading.current = np.asarray(result.mean["current"][0], np.float64)
        if courses:
            reading.courses = result.courses["current"][0][result.intact[:, 0]]
        for name in names:
            if of_mean:
                replicates = _replicates(result, name, of_mean)
                reading.replicates[name] = replicates
                reading.value[name], reading.error[name] = replicates[0], standard_error(replicates)
            else:
                _add(reading, result, name)
                reading.lanes[name] = _lanes(result, name)
        if slopes and own:
            _differentiate(around, result, names, of_mean, derivatives, reading, spread)
        found[case, of_mean] = reading
    return found


def _add(reading: Reading, result: PointResult, name: str) -> None:
    """The mean over the realisations that have this number."""
    values = result.values[name][:, 0].astype(float)
    reading.add(name, values, (result.status[name][:, 0] == OK) & np.isfinite(values), None)


def _lanes(result: PointResult, name: str) -> Lanes:
    values, status = result.values[name].astype(float), result.status[name]
    intact = result.intact.reshape(*result.intact.shape, *([1] * (values.ndim - 2)))
    return Lanes(values, np.where(intact, status, FAILED))


def _run(case: Case, values: Mapping[str, float], devices: int, seed: int) -> PointResult:
    return simulate(_sized(case, values, devices, seed))[0]


def _sized(case: Case, values: Mapping[str, float], devices: int, seed: int) -> Experiment:
    experiment = case.at(values)
    ensemble = experiment.ensemble.model_copy(update={"devices": case.own_devices or devices, "seed": seed % 2**32})
    output = experiment.output.model_copy(update={"trajectories": 0})
    return experiment.model_copy(update={"ensemble": ensemble, "output": output})


def _column(series: np.ndarray) -> np.ndarray:
    """[replicate, entry] of [replicate] or [replicate, entry]."""
    return series[:, None] if series.ndim == 1 else series


def _differentiate(
    around: _Around,
    result: PointResult,
    names: Sequence[str],
    of_mean: bool,
    derivatives: str,
    reading: Reading,
    spread: Collection[str],
) -> None:
    case, values = around.case, around.values
    wanted = derivatives == "estimator" or (derivatives == "auto" and len(values) >= _MANY)
    hops = wanted and not case.base.device.differentiable and not estimator.lacks(case.base)
    smooth = [n for n in names if (of_mean or case.base.measurements[n].linear) and n not in spread] if hops else []
    left = [n for n in names if n not in smooth]
    if smooth:
        left += _estimate(case, values, result, smooth, around.devices, around.seed, reading)
    if left:
        _difference(around, result, left, of_mean, reading)


# -------------------------------------------------------------------------------------- the estimator


def _estimate(
    case: Case,
    values: dict[str, float],
    result: PointResult,
    names: Sequence[str],
    devices: int,
    seed: int,
    reading: Reading,
) -> list[str]:
    """Derivatives by the estimator; returns the names whose derivative is mostly noise."""
    values = _beside(case, values, seed)
    experiment = _sized(case, values, devices, seed)
    devices = experiment.ensemble.devices
    linear = [_linearise(experiment, experiment.measurements[n], result) for n in names]
    channels = dict.fromkeys(c for weights, _ in linear for c in weights)
    counts = [next(iter(weights.values())).shape[0] for weights, _ in linear]
    joined = {c: np.concatenate([w.get(c, np.zeros_like(next(iter(w.values())))) for w, _ in linear]) for c in channels}
    at = estimator.point_of(experiment, devices)
    directions, explicit = [], []
    for path, here in values.items():
        h = _WIDTH * abs(here) if here != 0 else _WIDTH
        ends = [_sized(case, {**values, path: here + side * h}, devices, seed) for side in (-1, 1)]
        low, high = (estimator.point_of(e, devices) for e in ends)
        directions.append(estimator.direction(at, low, high, 2 * h))
        below, above = (_references(e) for e in ends)
        change = {name: (above[name] - below[name]) / (2 * h) for name in below}
        explicit.append(np.concatenate([own(change) for _, own in linear]))
    found = estimator.gradient(experiment, at, estimator.stack(directions), joined, seed % 2**32)
    reading.left_out = max(reading.left_out, found.left_out)
    slope = found.gradient.T + np.array(explicit)  # [path, output]
    error = found.gradient_se.T
    noisy, first = [], 0
    for name, count in zip(names, counts, strict=True):
        own = slice(first, first + count)
        first += count
        reading.slope[name], reading.slope_error[name] = slope[:, own], error[:, own]
        reading.method[name] = "damped tangents and likelihood ratio"
        size = np.array(list(values.values()))[:, None]  # relative changes of parameters compare
        if np.linalg.norm(error[:, own] * size) > _NOISY * np.linalg.norm(slope[:, own] * size):
            noisy.append(name)
    return noisy


def _beside(case: Case, values: dict[str, float], seed: int) -> dict[str, float]:
    """The values, but a hair beside those at which a device lacks a part that it has on either side (both interfacial
    wells share one depth at the ratio 1): the estimator takes the derivative by what that part holds."""

    def structure(values: dict[str, float]) -> Any:
        point = estimator.point_of(_sized(case, values, 1, seed), 1)
        return jax.tree.structure((point.devices, point.circuit))

    own = structure(values)
    moved = {path: here * (1 + _BESIDE) for path, here in values.items()}
    return {
        path: here if structure({**values, path: moved[path]}) == own else moved[path] for path, here in values.items()
    }


def _references(experiment: Experiment) -> dict[str, np.ndarray]:
    """Lengths of the samples and all else that a measurement refers to besides the recorded channels; one where a
    family has none, so that it has no derivative."""
    parameters = {name: typical(law) for name, law in experiment.laws.items()}
    own = {name: np.nan_to_num(value, nan=1.0) for name, value in experiment.references(parameters).items()}
    return {"widths": experiment.timeline.widths} | own


def _linearise(
    experiment: Experiment, measurement: Measurement, result: PointResult
) -> tuple[dict[str, np.ndarray], Any]:
    """(weights channel → [entry, sample], derivative by what it refers to) at the mean trajectory."""
    with computing(True):
        refers = {name: jnp.asarray(value) for name, value in _references(experiment).items()}
        windows = {name: jnp.asarray(spans) for name, spans in result.timeline.windows.items()}
        own = {name: jnp.asarray(series[0], jnp.float64) for name, series in result.mean.items()}

        def measured(channels: dict[str, Any], refers: dict[str, Any]) -> Any:
            others = {name: value for name, value in refers.items() if name != "widths"}
            none = jnp.empty(0)
            mean = trajectory(refers["widths"], channels, none, none.astype(complex), others, windows)
            return jnp.atleast_1d(measurement.measure(mean.at(measurement.element, measurement.node)).value)

        by_channel, by_reference = jax.jacrev(measured, argnums=(0, 1))(own, refers)
        weights = {name: np.asarray(w) for name, w in by_channel.items() if name != "voltage" and np.any(w)}
    if not weights:
        weights = {"conductance": np.asarray(by_channel["conductance"])}

    def explicit(change: dict[str, np.ndarray]) -> np.ndarray:
        return np.sum(
            [np.tensordot(by_reference[name], change[name], np.ndim(change[name])) for name in change], axis=0
        )

    return {name: np.nan_to_num(w) for name, w in weights.items()}, explicit


# -------------------------------------------------------------------------------------- differences


def _difference(around: _Around, result: PointResult, names: Sequence[str], of_mean: bool, reading: Reading) -> None:
    """Central differences of two ensembles with the same random numbers; where the estimator's are known better,
    those are kept."""
    rows: dict[str, list[Reading]] = {name: [] for name in names}
    currents: list[np.ndarray] = []
    ends: dict[str, list[Ends]] = {name: [] for name in names}
    for path, here in around.values.items():
        (below, above), low, high = around[path]
        for name in names:
            rows[name].append(_paired((below, here, above), (low, result, high), name, of_mean))
            if not of_mean:
                beside = [{name: _lanes(end, name)} for end in (low, high)]
                ends[name].append(Ends((below, here, above), beside[0], beside[1], exact=False))
        change = (high.mean["current"][0] - low.mean["current"][0]) / (above - below)
        currents.append(np.nan_to_num(np.asarray(change, np.float64)))
    reading.current_slope = np.array(currents)
    for name in names:
        if not of_mean:
            reading.ends[name] = tuple(ends[name])
            reading.how[name] = around.how
        slope = np.array([np.nan_to_num(r.value[name]) for r in rows[name]])
        error = np.array([np.nan_to_num(r.error[name]) for r in rows[name]])
        if all(name in r.replicates for r in rows[name]):
            reading.slope_replicates[name] = np.stack([r.replicates[name] for r in rows[name]], axis=1)
        if name in reading.slope:
            better = error < reading.slope_error[name]
            slope = np.where(better, slope, reading.slope[name])
            error = np.where(better, error, reading.slope_error[name])
        reading.slope[name], reading.slope_error[name] = slope, error
        reading.method[name] = around.how


def _around(case: Case, path: str, here: float, reach: float) -> tuple[float, float]:
    """The ends of a difference, within what the number may be."""
    below, above = sorted((here / (1 + reach), here * (1 + reach))) if here != 0 else (-reach, reach)
    found = place(case.base, path)
    mark = found.mark if found is not None else None
    if mark is not None and mark.ge is not None:
        below = max(below, mark.ge * mark.scale)
    if mark is not None and mark.le is not None:
        above = min(above, mark.le * mark.scale)
    return below, above


def _paired(
    at: tuple[float, float, float], ends: tuple[PointResult, PointResult, PointResult], name: str, of_mean: bool
) -> Reading:
    """The derivative as a number of its own, from the parameter's three values and their ensembles.

    It is taken of the ensembles' numbers, never realisation by realisation: where two ensembles take other numbers of
    steps their realisations go different ways, the middle one goes with one of them, and a mean over realisations of
    y ln(y₊/y₋) is then biased without end.
    """
    reading = Reading(())
    slope = slope_between(at, *(_replicates(end, name, of_mean) for end in ends))
    reading.replicates[name] = slope
    reading.value[name], reading.error[name] = slope[0], standard_error(slope)
    return reading


def _replicates(result: PointResult, name: str, of_mean: bool) -> np.ndarray:
    """[1 + group, entry]: the ensemble's number, then without one group of realisations after the other."""
    if of_mean:
        return _column(result.of_mean[name][0].astype(float))
    own = Reading(())
    _add(own, result, name)
    return own.replicates.get(name, own.value[name][None])
