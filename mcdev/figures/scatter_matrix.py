"""Every measurement against every other, a point a device, with Spearman's correlations."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mcdev.figures.axes import measurement, points
from mcdev.figures.lines import in_lines
from mcdev.figures.spread import many_devices, some_of
from mcdev.figures.style import BLUE, PAGE, SMALL, dress, plain_ticks, remark, sheet
from mcdev.statistics.correlation import Correlation, correlate
from mcdev.statistics.readings import Reading, few, readings

NAME = "scatter_matrix"

_MEASUREMENTS, _POINTS, _LEAST = 5, 800, 10


def applies(tree: xr.DataTree) -> bool:
    return many_devices(tree) and _choice(tree) is not None


def draw(tree: xr.DataTree) -> Figure:
    """At the first sweep point that has two measurements with values: below the diagonal the means of the devices over
    their cycles, up to 800; on it their histograms; above it Spearman's correlation with its 95 % interval, D2D and,
    with several cycles, C2C."""
    found = _choice(tree)
    assert found is not None
    levels = correlate(found)
    size = len(found)
    wide = size > 3  # more than a column has room for
    figure = sheet(5.4, PAGE) if wide else sheet(3.4 if size > 2 else 3.25)
    panels = figure.subplots(size, size, squeeze=False)
    named = [_named(tree, r) for r in found]
    for i in range(size):
        for j in range(size):
            axes = panels[i, j]
            if j < i:
                size_of = 2 if named[j][0].size > 100 else 4
                axes.plot(named[j][0], named[i][0], ".", color=BLUE, markersize=size_of, alpha=0.5, markeredgewidth=0)
            elif i == j:
                _histogram(axes, named[i][0])
            else:
                _words(axes, levels, i, j)
                continue
            log = [bool(np.nanmin(x) > 0 and np.nanmax(x) > 10 * np.nanmin(x)) for x, _ in (named[j], named[i])]
            _scales(axes, log[0], log[1] and j < i)
            dress(axes, named[j][1] if i == size - 1 else "", named[i][1] if j == 0 and i > 0 else "")
            for axis in (axes.xaxis, axes.yaxis):
                axis.label.set_fontsize(SMALL)  # a panel is narrow
            axes.tick_params(labelbottom=i == size - 1, labelleft=j == 0 and i > 0)
            axes.tick_params(axis="x", labelrotation=90 if size > 3 else 0)
    figure.align_labels()
    title, texts = points(tree)
    devices, drawn = tree["realisations"].sizes["device"], named[0][0].size
    where = f"{title}: {texts[found[0].index]}; " if texts else ""
    said = f"{where}a dot is one of {some_of(drawn, devices)}; numbers: rank correlation, 95 % interval"
    words = in_lines(said, 120 if wide else 60)
    figure.suptitle(words, fontsize=SMALL)
    return figure


def _choice(tree: xr.DataTree) -> list[Reading] | None:
    """Measurements with values that vary in ten devices, single numbers first, at the first point with two of them."""
    every = list(readings(tree))
    for index in range(tree["realisations"].sizes["point"]):
        here = sorted(few([r for r in every if r.index == index], 2), key=lambda r: r.entry is not None)
        fit = [r for r in here if r.fine.any(axis=1).sum() >= _LEAST and np.ptp(r.values[r.fine]) > 0]
        if len(fit) > 1:
            return fit[:_MEASUREMENTS]
    return None


def _named(tree: xr.DataTree, reading: Reading) -> tuple[np.ndarray, str]:
    """Means of the devices as they are shown (geometric ones of positive values), and the label."""
    use = reading.fine.any(axis=1)
    means = np.full(use.size, np.nan)
    total = np.where(reading.fine, reading.even, 0.0).sum(axis=1)
    means[use] = total[use] / reading.fine.sum(axis=1)[use]
    values = np.exp(means) if reading.positive else means
    scale, label = measurement(tree, reading.name, values)
    shown = np.unique(np.linspace(0, use.size - 1, min(use.size, _POINTS)).round().astype(int))
    entry = "" if reading.entry is None else f" [{reading.entry + 1}]"
    return values[shown] * scale.factor, label + entry


def _histogram(axes: Axes, values: np.ndarray) -> None:
    good = values[np.isfinite(values)]
    wide = good.min() > 0 and good.max() > 10 * good.min()
    count = int(np.clip(1.5 * np.sqrt(good.size), 6, 25))
    edges = np.geomspace(good.min(), good.max(), count + 1) if wide else np.linspace(good.min(), good.max(), count + 1)
    axes.hist(good, list(edges), color=BLUE, alpha=0.35)


def _words(axes: Axes, levels: list[Correlation], i: int, j: int) -> None:
    axes.set_axis_off()
    lines = []
    for level in levels:
        r = level.interval("spearman", i, j)
        if np.isfinite(r.value):
            ends = f"\n{r.low:.2f} … {r.high:.2f}" if np.isfinite(r.low) else ""
            lines.append(f"{level.level} {r.value:.2f}{ends}")
    remark(axes, "\n".join(lines) or "-")


def _scales(axes: Axes, x: bool, y: bool) -> None:
    for axis, log, name in ((axes.xaxis, x, "x"), (axes.yaxis, y, "y")):
        if log:
            (axes.set_xscale if name == "x" else axes.set_yscale)("log")
            low, high = axis.get_view_interval()
            plain_ticks(axis, (1, 3) if high < 30 * low else (1,))  # a panel is narrow
        else:
            axis.set_major_locator(MaxNLocator(2))
