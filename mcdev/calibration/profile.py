"""The profile likelihood of one parameter: least χ² with the parameter held, at each of several values."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mcdev.calibration.job import Stage
from mcdev.calibration.misfit import Misfit, Objective
from mcdev.calibration.search import levenberg_marquardt, stage_seed
from mcdev.calibration.uncertainty import Knowledge


class Profile(NamedTuple):
    """Least χ² against one parameter held at each of several values."""

    label: str
    unit: str
    value: np.ndarray
    chi_square: np.ndarray
    low: float
    """Ends of the 95 % interval, where χ² is 3.84 above its least, or t² of statistics of a few devices; NaN where the
    grid does not reach it."""
    high: float


def profile(
    objective: Objective, best: Misfit, knowledge: Knowledge, label: str, stage: Stage, report: Callable[[str], None]
) -> Profile:
    """The profile likelihood of one parameter (Raue et al. 2009, doi:10.1093/bioinformatics/btp358), over three
    standard deviations to either side, or as far as its bounds go. Of curves of devices that move, χ² counts in units
    of its own spread, so that 3.84 is 95 % there too (Pace, Salvan and Sartori 2011)."""
    plan = objective.plan
    j = [p.label for p in plan.parameters].index(label)
    own = plan.parameters[j]
    reach = min(3.0 * float(knowledge.sd[j]), 2.0)
    centre = float(knowledge.natural[j])
    grid = centre + np.linspace(-reach, reach, plan.job.report.profile_points)
    values, costs = [], []
    for outward in (np.sort(grid[grid <= centre])[::-1], np.sort(grid[grid > centre])):
        u = best.u
        for z in outward:
            x = float(np.exp(z)) if own.coordinate.positive else float(z * own.coordinate.scale)
            if not own.coordinate.inside(x):
                continue
            held = own._replace(prior_centre=float(z), prior_sd=1e-4)
            parameters = tuple(held if i == j else p for i, p in enumerate(plan.parameters))
            begin = u.copy()
            begin[j] = own.coordinate.free(x)
            inner = Objective(dataclasses.replace(plan, parameters=parameters), objective.book)
            inner.roots, inner.goals = best.roots, best.goals
            found = levenberg_marquardt(inner, begin, stage, stage_seed(plan, len(plan.stages) - 1), lambda *_: None)
            u = found.u
            at = inner.plan.values(found.u)[j]
            rise = found.loss - ((own.coordinate.natural(at) - float(z)) / 1e-4) ** 2
            if own.prior_centre is not None:
                rise += ((own.coordinate.natural(at) - own.prior_centre) / own.prior_sd) ** 2
            values.append(x / own.mark.scale)
            costs.append(rise / float(knowledge.widening[j]) ** 2)
            report(f"profile of {label}")
    order = np.argsort(values)
    value, cost = np.array(values)[order], np.array(costs)[order]
    low, high = _crossings(value, cost - cost.min(), float(knowledge.reach[j]) ** 2)
    return Profile(label, own.mark.unit, value, cost, low, high)


def _crossings(value: np.ndarray, rise: np.ndarray, level: float) -> tuple[float, float]:
    least = int(np.argmin(rise))

    def crossing(which: Sequence[int]) -> float:
        for inner, outer in itertools.pairwise(which):
            if rise[inner] < level <= rise[outer]:
                share = (level - rise[inner]) / (rise[outer] - rise[inner])
                return float(value[inner] + share * (value[outer] - value[inner]))
        return float("nan")

    return crossing(range(least, -1, -1)), crossing(range(least, value.size))
