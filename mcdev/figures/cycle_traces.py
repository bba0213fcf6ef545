"""From cycle to cycle: a few devices by themselves, and what all do together."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcdev.figures.spread import LEAST_CYCLES, LEAST_DEVICES, Shown, shown, some_of
from mcdev.figures.style import BLACK, BLUE, GREY, MEAN, SMALL, dress, legend_above, plain_ticks, sheet
from mcdev.measurements.contract import RIGHT_CENSORED
from mcdev.results.fits_along_axes import in_order
from mcdev.statistics.autocorrelation import Autocorrelation, autocorrelation
from mcdev.statistics.readings import Reading

NAME = "cycle_traces"

_DEVICES = 8
_POINTS = 500
"""Cycles of one device that are drawn, evenly spread."""
_BLOCKS = 100
"""Groups of neighbouring cycles whose quartiles are drawn; up to as many cycles each is its own."""


def applies(tree: xr.DataTree) -> bool:
    least = (
        LEAST_CYCLES if tree["realisations"].sizes["device"] > 1 else LEAST_DEVICES
    )  # so many values make a distribution
    return bool(tree["realisations"].sizes["cycle"] >= least) and bool(_rows(tree))


def draw(tree: xr.DataTree) -> Figure:
    """A row a measurement, at its first sweep point with values. Left: up to eight devices, and the median of all with
    the quartiles, of many cycles over neighbouring ones; an open triangle is a right-censored observation, at its
    bound. Right: autocorrelation over cycles, pooled over devices, with the band of white noise."""
    rows = _rows(tree)
    figure = sheet(1.7 * len(rows) + 0.1)
    panels = figure.subplots(len(rows), 2, squeeze=False, width_ratios=(2, 1))
    for number, ((row, reading, memory), (left, right)) in enumerate(zip(rows, panels, strict=True)):
        factor, cycles = row.scale.factor, np.arange(reading.values.shape[1]) + 1
        line = np.where(reading.fine, reading.values, np.nan) * factor
        blocks = np.array_split(np.arange(cycles.size), min(cycles.size, _BLOCKS))
        q = _quartiles(reading, blocks) * factor
        middles = [block.mean() + 1 for block in blocks]
        left.fill_between(middles, q[0], q[2], color=BLUE, alpha=0.18, linewidth=0, label="quartiles of all")
        which = np.nonzero(reading.fine.any(axis=1))[0][:_DEVICES]
        for device in which:
            some = slice(None, None, -(-cycles.size // _POINTS))
            left.plot(cycles[some], line[device, some], ".-", color=GREY, linewidth=0.45, markersize=2, label="_device")
            late = np.nonzero(reading.status[device] == RIGHT_CENSORED)[0][some]
            bounds = reading.values[device, late] * factor
            left.plot(cycles[late], bounds, "^", color=GREY, markersize=2.5, markerfacecolor="none", label="_bound")
        words = some_of(which.size, len(reading.values))
        left.plot([], [], ".-", color=GREY, linewidth=0.45, markersize=2, label=words)
        left.plot(middles, q[1], color=BLUE, linewidth=MEAN, label="median of all")
        if reading.positive and np.nanmax(line) > 10 * np.nanmin(line):
            left.set_yscale("log")
            plain_ticks(left.yaxis)
        left.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        last = number == len(rows) - 1
        dress(left, "cycle" if last else "", row.label)
        if memory is None:
            right.set_axis_off()
        else:
            right.fill_between(memory.lags, -memory.band, memory.band, color=GREY, alpha=0.2, linewidth=0)
            right.axhline(0, color=BLACK, linewidth=0.5)
            right.plot(memory.lags, memory.values, "o-", color=BLUE, markersize=2.5, linewidth=0.7)
            right.set_ylim(min(-0.5, memory.values.min() - 0.1), 1.0)
            right.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            dress(right, "lag (cycles)" if last else "", "autocorrelation")
        left.set_title(row.at(reading), fontsize=SMALL, pad=6)
    legend_above(figure, [panels[0, 0]])
    return figure


def _quartiles(reading: Reading, blocks: list[np.ndarray]) -> np.ndarray:
    """[quartile, block of cycles] over devices, censored observations counted; NaN where a quartile is among them."""
    found = np.full((3, len(blocks)), np.nan)
    for i, block in enumerate(blocks):
        line = in_order(reading.values[:, block], reading.status[:, block])
        if line.size:
            found[:, i] = np.quantile(line, [0.25, 0.5, 0.75], method="closest_observation")
    return np.where(np.isfinite(found), found, np.nan)


def _rows(tree: xr.DataTree) -> list[tuple[Shown, Reading, Autocorrelation | None]]:
    found = []
    for row in shown(tree):
        for reading in row.readings:
            if reading.fine.sum() > 0.2 * reading.fine.size and np.ptp(reading.values[reading.fine]) > 0:
                found.append((row, reading, autocorrelation(reading.even, reading.fine)))
                break
    return found
