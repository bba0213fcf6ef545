"""Conductance under a train of pulses, with the density at six moments (Wang et al. 2017, Fig. 4b)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcdev.figures import paired_pulse
from mcdev.figures.axes import Scale, measurement, protocol_kind
from mcdev.figures.courses import course, window
from mcdev.figures.density_panels import Moment
from mcdev.figures.driven import Driven, draw_driven
from mcdev.figures.pulses import AtPulses, conductance_at, full_scale, last_quarters
from mcdev.figures.references import diamond, references
from mcdev.figures.style import BLUE, GREEN, TEXT, dress, legend_above

NAME = "train_response"

_PANELS = 6


def applies(tree: xr.DataTree) -> bool:
    return protocol_kind(tree) == "pulse_train" and not paired_pulse.applies(tree)


def draw(tree: xr.DataTree) -> Figure:
    """Source, mean conductance and conductance at each pulse above; below, the density of the first point."""
    values, common = conductance_at(tree, 0), full_scale(tree)
    own = None
    if values.unit == "1" and common is not None:  # one axis for the course and the relative values at the pulses
        own = Scale(1.0 / common, ""), f"conductance {measurement(tree, values.name, values.mean)[1]}"
    first, last = window(tree, "pulse")[0]
    edges = course(tree, "voltage").edges
    driven = draw_driven(tree, _moments(tree), float(edges[last] - edges[first]), own_value=own)
    panels = [driven.answer]
    if not driven.title:
        panels += _draw_pulses(tree, driven, values, own_axis=values.unit == "1" and common is None)
    legend_above(driven.figure, panels, driven.title)
    return driven.figure


def _draw_pulses(tree: xr.DataTree, driven: Driven, values: AtPulses, own_axis: bool) -> list[Axes]:
    """Mean over the last quarter of each pulse with its standard error, at the middle of that quarter; and what is
    published of it. Relative values of devices that differ in G_max need an axis of their own, on the right, which
    is returned."""
    edges = driven.first.edges
    middle = np.array([0.5 * (edges[q.start] + edges[q.stop]) for q in last_quarters(tree)]) * driven.time.factor
    axes, factor, colour = driven.answer, driven.value.factor if values.unit == "S" else 1.0, BLUE
    if own_axis:
        axes, colour = driven.answer.twinx(), GREEN
        dress(axes)
        axes.set_ylabel(measurement(tree, values.name, values.mean)[1], fontsize=TEXT, color=GREEN)
        driven.answer.tick_params(right=False)
    look: dict[str, Any] = {"fmt": "s", "markersize": 2.2, "markeredgewidth": 0, "linewidth": 0.7, "color": colour}
    axes.errorbar(middle, values.mean * factor, values.sem * factor, label="at pulse, ± s.e.m.", **look)
    for reference, published in references(tree, values.name) if values.name else []:
        entry = (reference.entry or 1) - 1
        if reference.point == 1 and entry < middle.size:
            diamond(axes, middle[entry], published * factor, reference)
    axes.set_ylim(bottom=0)
    return [axes] if own_axis else []


def _moments(tree: xr.DataTree) -> list[Moment]:
    """Before the train, and at the end of pulses spread evenly over it."""
    ends = window(tree, "pulse")[:, 1] - 1
    spread = np.linspace(0, ends.size, _PANELS)[1:]
    chosen = np.unique(np.maximum(np.round(spread).astype(int), 1)) - 1
    return [Moment(f"b{number}", int(sample)) for number, sample in enumerate([0, *ends[chosen]], start=1)]
