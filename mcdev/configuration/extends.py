"""A configuration on top of another: ``extends = "base.toml"``.

What a file says stands over what its base says, key by key, table in table. A value is replaced as a whole: so is a
distribution, the values of a sweep's axis, a list, and a table of another kind than the base's. The base lies in the
file's folder or below it, may itself extend another, and the files that it names are found from where it lies.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from mcdev.configuration.problems import ConfigError, Problem, beside
from mcdev.files import structure

KEY = "extends"
_FILES = ("file", "preset", KEY)
"""Keys whose text may be the name of a file, wherever they stand."""


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, over those that it extends. Raises ``ConfigError`` where one of them cannot be read
    as such, and where they extend one another in a circle."""
    try:
        return whole(path)
    except OSError as error:
        raise ConfigError([Problem(str(path), None, f"cannot be read ({error.strerror})")], str(path)) from None
    except structure.Unreadable as error:
        raise ConfigError([Problem(str(path), None, str(error))], str(path)) from None


def whole(path: Path) -> dict[str, Any]:
    """The same, for who only looks. Raises ``OSError`` or ``Unreadable`` where the file itself cannot be read, and
    ``ConfigError`` for what it extends."""
    return _whole(path, ())


def _whole(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    data = structure.read_toml(path)
    if KEY not in data:
        return data
    name, own = data.pop(KEY), path.resolve()
    if not isinstance(name, str):
        _refuse(path, name, "expected the name of a configuration's file")
    try:
        place = beside(path.parent, name)
        if place.resolve() in (own, *above):
            circle = " → ".join(each.name for each in (*above, own, place.resolve()))
            raise ValueError(f"extends itself: {circle}; take one of these lines out")
        base = _whole(place, (*above, own))
    except ConfigError:
        raise
    except OSError as error:
        _refuse(path, name, f"cannot be read ({error.strerror})")
    except ValueError as error:
        _refuse(path, name, str(error))
    return merged(_moved(base, PurePosixPath(name).parent), data)


def _refuse(path: Path, name: Any, why: str) -> NoReturn:
    raise ConfigError([Problem(KEY, name, why)], str(path))


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of ``over`` on top of those of ``base``."""
    found = copy.deepcopy(dict(base))
    for key, value in over.items():
        below = found.get(key)
        if isinstance(below, dict) and isinstance(value, Mapping) and _joins(below, value):
            found[key] = merged(below, value)
        else:
            found[key] = copy.deepcopy(value)
    return found


def _joins(below: Mapping[str, Any], over: Mapping[str, Any]) -> bool:
    """Whether a table completes that of the base, rather than being a value that takes its place."""
    if any("distribution" in table or {"start", "stop"} <= table.keys() for table in (below, over)):
        return False
    return "kind" not in over or over["kind"] == below.get("kind", over["kind"])


def _moved(data: dict[str, Any], folder: PurePosixPath) -> dict[str, Any]:
    """The tables of a base as they read from the folder of the file that extends it."""
    if folder == PurePosixPath():
        return data

    def moved(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: moved(name, each) for name, each in value.items()}
        if isinstance(value, list):
            return [moved(key, each) for each in value]
        named = key in _FILES or key == "runs" or key.endswith(".preset")
        relative = isinstance(value, str) and not PurePosixPath(value).is_absolute()
        is_file = not key.endswith("preset") or str(value).endswith(".toml")
        return str(folder / value) if named and relative and is_file else value

    return {key: moved(key, value) for key, value in data.items()}
