"""A crossbar: word lines (rows) across bit lines (columns), a cell at every crossing, one of them selected.

The selected word line is driven by the whole voltage of the protocol, the selected bit line is held at zero, and the
current into it is what a sense amplifier reads. The other lines are held between, or left alone:

    scheme      other word lines    other bit lines    voltage of a half-selected cell, and of an unselected one
    V/2         1/2                 1/2                V/2, 0
    V/3         1/3                 2/3                V/3, -V/3
    floating    -                   -                  what the sneak currents leave

Drivers stand at the ends of the lines next to cell (1, 1). With a line resistance cell (rows, columns) is then the
furthest from both, and the default. Lines count from one, rows first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from mcdev.circuits.elements import Memristor, Resistor, VoltageSource
from mcdev.circuits.elements.contract import GROUND
from mcdev.circuits.wired import Part, Wired, part
from mcdev.devices import Device
from mcdev.devices.contract import DeviceConfig
from mcdev.schema import Drawn, PerDevice, Unit, refuse

_SHARES = {"V/2": (1 / 2, 1 / 2), "V/3": (1 / 3, 2 / 3)}
"""Scheme → share of the voltage on the other word lines, and on the other bit lines."""
_ALWAYS = ("S", "M", "drive", "sense")
"""Recorded by default: the same at every size, so that a sweep can change it."""


class Crossbar(Wired):
    """Memristors at the crossings of word and bit lines. Of the selected cell: elements M (and S, its selector),
    sources drive and sense. Of others: M1_2, S1_2, VW1, VB2. Nodes w1, b2, between S and M m1_2, with line resistance
    also w1_2 and b1_2; segments RW1_2, RB1_2."""

    kind: Literal["crossbar"] = "crossbar"
    example: ClassVar[Mapping[str, Any]] = {"rows": 2}
    rows: Annotated[int, Field(ge=1, le=128)]
    """Word lines."""
    columns: Annotated[int, Field(ge=1, le=128)] | None = None
    """Bit lines; by default as many as word lines."""
    row: Annotated[int, Field(ge=1)] | None = None
    """Word line of the selected cell, from one; by default the last, furthest from the drivers."""
    column: Annotated[int, Field(ge=1)] | None = None
    """Bit line of the selected cell; by default the last."""
    scheme: Literal["V/2", "V/3", "floating"] = "V/2"
    """Where the lines that are not selected are held."""
    line_resistance: Annotated[Drawn, PerDevice("ohm", gt=0)] | None = None
    """Of the segment of a line from one cell to the next, and from the driver to the first; all segments of an array
    have the same. By default lines have none."""
    compliance: Annotated[float, Unit("A", gt=0)] | None = None
    """Largest current that the driver of the selected word line gives."""
    cell: Device | None = None
    """A memristor in series with that of ``[device]``, which is then a selector. By default a cell is one memristor of
    ``[device]``."""
    background: Device | None = None
    """The memristors of the cells that are not selected, in the place of ``cell`` (without one of ``[device]``)."""

    @model_validator(mode="after")
    def _inside(self) -> Crossbar:
        for key, own, most in (("row", self.row, self.rows), ("column", self.column, self._columns)):
            if own is not None and own > most:
                refuse(own, f"no such {key}: expected one between 1 and {most}", "or leave the key out", key)
        return self

    @property
    def _columns(self) -> int:
        return self.rows if self.columns is None else self.columns

    @property
    def selected(self) -> tuple[int, int]:
        """Row and column of the selected cell, from one."""
        return self.row or self.rows, self.column or self._columns

    def _cells(self) -> Iterator[tuple[int, int]]:
        """All cells, the selected one first."""
        yield self.selected
        every = ((i, j) for i in range(1, self.rows + 1) for j in range(1, self._columns + 1))
        yield from (cell for cell in every if cell != self.selected)

    def parts(self) -> dict[str, Part]:
        found = self._drivers()
        drawn = self.line_resistance is not None
        others = "background" if self.background is not None else None
        if self.cell is not None:
            others = others or "cell"
        for i, j in self._cells():
            own = (i, j) == self.selected
            mark = "" if own else f"{i}_{j}"
            above, below = (f"w{i}_{j}", f"b{i}_{j}") if drawn else (f"w{i}", f"b{j}")
            table = others if not own else "cell" if self.cell is not None else None
            if self.cell is not None:
                found[f"S{mark}"] = part(Memristor, above, f"m{i}_{j}", {})
                above = f"m{i}_{j}"
            found[f"M{mark}"] = part(Memristor, above, below, {}, table)
        return found | (self._segments() if drawn else {})

    def _drivers(self) -> dict[str, Part]:
        def source(plus: str, minus: str, share: float, most: float | None = None) -> Part:
            return part(VoltageSource, plus, minus, {}, share=share, compliance=most)

        row, column = self.selected
        found = {
            "drive": source(f"w{row}", GROUND, 1.0, self.compliance),
            "sense": source(GROUND, f"b{column}", 0.0),  # its current is the one that the bit line gives to ground
        }
        if self.scheme != "floating":
            of_rows, of_columns = _SHARES[self.scheme]
            rows, columns = (range(1, last + 1) for last in (self.rows, self._columns))
            found |= {f"VW{i}": source(f"w{i}", GROUND, of_rows) for i in rows if i != row}
            found |= {f"VB{j}": source(f"b{j}", GROUND, of_columns) for j in columns if j != column}
        return found

    def _segments(self) -> dict[str, Part]:
        def segment(plus: str, minus: str) -> Part:
            key = {"resistance": "circuit.line_resistance"}
            return part(Resistor, plus, minus, key, resistance=self.line_resistance)

        found = {}
        for i in range(1, self.rows + 1):
            for j in range(1, self._columns + 1):
                found[f"RW{i}_{j}"] = segment(f"w{i}_{j - 1}" if j > 1 else f"w{i}", f"w{i}_{j}")
                found[f"RB{i}_{j}"] = segment(f"b{i}_{j}", f"b{i - 1}_{j}" if i > 1 else f"b{j}")
        return found

    def table(self, key: str) -> DeviceConfig:
        table = {"cell": self.cell, "background": self.background}[key]
        assert table is not None  # only memristors name a table
        return table

    def wanted(self, name: str, of: Sequence[str]) -> bool:
        return name in (_ALWAYS if self.record is None else self.record)

    def reach(self, voltage: float) -> float:
        """All lines lie between the selected ones."""
        return voltage
