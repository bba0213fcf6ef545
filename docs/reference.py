"""The pages of docs/reference/, written from the code: every key of a configuration with its unit, default, range and
meaning; every kind; the presets; the command line; the Python API.

Sphinx calls :func:`setup`. ``pages`` gives the same as text, without Sphinx.
"""

from __future__ import annotations

import functools
import html
import inspect
import json
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel, TypeAdapter

import mcdev
from mcdev.calibration.job import Job
from mcdev.check import table_of
from mcdev.configuration.describes import describes
from mcdev.configuration.experiment import Ensemble, Experiment, Output
from mcdev.configuration.own_presets import OwnPreset
from mcdev.configuration.reference import Reference
from mcdev.configuration.sweep import Sweep
from mcdev.figures.pictures import PICTURES
from mcdev.fits.contract import Fit
from mcdev.interface import cli
from mcdev.interface.application import app
from mcdev.kinds import Kind, name_of
from mcdev.measured import Layout
from mcdev.measured.instruments import INSTRUMENTS
from mcdev.measurements import MEASUREMENTS
from mcdev.measurements.contract import STATUS_MEANINGS, Measurement
from mcdev.protocols.waveform import PointsFile
from mcdev.schema import REACH, Lognormal, Normal, Samples, Uniform
from mcdev.schema.units import EXAMPLES
from mcdev.study import Study

sys.path.insert(0, str(Path(__file__).parent))
import pictures
from tables_of_keys import LISTS, code, keys, markdown, plain, table, with_tables

FOLDER = Path(__file__).parent / "reference"

# --------------------------------------------------------------------------------------- pages of kinds


def example(kind: type[Kind]) -> Any:
    """One of a kind, to be asked what is the same for all."""
    needed = {"measurement": "tau", "axis": "protocol.gap"} if issubclass(kind, Fit) else {}
    return TypeAdapter(kind).validate_python(needed | table_of(kind) | {"kind": name_of(kind)}, strict=False)


def kinds_page(title: str, intro: str, page: str, about: Callable[[type[Any]], str], **options: Any) -> str:
    kinds, path = LISTS[page]
    text = f"# {title}\n\n{intro}\n"
    for kind in kinds:
        tables = with_tables(kind, 3, path, **options)
        text += f"\n## {name_of(kind)}\n\n{markdown(kind.__doc__)}\n\n{about(kind)}\n\n{tables}"
    return text


def devices_page() -> str:
    intro = (
        "`[device]` of a configuration is one of these. Where `preset` is given, the preset supplies every key that is"
        " not written beside it: [presets](presets.md). A key marked *may be drawn* may be a"
        " [distribution](configuration.md#distributions), from which each device draws one value. What the models are:"
        " [the diffusive memristor](../model.md), [its three views](../views.md),"
        " [the organic memristor](../omiec.md), [devices of one state](../circuits.md#the-devices-beside-it)."
    )

    def about(kind: type[Any]) -> str:
        own = [name for name, preset in mcdev.presets().items() if preset["device"]["kind"] == name_of(kind)]
        channels = ", ".join(code(name) for name in _made_device(kind).channels)
        presets = ", ".join(f"[{name}](presets.md#{name})" for name in own)
        text = f"Presets: {presets}.\n\n" if presets else ""
        return text + (f"Recorded besides voltage, current and conductance: {channels}." if channels else "")

    return kinds_page("Devices", intro, "devices", about, needed="from the preset, or must be given")


def _made_device(kind: type[Any]) -> Any:
    data = {"name": "reference", "device": table_of(kind), "protocol": {"kind": "hold", "duration": "1 s"}}
    return mcdev.build(data | {"measurements": {"g": {"kind": "on_off_ratio"}}}).device


def circuits_page() -> str:
    intro = "`[circuit]` of a configuration is one of these; without it, `alone`."
    intro += " How they are solved: [Circuits](../circuits.md)."
    return kinds_page("Circuits", intro, "circuits", lambda kind: "")


def elements_page() -> str:
    intro = (
        "What stands between the nodes of a circuit of the kind `network`, each under a name of yours in"
        " `[circuit.elements]`: [Elements and nodes](../circuits.md#elements-and-nodes)."
    )
    return kinds_page("Elements of circuits", intro, "elements", lambda kind: "")


