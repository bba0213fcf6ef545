"""D2D and C2C of what is censored: random effects by maximum likelihood. The analysis of variance would see only the
uncensored values, whose spread is too small.

statsmodels and lifelines have no random effects with censored observations.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize

from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED
from mcdev.statistics.censored import FEWEST_EVENTS, lognormal_terms
from mcdev.statistics.components import Components, Estimate

_STEP, _REACH = 0.35, 8.0
_NEWTON = 12
MOST_DEVICES = 1000
"""Devices that are used at most, spread evenly over all: they give σ_b to 3 %, and more would take long."""
_LEAST_DEVICES = 5


def censored_components(values: np.ndarray, status: np.ndarray) -> Components | None:
    """Between- and within-device standard deviations of ln x, for values [device, cycle] > 0 with censoring.

    ln x_dc = µ + σ_b b_d + σ_w w_dc, b and w standard normal. ln L = Σ_d ln ∫ φ(b) Π_c p_dc(b) db, where p is the
    density of a value and the probability of a bound (Hughes 1999, doi:10.1111/j.0006-341X.1999.00625.x). The
    integral by the trapezoidal rule in t, b = mode + width sinh t: a device of which every cycle is censored has an
    edge as sharp as σ_w/σ_b and a tail as wide as 1, which Gauss-Hermite nodes around the mode miss.

    Intervals: Wald's, of ln σ, from the outer products of the devices' scores; where σ_b is small against its
    error, from 0. Of more than 1000 devices 1000 are used. None where there are fewer than five values or devices,
    or where the search finds no maximum.
    """
    known = np.isfinite(values) & np.isin(status, (OK, RIGHT_CENSORED, LEFT_CENSORED))
    known &= ~((status == RIGHT_CENSORED) & (values <= 0))
    if values.shape[0] > MOST_DEVICES:
        which = np.linspace(0, values.shape[0] - 1, MOST_DEVICES).round().astype(int)
        values, status, known = values[which], status[which], known[which]
    if not known.any() or not (values[known] > 0).all():
        return None
    some = known.any(axis=1)
    known, kind = known[some], status[some]
    y = np.log(np.where(known, values[some], 1.0))
    event = known & (kind == OK)
    devices = int(some.sum())
    if event.sum() < FEWEST_EVENTS or devices < _LEAST_DEVICES or not (known.sum(axis=1) > 1).any():
        return None
    centre, width = float(y[event].mean()), float(y[event].std())
    if not width > 1e-9:
        return None
    model = _Model((y - centre) / width, np.where(known, kind, -1), event)
    end = optimize.minimize(
        model.value, np.array([0.0, 0.7, -0.35]), jac=True, method="L-BFGS-B", bounds=[(-20, 20), (0, 20), (-8, 5)]
    )
    # A line search may give up on top of the hill, where value and slope agree only to the integral's error.
    if np.abs(end.jac[[0, 2]]).max() > 0.02 * np.sqrt(devices) or end.x[2] < -7.9:
        return None
    mean, between, within = float(end.x[0]), float(end.x[1]), float(np.exp(end.x[2]))
    scores = model.scores(end.x)[1]
    free = between > 1e-3 * within
    use = [0, 1, 2] if free else [0, 2]
    information = scores[use] @ scores[use].T
    if np.linalg.cond(information) > 1e12:
        return None
    covariance = np.zeros((3, 3))
    covariance[np.ix_(use, use)] = np.linalg.inv(information)
    covariance[2] *= within  # of σ_w instead of ln σ_w
    covariance[:, 2] *= within
    between = between if free else 0.0
    total = float(np.hypot(between, within))
    slope = np.array([0.0, between / total, within / total])
    return Components(
        devices,
        int(known.sum()),
        centre + width * mean,
        _around(between, covariance[1, 1], width),
        _around(within, covariance[2, 2], width),
        _around(total, float(slope @ covariance @ slope), width),
    )


class _Model:
    """Likelihood of standardised observations [device, cycle]."""

    def __init__(self, y: np.ndarray, kind: np.ndarray, event: np.ndarray):
        self.y, self.kind, self.event = y, kind, event

    def terms(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """ln p with two derivatives in z; zeros where nothing is known."""
        flat = lognormal_terms(np.clip(z, -1e4, 1e4).ravel(), self.kind.ravel())
        return flat[0].reshape(z.shape), flat[1].reshape(z.shape), flat[2].reshape(z.shape)

    def modes(self, mean: float, between: float, within: float) -> tuple[np.ndarray, np.ndarray]:
        """Each device's most probable b and the width of its distribution, by Newton's method; ln p is concave."""
        ratio, b = between / within, np.zeros(self.y.shape[0])
        curvature = np.ones_like(b)
        for _ in range(_NEWTON):
            _, first, second = self.terms((self.y - mean - between * b[:, None]) / within)
            curvature = 1 - ratio**2 * second.sum(axis=1)
            step = (-b - ratio * first.sum(axis=1)) / curvature
            b = b + np.clip(step, -2.0, 2.0)
            if np.abs(step).max() < 1e-6:
                break
        return b, 1 / np.sqrt(curvature)

    def scores(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln L of each device [device] and its derivatives [3, device] in (µ, σ_b, ln σ_w): means of those of the
        integrand, weighted by the integrand (Fisher's identity)."""
        mean, between, within = p[0], p[1], np.exp(p[2])
        mode, spread = self.modes(mean, between, within)
        end = float(np.arcsinh(_REACH / spread.min()))
        nodes = np.linspace(-end, end, 2 * int(np.ceil(end / _STEP)) + 1)
        logs = np.empty((nodes.size, mode.size))
        slopes = np.empty((nodes.size, 3, mode.size))
        events = self.event.sum(axis=1)
        for k, node in enumerate(nodes):
            b = mode + spread * np.sinh(node)
            z = (self.y - mean - between * b[:, None]) / within
            log, first, _ = self.terms(z)
            total = first.sum(axis=1)
            logs[k] = log.sum(axis=1) - events * p[2] - 0.5 * b * b + np.log(np.cosh(node))
            slopes[k] = -total / within, -b * total / within, -(z * first).sum(axis=1) - events
        top = logs.max(axis=0)
        share = np.exp(logs - top)
        whole = share.sum(axis=0)
        likelihood = top + np.log(whole * spread * (nodes[1] - nodes[0])) - 0.5 * np.log(2 * np.pi)
        return likelihood, (share[:, None] * slopes).sum(axis=0) / whole

    def value(self, p: np.ndarray) -> tuple[float, np.ndarray]:
        """-ln L and its derivatives, for a search."""
        likelihood, slopes = self.scores(p)
        return -float(likelihood.sum()), -slopes.sum(axis=1)


def _around(sigma: float, variance: float, width: float) -> Estimate:
    error = float(np.sqrt(max(variance, 0.0)))
    if sigma <= 0:
        return Estimate(0.0, 0.0, float("nan"))
    if error > 0.5 * sigma:  # ln σ is not near normal then
        return Estimate(sigma * width, 0.0, (sigma + 1.96 * error) * width)
    factor = float(np.exp(1.96 * error / sigma))
    return Estimate(sigma * width, sigma * width / factor, sigma * width * factor)
