"""Current-voltage loops of a triangular sweep (Wang et al. 2017, Fig. 1b)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mcdev.figures.axes import (
    Scale,
    first_cycle,
    mean_label,
    means_label,
    point_colours,
    points,
    protocol_kind,
    quantity,
    shown_points,
    sweep_title,
)
from mcdev.figures.courses import Course, course, window
from mcdev.figures.style import BLACK, BLUE, GREY, MEAN, RED, SINGLE, SMALL, TEXT, dress, key_above, remark, sheet
from mcdev.measurements.hold_voltage import HoldVoltage
from mcdev.measurements.threshold_voltage import ThresholdVoltage
from mcdev.results.tree import experiment_of
from mcdev.statistics import summarise

NAME = "loops"

_APART = 4
"""Most sweep points that get a panel each."""

_MARKS = {"threshold_voltage": (r"$V_\mathrm{th}$", "--"), "hold_voltage": (r"$V_\mathrm{hold}$", ":")}


def applies(tree: xr.DataTree) -> bool:
    return protocol_kind(tree) == "triangular_sweep"


def draw(tree: xr.DataTree) -> Figure:
    """|I| on a logarithmic axis above, G below; the first loop, rising |V| in blue and falling |V| in red. With a
    sweep: the means of its points, each in one colour, falling |V| dashed. Devices whose conductance has no full
    scale: below I on a linear axis; of up to four sweep points in a panel each, over the largest |I| there, with
    the loop shaded."""
    shown = shown_points(tree)
    alone = len(shown) == 1
    linear = experiment_of(tree).device.full_scale is None
    apart = linear and 1 < len(shown) <= _APART
    figure = sheet(4.2)
    rows = figure.add_gridspec(2, len(shown) if apart else 1, height_ratios=[1.2, 1] if apart else [1, 1])
    above = figure.add_subplot(rows[0, :])
    below = [figure.add_subplot(place) for place in (rows[1, column] for column in range(rows.ncols))]
    volts, volts_label = quantity(tree, "V", np.concatenate([course(tree, "voltage", point).mean for point in shown]))
    _draw_panel(tree, above, shown, volts, "current")
    if apart:
        _draw_apart(tree, below, shown, volts)
    else:
        _draw_panel(tree, below[0], shown, volts, "current" if linear else "conductance", signed=linear)
        below[0].sharex(above)
        above.tick_params(labelbottom=False)
    below[len(below) // 2].set_xlabel(volts_label.replace("voltage", "source voltage"), fontsize=TEXT, labelpad=2)
    if alone:
        _mark_voltages(tree, (above, below[0]), volts)
    loops = max(len(window(tree, name)) for name, _ in _branches(tree, 0))
    said = [f"loop 1 of {loops}"] if loops > 1 else []
    remark(above, ", ".join([*said, first_cycle(tree)]).removesuffix(", "), "corner")
    _legend(tree, figure, course(tree, "current"), shown)
    return figure


def _draw_panel(
    tree: xr.DataTree, axes: Axes, shown: list[int], volts: Scale, channel: str, signed: bool = False
) -> None:
    """All shown points in one panel: a ``signed`` current on a linear axis, else |I| on a logarithmic one, or G."""
    alone = len(shown) == 1
    drawn = [course(tree, channel, point) for point in shown]
    value, label = quantity(tree, "A" if channel == "current" else "S", np.concatenate([d.mean for d in drawn]))
    for point, one, colour in zip(shown, drawn, point_colours(tree, shown), strict=True):
        for name, samples in _branches(tree, point):
            up = name.endswith("_up")
            look = {"color": (BLUE if up else RED) if alone else colour, "linestyle": "-" if up or alone else "--"}
            _draw_branch(axes, course(tree, "voltage", point), one, samples, volts, value, look, alone, signed)
    if signed:
        dress(axes, "", label)
        axes.axhline(0.0, color=GREY, linewidth=0.6, zorder=0)
    else:
        dress(axes, "", label.replace("current $", "current $|").replace("I/", "I|/").replace("I$", "I|$"))
    if channel == "conductance":
        axes.set_ylim(bottom=0)
    elif not signed:
        axes.set_yscale("log")
    if not any(d.known for d in drawn):
        remark(axes, "no intact realisation")


def _draw_apart(tree: xr.DataTree, panels: list[Axes], shown: list[int], volts: Scale) -> None:
    """The loop of each shown point in a panel of its own, over its largest |I|."""
    for panel, point, colour in zip(panels, shown, point_colours(tree, shown), strict=True):
        source, drawn = course(tree, "voltage", point), _normalised(course(tree, "current", point))
        branches = dict(_branches(tree, point))
        for name, samples in branches.items():
            look = {"color": colour, "linestyle": "-" if name.endswith("_up") else "--"}
            _draw_branch(panel, source, drawn, samples, volts, Scale(1.0, ""), look, alone=False, signed=True)
        for line in panel.get_lines():  # thin: the loops are narrow
            line.set_linewidth(0.7)
        for side in ("positive", "negative"):
            if {f"{side}_up", f"{side}_down"} <= branches.keys():
                there, back = branches[f"{side}_up"], branches[f"{side}_down"]
                x, y = (np.concatenate([v[there], v[back]]) for v in (source.mean * volts.factor, drawn.mean))
                panel.fill(x, y, color=colour, alpha=0.25, linewidth=0)
        panel.axhline(0.0, color=GREY, linewidth=0.6, zorder=0)
        panel.set_ylim(-1.1, 1.1)
        first = panel is panels[0]
        dress(panel, "", r"current $I/|I|_{\mathrm{max}}$" if first else "")
        panel.tick_params(labelleft=first)
        panel.set_title(points(tree)[1][point], fontsize=SMALL, pad=2)


def _normalised(drawn: Course) -> Course:
    """Over the largest |mean|."""
    size = float(np.abs(drawn.mean).max()) or np.nan
    return replace(drawn, mean=drawn.mean / size)


def _branches(tree: xr.DataTree, point: int) -> list[tuple[str, slice]]:
    """The branches of the first loop and their samples."""
    names = [f"{polarity}_{way}" for polarity in ("positive", "negative") for way in ("up", "down")]
    spans = [(name, window(tree, name, point)) for name in names]
    return [(name, slice(*span[0])) for name, span in spans if span.size]


def _draw_branch(
    axes: Axes,
    source: Course,
    drawn: Course,
    samples: slice,
    volts: Scale,
    value: Scale,
    look: dict[str, Any],
    alone: bool,
    signed: bool,
) -> None:
    """One branch of a loop; ``alone`` with the band of the devices and three of them."""
    x = source.mean[samples] * volts.factor

    def size(series: np.ndarray) -> np.ndarray:
        """Series as shown; unless signed |series|, NaN at zero: a logarithmic axis has no place for it."""
        if signed:
            return series * value.factor
        shown = np.abs(series) * value.factor
        return np.where(shown > 0, shown, np.nan)

    if alone and drawn.band is not None:
        low, high = size(drawn.band[:, samples])
        axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
        for single in drawn.singles[:3]:
            axes.plot(x, size(single[samples]), linewidth=SINGLE, alpha=0.6, **look)
    axes.plot(x, size(drawn.mean[samples]), linewidth=MEAN, label="mean", **look)


def _mark_voltages(tree: xr.DataTree, panels: tuple[Axes, Axes], volts: Scale) -> None:
    """Medians of the threshold and hold voltages of the first loop, where they are measured."""
    measurements = experiment_of(tree).measurements
    marks: dict[str, list[tuple[float, str, str]]] = {"positive": [], "negative": []}
    for record in summarise(tree, variability=False):
        wanted = measurements[record["measurement"].partition("[")[0]]
        if isinstance(wanted, ThresholdVoltage | HoldVoltage) and wanted.loop == 1 and record["median"] is not None:
            sign = 1 if wanted.polarity == "positive" else -1
            marks[wanted.polarity].append((sign * record["median"] * volts.factor, *_MARKS[wanted.kind]))
    for found in marks.values():
        inner = min((abs(at) for at, _, _ in found), default=0.0)
        for at, text, style in found:
            for axes in panels:
                axes.axvline(at, color=BLACK, linestyle=style, linewidth=0.7, zorder=1)
            # Of two names, the inner one grows towards zero and the outer one away from it.
            side = "center" if len(found) == 1 else "right" if (abs(at) == inner) == (at > 0) else "left"
            panels[0].annotate(
                text,
                (at, 1.0),
                (0, 2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha=side,
                va="bottom",
                fontsize=SMALL,
            )


def _legend(tree: xr.DataTree, figure: Figure, current: Course, shown: list[int]) -> None:
    if len(shown) > 1:
        handles = [Line2D([], [], color=colour, linewidth=MEAN) for colour in point_colours(tree, shown)]
        title = f"{sweep_title(tree)}, {means_label(tree, shown)} (dashed: |V| falling)"
        return key_above(figure, handles, [points(tree)[1][point] for point in shown], title)
    handles = [Line2D([], [], color=colour, linewidth=MEAN) for colour in (BLUE, RED)]
    labels = [f"{mean_label(tree)}, |V| {way}" for way in ("rising", "falling")]
    if current.band is not None:
        handles += [Line2D([], [], color=BLUE, alpha=a, linewidth=w) for a, w in ((0.6, SINGLE), (0.2, 4.0))]
        labels += ["single", current.share]
    return key_above(figure, handles, labels)
