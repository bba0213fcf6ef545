"""What a calibration leaves behind: calibration.h5 (an xarray tree with units), tables, and fitted.toml.

/            provenance, notes and warnings as attributes
/targets     reported and simulated numbers, pulls, derivatives
/parameters  fitted values, intervals, correlation, singular values and directions
/starts      what each start came to
/history     every step of every start
/curve_N     measured and simulated current
/profile_N   least χ² against one parameter
/candidates  what each further number would add
/models      information criteria of the models compared
/posterior   draws, where they were asked for
/design      experiments to be done next, what is expected of them, and their tables

What a calibration by simulations leaves behind: `learnt.py`.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tomli_w
import xarray as xr

from mcdev.calibration.covariance import covariance, noise, spread_out
from mcdev.calibration.display import as_calibration
from mcdev.calibration.evaluation import Evaluation
from mcdev.calibration.goals import Goal
from mcdev.calibration.misfit import Misfit
from mcdev.calibration.next_experiments import Designed
from mcdev.calibration.places import moved
from mcdev.calibration.plan import Plan, fitted_name
from mcdev.calibration.posterior import Posterior
from mcdev.calibration.search import Run
from mcdev.calibration.settings import tables
from mcdev.calibration.uncertainty import CONFIDENCE, Gain, Knowledge, Profile
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.key_paths import axis_unit, axis_values
from mcdev.configuration.problems import keys_of
from mcdev.configuration.sweep import as_toml
from mcdev.files.structure import Unreadable, hdf5
from mcdev.files.whole_file import ResultsError, whole_file
from mcdev.machine.identity import Origin, together, written
from mcdev.machine.provenance import versions
from mcdev.measurements.contract import OK
from mcdev.results.provenance import git_commit
from mcdev.schema import Unit, file_name
from mcdev.schema.units import customary, readable

FILE_NAME = "calibration.h5"
_SCHEMA = 1


def _along(dimension: str, *names: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(names, (dimension,))


_READ: dict[str, dict[str, tuple[str, ...]]] = {
    "targets": _along("target", "target", "unit", "reported", "uncertainty", "simulated", "simulated_error")
    | _along("target", "pull", "weight", "series", "along", "at", "at_unit"),
    "parameters": _along("parameter", "parameter", "unit", "value", "low", "high", "sd", "determined")
    | {"singular_value": ("direction",), "correlation": ("parameter", "other")},
    "starts": {"loss": ("start",), "begin": ("start", "parameter")},
    "history": _along("line", "start", "stage", "loss", "taken"),
    "models": _along("model", "model", "parameters", "numbers", "chi_square", "worst", "aic", "aicc", "bic"),
    "curve": _along("sample", "time", "measured", "simulated", "sd"),
    "profile": _along("grid", "value", "chi_square"),
    "posterior": {"draws": ("draw", "parameter")},
    "training": {"loss": ("epoch", "of")},
    "checks": {"ranks": ("set", "parameter"), "level": ("level",), "covered": ("level",)},
    "predicted": {"value": ("draw", "target"), "reported": ("target",), "status": ("target",)},
    "course": {"time": ("sample",), "current": ("quantile", "sample"), "quantile": ("quantile",)},
}
"""What tables and pictures read, with its dimensions, by the group's name without its number."""
_TEXT = ("target", "unit", "parameter", "model", "series", "along", "at_unit")
_ADDED = ("sd", "series", "along", "at", "at_unit")  # files of earlier versions lack them
_ATTRIBUTES = {"curve": ("noise",), "profile": ("low", "high"), "checks": ("strangeness",)}
_METHOD = (
    "errors: Gauss-Newton covariance in ln x (of curves of devices that move by themselves: sandwich), widened where "
    "χ² is larger than the model's own data have"
)
_TELLS, _LARGE = 6.0, 0.5  # discrimination from which odds are 20 to 1 in the mean; spread that is told as a factor
_CONFLICT = 0.01  # share of the model's own data below which others are said to conflict with it


