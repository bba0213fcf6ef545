"""What a network is shown of a data set: numbers, and what kind of number each is.

Of each target its value on the scale of its deviation (ln x of a positive one with a relative uncertainty), shifted and
scaled so that simulated ones have median 0 and spread 1, and for every status that simulations have (a bound above, a
bound below, undefined) whether it is that. A bound shows its own value, what is undefined shows zero: the status is
then what says something. Values further than ``_FAR`` spreads out are drawn in to there, so that one odd data set
cannot rule the training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mcdev.calibration.goals import Goal
from mcdev.measurements.contract import FAILED, LEFT_CENSORED, OK, RIGHT_CENSORED, UNDEFINED

_CODES = (RIGHT_CENSORED, LEFT_CENSORED, UNDEFINED)
_FAR = 10.0
_QUARTILES = 1.349  # standard deviations of a Gaussian between its quartiles


class View(NamedTuple):
    """How data sets are shown; fixed by the simulations, and kept with the network."""

    centre: np.ndarray
    """[target], on the scale of the deviation."""
    spread: np.ndarray
    codes: np.ndarray
    """[status, target]: whether some simulation has it, in the order of ``_CODES``."""
    noise: np.ndarray
    """[target]: what the instrument adds, in spreads."""

    @property
    def width(self) -> int:
        """Numbers that are shown."""
        return int(self.centre.size + self.codes.sum())


def usable(status: np.ndarray) -> np.ndarray:
    """[set]: whether no realisation broke down. A device cannot: what did is no information, and is left out."""
    return np.asarray((status != FAILED).all(axis=1))


def view_of(goals: Sequence[Goal], value: np.ndarray, status: np.ndarray) -> View:
    """The view that suits these simulated readings [set, target]; ``goals``: those that are conditioned on."""
    t = on_scale(goals, value)
    centre, spread = np.zeros(len(goals)), np.ones(len(goals))
    for j in range(len(goals)):
        fine = np.isfinite(t[:, j]) & (status[:, j] == OK)
        if not fine.any():
            fine = np.isfinite(t[:, j])
        if fine.any():
            low, centre[j], high = np.quantile(t[fine, j], [0.25, 0.5, 0.75])
            own = (high - low) / _QUARTILES
            size = max(float(np.hypot(own, goals[j].noise)), 1e-12)
            spread[j] = size if np.isfinite(size) else 1.0
    codes = np.array([(status == code).any(axis=0) for code in _CODES])
    noise = np.array([goal.noise for goal in goals]) / spread
    return View(centre, spread, codes, np.nan_to_num(noise))


def on_scale(goals: Sequence[Goal], value: np.ndarray) -> np.ndarray:
    """Readings [set, target] on the scales of their deviations; NaN where there is no number."""
    return np.array([[g.on_scale(float(v)) for g, v in zip(goals, row, strict=True)] for row in value]).reshape(
        value.shape
    )


def shown(view: View, goals: Sequence[Goal], value: np.ndarray, status: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is shown of readings [set, target], without the instrument's noise, [set, width]; and the standard deviation
    of the noise that is to be added to each, zero where there is none."""
    t = on_scale(goals, value)
    there = np.isfinite(t) & (status != UNDEFINED) & (status != FAILED)
    numbers = np.clip(np.where(there, (np.where(there, t, 0.0) - view.centre) / view.spread, 0.0), -_FAR, _FAR)
    # a number that is none on its scale (the logarithm of a negative one) counts as undefined
    known = np.where(there | np.isin(status, _CODES), status, UNDEFINED)
    flags = [(known[:, j] == _CODES[i]).astype(float) for i, j in zip(*np.nonzero(view.codes), strict=True)]
    noise = np.where(there & (status == OK), view.noise, 0.0)
    both = np.column_stack([numbers, *flags]) if flags else numbers
    return both, np.column_stack([noise, np.zeros((len(noise), len(flags)))])


def observed(goals: Sequence[Goal]) -> tuple[np.ndarray, np.ndarray]:
    """The reported numbers as a data set: values and statuses [1, target]."""
    return np.array([[g.value for g in goals]]), np.array([[g.status for g in goals]], np.int8)


def unseen(view: View, goals: Sequence[Goal]) -> list[Goal]:
    """Reported numbers whose status no simulation has: nothing was learnt of such."""
    codes = {code: view.codes[i] for i, code in enumerate(_CODES)}
    return [g for j, g in enumerate(goals) if g.status in codes and not codes[g.status][j]]
