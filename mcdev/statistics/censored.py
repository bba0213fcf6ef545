"""Laws fitted to times, voltages, … of which some are only known to lie above or below a bound.

scipy.stats fits censored data too, but gives no standard errors, and lifelines has none that know of clusters
(cycles of one device); both would search without derivatives that are short to write down. scipy does the search here
and is what the tests compare with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED
from mcdev.statistics.components import Estimate

FEWEST_EVENTS = 5
"""Uncensored observations without which no law is fitted."""
LILLIEFORS = 1.035
"""Lilliefors' 1 % point times sqrt(n): the largest distance between the observed and a fitted distribution function
that chance explains (Lilliefors 1967, doi:10.1080/01621459.1967.10482916; it is for the normal law)."""
_Z = float(special.ndtri(0.975))


@dataclass(frozen=True)
class Sample:
    """Positive observations, flat; which kind each is; and of which device."""

    values: np.ndarray
    kind: np.ndarray
    """OK, RIGHT_CENSORED or LEFT_CENSORED."""
    device: np.ndarray
    clustered: bool
    """Whether some device has several observations."""


def sample(values: np.ndarray, status: np.ndarray) -> Sample | None:
    """Observations [device, cycle] that are a value or a bound. None where a value, or a bound from above, is not
    positive: then neither law can be true. A bound from below that is not positive says nothing and is left out."""
    known = np.isfinite(values) & np.isin(status, (OK, RIGHT_CENSORED, LEFT_CENSORED))
    known &= ~((status == RIGHT_CENSORED) & (values <= 0))
    device, _ = np.nonzero(known)
    x = values[known]
    if not x.size or not (x > 0).all():
        return None
    return Sample(x, status[known], device, bool(np.unique(device).size < device.size))


@dataclass(frozen=True)
class Law:
    """ln x = µ + σ z, with z standard normal (lognormal) or smallest extreme value (Weibull)."""

    family: str
    location: float
    """µ: ln of the lognormal's median or of the Weibull's scale."""
    scale: float
    """σ: the lognormal's σ_ln; 1/σ is the Weibull's shape."""
    covariance: np.ndarray
    """[2, 2], of (µ, ln σ)."""
    aic: float
    """2 · 2 - 2 ln L; with several cycles a device, of observations taken as independent."""
    n: int
    events: int

    def parameters(self) -> dict[str, tuple[Estimate, float]]:
        """Name → (value with its 95 % interval, standard error): ``median`` and ``sigma`` of a lognormal, ``scale``
        and ``shape`` of a Weibull. Intervals are Wald's, of the logarithms."""
        se = np.sqrt(np.diag(self.covariance))
        first = _positive(np.exp(self.location), float(se[0]))
        if self.family == "lognormal":
            return {"median": first, "sigma": _positive(self.scale, float(se[1]))}
        return {"scale": first, "shape": _positive(1 / self.scale, float(se[1]))}

    def z(self, share: np.ndarray) -> np.ndarray:
        """Standard quantile: (ln x - µ)/σ below which a share of all lies."""
        return _FAMILIES[self.family].quantile(share)

    def quantile(self, share: np.ndarray) -> np.ndarray:
        """Value below which a share of all lies."""
        return np.exp(self.location + self.scale * self.z(share))

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Share that lies below positive values."""
        return _FAMILIES[self.family].cdf((np.log(x) - self.location) / self.scale)

    def quantile_band(self, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """95 % interval of each quantile: Wald's for µ + σ z (Meeker and Escobar 1998, §8.4)."""
        z = self.z(share)
        c, s = self.covariance, self.scale
        error = np.sqrt(c[0, 0] + 2 * s * z * c[0, 1] + (s * z) ** 2 * c[1, 1])
        middle = self.location + s * z
        return np.exp(middle - _Z * error), np.exp(middle + _Z * error)


def fit_laws(data: Sample | None) -> dict[str, Law]:
    """Lognormal and Weibull by maximum likelihood, keyed by family, always both or none.

    ln L = Σ_values [ln f(z) - ln σ - ln x] + Σ_right ln(1 - F(z)) + Σ_left ln F(z), z = (ln x - µ)/σ. Standard errors
    from the observed information H (Lawless 2003, doi:10.1002/9781118033005; Meeker and Escobar 1998); where devices
    have several observations, from H⁻¹ (Σ_d u_d u_dᵀ) H⁻¹ with the scores u_d of the devices (Liang and Zeger 1986,
    doi:10.1093/biomet/73.1.13), times D/(D - 1).

    Empty (not determined) with fewer than five uncensored values, without spread among them, or where a search ends
    without a maximum.
    """
    if data is None:
        return {}
    event = data.kind == OK
    logs = np.log(data.values)
    if event.sum() < FEWEST_EVENTS or not np.ptp(logs[event]) > 1e-9:
        return {}
    found = {}
    for name, family in _FAMILIES.items():
        law = _fit(name, family, data, logs, event)
        if law is None:
            return {}
        found[name] = law
    return found


