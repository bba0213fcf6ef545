"""Block tridiagonal systems with small blocks, one for each lane, lanes last.

    lower_i x_{i-1} + diagonal_i x_i + upper_i x_{i+1} = right_i

by the block Thomas algorithm (Golub and Van Loan 2013, Matrix Computations, §4.5), real or complex, without pivoting:
for systems whose diagonal dominates in the given order, as those of diffusion do.

All rows are made first, stored in one array, and loaded one cell ahead of their elimination: where the compiler
could make a row while it eliminates it, it did so entry by entry, over and over and without vector instructions.
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
    made = jax.vmap(rows)(cells)
    size = len(made.right)
    entries, tree = jax.tree.flatten((made.lower, made.diagonal, made.upper))
    count, *lanes = jnp.broadcast_shapes(*(entry.shape for entry in (*entries, *made.right)))
    # The right-hand side apart from the matrix: the solution is linear in the one, and may be transposed.
    stored = tuple(
        jnp.stack([jnp.broadcast_to(entry, (count, *lanes)) for entry in part], axis=1)
        for part in (entries, made.right)
    )
    filled = [j for j in range(size) if any(line[j] is not None for line in made.upper)]  # columns of the upper block
    places = [(i, j) for i in range(size) for j in filled]

    def at(i: Any) -> tuple[Array, ...]:
        return tuple(lax.dynamic_index_in_dim(part, i, keepdims=False) for part in stored)

    def forward(carry: Any, i: Array) -> tuple[Any, tuple[Array, Array]]:
        factors, solved, (matrix, right) = carry  # diagonal'⁻¹ upper and diagonal'⁻¹ right of the cell before
        before: dict[tuple[int, int], Lanes] = dict(zip(places, factors, strict=True))
        lower, diagonal, upper = jax.tree.unflatten(tree, list(matrix))
        reduced: list[list[Entry]] = [list(line) for line in diagonal]
        target: list[Entry] = list(right)
        for row, line in enumerate(lower):
            for k, entry in enumerate(line):
                for j in filled:
                    reduced[row][j] = _minus(reduced[row][j], entry, before[k, j])
                target[row] = _minus(target[row], entry, solved[k])
        columns = [[line[j] for j in filled] + [target[row]] for row, line in enumerate(upper)]
        zero = jnp.zeros(lanes, stored[0].dtype)
        found = [[zero if entry is None else entry for entry in line] for line in _eliminate(reduced, columns)]
        out = jnp.stack([entry for line in found for entry in line[:-1]]), jnp.stack([line[-1] for line in found])
        return (*out, at(i + 1)), out

    none = jnp.zeros((len(places), *lanes), stored[0].dtype), jnp.zeros_like(stored[1][0])
    _, reduced = lax.scan(forward, (*none, at(0)), jnp.arange(count))

    def backward(after: Array, cell: tuple[Array, Array]) -> tuple[Array, Array]:
        known: dict[tuple[int, int], Lanes] = dict(zip(places, cell[0], strict=True))
        x = jnp.stack([cell[1][i] - sum(known[i, j] * after[j] for j in filled) for i in range(size)])
        return x, x

    return lax.scan(backward, none[1], reduced, reverse=True)[1]
