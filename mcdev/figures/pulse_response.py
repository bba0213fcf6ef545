"""Conductance under one pulse and after it, with the density at four moments (Wang et al. 2017, Figs 3a and 4a)."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from mcdev.figures.axes import protocol_kind
from mcdev.figures.courses import Course, course, window
from mcdev.figures.density_panels import Moment
from mcdev.figures.driven import draw_driven
from mcdev.figures.style import legend_above

NAME = "pulse_response"

_DECADES = 30
"""A protocol this many times longer than its pulse is drawn against the logarithm of time."""


def applies(tree: xr.DataTree) -> bool:
    return protocol_kind(tree) == "pulse"


def draw(tree: xr.DataTree) -> Figure:
    """Source and mean conductance of every sweep point above; below, the density of the first point."""
    first = course(tree, "conductance")
    begin, end = _pulse(tree, first)
    logarithmic = first.edges[-1] - begin > _DECADES * (end - begin)
    since = begin if logarithmic else None
    driven = draw_driven(tree, _moments(tree, first, logarithmic), 0.1 * (end - begin), since)
    legend_above(driven.figure, [driven.answer], driven.title)
    return driven.figure


def _pulse(tree: xr.DataTree, drawn: Course) -> tuple[float, float]:
    """When the pulse begins and ends, in seconds."""
    first, last = window(tree, "pulse")[0]
    return float(drawn.edges[first]), float(drawn.edges[last])


def _moments(tree: xr.DataTree, drawn: Course, logarithmic: bool) -> list[Moment]:
    """At rest, where the mean is half-way to its peak, a tenth of the pulse after switch-off, and at the end. On a
    logarithmic axis of time, where the third would lie on the second, it is where the mean has fallen to half instead.
    Each sample once."""
    first, last = window(tree, "pulse")[0]
    begin, end = _pulse(tree, drawn)
    during = drawn.mean[first:last]
    switching = (first + last) // 2
    if drawn.known:
        switching = first + int(np.argmax(during >= 0.5 * (during[0] + during.max())))
    shortly = min(int(np.searchsorted(drawn.time, end + 0.1 * (end - begin))), drawn.time.size - 1)
    if logarithmic and drawn.known and (fallen := drawn.mean[last:] <= 0.5 * drawn.mean[last - 1]).any():
        shortly = last + int(np.argmax(fallen))
    samples = [max(int(first) - 1, 0), switching, shortly, drawn.time.size - 1]
    return [Moment(f"a{number}", int(sample)) for number, sample in enumerate(dict.fromkeys(samples), start=1)]
