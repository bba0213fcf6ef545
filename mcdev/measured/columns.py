"""Which column is which, and in which unit: as the header says, or as the configuration says instead.

Understood are a known name and a unit, in brackets or behind a slash, underscore, comma, space or "in": ``time/s``,
``Ewe/V``, ``I/mA``, ``Time_ms``, ``Current, uA``, ``voltage [mV]``. Names alone, with no unit anywhere: s, V and A.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import Field
from pydantic_core import PydanticCustomError

from mcdev.schema import Strict, Unit

Quantity = Literal["time", "voltage", "current"]

UNITS: Mapping[Quantity, str] = {"time": "s", "voltage": "V", "current": "A"}

_NAMES: Mapping[Quantity, tuple[str, ...]] = {
    "time": ("time", "elapsed time", "t"),
    "voltage": ("voltage", "potential", "bias", "ewe", "ecell", "v", "u"),
    "current": ("current", "<i>", "i"),
}
_NOT_TIME = "T"  # a temperature, most often

_LONGEST = 100  # of a header's cell
_BRACKETED = re.compile(r"(.*?)\s*(?:\((.*)\)|\[(.*)\])")
_SEPARATED = re.compile(r"(.+?)(?: in |\s*[/,_ ]\s*)([^/,_ ]+)")
_OTHER_UNIT = re.compile("(?:[fpnum\u00b5\u03bck](?:s|sec|seconds?|V|A|volts?|amps?)|min|minutes?|hours?)", re.I)
_WORD = re.compile(r"[A-Za-z\u00b5\u03bc]+")


class Layout(Strict):
    """Which column of a measured file is which, where its header does not say so in words that are understood."""

    columns: dict[Quantity, str | int] = Field(default_factory=dict)
    """Quantity → the column's name as in the header, or its number from one."""
    units: dict[Quantity, str] = Field(default_factory=dict)
    """Quantity → its unit, where the header has none."""


class Column(NamedTuple):
    """One column that is read."""

    place: int
    """From zero."""
    label: str
    """As messages call it."""
    unit: str
    factor: float
    """One of the unit in SI."""


class _Cell(NamedTuple):
    """One cell of a header."""

    text: str
    quantity: Quantity | None
    name: str
    """Without the unit."""
    unit: str
    """Empty where there is none."""


def factor(quantity: Quantity, unit: str) -> float | None:
    """One of the unit in SI; None of what is no unit of this quantity."""
    if unit[:1] == "M" and factor(quantity, unit[1:]) is not None:  # MS, MV, MA: capitals throughout are no mega
        return None
    text = unit.lower() if len(unit) > 2 and (unit.istitle() or unit.isupper()) else unit  # Seconds, AMPS
    if len(text) > 3:
        text = text.removesuffix("s")
    if not _WORD.fullmatch(text):
        return None
    try:
        return Unit(UNITS[quantity]).parse(f"1 {text}")
    except PydanticCustomError:
        return None


def is_header(cells: Sequence[str]) -> bool:
    """Whether a comment over the numbers names what is below it."""
    return any(_cell(text).quantity is not None for text in cells)


def unit_of_words(text: str, wanted: Sequence[Quantity]) -> str | None:
    """The first unit in a text that is another than s, V and A: what a comment says of columns without units."""
    for word in _WORD.findall(text):
        if _OTHER_UNIT.fullmatch(word) and any(factor(quantity, word) not in (None, 1.0) for quantity in wanted):
            return str(word)
    return None


def has_units(header: Sequence[str]) -> bool:
    """Whether any cell of a header has a unit."""
    return any(_cell(text).unit for text in header)


def units_apart(header: Sequence[str]) -> bool:
    """Whether a header has its units in columns of their own, behind the names: commas were taken for separators."""
    return all(any(factor(quantity, unit) for quantity in UNITS) for unit in header[1::2])


