"""The statistics on a terminal: D2D beside C2C, laws fitted with the censored, what goes together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from rich.box import SIMPLE_HEAD
from rich.table import Table

from mcdev.files.plain_text import visible
from mcdev.schema.units import readable
from mcdev.statistics.autocorrelation import autocorrelation
from mcdev.statistics.contents import Contents, contents
from mcdev.statistics.correlation import Correlation, correlate
from mcdev.statistics.drift import drift
from mcdev.statistics.readings import few, readings

_MATRICES = 2
"""Sweep points whose correlations are shown: sixteen matrices are not read on a terminal."""


def at_point(point: Mapping[str, Any]) -> list[str]:
    """The cells of a table that say at which sweep point a row is."""
    return [visible(readable(value)) for value in point.values()]


def screens(tree: xr.DataTree, records: list[dict[str, Any]]) -> list[Table]:
    """Tables for the terminal, each with a caption that says what its numbers are. Of a single device what its
    cycles say; none for one cycle of one device."""
    if tree["realisations"].sizes["device"] * tree["realisations"].sizes["cycle"] < 2:
        return []
    sizes = tree["realisations"].sizes
    found = [_components(records, sizes["cycle"], [contents(tree, index) for index in range(sizes["point"])])]
    if sizes["device"] == 1:
        return [*found, _memory(tree)]
    laws = _laws(records)
    if laws.row_count:
        found.append(laws)
    every = list(readings(tree))
    matrices = []
    for index in range(min(tree["realisations"].sizes["point"], _MATRICES)):
        here = few([r for r in every if r.index == index])
        matrices += [_matrix(level, here[0].point) for level in correlate(here)]
    if matrices:
        more = (
            "; those of the other sweep points: --format long"
            if tree["realisations"].sizes["point"] > _MATRICES
            else ""
        )
        matrices[
            -1
        ].caption = f"above the diagonal Spearman,\nbelow Pearson (of ln x where\nall values are positive){more}"
    found += matrices
    memory = _memory(tree)
    return [*found, memory] if memory.row_count else found


def _table(title: str, headings: list[str], caption: str | None = None) -> Table:
    table = Table(
        box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", caption=caption, caption_justify="left"
    )
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _components(records: list[dict[str, Any]], cycles: int, of: list[Contents]) -> Table:
    axes = list(records[0]["point"]) if records else []
    words = "; ".join(dict.fromkeys(one.words for one in of))
    if cycles > 1:
        caption = f"{words}\nσ_ln: standard deviation of ln x, with 95 % intervals"
        headings = ["CV D2D", "CV C2C", "CV total", "σ_ln D2D", "σ_ln C2C"]
        parts = ["between", "within"]
    else:
        caption = f"{words}\nσ_ln: standard deviation of ln x, with its 95 % interval"
        name = of[0].name if len({one.name for one in of}) == 1 else "total"
        headings, parts = [f"CV {name}", f"σ_ln {name}"], ["total"]
    table = _table("spread", ["measurement", *axes, *headings, "median (95 %)"], caption)
    for r in records:
        cvs = [_number(r[f"cv_{part}"]) for part in (*(p for p in parts if p != "total"), "total")]
        sigmas = [_with_interval(r, f"sigma_ln_{part}") for part in parts]
        unit = "" if r["unit"] == "1" else f" {r['unit']}"
        table.add_row(
            visible(r["measurement"]),
            *at_point(r["point"]),
            *cvs,
            *sigmas,
            _with_interval(r, "median") + unit,
        )
    return table


def _laws(records: list[dict[str, Any]]) -> Table:
    axes = list(records[0]["point"]) if records else []
    headings = ["n", "right", "left", "lognormal median", "σ_ln", "AIC", "Weibull scale", "shape", "AIC"]
    caption = "maximum likelihood, censored observations counted as such; the smaller AIC describes better"
    table = _table("laws", ["measurement", *axes, *headings], caption)
    for r in records:
        if r["lognormal_aic"] is None:
            continue
        numbers = [str(r["n_ok"] + r["n_right"] + r["n_left"]), str(r["n_right"]), str(r["n_left"])]
        unit = "" if r["unit"] == "1" else f" {r['unit']}"
        median, scale = (_with_error(r, name) + unit for name in ("lognormal_median", "weibull_scale"))
        numbers += [median, _with_error(r, "lognormal_sigma"), f"{r['lognormal_aic']:.1f}"]
        numbers += [scale, _with_error(r, "weibull_shape"), f"{r['weibull_aic']:.1f}"]
        table.add_row(visible(r["measurement"]), *at_point(r["point"]), *numbers)
    return table


def _matrix(level: Correlation, point: dict[str, Any]) -> Table:
    where = ", ".join(f"{axis} = {readable(value)}" for axis, value in point.items())
    title = f"correlations {level.level}" + (f" at {where}" if where else "")
    table = _table(visible(title), ["", *map(visible, level.names)])
    for i, name in enumerate(level.names):
        cells = [
            _number(float((level.spearman if j > i else level.pearson)[i, j])) if j != i else "1"
            for j in range(len(level.names))
        ]
        table.add_row(visible(name), *cells)
    return table


def _memory(tree: xr.DataTree) -> Table:
    found = [(r, autocorrelation(r.even, r.fine, 5)) for r in readings(tree)]
    known = [(r, a) for r, a in found if a is not None]
    lags = max((a.lags.size for _, a in known), default=0)
    axes = list(known[0][0].point) if known else []
    caption = (
        "pooled over devices, of ln x where all are positive; *: outside 95 % of what independent cycles give\n"
        "drift: change of the mean from the first cycle to the last, a line through the means of 20 blocks (95 %)"
    )
    headings = [*(f"lag {k + 1}" for k in range(lags)), "drift"]
    table = _table("autocorrelation and drift over cycles", ["measurement", *axes, *headings], caption)
    for r, a in known:
        cells = [f"{v:.2f}{'*' if abs(v) > b else ''}" for v, b in zip(a.values, a.band, strict=True)]
        cells += [""] * (lags - len(cells))
        changed = drift(r.even, r.fine)
        cells.append("-" if changed is None else f"{changed.value:.2g} ({changed.low:.2g} … {changed.high:.2g})")
        table.add_row(visible(r.label), *at_point(r.point), *cells)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.2g}"


def _with_interval(record: dict[str, Any], name: str) -> str:
    value, low, high = (record[name + end] for end in ("", "_low", "_high"))
    if value is None:
        return "-"
    ends = ["?" if end is None else f"{end:.3g}" for end in (low, high)]
    return f"{value:.3g} ({ends[0]} … {ends[1]})"


def _with_error(record: dict[str, Any], name: str) -> str:
    return f"{record[name]:.3g} ± {record[f'{name}_se']:.2g}"
