"""Keysight EasyEXPERT (B1500A, B2900A through it), also the WGFMU's tests in it: CSV as it is exported.

Lines begin with what they hold: ``SetupTitle``, ``TestParameter``, …, then ``DataName, V1, I1, Time`` and a line
``DataValue, …`` for each row. Tests that were appended stand one below the other: each is a cycle. Values are in SI
units; which channel measures what, ``TestParameter, Channel.VName, …`` tells.
"""

from __future__ import annotations

from typing import Literal

from mcdev.measured.columns import Known, Layout, Quantity
from mcdev.measured.instruments.contract import Instrument
from mcdev.measured.sheet import Row, Sheet, cut, from_cells, lines_of

_TIMES = ("time", "timestamp", "t")
_UNITS: dict[Quantity, str] = {"voltage": "V", "current": "A"}


class EasyExpert(Instrument):
    """Header and rows from the lines that say so."""

    kind: Literal["easyexpert"] = "easyexpert"
    title = "Keysight EasyEXPERT (B1500A, WGFMU)"

    def recognises(self, text: str) -> bool:
        starts = [line.split(",")[0].strip() for _, line in lines_of(text)]
        return "DataName" in starts and ("DataValue" in starts or "SetupTitle" in starts)

    def read(self, text: str, layout: Layout) -> Sheet:
        header: Row | None = None
        rows: list[Row] = []
        breaks: list[int] = []
        named: dict[Quantity, list[str]] = {"voltage": [], "current": []}
        for at, line in lines_of(text):
            word, *cells = cut(at, line, ",").cells
            row = Row(at, line.strip(), cells)
            if word == "TestParameter" and cells[:1] in (["Channel.VName"], ["Channel.IName"]):
                named["voltage" if cells[0].endswith("VName") else "current"] += cells[1:]
            elif word == "DataName":
                if header is not None and header.cells != cells:
                    raise ValueError(f"{row}: other columns than in line {header.number}; export the tests one by one")
                header = header or row
                if rows:
                    breaks.append(len(rows))
            elif word == "DataValue":
                if header is None:
                    raise ValueError(f"{row}: no line DataName above it")
                rows.append(row)
        if header is None:
            raise ValueError("no line DataName; export the test's data as CSV")
        known: dict[Quantity, Known] = {}
        names = header.cells
        for quantity, channels in named.items():
            found = [i for i, name in enumerate(names) if name in channels]
            if len(found) == 1:
                known[quantity] = Known(found[0], _UNITS[quantity])
        times = [i for i, name in enumerate(names) if name.lower() in _TIMES]
        if len(times) == 1:
            known["time"] = Known(times[0], "s")
        return from_cells(header, rows, known=known, breaks=tuple(breaks))
