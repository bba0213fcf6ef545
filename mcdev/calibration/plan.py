"""A calibration with everything resolved and checked: parameters in order, experiments to run, numbers to meet.

A *case* is one sweep point of one experiment on one device. It knows how to put values of the free parameters into
itself. Everything that is wrong with the file is reported at once, before anything is computed.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from mcdev.calibration.curves import Trace, read_curve, traces_of
from mcdev.calibration.estimator import lacks
from mcdev.calibration.goals import Goal, candidates_of, goals_of
from mcdev.calibration.job import ONLY, Candidate, Job, Stage, Target, placed
from mcdev.calibration.limits import problems as design_problems
from mcdev.calibration.measured_devices import targets_of_files
from mcdev.calibration.parameters import Parameter, parameters_of
from mcdev.calibration.places import moved
from mcdev.calibration.readings_of_sets import DeviceReadings
from mcdev.calibration.simulable import problems, unused, without_effect
from mcdev.configuration.address import OF_SPREAD
from mcdev.configuration.describes import check_describes
from mcdev.configuration.experiment import Experiment, build
from mcdev.configuration.extends import read_toml
from mcdev.configuration.key_paths import set_value
from mcdev.configuration.own_presets import read_own
from mcdev.configuration.problems import ConfigError, Problem, beside, described, key_path, unique
from mcdev.configuration.samples import read_samples
from mcdev.schema import file_name, folded, nearest

_TIMES = 10  # simulated devices for each measured one, from which their own error hardly counts
_SECTIONS = ("circuit", "protocol", "ensemble", "measurements", "fits", "sweep")


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
        return members if self.base.exact else self.own_devices or devices

    def at(self, values: Mapping[str, float]) -> Experiment:
        """The experiment with these values (SI) at key paths."""
        return moved(self.base, values)


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
    sets: tuple[DeviceReadings, ...] = ()
    """Of the files of measured devices, what was read of each device."""

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
        return all(self.experiments[pair].exact for pair in fitted)

    @property
    def start(self) -> np.ndarray:
        """Free coordinates of the configuration's own start."""
        return np.array([p.coordinate.free(p.start) for p in self.parameters])

    def values(self, u: np.ndarray) -> np.ndarray:
        """SI values of the parameters."""
        return np.array([p.coordinate.value(float(x)) for p, x in zip(self.parameters, u, strict=True)])

    def natural(self, x: np.ndarray) -> np.ndarray:
        """Natural coordinates of parameters [draw, parameter] (SI): ln x of a scale."""
        rows = [[p.coordinate.natural(float(v)) for p, v in zip(self.parameters, row, strict=True)] for row in x]
        return np.array(rows)

    def natural_slope(self, x: np.ndarray) -> np.ndarray:
        """Their derivatives by the parameters, at one point [parameter] (SI)."""
        return np.array([p.coordinate.natural_slope(float(v)) for p, v in zip(self.parameters, x, strict=True)])

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
    check_describes("calibration", data, str(path))
    wrong = [p for key, value in (overrides or {}).items() if (p := set_value(data, _quoted(key), value))]
    if wrong:
        raise ConfigError(wrong, str(path))
    return resolve(data, path.parent, str(path))


def _quoted(key: str) -> str:
    """``parameters."device.friction".start``, also where the quotes around the key path in the middle are left out."""
    first, *rest = key.split(".")
    if first != "parameters" or '"' in key or len(rest) < 2:
        return key
    return f'{first}."{".".join(rest[:-1])}".{rest[-1]}'


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
    parameters = parameters_of(job, tuple(devices), experiments, found)
    labels = None if found else [p.label for p in parameters]
    found += unread
    targets = [(f"targets.{i}", target) for i, target in enumerate(job.targets)]
    of_files: list[str] = []
    sets: list[DeviceReadings] = []
    for i, measured in enumerate(job.measured):
        try:
            own, read, notes = targets_of_files(f"measured.{i}", measured, job, devices, experiments, folder)
        except ConfigError as error:
            found += error.problems
            continue
        targets += [(f"measured.{i}", target) for target in own]
        sets.append(read)
        of_files += notes
    goals = [
        g
        for key, target in targets
        for g in goals_of(key, target, devices, experiments, found, job.simulations is not None)
    ]
    candidates = [
        g
        for i, c in enumerate(job.candidates)
        for g in candidates_of(f"candidates.{i}", c, devices, experiments, found, job.simulations is not None)
    ]
    if not job.targets and not job.curves and not job.measured:
        found.append(Problem("targets", None, "none is given, and no curve either: nothing to fit to"))
    for name, model in job.models.items():
        for path in (*model.per_device, *model.fixed):
            if path not in job.parameters:
                message = f"is no free parameter; {nearest(path, job.parameters)}"
                found.append(Problem(key_path("models", name), path, message))
    for label in job.report.profile:
        if labels is not None and label not in labels:
            found.append(Problem("report.profile", label, f"no such free parameter; {nearest(label, labels)}"))
    if job.search.derivatives == "estimator":
        noisy = [e for e in experiments.values() if not all(d.differentiable for d in e.devices.values())]
        if why := next(filter(None, map(lacks, noisy)), ""):
            remedy = 'write derivatives = "differences"'
            found.append(Problem("search.derivatives", "estimator", f"{why}; {remedy}"))
    found += problems(job, parameters, goals, experiments)
    found += design_problems(job, candidates, experiments, [p.label for p in parameters])
    found += _cycles([target for _, target in targets], job.candidates, experiments)
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
        *(job, tuple(parameters), tuple(goals), tuple(traces), tuple(candidates), experiments, written, folder, cases),
        sets=tuple(sets),
    )
    for name in job.models:
        with_model(plan, name)  # what is wrong with a model is to be known before hours of work
    return dataclasses.replace(plan, warnings=(*_warnings(plan), *of_files))


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
    changed.pop("design", None)
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
                whole = read_toml(file)
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
            unread = read_own(whole, folder, ("device",))  # beside this file, wherever the experiment's lies
            unread += read_samples(whole["device"], folder, ("device",))
            if unread:
                wrong[device] = unread
                continue
            whole.setdefault("ensemble", {})
            misplaced = [p for path, value in changes.items() if (p := set_value(whole, path, value))]
            try:
                built[name, device] = build(whole, place, key, misplaced)
            except ConfigError as error:
                wrong[device] = error.problems
        found += placed(key, wrong, names)
    for (name, _), experiment in built.items():
        if experiment.circuit.drives:
            message = "has sources with protocols of their own, which a calibration does not follow; give them shares"
            found.append(Problem(key_path("experiments", name, "circuit"), experiment.circuit.kind, message))
    return built


