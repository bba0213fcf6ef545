"""What is tried: the table of a kind, and one of each as an experiment."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from mcdev.configuration.experiment import Experiment, build
from mcdev.configuration.preset_tables import presets
from mcdev.devices.contract import DeviceConfig
from mcdev.kinds import Kind, name_of
from mcdev.schema import Unit

LANES = 4
"""Lanes that are tried, all of which differ."""
SPREAD = 0.01
"""By which parameters differ from lane to lane."""
SLOPE = 0.02
"""Of the largest derivative, by which one may be off."""


def table_of(kind: type[Kind]) -> dict[str, Any]:
    """A table with which a kind can be tried, as a configuration has it: a preset if there is one, else its
    ``example``, and for each key that must be given the example of its unit."""
    name = name_of(kind)
    preset = next((key for key, each in presets().items() if each["device"]["kind"] == name), None)
    if issubclass(kind, DeviceConfig) and preset is not None:
        return {"preset": preset, **kind.example}
    needed = {
        key: next((mark.example if mark.unit else 1.0 for mark in field.metadata if isinstance(mark, Unit)), None)
        for key, field in kind.model_fields.items()
        if field.is_required()
    }
    return {"kind": name, **{key: text for key, text in needed.items() if text is not None}, **kind.example}


def made(kind: type[Any]) -> Any:
    """The table of a kind by itself, read as from a configuration. Raises ``ValueError``."""
    return TypeAdapter(kind).validate_python(table_of(kind) | {"kind": name_of(kind)}, strict=False)


def experiment_of(device: type[Kind], circuit: type[Kind], protocol: type[Kind]) -> Experiment:
    """One of each. Raises ``ConfigError`` where they do not suit each other, or an example is none."""
    return build(
        {
            "name": "check",
            "device": table_of(device),
            "circuit": table_of(circuit),
            "protocol": table_of(protocol),
            "ensemble": {"devices": LANES},
            "measurements": {"on_off": {"kind": "on_off_ratio"}},
        }
    )
