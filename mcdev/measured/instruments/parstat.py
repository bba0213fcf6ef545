"""Parstat (Princeton Applied Research): impedance as text.

``Potential (V), Current (A), Elapsed Time (s), Frequency (Hz), Zre (ohms), Zim (ohms), …`` between tabs; rows with the
frequency zero are of the rest before and hold no impedance.
"""

from __future__ import annotations

from typing import Literal

from mcdev.measured.columns import Layout, understood
from mcdev.measured.instruments.contract import Instrument
from mcdev.measured.sheet import Sheet, cut, cut_all, from_cells, lines_of, number

_NAMES = ("Frequency (Hz)", "Zre (ohms)", "Zim (ohms)")


class Parstat(Instrument):
    """The rows with a frequency."""

    kind: Literal["parstat"] = "parstat"
    title = "Parstat"

    def recognises(self, text: str) -> bool:
        first = next((cut(at, line, "\t").cells for at, line in lines_of(text)), [])
        return "Elapsed Time (s)" in first and all(name in first for name in _NAMES)

    def read(self, text: str, layout: Layout) -> Sheet:
        header, *rows = cut_all(text, "\t", 2)
        while not header.cells[-1]:
            header.cells.pop()
        at = header.cells.index(_NAMES[0])
        kept = [row for row in rows if len(row.cells) <= at or number(row.cells[at]) != 0.0]
        said = (f"{len(rows) - len(kept)} rows without a frequency are left out",) if len(kept) < len(rows) else ()
        return from_cells(header, kept, known=understood(header.cells), said=said)
