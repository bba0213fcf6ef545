"""mcdev on a GPU: time per particle-step against the size of the ensemble, a hand-written kernel and what a user would
write beside it, both levels of the organic device, agreement with the CPU, tests.

    python benchmarks/gpu.py                   table, and benchmarks/results/gpu.json
    python benchmarks/gpu.py --out FOLDER      the same, with every file in FOLDER
    python benchmarks/gpu.py --rehearse        every part once, small, on whatever JAX finds; its figures mean nothing

One call does everything that wants a GPU and ends within ten minutes. Each part is a process of its own, so that one
that fails or hangs ends itself only, and every row is on the disk (`gpu.jsonl`) as soon as it is measured. What matters
most comes first; what is missing (CuPy, Numba-CUDA, nvcc) or late is left out and said so. mcdev's own loop is timed in
its fast ways (`mcdev/machine/gpu.py`: the particles' kernel, loops on the device), and without each of them.

Wall time, since the work is not the processor's; every call ends with the results on the host. The CUDA kernel
(`reference/langevin.cu`) is timed by its own events as well: the kernel alone, the floor.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import naive
import numpy as np
import reference
from scipy import stats
from step_cost import CHECK_STEP, CHECK_STEPS, CHECK_VOLTAGE, COUPLINGS, PARTICLES, STEP, VOLTAGE, Engine, machine

import mcdev
from mcdev.integrators import langevin
from mcdev.machine import gpu
from mcdev.simulation import ensemble

HOUSE = Path(__file__).parents[1]
EVERY = COUPLINGS[-1]
LIMIT = 560
"""Seconds, of the whole; the tests get what the other parts leave, and at least their own share of it."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much is computed."""

    realisations: tuple[int, ...] = (8192, 64, 65536)
    steps: int = 4096
    checked: int = 4096
    naive: tuple[int, int] = (8192, 256)
    compact: tuple[int, ...] = (16384, 65536)
    resolved: tuple[int, ...] = (2048,)
    repetitions: int = 5


REHEARSAL = Size((256, 64), 256, 256, (64, 8), (64,), (8,), 1)


def timed(work: Callable[[], Any], particle_steps: int, repetitions: int) -> list[float]:
    """Nanoseconds of wall time per particle-step, call by call; the first call compiles and does not count."""
    work()
    taken = []
    for _ in range(repetitions):
        start = time.perf_counter()
        work()
        taken.append((time.perf_counter() - start) / particle_steps * 1e9)
    return taken


# -------------------------------------------------------------------------------------- the parts


def close(without: tuple[str, ...]) -> None:
    """Take these ways of a GPU no more, in this process."""
    for way in gpu.WAYS:
        if way.name in without:
            way.close("closed by the benchmark")


def engine(scheme: str, size: Size, written_out: int | None = None, without: tuple[str, ...] = ()) -> Iterator[Row]:
    """mcdev's own groups of lanes; of the realisations asked for (padding of the last group is not counted).
    ``without``: names of ways of a GPU that are not taken."""
    close(without)
    if written_out is not None:
        langevin.WRITTEN_OUT[jax.default_backend()] = written_out
    for r in size.realisations:
        of = Engine(scheme, r)
        ns = timed(
            functools.partial(of.run, EVERY, size.steps, STEP, VOLTAGE), size.steps * PARTICLES * r, size.repetitions
        )
        pairs = langevin.WRITTEN_OUT[jax.default_backend()]
        lanes, ways = of.groups[0].lanes, gpu.described()
        yield {"scheme": scheme, "every": EVERY, "written_out": pairs, "realisations": r, "lanes": lanes} | {
            "ways": ways,
            "ns": ns,
        }


def by_hand(size: Size) -> Iterator[Row]:
    """The CUDA kernel, with everything that a call does, and the kernel alone; then what it gives."""
    for scheme in ("heun", "euler_maruyama"):
        kernel = reference.langevin_cuda(scheme == "heun", EVERY)
        if kernel is None:
            return
        for r in size.realisations:
            positions = np.random.default_rng(1).uniform(-1, 1, (r, PARTICLES))
            alone: list[float] = []

            def call(kernel: Any = kernel, positions: np.ndarray = positions, alone: list[float] = alone) -> None:
                alone.append(kernel(positions, size.steps, STEP, VOLTAGE)[1] / (size.steps * positions.size) * 1e9)

            ns = timed(call, size.steps * positions.size, size.repetitions)
            yield {"scheme": scheme, "every": EVERY, "realisations": r, "ns": ns, "kernel_ns": alone[1:]}
    checked = reference.langevin_cuda(False, 8)
    yield from agreement(size, lambda x: checked(x, CHECK_STEPS, CHECK_STEP, CHECK_VOLTAGE)[0])


