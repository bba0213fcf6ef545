"""The compiled program: one group of lanes through the samples of a protocol.

It takes a fixed number of samples; each sample brings its own voltage, number of circuit solutions and step. So one
program serves every protocol, sweep point and duration, and its memory does not grow with the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Complex, Float, UInt32

from mcdev.circuits.contract import Circuit, Division
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import ConfigError, Problem
from mcdev.devices.contract import CurrentLaw, Devices, LaneKey
from mcdev.integrators.noise import realisation_key
from mcdev.machine.environment import backend
from mcdev.measurements.contract import Trajectory
from mcdev.protocols.timeline import Timeline

BATCH = 64
"""Samples a call of the compiled program takes."""
BATCH_STEPS = 10_000
"""Steps after which a call ends, if its sample does: the grain of progress and of interruption, about a second."""


class Drive(NamedTuple):
    """The samples of a timeline as the compiled program sees them; shape [sample]."""

    start: np.ndarray
    end: np.ndarray
    solutions: np.ndarray
    """Times that the circuit is solved within the sample."""
    pairs: np.ndarray
    """Pairs of steps between two solutions."""
    step: np.ndarray
    """Seconds."""

    @property
    def steps(self) -> int:
        return int(2 * np.sum(self.solutions * self.pairs))

    def batches(self) -> Iterator[Drive]:
        """The samples in order, at most ``BATCH`` and about ``BATCH_STEPS`` steps at a time."""
        first, pairs = 0, 0.0
        for i, more in enumerate(self.solutions * self.pairs):
            if i - first == BATCH or (i > first and 2 * (pairs + more) > BATCH_STEPS):
                yield Drive(*(column[first:i] for column in self))
                first, pairs = i, 0.0
            pairs += more
        yield Drive(*(column[first:] for column in self))


def drive(experiment: Experiment, timeline: Timeline) -> Drive:
    """Cut each sample into equal circuit intervals, and each of these into an even number of equal steps, so
    that every boundary of the protocol is met exactly and no step exceeds the device's pace.

    Raises ``ConfigError`` where that is no finite number of steps: at extreme voltages or times.
    """
    largest = np.maximum(np.abs(timeline.start), np.abs(timeline.end))
    voltages, which = np.unique(largest, return_inverse=True)
    paces = np.array([experiment.pace(float(voltage)) for voltage in voltages])
    widths, coupling, longest = timeline.widths, paces[which, 0], paces[which, 1]
    with np.errstate(all="ignore"):  # what overflows is looked at in the end
        solutions = np.ceil(widths / coupling * (1 - 1e-9))
        pairs = np.ceil(widths / solutions / (2 * longest) * (1 - 1e-9))
        step = widths / (solutions * 2 * pairs)
    endless = ~((step > 0) & np.isfinite(2 * solutions * pairs))
    if endless.any():
        i = int(np.argmax(endless))
        message = (
            f"{widths[i]:.3g} s at {largest[i]:.3g} V take no finite number of steps of at most {longest[i]:.3g} s; "
            "expected times and voltages at which the device can be followed: shorten the one or lower the other"
        )
        raise ConfigError([Problem("protocol", experiment.protocol.kind, message)], experiment.name)
    return Drive(timeline.start, timeline.end, solutions, pairs, step)


def settling(experiment: Experiment) -> Drive | None:
    """The time at zero volts before a cycle, cut as :func:`drive` cuts a protocol; None without one."""
    if experiment.ensemble.equilibration == 0:
        return None
    duration = experiment.ensemble.equilibration
    edges = np.linspace(0, duration, BATCH + 1)
    quiet = np.zeros(BATCH)
    return drive(experiment, Timeline(edges, quiet, quiet))


class Carry(NamedTuple):
    state: Any
    circuit: Any
    clock: UInt32[Array, ""]
    intact: Bool[Array, " lane"]


def compiler_options(backend: str) -> dict[str, Any]:
    """Wide vectors where the processor has them; harmless elsewhere."""
    return {"xla_cpu_prefer_vector_width": 512} if backend == "cpu" else {}


def sample(
    devices: Devices,
    circuit: Circuit,
    key: LaneKey,
    carry: Carry,
    row: tuple[Any, ...],
    counted: Bool[Array, " lane"],
    kept: int,
    loop: Callable[..., Any] = lax.fori_loop,
) -> tuple[Carry, tuple[Any, ...]]:
    """Advance a group through one sample. Returns what was recorded: channel means, the profile summed over the
    counted lanes, inner coordinates of the first ``kept``. ``loop`` runs the sample's circuit intervals."""
    start, end, solutions, pairs, step = row
    lanes = carry.intact.shape[0]
    zeros = jnp.zeros(lanes, start.dtype)
    count = jnp.maximum(solutions, 1).astype(start.dtype)

    def body(i: UInt32[Array, ""], inner: tuple[Carry, dict[str, Any]]) -> tuple[Carry, dict[str, Any]]:
        now, sums = inner
        applied = jnp.broadcast_to(start + (end - start) * ((jnp.asarray(i, start.dtype) + 0.5) / count), (lanes,))
        law = devices.current_law(now.state)
        division = circuit.solve(now.circuit, applied, law)

        def through(step: Float[Array, ""], law: CurrentLaw, division: Division) -> Carry:
            """The interval, or a part of it, with the device's law and the division of the voltage held."""
            state = devices.advance(now.state, division.voltage, division.current, step, pairs, key, now.clock)
            wiring = circuit.advance(now.circuit, applied, law, division, step, pairs)
            return Carry(state, wiring, now.clock + pairs, now.intact)

        if circuit.divides and not devices.noisy:
            after = midpoint(devices, circuit, applied, through, step, law, division)
        else:
            after = through(step, law, division)
        # The mean over the interval is that of its two ends: recording the beginning alone would read a rising
        # conductance late by half an interval.
        before = recorded(devices, circuit, now, applied, law, division)
        behind = seen(devices, circuit, after, applied)
        return after, {name: sums[name] + 0.5 * (before[name] + behind[name]) for name in sums}

    names = jax.eval_shape(lambda: seen(devices, circuit, carry, zeros))
    carry, sums = loop(jnp.uint32(0), solutions, body, (carry, dict.fromkeys(names, zeros)))
    means = {name: total / count for name, total in sums.items()}
    intact = carry.intact & devices.intact(carry.state)
    for series in means.values():
        intact &= jnp.isfinite(series)
    snapshot = {name: value[..., :kept] for name, value in devices.snapshot(carry.state).items()}
    profile = devices.profile(carry.state, jnp.where(counted & intact, 1.0, 0.0).astype(start.dtype))
    return carry._replace(intact=intact), (means, profile, snapshot)


