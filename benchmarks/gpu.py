"""mcdev's step on a GPU: time per particle-step against the size of the ensemble, beside what a user would write and a
hand-written kernel, and agreement with the CPU.

    python benchmarks/gpu.py          table, and benchmarks/results/gpu.json; without a GPU it says so and ends

One call does everything that wants a GPU, benchmark and tests, and is meant to end within eight minutes; it has never
been run on one. It writes after every part, and leaves out what is missing (CuPy, Numba-CUDA, nvcc) or what is left
when its time is up.

Wall time, since the work is not the processor's; every call ends with the results on the host. The CUDA kernel
(`reference/langevin.cu`) is timed by its own events as well: the kernel alone, the floor.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import naive
import numpy as np
import reference
from step_cost import CHECK_STEP, CHECK_STEPS, CHECK_VOLTAGE, COUPLINGS, PARTICLES, STEP, VOLTAGE, Engine, record

from mcdev.integrators import langevin

REALISATIONS = (64, 1024, 8192, 65536, 262144)
CHECKED = 4096
STEPS, REPETITIONS = 4096, 5
WRITTEN_OUT = (1, 4, 8, 16)
"""Pairs of steps in a turn of the loop (`mcdev/integrators/langevin.py`)."""
NAIVE_SIZE, NAIVE_STEPS = 8192, 256
LIMIT, TESTS_LIMIT = 420, 200
"""Seconds, of the whole and of the tests: the script is to end within eight minutes."""
ACCELERATORS = Path(__file__).parents[1] / "mcdev" / "accelerators.json"
BEGIN = time.perf_counter()
OWN = langevin.WRITTEN_OUT["gpu"]


def check(kernel: Callable[..., Any] | None = None) -> dict[str, float]:
    """Mean g and its standard error on this process's backend, after the same time from the same initial state; of
    mcdev, or of the CUDA kernel."""
    engine = Engine("euler_maruyama", CHECKED)
    problem = CHECK_STEPS, CHECK_STEP, CHECK_VOLTAGE
    g = engine.run(8, *problem) if kernel is None else kernel(engine.positions[:CHECKED], *problem)[0]
    g = g[:CHECKED]
    return {"mean": float(g.mean()), "se": float(g.std(ddof=1) / np.sqrt(g.size))}


def check_on_cpu() -> dict[str, float]:
    command = [sys.executable, __file__, "--check"]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"}
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def timed(work: Callable[[], Any], particle_steps: int) -> list[float]:
    """Nanoseconds of wall time per particle-step, call by call."""
    taken = []
    for _ in range(REPETITIONS + 1):
        start = time.perf_counter()
        work()
        taken.append((time.perf_counter() - start) / particle_steps * 1e9)
    return taken[1:]  # the first call compiles


def timing(engine: Engine, coupled: int, realisations: int) -> list[float]:
    """Of the realisations asked for (padding of the last group is not counted)."""
    return timed(lambda: engine.run(coupled, STEPS, STEP, VOLTAGE), STEPS * PARTICLES * realisations)


def plain() -> dict[str, list[float]]:
    """The same step as a user would write it, on this GPU."""
    positions = np.random.default_rng(1).uniform(-1, 1, (NAIVE_SIZE, PARTICLES))
    return {
        name: timed(functools.partial(run, positions, NAIVE_STEPS, STEP, VOLTAGE), NAIVE_STEPS * positions.size)
        for name, run in naive.available(naive.ON_GPU).items()
    }


def by_hand() -> list[dict[str, Any]]:
    """The CUDA kernel, with everything that a call does, and the kernel alone."""
    rows: list[dict[str, Any]] = []
    for scheme in ("euler_maruyama", "heun"):
        kernel = reference.langevin_cuda(scheme == "heun", COUPLINGS[-1])
        if kernel is None:
            return rows
        for r in REALISATIONS:
            positions = np.random.default_rng(1).uniform(-1, 1, (r, PARTICLES))
            alone: list[float] = []

            def call(kernel: Any = kernel, positions: np.ndarray = positions, alone: list[float] = alone) -> None:
                alone.append(kernel(positions, STEPS, STEP, VOLTAGE)[1] / (STEPS * positions.size) * 1e9)

            whole = timed(call, STEPS * positions.size)
            rows.append({"scheme": scheme, "realisations": r, "ns": whole, "kernel_ns": alone[1:]})
    return rows


def left() -> float:
    return LIMIT - (time.perf_counter() - BEGIN)


def keep(rows: list[dict[str, Any]]) -> None:
    """The figures that `mcdev run --dry-run` estimates from, for this device: the default scheme every 64 steps."""
    default = {"scheme": "heun", "every": COUPLINGS[-1], "written_out": OWN}
    chosen = [row for row in rows if default.items() <= row.items()]
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


def ours() -> list[dict[str, Any]]:
    """mcdev at every size and interval as it is, then with more or fewer pairs written out."""
    print(f"{'scheme':16}{'every':>6}{'pairs':>6}" + "".join(f"{r:>11}" for r in REALISATIONS))
    rows: list[dict[str, Any]] = []
    plan = [(scheme, every, OWN) for scheme in ("euler_maruyama", "heun") for every in COUPLINGS]
    plan += [("euler_maruyama", COUPLINGS[-1], count) for count in WRITTEN_OUT if count != OWN]
    for scheme, every, count in plan:
        if left() < TESTS_LIMIT:
            print("time is up: the rest is left out")
            break
        langevin.WRITTEN_OUT["gpu"] = count
        jax.clear_caches()
        taken = {r: timing(Engine(scheme, r), every, r) for r in REALISATIONS}
        rows += [
            {"scheme": scheme, "every": every, "written_out": count, "realisations": r, "ns": ns}
            for r, ns in taken.items()
        ]
        print(f"{scheme:16}{every:6}{count:6}" + "".join(f"{min(ns):11.5f}" for ns in taken.values()), flush=True)
        record("gpu_steps", {"ns_per_particle_step": rows})
    langevin.WRITTEN_OUT["gpu"] = OWN
    return rows


def main() -> None:
    if jax.default_backend() != "gpu":
        print(f"no GPU here: JAX finds only {jax.devices()}; nothing was measured")
        return
    print(f"{jax.devices()[0].device_kind}: ns of wall time per particle-step, best of {REPETITIONS}")
    kernel = by_hand()
    checked = reference.langevin_cuda(False, 8) if kernel else None
    cuda = None if checked is None else check(checked)
    for row in kernel:
        print(f"CUDA {row['scheme']}, {row['realisations']}: {min(row['ns']):.5f}, alone {min(row['kernel_ns']):.5f}")
    others = plain()
    for name, taken in others.items():
        print(f"{name}, {NAIVE_SIZE} realisations: {min(taken):.4f}", flush=True)
    record("gpu_others", {"by_hand": kernel, "plain": others})
    here, there = check(), check_on_cpu()
    rows = ours()
    keep(rows)
    distances = {}
    for name, found in {"here": here, "the CUDA kernel": cuda}.items():
        if found is not None:
            distances[name] = (found["mean"] - there["mean"]) / float(np.hypot(found["se"], there["se"]))
            print(f"mean g, {name}: {found['mean']:.5f}, {distances[name]:+.2f} standard errors from the CPU's")
    figures = {"ns_per_particle_step": rows, "by_hand": kernel, "plain": others}
    record("gpu", figures | {"gpu": here, "cpu": there, "cuda": cuda, "distances": distances})
    tested = tests()
    print(f"tests on this device: exit code {tested}")
    record("gpu_tests", {"exit_code": tested})
    if tested:
        sys.exit("tests fail on this GPU")
    if any(abs(distance) > 4 for distance in distances.values()):
        sys.exit("GPU and CPU do not agree")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="print mean and error of the check on this backend")
    if parser.parse_args().check:
        print(json.dumps(check()))
    else:
        main()
