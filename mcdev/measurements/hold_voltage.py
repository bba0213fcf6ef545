"""Hold voltage V_hold of a sweep: where a volatile device lets go."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp
from pydantic import Field

from mcdev.measurements.contract import (
    LEFT_CENSORED,
    OK,
    UNDEFINED,
    Measurement,
    Reading,
    Trajectory,
    absent,
    first_passage,
)
from mcdev.protocols.timeline import Timeline
from mcdev.schema import Fraction


class HoldVoltage(Measurement):
    """|V| of the source at which the conductance first falls below a fraction of G_max while |V| falls.

    Still conducting at zero volts: left-censored at the branch's lowest |V|. Not conducting at the top:
    undefined.
    """

    kind: Literal["hold_voltage"] = "hold_voltage"
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
        return (f"{self.polarity}_down",)

    @property
    def criterion(self) -> str:
        return f"|V| at the first fall to G = {self.fraction:g} G_max, {self.polarity} branch, loop {self.loop}"

    def conflict(self, timeline: Timeline) -> str | None:
        return absent(timeline, self.needs[0], "loop", self.loop)

    def measure(self, trajectory: Trajectory) -> Reading:
        mask = trajectory.window(self.needs[0], self.loop - 1)
        voltage = jnp.abs(trajectory.voltage)
        level = self.fraction * trajectory.full_scale
        passage = first_passage(voltage, -trajectory.conductance, -level, mask)
        lowest = jnp.min(jnp.where(mask, voltage, jnp.inf))
        value = jnp.where(passage.at_once, jnp.nan, jnp.where(passage.found, passage.at, lowest))
        status = jnp.where(passage.at_once, UNDEFINED, jnp.where(passage.found, OK, LEFT_CENSORED))
        return Reading(value, status)
