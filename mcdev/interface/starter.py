"""A first configuration for a device and a task, with every key, its default and its meaning: written from the kinds
themselves, so that a new device, protocol or measurement is in it without a line here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from mcdev.check import table_of
from mcdev.circuits import CIRCUITS
from mcdev.configuration.experiment import Experiment, build
from mcdev.configuration.preset_tables import presets
from mcdev.configuration.problems import ConfigError, Problem
from mcdev.devices import DEVICES
from mcdev.files.structure import parse_toml
from mcdev.files.toml_line import in_a_line
from mcdev.kinds import Kind, name_of
from mcdev.measurements import MEASUREMENTS
from mcdev.measurements.spiking import Spiking
from mcdev.protocols import PROTOCOLS
from mcdev.schema import converted, nearest, number_and_unit, typical
from mcdev.schema.meanings import meaning
from mcdev.schema.units import EXAMPLES, customary

_ABOVE = 1.5
"""Amplitude over the largest voltage among the device's parameters."""
_LONG = 200.0
"""Width of a pulse over the longest interval in which the device's voltage may be held."""
_FIRST = 3
"""Measurements that are switched on; the others that suit stand there as comments."""
_COLUMN = 46
"""Where comments begin."""


CALIBRATION, STUDY = "calibration", "study"
"""What ``mcdev new`` writes beside a configuration for each protocol."""


def devices() -> dict[str, str]:
    """Presets and kinds of devices → what they are."""
    found = {name: str(preset["title"]) for name, preset in presets().items()}
    return found | {name_of(kind): _first_line(kind) for kind in DEVICES}


def tasks() -> dict[str, str]:
    """Protocols → what they do."""
    return {name_of(kind): _first_line(kind) for kind in PROTOCOLS}


def study(device: str, run: str, name: str) -> tuple[str, str]:
    """The text of a study of one run in two variants, and of the configuration of that run, in the file ``run``. Raises
    as :func:`starter`."""
    text = starter(device, "pulse_train", run.removesuffix(".toml"))
    made = build(parse_toml(text)).device
    key = next(key for key in made.parameters() if key not in made.labels and typical(getattr(made, key)) > 0)
    mark, value = made.parameters()[key], typical(getattr(made, key))
    unit, ratio = customary(mark.unit, value / mark.scale)
    other = f"{1.2 * value / mark.scale * ratio:.4g} {unit}".strip()
    lines = [
        "# Several runs, each in several variants, and one table of published numbers beside all of them: a column a",
        "# variant. Published numbers stand in each run's file, as [[output.reference]].",
        f'name = "{name}"',
        f"runs = [{in_a_line(run)}]",
        "",
        '[variants."as it is"]',
        "",
        '[variants."another device".set]',
        line(f'"device.{key}"', other if unit else float(other), "any key path, as with --set"),
    ]
    return "\n".join(lines) + "\n", text


def starter(device: str, task: str, name: str | None = None) -> str:
    """The text of a configuration that runs. Raises ``ConfigError`` for what is no device or task, and where the two do
    not suit each other."""
    wrong = [
        Problem(what, given, f"no such {what}; {nearest(given, known)}")
        for what, given, known in (("device", device, devices()), ("task", task, tasks()))
        if given not in known
    ]
    if wrong:
        raise ConfigError(wrong, "mcdev new")
    name = name or f"{device}_{task}"
    preset = device in presets()
    table = {"preset": device} if preset else table_of(DEVICES[device])
    made = build(_data(name, table, {"kind": "hold", "duration": "1 s"}, {"on_off": {"kind": "on_off_ratio"}}))
    volts, seconds = _drive(made)
    protocol = _scaled(PROTOCOLS[task], volts, seconds)
    measurements = _suitable(name, table, protocol)
    experiment = build(_data(name, table, protocol, dict(list(measurements.items())[:_FIRST])))
    lines = [f"# {tasks()[task]}", f"# Device: {devices()[device]}", f'name = "{name}"', "", "[device]"]
    lines += _device(experiment, table)
    lines += ["", "[circuit]", line("kind", "alone", f"or {', '.join(n for n in CIRCUITS.names if n != 'alone')}")]
    lines += [
        "",
        f"[protocol]{_gap('[protocol]')}# voltages and times are chosen for this device: replace them by yours",
    ]
    lines += _keys(experiment.protocol, protocol)
    lines += ["", "[ensemble]", *_keys(experiment.ensemble, {"devices": experiment.ensemble.devices})]
    lines += ["", "[measurements]", *_measured(measurements)]
    lines += ["", *_sweep(protocol)]
    return "\n".join(lines) + "\n"


