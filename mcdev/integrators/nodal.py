"""Kirchhoff's laws for a network of two-terminal elements: the voltages of its nodes, one network a lane.

Elements whose current follows from their voltage, i = i(v), v' ≥ 0 (resistors, memristors at one instant), lie between
nodes; *ties* are branches whose voltage is given instead (sources, charged capacitors). Ties that hang together hold
their nodes at known distances from one another, so that what is left to find is one potential for each such cluster
without ground. With z the potentials of the clusters followed by the voltages of the ties,

    v = M z          M of -1, 0, 1: the voltage of each element
    Mᵀ i(v) = 0      in the rows of the unknown z: Kirchhoff's law of currents

and -Mᵀ i in the row of a tie is the current through that tie. The derivative Mᵀ diag(i') M is symmetric and positive,
so Newton's method needs no pivots, and with its steps cut back it always arrives: it minimises the co-content
Σ ∫ i dv, which is convex (Millar 1951, doi:10.1080/14786445108561372).

How it is solved: `elimination.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from mcdev.integrators.elimination import Matrix, Order, eliminate

Lanes = Float[Array, " lane"]
Rows = Float[Array, "row lane"]

_ITERATIONS, _HALVINGS = 2000, 40  # an exponential law is walked down by its own voltage in each
_NEAR = 1e3  # tolerances: a lane that is further off when the iterations end has no solution
_ROUNDING = 4  # of a potential's last digit: what its sums and differences may be wrong by
_FEW = 96  # terms of a sum that are written out one by one: the compiler then joins them with what is around
TOLERANCE = {4: 1e-6, 8: 1e-9}
"""Bytes of a number → largest current that may be left over in a node, as a share of the currents that meet there."""


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
        return _rows(jnp.concatenate([unknown, ties]), place)

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


def _rows(array: Rows, which: Sequence[int]) -> Rows:
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


class Sources(NamedTuple):
    """Of the free ties: each gives its voltage while its current is no larger than ``most``, and then that current."""

    most: Float[Array, "tie lane"]
    """Amperes."""


class Solution(NamedTuple):
    z: Rows
    """Potentials of the clusters and voltages of the ties (V)."""
    unknown: Rows
    """Of these the ones that were to be found, in the order of elimination."""
    current: Rows
    """Of each element (A)."""
    given: Rows
    """Current that each tie gives out of its first node (A)."""
    residual: Lanes
    """Largest current (A) left over in a node."""
    fixed: Bool[Array, "unknown lane"] | None
    """Of the unknowns those that a free tie holds, in the order of elimination; None without free ties."""


class _Point(NamedTuple):
    """A trial of the unknowns, and what Kirchhoff's law says of it."""

    unknown: Rows
    residual: Rows
    scale: Rows
    """Of each unknown, the size of the currents that meet there, with what rounding does to them."""
    slope: Rows
    """Of each element."""


