"""Text that came with a file: shown as it is written, obeyed neither by a terminal nor by a spreadsheet."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable
from json import dumps
from typing import Any, TextIO

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?: [\w/^·°%]+)?|[+-]?(?:inf|nan)")
_LONGEST = 2000


def visible(text: str, json: bool = False) -> str:
    """The text with what would steer a terminal or is not seen (control characters, marks of direction, halves of
    surrogate pairs) written out, ``\\x1b`` for an escape; in a JSON text as JSON writes it. Tabs and new lines stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\t\n" else _written(c, json) for c in text)


def _written(letter: str, json: bool) -> str:
    return (dumps(letter) if json else ascii(letter))[1:-1]


def one_line(text: str, most: int = _LONGEST) -> str:
    """The same in one line of at most ``most`` characters, tabs and new lines written out too."""
    short = text if len(text) <= most else text[: most - 1] + "…"
    return visible(short).replace("\t", r"\t").replace("\n", r"\n")


class CsvWriter:
    """Rows of a CSV file. Numbers are numbers; text is text even where a spreadsheet would take it for a formula: then
    it begins with an apostrophe (OWASP, "CSV injection"), as one would write it in the spreadsheet."""

    def __init__(self, file: TextIO):
        self._writer = csv.writer(file, lineterminator="\n")

    def row(self, cells: Iterable[Any]) -> None:
        """One row; None is an empty cell."""
        self._writer.writerow([_cell(cell) for cell in cells])


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    text = visible(value)
    first = unicodedata.normalize("NFKC", text.lstrip(" \n")[:1])  # the wide = of East Asian keyboards is one, too
    return f"'{text}" if first in ("=", "+", "-", "@", "\t") and first and not _NUMBER.fullmatch(text) else text
