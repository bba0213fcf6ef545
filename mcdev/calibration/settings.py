"""Experiments whose settings may be chosen: candidates within the instrument's limits, and what they would give."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcdev.calibration.design import Look
from mcdev.calibration.evaluation import evaluate
from mcdev.calibration.goals import Goal
from mcdev.calibration.limits import Axis, axis_of
from mcdev.calibration.plan import Case, Plan
from mcdev.configuration.experiment import Experiment, build
from mcdev.configuration.problems import ConfigError
from mcdev.simulation.trial import Trial


class Space(NamedTuple):
    """An experiment on one device, the numbers that are read off it, and what of its protocol may be chosen."""

    experiment: str
    device: str
    base: Experiment
    goals: tuple[Goal, ...]
    axes: tuple[Axis, ...]

    def at(self, place: np.ndarray) -> Experiment:
        """With these settings. Raises ``ConfigError`` where the protocol cannot be so."""
        changed = {axis.name: axis.value(float(share)) for axis, share in zip(self.axes, place, strict=True)}
        protocol = self.base.protocol.model_copy(update=changed)
        return build(self.base.model_copy(update={"protocol": protocol}).to_dict(), Path(), self.experiment)

    def said(self, place: np.ndarray) -> str:
        """``amplitude 4.5 V, gap 0.05 s``"""
        found = ((axis, axis.value(float(share))) for axis, share in zip(self.axes, place, strict=True))
        words = (f"{a.name.replace('_', ' ')} {x / a.mark.scale:.4g} {a.mark.unit}".rstrip() for a, x in found)
        return ", ".join(words)


def spaces_of(plan: Plan) -> list[Space]:
    """The candidates' experiments, each with the settings that the limits name."""
    assert plan.job.design is not None
    found = []
    for pair in dict.fromkeys((g.experiment, g.device) for g in plan.candidates):
        base = plan.experiments[pair].points()[0][1]
        own = tuple(g for g in plan.candidates if (g.experiment, g.device) == pair)
        axes = tuple(
            a for path, limit in plan.job.design.limits.items() if (a := axis_of(path, limit, base)) is not None
        )
        found.append(Space(*pair, base, own, axes))
    return found


def possible(space: Space, places: np.ndarray) -> list[tuple[int, Experiment]]:
    """The experiments that can be done, each with the number of its place among ``places`` [setting, axis]."""
    found: list[tuple[int, Experiment]] = []
    for i, place in enumerate(places):
        try:
            experiment = space.at(place)
            if Trial(experiment).rows.steps > 0:
                found.append((i, experiment))
        except (ConfigError, ArithmeticError):
            continue
    return found


def looks(
    plan: Plan,
    x: np.ndarray,
    space: Space,
    places: np.ndarray,
    devices: int,
    seed: int,
    other: tuple[Plan, np.ndarray] | None,
) -> list[Look]:
    """What the experiment gives at each of some places [setting, axis], at parameters ``x``; ``other``: a model to be
    told from this one, and its parameters."""
    done = possible(space, places)
    shown = _rows(plan, x, space, [e for _, e in done], devices, seed)
    beside = shown if other is None else _rows(*other, space, [e for _, e in done], devices, seed)
    count = len(plan.parameters)
    nothing = Look(np.empty((0, count)), np.empty((0, len((other or (plan,))[0].parameters))), np.empty(0))
    found = [nothing] * len(places)
    for k, (i, _) in enumerate(done):
        value, rows, sigma = (part[k] for part in shown)
        value_2, rows_2, _ = (part[k] for part in beside)
        fine = (
            np.isfinite(rows).all(axis=1) & np.isfinite(rows_2).all(axis=1) & np.isfinite(value + value_2) & (sigma > 0)
        )
        scale = sigma[fine]
        apart = (value - value_2)[fine] / scale
        found[i] = Look(rows[fine] / scale[:, None], rows_2[fine] / scale[:, None], apart)
    return found


def _rows(
    plan: Plan, x: np.ndarray, space: Space, experiments: Sequence[Experiment], devices: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values [experiment, number], their derivatives by natural coordinates [experiment, number, parameter], and
    uncertainties [experiment, number]."""
    count = len(space.goals)
    if not experiments:
        return np.empty((0, count)), np.empty((0, count, len(plan.parameters))), np.empty((0, count))
    cases, goals = side_by_side(space, experiments)
    found = evaluate(dataclasses.replace(plan, cases=plan.cases | cases), x, devices, seed, True, goals, traces=False)
    natural = 1.0 / plan.natural_slope(x)
    sigma = np.array([goal.expected_sigma(float(v)) for goal, v in zip(goals, found.value, strict=True)])
    shape = (len(experiments), count)
    return found.value.reshape(shape), (found.jacobian * natural).reshape(*shape, -1), sigma.reshape(shape)


def side_by_side(
    space: Space, experiments: Sequence[Experiment]
) -> tuple[dict[tuple[str, str], tuple[Case, ...]], list[Goal]]:
    """Several settings of an experiment as its points, and the numbers that are read at each, point after point."""
    pair = (space.experiment, space.device)
    cases = {pair: tuple(Case(*pair, i, experiment) for i, experiment in enumerate(experiments))}
    points = range(1, len(experiments) + 1)
    return cases, [g._replace(read=g.read.model_copy(update={"point": p})) for p in points for g in space.goals]


def tables(space: Space, place: np.ndarray) -> dict[str, Any]:
    """The experiment as it stands in a calibration's file, without the device."""
    whole = space.at(place).to_dict()
    return {name: whole[name] for name in ("circuit", "protocol", "measurements") if name in whole}
