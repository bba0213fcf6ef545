"""What one more number would add to what is known: the candidates, each by itself.

The measure is the smallest singular value of the derivatives of all weighted deviations by the natural coordinates
(`uncertainty.py`): one over the standard deviation of the direction that is known least.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mcdev.calibration.evaluation import evaluate
from mcdev.calibration.misfit import Misfit
from mcdev.calibration.plan import Plan
from mcdev.calibration.uncertainty import matrix


class Gain(NamedTuple):
    """What one more number would add."""

    label: str
    value: float
    sigma: float
    smallest_before: float
    smallest_after: float
    """Smallest singular value of all numbers and priors, with it."""


def gains(plan: Plan, m: Misfit, devices: int, seed: int) -> list[Gain]:
    """For each candidate: by how much it raises the smallest singular value. The best first."""
    if not plan.candidates:
        return []
    a = matrix(plan, m)
    x = plan.values(m.u)
    found = evaluate(plan, x, devices, seed, True, plan.candidates, traces=False)
    per_natural = 1.0 / plan.natural_slope(x)
    before = _smallest(a)
    rows = []
    for goal, value, row in zip(plan.candidates, found.value, found.jacobian, strict=True):
        sigma = goal.expected_sigma(float(value))
        more = np.nan_to_num(row * per_natural / sigma) if sigma > 0 else np.zeros(len(row))
        rows.append(Gain(goal.label, float(value), float(sigma), before, _smallest(np.vstack([a, more]))))
    return sorted(rows, key=lambda g: -g.smallest_after)


def _smallest(a: np.ndarray) -> float:
    s = np.linalg.svd(a, compute_uv=False)
    return float(s[-1]) if s.size == a.shape[1] else 0.0
