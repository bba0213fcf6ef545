"""Tektronix oscilloscopes: CSV of the MDO, MSO and DPO, and of the TDS.

The newer ones write keys and values, then a header ``TIME,CH1,CH2`` and the rows. The TDS write one channel a file,
keys and values in the first columns and time and voltage in the fourth and fifth of the same lines.
"""

from __future__ import annotations

from typing import Literal

from mcdev.measured.columns import Known, Layout, Quantity, factor
from mcdev.measured.instruments.contract import Instrument
from mcdev.measured.sheet import NUMBER, Row, Sheet, cut, from_cells, lines_of

_KEYS = ("Record Length", "Sample Interval", "Vertical Units", "Horizontal Units")


class Tektronix(Instrument):
    """Time, and the channels in the units that the file gives for them."""

    kind: Literal["tektronix"] = "tektronix"
    title = "a Tektronix oscilloscope"

    def recognises(self, text: str) -> bool:
        starts = [line.split(",")[0].strip(' "\r\n') for _, line in lines_of(text)][:40]
        return sum(key in starts for key in _KEYS) >= 2

    def read(self, text: str, layout: Layout) -> Sheet:
        rows = [cut(at, line, ",") for at, line in lines_of(text)]
        keys: dict[str, list[str]] = {}
        for row in rows[:60]:
            keys.setdefault(row.cells[0], [cell for cell in row.cells[1:] if cell])
        head = next((i for i, row in enumerate(rows[:60]) if row.cells[0].upper() == "TIME"), None)
        vertical = keys.get("Vertical Units", [])
        if head is None:
            return _of_tds(rows, vertical)
        header = rows[head]
        while not header.cells[-1]:
            header.cells.pop()
        # of several channels the keys stand side by side: the values of this key, one a channel
        units = [cell for cell in vertical if cell != "Vertical Units"]
        return _sheet(header, rows[head + 1 :], units)


def _of_tds(rows: list[Row], vertical: list[str]) -> Sheet:
    found = [row for row in rows if len(row.cells) >= 5 and NUMBER.fullmatch(row.cells[3])]
    if not found:
        raise ValueError(
            "neither a header TIME,CH1,… nor times in the fourth column, as Tektronix writes; write a table of columns "
            'and format = "text"'
        )
    header = Row(found[0].number, "", ["TIME", "CH"])
    return _sheet(header, [row._replace(cells=row.cells[3:5]) for row in found], vertical[:1])


def _sheet(header: Row, rows: list[Row], units: list[str]) -> Sheet:
    known: dict[Quantity, Known] = {"time": Known(0, "s")}
    given = dict(enumerate(units or ["V"] * (len(header.cells) - 1), start=1))
    channels: dict[Quantity, list[int]] = {"voltage": [], "current": []}
    for place, unit in given.items():
        for quantity, places in channels.items():
            if place < len(header.cells) and factor(quantity, unit) is not None:
                places.append(place)
    for quantity, places in channels.items():
        if len(places) == 1:
            known[quantity] = Known(places[0], given[places[0]])
    names = Row(header.number, "", ["s", *(given.get(i, "V") for i in range(1, len(header.cells)))])
    return from_cells(header, rows, known, names)
