"""Spread of every scalar measurement: histogram and empirical distribution function side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcdev.figures.axes import Scale, measurement, one_a_curve, point_colours
from mcdev.figures.references import cited, references
from mcdev.figures.style import BLACK, LINE, MEAN, dress, key, plain_ticks, remark, sheet
from mcdev.measurements.contract import FAILED, LEFT_CENSORED, OK, RIGHT_CENSORED, UNDEFINED

NAME = "distributions"

_SHOWN = 6
"""Most sweep points in a panel: more histograms upon one another cannot be read."""


def applies(tree: xr.DataTree) -> bool:
    return bool(scalars(tree))


def scalars(tree: xr.DataTree) -> list[str]:
    """Names of the measurements that are a single number."""
    return [name for name, data in tree["measurements"].children.items() if "entry" not in data.dims]


def draw(tree: xr.DataTree) -> Figure:
    """One row a measurement, all devices and cycles. Censored observations count in the shares: a right-censored
    one is never reached, a left-censored one was passed before the axis begins."""
    names = scalars(tree)
    shown, labels, title = one_a_curve(tree, _SHOWN)
    heights = [1.65 + LINE * (len(shown) + _lines(tree, name, shown)) for name in names]
    figure = sheet(sum(heights))
    rows = np.ravel(figure.subfigures(len(names), 1, squeeze=False, height_ratios=heights))
    for name, row in zip(names, rows, strict=True):
        left, right = row.subplots(1, 2)
        data = tree[f"measurements/{name}"].dataset
        values, status = data["value"].values, data["status"].values  # [point, device, cycle]
        good = [v[(s == OK) & np.isfinite(v)] for v, s in zip(values, status, strict=True)]
        every = np.concatenate([good[point] for point in shown])
        found, label = measurement(tree, name, every)
        every = every * found.factor
        logarithmic = every.size > 0 and every.min() > 0 and every.max() > 10 * every.min()
        edges = _edges(every, logarithmic)
        for axes in (left, right):
            axes.set_xscale("log" if logarithmic else "linear")
            axes.set_xlim(edges[0], edges[-1])
            if logarithmic:
                plain_ticks(axes.xaxis, (1, 3))  # a panel is narrow
            else:
                axes.xaxis.set_major_locator(MaxNLocator(4))
        tints = point_colours(tree, shown)
        for point, text, colour in zip(shown, labels, tints, strict=True):
            _draw_point(
                left, right, good[point] * found.factor, status[point], edges, colour, f"{text}: " if text else ""
            )
        _draw_references(tree, (left, right), name, found, shown, tints)
        if not every.size:
            remark(left, "no uncensored value")
            remark(right, "no uncensored value")
        dress(left, label, "share")
        dress(right, label, "cumulative share")
        left.set_ylim(bottom=0)
        right.set_ylim(0, 1.02)
        handles, entries = right.get_legend_handles_labels()
        key(row, handles, entries, title=title, loc="outside upper center")
    return figure


def _edges(values: np.ndarray, logarithmic: bool) -> np.ndarray:
    """Edges of the bins of a histogram: whole numbers get a bin each, single values one around them."""
    if not values.size:
        return np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    if low == high:
        room = 0.5 * abs(low) or 0.5
        return np.linspace(low - room, high + room, 12)
    count = int(np.clip(1.5 * np.sqrt(values.size), 10, 40))
    if logarithmic:
        return np.geomspace(low / 1.02, high * 1.02, count + 1)
    if np.all(values == np.round(values)) and high - low < 60:
        return np.arange(low - 0.5, high + 1.0)
    room = 0.02 * (high - low)
    return np.linspace(low - room, high + room, count + 1)


def _draw_point(
    left: Axes, right: Axes, values: np.ndarray, status: np.ndarray, edges: np.ndarray, colour: Any, text: str
) -> None:
    before, beyond = int((status == LEFT_CENSORED).sum()), int((status == RIGHT_CENSORED).sum())
    known = values.size + before + beyond
    counts = [(values.size, "ok"), (beyond, "right-censored"), (before, "left-censored")]
    counts += [(int((status == UNDEFINED).sum()), "undefined"), (int((status == FAILED).sum()), "failed")]
    label = text + ", ".join(f"{count} {word}" for count, word in counts if count or word == "ok")
    if values.size:
        weights = np.full(values.size, 1.0 / known)
        left.hist(values, list(edges), weights=weights, histtype="stepfilled", color=colour, alpha=0.18)
        left.hist(values, list(edges), weights=weights, histtype="step", color=colour, linewidth=0.9)
    x = np.concatenate([edges[:1], np.sort(values), edges[-1:]])
    reached = (before + np.arange(values.size + 1)) / max(known, 1)
    y = np.append(reached, reached[-1]) if known else np.full(x.size, np.nan)
    right.step(x, y, where="post", color=colour, linewidth=MEAN, label=label)


def _lines(tree: xr.DataTree, name: str, shown: list[int]) -> int:
    """Lines of a legend beyond one a sweep point: its title, and what is published with room for a remark."""
    listed = [cited(reference) for reference, _ in references(tree, name) if reference.point - 1 in shown]
    room = len(listed)  # any of them may lie off the axis
    return (tree["realisations"].sizes["point"] > 1) + room + sum(text.count("\n") + 1 for text in set(listed))


def _draw_references(
    tree: xr.DataTree, panels: tuple[Axes, Axes], name: str, found: Scale, shown: list[int], tints: list[Any]
) -> None:
    """Dashed lines, in the colour of their sweep point where there are several; a source is named once."""
    named = set()
    for reference, value in references(tree, name):
        if reference.point - 1 not in shown:
            continue
        at = value * found.factor
        low, high = panels[0].get_xlim()
        beyond = "" if low <= at <= high else f"\n({f'{at:g} {found.unit}'.strip()}: off this axis)"
        label = cited(reference) + beyond
        colour = tints[shown.index(reference.point - 1)] if len(shown) > 1 else BLACK
        for axes in panels:
            text = f"_{label}" if label in named else label
            axes.axvline(at, color=colour, linestyle="--", linewidth=0.8, label=text)
            axes.set_xlim(low, high)
        named.add(label)
