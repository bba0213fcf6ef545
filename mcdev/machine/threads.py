"""Threads of this process: compiled programs leave Python to one another while they run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def thread_pool(number: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """A pool of ``number`` threads, by default one a core. Its end waits for what they are at, unless an interrupt
    brings it: a thread that compiles cannot be stopped, and whoever presses Ctrl-C should not wait for it."""
    pool = ThreadPoolExecutor(number or cores())
    try:
        yield pool
    except Exception:
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
