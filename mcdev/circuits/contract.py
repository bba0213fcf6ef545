"""What every circuit provides: the device's share of the source's voltage, at one instant."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array, Complex

from mcdev.devices.contract import CurrentLaw, DeviceConfig, Observable, Pace, PerLane
from mcdev.integrators.interval import Interval
from mcdev.kinds import Kind
from mcdev.schema import Drawn, Unit

NO_DRAWS: Mapping[str, np.ndarray] = MappingProxyType({})


class Division(NamedTuple):
    """How the source's voltage is divided at one instant."""

    voltage: PerLane
    """Across the device (V)."""
    current: PerLane
    """Through all elements (A)."""
    memristor: PerLane | None
    """Across the circuit's own memristor (V), counted as the source's; None where there is none."""


class Circuit(eqx.Module):
    """How a batch of devices is wired to the source. Elements with a memory keep it in the circuit's state. Every array
    has the lanes as its last axis."""

    @property
    def divides(self) -> bool:
        """As ``CircuitConfig.divides``."""
        return True

    @abc.abstractmethod
    def rest(self, lanes: int, dtype: Any) -> Any:
        """State of the circuit's own elements at rest; None where they have none."""

    @abc.abstractmethod
    def solve(self, state: Any, applied: PerLane, law: CurrentLaw) -> Division:
        """The division of this source voltage, given the device's law."""

    @abc.abstractmethod
    def observe(self, state: Any, division: Division, law: CurrentLaw) -> dict[str, PerLane]:
        """What a recorder reads of the circuit's own elements, in SI units; names as in ``CircuitConfig.channels``."""

    def impedance(self, device: Complex[Array, "frequency lane"]) -> Complex[Array, "frequency lane"]:
        """Small-signal impedance (Ω) that the source sees, given the device's own. Only for circuits whose
        ``CircuitConfig.small_signal`` is true."""
        raise NotImplementedError(f"{type(self).__name__} has no linearised equations")

    @abc.abstractmethod
    def advance(
        self,
        state: Any,
        applied: PerLane,
        law: CurrentLaw,
        division: Division,
        interval: Interval,
    ) -> Any:
        """The circuit's state an interval later, with this law of the device and this division held."""


class Memoryless(Circuit):
    """A circuit whose own elements have no state, and nothing to record."""

    def rest(self, lanes: int, dtype: Any) -> None:
        return None

    def observe(self, state: None, division: Division, law: CurrentLaw) -> dict[str, PerLane]:
        return {}

    def advance(
        self,
        state: None,
        applied: PerLane,
        law: CurrentLaw,
        division: Division,
        interval: Interval,
    ) -> None:
        return None


class CircuitConfig(Kind, abc.ABC):
    """The ``[circuit]`` table of one kind."""

    small_signal: ClassVar[bool] = True
    """Whether ``Circuit.impedance`` exists."""

    @property
    def divides(self) -> bool:
        """Whether the device's voltage depends on its state."""
        return True

    @property
    def devices(self) -> dict[str, DeviceConfig]:
        """Key → table of each further device that the circuit holds."""
        return {}

    @property
    def channels(self) -> dict[str, Observable]:
        """Unit and long name of what ``Circuit.observe`` returns."""
        return {}

    def pace(self, voltage: float) -> Pace | None:
        """How finely time must be cut for the circuit's own elements under ``voltage`` volts; None: they do not ask."""
        return None

    @property
    def units(self) -> dict[str, Unit]:
        """The parameters of its devices that may differ from one to the next, each with its unit; names are whole
        key paths (``circuit.memristor.steepness``), which also name their random numbers."""
        return {
            f"circuit.{key}.{name}": mark
            for key, device in self.devices.items()
            for name, mark in device.parameters().items()
        }

    @property
    def laws(self) -> dict[str, Drawn]:
        """Value or distribution of each of these."""
        return {
            f"circuit.{key}.{name}": getattr(device, name)
            for key, device in self.devices.items()
            for name in device.parameters()
        }

    @abc.abstractmethod
    def build(self, lanes: int, dtype: Any, draws: Mapping[str, np.ndarray] = NO_DRAWS) -> Circuit:
        """The circuit of as many devices, one a lane. ``draws``: parameters of its own devices, named as in ``units``
        (SI, one value a lane); others in it are ignored."""
