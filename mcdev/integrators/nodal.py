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

What lies where: `topology.py`. How the matrix is solved: `elimination.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from mcdev.integrators.elimination import eliminate
from mcdev.integrators.topology import Network, Sparse, rows_of

Lanes = Float[Array, " lane"]
Rows = Float[Array, "row lane"]

_ITERATIONS, _HALVINGS = 2000, 40  # an exponential law is walked down by its own voltage in each
_NEAR = 1e3  # tolerances: a lane that is further off when the iterations end has no solution
_ROUNDING = 4  # of a potential's last digit: what its sums and differences may be wrong by
_FEW = 96  # unknowns whose rows are exchanged one by one, and whose elimination costs less than a branch
TOLERANCE = {4: 1e-6, 8: 1e-9}
"""Bytes of a number → largest current that may be left over in a node, as a share of the currents that meet there."""


class Sources(NamedTuple):
    """Of the free ties: each gives its voltage while its current is no larger than ``most``, and then that current."""

    most: Float[Array, "tie lane"]
    """Amperes."""


class Solution(NamedTuple):
    z: Rows
    """Potentials of the clusters and voltages of the ties (V)."""
    unknown: Rows
    """Of these the ones that were to be found, in the order of elimination."""
    voltage: Rows
    """Of each element (V)."""
    current: Rows
    """Through each element (A)."""
    given: Rows
    """Current that each tie gives out of its first node (A)."""
    residual: Lanes
    """Largest current (A) left over in a node."""
    fixed: Bool[Array, "unknown lane"] | None
    """Of the unknowns those that a free tie holds, in the order of elimination; None without free ties."""


class _Point(NamedTuple):
    """A trial of the unknowns, and what Kirchhoff's law says of it."""

    z: Rows
    unknown: Rows
    voltage: Rows
    current: Rows
    residual: Rows
    scale: Rows
    """Of each unknown, the size of the currents that meet there, with what rounding does to them."""
    slope: Rows
    """Of each element."""


@eqx.filter_jit  # traced once, wherever it stands in a program
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
        left = rows_of(network.leaving(i), network.order) - given
        # A voltage is a difference of potentials, and no more accurate than these.
        rounded = _ROUNDING * float(np.finfo(v.dtype).eps) / tolerance * slope * weight.apply(jnp.abs(z))
        scale = rows_of(weight.transposed.apply(jnp.abs(i) + rounded), network.order) + jnp.abs(given)
        return _Point(z, unknown, v, i, jnp.where(fixed, 0.0, left), scale, slope)

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
            lambda point, mode: _changed(network, tied, sources, mode, point, tolerance),
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
    residual = jnp.max(jnp.abs(last.residual), axis=0) if network.unknowns else jnp.zeros_like(ties[0])
    fixed = None if sources is None else _held(network, ties, sources, mode, last.unknown)[0]
    given = network.leaving(last.current)[network.clusters :]
    return Solution(last.z, last.unknown, last.voltage, last.current, given, residual, fixed)


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


def _changed(network: Network, ties: Rows, sources: Sources | None, mode: Any, point: _Point, tolerance: float) -> Any:
    """The mode that each free tie should have: 0 as it is meant, ±1 at its limit. Of those that should change only the
    first does: so they end, since the matrix is positive (the least-index rule; Murty 1974,
    doi:10.1016/0024-3795(74)90043-5)."""
    assert sources is not None
    given, found = network.leaving(point.current)[network.clusters :], []
    before = jnp.zeros(ties.shape[1], bool)  # whether one has changed already
    for f, tie in enumerate(network.free):
        volts, amps = point.z[network.clusters + tie], given[tie]
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
