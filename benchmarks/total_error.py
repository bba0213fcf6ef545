"""Time to a total error of 1 % of three observables, against Numba at the paper's step.

    python benchmarks/total_error.py [OBSERVABLE …] [--scale 1]     table, and benchmarks/results/total_error.json

On the device and pulses of Wang et al. 2017, Fig. 4b (4 V_th, width 0.0205/κ, period 0.041/κ):

conductance    mean G at the fourth pulse
occupation     mean share of the particles in the left terminal's well, x < -0.7, when the fourth pulse ends
relaxation     mean time until a device's conductance has fallen to 1/e after eight pulses, or 8/κ if it has not by then

Total error: sqrt(bias² + standard error²) = 1 % of the value, so n = (σ/mean)²/(0.01² - bias²) realisations. σ and
bias of mcdev's schemes at their defaults are measured, the bias against Heun at half its default step (of which it
leaves a quarter) and half its coupling interval; what is taken is |bias| plus its standard error. Numba (`naive.py`,
loops kept in order) takes Euler-Maruyama at 2e-6/κ, resistance and temperature every step; its bias is taken as zero,
and it is not run to the end: its time is n times the steps times the cost of one, measured in turns with mcdev's.
Processor time of one core, compilation excluded.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from typing import Any, NamedTuple

import naive
import numpy as np
from step_cost import PARTICLES, RESULTS, pin, record
from time_to_accuracy import CHUNK, PAPER_STEP, Estimate, estimate, percent, train

import mcdev
from mcdev.machine.threads import cores, thread_pool
from mcdev.simulation import ensemble
from mcdev.simulation.chunks import chains
from mcdev.simulation.kept import InMemory
from mcdev.simulation.progress import unseen
from mcdev.simulation.trial import Trial

GOAL = 0.01
ROUNDS, TIMED, NAIVE_STEPS = 5, 1024, 64
LEFT_WELL = -0.7
SCHEMES: dict[str, dict[str, Any]] = {"mcdev heun": {}, "mcdev euler_maruyama": {"scheme": "euler_maruyama"}}


class Observable(NamedTuple):
    devices: int
    """Realisations of each ensemble: enough for a standard error of 0.1 to 0.15 %."""
    pulses: int
    relaxation: float
    """1/κ."""
    measurement: dict[str, str] | None
    """None: the occupation."""


OBSERVABLES = {
    "conductance": Observable(24 * CHUNK, 4, 0.0, {"kind": "pulse_conductance"}),
    "occupation": Observable(2 * CHUNK, 4, 0.0, None),
    "relaxation": Observable(4 * CHUNK, 8, 8.0, {"kind": "relaxation_time", "by": "1/e"}),
}


def experiment(of: Observable, integrator: dict[str, Any]) -> mcdev.Experiment:
    after = {"protocol.relaxation": f"{of.relaxation} s", "protocol.relaxation_samples": 400}
    measured = {"measurements": {"value": of.measurement or {"kind": "mean_conductance"}}}
    return train(integrator, count=of.pulses).with_(after | measured)


def halved(of: Observable) -> dict[str, Any]:
    """Heun at half its default step and coupling interval in the pulses."""
    pace = experiment(of, {}).pace(4.0)
    return {"step": f"{pace.step / 2!r} s", "coupling_interval": f"{pace.coupling / 2!r} s"}


def values(of: Observable, run: mcdev.Experiment) -> np.ndarray:
    """The observable of every realisation that has one (who never switched on does not relax); the occupation of every
    group of lanes."""
    if of.measurement is not None:
        found = ensemble.simulate(run)[0].values["value"][:, 0]
        last = found if found.ndim == 1 else found[:, of.pulses - 1]
        return last[np.isfinite(last)]
    trial = Trial(run)
    keeper, shares = InMemory(), ensemble.plan([trial], cores())
    with thread_pool() as pool:
        ensemble.perform([trial], shares, keeper, pool, cores(), unseen())
    end = run.protocol.timeline().windows["pulse"][of.pulses - 1, 1] - 1
    kept = [keeper.get(chunk) for chain in chains(trial, 0, shares[0]) for chunk in chain]
    groups = np.concatenate([arrays["profile/density"][:, 0, end] for arrays in kept])  # [group, bin]
    return groups[:, run.device.profile_bins < LEFT_WELL].sum(axis=1) / groups.sum(axis=1)


def error_of(of: Observable, integrator: dict[str, Any], devices: int, seed: int) -> tuple[Estimate, float]:
    """(mean and its error, σ of one realisation over the mean); ensembles of consecutive seeds."""
    run = experiment(of, integrator)
    parts = []
    for i in range(-(-devices // CHUNK)):
        changes = {"ensemble.devices": min(devices, CHUNK), "ensemble.seed": seed + i}
        parts.append(values(of, run.with_(changes)))
    taken = np.concatenate(parts)
    members = Trial(run).lanes if of.measurement is None else 1
    return estimate(taken), float(taken.std(ddof=1) / taken.mean() * np.sqrt(members))


def costs(of: Observable) -> tuple[dict[str, float], float, float]:
    """Seconds of one realisation with each of mcdev's schemes, and with Numba; Numba's nanoseconds per particle-step.
    Medians of rounds in which all take turns."""
    runs = {name: experiment(of, integrator).with_({"ensemble.devices": TIMED}) for name, integrator in SCHEMES.items()}
    loops = naive.available()["Numba float64, kept in order"]
    positions = np.random.default_rng(1).uniform(-1, 1, (TIMED, PARTICLES))
    work = {name: functools.partial(ensemble.simulate, run, threads=1) for name, run in runs.items()}
    work["Numba"] = functools.partial(loops, positions, NAIVE_STEPS, PAPER_STEP, 1.0)
    taken: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(ROUNDS + 1):  # the first compiles
        for name, do in work.items():
            begin = time.process_time()
            do()
            if round_:
                taken[name].append(time.process_time() - begin)
    steps = runs["mcdev heun"].protocol.timeline().duration / PAPER_STEP
    numba = [t / TIMED / NAIVE_STEPS * steps for t in taken.pop("Numba")]
    ours = {name: statistics.median(times) / TIMED for name, times in taken.items()}
    return ours, statistics.median(numba), statistics.median(numba) / steps / PARTICLES * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", metavar="OBSERVABLE", help=f"some of {', '.join(OBSERVABLES)}; default: all"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="share of the realisations (for a quick look)")
    given = parser.parse_args()
    if unknown := set(given.names) - set(OBSERVABLES):
        parser.error(f"no such observable: {', '.join(sorted(unknown))}; there are {', '.join(OBSERVABLES)}")
    chosen = {name: of for name, of in OBSERVABLES.items() if name in (given.names or OBSERVABLES)}
    if "Numba float64, kept in order" not in naive.available():
        raise SystemExit("this comparison needs Numba: pip install 'mcdev[benchmark]'")
    measured: dict[str, dict[str, Any]] = {}
    for name, of in chosen.items():
        devices = max(int(of.devices * given.scale), 1024)
        fine, _ = error_of(of, halved(of), devices, 1)
        rows = {}
        for i, (scheme, integrator) in enumerate(SCHEMES.items()):
            mean, relative = error_of(of, integrator, devices, 1000 * (i + 1))
            rows[scheme] = {"mean": mean, "sd": relative, "bias": mean.relative_to(fine)}
        measured[name] = {"fine": fine, "schemes": rows}
        print(f"{name}: {fine.mean:.4f} ± {fine.se:.4f} at half the step", flush=True)
    pin(1)
    print("| | scheme | bias % | σ/mean | realisations | s | Numba: realisations | s | ratio |\n|" + "---|" * 9)
    for name, of in chosen.items():
        ours, numba, ns = costs(of)
        for scheme, row in measured[name]["schemes"].items():
            bias = abs(row["bias"].mean) + row["bias"].se
            needed, plain = (row["sd"] ** 2 / (GOAL**2 - b**2) for b in (min(bias, 0.99 * GOAL), 0.0))
            row |= {"realisations": needed, "seconds": needed * ours[scheme], "numba": plain * numba, "numba_ns": ns}
            row["ratio"] = row["numba"] / row["seconds"]
            print(
                f"| {name} | {scheme} | {percent(row['bias'])} | {row['sd']:.3f} | {needed:.0f} | {row['seconds']:.2f} "
                f"| {plain:.0f} | {row['numba']:.0f} | {row['ratio']:.0f} |",
                flush=True,
            )
    before = RESULTS / "total_error.json"
    kept = json.loads(before.read_text(encoding="utf-8")) if before.exists() and len(chosen) < len(OBSERVABLES) else {}
    record("total_error", {name: figures for name, figures in kept.items() if name in OBSERVABLES} | measured)


if __name__ == "__main__":
    main()
