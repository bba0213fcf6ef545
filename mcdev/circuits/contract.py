"""What every circuit provides: the device's share of the source's voltage, at one instant."""

from __future__ import annotations

import abc
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, UInt32

from mcdev.devices.contract import CurrentLaw, DeviceConfig, Devices, LaneKey, Observable, Pace, PerLane
from mcdev.integrators.interval import Interval
from mcdev.kinds import Kind
from mcdev.protocols.timeline import Protocol, Timeline
from mcdev.schema import Drawn, Unit, replaced
from mcdev.schema.meanings import meaning


class Division(NamedTuple):
    """How the source's voltage is divided at one instant."""

    voltage: PerLane
    """Across the device (V)."""
    current: PerLane
    """Through the device (A)."""
    inner: Any
    """Whatever else the circuit found, for its own ``observe`` and ``advance``; None where there is nothing."""


class Circuit(eqx.Module):
    """How a batch of devices is wired to the source. Elements with a memory keep it in the circuit's state. Every array
    has the lanes as its last axis.

    Where a realisation has several devices (``CircuitConfig.copies``), what is said of the device, its law, voltage and
    current, has them one after the other as lanes."""

    @property
    def divides(self) -> bool:
        """As ``CircuitConfig.divides``."""
        return True

    @property
    def copies(self) -> int:
        """As ``CircuitConfig.copies``."""
        return 1

    @property
    def stores(self) -> bool:
        """Whether ``flow`` does anything."""
        return False

    @property
    def follows(self) -> bool:
        """Whether ``flow`` moves the device's own state, so that its ``advance`` is not called."""
        return False

    @property
    def follows_all(self) -> bool:
        """Whether ``flow`` moves everything that changes at all."""
        return False

    @property
    def noisy(self) -> bool:
        """Whether a device of the circuit's own draws random numbers."""
        return False

    @abc.abstractmethod
    def rest(self, key: LaneKey, dtype: Any) -> Any:
        """State of the circuit's own elements at rest, of as many lanes as there are keys; None where they have
        none."""

    @abc.abstractmethod
    def solve(self, state: Any, applied: PerLane, law: CurrentLaw) -> Division:
        """The division of this source voltage, given the device's law."""

    @abc.abstractmethod
    def observe(
        self, state: Any, division: Division, law: CurrentLaw, observed: Mapping[str, PerLane]
    ) -> dict[str, PerLane]:
        """What a recorder reads of the circuit's own elements, in SI units; names as in ``CircuitConfig.channels``.
        ``observed``: what ``Devices.observe`` returned."""

    @property
    def several(self) -> bool:
        """Whether a realisation has several devices, so that it is told which of them broke down."""
        return False

    def intact(self, state: Any) -> Bool[Array, "part lane"] | None:
        """False where the circuit's own devices, in their order, and what else has a state, have left the numbers that
        mean something; None where nothing of its own can."""
        return None

    def impedance(
        self,
        state: Any,
        division: Division,
        law: CurrentLaw,
        device: Complex[Array, "frequency lane"],
        frequency: Float[Array, " frequency"],
    ) -> Complex[Array, "frequency lane"]:
        """Small-signal impedance (Ω) that the source sees at each frequency (Hz), given the device's own, about this
        state and division. Only for circuits whose ``CircuitConfig.small_signal`` is true."""
        raise NotImplementedError(f"{type(self).__name__} has no linearised equations")

    def flow(self, devices: Devices, state: Any, own: Any, applied: PerLane, duration: PerLane) -> tuple[Any, Any]:
        """(the devices' state, the circuit's own) after ``duration`` seconds in which only what the circuit follows by
        itself changes, such as charges. Only for circuits that store something."""
        return state, own

    @abc.abstractmethod
    def advance(
        self,
        state: Any,
        applied: PerLane,
        law: CurrentLaw,
        division: Division,
        interval: Interval,
        key: LaneKey,
        clock: UInt32[Array, " lane"],
    ) -> Any:
        """The circuit's state an interval later, with this law of the device and this division held. ``key`` and
        ``clock``: as for ``Devices.advance``, one a realisation."""


