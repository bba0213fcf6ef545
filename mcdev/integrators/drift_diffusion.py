"""The transport law that ions and nanoparticles share: diffusion plus drift down a potential, as a density.

    ∂c/∂t = ∂/∂x [ D (∂c/∂x + c ∂ψ/∂x) ],    ψ the potential energy in units of kT

in finite volumes. Between two cells the potential is taken as linear and the flux as constant, which gives the
exponentially fitted flux of Scharfetter and Gummel (1969, doi:10.1109/T-ED.1969.16566). It is exact in equilibrium,
stays positive for any potential difference, and is second order on a smooth mesh.

The swarm's view of the same law is `mcdev.integrators.langevin`. The batch ("lane") is the last axis everywhere.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcdev.integrators.block_tridiagonal import Rows, solve

PerLane = Float[Array, " lane"]
Density = Float[Array, "cell lane"]
Any_ = Float[Array, "..."]

GAMMA = 1 - 0.5**0.5
"""Of SDIRK2, the two-stage, second-order, L-stable and stiffly accurate Runge-Kutta method with equal diagonal
(Alexander 1977, doi:10.1137/0714068)."""
HISTORY = (1 - GAMMA) / GAMMA
"""Weight of the first stage's increment in the second stage's history."""

_SERIES = 0.1  # below this |d| the closed forms lose digits


def bernoulli_pair(d: Any_) -> tuple[Any_, Any_, Any_]:
    """B(d), B(-d) and B'(d) for B(d) = d/(e^d - 1), from one exponential; no digits lost at any d.

    B'(-d) = -1 - B'(d).
    """
    size = jnp.abs(d)
    safe = jnp.maximum(size, _SERIES)
    decay = jnp.exp(-safe)
    share = safe / (1 - decay)
    s = d * d
    even = 1 + s * (1 / 12 + s * (-1 / 720 + s * (1 / 30240 - s * (1 / 1209600 - s / 47900160))))
    small = size < _SERIES
    up = jnp.where(small, even + 0.5 * size, share)  # B(-|d|)
    down = jnp.where(small, even - 0.5 * size, share * decay)  # B(|d|)
    slope_series = -0.5 + size * (1 / 6 + s * (-1 / 180 + s * (1 / 5040 - s / 151200)))
    slope = jnp.where(small, slope_series, down * (1 - up) / safe)  # B'(|d|)
    positive = d >= 0
    return jnp.where(positive, down, up), jnp.where(positive, up, down), jnp.where(positive, slope, -1 - slope)


@jax.custom_jvp
def bernoulli(d: Any_) -> Any_:
    """B(d) = d/(e^d - 1), with B(0) = 1, for any d and with its derivative."""
    return bernoulli_pair(d)[0]


@bernoulli.defjvp
def _bernoulli_jvp(primals: tuple[Any_], tangents: tuple[Any_]) -> tuple[Any_, Any_]:
    value, _, slope = bernoulli_pair(primals[0])
    return value, slope * tangents[0]


def scharfetter_gummel(left: Any_, right: Any_, d: Any_, conductance: Any_) -> Any_:
    """Flux from the left to the right cell, ``conductance (B(d) left - B(-d) right)``.

    ``d``: potential energy right minus left, in kT. ``conductance``: diffusivity over the distance of the centres.
    Zero to rounding where right = left · e^-d.
    """
    ahead, back, _ = bernoulli_pair(d)
    return conductance * (ahead * left - back * right)


def graded_mesh(cells: int, finest: float) -> np.ndarray:
    """Cell widths [cell] as shares of the length: ``finest`` at both walls, largest in the middle, sum 1.

    Faces lie at (1 + tanh(a (2 i/n - 1))/tanh a)/2: the widths grow geometrically off either wall and level off in
    the middle. The mapping is smooth, so that second order is kept (Vinokur 1983,
    doi:10.1016/0021-9991(83)90065-7). Uniform if ``finest`` ≥ 1/cells.
    """
    if cells < 2 or not finest > 0:
        raise ValueError(f"a mesh needs at least 2 cells and finest > 0, not {cells} and {finest}")
    ramp = 2 * np.arange(cells + 1) / cells - 1

    def widths(a: float) -> np.ndarray:
        half = np.diff(np.tanh(a * ramp)) / (2 * np.tanh(a))
        return 0.5 * (half + half[::-1])

    if finest >= widths(1e-3)[0]:
        return np.full(cells, 1 / cells)
    from scipy.optimize import brentq  # slow to import, and most runs need no mesh

    return widths(float(brentq(lambda a: np.log(widths(a)[0] / finest), 1e-3, 17.0, xtol=1e-14)))


def gaps(widths: Float[Array, "cell ..."]) -> Float[Array, "face ..."]:
    """Distances of neighbouring cell centres [cell - 1]."""
    return 0.5 * (widths[1:] + widths[:-1])


def fokker_planck_step(
    density: Density, potential: Density, widths: Float[Array, " cell"], rate: PerLane, dt: Float[Array, ...]
) -> Density:
    """One step of a swarm's density between reflecting walls; SDIRK2, second order in dt, any dt.

    ∂p/∂t = rate ∂/∂x (∂p/∂x + p ∂U/∂x)   (Risken 1989, The Fokker-Planck Equation, §5)

    ``density``: per length. ``potential``: U/kT at the cell centres. ``widths``: of the cells, in units of a length ℓ
    (any, not only shares of 1). ``rate``: kT/(η ℓ²), inverse time. Nothing is lost but rounding, which grows with
    rate dt/width²; the Boltzmann density e^-U stays. Very large steps may leave small negative values on the way.
    """
    zero = jnp.zeros_like(density[:1])
    ahead, back, _ = bernoulli_pair(potential[1:] - potential[:-1])
    conductance = rate / gaps(widths)[:, None]
    ahead = jnp.concatenate([zero, conductance * ahead, zero])  # share of the left cell that crosses a face
    back = jnp.concatenate([zero, conductance * back, zero])
    h = GAMMA * dt / widths[:, None]
    cells = (-h * ahead[:-1], 1 + h * (ahead[1:] + back[:-1]), -h * back[1:])

    def row(cell: tuple[Density, Density, Density, Density]) -> Rows:
        lower, diagonal, upper, right = cell
        return Rows(((lower,),), ((diagonal,),), ((upper,),), (right,))

    stage = solve(row, (*cells, density))[:, 0]
    return solve(row, (*cells, density + HISTORY * (stage - density)))[:, 0]
