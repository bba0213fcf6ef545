"""The potential that a nanoparticle moves in (Wang et al. 2017, Methods), in units of w_p and half the gap.

    U(x) = -w_i [exp(-(x+x_c)²/R_I²) + r exp(-(x-x_c)²/R_I²)] + ½ sin(2πx/R_p + φ)

Two deep interfacial wells hold the clusters at the terminals; many shallow pinning wells fill the gap. In the paper
both are equally deep, r = 1. Its Methods mention two variants, both here: random pinning, and the interfacial energy
as an attraction between particles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from mcdev.integrators.elementary import cosine_turns, gaussian

Positions = Float[Array, "particle lane"]
PerLane = Float[Array, " lane"]
Bell = Callable[[Positions], Positions]
"""exp(-y²): with its derivative, or plain, as where no derivative is taken and a compiler knows of none."""


class RightWell(eqx.Module):
    """What the right interfacial well has of its own."""

    depth: PerLane
    steepness: PerLane


class InterfacialWells(eqx.Module):
    """The wells at the terminals. Each particle feels the nearer one: with x_c ≥ 3.5 R_I the other is below
    5e-6 of its depth everywhere, and one Gaussian of |x| serves both.

    Fields hold what the hot loop multiplies by, since a division costs as much as the rest: 1/R_I, 2 w_i/R_I."""

    depth: PerLane
    """Of both wells, or of the left one."""
    centre: PerLane
    per_width: PerLane
    steepness: PerLane
    right: RightWell | None = None
    """None where both wells are equally deep, so that the hot loop chooses between no depths."""

    @classmethod
    def of(cls, depth: PerLane, centre: PerLane, width: PerLane, right: PerLane | None = None) -> InterfacialWells:
        """``right``: depth of the right well; None: as deep as the left one."""
        own = None if right is None else RightWell(right, 2.0 * right / width)
        return cls(depth, centre, 1.0 / width, 2.0 * depth / width, own)

    def energy(self, x: Positions) -> Positions:
        y = (jnp.abs(x) - self.centre) * self.per_width
        depth = self.depth if self.right is None else jnp.where(x < 0.0, self.depth, self.right.depth)
        return -depth * gaussian(y)

    def force(self, x: Positions, bell: Bell = gaussian) -> Positions:
        y = (x - jnp.where(x < 0.0, -self.centre, self.centre)) * self.per_width
        steepness = self.steepness if self.right is None else jnp.where(x < 0.0, self.steepness, self.right.steepness)
        return -steepness * y * bell(y)


class PeriodicPinning(eqx.Module):
    """½ sin(2πx/R_p + φ); fields 1/R_p and φ/2π."""

    per_period: PerLane
    turns: PerLane

    @classmethod
    def of(cls, period: PerLane, phase: PerLane) -> PeriodicPinning:
        return cls(1.0 / period, phase / (2 * np.pi))

    def energy(self, x: Positions) -> Positions:
        return 0.5 * cosine_turns(x * self.per_period + (self.turns - 0.25))

    def force(self, x: Positions) -> Positions:
        return -np.pi * self.per_period * cosine_turns(x * self.per_period + self.turns)


class RandomPinning(eqx.Module):
    """A chain of wells of random width and depth whose tops are level, U = ½ at every top:

        U(x) = ½ - d_k ½ [1 - cos(2π (x - b_k)/(b_{k+1} - b_k))]   between the tops b_k and b_{k+1}.

    Smooth at the tops; with equal widths and unit depths it is the periodic pinning.
    """

    tops: Float[Array, "top lane"]
    per_width: Float[Array, "well lane"]
    depth: Float[Array, "well lane"]

    @classmethod
    def of(cls, tops: Float[Array, "top lane"], depth: Float[Array, "well lane"]) -> RandomPinning:
        return cls(tops, 1.0 / (tops[1:] - tops[:-1]), depth)

    def _well(self, x: Positions) -> tuple[Positions, Positions, Positions]:
        """Left top, inverse width and depth of the well that holds x; by selection, which vectorises."""
        left = jnp.broadcast_to(self.tops[0], x.shape)
        rate = jnp.broadcast_to(self.per_width[0], x.shape)
        depth = jnp.broadcast_to(self.depth[0], x.shape)
        for k in range(1, self.depth.shape[0]):
            inside = x >= self.tops[k]
            left = jnp.where(inside, self.tops[k], left)
            rate = jnp.where(inside, self.per_width[k], rate)
            depth = jnp.where(inside, self.depth[k], depth)
        return left, rate, depth

    def energy(self, x: Positions) -> Positions:
        left, rate, depth = self._well(x)
        return 0.5 - 0.5 * depth * (1.0 - cosine_turns((x - left) * rate))

    def force(self, x: Positions) -> Positions:
        left, rate, depth = self._well(x)
        return np.pi * depth * rate * cosine_turns((x - left) * rate - 0.25)


class Attraction(eqx.Module):
    """Interfacial energy as a pair interaction: E = -(2 e/P) Σ_{i<j} exp(-(x_i-x_j)²/R_I²).

    The strength is such that half of all particles, drawn together to a point, hold each of them as deep as an
    interfacial well of depth e. Costs P times more than the wells.
    """

    strength: PerLane
    per_width: PerLane

    def force(self, x: Positions) -> Positions:
        count = x.shape[0]

        def body(shift: int, total: Positions) -> Positions:
            y = (x - jnp.roll(x, shift, axis=0)) * self.per_width
            return total - y * gaussian(y)

        pull = lax.fori_loop(1, count, body, jnp.zeros_like(x))
        return (4.0 / count) * self.strength * self.per_width * pull


class Capacity(eqx.Module):
    """A cluster that holds more than N_0 particles binds its last ones less, as a stiff host under pressure would:

        E = Σ_T (c w_T/2N_0) max(0, N_T - N_0)²,  N_T = Σ_i s_T(x_i),  s_T(x) = exp(-((x - x_T)/R_I)²)

    so that terminal T's well is w_T [1 - c max(0, N_T/N_0 - 1)] deep. An assumption, not of the paper, whose
    equations are c = 0: with them each pulse of one polarity carries particles across and nothing brings them back.
    """

    stiffness: PerLane
    """c."""
    content: PerLane
    """N_0."""

    def shares(self, wells: InterfacialWells, x: Positions) -> tuple[PerLane, PerLane]:
        """What is left of the depths of the left and the right well."""
        none = jnp.zeros_like(x[0])

        def add(i: Array, held: tuple[PerLane, PerLane]) -> tuple[PerLane, PerLane]:
            near = gaussian((jnp.abs(x[i]) - wells.centre) * wells.per_width)
            return held[0] + jnp.where(x[i] < 0.0, near, 0.0), held[1] + jnp.where(x[i] < 0.0, 0.0, near)

        # A loop, whose order is fixed, and which the compiler does not work out again for each particle.
        left, right = lax.fori_loop(0, x.shape[0], add, (none, none))
        return self.of(left), self.of(right)

    def of(self, held: PerLane) -> PerLane:
        """What is left of the depth of a well that holds N_T = ``held``."""
        return 1.0 - self.stiffness * jnp.maximum(held / self.content - 1.0, 0.0)


class Landscape(eqx.Module):
    """The sum of what acts on a particle without a voltage."""

    wells: InterfacialWells
    pinning: PeriodicPinning | RandomPinning
    attraction: Attraction | None = None
    capacity: Capacity | None = None

    @property
    def each_alone(self) -> bool:
        """Whether the force on a particle depends on where it is and on nothing else, by a few numbers a lane."""
        return self.attraction is None and self.capacity is None and isinstance(self.pinning, PeriodicPinning)

    def force(self, x: Positions, bell: Bell = gaussian) -> Positions:
        held = self.wells.force(x, bell)
        if self.capacity is not None:
            left, right = self.capacity.shares(self.wells, x)
            held = held * jnp.where(x < 0.0, left, right)
        total = held + self.pinning.force(x)
        return total if self.attraction is None else total + self.attraction.force(x)

    def single_particle_energy(self, x: Positions) -> Positions:
        """Energy in the wells and the pinning alone, of wells that hold no more than they can."""
        return self.wells.energy(x) + self.pinning.energy(x)


def curvature_bound(depth: float, width: float, period: float, deepest: float, attraction: float) -> float:
    """An upper bound of max|U''| in w_p/L²: ½ d (2π/R_p)² + 2 w_i/R_I² + 4 e/R_I² (1777 for the paper's numbers); w_i
    is the depth of the deeper interfacial well."""
    return 0.5 * deepest * (2 * np.pi / period) ** 2 + (2 * depth + 4 * attraction) / width**2


def random_tops(period: np.ndarray, phase: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Tops of a chain of wells whose widths are R_p times ``factors`` [well, lane], starting at or left of -1."""
    first = (0.25 - phase / (2 * np.pi)) * period
    first = first - np.ceil((first + 1.0) / period) * period
    return np.concatenate([first[None], first + np.cumsum(period * factors, axis=0)])


def well_exchange(landscape: Landscape, temperature: float, friction: float) -> tuple[float, float]:
    """(equilibrium share in the left half, exchange time in 1/κ) of a single particle, from the first lane.

    The exchange time is 1/(1/T_LR + 1/T_RL), T the mean first-passage times between the bottoms of the two
    halves by the quadrature T = (η/θ) ∫ dy e^{U/θ} ∫ dz e^{-U/θ} (Hänggi, Talkner and Borkovec 1990, eq. 7.7,
    doi:10.1103/RevModPhys.62.251).
    """
    x = np.linspace(-1.0, 1.0, 8001)
    first = jax.tree.map(lambda leaf: leaf[..., :1], landscape)
    energy: Any = eqx.filter_jit(Landscape.single_particle_energy)  # one program: compiling each operation takes longer
    u = np.asarray(energy(first, x[:, None]), dtype=np.float64)[:, 0]
    u = (u - u.min()) / temperature
    dx = x[1] - x[0]
    weight = np.exp(-u)
    left = float(weight[x < 0].sum() / weight.sum())
    below = np.cumsum(weight) * dx
    above = np.cumsum(weight[::-1])[::-1] * dx
    i, j = int(np.argmin(np.where(x < 0, u, np.inf))), int(np.argmin(np.where(x > 0, u, np.inf)))
    barrier = np.exp(u[i : j + 1]) * dx
    there = friction / temperature * float(np.sum(barrier * below[i : j + 1]))
    back = friction / temperature * float(np.sum(barrier * above[i : j + 1]))
    return left, 1.0 / (1.0 / there + 1.0 / back)
