"""The free parameters of a calibration: which numbers they are, where they start, their bounds and priors."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from pydantic_core import PydanticCustomError

from mcdev.calibration.coordinates import Coordinate
from mcdev.calibration.job import Free, Job, Prior, Search, given_for
from mcdev.calibration.places import SECTIONS, numbers, place
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import Problem, key_path
from mcdev.schema import Unit, nearest, numbers_of, sentence
from mcdev.schema.laws import Samples
from mcdev.schema.units import unit_written


class Parameter(NamedTuple):
    """One number to be fitted."""

    path: str
    devices: tuple[str, ...]
    """The devices whose parameter it is: one, or all of them."""
    experiments: tuple[str, ...]
    """The experiments that have it."""
    label: str
    mark: Unit
    """In the unit that its bounds or its start are written in."""
    coordinate: Coordinate
    start: float
    """SI."""
    prior_centre: float | None
    """In the natural coordinate; None without a prior."""
    prior_sd: float
    reach: float
    """Of differences of ensembles that are noisy, to either side, as a share of the value."""


def parameters_of(
    job: Job, devices: tuple[str, ...], experiments: dict[tuple[str, str], Experiment], found: list[Problem]
) -> list[Parameter]:
    """The free parameters in order; what is wrong with them is added to ``found``."""
    parameters = []
    for path, free in job.parameters.items():
        key = key_path("parameters", path)
        section, _, last = path.partition(".")
        if section not in (*SECTIONS, "ensemble") or not last:
            message = (
                "expected a key path like device.NAME, circuit.NAME or protocol.NAME, a number of a distribution "
                "(device.NAME.sigma), ensemble.cycle_to_cycle.NAME or ensemble.correlation.NAME.OTHER"
            )
            found.append(Problem(key, None, message))
            continue
        chosen = free.experiments or tuple(dict.fromkeys(name for name, _ in experiments))
        unknown = [name for name in free.experiments if name not in job.experiments]
        for name in unknown:
            found.append(Problem(f"{key}.experiments", name, f"no such; {nearest(name, job.experiments)}"))
        if unknown:
            continue
        having = {
            pair: experiment
            for pair, experiment in experiments.items()
            if pair[0] in chosen and place(experiment, path) is not None
        }
        if not having:
            found.append(_unknown(key, path, [e for pair, e in experiments.items() if pair[0] in chosen]))
            continue
        trouble = _unfit(key, path, having)
        if trouble:
            found += trouble
            continue
        marks = [found_there.mark for e in having.values() if (found_there := place(e, path)) is not None]
        mark = marks[0]
        having_it = tuple(d for d in devices if any(pair[1] == d for pair in having))
        owners: list[tuple[str, ...]] = [(d,) for d in having_it] if free.per_device else [having_it]
        for owner in owners:
            parameters += _parameter(key, path, free, job.search, owner, len(devices), having, mark, found)
    return parameters


def _unknown(key: str, path: str, experiments: list[Experiment]) -> Problem:
    """That none of the experiments has a number there."""
    section, _, last = path.partition(".")
    known = sorted({name for e in experiments for name in numbers(e, section)})
    if path.startswith("ensemble.correlation."):
        sizes = [len(e.ensemble.correlation.parameters) for e in experiments if e.ensemble.correlation is not None]
        if max(sizes, default=0) > 2 and all(
            e.ensemble.correlation.factor is None for e in experiments if e.ensemble.correlation is not None
        ):
            message = (
                "one entry of a matrix of three or more cannot move by itself, because the matrix may then be none of "
                "correlations; give factor = […] and free ensemble.correlation.factor.NAME"
            )
            return Problem(key, None, message)
    if section == "ensemble":
        return Problem(key, None, f"no such spread of the ensemble; {nearest(last, known)}")
    kinds = ", ".join(sorted({str(getattr(e, section).kind) for e in experiments}))
    name, _, number = last.partition(".")
    if any(isinstance(getattr(getattr(e, section), name, None), Samples) for e in experiments):
        message = (
            "is drawn from samples, which have no number that could move; expected a lognormal, normal or uniform "
            "distribution where its spread is fitted"
        )
        return Problem(key, None, message)
    if number and name in known:
        message = "has one value for all devices; give it a distribution, or free the value itself"
        return Problem(key, None, message)
    return Problem(key, None, f"no such number of a {kinds} {section}; {nearest(last, known)}")


def _unfit(key: str, path: str, having: dict[tuple[str, str], Experiment]) -> list[Problem]:
    found = []
    for (name, device), experiment in having.items():
        value = _value(experiment, path)
        if value is None or isinstance(value, str):
            found.append(Problem(key, value, f"experiment {name} leaves it out; give it a value there to start from"))
        elif not isinstance(value, (int, float)):
            own = "".join(f", or {path}.{number}" for number in numbers_of(value))
            message = f"is a distribution on device {device}; expected one number where it is fitted{own}"
            found.append(Problem(key, None, message))
        elif any(path == axis or path.startswith(f"{axis}.") for axis in experiment.sweep.axes):
            found.append(Problem(key, None, f"experiment {name} sweeps it; expected a key that is not swept"))
    return found[:1]


def _value(experiment: Experiment, path: str) -> Any:
    found = place(experiment, path)
    return None if found is None else found.value


def _parameter(
    key: str,
    path: str,
    free: Free,
    search: Search,
    owner: tuple[str, ...],
    devices: int,
    having: dict[tuple[str, str], Experiment],
    mark: Unit,
    found: list[Problem],
) -> list[Parameter]:
    section, _, last = path.partition(".")
    own = {pair: e for pair, e in having.items() if pair[1] in owner}
    label = last if section in ("device", "ensemble") else path
    if free.per_device and devices > 1:
        label += f"[{owner[0]}]"
    try:
        given = given_for(free.start, owner)
        values = {float(_value(e, path)) for e in own.values()}
        if given is not None:
            start = mark.parse(given)
        elif len(values) == 1:
            start = values.pop()
        else:
            listed = ", ".join(f"{v / mark.scale:.4g}" for v in sorted(values))
            message = f"is missing: the devices or experiments differ ({listed} {mark.unit}); add start = …"
            found.append(Problem(f"{key}.start", None, message))
            return []
        free_of_bounds = Unit(mark.unit)
        low = _bound(free.low, free_of_bounds, mark, mark.gt if mark.gt is not None else mark.ge)
        high = _bound(free.high, free_of_bounds, mark, mark.lt if mark.lt is not None else mark.le)
    except PydanticCustomError as error:
        found.append(Problem(key, (error.context or {}).get("value"), sentence(error)))
        return []
    for name, bound, sense in (("low", low, 1), ("high", high, -1)):
        own_bound = _bound(None, mark, mark, (mark.gt, mark.lt)[name == "high"])
        if bound is not None and own_bound is not None and sense * (bound - own_bound) < 0:
            message = f"lies outside what the parameter may be: expected {mark.expectation}"
            found.append(Problem(f"{key}.{name}", getattr(free, name), message))
            return []
    if low is not None and high is not None and not low < high:
        found.append(Problem(f"{key}.low", free.low, f"expected low < high (high is {free.high!r})"))
        return []
    coordinate = Coordinate(low, high, 1.0 if path.startswith("ensemble.correlation.") else abs(start) or 1.0)
    if not coordinate.inside(start):
        shown = f"{start / mark.scale:.6g} {mark.unit}".strip()
        where = " to ".join("…" if b is None else f"{b / mark.scale:.6g}" for b in (low, high))
        message = f"the start, {shown}, does not lie between the bounds ({where} {mark.unit}); widen them or move it"
        found.append(Problem(key, None, message))
        return []
    try:
        centre, sd = _prior(key, free.prior, owner, mark, coordinate, found)
    except PydanticCustomError as error:
        found.append(Problem(f"{key}.prior", (error.context or {}).get("value"), sentence(error)))
        return []
    names = tuple(dict.fromkeys(pair[0] for pair in own))
    mark = mark.written_in(unit_written(mark.unit, free.low, free.high, free.start))
    return [Parameter(path, owner, names, label, mark, coordinate, start, centre, sd, free.reach or search.reach)]


def _bound(written: Any, plain: Unit, mark: Unit, own: float | None) -> float | None:
    if written is not None:
        return plain.parse(written)
    return None if own is None else own * mark.scale


def _prior(
    key: str, prior: Prior | None, owner: tuple[str, ...], mark: Unit, coordinate: Coordinate, found: list[Problem]
) -> tuple[float | None, float]:
    if prior is None:
        return None, math.nan
    median = mark.parse(given_for(prior.median, owner))
    if (prior.factor is None) == (prior.sd is None):
        found.append(Problem(f"{key}.prior", None, "expected either factor or sd"))
        return None, math.nan
    if prior.factor is not None:
        if not coordinate.positive:
            found.append(Problem(f"{key}.prior.factor", prior.factor, "expected sd, for a parameter of either sign"))
            return None, math.nan
        return coordinate.natural(median), math.log(prior.factor)
    sd = Unit(mark.unit, gt=0).parse(prior.sd)
    return coordinate.natural(median), sd * abs(coordinate.natural_slope(median))
