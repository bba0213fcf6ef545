"""What to measure next: the experiments that ``[design]`` asks for, at the fitted parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mcdev.calibration.design import Chosen, Look, choose, informed, shrinking, telling
from mcdev.calibration.misfit import Misfit
from mcdev.calibration.plan import Plan
from mcdev.calibration.settings import Space, looks, spaces_of
from mcdev.calibration.uncertainty import Knowledge

_RIDGE = 1e-9  # of a variance, so that a matrix of correlations of one has an inverse


class Fitted(NamedTuple):
    """A model at its fit."""

    plan: Plan
    best: Misfit
    knowledge: Knowledge
    draws: np.ndarray | None = None
    """From its posterior [draw, parameter] (SI), where there are any."""

    @property
    def x(self) -> np.ndarray:
        return self.plan.values(self.best.u)

    @property
    def information(self) -> np.ndarray:
        """Inverse covariance of the natural coordinates: of the posterior's draws, else as the table of parameters has
        it."""
        if self.draws is not None:
            each = [
                [p.coordinate.natural(float(v)) for p, v in zip(self.plan.parameters, row, strict=True)]
                for row in self.draws
            ]
            covariance = np.atleast_2d(np.cov(np.array(each).T))
        else:
            k = self.knowledge
            covariance = k.correlation * np.outer(k.sd, k.sd)
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


def designed(here: Fitted, other: Fitted | None, devices: int, seed: int, report: Callable[[str], None]) -> Designed:
    """The experiments that the plan's ``[design]`` asks for; ``other``: the model that is to be told from this one."""
    plan, design = here.plan, here.plan.job.design
    assert design is not None
    spaces = spaces_of(plan)
    known = here.information
    labels = [p.label for p in plan.parameters]
    shrink = () if other is not None else design.shrink or tuple(labels)
    beside = None if other is None else (other.plan, other.x)

    def look(space: int, places: np.ndarray) -> list[Look]:
        report(f"design, {spaces[space].experiment}, {len(places)} settings")
        return looks(plan, here.x, spaces[space], places, devices, seed, beside)

    if other is None:
        score = shrinking(known, [labels.index(label) for label in shrink])
    else:
        score = telling(known, other.information)
    axes = [len(space.axes) for space in spaces]
    chosen = choose(axes, look, score, design.number, design.tries, design.seed)
    found = [one.look for one in chosen]
    before, after = (np.sqrt(np.diag(np.linalg.inv(m))) for m in (known, informed(known, found)))
    apart = score(found) if other is not None else float("nan")
    return Designed([(spaces[one.space], one) for one in chosen], before, after, shrink, design.tell_apart, apart)
