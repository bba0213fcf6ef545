"""Spikes of the first devices, one line each, under the watched channel of the first of them."""

from __future__ import annotations

import re

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcdev.figures.axes import first_cycle, points, quantity, scale
from mcdev.figures.courses import course
from mcdev.figures.style import BLACK, BLUE, GREY, SMALL, dress, remark, sheet
from mcdev.measurements.contract import of_element
from mcdev.results.tree import experiment_of
from mcdev.statistics.trains import onsets, train_names

NAME = "raster"

_LINES = 40
"""Most devices; more lines cannot be told apart."""
_DETECTORS = 3


def applies(tree: xr.DataTree) -> bool:
    return bool(train_names(tree))


def draw(tree: xr.DataTree) -> Figure:
    """For each detector, up to three: the watched channel of the first device as it was recorded (a mean over each
    sample, in which a shorter spike hardly shows), and a mark where each spike of the first devices begins, the first
    device on top. Of the sweep point with the most spikes."""
    names = train_names(tree)[:_DETECTORS]
    figure = sheet(0.25 + 2.6 * len(names))
    panels = figure.subplots(2 * len(names), 1, squeeze=False, height_ratios=[1, 1.6] * len(names))[:, 0]
    for number, name in enumerate(names):
        above, below = panels[2 * number], panels[2 * number + 1]
        point = int(np.argmax(tree[f"spikes/{name}"].dataset["count"].values.sum(axis=(1, 2))))
        _draw(tree, name, point, above, below)
    return figure


def _words(signal: str) -> str:
    """``conductance of M2`` for ``conductance(M2)``."""
    return re.sub(r"\((.*)\)", r" of \1", signal).replace("_", " ")


def _draw(tree: xr.DataTree, name: str, point: int, above: Axes, below: Axes) -> None:
    about = tree[f"spikes/{name}"].dataset
    element = experiment_of(tree).measurements[name].element if name in experiment_of(tree).measurements else None
    signal = of_element(map(str, tree["response"].data_vars), about.attrs["signal"], element)
    first = course(tree, signal if signal in tree["response"].dataset else "current", point)
    time, label = quantity(tree, "s", first.edges)
    rows = [cycles[0] for cycles in onsets(tree, name, point)[:_LINES]]
    if len(first.singles):
        trace = first.singles[0]
        upright = scale(tree, about["amplitude"].attrs["units"], trace)
        edges = first.edges * time.factor
        above.stairs(trace * upright.factor, edges, baseline=None, color=BLUE, linewidth=0.7)
        for at in rows[0]:
            above.axvline(at * time.factor, color=GREY, linewidth=0.3, zorder=0)
        dress(above, "", upright.named(_words(signal)).replace(" (", "\n(", 1))  # a low panel
    else:
        remark(above, "no course of a single device is kept")
        dress(above)
    below.eventplot(
        [row * time.factor for row in rows],
        lineoffsets=list(range(1, len(rows) + 1)),
        linelengths=0.8,
        linewidths=0.6,
        colors=BLACK,
    )
    if not any(row.size for row in rows):
        remark(below, "no spike")
    devices = about.sizes["device"]
    silent = sum(row.size == 0 for row in rows)
    some = f"first {len(rows)} of {devices}" if devices > len(rows) else f"all {devices}"
    title, texts = points(tree)
    where = f"{title} = {texts[point]}" if texts else ""
    lines = [
        f"{some} devices, {silent} silent",
        ", ".join(filter(None, [f"spikes of {name}", where, first_cycle(tree)])),
    ]
    above.set_title("\n".join(lines), fontsize=SMALL, pad=3)
    below.set_ylim(len(rows) + 0.6, 0.4)
    below.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    dress(below, label, "device")
    begin, end = first.edges[0] * time.factor, first.edges[-1] * time.factor
    for axes in (above, below):
        axes.set_xlim(begin - 0.01 * (end - begin), end)  # a spike at once is beside the axis, not on it
    above.tick_params(labelbottom=False)
