"""What every circuit provides: the device's share of the source's voltage, at one instant."""

from __future__ import annotations

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Complex, Float

from mcdev.devices.contract import CurrentLaw, PerLane
from mcdev.schema import Strict


class Circuit(eqx.Module):
    """How a batch of devices is wired to the source. Elements with a memory keep it in the circuit's state."""

    @abc.abstractmethod
    def rest(self, lanes: int, dtype: Any) -> Any:
        """State of the circuit's own elements at rest; None where they have none."""

    @abc.abstractmethod
    def solve(self, state: Any, applied: PerLane, law: CurrentLaw) -> tuple[PerLane, PerLane]:
        """(device voltage V, current A) at this source voltage."""

    @abc.abstractmethod
    def impedance(self, device: Complex[Array, "frequency lane"]) -> Complex[Array, "frequency lane"]:
        """Small-signal impedance (Ω) that the source sees, given the device's own."""

    @abc.abstractmethod
    def advance(
        self, state: Any, applied: PerLane, device_voltage: PerLane, current: PerLane, elapsed: Float[Array, ""]
    ) -> Any:
        """The circuit's state after ``elapsed`` seconds."""


class CircuitConfig(Strict, abc.ABC):
    """The ``[circuit]`` table of one kind."""

    @abc.abstractmethod
    def build(self, dtype: Any) -> Circuit: ...
