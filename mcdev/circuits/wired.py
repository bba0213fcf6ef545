"""A circuit as what it is: named elements between named nodes. Every wiring by name (`neuron.py`, `crossbar.py`) and
the general one (`network.py`) says which elements it has. How they act together: `kirchhoff.py`.
"""

from __future__ import annotations

import abc
import functools
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import model_validator

from mcdev.circuits.contract import Circuit, CircuitConfig
from mcdev.circuits.elements import Capacitor, CurrentSource, Element, Memristor, Source, VoltageSource
from mcdev.circuits.elements.contract import GROUND, Conductor
from mcdev.circuits.kirchhoff import WiredCircuit
from mcdev.circuits.several import built, stacked
from mcdev.devices.contract import CIRCUIT_CHANNELS, DeviceConfig, Observable, Pace, per_lane
from mcdev.devices.one_state import OneState
from mcdev.integrators.topology import Floating, Loop, Network
from mcdev.protocols.timeline import NoTimeline, Protocol, Timeline, with_others
from mcdev.schema import Drawn, Name, Unit, extremes, nearest, placed, refuse, typical
from mcdev.schema.meanings import meaning

_FOLLOWED = 12  # memristors and capacitors of which states are followed at most: what each does to each is a matrix
_UNLIMITED = 1e30  # A; finite, so that differences of two circuits are
_BANDS = 5  # matrices that one solution holds at once: 4.2 to 4.7 by the compiler's count, of arrays 16 to 64 wide
_RECORDED = 16  # memristors of which everything is recorded where nothing is said


class Part(NamedTuple):
    """An element, and where its parameters are said."""

    element: Element
    keys: Mapping[str, str]
    """Parameter → its key path in the configuration; those that are not there are what the element says."""
    table: str | None = None
    """Of a memristor: key path of its table below ``circuit``; None stands for ``[device]``."""


def part(
    kind: type[Element], plus: str, minus: str, keys: Mapping[str, str], table: str | None = None, **values: Any
) -> Part:
    """An element of this kind between two nodes; ``values`` have been checked where they were read."""
    return Part(kind.model_construct(between=(plus, minus), **values), keys, table)


def _ground(nodes: Sequence[str]) -> str:
    """A remedy where one of these nodes is called as elsewhere ground is."""
    meant = [node for node in nodes if node.casefold() in ("gnd", "ground", "vss", "agnd")]
    return f'ground is node {GROUND}: write "{GROUND}" for {meant[0]}' if meant else ""


