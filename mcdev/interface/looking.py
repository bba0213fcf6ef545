"""The commands that look at what is there, or check: stats, compare, plot, report, export, validate, check, schema,
presets, doctor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from mcdev.files.plain_text import one_line
from mcdev.interface.application import (
    ConfigFile,
    Only,
    Overrides,
    PictureFormat,
    PictureStyle,
    Plugins,
    Quiet,
    RunFolder,
    app,
    command_line,
    overrides,
    start,
)
from mcdev.interface.drawing import draw, draw_calibration
from mcdev.interface.ending import BROKEN
from mcdev.interface.terminal import STDERR, STDOUT, print_tables, published, with_error

if TYPE_CHECKING:
    from mcdev.configuration.experiment import Experiment


@app.command()
def stats(
    run: Annotated[Path, typer.Argument(help="Folder of a run, its results.h5, or a model card.", show_default=False)],
    format: Annotated[str, typer.Option(help="table, csv, json, long (CSV) or parquet.")] = "table",
    out: Annotated[Path | None, typer.Option(help="File to write; default: the terminal.")] = None,
    card: Annotated[Path | None, typer.Option(help="Write the model card into this file.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Write a calibration that fits the device to these statistics into this file.")
    ] = None,
    resample: Annotated[int | None, typer.Option(help="Draw this many devices from the card, as CSV.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of --resample.")] = 0,
    point: Annotated[
        int | None, typer.Option(min=1, help="Number of the only sweep point to take, counted from one.")
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Statistics of each measurement at each sweep point: D2D and C2C, quantiles, censoring; a card; new devices."""
    from mcdev.statistics import served
    from mcdev.statistics.screen import screens

    served.check_format(format, out)
    if not served.is_card(run):
        _say_altered(run)
    if calibration is not None:
        _write_calibration(run, calibration)
        return
    if served.is_card(run) or card is not None or resample is not None:
        written, remarks = served.serve(run, card, resample, seed, out)
        for line in written:
            STDERR.say(line)
        for remark in remarks:
            STDERR.say(remark, "note")
        return
    tree, records = served.open_run(run, point)
    if format != "table":
        served.export(tree, records, format, out)
        return
    print_tables(tree, records, every_entry=True)
    for screen in screens(tree, records):
        STDOUT.table(screen)


def _write_calibration(run: Path, file: Path) -> None:
    import tomli_w

    from mcdev.calibration.of_population import calibration_of
    from mcdev.files.whole_file import whole_file
    from mcdev.results.file import read

    job, left_out = calibration_of(read(run))
    with whole_file(file) as temporary:
        temporary.write_text(tomli_w.dumps(job), encoding="utf-8")
    STDERR.say(
        f"written: {file} ({len(job['targets'])} targets, {len(job['parameters'])} parameters); look it over, then "
        f"{command_line('calibrate', file)}"
    )
    for line in left_out:
        STDERR.say(line, "note")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the pictures and the table of two results; default: beside_NAME.")
    ] = None,
    form: PictureFormat = "png",
    plugin: Plugins = None,
) -> None:
    """Published numbers beside ours, as a Markdown table; and two results, say measured and simulated, side by side."""
    from mcdev import statistics
    from mcdev.results.file import read
    from mcdev.schema.units import readable

    for folder in runs:
        _say_altered(folder)
    compared = [(tree, statistics.compare(tree)) for tree in map(read, runs)]  # all read before anything is printed
    two = len(runs) == 2 and runs[0].resolve() != runs[1].resolve()
    if not two or any(records for _, records in compared):
        STDOUT.say("| run | quantity | published | mcdev | source |")
        STDOUT.say("|---|---|---|---|---|")
    for tree, records in compared:
        for record in records:
            where = ", ".join(f"{axis} {readable(value)}" for axis, value in record["point"].items())
            what = record["what"] + (f" at {where}" if where else "")
            unit = "" if record["unit"] == "1" else f" {record['unit']}"
            theirs, ours = f"{published(record)}{unit}", f"{with_error(record['ours'], record['error'])}{unit}"
            cells = (str(tree.attrs["title"]), what, theirs, ours, record["source"])
            STDOUT.say("| " + " | ".join(one_line(cell).replace("|", r"\|") for cell in cells) + " |")
    if two:
        from mcdev.interface.beside import print_beside

        print_beside(compared[0][0], compared[1][0], runs, out, form)


@app.command()
def plot(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures.")] = None,
    form: PictureFormat = "png",
    only: Only = None,
    style: PictureStyle = "single",
    point: Annotated[
        int | None, typer.Option(min=1, help="Number of the only sweep point to take, counted from one.")
    ] = None,
    quiet: Quiet = False,
    plugin: Plugins = None,
) -> None:
    """Draw the pictures of a run or calibration again, from its results file alone."""
    from mcdev.calibration import file as calibration_file
    from mcdev.results.file import find, read
    from mcdev.results.one_point import at_point

    if calibration_file.is_calibration(run):
        tree = calibration_file.read(run)
        draw_calibration(tree, out or (run if run.is_dir() else run.parent) / "figures", form, tuple(only or ()), style)
        return

    folder = out or find(run).parent / "figures" / (f"point_{point}" if point is not None else "")
    _say_altered(run)
    tree = read(run)
    drawn = draw(tree if point is None else at_point(tree, point), folder, form, tuple(only or ()), style)
    if not drawn:
        STDOUT.say("no picture applies to these results")


