"""The folders that mcdev has made, seen from outside: what each is, how far it came, and whether all in it is mcdev's.

Nothing here reads numbers, so that looking over many runs takes no time.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import filelock

from mcdev.files import structure
from mcdev.files.whole_file import ResultsError

_RUN = {"results.h5", "run.json", "config.toml", "statistics.csv", "card.toml", "report.html"}
_CALIBRATION = {"job.json", "calibration.h5", "fitted.toml", "targets.csv", "parameters.csv", "report.html"}
_STUDY = {"table.csv", "report.html"}
_FOLDERS = {
    "figures": (".png", ".svg", ".pdf"),
    "chunks": (".h5",),
    "evaluations": (".npz", ".h5"),
    "fitted": (".toml",),
}
"""Folder → endings of what mcdev writes there."""
_LOCK, _HALF = ".lock", ".*-????????.tmp"


class Kept(NamedTuple):
    """One folder."""

    path: Path
    what: str
    """run, calibration or study."""
    state: str
    """In words: finished, stopped, at work."""
    changed: datetime.datetime
    """When it was last written to."""
    size: int
    """In bytes."""
    configuration: dict[str, Any]
    """As it stands in the folder; empty where it cannot be read."""


def kept_at(path: Path) -> Kept:
    """What a folder is. Raises ``ResultsError`` where it is none of mcdev's."""
    what = _what(path)
    if what is None:
        raise ResultsError(f"{path} is no folder of a run, a calibration or a study")
    files = [each for each in path.rglob("*") if each.is_file()]
    stamps = [each.stat().st_mtime for each in files] or [path.stat().st_mtime]
    changed = datetime.datetime.fromtimestamp(max(stamps))
    size = sum(each.stat().st_size for each in files)
    return Kept(path, what, _state(path, what), changed, size, _configuration(path))


def kept_below(folder: Path) -> list[Kept]:
    """The runs, calibrations and studies in a folder, the latest last. Raises ``ResultsError`` where there is no such
    folder."""
    if not folder.is_dir():
        raise ResultsError(f"{folder} is no folder; say where runs are kept: mcdev list FOLDER")
    inner = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    found = [kept_at(path) for path in inner if _what(path) is not None]
    return sorted(found, key=lambda kept: (kept.changed, kept.path))


def _what(path: Path) -> str | None:
    if (path / "run.json").is_file() or (path / "results.h5").is_file():
        return "run"
    if (path / "job.json").is_file() or (path / "calibration.h5").is_file():
        return "calibration"
    member = next((each for each in path.glob("*/*/run.json")), None) if path.is_dir() else None
    return "study" if member is not None or (path / "table.csv").is_file() else None


def _state(path: Path, what: str) -> str:
    if at_work(path):
        return "at work"
    if what == "run":
        finished = bool(_record(path / "run.json").get("results")) and (path / "results.h5").is_file()
        if finished or not (path / "run.json").is_file():
            return "finished"
        chunks = sum(1 for _ in (path / "chunks").glob("*.h5"))
        return f"stopped, {chunks} chunk{'s' if chunks != 1 else ''} kept"
    ends = {"calibration": "calibration.h5", "study": "table.csv"}
    return "finished" if (path / ends[what]).is_file() else "stopped"


def at_work(path: Path) -> bool:
    """Whether a process holds a folder, or one below it."""
    for lock in path.rglob(_LOCK):
        held = filelock.FileLock(lock)
        try:
            held.acquire(timeout=0)
        except (filelock.Timeout, OSError):
            return True
        held.release()
    return False


def _record(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(structure.read_text(path))
        return found if isinstance(found, dict) else {}
    return {}


def _configuration(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        return structure.read_toml(path / "config.toml")
    found = _record(path / "job.json").get("configuration")
    return found if isinstance(found, dict) else {}


def not_ours(path: Path) -> Iterator[Path]:
    """What lies in a folder of mcdev's and was not written by it; links, too."""
    what = _what(path)
    own = {"run": _RUN, "calibration": _CALIBRATION, "study": _STUDY}.get(what or "", set())
    for each in path.iterdir():
        if each.is_symlink():
            yield each
        elif each.is_dir() and each.name in _FOLDERS:
            endings = _FOLDERS[each.name]
            inner = (one for one in each.rglob("*") if one.is_symlink() or not one.is_dir())
            yield from (one for one in inner if one.is_symlink() or not _is_own(one, endings))
        elif each.is_dir() and what == "study":
            for member in each.iterdir():
                yield from not_ours(member) if member.is_dir() and _what(member) == "run" else [member]
        elif each.is_dir() or not (each.name in own or _is_own(each, ())):
            yield each


def _is_own(path: Path, endings: tuple[str, ...]) -> bool:
    return path.suffix in endings or path.name == _LOCK or path.match(_HALF)
