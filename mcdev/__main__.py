"""``mcdev`` and ``python -m mcdev``: what has to be said before JAX is imported."""

from __future__ import annotations

import gc
import os
import sys

from mcdev.machine import compilation_cache

COLLECTING = 100_000, 50, 100
"""How rarely Python looks for garbage in circles (``gc.set_threshold``). Importing and tracing make hundreds of
thousands of objects that stay; to look through them again and again takes a tenth of the processor time until the first
result."""


def main() -> None:
    """Run the command line. With compiled programs kept, XLA logs fatal errors only, unless the user has said
    otherwise: on many processors it logs an error for each kept program that is none (see `compilation_cache.py`), and
    what does go wrong in it is raised as a Python error as well."""
    gc.set_threshold(*COLLECTING)
    if compilation_cache.folder() is not None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from mcdev.interface.cli import main as command_line
    except (ImportError, RuntimeError) as error:  # a package is missing, or two do not belong together
        remedy = "install it anew: pip install --force-reinstall mcdev"
        print(f"error: mcdev cannot start: {error}; {remedy}", file=sys.stderr)
        sys.exit(3)
    except ValueError as error:  # JAX reads its own settings as it is imported
        given = {name: value for name, value in os.environ.items() if name.startswith("JAX_")}
        if not given:
            raise
        listed = ", ".join(f"{name} = {value}" for name, value in given.items())
        print(f"error: JAX does not take its settings from the environment: {error}; unset {listed}", file=sys.stderr)
        sys.exit(2)
    command_line()


if __name__ == "__main__":
    main()
