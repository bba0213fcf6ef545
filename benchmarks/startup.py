"""From the command to the first chunk, cold and warm, and what importing costs: the quick-start configuration.

    python benchmarks/startup.py          table, and benchmarks/results/startup.json

Every figure is that of a fresh process: ``mcdev run configs/wang2017/fig4b_train.toml``, stopped when the first
finished chunk is in its folder. Cold: with an empty cache of compiled programs; warm: with what the cold run left. Wall
time, and the processor time of the process beside it, which other programs do not lengthen much.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from step_cost import record

CONFIG = Path(__file__).parents[1] / "configs" / "wang2017" / "fig4b_train.toml"
ROUNDS = 3
COMPILING = f"""
import collections, json, jax
spent = collections.Counter()
def count(event, seconds, **_): spent[event.rpartition("/")[2]] += seconds
jax.monitoring.register_event_duration_secs_listener(count)
import mcdev
from mcdev.simulation import ensemble
ensemble.simulate(mcdev.load({str(CONFIG)!r}).with_({{"ensemble.devices": 256}}), threads=1)
print(json.dumps({{"tracing": spent["jaxpr_trace_duration"] + spent["jaxpr_to_mlir_module_duration"],
    "compiling": spent["backend_compile_duration"]}}))
"""


def first_chunk(cache: Path, folder: Path) -> tuple[float, float]:
    """(wall, processor) seconds until a chunk, or with a single chunk the results, is on the disk."""
    command = [sys.executable, "-m", "mcdev", "run", str(CONFIG), "--no-figures"]
    environment = os.environ | {"MCDEV_COMPILATION_CACHE": str(cache)}
    begin = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--out", str(folder)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    watched = psutil.Process(process.pid)
    used = 0.0
    while process.poll() is None:
        used = sum(watched.cpu_times()[:2])
        if any(folder.glob("chunks/*.h5")) or (folder / "results.h5").exists():
            break
        time.sleep(0.01)
    wall = time.perf_counter() - begin
    process.kill()
    process.wait()
    return wall, used


def importing(what: str) -> float:
    """Processor seconds of a process that imports this and ends."""
    before = os.times()
    subprocess.run([sys.executable, "-c", what], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def compiling() -> dict[str, float]:
    """Seconds of a fresh process without a cache that go into tracing and into compiling, of the same configuration."""
    done = subprocess.run([sys.executable, "-c", COMPILING], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    cold, warm = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as place:
            for name, times in (("cold", cold), ("warm", warm)):
                times.append(first_chunk(Path(place) / "cache", Path(place) / name))
    imports = {
        what: min(importing(what) for _ in range(ROUNDS)) for what in ("import jax", "import mcdev.interface.cli")
    }
    compiled = compiling()
    load = os.getloadavg()[0]
    for name, times in (("cold", cold), ("warm", warm)):
        wall, used = (statistics.median(column) for column in zip(*times, strict=True))
        print(
            f"first chunk, {name}: {wall:.1f} s, of processor time {used:.1f} s (medians of {ROUNDS}, load {load:.1f})"
        )
    print("processor time of an import: " + ", ".join(f"{what}: {s:.2f} s" for what, s in imports.items()))
    print("without a cache: " + ", ".join(f"{what} {s:.2f} s" for what, s in compiled.items()))
    record("startup", {"cold": cold, "warm": warm, "imports": imports, "compiled": compiled, "load": load})


if __name__ == "__main__":
    main()
