"""Arrhenius plots: a time against the inverse temperature, with its fit (Wang et al. 2017, insets of Figs 3b, 4a)."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.constants import Boltzmann, electron_volt

from mcdev.figures.axes import Scale, counted, measurement, reduced_units, sweep_axis
from mcdev.figures.numbers import with_error
from mcdev.figures.references import cited, diamond, references
from mcdev.figures.style import BLACK, BLUE, LINE, RED, dress, key, legend, plain_ticks, remark, sheet
from mcdev.fits.arrhenius import Arrhenius
from mcdev.fits.contract import Fit
from mcdev.results.fits_along_axes import ensemble_value
from mcdev.results.tree import experiment_of
from mcdev.statistics import fit_records, summarise

NAME = "arrhenius"

_RESAMPLES = 400


def applies(tree: xr.DataTree) -> bool:
    return bool(_along_all_points(tree))


def draw(tree: xr.DataTree) -> Figure:
    """One panel a fit. Bars are standard errors: of the median by resampling devices, of the mean over devices, of
    the mean response by leaving out groups of devices."""
    fits = _along_all_points(tree)
    heights = [2.3 + LINE * _lines(tree, name, fit) for name, fit in fits.items()]
    figure = sheet(0.1 + sum(heights))
    parts = np.ravel(figure.subfigures(len(fits), 1, squeeze=False, height_ratios=heights))
    for (name, fit), part in zip(fits.items(), parts, strict=True):
        axes = part.subplots()
        _draw_fit(tree, axes, name, fit)
        handles, texts = axes.get_legend_handles_labels()
        key(part, handles, texts, loc="outside upper center")
    return figure


def _lines(tree: xr.DataTree, name: str, fit: Fit) -> int:
    """Lines of a panel's legend: values, fit, and what is published of both."""
    found = references(tree, fit.measurement)
    for coefficient in ("activation_temperature", "activation_energy"):
        found = found + references(tree, name, coefficient)
    return 2 + sum(cited(reference).count("\n") + 1 for reference, _ in found)


def panels(tree: xr.DataTree) -> list[str]:
    """Fits that have a panel."""
    return list(_along_all_points(tree))


def panel(tree: xr.DataTree, name: str, axes: Axes) -> None:
    """One of them, with its legend inside."""
    _draw_fit(tree, axes, name, _along_all_points(tree)[name])
    legend(axes)


def _along_all_points(tree: xr.DataTree) -> dict[str, Arrhenius]:
    """Arrhenius fits whose curve is the whole sweep."""
    experiment = experiment_of(tree)
    fits = {name: fit for name, fit in experiment.fits.items() if isinstance(fit, Arrhenius)}
    return {name: fit for name, fit in fits.items() if len(experiment.curves(fit.axis)) == 1}


def _draw_fit(tree: xr.DataTree, axes: Axes, name: str, fit: Fit) -> None:
    temperature = _temperature(tree, fit)
    value, error = ensemble_values(tree, fit)
    shown, label = measurement(tree, fit.measurement, value)
    own = bool(reduced_units(tree))
    inverse = 1.0 / temperature if own else 1000.0 / temperature
    kelvin = 1.0 if own else 1000.0  # inverse × this is 1/T in 1/K
    axes.set_yscale("log")
    statistic = {"mean_response": "of the mean response"}.get(fit.statistic, fit.statistic)
    good = np.isfinite(value) & (value > 0)
    if good.any():
        bars = np.where(np.isfinite(error), error, 0.0)[good] * shown.factor
        axes.errorbar(
            inverse[good],
            value[good] * shown.factor,
            bars,
            fmt="o",
            markersize=3.2,
            color=BLUE,
            capsize=1.8,
            elinewidth=0.8,
            label=f"{statistic} ± s.e.{_counted(tree, fit)}",
        )
    else:
        remark(axes, "no value at any temperature: all censored or undefined")
    line = np.linspace(inverse.min(), inverse.max(), 50)
    found = _coefficients(tree, name)
    if found:
        fitted = np.exp(found["log_prefactor"][0] + found["activation_temperature"][0] * line / kelvin)
        axes.plot(line, fitted * shown.factor, color=RED, linewidth=1.0, label=_fit_text(found, own))
    elif good.any():
        remark(axes, f"no fit: a value at {good.sum()} of {good.size} temperatures", "corner")
    _draw_reference(tree, axes, name, fit, line, kelvin, inverse, value, shown)
    words = label if label.startswith("$") else label.replace(" (", r" $\tau$ (", 1)
    dress(axes, r"$w_p/k_B T$" if own else "$1000/T$ (1/K)", words)
    room = 0.05 * (inverse.max() - inverse.min())
    axes.set_xlim(inverse.min() - room, inverse.max() + room)
    if good.sum() == 1:  # one point makes no range
        axes.set_ylim(value[good][0] * shown.factor / 3, value[good][0] * shown.factor * 3)
    if not own:
        top = axes.twiny()
        top.set_xlim(axes.get_xlim())
        top.set_xticks(inverse, [f"{t:.4g}" for t in temperature])
        dress(top, "$T$ (K)")
        top.tick_params(bottom=False)
        axes.tick_params(top=False)
    plain_ticks(axes.yaxis)


