"""Keysight (Agilent) oscilloscopes, InfiniiVision: CSV with ``x-axis,1,2`` over ``second,Volt,Volt``."""

from __future__ import annotations

from typing import Literal

from mcdev.measured.columns import Known, Layout, Quantity, factor
from mcdev.measured.instruments.contract import Instrument
from mcdev.measured.sheet import Sheet, cut, cut_all, from_cells, lines_of


class KeysightScope(Instrument):
    """Time, and the channels, which are called by their numbers."""

    kind: Literal["keysight_scope"] = "keysight_scope"
    title = "a Keysight oscilloscope"

    def recognises(self, text: str) -> bool:
        rows = [cut(at, line, ",").cells for (at, line), _ in zip(lines_of(text), range(2), strict=False)]
        return len(rows) == 2 and rows[0][:1] == ["x-axis"] and rows[1][0].lower() == "second"

    def read(self, text: str, layout: Layout) -> Sheet:
        header, units, *rows = cut_all(text, ",", 3)
        while not header.cells[-1]:
            header.cells.pop()
        below = ["s", *(cell.removesuffix("s") or "V" for cell in units.cells[1 : len(header.cells)])]
        known: dict[Quantity, Known] = {"time": Known(0, "s")}
        for quantity in ("voltage", "current"):
            found = [i for i, unit in enumerate(below) if factor(quantity, unit) is not None]
            if len(found) == 1:
                known[quantity] = Known(found[0], below[found[0]])
        return from_cells(header, rows, known, units._replace(cells=below))
