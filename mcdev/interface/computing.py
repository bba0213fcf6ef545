"""The commands that compute: run, calibrate."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from mcdev.files.plain_text import visible
from mcdev.interface.application import (
    AcceptOther,
    ConfigFile,
    Only,
    Overrides,
    PictureFormat,
    PictureStyle,
    Plugins,
    Quiet,
    Scheduler,
    SchedulerAddress,
    Threads,
    again_with,
    app,
    command_line,
    kind_of_workers,
    overrides,
    start,
)
from mcdev.interface.drawing import draw, draw_calibration
from mcdev.interface.ending import BROKEN, CONFIG, FILES, Leave, to_be_gone_on_with, what_is_kept
from mcdev.interface.progress_bar import progress_bar
from mcdev.interface.terminal import STDERR, STDOUT, print_calibration, print_study, print_tables

if TYPE_CHECKING:
    from mcdev.configuration.experiment import Experiment


@app.command()
def run(
    config: Annotated[
        Path | None, typer.Argument(help="Configuration file (TOML); with --resume it may be left out.")
    ] = None,
    set_: Overrides = None,
    plugin: Plugins = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; default: a new one under runs/.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Folder of a stopped run, to be gone on with.")] = None,
    threads: Threads = None,
    memory: Annotated[
        float | None, typer.Option(min=0.001, help="Budget in GiB; default: 80 % of what is free.")
    ] = None,
    scheduler: Scheduler = "threads",
    scheduler_address: SchedulerAddress = None,
    accept: AcceptOther = False,
    figures: Annotated[bool, typer.Option(help="Draw the pictures.")] = True,
    form: PictureFormat = "png",
    only: Only = None,
    style: PictureStyle = "single",
    quiet: Quiet = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would take: steps, memory, time.")
    ] = False,
) -> None:
    """Run an experiment: results.h5, statistics.csv, figures and a table. Or a study of several, with their table."""
    from mcdev.configuration.describes import describes
    from mcdev.configuration.experiment import load
    from mcdev.machine import compilation_cache
    from mcdev.results.names import RECORD, folder_name

    kind = kind_of_workers(scheduler, scheduler_address)
    if resume is not None and out is not None:
        raise Leave("--out and --resume both name the folder; give one of them", CONFIG)
    pictures = _pictures(form, only, style) if figures else None
    how = _How(kind, threads, scheduler_address, memory * 2**30 if memory else None, pictures, accept)
    if config is None and resume is None:
        raise Leave("give a configuration file, or --resume FOLDER", CONFIG)
    start()
    compilation_cache.switch_on()
    if dry_run and config is not None:
        _print_forecast(config, overrides(set_), threads)
        return
    if config is not None and describes(config) == "study":
        _run_study(config, set_, resume or out, how)
        return
    experiment = load(config or _configuration(resume or Path()), overrides(set_))
    folder = resume or _begun(out or Path(experiment.output.directory) / folder_name(experiment), experiment)
    again = command_line("run", "--resume", folder, *again_with(None, accept))
    with to_be_gone_on_with(again, folder / RECORD):
        tree, records, failed = _run_one(experiment, folder, how, resume is not None, again)
        print_tables(tree, records)
        drawn = draw(tree, folder / "figures", *pictures) if pictures and experiment.output.figures else []
    more = (", card.toml" if tree["realisations"].sizes["device"] > 1 else "") + (", figures/" if drawn else "")
    STDOUT.answer(f"\nresults: {folder}/ (results.h5, statistics.csv, config.toml{more})", str(folder))
    for chunk, why in failed.items():
        STDERR.say(f"{chunk.name}: {why}", "set aside", "red")
    if failed:
        from mcdev.results.safekeeping import ATTEMPTS

        raise Leave(
            f"{len(failed)} chunks failed {ATTEMPTS} times and count as broken down; what was computed is "
            f"kept, they are tried again with: {again}",
            BROKEN,
        )
    broken = _broken(tree)
    if broken:
        raise Leave(
            f"{broken} of {tree['realisations']['intact'].size} realisations broke down and are left out of the "
            f"statistics{_first_to_break(tree, experiment)}; their parameters are in results.h5: "
            f"{experiment.remedy}",
            BROKEN,
        )


def _configuration(folder: Path) -> Path:
    from mcdev.results import safekeeping

    return safekeeping.configuration(folder)


def _print_forecast(config: Path, overrides: dict[str, Any], threads: int | None) -> None:
    from mcdev.configuration.describes import describes
    from mcdev.configuration.experiment import load
    from mcdev.simulation import forecast
    from mcdev.study import load_study

    if describes(config) == "study":
        members = load_study(config, overrides).members
        named = [(f"{member.variant}, {member.run}", member.experiment) for member in members]
    else:
        named = [(str(config), load(config, overrides))]
    for name, experiment in named:
        for line in forecast.report(forecast.forecast(experiment, threads)):
            STDOUT.say(f"{name}: {line}")
        for note in experiment.notes():
            STDOUT.say(f"{name}: {note}", "note")
        for warning in experiment.warnings():
            STDOUT.say(f"{name}: {warning}", "warning", "yellow")


class Pictures(NamedTuple):
    """Which pictures are drawn, as what, and how wide."""

    form: str
    only: tuple[str, ...]
    style: str


def _pictures(form: str, only: list[str] | None, style: str) -> Pictures:
    """Raises ``ConfigError`` for names that no picture has, before anything is computed."""
    if only:
        from mcdev.figures.pictures import check_names

        check_names(only)
    return Pictures(form, tuple(only or ()), style)


class _How(NamedTuple):
    """With which workers, in how much memory."""

    kind: Literal["threads", "dask"]
    number: int | None
    address: str | None
    memory: float | None
    """Bytes."""
    pictures: Pictures | None
    """None: none are drawn."""
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
    from mcdev.results.names import RECORD

    said, known = experiment.notes(), experiment.warnings()
    for note in said:
        STDERR.say(note, "note")
    for warning in known:
        STDERR.say(warning, "warning", "yellow")
    failed: dict[Any, str] = {}
    try:
        with safekeeping.Folder(folder, experiment, how.accept) as keeper:
            if resume and keeper.finished():
                STDERR.say(f"{folder} is finished; its results are verified")
                tree = read(folder)
            else:
                if resume and keeper.record.results is not None:
                    STDERR.say(f"{folder / FILE_NAME} is damaged; it is written again")
                with (
                    scheduler.workers(how.kind, how.number, how.address) as workers,
                    progress_bar(STDERR, STDERR.hushed) as bar,
                ):
                    task = bar.add_task(experiment.name, total=None)
                    shares = keeper.go_on() if resume else keeper.begin(workers.number, how.memory)
                    for note in keeper.notes:
                        STDERR.say(note)
                    tree, failed = safekeeping.work(
                        keeper, shares, workers, lambda done, total: bar.update(task, completed=done, total=total)
                    )
                write(tree, folder)
                if not failed:
                    keeper.done()
    except ResultsError as error:
        if not resume and (folder / RECORD).exists():
            raise ResultsError(f"{error}; {what_is_kept(folder)}, go on with: {again}") from None
        raise
    finally:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    for note in str(tree.attrs.get("notes", "")).splitlines():
        if note not in said:
            STDERR.say(note, "note")
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
    return tree, records, failed


def _first_to_break(tree: Any, experiment: Any) -> str:
    """Which memristor of a circuit it was, and how often."""
    if "culprit" not in tree["realisations"].dataset:
        return ""
    names = [*experiment.circuit.memristors, "a charge"]
    numbers = tree["realisations"]["culprit"].values.ravel().tolist()
    often = {name: numbers.count(i) for i, name in enumerate(names) if i in numbers}
    return f" (first to break down: {', '.join(f'{name} {count} times' for name, count in often.items())})"


def _broken(tree: Any) -> int:
    return int((tree["realisations"]["intact"].values == 0).sum())


def _run_study(config: Path, set_: list[str] | None, out: Path | None, how: _How) -> None:
    from mcdev import study
    from mcdev.files.whole_file import whole_file
    from mcdev.results import record, safekeeping
    from mcdev.results.names import RECORD, time_stamp

    plan = study.load_study(config, overrides(set_))
    folder = out or Path(plan.members[0].experiment.output.directory) / f"{plan.study.name}-{time_stamp()}"
    again = command_line("run", config, "--resume", folder, *again_with(set_, how.accept))

    def run_member(member: study.Member, place: Path) -> None:
        STDERR.say(f"{member.variant}: {member.run}")
        begun = (place / RECORD).exists()
        changed = safekeeping.Folder(place, member.experiment).changed() if begun else []
        if changed:
            STDERR.say(f"{place} is computed again: {'; '.join(changed)}")
        _run_one(
            member.experiment, place if begun else _begun(place, member.experiment), how, begun and not changed, again
        )

    _writable(folder)
    with to_be_gone_on_with(again, folder), record.alone(folder):
        trees = study.perform(plan, folder, run_member, how.accept)
        rows = study.table(plan, trees)
        with whole_file(folder / study.TABLE) as temporary:
            temporary.write_text(study.to_csv(rows), encoding="utf-8")
        if rows:
            print_study(plan, rows)
        if how.pictures:
            _draw_study(plan, trees, folder, how.pictures)
    STDOUT.answer(f"\nresults: {folder}/ (table.csv, and a folder for each run of each variant)", str(folder))
    broken = sum(_broken(tree) for tree in trees.values())
    if broken:
        raise Leave(f"{broken} realisations broke down and are left out; see statistics.csv of each run", BROKEN)


def _draw_study(plan: Any, trees: dict[tuple[str, str], Any], folder: Path, pictures: Pictures) -> None:
    from mcdev.figures.pictures import draw_study
    from mcdev.study import FIGURES

    for path in draw_study(trees, folder / FIGURES, pictures.form, pictures.style) if not pictures.only else ():
        STDOUT.say(f"figure: {path}")
    for member in plan.members:
        draw(trees[member.run, member.variant], folder / member.folder / "figures", *pictures)


@app.command()
def calibrate(
    config: ConfigFile,
    set_: Overrides = None,
    plugin: Plugins = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; default: a new one under runs/.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Folder of a stopped calibration, to be gone on with.")] = None,
    threads: Threads = None,
    scheduler: Scheduler = "threads",
    scheduler_address: SchedulerAddress = None,
    accept: AcceptOther = False,
    figures: Annotated[bool, typer.Option(help="Draw the pictures.")] = True,
    form: PictureFormat = "png",
    quiet: Quiet = False,
) -> None:
    """Fit device parameters to reported numbers and measured curves: values, intervals, what is not determined.

    Threads and scheduler are those of the simulations from which a posterior is learnt.
    """
    from mcdev.calibration import folder as its_folder
    from mcdev.calibration import load_job
    from mcdev.machine import compilation_cache
    from mcdev.results.record import alone
    from mcdev.results.scheduler import workers

    kind = kind_of_workers(scheduler, scheduler_address)
    start()
    compilation_cache.switch_on()
    plan = load_job(config, overrides(set_))
    if plan.job.simulations is None and (kind == "dask" or threads is not None):
        raise Leave(
            "--threads, --scheduler and --scheduler-address are of [simulations], which the file has not: a search is "
            "done in this process, on all cores; leave them out",
            CONFIG,
        )
    if resume is None:
        folder = _claim(out or Path(plan.job.directory) / its_folder.folder_name(plan), {})
    else:
        folder = resume
        its_folder.check(plan, folder, accept)
    again = command_line("calibrate", config, "--resume", folder, *again_with(set_, accept))
    for warning in plan.warnings:
        STDERR.say(warning, "warning", "yellow")
    with to_be_gone_on_with(again, folder / its_folder.RECORD), alone(folder):
        kept = its_folder.begin(plan, folder) if resume is None else its_folder.go_on(plan, folder, accept)
        with Progress(
            TextColumn("{task.description}", markup=False), TimeElapsedColumn(), console=STDERR, disable=STDERR.hushed
        ) as bar:
            task = bar.add_task(plan.job.name, total=None)
            with workers(kind, threads, scheduler_address) as crew:
                tree = its_folder.work(
                    plan, folder, kept, lambda text: bar.update(task, description=visible(text)), crew, accept
                )
        for note in kept.notes:
            STDERR.say(note)
        print_calibration(tree)
        if figures:
            draw_calibration(tree, folder / "figures", form)
    STDOUT.answer(f"\nresults: {folder}/ (calibration.h5, fitted.toml, targets.csv, parameters.csv)", str(folder))


def _claim(folder: Path, own: dict[str, str]) -> Path:
    """Make the folder of new work, in which nothing lies but ``own`` files of it (name → text) that a kill has left."""
    from mcdev.results.record import unused

    if folder.exists() and not unused(folder, own):
        raise Leave(
            f"{folder} exists and is not empty; go on with what was begun there by --resume, choose another --out or "
            "remove it",
            FILES,
        )
    return _writable(folder)


def _begun(folder: Path, experiment: Experiment) -> Path:
    """The same for a run, which writes its configuration before anything else."""
    from mcdev.results.names import CONFIG as name

    return _claim(folder, {name: experiment.to_toml()})


def _writable(folder: Path) -> Path:
    """Make a folder now: a full or read-only disk should be known before hours of work."""
    if folder.exists() and not folder.is_dir():
        raise Leave(f"{folder} is a file; choose another --out", FILES)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Leave(f"{folder} cannot be written: {error.strerror}; choose another --out", FILES) from None
    return folder
