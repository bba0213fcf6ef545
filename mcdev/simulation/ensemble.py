"""Every realisation of an experiment, in chunks, side by side.

What is kept of a chunk lies in memory, or in a folder where nothing finished can be lost (`safekeeping.py`); it is put
together at the end (`gathering.py`).
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait

import jax
import numpy as np

from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import ConfigError, Problem
from mcdev.machine.identity import Origin
from mcdev.machine.memory import NotEnoughMemory, budget
from mcdev.machine.threads import cores, thread_pool
from mcdev.simulation.chunks import (
    Chunk,
    Share,
    Work,
    bytes_of_group,
    carried,
    chains,
    compute,
    share,
    together,
)
from mcdev.simulation.gathering import PointResult, gather, held_together
from mcdev.simulation.kept import InMemory, Keeper, Made
from mcdev.simulation.progress import Progress, Stopped
from mcdev.simulation.rehearsal import rehearsal
from mcdev.simulation.trial import Trial, trials


def simulate(
    experiment: Experiment,
    report: Callable[[int, int], None] | None = None,
    threads: int | None = None,
    courses: Sequence[str] = (),
) -> list[PointResult]:
    """All sweep points, in memory. ``report`` gets (done, total) realisation-steps. ``courses``: channels of which the
    course of every device is returned.

    Raises ``NotEnoughMemory``; ``ConfigError`` for a cycle of more steps than its random numbers can name.
    """
    workers, points = threads or cores(), trials(experiment)
    keeper = InMemory()
    shares = plan(points, workers)
    progress = Progress(total_steps(points), report or (lambda done, total: None))
    with thread_pool(workers) as pool:
        perform(points, shares, keeper, pool, workers, progress)
    return gather(points, shares, keeper, courses)


def plan(points: Sequence[Trial], workers: int, memory: float | None = None, in_memory: bool = True) -> list[Share]:
    """How each sweep point is cut, for a budget of ``memory`` bytes. Raises as :func:`simulate`, before any work."""
    check_memory(points, workers, memory, in_memory)
    room = budget(memory) - memory_needed(points, 0, in_memory)
    return [share(trial, workers, room / _groups(workers)) for trial in points]


def perform(
    points: Sequence[Trial],
    shares: Sequence[Share],
    keeper: Keeper,
    pool: Executor,
    workers: int,
    progress: Progress,
    attempts: int = 1,
    alone: bool = False,
) -> dict[Chunk, str]:
    """Compute every chunk that the keeper has not. A chunk that fails ``attempts`` times is set aside, with what
    follows it in its chain, and returned with the reason; if it may be tried once only, its error is raised.

    ``alone``: the pool's workers are other processes, which cannot report on the way.
    """
    lines = [c for i, (trial, of) in enumerate(zip(points, shares, strict=True)) for c in chains(trial, i, of)]
    predecessor = {after: before for line in lines for before, after in itertools.pairwise(line)}
    waiting = deque(together(points, lines))
    running: dict[Future[list[Made]], list[list[Chunk]]] = {}
    failures: dict[Chunk, int] = {}
    failed: dict[Chunk, str] = {}
    places = itertools.cycle(range(len(jax.local_devices())))

    def begin(side_by_side: list[list[Chunk]]) -> None:
        """Go on with each chain at its first chunk that is missing; those at the same one go on together."""
        ready: dict[int, list[list[Chunk]]] = {}
        for chain in side_by_side:
            for number, chunk in enumerate(chain):
                if not keeper.has(chunk):
                    ready.setdefault(number, []).append(chain[number:])
                    break
                progress.add(_steps(points[chunk.point], chunk))
        for left in ready.values():
            works = [Work(points[chain[0].point], chain[0], before_of(chain[0])) for chain in left]
            if not alone and workers > 1:
                rehearsals.enter_context(rehearsal(works[0].trial))
            running[pool.submit(_at, next(places), works, None if alone else progress)] = left

    def before_of(chunk: Chunk) -> Mapping[str, np.ndarray] | None:
        before = predecessor.get(chunk)
        return None if before is None else carried(keeper.get(before))

    def take(task: Future[list[Made]]) -> None:
        left = running.pop(task)
        try:
            made = task.result()
        except Exception as error:  # whatever a worker died of: the others' work is not lost for it
            if attempts == 1 or isinstance(error, Stopped):
                raise
            if len(left) > 1:  # which of them it was is found out one by one
                waiting.extendleft([chain] for chain in left)
                return
            (chain,) = left
            failures[chain[0]] = failures.get(chain[0], 0) + 1
            if failures[chain[0]] < attempts:
                waiting.appendleft([chain])
            else:
                failed.update(dict.fromkeys(chain, f"{type(error).__name__}: {error}"))
            return
        for chain, one in zip(left, made, strict=True):
            keeper.put(chain[0], one)
            if alone:
                progress.add(_steps(points[chain[0].point], chain[0]))
        if onward := [chain[1:] for chain in left if chain[1:]]:
            waiting.appendleft(onward)

    with contextlib.ExitStack() as rehearsals:
        try:
            while waiting or running:
                while waiting and len(running) < 2 * workers:
                    begin(waiting.popleft())
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for task in done:
                    take(task)
        finally:  # an error or an interrupt: let nothing new begin
            if running:
                progress.stop.set()
                for task in running:
                    task.cancel()
    return failed


def _at(place: int, works: Sequence[Work], progress: Progress | None) -> list[Made]:
    """Compute on one of this process's accelerators; chunks go round them. It is this process that says who it is: a
    cluster's may be of several kinds."""
    devices = jax.local_devices()
    with jax.default_device(devices[place % len(devices)]):
        return [Made(arrays, Origin.here()) for arrays in compute(works, progress)]


