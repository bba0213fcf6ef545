"""What stands on an axis: the name of a quantity and its unit, in SI with a prefix or in the device's own units.

The tree holds SI numbers. Where its ``reduced_units`` say that one second stands for 1/κ, an axis of time reads
κt; otherwise the prefix is chosen so that the largest number shown lies between 1 and 1000.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from mcdev.configuration.reference import unit_chosen
from mcdev.configuration.sweep import Range
from mcdev.figures.style import categories, colours
from mcdev.results.tree import experiment_of
from mcdev.schema.units import converted, customary, displayed, unit_most_written

_MOST_CURVES = 6  # in a panel
_NAMES = {"s": ("time", "t"), "V": ("voltage", "V"), "A": ("current", "I"), "S": ("conductance", "G")}
_NAMES |= {"K": ("temperature", "T"), "m": ("position", "x")}

SHOWN = 8
"""Most sweep points that one panel tells apart."""


@dataclass(frozen=True)
class Scale:
    """How numbers of one unit are shown."""

    factor: float
    """Number shown = number in the tree × factor."""
    unit: str
    """What one on the axis is, for brackets; empty for pure numbers."""
    reduced: str = ""
    """The device's own unit as the tree writes it (``G_max V_th``); empty on an SI axis."""

    def label(self, name: str, symbol: str) -> str:
        """``time t (ms)``, or ``time κt`` in the device's own units."""
        if self.reduced:
            return f"{name} ${_ratio(symbol, self.reduced)}$"
        return f"{name} ${symbol}$ ({self.unit})" if self.unit else f"{name} ${symbol}$"

    def named(self, name: str) -> str:
        """``delay (ms)``, for what has a name but no symbol."""
        return f"{name} ({self.unit})" if self.unit else name


def reduced_units(tree: xr.DataTree) -> dict[str, str]:
    """SI unit → what one of it stands for (``{"s": "1/κ"}``); empty in physical units."""
    text = str(tree.attrs.get("reduced_units", ""))
    pairs = (part.partition(" = ") for part in text.split("; ") if part)
    return {left.removeprefix("1 "): right for left, _, right in pairs}


def scale(tree: xr.DataTree, unit: str, values: np.ndarray) -> Scale:
    """The scale on which values in ``unit`` are shown."""
    own = reduced_units(tree)
    if unit in own:
        return Scale(1.0, f"${_math(own[unit])}$", own[unit])
    if unit == "Hz" and "s" in own:
        rate = own["s"].removeprefix("1/")
        return Scale(1.0, f"${_math(rate)}$", rate)
    if unit == "V/s" and {"V", "s"} <= own.keys():
        return Scale(1.0, f"${_math(own['V'] + ' ' + own['s'].removeprefix('1/'))}$")
    if unit == "1":
        return Scale(1.0, "")
    size = np.abs(values[np.isfinite(values)])
    largest = float(size.max()) if size.size else 0.0
    usual, ratio = customary(unit, largest)  # an axis that ends at 0.9995 of the next prefix still reads better with it
    return Scale(ratio, displayed(usual))


def axis_scale(tree: xr.DataTree, path: str) -> Scale:
    """How values of a sweep axis are shown: in the unit in which most of them are written in the configuration, or in
    the device's own units."""
    axis = sweep_axis(tree, path)
    unit = axis.attrs.get("units", "1")
    if unit == "1" or reduced_units(tree):
        return scale(tree, unit, axis.values)
    values = experiment_of(tree).sweep.axes[path]
    chosen = unit_most_written(unit, *([values.start, values.stop] if isinstance(values, Range) else values))
    return Scale(converted(1.0, unit, chosen), displayed(chosen))


def quantity(tree: xr.DataTree, unit: str, values: np.ndarray) -> tuple[Scale, str]:
    """Scale and axis label of time, voltage, current, conductance, temperature or position."""
    found = scale(tree, unit, values)
    return found, found.label(*_NAMES[unit])


def measurement(tree: xr.DataTree, name: str, values: np.ndarray) -> tuple[Scale, str]:
    """Scale and axis label of one measurement, in the unit of its published value if there is one; the criterion's
    symbols where it is a pure number of a pulse."""
    about = tree[f"measurements/{name}/value"].attrs
    found = scale(tree, about["units"], values)
    chosen = unit_chosen(experiment_of(tree).output.reference, name, about["units"])
    if chosen != about["units"] and not found.reduced:
        found = Scale(converted(1.0, about["units"], chosen), displayed(chosen))
    words = symbol_of(name)
    if [symbol_of(str(other)) for other in tree["measurements"].children].count(words) > 1:
        words = name
    if about["units"] == "1":
        symbols = {"pulse_conductance": "G / G_max"}
        symbols |= dict.fromkeys(("weight_change", "memristor_change"), about["criterion"].partition(",")[0])
        kinds = [str(other["value"].attrs["kind"]) for other in tree["measurements"].children.values()]
        symbol = symbols.get(about["kind"]) if kinds.count(about["kind"]) == 1 else None
        return found, f"${_math(symbol)}$" if symbol else words
    return found, found.named(words)


