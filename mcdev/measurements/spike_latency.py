"""How long a device waits before it fires."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED, UNDEFINED, Reading, Trajectory
from mcdev.measurements.spiking import Spiking


class SpikeLatency(Spiking):
    """From the start of the window to the first spike that begins in it.

    No spike: right-censored at the window's length. A spike that begins with the window, since the channel jumps there
    with the source or was above the threshold when the cycle began: left-censored at the end of the first sample. A
    spike that began before the window does not count. Undefined where spikes before the window already were more than
    are kept.
    """

    kind: Literal["spike_latency"] = "spike_latency"

    unit: ClassVar[str] = "s"
    nonnegative: ClassVar[bool] = True

    @property
    def criterion(self) -> str:
        return f"from the start of the window to the first of the {self.spike}"

    def measure(self, trajectory: Trajectory) -> Reading:
        train, here, _, unknown = self.seen(trajectory)
        mask = trajectory.window(self.window, self.index - 1)
        first, fires = jnp.argmax(here), jnp.any(here)
        at_once = fires & (train.sample[first] == jnp.argmax(mask)) & (train.share[first] == 0)
        value = jnp.where(fires, trajectory.begin_of(train, mask)[first], trajectory.span(mask))
        value = jnp.where(at_once, trajectory.widths[jnp.argmax(mask)], value)
        none = jnp.where(unknown, UNDEFINED, RIGHT_CENSORED)
        return Reading(value, jnp.where(fires, jnp.where(at_once, LEFT_CENSORED, OK), none))
