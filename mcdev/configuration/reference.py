"""A published number beside ours."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic_core import PydanticCustomError

from mcdev.configuration.address import Address
from mcdev.schema import Unit, sentence
from mcdev.schema.units import unit_written


class Reference(Address):
    """A published number that one of ours is compared with, in tables and pictures."""

    value: str | float
    """The published value: a number, a quantity with its unit, or only its sign: "> 0" or "< 0". Tables and pictures
    show the measurement in this unit."""
    source: str
    """Where it is published."""


def published(reference: Reference, unit: str) -> float | str:
    """The published value in this unit, or "> 0" or "< 0". Raises ``ValueError`` if it is of another dimension."""
    if reference.value in ("> 0", "< 0"):
        return str(reference.value)
    mark = Unit.of_results(unit)
    try:
        return mark.parse(reference.value) / mark.scale
    except PydanticCustomError as error:
        raise ValueError(sentence(error)) from None


def unit_chosen(references: Iterable[Reference], measurement: str, unit: str) -> str:
    """The unit in which a measurement of this ``unit`` is shown: the one in which the first published value of it is
    written (``ms`` of "10 ms"), else ``unit`` itself. Pure numbers stay pure numbers."""
    own = (r for r in references if r.measurement == measurement and r.coefficient is None and r.unit_of(unit) == unit)
    return unit_written(unit, *(r.value for r in own))
