"""One look for all pictures: one column wide, small type, colours that colour-blind readers can tell apart.

Every size is set on the artists themselves and no global setting is touched, so that a picture comes out the
same in a notebook and on the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from mcdev.figures.lines import in_lines, letters
from mcdev.figures.powers import PowerInLabel

COLUMN = 89 / 25.4
"""Width of a journal's column in inches: 89 mm (Nature; APS 86, IEEE 89, Elsevier 90)."""
PAGE = 183 / 25.4
"""Width of both columns in inches: 183 mm (Nature; APS 178, IEEE 182, Elsevier 190)."""
TEXT, SMALL = 8.0, 7.0
"""Type sizes in points: nothing is smaller than 7, which journals ask for."""
LINE = 0.134
"""Height of a line of a legend in inches."""
_DOTS: dict[Any, float] = {"o": 3.0, "s": 3.0, ".": 6.0}
"""Least size in a legend of markers, in points; that of a "." is half filled."""
_TITLE = 62
"""Letters of a legend's title in a line that is as wide as a column."""
MEAN, SINGLE, FRAME = 1.3, 0.45, 0.6
"""Line widths in points: ensemble means, single realisations, axes."""

# Okabe and Ito's palette (2008).
BLUE, RED, GREEN, ORANGE, GREY, BLACK = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#7A7A7A", "#000000"
WHITE = "#FFFFFF"
"""Of what is written on them."""


def sheet(height: float, width: float = COLUMN) -> Figure:
    """An empty figure, one column wide and ``height`` inches high."""
    return Figure(figsize=(width, height), layout="constrained")


def styled(figure: Figure, style: str) -> Figure:
    """The figure as wide as a column (``single``) or as a page (``double``) of a journal, with type of the same size:
    what is wide already stays so, and what grows in width grows a little in height."""
    if style == "double" and (width := figure.get_figwidth()) < PAGE:
        figure.set_size_inches(PAGE, figure.get_figheight() * (PAGE / width) ** 0.4)
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)  # once more than drawing does: numbers on the axes follow from the panels' sizes
    return figure


def dress(axes: Axes, x: str = "", y: str = "") -> None:
    """Labels, ticks and frame of one panel."""
    axes.set_xlabel(x, fontsize=TEXT, labelpad=2)
    axes.set_ylabel(y, fontsize=TEXT, labelpad=2)
    axes.tick_params(which="both", direction="in", labelsize=SMALL, width=FRAME, top=True, right=True, pad=2)
    axes.tick_params(axis="x", which="both", pad=4)  # in the corner its first number lies below that of the other axis
    axes.tick_params(which="major", length=3)
    axes.tick_params(which="minor", length=1.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_offset_text().set_fontsize(SMALL)
        if type(axis.get_major_formatter()) is ScalarFormatter:
            axis.set_major_formatter(PowerInLabel())
    for spine in axes.spines.values():
        spine.set_linewidth(FRAME)


def legend(axes: Axes, more: Sequence[Axes] = (), title: str = "") -> None:
    """The legend of what is labelled in a panel and in ``more`` that lie upon it."""
    found = [panel.get_legend_handles_labels() for panel in (axes, *more)]
    key(axes, [h for handles, _ in found for h in handles], [str(t) for _, texts in found for t in texts], title)


def key(
    place: Axes | FigureBase,
    handles: Sequence[Any],
    labels: Sequence[str],
    title: str = "",
    loc: str = "best",
    columns: int = 1,
) -> None:
    """A legend of these handles, if there are any. A long title takes several lines."""
    title = in_lines(title, _TITLE)
    look: dict[str, Any] = {"fontsize": SMALL, "title_fontsize": SMALL, "edgecolor": "none", "framealpha": 0.75}
    look |= {"handlelength": 1.6, "labelspacing": 0.25, "borderaxespad": 0.3, "borderpad": 0.2}
    look |= {"title": title or None, "loc": loc, "ncols": columns, "columnspacing": 1.2}
    if handles:
        for line in place.legend(handles, labels, **look).get_lines():
            if line.get_marker() in _DOTS:  # a dot that is right among many is too small to show its colour
                line.set_markersize(max(line.get_markersize(), _DOTS[line.get_marker()]))


def legend_above(figure: Figure, panels: Sequence[Axes], title: str = "") -> None:
    """One legend of what is labelled in these panels, above them all."""
    known: dict[str, Any] = {}
    for panel in panels:
        for handle, text in zip(*panel.get_legend_handles_labels(), strict=True):
            known.setdefault(str(text), handle)
    key_above(figure, list(known.values()), list(known), title)


def key_above(figure: Figure, handles: Sequence[Any], labels: Sequence[str], title: str = "") -> None:
    """A legend above all panels, for which the figure grows: inside a panel it would hide curves."""
    lengths = [max(letters(line) for line in text.splitlines()) + 6 for text in labels]
    fitting = (n for n in range(min(len(labels), 6), 1, -1) if sum(map(max, np.array_split(lengths, n))) <= 60)
    columns = next(fitting, 1)
    lines = sum(text.count("\n") for text in labels) + -(-len(labels) // columns)
    lines += len(in_lines(title, _TITLE).splitlines())
    figure.set_figheight(figure.get_figheight() + 0.05 + LINE * lines)
    key(figure, handles, labels, title, "outside upper center", columns)


_BEHIND: dict[str, Any] = {"facecolor": WHITE, "alpha": 0.75, "edgecolor": "none", "pad": 0.5}
"""Behind a remark, so that it can be read over curves."""


def remark(axes: Axes, text: str, where: str = "middle") -> None:
    """A sentence inside a panel: in its ``middle``, or at its upper left (``corner``)."""
    x, y, ha, va = (0.5, 0.5, "center", "center") if where == "middle" else (0.015, 0.98, "left", "top")
    words = in_lines(text, 48)  # a long line would squeeze the panel
    axes.text(x, y, words, transform=axes.transAxes, ha=ha, va=va, fontsize=SMALL, color=GREY, bbox=_BEHIND)


def plain_ticks(axis: XAxis | YAxis, each: tuple[float, ...] = (1, 2, 5)) -> None:
    """Numbers on a logarithmic axis of few decades, where powers of ten would be too few or hard to read: ``each`` of
    every decade below two decades, even steps below a factor of four, 0.1, 1, 10 up to four decades."""
    low, high = sorted(axis.get_view_interval())
    if 0 < high <= 4 * low:
        axis.set_major_locator(MaxNLocator(4))
    elif 0 < high < 100 * low:
        axis.set_major_locator(LogLocator(subs=each))
    elif not 1e-3 <= low < high <= min(1e4, 1e4 * low):
        return
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def colours(count: int) -> list[Any]:
    """One colour a sweep point, in the order of the points; blue if there is only one."""
    if count == 1:
        return [BLUE]
    return [colormaps["viridis"](share) for share in np.linspace(0.0, 0.85, count)]


def categories(count: int) -> list[Any]:
    """One colour a thing that has a name and no place on a scale."""
    palette = [BLACK, RED, BLUE, GREEN, ORANGE, GREY]
    return palette[:count] if 1 < count <= len(palette) else colours(count)
