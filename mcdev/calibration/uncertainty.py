"""How well each parameter is known: covariance, intervals, weak directions in words.

Everything is in natural coordinates, z = ln x of a scale: a standard deviation of 0.1 is 10 %. With A the derivatives
of the weighted deviations by z, priors included,

    cov = (AᵀA)⁻¹ max(1, χ²/ν) + (AᵀA)⁻¹ Aᵀ N A (AᵀA)⁻¹          Gauss-Newton; ν = numbers - parameters

where the model cannot meet the numbers (χ² > ν) errors grow accordingly, and the report says so. N is the covariance of
the weighted deviations over the ensemble that was fitted: its noise is taken up by the parameters. In χ² a number's
variance is its own and the ensemble's, χ² = rᵀ (1 + N)⁻¹ r.

Curves of devices that move by themselves are weighted by W = (K Kᵀ)⁻¹, which is not quite the inverse of their
covariance Σ (`covariance.py`); for them

    cov = (AᵀA)⁻¹ Aᵀ (K⁻¹ Σ K⁻ᵀ) A (AᵀA)⁻¹                        sandwich (Godambe)

and χ² is compared with that of draws from the model at its fit, in place of ν: errors grow by as much as it exceeds
95 % of them.

Statistics of the same few devices err together: with R their correlation (`misfit.py`) the same sandwich holds with R
in place of K⁻¹ Σ K⁻ᵀ. For χ² the numbers are replaced by the principal axes of R + N. Axes along which they vary by
less than a twentieth of one number's variance are left out: there the statistics of a few devices are no longer linear
in one another. The points of a spectrum have a few such axes, however many points there are. χ² is what is left along
the others when the parameters are fitted to them by weighted least squares; ν counts these axes. What D devices scatter
by is known from their own spread only, so that intervals are t's with D - 1 degrees of freedom, as of the mean of D
numbers, and χ²/ν is compared with F(ν, D - 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import stats

from mcdev.calibration.covariance import covariance as covariance_of
from mcdev.calibration.covariance import draws, whitened
from mcdev.calibration.misfit import Misfit
from mcdev.calibration.plan import Plan

CONFIDENCE = 0.95
UNDETERMINED = float(np.log(2.0))
"""Standard deviation of a natural coordinate above which a parameter or direction counts as not determined: a factor
of two, or the whole of a number that may have either sign."""
_WIDEST = 3.0
"""How far a direction that nothing determines is taken to reach (a factor of 20): errors stay numbers, and a
parameter that hardly takes part in such a direction is not called unknown for it."""
_DRAWS = 1000  # of data from the model
_TOLD = 0.05  # variance of a principal axis of statistics, in that of one, below which it is left out of χ²
_SHOWN = 0.25  # share of a direction below which a parameter is not named


class Knowledge(NamedTuple):
    """What the numbers say of the parameters."""

    natural: np.ndarray
    """[parameter]"""
    sd: np.ndarray
    """Standard deviation of the natural coordinate, at most 3."""
    low: np.ndarray
    """Ends of the interval, SI; no further than the parameter's bounds."""
    high: np.ndarray
    correlation: np.ndarray
    singular: np.ndarray
    """Of A without priors, largest first."""
    directions: np.ndarray
    """[singular value, parameter]: unit vectors in natural coordinates."""
    chi_square: float
    freedom: int
    expected: float
    """Mean χ² of data that the model makes at its fit: ν, or that of draws where devices move by themselves."""
    chance: float
    """Share of the data that the model makes at its fit whose χ² is as large; one where ν is zero."""
    inflation: float
    """max(1, χ²/ν); of draws, which are far from Gaussian, as far as χ² exceeds 95 % of them."""
    reach: np.ndarray
    """[parameter]: half of the interval in standard deviations, where χ² is no larger than it should be."""
    widening: np.ndarray
    """[parameter]: by what the standard deviation exceeds that of W alone, for curves of devices that move."""
    determined: np.ndarray
    words: tuple[str, ...]