class Criterion(NamedTuple):
    """One of the models compared."""

    name: str
    parameters: int
    numbers: int
    chi_square: float
    """With ln |Σ| of curves of devices that move by themselves, in units of the instrument's."""
    worst: float
    """Largest deviation of a target, in units of its uncertainty."""

    @property
    def aic(self) -> float:
        return self.chi_square + 2 * self.parameters

    @property
    def aicc(self) -> float:
        left = self.numbers - self.parameters - 1
        return self.aic + 2 * self.parameters * (self.parameters + 1) / left if left > 0 else float("nan")

    @property
    def bic(self) -> float:
        return self.chi_square + self.parameters * float(np.log(self.numbers))


class Outcome(NamedTuple):
    """Everything a calibration found."""

    plan: Plan
    runs: list[Run]
    best: Misfit
    """At the end of the last stage, with the derivatives that the errors are from."""
    final: Evaluation
    """Every goal, fitted or only shown, with the large ensembles of the report."""
    knowledge: Knowledge
    profiles: list[Profile]
    gains: list[Gain]
    models: list[Criterion]
    realisations: int
    wall: float
    posterior: Posterior | None = None
    designed: Designed | None = None


def conclusions(outcome: Outcome) -> list[str]:
    """What a reader must know, in sentences."""
    plan, k = outcome.plan, outcome.knowledge
    said = list(plan.job.notes) + list(plan.warnings)
    if outcome.posterior is not None:
        ends = np.quantile(outcome.posterior.values, [0.025, 0.975], axis=0).T
        for p, (low, high), count in zip(plan.parameters, ends, outcome.posterior.effective, strict=True):
            said.append(
                f"posterior of {p.label}: {low / p.mark.scale:.4g} … {high / p.mark.scale:.4g} {p.mark.unit} (95 %, "
                f"{count:.0f} effective draws)"
            )
    for goal, value, error in zip(plan.goals, outcome.final.value, outcome.final.error, strict=True):
        if not np.isfinite(value):
            said.append(f"{goal.label}: could not be read at the fitted parameters")
        elif goal.weight > 0 and abs(away := _standardised(goal, float(value), float(error))) > 3:
            said.append(
                f"{goal.label} is not met: {_number(value, goal.unit)} against {_number(goal.value, goal.unit)}, "
                f"{away:+.1f} standard deviations; no parameters within the bounds were found "
                "that meet it together with the others"
            )
    said += [*_meant(outcome), *_scattered(outcome)]
    for p, x in zip(plan.parameters, plan.values(outcome.best.u), strict=True):
        c = p.coordinate
        span = None if c.low is None or c.high is None else (c.natural(c.high) - c.natural(max(c.low, 1e-300)))
        for name, bound in (("lower", c.low), ("upper", c.high)):
            if bound is not None and span and c.low and abs(c.natural(float(x)) - c.natural(bound)) < 0.01 * span:
                said.append(f"{p.label} ended at its {name} bound, {bound / p.mark.scale:.4g} {p.mark.unit}".rstrip())
    said += [
        f"the interval of {p.label} ends at its {name} bound, {bound / p.mark.scale:.4g} {p.mark.unit}".rstrip()
        + ": the data do not say how much further it goes"
        for p, low, high in zip(plan.parameters, k.low, k.high, strict=True)
        for name, end, bound in (("lower", low, p.coordinate.low), ("upper", high, p.coordinate.high))
        if bound is not None and abs(end - bound) <= 1e-6 * abs(bound)
    ]
    if k.freedom > 0 and k.inflation > 1.0:
        conflict = k.chance < _CONFLICT
        what = "the numbers conflict with the model or with each other within their uncertainties; " if conflict else ""
        said.append(
            f"χ² = {k.chi_square:.3g} where the model's own data have {k.expected:.3g}, and as much in "
            f"{100 * k.chance:.2g} % of cases: {what}intervals are widened by {np.sqrt(k.inflation):.2f}"
        )
    if k.freedom == 0:
        said.append("as many numbers as parameters: that all are met says nothing about the model")
    said += list(k.words)
    undetermined = [p.label for p, fine in zip(plan.parameters, k.determined, strict=True) if not fine]
    if undetermined:
        said.append("not determined to within a factor of two (one standard deviation): " + ", ".join(undetermined))
    if outcome.final.left_out > 0:
        said.append(f"{100 * outcome.final.left_out:.2g} % of the realisations broke down and are left out")
    if outcome.gains:
        best = outcome.gains[0]
        ratio = best.smallest_after / best.smallest_before if best.smallest_before > 0 else np.inf
        said.append(
            f"to measure next, among the candidates: {best.label}; it raises the smallest singular value "
            f"{ratio:.3g}-fold, to {best.smallest_after:.3g}"
        )
    return said + _next(outcome)


