"""The fit of the compact model of the nanoparticles to the mean of an ensemble, and what it is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from mcdev.configuration.experiment import Experiment
from mcdev.export.swarm import DRIVEN, START, Numbers, Rows, course, mesh, numbers, rows_of
from mcdev.export.swarm_trains import Target, median_device, size_of, targets
from mcdev.machine.environment import computing

_FLOOR = 0.03  # relative error of the ensemble's mean below which the fit does not look
_ITERATIONS = 30
_WIDE = 4.0  # how far a number may go from its start, in logarithms
WANTED = 0.15
"""Largest error of a pulse's conductance that the header does not point at."""


class Check(NamedTuple):
    """How well the mean of the ensemble is met under one protocol."""

    about: str
    fitted: bool
    train: bool
    conductance: float
    """rms error: of a train over its pulses, of each pulse's own conductance; else over time, relative to the peak."""
    worst: float
    """Of a train, the largest of its pulses; else the same as ``current``."""
    current: float
    """rms over time, relative to the peak."""
    noise: float
    """rms standard error of the ensemble's mean conductance, relative as ``conductance`` is."""


@dataclass(frozen=True)
class Fitted:
    """A compact model and what it is worth."""

    numbers: Numbers
    checks: dict[str, Check]
    realisations: int


def fit(experiment: Experiment) -> Fitted:
    """The compact model of one sweep point's median device, and its errors. Deterministic: one start, from the device's
    own parameters; bounds keep what the trains do not determine from running away."""
    device: Any = median_device(experiment).device
    found = targets(experiment)
    with computing(True):
        return _fit(found, device, size_of(experiment))


def _fit(found: list[Target], device: Any, realisations: int) -> Fitted:
    scale, at = (device.threshold_voltage, device.cooling_rate), mesh(device)
    used = [t for t in found if t.fitted]
    rows = rows_of(used, *scale)
    sample = np.concatenate([np.arange(t.timeline.samples) for t in used])
    lane = np.repeat(np.arange(len(used)), [t.timeline.samples for t in used])
    measured = np.log(np.concatenate([t.conductance for t in used]))
    weight = np.concatenate([_weight(t, scale[0]) for t in used])

    def residual(x: Any) -> Any:
        return (jnp.log(course(numbers(x, at), rows)[sample, lane]) - measured) * weight

    value, slope = jax.jit(residual), jax.jit(jax.jacfwd(residual))
    start = np.array(list(START.values()))
    best = optimize.least_squares(
        lambda x: np.asarray(value(x)),
        start,
        jac=lambda x: np.asarray(slope(x)),
        bounds=(start - _WIDE, start + _WIDE),
        x_scale=0.1,
        max_nfev=_ITERATIONS,
    )
    p = numbers(best.x, at)
    checks: dict[str, Check] = {}
    for trains in (True, False):
        some = [t for t in found if bool(t.pulses.size) == trains]
        if some:
            modelled = _modelled(p, rows_of(some, *scale))
            checks |= {t.name: _check(t, modelled[: t.timeline.samples, i], scale[0]) for i, t in enumerate(some)}
    plain = Numbers(*(np.asarray(x, float).tolist() for x in p))
    return Fitted(plain, checks, realisations)


def _modelled(p: Numbers, rows: Rows) -> np.ndarray:
    return np.asarray(jax.jit(lambda: course(p, rows))())


def _weight(t: Target, threshold: float) -> np.ndarray:
    """One over the error of ln g, the ensemble's and what the fit does not look below; most for what a pulse is judged
    by, its last quarter, and least for what flows between pulses."""
    counts = np.where(np.abs(t.timeline.voltage) > DRIVEN * threshold, 0.5, 0.1)
    counts[t.pulses] = 1.0
    found: np.ndarray = counts / np.hypot(_FLOOR, t.error / t.conductance)
    return found


def _check(t: Target, modelled: np.ndarray, threshold: float) -> Check:
    v, w = t.timeline.voltage / threshold, t.timeline.widths
    current = relative_rms(modelled * v, t.conductance * v, w)
    if t.pulses.size:
        off = modelled[t.pulses] / t.conductance[t.pulses] - 1.0
        noise = float(np.sqrt(np.mean((t.error[t.pulses] / t.conductance[t.pulses]) ** 2)))
        return Check(t.about, t.fitted, True, float(np.sqrt(np.mean(off**2))), float(np.abs(off).max()), current, noise)
    noise = float(np.sqrt(np.average(t.error**2, weights=w)) / t.conductance.max())
    return Check(t.about, t.fitted, False, relative_rms(modelled, t.conductance, w), current, current, noise)


def relative_rms(ours: np.ndarray, theirs: np.ndarray, widths: np.ndarray) -> float:
    """Root of the mean square difference over time, over the largest size of ``theirs``."""
    return float(np.sqrt(np.average((ours - theirs) ** 2, weights=widths)) / np.abs(theirs).max())
