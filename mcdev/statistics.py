"""Spread of each measurement at each sweep point, as flat records, a CSV file, JSON or a table."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import numpy as np
import xarray as xr

from mcdev.experiment import published
from mcdev.measurements.contract import FAILED, LEFT_CENSORED, OK, RIGHT_CENSORED, UNDEFINED
from mcdev.results import experiment_of, in_order

_QUANTILES = {"q05": 0.05, "median": 0.5, "q95": 0.95}


def summarise(tree: xr.DataTree) -> list[dict[str, Any]]:
    """One record for each measurement (each entry of a list) and sweep point.

    mean, sem, sd and cv are over the n_ok uncensored observations; the sem is from the means of the devices, so
    that cycles of one device do not count as independent. median and quantiles also use the censored ones, at
    the end they belong to, and are None where they fall among them. mean_response is the measurement of the mean
    trajectory, averaged over cycles, with its jackknife error.
    """
    readings, of_mean = tree["measurements"].dataset, tree["mean_response"].dataset
    points = [point_label(tree, i) for i in range(tree.sizes["point"])]
    records = []
    for name in readings.data_vars:
        if f"{name}_status" not in readings:
            continue
        values, status = readings[name], readings[f"{name}_status"]
        entries = values.sizes.get(f"{name}_entry")
        for i, point in enumerate(points):
            for entry in range(entries or 1):
                where: dict[str, Any] = {"point": i}
                if entries is not None:
                    where[f"{name}_entry"] = entry
                v, s = values.isel(where).values, status.isel(where).values
                if (s < 0).all():
                    continue
                label = str(name) if entries is None else f"{name}[{entry + 1}]"
                records.append(
                    {
                        "measurement": label,
                        "unit": values.attrs["units"],
                        "criterion": values.attrs["criterion"],
                        "point": point,
                        **_spread(v, s),
                        **_jackknifed(of_mean[name].isel(where).values),
                    }
                )
    return records


def fit_records(tree: xr.DataTree) -> list[dict[str, Any]]:
    """One record for each coefficient of each fit along a sweep axis; with further axes, for each of their curves."""
    data = tree["fits"].dataset
    records = []
    for name, v in data.data_vars.items():
        if "coefficient" not in v.attrs:
            continue
        notes = v.attrs["comment"].split("\n")
        for i, curve in enumerate(data[f"{v.attrs['fit']}_curve"].values):
            records.append(
                {
                    "fit": v.attrs["fit"],
                    "coefficient": v.attrs["coefficient"],
                    "curve": str(curve),
                    "value": float(v[i]),
                    "standard_error": float(data[f"{name}_error"][i]),
                    "unit": v.attrs["units"],
                    "meaning": v.attrs["long_name"],
                    "note": notes[i],
                }
            )
    return records


def compare(tree: xr.DataTree) -> list[dict[str, Any]]:
    """One record for each published number that the configuration lists: theirs, ours, our standard error."""
    experiment = experiment_of(tree)
    summary, fits = summarise(tree), fit_records(tree)
    records = []
    for reference in experiment.output.reference:
        name = reference.measurement
        record: dict[str, Any] = {"source": reference.source}
        if name in experiment.fits:
            curves = [f for f in fits if (f["fit"], f["coefficient"]) == (name, reference.coefficient)]
            own = curves[reference.point - 1] if curves else None
            unit = experiment.fits[name].coefficients[reference.coefficient or ""]
            where = dict(part.split(" = ", 1) for part in own["curve"].split(", ")) if own and own["curve"] else {}
            record |= {"what": f"{name}: {reference.coefficient}", "point": where}
            record |= {"ours": own["value"], "error": own["standard_error"]} if own else {"ours": None, "error": None}
        else:
            label = name if reference.entry is None else f"{name}[{reference.entry}]"
            point = point_label(tree, reference.point - 1)
            rows = [r for r in summary if r["measurement"] == label and r["point"] == point]
            unit = experiment.measurements[name].unit
            record |= {"what": label, "point": point, "statistic": reference.statistic}
            error = {"mean": "sem", "mean_response": "mean_response_sem"}.get(reference.statistic)
            record |= {
                "ours": rows[0][reference.statistic] if rows else None,
                "error": rows[0][error] if rows and error else None,
            }
        records.append(record | {"unit": unit, "published": published(reference, unit)})
    return records


def point_label(tree: xr.DataTree, index: int) -> dict[str, Any]:
    """Axis → value with its unit, for one sweep point."""
    label = {}
    for name, axis in tree.dataset.coords.items():
        if axis.dims == ("point",) and name != "point":
            value = axis.values[index]
            unit = axis.attrs.get("units", "1")
            if isinstance(value, str):
                label[str(name)] = value
            else:
                label[str(name)] = f"{value:g} {unit}" if unit != "1" else f"{value:g}"
    return label


def _spread(values: np.ndarray, status: np.ndarray) -> dict[str, Any]:
    """Statistics of one measurement over [device, cycle]."""
    fine = (status == OK) & np.isfinite(values)
    ok = values[fine]
    line = in_order(values, status)
    devices = np.array([row[good].mean() for row, good in zip(values, fine, strict=True) if good.any()])
    mean, sd = (ok.mean() if ok.size else math.nan), (ok.std(ddof=1) if ok.size > 1 else math.nan)
    record = {
        "n": int(values.size),
        "n_ok": int(ok.size),
        "n_censored": int(np.isin(status, (RIGHT_CENSORED, LEFT_CENSORED)).sum()),
        "n_undefined": int((status == UNDEFINED).sum()),
        "n_failed": int((status == FAILED).sum()),
        "mean": mean,
        "sem": devices.std(ddof=1) / math.sqrt(devices.size) if devices.size > 1 else math.nan,
        "sd": sd,
        "cv": sd / abs(mean) if ok.size > 1 and mean != 0 else math.nan,
    }
    for name, share in _QUANTILES.items():
        record[name] = np.quantile(line, share, method="closest_observation") if line.size else math.nan
    return {key: _plain(value) for key, value in record.items()}


def _jackknifed(replicates: np.ndarray) -> dict[str, Any]:
    """The measurement of the mean trajectory and its error; replicates [cycle, replicate]."""
    central, others = replicates[:, 0].mean(), replicates[:, 1:].mean(axis=0)
    count = others.size
    error = math.sqrt((count - 1) / count * np.sum((others - others.mean()) ** 2)) if count > 1 else math.nan
    return {"mean_response": _plain(central), "mean_response_sem": _plain(error)}


def _plain(value: Any) -> Any:
    if isinstance(value, int):
        return value
    return float(value) if np.isfinite(value) else None


COLUMNS: tuple[str, ...] = (
    *("measurement", "unit", "point", "n", "n_ok", "n_censored", "n_undefined", "n_failed", "mean", "sem", "sd"),
    *("cv", "median", "q05", "q95", "mean_response", "mean_response_sem", "criterion"),
)


def to_csv(records: list[dict[str, Any]]) -> str:
    """The records of :func:`summarise` as a CSV file with the columns ``COLUMNS``; empty where there is no number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in records:
        row = dict(record, point="; ".join(f"{axis} = {value}" for axis, value in record["point"].items()))
        writer.writerow(["" if row[column] is None else row[column] for column in COLUMNS])
    return text.getvalue()


def to_json(records: list[dict[str, Any]]) -> str:
    """The records of :func:`summarise` as a JSON list; null where there is no number."""
    return json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False)
