"""Loops for derivatives in reverse mode, whose memory grows with the fourth root of their length.

Reverse mode walks back through a loop and needs the state at every step. Here the steps are nested in at most four
levels of blocks. Only the states at the beginnings of blocks are kept, and inside a block they are computed again when
it is reached: memory for Σ_k n_k states instead of n = Π_k n_k, at the price of one more computation of the loop a
level (recursive checkpointing; Griewank 1992, doi:10.1080/10556789208805505).

The number of steps may be a value that is only known at run time, up to a bound known beforehand. Whole blocks beyond
it are skipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, UInt32

Carry = TypeVar("Carry")

_UP_TO = (8, 200, 2000)
"""Steps up to which one, two, three levels do, beyond it is four. Each level computes the loop once more; with these,
ten times the steps keep at most twice the states, from 26 steps on."""


def checkpointed_scan(
    body: Callable[[Carry, Any], tuple[Carry, Any]], carry: Carry, xs: Any, count: Any = None
) -> tuple[Carry, Any]:
    """As ``lax.scan`` over the first ``count`` entries of xs (all, if None); what is stacked is zero beyond them."""
    length = jax.tree.leaves(xs)[0].shape[0]
    if length == 1 and count is None:
        end, y = body(carry, jax.tree.map(lambda x: x[0], xs))
        return end, jax.tree.map(lambda y: y[None], y)
    shape = _blocks(length)
    size = math.prod(shape)
    upto = jnp.asarray(length if count is None else count, jnp.uint32)

    def fold(x: Array) -> Array:
        padding = jnp.broadcast_to(x[-1:], (size - length, *x.shape[1:]))
        return jnp.concatenate([x, padding]).reshape(*shape, *x.shape[1:])

    order = jnp.arange(size, dtype=jnp.uint32).reshape(shape)
    end, ys = _level(body, carry, (order, jax.tree.map(fold, xs)), upto, len(shape))
    return end, jax.tree.map(lambda y: y.reshape(size, *y.shape[len(shape) :])[:length], ys)


def checkpointed_loop(bound: int) -> Callable[..., Any]:
    """``lax.fori_loop`` from zero, for at most ``bound`` steps."""

    def loop(_: Any, count: Any, body: Callable[[UInt32[Array, ""], Carry], Carry], carry: Carry) -> Carry:
        order = jnp.arange(bound, dtype=jnp.uint32)
        if bound == 1:
            return lax.cond(count > 0, lambda inner: body(order[0], inner), lambda inner: inner, carry)
        return checkpointed_scan(lambda inner, i: (body(i, inner), None), carry, order, count)[0]

    return loop


def _level(
    body: Callable[..., Any], carry: Carry, xs: tuple[Array, Any], count: UInt32[Array, ""], depth: int
) -> tuple[Carry, Any]:
    """One level of blocks: ``xs`` has ``depth`` leading axes, its first part numbers the steps."""

    def block(carry: Carry, own: tuple[Array, Any]) -> tuple[Carry, Any]:
        def run(carry: Carry, own: tuple[Array, Any]) -> tuple[Carry, Any]:
            return body(carry, own[1]) if depth == 1 else _level(body, carry, own, count, depth - 1)

        def skip(carry: Carry, own: tuple[Array, Any]) -> tuple[Carry, Any]:
            shapes = jax.eval_shape(run, carry, own)[1]
            return carry, jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), shapes)

        return lax.cond(own[0].ravel()[0] < count, run, skip, carry, own)

    return lax.scan(jax.checkpoint(block, prevent_cse=False), carry, xs)


def _blocks(length: int) -> tuple[int, ...]:
    """Blocks at each level, outermost first; their product is the length, or a little more."""
    levels = 1 + sum(length > steps for steps in _UP_TO)
    shape, left = [], length
    for k in range(levels, 0, -1):
        inner = max(1, math.ceil(round(left ** (1 / k), 9)))
        shape.append(inner)
        left = math.ceil(left / inner)
    return tuple(shape[::-1])
