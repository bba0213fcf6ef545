"""Exponential steps of ordinary differential equations, one or a few in each lane: exact where they are linear."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, UInt32

from mcdev.integrators.interval import Interval

PerLane = Float[Array, " lane"]
Rows = Float[Array, "row lane"]

_MOST_STEPS = 10_000
_SMALL = 8


def exact_relaxation(x: PerLane, target: PerLane, rate: PerLane, duration: PerLane) -> PerLane:
    """dx/dt = rate (target - x), solved exactly."""
    return x - (target - x) * jnp.expm1(-rate * duration)


def rosenbrock_euler(f: Callable[[PerLane], PerLane], x: PerLane, interval: Interval) -> PerLane:
    """x' = f(x) by x + h φ(h f') f, φ(z) = (e^z - 1)/z: order 2, exact for linear f, stable for any f' ≤ 0
    (exponential Rosenbrock-Euler; Hochbruck, Ostermann, Schweitzer 2009, doi:10.1137/080717717)."""

    def body(i: UInt32[Array, ""], x: PerLane) -> PerLane:
        here, slope = jax.jvp(f, (x,), (jnp.ones_like(x),))
        after = x + interval.step * _phi(interval.step * slope) * here
        return jnp.where(i < 2 * interval.pairs, after, x)

    # a known number of steps can be differentiated in reverse
    return lax.fori_loop(np.uint32(0), 2 * interval.most, body, x)


def adaptive_rosenbrock(f: Callable[[PerLane], PerLane], x: PerLane, duration: PerLane, tolerance: float) -> PerLane:
    """x' = f(x) through ``duration`` seconds, each lane with steps of its own: those of :func:`rosenbrock_euler`,
    each compared with two of half its length, whose error (a third of the difference, at order 2) stays below
    ``tolerance``. NaN where some ten thousand steps do not suffice.

    May be differentiated forwards; the choice of the steps is held.
    """
    one = jnp.ones_like(x)

    def tangent(x: PerLane) -> tuple[PerLane, PerLane]:
        here, slope = jax.jvp(f, (x,), (one,))
        return here, jnp.where(jnp.isfinite(slope), slope, 0.0)

    def attempt(x: PerLane, h: PerLane, left: PerLane) -> tuple[PerLane, PerLane, PerLane, PerLane]:
        here, slope = tangent(x)
        # A lane at rest stays there in one step, whatever its slope: only its tangent has a way to go.
        h = jnp.where(here == 0, left, h)
        whole = x + h * _phi(h * slope) * here
        middle = x + 0.5 * h * _phi(0.5 * h * slope) * here
        onward, bend = tangent(middle)
        after = middle + 0.5 * h * _phi(0.5 * h * bend) * onward
        return h, here, after, jnp.abs(after - whole) / 3.0

    return _in_own_steps(attempt, x, duration, tolerance)


def adaptive_system(
    f: Callable[[Rows], Rows], y: Rows, duration: PerLane, tolerance: Float[Array, "row lane"]
) -> Float[Array, "row lane"]:
    """y' = f(y) of a few coupled numbers in each lane, as :func:`adaptive_rosenbrock` does it with one: the derivative
    of f is a matrix, φ a function of it. ``tolerance``: of each number, the largest error of one step."""
    rows = y.shape[0]
    basis = jnp.broadcast_to(jnp.eye(rows, dtype=y.dtype)[:, :, None], (rows, *y.shape))

    def tangent(y: Rows) -> tuple[Rows, Array]:
        here, along = jax.linearize(f, y)
        slope = jnp.swapaxes(jax.vmap(along)(basis), 0, 1)  # [of, by, lane]
        return here, jnp.where(jnp.isfinite(slope), slope, 0.0)

    def attempt(y: Rows, h: PerLane, left: PerLane) -> tuple[PerLane, Rows, Rows, PerLane]:
        here, slope = tangent(y)
        whole = y + h * relaxation(-slope, h, here)
        middle = y + 0.5 * h * relaxation(-slope, 0.5 * h, here)
        onward, bend = tangent(middle)
        after = middle + 0.5 * h * relaxation(-bend, 0.5 * h, onward)
        return h, here, after, jnp.max(jnp.abs(after - whole) / (3.0 * tolerance), axis=0)

    return _in_own_steps(attempt, y, duration, 1.0)


def _in_own_steps(attempt: Callable[..., Any], x: Array, duration: PerLane, tolerance: float) -> Array:
    """``x``, [lane] or [row, lane], after ``duration`` seconds in steps that each lane chooses. ``attempt(x, h, left)``
    gives (the step's length, x' at its beginning, x after it, its error). What is no number will not become one."""
    least, over_rows = 1e-9 * duration, tuple(range(x.ndim - 1))

    def unfinished(carry: tuple[Any, ...]) -> Bool[Array, ""]:
        count, _, _, left = carry
        return (count < _MOST_STEPS) & jnp.any(left > 0)

    def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        count, x, h, left = carry
        h, here, after, error = attempt(x, h, left)
        error = lax.stop_gradient(jnp.where(jnp.isfinite(error), error, jnp.inf))
        finite = jnp.isfinite(here)
        active, hopeless = left > 0, ~jnp.all(finite, axis=over_rows)
        taken = active & ((error <= tolerance) | (h <= least)) & ~hopeless
        x = jnp.where(active & hopeless & ~finite, jnp.nan, jnp.where(taken, after, x))
        left = jnp.where(taken, left - h, left)  # the last step is all that is left: exactly none remains
        left = jnp.where(hopeless, 0.0, left)
        grown = h * jnp.clip(0.9 * (tolerance / jnp.maximum(error, 1e-30)) ** (1 / 3), 0.2, 5.0)
        h = jnp.minimum(jnp.maximum(grown, least), left)
        return count + 1, x, lax.stop_gradient(h), lax.stop_gradient(left)

    left = lax.stop_gradient(jnp.broadcast_to(duration, x.shape[len(over_rows) :]))
    done = lax.while_loop(unfinished, body, (0, x, left, left))
    return jnp.where(done[-1] > 0, jnp.nan, done[1])


def relaxation(rate: Float[Array, "row row lane"], duration: PerLane, speed: Rows) -> Rows:
    """φ(-rate duration) speed: the mean speed over ``duration`` of what obeys y' = speed - rate (y - y_0), exactly.

    φ(A) = (e^A - 1) A⁻¹ by its series on A/2^s, then s times φ(2A) = φ(A) (e^A + 1)/2, with e^A - 1 carried along
    instead of e^A, so that small rates keep their digits beside large ones (Higham 2008, Functions of Matrices, §10.7).
    May be differentiated forwards.
    """
    rows = speed.shape[0]
    if rows == 0:
        return speed
    if rows == 1:
        return _phi(-rate[0] * duration) * speed
    a = -rate * duration
    size = jnp.max(jnp.sum(jnp.abs(a), axis=1), axis=0)
    size = lax.stop_gradient(jnp.where(jnp.isfinite(size), size, 0.0))
    doublings = jnp.ceil(jnp.log2(jnp.maximum(size, 0.25)) + 2.0)
    a = a * jnp.exp2(-doublings)
    one = jnp.eye(rows, dtype=a.dtype)[:, :, None]
    phi = one + 0.0 * a
    for n in range(9, 1, -1):
        phi = one + _product(a, phi) / n
    grown = _product(a, phi)

    def double(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        phi, grown = carry
        more = i < doublings
        return (
            jnp.where(more, phi + 0.5 * _product(phi, grown), phi),
            jnp.where(more, 2.0 * grown + _product(grown, grown), grown),
        )

    phi, _ = lax.fori_loop(0, jnp.max(doublings).astype(jnp.int32), double, (phi, grown))
    return jnp.sum(phi * speed[None], axis=1)


def _product(a: Array, b: Array) -> Array:
    """Product of matrices, the lanes last; written out where they are small."""
    if a.shape[1] <= _SMALL:
        found: Array = functools.reduce(operator.add, (a[:, k, None] * b[None, k] for k in range(a.shape[1])))
        return found
    return jnp.einsum("ikl,kjl->ijl", a, b)


def _phi(z: PerLane) -> PerLane:
    """(e^z - 1)/z, by its series to z^9 where the difference would lose digits (relative error below 3e-13)."""
    small = jnp.abs(z) < 0.3
    series = jnp.ones_like(z)
    for n in range(10, 1, -1):
        series = 1.0 + series * z / n
    safe = jnp.where(small, 1.0, z)
    return jnp.where(small, series, (jnp.exp(safe) - 1.0) / safe)