def _data(name: str, device: Mapping[str, Any], protocol: Mapping[str, Any], measurements: Any) -> dict[str, Any]:
    ensemble = {"devices": 64}
    return {"name": name, "device": device, "protocol": protocol, "ensemble": ensemble, "measurements": measurements}


def _first_line(kind: type[BaseModel]) -> str:
    return _sentence(kind.__doc__)


def _drive(experiment: Experiment) -> tuple[float, float]:
    """A voltage (V) that switches the device and a time (s) in which something happens, of one, two or five."""
    table = experiment.device
    own = [abs(typical(getattr(table, key))) for key, mark in table.parameters().items() if mark.unit == "V"]
    volts = _round(_ABOVE * max(own, default=1.0 / _ABOVE))
    pace = experiment.pace(volts)
    held = next((t for t in (pace.coupling, pace.step) if 0 < t < 1e3), 1e-3 / _LONG)
    return volts, _round(_LONG * held)


def _round(number: float) -> float:
    """The nearest of 1, 1.5, 2, 3, 5, 7 and 10 in its decade."""
    decade = 10.0 ** math.floor(math.log10(number))
    return float(f"{min((1, 1.5, 2, 3, 5, 7, 10), key=lambda m: abs(m * decade - number)) * decade:.6g}")


def _scaled(kind: type[Kind], volts: float, seconds: float) -> dict[str, Any]:
    """The table of a protocol: that with which it is tried, its voltages and times as the device wants them."""
    like = {"V": volts / _example("V"), "s": seconds / _example("s")}
    like |= {"Hz": 1 / like["s"], "V/s": volts / seconds / _example("V/s")}
    plain = {"time": seconds / 1e-3, "voltage": volts}  # of a waveform, whose points have no units
    return {
        key: [x * plain[key] for x in value] if key in plain else _value(value, like)
        for key, value in table_of(kind).items()
    }


def _example(unit: str) -> float:
    return converted(*number_and_unit(EXAMPLES[unit]), unit)


def _value(value: Any, like: Mapping[str, float]) -> Any:
    if isinstance(value, (list, tuple)):
        return [_value(each, like) for each in value]
    if not isinstance(value, str):
        return value
    for unit, factor in like.items():
        try:
            number = converted(*number_and_unit(value), unit) * factor
        except ValueError:
            continue
        return _text(number, unit)
    return value


def _text(number: float, unit: str) -> str:
    power = 3 * math.floor(math.log10(abs(number)) / 3 + 1e-9) if number else 0
    prefix = {-12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}.get(power)
    return f"{number:.4g} {unit}" if prefix is None else f"{number / 10.0**power:.4g} {prefix}{unit}"


