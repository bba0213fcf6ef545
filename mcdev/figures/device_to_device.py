"""Device to device against cycle to cycle: every device's mean with its own spread, and both spreads beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcdev.figures.spread import Shown, many_cycles, shown
from mcdev.figures.style import BLUE, GREY, ORANGE, RED, SMALL, dress, legend_above, plain_ticks, sheet
from mcdev.statistics.components import Components, Estimate, variance_components
from mcdev.statistics.readings import Reading
from mcdev.statistics.summary import log_components

NAME = "device_to_device"

_SHOWN = 150


def applies(tree: xr.DataTree) -> bool:
    return many_cycles(tree) and bool(_rows(tree))


def draw(tree: xr.DataTree) -> Figure:
    """A row a measurement, at its first sweep point with several values a device. Left: means of the devices, sorted,
    with the standard deviation of their cycles, both of the uncensored; the shaded band is the standard deviation
    between devices. Right: both standard deviations and the total, with 95 % intervals; of ln x where all values are
    positive, with the censored ones as bounds."""
    rows = _rows(tree)
    figure = sheet(1.75 * len(rows) + 0.1)
    panels = figure.subplots(len(rows), 2, squeeze=False, width_ratios=(2.2, 1))
    for (row, reading, found), (left, right) in zip(rows, panels, strict=True):
        _devices(left, row, reading, found)
        _components(right, row, reading, found)
    legend_above(figure, [panels[0, 0]])
    return figure


def _rows(tree: xr.DataTree) -> list[tuple[Shown, Reading, Components]]:
    rows = []
    for row in shown(tree):
        for reading in row.readings:
            found = log_components(reading) if reading.positive else variance_components(reading.even, reading.fine)
            if np.isfinite(found.between.value) and found.total.value > 0:
                rows.append((row, reading, found))
                break
    return rows


def _devices(axes: Axes, row: Shown, reading: Reading, found: Components) -> None:
    use = reading.fine.sum(axis=1) > 1
    x, fine, factor = reading.even[use], reading.fine[use], row.scale.factor
    count = fine.sum(axis=1)
    means = np.where(fine, x, 0.0).sum(axis=1) / count
    spread = np.sqrt(np.where(fine, (x - means[:, None]) ** 2, 0.0).sum(axis=1) / (count - 1))
    order = np.argsort(means)
    order = order[np.unique(np.linspace(0, order.size - 1, min(order.size, _SHOWN)).round().astype(int))]
    place = np.arange(order.size) + 1

    def back(values: np.ndarray) -> np.ndarray:
        return (np.exp(values) if reading.positive else values) * factor

    middle = back(means[order])
    ends = np.stack([middle - back(means[order] - spread[order]), back(means[order] + spread[order]) - middle])
    centre = float(means.mean())
    low, high = back(np.array([centre - found.between.value, centre + found.between.value]))
    axes.axhspan(low, high, color=BLUE, alpha=0.15, linewidth=0, label="s.d. between devices")
    axes.axhline(float(back(np.array(centre))), color=BLUE, linewidth=0.7)
    look: dict[str, Any] = {"markersize": 1.6, "elinewidth": 0.6, "markeredgewidth": 0}
    label = "mean of a device, bar: s.d. of its cycles"
    axes.errorbar(place, middle, ends, fmt="o", color=GREY, ecolor=ORANGE, label=label, **look)
    if reading.positive and middle.max() > 5 * middle.min():
        axes.set_yscale("log")
        plain_ticks(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    shown_of = "" if order.size == use.size else f", {order.size} of {use.size}"
    dress(axes, f"devices, sorted{shown_of}", row.label)
    axes.set_xlim(0.4, order.size + 0.6)
    bounds = reading.right + reading.left
    left_out = f"left out: {bounds} of {reading.values.size} censored" if bounds else ""
    axes.set_title("\n".join(filter(None, [row.at(reading), left_out])), fontsize=SMALL, pad=6)


def _components(axes: Axes, row: Shown, reading: Reading, found: Components) -> None:
    factor = 1.0 if reading.positive else row.scale.factor
    parts: list[tuple[str, Estimate, str]] = [("D2D", found.between, BLUE), ("C2C", found.within, ORANGE)]
    parts.append(("total", found.total, RED))
    for i, (_, one, colour) in enumerate(parts):
        estimate = Estimate(*(factor * number for number in one))
        ends = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
        axes.bar(i, estimate.value, color=colour, alpha=0.35, width=0.7)
        axes.errorbar(i, estimate.value, np.maximum(ends, 0), fmt="none", ecolor=colour, elinewidth=1.0, capsize=2)
    axes.set_xticks(range(len(parts)), [name for name, _, _ in parts])
    axes.set_ylim(bottom=0)
    dress(axes, "", r"$\sigma_\mathrm{ln}$" if reading.positive else row.scale.named("standard deviation"))
