"""Where the elements of a network lie: from the potentials that are to be found to the voltage of each element, and to
the matrix that Newton's method wants of them. The equations: `nodal.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcdev.integrators.elimination import Matrix, Order

Rows = Float[Array, "row lane"]

_FEW = 96  # terms of a sum that are written out one by one: the compiler then joins them with what is around


class Loop(ValueError):
    """Ties that close a loop; ``tie`` is the last of them."""

    def __init__(self, tie: int):
        super().__init__(tie)
        self.tie = tie


class Floating(ValueError):
    """Nodes that no element connects with ground."""

    def __init__(self, nodes: Sequence[Hashable]):
        super().__init__(nodes)
        self.nodes = list(nodes)


@dataclass(frozen=True)
class Sparse:
    """A constant matrix by its entries; ``apply`` works on arrays [column, lane]."""

    shape: tuple[int, int]
    row: tuple[int, ...]
    column: tuple[int, ...]
    value: tuple[float, ...]

    @classmethod
    def of(cls, rows: Sequence[Mapping[int, float]], columns: int) -> Sparse:
        """From each row's column → value."""
        entries = [(i, column, value) for i, row in enumerate(rows) for column, value in row.items()]
        return cls((len(rows), columns), *(tuple(x) for x in (zip(*entries, strict=True) if entries else ((),) * 3)))

    @property
    def transposed(self) -> Sparse:
        return Sparse(self.shape[::-1], self.column, self.row, self.value)

    def apply(self, x: Float[Array, "column lane"]) -> Float[Array, "row lane"]:
        zero = jnp.zeros((self.shape[0], x.shape[-1]), x.dtype)
        if len(self.row) > _FEW:
            values = jnp.asarray(self.value, x.dtype)[:, None]
            return zero.at[np.array(self.row)].add(values * x[np.array(self.column)])
        sums: list[Any] = [None] * self.shape[0]
        for row, column, value in zip(self.row, self.column, self.value, strict=True):
            term: Any = x[column] if value == 1 else -x[column] if value == -1 else value * x[column]
            sums[row] = term if sums[row] is None else sums[row] + term
        return jnp.stack([zero[0] if each is None else each for each in sums]) if sums else zero


