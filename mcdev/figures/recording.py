"""A measured file: voltage and current in time, current against voltage, or a spectrum in the plane of impedance."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from mcdev.figures.style import GREY, RED, SINGLE, colours, dress, remark, sheet
from mcdev.measured import Quantity, Recording

_MOST = 12
"""Cycles that are drawn, the first ones."""
_PAIRS: tuple[tuple[Quantity, Quantity], ...] = (("time", "voltage"), ("time", "current"), ("voltage", "current"))
_LABELS: dict[Quantity, tuple[str, str]] = {
    "time": ("time", "s"),
    "voltage": ("voltage", "V"),
    "current": ("current", "A"),
}


def draw(recording: Recording) -> Figure:
    """One panel for each pair of quantities that there is. A ceiling is a line, and what is at it is red."""
    if "frequency" in recording.values:
        return _spectrum(recording)
    there = recording.values
    pairs = [pair for pair in _PAIRS if set(pair) <= set(there)]
    figure = sheet(1.4 * len(pairs) + 0.4)
    shown = recording.cycles[:_MOST]
    for axes, (x, y) in zip(figure.subplots(len(pairs), 1, squeeze=False)[:, 0], pairs, strict=True):
        for cycle, colour in zip(shown, colours(len(shown)), strict=True):
            axes.plot(there[x][cycle], there[y][cycle], color=colour, linewidth=2 * SINGLE, marker=".", markersize=1.5)
        if y == "current":
            for limit in recording.ceilings:
                axes.axhline(limit.level, color=GREY, linewidth=SINGLE, linestyle="--")
                axes.plot(there[x][limit.rows], there[y][limit.rows], ".", color=RED, markersize=2.5)
        dress(axes, *_LABELS[x][:1], _LABELS[y][0])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(EngFormatter(_LABELS[x][1]))
        axes.yaxis.set_major_formatter(EngFormatter(_LABELS[y][1]))
        axes.margins(y=0.12)
    if len(recording.cycles) > _MOST:
        remark(figure.axes[0], f"the first {_MOST} of {len(recording.cycles)} cycles", "corner")
    return figure


def _spectrum(recording: Recording) -> Figure:
    figure = sheet(2.8)
    axes = figure.subplots()
    for cycle, colour in zip(recording.cycles[:_MOST], colours(min(len(recording.cycles), _MOST)), strict=True):
        real, imaginary = recording.values["resistance"][cycle], recording.values["reactance"][cycle]
        axes.plot(real, -imaginary, color=colour, linewidth=2 * SINGLE, marker=".", markersize=3)
    frequency = recording.values["frequency"]
    low, high = np.min(frequency), np.max(frequency)
    dress(axes, "Re Z", "-Im Z")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(EngFormatter("Ω"))
    axes.set_aspect("equal", adjustable="datalim")
    remark(axes, f"{EngFormatter('Hz')(low)} to {EngFormatter('Hz')(high)}", "corner")
    return figure
