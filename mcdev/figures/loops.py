"""Current-voltage loops of a triangular sweep (Wang et al. 2017, Fig. 1b)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mcdev.figures.axes import Scale, first_cycle, mean_label, points, quantity, shown_points, sweep_title
from mcdev.figures.courses import Course, course, window
from mcdev.figures.style import BLACK, BLUE, MEAN, RED, SINGLE, SMALL, colours, dress, key, remark, sheet
from mcdev.measurements.hold_voltage import HoldVoltage
from mcdev.measurements.threshold_voltage import ThresholdVoltage
from mcdev.results import experiment_of
from mcdev.statistics import summarise

NAME = "loops"

_MARKS = {"threshold_voltage": (r"$V_\mathrm{th}$", "--"), "hold_voltage": (r"$V_\mathrm{hold}$", ":")}


def applies(tree: xr.DataTree) -> bool:
    return experiment_of(tree).protocol.kind == "triangular_sweep"


def draw(tree: xr.DataTree) -> Figure:
    """|I| on a logarithmic axis above, G below; the first loop, rising |V| in blue and falling |V| in red. With a
    sweep: the means of its points, each in one colour, falling |V| dashed."""
    shown = shown_points(tree)
    alone = len(shown) == 1
    figure = sheet(4.2)
    above, below = figure.subplots(2, 1, sharex=True)
    sources = [course(tree, "voltage", point) for point in shown]
    volts, volts_label = quantity(tree, "V", np.concatenate([s.mean for s in sources]))
    for axes, channel, unit in ((above, "current", "A"), (below, "conductance", "S")):
        drawn = [course(tree, channel, point) for point in shown]
        value, label = quantity(tree, unit, np.concatenate([d.mean for d in drawn]))
        for point, source, one, colour in zip(shown, sources, drawn, colours(len(shown)), strict=True):
            for name, samples in _branches(tree, point):
                up = name.endswith("_up")
                look = {"color": (BLUE if up else RED) if alone else colour, "linestyle": "-" if up or alone else "--"}
                _draw_branch(axes, source, one, samples, volts, value, look, alone)
        dress(axes, "", label.replace("current $", "current $|").replace("I/", "I|/").replace("I$", "I|$"))
        if channel == "current":
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        if not any(d.known for d in drawn):
            remark(axes, "no intact realisation")
    below.set_xlabel(volts_label.replace("voltage", "source voltage"))
    if alone:
        _mark_voltages(tree, (above, below), volts)
    loops = max(len(window(tree, name)) for name, _ in _branches(tree, 0))
    said = [f"loop 1 of {loops}"] if loops > 1 else []
    remark(above, ", ".join([*said, first_cycle(tree)]).removesuffix(", "), "corner")
    _legend(tree, below, course(tree, "current"), shown)
    return figure


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
) -> None:
    x = source.mean[samples] * volts.factor

    def size(series: np.ndarray) -> np.ndarray:
        """|series| as shown, NaN at zero: a logarithmic axis has no place for it."""
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
    for record in summarise(tree):
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


def _legend(tree: xr.DataTree, axes: Axes, current: Course, shown: list[int]) -> None:
    if len(shown) > 1:
        handles = [Line2D([], [], color=colour, linewidth=MEAN) for colour in colours(len(shown))]
        title = f"{sweep_title(tree)}\n(dashed: |V| falling)"
        return key(axes, handles, [points(tree)[1][point] for point in shown], title, "upper center")
    handles = [Line2D([], [], color=colour, linewidth=MEAN) for colour in (BLUE, RED)]
    labels = [f"{mean_label(tree)}, |V| {way}" for way in ("rising", "falling")]
    if current.band is not None:
        handles += [Line2D([], [], color=BLUE, alpha=a, linewidth=w) for a, w in ((0.6, SINGLE), (0.2, 4.0))]
        labels += ["single", current.share]
    return key(axes, handles, labels, loc="upper center")
