"""How the program ends: exit codes, interrupts, and the command that goes on with what was stopped."""

from __future__ import annotations

import contextlib
import itertools
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BROKEN, CONFIG, FILES, MEMORY = 1, 2, 3, 4
STOPPED = 128
"""And the number of the signal."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Leave(Exception):
    """Ends the program with a message and an exit code."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


class Interrupted(BaseException):
    """Ctrl-C, or a request to terminate. Not a KeyboardInterrupt, which typer would swallow without a word."""

    def __init__(self, number: int = signal.SIGINT):
        super().__init__()
        self.code = STOPPED + number


def interrupt(signal_number: int, frame: Any) -> None:
    """Answers a signal, in the words of :mod:`signal`. Raises :class:`Interrupted`."""
    for number in SIGNALS:  # once is enough: the way out is not to be interrupted
        signal.signal(number, signal.SIG_IGN)
    raise Interrupted(signal_number)


@contextlib.contextmanager
def to_be_gone_on_with(command: str, kept: Path) -> Iterator[None]:
    """An interrupt is answered with the command that goes on, once the file ``kept`` is there."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as stop:
        code = stop.code if isinstance(stop, Interrupted) else STOPPED + signal.SIGINT
        how = (
            f"; {what_is_kept(kept if kept.is_dir() else kept.parent)}, go on with: {command}" if kept.exists() else ""
        )
        raise Leave(f"stopped{how}", code) from None


def what_is_kept(folder: Path) -> str:
    """What a folder holds of work that was stopped, in words."""
    finished = next(itertools.chain(folder.rglob("*.h5"), folder.rglob("*.npz")), None)
    return "no part of it was finished" if finished is None else "what was computed is kept"
