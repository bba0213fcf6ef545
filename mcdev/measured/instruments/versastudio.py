"""VersaStudio (Princeton Applied Research, VersaSTAT): ``.par`` files.

Sections as in XML, ``<Segment1> … </Segment1>`` with a line ``Definition=`` that names the columns and rows between
commas. Of an impedance the columns are ``Frequency(Hz)``, ``Z Real`` and ``Z Imag``, else ``E(V)``, ``I(A)`` and
``Elapsed Time(s)``. Each segment is a cycle.
"""

from __future__ import annotations

import re
from typing import Literal

from mcdev.measured.columns import Known, Layout, Quantity
from mcdev.measured.instruments.contract import Instrument
from mcdev.measured.sheet import Row, Sheet, cut, from_cells, lines_of, number

_BEGIN = re.compile(r"<Segment\d+>")
_SPECTRUM: dict[Quantity, tuple[str, str]] = {
    "frequency": ("Frequency(Hz)", "Hz"),
    "resistance": ("Z Real", "ohm"),
    "reactance": ("Z Imag", "ohm"),
}
_IN_TIME: dict[Quantity, tuple[str, str]] = {
    "time": ("Elapsed Time(s)", "s"),
    "voltage": ("E(V)", "V"),
    "current": ("I(A)", "A"),
}


class VersaStudio(Instrument):
    """The segments' rows."""

    kind: Literal["versastudio"] = "versastudio"
    title = "VersaStudio"

    def recognises(self, text: str) -> bool:
        return text.startswith("<Application>") and "Name=VersaStudio" in text[:2000]

    def read(self, text: str, layout: Layout) -> Sheet:
        header: Row | None = None
        rows: list[Row] = []
        breaks: list[int] = []
        inside = False
        for at, line in lines_of(text):
            bare = line.strip()
            if _BEGIN.fullmatch(bare):
                inside = True
                if rows and len(rows) not in breaks:
                    breaks.append(len(rows))
            elif bare.startswith("</Segment"):
                inside = False
            elif inside and bare.startswith("Definition="):
                own = cut(at, line.split("=", 1)[1], ",")
                if header is not None and own.cells != header.cells:
                    raise ValueError(f"{own}: other columns than in line {header.number}; export the segments apart")
                header = header or own
            elif inside and header is not None and "=" not in bare:
                rows.append(cut(at, line, ","))
        if header is None or not rows:
            raise ValueError("no segment with a line Definition= and rows, as VersaStudio writes")
        while not header.cells[-1] or header.cells[-1] == "0":
            header.cells.pop()
        width = len(header.cells)
        rows = [row._replace(cells=row.cells[:width]) for row in rows]
        at_frequency = header.cells.index("Frequency(Hz)") if "Frequency(Hz)" in header.cells else -1
        spectrum = at_frequency >= 0 and any(
            number(cell) for row in rows for cell in row.cells[at_frequency : at_frequency + 1]
        )
        known = {
            quantity: Known(header.cells.index(name), unit)
            for quantity, (name, unit) in (_SPECTRUM if spectrum else _IN_TIME).items()
            if name in header.cells
        }
        return from_cells(header, rows, known=known, breaks=tuple(breaks))
