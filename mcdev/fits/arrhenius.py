"""Arrhenius law: the activation energy of a time against temperature."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from scipy.constants import Boltzmann, electron_volt

from mcdev.fits.contract import Coefficient, Fit


class Arrhenius(Fit):
    """Arrhenius law, ln τ = A + E_a/(k_B T), a straight line by least squares (Wang et al. 2017, insets of Figs 3b and
    4a)."""

    kind: Literal["arrhenius"] = "arrhenius"

    axis_unit: ClassVar[str] = "K"
    coefficients: ClassVar[dict[str, str]] = {
        "activation_energy": "eV",
        "activation_temperature": "K",
        "log_prefactor": "1",
        "rms_residual": "1",
    }
    least_points: ClassVar[int] = 3
    equation: ClassVar[str] = "ln(value / 1 s) = log_prefactor + activation_temperature / T"

    def usable(self, value: np.ndarray) -> np.ndarray:
        return np.isfinite(value) & (value > 0)

    def fit(self, axis: np.ndarray, value: np.ndarray) -> dict[str, Coefficient]:
        slope, intercept = np.polyfit(1.0 / axis, np.log(value), 1)
        residual = np.log(value) - (intercept + slope / axis)
        return {
            "activation_energy": Coefficient(slope * Boltzmann / electron_volt, "eV", "E_a, activation energy"),
            "activation_temperature": Coefficient(slope, "K", "E_a/k_B; in reduced units E_a/w_p, the paper's B"),
            "log_prefactor": Coefficient(intercept, "1", "A = ln(τ_0 / 1 s); in reduced units the paper's A"),
            "rms_residual": Coefficient(float(np.sqrt(np.mean(residual**2))), "1", "rms of ln τ about the line"),
        }

    def sensitivity(self, axis: np.ndarray, value: np.ndarray) -> dict[str, np.ndarray]:
        """With x = 1/T and y = ln τ: dslope/dy_i = (x_i - x̄)/Σ(x - x̄)², dintercept/dy_i = 1/n - x̄ dslope/dy_i,
        drms/dy_i = r_i/(n rms) since residuals r are orthogonal to what line and constant can follow; dy_i = dτ_i/τ_i.
        """
        x, y = 1.0 / axis, np.log(value)
        away = x - x.mean()
        slope = away / np.sum(away**2)
        residual = y - y.mean() - slope @ y * away
        rms = np.sqrt(np.mean(residual**2))
        by_log = {
            "activation_energy": slope * Boltzmann / electron_volt,
            "activation_temperature": slope,
            "log_prefactor": 1.0 / x.size - x.mean() * slope,
            "rms_residual": residual / (x.size * rms) if rms > 0 else np.zeros_like(x),
        }
        return {name: share / value for name, share in by_log.items()}
