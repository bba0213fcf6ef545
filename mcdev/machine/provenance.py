"""Which code made a number: what has to be the same for two runs to be the same bit for bit."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import tomllib
from pathlib import Path

ACCEPT = "--accept-other-machine"
"""The option by which a user accepts what other machines compute."""
_NUMERICS = ("jax", "jaxlib", "numpy", "scipy", "equinox", "optax")


@functools.cache
def code_version() -> str:
    """SHA-256 of this package's sources and presets."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(p for p in root.rglob("*") if p.suffix in (".py", ".toml")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def own_version() -> str:
    """mcdev's version. A checkout that nobody has installed has it from its pyproject.toml, and says so."""
    try:
        return importlib.metadata.version("mcdev")
    except importlib.metadata.PackageNotFoundError:
        pass
    try:
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        version = str(project["version"]) if project["name"] == "mcdev" else "unknown"
    except (OSError, ValueError, KeyError):
        version = "unknown"
    return f"{version} (not installed)"


def versions(*others: str) -> str:
    """mcdev and these packages, with their versions."""
    found = {"mcdev": own_version()} | {name: importlib.metadata.version(name) for name in others}
    return ", ".join(f"{name} {version}" for name, version in found.items())


@functools.cache
def libraries() -> str:
    """The libraries that compute, with their versions."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _NUMERICS)
