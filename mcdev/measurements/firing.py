"""Whether a device fires."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import OK, UNDEFINED, Reading, Trajectory
from mcdev.measurements.spiking import Spiking


class Firing(Spiking):
    """One where at least one spike begins in the window, zero where none does: its mean over the ensemble is the
    probability of firing. Undefined where spikes before the window already were more than are kept."""

    kind: Literal["firing"] = "firing"

    unit: ClassVar[str] = "1"
    nonnegative: ClassVar[bool] = True
    stepped: ClassVar[bool] = True

    @property
    def criterion(self) -> str:
        return f"1 where there are {self.spike}, else 0"

    def measure(self, trajectory: Trajectory) -> Reading:
        seen = self.seen(trajectory)
        fires = seen.number > 0
        value = jnp.where(fires, 1.0, 0.0).astype(trajectory.widths.dtype)
        return Reading(value, jnp.where(fires | ~seen.unknown, OK, UNDEFINED))
