"""Block tridiagonal systems with small blocks, one for each lane, lanes last.

    lower_i x_{i-1} + diagonal_i x_i + upper_i x_{i+1} = right_i

real or complex, without pivoting: for systems whose diagonal dominates in the given order, as those of diffusion do.

On a CPU by the block Thomas algorithm (Golub and Van Loan 2013, Matrix Computations, §4.5), cell after cell. All rows
are made first, stored in one array, and loaded one cell ahead of their elimination: where the compiler could make a row
while it eliminates it, it did so entry by entry, over and over and without vector instructions.

On a GPU one cell after the other would be as many launches, but in one kernel (`swept.py`), which real systems that
are not differentiated may have. Elsewhere it is done there by cyclic reduction of all cells at once
(Hockney and Jesshope 1981, Parallel Computers): the equations of each cell's two neighbours are put into its own, which
then refers to cells twice as far away, until there are none. That takes log2 of the cells as many steps, each with as
much arithmetic as the whole elimination has.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact

from mcdev.machine.environment import backend

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


class Near(NamedTuple):
    """What the rows of one cell are made of: what three cells and the two faces between them have."""

    before: Any
    own: Any
    after: Any
    left: Any
    right: Any


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
    if backend() != "cpu":
        return _reduced(made)
    entries, tree = jax.tree.flatten((made.lower, made.diagonal, made.upper))
    count, *lanes = jnp.broadcast_shapes(*(entry.shape for entry in (*entries, *made.right)))
    # The right-hand side apart from the matrix: the solution is linear in the one, and may be transposed.
    stored = tuple(
        jnp.stack([jnp.broadcast_to(entry, (count, *lanes)) for entry in part], axis=1)
        for part in (entries, made.right)
    )
    places = coupled(made.upper)

    def at(i: Any) -> tuple[Array, ...]:
        return tuple(lax.dynamic_index_in_dim(part, i, keepdims=False) for part in stored)

    def forward(carry: Any, i: Array) -> tuple[Any, tuple[Array, Array]]:
        factors, solved, (matrix, right) = carry  # diagonal'⁻¹ upper and diagonal'⁻¹ right of the cell before
        before: dict[tuple[int, int], Lanes] = dict(zip(places, factors, strict=True))
        lower, diagonal, upper = jax.tree.unflatten(tree, list(matrix))
        found = passed(Rows(lower, diagonal, upper, tuple(right)), before, solved)
        out = jnp.stack([entry for line in found for entry in line[:-1]]), jnp.stack([line[-1] for line in found])
        return (*out, at(i + 1)), out

    none = jnp.zeros((len(places), *lanes), stored[0].dtype), jnp.zeros_like(stored[1][0])
    _, reduced = lax.scan(forward, (*none, at(0)), jnp.arange(count))

    def backward(after: Array, cell: tuple[Array, Array]) -> tuple[Array, Array]:
        x = jnp.stack(returned(dict(zip(places, cell[0], strict=True)), cell[1], after))
        return x, x

    return lax.scan(backward, none[1], reduced, reverse=True)[1]


def solve_stencil(
    rows: Callable[[Any, Near], Rows], shared: Any, cells: Any, faces: Any
) -> Inexact[Array, "cell unknown lane"]:
    """The same of systems whose rows are made of neighbouring cells and of the faces between: ``rows(shared, near)``.

    ``cells``: a pytree of arrays [cell, ..., lane]. ``faces``: of arrays [cell + 1, ..., lane], or [cell - 1, ...,
    lane] where the ends have zero. ``shared``: of arrays [lane], the same for all cells. There is no cell before the
    first one, nor after the last: the blocks ``lower`` and ``upper`` there meet the zero that the elimination starts
    and ends with, and nothing else may be made of it.
    """
    return solve(functools.partial(rows, shared), near(cells, faces))


def near(cells: Any, faces: Any) -> Near:
    """Of all cells at once, with zeros where there is none."""
    count = jax.tree.leaves(cells)[0].shape[0]

    def zeros(a: Array) -> Array:
        return jnp.zeros_like(a[:1])

    def walled(a: Array) -> Array:
        return jnp.pad(a, [(1, 1)] + [(0, 0)] * (a.ndim - 1)) if a.shape[0] < count else a

    faces = jax.tree.map(walled, faces)
    return Near(
        before=jax.tree.map(lambda a: jnp.concatenate([zeros(a), a[:-1]]), cells),
        own=cells,
        after=jax.tree.map(lambda a: jnp.concatenate([a[1:], zeros(a)]), cells),
        left=jax.tree.map(lambda a: a[:-1], faces),
        right=jax.tree.map(lambda a: a[1:], faces),
    )


def coupled(upper: Block) -> list[tuple[int, int]]:
    """The places of diagonal'⁻¹ upper that hold something: the filled columns of the upper block."""
    size = range(len(upper))
    return [(i, j) for i in size for j in size if any(line[j] is not None for line in upper)]


