"""Who works: threads of this process, or the workers of a Dask cluster. Each is a ``concurrent.futures.Executor``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any, Literal, NamedTuple

from mcdev.files.whole_file import ResultsError
from mcdev.machine.threads import cores, thread_pool


class Workers(NamedTuple):
    pool: Executor
    number: int
    alone: bool
    """Whether they are other processes, which cannot report on the way."""


@contextlib.contextmanager
def workers(
    kind: Literal["threads", "dask"] = "threads", number: int | None = None, address: str | None = None
) -> Iterator[Workers]:
    """``number`` workers, by default one a core; with ``address``, those of a Dask cluster that runs already.

    Raises ``ResultsError`` where Dask is not installed or the cluster does not answer.
    """
    count = number or cores()
    if kind == "threads":
        with thread_pool(count) as pool:
            yield Workers(pool, count, False)
        return
    distributed = _distributed()
    if address is not None:
        try:
            client = distributed.Client(address, timeout="5s")
        except (OSError, ValueError) as error:
            raise ResultsError(f"no Dask scheduler answers at {address} ({error})") from None
        count = sum(client.nthreads().values())
        if count == 0:
            client.close()
            raise ResultsError(f"the Dask cluster at {address} has no workers")
        cluster = contextlib.nullcontext()
    else:
        # A worker's JAX takes what threads it likes; one chunk at a time is what it works on.
        cluster = distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, dashboard_address=None, memory_limit=0
        )
        client = distributed.Client(cluster)
    with cluster, client:
        yield Workers(client.get_executor(pure=False), count, True)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise ResultsError('Dask is not installed; pip install "mcdev[distributed]"') from None
    return distributed
