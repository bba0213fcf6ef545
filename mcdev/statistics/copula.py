"""How several quantities go together over devices and cycles, and the Gaussian copula that draws them so.

Observations are taken as x_dc = b_d + w_dc, with correlations of b (D2D) and of w (C2C) between quantities. Of censored
ones the normal scores stand for them, Φ⁻¹((rank - 1/2)/n).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from mcdev.statistics.correlation import ranks

_LEAST_SHARE, _ROUNDING = 0.02, 1e-10
_PAIRS, _HALVINGS = 4096, 14
GRID = np.linspace(-4.5, 4.5, 901)
"""Normal scores at which functions of one are given."""


@dataclass(frozen=True)
class Copula:
    """Of K quantities."""

    device_share: np.ndarray
    """[K]: share of the variance that is between devices."""
    d2d: np.ndarray
    """[K, K]: correlations of b."""
    c2c: np.ndarray
    """[K, K]: correlations of w; the identity where there is one cycle."""


def normal_scores(line: np.ndarray) -> np.ndarray:
    """Scores of values among all of them; NaN where there is none. Ties (censored observations at ±infinity among them)
    share their mean rank."""
    scores = np.full(line.shape, np.nan)
    known = ~np.isnan(line)
    if known.any():
        scores[known] = special.ndtri((ranks(line[known]) - 0.5) / known.sum())
    return scores


def estimate(scores: np.ndarray) -> Copula:
    """Correlations of observations [quantity, device, cycle], by the moments of the two-way layout.

    With the mean cross products between (B) and within (W) devices of C cycles: Σ_w = W, Σ_b = (B - W)/C, so that
    a D2D correlation is not diluted by cycle-to-cycle noise (Searle, Casella and McCulloch 1992,
    doi:10.1002/9780470316856, ch. 11). Each pair of quantities is over the devices that have both in every cycle. A
    quantity of whose variance less than 2 % is between devices has no correlations there, where chance decides. Each
    matrix is made positive semi-definite by cutting its negative eigenvalues.
    """
    size = scores.shape[0]
    whole = np.isfinite(scores).all(axis=2)
    between, within = _products(scores) if whole.all() and whole.shape[1] > 2 else _products_of_pairs(scores, whole)
    b, w = np.maximum(np.diag(between), 0.0), np.diag(within)
    total = b + w
    share = np.clip(np.divide(b, total, out=np.ones(size), where=total > 0), 0.0, 1.0)
    share = np.where(np.isfinite(share), share, 1.0)
    return Copula(share, _correlations(between, share > _LEAST_SHARE), _correlations(within, 1 - share > _ROUNDING))


def _products(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross products between and within devices, [K, K] each, where every device has all."""
    _, devices, cycles = x.shape
    means = x.mean(axis=2)
    centred = means - means.mean(axis=1, keepdims=True)
    within = np.zeros((x.shape[0], x.shape[0]))
    if cycles > 1:
        rest = (x - means[:, :, None]).reshape(x.shape[0], devices * cycles)
        within = rest @ rest.T / (devices * (cycles - 1))
    return centred @ centred.T / (devices - 1) - within / cycles, within


def _products_of_pairs(scores: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same where devices lack some: each pair of quantities over the devices that have both."""
    size, _, cycles = scores.shape
    between, within = np.full((size, size), np.nan), np.full((size, size), np.nan)
    for i in range(size):
        for j in range(i, size):
            both = whole[i] & whole[j]
            if both.sum() < 3:
                continue
            a, b = scores[i, both], scores[j, both]
            ma, mb = a.mean(axis=1), b.mean(axis=1)
            devices = both.sum()
            mean_products = cycles * ((ma - ma.mean()) * (mb - mb.mean())).sum() / (devices - 1)
            inner = 0.0
            if cycles > 1:
                inner = ((a - ma[:, None]) * (b - mb[:, None])).sum() / (devices * (cycles - 1))
            between[i, j] = between[j, i] = (mean_products - inner) / cycles
            within[i, j] = within[j, i] = inner
    return between, within


def scores_for(first: np.ndarray, second: np.ndarray, wanted: float) -> float:
    """The correlation of two standard normal numbers with which two functions of them have the one that is wanted
    (Cario and Nelson 1997, Modeling and generating random vectors with arbitrary marginal distributions), by bisection:
    the nearest there is where none has it. The functions are given at ``GRID``."""
    draw = np.random.default_rng(0)
    even = special.ndtri((np.arange(_PAIRS) + 0.5) / _PAIRS)
    a, e = draw.permutation(even), draw.permutation(even)
    x = np.interp(a, GRID, first)

    def found(r: float) -> float:
        y = np.interp(r * a + np.sqrt(1 - r * r) * e, GRID, second)
        size = x.std() * y.std()
        return float(((x - x.mean()) * (y - y.mean())).mean() / size) if size > 0 else 0.0

    low, high = -0.5 * np.pi, 0.5 * np.pi  # of arcsin r, because steps are steep near r = ±1
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if found(float(np.sin(middle))) < wanted else (low, middle)
    return float(np.sin(0.5 * (low + high)))


def _correlations(products: np.ndarray, varies: np.ndarray) -> np.ndarray:
    size = np.sqrt(np.maximum(np.nan_to_num(np.diag(products)), 0.0))
    usable = varies & (size > 0)
    scale = np.where(usable, size, 1.0)
    matrix = np.nan_to_num(products) / np.outer(scale, scale)
    matrix[~usable, :] = 0.0
    matrix[:, ~usable] = 0.0
    return nearest(np.clip(matrix, -1.0, 1.0))


def nearest(matrix: np.ndarray) -> np.ndarray:
    """A correlation matrix near a symmetric one: negative eigenvalues are cut and the diagonal is brought back to one
    (Rousseeuw and Molenberghs 1993, doi:10.1080/03610928308831068), rounded to 9 digits."""
    matrix = 0.5 * (matrix + matrix.T)
    np.fill_diagonal(matrix, 1.0)
    if matrix.size and np.linalg.eigvalsh(matrix)[0] < 0:
        values, vectors = np.linalg.eigh(matrix)
        matrix = (vectors * np.maximum(values, 0.0)) @ vectors.T
        size = np.sqrt(np.diag(matrix))
        matrix = matrix / np.outer(size, size)
    matrix = np.round(np.clip(0.5 * (matrix + matrix.T), -1.0, 1.0), 9)
    np.fill_diagonal(matrix, 1.0)
    return matrix


def root(matrix: np.ndarray) -> np.ndarray:
    """R with R Rᵀ = matrix, for a positive semi-definite one."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0.0))
