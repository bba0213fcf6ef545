"""The results of a run: one xarray tree in memory, one HDF5 file in netCDF-4 shape on disk.

    /                     provenance as attributes
    /sweep                values of the sweep's axes, each by its key path (it holds a dot): (point)
    /parameters           what was drawn: (point, device)
    /realisations         whether each stayed intact: (point, device, cycle)
    /measurements/NAME    value and status: (point, device, cycle), with an entry axis for lists
    /mean_response/NAME   value of the measurement taken on the mean trajectory: (point, kept_cycle, replicate)
    /response             mean, standard error and quantiles over time: (point, kept_cycle, time)
    /trajectories         full trajectories of the first devices: (point, kept_cycle, trajectory, sample), with the
                          coordinates time (point, sample) and device (trajectory)
    /profile              what varies along the device: (point, kept_cycle, time, bin), position (point, bin)
    /spectrum             small-signal impedance, where the protocol takes one: (point, device, cycle, frequency)
    /spikes/NAME          the spikes of a detector, named after the first measurement that reads them: onset, width and
                          amplitude (spike), those of one realisation after those of another; offset and row_size:
                          (point, device, cycle). Only where spikes are measured
    /fits/NAME            coefficients along the sweep axis, with errors: (curve)

A name that a user chose is that of a group, and what stands in a group has mcdev's own names, so that the two cannot
meet. Every array carries its SI unit and long name, and every group the coordinates of its own dimensions. Times that
one sweep point has and another has not are NaN.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from mcdev.configuration.experiment import Experiment, build
from mcdev.configuration.key_paths import axis_unit, axis_values
from mcdev.configuration.own_presets import files_named
from mcdev.configuration.problems import keys_of
from mcdev.configuration.samples import names_samples
from mcdev.devices.contract import CIRCUIT_CHANNELS, Accuracy
from mcdev.files.structure import Unreadable, parse_toml
from mcdev.files.whole_file import ResultsError
from mcdev.machine.identity import Origin
from mcdev.measurements.contract import STATUS_MEANINGS
from mcdev.measurements.spiking import Spiking
from mcdev.results.display import as_results
from mcdev.results.fits_along_axes import fitted_group
from mcdev.results.provenance import attributes
from mcdev.results.unknown_kinds import experiment_with_stand_ins, missing
from mcdev.schema import parted
from mcdev.simulation.ensemble import simulate
from mcdev.simulation.gathering import PointResult
from mcdev.simulation.trial import Trial, kept_cycles


def run(experiment: Experiment, report: Any = None, threads: int | None = None) -> xr.DataTree:
    """Simulate an experiment; its results as an xarray tree.

    ``report(done, total)`` is called as work proceeds. Raises ``NotEnoughMemory`` before anything is computed.
    """
    begin = datetime.datetime.now(datetime.UTC)
    points = simulate(experiment, report, threads)
    wall = (datetime.datetime.now(datetime.UTC) - begin).total_seconds()
    about = {"started": begin.isoformat(timespec="seconds"), "wall_time_s": wall}
    return assemble(experiment, points, about)


def assemble(
    experiment: Experiment, points: list[PointResult], provenance: dict[str, Any], origins: Sequence[Origin] = ()
) -> xr.DataTree:
    """The tree of a finished simulation that ``origins`` have computed; by default this process."""
    groups = unfitted(experiment, points)
    variants = [point for _, point in experiment.points()]
    about = attributes(experiment, variants, origins or [Origin.here()]) | provenance
    for one in _visited(variants, groups["/response"]):
        name = "notes" if one.good else "warnings"
        about[name] = "\n".join(filter(None, [about[name], one.text]))
    groups["/"] = xr.Dataset(attrs=about)
    labels = axis_labels(experiment)
    for name, fit in experiment.fits.items():
        groups[f"/fits/{name}"] = _indexed(fitted_group(experiment, fit, points, labels), experiment, points)
    return as_results(xr.DataTree.from_dict(groups))


def _visited(variants: list[Experiment], response: xr.Dataset) -> list[Accuracy]:
    """What the devices of each point say of where they have been; what is equal once."""
    found: dict[Accuracy, None] = {}
    for i, point in enumerate(variants):
        own = {
            str(name).removesuffix("_quantiles"): np.abs(np.asarray(values))
            for name, values in response.isel(point=i).data_vars.items()
            if str(name).endswith("_quantiles")
        }
        most = {name: float(np.nanmax(values)) for name, values in own.items() if np.isfinite(values).any()}
        device, circuit = Trial(point).computed
        tables = {"device": device} | {f"circuit.{key}": table for key, table in circuit.tables.items()}
        for place, met in _met(point, most).items():
            for one in tables[place].visited(met):
                found[one._replace(text=f"{place}: {one.text}")] = None
    return list(found)


def _met(point: Experiment, most: dict[str, float]) -> dict[str, dict[str, float]]:
    """Where a table stands → the largest size of each channel, by its bare name, among those of its memristors that are
    recorded."""
    found: dict[str, dict[str, float]] = {"device": {}}
    others = set(point.circuit.memristors[1:])
    for name, value in most.items():
        quantity, of = parted(name)
        if of is None or of in others:
            place = "device" if of is None else point.table_of(of)[0].removesuffix(".") or "device"
            own = found.setdefault(place, {})
            own[quantity] = max(own.get(quantity, 0.0), value)
    return found


def unfitted(experiment: Experiment, points: list[PointResult]) -> dict[str, xr.Dataset]:
    """All groups but for provenance and fits."""
    output = experiment.output
    longest = max(p.timeline.samples for p in points)
    variants = [point for _, point in experiment.points()]
    config = xr.Variable((), experiment.to_toml(), {"long_name": "resolved configuration"})
    groups = {
        "/config": xr.Dataset({"toml": config}),
        "/sweep": _sweep(experiment, len(points)),
        "/parameters": _parameters(experiment, points),
        "/realisations": _realisations(experiment, points),
        "/measurements": xr.Dataset(),
        "/mean_response": xr.Dataset(
            attrs={"comment": "replicate 0: all devices; the others leave out one group of devices each"}
        ),
        "/response": _response(variants, points, longest, np.array(output.quantiles)),
        "/trajectories": _trajectories(variants, points, longest),
        "/profile": _profile(variants, points, longest),
        "/spectrum": _spectrum(variants, points),
        "/fits": xr.Dataset(),
    }
    for name in experiment.measurements:
        groups[f"/measurements/{name}"] = _measurement(name, points, variants)
        groups[f"/mean_response/{name}"] = _of_mean(name, points, variants)
    for names in trains(variants):
        groups[f"/spikes/{names[0]}"] = _spikes(names, points, variants)
    return {path: _indexed(data, experiment, points) for path, data in groups.items()}


def _indexed(data: xr.Dataset, experiment: Experiment, points: list[PointResult]) -> xr.Dataset:
    """With the coordinates of its own dimensions, and no others."""
    coordinates = {
        "point": np.arange(len(points)),
        "device": np.arange(experiment.ensemble.devices),
        "cycle": np.arange(experiment.ensemble.cycles),
        "kept_cycle": kept_cycles(experiment),
        "sample": np.arange(max(p.timeline.samples for p in points)),
    }
    return data.assign_coords({str(dim): coordinates[str(dim)] for dim in data.dims if dim in coordinates})


def axis_labels(experiment: Experiment) -> dict[str, str]:
    """Key path of each sweep axis → what it is called in tables and pictures: its last key, or the whole path where
    two axes have the same one or it is called like a dimension."""
    last = {path: keys_of(path)[-1] for path in experiment.sweep.axes}
    unlike = len(set(last.values())) == len(last) and not set(last.values()) & {"point", "device", "cycle"}
    return last if unlike else {path: path for path in last}


def _sweep(experiment: Experiment, points: int) -> xr.Dataset:
    data = xr.Dataset(coords={"point": np.arange(points)})
    for path, label in axis_labels(experiment).items():
        about = {"units": axis_unit(experiment, path) or "1", "long_name": label}
        data[path] = xr.Variable("point", np.asarray(axis_values(experiment, path)), about)
    return data


def _parameters(experiment: Experiment, points: list[PointResult]) -> xr.Dataset:
    data = xr.Dataset()
    for name in experiment.kept_parameters:
        data[name] = parameter(experiment, name, np.stack([p.parameters[name] for p in points]))
    return data


def parameter(experiment: Experiment, name: str, drawn: np.ndarray) -> xr.Variable:
    """One of the parameters that results hold, [point, device] in SI units."""
    law, member = experiment.kept_parameters[name]
    mark = experiment.units[law]
    words = (experiment.meaning(law) or law).splitlines()[0]
    if member:
        words += f" (of {experiment.circuit.memristors[experiment.members(law)[member]]})"
    about = {"units": mark.unit or "1", "long_name": words, **mark.bounds}
    return xr.Variable(("point", "device"), drawn / mark.scale, about)


def _pad(array: np.ndarray, axis: int, length: int, fill: Any = np.nan) -> np.ndarray:
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, length - array.shape[axis])
    return np.pad(array, widths, constant_values=fill)


def _measurement(name: str, points: list[PointResult], variants: list[Experiment]) -> xr.Dataset:
    dims = ["point", "device", "cycle"]
    values, status = [p.values[name] for p in points], [p.status[name] for p in points]
    if values[0].ndim == 3:
        dims.append("entry")
        longest = max(v.shape[2] for v in values)
        values = [_pad(v, 2, longest) for v in values]
        status = [_pad(s, 2, longest, -1) for s in status]
    measurement = variants[0].measurements[name]
    criteria = [v.measurements[name].criterion for v in variants]
    criterion = criteria[0] if len(set(criteria)) == 1 else "; ".join(criteria)
    about: dict[str, Any] = {
        "units": measurement.unit,
        "long_name": f"{measurement.kind}: {criterion}",
        "kind": measurement.kind,
        "criterion": criterion,
        "ancillary_variables": "status",
    }
    full_scale = variants[0].device.full_scale
    if measurement.full_scale and full_scale:
        about["full_scale"] = f"G_max: {full_scale.words}"
    if all(v.measurements[name].nonnegative for v in variants):
        about["at_least"] = 0.0
    if measurement.detector is not None:
        about["spikes"] = next(f"/spikes/{names[0]}" for names in trains(variants) if name in names)
    of_status = {
        "long_name": f"status of {name}",
        "flag_values": np.arange(5, dtype=np.int8),
        "flag_meanings": STATUS_MEANINGS,
        "comment": "a censored value is a bound: the truth lies above (right) or below (left); "
        "-1 where this sweep point has no such entry",
    }
    return xr.Dataset({"value": (dims, np.stack(values), about), "status": (dims, np.stack(status), of_status)})


def trains(variants: list[Experiment]) -> list[list[str]]:
    """Names of the measurements that read the same spikes at every sweep point."""
    found: dict[Any, list[str]] = {}
    for name, measurement in variants[0].measurements.items():
        if measurement.detector is not None:
            found.setdefault(tuple(v.measurements[name].detector for v in variants), []).append(name)
    return list(found.values())


def _spikes(names: list[str], points: list[PointResult], variants: list[Experiment]) -> xr.Dataset:
    """A contiguous ragged array in the sense of the CF conventions: ``row_size`` spikes of each realisation stand from
    ``offset`` on."""
    measurements = [v.measurements[names[0]] for v in variants]
    own = [p.spikes[m.detector.name] for p, m in zip(points, measurements, strict=True) if m.detector is not None]
    dims = ("point", "device", "cycle")
    kept = np.stack([each.kept for each in own])
    ends = np.cumsum(kept).reshape(kept.shape)
    levels = dict.fromkeys(m.levels for m in measurements if isinstance(m, Spiking))
    signals = dict.fromkeys(m.detector.signal for m in measurements if m.detector is not None)
    about = {"signal": ", ".join(signals), "criterion": "; ".join(levels), "measurements": ", ".join(names)}
    data = xr.Dataset(attrs=about)
    counts = {
        "offset": (ends - kept, "number of the first spike of the realisation"),
        "row_size": (kept, "spikes of the realisation that are kept"),
        "count": (np.stack([each.total for each in own]), "all spikes of the realisation"),
    }
    for name, (numbers, words) in counts.items():
        data[name] = xr.Variable(dims, numbers, {"long_name": words})
    data["row_size"].attrs["sample_dimension"] = "spike"
    unit = next((m.signal_unit for m in measurements if isinstance(m, Spiking)), "1")
    lists = {
        "onset": ("s", "beginning of the spike, since its cycle began"),
        "width": ("s", "time until it ends; NaN where it was still on at the end of the cycle"),
        "amplitude": (unit, "largest value of the watched channel within the spike"),
    }
    for name, (units, words) in lists.items():
        flat = np.concatenate([getattr(each, name) for each in own])
        data[name] = xr.Variable("spike", flat, {"units": units, "long_name": words})
    return data


def _realisations(experiment: Experiment, points: list[PointResult]) -> xr.Dataset:
    about = {
        "long_name": "1 where the realisation stayed finite, 0 where it broke down",
        "comment": f"where realisations break down {experiment.remedy}",
    }
    intact = np.stack([p.intact for p in points]).astype(np.int8)
    found = xr.Dataset({"intact": (("point", "device", "cycle"), intact, about)})
    names = experiment.circuit.memristors
    if len(names) > 1:
        of_number = {
            "long_name": "memristor of the circuit that broke down first",
            "comment": f"its number among {', '.join(names)}, from zero; -1 where none did, one more than the last "
            "where a charge did",
        }
        culprit = np.stack([p.culprit for p in points]).astype(np.int32)
        found["culprit"] = xr.Variable(("point", "device", "cycle"), culprit, of_number)
    return found


def _of_mean(name: str, points: list[PointResult], variants: list[Experiment]) -> xr.Dataset:
    values = [p.of_mean[name] for p in points]
    dims = ["point", "kept_cycle", "replicate"]
    if values[0].ndim == 3:
        dims.append("entry")
        values = [_pad(v, 2, max(v.shape[2] for v in values)) for v in values]
    measurement = variants[0].measurements[name]
    about = {"units": measurement.unit, "long_name": f"{measurement.kind} of the mean trajectory"}
    if measurement.detector is not None:
        about["comment"] = "a mean trajectory has no spikes: it is not taken"
    return xr.Dataset({"value": (dims, np.stack(values), about)})


def _response(variants: list[Experiment], points: list[PointResult], longest: int, quantiles: np.ndarray) -> xr.Dataset:
    def over_time(arrays: list[np.ndarray]) -> np.ndarray:
        return np.stack([_pad(a, a.ndim - 1, longest) for a in arrays])

    data = xr.Dataset(coords={"quantile": quantiles})
    edges = [p.timeline.edges for p in points]
    data["time"] = xr.Variable(
        ("point", "sample"),
        over_time([0.5 * (e[1:] + e[:-1]) for e in edges]),
        {"units": "s", "long_name": "middle of the sample"},
    )
    data["width"] = xr.Variable(
        ("point", "sample"), over_time([np.diff(e) for e in edges]), {"units": "s", "long_name": "length of the sample"}
    )
    for channel, (unit, long_name) in (CIRCUIT_CHANNELS | variants[0].channels).items():
        mean = over_time([p.mean[channel] for p in points])
        data[channel] = xr.Variable(
            ("point", "kept_cycle", "sample"), mean, {"units": unit, "long_name": f"mean {long_name}"}
        )
        if channel == "voltage":
            continue
        data[f"{channel}_sem"] = xr.Variable(
            ("point", "kept_cycle", "sample"),
            over_time([p.sem[channel] for p in points]),
            {"units": unit, "long_name": f"standard error of the mean {long_name}"},
        )
        data[f"{channel}_quantiles"] = xr.Variable(
            ("point", "kept_cycle", "quantile", "sample"),
            over_time([p.quantiles[channel] for p in points]),
            {"units": unit, "long_name": f"quantiles of the {long_name}"},
        )
    for name in sorted({name for p in points for name in p.timeline.windows}):
        spans = [p.timeline.windows.get(name, np.empty((0, 2), int)) for p in points]
        most = max(len(s) for s in spans)
        data[f"window_{name}"] = xr.Variable(
            ("point", f"{name}_window", "bound"),
            np.stack([_pad(s, 0, most, -1) for s in spans]).astype(np.int64),
            {"long_name": f"first sample of each window '{name}', and one past its last"},
        )
    return data


def _trajectories(variants: list[Experiment], points: list[PointResult], longest: int) -> xr.Dataset:
    data = xr.Dataset()
    names = CIRCUIT_CHANNELS | variants[0].channels | variants[0].device.coordinates
    for name in points[0].trajectories:
        unit, long_name = names[name]
        dims = ["point", "kept_cycle", "trajectory", "sample"]
        arrays = [_pad(p.trajectories[name], 2, longest) for p in points]
        if arrays[0].ndim == 4:
            dims.append("part")
            most = max(a.shape[3] for a in arrays)  # a sweep may change how many particles there are
            arrays = [_pad(a, 3, most) for a in arrays]
        data[name] = xr.Variable(dims, np.stack(arrays), {"units": unit, "long_name": long_name})
    return data.assign_coords(trajectory_coordinates(points, longest, data.sizes["trajectory"])) if data else data


def trajectory_coordinates(points: list[PointResult], longest: int, count: int) -> dict[str, xr.Variable]:
    """When each sample is, and of which device each trajectory is."""
    edges = [p.timeline.edges for p in points]
    time = np.stack([_pad(0.5 * (e[1:] + e[:-1]), 0, longest) for e in edges])
    return {
        "time": xr.Variable(("point", "sample"), time, {"units": "s", "long_name": "middle of the sample"}),
        "device": xr.Variable("trajectory", np.arange(count), {"long_name": "number of the device"}),
    }


def _profile(variants: list[Experiment], points: list[PointResult], longest: int) -> xr.Dataset:
    data = xr.Dataset()
    described = {name: about for v in variants for name, about in v.device.profiles.items()}
    if not described:
        return data
    positions = [v.device.profile_bins for v in variants]
    bins = max(p.size for p in positions)
    for name, (unit, long_name) in described.items():
        kept = next(p.profile[name].shape[0] for p in points if name in p.profile)
        none = np.full((kept, longest, bins), np.nan)  # a device without salt has no cations
        data[name] = xr.Variable(
            ("point", "kept_cycle", "sample", "bin"),
            np.stack([_pad(_pad(p.profile[name], 1, longest), 2, bins) if name in p.profile else none for p in points]),
            {"units": unit, "long_name": f"{long_name}, mean over realisations, at the end of the sample"},
        )
    about = {"units": "m", "long_name": "position along the device of this sweep point"}
    return data.assign_coords(position=(("point", "bin"), np.stack([_pad(p, 0, bins) for p in positions]), about))


def _spectrum(variants: list[Experiment], points: list[PointResult]) -> xr.Dataset:
    data = xr.Dataset()
    longest = max(p.impedance.shape[2] for p in points)
    if longest == 0:
        return data
    data["frequency"] = xr.Variable(
        ("point", "frequency_index"),
        np.stack([_pad(v.protocol.frequencies, 0, longest) for v in variants]),
        {"units": "Hz", "long_name": "frequency"},
    )
    impedance = np.stack([_pad(p.impedance, 2, longest) for p in points])
    for name, part, words in (("resistance", impedance.real, "real"), ("reactance", impedance.imag, "imaginary")):
        data[name] = xr.Variable(
            ("point", "device", "cycle", "frequency_index"),
            part,
            {"units": "ohm", "long_name": f"{words} part of the small-signal impedance that the source sees"},
        )
    return data


def experiment_of(tree: xr.DataTree) -> Experiment:
    """The experiment that gave these results; with stand-ins for kinds that are not known here (`unknown_kinds.py`).
    Raises ``ResultsError`` or ``ConfigError`` where its configuration is damaged."""
    stored = tree["config"].dataset.get("toml") if "config" in tree else None
    if stored is None or stored.shape or not isinstance(stored.item(), str):
        raise ResultsError("the results hold no configuration (/config/toml)")
    text: str = stored.item()
    data = _tables(text)
    return experiment_with_stand_ins(data, text, tree) if missing(data) else _built(text)


@functools.lru_cache(maxsize=32)
def _built(text: str) -> Experiment:
    return build(_tables(text), source="the configuration in the results")


@functools.lru_cache(maxsize=32)
def _tables(text: str) -> dict[str, Any]:
    try:
        data = parse_toml(text)
    except Unreadable as error:
        raise ResultsError(f"the configuration in the results {error}") from None
    protocol = data.get("protocol")
    if (
        (isinstance(protocol, dict) and "file" in protocol) or files_named(data) or names_samples(data)
    ):  # results hold what files said
        raise ResultsError("the configuration in the results names another file; it is not read")
    return data
