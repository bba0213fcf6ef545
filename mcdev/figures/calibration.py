"""Pictures of a calibration, from its results alone: pulls, history, correlation, profiles, curves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcdev.figures import posterior
from mcdev.figures.style import (
    BLACK,
    BLUE,
    COLUMN,
    FRAME,
    GREY,
    MEAN,
    RED,
    SINGLE,
    SMALL,
    TEXT,
    WHITE,
    colours,
    dress,
    key,
    plain_ticks,
    sheet,
)

_WRITTEN = 8
"""Most parameters whose correlations are written into their squares."""


def pictures(tree: xr.DataTree) -> Iterator[tuple[str, Figure]]:
    """(name, picture) of everything that applies."""
    if tree["targets"].sizes["target"]:
        yield "pulls", pulls(tree)
    if "history" in tree.children:
        yield "history", history(tree)
    yield "parameters", parameters(tree)
    if tree["parameters"].sizes["parameter"] > 1:  # of one there is nothing to correlate
        yield "correlation", correlation(tree)
    for name in tree.children:
        if str(name).startswith("profile_"):
            yield str(name), profile(tree, str(name))
        if str(name).startswith("curve_"):
            yield str(name), curve(tree, str(name))
        if str(name).startswith("course_"):
            yield str(name), posterior.course(tree, str(name))
    if "posterior" in tree.children:
        yield "corner", posterior.corner(tree)
    if "predicted" in tree.children:
        yield "predicted", posterior.predicted(tree)
    if "checks" in tree.children:
        yield "checks", posterior.checks(tree)


def pulls(tree: xr.DataTree) -> Figure:
    """(simulated - reported)/uncertainty of each target; a band of one and two standard deviations."""
    data = tree["targets"].dataset
    count = data.sizes["target"]
    figure = sheet(0.55 + 0.14 * count)
    axes = figure.subplots()
    place = np.arange(count)[::-1]
    for width, shade in ((2, 0.12), (1, 0.2)):
        axes.axvspan(-width, width, color=BLUE, alpha=shade, lw=0)
    fitted = data["weight"].values > 0
    pull = data["pull"].values
    spread = np.abs(data["simulated_error"].values / data["uncertainty"].values)
    for which, colour, label in ((fitted, BLACK, "fitted"), (~fitted, RED, "shown, not fitted")):
        if which.any():
            axes.errorbar(
                pull[which], place[which], xerr=spread[which], fmt="o", ms=2.5, color=colour, lw=FRAME, label=label
            )
    axes.axvline(0, color=GREY, lw=FRAME)
    reach = max(2.4, 1.15 * float(np.nanmax(np.abs(pull[np.isfinite(pull)]), initial=0.0)))
    axes.set_xlim(-reach, reach)
    axes.set_yticks(place, [str(t) for t in data["target"].values], fontsize=SMALL - 1)
    dress(axes, "pull, (simulated − reported)/uncertainty")
    axes.tick_params(axis="y", labelsize=SMALL - 1)
    if not fitted.all():
        handles, labels = axes.get_legend_handles_labels()
        key(axes, handles, labels)
    return figure


def history(tree: xr.DataTree) -> Figure:
    """The loss of each start against the step; a stage begins at each triangle."""
    data = tree["history"].dataset
    figure = sheet(2.2)
    axes = figure.subplots()
    number = data["start"].values.astype(int)
    count = number.max() + 1
    for start, colour in zip(range(count), colours(max(count, 2)), strict=False):
        own = np.flatnonzero((number == start) & (data["taken"].values == 1))
        loss = np.maximum(data["loss"].values[own], 1e-12)
        axes.plot(np.arange(own.size), loss, color=colour, lw=MEAN, label=f"{start + 1}")
        stage = data["stage"].values[own]
        begun = np.flatnonzero(np.diff(stage, prepend=-1) != 0)
        axes.plot(begun, loss[begun], "^", color=colour, ms=3)
    axes.set_yscale("log")
    dress(axes, "accepted step", "loss, Σ pull²")
    handles, labels = axes.get_legend_handles_labels()
    key(axes, handles, labels, title="start", columns=1 + count // 6)
    return figure


def parameters(tree: xr.DataTree) -> Figure:
    """Fitted value and 95 % interval of each parameter relative to the fitted value, on a scale of factors."""
    data = tree["parameters"].dataset
    count = data.sizes["parameter"]
    figure = sheet(max(0.6 + 0.14 * count, 1.0))
    axes = figure.subplots()
    axes.set_ylim(-0.7, count - 0.3)
    place = np.arange(count)[::-1]
    value, low, high = (data[name].values for name in ("value", "low", "high"))
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = low / value, high / value
        swapped = value < 0
        left, right = np.where(swapped, right, left), np.where(swapped, left, right)
    for i in range(count):
        fine = data["determined"].values[i] == 1
        ends = np.clip([left[i], right[i]], 0.1, 10.0) if np.isfinite(left[i]) else [0.1, 10.0]
        axes.plot(ends, [place[i]] * 2, color=BLACK if fine else RED, lw=MEAN)
        axes.plot(1.0, place[i], "o", ms=2.5, color=BLACK if fine else RED)
    begun = tree["starts"].dataset["begin"].values / value if "starts" in tree.children else np.empty((0, count))
    for start in begun:
        axes.plot(np.clip(start, 0.1, 10.0), place, "|", ms=3, color=GREY, lw=SINGLE)
    with np.errstate(invalid="ignore", divide="ignore"):
        factors = np.abs(np.log(np.concatenate([left, right, np.ravel(begun)])))
    far = np.max(factors, where=np.isfinite(factors), initial=0.0) if np.isfinite(factors).all() else np.inf
    reach = float(np.exp(np.clip(1.15 * far, 0.1, np.log(10.0))))
    axes.set_xscale("log")
    axes.set_xlim(1 / reach, reach)
    plain_ticks(axes.xaxis)
    unit = data["unit"].values
    labels = [
        f"{p}  {v:.3g}{'' if u == '1' else ' ' + u}"
        for p, v, u in zip(data["parameter"].values, value, unit, strict=True)
    ]
    axes.set_yticks(place, labels, fontsize=SMALL - 1)
    dress(axes, "95 % interval/value (grey: starts, red: weak)")
    axes.tick_params(axis="y", labelsize=SMALL - 1)
    axes.xaxis.label.set_fontsize(SMALL)
    return figure


def correlation(tree: xr.DataTree) -> Figure:
    """Correlation of the natural coordinates, and the singular values."""
    data = tree["parameters"].dataset
    count = data.sizes["parameter"]
    size = COLUMN + 0.1 * max(count - 8, 0)
    figure = Figure(figsize=(size, size + 1.1), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[size, 1.1])
    shown = upper.imshow(data["correlation"].values, cmap="RdBu_r", vmin=-1, vmax=1)
    labels = [str(p) for p in data["parameter"].values]
    if count <= _WRITTEN:
        for (i, j), r in np.ndenumerate(data["correlation"].values):
            pale = WHITE if abs(r) > 0.6 else BLACK
            upper.text(j, i, f"{r:.2f}", ha="center", va="center", fontsize=SMALL, color=pale)
    upper.set_xticks(range(count), labels, rotation=90, fontsize=SMALL - 1)
    upper.set_yticks(range(count), labels, fontsize=SMALL - 1)
    bar = figure.colorbar(shown, ax=upper, shrink=0.7)
    bar.set_label("correlation", fontsize=TEXT)
    bar.ax.tick_params(labelsize=SMALL)
    singular = np.maximum(data["singular_value"].values, 1e-6)
    lower.semilogy(np.arange(1, count + 1), singular, "o", ms=3, color=BLACK)
    lower.axhline(1 / np.log(2), color=RED, lw=FRAME)
    lower.set_xlim(0.5, count + 0.5)
    plain_ticks(lower.yaxis)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    dress(lower, "direction (red: a factor of two)", "singular value")
    return figure


def profile(tree: xr.DataTree, name: str) -> Figure:
    """Least χ² against one parameter, with the level of the 95 % interval."""
    data = tree[name].dataset
    figure = sheet(2.0)
    axes = figure.subplots()
    value, rise = data["value"].values, data["chi_square"].values - data["chi_square"].values.min()
    axes.plot(value, rise, "o-", ms=3, lw=MEAN, color=BLACK)
    axes.axhline(3.84, color=GREY, lw=FRAME, ls="--")
    for end in (data.attrs["low"], data.attrs["high"]):
        if np.isfinite(end):
            axes.axvline(end, color=BLUE, lw=FRAME)
    axes.set_ylim(0, max(6.0, min(float(rise.max()) * 1.1, 20.0)))
    unit = data["value"].attrs["units"]
    dress(axes, f"{data.attrs['title']}" + ("" if unit == "1" else f" ({unit})"), "χ² above its least")
    return figure


def curve(tree: xr.DataTree, name: str) -> Figure:
    """Measured and simulated current, and their difference over its standard deviation."""
    data = tree[name].dataset
    figure = sheet(2.9)
    upper, lower = figure.subplots(2, 1, height_ratios=[2, 1], sharex=True)
    time, measured, simulated = (data[n].values for n in ("time", "measured", "simulated"))
    sd = data["sd"].values if "sd" in data else data.attrs["noise"]  # files of earlier versions hold the noise alone
    scale, prefix = next(
        ((s, p) for s, p in ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")) if np.nanmax(abs(measured)) >= s),
        (1e-9, "n"),
    )
    upper.plot(time, measured / scale, ".", ms=1.5, color=GREY, label="measured")
    upper.plot(time, simulated / scale, color=RED, lw=MEAN, label="fitted")
    dress(upper, "", f"current ({prefix}A)")
    handles, labels = upper.get_legend_handles_labels()
    key(upper, handles, labels)
    lower.axhspan(-1, 1, color=BLUE, alpha=0.2, lw=0)
    lower.plot(time, (measured - simulated) / sd, ".", ms=1.5, color=BLACK)
    dress(lower, "time (s)", "difference/sd")
    return figure