def _next(outcome: Outcome) -> list[str]:
    """The designed experiments, and what they are expected to do."""
    found = outcome.designed
    if found is None:
        return []
    said = [
        f"experiment {i + 1} of the design: {space.experiment}"
        + (f" on {space.device}" if len({device for _, device in outcome.plan.experiments}) > 1 else "")
        + (f", {settings}" if (settings := space.said(one.place)) else "")
        + f" ({', '.join(goal.read.label for goal in space.goals)})"
        for i, (space, one) in enumerate(found.chosen)
    ]
    if found.model is not None:
        verdict = "they tell the models apart" if found.discrimination > _TELLS else "this is little: they may not do"
        return [
            *said,
            f"the design is expected to discriminate {found.model} from the model as configured by "
            f"{found.discrimination:.3g} (twice the mean ln of the odds); {verdict}",
        ]
    for p, before, after in zip(outcome.plan.parameters, found.before, found.after, strict=True):
        if p.label in found.shrunk:
            said.append(
                f"{p.label}: one standard deviation is {_spread(before)}, and is expected to be {_spread(after)} with "
                "the design"
            )
    return said


def _spread(sd: float) -> str:
    """Of a natural coordinate."""
    return f"{100 * sd:.3g} %" if sd < _LARGE else f"a factor of {np.exp(sd):.3g}"


def _standardised(goal: Goal, value: float, error: float) -> float:
    """The deviation in standard deviations of the difference: of the reported number, and of the ensemble's."""
    return goal.deviation(value) / float(np.hypot(1.0, goal.deviation_slope(value) * error))


def _meant(outcome: Outcome) -> list[str]:
    """What each curve of devices that move by themselves was taken for."""
    said = []
    for trace, root in zip(outcome.plan.traces, outcome.best.roots, strict=True):
        if root is not None:
            taken = "the trace of one device" if trace.mean_of == 1 else f"the mean of {trace.mean_of} devices"
            said.append(
                f"{trace.label} is taken as {taken} (mean_of = {trace.mean_of}): errors hold the instrument's noise, "
                "what the devices do by themselves, and the ensemble's own error"
            )
    return said


def _scattered(outcome: Outcome) -> list[str]:
    """Fitted numbers whose uncertainty is smaller than what one device differs from the next by."""
    few = []
    for goal, one in zip(outcome.plan.goals, _of_one_device(outcome), strict=True):
        if (
            goal.weight > 0
            and goal.of_devices is None
            and goal.read.statistic in ("mean", "mean_response")
            and one > goal.sigma
        ):
            few.append(f"{goal.label} (of {int(np.ceil((one / goal.sigma) ** 2))})")
    if not few:
        return []
    return [
        "an uncertainty must hold all by which the number may differ from the mean of all devices; these are smaller "
        f"than the scatter from device to device, which only a mean of so many devices allows: {', '.join(few)}"
    ]


def _of_one_device(outcome: Outcome) -> np.ndarray:
    """Standard deviation of each number from device to device, as the ensemble has it; zero where all are alike."""
    plan, e = outcome.plan, outcome.final
    counts = [
        plan.cases[g.experiment, g.device][0].ensemble_of(plan.job.report.final_devices, plan.job.search.members)
        for g in plan.goals
    ]
    return np.asarray(e.error * np.sqrt(np.array(counts, float) * (1.0 - e.left_out)))


