"""The parts of a run's report that are no pictures: tables, the configuration, where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from mcdev.configuration.display import as_html
from mcdev.figures.axes import scale
from mcdev.files.html import bullets, escaped, table
from mcdev.reports.contents import Block, Cell, sortable
from mcdev.reports.labels import plain
from mcdev.results.tree import experiment_of
from mcdev.results.unknown_kinds import NeedsPlugin
from mcdev.schema.units import readable
from mcdev.statistics import compare, fit_records, summarise


def blocks(tree: xr.DataTree) -> Iterator[Block]:
    """In the order in which they stand below the pictures."""
    for name in ("warnings", "notes"):
        if lines := str(tree.attrs.get(name, "")).splitlines():
            yield Block(name.capitalize(), bullets(lines))
    yield Block("Statistics", _statistics(tree))
    records = compare(tree)
    if records:
        headings = ["quantity", "at", "published", "simulated", "standard error", "unit", "source"]
        yield Block("Published numbers", sortable(headings, map(_published, records)))
    fits = fit_records(tree)
    if fits:
        headings = ["fit", "curve", "coefficient", "value", "standard error", "unit", "note"]
        yield Block("Fits", sortable(headings, map(_fit, fits)))
    yield Block("Parameters of the devices", _parameters(tree), unfolded=False)
    try:
        said = as_html(experiment_of(tree))
    except NeedsPlugin as error:
        said = escaped(error)
    text = f"<pre>{escaped(tree['config/toml'].item(), 20_000)}</pre>"
    yield Block("Configuration", f"{said}<details><summary>as a file</summary>{text}</details>", unfolded=False)
    yield Block("Provenance", provenance(tree.attrs), unfolded=False)


def provenance(attributes: Mapping[Any, Any]) -> str:
    """All that results say of where they come from."""
    left_out = ("warnings", "notes", "configuration", "conclusions")
    rows = [(name, str(value)) for name, value in attributes.items() if name not in left_out and str(value) != ""]
    return table(rows)


def _cell(value: float | None, factor: float = 1.0) -> Cell:
    if value is None or not np.isfinite(value):
        return Cell("–", float("nan"))
    return Cell(f"{value * factor:.4g}", value)


def _statistics(tree: xr.DataTree) -> str:
    records = summarise(tree)
    axes = list(records[0]["point"]) if records else []
    counts = [key for key in ("n_censored", "n_undefined", "n_failed") if any(r[key] for r in records)]
    cycles = tree["realisations"].sizes["cycle"] > 1
    spread = ("sigma_ln_between", "sigma_ln_within") if cycles else ("sigma_ln_total",)
    headings = ["measurement", *axes, "n", *(c.removeprefix("n_") for c in counts), "unit", "mean", "s.e.", "CV"]
    headings += ["5 %", "median", "95 %", *(["σ_ln D2D", "σ_ln C2C"] if cycles else ["σ_ln"]), "criterion"]
    rows: list[list[str | Cell]] = []
    for r in records:
        known = [r[key] for key in ("mean", "median") if r[key] is not None]
        shown = scale(tree, r["unit"], np.array(known[:1], float))
        row: list[str | Cell] = [r["measurement"]]
        for label in axes:
            text = str(r["point"][label])
            row.append(Cell(readable(text), _leading(text)) if np.isfinite(_leading(text)) else text)
        row += [Cell(str(r["n"]), r["n"]), *(Cell(str(r[c]), r[c]) for c in counts), plain(shown.unit)]
        row += [_cell(r["mean"], shown.factor), _cell(r["sem"], shown.factor), _cell(r["cv"])]
        row += [_cell(r[key], shown.factor) for key in ("q05", "median", "q95")]
        row += [*(_cell(r[key]) for key in spread), r["criterion"]]
        rows.append(row)
    return sortable(headings, rows)


def _leading(text: str) -> float:
    """The number that a text begins with; NaN where it is none."""
    try:
        return float(text.partition(" ")[0])
    except ValueError:
        return float("nan")


def _published(record: Mapping[str, Any]) -> list[str | Cell]:
    at = ", ".join(f"{axis} {readable(value)}" for axis, value in record["point"].items())
    theirs = record["published"]
    published = theirs if isinstance(theirs, str) else _cell(theirs)
    unit = "" if record["unit"] == "1" else str(record["unit"])
    return [record["what"], at, published, _cell(record["ours"]), _cell(record["error"]), unit, record["source"]]


def _fit(record: Mapping[str, Any]) -> list[str | Cell]:
    numbers = _cell(record["value"]), _cell(record["standard_error"])
    return [record["fit"], record["curve"], record["meaning"], *numbers, record["unit"], record["note"]]


def _parameters(tree: xr.DataTree) -> str:
    """Median and range of each over all sweep points and devices."""
    rows: list[list[str | Cell]] = []
    for name, drawn in tree["parameters"].data_vars.items():
        shown = scale(tree, drawn.attrs.get("units", "1"), drawn.values)
        low, middle, high = (_cell(float(q), shown.factor) for q in np.quantile(drawn.values, (0.0, 0.5, 1.0)))
        rows.append([str(name), middle, low, high, plain(shown.unit), str(drawn.attrs.get("long_name", ""))])
    return sortable(["parameter", "median", "least", "largest", "unit", "meaning"], rows)
