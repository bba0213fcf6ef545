"""A circuit as what it is: named elements between named nodes. Every wiring by name (`neuron.py`, `crossbar.py`) and the
general one (`network.py`) says which elements it has; how they act together is said here.

Within an interval the memristors' laws and the capacitors' charges change each other. They take turns (Strang 1968,
doi:10.1137/0705041): half an interval of the capacitors with the laws held, the devices through all of it with the
charges held, half an interval of the capacitors with the new laws. Each turn is exact or of second order, so the whole
is of second order, and exact where the conductances stand still: C dv/dt = i(v) is solved by v + h φ(h J) i/C, J its
derivative (`integrators/exponential.py`).

States that the circuit *follows* are those of the one-state families: they change together with the charges, with the
division of the voltage worked out on the way, in steps that the integrator chooses for each realisation. A threshold
switch behind a resistor then takes as few steps as it needs.

A memristor of element number e has random numbers of its own, named by (seed, realisation, e, cycle); e = 0 is the
first, whose numbers are those of a device alone.
"""

from __future__ import annotations

import abc
import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, UInt32
from pydantic import model_validator
from pydantic.fields import FieldInfo

from mcdev.circuits.contract import Circuit, CircuitConfig, Division
from mcdev.circuits.several import built, element_keys, flat, stacked
from mcdev.circuits.elements import Capacitor, CurrentSource, Element, Memristor, VoltageSource
from mcdev.circuits.elements.contract import GROUND, Conductor
from mcdev.devices.contract import CIRCUIT_CHANNELS, CurrentLaw, DeviceConfig, Devices, LaneKey, Observable, Pace, PerLane
from mcdev.devices.ohmic import Ohmic
from mcdev.devices.one_state import OneState, OneStateDevices
from mcdev.integrators.exponential import adaptive_system, relaxation
from mcdev.integrators.interval import Interval
from mcdev.integrators.nodal import Floating, Loop, Network, Sources, solve, stiffness
from mcdev.schema import Drawn, Name, Unit, extremes, nearest, refuse, typical

_FOLLOWED = 12  # numbers that are followed together at most: the derivative of each by each is a matrix
_RECORDED = 16  # memristors of which everything is recorded where nothing is said

Rows = Float[Array, "row lane"]


class Part(NamedTuple):
    """An element, and where its parameters are said."""

    element: Element
    keys: Mapping[str, str]
    """Parameter → its key path in the configuration; those that are not there are what the element says."""


def part(kind: type[Element], plus: str, minus: str, keys: Mapping[str, str], **values: Any) -> Part:
    """An element of this kind between two nodes; ``values`` have been checked where they were read."""
    return Part(kind.model_construct(between=(plus, minus), **values), keys)


class Wiring(NamedTuple):
    """The state of a circuit's own elements."""

    guests: tuple[Any, ...]
    """State of the memristors of each further table; arrays [..., memristor, lane]."""
    charge: Rows
    """Voltage of each capacitor (V)."""
    unknown: Rows
    """What the last solution found: where the next one begins."""


class Laws(eqx.Module):
    """Current against voltage of all elements, an array [element, lane] of each."""

    memristors: tuple[CurrentLaw, ...]
    """Of each table, its memristors one after the other."""
    counts: tuple[int, ...] = eqx.field(static=True)
    conductors: tuple[CurrentLaw, ...]

    @property
    def ohmic(self) -> bool:
        return all(isinstance(law, Ohmic) for law in (*self.memristors, *self.conductors))

    def __call__(self, voltage: Rows) -> Rows:
        found, at = [], 0
        for law, count in zip(self.memristors, self.counts, strict=True):
            own = voltage[at : at + count]
            found.append(law.current(own.reshape(-1)).reshape(own.shape))
            at += count
        for law in self.conductors:
            found.append(law.current(voltage[at])[None])
            at += 1
        return jnp.concatenate(found)


class Seen(NamedTuple):
    """What a division of the voltage is, besides the first memristors' share."""

    z: Rows
    """Potentials and tie voltages (V)."""
    unknown: Rows
    voltage: Rows
    """Of each element (V)."""
    current: Rows
    """Through each element (A)."""
    given: Rows
    """Out of each tie (A)."""
    residual: PerLane
    """Largest current left over in a node (A)."""


