"""The elimination of `block_tridiagonal.py` as one kernel of a GPU: a thread goes through all cells of one lane.

Cyclic reduction does the arithmetic of the whole elimination once for every doubling of its reach, and carries all
blocks through the memory each time. Here every row is read once, one cell ahead of its elimination, and what the way
back needs is written and read once. The arithmetic is that of a CPU, cell after cell, made of the same functions.
Written in Pallas for Mosaic GPU; in its interpreter it gives a CPU's bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from mcdev.integrators import block_tridiagonal
from mcdev.integrators.block_tridiagonal import Cells, Rows, coupled, passed, returned
from mcdev.machine.environment import computing
from mcdev.machine.gpu import Way, offered
from mcdev.machine.mosaic import LEAST, Block, kernel

BLOCK = LEAST
"""Lanes of one block of threads: with one lane a thread 16,384 lanes are 128 blocks, about as many as a GPU has
multiprocessors."""


def possible(x: Float[Array, "... lane"]) -> bool:
    """Whether the kernel serves: on a GPU where Mosaic compiles it and its trial passes, for real systems in float64,
    in whole blocks of lanes."""
    return x.dtype == jnp.float64 and x.shape[-1] % BLOCK == 0 and SWEEP.open()


def solve(rows: Callable[[Cells], Rows], cells: Cells, interpret: Any = None) -> Float[Array, "cell unknown lane"]:
    """As :func:`mcdev.integrators.block_tridiagonal.solve`, of real systems, without derivatives. The number of lanes
    is a multiple of ``BLOCK``. ``interpret``: Pallas's parameters of its interpreter."""
    from jax.experimental import pallas as pl

    made = jax.vmap(rows)(cells)
    size, places = len(made.right), coupled(made.upper)
    width = len(places) // size + 1  # entries of a line of what is kept: its factors, and the right-hand side
    entries, tree = jax.tree.flatten(made)
    count, lanes = jnp.broadcast_shapes(*(entry.shape for entry in entries))
    dtype, threads = made.right[0].dtype, Block(BLOCK, interpret)

    def sweep(*refs: Any) -> None:
        *own, out, kept = refs
        here = pl.ds(lax.axis_index("block") * BLOCK, BLOCK)
        none = threads.wide(0, dtype)

        def at(i: Any) -> list[Array]:
            return [threads.load(ref, i, here) for ref in own]

        def known(lines: list[Array]) -> tuple[dict[tuple[int, int], Array], list[Array]]:
            """Factors by their places, and right-hand sides."""
            factors = [entry for j, entry in enumerate(lines) if (j + 1) % width]
            return dict(zip(places, factors, strict=True)), lines[width - 1 :: width]

        def forward(i: Array, carry: tuple[list[Array], list[Array]]) -> tuple[list[Array], list[Array]]:
            before, values = carry
            ahead = at(jnp.minimum(i + 1, count - 1))
            found = [entry for line in passed(jax.tree.unflatten(tree, values), *known(before)) for entry in line]
            for j, entry in enumerate(found):
                kept[i, j, here] = entry
            return found, ahead

        def backward(turn: Array, after: list[Array]) -> list[Array]:
            i = count - 1 - turn
            x = returned(*known([threads.load(kept, i, j, here) for j in range(size * width)]), after)
            for j, value in enumerate(x):
                out[i, j, here] = value
            return x

        lax.fori_loop(0, count, forward, ([none] * (size * width), at(0)))
        lax.fori_loop(0, count, backward, [none] * size)

    shapes = jax.eval_shape(lambda: [jnp.zeros((count, each, lanes), dtype) for each in (size, size * width)])
    # A thread reads back only what it has written itself: none waits for another.
    run = kernel(sweep, shapes, {"block": lanes // BLOCK}, interpret, unsafe_no_auto_barriers=True)
    found: Array = run(*(jnp.broadcast_to(entry, (count, lanes)) for entry in entries))[0]
    return found


def _trial() -> None:
    """Systems with the zeros that those of ions have, beside cyclic reduction."""
    random = np.random.default_rng(1)
    blocks = random.normal(size=(3, 7, 3, 3, BLOCK))
    blocks[1] += 18 * np.eye(3)[:, :, None]
    blocks[0, 0] = blocks[2, -1] = 0

    def row(cell: tuple[Array, Array]) -> Rows:
        (lower, diagonal, upper), right = cell
        lines = [[list(line) for line in block] for block in (lower, diagonal, upper)]
        for beside in (lines[0], lines[2]):
            beside[0][1:] = [None, None]
        low, own, up = (tuple(tuple(line) for line in block) for block in lines)
        return Rows(low, own, up, tuple(right))

    with computing(True):
        cells = jnp.asarray(blocks.swapaxes(0, 1)), jnp.asarray(random.normal(size=(7, 3, BLOCK)))
        swept, reduced = (
            jax.jit(lambda cells, by=by: by(row, cells))(cells) for by in (solve, block_tridiagonal.solve)
        )
        if not jnp.allclose(swept, reduced, rtol=1e-10, atol=1e-13):
            raise ArithmeticError("the kernel's elimination does not give what cyclic reduction gives")


SWEEP = offered(Way("sweep", "ions eliminated in one kernel", "all cells of the ions are reduced at once", _trial))
