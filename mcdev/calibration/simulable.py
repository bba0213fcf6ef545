"""Whether the calibration that a file describes can be done by simulations."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence

from mcdev.calibration import prior
from mcdev.calibration.goals import Goal
from mcdev.calibration.job import Job
from mcdev.calibration.parameters import Parameter
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import Problem


def problems(
    job: Job, parameters: Sequence[Parameter], goals: Sequence[Goal], experiments: Mapping[tuple[str, str], Experiment]
) -> list[Problem]:
    """What of a calibration's file simulations cannot do."""
    if job.simulations is None:
        return []
    found = prior.problems(parameters)
    if importlib.util.find_spec("flowjax") is None:
        found.append(Problem("simulations", None, 'needs flowjax; pip install "mcdev[posterior]", or leave it out'))
    if job.curves:
        message = "are followed by [search]; simulations know numbers read off a curve; give its file in [[measured]]"
        found.append(Problem("curves", None, message))
    asked: dict[str, Goal] = {}
    for goal in goals:
        asked.setdefault(goal.key, goal)
    for key, goal in asked.items():
        experiment = experiments[goal.experiment, goal.device]
        drawn = experiment.ensemble.cycle_to_cycle or any(not isinstance(v, float) for v in experiment.laws.values())
        if goal.weight not in (0.0, 1.0):
            message = "a simulated number counts or it does not; expected 1 or 0, which only shows it"
            found.append(Problem(f"{key}.weight", goal.weight, message))
        if goal.of_devices is None and (drawn or not experiment.alike):
            message = (
                "is missing: say how many devices the number is of, because no two of them are alike; 1 for one device"
            )
            found.append(Problem(f"{key}.of_devices", None, message))
    if goals and not any(goal.weight > 0 for goal in goals):
        found.append(Problem("targets", None, "all have weight = 0: nothing to learn from"))
    return found


def unused(job: Job) -> list[str]:
    """What stands in the file and has no effect, in words."""
    if job.simulations is None:
        return []
    given = {
        "[search]": "search" in job.model_fields_set,
        "[[candidates]]": bool(job.candidates) and job.design is None,
        "[models]": bool(job.models),
        "report.profile": bool(job.report.profile),
    }
    return without_effect(
        "with [simulations] nothing is searched for", [name for name, there in given.items() if there]
    )


def without_effect(why: str, names: Sequence[str]) -> list[str]:
    """What is said of settings that change nothing; nothing where there are none."""
    if not names:
        return []
    return [f"{why}: {', '.join(names)} {'has' if len(names) == 1 else 'have'} no effect"]
