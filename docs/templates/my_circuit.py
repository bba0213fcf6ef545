"""A circuit of your own: a capacitance across the device, behind a resistor.

    C dv/dt = (V - v)/R - I(v)        v across device and capacitance, V of the source

With a threshold switch in it this oscillates. Between two solutions the device's law I(v) is held as G v, so that v
relaxes as exp(-b t), b = (1/R + G)/C, towards V/(R b C).

    mcdev check my_circuit.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from mcdev.circuits.contract import NO_DRAWS, Circuit, CircuitConfig, Division
from mcdev.devices.contract import CurrentLaw, Observable, Pace, PerLane, per_lane
from mcdev.integrators.interval import Interval
from mcdev.schema import Unit


class MyCircuitAtWork(Circuit):
    """The same for a batch of devices; its state is v, one a lane."""

    resistance: PerLane
    capacitance: PerLane

    def rest(self, lanes: int, dtype: Any) -> PerLane:
        return jnp.zeros(lanes, dtype)

    def solve(self, state: PerLane, applied: PerLane, law: CurrentLaw) -> Division:
        """Voltage across the device and current through it; no second memristor."""
        return Division(state, law.current(state), None)

    def observe(self, state: PerLane, division: Division, law: CurrentLaw) -> dict[str, PerLane]:
        return {"stored_charge": self.capacitance * state}

    def advance(
        self,
        state: PerLane,
        applied: PerLane,
        law: CurrentLaw,
        division: Division,
        interval: Interval,
    ) -> PerLane:
        rate = (1.0 / self.resistance + law.chord(division.voltage)) / self.capacitance
        aim = applied / (self.resistance * self.capacitance * rate)
        return aim + (state - aim) * jnp.exp(-rate * interval.duration)


class MyCircuit(CircuitConfig):
    """A capacitance across the device, both behind a resistor."""

    kind: Literal["my_circuit"] = "my_circuit"
    resistance: Annotated[float, Unit("ohm", gt=0)] = 10e3
    """R of the resistor."""
    capacitance: Annotated[float, Unit("F", gt=0)] = 100e-12
    """C across the device."""

    small_signal: ClassVar[bool] = False

    @property
    def channels(self) -> dict[str, Observable]:
        return {"stored_charge": Observable("C", "charge of the capacitance")}

    def pace(self, voltage: float) -> Pace:
        """Longest interval between two solutions, and half of it: a share of the time in which it charges."""
        interval = 0.02 * self.resistance * self.capacitance
        return Pace(interval, 0.5 * interval)

    def build(self, lanes: int, dtype: Any, draws: Mapping[str, np.ndarray] = NO_DRAWS) -> MyCircuitAtWork:
        return MyCircuitAtWork(*(per_lane(value, dtype, lanes) for value in (self.resistance, self.capacitance)))
