"""Tables of keys for the pages of docs/reference/: from a model of a configuration to Markdown."""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mcdev.circuits import CIRCUITS
from mcdev.circuits.elements import ELEMENTS
from mcdev.devices import DEVICES
from mcdev.fits import FITS
from mcdev.kinds import Kind, Kinds
from mcdev.measurements import MEASUREMENTS
from mcdev.protocols import PROTOCOLS
from mcdev.schema import PerDevice, Unit, unit_of_key
from mcdev.schema.meanings import meaning

LISTS: dict[str, tuple[Kinds[Any], str]] = {
    "devices": (DEVICES, "device"),
    "circuits": (CIRCUITS, "circuit"),
    "elements": (ELEMENTS, "circuit.elements.NAME"),
    "protocols": (PROTOCOLS, "protocol"),
    "measurements": (MEASUREMENTS, "measurements.NAME"),
    "fits": (FITS, "fits.NAME"),
}
"""Page → kinds that it lists, and the key path of their table."""

# -------------------------------------------------------------------------------------------- text


def markdown(text: str | None) -> str:
    """A docstring as Markdown: names in single backticks, and nothing else that Markdown would take for a mark.
    Indented equations stay as they are."""
    lines = inspect.cleandoc(text or "").replace("``", "`").splitlines()
    return "\n".join(line if line.startswith("    ") else plain(line) for line in lines)


def plain(line: str) -> str:
    """One line of it."""
    line = re.sub(r"\bdocs/(\w+)\.md", r"[\1](../\1.md)", line)
    line = re.sub(r":\w+:`~?\.?([^`]+)`", r"`\1`", line)
    parts = re.split(r"(`[^`]*`|\[\w+\]\(\.\./\w+\.md\))", line)
    return "".join(
        part if part.startswith("`") or "](../" in part else re.sub(r"([*<\[\]])", r"\\\1", part) for part in parts
    )


def cell(text: str) -> str:
    """Text in one line, as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["| " + " | ".join(cell(each) for each in row) + " |" for row in (head, *rows)]
    lines.insert(1, "|" + "---|" * (lines[0].count(" | ") + 1))
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    return f"`{text}`" if text else ""


# ------------------------------------------------------------------------------------ keys of a table


def inside(annotation: Any) -> Iterator[Any]:
    """A type and all that it is made of."""
    yield annotation
    for part in typing.get_args(annotation):
        yield from inside(part)


def tables_in(field: FieldInfo) -> list[type[BaseModel]]:
    """The tables that a key may hold, but for those that have a kind."""
    found = [part for part in inside(field.annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
    return [each for each in dict.fromkeys(found) if not issubclass(each, Kind)]


def lists_in(field: FieldInfo) -> list[str]:
    """The pages of the kinds that a key may hold."""
    marks = [*field.metadata]
    for part in inside(field.annotation):
        marks += getattr(part, "__metadata__", ())
    contracts = [mark.contract for mark in marks if isinstance(mark, Kinds)]
    return list(dict.fromkeys(page for page, (kinds, _) in LISTS.items() if kinds.contract in contracts))


SHAPES: dict[Any, str] = {tuple: "a list", dict: "a table", list: "a list", int: "a whole number", str: "text"}
"""What a value is where nothing else says so."""


def shapes(annotation: Any) -> Iterator[Any]:
    """The types that a value itself may be, without those of its entries."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        for part in typing.get_args(annotation)[: 1 if origin is typing.Annotated else None]:
            yield from shapes(part)
    else:
        yield origin or annotation


def place(path: str, key: str, field: FieldInfo) -> str:
    """The heading under which the tables of a key are written."""
    name = f"{path}.{key}" if path else key
    if tuple in (forms := set(shapes(field.annotation))):
        return f"[[{name}]]"
    return f"[{name}.NAME]" if dict in forms else f"[{name}]"


def allowed(field: FieldInfo, mark: Unit | None) -> str:
    """What a value may be."""
    found: list[str] = []
    pages = lists_in(field)
    if pages:
        found += [f"a table: [{page}]({page}.md)" for page in pages]
    elif own := tables_in(field):
        found += ["a table: " + ", ".join(code(each.__name__) for each in own)]
    signs = {"greater_than": ">", "at_least": "≥", "less_than": "<", "at_most": "≤"}
    if mark is not None:
        found += [" and ".join(f"{signs[name]} {bound:g}" for name, bound in mark.bounds.items())]
    for part in inside(field.annotation):
        if typing.get_origin(part) is Literal:
            found += [code(str(word)) for word in typing.get_args(part)]
    if field.annotation is bool:
        found += ["`true`, `false`"]
    forms = set(shapes(field.annotation))
    if not found and str in forms and forms & {int, float}:
        found += ["a number, or text with a unit"]
    if not found and (word := next((SHAPES[part] for part in shapes(field.annotation) if part in SHAPES), "")):
        found += [word]
    bounds = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    limits = [(bounds[n], getattr(m, n)) for m in field.metadata for n in bounds if getattr(m, n, None) is not None]
    if limits and mark is None:
        found += [" and ".join(f"{sign} {bound:,}".replace(",", " ") for sign, bound in limits)]
    return ", ".join(each for each in found if each)


def default(field: FieldInfo, mark: Unit | None, needed: str) -> str:
    """What stands where the key is left out."""
    if field.is_required():
        return needed
    value = field.get_default(call_default_factory=True)
    if value is None or value in ({}, (), ""):
        return "none"
    if isinstance(value, BaseModel):
        return code("alone") if isinstance(value, Kind) else "as below"
    if mark is not None and isinstance(value, float):
        return code(str(mark.write(value)))
    return code(json.dumps(list(value) if isinstance(value, tuple) else value).strip('"'))


def keys(model: type[BaseModel], skipped: Iterable[str] = ("kind",), needed: str = "must be given") -> str:
    """The table of a model's keys."""
    rows = []
    drawn = any(isinstance(unit_of_key(model, key), PerDevice) for key in model.model_fields)
    for key, field in model.model_fields.items():
        if key in skipped:
            continue
        mark = unit_of_key(model, key)
        unit = "" if mark is None else mark.unit or "1"
        own = ["yes" if isinstance(mark, PerDevice) else ""] if drawn else []
        words = markdown(meaning(model, key)).replace("\n", " ")
        rows.append([code(key), unit, default(field, mark, needed), allowed(field, mark), *own, words])
    head = ["key", "unit", "default", "range", *(["may be drawn"] if drawn else []), "meaning"]
    return table(head, rows) if rows else "It has no keys of its own.\n"


def with_tables(model: type[BaseModel], level: int, path: str, **options: Any) -> str:
    """The keys of a model, then those of the tables within it, each under the key path by which it is written."""
    text = keys(model, **options)
    for key, field in model.model_fields.items():
        for each in tables_in(field):
            name = place(path, key, field)
            heading = f"{'#' * level} `{name}`: {each.__name__}"
            text += f"\n{heading}\n\n{markdown(each.__doc__)}\n\n{with_tables(each, level + 1, name.strip('[]'))}"
    return text
