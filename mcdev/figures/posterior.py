"""Pictures of a posterior, from a calibration's results alone: draws, what they predict, how far they are right."""

from __future__ import annotations

import numpy as np
import scipy  # its parts are imported when they are first used
import xarray as xr
from matplotlib.figure import Figure

from mcdev.figures.lines import in_lines
from mcdev.figures.style import (
    BLACK,
    BLUE,
    COLUMN,
    FRAME,
    GREY,
    MEAN,
    RED,
    SMALL,
    colours,
    dress,
    legend_above,
    plain_ticks,
    remark,
    sheet,
)

_MOST = 8
"""Parameters in a corner; of more the first ones."""
_BINS = 20


def corner(tree: xr.DataTree) -> Figure:
    """Draws of every pair of parameters, and of each alone with its 95 % interval, over the range between the bounds or
    of the draws."""
    data, table = tree["posterior"].dataset, tree["parameters"].dataset
    draws = data["draws"].values[:, :_MOST]
    count = draws.shape[1]
    size = COLUMN * max(1.0, count / 2.5)
    figure = Figure(figsize=(size, size), layout="constrained")
    panels = figure.subplots(count, count, sharex="col", squeeze=False)
    logarithmic = (draws > 0).all(axis=0) & (draws.max(axis=0) > 3 * np.abs(draws.min(axis=0)))
    some = slice(None, None, max(1, len(draws) // 1000))
    names = [
        f"{name}{'' if unit == '1' else f' ({unit})'}"
        for name, unit in zip(data["parameter"].values, table["unit"].values, strict=True)
    ][:count]
    for i in range(count):
        for j in range(count):
            axes = panels[i, j]
            if j > i:
                axes.set_axis_off()
                continue
            low, high = _range(draws[:, j], bool(logarithmic[j]))
            if logarithmic[j]:
                axes.set_xscale("log")
            axes.set_xlim(low, high)
            if i == j:
                edges = np.geomspace(low, high, 31) if logarithmic[j] else np.linspace(low, high, 31)
                axes.hist(draws[:, j], edges, color=BLUE, alpha=0.35)
                for share in (0.025, 0.5, 0.975):
                    axes.axvline(
                        np.quantile(draws[:, j], share), color=BLACK, lw=FRAME, ls="-" if share == 0.5 else ":"
                    )
                axes.set_yticks([])
            else:
                if logarithmic[i]:
                    axes.set_yscale("log")
                axes.set_ylim(*_range(draws[:, i], bool(logarithmic[i])))
                axes.plot(draws[some, j], draws[some, i], ".", ms=1, color=BLUE, alpha=0.35, rasterized=True)
            dress(axes, names[j] if i == count - 1 else "", names[i] if j == 0 and i > 0 else "")
            axes.xaxis.label.set_fontsize(SMALL)
            axes.yaxis.label.set_fontsize(SMALL)
            for axis, wide in ((axes.xaxis, logarithmic[j]), (axes.yaxis, logarithmic[i] and i != j)):
                if wide:
                    plain_ticks(axis, (1, 3))
            if j > 0 and i != j:
                axes.set_yticklabels([], minor=False)
                axes.set_yticklabels([], minor=True)
    return figure


def _range(x: np.ndarray, logarithmic: bool) -> tuple[float, float]:
    """All but a few draws, with a margin."""
    low, high = np.quantile(x, [0.002, 0.998])
    if logarithmic:
        margin = max(float(np.log(high / low)) * 0.1, 0.01)
        return float(low * np.exp(-margin)), float(high * np.exp(margin))
    margin = 0.1 * float(high - low) or 0.01 * max(abs(float(high)), 1e-12)
    return float(low - margin), float(high + margin)


def predicted(tree: xr.DataTree) -> Figure:
    """What the posterior predicts for each target, and what was reported: histograms of the draws. A bound has an
    arrow."""
    data = tree["predicted"].dataset
    count = data.sizes["target"]
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(COLUMN * (1 if columns < 3 else 1.4), 0.3 + 1.1 * rows), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in panels[count:]:
        axes.set_axis_off()
    for j, axes in enumerate(panels[:count]):
        value, status = data["value"].values[:, j], int(data["status"].values[j])
        x, reported, unit = value[np.isfinite(value)], float(data["reported"].values[j]), str(data["unit"].values[j])
        if x.size:
            low, high = np.quantile(x, [0.005, 0.995])
            axes.hist(np.clip(x, low, high), _BINS, color=BLUE, alpha=0.35)
        else:
            remark(axes, "nothing is predicted")
        if np.isfinite(reported):
            axes.axvline(reported, color=RED, lw=MEAN)
            if status in (1, 2):
                axes.plot(reported, 0.85 * axes.get_ylim()[1], ">" if status == 1 else "<", ms=4, color=RED)
        dress(axes, "" if unit == "1" else unit, "")
        axes.set_yticks([])
        bound = {1: "reported: above", 2: "reported: below", 3: "reported: undefined"}.get(status, "")
        others = np.mean(data["predicted_status"].values[:, j] != 0)
        notes = [str(data["target"].values[j]), bound, f"{100 * others:.2g} % no numbers" if others else ""]
        words = [in_lines(note, 26) for note in notes if note]  # a panel is narrow
        axes.set_title("\n".join(words), fontsize=SMALL, pad=2)
    return figure


def course(tree: xr.DataTree, name: str) -> Figure:
    """Predicted current over time, each draw another device: median, the middle half and 95 %."""
    data = tree[name].dataset
    figure = sheet(2.0)
    axes = figure.subplots()
    time, current = data["time"].values, data["current"].values
    top = float(np.nanmax(np.abs(current))) if np.isfinite(current).any() else 1.0
    scale, prefix = next(
        ((s, p) for s, p in ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")) if top >= s), (1e-9, "n")
    )
    wide, half, middle = (current[[0, 4]], current[[1, 3]], current[2])
    axes.fill_between(time, *(wide / scale), color=BLUE, alpha=0.15, lw=0, label="95 %")
    axes.fill_between(time, *(half / scale), color=BLUE, alpha=0.35, lw=0, label="50 %")
    axes.plot(time, middle / scale, color=BLACK, lw=MEAN, label="median")
    dress(axes, "time (s)", f"predicted current ({prefix}A)")
    legend_above(figure, [axes], str(data.attrs["title"]))
    return figure


def checks(tree: xr.DataTree) -> Figure:
    """Left: ranks of simulated truths less the share that uniform ones would have, with the band that holds uniform
    ones in 99 % of cases. Right: share of the truths that a region holds, against its level, with the same band."""
    data = tree["checks"].dataset
    figure = Figure(figsize=(COLUMN, 1.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    ranks = data["ranks"].values
    count = ranks.shape[0]
    share = np.linspace(0, 1, 101)
    band = float(scipy.stats.kstwo.ppf(0.99, count))
    left.axhspan(-band, band, color=GREY, alpha=0.2, lw=0)
    for column, name, colour in zip(ranks.T, data["parameter"].values, colours(max(ranks.shape[1], 2)), strict=False):
        below = np.searchsorted(np.sort(column), share, side="right") / count
        left.plot(share, below - share, color=colour, lw=MEAN, label=str(name))
    left.set_ylim(-max(0.15, 1.3 * band), max(0.15, 1.3 * band))
    dress(left, "rank of the truth", "share below, minus rank")
    level, covered = data["level"].values, data["covered"].values
    ends = scipy.stats.binom.ppf([[0.005], [0.995]], count, level) / count
    right.fill_between(level, *ends, color=GREY, alpha=0.2, lw=0)
    right.plot([0, 1], [0, 1], color=GREY, lw=FRAME)
    right.plot(level, covered, "o-", ms=2, color=BLACK, lw=MEAN)
    dress(right, "level of the region", "share of truths inside")
    if ranks.shape[1] <= _MOST:
        legend_above(figure, [left])
    return figure
