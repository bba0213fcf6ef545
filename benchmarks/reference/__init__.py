"""Hand-written C++ of two hot loops, and CUDA of one: what a step costs at least. Compiled on the spot with ``g++ -O3
-march=native`` and ``nvcc -O3 -arch=native``.

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
    return _built(f"{name}.cpp", "g++", ["-march=native", *FLAGS[name], "-fPIC"])


def _built(source: str, compiler: str, options: list[str]) -> ctypes.CDLL | None:
    if shutil.which(compiler) is None:
        print(f"left out: {source} (no {compiler} here)")
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = str(Path(folder) / "kernel.so")
        command = [compiler, "-O3", "-std=c++17", "-shared", *options, str(HERE / source), "-o", library]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"left out: {source} ({compiler}: {next(iter(done.stderr.splitlines()), 'failed')})")
            return None
        return ctypes.CDLL(library)


def _pointers(*arrays: np.ndarray) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(array.ctypes.data) for array in arrays]


def keys(realisations: int) -> list[np.ndarray]:
    """Both words of the keys of realisations 0, 1, … under seed 1, as mcdev has them."""
    words = realisation_key(jnp.uint32(1), jnp.arange(realisations, dtype=jnp.uint32), jnp.uint32(0))
    return [np.ascontiguousarray(word) for word in words]


def langevin(heun: bool = False, rounds: int = 20, every: int = 64) -> Any:
    """(positions [R, P], steps, dt, v) → g [R], as the contestants of `naive.py`; None without a compiler."""
    library = build("langevin")
    if library is None:
        return None

    def run(positions: np.ndarray, steps: int, dt: float, v: float) -> np.ndarray:
        realisations, particles = positions.shape
        x = np.array(positions.T, np.float32, order="C")  # a copy: the kernel works in place
        g = np.empty(realisations, np.float32)
        words = keys(realisations)  # held until the kernel has ended, which is given no more than their addresses
        sizes = [ctypes.c_int(n) for n in (realisations, particles, steps, every)]
        numbers = [ctypes.c_float(dt), ctypes.c_float(v), ctypes.c_int(heun), ctypes.c_int(rounds)]
        if library.langevin(*_pointers(x, g, *words), *sizes, *numbers):
            raise ValueError(f"{realisations} realisations of {particles} particles, {steps} steps: not written for it")
        return g

    return run


def langevin_cuda(heun: bool = False, every: int = 64) -> Any:
    """(positions [R, P], steps, dt, v) → (g [R], seconds of the kernel alone) on this GPU; None without a compiler."""
    library = _built("langevin.cu", "nvcc", ["-arch=native", "-Xcompiler", "-fPIC"])
    if library is None:
        return None
    if library.can_run():
        print("left out: langevin.cu (what CUDA says stands above)")
        return None

    def run(positions: np.ndarray, steps: int, dt: float, v: float) -> tuple[np.ndarray, float]:
        realisations, particles = positions.shape
        x = np.array(positions, np.float32, order="C")  # a copy: the kernel works in place
        g, milliseconds = np.empty(realisations, np.float32), ctypes.c_float()
        words = keys(realisations)  # held until the kernel has ended
        sizes = [ctypes.c_int(n) for n in (realisations, particles, steps, every)]
        numbers = [ctypes.c_float(dt), ctypes.c_float(v), ctypes.c_int(heun), ctypes.byref(milliseconds)]
        failed = library.langevin_cuda(*_pointers(x, g, *words), *sizes, *numbers)
        if failed == 1:
            raise ValueError(f"{realisations} realisations of {particles} particles, {steps} steps: not written for it")
        if failed:
            raise RuntimeError("the CUDA kernel failed; what CUDA says stands above")
        return g, milliseconds.value / 1e3

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
