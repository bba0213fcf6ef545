"""Ions and potential along the device at five moments, with the layers at both electrodes enlarged."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from mcdev.figures.axes import Scale, first_cycle, mean_label, points, scale
from mcdev.figures.courses import window
from mcdev.figures.style import SMALL, TEXT, colours, dress, legend_above, remark, sheet

NAME = "ion_profiles"

_ROWS = ("anions", "cations", "potential")
_ZOOM = 4e-9
"""What the outer panels show of the device (m), at most a fifth of it."""
_LEAST = 1e-6
"""Least share of the largest density that is shown."""


def applies(tree: xr.DataTree) -> bool:
    return {"anions", "potential"} <= set(tree["profile"].dataset.data_vars)


def draw(tree: xr.DataTree) -> Figure:
    """Rows: densities of the anions and, with salt, the cations (logarithmic), potential. Columns: the first
    nanometres, the whole device, the last nanometres. Mean over devices at the end of a sample, of the first sweep
    point that has all of these ions."""
    profile = tree["profile"].dataset
    rows = [name for name in _ROWS if name in profile]
    known = np.stack([np.isfinite(profile[name].values).any(axis=(1, 2, 3)) for name in rows])  # [row, point]
    point = int(np.argmax(known.all(axis=0)))
    position = profile["position"].values[point]
    own = np.isfinite(position)  # another sweep point may have more cells
    position = position[own]
    begin, end = float(position[0]), float(position[-1])
    metre = scale(tree, "m", np.array([end - begin]))
    zoom = min(_ZOOM, 0.2 * (end - begin))
    figure = sheet(1.0 + 1.1 * len(rows))
    panels = figure.subplots(len(rows), 3, sharex="col", sharey="row", width_ratios=[1, 1.3, 1])
    chosen = moments(tree, point)
    for row, name in enumerate(rows):
        values = profile[name].isel(point=point, kept_cycle=0).values[:, own]  # [sample, bin]
        shown, label = _upright(tree, name, values)
        for axes in panels[row]:
            for (text, sample), colour in zip(chosen, colours(len(chosen)), strict=True):
                curve = values[sample] * shown.factor
                curve = curve if name == "potential" else np.where(curve > 0, curve, np.nan)
                look: dict[str, Any] = {"marker": "." if axes is not panels[row, 1] else "", "markersize": 1.6}
                axes.plot(position * metre.factor, curve, color=colour, linewidth=0.9, label=text, **look)
        _scale_row(panels[row], name, values[[sample for _, sample in chosen]] * shown.factor)
        dress(panels[row, 0], "", label)
        for axes in panels[row, 1:]:
            dress(axes)
            axes.tick_params(labelleft=False)
        if not np.isfinite(values).any():
            remark(panels[row, 1], "no intact realisation")
    limits = ((begin, begin + zoom), (begin, end), (end - zoom, end))
    for column, (low, high) in enumerate(limits):
        panels[-1, column].set_xlim(low * metre.factor, high * metre.factor)
        panels[-1, column].xaxis.set_major_locator(MaxNLocator(2 if column != 1 else 4, steps=[1, 2, 5, 10]))
    for axes in panels[:-1].ravel():
        axes.tick_params(labelbottom=False)
    panels[-1, 1].set_xlabel(metre.label("position", "x"), fontsize=TEXT, labelpad=2)
    _mark_zooms(panels[0], limits, metre)
    remark(panels[0, 1], first_cycle(tree), "corner")
    where = (
        f"{points(tree)[0]} = {points(tree)[1][point]}, point {point + 1} of {tree['realisations'].sizes['point']}; "
        if points(tree)[1]
        else ""
    )
    legend_above(figure, [panels[0, 0]], f"{where}{mean_label(tree, point)}")
    return figure


def moments(tree: xr.DataTree, point: int = 0) -> list[tuple[str, int]]:
    """Text and sample: at the start, in the middle and at the end of the pulses, half-way through what follows and at
    its end. Without pulses, or where nothing follows them, five moments spread evenly."""
    response = tree["response"].dataset
    time, width = (response[name].isel(point=point).values for name in ("time", "width"))
    last = int(np.isfinite(time).sum()) - 1
    ends = (time + 0.5 * width)[: last + 1]
    pulses = window(tree, "pulse", point)
    if pulses.size and pulses[-1, 1] - 1 < last:
        first, after = int(pulses[0, 0]), int(pulses[-1, 1]) - 1
        begin = ends[first - 1] if first else 0.0
        during = int(np.argmin(np.abs(ends[first : after + 1] - 0.5 * (begin + ends[after])))) + first
        later = int(np.argmin(np.abs(ends[after:] - 0.5 * (ends[after] + ends[last])))) + after
        samples = [max(first - 1, 0), during, after, later, last]
    else:
        samples = [int(np.argmin(np.abs(ends - share * ends[last]))) for share in np.linspace(0, 1, 5)]
    shown = [(i, scale(tree, "s", ends[i : i + 1])) for i in sorted(set(samples))]
    return [(f"{ends[i] * seconds.factor:.3g} {seconds.unit}", i) for i, seconds in shown]


def _upright(tree: xr.DataTree, name: str, values: np.ndarray) -> tuple[Scale, str]:
    if name == "potential":
        volts = scale(tree, "V", values)
        return volts, volts.label("potential", r"\phi")
    return Scale(1.0, "1/m³"), f"{name} (1/m³)"


def _scale_row(panels: np.ndarray, name: str, values: np.ndarray) -> None:
    """Logarithmic for densities, at most six decades; a density that hardly varies gets a decade around it."""
    if name == "potential":
        panels[0].margins(y=0.08)
        return
    panels[0].set_yscale("log")
    found = values[np.isfinite(values) & (values > 0)]
    if not found.size:
        return
    top = float(found.max())
    low, high = 0.6 * max(float(found.min()), _LEAST * top), 1.6 * top
    if high < 10 * low:
        middle = np.sqrt(low * high)
        low, high = middle / 10**0.5, middle * 10**0.5
    panels[0].set_ylim(low, high)
    panels[0].yaxis.set_major_locator(LogLocator(numticks=6))
    panels[0].yaxis.set_minor_formatter(NullFormatter())


def _mark_zooms(panels: np.ndarray, limits: tuple[tuple[float, float], ...], metre: Scale) -> None:
    """Names above the columns."""
    for axes, (low, high), where in zip(panels, limits, ("first", "", "last"), strict=True):
        text = f"{where} {(high - low) * metre.factor:.3g} {metre.unit}" if where else "whole device"
        axes.set_title(text, fontsize=SMALL, pad=2)
