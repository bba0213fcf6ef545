"""ZPlot and ZView (Solartron, Scribner), and Autolab's export for them: impedance in ``.z`` files.

A line ``Freq(Hz) Ampl Bias Time(Sec) Z'(a) Z''(b) GD Err Range`` names the columns; below it, in newer files after
``End Comments``, stand rows between tabs or commas. Z'' is the imaginary part, negative of a capacitor.
"""

from __future__ import annotations

import re
from typing import Literal

from mcdev.measured.columns import Known, Layout, Quantity
from mcdev.measured.instruments.contract import Instrument
from mcdev.measured.sheet import Row, Sheet, cut, from_cells, lines_of

_NAMES = re.compile(r'"?\s*Freq\s?\(Hz\)\s+Ampl\s+Bias\s+Time\(Sec\)\s+Z')


class ZPlot(Instrument):
    """Columns 1, 5 and 6."""

    kind: Literal["zplot"] = "zplot"
    title = "ZPlot (Solartron, Autolab)"

    def recognises(self, text: str) -> bool:
        return any(_NAMES.match(line) for _, line in lines_of(text))

    def read(self, text: str, layout: Layout) -> Sheet:
        header, rows = None, []
        for at, line in lines_of(text):
            if _NAMES.match(line):
                header = Row(at, line.strip(), line.strip('" \r\n').split())
            elif header is not None and not line.strip().startswith("End Comments"):
                rows.append(cut(at, line, "\t" if "\t" in line else ","))
        if header is None:
            raise ValueError("no line Freq(Hz) … Z'(a) Z''(b), as ZPlot writes")
        if header.cells[:2] == ["Freq", "(Hz)"]:
            header.cells[:2] = ["Freq(Hz)"]
        width = len(header.cells)
        rows = [row._replace(cells=row.cells[:width]) for row in rows]
        known: dict[Quantity, Known] = {
            "frequency": Known(0, "Hz"),
            "resistance": Known(4, "ohm"),
            "reactance": Known(5, "ohm"),
        }
        return from_cells(header, rows, known=known)
