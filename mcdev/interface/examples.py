"""The example configurations that come with mcdev, by name: ``wang2017/fig4b_train``."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from mcdev.configuration.problems import ConfigError, Problem
from mcdev.schema import nearest

_FILE = re.compile(r'"([\w*-][\w./*-]*\.(?:toml|csv))"')  # or a pattern of files


def _folder() -> Path:
    """In an installed mcdev beside its modules, in a checkout beside its package."""
    package = Path(str(files("mcdev")))
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def examples() -> dict[str, str]:
    """Name → the first line of each."""
    found = {}
    for path in sorted(_folder().glob("*/*.toml")):
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        found[f"{path.parent.name}/{path.stem}"] = first.removeprefix("#").strip() if first.startswith("#") else ""
    return found


def example(name: str) -> dict[str, bytes]:
    """File name → content, of an example and of all that it names; the example itself first. Raises ``ConfigError`` for
    a name that none has."""
    if name not in examples():
        raise ConfigError([Problem("example", name, f"no such example; {nearest(name, examples())}")], "mcdev new")
    folder, first = _folder() / name.partition("/")[0], f"{name.partition('/')[2]}.toml"
    found: dict[str, bytes] = {}
    wanted = [first]
    while wanted:
        own = wanted.pop()
        for path in sorted(folder.glob(own)) if ".." not in own else ():
            key = path.relative_to(folder).as_posix()
            if key not in found and path.is_file():
                found[key] = path.read_bytes()
                wanted += _FILE.findall(found[key].decode("utf-8")) if key.endswith(".toml") else []
    return found
