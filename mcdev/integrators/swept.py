"""The elimination of `block_tridiagonal.py` as two kernels of a GPU, with two threads for each lane.

Cyclic reduction does the arithmetic of the whole elimination once for every doubling of its reach, and carries all
blocks through the memory each time. Here one thread eliminates from the first cell on and one from the last cell on,
each up to the middle. In the second kernel each solves the system of the two cells where they meet (``joined``), and
goes back over its half. Two kernels, because neither thread may go on before both have arrived: within one they would
have to wait for each other.

The rows are made where they are eliminated, by the function that makes them elsewhere. What they are made of is read
once, a cell ahead; what the way back needs is written and read once. The arithmetic is made of the same functions as
that of a CPU. Its last bits are not a CPU's: the order of the cells is another, and products and sums of a row and its
elimination are fused otherwise where the row is not stored. Written in Pallas for Mosaic GPU.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from mcdev.integrators import block_tridiagonal
from mcdev.integrators.block_tridiagonal import Near, Rows, coupled, joined, passed, returned
from mcdev.machine.environment import computing
from mcdev.machine.gpu import Way, offered
from mcdev.machine.mosaic import LEAST, Block, kernel

BLOCK = LEAST
"""Lanes of one block of threads: with one lane a thread the two halves of 10,240 lanes are 160 blocks, about as many as
a GPU has multiprocessors."""


def possible(x: Float[Array, "cell ... lane"]) -> bool:
    """Whether the kernel serves: on a GPU where Mosaic compiles it and its trial passes, for real systems in float64,
    in whole blocks of lanes."""
    fits = x.dtype == jnp.float64 and x.shape[0] > 1 and x.shape[-1] % BLOCK == 0
    return fits and SWEEP.open()


def solve(
    rows: Callable[[Any, Near], Rows],
    shared: Any,
    cells: Any,
    faces: Any,
    seen: Callable[[Any, Any, list[Array]], tuple[list[Array], list[Array]]],
    beside: Any,
    interpret: Any = None,
) -> tuple[Array, Array, Array, Array]:
    """As :func:`mcdev.integrators.block_tridiagonal.solve_stencil`, of real systems of two cells or more, without
    derivatives. The number of lanes is a multiple of ``BLOCK``. ``interpret``: parameters of Pallas's interpreter.

    ``seen(shared, own, x)`` gives two lists of arrays [lane], made of one cell's unknowns x and its part of ``beside``
    (arrays [cell, ..., lane]). Returned are x; the largest size of each unknown in any cell [unknown, lane]; the first
    list of every cell [cell, number, lane]; the second list, summed over the cells [number, lane].
    """
    from jax.experimental import pallas as pl

    first = jax.tree.leaves(cells)[0]
    count, lanes, dtype, threads = first.shape[0], first.shape[-1], first.dtype, Block(BLOCK, interpret)
    made, half = _structure(rows, shared, cells, faces), count // 2
    size = len(made.right)
    ways = [
        _Direction(False, count, count - half, coupled(made.upper), size),
        _Direction(True, count, half, coupled(made.lower), size),
    ]
    (given, tree), (given_back, tree_back) = (jax.tree.flatten(x) for x in ((shared, cells, faces), (shared, beside)))
    each, summed = jax.eval_shape(seen, shared, jax.tree.map(lambda a: a[0], beside), list(made.right))
    grid = {"way": 2, "block": lanes // BLOCK}

    def here() -> Any:
        return pl.ds(lax.axis_index("block") * BLOCK, BLOCK)

    def both(through: Callable[[_Direction, _Direction], None]) -> None:
        """Each block of threads its way, in code of its own; the other way beside it."""
        for number, way in enumerate(ways):
            pl.when(lax.axis_index("way") == number)(functools.partial(through, way, ways[1 - number]))

    def reading(shared: Any, cells: Any, faces: Any = ()) -> _Reading:
        return _Reading(shared, cells, faces, count - 1, lambda ref, *at: threads.load(ref, *at, here()))

    def inward(*refs: Any) -> None:
        *own, kept = refs
        read, none = reading(*jax.tree.unflatten(tree, own)), threads.wide(0, dtype)
        everywhere = read.everywhere()

        def through(way: _Direction, _: _Direction) -> None:
            """From a wall to the middle."""

            def cell(number: Any) -> Any:
                return read.cell(way.cell(number))

            def face(number: Any) -> Any:
                return read.face(way.face(number))

            def forward(k: Array, carry: tuple[list[Array], Near]) -> tuple[list[Array], Near]:
                before, near = carry
                next_one = jnp.minimum(k + 2, way.turns)  # the first cell of the other way is the last one that is read
                onward = cell(next_one), face(next_one)
                row = way.rows(rows(everywhere, way.near(near)))
                found = [entry for line in passed(row, *way.known(before)) for entry in line]
                for j, entry in enumerate(found):
                    kept[way.cell(k), j, here()] = entry
                return found, Near(near.own, near.after, onward[0], near.right, onward[1])

            start = cell(0)
            nothing = jax.tree.map(lambda _: none, start)
            begin = Near(nothing, start, cell(1), read.wall(way.face(0), none), face(1))
            lax.fori_loop(0, way.turns, forward, ([none] * way.lines, begin))

        both(through)

    def outward(*refs: Any) -> None:
        *own, kept, out, more, largest, total = refs
        read = reading(*jax.tree.unflatten(tree_back, own))
        everywhere = read.everywhere()

        def found(way: _Direction, number: Any) -> list[Array]:
            return [threads.load(kept, way.cell(number), j, here()) for j in range(way.lines)]

        def through(way: _Direction, other: _Direction) -> None:
            """Back from the middle to the wall."""

            def leave(number: Any, x: list[Array]) -> tuple[list[Array], list[Array]]:
                """A cell's unknowns and what is seen of them; gives their sizes, and what is to be summed."""
                at = way.cell(number)
                each, summed = seen(everywhere, read.cell(at), x)
                for ref, values in ((out, x), (more, each)):
                    for j, value in enumerate(values):
                        ref[at, j, here()] = value
                return [jnp.abs(value) for value in x], summed

            def backward(turn: Array, carry: Any) -> Any:
                after, lines, most, sums = carry
                number = way.turns - 2 - turn
                onward = found(way, jnp.maximum(number - 1, 0))
                x = returned(*way.known(lines), after)
                sizes, parts = leave(number, x)
                most = [jnp.maximum(a, b) for a, b in zip(most, sizes, strict=True)]
                return x, onward, most, [a + b for a, b in zip(sums, parts, strict=True)]

            last = way.turns - 1
            x = joined(*way.known(found(way, last)), *other.known(found(other, other.turns - 1)))
            begin = x, found(way, max(last - 1, 0)), *leave(last, x)
            _, _, *ends = lax.fori_loop(0, last, backward, begin)
            for ref, values in zip((largest, total), ends, strict=True):
                for j, value in enumerate(values):
                    ref[int(way.last), j, here()] = value

        both(through)

    # Within a kernel a thread reads nothing that another one has written: none waits for another.
    def run(body: Callable[..., None], *shapes: tuple[int, ...]) -> Callable[..., Any]:
        filled = jax.eval_shape(lambda: [jnp.zeros((*shape, lanes), dtype) for shape in shapes])
        return kernel(body, filled, grid, interpret, unsafe_no_auto_barriers=True)

    (kept,) = run(inward, (count, max(way.lines for way in ways)))(*given)
    filled = (count, size), (count, len(each)), (2, size), (2, len(summed))
    x, more, largest, total = run(outward, *filled)(*given_back, kept)
    return x, jnp.max(largest, axis=0), more, jnp.sum(total, axis=0)


