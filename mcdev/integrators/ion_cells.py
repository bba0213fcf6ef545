"""One cell of ions, by its neighbours and its faces: the rows of Newton's system, and what follows from a correction.

The equations are those of `ion_transport.py`. A path that stores the rows of all cells and one that makes them where
they are eliminated (`swept.py`) call the same functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcdev.integrators.block_tridiagonal import Entry, Near, Rows
from mcdev.integrators.drift_diffusion import HISTORY

PerLane = Float[Array, " lane"]
Densities = Float[Array, "cell species lane"]
_CAP = 3.0  # of y = E/E0


class Faces(NamedTuple):
    """The flux through each face between cells [face, species, lane], F = left - right, and its parts that make the
    Jacobian; of all faces, those at the walls among them [face, lane], what makes Gauss's law."""

    left: Array
    """rate m/gap B(d) c_left."""
    right: Array
    """rate m/gap B(-d) c_right."""
    drift: Array
    """∂F/∂d at fixed densities."""
    slope: Array
    """∂F/∂φ_right = -∂F/∂φ_left."""
    inverse: Array
    """1/gap."""
    field: Array


class Cells(NamedTuple):
    """What the rows of cells are made of, besides their faces."""

    c: Densities
    width: Float[Array, "cell lane"]
    target: Array
    """c - gh f(c) at the end of the stage; or what the linearised system is solved for."""
    charge: Float[Array, "cell lane"] | None = None
    """Charge density in e N0; where S is asked for."""


class Shared(NamedTuple):
    """The same in all cells."""

    mass: PerLane
    gh: PerLane
    screening: PerLane
    packing: PerLane
    fixed: PerLane | None = None
    """Immobile charge in e N0; where a cell's charge is worked out with its rows."""


class Beside(NamedTuple):
    """What ``moved`` needs of each cell besides its correction."""

    c: Densities
    width: Float[Array, "cell lane"]
    history: Densities
    before: Densities


def linearised(charges: tuple[int, ...], shared: Shared, near: Near) -> Rows:
    """One cell's rows of the linearised system; its arrays are [species] of [lane]. No cell is behind a wall's gap."""
    mass, gh, packing = shared.mass, shared.gh, shared.packing
    left, right, width, c = near.left, near.right, near.own.width, near.own.c
    species = range(len(charges))
    # shares of the sites that the species fill
    w, w_left, w_right = ([packing * cell.c[s] for s in species] for cell in (near.own, near.before, near.after))
    q = sum(z * c[s] for s, z in enumerate(charges))
    screen = shared.screening * width
    poisson: list[Entry] = [left.inverse + right.inverse]
    poisson += [screen * (w[t] * q - z * c[t]) for t, z in enumerate(charges)]
    lower: list[list[Entry]] = [[-left.inverse] + [None for _ in species]]
    upper: list[list[Entry]] = [[-right.inverse] + [None for _ in species]]
    diagonal = [poisson]
    for s in species:
        heavy = mass * width * c[s]
        own = heavy + gh * (right.left[s] + left.right[s])
        all_ = heavy + gh * (right.drift[s] + right.left[s] + left.drift[s] + left.right[s])
        ahead, behind = gh * right.right[s], gh * left.left[s]
        steric_ahead, steric_behind = gh * right.drift[s] + ahead, gh * left.drift[s] + behind
        diagonal.append([-gh * (right.slope[s] + left.slope[s])])
        lower.append([gh * left.slope[s]])
        upper.append([gh * right.slope[s]])
        for t in species:
            same = s == t
            diagonal[-1].append((own if same else 0.0) - w[t] * all_)
            upper[-1].append(w_right[t] * steric_ahead - (ahead if same else 0.0))
            lower[-1].append(w_left[t] * steric_behind - (behind if same else 0.0))
    blocks = [tuple(tuple(line) for line in block) for block in (lower, diagonal, upper)]
    return Rows(blocks[0], blocks[1], blocks[2], tuple(near.own.target))


