"""The course of the current: a trace in as few numbers as say what it looks like."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from mcdev.measurements.contract import OK, Measurement, Reading, Trajectory
from mcdev.protocols.timeline import Timeline


class CourseOfCurrent(Measurement):
    """Mean current in each of some parts of a window, a list with one entry a part.

    The parts follow one another and hold as many samples each, or one more: where the protocol's samples grow in
    length, as in a relaxation, so do the parts.
    """

    kind: Literal["course_of_current"] = "course_of_current"
    reads: ClassVar[tuple[str, ...] | None] = ("current",)
    window: str = "all"
    """Name of the protocol's window, of which it is the first; ``all`` is the whole course."""
    parts: int = Field(8, ge=1, le=1000)
    """How many."""

    unit: ClassVar[str] = "A"
    linear: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.window,)

    @property
    def criterion(self) -> str:
        return f"time average over each of {self.parts} parts, of as many samples each, of the first {self.window!r}"

    def entries(self, timeline: Timeline) -> int:
        return self.parts

    def axis(self, timeline: Timeline) -> tuple[str, str, np.ndarray]:
        """The middle of each part."""
        first, last = timeline.windows[self.window][0]
        ends = timeline.edges[first + (last - first) * np.arange(self.parts + 1) // self.parts]
        return "time", "s", 0.5 * (ends[1:] + ends[:-1])

    def conflict(self, timeline: Timeline) -> str | None:
        first, last = timeline.windows[self.window][0]
        count = int(last - first)
        return f"{count} samples in the window for {self.parts} parts; lower parts" if count < self.parts else None

    def measure(self, trajectory: Trajectory) -> Reading:
        first, last = trajectory.windows[self.window][0]
        part = jnp.arange(self.parts)
        begin = first + (last - first) * part // self.parts
        end = first + (last - first) * (part + 1) // self.parts
        sample = jnp.arange(trajectory.widths.shape[0])
        mask = (sample >= begin[:, None]) & (sample < end[:, None])
        current = jax.vmap(lambda part: trajectory.mean(trajectory.current, part))(mask)
        return Reading(current, jnp.full(current.shape, OK))
