"""What is taken for granted of the parameters before anything is measured: where simulations are drawn from.

In the natural coordinate n (ln x of a scale) the prior is flat between the bounds, times the Gaussian priors given. It
is written by normal scores: with F the prior's distribution function,

    s = Φ⁻¹(F(n))         standard normal, whatever the prior; every s lies within the bounds

so that a network need not learn where the bounds are, and learns nothing where the data say nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from mcdev.calibration.parameters import Parameter
from mcdev.configuration.problems import Problem, key_path

_EDGE = 1e-15  # of a share: further out a normal score is no number


def problems(parameters: Sequence[Parameter]) -> list[Problem]:
    """Parameters that cannot be drawn."""
    found = {}
    for p in parameters:
        low, high = _ends(p)
        if p.prior_centre is None and not (math.isfinite(low) and math.isfinite(high)):
            which = "low" if not math.isfinite(low) else "high"
            kind = "more than zero, because it is a scale" if p.coordinate.positive and which == "low" else "a bound"
            message = f"simulations are drawn between bounds or from a prior; give {which} ({kind}), or a prior"
            found[p.path] = Problem(key_path("parameters", p.path), None, message)
    return list(found.values())


def values(parameters: Sequence[Parameter], scores: np.ndarray) -> np.ndarray:
    """Parameters [draw, parameter] (SI) of normal scores [draw, parameter]."""
    found = np.empty(scores.shape)
    for j, p in enumerate(parameters):
        low, high = _ends(p)
        s = np.asarray(scores[:, j], float)
        if p.prior_centre is None:
            n = low + special.ndtr(s) * (high - low)
        elif math.isinf(low) and math.isinf(high):
            n = p.prior_centre + p.prior_sd * s
        else:
            below, above = _shares(p, low, high)
            share = below + special.ndtr(s) * (above - below)
            n = p.prior_centre + p.prior_sd * special.ndtri(np.clip(share, _EDGE, 1 - _EDGE))
        found[:, j] = np.exp(n) if p.coordinate.positive else n * p.coordinate.scale
    return found


def scores(parameters: Sequence[Parameter], x: np.ndarray) -> np.ndarray:
    """Normal scores [draw, parameter] of parameters [draw, parameter] (SI) within their bounds."""
    found = np.empty(x.shape)
    for j, p in enumerate(parameters):
        low, high = _ends(p)
        n = np.log(x[:, j]) if p.coordinate.positive else x[:, j] / p.coordinate.scale
        if p.prior_centre is None:
            share = (n - low) / (high - low)
        elif math.isinf(low) and math.isinf(high):
            found[:, j] = (n - p.prior_centre) / p.prior_sd
            continue
        else:
            below, above = _shares(p, low, high)
            share = (special.ndtr((n - p.prior_centre) / p.prior_sd) - below) / (above - below)
        found[:, j] = special.ndtri(np.clip(share, _EDGE, 1 - _EDGE))
    return found


def _ends(p: Parameter) -> tuple[float, float]:
    """Of the natural coordinate; infinite where there is no bound."""
    c = p.coordinate
    low = -math.inf if c.low is None or (c.positive and c.low == 0) else c.natural(c.low)
    return low, math.inf if c.high is None else c.natural(c.high)


def _shares(p: Parameter, low: float, high: float) -> tuple[float, float]:
    """Of the Gaussian prior, below either bound."""
    assert p.prior_centre is not None
    below, above = special.ndtr((np.array([low, high]) - p.prior_centre) / p.prior_sd)
    return float(below), float(above)
