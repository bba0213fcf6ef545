"""Turn-on voltage of a sweep: where the current of an injecting device sets in."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp
from pydantic import Field

from mcdev.measurements.contract import OK, UNDEFINED, Measurement, Reading, Trajectory, absent, first_passage
from mcdev.protocols.timeline import Timeline
from mcdev.schema import Fraction


class TurnOnVoltage(Measurement):
    """|V| of the source at which |I| first reaches a fraction of the branch's largest while |V| rises.

    Shin et al. (2022) read 2-3 V off a semi-logarithmic plot (Fig. S3) and state no criterion; a tenth is where
    such a curve bends.
    """

    kind: Literal["turn_on_voltage"] = "turn_on_voltage"
    reads: ClassVar[tuple[str, ...] | None] = ("current", "voltage")
    polarity: Literal["positive", "negative"] = "positive"
    """Which branch of the sweep is read."""
    loop: int = Field(1, ge=1)
    """Which loop of the sweep is read, counted from one."""
    fraction: Fraction = 0.1
    """Of the branch's largest |current|."""

    unit: ClassVar[str] = "V"
    nonnegative: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:
        return (f"{self.polarity}_up",)

    @property
    def criterion(self) -> str:
        return (
            f"|V| where |I| first reaches {self.fraction:g} of the largest, rising {self.polarity} branch {self.loop}"
        )

    def conflict(self, timeline: Timeline) -> str | None:
        return absent(timeline, self.needs[0], "loop", self.loop)

    def measure(self, trajectory: Trajectory) -> Reading:
        mask = trajectory.window(self.needs[0], self.loop - 1)
        current = jnp.abs(trajectory.current)
        largest = jnp.max(jnp.where(mask, current, 0.0))
        passage = first_passage(jnp.abs(trajectory.voltage), current, self.fraction * largest, mask)
        return Reading(jnp.where(largest > 0, passage.at, jnp.nan), jnp.where(largest > 0, OK, UNDEFINED))
