"""What there is to see of a calibration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import to_hex

from mcdev.figures.style import BLACK, BLUE, GREY, RED, categories
from mcdev.files.html import bullets, escaped
from mcdev.reports.contents import Block, Cell, Choice, Column, Contents, Curve, Of, Pairs, Panel, sortable
from mcdev.reports.in_words import provenance
from mcdev.reports.thinning import evenly, thinned

_DRAWS = 2000


def contents(tree: xr.DataTree, numbers: int) -> Contents:
    """Choices, panels and blocks of a calibration; ``numbers``: how many the panels may hold, about."""
    curves = [str(name) for name in tree.children if str(name).startswith("curve_")]
    choices = []
    if len(curves) > 1:
        titles = [str(tree[name].attrs.get("title", name)) for name in curves]
        choices.append(Choice("curve", "measured curve", titles, several=False))
    panels: list[Panel | Pairs] = [*_pulls(tree), _intervals(tree)]
    for i, name in enumerate(curves):
        of = {"curve": i} if len(curves) > 1 else {}
        panels += _curve(tree[name].dataset, int(np.clip(numbers // (8 * len(curves)), 200, 5000)), of)
    panels += [_profile(tree[str(name)].dataset) for name in tree.children if str(name).startswith("profile_")]
    panels += [*_correlation(tree), *_posterior(tree), _history(tree)]
    return Contents(tuple(choices), tuple(panels), tuple(_blocks(tree)))


def _pulls(tree: xr.DataTree) -> Iterator[Panel]:
    data = tree["targets"].dataset
    if not data.sizes["target"]:
        return
    names = [str(text) for text in data["target"].values]
    spread = np.abs(data["simulated_error"].values / data["uncertainty"].values)
    fitted = data["weight"].values > 0
    drawn = []
    for which, colour, word in ((fitted, BLACK, "fitted"), (~fitted, RED, "shown, not fitted")):
        own = np.flatnonzero(which)
        if own.size:
            pull, labels = data["pull"].values[own], [names[i] for i in own]
            drawn.append(Curve(pull, labels, "dots", word, colour, error=spread[own], across=True))
    yield Panel("pulls", "(simulated - reported)/uncertainty", "", drawn)


def _intervals(tree: xr.DataTree) -> Panel:
    data = tree["parameters"].dataset
    value, low, high = (data[name].values for name in ("value", "low", "high"))
    names, known = [str(text) for text in data["parameter"].values], data["determined"].values == 1
    with np.errstate(invalid="ignore", divide="ignore"):
        ends = np.sort(np.stack([low / value, high / value]), axis=0)
    drawn = []
    for i, name in enumerate(names):
        said = [f"{value[i]:.4g}, 95 %: {low[i]:.4g} … {high[i]:.4g} {data['unit'].values[i]}"] * 3
        colour = BLACK if known[i] else RED
        x = np.array([ends[0, i], 1.0, ends[1, i]])
        drawn.append(Curve(x, [name] * 3, "dotted line", name, colour, texts=said, key=False))
    note = "95 % interval divided by the fitted value; red: weakly determined"
    return Panel("parameters", "interval/value", "", drawn, log_x=True, note=note)


def _curve(data: xr.Dataset, most: int, of: Of) -> Iterator[Panel]:
    time, measured, simulated = (data[name].values for name in ("time", "measured", "simulated"))
    sd = data["sd"].values if "sd" in data else np.full(time.shape, data.attrs["noise"])
    which = np.union1d(thinned(measured, most), thinned(simulated, most))
    title = str(data.attrs.get("title", "curve"))
    drawn = [
        Curve(time[which], measured[which], "dots", "measured", GREY),
        Curve(time[which], simulated[which], "line", "fitted", RED),
    ]
    yield Panel(f"curve: {title}", "time (s)", "current (A)", drawn, of=of)
    away = (measured - simulated) / sd
    which = thinned(away, most)
    drawn = [Curve(time[which], away[which], "dots", "measured minus fitted", BLACK)]
    yield Panel(f"difference: {title}", "time (s)", "difference/standard deviation", drawn, of=of)


def _profile(data: xr.Dataset) -> Panel:
    unit, title = str(data["value"].attrs["units"]), str(data.attrs.get("title", ""))
    rise = data["chi_square"].values - data["chi_square"].values.min()
    ends = data["value"].values[[0, -1]]
    drawn = [
        Curve(data["value"].values, rise, "dotted line", "smallest χ²", BLACK),
        Curve(ends, np.full(2, 3.84), "dashed", "95 %", GREY),
    ]
    return Panel(f"profile: {title}", title + ("" if unit == "1" else f" ({unit})"), "χ² above its minimum", drawn)


def _correlation(tree: xr.DataTree) -> Iterator[Panel]:
    data = tree["parameters"].dataset
    names = [str(text) for text in data["parameter"].values]
    if len(names) > 1:
        found = Curve(names, names, "map", "correlation", error=data["correlation"].values)
        yield Panel(
            "correlation of the parameters",
            "",
            "",
            [found],
            note="of the natural coordinates, which are ln x for most parameters",
        )


def _posterior(tree: xr.DataTree) -> Iterator[Pairs]:
    if "posterior" not in tree:
        return
    data = tree["posterior"].dataset
    draws = data["draws"].values[evenly(data.sizes["draw"], _DRAWS)]
    names = [str(text) for text in data["parameter"].values]
    if len(names) < 2:
        return
    columns = [Column(name, draws[:, i], False) for i, name in enumerate(names)]
    words = [f"draw {i + 1}" for i in range(draws.shape[0])]
    note = "draws from the posterior, in the units of the table of parameters"
    yield Pairs("posterior", columns, np.zeros(draws.shape[0], int), [BLUE], words, note=note)


def _history(tree: xr.DataTree) -> Panel:
    data = tree["history"].dataset
    number, taken = data["start"].values.astype(int), data["taken"].values == 1
    drawn = []
    for start, colour in zip(range(number.max() + 1), categories(int(number.max()) + 1), strict=True):
        loss = np.maximum(data["loss"].values[(number == start) & taken], 1e-12)
        drawn.append(Curve(np.arange(loss.size), loss, "dotted line", f"start {start + 1}", to_hex(colour)))
    return Panel("search", "accepted step", "loss, Σ pull²", drawn, log_y=True)


# ------------------------------------------------------------------------------------- in words


def _blocks(tree: xr.DataTree) -> Iterator[Block]:
    lines = [line for line in str(tree.attrs["conclusions"]).splitlines() if line]
    if lines:
        yield Block("Conclusions", bullets(lines))
    data = tree["parameters"].dataset
    rows = [
        [str(label), *map(_cell, (value, low, high)), _unit(unit), _cell(sd), "yes" if known else "weakly"]
        for label, value, low, high, unit, sd, known in _columns(
            data, "parameter", "value", "low", "high", "unit", "sd", "determined"
        )
    ]
    headings = ["parameter", "fitted", "95 % from", "to", "unit", "s.d. of ln x", "determined"]
    yield Block("Parameters", sortable(headings, rows))
    data = tree["targets"].dataset
    if data.sizes["target"]:
        rows = [
            [str(label), *map(_cell, numbers), _unit(unit), _cell(pull), "" if weight > 0 else "not fitted"]
            for label, *numbers, unit, pull, weight in _columns(
                data, "target", "reported", "uncertainty", "simulated", "simulated_error", "unit", "pull", "weight"
            )
        ]
        headings = ["target", "reported", "uncertainty", "simulated", "standard error", "unit", "pull", ""]
        yield Block("Targets", sortable(headings, rows))
    if "models" in tree:
        names = ("model", "parameters", "numbers", "chi_square", "worst", "aic", "aicc", "bic")
        rows = [[str(name), *map(_cell, numbers)] for name, *numbers in _columns(tree["models"].dataset, *names)]
        headings = ["model", "parameters", "numbers", "χ²", "worst", "AIC", "AICc", "BIC"]
        yield Block("Models", sortable(headings, rows))
    text = f"<pre>{escaped(tree.attrs.get('configuration', ''), 100_000)}</pre>"
    yield Block("Configuration", text, unfolded=False)
    yield Block("Provenance", provenance(tree.attrs), unfolded=False)


def _columns(data: xr.Dataset, *names: str) -> Iterator[tuple[Any, ...]]:
    return zip(*(data[name].values for name in names), strict=True)


def _cell(value: object) -> Cell:
    number = float(str(value))
    return Cell(f"{number:.4g}" if np.isfinite(number) else "–", number)


def _unit(text: object) -> str:
    return "" if text == "1" else str(text)