def _number(value: float, unit: str) -> str:
    mark = Unit("" if unit == "1" else unit)
    return f"{value / mark.scale:.4g} {mark.unit}".strip()


def assemble(outcome: Outcome, source: str, origins: Sequence[Origin]) -> xr.DataTree:
    """The tree of a finished calibration that ``origins`` have computed; ``source`` is its configuration as TOML."""
    plan, k = outcome.plan, outcome.knowledge
    groups: dict[str, xr.Dataset] = {
        "/": xr.Dataset(
            attrs=provenance(
                *(plan, conclusions(outcome), source, origins, _METHOD, outcome.wall, outcome.realisations)
            )
        ),
        "/targets": _targets(outcome),
        "/parameters": _parameters(plan, outcome.best, k),
        "/starts": _starts(plan, outcome.runs),
        "/history": _history(outcome.runs),
    }
    for i, (trace, current) in enumerate(zip(plan.traces, outcome.final.currents, strict=True)):
        about = {
            "title": trace.label,
            "noise": float(np.median(trace.noise)),
            "mean_of": trace.mean_of,
            "source": trace.source,
        }
        data = xr.Dataset(attrs=about)
        data["time"] = xr.Variable("sample", trace.time[1:], {"units": "s", "long_name": "end of the sample"})
        data["voltage"] = xr.Variable("sample", trace.voltage[1:], {"units": "V", "long_name": "source voltage"})
        about = {"units": "A", "long_name": "measured current; NaN where nothing was recorded"}
        data["measured"] = xr.Variable("sample", trace.current, about)
        data["simulated"] = xr.Variable("sample", current, {"units": "A", "long_name": "simulated current"})
        about = {"units": "A", "long_name": "standard deviation of measured less simulated, all that is known of it"}
        data["sd"] = xr.Variable("sample", _sd(outcome, i), about)
        groups[f"/curve_{i + 1}"] = data
    for i, found in enumerate(outcome.profiles):
        data = xr.Dataset(attrs={"title": found.label, "low": found.low, "high": found.high})
        about = {"units": found.unit or "1", "long_name": found.label}
        data["value"] = xr.Variable("grid", found.value, about)
        data["chi_square"] = xr.Variable("grid", found.chi_square, {"units": "1", "long_name": "least χ²"})
        groups[f"/profile_{i + 1}"] = data
    if outcome.gains:
        data = xr.Dataset()
        data["candidate"] = xr.Variable("candidate", np.array([g.label for g in outcome.gains]))
        for name, words in (
            ("value", "expected value (SI)"),
            ("sigma", "uncertainty it would have (SI)"),
            ("smallest_before", "smallest singular value of what is known"),
            ("smallest_after", "the same with this number"),
        ):
            data[name] = xr.Variable("candidate", [getattr(g, name) for g in outcome.gains], {"long_name": words})
        groups["/candidates"] = data
    if outcome.designed is not None:
        groups["/design"] = _design(outcome.plan, outcome.designed)
    if outcome.posterior is not None:
        p = outcome.posterior
        scale = np.array([parameter.mark.scale for parameter in plan.parameters])
        data = xr.Dataset(coords={"parameter": [parameter.label for parameter in plan.parameters]})
        words = "draws from the posterior, in the units of the table of parameters"
        data["draws"] = xr.Variable(("draw", "parameter"), p.values / scale, {"long_name": words})
        data["effective"] = xr.Variable(
            "parameter", p.effective, {"long_name": "effective number of independent draws"}
        )
        groups["/posterior"] = data.assign_attrs(method="gradients", accepted=p.accepted, divergent=p.divergent)
    if outcome.models:
        data = xr.Dataset()
        data["model"] = xr.Variable("model", np.array([m.name for m in outcome.models]))
        for name in ("parameters", "numbers", "chi_square", "worst", "aic", "aicc", "bic"):
            data[name] = xr.Variable("model", [getattr(m, name) for m in outcome.models])
        groups["/models"] = data
    return as_calibration(xr.DataTree.from_dict(groups))


