"""Within which limits the settings of an experiment may be chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from pydantic_core import PydanticCustomError

from mcdev.calibration.goals import Goal
from mcdev.calibration.job import Job, Limit
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import Problem, key_path
from mcdev.schema import Unit, nearest, percentage, sentence, unit_of_key


class Axis(NamedTuple):
    """One setting of a protocol."""

    name: str
    low: float
    high: float
    """SI; both ends count."""
    whole: bool
    mark: Unit

    def value(self, share: float) -> float | int:
        """At a share of the limits, in their logarithm where both are positive."""
        if self.low > 0:
            x = float(np.exp(np.log(self.low) + share * (np.log(self.high) - np.log(self.low))))
        else:
            x = self.low + share * (self.high - self.low)
        return round(x) if self.whole else float(np.clip(x, self.low, self.high))


def axis_of(path: str, limit: Limit, experiment: Experiment) -> Axis | None:
    """None where the protocol has no such number, or leaves it out. Raises ``PydanticCustomError``."""
    name = path.removeprefix("protocol.")
    value = getattr(experiment.protocol, name, None)
    if name not in type(experiment.protocol).model_fields or isinstance(value, bool):
        return None
    if isinstance(value, int):
        mark = Unit("", ge=1)
        return Axis(name, mark.parse(limit.low), mark.parse(limit.high), True, mark)
    own = unit_of_key(type(experiment.protocol), name)
    if own is None or not isinstance(value, float):
        return None
    return Axis(name, own.parse(limit.low), own.parse(limit.high), False, own)


def problems(
    job: Job, candidates: Sequence[Goal], experiments: Mapping[tuple[str, str], Experiment], labels: Sequence[str]
) -> list[Problem]:
    """What is wrong with ``[design]``."""
    design = job.design
    if design is None:
        return []
    found = []
    if not candidates:
        found.append(Problem("design", None, "needs [[candidates]]: which numbers could be measured, and how well"))
    for label in design.shrink:
        if label not in labels:
            found.append(Problem("design.shrink", label, f"no such free parameter; {nearest(label, labels)}"))
    if design.tell_apart is not None and design.tell_apart not in job.models:
        found.append(
            Problem("design.tell_apart", design.tell_apart, f"no such model; {nearest(design.tell_apart, job.models)}")
        )
    if design.tell_apart is not None and design.shrink:
        found.append(Problem("design.tell_apart", design.tell_apart, "and shrink are both given; expected one of them"))
    if job.simulations is not None and design.tell_apart is not None:
        message = "[simulations] know one model; leave it out, or name the parameters that shall shrink"
        found.append(Problem("design.tell_apart", design.tell_apart, message))
    for path, limit in design.limits.items():
        key = key_path("design", "limits", path)
        having = [e for (name, _), e in experiments.items() if any(g.experiment == name for g in candidates)]
        try:
            axes = [axis for e in having if (axis := axis_of(path, limit, e)) is not None]
        except PydanticCustomError as error:
            found.append(Problem(key, (error.context or {}).get("value"), sentence(error)))
            continue
        if not path.startswith("protocol.") or (having and not axes):
            message = (
                "is a number of no candidate's protocol; expected a key path like protocol.amplitude, which it gives"
            )
            found.append(Problem(key, None, message))
        elif path in job.parameters:
            found.append(Problem(key, None, "is a free parameter; what is not known cannot be chosen"))
        elif any(not axis.low < axis.high for axis in axes):
            found.append(Problem(f"{key}.low", limit.low, f"expected low < high (high is {limit.high!r})"))
    for number, candidate in enumerate(job.candidates):
        if candidate.coefficient is not None:
            message = "is a coefficient of a fit along an axis, which is many experiments; expected a measurement"
            found.append(Problem(f"candidates.{number}.coefficient", candidate.coefficient, message))
        if percentage(candidate.uncertainty) is not None and candidate.floor is None:
            message = (
                "a number that passes through zero would be known exactly there, and the design would seek just that; "
                "give floor, what the instrument resolves"
            )
            found.append(Problem(f"candidates.{number}.floor", None, message))
    return found
