"""Members in, results out: every realisation of an experiment, in groups of lanes, on all cores.

The unit of work is a *group*: neighbouring realisations, as many as the device family's ``lanes`` says, that one
compiled program advances together. A group is always full (the lanes beyond the ensemble are computed and dropped)
and its random numbers are named by device and cycle, so realisation i comes out the same bit for bit whatever the
size of the ensemble, the number of threads or the order of the work.

The compiled program takes a fixed number of samples; each sample brings its own voltage, number of circuit
solutions and step. So one program serves every protocol, sweep point and duration, and its memory does not
grow with the number of steps.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import psutil
from jax import lax
from jaxtyping import Array, Bool, Complex, Float, UInt32

from mcdev.circuits.contract import Circuit
from mcdev.devices.contract import CIRCUIT_CHANNELS, Devices, LaneKey
from mcdev.experiment import Experiment
from mcdev.integrators.noise import realisation_key
from mcdev.measurements.contract import FAILED, OK, UNDEFINED, Trajectory
from mcdev.problems import ConfigError, Problem
from mcdev.protocols.timeline import Timeline
from mcdev.schema import Drawn

BATCH = 64
"""Samples a call of the compiled program takes."""
BATCH_STEPS = 10_000
"""Steps after which a call ends, if its sample does: the grain of progress and of interruption, about a second."""
JACKKNIFE = 16


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
    that every boundary of the protocol is met exactly and no step exceeds the device's pace."""
    solutions, pairs, step = (np.empty(timeline.samples) for _ in range(3))
    paces: dict[float, Any] = {}
    largest = np.maximum(np.abs(timeline.start), np.abs(timeline.end))
    for i, (width, voltage) in enumerate(zip(timeline.widths, largest, strict=True)):
        pace = paces.setdefault(float(voltage), experiment.device.pace(float(voltage)))
        solutions[i] = np.ceil(width / pace.coupling * (1 - 1e-9))
        pairs[i] = np.ceil(width / solutions[i] / (2 * pace.step) * (1 - 1e-9))
        step[i] = width / (solutions[i] * 2 * pairs[i])
    return Drive(timeline.start, timeline.end, solutions, pairs, step)


class Stopped(Exception):
    """The run was asked to stop."""


class NotEnoughMemory(ValueError):
    """The ensemble would not fit into memory; the message says what it asks for and what to lower."""


@dataclass
class PointResult:
    """What one sweep point left behind. Arrays are NumPy; sizes: D devices, C cycles, T samples."""

    timeline: Timeline
    parameters: dict[str, np.ndarray]
    """Name → [D], SI units."""
    values: dict[str, np.ndarray]
    """Measurement → [D, C] or [D, C, entry]."""
    status: dict[str, np.ndarray]
    of_mean: dict[str, np.ndarray]
    """Measurement on the mean trajectory → [C, replicate] or [C, replicate, entry]; replicate 0 is of all
    devices, the others each leave out one group of them."""
    mean: dict[str, np.ndarray]
    """Channel → [C, T], mean over the intact realisations."""
    sem: dict[str, np.ndarray]
    quantiles: dict[str, np.ndarray]
    """Channel → [C, Q, T]."""
    trajectories: dict[str, np.ndarray]
    """Channel → [C, N, T] and inner coordinates → [C, N, T, part], of the first N devices."""
    profile: dict[str, np.ndarray]
    """Name → [C, T, bin], mean over the intact realisations."""
    impedance: np.ndarray
    """[D, C, F], complex (Ω): what the source sees at the protocol's frequencies; F = 0 if it has none."""
    intact: np.ndarray
    """[D, C]: False where a realisation broke down."""


@dataclass
class Progress:
    """Counts finished work; ``report`` is called with (done, total) in units of realisation-steps."""

    total: int
    report: Callable[[int, int], None]
    done: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, amount: int) -> None:
        if self.stop.is_set():
            raise Stopped
        with self._lock:
            self.done += amount
            self.report(self.done, self.total)


# -------------------------------------------------------------------------------------- the program


