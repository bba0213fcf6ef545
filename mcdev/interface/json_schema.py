"""The JSON schema of a configuration, for editors that complete and check."""

from __future__ import annotations

from typing import Any

from mcdev.configuration.experiment import Experiment
from mcdev.configuration.extends import KEY
from mcdev.configuration.preset_tables import presets
from mcdev.protocols.waveform import PointsFile


def config_schema() -> dict[str, Any]:
    """JSON schema of a file as written: a device may name a preset, which supplies what is then not required."""
    full = Experiment.model_json_schema()
    for definition in full["$defs"].values():
        properties = definition.get("properties", {})
        if "preset" in properties:
            own = [name for name, preset in presets().items() if preset["device"].keys() <= properties.keys()]
            name = {"anyOf": [{"enum": own}, {"type": "string", "pattern": r"\.toml$"}]}
            properties["preset"] = name | {"description": "Named parameter set to start from, or a file with one."}
            definition.pop("required", None)
            definition["anyOf"] = [{"required": ["preset"]}, {"required": ["kind"]}]
        if "samples_per_point" in properties:
            properties |= PointsFile.model_json_schema()["properties"]
            definition["required"] = ["kind"]
    base = {"type": "string", "description": "Configuration that this one stands on top of, in its folder or below it."}
    full["properties"][KEY] = base
    full["anyOf"] = [{"required": full.pop("required")}, {"required": [KEY]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_any_of(full)}


def _any_of(schema: Any) -> Any:
    """The same where a table may be of several kinds at once: one that starts from a file says its kind only there."""
    if isinstance(schema, list):
        return [_any_of(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kinds = "discriminator" in schema
    return {"anyOf" if kinds and key == "oneOf" else key: _any_of(value) for key, value in schema.items()}
