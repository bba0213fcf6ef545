"""A particle in a landscape as hops between milestones, with rates that are exact.

Milestones y_1 < … < y_S stand at the minima of U without a voltage, each bond between two of them cut into as many
equal parts as asked for. With E(x) = (U(x) - f v x)/θ and h_i(x) the probability that a particle at x meets y_i before
the milestone on its other side (1 between the outermost milestones and the walls),

    S_i = ∫_{y_i}^{y_{i+1}} e^E dx          W_i = ∫ h_i e^-E dx
    k(i → i+1) = (θ/η)/(S_i W_i)            k(i+1 → i) = (θ/η)/(S_i W_{i+1})

Rate of leaving is exit probability over mean exit time. The h_i of all milestones add up to one and W_i k(i → i+1) is
symmetric, so stationary weights and every mean first passage between milestones are those of the Langevin equation, at
any barrier and tilt. Only the distribution of a passage is approximate: a hop forgets, a particle that has just arrived
does not. For many parts the chain is the mesh of Scharfetter and Gummel (1969, doi:10.1109/T-ED.1969.16566).
Milestoning: Faradjian and Elber (2004, doi:10.1063/1.1738640); mean exit times: Gardiner, Handbook of Stochastic
Methods, §5.2.7.
"""

from __future__ import annotations

import functools
import operator
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from mcdev.devices.landscape import Landscape, PeriodicPinning, RandomPinning
from mcdev.machine.environment import backend

PerLane = Float[Array, " lane"]

_BLOCK = 8
PANELS = 16
"""Of a bond, each with the nodes of a Gauss-Legendre rule."""
_ORDER = 5
_NODES, _WEIGHTS = (x / 2 for x in np.polynomial.legendre.leggauss(_ORDER))  # on [-1/2, 1/2]
_HALVINGS = 30
_LARGEST = 200.0
"""k_B T, of an energy of which `forgetting` takes the exponential: far below it a hop is as good as exponential over a
barrier, and as good as certain down a slope, so that larger ones say the same."""


def _cumulative() -> np.ndarray:
    """[node, value]: integral from the panel's left end to each node of the polynomial through the values there."""
    powers = np.arange(_ORDER)
    of_values = np.linalg.inv(_NODES[:, None] ** powers)
    integral = (_NODES[:, None] ** (powers + 1) - (-0.5) ** (powers + 1)) / (powers + 1)
    return integral @ of_values


_TO_NODE = _cumulative()


class Milestones(NamedTuple):
    """Milestones of a batch of landscapes, and the energy where the integrals need it; nothing in it depends on voltage
    or temperature. Bond j lies left of milestone j; the first and the last end at a wall."""

    at: Float[Array, "site lane"]
    """y; 1 where a lane has no such milestone (which are the last ones)."""
    there: Bool[Array, "site lane"]
    """Whether it has."""
    energy_at: Float[Array, "site lane"]
    x: Float[Array, "bond panel node lane"]
    energy: Float[Array, "bond panel node lane"]
    width: Float[Array, "bond lane"]
    """Of a panel."""


class Chain(NamedTuple):
    """What the milestones are to a particle under one voltage and temperature."""

    right: Float[Array, "site lane"]
    """Rate from each milestone to the next, in units of 1/η; 0 from the last."""
    left: Float[Array, "site lane"]
    """To the one before; 0 from the first."""
    log_weight: Float[Array, "site lane"]
    """ln W; -inf where there is no milestone."""
    within: Float[Array, "site edge lane"]
    """Share of W that lies left of the panel's edges, through both bonds of a milestone: of 2 PANELS + 1."""


def _first_minimum(pinning: PeriodicPinning) -> PerLane:
    """The leftmost minimum of ½ sin(2π(x/R_p + φ/2π)) inside the walls."""
    offset = 0.75 - pinning.turns
    return (offset + jnp.ceil(-pinning.per_period - offset)) / pinning.per_period


def _pinning_wells(pinning: PeriodicPinning | RandomPinning, most: int) -> tuple[Array, Array, Array]:
    """Middle of each well of the pinning alone, and its tops to the left and right; [well, lane], from the left."""
    if isinstance(pinning, RandomPinning):
        tops = jnp.asarray(pinning.tops)
        return 0.5 * (tops[1:] + tops[:-1]), tops[:-1], tops[1:]
    middle = _first_minimum(pinning) + jnp.arange(most)[:, None] / pinning.per_period
    return middle, middle - 0.5 / pinning.per_period, middle + 0.5 / pinning.per_period