class _Carry(NamedTuple):
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
    carry: _Carry,
    row: tuple[Any, ...],
    counted: Bool[Array, " lane"],
    kept: int,
    loop: Callable[..., Any] = lax.fori_loop,
) -> tuple[_Carry, tuple[Any, ...]]:
    """Advance a group through one sample. Returns what was recorded: channel means, the profile summed over the
    counted lanes, inner coordinates of the first ``kept``. ``loop`` runs the sample's circuit intervals."""
    start, end, solutions, pairs, step = row
    lanes = carry.intact.shape[0]
    zeros = jnp.zeros(lanes, start.dtype)
    count = jnp.maximum(solutions, 1).astype(start.dtype)

    def body(i: UInt32[Array, ""], inner: tuple[_Carry, dict[str, Any]]) -> tuple[_Carry, dict[str, Any]]:
        now, sums = inner
        applied = jnp.broadcast_to(start + (end - start) * ((jnp.asarray(i, start.dtype) + 0.5) / count), (lanes,))
        voltage, current = circuit.solve(now.circuit, applied, devices.current_law(now.state))
        state = devices.advance(now.state, voltage, current, step, pairs, key, now.clock)
        elapsed = 2.0 * step * pairs.astype(step.dtype)
        wiring = circuit.advance(now.circuit, applied, voltage, current, elapsed)
        after = _Carry(state, wiring, now.clock + pairs, now.intact)
        # The mean over the interval is that of its two ends: recording the beginning alone would read a rising
        # conductance late by half an interval.
        before, behind = (_seen(devices, circuit, at, applied) for at in (now, after))
        return after, {name: sums[name] + 0.5 * (before[name] + behind[name]) for name in sums}

    names = jax.eval_shape(lambda: _seen(devices, circuit, carry, zeros))
    carry, sums = loop(jnp.uint32(0), solutions, body, (carry, dict.fromkeys(names, zeros)))
    means = {name: total / count for name, total in sums.items()}
    intact = carry.intact & devices.intact(carry.state)
    for series in means.values():
        intact &= jnp.isfinite(series)
    snapshot = {name: value[..., :kept] for name, value in devices.snapshot(carry.state).items()}
    profile = devices.profile(carry.state, jnp.where(counted & intact, 1.0, 0.0).astype(start.dtype))
    return carry._replace(intact=intact), (means, profile, snapshot)


def _seen(devices: Devices, circuit: Circuit, at: _Carry, applied: Float[Array, " lane"]) -> dict[str, Any]:
    """What the recorder reads at this instant under this source voltage."""
    law = devices.current_law(at.state)
    voltage, current = circuit.solve(at.circuit, applied, law)
    return {
        "voltage": applied,
        "device_voltage": voltage,
        "current": current,
        "conductance": law.chord(voltage),
        **devices.observe(at.state, voltage),
    }


def _impedance(
    devices: Devices, circuit: Circuit, at: _Carry, applied: Float[Array, ""], frequency: Float[Array, " frequency"]
) -> Complex[Array, "frequency lane"]:
    """Small-signal impedance (Ω) that the source sees, about this state and source voltage."""
    source = jnp.broadcast_to(applied, at.intact.shape)
    voltage, _ = circuit.solve(at.circuit, source, devices.current_law(at.state))
    return circuit.impedance(1.0 / devices.admittance(at.state, voltage, frequency))


def _advance(
    devices: Devices,
    circuit: Circuit,
    key: LaneKey,
    carry: _Carry,
    rows: tuple[Any, ...],
    counted: Bool[Array, " lane"],
    kept: int,
) -> tuple[_Carry, tuple[Any, ...]]:
    def body(carry: _Carry, row: tuple[Any, ...]) -> tuple[_Carry, tuple[Any, ...]]:
        return sample(devices, circuit, key, carry, row, counted, kept)

    return lax.scan(body, carry, rows)


def _rest(devices: Devices, circuit: Circuit, key: LaneKey) -> _Carry:
    state = devices.rest(key)
    lanes = key[0].shape[0]
    dtype = jax.tree.leaves(devices)[0].dtype
    return _Carry(state, circuit.rest(lanes, dtype), jnp.uint32(0), devices.intact(state))


class Program:
    """The compiled functions for one backend; shared by every experiment of the process."""

    def __init__(self, backend: str):
        options = compiler_options(backend)
        self.advance = jax.jit(_advance, static_argnames=("kept",), compiler_options=options)
        self.rest = jax.jit(_rest, compiler_options=options)
        self.impedance = jax.jit(_impedance, compiler_options=options)
        self.key = jax.jit(realisation_key)
        self.measure = eqx.filter_jit(_measure)


