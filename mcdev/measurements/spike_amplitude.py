"""How high spikes are."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp

from mcdev.measurements.contract import Reading, Trajectory
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
        seen = self.seen(trajectory)
        return self.over_ended(seen, seen.train.peak, seen.train.peak[jnp.argmax(seen.here)])
