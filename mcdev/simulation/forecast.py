"""What a run will take before it is run: steps, memory, and time, from half a second of the compiled program itself.

    seconds = (a · steps + b · circuit solutions + c · samples + d) · groups · cycles + e · kept samples

a, b and c are measured on three short batches of one group of this very experiment, d (beginning, and taking the
measurements) on one group's recorded channels, e (means and quantiles over all realisations) on as many numbers. All
are processor time, so that other programs on the machine do not enter; a busy machine takes longer. Starting
up, statistics, writing and drawing come on top.

The laws of the particles and of the compact model cost the same in every state. A device that chooses its own steps
(level 2) does not: one group goes through the protocol itself, a few seconds at most, and the rest is taken to cost as
much.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from mcdev.configuration.experiment import Experiment
from mcdev.devices.contract import CIRCUIT_CHANNELS
from mcdev.machine.environment import computing
from mcdev.machine.threads import cores
from mcdev.simulation.chunks import Group, Progress, kept_cycles, lanes_of, read, references
from mcdev.simulation.ensemble import memory_needed, steps_of, total_steps
from mcdev.simulation.program import BATCH, Carry, Drive, drive, program, settling

_LEAST = 0.1  # seconds that each of the calibrating batches takes at least
_MOST = 2**14
_REHEARSAL = 4.0  # seconds, of all sweep points together, for devices that choose their own steps


class Forecast(NamedTuple):
    """Of a whole run."""

    points: int
    realisations: int
    """Devices times cycles, at each sweep point."""
    steps: int
    """Of all realisations at all sweep points."""
    memory: int
    """Bytes at the peak."""
    compiling: float
    """Seconds; less where the program is in the cache."""
    computing: float
    """Seconds of processor time, on one core."""
    workers: int
    accelerators: dict[str, float]
    """Device → seconds for the steps, from measured figures."""

    @property
    def seconds(self) -> float:
        """Wall time on an idle machine."""
        return self.compiling + self.computing / self.workers


class Cost(NamedTuple):
    """Processor time of one group, but for the last, in seconds."""

    step: float
    solution: float
    sample: float
    reading: float
    """Of the start and of all measurements of one cycle."""
    gathering: float
    """Of the statistics over all realisations, of one sample."""


def forecast(experiment: Experiment, workers: int | None = None) -> Forecast:
    """What :func:`mcdev.run` would take for this experiment. Raises ``ConfigError`` as it does."""
    steps, count = total_steps(experiment), workers or cores()
    compiling = computing = 0.0
    busy = 1
    calibrated: dict[Any, Cost] = {}
    budget = _REHEARSAL / len(experiment.points())
    for number, (_, point) in enumerate(experiment.points()):
        own = number if point.device.adaptive else None
        size = lanes_of(point), type(point.device), point.device.parts, point.protocol.timeline().samples
        kind = (*size, tuple(point.measurements), own)
        if kind not in calibrated:
            first, calibrated[kind] = calibrate(point, budget)
            compiling += first
        groups, seconds = _seconds(point, calibrated[kind])
        computing += seconds
        busy = max(busy, groups * (1 if point.ensemble.between_cycles == "continue" else point.ensemble.cycles))
    points = experiment.points()
    moves = sum(steps_of(point) * max(1, point.device.parts) for _, point in points)
    return Forecast(
        points=len(points),
        realisations=experiment.ensemble.devices * experiment.ensemble.cycles,
        steps=steps,
        memory=memory_needed(experiment, count, in_memory=False),
        compiling=compiling,
        computing=computing,
        workers=min(count, busy * len(points)),
        accelerators=elsewhere(experiment, moves),
    )


def _seconds(point: Experiment, cost: Cost) -> tuple[int, float]:
    """Groups of a sweep point, and processor time of all of them through all cycles."""
    size = point.ensemble
    rows, settle = drive(point, point.protocol.timeline()), settling(point)
    rests = 0 if settle is None else size.cycles if size.between_cycles == "rest" else 1
    groups = -(-size.devices // lanes_of(point))
    cycle = cost.reading + _stepping(rows, cost)
    together = cost.gathering * point.protocol.timeline().samples * kept_cycles(point).size
    return groups, groups * (size.cycles * cycle + (rests * _stepping(settle, cost) if settle else 0.0)) + together


def _stepping(rows: Drive, cost: Cost) -> float:
    samples = sum(BATCH for _ in rows.batches())  # a call computes the samples that fill it up, too
    return cost.step * rows.steps + cost.solution * float(rows.solutions.sum()) + cost.sample * samples


def calibrate(point: Experiment, budget: float = _REHEARSAL) -> tuple[float, Cost]:
    """(seconds of compilation, cost of one group of this experiment), the latter from half a second of work, or of
    devices that choose their own steps from ``budget`` seconds."""
    with computing(point.precision == "float64"):
        return _calibrate(point, budget)


def _calibrate(point: Experiment, budget: float) -> tuple[float, Cost]:
    begin = time.perf_counter()
    group = Group(point, 0, min(lanes_of(point), point.ensemble.devices))
    rows, key = drive(point, point.protocol.timeline()), group.key(0)
    progress = Progress(0, lambda done, total: None)
    strongest = int(np.argmax(np.maximum(np.abs(rows.start), np.abs(rows.end))))
    voltage, step = rows.end[strongest], rows.step[strongest] / 16  # far from anything that could go wrong

    def at_rest() -> Carry:
        carry: Carry = program().rest(group.devices, group.circuit, key)
        carry.intact.block_until_ready()
        return carry

    def batch(solutions: int, pairs: int) -> Drive:
        """The first call of equal samples, which is cut where it gets too long."""
        return next(Drive(*(np.full(BATCH, x) for x in (voltage, voltage, solutions, pairs, step))).batches())

    rested = at_rest()

    def work(drives: Drive) -> Any:
        group.carry = rested
        return group.advance(key, drives, progress)

    channels = work(batch(1, 1))[0]
    reading = _reading(point, group, channels)
    reading()
    compiling = time.perf_counter() - begin
    around = _timed(reading) + _timed(at_rest), _gathering(point)
    if point.device.adaptive:
        group.carry, done, begun = rested, 0, time.process_time()
        for part in rows.batches():
            group.advance(key, part, progress)
            done += part.steps
            if time.process_time() - begun > budget:
                break
        return compiling, Cost((time.process_time() - begun) / done, 0.0, 0.0, *around)

    shortest = batch(1, 1)
    drives, seconds = [shortest], [_timed(partial(work, shortest))]
    for stretched in ((0, 1), (1, 0)):  # more steps; more circuit solutions
        size, taken = 2, 0.0
        while taken < _LEAST and size < _MOST:
            size *= 4
            longer = batch(*(size**exponent for exponent in stretched))
            taken = _timed(partial(work, longer), 1)
        drives.append(longer)
        seconds.append(min(taken, _timed(partial(work, longer), 1)))
    counts = [[d.steps, float(d.solutions.sum()), BATCH] for d in drives]
    per_step, per_solution, per_sample = np.maximum(np.linalg.solve(counts, seconds), 0.0).tolist()
    return compiling, Cost(per_step, per_solution, per_sample, *around)


def _timed(work: Callable[[], Any], times: int = 3) -> float:
    """Processor time of the quickest of a few."""
    taken = []
    for _ in range(times):
        begin = time.process_time()
        work()
        taken.append(time.process_time() - begin)
    return min(taken)


def _gathering(point: Experiment) -> float:
    """Seconds of the means and quantiles of all channels, for one sample."""
    few = 8
    block = np.random.default_rng(0).standard_normal((few, point.ensemble.devices))
    channels = len(CIRCUIT_CHANNELS) + len(point.channels)

    def work() -> None:
        np.quantile(block, point.output.quantiles, axis=1)
        block.std(axis=1)

    return _timed(work) * channels / few


def _reading(point: Experiment, group: Group, recorded: dict[str, np.ndarray]) -> Callable[[], Any]:
    """Taking every measurement of one cycle of a group, on channels of the protocol's length."""
    timeline, frequency = point.protocol.timeline(), point.protocol.frequencies
    names = [*CIRCUIT_CHANNELS, *point.channels]
    spread = np.arange(timeline.samples) % len(recorded["current"])
    channels = {name: recorded[name][spread] for name in names}
    impedance = np.ones((frequency.size, group.count), complex)
    return lambda: read(point, timeline, channels, impedance, references(point, group.parameters))


