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
from collections.abc import Callable, Mapping
from functools import partial
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from mcdev.configuration.experiment import Experiment
from mcdev.machine.environment import computing
from mcdev.machine.threads import cores
from mcdev.simulation.chunks import Share, chains, together
from mcdev.simulation.ensemble import memory_needed, total_steps
from mcdev.simulation.group import Group, Piece
from mcdev.simulation.program import Carry, program
from mcdev.simulation.progress import unseen
from mcdev.simulation.reading import read
from mcdev.simulation.spikes import Spikes
from mcdev.simulation.trial import BATCH, Drive, Trial, trials

_LEAST = 0.1  # seconds that each of the calibrating batches takes at least
_MOST = 2**14
_MOST_COMPILED = 20.0  # seconds that a forecast compiles for, at most, where circuits differ from point to point
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
    points, count = trials(experiment), workers or cores()
    steps = total_steps(points)
    compiling = computing = 0.0
    busy = 0
    calibrated: dict[Any, Cost] = {}
    budget = _REHEARSAL / len(points)
    size = experiment.ensemble
    whole = [chain for i, trial in enumerate(points) for chain in chains(trial, i, Share(trial.groups, size.cycles))]
    for members in together(points, whole):  # what shares a group is computed in the time of one
        number = members[0][0].point
        trial = points[number]
        own = number if trial.experiment.adaptive else None
        device, read_of = trial.experiment.device, tuple(trial.experiment.measurements)
        form = trial.experiment.circuit.form
        kind = (trial.lanes, trial.slot, type(device), device.parts, trial.timeline.samples, read_of, own, form)
        if kind not in calibrated:
            of_circuit = max(1, len(trial.experiment.circuit.memristors))
            if compiling < _MOST_COMPILED:
                first, tried = calibrate(trial, budget)
                of_tried = of_circuit
            calibrated[kind] = Cost(*(each * of_circuit / of_tried for each in tried))  # as the last that was tried
            compiling += first
        groups, seconds = _seconds([points[chain[0].point] for chain in members], calibrated[kind])
        computing += seconds
        busy += groups * (1 if size.between_cycles == "continue" else size.cycles)
    moves = sum(trial.all_steps * max(1, trial.experiment.device.parts) for trial in points)
    return Forecast(
        points=len(points),
        realisations=size.devices * size.cycles,
        steps=steps,
        memory=memory_needed(points, count, in_memory=False),
        compiling=compiling,
        computing=computing,
        workers=min(count, busy),
        accelerators=elsewhere(experiment, moves),
    )


def _seconds(side_by_side: list[Trial], cost: Cost) -> tuple[int, float]:
    """Groups of trials that share them, and processor time of all of them through all cycles."""
    trial = side_by_side[0]
    size, settle = trial.experiment.ensemble, trial.settle
    longest = max((other.rows for other in side_by_side), key=lambda rows: rows.steps)
    rests = 0 if settle is None else size.cycles if size.between_cycles == "rest" else 1
    cycle = cost.reading + _stepping(trial, longest, cost)
    kept = sum(cost.gathering * other.timeline.samples * other.kept.size for other in side_by_side)
    begun = rests * _stepping(trial, settle, cost) if settle else 0.0
    return trial.groups, trial.groups * (size.cycles * cycle + begun) + kept


def _stepping(trial: Trial, rows: Drive, cost: Cost) -> float:
    samples = sum(BATCH for _ in trial.calls(rows))  # a call computes the samples that fill it up, too
    return cost.step * rows.steps + cost.solution * float(rows.solutions.sum()) + cost.sample * samples


def calibrate(trial: Trial, budget: float = _REHEARSAL) -> tuple[float, Cost]:
    """(seconds of compilation, cost of one group of this trial), the latter from half a second of work, or of
    devices that choose their own steps from ``budget`` seconds."""
    with computing(trial.experiment.precision == "float64"):
        return _calibrate(trial, budget)


def _calibrate(trial: Trial, budget: float) -> tuple[float, Cost]:
    begin = time.perf_counter()
    group = Group([Piece(trial, 0, min(trial.slot, trial.experiment.ensemble.devices))])
    rows, key = trial.rows, group.key(0)
    strongest = int(np.argmax(np.maximum(np.abs(rows.start), np.abs(rows.end))))
    voltage, step = rows.end[strongest], rows.step[strongest] / 16  # far from anything that could go wrong

    def at_rest() -> Carry:
        carry: Carry = program().rest(group.devices, group.circuit, key)._replace(spikes=group.watching)
        carry.intact.block_until_ready()
        return carry

    def batch(solutions: int, pairs: int) -> Drive:
        """The first call of equal samples, which is cut where it gets too long."""
        return next(trial.calls(Drive(*(np.full(BATCH, x) for x in (voltage, voltage, solutions, pairs, step)))))

    rested = at_rest()

    def work(drives: Drive) -> Any:
        group.carry = rested
        return group.advance(key, [drives], unseen())

    channels = {name: series[:, group.own] for name, series in work(batch(1, 1)).channels.items()}
    reading = _reading(group, channels, group.spikes())
    reading()
    compiling = time.perf_counter() - begin
    around = _timed(reading) + _timed(at_rest), _gathering(trial)
    if trial.experiment.adaptive:
        group.carry, done, begun = rested, 0, time.process_time()
        for part in trial.calls(rows):
            group.advance(key, [part], unseen())
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


def _gathering(trial: Trial) -> float:
    """Seconds of the means and quantiles of all channels, for one sample."""
    few = 8
    block = np.random.default_rng(0).standard_normal((few, trial.experiment.ensemble.devices))

    def work() -> None:
        np.quantile(block, trial.experiment.output.quantiles, axis=1)
        block.std(axis=1)

    return _timed(work) * len(trial.channels) / few


def _reading(group: Group, recorded: dict[str, np.ndarray], spikes: Mapping[str, Spikes]) -> Callable[[], Any]:
    """Taking every measurement of one cycle of a group, on channels of the protocol's length."""
    (piece,) = group.pieces
    trial = piece.trial
    spread = np.arange(trial.timeline.samples) % len(recorded["current"])
    channels = {name: recorded[name][spread] for name in trial.channels}
    impedance = np.ones((trial.frequency.size, piece.count), complex)
    named = trial.experiment.named(piece.draws)
    own = trial.experiment.references({name: value[: piece.count] for name, value in named.items()})
    return lambda: read([trial], group.which, channels, impedance, own, spikes)


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
