"""A published number beside ours."""

from __future__ import annotations

from pydantic_core import PydanticCustomError

from mcdev.configuration.address import Address
from mcdev.schema import Unit, sentence


class Reference(Address):
    """A published number that one of ours is compared with, in tables and pictures."""

    value: str | float
    """The published value: a number, a quantity with its unit, or only its sign: "> 0" or "< 0"."""
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
