"""The search: several starts, stages of one optimiser each, every step judged by the ensemble's own value.

Within a stage the random numbers are held, so that two points differ by their parameters only. A step is taken if it
lowers the loss. Where the derivative is mostly noise no step is tried: the ensemble is doubled instead, until it is
as large as the job allows; then the stage is done.

Weights of curves of devices that move (`covariance.py`) and of statistics of a few devices are chosen at the start of a
stage and held through it; the last stage is gone through until new weights change nothing. A last step for such curves
is by devices that neither chose the weights nor judged a step (`corrected`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from mcdev.calibration.job import Stage
from mcdev.calibration.misfit import Misfit, Objective
from mcdev.calibration.plan import Plan
from mcdev.machine.environment import computing

_NOISY = 0.5  # a gradient is mostly noise if its error is more than this share of its length
_LONGEST = 1.0  # step of a parameter's natural coordinate
_REACHES = 4.0  # the same where derivatives are differences, in the reach of these: no further than they have seen
_SMALL_STEP, _SMALL_GAIN = 1e-5, 1e-7
_NOTHING = 0.01  # of χ²: a gain that no noisy ensemble's fit needs
_HARDLY = 1e-3  # the same of a population's statistics: parameters to a thirtieth of their error
_HOPELESS = 1e10  # damping at which no step helps
_SEEN = 0.3  # singular value, by natural coordinates, of a direction along which the numbers say anything


class Step(NamedTuple):
    """One line of the history."""

    start: int
    stage: int
    step: int
    optimiser: str
    devices: int
    loss: float
    loss_error: float
    taken: bool
    """Whether the step lowered the loss (of adam: was made)."""
    note: str
    u: np.ndarray
    worst: str
    """Label of the goal that is furthest off."""


@dataclass
class Run:
    """The search from one start."""

    number: int
    start: np.ndarray
    best: Misfit
    steps: list[Step]


def starts(plan: Plan) -> Iterator[np.ndarray]:
    """Free coordinates to begin from: the configuration's own, or every parameter multiplied by a random factor."""
    settings = plan.job.search.starts
    draw = np.random.default_rng(settings.seed)
    for _ in range(settings.number):
        factors = settings.factor ** draw.uniform(-1.0, 1.0, len(plan.parameters))
        if settings.factor == 1.0:
            yield plan.start
            continue
        begin = []
        for p, factor in zip(plan.parameters, factors, strict=True):
            low, high = p.coordinate.low, p.coordinate.high
            x = p.start * factor
            # within the bounds, a little off them: at a bound itself the coordinate ends
            if low is not None and x <= low:
                x = low + 0.02 * (p.start - low)
            if high is not None and x >= high:
                x = high - 0.02 * (high - p.start)
            begin.append(p.coordinate.free(x))
        yield np.array(begin)


def search(objective: Objective, report: Callable[[Step], None]) -> list[Run]:
    """All starts through all stages; the best run first."""
    runs = []
    for number, begin in enumerate(starts(objective.plan)):
        u: np.ndarray = begin
        steps: list[Step] = []
        for index in range(len(objective.plan.stages)):
            best = _through(objective, number, index, u, steps, report)
            u = best.u
        runs.append(Run(number, begin, best, steps))
    return sorted(runs, key=lambda r: r.best.deviance)


def stage_seed(plan: Plan, index: int) -> int:
    """Of the random numbers that are held through one stage."""
    return plan.job.search.seed + 1000 * index


def _through(
    objective: Objective, number: int, index: int, u: np.ndarray, steps: list[Step], report: Callable[[Step], None]
) -> Misfit:
    """Where one stage of one start ends; its history is added to ``steps``."""
    stage = objective.plan.stages[index]

    def note(m: Misfit, step: int, taken: bool, devices: int, text: str = "") -> None:
        worst = _worst(objective, m)
        steps.append(Step(number, index, step, stage.optimiser, devices, m.loss, m.loss_error, taken, text, m.u, worst))
        report(steps[-1])

    walk = {"levenberg_marquardt": levenberg_marquardt, "adam": adam, "lbfgs": lbfgs}[stage.optimiser]
    seed, last = stage_seed(objective.plan, index), index == len(objective.plan.stages) - 1
    objective.weigh(u, stage.devices, seed)
    here = walk(objective, u, stage, seed, note)
    for _ in range(objective.rounds if last else 0):
        objective.weigh(here.u, stage.devices, seed)
        before = objective(here.u, stage.devices, seed)
        here = walk(objective, here.u, stage, seed, note)
        if before.loss - here.loss < _NOTHING:
            break
    return here


