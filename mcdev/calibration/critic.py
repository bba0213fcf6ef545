"""From what each realisation contributes to a mean and its derivatives: likelihood ratios with a critic.

    d E[y]/dp = E[∂y·δx + (y - b) S],     b any baseline that does not see the noise ahead of it

(`mcdev/devices/diffusive_score.py`; docs/gradients.md derives it, and says what it was compared with).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

HORIZON = 8
"""Windows after which the critic stands for the rest of an output: two periods of a pulse train."""
_RIDGE = 1.0  # in realisations: features are scaled to unit variance


class Contributions(NamedTuple):
    """What every realisation contributes to outputs that are sums over windows of time."""

    value: np.ndarray
    """[output, window, realisation]"""
    tangent: np.ndarray
    """Damped tangent of the output, [output, parameter, realisation]."""
    score: np.ndarray
    """Growth of S before the first sample (draw at rest and equilibration), then in each window:
    [1 + window, parameter, realisation]."""
    feature: np.ndarray
    """State at the start of each window, [window, feature, realisation]. The first two are ln g and g."""


class Estimate(NamedTuple):
    """Outputs and their derivatives by the parameters, with standard errors."""

    value: np.ndarray
    """[output]"""
    value_se: np.ndarray
    gradient: np.ndarray
    """[output, parameter]"""
    gradient_se: np.ndarray
    """With the error of the critic's own fit."""
    parts: np.ndarray
    """Whose mean is the gradient, [output, parameter, realisation]."""
    influence: np.ndarray
    """What each realisation changes: parts, and its share in the critic's fit, [output, parameter, realisation]."""
    left_out: float
    """Share of realisations that broke down or whose tangents did, and that are in none of the above."""


class _Fit(NamedTuple):
    """A ridge regression and, for each realisation, its prediction by the fit to all others."""

    prediction: np.ndarray
    """[realisation, output]"""
    surprise: np.ndarray
    """Value minus prediction."""
    design: np.ndarray
    """[realisation, feature], scaled."""
    inverse: np.ndarray
    """[feature, feature]: of the design's normal matrix."""


def _fit(features: np.ndarray, values: np.ndarray) -> _Fit:
    """Predict values [realisation, output] from features [feature, realisation]; y_i - f_-i = (y_i - f_i)/(1 - H_ii).

    Leaving out one matters: a fit that has seen the realisation it is subtracted from takes away part of the
    signal, features over realisations of it.
    """
    centred = features.T - features.mean(axis=1)
    spread = centred.std(axis=0)
    varies = spread > 1e-6 * np.maximum(np.abs(features).max(axis=1), 1e-300)
    design = np.column_stack([np.ones(features.shape[1]), centred[:, varies] / spread[varies]])
    penalty = np.full(design.shape[1], _RIDGE)
    penalty[0] = 0.0
    inverse = np.linalg.inv(design.T @ design + np.diag(penalty))
    leverage = np.sum((design @ inverse) * design, axis=1)
    surprise = (values - design @ (inverse @ (design.T @ values))) / (1.0 - leverage[:, None])
    return _Fit(values - surprise, surprise, design, inverse)


def estimate(contributions: Contributions, horizon: int | None = HORIZON, left_out: float = 0.0) -> Estimate:
    """Gradients from contributions:

        g = mean_i [∂y_i + Σ_w ΔS_wi (Σ_{u=w}^{w+K-1} y_ui + V_{w+K,i} - b_wi)]

    with V_w the critic, a regression of what y still gains from window w on upon the state's features there, and
    b_w a regression of the bracket upon (ln g, g) at the start of w, both leaving out realisation i.
    """
    value, tangent, score, feature = contributions
    windows, realisations = value.shape[1:]
    if realisations < 2 * (feature.shape[1] + 1):
        raise ValueError(
            f"{realisations} intact realisations are too few for a critic of {feature.shape[1]} features: expected "
            f"at least {2 * (feature.shape[1] + 1)}"
        )
    later = np.cumsum(value[:, ::-1], axis=1)[:, ::-1].transpose(1, 2, 0)  # [window, realisation, output]
    parts = tangent.copy()
    fits = 0.0
    for w in range(windows):
        aim = later[w]
        if not np.any(aim):
            break
        if horizon is not None and w + horizon < windows and np.any(later[w + horizon]):
            critic = _fit(feature[w + horizon], later[w + horizon])
            aim = aim - critic.surprise
            # An error of the critic's coefficients moves every term: its share per realisation, first order.
            moved = score[w + 1] + score[0] if w == 0 else score[w + 1]
            reach = (moved @ critic.design) @ critic.inverse  # [parameter, feature]
            fits = fits + np.einsum("pf,if,io->opi", reach, critic.design, critic.surprise)
        bracket = _fit(feature[w, :2], aim).surprise
        parts += bracket.T[:, None, :] * score[w + 1]
        if w == 0:  # the draw itself is noise that its features have seen
            parts += _fit(feature[0, :0], aim).surprise.T[:, None, :] * score[0]
    influence = parts + fits
    total = value.sum(axis=1)
    root = np.sqrt(realisations)
    return Estimate(
        value=total.mean(axis=-1),
        value_se=total.std(axis=-1, ddof=1) / root,
        gradient=parts.mean(axis=-1),
        gradient_se=influence.std(axis=-1, ddof=1) / root,
        parts=parts,
        influence=influence,
        left_out=left_out,
    )
