"""Distribution of the times between successive spikes, on a logarithmic axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcdev.figures.axes import one_a_curve, point_colours, scale
from mcdev.figures.style import LINE, dress, key, plain_ticks, remark, sheet
from mcdev.statistics.trains import intervals, train_names

NAME = "interspike_intervals"

_SHOWN = 6
_LEAST = 2
"""Intervals of some sweep point, for a picture."""


def applies(tree: xr.DataTree) -> bool:
    return bool(_names(tree))


def _names(tree: xr.DataTree) -> list[str]:
    shown = one_a_curve(tree, _SHOWN)[0] if train_names(tree) else []
    return [name for name in train_names(tree) if any(intervals(tree, name, i).size >= _LEAST for i in shown)]


def draw(tree: xr.DataTree) -> Figure:
    """A panel a detector: intervals of all devices and cycles of a sweep point together, as shares of them in bins of
    equal ratio; a dashed line at the median. What the end of a cycle cuts is not in it."""
    names = _names(tree)
    shown, labels, title = one_a_curve(tree, _SHOWN)
    heights = [1.7 + LINE * (len(shown) + 1)] * len(names)
    figure = sheet(sum(heights))
    parts = np.ravel(figure.subfigures(len(names), 1, squeeze=False, height_ratios=heights))
    for name, part in zip(names, parts, strict=True):
        axes = part.subplots()
        found = [intervals(tree, name, point) for point in shown]
        _draw(tree, axes, found, labels, point_colours(tree, shown))
        handles, texts = axes.get_legend_handles_labels()
        key(part, handles, texts, f"spikes of {name}; {title}".removesuffix("; "), "outside upper center")
    return figure


def _draw(tree: xr.DataTree, axes: Axes, found: list[np.ndarray], labels: list[str], colours: list[Any]) -> None:
    every = np.concatenate(found)
    across = scale(tree, "s", every)
    low, high = every.min() * across.factor / 1.05, every.max() * across.factor * 1.05
    edges = np.geomspace(low, high, int(np.clip(1.5 * np.sqrt(every.size), 10, 40)) + 1)
    for times, text, colour in zip(found, labels, colours, strict=True):
        before = f"{text}: " if text else ""
        if not times.size:
            axes.plot([], [], color=colour, label=f"{before}no interval")
            continue
        middle = float(np.median(times)) * across.factor
        words = f"{before}n = {times.size}, median {middle:.3g} {across.unit}"
        share = np.full(times.size, 1.0 / times.size)
        axes.hist(times * across.factor, list(edges), weights=share, histtype="stepfilled", color=colour, alpha=0.15)
        axes.hist(times * across.factor, list(edges), weights=share, histtype="step", color=colour, label=words)
        axes.axvline(middle, color=colour, linestyle="--", linewidth=0.8)
    if not every.size:
        remark(axes, "no interval")
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    plain_ticks(axes.xaxis)
    dress(axes, across.named("interval between spikes"), "share")
    axes.set_ylim(bottom=0)
