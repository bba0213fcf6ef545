"""Fits along a sweep axis: coefficients of the ensemble with their errors, and of each device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from mcdev.configuration.experiment import Experiment
from mcdev.configuration.key_paths import axis_unit, axis_values
from mcdev.fits.contract import Coefficient, Fit
from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED
from mcdev.schema import Unit
from mcdev.simulation.gathering import PointResult
from mcdev.simulation.jackknife import standard_error
from mcdev.simulation.rounding import resolved

_BOOTSTRAP = 400


def fitted_group(experiment: Experiment, fit: Fit, points: list[PointResult], labels: Mapping[str, str]) -> xr.Dataset:
    """The group of one entry of [fits]."""
    axis = np.asarray(axis_values(experiment, fit.axis), float) * Unit(axis_unit(experiment, fit.axis)).scale
    lines = experiment.curves(fit.axis)
    found = [fit_along(fit, axis[which], [points[i] for i in which]) for _, which in lines]
    data = curves(experiment, fit, labels)
    data["note"] = xr.Variable("curve", np.array([note for _, _, note in found]), {"long_name": "how it was fitted"})
    for key, unit in fit.coefficients.items():
        if not any(key in best for best, _, _ in found):
            continue
        about = {"units": unit, "coefficient": key}
        about |= {"long_name": next(best[key].long_name for best, _, _ in found if key in best)}
        values = [best[key].value if key in best else np.nan for best, _, _ in found]
        data[key] = xr.Variable("curve", values, about)
        data[f"{key}_error"] = xr.Variable(
            "curve",
            [errors.get(key, np.nan) for _, errors, _ in found],
            {"units": unit, "long_name": f"standard error of {key}"},
        )
    if fit.by_device and experiment.ensemble.devices > 1:
        alone = [_of_devices(fit, axis[which], [points[i] for i in which]) for _, which in lines]
        for key, unit in fit.coefficients.items():
            about = {"units": unit, "long_name": f"{key} of each device, fitted to its mean over cycles"}
            data[f"{key}_of_device"] = xr.Variable(
                ("curve", "device"), np.stack([values[key] for values in alone]), about
            )
    return data


def curves(experiment: Experiment, fit: Fit, labels: Mapping[str, str]) -> xr.Dataset:
    """What a fit is of, before anything is fitted."""
    lines = experiment.curves(fit.axis)
    texts = [", ".join(f"{labels[path]} = {v}" for path, v in others.items()) for others, _ in lines]
    about: dict[str, Any] = {"long_name": "values of the other sweep axes"}
    return xr.Dataset(
        coords={"curve": xr.Variable("curve", np.array(texts), about)},
        attrs={
            "equation": fit.equation,
            "measurement": fit.measurement,
            "axis": fit.axis,
            "statistic": fit.statistic,
        },
    )


def coefficients(experiment: Experiment, fit: Fit) -> list[xr.Dataset]:
    """What a fit may have found, each with what comes along."""
    nothing = xr.Variable("curve", np.full(len(experiment.curves(fit.axis)), np.nan))
    note = xr.Variable("curve", np.full(nothing.size, ""))
    found = [xr.Dataset({"note": note})]
    for key, unit in fit.coefficients.items():
        value = nothing.copy()
        value.attrs = {"units": unit, "coefficient": key, "long_name": ""}
        found.append(xr.Dataset({key: value, f"{key}_error": nothing, "note": note}))
        devices = np.arange(experiment.ensemble.devices)
        alone = xr.Variable(("curve", "device"), np.full((nothing.size, devices.size), np.nan))
        found.append(xr.Dataset({f"{key}_of_device": alone}, {"device": devices}))
    return found


def _of_devices(fit: Fit, axis: np.ndarray, points: list[PointResult]) -> dict[str, np.ndarray]:
    """Coefficients [device] of each device by itself; NaN where it has too few values."""
    found = {key: np.full(points[0].intact.shape[0], np.nan) for key in fit.coefficients}
    for device in range(points[0].intact.shape[0]):
        pairs = ((p.values[fit.measurement][device], p.status[fit.measurement][device]) for p in points)
        values = np.array([ensemble_value("mean", v, s) for v, s in pairs])
        good = fit.usable(values)
        if good.sum() >= fit.least_points:
            for key, coefficient in fit.fit(axis[good], values[good]).items():
                found[key][device] = coefficient.value
    return found


def in_order(values: np.ndarray, status: np.ndarray) -> np.ndarray:
    """The observations whose rank is known, flat: censored ones lie at the end they belong to (± infinity)."""
    line = np.where(status == RIGHT_CENSORED, np.inf, np.where(status == LEFT_CENSORED, -np.inf, values))
    return line[((status == OK) & np.isfinite(values)) | (status == RIGHT_CENSORED) | (status == LEFT_CENSORED)]


def ensemble_value(statistic: str, values: np.ndarray, status: np.ndarray) -> float:
    """Mean of the uncensored observations, or the median of all; NaN where there is none or it is censored."""
    if statistic == "mean":
        ok = values[(status == OK) & np.isfinite(values)]
        return float(ok.mean()) if ok.size else float("nan")
    line = in_order(values, status)
    middle = float(np.quantile(line, 0.5, method="closest_observation")) if line.size else float("nan")
    return middle if np.isfinite(middle) else float("nan")


def fit_along(
    fit: Fit, axis: np.ndarray, points: list[PointResult]
) -> tuple[dict[str, Coefficient], dict[str, float], str]:
    """Coefficients, their standard errors, and a note on how both were found. Points without a value are left out."""
    values = [p.values[fit.measurement] for p in points]
    status = [p.status[fit.measurement] for p in points]

    def at_points(which: np.ndarray) -> np.ndarray:
        return np.array(
            [ensemble_value(fit.statistic, v[which], s[which]) for v, s in zip(values, status, strict=True)]
        )

    def fitted(y: np.ndarray) -> dict[str, Coefficient] | None:
        good = fit.usable(y)
        return fit.fit(axis[good], y[good]) if good.sum() >= fit.least_points else None

    if fit.statistic == "mean_response":
        replicates = np.stack([p.of_mean[fit.measurement][0] for p in points])  # [point, replicate], first cycle
        central = replicates[:, 0]
        fits = [fitted(column) for column in replicates[:, 1:].T]
        how = f"standard errors: jackknife over {len(fits)} groups of devices"
    else:
        devices = np.arange(values[0].shape[0])
        central = at_points(devices)
        draw = np.random.default_rng(0)
        resamples = _BOOTSTRAP if devices.size > 1 else 0
        fits = [fitted(at_points(draw.choice(devices, devices.size))) for _ in range(resamples)]
        how = (
            f"standard errors: {resamples} bootstrap resamples of the devices" if resamples else "one device: no spread"
        )
    best = fitted(central)
    used = int(np.isfinite(central).sum())
    note = f"{fit.statistic} of {fit.measurement} at {used} of {axis.size} points; {how}"
    if best is None:
        return {}, {}, note
    usable = [f for f in fits if f is not None]
    if len(usable) < 2:
        return best, dict.fromkeys(best, float("nan")), note
    resampled = {key: np.array([f[key].value for f in (best, *usable)]) for key in best}
    error = standard_error if fit.statistic == "mean_response" else lambda numbers: np.std(numbers[1:])
    return best, {key: resolved(float(error(n)), best[key].value) for key, n in resampled.items()}, note
