"""Cycles of one file: where one ends and the next begins.

The format tells (tests that were appended), or a column that counts them, or the time: where it goes back to about its
beginning, the next cycle begins.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

_NEAR = 0.1
"""A time has restarted if it falls to within this share of the first cycle's length from its beginning."""
_FEWEST = 3
"""Rows of a cycle that is found by its time."""


def by_time(time: np.ndarray) -> list[slice]:
    """The rows of each cycle."""
    back = np.flatnonzero(np.diff(time) < 0) + 1
    if not back.size:
        return [slice(0, time.size)]
    first = time[: back[0]]
    near = np.abs(time[back] - first[0]) <= _NEAR * (first[-1] - first[0])
    edges = [0, *back[near].tolist(), time.size]
    return _between(edges) if min(np.diff(edges)) >= _FEWEST else [slice(0, time.size)]


def by_breaks(breaks: Sequence[int], rows: int) -> list[slice]:
    """The same from the rows at which a cycle begins, but for the first."""
    return _between([0, *breaks, rows])


def by_numbers(numbers: np.ndarray) -> list[slice]:
    """The same from a column that counts them. Raises ``ValueError`` for a number that comes back."""
    changed = np.flatnonzero(np.diff(numbers) != 0) + 1
    found = _between([0, *changed.tolist(), numbers.size])
    if np.unique(numbers).size < len(found):
        raise ValueError("the column that counts the cycles comes back to a number; sort the rows by cycle")
    return found


def _between(edges: Sequence[int]) -> list[slice]:
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]
