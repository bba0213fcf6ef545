"""What every fit along a sweep axis is: a measurement against an axis in; named coefficients with errors out."""

from __future__ import annotations

import abc
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from mcdev.schema import Strict


class Coefficient(NamedTuple):
    value: float
    unit: str
    long_name: str


class Fit(Strict, abc.ABC):
    """One entry of the ``[fits]`` table.

    Errors come from refitting to resampled devices, all points together: the points share their random numbers,
    so they are not independent.
    """

    measurement: str
    """Name of an entry of ``[measurements]``; it must be a single number."""
    axis: str
    """Sweep axis along which to fit."""
    statistic: Literal["mean", "median", "mean_response"] = "median"
    """What stands for the ensemble at a point: mean or median over devices and cycles, or the measurement taken
    on the ensemble's mean trajectory."""

    @property
    @abc.abstractmethod
    def axis_unit(self) -> str:
        """SI unit that the axis must have."""

    @property
    @abc.abstractmethod
    def coefficients(self) -> dict[str, str]:
        """Name → unit of what ``fit`` returns."""

    @property
    @abc.abstractmethod
    def least_points(self) -> int: ...

    by_device: ClassVar[bool] = False
    """Whether the coefficients of each device by itself are kept too, for their spread."""

    @property
    @abc.abstractmethod
    def equation(self) -> str:
        """The fitted law, for the results."""

    def usable(self, value: np.ndarray) -> np.ndarray:
        """Mask of the points whose value can be fitted."""
        return np.isfinite(value)

    @abc.abstractmethod
    def fit(self, axis: np.ndarray, value: np.ndarray) -> dict[str, Coefficient]:
        """Coefficients for values [point] at axis values [point], both in SI units."""

    @abc.abstractmethod
    def sensitivity(self, axis: np.ndarray, value: np.ndarray) -> dict[str, np.ndarray]:
        """Derivative [point] of each coefficient, in its own unit, by each value (SI)."""
