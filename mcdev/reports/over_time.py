"""Panels over time: the source, channels, loops, spectra, spikes, and what varies along the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from mcdev.figures.axes import Scale, points, quantity, scale
from mcdev.figures.courses import course, timelines
from mcdev.reports.contents import Curve, Panel
from mcdev.reports.labels import device_names, plain
from mcdev.reports.thinning import evenly, thinned

_SYMBOLS = ("voltage", "current", "conductance", "temperature")
"""Channels whose axes have a symbol."""
_MAPS = 8
"""Most sweep points with a map."""
_SPIKING = 30
"""Devices in a picture of spikes."""


class Room(NamedTuple):
    """How much of a run a report holds."""

    points: list[int]
    """Sweep points whose courses are shown."""
    devices: int
    samples: int
    """Of each course."""


def panels(tree: xr.DataTree, room: Room, labels: list[str], colours: list[str]) -> Iterator[Panel]:
    """All of them; ``labels`` and ``colours``: of each sweep point."""
    yield from _courses(tree, room, labels, colours)
    yield from _loops(tree, room, labels, colours)
    yield from _spectra(tree, room, labels, colours)
    yield from _spikes(tree, room, labels, colours)
    yield from _maps(tree, room, labels)


def channels(tree: xr.DataTree) -> dict[str, Mapping[str, Any]]:
    """Name → attributes of what has a course."""
    data = tree["response"].dataset
    return {str(n): data[n].attrs for n in data.data_vars if f"{n}_sem" in data}


def _courses(tree: xr.DataTree, room: Room, labels: list[str], colours: list[str]) -> Iterator[Panel]:
    """The source's voltage, then each channel: mean, outermost quantiles, single devices."""
    sources = timelines(tree)
    time, time_label = quantity(tree, "s", np.array([sources[i].duration for i in room.points]))
    left = len(labels) - len(room.points)
    legend, names = plain(points(tree)[0]), device_names(tree)
    note = f"this file has the courses of {len(room.points)} of {len(labels)} sweep points. " if left else ""
    if tree["realisations"].sizes["cycle"] > 1:
        note += f"the first of {tree['realisations'].sizes['cycle']} cycles. "
    highest = np.concatenate([np.append(sources[i].start, sources[i].end) for i in room.points])
    volts, volts_label = quantity(tree, "V", highest)
    drawn = []
    for i in room.points:
        x = np.repeat(sources[i].edges, 2)[1:-1]
        y = np.column_stack([sources[i].start, sources[i].end]).ravel()
        which = thinned(y, 4 * room.samples)
        drawn.append(
            Curve(x[which] * time.factor, y[which] * volts.factor, "line", labels[i], colours[i], {"point": i})
        )
    yield Panel("source", plain(time_label), plain(volts_label), drawn, legend=legend, note=note)
    for name, about in channels(tree).items():
        each = {i: course(tree, name, i) for i in room.points}
        if not any(np.isfinite(one.mean).any() for one in each.values()):  # a state, of which no file tells
            continue
        value, label = _labelled(tree, name, about, np.concatenate([c.mean for c in each.values()]))
        drawn = []
        for i, one in each.items():
            of, text = {"point": i}, f"{labels[i]} " if labels[i] else ""
            edges = np.repeat(one.edges, 2)[1:-1] * time.factor  # a number is the mean of its sample: a step
            if one.band is not None:
                low, high = np.repeat(one.band * value.factor, 2, axis=1)
                which = np.union1d(thinned(low, room.samples), thinned(high, room.samples))
                share = f"{text}{one.share}"
                drawn.append(
                    Curve(edges[which], high[which], "band", share, colours[i], of, error=low[which], key=False)
                )
            for device, single in enumerate(one.singles[: room.devices]):
                y = np.repeat(single * value.factor, 2)
                which, own = thinned(y, room.samples), of | {"device": device}
                words = f"{text}device {names[device]}"
                drawn.append(Curve(edges[which], y[which], "thin", words, colours[i], own, key=False))
            y = np.repeat(one.mean * value.factor, 2)
            which = thinned(y, room.samples)
            drawn.append(Curve(edges[which], y[which], "line", f"{text}mean", colours[i], of))
        shares = {c.share for c in each.values() if c.band is not None}
        shaded = f"shaded: {', '.join(sorted(shares))} of the devices; thin lines: single devices. " if shares else ""
        yield Panel(name.replace("_", " "), plain(time_label), label, drawn, legend=legend, note=shaded + note)


def _labelled(tree: xr.DataTree, name: str, about: Mapping[str, Any], values: np.ndarray) -> tuple[Scale, str]:
    unit = str(about["units"])
    if name in _SYMBOLS:
        found, label = quantity(tree, unit, values)
        return found, plain(label)
    found = scale(tree, unit, values)
    return found, plain(found.named(name.replace("_", " ")))


