"""A batch of circuits of elements: Kirchhoff's laws at every instant, charges and states in time.

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

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, UInt32

from mcdev.circuits.contract import Circuit, Division
from mcdev.circuits.several import element_keys, flat, stacked
from mcdev.devices.contract import CurrentLaw, Devices, LaneKey, PerLane
from mcdev.devices.ohmic import Ohmic
from mcdev.devices.one_state import OneStateDevices
from mcdev.integrators.exponential import adaptive_system, relaxation
from mcdev.integrators.interval import Interval
from mcdev.integrators.nodal import Solution, Sources, solve, stiffness
from mcdev.integrators.topology import Network

Rows = Float[Array, "row lane"]

_FADING = 0.01  # of a current source's largest voltage, over which its current goes


def _drives(applied: PerLane, which: Sequence[int]) -> Rows:
    """What the drives of these numbers apply (V): one a lane, or [drive, lane]."""
    drives = applied if applied.ndim > 1 else applied[None]
    return jnp.stack([drives[each] for each in which])


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
    """Of each kind, its elements one after the other."""
    alike: tuple[int, ...] = eqx.field(static=True)
    """Elements of each kind."""

    given: Given | None = None
    """The current sources, behind all others."""

    @property
    def ohmic(self) -> bool:
        return self.given is None and all(isinstance(law, Ohmic) for law in (*self.memristors, *self.conductors))

    def __call__(self, voltage: Rows) -> Rows:
        found, at = [], 0
        for law, count in self.batches:
            own = voltage[at : at + count]
            found.append(law.current(own.reshape(-1)).reshape(own.shape))
            at += count
        if self.given is not None:
            found.append(self.given(voltage[at:]))
        return jnp.concatenate(found)

    @property
    def batches(self) -> list[tuple[CurrentLaw, int]]:
        """(law, how many elements have it), in the order of the elements."""
        laws = (*self.memristors, *self.conductors)
        return list(zip(laws, (*self.counts, *self.alike), strict=True))

    def chord(self, voltage: Rows, element: int) -> PerLane:
        """Current over voltage of one element, finite at zero volts too."""
        at = 0
        for law, count in self.batches:
            if element < at + count:
                own = voltage[at : at + count].reshape(-1)
                return jnp.broadcast_to(law.chord(own), own.shape).reshape(count, -1)[element - at]
            at += count
        raise IndexError(element)


class Given(eqx.Module):
    """Current sources: a current out of the first node, which goes to zero over the last hundredth of the voltage up to
    which each can give it, and stays zero beyond. (A current that falls at once leaves no voltage determined.)"""

    current: Rows
    """What each is to give (A)."""
    most: Rows
    """Up to which voltage (V)."""

    def __call__(self, voltage: Rows) -> Rows:
        """Through each from its first node to its second (A)."""
        room = self.most - jnp.sign(self.current) * voltage
        return -self.current * jnp.clip(room / (_FADING * self.most), 0.0, 1.0)


class WiredCircuit(Circuit):
    """The elements of a batch of realisations; parameters [lane]."""

    network: Network = eqx.field(static=True)
    guests: tuple[Devices, ...]
    """Of each further table; arrays [..., memristor, lane]."""
    counts: tuple[int, ...] = eqx.field(static=True)
    """Memristors of [device], and of each further table."""
    conductors: tuple[CurrentLaw, ...]
    """Of each kind; arrays [..., element, lane]."""
    alike: tuple[int, ...] = eqx.field(static=True)
    """Elements of each kind."""
    capacitance: Rows
    share: Rows
    """Of each voltage source: its voltage for each volt of its drive."""
    most: Rows
    """Its largest current (A)."""
    driven_by: tuple[int, ...] = eqx.field(static=True)
    """Which drive it follows: 0 the protocol, others their own."""
    transconductance: Rows
    """Of each current source: its current for each volt of its drive."""
    most_voltage: Rows
    """Its largest voltage (V)."""
    given_by: tuple[int, ...] = eqx.field(static=True)
    """Which drive it follows."""
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
    def several(self) -> bool:
        return sum(self.counts) > 1

    @property
    def noisy(self) -> bool:
        return any(guest.noisy for guest in self.guests)

    @property
    def spans(self) -> list[slice]:
        """Which elements are the memristors of [device], and of each further table."""
        ends = itertools.accumulate(self.counts)
        return [slice(end - count, end) for end, count in zip(ends, self.counts, strict=True)]

    def _flat(self, state: Wiring) -> list[tuple[Devices, Any, slice]]:
        """Of each further table its devices and their state, those of a realisation as lanes, and their span."""
        return [
            (flat(guest, count), flat(of, count), span)
            for guest, of, count, span in zip(self.guests, state.guests, self.counts[1:], self.spans[1:], strict=True)
        ]

    def rest(self, key: LaneKey, dtype: Any) -> Wiring:
        lanes = key[0].shape[0]
        states = (
            stacked(flat(guest, count).rest(element_keys(key, range(span.start, span.stop))), count)
            for guest, count, span in zip(self.guests, self.counts[1:], self.spans[1:], strict=True)
        )
        return Wiring(
            tuple(states),
            jnp.zeros((self.capacitance.shape[0], lanes), dtype),
            jnp.zeros((self.network.unknowns, lanes), dtype),
        )

    def laws(self, state: Wiring, law: CurrentLaw, applied: PerLane) -> Laws:
        """Of all elements, with the law of the memristors of [device]."""
        own = (guest.current_law(of) for guest, of, _ in self._flat(state))
        return self._laws((law, *own), applied)

    def _laws(self, memristors: tuple[CurrentLaw, ...], applied: PerLane) -> Laws:
        conductors = tuple(flat(law, count) for law, count in zip(self.conductors, self.alike, strict=True))
        given = None
        if self.given_by:
            given = Given(self.transconductance * _drives(applied, self.given_by), self.most_voltage)
        return Laws(memristors, self.counts, conductors, self.alike, given)

    def ties(self, applied: PerLane, charge: Rows) -> tuple[Rows, Sources | None]:
        """Voltages of sources and capacitors, and the sources that have a limit."""
        driven = self.share * _drives(applied, self.driven_by) if self.driven_by else self.share
        free = list(self.network.free)
        sources = Sources(self.most[np.array(free)]) if free else None
        return jnp.concatenate([driven, charge]), sources

    def found(self, state: Wiring, applied: PerLane, laws: Laws) -> Solution:
        """Kirchhoff's laws solved."""
        ties, sources = self.ties(applied, state.charge)
        return solve(self.network, laws, ties, state.unknown, laws.ohmic, sources)

    def solve(self, state: Wiring, applied: PerLane, law: CurrentLaw) -> Division:
        seen = self.found(state, applied, self.laws(state, law, applied))
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
        seen: Solution = division.inner
        states = []
        for (guest, of, span), count, followed in zip(self._flat(state), self.counts[1:], self.tables[1:], strict=True):
            if not followed:
                voltage, current = (x[span].reshape(-1) for x in (seen.voltage, seen.current))
                keys = element_keys(key, range(span.start, span.stop))
                of = guest.advance(of, voltage, current, interval.times(count), keys, jnp.tile(clock, count))
            states.append(stacked(of, count))
        return state._replace(guests=tuple(states), unknown=seen.unknown)

    def flow(
        self, devices: Devices, state: Any, wiring: Wiring, applied: PerLane, duration: PerLane
    ) -> tuple[Any, Wiring]:
        """The capacitors' charges, and the states that the circuit follows, ``duration`` seconds later, with all other
        states held. ``devices`` and ``state``: the memristors of [device], those of a realisation as lanes."""
        if any(self.tables):
            return self._followed(devices, state, wiring, applied, duration)
        laws = self.laws(wiring, devices.current_law(state), applied)
        seen = self.found(wiring, applied, laws)
        _, slope = jax.jvp(laws, (seen.voltage,), (jnp.ones_like(seen.voltage),))
        sources, capacitors = self.share.shape[0], self.capacitance.shape[0]
        which = range(sources, sources + capacitors)
        rate = stiffness(self.network, slope, which, seen.fixed) / self.capacitance[:, None]
        # What a capacitor gives out, it loses.
        speed = -seen.given[sources:] / self.capacitance
        charge = wiring.charge + duration * relaxation(rate, duration, speed)
        return state, wiring._replace(charge=charge, unknown=seen.unknown)

    def _followed(
        self, devices: Devices, state: Any, wiring: Wiring, applied: PerLane, duration: PerLane
    ) -> tuple[Any, Wiring]:
        guests = self._flat(wiring)
        batches, states = [devices, *(b for b, _, _ in guests)], [state, *(s for _, s, _ in guests)]
        counts, spans = self.counts, self.spans
        sources, lanes = self.share.shape[0], applied.shape[-1]
        which = [b for b, followed in enumerate(self.tables) if followed]
        of_one_state = [each for b, each in enumerate(batches) if b in which and isinstance(each, OneStateDevices)]
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
            laws = self._laws(tuple(batch.current_law(s) for batch, s in zip(batches, own, strict=True)), applied)
            seen = self.found(wiring._replace(charge=charge), applied, laws)
            found = [
                batch.drift(own[b], seen.voltage[spans[b]].reshape(-1)).reshape(counts[b], -1)
                for b, batch in zip(which, of_one_state, strict=True)
            ]
            return jnp.concatenate([*found, -seen.given[sources:] / self.capacitance])

        begin = jnp.concatenate([*(states[b].reshape(counts[b], -1) for b in which), wiring.charge])
        finest = min(each.tolerance for each in of_one_state)
        driven = jnp.abs(self.ties(applied, wiring.charge)[0])
        volts = jnp.maximum(jnp.max(driven, axis=0), jnp.max(jnp.abs(begin), axis=0))
        sized = zip(of_one_state, sizes[:-1], strict=True)
        tolerance = [jnp.full((count, lanes), each.tolerance, begin.dtype) for each, count in sized]
        tolerance.append(jnp.broadcast_to(finest * jnp.maximum(volts, 1e-6), (sizes[-1], lanes)))
        own, charge = split(adaptive_system(speed, begin, duration, jax.lax.stop_gradient(jnp.concatenate(tolerance))))
        moved = tuple(stacked(of, count) for of, count in zip(own[1:], counts[1:], strict=True))
        return own[0], wiring._replace(guests=moved, charge=charge)

    def observe(
        self, state: Wiring, division: Division, law: CurrentLaw, observed: Mapping[str, PerLane]
    ) -> dict[str, PerLane]:
        seen: Solution = division.inner
        sources = self.share.shape[0]
        potential = functools.cache(lambda: self.network.places.apply(seen.z))
        laws = functools.cache(lambda: self.laws(state, law, jnp.zeros_like(seen.z[0])))
        of_tables = [
            observed,
            *(guest.observe(of, seen.voltage[span].reshape(-1)) for guest, of, span in self._flat(state)),
        ]
        found: dict[str, PerLane] = {}
        for channel, what, which in self.recorded:
            if what == "potential":
                found[channel] = potential()[which]
            elif what == "given":
                found[channel] = seen.given[which]
            elif what == "delivered":
                found[channel] = -seen.current[which]
            elif what == "charging":
                found[channel] = -seen.given[sources + which]
            elif what == "device_voltage":
                found[channel] = seen.voltage[which]
            elif what == "current":
                found[channel] = seen.current[which]
            elif what == "conductance":
                found[channel] = laws().chord(seen.voltage, which)
            else:
                table = next(b for b, span in enumerate(self.spans) if which < span.stop)
                own = of_tables[table][what].reshape(self.counts[table], -1)
                found[channel] = own[which - self.spans[table].start]
        return found | {"kirchhoff_residual": seen.residual}

    def intact(self, state: Wiring) -> Bool[Array, "part lane"]:
        """Where each memristor of a further table does, and the charges."""
        own = (guest.intact(of).reshape(span.stop - span.start, -1) for guest, of, span in self._flat(state))
        return jnp.concatenate([*own, jnp.all(jnp.isfinite(state.charge), axis=0, keepdims=True)])

    def impedance(
        self,
        state: Wiring,
        division: Division,
        law: CurrentLaw,
        device: Complex[Array, "frequency lane"],
        frequency: Float[Array, " frequency"],
    ) -> Complex[Array, "frequency lane"]:
        """From the nodal equations with an admittance for each element, i ω C for a capacitor."""
        seen: Solution = division.inner
        assert self.spectral is not None  # `small_signal` says so
        lanes = seen.voltage.shape[1]
        parts, at = [(1.0 / device).reshape(-1, self.copies, lanes)], sum(self.counts)
        for guest, of, span in self._flat(state):
            admittance = guest.admittance(of, seen.voltage[span].reshape(-1), frequency)
            parts.append(admittance.reshape(-1, span.stop - span.start, lanes))
        for own, count in zip(self.conductors, self.alike, strict=True):
            voltage = seen.voltage[at : at + count].reshape(-1)
            _, slope = jax.jvp(flat(own, count).current, (voltage,), (jnp.ones_like(voltage),))
            parts.append(jnp.broadcast_to(slope.reshape(count, lanes), (frequency.shape[0], count, lanes)))
            at += count
        parts.append(2j * jnp.pi * frequency[:, None, None] * self.capacitance)
        admittance = jnp.moveaxis(jnp.concatenate(parts, axis=1), 1, 0).reshape(-1, frequency.shape[0] * lanes)
        seen_by_source = stiffness(self.spectral, admittance, [0])[0, 0]
        return (1.0 / seen_by_source).reshape(frequency.shape[0], lanes)
