"""The zero of an increasing function, one a lane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

PerLane = Float[Array, " lane"]

_ITERATIONS = 60
_TOLERANCE = 1e-6  # of the residual, relative to its scale; a float32 sum is no better


def solve_monotone(
    residual: Callable[[PerLane], PerLane], guess: PerLane, end: PerLane, scale: Float[Array, ...]
) -> PerLane:
    """The zero of an increasing residual between 0 and ``end``, by Newton's method safeguarded by bisection.

    Each lane stops on its own (|residual| ≤ 1e-6 scale), so that no lane's value depends on its neighbours.
    For an ohmic law the guess is exact and no iteration is taken.

    Its derivative by whatever the residual refers to is that of the zero, dv = -dr/r'(v), not of the iteration.
    """
    low, high = jnp.minimum(end, 0.0), jnp.maximum(end, 0.0)

    def search(residual: Callable[[PerLane], PerLane], guess: PerLane) -> PerLane:
        def open_lanes(r: PerLane) -> Bool[Array, " lane"]:
            return jnp.abs(r) > _TOLERANCE * scale

        def unfinished(carry: tuple[Any, ...]) -> Bool[Array, ""]:
            count, _, _, _, r = carry
            return (count < _ITERATIONS) & jnp.any(open_lanes(r))

        def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            count, v, low, high, r = carry
            active = open_lanes(r)
            low, high = jnp.where(active & (r < 0), v, low), jnp.where(active & (r > 0), v, high)
            _, slope = jax.jvp(residual, (v,), (jnp.ones_like(v),))
            newton = v - r / jnp.where(slope > 0, slope, 1.0)
            inside = (newton > low) & (newton < high) & (slope > 0)
            after = jnp.where(active, jnp.where(inside, newton, 0.5 * (low + high)), v)
            return count + 1, after, low, high, jnp.where(active, residual(after), r)

        return lax.while_loop(unfinished, body, (0, guess, low, high, residual(guess)))[1]

    def divide(slope: Callable[[PerLane], PerLane], change: PerLane) -> PerLane:
        own = slope(jnp.ones_like(change))
        return change / jnp.where(own > 0, own, 1.0)  # a lane without a zero keeps its derivatives finite

    return lax.custom_root(residual, guess, search, divide)
