"""Symmetric positive systems, one a lane, by elimination in an order that leaves little to do.

Unknowns that touch two others at most, and none of each other, go first, all at once: what each leaves behind is one
entry between its two neighbours (the point between two elements in series is such an unknown). The others are put in an
order that keeps the matrix a narrow band (Cuthill and McKee 1969, doi:10.1145/800195.805928), whose elimination costs
unknowns × band² (Golub and Van Loan 2013, Matrix Computations, §4.3: L D Lᵀ within the band).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

_FEW = 96  # operations that are written out one by one, where the compiler joins them with what is around


class Order(NamedTuple):
    """The order of elimination of some unknowns."""

    unknowns: tuple[int, ...]
    """Their own numbers, in this order: the inner ones, then those of the band."""
    inner: int
    """How many go first."""
    band: int
    """How many unknowns after the diagonal a row of the band reaches."""

    @classmethod
    def of(cls, unknowns: Sequence[int], pairs: Iterable[tuple[int, int]], stay: Sequence[int] = ()) -> Order:
        """``pairs``: unknowns that touch. ``stay``: those that may not be inner."""
        near: dict[int, set[int]] = {u: set() for u in unknowns}
        for a, b in pairs:
            if a != b:
                near[a].add(b)
                near[b].add(a)
        whole = cls(*_narrow(list(unknowns), near))
        if len(unknowns) * (whole.band + 1) ** 2 <= _FEW:
            return whole
        inner: dict[int, None] = {}
        for u in unknowns:
            if u not in stay and len(near[u]) <= 2 and not near[u] & inner.keys():
                inner[u] = None
        rest = {u: {v for v in touching if v not in inner} for u, touching in near.items() if u not in inner}
        for u in inner:
            for a, b in itertools.permutations(near[u], 2):
                rest[a].add(b)
        outer = cls(*_narrow(list(rest), rest))
        return cls((*inner, *outer.unknowns), len(inner), outer.band)


def _narrow(unknowns: list[int], near: dict[int, set[int]]) -> tuple[tuple[int, ...], int, int]:
    """The unknowns in an order in which those that touch are near to each other, and how far apart such are at most."""
    order = list(range(len(unknowns)))
    place = {u: k for k, u in enumerate(unknowns)}
    edges = [(place[a], place[b]) for a, touching in near.items() for b in touching]
    if len(unknowns) > 2 and edges:
        from scipy.sparse import csr_array  # slow to import, and small networks do not ask
        from scipy.sparse.csgraph import reverse_cuthill_mckee

        graph = csr_array((np.ones(len(edges)), np.array(edges).T), shape=(len(unknowns),) * 2)
        order = [int(i) for i in reverse_cuthill_mckee(graph, symmetric_mode=True)]
    after = np.argsort(order)
    return tuple(unknowns[i] for i in order), 0, max((int(abs(after[a] - after[b])) for a, b in edges), default=0)


class Matrix(NamedTuple):
    """A symmetric matrix in such an order. What lies below the diagonal is not kept."""

    inner: Float[Array, "inner lane"]
    """Diagonal."""
    joints: Float[Array, "joint lane"]
    """Entries between an inner unknown and one of the band."""
    places: tuple[tuple[int, int], ...]
    """Of each joint: the inner unknown, and the place in the band."""
    band: Float[Array, "outer band lane"]
    """Entry [k, j] is that of unknowns k and k + j of the band."""

    def without(self, fixed: Bool[Array, "unknown lane"]) -> Matrix:
        """With the rows and columns of given unknowns, none of them inner, taken out."""
        width = self.band.shape[1]
        free = jnp.where(fixed[self.inner.shape[0] :], 0.0, 1.0).astype(self.band.dtype)
        later = jnp.concatenate([free, jnp.zeros((width, free.shape[1]), free.dtype)])
        kept = self.band * free[:, None] * jnp.stack([later[j : j + free.shape[0]] for j in range(width)], axis=1)
        joints = self.joints
        if self.places:
            joints = joints * free[np.array([outer for _, outer in self.places])]
        return self._replace(joints=joints, band=kept.at[:, 0].add(1.0 - free))


def eliminate(matrix: Matrix, right: Float[Array, "unknown side lane"]) -> Float[Array, "unknown side lane"]:
    """A⁻¹ right for symmetric positive A."""
    if not matrix.inner.shape[0]:
        return _banded(matrix.band, right)
    first, (outer, width, lanes) = matrix.inner.shape[0], matrix.band.shape
    pivot = jnp.where(matrix.inner != 0, matrix.inner, 1.0)
    inside, beside = (np.array(each, int) for each in (zip(*matrix.places, strict=True) if matrix.places else ((), ())))
    share = matrix.joints / pivot[inside]
    of: dict[int, list[int]] = {}
    for joint, (inner, _) in enumerate(matrix.places):
        of.setdefault(inner, []).append(joint)
    pairs = [(a, b) for joints in of.values() for a in joints for b in joints if beside[b] >= beside[a]]
    at = np.array([beside[a] * width + beside[b] - beside[a] for a, b in pairs], int)
    a, b = np.array(pairs, int).reshape(-1, 2).T
    band = matrix.band.reshape(outer * width, lanes).at[at].add(-share[a] * matrix.joints[b])
    begun, left = right[:first] / pivot[:, None], right[first:]
    x = _banded(band.reshape(matrix.band.shape), left.at[beside].add(-share[:, None] * right[inside]))
    return jnp.concatenate([begun.at[inside].add(-share[:, None] * x[beside]), x])


def _banded(
    band: Float[Array, "unknown band lane"], right: Float[Array, "unknown side lane"]
) -> Float[Array, "unknown side lane"]:
    """The same within the band alone."""
    unknowns, width, lanes = band.shape
    reach, sides = width - 1, right.shape[1]
    if unknowns == 0:
        return right
    hankel = np.add.outer(np.arange(1, reach + 1), np.arange(width))  # of a row, what it takes from those below it

    def forward(carry: tuple[Array, Array], own: tuple[Array, Array]) -> Any:
        pending, waiting = carry  # what rows before have taken from this one and the next ones
        row, side = own
        if reach:
            row, side = row + pending[0], side + waiting[0]
        pivot = jnp.where(row[0] != 0, row[0], 1.0)
        factor = row[1:] / pivot
        if reach:
            padded = jnp.concatenate([row, jnp.zeros((reach, lanes), row.dtype)])
            pending = jnp.concatenate([pending[1:], jnp.zeros_like(pending[:1])]) - factor[:, None] * padded[hankel]
            waiting = jnp.concatenate([waiting[1:], jnp.zeros_like(waiting[:1])]) - factor[:, None] * side
        return (pending, waiting), (factor, side / pivot)

    def backward(after: Array, own: tuple[Array, Array]) -> tuple[Array, Array]:
        factor, side = own  # after: the solutions of the next rows
        x = side - jnp.sum(factor[:, None] * after, axis=0) if reach else side
        return (jnp.concatenate([x[None], after[:-1]]) if reach else after), x

    unroll = unknowns if unknowns * width * width <= _FEW else 1
    blank = jnp.zeros((reach, width, lanes), band.dtype), jnp.zeros((reach, sides, lanes), band.dtype)
    _, reduced = lax.scan(forward, blank, (band, right), unroll=unroll)
    return lax.scan(backward, blank[1], reduced, reverse=True, unroll=unroll)[1]
