"""Two results beside each other, say measured and simulated: the populations of each measurement, number by number."""

from __future__ import annotations

import io
import math
from typing import Any, NamedTuple

import xarray as xr

from mcdev.configuration.problems import ConfigError, Problem
from mcdev.files.plain_text import CsvWriter
from mcdev.statistics.components import UNKNOWN, Components, Estimate
from mcdev.statistics.correlation import correlate
from mcdev.statistics.readings import Reading, few, point_label, readings
from mcdev.statistics.resampling import quantiles
from mcdev.statistics.summary import log_components
from mcdev.statistics.two_samples import Difference, compare_samples

COLUMNS = (
    *("measurement", "unit", "point", "population", "devices", "cycles", "n", "censored", "undefined"),
    *("median", "median_low", "median_high", "sigma_ln_between", "sigma_ln_between_low", "sigma_ln_between_high"),
    *("sigma_ln_within", "sigma_ln_within_low", "sigma_ln_within_high", "sigma_ln_total", "p", "first_larger"),
)


class Pair(NamedTuple):
    """One measurement at one sweep point of both."""

    first: Reading
    second: Reading

    @property
    def label(self) -> str:
        return self.first.label

    @property
    def point(self) -> dict[str, Any]:
        """Of the first: values of the axes that both have."""
        return self.first.point


class Population(NamedTuple):
    """What one of the two says of a measurement."""

    devices: int
    cycles: int
    n: int
    censored: int
    undefined: int
    median: Estimate
    logs: Components
    """Of ln x; nothing determined where a value is not positive."""


class Beside(NamedTuple):
    """A measurement of both."""

    pair: Pair
    first: Population
    second: Population
    difference: Difference


class Together(NamedTuple):
    """How two measurements go together in both, Pearson's correlation of ln x where all values are positive."""

    names: tuple[str, str]
    point: dict[str, Any]
    level: str
    """D2D, C2C, or what a spread of one cycle contains."""
    first: Estimate
    second: Estimate
    p: float
    """By Fisher's z; NaN where it is not determined."""


def pairs(first: xr.DataTree, second: xr.DataTree) -> list[Pair]:
    """The measurements of the same name at the same sweep points (at the only one of each, whatever it is), of lists up
    to four entries. Raises ``ConfigError`` where there is none, or one has another unit in the other."""
    mine, theirs = list(readings(first)), list(readings(second))
    alone = all(tree["realisations"].sizes["point"] == 1 for tree in (first, second))
    known = {_place(r, alone): r for r in theirs}
    names = {r.name for r in mine} & {r.name for r in theirs}
    wrong = [
        Problem(r.label, r.unit, f"is in {known[_place(r, alone)].unit} in the other results")
        for r in mine
        if _place(r, alone) in known and known[_place(r, alone)].unit != r.unit
    ]
    if not names:
        have = [", ".join(dict.fromkeys(r.name for r in each)) or "none" for each in (mine, theirs)]
        wrong.append(Problem("measurements", None, f"none has the same name in both ({have[0]}; {have[1]})"))
    found = [Pair(r, known[_place(r, alone)]) for r in mine if _place(r, alone) in known]
    if not found and not wrong:
        places = [_points(first), _points(second)]
        wrong.append(Problem("sweep", None, f"no sweep point is in both ({places[0]}; {places[1]})"))
    if wrong:
        raise ConfigError(wrong, "the two results")
    points = dict.fromkeys(p.first.index for p in found)
    kept = [r for i in points for r in few([p.first for p in found if p.first.index == i])]
    return [p for p in found if any(p.first is r for r in kept)]


def _place(reading: Reading, alone: bool) -> tuple[str, str]:
    return reading.label, "" if alone else str(sorted(reading.point.items()))


def _points(tree: xr.DataTree) -> str:
    labels = [point_label(tree, i) for i in range(tree["realisations"].sizes["point"])]
    return ", ".join(" and ".join(f"{k} = {v}" for k, v in label.items()) or "no sweep" for label in labels[:4])


def compare_populations(first: xr.DataTree, second: xr.DataTree) -> list[Beside]:
    """Medians, spreads and a test of every measurement that two results have in common. Raises as :func:`pairs`."""
    return [
        Beside(pair, _population(pair.first), _population(pair.second), _difference(pair))
        for pair in pairs(first, second)
    ]


def _difference(pair: Pair) -> Difference:
    return compare_samples((pair.first.values, pair.first.status), (pair.second.values, pair.second.status))


def _population(reading: Reading) -> Population:
    fine = int(reading.fine.sum())
    bounds = reading.right + reading.left
    (median,) = quantiles(reading.values, reading.status, (0.5,))
    devices, cycles = reading.values.shape
    return Population(
        devices, cycles, fine + bounds, bounds, reading.values.size - fine - bounds, median, log_components(reading)
    )


def correlations(found: list[Pair]) -> list[Together]:
    """The correlations of the measurements of both, sweep point by sweep point; none of two entries of one list.
    Without an interval in one of the two (fewer than four devices) there is no p."""
    made = []
    for index in dict.fromkeys(p.first.index for p in found):
        here = [p for p in found if p.first.index == index]
        levels = [{c.level: c for c in correlate(each)} for each in ([p.first for p in here], [p.second for p in here])]
        for level, one in levels[0].items():
            other = levels[1].get(level)
            for i in range(len(here)):
                for j in range(i):
                    if here[i].first.name == here[j].first.name:
                        continue
                    estimates = [c.interval("pearson", j, i) if c is not None else UNKNOWN for c in (one, other)]
                    if not any(math.isfinite(e.value) for e in estimates):
                        continue
                    counts = [int(c.n[i, j]) if c is not None else 0 for c in (one, other)]
                    p = _fisher(estimates[0].value, estimates[1].value, counts[0], counts[1])
                    names = (here[j].label, here[i].label)
                    made.append(Together(names, here[i].point, level, estimates[0], estimates[1], p))
    return made


def _fisher(a: float, b: float, m: int, n: int) -> float:
    """Two-sided, of artanh a - artanh b, whose variance is 1/(m - 3) + 1/(n - 3) (Fisher 1921)."""
    if not (math.isfinite(a) and math.isfinite(b)) or min(m, n) < 4 or max(abs(a), abs(b)) >= 1:
        return math.nan
    z = (math.atanh(a) - math.atanh(b)) / math.sqrt(1 / (m - 3) + 1 / (n - 3))
    return math.erfc(abs(z) / math.sqrt(2))


def to_csv(found: list[Beside], names: tuple[str, str]) -> str:
    """A row a measurement and population, with the columns ``COLUMNS``; empty where there is no number."""
    text = io.StringIO()
    writer = CsvWriter(text)
    writer.row(COLUMNS)
    for beside in found:
        point = "; ".join(f"{axis} = {value}" for axis, value in beside.pair.point.items())
        for name, one in zip(names, (beside.first, beside.second), strict=True):
            logs = one.logs
            numbers = [*one.median, *logs.between, *logs.within, logs.total.value, *beside.difference[:2]]
            known = [x if math.isfinite(x) else None for x in numbers]
            writer.row([beside.pair.label, beside.pair.first.unit, point, name, *one[:5], *known])
    return text.getvalue()
