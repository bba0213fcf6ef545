"""Presets: published or fitted devices, ready for the tables that hold a device."""

from __future__ import annotations

import copy
import functools
import json
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from mcdev.configuration.problems import Problem
from mcdev.schema import Strict, nearest

PLACES = ("device", "circuit.memristor", "circuit.cell", "circuit.background")
"""Key paths of tables that may start from a preset, and those of ``circuit.devices``."""


def presets() -> dict[str, dict[str, Any]]:
    """Every device preset by name: title, source, notes, device table and the origin of each number."""
    return copy.deepcopy(_presets())


@functools.cache
def _presets() -> dict[str, dict[str, Any]]:
    folder = resources.files("mcdev") / "devices" / "presets"
    return {
        file.name.removesuffix(".toml"): tomllib.loads(file.read_text(encoding="utf-8"))
        for file in sorted(folder.iterdir(), key=lambda f: f.name)
        if file.name.endswith(".toml")
    }


def fill(data: dict[str, Any]) -> list[Problem]:
    """Put each named preset under what was given beside it; returns what is wrong with the names."""
    own = data.get("presets")
    known = _presets() | (own if isinstance(own, dict) else {})
    return [problem for place in places(data) if (problem := _fill(data, place, known))]


def places(data: Mapping[str, Any]) -> list[str]:
    """Key paths of the tables of a configuration that may start from a preset."""
    circuit = data.get("circuit")
    further = circuit.get("devices") if isinstance(circuit, dict) else None
    named = [f"circuit.devices.{name}" for name in further] if isinstance(further, dict) else []
    return [*PLACES, *named]


def at_place(data: Mapping[str, Any], place: str) -> tuple[Any, str]:
    """The table in which one of :func:`places` stands, if there is one, and by which key."""
    *above, last = place.split(".", 2)
    table: Any = data
    for key in above:
        table = table.get(key) if isinstance(table, dict) else None
    return table, last


def _fill(data: dict[str, Any], place: str, known: Mapping[str, Any]) -> Problem | None:
    table, last = at_place(data, place)
    own = table.get(last) if isinstance(table, dict) else None
    if not isinstance(own, dict) or "preset" not in own:
        return None
    name = own["preset"]
    if not isinstance(name, str):
        return Problem(f"{place}.preset", name, f"expected the name of a preset; {nearest('', known)}")
    if name not in known:
        return Problem(f"{place}.preset", name, f"no such preset; {nearest(name, known)}")
    given = known[name]
    if not isinstance(given, dict) or not isinstance(given.get("device"), dict):
        return Problem(f"presets.{name}.device", None, "is missing; expected the table of a device")
    table[last] = copy.deepcopy(given["device"]) | own
    return None


def without_preset(table: Strict, data: dict[str, Any], own_presets: Mapping[str, Any]) -> dict[str, Any]:
    """``data``, a table as written out, without what came from its preset: another can then take its place.
    ``own_presets``: those of the configuration."""
    name = getattr(table, "preset", None)
    if name is None:
        return data
    given = (_presets() | dict(own_presets))[name]["device"] | {"preset": name}
    own = given | {"kind": data.get("kind", given["kind"])}  # its numbers may have been put into another view
    old = type(table).model_validate_json(json.dumps(own)).model_dump(mode="json", exclude_none=True)
    return {key: value for key, value in data.items() if value != (old | {"kind": given["kind"]}).get(key)}
