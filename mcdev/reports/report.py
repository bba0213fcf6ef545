"""A report from what is at hand: results in memory, or the folder that a run, a study or a calibration has left."""

from __future__ import annotations

import html
import os
from collections.abc import Callable
from pathlib import Path

import xarray as xr

from mcdev.calibration import file as calibration_file
from mcdev.configuration.problems import ConfigError, Problem, shown
from mcdev.files.html import escaped
from mcdev.files.whole_file import whole_file
from mcdev.reports import of_calibration, of_run, of_study
from mcdev.reports.contents import Contents
from mcdev.reports.page import page
from mcdev.results.file import FILE_NAME, read

NAME = "report.html"
LARGEST = 5_000_000
"""Bytes of the file."""
_NUMBERS = 400_000
"""Of the panels, at first; less where the file would be too large."""


class Report:
    """One HTML file. A notebook shows it."""

    def __init__(self, title: str, text: str):
        self.title = title
        self.text = text

    def __repr__(self) -> str:
        return f"<report {self.title!r}: {len(self.text.encode()) / 1e6:.1f} MB>"

    def _repr_html_(self) -> str:
        inner = html.escape(self.text)
        look = 'style="width:100%;height:50rem;border:1px solid #ddd" sandbox="allow-scripts allow-downloads"'
        return f'<iframe title="{escaped(self.title)}" {look} srcdoc="{inner}"></iframe>'

    def save(self, file: str | Path) -> Path:
        """Write it. Raises ``ResultsError`` where that is not possible."""
        path = Path(file)
        with whole_file(path) as temporary:
            temporary.write_text(self.text, encoding="utf-8")
        return path


def report(results: xr.DataTree | str | os.PathLike[str], file: str | Path | None = None) -> Report:
    """An interactive report as one HTML file that needs no network: pictures that can be zoomed, sweep points and
    devices to choose, tables that can be sorted, the configuration and where it comes from.

    ``results``: the tree of a run, of measured files or of a calibration, or the folder of one of these or of a study.
    ``file``: where it is also written. Long courses and large ensembles are thinned until it has less than 5 MB. Raises
    ``ResultsError`` for what are no results.
    """
    made = _made(results)
    if file is not None:
        made.save(file)
    return made


def _made(results: object) -> Report:
    if isinstance(results, xr.DataTree):
        return _of_tree(results)
    if not isinstance(results, (str, os.PathLike)):
        expected = "expected the results of a run or a calibration, or their folder"
        raise ConfigError([Problem(type(results).__name__, None, f"{shown(results)}: {expected}")], "report")
    path = Path(results)
    if calibration_file.is_calibration(path):
        return _of_tree(calibration_file.read(path))
    if path.is_dir() and not (path / FILE_NAME).exists():
        title = path.resolve().name
        return _fitted(title, "a study: choose a variant and a run", lambda room: of_study.contents(path, room))
    return _of_tree(read(path))


def _of_tree(tree: xr.DataTree) -> Report:
    title, about = str(tree.attrs.get("title", "")), str(tree.attrs.get("description", ""))
    of = of_calibration if "targets" in tree.children else of_run
    return _fitted(title, about, lambda room: of.contents(tree, room))


def _fitted(title: str, about: str, contents: Callable[[int], Contents]) -> Report:
    """With as many numbers as a file of this size holds."""
    room = _NUMBERS
    while True:
        text = page(title, about, contents(room))
        if len(text.encode()) <= LARGEST or room < 1000:
            return Report(title, text)
        room //= 2
