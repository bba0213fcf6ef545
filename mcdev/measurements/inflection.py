"""Facilitation that turns into depression under the same pulses (PPF, then PPD)."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp

from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED, Measurement, Reading, Trajectory
from mcdev.measurements.pulse_conductance import conductance_at_pulses
from mcdev.protocols.timeline import Timeline
from mcdev.schema import Fraction


class Inflection(Measurement):
    """The pulse number at which the conductance's rise turns into decline: vertex of the parabola through the
    highest pulse and its neighbours.

    A turn counts once the conductance rose by ``change`` of its peak before it and fell by as much after it.
    Depression from the start: left-censored at pulse one. No decline by the end: right-censored.
    """

    kind: Literal["inflection"] = "inflection"
    reads: ClassVar[tuple[str, ...] | None] = ("conductance",)
    change: Fraction = 0.1
    """Smallest rise and fall, as a fraction of the peak."""

    unit: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("pulse",)
    nonnegative: ClassVar[bool] = True

    @property
    def criterion(self) -> str:
        return (
            f"vertex of the parabola through the highest pulse, rise and fall of at least {self.change:g} of the peak"
        )

    def conflict(self, timeline: Timeline) -> str | None:
        return "fewer than 3 pulses" if len(timeline.windows["pulse"]) < 3 else None

    def measure(self, trajectory: Trajectory) -> Reading:
        g = conductance_at_pulses(trajectory)
        n = g.shape[0]
        peak = jnp.argmax(g)
        inner = jnp.clip(peak, 1, n - 2)
        left, top, right = g[inner - 1], g[inner], g[inner + 1]
        bend = left - 2 * top + right
        vertex = inner + jnp.where(bend < 0, 0.5 * (left - right) / jnp.where(bend < 0, bend, -1.0), 0.0)
        rose = jnp.max(g) - g[0] >= self.change * jnp.max(g)
        fell = jnp.max(g) - jnp.min(jnp.where(jnp.arange(n) >= peak, g, jnp.inf)) >= self.change * jnp.max(g)
        value = jnp.where(~fell, float(n), jnp.where(~rose, 1.0, jnp.clip(vertex, 0, n - 1) + 1.0))
        return Reading(value, jnp.where(~fell, RIGHT_CENSORED, jnp.where(~rose, LEFT_CENSORED, OK)))