def _design(plan: Plan, found: Designed) -> xr.Dataset:
    data = xr.Dataset(coords={"parameter": [p.label for p in plan.parameters]})
    data["experiment"] = xr.Variable("design", np.array([space.experiment for space, _ in found.chosen], dtype="U"))
    data["settings"] = xr.Variable("design", np.array([s.said(one.place) for s, one in found.chosen], dtype="U"))
    for name, sd, words in (("before", found.before, "as it is"), ("after", found.after, "expected with the design")):
        data[name] = xr.Variable(
            "parameter", sd, {"long_name": f"standard deviation of the natural coordinate, {words}"}
        )
    chosen = np.array([p.label in found.shrunk for p in plan.parameters], np.int8)
    data["shrunk"] = xr.Variable("parameter", chosen, {"long_name": "1: the design is for it"})
    about = {"tell_apart": found.model or "", "discrimination": found.discrimination}
    return data.assign_attrs(about, experiments=tomli_w.dumps(designed_tables(found)))


def designed_tables(found: Designed) -> dict[str, Any]:
    """The designed experiments as they stand in a calibration's file."""
    return {
        "experiments": {f"designed_{i + 1}": tables(space, one.place) for i, (space, one) in enumerate(found.chosen)}
    }


def write_design(outcome: Outcome, folder: Path) -> Path | None:
    """``design.toml``: the designed experiments, to be copied into a calibration's file; None without any."""
    if outcome.designed is None:
        return None
    path = folder / "design.toml"
    with whole_file(path) as temporary:
        temporary.write_text(tomli_w.dumps(designed_tables(outcome.designed)), encoding="utf-8")
    return path


def provenance(
    plan: Plan, said: Sequence[str], source: str, origins: Sequence[Origin], method: str, wall: float, realisations: int
) -> dict[str, Any]:
    """Attributes of the tree; ``said``: its conclusions, ``method``: how errors and intervals were found."""
    return {
        "title": plan.job.name,
        "description": plan.job.description,
        "mcdev_calibration_version": _SCHEMA,
        "configuration": source,
        "conclusions": "\n".join(filter(None, [*said, together(origins)])),
        "origins": written(origins),
        "method": f"{method}; intervals: {100 * CONFIDENCE:g} %",
        "versions": versions("jax", "jaxlib", "optax", "numpy"),
        "git_commit": git_commit(),
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "wall_time_s": wall,
        "realisations": realisations,
    }


def _targets(outcome: Outcome) -> xr.Dataset:
    plan, goals, e = outcome.plan, outcome.plan.goals, outcome.final
    data = xr.Dataset(coords={"target": np.array([g.label for g in goals])})
    scale = np.array([g.mark.scale for g in goals])

    def add(name: str, values: Any, words: str) -> None:
        data[name] = xr.Variable("target", values, {"long_name": words})

    add("unit", np.array([g.unit for g in goals]), "unit of this row")
    add("reported", np.array([g.value for g in goals]) / scale, "reported value, in the row's unit")
    add("uncertainty", np.array([g.sigma for g in goals]) / scale, "its standard deviation")
    add("simulated", e.value / scale, "simulated value at the fitted parameters")
    add("simulated_error", e.error / scale, "its standard error over the ensemble")
    add("one_device", _of_one_device(outcome) / scale, "standard deviation from device to device in the ensemble")
    add("pull", [g.deviation(float(v)) for g, v in zip(goals, e.value, strict=True)], "deviation over uncertainty")
    add("weight", [g.weight for g in goals], "0: shown, not fitted")
    add("source", np.array([g.source for g in goals], dtype="U"), "where it is published")
    places = [_place(plan, g) for g in goals]
    add("series", np.array([p.series for p in places], dtype="U"), "what it is one point of")
    add("along", np.array([p.along for p in places], dtype="U"), "along which axis; empty where it is along none")
    add("at", np.array([p.at for p in places], float), "where on the axis, in the axis's unit")
    add("at_unit", np.array([p.unit for p in places], dtype="U"), "unit of the axis")
    add("derivative_by", np.array(e.methods, dtype="U"), "how its derivatives were found")
    return data


