"""A calibration with everything resolved and checked: parameters in order, experiments to run, numbers to meet.

A *case* is one sweep point of one experiment on one device. It knows how to put values of the free parameters into
itself. Everything that is wrong with the file is reported at once, before anything is computed.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from mcdev.calibration.coordinates import Coordinate
from mcdev.calibration.curves import Trace, read_curve, traces_of
from mcdev.calibration.job import ONLY, Free, Job, PerDeviceValue, Prior, Read, Stage, Target, placed
from mcdev.configuration.experiment import Experiment, build, read_toml, set_value
from mcdev.configuration.problems import ConfigError, Problem, beside, described, key_path, unique
from mcdev.files import structure
from mcdev.schema import Unit, file_name, folded, nearest, percentage, sentence

_SECTIONS = ("circuit", "protocol", "ensemble", "measurements", "fits", "sweep")


class Parameter(NamedTuple):
    """One number to be fitted."""

    path: str
    devices: tuple[str, ...]
    """The devices whose parameter it is: one, or all of them."""
    experiments: tuple[str, ...]
    """The experiments that have it."""
    label: str
    mark: Unit
    coordinate: Coordinate
    start: float
    """SI."""
    prior_centre: float | None
    """In the natural coordinate; None without a prior."""
    prior_sd: float


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


@dataclass(frozen=True, eq=False)
class Case:
    """One sweep point of one experiment on one device."""

    experiment: str
    device: str
    point: int
    base: Experiment
    own_devices: int | None = None
    """How many its experiment itself asks for, whatever the stage: brute force beside what is cheap."""

    def ensemble_of(self, devices: int, members: int) -> int:
        """How many realisations its numbers are means of, where a stage asks for ``devices``."""
        return members if self.base.device.exact else self.own_devices or devices

    def at(self, values: Mapping[str, float]) -> Experiment:
        """The experiment with these values (SI) at key paths below device, circuit and protocol."""
        changes: dict[str, dict[str, float]] = {}
        for path, value in values.items():
            section, _, key = path.partition(".")
            changes.setdefault(section, {})[key] = value
        sections = {name: getattr(self.base, name).model_copy(update=new) for name, new in changes.items()}
        return self.base.model_copy(update=sections)


@dataclass(frozen=True, eq=False)
class Plan:
    """The job with everything worked out."""

    job: Job
    parameters: tuple[Parameter, ...]
    goals: tuple[Goal, ...]
    traces: tuple[Trace, ...]
    candidates: tuple[Goal, ...]
    """Value and σ are those to be expected; σ is negative where it is a share of the value."""
    experiments: dict[tuple[str, str], Experiment]
    """(experiment, device) → whole experiment."""
    data: dict[str, Any]
    """The file as it was written."""
    folder: Path
    """Where its relative file names start."""
    cases: dict[tuple[str, str], tuple[Case, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """As given, or what was found to suit the devices (docs/calibration.md)."""
        if self.job.search.stages:
            return self.job.search.stages
        if self.exact:
            return (Stage(),)
        return (
            Stage(optimiser="adam", steps=20, devices=64),
            Stage(steps=12, devices=256),
            Stage(steps=8, devices=1024),
        )

    @property
    def exact(self) -> bool:
        """Whether every fitted number has an exact derivative, and no noise."""
        fitted = {(g.experiment, g.device) for g in self.goals if g.weight > 0}
        fitted |= {(t.experiment, t.device) for t in self.traces}
        return all(self.experiments[pair].device.exact for pair in fitted)

    @property
    def start(self) -> np.ndarray:
        """Free coordinates of the configuration's own start."""
        return np.array([p.coordinate.free(p.start) for p in self.parameters])

    def values(self, u: np.ndarray) -> np.ndarray:
        """SI values of the parameters."""
        return np.array([p.coordinate.value(float(x)) for p, x in zip(self.parameters, u, strict=True)])

    def given(self, x: np.ndarray, experiment: str, device: str) -> dict[str, float]:
        """Key path → value for one experiment on one device."""
        return {self.parameters[j].path: float(x[j]) for j in self.columns(experiment, device).values()}

    def columns(self, experiment: str, device: str) -> dict[str, int]:
        """Key path → number of the parameter, for one experiment on one device."""
        own = (j for j, p in enumerate(self.parameters) if device in p.devices and experiment in p.experiments)
        return {self.parameters[j].path: j for j in own}