def _suitable(name: str, device: Mapping[str, Any], protocol: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The measurements that suit the device and the protocol, those first that ask for a window of their own. Raises
    ``ConfigError`` where none does, which says why the two do not suit each other."""
    found: dict[str, dict[str, Any]] = {}
    refused: list[ConfigError] = []
    for kind in sorted(MEASUREMENTS, key=_general):
        label, table = name_of(kind), table_of(kind)
        try:
            build(_data(name, device, protocol, {label: table}))
        except ConfigError as error:
            refused.append(error)
        else:
            found[label] = table
    if not found:  # what stands in the way of all of them, rather than of one
        raise min(refused, key=lambda error: sum("needs the window" in str(p) for p in error.problems))
    return found


def _general(kind: type[Kind]) -> tuple[bool, bool, bool]:
    """How little a measurement says of the protocol: spikes are of circuits; a window that is chosen may be any."""
    return issubclass(kind, Spiking), getattr(kind, "needs", ()) == ("all",), "window" in kind.model_fields


def _device(experiment: Experiment, table: Mapping[str, Any]) -> Iterator[str]:
    """The device's keys; of a preset all that it brings as comments, with where each number comes from."""
    device = experiment.device
    preset = presets().get(str(table.get("preset")), {})
    if preset:
        yield line("preset", table["preset"], f"source: {preset['source']}")
    given = {key: value for key, value in table.items() if key != "preset"}
    own = preset.get("device", {})
    yield from _keys(device, given, own, preset.get("origin", {}), ("kind", "preset") if preset else ("preset",))
    key = next((key for key in device.parameters() if key not in device.labels), None)
    if key is not None and (middle := typical(getattr(device, key))) > 0:
        written = (own | given).get(key, device.parameters()[key].write(middle))
        law = line(key, {"distribution": "lognormal", "median": written, "sigma": 0.05})
        yield f"# {law}   # drawn for each device: every number may be"


def _keys(
    table: BaseModel,
    given: Mapping[str, Any],
    preset: Mapping[str, Any] = MappingProxyType({}),
    origin: Mapping[str, str] = MappingProxyType({}),
    skipped: tuple[str, ...] = (),
) -> Iterator[str]:
    """The keys of a table: those that are given, then the others as comments with their values, as they are written in
    the ``preset``, and where that has them from."""
    written = table.model_dump(mode="json", exclude_none=True) | dict(preset)
    for key, value in given.items():
        if key not in skipped:
            yield line(key, value, _sentence(meaning(type(table), key)))
    for key, value in written.items():
        if key in given or key in skipped or isinstance(value, dict):
            continue
        text = _sentence(meaning(type(table), key))
        source = f" [{origin[key]}]" if key in origin else ""
        yield line(key, value, (text + source).strip(), off=True)


def _sentence(text: str | None) -> str:
    """The first sentence, in one line, without the marks of a docstring."""
    plain = re.sub(r":\w+:`([^`]+)`|``([^`]+)``", r"\1\2", " ".join((text or "").split()))
    return re.split(r"(?<!et al)(?<!Fig)(?<!eq)(?<!Eq)\.(?: |$)", plain)[0]


def line(key: str, value: Any, meaning: str = "", off: bool = False) -> str:
    """A key with its value and what it means; as a comment where it is ``off``."""
    text = f"{'# ' if off else ''}{key} = {in_a_line(value)}"
    return f"{text}{_gap(text)}# {meaning}" if meaning else text


def _gap(text: str) -> str:
    return " " * max(_COLUMN - len(text), 2)


def _measured(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for number, (label, table) in enumerate(found.items()):
        meaning = _first_line(MEASUREMENTS[str(table["kind"])])
        yield line(label, dict(table), meaning, off=number >= _FIRST)


def _sweep(protocol: Mapping[str, Any]) -> Iterator[str]:
    """How an axis is written, for the first quantity of the protocol."""
    for key, value in protocol.items():
        try:
            number, unit = number_and_unit(value) if isinstance(value, str) and key != "kind" else (0.0, "")
        except ValueError:
            continue
        if number and unit:
            yield "# [sweep.axes]"
            ends = f'start = "{number / 2:.4g} {unit}", stop = "{number:.4g} {unit}", count = 3'
            yield f'# "protocol.{key}" = {{ {ends} }}   # or a list of values; several axes make a grid'
            return