class _Place(NamedTuple):
    """Where a target stands among others of its kind."""

    series: str
    along: str
    at: float
    unit: str


def _place(plan: Plan, goal: Goal) -> _Place:
    """Along the longest numeric axis of its experiment's sweep, or the entries of a list; the other axes' values are a
    part of the series."""
    experiment, read = plan.experiments[goal.experiment, goal.device], goal.read
    of = f" ({goal.device})" if len({device for _, device in plan.experiments}) > 1 else ""
    name = read.label if read.statistic in ("mean", "mean_response") else read.words
    points = experiment.sweep.points()
    here = points[read.point - 1] if read.coefficient is None else {}
    numeric = [path for path in here if not isinstance(axis_values(experiment, path), list)]
    path = max(numeric, key=lambda path: len({str(point[path]) for point in points}), default=None)
    if path is None:
        series = name.partition("[")[0] if read.entry is not None else name
        at = math.nan if read.entry is None else float(read.entry)
        return _Place(f"{goal.experiment}: {series}{of}", "entry" if read.entry is not None else "", at, "1")
    others = [f"{keys_of(p)[-1].replace('_', ' ')} {readable(value)}" for p, value in here.items() if p != path]
    unit = axis_unit(experiment, path)
    usual, ratio = customary(unit, float(np.max(np.abs(axis_values(experiment, path)))))
    at = float(axis_values(experiment, path)[read.point - 1]) * ratio
    series = ", ".join([f"{goal.experiment}: {name}", *others])
    return _Place(f"{series}{of}", keys_of(path)[-1].replace("_", " "), at, usual or "1")


def _sd(outcome: Outcome, i: int) -> np.ndarray:
    """[sample] of one curve; NaN where nothing was recorded."""
    trace, courses = outcome.plan.traces[i], outcome.best.evaluation.courses[i]
    found = np.where(np.isfinite(trace.current), trace.noise, np.nan)
    if outcome.best.roots[i] is not None:
        motion = covariance(trace, courses, courses.shape[0]).diagonal() - noise(trace) ** 2
        found = np.sqrt(found**2 + spread_out(trace, motion))
    return found


def _parameters(plan: Plan, best: Misfit, k: Knowledge) -> xr.Dataset:
    labels = [p.label for p in plan.parameters]
    data = xr.Dataset(coords={"parameter": labels, "other": labels})
    scale = np.array([p.mark.scale for p in plan.parameters])

    def add(name: str, values: Any, words: str, dims: Any = "parameter") -> None:
        data[name] = xr.Variable(dims, values, {"long_name": words})

    none = [np.nan if b is None else b for b in (p.coordinate.low for p in plan.parameters)]
    some = [np.nan if b is None else b for b in (p.coordinate.high for p in plan.parameters)]
    add("unit", np.array([p.mark.unit or "1" for p in plan.parameters]), "unit of this row")
    add("value", plan.values(best.u) / scale, "fitted value, in the row's unit")
    add("low", k.low / scale, "lower end of the 95 % interval")
    add("high", k.high / scale, "upper end of the 95 % interval")
    add("sd", k.sd, "standard deviation of ln(value), or of value over its start where it may have either sign")
    add("determined", k.determined.astype(np.int8), "1 where the data determine it to within a factor of two")
    add("start", [p.start / p.mark.scale for p in plan.parameters], "start")
    add("lower_bound", np.array(none) / scale, "lower bound")
    add("upper_bound", np.array(some) / scale, "upper bound")
    add("correlation", k.correlation, "correlation of the natural coordinates", ("parameter", "other"))
    add("singular_value", k.singular, "of the deviations by the natural coordinates, without priors", "direction")
    add("direction", k.directions, "unit vectors in natural coordinates", ("direction", "parameter"))
    return data


