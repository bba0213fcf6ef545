"""How often a device fires."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import OK, RIGHT_CENSORED, Reading, Trajectory
from mcdev.measurements.spiking import Spiking


class FiringRate(Spiking):
    """Spikes that begin in the window over its length; zero where there is none. Censored as ``spike_count``."""

    kind: Literal["firing_rate"] = "firing_rate"

    unit: ClassVar[str] = "Hz"
    nonnegative: ClassVar[bool] = True
    stepped: ClassVar[bool] = True

    @property
    def criterion(self) -> str:
        return f"number of {self.spike}, over its length"

    def measure(self, trajectory: Trajectory) -> Reading:
        seen = self.seen(trajectory)
        rate = seen.number / trajectory.span(trajectory.window(self.window, self.index - 1))
        return Reading(rate, jnp.where(seen.unknown, RIGHT_CENSORED, OK))