_programs: dict[str, Program] = {}


def program() -> Program:
    """The compiled functions for this process's backend, made at the first call."""
    backend = jax.default_backend()
    return _programs.setdefault(backend, Program(backend))


def _measure(measurements: tuple[Any, ...], trajectories: Trajectory, windows: dict[str, Array]) -> list[Any]:
    """Every measurement on every lane. ``trajectories`` has its arrays as [lane, time]."""

    def one(trajectory: Trajectory) -> list[Any]:
        whole = replace(trajectory, windows=windows)
        return [tuple(m.measure(whole)) for m in measurements]

    return jax.vmap(one)(trajectories)


# -------------------------------------------------------------------------------------- drawing


def draw_parameters(experiment: Experiment, first: int, last: int) -> dict[str, np.ndarray]:
    """Parameters of devices first … last-1 in SI units, each from its own stream of uniform numbers.

    The stream is keyed by seed and parameter name and indexed by the device, so that device i has the same
    parameters in an ensemble of any size.
    """
    draws = {}
    for name in experiment.device.parameters():
        drawn: Drawn = getattr(experiment.device, name)
        if isinstance(drawn, float):
            draws[name] = np.full(last - first, drawn)
        else:
            word = int.from_bytes(name.encode()[:8].ljust(8), "little")
            stream = np.random.Philox(key=[experiment.ensemble.seed, word])
            draws[name] = drawn.quantile(np.random.Generator(stream).random(last)[first:])
    return draws


# -------------------------------------------------------------------------------------- running


def lanes_of(experiment: Experiment) -> int:
    """Realisations in a group, on this process's backend."""
    return experiment.device.lanes[jax.default_backend()]


class _Cycle(NamedTuple):
    """What one cycle of a group leaves behind."""

    channels: dict[str, np.ndarray]
    """Name → [T, lane]."""
    profile: dict[str, np.ndarray]
    """Name → [T, bin], summed over lanes."""
    snapshot: dict[str, np.ndarray]
    """Name → [T, part, kept]."""
    impedance: np.ndarray
    """[F, lane]."""
    intact: np.ndarray
    """[lane]."""


class _Group:
    """One group of lanes at one sweep point, from cycle to cycle."""

    def __init__(self, experiment: Experiment, index: int, dtype: Any):
        lanes = lanes_of(experiment)
        size, seed = experiment.ensemble, experiment.ensemble.seed
        self.first = index * lanes
        self.count = min(lanes, size.devices - self.first)
        indices = np.arange(self.first, self.first + lanes)
        draws = draw_parameters(experiment, self.first, self.first + lanes)
        self.parameters = {name: value[: self.count] for name, value in draws.items()}
        self.devices = experiment.device.build(draws, seed, indices, dtype)
        self.circuit = experiment.circuit.build(dtype)
        self.counted = jnp.arange(lanes) < self.count
        self.kept = min(experiment.output.trajectories, lanes)
        self.seed = jnp.uint32(seed)
        self.indices = jnp.asarray(indices, jnp.uint32)
        self.dtype = dtype
        self.carry: _Carry | None = None

    def run(
        self, cycle: int, between: str, settle: Drive | None, rows: Drive, frequency: np.ndarray, progress: Progress
    ) -> _Cycle:
        run = program()
        key = run.key(self.seed, self.indices, jnp.uint32(cycle))
        if self.carry is None or between == "rest":
            self.carry = run.rest(self.devices, self.circuit, key)
            if settle is not None:
                self._advance(key, settle, progress)
        else:
            self.carry = self.carry._replace(clock=jnp.uint32(0))
        means, profile, snapshot = self._advance(key, rows, progress)
        intact = np.asarray(self.carry.intact)[: self.count]
        impedance = np.empty((0, self.count), complex)
        if frequency.size:
            bias, hertz = (jnp.asarray(x, self.dtype) for x in (rows.end[-1], frequency))
            whole = run.impedance(self.devices, self.circuit, self.carry, bias, hertz)
            impedance = np.asarray(whole)[:, : self.count]
        return _Cycle(means, profile, snapshot, impedance, intact)

    def _advance(self, key: LaneKey, rows: Drive, progress: Progress) -> tuple[Any, Any, Any]:
        kinds = (self.dtype, self.dtype, np.uint32, np.uint32, self.dtype)
        pieces = []
        for part in rows.batches():
            samples = part.start.size
            filled = tuple(
                jnp.asarray(np.concatenate([column, np.zeros(BATCH - samples)]).astype(kind))
                for column, kind in zip(part, kinds, strict=True)
            )
            self.carry, out = program().advance(
                self.devices, self.circuit, key, self.carry, filled, self.counted, kept=self.kept
            )
            pieces.append(jax.tree.map(lambda series, n=samples: np.asarray(series)[:n], out))
            progress.add(part.steps * self.count)
        means, profile, snapshot = (
            jax.tree.map(lambda *p: np.concatenate(p), *parts) for parts in zip(*pieces, strict=True)
        )
        return {name: series[:, : self.count] for name, series in means.items()}, profile, snapshot


