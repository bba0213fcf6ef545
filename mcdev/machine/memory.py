"""How much memory a computation may take."""

from __future__ import annotations

import psutil

_FREE = 0.8  # share of the free memory that is the budget where none is given


class NotEnoughMemory(ValueError):
    """The ensemble would not fit into the memory budget; the message says what it asks for and what to lower."""


def budget(memory: float | None) -> float:
    """Bytes: as given, or most of what is free."""
    return memory or _FREE * psutil.virtual_memory().available
