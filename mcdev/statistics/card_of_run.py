"""Making the model card of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from pydantic import ValidationError
from scipy import special

from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED
from mcdev.statistics.card import (
    FORMAT,
    PARAMETER,
    Card,
    CardPoint,
    LognormalFit,
    Matrix,
    NormalFit,
    Provenance,
    Quantity,
    WeibullFit,
)
from mcdev.statistics.censored import LILLIEFORS, Law, fit_laws, law_distance, sample
from mcdev.statistics.components import Components, variance_components
from mcdev.statistics.contents import contents
from mcdev.statistics.copula import GRID, estimate, nearest, normal_scores, scores_for
from mcdev.statistics.draw import value_of
from mcdev.statistics.likeness import misfit, normal_numbers, not_drawn, stated
from mcdev.statistics.readings import Reading, few, readings, support
from mcdev.statistics.summary import log_components
from mcdev.statistics.tabulate import of_devices, of_values

_ALIKE = 1e-6
"""Relative range within which values are the same but for single precision."""
_LARGEST, _SMALLEST = 1e150, 1e-150
"""Of a value, and of a range within which values differ at all: the squares of others are no double numbers."""
_MEASUREMENTS, _PARAMETERS = 32, 32
_FURTHEST = 340.0
"""Largest mean of ln x of a lognormal."""
_SAME = 0.01
"""Difference (of arcsines: steps are steep near ±1) of correlations of normal numbers from those that they give, below
which they need not be told apart."""
_NODES = special.ndtri((np.arange(33) + 0.5) / 33)
FEWEST_DEVICES = 5
"""Devices without which the family of their law is not determined."""


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
    observed: dict[str, np.ndarray] = {}
    devices, cycles = tree["realisations"].sizes["device"], tree["realisations"].sizes["cycle"]
    for reading in [*kept, *parameters]:
        role = "measurement" if reading in kept else "parameter"
        name = reading.label if reading.label not in quantities else f"{PARAMETER}{reading.label}"
        quantities[name] = _quantity(reading, role)
        if quantities[name].varies:
            observed[name] = np.broadcast_to(_observed(reading), (devices, cycles))
    names = list(observed)
    copula = estimate(np.stack(list(observed.values())) if observed else np.empty((0, devices, cycles)))
    for i, name in enumerate(names):
        if _share(quantities[name]) is None:
            share = round(float(copula.device_share[i]), 9)
            quantities[name] = quantities[name].model_copy(update={"device_share": share})
    c2c = None
    if cycles > 1:
        which = [i for i, name in enumerate(names) if quantities[name].role == "measurement"]
        measured = {names[i]: quantities[names[i]] for i in which}
        c2c = _matrix(measured, copula.c2c[np.ix_(which, which)], "within")
    label = (found[0].point if found else {}).items()
    point = CardPoint(
        point={_line(axis): _line(value) for axis, value in label},
        devices=devices,
        cycles=cycles,
        contains=_line(contents(tree, index).words),
        quantities=quantities,
        d2d=_matrix({name: quantities[name] for name in names}, copula.d2d, "between"),
        c2c=c2c,
        not_drawn=[],
    )
    return point.model_copy(update={"not_drawn": [_line(text) for text in not_drawn(point)]})


def _observed(reading: Reading) -> np.ndarray:
    """What correlations are of: ln x where all values are positive, normal scores where some are censored."""
    if reading.right + reading.left:
        return normal_scores(_line_up(reading))
    return np.where(reading.fine, reading.even, np.nan)


def _matrix(quantities: dict[str, Quantity], wanted: np.ndarray, level: str) -> Matrix:
    """The correlations, and those of the normal numbers that give them, where these are others: with tables."""
    curves = [_main_effect(q, level) for q in quantities.values()]
    tables = [q.family == "table" for q in quantities.values()]
    scores = wanted.copy()
    for i in range(len(curves)):
        for j in range(i):
            if (tables[i] or tables[j]) and wanted[i, j] != 0:
                scores[i, j] = scores[j, i] = scores_for(curves[i], curves[j], float(wanted[i, j]))
    other = bool((np.abs(np.arcsin(scores) - np.arcsin(wanted)) > _SAME).any())
    return Matrix(names=list(quantities), matrix=wanted.tolist(), scores=nearest(scores).tolist() if other else None)


def _main_effect(q: Quantity, level: str) -> np.ndarray:
    """What a quantity, on the scale of its correlations, has on average at each score of its device (between), or of
    its cycle (within), at ``GRID``."""
    if q.role == "parameter":
        values = value_of(q, GRID[:, None], None)
    elif level == "between":
        values = value_of(q, GRID[:, None], _NODES[None, :])
    else:
        values = value_of(q, _NODES[:, None], GRID[None, :])
    even = np.log(values) if q.logarithmic else values
    return np.asarray(even.mean(axis=1 if level == "between" else 0))


def _share(q: Quantity) -> float | None:
    """The share of the variance that is between devices, from the spreads; None where they are not known."""
    _, between, within = stated(q)
    total = between**2 + within**2
    return float(between**2 / total) if total > 0 else None


def _parameters(tree: xr.DataTree, index: int) -> list[Reading]:
    """The device parameters of one sweep point, as readings of one cycle."""
    data = tree["parameters"].dataset
    found = []
    for name in map(str, list(data.data_vars)[:_PARAMETERS]):
        values = np.asarray(data[name].values[index], float)[:, None]
        about, status = data[name].attrs, np.full(values.shape, OK)
        words = about["units"], about["long_name"]
        found.append(Reading(name, name, None, *words, index, {}, values, status, support(about)))
    return found


def _line_up(reading: Reading) -> np.ndarray:
    """Values with the censored ones at ±infinity, NaN where nothing is known."""
    line = np.where(reading.fine, reading.values, np.nan)
    line = np.where(reading.status == RIGHT_CENSORED, np.inf, line)
    return np.where(reading.status == LEFT_CENSORED, -np.inf, line)


def _quantity(reading: Reading, role: str) -> Quantity:
    """With the first form of its law that draws the numbers it states, or the nearest to them."""
    n = reading.values.size
    line = np.sort(_line_up(reading)[~np.isnan(_line_up(reading))])
    median = float(np.quantile(line, 0.5, method="closest_observation")) if line.size else np.nan
    logs = log_components(reading)
    laws = _admitted(fit_laws(sample(reading.values, reading.status)))
    censored = reading.right + reading.left > 0
    about: dict[str, Any] = {
        "role": role,
        "unit": _line(reading.unit),
        "criterion": _line(reading.criterion),
        "n": n,
        "right_censored": reading.right / n,
        "left_censored": reading.left / n,
        "undefined": (n - line.size) / n,
        **{bound: value for bound, value in reading.support._asdict().items() if value is not None},
        "median": _number(median),
        "sigma_ln": _sigma(laws["lognormal"].scale if laws and censored else logs.total.value),
        **{f"sigma_ln_{part}": _sigma(getattr(logs, part).value) for part in ("between", "within")},
    }
    if not reading.positive and not censored:
        plain = variance_components(reading.values, reading.fine)
        about["sd"] = _number(plain.total.value)
        about |= {f"sd_{part}": _number(getattr(plain, part).value) for part in ("between", "within")}
    if laws:
        about |= _fits(laws, None if censored else logs.total.value)
    devices = max(int(reading.fine.any(axis=1).sum()), 1)
    numbers = normal_numbers(reading.values.shape[1])
    best, least = Quantity(**about, family="undetermined"), np.inf
    for form in _forms(reading, laws, logs, censored):
        try:
            q = Quantity(**(about | form))
        except ValidationError:  # beyond what a card may hold, or mostly outside the quantity's bounds
            continue
        if (share := _share(q)) is not None:
            q = q.model_copy(update={"device_share": round(share, 9)})
        off = misfit(q, devices, numbers) if q.varies else 0.0
        if off < least:
            best, least = q, off
        if off <= 1:
            break
    return best


def _fits(laws: dict[str, Law], sigma: float | None) -> dict[str, Any]:
    """Both laws as the card has them; of the lognormal the spread without the bias of few values, where it is given."""
    (median, m_se), (ml, s_se) = laws["lognormal"].parameters().values()
    (scale, c_se), (shape, h_se) = laws["weibull"].parameters().values()
    unbiased = ml.value if sigma is None or _sigma(sigma) is None else sigma
    lognormal = LognormalFit(
        median=median.value, median_se=m_se, sigma=unbiased, sigma_se=s_se, aic=laws["lognormal"].aic
    )
    weibull = WeibullFit(scale=scale.value, scale_se=c_se, shape=shape.value, shape_se=h_se, aic=laws["weibull"].aic)
    return {"lognormal": lognormal, "weibull": weibull}


def _admitted(laws: dict[str, Law]) -> dict[str, Law]:
    """The laws, or none where their numbers are beyond what a card may hold (values alike to many digits)."""
    inside = all(abs(law.location) < 400 and 2e-6 < law.scale < 20 for law in laws.values())
    return laws if inside and all(np.isfinite(law.aic) for law in laws.values()) else {}


def _forms(reading: Reading, laws: dict[str, Law], logs: Components, censored: bool) -> Iterator[dict[str, Any]]:
    """Laws to draw from, with the numbers that each needs, the simplest first.

    The better of lognormal and Weibull, where the values may come from it; a normal, where they may and not all are
    positive; quantiles of all; quantiles of devices, and of cycles about them. Too few values for a fit are taken as
    lognormal or normal. Of censored observations the end is not seen, and a law must tell.
    """
    ordered = sorted(laws.values(), key=lambda law: law.aic)
    if censored:
        yield from ({"family": law.family} for law in ordered)
        if ordered and _sigma(logs.total.value) and abs(logs.mean) < _FURTHEST:
            yield _lognormal(logs)
        return
    x = reading.values[reading.fine]
    devices = int(reading.fine.any(axis=1).sum())
    if devices < 2 or np.abs(x).max() > _LARGEST:  # one device shows no distribution
        return
    alike = _ALIKE * float(np.abs(x).max())
    if np.ptp(x) <= (alike if reading.positive else max(alike, _SMALLEST)):
        yield {"family": "constant", "constant": float(np.median(x))}
        return
    assumed = {"assumed": True} if devices < FEWEST_DEVICES else {}
    near, rank = LILLIEFORS / np.sqrt(devices), np.sort(x)
    mean, sd = float(x.mean()), float(x.std(ddof=1))
    if ordered and law_distance(rank, ordered[0].cdf) < near:
        yield {"family": ordered[0].family, **assumed}
    elif reading.positive and devices < FEWEST_DEVICES and _sigma(logs.total.value) and abs(logs.mean) < _FURTHEST:
        yield _lognormal(logs) | assumed
    elif not reading.positive and law_distance(rank, lambda v: special.ndtr((v - mean) / sd)) < near:
        yield {"family": "normal", "normal": NormalFit(mean=mean, sd=sd), **assumed}
    found = logs if reading.positive else variance_components(reading.values, reading.fine)
    yield {"family": "table", "table": of_values(reading, found.total.value), **assumed}
    if np.isfinite(found.between.value) and found.within.value > 0:
        yield {"family": "table", "table": of_devices(reading, found), **assumed}


def _lognormal(logs: Components) -> dict[str, Any]:
    """With the moments of ln x, where there was no fit or it has others."""
    fit = LognormalFit(median=float(np.exp(logs.mean)), sigma=logs.total.value)
    return {"family": "lognormal", "lognormal": fit}


def _line(value: Any) -> str:
    """One line of text, as a card admits it."""
    text = " ".join(str(value).split())
    return "".join(c for c in text if c.isprintable())[:500]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) and abs(value) < _LARGEST else None


def _sigma(value: float) -> float | None:
    return float(value) if np.isfinite(value) and value <= 20 else None
