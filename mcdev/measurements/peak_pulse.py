"""The pulse at which a train's conductance peaks."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import OK, RIGHT_CENSORED, Measurement, Reading, Trajectory
from mcdev.measurements.pulse_conductance import conductance_at_pulses
from mcdev.protocols.timeline import Timeline


class PeakPulse(Measurement):
    """Number (from one) of the pulse with the highest conductance over its last quarter.

    If it is the last pulse, the conductance may still have been rising: right-censored.
    """

    kind: Literal["peak_pulse"] = "peak_pulse"
    reads: ClassVar[tuple[str, ...] | None] = ("conductance",)

    unit: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("pulse",)
    nonnegative: ClassVar[bool] = True

    @property
    def criterion(self) -> str:
        return "number of the pulse of highest conductance (mean over its last quarter)"

    def conflict(self, timeline: Timeline) -> str | None:
        return "fewer than 3 pulses" if len(timeline.windows["pulse"]) < 3 else None

    def measure(self, trajectory: Trajectory) -> Reading:
        g = conductance_at_pulses(trajectory)
        peak = jnp.argmax(g)
        return Reading(peak + 1.0, jnp.where(peak == g.shape[0] - 1, RIGHT_CENSORED, OK))
