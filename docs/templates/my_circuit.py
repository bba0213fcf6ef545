"""A circuit of your own: a capacitance across the device, behind a resistor.

    C dv/dt = (V - v)/R - I(v)        v across device and capacitance, V of the source

With a threshold switch in it this oscillates. Between two solutions the device's law I(v) is held as G v, so that v
relaxes as exp(-b t), b = (1/R + G)/C, towards V/(R b C).

    mcdev check my_circuit.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt32

from mcdev.circuits.contract import Circuit, CircuitConfig, Division
from mcdev.devices.contract import CurrentLaw, DeviceConfig, LaneKey, Observable, Pace, PerLane, per_lane
from mcdev.integrators.interval import Interval
from mcdev.schema import Drawn, PerDevice, extremes


class MyCircuitAtWork(Circuit):
    """The same for a batch of devices; its state is v, one a lane."""

    resistance: PerLane
    capacitance: PerLane

    def rest(self, key: LaneKey, dtype: Any) -> PerLane:
        return jnp.zeros(key[0].shape, dtype)

    def solve(self, state: PerLane, applied: PerLane, law: CurrentLaw) -> Division:
        """Voltage across the device and current through it."""
        return Division(state, law.current(state), None)

    def observe(
        self, state: PerLane, division: Division, law: CurrentLaw, observed: Mapping[str, PerLane]
    ) -> dict[str, PerLane]:
        return {"stored_charge": self.capacitance * state}

    def advance(
        self,
        state: PerLane,
        applied: PerLane,
        law: CurrentLaw,
        division: Division,
        interval: Interval,
        key: LaneKey,
        clock: UInt32[Array, " lane"],
    ) -> PerLane:
        rate = (1.0 / self.resistance + law.chord(division.voltage)) / self.capacitance
        aim = applied / (self.resistance * self.capacitance * rate)
        return aim + (state - aim) * jnp.exp(-rate * interval.duration)


class MyCircuit(CircuitConfig):
    """A capacitance across the device, both behind a resistor."""

    kind: Literal["my_circuit"] = "my_circuit"
    resistance: Annotated[Drawn, PerDevice("ohm", gt=0)] = 10e3
    """R of the resistor."""
    capacitance: Annotated[Drawn, PerDevice("F", gt=0)] = 100e-12
    """C across the device."""

    @property
    def small_signal(self) -> bool:
        return False

    def channels(self, device: DeviceConfig) -> dict[str, Observable]:
        return {"stored_charge": Observable("C", "charge of the capacitance")}

    def pace(self, voltage: float) -> Pace:
        """Longest interval between two solutions, and half of it: a share of the time in which it charges."""
        interval = 0.02 * extremes(self.resistance)[0] * extremes(self.capacitance)[0]
        return Pace(interval, 0.5 * interval)

    def build(
        self, device: DeviceConfig, draws: Mapping[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any
    ) -> MyCircuitAtWork:
        own = (draws[f"circuit.{name}"] for name in ("resistance", "capacitance"))
        return MyCircuitAtWork(*(per_lane(value, dtype) for value in own))
