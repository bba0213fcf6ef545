"""Whether devices drawn from a model card have the card's own numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import special

from mcdev.statistics.card import MOST_NOTES, CardPoint, Matrix, Quantity
from mcdev.statistics.censored import LILLIEFORS
from mcdev.statistics.copula import estimate
from mcdev.statistics.draw import resample, value_of

SPREAD, CORRELATION, SHARE = 0.1, 0.05, 0.05
"""How near drawn devices come: relatively to a standard deviation, absolutely to a correlation, and in the share that
lies below the median."""
_DEVICES, _CYCLES, _NUMBERS, _BATCHES = 4000, 4, 400_000, 8
_ERRORS = 3.0
"""Standard errors of the sample itself that a number may be off beyond that."""
_VARYING, _ROUNDING, _LITTLE = 0.05, 1e-9, 0.005
"""Shares of the variance: between devices, and within, below which correlations are not looked at; by which a spread
may be off."""


class Deviation(NamedTuple):
    """A number of the card beside that of the devices drawn from it."""

    name: str
    stated: float
    drawn: float
    off: float
    """By how many times the tolerance; above 1 it is not had."""


class Spreads(NamedTuple):
    """Standard deviations of values [device, cycle]; between and within are NaN of one cycle."""

    total: float
    between: float
    within: float


def spreads(even: np.ndarray) -> Spreads:
    """By the analysis of variance, every device with the same number of cycles."""
    devices, cycles = even.shape
    means = even.mean(axis=1)
    if cycles == 1:
        return Spreads(float(means.std(ddof=1)), np.nan, np.nan)
    within = float(((even - means[:, None]) ** 2).sum() / (devices * (cycles - 1)))
    between = max(float(means.var(ddof=1)) - within / cycles, 0.0)
    return Spreads(float(np.sqrt(between + within)), float(np.sqrt(between)), float(np.sqrt(within)))


def stated(q: Quantity) -> Spreads:
    """The standard deviations in the card, of ln x where it is logarithmic; NaN where it has none."""
    given = (q.sigma_ln, q.sigma_ln_between, q.sigma_ln_within) if q.logarithmic else (q.sd, q.sd_between, q.sd_within)
    return Spreads(*(np.nan if value is None else value for value in given))


def normal_numbers(cycles: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Standard normal numbers of devices [device, 1] and cycles [device, cycle], evenly spread, so that their moments
    are nearly exact."""
    draw = np.random.default_rng(0)
    even = special.ndtri((np.arange(_DEVICES) + 0.5) / _DEVICES)
    columns = [draw.permutation(even) for _ in range(min(cycles, _CYCLES))]
    return draw.permutation(even)[:, None], np.stack(columns, axis=1) if cycles > 1 else None


def misfit(q: Quantity, devices: int, numbers: tuple[np.ndarray, np.ndarray | None]) -> float:
    """By how many tolerances the worst number of one quantity, known from so many devices, is off when it is drawn from
    these normal numbers."""
    values = value_of(q, *numbers)
    even = np.log(values) if q.logarithmic else values
    found, wanted = spreads(even), stated(q)
    noise = 4 * np.sqrt(2 / even.shape[0]) * np.nan_to_num(found.within) ** 2 / even.shape[1]
    off = [
        abs(f * f - w * w) / (2 * SPREAD * w * w + n)
        for f, w, n in zip(found, wanted, (0.0, noise, 0.0), strict=True)
        if np.isfinite(w) and np.isfinite(f) and w * w + n > 0
    ]
    return max([*off, _off_median(q, devices, values)])


def _off_median(q: Quantity, devices: int, values: np.ndarray) -> float:
    if q.median is None:
        return 0.0
    near = 1e-6 * abs(q.median)
    below, reached = float((values < q.median - near).mean()), float((values <= q.median + near).mean())
    return max(below - 0.5, 0.5 - reached, 0.0) / max(SHARE, LILLIEFORS / np.sqrt(devices))


def not_drawn(point: CardPoint) -> list[str]:
    """The numbers of a sweep point that devices drawn from it do not have, in words: each spread within 10 %, each
    median within 5 % of the devices (more where a law may be as far off), each correlation within 0.05, beyond three
    standard errors of a sample of up to 4000 devices."""
    if not any(q.varies for q in point.quantities.values()):
        return []
    cycles = min(point.cycles, _CYCLES)
    devices = int(np.clip(_NUMBERS // (cycles * len(point.quantities)), 1000, _DEVICES))
    fewer = point.model_copy(update={"cycles": cycles})
    drawn = resample(fewer, devices, np.random.default_rng(1))
    off = [d for d in _deviations(point, drawn) if d.off > 1]
    return [f"{d.name} = {d.stated:.3g}, of drawn devices {d.drawn:.3g}" for d in off][:MOST_NOTES]


def _deviations(point: CardPoint, drawn: dict[str, np.ndarray]) -> Iterator[Deviation]:
    varying = {name: q for name, q in point.quantities.items() if q.varies}
    even = {name: np.log(drawn[name]) if q.logarithmic else drawn[name] for name, q in varying.items()}
    for name, q in varying.items():
        of = "sigma_ln" if q.logarithmic else "sd"
        whole = spreads(even[name])
        parts = np.square([spreads(part) for part in np.array_split(even[name], _BATCHES)])
        errors = parts.std(axis=0) / np.sqrt(_BATCHES)
        for part, wanted, found, error in zip(("", "_between", "_within"), stated(q), whole, errors, strict=True):
            if np.isfinite(wanted) and np.isfinite(found):
                allowed = 2 * SPREAD * wanted**2 + _LITTLE * whole.total**2
                beyond = max(abs(found**2 - wanted**2) - _ERRORS * float(error), 0.0)
                yield Deviation(f"{name}: {of}{part}", wanted, found, beyond / allowed)
        if q.median is not None:
            off = _off_median(q, point.devices, drawn[name])
            yield Deviation(f"{name}: median", q.median, float(np.median(drawn[name])), off)
    yield from _correlations(point, varying, even)


def _correlations(point: CardPoint, varying: dict[str, Quantity], even: dict[str, np.ndarray]) -> Iterator[Deviation]:
    names = list(varying)
    cube = np.stack([even[name] for name in names])
    whole = estimate(cube)
    parts = [estimate(part) for part in np.array_split(cube, _BATCHES, axis=1)]
    levels: list[tuple[str, Matrix | None]] = [("d2d", point.d2d), ("c2c", point.c2c)]
    for level, matrix in levels:
        if matrix is None:
            continue
        found = getattr(whole, level)
        errors = np.std([getattr(part, level) for part in parts], axis=0) / np.sqrt(_BATCHES)
        varies = whole.device_share > _VARYING if level == "d2d" else 1 - whole.device_share > _ROUNDING
        where = [names.index(name) for name in matrix.names]
        for i, a in enumerate(where):
            for j, b in enumerate(where[:i]):
                if not (varies[a] and varies[b]):
                    continue
                wanted, r = matrix.matrix[i][j], float(found[a, b])
                beyond = max(abs(r - wanted) - _ERRORS * float(errors[a, b]), 0.0)
                yield Deviation(f"{level} of {names[b]} and {names[a]}", wanted, r, beyond / CORRELATION)