def _fit(name: str, family: _Family, data: Sample, logs: np.ndarray, event: np.ndarray) -> Law | None:
    centre, width = float(logs[event].mean()), float(logs[event].std())
    y = (logs - centre) / width  # searched in standard units

    def terms(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        z = np.clip((y - p[0]) * np.exp(-p[1]), -200.0, 200.0 if name == "lognormal" else 20.0)
        return z, *family.terms(z, data.kind)

    def value(p: np.ndarray) -> float:
        return float(event.sum() * p[1] - terms(p)[1].sum())

    def scores(p: np.ndarray) -> np.ndarray:
        z, _, g, _ = terms(p)
        return np.stack([-g * np.exp(-p[1]), -z * g - event])

    def hessian(p: np.ndarray) -> np.ndarray:
        z, _, g, h = terms(p)
        s = np.exp(-p[1])
        mixed = float(((h * z + g) * s).sum())
        return -np.array([[float(h.sum()) * s**2, mixed], [mixed, float((z * g + z * z * h).sum())]])

    start = np.array(family.start)
    end = optimize.minimize(
        value, start, jac=lambda p: -scores(p).sum(axis=1), hess=hessian, method="trust-exact", options={"gtol": 1e-6}
    )
    information = hessian(end.x)
    flat = np.abs(end.jac).max() < 1e-3 * np.sqrt(y.size)
    if not (flat and np.isfinite(end.x).all() and np.linalg.eigvalsh(information)[0] > 1e-9):
        return None
    covariance = np.linalg.inv(information)
    if data.clustered:
        _, which = np.unique(data.device, return_inverse=True)
        each = np.stack([np.bincount(which, weights=u) for u in scores(end.x)])
        devices = each.shape[1]
        between = devices / (devices - 1) if devices > 1 else np.nan  # one device says nothing of others
        covariance = covariance @ (each @ each.T) @ covariance * between
    covariance = covariance * np.outer([width, 1.0], [width, 1.0])
    deviance = 2 * (float(end.fun) + event.sum() * np.log(width) + logs[event].sum())
    location, scale = centre + width * end.x[0], width * np.exp(end.x[1])
    return Law(name, float(location), float(scale), covariance, float(4 + deviance), y.size, int(event.sum()))


def _positive(value: float, relative: float) -> tuple[Estimate, float]:
    value = float(value)
    factor = np.exp(_Z * relative)
    return Estimate(value, float(value / factor), float(value * factor)), value * relative


Terms = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class _Family:
    """A standard law: ln f, ln(1 - F) or ln F with their first and second derivatives in z."""

    density: Callable[[np.ndarray], Terms]
    survival: Callable[[np.ndarray], Terms]
    failure: Callable[[np.ndarray], Terms]
    quantile: Callable[[np.ndarray], np.ndarray]
    cdf: Callable[[np.ndarray], np.ndarray]
    start: tuple[float, float]
    """µ and ln σ of standardised data."""

    def terms(self, z: np.ndarray, kind: np.ndarray) -> Terms:
        found = np.zeros((3, z.size))
        for which, law in ((OK, self.density), (RIGHT_CENSORED, self.survival), (LEFT_CENSORED, self.failure)):
            mask = kind == which
            if mask.any():
                found[:, mask] = law(z[mask])
        return found[0], found[1], found[2]


def _normal_density(z: np.ndarray) -> Terms:
    return -0.5 * z * z - 0.5 * np.log(2 * np.pi), -z, -np.ones_like(z)


def _normal_failure(z: np.ndarray) -> Terms:
    log = special.log_ndtr(z)
    ratio = np.exp(-0.5 * z * z - 0.5 * np.log(2 * np.pi) - log)
    return log, ratio, -np.clip(ratio * (ratio + z), 0.0, 1.0)  # far out the sum has lost its digits


def _normal_survival(z: np.ndarray) -> Terms:
    log, first, second = _normal_failure(-z)
    return log, -first, second


def _extreme_density(z: np.ndarray) -> Terms:
    w = np.exp(z)
    return z - w, 1 - w, -w


def _extreme_survival(z: np.ndarray) -> Terms:
    w = np.exp(z)
    return -w, -w, -w


def _extreme_failure(z: np.ndarray) -> Terms:
    w = np.minimum(np.exp(z), 700.0)  # beyond, F is 1 to every digit
    g = w / np.expm1(w)
    return np.log(-np.expm1(-w)), g, g * (1 - w - g)


_FAMILIES = {
    "lognormal": _Family(_normal_density, _normal_survival, _normal_failure, special.ndtri, special.ndtr, (0.0, 0.0)),
    "weibull": _Family(
        _extreme_density,
        _extreme_survival,
        _extreme_failure,
        lambda share: np.log(-np.log1p(-share)),
        lambda z: -np.expm1(-np.exp(z)),
        (0.45, -0.25),
    ),
}


def lognormal_terms(z: np.ndarray, kind: np.ndarray) -> Terms:
    """ln of the density (OK) or probability (censored) of standard normal observations, flat, with its first and second
    derivatives in z; zeros for any other kind."""
    return _FAMILIES["lognormal"].terms(z, kind)


def law_distance(ordered: np.ndarray, cdf: Callable[[np.ndarray], np.ndarray]) -> float:
    """Largest distance between the empirical and a fitted distribution function (Kolmogorov)."""
    law, n = cdf(ordered), ordered.size
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - law).max(), (law - steps[:-1]).max()))
