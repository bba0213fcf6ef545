"""The statistics as text and files: CSV and JSON with a row a measurement, long tables with a row a number."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from mcdev.configuration.problems import ConfigError, Problem
from mcdev.files.plain_text import CsvWriter
from mcdev.files.whole_file import whole_file
from mcdev.statistics.autocorrelation import autocorrelation
from mcdev.statistics.censored import sample
from mcdev.statistics.correlation import correlate
from mcdev.statistics.readings import Reading, few, readings
from mcdev.statistics.summary import summarise
from mcdev.statistics.survival import kaplan_meier


def _ends(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}{end}" for name in names for end in ("", "_low", "_high"))


COLUMNS: tuple[str, ...] = (
    *("measurement", "unit", "point", "n", "n_ok", "n_censored", "n_undefined", "n_failed", "mean", "sem", "sd"),
    *("cv", "median", "q05", "q95", "mean_response", "mean_response_sem", "criterion"),
    *("n_right", "n_left", *_ends("between_sd", "within_sd", "total_sd"), "cv_between", "cv_within", "cv_total"),
    *(*_ends("sigma_ln_between", "sigma_ln_within", "sigma_ln_total"), "median_low", "median_high"),
    *("q05_low", "q05_high", *_ends("q25", "q75"), "q95_low", "q95_high"),
    *(*_ends("lognormal_median"), "lognormal_median_se", *_ends("lognormal_sigma"), "lognormal_sigma_se"),
    *("lognormal_aic", *_ends("weibull_scale"), "weibull_scale_se", *_ends("weibull_shape"), "weibull_shape_se"),
    "weibull_aic",
)


def to_csv(records: list[dict[str, Any]]) -> str:
    """The records of :func:`summarise` as a CSV file with the columns ``COLUMNS``; empty where there is no number."""
    text = io.StringIO()
    writer = CsvWriter(text)
    writer.row(COLUMNS)
    for record in records:
        row = dict(record, point=_point(record["point"]))
        writer.row(row.get(column) for column in COLUMNS)
    return text.getvalue()


def to_json(records: list[dict[str, Any]]) -> str:
    """The records of :func:`summarise` as a JSON list; null where there is no number."""
    return json.dumps(
        records, indent=2, allow_nan=False
    )  # ASCII: what steers a terminal is written out, in any encoding


LONG: tuple[str, ...] = (
    *("measurement", "other", "point", "statistic", "at", "value", "low", "high", "se", "n", "unit"),
)
"""Columns of the long table: ``other`` is the second measurement of a correlation; ``at`` the lag of an
autocorrelation in cycles, or where a survival curve stands, in the measurement's unit; ``low`` and ``high`` the ends
of the 95 % interval (of an autocorrelation: of the band of white noise)."""

_PURE = ("cv", "sigma_ln", "lognormal_sigma", "weibull_shape", "n_", "lognormal_aic", "weibull_aic")
_CURVE = 200


def long_table(tree: xr.DataTree, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a number, keys ``LONG``: all that :func:`summarise` has, the correlations of measurements (lists by
    up to four entries), autocorrelations over cycles, and the Kaplan-Meier curve of what is censored (up to 200
    values). What is not determined has no row."""
    rows = [row for record in records for row in _of_record(record)]
    every = list(readings(tree))
    for index in range(tree["realisations"].sizes["point"]):
        rows += _of_pairs([r for r in every if r.index == index])
    for reading in every:
        rows += _over_cycles(reading)
        rows += _survival(reading)
    return rows


def _of_record(record: dict[str, Any]) -> list[dict[str, Any]]:
    about = {"measurement": record["measurement"], "other": "", "point": _point(record["point"])}
    text = {"measurement", "unit", "criterion", "point"}
    rows = []
    for name, value in record.items():
        if name in text or value is None or name.endswith(("_low", "_high", "_se", "_sem")) or name == "sem":
            continue
        unit = "1" if name == "n" or name.startswith(_PURE) else record["unit"]
        se = {"mean": "sem", "mean_response": "mean_response_sem"}.get(name, f"{name}_se")
        ends = {"low": record.get(f"{name}_low"), "high": record.get(f"{name}_high"), "se": record.get(se)}
        rows.append(_row(**about, statistic=name, value=value, **ends, n=_used(record, name), unit=unit))
    return rows


