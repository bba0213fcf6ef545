"""The compiled program: lanes through the samples of a protocol.

It takes a fixed number of samples. Each sample brings, for each lane, its own voltage, number of circuit solutions and
step. So one program serves every protocol, sweep point and duration, and its memory does not grow with the number of
steps. All of it are pure functions: a run compiles them, a calibration differentiates them.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Complex, Float, Int32, UInt32

from mcdev.circuits.contract import Circuit, Division
from mcdev.circuits.several import chosen, element_keys, flat, stacked
from mcdev.devices.contract import CurrentLaw, Devices, LaneKey, PerLane
from mcdev.integrators.interval import Interval
from mcdev.integrators.noise import realisation_key
from mcdev.machine import gpu
from mcdev.machine.environment import backend
from mcdev.measurements.contract import Trajectory
from mcdev.simulation.spikes import watch


class Carry(NamedTuple):
    """Where a batch of lanes is; every array has the lanes last."""

    state: Any
    circuit: Any
    clock: UInt32[Array, " lane"]
    """Pairs of steps that each lane has taken since its cycle began."""
    intact: Bool[Array, " lane"]
    spikes: Any = ()
    """A ``Watch`` for each detector of spikes, while samples of a cycle are recorded."""
    culprit: Int32[Array, " lane"] | None = None
    """Number of the device that first broke down, -1 where none did; None where a realisation has one device."""


class Row(NamedTuple):
    """One sample, or with one more leading axis several; each array [lane]."""

    start: PerLane
    """Source voltage (V)."""
    end: PerLane
    solutions: UInt32[Array, " lane"]
    """Times that the circuit is solved within the sample."""
    pairs: UInt32[Array, " lane"]
    """Pairs of steps between two solutions."""
    step: PerLane
    """Seconds."""
    beside: Any = ()
    """Of what else drives the circuit, its voltage at the start and at the end of the sample [lane, drive, 2]."""


class Recorded(NamedTuple):
    """What was seen during the samples."""

    channels: dict[str, Float[Array, "sample lane"]]
    """Means over each sample."""
    profile: dict[str, Float[Array, "sample bin point"]]
    """Summed over the intact lanes of each point."""
    snapshot: dict[str, Float[Array, "sample part point kept"]]
    """Inner coordinates of the first lanes of each point."""


class Place(NamedTuple):
    """How lanes belong to sweep points."""

    slot: int
    """Neighbouring lanes that belong to one point."""
    kept: int
    """Lanes of each point whose inner coordinates are kept."""


def sample(
    devices: Devices,
    circuit: Circuit,
    key: LaneKey,
    carry: Carry,
    row: Row,
    counted: Bool[Array, " lane"],
    place: Place,
    most: tuple[Any, Any],
    loop: Callable[..., Any] = lax.fori_loop,
) -> tuple[Carry, Recorded]:
    """Advance lanes through one sample. ``most``: the largest of the lanes' solutions, and of their pairs. ``loop``
    runs the sample's circuit intervals."""
    start, end, solutions, pairs, step, beside = row
    lanes, copies = carry.intact.shape[0], circuit.copies
    devices, carry = flat(devices, copies), carry._replace(state=flat(carry.state, copies))
    keys = element_keys(key, range(copies))
    zeros = jnp.zeros(lanes, start.dtype)
    count = jnp.maximum(solutions, 1).astype(start.dtype)
    constant = start == end
    if not isinstance(beside, tuple):
        constant &= jnp.all(beside[..., 0] == beside[..., 1], axis=-1)
    intervals, turns = most

    def body(i: UInt32[Array, ""], inner: tuple[Carry, Division, dict[str, Any]]) -> tuple[Any, ...]:
        now, held, sums = inner
        now, spikes = now._replace(spikes=()), now.spikes  # nothing but the last line sees them
        active = i < solutions
        share = (jnp.asarray(i, start.dtype) + 0.5) / count
        applied = start + (end - start) * share
        if not isinstance(beside, tuple):  # [drive, lane], the protocol first
            others = beside[..., 0] + (beside[..., 1] - beside[..., 0]) * share[:, None]
            applied = jnp.concatenate([applied[None], others.T])
        interval = Interval(step, jnp.where(active, pairs, jnp.uint32(0)), turns)
        law = devices.current_law(now.state)

        def anew() -> Division:
            found = circuit.solve(now.circuit, applied, law)
            return chosen(constant & (i > 0), held, found)

        if circuit.divides:  # at constant voltage the division at the end of an interval is that of the next beginning
            division = lax.cond((i == 0) | ~jnp.all(constant), anew, lambda: held)
        else:
            division = circuit.solve(now.circuit, applied, law)

        def through(begin: Carry, interval: Interval, law: CurrentLaw, division: Division) -> Carry:
            """The interval, or a part of it, with the device's law and the division of the voltage held."""
            state = begin.state
            if not circuit.follows:
                wide, clock = interval.times(copies), jnp.tile(begin.clock, copies)
                state = devices.advance(state, division.voltage, division.current, wide, keys, clock)
            wiring = circuit.advance(begin.circuit, applied, law, division, interval, key, begin.clock)
            return begin._replace(state=state, circuit=wiring, clock=begin.clock + interval.pairs)

        def flowed(at: Carry, duration: PerLane) -> Carry:
            state, wiring = circuit.flow(devices, at.state, at.circuit, applied, duration)
            return at._replace(state=state, circuit=wiring)

        def division_of(at: Carry) -> tuple[CurrentLaw, Division]:
            law = devices.current_law(at.state)
            return law, circuit.solve(at.circuit, applied, law)

        def moved(begin: Carry, law: CurrentLaw, division: Division) -> tuple[Carry, CurrentLaw, Division]:
            """The devices through the interval, and what holds at its end."""
            if circuit.divides and not (devices.noisy or circuit.noisy):
                onward = functools.partial(through, begin)
                return midpoint(devices, circuit, applied, onward, interval, law, division)
            after = through(begin, interval, law, division)
            return (after, *division_of(after))

        if circuit.follows_all:
            after = flowed(now, interval.duration)._replace(clock=now.clock + interval.pairs)
            law_after, division_after = division_of(after)
        elif circuit.stores:  # half of the interval before the devices move, and half after
            half = 0.5 * interval.duration
            begin = flowed(now, half)
            after = flowed(moved(begin, *division_of(begin))[0], half)
            law_after, division_after = division_of(after)
        else:
            after, law_after, division_after = moved(now, law, division)
        if now.culprit is not None:  # at every interval: one later all that hangs together are no numbers
            fine = each_intact(devices, circuit, after)
            first = jnp.where(jnp.all(fine, axis=0), -1, jnp.argmin(fine, axis=0).astype(jnp.int32))
            after = after._replace(culprit=jnp.where(now.culprit < 0, first, now.culprit))
        # The mean over the interval is that of its two ends: recording the beginning alone would read a rising
        # conductance late by half an interval.
        before = recorded(devices, circuit, now, applied, law, division)
        behind = recorded(devices, circuit, after, applied, law_after, division_after)
        more = {name: jnp.where(active, 0.5 * (before[name] + behind[name]), 0.0) for name in sums}
        after = chosen(active, after, now)._replace(spikes=watch(spikes, before, behind, i, solutions))
        return after, division_after, {name: sums[name] + more[name] for name in sums}

    names = jax.eval_shape(lambda: seen(devices, circuit, carry, zeros))
    blank = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        jax.eval_shape(lambda: circuit.solve(carry.circuit, zeros, devices.current_law(carry.state))),
    )
    inner = (carry, blank, dict.fromkeys(names, zeros))
    carry, _, sums = loop(jnp.uint32(0), intervals, body, inner)
    means = {name: total / count for name, total in sums.items()}
    intact = carry.intact & jnp.all(each_intact(devices, circuit, carry), axis=0)
    for series in means.values():
        intact &= jnp.isfinite(series)

    def by_point(value: Float[Array, "... lane"]) -> Float[Array, "... point slot"]:
        return value.reshape(*value.shape[:-1], -1, place.slot)

    shown = counted & intact
    profile = {
        name: jnp.sum(by_point(jnp.where(shown, value[..., :lanes], 0.0)), axis=-1)
        for name, value in devices.profile(carry.state).items()
    }
    snapshot = {
        name: by_point(value[..., :lanes])[..., : place.kept] for name, value in devices.snapshot(carry.state).items()
    }
    carry = carry._replace(intact=intact, state=stacked(carry.state, copies))
    return carry, Recorded(means, profile, snapshot)