def _worst(objective: Objective, m: Misfit) -> str:
    if not objective.goals:
        return ""
    return objective.goals[int(np.argmax(np.abs(m.residual[: len(objective.goals)])))].label


def _mostly_noise(m: Misfit) -> bool:
    length = float(np.linalg.norm(m.gradient))
    return bool(np.any(m.jacobian_error)) and float(np.linalg.norm(m.noise)) > _NOISY * length


def _natural_per_free(plan: Plan, u: np.ndarray) -> np.ndarray:
    """d(natural)/du of each parameter."""
    return np.array(
        [
            abs(p.coordinate.natural_slope(p.coordinate.value(float(v))) * p.coordinate.slope(float(v)))
            for p, v in zip(plan.parameters, u, strict=True)
        ]
    )


def _capped(plan: Plan, u: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The step, shortened so that no parameter moves further than is sensible: a factor e, or 1.2 under noise where
    its differences reach 5 %."""
    reach = np.array([_LONGEST if plan.exact else min(_LONGEST, _REACHES * p.reach) for p in plan.parameters])
    moves = np.maximum(np.abs(step) * _natural_per_free(plan, u), np.abs(step) / 4.0)  # near its bound x hardly moves
    longest = float(np.max(moves / reach, initial=0.0))  # in the reach of each
    return step * min(1.0, 1.0 / longest) if longest > 0 else step


Note = Callable[..., None]


def levenberg_marquardt(objective: Objective, u: np.ndarray, stage: Stage, seed: int, note: Note) -> Misfit:
    """Gauss-Newton steps damped in proportion to the normal matrix's diagonal (Marquardt 1963, doi:10.1137/0111030).

    By hand, because the residual is an ensemble and not a function that a library could trace, and because a step
    under noise is judged otherwise than libraries do.
    """
    plan, devices = objective.plan, stage.devices
    here = objective(u, devices, seed)
    note(here, 0, True, devices, "start")
    damping, idle = 1e-2, 0
    for number in range(1, stage.steps + 1):
        if here.loss > _NOTHING and _mostly_noise(here):
            if 2 * devices > plan.job.search.largest_ensemble:
                note(here, number, False, devices, "the derivative is mostly noise: done")
                return here
            devices *= 2
            here = objective(here.u, devices, seed)
            note(here, number, False, devices, "the derivative was mostly noise: ensemble enlarged")
            continue
        normal = here.jacobian.T @ here.jacobian
        diagonal = np.diag(normal).copy()
        diagonal = np.maximum(diagonal, 1e-9 * max(float(diagonal.max(initial=0.0)), 1e-300))
        step = -np.linalg.solve(normal + damping * np.diag(diagonal), here.jacobian.T @ here.residual)
        step = _capped(plan, here.u, step)
        least = _NOTHING if not plan.exact else _HARDLY if objective.of_few else 0.0
        if least and here.loss - float(np.sum((here.residual + here.jacobian @ step) ** 2)) < least:
            note(here, number, False, devices, "nothing left to gain that would be seen: done")
            return here
        ahead = objective(here.u + step, devices, seed, slopes=False)
        if ahead.loss < here.loss:
            gain = here.loss - ahead.loss
            here = objective(ahead.u, devices, seed)
            damping = max(damping / 4.0, 1e-9)
            note(here, number, True, devices)
            idle = idle + 1 if gain < max(_SMALL_GAIN * here.loss, 1e-9) else 0
            if idle >= 2:
                break
        else:
            note(ahead, number, False, devices)
            damping *= 5.0
        if damping > _HOPELESS or float(np.max(np.abs(step))) < _SMALL_STEP:
            break
    return here


def corrected(plan: Plan, m: Misfit) -> Misfit:
    """One Gauss-Newton step from ``m``, whose ensemble the search has not seen; residuals are those that it leads to.

    Of several points of much the same misfit, a search keeps the one at which the noise of its ensemble happens to
    resemble the data. A step by other devices, which no misfit judges, takes that choice back: what is left is the
    error of those devices and of the data (a one-step estimator: van der Vaart 1998, doi:10.1017/CBO9780511802256,
    section 5.7).
    """
    per_free = np.maximum(_natural_per_free(plan, m.u), 1e-9)
    left, s, right = np.linalg.svd(m.jacobian / per_free, full_matrices=False)
    along = np.where(s > _SEEN, left.T @ m.residual / np.maximum(s, _SEEN), 0.0)
    step = _capped(plan, m.u, -(right.T @ along) / per_free)
    residual = m.residual + m.jacobian @ step
    change = float(np.sum(residual**2)) - m.loss
    return m._replace(u=m.u + step, residual=residual, deviance=m.deviance + change)


def adam(objective: Objective, u: np.ndarray, stage: Stage, seed: int, note: Note) -> Misfit:
    """optax.adam with fresh random numbers at each step; ends at the best of its last quarter's mean and its start."""
    rate: optax.ScalarOrSchedule = stage.learning_rate
    if stage.schedule == "cosine":
        rate = optax.cosine_decay_schedule(stage.learning_rate, stage.steps, alpha=0.05)
    rule = optax.adam(rate)
    begin, path = u, []
    with computing(True):
        state = rule.init(jnp.asarray(u))
        for number in range(1, stage.steps + 1):
            fresh = seed if objective.plan.exact else seed + number
            here = objective(u, stage.devices, fresh)
            per_free = np.maximum(_natural_per_free(objective.plan, u), 1e-3)
            # in natural coordinates a rate is a relative change
            update, state = rule.update(jnp.asarray(here.gradient / per_free), state)
            note(here, number, True, stage.devices)
            u = u + np.asarray(update) / per_free
            path.append(u)
    tail = np.mean(path[-max(1, stage.steps // 4) :], axis=0)
    ends = [objective(point, stage.devices, seed) for point in (begin, tail, u)]
    best = min(ends, key=lambda m: m.loss)
    note(best, stage.steps + 1, True, stage.devices, "best of start, end and mean of the last quarter")
    return best


def lbfgs(objective: Objective, u: np.ndarray, stage: Stage, seed: int, note: Note) -> Misfit:
    """Directions of optax.lbfgs; the step length is halved until the loss falls enough (Armijo)."""
    rule = optax.lbfgs(1.0, linesearch=None)
    here = objective(u, stage.devices, seed)
    note(here, 0, True, stage.devices, "start")
    with computing(True):
        state = rule.init(jnp.asarray(u))
        for number in range(1, stage.steps + 1):
            gradient = jnp.asarray(here.gradient)
            update, state = rule.update(
                gradient, state, jnp.asarray(here.u), value=here.loss, grad=gradient, value_fn=None
            )
            step = _capped(objective.plan, here.u, np.asarray(update))
            slope = float(step @ here.gradient)
            if slope >= 0:  # no direction of descent: forget the past
                state = rule.init(jnp.asarray(here.u))
                step = _capped(objective.plan, here.u, -here.gradient)
                slope = float(step @ here.gradient)
            for _ in range(25):
                ahead = objective(here.u + step, stage.devices, seed, slopes=False)
                if ahead.loss < here.loss + 1e-4 * slope:
                    break
                step, slope = 0.5 * step, 0.5 * slope
            else:
                note(here, number, False, stage.devices, "no step lowers the loss: done")
                break
            gain = here.loss - ahead.loss
            here = objective(ahead.u, stage.devices, seed)
            note(here, number, True, stage.devices)
            if gain < _SMALL_GAIN * max(here.loss, 1e-3) or math.isclose(here.loss, 0.0, abs_tol=1e-12):
                break
    return here
