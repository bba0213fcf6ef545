"""Which experiments to do next: settings within limits that shrink chosen parameters most, or tell two models apart.

Numbers are linear in the natural coordinates z within what is not known of them, and Gaussian. An experiment gives rows
a = dy/dz in units of its uncertainties; with M the inverse covariance of what is known

    M' = M + Σ aᵀa                                    expected Fisher information of all experiments together

*Shrink*: least ln det of the block of (M')⁻¹ that belongs to the chosen parameters (D_s-optimal: Atkinson and Donev
1992); of one parameter that is its variance. *Tell apart*: most of the expected discrimination between two models whose
predictions differ by Δ and have covariances S_i = 1 + a_i M_i⁻¹ a_iᵀ (Box and Hill 1967, Technometrics 9, 57),

    D = ½ tr(S_1 S_2⁻¹ + S_2 S_1⁻¹ - 2) + ½ Δᵀ (S_1⁻¹ + S_2⁻¹) Δ

so that what the parameters of a model could take up counts little. Either is found by choosing one experiment after the
other from settings that fill the limits evenly, and then moving each in turn while the others stay.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import qmc

_CORNERS = 4  # axes up to which every corner of the limits is looked at
_ROUNDS, _NEAR, _NARROWER = 4, 8, 0.5
"""Times that each experiment is moved; settings that are looked at each time, beside those along the axes; and how much
nearer they lie than before, from half the limits on."""


class Look(NamedTuple):
    """What an experiment would give. Nothing, with no rows, where it cannot be done."""

    rows: np.ndarray
    """[number, parameter]: derivatives by the natural coordinates, in units of the uncertainty."""
    other: np.ndarray
    """[number, parameter of the other model]; no rows where there is none."""
    apart: np.ndarray
    """[number]: what the models' predictions differ by, in units of the uncertainty."""


class Chosen(NamedTuple):
    """One experiment."""

    space: int
    """Of the experiments that may be done."""
    place: np.ndarray
    """[axis]: settings, as shares of their limits."""
    look: Look


def choose(
    axes: Sequence[int],
    look: Callable[[int, np.ndarray], list[Look]],
    score: Callable[[Sequence[Look]], float],
    number: int,
    tries: int,
    seed: int,
) -> list[Chosen]:
    """``number`` experiments whose looks together have the largest score. ``axes``: how many settings each space has;
    ``look(space, places)``: what the experiment gives at places [setting, axis]; ``tries``: settings of each space that
    are looked at to begin with."""
    rng = np.random.default_rng(seed)
    pool: list[Chosen] = []
    for space, count in enumerate(axes):
        places = _filling(count, tries, seed)
        pool += [Chosen(space, place, one) for place, one in zip(places, look(space, places), strict=True)]
    chosen: list[Chosen] = []
    for _ in range(number):
        looks = [one.look for one in chosen]
        chosen.append(max(pool, key=lambda one: score([*looks, one.look])))
    reach = 0.5
    for _ in range(_ROUNDS):
        for i in range(number):
            own, others = chosen[i], [one.look for j, one in enumerate(chosen) if j != i]
            places = _around(own.place, reach, rng)
            near = [Chosen(own.space, p, one) for p, one in zip(places, look(own.space, places), strict=True)]
            pool += near
            chosen[i] = max([own, *pool], key=lambda one: score([*others, one.look]))
        reach *= _NARROWER
    return chosen


def _filling(axes: int, tries: int, seed: int) -> np.ndarray:
    """Places that fill the limits evenly, corners included."""
    if axes == 0:
        return np.empty((1, 0))
    corners = list(itertools.product((0.0, 1.0), repeat=axes)) if axes <= _CORNERS else []
    even = qmc.Sobol(axes, rng=np.random.default_rng(seed)).random(1 << max(tries - 1, 1).bit_length())[:tries]
    return np.array([*corners, *even])


def _around(place: np.ndarray, reach: float, rng: np.random.Generator) -> np.ndarray:
    """Places along the axes and at random, no further than ``reach``."""
    if place.size == 0:
        return place[None]
    steps = [sign * reach * axis for axis in np.eye(place.size) for sign in (-1, 1)]
    return np.clip(place + np.array([*steps, *rng.uniform(-reach, reach, (_NEAR, place.size))]), 0.0, 1.0)


def informed(known: np.ndarray, looks: Sequence[Look]) -> np.ndarray:
    """M' of M [parameter, parameter]."""
    return known + sum((one.rows.T @ one.rows for one in looks), np.zeros_like(known))


def shrinking(known: np.ndarray, which: Sequence[int]) -> Callable[[Sequence[Look]], float]:
    """Score of experiments that shrink the parameters ``which``."""
    own = list(which)

    def score(looks: Sequence[Look]) -> float:
        covariance = np.linalg.inv(informed(known, looks))
        return -float(np.linalg.slogdet(covariance[np.ix_(own, own)])[1])

    return score


def telling(known: np.ndarray, other: np.ndarray) -> Callable[[Sequence[Look]], float]:
    """Score of experiments that tell two models apart; what is known of the parameters of either."""
    covariances = [np.linalg.inv(known), np.linalg.inv(other)]

    def score(looks: Sequence[Look]) -> float:
        some = [one for one in looks if one.apart.size]
        if not some:
            return 0.0
        apart = np.concatenate([one.apart for one in some])
        rows = [np.vstack([one.rows for one in some]), np.vstack([one.other for one in some])]
        s1, s2 = (np.eye(apart.size) + a @ c @ a.T for a, c in zip(rows, covariances, strict=True))
        of_spread = np.trace(np.linalg.solve(s2, s1)) + np.trace(np.linalg.solve(s1, s2)) - 2 * apart.size
        return 0.5 * float(of_spread + apart @ (np.linalg.solve(s1, apart) + np.linalg.solve(s2, apart)))

    return score
