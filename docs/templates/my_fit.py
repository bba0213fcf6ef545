"""A fit of your own along a sweep axis: a straight line against a voltage.

mcdev check my_fit.py
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from mcdev.fits.contract import Coefficient, Fit


class MyFit(Fit):
    """value = slope V + intercept, least squares with equal weight to every point."""

    kind: Literal["my_fit"] = "my_fit"

    axis_unit: ClassVar[str] = "V"
    coefficients: ClassVar[dict[str, str]] = {"slope": "1/V", "intercept": "1"}
    least_points: ClassVar[int] = 2
    equation: ClassVar[str] = "value = slope V + intercept"

    def fit(self, axis: np.ndarray, value: np.ndarray) -> dict[str, Coefficient]:
        slope, intercept = self._weights(axis) @ value
        words = "in the measurement's unit"
        return {
            "slope": Coefficient(float(slope), "1/V", f"slope, {words} for each volt"),
            "intercept": Coefficient(float(intercept), "1", f"value at zero volts, {words}"),
        }

    def sensitivity(self, axis: np.ndarray, value: np.ndarray) -> dict[str, np.ndarray]:
        """Derivative of each coefficient by each value, for calibrations: both are linear in the values."""
        slope, intercept = self._weights(axis)
        return {"slope": slope, "intercept": intercept}

    @staticmethod
    def _weights(axis: np.ndarray) -> np.ndarray:
        """[coefficient, point]"""
        return np.linalg.pinv(np.stack([axis, np.ones_like(axis)], axis=1))
