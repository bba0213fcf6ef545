"""A study: several experiments, each in several variants, and one table of all published numbers beside ours.

    name = "table1"
    runs = ["fig4_turn_on.toml", "fig5_paired_pulse.toml"]

    [variants."level 1"]
    [variants."level 2"]
    set = { "device.preset" = "device_p_pnp" }
    notes = { ppf = "why this variant cannot meet it" }

Each run has a folder of its own, ``VARIANT/RUN``. A study that is started again in its folder takes up the runs that
are finished, and computes again those whose configuration has changed.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import xarray as xr
from pydantic import Field, ValidationError

from mcdev.configuration.describes import check_describes
from mcdev.configuration.experiment import Experiment, load
from mcdev.configuration.extends import read_toml
from mcdev.configuration.problems import ConfigError, Problem, beside, described, key_path, unique
from mcdev.files.plain_text import CsvWriter
from mcdev.results.file import read
from mcdev.results.safekeeping import is_finished
from mcdev.schema import FileName, Strict, file_names, nearest

TABLE, FIGURES = "table.csv", "figures"
"""The study's own, beside the folders of its variants."""


class Variant(Strict):
    """What distinguishes one column of the table."""

    set: dict[str, Any] = Field(default_factory=dict)
    """Key path → value, replaced in every run."""
    notes: dict[str, str] = Field(default_factory=dict)
    """Measurement or coefficient → what the reader of its numbers must know."""


class Study(Strict):
    """The whole file."""

    name: FileName
    """Names the study's folder."""
    description: str = Field("", max_length=4000)
    """Free text, kept with the results."""
    runs: tuple[str, ...] = Field(min_length=1)
    """Configuration files, relative to this one."""
    variants: dict[FileName, Variant] = Field(min_length=1)
    """Columns of the table."""
    source: str = ""
    """Only published numbers whose source begins with this are tabulated."""


class Member(NamedTuple):
    """One experiment of a study."""

    run: str
    """Name of its file without the ending; the whole path where another's would be the same."""
    variant: str
    experiment: Experiment
    folder: Path
    """Its own, in the study's."""


@dataclass(frozen=True)
class Plan:
    """A study with its experiments, all checked."""

    study: Study
    members: tuple[Member, ...]


def load_study(path: str | Path, overrides: dict[str, Any] | None = None) -> Plan:
    """The study of a TOML file; ``overrides`` hold in every run, over those of the variants. Raises ``ConfigError``
    with everything that is wrong in it or in any of its runs."""
    path = Path(path)
    data = read_toml(path)
    check_describes("study", data, str(path))
    try:
        study = Study.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise ConfigError(unique([p for p, _ in described(error, data, Study)]), str(path)) from None
    names = run_names(study.runs)
    often = Counter(names)
    problems = [Problem("runs", name, "is the name of two runs; name each once") for name in often if often[name] > 1]
    members = []
    folders, runs = file_names(list(study.variants), (TABLE, FIGURES)), file_names(names)
    for variant, what in study.variants.items():
        for file, name in zip(study.runs, names, strict=True):
            try:
                experiment = load(beside(path.parent, file), {**what.set, **(overrides or {})})
            except ValueError as error:
                if isinstance(error, ConfigError):
                    problems += [Problem(f"{file} ({variant}): {p.key}", p.value, p.message) for p in error.problems]
                else:
                    problems.append(Problem("runs", file, str(error)))
                continue
            members.append(Member(name, variant, experiment, Path(folders[variant]) / runs[name]))
    known = {name for m in members for name in (*m.experiment.measurements, *_coefficients(m.experiment))}
    for variant, what in study.variants.items():
        for name in what.notes:
            if name not in known and not problems:
                key = key_path("variants", variant, "notes", name)
                problems.append(Problem(key, None, f"no such measurement or coefficient; {nearest(name, known)}"))
    if problems:
        raise ConfigError(problems, str(path))
    return Plan(study, tuple(members))


def _coefficients(experiment: Experiment) -> Iterator[str]:
    for fit in experiment.fits.values():
        yield from fit.coefficients


def run_names(files: Sequence[str]) -> list[str]:
    """Name of the run of each file: without its ending and its folders where the rest says which is meant."""
    paths = [PurePosixPath(Path(os.path.normpath(file)).as_posix()) for file in files]
    often = Counter(path.stem.casefold() for path in paths)
    return [path.stem if often[path.stem.casefold()] == 1 else str(path) for path in paths]


def perform(
    plan: Plan, folder: Path, run: Callable[[Member, Path], Any], accept: bool = False
) -> dict[tuple[str, str], xr.DataTree]:
    """(run, variant) → results. ``run`` is called for every member that has no finished results of this very
    identity in its folder, and must finish them there. ``accept``: as of ``safekeeping.Folder``.

    Raises ``ResultsError`` where they were made by another version of mcdev, or another machine that is not accepted.
    """
    trees = {}
    for member in plan.members:
        place = folder / member.folder
        if not is_finished(place, member.experiment, accept):
            run(member, place)
        trees[member.run, member.variant] = read(place)
    return trees


class Entry(NamedTuple):
    """One number of one variant."""

    value: float | None
    error: float | None
    """Standard error over the devices."""
    deviation: float | None
    """(value - published)/published; None where only a sign is published."""
    note: str


class Row(NamedTuple):
    run: str
    quantity: str
    point: dict[str, str]
    """Axis → value, as the first variant has it."""
    unit: str
    published: float | str
    source: str
    entries: dict[str, Entry]
    """Variant → number."""


def table(plan: Plan, trees: dict[tuple[str, str], xr.DataTree]) -> list[Row]:
    """One row for each published number of the study's source, in the order of the runs and their references."""
    from mcdev.statistics import compare  # slow to import, and wanted last

    rows = []
    variants = list(plan.study.variants)
    for run in dict.fromkeys(member.run for member in plan.members):
        columns = [compare(trees[run, variant]) for variant in variants]
        for records in zip(*columns, strict=True):
            first = records[0]
            if not first["source"].startswith(plan.study.source):
                continue
            entries = {
                variant: _entry(record, plan.study.variants[variant].notes)
                for variant, record in zip(variants, records, strict=True)
            }
            quantity, point = first["what"].rpartition(": ")[2], first["point"]
            rows.append(Row(run, quantity, point, first["unit"], first["published"], first["source"], entries))
    return rows


def _entry(record: dict[str, Any], notes: dict[str, str]) -> Entry:
    ours, published = record["ours"], record["published"]
    known = ours is not None and math.isfinite(ours)
    deviation = ours / published - 1.0 if known and not isinstance(published, str) and published else None
    return Entry(ours, record["error"], deviation, notes.get(record["what"].rpartition(": ")[2], ""))


def to_csv(rows: list[Row]) -> str:
    """The table as a CSV file, one line a number and variant."""
    text = io.StringIO()
    writer = CsvWriter(text)
    columns = ("run", "quantity", "point", "unit", "published", "variant", "value", "standard_error", "deviation")
    writer.row([*columns, "note", "source"])
    for row in rows:
        point = "; ".join(f"{axis} = {value}" for axis, value in row.point.items())
        for variant, entry in row.entries.items():
            writer.row(
                [row.run, row.quantity, point, row.unit, row.published, variant, *entry[:3], entry.note, row.source]
            )
    return text.getvalue()
