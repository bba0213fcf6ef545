"""Nonlinear least squares with a handful of parameters, for one realisation; the ensemble maps it over all.

By hand, because the libraries' solvers call LAPACK inside a loop, and with jaxlib 0.10 such a program hangs when two
threads run it at once (as the ensemble does).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

_ITERATIONS = 200
_POLISH, _NEAR = 3, 0.1  # Newton steps from what was found to the minimum that is differentiated, and their bound
_FLOOR = 1e-12  # of the largest curvature, added to all

Vector = Float[Array, " parameter"]


def solve_positive(a: Float[Array, "parameter parameter"], b: Vector) -> Vector:
    """The solution of a symmetric positive definite system, by elimination written out."""
    n = b.shape[0]
    rows = [jnp.concatenate([a[i], b[i : i + 1]]) for i in range(n)]
    for i in range(n):
        rows[i] = rows[i] / rows[i][i]
        rows = [row if j == i else row - row[i] * rows[i] for j, row in enumerate(rows)]
    return jnp.stack([row[n] for row in rows])


def levenberg_marquardt(
    residual: Callable[[Vector], Float[Array, " part"]], start: Vector
) -> tuple[Vector, Bool[Array, ""]]:
    """(parameters of least Σ r², whether it converged), by Gauss-Newton steps damped in proportion to the normal
    matrix's diagonal (Marquardt 1963, doi:10.1137/0111030).

    Converged: a step below 1e-9 (float32: 1e-5) in every parameter; or one that lowers the sum by less than
    a millionth, far below any error of the data: that is what a parameter without effect comes to (the logarithm of a
    resistance that is not there).

    The derivative by whatever the residual refers to is that of the minimum: of the zero of Jᵀr by the implicit
    function theorem, with the whole second derivative JᵀJ + Σ r ∇²r.
    """
    plain, beside = jax.closure_convert(residual, start)
    found, converged = _minimum(plain, start, *beside)
    return found, converged > 0


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _minimum(
    plain: Callable[..., Float[Array, " part"]], start: Vector, *beside: Any
) -> tuple[Vector, Float[Array, ""]]:
    """What was found, and 1 where the search converged. The rule of its derivatives is traced where one is asked for
    and nowhere else: that takes longer than all the rest. ``beside``: what the residual refers to."""

    def residual(x: Vector) -> Float[Array, " part"]:
        return plain(x, *beside)

    double = start.dtype == jnp.float64
    small, nothing, exact = (1e-9, 1e-6, 1e-20) if double else (1e-5, 1e-4, 1e-11)

    def unfinished(carry: tuple[Any, ...]) -> Bool[Array, ""]:
        count, _, _, _, done = carry
        return (count < _ITERATIONS) & ~done

    def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        count, x, cost, damping, _ = carry
        r, jacobian = residual(x), jax.jacfwd(residual)(x)
        normal = jacobian.T @ jacobian
        diagonal = jnp.diag(normal)
        floor = _FLOOR * jnp.max(diagonal)  # a parameter without any effect stays where it is
        step = -solve_positive(normal + jnp.diag(damping * diagonal + floor), jacobian.T @ r)
        step = jnp.clip(step, -3.0, 3.0)
        ahead = jnp.sum(residual(x + step) ** 2)
        better = ahead <= cost
        done = better & (
            jnp.all(jnp.abs(step) <= small * (1.0 + jnp.abs(x))) | (cost - ahead <= nothing * cost + exact)
        )
        after = jnp.where(better, x + step, x)
        return count + 1, after, jnp.where(better, ahead, cost), damping * jnp.where(better, 0.2, 5.0), done

    first = (0, start, jnp.sum(residual(start) ** 2), jnp.asarray(1e-2, start.dtype), jnp.asarray(False))
    _, found, _, damping, done = lax.while_loop(unfinished, body, first)
    # No step improves by more than rounding: the damping has grown without end. That is the minimum, too.
    return found, (done | (damping > 1e6)).astype(start.dtype)


def _divide(hessian: Callable[[Vector], Vector], change: Vector) -> Vector:
    whole = jnp.stack([hessian(unit) for unit in jnp.eye(change.shape[0], dtype=change.dtype)])
    floor = _FLOOR * jnp.max(jnp.abs(jnp.diag(whole)))
    units = jnp.eye(change.shape[0], dtype=change.dtype)
    inverse = jnp.stack([solve_positive(whole + floor * units, unit) for unit in units])
    return inverse @ change  # linear in the change as it is written, so that it can be transposed


@_minimum.defjvp
def _(
    plain: Callable[..., Float[Array, " part"]], given: tuple[Any, ...], along: tuple[Any, ...]
) -> tuple[tuple[Vector, Float[Array, ""]], tuple[Vector, Float[Array, ""]]]:
    """By the implicit function theorem. Where the search started does not matter."""
    (_, *beside), (_, *moves) = given, along
    found, converged = _minimum(plain, *given)

    def stationary(found: Vector, *beside: Any) -> Vector:
        gradient = jax.grad(lambda x: 0.5 * jnp.sum(plain(x, *beside) ** 2))
        x = lax.stop_gradient(found)  # the search ends a little off the minimum, its derivative must not
        for _ in range(_POLISH):
            slope, hessian = jax.linearize(gradient, x)
            ahead = x - jnp.clip(_divide(hessian, slope), -_NEAR, _NEAR)
            x = jnp.where(jnp.sum(gradient(ahead) ** 2) < jnp.sum(slope**2), ahead, x)
        return gradient(found + lax.stop_gradient(x - found))

    _, hessian = jax.linearize(lambda x: stationary(x, *beside), found)
    change = jax.jvp(lambda *beside: stationary(found, *beside), tuple(beside), tuple(moves))[1]
    return (found, converged), (-_divide(hessian, change), jnp.zeros_like(converged))
