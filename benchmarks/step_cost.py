"""What a step costs: mcdev beside what a user would otherwise write, on one core, in one run.

    python benchmarks/step_cost.py            table, and benchmarks/results/step_cost.json

The problem is the same for all: 1024 realisations of 40 particles, preset wang2017_reduced, 1 V_th held, step
2e-6/κ. Times are processor time, so that other programs on the machine count little.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import naive
import numpy as np
import reference

import mcdev
from mcdev.simulation import ensemble, program
from mcdev.simulation.group import Group, Piece
from mcdev.simulation.progress import unseen
from mcdev.simulation.trial import BATCH, Drive, Trial

REALISATIONS, PARTICLES = 1024, 40
STEP, VOLTAGE = 2e-6, 1.0
CHECK_STEP, CHECK_VOLTAGE, CHECK_STEPS = 9e-5, 4.0, 1024
COUPLINGS = (2, 8, 64)
"""Steps between two updates of resistance and temperature; 64 is mcdev's own choice at this step and voltage."""
OURS = "mcdev euler_maruyama, every 64"
STEPS = {"fast": 4096, "others": 64}
"""Steps per timing: each a few tenths of a second."""
REPETITIONS = 7
RESULTS = Path(__file__).parent / "results"


def pin(cores: int, among: list[int] | None = None) -> None:
    """Keep every thread of this process, present and future, on the first ``cores`` cores."""
    chosen = (among or sorted(os.sched_getaffinity(0)))[:cores]
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread), chosen)


def held(changes: dict[str, Any]) -> mcdev.Experiment:
    """A constant voltage, the measurement's problem, with some keys changed."""
    base = mcdev.build(
        {
            "name": "step_cost",
            "device": {"preset": "wang2017_reduced", "integrator": {"scheme": "euler_maruyama", "step": f"{STEP} s"}},
            "protocol": {"kind": "hold", "voltage": f"{VOLTAGE} V", "duration": "1 s", "samples": 64},
            "measurements": {"g": {"kind": "mean_conductance"}},
            "ensemble": {"devices": REALISATIONS},
        }
    )
    return base.with_(changes)


class Engine:
    """mcdev's own groups of lanes, at rest, with the recording that every run has (64 samples)."""

    def __init__(self, scheme: str, realisations: int = REALISATIONS, particles: int = PARTICLES):
        changes = {"device.integrator.scheme": scheme, "device.particles": particles}
        experiment = held(changes | {"ensemble.devices": realisations})
        held_at = Trial(experiment)
        firsts = range(0, realisations, held_at.slot)
        pieces = [Piece(held_at, first, min(first + held_at.slot, realisations)) for first in firsts]
        self.groups = [Group([piece]) for piece in pieces]
        self.keys = [group.key(0) for group in self.groups]
        begin = program.program().rest
        self.rest = [begin(g.devices, g.circuit, key) for g, key in zip(self.groups, self.keys, strict=True)]

    @property
    def positions(self) -> np.ndarray:
        """Positions at rest, [realisation, particle]."""
        at_rest = zip(self.rest, self.groups, strict=True)
        return np.concatenate([np.asarray(rest.state.x).T[group.own] for rest, group in at_rest])

    def run(self, coupled: int, steps: int, dt: float, v: float, threads: int = 1) -> np.ndarray:
        """g [realisation] after ``steps`` steps, resistance and temperature updated every ``coupled``."""
        samples = min(BATCH, steps // coupled)
        each = [np.full(samples, value) for value in (v, v, steps // samples // coupled, coupled // 2, dt)]
        rows = Drive(*each)
        assert rows.steps == steps

        def one(i: int) -> np.ndarray:
            self.groups[i].carry = self.rest[i]
            self.groups[i].advance(self.keys[i], [rows], unseen())
            carry = self.groups[i].carry
            assert carry is not None
            return np.asarray(carry.state.g)[self.groups[i].own]

        indices = range(len(self.groups))
        if threads == 1:
            return np.concatenate([one(i) for i in indices])
        with ThreadPoolExecutor(threads) as pool:
            return np.concatenate(list(pool.map(one, indices)))


def contestants() -> tuple[dict[str, naive.Contestant], np.ndarray]:
    """Everyone as (positions, steps, dt, v) → g, and the common initial positions."""
    found = naive.available()
    engines = {scheme: Engine(scheme) for scheme in ("euler_maruyama", "heun")}

    def entry(scheme: str, coupled: int) -> naive.Contestant:
        return lambda positions, steps, dt, v: engines[scheme].run(coupled, steps, dt, v)

    for scheme in engines:
        for coupled in COUPLINGS:
            found[f"mcdev {scheme}, every {coupled}"] = entry(scheme, coupled)
    kernels = {
        "C++ euler_maruyama": reference.langevin(),
        "C++ euler_maruyama, cheap hash": reference.langevin(rounds=0),
        "C++ heun": reference.langevin(heun=True),
    }
    found |= {name: kernel for name, kernel in kernels.items() if kernel is not None}
    return found, engines["heun"].positions


def fast(name: str) -> bool:
    return name.startswith(("mcdev", "C++"))


def agreement(found: dict[str, naive.Contestant], positions: np.ndarray) -> dict[str, dict[str, float]]:
    """Mean g after the same time, from the same initial state, and its distance from mcdev's in standard errors. (The
    cheap hash is held to it too, though it has passed no battery.)

    At a larger step and voltage than the timing, so that the conductance has risen severalfold. mcdev's variants of one
    scheme share their noise: their differences are the bias of the coupling interval, with little noise.
    """
    finals = {name: run(positions, CHECK_STEPS, CHECK_STEP, CHECK_VOLTAGE) for name, run in found.items()}
    rows = {}
    for name, g in finals.items():
        reference = finals["mcdev euler_maruyama, every 2"]
        error = np.hypot(g.std(ddof=1), reference.std(ddof=1)) / np.sqrt(g.size)
        rows[name] = {"mean": float(g.mean()), "distance": float((g.mean() - reference.mean()) / error)}
        if name.startswith("mcdev"):
            finest = finals[name.split(",")[0] + ", every 2"]
            rows[name]["coupling_bias"] = float((g - finest).mean() / finest.mean())
            rows[name]["coupling_bias_se"] = float((g - finest).std() / finest.mean() / np.sqrt(g.size))
    return rows


def timings(found: dict[str, naive.Contestant], positions: np.ndarray) -> dict[str, list[float]]:
    """Nanoseconds per particle-step, each contestant once in every round."""
    steps = {name: STEPS["fast" if fast(name) else "others"] for name in found}
    taken: dict[str, list[float]] = {name: [] for name in found}
    for repetition in range(REPETITIONS + 1):  # the first round compiles
        for name, run in found.items():
            start = time.process_time()
            run(positions, steps[name], STEP, VOLTAGE)
            if repetition:
                taken[name].append((time.process_time() - start) / (positions.size * steps[name]) * 1e9)
    return taken


def ratio(taken: dict[str, list[float]], name: str, to: str) -> tuple[float, float]:
    """Median over the rounds of how many times the one's time is the other's, and half the range of the middle half."""
    each = np.array(taken[name]) / np.array(taken[to])
    low, middle, high = np.quantile(each, (0.25, 0.5, 0.75))
    return float(middle), float(high - low) / 2


def peak_memory(steps: int) -> float:
    """Peak resident memory in MiB of a whole run of this many steps (to be called in a process of its own)."""
    ensemble.simulate(held({"protocol.duration": f"{steps * STEP} s", "ensemble.devices": 256}))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


ALONE: dict[str, Callable[[int], float]] = {"peak_memory": peak_memory}


def in_own_process(what: str, argument: int) -> float:
    command = [sys.executable, __file__, "--alone", what, str(argument)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def machine() -> dict[str, Any]:
    """Where and with what the figures were measured."""
    listing = Path("/proc/cpuinfo")
    flags = listing.read_text() if listing.exists() else ""
    model = next((line.split(":")[1].strip() for line in flags.splitlines() if "model name" in line), "unknown")
    packages = ("mcdev", "jax", "jaxlib", "numpy", "numba", "diffrax")
    installed = {d.name.lower(): d.version for d in metadata.distributions()}
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": model,
        "vectors": "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "unknown",
        "cores": os.cpu_count(),
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "python": platform.python_version(),
        "packages": {name: installed[name] for name in packages if name in installed},
    }


def record(name: str, figures: dict[str, Any]) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine()} | figures, indent=1, ensure_ascii=False) + "\n")
    print(f"written: {path}")


