"""The same step as a user would write it without mcdev: NumPy, Numba, JAX and diffrax; on a GPU CuPy, Numba and JAX.

    x  ← reflect(x + h [-U'(x) + f v] + sqrt(2 θ h) ξ),   h = dt/η        (Euler-Maruyama)
    g  = 41 / Σ exp[(gap - 2/41)/λ]   over the sorted positions
    θ  ← θ + dt [v² g - (θ - θ0)]

Every contestant is a function (positions [R, P], steps, dt, v) → g [R], in reduced units with the parameters of
the preset ``wang2017_reduced``. One whose package is missing is left out, and said so.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

W_I, X_C, R_I, R_P = 4.5, 0.85, 0.1, 0.15
TUNNELLING, DRIFT, ETA, THETA_0 = 0.2, 9.0, 4.0, 0.45

Contestant = Callable[[np.ndarray, int, float, float], np.ndarray]


def force(np_: Any, x: Any) -> Any:
    """-U'(x) with the array functions of ``np_``."""
    left, right = (x + X_C) / R_I, (x - X_C) / R_I
    wells = -2 * W_I / R_I * (left * np_.exp(-left * left) + right * np_.exp(-right * right))
    return wells - np.pi / R_P * np_.cos(2 * np.pi / R_P * x)


def conductance(np_: Any, x: Any) -> Any:
    """G/G_max of positions [..., P]."""
    x = np_.sort(x, axis=-1)
    gaps = x.shape[-1] + 1
    chain = np_.exp((x[..., 1:] - x[..., :-1] - 2 / gaps) / TUNNELLING).sum(-1)
    chain = chain + np_.exp((x[..., 0] + 1 - 2 / gaps) / TUNNELLING)
    return gaps / (chain + np_.exp((1 - x[..., -1] - 2 / gaps) / TUNNELLING))


def reflect(np_: Any, x: Any) -> Any:
    x = np_.where(x > 1, 2 - x, x)
    return np_.where(x < -1, -2 - x, x)


def arrays(np_: Any, dtype: Any) -> Contestant:
    """One array operation after the other, with NumPy or CuPy."""
    random = np_.random.default_rng(1)

    def run(x0: np.ndarray, steps: int, dt: float, v: float) -> np.ndarray:
        x, theta = np_.asarray(x0, dtype), np_.full(len(x0), THETA_0, dtype)
        h = dt / ETA
        for _ in range(steps):
            theta += dt * (v * v * conductance(np_, x) - (theta - THETA_0))
            noise = random.standard_normal(x.shape, dtype)
            x = reflect(np_, x + h * (force(np_, x) + DRIFT * v) + np_.sqrt(2 * h * theta)[:, None] * noise)
        g = conductance(np_, x)
        return np.asarray(g if np_ is np else np_.asnumpy(g))

    return run


def numba_loops(in_place: bool) -> Contestant:
    """Plain loops in float64, compiled. ``in_place``: particles are alike, so the array itself may be kept in
    order, by insertion sort, which costs little when few particles have passed each other."""
    numba = importlib.import_module("numba")

    def order(x: Any) -> Any:
        if not in_place:
            return np.sort(x)
        for i in range(1, len(x)):
            value, j = x[i], i - 1
            while j >= 0 and x[j] > value:
                x[j + 1] = x[j]
                j -= 1
            x[j + 1] = value
        return x

    order = numba.njit(order)

    def relative(x: Any) -> Any:
        y, gaps, total, last = order(x), len(x) + 1, 0.0, -1.0
        for i in range(len(y)):
            total += np.exp((y[i] - last - 2 / gaps) / TUNNELLING)
            last = y[i]
        return gaps / (total + np.exp((1 - last - 2 / gaps) / TUNNELLING))

    relative = numba.njit(relative)

    def loops(x: Any, steps: Any, dt: Any, v: Any, random: Any) -> Any:
        result, h = np.empty(len(x)), dt / ETA
        for r in range(len(x)):
            theta, row = THETA_0, x[r]
            for _ in range(steps):
                theta += dt * (v * v * relative(row) - (theta - THETA_0))
                amplitude = np.sqrt(2 * h * theta)
                for i in range(len(row)):
                    left, right = (row[i] + X_C) / R_I, (row[i] - X_C) / R_I
                    f = -2 * W_I / R_I * (left * np.exp(-left * left) + right * np.exp(-right * right))
                    f -= np.pi / R_P * np.cos(2 * np.pi / R_P * row[i])
                    y = row[i] + h * (f + DRIFT * v) + amplitude * random.standard_normal()
                    if y > 1:
                        y = 2 - y
                    if y < -1:
                        y = -2 - y
                    row[i] = y
            result[r] = relative(row)
        return result

    compiled, random = numba.njit(loops), np.random.default_rng(1)

    def run(x0: np.ndarray, steps: int, dt: float, v: float) -> np.ndarray:
        return np.asarray(compiled(x0.astype(np.float64), steps, dt, v, random))

    return run


