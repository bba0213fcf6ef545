"""Laws that device parameters are drawn from: from a share of all devices to the value below which it lies.

Inside the program every quantity is a float in SI base units.
"""

from __future__ import annotations

import abc
import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Law(abc.ABC):
    """Values are SI floats; bounds truncate (the density is cut and renormalised)."""

    distribution: ClassVar[str]
    """The word by which a configuration names it."""

    @abc.abstractmethod
    def quantile(self, u: np.ndarray) -> np.ndarray:
        """Value below which a share ``u`` of all devices lies. Shape of ``u``; SI units."""

    @property
    def possible(self) -> bool:
        """Whether the truncation leaves enough probability to draw from."""
        return True

    @property
    def support(self) -> tuple[float, float]:
        ends = self.quantile(np.array([0.0, 1.0]))
        return float(ends[0]), float(ends[1])

    @property
    def median(self) -> float:
        return float(self.quantile(np.array([0.5]))[0])


@dataclass(frozen=True, kw_only=True)
class _Truncated(Law):
    low: float | None = None
    """No device lies below this value."""
    high: float | None = None
    """No device lies above this value."""

    @abc.abstractmethod
    def _score(self, value: float) -> float:
        """Normal score of a value: how many standard deviations it lies from the centre."""

    @abc.abstractmethod
    def _value(self, score: np.ndarray) -> np.ndarray:
        """The value of a normal score."""

    def _shares(self) -> tuple[float, float]:
        """Shares of the untruncated law below the lower and below the upper bound."""
        from scipy import special  # takes half a second, and only a draw needs it

        below = 0.0 if self.low is None else float(special.ndtr(self._score(self.low)))
        return below, 1.0 if self.high is None else float(special.ndtr(self._score(self.high)))

    @property
    def possible(self) -> bool:
        below, above = self._shares()
        return above - below > 1e-9  # with less, the difference of two shares has lost its digits

    def quantile(self, u: np.ndarray) -> np.ndarray:
        below, above = self._shares()
        from scipy import special

        within = self._value(special.ndtri(below + np.asarray(u) * (above - below)))
        # Shares below 1e-300 and above 1 - 1e-16 are no numbers: a bound far out is met exactly only so.
        return np.clip(within, self.low, self.high) if self.low is not None or self.high is not None else within


@dataclass(frozen=True, kw_only=True)
class Normal(_Truncated):
    """Gaussian with mean and standard deviation, optionally truncated to [low, high]."""

    distribution: ClassVar[str] = "normal"
    mean: float
    sd: float

    def _score(self, value: float) -> float:
        return (value - self.mean) / self.sd

    def _value(self, score: np.ndarray) -> np.ndarray:
        return score * self.sd + self.mean


@dataclass(frozen=True, kw_only=True)
class Lognormal(_Truncated):
    """ln(value) is Gaussian around ln(median) with standard deviation sigma (a pure number)."""

    distribution: ClassVar[str] = "lognormal"
    median_value: float
    sigma: float

    def _score(self, value: float) -> float:
        return math.log(value / self.median_value) / self.sigma if value > 0 else -math.inf

    def _value(self, score: np.ndarray) -> np.ndarray:
        return np.exp(self.sigma * score) * self.median_value


@dataclass(frozen=True, kw_only=True)
class Uniform(Law):
    """Equal density between low and high."""

    distribution: ClassVar[str] = "uniform"
    low: float
    high: float

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return self.low + np.asarray(u) * (self.high - self.low)


@dataclass(frozen=True, kw_only=True)
class Samples(Law):
    """What was measured: each draw is one of the values, and each is drawn equally often.

    The quantile function is the inverse of the values' empirical distribution function, so that moments and quantiles
    of many draws are those of the values.
    """

    distribution: ClassVar[str] = "samples"
    values: tuple[float, ...]
    """In a unit of which one is ``scale`` in SI, in the order in which they were given."""
    scale: float = 1.0

    @functools.cached_property
    def _ordered(self) -> np.ndarray:
        return np.sort(self.values) * self.scale

    def quantile(self, u: np.ndarray) -> np.ndarray:
        count = len(self.values)
        return np.asarray(self._ordered[np.clip(np.ceil(np.asarray(u) * count).astype(int) - 1, 0, count - 1)])


Drawn = float | Normal | Lognormal | Uniform | Samples
"""A device parameter: one value for all devices, or a distribution drawn once per device."""


def typical(drawn: Drawn) -> float:
    """The value, or the distribution's median."""
    return drawn if isinstance(drawn, float) else drawn.median


def extremes(drawn: Drawn) -> tuple[float, float]:
    """The range that holds all but two in ten thousand devices. It decides step sizes, and must not depend on
    how many devices are drawn: a realisation may not change with the size of its ensemble."""
    if isinstance(drawn, float):
        return drawn, drawn
    low, high = drawn.quantile(np.array([1e-4, 1 - 1e-4]))
    return float(low), float(high)
