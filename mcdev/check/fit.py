"""A fit along an axis by itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import ValidationError

from mcdev.check.examples import SLOPE, table_of
from mcdev.check.failure import Failure, first_line
from mcdev.fits.contract import Fit
from mcdev.kinds import name_of
from mcdev.schema import is_unit


def check_fit(kind: type[Fit]) -> Iterator[Failure]:
    """Coefficients as named, and their derivatives by each value against differences."""
    name = name_of(kind)
    try:
        fit: Fit = kind.model_validate({"measurement": "m", "axis": "device.x", **table_of(kind)}, strict=False)
    except ValidationError as error:
        yield Failure(name, "an example that is a fit", first_line(error))
        return
    for key, unit in fit.coefficients.items():
        if not is_unit("" if unit == "1" else unit):
            yield Failure(f"{name}.{key}", "a unit that can be read, or 1", unit)
    axis, value = (np.array(column) for column in fit.example_data)
    try:
        found, slopes = fit.fit(axis, value), fit.sensitivity(axis, value)
    except Exception as error:  # a stranger's code
        yield Failure(name, "fit() and sensitivity() of its example_data", first_line(error))
        return
    if set(found) != set(fit.coefficients) or set(slopes) != set(fit.coefficients):
        names = f"{', '.join(found)} and {', '.join(slopes)}"
        yield Failure(name, f"fit() and sensitivity() to give {', '.join(fit.coefficients)}", names)
        return
    for i in range(axis.size):
        h = 1e-5 * np.abs(value).max()
        step = h * np.eye(axis.size)[i]
        high, low = fit.fit(axis, value + step), fit.fit(axis, value - step)
        for key in found:
            slope, largest = (high[key].value - low[key].value) / (2 * h), np.abs(slopes[key]).max()
            if not abs(slopes[key][i] - slope) <= SLOPE * largest:
                yield Failure(f"{name}.{key}", f"a derivative of {slope:.4g} by value {i}", f"{slopes[key][i]:.4g}")
