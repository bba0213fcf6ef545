"""How far a memristor of a circuit was written: the synapse's change of weight."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import OK, UNDEFINED, Measurement, Reading, Trajectory
from mcdev.protocols.timeline import Timeline
from mcdev.schema import Name


class MemristorChange(Measurement):
    """Conductance of a memristor at the last read minus that at the first, over the first or in siemens (Wang et al.
    2017, Fig. 6; Shin et al. 2022, Fig. 7c)."""

    kind: Literal["memristor_change"] = "memristor_change"
    reads: ClassVar[tuple[str, ...] | None] = ("conductance",)
    relative_to: Literal["first_read", "nothing"] = "first_read"
    """first_read: as a share of the conductance at the first read; nothing: in siemens."""
    window: str = "read"
    """Name of the windows of which the first and the last are compared."""
    element: Name = "M2"
    """Name of the memristor; M2 is the second one of ``series_memristor``."""

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.window,)

    @property
    def unit(self) -> str:
        return "1" if self.relative_to == "first_read" else "S"

    @property
    def linear(self) -> bool:
        return self.relative_to == "nothing"

    @property
    def criterion(self) -> str:
        over = "/W_1" if self.relative_to == "first_read" else ""
        return (
            f"(W_2 - W_1){over}, W the conductance of {self.element}, mean over the first and the last window "
            f"{self.window!r}"
        )

    def conflict(self, timeline: Timeline) -> str | None:
        return None if len(timeline.windows[self.window]) > 1 else f"a second window {self.window!r}"

    def measure(self, trajectory: Trajectory) -> Reading:
        weight = trajectory.conductance
        before, after = (trajectory.mean(weight, trajectory.window(self.window, i)) for i in (0, -1))
        if self.relative_to == "nothing":
            return Reading(after - before, jnp.asarray(OK))
        some = before > 0
        return Reading((after - before) / jnp.where(some, before, 1.0), jnp.where(some, OK, UNDEFINED))
