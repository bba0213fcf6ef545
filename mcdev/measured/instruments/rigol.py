"""Rigol oscilloscopes: CSV.

Newer ones count the rows and give beginning and interval in the header, ``X,CH1,CH2,Start,Increment`` over
``Sequence,Volt,Volt,-6e-02,2e-05``; older ones write the times, ``Time,X(CH1),X(CH2)`` over ``Second,Volt,Volt``.
"""

from __future__ import annotations

from typing import Literal

from mcdev.measured.columns import Known, Layout, Quantity
from mcdev.measured.instruments.contract import Instrument
from mcdev.measured.sheet import NUMBER, Row, Sheet, cut, cut_all, from_cells, lines_of, number


class Rigol(Instrument):
    """Time, and the channels in volts."""

    kind: Literal["rigol"] = "rigol"
    title = "a Rigol oscilloscope"

    def recognises(self, text: str) -> bool:
        first = next((cut(at, line, ",").cells for at, line in lines_of(text)), [])
        counted = first[:1] == ["X"] and "Start" in first and "Increment" in first
        return counted or (first[:1] == ["Time"] and len(first) > 1 and first[1].startswith("X("))

    def read(self, text: str, layout: Layout) -> Sheet:
        header, units, *rows = cut_all(text, ",", 3)
        while not header.cells[-1]:
            header.cells.pop()
        if header.cells[0] == "X":
            first = header.cells.index("Start")
            start, step = (number(cell) for cell in units.cells[first : first + 2])
            if start is None or step is None or not step > 0:
                raise ValueError(f"{units}: no beginning and interval below Start and Increment; save the file anew")
            count = len(header.cells) - 2
            made = []
            for row in rows:
                if not NUMBER.fullmatch(row.cells[0]):
                    raise ValueError(f"{row}: expected the number of the row in the first column")
                cells = [repr(start + float(row.cells[0]) * step), *row.cells[1:count]]
                made.append(row._replace(cells=cells))
            return _sheet(header._replace(cells=["Time", *header.cells[1:count]]), units.cells[1:count], made, units)
        width = len(header.cells)
        return _sheet(header, units.cells[1:width], rows, units)


def _sheet(header: Row, units: list[str], rows: list[Row], below: Row) -> Sheet:
    known: dict[Quantity, Known] = {"time": Known(0, "s")}
    names = ["Volt" if unit.lower().startswith("volt") else unit for unit in units]
    if len(names) == 1 and names[0] == "Volt":
        known["voltage"] = Known(1, "V")
    return from_cells(header, rows, known, below._replace(cells=["s", *names]))