# -------------------------------------------------------------------------------------- accelerators


def elsewhere(experiment: Experiment, moves: int) -> dict[str, float]:
    """Seconds for ``moves``, steps of a realisation or of each of its particles, on each accelerator that has been
    measured (``accelerators.json``, which ``benchmarks/gpu.py`` writes), for the families that were measured there."""
    text = resources.files("mcdev.simulation").joinpath("accelerators.json").read_text(encoding="utf-8")
    found = {}
    for name, families in json.loads(text).items():
        figures = families.get(experiment.device.kind)
        if figures:
            size = np.log([float(row["realisations"]) for row in figures])
            cost = np.log([float(row["ns_per_step"]) for row in figures])
            at = float(np.exp(np.interp(np.log(experiment.ensemble.devices), size, cost)))
            found[name] = 1e-9 * at * moves
    return found


def report(of: Forecast) -> list[str]:
    """In words."""
    lines = [
        f"{of.points} sweep point{'s' if of.points > 1 else ''}, {of.realisations} realisations each, "
        f"{of.steps:.3g} steps of a realisation in all",
        f"memory: about {of.memory / 2**20:.0f} MiB",
        f"time here: about {_words(of.seconds)}: {_words(of.compiling)} to compile (less where it is kept), "
        f"{_words(of.computing)} of processor time on {of.workers} core{'s' if of.workers > 1 else ''}; "
        "starting up, statistics, writing and drawing come on top",
    ]
    lines += [f"time on {name}: about {_words(seconds)} for the steps" for name, seconds in of.accelerators.items()]
    if not of.accelerators:
        lines.append("accelerators: none has been measured with this family of devices")
    return lines


def _words(seconds: float) -> str:
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
