"""Panels over devices: distributions, measurements along the sweep, what goes with what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr
from matplotlib.colors import to_hex

from mcdev.figures.axes import Scale, axis_scale, axis_words, curves, measurement, points, scale, sweep_axis
from mcdev.figures.style import categories
from mcdev.reports.contents import Column, Curve, Of, Pairs, Panel
from mcdev.reports.labels import device_names, plain
from mcdev.reports.thinning import evenly
from mcdev.results.fits_along_axes import in_order
from mcdev.statistics.censored import sample
from mcdev.statistics.readings import Reading
from mcdev.statistics.survival import kaplan_meier


def _named(tree: xr.DataTree, own: Sequence[Reading]) -> tuple[Scale, str]:
    values = np.concatenate([r.values[r.fine] for r in own])
    found, label = measurement(tree, own[0].name, values)
    entry = own[0].entry
    return found, plain(label) + ("" if entry is None else f", entry {entry + 1}")


def _of(shown: Sequence[object], number: int) -> dict[str, int]:
    """Of panels of one measurement: shown while it is chosen."""
    return {"measurement": number} if len(shown) > 1 else {}


def spreads(
    tree: xr.DataTree, shown: list[list[Reading]], room: int, labels: list[str], colours: list[str]
) -> Iterator[Panel]:
    """The share of realisations below a value: Kaplan and Meier's, so that censored ones count."""
    most = int(np.clip(room // (4 * max(len(shown), 1) * len(labels)), 20, 1000))
    for number, own in enumerate(shown):
        value, label = _named(tree, own)
        drawn, positive = [], True
        for reading in own:
            curve = kaplan_meier(sample(reading.values, reading.status))
            if curve is None:
                continue
            which = evenly(curve.at.size, most)
            x, y = curve.at[which] * value.factor, 1.0 - curve.share[which]
            positive &= bool(curve.at[0] > 0)
            counts = [f"{reading.fine.sum()} values"]
            counts += [f"{n} {side}-censored" for side, n in (("right", reading.right), ("left", reading.left)) if n]
            words = f"{labels[reading.index]} ({', '.join(counts)})".strip()
            of = {"point": reading.index}
            drawn.append(Curve(x, y, "dotted line" if x.size < 60 else "line", words, colours[reading.index], of))
            if np.isfinite(curve.low).any():
                low, high = 1.0 - curve.high[which], 1.0 - curve.low[which]
                drawn.append(Curve(x, high, "band", words, colours[reading.index], of, error=low, key=False))
        note = f"{own[0].criterion}; shaded: 95 % interval at each value"
        every = np.concatenate([np.asarray(c.x) for c in drawn]) if drawn else np.ones(1)
        wide = positive and bool(every.max() > 30 * every.min())
        yield Panel(
            f"distribution of {own[0].label}",
            label,
            "share of values below",
            drawn,
            log_x=wide,
            legend=plain(points(tree)[0]),
            note=note,
            of=_of(shown, number),
        )


def along(tree: xr.DataTree, shown: list[list[Reading]], room: int, colours: list[str]) -> Iterator[Panel]:
    """Each measurement against each numeric axis of the sweep: medians with 5 and 95 %, and devices."""
    axes = [str(p) for p, a in tree["sweep"].data_vars.items() if a.dtype.kind in "fiu" and len(set(a.values)) > 1]
    count = max(len(axes), 1) * len(shown) * tree["realisations"].sizes["point"]
    most = int(np.clip(room // (2 * count), 2, 200))
    for path in axes:
        for number, own in enumerate(shown):
            yield _against(tree, path, own, most, colours, _of(shown, number))


def _against(tree: xr.DataTree, path: str, own: list[Reading], most: int, colours: list[str], of: Of) -> Panel:
    axis = sweep_axis(tree, path)
    along, (value, label) = axis_scale(tree, path), _named(tree, own)
    words = axis_words(axis)
    at = {reading.index: reading for reading in own}
    lines = [line for line in curves(tree, path) if set(line.points) & set(at)]
    drawn = []
    for line, tint in zip(lines, map(to_hex, categories(len(lines))), strict=True):
        which = [(i, place * along.factor) for i, place in zip(line.points, line.values, strict=True) if i in at]
        x = np.array([place for _, place in which])
        low, middle, high = np.array([_shares(at[i]) for i, _ in which]).T * value.factor
        drawn.append(Curve(x, high, "band", "5–95 %", tint, error=low, key=False))
        for i, place in which:
            fine = at[i].values[at[i].fine] * value.factor
            dots = fine[evenly(fine.size, most)]
            text = f"{words} {place:.4g} {plain(along.unit)}"
            drawn.append(Curve(np.full(dots.size, place), dots, "dots", text, colours[i], {"point": i}, key=False))
        drawn.append(Curve(x, middle, "dotted line", plain(line.label) or "median", tint))
    ends = axis.values.min(), axis.values.max()
    note = f"{own[0].criterion}; line: median, with censored values; shaded: 5–95 %; dots: at the chosen points"
    return Panel(
        title=f"{own[0].label} against {words}",
        x=plain(along.named(words)),
        y=label,
        curves=drawn,
        log_x=bool(ends[0] > 0 and ends[1] > 20 * ends[0]),
        log_y=all(r.positive for r in own) and _wide(own),
        note=note,
        legend="" if len(lines) < 2 else plain(points(tree, without=path)[0]),
        of=of,
    )


def _wide(own: Sequence[Reading]) -> bool:
    values = np.concatenate([r.values[r.fine] for r in own])
    return bool(values.size and values.min() > 0 and values.max() > 30 * values.min())


def _shares(reading: Reading) -> tuple[float, float, float]:
    """5 %, median, 95 % with the censored at the end they belong to; NaN where they fall among these."""
    line = in_order(reading.values, reading.status)
    if not line.size:
        return np.nan, np.nan, np.nan
    found = np.quantile(line, (0.05, 0.5, 0.95), method="closest_observation")
    low, middle, high = np.where(np.isfinite(found), found, np.nan)
    return float(low), float(middle), float(high)


def pairs(tree: xr.DataTree, shown: list[list[Reading]], room: int, colours: list[str]) -> Iterator[Pairs]:
    """Any two of the measurements and of the parameters that differ, a dot a realisation."""
    sizes = tree["realisations"].sizes
    devices, cycles, count = sizes["device"], sizes["cycle"], sizes["point"]
    every = tree["parameters"].data_vars.items()
    drawn = [
        (str(name), values) for name, values in every if np.ptp(values.values) > 0
    ]  # of one there is nothing to see
    if devices * cycles * count < 3 or len(shown) + len(drawn) < 2:
        return
    measured = [shown[i] for i in evenly(len(shown), 12)]
    each = int(np.clip(room // ((len(measured) + len(drawn)) * count), 1, 2000))
    which = np.array(evenly(devices * cycles, each))
    device, cycle = which // cycles, which % cycles
    columns = []
    for own in measured:
        value, label = _named(tree, own)
        at = {r.index: np.where(r.fine, r.values, np.nan)[device, cycle] * value.factor for r in own}
        values = np.concatenate([at.get(i, np.full(which.size, np.nan)) for i in range(count)])
        columns.append(Column(f"{own[0].label}: {label}", values, all(r.positive for r in own) and _wide(own)))
    for name, parameter in drawn:
        found = scale(tree, parameter.attrs["units"], parameter.values)
        values = parameter.values[:, device].ravel() * found.factor
        wide = bool(values.min() > 0 and values.max() > 30 * values.min())
        columns.append(Column(plain(found.named(name.replace("_", " "))), values, wide))
    names = device_names(tree)
    words = [
        f"device {names[d]}" + (f", cycle {c + 1}" if cycles > 1 else "") for d, c in zip(device, cycle, strict=True)
    ]
    group = np.repeat(np.arange(count), which.size)
    note = "single realisations; censored values are left out"
    note += (
        f"; {which.size} of {devices * cycles} are shown at each sweep point" if which.size < devices * cycles else ""
    )
    begin = (len(measured), 0) if drawn else (0, 1)
    by = "point" if count > 1 else ""
    yield Pairs("pairs of quantities", columns, group, colours, words, by, plain(points(tree)[0]), begin, note)