def _per_natural(plan: Plan, m: Misfit, by_free: np.ndarray) -> np.ndarray:
    """Derivatives [number, parameter] by the natural coordinates, from those by the free ones."""
    slope = np.array([p.coordinate.slope(float(u)) for p, u in zip(plan.parameters, m.u, strict=True)])
    return np.asarray(by_free / (plan.natural_slope(plan.values(m.u)) * slope))


def matrix(plan: Plan, m: Misfit, priors: bool = True) -> np.ndarray:
    """A [number, parameter]."""
    rows = _per_natural(plan, m, m.jacobian)
    count = sum(p.prior_centre is not None for p in plan.parameters)
    return rows if priors or count == 0 else rows[:-count]


def known(plan: Plan, m: Misfit, fitted: Misfit | None = None) -> Knowledge:
    """Covariance, intervals and weak directions at one point, from its derivatives. ``fitted``: the end of the search,
    whose ensemble's noise the parameters have taken up; else ``m`` itself."""
    noise = (fitted or m).noise_covariance
    a = matrix(plan, m)
    count = len(plan.parameters)
    data = matrix(plan, m, priors=False)
    # noise of derivatives makes weak directions look better known than they are: E[ÂᵀÂ] = AᵀA + Σ var
    extra = np.sum(_per_natural(plan, m, m.jacobian_error) ** 2, axis=0)
    said, along = np.linalg.eigh(data.T @ data - np.diag(extra))
    priors = a[len(data) :]  # they have no noise, and hold where it hides what the numbers say
    squares, v = np.linalg.eigh((along * np.maximum(said, 0.0)) @ along.T + priors.T @ priors)
    s, v = np.sqrt(np.maximum(squares[::-1], 0.0)), v.T[::-1]
    r = (fitted or m).residual
    goals = noise.shape[0]
    together = m.together
    moving = any(root is not None for root in m.roots)
    if any(g.of_devices is not None for g in m.goals) and not moving:
        chi_square, freedom = _along_axes(together + noise, r, a)
    else:
        chi_square = float(r[:goals] @ np.linalg.solve(together + noise, r[:goals]) + np.sum(r[goals:] ** 2))
        freedom = a.shape[0] - count
    expected, usual, chance = _made_by_the_model(plan, m, fitted or m, a, chi_square, freedom)
    inflation = max(1.0, chi_square / usual) if freedom > 0 else 1.0
    plain = (v.T * np.minimum(1.0 / np.maximum(s, 1e-150) ** 2, _WIDEST**2)) @ v
    covariance = (v.T * np.minimum(inflation / np.maximum(s, 1e-150) ** 2, _WIDEST**2)) @ v
    # what the least squares make of the ensemble's noise: (AᵀA)⁻¹ Aᵀ N A (AᵀA)⁻¹
    pull = (v.T / np.maximum(s, 1.0 / _WIDEST) ** 2) @ v @ a.T
    covariance = covariance + pull[:, :goals] @ noise @ pull[:, :goals].T
    sandwich = np.zeros_like(covariance)
    for i, total in _moving(plan, m, fitted or m):
        own = pull[:, m.rows(i)]
        sandwich += own @ (total - np.eye(len(total))) @ own.T
    sandwich += pull[:, :goals] @ (together - np.eye(goals)) @ pull[:, :goals].T
    covariance = covariance + inflation * sandwich
    sd = np.minimum(np.sqrt(np.diag(covariance)), _WIDEST)
    devices = _freedom_of_few(m, pull)
    reach = stats.t.ppf(0.5 + CONFIDENCE / 2, devices)
    z = reach
    if freedom > 0 and inflation > 1.0:
        z = stats.t.ppf(0.5 + CONFIDENCE / 2, np.minimum(devices, freedom))
    x = plan.values(m.u)
    (natural,) = plan.natural(x[None])
    low, high = np.empty(count), np.empty(count)
    for j, p in enumerate(plan.parameters):
        far = min(float(z[j] * sd[j]), 500.0) if p.coordinate.positive else float(z[j] * sd[j])
        ends = (
            (x[j] * np.exp(-far), x[j] * np.exp(far))
            if p.coordinate.positive
            else (x[j] - far * p.coordinate.scale, x[j] + far * p.coordinate.scale)
        )
        low[j] = max(ends[0], -np.inf if p.coordinate.low is None else p.coordinate.low)
        high[j] = min(ends[1], np.inf if p.coordinate.high is None else p.coordinate.high)
    _, s_data, v_data = np.linalg.svd(data, full_matrices=data.shape[0] < count)
    s_data = np.concatenate([s_data, np.zeros(count - s_data.size)])
    scale = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    return Knowledge(
        natural,
        sd,
        low,
        high,
        covariance / np.outer(scale, scale),
        s_data,
        v_data,
        chi_square,
        freedom,
        expected,
        chance,
        inflation,
        reach,
        np.sqrt(np.maximum(1.0 + np.diag(sandwich) / np.diag(plain), 0.0)),
        sd < UNDETERMINED,
        tuple(_words(plan, x, s_data, v_data)),
    )