@dataclass(frozen=True)
class Network:
    """Where elements and ties lie. Hashable: a compiled program is made for each."""

    elements: tuple[tuple[Hashable, Hashable], ...]
    """Nodes of each element; its current flows from the first to the second."""
    ties: tuple[tuple[Hashable, Hashable], ...]
    """Nodes of each tie; its voltage is that of the first over the second."""
    ground: Hashable
    free: tuple[int, ...]
    """Ties that may be let go, so that their voltage is found and their current given (a source at its limit)."""
    drops: Sparse
    """M: the voltage of each element from (unknowns, ties)."""
    places: Sparse
    """The potential of each node from the same."""
    nodes: tuple[Hashable, ...]
    unknowns: int
    """Clusters without ground and free ties, in the order of elimination."""
    order: tuple[int, ...]
    """Column of ``drops`` of each unknown."""
    inner: int
    """Unknowns that are eliminated at once, before the others (`elimination.py`)."""
    band: int
    """Of the others: unknowns after the diagonal that a row of the matrix reaches."""

    @classmethod
    def of(
        cls,
        elements: Sequence[tuple[Hashable, Hashable]],
        ties: Sequence[tuple[Hashable, Hashable]],
        ground: Hashable,
        free: Sequence[int] = (),
        idle: Sequence[int] = (),
    ) -> Network:
        """``idle``: elements that join nothing, since their current is given. Raises :class:`Loop` and
        :class:`Floating`."""
        nodes = list(dict.fromkeys([ground, *(node for pair in (*ties, *elements) for node in pair)]))
        number = {node: i for i, node in enumerate(nodes)}
        root = list(range(len(nodes)))
        above: list[dict[int, float]] = [{} for _ in nodes]  # a node's potential over its root's, by tie
        for t, (plus, minus) in enumerate(ties):
            a, b = number[plus], number[minus]
            if root[a] == root[b]:
                raise Loop(t)
            # of a's root over b's: potential(a) = root(a) + above(a) lies the tie's voltage over that of b
            step, moving, staying = _sum(above[b], _minus(above[a]), {t: 1.0}), root[a], root[b]
            if moving == 0:  # ground stays a root
                step, moving, staying = _minus(step), staying, moving
            for i in (i for i, own in enumerate(root) if own == moving):
                root[i], above[i] = staying, _sum(above[i], step)
        clusters = {own: k for k, own in enumerate(i for i in range(1, len(nodes)) if root[i] == i)}
        places = [
            ({clusters[own]: 1.0} if own else {}) | {len(clusters) + t: v for t, v in path.items()}
            for own, path in zip(root, above, strict=True)
        ]
        drops = [_sum(places[number[a]], _minus(places[number[b]])) for a, b in elements]
        _connected(nodes, root, [(number[a], number[b]) for e, (a, b) in enumerate(elements) if e not in idle])
        columns = [*range(len(clusters)), *(len(clusters) + t for t in free)]
        stay = columns[len(clusters) :]
        kept = set(columns)
        pairs = ((a, b) for row in drops for a in row for b in row if a in kept and b in kept)
        order = Order.of(columns, pairs, stay)
        width = len(clusters) + len(ties)
        return cls(
            elements=tuple(elements),
            ties=tuple(ties),
            ground=ground,
            free=tuple(free),
            drops=Sparse.of(drops, width),
            places=Sparse.of(places, width),
            nodes=tuple(nodes),
            unknowns=len(columns),
            order=order.unknowns,
            inner=order.inner,
            band=order.band,
        )

    @property
    def clusters(self) -> int:
        """Unknown potentials."""
        return self.unknowns - len(self.free)

    def element_voltages(self, z: Rows) -> Rows:
        """Of each element (V), from (unknown potentials, voltages of ties)."""
        return self.drops.apply(z)

    def leaving(self, current: Rows) -> Rows:
        """Mᵀ i (A): what leaves each cluster; in the rows of the ties minus the current through each."""
        return self.drops.transposed.apply(current)

    def full(self, unknown: Rows, ties: Rows) -> Rows:
        """z from the unknowns in the order of elimination and the voltages of all ties; a free tie's own is the
        unknown's."""
        place = [self.unknowns + column - self.clusters for column in range(self.clusters + len(self.ties))]
        for k, column in enumerate(self.order):
            place[column] = k
        return rows_of(jnp.concatenate([unknown, ties]), place)

    def matrix(self, slope: Rows) -> Matrix:
        """Mᵀ diag(i') M on the unknowns."""
        place, first = {column: k for k, column in enumerate(self.order)}, self.inner
        inner: list[tuple[int, int, float]] = []
        band: list[tuple[int, int, float]] = []
        joints: list[tuple[int, int, float]] = []
        number: dict[tuple[int, int], int] = {}
        for row in _by_row(self.drops):
            inside = [(place[column], value, e) for column, value, e in row if column in place]
            for k, a, e in inside:
                for j, b, _ in inside:
                    if first <= k <= j:
                        band.append(((k - first) * (self.band + 1) + j - k, e, a * b))
                    elif k < first <= j:
                        joints.append((number.setdefault((k, j - first), len(number)), e, a * b))
                    elif k == j:
                        inner.append((k, e, a * a))
        outer = self.unknowns - first

        def entries(terms: list[tuple[int, int, float]], count: int) -> Rows:
            columns = zip(*terms, strict=True) if terms else ((), (), ())
            return Sparse((count, len(self.elements)), *(tuple(c) for c in columns)).apply(slope)

        return Matrix(
            entries(inner, first),
            entries(joints, len(number)),
            tuple(number),
            entries(band, outer * (self.band + 1)).reshape(outer, self.band + 1, slope.shape[1]),
        )

    def coupling(self, slope: Rows, ties: Sequence[int]) -> tuple[Array, Array]:
        """Mᵀ diag(i') M between unknowns and these ties [unknown, tie, lane], and among the ties [tie, tie, lane]."""
        own = {self.clusters + t: k for k, t in enumerate(ties)}
        unknown = {column: k for k, column in enumerate(self.order)}

        def between(first: Mapping[int, int]) -> Array:
            terms = [
                (first[a] * len(own) + own[b], e, x * y)
                for row in _by_row(self.drops)
                for a, x, e in row
                for b, y, _ in row
                if a in first and b in own
            ]
            columns = zip(*terms, strict=True) if terms else ((), (), ())
            products = Sparse((len(first) * len(own), len(self.elements)), *(tuple(c) for c in columns))
            return products.apply(slope).reshape(len(first), len(own), slope.shape[1])

        return between(unknown), between(own)


def rows_of(array: Rows, which: Sequence[int]) -> Rows:
    """Some rows of an array."""
    if len(which) > _FEW:
        return array[np.array(which, int)]
    return jnp.stack([array[i] for i in which]) if which else array[:0]


def _by_row(matrix: Sparse) -> list[list[tuple[int, float, int]]]:
    """(column, value, row) of each row's entries."""
    found: list[list[tuple[int, float, int]]] = [[] for _ in range(matrix.shape[0])]
    for row, column, value in zip(matrix.row, matrix.column, matrix.value, strict=True):
        found[row].append((column, value, row))
    return found


def _connected(nodes: Sequence[Hashable], root: Sequence[int], elements: Sequence[tuple[int, int]]) -> None:
    """Raises :class:`Floating` for nodes whose cluster no element joins, over others, with ground."""
    reached, grown = {0}, True
    while grown:
        joined = {r for a, b in elements if (root[a] in reached) != (root[b] in reached) for r in (root[a], root[b])}
        grown = bool(joined - reached)
        reached |= joined
    lost = [node for i, node in enumerate(nodes) if root[i] not in reached]
    if lost:
        raise Floating(lost)


def _minus(row: Mapping[int, float]) -> dict[int, float]:
    return {column: -value for column, value in row.items()}


def _sum(*rows: Mapping[int, float]) -> dict[int, float]:
    """Of rows of a matrix, without their zeros."""
    found: dict[int, float] = {}
    for row in rows:
        for column, value in row.items():
            found[column] = found.get(column, 0.0) + value
    return {column: value for column, value in found.items() if value}
