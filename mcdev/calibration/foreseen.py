"""What an experiment would say of the parameters of a posterior, where there are no gradients: it is simulated.

Draws from the posterior are given to the experiment, each on another device. Over these draws the natural coordinates z
and what is read y have the covariances

    a = C_yz C_zz⁻¹            the straight line of y over z
    S = C_yy - a C_yzᵀ + U     what is left: scatter of the device, curvature, and the instrument's variance U

and the best straight line from y back to z leaves the covariance (C_zz⁻¹ + aᵀ S⁻¹ a)⁻¹ (Bayes linear: Goldstein and
Wooff 2007). An experiment's rows are therefore S^(-1/2) a, as they are derivatives over uncertainties where there are
gradients; of a linear Gaussian experiment both are the same. A number that the instrument knows by a share is taken by
its logarithm, if it is positive in all draws.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mcdev.calibration.data_sets import simulate_sets
from mcdev.calibration.design import Look
from mcdev.calibration.goals import Goal
from mcdev.calibration.plan import Plan
from mcdev.calibration.settings import Space, possible, side_by_side
from mcdev.measurements.contract import FAILED, OK

DRAWS = 128
"""Of the posterior, for each setting: the same ones, with the same random numbers."""
_READ = 0.9  # share of the draws in which there must be a number; else it is passed over
_TIMES = 4  # draws for each parameter and number, at least


def looks(
    plan: Plan, draws: np.ndarray, space: Space, places: np.ndarray, seed: int, threads: int | None = None
) -> list[Look]:
    """What the experiment gives at each of some places [setting, axis]; ``draws``: from the posterior [draw, parameter]
    (SI), of which the first are taken."""
    x = draws[:DRAWS]
    z = plan.natural(x)
    found = possible(space, places)
    looked = [Look(np.empty((0, z.shape[1])), np.empty((0, z.shape[1])), np.empty(0))] * len(places)
    if not found:
        return looked
    cases, goals = side_by_side(space, [experiment for _, experiment in found])
    seeds = np.random.default_rng(seed).integers(2**32, size=len(x))
    sets = simulate_sets(dataclasses.replace(plan, cases=cases, goals=tuple(goals)), x, seeds, threads=threads)
    count = len(space.goals)
    for k, (i, _) in enumerate(found):
        own = slice(k * count, (k + 1) * count)
        rows = rows_of(z, sets.value[:, own], sets.status[:, own], space.goals)
        looked[i] = Look(rows, rows, np.zeros(len(rows)))
    return looked


def rows_of(z: np.ndarray, value: np.ndarray, status: np.ndarray, goals: Sequence[Goal]) -> np.ndarray:
    """S^(-1/2) a [number, parameter] of what is read [draw, number] at natural coordinates [draw, parameter]; no rows
    where too few draws have a number."""
    fine = (status == OK) & np.isfinite(value)
    usable = (status != FAILED).any(axis=1)
    kept = [j for j in range(len(goals)) if usable.any() and fine[usable, j].mean() >= _READ]
    whole = fine[:, kept].all(axis=1)
    count = z.shape[1] + len(kept)
    if not kept or whole.sum() < _TIMES * count:
        return np.empty((0, z.shape[1]))
    pairs = [_on_scale(goals[j], value[whole, j]) for j in kept]
    y = np.column_stack([numbers for numbers, _ in pairs])
    away, from_mean = z[whole] - z[whole].mean(axis=0), y - y.mean(axis=0)
    a = np.linalg.lstsq(away, from_mean, rcond=None)[0].T
    left = from_mean - away @ a.T
    scatter = left.T @ left / (len(left) - 1 - z.shape[1]) + np.diag([variance for _, variance in pairs])
    return np.asarray(np.linalg.solve(np.linalg.cholesky(scatter), a))


def _on_scale(goal: Goal, value: np.ndarray) -> tuple[np.ndarray, float]:
    """What is read, or its logarithm, and the instrument's variance of it, the mean over the draws."""
    sigma = np.array([goal.expected_sigma(float(v)) for v in value])
    if goal.sigma < 0 and (value > 0).all():
        return np.log(value), float(np.mean((sigma / value) ** 2))
    return value, float(np.mean(sigma**2))
