"""Paired-pulse facilitation (PPF) index."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp
from pydantic import Field

from mcdev.measurements.contract import OK, Measurement, Reading, Trajectory
from mcdev.protocols.timeline import Timeline


class PairedPulse(Measurement):
    """(I_second - I_first)/I_first, I the mean current during a pulse (Shin et al. 2022, section 3.5).

    Positive: facilitation. Negative: depression.
    """

    kind: Literal["paired_pulse"] = "paired_pulse"
    reads: ClassVar[tuple[str, ...] | None] = ("current",)
    first: int = Field(1, ge=1)
    """Number of the pulse that is compared with, counted from one."""
    second: int = Field(2, ge=2)
    """Number of the pulse that is compared."""

    unit: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("pulse",)

    @property
    def criterion(self) -> str:
        return f"(I_{self.second} - I_{self.first})/I_{self.first}, mean currents during the pulses"

    def conflict(self, timeline: Timeline) -> str | None:
        count = len(timeline.windows["pulse"])
        return f"pulse {max(self.first, self.second)} of {count}" if max(self.first, self.second) > count else None

    def measure(self, trajectory: Trajectory) -> Reading:
        first = trajectory.mean(trajectory.current, trajectory.window("pulse", self.first - 1))
        second = trajectory.mean(trajectory.current, trajectory.window("pulse", self.second - 1))
        return Reading(second / first - 1.0, jnp.asarray(OK))
