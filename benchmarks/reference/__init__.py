"""Hand-written C++ of two hot loops: what a step costs at least. Compiled on the spot with ``g++ -O3 -march=native``.

Only measured against, never shipped or used by mcdev. Where there is no compiler, they are left out and said so.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from mcdev.integrators.noise import realisation_key

HERE = Path(__file__).parent
FLAGS = {"langevin": (), "compact": ("-ffast-math", "-mprefer-vector-width=512")}
"""Beside -O3 -march=native. Fast arithmetic lets the compiler call its vector library's exponential."""
LANES = 64
"""Realisations that the Langevin kernel advances together."""


def build(name: str) -> ctypes.CDLL | None:
    """The kernel of this name, compiled for this processor; None where that cannot be."""
    compiler = shutil.which("g++")
    if compiler is None:
        print(f"left out: C++ {name} (no g++ here)")
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / f"{name}.so"
        command = [compiler, "-O3", "-march=native", *FLAGS[name], "-std=c++17", "-shared", "-fPIC"]
        done = subprocess.run([*command, str(HERE / f"{name}.cpp"), "-o", str(library)], capture_output=True, text=True)
        if done.returncode:
            print(f"left out: C++ {name} (g++: {next(iter(done.stderr.splitlines()), 'failed')})")
            return None
        return ctypes.CDLL(str(library))


def _pointers(*arrays: np.ndarray) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(array.ctypes.data) for array in arrays]


def langevin(heun: bool = False, rounds: int = 20, every: int = 64) -> Any:
    """(positions [R, P], steps, dt, v) → g [R], as the contestants of `naive.py`; None without a compiler."""
    library = build("langevin")
    if library is None:
        return None

    def run(positions: np.ndarray, steps: int, dt: float, v: float) -> np.ndarray:
        realisations, particles = positions.shape
        x = np.array(positions.T, np.float32, order="C")  # a copy: the kernel works in place
        g = np.empty(realisations, np.float32)
        keys = realisation_key(jnp.uint32(1), jnp.arange(realisations, dtype=jnp.uint32), jnp.uint32(0))
        k0, k1 = (np.ascontiguousarray(word) for word in keys)
        sizes = [ctypes.c_int(n) for n in (realisations, particles, steps, every)]
        numbers = [ctypes.c_float(dt), ctypes.c_float(v), ctypes.c_int(heun), ctypes.c_int(rounds)]
        if library.langevin(*_pointers(x, g, k0, k1), *sizes, *numbers):
            raise ValueError(f"{realisations} realisations of {particles} particles, {steps} steps: not written for it")
        return g

    return run


def compact(step: float, voltage: float, cap: float) -> Any:
    """(parameters, steps, steps an interval) → charge [device], as in `compact_model.py`; None without a compiler."""
    library = build("compact")
    if library is None:
        return None

    def run(p: dict[str, np.ndarray], steps: int, every: int) -> np.ndarray:
        q, m = np.zeros_like(p["rate"]), np.zeros_like(p["rate"])
        arrays = _pointers(q, m, *(p[name] for name in ("rate", "alpha", "hopping", "fast")))
        sizes = [ctypes.c_int(n) for n in (q.size, steps, every)]
        library.compact(*arrays, *sizes, *(ctypes.c_double(x) for x in (step, voltage, cap)))
        return q

    return run
