"""Coefficients of fits along a sweep axis, and published numbers beside ours."""

from __future__ import annotations

import math
from typing import Any

import xarray as xr

from mcdev.configuration.address import OF_SPREAD
from mcdev.configuration.reference import Reference, published
from mcdev.results.tree import axis_labels, experiment_of
from mcdev.schema.units import converted, unit_written
from mcdev.statistics.readings import point_label, readings
from mcdev.statistics.statistic import statistic
from mcdev.statistics.summary import summarise


def fit_records(tree: xr.DataTree) -> list[dict[str, Any]]:
    """One record for each coefficient of each fit along a sweep axis; with further axes, for each of their curves."""
    records = []
    for name, group in tree["fits"].children.items():
        fit = group.dataset
        for key, found in fit.data_vars.items():
            if "coefficient" not in found.attrs:
                continue
            records += [
                {
                    "fit": name,
                    "coefficient": str(key),
                    "curve": str(curve),
                    "value": float(found[i]),
                    "standard_error": float(fit[f"{key}_error"][i]),
                    "unit": found.attrs["units"],
                    "meaning": found.attrs["long_name"],
                    "note": str(fit["note"].values[i]),
                }
                for i, curve in enumerate(fit["curve"].values)
            ]
    return records


def compare(tree: xr.DataTree) -> list[dict[str, Any]]:
    """One record for each published number that the configuration lists: theirs, ours, our standard error, in the unit
    in which theirs is written."""
    experiment = experiment_of(tree)
    summary, fits = summarise(tree, variability=False), fit_records(tree)
    records = []
    for reference in experiment.output.reference:
        name = reference.measurement
        record: dict[str, Any] = {"source": reference.source}
        fit = experiment.fit_read(name, reference.coefficient)
        if fit is not None:
            curves = [f for f in fits if (f["fit"], f["coefficient"]) == (name, reference.coefficient)]
            own = curves[reference.point - 1] if curves else None
            unit = fit.coefficients[reference.coefficient or ""]
            others, which = experiment.curves(fit.axis)[reference.point - 1]
            along, labels = point_label(tree, which[0]), axis_labels(experiment)
            where = {labels[path]: along[labels[path]] for path in others}
            record |= {"what": reference.label, "point": where}
            record |= {"ours": own["value"], "error": own["standard_error"]} if own else {"ours": None, "error": None}
        else:
            label = reference.label
            point = point_label(tree, reference.point - 1)
            unit = reference.unit_of(experiment.measurements[name].unit)
            record |= {"what": label, "point": point, "statistic": reference.statistic}
            if reference.statistic in OF_SPREAD:
                record |= {"what": reference.words, "ours": _of_population(tree, reference), "error": None}
            else:
                rows = [r for r in summary if r["measurement"] == label and r["point"] == point]
                error = {"mean": "sem", "mean_response": "mean_response_sem"}.get(reference.statistic)
                record |= {
                    "ours": rows[0][reference.statistic] if rows else None,
                    "error": rows[0][error] if rows and error else None,
                }
        shown = unit_written(unit, reference.value)
        for key in ("ours", "error"):
            if record[key] is not None:
                record[key] = converted(record[key], unit, shown)
        records.append(record | {"unit": shown, "published": published(reference, shown)})
    return records


def _of_population(tree: xr.DataTree, reference: Reference) -> float | None:
    """Its statistic, in the unit of the measurement where it has one."""
    found = {r.label: r for r in readings(tree) if r.index == reference.point - 1}
    own = found.get(reference.label)
    other = None if reference.other is None else found.get(reference.other)
    if own is None or (reference.other is not None and other is None):
        return None
    beside = None if other is None else (other.values, other.status)
    value = statistic(reference.statistic, own.values, own.status, reference.level, beside)
    return value if math.isfinite(value) else None
