"""Panels of the nanoparticles' density at a few moments (Wang et al. 2017, Fig. 4, panels a1-a4 and b1-b6)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Affine2D, Bbox

from mcdev.figures.axes import Scale, points, quantity
from mcdev.figures.courses import Course
from mcdev.figures.lines import in_lines
from mcdev.figures.style import BLUE, ORANGE, RED, SMALL, WHITE, dress, remark

_GOLDEN = 0.618033988749895
_AROUND = tuple(np.radians((90, 45, 135, 0, 180, -90, -45, -135, 68, 112, 22, 158, -22, -158)))
"""Directions from a point in which its name may stand: above is best."""


class Moment(NamedTuple):
    name: str
    sample: int


def has_density(tree: xr.DataTree) -> bool:
    """Whether these results hold the density along the device; measured devices have none."""
    profile = tree["profile"].dataset
    return "density" in profile and bool(np.isfinite(profile["density"]).any())


def draw_panels(
    figure: Figure, place: SubplotSpec, tree: xr.DataTree, moments: list[Moment], span: float
) -> list[Axes]:
    """One panel a moment, two rows: the ensemble's density averaged over ``span`` seconds around it (line), and the
    particles of the first realisation at that instant (dots, spread upwards so that none hides another)."""
    time, width = (tree["response"].dataset[name].isel(point=0).values for name in ("time", "width"))
    ends = time + 0.5 * width  # the profile and the positions are taken at the end of a sample
    density = tree["profile"].dataset["density"].isel(point=0, kept_cycle=0).values
    bins = tree["profile"].dataset["position"].values[0]
    bins, density = bins[np.isfinite(bins)], density[:, np.isfinite(bins)]
    half = 0.5 * (bins[1] - bins[0])
    walls = np.array([bins[0] - half, bins[-1] + half])
    length, x_label = quantity(tree, "m", walls)
    mean = [_average(density, ends, width, moment.sample, span) for moment in moments]
    floor, ceiling = _limits(np.array(mean))

    columns = -(-len(moments) // 2)
    grid = place.subgridspec(-(-len(moments) // columns), columns)
    panels: list[Axes] = []
    for number, (moment, curve) in enumerate(zip(moments, mean, strict=True)):
        row, column = divmod(number, columns)
        panel = figure.add_subplot(grid[row, column], sharex=panels[0] if panels else None)
        panel.set_yscale("log")
        panel.set_ylim(floor / length.factor, ceiling / length.factor)
        panel.set_xlim(walls[0] * length.factor, walls[1] * length.factor)
        lowest = number + columns >= len(moments)
        dress(panel, x_label.removeprefix("position ") if lowest else "", "")
        panel.tick_params(labelbottom=lowest, labelleft=column == 0)
        panel.tick_params(axis="x", which="both", pad=5.5)  # a power of ten reaches further down than a number
        if column == 0:
            panel.set_ylabel(_density_label(length), fontsize=SMALL, labelpad=1)
        if np.isfinite(curve).any():
            shown = np.maximum(curve, 0.01 * floor) / length.factor  # nothing there: below the axis, not on it
            panel.fill_between(bins * length.factor, shown, color=BLUE, alpha=0.16, linewidth=0)
            panel.plot(bins * length.factor, shown, color=BLUE, linewidth=1.0, label="density")
        else:
            remark(panel, "no intact realisation")
        _draw_particles(panel, tree, moment.sample, length)
        panel.text(0.5, 0.97, moment.name, transform=panel.transAxes, ha="center", va="top", fontsize=SMALL)
        panels.append(panel)
    title, texts = points(tree)
    if texts:
        words = in_lines(f"densities at {title}: {texts[0]}", 60)
        at: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (0, 2), "textcoords": "offset points"}
        panels[0].annotate(words, (0, 1), fontsize=SMALL, annotation_clip=False, **at).set_in_layout(False)
        # Room above for its lines and none beside: what is wider than its panel would push the others away.
        panels[0].set_title("\n".join(" " for _ in words.splitlines()), fontsize=SMALL, loc="right", pad=2)
    return panels


def mark_moments(axes: Axes, moments: list[Moment], x: np.ndarray, drawn: Course, value: Scale) -> None:
    """Numbered dots on the mean course at the moments of the panels; ``x`` as shown, [T]."""
    taken: list[Bbox] = []
    for moment in moments:
        at = max(x[moment.sample], axes.get_xlim()[0]), drawn.mean[moment.sample] * value.factor
        if not np.isfinite(at).all():
            continue
        look: dict[str, Any] = {"markersize": 3.6, "color": ORANGE, "markeredgecolor": "white", "markeredgewidth": 0.5}
        axes.plot(*at, "o", zorder=6, label="moments of the densities below", **look)
        spot = _free(axes, at, taken)
        name = axes.annotate(moment.name, at, spot, textcoords="offset points", fontsize=SMALL, zorder=7)
        name.set(ha="center", va="center", path_effects=[withStroke(linewidth=1.5, foreground=WHITE)])


def _free(axes: Axes, at: tuple[float, float], taken: list[Bbox]) -> tuple[float, float]:
    """Where the name of a point stands, in points from it: the first place inside the panel on which no other name
    and no other marked point lies; it is then ``taken``."""
    x, y = axes.transData.transform(at) * 72.0 / axes.figure.dpi
    panel = axes.bbox.transformed(Affine2D().scale(72.0 / axes.figure.dpi))
    taken.append(Bbox.from_bounds(x - 2, y - 2, 4, 4))
    places = [(r * float(np.cos(a)), r * float(np.sin(a))) for r in (8.5, 14.0, 20.0, 28.0) for a in _AROUND]
    boxes = {place: Bbox.from_bounds(x + place[0] - 5, y + place[1] - 4, 10, 8) for place in places}
    inside = [p for p, box in boxes.items() if panel.containsx(box.x0) and panel.containsx(box.x1)]
    inside = [p for p in inside if panel.containsy(boxes[p].y0) and panel.containsy(boxes[p].y1)]
    free = (p for p in inside if not any(boxes[p].overlaps(box) for box in taken))
    found = next(free, (inside or places)[0])
    taken.append(boxes[found])
    return found


def _average(density: np.ndarray, ends: np.ndarray, width: np.ndarray, sample: int, span: float) -> np.ndarray:
    near = np.abs(ends - ends[sample]) <= 0.5 * span
    near[sample] = True
    return np.asarray(np.average(density[near], axis=0, weights=width[near]))


def _limits(mean: np.ndarray) -> tuple[float, float]:
    """Decades to show: from the least density that is found, at most four below the largest, to as far above it
    as the dots need: the largest lies at 62 % of the height."""
    found = mean[np.isfinite(mean) & (mean > 0)]
    if not found.size:
        return 0.1, 10.0
    top = float(found.max())
    floor = max(0.5 * float(found.min()), 1e-4 * top)
    return floor, floor * (top / floor) ** (1 / 0.62)


def _draw_particles(panel: Axes, tree: xr.DataTree, sample: int, length: Scale) -> None:
    kept = tree["trajectories"].dataset
    if "position" not in kept or not kept["position"].size:
        return
    position = kept["position"].isel(point=0, kept_cycle=0, trajectory=0, sample=sample).values
    height = 0.70 + 0.16 * (np.arange(position.size) * _GOLDEN % 1.0)
    panel.plot(
        position * length.factor,
        height,
        "o",
        transform=panel.get_xaxis_transform(),
        markersize=1.6,
        color=RED,
        markeredgewidth=0,
        label="particles",
    )


def _density_label(length: Scale) -> str:
    if length.reduced:
        return f"density\n$n{length.reduced}$"
    return f"density\n$n$ (1/{length.unit})"
