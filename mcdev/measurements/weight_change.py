"""Change of conductance (synaptic weight) from the first pulse to each later one."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import OK, Measurement, Reading, Trajectory
from mcdev.measurements.pulse_conductance import conductance_at_pulses
from mcdev.protocols.timeline import Timeline


class WeightChange(Measurement):
    """(G_n - G_1) of each pulse n, over G_max or over G_1 (Wang et al. 2017, inset of Fig. 5b)."""

    kind: Literal["weight_change"] = "weight_change"
    reads: ClassVar[tuple[str, ...] | None] = ("conductance",)
    relative_to: Literal["full_scale", "first_pulse"] = "full_scale"
    """full_scale: over the device's G_max; first_pulse: over the conductance at the first pulse."""

    unit: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("pulse",)

    @property
    def linear(self) -> bool:
        return self.relative_to == "full_scale"

    @property
    def full_scale(self) -> bool:
        return self.relative_to == "full_scale"

    @property
    def criterion(self) -> str:
        reference = "G_max" if self.full_scale else "G_1"
        return f"(G_n - G_1)/{reference}, G_n the mean over the last quarter of pulse n"

    def entries(self, timeline: Timeline) -> int:
        return len(timeline.windows["pulse"])

    def measure(self, trajectory: Trajectory) -> Reading:
        g = conductance_at_pulses(trajectory)
        change = (g - g[0]) / (trajectory.full_scale if self.full_scale else g[0])
        return Reading(change, jnp.full(change.shape, OK))