def each_intact(devices: Devices, circuit: Circuit, at: Carry) -> Bool[Array, "device lane"]:
    """Whether each device of a realisation is, in the order of ``CircuitConfig.memristors``; behind them what else the
    circuit tells."""
    own, others = devices.intact(at.state).reshape(circuit.copies, -1), circuit.intact(at.circuit)
    return own if others is None else jnp.concatenate([own, others])


def midpoint(
    devices: Devices,
    circuit: Circuit,
    applied: PerLane,
    through: Callable[[Interval, CurrentLaw, Division], Carry],
    interval: Interval,
    law: CurrentLaw,
    division: Division,
) -> tuple[Carry, CurrentLaw, Division]:
    """An interval in which the state changes the division of the voltage, right to second order (the midpoint rule):
    half of it with what holds at its beginning, then all of it with what was found in the middle. Returns where it
    ends, with the law and the division there."""

    def attempt(
        held: tuple[Carry, CurrentLaw, Division], step: PerLane
    ) -> tuple[tuple[Carry, CurrentLaw, Division], None]:
        _, law, division = held
        reached = through(interval._replace(step=step), law, division)
        law = devices.current_law(reached.state)
        return (reached, law, circuit.solve(reached.circuit, applied, law)), None

    shapes = jax.eval_shape(lambda: through(interval, law, division))
    blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    end, _ = lax.scan(attempt, (blank, law, division), jnp.stack([0.5 * interval.step, interval.step]))
    return end


