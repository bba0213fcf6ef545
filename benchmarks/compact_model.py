"""What a step of the compact OMIEC model costs: mcdev, C++, NumPy and Numba, the same scheme, 10 000 devices, one core.

    python benchmarks/compact_model.py

Every contestant takes the same steps of the same exponential scheme in float64 for the same devices under 3.5 V and
ends at the same charge (checked to 1e-9). They take turns; the figure is processor time of the best round.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
import reference
from step_cost import pin, ratio, record

from mcdev.devices.omiec_compact import OmiecCompact, OmiecCompactDevices, OmiecState
from mcdev.integrators.interval import Interval
from mcdev.simulation.program import compiler_options

DEVICES, STEPS, STEP, VOLTAGE, ROUNDS = 10_000, 1000, 2e-3, 3.5, 5
CAP = 3.0

Contestant = Callable[[], np.ndarray]


def parameters(devices: int) -> dict[str, np.ndarray]:
    """Device-1S with 5 % spread in its rates."""
    spread = np.exp(0.05 * np.random.default_rng(1).standard_normal((3, devices)))
    return {
        "rate": 7.72 / 16.958 * spread[0],
        "alpha": np.full(devices, 0.117),
        "hopping": 2.673 * spread[1],
        "fast": (7.894 + 7.72 / 2.817) * spread[2],
    }


def numpy_steps(p: dict[str, np.ndarray], steps: int) -> np.ndarray:
    q, m = np.zeros_like(p["rate"]), np.zeros_like(p["rate"])
    for _ in range(steps):
        whole = 1.0 + np.abs(q)
        power = whole ** p["alpha"]
        drive = (VOLTAGE - q * power) / p["hopping"]
        capped = np.clip(drive, -CAP, CAP)
        f = p["rate"] * p["hopping"] * np.sinh(capped)
        du = power * (1.0 + p["alpha"] * np.abs(q) / whole)
        z = STEP * np.where(np.abs(drive) < CAP, -p["rate"] * np.cosh(capped) * du, 0.0)
        small = np.abs(z) < 1e-4
        q = q + STEP * f * np.where(small, 1.0 + 0.5 * z, np.expm1(z) / np.where(small, 1.0, z))
        m = m - (VOLTAGE - m) * np.expm1(-p["fast"] * STEP)
    return q + 0.0 * m


def numba_steps() -> Callable[[dict[str, np.ndarray], int], np.ndarray]:
    import numba

    @numba.njit(fastmath=True, error_model="numpy")
    def loop(
        rate: Any, alpha: Any, hopping: Any, fast: Any, steps: int, step: float, voltage: float, cap: float
    ) -> Any:
        out = np.empty_like(rate)
        for i in range(rate.size):
            q, m = 0.0, 0.0
            for _ in range(steps):
                whole = 1.0 + abs(q)
                power = whole ** alpha[i]
                drive = (voltage - q * power) / hopping[i]
                capped = min(max(drive, -cap), cap)
                f = rate[i] * hopping[i] * np.sinh(capped)
                du = power * (1.0 + alpha[i] * abs(q) / whole)
                z = -step * rate[i] * np.cosh(capped) * du if abs(drive) < cap else 0.0
                phi = 1.0 + 0.5 * z if abs(z) < 1e-4 else np.expm1(z) / z
                q += step * f * phi
                m -= (voltage - m) * np.expm1(-fast[i] * step)
            out[i] = q + 0.0 * m
        return out

    def run(p: dict[str, np.ndarray], steps: int) -> np.ndarray:
        return np.asarray(loop(p["rate"], p["alpha"], p["hopping"], p["fast"], steps, STEP, VOLTAGE, CAP))

    return run


def mcdev_steps(p: dict[str, np.ndarray], steps: int, every: int) -> np.ndarray:
    """The device's own ``advance`` in groups of lanes, ``every`` steps a call of it, as in a run."""
    lanes = OmiecCompact.lanes["cpu"]
    out = []
    for first in range(0, p["rate"].size, lanes):
        part = {name: np.resize(value[first : first + lanes], lanes) for name, value in p.items()}
        out.append(np.asarray(_advance(_devices(part), steps // every, every // 2)))
    return np.concatenate(out)[: p["rate"].size]


def _devices(part: dict[str, np.ndarray]) -> OmiecCompactDevices:
    one = jnp.ones_like(jnp.asarray(part["rate"]))
    return OmiecCompactDevices(
        parameters={"stiffening": jnp.asarray(part["alpha"])},
        rate=jnp.asarray(part["rate"]),
        fast=jnp.asarray(part["fast"]),
        hopping=jnp.asarray(part["hopping"]),
        geometric=one,
        layers=one,
    )


@partial(jax.jit, compiler_options=compiler_options("cpu"))
def _advance(devices: OmiecCompactDevices, intervals: int, pairs: int) -> jax.Array:
    key = (jnp.zeros(1, jnp.uint32), jnp.zeros(1, jnp.uint32))
    volts = jnp.full_like(devices.rate, VOLTAGE)
    interval = Interval.alike(jnp.asarray(STEP, volts.dtype), jnp.uint32(pairs), volts.size)

    def body(_: int, state: OmiecState) -> OmiecState:
        return devices.advance(state, volts, volts, interval, key, interval.pairs)

    return jax.lax.fori_loop(0, intervals, body, devices.rest(key)).q


def main() -> None:
    pin(1)
    p = parameters(DEVICES)
    found: dict[str, Contestant] = {
        "mcdev, 2 steps an interval": lambda: mcdev_steps(p, STEPS, 2),
        "mcdev, 20 steps an interval": lambda: mcdev_steps(p, STEPS, 20),
        "NumPy": lambda: numpy_steps(p, STEPS),
    }
    try:
        numba = numba_steps()
        found["Numba"] = lambda: numba(p, STEPS)
    except ImportError:
        print("Numba is not installed: left out")
    kernel = reference.compact(STEP, VOLTAGE, CAP)
    if kernel is not None:
        found["C++, 2 steps an interval"] = lambda: kernel(p, STEPS, 2)
        found["C++, 20 steps an interval"] = lambda: kernel(p, STEPS, 20)
    taken: dict[str, list[float]] = {name: [] for name in found}
    with jax.enable_x64(True):
        expected = found["NumPy"]()
        for round_ in range(ROUNDS + 1):  # the first compiles
            for name, run in found.items():
                begin = time.process_time()
                q = run()
                if round_:
                    taken[name].append((time.process_time() - begin) / (DEVICES * STEPS) * 1e9)
                np.testing.assert_allclose(q, expected, rtol=1e-9)
        sizes = {}
        for devices in (100, 1000, 10_000, 100_000):
            some = parameters(devices)
            mcdev_steps(some, 200, 20)
            begin = time.process_time()
            mcdev_steps(some, 200, 20)
            sizes[devices] = (time.process_time() - begin) / (devices * 200) * 1e9
    best = {name: min(times) for name, times in taken.items()}
    print(f"\n{DEVICES} devices, {STEPS} steps, float64, one core; ns of processor time per device-step")
    own = "mcdev, 20 steps an interval"
    ratios = {name: ratio(taken, name, own) for name in taken}
    for name, times in taken.items():
        middle, spread = ratios[name]
        print(f"{name:30}{best[name]:8.1f}{statistics.median(times):8.1f}{middle:8.2f} ± {spread:.2f}")
    print(f"columns: best round, median, median ratio to '{own}'; load {os.getloadavg()[0]:.1f}")
    if kernel is not None:
        for every in (2, 20):
            middle, spread = ratio(taken, *(f"{who}, {every} steps an interval" for who in ("mcdev", "C++")))
            print(f"mcdev is {middle:.2f} ± {spread:.2f} times the C++ loop at {every} steps an interval")
    print("cost against devices:", ", ".join(f"{n}: {ns:.1f} ns" for n, ns in sizes.items()))
    record(
        "compact_model",
        {
            "ns_per_device_step": best,
            "median": {n: statistics.median(t) for n, t in taken.items()},
            "ratios": ratios,
            "against_devices": sizes,
        },
    )


if __name__ == "__main__":
    main()
