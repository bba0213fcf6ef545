"""A chunk: some neighbouring devices through some cycles at one sweep point, a pure function of its indices.

Devices advance in *groups* of as many lanes as their family says. A group is always full (lanes beyond the ensemble
are computed and dropped) and its random numbers are named by device and cycle, so realisation i comes out the same bit
for bit whatever the size of the ensemble, of the chunks, or the number and kind of workers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcdev.configuration.experiment import Experiment
from mcdev.devices.contract import CIRCUIT_CHANNELS, Devices, LaneKey
from mcdev.machine.environment import backend, computing
from mcdev.measurements.contract import FAILED, OK, UNDEFINED, Trajectory
from mcdev.protocols.timeline import Timeline
from mcdev.simulation.draws import draw_parameters, of_cycle, of_device
from mcdev.simulation.program import BATCH, Carry, Drive, drive, program, settling

GRAIN = 2e9
"""Steps of inner coordinates in a chunk, at most: some 20 s of work, the price of losing one."""
_COPIES = 4
"""Of a group's recorded channels: as they come, as measurements see them, and what these make of them."""
_NARROW, _MANY_STEPS = 16, 3e6
_QUARTER, _WORTH = 64, 0.8  # fewest lanes that fill a processor's vectors; share of the lanes that is fewer by enough
_AT_ONCE = {"cpu": 64, "gpu": 1024, "tpu": 1024}  # lanes that the measurements are taken on together

Arrays = dict[str, np.ndarray]


class Stopped(Exception):
    """The run was asked to stop."""


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


class Chunk(NamedTuple):
    """Indices, each range up to but without its last."""

    point: int
    first: int
    """Of the devices; the beginning of a group."""
    last: int
    begin: int
    """Of the cycles."""
    end: int

    @property
    def name(self) -> str:
        return f"point {self.point}, devices {self.first} to {self.last - 1}, cycles {self.begin} to {self.end - 1}"


class Share(NamedTuple):
    """How large the chunks of one sweep point are. Changes where a run may be cut, and no result."""

    groups: int
    cycles: int


