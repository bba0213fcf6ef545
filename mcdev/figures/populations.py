"""Two results beside each other: of each measurement all observations, the devices, and the cycles of a device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy  # its parts are imported when they are first used
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcdev.configuration.display import counted
from mcdev.figures.axes import measurement
from mcdev.figures.saving import save
from mcdev.figures.style import BLUE, MEAN, ORANGE, SMALL, dress, legend_above, plain_ticks, remark, sheet
from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED
from mcdev.schema import file_names
from mcdev.schema.units import readable
from mcdev.statistics.censored import Sample
from mcdev.statistics.components import own_means
from mcdev.statistics.populations import Beside
from mcdev.statistics.readings import Reading
from mcdev.statistics.survival import kaplan_meier

_COLOURS = (BLUE, ORANGE)
_ROWS = 4
"""Sweep points in one picture."""


def draw(tree: xr.DataTree, found: Sequence[Beside], names: tuple[str, str]) -> Figure:
    """One measurement: a row a sweep point. Cumulative shares with pointwise 95 % bands, of all observations (what is
    censored as a bound), of the devices' means, and of the cycles about their device's mean; the last two of the
    uncensored and, where all values are positive, of logarithms. ``tree``: the results that say the units."""
    shown = list(found)[:_ROWS]
    several = any(r.values.shape[1] > 1 for beside in shown for r in beside.pair)
    figure = sheet(1.75 * len(shown) + 0.15)
    panels = figure.subplots(len(shown), 3 if several else 1, squeeze=False)
    values = np.concatenate([r.values[r.fine] for beside in shown for r in beside.pair])
    scale, label = measurement(tree, shown[0].pair.first.name, values)
    for beside, row in zip(shown, panels, strict=True):
        positive = all(r.positive or not r.fine.any() for r in beside.pair)
        for reading, name, colour in zip(beside.pair, names, _COLOURS, strict=True):
            _all(row[0], reading, scale.factor, name, colour)
            if several:
                means, deviations = _parts(reading, positive)
                back = np.exp(means) if positive else means
                _curve(row[1], back * scale.factor, colour, f"{name}: n = {means.size}")
                _curve(row[2], deviations, colour, f"{name}: n = {deviations.size}")
        where = ", ".join(f"{axis} {readable(value)}".replace("_", " ") for axis, value in beside.pair.point.items())
        p = beside.difference.p
        row[0].set_title(
            ", ".join(filter(None, [where, f"p = {p:.2g}" if np.isfinite(p) else ""])), fontsize=SMALL, loc="left"
        )
        dress(row[0], label, "cumulative share")
        if several:
            dress(row[1], f"{label}, D2D")
            dress(row[2], "ln(x / device), C2C" if positive else f"{label} less device's, C2C")
        for axes in row:
            axes.set_ylim(0, 1.02)
            _across(axes)
            if axes is not row[0]:
                axes.tick_params(labelleft=False)
    if several:
        for axes in panels[:, 1:].ravel():
            _counts(axes)
    legend_above(figure, panels[:, 0].tolist())
    return figure


def draw_beside(
    tree: xr.DataTree, found: Sequence[Beside], names: tuple[str, str], folder: Path, form: str = "png"
) -> list[Path]:
    """Write a picture a measurement into a folder, which is made if need be."""
    labels = list(dict.fromkeys(beside.pair.label for beside in found))
    files = file_names(labels)
    return [
        save(draw(tree, [b for b in found if b.pair.label == label], names), folder, files[label], form)
        for label in labels
    ]


def _all(axes: Axes, reading: Reading, factor: float, name: str, colour: str) -> None:
    known = np.isfinite(reading.values) & np.isin(reading.status, (OK, RIGHT_CENSORED, LEFT_CENSORED))
    device, _ = np.nonzero(known)
    words = f"{name}: {counted(device.size, 'value')} of {counted(np.unique(device).size, 'device')}"
    words += f", {reading.right} right-censored" if reading.right else ""
    words += f", {reading.left} left-censored" if reading.left else ""
    words = words.replace(", ", "\n", 1) if len(words) > 55 else words  # as wide as one column of a journal
    clustered = bool(np.unique(device).size < device.size)
    data = Sample(reading.values[known], reading.status[known], device, clustered)
    curve = kaplan_meier(data) if device.size else None
    if curve is None:
        axes.plot([], [], color=colour, label=f"{words}: none uncensored")
        return
    end = max(curve.at[-1], curve.censored_at[-1] if curve.censored_at.size else -np.inf)
    x = np.concatenate([curve.at, [end]]) * factor
    share, low, high = (np.append(ends, ends[-1:]) for ends in (1 - curve.share, 1 - curve.high, 1 - curve.low))
    axes.fill_between(x, low, high, step="post", color=colour, alpha=0.18, linewidth=0)
    _steps(axes, x, share, colour, words)


def _steps(axes: Axes, x: np.ndarray, share: np.ndarray, colour: str, label: str) -> None:
    axes.step(np.append(x[:1], x), np.append(0.0, share), where="post", color=colour, linewidth=MEAN, label=label)


def _curve(axes: Axes, values: np.ndarray, colour: str, label: str) -> None:
    """Share that lies below, with the exact binomial band (Clopper and Pearson 1934)."""
    if not values.size:
        axes.plot([], [], color=colour, label=label)
        return
    x, n = np.sort(values), values.size
    k = np.arange(1, n + 1)
    low = scipy.stats.beta.ppf(0.025, k, n - k + 1)
    high = np.append(scipy.stats.beta.ppf(0.975, k[:-1] + 1, n - k[:-1]), 1.0)
    axes.fill_between(x, low, high, step="post", color=colour, alpha=0.18, linewidth=0)
    _steps(axes, x, k / n, colour, label)


def _parts(reading: Reading, positive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Means of the devices, and deviations of the cycles from them where there are two at least, flat; of ln x where
    all values are positive. A deviation is widened by sqrt(n/(n - 1)), so that its spread is that of cycles."""
    fine = reading.fine
    x = np.log(np.where(fine, reading.values, 1.0)) if positive else np.where(fine, reading.values, 0.0)
    count = fine.sum(axis=1)
    means = own_means(x, fine)
    wide = np.sqrt(count / np.maximum(count - 1, 1))
    deviations = (x - means[:, None]) * wide[:, None]
    return means[count > 0], deviations[fine & (count > 1)[:, None]]


def _across(axes: Axes) -> None:
    lines = [np.asarray(line.get_xdata(), float) for line in axes.get_lines()]
    x = np.concatenate(lines) if lines else np.empty(0)
    x = x[np.isfinite(x)]
    if x.size and x.min() > 0 and x.max() > 10 * x.min():
        axes.set_xscale("log")
        plain_ticks(axes.xaxis)
    elif not x.size:
        remark(axes, "no uncensored value")


def _counts(axes: Axes) -> None:
    """How many values each curve is of, at the foot of its panel."""
    for place, line in enumerate(axes.get_lines()):
        text = str(line.get_label())
        y = 0.04 + 0.09 * (len(axes.get_lines()) - 1 - place)
        look: dict[str, Any] = {"fontsize": SMALL, "ha": "right", "transform": axes.transAxes}
        axes.text(0.98, y, text.rpartition(": ")[2], color=line.get_color(), **look)
