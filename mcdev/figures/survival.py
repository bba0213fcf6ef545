"""What has not happened yet: Kaplan and Meier's curve of the measurements of which some are censored."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcdev.figures.spread import Shown, many_devices, shown
from mcdev.figures.style import LINE, MEAN, dress, key, legend, plain_ticks, sheet
from mcdev.statistics.censored import sample
from mcdev.statistics.survival import Survival, kaplan_meier

NAME = "survival"


def applies(tree: xr.DataTree) -> bool:
    return many_devices(tree) and bool(_rows(tree))


def draw(tree: xr.DataTree) -> Figure:
    """A row a measurement: the curve with its pointwise 95 % band, a tick where an observation is right-censored."""
    rows = _rows(tree)
    heights = [1.6 + LINE * (1 + len(row.readings)) for row, _ in rows]
    figure = sheet(sum(heights))
    parts = np.ravel(figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights))
    for (row, curves), part in zip(rows, parts, strict=True):
        axes = part.subplots()
        _draw(axes, row, curves)
        handles, texts = axes.get_legend_handles_labels()
        key(part, handles, texts, title=row.title, loc="outside upper center")
    return figure


def panels(tree: xr.DataTree) -> list[str]:
    """Measurements that have a panel."""
    return [row.readings[0].name for row, _ in _rows(tree)]


def panel(tree: xr.DataTree, name: str, axes: Axes) -> None:
    """One of them, with its legend inside."""
    row, curves = next((row, curves) for row, curves in _rows(tree) if row.readings[0].name == name)
    _draw(axes, row, curves)
    legend(axes, title=row.title)


def _draw(axes: Axes, row: Shown, curves: list[Survival | None]) -> None:
    factor = row.scale.factor
    found = [c for c in curves if c is not None]
    every = np.concatenate([np.append(c.at, c.censored_at) for c in found]) * factor
    wide = bool(every.min() > 0 and every.max() > 30 * every.min())
    start, end = (every.min() / 1.3 if wide else 0.0), every.max() * (1.15 if wide else 1.03)
    for curve, reading, text, colour in zip(curves, row.readings, row.texts, row.colours, strict=True):
        if curve is None:
            continue
        last = max(curve.at[-1], curve.censored_at[-1] if curve.censored_at.size else 0.0) * factor
        x = np.concatenate([[start], curve.at * factor, [last]])
        y = np.concatenate([[1.0], curve.share, curve.share[-1:]])
        low, high = (np.concatenate([[np.nan], ends, ends[-1:]]) for ends in (curve.low, curve.high))
        axes.fill_between(x, low, high, step="post", color=colour, alpha=0.18, linewidth=0)
        words = f"{int(reading.fine.sum()) + reading.right + reading.left} observations, {reading.right} right-censored"
        words += f", {reading.left} left-censored" if reading.left else ""
        label = f"{text}: {words}" if text else words
        axes.step(x, y, where="post", color=colour, linewidth=MEAN, label=label)
        bounds = np.unique(curve.censored_at)
        at = np.searchsorted(curve.at, bounds, side="right")
        level = np.append(1.0, curve.share)[at]
        axes.plot(bounds * factor, level, "|", color=colour, markersize=5, markeredgewidth=0.7, label="_censored")
    if wide:
        axes.set_xscale("log")
        plain_ticks(axes.xaxis)
    axes.set_xlim(start, end)
    axes.set_ylim(0, 1.03)
    dress(axes, row.label, "share not yet reached")
    axes.tick_params(axis="x", pad=4)  # both axes may have a zero in the corner


def _rows(tree: xr.DataTree) -> list[tuple[Shown, list[Survival | None]]]:
    """The measurements of which some observation is censored and some is not."""
    found = []
    for row in shown(tree):
        if not any(r.right + r.left for r in row.readings):
            continue
        curves = [kaplan_meier(sample(r.values, r.status)) for r in row.readings]
        if any(curve is not None for curve in curves):
            found.append((row, curves))
    return found