def main() -> None:
    pin(1)
    found, positions = contestants()
    agree = agreement(found, positions)
    taken = timings(found, positions)
    ratios = {name: ratio(taken, name, OURS) for name in taken}
    load = os.getloadavg()[0]
    print(f"\n{REALISATIONS} realisations of {PARTICLES} particles, one core; ns of processor time per particle-step")
    print(f"{'':34}{'best':>8}{'median':>8}{'ratio':>14}{'mean g':>9}{'distance':>10}{'coupling bias %':>18}")
    for name, times in taken.items():
        row = agree[name]
        bias = (
            f"{100 * row['coupling_bias']:10.3f} ± {100 * row['coupling_bias_se']:.3f}"
            if "coupling_bias" in row
            else ""
        )
        print(
            f"{name:34}{min(times):8.2f}{statistics.median(times):8.2f}{ratios[name][0]:8.2f} ±{ratios[name][1]:5.2f}"
            f"{row['mean']:9.4f}{row['distance']:10.1f}{bias:>18}"
        )
    print(
        f"ratio: to {OURS}, median over {REPETITIONS} rounds in which all take turns, ± half the middle half's range; "
        f"load {load:.1f} on {os.cpu_count()} cores. mean g: after {CHECK_STEPS} steps of {CHECK_STEP}/κ at "
        f"{CHECK_VOLTAGE} V_th; distance: from mcdev's, in standard errors. coupling bias: of that mean, where 64 "
        f"steps are {64 * CHECK_STEP:.2g}/κ; at the timed step they are {64 * STEP:.2g}/κ."
    )
    for kernel, own in (("C++ euler_maruyama", OURS), ("C++ heun", "mcdev heun, every 64")):
        if kernel in taken:
            middle, spread = ratio(taken, own, kernel)
            print(f"{own}: {middle:.2f} ± {spread:.2f} times the {kernel} kernel")
    memory = {steps: in_own_process("peak_memory", steps) for steps in (10_000, 100_000)}
    print("peak memory: " + ", ".join(f"{mib:.0f} MiB for {steps} steps" for steps, mib in memory.items()))
    figures = {
        "ns_per_particle_step": taken,
        "ratios": ratios,
        "load": load,
        "agreement": agree,
        "peak_memory_MiB": memory,
    }
    record("step_cost", figures)
    strangers = [name for name, row in agree.items() if abs(row["distance"]) > 4]
    if strangers:
        sys.exit(f"not the same problem: {', '.join(strangers)} more than 4 standard errors from mcdev")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Cost of a step, side by side.")
    parser.add_argument("--alone", nargs=2, metavar=("WHAT", "NUMBER"), help="one figure, in a process of its own")
    given = parser.parse_args().alone
    if given:
        print(ALONE[given[0]](int(given[1])))
    else:
        main()
