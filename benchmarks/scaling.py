"""How the cost of a particle-step depends on realisations, steps, particles and cores.

    python benchmarks/scaling.py          tables, and benchmarks/results/scaling.json

mcdev's own groups of `step_cost.py` (Euler-Maruyama at 2e-6/κ, default interval, recording included) on one core;
processor time, median of interleaved rounds. Realisations that fill up a group are computed, but not counted. Two cores
against one is wall time, and says something only while the machine is idle: the load is printed.
"""

from __future__ import annotations

import functools
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import reference
from step_cost import COUPLINGS, PARTICLES, STEP, VOLTAGE, Engine, pin, record

import mcdev
from mcdev.simulation import ensemble

SIZES = (64, 128, 256, 1024, 4096, 32768)
LENGTHS = (2048, 4096, 8192, 32768)
LENGTH = 8192
"""Steps where the number of realisations varies: beginning a run of 64 realisations costs as much as 200 of them."""
CHAINS = (10, 20, 40, 80, 160)
ROUNDS = 3
TRAIN = Path(__file__).parents[1] / "configs" / "wang2017" / "fig4b_train.toml"
TOGETHER = 2048
"""Realisations where two cores are compared with one."""
EVERYWHERE = sorted(os.sched_getaffinity(0))
"""The cores of this process before it is pinned."""


def interleaved(cases: dict[int, Callable[[], int]]) -> dict[int, list[float]]:
    """Nanoseconds of processor time per particle-step; each case returns how many it computed."""
    taken: dict[int, list[float]] = {case: [] for case in cases}
    for round_ in range(ROUNDS + 1):  # the first compiles
        for case, work in cases.items():
            begin = time.process_time()
            done = work()
            if round_:
                taken[case].append((time.process_time() - begin) / done * 1e9)
    return taken


def case(realisations: int, steps: int, particles: int) -> Callable[[], int]:
    engine = Engine("euler_maruyama", realisations, particles)

    def work() -> int:
        engine.run(COUPLINGS[-1], steps, STEP, VOLTAGE)
        return realisations * particles * steps

    return work


def table(title: str, taken: dict[int, list[float]]) -> dict[int, float]:
    middle = {n: statistics.median(times) for n, times in taken.items()}
    print(f"{title}: " + ", ".join(f"{n}: {ns:.2f}" for n, ns in middle.items()))
    return middle


def on(cores: int) -> ProcessPoolExecutor:
    """One fresh process that never had more cores than these: XLA makes its threads, and cuts its programs, for the
    cores that it finds when it begins."""
    among = EVERYWHERE[:cores]
    return ProcessPoolExecutor(1, get_context("spawn"), os.sched_setaffinity, (0, among))


@functools.cache
def contestant(name: str) -> Callable[[int], Any] | None:
    """Work for a number of threads, made once a process."""
    if name == "a whole run":
        train = mcdev.load(TRAIN).with_({"ensemble.devices": TOGETHER})
        return lambda threads: ensemble.simulate(train, threads=threads)
    engine = Engine("euler_maruyama", TOGETHER)
    if name == "the loop":
        return lambda threads: engine.run(COUPLINGS[-1], 4096, STEP, VOLTAGE, threads)
    kernel, half = reference.langevin(), engine.positions[: TOGETHER // 2]

    def halves(threads: int) -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda _: kernel(half, 4096, STEP, VOLTAGE), range(2)))

    return None if kernel is None else halves


def wall(name: str, threads: int) -> float | None:
    work = contestant(name)
    if work is None:
        return None
    begin = time.perf_counter()
    work(threads)
    return time.perf_counter() - begin


def two_cores(rounds: int = 7) -> dict[str, tuple[float, float, float]]:
    """Wall time of one thread on one core over that of two on two: median and range. The C++ kernel beside it shows
    what the machine had to give at the time: its two halves share nothing."""
    found = {}
    with on(1) as one, on(2) as two:
        for name in ("the loop", "a whole run", "C++ kernel"):
            if one.submit(wall, name, 1).result() is None:
                continue
            two.submit(wall, name, 2).result()  # these first calls compiled
            pairs = [(one.submit(wall, name, 1).result(), two.submit(wall, name, 2).result()) for _ in range(rounds)]
            ratios = [single / double for single, double in pairs]
            found[name] = (statistics.median(ratios), min(ratios), max(ratios))
    return found


def main() -> None:
    pin(1)
    print(f"ns of processor time per particle-step, one core, median of {ROUNDS}; load {os.getloadavg()[0]:.1f}")
    sizes = table(f"realisations ({LENGTH} steps)", interleaved({r: case(r, LENGTH, PARTICLES) for r in SIZES}))
    lengths = table("steps (256 realisations)", interleaved({n: case(256, n, PARTICLES) for n in LENGTHS}))
    chains = table("particles (256 realisations)", interleaved({p: case(256, 4096, p) for p in CHAINS}))
    spread = max(sizes.values()) / min(sizes.values()) - 1
    print(f"largest over smallest: {100 * spread:.0f} % between {SIZES[0]} and {SIZES[-1]} realisations")
    pin(len(EVERYWHERE), EVERYWHERE)
    load = os.getloadavg()[0]
    speedup = two_cores() if len(EVERYWHERE) > 1 else {}
    for name, (middle, least, most) in speedup.items():
        print(f"two threads on two cores, {name}: {middle:.2f} times one ({least:.2f} to {most:.2f}), load {load:.1f}")
    record(
        "scaling", {"realisations": sizes, "steps": lengths, "particles": chains, "two_cores": speedup, "load": load}
    )


if __name__ == "__main__":
    main()
