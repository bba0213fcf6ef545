"""Over-damped Langevin motion of many particles between two reflecting walls.

    η dx = F(x) dt + sqrt(2 η k_B T) dW,    -1 ≤ x ≤ 1

(Wang et al. 2017, eq. 4). A scheme advances by the drift ``h = dt/η`` and the noise amplitude
``s = sqrt(2 k_B T h)``. One scheme is one function of the table ``SCHEMES``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, UInt32

from mcdev.integrators.interval import Interval
from mcdev.integrators.noise import normal_pair
from mcdev.machine.environment import backend

Positions = Float[Array, "particle lane"]
PerLane = Float[Array, " lane"]
Force = Callable[[Positions], Positions]


def euler_maruyama(force: Force, x: Positions, h: PerLane, s: PerLane, xi: Positions, before: Positions) -> Positions:
    """x + h F(x) + s ξ. Weak order 1 (Maruyama 1955)."""
    return x + h * force(x) + s * xi


def heun(force: Force, x: Positions, h: PerLane, s: PerLane, xi: Positions, before: Positions) -> Positions:
    """Predict with Euler, correct with the mean force. Weak order 2 for additive noise
    (Kloeden and Platen 1992, §15.1)."""
    here = force(x)
    ahead = force(x + h * here + s * xi)
    return x + 0.5 * h * (here + ahead) + s * xi


def leimkuhler_matthews(
    force: Force, x: Positions, h: PerLane, s: PerLane, xi: Positions, before: Positions
) -> Positions:
    """x + h F(x) + s (ξ + ξ_before)/2. Second order in the stationary density, but it slows barrier crossing:
    for equilibrium averages only (Leimkuhler and Matthews 2013, doi:10.1093/amrx/abs010)."""
    return x + h * force(x) + 0.5 * s * (xi + before)


class Scheme(NamedTuple):
    step: Callable[[Force, Positions, PerLane, PerLane, Positions, Positions], Positions]
    curvature_step: float
    """Default step as h · max|U''|; how it was chosen stands in docs/numerics.md."""
    stability_limit: float
    """h · max|U''| above which the scheme's linear part diverges."""
    kinetics: bool
    """Whether rates (first-passage times, delays, relaxation) come out right."""
    remembers_noise: bool = False


SCHEMES: dict[str, Scheme] = {
    "euler_maruyama": Scheme(euler_maruyama, 0.04, 2.0, kinetics=True),
    "heun": Scheme(heun, 0.15, 2.0, kinetics=True),
    "leimkuhler_matthews": Scheme(leimkuhler_matthews, 0.15, 2.0, kinetics=False, remembers_noise=True),
}


WRITTEN_OUT = {"cpu": 1, "gpu": 8, "tpu": 1}
"""Pairs of steps in one turn of the loop, by backend. On a CPU more is slower. On a GPU a turn launches at least one
kernel, which takes longer than a pair of steps of a small ensemble; pairs written out fuse into one. The GPU's number
is chosen on paper; `benchmarks/gpu.py` measures several."""


def reflect(x: Positions) -> Positions:
    """Mirror at the walls ±1; a step longer than the whole gap ends at a wall. NaN stays NaN."""
    inside = jnp.where(x > 1.0, 1.0, x)
    inside = jnp.where(inside < -1.0, -1.0, inside)
    x = (inside + inside) - x  # exactly x between the walls
    x = jnp.where(x > 1.0, 1.0, x)
    return jnp.where(x < -1.0, -1.0, x)


def steps(
    scheme: Scheme,
    force: Force,
    x: Positions,
    before: Positions,
    h: PerLane,
    s: PerLane,
    key: tuple[UInt32[Array, " lane"], UInt32[Array, " lane"]],
    pair: UInt32[Array, "particle lane"],
    particle: UInt32[Array, "particle 1"],
    active: Bool[Array, " lane"],
) -> tuple[Positions, Positions]:
    """The two steps that one pair of random numbers drives; a lane that is not ``active`` holds still. Returns the
    positions and the last noise."""
    reached, last = x, before
    for xi in normal_pair(key, (pair, particle), x.dtype):
        reached = reflect(scheme.step(force, reached, h, s, xi, last))
        if scheme.remembers_noise:
            last = xi
    return jnp.where(active, reached, x), jnp.where(active, last, before)


def diffuse(
    scheme: Scheme,
    force: Force,
    x: Positions,
    before: Positions,
    h: PerLane,
    s: PerLane,
    key: tuple[UInt32[Array, " lane"], UInt32[Array, " lane"]],
    first_pair: UInt32[Array, " lane"],
    interval: Interval,
) -> tuple[Positions, Positions]:
    """Take the steps of an interval at constant force field and temperature.

    Random numbers come in pairs (Box-Muller), so steps do too: pair ``first_pair + i`` of this realisation's
    stream drives steps 2i and 2i+1. A lane whose pairs are done takes steps of no length. Returns the positions and
    the last noise.
    """
    particle, pairs = jnp.arange(x.shape[0], dtype=jnp.uint32)[:, None], interval.most

    def pair(i: UInt32[Array, ""], carry: tuple[Positions, Positions]) -> tuple[Positions, Positions]:
        x, before = carry
        number = jnp.broadcast_to(first_pair + i, x.shape)
        return steps(scheme, force, x, before, h, s, key, number, particle, i < interval.pairs)

    return through(pairs, pair, (x, before), WRITTEN_OUT[backend()])


def through(pairs: Any, pair: Callable[[Any, Any], Any], begin: Any, count: int) -> Any:
    """The loop over a whole number of pairs from ``begin``, ``count`` of them in a turn; what is left one by one."""
    kind = pairs.dtype.type
    if count == 1:
        return lax.fori_loop(kind(0), pairs, pair, begin)

    def turn(i: Any, carry: Any) -> Any:
        for j in range(count):
            carry = pair(i * kind(count) + kind(j), carry)
        return carry

    turns = pairs // kind(count)
    carry = lax.fori_loop(kind(0), turns, turn, begin)
    return lax.fori_loop(turns * kind(count), pairs, pair, carry)
