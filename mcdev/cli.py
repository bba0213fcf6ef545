"""The command line: run · calibrate · stats · compare · plot · validate · schema · presets · doctor.

Exit codes: 0 done; 1 done, but some realisations broke down; 2 wrong usage or configuration; 3 a file or folder
cannot be read or written; 4 not enough memory; 130 interrupted.
"""

from __future__ import annotations

import json
import math
import signal
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from mcdev.experiment import Experiment, load, presets
from mcdev.problems import ConfigError

BROKEN, CONFIG, FILES, MEMORY, INTERRUPTED = 1, 2, 3, 4, 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Simulate thousands of realisations of volatile memristors from one configuration file.",
)
# Into a file or a pipe tables are as wide as they need, not as a terminal would be.
_out = Console(highlight=False, width=None if sys.stdout.isatty() else 132)
_err = Console(stderr=True, highlight=False)

ConfigFile = Annotated[Path, typer.Argument(help="Configuration file (TOML).", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(help="Folder of a run, or its results.h5.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value; may be repeated.")
]


class _Leave(Exception):
    """Ends the program with a message and an exit code."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


class _Interrupted(BaseException):
    """Ctrl-C. Not a KeyboardInterrupt, which typer would swallow without a word."""


def _interrupt(signal_number: int, frame: Any) -> None:
    raise _Interrupted


def main() -> None:
    """Entry point: turns the errors that a user can mend into one message and an exit code."""
    from mcdev.ensemble import NotEnoughMemory
    from mcdev.results import ResultsError

    signal.signal(signal.SIGINT, _interrupt)
    try:
        app()
    except ConfigError as error:
        _fail(str(error), CONFIG)
    except _Leave as error:
        _fail(str(error), error.code)
    except ResultsError as error:
        _fail(str(error), FILES)
    except NotEnoughMemory as error:
        _fail(str(error), MEMORY)
    except _Interrupted:
        _fail("stopped; what was not finished is not written", INTERRUPTED)


def _fail(message: str, code: int) -> None:
    _err.print(f"[bold red]error:[/] {_plain(message)}", soft_wrap=True)
    sys.exit(code)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def _overrides(pairs: list[str] | None) -> dict[str, Any]:
    """``--set`` values are TOML; what is not valid TOML is taken as text, so that units need no quotes."""
    values = {}
    for pair in pairs or []:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise _Leave(f"--set {pair}: expected KEY=VALUE, like --set ensemble.devices=64", CONFIG)
        try:
            values[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[key.strip()] = text.strip()
    return values


# -------------------------------------------------------------------------------------- commands


@app.command()
def run(
    config: Annotated[
        Path | None, typer.Argument(help="Configuration file (TOML); with --resume it may be left out.")
    ] = None,
    set_: Overrides = None,
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
    figures: Annotated[bool, typer.Option(help="Draw the pictures.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would take: steps, memory, time.")
    ] = False,
) -> None:
    """Run an experiment: results.h5, statistics.csv, figures and a table. Or a study of several, with their table."""
    from mcdev import compilation_cache, results, safekeeping
    from mcdev.study import is_study

    if scheduler not in ("threads", "dask"):
        raise _Leave(f"--scheduler {scheduler}: expected threads or dask", CONFIG)
    if resume is not None and out is not None:
        raise _Leave("--out and --resume both name the folder; give one of them", CONFIG)
    kind: Literal["threads", "dask"] = "dask" if scheduler == "dask" or scheduler_address else "threads"
    how = _How(kind, threads, scheduler_address, memory * 2**30 if memory else None, figures)
    if config is None and resume is None:
        raise _Leave("give a configuration file, or --resume FOLDER", CONFIG)
    compilation_cache.switch_on()
    if dry_run and config is not None:
        _print_forecast(config, _overrides(set_), threads)
        return
    if config is not None and is_study(config):
        _run_study(config, _overrides(set_), resume or out, how)
        return
    experiment = load(config or safekeeping.configuration(resume or Path()), _overrides(set_))
    folder = resume or _claim(out or Path(experiment.output.directory) / results.folder_name(experiment))
    tree, records, aside = _run_one(experiment, folder, how, resume is not None)
    _print_tables(tree, records)
    drawn = _draw(tree, folder / "figures") if figures and experiment.output.figures else []
    more = (", card.toml" if tree.sizes["device"] > 1 else "") + (", figures/" if drawn else "")
    _out.print(f"\nresults: {folder}/ (results.h5, statistics.csv, config.toml{more})")
    for chunk, why in aside.items():
        _err.print(f"[red]set aside:[/] {chunk.name}: {_plain(why)}", soft_wrap=True)
    if aside:
        raise _Leave(
            f"{len(aside)} chunks failed {safekeeping.ATTEMPTS} times and count as broken down; what was computed is "
            f"kept, they are tried again with: mcdev run --resume {folder}",
            BROKEN,
        )
    broken = _broken(tree)
    if broken:
        raise _Leave(
            f"{broken} of {tree['measurements']['intact'].size} realisations broke down and are left out of the "
            f"statistics; their parameters are in results.h5: {experiment.device.remedy}",
            BROKEN,
        )


def _print_forecast(config: Path, overrides: dict[str, Any], threads: int | None) -> None:
    from mcdev import forecast, study

    if study.is_study(config):
        members = study.load_study(config, overrides).members
        named = [(f"{member.variant}, {member.run}", member.experiment) for member in members]
    else:
        named = [(str(config), load(config, overrides))]
    for name, experiment in named:
        for line in forecast.report(forecast.forecast(experiment, threads)):
            _out.print(f"{_plain(name)}: {line}", soft_wrap=True)


class _How(NamedTuple):
    """With which workers, in how much memory."""

    kind: Literal["threads", "dask"]
    number: int | None
    address: str | None
    memory: float | None
    """Bytes."""
    figures: bool


def _run_one(
    experiment: Experiment, folder: Path, how: _How, resume: bool
) -> tuple[Any, list[dict[str, Any]], dict[Any, str]]:
    """Run an experiment under a progress bar and write its results; the tree, its statistics, and what failed."""
    from mcdev import results, safekeeping, scheduler, statistics

    for warning in experiment.warnings():
        _err.print(f"[yellow]warning:[/] {_plain(warning)}", soft_wrap=True)
    aside: dict[Any, str] = {}
    begun = resume
    try:
        with safekeeping.Folder(folder, experiment) as keeper:
            if resume and keeper.finished:
                _err.print(f"{folder} is finished; its results are as they were written", soft_wrap=True)
                tree = results.read(folder)
            else:
                with (
                    scheduler.workers(how.kind, how.number, how.address) as workers,
                    Progress(
                        TextColumn("{task.description}"),
                        BarColumn(),
                        TaskProgressColumn(),
                        TimeElapsedColumn(),
                        TextColumn("left"),
                        TimeRemainingColumn(),
                        console=_err,
                    ) as bar,
                ):
                    task = bar.add_task(experiment.name, total=None)
                    shares = keeper.go_on() if resume else keeper.begin(workers.number, how.memory)
                    begun = True
                    tree, aside = safekeeping.work(
                        keeper, shares, workers, lambda done, total: bar.update(task, completed=done, total=total)
                    )
                results.write(tree, folder)
                if not aside:
                    keeper.done(shares)
    except (_Interrupted, KeyboardInterrupt):
        kept = f"; what was computed is kept, go on with: mcdev run --resume {folder}" if begun else ""
        raise _Leave(f"stopped{kept}", INTERRUPTED) from None
    except results.ResultsError as error:
        if begun and not resume:
            raise results.ResultsError(
                f"{error}; what was computed is kept, go on with: mcdev run --resume {folder}"
            ) from None
        raise
    finally:
        if not begun and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    records = statistics.summarise(tree)
    with results.whole_file(folder / "statistics.csv") as temporary:
        temporary.write_text(statistics.to_csv(records), encoding="utf-8")
    if tree.sizes["device"] > 1:
        with results.whole_file(folder / "card.toml") as temporary:
            temporary.write_text(statistics.to_toml(statistics.make_card(tree)), encoding="utf-8")
    return tree, records, aside


def _broken(tree: Any) -> int:
    return int(np.sum(np.asarray(tree["measurements"]["intact"]) == 0))


def _run_study(config: Path, overrides: dict[str, Any], out: Path | None, how: _How) -> None:
    from mcdev import study
    from mcdev.results import time_stamp

    plan = study.load_study(config, overrides)
    folder = out or Path(plan.members[0].experiment.output.directory) / f"{plan.study.name}-{time_stamp()}"
    if folder.exists() and not folder.is_dir():
        raise _Leave(f"{folder} is a file; choose another --out", FILES)

    def run_member(member: study.Member, place: Path) -> None:
        _err.print(f"{member.variant}: {member.run}")
        begun = (place / "run.json").exists()
        try:
            _run_one(member.experiment, place if begun else _claim(place), how, begun)
        except _Leave as error:
            if error.code != INTERRUPTED:
                raise
            kept = f"what was computed is kept, go on with: mcdev run {config} --resume {folder}"
            raise _Leave(f"stopped; {kept}", INTERRUPTED) from None

    trees = study.perform(plan, folder, run_member)
    rows = study.table(plan, trees)
    (folder / "table.csv").write_text(study.to_csv(rows), encoding="utf-8")
    if rows:
        _print_study(plan, rows)
    if how.figures:
        _draw_study(plan, trees, folder)
    _out.print(f"\nresults: {folder}/ (table.csv, and a folder for each run of each variant)", soft_wrap=True)
    broken = sum(_broken(tree) for tree in trees.values())
    if broken:
        raise _Leave(f"{broken} realisations broke down and are left out; see statistics.csv of each run", BROKEN)


def _draw_study(plan: Any, trees: dict[tuple[str, str], Any], folder: Path) -> None:
    from mcdev.figures import draw_study

    for path in draw_study(trees, folder / "figures"):
        _out.print(f"figure: {path}", soft_wrap=True)
    for member in plan.members:
        _draw(trees[member.run, member.variant], folder / member.folder / "figures")


def _print_study(plan: Any, rows: list[Any]) -> None:
    beside = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("quantity", "at", "published"):
        beside.add_column(heading, no_wrap=True)
    for variant in plan.study.variants:
        beside.add_column(variant, no_wrap=True)
        beside.add_column("error", justify="right", no_wrap=True)
    said: list[str] = []
    for row in rows:
        unit = "" if row.unit == "1" else f" {row.unit}"
        published = row.published if isinstance(row.published, str) else f"{row.published:.4g}"
        cells = [row.quantity, ", ".join(row.point.values()), published + unit]
        for entry in row.entries.values():
            mark = ""
            if entry.note:
                if entry.note not in said:
                    said.append(entry.note)
                mark = f" ({said.index(entry.note) + 1})"
            cells.append(_number(entry.value, 4) + unit)
            cells.append(("-" if entry.deviation is None else f"{100 * entry.deviation:+.1f} %") + mark)
        beside.add_row(*(_plain(cell) for cell in cells))
    _out.print(beside)
    for number, note in enumerate(said, start=1):
        _out.print(f"({number}) {_plain(note)}", soft_wrap=True)


@app.command()
def calibrate(
    config: ConfigFile,
    set_: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; default: a new one under runs/.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Folder of a stopped calibration, to be gone on with.")] = None,
    figures: Annotated[bool, typer.Option(help="Draw the pictures.")] = True,
) -> None:
    """Fit device parameters to reported numbers and measured curves: values, intervals, what is not determined."""
    from mcdev import compilation_cache
    from mcdev.calibration import desk, load_job

    compilation_cache.switch_on()
    plan = load_job(config, _overrides(set_))
    if resume is None:
        folder = _claim(out or Path(plan.job.directory) / desk.folder_name(plan))
        desk.begin(plan, folder)
    else:
        folder = resume
        desk.check(plan, folder)
    for warning in plan.warnings:
        _err.print(f"[yellow]warning:[/] {_plain(warning)}", soft_wrap=True)
    try:
        with Progress(TextColumn("{task.description}"), TimeElapsedColumn(), console=_err) as bar:
            task = bar.add_task(plan.job.name, total=None)
            tree = desk.work(plan, folder, lambda text: bar.update(task, description=_plain(text)))
    except (_Interrupted, KeyboardInterrupt):
        kept = f"what was computed is kept; go on with: mcdev calibrate {config} --resume {folder}"
        raise _Leave(f"stopped; {kept}", INTERRUPTED) from None
    _print_calibration(tree)
    if figures:
        _draw_calibration(tree, folder / "figures")
    _out.print(f"\nresults: {folder}/ (calibration.h5, fitted.toml, targets.csv, parameters.csv)", soft_wrap=True)


def _draw_calibration(tree: Any, folder: Path) -> None:
    from mcdev.figures import draw_calibration

    for path in draw_calibration(tree, folder):
        _out.print(f"figure: {path}", soft_wrap=True)


def _print_calibration(tree: Any) -> None:
    targets, parameters = tree["targets"].dataset, tree["parameters"].dataset
    beside = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("target", "reported", "simulated", "pull"):
        beside.add_column(heading, no_wrap=heading != "target")
    for i, label in enumerate(targets["target"].values):
        t = {name: targets[name].values[i] for name in targets.data_vars}
        unit = "" if t["unit"] == "1" else f" {t['unit']}"
        pull = f"{t['pull']:+.2f}" + (" (not fitted)" if t["weight"] == 0 else "")
        error = float(t["simulated_error"]) or None
        beside.add_row(
            _plain(str(label)),
            _with_error(float(t["reported"]), float(t["uncertainty"])) + unit,
            _with_error(float(t["simulated"]), error) + unit,
            pull,
        )
    if targets.sizes["target"]:
        _out.print(beside)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("parameter", "fitted", "95 % interval", "relative s.d.", ""):
        table.add_column(heading, no_wrap=True)
    for i, label in enumerate(parameters["parameter"].values):
        p = {name: parameters[name].values[i] for name in ("unit", "value", "low", "high", "sd", "determined")}
        unit = "" if p["unit"] == "1" else f" {p['unit']}"
        interval = f"{p['low']:.4g} … {p['high']:.4g}"
        sd = f"{100 * p['sd']:.3g} %" if p["sd"] < 10 else "-"
        table.add_row(_plain(str(label)), f"{p['value']:.4g}{unit}", interval, sd, "" if p["determined"] else "weak")
    _out.print(table)
    if "models" in tree:
        compared = Table("model", "parameters", "numbers", "χ²", "worst", "AIC", "AICc", "BIC", box=SIMPLE_HEAD)
        models = tree["models"].dataset
        for i, name in enumerate(models["model"].values):
            numbers = [models[n].values[i] for n in ("chi_square", "worst", "aic", "aicc", "bic")]
            counts = [str(int(models[n].values[i])) for n in ("parameters", "numbers")]
            compared.add_row(_plain(str(name)), *counts, *(f"{x:.3g}" for x in numbers))
        _out.print(compared)
    singular = ", ".join(f"{s:.3g}" for s in parameters["singular_value"].values)
    _out.print(f"singular values (deviations by ln x): {singular}", soft_wrap=True)
    _out.print(f"loss at the end of each start: {', '.join(f'{x:.4g}' for x in tree['starts/loss'].values)}")
    for line in tree.attrs["conclusions"].split("\n"):
        if line:
            _out.print(f"- {_plain(line)}", soft_wrap=True)


@app.command()
def stats(
    run: Annotated[Path, typer.Argument(help="Folder of a run, its results.h5, or a model card.", show_default=False)],
    format: Annotated[str, typer.Option(help="table, csv, json, long (CSV) or parquet.")] = "table",
    out: Annotated[Path | None, typer.Option(help="File to write; default: the terminal.")] = None,
    card: Annotated[Path | None, typer.Option(help="Write the model card into this file.")] = None,
    resample: Annotated[int | None, typer.Option(help="Draw this many devices from the card, as CSV.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of --resample.")] = 0,
) -> None:
    """Statistics of each measurement at each sweep point: D2D and C2C, quantiles, censoring; a card; new devices."""
    from mcdev.statistics import desk
    from mcdev.statistics.screen import screens

    desk.check_format(format, out)
    if desk.is_card(run) or card is not None or resample is not None:
        desk.serve(run, card, resample, seed, out)
        return
    tree, records = desk.open_run(run)
    if format != "table":
        desk.export(tree, records, format, out)
        return
    _print_tables(tree, records, every_entry=True)
    for screen in screens(tree, records):
        _out.print(screen)


@app.command()
def compare(runs: Annotated[list[Path], typer.Argument(help="Folders of runs.", show_default=False)]) -> None:
    """Published numbers beside ours, as a Markdown table."""
    from mcdev import statistics
    from mcdev.results import read

    print("| run | quantity | published | mcdev | source |")
    print("|---|---|---|---|---|")
    for folder in runs:
        tree = read(folder)
        for record in statistics.compare(tree):
            where = ", ".join(f"{axis} {value}" for axis, value in record["point"].items())
            what = record["what"] + (f" at {where}" if where else "")
            unit = "" if record["unit"] == "1" else f" {record['unit']}"
            print(
                f"| {tree.attrs['title']} | {what} | {_published(record)}{unit} | "
                f"{_with_error(record['ours'], record['error'])}{unit} | {record['source']} |"
            )


@app.command()
def plot(run: RunFolder, out: Annotated[Path | None, typer.Option(help="Folder for the pictures.")] = None) -> None:
    """Draw the pictures of a run or calibration again, from its results file alone."""
    from mcdev.calibration import report
    from mcdev.results import find, read

    if report.is_calibration(run):
        tree = report.read(run)
        _draw_calibration(tree, out or (run if run.is_dir() else run.parent) / "figures")
        return

    folder = out or find(run).parent / "figures"
    drawn = _draw(read(run), folder)
    if not drawn:
        _out.print("no picture applies to these results")


@app.command()
def validate(config: ConfigFile, set_: Overrides = None) -> None:
    """Check a configuration, or all of a study; nothing is computed."""
    from mcdev.calibration import is_job, load_job
    from mcdev.study import is_study, load_study

    if is_job(config):
        job = load_job(config, _overrides(set_))
        fitted = sum(g.weight > 0 for g in job.goals)
        _out.print(
            f"{config}: valid. {len(job.parameters)} parameters, {fitted} fitted numbers, {len(job.traces)} curves, "
            f"{job.job.search.starts.number} starts",
            soft_wrap=True,
        )
        for warning in job.warnings:
            _out.print(f"[yellow]warning:[/] {_plain(warning)}", soft_wrap=True)
    elif is_study(config):
        plan = load_study(config, _overrides(set_))
        for member in plan.members:
            _validate(f"{config}: {member.variant}, {member.run}", member.experiment)
    else:
        _validate(str(config), load(config, _overrides(set_)))


def _validate(name: str, experiment: Experiment) -> None:
    from mcdev.ensemble import check_memory, cores, memory_needed
    from mcdev.program import drive

    check_memory(experiment, in_memory=False)
    points = experiment.points()
    steps = sum(drive(point, point.protocol.timeline()).steps for _, point in points)
    size = experiment.ensemble
    _out.print(
        f"{name}: valid. {len(points)} sweep point{'s' if len(points) > 1 else ''}, {size.devices} devices, "
        f"{size.cycles} cycle{'s' if size.cycles > 1 else ''}, {steps * size.cycles:.3g} steps a device, "
        f"about {memory_needed(experiment, cores(), in_memory=False) / 2**20:.0f} MiB",
        soft_wrap=True,
    )
    for warning in experiment.warnings():
        _out.print(f"[yellow]warning:[/] {_plain(warning)}", soft_wrap=True)


@app.command()
def schema() -> None:
    """Print the JSON schema of a configuration, for editors that complete and check."""
    print(json.dumps(config_schema(), indent=2, ensure_ascii=False))


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
            properties["file"] = {"type": "string", "description": "CSV file of time (s) and voltage (V)."}
            definition["required"] = ["kind"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **full}


@app.command("presets")
def list_presets() -> None:
    """Show the device presets: source, notes, and where each number comes from."""
    for name, preset in presets().items():
        _out.print(f"[bold]{name}[/]: {_plain(preset['title'])}\n  source: {_plain(preset['source'])}")
        for note in preset["notes"]:
            _out.print(f"  - {_plain(note)}", soft_wrap=True)
        table = Table("parameter", "value", "origin")
        for key, origin in preset["origin"].items():
            table.add_row(key, str(preset["device"].get(key, "")), _plain(origin))
        _out.print(table)


@app.command()
def doctor() -> None:
    """Show backend, versions and settings, and what is known to be wrong with them."""
    from mcdev import doctor as examination

    findings = examination.examine()
    for name, value in findings.facts.items():
        _out.print(f"{name:22} {_plain(value)}", soft_wrap=True)
    for trouble in findings.troubles:
        _out.print(f"[bold red]trouble:[/] {_plain(trouble)}", soft_wrap=True)
    _out.print("nothing wrong found" if not findings.troubles else "")
    raise typer.Exit(BROKEN if findings.troubles else 0)


# -------------------------------------------------------------------------------------- details


def _claim(folder: Path) -> Path:
    """Make the run's folder now: a full or read-only disk should be known before hours of work."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise _Leave(f"{folder} exists and is not empty; choose another --out or remove it", FILES)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _Leave(f"{folder} cannot be written: {error.strerror}; choose another --out", FILES) from None
    return folder


def _draw(tree: Any, folder: Path) -> list[Path]:
    from mcdev.figures import draw_all

    drawn = draw_all(tree, folder)
    for path in drawn:
        _out.print(f"figure: {path}", soft_wrap=True)
    return drawn


def _print_tables(tree: Any, records: list[dict[str, Any]], every_entry: bool = False) -> None:
    from mcdev import statistics

    axes = list(records[0]["point"]) if records else []
    all_counts = {"n_censored": "censored", "n_undefined": "undefined", "n_failed": "failed"}
    counts = {key: name for key, name in all_counts.items() if any(record[key] for record in records)}
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("measurement", *axes, "n", *counts.values()):
        table.add_column(heading, overflow="fold")
    for heading in ("mean ± s.e.", "CV", "median", "5-95 %"):
        table.add_column(heading, no_wrap=True)
    hidden = 0
    for record in records:
        if not every_entry and not _worth_a_row(record["measurement"], records):
            hidden += 1
            continue
        unit, scale = _prefixed(record)
        low, median, high = (_number(record[key], scale=scale) for key in ("q05", "median", "q95"))
        table.add_row(
            _plain(record["measurement"]) + unit,
            *record["point"].values(),
            str(record["n"]),
            *(str(record[key]) for key in counts),
            _with_error(record["mean"], record["sem"], scale),
            _number(record["cv"], 2),
            median,
            f"{low} … {high}",
        )
    _out.print(table)
    if hidden:
        _out.print(f"{hidden} more rows: mcdev stats RUN")
    censored = [record for record in records if record["n_censored"]]
    if censored:
        _out.print("censored: only a bound is known; they enter median and quantiles, not the mean")
    for record in statistics.fit_records(tree):
        curve = f" ({record['curve']})" if record["curve"] else ""
        _out.print(
            f"fit {record['fit']}{_plain(curve)}: {record['meaning']} = "
            f"{_with_error(record['value'], record['standard_error'])} {record['unit'].replace('1', '')} "
            f"({record['note']})",
            soft_wrap=True,
        )
    references = statistics.compare(tree)
    if references:
        beside = Table("quantity", "published", "mcdev", "source", box=SIMPLE_HEAD, pad_edge=False)
        for record in references:
            where = ", ".join(f"{axis} {value}" for axis, value in record["point"].items())
            unit = "" if record["unit"] == "1" else f" {record['unit']}"
            beside.add_row(
                _plain(record["what"] + (f" at {where}" if where else "")),
                _published(record) + unit,
                _with_error(record["ours"], record["error"]),
                _plain(record["source"]),
            )
        _out.print(beside)


def _worth_a_row(label: str, records: list[dict[str, Any]]) -> bool:
    """Of a list, entries 1, 2, 4, 7, 10, 20, 40, 70, … and the last."""
    name, bracket, entry = label.partition("[")
    if not bracket:
        return True
    number = int(entry.rstrip("]"))
    last = sum(1 for r in records if r["measurement"].startswith(f"{name}[") and r["point"] == records[0]["point"])
    return number == last or number / 10 ** int(math.log10(number)) in (1, 2, 4, 7)


def _published(record: dict[str, Any]) -> str:
    value = record["published"]
    return value if isinstance(value, str) else f"{value:g}"


def _prefixed(record: dict[str, Any]) -> tuple[str, float]:
    """Unit in brackets with the prefix that suits the value, and the number that one such unit is."""
    size = abs(record["mean"] or record["median"] or 1.0)
    if record["unit"] == "1":
        return "", 1.0
    for prefix, scale in (("", 1.0), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9)):
        if size >= 0.1 * scale:
            return f" ({prefix}{record['unit']})", scale
    return f" ({record['unit']})", 1.0


def _number(value: float | None, digits: int = 3, scale: float = 1.0) -> str:
    return "-" if value is None else f"{value / scale:.{digits}g}"


def _with_error(value: float | None, error: float | None, scale: float = 1.0) -> str:
    """A value to the second digit of its standard error."""
    if value is None:
        return "-"
    value, error = value / scale, None if error is None else error / scale
    if error is None or not math.isfinite(error) or error <= 0:
        return f"{value:.4g}"
    digits = 1 - math.floor(math.log10(error))
    if abs(value) >= 1e5 or (value != 0 and abs(value) < 1e-3):
        power = math.floor(math.log10(abs(value))) if value else 0
        scale = 10.0**power
        return f"({value / scale:.{max(digits + power, 0)}f} ± {error / scale:.{max(digits + power, 0)}f})e{power}"
    return f"{value:.{max(digits, 0)}f} ± {error:.{max(digits, 0)}f}"
