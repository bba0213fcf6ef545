"""Where a synapse learns: its change of weight against two parameters of the circuit, as a map."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mcdev.figures.axes import axis_scale, axis_words, measurement, sweep_axis
from mcdev.figures.lines import in_lines
from mcdev.figures.style import BLACK, SMALL, TEXT, dress, key, remark, sheet
from mcdev.measurements.memristor_change import MemristorChange
from mcdev.results.tree import experiment_of
from mcdev.statistics import summarise

NAME = "learning_map"

_LEAST = 0.05
"""Least relative change of weight that counts as learned."""
_SELECTIVE = 0.5
"""Largest share of it that may remain at the longest interval."""
_INTERVALS = ("protocol.t_zero", "protocol.delta_t")


def applies(tree: xr.DataTree) -> bool:
    return bool(measurements(tree))


def measurements(tree: xr.DataTree) -> set[str]:
    """Names of the measurements that this picture shows."""
    experiment = experiment_of(tree)
    if experiment.sweep.mode != "grid" or len(_plane(tree)) != 2 or experiment.fits:
        return set()
    return {
        name
        for name, m in experiment.measurements.items()
        if isinstance(m, MemristorChange) and m.relative_to == "first_read"
    }


def draw(tree: xr.DataTree) -> Figure:
    """One panel a measurement and interval between spikes; colour: mean over devices. The line surrounds the region
    where learning works: the mean change is at least 5 % at the shortest interval and, where the sweep has a longer
    one, at most half of that at the longest."""
    names, plane = sorted(measurements(tree)), _plane(tree)
    interval = next((path for path in experiment_of(tree).sweep.axes if path in _INTERVALS), None)
    times = np.unique(sweep_axis(tree, interval).values) if interval else np.array([np.nan])
    times = times[np.argsort(np.abs(times))]
    figure = sheet(0.6 + 2.1 * len(names) * times.size)
    panels = figure.subplots(len(names) * times.size, 1, squeeze=False).reshape(len(names), times.size)
    for name, row in zip(names, panels, strict=True):
        records = [r for r in summarise(tree, variability=False) if r["measurement"] == name]
        mean = np.array([np.nan if r["mean"] is None else r["mean"] for r in records])
        maps = [_grid(tree, plane, mean, interval, time) for time in times]
        size = float(np.nanmax(np.abs(np.stack(maps)))) if np.isfinite(np.stack(maps)).any() else 1.0
        works = np.abs(maps[0]) >= _LEAST
        if times.size > 1:
            works &= np.abs(maps[-1]) <= _SELECTIVE * np.abs(maps[0])
        longer = f", at most {_SELECTIVE:.0%} of it at the longest" if times.size > 1 else ""
        said = f"learning works: mean change ≥ {_LEAST:.0%}{' at the shortest interval' if interval else ''}{longer}"
        for axes, time, values in zip(row, times, maps, strict=True):
            _draw_map(tree, axes, plane, values, works, size, name)
            if interval:
                shown = axis_scale(tree, interval)
                word = axis_words(sweep_axis(tree, interval))
                axes.set_title(f"{word} = {time * shown.factor:.4g} {shown.unit}", fontsize=TEXT, pad=3)
            if not works.any():
                remark(axes, "learning works nowhere here", "corner")
        key(figure, [Line2D([], [], color=BLACK, linewidth=1.4)], [in_lines(said, 58)], "", "outside upper center")
    return figure


def _plane(tree: xr.DataTree) -> list[str]:
    """Paths of the numeric axes with at least three values, but not the interval between spikes."""
    found = []
    for path in experiment_of(tree).sweep.axes:
        values = sweep_axis(tree, path).values
        if path not in _INTERVALS and values.dtype.kind in "fiu" and np.unique(values).size >= 3:
            found.append(path)
    others = [path for path in experiment_of(tree).sweep.axes if path not in found and path not in _INTERVALS]
    return [] if others else found


def _grid(tree: xr.DataTree, plane: list[str], mean: np.ndarray, interval: str | None, time: float) -> np.ndarray:
    """Values as [second axis, first axis] at one interval."""
    x, y = (sweep_axis(tree, path).values for path in plane)
    chosen = np.ones(x.size, bool) if interval is None else sweep_axis(tree, interval).values == time
    rows, columns = np.unique(y), np.unique(x)
    found = np.full((rows.size, columns.size), np.nan)
    found[np.searchsorted(rows, y[chosen]), np.searchsorted(columns, x[chosen])] = mean[chosen]
    return found


def _draw_map(
    tree: xr.DataTree, axes: Axes, plane: list[str], values: np.ndarray, works: np.ndarray, size: float, name: str
) -> None:
    centres, shown, words = [], [], []
    for path in plane:
        axis = sweep_axis(tree, path)
        found = axis_scale(tree, path)
        centres.append(np.unique(np.asarray(axis.values, float)) * found.factor)
        shown.append(found)
        of = "2nd memristor's " if path.startswith("circuit.memristor.") else ""
        words.append(of + found.named(axis_words(axis)))
    upright, label = measurement(tree, name, values)
    edges = [_edges(c) for c in centres]
    mesh = axes.pcolormesh(*edges, values * upright.factor, cmap="RdBu_r", vmin=-size, vmax=size, rasterized=True)
    for axis_name, c in zip(("x", "y"), centres, strict=True):
        if _logarithmic(c):
            getattr(axes, f"set_{axis_name}scale")("log")
    _outline(axes, edges, works)
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02)
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label(label, fontsize=TEXT)
    dress(axes, *words)


def _outline(axes: Axes, edges: list[np.ndarray], works: np.ndarray) -> None:
    """A line along the cells' sides between where learning works and where it does not, and along the map's rim."""
    x, y = edges
    around = np.pad(works, 1)
    for i, j in np.argwhere(around[:, 1:] != around[:, :-1]):
        if 1 <= i <= works.shape[0]:
            axes.plot([x[j], x[j]], [y[i - 1], y[i]], color=BLACK, linewidth=1.4, clip_on=False, zorder=4)
    for i, j in np.argwhere(around[1:] != around[:-1]):
        if 1 <= j <= works.shape[1]:
            axes.plot([x[j - 1], x[j]], [y[i], y[i]], color=BLACK, linewidth=1.4, clip_on=False, zorder=4)


def _logarithmic(values: np.ndarray) -> bool:
    return bool(values[0] > 0) and bool(values[-1] > 10 * values[0])


def _edges(centres: np.ndarray) -> np.ndarray:
    """Sides of cells around these centres, halfway between them (in the logarithm over decades)."""
    if _logarithmic(centres):
        return np.exp(_edges_of(np.log(centres)))
    return _edges_of(centres)


def _edges_of(c: np.ndarray) -> np.ndarray:
    middle = 0.5 * (c[1:] + c[:-1])
    return np.concatenate([[2 * c[0] - middle[0]], middle, [2 * c[-1] - middle[-1]]])
