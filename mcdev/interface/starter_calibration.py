"""A first calibration of a device: the two parameters that move a number most, fitted to that number and another. Their
values are simulated, so that it runs as it is; one puts measured ones in their place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mcdev.configuration.experiment import Experiment, build
from mcdev.configuration.preset_tables import presets
from mcdev.configuration.problems import ConfigError, Problem
from mcdev.files.structure import parse_toml
from mcdev.interface.starter import line, starter
from mcdev.results.tree import run
from mcdev.schema import typical
from mcdev.schema.units import customary
from mcdev.statistics.readings import readings

_DEVICES = 8
_STEP = 1.1
_FACTOR = 5.0
"""Bounds lie this factor below and above the device's own value."""


def calibration(device: str, name: str) -> str:
    """The text of a calibration that runs. Raises ``ConfigError`` for what is no device, and where none of its numbers
    can be read under a pulse or follows a parameter."""
    text = starter(device, "pulse_train")
    experiment = build(parse_toml(text)).with_({"ensemble.devices": _DEVICES})
    here = _numbers(experiment)
    moved = {key: _numbers(other) for key, other in _changed(experiment)}
    slopes = {
        key: {label: abs(np.log(there[label] / here[label])) for label in here if there.get(label, 0) > 0}
        for key, there in moved.items()
    }
    labels = sorted(here, key=lambda label: -max((own.get(label, 0.0) for own in slopes.values()), default=0.0))[:2]
    keys = sorted(slopes, key=lambda key: -sum(slopes[key].get(label, 0.0) for label in labels))[: len(labels)]
    if not labels or not any(slopes[key].get(label, 0.0) > 1e-6 for key in keys for label in labels):
        message = "no number of it under a train of pulses follows a parameter; write the calibration by hand"
        raise ConfigError([Problem("device", device, message)], "mcdev new")
    return "\n".join(_lines(experiment, device, name, labels, keys, here)) + "\n"


def _numbers(experiment: Experiment) -> dict[str, float]:
    """``g`` or ``g[2]`` → mean over the devices (SI), of those that are positive and read off all of them."""
    found = {}
    for reading in readings(run(experiment)):
        if reading.fine.all() and (mean := float(reading.values.mean())) > 0:
            found[reading.label] = mean
    return found


def _changed(experiment: Experiment) -> Iterator[tuple[str, Experiment]]:
    """The experiment with each positive parameter a little larger."""
    device = experiment.device
    for key, mark in device.parameters().items():
        value = typical(getattr(device, key)) if key not in device.labels else 0.0
        if value > 0:
            try:
                yield key, experiment.with_({f"device.{key}": mark.write(_STEP * value)})
            except ConfigError:  # beyond what it may be
                continue


def _lines(
    experiment: Experiment, device: str, name: str, labels: list[str], keys: list[str], here: dict[str, float]
) -> Iterator[str]:
    table = experiment.to_dict()
    yield f"# Parameters of {device} from measured numbers: docs/calibration.md. The numbers below are simulated; put"
    yield "# yours in their place, and what you did to the device under [experiments]."
    yield f'name = "{name}"'
    yield from ("", "[device]")
    given = (
        {"preset": device} if device in presets() else {k: v for k, v in table["device"].items() if k != "integrator"}
    )
    yield from (line(key, value) for key, value in given.items())
    yield from ("", "[experiments.train]")
    wanted = {label.partition("[")[0] for label in labels}
    yield line("protocol", {key: value for key, value in table["protocol"].items() if value is not None})
    measured = {key: {"kind": value["kind"]} for key, value in table["measurements"].items() if key in wanted}
    for key, value in measured.items():
        yield line(f"measurements.{key}", value)
    for key in keys:
        mark = experiment.device.parameters()[key]
        size = typical(getattr(experiment.device, key)) / mark.scale
        unit, ratio = customary(mark.unit, size)
        ends = (max(size / _FACTOR, mark.gt or mark.ge or 0.0), min(size * _FACTOR, mark.lt or mark.le or np.inf))
        low, high = (f"{end * ratio:.4g} {unit}".strip() for end in ends)
        yield from ("", f'[parameters."device.{key}"]')
        yield line("low", low if unit else float(low), "bounds of the search")
        yield line("high", high if unit else float(high))
    for label in labels:
        measurement, _, entry = label.partition("[")
        unit, ratio = customary(experiment.measurements[measurement].unit, here[label])
        yield from ("", "[[targets]]", line("experiment", "train"), line("measurement", measurement))
        if entry:
            yield line("entry", int(entry.rstrip("]")))
        number = f"{here[label] * ratio:.4g}"
        yield line("value", float(number) if unit == "1" else f"{number} {unit}", "what was measured")
        yield line("uncertainty", "5 %", "one standard deviation")
        yield line("source", "simulated by mcdev")
    yield from (
        "",
        "# A measured curve instead of numbers:",
        "# [[curves]]",
        '# file = "scope.csv"',
        '# noise = "20 nA"',
    )
