"""One device of given parameters out of an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcdev.configuration.experiment import Experiment, build
from mcdev.schema import typical


def one_device(experiment: Experiment, values: Mapping[str, float], changes: Mapping[str, Any]) -> Experiment:
    """The experiment of a single device of these parameters (SI), every other at its median, with tables of the
    configuration replaced by ``changes``: what one instance of an exported model is compared with."""
    device = experiment.device
    given = {name: typical(getattr(device, name)) for name in type(device).parameters()} | dict(values)
    table = experiment.to_dict()
    table["device"] = device.model_copy(update=given).model_dump(mode="json", exclude_none=True)
    size = {k: v for k, v in table["ensemble"].items() if k not in ("correlation", "cycle_to_cycle")}
    table["ensemble"] = size | {"devices": 1, "cycles": 1}
    table["circuit"] = {"kind": "alone"}
    table["measurements"] = {"mean": {"kind": "mean_conductance"}}
    table["output"] = {"trajectories": 0}
    for name in ("fits", "sweep"):
        table.pop(name, None)
    return build(table | dict(changes))
