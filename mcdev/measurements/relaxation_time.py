"""Relaxation time τ_r: how long a device conducts after its voltage is switched off."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import OK, RIGHT_CENSORED, UNDEFINED, Measurement, Reading, Trajectory, first_passage
from mcdev.schema import Fraction


class RelaxationTime(Measurement):
    """After the last pulse, by one of three criteria (they differ up to two-fold):

    ``fraction``: until the conductance first falls to a fraction of G_max (the paper's Fig. 4a inset: 0.02);
    ``1/e``: until it first falls to 1/e of its value at the end of the pulse;
    ``exponential_fit``: -1/slope of ln G against time, least squares over the time until that fraction of G_max.

    Not relaxed at the end: right-censored. Never above the level: undefined, there is nothing to relax.
    """

    kind: Literal["relaxation_time"] = "relaxation_time"
    by: Literal["fraction", "1/e", "exponential_fit"] = "fraction"
    fraction: Fraction = 0.02
    """Of G_max; for fraction and exponential_fit."""

    unit: ClassVar[str] = "s"
    needs: ClassVar[tuple[str, ...]] = ("pulse", "relaxation")

    @property
    def full_scale(self) -> bool:
        return self.by != "1/e"

    @property
    def criterion(self) -> str:
        return {
            "fraction": f"from switch-off to the first passage of G = {self.fraction:g} G_max",
            "1/e": "from switch-off to the first passage of 1/e of G at switch-off",
            "exponential_fit": f"-1/slope of ln G from switch-off to the first passage of {self.fraction:g} G_max",
        }[self.by]

    def measure(self, trajectory: Trajectory) -> Reading:
        g = trajectory.conductance
        mask = trajectory.window("relaxation")
        time = trajectory.time_in(mask)
        start = trajectory.last(g, trajectory.window("pulse", -1))
        level = start / jnp.e if self.by == "1/e" else self.fraction * trajectory.full_scale
        passage = first_passage(time, -g, -level, mask)
        end = jnp.where(passage.found, passage.at, trajectory.span(mask))
        status = jnp.where(start <= level, UNDEFINED, jnp.where(passage.found, OK, RIGHT_CENSORED))
        if self.by != "exponential_fit":
            return Reading(jnp.where(start <= level, jnp.nan, end), status)

        weight = jnp.where(mask & (time <= end), trajectory.widths, 0.0)
        total = jnp.sum(weight)
        log_g = jnp.log(jnp.where(weight > 0, g, 1.0))
        mean_t, mean_g = jnp.sum(weight * time) / total, jnp.sum(weight * log_g) / total
        covariance = jnp.sum(weight * (time - mean_t) * (log_g - mean_g))
        slope = covariance / jnp.sum(weight * (time - mean_t) ** 2)
        fitted = jnp.where(slope < 0, -1.0 / slope, jnp.nan)
        undefined = (start <= level) | ~(slope < 0)
        return Reading(jnp.where(undefined, jnp.nan, fitted), jnp.where(undefined, UNDEFINED, OK))
