"""A table of numbers from a text file: commas, semicolons or tabs; comments behind #; a header."""

from __future__ import annotations

import codecs
import collections
import csv
import io
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mcdev.measured.columns import (
    Column,
    Layout,
    Quantity,
    has_units,
    is_header,
    resolve,
    unit_of_words,
    units_apart,
)

SENTINEL = 9.9e37
"""Instruments write this for infinity, and 9.91e37 for "not a number" (SCPI-99, vol. 1, 7.2.1.4 and 7.2.1.5)."""

_LARGEST_FILE = 16 * 2**20
_LONGEST_LINE = 100_000
_DELIMITERS = "\t;,"
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?", re.ASCII)
_NO_NUMBER = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"')


class _Row(NamedTuple):
    number: int
    """Of the line, from one."""
    text: str
    cells: list[str]

    def __str__(self) -> str:
        return f"line {self.number} is {self.text[:60]!r}"


class Table(NamedTuple):
    """The columns of a measured file, row by row."""

    lines: np.ndarray
    """Number of each row's line in the file, from one."""
    values: dict[Quantity, np.ndarray]
    """In SI units; NaN in a current where nothing was read."""
    unread: int
    """Currents that are an instrument's "not a number" or infinity."""


def read_table(path: Path, wanted: Sequence[Quantity], layout: Layout, least: int, most: int) -> Table:
    """The wanted columns of a file of ``least`` to ``most`` rows; where there is no header, of one that has just these
    columns in this order, in s, V and A. Time never goes back, and at most two rows are of one time.

    Raises ``ValueError`` naming the line, the column, what was expected and the remedy.
    """
    for quantity in (*layout.columns, *layout.units):
        if quantity not in wanted:
            raise ValueError(f"columns and units are given of {quantity}; only {' and '.join(wanted)} are read from it")
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError("is larger than 16 MiB; thin it out")
        data = path.read_bytes()
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or data[:1000].count(0) > 100:
            raise ValueError(
                "is a text in UTF-16, or no text: it holds bytes of zero; save it in UTF-8 (in a spreadsheet as "
                '"CSV UTF-8", in an editor by "save with encoding")'
            )
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"is not a text file in UTF-8 (byte {error.start + 1}); save it as such") from None
    comments: list[_Row] = []
    rows = list(itertools.islice(_rows(text, comments), most + 3))  # a header, its units, and one too many
    if not rows:
        raise ValueError(f"0 rows found; expected at least {least} of {', '.join(wanted)}")
    header, units, rows = _head(rows, comments)
    if header and rows and 2 * len(rows[0].cells) == len(header.cells) and units_apart(header.cells):
        name, unit = header.cells[:2]
        raise ValueError(
            f"{header}: {len(header.cells)} columns above {len(rows[0].cells)}, every other one a unit: the comma "
            f'before a unit parts columns; write it like {name} ({unit}), or like "{name}, {unit}" in quotes'
        )
    width = len(header.cells) if header else len(rows[0].cells)
    if width == 1:
        raise ValueError(f"{header or rows[0]}: one column; expected commas, semicolons or tabs between the columns")
    try:
        columns = resolve(header and header.cells, units and units.cells, wanted, layout, width)
    except ValueError as error:
        raise ValueError(f"line {(header or rows[0]).number}: {error}") from None
    if not layout.units and units is None and not (header and has_units(header.cells)):
        _check_comments(text, wanted)
    if len(rows) < least:
        raise ValueError(f"{len(rows)} rows found; expected at least {least} of {', '.join(wanted)}")
    if len(rows) > most:
        raise ValueError(f"more than {most} rows; average neighbouring rows, or leave some out")
    values: dict[Quantity, np.ndarray] = {q: np.empty(len(rows)) for q in wanted}
    unread = 0
    for i, row in enumerate(rows):
        if len(row.cells) < width or any(row.cells[width:]) or (header is None and len(row.cells) > width):
            twice = " (numbers with a decimal comma? expected a decimal point)" * (len(row.cells) == 2 * width)
            raise ValueError(f"{row}: {len(row.cells)} columns; expected {width}, as in the first row{twice}")
        for quantity, column in columns.items():
            number = _number(row, quantity, column)
            unread += math.isinf(number)
            values[quantity][i] = number * column.factor
        if i:
            _check_time(rows[max(0, i - 2) : i + 1], values["time"][max(0, i - 2) : i + 1], columns["time"])
    if not values["time"][-1] > values["time"][0]:
        raise ValueError("all rows are at one time; expected times that increase")
    for column_values in values.values():
        column_values[~np.isfinite(column_values)] = math.nan
    return Table(np.array([row.number for row in rows]), values, unread)


