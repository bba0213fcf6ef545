"""Time-averaged current: what a read amplifier sees."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import OK, Measurement, Reading, Trajectory
from mcdev.schema import Unit


class MeanCurrent(Measurement):
    """Mean current over a window of the protocol, in amperes.

    Through an element it counts from its first node to its second, of a source it is what the source gives out of its
    first node. Of the ``sense`` of a crossbar it is the read current: what comes down the selected bit line.
    """

    kind: Literal["mean_current"] = "mean_current"
    reads: ClassVar[tuple[str, ...] | None] = ("current",)
    window: str = "all"
    """Name of the protocol's window; ``all`` is the whole course."""
    last: Annotated[float, Unit("", gt=0, le=1)] = 1.0
    """Part of the window that counts, at its end: what is read once a selector has switched on."""

    unit: ClassVar[str] = "A"
    linear: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.window,)

    @property
    def criterion(self) -> str:
        part = f"the last {self.last:g} of " if self.last < 1 else ""
        return f"time average over {part}the first window {self.window!r}"

    def measure(self, trajectory: Trajectory) -> Reading:
        mask = trajectory.window(self.window)
        mask &= trajectory.time_in(mask) > (1.0 - self.last) * trajectory.span(mask)
        return Reading(trajectory.mean(trajectory.current, mask), jnp.asarray(OK))