def _steps(trial: Trial, chunk: Chunk) -> int:
    """Realisation-steps of a chunk."""
    return trial.steps(chunk.last - chunk.first, chunk.end - chunk.begin, chunk.begin == 0)


def total_steps(points: Sequence[Trial]) -> int:
    """Realisation-steps of everything. Raises ``ConfigError`` where a cycle has more than 2^33."""
    total = 0
    for trial in points:
        steps = trial.rows.steps
        if steps + (trial.settle.steps if trial.settle else 0) >= 2**33:
            message = (
                f"a cycle of {steps:.2g} steps has more than its 2^33 random numbers; shorten the protocol or split it "
                'into cycles with ensemble.between_cycles = "continue"'
            )
            experiment = trial.experiment
            raise ConfigError([Problem("protocol", experiment.protocol.kind, message)], experiment.name)
        total += trial.all_steps
    return total


def memory_needed(points: Sequence[Trial], workers: int, in_memory: bool = True) -> int:
    """Bytes at the peak: what every sweep point keeps until the file is written, all realisations over a few samples,
    and the groups of all workers; ``in_memory``: the courses of all realisations besides."""
    kept, peak = 0, 0
    for trial in points:
        size, output, device = trial.experiment.ensemble, trial.experiment.output, trial.experiment.device
        width = trial.dtype.itemsize
        t, d, c, k = trial.timeline.samples, size.devices, size.cycles, trial.kept.size
        channels = len(trial.channels)
        readings = sum(math.prod(entries) * 9 for entries in trial.entries.values())
        kept += c * d * (readings + 1 + 16 * trial.frequency.size) + d * 8 * len(trial.experiment.laws)
        kept += c * d * sum(16 + 24 * detector.most for detector in trial.detectors)  # as many as they can be
        singles = (channels + device.parts * len(device.coordinates)) * output.trajectories
        means = channels * (2 + len(output.quantiles)) + len(device.profiles) * device.profile_bins.size
        kept += k * t * width * (singles + means)
        kept += k * t * d * channels * width * in_memory
        block = min(t, held_together(d)) * d * (2 * width + 16)
        peak = max(peak, block + _groups(workers) * bytes_of_group(trial))
    return kept + peak


def _groups(workers: int) -> int:
    """How many are held at once: one a worker, and where there are several that of a rehearsal."""
    return workers + (workers > 1)


def check_memory(
    points: Sequence[Trial], workers: int | None = None, memory: float | None = None, in_memory: bool = True
) -> None:
    """Raises ``NotEnoughMemory`` before anything is computed."""
    needed = memory_needed(points, workers or cores(), in_memory)
    allowed = budget(memory)
    if needed > allowed:
        fewer = ", most of the measurements of spikes" if any(trial.detectors for trial in points) else ""
        if any(trial.bytes_of_solution > trial.bytes_of_lane for trial in points):
            fewer += ", the nodes of the circuit or the number of --threads"
        raise NotEnoughMemory(
            f"this run would need about {needed / 2**30:.1f} GiB of memory, its budget is {allowed / 2**30:.1f} GiB; "
            "lower ensemble.devices, ensemble.cycles, the protocol's samples_per_… or output.trajectories"
            f"{fewer}, or split the sweep"
        )