def _rows(text: str, comments: list[_Row]) -> Iterator[_Row]:
    """The lines that hold something, cut into cells; the comments above the first of them go to ``comments``."""
    above: collections.deque[tuple[int, str]] = collections.deque(maxlen=100)
    delimiter = ""
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if not line.strip(" \n" + _DELIMITERS):
            continue
        if line.lstrip().startswith("#"):
            above.append((number, line.strip("# \n")))
            continue
        if not delimiter:
            delimiter = _delimiter(line)
            comments += [_Row(at, comment, comment.split(delimiter)) for at, comment in above]
        yield _Row(number, line.strip(" \n"), _cells(number, line, delimiter))


def _delimiter(line: str) -> str:
    """The first of tab, semicolon and comma that stands in the first row, outside quotes."""
    bare = _QUOTED.sub("", line)
    return next((d for d in _DELIMITERS if d in bare), ",")


def _cells(number: int, line: str, delimiter: str) -> list[str]:
    if len(line) > _LONGEST_LINE:
        raise ValueError(f"line {number} has {len(line)} characters; expected at most {_LONGEST_LINE}")
    try:
        (row,) = csv.reader([line.rstrip("\n")], delimiter=delimiter, skipinitialspace=True, strict=True)
    except csv.Error as error:
        raise ValueError(f"line {number} cannot be read: {error}") from None
    return [cell.strip() for cell in row]


def _head(rows: list[_Row], comments: list[_Row]) -> tuple[_Row | None, _Row | None, list[_Row]]:
    """The header, the row of units below it, and the rows of numbers. A first row without any number is the header;
    else it is the last comment above that names a quantity and has as many cells."""
    header, units = None, None
    if not _has_number(rows[0]):
        header, *rows = rows
        while len(header.cells) > 1 and not header.cells[-1]:  # a delimiter at the end of every line
            header.cells.pop()
        width = len(header.cells)
        if rows and not _has_number(rows[0]):
            units, *rows = rows
            if len(units.cells) < width or any(units.cells[width:]):
                raise ValueError(f"{units}: neither numbers nor a unit for each of the {width} columns above")
            units = units._replace(cells=units.cells[:width])
    else:
        named = (row for row in reversed(comments) if len(row.cells) == len(rows[0].cells) and is_header(row.cells))
        header = next(named, None)
    return header, units, rows


def _has_number(row: _Row) -> bool:
    """Whether any cell is a number. Raises ``ValueError`` where all that are would be numbers with a decimal comma."""
    if any(_NUMBER.fullmatch(cell) for cell in row.cells):
        return True
    for cell in row.cells:
        if _DECIMAL_COMMA.fullmatch(cell):
            raise ValueError(
                f"{row}: {cell[:60]!r} has a decimal comma; expected a decimal point: save the file so, or replace the "
                "commas by points"
            )
    return False


def _check_comments(text: str, wanted: Sequence[Quantity]) -> None:
    """Columns without a unit are in s, V and A, unless a comment anywhere speaks of others."""
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if line.lstrip().startswith("#") and (unit := unit_of_words(line[:_LONGEST_LINE], wanted)):
            raise ValueError(
                f"line {number}: the comment names the unit {unit!r}, and the columns have none; say which they are in "
                'by units = { time = "ms", voltage = "V" }, or in a header like time (ms),voltage (V)'
            )


def _number(row: _Row, quantity: Quantity, column: Column) -> float:
    """NaN of an empty current, infinity of one that an instrument could not read."""
    cell = row.cells[column.place]
    number = float(cell) if _NUMBER.fullmatch(cell) else math.inf if _NO_NUMBER.fullmatch(cell) else math.nan
    if abs(number) < SENTINEL:
        return number
    where = f"{row}: {column.label} is {cell[:60]!r}"
    if math.isnan(number) and not (quantity == "current" and not cell):
        empty = " (empty where nothing was recorded)" if quantity == "current" else ""
        raise ValueError(f"{where}; expected a number with a decimal point{empty}: {quantity} in {column.unit}")
    if quantity != "current":
        raise ValueError(
            f"{where}, which stands for no number; expected {quantity} in {column.unit}: cut the row or interpolate it"
        )
    return number if math.isnan(number) else math.inf


def _check_time(rows: Sequence[_Row], times: np.ndarray, column: Column) -> None:
    """The last of up to three rows follows the others: two rows of one time are a step of the voltage."""
    now, before = (f"{row.cells[column.place]} {column.unit}" for row in (rows[-1], rows[-2]))
    line = f"line {rows[-1].number}"
    if times[-1] < times[-2]:
        raise ValueError(f"{line}: time {now} does not follow {before}; sort the rows")
    if len(times) > 2 and times[-1] == times[-3]:
        raise ValueError(
            f"{line}: a third row at time {now}; expected two at most, a step of the voltage: write more digits"
        )
