"""CH Instruments: text as "Convert to Text" writes it.

Date, technique, settings as ``Init E (V) = 0``, then a line of names with units, ``Freq/Hz, Z'/ohm, Z"/ohm, …`` or
``Time/sec, Current/A``, an empty line and rows between commas. Z" is negative of a capacitor.
"""

from __future__ import annotations

import re
from typing import Literal

from mcdev.measured.columns import Layout, understood
from mcdev.measured.instruments.contract import Instrument
from mcdev.measured.sheet import Row, Sheet, from_cells, lines_of

_NAMES = re.compile(r"(?:Freq/Hz|Time/sec|Potential/V),")


class Chi(Instrument):
    """The names say what the columns are."""

    kind: Literal["chi"] = "chi"
    title = "CH Instruments"

    def recognises(self, text: str) -> bool:
        return "Instrument Model:" in text[:2000] and any(_NAMES.match(line) for _, line in lines_of(text))

    def read(self, text: str, layout: Layout) -> Sheet:
        header: Row | None = None
        rows: list[Row] = []
        for at, line in lines_of(text):
            cells = [cell.strip() for cell in line.split(",")]  # Z" is no quotation
            if header is not None:
                rows.append(Row(at, line.strip(), cells))
            elif _NAMES.match(line):
                header = Row(at, line.strip(), [cell.replace("/sec", "/s") for cell in cells])
        if header is None:
            raise ValueError("no line of names like Freq/Hz, Z'/ohm, …, as CH Instruments writes")
        return from_cells(header, rows, known=understood(header.cells))
