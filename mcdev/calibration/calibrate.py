"""A calibration from its file to its results.

plan = load_job("configs/shin2022/calibrate_table1.toml")
outcome = calibrate(plan)
print(conclusions(outcome))
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable

import numpy as np

from mcdev.calibration import posterior, read_off
from mcdev.calibration.evaluation import evaluate
from mcdev.calibration.gains import gains
from mcdev.calibration.job import Stage
from mcdev.calibration.misfit import Evaluations, Misfit, Objective, among
from mcdev.calibration.next_experiments import designed, information
from mcdev.calibration.outcome import Criterion, Outcome
from mcdev.calibration.plan import Plan, with_model
from mcdev.calibration.profile import profile
from mcdev.calibration.search import Step, corrected, search, stage_seed
from mcdev.calibration.settings import looks
from mcdev.calibration.uncertainty import known
from mcdev.configuration.problems import ConfigError, Problem

_OTHERS = 3
"""Added to a search's seed, that of devices that it has not seen; 7 is that of the final values."""


def calibrate(
    plan: Plan,
    book: Evaluations | None = None,
    report: Callable[[str, Step | None], None] | None = None,
) -> Outcome:
    """Search from every start, then find errors, profiles, what to measure next, and compare models.

    ``book``: keeps every evaluation in a folder; started again with the same plan, those are repeated without
    computing. ``report(phase, step)`` is called as work proceeds.
    """
    say = report or (lambda phase, step: None)
    if plan.job.simulations is not None:
        message = "a posterior from simulations is no search; call infer(plan), or leave it out"
        raise ConfigError([Problem("simulations", None, message)], plan.job.name)
    posterior.check(plan)
    begin = time.monotonic()
    book = book or Evaluations()
    objective = Objective(plan, book)
    runs = search(objective, lambda step: say("search", step))
    best = fitted = compared = runs[0].best
    objective.roots, objective.goals = best.roots, best.goals
    stage = plan.stages[-1]
    seed = stage_seed(plan, len(plan.stages) - 1)
    if not plan.exact:  # errors from a large ensemble, once
        say("errors", None)
        devices = min(plan.job.report.final_devices, plan.job.search.largest_ensemble)
        if any(root is not None for root in objective.roots):  # curves of devices that move
            best = fitted = corrected(plan, objective(best.u, devices, seed + _OTHERS))
        else:
            best = compared = objective(best.u, devices, seed)
    knowledge = known(plan, best, fitted)
    say("final values", None)
    final = evaluate(plan, plan.values(best.u), plan.job.report.final_devices, seed + 7, False, plan.goals)
    final = final._replace(methods=_methods(plan, best.evaluation.methods))
    plan = dataclasses.replace(plan, goals=among(plan.goals, final))
    say("measured devices", None)
    correlated = read_off.compared(plan, plan.values(best.u), seed + 7)
    profiles = [
        profile(objective, best, knowledge, label, Stage(steps=15, devices=stage.devices), lambda text: say(text, None))
        for label in plan.job.report.profile
    ]
    draws = None
    if plan.job.report.posterior:
        draws = posterior.draw(objective, best, plan.job.report.posterior, lambda text: say(text, None))
    say("candidates", None)
    added = gains(plan, best, stage.devices, seed)
    models: list[Criterion] = []
    others: dict[str, Misfit] = {}
    if plan.job.models:
        models.append(_criterion("as configured", plan, objective, compared))
    for name in plan.job.models:
        other = Objective(with_model(plan, name), book)
        say(f"model {name}", None)
        found = search(other, functools.partial(say, f"model {name}"))
        models.append(_criterion(name, other.plan, other, found[0].best))
        others[name] = found[0].best
    plans = None
    if (design := plan.job.design) is not None:
        beside, of_other = None, None
        if design.tell_apart is not None:
            rival = with_model(plan, design.tell_apart)
            there = others[design.tell_apart]
            beside, of_other = (rival, rival.values(there.u)), information(rival, known(rival, there), None)
        own = information(plan, knowledge, None if draws is None else draws.values)
        x = plan.values(best.u)
        plans = designed(
            *(plan, own, of_other),
            lambda space, places: looks(plan, x, space, places, stage.devices, seed, beside),
            lambda text: say(text, None),
        )
    wall = time.monotonic() - begin
    return Outcome(
        *(plan, runs, best, final, knowledge, profiles, added, models, objective.realisations, wall, draws, plans),
        correlated=tuple(correlated),
    )


def _methods(plan: Plan, fitted: tuple[str, ...]) -> tuple[str, ...]:
    """How each goal's derivatives were found; those that are only shown have none."""
    found = iter(fitted)
    return tuple(next(found) if goal.weight > 0 else "" for goal in plan.goals)


def _criterion(name: str, plan: Plan, objective: Objective, best: Misfit) -> Criterion:
    priors = sum(p.prior_centre is not None for p in plan.parameters)
    numbers = best.residual.size - priors
    worst = float(np.max(np.abs(best.residual[: len(objective.goals)]), initial=0.0))
    of_priors = float(np.sum(best.residual[numbers:] ** 2))
    return Criterion(name, len(plan.parameters), numbers, best.deviance - of_priors, worst)
