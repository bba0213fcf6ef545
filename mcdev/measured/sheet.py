"""A sheet: the header, the units and the rows of a measured file as cells of text, and how a plain text becomes one.

An instrument's format is a reading of its own from text to a sheet (`instruments/`); what the cells mean is worked out
for all formats alike (`columns.py`).
"""

from __future__ import annotations

import collections
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mcdev.measured.columns import DELIMITERS, Known, Layout, Quantity, is_header, is_unit

_LONGEST_LINE = 100_000
_EXPONENT = "(?:[eEdD][+-]?\\d+)?"
NUMBER = re.compile(rf"[+-]?(?:\d+\.?\d*|\.\d+){_EXPONENT}", re.ASCII)
_WITH_COMMA = re.compile(rf"[+-]?\d*,\d+{_EXPONENT}", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_NO_NUMBER = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"')
_NUMERIC = re.compile(r"[\s\"]*[+-]?[\d.]")


class Row(NamedTuple):
    """One line."""

    number: int
    """In the file, from one."""
    text: str
    cells: list[str]

    def __str__(self) -> str:
        return f"line {self.number} is {self.text[:60]!r}"


class Sheet(NamedTuple):
    """A file as cells."""

    header: Row | None
    units: Row | None
    """The row of units below the header, one a column."""
    rows: list[Row]
    comments: tuple[str, ...] = ()
    """Lines of words besides, which may speak of units."""
    known: Mapping[Quantity, Known] = {}
    """Columns whose meaning the format fixes."""
    breaks: tuple[int, ...] = ()
    """Rows at which another cycle begins, as the format tells; but for the first."""
    devices: tuple[str, ...] = ()
    """Device of each row, where the format tells."""
    said: tuple[str, ...] = ()
    """What should be known of how it was read."""

    @property
    def width(self) -> int:
        """Number of its columns."""
        return len(self.header.cells) if self.header else len(self.rows[0].cells) if self.rows else 0

    @property
    def names(self) -> list[str] | None:
        """The header's cells."""
        return self.header.cells if self.header else None


def number(cell: str) -> float | None:
    """A cell's number; infinity of a word for no number, None of anything else."""
    if NUMBER.fullmatch(cell):
        return float(cell.replace("D", "E").replace("d", "e"))
    return float("inf") if _NO_NUMBER.fullmatch(cell) else None


def from_text(text: str, layout: Layout) -> Sheet:
    """The sheet of a plain text. Raises ``ValueError``."""
    comments: list[Row] = []
    rows = list(_rows(text, layout, comments))
    if not rows:
        return Sheet(None, None, [])
    rows, said = _with_points(rows, layout)
    header, units, rows, before = _head(rows, comments)
    if header is None:  # a delimiter at the end of every line
        width = max((i + 1 for row in rows for i, cell in enumerate(row.cells) if cell), default=1)
        rows = [row._replace(cells=row.cells[: max(width, 1)]) for row in rows]
    lines = (line for line in io.StringIO(text, newline=None) if line.lstrip().startswith("#"))
    words = tuple(line.strip()[:_LONGEST_LINE] for line in lines) + tuple(row.text for row in before)
    if before:
        first, last = before[0].number, before[-1].number
        where = f"line {first} is" if len(before) == 1 else f"lines {first} to {last} are"
        said = (*said, f"{where} words above the header, passed over")
    if layout.skip:
        said = (*said, f"the first {layout.skip} lines are passed over, as asked")
    return Sheet(header, units, rows, words, said=said)


def from_cells(
    header: Row,
    rows: Sequence[Row],
    known: Mapping[Quantity, Known],
    units: Row | None = None,
    breaks: Sequence[int] = (),
    devices: Sequence[str] = (),
    said: Sequence[str] = (),
) -> Sheet:
    """The sheet of a table whose columns its format knows. Raises ``ValueError`` for a header that is cut off and for a
    row of another width."""
    while len(header.cells) > 1 and not header.cells[-1]:
        header.cells.pop()
    width = len(header.cells)
    if any(of.place >= width for of in known.values()):
        raise ValueError(f"{header}: {width} columns; expected more, as this format has: the file is cut off")
    for row in rows:
        if len(row.cells) < width or any(row.cells[width:]):
            raise ValueError(f"{row}: {len(row.cells)} columns; expected {width}, as in the header")
    return Sheet(header, units, list(rows), (), known, tuple(breaks), tuple(devices), tuple(said))


def cut(at: int, line: str, delimiter: str) -> Row:
    """One line of a text as a row. Raises ``ValueError``."""
    return Row(at, line.strip(" \r\n"), _cells(at, line, delimiter))


def cut_all(text: str, delimiter: str, least: int) -> list[Row]:
    """All lines that hold something. Raises ``ValueError`` where they are fewer than ``least``."""
    rows = [cut(at, line, delimiter) for at, line in lines_of(text)]
    if len(rows) < least:
        raise ValueError(f"{len(rows)} lines; expected more, as this format has: the file is cut off")
    return rows


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """The lines that hold something, each with its number from one."""
    for at, line in enumerate(io.StringIO(text, newline=None), start=1):
        if line.strip(" \n\t;,"):
            yield at, line


def _rows(text: str, layout: Layout, comments: list[Row]) -> Iterator[Row]:
    """The lines that hold something, cut into cells; the comments above the first of them go to ``comments``."""
    above: collections.deque[tuple[int, str]] = collections.deque(maxlen=100)
    delimiter = DELIMITERS[layout.delimiter] if layout.delimiter else ""
    started = False
    for at, line in lines_of(text):
        if at <= layout.skip:
            continue
        if line.lstrip().startswith("#"):
            above.append((at, line.strip("# \n")))
            continue
        if not started:
            started = True
            delimiter = delimiter or _delimiter(text, layout.skip)
            comments += [Row(n, comment, comment.split(delimiter)) for n, comment in above]
        yield cut(at, line, delimiter)


def _delimiter(text: str, skip: int) -> str:
    """The first of tab, semicolon and comma that stands in the first line that begins like a number, outside quotes; if
    none does, in the first line."""
    first = ""
    for at, line in lines_of(text):
        if at <= skip or line.lstrip().startswith("#"):
            continue
        first = first or line
        if _NUMERIC.match(line):
            found = _between(line)
            if found:
                return found
    return _between(first) or ","


def _between(line: str) -> str:
    bare = _QUOTED.sub("", line)
    return next((d for d in "\t;," if d in bare), "")


def _cells(at: int, line: str, delimiter: str) -> list[str]:
    if len(line) > _LONGEST_LINE:
        raise ValueError(f"line {at} has {len(line)} characters; expected at most {_LONGEST_LINE}")
    if delimiter == " ":
        return line.split()
    try:
        (row,) = csv.reader([line.rstrip("\n")], delimiter=delimiter, skipinitialspace=True, strict=True)
    except csv.Error as error:
        raise ValueError(f"line {at} cannot be read: {error}") from None
    return [cell.strip() for cell in row]


def _with_points(rows: list[Row], layout: Layout) -> tuple[list[Row], tuple[str, ...]]:
    """The rows with decimal points, where they are written with commas. Raises ``ValueError`` where it is not clear
    what a comma stands for."""
    if layout.decimal == "point":
        return rows, ()
    commas = [(row, cell) for row in rows for cell in row.cells if "," in cell and _WITH_COMMA.fullmatch(cell)]
    if not commas:
        return rows, ()
    row, cell = commas[0]
    if layout.decimal is None:
        if any("." in other and NUMBER.fullmatch(other) for each in rows for other in each.cells):
            raise ValueError(
                f"{row}: {cell[:60]!r} has a comma, and other numbers have a decimal point; say which it is by "
                'decimal = "point" or decimal = "comma"'
            )
        if all(_THOUSANDS.fullmatch(text) for _, text in commas):
            raise ValueError(
                f'{row}: {cell[:60]!r} may be a decimal comma or part thousands; say so by decimal = "comma", or '
                "write the file without commas"
            )
    points = [
        each._replace(cells=[c.replace(",", ".") if "," in c and _WITH_COMMA.fullmatch(c) else c for c in each.cells])
        for each in rows
    ]
    return points, ("numbers have a decimal comma",)


def _head(rows: list[Row], comments: list[Row]) -> tuple[Row | None, Row | None, list[Row], list[Row]]:
    """The header, the row of units below it, the rows of numbers, and lines of words above. The words just above the
    first number are the header; where there are none, it is the last comment that names a quantity and has as many
    cells."""
    count = next((i for i, row in enumerate(rows) if _has_number(row)), len(rows))
    words, rows = rows[:count], rows[count:]
    if not words:
        named = (row for row in reversed(comments) if len(row.cells) == len(rows[0].cells) and is_header(row.cells))
        return next(named, None), None, rows, []
    for row in words:
        while len(row.cells) > 1 and not row.cells[-1]:  # a delimiter at the end of every line
            row.cells.pop()
    width = len(words[-1].cells)
    if len(words) > 1 and rows:
        wide = len(rows[0].cells) - next((i for i, c in enumerate(reversed(rows[0].cells)) if c), 0)
        above = len(words[-2].cells)
        if above > 1 and above >= wide and width < above:
            raise ValueError(f"{words[-1]}: neither numbers nor a unit for each of the {above} columns above")
        if above == width and all(is_unit(cell) for cell in words[-1].cells):
            return words[-2], words[-1], rows, words[:-2]
    if len(words) > 1 and not rows:
        return words[0], None, [], []
    return words[-1], None, rows, words[:-1]


def _has_number(row: Row) -> bool:
    return any(NUMBER.fullmatch(cell) for cell in row.cells)
