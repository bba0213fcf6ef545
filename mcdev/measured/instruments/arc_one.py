"""ArC One (ArC Instruments): the CSV of a session.

A title, a date, a header ``Wordline, Bitline, Resistance, Amplitude (V), Pulse width (s), Tag, ReadTag, ReadVoltage``
and one row for each reading of a crosspoint, after the pulse of that row. The file holds no times: the interval between
readings has to be given (``interval``). Current is read voltage over resistance.
"""

from __future__ import annotations

from typing import Literal

from mcdev.measured.columns import Known, Layout, Quantity
from mcdev.measured.instruments.contract import Instrument
from mcdev.measured.sheet import Row, Sheet, cut, from_cells, lines_of, number

_NAMES = ["Wordline", "Bitline", "Resistance"]


class ArcOne(Instrument):
    """Read voltage and current of each crosspoint, ``W3B5``."""

    kind: Literal["arc_one"] = "arc_one"
    title = "ArC One"

    def recognises(self, text: str) -> bool:
        lines = (cut(at, line, ",").cells for (at, line), _ in zip(lines_of(text), range(6), strict=False))
        return any(cells[:3] == _NAMES and "ReadVoltage" in cells for cells in lines)

    def read(self, text: str, layout: Layout) -> Sheet:
        rows = [cut(at, line, ",") for at, line in lines_of(text)]
        head = next((i for i, row in enumerate(rows) if row.cells[:3] == _NAMES), None)
        if head is None:
            raise ValueError(f"no header {', '.join(_NAMES)}, …, as ArC One writes")
        header = rows[head]
        reads = header.cells.index("ReadVoltage")
        made: list[Row] = []
        for row in rows[head + 1 :]:
            numbers = [number(row.cells[i]) if i < len(row.cells) else None for i in (0, 1, 2, reads)]
            if None in numbers or not numbers[2]:
                raise ValueError(f"{row}: expected wordline, bitline, a resistance and a read voltage")
            word, bit, resistance, voltage = (float(x or 0.0) for x in numbers)
            made.append(row._replace(cells=[f"W{word:g}B{bit:g}", repr(voltage), repr(voltage / resistance)]))
        order = sorted(range(len(made)), key=lambda i: made[i].cells[0])  # the readings of one after those of another
        made = [made[i] for i in order]
        names = Row(header.number, header.text, ["crosspoint", "ReadVoltage", "ReadVoltage/Resistance"])
        devices = tuple(row.cells[0] for row in made)
        known: dict[Quantity, Known] = {"voltage": Known(1, "V"), "current": Known(2, "A")}
        said = ("the file holds no times", "currents are read voltages over resistances")
        return from_cells(names, made, known=known, devices=devices, said=said)