def solve(
    network: Network, laws: Any, ties: Rows, guess: Rows, ohmic: bool = False, sources: Sources | None = None
) -> Solution:
    """The potentials at which no current is left over.

    ``laws(v)``: the current (A) of each element [element, lane] at its voltage; a pytree. ``ties``: their voltages
    (V). ``guess``: of the unknowns. ``ohmic``: whether every element is, so that one step is exact. ``sources``: of the
    free ties.

    A lane stops once what is left over is ``TOLERANCE`` of the currents that meet in a node, or what rounding leaves of
    the voltage of an element that conducts far better than others, so that no lane depends on its neighbours. The
    derivative by what ``laws`` and ``ties`` hold is that of the solution, not of the iteration. Where no solution was
    found, the unknowns are NaN.
    """
    tolerance = TOLERANCE[ties.dtype.itemsize]
    weight = Sparse(network.drops.shape, network.drops.row, network.drops.column, (1.0,) * len(network.drops.row))

    def at(laws: Any, ties: Rows, unknown: Rows, mode: Any) -> _Point:
        fixed, unknown, given = _held(network, ties, sources, mode, unknown)
        z = network.full(unknown, ties)
        v = network.element_voltages(z)
        i, slope = jax.jvp(laws, (v,), (jnp.ones_like(v),))
        left = _rows(network.leaving(i), network.order) - given
        # A voltage is a difference of potentials, and no more accurate than these.
        rounded = _ROUNDING * float(np.finfo(v.dtype).eps) / tolerance * slope * weight.apply(jnp.abs(z))
        scale = _rows(weight.transposed.apply(jnp.abs(i) + rounded), network.order) + jnp.abs(given)
        return _Point(unknown, jnp.where(fixed, 0.0, left), scale, slope)

    def newton(point: _Point, slope: Rows, ties: Rows, mode: Any) -> Rows:
        """How the unknowns change in one step."""
        fixed = _held(network, ties, sources, mode, point.unknown)[0]
        matrix = network.matrix(slope)
        if sources is not None:
            matrix = matrix.without(fixed)
        return eliminate(matrix, -point.residual[:, None])[:, 0]

    mode = None if sources is None else jnp.zeros(sources.most.shape, jnp.int8)
    unknown = lax.stop_gradient(guess)
    if network.unknowns and not (ohmic and sources is None):
        held, tied = lax.stop_gradient((laws, ties))
        unknown, mode = _search(
            lambda unknown, mode: at(held, tied, unknown, mode),
            lambda point, mode: newton(point, point.slope, tied, mode),
            lambda point, mode: _changed(network, held, tied, sources, mode, point.unknown, tolerance),
            unknown,
            mode,
            tolerance,
        )
    if network.unknowns:
        point = at(laws, ties, unknown, mode)
        slope = point.slope if ohmic else lax.stop_gradient(point.slope)
        unknown = point.unknown + newton(point, slope, ties, mode)
        unknown = jnp.where(jnp.isfinite(unknown), unknown, point.unknown)  # NaN stays NaN
    last = at(laws, ties, unknown, mode)
    z = network.full(last.unknown, ties)
    i = laws(network.element_voltages(z))
    residual = jnp.max(jnp.abs(last.residual), axis=0) if network.unknowns else jnp.zeros_like(ties[0])
    fixed = None if sources is None else _held(network, ties, sources, mode, last.unknown)[0]
    return Solution(z, last.unknown, i, network.leaving(i)[network.clusters :], residual, fixed)


def _search(
    at: Callable[[Rows, Any], _Point],
    newton: Callable[[_Point, Any], Rows],
    changed: Callable[[_Point, Any], Any],
    unknown: Rows,
    mode: Any,
    tolerance: float,
) -> tuple[Rows, Any]:
    """Newton's method; a step is halved until the slope of the co-content along it is no steeper than at its
    beginning. Once it is there, sources that are past their limits change over, and it goes on."""

    def there(point: _Point) -> Bool[Array, " lane"]:
        small = jnp.abs(point.residual) <= tolerance * point.scale
        return jnp.all(small & jnp.isfinite(point.scale), axis=0)

    def unfinished(carry: tuple[Any, ...]) -> Bool[Array, ""]:
        return (carry[0] < _ITERATIONS) & jnp.any(carry[1])

    def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        count, active, point, way, share, mode = carry
        tried = at(point.unknown + share * way, mode)
        before, after = (jnp.sum(p.residual * way, axis=0) for p in (point, tried))
        good = (jnp.abs(after) <= 0.9 * jnp.abs(before)) | there(tried) | (share < 2.0**-_HALVINGS)
        moved = active & good
        point = jax.tree.map(lambda new, old: jnp.where(moved, new, old), tried, point)
        done = moved & there(point)
        if mode is not None:
            other = changed(point, mode)
            turned = done & jnp.any(other != mode, axis=0)
            mode = jnp.where(turned, other, mode)
            anew = at(point.unknown, mode)
            point = jax.tree.map(lambda new, old: jnp.where(turned, new, old), anew, point)
            done &= ~turned
        if unknown.shape[0] > _FEW:  # an elimination costs more than a branch, and the last one would be for nothing
            step = lax.cond(jnp.any(moved & ~done), lambda: newton(point, mode), lambda: way)
        else:
            step = newton(point, mode)
        way = jnp.where(moved, step, way)
        share = jnp.where(moved, 1.0, 0.5 * share)
        return count + 1, active & ~done, point, way, share, mode

    begin = at(unknown, mode)
    one = jnp.ones_like(unknown[0])
    # The first trial is where the search begins: a step of no length, which is taken.
    way = jnp.zeros_like(unknown)
    carry = lax.while_loop(unfinished, body, (0, one > 0, begin, way, one, mode))
    _, active, point, _, _, mode = carry
    near = jnp.all(jnp.abs(point.residual) <= _NEAR * tolerance * point.scale, axis=0)
    return jnp.where(active & ~near, jnp.nan, point.unknown), mode


