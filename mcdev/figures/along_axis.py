"""Single numbers against a sweep axis, with what is fitted along it (Shin et al. 2022, Figs 5c-e, S4-S6)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mcdev.figures import arrhenius, learning_map, rate_curve, regularity, srdp, stdp_window
from mcdev.figures.axes import (
    Curve,
    axis_scale,
    axis_words,
    counted,
    main_axis,
    mean_label,
    measurement,
    point_colours,
    points,
    some_curves,
    sweep_axis,
)
from mcdev.figures.distributions import scalars
from mcdev.figures.numbers import published, with_unit
from mcdev.figures.references import cited, diamond, references
from mcdev.figures.style import GREY, LINE, SMALL, dress, key, plain_ticks, remark, sheet
from mcdev.fits.double_exponential import DoubleExponential
from mcdev.measurements.contract import LEFT_CENSORED, RIGHT_CENSORED
from mcdev.results.tree import experiment_of
from mcdev.statistics import fit_records, summarise
from mcdev.statistics.readings import readings
from mcdev.statistics.resampling import quantiles

NAME = "along_axis"

_DECADES = 1e-4
"""Least share of the largest value on a logarithmic axis."""


def applies(tree: xr.DataTree) -> bool:
    return main_axis(tree) is not None and bool(_names(tree)) and not arrhenius.applies(tree)


def _names(tree: xr.DataTree) -> list[str]:
    """Single numbers that no picture of their own shows."""
    elsewhere = [picture.measurements(tree) for picture in (stdp_window, srdp, learning_map, rate_curve, regularity)]
    return [name for name in scalars(tree) if not any(name in names for names in elsewhere)]


def draw(tree: xr.DataTree) -> Figure:
    """One panel a measurement, one line a combination of the other axes. Means with their standard errors over
    devices; where values are censored, which a mean cannot use, medians of all with their 95 % intervals; how many
    values are uncensored stands above each point. Band: 5-95 % of the values."""
    path = main_axis(tree)
    assert path is not None
    shown, names = some_curves(tree, path), _names(tree)
    chosen, lines = list(shown), list(shown.values())
    heights = [1.75 + LINE * _lines(tree, name, path, lines) for name in names]
    figure = sheet(sum(heights))
    parts = np.ravel(figure.subfigures(len(names), 1, squeeze=False, height_ratios=heights))
    for name, part in zip(names, parts, strict=True):
        handles, texts, title = _draw_measurement(tree, part.subplots(), name, path, lines, chosen)
        columns = len(texts) if sum(len(text) + 6 for text in texts) <= 68 else 1
        key(part, handles, texts, title, "outside upper center", columns)
    return figure


def panels(tree: xr.DataTree) -> list[str]:
    """Measurements that have a panel."""
    return _names(tree)


def panel(tree: xr.DataTree, name: str, axes: Axes) -> None:
    """One of them, with its legend inside."""
    path = main_axis(tree)
    assert path is not None
    shown = some_curves(tree, path)
    key(axes, *_draw_measurement(tree, axes, name, path, list(shown.values()), list(shown)))


def _lines(tree: xr.DataTree, name: str, path: str, lines: list[Curve]) -> int:
    """Lines of a panel's legend, with room for what is published of a fit."""
    fits = len(_fits(tree, name, path))
    bounds = int(np.isin(tree[f"measurements/{name}"].dataset["status"].values, (LEFT_CENSORED, RIGHT_CENSORED)).any())
    sources = {cited(reference) for reference, _ in references(tree, name)}
    return 1 + 2 * bounds + len(lines) * (1 + fits) + 2 * bool(fits) + sum(text.count("\n") + 1 for text in sources)


def _fits(tree: xr.DataTree, name: str, path: str) -> list[str]:
    """Double exponentials of a measurement along this axis."""
    fits = experiment_of(tree).fits.items()
    return [
        str(n) for n, fit in fits if isinstance(fit, DoubleExponential) and (fit.measurement, fit.axis) == (name, path)
    ]


