"""Resistance of a chain of tunnelling gaps (Wang et al. 2017, eq. 3).

R_M = R_t Σ exp[(x_{i+1} - x_i)/λ]   over the P+1 gaps between sorted particles and the terminals at ±1,
R_min = (P+1) R_t exp[2/((P+1) λ)]   when all gaps are equal.
"""

from __future__ import annotations

import functools
import itertools

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mcdev.machine.environment import backend

_NETWORK_LIMIT = 128
_BLOCK = 128
_VECTOR = 16  # lanes of the widest vector registers


@functools.cache
def sorting_network(n: int) -> tuple[tuple[int, int], ...]:
    """Comparators that sort n values: Batcher's odd-even merge sort (1968, doi:10.1145/1468075.1468121)."""
    comparators = []
    span = 1
    while span < n:
        stride = span
        while stride >= 1:
            for start in range(stride % span, n - stride, 2 * stride):
                for i in range(start, min(start + stride, n - stride)):
                    if i // (2 * span) == (i + stride) // (2 * span):
                        comparators.append((i, i + stride))
            stride //= 2
        span *= 2
    return tuple(comparators)


def sort_particles(x: Float[Array, "particle lane"]) -> list[Float[Array, " lane"]]:
    """The rows of x in ascending order within each lane.

    Written out as minima and maxima, the whole network fuses into one vectorised loop over lanes: on a CPU
    about thirty times faster than ``jnp.sort`` along the particles. Long chains fall back to the latter,
    because the program's size grows as n log² n.
    """
    if x.shape[0] > _NETWORK_LIMIT:
        return list(lax.sort(x, dimension=0))
    rows = [x[i] for i in range(x.shape[0])]
    for low, high in sorting_network(len(rows)):
        rows[low], rows[high] = jnp.minimum(rows[low], rows[high]), jnp.maximum(rows[low], rows[high])
    return rows


def relative_conductance(
    x: Float[Array, "particle lane"], tunnelling_length: Float[Array, " lane"]
) -> Float[Array, " lane"]:
    """g = R_min/R_M, between 0 and 1; positions and λ in units of half the gap.

    Every exponent is taken relative to the equal gap, so that even a short λ cannot overflow:
    g = (P+1) / Σ exp[(gap - 2/(P+1))/λ].
    """
    rate = 1.0 / tunnelling_length
    lanes = x.shape[1]
    block = min(_BLOCK, lanes // 2)
    if backend() != "cpu" or lanes % (2 * _VECTOR) or lanes % block:
        return _chain(sort_particles(x), rate)
    # Not only for the cache: a loop is a border that the compiler does not fuse across. Without it the network
    # is copied into everything that uses the conductance, and compiles twenty times longer.
    blocks = (x.reshape(x.shape[0], -1, block).swapaxes(0, 1), rate.reshape(-1, block))
    return lax.map(lambda part: _chain(sort_particles(part[0]), part[1]), blocks).reshape(lanes)


def conductance_once(
    x: Float[Array, "particle lane"], tunnelling_length: Float[Array, " lane"]
) -> Float[Array, " lane"]:
    """The same, bit for bit, where it is worked out once in a cycle: sorted by the library, which takes longer but half
    a second less to compile."""
    return _chain(list(lax.sort(x, dimension=0)), 1.0 / tunnelling_length)


def _chain(rows: list[Float[Array, " lane"]], rate: Float[Array, " lane"]) -> Float[Array, " lane"]:
    """Of rows in ascending order."""
    gaps = len(rows) + 1
    equal = 2.0 / gaps
    total = jnp.exp((rows[0] + (1.0 - equal)) * rate) + jnp.exp(((1.0 - equal) - rows[-1]) * rate)
    for left, right in itertools.pairwise(rows):
        total = total + jnp.exp((right - left - equal) * rate)
    return gaps / total


def conductance_of_chain(
    x: Float[Array, "particle lane"], tunnelling_length: Float[Array, " lane"]
) -> Float[Array, " lane"]:
    """The same of positions in ascending order, in a few operations that are quick to compile and to differentiate."""
    chain = jnp.pad(x, ((1, 1), (0, 0)), constant_values=((-1.0, 1.0), (0.0, 0.0)))
    gap = chain[1:] - chain[:-1]
    return 1.0 / jnp.mean(jnp.exp((gap - 2.0 / gap.shape[0]) / tunnelling_length), axis=0)
