"""Times between spikes: how long, how regular, and whether a long one follows a long one."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mcdev.measurements.contract import OK, RIGHT_CENSORED, UNDEFINED, Reading, Trajectory
from mcdev.measurements.spiking import Spiking

_ROUNDING = 16.0  # errors of rounding that an interval may have
_PAIRS = 3
"""Of successive intervals, at least: any two lie on a line."""


class InterspikeInterval(Spiking):
    """From the beginning of one spike to that of the next, both in the window; over the intervals of one realisation

    ``mean``, ``median``: one interval at least. With a single spike the interval after it is longer than what is left
    of the window: right-censored there. Without any, undefined: no interval is known; that the device is
    silent shows in ``firing``, ``spike_count`` and ``spike_latency``.
    ``cv``: standard deviation over mean (n - 1 degrees of freedom); two intervals at least, else undefined.
    ``autocorrelation``: Pearson's r of each interval and the next; three such pairs at least, and none where all are
    alike, else undefined.

    The interval that the end of the window cuts is not counted. Long ones are cut more often, so that mean and median
    of a window that holds few of them come out short.
    """

    kind: Literal["interspike_interval"] = "interspike_interval"
    statistic: Literal["mean", "median", "cv", "autocorrelation"] = "mean"
    """Which number is made of the intervals of one realisation."""

    @property
    def unit(self) -> str:
        return "s" if self.statistic in ("mean", "median") else "1"

    @property
    def nonnegative(self) -> bool:
        return self.statistic != "autocorrelation"

    @property
    def criterion(self) -> str:
        how = {
            "cv": "standard deviation over mean of the intervals",
            "autocorrelation": "correlation of each interval with the next",
        }.get(self.statistic, f"{self.statistic} interval")
        return f"{how} between {self.spike}"

    def measure(self, trajectory: Trajectory) -> Reading:
        train, here, number, unknown = self.seen(trajectory)
        known = here[1:] & here[:-1]
        interval = jnp.where(known, train.interval[1:], 0.0)
        n = jnp.sum(known)
        if self.statistic == "autocorrelation":
            return _correlation(interval, known)
        mean = jnp.sum(interval) / jnp.maximum(n, 1)
        if self.statistic == "cv":
            variance = jnp.sum(jnp.where(known, (interval - mean) ** 2, 0.0)) / jnp.maximum(n - 1, 1)
            some = variance > 0
            cv = jnp.where(some, jnp.sqrt(jnp.where(some, variance, 1.0)), 0.0) / jnp.where(n > 0, mean, 1.0)
            return Reading(jnp.where(n > 1, cv, jnp.nan), jnp.where(n > 1, OK, UNDEFINED))
        value = mean if self.statistic == "mean" else _median(interval, known)
        mask = trajectory.window(self.window, self.index - 1)
        left = trajectory.span(mask) - trajectory.begin_of(train, mask)[jnp.argmax(here)]
        single = (number == 1) & ~unknown
        value = jnp.where(n > 0, value, jnp.where(single, left, jnp.nan))
        return Reading(value, jnp.where(n > 0, OK, jnp.where(single, RIGHT_CENSORED, UNDEFINED)))


def _median(x: Float[Array, " n"], known: Bool[Array, " n"]) -> Float[Array, ""]:
    if x.shape[0] == 0:
        return jnp.asarray(jnp.nan, x.dtype)
    n, line = jnp.sum(known), jnp.sort(jnp.where(known, x, jnp.inf))
    return 0.5 * (line[jnp.maximum(n - 1, 0) // 2] + line[n // 2 if x.shape[0] > 1 else 0])


def _correlation(x: Float[Array, " n"], known: Bool[Array, " n"]) -> Reading:
    """Pearson's r over successive numbers that are both known."""
    pair = known[1:] & known[:-1]
    n = jnp.maximum(jnp.sum(pair), 1)
    largest = jnp.max(jnp.where(known, x, 0.0), initial=0.0)
    x = x / jnp.where(largest > 0, largest, 1.0)

    def away(part: Float[Array, " pair"]) -> Float[Array, " pair"]:
        return jnp.where(pair, part - jnp.sum(jnp.where(pair, part, 0.0)) / n, 0.0)

    a, b = away(x[:-1]), away(x[1:])
    rounding = (_ROUNDING * float(np.finfo(x.dtype).eps)) ** 2 * n  # all that is left of intervals that are alike
    good = (jnp.sum(pair) >= _PAIRS) & (jnp.sum(a**2) > rounding) & (jnp.sum(b**2) > rounding)
    r = jnp.sum(a * b) / jnp.sqrt(jnp.where(good, jnp.sum(a**2) * jnp.sum(b**2), 1.0))
    return Reading(jnp.where(good, r, jnp.nan), jnp.where(good, OK, UNDEFINED))
