"""mcdev's step on a GPU: time per particle-step against the size of the ensemble, and agreement with the CPU.

    python benchmarks/gpu.py          table, and benchmarks/results/gpu.json; without a GPU it says so and ends

One call does everything that wants a GPU, benchmark and tests, and is meant to end within eight minutes; it has never
been run on one.

Wall time, since the work is not the processor's; every call ends with the results on the host.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import naive
import numpy as np
from step_cost import CHECK_STEP, CHECK_STEPS, CHECK_VOLTAGE, COUPLINGS, PARTICLES, STEP, VOLTAGE, Engine, record

REALISATIONS = (64, 1024, 8192, 65536, 262144)
CHECKED = 4096
STEPS, REPETITIONS = 4096, 5
NAIVE_SIZE, NAIVE_STEPS = 8192, 256
TESTS_LIMIT = 200
"""Seconds; the whole script is to end within eight minutes."""
ACCELERATORS = Path(__file__).parents[1] / "mcdev" / "accelerators.json"


def check() -> dict[str, float]:
    """Mean g and its standard error on this process's backend, after the same time from the same initial state."""
    g = Engine("euler_maruyama", CHECKED).run(8, CHECK_STEPS, CHECK_STEP, CHECK_VOLTAGE)[:CHECKED]
    return {"mean": float(g.mean()), "se": float(g.std(ddof=1) / np.sqrt(g.size))}


def check_on_cpu() -> dict[str, float]:
    command = [sys.executable, __file__, "--check"]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"}
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def timing(engine: Engine, coupled: int, realisations: int) -> list[float]:
    """Nanoseconds per particle-step of the realisations asked for (padding of the last group is not counted)."""
    taken = []
    for _ in range(REPETITIONS + 1):
        start = time.perf_counter()
        engine.run(coupled, STEPS, STEP, VOLTAGE)
        taken.append((time.perf_counter() - start) / (STEPS * PARTICLES * realisations) * 1e9)
    return taken[1:]  # the first call compiles


def naive_timing() -> list[float]:
    """The same step as plain JAX, on this GPU: nanoseconds per particle-step."""
    run, taken = naive.naive_jax(), []
    positions = np.random.default_rng(1).uniform(-1, 1, (NAIVE_SIZE, PARTICLES))
    for _ in range(REPETITIONS + 1):
        start = time.perf_counter()
        run(positions, NAIVE_STEPS, STEP, VOLTAGE)
        taken.append((time.perf_counter() - start) / (NAIVE_STEPS * positions.size) * 1e9)
    return taken[1:]


def keep(rows: list[dict[str, Any]]) -> None:
    """The figures that `mcdev run --dry-run` estimates from, for this device: the default scheme every 64 steps."""
    chosen = [row for row in rows if row["scheme"] == "heun" and row["every"] == COUPLINGS[-1]]
    known = json.loads(ACCELERATORS.read_text(encoding="utf-8"))
    figures = [{"realisations": row["realisations"], "ns_per_step": min(row["ns"])} for row in chosen]
    known[jax.devices()[0].device_kind] = {"diffusive": figures}
    ACCELERATORS.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def tests() -> int:
    """The tests of the numbers and of the loop on this GPU; their exit code."""
    house = Path(__file__).parents[1]
    files = ["test_noise.py", "test_langevin.py", "test_tunnelling.py", "test_landscape.py"]
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", *(str(house / "tests" / name) for name in files)]
    try:
        return subprocess.run(command, cwd=house, timeout=TESTS_LIMIT).returncode
    except subprocess.TimeoutExpired:
        return 124


def main() -> None:
    if jax.default_backend() != "gpu":
        print(f"no GPU here: JAX finds only {jax.devices()}; nothing was measured")
        return
    print(f"{jax.devices()[0].device_kind}: ns of wall time per particle-step, best of {REPETITIONS}")
    print(f"{'scheme':16}{'every':>6}" + "".join(f"{r:>11}" for r in REALISATIONS))
    rows: list[dict[str, Any]] = []
    for scheme in ("euler_maruyama", "heun"):
        engines = {r: Engine(scheme, r) for r in REALISATIONS}
        for coupled in COUPLINGS:
            taken = {r: timing(engine, coupled, r) for r, engine in engines.items()}
            rows += [{"scheme": scheme, "every": coupled, "realisations": r, "ns": ns} for r, ns in taken.items()]
            print(f"{scheme:16}{coupled:6}" + "".join(f"{min(ns):11.5f}" for ns in taken.values()), flush=True)
    here, there = check(), check_on_cpu()
    distance = (here["mean"] - there["mean"]) / float(np.hypot(here["se"], there["se"]))
    print(f"naive JAX, {NAIVE_SIZE} realisations: {min(plain := naive_timing()):.4f} ns", flush=True)
    print(f"mean g: {here['mean']:.5f} here, {there['mean']:.5f} on the CPU: {distance:+.2f} standard errors apart")
    record("gpu", {"ns_per_particle_step": rows, "naive_jax": plain, "gpu": here, "cpu": there, "distance": distance})
    keep(rows)
    tested = tests()
    print(f"tests on this device: exit code {tested}")
    record("gpu_tests", {"exit_code": tested})
    if tested:
        sys.exit("tests fail on this GPU")
    if abs(distance) > 4:
        sys.exit("GPU and CPU do not agree")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="print mean and error of the check on this backend")
    if parser.parse_args().check:
        print(json.dumps(check()))
    else:
        main()
