"""Which measurements and sweep points the pictures of spread show, and what they are drawn from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from mcdev.configuration.display import counted
from mcdev.figures.axes import Scale, measurement, one_a_curve, point_colours
from mcdev.statistics.readings import Reading, readings

LEAST_DEVICES = 20
"""Fewer devices make no distribution to look at."""
LEAST_CYCLES = 3
MOST_ROWS, MOST_POINTS = 4, 4


@dataclass(frozen=True)
class Shown:
    """A measurement at the sweep points that a picture shows."""

    readings: list[Reading]
    scale: Scale
    label: str
    """Name and unit."""
    texts: list[str]
    """Of the sweep points; empty texts without a sweep."""
    colours: list[Any]
    title: str
    """Of the legend: what varies along the sweep."""

    def at(self, reading: Reading) -> str:
        """``gap (ms): 2``, the sweep point of one of the readings; empty without a sweep."""
        text = self.texts[self.readings.index(reading)]
        return f"{self.title}: {text}" if text else ""


def shown(tree: xr.DataTree, most: int = MOST_ROWS, points: int = MOST_POINTS) -> list[Shown]:
    """Up to ``most`` measurements, single numbers first, of lists the last entry."""
    which, texts, title = one_a_curve(tree, points)
    colours = point_colours(tree, which)
    every = list(readings(tree))
    names = dict.fromkeys(r.name for r in sorted(every, key=lambda r: r.entry is not None))
    found = []
    for name in list(names)[:most]:
        mine = [r for r in every if r.name == name]
        last = {r.index: r for r in mine}  # the last entry that a point has
        chosen = [(last[p], text, c) for p, text, c in zip(which, texts, colours, strict=True) if p in last]
        if not chosen:
            continue
        values = np.concatenate([r.values[r.fine] for r, _, _ in chosen])
        scale, label = measurement(tree, name, values)
        entry = chosen[0][0].entry
        label = label if entry is None else f"{label}, entry {entry + 1}"
        rows, kept, tints = zip(*chosen, strict=True)
        found.append(Shown(list(rows), scale, label, list(kept), list(tints), title))
    labels = [row.label for row in found]
    return [
        replace(row, label=f"{row.readings[0].name}: {row.label}") if labels.count(row.label) > 1 else row
        for row in found
    ]


def some_of(shown: int, devices: int) -> str:
    """How many devices a picture shows, in words."""
    every = counted(devices, "device")
    return every if devices in (1, shown) else f"{shown} of {every}"


def many_devices(tree: xr.DataTree) -> bool:
    """Whether there are enough devices for pictures of their spread."""
    return tree["realisations"].sizes["device"] >= LEAST_DEVICES


def many_cycles(tree: xr.DataTree) -> bool:
    """Whether there are enough cycles, of enough devices, for pictures of what cycles do."""
    return tree["realisations"].sizes["cycle"] >= LEAST_CYCLES and tree["realisations"].sizes["device"] > 1
