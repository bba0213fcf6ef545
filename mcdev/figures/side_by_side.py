"""The variants of a study on one picture: the current of each against time, sweep point by sweep point."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from mcdev.figures.axes import means_label, point_colours, points, quantity, shown_points
from mcdev.figures.courses import draw_source, timelines
from mcdev.figures.paired_pulse import normalised
from mcdev.figures.style import BLACK, MEAN, RED, SMALL, dress, legend_above, sheet

NAME = "side_by_side"

_STYLES = ("-", "--", ":", "-.")


def applies(trees: dict[str, xr.DataTree]) -> bool:
    """Two variants or more that did the same to as many sweep points."""
    if not 2 <= len(trees) <= len(_STYLES):
        return False
    first, *others = (timelines(tree) for tree in trees.values())
    same = all(
        len(first) == len(other)
        and all(
            np.array_equal(a.edges, b.edges) and np.array_equal(a.end, b.end) for a, b in zip(first, other, strict=True)
        )
        for other in others
    )
    return same and bool(first[0].windows.get("pulse", np.empty((0, 2))).size)


def draw(trees: dict[str, xr.DataTree]) -> Figure:
    """Above the source; below, one panel a sweep point, the mean current of each variant over its own mean during the
    first pulse: what the scale of a current is, models may choose."""
    tree = next(iter(trees.values()))
    shown = shown_points(tree, 4)
    source = timelines(tree)[shown[0]]
    figure = sheet(0.7 + 1.25 * len(shown))
    top, *panels = figure.subplots(1 + len(shown), 1, sharex=True, height_ratios=[0.35, *[1.0] * len(shown)])
    time, time_label = quantity(tree, "s", np.array([source.duration]))
    volts, volts_label = quantity(tree, "V", source.voltage)
    draw_source(top, source, time, volts, RED)
    dress(top, "", volts_label.removeprefix("voltage "))
    top.margins(y=0.2)
    names = points(tree)[1] or [""]
    for axes, point, colour in zip(panels, shown, point_colours(tree, shown), strict=True):
        for one, style in zip(trees.values(), _STYLES, strict=False):
            drawn = normalised(one, point)
            look = {"baseline": None, "linestyle": style, "color": colour, "linewidth": MEAN}
            axes.stairs(drawn.mean, drawn.edges * time.factor, **look)
        axes.set_title(names[point], loc="right", fontsize=SMALL, pad=2)
        axes.set_ylim(bottom=0)
        axes.margins(y=0.1)
        dress(axes, time_label if axes is panels[-1] else "", r"$I/\langle I_1\rangle$")
    panels[-1].set_xlim(0, source.duration * time.factor)
    for (variant, one), style in zip(trees.items(), _STYLES, strict=False):  # in black: a colour is a sweep point
        words = f"{variant} ({means_label(one, shown)})"
        panels[0].plot([], [], color=BLACK, linestyle=style, linewidth=MEAN, label=words)
    legend_above(figure, panels[:1], points(tree)[0] and f"panels: {points(tree)[0]}")
    return figure


__all__ = ["NAME", "applies", "draw"]
