"""What every fit along a sweep axis is: a measurement against an axis in; named coefficients with errors out."""

from __future__ import annotations

import abc
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from mcdev.kinds import Kind


class Coefficient(NamedTuple):
    value: float
    unit: str
    long_name: str


class Fit(Kind, abc.ABC):
    """One entry of the ``[fits]`` table.

    Errors come from refitting to resampled devices, all points together: the points share their random numbers,
    so they are not independent.
    """

    measurement: str
    """Name of an entry of ``[measurements]``, which must be a single number."""
    axis: str
    """Key path of the sweep axis along which the law is fitted."""
    statistic: Literal["mean", "median", "mean_response"] = "median"
    """Statistic of the ensemble at a point: mean or median over devices and cycles, or the measurement of the mean
    trajectory (mean_response)."""

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

    example_data: ClassVar[tuple[tuple[float, ...], tuple[float, ...]]] = (
        (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5),
        (1.38, 1.21, 1.15, 1.07, 1.06, 1.02, 1.03, 1.0),
    )
    """Values of the axis, and of a measurement, to which it can be fitted, in SI units: what it is tried on."""
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