def protocols_page() -> str:
    intro = (
        "`[protocol]` of a configuration is one of these. It has named windows, which measurements refer to. Numbers of"
        " samples decide how finely results are recorded, and not how finely time is stepped."
    )

    def about(kind: type[Any]) -> str:
        windows = example(kind).timeline().windows
        return "Windows: " + ", ".join(code(window) for window in windows) + "."

    text = kinds_page("Protocols", intro, "protocols", about)
    points = keys(PointsFile, skipped=())
    return text + f"\n### waveform from a file\n\nInstead of `time` and `voltage`:\n\n{points}"


def measurements_page() -> str:
    common = tuple(key for key in Measurement.model_fields if key != "kind")
    one = MEASUREMENTS["delay_time"]
    shared = keys(one, skipped=[key for key in one.model_fields if key not in common])
    statuses = table(("status", "meaning"), [(code(word), STATUSES[word]) for word in STATUS_MEANINGS.split()])
    intro = (
        "Each entry of `[measurements]` is one of these, under a name of yours. Every value has a status:\n\n"
        f"{statuses}\n\nThe criterion is kept in the results. It is shown here as it reads with the default options."
        "\n\n"
        f"Keys of all measurements:\n\n{shared}"
    )

    def about(kind: type[Any]) -> str:
        one = example(kind)
        needs = ", ".join(code(window) for window in one.needs if window != "all")
        facts = [f"Unit: {one.unit}.", f"Criterion: {markdown(one.criterion)}."]
        facts += [f"The protocol must have the window {needs}."] if needs else []
        facts += ["The device must have a largest conductance G_max."] if one.full_scale else []
        channels = ", ".join(code(channel) for channel in one.needs_channels)
        facts += [f"These channels must be recorded: {channels}."] if channels else []
        return "\n".join(f"- {fact}" for fact in facts)

    return kinds_page("Measurements", intro, "measurements", about, skipped=("kind", *common))


STATUSES = {
    "ok": "a value",
    "right_censored": "a lower bound: the truth lies above the value",
    "left_censored": "an upper bound: the truth lies below the value",
    "undefined": "there was nothing to measure, such as a relaxation without switching",
    "failed": "the realisation broke down",
}


def fits_page() -> str:
    intro = (
        "Each entry of `[fits]` has a name that you choose. It fits a law to a measurement along one axis of the sweep."
    )

    def about(kind: type[Any]) -> str:
        one = example(kind)
        rows = [(code(name), unit) for name, unit in one.coefficients.items()]
        unit = f"have the unit {one.axis_unit}" if one.axis_unit else "be a pure number"
        least = f"The axis must {unit}, and have at least {one.least_points} points."
        return f"Law: {markdown(one.equation)}. {least}\n\n" + table(("coefficient", "unit"), rows)

    return kinds_page("Fits along a sweep axis", intro, "fits", about)


def files_page() -> str:
    rows = [(code(name_of(kind)), kind.title, markdown(kind.__doc__).replace("\n", " ")) for kind in INSTRUMENTS]
    return (
        "# Measured files\n\n`mcdev look` and `mcdev measure` take the first of these formats that recognises a file,"
        " or the one that `format` names. What a file does not say is said by the keys below: in a `waveform`'s"
        " `[protocol]`, in `[[curves]]` of a calibration, or with `--read KEY=VALUE`."
        " More: [Measured files](../measured.md).\n\n"
        f"{table(('format', 'of', 'files'), rows)}\n## Keys\n\n{keys(Layout, skipped=())}"
    )


def pictures_page() -> str:
    rows = [(code(each.NAME), markdown(inspect.getdoc(each)).split("\n\n")[0]) for each in PICTURES]
    return (
        "# Pictures\n\nA run draws every picture that applies to it. `mcdev plot RUN --only NAME` draws one of them"
        " again.\n\n" + table(("picture", "shows"), rows)
    )


# ------------------------------------------------------------------------------------------ other pages


