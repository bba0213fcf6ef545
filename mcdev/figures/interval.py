"""Value at each pulse against its number, one line a sweep point (Wang et al. 2017, Fig. 5b and its inset)."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcdev.figures.axes import means_label, measurement, point_colours, points, shown_points, sweep_title
from mcdev.figures.pulses import AtPulses, listed, measured
from mcdev.figures.references import diamond, references
from mcdev.figures.style import FRAME, GREY, dress, legend, legend_above, remark, sheet

NAME = "interval"


def applies(tree: xr.DataTree) -> bool:
    return tree["realisations"].sizes["point"] > 1 and bool(listed(tree))


def draw(tree: xr.DataTree) -> Figure:
    """One panel a measurement; the error bars are standard errors of the mean."""
    names = listed(tree)
    figure = sheet(0.5 + 1.9 * len(names))
    for name, axes in zip(names, np.ravel(figure.subplots(len(names), 1, sharex=True, squeeze=False)), strict=True):
        _draw(tree, name, axes)
        dress(axes, "pulse number" if name == names[-1] else "", axes.get_ylabel())
    legend_above(figure, figure.axes, _title(tree))
    return figure


def panels(tree: xr.DataTree) -> list[str]:
    """Measurements that have a panel."""
    return list(listed(tree))


def panel(tree: xr.DataTree, name: str, axes: Axes) -> None:
    """One of them, with its legend inside."""
    _draw(tree, name, axes)
    legend(axes, title=_title(tree))


def _title(tree: xr.DataTree) -> str:
    of = means_label(tree, shown_points(tree))
    return f"{sweep_title(tree)}, {of}{'' if of == 'one device' else ', ± s.e.m.'}"


def _draw(tree: xr.DataTree, name: str, axes: Axes) -> None:
    shown = shown_points(tree)
    lines = [measured(tree, name, point) for point in shown]
    factor, label = measurement(tree, name, np.concatenate([line.mean for line in lines]))
    for point, line, colour in zip(shown, lines, point_colours(tree, shown), strict=True):
        draw_line(axes, line, factor.factor, colour, points(tree)[1][point])
    for reference, value in references(tree, name):
        if reference.point - 1 in shown:
            diamond(axes, reference.entry or 1, value * factor.factor, reference)
    if not any(np.isfinite(line.mean).any() for line in lines):
        remark(axes, "no intact realisation")
    if any((line.mean < 0).any() for line in lines):
        axes.axhline(0.0, color=GREY, linewidth=FRAME, zorder=0)
    dress(axes, "pulse number", label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_line(axes: Axes, line: AtPulses, factor: float, colour: object, label: str) -> None:
    """Means joined by a line, with their standard errors."""
    axes.errorbar(
        line.number,
        line.mean * factor,
        line.sem * factor,
        fmt="o-",
        markersize=2.4,
        linewidth=0.9,
        elinewidth=0.7,
        capsize=1.2,
        color=colour,
        label=label,
    )
