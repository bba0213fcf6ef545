"""What one way of calibrating hopping particles costs against another, on the same planted problem.

    python benchmarks/calibration_methods.py [--starts 3] [--only hybrid differences …]
                                          table, and benchmarks/results/calibration_methods.json

Three parameters of the preset `wang2017_reduced` (w_i, drift, friction) are to give back the conductance after pulses
2, 4 and 7 of a train at 4 V_th, each known to 5 %. All methods begin at the same points, off by a factor of up to 1.3
each, see ensembles of the same size with held random numbers, and have the same budget of processor time. They are

    hybrid       Levenberg-Marquardt on damped tangents and likelihood ratio (docs/gradients.md)
    differences  Levenberg-Marquardt on central differences of ±5 % with common random numbers
    nelder_mead  scipy's simplex on the loss
    cma_es       CMA-ES of the package cma (pip install cma)
    pathwise     Levenberg-Marquardt on the derivative along each trajectory, which is wrong for hopping particles

Cost is processor time in forward runs of that ensemble. An end counts as reached when the largest deviation of a fresh,
large ensemble is below 5 %.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from step_cost import record

from mcdev.calibration import exact, resolve
from mcdev.calibration.evaluation import evaluate
from mcdev.calibration.job import Stage
from mcdev.calibration.misfit import Misfit, Objective
from mcdev.calibration.plan import Plan
from mcdev.calibration.search import levenberg_marquardt

DEVICES, FRESH = 512, 8192
PULSES = (2, 4, 7)
SHARE = 0.05  # uncertainty of each number
FACTOR = 1.3
BUDGET = 150.0  # forward runs


def problem(targets: tuple[float, ...], derivatives: str) -> Plan:
    return resolve(
        {
            "name": "methods",
            "device": {"preset": "wang2017_reduced"},
            "experiments": {
                "train": {
                    "protocol": {
                        "kind": "pulse_train",
                        "amplitude": "4 V",
                        "width": "20.5 ms",
                        "period": "41 ms",
                        "count": max(PULSES),
                    },
                    "measurements": {"g": {"kind": "pulse_conductance"}},
                }
            },
            "parameters": {
                "device.interfacial_energy": {"low": 2.5, "high": 8},
                "device.drift": {"low": 4, "high": 20},
                "device.friction": {"low": 1.5, "high": 12},
            },
            "targets": [
                {
                    "experiment": "train",
                    "measurement": "g",
                    "entry": entry,
                    "value": value,
                    "uncertainty": f"{100 * SHARE} %",
                    "source": "planted",
                }
                for entry, value in zip(PULSES, targets, strict=True)
            ],
            "search": {"derivatives": derivatives, "largest_ensemble": DEVICES},
        },
        Path(),
    )


class Spent(Exception):
    """The budget is used up."""


class Watched(Objective):
    """An objective that keeps what each evaluation cost and found, and stops at the budget."""

    def __init__(self, plan: Plan, forward: float):
        super().__init__(plan)
        self.forward, self.cost = forward, 0.0
        self.course: list[tuple[float, float]] = []
        """(cost so far in forward runs, least loss so far)"""
        self.best: Misfit | None = None

    def compute(self, u: np.ndarray, devices: int, seed: int, slopes: bool) -> Misfit:
        return super().__call__(u, devices, seed, slopes)

    def __call__(self, u: np.ndarray, devices: int, seed: int, slopes: bool = True) -> Misfit:
        if self.cost > BUDGET:
            raise Spent
        begin = time.process_time()
        found = self.compute(u, devices, seed, slopes)
        self.cost += (time.process_time() - begin) / self.forward
        if self.best is None or found.loss < self.best.loss:
            self.best = found
        self.course.append((self.cost, self.best.loss))
        return found


class Pathwise(Watched):
    """Derivatives along each realisation's own path."""

    def compute(self, u: np.ndarray, devices: int, seed: int, slopes: bool) -> Misfit:
        e = evaluate(self.plan, self.plan.values(u), devices, seed, False, self.goals)
        if slopes:
            x = self.plan.values(u)
            (case,) = self.plan.cases["train", "device"]
            given = {("train", "device"): self.plan.given(x, "train", "device")}
            reading = exact.read([case], given, ["g"], False, devices, seed, True)[case]
            rows = reading.slope["g"][:, [p - 1 for p in PULSES]].T
            e = e._replace(jacobian=rows, jacobian_error=np.zeros_like(rows))
        return self._misfit(np.asarray(u, float), e, slopes)


