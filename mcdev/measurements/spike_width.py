"""How long spikes last."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import Reading, Trajectory
from mcdev.measurements.spiking import Spiking


class SpikeWidth(Spiking):
    """From the threshold to the reset, mean over the spikes that begin in the window and have ended.

    A spike that is still on when the protocol ends has no width. Where it is the only one: right-censored at what was
    seen of it. Without spikes: undefined.
    """

    kind: Literal["spike_width"] = "spike_width"

    unit: ClassVar[str] = "s"
    nonnegative: ClassVar[bool] = True

    @property
    def criterion(self) -> str:
        return f"mean width of {self.spike}"

    def measure(self, trajectory: Trajectory) -> Reading:
        seen = self.seen(trajectory)
        whole = jnp.ones(trajectory.widths.shape, bool)
        left = trajectory.span(whole) - trajectory.begin_of(seen.train, whole)[jnp.argmax(seen.here)]
        return self.over_ended(seen, seen.train.width, left)
