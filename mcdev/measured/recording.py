"""A recording: what an instrument's file holds, in SI units, and what is to be known of it.

``read_recording`` reads any file that is understood, all of its cycles; ``read_table`` one cycle of it, whose times
never go back. Both give one error that names file, line, column and remedy for what is not understood.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mcdev.measured import ceiling, cycles, workbook
from mcdev.measured.columns import (
    UNITS,
    Column,
    Layout,
    Quantity,
    cycle_column,
    given_factor,
    has_units,
    resolve,
    unit_of_words,
    units_apart,
)
from mcdev.measured.instruments import INSTRUMENTS, NOT_READ, instrument
from mcdev.measured.instruments.biologic import BINARY, text_of_binary
from mcdev.measured.sheet import Row, Sheet, from_text, number
from mcdev.measured.text import Text, bytes_of, decoded

SENTINEL = 9.9e37
"""Instruments write this for infinity, and 9.91e37 for "not a number" (SCPI-99, vol. 1, 7.2.1.4 and 7.2.1.5)."""
PLAIN = "text"
"""The format of a file that no instrument's format recognises."""
GENERIC = (
    "write a table of columns with a header like time (s),voltage (V),current (A), or say what the columns are by "
    'format = "text" and columns = { time = 1, voltage = 2, current = 3 }'
)
_HEAD = 2**20
"""Characters by which a format is recognised."""
MAY_BE_MISSING = ("current",)
"""Quantities of which a reading may be missing."""


class Recording(NamedTuple):
    """Columns of a measured file, row by row."""

    lines: np.ndarray
    """Number of each row's line in the file, from one."""
    values: dict[Quantity, np.ndarray]
    """In SI units; NaN in a current where nothing was read."""
    unread: int
    """Currents that are an instrument's "not a number" or infinity."""
    format: str
    columns: dict[Quantity, Column]
    cycles: list[slice]
    """Rows of each."""
    ceilings: list[ceiling.Ceiling]
    """Limits that the current reaches; there it is a bound."""
    said: tuple[str, ...]
    """What should be known of how it was read."""

    @property
    def censored(self) -> np.ndarray:
        """Which rows' currents are a bound: +1 of a positive current that would have been larger, -1 of a negative one,
        0 elsewhere."""
        found = np.zeros(self.lines.size, int)
        for limit in self.ceilings:
            found[limit.rows] = 1 if limit.level > 0 else -1
        return found

    def cycle(self, index: int) -> Recording:
        """One of its cycles, from zero."""
        rows = self.cycles[index]
        limits = [limit._replace(rows=limit.rows[rows]) for limit in self.ceilings if limit.rows[rows].any()]
        values = {quantity: column[rows] for quantity, column in self.values.items()}
        count = rows.stop - rows.start
        return self._replace(lines=self.lines[rows], values=values, cycles=[slice(0, count)], ceilings=limits)


def read_table(path: Path, wanted: Sequence[Quantity], layout: Layout, least: int, most: int) -> Recording:
    """The wanted columns of a file of ``least`` to ``most`` rows; where there is no header, of one that has just these
    columns in this order, in s, V and A. Time never goes back, and at most two rows are of one time.

    Raises ``ValueError`` naming the line, the column, what was expected and the remedy.
    """
    for quantity in (*layout.columns, *layout.units):
        if quantity not in wanted:
            raise ValueError(f"columns and units are given of {quantity}; only {' and '.join(wanted)} are read from it")
    name, sheet = sheet_of(path, layout)
    found, columns, rows = _read(name, sheet, wanted, layout, least)
    if len(found.cycles) > 1 and layout.cycle is None:
        at = found.cycles[1].start
        raise ValueError(
            f"line {found.lines[at]}: another of {len(found.cycles)} cycles begins; say which is meant by cycle = 1"
        )
    number_of = layout.cycle or 1
    if number_of > len(found.cycles):
        raise ValueError(f"cycle is {number_of}; the file has {len(found.cycles)}")
    rows = rows[found.cycles[number_of - 1]]
    found = found.cycle(number_of - 1)
    if len(rows) < least:
        raise ValueError(f"{len(rows)} rows found; expected at least {least} of {', '.join(wanted)}")
    if len(rows) > most:
        raise ValueError(f"more than {most} rows; average neighbouring rows, or leave some out")
    time = found.values["time"]
    _check_times(rows, time, columns["time"])
    if not time[-1] > time[0]:
        raise ValueError("all rows are at one time; expected times that increase")
    return found


def read_recording(path: Path, wanted: Sequence[Quantity], layout: Layout) -> Recording:
    """The same of all cycles of a file. Within a cycle time never goes back."""
    name, sheet = sheet_of(path, layout)
    return recording_of(name, sheet, wanted, layout)


