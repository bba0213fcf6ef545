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

from step_cost import COUPLINGS, PARTICLES, STEP, VOLTAGE, Engine, in_own_process, pin, record

SIZES = (64, 128, 256, 1024, 4096, 32768)
LENGTHS = (2048, 4096, 8192, 32768)
CHAINS = (10, 20, 40, 80, 160)
ROUNDS = 5


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


def main() -> None:
    pin(1)
    print(f"ns of processor time per particle-step, one core, median of {ROUNDS}; load {os.getloadavg()[0]:.1f}")
    steps = {64: 16384, 128: 16384, 256: 8192, 1024: 4096, 4096: 1024, 32768: 256}
    sizes = table("realisations", interleaved({r: case(r, steps[r], PARTICLES) for r in SIZES}))
    lengths = table("steps (256 realisations)", interleaved({n: case(256, n, PARTICLES) for n in LENGTHS}))
    chains = table("particles (256 realisations)", interleaved({p: case(256, 4096, p) for p in CHAINS}))
    spread = max(sizes.values()) / min(sizes.values()) - 1
    print(f"largest over smallest: {100 * spread:.0f} % between {SIZES[0]} and {SIZES[-1]} realisations")
    load = os.getloadavg()[0]
    wall = {cores: in_own_process("wall_time", cores) for cores in (1, 2) if cores <= (os.cpu_count() or 1)}
    if 2 in wall:
        print(f"2048 realisations, two threads on two cores: {wall[1] / wall[2]:.2f} times one (load {load:.1f})")
    record("scaling", {"realisations": sizes, "steps": lengths, "particles": chains, "wall_s": wall, "load": load})


if __name__ == "__main__":
    main()
