"""Gradients of hopping ensembles against differences with common random numbers.

    python benchmarks/score_gradient.py [--scale 1] [--only slow fast …]
                                          tables, and benchmarks/results/score_gradient.json

The hybrid (`mcdev/calibration/estimator.py`: damped tangents, likelihood ratio, critic) against central differences of
the default ensemble, ±5 % and ±10 % of each parameter, from other seeds. Read are the conductance over the last quarter
of pulses, and at times after the last. ``z`` is their difference over its standard error.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from step_cost import RESULTS, record

import mcdev
from mcdev.calibration.critic import estimate
from mcdev.calibration.estimator import contribute, direction, point_of, stack
from mcdev.configuration.experiment import Experiment
from mcdev.simulation import ensemble

GROUP = 256
HYBRID, DIFFERENCES = 2048, 4096
STEPS = (0.05, 0.1)

Parameters = dict[str, tuple[float, str]]
DEVICE: Parameters = {
    "device.interfacial_energy": (4.5, ""),
    "device.drift": (9.0, ""),
    "device.background_temperature": (0.45, " K"),
    "device.friction": (4.0, ""),
    "device.heating": (1.0, ""),
}


def source(volts: float, width: float) -> Parameters:
    return {"protocol.amplitude": (volts, " V"), "protocol.width": (width, " s")}


def train(volts: float, width: float, count: int, relaxation: float = 0.0, **more: Any) -> Experiment:
    return mcdev.build(
        {
            "name": "score_gradient",
            "device": {"preset": "wang2017_reduced"},
            "protocol": {
                "kind": "pulse_train",
                "amplitude": f"{volts} V",
                "width": f"{width} s",
                "period": f"{2 * width} s",
                "count": count,
                "relaxation": f"{relaxation} s",
                "samples_per_pulse": 8,
                "samples_per_gap": 4,
                "relaxation_samples": 40,
            },
            "measurements": {"g": {"kind": "pulse_conductance"}},
            "output": {"trajectories": GROUP, "quantiles": []},
            "ensemble": {"devices": GROUP},
        }
        | more
    )


def pulses(numbers: tuple[int, ...]) -> Callable[[Experiment], dict[str, np.ndarray]]:
    """Output → weights of the samples."""

    def weights(experiment: Experiment) -> dict[str, np.ndarray]:
        timeline = experiment.protocol.timeline()
        found = {}
        for number in numbers:
            end = timeline.windows["pulse"][number - 1][1]
            found[f"pulse {number}"] = np.isin(np.arange(timeline.samples), [end - 2, end - 1]) / 2.0
        return found

    return weights


def relaxation(times: tuple[float, ...]) -> Callable[[Experiment], dict[str, np.ndarray]]:
    def weights(experiment: Experiment) -> dict[str, np.ndarray]:
        timeline = experiment.protocol.timeline()
        begin, end = timeline.windows["relaxation"][0]
        inside = (np.arange(timeline.samples) >= begin) & (np.arange(timeline.samples) < end)
        after = timeline.edges[1:] - timeline.edges[begin]
        found = {f"{t:g}/κ after": inside & (np.abs(after - t) == np.abs(after - t)[inside].min()) for t in times}
        return {name: mask.astype(float) for name, mask in found.items()} | {"integral": inside * timeline.widths}

    return weights


RESISTOR = {"circuit": {"kind": "series_resistor", "resistance": "1 ohm"}}
CASES: dict[str, tuple[Experiment, Parameters, Callable[[Experiment], dict[str, np.ndarray]]]] = {
    "slow": (train(2.25, 0.07, 20), DEVICE | source(2.25, 0.07), pulses((1, 4, 7, 10, 20))),
    "fast": (train(4.0, 0.0205, 20), DEVICE | source(4.0, 0.0205), pulses((1, 4, 7, 10, 20))),
    "relaxation": (train(2.25, 0.07, 4, 2.0), DEVICE, relaxation((0.1, 0.25, 0.5, 1.0, 2.0))),
    "resistor": (
        train(3.0, 0.07, 10, **RESISTOR),
        DEVICE | {"circuit.resistance": (1.0, " ohm")},
        pulses((1, 4, 7, 10)),
    ),
    "negative": (train(-2.25, 0.07, 10), DEVICE, pulses((1, 4, 7, 10))),
}


def moved(experiment: Experiment, key: str, value: float, unit: str) -> Experiment:
    return experiment.with_({key: f"{value!r}{unit}" if unit else value})


def differences(experiment: Experiment, parameters: Parameters, weights: np.ndarray, share: float, groups: int) -> Any:
    """(gradient, standard error), each [output, parameter]."""

    def read(point: Experiment, seed: int) -> np.ndarray:
        run = ensemble.simulate(point.with_({"ensemble.seed": seed}), threads=1)[0]
        return run.trajectories["conductance"][0].astype(float) @ weights.T  # [realisation, output]

    found = []
    for key, (value, unit) in parameters.items():
        low, high = (moved(experiment, key, value * (1 + sign * share), unit) for sign in (-1, 1))
        slopes = [(read(high, seed) - read(low, seed)) / (2 * share * value) for seed in range(1001, 1001 + groups)]
        found.append(np.concatenate(slopes))
    every = np.stack(found, axis=-1)  # [realisation, output, parameter]
    return every.mean(axis=0), every.std(axis=0, ddof=1) / np.sqrt(len(every))


def case(name: str, scale: float) -> dict[str, Any]:
    experiment, parameters, outputs = CASES[name]
    count = max(GROUP, int(HYBRID * scale) // GROUP * GROUP)
    named = outputs(experiment)
    weights = np.stack(list(named.values()))
    at = point_of(experiment, count)
    ways = []
    for key, (value, unit) in parameters.items():
        low, high = (point_of(moved(experiment, key, value * (1 + s), unit), count) for s in (-0.01, 0.01))
        ways.append(direction(at, low, high, 0.02 * value))
    tangents = stack(ways)

    def run(seed: int) -> Any:
        return contribute(experiment, at, tangents, {"conductance": weights}, seed, threads=1)

    contributions, left_out = run(1)
    critic, unbiased = estimate(contributions, left_out=left_out), estimate(contributions, None)
    plain = contributions.tangent.mean(axis=-1)
    groups = max(1, int(DIFFERENCES * scale) // GROUP)
    rows = []
    by_share = [differences(experiment, parameters, weights, share, groups) for share in STEPS]
    for o, output in enumerate(named):
        for p, key in enumerate(parameters):
            row = {"case": name, "output": output, "parameter": key.split(".")[1]}
            row |= {"hybrid": critic.gradient[o, p], "hybrid_se": critic.gradient_se[o, p]}
            row |= {"no_critic": unbiased.gradient[o, p], "no_critic_se": unbiased.gradient_se[o, p]}
            row |= {"damped_tangent_alone": plain[o, p]}
            for share, (slope, se) in zip(STEPS, by_share, strict=True):
                of = f"{100 * share:g}"
                row |= {f"difference_{of}": slope[o, p], f"difference_{of}_se": se[o, p]}
                row[f"z_{of}"] = (critic.gradient[o, p] - slope[o, p]) / np.hypot(critic.gradient_se[o, p], se[o, p])
            rows.append({k: v if isinstance(v, str) else float(v) for k, v in row.items()})
    return {"rows": rows, "left_out": left_out, "cost": cost(experiment, parameters, run, name)}


def cost(experiment: Experiment, parameters: Parameters, run: Any, name: str) -> dict[str, Any]:
    """Processor time of a gradient run, in runs of the same number of realisations."""
    if name != "fast":
        return {}
    begin = time.process_time()
    contributions, _ = run(2)
    spent = time.process_time() - begin
    count = contributions.value.shape[-1]
    times = {}
    for scheme in ("euler_maruyama", "heun"):
        begin = 0.0
        for seed in range(1 + count // GROUP):
            if seed == 1:  # the first compiles
                begin = time.process_time()
            changes = {"device.integrator": {"scheme": scheme}, "ensemble.seed": seed, "output.trajectories": 0}
            ensemble.simulate(experiment.with_(changes), threads=1)
        times[scheme] = spent / (time.process_time() - begin)
    return {"parameters": len(parameters), "seconds": spent, "realisations": count, "in_forward_runs": times}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0, help="share of the realisations")
    parser.add_argument("--only", nargs="*", default=list(CASES))
    options = parser.parse_args()
    path = RESULTS / "score_gradient.json"
    results = json.loads(path.read_text())["cases"] if path.exists() else {}
    for name in options.only:
        begin = time.time()
        results[name] = case(name, options.scale)
        print(f"\n{name} ({time.time() - begin:.0f} s)")
        for row in results[name]["rows"]:
            print(
                f"{row['output']:>14} {row['parameter']:>22}  {row['hybrid']:9.4f} ({row['hybrid_se']:.4f})"
                f"  no critic {row['no_critic']:9.4f} ({row['no_critic_se']:.4f})"
                f"  5 % {row['difference_5']:9.4f} ({row['difference_5_se']:.4f})"
                f"  10 % {row['difference_10']:9.4f} ({row['difference_10_se']:.4f})"
                f"  z {row['z_5']:5.1f} {row['z_10']:5.1f}"
                f"  tangent alone {row['damped_tangent_alone']:9.4f}"
            )
        print(results[name]["cost"], flush=True)
        record("score_gradient", {"cases": results})


if __name__ == "__main__":
    main()
