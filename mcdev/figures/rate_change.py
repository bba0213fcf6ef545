"""Conductance at each pulse while the rate of the pulses changes (Wang et al. 2017, Fig. 5c)."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcdev.figures.axes import (
    Scale,
    first_cycle,
    mean_label,
    means_label,
    measurement,
    point_colours,
    points,
    protocol_kind,
    quantity,
    scale,
    shown_points,
    sweep_title,
)
from mcdev.figures.courses import course, draw_course
from mcdev.figures.interval import draw_line
from mcdev.figures.pulses import conductance_at
from mcdev.figures.references import diamond, references
from mcdev.figures.style import GREY, ORANGE, SMALL, dress, legend_above, remark, sheet
from mcdev.protocols import RateChange
from mcdev.results.tree import experiment_of

NAME = "rate_change"


def applies(tree: xr.DataTree) -> bool:
    return protocol_kind(tree) == "rate_change"


def draw(tree: xr.DataTree) -> Figure:
    """Above, against the number of the pulse; below, against time. Shaded: the sections of the first sweep point."""
    shown = shown_points(tree)
    lines = [conductance_at(tree, point) for point in shown]
    courses = [course(tree, "conductance", point) for point in shown]
    time, time_label = quantity(tree, "s", np.concatenate([c.edges for c in courses]))
    siemens, siemens_label = quantity(tree, "S", np.concatenate([c.mean for c in courses]))
    pulse_scale, pulse_label = siemens, siemens_label
    if lines[0].name:
        pulse_scale, pulse_label = measurement(tree, lines[0].name, np.concatenate([line.mean for line in lines]))

    figure = sheet(3.7)
    by_number, by_time = figure.subplots(2, 1)
    labels = points(tree)[1] or ["at pulse, ± s.e.m."]
    for point, line, drawn, colour in zip(shown, lines, courses, point_colours(tree, shown), strict=True):
        draw_line(by_number, line, pulse_scale.factor, colour, labels[point])
        alone = len(shown) == 1
        draw_course(by_time, drawn.time * time.factor, drawn, siemens, colour, mean_label(tree), spread=alone)
    for reference, value in references(tree, lines[0].name) if lines[0].name else []:
        if reference.point - 1 in shown:
            diamond(by_number, reference.entry or 1, value * pulse_scale.factor, reference)
    dress(by_number, "pulse number", f"conductance {pulse_label}" if pulse_label.startswith("$") else pulse_label)
    dress(by_time, time_label, siemens_label)
    by_number.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (by_number, by_time):
        axes.set_ylim(bottom=0)
        axes.margins(y=0.2)
    by_number.set_xlim(0.5, max(line.mean.size for line in lines) + 0.5)
    by_time.set_xlim(0, max(c.edges[-1] for c in courses) * time.factor)
    if not any(c.known for c in courses):
        remark(by_time, "no intact realisation")
    _shade(tree, by_number, by_time, time)
    remark(by_time, first_cycle(tree), "corner")
    if len(shown) == 1:
        legend_above(figure, [by_number, by_time])
    else:
        legend_above(figure, [by_number], f"{sweep_title(tree)}, {means_label(tree, shown)}, ± s.e.m.")
    return figure


def _shade(tree: xr.DataTree, by_number: Axes, by_time: Axes, time: Scale) -> None:
    """Every second section is shaded; its rate stands above the upper panel."""
    protocol = experiment_of(tree).points()[0][1].protocol
    assert isinstance(protocol, RateChange)
    rates = np.array(protocol.rates)
    pulse, begin = 0.5, 0.0
    for section, (rate, count) in enumerate(zip(rates, protocol.counts, strict=True)):
        end = begin + count / rate
        colour = ORANGE if section % 2 else GREY
        by_number.axvspan(pulse, pulse + count, color=colour, alpha=0.13, linewidth=0)
        by_time.axvspan(begin * time.factor, end * time.factor, color=colour, alpha=0.13, linewidth=0)
        hertz = scale(tree, "Hz", np.array([rate]))
        last = section == len(rates) - 1  # names of narrow sections at either end grow inwards
        side, at = ("left", 0.0) if section == 0 else ("right", 1.0) if last else ("center", 0.5)
        by_number.annotate(
            f"{rate * hertz.factor:.4g} {hertz.unit}",
            (pulse + at * count, 1.0),
            (0, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha=side,
            va="bottom",
            fontsize=SMALL,
        )
        pulse, begin = pulse + count, end
