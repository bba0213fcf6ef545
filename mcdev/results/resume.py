"""A run that was stopped, gone on with from Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import xarray as xr

from mcdev.configuration.experiment import load
from mcdev.results import safekeeping
from mcdev.results.file import read, write
from mcdev.results.scheduler import workers


def resume(
    folder: str | Path,
    report: Callable[[int, int], None] | None = None,
    threads: int | None = None,
    accept_other_machine: bool = False,
) -> xr.DataTree:
    """Compute what is missing in the folder of a run, write its results there, and return them; of a finished run, its
    results as they were written. Every number is as if the run had never been stopped.

    ``report(done, total)`` is called as work proceeds. ``accept_other_machine``: put together what machines of several
    kinds compute. Raises ``ResultsError`` where the folder is of another configuration, code or machine.
    """
    place = Path(folder)
    experiment = load(safekeeping.configuration(place))
    with safekeeping.Folder(place, experiment, accept_other_machine) as keeper:
        if keeper.finished():
            return read(place)
        shares = keeper.go_on()
        with workers("threads", threads) as crew:
            tree, failed = safekeeping.work(keeper, shares, crew, report or (lambda done, total: None))
        write(tree, place)
        if not failed:
            keeper.done()
    return tree
