"""Current under a train and under one more pulse after a recovery (Shin et al. 2022, Fig. 6)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcdev.figures.axes import first_cycle, mean_label, means_label, one_a_curve, point_colours, protocol_kind, quantity
from mcdev.figures.courses import course, window
from mcdev.figures.paired_pulse import draw_sources, draw_steps, dress_pair, index, normalised
from mcdev.figures.style import GREY, TEXT, legend_above, remark, sheet

NAME = "recovery"


def applies(tree: xr.DataTree) -> bool:
    return protocol_kind(tree) == "recovery"


def draw(tree: xr.DataTree) -> Figure:
    """Left, the train; right, on the same scale, the pulse after the recovery, which is left out between them. Source
    above; below, the mean current over the mean during the first pulse."""
    shown, labels, title = one_a_curve(tree)
    spans = [_times(tree, point) for point in shown]
    width = max(end - begin for begin, end in (s[-1] for s in spans))
    train = max(s[-2][1] for s in spans) + 0.35 * width
    time, time_label = quantity(tree, "s", np.array([train]))
    colours = point_colours(tree, shown)
    figure = sheet(2.7)
    panels = figure.subplots(
        2, 2, sharex="col", sharey="row", height_ratios=[0.4, 1.6], width_ratios=[train, 1.35 * width]
    )
    known = any(course(tree, "current", point).known for point in shown)
    limits = ((0.0, train), (-0.35 * width, width))
    for column, (low, high) in enumerate(limits):
        source, answer = panels[:, column]
        origins = [0.0 if column == 0 else s[-1][0] for s in spans]
        volts_label = draw_sources(tree, source, shown, time, colours, (low, high), origins)
        for point, text, origin, colour in zip(shown, labels, origins, colours, strict=True):
            number = len(window(tree, "pulse", point))
            label = (text or mean_label(tree, point)) + index(tree, point, number)
            draw_steps(answer, normalised(tree, point), time.factor, origin, colour, label)
        answer.axhline(1.0, color=GREY, linewidth=0.6, linestyle=":", zorder=0)
        dress_pair(source, answer, volts_label, known or column == 1)
        answer.set_xlim(low * time.factor, high * time.factor)
        if column == 1:
            for axes in (source, answer):
                axes.set_ylabel("")
    last = max(len(window(tree, "pulse", point)) for point in shown)
    _label(panels[1, 0], time_label)
    _label(panels[1, 1], time.label("", f"t - t_{{{last}}}").strip() if not time.reduced else f"from pulse {last}")
    _break(panels)
    remark(panels[1, 0], first_cycle(tree), "corner")
    title = f"{title}, {means_label(tree, shown)}" if title else ""
    legend_above(figure, [panels[1, 0]], title)
    return figure


def _times(tree: xr.DataTree, point: int) -> list[tuple[float, float]]:
    """When each pulse begins and ends (s)."""
    edges = course(tree, "current", point).edges
    return [(float(edges[first]), float(edges[last])) for first, last in window(tree, "pulse", point)]


def _label(axes: Axes, text: str) -> None:
    axes.set_xlabel(text, fontsize=TEXT, labelpad=2)


def _break(panels: np.ndarray) -> None:
    """Open frames and slanted strokes where time is left out."""
    look: dict[str, Any] = {"marker": [(-0.5, -1), (0.5, 1)], "markersize": 5, "linestyle": "none", "color": GREY}
    look |= {"markeredgewidth": 0.7, "clip_on": False}
    for left, right in panels:
        left.spines["right"].set_visible(False)
        right.spines["left"].set_visible(False)
        left.tick_params(which="both", right=False)
        right.tick_params(which="both", left=False, labelleft=False)
        left.plot([1, 1], [0, 1], transform=left.transAxes, **look)
        right.plot([0, 0], [0, 1], transform=right.transAxes, **look)
