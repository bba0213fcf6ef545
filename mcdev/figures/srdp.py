"""Change of weight against the time between the pulses of a train (Wang et al. 2017, Fig. 6b)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcdev.figures.axes import (
    axis_scale,
    counted,
    curves,
    mean_label,
    measurement,
    point_colours,
    points,
    protocol_kind,
)
from mcdev.figures.style import FRAME, GREY, dress, legend, legend_above, plain_ticks, remark, sheet
from mcdev.measurements.contract import OK
from mcdev.measurements.memristor_change import MemristorChange
from mcdev.results.tree import experiment_of
from mcdev.statistics import summarise

NAME = "srdp"

_AXIS = "protocol.t_zero"
_CURVES = 8
"""Most curves: a map shows more."""


def applies(tree: xr.DataTree) -> bool:
    return bool(measurements(tree))


def measurements(tree: xr.DataTree) -> set[str]:
    """Names of the measurements that this picture shows."""
    experiment = experiment_of(tree)
    if protocol_kind(tree) != "srdp" or _AXIS not in experiment.sweep.axes:
        return set()
    every = experiment.curves(_AXIS)
    if len(every) > _CURVES or min(len(which) for _, which in every) < 3:
        return set()
    return {name for name, m in experiment.measurements.items() if isinstance(m, MemristorChange)}


def _quartiles(tree: xr.DataTree, name: str, which: list[int]) -> np.ndarray:
    """Between which half of the devices and cycles lie, [2, point]."""
    data = tree[f"measurements/{name}"].dataset
    good = np.where(data["status"].values == OK, data["value"].values, np.nan)[which]
    flat = good.reshape(len(which), -1)
    return np.stack(
        [np.quantile(row[np.isfinite(row)], [0.25, 0.75]) if np.isfinite(row).any() else [np.nan] * 2 for row in flat],
        axis=1,
    )


def draw(tree: xr.DataTree) -> Figure:
    """One panel a measurement: the mean over devices with its standard error, and where half of the devices lie."""
    names = sorted(measurements(tree))
    figure = sheet(0.3 + 1.9 * len(names))
    for name, axes in zip(names, np.ravel(figure.subplots(len(names), 1, squeeze=False)), strict=True):
        _draw(tree, name, axes)
    legend_above(figure, figure.axes, _title(tree))
    return figure


def panels(tree: xr.DataTree) -> list[str]:
    """Measurements that have a panel."""
    return sorted(measurements(tree))


def panel(tree: xr.DataTree, name: str, axes: Axes) -> None:
    """One of them, with its legend inside."""
    _draw(tree, name, axes)
    legend(axes, title=_title(tree))


def _title(tree: xr.DataTree) -> str:
    named = points(tree, without=_AXIS)[0] if len(curves(tree, _AXIS)) > 1 else ""
    of = mean_label(tree)
    return ", ".join(filter(None, [named, of, "" if of == "one device" else "± s.e."]))


def _draw(tree: xr.DataTree, name: str, axes: Axes) -> None:
    lines = curves(tree, _AXIS)
    colours = point_colours(tree, [line.points[0] for line in lines])
    rows = [row for row in summarise(tree, variability=False) if row["measurement"] == name]

    def column(key: str, which: list[int]) -> np.ndarray:
        return np.array([np.nan if rows[i][key] is None else rows[i][key] for i in which])

    mean = column("mean", list(range(len(rows))))
    upright, label = measurement(tree, name, mean)
    across = axis_scale(tree, _AXIS)
    for line, colour in zip(lines, colours, strict=True):
        x, y = line.values * across.factor, mean[line.points] * upright.factor
        if tree["realisations"].sizes["device"] > 1:
            low, high = (edge * upright.factor for edge in _quartiles(tree, name, line.points))
            axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0, label="half of the devices")
        bars = column("sem", line.points) * upright.factor
        said = (line.label or "mean ± s.e.") + counted([rows[i] for i in line.points])
        look: dict[str, Any] = {"markersize": 3.0, "linewidth": 0.8, "elinewidth": 0.7, "capsize": 1.4}
        axes.errorbar(x, y, bars, fmt="o--", color=colour, label=said, **look)
    if not np.isfinite(mean).any():
        remark(axes, "no value at any rate")
    axes.set_xscale("log")
    axes.axhline(0.0, color=GREY, linewidth=FRAME, zorder=0)
    dress(axes, across.label("time between pulses", "t_{\\mathrm{zero}}"), label)
    plain_ticks(axes.xaxis)
