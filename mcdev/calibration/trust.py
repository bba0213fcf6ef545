"""Whether a learnt posterior may be believed: on simulations whose parameters are known, and at the observation.

- Ranks: the place of the true parameter among draws from its posterior is uniform where the posterior is right
  (simulation-based calibration: Cook, Gelman and Rubin 2006; Talts et al. 2018, arXiv:1804.06788).
- Coverage: the region of highest density that holds a share p of the draws holds the truth in a share p of the data
  sets (Hermans et al. 2022, arXiv:2110.06581). Too few: the posterior is too narrow.
- Strangeness: how far the observation lies from its nearest simulated data sets, against how far simulated data sets
  lie from theirs. What lies further than 99 % of them is unlike anything simulated: there the network guesses.
- Missed: what the posterior predicts for each target, against what was reported.

The first three use data sets that the network has not been trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.spatial import cKDTree

from mcdev.calibration import amortised
from mcdev.calibration.amortised import Network
from mcdev.calibration.goals import Goal
from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED

DRAWS = 199
"""For each data set, of ranks and coverage: a rank is one of 200."""
LEVELS = np.linspace(0.05, 0.95, 19)
_DOUBTFUL = 0.01  # probability of ranks or coverage this far off, were the posterior right, from which it is said
_SLACK = 0.02  # of the coverage, which is not worth a word
_STRANGE = 0.01
_NEIGHBOURS = 5
_SHRUNK = 1e-3  # of the variance, added: flags may be alike in nearly all data sets


class Trust(NamedTuple):
    """What was found."""

    ranks: np.ndarray
    """[data set, parameter]: share of the draws below the truth, between 0 and 1."""
    uniform: np.ndarray
    """[parameter]: probability of ranks as uneven as these, were they uniform (Kolmogorov and Smirnov)."""
    covered: np.ndarray
    """[level]: share of the data sets whose truth the region of this level holds."""
    strangeness: float
    """Share of simulated data sets that are as far from their neighbours as the observation; small: it is unlike
    anything simulated."""

    @property
    def tested(self) -> int:
        return len(self.ranks)

    @property
    def strange(self) -> bool:
        return self.strangeness < _STRANGE


def trust(
    network: Network, scores: np.ndarray, shown: np.ndarray, among: np.ndarray, observed: np.ndarray, seed: int
) -> Trust:
    """``scores`` [set, parameter] and ``shown`` [set, width]: of data sets that were not trained on; ``among``: those
    that were; ``observed`` [width]. All with the instrument's noise."""
    rng = np.random.default_rng(seed)
    draws = amortised.draw(network, shown, DRAWS, seed)
    below = (draws < scores[:, None]).sum(axis=1)
    ranks = (below + rng.uniform(size=below.shape)) / (DRAWS + 1)
    density = amortised.log_density(network, np.concatenate([scores[:, None], draws], axis=1), shown)
    higher = ((density[:, 1:] > density[:, :1]).sum(axis=1) + rng.uniform(size=len(density))) / (DRAWS + 1)
    return Trust(
        ranks,
        np.array([float(stats.kstest(column, "uniform").pvalue) for column in ranks.T]),
        np.array([float(np.mean(higher <= level)) for level in LEVELS]),
        strangeness(among, shown, observed),
    )


def strangeness(among: np.ndarray, others: np.ndarray, observed: np.ndarray) -> float:
    """Share of ``others`` [set, width] that lie as far from their nearest ones of ``among`` as ``observed`` does.
    Distances are those of the principal axes of ``among``, so that numbers that belong together count together."""
    centre = among.mean(axis=0)
    size, axes = np.linalg.eigh(np.atleast_2d(np.cov(among.T)))
    turn = axes / np.sqrt(np.maximum(size, 0.0) + _SHRUNK)
    tree = cKDTree((among - centre) @ turn)
    count = min(_NEIGHBOURS, len(among))
    far = tree.query((others - centre) @ turn, k=[count])[0][:, 0]
    own = tree.query(((observed - centre) @ turn)[None], k=[count])[0][0, 0]
    return float((1 + np.sum(far >= own)) / (1 + len(far)))


def missed(goals: Sequence[Goal], value: np.ndarray, status: np.ndarray) -> np.ndarray:
    """[target]: probability that what the posterior predicts [draw, target] is as far on one side as what was reported,
    doubled. A predicted or reported bound counts as equal to all beyond it; NaN where there is no number."""
    found = np.full(len(goals), np.nan)
    for j, goal in enumerate(goals):
        if goal.status not in (OK, RIGHT_CENSORED, LEFT_CENSORED):
            found[j] = min(1.0, float((1 + np.sum(status[:, j] == goal.status)) / (1 + len(status))))
            continue
        fine = np.isfinite(value[:, j])
        x, code = value[fine, j], status[fine, j]
        if not x.size:
            continue
        above = (x >= goal.value) | (code == RIGHT_CENSORED)
        below = (x <= goal.value) | (code == LEFT_CENSORED)
        if goal.status == RIGHT_CENSORED:
            sides = [(1 + above.sum()) / (1 + x.size)]
        elif goal.status == LEFT_CENSORED:
            sides = [(1 + below.sum()) / (1 + x.size)]
        else:
            sides = [2 * (1 + side.sum()) / (2 + x.size) for side in (above, below)]
        found[j] = min(1.0, float(min(sides)))
    return found


def words(t: Trust, labels: Sequence[str]) -> list[str]:
    """What a reader must know before the posterior is used."""
    said = []
    i = int(np.argmin(np.abs(LEVELS - 0.95)))
    narrow = float(stats.binom.cdf(round(t.covered[i] * t.tested), t.tested, LEVELS[i]))
    text = f"95 % regions of the posterior contain {100 * t.covered[i]:.3g} % of {t.tested} simulated truths"
    if narrow < _DOUBTFUL and t.covered[i] < LEVELS[i] - _SLACK:
        said.append(f"{text}: the posterior is too narrow; raise simulations.number")
    else:
        said.append(text)
    wrong = [label for label, p in zip(labels, t.uniform, strict=True) if p < _DOUBTFUL / len(labels)]
    if wrong:
        said.append(
            f"the ranks of simulated truths are not uniform for {', '.join(wrong)}: their intervals are wrong; raise "
            "simulations.number"
        )
    if t.strange:
        said.append(
            f"the reported numbers together are unlike the simulated ones (only {100 * t.strangeness:.2g} % of these "
            "are as far from the rest): the model or the priors do not contain them; do not use the posterior"
        )
    return said


def contraction(scores: np.ndarray) -> np.ndarray:
    """[parameter]: by what share the draws' [draw, parameter] variance is less than the prior's, which is 1."""
    return np.asarray(1.0 - scores.var(axis=0))


def correlation(natural: np.ndarray) -> np.ndarray:
    """Of draws [draw, parameter]; zero beside the diagonal where a parameter has no spread."""
    found = np.atleast_2d(np.cov(natural.T))
    size = np.sqrt(np.maximum(np.diag(found), 1e-300))
    return np.asarray(found / np.outer(size, size))
