"""What to measure next: the experiments that ``[design]`` asks for, from what is known of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mcdev.calibration.design import Chosen, Look, choose, informed, shrinking, telling
from mcdev.calibration.plan import Plan
from mcdev.calibration.settings import Space, spaces_of
from mcdev.calibration.uncertainty import Knowledge

_RIDGE = 1e-9  # of a variance, so that a matrix of correlations of one has an inverse


def information(plan: Plan, knowledge: Knowledge | None, draws: np.ndarray | None) -> np.ndarray:
    """Inverse covariance of the natural coordinates: of draws from the posterior [draw, parameter] (SI), however they
    were made, else as the table of parameters has it."""
    if draws is not None:
        covariance = np.atleast_2d(np.cov(plan.natural(draws).T))
    else:
        assert knowledge is not None
        covariance = knowledge.correlation * np.outer(knowledge.sd, knowledge.sd)
    return np.asarray(np.linalg.inv(covariance + np.diag(_RIDGE * np.diag(covariance) + 1e-18)))


class Designed(NamedTuple):
    """The experiments, and what they are expected to do."""

    chosen: list[tuple[Space, Chosen]]
    before: np.ndarray
    """[parameter]: standard deviation of the natural coordinate, as it is."""
    after: np.ndarray
    """With all of them."""
    shrunk: tuple[str, ...]
    """The parameters that they are for; none where two models are to be told apart."""
    model: str | None
    discrimination: float
    """Expected, of all of them together; NaN where no models are to be told apart."""


def designed(
    plan: Plan,
    known: np.ndarray,
    other: np.ndarray | None,
    looks: Callable[[Space, np.ndarray], list[Look]],
    report: Callable[[str], None],
) -> Designed:
    """The experiments that the plan's ``[design]`` asks for. ``known``: the inverse covariance M [parameter,
    parameter]; ``other``: that of the model that is to be told from this one; ``looks(space, places)``: what an
    experiment gives at each of some settings."""
    design = plan.job.design
    assert design is not None
    spaces = spaces_of(plan)
    labels = [p.label for p in plan.parameters]
    shrink = () if other is not None else design.shrink or tuple(labels)

    def look(space: int, places: np.ndarray) -> list[Look]:
        report(f"design, {spaces[space].experiment}, {len(places)} settings")
        return looks(spaces[space], places)

    score = shrinking(known, [labels.index(label) for label in shrink]) if other is None else telling(known, other)
    axes = [len(space.axes) for space in spaces]
    chosen = choose(axes, look, score, design.number, design.tries, design.seed)
    found = [one.look for one in chosen]
    before, after = (np.sqrt(np.diag(np.linalg.inv(m))) for m in (known, informed(known, found)))
    apart = score(found) if other is not None else float("nan")
    return Designed([(spaces[one.space], one) for one in chosen], before, after, shrink, design.tell_apart, apart)
