"""What a calibration found."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mcdev.calibration.evaluation import Evaluation
from mcdev.calibration.gains import Gain
from mcdev.calibration.misfit import Misfit
from mcdev.calibration.next_experiments import Designed
from mcdev.calibration.plan import Plan
from mcdev.calibration.posterior import Posterior
from mcdev.calibration.profile import Profile
from mcdev.calibration.read_off import Correlated
from mcdev.calibration.search import Run
from mcdev.calibration.uncertainty import Knowledge


class Criterion(NamedTuple):
    """One of the models compared."""

    name: str
    parameters: int
    numbers: int
    chi_square: float
    """With ln |Σ| of curves of devices that move by themselves, in units of the instrument's."""
    worst: float
    """Largest deviation of a target, in units of its uncertainty."""

    @property
    def aic(self) -> float:
        return self.chi_square + 2 * self.parameters

    @property
    def aicc(self) -> float:
        left = self.numbers - self.parameters - 1
        return self.aic + 2 * self.parameters * (self.parameters + 1) / left if left > 0 else float("nan")

    @property
    def bic(self) -> float:
        return self.chi_square + self.parameters * float(np.log(self.numbers))


class Outcome(NamedTuple):
    """Everything a calibration found."""

    plan: Plan
    runs: list[Run]
    best: Misfit
    """At the end of the last stage, with the derivatives that the errors are from."""
    final: Evaluation
    """Every goal, fitted or only shown, with the large ensembles of the report."""
    knowledge: Knowledge
    profiles: list[Profile]
    gains: list[Gain]
    models: list[Criterion]
    realisations: int
    wall: float
    posterior: Posterior | None = None
    designed: Designed | None = None
    correlated: tuple[Correlated, ...] = ()
    """Of each set of measured devices, the two parameters whose correlation is furthest from the model's."""