def configuration_page() -> str:
    reach = {unit: f"{least:g}, {most:g}" for unit, (least, most) in REACH.items()}
    units = table(
        ("unit", "written like", "accepted: least of what is above zero, most"),
        [(unit, code(f'"{text}"'), reach.get(unit, "any")) for unit, text in EXAMPLES.items()],
    )
    laws = table(
        ("distribution", "keys", "meaning"),
        [
            ("`normal`", "`mean`, `sd`; `low`, `high`", markdown(Normal.__doc__)),
            ("`lognormal`", "`median`, `sigma`; `low`, `high`", markdown(Lognormal.__doc__)),
            ("`uniform`", "`low`, `high`", markdown(Uniform.__doc__)),
            ("`samples`", "`file`, `column`; or `values`, `unit`", markdown(Samples.__doc__)),
        ],
    )
    sections: list[tuple[str, type[BaseModel]]] = [
        ("ensemble", Ensemble),
        ("sweep", Sweep),
        ("output", Output),
        ("[output.reference]", Reference),
    ]
    text = (
        "# A configuration\n\nA configuration is a TOML file with the tables below. A key that is not known is refused;"
        " all errors are reported at once, before anything is computed. `mcdev schema` prints the same as a JSON schema"
        " for editors. `mcdev new` writes a first configuration with every key in it.\n\n"
        + keys(Experiment, skipped=())
        + '\n`extends = "base.toml"` puts the configuration on top of another one:'
        " [Configurations that belong together](../configurations.md).\n\n## Quantities\n\n"
        'A dimensional value is text with its unit, such as `"0.75 V"`. Any unit of the same dimension and any SI'
        ' prefix may be written. A pure number is a number, or a percentage in quotes, `"62 %"`. In the tables of this'
        " reference the unit is the one in which ranges are given; 1 stands for a pure number.\n\n"
        f"{units}\n## Distributions\n\nA key that *may be drawn* takes a number or a distribution:"
        ' `{ distribution = "lognormal", median = "0.4 V", sigma = 0.1 }`. Each device draws its value once.\n\n'
        f"{laws}\n`low` and `high` are optional cuts of `normal` and `lognormal`.\n"
    )
    for path, model in sections:
        text += f"\n## `[{path}]`\n\n{markdown(model.__doc__)}\n\n"
        text += with_tables(model, 3, path) if path != "output" else keys(model)
    return text + f"\n## A preset of your own\n\n{markdown(OwnPreset.__doc__)}\n\n{keys(OwnPreset, skipped=())}"


def whole_file_page(title: str, intro: str, model: type[BaseModel]) -> str:
    return f"# {title}\n\n{intro}\n\n{with_tables(model, 2, '', skipped=())}"


def presets_page() -> str:
    text = (
        '# Presets\n\n`preset = "NAME"` in `[device]` starts from one of these; keys beside it replace single numbers.'
        " A preset of your own is a file: [how to make one](../configurations.md#a-preset-of-your-own).\n"
    )
    for name, preset in mcdev.presets().items():
        origin = preset.get("origin", {})
        rows = [
            (code(key), code(str(value)), plain(str(origin.get(key, ""))))
            for key, value in preset["device"].items()
            if key != "kind"
        ]
        kind = preset["device"]["kind"]
        notes = "".join(f"- {plain(note)}\n" for note in preset.get("notes", ()))
        text += (
            f"\n## {name}\n\n{plain(preset['title'])}. Kind: [{kind}](devices.md#{kind}).\n\n"
            f"Source: {plain(preset['source'])}.\n\n{notes}\n{table(('key', 'value', 'origin'), rows)}"
        )
    return text


def command_line_page() -> str:
    group: Any = typer.main.get_command(app)
    codes = inspect.cleandoc(cli.__doc__ or "").split("Exit codes:")[1]
    text = "# The command line\n\n`mcdev COMMAND --help` prints the same. `mcdev --install-completion` completes"
    text += f" commands in your shell.\n\nExit codes: {plain(' '.join(codes.split()))}\n"
    return text + "".join(_command(name, each) for name, each in group.commands.items())