class _Direction(NamedTuple):
    """An elimination from the first cell on, or from the last one, where before and after change places. Cells and
    faces are numbered from the wall that it starts from."""

    last: bool
    cells: int
    turns: int
    """Cells up to the middle."""
    places: list[tuple[int, int]]
    """Of the factors that it keeps of each cell."""
    size: int

    @property
    def lines(self) -> int:
        """Numbers that it keeps of each cell: its factors and its right-hand side."""
        return len(self.places) + self.size

    def cell(self, number: Any) -> Any:
        return self.cells - 1 - number if self.last else number

    def face(self, number: Any) -> Any:
        return self.cells - number if self.last else number

    def near(self, near: Near) -> Near:
        """From what comes before and after on this way to what is left and right."""
        return Near(near.after, near.own, near.before, near.right, near.left) if self.last else near

    def rows(self, rows: Rows) -> Rows:
        return Rows(rows.upper, rows.diagonal, rows.lower, rows.right) if self.last else rows

    def known(self, kept: list[Array]) -> tuple[dict[tuple[int, int], Array], list[Array]]:
        """Factors by their places, and right-hand sides."""
        width = len(self.places) // self.size + 1  # of a line: its factors, and the right-hand side
        factors = [entry for j, entry in enumerate(kept) if (j + 1) % width]
        return dict(zip(self.places, factors, strict=True)), kept[width - 1 :: width]