def organic(preset: str, counts: tuple[int, ...]) -> Iterator[Row]:
    """A whole run of the turn-on protocol, measurement and statistics included, as a user has it."""
    for devices in counts:
        experiment = mcdev.build(
            {
                "name": "turn_on",
                "device": {
                    "preset": preset,
                    "thickness": {"distribution": "lognormal", "median": "100 nm", "sigma": 0.03},
                },
                "protocol": {"kind": "pulse", "amplitude": "3.5 V", "width": "20 s", "relaxation": "20 s"},
                "measurements": {"tau_on": {"kind": "exponential_fit"}},
                "ensemble": {"devices": devices},
            }
        )
        taken = []
        for _ in range(2):
            start = time.perf_counter()
            ensemble.simulate(experiment)
            taken.append(time.perf_counter() - start)
        rate = devices / taken[1]
        yield {"preset": preset, "devices": devices, "first_s": taken[0], "s": taken[1], "devices_per_s": rate}


def agreement(
    size: Size, kernel: Callable[[np.ndarray], np.ndarray] | None = None, without: tuple[str, ...] = ()
) -> Iterator[Row]:
    """Every g, its mean and the standard error on this process's backend, after the same time from the same initial
    state; of mcdev, or of another kernel."""
    close(without)
    of = Engine("euler_maruyama", size.checked)
    from_rest = of.positions[: size.checked]
    g = of.run(8, CHECK_STEPS, CHECK_STEP, CHECK_VOLTAGE) if kernel is None else kernel(from_rest)
    g = g[: size.checked]
    yield {"mean_g": float(g.mean()), "standard_error": float(g.std(ddof=1) / np.sqrt(g.size)), "g": g}


def plain(size: Size) -> Iterator[Row]:
    """The same step as a user would write it."""
    realisations, steps = size.naive
    positions = np.random.default_rng(1).uniform(-1, 1, (realisations, PARTICLES))
    for name, run in naive.available(naive.ON_GPU).items():
        ns = timed(functools.partial(run, positions, steps, STEP, VOLTAGE), steps * positions.size, 1)
        yield {"contestant": name, "realisations": realisations, "ns": ns}


def tests(_: Size) -> Iterator[Row]:
    """The tests of the numbers and of the loop on this device; their exit code."""
    files = ["test_noise.py", "test_langevin.py", "test_tunnelling.py", "test_landscape.py", "test_gpu.py"]
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", *(str(HOUSE / "tests" / name) for name in files)]
    yield {"exit_code": subprocess.run(command, cwd=HOUSE).returncode}


@dataclass(frozen=True)
class Part:
    rows: Callable[[Size], Iterator[Row]]
    most: int
    """Seconds that it may take."""
    platform: str | None = None
    """JAX's, where it is not the default."""


BOTH = ("graphs", "kernel")
PARTS = {
    "heun": Part(lambda size: engine("heun", size), 90),
    "agreement": Part(agreement, 40),
    "heun, loop": Part(lambda size: engine("heun", size, without=("kernel",)), 60),
    "agreement, loop": Part(lambda size: agreement(size, without=("kernel",)), 40),
    "heun, host": Part(lambda size: engine("heun", size, without=("graphs",)), 60),
    "heun, loop, host": Part(lambda size: engine("heun", size, without=BOTH), 60),
    "level 1": Part(lambda size: organic("device_1s", size.compact), 45),
    "level 2": Part(lambda size: organic("device_1s_pnp", size.resolved), 60),
    "cuda": Part(by_hand, 45),
    "euler": Part(lambda size: engine("euler_maruyama", size), 45),
    "level 2, cpu": Part(lambda size: organic("device_1s_pnp", size.resolved), 40, "cpu"),
    "plain": Part(plain, 40),
    "pairs 1": Part(lambda size: engine("heun", size, 1, ("kernel",)), 30),
    "tests": Part(tests, LIMIT),
}
IN_THE_BACKGROUND = Part(agreement, LIMIT, "cpu")
"""Runs on the processor beside all the others."""
SHARE_OF_TESTS = 70
"""Seconds that no other part may take."""


# -------------------------------------------------------------------------------------- one after the other


def words(row: Row) -> str:
    """A row of the table."""
    shown = []
    for key, value in row.items():
        if key in ("ns", "kernel_ns"):
            shown.append(f"{key} {min(value):.5f}" if value else f"{key} none")
        else:
            shown.append(f"{key} {value:.5g}" if isinstance(value, float) else f"{key} {value}")
    return ", ".join(shown)


def start(name: str, of: Part, out: Path, rehearse: bool) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "--part", name, "--out", str(out), *(["--rehearse"] if rehearse else [])]
    own = {"JAX_PLATFORMS": of.platform} if of.platform else {}
    return subprocess.Popen(command, env=os.environ | own, start_new_session=True)


def ended(process: subprocess.Popen[bytes], seconds: float) -> str:
    """How a part ended; one whose time is up is stopped."""
    try:
        code = process.wait(max(seconds, 0.1))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # what it has started, too
        process.wait()
        return f"stopped after {seconds:.0f} s"
    return "done" if code == 0 else f"failed, exit code {code}"


