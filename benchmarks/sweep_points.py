"""What many sweep points of one device cost against one point of many devices, and what it costs to set up many points.

    python benchmarks/sweep_points.py          table, and benchmarks/results/sweep_points.json

Level 1, a pulse of 20 s with the exponential fit of its turn-on, one thread; processor time, in turns, after a round
that compiles. The points differ in their voltage, and with it in their steps. Setting up is all that `mcdev run` does
before the first step: building and checking each point, cutting it into steps, planning its chunks.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from step_cost import record

import mcdev
from mcdev.simulation import ensemble
from mcdev.simulation.trial import trials

MANY, ROUNDS, POINTS = 64, 7, 1000
PROTOCOL = {"kind": "pulse", "amplitude": "3.5 V", "width": "20 s", "relaxation": "5 s", "samples_per_pulse": 400}
BASE: dict[str, Any] = {
    "name": "sweep_points",
    "device": {"preset": "device_1s"},
    "protocol": PROTOCOL,
    "measurements": {"tau": {"kind": "exponential_fit"}, "g": {"kind": "mean_conductance"}},
}


def swept(points: int) -> mcdev.Experiment:
    axis = {"start": "2.5 V", "stop": "4 V", "count": points}
    return mcdev.build(BASE | {"ensemble": {"devices": 1}, "sweep": {"axes": {"protocol.amplitude": axis}}})


def seconds(work: Callable[[], Any]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main() -> None:
    devices, points = mcdev.build(BASE | {"ensemble": {"devices": MANY}}), swept(MANY)
    taken: dict[str, list[float]] = {"one point": [], "many points": []}
    for round_ in range(ROUNDS + 1):
        one, many = (seconds(lambda e=e: ensemble.simulate(e, threads=1)) for e in (devices, points))
        if round_:
            taken["one point"].append(one)
            taken["many points"].append(many)
    ratios = sorted(b / a for a, b in zip(taken["one point"], taken["many points"], strict=True))
    middle = statistics.median(ratios)
    print(
        f"{MANY} points of one device over one point of {MANY} devices: {middle:.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
    )

    def set_up() -> None:
        resolved = trials(swept(POINTS))
        ensemble.total_steps(resolved)
        ensemble.plan(resolved, 1)

    each = seconds(set_up) / POINTS
    print(f"setting up {POINTS} points: {1e3 * each:.2f} ms a point")
    record("sweep_points", {"ratios": ratios, "seconds_a_point": each})


if __name__ == "__main__":
    main()
