"""A table of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import core_schema

from mcdev.schema.meanings import meaning


class Strict(BaseModel):
    """A table of a configuration: immutable, no unknown keys, no NaN or infinity, no "64" or true for 64."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """As pydantic writes it, with what each key means."""
        written = handler(core)
        for key, about in handler.resolve_ref_schema(written).get("properties", {}).items():
            if text := meaning(cls, key):
                about["description"] = text
        return written

    def __dir__(self) -> list[str]:
        """The keys, and what mcdev itself adds: completion is not to offer pydantic's methods."""
        own = {name for name in dir(type(self)) if not hasattr(BaseModel, name) and not name.startswith("_")}
        return sorted(own | set(type(self).model_fields))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).model_fields:
            remedy = "make another one: experiment.with_({key path: value})"
            raise AttributeError(f"{type(self).__name__}.{name} is not changed in place; {remedy}")
        super().__setattr__(name, value)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """The same with other values. What was worked out from the old ones stays behind."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


_Table = TypeVar("_Table")


def replaced(table: _Table, changes: Mapping[str, Any]) -> _Table:
    """The table with these values at key paths below it, as they are: nothing is checked anew."""
    for path, value in changes.items():
        table = _replaced(table, path.split("."), value)
    return table


def _replaced(table: Any, keys: list[str], value: Any) -> Any:
    if not keys:
        return value
    first, *below = keys
    if isinstance(table, BaseModel):
        return table.model_copy(update={first: _replaced(getattr(table, first), below, value)})
    return {**table, first: _replaced(table[first], below, value)}