def recording_of(name: str, sheet: Sheet, wanted: Sequence[Quantity], layout: Layout) -> Recording:
    """The same of a file's cells, which are in the format ``name``."""
    found, columns, rows = _read(name, sheet, wanted, layout, 2)
    if "time" in wanted:
        for cycle in found.cycles:
            _check_times(rows[cycle], found.values["time"][cycle], columns["time"])
    return found


def sheet_of(path: Path, layout: Layout) -> tuple[str, Sheet]:
    """Name of a file's format, and its cells. Raises ``ValueError``."""
    if layout.format is not None and layout.format not in (PLAIN, *INSTRUMENTS.names):
        if layout.format in NOT_READ:
            raise ValueError(f"format is {layout.format!r}: {NOT_READ[layout.format]}; {GENERIC}")
        listed = ", ".join((PLAIN, *INSTRUMENTS.names))
        raise ValueError(f"format is {layout.format!r}; expected one of {listed}")
    data = bytes_of(path)
    if data.startswith(BINARY):
        text = Text(text_of_binary(data), ("is a binary file of EC-Lab, read by galvani",))
    elif workbook.is_workbook(data):
        text = Text(workbook.text_of(data, layout), ("is a workbook",))
    else:
        text = decoded(data)
    name = layout.format or recognised(text.content, layout)
    if name == PLAIN:
        own = (
            layout.model_copy(update={"delimiter": "tab", "decimal": "point"}) if workbook.is_workbook(data) else layout
        )
        sheet = from_text(text.content, own)
    else:
        sheet = instrument(name).read(text.content, layout)
    return name, sheet._replace(said=(*text.said, *sheet.said))


def recognised(text: str, layout: Layout) -> str:
    """The format that a text is of; plain text where none, or more than one, recognises it, and where the user says how
    a plain text is to be cut."""
    if layout.skip or layout.delimiter or layout.decimal:
        return PLAIN
    fitting = [name for name in INSTRUMENTS.names if _recognises(name, text[:_HEAD])]
    return fitting[0] if len(fitting) == 1 else PLAIN


def _recognises(name: str, text: str) -> bool:
    try:
        return instrument(name).recognises(text)
    except ValueError:  # a line that cannot be cut as this format cuts it
        return False


def _read(
    name: str, sheet: Sheet, wanted: Sequence[Quantity], layout: Layout, least: int
) -> tuple[Recording, dict[Quantity, Column], list[Row]]:
    header, units, rows = sheet.header, sheet.units, sheet.rows
    if not rows and not header:
        raise ValueError(f"0 rows found; expected at least {least} of {', '.join(wanted)}")
    if header and rows and 2 * len(rows[0].cells) == len(header.cells) and units_apart(header.cells):
        first, unit = header.cells[:2]
        raise ValueError(
            f"{header}: {len(header.cells)} columns above {len(rows[0].cells)}, every other one a unit: the comma "
            f'before a unit parts columns; write it like {first} ({unit}), or like "{first}, {unit}" in quotes'
        )
    width = sheet.width
    if width == 1 and len(wanted) > 1 and layout.interval is None:
        raise ValueError(
            f"{header or rows[0]}: one column; expected commas, semicolons or tabs between the columns, or say "
            'delimiter = "space"'
        )
    try:
        columns = resolve(sheet.names, units and units.cells, wanted, layout, width, sheet.known)
    except ValueError as error:
        raise ValueError(f"line {(header or rows[0]).number}: {error}") from None
    if name == PLAIN and not layout.units and units is None and not (header and has_units(header.cells)):
        _check_words(sheet, wanted)
    if len(rows) < least:
        raise ValueError(f"{len(rows)} rows found; expected at least {least} of {', '.join(wanted)}")
    rows, breaks = _of_device(sheet, layout)
    values: dict[Quantity, np.ndarray] = {q: np.empty(len(rows)) for q in wanted}
    unread = 0
    for i, row in enumerate(rows):
        if len(row.cells) < width or any(row.cells[width:]) or (header is None and len(row.cells) > width):
            twice = (
                " (numbers with a decimal comma, parted by commas? save it with semicolons, or with decimal points)"
                * (len(row.cells) == 2 * width)
            )
            raise ValueError(f"{row}: {len(row.cells)} columns; expected {width}, as in the first row{twice}")
        for quantity, column in columns.items():
            if column.place < 0:
                values[quantity][i] = i * column.factor
                continue
            read = _number(row, quantity, column)
            unread += math.isinf(read)
            values[quantity][i] = read * column.factor
    for column_values in values.values():
        column_values[~np.isfinite(column_values)] = math.nan
    found = Recording(
        lines=np.array([row.number for row in rows]),
        values=values,
        unread=unread,
        format=name,
        columns=columns,
        cycles=_cycles(sheet, rows, breaks, values, columns, layout),
        ceilings=[],
        said=sheet.said,
    )
    return found._replace(ceilings=_ceilings(found, layout)), columns, rows