def _along_axes(total: np.ndarray, r: np.ndarray, a: np.ndarray) -> tuple[float, int]:
    """χ² of residuals ``r`` and its degrees of freedom; ``total``: covariance of the first of them, the others are
    independent and of variance one."""
    size, axes = np.linalg.eigh(total)
    kept = size > _TOLD
    turn = axes[:, kept] / np.sqrt(size[kept])
    goals = len(total)
    whole = np.concatenate([turn.T @ r[:goals], r[goals:]])
    basis, s, _ = np.linalg.svd(np.vstack([turn.T @ a[:goals], a[goals:]]), full_matrices=False)
    basis = basis[:, s > 1e-9 * max(float(s[0]), 1e-300)]
    left = whole - basis @ (basis.T @ whole)
    return float(left @ left), max(whole.size - a.shape[1], 0)


def _freedom_of_few(m: Misfit, pull: np.ndarray) -> np.ndarray:
    """[parameter]: degrees of freedom of what is known of its error; infinite where no number is of a few devices.

    1/f = Σ_k share_k/(D_k - 1), share_k the part of the variance that comes from number k. Independent numbers would
    have more together (Satterthwaite); these are of the same devices.
    """
    few = np.array([0.0 if g.of_devices is None else 1.0 / (g.of_devices - 1) for g in m.goals])
    parts = pull**2
    share = parts[:, : few.size] / np.maximum(parts.sum(axis=1, keepdims=True), 1e-300)
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / (share @ few))


def _moving(plan: Plan, m: Misfit, fitted: Misfit) -> Iterator[tuple[int, np.ndarray]]:
    """(number, K⁻¹ Σ K⁻ᵀ) of each curve of devices that move by themselves: C from the ensemble of ``m``, the simulated
    mean that of ``fitted``."""
    for i, (trace, root) in enumerate(zip(plan.traces, m.roots, strict=True)):
        if root is not None:
            total = covariance_of(trace, m.evaluation.courses[i], fitted.evaluation.courses[i].shape[0])
            yield i, whitened(root, whitened(root, total).T)


