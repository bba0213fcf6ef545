"""A compact model of the diffusive memristor for circuit simulators: its particles' mean density in cells, one heat.

With v = V/V_th, κ the cooling rate and θ = k_B T/w_p, in units of the device (L, 1/κ, w_p, G_max):

    dn_i/dt = κ (j_{i-1} - j_i)                                  particles in cell i of N, walls at both ends
    j_i     = k x_i/sinh(x_i) [e^{-x_i} n_i - e^{x_i} n_{i+1}]   Scharfetter-Gummel: x_i = (u_{i+1} - u_i - p v)/(2θ)
    dh/dt   = κ (H v² g - h),   θ = θ_0 + h,   k = m θ           h: how much hotter than at rest
    e_i     = exp(-b n_i^c)                                      how likely cell i is empty
    w_i     = e_i (y w_{i-1} - 1) + 1,   R = Σ_i w_{i-1} (1 - e_i) + w_N,   w_0 = 1
    I       = G_max V g,   g = 1/(1 + a R) + g_f

This is eq. 4 of Wang et al. (2017, doi:10.1038/nmat4756) for a density (Risken 1989, §5), as in
devices/diffusive_density.py, on a coarse mesh; eq. 5 for the mean temperature, exact since it is linear in g; and for
eq. 3 the mean of Σ exp(gap/ℓ) over particles that fall into cells independently: w_i is the mean of exp(run/ℓ) over the
run of empty cells that ends at i, and y = exp(cell/ℓ). The mean of a conductance is not the conductance of a mean:
therefore ℓ, b, c, a, g_f are fitted; and u, p, m by some per cent from their physical values, which mends the mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.constants import Boltzmann

from mcdev.export.swarm_trains import Target
from mcdev.schema import typical

FAR = 100.0
"""x_i is held within it: e^x must be a number at whatever voltage a simulator tries."""
NUDGE = 1e-9
"""Added to x_i, so that x/sinh(x) is never 0/0."""
TRACE = 1e-6
"""Particles added to a cell before a power is taken of its number."""
_CELLS_PER_PERIOD = 1.4  # over θ_0, but three at least: the energy from cell to cell must not be much beyond θ
_LEAST_CELLS, _MOST_CELLS = 24, 120
_STEP, _REST_STEP = 0.005, 0.02  # longest steps of the fit's integrator while driven and not, in 1/κ
DRIVEN = 0.5  # V_th
_Cells = Float[Array, "cell lane"]
_Lane = Float[Array, " lane"]


class Numbers(NamedTuple):
    """The numbers of the equations above; all are pure. Floats, or what is traced while they are fitted."""

    steps: Any
    """u_{i+1} - u_i, N-1 of them."""
    rest: Any
    """n_i at rest, N of them."""
    pull: Any
    hops: Any
    background: Any
    heating: Any
    blocking: Any
    sharpness: Any
    reach: Any
    resistance: Any
    least: Any


MEANINGS = {
    "pull": "p, force of V_th over a cell, in w_p",
    "hops": "m, rate of hops between cells over theta, in kappa",
    "background": "theta_0, k_B T_0/w_p",
    "heating": "H, heat of V_th at G_max, in theta kappa",
    "blocking": "b, by which particles block a cell to a gap",
    "sharpness": "c, its power of their number",
    "reach": "y, factor by which an empty cell lengthens a gap's weight",
    "resistance": "a, of the weighted gaps",
    "least": "g_f, least conductance over G_max",
}
START = {
    "pinning": 0.05,
    "well": 0.02,
    "pull": -0.03,
    "hops": 0.01,
    "blocking": -0.85,
    "sharpness": -1.2,
    "length": -1.9,
    "resistance": -5.7,
    "least": -5.6,
}
"""Logarithms, as the paper's device has them: the first four of factors of the physical value; length is ℓ in half
gaps."""


class Mesh(NamedTuple):
    """What the device's parameters say of the cells."""

    well: np.ndarray
    """Energy of the interfacial wells at each cell's middle, in w_p."""
    pinning: np.ndarray
    left: np.ndarray
    """Whether a cell is of the left half."""
    share: float | None
    """Of the particles that start there; None: in equilibrium."""
    particles: int
    background: float
    heating: float
    pull: float
    hops: float

    @property
    def cell(self) -> float:
        """Width of a cell, in half gaps."""
        return 2.0 / self.well.size


