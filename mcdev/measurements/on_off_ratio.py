"""On/off ratio (LRS over HRS conductance)."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import OK, Measurement, Reading, Trajectory


class OnOffRatio(Measurement):
    """Largest conductance of the trajectory over that of its first sample, when the device was at rest."""

    kind: Literal["on_off_ratio"] = "on_off_ratio"
    reads: ClassVar[tuple[str, ...] | None] = ("conductance",)

    unit: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("all",)
    nonnegative: ClassVar[bool] = True

    @property
    def criterion(self) -> str:
        return "largest conductance over that of the first sample"

    def measure(self, trajectory: Trajectory) -> Reading:
        g = trajectory.conductance
        return Reading(jnp.max(g) / g[0], jnp.asarray(OK))
