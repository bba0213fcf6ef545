"""The application that commands are added to, and the options that several of them have."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mcdev.figures import FORMATS, STYLES
from mcdev.files.plain_text import one_line
from mcdev.interface.ending import CONFIG, Leave
from mcdev.interface.terminal import STDERR, STDOUT
from mcdev.machine.provenance import ACCEPT

app = typer.Typer(
    no_args_is_help=True,
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
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace a value, like device.friction=3 or targets.0.weight=0; may be repeated.",
    ),
]


Threads = Annotated[int | None, typer.Option(min=1, help="Threads or local workers; default: all cores.")]
Scheduler = Annotated[str, typer.Option(help="threads, or dask: a cluster of processes.")]
SchedulerAddress = Annotated[
    str | None, typer.Option(help="Of a Dask scheduler that runs already, like tcp://host:8786.")
]


def kind_of_workers(scheduler: str, address: str | None) -> Literal["threads", "dask"]:
    """As ``--scheduler`` and ``--scheduler-address`` say. Raises ``Leave`` for a scheduler that there is not."""
    if scheduler not in ("threads", "dask"):
        raise Leave(f"--scheduler {one_line(scheduler, 40)}: expected threads or dask", CONFIG)
    return "dask" if scheduler == "dask" or address else "threads"


def _version(asked: bool) -> None:
    if asked:
        from mcdev.machine.provenance import own_version

        print(f"mcdev {own_version()}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Simulate thousands of realisations of volatile memristors from one configuration file."""


def _hush(quiet: bool) -> bool:
    STDOUT.hushed = STDERR.hushed = quiet
    return quiet


Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", callback=_hush, help="Print only what goes wrong, and the folder of the results."),
]


def _check_format(form: str) -> str:
    if form not in FORMATS:
        raise Leave(f"--format {one_line(form, 40)}: expected {', '.join(FORMATS)}", CONFIG)
    return form


PictureFormat = Annotated[
    str, typer.Option("--format", callback=_check_format, help=f"Of the pictures: {', '.join(FORMATS)}.")
]


def _check_style(style: str) -> str:
    if style not in STYLES:
        raise Leave(f"--style {one_line(style, 40)}: expected {', '.join(STYLES)}", CONFIG)
    return style


PictureStyle = Annotated[
    str,
    typer.Option("--style", callback=_check_style, help="Of the pictures: single (89 mm) or double (183 mm) column."),
]
Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="PICTURE", help="Draw this picture; may be repeated.")
]


def _load_plugins(files: list[Path] | None) -> list[Path] | None:
    if files:
        from mcdev.configuration.plugins import load_plugin  # and with it JAX

        for file in files:
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


def command_line(*words: Any) -> str:
    """A command line as a shell takes it."""
    return shlex.join(["mcdev", *(str(word) for word in words)])


def again_with(pairs: list[str] | None, accept: bool) -> list[str]:
    """The options that a command which goes on needs, too."""
    from mcdev.configuration.plugins import loaded

    given = [word for pair in pairs or [] for word in ("--set", pair)]
    files = [plugin.path for plugin in loaded() if plugin.path is not None]
    return given + [word for file in files for word in ("--plugin", str(file))] + ([ACCEPT] if accept else [])


def start() -> None:
    """What computes needs JAX: one line where it cannot start. Raises ``NoBackend``."""
    from mcdev.machine.environment import backend, try_flags

    try_flags()
    backend()


def overrides(pairs: list[str] | None) -> dict[str, Any]:
    """``--set`` values are TOML; what is not valid TOML is taken as text, so that units need no quotes."""
    values = {}
    for pair in pairs or []:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise Leave(f"--set {one_line(pair, 80)}: expected KEY=VALUE, like --set ensemble.devices=64", CONFIG)
        try:
            values[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[key.strip()] = text.strip()
        except (ValueError, RecursionError) as error:
            why = "a number of too many digits" if isinstance(error, ValueError) else "nested too deep"
            raise Leave(f"--set {one_line(pair, 80)}: {why}; expected a value of a configuration", CONFIG) from None
    return values
