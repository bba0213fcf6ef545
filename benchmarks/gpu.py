"""mcdev's step on a GPU: time per particle-step against the size of the ensemble, and agreement with the CPU.

    python benchmarks/gpu.py          table, and benchmarks/results/gpu.json; without a GPU it says so and ends

Wall time, since the work is not the processor's; every call ends with the results on the host.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

import jax
import numpy as np
from step_cost import CHECK_STEP, CHECK_STEPS, CHECK_VOLTAGE, COUPLINGS, PARTICLES, STEP, VOLTAGE, Engine, record

REALISATIONS = (1024, 4096, 16384, 65536, 262144)
CHECKED = 4096
STEPS, REPETITIONS = 4096, 5


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
    print(f"mean g: {here['mean']:.5f} here, {there['mean']:.5f} on the CPU: {distance:+.2f} standard errors apart")
    record("gpu", {"ns_per_particle_step": rows, "gpu": here, "cpu": there, "distance": distance})
    if abs(distance) > 4:
        sys.exit("GPU and CPU do not agree")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="print mean and error of the check on this backend")
    if parser.parse_args().check:
        print(json.dumps(check()))
    else:
        main()
