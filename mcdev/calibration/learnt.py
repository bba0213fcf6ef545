"""What a calibration by simulations leaves behind, in the groups and files of any calibration where they mean the same.

/targets     reported numbers beside the medians of what the posterior predicts
/parameters  medians, intervals, correlation, principal directions of the posterior
/posterior   draws
/predicted   data sets that the posterior predicts, with the instrument's noise
/course_N    predicted mean current of each experiment over time: quantiles over the draws
/checks      ranks of simulated truths, coverage, strangeness of the observation
/training    losses
/design      experiments to be done next, where they are asked for
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from mcdev.calibration.conclusions import next_ones
from mcdev.calibration.display import as_calibration
from mcdev.calibration.fitted import write_study
from mcdev.calibration.inference import Inferred
from mcdev.calibration.tree import of_design, provenance
from mcdev.calibration.trust import LEVELS, contraction, correlation, words
from mcdev.calibration.uncertainty import CONFIDENCE, UNDETERMINED
from mcdev.machine.identity import Origin
from mcdev.measurements.contract import FAILED, LEFT_CENSORED, OK, RIGHT_CENSORED

METHOD = "a posterior learnt from simulations (neural posterior estimation, flowjax); values: its medians"
_QUANTILES = (0.025, 0.25, 0.5, 0.75, 0.975)
_MISSED = 0.01
_NOTHING = 0.1  # contraction below which the data say nothing that the prior does not
_BROKEN = 0.01  # share of data sets that broke down from which it is said
_SIGNS = {RIGHT_CENSORED: "> ", LEFT_CENSORED: "< "}


def natural(found: Inferred) -> np.ndarray:
    """Draws in natural coordinates [draw, parameter]: ln x of a scale."""
    return found.plan.natural(found.values)


def conclusions(found: Inferred) -> list[str]:
    """What a reader must know, in sentences."""
    plan = found.plan
    said = [*plan.job.notes, *plan.warnings, *words(found.trust, found.labels)]
    for goal in found.without:
        said.append(f"{goal.label}: no simulation is {_status(goal.status)}, as the reported number is")
    for goal, p in zip(plan.goals, found.missed, strict=True):
        if p < _MISSED:
            said.append(
                f"{goal.label} is not met: what the posterior predicts is as far off as what was reported in "
                f"{100 * p:.2g} % of cases"
            )
    ends = np.quantile(found.values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0).T
    for p, (low, high) in zip(plan.parameters, ends, strict=True):
        said.append(
            f"posterior of {p.label}: {low / p.mark.scale:.4g} … {high / p.mark.scale:.4g} {p.mark.unit}".rstrip()
            + f" ({100 * CONFIDENCE:g} %, {len(found.values)} draws)"
        )
    silent = [label for label, share in zip(found.labels, contraction(found.scores), strict=True) if share < _NOTHING]
    if silent:
        said.append(f"the data say nothing of {', '.join(silent)} that the prior does not")
    if found.failed > _BROKEN * (found.failed + found.simulated):
        share = 100 * found.failed / (found.failed + found.simulated)
        said.append(
            f"{share:.2g} % of the simulated data sets broke down or would have taken a hundred times as long as the "
            "start; the posterior is of the rest"
        )
    return said + next_ones(plan, found.designed)


def _status(code: int) -> str:
    return {RIGHT_CENSORED: "a bound from below", LEFT_CENSORED: "a bound from above"}.get(code, "undefined")


def assemble(found: Inferred, source: str, origins: Sequence[Origin]) -> xr.DataTree:
    """The tree of a finished calibration that ``origins`` have computed; ``source`` is its configuration as TOML."""
    plan = found.plan
    said = conclusions(found)
    realisations = found.simulated + found.failed
    labels = found.labels
    scale = np.array([p.mark.scale for p in plan.parameters])
    draws = xr.Dataset(coords={"parameter": labels}, attrs={"method": "simulations"})
    about = "draws from the posterior, in the units of the table of parameters"
    draws["draws"] = xr.Variable(("draw", "parameter"), found.values / scale, {"long_name": about})
    count = np.full(len(labels), float(len(found.values)))
    draws["effective"] = xr.Variable("parameter", count, {"long_name": "effective number of independent draws"})
    draws["contraction"] = xr.Variable(
        "parameter", contraction(found.scores), {"long_name": "by what share the prior's variance has shrunk"}
    )
    training = xr.Dataset(coords={"of": ["trained", "held out"]})
    training["loss"] = xr.Variable(("epoch", "of"), found.losses, {"long_name": "mean -ln q"})
    groups: dict[str, xr.Dataset] = {
        "/": xr.Dataset(attrs=provenance(plan, said, source, origins, METHOD, found.wall, realisations)),
        "/targets": _targets(found),
        "/parameters": _parameters(found),
        "/posterior": draws,
        "/predicted": _predicted(found),
        "/checks": _checks(found),
        "/training": training.assign_attrs(simulated=found.simulated, failed=found.failed),
    }
    if found.designed is not None:
        groups["/design"] = of_design(plan, found.designed)
    for i, (pair, rows) in enumerate(found.predicted.currents.items()):
        groups[f"/course_{i + 1}"] = _course(found, pair, rows)
    return as_calibration(xr.DataTree.from_dict(groups))


def _unit_scales(found: Inferred) -> np.ndarray:
    return np.array([g.mark.scale for g in found.plan.goals])


def _known(found: Inferred) -> np.ndarray:
    """Predicted numbers [draw, target], SI; bounds count as what they are, and NaN where there is none."""
    return np.where(found.predicted.status == FAILED, np.nan, found.predicted.value)


def _quantile(values: np.ndarray, share: float) -> np.ndarray:
    """[target] of [draw, target], over the numbers; NaN where there is none."""
    return np.array([np.quantile(c[np.isfinite(c)], share) if np.isfinite(c).any() else np.nan for c in values.T])


def _targets(found: Inferred) -> xr.Dataset:
    goals, scale, value = found.plan.goals, _unit_scales(found), _known(found)
    data = xr.Dataset(coords={"target": np.array([_SIGNS.get(g.status, "") + g.label for g in goals])})
    middle = _quantile(value, 0.5)
    sd = np.array([np.std(c[np.isfinite(c)]) if np.isfinite(c).sum() > 1 else np.nan for c in value.T])
    with np.errstate(invalid="ignore", divide="ignore"):
        pull = (middle - np.array([g.value for g in goals])) / sd
    plain = np.array([g.status == OK for g in goals])

    def add(name: str, values: Any, words: str) -> None:
        data[name] = xr.Variable("target", values, {"long_name": words})

    add("unit", np.array([g.unit for g in goals], dtype="U"), "unit of this row")
    add("reported", np.array([g.value for g in goals]) / scale, "reported number, or the bound that it is")
    add("uncertainty", sd / scale, "standard deviation of what the posterior predicts, instrument included")
    add("simulated", middle / scale, "median of what the posterior predicts")
    add("simulated_error", np.zeros(len(goals)), "none: the spread is in the uncertainty")
    add("pull", np.where(plain, pull, np.nan), "simulated less reported, over the uncertainty; none of a bound")
    add("weight", [g.weight for g in goals], "0: shown, not fitted")
    add("missed", found.missed, "probability that the posterior predicts something as far off as what was reported")
    add("source", np.array([g.source for g in goals], dtype="U"), "where it is published")
    return data


def _parameters(found: Inferred) -> xr.Dataset:
    plan, labels = found.plan, found.labels
    data = xr.Dataset(coords={"parameter": labels, "other": labels})
    scale = np.array([p.mark.scale for p in plan.parameters])
    n = natural(found)
    sd = n.std(axis=0)
    size, axes = np.linalg.eigh(np.atleast_2d(np.cov(n.T)))

    def add(name: str, values: Any, words: str, dims: Any = "parameter") -> None:
        data[name] = xr.Variable(dims, values, {"long_name": words})

    none = [np.nan if b is None else b for b in (p.coordinate.low for p in plan.parameters)]
    some = [np.nan if b is None else b for b in (p.coordinate.high for p in plan.parameters)]
    low, middle, high = np.quantile(found.values, [(1 - CONFIDENCE) / 2, 0.5, (1 + CONFIDENCE) / 2], axis=0)
    add("unit", np.array([p.mark.unit or "1" for p in plan.parameters]), "unit of this row")
    add("value", middle / scale, "median of the posterior, in the row's unit")
    add("low", low / scale, "lower end of the 95 % interval")
    add("high", high / scale, "upper end of the 95 % interval")
    add("sd", sd, "standard deviation of ln(value), or of value over its start where it may have either sign")
    add("determined", (sd < UNDETERMINED).astype(np.int8), "1 where it is known to within a factor of two")
    add("start", [p.start / p.mark.scale for p in plan.parameters], "the configuration's own value")
    add("lower_bound", np.array(none) / scale, "lower bound")
    add("upper_bound", np.array(some) / scale, "upper bound")
    add("correlation", correlation(n), "correlation of the natural coordinates", ("parameter", "other"))
    about = "of the posterior, 1/(standard deviation along its principal axes)"
    add("singular_value", 1.0 / np.sqrt(np.maximum(size, 1e-300)), about, "direction")
    add("direction", axes.T, "unit vectors in natural coordinates", ("direction", "parameter"))
    return data


def _predicted(found: Inferred) -> xr.Dataset:
    goals, scale = found.plan.goals, _unit_scales(found)
    data = xr.Dataset(coords={"target": np.array([g.label for g in goals])})
    dims = ("draw", "target")
    about = "what the posterior predicts, the instrument's noise included, in the target's unit"
    data["value"] = xr.Variable(dims, found.predicted.value / scale, {"long_name": about})
    words = "0 a number, 1 and 2 bounds from below and above, 3 undefined, 4 broke down"
    data["predicted_status"] = xr.Variable(dims, found.predicted.status, {"long_name": words})
    data["reported"] = xr.Variable("target", np.array([g.value for g in goals]) / scale, {"long_name": "reported"})
    data["status"] = xr.Variable("target", np.array([g.status for g in goals], np.int8), {"long_name": words})
    data["unit"] = xr.Variable("target", np.array([g.unit for g in goals], dtype="U"))
    data["logarithmic"] = xr.Variable("target", np.array([g.scale == "log" for g in goals], np.int8))
    return data


def _checks(found: Inferred) -> xr.Dataset:
    t = found.trust
    data = xr.Dataset(coords={"parameter": found.labels}, attrs={"strangeness": t.strangeness})
    words = "share of the draws below the truth, of data sets that were not trained on"
    data["ranks"] = xr.Variable(("set", "parameter"), t.ranks, {"long_name": words})
    words = "probability of ranks as uneven as these, were they uniform"
    data["uniform"] = xr.Variable("parameter", t.uniform, {"long_name": words})
    data["level"] = xr.Variable("level", LEVELS, {"long_name": "level of the region"})
    data["covered"] = xr.Variable("level", t.covered, {"long_name": "share of the truths that it holds"})
    return data


def _course(found: Inferred, pair: tuple[str, str], rows: np.ndarray) -> xr.Dataset:
    experiment, several = pair
    timeline = found.plan.cases[pair][0].base.timeline
    devices = len({device for _, device in found.plan.experiments})
    title = experiment + (f" ({several})" if devices > 1 else "")
    data = xr.Dataset(attrs={"title": title})
    data["time"] = xr.Variable("sample", np.cumsum(timeline.widths), {"units": "s", "long_name": "end of the sample"})
    data["voltage"] = xr.Variable("sample", timeline.end, {"units": "V", "long_name": "source voltage"})
    data["quantile"] = xr.Variable("quantile", np.array(_QUANTILES))
    whole = rows[np.isfinite(rows).all(axis=1)]
    current = (
        np.quantile(whole, _QUANTILES, axis=0) if len(whole) else np.full((len(_QUANTILES), rows.shape[1]), np.nan)
    )
    about = {"units": "A", "long_name": "predicted current, each draw another device: quantiles"}
    data["current"] = xr.Variable(("quantile", "sample"), current, about)
    return data


def write_fitted(found: Inferred, folder: Path) -> Path:
    """``fitted.toml``: the study of the posterior's medians."""
    return write_study(found.plan, np.median(found.values, axis=0), folder)
