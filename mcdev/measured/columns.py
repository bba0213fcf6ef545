"""Which column is which, and in which unit: as the header says, or as the configuration says instead.

Understood are a known name and a unit, in brackets or behind a slash, underscore, comma, space or "in": ``time/s``,
``Ewe/V``, ``I/mA``, ``Time_ms``, ``Current, uA``, ``voltage [mV]``. Names alone, with no unit anywhere: s, V and A.
A minus before a name, as in ``-Im(Z)/Ohm``, turns the sign.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import Field
from pydantic_core import PydanticCustomError

from mcdev.schema import Strict, Unit, number_and_unit

Quantity = Literal["time", "voltage", "current", "frequency", "resistance", "reactance", "cycle"]

UNITS: Mapping[Quantity, str] = {
    "time": "s",
    "voltage": "V",
    "current": "A",
    "frequency": "Hz",
    "resistance": "ohm",
    "reactance": "ohm",
    "cycle": "",
}
"""``resistance`` and ``reactance`` are the parts of an impedance; ``cycle`` is a number that changes with the cycle."""

_NAMES: Mapping[Quantity, tuple[str, ...]] = {
    "time": ("time", "elapsed time", "t"),
    "voltage": ("voltage", "potential", "bias", "ewe", "ecell", "v", "u"),
    "current": ("current", "<i>", "i"),
    "frequency": ("frequency", "freq", "freq.", "f"),
    "resistance": ("re(z)", "z'", "zre", "zreal", "z real", "z_re", "z_real", "re z"),
    "reactance": ("im(z)", "z''", 'z"', "zim", "zimag", "zimg", "z imag", "z_im", "z_imag", "im z"),
    "cycle": ("cycle", "cycle number", "cycle index", "cycle no.", "repeat", "repetition", "loop"),
}
_NOT_TIME = "T"  # a temperature, most often
_OHM = str.maketrans({"\u2126": "ohm", "\u03a9": "ohm"})

_LONGEST = 100  # of a header's cell
_BRACKETED = re.compile(r"(.*?)\s*(?:\((.*)\)|\[(.*)\])")
_SEPARATED = re.compile(r"(.+?)(?: in |\s*[/,_ ]\s*)([^/,_ ]+)")
_OTHER_UNIT = re.compile("(?:[fpnum\u00b5\u03bck](?:s|sec|seconds?|V|A|volts?|amps?)|min|minutes?|hours?)", re.I)
_WORD = re.compile(r"[A-Za-z\u00b5\u03bc]+")
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " "}


class Layout(Strict):
    """How a measured file is read, where the file itself does not say it in words that are understood."""

    columns: dict[Quantity, str | int] = Field(default_factory=dict)
    """Quantity → name of the column as in the header, or its number counted from one."""
    units: dict[Quantity, str] = Field(default_factory=dict)
    """Quantity → its unit, where the header has none. It may also be the quantity for which the number 1 in the file
    stands: "0.1 mA" for a current that was recorded as a voltage over 10 kohm."""
    format: str | None = Field(None, max_length=100)
    """Name of an instrument's format, or ``text``. Without it, the format that recognises the file."""
    skip: int = Field(0, ge=0, le=1_000_000)
    """Number of lines at the beginning that are left out."""
    delimiter: Literal["comma", "semicolon", "tab", "space"] | None = None
    """Delimiter between columns. Without it, the first of tab, semicolon and comma that separates the numbers. Several
    spaces count as one."""
    decimal: Literal["point", "comma"] | None = None
    """Mark before the decimals. Without it, the one that the numbers show."""
    sheet: str | int | None = None
    """For a workbook: name of the sheet, or its number counted from one."""
    interval: str | None = Field(None, max_length=100)
    """Time from one row to the next, where no column has the time."""
    specimen: str | None = Field(None, max_length=100)
    """Name of the device that is read, where a file holds several."""
    cycle: int | None = Field(None, ge=1)
    """Number of the cycle that is read, counted from one, where a file holds several and only one is wanted."""
    ceiling: str | None = Field(None, max_length=100)
    """Largest current that the instrument could read or let pass, or ``none``. Without it, as the currents show it."""


