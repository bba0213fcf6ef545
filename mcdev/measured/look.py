"""What was understood of a measured file, in words, and the lines of a configuration that use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tomli_w

from mcdev.measured.columns import UNITS, Layout, Quantity, understood
from mcdev.measured.instruments import INSTRUMENTS
from mcdev.measured.noise import Noise, estimated
from mcdev.measured.recording import Recording, recording_of, sheet_of
from mcdev.measured.sheet import Sheet

TRACE: tuple[Quantity, ...] = ("time", "voltage", "current")
SPECTRUM: tuple[Quantity, ...] = ("frequency", "resistance", "reactance")
_PARTS: tuple[tuple[Quantity, ...], ...] = (("time", "voltage"), ("time", "current"), ("voltage", "current"))
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))
_UNIFORM = 1e-3
_AGAINST = 0.9
"""Share of the rows with I·V < 0 from which the sign is spoken of."""


class Seen(NamedTuple):
    """A file that was looked at."""

    path: Path
    lines: list[str]
    """What was understood."""
    recording: Recording | None
    """None where nothing was."""
    problem: str
    """What was not understood, and what to write; empty where all was."""
    toml: str
    """Lines of a configuration that use it."""


def look(path: Path, layout: Layout) -> Seen:
    """A file, as it is understood. Never raises for its content."""
    try:
        name, sheet = sheet_of(path, layout)
    except ValueError as error:
        return Seen(path, [], None, str(error), "")
    title = INSTRUMENTS[name].title if name in INSTRUMENTS else "a table as plain text"
    lines = [f"format: {name}, {title}"]
    lines += [f"note: {said}" for said in sheet.said]
    recording, problem = _read(name, sheet, layout)
    if recording is None:
        return Seen(path, [*lines, *_cells(sheet)], None, problem, "")
    lines += _columns(sheet, recording, layout)
    lines += _rows(recording)
    return Seen(path, lines, recording, problem, _toml(path, layout, name, recording))


def value(number: float, unit: str, digits: int = 4) -> str:
    """A number with the prefix that suits it, ``2.5 mA``."""
    if not np.isfinite(number) or number == 0 or not unit:
        return f"{number:.{digits}g} {unit}".strip()
    size, prefix = next(((s, p) for s, p in _PREFIXES if abs(number) >= s * (1 - 1e-12)), _PREFIXES[-1])
    rounded = float(f"{number / size:.{digits}g}")  # 160, not 1.6e+02
    return f"{rounded:.{max(digits, 3)}g} {prefix}{unit}"


def _read(name: str, sheet: Sheet, layout: Layout) -> tuple[Recording | None, str]:
    """The recording of all that the file is to have; of a part of it, where more is not understood, and why."""
    there = {*sheet.known, *understood(sheet.names or []), *layout.columns}
    wanted = SPECTRUM if "frequency" in there else TRACE
    if sheet.names is None and sheet.width == 2 and not layout.columns:
        wanted = ("time", "voltage")
    try:
        return recording_of(name, sheet, wanted, layout), ""
    except ValueError as error:
        problem = str(error)
    for part in _PARTS if wanted == TRACE else ():
        try:
            return recording_of(name, sheet, part, layout), problem
        except ValueError:
            continue
    return None, problem


def _cells(sheet: Sheet) -> list[str]:
    """The columns of a file that is not understood."""
    names = sheet.names or (sheet.rows[0].cells if sheet.rows else [])
    of = "columns" if sheet.names else "first row, no header"
    return [f"{of}: {', '.join(f'{i} {name!r}' for i, name in enumerate(names[:30], start=1))}", _count(sheet)]


def _count(sheet: Sheet) -> str:
    return f"rows: {len(sheet.rows)}"


def _columns(sheet: Sheet, recording: Recording, layout: Layout) -> list[str]:
    lines = []
    for quantity, column in recording.columns.items():
        own = recording.values[quantity]
        low, high = (value(float(f(own)), UNITS[quantity]) for f in (np.nanmin, np.nanmax))
        turned = ", its sign turned" if column.factor < 0 else ""
        lines.append(f"{quantity}: {column.label.rstrip(',')}, in {column.unit}{turned}: from {low} to {high}")
    if sheet.names is None and not layout.columns:
        lines.append("no header: columns are taken in this order, in SI units; give others by --read columns.…")
    used = {column.place for column in recording.columns.values()}
    left = [f"{i + 1} {name!r}" for i, name in enumerate(sheet.names or []) if i not in used]
    return lines + ([f"not used: column {', '.join(left)}"] if left else [])


def _rows(recording: Recording) -> list[str]:
    lines = [f"rows: {recording.lines.size}, in {len(recording.cycles)} cycle{'s' * (len(recording.cycles) > 1)}"]
    if len(recording.cycles) > 1:
        counts = [cycle.stop - cycle.start for cycle in recording.cycles]
        lines[0] += (
            f" of {min(counts)} rows" if min(counts) == max(counts) else f" of {min(counts)} to {max(counts)} rows"
        )
    if "time" in recording.values:
        lines.append(_sampling(recording))
    if recording.unread:
        lines.append(f"missing: {recording.unread} currents are an instrument's infinity or no number")
    if "current" not in recording.values:
        return lines
    empty = int(np.isnan(recording.values["current"]).sum()) - recording.unread
    if empty:
        lines.append(f"empty: {empty} currents, where nothing was recorded")
    for limit in recording.ceilings:
        count = int(limit.rows.sum())
        lines.append(
            f"ceiling: {value(limit.level, 'A')} in {count} of {recording.lines.size} rows ({limit.why}); there the "
            "current is only a bound (censored)"
        )
    if not recording.ceilings:
        lines.append("ceiling: none found")
    if "voltage" in recording.values:
        lines += _sign(recording)
    if (noise := _estimated(recording)) is not None:
        lines.append(f"noise: about {value(noise.floor, 'A', 2)} and {100 * noise.share:.2g} % of the reading")
    return lines


def _sampling(recording: Recording) -> str:
    time = recording.values["time"]
    steps = np.concatenate([np.diff(time[cycle]) for cycle in recording.cycles])
    lasting = steps[steps > 0]
    if not lasting.size:
        return "sampling: all rows have the same time"
    low, high = lasting.min(), lasting.max()
    text = f"sampling: a row every {value(float(np.median(lasting)), 's')}"
    text += "" if high <= low * (1 + _UNIFORM) else f", from {value(float(low), 's')} to {value(float(high), 's')}"
    if steps.size > lasting.size:
        text += f", {steps.size - lasting.size} steps (two rows with the same time)"
    begins = float(time[recording.cycles[0].start])
    return text + (f"; the first row is at {value(begins, 's')}" if begins else "")


def _sign(recording: Recording) -> list[str]:
    power = recording.values["current"] * recording.values["voltage"]
    known = power[np.isfinite(power) & (power != 0)]
    if known.size and np.mean(known < 0) >= _AGAINST:
        share = f"{100 * np.mean(known < 0):.0f} %"
        unit = recording.columns["current"].unit
        return [
            f"sign: current and voltage have opposite signs (I·V < 0) in {share} of the rows; if the instrument counts "
            f'the current so, write units = {{ current = "-1 {unit}" }}'
        ]
    return []


def _toml(path: Path, layout: Layout, name: str, recording: Recording) -> str:
    """The lines, so that what was found is written out and nothing is left to be found again."""
    found = layout.model_dump(exclude_none=True, exclude_defaults=True)
    table: dict[str, Any] = {"file": path.name, "format": name, **found}
    if len(recording.cycles) > 1:
        table.setdefault("cycle", 1)
    if set(TRACE) <= set(recording.values):
        noise = _estimated(recording)
        limits = [abs(limit.level) for limit in recording.ceilings]
        level = {"ceiling": value(min(limits), "A") if limits else "none"}
        curve = table | ({} if "ceiling" in table else level) | {"noise": _noise(noise)}
        wave = _without_current(table)
        return _inline("[[curves]]", curve) + "\n" + _inline("[protocol]", {"kind": "waveform"} | wave)
    if {"time", "voltage"} <= set(recording.values):
        return _inline("[protocol]", {"kind": "waveform"} | _without_current(table))
    del table["file"]
    return "".join(
        f"# {line}\n" for line in _inline("keys of [[measured]], or of mcdev measure --read:", table).splitlines()
    )


def _estimated(recording: Recording) -> Noise | None:
    """The noise of the readings; bounds are none."""
    return estimated(np.where(recording.censored == 0, recording.values["current"], np.nan), recording.cycles)


def _noise(noise: Noise | None) -> Any:
    if noise is None:
        return "… A"
    return {"floor": value(noise.floor, "A", 2), "share": f"{100 * noise.share:.2g} %"}


def _without_current(table: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: each for key, each in table.items() if key != "ceiling"}
    for key in ("columns", "units"):
        if key in own:
            own[key] = {quantity: each for quantity, each in own[key].items() if quantity in ("time", "voltage")}
    return {key: each for key, each in own.items() if each != {}}


def _inline(head: str, table: Mapping[str, Any]) -> str:
    """A table whose inner tables stand in one line."""
    lines = [head]
    for key, each in table.items():
        if isinstance(each, Mapping):
            inner = ", ".join(tomli_w.dumps({k: v}).strip() for k, v in each.items())
            lines.append(f"{key} = {{ {inner} }}")
        else:
            lines.append(tomli_w.dumps({key: each}).strip())
    return "\n".join(lines) + "\n"


def tables(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of dotted keys: ``{"columns": {"current": …}}`` of ``columns.current``."""
    found: dict[str, Any] = {}
    for path, each in changes.items():
        keys: Sequence[str] = path.split(".")
        inner = found
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = each
    return found