# -------------------------------------------------------------------------------------- loading


def load_job(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Plan:
    """The calibration of a TOML file. Raises ``ConfigError`` with everything that is wrong."""
    path = Path(path)
    data = read_toml(path)
    wrong = [p for key, value in (overrides or {}).items() if (p := set_value(data, _quoted(key), value))]
    if wrong:
        raise ConfigError(wrong, str(path))
    return resolve(data, path.parent, str(path))


def _quoted(key: str) -> str:
    """``parameters."device.friction".start``, also where the quotes around the key path in the middle are left out."""
    first, *middle, last = key.split(".")
    return key if first != "parameters" or '"' in key else f'{first}."{".".join(middle)}".{last}'


def resolve(data: Mapping[str, Any], folder: Path, source: str = "calibration") -> Plan:
    """The calibration of plain data, as in a TOML file; relative file names start at ``folder``."""
    try:
        job = Job.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise ConfigError(unique([p for p, _ in described(error, data, Job)]), source) from None
    found: list[Problem] = []
    devices = _devices(job, found)
    unread: list[Problem] = []
    readings = [read_curve(f"curves.{i}", curve, folder, unread) for i, curve in enumerate(job.curves)]
    experiments = _experiments(job, devices, folder, found)
    traces, more = traces_of(job, devices, readings, found)
    experiments |= more
    if not experiments and not found:
        found.append(Problem("experiments", None, "none is given, and no curve either: nothing to fit to"))
    if found:  # parameters and targets cannot be judged without the experiments
        raise ConfigError(unique(found + unread), source)
    parameters = _parameters(job, tuple(devices), experiments, found)
    labels = None if found else [p.label for p in parameters]
    found += unread
    goals = [g for i, t in enumerate(job.targets) for g in _goals(f"targets.{i}", t, devices, experiments, found)]
    candidates = [
        g for i, c in enumerate(job.candidates) for g in _candidates(f"candidates.{i}", c, devices, experiments, found)
    ]
    if not job.targets and not job.curves:
        found.append(Problem("targets", None, "none is given, and no curve either: nothing to fit to"))
    for name, model in job.models.items():
        for path in (*model.per_device, *model.fixed):
            if path not in job.parameters:
                message = f"is no free parameter; {nearest(path, job.parameters)}"
                found.append(Problem(key_path("models", name), path, message))
    for label in job.report.profile:
        if labels is not None and label not in labels:
            found.append(Problem("report.profile", label, f"no such free parameter; {nearest(label, labels)}"))
    found += _alike(experiments)
    if found:
        raise ConfigError(unique(found), source)
    cases = {
        (name, device): tuple(
            Case(name, device, i, point, job.experiments.get(name, {}).get("ensemble", {}).get("devices"))
            for i, (_, point) in enumerate(experiment.points())
        )
        for (name, device), experiment in experiments.items()
    }
    written = copy.deepcopy(dict(data))
    plan = Plan(
        job, tuple(parameters), tuple(goals), tuple(traces), tuple(candidates), experiments, written, folder, cases
    )
    for name in job.models:
        with_model(plan, name)  # what is wrong with a model is to be known before hours of work
    return dataclasses.replace(plan, warnings=tuple(_warnings(plan)))


def with_model(plan: Plan, model: str) -> Plan:
    """The same calibration with one of its ``[models]`` instead of what its parameters say, from its own start."""
    changed = copy.deepcopy(plan.data)
    changed.get("search", {}).pop("starts", None)
    what = plan.job.models[model]
    for path in list(changed["parameters"]):
        if path in what.fixed:
            del changed["parameters"][path]
        else:
            changed["parameters"][path]["per_device"] = path in what.per_device
    changed.pop("models", None)
    changed.get("report", {}).pop("profile", None)
    return resolve(changed, plan.folder, f"model {model}")


def _devices(job: Job, found: list[Problem]) -> dict[str, dict[str, Any]]:
    if job.device is not None and job.devices:
        found.append(Problem("device", None, "and [devices] are both given; expected one of them"))
    tables = {ONLY: job.device} if job.device is not None else dict(job.devices)
    if not tables:
        found.append(Problem("devices", None, "is missing; add [device], or a table for each as [devices.NAME]"))
    return {name: dict(table) for name, table in tables.items()}


def _experiments(
    job: Job, devices: dict[str, dict[str, Any]], folder: Path, found: list[Problem]
) -> dict[tuple[str, str], Experiment]:
    built: dict[tuple[str, str], Experiment] = {}
    for name, table in job.experiments.items():
        key = key_path("experiments", name)
        data = {k: copy.deepcopy(v) for k, v in table.items() if k in _SECTIONS}
        for unknown in set(table) - {*_SECTIONS, "file", "set", "devices"}:
            known = (*_SECTIONS, "file", "set", "devices")
            found.append(Problem(f"{key}.{unknown}", None, f"no such key; {nearest(unknown, known)}"))
        changes = table.get("set", {})
        place = folder
        if not isinstance(changes, dict):
            found.append(Problem(f"{key}.set", changes, "expected a table of key path = value"))
            continue
        if "file" in table:
            try:
                file = beside(folder, str(table["file"]))
                whole = structure.read_toml(file)
                place = file.parent
            except (OSError, ValueError) as error:
                found.append(Problem(f"{key}.file", table["file"], f"cannot be read ({error})"))
                continue
            whole.get("ensemble", {}).pop("devices", None)  # the stages say how many
            data = {k: v for k, v in whole.items() if k in _SECTIONS} | data
            data.get("sweep", {}).get("axes", {}).pop("device.preset", None)  # the job's devices take its place
        names = table.get("devices", list(devices))
        wrong: dict[str, list[Problem]] = {}
        for device in names:
            if device not in devices:
                found.append(Problem(f"{key}.devices", device, f"no such device; {nearest(device, devices)}"))
                continue
            whole = {"name": name, "device": copy.deepcopy(devices[device]), **copy.deepcopy(data)}
            whole.setdefault("ensemble", {})
            misplaced = [p for path, value in changes.items() if (p := set_value(whole, path, value))]
            try:
                built[name, device] = build(whole, place, key, misplaced)
            except ConfigError as error:
                wrong[device] = error.problems
        found += placed(key, wrong, names)
    for (name, device), experiment in built.items():
        if experiment.ensemble.cycles != 1:
            cycles = experiment.ensemble.cycles
            message = f"one cycle is what a calibration computes (device {device})"
            found.append(Problem(key_path("experiments", name, "ensemble", "cycles"), cycles, message))
    return built


def fitted_name(experiment: str, device: str, several: bool) -> str:
    """Name of the file of one experiment on a fitted device; ``several``: there are other devices."""
    return file_name(experiment, *([device] if several else []))


def _alike(experiments: Mapping[tuple[str, str], Experiment]) -> list[Problem]:
    """Experiments whose fitted devices would share a file."""
    several = len({device for _, device in experiments}) > 1
    seen: dict[str, tuple[str, str]] = {}
    found = []
    for name, device in experiments:
        file = fitted_name(name, device, several)
        first = seen.setdefault(folded(file), (name, device))
        if first != (name, device):
            message = f"would share the file fitted/{file}.toml with {first[0]!r} on {first[1]!r}; rename one of them"
            found.append(Problem(key_path("experiments", name), device if several else None, message))
    return found


# -------------------------------------------------------------------------------------- parameters


def _mark(model: BaseModel, key: str) -> Unit | None:
    known = type(model).model_fields.get(key)
    if known is None:
        return None
    variants = [known, *typing.get_args(known.annotation)]  # of an optional number, the mark is on the number
    marks = [m for v in variants for m in (*getattr(v, "metadata", ()), *getattr(v, "__metadata__", ()))]
    return next((m for m in marks if isinstance(m, Unit)), None)


def _parameters(
    job: Job, devices: tuple[str, ...], experiments: dict[tuple[str, str], Experiment], found: list[Problem]
) -> list[Parameter]:
    parameters = []
    for path, free in job.parameters.items():
        key = key_path("parameters", path)
        section, _, last = path.partition(".")
        if section not in ("device", "circuit", "protocol") or not last or "." in last:
            found.append(Problem(key, None, "expected a key path like device.NAME, circuit.NAME or protocol.NAME"))
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
            if pair[0] in chosen and _mark(getattr(experiment, section), last) is not None
        }
        if not having:
            known = sorted(
                {
                    name
                    for pair, e in experiments.items()
                    if pair[0] in chosen
                    for name in type(getattr(e, section)).model_fields
                    if _mark(getattr(e, section), name) is not None
                }
            )
            kinds = ", ".join(sorted({str(getattr(e, section).kind) for e in experiments.values()}))
            found.append(Problem(key, None, f"no such number of a {kinds} {section}; {nearest(last, known)}"))
            continue
        trouble = _unfit(key, path, having)
        if trouble:
            found += trouble
            continue
        mark = _mark(getattr(next(iter(having.values())), section), last)
        assert mark is not None
        having_it = tuple(d for d in devices if any(pair[1] == d for pair in having))
        owners: list[tuple[str, ...]] = [(d,) for d in having_it] if free.per_device else [having_it]
        for owner in owners:
            parameters += _parameter(key, path, free, owner, len(devices), having, mark, found)
    return parameters


