"""What there is to see of a run, or of a population measured from files: both leave the same tree."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from matplotlib.colors import to_hex

from mcdev.figures.axes import point_colours, points
from mcdev.reports import in_words, over_devices, over_time
from mcdev.reports.contents import Choice, Contents, Pairs, Panel
from mcdev.reports.labels import device_names, plain
from mcdev.reports.over_time import Room
from mcdev.reports.thinning import evenly
from mcdev.statistics.readings import Reading, readings

_MOST_POINTS, _MOST_READINGS = 24, 120
_ENOUGH, _FEW = 200, 60
"""Points of a curve: for fewer than the first, devices and sweep points are left out; the second in any case."""


def contents(tree: xr.DataTree, numbers: int) -> Contents:
    """Choices, panels and blocks of a run; ``numbers``: how many the panels may hold, about."""
    labels = [plain(text) for text in points(tree)[1]] or [""]
    colours = [to_hex(colour) for colour in point_colours(tree, list(range(len(labels))))]
    room = _room(tree, numbers // 2)
    shown = _by_measurement(list(readings(tree)))
    panels: list[Panel | Pairs] = [
        *over_time.panels(tree, room, labels, colours),
        *over_devices.spreads(tree, shown, numbers // 8, labels, colours),
        *over_devices.along(tree, shown, numbers // 8, colours),
        *over_devices.pairs(tree, shown, numbers // 4, colours),
    ]
    return Contents(tuple(_choices(tree, labels, room, shown)), tuple(panels), tuple(in_words.blocks(tree)))


def _room(tree: xr.DataTree, numbers: int) -> Room:
    """Enough points of every curve first, then single devices, then sweep points: a curve of ten points shows nothing,
    and two devices show that devices differ."""
    count, channels = tree["realisations"].sizes["point"], len(over_time.channels(tree))
    which, devices = evenly(count, _MOST_POINTS), tree["trajectories"].sizes.get("trajectory", 0)
    while True:
        samples = numbers // (2 * len(which) * channels * (devices + 3))
        if samples >= _ENOUGH or (devices <= 2 and len(which) <= 2):
            return Room(which, devices, int(np.clip(samples, _FEW, 4000)))
        if devices > 2:
            devices = max(devices // 2, 2)
        else:
            which = evenly(count, max(len(which) // 2, 2))


def _choices(tree: xr.DataTree, labels: list[str], room: Room, shown: list[list[Reading]]) -> Iterator[Choice]:
    if len(labels) > 1:
        begin = frozenset(room.points[i] for i in evenly(len(room.points), 4))
        yield Choice("point", f"sweep point: {plain(points(tree)[0])}", labels, begin)
    if room.devices:
        names = device_names(tree)[: room.devices]
        yield Choice("device", "single device", names, frozenset(range(min(len(names), 3))))
    if len(shown) > 1:
        yield Choice("measurement", "measurement", [each[0].label for each in shown], several=False)


def _by_measurement(found: list[Reading]) -> list[list[Reading]]:
    """The readings of each measurement (each entry of a list) at all sweep points; of very many evenly some."""
    by_label: dict[str, list[Reading]] = {}
    for reading in found:
        by_label.setdefault(reading.label, []).append(reading)
    every = list(by_label.values())
    return [every[i] for i in evenly(len(every), _MOST_READINGS)]