class Known(NamedTuple):
    """A column whose meaning the file's format fixes."""

    place: int
    """From zero."""
    unit: str
    """Empty where the header or the row of units has it."""
    sign: int = 1


class Column(NamedTuple):
    """One column that is read."""

    place: int
    """From zero; -1 where it is counted from the rows."""
    label: str
    """As messages call it."""
    unit: str
    factor: float
    """One of the file's numbers in SI."""


class _Cell(NamedTuple):
    """One cell of a header."""

    text: str
    quantity: Quantity | None
    name: str
    """Without the unit."""
    unit: str
    """Empty where there is none."""
    sign: int = 1


def factor(quantity: Quantity, unit: str) -> float | None:
    """One of the unit in SI; None of what is no unit of this quantity."""
    if quantity == "cycle":
        return 1.0 if not unit else None
    unit = unit.translate(_OHM)
    small = quantity in ("time", "voltage", "current")
    if unit[:1] == "M" and (small or unit.isupper()) and factor(quantity, unit[1:]) is not None:
        return None  # MS, MV, MA: capitals throughout are no mega
    text = unit.lower() if len(unit) > 2 and (unit.istitle() or unit.isupper()) else unit  # Seconds, AMPS
    if len(text) > 3:
        text = text.removesuffix("s")
    if text == "hz":
        text = "Hz"
    if not _WORD.fullmatch(text):
        return None
    try:
        return Unit(UNITS[quantity]).parse(f"1 {text}")
    except PydanticCustomError:
        return None


def given_factor(quantity: Quantity, text: str) -> float | None:
    """What one of a file's numbers is in SI, from a unit or a number with one, as a configuration gives it; None of
    what is neither."""
    if (size := factor(quantity, text.strip())) is not None:
        return size
    try:
        number, unit = number_and_unit(text)
        size = factor(quantity, unit) if unit else None
    except ValueError:
        return None
    return None if size is None or not number else float(number) * size


def is_unit(text: str) -> bool:
    """Whether a cell holds a unit of any quantity, as a row of units has it."""
    bare = text.strip("()[] ")
    return bare in ("", "#", "-", "1") or any(factor(quantity, bare) is not None for quantity in UNITS)


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
    header: Sequence[str] | None,
    units: Sequence[str] | None,
    wanted: Sequence[Quantity],
    layout: Layout,
    width: int,
    known: Mapping[Quantity, Known] | None = None,
) -> dict[Quantity, Column]:
    """The wanted columns of a file ``width`` columns wide. ``units``: the cells of a row of units below the header;
    ``known``: what the file's format says of columns. Raises ``ValueError``."""
    known = known or {}
    cells = [_cell(text) for text in header or ()]
    if units is not None:
        if any(cell.unit for cell in cells) and not known:
            raise ValueError("units stand in the header and in the row below it; expected them once")
        cells = [cell._replace(unit=unit.strip("()[] ")) for cell, unit in zip(cells, units, strict=True)]
    found: dict[Quantity, Column] = {}
    if "time" in wanted and layout.interval is not None and "time" not in layout.columns:
        found["time"] = _counted(layout)
        wanted = [quantity for quantity in wanted if quantity != "time"]
    places = _places(cells, wanted, layout, width, header is not None, known)
    some = any(cell.unit for cell in cells)
    for quantity, at in places.items():
        of = known.get(quantity)
        of = of if of is not None and of.place == at else None
        label = f"column {at + 1}" + (f", {cells[at].text!r}," if cells else "")
        in_file, given = (of.unit if of else "") or (cells[at].unit if cells else ""), layout.units.get(quantity, "")
        expected = f"expected a unit of {quantity} like {UNITS[quantity]} or m{UNITS[quantity]}"
        size = given_factor(quantity, given) if given else factor(quantity, (in_file or UNITS[quantity]).strip())
        if size is None and given:
            raise ValueError(f"units.{quantity} is {given!r}; {expected}")
        if size is None:
            raise ValueError(f"{label} is in {in_file!r}; {expected}: {_remedy(quantity, 'units')}")
        if given and in_file and factor(quantity, in_file) not in (None, size, -size):
            raise ValueError(
                f"{label} is in {in_file!r}, and units.{quantity} is {given!r}; leave units.{quantity} out"
            )
        if some and not in_file and not given and UNITS[quantity]:
            raise ValueError(f"{label} has no unit, where others have one; {_remedy(quantity, 'units')}")
        sign = of.sign if of else cells[at].sign if cells else 1
        found[quantity] = Column(at, label, given or in_file or UNITS[quantity], sign * size)
    return found