def _starts(plan: Plan, runs: list[Run]) -> xr.Dataset:
    ordered = sorted(runs, key=lambda r: r.number)
    data = xr.Dataset(coords={"parameter": [p.label for p in plan.parameters]})
    scale = np.array([p.mark.scale for p in plan.parameters])
    data["loss"] = xr.Variable("start", [r.best.loss for r in ordered], {"long_name": "loss at the end"})
    dims = ("start", "parameter")
    data["begin"] = xr.Variable(dims, [plan.values(r.start) / scale for r in ordered], {"long_name": "began at"})
    data["end"] = xr.Variable(dims, [plan.values(r.best.u) / scale for r in ordered], {"long_name": "ended at"})
    count = len([g for g in plan.goals if g.weight > 0])
    deviations = [r.best.residual[:count] for r in ordered]
    data["deviation"] = xr.Variable(("start", "fitted"), deviations, {"long_name": "weighted deviation of each target"})
    relative = [
        [
            v / g.value - 1.0
            for g, v in zip([g for g in plan.goals if g.weight > 0], r.best.evaluation.value, strict=True)
        ]
        for r in ordered
    ]
    data["relative"] = xr.Variable(("start", "fitted"), relative, {"long_name": "simulated over reported, less one"})
    return data


def _history(runs: list[Run]) -> xr.Dataset:
    steps = [s for r in sorted(runs, key=lambda r: r.number) for s in r.steps]
    data = xr.Dataset()
    for name in ("start", "stage", "step", "devices", "loss", "loss_error"):
        data[name] = xr.Variable("line", [getattr(s, name) for s in steps])
    data["taken"] = xr.Variable("line", [int(s.taken) for s in steps])
    for name in ("optimiser", "note", "worst"):
        data[name] = xr.Variable("line", np.array([getattr(s, name) for s in steps], dtype="U"))
    data["u"] = xr.Variable(("line", "parameter"), np.array([s.u for s in steps]), {"long_name": "free coordinates"})
    return data


# -------------------------------------------------------------------------------------- files


def write(tree: xr.DataTree, folder: Path) -> Path:
    """Write calibration.h5 into a folder."""
    path = folder / FILE_NAME
    with whole_file(path) as temporary:
        tree.to_netcdf(temporary, engine="h5netcdf")
    return path


def is_calibration(path: str | Path) -> bool:
    """Whether a folder or file holds the results of a calibration."""
    path = Path(path)
    return path.name == FILE_NAME or (path / FILE_NAME).exists()


def read(path: str | Path) -> xr.DataTree:
    """The tree of a calibration's folder or file. Raises ``ResultsError`` for what is not one."""
    path = Path(path)
    file = path / FILE_NAME if path.is_dir() else path
    try:
        with hdf5(file) as handle:
            if "mcdev_calibration_version" not in handle.attrs:
                raise ResultsError(f"{file} holds no calibration of mcdev")
        with file.open("rb") as stream, xr.open_datatree(stream, engine="h5netcdf") as tree:  # closed whatever happens
            loaded = tree.load()
        _check(loaded)
    except ResultsError:
        raise
    except Unreadable as error:
        raise ResultsError(f"{file} is not read: {error}") from None
    except Exception as error:  # h5py and xarray raise many kinds for a damaged file
        raise ResultsError(f"{file} cannot be read as a calibration: missing, damaged or cut off ({error})") from None
    return as_calibration(loaded)


