"""Which code made a number: what has to be the same for two runs to be the same bit for bit."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from pathlib import Path

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


@functools.cache
def libraries() -> str:
    """The libraries that compute, with their versions."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _NUMERICS)