def values(out: Path, part: str) -> Path:
    """Where every g of a part is kept while the script runs."""
    return out / f"g {part}.npy"


def rows_of(out: Path) -> list[Row]:
    file = out / "gpu.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def collect(out: Path, outcomes: dict[str, str]) -> dict[str, float]:
    """`gpu.json` from all rows, and `accelerators.json`, from which `mcdev run --dry-run` estimates once it stands in
    the package; returns the distances of mean g from the CPU's, in standard errors. Beside them stands the Kolmogorov-
    Smirnov test's p that both are of one distribution."""
    rows = rows_of(out)
    means = {row["part"]: row for row in rows if "mean_g" in row}
    distances, alike = {}, {}
    if here := means.pop("agreement, cpu", None):
        own = np.load(values(out, "agreement, cpu"))
        for name, row in means.items():
            error = np.hypot(row["standard_error"], here["standard_error"])
            distances[name] = float((row["mean_g"] - here["mean_g"]) / error)
            alike[name] = float(stats.ks_2samp(np.load(values(out, name)), own).pvalue)
    everything = {"machine": machine(), "outcomes": outcomes, "rows": rows, "distances": distances, "alike": alike}
    (out / "gpu.json").write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    own = [row for row in rows if row["part"] == "heun"]
    if own:
        figures = sorted(
            ({"realisations": r["realisations"], "ns_per_step": min(r["ns"])} for r in own),
            key=lambda f: f["realisations"],
        )
        known = {jax.devices()[0].device_kind: {"diffusive": figures}}
        (out / "accelerators.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return distances


def compare(out: Path) -> None:
    """The fast ways beside the plain ones, in words."""
    best = {(row["part"], row.get("realisations")): min(row["ns"]) for row in rows_of(out) if row.get("ns")}
    for (part, size), ns in best.items():
        if part.startswith("heun, ") and ("heun", size) in best:
            print(f"{part}, {size} realisations: {ns / best['heun', size]:.2f} times as long as in all fast ways")


def main(out: Path, rehearse: bool) -> None:
    begin, limit = time.perf_counter(), LIMIT if not rehearse else 10 * LIMIT
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # parts share the GPU with this process
    if jax.default_backend() != "gpu" and not rehearse:
        print(f"no GPU here: JAX finds only {jax.devices()}; nothing was measured")
        return
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu.jsonl").unlink(missing_ok=True)
    print(f"{jax.devices()[0].device_kind}: ns of wall time per particle-step, the best call", flush=True)
    beside = start("agreement, cpu", IN_THE_BACKGROUND, out, rehearse)
    outcomes = {}
    for name, part in PARTS.items():
        left = limit - (time.perf_counter() - begin) - (0 if name == "tests" else SHARE_OF_TESTS)
        if left < 5:
            outcomes[name] = "left out: time is up"
        else:
            outcomes[name] = ended(start(name, part, out, rehearse), left if rehearse else min(part.most, left))
        print(f"== {name}: {outcomes[name]} ({time.perf_counter() - begin:.0f} s)", flush=True)
        collect(out, outcomes)
    outcomes["agreement, cpu"] = ended(beside, limit + 5 - (time.perf_counter() - begin))
    distances = collect(out, outcomes)
    for name, distance in distances.items():
        print(f"mean g, {name}: {distance:+.2f} standard errors from the CPU's")
    compare(out)
    print(f"written: {out / 'gpu.json'}")
    alike = json.loads((out / "gpu.json").read_text(encoding="utf-8"))["alike"]
    for name in alike:
        values(out, name).unlink()
    values(out, "agreement, cpu").unlink(missing_ok=True)
    if any(abs(distance) > 4 for distance in distances.values()) or any(p < 1e-4 for p in alike.values()):
        sys.exit(f"GPU and CPU do not agree: {distances}, p that both are of one distribution {alike}")
    failed = [name for name, how in outcomes.items() if how.startswith("failed")]
    failed += [row["part"] for row in rows_of(out) if row.get("exit_code")]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def do(name: str, out: Path, rehearse: bool) -> None:
    """One part, in this process: every row is written and printed as it is measured."""
    part = IN_THE_BACKGROUND if name == "agreement, cpu" else PARTS[name]
    for row in part.rows(REHEARSAL if rehearse else Size()):
        if "g" in row:
            np.save(values(out, name), row.pop("g"))
        with (out / "gpu.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"part": name} | row) + "\n")
        print(f"{name:14} {words(row)}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of all files")
    parser.add_argument("--rehearse", action="store_true", help="every part once, small, on whatever JAX finds")
    parser.add_argument("--part", help="one part only, in this process")
    asked = parser.parse_args()
    if asked.part:
        do(asked.part, asked.out, asked.rehearse)
    else:
        main(asked.out, asked.rehearse)
