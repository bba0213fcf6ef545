"""Time to 1 % standard error and 1 % bias of "conductance after pulse 4" (G4), and how the defaults were checked.

    python benchmarks/time_to_accuracy.py [--scale 1]     tables, and benchmarks/results/time_to_accuracy.json

The train is that of Wang et al. 2017, Fig. 4b (4 V_th, width 0.0205/κ, period 0.041/κ). Four studies:

coupling     G4 (and G in a 1.5 V_th pulse) against the coupling interval at one fine step. The noise is named by step
             and particle, so all intervals see the same and the differences are known far better than the means.
steps        G4 against the step, with the default coupling interval; independent realisations for every row. What the
             interval contributes is taken from the coupling study and subtracted, which leaves the step's own bias.
passage      mean first-passage time out of the interfacial well, against quadrature.
accuracy     realisations for 1 % standard error, times the processor time of one.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from step_cost import PARTICLES, RESULTS, record

import mcdev
from mcdev import ensemble
from mcdev.devices.landscape import InterfacialWells, Landscape, PeriodicPinning
from mcdev.integrators.langevin import SCHEMES, diffuse
from mcdev.integrators.noise import realisation_key

PAPER_STEP = 2e-6
CURVATURE = 1777.0
"""The bound on max|U''| that the defaults use, in w_p/L²."""
NAIVE = "naive JAX float32"
FINE_STEP = 8.0078125e-5
"""A sixty-fourth of a sample of the train."""
CHUNK = 16384


Row = dict[str, Any]


class Estimate(NamedTuple):
    mean: float
    se: float

    def relative_to(self, other: Estimate) -> Estimate:
        """(self - other)/other for independent estimates."""
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
    rows = ensemble.drive(experiment, experiment.protocol.timeline())
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


def step_study(coupling: list[Row], scale: float) -> list[Row]:
    """Rows of G4 for each scheme and step; the first row is the reference."""
    plan: list[tuple[str, float | str, int]] = [("heun", FINE_STEP, 196608)]
    plan += [("heun", "auto", 98304)] + [("heun", k * FINE_STEP, 98304) for k in (2, 8, 16)]
    plan += [("euler_maruyama", FINE_STEP / 2, 65536), ("euler_maruyama", "auto", 98304)]
    plan += [("euler_maruyama", k * FINE_STEP, 98304) for k in (2, 4, 8)]
    rows: list[Row] = []
    for i, (scheme, nominal, devices) in enumerate(plan):
        written = nominal if isinstance(nominal, str) else f"{nominal!r} s"
        experiment = train({"scheme": scheme, "step": written})
        step, interval = in_pulse(experiment)
        g = last_pulse(experiment, max(int(devices * scale), 256), 10_000 * (i + 1))
        mean = estimate(g)
        lag = coupling_bias(coupling, interval)
        own = Estimate(mean.mean / (1 + lag), mean.se)
        row = {"scheme": scheme, "default": nominal == "auto", "step": step, "interval": interval, "n": g.size}
        row |= {"curvature_step": experiment.device._stiffness(step), "mean": mean.mean, "se": mean.se}
        row |= {"sd": float(g.std(ddof=1)), "own": own, "seconds": seconds_per_realisation(experiment)}
        reference = rows[0]["own"] if rows else own
        row |= {"bias": mean.relative_to(reference), "step_bias": own.relative_to(reference)}
        rows.append(row)
        print(f"  {scheme} {step:.3g}: G4 = {mean.mean:.5f} ± {mean.se:.5f}", flush=True)
    return rows


def seconds_per_realisation(experiment: mcdev.Experiment, devices: int = 1024) -> float:
    """Processor time of the whole run but its compilation; best of three."""
    small, taken = experiment.with_({"ensemble.devices": devices}), []
    for _ in range(4):
        start = time.process_time()
        ensemble.simulate(small, threads=1)
        taken.append(time.process_time() - start)
    return min(taken[1:]) / devices


def passage_study(scale: float) -> list[Row]:
    """Mean first-passage time over the interfacial barrier at θ = 0.45 and 3 V_th, from the well's bottom to a point
    so far down the tilted landscape that nobody returns, against the quadrature

        T = (η/θ) ∫ dy e^{U/θ} ∫_{-1}^y dz e^{-U/θ},   the wall at -1 reflecting.

    Whoever arrives is put back; a stationary renewal process has exactly one arrival per T.
    """
    eta, theta, voltage, drift, lanes, goal = 4.0, 0.45, 3.0, 9.0, 256, -0.4
    one = jnp.ones(1)
    landscape = Landscape(
        InterfacialWells.of(4.5 * one, 0.85 * one, 0.1 * one), PeriodicPinning.of(0.15 * one, 0.0 * one), None
    )
    x = np.linspace(-1.0, goal, 100_001)
    wells = -4.5 * (np.exp(-(((x + 0.85) / 0.1) ** 2)) + np.exp(-(((x - 0.85) / 0.1) ** 2)))
    u = (wells + 0.5 * np.sin(2 * np.pi / 0.15 * x) - drift * voltage * x) / theta
    start, dx = int(np.argmin(np.where(x < -0.75, u, np.inf))), x[1] - x[0]
    exact = eta / theta * float(np.sum(np.exp(u[start:]) * np.cumsum(np.exp(-u))[start:])) * dx**2
    key = realisation_key(jnp.uint32(7), jnp.arange(lanes, dtype=jnp.uint32), jnp.uint32(0))

    @partial(jax.jit, static_argnames="name")
    def arrivals(x: Any, step: Any, first: Any, pairs: Any, name: str) -> Any:
        h = jnp.full(lanes, step / eta)
        s = jnp.sqrt(2 * theta * h)

        def body(i: Any, carry: Any) -> Any:
            x, before, count = carry
            pull = drift * voltage
            x, before = diffuse(
                SCHEMES[name], lambda x: landscape.force(x) + pull, x, before, h, s, key, first + i, jnp.uint32(1)
            )
            there = x > goal
            return jnp.where(there, jnp.float32(x_start), x), before, count + there

        return jax.lax.fori_loop(jnp.uint32(0), pairs, body, (x, jnp.zeros_like(x), jnp.zeros(x.shape, jnp.int32)))

    rows: list[Row] = []
    x_start = x[start]
    for name, scheme in SCHEMES.items():
        for share in (0.5, 1.0, 2.0, 4.0):
            step = share * scheme.curvature_step / CURVATURE * eta
            burn, counted = (jnp.uint32(n * exact / (2 * step)) for n in (5, max(40 * scale, 1)))
            walkers = jnp.full((PARTICLES, lanes), x_start, jnp.float32)
            walkers, _, _ = arrivals(walkers, jnp.float32(step), jnp.uint32(0), burn, name)
            _, _, count = arrivals(walkers, jnp.float32(step), burn, counted, name)
            number = np.asarray(count, np.float64)
            mean = 2 * step * float(counted) / number.mean()
            se = number.std(ddof=1) / number.mean() / np.sqrt(number.size)
            row = {"scheme": name, "share": share, "step": step, "mean": mean, "exact": exact}
            rows.append(row | {"bias": Estimate(mean / exact - 1, float(se))})
    return rows


def accuracy(steps: list[Row]) -> tuple[list[Row], Row]:
    """Time to 1 % standard error for every row, and for the naive method at the paper's step."""
    reference = steps[0]
    needed = (reference["sd"] / (0.01 * reference["mean"])) ** 2
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
    start = time.perf_counter()
    coupling = coupling_study(4.0, 0.0205, 4, max(int(CHUNK * scale), 256))
    coupling_low = coupling_study(1.5, 0.5, 1, max(int(CHUNK / 4 * scale), 256))
    print("| v | coupling interval (1/κ) | interval · v² | bias of the conductance, % |\n|---|---|---|---|")
    for row in coupling + coupling_low:
        bias = percent(Estimate(row["bias"], row["se"]))
        print(f"| {row['voltage']} | {row['interval']:.3g} | {row['interval'] * row['voltage'] ** 2:.2g} | {bias} |")
    passage = passage_study(scale)
    print("\n| scheme | h max abs U'' | step (1/κ) | mean first-passage time, bias % |\n|---|---|---|---|")
    for row in passage:
        curvature = SCHEMES[row["scheme"]].curvature_step * row["share"]
        print(f"| {row['scheme']} | {curvature:.3g} | {row['step']:.3g} | {percent(row['bias'])} |")
    steps, naive = accuracy(step_study(coupling, scale))
    print(f"\n{naive['realisations']:.0f} realisations give 1 %; reference: the first row, less its coupling bias")
    print("| scheme | step (1/κ) | h max abs U'' | coupling | bias % | step alone, % | ms each | s to 1 % | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in steps:
        name = row["scheme"] + (" (default)" if row["default"] else "")
        cells = [name, f"{row['step']:.3g}", f"{row['curvature_step']:.3g}", f"{row['interval']:.3g}"]
        cells += [percent(row["bias"]), percent(row["step_bias"]), f"{1e3 * row['seconds']:.2f}"]
        good = abs(row["bias"].mean) < 0.01
        print("| " + " | ".join([*cells, f"{row['time']:.2f}" if good else "bias > 1 %", f"{row['ratio']:.0f}"]) + " |")
    print(
        f"naive method: {NAIVE}, {naive['naive_ns']:.0f} ns per particle-step (step_cost.py), extrapolated to "
        f"{naive['duration'] / PAPER_STEP:.0f} steps of {PAPER_STEP}/κ: {naive['naive_time']:.0f} s"
    )
    print(f"took {time.perf_counter() - start:.0f} s")
    studies = {"coupling": coupling, "coupling_low": coupling_low, "passage": passage, "steps": steps}
    record("time_to_accuracy", studies | {"naive": naive})


if __name__ == "__main__":
    main()
