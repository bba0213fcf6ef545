"""The keys of a kind."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator

from mcdev.check.failure import Failure
from mcdev.kinds import Kind, name_of
from mcdev.schema import Unit, is_unit, unit_of_key


def check_fields(kind: type[Kind]) -> Iterator[Failure]:
    """Every number says its unit, and every key what it is."""
    name = name_of(kind)
    for key, field in kind.model_fields.items():
        if key == "kind":
            continue
        either = typing.get_origin(field.annotation) in (types.UnionType, typing.Union)
        numbers = float in (field.annotation, *(typing.get_args(field.annotation) if either else ()))
        if numbers and unit_of_key(kind, key) is None:
            yield Failure(f"{name}.{key}", 'a unit, like Annotated[float, Unit("V")]', "a number without one")
    for mark in (m for field in kind.model_fields.values() for m in field.metadata if isinstance(m, Unit)):
        if not is_unit(mark.unit):
            yield Failure(name, "units that can be read", mark.unit)
    if not (kind.__doc__ or "").strip() or kind.__doc__ == kind.__base__.__doc__:
        yield Failure(name, "a sentence under the class that says what it is", "none")
