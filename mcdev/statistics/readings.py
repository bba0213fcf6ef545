"""One measurement (one entry of a list) at one sweep point: the numbers that every statistic starts from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED
from mcdev.simulation.rounding import settled
from mcdev.statistics.contents import contents


class Support(NamedTuple):
    """Bounds of what a quantity can be at all, in its unit; None where there is none."""

    greater_than: float | None = None
    at_least: float | None = None
    less_than: float | None = None
    at_most: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest bound; infinite where there is none."""
        low = max((b for b in (self.greater_than, self.at_least) if b is not None), default=-np.inf)
        return low, min((b for b in (self.less_than, self.at_most) if b is not None), default=np.inf)

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Where values are within the bounds."""
        inside = np.ones(values.shape, bool)
        for bound, test in zip(self, (np.greater, np.greater_equal, np.less, np.less_equal), strict=True):
            if bound is not None:
                inside &= test(values, bound)
        return inside

    def __str__(self) -> str:
        bounds = zip((">", "≥", "<", "≤"), self, strict=True)
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


ANYTHING = Support()


@dataclass(frozen=True, eq=False)  # each is itself: arrays have no one answer to ==
class Reading:
    """Values and statuses of one number that was read off every realisation."""

    label: str
    """``tau``, or ``g[4]`` for an entry of a list."""
    name: str
    """Of the measurement."""
    entry: int | None
    """Of a list, counted from 0; None for a number."""
    unit: str
    criterion: str
    index: int
    """Of the sweep point."""
    point: dict[str, Any]
    """Axis → value with its unit."""
    values: np.ndarray
    """[device, cycle], in ``unit``; a bound where it is censored."""
    status: np.ndarray
    """[device, cycle]."""
    support: Support = ANYTHING
    spread: str = "total"
    """What a spread over devices in one cycle contains, in a word: see :func:`contents`."""

    @property
    def fine(self) -> np.ndarray:
        """[device, cycle]: where there is an uncensored, finite value."""
        return (self.status == OK) & np.isfinite(self.values)

    @property
    def positive(self) -> bool:
        """Whether there are uncensored values and all of them are > 0, so that their logarithms may be taken."""
        fine = self.fine
        return bool(fine.any() and (self.values[fine] > 0).all())

    @property
    def even(self) -> np.ndarray:
        """[device, cycle]: ln x where all values are positive, else x: on that scale spreads of devices are alike."""
        return np.log(np.where(self.fine, self.values, 1.0)) if self.positive else self.values

    @property
    def right(self) -> int:
        """How many observations are right-censored."""
        return int((self.status == RIGHT_CENSORED).sum())

    @property
    def left(self) -> int:
        """How many observations are left-censored."""
        return int((self.status == LEFT_CENSORED).sum())


def readings(tree: xr.DataTree) -> Iterator[Reading]:
    """Every measurement at every sweep point, lists entry by entry: by measurement, then point, then entry.
    Entries that a sweep point does not have are left out. Values that differ by rounding alone are the same."""
    precision = str(tree.attrs.get("precision", "float64"))
    labels = [point_label(tree, i) for i in range(tree["realisations"].sizes["point"])]
    spreads = [contents(tree, i).name for i in range(len(labels))]
    for name, group in tree["measurements"].children.items():
        data = group.dataset
        about, size = data["value"].attrs, data.sizes.get("entry")
        values, status = data["value"].values, data["status"].values
        for i, point in enumerate(labels):
            for entry in range(size or 1):
                where = (i, ..., entry) if size is not None else (i,)
                v, s = np.asarray(values[where], float), np.asarray(status[where])
                if (s < 0).all():
                    continue
                label, which = (name, None) if size is None else (f"{name}[{entry + 1}]", entry)
                v = settled(v, (s == OK) & np.isfinite(v), precision)
                words = about["units"], about["criterion"]
                yield Reading(label, name, which, *words, i, point, v, s, support(about), spreads[i])


def support(about: Mapping[Any, Any]) -> Support:
    """The bounds among the attributes of a variable of the results; none where older results do not say."""
    return Support(*(float(about[bound]) if bound in about else None for bound in Support._fields))


def few(found: list[Reading], most: int = 4) -> list[Reading]:
    """The same, but of a list no more than ``most`` entries, spread evenly from its first to its last: a matrix of
    all pulses against all pulses says little more, and cannot be read."""
    kept = []
    for name in dict.fromkeys(r.name for r in found):
        entries = [r for r in found if r.name == name]
        kept += [entries[round(i)] for i in np.linspace(0, len(entries) - 1, min(len(entries), most))]
    return kept


def point_label(tree: xr.DataTree, index: int) -> dict[str, Any]:
    """Axis → value with its unit, for one sweep point."""
    label = {}
    for axis in tree["sweep"].data_vars.values():
        value, unit = axis.values[index], axis.attrs["units"]
        number = value if isinstance(value, str) else f"{value:g}"
        label[str(axis.attrs["long_name"])] = number if isinstance(value, str) or unit == "1" else f"{number} {unit}"
    return label
