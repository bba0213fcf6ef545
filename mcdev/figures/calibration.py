"""Pictures of a calibration, from its results alone: pulls, numbers along an axis, history, correlation, profiles,
curves."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcdev.figures import posterior
from mcdev.figures.axes import symbol_of
from mcdev.figures.style import (
    BLACK,
    BLUE,
    COLUMN,
    FRAME,
    GREY,
    LINE,
    MEAN,
    RED,
    SINGLE,
    SMALL,
    TEXT,
    WHITE,
    categories,
    colours,
    dress,
    key,
    legend_above,
    plain_ticks,
    sheet,
)
from mcdev.schema.units import displayed


def pictures(tree: xr.DataTree) -> Iterator[tuple[str, Figure]]:
    """(name, picture) of everything that applies."""
    if tree["targets"].sizes["target"]:
        yield "pulls", pulls(tree)
    if _series(tree):
        yield "along", along(tree)
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
    labels = [_wrapped(str(text)) for text in data["target"].values]
    figure = sheet(0.6 + _height(labels))
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
    axes.set_yticks(place, labels, fontsize=SMALL)
    axes.set_ylim(-0.7, count - 0.3)
    dress(axes, "pull (standard deviations)")
    if not fitted.all():
        legend_above(figure, [axes])
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
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_ticks(axes.yaxis)
    dress(axes, "accepted step", "loss, Σ pull²")
    legend_above(figure, [axes], "start")
    return figure


def parameters(tree: xr.DataTree) -> Figure:
    """Fitted value and 95 % interval of each parameter relative to the fitted value, on a scale of factors."""
    data = tree["parameters"].dataset
    count = data.sizes["parameter"]
    value, low, high = (data[name].values for name in ("value", "low", "high"))
    named = zip(data["parameter"].values, value, data["unit"].values, strict=True)
    labels = [_wrapped(f"{p}  {float(f'{v:.3g}'):g}{'' if u == '1' else ' ' + displayed(str(u))}") for p, v, u in named]
    figure = sheet(max(0.65 + _height(labels), 1.0))
    axes = figure.subplots()
    axes.set_ylim(-0.7, count - 0.3)
    place = np.arange(count)[::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = low / value, high / value
        swapped = value < 0
        left, right = np.where(swapped, right, left), np.where(swapped, left, right)
    for i in range(count):
        fine = data["determined"].values[i] == 1
        colour, word = (BLACK, "95 % interval") if fine else (RED, "weakly determined")
        ends = np.clip([left[i], right[i]], 0.1, 10.0) if np.isfinite(left[i]) else [0.1, 10.0]
        axes.plot(ends, [place[i]] * 2, color=colour, lw=MEAN, label=word)
        axes.plot(1.0, place[i], "o", ms=2.5, color=colour)
    begun = tree["starts"].dataset["begin"].values / value if "starts" in tree.children else np.empty((0, count))
    for start in begun:
        axes.plot(np.clip(start, 0.1, 10.0), place, "|", ms=3, color=GREY, lw=SINGLE, label="starts")
    for i, end in _at_bounds(data):
        at = float(np.clip(end / value[i], 0.1, 10.0))
        axes.plot(at, place[i], "s", ms=4, mfc="none", mec=RED, mew=0.8, label="ends at its bound")
    with np.errstate(invalid="ignore", divide="ignore"):
        factors = np.abs(np.log(np.concatenate([left, right, np.ravel(begun)])))
    far = np.max(factors, where=np.isfinite(factors), initial=0.0) if np.isfinite(factors).all() else np.inf
    reach = float(np.exp(np.clip(1.15 * far, 0.1, np.log(10.0))))
    axes.set_xscale("log")
    axes.set_xlim(1 / reach, reach)
    plain_ticks(axes.xaxis)
    axes.set_yticks(place, labels, fontsize=SMALL)
    dress(axes, "interval/value")
    legend_above(figure, [axes])
    return figure


def _at_bounds(data: xr.Dataset) -> Iterator[tuple[int, float]]:
    """Number of each parameter whose interval ends at a bound that was set, and that end: the data do not say how much
    further it goes."""
    for end, bound in (("low", "lower_bound"), ("high", "upper_bound")):
        if bound in data:
            for i, (at, limit) in enumerate(zip(data[end].values, data[bound].values, strict=True)):
                if np.isfinite(limit) and abs(at - limit) <= 1e-6 * abs(limit):
                    yield i, float(at)


def correlation(tree: xr.DataTree) -> Figure:
    """Correlation of the natural coordinates, its numbers where there is room for them, and the singular values; the
    columns are in the order of the rows."""
    data = tree["parameters"].dataset
    count = data.sizes["parameter"]
    labels = [_wrapped(f"{i + 1}  {name}") for i, name in enumerate(data["parameter"].values)]
    tall = max(_height(labels), 0.2 * count, 1.0)
    figure = sheet(tall + 1.9)
    upper, lower = figure.subplots(2, 1, height_ratios=[tall, 0.9])
    shown = upper.imshow(data["correlation"].values, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
    letters = max(len(line) for text in labels for line in text.split("\n"))
    if (COLUMN - 0.75 - _LETTER * letters) / count > 4.5 * _LETTER:
        for (i, j), r in np.ndenumerate(data["correlation"].values):
            pale = WHITE if abs(r) > 0.6 else BLACK
            upper.text(j, i, f"{r:.2f}".replace("0.", "."), ha="center", va="center", fontsize=SMALL, color=pale)
    upper.set_xticks(range(count), [str(i + 1) for i in range(count)], fontsize=SMALL)
    upper.set_yticks(range(count), labels, fontsize=SMALL)
    bar = figure.colorbar(shown, ax=upper, ticks=[-1, 0, 1], pad=0.02)
    bar.ax.tick_params(labelsize=SMALL)
    upper.set_title("correlation", fontsize=TEXT, pad=3)
    singular = np.maximum(data["singular_value"].values, 1e-6)
    lower.semilogy(np.arange(1, count + 1), singular, "o", ms=3, color=BLACK)
    lower.axhline(1 / np.log(2), color=RED, lw=FRAME)
    lower.set_xlim(0.5, count + 0.5)
    plain_ticks(lower.yaxis)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    dress(lower, "direction (red: a factor of two)", "singular value")
    return figure


def along(tree: xr.DataTree) -> Figure:
    """Fitted numbers along an axis, or of the entries of a list: reported with their uncertainty, and simulated."""
    series = _series(tree)
    data = tree["targets"].dataset
    panels = list(dict.fromkeys((_bare(name), along) for name, along in series))
    heights = [1.75 + LINE * (2 + sum(_bare(name) == bare for name, _ in series)) for bare, _ in panels]
    figure = sheet(sum(heights))
    parts = np.ravel(figure.subfigures(len(panels), 1, squeeze=False, height_ratios=heights))
    for (bare, axis), part in zip(panels, parts, strict=True):
        axes = part.subplots()
        own = [(name, which) for (name, along), which in series.items() if (_bare(name), along) == (bare, axis)]
        for (name, which), colour in zip(own, categories(len(own)), strict=True):
            at, there, here = (data[key].values[which] for key in ("at", "reported", "simulated"))
            error, spread = (np.abs(data[key].values[which]) for key in ("uncertainty", "simulated_error"))
            words = name.removeprefix(bare).strip(" ()")
            label = f"{words}: " if words else ""
            look = {"lw": FRAME, "capsize": 1.5, "color": colour}
            axes.errorbar(at, there, yerr=error, fmt="o", ms=3.5, mfc="none", label=f"{label}reported", **look)
            axes.errorbar(
                at, here, yerr=spread, fmt="-", lw=MEAN, color=colour, elinewidth=FRAME, label=f"{label}fitted"
            )
        every = [i for _, which in own for i in which]
        if axis == "entry":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        elif _over_decades(data["at"].values[every]):
            axes.set_xscale("log")
            plain_ticks(axes.xaxis)
        if _over_decades(data["reported"].values[every]) and (data["simulated"].values[every] > 0).all():
            axes.set_yscale("log")
        unit, on_axis = (displayed(str(data[key].values[own[0][1][0]])) for key in ("unit", "at_unit"))
        of = bare.partition(": ")[2] or bare
        dress(axes, _with(axis, on_axis), _with(symbol_of(of), unit))
        handles, texts = axes.get_legend_handles_labels()
        key(part, handles, texts, title=bare, loc="outside upper center", columns=1 + (len(own) > 1))
    return figure


def _over_decades(values: np.ndarray) -> bool:
    return bool(values.min() > 0 and values.max() > 20 * values.min())


def _with(name: str, unit: str) -> str:
    return name if unit == "1" else f"{name} ({unit})"


def _bare(name: str) -> str:
    """A series without its device."""
    return re.sub(r" \([^()]*\)$", "", name)


def _series(tree: xr.DataTree) -> dict[tuple[str, str], list[int]]:
    """(series, axis) → numbers of its targets along the axis, of those with at least two."""
    data = tree["targets"].dataset
    if "series" not in data:
        return {}
    found: dict[tuple[str, str], list[int]] = {}
    for i in np.argsort(data["at"].values, kind="stable").tolist():
        if np.isfinite(data["at"].values[i]):
            found.setdefault((str(data["series"].values[i]), str(data["along"].values[i])), []).append(i)
    return {name: which for name, which in found.items() if len(which) > 1}


_LETTER, _LINE = 0.065, 0.12
"""About the width of a letter and the height of a line, in inches."""
_WIDE = 26


def _wrapped(label: str) -> str:
    """A long name in lines that leave room for a panel beside them: broken at blanks, and after dots and colons."""
    parts, lines = re.split(r"(?<= )(?=\S)|(?<=[.:])(?=[^\W\d])", label), [""]
    for part in parts:
        if lines[-1] and len(lines[-1] + part.rstrip()) > _WIDE:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.strip() for line in lines)


def _height(labels: Sequence[str]) -> float:
    """Of rows with these labels, in inches."""
    return len(labels) * (0.04 + _LINE * max(text.count("\n") + 1 for text in labels))


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
    dress(axes, _with(_wrapped(str(data.attrs["title"])), displayed(unit)), "χ² above its minimum")
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
    legend_above(figure, [upper])
    lower.axhspan(-1, 1, color=BLUE, alpha=0.2, lw=0)
    lower.plot(time, (measured - simulated) / sd, ".", ms=1.5, color=BLACK)
    dress(lower, "time (s)", "difference/sd")
    return figure
