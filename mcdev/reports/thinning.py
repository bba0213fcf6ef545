"""Fewer points, from which the same picture is drawn."""

from __future__ import annotations

import itertools

import numpy as np


def thinned(values: np.ndarray, most: int) -> np.ndarray:
    """Numbers of at most ``most`` (and at least 4) of the points [N] of a curve, rising: the first, the last, and the
    smallest and the largest of each of equal stretches, so that no peak is lost. What is not finite stands for itself
    where a stretch has nothing else, so that a gap stays one."""
    count = values.size
    if count <= most:
        return np.arange(count)
    stretches = max((most - 2) // 2, 1)
    edges = np.linspace(0, count, stretches + 1).round().astype(int)
    kept = {0, count - 1}
    for low, high in itertools.pairwise(edges):
        own = values[low:high]
        if np.isfinite(own).any():
            kept |= {low + int(np.nanargmin(own)), low + int(np.nanargmax(own))}
        else:
            kept.add(int(low))
    return np.array(sorted(kept))


def evenly(count: int, most: int) -> list[int]:
    """At most ``most`` of the numbers below ``count``, evenly spread, with the first and the last."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most))})
