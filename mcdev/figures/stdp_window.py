"""Change of weight against the time between two spikes, with the fitted window (Wang et al. 2017, Fig. 6d; Shin et al.
2022, Fig. 7c)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from mcdev.figures.arrhenius import ensemble_values
from mcdev.figures.axes import Scale, axis_scale, measurement, point_colours, points, scale, sweep_axis
from mcdev.figures.numbers import with_unit
from mcdev.figures.style import FRAME, GREY, dress, key, remark, sheet
from mcdev.fits.stdp_window import StdpWindow
from mcdev.results.tree import experiment_of
from mcdev.statistics import fit_records

NAME = "stdp_window"


def applies(tree: xr.DataTree) -> bool:
    return bool(_fits(tree))


def measurements(tree: xr.DataTree) -> set[str]:
    """Names of the measurements that this picture shows."""
    return {fit.measurement for fit in _fits(tree).values()}


def draw(tree: xr.DataTree) -> Figure:
    """One panel a fit. Marks: the ensemble's value with its standard error; lines: the fitted window. Several curves
    are each shown over the largest change on them, as Shin et al. do."""
    fits = _fits(tree)
    heights = [2.2 + 0.23 * len(experiment_of(tree).curves(fit.axis)) for fit in fits.values()]
    figure = sheet(sum(heights))
    parts = np.ravel(figure.subfigures(len(fits), 1, squeeze=False, height_ratios=heights))
    for (name, fit), part in zip(fits.items(), parts, strict=True):
        _draw_fit(tree, part, name, fit)
    return figure


def _fits(tree: xr.DataTree) -> dict[str, StdpWindow]:
    return {name: fit for name, fit in experiment_of(tree).fits.items() if isinstance(fit, StdpWindow)}


def _draw_fit(tree: xr.DataTree, part: SubFigure, name: str, fit: StdpWindow) -> None:
    axes = part.subplots()
    axis = np.asarray(sweep_axis(tree, fit.axis).values, float)
    value, error = ensemble_values(tree, fit)
    curves = experiment_of(tree).curves(fit.axis)
    labels = [points(tree, without=fit.axis)[1][which[0]] if len(curves) > 1 else "" for _, which in curves]
    across = axis_scale(tree, fit.axis)
    upright, label = measurement(tree, fit.measurement, value)
    colours = point_colours(tree, [which[0] for _, which in curves])
    handles, texts = [], []
    for number, ((_, which), colour) in enumerate(zip(curves, colours, strict=True)):
        order = np.array(which)[np.argsort(axis[which])]
        factor = upright.factor
        if len(curves) > 1:
            size = np.abs(value[order])
            factor = 1.0 / size[np.isfinite(size)].max() if np.any(size > 0) else 1.0
        bars = np.where(np.isfinite(error[order]), error[order], 0.0) * factor
        look: dict[str, Any] = {"markersize": 2.8, "elinewidth": 0.7, "capsize": 1.4, "color": colour}
        handles.append(axes.errorbar(axis[order] * across.factor, value[order] * factor, bars, fmt="o", **look))
        found = _coefficients(tree, name, number)
        _draw_window(axes, axis[order], found, across, factor, colour)
        said = _times(tree, name, number, found)
        texts.append(f"{labels[number]}: {said}" if labels[number] else said)
    axes.axhline(0.0, color=GREY, linewidth=FRAME, zorder=0)
    axes.axvline(0.0, color=GREY, linewidth=FRAME, zorder=0)
    if not np.isfinite(value).any():
        remark(axes, "no value at any time")
    words = f"change of {fit.measurement.replace('_', ' ')}, of its largest" if len(curves) > 1 else label
    dress(axes, f"{across.label('', chr(92) + 'Delta t').strip()}, presynaptic spike first if > 0", words)
    title = points(tree, without=fit.axis)[0] if len(curves) > 1 else ""
    statistic = {"mean_response": "of the mean response"}.get(fit.statistic, fit.statistic)
    key(part, handles, texts, f"{title}; {statistic} ± s.e.".lstrip("; "), "outside upper center")


def _draw_window(
    axes: Axes, axis: np.ndarray, found: dict[str, float], across: Scale, factor: float, colour: Any
) -> None:
    for side, sign in (("plus", 1.0), ("minus", -1.0)):
        time = np.abs(axis[sign * axis > 0])
        if time.size and np.isfinite(found.get(f"tau_{side}", np.nan)):
            line = np.geomspace(time.min(), time.max(), 200)
            curve = found[f"a_{side}"] * np.exp(-line / found[f"tau_{side}"])
            axes.plot(sign * line * across.factor, curve * factor, color=colour, linewidth=0.9)


def _times(tree: xr.DataTree, name: str, number: int, found: dict[str, float]) -> str:
    """Both times with their errors; over several devices also the spread of each."""
    said = []
    for side, mark in (("plus", "+"), ("minus", "-")):
        time, error = found.get(f"tau_{side}", np.nan), found.get(f"tau_{side}_error", np.nan)
        text = rf"$\tau_{mark}$ = {with_unit(tree, 's', time, error)}"
        of_device, fits = f"tau_{side}_of_device", tree[f"fits/{name}"].dataset
        if of_device in fits:
            alone = fits[of_device].values[number]
            alone = alone[np.isfinite(alone)]
            if alone.size > 1:
                low, high = np.quantile(alone, [0.25, 0.75])
                shown = scale(tree, "s", alone)
                text += f" (devices {low * shown.factor:.3g}–{high * shown.factor:.3g} {shown.unit})"
        said.append(text)
    long = any("devices" in text for text in said)
    return (",\n" if long else ", ").join(said)


def _coefficients(tree: xr.DataTree, name: str, number: int) -> dict[str, float]:
    """Coefficient → value, and with _error its standard error, on one curve."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for record in fit_records(tree):
        if record["fit"] == name:
            rows.setdefault(record["coefficient"], []).append((record["value"], record["standard_error"]))
    found: dict[str, float] = {}
    for coefficient, values in rows.items():
        found |= {coefficient: values[number][0], f"{coefficient}_error": values[number][1]}
    return found