_GREEK = (
    "alpha",
    "beta",
    "gamma",
    "delta",
    "eta",
    "theta",
    "kappa",
    "lambda",
    "mu",
    "rho",
    "sigma",
    "tau",
    "phi",
    "chi",
)


def symbol_of(name: str) -> str:
    """A name that a user chose, as a reader of physics would write it: ``tau_d`` as τ with the index d, ``V_th``
    as V with the index th, ``ppf`` as PPF; any other with blanks for underscores."""
    first, *rest = name.split("_")
    letter = len(first) == 1 and first.isupper() and bool(rest) and rest[0].isalnum()
    if first in _GREEK or letter:
        index = rf"_\mathrm{{{rest[0]}}}" if rest and rest[0].isalnum() else ""
        symbol = first if letter else rf"\{first}"
        return ", ".join([f"${symbol}{index}$", *filter(None, rest[bool(index) :])])
    return name.upper() if name in ("ppf", "ppd", "cv") else name.replace("_", " ")


def points(tree: xr.DataTree, without: str = "") -> tuple[str, list[str]]:
    """What varies along the sweep, with its unit, and one text for each point. Both empty without a sweep.
    ``without``: path of an axis that is not named."""
    names, columns = [], []
    for path, axis in tree["sweep"].data_vars.items():
        if path == without:
            continue
        words = axis_words(axis)
        if axis.dtype.kind not in "fiu":
            names.append(words)
            columns.append([_short(str(value)) for value in axis.values])
            continue
        shown = axis_scale(tree, str(path))
        names.append(shown.named(words))
        columns.append([f"{value * shown.factor:.4g}" for value in axis.values])
    return ", ".join(names), [", ".join(row) for row in zip(*columns, strict=True)]


def point_colours(tree: xr.DataTree, shown: list[int]) -> list[Any]:
    """One colour a shown sweep point: of a palette where a name tells them apart (a preset), else along a scale."""
    axes = tree["sweep"].data_vars.values()
    named = any(axis.dtype.kind not in "fiu" and len(set(axis.values[shown])) == len(shown) for axis in axes)
    return categories(len(shown)) if named else colours(len(shown))


@dataclass(frozen=True)
class Curve:
    """Sweep points that differ in one axis alone."""

    label: str
    """Values of the other axes; empty if there are none."""
    points: list[int]
    """Their numbers, by rising value of the axis."""
    values: np.ndarray
    """Of the axis at these points, in the unit of the tree."""


def main_axis(tree: xr.DataTree) -> str | None:
    """Path of the numeric axis that has at least three values on each curve: the one that a fit is along, else the
    longest. None where there is no such axis, and where axes advance together and one is a list of names."""
    experiment = experiment_of(tree)
    axes = {str(path): axis for path, axis in tree["sweep"].data_vars.items()}
    if experiment.sweep.mode == "zip" and any(axis.dtype.kind not in "fiu" for axis in axes.values()):
        return None
    fitted = {fit.axis for fit in experiment.fits.values()}
    lengths = {
        path: min(len(set(axis.values[which])) for _, which in experiment.curves(path))
        for path, axis in axes.items()
        if axis.dtype.kind in "fiu"
    }
    long = [path for path, length in lengths.items() if length >= 3]
    return max(long, key=lambda path: (path in fitted, lengths[path]), default=None)


def sweep_axis(tree: xr.DataTree, path: str) -> xr.DataArray:
    """The sweep axis with this key path: its values [point], unit and name."""
    return tree["sweep"].dataset[path]


def axis_words(axis: xr.DataArray) -> str:
    """What an axis of a sweep is called."""
    return str(axis.attrs["long_name"]).replace("_", " ")


def protocol_kind(tree: xr.DataTree) -> str:
    """The kind of protocol of all sweep points; empty where they differ."""
    kinds = {point.protocol.kind for _, point in experiment_of(tree).points()}
    return kinds.pop() if len(kinds) == 1 else ""


