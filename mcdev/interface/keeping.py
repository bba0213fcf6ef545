"""The commands for the folders of runs: list, show, diff, remove."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from mcdev.files.plain_text import one_line, visible
from mcdev.interface.application import Plugins, app, command_line
from mcdev.interface.ending import FILES, Leave
from mcdev.interface.terminal import STDOUT

if TYPE_CHECKING:
    from mcdev.results.folders import Kept

_ROWS = 40
_SHOWN = {"measurement": "measurement", "point": "at", "n": "n", "n_censored": "censored"}
_SHOWN |= {"median": "median", "q05": "5 %", "q95": "95 %", "unit": "unit"}
"""Columns of statistics.csv that are shown, and what they are called."""


@app.command("list")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Where runs are kept.")] = Path("runs"),
) -> None:
    """List runs, calibrations and studies: how far each is, when it was, how much it takes."""
    from mcdev.results.folders import kept_below

    found = kept_below(folder)
    table = Table("folder", "what", "state", "last written", "MiB", "devices × cycles", box=SIMPLE_HEAD, pad_edge=False)
    for kept in found:
        when = f"{kept.changed:%Y-%m-%d %H:%M}"
        table.add_row(visible(kept.path.name), kept.what, kept.state, when, f"{kept.size / 2**20:.1f}", _size(kept))
    if found:
        STDOUT.table(table)
    states = [kept.state.partition(",")[0] for kept in found]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    size = sum(kept.size for kept in found) / 2**20
    STDOUT.say(f"{len(found)} in {folder}{f': {counts}; {size:.1f} MiB' if found else ''}")


@app.command()
def show(run: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)]) -> None:
    """Show what a run is: its state, its configuration in short, the medians of its measurements."""
    from mcdev.results.folders import kept_at

    kept = kept_at(run)
    data = kept.configuration
    STDOUT.say(f"{kept.path}: {kept.what}, {kept.state}, {kept.changed:%Y-%m-%d %H:%M}, {kept.size / 2**20:.1f} MiB")
    for key in ("name", "description"):
        if data.get(key):
            STDOUT.say(f"{key}: {one_line(str(data[key]), 400)}")
    for key in ("device", "circuit", "protocol"):
        if isinstance(data.get(key), dict):
            STDOUT.say(f"{key}: {_table(data[key])}")
    if _size(kept):
        STDOUT.say(f"ensemble: {_size(kept)} (devices × cycles)")
    axes = _inner(data, "sweep").get("axes")
    for path, values in axes.items() if isinstance(axes, dict) else ():
        STDOUT.say(f"sweep: {one_line(str(path), 80)} = {one_line(str(values), 120)}")
    statistics = kept.path / "statistics.csv"
    if statistics.is_file():
        _print_statistics(statistics)
    if kept.state.startswith("stopped") and kept.what == "run":
        STDOUT.say(f"go on with: {command_line('run', '--resume', kept.path)}")


def _print_statistics(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    table = Table(*_SHOWN.values(), box=SIMPLE_HEAD, pad_edge=False)
    for row in rows[:_ROWS]:
        table.add_row(*(visible(_short(row.get(column) or "")) for column in _SHOWN))
    STDOUT.table(table)
    if len(rows) > _ROWS:
        STDOUT.say(f"{len(rows) - _ROWS} more rows: {command_line('stats', path.parent)}")


def _short(text: str) -> str:
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text


def _inner(data: dict[str, Any], key: str) -> dict[str, Any]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}


def _size(kept: Kept) -> str:
    ensemble = _inner(kept.configuration, "ensemble")
    return f"{ensemble['devices']} × {ensemble.get('cycles', 1)}" if "devices" in ensemble else ""


def _table(data: dict[str, Any]) -> str:
    """What a table begins with, in one line."""
    from mcdev.schema.units import readable

    name = data.get("preset") or data.get("kind")
    shown = {k: v for k, v in data.items() if k not in ("kind", "preset") and not isinstance(v, dict)}
    others = [f"{k} = {readable(v) if isinstance(v, str) else v}" for k, v in shown.items()]
    return one_line(", ".join([str(name), *others]), 160)


@app.command()
def diff(
    one: Annotated[Path, typer.Argument(help="Folder of a run, or a configuration.", show_default=False)],
    other: Annotated[Path, typer.Argument(help="The same.", show_default=False)],
    plugin: Plugins = None,
) -> None:
    """Show the keys in which the configurations of two runs, or two configurations, differ."""
    from mcdev.configuration.key_paths import changed_keys
    from mcdev.configuration.problems import shown

    differences = list(changed_keys(_resolved(one), _resolved(other)))
    table = Table("key", visible(str(one)), visible(str(other)), box=SIMPLE_HEAD, pad_edge=False)
    for key, here, there in differences:
        table.add_row(visible(key), *("-" if value is None else visible(shown(value)) for value in (here, there)))
    if differences:
        STDOUT.table(table)
    number = len(differences)
    STDOUT.say(f"{number} key{'s' if number != 1 else ''} differ{'s' if number == 1 else ''}")


def _resolved(path: Path) -> dict[str, Any]:
    """The whole configuration: as the run's folder has it, or of a file with all defaults."""
    if path.is_dir():
        from mcdev.results.folders import kept_at

        kept = kept_at(path)
        if not kept.configuration:
            raise Leave(f"{path} is a {kept.what} and holds no configuration that can be read", FILES)
        return kept.configuration
    from mcdev.configuration.experiment import load  # the kinds, which a run's folder does not need

    return load(path).to_dict()


@app.command()
def remove(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove folders of runs, after asking; none that is being worked on, or that holds anything of yours."""
    from mcdev.results.folders import kept_at, not_ours

    found = [kept_at(run) for run in runs]
    for kept in found:
        if kept.path.is_symlink():
            raise Leave(f"{kept.path} is a link; name the folder itself", FILES)
        if kept.state == "at work":
            raise Leave(f"{kept.path} is being worked on; wait for it or stop it first", FILES)
        foreign = next(not_ours(kept.path), None)
        if foreign is not None:
            raise Leave(f"{kept.path} holds {foreign}, which mcdev did not write; move it elsewhere first", FILES)
        STDOUT.say(f"{kept.path}: {kept.what}, {kept.state}, {kept.size / 2**20:.1f} MiB")
    if not yes and not typer.confirm(f"remove {len(found)} folder{'s' if len(found) > 1 else ''} for good?"):
        STDOUT.say("nothing is removed")
        return
    for kept in found:
        try:
            shutil.rmtree(kept.path)
        except OSError as error:
            raise Leave(f"{kept.path} cannot be removed: {error.strerror or error}", FILES) from None
        STDOUT.say(f"removed: {kept.path}")