def resolve(
    header: Sequence[str] | None, units: Sequence[str] | None, wanted: Sequence[Quantity], layout: Layout, width: int
) -> dict[Quantity, Column]:
    """The wanted columns of a file ``width`` columns wide. ``units``: the cells of a row of units below the header.
    Raises ``ValueError``."""
    cells = [_cell(text) for text in header or ()]
    if units is not None:
        if any(cell.unit for cell in cells):
            raise ValueError("units stand in the header and in the row below it; expected them once")
        cells = [cell._replace(unit=unit.strip("()[] ")) for cell, unit in zip(cells, units, strict=True)]
    places = _places(cells, wanted, layout, width, header is not None)
    known = any(cell.unit for cell in cells)
    found: dict[Quantity, Column] = {}
    for quantity, at in places.items():
        label = f"column {at + 1}" + (f", {cells[at].text!r}," if cells else "")
        in_file, given = cells[at].unit if cells else "", layout.units.get(quantity, "")
        expected = f"expected a unit of {quantity} like {UNITS[quantity]} or m{UNITS[quantity]}"
        size = factor(quantity, (given or in_file or UNITS[quantity]).strip())
        if size is None and given:
            raise ValueError(f"units.{quantity} is {given!r}; {expected}")
        if size is None:
            raise ValueError(f"{label} is in {in_file!r}; {expected}: {_remedy(quantity, 'units')}")
        if given and in_file and factor(quantity, in_file) not in (None, size):
            raise ValueError(
                f"{label} is in {in_file!r}, and units.{quantity} is {given!r}; leave units.{quantity} out"
            )
        if known and not in_file and not given:
            raise ValueError(f"{label} has no unit, where others have one; {_remedy(quantity, 'units')}")
        found[quantity] = Column(at, label, given or in_file or UNITS[quantity], size)
    return found


def _places(
    cells: Sequence[_Cell], wanted: Sequence[Quantity], layout: Layout, width: int, named: bool
) -> dict[Quantity, int]:
    """Quantity → place of its column."""
    places: dict[Quantity, int] = {}
    for quantity, name in layout.columns.items():
        if isinstance(name, int):
            fitting = [name - 1] if 1 <= name <= width else []
        else:
            text = " ".join(name.split())
            fitting = [i for i, cell in enumerate(cells) if cell.text == text]
            fitting = fitting or [i for i, cell in enumerate(cells) if cell.name == text]
        if len(fitting) != 1:
            trouble = "no such column" if not fitting else f"{len(fitting)} columns are called so; give a number"
            known = ", ".join(repr(cell.text) for cell in cells)[:300] or f"no header, numbers from 1 to {width}"
            raise ValueError(f"columns.{quantity} is {name!r}: {trouble}; the file has {known}")
        places[quantity] = fitting[0]
    if len(set(places.values())) < len(places):
        raise ValueError(f"columns = {layout.columns}: expected different columns")
    missing = [quantity for quantity in wanted if quantity not in places]
    if missing and not named:
        if places or width != len(wanted):
            raise ValueError(
                f"{width} columns and no header; expected {len(wanted)}, {_documented(wanted)}: {_remedy(missing[-1])}"
            )
        return {quantity: i for i, quantity in enumerate(wanted)}
    for quantity in missing:
        for i, cell in enumerate(cells):
            other = cell.unit and factor(quantity, cell.unit) is None  # not this quantity, whatever it is
            if cell.quantity is None and i not in places.values() and not other:
                raise ValueError(
                    f"column {i + 1}, {cell.text!r}, is not understood and may be the {quantity}; expected "
                    f"{_documented(wanted)}, each with its unit in the header: {_remedy(quantity)}"
                )
        fitting = [i for i, cell in enumerate(cells) if cell.quantity == quantity and i not in places.values()]
        if len(fitting) != 1:
            which = ", ".join(repr(cells[i].text) for i in fitting) if fitting else "no column"
            raise ValueError(f"{which} for {quantity}; expected one: {_remedy(quantity)}")
        places[quantity] = fitting[0]
    return places


def _cell(text: str) -> _Cell:
    text = " ".join(text.split())
    if len(text) > _LONGEST:
        return _Cell(text[:_LONGEST] + "…", None, "", "")
    if quantity := _quantity(text):
        return _Cell(text, quantity, text, "")
    if match := _BRACKETED.fullmatch(text):
        unit = match[2] if match[3] is None else match[3]
        return _Cell(text, _quantity(match[1]), match[1], unit.strip() or "()")
    if match := _SEPARATED.fullmatch(text):
        quantity = _quantity(match[1])
        if quantity or any(factor(q, match[2]) for q in UNITS):
            return _Cell(text, quantity, match[1], match[2])
    return _Cell(text, None, text, "")


def _quantity(name: str) -> Quantity | None:
    if name == _NOT_TIME:
        return None
    return next((quantity for quantity, names in _NAMES.items() if name.lower() in names), None)


def _documented(wanted: Sequence[Quantity]) -> str:
    return _listed([f"{quantity} ({UNITS[quantity]})" for quantity in wanted])


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _remedy(quantity: Quantity, key: str = "columns") -> str:
    what = "with its unit" if key == "units" else "with the name or number of the column"
    return f'add {key} = {{ {quantity} = "…" }} to the configuration, {what}'
