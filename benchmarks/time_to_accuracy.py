"""Time to 1 % standard error and 1 % bias of "conductance after pulse 4" (G4), and how the defaults were checked.

    python benchmarks/time_to_accuracy.py [--scale 1]     tables, and benchmarks/results/time_to_accuracy.json

The train is that of Wang et al. 2017, Fig. 4b (4 V_th, width 0.0205/κ, period 0.041/κ). Three studies:

coupling     G4 (and G in a 1.5 V_th pulse) against the coupling interval at one fine step. The noise is named by step
             and particle, so all intervals see the same and the differences are known far better than the means.
steps        G4 against the step, with the default coupling interval; independent realisations for every row. What the
             interval contributes is taken from the coupling study and subtracted, which leaves the step's own bias.
accuracy     realisations for 1 % standard error, times the processor time of one.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any, NamedTuple

import numpy as np
from step_cost import PARTICLES, RESULTS, record

import mcdev
from mcdev.devices import Diffusive
from mcdev.simulation import ensemble
from mcdev.simulation.trial import Trial

PAPER_STEP = 2e-6
NAIVE = "naive JAX float32"
FINE_STEP = 8.0078125e-5
"""A sixty-fourth of a sample of the train."""
CHUNK = 16384


Row = dict[str, Any]


class Estimate(NamedTuple):
    mean: float
    se: float

    def relative_to(self, other: Estimate) -> Estimate:
        """(self - other)/other, as if independent."""
        return Estimate(self.mean / other.mean - 1, float(np.hypot(self.se, other.se) / other.mean))


def train(
    integrator: dict[str, Any], amplitude: float = 4.0, width: float = 0.0205, count: int = 4
) -> mcdev.Experiment:
    """A train with few samples, so that samples cut the steps as little as possible."""
    protocol = {"kind": "pulse_train", "amplitude": f"{amplitude} V", "width": f"{width} s", "period": f"{2 * width} s"}
    return mcdev.build(
        {
            "name": "time_to_accuracy",
            "device": {"preset": "wang2017_reduced", "integrator": integrator},
            "protocol": protocol | {"count": count, "samples_per_pulse": 4, "samples_per_gap": 1},
            "measurements": {"g": {"kind": "pulse_conductance"}},
            "output": {"trajectories": 0, "quantiles": []},
        }
    )


def last_pulse(experiment: mcdev.Experiment, devices: int, seed: int) -> np.ndarray:
    """Conductance at the last pulse of each realisation; chunks of consecutive seeds."""
    values = []
    for chunk in range(-(-devices // CHUNK)):
        changes = {"ensemble.devices": min(CHUNK, devices), "ensemble.seed": seed + chunk}
        values.append(ensemble.simulate(experiment.with_(changes))[0].values["g"][:, 0, -1])
    return np.concatenate(values)


def estimate(values: np.ndarray) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size)))


def in_pulse(experiment: mcdev.Experiment) -> tuple[float, float]:
    """(step, coupling interval) that a pulse really gets, once cut to its samples."""
    rows = Trial(experiment).rows
    return float(rows.step[0]), float(2 * rows.pairs[0] * rows.step[0])


def coupling_study(amplitude: float, width: float, count: int, devices: int) -> list[Row]:
    """Bias of the last pulse's conductance against the coupling interval, relative to the extrapolated zero."""
    sample = width / 4
    finest = max(2 ** int(np.log2(sample / (2 * FINE_STEP)) + 1e-6), 1)
    rows: list[Row] = []
    values = []
    for solutions in [n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024) if finest / 32 <= n <= finest]:
        step, interval = sample / (2 * finest), sample / solutions
        integrator = {"scheme": "heun", "step": f"{step!r} s", "coupling_interval": f"{interval!r} s"}
        values.append(last_pulse(train(integrator, amplitude, width, count), devices, 1000))
        rows.append({"voltage": amplitude, "interval": interval})
    zero = 2 * values[-1] - values[-2]  # linear in the interval down to zero
    for row, g in zip(rows, values, strict=True):
        bias = estimate((g - zero) / zero.mean())
        row |= {"bias": bias.mean, "se": bias.se, "mean": float(g.mean())}
    return rows


def coupling_bias(study: list[Row], interval: float) -> float:
    points = sorted((row["interval"], row["bias"]) for row in study)
    return float(np.interp(interval, [0.0] + [p[0] for p in points], [0.0] + [p[1] for p in points]))