def _of_device(sheet: Sheet, layout: Layout) -> tuple[list[Row], list[int]]:
    """The rows of the device that is meant, and the places among them at which a cycle begins."""
    names = list(dict.fromkeys(sheet.devices))
    if layout.specimen is not None and layout.specimen not in names:
        known = ", ".join(names)[:300] or "none: leave specimen out"
        raise ValueError(f"specimen is {layout.specimen!r}; the file has {known}")
    if len(names) < 2:
        return sheet.rows, list(sheet.breaks)
    if layout.specimen is None:
        raise ValueError(f'the file holds {len(names)} devices, {", ".join(names)[:300]}; say which by specimen = "…"')
    kept = [i for i, name in enumerate(sheet.devices) if name == layout.specimen]
    begins = set(sheet.breaks)
    return [sheet.rows[i] for i in kept], [new for new, old in enumerate(kept) if old in begins and new]


def _cycles(
    sheet: Sheet,
    rows: Sequence[Row],
    breaks: Sequence[int],
    values: dict[Quantity, np.ndarray],
    columns: dict[Quantity, Column],
    layout: Layout,
) -> list[slice]:
    if breaks:
        return cycles.by_breaks(breaks, len(rows))
    at = columns["cycle"].place if "cycle" in columns else None
    if "cycle" in layout.columns or at is None:
        chosen = layout.columns.get("cycle")
        names = sheet.names
        if isinstance(chosen, int):
            at = chosen - 1
        elif isinstance(chosen, str) and names and chosen in names:
            at = names.index(chosen)
        else:
            at = cycle_column(names)
    if at is not None and at not in [column.place for column in columns.values()]:
        counted = [number(row.cells[at]) if at < len(row.cells) else None for row in rows]
        if all(each is not None for each in counted):
            return cycles.by_numbers(np.array(counted, float))
    if "time" in values and columns["time"].place >= 0:
        return cycles.by_time(values["time"])
    return [slice(0, len(rows))]


def _ceilings(found: Recording, layout: Layout) -> list[ceiling.Ceiling]:
    current = found.values.get("current")
    if current is None or layout.ceiling == "none":
        return []
    if layout.ceiling is not None:
        level = given_factor("current", layout.ceiling)
        if level is None or not level > 0:
            raise ValueError(f'ceiling is {layout.ceiling!r}; expected a current with its unit like "1 mA", or "none"')
        return ceiling.stated(level, current)
    voltage = found.values.get("voltage")
    return [] if voltage is None else ceiling.find(voltage, current, found.cycles)


def _check_words(sheet: Sheet, wanted: Sequence[Quantity]) -> None:
    """Columns without a unit are in s, V and A, unless a line of words anywhere speaks of others."""
    for line in sheet.comments:
        if unit := unit_of_words(line, wanted):
            raise ValueError(
                f"the comment names the unit {unit!r}, and the columns have none ({line[:60]!r}); say which they are "
                'in by units = { time = "ms", voltage = "V" }, or in a header like time (ms),voltage (V)'
            )


def _number(row: Row, quantity: Quantity, column: Column) -> float:
    """NaN of an empty current, infinity of one that an instrument could not read."""
    cell = row.cells[column.place]
    found = number(cell)
    read = math.nan if found is None else found
    if abs(read) < SENTINEL:
        return read
    where = f"{row}: {column.label} is {cell[:60]!r}"
    if math.isnan(read) and not (quantity in MAY_BE_MISSING and not cell):
        empty = " (empty where nothing was recorded)" if quantity in MAY_BE_MISSING else ""
        raise ValueError(f"{where}; expected a number with a decimal point{empty}: {quantity} in {column.unit}")
    if quantity not in MAY_BE_MISSING:
        raise ValueError(
            f"{where}, which stands for no number; expected {quantity} in {column.unit}: cut the row or interpolate it"
        )
    return read if math.isnan(read) else math.inf


def _check_times(rows: Sequence[Row], time: np.ndarray, column: Column) -> None:
    """Every row follows the others: two rows of one time are a step of the voltage."""
    steps = np.diff(time)
    wrong = steps < 0
    wrong[1:] |= (steps[1:] == 0) & (steps[:-1] == 0)
    if not wrong.any():
        return
    i = int(np.argmax(wrong)) + 1
    now, before = (f"{rows[j].cells[column.place]} {column.unit}" for j in (i, i - 1))
    if steps[i - 1] < 0:
        raise ValueError(f"line {rows[i].number}: time {now} does not follow {before}; sort the rows")
    raise ValueError(
        f"line {rows[i].number}: a third row at time {now}; expected two at most, a step of the voltage: write more "
        "digits"
    )


__all__ = ["SENTINEL", "UNITS", "Recording", "read_recording", "read_table", "recording_of", "sheet_of"]
