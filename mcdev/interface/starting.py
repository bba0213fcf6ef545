"""The command with which one starts: new."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcdev.files.whole_file import whole_file
from mcdev.interface.application import Plugins, app, command_line
from mcdev.interface.ending import FILES, Leave
from mcdev.interface.terminal import STDERR, STDOUT


@app.command()
def new(
    device: Annotated[
        str | None, typer.Argument(help="Preset or kind of device, or an example; default: list them.")
    ] = None,
    task: Annotated[
        str, typer.Argument(help="What is done to it: a kind of protocol; or calibration, or study.")
    ] = "pulse_train",
    out: Annotated[Path | None, typer.Option(help="File to write; default: DEVICE_TASK.toml.")] = None,
    plugin: Plugins = None,
) -> None:
    """Write a first configuration, calibration or study for a device, or one of the examples: it runs as it is."""
    from mcdev.interface.examples import example, examples
    from mcdev.interface.starter import CALIBRATION, STUDY, devices, starter, study, tasks

    if device is None:
        more = {CALIBRATION: "Parameters from measured numbers or curves.", STUDY: "Several runs in several variants."}
        for title, known in (("devices", devices()), ("tasks", tasks() | more), ("examples", examples())):
            STDOUT.say(title, style="bold")
            for name, what in known.items():
                STDOUT.say(f"  {name:20} {what}")
        STDOUT.say(f"\n{command_line('new', 'DEVICE', 'TASK')} writes a configuration for one of each")
        STDOUT.say(f"{command_line('new', 'EXAMPLE')} writes an example, with the files that it names")
        return
    if "/" in device:
        given = example(device)
        place = (out or Path(next(iter(given)))).parent
        named = {place / name: content for name, content in given.items()}
        if out is not None:
            named = {out: given[next(iter(given))]} | {place / n: c for n, c in list(given.items())[1:]}
        _write(named)
        return
    file = out or Path(f"{device}_{task}.toml")
    if task == CALIBRATION:
        from mcdev.interface.starter_calibration import calibration

        with STDERR.status("numbers to begin with are simulated"):
            text = calibration(device, file.stem)
        _write({file: text.encode()}, "calibrate")
    elif task == STUDY:
        run = file.with_name(f"{file.stem}_run.toml")
        text, other = study(device, run.name, file.stem)
        _write({file: text.encode(), run: other.encode()})
    else:
        _write({file: starter(device, task, file.stem if out else None).encode()})


def _write(named: dict[Path, bytes], command: str = "") -> None:
    """All of them or none; says how the first is run."""
    for file in named:
        if file.exists():
            raise Leave(f"{file} exists; choose another --out", FILES)
    for file, content in named.items():
        with whole_file(file) as temporary:
            temporary.write_bytes(content)
    first, *rest = named
    if not command:
        from mcdev.configuration.describes import describes

        command = "calibrate" if describes(first) == "calibration" else "run"
    also = f" (and {', '.join(map(str, rest))})" if rest else ""
    STDOUT.say(f"written: {first}{also}; run it with: {command_line(command, first)}")
