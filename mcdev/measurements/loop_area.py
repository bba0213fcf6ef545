"""Area of the current-voltage loop: how wide the pinched hysteresis is."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp
from pydantic import Field

from mcdev.measurements.contract import OK, UNDEFINED, Measurement, Reading, Trajectory, absent
from mcdev.protocols.timeline import Timeline


class LoopArea(Measurement):
    """|∮ I dV| of one polarity of a sweep (Shin et al. 2022, Fig. 3), by the trapezoidal rule over the samples.

    Relative to amplitude times largest current it measures the shape, independent of the scale of the current.
    """

    kind: Literal["loop_area"] = "loop_area"
    reads: ClassVar[tuple[str, ...] | None] = ("current", "voltage")
    polarity: Literal["positive", "negative"] = "positive"
    """Which half of the sweep is read."""
    loop: int = Field(1, ge=1)
    """Which loop of the sweep is read, counted from one."""
    relative: bool = True
    """To the product of the largest |V| and |I|; else in watts."""

    nonnegative: ClassVar[bool] = True

    @property
    def unit(self) -> str:
        return "1" if self.relative else "W"

    @property
    def needs(self) -> tuple[str, ...]:
        return (f"{self.polarity}_up", f"{self.polarity}_down")

    @property
    def criterion(self) -> str:
        what = "|∮ I dV| over largest |V| times largest |I|" if self.relative else "|∮ I dV|"
        return f"{what}, {self.polarity} branches, loop {self.loop}"

    def conflict(self, timeline: Timeline) -> str | None:
        return absent(timeline, self.needs[0], "loop", self.loop)

    def measure(self, trajectory: Trajectory) -> Reading:
        voltage, current = trajectory.voltage, trajectory.current
        up, down = (trajectory.window(window, self.loop - 1) for window in self.needs)
        inside = up | down
        both = inside[1:] & inside[:-1]
        area = jnp.sum(jnp.where(both, 0.5 * (current[1:] + current[:-1]) * jnp.diff(voltage), 0.0))
        top = jnp.max(jnp.where(inside, jnp.abs(voltage), 0.0)) * jnp.max(jnp.where(inside, jnp.abs(current), 0.0))
        scale = jnp.where(top > 0, top, 1.0) if self.relative else 1.0
        return Reading(jnp.abs(area) / scale, jnp.where(top > 0, OK, UNDEFINED))