def curves(tree: xr.DataTree, path: str) -> list[Curve]:
    """The sweep as curves along one of its axes."""
    axis = sweep_axis(tree, path)
    grid = experiment_of(tree).sweep.mode == "grid"
    texts = points(tree, without=path)[1] if grid else []
    found = []
    for _, which in experiment_of(tree).curves(path):
        order = [which[i] for i in np.argsort(axis.values[which], kind="stable")]
        found.append(Curve(texts[which[0]] if texts else "", order, np.asarray(axis.values[order], float)))
    return found


def some_curves(tree: xr.DataTree, path: str) -> dict[int, Curve]:
    """Number of the curve → curve, of as many as a panel can hold: evenly spread, with the first and the last."""
    every = curves(tree, path)
    chosen = sorted({round(i) for i in np.linspace(0, len(every) - 1, min(len(every), _MOST_CURVES))})
    return {i: every[i] for i in chosen}


def one_a_curve(tree: xr.DataTree, most: int = SHOWN) -> tuple[list[int], list[str], str]:
    """Sweep points for a picture of courses in time, their labels and the title of the legend. Along a numeric axis
    of a grid with others only the first value listed is shown; the rest is for the pictures against that axis."""
    path = main_axis(tree)
    if path is None or len(experiment_of(tree).curves(path)) == 1:
        shown = shown_points(tree, most)
        return shown, [points(tree)[1][i] if points(tree)[1] else "" for i in shown], sweep_title(tree, most)
    shown = [which[0] for _, which in experiment_of(tree).curves(path)][:most]
    axis = sweep_axis(tree, path)
    found = axis_scale(tree, path)
    words = axis_words(axis)
    title, labels = points(tree, without=path)
    value = f"{axis.values[shown[0]] * found.factor:.4g} {found.unit}".strip()
    return shown, [labels[i] for i in shown], f"{title}, at {words} {value}"


def shown_points(tree: xr.DataTree, most: int = SHOWN) -> list[int]:
    """The sweep points that a picture shows: all, or ``most`` of them spread evenly."""
    count = tree["realisations"].sizes["point"]
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most))})


def sweep_title(tree: xr.DataTree, most: int = SHOWN) -> str:
    """Title of a legend of sweep points; it says so where not all of them are shown."""
    title, count = points(tree)[0], tree["realisations"].sizes["point"]
    return title if count <= most else f"{title}, {most} of {count}"


def mean_label(tree: xr.DataTree, point: int = 0) -> str:
    """What the mean course at a sweep point is of: devices that broke down are not in it."""
    intact = tree["realisations"].dataset["intact"].values[point, :, 0]
    count, used = intact.size, int(intact.sum())
    if count == 1:
        return "one device"
    return f"mean of {count}" if used == count else f"mean of {used} of {count}"


def means_label(tree: xr.DataTree, shown: Sequence[int]) -> str:
    """What the mean courses at several sweep points are of, where they are of equally many; else ``means``."""
    counts = {mean_label(tree, point) for point in shown}
    return counts.pop() if len(counts) == 1 else "means"


def counted(rows: Sequence[Mapping[str, Any]]) -> str:
    """Of how many observations the means of a measurement are: `` (18 of 64, 46 censored)``, nothing where of all."""
    used, n = ([row[key] for row in rows] for key in ("n_ok", "n"))
    if used == n:
        return ""
    left = {word: [row[f"n_{word}"] for row in rows] for word in ("censored", "undefined", "failed")}
    why = ", ".join(f"{_span(numbers)} {word}" for word, numbers in left.items() if any(numbers))
    return f" ({_span(used)} of {_span(n)}{', ' if why else ''}{why})"


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}–{high}"


def first_cycle(tree: xr.DataTree) -> str:
    """The remark that only the first of several cycles is drawn; empty if there is one."""
    count = tree["realisations"].sizes["cycle"]
    return f"cycle 1 of {count}" if count > 1 else ""


def _short(text: str) -> str:
    return text if len(text) <= 24 else text[:23] + "…"


def _math(text: str) -> str:
    """``V_th`` → ``V_{\\mathrm{th}}``, words set upright, for use between dollar signs."""
    subscripts = re.sub(r"_(\w+)", lambda m: "_{" + (m[1] if len(m[1]) == 1 else rf"\mathrm{{{m[1]}}}") + "}", text)
    return subscripts.replace(" ", r"\,").replace("κ", r"{\kappa}")


def _ratio(symbol: str, unit: str) -> str:
    """A quantity over its unit, in mathematics: t over 1/κ is κt."""
    top, _, bottom = unit.partition("/")
    below = f"({_math(top)})" if " " in top else _math(top)
    times = f"{_math(bottom)} {symbol}" if bottom else symbol
    return times if top == "1" else f"{times}/{below}"