def _check(tree: xr.DataTree) -> None:
    """Raises ``Unreadable`` where something is missing or of another kind that tables and pictures read."""
    needed = ("training", "checks") if "training" in tree.children else ("starts", "history")
    for name in ("targets", "parameters", *needed):
        if name not in tree.children:
            raise Unreadable(f"the group /{name} is missing")
    if not isinstance(tree.attrs.get("conclusions"), str):
        raise Unreadable("its conclusions are missing")
    for group, node in tree.children.items():
        kind = re.sub(r"_\d+$", "", str(group))
        data = node.dataset
        for name, dims in _READ.get(kind, {}).items():
            if name not in data.variables:
                if name in _ADDED:
                    continue
                raise Unreadable(f"/{group}/{name} is missing")
            found, empty = data[name], data[name].size == 0  # of no entries the file does not keep the type
            if found.dims != dims or (not empty and (found.dtype.kind in "OTU") != (name in _TEXT)):
                wanted = f"{'text' if name in _TEXT else 'numbers'} along {', '.join(dims)}"
                raise Unreadable(
                    f"/{group}/{name} is {found.dtype} along {', '.join(map(str, found.dims))}; not {wanted}"
                )
        for name in _ATTRIBUTES.get(kind, ()):
            if not isinstance(data.attrs.get(name), (int, float, np.number)):
                raise Unreadable(f"/{group} has no number called {name}")
        if kind == "profile" and not isinstance(data["value"].attrs.get("units"), str):
            raise Unreadable(f"/{group}/value has no unit")
    empty = "history" in tree.children and not tree["history"].sizes["line"]
    if empty or not tree["parameters"].sizes["parameter"]:
        raise Unreadable("it has no steps or no parameters")


def write_fitted(outcome: Outcome, folder: Path) -> Path:
    """:func:`write_study` of the best point of the search."""
    return write_study(outcome.plan, outcome.plan.values(outcome.best.u), folder)


def write_study(plan: Plan, x: np.ndarray, folder: Path) -> Path:
    """``fitted.toml``, a study that ``mcdev run`` runs as it is: every experiment on every device with parameters ``x``
    (SI), with the reported numbers to compare with; the experiments themselves lie in ``fitted/``."""
    read = {(g.experiment, g.device) for g in plan.goals} | {(t.experiment, t.device) for t in plan.traces}
    files = []
    for (name, device), experiment in plan.experiments.items():
        if (name, device) not in read:
            continue
        own = _fitted(plan, experiment, name, device, plan.given(x, name, device))
        file = folder / "fitted" / f"{own['name']}.toml"
        with whole_file(file) as temporary:
            temporary.write_text(as_toml(own), encoding="utf-8")
        files.append(f"fitted/{file.name}")
    study = {
        "name": file_name(plan.job.name, "fitted"),
        "description": f"Fitted by mcdev: {plan.job.description}"[:4000],
        "runs": files,
        "variants": {"fitted": {}},
    }
    path = folder / "fitted.toml"
    with whole_file(path) as temporary:
        temporary.write_text(tomli_w.dumps(study), encoding="utf-8")
    return path


def _fitted(plan: Plan, experiment: Experiment, name: str, device: str, values: dict[str, float]) -> dict[str, Any]:
    data = moved(experiment, values).to_dict()
    several = len({d for _, d in plan.experiments}) > 1
    data["name"] = fitted_name(name, device, several)
    drawn = any(not isinstance(getattr(experiment.device, n), float) for n in experiment.device.parameters())
    alike = experiment.device.alike and not drawn and not experiment.ensemble.cycle_to_cycle
    many = plan.cases[name, device][0].own_devices or plan.job.report.final_devices
    data["ensemble"]["devices"] = 1 if alike else many
    references = []
    for goal in plan.goals:
        if (goal.experiment, goal.device) != (name, device) or goal.status != OK:
            continue
        reference: dict[str, Any] = {"measurement": goal.read.measurement, "point": goal.read.point}
        reference |= {"value": goal.mark.write(goal.value), "source": goal.source, "statistic": goal.read.statistic}
        for key in ("entry", "coefficient", "level", "other"):
            if getattr(goal.read, key) is not None:
                reference[key] = getattr(goal.read, key)
        references.append(reference)
    data["output"] = {**data.get("output", {}), "reference": references}
    return data


__all__ = ["Criterion", "Outcome", "assemble", "conclusions", "is_calibration", "read", "write"]
