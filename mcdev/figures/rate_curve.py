"""Firing rate against a sweep axis: the f-I curve, with the share of devices that fire at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcdev.figures.axes import (
    Curve,
    axis_scale,
    axis_words,
    main_axis,
    measurement,
    point_colours,
    points,
    some_curves,
    sweep_axis,
)
from mcdev.figures.style import dress, legend_above, sheet
from mcdev.measurements.contract import OK, RIGHT_CENSORED
from mcdev.measurements.firing_rate import FiringRate
from mcdev.results.tree import experiment_of

NAME = "rate_curve"


def applies(tree: xr.DataTree) -> bool:
    return bool(measurements(tree))


def measurements(tree: xr.DataTree) -> set[str]:
    """Names of the measurements that this picture shows."""
    if main_axis(tree) is None:
        return set()
    return {name for name, m in experiment_of(tree).measurements.items() if isinstance(m, FiringRate)}


def draw(tree: xr.DataTree) -> Figure:
    """Two panels a measurement. Above: the mean rate of all devices, the silent ones included, with its standard error
    over devices, and the band of 5-95 % of the devices' own means over cycles. Below: the share of realisations with a
    spike."""
    path, names = main_axis(tree), sorted(measurements(tree))
    assert path is not None
    lines = list(some_curves(tree, path).values())
    colours = point_colours(tree, [line.points[0] for line in lines])
    figure = sheet(0.3 + 2.6 * len(names))
    panels = figure.subplots(2 * len(names), 1, squeeze=False, height_ratios=[1.8, 1] * len(names))[:, 0]
    for number, name in enumerate(names):
        above, below = panels[2 * number], panels[2 * number + 1]
        _draw(tree, name, path, lines, colours, (above, below))
    title = points(tree, without=path)[0] if len(lines) > 1 else ""
    note = "mean ± s.e., band 5–95 % of devices"
    legend_above(figure, panels.tolist(), f"{title}, {note}" if title else note)
    return figure


def _draw(
    tree: xr.DataTree, name: str, path: str, lines: list[Curve], colours: list[Any], panels: tuple[Axes, Axes]
) -> None:
    above, below = panels
    data = tree[f"measurements/{name}"].dataset
    known = np.isin(data["status"].values, (OK, RIGHT_CENSORED))
    value = np.where(known, data["value"].values, np.nan)
    axis = sweep_axis(tree, path)
    across = axis_scale(tree, path)
    upright, label = measurement(tree, name, value)
    for line, colour in zip(lines, colours, strict=True):
        x = line.values * across.factor
        own = [_of_devices(value[point]) * upright.factor for point in line.points]
        mean, error = (np.array([each(rates) for rates in own]) for each in (_mean, _error))
        n = sorted({rates.size for rates in own})
        of = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]}–{n[-1]}"
        text = f"{line.label} ({of})" if line.label else f"{of} devices"
        band = np.array([np.quantile(rates, [0.05, 0.95]) if rates.size > 1 else [np.nan] * 2 for rates in own]).T
        above.fill_between(x, band[0], band[1], color=colour, alpha=0.16, linewidth=0)
        look: dict[str, Any] = {"markersize": 2.6, "linewidth": 0.8, "elinewidth": 0.7, "capsize": 1.4, "color": colour}
        above.errorbar(x, mean, error, fmt="o-", label=text, **look)
        share = [np.mean(value[point][known[point]] > 0) if known[point].any() else np.nan for point in line.points]
        below.plot(x, share, "o-", color=colour, markersize=2.6, linewidth=0.8)
    above.set_ylim(bottom=0)
    below.set_ylim(-0.05, 1.05)
    dress(above, "", label)
    dress(below, across.named(axis_words(axis)), "share that fires")
    below.sharex(above)
    above.tick_params(labelbottom=False)


def _of_devices(value: np.ndarray) -> np.ndarray:
    """Mean of each device over its cycles [device, cycle], of those with a number."""
    fine = np.isfinite(value)
    some = fine.any(axis=1)
    return np.asarray(np.where(fine, value, 0.0).sum(axis=1)[some] / fine.sum(axis=1)[some])


def _mean(rates: np.ndarray) -> float:
    return float(rates.mean()) if rates.size else np.nan


def _error(rates: np.ndarray) -> float:
    return float(rates.std(ddof=1) / np.sqrt(rates.size)) if rates.size > 1 else np.nan