def _loops(tree: xr.DataTree, room: Room, labels: list[str], colours: list[str]) -> Iterator[Panel]:
    """Current against the source's voltage, where that is swept."""
    swept = [i for i in room.points if np.unique(course(tree, "voltage", i).mean).size > 20]
    if not swept:
        return
    every = {i: (course(tree, "voltage", i), course(tree, "current", i)) for i in swept}
    volts, volts_label = quantity(tree, "V", np.concatenate([v.mean for v, _ in every.values()]))
    amps, amps_label = quantity(tree, "A", np.concatenate([c.mean for _, c in every.values()]))
    drawn, names = [], device_names(tree)
    for i, (source, current) in every.items():
        for device, single in enumerate(current.singles[: room.devices]):
            which = thinned(single, room.samples)
            x, y = source.mean[which] * volts.factor, single[which] * amps.factor
            words = f"{labels[i]} device {names[device]}".strip()
            drawn.append(Curve(x, y, "thin", words, colours[i], {"point": i, "device": device}, key=False))
        which = thinned(current.mean, room.samples)
        x, y = source.mean[which] * volts.factor, current.mean[which] * amps.factor
        drawn.append(Curve(x, y, "line", f"{labels[i]} mean".strip(), colours[i], {"point": i}))
    yield Panel(
        "current against voltage",
        f"source {plain(volts_label)}",
        plain(amps_label),
        drawn,
        legend=plain(points(tree)[0]),
    )


def _spectra(tree: xr.DataTree, room: Room, labels: list[str], colours: list[str]) -> Iterator[Panel]:
    """The median impedance in the complex plane; the pointer says the frequency."""
    data = tree["spectrum"].dataset
    if "resistance" not in data:
        return
    parts = {i: [np.median(data[n].values[i, :, 0], axis=0) for n in ("resistance", "reactance")] for i in room.points}
    ohms = scale(tree, "ohm", np.concatenate([real for real, _ in parts.values()]))
    drawn = []
    for i, (real, imaginary) in parts.items():
        said = [f"{f:.4g} Hz" for f in data["frequency"].values[i]]
        x, y = real * ohms.factor, -imaginary * ohms.factor
        drawn.append(Curve(x, y, "dotted line", labels[i], colours[i], {"point": i}, said))
    note = "median over the devices, first cycle"
    yield Panel("impedance", ohms.named("Re Z"), ohms.named("-Im Z"), drawn, legend=plain(points(tree)[0]), note=note)


def _spikes(tree: xr.DataTree, room: Room, labels: list[str], colours: list[str]) -> Iterator[Panel]:
    """When the first devices spike, in the first cycle."""
    for name, group in tree["spikes"].children.items() if "spikes" in tree else ():
        data = group.dataset
        onsets = data["onset"].values
        time, time_label = quantity(tree, "s", onsets)
        drawn = []
        for i in room.points:
            starts, counts = data["offset"].values[i, :_SPIKING, 0], data["row_size"].values[i, :_SPIKING, 0]
            own = [onsets[a : a + n] * time.factor for a, n in zip(starts, counts, strict=True)]
            number = np.repeat(np.arange(1.0, len(own) + 1), counts)
            which = evenly(number.size, 4 * room.samples)
            x, of = np.concatenate([np.empty(0), *own]), {"point": i}
            drawn.append(Curve(x[which], number[which], "dots", labels[i], colours[i], of))
        note = f"the first {_SPIKING} devices at most, first cycle"
        yield Panel(f"spikes: {name}", plain(time_label), "device", drawn, legend=plain(points(tree)[0]), note=note)


def _maps(tree: xr.DataTree, room: Room, labels: list[str]) -> Iterator[Panel]:
    """What varies along the device, over time, a panel a sweep point."""
    data = tree["profile"].dataset
    for name in data.data_vars:
        for i in room.points[:_MAPS]:
            times, where = tree["response"].dataset["time"].values[i], data["position"].values[i]
            values = data[name].values[i, 0][np.isfinite(times)][:, np.isfinite(where)]
            times, where = times[np.isfinite(times)], where[np.isfinite(where)]
            if not np.isfinite(values).any():
                continue
            rows, columns = evenly(times.size, room.samples // 2), evenly(where.size, 60)
            time, time_label = quantity(tree, "s", times)
            length, length_label = quantity(tree, "m", where)
            z = values[np.ix_(rows, columns)].T
            of = {"point": i} if len(labels) > 1 else {}
            curve = Curve(times[rows] * time.factor, where[columns] * length.factor, "map", "", of=of, error=z)
            title = str(name).replace("_", " ") + (f", {plain(points(tree)[0])}: {labels[i]}" if labels[i] else "")
            about = f"colour: {data[name].attrs['long_name']} ({data[name].attrs['units']})"
            yield Panel(title, plain(time_label), plain(length_label), [curve], note=about, of=of)
