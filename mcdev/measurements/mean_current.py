"""Time-averaged current: what a read amplifier sees."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import OK, Measurement, Reading, Trajectory


class MeanCurrent(Measurement):
    """Mean current over a window of the protocol, in amperes.

    Through an element it counts from its first node to its second, of a source it is what the source gives out of its
    first node. Of the ``sense`` of a crossbar it is the read current: what comes down the selected bit line.
    """

    kind: Literal["mean_current"] = "mean_current"
    window: str = "all"

    unit: ClassVar[str] = "A"
    linear: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.window,)

    @property
    def criterion(self) -> str:
        return f"time average over the first window {self.window!r}"

    def measure(self, trajectory: Trajectory) -> Reading:
        return Reading(trajectory.mean(trajectory.current, trajectory.window(self.window)), jnp.asarray(OK))
