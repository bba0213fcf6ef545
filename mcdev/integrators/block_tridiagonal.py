"""Block tridiagonal systems with small blocks, one for each lane, lanes last.

    lower_i x_{i-1} + diagonal_i x_i + upper_i x_{i+1} = right_i

by the block Thomas algorithm (Golub and Van Loan 2013, Matrix Computations, §4.5), real or complex, without pivoting:
for systems whose diagonal dominates in the given order, as those of diffusion do.

The rows are made inside the elimination, from a slice of the caller's data, so that no matrix is ever stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact

Lanes = Inexact[Array, " lane"]
Entry = Lanes | None
"""None is a zero by structure: no arithmetic is spent on it."""
Block = tuple[tuple[Entry, ...], ...]
Cells = TypeVar("Cells")


class Rows(NamedTuple):
    """The rows of one cell: three blocks and the right-hand side, entries [lane]."""

    lower: Block
    diagonal: Block
    upper: Block
    right: tuple[Lanes, ...]


def _minus(a: Entry, b: Entry, c: Entry) -> Entry:
    """a - b c."""
    if b is None or c is None:
        return a
    return -b * c if a is None else a - b * c


def _eliminate(matrix: list[list[Entry]], right: list[list[Entry]]) -> list[list[Entry]]:
    """matrix⁻¹ right, by elimination without pivoting; the pivots must not be None."""
    size = len(matrix)
    for k in range(size):
        pivot = matrix[k][k]
        assert pivot is not None
        inverse = 1 / pivot
        for row in (matrix, right):
            row[k] = [None if entry is None else entry * inverse for entry in row[k]]
        for i in range(k + 1, size):
            factor = matrix[i][k]
            matrix[i] = [
                _minus(a, factor, c) if j > k else a for j, (a, c) in enumerate(zip(matrix[i], matrix[k], strict=True))
            ]
            right[i] = [_minus(a, factor, c) for a, c in zip(right[i], right[k], strict=True)]
    for k in reversed(range(size)):
        for i in range(k):
            right[i] = [_minus(a, matrix[i][k], c) for a, c in zip(right[i], right[k], strict=True)]
    return right


def solve(rows: Callable[[Cells], Rows], cells: Cells) -> Inexact[Array, "cell unknown lane"]:
    """The solution x [cell, unknown, lane].

    ``cells``: a pytree of arrays [cell, ...]; ``rows`` makes one cell's rows from its slice. What the first cell's
    ``lower`` and the last cell's ``upper`` hold must be zero or None.
    """
    first = jax.eval_shape(rows, jax.tree.map(lambda a: a[0], cells))
    size = len(first.right)
    like = jax.tree.leaves((first.right, first.diagonal))
    lanes = jnp.broadcast_shapes(*(a.shape for a in like))
    dtype = jnp.result_type(*like)
    filled = [any(line[j] is not None for line in first.upper) for j in range(size)]  # columns of the upper block

    def forward(carry: Any, cell: Cells) -> tuple[Any, Any]:
        before = carry  # [size * (filled + 1), lane]: columns of diagonal'⁻¹ upper, then diagonal'⁻¹ right
        matrix, right = rows(cell).diagonal, rows(cell).right
        made = rows(cell)
        reduced: list[list[Entry]] = [list(line) for line in matrix]
        target: list[Entry] = list(right)
        for i in range(size):
            for k in range(size):
                entry = made.lower[i][k]
                for j in range(size):
                    if filled[j]:
                        reduced[i][j] = _minus(reduced[i][j], entry, before[k][j])
                target[i] = _minus(target[i], entry, before[k][-1])
        columns = [[made.upper[i][j] for j in range(size) if filled[j]] + [target[i]] for i in range(size)]
        out = _eliminate(reduced, columns)
        full: list[list[Any]] = []
        for line in out:
            values = iter(line[:-1])
            full.append([next(values) if f else None for f in filled] + [line[-1]])
        zero = jnp.zeros(lanes, dtype)
        full = [[zero if (e is None and (j == size or filled[j])) else e for j, e in enumerate(line)] for line in full]
        return full, full

    zero = jnp.zeros(lanes, dtype)
    start = [[zero if (j == size or filled[j]) else None for j in range(size + 1)] for _ in range(size)]
    _, reduced = lax.scan(forward, start, cells)

    def backward(after: list[Lanes], cell: Any) -> tuple[list[Lanes], Any]:
        x = []
        for line in cell:
            value = line[-1]
            for entry, known in zip(line[:-1], after, strict=True):
                if entry is not None:
                    value = value - entry * known
            x.append(value)
        return x, jnp.stack(x)

    return lax.scan(backward, [zero] * size, reduced, reverse=True)[1]