def lanes_of(experiment: Experiment) -> int:
    """Realisations in a group, on this process's backend: as its family says, or a quarter of that on a CPU where it
    leaves a good part fewer lanes to be computed and dropped. A few devices through very many steps have a narrow
    program of their own. The numbers are the same."""
    size, platform = experiment.ensemble, backend()
    wide = experiment.device.lanes[platform]
    if platform != "cpu":
        return wide
    if size.devices <= _NARROW < wide:
        steps = drive(experiment, experiment.protocol.timeline()).steps * size.cycles
        if steps > _MANY_STEPS:
            return _NARROW
    quarter = wide // 4
    fewer = -(-size.devices // quarter) * quarter < _WORTH * (-(-size.devices // wide) * wide)
    return quarter if quarter >= _QUARTER and experiment.output.trajectories <= quarter and fewer else wide


def kept_cycles(experiment: Experiment) -> np.ndarray:
    """The cycles whose course over time is kept: ``output.cycles`` of them, evenly spread, with the first and last."""
    total = experiment.ensemble.cycles
    return np.unique(np.linspace(0, total - 1, min(total, experiment.output.cycles)).round().astype(np.int64))


def bytes_of_group(experiment: Experiment, timeline: Timeline) -> int:
    """What one group holds while one of its cycles is recorded and measured."""
    channels = len(CIRCUIT_CHANNELS) + len(experiment.channels)
    width = np.dtype(experiment.precision).itemsize
    return _COPIES * timeline.samples * channels * width * lanes_of(experiment)


def share(experiment: Experiment, workers: int, memory: float) -> Share:
    """Chunks of one sweep point that keep all workers busy, take no more than ``memory`` bytes each, and are short."""
    size, lanes = experiment.ensemble, lanes_of(experiment)
    timeline = experiment.protocol.timeline()
    groups = -(-size.devices // lanes)
    cost = drive(experiment, timeline).steps * lanes * max(1, experiment.device.parts)
    room = max(1, int(memory // bytes_of_group(experiment, timeline)))
    most = max(1, min(-(-groups // workers), int(GRAIN // cost), room))
    even = -(-groups // -(-groups // most))
    kept = kept_cycles(experiment).size / size.cycles  # only these are held until the chunk is done
    cycles = max(1, min(size.cycles, int(GRAIN // (cost * even)), int(_COPIES * room / (even * kept))))
    return Share(even, cycles)


def chains(experiment: Experiment, point: int, of: Share) -> list[list[Chunk]]:
    """Chunks that must follow each other, in order: each goes on where the last one's devices were. Cycles that start
    from rest need no order."""
    size, lanes = experiment.ensemble, lanes_of(experiment)
    found: list[list[Chunk]] = []
    for first in range(0, size.devices, of.groups * lanes):
        last = min(first + of.groups * lanes, size.devices)
        line = [
            Chunk(point, first, last, begin, min(begin + of.cycles, size.cycles))
            for begin in range(0, size.cycles, of.cycles)
        ]
        found += [line] if size.between_cycles == "continue" else [[chunk] for chunk in line]
    return found


def compute(
    experiment: Experiment, chunk: Chunk, before: Mapping[str, np.ndarray] | None, progress: Progress | None = None
) -> Arrays:
    """Everything that is kept of a chunk; ``experiment`` is that of its sweep point. ``before``: what the chunk before
    it in its chain left, if there is one.

    parameter/NAME [d] · value/NAME, status/NAME [d, c] or [d, c, entry] · intact [d, c] · impedance [d, c, F] ·
    series/CHANNEL [k, T, d] · inner/NAME [k, T, part, n] of the first n devices of all · profile/NAME [g, k, T, bin],
    summed over a group's realisations · carry/i [g, …], the leaves of the groups' state at the end; with k the kept
    cycles among its own, g the groups.
    """
    with computing(experiment.precision == "float64"):
        return _compute(experiment, chunk, before, progress or Progress(0, lambda done, total: None))


def layout(experiment: Experiment, chunk: Chunk) -> dict[str, tuple[tuple[int | None, ...], str]]:
    """Name of each array that :func:`compute` gives → its shape and the kinds of numbers it may hold (NumPy's letters).
    Every carry/i is like carry/0, of which only the first dimension is known here."""
    timeline, lanes = experiment.protocol.timeline(), lanes_of(experiment)
    d, c, t = chunk.last - chunk.first, chunk.end - chunk.begin, timeline.samples
    kept = kept_cycles(experiment)
    k, g = int(np.sum((kept >= chunk.begin) & (kept < chunk.end))), -(-d // lanes)
    device, parts = experiment.device, experiment.device.parts
    found: dict[str, tuple[tuple[int | None, ...], str]] = {
        f"parameter/{name}": ((d,), "f") for name in experiment.laws
    }
    for name, measurement in experiment.measurements.items():
        entries = measurement.entries(timeline)
        tail = () if entries is None else (entries,)
        found |= {f"value/{name}": ((d, c, *tail), "f"), f"status/{name}": ((d, c, *tail), "i")}
    found |= {"intact": ((d, c), "b"), "impedance": ((d, c, experiment.protocol.frequencies.size), "c")}
    if k:
        found |= {f"series/{name}": ((k, t, d), "f") for name in (*CIRCUIT_CHANNELS, *experiment.channels)}
        found |= {f"profile/{name}": ((g, k, t, device.profile_bins.size), "f") for name in device.profiles}
        if chunk.first == 0:
            traced = min(experiment.output.trajectories, lanes)
            found |= {f"inner/{name}": ((k, t, parts, traced), "f") for name in device.coordinates}
    if experiment.ensemble.between_cycles == "continue" and chunk.end < experiment.ensemble.cycles:
        found["carry/0"] = ((g, None), "fiub")
    return found


def _compute(
    experiment: Experiment, chunk: Chunk, before: Mapping[str, np.ndarray] | None, progress: Progress
) -> Arrays:
    size = experiment.ensemble
    timeline, frequency = experiment.protocol.timeline(), experiment.protocol.frequencies
    rows, settle = drive(experiment, timeline), settling(experiment)
    kept = set(kept_cycles(experiment).tolist())
    by_group: list[Arrays] = []
    lanes = lanes_of(experiment)
    for number, first in enumerate(range(chunk.first, chunk.last, lanes)):
        group = Group(experiment, first, min(first + lanes, chunk.last))
        if before is not None:
            group.restore([before[f"carry/{i}"][number] for i in range(_count(before, "carry/"))])
        cycles: list[Arrays] = []
        for cycle in range(chunk.begin, chunk.end):
            out = group.run(cycle, settle, rows, frequency, progress)
            found = _measured(experiment, timeline, group, out)
            if cycle in kept:
                found |= {f"series/{name}": series for name, series in out.channels.items()}
                found |= {f"profile/{name}": total for name, total in out.profile.items()}
                if first == 0:
                    found |= {f"inner/{name}": value for name, value in out.snapshot.items()}
            cycles.append(found)
        own = _stacked(cycles)
        own |= {f"parameter/{name}": value for name, value in group.parameters.items()}
        if size.between_cycles == "continue" and chunk.end < size.cycles:
            own |= {f"carry/{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(group.carry))}
        by_group.append(own)
    return {name: _joined(name, [g[name] for g in by_group if name in g]) for name in by_group[0]}


def _count(arrays: Mapping[str, np.ndarray], prefix: str) -> int:
    return sum(name.startswith(prefix) for name in arrays)


def _stacked(cycles: list[Arrays]) -> Arrays:
    """Cycles together: readings as [d, c, …], the rest as [k, …]."""
    names = dict.fromkeys(name for found in cycles for name in found)
    return {
        name: np.stack(
            [found[name] for found in cycles if name in found],
            axis=1 if name.startswith(("value/", "status/")) or name in ("intact", "impedance") else 0,
        )
        for name in names
    }


def _joined(name: str, groups: list[np.ndarray]) -> np.ndarray:
    if name.startswith("series/"):
        return np.concatenate(groups, axis=2)
    if name.startswith(("profile/", "carry/", "inner/")):
        return groups[0] if name.startswith("inner/") else np.stack(groups)
    return np.concatenate(groups)


class _Cycle(NamedTuple):
    """What one cycle of a group leaves behind."""

    channels: Arrays
    """Name → [T, lane]."""
    profile: Arrays
    """Name → [T, bin], summed over lanes."""
    snapshot: Arrays
    """Name → [T, part, kept]."""
    impedance: np.ndarray
    """[F, lane]."""
    intact: np.ndarray
    """[lane]."""


class Group:
    """One group of lanes at one sweep point, from cycle to cycle."""

    def __init__(self, experiment: Experiment, first: int, last: int):
        lanes = lanes_of(experiment)
        self.experiment, self.first, self.count = experiment, first, last - first
        self.dtype = np.dtype(experiment.precision)
        self.indices = np.arange(first, first + lanes)
        self.draws = draw_parameters(experiment, first, first + lanes)
        self.parameters = {name: value[: self.count] for name, value in self.draws.items()}
        self.devices = self.built(self.draws)
        self.circuit = experiment.circuit.build(self.dtype, self.draws)
        self.counted = jnp.asarray(np.arange(lanes) < self.count)
        self.kept = min(experiment.output.trajectories, lanes)
        self.carry: Carry | None = None

    def built(self, draws: Arrays) -> Devices:
        """The batch of devices with these parameters."""
        own = of_device(self.experiment, draws)
        return self.experiment.device.build(own, self.experiment.ensemble.seed, self.indices, self.dtype)

    def key(self, cycle: int) -> LaneKey:
        seed = jnp.uint32(self.experiment.ensemble.seed)
        found: LaneKey = program().key(seed, jnp.asarray(self.indices, jnp.uint32), jnp.uint32(cycle))
        return found

    def restore(self, leaves: list[np.ndarray]) -> None:
        """Go on from where another chunk's group ended."""
        blank = jax.eval_shape(program().rest, self.devices, self.circuit, self.key(0))
        self.carry = jax.tree.unflatten(jax.tree.structure(blank), [jnp.asarray(leaf) for leaf in leaves])

    def run(self, cycle: int, settle: Drive | None, rows: Drive, frequency: np.ndarray, progress: Progress) -> _Cycle:
        run, key = program(), self.key(cycle)
        if self.experiment.ensemble.cycle_to_cycle:
            draws = of_cycle(self.experiment, self.draws, self.first, cycle)
            self.devices = self.built(draws)
            self.circuit = self.experiment.circuit.build(self.dtype, draws)
        if self.carry is None or self.experiment.ensemble.between_cycles == "rest":
            self.carry = run.rest(self.devices, self.circuit, key)
            if settle is not None:
                self.advance(key, settle, progress)
        else:
            self.carry = self.carry._replace(clock=jnp.uint32(0))
        means, profile, snapshot = self.advance(key, rows, progress)
        assert self.carry is not None
        intact = np.asarray(self.carry.intact)[: self.count]
        impedance = np.empty((0, self.count), complex)
        if frequency.size:
            bias, hertz = (jnp.asarray(x, self.dtype) for x in (rows.end[-1], frequency))
            whole = run.impedance(self.devices, self.circuit, self.carry, bias, hertz)
            impedance = np.asarray(whole)[:, : self.count]
        return _Cycle(means, profile, snapshot, impedance, intact)

    def advance(self, key: LaneKey, rows: Drive, progress: Progress) -> tuple[Any, Any, Any]:
        kinds = [np.dtype(kind) for kind in (self.dtype, self.dtype, np.uint32, np.uint32, self.dtype)]
        parts = []
        for batch in rows.batches():
            samples = batch.start.size
            filled = tuple(
                jnp.asarray(np.concatenate([column, np.zeros(BATCH - samples)]).astype(kind))
                for column, kind in zip(batch, kinds, strict=True)
            )
            self.carry, out = program().advance(
                self.devices, self.circuit, key, self.carry, filled, self.counted, kept=self.kept
            )
            parts.append(jax.tree.map(lambda series, n=samples: np.asarray(series)[:n], out))
            progress.add(batch.steps * self.count)
        means, profile, snapshot = (
            jax.tree.map(lambda *p: np.concatenate(p), *series) for series in zip(*parts, strict=True)
        )
        return {name: series[:, : self.count] for name, series in means.items()}, profile, snapshot


# -------------------------------------------------------------------------------------- measuring


def _measured(experiment: Experiment, timeline: Timeline, group: Group, out: _Cycle) -> Arrays:
    """Every measurement of one cycle on each lane of a group; NaN and a status where there is no number."""
    found: Arrays = {"intact": out.intact, "impedance": np.where(out.intact, out.impedance, np.nan).T}
    own = references(experiment, group.parameters)
    readings = read(experiment, timeline, out.channels, out.impedance, own)
    for name, (value, status) in zip(experiment.measurements, readings, strict=True):
        fine = out.intact.reshape(-1, *([1] * (value.ndim - 1)))
        broken = (status == OK) & ~np.isfinite(value)
        found[f"value/{name}"] = np.where(fine, value, np.nan)
        found[f"status/{name}"] = np.where(fine, np.where(broken, UNDEFINED, status), FAILED).astype(np.int8)
    return found


def references(experiment: Experiment, parameters: Arrays) -> Arrays:
    """What a measurement may refer to besides the trajectory, one number a device; NaN if its family has none."""
    none = np.full(next(iter(parameters.values())).size, np.nan)
    layer, full_scale = experiment.device.layer, experiment.device.full_scale
    return {
        "full_scale": full_scale.of(parameters) if full_scale else none,
        "cell_constant": parameters["thickness"] / parameters["area"] if layer else none,
    }


def read(
    experiment: Experiment, timeline: Timeline, channels: Arrays, impedance: np.ndarray, own: Arrays
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Value and status of every measurement, for channels [T, lane], impedance [F, lane] and references [lane].

    Lanes are measured in blocks of one size, the last of which is filled up: the order in which a compiled sum adds
    depends on the shape of what it adds, and so would its last bit."""
    windows = {name: jnp.asarray(spans) for name, spans in timeline.windows.items()}
    lanes, at_once = impedance.shape[1], _AT_ONCE[backend()]
    blocks = []
    for first in range(0, lanes, at_once):
        place = np.minimum(np.arange(first, first + at_once), lanes - 1)
        trajectories = _block(experiment, timeline, channels, impedance, own, place)
        readings = program().measure(tuple(experiment.measurements.values()), trajectories, windows)
        blocks.append([(np.asarray(value, np.float64), np.asarray(status)) for value, status in readings])
    return [
        (np.concatenate(values)[:lanes], np.concatenate(status)[:lanes])
        for values, status in (zip(*parts, strict=True) for parts in zip(*blocks, strict=True))
    ]


def _block(
    experiment: Experiment,
    timeline: Timeline,
    channels: Arrays,
    impedance: np.ndarray,
    own: Arrays,
    place: np.ndarray,
) -> Trajectory:
    """The trajectories of these lanes, as [lane, time]."""
    dtype = np.dtype(experiment.precision)

    def lane_first(array: np.ndarray, kind: np.dtype[Any] = dtype) -> Array:
        return jnp.asarray(np.ascontiguousarray(array[..., place].T.astype(kind)))

    def same(array: np.ndarray) -> Array:
        return jnp.asarray(np.broadcast_to(array.astype(dtype), (place.size, array.size)))

    return Trajectory(
        widths=same(timeline.widths),
        **{name: lane_first(channels[name]) for name in CIRCUIT_CHANNELS},
        observed={name: lane_first(channels[name]) for name in experiment.channels},
        frequency=same(experiment.protocol.frequencies),
        impedance=lane_first(impedance, np.result_type(dtype, np.complex64)),
        **{name: lane_first(value) for name, value in own.items()},
        windows={},
    )
