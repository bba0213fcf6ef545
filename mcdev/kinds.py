"""Open lists of kinds: what a section of a configuration may be, by the word in its key ``kind``.

    DEVICES = Kinds(DeviceConfig, Diffusive, OmiecCompact)
    Device = Annotated[DeviceConfig, DEVICES]       # a field of pydantic's, which looks the word up when it is read

The house registers its own kinds, one line each; a plugin adds its own later (`configuration/plugins.py`).
"""

from __future__ import annotations

import abc
import contextlib
import functools
import json
import operator
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, ValidationInfo
from pydantic_core import core_schema

from mcdev.schema import PerDevice, Strict, Unit


class Kind(Strict, abc.ABC):
    """A table that says by its key ``kind`` what it is. A class gives the key one word and its default:
    ``kind: Literal["pulse"] = "pulse"``."""

    kind: str

    example: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Keys with which it can be tried, as a configuration has them; those that have a default may be left out."""

    @classmethod
    def parameters(cls) -> dict[str, Unit]:
        """The parameters that may differ from device to device, each with its unit."""
        return {
            name: mark
            for name, field in cls.model_fields.items()
            for mark in field.metadata
            if isinstance(mark, PerDevice)
        }


Table = TypeVar("Table", bound=Kind)


class Kinds(Generic[Table]):
    """The kinds of one section, in the order in which they were added."""

    def __init__(self, contract: type[Any], *classes: type[Table]):
        self.contract = contract
        self._classes: dict[str, type[Table]] = {}
        for each in classes:
            self.add(each)

    def add(self, table: type[Table]) -> None:
        """Make one more kind known. Raises ``ValueError`` where another has its name."""
        name = name_of(table)
        if name in self._classes:
            raise ValueError(f"the kind '{name}' exists already, in {self._classes[name].__module__}")
        self._classes[name] = table

    def __iter__(self) -> Iterator[type[Table]]:
        return iter(tuple(self._classes.values()))

    @property
    def names(self) -> list[str]:
        """By which a configuration names them."""
        return [name_of(table) for table in self]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> type[Table]:
        return self._classes[name]

    # ------------------------------------------------------------------------------- as a field of pydantic's

    def _read(self, value: Any, info: ValidationInfo) -> Any:
        union, name = _union(tuple(self)), value.get("kind") if isinstance(value, dict) else None
        stand_in = _stand_ins.get()
        if stand_in is not None and isinstance(name, str) and name not in self:
            return stand_in(self, name).model_validate_json(json.dumps(value))
        # What was JSON is read as JSON again, in which a list may stand for a tuple.
        return union.validate_json(json.dumps(value)) if info.mode == "json" else union.validate_python(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(_union(tuple(self)).core_schema)


def name_of(table: type[Kind]) -> str:
    """The word by which a configuration names this kind."""
    return str(table.model_fields["kind"].default)


@functools.cache
def _union(classes: tuple[type[Kind], ...]) -> TypeAdapter[Any]:
    """What reads a table as one of these, by its kind."""
    either: Any = functools.reduce(operator.or_, classes)
    return TypeAdapter(Annotated[either, Field(discriminator="kind")])


StandIn = Callable[[Kinds[Any], str], type[Kind]]
"""From a list and a kind that is not in it: the class that takes its place."""
_stand_ins: ContextVar[StandIn | None] = ContextVar("stand_ins", default=None)


def stood_in() -> bool:
    """Whether unknown kinds are read by :func:`standing_in` now."""
    return _stand_ins.get() is not None


@contextlib.contextmanager
def standing_in(stand_in: StandIn) -> Iterator[None]:
    """Meanwhile unknown kinds are read as ``stand_in`` says, for results whose plugin is not here."""
    token = _stand_ins.set(stand_in)
    try:
        yield
    finally:
        _stand_ins.reset(token)
