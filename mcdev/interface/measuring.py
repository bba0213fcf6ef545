"""The commands of measured files: look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcdev.interface.application import Overrides, Plugins, app, overrides
from mcdev.interface.ending import CONFIG, Leave
from mcdev.interface.terminal import STDERR, STDOUT

Files = Annotated[list[Path], typer.Argument(metavar="FILE…", help="Files of instruments.", show_default=False)]


@app.command()
def look(
    files: Files,
    set_: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures; default: beside each file.")] = None,
    picture: Annotated[bool, typer.Option(help="Draw what was read.")] = True,
    plugin: Plugins = None,
) -> None:
    """Say what is understood of measured files, draw them, and print the lines of a configuration that use them.

    --set columns.current=CH2, --set units.current="0.1 mA", --set format=text say what a file does not.
    """
    from pydantic import ValidationError

    from mcdev.configuration.problems import ConfigError, described
    from mcdev.measured.columns import Layout
    from mcdev.measured.look import look as look_at
    from mcdev.measured.look import tables

    changes = tables(overrides(set_))
    try:
        layout = Layout.model_validate(changes)
    except ValidationError as error:
        raise ConfigError([p for p, _ in described(error, changes, Layout)], "--set") from None
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
        raise Leave(f"{failed} of {len(files)} files are not understood; say what they are by --set", CONFIG)
