"""`mcdev check`: whether kinds keep their contract, one line a failure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcdev import check as contract
from mcdev.configuration.plugins import load_plugin
from mcdev.interface.terminal import STDERR, STDOUT
from mcdev.kinds import name_of


def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Plugins; default: the kinds of mcdev itself, which takes minutes."),
    ] = None,
) -> None:
    """Try a plugin's kinds: shapes, units, finite numbers, jit = eager, lanes independent, gradient = differences."""
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