def midpoint(
    devices: Devices,
    circuit: Circuit,
    applied: Float[Array, " lane"],
    through: Callable[[Float[Array, ""], CurrentLaw, Division], Carry],
    step: Float[Array, ""],
    law: CurrentLaw,
    division: Division,
) -> Carry:
    """An interval in which the state changes the division of the voltage, right to second order (the midpoint rule):
    half of it with what holds at its beginning, then all of it with what was found in the middle."""

    def attempt(
        held: tuple[Carry, CurrentLaw, Division], step: Float[Array, ""]
    ) -> tuple[tuple[Carry, CurrentLaw, Division], None]:
        _, law, division = held
        reached = through(step, law, division)
        law = devices.current_law(reached.state)
        return (reached, law, circuit.solve(reached.circuit, applied, law)), None

    blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(through, step, law, division))
    (reached, _, _), _ = lax.scan(attempt, (blank, law, division), jnp.stack([0.5 * step, step]))
    return reached


def seen(devices: Devices, circuit: Circuit, at: Carry, applied: Float[Array, " lane"]) -> dict[str, Any]:
    """What the recorder reads at this instant under this source voltage."""
    law = devices.current_law(at.state)
    return recorded(devices, circuit, at, applied, law, circuit.solve(at.circuit, applied, law))


def recorded(
    devices: Devices, circuit: Circuit, at: Carry, applied: Float[Array, " lane"], law: CurrentLaw, division: Division
) -> dict[str, Any]:
    """The same, where the division of the voltage is known."""
    return {
        "voltage": applied,
        "device_voltage": division.voltage,
        "current": division.current,
        "conductance": law.chord(division.voltage),
        **devices.observe(at.state, division.voltage),
        **circuit.observe(at.circuit, division, law),
    }


def impedance_of(
    devices: Devices, circuit: Circuit, at: Carry, applied: Float[Array, ""], frequency: Float[Array, " frequency"]
) -> Complex[Array, "frequency lane"]:
    """Small-signal impedance (Ω) that the source sees, about this state and source voltage."""
    source = jnp.broadcast_to(applied, at.intact.shape)
    voltage = circuit.solve(at.circuit, source, devices.current_law(at.state)).voltage
    return circuit.impedance(1.0 / devices.admittance(at.state, voltage, frequency))


def advance(
    devices: Devices,
    circuit: Circuit,
    key: LaneKey,
    carry: Carry,
    rows: tuple[Any, ...],
    counted: Bool[Array, " lane"],
    kept: int,
) -> tuple[Carry, tuple[Any, ...]]:
    """A group through a batch of samples, each as :func:`sample` says; what was recorded, sample after sample."""

    def body(carry: Carry, row: tuple[Any, ...]) -> tuple[Carry, tuple[Any, ...]]:
        return sample(devices, circuit, key, carry, row, counted, kept)

    return lax.scan(body, carry, rows)


def rest(devices: Devices, circuit: Circuit, key: LaneKey) -> Carry:
    """A group as it begins: devices and circuit at rest, the clock of its random numbers at zero."""
    state = devices.rest(key)
    lanes = key[0].shape[0]
    dtype = jax.tree.leaves(devices)[0].dtype
    return Carry(state, circuit.rest(lanes, dtype), jnp.uint32(0), devices.intact(state))


class Program:
    """The compiled functions for one backend; shared by every experiment of the process."""

    def __init__(self, backend: str):
        options = compiler_options(backend)
        self.advance = jax.jit(advance, static_argnames=("kept",), compiler_options=options)
        self.rest = jax.jit(rest, compiler_options=options)
        self.impedance = jax.jit(impedance_of, compiler_options=options)
        self.key = jax.jit(realisation_key)
        self.measure = eqx.filter_jit(measure)


_programs: dict[str, Program] = {}


def program() -> Program:
    """The compiled functions for this process's backend, made at the first call."""
    name = backend()
    return _programs.setdefault(name, Program(name))


def measure(measurements: tuple[Any, ...], trajectories: Trajectory, windows: dict[str, Array]) -> list[Any]:
    """Every measurement on every lane. ``trajectories`` has its arrays as [lane, time]."""

    def one(trajectory: Trajectory) -> list[Any]:
        whole = replace(trajectory, windows=windows)
        return [tuple(m.measure(whole)) for m in measurements]

    return jax.vmap(one)(trajectories)