def passed(rows: Rows, before: Mapping[tuple[int, int], Lanes], solved: Sequence[Lanes]) -> list[list[Lanes]]:
    """One cell of the forward elimination: a line of diagonal'⁻¹ (upper, right) for each unknown.

    ``before`` and ``solved``: diagonal'⁻¹ upper, by its places, and diagonal'⁻¹ right of the cell before.
    """
    filled = sorted({j for _, j in before})
    reduced: list[list[Entry]] = [list(line) for line in rows.diagonal]
    target: list[Entry] = list(rows.right)
    for row, line in enumerate(rows.lower):
        for k, entry in enumerate(line):
            for j in filled:
                reduced[row][j] = _minus(reduced[row][j], entry, before[k, j])
            target[row] = _minus(target[row], entry, solved[k])
    columns = [[line[j] for j in filled] + [target[row]] for row, line in enumerate(rows.upper)]
    zero = jnp.zeros_like(rows.right[0])
    return [[zero if entry is None else entry for entry in line] for line in _eliminate(reduced, columns)]


def joined(
    known: Mapping[tuple[int, int], Lanes],
    solved: Sequence[Lanes],
    beyond: Mapping[tuple[int, int], Lanes],
    solved_beyond: Sequence[Lanes],
) -> list[Lanes]:
    """The unknowns of the last cell of an elimination that meets another one, which has come from the other end, where
    upper and lower change places:

        x = s - F y,    y = t - G x,    hence (1 - F G) x = s - F t

    y: the unknowns of the other one's last cell. F and s: diagonal'⁻¹ upper and diagonal'⁻¹ right of ``passed``; G and
    t: those of the other one. This is the twisted factorisation (van der Vorst 1987, Parallel Computing 5, 45).
    """
    size, one = range(len(solved)), jnp.ones_like(solved[0])
    unity = tuple(tuple(one if i == j else None for j in size) for i in size)
    nothing: Block = tuple((None,) * len(size) for _ in size)
    factors = tuple(tuple(known.get((i, j)) for j in size) for i in size)
    lines = passed(Rows(factors, unity, nothing, tuple(solved)), beyond, solved_beyond)
    return [line[-1] for line in lines]


def returned(
    known: Mapping[tuple[int, int], Lanes], solved: Sequence[Lanes] | Array, after: Sequence[Lanes] | Array
) -> list[Lanes]:
    """One cell of the way back: its unknowns from those of the cell after it."""
    filled = sorted({j for _, j in known})
    return [solved[i] - sum(known[i, j] * after[j] for j in filled) for i in range(len(solved))]


def _reduced(made: Rows) -> Inexact[Array, "cell unknown lane"]:
    """The same of all cells at once; entries [cell, lane]."""
    entries = jax.tree.leaves(tuple(made))
    shape = jnp.broadcast_shapes(*(entry.shape for entry in entries))
    lower, diagonal, upper, right = jax.tree.map(lambda entry: jnp.broadcast_to(entry, shape), made)
    one = jnp.ones(shape, entries[0].dtype)

    def further(given: tuple[Any, Any, Any], by: Array) -> tuple[tuple[Any, Any, Any], None]:
        """From what refers to the cells ``by`` before and after to what refers to those twice as far away."""
        low, up, right = given
        before, after = (_shifted(given, sign * by) for sign in (1, -1))
        center: Lines = [[one if i == j else None for j in range(len(right))] for i in range(len(right))]
        center = _less(_less(center, low, before[1]), up, after[0])
        column = _less(_less([[r] for r in right], low, [[r] for r in before[2]]), up, [[r] for r in after[2]])
        none: Lines = [[None] * len(right)] * len(right)
        blocks = _less(none, low, before[0]), _less(none, up, after[1])
        return _solved(center, *blocks, [r for (r,) in column]), None

    # A loop: written out, several steps would be worked out in one kernel, over and over, which no registers hold.
    reach = 2 ** jnp.arange((shape[0] - 1).bit_length())
    (_, _, right), _ = lax.scan(further, _solved(diagonal, lower, upper, right), reach)
    return jnp.stack(list(right), axis=1)


Lines = Sequence[Sequence[Entry]]


def _solved(diagonal: Lines, lower: Lines, upper: Lines, right: Sequence[Any]) -> tuple[Any, Any, Any]:
    """Each cell's rows, divided by its diagonal block."""
    size = len(right)
    beside = [[*lower[i], *upper[i], right[i]] for i in range(size)]
    found = _eliminate([list(line) for line in diagonal], beside)
    used = [any(line[j] is not None for line in found) for j in range(2 * size)]
    zero = jnp.zeros_like(right[0])  # a column is there or not, so that every step has the same
    rows = [[zero if e is None and used[j] else e for j, e in enumerate(line[:-1])] for line in found]
    return [line[:size] for line in rows], [line[size:] for line in rows], [line[-1] for line in found]


def _less(a: Lines, b: Lines, c: Lines) -> list[list[Entry]]:
    """a - b c, of small blocks."""
    found = [list(line) for line in a]
    for i, k, j in itertools.product(range(len(b)), range(len(c)), range(len(c[0]))):
        found[i][j] = _minus(found[i][j], b[i][k], c[k][j])
    return found


def _shifted(entries: Any, by: Array) -> Any:
    """Of each cell what the cell ``by`` before it has; zero beyond the ends."""

    def one(entry: Array) -> Array:
        none, count = jnp.zeros_like(entry), entry.shape[0]
        return lax.dynamic_slice_in_dim(jnp.concatenate([none, entry, none]), count - by, count)

    return jax.tree.map(one, entries)