def _counted(layout: Layout) -> Column:
    size = given_factor("time", layout.interval or "")
    if size is None or not size > 0:
        raise ValueError(f'interval is {layout.interval!r}; expected a time with its unit, like interval = "10 ms"')
    return Column(-1, f"the time, {layout.interval} a row,", str(layout.interval), size)


def _places(
    cells: Sequence[_Cell],
    wanted: Sequence[Quantity],
    layout: Layout,
    width: int,
    named: bool,
    known: Mapping[Quantity, Known],
) -> dict[Quantity, int]:
    """Quantity → place of its column."""
    places: dict[Quantity, int] = {}
    for quantity, name in layout.columns.items():
        if quantity not in wanted:
            continue
        if isinstance(name, int):
            fitting = [name - 1] if 1 <= name <= width else []
        else:
            text = " ".join(name.split())
            fitting = [i for i, cell in enumerate(cells) if cell.text == text]
            fitting = fitting or [i for i, cell in enumerate(cells) if cell.name == text]
        if len(fitting) != 1:
            trouble = "no such column" if not fitting else f"{len(fitting)} columns are called so; give a number"
            there = ", ".join(repr(cell.text) for cell in cells)[:300] or f"no header, numbers from 1 to {width}"
            raise ValueError(f"columns.{quantity} is {name!r}: {trouble}; the file has {there}")
        places[quantity] = fitting[0]
    if len(set(places.values())) < len(places):
        raise ValueError(f"columns = {layout.columns}: expected different columns")
    for quantity, of in known.items():
        if quantity in wanted and quantity not in places and of.place not in places.values():
            places[quantity] = of.place
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


def understood(header: Sequence[str]) -> dict[Quantity, Known]:
    """The columns of a header that a format vouches for: of each quantity the one with a known name and a unit."""
    cells = [_cell(text) for text in header]
    found: dict[Quantity, Known] = {}
    for quantity, unit in UNITS.items():
        fitting = [i for i, cell in enumerate(cells) if cell.quantity == quantity]
        if len(fitting) == 1 and factor(quantity, cells[fitting[0]].unit or unit) is not None:
            found[quantity] = Known(fitting[0], cells[fitting[0]].unit or unit, cells[fitting[0]].sign)
    return found


def cycle_column(header: Sequence[str] | None) -> int | None:
    """Place of the one column that counts cycles; None where there is none, or several."""
    fitting = [i for i, text in enumerate(header or ()) if _cell(text).quantity == "cycle"]
    return fitting[0] if len(fitting) == 1 else None


def _cell(text: str) -> _Cell:
    text = " ".join(text.split())
    if len(text) > _LONGEST:
        return _Cell(text[:_LONGEST] + "…", None, "", "")
    if text[:1] in ("-", "\u2212") and (positive := _cell(text[1:])).quantity is not None:
        return positive._replace(text=text, name=text[:1] + positive.name, sign=-positive.sign)
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
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def _remedy(quantity: Quantity, key: str = "columns") -> str:
    what = "with its unit" if key == "units" else "with the name or number of the column"
    if quantity == "time" and key == "columns":
        what += ', or interval = "…", the time from row to row, where no column has it'
    return f'add {key} = {{ {quantity} = "…" }} to the configuration, {what}'
