"""The largest current that an instrument let pass (its compliance) or could read (its amplifier): found as a plateau.

There the current is only a bound: it would have been at least as large. A plateau is taken for a ceiling where a device
could not have made it: the current stays while the voltage goes on, or the same number is read again and again where
the numbers around it scatter.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_ALIKE = 2e-3
"""Currents within this share of the largest are at it."""
_FEWEST = 5
"""Rows in a row of a plateau."""
_MOVES = 0.05
"""Share of the largest voltage by which the voltage moves while the current stays."""


class Ceiling(NamedTuple):
    """One limit of the current."""

    level: float
    """Amperes, with its sign."""
    rows: np.ndarray
    """Whether each row is at it."""
    why: str


def stated(level: float, current: np.ndarray) -> list[Ceiling]:
    """The limits of a level that the user gives, in both directions, as far as they are reached."""
    found = []
    for sign in (1.0, -1.0):
        with np.errstate(invalid="ignore"):
            rows = sign * current >= level * (1 - _ALIKE)
        if rows.any():
            found.append(Ceiling(sign * level, rows, "as given"))
    return found


def find(voltage: np.ndarray, current: np.ndarray, cycles: list[slice]) -> list[Ceiling]:
    """The limits that the currents show, at most one in each direction."""
    found = []
    for sign in (1.0, -1.0):
        along = sign * current
        if not np.isfinite(along).any() or not np.nanmax(along) > 0:
            continue
        level = float(np.nanmax(along))
        at = np.zeros(current.size, bool)
        with np.errstate(invalid="ignore"):
            np.greater_equal(along, level * (1 - _ALIKE), out=at)
        why = ""
        for cycle in cycles:
            for first, last in _runs(at[cycle]):
                rows = slice(cycle.start + first, cycle.start + last)
                if last - first >= _FEWEST and (said := _reason(voltage, along, rows, cycle)):
                    why = said
        if why:  # once a level is known for a ceiling, it is one wherever it is met
            found.append(Ceiling(sign * level, at, why))
    return found


def _reason(voltage: np.ndarray, along: np.ndarray, rows: slice, cycle: slice) -> str:
    """Why a plateau is no device's; nothing where it may be one's."""
    own, largest = voltage[rows], np.nanmax(np.abs(voltage[cycle]))
    if largest > 0 and np.ptp(own) > _MOVES * largest:
        return f"the current stays while the voltage goes from {own.min():.3g} V to {own.max():.3g} V"
    if np.ptp(along[rows]) == 0:
        steps = np.diff(along[cycle])
        outside = np.ones(steps.size, bool)
        outside[max(rows.start - cycle.start - 1, 0) : rows.stop - cycle.start] = False
        steps = steps[outside & np.isfinite(steps)]
        if steps.size >= 2 * _FEWEST and np.mean(steps == 0) < 0.1 and rows.stop - rows.start >= 2 * _FEWEST:
            return f"{rows.stop - rows.start} rows read the very same number, where others scatter"
    return ""


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """First and one past the last of each stretch that is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
