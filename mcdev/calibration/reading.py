"""What was read off one case: numbers, their errors, and their derivatives by the case's parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mcdev.simulation.jackknife import without_groups


class Lanes(NamedTuple):
    """What every realisation reads: [device, cycle], or [device, cycle, entry] of a list; SI."""

    values: np.ndarray
    status: np.ndarray


class Ends(NamedTuple):
    """The same realisations with a parameter a little lower and a little higher."""

    at: tuple[float, float, float]
    """The parameter below, here and above."""
    low: dict[str, Lanes]
    high: dict[str, Lanes]
    exact: bool
    """Whether they lie on the exact tangents of the realisations."""


@dataclass
class Reading:
    """Arrays of a measurement are [entry], of one entry where it is a single number."""

    paths: tuple[str, ...]
    """Key paths of the parameters that the derivatives are by."""
    left_out: float = 0.0
    """Share of realisations that broke down and are in none of the numbers."""
    value: dict[str, np.ndarray] = field(default_factory=dict)
    error: dict[str, np.ndarray] = field(default_factory=dict)
    """Standard error over realisations; zero where they are alike."""
    slope: dict[str, np.ndarray] = field(default_factory=dict)
    """[path, entry], in SI units of both."""
    slope_error: dict[str, np.ndarray] = field(default_factory=dict)
    method: dict[str, str] = field(default_factory=dict)
    """How the derivatives were found: exact, hopping, differences."""
    replicates: dict[str, np.ndarray] = field(default_factory=dict)
    """The whole ensemble's number, then each without one group of realisations [1 + group, entry]. Groups are the same
    for all that is read, so that errors which numbers share can be told."""
    slope_replicates: dict[str, np.ndarray] = field(default_factory=dict)
    """[1 + group, path, entry]; only of differences."""
    current: np.ndarray | None = None
    """Mean current over realisations [sample]."""
    current_slope: np.ndarray | None = None
    """[path, sample]"""
    courses: np.ndarray | None = None
    """Current of every intact realisation [realisation, sample]; None where all are alike."""
    lanes: dict[str, Lanes] = field(default_factory=dict)
    ends: dict[str, tuple[Ends, ...]] = field(default_factory=dict)
    """Of a measurement, for each path."""
    how: dict[str, str] = field(default_factory=dict)
    """How the ends were found."""

    def add(self, name: str, values: np.ndarray, fine: np.ndarray, slope: np.ndarray | None) -> None:
        """Mean over the lanes where ``fine``; values [lane] or [lane, entry], slope [path, lane, …]. NaN where there is
        no lane."""
        if values.ndim == 1:
            values, fine = values[:, None], fine[:, None]
            slope = None if slope is None else slope[..., None]
        count = fine.sum(axis=0)
        share = np.where(fine, 1.0, 0.0) / np.maximum(count, 1)
        kept = np.where(fine, values, 0.0)
        mean = (share * kept).sum(axis=0)
        self.value[name] = np.where(count > 0, mean, np.nan)
        spread = np.sqrt(np.sum(np.where(fine, (values - mean) ** 2, 0.0), axis=0) / np.maximum(count - 1, 1))
        self.error[name] = np.where(count > 1, spread / np.sqrt(np.maximum(count, 1)), 0.0)
        if values.shape[0] > 1:
            left = without_groups(values.shape[0])[..., None] & fine
            some = np.maximum(left.sum(axis=1), 1)
            self.replicates[name] = np.where(left, values, 0.0).sum(axis=1) / some
        if slope is not None:
            # A lane whose derivative is no number is left out of the mean derivative, not of the value.
            good = fine & np.all(np.isfinite(slope), axis=0)
            weight = np.where(good, 1.0, 0.0) / np.maximum(good.sum(axis=0), 1)
            self.slope[name] = np.sum(weight * np.where(good, slope, 0.0), axis=1)
            self.slope_error[name] = np.zeros_like(self.slope[name])
            self.method[name] = "exact"
