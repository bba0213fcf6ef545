"""Parameters in coordinates without bounds, so that no step of a search can leave them.

positive, low and high:   x = low (high/low)^s(u)          s(u) = 1/(1 + e^-u)
any sign, low and high:   x = low + (high - low) s(u)
one bound:                x = low + e^u,   x = high - e^u   (low = 0: the logarithm)
none:                     x = u · scale
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Coordinate:
    """The map of one parameter; bounds None where there is none. SI units."""

    low: float | None
    high: float | None
    scale: float = 1.0
    """Of a parameter without bounds."""

    @property
    def positive(self) -> bool:
        """Whether the parameter is a scale, of which ratios count: its errors are those of the logarithm."""
        return self.low is not None and self.low >= 0

    def inside(self, x: float) -> bool:
        return (self.low is None or x > self.low) and (self.high is None or x < self.high)

    def value(self, u: float) -> float:
        """x(u)."""
        with np.errstate(over="ignore"):
            share = float(1.0 / (1.0 + np.exp(-u)))
            grown = float(np.exp(min(u, 700.0)))
        if self.low is not None and self.high is not None:
            if self.low > 0:
                return float(np.exp(np.log(self.low) + (np.log(self.high) - np.log(self.low)) * share))
            return self.low + (self.high - self.low) * share
        if self.low is not None:
            return self.low + grown
        return self.high - grown if self.high is not None else u * self.scale

    def free(self, x: float) -> float:
        """u(x), for x within the bounds."""
        if self.low is not None and self.high is not None:
            if self.low > 0:
                share = (np.log(x) - np.log(self.low)) / (np.log(self.high) - np.log(self.low))
            else:
                share = (x - self.low) / (self.high - self.low)
            share = min(max(share, 1e-12), 1 - 1e-12)
            return float(np.log(share) - np.log1p(-share))
        if self.low is not None:
            return float(np.log(x - self.low))
        return float(np.log(self.high - x)) if self.high is not None else x / self.scale

    def slope(self, u: float) -> float:
        """dx/du."""
        if self.low is not None and self.high is not None:
            with np.errstate(over="ignore"):
                share = float(1.0 / (1.0 + np.exp(-u)))
            if self.low > 0:
                return self.value(u) * float(np.log(self.high) - np.log(self.low)) * share * (1 - share)
            return (self.high - self.low) * share * (1 - share)
        if self.low is not None:
            return float(np.exp(min(u, 700.0)))
        return -float(np.exp(min(u, 700.0))) if self.high is not None else self.scale

    def natural(self, x: float) -> float:
        """The number that errors are given of: ln x of a scale, else x in units of ``scale``."""
        return float(np.log(x)) if self.positive else x / self.scale

    def natural_slope(self, x: float) -> float:
        """d(natural)/dx."""
        return 1.0 / x if self.positive else 1.0 / self.scale
