"""Relaxation time τ_r: how long a device conducts after its voltage is switched off."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import (
    LEFT_CENSORED,
    OK,
    RIGHT_CENSORED,
    UNDEFINED,
    Measurement,
    Reading,
    Trajectory,
    first_passage,
)
from mcdev.schema import Fraction


class RelaxationTime(Measurement):
    """After the last pulse, by one of three criteria (they differ several-fold):

    ``fraction``: until the conductance first falls to a fraction of G_max (the paper's Fig. 4a inset: 0.02);
    ``1/e``: until the conductance above that of the first sample first falls to 1/e of its value at switch-off;
    ``exponential_fit``: -1/slope of ln G against time, least squares over the time until that fraction of G_max.

    Time counts from the end of the last pulse, whatever lies between it and the end of the relaxation. Not relaxed at
    the end: right-censored. Relaxed within the first sample: left-censored at its end. Not switched on by the end of
    the pulse: undefined.
    """

    kind: Literal["relaxation_time"] = "relaxation_time"
    reads: ClassVar[tuple[str, ...] | None] = ("conductance",)
    by: Literal["fraction", "1/e", "exponential_fit"] = "fraction"
    """The criterion, of the three above."""
    fraction: Fraction = 0.02
    """Of G_max; for fraction and exponential_fit."""
    switched: Fraction = 0.1
    """Of G_max; a device below it at the end of the last pulse has nothing to relax."""

    unit: ClassVar[str] = "s"
    needs: ClassVar[tuple[str, ...]] = ("pulse", "relaxation")
    full_scale: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    @property
    def criterion(self) -> str:
        how = {
            "fraction": f"from switch-off to the first passage of G = {self.fraction:g} G_max",
            "1/e": "from switch-off until G above its first sample falls to 1/e",
            "exponential_fit": f"-1/slope of ln G from switch-off to the first passage of {self.fraction:g} G_max",
        }[self.by]
        return f"{how}, devices above {self.switched:g} G_max at switch-off"

    def measure(self, trajectory: Trajectory) -> Reading:
        g = trajectory.conductance
        pulse, index = trajectory.window("pulse", -1), jnp.arange(g.size)
        off = jnp.max(jnp.where(pulse, index, -1))  # its last sample
        mask = (index > off) & (index <= jnp.max(jnp.where(trajectory.window("relaxation"), index, -1)))
        time = trajectory.time_in(mask)
        start = trajectory.last(g, pulse)
        level = g[0] + (start - g[0]) / jnp.e if self.by == "1/e" else self.fraction * trajectory.full_scale
        passage = first_passage(time, -g, -level, mask)
        end = jnp.where(passage.found, passage.at, trajectory.span(mask))
        idle = (start < self.switched * trajectory.full_scale) | (start <= level)
        if self.by != "exponential_fit":
            found = jnp.where(passage.at_once, LEFT_CENSORED, OK)
            status = jnp.where(idle, UNDEFINED, jnp.where(passage.found, found, RIGHT_CENSORED))
            end = jnp.where(passage.at_once, trajectory.widths[off + 1], end)
            return Reading(jnp.where(idle, jnp.nan, end), status)

        weight = jnp.where(mask & (time <= end), trajectory.widths, 0.0)
        total = jnp.maximum(jnp.sum(weight), 1e-30)
        log_g = jnp.log(jnp.where(weight > 0, g, 1.0))
        mean_t, mean_g = jnp.sum(weight * time) / total, jnp.sum(weight * log_g) / total
        covariance = jnp.sum(weight * (time - mean_t) * (log_g - mean_g))
        variance = jnp.sum(weight * (time - mean_t) ** 2)
        falling = covariance < 0
        idle |= ~falling
        fitted = -variance / jnp.where(falling, covariance, -1.0)
        return Reading(jnp.where(idle, jnp.nan, fitted), jnp.where(idle, UNDEFINED, OK))