def mesh(device: Any) -> Mesh:
    """Three cells to a pinning period, and more in a cold device."""
    p = {name: float(typical(getattr(device, name))) for name in type(device).parameters()}
    background = Boltzmann * p["background_temperature"] / p["pinning_energy"]
    of_period = max(3, round(_CELLS_PER_PERIOD / background))
    cells = int(np.clip(round(2 * of_period / p["pinning_period"]), _LEAST_CELLS, _MOST_CELLS))
    x = (np.arange(cells) + 0.5) * 2.0 / cells - 1.0
    depths = {-1: 1.0, 1: p["interfacial_ratio"]}  # by terminal, in units of the left one's
    wells = [
        depth * np.exp(-(((x - side * p["interfacial_centre"]) / p["interfacial_width"]) ** 2))
        for side, depth in depths.items()
    ]
    return Mesh(
        -p["interfacial_energy"] * np.sum(wells, axis=0),
        0.5 * np.sin(2 * np.pi * x / p["pinning_period"] + p["pinning_phase"]),
        x < 0,
        None if device.initial_split == "equilibrium" else device.initial_split,
        device.particles,
        background,
        p["heating"],
        p["drift"] * 2.0 / cells,
        (cells / 2.0) ** 2 / p["friction"],
    )


def numbers(x: Any, at: Mesh) -> Numbers:
    """The model's numbers from those that are fitted, in the order of ``START``."""
    q = dict(zip(START, x, strict=True))
    energy = jnp.exp(q["well"]) * at.well + jnp.exp(q["pinning"]) * at.pinning
    weight = jnp.exp((jnp.min(energy) - energy) / at.background)
    rest = weight / jnp.sum(weight)
    if at.share is not None:
        left = jnp.sum(rest * at.left)
        rest = rest * jnp.where(at.left, at.share / left, (1.0 - at.share) / (1.0 - left))
    return Numbers(
        jnp.diff(energy),
        at.particles * rest,
        at.pull * jnp.exp(q["pull"]),
        at.hops * jnp.exp(q["hops"]),
        at.background,
        at.heating,
        jnp.exp(q["blocking"]),
        jnp.exp(q["sharpness"]),
        jnp.exp(at.cell / jnp.exp(q["length"])),
        jnp.exp(q["resistance"]),
        jnp.exp(q["least"]),
    )


def conductance(p: Numbers, n: _Cells) -> _Lane:
    """g of the particles in each cell."""
    empty = jnp.exp(-p.blocking * (jnp.maximum(n, 0.0) + TRACE) ** p.sharpness)
    weight, total = jnp.ones(n.shape[1:]), jnp.zeros(n.shape[1:])
    for e in empty:
        total = total + weight * (1.0 - e)
        weight = e * (p.reach * weight - 1.0) + 1.0
    return 1.0 / (1.0 + p.resistance * (total + weight)) + p.least


def rates(p: Numbers, heat: _Lane, v: _Lane) -> tuple[_Cells, _Cells]:
    """Of hops to the right and to the left over each border, in κ; v in V_th."""
    theta = p.background + heat
    x = jnp.clip((jnp.asarray(p.steps)[:, None] - p.pull * v) / (2 * theta), -FAR, FAR) + NUDGE
    both = p.hops * theta * x / jnp.sinh(x)
    return both * jnp.exp(-x), both * jnp.exp(x)


def slopes(p: Numbers, n: _Cells, heat: _Lane, v: _Lane) -> tuple[_Cells, _Lane, _Lane]:
    """dn/dt, dh/dt (in κ) and g at a voltage v (in V_th); the module's equations."""
    right, left = rates(p, heat, v)
    g = conductance(p, n)
    return _divergence(right * n[:-1] - left * n[1:]), p.heating * v * v * g - heat, g


def _divergence(flux: _Cells) -> _Cells:
    wall = jnp.zeros_like(flux[:1])
    return jnp.concatenate([wall, flux]) - jnp.concatenate([flux, wall])


_SHARE = 2.0 - np.sqrt(2.0)  # of a step that TR-BDF2 takes by trapezoids


class Rows(NamedTuple):
    """Steps of the fit's integrator, a lane a protocol; lanes end with steps of no length."""

    step: np.ndarray
    voltage: np.ndarray
    sample: np.ndarray
    """Number of the sample that the step is in."""
    share: np.ndarray
    """Of its sample."""
    samples: int


