"""Spread of each measurement at each sweep point, as flat records."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from mcdev.measurements.contract import FAILED, LEFT_CENSORED, OK, RIGHT_CENSORED, UNDEFINED
from mcdev.results.fits_along_axes import in_order
from mcdev.simulation.jackknife import standard_error
from mcdev.simulation.rounding import resolved
from mcdev.statistics.censored import fit_laws, sample
from mcdev.statistics.components import Components, Estimate, own_means, variance_components
from mcdev.statistics.drift import drift
from mcdev.statistics.mixed import censored_components
from mcdev.statistics.readings import Reading, readings
from mcdev.statistics.resampling import quantiles

_QUANTILES = {"q05": 0.05, "median": 0.5, "q95": 0.95}
_SHARES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}


def summarise(tree: xr.DataTree, variability: bool = True) -> list[dict[str, Any]]:
    """One record for each measurement (each entry of a list) and sweep point.

    mean, sem, sd and cv are over the n_ok uncensored observations; the sem is from the means of the devices, so
    that cycles of one device do not count as independent. median and quantiles also use the censored ones, at
    the end they belong to, and are None where they fall among them. mean_response is the measurement of the mean
    trajectory, averaged over cycles, with its jackknife error.

    With ``variability`` also, each with ``_low`` and ``_high``, the ends of its 95 % interval:

    - between_sd, within_sd, total_sd: device to device, cycle to cycle, and both together, over the uncensored
      (:func:`variance_components`); the same over abs(mean) as cv_between, cv_within, cv_total (fractions, no interval)
    - sigma_ln_between, sigma_ln_within, sigma_ln_total: the same of ln x, where all values are positive; of several
      cycles with censored ones by maximum likelihood (:func:`censored_components`)
    - drift, drift_ln: change of the mean of x, and of ln x, from the first cycle to the last (:func:`drift`)
    - median, q05, q25, q75, q95: intervals by the bootstrap over devices (:func:`quantiles`)
    - lognormal_median, lognormal_sigma, weibull_scale, weibull_shape: maximum likelihood with the censored ones
      (:func:`fit_laws`), with _se, and lognormal_aic, weibull_aic (the smaller describes better); all None where
      not determined. n_right and n_left say how many were censored on which side.

    None stands for what is not determined. Without ``variability`` the record ends before these, and is made at once.
    """
    records = []
    for reading in readings(tree):
        of_mean = tree[f"mean_response/{reading.name}"].dataset["value"]
        where = {"point": reading.index} | ({} if reading.entry is None else {"entry": reading.entry})
        records.append(
            {
                "measurement": reading.label,
                "unit": reading.unit,
                "criterion": reading.criterion,
                "point": reading.point,
                **_spread(reading.values, reading.status),
                **_jackknifed(of_mean.isel(where).values, str(tree.attrs.get("precision", "float64"))),
                **(_variability(reading) if variability else {}),
            }
        )
    return records


def _variability(reading: Reading) -> dict[str, Any]:
    fine = reading.fine
    record: dict[str, Any] = {"n_right": reading.right, "n_left": reading.left}
    found = variance_components(reading.values, fine)
    for part in ("between", "within", "total"):
        record |= _with_ends(f"{part}_sd", getattr(found, part))
    size = abs(found.mean) or math.nan
    record |= {f"cv_{part}": getattr(found, part).value / size for part in ("between", "within", "total")}
    logs = log_components(reading)
    for part in ("between", "within", "total"):
        record |= _with_ends(f"sigma_ln_{part}", getattr(logs, part))
    nothing = Estimate(math.nan, math.nan, math.nan)
    record |= _with_ends("drift", drift(reading.values, fine) or nothing)
    record |= _with_ends("drift_ln", (drift(reading.even, fine) if reading.positive else None) or nothing)
    for name, estimate in zip(_SHARES, quantiles(reading.values, reading.status, tuple(_SHARES.values())), strict=True):
        ends = _with_ends(name, estimate)
        record |= ends if name not in _QUANTILES else {key: ends[key] for key in ends if key != name}
    laws = fit_laws(sample(reading.values, reading.status))
    for family, names in {"lognormal": ("median", "sigma"), "weibull": ("scale", "shape")}.items():
        parameters = laws[family].parameters() if laws else {}
        for name in names:
            estimate, error = parameters.get(name, (nothing, math.nan))
            record |= _with_ends(f"{family}_{name}", estimate) | {f"{family}_{name}_se": error}
        record[f"{family}_aic"] = laws[family].aic if laws else math.nan
    return {key: _plain(value) for key, value in record.items()}


def log_components(reading: Reading) -> Components:
    """Variance components of ln x; nothing determined where a value is not positive. Where some of several cycles are
    censored by maximum likelihood (:func:`censored_components`)."""
    if reading.right + reading.left and reading.values.shape[1] > 1:
        found = censored_components(reading.values, reading.status)
        if found is not None:
            return found
    fine = reading.fine if reading.positive else np.zeros(reading.values.shape, bool)
    return variance_components(np.log(np.where(fine, reading.values, 1.0)), fine)


def _with_ends(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _spread(values: np.ndarray, status: np.ndarray) -> dict[str, Any]:
    """Statistics of one measurement over [device, cycle]."""
    fine = (status == OK) & np.isfinite(values)
    ok = values[fine]
    line = in_order(values, status)
    devices = own_means(values, fine)[fine.any(axis=1)]
    mean = ok[0] + (ok - ok[0]).mean() if ok.size else math.nan  # of equal numbers exactly this, and no spread
    sd = (ok - ok[0]).std(ddof=1) if ok.size > 1 else math.nan
    record = {
        "n": int(values.size),
        "n_ok": int(ok.size),
        "n_censored": int(np.isin(status, (RIGHT_CENSORED, LEFT_CENSORED)).sum()),
        "n_undefined": int((status == UNDEFINED).sum()),
        "n_failed": int((status == FAILED).sum()),
        "mean": mean,
        "sem": (devices - devices[0]).std(ddof=1) / math.sqrt(devices.size) if devices.size > 1 else math.nan,
        "sd": sd,
        "cv": sd / abs(mean) if ok.size > 1 and mean != 0 else math.nan,
    }
    for name, share in _QUANTILES.items():
        record[name] = np.quantile(line, share, method="closest_observation") if line.size else math.nan
    return {key: _plain(value) for key, value in record.items()}


def _jackknifed(replicates: np.ndarray, precision: str) -> dict[str, Any]:
    """The measurement of the mean trajectory and its error; replicates [cycle, replicate]."""
    mean = replicates.mean(axis=0)
    error = resolved(float(standard_error(mean)), float(mean[0]), precision) if mean.size > 2 else math.nan
    return {"mean_response": _plain(mean[0]), "mean_response_sem": _plain(error)}


def _plain(value: Any) -> Any:
    if isinstance(value, int):
        return value
    return float(value) if np.isfinite(value) else None
