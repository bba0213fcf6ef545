"""What a TOML file describes: an experiment, a study (it has ``runs``) or a calibration (it has ``parameters``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mcdev.configuration.extends import whole
from mcdev.configuration.problems import ConfigError, Problem
from mcdev.files import structure

Described = Literal["experiment", "study", "calibration"]

_MARKS: dict[Described, str] = {"calibration": "parameters", "study": "runs", "experiment": "protocol"}
"""What → the table or list that only it has."""

_WAYS: dict[Described, str] = {
    "calibration": "mcdev calibrate fits its parameters (from Python: mcdev.calibrate)",
    "study": "mcdev run runs all of its experiments; from Python, load their files one by one",
    "experiment": "mcdev run runs it (from Python: mcdev.run)",
}


def describes(path: str | Path) -> Described:
    """By the tables that only one of them has. "experiment" for what cannot be read: who reads it says why."""
    try:
        return _of(whole(Path(path))) or "experiment"
    except (OSError, structure.Unreadable, ConfigError):
        return "experiment"


def check_describes(wanted: Described, tables: Mapping[str, Any], source: str) -> None:
    """Refuses the tables of another one, with what to do with them. Raises ``ConfigError``."""
    found = _of(tables)
    if found is not None and found != wanted:
        there, expected = (f"an {what}" if what == "experiment" else f"a {what}" for what in (found, wanted))
        why = f"{there} stands here, {expected} is expected"
        raise ConfigError([Problem(_MARKS[found], None, f"{why}: {_WAYS[found]}")], source)


def _of(tables: Mapping[str, Any]) -> Described | None:
    return next((what for what, mark in _MARKS.items() if mark in tables), None)