def step_study(coupling: list[Row], devices: int) -> tuple[Estimate, list[Row]]:
    """G4 without bias, and a row for each scheme and step.

    The weak orders (1 for Euler-Maruyama, 2 for Heun) join all rows into one fit, own = G4 (1 + a h) or
    G4 (1 + b h²), which knows the bias at small steps better than a difference of two means does.
    """
    plan: list[tuple[str, float | None]] = [("heun", 2 * FINE_STEP), ("heun", None), ("euler_maruyama", None)]
    plan += [("heun", 8 * FINE_STEP), ("heun", 16 * FINE_STEP)]
    plan += [("euler_maruyama", k * FINE_STEP) for k in (2, 4, 8)]
    rows: list[Row] = []
    for i, (scheme, nominal) in enumerate(plan):
        experiment = train({"scheme": scheme, "step": "auto" if nominal is None else f"{nominal!r} s"})
        step, interval = in_pulse(experiment)
        g = last_pulse(experiment, devices, 10_000 * (i + 1))
        mean, lag = estimate(g), 1 + coupling_bias(coupling, interval)
        row: Row = {"scheme": scheme, "default": nominal is None, "step": step, "interval": interval, "n": g.size}
        assert isinstance(experiment.device, Diffusive)
        row |= {"curvature_step": experiment.device._stiffness(step), "mean": mean, "sd": float(g.std(ddof=1))}
        rows.append(row | {"own": Estimate(mean.mean / lag, mean.se), "seconds": seconds_per_realisation(experiment)})
        print(f"  {scheme} {step:.3g}: G4 = {mean.mean:.5f} ± {mean.se:.5f}", flush=True)
    powers = [(1.0, r["step"] * (r["scheme"] != "heun"), r["step"] ** 2 * (r["scheme"] == "heun")) for r in rows]
    weights = np.array([1 / r["own"].se for r in rows])
    design = np.array(powers) * weights[:, None]
    fit, *_ = np.linalg.lstsq(design / (scale := np.abs(design).max(axis=0)), [r["own"].mean for r in rows] * weights)
    covariance = np.linalg.inv((design / scale).T @ (design / scale))
    g4 = Estimate(float(fit[0] / scale[0]), float(np.sqrt(covariance[0, 0]) / scale[0]))
    for row, power in zip(rows, powers, strict=True):
        k = 2 if row["scheme"] == "heun" else 1
        slope = Estimate(float(fit[k]), float(np.sqrt(covariance[k, k])))
        row["bias"], row["step_bias"] = row["mean"].relative_to(g4), row["own"].relative_to(g4)
        row["fitted"] = Estimate(*(part * power[k] / scale[k] / g4.mean for part in slope))
    return g4, rows


def seconds_per_realisation(experiment: mcdev.Experiment, devices: int = 1024) -> float:
    """Processor time of the whole run but its compilation; best of three."""
    small, taken = experiment.with_({"ensemble.devices": devices}), []
    for _ in range(4):
        start = time.process_time()
        ensemble.simulate(small, threads=1)
        taken.append(time.process_time() - start)
    return min(taken[1:]) / devices


def accuracy(steps: list[Row]) -> tuple[list[Row], Row]:
    """Time to 1 % standard error for every row, and for the naive method at the paper's step."""
    reference = steps[0]
    needed = (reference["sd"] / (0.01 * reference["own"].mean)) ** 2
    naive_ns = min(json.loads((RESULTS / "step_cost.json").read_text())["ns_per_particle_step"][NAIVE])
    duration = train({}).protocol.timeline().duration
    naive_time = naive_ns * 1e-9 * PARTICLES * needed * duration / PAPER_STEP
    rows = [row | {"time": needed * row["seconds"], "ratio": naive_time / (needed * row["seconds"])} for row in steps]
    return rows, {"realisations": needed, "naive_ns": naive_ns, "naive_time": naive_time, "duration": duration}


def percent(value: Estimate) -> str:
    return f"{100 * value.mean:+.2f} ± {100 * value.se:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the realisations (for a quick look)")
    scale = parser.parse_args().scale
    coupling = coupling_study(4.0, 0.0205, 4, max(int(CHUNK / 4 * scale), 256))
    coupling_low = coupling_study(1.5, 0.5, 1, max(int(CHUNK / 8 * scale), 256))
    print("| v | coupling interval (1/κ) | interval · v² | bias of the conductance, % |\n|---|---|---|---|")
    for row in coupling + coupling_low:
        bias = percent(Estimate(row["bias"], row["se"]))
        print(f"| {row['voltage']} | {row['interval']:.3g} | {row['interval'] * row['voltage'] ** 2:.2g} | {bias} |")
    g4, steps = step_study(coupling, max(int(3 * CHUNK * scale), 256))
    steps, naive = accuracy(steps)
    print(f"\nG4 = {g4.mean:.5f} ± {g4.se:.5f} without bias; {naive['realisations']:.0f} realisations give 1 %")
    print("| scheme | step (1/κ) | h max abs U'' | coupling | bias % | step alone % | fitted % | ms each | s | ratio |")
    print("|" + "---|" * 10)
    for row in steps:
        name = row["scheme"] + (" (default)" if row["default"] else "")
        cells = [name, f"{row['step']:.3g}", f"{row['curvature_step']:.3g}", f"{row['interval']:.3g}"]
        cells += [
            percent(row["bias"]),
            percent(row["step_bias"]),
            percent(row["fitted"]),
            f"{1e3 * row['seconds']:.2f}",
        ]
        total = row["fitted"].mean + row["bias"].mean - row["step_bias"].mean  # the fit's and the interval's share
        remark = "" if abs(total) < 0.01 else " (bias > 1 %)"
        print("| " + " | ".join([*cells, f"{row['time']:.2f}{remark}", f"{row['ratio']:.0f}"]) + " |")
    print(
        f"naive method: {NAIVE}, {naive['naive_ns']:.0f} ns per particle-step (step_cost.py), extrapolated to "
        f"{naive['duration'] / PAPER_STEP:.0f} steps of {PAPER_STEP}/κ: {naive['naive_time']:.0f} s"
    )
    studies = {"coupling": coupling, "coupling_low": coupling_low, "g4": g4, "steps": steps}
    record("time_to_accuracy", studies | {"naive": naive})


if __name__ == "__main__":
    main()
