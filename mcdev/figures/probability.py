"""Every measurement on lognormal and on Weibull paper: what lies on a straight line there follows that law. Both laws,
fitted with the censored observations, are drawn in both."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from mcdev.figures.numbers import with_error
from mcdev.figures.spread import Shown, many_devices, shown
from mcdev.figures.style import GREY, LINE, SMALL, dress, key, plain_ticks, sheet
from mcdev.statistics.censored import Law, Sample, fit_laws, sample
from mcdev.statistics.survival import kaplan_meier

NAME = "probability"

_PROBIT = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999)
_WEIBULL = (0.001, 0.01, 0.05, 0.2, 0.5, 0.9, 0.999)
_CLOSE = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Shares marked where only a part of the distribution was seen."""
_POINTS = 300
_LISTED = 2
"""Sweep points up to which each law has a line of its own in the legend; beyond, a point has one line in all."""
_NAMES = {"weibull": "Weibull"}
"""Of laws that are called after a person."""
_LOOK: dict[str, dict[str, Any]] = {"lognormal": {"linestyle": "-"}, "weibull": {"linestyle": (0, (3, 1.5))}}


def applies(tree: xr.DataTree) -> bool:
    return many_devices(tree) and bool(_rows(tree))


def draw(tree: xr.DataTree) -> Figure:
    """A row a measurement: F on a probit axis at the left, on that of ln(-ln(1 - F)) at the right. Points are the
    steps of Kaplan and Meier's curve, at half their height; lines are both fits, with the 95 % band of the one that
    is straight."""
    rows = _rows(tree)
    heights = [1.75 + LINE * _lines_of(len(row.readings)) for row, _ in rows]
    figure = sheet(sum(heights))
    parts = np.ravel(figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights))
    for (row, fits), part in zip(rows, parts, strict=True):
        left, right = part.subplots(1, 2)
        for axes, family, ticks in ((left, "lognormal", _PROBIT), (right, "weibull", _WEIBULL)):
            _panel(axes, family, ticks, row, fits)
        handles, texts = left.get_legend_handles_labels()
        key(part, handles, texts, title=row.title, loc="outside upper center", columns=1)
    return figure


def _lines_of(points: int) -> int:
    """Of a legend, with its title."""
    return 1 + 3 * points if points <= _LISTED else 3 + points


def _rows(tree: xr.DataTree) -> list[tuple[Shown, list[tuple[Sample, dict[str, Law]] | None]]]:
    """The measurements for which the laws are determined at some sweep point."""
    found = []
    for row in shown(tree):
        fits: list[tuple[Sample, dict[str, Law]] | None] = []
        for reading in row.readings:
            data = sample(reading.values, reading.status)
            laws = fit_laws(data)
            fits.append((data, laws) if data is not None and laws else None)
        if any(fits):
            found.append((row, fits))
    return found


def _panel(
    axes: Axes, family: str, ticks: tuple[float, ...], row: Shown, fits: list[tuple[Sample, dict[str, Law]] | None]
) -> None:
    known = [(i, *fit) for i, fit in enumerate(fits) if fit is not None]
    paper = known[0][2][family].z
    factor = row.scale.factor
    low, high, bottom, top = np.inf, 0.0, np.inf, -np.inf
    for i, data, laws in known:
        curve = kaplan_meier(data)
        if curve is None:
            continue
        happened = 1 - 0.5 * (curve.before() + curve.share)
        which = np.unique(np.linspace(0, curve.at.size - 1, min(curve.at.size, _POINTS)).round().astype(int))
        x, y = curve.at[which] * factor, paper(happened[which])
        colour = row.colours[i]
        axes.plot(x, y, ".", color=colour, markersize=3, markeredgewidth=0, label=_legend(row, i, data, laws), zorder=3)
        low, high = min(low, x.min()), max(high, x.max())
        bottom, top = min(bottom, y.min()), max(top, y.max())
    room = (high / low) ** 0.06 if high > low else 1.1
    for i, _, laws in known:
        _lines(axes, laws, family, paper, row, i, (bottom - 0.4, top + 0.4))
    if len(row.readings) > _LISTED:  # once for all, and each point in one line
        for name, look in _LOOK.items():
            axes.plot([], [], color=GREY, linewidth=0.8, label=_NAMES.get(name, name), **look)
    axes.set_xscale("log")
    axes.set_xlim(low / room, high * room)
    plain_ticks(axes.xaxis, (1, 2, 5) if high < 5 * low else (1, 3))  # a panel is narrow
    dress(axes, row.label, "share, probit axis" if family == "lognormal" else "share, Weibull axis")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(bottom - 0.35, top + 0.35)
    if sum(bottom < v < top for v in paper(np.array(ticks))) < 4:
        ticks = _CLOSE
    ticks = _apart(ticks, paper, 0.1 * (top - bottom + 0.7))
    axes.yaxis.set_major_locator(FixedLocator([float(v) for v in paper(np.array(ticks))]))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{100 * t:g} %" for t in ticks]))
    axes.tick_params(axis="y", labelsize=SMALL)