def _unfit(key: str, path: str, having: dict[tuple[str, str], Experiment]) -> list[Problem]:
    section, _, last = path.partition(".")
    found = []
    for (name, device), experiment in having.items():
        value = getattr(getattr(experiment, section), last)
        if value is None or isinstance(value, str):
            found.append(Problem(key, value, f"experiment {name} leaves it out; give it a value there to start from"))
        elif not isinstance(value, (int, float)):
            message = f"is a distribution on device {device}; expected one number where it is fitted"
            found.append(Problem(key, None, message))
        elif path in experiment.sweep.axes:
            found.append(Problem(key, None, f"experiment {name} sweeps it; expected a key that is not swept"))
    return found[:1]


def _of(value: PerDeviceValue | None, owner: tuple[str, ...]) -> Any:
    """What stands there for these devices; None where nothing does."""
    if isinstance(value, dict):
        return next((value[d] for d in owner if d in value), None)
    return value


def _parameter(
    key: str,
    path: str,
    free: Free,
    owner: tuple[str, ...],
    devices: int,
    having: dict[tuple[str, str], Experiment],
    mark: Unit,
    found: list[Problem],
) -> list[Parameter]:
    section, _, last = path.partition(".")
    own = {pair: e for pair, e in having.items() if pair[1] in owner}
    label = last if section == "device" else path
    if free.per_device and devices > 1:
        label += f"[{owner[0]}]"
    try:
        given = _of(free.start, owner)
        values = {float(getattr(getattr(e, section), last)) for e in own.values()}
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
    coordinate = Coordinate(low, high, abs(start) or 1.0)
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
    return [Parameter(path, owner, names, label, mark, coordinate, start, centre, sd)]


