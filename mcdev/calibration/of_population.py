"""From a measured population to the calibration that fits it: its statistics as targets, its spreads as parameters."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr

from mcdev.configuration.experiment import Experiment
from mcdev.configuration.key_paths import path_of_law
from mcdev.configuration.problems import ConfigError, Problem
from mcdev.results.tree import experiment_of
from mcdev.schema.laws import Lognormal, Normal, Uniform
from mcdev.statistics.readings import Reading, few, readings
from mcdev.statistics.statistic import statistic

_CENSORED = 0.02  # share of bounds up to which a measurement is a target
_QUANTILE = 0.9
_SPREAD = {"low": 0.01, "high": 1.0}  # of ln x: bounds of a spread that is fitted
_MEMBERS = 128  # simulated devices: docs/calibration.md


def calibration_of(tree: xr.DataTree) -> tuple[dict[str, Any], list[str]]:
    """The tables of a calibration that fits the device of these results to what was measured, and what of it is no
    target, in words. Free are the medians and spreads (of a uniform law, the ends) of what the configuration draws,
    from device to device and from cycle to cycle, and correlations of the former where as many of measurements are
    known. Targets are each measurement's median, upper quantile and spreads (of a trace, mean and standard deviations),
    and the correlations.

    Raises ``ConfigError`` where the configuration draws nothing, or there are fewer than three devices."""
    experiment = experiment_of(tree)
    parameters = dict(_free(experiment))
    if not parameters:
        expected = 'expected a parameter that differs from device to device, like { distribution = "lognormal", … }'
        raise ConfigError([Problem("device", None, f"{expected}: its median and spread are what is fitted")], "results")
    targets, left_out = _targets(tree, experiment)
    if tree["realisations"].sizes["device"] < 3 or not targets:
        why = "; ".join(left_out) or "expected three devices or more"
        raise ConfigError([Problem("measurements", None, f"no statistic of a population to fit: {why}")], "results")
    written = experiment.to_dict()
    told = ("cycles", "cycle_to_cycle", "correlation")
    ensemble = {key: written["ensemble"][key] for key in told if written["ensemble"].get(key)}
    drawn = [name for name, law in experiment.laws.items() if "." not in name and isinstance(law, (Lognormal, Normal))]
    uncorrelated = {"parameters": drawn, "matrix": np.eye(len(drawn)).tolist()}
    together = ensemble.get("correlation", uncorrelated)
    pairs = list(combinations(together["parameters"], 2))
    if sum(target["statistic"] == "correlation" for target in targets) >= len(pairs) > 0:
        ensemble["correlation"] = together
        parameters |= {f"ensemble.correlation.{one}.{other}": {} for one, other in pairs}
    own = {key: written[key] for key in ("circuit", "protocol", "measurements", "sweep") if written.get(key)}
    if not own.get("sweep", {}).get("axes"):
        own.pop("sweep", None)
    job = {
        "name": f"{written['name']}_population",
        "description": f"Medians and spreads of the parameters from the statistics of {written['name']}",
        "device": written["device"],
        "experiments": {written["name"]: own | {"ensemble": ensemble}},
        "parameters": parameters,
        "targets": [{"experiment": written["name"]} | target for target in targets],
        "search": {"members": _MEMBERS},
    }
    return job, left_out


def _free(experiment: Experiment) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key path → bounds, of every median and spread that is drawn."""
    for name, law in experiment.laws.items():
        path = path_of_law(name)
        if isinstance(law, Lognormal):
            yield f"{path}.median", {}
            yield f"{path}.sigma", dict(_SPREAD)
        elif isinstance(law, Normal):
            yield f"{path}.mean", {}
            yield f"{path}.sd", {}
        elif isinstance(law, Uniform):
            yield f"{path}.low", {}
            yield f"{path}.high", {}
    for name in experiment.ensemble.cycle_to_cycle:
        yield f"ensemble.cycle_to_cycle.{name}", dict(_SPREAD)


def _targets(tree: xr.DataTree, experiment: Experiment) -> tuple[list[dict[str, Any]], list[str]]:
    found: list[dict[str, Any]] = []
    left_out: list[str] = []
    source = f"{tree.attrs['title']}: {tree['realisations'].sizes['device']} devices"
    every = list(readings(tree))
    for index in range(tree["realisations"].sizes["point"]):
        kept: list[Reading] = []
        for reading in few([r for r in every if r.index == index]):
            if (why := no_target(reading)) is not None:
                left_out.append(why)
                continue
            kept.append(reading)
            found += targets_of(reading, source, experiment.measurements[reading.name].linear)
        for one, other in combinations(kept, 2):
            pair = _correlation(one, other, source)
            found += [pair] if pair is not None else []
    return found, left_out


def no_target(reading: Reading) -> str | None:
    """Why a reading of a population is no target, in words; None where it is one."""
    bounds, known = reading.right + reading.left, int(reading.fine.sum()) + reading.right + reading.left
    return (
        f"{reading.label}: {bounds} of {known} are bounds; no target"
        if bounds > _CENSORED * known or not known
        else None
    )


def targets_of(reading: Reading, source: str, linear: bool) -> Iterator[dict[str, Any]]:
    """Targets that a population's reading gives, as in a calibration's file: its median, its spread from device to
    device and from cycle to cycle (of ln x where all are positive), and of a number its upper quantile. The entries of
    a list say enough of the law together.

    ``linear``: the measurement is linear in what was recorded. The entries of such a list are a trace. Where some
    devices have switched and others have not, a median jumps from the one to the other, and a mean does not: of a trace
    it is mean and standard deviation, the moments that its likelihood is made of."""
    devices, cycles = reading.values.shape
    trace = linear and reading.entry is not None
    wanted: list[tuple[Any, float | None]] = [("mean" if trace else "median", None)]
    if reading.entry is None:
        wanted.append(("quantile", _QUANTILE))
    spread = "sigma_ln" if reading.positive and not trace else "sd"
    wanted += [(f"{spread}_{part}", None) for part in (("between", "within") if cycles > 1 else ("total",))]
    for name, level in wanted:
        value = statistic(name, reading.values, reading.status, level)
        if not np.isfinite(value) or (name.startswith(("sigma", "sd")) and not value > 0):
            continue
        unit = "1" if name.startswith("sigma") else reading.unit
        yield _target(reading, name, value, unit, devices, source) | ({} if level is None else {"level": level})


def read_at(reading: Reading) -> dict[str, Any]:
    """Which number it is, as a target of a calibration's file says it: measurement, entry and point."""
    entry = {} if reading.entry is None else {"entry": reading.entry + 1}
    return {"measurement": reading.name, **entry, "point": reading.index + 1}


def _correlation(one: Reading, other: Reading, source: str) -> dict[str, Any] | None:
    value = statistic("correlation", one.values, one.status, other=(other.values, other.status))
    if not np.isfinite(value):
        return None
    return _target(one, "correlation", value, "1", one.values.shape[0], source) | {"other": other.label}


def _target(reading: Reading, name: str, value: float, unit: str, devices: int, source: str) -> dict[str, Any]:
    written = float(f"{value:.6g}")
    return read_at(reading) | {
        "statistic": name,
        "value": written if unit == "1" else f"{written!r} {unit}",
        "of_devices": devices,
        "source": source,
    }
