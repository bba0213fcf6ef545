"""How the cost of a particle-step depends on realisations, steps, particles and cores.

    python benchmarks/scaling.py          tables, and benchmarks/results/scaling.json

mcdev's own groups of `step_cost.py` (Euler-Maruyama at 2e-6/κ, default interval, recording included) on one core;
processor time, median of interleaved rounds. Realisations that fill up a group are computed, but not counted. Two cores
against one is wall time, and says something only while the machine is idle: the load is printed.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import reference
from step_cost import COUPLINGS, PARTICLES, STEP, VOLTAGE, Engine, pin, record

SIZES = (64, 128, 256, 1024, 4096, 32768)
LENGTHS = (2048, 4096, 8192, 32768)
CHAINS = (10, 20, 40, 80, 160)
ROUNDS = 2
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


def two_cores(realisations: int = 2048, rounds: int = 7) -> dict[str, tuple[float, float, float]]:
    """Wall time of one thread on one core over that of two on two: median and range. The C++ kernel beside it shows
    what the machine had to give at the time: its two halves share nothing."""
    engine, kernel = Engine("euler_maruyama", realisations), reference.langevin()
    half = engine.positions[: realisations // 2]

    def own(cores: int) -> None:
        engine.run(COUPLINGS[-1], 4096, STEP, VOLTAGE, cores)

    def cpp(cores: int) -> None:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(lambda _: kernel(half, 4096, STEP, VOLTAGE), range(2)))

    contestants = {"mcdev": own} | ({} if kernel is None else {"C++ kernel": cpp})
    taken: dict[tuple[str, int], list[float]] = {(name, n): [] for name in contestants for n in (1, 2)}
    for round_ in range(rounds + 1):
        for (name, cores), times in taken.items():
            pin(cores, EVERYWHERE)
            begin = time.perf_counter()
            contestants[name](cores)
            if round_:
                times.append(time.perf_counter() - begin)
    found = {}
    for name in contestants:
        ratios = [one / two for one, two in zip(taken[name, 1], taken[name, 2], strict=True)]
        found[name] = (statistics.median(ratios), min(ratios), max(ratios))
    return found


def main() -> None:
    pin(1)
    print(f"ns of processor time per particle-step, one core, median of {ROUNDS}; load {os.getloadavg()[0]:.1f}")
    sizes = table("realisations", interleaved({r: case(r, 2048, PARTICLES) for r in SIZES}))
    lengths = table("steps (256 realisations)", interleaved({n: case(256, n, PARTICLES) for n in LENGTHS}))
    chains = table("particles (256 realisations)", interleaved({p: case(256, 4096, p) for p in CHAINS}))
    spread = max(sizes.values()) / min(sizes.values()) - 1
    print(f"largest over smallest: {100 * spread:.0f} % between {SIZES[0]} and {SIZES[-1]} realisations")
    load = os.getloadavg()[0]
    speedup = two_cores() if len(EVERYWHERE) > 1 else {}
    for name, (middle, least, most) in speedup.items():
        print(f"two threads on two cores, {name}: {middle:.2f} times one ({least:.2f} to {most:.2f}), load {load:.1f}")
    record(
        "scaling", {"realisations": sizes, "steps": lengths, "particles": chains, "two_cores": speedup, "load": load}
    )


if __name__ == "__main__":
    main()