def _bound(written: Any, plain: Unit, mark: Unit, own: float | None) -> float | None:
    if written is not None:
        return plain.parse(written)
    return None if own is None else own * mark.scale


def _prior(
    key: str, prior: Prior | None, owner: tuple[str, ...], mark: Unit, coordinate: Coordinate, found: list[Problem]
) -> tuple[float | None, float]:
    if prior is None:
        return None, math.nan
    median = mark.parse(_of(prior.median, owner))
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


# -------------------------------------------------------------------------------------- targets


def _goals(
    key: str,
    target: Target,
    devices: dict[str, Any],
    experiments: dict[tuple[str, str], Experiment],
    found: list[Problem],
) -> list[Goal]:
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
            value = mark.parse(_of(target.value, (device,)))
            uncertainty, at = _of(target.uncertainty, (device,)), f"{key}.uncertainty"
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
        label = _label(target, device, len(devices))
        goals.append(
            Goal(label, target.experiment, device, target, unit, value, sigma, log, target.weight, target.source)
        )
    return goals


def _candidates(
    key: str, candidate: Any, devices: dict[str, Any], experiments: dict[tuple[str, str], Experiment], found: list[Any]
) -> list[Goal]:
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
        label = _label(candidate, device, len(devices))
        goals.append(Goal(label, candidate.experiment, device, candidate, unit, math.nan, sigma, False, 0.0, ""))
    return goals


