"""How high spikes are."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp

from mcdev.measurements.contract import OK, RIGHT_CENSORED, UNDEFINED, Reading, Trajectory
from mcdev.measurements.spiking import Spiking


class SpikeAmplitude(Spiking):
    """Largest value of the watched channel in a spike, mean over the spikes that begin in the window and have ended.

    Where only one is there and still on when the protocol ends, it may rise further: right-censored. Without spikes:
    undefined.
    """

    kind: Literal["spike_amplitude"] = "spike_amplitude"

    @property
    def unit(self) -> str:
        return self.signal_unit

    @property
    def nonnegative(self) -> bool:
        return self.unit == "S"

    @property
    def criterion(self) -> str:
        return f"mean peak of {self.signal} within {self.spike}"

    def measure(self, trajectory: Trajectory) -> Reading:
        train, here, _, _ = self.seen(trajectory)
        ended = here & jnp.isfinite(train.width)
        n, fires = jnp.sum(ended), jnp.any(here)
        mean = jnp.sum(jnp.where(ended, train.peak, 0.0)) / jnp.maximum(n, 1)
        value = jnp.where(n > 0, mean, jnp.where(fires, train.peak[jnp.argmax(here)], jnp.nan))
        return Reading(value, jnp.where(n > 0, OK, jnp.where(fires, RIGHT_CENSORED, UNDEFINED)))
