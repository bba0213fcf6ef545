"""Values and derivatives of ensembles of hopping particles.

Values are those of the ensemble as ``mcdev run`` computes it. Derivatives come from the estimator in ``hopping.py`` for
what is linear in the recorded trajectory or read off the mean trajectory, and from differences with common random
numbers for everything else (a first passage of each device has no derivative along its own path), or where the
estimator is noisier than the differences would be useful.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mcdev.calibration.plan import Case
from mcdev.calibration.reading import Reading


def read(
    cases: Sequence[Case],
    values: Mapping[tuple[str, str], Mapping[str, float]],
    names: Sequence[str],
    of_mean: bool,
    devices: int,
    seed: int,
    slopes: bool,
    derivatives: str = "auto",
    reach: float = 0.2,
) -> dict[Case, Reading]:
    raise ValueError("not yet")
