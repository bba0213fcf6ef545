"""The command with which one starts: new."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcdev.files.whole_file import whole_file
from mcdev.interface.application import Plugins, app, command_line
from mcdev.interface.ending import FILES, Leave
from mcdev.interface.terminal import STDOUT


@app.command()
def new(
    device: Annotated[str | None, typer.Argument(help="Preset or kind of device; default: list them.")] = None,
    task: Annotated[str, typer.Argument(help="What is done to it: a kind of protocol.")] = "pulse_train",
    out: Annotated[Path | None, typer.Option(help="File to write; default: DEVICE_TASK.toml.")] = None,
    plugin: Plugins = None,
) -> None:
    """Write a first configuration for a device and a task: it runs as it is, and says what every key means."""
    from mcdev.interface.starter import devices, starter, tasks

    if device is None:
        for title, known in (("devices", devices()), ("tasks", tasks())):
            STDOUT.say(title, style="bold")
            for name, what in known.items():
                STDOUT.say(f"  {name:20} {what}")
        STDOUT.say(f"\n{command_line('new', 'DEVICE', 'TASK')} writes a configuration for one of each")
        return
    file = out or Path(f"{device}_{task}.toml")
    text = starter(device, task, file.stem if out else None)
    if file.exists():
        raise Leave(f"{file} exists; choose another --out", FILES)
    with whole_file(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    STDOUT.say(f"written: {file}; run it with: {command_line('run', file)}")
