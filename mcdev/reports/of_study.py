"""What there is to see of a study: its table, and each of its runs as a report of its own."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from mcdev.files.structure import read_text
from mcdev.files.whole_file import ResultsError
from mcdev.reports import of_run
from mcdev.reports.contents import Block, Cell, Choice, Contents, sortable
from mcdev.reports.thinning import evenly
from mcdev.results.file import FILE_NAME, read
from mcdev.study import TABLE

_MOST = 40
"""Runs that are shown."""


def runs_below(folder: Path) -> list[Path]:
    """The folders of a study's runs: ``VARIANT/RUN``."""
    return sorted(file.parent for file in folder.glob(f"*/*/{FILE_NAME}"))


def contents(folder: Path, numbers: int) -> Contents:
    """The table of published numbers, and the runs, of which one is chosen. Raises ``ResultsError`` where there is
    none."""
    every = runs_below(folder)
    if not every:
        raise ResultsError(f"{folder} holds no results; give the folder of a run, a study or a calibration")
    shown = [every[i] for i in evenly(len(every), _MOST)]
    names = [f"{path.parent.name}: {path.name}" for path in shown]
    found = Contents((Choice("run", "variant: run", names, several=False),), (), tuple(_table(folder / TABLE)))
    for i, path in enumerate(shown):
        own = of_run.contents(read(path), numbers // len(shown)).within("run", i)
        found = Contents(found.choices + own.choices, found.panels + own.panels, found.blocks + own.blocks)
    return found


def _table(file: Path) -> Iterator[Block]:
    if not file.is_file():
        return
    headings, *rows = csv.reader(read_text(file).splitlines())
    yield Block("Published numbers in every variant", sortable(headings, ([_cell(x) for x in row] for row in rows)))


def _cell(text: str) -> str | Cell:
    try:
        return Cell(f"{float(text):.4g}", float(text))
    except ValueError:
        return text
