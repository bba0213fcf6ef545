"""The commands of measured files: look, measure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcdev.interface.application import Overrides, Plugins, app, overrides, start
from mcdev.interface.drawing import draw
from mcdev.interface.ending import CONFIG, Leave
from mcdev.interface.terminal import STDERR, STDOUT, print_tables

if TYPE_CHECKING:
    from mcdev.measured import Layout

Files = Annotated[list[Path], typer.Argument(metavar="FILE…", help="Files of instruments.", show_default=False)]
Reading = Annotated[
    list[str] | None,
    typer.Option("--read", metavar="KEY=VALUE", help="How the files are read (docs/measured.md); repeatable."),
]


@app.command()
def look(
    files: Files,
    read: Reading = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures; default: beside each file.")] = None,
    picture: Annotated[bool, typer.Option(help="Draw what was read.")] = True,
    plugin: Plugins = None,
) -> None:
    """Say what is understood of measured files, draw them, and print the lines of a configuration that use them.

    --read columns.current=CH2, --read units.current="0.1 mA", --read format=text say what a file does not.
    """
    from mcdev.measured.look import look as look_at

    layout = _layout(read)
    failed = 0
    for path in files:
        seen = look_at(path, layout)
        STDOUT.say("", str(path), "bold")
        for line in seen.lines:
            STDOUT.say(f"  {line}")
        if seen.problem:
            failed += 1
            STDERR.say(seen.problem, f"{path}: not understood", "bold red")
        if seen.recording is not None and picture:
            from mcdev.figures import recording as drawing
            from mcdev.figures.saving import save

            folder = out or path.parent
            STDOUT.say(f"  figure: {save(drawing.draw(seen.recording), folder, path.name)}")
        if seen.toml:
            STDOUT.say("\n" + seen.toml)
    if failed:
        raise Leave(f"{failed} of {len(files)} files are not understood; say what they are by --read", CONFIG)


@app.command()
def measure(
    files: Files,
    config: Annotated[Path, typer.Option("--config", help="Configuration (TOML): protocol, measurements, fits.")],
    pattern: Annotated[
        str | None,
        typer.Option(
            help="Device and cycle in the file names, like dev{device}_c{cycle}.csv; default: every file is a device."
        ),
    ] = None,
    offset: Annotated[
        str | None,
        typer.Option(help='Time in each file at which the protocol begins, like "2 ms"; default: at its first row.'),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; default: a new one under runs/.")] = None,
    read: Reading = None,
    set_: Overrides = None,
    figures: Annotated[bool, typer.Option(help="Draw the pictures.")] = True,
    plugin: Plugins = None,
) -> None:
    """Take the measurements and fits of a configuration off measured files: results.h5 as of a run."""
    from mcdev import statistics
    from mcdev.configuration.experiment import load
    from mcdev.files.whole_file import whole_file
    from mcdev.machine import compilation_cache
    from mcdev.results.file import write
    from mcdev.results.names import folder_name
    from mcdev.results.of_files import measure as measure_files
    from mcdev.results.of_files import members_of

    layout = _layout(read)
    begin = _offset(offset)
    start()
    compilation_cache.switch_on()
    experiment = load(config, overrides(set_))
    members = members_of(files, experiment, pattern, layout)
    with STDERR.status(f"{len(members)} recordings are read and measured"):
        tree, notes = measure_files(members, experiment, layout, begin)
        folder = out or Path(experiment.output.directory) / f"measured-{folder_name(experiment)}"
        write(tree, folder)
        records = statistics.summarise(tree)
    with whole_file(folder / "statistics.csv") as temporary:
        temporary.write_text(statistics.to_csv(records), encoding="utf-8")
    several = tree["realisations"].sizes["device"] > 1
    if several:
        with whole_file(folder / "card.toml") as temporary:
            temporary.write_text(statistics.to_toml(statistics.make_card(tree)), encoding="utf-8")
    for note in notes:
        STDERR.say(note, "note")
    print_tables(tree, records)
    drawn = draw(tree, folder / "figures") if figures and experiment.output.figures else []
    more = (", card.toml" if several else "") + (", figures/" if drawn else "")
    STDOUT.say(f"\nresults: {folder}/ (results.h5, statistics.csv, config.toml{more})")


def _offset(text: str | None) -> float | None:
    """Seconds."""
    if text is None:
        return None
    from pydantic_core import PydanticCustomError

    from mcdev.schema import Unit, sentence

    try:
        return Unit("s").parse(text)
    except PydanticCustomError as error:
        raise Leave(f"--offset {text}: {sentence(error)}", CONFIG) from None


def _layout(pairs: list[str] | None) -> Layout:
    """How files are to be read. Raises ``ConfigError``."""
    from pydantic import ValidationError

    from mcdev.configuration.problems import ConfigError, described
    from mcdev.measured.columns import Layout
    from mcdev.measured.look import tables

    changes = tables(overrides(pairs))
    try:
        return Layout.model_validate(changes)
    except ValidationError as error:
        raise ConfigError([p for p, _ in described(error, changes, Layout)], "--read") from None