def _made_by_the_model(
    plan: Plan, m: Misfit, fitted: Misfit, a: np.ndarray, chi_square: float, freedom: int
) -> tuple[float, float, float]:
    """(mean χ², χ² from which on errors grow, share of χ² as large) of data that the model makes at its fit, when they
    are fitted in turn.

    Gaussian throughout, that is χ² with ν degrees of freedom; with statistics of D devices ν F(ν, D - 1), the law of
    Hotelling's T² but for how it counts degrees of freedom. Curves of devices that move by themselves are drawn from
    the ensemble instead; |ε|² - |Uᵀε|² is what a fit leaves of deviations ε, U spanning A.
    """
    moving = [i for i, root in enumerate(m.roots) if root is not None]
    few = [g.of_devices for g in m.goals if g.of_devices is not None]
    if freedom > 0 and few and not moving:
        law = stats.f(freedom, min(few) - 1)
        usual = freedom * float(law.ppf(CONFIDENCE))
        expected = freedom * (min(few) - 1) / (min(few) - 3) if min(few) > 3 else freedom * float(law.median())
        return expected, usual, float(law.sf(chi_square / freedom))
    if freedom <= 0 or not moving:
        mean = float(max(freedom, 1))
        return mean, mean, float(stats.chi2.sf(chi_square, freedom)) if freedom > 0 else 1.0
    rng = np.random.default_rng(plan.job.search.seed)
    basis = np.linalg.qr(a)[0]
    others = np.ones(a.shape[0], bool)
    left, along = np.zeros(_DRAWS), np.zeros((_DRAWS, a.shape[1]))
    for i in moving:
        root, which = m.roots[i], m.rows(i)
        assert root is not None
        count = fitted.evaluation.courses[i].shape[0]
        drawn = whitened(root, draws(plan.traces[i], m.evaluation.courses[i], count, _DRAWS, rng).T).T
        others[which] = False
        left += np.sum(drawn**2, axis=1)
        along += drawn @ basis[which]
    rest = int(others.sum())
    triangle = np.linalg.qr(basis[others])[1]
    normal = rng.normal(size=(_DRAWS, triangle.shape[0]))
    left += np.sum(normal**2, axis=1) + (rng.chisquare(rest - len(triangle), _DRAWS) if rest > len(triangle) else 0.0)
    left -= np.sum((along + normal @ triangle) ** 2, axis=1)
    usual = float(np.quantile(left, CONFIDENCE))
    return float(left.mean()), usual, float((1 + np.sum(left >= chi_square)) / (1 + _DRAWS))


def _words(plan: Plan, x: np.ndarray, singular: np.ndarray, directions: np.ndarray) -> list[str]:
    """A sentence for each direction along which the numbers allow a change by more than a factor of two."""
    said = []
    # at its start, a parameter that may have either sign is counted in its own size: as good as a logarithm there
    relative = [
        abs(abs(p.coordinate.natural_slope(float(v)) * float(v)) - 1.0) < 0.2
        for p, v in zip(plan.parameters, x, strict=True)
    ]
    for s, direction in zip(singular, directions, strict=True):
        if s * UNDETERMINED >= 1.0:
            continue
        order = np.argsort(-np.abs(direction))
        named = [int(j) for j in order if abs(direction[j]) > _SHOWN * abs(direction[order[0]])]
        labels = [plan.parameters[j].label for j in named]
        shares = direction[named] / abs(direction[named[0]])
        allowed = (
            "nothing depends on it"
            if s < 1e-8 * max(singular[0], 1e-300)
            else f"one standard deviation along it is a factor {np.exp(min(1 / s, 500)):.3g}"
        )
        if len(named) == 1:
            said.append(f"{labels[0]} is not determined ({allowed})")
        elif len(named) == 2 and all(relative[j] for j in named):
            opposite = shares[0] * shares[1] < 0
            power = abs(shares[1])
            weight = "" if abs(power - 1) < 0.15 else f"^{1 / power:.2g}"
            what = "product" if opposite else "ratio"
            text = f"{labels[0]} and {labels[1]} only as a {what}"
            sign = "·" if opposite else "/"
            said.append(f"{text}, {labels[0]}{sign}{labels[1]}{weight} ({allowed})")
        else:
            moves = ", ".join(f"{label} {share:+.2f}" for label, share in zip(labels, shares, strict=True))
            said.append(
                f"moved together as ({moves}) in {_measure(plan, named)}, these leave every number as it is ({allowed})"
            )
    return said


def _measure(plan: Plan, named: list[int]) -> str:
    if all(plan.parameters[j].coordinate.positive for j in named):
        return "their logarithms"
    return "their logarithms (of those that may be negative: in units of where they began)"
