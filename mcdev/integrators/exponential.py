"""Exponential steps of ordinary differential equations, one a lane: exact where the equation is linear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, UInt32

from mcdev.integrators.interval import Interval

PerLane = Float[Array, " lane"]

_MOST_STEPS = 10_000


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
    one, least = jnp.ones_like(x), 1e-9 * duration

    def tangent(x: PerLane) -> tuple[PerLane, PerLane]:
        here, slope = jax.jvp(f, (x,), (one,))
        return here, jnp.where(jnp.isfinite(slope), slope, 0.0)

    def unfinished(carry: tuple[Any, ...]) -> Bool[Array, ""]:
        count, _, _, left = carry
        return (count < _MOST_STEPS) & jnp.any(left > 0)

    def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        count, x, h, left = carry
        here, slope = tangent(x)
        # A lane at rest stays there in one step, whatever its slope: only its tangent has a way to go.
        h = jnp.where(here == 0, left, h)
        whole = x + h * _phi(h * slope) * here
        middle = x + 0.5 * h * _phi(0.5 * h * slope) * here
        onward, bend = tangent(middle)
        after = middle + 0.5 * h * _phi(0.5 * h * bend) * onward
        error = jnp.abs(after - whole) / 3.0
        error = lax.stop_gradient(jnp.where(jnp.isfinite(error), error, jnp.inf))
        active, hopeless = left > 0, ~jnp.isfinite(here)  # what is no number will not become one
        taken = active & ((error <= tolerance) | (h <= least)) & ~hopeless
        x = jnp.where(active & hopeless, jnp.nan, jnp.where(taken, after, x))
        left = jnp.where(taken, left - h, left)  # the last step is all that is left: exactly none remains
        left = jnp.where(hopeless, 0.0, left)
        grown = h * jnp.clip(0.9 * (tolerance / jnp.maximum(error, 1e-30)) ** (1 / 3), 0.2, 5.0)
        h = jnp.minimum(jnp.maximum(grown, least), left)
        return count + 1, x, lax.stop_gradient(h), lax.stop_gradient(left)

    left = lax.stop_gradient(jnp.broadcast_to(duration, x.shape))
    done = lax.while_loop(unfinished, body, (0, x, left, left))
    return jnp.where(done[-1] > 0, jnp.nan, done[1])


def _phi(z: PerLane) -> PerLane:
    """(e^z - 1)/z, by its series to z^9 where the difference would lose digits (relative error below 3e-13)."""
    small = jnp.abs(z) < 0.3
    series = jnp.ones_like(z)
    for n in range(10, 1, -1):
        series = 1.0 + series * z / n
    safe = jnp.where(small, 1.0, z)
    return jnp.where(small, series, (jnp.exp(safe) - 1.0) / safe)
