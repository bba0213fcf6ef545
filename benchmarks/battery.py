"""A statistical battery over mcdev's random numbers, in the order in which the simulator keys them.

    python -m benchmarks battery                          1 GiB of each stream, results/battery.json
    python -m benchmarks battery --length 64GB --streams steps
    python benchmarks/battery.py --emit particles | RNG_test stdin32       the raw words

The words are those of the compiled generator: both halves of Threefry for (seed, device, cycle), (pair of steps,
particle). What differs between the streams is which index runs fastest:

realisations  2^20 devices, then particles, then steps
steps         2^16 pairs of steps, then particles, then devices
particles     40 particles, then pairs of steps, then devices
cycles        2^16 cycles of one device, then devices: of each the first number alone

The battery is PractRand's ``RNG_test``, an external program that is looked for on the path or at --tool. It is not part
of mcdev: build it from its sources (pracrand.sourceforge.net). Without it, Debian's ``dieharder`` is taken.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcdev.integrators.noise import realisation_key, threefry
from mcdev.simulation.program import compiler_options

SEED, PARTICLES = 1, 40
WIDE, LONG = 2**20, 2**16


@partial(jax.jit, compiler_options=compiler_options(jax.default_backend()))
def words(device: Any, cycle: Any, pair: Any, particle: Any) -> Any:
    """Both words of each number named by these indices of one shape: [index, 2]."""
    device, cycle, pair, particle = jnp.broadcast_arrays(device, cycle, pair, particle)
    key = jax.vmap(lambda d, c: realisation_key(jnp.uint32(SEED), d, c))(device, cycle)
    return jnp.stack(threefry(key, (pair, particle)), axis=-1)


def run(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.uint32)


def realisations() -> Iterator[np.ndarray]:
    for block in range(2**32):
        yield words(run(WIDE), np.uint32(0), np.uint32(block // PARTICLES), np.uint32(block % PARTICLES))


def steps() -> Iterator[np.ndarray]:
    for block in range(2**32):
        yield words(np.uint32(block // PARTICLES), np.uint32(0), run(LONG), np.uint32(block % PARTICLES))


def particles() -> Iterator[np.ndarray]:
    pair, particle = np.repeat(run(LONG), PARTICLES), np.tile(run(PARTICLES), LONG)
    for device in range(2**32):
        yield words(np.uint32(device), np.uint32(0), pair, particle)


def cycles() -> Iterator[np.ndarray]:
    for device in range(2**32):
        yield words(np.uint32(device), run(LONG), np.uint32(0), np.uint32(0))


STREAMS: dict[str, Callable[[], Iterator[Any]]] = {
    "realisations": realisations,
    "steps": steps,
    "particles": particles,
    "cycles": cycles,
}


def emit(stream: str) -> None:
    """The stream as raw little-endian words on standard output, until the reader has enough."""
    try:
        for block in STREAMS[stream]():
            sys.stdout.buffer.write(np.ascontiguousarray(block, "<u4").tobytes())
    except BrokenPipeError:
        sys.stderr.close()  # the reader has left; the interpreter would complain about the pipe at its end


def battery(tool: str | None) -> list[str]:
    """The command that reads words from its standard input."""
    practrand = tool or shutil.which("RNG_test")
    if practrand:
        return [practrand, "stdin32", "-tlmax", "LENGTH"]
    if shutil.which("dieharder"):
        return ["dieharder", "-a", "-g", "200"]
    sys.exit("neither PractRand's RNG_test nor dieharder is here: build the first and name it with --tool")


def verdict(text: str) -> dict[str, Any]:
    """What the battery found: the lengths that it evaluated, and every result that it calls worse than normal."""
    lengths = re.findall(r"length= (.+?) \(2\^(\d+) bytes\)", text)
    lines = [line.strip() for line in text.splitlines()]
    worse = [line for line in lines if re.search(r"unusual|mildly|suspicious|FAIL|WEAK|FAILED", line)]
    failed = [line for line in worse if re.search(r"very suspicious|FAIL", line)]
    tests = [int(n) for n in re.findall(r"(?:in|and) (\d+) test result", text)]
    return {
        "bytes_log2": int(lengths[-1][1]) if lengths else None,
        "tests": tests[-1] if tests else sum("PASSED" in line for line in lines),
        "remarked": worse,
        "failed": failed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emit", choices=STREAMS, help="write the raw words of one stream to standard output")
    parser.add_argument("--streams", nargs="+", choices=STREAMS, default=list(STREAMS))
    parser.add_argument("--length", default="1GB", help="of each stream (PractRand's notation)")
    parser.add_argument("--tool", help="path of PractRand's RNG_test")
    given = parser.parse_args()
    if given.emit:
        emit(given.emit)
        return
    from step_cost import record

    command = [given.length if word == "LENGTH" else word for word in battery(given.tool)]
    found: dict[str, Any] = {}
    for stream in given.streams:
        begin = time.perf_counter()
        source = subprocess.Popen([sys.executable, __file__, "--emit", stream], stdout=subprocess.PIPE)
        done = subprocess.run(command, stdin=source.stdout, capture_output=True, text=True)
        source.kill()
        source.wait()
        found[stream] = verdict(done.stdout) | {"seconds": round(time.perf_counter() - begin)}
        row = found[stream]
        print(
            f"{stream}: 2^{row['bytes_log2']} bytes, {row['tests']} tests, {len(row['failed'])} failed, "
            f"{len(row['remarked'])} remarked, {row['seconds']} s",
            flush=True,
        )
        for line in row["remarked"]:
            print(f"  {line}")
        if not row["tests"]:
            sys.exit(f"the battery said nothing:\n{done.stdout}{done.stderr}")
    record("battery", {"battery": Path(command[0]).name, "streams": found})
    if any(row["failed"] for row in found.values()):
        sys.exit("not random enough")


if __name__ == "__main__":
    main()
