"""What it costs to have a chunk computed by a Dask worker instead of a thread.

    python benchmarks/scheduling.py            table, and benchmarks/results/scheduling.json

The same chunks of organic devices, one worker each, by a thread of this process and by a Dask worker; both have
compiled before. Each chunk takes a fraction of a second, so that the difference is mostly overhead: naming the task,
sending the configuration there and the courses of all realisations back, two processes taking turns. What that is of a
chunk of 30 s follows. A worker's first chunk, with the import of libraries and compilation, is given apart.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from step_cost import record

import mcdev
from mcdev.results import scheduler
from mcdev.simulation import chunks, ensemble, kept
from mcdev.simulation.progress import unseen
from mcdev.simulation.trial import trials

CONFIG = Path(__file__).parents[1] / "configs" / "variability" / "omiec_array.toml"
DEVICES, ROUNDS = 10_240, 7
LONG = 30.0


def seconds(experiment: mcdev.Experiment, crew: scheduler.Workers) -> float:
    points, shares = trials(experiment), [chunks.Share(1, 1)]
    begin = time.perf_counter()
    ensemble.perform(points, shares, kept.InMemory(), crew.pool, 1, unseen(), alone=crew.alone)
    return time.perf_counter() - begin


def main() -> None:
    experiment = mcdev.load(CONFIG, {"ensemble.devices": DEVICES})
    number = trials(experiment)[0].groups
    taken: dict[str, list[float]] = {"threads": [], "dask": []}
    with scheduler.workers("threads", 1) as thread, scheduler.workers("dask", 1) as dask:
        first = {name: seconds(experiment, crew) for name, crew in (("threads", thread), ("dask", dask))}
        for _ in range(ROUNDS):  # in turns, so that other work on the machine meets both
            taken["threads"].append(seconds(experiment, thread) / number)
            taken["dask"].append(seconds(experiment, dask) / number)
    extra = [b - a for a, b in zip(taken["threads"], taken["dask"], strict=True)]
    middle = statistics.median(extra)
    for name, times in taken.items():
        print(
            f"{name:8} {1e3 * statistics.median(times):6.0f} ms a chunk, median of {ROUNDS} rounds of {number} chunks"
        )
    print(
        f"overhead {1e3 * middle:6.0f} ms a chunk ({1e3 * min(extra):.0f} to {1e3 * max(extra):.0f}): "
        f"{100 * middle / LONG:.2g} % of one of {LONG:g} s"
    )
    start = first["dask"] - number * statistics.median(taken["dask"])
    print(f"a worker's start, once: {start:.1f} s (import and compilation)")
    record("scheduling", {"seconds_per_chunk": taken, "overhead_s": extra, "worker_start_s": start})


if __name__ == "__main__":
    main()