def _command(name: str, command: Any) -> str:
    """One command: its arguments, then its options."""
    rows, words = [], []
    for each in command.params:
        if each.param_type_name == "argument":
            word = str(each.metavar or each.name).upper() + (" ..." if each.nargs == -1 else "")
            words.append(word if each.required else f"[{word}]")
            shown = code(word)
        else:
            shown = ", ".join(code(word) for word in (*each.opts, *each.secondary_opts))
            shown += f" {each.metavar}" if each.metavar else ""
        given = isinstance(each.default, str | int | float) and not isinstance(each.default, bool)
        rows.append((shown, code(str(each.default)) if given else "", plain(each.help or "")))
    usage = " ".join(["mcdev", name, *words, "[OPTIONS]"])
    said = plain(" ".join((command.help or "").split()))
    return (
        f"\n## mcdev {name}\n\n{said}\n\n```\n{usage}\n```\n\n{table(('', 'default', 'meaning'), rows) if rows else ''}"
    )


def python_page() -> str:
    methods = ("with_", "points", "point", "to_toml", "to_dict", "hash", "timeline")
    blocks = [
        f".. autoclass:: mcdev.{name}\n" + (f"   :members: {', '.join(methods)}\n" if name == "Experiment" else "")
        if inspect.isclass(getattr(mcdev, name))
        else f".. autofunction:: mcdev.{name}\n"
        for name in mcdev.__all__
    ]
    return (
        "# The Python API\n\nWhat to use for what: [From Python and in a notebook](../python.md).\n\n"
        "```{eval-rst}\n" + "\n".join(blocks) + "```\n"
    )


def gallery_page() -> str:
    text = (
        "# Gallery\n\nEach picture is drawn from a configuration that comes with mcdev. `mcdev run FILE` makes the"
        " picture and others. Where many devices take long the picture here was made with fewer; the command says so.\n"
    )
    for section, examples in pictures.EXAMPLES.items():
        text += f"\n## {section}\n"
        for each in (one for one in examples if one.image.exists()):
            file = pictures.HOUSE / "configs" / each.file
            sets = "".join(
                " --set " + shlex.quote(f"{path}={json.dumps(value)}") for path, value in each.changes.items()
            )
            image = (Path("..") / each.image.relative_to(FOLDER.parent)).as_posix()
            data = tomllib.loads(file.read_text(encoding="utf-8"))
            verb = "calibrate" if describes(file) == "calibration" else "run"
            said = plain(data.get("description", "A first example"))
            text += (
                f"\n### {each.title}\n\n![{each.title}]({image})\n\n{said}.\n\n"
                f"```\nmcdev {verb} configs/{each.file}{sets}\n```\n\n"
                f"<details><summary>configs/{each.file}</summary>\n<pre>"
                f"{html.escape(file.read_text(encoding='utf-8')).replace(chr(10), '&#10;')}</pre></details>\n"
            )
    return text


def index_page(names: Iterable[str]) -> str:
    return (
        "# Reference\n\nThese pages are written from the code.\n\n```{toctree}\n:maxdepth: 1\n\n"
        + "\n".join(names)
        + "\n```\n"
    )


@functools.cache
def pages() -> dict[str, str]:
    """Name → text of each page."""
    calibration = "The file that `mcdev calibrate` takes. How it works: [Calibration](../calibration.md)."
    study = "A file with `runs` and `[variants]`, which `mcdev run` takes, too."
    study += " It runs several configurations in several variants."
    found = {
        "configuration": configuration_page(),
        "devices": devices_page(),
        "presets": presets_page(),
        "circuits": circuits_page(),
        "elements": elements_page(),
        "protocols": protocols_page(),
        "measurements": measurements_page(),
        "fits": fits_page(),
        "pictures": pictures_page(),
        "files": files_page(),
        "calibration": whole_file_page("A calibration's file", calibration, Job),
        "study": whole_file_page("A study's file", study, Study),
        "command_line": command_line_page(),
        "python": python_page(),
        "gallery": gallery_page(),
    }
    return {"index": index_page(name for name in found if name != "gallery"), **found}


def write(*_: Any) -> None:
    """Write the pages; one that has not changed is left alone, so that Sphinx need not read it again."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        file = FOLDER / f"{name}.md"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def setup(application: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    application.connect("builder-inited", write)
    return {"parallel_read_safe": True}