@app.command()
def report(
    run: Annotated[
        Path, typer.Argument(help="Folder of a run, a study, a calibration or of measured files.", show_default=False)
    ],
    out: Annotated[Path | None, typer.Option(help="File to write; default: report.html in the folder.")] = None,
    quiet: Quiet = False,
    plugin: Plugins = None,
) -> None:
    """Write an interactive report, one HTML file: pictures to zoom, points and devices to choose, tables to sort."""
    from mcdev.reports.report import NAME
    from mcdev.reports.report import report as made
    from mcdev.results.file import FILE_NAME

    if run.is_file() or (run / FILE_NAME).exists():
        _say_altered(run)
    found = made(run)
    file = found.save(out or (run if run.is_dir() else run.parent) / NAME)
    STDOUT.answer(f"report: {file} ({len(found.text.encode()) / 1e6:.1f} MB)", str(file))


@app.command()
def export(
    source: Annotated[
        Path, typer.Argument(metavar="RUN_OR_CONFIG", help="Folder of a run, or a configuration.", show_default=False)
    ],
    to: Annotated[str, typer.Option(help="spice (for ngspice) or verilog-a.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "--out", help="Folder for the files.")] = Path(),
    name: Annotated[str | None, typer.Option(help="Name of the device; default: that of the experiment.")] = None,
    point: Annotated[int | None, typer.Option(help="Number of the sweep point, counted from one.")] = None,
    instances: Annotated[int, typer.Option(min=0, help="Write this many devices, each with its own parameters.")] = 0,
    card: Annotated[Path | None, typer.Option(help="Model card to draw them from; default: the configuration.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the draws from --card.")] = None,
    set_: Overrides = None,
    plugin: Plugins = None,
) -> None:
    """Write a device as a model for circuit simulators: states on internal nodes, parameters per instance."""
    from mcdev.export import export as write_models

    start()
    with STDERR.status("a diffusive device's ensemble is simulated and fitted first"):
        written = write_models(source, to, output, name, point, instances, card, seed, overrides(set_))
    for path in written:
        STDOUT.say(f"written: {path}")


@app.command()
def validate(config: ConfigFile, set_: Overrides = None, plugin: Plugins = None) -> None:
    """Check a configuration, or all of a study; nothing is computed."""
    from mcdev.configuration.describes import describes
    from mcdev.configuration.experiment import load

    start()
    what = describes(config)
    if what == "calibration":
        from mcdev.calibration import load_job

        job = load_job(config, overrides(set_))
        fitted = sum(g.weight > 0 for g in job.goals)
        STDOUT.say(
            f"{config}: valid. {len(job.parameters)} parameters, {fitted} fitted numbers, {len(job.traces)} curves, "
            f"{job.job.search.starts.number} starts"
        )
        for warning in job.warnings:
            STDOUT.say(warning, "warning", "yellow")
    elif what == "study":
        from mcdev.study import load_study

        plan = load_study(config, overrides(set_))
        for member in plan.members:
            _validate(f"{config}: {member.variant}, {member.run}", member.experiment)
    else:
        _validate(str(config), load(config, overrides(set_)))


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
    for note in experiment.notes():
        STDOUT.say(note, "note")
    for warning in experiment.warnings():
        STDOUT.say(warning, "warning", "yellow")


@app.command()
def schema(plugin: Plugins = None) -> None:
    """Print the JSON schema of a configuration, for editors that complete and check."""
    from mcdev.interface.json_schema import config_schema

    print(json.dumps(config_schema(), indent=2))


@app.command("presets")
def list_presets() -> None:
    """Show the device presets: source, notes, and where each number comes from."""
    from mcdev.configuration.preset_tables import presets

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


@app.command()
def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Plugins; default: the kinds of mcdev itself, which takes minutes."),
    ] = None,
) -> None:
    """Try a plugin's kinds: shapes, units, finite numbers, jit = eager, lanes independent, gradient = differences."""
    from mcdev import check as contract
    from mcdev.configuration.plugins import load_plugin
    from mcdev.kinds import name_of

    failures = 0
    plugins = [load_plugin(file) for file in files or []]
    for name, found in (
        [(plugin.source.name, contract.check_plugin(plugin)) for plugin in plugins]
        if files
        else [("mcdev", contract.check_house())]
    ):
        with STDERR.status(f"{name}: every device, circuit and protocol together takes a while"):
            lines = [str(failure) for failure in found]
        for line in lines:
            STDOUT.say(line, name, "red")
        failures += len(lines)
    for plugin in plugins:
        what = [name_of(kind) for kind in plugin.kinds] + [f"the picture {each.NAME}" for each in plugin.pictures]
        STDOUT.say(f"{plugin.source.name}: {', '.join(what)}; SHA-256 {plugin.source.sha256[:12]}")
    STDOUT.say("nothing wrong found" if not failures else f"{failures} found")
    raise typer.Exit(1 if failures else 0)


def _say_altered(run: Path) -> None:
    """Warn of results that were changed since their run wrote them."""
    from mcdev.results.safekeeping import altered

    if warning := altered(run):
        STDERR.say(warning, "warning", "yellow")
