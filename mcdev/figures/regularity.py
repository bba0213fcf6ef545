"""Coefficient of variation of the intervals between spikes, against a sweep axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from mcdev.figures.axes import (
    axis_scale,
    axis_words,
    counted,
    main_axis,
    mean_label,
    measurement,
    point_colours,
    points,
    some_curves,
    sweep_axis,
)
from mcdev.figures.style import GREY, dress, legend_above, plain_ticks, remark, sheet
from mcdev.measurements.interspike_interval import InterspikeInterval
from mcdev.results.tree import experiment_of
from mcdev.statistics import summarise

NAME = "regularity"


def applies(tree: xr.DataTree) -> bool:
    return bool(measurements(tree))


def measurements(tree: xr.DataTree) -> set[str]:
    """Names of the measurements that this picture shows."""
    if main_axis(tree) is None:
        return set()
    every = experiment_of(tree).measurements.items()
    return {name for name, m in every if isinstance(m, InterspikeInterval) and m.statistic == "cv"}


def draw(tree: xr.DataTree) -> Figure:
    """A panel a measurement: mean over the realisations with three spikes or more, and its standard error over
    devices. At one the spikes come at random (Poisson)."""
    path, names = main_axis(tree), sorted(measurements(tree))
    assert path is not None
    lines = list(some_curves(tree, path).values())
    colours = point_colours(tree, [line.points[0] for line in lines])
    axis = sweep_axis(tree, path)
    across = axis_scale(tree, path)
    figure = sheet(0.3 + 1.9 * len(names))
    panels = np.ravel(figure.subplots(len(names), 1, squeeze=False))
    for name, axes in zip(names, panels, strict=True):
        rows = [row for row in summarise(tree, variability=False) if row["measurement"] == name]
        for line, colour in zip(lines, colours, strict=True):
            mean, error = (
                np.array([np.nan if rows[point][key] is None else rows[point][key] for point in line.points])
                for key in ("mean", "sem")
            )
            some = counted([rows[point] for point in line.points])
            text = (line.label or ("mean" if some else mean_label(tree, line.points[0]))) + some
            look: dict[str, Any] = {"markersize": 2.6, "linewidth": 0.8, "elinewidth": 0.7, "capsize": 1.4}
            axes.errorbar(line.values * across.factor, mean, error, fmt="o-", color=colour, label=text, **look)
        axes.axhline(1.0, color=GREY, linewidth=0.6, linestyle="--", zorder=0)
        if not any(row["n_ok"] for row in rows):
            remark(axes, "nowhere three spikes")
        axes.set_ylim(bottom=0)
        if axis.values.min() > 0 and axis.values.max() > 10 * axis.values.min():
            axes.set_xscale("log")
            plain_ticks(axes.xaxis)
        dress(axes, across.named(axis_words(axis)), measurement(tree, name, axis.values)[1])
    title = points(tree, without=path)[0] if len(lines) > 1 else ""
    legend_above(figure, panels.tolist(), f"{title}, mean ± s.e." if title else "mean ± s.e.")
    return figure
