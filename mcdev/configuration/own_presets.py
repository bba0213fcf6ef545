"""Presets of one's own: ``preset = "my_device.toml"``, a file beside the configuration with a device's numbers.

    title = "my device, batch 7"
    source = "my notebook, page 12"

    [device]
    kind = "volatile_threshold"         # or preset = "…", one of mcdev's, and what differs from it
    threshold_voltage = "0.6 V"
    …

Once read, it stands in the configuration itself, in ``[presets."my_device.toml"]``: results hold what it said, and
need no other file. One may as well be written there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from mcdev.configuration.extends import read_toml
from mcdev.configuration.preset_tables import at_place, fill, places
from mcdev.configuration.problems import ConfigError, Problem, beside, described
from mcdev.configuration.samples import read_samples
from mcdev.schema import Strict

ENDING = ".toml"


class OwnPreset(Strict):
    """A device's numbers, and where they come from."""

    title: str = Field("", max_length=400)
    """What the device is, in a line."""
    source: str = Field("", max_length=4000)
    """Where the numbers come from."""
    notes: tuple[str, ...] = ()
    """What a user of them must know."""
    device: dict[str, Any]
    """The device, as in ``[device]``; ``kind`` says of which family it is."""
    origin: dict[str, str] = Field(default_factory=dict)
    """Parameter → where its number comes from."""


def read_own(
    data: dict[str, Any], folder: Path, sections: Sequence[str] = ("device", "circuit", "sweep")
) -> list[Problem]:
    """Put the preset files that a configuration in ``folder`` names into its ``presets``; returns what is wrong with
    them. ``sections``: where names are looked for."""
    own = data.get("presets")
    known = dict(own) if isinstance(own, dict) else {}
    found = []
    for key, name in _named(data):
        if name in known or key.split(".")[0] not in sections:
            continue
        try:
            known[name] = _read(beside(folder, name))
        except ConfigError as error:
            found += [p if p.key == name else p._replace(key=f"{key} ({name}): {p.key}") for p in error.problems]
        except ValueError as error:
            found.append(Problem(key, name, str(error)))
    if known and (own is None or isinstance(own, dict)):
        data["presets"] = known
    return found


def files_named(data: Mapping[str, Any]) -> list[str]:
    """Names of preset files whose content a configuration does not hold."""
    own = data.get("presets")
    return [name for _, name in _named(data) if not isinstance(own, dict) or name not in own]


def _named(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Key path and name of each preset file, also along the sweep."""
    for place in places(data):
        table, last = at_place(data, place)
        own = table.get(last) if isinstance(table, dict) else None
        name = own.get("preset") if isinstance(own, dict) else None
        if isinstance(name, str) and name.endswith(ENDING):
            yield f"{place}.preset", name
    sweep = data.get("sweep")
    axes = sweep.get("axes") if isinstance(sweep, dict) else None
    for path, values in axes.items() if isinstance(axes, dict) else ():
        if str(path).endswith(".preset") and isinstance(values, (list, tuple)):
            for name in values:
                if isinstance(name, str) and name.endswith(ENDING):
                    yield f'sweep.axes."{path}"', name


def _read(path: Path) -> dict[str, Any]:
    data = read_toml(path)
    try:
        preset = OwnPreset.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        raise ConfigError([problem for problem, _ in described(error, data, OwnPreset)], str(path)) from None
    written = preset.model_dump(mode="json")
    if wrong := read_samples(written, path.parent):
        raise ConfigError(wrong, str(path))
    if wrong := fill(written):  # it may itself start from one of mcdev's
        raise ConfigError(wrong, str(path))
    written["device"].pop("preset", None)
    if "kind" not in written["device"]:
        raise ConfigError([Problem("device.kind", None, "is missing; say of which family the device is")], str(path))
    return written