def rows_of(found: Iterable[Target], threshold: float, rate: float) -> Rows:
    """The steps of these protocols for a device with this V_th (V) and κ (1/s)."""
    lanes, most = [], 0
    for target in found:
        lines, t = [], target.timeline
        for i, width in enumerate(t.widths * rate):
            driven = max(abs(t.start[i]), abs(t.end[i])) > DRIVEN * threshold
            count = int(np.ceil(width / (_STEP if driven else _REST_STEP) * (1 - 1e-9)))
            middles = t.start[i] + (t.end[i] - t.start[i]) * (np.arange(count) + 0.5) / count
            lines += [(width / count, v / threshold, i, 1.0 / count) for v in middles]
        lanes.append(np.array(lines).T)
        most = max(most, t.samples)
    table = np.zeros((4, max(lane.shape[1] for lane in lanes), len(lanes)))
    for i, lane in enumerate(lanes):
        table[:, : lane.shape[1], i] = lane
    step, voltage, sample, share = table
    return Rows(step, voltage, sample.astype(int), share, most)


def _moved(n: _Cells, right: _Cells, left: _Cells, step: _Lane) -> _Cells:
    """n after a step at constant rates, by TR-BDF2 (Bank et al. 1985): of second order, and no fast mode rings."""
    a, wall = 0.5 * _SHARE * step, jnp.zeros_like(right[:1])
    below, above = -a * jnp.concatenate([wall, right]), -a * jnp.concatenate([left, wall])
    diagonal = 1.0 + a * (jnp.concatenate([right, wall]) + jnp.concatenate([wall, left]))
    solve = _factored(below, diagonal, above)
    middle = solve(n + a * _divergence(right * n[:-1] - left * n[1:]))
    return solve((middle - (1.0 - _SHARE) ** 2 * n) / (_SHARE * (2.0 - _SHARE)))


def _factored(below: _Cells, diagonal: _Cells, above: _Cells) -> Callable[[_Cells], _Cells]:
    """Solver of a tridiagonal system, lane by lane (Thomas); the matrix is diagonally dominant."""

    def down(before: _Lane, row: tuple[_Lane, _Lane, _Lane]) -> tuple[_Lane, tuple[_Lane, _Lane]]:
        pivot = 1.0 / (row[1] - row[0] * before)
        return row[2] * pivot, (row[2] * pivot, pivot)

    zero = jnp.zeros_like(diagonal[0])
    _, (upper, pivot) = jax.lax.scan(down, zero, (below, diagonal, above), unroll=8)

    def solve(right: _Cells) -> _Cells:
        def forward(before: _Lane, row: tuple[_Lane, ...]) -> tuple[_Lane, _Lane]:
            now = (row[2] - row[0] * before) * row[1]
            return now, now

        def backward(after: _Lane, row: tuple[_Lane, _Lane]) -> tuple[_Lane, _Lane]:
            now = row[1] - row[0] * after
            return now, now

        _, reduced = jax.lax.scan(forward, zero, (below, pivot, right), unroll=8)
        _, found = jax.lax.scan(backward, zero, (upper, reduced), reverse=True, unroll=8)
        return found

    return solve


def course(p: Numbers, rows: Rows) -> Float[Array, "sample lane"]:
    """g, mean over each sample, from rest; density and heat in turn, each with the other's middle value."""
    lanes = rows.step.shape[1]
    rest = jnp.broadcast_to(jnp.asarray(p.rest)[:, None], (len(p.rest), lanes))

    def step(state: tuple[_Cells, _Lane, _Lane], row: tuple[_Lane, _Lane]) -> tuple[tuple[_Cells, _Lane, _Lane], _Lane]:
        (n, heat, g), (h, v) = state, row
        power = p.heating * v * v
        middle = heat + (power * g - heat) * -jnp.expm1(-0.5 * h)
        n = _moved(n, *rates(p, middle, v), h)
        after = conductance(p, n)
        mean = 0.5 * (g + after)
        return (n, heat + (power * mean - heat) * -jnp.expm1(-h), after), mean

    start = (rest, jnp.zeros(lanes), conductance(p, rest))
    _, g = jax.lax.scan(step, start, (jnp.asarray(rows.step), jnp.asarray(rows.voltage)))
    return jnp.zeros((rows.samples, lanes)).at[rows.sample, jnp.arange(lanes)[None, :]].add(g * rows.share)
