"""What a network of N noisy memristors costs against N devices alone.

    python benchmarks/network_cost.py          table, and benchmarks/results/network_cost.json

Chains of diffusive memristors (40 particles), each behind a load, neighbours joined by a resistor: with a capacitor at
each (neurons: N charges that act on each other) and without (dividers: N free nodes). 4 V_th for 0.5/κ, one thread;
processor time, in turns with as many devices alone, after a round that compiles.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from step_cost import record

import mcdev
from mcdev.simulation import ensemble

SIZES = {1: 256, 3: 256, 16: 32, 64: 8}
"""Memristors in a network → networks."""
ROUNDS = 5


def chain(memristors: int, capacitors: bool) -> dict[str, Any]:
    elements: dict[str, Any] = {"V1": {"kind": "voltage_source", "between": ["in", "0"]}}
    for i in range(memristors):
        elements[f"R{i}"] = {"kind": "resistor", "between": ["in", f"n{i}"], "resistance": "60 ohm"}
        elements[f"M{i}"] = {"kind": "memristor", "between": [f"n{i}", "0"]}
        if capacitors:
            elements[f"C{i}"] = {"kind": "capacitor", "between": [f"n{i}", "0"], "capacitance": "0.1 F"}
        if i:
            elements[f"Rc{i}"] = {"kind": "resistor", "between": [f"n{i - 1}", f"n{i}"], "resistance": "100 ohm"}
    return {"kind": "network", "elements": elements, "record": []}


def experiment(circuit: dict[str, Any], devices: int) -> mcdev.Experiment:
    return mcdev.build(
        {
            "name": "network_cost",
            "device": {"preset": "wang2017_reduced"},
            "circuit": circuit,
            "protocol": {"kind": "hold", "voltage": "4 V", "duration": "0.5 s", "samples": 20},
            "ensemble": {"devices": devices},
            "measurements": {"g": {"kind": "mean_conductance"}},
        }
    )


def seconds(work: Callable[[], Any]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main() -> None:
    found: dict[str, dict[str, list[float]]] = {}
    for name, capacitors in (("neurons", True), ("dividers", False)):
        found[name] = {}
        for memristors, networks in SIZES.items():
            wired = experiment(chain(memristors, capacitors), networks)
            alone = experiment({"kind": "alone"}, memristors * networks)
            ratios = []
            for round_ in range(ROUNDS + 1):
                pair = [seconds(lambda e=e: ensemble.simulate(e, threads=1)) for e in (wired, alone)]
                if round_:
                    ratios.append(pair[0] / pair[1])
            ratios.sort()
            middle = statistics.median(ratios)
            print(f"{name}, {memristors} memristors: {middle:.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})", flush=True)
            found[name][str(memristors)] = ratios
    record("network_cost", found)


if __name__ == "__main__":
    main()
