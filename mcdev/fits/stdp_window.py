"""The window of spike-timing-dependent plasticity: how a change of weight decays with the time between two spikes
(Shin et al. 2022, doi:10.1039/d1ma01078f, Fig. 7c and the equation above it)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from mcdev.fits.contract import Coefficient, Fit

_STARTS = 60
_SIDES = {"plus": 1.0, "minus": -1.0}


class StdpWindow(Fit):
    """The STDP window, ΔW = A+ exp(-Δt/τ+) for Δt > 0 and A- exp(Δt/τ-) for Δt < 0. Each side is fitted by itself, by
    least squares with equal weights.

    For a given time the amplitude follows from linear regression (variable projection). The search for the time starts
    at the best of a logarithmic grid between a third of the shortest and ten times the longest |Δt|.
    """

    kind: Literal["stdp_window"] = "stdp_window"

    axis_unit: ClassVar[str] = "s"
    coefficients: ClassVar[dict[str, str]] = {
        "a_plus": "1",
        "tau_plus": "s",
        "a_minus": "1",
        "tau_minus": "s",
        "tau_ratio": "1",
        "rms_residual": "1",
    }
    least_points: ClassVar[int] = 6
    example_data: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]] = (
        (-0.08, -0.04, -0.02, -0.01, 0.01, 0.02, 0.04, 0.08),
        (-0.03, -0.11, -0.21, -0.27, 0.38, 0.32, 0.17, 0.06),
    )
    by_device: ClassVar[bool] = True
    equation: ClassVar[str] = "value = a_plus exp(-Δt/tau_plus) for Δt > 0, a_minus exp(Δt/tau_minus) for Δt < 0"

    def fit(self, axis: np.ndarray, value: np.ndarray) -> dict[str, Coefficient]:
        of_value = "in the measurement's unit"
        words = {"plus": "presynaptic spike first", "minus": "postsynaptic spike first"}
        found, squares = {}, 0.0
        for side, sign in _SIDES.items():
            which = sign * axis > 0
            log_tau, amplitude, residual = _one_side(np.abs(axis[which]), value[which])
            mark = "+" if sign > 0 else "-"
            found[f"a_{side}"] = Coefficient(amplitude, "1", f"A{mark}, {words[side]}, {of_value}")
            found[f"tau_{side}"] = Coefficient(float(np.exp(log_tau)), "s", f"τ{mark}, {words[side]}")
            squares += float(np.sum(residual**2))
        ratio = found["tau_plus"].value / found["tau_minus"].value
        found["tau_ratio"] = Coefficient(ratio, "1", "τ+/τ-")
        rms = float(np.sqrt(squares / axis.size))
        found["rms_residual"] = Coefficient(rms, "1", f"rms about the curve, {of_value}")
        return {name: found[name] for name in self.coefficients}

    def sensitivity(self, axis: np.ndarray, value: np.ndarray) -> dict[str, np.ndarray]:
        """By the implicit function theorem at each side's minimum, Jᵀr = 0 with r = curve - value:

        dp/dvalue = (JᵀJ + Σ r ∇²curve)⁻¹ Jᵀ,   p = (ln τ, A),

        and drms/dvalue = -r/(n rms)."""
        found = {name: np.zeros(axis.size) for name in self.coefficients}
        times, residuals = {}, np.zeros(axis.size)
        for side, sign in _SIDES.items():
            which = sign * axis > 0
            log_tau, amplitude, residual = _one_side(np.abs(axis[which]), value[which])
            tau = float(np.exp(log_tau))
            ratio = np.abs(axis[which]) / tau
            decay = np.exp(-ratio)
            own = ratio * decay  # d decay/d ln τ
            jacobian = np.column_stack([amplitude * own, decay])
            hessian = jacobian.T @ jacobian
            hessian[0, 0] += residual @ (amplitude * own * (ratio - 1.0))
            hessian[0, 1] += residual @ own
            hessian[1, 0] += residual @ own
            change = np.linalg.solve(hessian, jacobian.T)
            found[f"tau_{side}"][which] = tau * change[0]
            found[f"a_{side}"][which] = change[1]
            times[side], residuals[which] = tau, residual
        share = times["plus"] / times["minus"]
        found["tau_ratio"] = share * (found["tau_plus"] / times["plus"] - found["tau_minus"] / times["minus"])
        rms = np.sqrt(np.mean(residuals**2))
        if rms > 0:
            found["rms_residual"] = -residuals / (axis.size * rms)
        return found


def _one_side(time: np.ndarray, value: np.ndarray) -> tuple[float, float, np.ndarray]:
    """(ln τ, A, residual [point]) of least squares; NaN where the side has fewer than three points or no change."""
    if time.size < 3 or not np.any(value):
        return float("nan"), float("nan"), np.zeros(time.size)

    def regression(log_tau: float) -> tuple[float, np.ndarray]:
        decay = np.exp(-time / np.exp(log_tau))
        amplitude = float(decay @ value / (decay @ decay))
        return amplitude, amplitude * decay - value

    def misfit(log_tau: float) -> float:
        return float(np.sum(regression(log_tau)[1] ** 2))

    grid = np.linspace(np.log(time.min() / 3), np.log(10 * time.max()), _STARTS)
    best = int(np.argmin([misfit(x) for x in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, _STARTS - 1)]

    def slope(log_tau: float) -> float:
        """Of the misfit: the amplitude being the best one, only the decay's own change counts."""
        ratio = time / np.exp(log_tau)
        amplitude, residual = regression(log_tau)
        return float(residual @ (amplitude * ratio * np.exp(-ratio)))

    from scipy.optimize import brentq  # slow to import, and wanted last

    inside = slope(low) < 0 < slope(high)
    log_tau = float(brentq(slope, low, high, xtol=1e-13)) if inside else float(grid[best])  # at the grid's end
    return log_tau, *regression(log_tau)
