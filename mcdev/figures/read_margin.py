"""Read margin of a crossbar against its size: what sneak currents leave of the difference between two states."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcdev.circuits.crossbar import Crossbar
from mcdev.configuration.experiment import Experiment
from mcdev.devices.volatile_threshold import VolatileThreshold
from mcdev.figures.axes import point_colours
from mcdev.figures.style import FRAME, GREY, dress, key, remark, sheet
from mcdev.measurements.contract import OK
from mcdev.measurements.mean_current import MeanCurrent
from mcdev.results.tree import experiment_of
from mcdev.schema import typical

NAME = "read_margin"

_SIZE = "circuit.rows"
_CURVES = 6
"""Most curves in a panel."""


def applies(tree: xr.DataTree) -> bool:
    return bool(measurements(tree))


def measurements(tree: xr.DataTree) -> set[str]:
    """Names of the read currents that this picture shows."""
    experiment = experiment_of(tree)
    axes = experiment.sweep.axes
    if (
        experiment.sweep.mode != "grid"
        or _SIZE not in axes
        or _state(experiment) is None
        or len(_lines(tree)) > _CURVES
    ):
        return set()
    if min(len(line) for line in _lines(tree)) < 2:
        return set()
    return {name for name, m in experiment.measurements.items() if isinstance(m, MeanCurrent) and m.element == "sense"}


def _state(experiment: Experiment) -> str | None:
    """The axis along which the selected memristor alone has two values; None where there is no such."""
    circuit = experiment.circuit
    if not isinstance(circuit, Crossbar) or circuit.background is None:
        return None
    table = "device." if circuit.cell is None else "circuit.cell."
    values = {path: {str(point[path]) for point in experiment.sweep.points()} for path in experiment.sweep.axes}
    return next((path for path, each in values.items() if path.startswith(table) and len(each) == 2), None)


def _lines(tree: xr.DataTree) -> list[dict[float, list[int]]]:
    """Curves: word lines → the two sweep points with this size."""
    experiment = experiment_of(tree)
    found: dict[str, dict[float, list[int]]] = {}
    for number, values in enumerate(experiment.sweep.points()):
        others = str({path: value for path, value in values.items() if path not in (_SIZE, _state(experiment))})
        found.setdefault(others, {}).setdefault(float(values[_SIZE]), []).append(number)
    return [dict(sorted(line.items())) for line in found.values()]


def margins(tree: xr.DataTree, name: str, pair: list[int]) -> np.ndarray:
    """(I_low - I_high)/I_low of each realisation that has both: I_low with the selected memristor in the state of the
    larger mean current, its low resistance."""
    data = tree[f"measurements/{name}"].dataset
    good = np.where(data["status"].values == OK, data["value"].values, np.nan)[pair].reshape(len(pair), -1)
    both = good[:, np.isfinite(good).all(axis=0)]
    low, high = sorted(both, key=lambda row: -float(np.mean(row))) if both.size else both
    return np.asarray((low - high) / low)


def draw(tree: xr.DataTree) -> Figure:
    """One panel a read current: mean over devices with its standard error, band 5-95 % of them."""
    names = sorted(measurements(tree))
    figure = sheet(0.75 + 1.9 * len(names))
    for name, axes in zip(names, np.ravel(figure.subplots(len(names), 1, squeeze=False)), strict=True):
        _draw(tree, axes, name)
    return figure


def _draw(tree: xr.DataTree, axes: Axes, name: str) -> None:
    lines = _lines(tree)
    title, texts = _words(tree, [line[min(line)][0] for line in lines])
    colours = point_colours(tree, [line[min(line)][0] for line in lines])
    handles: list[Any] = []
    counts: set[int] = set()
    for line, colour in zip(lines, colours, strict=True):
        found = [margins(tree, name, pair) for pair in line.values()]
        counts |= {each.size for each in found}
        x = np.array([size for size, each in zip(line, found, strict=True) if each.size])
        found = [each for each in found if each.size]
        if not found:
            continue
        if max(each.size for each in found) > 1:
            low, high = np.array([np.quantile(each, [0.05, 0.95]) for each in found]).T
            axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
        error = [np.std(each, ddof=1) / np.sqrt(each.size) if each.size > 1 else 0.0 for each in found]
        look: dict[str, Any] = {"markersize": 2.6, "linewidth": 0.8, "elinewidth": 0.7, "capsize": 1.4}
        handles.append(axes.errorbar(x, [each.mean() for each in found], error, fmt="o-", color=colour, **look))
    if not handles:
        remark(axes, "no current was read")
    axes.set_xscale("log", base=2)
    sizes = sorted({size for line in lines for size in line})
    axes.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
    axes.minorticks_off()
    axes.axhline(0.0, color=GREY, linewidth=FRAME, zorder=0)
    axes.set_ylim(min(-0.04, axes.get_ylim()[0]), 1.04)
    circuit = experiment_of(tree).circuit
    assert isinstance(circuit, Crossbar)
    square = circuit.columns is None
    dress(
        axes,
        "array size N (N word lines × N bit lines)" if square else f"word lines (× {circuit.columns} bit lines)",
        r"read margin $(I_{\mathrm{low}} - I_{\mathrm{high}})\,/\,I_{\mathrm{low}}$",
    )
    n = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
    said = f"{circuit.scheme} scheme, mean ± s.e., band 5–95 %, n = {n}"
    key(axes.figure, handles, texts, f"{said}\n{title}" if title else said, "outside upper center", len(handles) or 1)


def _words(tree: xr.DataTree, first: list[int]) -> tuple[str, list[str]]:
    """What differs from curve to curve, and a text for each: the ratio of a selector's two conductances, or the axes
    as they are."""
    experiment = experiment_of(tree)
    others = [path for path in experiment.sweep.axes if path not in (_SIZE, _state(experiment))]
    if others in (["device.on_conductance"], ["device.off_conductance"]):
        tables = [experiment.point(number).device for number in first]
        switches = [table for table in tables if isinstance(table, VolatileThreshold)]
        ratios = [typical(table.on_conductance) / typical(table.off_conductance) for table in switches]
        return "on/off ratio of the selectors", [_power(ratio) for ratio in ratios]
    if not others:
        return "", ["mean"] * len(first)
    labels = [str(path).rpartition(".")[2].replace("_", " ") for path in others]
    values = [experiment.sweep.points()[number] for number in first]
    return ", ".join(labels), [", ".join(str(each[path]) for path in others) for each in values]


def _power(ratio: float) -> str:
    """A ratio as a power of ten, where it is one."""
    exponent = np.log10(ratio)
    return f"$10^{{{exponent:.0f}}}$" if abs(exponent - round(exponent)) < 1e-6 else f"{ratio:.3g}"