def residual(charges: tuple[int, ...], shared: Shared, near: Near) -> tuple[PerLane, ...]:
    """S of one cell: what is left of Gauss's law, and of the balance of each species."""
    left, right, own = near.left, near.right, near.own
    gauss = shared.screening * own.width * own.charge - (right.field - left.field)

    def kept(s: int) -> PerLane:
        leaving = (right.left[s] - right.right[s]) - (left.left[s] - left.right[s])
        return own.width * (own.target[s] - own.c[s]) - shared.gh * leaving

    return gauss, *map(kept, range(len(charges)))


def newton(charges: tuple[int, ...], shared: Shared, near: Near) -> Rows:
    """One cell's rows of Newton's correction, of what its charge is made of."""
    charge = shared.fixed + sum(z * near.own.c[s] for s, z in enumerate(charges))
    near = near._replace(own=near.own._replace(charge=charge))
    return linearised(charges, shared, near)._replace(right=residual(charges, shared, near))


def misplaced(width: Array, after: Array, history: Array, before: Array) -> Array:
    """Ions in a cell that two stages move in different ways."""
    return width * jnp.abs((after - history) - (history - before) / HISTORY)


def gained(width: Array, before: Array, after: Array) -> tuple[Array, Array]:
    """What a cell gets beyond ``before`` in the history of the second stage, and whether that leaves less than none."""
    gain = HISTORY * width * (after - before)
    return gain, before * width + gain < 0


def moved(shared: Shared, own: Beside, x: Sequence[PerLane]) -> tuple[list[PerLane], list[PerLane]]:
    """One cell's densities, corrected by x; then what is summed up over the cells: ``misplaced`` of each species, and
    the number of species that are wanting."""
    _, *du = x
    filling = sum(shared.packing * c * d for c, d in zip(own.c, du, strict=True))
    after = [c * (1 + d - filling) for c, d in zip(own.c, du, strict=True)]
    wrong = [misplaced(own.width, *of) for of in zip(after, own.history, own.before, strict=True)]
    wanting = [gained(own.width, *of)[1] for of in zip(own.before, after, strict=True)]
    number: Any = sum(jnp.where(some, 1.0, 0.0) for some in wanting)
    return after, [*wrong, number]


def limited(before: Densities, gain: Densities, wanting: Bool[Array, "cell species lane"], widths: Array) -> Densities:
    """before + gain/widths, with the transport out of cells that are wanting cut to what they can give."""
    cells = before.shape[0]
    face, cell = jnp.arange(1, cells)[:, None], jnp.arange(cells)[None]
    nearer = jnp.where(face <= cells // 2, -(cell < face).astype(int), (cell >= face).astype(int))
    across = jnp.einsum("fc,csl->fsl", nearer.astype(gain.dtype), gain)  # to the right, through the inner faces
    rightward, leftward = jnp.maximum(across, 0.0), jnp.maximum(-across, 0.0)
    none = jnp.zeros_like(before[:1])
    leaving = jnp.concatenate([rightward, none]) + jnp.concatenate([none, leftward])
    lost = jnp.where(wanting, leaving + 1e-300, 1.0)  # a quotient by zero would have no derivative
    share = jnp.where(wanting, jnp.minimum(0.99 * widths * before / lost, 1.0), 1.0)
    cut = (1 - share[:-1]) * rightward - (1 - share[1:]) * leftward
    back = jnp.concatenate([cut, none]) - jnp.concatenate([none, cut])
    return before + (gain + back) / widths


def field_mobility(y: Float[Array, ...]) -> tuple[Float[Array, ...], Float[Array, ...]]:
    """m = sinh(y_c)/y_c with y_c = 3 tanh(y/3), and dm/dy; y = E/E0."""
    bent = jnp.tanh(y / _CAP)
    capped = _CAP * bent
    small = jnp.abs(capped) < 0.05
    safe = jnp.where(small, 1.0, capped)
    up = jnp.exp(safe)
    down = 1 / up
    s = capped * capped
    value = jnp.where(small, 1 + s * (1 / 6 + s * (1 / 120 + s / 5040)), 0.5 * (up - down) / safe)
    slope = jnp.where(small, capped * (1 / 3 + s * (1 / 30 + s / 840)), (0.5 * (up + down) - value) / safe)
    return value, slope * (1 - bent * bent)