class _Reading(NamedTuple):
    """Of references to arrays [..., lane]: a block's lanes of what one cell or face has, numbered from the left."""

    shared: Any
    cells: Any
    faces: Any
    inner: int
    """Faces between cells; arrays of so many have nothing at the walls."""
    load: Callable[..., Array]

    def everywhere(self) -> Any:
        return jax.tree.map(self._read, self.shared)

    def cell(self, number: Any) -> Any:
        return jax.tree.map(lambda ref: self._read(ref, number), self.cells)

    def face(self, number: Any) -> Any:
        """Between two cells."""
        return jax.tree.map(lambda ref: self._read(ref, number - (ref.shape[0] == self.inner)), self.faces)

    def wall(self, number: int, none: Array) -> Any:
        """A wall's face: what only those between cells have is ``none`` there."""

        def one(ref: Any) -> Any:
            if ref.shape[0] > self.inner:
                return self._read(ref, number)
            return none if ref.ndim == 2 else [none] * ref.shape[-2]

        return jax.tree.map(one, self.faces)

    def _read(self, ref: Any, *at: Any) -> Any:
        """Its lanes here; those of each species, where it has some."""
        if ref.ndim == len(at) + 1:
            return self.load(ref, *at)
        return [self.load(ref, *at, j) for j in range(ref.shape[-2])]


def _structure(rows: Callable[[Any, Near], Rows], shared: Any, cells: Any, faces: Any) -> Rows:
    """Of the rows of one cell: which of their entries there are."""
    (own, beside) = (jax.tree.map(lambda a: a[0], part) for part in (cells, faces))
    made: Rows = jax.eval_shape(lambda *given: rows(given[0], Near(*given[1:])), shared, own, own, own, beside, beside)
    return made


def _trial() -> None:
    """Systems with the zeros that those of ions have, beside cyclic reduction."""
    random = np.random.default_rng(1)
    size, cells = 3, 7

    def row(shared: Array, near: Near) -> Rows:
        (own, right), (left, _), (_, after) = near.own, near.left, near.right
        lower, upper = ([[line[0] * shared, None, None], *lines] for line, *lines in (left, after))
        low, on, up = (tuple(tuple(line) for line in block) for block in (lower, own, upper))
        return Rows(low, on, up, tuple(right))

    def square(lines: Array) -> list[list[Array]]:
        return [[lines[:, size * i + j] for j in range(size)] for i in range(size)]

    with computing(True):
        own, left, right = (jnp.asarray(random.normal(size=(n, size**2, BLOCK))) for n in (cells, cells - 1, cells + 1))
        own = own.at[:, :: size + 1].add(18.0)
        system = jnp.full(BLOCK, 0.5), (square(own), square(own)[0]), (square(left), square(right))
        swept, largest, same, total = jax.jit(
            lambda shared, cells, faces: solve(row, shared, cells, faces, lambda _, own, x: (x, x), ())
        )(*system)
        reduced = jax.jit(functools.partial(block_tridiagonal.solve_stencil, row))(*system)
        expected = jnp.max(jnp.abs(reduced), axis=0)
        close = functools.partial(jnp.allclose, rtol=1e-10, atol=1e-13)
        fine = close(swept, reduced) and close(largest, expected)
        if not (fine and jnp.array_equal(same, swept) and close(total, jnp.sum(reduced, axis=0))):
            raise ArithmeticError("the kernel's elimination does not give what cyclic reduction gives")


SWEEP = offered(Way("sweep", "ions eliminated in two kernels", "all cells of the ions are reduced at once", _trial))