def run_point(experiment: Experiment, progress: Progress, threads: int) -> PointResult:
    """Every cycle of every device at one sweep point."""
    dtype = np.dtype(experiment.precision)
    size = experiment.ensemble
    timeline, frequency = experiment.protocol.timeline(), experiment.protocol.frequencies
    rows = drive(experiment, timeline)
    settle = _settle(experiment)
    lanes = lanes_of(experiment)
    groups = [_Group(experiment, i, dtype) for i in range(-(-size.devices // lanes))]
    result = _empty(experiment, timeline, groups)
    x64 = experiment.precision == "float64"

    def one(group: _Group, cycle: int) -> _Cycle:
        with jax.enable_x64(x64):
            return group.run(cycle, size.between_cycles, settle, rows, frequency, progress)

    with ThreadPoolExecutor(max(1, min(threads, len(groups)))) as pool:
        for cycle in range(size.cycles):
            tasks = [pool.submit(one, group, cycle) for group in groups]
            try:
                outputs = [task.result() for task in tasks]
            except BaseException:
                progress.stop.set()
                pool.shutdown(cancel_futures=True)
                raise
            _collect(experiment, timeline, groups, cycle, outputs, result)
    return result


def _settle(experiment: Experiment) -> Drive | None:
    if experiment.ensemble.equilibration == 0:
        return None
    duration = experiment.ensemble.equilibration
    edges = np.linspace(0, duration, BATCH + 1)
    quiet = np.zeros(BATCH)
    return drive(experiment, Timeline(edges, quiet, quiet))


def _empty(experiment: Experiment, timeline: Timeline, groups: list[_Group]) -> PointResult:
    size, output = experiment.ensemble, experiment.output
    d, c, t = size.devices, size.cycles, timeline.samples
    dtype = np.dtype(experiment.precision)
    names = [*CIRCUIT_CHANNELS, *experiment.device.channels]
    bins = experiment.device.profile_bins.size
    values, status, of_mean = {}, {}, {}
    for name, measurement in experiment.measurements.items():
        entries = measurement.entries(timeline)
        tail = () if entries is None else (entries,)
        values[name] = np.full((d, c, *tail), np.nan)
        status[name] = np.full((d, c, *tail), FAILED, dtype=np.int8)
        of_mean[name] = np.full((c, 1 + min(JACKKNIFE, d), *tail), np.nan)
    return PointResult(
        timeline=timeline,
        parameters={
            name: np.concatenate([group.parameters[name] for group in groups]) for name in groups[0].parameters
        },
        values=values,
        status=status,
        of_mean=of_mean,
        mean={name: np.full((c, t), np.nan, dtype) for name in names},
        sem={name: np.full((c, t), np.nan, dtype) for name in names},
        quantiles={name: np.full((c, len(output.quantiles), t), np.nan, dtype) for name in names},
        trajectories={},
        profile={name: np.full((c, t, bins), np.nan, dtype) for name in experiment.device.profiles},
        impedance=np.full((d, c, experiment.protocol.frequencies.size), np.nan, complex),
        intact=np.zeros((d, c), dtype=bool),
    )


def _collect(
    experiment: Experiment,
    timeline: Timeline,
    groups: list[_Group],
    cycle: int,
    outputs: list[_Cycle],
    result: PointResult,
) -> None:
    """Measure one finished cycle and fold it into the point's result."""
    channels = {n: np.concatenate([o.channels[n] for o in outputs], axis=1) for n in outputs[0].channels}  # [T, D]
    impedance = np.concatenate([o.impedance for o in outputs], axis=1)  # [F, D]
    intact = np.concatenate([o.intact for o in outputs])
    result.intact[:, cycle] = intact
    result.impedance[:, cycle] = np.where(intact, impedance, np.nan).T
    own = _references(experiment, result.parameters)

    for group, out in zip(groups, outputs, strict=True):
        part = slice(group.first, group.first + group.count)
        of_group = {name: value[part] for name, value in own.items()}
        readings = _read(experiment, timeline, out.channels, out.impedance, of_group)
        for (name, _), (value, status) in zip(experiment.measurements.items(), readings, strict=True):
            fine = intact[part].reshape(-1, *([1] * (value.ndim - 1)))
            broken = (status == OK) & ~np.isfinite(value)
            result.values[name][part, cycle] = np.where(fine, value, np.nan)
            result.status[name][part, cycle] = np.where(fine, np.where(broken, UNDEFINED, status), FAILED)

    if intact.any():
        good = {name: series[:, intact] for name, series in channels.items()}
        n = int(intact.sum())
        for name, series in good.items():
            wide = series.astype(np.float64)
            result.mean[name][cycle] = wide.mean(axis=1)
            result.sem[name][cycle] = wide.std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else np.nan
            result.quantiles[name][cycle] = np.quantile(wide, experiment.output.quantiles, axis=1)
        for name, store in result.profile.items():
            store[cycle] = sum(o.profile[name].astype(np.float64) for o in outputs) / n
        weights = _jackknife(n, min(JACKKNIFE, intact.size))
        with np.errstate(divide="ignore", invalid="ignore"):
            parallel = 1.0 / ((1.0 / impedance[:, intact]) @ weights)  # currents add, so admittances do
        readings = _read(
            experiment,
            timeline,
            {name: series @ weights for name, series in good.items()},
            parallel,
            {name: value[intact] @ weights for name, value in own.items()},
        )
        for name, (value, status) in zip(experiment.measurements, readings, strict=True):
            result.of_mean[name][cycle, : value.shape[0]] = np.where(status == OK, value, np.nan)

    kept = min(groups[0].kept, groups[0].count)
    traces = {name: series[:, :kept].T for name, series in channels.items()}
    traces |= {name: np.moveaxis(value[..., :kept], -1, 0) for name, value in outputs[0].snapshot.items()}
    for name, trace in traces.items():
        store = result.trajectories.setdefault(
            name, np.full((experiment.ensemble.cycles, *trace.shape), np.nan, trace.dtype)
        )
        store[cycle] = trace


def _references(experiment: Experiment, parameters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a measurement may refer to besides the trajectory, one number a device; NaN if its family has none."""
    none = np.full(experiment.ensemble.devices, np.nan)
    layer = experiment.device.layer
    return {
        "full_scale": parameters["maximum_conductance"] if experiment.device.full_scale else none,
        "cell_constant": parameters["thickness"] / parameters["area"] if layer else none,
    }


def _jackknife(n: int, groups: int) -> np.ndarray:
    """Weights [n, 1 + groups] of the means of n realisations, and of all but each group (every groups-th one)."""
    if n < 2:
        return np.ones((n, 1))
    member = np.arange(n) % groups
    weights = np.stack([np.ones(n), *[(member != g).astype(float) for g in range(min(groups, n))]], axis=1)
    return weights / weights.sum(axis=0)


def _read(
    experiment: Experiment,
    timeline: Timeline,
    channels: dict[str, np.ndarray],
    impedance: np.ndarray,
    own: dict[str, np.ndarray],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Value and status of every measurement, for channels [T, lane], impedance [F, lane] and references [lane]."""
    dtype = np.dtype(experiment.precision)
    lanes = impedance.shape[1]
    padded = -(-lanes // 64) * 64  # few shapes, few compilations

    def fill(array: np.ndarray, kind: Any = dtype) -> Array:
        array = np.ascontiguousarray(array.T.astype(kind))
        return jnp.asarray(np.concatenate([array, np.repeat(array[-1:], padded - lanes, axis=0)]))

    def same(array: np.ndarray) -> Array:
        return fill(np.broadcast_to(array[:, None], (array.size, lanes)))

    trajectories = Trajectory(
        widths=same(timeline.widths),
        **{name: fill(channels[name]) for name in CIRCUIT_CHANNELS},
        observed={name: fill(channels[name]) for name in experiment.device.channels},
        frequency=same(experiment.protocol.frequencies),
        impedance=fill(impedance, np.result_type(dtype, np.complex64)),
        **{name: fill(value) for name, value in own.items()},
        windows={},
    )
    windows = {name: jnp.asarray(spans) for name, spans in timeline.windows.items()}
    readings = program().measure(tuple(experiment.measurements.values()), trajectories, windows)
    return [(np.asarray(value, np.float64)[:lanes], np.asarray(status)[:lanes]) for value, status in readings]


# -------------------------------------------------------------------------------------- all points


def memory_needed(experiment: Experiment) -> int:
    """Bytes that the largest sweep point holds at its peak, and every point keeps until the file is written."""
    kept, peak = 0, 0
    size, output = experiment.ensemble, experiment.output
    width = np.dtype(experiment.precision).itemsize
    for _, point in experiment.points():
        timeline, device = point.protocol.timeline(), point.device
        t, d, c = timeline.samples, size.devices, size.cycles
        channels = len(CIRCUIT_CHANNELS) + len(device.channels)
        readings = sum((m.entries(timeline) or 1) * 9 for m in point.measurements.values())
        kept += c * d * (readings + 1 + 16 * point.protocol.frequencies.size) + d * 8 * len(device.parameters())
        singles = (channels + device.parts * len(device.coordinates)) * output.trajectories
        means = channels * (2 + len(output.quantiles)) + len(device.profiles) * device.profile_bins.size
        kept += c * t * width * (singles + means)
        peak = max(peak, t * d * channels * (2 * width + 8))
    return kept + peak


def check_memory(experiment: Experiment) -> None:
    """Raises ``NotEnoughMemory`` before anything is computed."""
    needed, available = memory_needed(experiment), psutil.virtual_memory().available
    if needed > available:
        raise NotEnoughMemory(
            f"this run would need about {needed / 2**30:.1f} GiB of memory and {available / 2**30:.1f} GiB are free; "
            "lower ensemble.devices, ensemble.cycles, the protocol's samples_per_… or output.trajectories, or split "
            "the sweep"
        )


def simulate(
    experiment: Experiment, report: Callable[[int, int], None] | None = None, threads: int | None = None
) -> list[PointResult]:
    """All sweep points, one after the other. ``report`` gets (done, total) realisation-steps.

    Raises ``NotEnoughMemory``; ``ConfigError`` for a cycle of more steps than its random numbers can name.
    """
    check_memory(experiment)
    points = [point for _, point in experiment.points()]
    total = 0
    for point in points:
        steps = drive(point, point.protocol.timeline()).steps
        settle = _settle(point)
        settling = settle.steps if settle else 0
        if steps + settling >= 2**33:
            message = (
                f"a cycle of {steps:.2g} steps has more than its 2^33 random numbers; shorten the protocol or split it "
                'into cycles with ensemble.between_cycles = "continue"'
            )
            raise ConfigError([Problem("protocol", point.protocol.kind, message)], experiment.name)
        repeats = point.ensemble.cycles if point.ensemble.between_cycles == "rest" else 1
        total += (steps * point.ensemble.cycles + settling * repeats) * point.ensemble.devices
    progress = Progress(total, report or (lambda done, total: None))
    workers = threads or _cores()
    groups = -(-experiment.ensemble.devices // min(lanes_of(point) for point in points))
    side_by_side = max(1, min(len(points), workers // groups))  # small ensembles: whole points in parallel
    x64 = experiment.precision == "float64"

    def one(point: Experiment) -> PointResult:
        with jax.enable_x64(x64):  # a thread starts from the process's setting
            return run_point(point, progress, max(1, workers // side_by_side))

    with ThreadPoolExecutor(side_by_side) as pool:
        tasks = [pool.submit(one, point) for point in points]
        try:
            wait(tasks, return_when=FIRST_EXCEPTION)
        finally:  # an error here or there, or an interrupt: let nothing new begin
            if not all(task.done() and not task.exception() for task in tasks):
                progress.stop.set()
                pool.shutdown(cancel_futures=True)
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
    for error in sorted(errors, key=lambda e: isinstance(e, Stopped)):  # the cause before its consequences
        raise error
    return [task.result() for task in tasks]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
