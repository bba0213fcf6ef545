"""The elimination of `block_tridiagonal.py` as one kernel of a GPU: a thread goes through all cells of one lane.

Cyclic reduction does the arithmetic of the whole elimination once for every doubling of its reach, and carries all
blocks through the memory each time. Here the rows are made where they are eliminated, by the function that makes them
elsewhere. What they are made of is read once, a cell ahead; what the way back needs is written and read once. The
arithmetic is that of a CPU, cell after cell, made of the same functions. Its last bits are not a CPU's, since products
and sums of a row and its elimination are fused otherwise where the row is not stored. Written in Pallas for Mosaic GPU.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from mcdev.integrators import block_tridiagonal
from mcdev.integrators.block_tridiagonal import Near, Rows, coupled, passed, returned
from mcdev.machine.environment import computing
from mcdev.machine.gpu import Way, offered
from mcdev.machine.mosaic import LEAST, Block, kernel

BLOCK = LEAST
"""Lanes of one block of threads: with one lane a thread 16,384 lanes are 128 blocks, about as many as a GPU has
multiprocessors."""


def possible(x: Float[Array, "cell ... lane"]) -> bool:
    """Whether the kernel serves: on a GPU where Mosaic compiles it and its trial passes, for real systems in float64,
    in whole blocks of lanes."""
    fits = x.dtype == jnp.float64 and x.shape[0] > 1 and x.shape[-1] % BLOCK == 0
    return fits and SWEEP.open()


def solve(
    rows: Callable[[Any, Near], Rows], shared: Any, cells: Any, faces: Any, interpret: Any = None
) -> Float[Array, "cell unknown lane"]:
    """As :func:`mcdev.integrators.block_tridiagonal.solve_stencil`, of real systems of two cells or more, without
    derivatives. The number of lanes is a multiple of ``BLOCK``. ``interpret``: parameters of Pallas's interpreter."""
    from jax.experimental import pallas as pl

    first = jax.tree.leaves(cells)[0]
    count, lanes, dtype, threads = first.shape[0], first.shape[-1], first.dtype, Block(BLOCK, interpret)
    structure = _structure(rows, shared, cells, faces)
    size, places = len(structure.right), coupled(structure.upper)
    width = len(places) // size + 1  # entries of a line of what is kept: its factors, and the right-hand side
    given, tree = jax.tree.flatten((shared, cells, faces))

    def sweep(*refs: Any) -> None:
        *own, out, kept = refs
        here = pl.ds(lax.axis_index("block") * BLOCK, BLOCK)
        none, last = threads.wide(0, dtype), threads.wide(count - 1)
        of_all, of_cells, of_faces = jax.tree.unflatten(tree, own)

        def read(ref: Any, *at: Any) -> Any:
            """Its lanes here; those of each species, where it has some."""
            if ref.ndim == len(at) + 1:
                return threads.load(ref, *at, here)
            return [threads.load(ref, *at, j, here) for j in range(ref.shape[-2])]

        def cell(i: Any) -> Any:
            return jax.tree.map(lambda ref: read(ref, jnp.minimum(i, count - 1)), of_cells)

        def face(i: Any) -> Any:
            """The one before cell i, or any number where there is none (``walled``)."""
            return jax.tree.map(
                lambda ref: read(ref, jnp.clip(i - 1, 0, count - 2) if ref.shape[0] < count else jnp.minimum(i, count)),
                of_faces,
            )

        def walled(i: Array, right: Any) -> Any:
            """The face behind cell i: what only those between cells have is zero at the wall."""
            between = threads.wide(i) < last
            return jax.tree.map(
                lambda ref, value: (
                    jax.tree.map(lambda a: jnp.where(between, a, none), value) if ref.shape[0] < count else value
                ),
                of_faces,
                right,
            )

        everywhere = jax.tree.map(read, of_all)

        def known(lines: list[Array]) -> tuple[dict[tuple[int, int], Array], list[Array]]:
            """Factors by their places, and right-hand sides."""
            factors = [entry for j, entry in enumerate(lines) if (j + 1) % width]
            return dict(zip(places, factors, strict=True)), lines[width - 1 :: width]

        def forward(i: Array, carry: tuple[list[Array], Near]) -> tuple[list[Array], Near]:
            before, near = carry
            onward = cell(i + 2), face(i + 2)
            near = near._replace(right=walled(i, near.right))
            found = [entry for line in passed(rows(everywhere, near), *known(before)) for entry in line]
            for j, entry in enumerate(found):
                kept[i, j, here] = entry
            return found, Near(near.own, near.after, onward[0], near.right, onward[1])

        def backward(turn: Array, after: list[Array]) -> list[Array]:
            i = count - 1 - turn
            x = returned(*known([threads.load(kept, i, j, here) for j in range(size * width)]), after)
            for j, value in enumerate(x):
                out[i, j, here] = value
            return x

        start, wall = cell(0), face(0)
        zeros = jax.tree.map(
            lambda ref, value: jax.tree.map(lambda _: none, value) if ref.shape[0] < count else value, of_faces, wall
        )
        begin = Near(jax.tree.map(lambda _: none, start), start, cell(1), zeros, face(1))
        lax.fori_loop(0, count, forward, ([none] * (size * width), begin))
        lax.fori_loop(0, count, backward, [none] * size)

    shapes = jax.eval_shape(lambda: [jnp.zeros((count, each, lanes), dtype) for each in (size, size * width)])
    # A thread reads back only what it has written itself: none waits for another.
    run = kernel(sweep, shapes, {"block": lanes // BLOCK}, interpret, unsafe_no_auto_barriers=True)
    found: Array = run(*given)[0]
    return found


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
        swept, reduced = (
            jax.jit(functools.partial(by, row))(*system) for by in (solve, block_tridiagonal.solve_stencil)
        )
        if not jnp.allclose(swept, reduced, rtol=1e-10, atol=1e-13):
            raise ArithmeticError("the kernel's elimination does not give what cyclic reduction gives")


SWEEP = offered(Way("sweep", "ions eliminated in one kernel", "all cells of the ions are reduced at once", _trial))