def numba_cuda() -> Contestant:
    """A thread of the GPU for each realisation, its particles in local memory, kept in order by insertion sort;
    float32, Numba's xoroshiro128+ normals."""
    cuda, random = importlib.import_module("numba.cuda"), importlib.import_module("numba.cuda.random")
    if not cuda.is_available():
        raise ModuleNotFoundError("no GPU for Numba", name="numba-cuda")
    math, numba = importlib.import_module("math"), importlib.import_module("numba")
    one, two, most = np.float32(1), np.float32(2), 64

    def relative(x: Any, count: Any) -> Any:
        for i in range(1, count):
            value, j = x[i], i - 1
            while j >= 0 and x[j] > value:
                x[j + 1] = x[j]
                j -= 1
            x[j + 1] = value
        gaps, total, last = count + 1, np.float32(0), -one
        equal, rate = np.float32(2.0 / gaps), np.float32(1 / TUNNELLING)
        for i in range(count):
            total += math.exp((x[i] - last - equal) * rate)
            last = x[i]
        return np.float32(gaps) / (total + math.exp((one - last - equal) * rate))

    relative = cuda.jit(device=True)(relative)
    well, turn = np.float32(-2 * W_I / R_I), np.float32(2 * np.pi / R_P)
    centre, per_width, slope = np.float32(X_C), np.float32(1 / R_I), np.float32(np.pi / R_P)
    cold, pulling = np.float32(THETA_0), np.float32(DRIFT)

    def kernel(positions: Any, g: Any, states: Any, steps: Any, dt: Any, v: Any) -> None:
        r = cuda.grid(1)
        if r >= g.size:
            return
        x, count = cuda.local.array(most, numba.float32), positions.shape[1]
        for i in range(count):
            x[i] = positions[r, i]
        theta, h = cold, dt / np.float32(ETA)
        for _ in range(steps):
            theta += dt * (v * v * relative(x, count) - (theta - cold))
            amplitude = math.sqrt(two * h * theta)
            for i in range(count):
                left, right = (x[i] + centre) * per_width, (x[i] - centre) * per_width
                f = well * (left * math.exp(-left * left) + right * math.exp(-right * right))
                f += pulling * v - slope * math.cos(turn * x[i])
                y = x[i] + h * f + amplitude * random.xoroshiro128p_normal_float32(states, r)
                if y > one:
                    y = two - y
                if y < -one:
                    y = -two - y
                x[i] = y
        g[r] = relative(x, count)

    kernel = cuda.jit(kernel)

    def run(x0: np.ndarray, steps: int, dt: float, v: float) -> np.ndarray:
        if x0.shape[1] > most:
            raise ValueError(f"written for {most} particles at most, not {x0.shape[1]}")
        states = random.create_xoroshiro128p_states(len(x0), seed=1)
        g = cuda.device_array(len(x0), np.float32)
        where = cuda.to_device(np.ascontiguousarray(x0, np.float32))
        kernel[-(-len(x0) // 128), 128](where, g, states, steps, np.float32(dt), np.float32(v))
        return np.asarray(g.copy_to_host())

    return run


def cupy_arrays() -> Contestant:
    """The NumPy program with CuPy's arrays; float32."""
    return arrays(importlib.import_module("cupy"), np.float32)


def naive_jax() -> Contestant:
    """vmap over realisations, scan over steps, a key a step; float32."""

    def one(x: Any, key: Any, dt: Any, v: Any, steps: int) -> Any:
        h = dt / ETA

        def step(carry: Any, key: Any) -> Any:
            x, theta = carry
            theta = theta + dt * (v * v * conductance(jnp, x) - (theta - THETA_0))
            noise = jnp.sqrt(2 * h * theta) * jax.random.normal(key, x.shape)
            return (reflect(jnp, x + h * (force(jnp, x) + DRIFT * v) + noise), theta), None

        (x, _), _ = jax.lax.scan(step, (x, jnp.float32(THETA_0)), jax.random.split(key, steps))
        return conductance(jnp, x)

    @partial(jax.jit, static_argnums=3)
    def many(x: Any, dt: Any, v: Any, steps: int) -> Any:
        keys = jax.random.split(jax.random.key(1), len(x))
        return jax.vmap(lambda x, key: one(x, key, dt, v, steps))(x, keys)

    return lambda x0, steps, dt, v: np.asarray(many(jnp.asarray(x0, jnp.float32), dt, v, steps))


def diffrax_euler() -> Contestant:
    """diffeqsolve with Euler and UnsafeBrownianPath; float32. diffrax knows no walls, so the particles move on the
    unfolded line, of which the gap is the mirror image: the same law step by step as reflection."""
    dfx, lineax = importlib.import_module("diffrax"), importlib.import_module("lineax")

    def folded(z: Any) -> Any:
        turns = jnp.mod(z + 1, 4.0)
        return jnp.where(turns < 2, turns - 1, 3 - turns), jnp.where(turns < 2, 1.0, -1.0)

    def drift(t: Any, y: Any, v: Any) -> Any:
        x, side = folded(y[:-1])
        warming = v * v * conductance(jnp, x) - (y[-1] - THETA_0)
        return jnp.append(side * (force(jnp, x) + DRIFT * v) / ETA, warming)

    def diffusion(t: Any, y: Any, v: Any) -> Any:
        amplitude = jnp.sqrt(2 * y[-1] / ETA)
        return lineax.DiagonalLinearOperator(jnp.append(jnp.broadcast_to(amplitude, y[:-1].shape), 0.0))

    def one(x: Any, key: Any, end: Any, dt: Any, v: Any) -> Any:
        path = dfx.UnsafeBrownianPath((x.shape[0] + 1,), key)
        terms = dfx.MultiTerm(dfx.ODETerm(drift), dfx.ControlTerm(diffusion, path))
        solution = dfx.diffeqsolve(
            terms, dfx.Euler(), 0.0, end, dt, jnp.append(x, THETA_0), args=v, max_steps=None, adjoint=dfx.ForwardMode()
        )
        return conductance(jnp, folded(solution.ys[-1, :-1])[0])

    @jax.jit
    def many(x: Any, end: Any, dt: Any, v: Any) -> Any:
        keys = jax.random.split(jax.random.key(1), len(x))
        return jax.vmap(one, in_axes=(0, 0, None, None, None))(x, keys, end, dt, v)

    return lambda x0, steps, dt, v: np.asarray(many(jnp.asarray(x0, jnp.float32), steps * dt, dt, v))


CONTESTANTS: dict[str, Callable[[], Contestant]] = {
    "NumPy float64": partial(arrays, np, np.float64),
    "NumPy float32": partial(arrays, np, np.float32),
    "Numba float64": partial(numba_loops, False),
    "Numba float64, kept in order": partial(numba_loops, True),
    "naive JAX float32": naive_jax,
    "diffrax float32": diffrax_euler,
}


ON_GPU: dict[str, Callable[[], Contestant]] = {
    "naive JAX float32": naive_jax,
    "CuPy float32": cupy_arrays,
    "Numba-CUDA float32": numba_cuda,
}


def available(all_: dict[str, Callable[[], Contestant]] = CONTESTANTS) -> dict[str, Contestant]:
    """Every contestant whose package is installed."""
    found = {}
    for name, make in all_.items():
        try:
            found[name] = make()
        except ModuleNotFoundError as error:
            print(f"left out: {name} (package '{error.name}' is missing; pip install 'mcdev[benchmark]')")
    return found
