"""Time-averaged conductance: an equilibrium average."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import OK, Measurement, Reading, Trajectory


class MeanConductance(Measurement):
    """Mean conductance over a window of the protocol, in siemens."""

    kind: Literal["mean_conductance"] = "mean_conductance"
    reads: ClassVar[tuple[str, ...] | None] = ("conductance",)
    window: str = "all"
    """Name of the protocol's window; ``all`` is the whole course."""

    unit: ClassVar[str] = "S"
    kinetic: ClassVar[bool] = False
    linear: ClassVar[bool] = True
    nonnegative: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.window,)

    @property
    def criterion(self) -> str:
        return f"time average over the first window {self.window!r}"

    def measure(self, trajectory: Trajectory) -> Reading:
        return Reading(trajectory.mean(trajectory.conductance, trajectory.window(self.window)), jnp.asarray(OK))