def _counted(tree: xr.DataTree, fit: Fit) -> str:
    """Of how many observations the values are, where those are not all: a median has the censored ones too."""
    rows = [r for r in summarise(tree, variability=False) if r["measurement"] == fit.measurement]
    return counted(rows) if fit.statistic == "mean" else ""


def ensemble_values(tree: xr.DataTree, fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """What the fit took at each point, and its standard error; SI units, NaN where it has no value."""
    if fit.statistic == "mean_response":
        replicates = (
            tree[f"mean_response/{fit.measurement}"].dataset["value"].isel(kept_cycle=0).values
        )  # [point, replicate]
        others, count = replicates[:, 1:], replicates.shape[1] - 1
        spread = others - others.mean(axis=1, keepdims=True)
        error = np.sqrt((count - 1) / count * np.sum(spread**2, axis=1)) if count > 1 else np.full(len(others), np.nan)
        return replicates[:, 0], error
    data = tree[f"measurements/{fit.measurement}"].dataset
    values, status = data["value"].values, data["status"].values  # [point, device, cycle]
    central = np.array([ensemble_value(fit.statistic, v, s) for v, s in zip(values, status, strict=True)])
    devices = values.shape[1]
    if devices < 2:
        return central, np.full(central.shape, np.nan)
    draws = np.random.default_rng(0).integers(devices, size=(_RESAMPLES, devices))
    resampled = [
        [ensemble_value(fit.statistic, v[draw], s[draw]) for draw in draws] for v, s in zip(values, status, strict=True)
    ]
    fine = [np.array(row)[np.isfinite(row)] for row in resampled]
    return central, np.array([row.std() if row.size > 1 else np.nan for row in fine])


def _temperature(tree: xr.DataTree, fit: Fit) -> np.ndarray:
    """Values of the fit's axis, [point] in kelvin."""
    return np.asarray(sweep_axis(tree, fit.axis).values)


def _coefficients(tree: xr.DataTree, name: str) -> dict[str, tuple[float, float]]:
    """Coefficient → value and standard error; empty if the fit had too few points."""
    records = (r for r in fit_records(tree) if r["fit"] == name)
    return {r["coefficient"]: (r["value"], r["standard_error"]) for r in records}


def _fit_text(found: dict[str, tuple[float, float]], own: bool) -> str:
    a, b, e = (found[key] for key in ("log_prefactor", "activation_temperature", "activation_energy"))
    prefactor = f"$A = {with_error(*a)}$"
    slope = f"$B = {with_error(*b)}$" if own else rf"$E_a = {with_error(1e3 * e[0], 1e3 * e[1])}$ meV"
    return f"fit: {prefactor}, {slope}"


def _draw_reference(
    tree: xr.DataTree,
    axes: Axes,
    name: str,
    fit: Fit,
    line: np.ndarray,
    kelvin: float,
    inverse: np.ndarray,
    value: np.ndarray,
    shown: Scale,
) -> None:
    """Published points of the measurement as diamonds; published coefficients as a dashed line. Where only the
    slope is published, the line goes through the middle of our points."""
    for reference, at in references(tree, fit.measurement):
        if reference.point <= inverse.size:
            diamond(axes, inverse[reference.point - 1], at * shown.factor, reference)
    if not _coefficients(tree, name):
        return
    slopes = [(r, at) for r, at in references(tree, name, "activation_temperature")]
    slopes += [(r, at * electron_volt / Boltzmann) for r, at in references(tree, name, "activation_energy")]
    if not slopes:
        return
    reference, slope = slopes[0]
    prefactors = references(tree, name, "log_prefactor")
    good = np.isfinite(value) & (value > 0)
    if prefactors:
        intercept = prefactors[0][1]
    elif good.any():
        intercept = float(np.mean(np.log(value[good]) - slope * inverse[good] / kelvin))
    else:
        return
    published = np.exp(intercept + slope * line / kelvin) * shown.factor
    axes.plot(line, published, color=BLACK, linestyle="--", linewidth=0.8, label=cited(reference))
