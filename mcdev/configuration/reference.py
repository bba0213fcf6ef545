"""A published number beside ours."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_core import PydanticCustomError

from mcdev.schema import Strict, Unit, sentence


class Reference(Strict):
    """A published number that a measurement or a fit is compared with, in tables and pictures."""

    measurement: str
    """Name of an entry of [measurements] or [fits]."""
    entry: int | None = Field(None, ge=1)
    """Which entry of a list, from one (the pulse)."""
    coefficient: str | None = None
    """Which coefficient of a fit."""
    point: int = Field(1, ge=1)
    """Which sweep point, from one; of a fit, which curve."""
    value: str | float
    """The published value: a number, a quantity with its unit, or only its sign: "> 0" or "< 0"."""
    statistic: Literal["mean", "median", "mean_response"] = "mean"
    """What of ours it is compared with."""
    source: str
    """Where it is published."""


def published(reference: Reference, unit: str) -> float | str:
    """The published value in this unit, or "> 0" or "< 0". Raises ``ValueError`` if it is of another dimension."""
    if reference.value in ("> 0", "< 0"):
        return str(reference.value)
    mark = Unit("" if unit == "1" else unit)
    try:
        return mark.parse(reference.value) / mark.scale
    except PydanticCustomError as error:
        raise ValueError(sentence(error)) from None