def seen(devices: Devices, circuit: Circuit, at: Carry, applied: PerLane) -> dict[str, Any]:
    """What the recorder reads at this instant under this source voltage."""
    law = devices.current_law(at.state)
    return recorded(devices, circuit, at, applied, law, circuit.solve(at.circuit, applied, law))


def recorded(
    devices: Devices, circuit: Circuit, at: Carry, applied: PerLane, law: CurrentLaw, division: Division
) -> dict[str, Any]:
    """The same, where the division of the voltage is known: of the first device, and of the circuit."""
    observed = devices.observe(at.state, division.voltage)
    own = {
        "device_voltage": division.voltage,
        "current": division.current,
        "conductance": law.chord(division.voltage),
        **observed,
    }
    if circuit.copies > 1:
        own = {name: value[: applied.shape[-1]] for name, value in own.items()}
    return {
        "voltage": applied if applied.ndim == 1 else applied[0],
        **own,
        **circuit.observe(at.circuit, division, law, observed),
    }


def impedance_of(
    devices: Devices, circuit: Circuit, at: Carry, applied: PerLane, frequency: Float[Array, " frequency"]
) -> Complex[Array, "frequency lane"]:
    """Small-signal impedance (Ω) that the source sees, about this state and source voltage."""
    copies = circuit.copies
    devices, at = flat(devices, copies), at._replace(state=flat(at.state, copies))
    law = devices.current_law(at.state)
    division = circuit.solve(at.circuit, applied, law)
    own = 1.0 / devices.admittance(at.state, division.voltage, frequency)
    return circuit.impedance(at.circuit, division, law, own, frequency)