@eqx.filter_jit
def milestones(landscape: Landscape, most: int, parts: int) -> Milestones:
    """Of landscapes [lane] with up to ``most`` periodic pinning wells, each bond in ``parts``.

    A well of the pinning whose minimum an interfacial well has washed out keeps a milestone a quarter of its width from
    its middle, where the pinning pulls hardest: rates between any milestones are exact."""
    middle, low, high = _pinning_wells(landscape.pinning, most)
    there = (middle > -1.0) & (middle < 1.0)
    order = jnp.argsort(~there, axis=0, stable=True)  # those inside first
    middle, low, high, there = (jnp.take_along_axis(a, order, axis=0) for a in (middle, low, high, there))

    # The pinning pulls a particle back over the quarter of a well on either side of its middle: there the force of a
    # minimum is found by bisection.
    def halved(_: Array, between: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = between
        half = 0.5 * (low + high)
        rising = landscape.force(half) > 0.0  # the minimum is further right
        return jnp.where(rising, half, low), jnp.where(rising, high, half)

    low, high = lax.fori_loop(0, _HALVINGS, halved, (0.5 * (middle + low), 0.5 * (middle + high)))
    y = jnp.where(there, jnp.clip(0.5 * (low + high), -1.0, 1.0), 1.0)
    if parts > 1:
        share = (jnp.arange(parts) / parts)[:, None]
        cut = y[:-1, None] + share * (y[1:, None] - y[:-1, None])
        both = jnp.broadcast_to((there[1:] & there[:-1])[:, None], cut.shape)
        exists = jnp.concatenate([there[:-1, None], both[:, 1:]], axis=1)
        y = jnp.concatenate([cut.reshape(-1, y.shape[1]), y[-1:]])
        there = jnp.concatenate([exists.reshape(-1, y.shape[1]), there[-1:]])
        order = jnp.argsort(~there, axis=0, stable=True)
        y, there = (jnp.take_along_axis(a, order, axis=0) for a in (y, there))
        y = jnp.where(there, y, 1.0)
    wall = jnp.ones_like(y[:1])
    edges = jnp.concatenate([-wall, y, wall])
    width = (edges[1:] - edges[:-1]) / PANELS
    middle_of = edges[:-1, None] + width[:, None] * (jnp.arange(PANELS) + 0.5)[:, None]
    x = middle_of[:, :, None] + width[:, None, None] * jnp.asarray(_NODES, y.dtype)[:, None]
    energy = landscape.single_particle_energy(x.reshape(-1, x.shape[-1])).reshape(x.shape)
    return Milestones(y, there, landscape.single_particle_energy(y), x, energy, width)


def _over(values: Array) -> Array:
    """Integral over a panel's width of one of values at the nodes [bond, panel, node, lane]."""
    first, *others = (weight * values[:, :, n] for n, weight in enumerate(_WEIGHTS))
    return functools.reduce(operator.add, others, first)


def _to_nodes(values: Array) -> Array:
    """From the panel's left end to each node."""
    return jnp.stack([sum(weight * values[:, :, n] for n, weight in enumerate(row)) for row in _TO_NODE], axis=2)


def _running(panels: Array) -> list[Array]:
    """Sums of the panels before each, and of all. Written out, so that it fuses and its order is fixed."""
    sums = [jnp.zeros_like(panels[:, 0])]
    for p in range(panels.shape[1]):
        sums.append(sums[-1] + panels[:, p])
    return sums


class Splitting(NamedTuple):
    """Which of a bond's two milestones a particle meets first, under one voltage and temperature."""

    at_left: Float[Array, "bond lane"]
    """E of the milestone at the bond's left end; where there is none, of that at the other."""
    at_right: Float[Array, "bond lane"]
    scale: Float[Array, "bond lane"]
    """E that stands for one, so that every exponential is a number."""
    up: Float[Array, "bond panel node lane"]
    """e^(E - scale)."""
    total: Float[Array, "bond lane"]
    """Its integral, in panels' widths."""
    of_left: Float[Array, "bond panel node lane"]
    """h of the milestone at the left end: 1 where there is no other one, 0 where there is none."""
    of_right: Float[Array, "bond panel node lane"]


def _splitting(of: Milestones, pull: PerLane, theta: PerLane) -> Splitting:
    low = (of.energy_at - pull * of.at) / theta
    e = (of.energy - pull * of.x) / theta
    none = jnp.zeros_like(of.there[:1])
    before, behind = jnp.concatenate([none, of.there]), jnp.concatenate([of.there, none])
    at_left, at_right = jnp.concatenate([low[:1], low]), jnp.concatenate([low, low[-1:]])
    at_left, at_right = jnp.where(before, at_left, at_right), jnp.where(behind, at_right, at_left)
    scale = 0.5 * (at_left + at_right)
    up = jnp.exp(e - scale[:, None, None])
    panel, to_node = _over(up), _to_nodes(up)
    sums = _running(panel)
    total = sums[-1]
    share = jnp.where(total > 0, 1.0 / total, 0.0)[:, None, None]
    passed = (jnp.stack(sums[:-1], axis=1)[:, :, None] + to_node) * share
    # Sums from the right end, so that what is small there keeps its digits.
    mirrored = _running(panel[:, ::-1])[:-1][::-1]
    remaining = (jnp.stack(mirrored, axis=1)[:, :, None] + (panel[:, :, None] - to_node)) * share
    before, behind = before[:, None, None], behind[:, None, None]
    of_left = jnp.where(before, jnp.where(behind, remaining, 1.0), 0.0)
    of_right = jnp.where(behind, jnp.where(before, passed, 1.0), 0.0)
    return Splitting(at_left, at_right, scale, up, total, of_left, of_right)


def lengths(of: Milestones, theta: PerLane) -> Float[Array, "site lane"]:
    """∫ h dx without a voltage: each milestone's share of particles that stand anywhere."""
    found = _splitting(of, jnp.zeros_like(theta), theta)
    left, right = (_over(h) * of.width[:, None] for h in (found.of_left, found.of_right))
    return _running(right[:-1] + left[1:])[-1]


def _chain(of: Milestones, pull: PerLane, theta: PerLane) -> Chain:
    low = (of.energy_at - pull * of.at) / theta
    found = _splitting(of, pull, theta)
    down = 1.0 / found.up
    # Of the milestone at the bond's left end and of that at its right end, in units of their own e^-E.
    units = of.width * jnp.exp(found.at_left - found.scale), of.width * jnp.exp(found.at_right - found.scale)
    held = [_over(h * down) * u[:, None] for h, u in zip((found.of_left, found.of_right), units, strict=True)]
    # A milestone's own: through the bond on its left, where it is the right end, then through that on its right.
    both = jnp.concatenate([held[1][:-1], held[0][1:]], axis=1)
    cumulated = _running(both)
    weight = jnp.where(of.there, cumulated[-1], 1.0)
    linked, scale = of.there[1:] & of.there[:-1], found.scale[1:-1]
    bridge = theta / jnp.where(linked, of.width[1:-1] * found.total[1:-1], 1.0)
    right = jnp.where(linked, bridge * jnp.exp(low[:-1] - scale) / weight[:-1], 0.0)
    left = jnp.where(linked, bridge * jnp.exp(low[1:] - scale) / weight[1:], 0.0)
    zero = jnp.zeros_like(right[:1])
    return Chain(
        jnp.concatenate([right, zero]),
        jnp.concatenate([zero, left]),
        jnp.where(of.there, jnp.log(weight) - low, -jnp.inf),
        jnp.stack(cumulated, axis=1) / weight[:, None],
    )


def chain(of: Milestones, pull: PerLane, theta: PerLane) -> Chain:
    """Of a particle pulled by f v (``pull``) at k_B T/w_p = ``theta``. Where all lanes are alike it is worked out once.

    On a CPU the lanes go through in blocks of eight, which stay in a core's cache; each comes out the same in any
    block."""
    lanes = pull.shape[0]
    if lanes % _BLOCK or backend() != "cpu":
        return _chain(of, pull, theta)
    given = (of, pull, theta)
    alike = functools.reduce(
        jnp.logical_and, (jnp.all(leaf == leaf[..., :1]) for leaf in (pull, theta, of.at, of.energy_at, of.energy))
    )
    shapes = jax.eval_shape(_chain, *given)
    blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def block(b: Array, found: Chain) -> Chain:
        cut = jax.tree.map(lambda leaf: lax.dynamic_slice_in_dim(leaf, b * _BLOCK, _BLOCK, leaf.ndim - 1), given)
        own = _chain(*cut)
        return jax.tree.map(
            lambda whole, part: lax.dynamic_update_slice_in_dim(whole, part, b * _BLOCK, whole.ndim - 1), found, own
        )

    found = lax.fori_loop(0, jnp.where(alike, 1, lanes // _BLOCK), block, blank)
    return jax.tree.map(lambda leaf: jnp.where(alike, leaf[..., :1], leaf), found)


def forgetting(of: Milestones, parts: int, pull: float, theta: float) -> float:
    """How far hops between the minima of one device (the first lane of ``of``, cut into no parts) are from the truth
    with ``parts`` milestones a bond: the largest difference between the squared coefficients of variation, of the chain
    and exact, of the time that a particle at a minimum needs to meet one of its two neighbours. With one part a hop is
    exponential, so that it is 1 - cv². The distribution of a first passage over one well is off by at most about half
    of it."""
    there = np.flatnonzero(np.asarray(of.there)[:, 0])
    e = np.asarray(of.energy - pull * of.x)[..., 0] / theta
    width = np.asarray(of.width)[:, 0]
    worst = 0.0
    for i in there[1:-1]:
        two = e[i : i + 2] - e[i : i + 2].min()
        two *= min(1.0, _LARGEST / two.max())
        try:
            with np.errstate(divide="raise", over="raise", invalid="raise"):
                hops, exact = _variation_of_hops(two, width[i : i + 2], parts), _variation(two, width[i : i + 2])
            worst = max(worst, abs(hops - exact))
        except (np.linalg.LinAlgError, FloatingPointError):
            return 1.0  # rates that differ by more than a number holds: no hop over a barrier at all
    return float(min(worst, 1.0))


def hops_at_equilibrium(of: Milestones, pull: float, theta: float) -> float:
    """Hops that a particle of one device (the first lane of ``of``) makes at equilibrium, in units of 1/η: 2θ Σ 1/(S Z)
    over the bonds, with S = ∫ e^E over one and Z = ∫ e^-E over all. The flux over a bond is θ/S times e^-E's
    normalisation 1/Z, the same either way (detailed balance)."""
    e = (np.asarray(of.energy) - pull * np.asarray(of.x))[..., 0] / theta
    with np.errstate(divide="ignore"):  # bonds of no length
        element = np.log(np.asarray(of.width)[:, 0])[:, None, None] + np.log(_WEIGHTS)
    barrier = np.logaddexp.reduce((e + element).reshape(len(e), -1), axis=1)
    there = np.asarray(of.there)[:, 0]
    linked = np.concatenate([[False], there[1:] & there[:-1], [False]])
    return float(2.0 * theta * np.exp(-barrier[linked] - np.logaddexp.reduce(element - e, axis=None)).sum())


def _through(values: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integral of values [..., panel, node] from the first panel to each node, and over all panels."""
    panels = (values @ _WEIGHTS) * steps
    before = np.cumsum(panels, axis=-1) - panels
    return before[..., None] + steps[..., None] * (values @ _TO_NODE.T), panels.sum(axis=-1)


def _variation(e: np.ndarray, width: np.ndarray) -> float:
    """cv² of the time from between two bonds [bond, panel, node] to their far ends: L T_1 = -1, L T_2 = -2 T_1 with L
    the backward operator (Gardiner, §5.2.7)."""
    up, down = (np.exp(sign * e).reshape(-1, e.shape[-1]) for sign in (1.0, -1.0))
    steps = np.repeat(width, e.shape[1])

    def upto(values: np.ndarray) -> np.ndarray:
        return _through(values, steps)[0]

    def beyond(values: np.ndarray) -> np.ndarray:
        return _through(values[::-1, ::-1], steps[::-1])[0][::-1, ::-1]

    left, right, whole = upto(up), beyond(up), _through(up, steps)[1]

    def time(given: np.ndarray) -> np.ndarray:
        """T at the nodes, of e^E (e^-E T')' = -given, T = 0 at both ends; by Green's function, a sum of what is
        positive: a difference would lose its digits over high barriers."""
        return (right * upto(left * down * given) + left * beyond(right * down * given)) / whole

    first = time(np.ones_like(up))
    # Where the bonds meet lies between the last node of one and the first of the other.
    half = e.shape[1]
    mean, square = (0.5 * (t[half - 1, -1] + t[half, 0]) for t in (first, time(2.0 * first)))
    return float(square / mean**2 - 1.0)


def _variation_of_hops(e: np.ndarray, width: np.ndarray, parts: int) -> float:
    """The same of the chain that has each of the two bonds in ``parts``."""
    cut = e.reshape(2 * parts, -1, e.shape[-1])
    steps = np.repeat(width, parts)[:, None] * np.ones(cut.shape[1])
    passed, barrier = _through(np.exp(cut), steps)
    to_right = passed / barrier[:, None, None]  # h of the right end; of the left end it is one minus this
    held = _through(to_right * np.exp(-cut), steps)[1][:-1] + _through((1.0 - to_right) * np.exp(-cut), steps)[1][1:]
    right, left = 1.0 / (barrier[1:] * held), 1.0 / (barrier[:-1] * held)
    leaving = np.diag(right + left) - np.diag(right[:-1], 1) - np.diag(left[1:], -1)
    mean = np.linalg.solve(leaving, np.ones(held.size))
    square = 2.0 * np.linalg.solve(leaving, mean)
    return float(square[parts - 1] / mean[parts - 1] ** 2 - 1.0)
