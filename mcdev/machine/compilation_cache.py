"""Compiled programs kept between processes, so that only the first run of a kind waits for the compiler.

Switched on by the command line, never by importing mcdev. JAX's persistent cache does the work: a program is named by
everything that it depends on, its text and the compiler's version and options. On many processors jax 0.9 and 0.10 log
an error for every program taken from the cache, though it runs (github.com/jax-ml/jax/issues/38445); `__main__.py` sees
to it that this is not shown.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

VARIABLE = "MCDEV_COMPILATION_CACHE"
"""``off`` switches the cache off; ``on``, or nothing, keeps it in the platform's place for caches; anything else is the
folder to use."""
_SHORTEST = 0.2  # seconds of compilation from which a program is worth a file
_LARGEST = 512 * 2**20  # bytes; beyond, what was not used for longest goes


def folder() -> Path | None:
    """Where compiled programs are kept, as the variable says. None if it says off, and where there is no place: a
    container's user may have no home."""
    try:
        return _folder()
    except RuntimeError:  # of pathlib, which finds no home
        return None


def _folder() -> Path | None:
    said = os.environ.get(VARIABLE, "")
    if said.lower() in ("off", "0", "no", "false"):
        return None
    if said.lower() not in ("", "on", "1", "yes", "true"):
        return Path(said).expanduser()
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        given = os.environ.get("XDG_CACHE_HOME", "")
        root = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return root / "mcdev" / f"compiled-{_processor()}"


def _processor() -> str:
    """Differs where machine code might: a home folder may be shared by machines with different processors."""
    text = f"{sys.platform} {platform.machine()} {platform.processor()}"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            text += next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        pass
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def switch_on() -> Path | None:
    """Keep what this process compiles from here on, and use what is kept; the folder, or None where there is none. A
    cache that the user has set up for JAX itself is left alone; so is a folder that cannot be written."""
    import jax  # not before `__main__.py` has said how it logs

    already = jax.config.values["jax_compilation_cache_dir"]
    if already:
        return Path(already)
    place = folder()
    if place is None:
        return None
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return None
    if not os.access(place, os.W_OK):
        return None
    settings = {
        "jax_compilation_cache_dir": str(place),
        "jax_persistent_cache_min_compile_time_secs": _SHORTEST,
        "jax_compilation_cache_max_size": _LARGEST,
    }
    change: Callable[[str, Any], None] = jax.config.update
    for name, value in settings.items():
        change(name, value)
    return place
