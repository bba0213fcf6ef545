"""Conductance at each pulse of a train."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import OK, Measurement, Reading, Series, Trajectory
from mcdev.protocols.timeline import Timeline


def conductance_at_pulses(trajectory: Trajectory, window: str = "pulse") -> Series:
    """Mean conductance (S) over the last quarter of each pulse, or other window. Shape [pulse]."""
    sample = jnp.arange(trajectory.widths.shape[0])
    first, last = trajectory.windows[window][:, :1], trajectory.windows[window][:, 1:]
    mask = (sample >= last - jnp.maximum((last - first) // 4, 1)) & (sample < last)
    weight = jnp.where(mask, trajectory.widths, 0.0)
    return jnp.where(mask, trajectory.conductance, 0.0) @ trajectory.widths / jnp.sum(weight, axis=1)


class PulseConductance(Measurement):
    """Mean conductance over the last quarter of each pulse, as a fraction of G_max or in siemens."""

    kind: Literal["pulse_conductance"] = "pulse_conductance"
    reads: ClassVar[tuple[str, ...] | None] = ("conductance",)
    relative: bool = True
    """As a fraction of G_max."""
    window: str = "pulse"
    """Which windows of the protocol: pulse, or read of a bipolar cycle."""

    linear: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.window,)

    @property
    def unit(self) -> str:
        return "1" if self.relative else "S"

    @property
    def full_scale(self) -> bool:
        return self.relative

    @property
    def criterion(self) -> str:
        return f"mean over the last quarter of each {self.window}" + (
            ", as a fraction of G_max" if self.relative else ""
        )

    def entries(self, timeline: Timeline) -> int:
        return len(timeline.windows[self.window])

    def measure(self, trajectory: Trajectory) -> Reading:
        g = conductance_at_pulses(trajectory, self.window)
        if self.relative:
            g = g / trajectory.full_scale
        return Reading(g, jnp.full(g.shape, OK))
