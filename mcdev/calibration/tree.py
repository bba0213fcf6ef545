"""The tree of a calibration's results, as calibration.h5 holds it: xarray with units.

/            provenance and conclusions as attributes
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
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tomli_w
import xarray as xr

from mcdev.calibration.conclusions import conclusions, of_one_device
from mcdev.calibration.covariance import covariance, noise, spread_out
from mcdev.calibration.display import as_calibration
from mcdev.calibration.fitted import designed_tables
from mcdev.calibration.goals import Goal
from mcdev.calibration.misfit import Misfit
from mcdev.calibration.next_experiments import Designed
from mcdev.calibration.outcome import Outcome
from mcdev.calibration.plan import Plan
from mcdev.calibration.search import Run
from mcdev.calibration.uncertainty import CONFIDENCE, Knowledge
from mcdev.configuration.key_paths import axis_unit, axis_values
from mcdev.configuration.problems import keys_of
from mcdev.machine.identity import Origin, together, written
from mcdev.machine.provenance import versions
from mcdev.results.provenance import git_commit
from mcdev.schema.units import customary, readable

_SCHEMA = 1
_METHOD = (
    "errors: Gauss-Newton covariance in ln x (of curves of devices that move by themselves: sandwich), widened where "
    "χ² is larger than the model's own data have"
)


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
        groups["/design"] = of_design(outcome.plan, outcome.designed)
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
    add("one_device", of_one_device(outcome) / scale, "standard deviation from device to device in the ensemble")
    add("pull", [g.deviation(float(v)) for g, v in zip(goals, e.value, strict=True)], "deviation over uncertainty")
    add("weight", [g.weight for g in goals], "0: shown, not fitted")
    add("source", np.array([g.source for g in goals], dtype="U"), "where it is published")
    places = [place_of(plan, g) for g in goals]
    add("series", np.array([p.series for p in places], dtype="U"), "what it is one point of")
    add("along", np.array([p.along for p in places], dtype="U"), "along which axis; empty where it is along none")
    add("at", np.array([p.at for p in places], float), "where on the axis, in the axis's unit")
    add("at_unit", np.array([p.unit for p in places], dtype="U"), "unit of the axis")
    add("derivative_by", np.array(e.methods, dtype="U"), "how its derivatives were found")
    return data


class Place(NamedTuple):
    """Where a target stands among others of its kind."""

    series: str
    along: str
    at: float
    unit: str


def place_of(plan: Plan, goal: Goal) -> Place:
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
        if read.entry is None:
            return Place(f"{goal.experiment}: {name}{of}", "", math.nan, "1")
        series = f"{goal.experiment}: {name.partition('[')[0]}{of}"
        axis = experiment.measurements[read.measurement].axis(experiment.timeline)
        if axis is None:
            return Place(series, "entry", float(read.entry), "1")
        along, unit, values = axis
        usual, ratio = customary(unit, float(np.max(np.abs(values))))
        return Place(series, along, float(values[read.entry - 1]) * ratio, usual)
    others = [f"{keys_of(p)[-1].replace('_', ' ')} {readable(value)}" for p, value in here.items() if p != path]
    unit = axis_unit(experiment, path)
    usual, ratio = customary(unit, float(np.max(np.abs(axis_values(experiment, path)))))
    at = float(axis_values(experiment, path)[read.point - 1]) * ratio
    series = ", ".join([f"{goal.experiment}: {name}", *others])
    return Place(f"{series}{of}", keys_of(path)[-1].replace("_", " "), at, usual or "1")


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


def of_design(plan: Plan, found: Designed) -> xr.Dataset:
    """The group ``/design``."""
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