def _draw_measurement(
    tree: xr.DataTree, axes: Axes, name: str, path: str, lines: list[Curve], numbers: list[int]
) -> tuple[list[Any], list[str], str]:
    """Handles, texts and title of the legend."""
    rows = [r for r in summarise(tree, variability=False) if r["measurement"] == name]
    axis = sweep_axis(tree, path)
    across = axis_scale(tree, path)
    centre = _centre(tree, name, rows)
    mean = centre.middle
    upright, label = measurement(tree, name, mean)
    colours = point_colours(tree, [line.points[0] for line in lines])
    fits = _fits(tree, name, path)
    handles: list[Any] = [
        _draw_curve(tree, axes, line, rows, centre, (across.factor, upright.factor), colour, joined=not fits)
        for line, colour in zip(lines, colours, strict=True)
    ]
    counts = [counted([rows[point] for point in line.points]) for line in lines]
    texts = [
        (line.label or (centre.words if some else mean_label(tree, line.points[0]))) + some
        for line, some in zip(lines, counts, strict=True)
    ]
    if _logarithmic(axis.values):
        axes.set_xscale("log")
    shown = np.concatenate([mean[line.points] for line in lines])
    if _logarithmic(shown[np.isfinite(shown)]) and not fits:  # a fit with an offset, equal weight to all, is linear
        axes.set_yscale("log")
    for fit in fits:
        times = _draw_fit(tree, axes, fit, lines, numbers, (across.factor, upright.factor), colours)
        texts = [f"{text}: {more}" if more else text for text, more in zip(texts, times, strict=True)]
        handles.append(Line2D([], [], color=GREY, linewidth=0.9))
        texts.append(r"$C_1 e^{-t/\tau_1} + C_2 e^{-t/\tau_2} + C_0$")
    known = {point: x for line in lines for point, x in zip(line.points, line.values, strict=True)}
    for reference, value in references(tree, name):
        if reference.point - 1 in known:
            diamond(axes, known[reference.point - 1] * across.factor, value * upright.factor, reference)
            mark = axes.get_lines()[-1]
            if str(mark.get_label()) not in texts:
                handles.append(mark)
                texts.append(str(mark.get_label()))
    if not np.isfinite(shown).any():
        remark(axes, "no uncensored value")
    elif (shown[np.isfinite(shown)] < 0).any():
        axes.axhline(0.0, color=GREY, linewidth=0.6, zorder=0)
    words = axis_words(axis)
    dress(axes, across.named(words), label)
    axes.margins(x=0.04, y=0.08)
    if axes.get_xscale() == "log":
        plain_ticks(axes.xaxis)
    if axes.get_yscale() == "log":
        axes.set_ylim(bottom=max(axes.get_ylim()[0], _DECADES * axes.get_ylim()[1]))
        plain_ticks(axes.yaxis)
    others = points(tree, without=path)[0] if len(lines) > 1 else ""
    count = len(experiment_of(tree).curves(path))
    some = f" ({len(lines)} of {count})" if len(lines) < count else ""
    title = f"{others}{some}, {centre.title}, band 5–95 %" if others else f"{centre.title}, band 5–95 %"
    if centre.words == "median" and len(lines) == 1:
        _count(axes, lines[0], rows, across.factor)
    several = tree["realisations"].sizes["device"] > 1
    return handles, texts, "\n".join(filter(None, [title if several else others, *_censored(rows)]))


class _Centre(NamedTuple):
    """What stands for the values of a sweep point, and how far its error reaches, [point]."""

    middle: np.ndarray
    below: np.ndarray
    above: np.ndarray
    words: str
    title: str


def _centre(tree: xr.DataTree, name: str, rows: list[dict[str, Any]]) -> _Centre:
    """Means and their standard errors; medians and their 95 % intervals where some value is censored."""
    if not any(row["n_censored"] for row in rows):
        mean, sem = (np.array([np.nan if r[key] is None else r[key] for r in rows]) for key in ("mean", "sem"))
        return _Centre(mean, sem, sem, "mean", "mean ± s.e.")
    own = {r.index: r for r in readings(tree) if r.name == name}
    found = [quantiles(own[i].values, own[i].status, (0.5,))[0] for i in range(len(rows))]
    middle, low, high = (np.where(np.isfinite(each), each, np.nan) for each in np.array(found).T)
    return _Centre(middle, middle - low, high - middle, "median", "median, 95 % interval; numbers: n uncensored")


def _censored(rows: list[dict[str, Any]]) -> list[str]:
    """What a legend says of censored values, line by line."""
    touched = [row for row in rows if row["n_censored"]]
    if not touched:
        return []
    beyond = any(row["q05"] is None or row["q95"] is None for row in touched)
    return ["arrows: the band extends beyond the observed range"] * beyond


def _logarithmic(values: np.ndarray) -> bool:
    return values.size > 0 and bool(values.min() > 0) and bool(values.max() > 10 * values.min())