def by_steps(objective: Watched, u: np.ndarray) -> None:
    levenberg_marquardt(objective, u, Stage(devices=DEVICES, steps=60), 1, lambda *_, **__: None)


def by_simplex(objective: Watched, u: np.ndarray) -> None:
    simplex = np.vstack([u, u + 0.25 * np.eye(u.size)])
    options = {"maxfev": 10_000, "xatol": 1e-4, "fatol": 1e-3, "initial_simplex": simplex}
    minimize(lambda v: objective(v, DEVICES, 1, False).loss, u, method="Nelder-Mead", options=options)


def by_evolution(objective: Watched, u: np.ndarray) -> None:
    import cma

    rule = cma.CMAEvolutionStrategy(u, 0.25, {"seed": 1, "verbose": -9})
    while not rule.stop():
        asked = rule.ask()
        rule.tell(asked, [objective(np.asarray(v), DEVICES, 1, False).loss for v in asked])


METHODS: dict[str, tuple[type[Watched], str, Callable[[Watched, np.ndarray], None]]] = {
    "hybrid": (Watched, "estimator", by_steps),
    "differences": (Watched, "differences", by_steps),
    "nelder_mead": (Watched, "differences", by_simplex),
    "cma_es": (Watched, "differences", by_evolution),
    "pathwise": (Pathwise, "differences", by_steps),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(METHODS))
    options = parser.parse_args()
    blank = problem((0.1, 0.3, 0.7), "differences")
    truth = blank.values(blank.start)
    planted = evaluate(blank, truth, FRESH, 99, False, blank.goals)
    targets = tuple(float(v) for v in planted.value)
    print("planted:", dict(zip(PULSES, np.round(targets, 4), strict=True)))
    draw = np.random.default_rng(1)
    begins = [truth * FACTOR ** draw.uniform(-1, 1, truth.size) for _ in range(options.starts)]
    times = []
    for seed in (1, 1, 1, 1):
        begin = time.process_time()
        evaluate(blank, truth, DEVICES, seed, False, blank.goals)
        times.append(time.process_time() - begin)
    forward = float(np.median(times[1:]))
    rows: dict[str, Any] = {}
    for name in options.only:
        kind, derivatives, walk = METHODS[name]
        plan = problem(targets, derivatives)
        warm = kind(plan, 1.0)
        warm.compute(plan.start, DEVICES, 1, True)  # compiles
        ends = []
        for begin in begins:
            u = np.array([p.coordinate.free(float(v)) for p, v in zip(plan.parameters, begin, strict=True)])
            objective = kind(plan, forward)
            with contextlib.suppress(Spent):
                walk(objective, u)
            assert objective.best is not None
            fresh = evaluate(plan, plan.values(objective.best.u), FRESH, 7, False, plan.goals)
            first = [cost for cost, loss in objective.course if loss < len(PULSES) * 0.1]
            ends.append(
                {
                    "start_loss": objective.course[0][1],
                    "loss": objective.best.loss,
                    "cost": objective.cost,
                    "evaluations": len(objective.course),
                    "cost_to_goal": first[0] if first else None,
                    "worst_of_fresh": float(np.max(np.abs(fresh.value / np.array(targets) - 1))),
                    "values": plan.values(objective.best.u).tolist(),
                    "course": objective.course,
                }
            )
            print(
                f"{name:12} loss {ends[-1]['start_loss']:9.3g} → {ends[-1]['loss']:9.3g}  cost {objective.cost:6.1f}"
                f"  to goal {first[0] if first else float('nan'):6.1f}  worst {100 * ends[-1]['worst_of_fresh']:.1f} %",
                flush=True,
            )
        rows[name] = ends
    record("calibration_methods", {"devices": DEVICES, "truth": truth.tolist(), "methods": rows})


if __name__ == "__main__":
    main()
