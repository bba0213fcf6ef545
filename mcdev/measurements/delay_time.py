"""Delay (incubation) time τ_d: how long a pulse lasts before the device switches."""

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


class DelayTime(Measurement):
    """From the start of a pulse until the conductance first reaches a fraction of G_max.

    No switch within the pulse: right-censored at the pulse's width. A switch within the first sample, or a device that
    is on already: left-censored at that sample's end.
    """

    kind: Literal["delay_time"] = "delay_time"
    reads: ClassVar[tuple[str, ...] | None] = ("conductance",)
    fraction: Fraction = 0.1
    """Of G_max."""
    pulse: int = Field(1, ge=1)
    """Which pulse, counted from one."""

    unit: ClassVar[str] = "s"
    needs: ClassVar[tuple[str, ...]] = ("pulse",)
    full_scale: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    @property
    def criterion(self) -> str:
        return f"from the start of pulse {self.pulse} to the first passage of G = {self.fraction:g} G_max"

    def conflict(self, timeline: Timeline) -> str | None:
        return absent(timeline, "pulse", "pulse", self.pulse)

    def measure(self, trajectory: Trajectory) -> Reading:
        mask = trajectory.window("pulse", self.pulse - 1)
        passage = first_passage(
            trajectory.time_in(mask), trajectory.conductance, self.fraction * trajectory.full_scale, mask
        )
        value = jnp.where(passage.found, passage.at, trajectory.span(mask))
        value = jnp.where(passage.at_once, trajectory.widths[jnp.argmax(mask)], value)
        found = jnp.where(passage.at_once, LEFT_CENSORED, OK)
        return Reading(value, jnp.where(passage.found, found, RIGHT_CENSORED))