def _draw_curve(
    tree: xr.DataTree,
    axes: Axes,
    line: Curve,
    rows: list[dict[str, Any]],
    centre: _Centre,
    factors: tuple[float, float],
    colour: Any,
    joined: bool,
) -> Any:
    """Means or medians with their errors, by a line if ``joined``, and the band; what a legend shows of it."""
    across, upright = factors

    def column(key: str) -> np.ndarray:
        values = [rows[point][key] for point in line.points]
        return np.array([np.nan if value is None else value for value in values]) * upright

    x = line.values * across
    low, high = column("q05"), column("q95")
    if tree["realisations"].sizes["device"] > 1 and np.any(high > low):
        axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
        alone = _without_neighbours(low, high)  # where a band would have no width
        axes.vlines(x[alone], low[alone], high[alone], color=colour, alpha=0.16, linewidth=5)
    _draw_open(axes, x, low, high, [rows[point] for point in line.points], colour)
    look: dict[str, Any] = {"markersize": 2.6, "linewidth": 0.8, "elinewidth": 0.7, "capsize": 1.4, "color": colour}
    _draw_ends(axes, x, centre, line.points, upright, colour)
    bars = np.nan_to_num(np.stack([centre.below[line.points], centre.above[line.points]])) * upright
    return axes.errorbar(x, centre.middle[line.points] * upright, bars, fmt="o-" if joined else "o", **look)


def _without_neighbours(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Which points have a band while the points beside them have none."""
    known = np.pad(np.isfinite(low) & np.isfinite(high), 1)
    found: np.ndarray = known[1:-1] & ~known[:-2] & ~known[2:]
    return found


def _draw_ends(axes: Axes, x: np.ndarray, centre: _Centre, points: list[int], upright: float, colour: Any) -> None:
    """Arrows from medians whose interval has an end among what is censored."""
    if centre.words != "median":
        return
    for ends, mark in ((centre.below, r"$\downarrow$"), (centre.above, r"$\uparrow$")):
        open_ended = ~np.isfinite(ends[points])
        open_ended &= np.isfinite(centre.middle[points])
        y = centre.middle[points] * upright
        if open_ended.any():
            axes.plot(x[open_ended], y[open_ended], marker=mark, markersize=8, color=colour, linestyle="none")


def _count(axes: Axes, line: Curve, rows: list[dict[str, Any]], across: float) -> None:
    """How many values are no bounds, at the top above each point; of many points of some."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.12 * (high - low) if axes.get_yscale() == "linear" else high * (high / low) ** 0.12)
    shown = np.unique(np.linspace(0, len(line.points) - 1, min(len(line.points), 8)).round().astype(int))
    look: dict[str, Any] = {"fontsize": SMALL, "color": GREY, "ha": "center", "va": "top"}
    for i in shown:
        place = line.values[i] * across
        axes.text(place, 0.975, str(rows[line.points[i]]["n_ok"]), transform=axes.get_xaxis_transform(), **look)


def _draw_open(axes: Axes, x: np.ndarray, low: np.ndarray, high: np.ndarray, rows: list[Any], colour: Any) -> None:
    """Arrows where the band has an end that is censored: it lies beyond what was observed."""
    for at, bottom, top, row in zip(x, low, high, rows, strict=True):
        if np.isfinite(bottom) and not np.isfinite(top) and row["n_censored"]:
            axes.plot(at, bottom, marker=r"$\uparrow$", markersize=6, color=colour, linestyle="none")
        elif np.isfinite(top) and not np.isfinite(bottom) and row["n_censored"]:
            axes.plot(at, top, marker=r"$\downarrow$", markersize=6, color=colour, linestyle="none")


def _draw_fit(
    tree: xr.DataTree,
    axes: Axes,
    name: str,
    lines: list[Curve],
    numbers: list[int],
    factors: tuple[float, float],
    colours: list[Any],
) -> list[str]:
    """The fitted curves; what a legend says of the times of each, empty where there is no fit."""
    texts = []
    for number, line, colour in zip(numbers, lines, colours, strict=True):
        found = _coefficients(tree, name, number)
        if not found:
            texts.append("")
            continue
        x = np.geomspace(line.values[0], line.values[-1], 300)
        y = found["c_0"][0] + sum(found[f"c_{i}"][0] * np.exp(-x / found[f"tau_{i}"][0]) for i in (1, 2))
        axes.plot(x * factors[0], y * factors[1], color=colour, linewidth=0.9, label=f"_{name}")
        times = [rf"$\tau_{i}$ = {with_unit(tree, 's', *found[f'tau_{i}'])}" for i in (1, 2)]
        theirs = [published(tree, name, number, f"tau_{i}").strip(" ()").removeprefix("published: ") for i in (1, 2)]
        texts.append(", ".join(times) + (f"\n(published: {', '.join(theirs)})" if all(theirs) else ""))
    return texts


def _coefficients(tree: xr.DataTree, name: str, number: int) -> dict[str, tuple[float, float]]:
    """Coefficient → value and error on one curve; empty if the fit had too few points."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for record in fit_records(tree):
        if record["fit"] == name:
            rows.setdefault(record["coefficient"], []).append((record["value"], record["standard_error"]))
    found = {key: values[number] for key, values in rows.items()}
    return found if found and all(np.isfinite(value) for value, _ in found.values()) else {}
