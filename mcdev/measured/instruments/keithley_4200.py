"""Keithley 4200 (KITE and Clarius): the data sheet as CSV, or as a workbook.

The header has the names of terminals with V or I behind them, ``AnodeI, AnodeV, Time``, in SI units. Where a second
source is stepped, or a test is repeated into one sheet, each step has columns of its own, ``AnodeI(1), AnodeV(1),
AnodeI(2), …``: each is a cycle.
"""

from __future__ import annotations

import re
from typing import Literal

from mcdev.measured.columns import Known, Layout, Quantity
from mcdev.measured.instruments.contract import Instrument
from mcdev.measured.sheet import NUMBER, Row, Sheet, cut, from_cells, lines_of

_TERMINAL = re.compile(r"((?:Anode|Cathode|A|K|Drain|Source|Gate|Bulk|Terminal[A-H]?|Top|Bottom)([VI]))(?:\((\d+)\))?")
_LETTERS: tuple[tuple[Quantity, str, str], ...] = (("voltage", "V", "V"), ("current", "I", "A"))
_TIME = re.compile(r"(Time)(?:\((\d+)\))?")


class Keithley4200(Instrument):
    """Columns of cycles side by side are put one below the other."""

    kind: Literal["keithley_4200"] = "keithley_4200"
    title = "Keithley 4200"

    def recognises(self, text: str) -> bool:
        cells = _header(text).cells
        letters = {match[2] for cell in cells if (match := _TERMINAL.fullmatch(cell))}
        return letters == {"V", "I"}

    def read(self, text: str, layout: Layout) -> Sheet:
        header = _header(text)
        delimiter = "\t" if "\t" in header.text else ","
        while header.cells and not header.cells[-1]:
            header.cells.pop()
        rows = [cut(at, line, delimiter) for at, line in lines_of(text) if at > header.number]
        # below the numbers settings may stand
        rows = [row for row in rows if any(NUMBER.fullmatch(cell) for cell in row.cells[:1]) or not row.cells[0]]
        blocks: dict[str, list[int]] = {}
        for place, cell in enumerate(header.cells):
            match = _TERMINAL.fullmatch(cell)
            step = match[3] if match else (m[2] if (m := _TIME.fullmatch(cell)) else None)
            blocks.setdefault(step or "", []).append(place)
        names = [re.sub(r"\(\d+\)$", "", cell) for cell in header.cells]
        steps = [places for step, places in blocks.items() if step] or [list(range(len(names)))]
        shared = blocks.get("", []) if "" not in blocks or len(blocks) > 1 else []
        first = [names[i] for i in (*shared, *steps[0])]
        stacked: list[Row] = []
        breaks: list[int] = []
        for places in steps:
            own = [*shared, *places]
            if [names[i] for i in own] != first:
                raise ValueError(f"{header}: the steps have unlike columns; export them one by one")
            if stacked:
                breaks.append(len(stacked))
            for row in rows:
                cells = [row.cells[i] if i < len(row.cells) else "" for i in own]
                if any(cells):
                    stacked.append(row._replace(cells=cells))
        known: dict[Quantity, Known] = {}
        for quantity, letter, unit in _LETTERS:
            found = [i for i, name in enumerate(first) if (m := _TERMINAL.fullmatch(name)) and m[2] == letter]
            if len(found) == 1:
                known[quantity] = Known(found[0], unit)
        if "Time" in first:
            known["time"] = Known(first.index("Time"), "s")
        return from_cells(header._replace(cells=first), stacked, known=known, breaks=tuple(breaks))


def _header(text: str) -> Row:
    """The first line that holds something; it is the sheet's header."""
    for at, line in lines_of(text):
        return cut(at, line, "\t" if "\t" in line else ",")
    return Row(1, "", [])
