"""Draws from the posterior, where derivatives are exact: how the parameters may be together, not only near the best.

    ln p(u) = -loss(u)/2 + Σ_j ln |dz_j/du_j|

that is a prior that is flat in natural coordinates z (ln x of a scale) between the bounds, times the priors given. The
sampler is NUTS (Hoffman and Gelman 2014, arXiv:1111.4246) of blackjax, its metric the Gauss-Newton covariance. A loss
is an ensemble with threads and fits on the host, which no library can trace: the sampler runs without compiling
itself, and the loss is computed in a thread of its own, where everything is compiled as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mcdev.calibration.misfit import Misfit, Objective
from mcdev.calibration.plan import Plan
from mcdev.calibration.search import stage_seed
from mcdev.configuration.problems import ConfigError, Problem
from mcdev.machine.environment import computing
from mcdev.machine.threads import thread_pool

_STEP = 1e-4  # of the derivative of the coordinates' own densities
_LEAPFROG = 0.5  # step, in standard deviations: short enough to be accepted, as the metric is known
_DOUBLINGS = 4  # of a trajectory, at most


class Posterior(NamedTuple):
    """Draws, one after the other."""

    values: np.ndarray
    """[draw, parameter], SI."""
    accepted: float
    """Mean acceptance probability; below 0.6 the draws explore badly."""
    divergent: int
    """Draws whose trajectory left the typical set."""
    effective: np.ndarray
    """Effective number of independent draws of each parameter."""


def check(plan: Plan) -> None:
    """Raises ``ConfigError`` where no posterior can be drawn: derivatives with noise, or blackjax not installed."""
    if plan.job.report.posterior and not plan.exact:
        message = (
            "draws need exact derivatives, which ensembles with noise do not have; add [simulations], or set it to 0"
        )
        raise ConfigError([Problem("report.posterior", plan.job.report.posterior, message)], plan.job.name)
    if plan.job.report.posterior and any(g.of_devices is not None for g in plan.goals):
        message = (
            "draws take numbers as independent, which statistics of the same few devices are not; add [simulations], "
            "or set it to 0"
        )
        raise ConfigError([Problem("report.posterior", plan.job.report.posterior, message)], plan.job.name)
    if plan.job.report.posterior:
        _blackjax(plan)


def _blackjax(plan: Plan) -> Any:
    try:
        import blackjax
    except ImportError:
        message = 'needs blackjax; pip install "mcdev[posterior]", or set it to 0'
        raise ConfigError([Problem("report.posterior", plan.job.report.posterior, message)], plan.job.name) from None
    return blackjax


def draw(objective: Objective, best: Misfit, number: int, report: Callable[[str], None]) -> Posterior:
    """``number`` draws, from the best point on, after a fifth as many that are dropped."""
    plan = objective.plan
    seed = stage_seed(plan, len(plan.stages) - 1)
    curvature = best.jacobian.T @ best.jacobian
    # where the numbers say nothing a unit of the free coordinate is as good a guess as any
    metric = np.linalg.inv(curvature + np.eye(best.u.size))
    dropped = max(10, number // 5)
    kept, rates, divergent = [], [], 0
    with thread_pool(1) as pool, computing(True), jax.disable_jit():

        def look(u: np.ndarray) -> tuple[float, np.ndarray]:
            m = pool.submit(objective, u, plan.stages[-1].devices, seed).result()
            return -0.5 * m.loss + _volume(plan, u), -0.5 * m.gradient + _volume_slope(plan, u)

        sampler = _blackjax(plan).nuts(_density(look), _LEAPFROG, jnp.asarray(metric), max_num_doublings=_DOUBLINGS)
        state = sampler.init(jnp.asarray(best.u))
        for i, key in enumerate(jax.random.split(jax.random.key(seed), dropped + number)):
            state, info = sampler.step(key, state)
            if i >= dropped:
                kept.append(np.asarray(state.position))
                rates.append(float(info.acceptance_rate))
                divergent += int(info.is_divergent)
            report(f"posterior, draw {i + 1} of {dropped + number}")
    u = np.array(kept)
    return Posterior(np.array([plan.values(v) for v in u]), float(np.mean(rates)), divergent, _effective(u))


def _density(look: Callable[[np.ndarray], tuple[float, np.ndarray]]) -> Callable[[Any], Any]:
    @jax.custom_vjp
    def density(u: Any) -> Any:
        return jnp.asarray(look(np.asarray(u))[0])

    def forward(u: Any) -> tuple[Any, Any]:
        value, slope = look(np.asarray(u))
        return jnp.asarray(value), jnp.asarray(slope)

    density.defvjp(forward, lambda slope, g: (g * slope,))
    return density


def _logs(plan: Plan, u: np.ndarray) -> np.ndarray:
    """ln |dz/du| of each parameter."""
    slopes = []
    for p, v in zip(plan.parameters, u, strict=True):
        x = p.coordinate.value(float(v))
        slopes.append(abs(p.coordinate.natural_slope(x) * p.coordinate.slope(float(v))))
    return np.log(np.maximum(slopes, 1e-300))


def _volume(plan: Plan, u: np.ndarray) -> float:
    return float(_logs(plan, u).sum())


def _volume_slope(plan: Plan, u: np.ndarray) -> np.ndarray:
    return (_logs(plan, u + _STEP) - _logs(plan, u - _STEP)) / (2 * _STEP)


def _effective(u: np.ndarray) -> np.ndarray:
    """Effective draws from the autocorrelation, summed until it first turns negative (Geyer 1992,
    doi:10.1214/ss/1177011137)."""
    found = []
    for series in (u - u.mean(axis=0)).T:
        count, variance = series.size, float(np.mean(series**2))
        time = 1.0
        for lag in range(1, count):
            rho = float(np.mean(series[lag:] * series[:-lag])) / variance if variance > 0 else 0.0
            if rho <= 0:
                break
            time += 2 * rho
        found.append(count / time)
    return np.array(found)
