"""Making the model card of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from scipy import special

from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED
from mcdev.statistics.card import (
    FORMAT,
    PARAMETER,
    PROBABILITIES,
    Card,
    CardPoint,
    Family,
    LognormalFit,
    Matrix,
    NormalFit,
    Provenance,
    Quantity,
    WeibullFit,
)
from mcdev.statistics.censored import Law, fit_laws, sample
from mcdev.statistics.copula import estimate, normal_scores
from mcdev.statistics.readings import Reading, few, readings
from mcdev.statistics.summary import log_components

_FIT = 1.035
"""Lilliefors' 1 % point times sqrt(n): the largest distance between the observed and a fitted distribution function
that chance explains (Lilliefors 1967, doi:10.1080/01621459.1967.10482916; it is for the normal law)."""
_ALIKE = 1e-6
"""Relative range within which values are the same but for single precision."""
_LARGEST = 1e150
_MEASUREMENTS, _PARAMETERS = 32, 32


def make_card(tree: xr.DataTree) -> Card:
    """The card of a run: all numbers measured (lists by up to eight entries) and all device parameters drawn, at
    every sweep point; no more than 32 of each, in their order."""
    about = tree.attrs
    every = list(readings(tree))
    return Card(
        format=FORMAT,
        title=_line(about.get("title", "")),
        description=str(about.get("description", ""))[:10_000],
        provenance=Provenance(
            seed=int(about.get("seed", 0)),
            **{key: _line(about.get(key, "")) for key in ("config_hash", "git_commit", "versions", "started")},
        ),
        points=[
            _point(tree, [r for r in every if r.index == i], i) for i in range(tree["realisations"].sizes["point"])
        ],
    )


def _point(tree: xr.DataTree, found: list[Reading], index: int) -> CardPoint:
    kept = few(found, 8)[:_MEASUREMENTS]
    parameters = _parameters(tree, index)
    quantities: dict[str, Quantity] = {}
    scores: dict[str, np.ndarray] = {}
    devices, cycles = tree["realisations"].sizes["device"], tree["realisations"].sizes["cycle"]
    for reading in [*kept, *parameters]:
        role = "measurement" if reading in kept else "parameter"
        name = reading.label if reading.label not in quantities else f"{PARAMETER}{reading.label}"
        quantities[name] = _quantity(reading, role)
        if quantities[name].varies:
            scores[name] = np.broadcast_to(normal_scores(_line_up(reading)), (devices, cycles))
    names = list(scores)
    copula = estimate(np.stack(list(scores.values())) if scores else np.empty((0, devices, cycles)))
    for i, name in enumerate(names):
        share = _share(quantities[name], float(copula.device_share[i]))
        quantities[name] = quantities[name].model_copy(update={"device_share": round(share, 9)})
    c2c = None
    if cycles > 1:
        which = [i for i, name in enumerate(names) if quantities[name].role == "measurement"]
        c2c = Matrix(names=[names[i] for i in which], matrix=copula.c2c[np.ix_(which, which)].tolist())
    label = (found[0].point if found else {}).items()
    return CardPoint(
        point={_line(axis): _line(value) for axis, value in label},
        devices=devices,
        cycles=cycles,
        quantities=quantities,
        d2d=Matrix(names=names, matrix=copula.d2d.tolist()),
        c2c=c2c,
    )


def _share(quantity: Quantity, of_scores: float) -> float:
    """The share of the variance that is between devices: of censored observations, whose scores are all alike, from the
    components of ln x."""
    between, within = quantity.sigma_ln_between, quantity.sigma_ln_within
    if quantity.right_censored + quantity.left_censored == 0 or between is None or within is None:
        return of_scores
    total = between**2 + within**2
    return between**2 / total if total > 0 else of_scores


def _parameters(tree: xr.DataTree, index: int) -> list[Reading]:
    """The device parameters of one sweep point, as readings of one cycle."""
    data = tree["parameters"].dataset
    found = []
    for name in map(str, list(data.data_vars)[:_PARAMETERS]):
        values = np.asarray(data[name].values[index], float)[:, None]
        about, status = data[name].attrs, np.full(values.shape, OK)
        found.append(Reading(name, name, None, about["units"], about["long_name"], index, {}, values, status))
    return found


def _line_up(reading: Reading) -> np.ndarray:
    """Values with the censored ones at ±infinity, NaN where nothing is known."""
    line = np.where(reading.fine, reading.values, np.nan)
    line = np.where(reading.status == RIGHT_CENSORED, np.inf, line)
    return np.where(reading.status == LEFT_CENSORED, -np.inf, line)


def _quantity(reading: Reading, role: str) -> Quantity:
    n, fine = reading.values.size, reading.fine
    x = reading.values[fine]
    line = np.sort(_line_up(reading)[~np.isnan(_line_up(reading))])
    median = float(np.quantile(line, 0.5, method="closest_observation")) if line.size else np.nan
    logs = log_components(reading)
    about: dict[str, Any] = {
        "role": role,
        "unit": _line(reading.unit),
        "criterion": _line(reading.criterion),
        "n": n,
        "right_censored": reading.right / n,
        "left_censored": reading.left / n,
        "undefined": (n - line.size) / n,
        "median": _number(median),
    }
    about |= {f"sigma_ln_{part}": _sigma(getattr(logs, part).value) for part in ("between", "within")}
    laws = _admitted(fit_laws(sample(reading.values, reading.status)))
    censored = reading.right + reading.left > 0
    about["sigma_ln"] = _sigma(laws["lognormal"].scale if laws and censored else logs.total.value)
    best = min(laws.values(), key=lambda law: law.aic) if laws else None
    if laws:
        (median_, m_se), (sigma, s_se) = laws["lognormal"].parameters().values()
        (scale, c_se), (shape, h_se) = laws["weibull"].parameters().values()
        about["lognormal"] = LognormalFit(
            median=median_.value, median_se=m_se, sigma=sigma.value, sigma_se=s_se, aic=laws["lognormal"].aic
        )
        about["weibull"] = WeibullFit(
            scale=scale.value, scale_se=c_se, shape=shape.value, shape_se=h_se, aic=laws["weibull"].aic
        )
    about |= _family(x, int(fine.any(axis=1).sum()), best, censored)
    return Quantity(**about)


def _admitted(laws: dict[str, Law]) -> dict[str, Law]:
    """The laws, or none where their numbers are beyond what a card may hold (values alike to many digits)."""
    inside = all(abs(law.location) < 400 and 2e-6 < law.scale < 20 for law in laws.values())
    return laws if inside and all(np.isfinite(law.aic) for law in laws.values()) else {}


def _family(x: np.ndarray, devices: int, best: Law | None, censored: bool) -> dict[str, Any]:
    """Which distribution to draw from, with the numbers that it needs. The better of lognormal and Weibull, where the
    values may come from it; else a normal, where they may; else their quantiles. Of censored observations the end is
    not seen, and a law must tell."""
    family: Family = "undetermined"
    if censored:
        return {"family": best.family if best else family}
    if devices < 2 or np.abs(x).max() > _LARGEST:  # one device shows no distribution
        return {"family": family}
    if np.ptp(x) <= _ALIKE * np.abs(x).max():
        return {"family": "constant", "constant": float(np.median(x))}
    near = _FIT / np.sqrt(devices)
    ordered = np.sort(x)
    if best is not None and _distance(ordered, best.cdf) < near:
        return {"family": best.family}
    mean, sd = float(x.mean()), float(x.std(ddof=1))
    if best is None and sd > 1e-150 and _distance(ordered, lambda v: special.ndtr((v - mean) / sd)) < near:
        return {"family": "normal", "normal": NormalFit(mean=mean, sd=sd)}
    values = np.maximum.accumulate(np.quantile(x, PROBABILITIES))
    return {"family": "quantiles", "quantiles": values.tolist()}


def _distance(ordered: np.ndarray, cdf: Callable[[np.ndarray], np.ndarray]) -> float:
    """Largest distance between the empirical and a fitted distribution function (Kolmogorov)."""
    law, n = cdf(ordered), ordered.size
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - law).max(), (law - steps[:-1]).max()))


def _line(value: Any) -> str:
    """One line of text, as a card admits it."""
    text = " ".join(str(value).split())
    return "".join(c for c in text if c.isprintable())[:500]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) and abs(value) < _LARGEST else None


def _sigma(value: float) -> float | None:
    return float(value) if np.isfinite(value) and value <= 20 else None
