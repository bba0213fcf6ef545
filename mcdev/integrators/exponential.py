"""Exponential steps of ordinary differential equations, one a lane: exact where the equation is linear."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt32

PerLane = Float[Array, " lane"]


def exact_relaxation(x: PerLane, target: PerLane, rate: PerLane, duration: Float[Array, ""]) -> PerLane:
    """dx/dt = rate (target - x), solved exactly."""
    return x - (target - x) * jnp.expm1(-rate * duration)


def rosenbrock_euler(
    f: Callable[[PerLane], PerLane], x: PerLane, step: Float[Array, ""], steps: UInt32[Array, ""]
) -> PerLane:
    """x' = f(x) by x + h φ(h f') f, φ(z) = (e^z - 1)/z: order 2, exact for linear f, stable for any f' ≤ 0
    (exponential Rosenbrock-Euler; Hochbruck, Ostermann, Schweitzer 2009, doi:10.1137/080717717)."""

    def body(_: UInt32[Array, ""], x: PerLane) -> PerLane:
        here, slope = jax.jvp(f, (x,), (jnp.ones_like(x),))
        z = step * slope
        small = jnp.abs(z) < 1e-4  # (e^z - 1)/z loses its digits there
        phi = jnp.where(small, 1.0 + 0.5 * z, jnp.expm1(z) / jnp.where(small, 1.0, z))
        return x + step * phi * here

    return lax.fori_loop(jnp.uint32(0), steps, body, x)