def _apart(ticks: tuple[float, ...], paper: Callable[[np.ndarray], np.ndarray], least: float) -> tuple[float, ...]:
    """Those shares whose marks lie apart by ``least`` on the axis: the middle one, and outwards from it."""
    places = dict(zip(ticks, paper(np.array(ticks)).tolist(), strict=True))
    kept: list[float] = []
    for share in sorted(ticks, key=lambda t: abs(places[t] - places[min(ticks, key=lambda u: abs(u - 0.5))])):
        if all(abs(places[share] - places[other]) >= least for other in kept):
            kept.append(share)
    return tuple(sorted(kept))


def _lines(
    axes: Axes,
    laws: dict[str, Law],
    straight: str,
    paper: Callable[[np.ndarray], np.ndarray],
    row: Shown,
    i: int,
    span: tuple[float, float],
) -> None:
    """Both laws, and the band of the one whose paper this is."""
    share = _share(straight, np.linspace(*span, 80))
    for name, law in laws.items():
        words = f"{row.texts[i]}: {_parameters(law)}" if row.texts[i] else _parameters(law)
        words = "_law" if len(row.readings) > _LISTED else words
        x = law.quantile(share) * row.scale.factor
        axes.plot(x, paper(share), color=row.colours[i], linewidth=0.8, label=words, **_LOOK[name])
        if name == straight:
            low, high = (end * row.scale.factor for end in law.quantile_band(share))
            axes.fill_betweenx(paper(share), low, high, color=row.colours[i], alpha=0.15, linewidth=0)


@functools.lru_cache
def _law(family: str) -> Law:
    return Law(family, 0.0, 1.0, np.eye(2), 0.0, 0, 0)


def _share(family: str, z: np.ndarray) -> np.ndarray:
    return np.clip(_law(family).cdf(np.exp(z)), 1e-12, 1 - 1e-12)


def _legend(row: Shown, i: int, data: Sample, laws: dict[str, Law]) -> str:
    reading = row.readings[i]
    words = f"{data.values.size} observations"
    words += f", {reading.right} right-censored" if reading.right else ""
    words += f", {reading.left} left-censored" if reading.left else ""
    if len(row.readings) <= _LISTED:
        return f"{row.texts[i]}: {words}" if row.texts[i] else words
    (sigma, error), (shape, other) = laws["lognormal"].parameters()["sigma"], laws["weibull"].parameters()["shape"]
    sides = [f"{n} {side}-c." for n, side in ((reading.right, "right"), (reading.left, "left")) if n]
    count = f"{data.values.size} ({', '.join(sides)})" if sides else f"{data.values.size}"
    less = laws["lognormal"].aic - laws["weibull"].aic
    fitted = rf"$\sigma_\mathrm{{ln}}$ {with_error(sigma.value, error)}, shape {with_error(shape.value, other)}"
    return f"{row.texts[i]}: {count}; {fitted}; ΔAIC {round(less)}"


def _parameters(law: Law) -> str:
    if law.family == "lognormal":
        (value, error) = law.parameters()["sigma"]
        return rf"lognormal: $\sigma_\mathrm{{ln}}$ = {value.value:.3g} ± {error:.2g}, AIC {law.aic:.1f}"
    (value, error) = law.parameters()["shape"]
    return f"Weibull: shape {value.value:.3g} ± {error:.2g}, AIC {law.aic:.1f}"