class WiredCircuit(Circuit):
    """The elements of a batch of realisations; parameters [lane]."""

    network: Network = eqx.field(static=True)
    guests: tuple[Devices, ...]
    """Of each further table; arrays [..., memristor, lane]."""
    counts: tuple[int, ...] = eqx.field(static=True)
    """Memristors of [device], and of each further table."""
    conductors: tuple[CurrentLaw, ...]
    capacitance: Rows
    share: Rows
    """Of each source: its voltage, or its current, for each volt of the protocol."""
    most: Rows
    """Of each source: its limit."""
    of_voltage: tuple[bool, ...] = eqx.field(static=True)
    tables: tuple[bool, ...] = eqx.field(static=True)
    """Whether the states of [device] and of each further table are followed."""
    recorded: tuple[tuple[str, str, int], ...] = eqx.field(static=True)
    """(channel, what it is, which one) of what is recorded besides the first memristor's."""
    spectral: Network | None = eqx.field(static=True)
    """With the capacitors as elements instead of ties; where an impedance can be taken."""

    @property
    def copies(self) -> int:
        return self.counts[0]

    @property
    def stores(self) -> bool:
        return bool(self.capacitance.shape[0]) or any(self.tables)

    @property
    def follows(self) -> bool:
        return self.tables[0]

    @property
    def follows_all(self) -> bool:
        return all(self.tables)

    @property
    def noisy(self) -> bool:
        return any(guest.noisy for guest in self.guests)

    def _flat(self, state: Wiring) -> list[tuple[Devices, Any]]:
        """Of each further table its devices and their state, those of a realisation as lanes."""
        return [
            (flat(guest, count), flat(of, count))
            for guest, of, count in zip(self.guests, state.guests, self.counts[1:], strict=True)
        ]

    def rest(self, key: LaneKey, dtype: Any) -> Wiring:
        lanes, states, first = key[0].shape[0], [], self.copies
        for guest, count in zip(self.guests, self.counts[1:], strict=True):
            keys = element_keys(key, range(first, first + count))
            states.append(stacked(flat(guest, count).rest(keys), count))
            first += count
        return Wiring(
            tuple(states),
            jnp.zeros((self.capacitance.shape[0], lanes), dtype),
            jnp.zeros((self.network.unknowns, lanes), dtype),
        )

    def laws(self, state: Wiring, law: CurrentLaw) -> Laws:
        """Of all elements, with the law of the memristors of [device]."""
        own = (guest.current_law(of) for guest, of in self._flat(state))
        return Laws((law, *own), self.counts, self.conductors)

    def ties(self, applied: PerLane, charge: Rows) -> tuple[Rows, Sources | None]:
        """Voltages of sources and capacitors, and the sources that have a limit."""
        driven = self.share * applied
        free = list(self.network.free)
        sources = None
        if free:
            sources = Sources(driven[np.array(free)], self.most[np.array(free)], tuple(self.of_voltage[f] for f in free))
        return jnp.concatenate([driven, charge]), sources

    def found(self, state: Wiring, applied: PerLane, laws: Laws) -> Seen:
        """Kirchhoff's laws solved."""
        ties, sources = self.ties(applied, state.charge)
        z, unknown, current, given, residual = solve(self.network, laws, ties, state.unknown, laws.ohmic, sources)
        return Seen(z, unknown, self.network.element_voltages(z), current, given, residual)

    def solve(self, state: Wiring, applied: PerLane, law: CurrentLaw) -> Division:
        seen = self.found(state, applied, self.laws(state, law))
        own = slice(0, self.copies)
        return Division(seen.voltage[own].reshape(-1), seen.current[own].reshape(-1), seen)

    def advance(
        self,
        state: Wiring,
        applied: PerLane,
        law: CurrentLaw,
        division: Division,
        interval: Interval,
        key: LaneKey,
        clock: UInt32[Array, " lane"],
    ) -> Wiring:
        """The memristors of further tables, with voltage and current held; those that are followed stay."""
        seen: Seen = division.inner
        states, at = [], self.copies
        for (guest, of), count, followed in zip(self._flat(state), self.counts[1:], self.tables[1:], strict=True):
            if not followed:
                voltage, current = (x[at : at + count].reshape(-1) for x in (seen.voltage, seen.current))
                keys = element_keys(key, range(at, at + count))
                of = guest.advance(of, voltage, current, interval.times(count), keys, jnp.tile(clock, count))
            states.append(stacked(of, count))
            at += count
        return state._replace(guests=tuple(states), unknown=seen.unknown)

    def flow(
        self, devices: Devices, state: Any, wiring: Wiring, applied: PerLane, duration: PerLane
    ) -> tuple[Any, Wiring]:
        """The capacitors' charges, and the states that the circuit follows, ``duration`` seconds later, with all other
        states held. ``devices`` and ``state``: the memristors of [device], those of a realisation as lanes."""
        if any(self.tables):
            return self._followed(devices, state, wiring, applied, duration)
        laws = self.laws(wiring, devices.current_law(state))
        seen = self.found(wiring, applied, laws)
        _, slope = jax.jvp(laws, (seen.voltage,), (jnp.ones_like(seen.voltage),))
        sources, capacitors = self.share.shape[0], self.capacitance.shape[0]
        which = range(sources, sources + capacitors)
        # A source at its limit lets its voltage go: it is held here, which only costs accuracy while it changes over.
        free = [self.network.order.index(self.network.clusters + f) for f in self.network.free]
        fixed = jnp.zeros_like(seen.unknown, bool).at[np.array(free, int)].set(True) if free else None
        rate = stiffness(self.network, slope, which, fixed) / self.capacitance[:, None]
        # What a capacitor gives out, it loses.
        speed = -seen.given[sources:] / self.capacitance
        charge = wiring.charge + duration * relaxation(rate, duration, speed)
        return state, wiring._replace(charge=charge, unknown=seen.unknown)

    def _followed(
        self, devices: Devices, state: Any, wiring: Wiring, applied: PerLane, duration: PerLane
    ) -> tuple[Any, Wiring]:
        pairs = [(devices, state), *self._flat(wiring)]
        batches, states, counts = [b for b, _ in pairs], [s for _, s in pairs], self.counts
        sources, lanes = self.share.shape[0], applied.shape[0]
        which = [b for b, followed in enumerate(self.tables) if followed]
        sizes = [*(counts[b] for b in which), wiring.charge.shape[0]]
        ends = list(itertools.accumulate(sizes))

        def split(y: Rows) -> tuple[list[Any], Rows]:
            parts = [y[end - size : end] for size, end in zip(sizes, ends, strict=True)]
            own = list(states)
            for b, part in zip(which, parts[:-1], strict=True):
                own[b] = part.reshape(-1)
            return own, parts[-1]

        def speed(y: Rows) -> Rows:
            own, charge = split(y)
            laws = Laws(
                tuple(batch.current_law(s) for batch, s in zip(batches, own, strict=True)), counts, self.conductors
            )
            seen = self.found(wiring._replace(charge=charge), applied, laws)
            at, found = np.cumsum([0, *counts]), []
            for b in which:
                batch = batches[b]
                assert isinstance(batch, OneStateDevices)
                voltage = seen.voltage[at[b] : at[b + 1]].reshape(-1)
                found.append(batch.drift(own[b], voltage).reshape(counts[b], -1))
            return jnp.concatenate([*found, -seen.given[sources:] / self.capacitance])

        begin = jnp.concatenate([*(states[b].reshape(counts[b], -1) for b in which), wiring.charge])
        finest = min(batches[b].tolerance for b in which)  # type: ignore[attr-defined]
        volts = jnp.maximum(jnp.max(jnp.abs(self.share), axis=0) * jnp.abs(applied), jnp.max(jnp.abs(begin), axis=0))
        tolerance = [jnp.full((counts[b], lanes), batches[b].tolerance, begin.dtype) for b in which]  # type: ignore[attr-defined]
        tolerance.append(jnp.broadcast_to(finest * jnp.maximum(volts, 1e-6), (sizes[-1], lanes)))
        own, charge = split(adaptive_system(speed, begin, duration, jax.lax.stop_gradient(jnp.concatenate(tolerance))))
        guests = tuple(stacked(of, count) for of, count in zip(own[1:], self.counts[1:], strict=True))
        return own[0], wiring._replace(guests=guests, charge=charge)

    def observe(
        self, state: Wiring, division: Division, law: CurrentLaw, observed: Mapping[str, PerLane]
    ) -> dict[str, PerLane]:
        seen: Seen = division.inner
        sources = self.share.shape[0]
        potential = functools.cache(lambda: self.network.places.apply(seen.z))
        begins = itertools.accumulate(self.counts)
        guests = [
            guest.observe(of, seen.voltage[at : at + count].reshape(-1))
            for (guest, of), count, at in zip(self._flat(state), self.counts[1:], begins, strict=False)
        ]
        found: dict[str, PerLane] = {}
        for channel, what, which in self.recorded:
            if what == "potential":
                found[channel] = potential()[which]
            elif what == "given":
                found[channel] = seen.given[which]
            elif what == "charging":
                found[channel] = -seen.given[sources + which]
            elif what == "device_voltage":
                found[channel] = seen.voltage[which]
            elif what == "current":
                found[channel] = seen.current[which]
            elif what == "conductance":
                found[channel] = self._chord(state, law, seen, which)
            else:
                found[channel] = self._observed(what, which, observed, guests)
        return found | {"kirchhoff_residual": seen.residual}

    def _chord(self, state: Wiring, law: CurrentLaw, seen: Seen, element: int) -> PerLane:
        """Current over voltage of a memristor, finite at zero volts too."""
        laws, at = self.laws(state, law), 0
        for own, count in zip(laws.memristors, laws.counts, strict=True):
            if element < at + count:
                chord = own.chord(seen.voltage[at : at + count].reshape(-1))
                return jnp.broadcast_to(chord, (count * seen.voltage.shape[1],)).reshape(count, -1)[element - at]
            at += count
        return laws.conductors[element - at].chord(seen.voltage[element])

    def _observed(self, name: str, element: int, observed: Mapping[str, PerLane], guests: Sequence[Any]) -> PerLane:
        at = 0
        for of, count in zip((observed, *guests), self.counts, strict=True):
            if element < at + count:
                return of[name].reshape(count, -1)[element - at]
            at += count
        raise KeyError(name)

    def intact(self, state: Wiring) -> Bool[Array, " lane"]:
        """Where the charges and all memristors of further tables mean something."""
        good = jnp.all(jnp.isfinite(state.charge), axis=0)
        for (guest, of), count in zip(self._flat(state), self.counts[1:], strict=True):
            good &= jnp.all(guest.intact(of).reshape(count, -1), axis=0)
        return good

    def impedance(
        self,
        state: Wiring,
        division: Division,
        law: CurrentLaw,
        device: Complex[Array, "frequency lane"],
        frequency: Float[Array, " frequency"],
    ) -> Complex[Array, "frequency lane"]:
        """From the nodal equations with an admittance for each element, i ω C for a capacitor."""
        seen: Seen = division.inner
        lanes = seen.voltage.shape[1]
        parts, at = [(1.0 / device).reshape(-1, self.copies, lanes)], self.copies
        for (guest, of), count in zip(self._flat(state), self.counts[1:], strict=True):
            voltage = seen.voltage[at : at + count].reshape(-1)
            parts.append(guest.admittance(of, voltage, frequency).reshape(-1, count, lanes))
            at += count
        for own in self.conductors:
            _, slope = jax.jvp(own.current, (seen.voltage[at],), (jnp.ones(lanes, seen.voltage.dtype),))
            parts.append(jnp.broadcast_to(slope, (frequency.shape[0], 1, lanes)))
            at += 1
        parts.append(2j * jnp.pi * frequency[:, None, None] * self.capacitance)
        admittance = jnp.moveaxis(jnp.concatenate(parts, axis=1), 1, 0).reshape(-1, frequency.shape[0] * lanes)
        seen_by_source = stiffness(self.spectral, admittance, [0])[0, 0]
        return (1.0 / seen_by_source).reshape(frequency.shape[0], lanes)


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

    def table(self, name: str) -> DeviceConfig:
        """The table that a memristor names."""
        raise KeyError(name)

    # ------------------------------------------------------------------------------- what it is made of

    @functools.cached_property
    def _parts(self) -> dict[str, Part]:
        return self.parts()

    def _named(self, kind: type[Element] | tuple[type[Element], ...]) -> list[str]:
        return [name for name, part in self._parts.items() if isinstance(part.element, kind)]

    @functools.cached_property
    def batches(self) -> dict[str | None, list[str]]:
        """Table → names of its memristors; ``None`` stands for ``[device]``."""
        found: dict[str | None, list[str]] = {None: []}
        for name in self._named(Memristor):
            element = self._parts[name].element
            assert isinstance(element, Memristor)
            found.setdefault(element.device, []).append(name)
        return found

    @property
    def memristors(self) -> list[str]:
        """Names, in the order of their numbers."""
        return [name for names in self.batches.values() for name in names]

    @property
    def sources(self) -> list[str]:
        return self._named((VoltageSource, CurrentSource))

    @property
    def copies(self) -> int:
        return len(self.batches[None])

    @functools.cached_property
    def network(self) -> Network:
        """Raises ``Loop`` and ``Floating``."""
        of = {name: part.element for name, part in self._parts.items()}
        elements = [of[name].between for name in (*self.memristors, *self._named(Conductor))]
        free = [
            number
            for number, name in enumerate(self.sources)
            if isinstance(of[name], CurrentSource) or getattr(of[name], "compliance", None) is not None
        ]
        return Network.of(elements, [of[name].between for name in self._ties], GROUND, free)

    @functools.cached_property
    def small_signal_network(self) -> Network | None:
        """With the capacitors as elements, behind the one source."""
        if not self.small_signal:
            return None
        names = (*self.memristors, *self._named(Conductor), *self._named(Capacitor))
        elements = [self._parts[name].element.between for name in names]
        return Network.of(elements, [self._parts[self.sources[0]].element.between], GROUND)

    @property
    def _ties(self) -> list[str]:
        return [*self.sources, *self._named(Capacitor)]

    @model_validator(mode="after")
    def _consistent(self) -> Wired:
        if not self.batches[None]:
            refuse(None, "no element is a memristor of the table [device]: expected one at least", key="elements")
        if not self.sources:
            remedy = 'add one: V1 = { kind = "voltage_source", between = ["in", "0"] }'
            refuse(None, "no element is a source: expected one at least, for the protocol to drive", remedy, "elements")
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
                "connect it with a resistor or a memristor",
                key="elements",
            )
        for name in self.record or ():
            if name not in self._parts and name not in network.nodes:
                known = [*self._parts, *map(str, network.nodes)]
                refuse(name, f"no element or node of the circuit; {nearest(name, known)}", key="record")
        return self

    # ------------------------------------------------------------------------------- the contract's properties

    @property
    def tables(self) -> dict[str, DeviceConfig]:
        return {f"devices.{name}": self.table(name) for name in self.batches if name is not None}

    @property
    def small_signal(self) -> bool:
        sources = [self._parts[name].element for name in self.sources]
        alone = len(sources) == 1 and isinstance(sources[0], VoltageSource)
        return alone and all(table.small_signal for table in self.tables.values())

    @property
    def units(self) -> dict[str, Unit]:
        own = {
            key: part.element.parameters()[name] for part in self._parts.values() for name, key in part.keys.items()
        }
        return super().units | own

    def field(self, name: str) -> FieldInfo:
        for part in self._parts.values():
            for parameter, key in part.keys.items():
                if key == name:
                    return type(part.element).model_fields[parameter]
        return super().field(name)

    @property
    def laws(self) -> dict[str, Drawn]:
        own = {
            key: getattr(part.element, name) for part in self._parts.values() for name, key in part.keys.items()
        }
        return super().laws | own

    def members(self, key: str) -> tuple[int, ...]:
        name = key.removeprefix("circuit.devices.").rpartition(".")[0] if key.startswith("circuit.devices.") else None
        if name is None and key.startswith("circuit."):  # one of an element of another kind
            return (0,)
        number = self.memristors.index
        return tuple(number(own) for own in self.batches[name])

    def reach(self, voltage: float) -> float:
        """Largest voltage (V) that can stand across an element while the protocol applies up to ``voltage``: nothing
        in the circuit adds to what the sources give."""
        total = 0.0
        for name in self.sources:
            source = self._parts[name].element
            if isinstance(source, VoltageSource):
                low, high = extremes(source.share)
                total += max(abs(low), abs(high)) * abs(voltage)
            elif isinstance(source, CurrentSource):
                total += source.compliance
        return total

    @property
    def stores(self) -> bool:
        return bool(self._named(Capacitor))

    def follows(self, device: DeviceConfig) -> bool:
        return self._followed(device)[0]

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
        names = self.memristors
        conductors = self._named(Conductor)

        def wanted(name: str, of: Sequence[str]) -> bool:
            return len(of) <= _RECORDED if self.record is None else name in self.record

        found: dict[str, tuple[str, int, Observable]] = {}
        for number, node in enumerate(self.network.nodes):
            if node != GROUND and wanted(str(node), nodes):
                found[f"voltage({node})"] = ("potential", number, Observable("V", f"voltage of node {node}"))
        tables = [device, *self.tables.values()]
        at = 0
        for table, own in zip(tables, self.batches.values(), strict=True):
            for number, name in enumerate(own, start=at):
                if number == 0 or not wanted(name, names):
                    continue
                for quantity in ("device_voltage", "current", "conductance"):
                    unit, words = CIRCUIT_CHANNELS[quantity]
                    about = Observable(unit, f"{words.replace('the device', name)}, of {name}")
                    found[f"{quantity}({name})"] = (quantity, number, about)
                for quantity, (unit, words) in table.channels.items():
                    found[f"{quantity}({name})"] = (quantity, number, Observable(unit, f"{words}, of {name}"))
            at += len(own)
        for number, name in enumerate(conductors, start=at):
            if wanted(name, conductors):
                found[f"current({name})"] = ("current", number, Observable("A", f"current through {name}"))
        for number, name in enumerate(self.sources):
            if wanted(name, self.sources):
                found[f"current({name})"] = ("given", number, Observable("A", f"current out of {name}"))
        for number, name in enumerate(capacitors := self._named(Capacitor)):
            if wanted(name, capacitors):
                found[f"current({name})"] = ("charging", number, Observable("A", f"current into {name}"))
        return found

    def channels(self, device: DeviceConfig) -> dict[str, Observable]:
        about = Observable("A", "largest current left over in a node")
        return {name: entry[2] for name, entry in self.recorded(device).items()} | {"kirchhoff_residual": about}

    # ------------------------------------------------------------------------------- building

    def build(
        self, device: DeviceConfig, draws: Mapping[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any
    ) -> WiredCircuit:
        def of(name: str, parameter: str) -> np.ndarray:
            element, keys = self._parts[name]
            if parameter not in keys:
                return np.full(devices.size, typical(getattr(element, parameter)), dtype)
            return np.asarray(draws[keys[parameter]], dtype)

        guests, first = [], self.copies
        for key, table in self.tables.items():
            count = len(self.batches[key.removeprefix("devices.")])
            own = {name: draws[f"circuit.{key}.{name}"] for name in table.parameters()}
            guests.append(built(table, own, seed, devices, dtype, range(first, first + count)))
            first += count
        elements = {name: self._parts[name].element for name in self._parts}
        conductors = []
        for name in self._named(Conductor):
            element = elements[name]
            assert isinstance(element, Conductor)
            conductors.append(element.law({parameter: of(name, parameter) for parameter in element.parameters()}))
        share, most, of_voltage = [], [], []
        for name in self.sources:
            source = elements[name]
            voltage = isinstance(source, VoltageSource)
            share.append(of(name, "share" if voltage else "transconductance"))
            limit = getattr(source, "compliance", None)
            most.append(np.full(devices.size, np.inf if limit is None else limit, dtype))
            of_voltage.append(voltage)
        none = np.empty((0, devices.size), dtype)
        capacitance = [of(name, "capacitance") for name in self._named(Capacitor)]
        return WiredCircuit(
            network=self.network,
            guests=tuple(guests),
            counts=tuple(len(names) for names in self.batches.values()),
            conductors=tuple(conductors),
            capacitance=np.stack(capacitance) if capacitance else none,
            share=np.stack(share),
            most=np.stack(most),
            of_voltage=tuple(of_voltage),
            tables=tuple(self._followed(device, *self.tables.values())),
            spectral=self.small_signal_network,
            recorded=tuple((channel, what, which) for channel, (what, which, _) in self.recorded(device).items()),
        )
