"""Two exponentials along an axis of time: how facilitation decays with the interval (Shin et al. 2022, eq. 3)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from mcdev.fits.contract import Coefficient, Fit

_STARTS = 10


class DoubleExponential(Fit):
    """Two exponentials, y = C_1 exp(-t/τ_1) + C_2 exp(-t/τ_2) + C_0 with τ_1 < τ_2, by least squares with equal
    weights.  For given times the three constants follow from linear regression (variable projection). The search for
    the two times starts at the best pair of a logarithmic grid between a third of the shortest and the longest
    interval."""

    kind: Literal["double_exponential"] = "double_exponential"

    axis_unit: ClassVar[str] = "s"
    coefficients: ClassVar[dict[str, str]] = {
        "tau_1": "s",
        "tau_2": "s",
        "c_1": "1",
        "c_2": "1",
        "c_0": "1",
        "rms_residual": "1",
    }
    least_points: ClassVar[int] = 6
    example_data: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]] = (
        (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8),
        (0.536, 0.435, 0.331, 0.268, 0.237, 0.202, 0.163, 0.122, 0.107),
    )
    equation: ClassVar[str] = "value = c_1 exp(-t/tau_1) + c_2 exp(-t/tau_2) + c_0"

    def fit(self, axis: np.ndarray, value: np.ndarray) -> dict[str, Coefficient]:
        log_tau, (c_1, c_2, c_0), residual = _search(axis, value)
        of_value = "in the measurement's unit"
        return {
            "tau_1": Coefficient(float(np.exp(log_tau[0])), "s", "τ_1, the fast decay time"),
            "tau_2": Coefficient(float(np.exp(log_tau[1])), "s", "τ_2, the slow decay time"),
            "c_1": Coefficient(float(c_1), "1", f"C_1, share that decays with τ_1, {of_value}"),
            "c_2": Coefficient(float(c_2), "1", f"C_2, share that decays with τ_2, {of_value}"),
            "c_0": Coefficient(float(c_0), "1", f"C_0, what remains, {of_value}"),
            "rms_residual": Coefficient(float(np.sqrt(np.mean(residual**2))), "1", f"rms about the curve, {of_value}"),
        }

    def sensitivity(self, axis: np.ndarray, value: np.ndarray) -> dict[str, np.ndarray]:
        """By the implicit function theorem at the minimum, Jᵀr = 0 with r = curve - value:

        dp/dvalue = (JᵀJ + Σ r ∇²curve)⁻¹ Jᵀ,   p = (ln τ_1, ln τ_2, C_1, C_2, C_0),

        and drms/dvalue = -r/(n rms), since what the curve can follow is orthogonal to r.
        """
        log_tau, constants, residual = _search(axis, value)
        ratio = axis[:, None] / np.exp(log_tau)  # [point, exponential]
        decay = np.exp(-ratio)
        own = ratio * decay  # d decay/d ln τ
        jacobian = np.column_stack([constants[:2] * own, decay, np.ones_like(axis)])
        hessian = jacobian.T @ jacobian
        for k in range(2):
            hessian[k, k] += residual @ (constants[k] * own[:, k] * (ratio[:, k] - 1.0))
            mixed = residual @ own[:, k]
            hessian[k, 2 + k] += mixed
            hessian[2 + k, k] += mixed
        change = np.linalg.solve(hessian, jacobian.T)
        rms = np.sqrt(np.mean(residual**2))
        return {
            "tau_1": np.exp(log_tau[0]) * change[0],
            "tau_2": np.exp(log_tau[1]) * change[1],
            "c_1": change[2],
            "c_2": change[3],
            "c_0": change[4],
            "rms_residual": -residual / (axis.size * rms) if rms > 0 else np.zeros_like(axis),
        }


def _search(axis: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ln τ, the shorter first; constants C_1, C_2, C_0; residual [point]) of least squares."""

    def regression(log_tau: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        columns = np.column_stack([np.exp(-axis[:, None] / np.exp(log_tau)), np.ones_like(axis)])
        constants = np.linalg.lstsq(columns, value, rcond=None)[0]
        return constants, columns @ constants - value

    scale = float(np.ptp(value)) or 1.0
    grid = np.linspace(np.log(axis.min() / 3), np.log(axis.max()), _STARTS)
    pairs = [np.array([a, b]) for i, a in enumerate(grid) for b in grid[i + 1 :]]
    start = min(pairs, key=lambda pair: float(np.sum(regression(pair)[1] ** 2)))
    from scipy.optimize import least_squares  # slow to import, and wanted last

    found = least_squares(lambda x: regression(x)[1] / scale, start, method="lm", xtol=1e-10, ftol=1e-10)
    log_tau = np.sort(found.x)
    return log_tau, *regression(log_tau)