def advance(
    devices: Devices,
    circuit: Circuit,
    key: LaneKey,
    carry: Carry,
    rows: Row,
    counted: Bool[Array, " lane"],
    place: Place,
) -> tuple[Carry, Recorded]:
    """Lanes through a batch of samples, each as :func:`sample` says. Rows are [sample, lane], or [sample, point]."""
    lanes = carry.intact.shape[0]
    by_lane: Row = jax.tree.map(lambda x: jnp.repeat(x, lanes // x.shape[1], axis=1, total_repeat_length=lanes), rows)
    most = jnp.max(rows.solutions, axis=1), jnp.max(rows.pairs, axis=1)

    def body(carry: Carry, own: tuple[Row, tuple[Any, Any]]) -> tuple[Carry, Recorded]:
        row, most = own
        return sample(devices, circuit, key, carry, row, counted, place, most)

    return lax.scan(body, carry, (by_lane, most))


def rest(devices: Devices, circuit: Circuit, key: LaneKey) -> Carry:
    """Lanes as they begin: devices and circuit at rest, the clock of their random numbers at zero."""
    copies = circuit.copies
    devices = flat(devices, copies)
    state = devices.rest(element_keys(key, range(copies)))
    lanes = key[0].shape[0]
    dtype = jax.tree.leaves(devices)[0].dtype
    begin = Carry(state, circuit.rest(key, dtype), jnp.zeros(lanes, jnp.uint32), jnp.ones(lanes, bool))
    fine = each_intact(devices, circuit, begin)
    culprit = jnp.full(lanes, -1, jnp.int32) if circuit.several else None
    return begin._replace(state=stacked(state, copies), intact=jnp.all(fine, axis=0), culprit=culprit)


def record(
    devices: Devices,
    circuit: Circuit,
    key: LaneKey,
    settle: Row | None,
    rows: Row,
    frequency: Float[Array, " frequency"],
    place: Place,
    onward: Callable[..., tuple[Carry, Recorded]] = advance,
    spikes: Any = (),
) -> tuple[Carry, Recorded, Complex[Array, "frequency lane"]]:
    """A whole cycle in one go: at rest, through ``settle`` unseen, through ``rows``, and the impedance at the end.
    ``onward``: :func:`advance`, or its like that may be walked back. Rows are [sample, lane]. ``spikes``: detectors at
    the beginning of the cycle."""
    counted = jnp.ones(key[0].shape, bool)
    carry = rest(devices, circuit, key)
    if settle is not None:
        carry, _ = onward(devices, circuit, key, carry, settle, counted, place)
    carry = carry._replace(clock=jnp.zeros_like(carry.clock), spikes=spikes)
    carry, seen = onward(devices, circuit, key, carry, rows, counted, place)
    impedance = jnp.zeros((0, *key[0].shape), complex)
    if frequency.shape[0]:
        impedance = impedance_of(devices, circuit, carry, rows.end[-1], frequency)
    return carry, seen, impedance


def measure(measurements: tuple[Any, ...], trajectories: Trajectory) -> list[Any]:
    """Value and status of every measurement on every lane; the trajectories' arrays have one more leading axis
    [lane]."""
    return jax.vmap(lambda trajectory: [tuple(m.measure(trajectory.at(m.element, m.node))) for m in measurements])(
        trajectories
    )


@functools.cache
def compiler_options(backend: str) -> dict[str, Any]:
    """Wide vectors where the processor has them, harmless elsewhere. And no sums by YNNPACK, to which XLA gives those
    of some thousand numbers: it adds in another order, so that a device among many would not be the device among
    few."""
    if backend != "cpu":
        return {}
    wide, own_order = {"xla_cpu_prefer_vector_width": 512}, {"xla_cpu_experimental_ynn_fusion_type": ""}
    return {**wide, **own_order} if _taken(own_order) else wide


def _taken(options: dict[str, Any]) -> bool:
    """Whether this jaxlib knows them: an experimental one may be renamed, and XLA refuses what it does not know."""
    try:
        jax.jit(lambda x: x + 1.0, compiler_options=options).lower(1.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


class Program:
    """The compiled functions for one backend; shared by every experiment of the process."""

    def __init__(self, backend: str):
        options = compiler_options(backend)
        self._advance: dict[tuple[str, ...], Callable[..., tuple[Carry, Recorded]]] = {}
        self._options, self._retreating = options, threading.RLock()
        self.rest = jax.jit(rest, compiler_options=options)
        self.impedance = jax.jit(impedance_of, compiler_options=options)
        self.key = jax.jit(realisation_key)
        self.measure = eqx.filter_jit(measure)

    def advance(self, *given: Any, place: Place) -> tuple[Carry, Recorded]:
        """:func:`advance`, on a GPU in the fast ways that work there."""
        ways = gpu.taken()
        try:
            return self._along(ways, *given, place=place)
        except Exception as error:  # of a compiler, a driver, the device
            with self._retreating:
                if gpu.taken() != ways:  # another thread has given up some meanwhile
                    return self.advance(*given, place=place)
                for closed in gpu.retreats(error):
                    with contextlib.suppress(Exception):
                        found = self._along(gpu.taken(), *given, place=place)
                        for way in closed:
                            way.warn()
                        return found
                raise

    def _along(self, ways: tuple[str, ...], *given: Any, place: Place) -> tuple[Carry, Recorded]:
        """In these ways, which are open."""
        if ways not in self._advance:
            # A function of its own: JAX would take the trace of another one's ways for it.
            own = functools.wraps(advance)(lambda *given, **place: advance(*given, **place))
            options = self._options | (gpu.graph_options() if gpu.GRAPHS.name in ways else {})
            self._advance[ways] = jax.jit(own, static_argnames=("place",), compiler_options=options)
        found = self._advance[ways](*given, place=place)
        return jax.tree.map(lambda leaf: leaf.block_until_ready(), found) if ways else found


_programs: dict[str, Program] = {}
_making = threading.Lock()


def program() -> Program:
    """The compiled functions for this process's backend, made at the first call."""
    name = backend()
    with _making:
        if name not in _programs:
            _programs[name] = Program(name)
        return _programs[name]