def _used(record: dict[str, Any], name: str) -> int:
    """How many observations a number is of: with the censored ones where these are used as bounds."""
    if name == "n" or name.startswith("n_"):
        return int(record["n"])
    several = record.get("within_sd") is not None  # of records without variability, too
    with_bounds = name in ("median", "q05", "q25", "q75", "q95") or name.startswith(("lognormal", "weibull"))
    with_bounds |= several and name.startswith("sigma_ln")
    return int(record["n_ok"] + (record["n_censored"] if with_bounds else 0))


def _of_pairs(found: list[Reading]) -> list[dict[str, Any]]:
    rows = []
    for level in correlate(few(found)):
        for i, name in enumerate(level.names):
            for j in range(i):
                for method in ("pearson", "spearman"):
                    r = level.interval(method, j, i)
                    logs = level.logarithmic[i], level.logarithmic[j]
                    of_logs = "_ln" if method == "pearson" and all(logs) else ""
                    about = {"measurement": level.names[j], "other": name, "point": _point(found[0].point)}
                    about |= {"statistic": f"{method}{of_logs}_{level.level.lower()}", "unit": "1"}
                    if np.isfinite(r.value):
                        rows.append(_row(**about, value=r.value, low=r.low, high=r.high, n=int(level.n[i, j])))
    return rows


def _over_cycles(reading: Reading) -> list[dict[str, Any]]:
    found = autocorrelation(reading.even, reading.fine)
    if found is None:
        return []
    about = {"measurement": reading.label, "point": _point(reading.point), "unit": "1"}
    about |= {"statistic": "autocorrelation_ln" if reading.positive else "autocorrelation"}
    each = zip(found.lags.tolist(), found.values.tolist(), found.band.tolist(), strict=True)
    return [_row(**about, at=float(k), value=r, low=-band, high=band, n=found.devices) for k, r, band in each]


def _survival(reading: Reading) -> list[dict[str, Any]]:
    if not reading.right and not reading.left:
        return []
    data = sample(reading.values, reading.status)
    curve = kaplan_meier(data)
    if data is None or curve is None:
        return []
    about = {"measurement": reading.label, "point": _point(reading.point), "statistic": "survival", "unit": "1"}
    which = np.unique(np.linspace(0, curve.at.size - 1, min(curve.at.size, _CURVE)).round().astype(int))
    columns = (curve.at, curve.share, curve.low, curve.high)
    each = zip(*(column[which].tolist() for column in columns), strict=True)
    return [_row(**about, at=at, value=s, low=low, high=high, n=data.values.size) for at, s, low, high in each]


def _row(**given: Any) -> dict[str, Any]:
    row = dict.fromkeys(LONG) | {"other": ""} | given
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def statistics_frame(tree: xr.DataTree) -> pd.DataFrame:
    """All statistics of a run as a pandas frame, one row a number: :func:`long_table`, with its columns ``LONG``."""
    return pd.DataFrame(long_table(tree, summarise(tree)), columns=list(LONG))


def long_csv(rows: list[dict[str, Any]]) -> str:
    """The rows of :func:`long_table` as a CSV file; empty where there is no number."""
    text = io.StringIO()
    writer = CsvWriter(text)
    for cells in (LONG, *([row[column] for column in LONG] for row in rows)):
        writer.row(cells)
    return text.getvalue()


def write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    """The rows of :func:`long_table` as a Parquet file with typed columns. Raises ``ConfigError`` where pyarrow is
    not installed, ``ResultsError`` where the file cannot be written."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        remedy = "needs the package pyarrow; pip install 'mcdev[parquet]', or take --format long for the same as CSV"
        raise ConfigError([Problem("--format parquet", None, remedy)], "mcdev stats") from None
    text, whole = {"measurement", "other", "point", "statistic", "unit"}, {"n"}
    kinds = [pyarrow.string() if c in text else pyarrow.int64() if c in whole else pyarrow.float64() for c in LONG]
    names = pyarrow.schema(list(zip(LONG, kinds, strict=True)))
    rows = [{k: float(v) if isinstance(v, int) and k not in whole else v for k, v in row.items()} for row in rows]
    with whole_file(path) as temporary:
        parquet.write_table(pyarrow.Table.from_pylist(rows, schema=names), temporary)


def _point(point: dict[str, Any]) -> str:
    return "; ".join(f"{axis} = {value}" for axis, value in point.items())
