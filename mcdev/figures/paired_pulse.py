"""Current under two pulses, as a multiple of that under the first (Shin et al. 2022, Fig. 5b)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcdev.figures.axes import (
    Scale,
    counted,
    first_cycle,
    mean_label,
    means_label,
    one_a_curve,
    point_colours,
    quantity,
)
from mcdev.figures.courses import Course, course, timelines, window
from mcdev.figures.density_panels import has_density
from mcdev.figures.numbers import published, with_unit
from mcdev.figures.style import BLACK, GREY, MEAN, dress, legend_above, remark, sheet
from mcdev.measurements.paired_pulse import PairedPulse
from mcdev.protocols import PulseTrain
from mcdev.protocols.timeline import Timeline
from mcdev.results.tree import experiment_of
from mcdev.statistics import summarise

NAME = "paired_pulse"


def applies(tree: xr.DataTree) -> bool:
    experiment = experiment_of(tree)
    if has_density(tree) or not isinstance(experiment.protocol, PulseTrain):
        return False
    protocols = [variant.protocol for _, variant in experiment.points()]
    return all(isinstance(protocol, PulseTrain) and protocol.count == 2 for protocol in protocols)


def draw(tree: xr.DataTree) -> Figure:
    """Source above; below, the mean current over the mean during the first pulse."""
    shown, labels, title = one_a_curve(tree)
    last = max(_end(tree, point) for point in shown)
    figure = sheet(2.6)
    source, answer = figure.subplots(2, 1, sharex=True, height_ratios=[0.4, 1.6])
    time, time_label = quantity(tree, "s", np.array([last]))
    colours = point_colours(tree, shown)
    volts_label = draw_sources(tree, source, shown, time, colours, (0.0, last), [0.0] * len(shown))
    for point, text, colour in zip(shown, labels, colours, strict=True):
        label = (text or mean_label(tree, point)) + index(tree, point, 2)
        draw_steps(answer, normalised(tree, point), time.factor, 0.0, colour, label)
    answer.axhline(1.0, color=GREY, linewidth=0.6, linestyle=":", zorder=0)
    dress_pair(source, answer, volts_label, any(course(tree, "current", point).known for point in shown))
    answer.set_xlabel(time_label, fontsize=answer.yaxis.label.get_fontsize(), labelpad=2)
    answer.set_xlim(0, last * time.factor)
    remark(answer, first_cycle(tree), "corner")
    title = f"{title}, {means_label(tree, shown)}" if title else ""
    legend_above(figure, [answer], title)
    return figure


def _end(tree: xr.DataTree, point: int) -> float:
    """A little after the second pulse, at most the end of the recording (s)."""
    edges = course(tree, "current", point).edges
    spans = window(tree, "pulse", point)
    return float(min(edges[-1], edges[spans[1, 1]] + 0.3 * (edges[spans[0, 1]] - edges[spans[0, 0]])))


def normalised(tree: xr.DataTree, point: int) -> Course:
    """The current over its mean during the first pulse."""
    drawn = course(tree, "current", point)
    first, last = window(tree, "pulse", point)[0]
    size = float(np.average(drawn.mean[first:last], weights=np.diff(drawn.edges)[first:last]))
    size = size if size else np.nan
    band = None if drawn.band is None else np.sort(drawn.band / size, axis=0)
    return replace(drawn, mean=drawn.mean / size, sem=drawn.sem / abs(size), band=band, singles=drawn.singles / size)


def draw_steps(axes: Axes, drawn: Course, seconds: float, origin: float, colour: Any, label: str) -> None:
    """The mean as steps, each over its sample, with the band of the devices; times counted from ``origin`` (s)."""
    x = np.repeat(drawn.edges - origin, 2)[1:-1] * seconds
    if drawn.band is not None:
        low, high = np.repeat(drawn.band, 2, axis=1)
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(x, np.repeat(drawn.mean, 2), color=colour, linewidth=0.8 * MEAN, label=label)


def index(tree: xr.DataTree, point: int, second: int) -> str:
    """``: (I₂-I₁)/I₁ = 0.242(1) (published: 0.242)``; empty where it is not measured."""
    for name, wanted in experiment_of(tree).measurements.items():
        if isinstance(wanted, PairedPulse) and (wanted.first, wanted.second) == (1, second):
            row = [r for r in summarise(tree, variability=False) if r["measurement"] == name][point]
            if row["mean"] is None:
                return ""
            error = np.nan if row["sem"] is None else row["sem"]
            value = with_unit(tree, "1", row["mean"], error)
            return rf": $(I_{second}-I_1)/I_1$ = {value}{counted([row])}{published(tree, name, point)}"
    return ""


def draw_sources(
    tree: xr.DataTree,
    axes: Axes,
    shown: list[int],
    time: Scale,
    colours: list[Any],
    limits: tuple[float, float],
    origins: list[float],
) -> str:
    """What the sources did, black if it is the same at every point between these times; the label of the voltage.
    Times are counted from ``origins``, one a point (s)."""
    every = timelines(tree)
    volts, label = quantity(tree, "V", np.concatenate([every[point].voltage for point in shown]))
    lines = [_outline(every[p], o) for p, o in zip(shown, origins, strict=True)]
    within = np.linspace(*limits, 479)[1:-1]
    same = all(np.allclose(np.interp(within, *line), np.interp(within, *lines[0]), atol=1e-6) for line in lines)
    for line, colour in zip(lines[:1] if same else lines, [BLACK] if same else colours, strict=False):
        axes.plot(line[0] * time.factor, line[1] * volts.factor, color=colour, linewidth=0.8, label="source")
    return label


def _outline(source: Timeline, origin: float) -> np.ndarray:
    """Times and voltages, [2, n]."""
    return np.array([np.repeat(source.edges - origin, 2)[1:-1], np.column_stack([source.start, source.end]).ravel()])


def dress_pair(source: Axes, answer: Axes, volts_label: str, known: bool) -> None:
    """Labels of both panels; ``known``: whether there is a current."""
    dress(source, "", volts_label.removeprefix("voltage "))
    source.tick_params(labelbottom=False)
    source.margins(y=0.2)
    dress(answer, "", r"current $I/\langle I_1\rangle$")
    answer.margins(y=0.1)
    if not known:
        remark(answer, "no intact realisation")
