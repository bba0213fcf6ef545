"""What a Python session calls: a run from whatever says what it is, with a bar that shows how far it is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import xarray as xr
from rich.console import Console

from mcdev.configuration.experiment import Experiment, build, load
from mcdev.configuration.problems import ConfigError, Problem, shown
from mcdev.interface.progress_bar import progress_bar
from mcdev.results import tree

Report = Callable[[int, int], None]


def run(
    experiment: Experiment | Mapping[str, Any] | str | os.PathLike[str],
    report: Report | bool = True,
    threads: int | None = None,
) -> xr.DataTree:
    """Simulate an experiment; its results as an xarray tree (groups: ``mcdev.results.tree``).

    ``experiment``: what :func:`load` or :func:`build` gave, a configuration's file, or its tables as a dictionary; file
    names in a dictionary start at the current folder. ``report``: True shows a bar in a terminal or a notebook, False
    nothing; a function is called with (done, total) as work proceeds.

    Raises ``ConfigError`` with everything that is wrong, ``NotEnoughMemory`` before anything is computed.
    """
    what = experiment_from(experiment)
    with _shown(what.name, report) as heard:
        return tree.run(what, heard, threads)


def experiment_from(source: object) -> Experiment:
    """The experiment that is meant. Raises ``ConfigError`` for a study or a calibration, and for what is none."""
    if isinstance(source, Experiment):
        return source
    if isinstance(source, Mapping):
        return build(source)
    if isinstance(source, (str, os.PathLike)):
        return load(Path(source))
    expected = "expected the path of a configuration, a dictionary or an Experiment"
    raise ConfigError([Problem(type(source).__name__, None, f"{shown(source)} is no experiment; {expected}")], "run")


@contextlib.contextmanager
def _shown(name: str, report: Report | bool) -> Iterator[Report | None]:
    """What hears how far a run is."""
    if not isinstance(report, bool):
        yield report
        return
    console = Console(stderr=True)
    if not report or not (console.is_terminal or console.is_jupyter):
        yield None
        return
    with progress_bar(console) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
