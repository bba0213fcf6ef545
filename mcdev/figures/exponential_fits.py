"""Courses with the exponential fitted to them: turn-on and relaxation (Shin et al. 2022, Fig. 4)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcdev.figures.axes import (
    counted,
    first_cycle,
    mean_label,
    means_label,
    one_a_curve,
    point_colours,
    quantity,
    symbol_of,
)
from mcdev.figures.courses import Course, course, window
from mcdev.figures.numbers import published, with_unit
from mcdev.figures.style import GREEN, LINE, dress, key, legend, remark, sheet
from mcdev.machine.environment import computing
from mcdev.measurements.exponential_fit import ExponentialFit, fit_exponential
from mcdev.results.tree import experiment_of
from mcdev.statistics import summarise

NAME = "exponential_fits"

_MARKS = 45
"""About how many samples of a course are marked."""
_APART = 4.0
"""Courses whose largest values differ by more than this factor are each divided by its own."""


def applies(tree: xr.DataTree) -> bool:
    return bool(_wanted(tree))


def draw(tree: xr.DataTree) -> Figure:
    """One panel a measurement. Marks: mean over devices, with the band of the devices; line: the exponential fitted to
    that mean; in the legend the time constant of the devices, mean and standard error."""
    names = _wanted(tree)
    shown, labels, _ = one_a_curve(tree)
    heights = [1.75 + LINE * (len(shown) + 2) for _ in names]
    figure = sheet(sum(heights))
    for name, part in zip(names, np.ravel(figure.subfigures(len(names), 1, squeeze=False)), strict=True):
        axes = part.subplots()
        _draw_measurement(tree, axes, name, shown, labels)
        handles, texts = axes.get_legend_handles_labels()
        key(
            part,
            handles,
            texts,
            title=_title(tree, name),
            loc="outside upper center",
        )
        remark(axes, first_cycle(tree), "corner")
    return figure


def panels(tree: xr.DataTree) -> list[str]:
    """Measurements that have a panel."""
    return _wanted(tree)


def panel(tree: xr.DataTree, name: str, axes: Axes) -> None:
    """One of them, with its legend inside."""
    shown, labels, _ = one_a_curve(tree)
    _draw_measurement(tree, axes, name, shown, labels)
    legend(axes, title=_title(tree, name))


def _title(tree: xr.DataTree, name: str) -> str:
    shown, _, swept = one_a_curve(tree)
    return f"{symbol_of(name)}: {swept}, {means_label(tree, shown)}" if swept else symbol_of(name)


def _wanted(tree: xr.DataTree) -> list[str]:
    measurements = experiment_of(tree).measurements.items()
    return [name for name, m in measurements if isinstance(m, ExponentialFit) and m.result == "time_constant"]


def _draw_measurement(tree: xr.DataTree, axes: Axes, name: str, shown: list[int], labels: list[str]) -> None:
    variants = [experiment for _, experiment in experiment_of(tree).points()]
    wanted = [variants[point].measurements[name] for point in shown]
    assert all(isinstance(m, ExponentialFit) for m in wanted)
    parts = [_part(tree, m, point) for m, point in zip(wanted, shown, strict=True) if isinstance(m, ExponentialFit)]
    of = "conductance" if isinstance(wanted[0], ExponentialFit) and wanted[0].of == "conductance" else "current"
    sizes = [float(np.abs(drawn.mean).max()) for _, drawn in parts]
    scaled = all(np.isfinite(sizes)) and min(sizes) > 0 and max(sizes) > _APART * min(sizes)
    time, time_label = quantity(tree, "s", np.concatenate([t for t, _ in parts]))
    value, value_label = quantity(tree, "A" if of == "current" else "S", np.concatenate([d.mean for _, d in parts]))
    rows = [r for r in summarise(tree, variability=False) if r["measurement"] == name]
    for (t, drawn), point, text, size, colour in zip(
        parts, shown, labels, sizes, point_colours(tree, shown), strict=True
    ):
        factor = 1.0 / size if scaled else value.factor
        said = f"{text or mean_label(tree, point)}: {_time_constant(tree, rows[point])}{published(tree, name, point)}"
        _draw_one(axes, t, drawn, time.factor, factor, colour, said)
    if any(drawn.known for _, drawn in parts):
        axes.plot([], [], color=GREEN, linewidth=0.9, label=r"$A\,e^{-t/\tau} + Y_0$, fitted to the mean")
    else:
        remark(axes, "no intact realisation")
    symbol = "I" if of == "current" else "G"
    words = f"{of} ${symbol}/{symbol}_{{\\mathrm{{max}}}}$" if scaled else value_label
    if scaled and of == "conductance":  # the symbol of a device's full scale is not to be taken for this
        words = "conductance, of its largest"
    dress(axes, time_label, words)
    axes.set_xlim(0, max(t[-1] for t, _ in parts) * time.factor)
    axes.margins(y=0.1)


def _part(tree: xr.DataTree, wanted: ExponentialFit, point: int) -> tuple[np.ndarray, Course]:
    """Time from the beginning of the fit (s), and the course over the fitted samples."""
    drawn = course(tree, wanted.of, point)
    first, last = window(tree, wanted.window, point)[wanted.index - 1]
    time = drawn.time - drawn.edges[first] - wanted.start
    inside = (np.arange(time.size) >= first) & (np.arange(time.size) < last) & (time >= 0)
    if wanted.duration is not None:
        inside &= time <= wanted.duration
    which = np.flatnonzero(inside)
    edges = drawn.edges[np.append(which, which[-1] + 1)]
    band = None if drawn.band is None else drawn.band[:, which]
    part = Course(
        drawn.time[which], edges, drawn.mean[which], drawn.sem[which], band, drawn.share, drawn.singles[:, which]
    )
    return time[which], part


def _time_constant(tree: xr.DataTree, row: dict[str, Any]) -> str:
    if row["mean"] is None:
        return rf"no $\tau${counted([row])}"
    error = np.nan if row["sem"] is None else row["sem"]
    return rf"$\tau$ = {with_unit(tree, row['unit'], row['mean'], error)}{counted([row])}"


def _draw_one(
    axes: Axes, time: np.ndarray, drawn: Course, seconds: float, factor: float, colour: Any, label: str
) -> None:
    x = time * seconds
    if drawn.band is not None:
        axes.fill_between(x, *(drawn.band * factor), color=colour, alpha=0.18, linewidth=0)
    every = max(1, time.size // _MARKS)
    look: dict[str, Any] = {"marker": "o", "markersize": 2.4, "linewidth": 0, "color": colour, "label": label}
    axes.plot(x[::every], drawn.mean[::every] * factor, markerfacecolor="none", markeredgewidth=0.6, **look)
    if np.isfinite(drawn.mean).all() and np.ptp(drawn.mean) > 0:
        size = np.abs(drawn.mean).max()
        with computing(True):
            widths = jnp.asarray(np.diff(drawn.edges))
            found = fit_exponential(jnp.asarray(time), jnp.asarray(drawn.mean / size, float), widths, widths)
        tau, amplitude, offset = (float(v) for v in found[:3])
        axes.plot(x, (amplitude * np.exp(-time / tau) + offset) * size * factor, color=GREEN, linewidth=0.9, zorder=4)
