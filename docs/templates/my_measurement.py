"""A measurement of your own: the energy that the device turns into heat.

W = ∫ V I dt        over one window of the protocol

mcdev check my_measurement.py
"""

from __future__ import annotations

from typing import ClassVar, Literal

import jax.numpy as jnp
from pydantic import Field

from mcdev.measurements.contract import OK, Measurement, Reading, Trajectory, absent
from mcdev.protocols.timeline import Timeline


class MyMeasurement(Measurement):
    """Energy that goes into the device during a window."""

    kind: Literal["my_measurement"] = "my_measurement"
    window: str = "all"
    """Name of a window of the protocol."""
    number: int = Field(1, ge=1)
    """Which window of that name, from one."""

    unit: ClassVar[str] = "J"

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.window,)

    @property
    def criterion(self) -> str:
        """What exactly the number means; it is kept in the results."""
        return f"integral of device voltage times current over {self.window} {self.number}"

    def conflict(self, timeline: Timeline) -> str | None:
        return absent(timeline, self.window, self.window, self.number)

    def measure(self, trajectory: Trajectory) -> Reading:
        """One device through one cycle, in jax.numpy: no ``if`` on numbers, arrays of fixed shape."""
        mask = trajectory.window(self.window, self.number - 1)
        power = trajectory.device_voltage * trajectory.current
        energy = jnp.sum(jnp.where(mask, power * trajectory.widths, 0.0))
        return Reading(energy, jnp.asarray(OK))
