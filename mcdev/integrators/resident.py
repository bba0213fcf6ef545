"""The steps of `langevin.py` as one kernel of a GPU: a particle stays in a register over all pairs of an interval.

XLA's loop launches kernels every few pairs, and each reads and writes all positions. Here one launch does an interval:
a thread has one particle of one lane, and its steps are made of the same functions (`langevin.steps`), so that there is
one source of the physics. Written in Pallas for Mosaic GPU; in its interpreter it gives the loop's bits. On a GPU the
two differ in their last bits, since this one is compiled with fused multiply-adds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, UInt32

from mcdev.integrators import langevin
from mcdev.integrators.interval import Interval
from mcdev.integrators.langevin import SCHEMES, PerLane, Positions, Scheme, steps, through
from mcdev.machine.gpu import Way, offered
from mcdev.machine.mosaic import LEAST, Block, kernel

BLOCK = LEAST
"""Lanes of one block of threads: the least that Mosaic has, since 40 particles of 128 lanes should fill 40 of a GPU's
multiprocessors. Two lanes a thread (256) take the same instructions a step and twice the registers."""

PAIRS = 2
"""Of steps in one turn of its loop."""


def possible(scheme: Scheme, x: Positions) -> bool:
    """Whether the kernel serves: on a GPU where Mosaic compiles it and its trial passes, for a scheme without memory,
    in float32, in whole blocks of lanes."""
    fits = x.dtype == jnp.float32 and x.shape[1] % BLOCK == 0 and not scheme.remembers_noise
    return fits and KERNEL.open()


def diffuse(
    scheme: Scheme,
    force: Callable[[Any, Positions], Positions],
    field: Any,
    x: Positions,
    h: PerLane,
    s: PerLane,
    key: tuple[UInt32[Array, " lane"], UInt32[Array, " lane"]],
    first_pair: UInt32[Array, " lane"],
    interval: Interval,
    block: int = BLOCK,
    interpret: Any = None,
) -> Positions:
    """As :func:`mcdev.integrators.langevin.diffuse`, of a scheme without memory. ``force(field, x)`` is of each
    particle by itself; ``field``: a pytree of arrays [lane]. The number of lanes is a multiple of ``block``, and that
    of 128. ``interpret``: Pallas's parameters of its interpreter."""
    from jax.experimental import pallas as pl

    leaves, tree = jax.tree.flatten(field)
    threads = Block(block, interpret)

    def particle(turns: Any, x: Any, *refs: Any) -> None:
        *own, out = refs
        number, lanes = lax.axis_index("particle"), pl.ds(lax.axis_index("block") * block, block)
        first, pairs, k0, k1, h, s, *values = (threads.load(ref, lanes) for ref in own)
        acting = jax.tree.unflatten(tree, values)
        which = threads.wide(number.astype(jnp.uint32))

        def pair(i: Array, x: Positions) -> Positions:
            turn = threads.wide(i.astype(jnp.uint32))
            return steps(scheme, lambda x: force(acting, x), x, x, h, s, (k0, k1), first + turn, which, turn < pairs)[0]

        out[number, lanes] = through(turns[0], pair, threads.load(x, number, lanes), PAIRS)

    grid = {"particle": x.shape[0], "block": x.shape[1] // block}
    # 2^x in one instruction
    move = kernel(particle, jax.eval_shape(lambda: x), grid, interpret, approx_math=True)
    turns = interval.most.astype(jnp.int32)[None]
    found: Positions = move(turns, x, first_pair, interval.pairs, *key, h, s, *leaves)
    return found


def _harmonic(stiffness: PerLane, x: Positions) -> Positions:
    return -stiffness * x


def _trial() -> None:
    """Three pairs of steps in a harmonic well, beside the loop."""
    lanes = jnp.arange(BLOCK)
    x = jnp.stack([jnp.linspace(-1.0, 1.0, BLOCK), jnp.linspace(0.5, -0.5, BLOCK)]).astype(jnp.float32)
    word, stiffness = lanes.astype(jnp.uint32), 10.0 + lanes.astype(jnp.float32)
    given = jnp.full(BLOCK, 1e-2), jnp.full(BLOCK, 3e-2), (word, word), word, Interval.alike(1.0, jnp.uint32(3), BLOCK)

    def both(scheme: Scheme, x: Positions) -> tuple[Positions, Positions]:
        force = functools.partial(_harmonic, stiffness)
        return diffuse(scheme, _harmonic, stiffness, x, *given), langevin.diffuse(scheme, force, x, x, *given)[0]

    for name in ("heun", "euler_maruyama"):
        resident, loop = jax.jit(functools.partial(both, SCHEMES[name]))(x)
        if not jnp.allclose(resident, loop, rtol=0.0, atol=1e-5):
            raise ArithmeticError("the kernel's steps are not those of the loop")


KERNEL = offered(Way("kernel", "particles in one kernel", "XLA's loop moves the particles", _trial))
