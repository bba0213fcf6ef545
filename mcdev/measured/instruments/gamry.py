"""Gamry: the DTA files of impedance and of currents in time.

Explained keys, then tables that begin with a name and the word ``TABLE``, ``ZCURVE`` of an impedance and ``CURVE`` of
currents, two lines of names and units, and rows that begin with a tab. Some computers write decimal commas.
"""

from __future__ import annotations

import re
from typing import Literal

from mcdev.measured.columns import Known, Layout, Quantity
from mcdev.measured.instruments.contract import Instrument
from mcdev.measured.sheet import Row, Sheet, from_cells

_TABLE = re.compile(r"(ZCURVE|CURVE\d*)\tTABLE")
_OF_IMPEDANCE: dict[str, Quantity] = {"Freq": "frequency", "Zreal": "resistance", "Zimag": "reactance"}
_IN_TIME: dict[str, Quantity] = {"T": "time", "Vf": "voltage", "Im": "current"}


class Gamry(Instrument):
    """The table ZCURVE, else the tables CURVE, each of which is a cycle."""

    kind: Literal["gamry"] = "gamry"
    title = "Gamry (DTA)"

    def recognises(self, text: str) -> bool:
        return text.startswith("EXPLAIN") and _TABLE.search(text) is not None

    def read(self, text: str, layout: Layout) -> Sheet:
        tables: dict[str, list[Row]] = {}
        own: list[Row] | None = None
        for at, line in enumerate(text.splitlines(), start=1):
            if match := _TABLE.match(line):
                own = tables.setdefault(match[1], [])
            elif line.startswith("\t") and own is not None:
                own.append(Row(at, line.strip(), [cell.strip() for cell in line[1:].rstrip("\t").split("\t")]))
            elif line.strip():
                own = None
        spectrum = {name: rows for name, rows in tables.items() if name == "ZCURVE"}
        chosen = spectrum or tables
        if not any(len(rows) > 2 for rows in chosen.values()):
            raise ValueError("no table ZCURVE or CURVE with rows, as Gamry writes")
        header, units = next(iter(chosen.values()))[:2]
        rows: list[Row] = []
        breaks: list[int] = []
        for own in chosen.values():
            if rows:
                breaks.append(len(rows))
            rows += [row._replace(cells=[cell.replace(",", ".") for cell in row.cells]) for row in own[2:]]
        meant = _OF_IMPEDANCE if spectrum else _IN_TIME
        below = dict(zip(header.cells, units.cells, strict=False))
        known = {q: Known(header.cells.index(n), below.get(n, "")) for n, q in meant.items() if n in header.cells}
        known = {q: of._replace(unit=of.unit.split(" ")[0]) for q, of in known.items()}  # "V vs. Ref."
        return from_cells(header, rows, known=known, breaks=tuple(breaks))
