"""Courses in time: ensemble mean with its standard error, quantile band, single realisations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from mcdev.figures.axes import Scale
from mcdev.figures.style import MEAN, SINGLE
from mcdev.protocols.timeline import Timeline
from mcdev.results.tree import experiment_of


@dataclass(frozen=True)
class Course:
    """One channel at one sweep point, first cycle; SI units, T samples without the padding."""

    time: np.ndarray
    """Middle of each sample, [T]."""
    edges: np.ndarray
    """Where samples begin and end, [T+1]."""
    mean: np.ndarray
    sem: np.ndarray
    """Standard error of the mean; NaN with fewer than two realisations."""
    band: np.ndarray | None
    """Outermost quantiles, [2, T]; None if the tree has none or there is no spread."""
    share: str
    """What the band holds, for the legend: ``5–95 %``."""
    singles: np.ndarray
    """Kept realisations, [N, T]."""

    @property
    def known(self) -> bool:
        return bool(np.isfinite(self.mean).any())


def course(tree: xr.DataTree, channel: str, point: int = 0) -> Course:
    """A channel of ``/response`` and ``/trajectories`` (``voltage``, ``current``, ``conductance`` …)."""
    at = {"point": point, "kept_cycle": 0}
    response = tree["response"].dataset
    time, width = (response[name].isel(point=point).values for name in ("time", "width"))
    samples = slice(0, int(np.isfinite(time).sum()))
    time, width = time[samples], width[samples]
    edges = np.concatenate([time - 0.5 * width, time[-1:] + 0.5 * width[-1:]])
    mean = response[channel].isel(at).values[samples]
    sem, band, share = np.full(mean.shape, np.nan), None, ""
    if f"{channel}_sem" in response:
        sem = response[f"{channel}_sem"].isel(at).values[samples]
        levels = response["quantile"].values
        if levels.size > 1:
            order = np.argsort(levels)[[0, -1]]
            outer = response[f"{channel}_quantiles"].isel(at).values[order][:, samples]
            share = f"{100 * levels[order[0]]:g}–{100 * levels[order[1]]:g} %"
            band = outer if np.any(outer[1] > outer[0]) else None
    kept = tree["trajectories"].dataset
    singles = kept[channel].isel(at).values[:, samples] if channel in kept else np.empty((0, time.size))
    return Course(time, edges, mean, sem, band, share, singles)


def window(tree: xr.DataTree, name: str, point: int = 0) -> np.ndarray:
    """First sample and one past the last of each window of that name, [n, 2]; empty if there is none."""
    response = tree["response"].dataset
    if f"window_{name}" not in response:
        return np.empty((0, 2), dtype=np.int64)
    spans = response[f"window_{name}"].isel(point=point).values
    return np.asarray(spans[spans[:, 0] >= 0])


def draw_course(
    axes: Axes, x: np.ndarray, drawn: Course, value: Scale, colour: Any, label: str = "mean", spread: bool = True
) -> None:
    """The mean against ``x`` (as shown, [T]) with its error; with ``spread`` the band and three realisations too."""
    if spread:
        if drawn.band is not None:
            low, high = drawn.band * value.factor
            axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0, label=drawn.share)
        for number, single in enumerate(drawn.singles[:3] if drawn.band is not None else ()):
            text = "single" if number == 0 else "_single"
            axes.plot(x, single * value.factor, color=colour, linewidth=SINGLE, alpha=0.55, label=text)
    if np.isfinite(drawn.sem).any():
        low, high = (drawn.mean - drawn.sem) * value.factor, (drawn.mean + drawn.sem) * value.factor
        text = "± s.e.m." if spread else "_± s.e.m."
        axes.fill_between(x, low, high, color=colour, alpha=0.4, linewidth=0, label=text)
    axes.plot(x, drawn.mean * value.factor, color=colour, linewidth=MEAN, label=label)


def draw_steps(
    axes: Axes, drawn: Course, time: Scale, value: Scale, colour: Any, label: str = "mean", spread: bool = True
) -> None:
    """The same as what it is, means over samples: a step from edge to edge of each."""
    edges = np.repeat(drawn.edges, 2)[1:-1] * time.factor

    def twice(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, 2, axis=-1)

    band, singles = (None if drawn.band is None else twice(drawn.band)), twice(drawn.singles)
    stepped = replace(drawn, mean=twice(drawn.mean), sem=twice(drawn.sem), band=band, singles=singles)
    draw_course(axes, edges, stepped, value, colour, label, spread)


def timelines(tree: xr.DataTree) -> list[Timeline]:
    """What the source did at each sweep point, straight between the edges of the samples."""
    return [experiment.timeline for _, experiment in experiment_of(tree).points()]


def draw_source(axes: Axes, source: Timeline, time: Scale, value: Scale, colour: Any, origin: float = 0.0) -> None:
    """The source's voltage; times are counted from ``origin`` (s)."""
    x = np.repeat(source.edges - origin, 2)[1:-1] * time.factor
    y = np.column_stack([source.start, source.end]).ravel() * value.factor
    axes.plot(x, y, color=colour, linewidth=0.8, label="source")