def _held(
    network: Network, ties: Rows, sources: Sources | None, mode: Any, unknown: Rows
) -> tuple[Bool[Array, "unknown lane"], Rows, Rows]:
    """Of each unknown: whether it is given, its value with those that are, and the current that a source puts in."""
    if sources is None:
        return jnp.zeros(unknown.shape, bool), unknown, jnp.zeros_like(unknown)
    fixed, value, given = {}, {}, {}
    for f, tie in enumerate(network.free):
        assert sources is not None
        k = network.order.index(network.clusters + tie)
        fixed[k] = mode[f] == 0
        value[k] = jnp.where(fixed[k], ties[tie], unknown[k])
        given[k] = mode[f].astype(ties.dtype) * sources.most[f]
    return _put(jnp.zeros(unknown.shape, bool), fixed), _put(unknown, value), _put(jnp.zeros_like(unknown), given)


def _put(array: Rows, rows: Mapping[int, Lanes]) -> Rows:
    """The array with some rows exchanged."""
    if array.shape[0] > _FEW:
        return array.at[np.array(list(rows))].set(jnp.stack(list(rows.values())))
    return jnp.stack([rows.get(k, row) for k, row in enumerate(array)])


def _changed(
    network: Network, laws: Any, ties: Rows, sources: Sources | None, mode: Any, unknown: Rows, tolerance: float
) -> Any:
    """The mode that each free tie should have: 0 as it is meant, ±1 at its limit. Of those that should change only the
    first does: so they end, since the matrix is positive (the least-index rule; Murty 1974,
    doi:10.1016/0024-3795(74)90043-5)."""
    assert sources is not None
    current = laws(network.element_voltages(network.full(unknown, ties)))
    given, found = network.leaving(current)[network.clusters :], []
    before = jnp.zeros(ties.shape[1], bool)  # whether one has changed already
    for f, tie in enumerate(network.free):
        volts, amps = unknown[network.order.index(network.clusters + tie)], given[tie]
        aim, most = ties[tie], sources.most[f] * (1 + 10 * tolerance)
        slack = 10 * tolerance * jnp.max(jnp.abs(ties), axis=0)
        start = jnp.where(amps > most, 1, jnp.where(amps < -most, -1, 0))
        back = ((mode[f] > 0) & (volts > aim + slack)) | ((mode[f] < 0) & (volts < aim - slack))
        own = jnp.where(before, mode[f], jnp.where(mode[f] == 0, start, jnp.where(back, 0, mode[f]))).astype(jnp.int8)
        before |= own != mode[f]
        found.append(own)
    return jnp.stack(found)


def stiffness(
    network: Network, slope: Rows, ties: Sequence[int], fixed: Bool[Array, "unknown lane"] | None = None
) -> Float[Array, "tie tie lane"]:
    """-∂(current out of each of these ties)/∂(their voltages) (S), all else in balance: what is left of the matrix
    once the unknowns are eliminated (a Schur complement)."""
    to_unknown, among = network.coupling(slope, ties)
    if not network.unknowns:
        return among
    matrix = network.matrix(slope)
    if fixed is not None:
        matrix = matrix.without(fixed)
        to_unknown = jnp.where(fixed[:, None], 0.0, to_unknown)
    answer = eliminate(matrix, to_unknown)
    return among - jnp.sum(to_unknown[:, :, None] * answer[:, None], axis=0)
