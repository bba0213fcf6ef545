"""Threshold voltage V_th of a sweep."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp
from pydantic import Field

from mcdev.measurements.contract import (
    LEFT_CENSORED,
    OK,
    RIGHT_CENSORED,
    Measurement,
    Reading,
    Trajectory,
    absent,
    first_passage,
)
from mcdev.protocols.timeline import Timeline
from mcdev.schema import Fraction


class ThresholdVoltage(Measurement):
    """|V| of the source at which the conductance first reaches a fraction of G_max while |V| rises
    (Wang et al. 2017, Methods: 10 %, mean of 30 realisations).

    Not switched by the end of the branch: right-censored at the amplitude.
    """

    kind: Literal["threshold_voltage"] = "threshold_voltage"
    reads: ClassVar[tuple[str, ...] | None] = ("conductance", "voltage")
    polarity: Literal["positive", "negative"] = "positive"
    """Which branch of the sweep is read."""
    loop: int = Field(1, ge=1)
    """Which loop of the sweep is read, counted from one."""
    fraction: Fraction = 0.1
    """Of G_max."""

    unit: ClassVar[str] = "V"
    full_scale: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:
        return (f"{self.polarity}_up",)

    @property
    def criterion(self) -> str:
        return f"|V| at the first passage of G = {self.fraction:g} G_max, {self.polarity} branch, loop {self.loop}"

    def conflict(self, timeline: Timeline) -> str | None:
        return absent(timeline, self.needs[0], "loop", self.loop)

    def measure(self, trajectory: Trajectory) -> Reading:
        mask = trajectory.window(self.needs[0], self.loop - 1)
        voltage = jnp.abs(trajectory.voltage)
        passage = first_passage(voltage, trajectory.conductance, self.fraction * trajectory.full_scale, mask)
        top = jnp.max(jnp.where(mask, voltage, 0.0))
        found = jnp.where(passage.at_once, LEFT_CENSORED, OK)
        return Reading(jnp.where(passage.found, passage.at, top), jnp.where(passage.found, found, RIGHT_CENSORED))