class CircuitConfig(Kind, abc.ABC):
    """The ``[circuit]`` table of one kind."""

    @property
    def small_signal(self) -> bool:
        """Whether ``Circuit.impedance`` exists."""
        return True

    @property
    def divides(self) -> bool:
        """Whether the device's voltage depends on its state."""
        return True

    @property
    def tables(self) -> dict[str, DeviceConfig]:
        """Key → table of each further device that the circuit holds."""
        return {}

    @property
    def elements_by_name(self) -> Mapping[str, Kind]:
        """The tables of its elements; empty where they have no kinds of their own."""
        return {}

    @property
    def memristors(self) -> list[str]:
        """Names of all devices, those of the table ``[device]`` first; empty where nobody named them."""
        return []

    def keeps(self, memristor: str) -> bool:
        """Whether results hold what this one of :attr:`memristors` draws, too."""
        return True

    @property
    def copies(self) -> int:
        """How many devices of the table ``[device]`` each realisation has."""
        return 1

    def members(self, key: str) -> tuple[int, ...]:
        """Of one of ``Experiment.laws``: the numbers of the devices that each draw it, or just (0,)."""
        return (0,)

    @property
    def stores(self) -> bool:
        """Whether a device may be under voltage after the source has gone: a charge stays."""
        return False

    def timeline(self, protocol: Protocol) -> Timeline:
        """The samples of a run under this protocol. Raises ``NoTimeline``."""
        return protocol.timeline()

    @property
    def drives(self) -> int:
        """How many sources do something else than the protocol, as ``Timeline.beside`` has it."""
        return 0

    @property
    def form(self) -> Hashable:
        """What is the same in circuits that share a compiled program."""
        return self.kind

    @property
    def worked_with(self) -> int:
        """How many numbers a realisation's solution of the circuit holds while it is worked out, where that is what
        fills the memory."""
        return 0

    def reach(self, voltage: float) -> float:
        """Largest voltage (V) across a device while the source applies up to ``voltage`` volts."""
        return voltage

    def under(self, voltage: float) -> CircuitConfig:
        """As ``DeviceConfig.under``, of the devices that the circuit holds."""
        return replaced(self, {key: table.under(voltage) for key, table in self.tables.items()})

    def follows(self, device: DeviceConfig) -> bool:
        """Whether the circuit itself moves the states of such devices in time, with steps of its own."""
        return False

    def follows_any(self, device: DeviceConfig) -> bool:
        """Whether it so moves the states of any of its devices, these or others."""
        return self.follows(device)

    def channels(self, device: DeviceConfig) -> dict[str, Observable]:
        """Unit and long name of what ``Circuit.observe`` returns, with devices of this table."""
        return {}

    def pace(self, voltage: float) -> Pace | None:
        """How finely time must be cut for the circuit's own elements under ``voltage`` volts; None: they do not ask."""
        return None

    @property
    def units(self) -> dict[str, Unit]:
        """Its own parameters and those of its devices that may differ from one realisation to the next, each with its
        unit; names are whole key paths (``circuit.memristor.steepness``), which also name their random numbers."""
        return {f"circuit.{name}": mark for name, mark in self.parameters().items()} | {
            f"circuit.{key}.{name}": mark
            for key, device in self.tables.items()
            for name, mark in device.parameters().items()
        }

    @property
    def laws(self) -> dict[str, Drawn]:
        """Value or distribution of each of these."""
        return {f"circuit.{name}": getattr(self, name) for name in self.parameters()} | {
            f"circuit.{key}.{name}": getattr(device, name)
            for key, device in self.tables.items()
            for name in device.parameters()
        }

    def meaning(self, name: str) -> str:
        """What one of these means, in words."""
        key, _, last = name.removeprefix("circuit.").rpartition(".")
        return meaning(type(self.tables[key] if key else self), last)

    @abc.abstractmethod
    def build(
        self, device: DeviceConfig, draws: Mapping[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any
    ) -> Circuit:
        """The circuits of the realisations with these numbers, one a lane, for devices of this table. ``draws``:
        parameters by name as in ``units`` (SI, one value a lane); others in it are ignored. ``seed``: as for
        ``DeviceConfig.build``."""