def _cycles(
    targets: Sequence[Target], candidates: Sequence[Candidate], experiments: Mapping[tuple[str, str], Experiment]
) -> list[Problem]:
    """Experiments through several cycles that no statistic of a population asks for, or that are not computed so."""
    found = []
    for (name, device), experiment in experiments.items():
        cycles = experiment.ensemble.cycles
        if cycles == 1:
            continue
        key = key_path("experiments", name, "ensemble", "cycles")
        read = [r for r in (*targets, *candidates) if r.experiment == name]
        if not any(r.statistic in OF_SPREAD or r.of_devices for r in targets if r.experiment == name):
            message = f"one cycle is what a calibration computes (device {device}), but for a population's statistics"
            found.append(Problem(key, cycles, f"{message} (sigma_ln_within, of_devices)"))
        elif any(r.statistic == "mean_response" or r.coefficient is not None for r in read):
            message = "a mean trajectory or a fit along an axis is read in one cycle; give it an experiment of its own"
            found.append(Problem(key, cycles, message))
        elif experiment.exact and experiment.ensemble.between_cycles == "continue":
            message = "cycles of a calibration start from rest; expected 'rest'"
            found.append(Problem(key_path("experiments", name, "ensemble", "between_cycles"), "continue", message))
    return found


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


# -------------------------------------------------------------------------------------- warnings


def _warnings(plan: Plan) -> list[str]:
    found = unused(plan.job) + _differences(plan)
    numbers = sum(g.weight > 0 for g in plan.goals) + sum(int(np.isfinite(t.current).sum()) for t in plan.traces)
    priors = sum(p.prior_centre is not None for p in plan.parameters)
    if numbers + priors < len(plan.parameters) and plan.job.simulations is None:
        found.append(
            f"{numbers} fitted numbers and {priors} priors for {len(plan.parameters)} parameters: at least "
            f"{len(plan.parameters) - numbers - priors} directions cannot be determined; the report names them "
            "(add targets, give priors or fix parameters)"
        )
    for trace in plan.traces:
        if trace.unread:
            which = f"{trace.unread} of {trace.current.size} currents"
            found.append(f"{trace.label}: {which} are an instrument's infinity or no number (9.91e37, nan); left out")
        if trace.bound.any():
            which = f"{int(np.count_nonzero(trace.bound))} of {trace.current.size} currents"
            found.append(
                f"{trace.label}: {which} are at the instrument's limit and count as bounds; ceiling says which "
                'current that is, or "none"'
            )
        experiment = plan.experiments[trace.experiment, trace.device]
        if trace.mean_of > 1 and experiment.alike and all(isinstance(v, float) for v in experiment.laws.values()):
            found.append(f"{trace.label}: its devices are alike, so that mean_of = {trace.mean_of} changes nothing")
    few = [g for g in plan.goals if g.of_devices is not None and plan.experiments[g.experiment, g.device].exact]
    most = max((g.of_devices or 0 for g in few), default=0)
    if plan.job.search.members < _TIMES * most and plan.job.simulations is None:
        found.append(
            f"search.members = {plan.job.search.members} simulated devices for statistics of {most}: their own error "
            f"widens the intervals; {_TIMES * most} or more add little"
        )
    for name in dict.fromkeys(name for name, _ in plan.experiments):
        if name in plan.job.experiments and not any(name == g.experiment for g in (*plan.goals, *plan.candidates)):
            found.append(f"{key_path('experiments', name)}: no target reads it; it is not computed")
    return found


def _differences(plan: Plan) -> list[str]:
    """What is said of differences of ensembles where no device has noise, whose derivatives are exact."""
    if plan.job.simulations is not None or any(not e.exact for e in plan.experiments.values()):
        return []
    given = plan.job.search.model_fields_set
    names = [f"search.{key}" for key in ("derivatives", "reach", "largest_ensemble") if key in given]
    names += [key_path("parameters", path) + ".reach" for path, free in plan.job.parameters.items() if free.reach]
    return without_effect("the devices have no noise, their derivatives are exact", names)


__all__ = ["Case", "Plan", "Trace", "load_job", "resolve", "with_model"]
