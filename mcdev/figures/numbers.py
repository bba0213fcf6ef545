"""Numbers in words: a value with its error, as a paper prints it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from mcdev.figures.axes import scale
from mcdev.figures.references import references, unit_of

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def with_error(value: float, error: float) -> str:
    """0.86(3): the error in units of the last digit shown; plain where there is none."""
    if not np.isfinite(error) or error <= 0:
        return f"{value:.3g}"
    digits = max(0, 1 - int(np.floor(np.log10(error))) - (error / 10 ** np.floor(np.log10(error)) >= 3))
    return f"{value:.{digits}f}({round(error * 10**digits)})"


def with_unit(tree: xr.DataTree, unit: str, value: float, error: float = float("nan")) -> str:
    """3.80(4) s, 2.79(1)×10⁻¹¹ S/cm: what a legend says of a number in the unit of the tree. An error below the fourth
    digit is left out."""
    if not np.isfinite(value):
        return "no value"
    shown = scale(tree, unit, np.array([value]))
    number, spread = value * shown.factor, error * shown.factor
    said = with_error if spread >= 5e-4 * abs(number) else lambda v, _: f"{v:.4g}"
    power = int(np.floor(np.log10(abs(number)))) if number else 0
    if -3 <= power < 4:
        return f"{said(number, spread)} {shown.unit}".strip()
    ten = f"×10{str(power).translate(_SUPERSCRIPTS)}"
    return f"{said(number / 10.0**power, spread / 10.0**power)}{ten} {shown.unit}".strip()


def published(tree: xr.DataTree, name: str, point: int, coefficient: str | None = None) -> str:
    """`` (published: 3.8 s)``: what is published of a measurement at a sweep point, or of a coefficient on one curve;
    empty if nothing is."""
    found = [value for reference, value in references(tree, name, coefficient) if reference.point - 1 == point]
    return f" (published: {with_unit(tree, str(unit_of(tree, name, coefficient)), found[0])})" if found else ""
