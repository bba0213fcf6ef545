"""Measured values as a distribution: ``{ distribution = "samples", file = "devices.csv", column = "V_th" }``.

The file is a table with a header, ``V_th (mV)``, and one value a row; it is read when the configuration is loaded, and
the configuration then holds the values themselves. Results need no other file, and the hash is that of the numbers.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from mcdev.configuration.problems import Problem, beside, key_path
from mcdev.files import structure
from mcdev.schema import MOST_SAMPLES, SAMPLE_KEYS, is_unit, nearest, number_and_unit
from mcdev.schema.laws import Samples

_DELIMITERS = "\t;,"
_HEADING = re.compile(r"(.*?)\s*(?:\((.*)\)|\[(.*)\]|/\s*([^/]*))\s*")
"""A name and a unit, in brackets or behind a slash."""


def read_samples(data: Any, folder: Path, above: tuple[str, ...] = ()) -> list[Problem]:
    """Put the values of every file of samples that tables in ``folder`` name into them; returns what is wrong."""
    found = []
    for path, table in _named(data, above):
        name = table["file"]
        try:
            if unknown := [key for key in table if key not in SAMPLE_KEYS]:
                raise ValueError(f"samples have no '{unknown[0]}'; {nearest(unknown[0], SAMPLE_KEYS)}")
            if "values" in table:
                raise ValueError("and values are both given; expected one of them")
            if not isinstance(name, str):
                raise ValueError("expected the name of a file")
            values, unit = _read(beside(folder, name), table.get("column"))
            if unit and table.get("unit", unit) != unit:
                raise ValueError(f"is in {unit!r} as its header says, and unit is {table['unit']!r}; leave unit out")
        except ValueError as error:
            found.append(Problem(key_path(*path, "file"), name, str(error)))
            values, unit = [0.0, 0.0], ""
        given = table.get("unit")
        for key in ("file", "column"):
            table.pop(key, None)
        table["values"] = values
        if given or unit:
            table["unit"] = given or unit
    return found


def names_samples(data: Any) -> bool:
    """Whether tables name a file of samples, whose values they do not hold."""
    return next(_named(data, ()), None) is not None


def _named(data: Any, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The tables that name a file of samples, each with where it stands."""
    if isinstance(data, dict):
        if data.get("distribution") == Samples.distribution and "file" in data:
            yield above, data
        else:
            for key, value in data.items():
                yield from _named(value, (*above, str(key)))
    elif isinstance(data, (list, tuple)) and any(isinstance(each, dict) for each in data):
        for number, value in enumerate(data):
            yield from _named(value, (*above, str(number)))


def _read(path: Path, column: Any) -> tuple[list[float], str]:
    """The values of one column, and its unit as the header has it. Raises ``ValueError``."""
    try:
        lines = [line for line in structure.read_text(path).removeprefix("\ufeff").splitlines() if line.strip()]
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    lines = [line for line in lines if not line.lstrip().startswith("#")]
    if not lines:
        raise ValueError("is empty; expected a header like V_th (mV), and one value a row")
    delimiter = next((d for d in _DELIMITERS if d in lines[0]), ",")
    header, *rows = ([" ".join(cell.split()) for cell in row] for row in csv.reader(lines, delimiter=delimiter))
    place = _place(header, column)
    if _number(header[place]) is not None:
        raise ValueError(f"begins with {header[place]}; expected a header like V_th (mV) over the values")
    if len(rows) > MOST_SAMPLES:
        raise ValueError(f"has {len(rows)} values; expected at most {MOST_SAMPLES}")
    values = []
    for number, row in enumerate(rows, start=1):
        cell = row[place] if place < len(row) else ""
        value = _number(cell)
        if value is None:
            expected = "expected a number: take the row out"
            raise ValueError(f"value {number} of {header[place]!r} is {cell[:40]!r}; {expected}")
        values.append(value)
    return values, _parts(header[place])[1]


def _place(headings: list[str], column: Any) -> int:
    """Which column is meant."""
    if column is None:
        if len(headings) == 1:
            return 0
        _no_column(headings, f"has {len(headings)} columns; say which by column = …")
    if isinstance(column, int):
        if 1 <= column <= len(headings):
            return column - 1
        _no_column(headings, f"has no column {column}")
    text = " ".join(str(column).split())
    fitting = [i for i, heading in enumerate(headings) if heading == text]
    fitting = fitting or [i for i, heading in enumerate(headings) if _parts(heading)[0] == text]
    if len(fitting) != 1:
        _no_column(headings, f"has {len(fitting) or 'no'} column{'s' if len(fitting) > 1 else ''} {text!r}")
    return fitting[0]


def _no_column(headings: list[str], why: str) -> NoReturn:
    raise ValueError(f"{why}; it has {', '.join(map(repr, headings[:20]))[:300]}")


def _parts(heading: str) -> tuple[str, str]:
    """Name and unit; no unit where what stands in brackets is none."""
    match = _HEADING.fullmatch(heading)
    unit = next((part for part in match.groups()[1:] if part is not None), "").strip() if match else ""
    return (match[1], unit) if match and (unit == "%" or is_unit(unit)) else (heading, "")


def _number(cell: str) -> float | None:
    try:
        number, unit = number_and_unit(cell)
    except ValueError:
        return None
    return None if unit else number
