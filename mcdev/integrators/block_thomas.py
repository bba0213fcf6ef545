"""Linear systems of small blocks along a line, one system a lane (block Thomas algorithm)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact

Cells = Inexact[Array, "cell lane"]
Block = list[list[Cells | None]]
"""A small matrix for every cell, as a list of rows; None where an entry is zero in all cells."""


def solve_block_tridiagonal(lower: Block, diagonal: Block, upper: Block, right: list[Cells]) -> list[Cells]:
    """x with lower_i x_{i-1} + diagonal_i x_i + upper_i x_{i+1} = right_i for every cell i; real or complex.

    The first cell's lower and the last cell's upper block are not used. Returns one array [cell, lane] for each row
    of the blocks. There is no pivoting: transport gives blocks with a strong diagonal.
    """
    n = len(right)
    dtype = jnp.result_type(*jax.tree.leaves((lower, diagonal, upper, right)))
    zero = jnp.zeros(right[0].shape[1], dtype)

    def full(x: Any) -> Any:
        return zero if x is None else x.astype(dtype)

    def forward(above: tuple[Any, Any], row: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        (w, y), (low, mid, up, r) = above, row
        block = _minus(mid, _times(low, w))
        known = [[*u, _difference(x, c[0])] for u, x, c in zip(up, r, _times(low, [[x] for x in y]), strict=True)]
        solved = [[full(x) for x in line] for line in _divide(block, known)]
        here = [line[:n] for line in solved], [line[n] for line in solved]
        return here, here

    def backward(after: list[Any], row: Any) -> tuple[list[Any], list[Any]]:
        w, y = row
        x = [_difference(a, b[0]) for a, b in zip(y, _times(w, [[x] for x in after]), strict=True)]
        return x, x

    first = [[None if x is None else x.at[0].set(0) for x in line] for line in lower]
    nothing = ([[zero] * n] * n, [zero] * n)
    _, eliminated = lax.scan(forward, nothing, (first, diagonal, upper, right))
    _, solution = lax.scan(backward, [zero] * n, eliminated, reverse=True)
    return solution


def _difference(a: Any, b: Any) -> Any:
    return a if b is None else -b if a is None else a - b


def _minus(a: list[list[Any]], b: list[list[Any]]) -> list[list[Any]]:
    return [[_difference(x, y) for x, y in zip(p, q, strict=True)] for p, q in zip(a, b, strict=True)]


def _times(a: list[list[Any]], b: list[list[Any]]) -> list[list[Any]]:
    def entry(row: list[Any], column: tuple[Any, ...]) -> Any:
        terms = [x * y for x, y in zip(row, column, strict=True) if x is not None and y is not None]
        return sum(terms[1:], terms[0]) if terms else None

    return [[entry(row, column) for column in zip(*b, strict=True)] for row in a]


def _divide(block: list[list[Any]], right: list[list[Any]]) -> list[list[Any]]:
    """block⁻¹ right, by Gauss-Jordan elimination written out."""
    n = len(block)
    rows = [[*a, *b] for a, b in zip(block, right, strict=True)]
    for i in range(n):
        scale = 1.0 / rows[i][i]
        rows[i] = [x if x is None or j <= i else x * scale for j, x in enumerate(rows[i])]
        for k in range(n):
            factor = rows[k][i]
            if k != i and factor is not None:
                rows[k] = [
                    x if j <= i or y is None else _difference(x, factor * y)
                    for j, (x, y) in enumerate(zip(rows[k], rows[i], strict=True))
                ]
    return [row[n:] for row in rows]
