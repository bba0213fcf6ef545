"""The process that mcdev finds itself in: JAX's own settings, and whether JAX can start at all.

Both come from outside, as variables of the environment or from the program that mcdev is used in. They may change how
long a computation takes, and never what it gives or whether it ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator


class NoBackend(RuntimeError):
    """JAX finds nothing to compute on; the message says what was asked for and what to do."""


_TRIAL = """
import contextlib
with contextlib.suppress(Exception):  # what Python can say is said where it happens
    import jax
    jax.numpy.add(1.0, 1.0).block_until_ready()
"""


def try_flags() -> None:
    """See that XLA takes ``XLA_FLAGS``, where they are set: it ends its process for one that it does not know, and no
    word of ours is heard. So they are tried in a process of their own. Raises :class:`NoBackend`."""
    flags = os.environ.get("XLA_FLAGS", "")
    if not flags.strip():
        return
    tried = subprocess.run([sys.executable, "-c", _TRIAL], capture_output=True, check=False)
    if tried.returncode:
        said = re.findall(r"^[EF]\d.*?\] (.*)$", tried.stderr.decode(errors="replace"), re.MULTILINE)
        why = said[0].rstrip(".") if said else f"it ends with code {tried.returncode}"
        raise NoBackend(f"XLA_FLAGS = {flags}: XLA cannot start with them ({why}); unset XLA_FLAGS, or correct it")


def backend() -> str:
    """What JAX computes on: ``cpu``, ``gpu``. Raises :class:`NoBackend` where it cannot start."""
    import jax  # takes a second, and what computes nothing needs none

    try:
        return jax.default_backend()
    except Exception as error:  # JAX raises several kinds, one of them without a word
        asked = os.environ.get("JAX_PLATFORMS", "")
        why = str(error).split("\n")[0] or "no such device, or no JAX for it"
        remedy = "unset JAX_PLATFORMS, or set it to cpu" if asked else "mcdev doctor says more"
        given = f"JAX_PLATFORMS = {asked}: " if asked else ""
        raise NoBackend(f"{given}JAX cannot start on what it was told to ({why}); {remedy}") from None


@contextlib.contextmanager
def computing(x64: bool) -> Iterator[None]:
    """All that mcdev computes with JAX is computed within: in double precision or not, and by JAX's usual rules. NaN
    and infinity are results here (a realisation that broke down, a time that was not reached), so a process in which
    JAX stops at the first of them, as with ``JAX_DEBUG_NANS``, computes as any other."""
    import jax  # takes a second, and what computes nothing needs none

    with (
        jax.enable_x64(x64),
        jax.debug_nans(False),
        jax.debug_infs(False),
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
    ):
        yield
