"""The JSON schema of a configuration, for editors that complete and check."""

from __future__ import annotations

from typing import Any

from mcdev.configuration.experiment import Experiment
from mcdev.configuration.preset_tables import presets
from mcdev.protocols.waveform import PointsFile


def config_schema() -> dict[str, Any]:
    """JSON schema of a file as written: a device may name a preset, which supplies what is then not required."""
    full = Experiment.model_json_schema()
    for definition in full["$defs"].values():
        properties = definition.get("properties", {})
        if "preset" in properties:
            kind = properties["kind"]["const"]
            own = [name for name, preset in presets().items() if preset["device"]["kind"] == kind]
            properties["preset"] = {"enum": own, "description": "Named parameter set to start from."}
            definition.pop("required", None)
            definition["anyOf"] = [{"required": ["preset"]}, {"required": ["kind"]}]
        if "samples_per_point" in properties:
            properties |= PointsFile.model_json_schema()["properties"]
            definition["required"] = ["kind"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **full}
