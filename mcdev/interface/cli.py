"""The command line: run · calibrate · stats · compare · plot · export · validate · check · schema · presets ·
doctor.

Exit codes: 0 done; 1 done, but some realisations broke down; 2 wrong usage or configuration; 3 a file or folder
cannot be read or written; 4 not enough memory; 130 interrupted (Ctrl-C); 143 terminated (SIGTERM, as by a cluster's
time limit).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shlex
import signal
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from mcdev.configuration.experiment import Experiment, load
from mcdev.configuration.plugins import load_plugin, loaded
from mcdev.configuration.preset_tables import presets
from mcdev.configuration.problems import ConfigError
from mcdev.files.plain_text import one_line, visible
from mcdev.interface import checking
from mcdev.interface.terminal import (
    STDERR,
    STDOUT,
    outlets,
    print_calibration,
    print_study,
    print_tables,
    published,
    with_error,
)
from mcdev.machine.environment import NoBackend, backend, try_flags
from mcdev.machine.identity import ACCEPT
from mcdev.protocols.waveform import PointsFile

BROKEN, CONFIG, FILES, MEMORY = 1, 2, 3, 4
STOPPED = 128
"""And the number of the signal."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Simulate thousands of realisations of volatile memristors from one configuration file.",
)

ConfigFile = Annotated[Path, typer.Argument(help="Configuration file (TOML).", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(help="Folder of a run, or its results.h5.", show_default=False)]
AcceptOther = Annotated[
    bool,
    typer.Option(
        ACCEPT,
        help="Put together what machines of several kinds compute: their numbers differ in the last bits.",
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value; may be repeated.")
]


def _load_plugins(files: list[Path] | None) -> list[Path] | None:
    for file in files or []:
        load_plugin(file)
    return files


Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        help="Python file with kinds or a picture of your own, which is run; may be repeated.",
        callback=_load_plugins,
    ),
]
"""Loaded while the command line is read, before the command itself begins."""


