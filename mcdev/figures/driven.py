"""The frame that pulses and trains share: source, conductance against time, and density at a few moments."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcdev.figures.axes import (
    Scale,
    first_cycle,
    mean_label,
    means_label,
    one_a_curve,
    point_colours,
    points,
    quantity,
)
from mcdev.figures.courses import Course, course, draw_course, draw_source, timelines
from mcdev.figures.density_panels import Moment, draw_panels, has_density, mark_moments
from mcdev.figures.style import RED, dress, remark, sheet


class Driven(NamedTuple):
    """A drawn frame, for those who add to it."""

    figure: Figure
    answer: Axes
    """Conductance against time."""
    first: Course
    """What is drawn of the first sweep point."""
    time: Scale
    value: Scale
    """Of the conductance."""
    title: str
    """Of the legend; empty if only one sweep point is drawn, with its spread."""


def _decays(means: list[np.ndarray]) -> bool:
    """Whether what follows a pulse would lie on the axis of a linear scale, and yet within four decades."""
    every = np.concatenate(means)
    every = every[np.isfinite(every)]
    return every.size > 0 and bool(1e-4 * every.max() < every.min() < 0.05 * every.max())


def draw_driven(
    tree: xr.DataTree,
    moments: list[Moment],
    span: float,
    since: float | None = None,
    own_value: tuple[Scale, str] | None = None,
) -> Driven:
    """``moments`` are samples of the first sweep point; densities are averaged over ``span`` seconds. With ``since``
    (s) time is counted from there on a logarithmic axis. ``own_value``: scale and label of the conductance."""
    shown, labels, title = one_a_curve(tree)
    sources = timelines(tree)
    durations = [sources[point].duration for point in shown]
    left_out = ""
    if max(durations) > 2 * min(durations):  # a common axis of time would crush the short ones
        left_out = f"{points(tree)[0]}: {points(tree)[1][0]}, point 1 of {tree['realisations'].sizes['point']}"
        shown = shown[:1]
    alone = len(shown) == 1
    courses = [course(tree, "conductance", point) for point in shown]
    origin = since or 0.0
    longest = max(sources[point].duration for point in shown)
    time, time_label = quantity(tree, "s", np.array([longest]))
    volts, volts_label = quantity(tree, "V", np.concatenate([sources[point].voltage for point in shown]))
    value, value_label = own_value or quantity(tree, "S", np.concatenate([c.mean for c in courses]))

    heights = [0.4, 1.6, 1.7] if has_density(tree) else [0.4, 1.6]
    figure = sheet(4.5 if has_density(tree) else 2.6)
    rows = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    source = figure.add_subplot(rows[0])
    answer = figure.add_subplot(rows[1], sharex=source)
    if since is None:
        answer.set_xlim(0, longest * time.factor)
    else:
        answer.set_xscale("log")
        later = courses[0].time[courses[0].time > since] - since
        answer.set_xlim(later[0] * time.factor, (longest - since) * time.factor)

    labels = [mean_label(tree)] if alone else labels
    for point, drawn, text, colour in zip(shown, courses, labels, point_colours(tree, shown), strict=True):
        draw_source(source, sources[point], time, volts, RED if alone else colour, origin)
        draw_course(answer, (drawn.time - origin) * time.factor, drawn, value, colour, text, spread=alone)
    if not any(c.known for c in courses):
        remark(answer, "no intact realisation")
    dress(source, "", volts_label.removeprefix("voltage "))
    source.tick_params(labelbottom=False)
    source.margins(y=0.15)
    dress(answer, time_label + ("" if since is None else " after switch-on"), value_label)
    answer.margins(y=0.12)
    if not has_density(tree) and _decays([c.mean for c in courses]):
        answer.set_yscale("log")
    else:
        answer.set_ylim(bottom=0)
    remark(answer, "\n".join(text for text in (left_out, first_cycle(tree)) if text), "corner")
    if has_density(tree):
        mark_moments(answer, moments, (courses[0].time - origin) * time.factor, courses[0], value)
        draw_panels(figure, rows[2], tree, moments, span)
    title = "" if alone else f"{title}, {means_label(tree, shown)}, ± s.e.m."
    return Driven(figure, answer, courses[0], time, value, title)
