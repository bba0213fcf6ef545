"""How many spikes there are."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import OK, RIGHT_CENSORED, Reading, Trajectory
from mcdev.measurements.spiking import Spiking


class SpikeCount(Spiking):
    """Number of spikes that begin in the window; zero where there is none.

    Exact over ``all`` however many there are. In a window that ends before the protocol does, and in which there may
    be more than the ``most`` that are kept of a cycle, it is right-censored at those that are known.
    """

    kind: Literal["spike_count"] = "spike_count"

    unit: ClassVar[str] = "1"
    nonnegative: ClassVar[bool] = True
    stepped: ClassVar[bool] = True

    @property
    def criterion(self) -> str:
        return f"number of {self.spike}"

    def measure(self, trajectory: Trajectory) -> Reading:
        seen = self.seen(trajectory)
        value = seen.number.astype(trajectory.widths.dtype)
        return Reading(value, jnp.where(seen.unknown, RIGHT_CENSORED, OK))
