"""Steepness of switching, in volts per decade of current."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp
from pydantic import Field

from mcdev.measurements.contract import LEFT_CENSORED, OK, UNDEFINED, Measurement, Reading, Trajectory, absent
from mcdev.protocols.timeline import Timeline


class SwitchingSlope(Measurement):
    """Smallest ΔV/Δlog10 I between neighbouring samples of the rising branch (Wang et al. 2017, Fig. 1b:
    10 mV/decade in SiOxNy:Ag).

    Where the current rises by a decade or more within one sample, the sweep does not resolve the slope:
    left-censored (the truth is steeper). Current that never rises: undefined.
    """

    kind: Literal["switching_slope"] = "switching_slope"
    reads: ClassVar[tuple[str, ...] | None] = ("current", "voltage")
    polarity: Literal["positive", "negative"] = "positive"
    """Which branch of the sweep is read."""
    loop: int = Field(1, ge=1)
    """Which loop of the sweep is read, counted from one."""

    unit: ClassVar[str] = "V"
    nonnegative: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:
        return (f"{self.polarity}_up",)

    @property
    def criterion(self) -> str:
        return f"smallest ΔV/Δlog10(I) between samples (V per decade), {self.polarity} branch, loop {self.loop}"

    def conflict(self, timeline: Timeline) -> str | None:
        return absent(timeline, self.needs[0], "loop", self.loop)

    def measure(self, trajectory: Trajectory) -> Reading:
        mask = trajectory.window(self.needs[0], self.loop - 1)
        current = jnp.abs(trajectory.current)
        voltage = jnp.abs(trajectory.voltage)
        both = mask[1:] & mask[:-1] & (current[:-1] > 0)
        decades = jnp.where(both, jnp.log10(current[1:] / jnp.where(current[:-1] > 0, current[:-1], 1.0)), 0.0)
        # Relative to the ohmic rise that the voltage alone would give.
        ohmic = jnp.where(both, jnp.log10(voltage[1:] / jnp.where(voltage[:-1] > 0, voltage[:-1], 1.0)), 0.0)
        excess = decades - ohmic
        steepest = jnp.argmax(excess)
        rose = excess[steepest] > 0
        slope = (voltage[1:] - voltage[:-1])[steepest] / jnp.where(rose, decades[steepest], 1.0)
        status = jnp.where(~rose, UNDEFINED, jnp.where(decades[steepest] >= 1.0, LEFT_CENSORED, OK))
        return Reading(jnp.where(rose, slope, jnp.nan), status)
