"""How far a run is, and whether it was asked to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


class Stopped(Exception):
    """The run was asked to stop."""


@dataclass
class Progress:
    """Counts finished work; ``report`` is called with (done, total) in units of realisation-steps."""

    total: int
    report: Callable[[int, int], None]
    done: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, amount: int) -> None:
        """Raises :class:`Stopped` where the run was asked to."""
        if self.stop.is_set():
            raise Stopped
        with self._lock:
            self.done += amount
            self.report(self.done, self.total)


def unseen() -> Progress:
    """Of work that nobody watches."""
    return Progress(0, lambda done, total: None)