def _label(read: Read, device: str, devices: int) -> str:
    label = read.measurement if read.coefficient is None else f"{read.measurement}: {read.coefficient}"
    if read.entry is not None:
        label += f"[{read.entry}]"
    if read.point > 1:
        label += f"@{read.point}"
    return f"{read.experiment}: {label}" + (f" ({device})" if devices > 1 else "")


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
    name = read.measurement
    fit = experiment.fit_read(name, read.coefficient)
    if fit is not None:
        if read.coefficient not in fit.coefficients:
            message = f"is a fit; expected coefficient = …: {nearest(read.coefficient or '', fit.coefficients)}"
            found.append(Problem(f"{key}.measurement", name, message))
            return None
        curves = len(experiment.curves(fit.axis))
        if read.point > curves:
            found.append(Problem(f"{key}.point", read.point, f"expected a curve between 1 and {curves}"))
            return None
        return fit.coefficients[read.coefficient]
    if name not in experiment.measurements:
        known = [*experiment.measurements, *experiment.fits]
        message = f"experiment {read.experiment} does not measure it; {nearest(name, known)}"
        found.append(Problem(f"{key}.measurement", name, message))
        return None
    points = len(experiment.points())
    if read.point > points:
        found.append(Problem(f"{key}.point", read.point, f"expected a sweep point between 1 and {points}"))
        return None
    measurement = experiment.measurements[name]
    entries = measurement.entries(experiment.points()[read.point - 1][1].protocol.timeline())
    if entries is not None and not 1 <= (read.entry or 0) <= entries:
        found.append(Problem(f"{key}.entry", read.entry, f"'{name}' is a list; expected an entry from 1 to {entries}"))
        return None
    if entries is None and read.entry is not None:
        found.append(Problem(f"{key}.entry", read.entry, f"'{name}' is a single number; leave the entry out"))
        return None
    return str(measurement.unit)


# -------------------------------------------------------------------------------------- warnings


def _warnings(plan: Plan) -> list[str]:
    found = []
    numbers = sum(g.weight > 0 for g in plan.goals) + sum(int(np.isfinite(t.current).sum()) for t in plan.traces)
    priors = sum(p.prior_centre is not None for p in plan.parameters)
    if numbers + priors < len(plan.parameters):
        found.append(
            f"{numbers} fitted numbers and {priors} priors for {len(plan.parameters)} parameters: at least "
            f"{len(plan.parameters) - numbers - priors} directions cannot be determined; the report names them "
            "(add targets, give priors or fix parameters)"
        )
    for trace in plan.traces:
        if trace.unread:
            which = f"{trace.unread} of {trace.current.size} currents"
            found.append(f"{trace.label}: {which} are an instrument's infinity or no number (9.91e37, nan); left out")
        experiment = plan.experiments[trace.experiment, trace.device]
        if (
            trace.mean_of > 1
            and experiment.device.alike
            and all(isinstance(v, float) for v in experiment.laws.values())
        ):
            found.append(f"{trace.label}: its devices are alike, so that mean_of = {trace.mean_of} changes nothing")
    for name in dict.fromkeys(name for name, _ in plan.experiments):
        if name in plan.job.experiments and not any(name == g.experiment for g in (*plan.goals, *plan.candidates)):
            found.append(f"{key_path('experiments', name)}: no target reads it; it is not computed")
    return found


__all__ = ["Case", "Goal", "Parameter", "Plan", "Trace", "load_job", "resolve", "with_model"]