class _Leave(Exception):
    """Ends the program with a message and an exit code."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


class _Interrupted(BaseException):
    """Ctrl-C, or a request to terminate. Not a KeyboardInterrupt, which typer would swallow without a word."""

    def __init__(self, number: int = signal.SIGINT):
        super().__init__()
        self.code = STOPPED + number


def _interrupt(signal_number: int, frame: Any) -> None:
    for number in _SIGNALS:  # once is enough: the way out is not to be interrupted
        signal.signal(number, signal.SIG_IGN)
    raise _Interrupted(signal_number)


@contextlib.contextmanager
def _to_be_gone_on_with(command: str, kept: Path) -> Iterator[None]:
    """An interrupt is answered with the command that goes on, once the file ``kept`` is there."""
    try:
        yield
    except (_Interrupted, KeyboardInterrupt) as stop:
        code = stop.code if isinstance(stop, _Interrupted) else STOPPED + signal.SIGINT
        how = f"; {_kept(kept if kept.is_dir() else kept.parent)}, go on with: {command}" if kept.exists() else ""
        raise _Leave(f"stopped{how}", code) from None


def _kept(folder: Path) -> str:
    """What a folder holds of work that was stopped, in words."""
    finished = next(itertools.chain(folder.rglob("*.h5"), folder.rglob("*.npz")), None)
    return "no part of it was finished" if finished is None else "what was computed is kept"


def _command(*words: Any) -> str:
    """A command line as a shell takes it."""
    return shlex.join(["mcdev", *(str(word) for word in words)])


def _again(pairs: list[str] | None, accept: bool) -> list[str]:
    """The options that a command which goes on needs, too."""
    given = [word for pair in pairs or [] for word in ("--set", pair)]
    files = [plugin.path for plugin in loaded() if plugin.path is not None]
    return given + [word for file in files for word in ("--plugin", str(file))] + ([ACCEPT] if accept else [])


def main() -> None:
    """Entry point: turns the errors that a user can mend into one message and an exit code."""
    with outlets() as output:
        try:
            _main()
        except SystemExit as leaving:
            code = leaving.code
        else:
            code = 0
        output.flush()
        if output.failure is not None and not isinstance(output.failure, BrokenPipeError):
            why = output.failure.strerror or output.failure
            message = f"standard output cannot be written ({why}); what was written to files is whole"
            STDERR.say(message, "error", "bold red")
            code = code or FILES
    sys.exit(code)


def _main() -> None:
    from mcdev.files.whole_file import ResultsError
    from mcdev.simulation.ensemble import NotEnoughMemory

    before = [signal.signal(number, _interrupt) for number in _SIGNALS]
    try:
        app()
    except ConfigError as error:
        _fail(str(error), CONFIG)
    except _Leave as error:
        _fail(str(error), error.code)
    except NoBackend as error:
        _fail(str(error), CONFIG)
    except ResultsError as error:
        _fail(str(error), FILES)
    except NotEnoughMemory as error:
        _fail(str(error), MEMORY)
    except _Interrupted as stop:
        _fail("stopped; what was not finished is not written", stop.code)
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler or signal.SIG_DFL)


def _fail(message: str, code: int) -> None:
    STDERR.say(message, "error", "bold red")
    if code > STOPPED:  # a thread that compiles cannot be stopped, and writes nothing: leave without it
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _start() -> None:
    """What computes needs JAX: one line where it cannot start. Raises ``NoBackend``."""
    try_flags()
    backend()


def _overrides(pairs: list[str] | None) -> dict[str, Any]:
    """``--set`` values are TOML; what is not valid TOML is taken as text, so that units need no quotes."""
    values = {}
    for pair in pairs or []:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise _Leave(f"--set {one_line(pair, 80)}: expected KEY=VALUE, like --set ensemble.devices=64", CONFIG)
        try:
            values[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[key.strip()] = text.strip()
        except (ValueError, RecursionError) as error:
            why = "a number of too many digits" if isinstance(error, ValueError) else "nested too deep"
            raise _Leave(f"--set {one_line(pair, 80)}: {why}; expected a value of a configuration", CONFIG) from None
    return values


# -------------------------------------------------------------------------------------- commands


@app.command()
def run(
    config: Annotated[
        Path | None, typer.Argument(help="Configuration file (TOML); with --resume it may be left out.")
    ] = None,
    set_: Overrides = None,
    plugin: Plugins = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; default: a new one under runs/.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Folder of a stopped run, to be gone on with.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads or local workers; default: all cores.")] = None,
    memory: Annotated[
        float | None, typer.Option(min=0.001, help="Budget in GiB; default: 80 % of what is free.")
    ] = None,
    scheduler: Annotated[str, typer.Option(help="threads, or dask: a cluster of processes.")] = "threads",
    scheduler_address: Annotated[
        str | None, typer.Option(help="Of a Dask scheduler that runs already, like tcp://host:8786.")
    ] = None,
    accept: AcceptOther = False,
    figures: Annotated[bool, typer.Option(help="Draw the pictures.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would take: steps, memory, time.")
    ] = False,
) -> None:
    """Run an experiment: results.h5, statistics.csv, figures and a table. Or a study of several, with their table."""
    from mcdev.machine import compilation_cache
    from mcdev.results import safekeeping
    from mcdev.results.file import folder_name
    from mcdev.study import is_study

    if scheduler not in ("threads", "dask"):
        raise _Leave(f"--scheduler {scheduler}: expected threads or dask", CONFIG)
    if resume is not None and out is not None:
        raise _Leave("--out and --resume both name the folder; give one of them", CONFIG)
    kind: Literal["threads", "dask"] = "dask" if scheduler == "dask" or scheduler_address else "threads"
    how = _How(kind, threads, scheduler_address, memory * 2**30 if memory else None, figures, accept)
    if config is None and resume is None:
        raise _Leave("give a configuration file, or --resume FOLDER", CONFIG)
    _start()
    compilation_cache.switch_on()
    if dry_run and config is not None:
        _print_forecast(config, _overrides(set_), threads)
        return
    if config is not None and is_study(config):
        _run_study(config, set_, resume or out, how)
        return
    experiment = load(config or safekeeping.configuration(resume or Path()), _overrides(set_))
    folder = resume or _begun(out or Path(experiment.output.directory) / folder_name(experiment), experiment)
    again = _command("run", "--resume", folder, *_again(None, accept))
    with _to_be_gone_on_with(again, folder / safekeeping.RECORD):
        tree, records, aside = _run_one(experiment, folder, how, resume is not None, again)
        print_tables(tree, records)
        drawn = _draw(tree, folder / "figures") if figures and experiment.output.figures else []
    more = (", card.toml" if tree["realisations"].sizes["device"] > 1 else "") + (", figures/" if drawn else "")
    STDOUT.say(f"\nresults: {folder}/ (results.h5, statistics.csv, config.toml{more})")
    for chunk, why in aside.items():
        STDERR.say(f"{chunk.name}: {why}", "set aside", "red")
    if aside:
        raise _Leave(
            f"{len(aside)} chunks failed {safekeeping.ATTEMPTS} times and count as broken down; what was computed is "
            f"kept, they are tried again with: {again}",
            BROKEN,
        )
    broken = _broken(tree)
    if broken:
        raise _Leave(
            f"{broken} of {tree['realisations']['intact'].size} realisations broke down and are left out of the "
            f"statistics; their parameters are in results.h5: {experiment.device.remedy}",
            BROKEN,
        )


def _print_forecast(config: Path, overrides: dict[str, Any], threads: int | None) -> None:
    from mcdev import study
    from mcdev.simulation import forecast

    if study.is_study(config):
        members = study.load_study(config, overrides).members
        named = [(f"{member.variant}, {member.run}", member.experiment) for member in members]
    else:
        named = [(str(config), load(config, overrides))]
    for name, experiment in named:
        for line in forecast.report(forecast.forecast(experiment, threads)):
            STDOUT.say(f"{name}: {line}")


class _How(NamedTuple):
    """With which workers, in how much memory."""

    kind: Literal["threads", "dask"]
    number: int | None
    address: str | None
    memory: float | None
    """Bytes."""
    figures: bool
    accept: bool
    """Whether other machines may have a part in it."""


def _run_one(
    experiment: Experiment, folder: Path, how: _How, resume: bool, again: str
) -> tuple[Any, list[dict[str, Any]], dict[Any, str]]:
    """Run an experiment under a progress bar and write its results; the tree, its statistics, and what failed.
    ``again``: the command that goes on with it."""
    from mcdev.files.whole_file import ResultsError, whole_file
    from mcdev.results import safekeeping, scheduler
    from mcdev.results.file import FILE_NAME, read, write

    known = experiment.warnings()
    for warning in known:
        STDERR.say(warning, "warning", "yellow")
    aside: dict[Any, str] = {}
    try:
        with safekeeping.Folder(folder, experiment, how.accept) as keeper:
            if resume and keeper.finished():
                STDERR.say(f"{folder} is finished; its results are as they were written")
                tree = read(folder)
            else:
                if resume and keeper.record.results is not None:
                    STDERR.say(f"{folder / FILE_NAME} is not as it was written; it is made again")
                with (
                    scheduler.workers(how.kind, how.number, how.address) as workers,
                    Progress(
                        TextColumn("{task.description}", markup=False),
                        BarColumn(),
                        TaskProgressColumn(),
                        TimeElapsedColumn(),
                        TextColumn("left"),
                        TimeRemainingColumn(),
                        console=STDERR,
                    ) as bar,
                ):
                    task = bar.add_task(experiment.name, total=None)
                    shares = keeper.go_on() if resume else keeper.begin(workers.number, how.memory)
                    for note in keeper.notes:
                        STDERR.say(note)
                    tree, aside = safekeeping.work(
                        keeper, shares, workers, lambda done, total: bar.update(task, completed=done, total=total)
                    )
                write(tree, folder)
                if not aside:
                    keeper.done()
    except ResultsError as error:
        if not resume and (folder / safekeeping.RECORD).exists():
            raise ResultsError(f"{error}; {_kept(folder)}, go on with: {again}") from None
        raise
    finally:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    for warning in str(tree.attrs["warnings"]).splitlines():  # of the results: who had a part in them
        if warning not in known:
            STDERR.say(warning, "warning", "yellow")
    from mcdev import statistics  # slow to import, and wanted last

    records = statistics.summarise(tree)
    with whole_file(folder / "statistics.csv") as temporary:
        temporary.write_text(statistics.to_csv(records), encoding="utf-8")
    if tree["realisations"].sizes["device"] > 1:
        with whole_file(folder / "card.toml") as temporary:
            temporary.write_text(statistics.to_toml(statistics.make_card(tree)), encoding="utf-8")
    return tree, records, aside


def _broken(tree: Any) -> int:
    return int(np.sum(np.asarray(tree["realisations"]["intact"]) == 0))


def _run_study(config: Path, set_: list[str] | None, out: Path | None, how: _How) -> None:
    from mcdev import study
    from mcdev.files.whole_file import whole_file
    from mcdev.results import record, safekeeping
    from mcdev.results.file import time_stamp

    plan = study.load_study(config, _overrides(set_))
    folder = out or Path(plan.members[0].experiment.output.directory) / f"{plan.study.name}-{time_stamp()}"
    again = _command("run", config, "--resume", folder, *_again(set_, how.accept))

    def run_member(member: study.Member, place: Path) -> None:
        STDERR.say(f"{member.variant}: {member.run}")
        begun = (place / safekeeping.RECORD).exists()
        changed = safekeeping.Folder(place, member.experiment).changed() if begun else []
        if changed:
            STDERR.say(f"{place} is computed again: {'; '.join(changed)}")
        _run_one(
            member.experiment, place if begun else _begun(place, member.experiment), how, begun and not changed, again
        )

    _writable(folder)
    with _to_be_gone_on_with(again, folder), record.alone(folder):
        trees = study.perform(plan, folder, run_member, how.accept)
        rows = study.table(plan, trees)
        with whole_file(folder / study.TABLE) as temporary:
            temporary.write_text(study.to_csv(rows), encoding="utf-8")
        if rows:
            print_study(plan, rows)
        if how.figures:
            _draw_study(plan, trees, folder)
    STDOUT.say(f"\nresults: {folder}/ (table.csv, and a folder for each run of each variant)")
    broken = sum(_broken(tree) for tree in trees.values())
    if broken:
        raise _Leave(f"{broken} realisations broke down and are left out; see statistics.csv of each run", BROKEN)


def _draw_study(plan: Any, trees: dict[tuple[str, str], Any], folder: Path) -> None:
    from mcdev.figures import draw_study
    from mcdev.study import FIGURES

    for path in draw_study(trees, folder / FIGURES):
        STDOUT.say(f"figure: {path}")
    for member in plan.members:
        _draw(trees[member.run, member.variant], folder / member.folder / "figures")


@app.command()
def calibrate(
    config: ConfigFile,
    set_: Overrides = None,
    plugin: Plugins = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; default: a new one under runs/.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Folder of a stopped calibration, to be gone on with.")] = None,
    accept: AcceptOther = False,
    figures: Annotated[bool, typer.Option(help="Draw the pictures.")] = True,
) -> None:
    """Fit device parameters to reported numbers and measured curves: values, intervals, what is not determined."""
    from mcdev.calibration import desk, load_job
    from mcdev.machine import compilation_cache
    from mcdev.results.record import alone

    _start()
    compilation_cache.switch_on()
    plan = load_job(config, _overrides(set_))
    if resume is None:
        folder = _claim(out or Path(plan.job.directory) / desk.folder_name(plan), {})
    else:
        folder = resume
        desk.check(plan, folder, accept)
    again = _command("calibrate", config, "--resume", folder, *_again(set_, accept))
    for warning in plan.warnings:
        STDERR.say(warning, "warning", "yellow")
    with _to_be_gone_on_with(again, folder / desk.RECORD), alone(folder):
        book = desk.begin(plan, folder) if resume is None else desk.go_on(plan, folder, accept)
        with Progress(TextColumn("{task.description}", markup=False), TimeElapsedColumn(), console=STDERR) as bar:
            task = bar.add_task(plan.job.name, total=None)
            tree = desk.work(plan, folder, book, lambda text: bar.update(task, description=visible(text)))
        for note in book.notes:
            STDERR.say(note)
        print_calibration(tree)
        if figures:
            _draw_calibration(tree, folder / "figures")
    STDOUT.say(f"\nresults: {folder}/ (calibration.h5, fitted.toml, targets.csv, parameters.csv)")


def _draw_calibration(tree: Any, folder: Path) -> None:
    from mcdev.figures import draw_calibration

    for path in draw_calibration(tree, folder):
        STDOUT.say(f"figure: {path}")


@app.command()
def stats(
    run: Annotated[Path, typer.Argument(help="Folder of a run, its results.h5, or a model card.", show_default=False)],
    format: Annotated[str, typer.Option(help="table, csv, json, long (CSV) or parquet.")] = "table",
    out: Annotated[Path | None, typer.Option(help="File to write; default: the terminal.")] = None,
    card: Annotated[Path | None, typer.Option(help="Write the model card into this file.")] = None,
    resample: Annotated[int | None, typer.Option(help="Draw this many devices from the card, as CSV.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of --resample.")] = 0,
    plugin: Plugins = None,
) -> None:
    """Statistics of each measurement at each sweep point: D2D and C2C, quantiles, censoring; a card; new devices."""
    from mcdev.statistics import desk
    from mcdev.statistics.screen import screens

    desk.check_format(format, out)
    if not desk.is_card(run):
        _say_altered(run)
    if desk.is_card(run) or card is not None or resample is not None:
        written, remarks = desk.serve(run, card, resample, seed, out)
        for line in written:
            STDERR.say(line)
        for remark in remarks:
            STDERR.say(remark, "note")
        return
    tree, records = desk.open_run(run)
    if format != "table":
        desk.export(tree, records, format, out)
        return
    print_tables(tree, records, every_entry=True)
    for screen in screens(tree, records):
        STDOUT.table(screen)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.", show_default=False)], plugin: Plugins = None
) -> None:
    """Published numbers beside ours, as a Markdown table."""
    from mcdev import statistics
    from mcdev.results.file import read
    from mcdev.statistics.screen import prefixed

    for folder in runs:
        _say_altered(folder)
    compared = [(tree, statistics.compare(tree)) for tree in map(read, runs)]  # all read before anything is printed
    STDOUT.say("| run | quantity | published | mcdev | source |")
    STDOUT.say("|---|---|---|---|---|")
    for tree, records in compared:
        for record in records:
            where = ", ".join(f"{axis} {prefixed(value)}" for axis, value in record["point"].items())
            what = record["what"] + (f" at {where}" if where else "")
            unit = "" if record["unit"] == "1" else f" {record['unit']}"
            theirs, ours = f"{published(record)}{unit}", f"{with_error(record['ours'], record['error'])}{unit}"
            cells = (str(tree.attrs["title"]), what, theirs, ours, record["source"])
            STDOUT.say("| " + " | ".join(one_line(cell).replace("|", r"\|") for cell in cells) + " |")


@app.command()
def plot(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures.")] = None,
    plugin: Plugins = None,
) -> None:
    """Draw the pictures of a run or calibration again, from its results file alone."""
    from mcdev.calibration import report
    from mcdev.results.file import find, read

    if report.is_calibration(run):
        tree = report.read(run)
        _draw_calibration(tree, out or (run if run.is_dir() else run.parent) / "figures")
        return

    folder = out or find(run).parent / "figures"
    _say_altered(run)
    drawn = _draw(read(run), folder)
    if not drawn:
        STDOUT.say("no picture applies to these results")


@app.command()
def export(
    source: Annotated[
        Path, typer.Argument(metavar="RUN_OR_CONFIG", help="Folder of a run, or a configuration.", show_default=False)
    ],
    to: Annotated[str, typer.Option(help="spice (for ngspice) or verilog-a.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "--out", help="Folder for the files.")] = Path(),
    name: Annotated[str | None, typer.Option(help="Of the device; default: the experiment's.")] = None,
    point: Annotated[int | None, typer.Option(help="Which sweep point, from one.")] = None,
    instances: Annotated[int, typer.Option(min=0, help="Write this many devices, each with its own parameters.")] = 0,
    card: Annotated[Path | None, typer.Option(help="Model card to draw them from; default: the configuration.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the draws from --card.")] = None,
    set_: Overrides = None,
    plugin: Plugins = None,
) -> None:
    """Write a device as a model for circuit simulators: states on internal nodes, parameters per instance."""
    from mcdev.export import export as write_models

    _start()
    with STDERR.status("a diffusive device's ensemble is simulated and fitted first"):
        written = write_models(source, to, output, name, point, instances, card, seed, _overrides(set_))
    for path in written:
        STDOUT.say(f"written: {path}")


@app.command()
def validate(config: ConfigFile, set_: Overrides = None, plugin: Plugins = None) -> None:
    """Check a configuration, or all of a study; nothing is computed."""
    from mcdev.calibration import is_job, load_job
    from mcdev.study import is_study, load_study

    _start()
    if is_job(config):
        job = load_job(config, _overrides(set_))
        fitted = sum(g.weight > 0 for g in job.goals)
        STDOUT.say(
            f"{config}: valid. {len(job.parameters)} parameters, {fitted} fitted numbers, {len(job.traces)} curves, "
            f"{job.job.search.starts.number} starts"
        )
        for warning in job.warnings:
            STDOUT.say(warning, "warning", "yellow")
    elif is_study(config):
        plan = load_study(config, _overrides(set_))
        for member in plan.members:
            _validate(f"{config}: {member.variant}, {member.run}", member.experiment)
    else:
        _validate(str(config), load(config, _overrides(set_)))


def _validate(name: str, experiment: Experiment) -> None:
    from mcdev.machine.threads import cores
    from mcdev.simulation.ensemble import check_memory, memory_needed, total_steps
    from mcdev.simulation.trial import trials

    points, size = trials(experiment), experiment.ensemble
    check_memory(points, in_memory=False)
    steps = total_steps(points) / (size.devices * size.cycles)
    STDOUT.say(
        f"{name}: valid. {len(points)} sweep point{'s' if len(points) > 1 else ''}, {size.devices} devices, "
        f"{size.cycles} cycle{'s' if size.cycles > 1 else ''}, {steps * size.cycles:.3g} steps a device, "
        f"about {memory_needed(points, cores(), in_memory=False) / 2**20:.0f} MiB"
    )
    for warning in experiment.warnings():
        STDOUT.say(warning, "warning", "yellow")


@app.command()
def schema(plugin: Plugins = None) -> None:
    """Print the JSON schema of a configuration, for editors that complete and check."""
    print(json.dumps(config_schema(), indent=2))


def config_schema() -> dict[str, Any]:
    """JSON schema of a file as written: a device may name a preset, which supplies what is then not required."""
    full = Experiment.model_json_schema()
    for definition in full["$defs"].values():
        properties = definition.get("properties", {})
        if "preset" in properties:
            kind = properties["kind"]["const"]
            own = [name for name, preset in presets().items() if preset["device"]["kind"] == kind]
            properties["preset"] = {"enum": own, "description": "Named parameter set to start from."}
            definition.pop("required", None)
            definition["anyOf"] = [{"required": ["preset"]}, {"required": ["kind"]}]
        if "samples_per_point" in properties:
            properties |= PointsFile.model_json_schema()["properties"]
            definition["required"] = ["kind"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **full}


@app.command("presets")
def list_presets() -> None:
    """Show the device presets: source, notes, and where each number comes from."""
    for name, preset in presets().items():
        STDOUT.say(preset["title"], name, "bold")
        STDOUT.say(f"  source: {preset['source']}")
        for note in preset["notes"]:
            STDOUT.say(f"  - {note}")
        table = Table("parameter", "value", "origin")
        for key, origin in preset["origin"].items():
            table.add_row(key, str(preset["device"].get(key, "")), origin)
        STDOUT.table(table)


@app.command()
def doctor() -> None:
    """Show backend, versions and settings, and what is known to be wrong with them."""
    from mcdev.interface import doctor as examination

    findings = examination.examine()
    for name, value in findings.facts.items():
        STDOUT.say(f"{name:22} {value}")
    for trouble in findings.troubles:
        STDOUT.say(trouble, "trouble", "bold red")
    STDOUT.say("nothing wrong found" if not findings.troubles else "")
    raise typer.Exit(BROKEN if findings.troubles else 0)


app.command()(checking.check)


# -------------------------------------------------------------------------------------- details


def _claim(folder: Path, own: dict[str, str]) -> Path:
    """Make the folder of new work, in which nothing lies but ``own`` files of it (name → text) that a kill has left."""
    from mcdev.results.record import unused

    if folder.exists() and not unused(folder, own):
        raise _Leave(
            f"{folder} exists and is not empty; go on with what was begun there by --resume, choose another --out or "
            "remove it",
            FILES,
        )
    return _writable(folder)


def _begun(folder: Path, experiment: Experiment) -> Path:
    """The same for a run, which writes its configuration before anything else."""
    from mcdev.results.safekeeping import CONFIG as name

    return _claim(folder, {name: experiment.to_toml()})


def _writable(folder: Path) -> Path:
    """Make a folder now: a full or read-only disk should be known before hours of work."""
    if folder.exists() and not folder.is_dir():
        raise _Leave(f"{folder} is a file; choose another --out", FILES)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _Leave(f"{folder} cannot be written: {error.strerror}; choose another --out", FILES) from None
    return folder


def _say_altered(run: Path) -> None:
    """Warn of results that were changed since their run wrote them."""
    from mcdev.results.safekeeping import altered

    if warning := altered(run):
        STDERR.say(warning, "warning", "yellow")


def _draw(tree: Any, folder: Path) -> list[Path]:
    from mcdev.figures import draw_all

    drawn = draw_all(tree, folder, lambda why: STDERR.say(why, "note"))
    for path in drawn:
        STDOUT.say(f"figure: {path}")
    return drawn