class Wired(CircuitConfig):
    """A ``[circuit]`` that is a list of elements. A new wiring by name: its file, with ``parts``, and a line in
    ``CIRCUITS``."""

    interval: Annotated[float, Unit("s", gt=0)] | Literal["auto"] = "auto"
    """Longest time between two solutions of the circuit; auto: what its devices need at the voltages that they can
    meet, and of states that the circuit follows an eighth of each sample."""
    record: tuple[Name, ...] | None = None
    """Names of the elements and nodes that are recorded besides the first memristor; by default all, where there are at
    most sixteen of each."""

    @abc.abstractmethod
    def parts(self) -> dict[str, Part]:
        """Its elements by name."""

    def table(self, key: str) -> DeviceConfig:
        """The table at this key path below ``circuit``."""
        raise KeyError(key)

    def wanted(self, name: str, of: Sequence[str]) -> bool:
        """Whether this element or node is recorded; ``of``: all of its sort."""
        return len(of) <= _RECORDED if self.record is None else name in self.record

    # ------------------------------------------------------------------------------- what it is made of

    @functools.cached_property
    def _parts(self) -> dict[str, Part]:
        return self.parts()

    def _named(self, kind: type[Element] | tuple[type[Element], ...]) -> list[str]:
        return [name for name, part in self._parts.items() if isinstance(part.element, kind)]

    @functools.cached_property
    def batches(self) -> dict[str | None, list[str]]:
        """Table, by its key path below ``circuit``, → names of its memristors; ``None`` stands for ``[device]``."""
        found: dict[str | None, list[str]] = {None: []}
        for name in self._named(Memristor):
            found.setdefault(self._parts[name].table, []).append(name)
        return found

    @property
    def elements_by_name(self) -> dict[str, Element]:
        return {name: part.element for name, part in self._parts.items()}

    def keys_of(self, name: str) -> Mapping[str, str]:
        """Parameter of an element → its key path among ``laws``."""
        return self._parts[name].keys

    @functools.cached_property
    def memristors(self) -> list[str]:
        """Names, in the order of their numbers."""
        return [name for names in self.batches.values() for name in names]

    @functools.cached_property
    def conductors(self) -> dict[type[Element], list[str]]:
        """Kind → names of its elements, of those whose current follows from their voltage at once."""
        found: dict[type[Element], list[str]] = {}
        for name in self._named(Conductor):
            found.setdefault(type(self._parts[name].element), []).append(name)
        return found

    @property
    def _conducting(self) -> list[str]:
        """Memristors and conductors, in the order in which the equations have them."""
        return [*self.memristors, *itertools.chain(*self.conductors.values())]

    @functools.cached_property
    def sources(self) -> list[str]:
        return self._named(Source)

    @functools.cached_property
    def _own_protocols(self) -> dict[str, Timeline]:
        """Of the sources that do something of their own."""
        found = {}
        for name in self.sources:
            source = self._parts[name].element
            if isinstance(source, Source) and source.protocol is not None:
                try:
                    found[name] = source.protocol.timeline()
                except NoTimeline as error:
                    refuse(source.protocol.kind, str(error), key=f"elements.{name}.protocol")
        return found

    def timeline(self, protocol: Protocol) -> Timeline:
        return with_others(protocol.timeline(), list(self._own_protocols.values()))

    @property
    def drives(self) -> int:
        return len(self._own_protocols)

    @property
    def copies(self) -> int:
        return len(self.batches[None])

    @functools.cached_property
    def network(self) -> Network:
        """Raises ``Loop`` and ``Floating``."""
        of, given = self.elements_by_name, self._named(CurrentSource)
        names = [*self._conducting, *given]
        limited = [getattr(of[name], "compliance", None) is not None for name in self._named(VoltageSource)]
        return Network.of(
            [of[name].between for name in names],
            [of[name].between for name in self._ties],
            GROUND,
            free=np.flatnonzero(limited).tolist(),
            idle=range(len(names) - len(given), len(names)),
        )

    @functools.cached_property
    def small_signal_network(self) -> Network | None:
        """With the capacitors as elements, behind the one source."""
        if not self.small_signal:
            return None
        names = [*self._conducting, *self._named(Capacitor)]
        elements = [self._parts[name].element.between for name in names]
        return Network.of(elements, [self._parts[self.sources[0]].element.between], GROUND)

    @property
    def _ties(self) -> list[str]:
        return [*self._named(VoltageSource), *self._named(Capacitor)]

    @model_validator(mode="after")
    def _consistent(self) -> Wired:
        if not self.batches[None]:
            refuse(None, "no element is a memristor of the table [device]: expected one at least", key="elements")
        if not self.sources:
            remedy = 'add one: V1 = { kind = "voltage_source", between = ["in", "0"] }'
            refuse(None, "no element is a source: expected one at least, for the protocol to drive", remedy, "elements")
        _ = self._own_protocols
        nodes = {node for part in self._parts.values() for node in part.element.between}
        if both := sorted(nodes & self._parts.keys()):
            refuse(both, "is the name of an element and of a node: channels could not be told apart", key="elements")
        try:
            network = self.network
        except Loop as loop:
            name = self._ties[loop.tie]
            refuse(
                list(self._parts[name].element.between),
                "closes a loop of voltage sources and capacitors, in which no current is defined",
                "put a resistor into the loop",
                key=f"elements.{name}.between",
            )
        except Floating as floating:
            names = [str(node) for node in floating.nodes]
            at = [name for name, part in self._parts.items() if set(part.element.between) & set(names)]
            refuse(
                names,
                f"nothing that conducts joins node {', '.join(names)} (of {', '.join(at)}) with ground (node {GROUND})",
                _ground(names) or "connect it with a resistor or a memristor",
                key="elements",
            )
        self._check_ends_of_sources()
        for name in self.record or ():
            if name not in self._parts and name not in network.nodes:
                known = [*self._parts, *map(str, network.nodes)]
                refuse(name, f"no element or node of the circuit; {nearest(name, known)}", key="record")
        return self

    def _check_ends_of_sources(self) -> None:
        ends_at = Counter(node for part in self._parts.values() for node in part.element.between)
        for name in self._named(VoltageSource):
            ends = self._parts[name].element.between
            for end in ends:
                if end != GROUND and ends_at[end] == 1:
                    refuse(
                        list(ends),
                        f"node {end} has no other element, so that no current can flow through the source",
                        _ground([end]) or "connect its other end, or leave the source out",
                        key=f"elements.{name}.between",
                    )

    # ------------------------------------------------------------------------------- the contract's properties

    @property
    def tables(self) -> dict[str, DeviceConfig]:
        return {key: self.table(key) for key in self.batches if key is not None}

    @property
    def small_signal(self) -> bool:
        sources = [self._parts[name].element for name in self.sources]
        alone = len(sources) == 1 and isinstance(sources[0], VoltageSource) and not self.drives
        return alone and all(table.small_signal for table in self.tables.values())

    @property
    def units(self) -> dict[str, Unit]:
        own = {key: part.element.parameters()[name] for part, name, key in self._keyed}
        return super().units | own

    def meaning(self, name: str) -> str:
        for part, parameter, key in self._keyed:
            if key == name:
                return meaning(type(part.element), parameter)
        return super().meaning(name)

    @property
    def laws(self) -> dict[str, Drawn]:
        own = {key: getattr(part.element, name) for part, name, key in self._keyed}
        return super().laws | own

    @functools.cached_property
    def _keyed(self) -> list[tuple[Part, str, str]]:
        """(element, its parameter, the key path of it) of each key path, once."""
        found = {key: (part, name, key) for part in self._parts.values() for name, key in part.keys.items()}
        return list(found.values())

    def members(self, key: str) -> tuple[int, ...]:
        first = 0
        for table, names in self.batches.items():
            last = first + len(names)
            if table is not None and key.startswith(f"circuit.{table}."):
                return tuple(range(first, last))
            first = last
        return (0,)  # of an element of another kind

    @property
    def form(self) -> Network:
        return self.network

    @property
    def worked_with(self) -> int:
        network = self.network
        return _BANDS * (network.unknowns - network.inner) * (network.band + 1)

    def reach(self, voltage: float) -> float:
        """Largest voltage (V) that can stand across an element while the protocol applies up to ``voltage``: only
        capacitors between two nodes add to what the sources give."""
        total = 0.0
        for name in self.sources:
            source, own = self._parts[name].element, self._own_protocols.get(name)
            if isinstance(source, VoltageSource):
                low, high = extremes(source.share)
                largest = abs(voltage) if own is None else float(np.max(np.abs([own.start, own.end])))
                total += max(abs(low), abs(high)) * largest
            elif isinstance(source, CurrentSource):
                total += source.compliance
        # A capacitor that is not tied to ground lifts what is behind it by what it holds, as in a charge pump.
        lifting = [GROUND not in self._parts[name].element.between for name in self._named(Capacitor)]
        total *= 1 + sum(lifting)
        return total

    @property
    def stores(self) -> bool:
        return bool(self._named(Capacitor))

    def follows(self, device: DeviceConfig) -> bool:
        return self._followed(device)[0]

    def follows_any(self, device: DeviceConfig) -> bool:
        return self.follows(device) or any(self._followed(*self.tables.values()))

    def _followed(self, *tables: DeviceConfig) -> list[bool]:
        """Of each of these tables: whether its states are followed with the charges."""
        few = len(self.memristors) + len(self._named(Capacitor)) <= _FOLLOWED
        return [few and isinstance(table, OneState) for table in tables]

    def pace(self, voltage: float) -> Pace | None:
        tables = list(self.tables.values())
        paces = [
            table.divided_pace(voltage)
            for table, followed in zip(tables, self._followed(*tables), strict=True)
            if not followed
        ]
        if self.interval != "auto":
            paces.append(Pace(self.interval, 0.5 * self.interval))
        return Pace(*(min(each) for each in zip(*paces, strict=True))) if paces else None

    # ------------------------------------------------------------------------------- what is recorded

    def recorded(self, device: DeviceConfig) -> dict[str, tuple[str, int, Observable]]:
        """Channel → what it is (``Seen`` or an observable of a memristor), which one, and its description."""
        nodes = [str(node) for node in self.network.nodes if node != GROUND]
        names, wanted = self.memristors, self.wanted
        conductors = list(itertools.chain(*self.conductors.values()))
        found: dict[str, tuple[str, int, Observable]] = {}
        for number, node in enumerate(self.network.nodes):
            if node != GROUND and wanted(str(node), nodes):
                found[placed("voltage", str(node))] = ("potential", number, Observable("V", f"voltage of node {node}"))
        tables = [device, *self.tables.values()]
        at = 0
        for table, own in zip(tables, self.batches.values(), strict=True):
            for number, name in enumerate(own, start=at):
                if number == 0 or not wanted(name, names):
                    continue
                for quantity in ("device_voltage", "current", "conductance"):
                    unit, words = CIRCUIT_CHANNELS[quantity]
                    about = Observable(unit, f"{words.replace('the device', name)}, of {name}")
                    found[placed(quantity, name)] = (quantity, number, about)
                for quantity, (unit, words) in table.channels.items():
                    found[placed(quantity, name)] = (quantity, number, Observable(unit, f"{words}, of {name}"))
            at += len(own)
        for number, name in enumerate(conductors, start=at):
            if wanted(name, conductors):
                found[placed("current", name)] = ("current", number, Observable("A", f"current through {name}"))
        given = self._named(CurrentSource)
        for what, own, first in (("given", self._named(VoltageSource), 0), ("delivered", given, at + len(conductors))):
            for number, name in enumerate(own, start=first):
                if wanted(name, self.sources):
                    found[placed("current", name)] = (what, number, Observable("A", f"current out of {name}"))
        for number, name in enumerate(capacitors := self._named(Capacitor)):
            if wanted(name, capacitors):
                found[placed("current", name)] = ("charging", number, Observable("A", f"current into {name}"))
        return found

    def channels(self, device: DeviceConfig) -> dict[str, Observable]:
        about = Observable("A", "largest current left over in a node")
        return {name: entry[2] for name, entry in self.recorded(device).items()} | {"kirchhoff_residual": about}

    def keeps(self, memristor: str) -> bool:
        return self.wanted(memristor, self.memristors)

    # ------------------------------------------------------------------------------- building

    def build(
        self, device: DeviceConfig, draws: Mapping[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any
    ) -> Circuit:
        def of(name: str, parameter: str) -> Any:
            element, keys, _ = self._parts[name]
            if parameter not in keys:
                return per_lane(typical(getattr(element, parameter)), dtype, devices.size)
            return per_lane(draws[keys[parameter]], dtype)

        def stack(rows: Sequence[Any]) -> Any:
            return np.stack(rows) if rows else np.empty((0, devices.size), dtype)

        guests, first = [], self.copies
        for key, table in self.tables.items():
            count = len(self.batches[key])
            own = {name: draws[f"circuit.{key}.{name}"] for name in table.parameters()}
            guests.append(built(table, own, seed, devices, dtype, range(first, first + count)))
            first += count
        elements = self.elements_by_name
        conductors = []
        for names in self.conductors.values():
            element = elements[names[0]]
            assert isinstance(element, Conductor)
            values: dict[str, Any] = {
                own: np.concatenate([of(name, own) for name in names]) for own in element.parameters()
            }
            conductors.append(stacked(element.law(values), len(names)))
        led, volts, amps = list(self._own_protocols), self._named(VoltageSource), self._named(CurrentSource)

        def drives(names: Sequence[str]) -> tuple[int, ...]:
            return tuple(1 + led.index(name) if name in led else 0 for name in names)

        def limits(names: Sequence[str]) -> Any:
            own = (getattr(elements[name], "compliance", None) for name in names)
            return stack([per_lane(_UNLIMITED if each is None else each, dtype, devices.size) for each in own])

        return WiredCircuit(
            network=self.network,
            guests=tuple(guests),
            counts=tuple(len(names) for names in self.batches.values()),
            conductors=tuple(conductors),
            alike=tuple(len(names) for names in self.conductors.values()),
            capacitance=stack([of(name, "capacitance") for name in self._named(Capacitor)]),
            share=stack([of(name, "share") for name in volts]),
            most=limits(volts),
            driven_by=drives(volts),
            transconductance=stack([of(name, "transconductance") for name in amps]),
            most_voltage=limits(amps),
            given_by=drives(amps),
            tables=tuple(self._followed(device, *self.tables.values())),
            spectral=self.small_signal_network,
            recorded=tuple((channel, what, which) for channel, (what, which, _) in self.recorded(device).items()),
        )
