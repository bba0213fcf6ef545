"""The results of a run: one xarray tree in memory, one HDF5 file in netCDF-4 shape on disk.

    /                     provenance as attributes
    /sweep                values of the sweep's axes, each by its key path (it holds a dot): (point)
    /parameters           what was drawn: (point, device)
    /realisations         whether each stayed intact: (point, device, cycle)
    /measurements/NAME    value and status: (point, device, cycle), with an entry axis for lists
    /mean_response/NAME   value of the measurement taken on the mean trajectory: (point, kept_cycle, replicate)
    /response             mean, standard error and quantiles over time: (point, kept_cycle, time)
    /trajectories         full trajectories of the first devices: (point, kept_cycle, trajectory, time)
    /profile              what varies along the device: (point, kept_cycle, time, bin), position (point, bin)
    /spectrum             small-signal impedance, where the protocol takes one: (point, device, cycle, frequency)
    /fits/NAME            coefficients along the sweep axis, with errors: (curve)

A name that a user chose is that of a group, and what stands in a group has mcdev's own names, so that the two cannot
meet. Every array carries its SI unit and long name, and every group the coordinates of its own dimensions. Times that
one sweep point has and another has not are NaN.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib.metadata
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from mcdev import former_results
from mcdev.chunks import kept_cycles
from mcdev.devices.contract import CIRCUIT_CHANNELS
from mcdev.ensemble import PointResult, empty, simulate
from mcdev.environment import backend
from mcdev.experiment import Experiment, axis_unit, axis_values, build
from mcdev.fits.contract import Coefficient, Fit
from mcdev.identity import Origin, together, written
from mcdev.jackknife import standard_error
from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED, STATUS_MEANINGS
from mcdev.pattern import check as check_pattern
from mcdev.plain_text import one_line
from mcdev.preset_tables import presets
from mcdev.problems import ConfigError, keys_of
from mcdev.provenance import code_version
from mcdev.rounding import resolved
from mcdev.schema import Unit
from mcdev.structure import Unreadable, hdf5, parse_toml

SCHEMA_VERSION = 3
FILE_NAME = "results.h5"
_BOOTSTRAP = 400


class ResultsError(ValueError):
    """A results file that cannot be read or written; the message says why and what to do, in one line."""

    def __init__(self, message: str):
        super().__init__(one_line(message))


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
    groups = _unfitted(experiment, points)
    variants = [point for _, point in experiment.points()]
    groups["/"] = xr.Dataset(attrs=_provenance(experiment, variants, origins or [Origin.here()]) | provenance)
    labels = axis_labels(experiment)
    for name, fit in experiment.fits.items():
        groups[f"/fits/{name}"] = _indexed(_fit(experiment, fit, points, labels), experiment, points)
    return xr.DataTree.from_dict(groups)


def _unfitted(experiment: Experiment, points: list[PointResult]) -> dict[str, xr.Dataset]:
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
    for name, mark in experiment.units.items():
        drawn = np.stack([p.parameters[name] for p in points]) / mark.scale
        field = experiment.field(name)
        about = {"units": mark.unit or "1", "long_name": (field.description or name).splitlines()[0], **mark.bounds}
        data[name] = xr.Variable(("point", "device"), drawn, about)
    return data


def _provenance(experiment: Experiment, variants: list[Experiment], origins: Sequence[Origin]) -> dict[str, Any]:
    tables = (table for point in variants for table in (point.device, *point.circuit.devices.values()))
    named = dict.fromkeys(name for table in tables if (name := getattr(table, "preset", None)))
    used = [presets()[name] for name in named]
    first, *others = (point.device.reduced_units for point in variants)
    reduced = {si: name for si, name in first.items() if all(units.get(si) == name for units in others)}
    return {
        "title": experiment.name,
        "description": experiment.description,
        "Conventions": "CF-1.11",
        "mcdev_schema_version": SCHEMA_VERSION,
        "config_hash": experiment.hash,
        "seed": experiment.ensemble.seed,
        "precision": experiment.precision,
        "backend": backend(),
        "accelerator": str(jax.devices()[0].device_kind),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(
            f"{name} {importlib.metadata.version(name)}"
            for name in ("mcdev", "jax", "jaxlib", "numpy", "xarray", "h5py")
        ),
        "code_version": code_version(),
        "git_commit": git_commit(),
        "origins": written(origins),
        "warnings": "\n".join(filter(None, [*experiment.warnings(), together(origins)])),
        "reduced_units": "; ".join(f"1 {si} = {name}" for si, name in reduced.items()),
        "device_source": "\n".join(dict.fromkeys(preset["source"] for preset in used)),
        "device_notes": "\n".join(dict.fromkeys(note for preset in used for note in preset["notes"])),
    }


def git_commit() -> str:
    """Commit of the source tree that mcdev runs from; empty where there is none."""
    folder = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "log", "-1", "--format=%H", "--", "."],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


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
    of_status = {
        "long_name": f"status of {name}",
        "flag_values": np.arange(5, dtype=np.int8),
        "flag_meanings": STATUS_MEANINGS,
        "comment": "a censored value is a bound: the truth lies above (right) or below (left); "
        "-1 where this sweep point has no such entry",
    }
    return xr.Dataset({"value": (dims, np.stack(values), about), "status": (dims, np.stack(status), of_status)})


def _realisations(experiment: Experiment, points: list[PointResult]) -> xr.Dataset:
    about = {
        "long_name": "1 where the realisation stayed finite, 0 where it broke down",
        "comment": f"where realisations break down {experiment.device.remedy}",
    }
    intact = np.stack([p.intact for p in points]).astype(np.int8)
    return xr.Dataset({"intact": (("point", "device", "cycle"), intact, about)})


def _of_mean(name: str, points: list[PointResult], variants: list[Experiment]) -> xr.Dataset:
    values = [p.of_mean[name] for p in points]
    dims = ["point", "kept_cycle", "replicate"]
    if values[0].ndim == 3:
        dims.append("entry")
        values = [_pad(v, 2, max(v.shape[2] for v in values)) for v in values]
    measurement = variants[0].measurements[name]
    about = {"units": measurement.unit, "long_name": f"{measurement.kind} of the mean trajectory"}
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
    return data


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


# -------------------------------------------------------------------------------------- fits


def _fit(experiment: Experiment, fit: Fit, points: list[PointResult], labels: Mapping[str, str]) -> xr.Dataset:
    axis = np.asarray(axis_values(experiment, fit.axis), float) * Unit(axis_unit(experiment, fit.axis)).scale
    curves = experiment.curves(fit.axis)
    found = [fit_along(fit, axis[which], [points[i] for i in which]) for _, which in curves]
    data = _curves(experiment, fit, labels)
    data["note"] = xr.Variable("curve", np.array([note for _, _, note in found]), {"long_name": "how it was fitted"})
    for key, unit in fit.coefficients.items():
        if not any(key in best for best, _, _ in found):
            continue
        about = {"units": unit, "coefficient": key}
        about |= {"long_name": next(best[key].long_name for best, _, _ in found if key in best)}
        values = [best[key].value if key in best else np.nan for best, _, _ in found]
        data[key] = xr.Variable("curve", values, about)
        data[f"{key}_error"] = xr.Variable(
            "curve",
            [errors.get(key, np.nan) for _, errors, _ in found],
            {"units": unit, "long_name": f"standard error of {key}"},
        )
    if fit.by_device and experiment.ensemble.devices > 1:
        alone = [_of_devices(fit, axis[which], [points[i] for i in which]) for _, which in curves]
        for key, unit in fit.coefficients.items():
            about = {"units": unit, "long_name": f"{key} of each device, fitted to its mean over cycles"}
            data[f"{key}_of_device"] = xr.Variable(
                ("curve", "device"), np.stack([values[key] for values in alone]), about
            )
    return data


def _curves(experiment: Experiment, fit: Fit, labels: Mapping[str, str]) -> xr.Dataset:
    """What a fit is of, before anything is fitted."""
    curves = experiment.curves(fit.axis)
    texts = [", ".join(f"{labels[path]} = {v}" for path, v in others.items()) for others, _ in curves]
    about: dict[str, Any] = {"long_name": "values of the other sweep axes"}
    return xr.Dataset(
        coords={"curve": xr.Variable("curve", np.array(texts), about)},
        attrs={
            "equation": fit.equation,
            "measurement": fit.measurement,
            "axis": fit.axis,
            "statistic": fit.statistic,
        },
    )


def _coefficients(experiment: Experiment, fit: Fit) -> list[xr.Dataset]:
    """What a fit may have found, each with what comes along."""
    nothing = xr.Variable("curve", np.full(len(experiment.curves(fit.axis)), np.nan))
    note = xr.Variable("curve", np.full(nothing.size, ""))
    found = [xr.Dataset({"note": note})]
    for key, unit in fit.coefficients.items():
        value = nothing.copy()
        value.attrs = {"units": unit, "coefficient": key, "long_name": ""}
        found.append(xr.Dataset({key: value, f"{key}_error": nothing, "note": note}))
        devices = np.arange(experiment.ensemble.devices)
        alone = xr.Variable(("curve", "device"), np.full((nothing.size, devices.size), np.nan))
        found.append(xr.Dataset({f"{key}_of_device": alone}, {"device": devices}))
    return found


def _of_devices(fit: Fit, axis: np.ndarray, points: list[PointResult]) -> dict[str, np.ndarray]:
    """Coefficients [device] of each device by itself; NaN where it has too few values."""
    found = {key: np.full(points[0].intact.shape[0], np.nan) for key in fit.coefficients}
    for device in range(points[0].intact.shape[0]):
        pairs = ((p.values[fit.measurement][device], p.status[fit.measurement][device]) for p in points)
        values = np.array([ensemble_value("mean", v, s) for v, s in pairs])
        good = fit.usable(values)
        if good.sum() >= fit.least_points:
            for key, coefficient in fit.fit(axis[good], values[good]).items():
                found[key][device] = coefficient.value
    return found


def in_order(values: np.ndarray, status: np.ndarray) -> np.ndarray:
    """The observations whose rank is known, flat: censored ones lie at the end they belong to (± infinity)."""
    line = np.where(status == RIGHT_CENSORED, np.inf, np.where(status == LEFT_CENSORED, -np.inf, values))
    return line[((status == OK) & np.isfinite(values)) | (status == RIGHT_CENSORED) | (status == LEFT_CENSORED)]


def ensemble_value(statistic: str, values: np.ndarray, status: np.ndarray) -> float:
    """Mean of the uncensored observations, or the median of all; NaN where there is none or it is censored."""
    if statistic == "mean":
        ok = values[(status == OK) & np.isfinite(values)]
        return float(ok.mean()) if ok.size else float("nan")
    line = in_order(values, status)
    middle = float(np.quantile(line, 0.5, method="closest_observation")) if line.size else float("nan")
    return middle if np.isfinite(middle) else float("nan")


def fit_along(
    fit: Fit, axis: np.ndarray, points: list[PointResult]
) -> tuple[dict[str, Coefficient], dict[str, float], str]:
    """Coefficients, their standard errors, and a note on how both were found. Points without a value are left out."""
    values = [p.values[fit.measurement] for p in points]
    status = [p.status[fit.measurement] for p in points]

    def at_points(which: np.ndarray) -> np.ndarray:
        return np.array(
            [ensemble_value(fit.statistic, v[which], s[which]) for v, s in zip(values, status, strict=True)]
        )

    def fitted(y: np.ndarray) -> dict[str, Coefficient] | None:
        good = fit.usable(y)
        return fit.fit(axis[good], y[good]) if good.sum() >= fit.least_points else None

    if fit.statistic == "mean_response":
        replicates = np.stack([p.of_mean[fit.measurement][0] for p in points])  # [point, replicate], first cycle
        central = replicates[:, 0]
        fits = [fitted(column) for column in replicates[:, 1:].T]
        how = f"standard errors: jackknife over {len(fits)} groups of devices"
    else:
        devices = np.arange(values[0].shape[0])
        central = at_points(devices)
        draw = np.random.default_rng(0)
        resamples = _BOOTSTRAP if devices.size > 1 else 0
        fits = [fitted(at_points(draw.choice(devices, devices.size))) for _ in range(resamples)]
        how = (
            f"standard errors: {resamples} bootstrap resamples of the devices" if resamples else "one device: no spread"
        )
    best = fitted(central)
    used = int(np.isfinite(central).sum())
    note = f"{fit.statistic} of {fit.measurement} at {used} of {axis.size} points; {how}"
    if best is None:
        return {}, {}, note
    usable = [f for f in fits if f is not None]
    if len(usable) < 2:
        return best, dict.fromkeys(best, float("nan")), note
    resampled = {key: np.array([f[key].value for f in (best, *usable)]) for key in best}
    error = standard_error if fit.statistic == "mean_response" else lambda numbers: np.std(numbers[1:])
    return best, {key: resolved(float(error(n)), best[key].value) for key, n in resampled.items()}, note


# -------------------------------------------------------------------------------------- the file


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to, flushed and renamed at the end, so that ``path`` is whole or as it
    was. The folder is made if need be. Raises ``ResultsError`` where it cannot be written."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise ResultsError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:  # an interrupt, too, leaves no half file
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Have the new name on the disk too, where folders can be flushed."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write(tree: xr.DataTree, folder: Path) -> Path:
    """Write ``results.h5`` and ``config.toml`` into a folder."""
    path = folder / FILE_NAME
    big = {
        group.path: {
            n: {"zlib": True, "complevel": 1, "shuffle": True} for n, v in group.variables.items() if v.size > 4096
        }
        for group in tree.subtree
    }
    with whole_file(path) as temporary:
        tree.to_netcdf(temporary, engine="h5netcdf", encoding=big)
    with whole_file(folder / "config.toml") as temporary:
        temporary.write_text(str(tree["config/toml"].item()), encoding="utf-8")
    return path


def find(path: str | Path) -> Path:
    """The results file of a run's folder, or the file itself."""
    path = Path(path)
    file = path / FILE_NAME if path.is_dir() else path
    if not file.exists():
        raise ResultsError(f"{file} does not exist; give the folder of a run, as printed at its end")
    return file


def read(path: str | Path) -> xr.DataTree:
    """The tree of a run's folder or results file. Raises ``ResultsError`` for what is not one."""
    file = find(path)
    try:
        with hdf5(file) as handle:
            version = np.ravel(handle.attrs.get("mcdev_schema_version", []))
        if version.size != 1:
            raise ResultsError(f"{file} is an HDF5 file but no results file of mcdev")
        if int(version[0]) > SCHEMA_VERSION:
            raise ResultsError(f"{file} was written by a newer mcdev (schema {int(version[0])}); update mcdev")
        if int(version[0]) < former_results.VERSION:
            raise ResultsError(
                f"{file} was written by an early mcdev (schema {int(version[0])}), which this one no longer reads; run "
                "its config.toml again"
            )
        with (
            file.open("rb") as stream,
            xr.open_datatree(stream, engine="h5netcdf", phony_dims="access") as tree,
        ):  # closed whatever happens
            loaded = tree.load()
        migrated = int(version[0]) < SCHEMA_VERSION
        if migrated:
            loaded = _migrated(loaded, file)
        _check(loaded, migrated)
    except (ResultsError, ConfigError):
        raise
    except Unreadable as error:
        raise ResultsError(f"{file} is not read: {error}") from None
    except Exception as error:  # h5py and xarray raise many kinds for a damaged file
        raise ResultsError(f"{file} cannot be read as a results file: damaged or cut off ({error})") from None
    return loaded


def _migrated(tree: xr.DataTree, file: Path) -> xr.DataTree:
    """A tree of an older version in the layout of this one."""
    try:
        experiment = experiment_of(tree)
        new = former_results.migrated(tree, experiment, axis_labels(experiment))
    except (KeyError, ValueError) as error:
        raise ResultsError(
            f"{file} has version {former_results.VERSION} of the results' layout and cannot be read as version "
            f"{SCHEMA_VERSION}: {error}; run its config.toml again"
        ) from None
    new.attrs["mcdev_schema_version"] = SCHEMA_VERSION
    return new


def _check(tree: xr.DataTree, migrated: bool) -> None:
    """Raises :class:`mcdev.structure.Unreadable` unless a tree has what a run of its own configuration would have
    written: the pattern is such a run in which nothing was computed. A ``migrated`` tree is given the attributes that
    its version had not, since they follow from the configuration."""
    experiment = experiment_of(tree)
    timelines = [point.protocol.timeline() for _, point in experiment.points()]
    sizes = {
        "point": len(timelines),
        "device": experiment.ensemble.devices,
        "cycle": experiment.ensemble.cycles,
        "kept_cycle": kept_cycles(experiment).size,
        "sample": max(timeline.samples for timeline in timelines),
        "quantile": len(experiment.output.quantiles),
    }
    found = {dim: size for group in tree.subtree for dim, size in group.sizes.items()}
    for dim, size in sizes.items():  # before anything of that size is made
        if found.get(dim) != size:
            raise Unreadable(f"it has {found.get(dim, 0)} of the dimension {dim}; its configuration gives {size}")
    traced = found.get("trajectory", 0)  # the backend of the run decided, too
    if traced > min(experiment.output.trajectories, experiment.ensemble.devices):
        raise Unreadable(f"it has {traced} trajectories, more than its configuration gives")
    points = [empty(point, line, traced) for (_, point), line in zip(experiment.points(), timelines, strict=True)]
    pattern = _unfitted(experiment, points)
    if traced == 0:  # arrays of nothing are not always written
        pattern["/trajectories"] = tree["trajectories"].to_dataset() if "trajectories" in tree else xr.Dataset()
    about = {"title": "", "description": "", "config_hash": "", "seed": 0, "reduced_units": "", "warnings": ""}
    pattern["/"] = xr.Dataset(attrs=about)
    labels = axis_labels(experiment)
    pattern |= {f"/fits/{name}": _curves(experiment, fit, labels) for name, fit in experiment.fits.items()}
    optional = {f"/fits/{name}": _coefficients(experiment, fit) for name, fit in experiment.fits.items()}
    for group in tree.subtree if migrated else ():
        wanted = pattern[group.path].variables if group.path in pattern else {}
        for name, variable in group.variables.items():
            if name in wanted:
                variable.attrs = dict(wanted[name].attrs) | dict(variable.attrs)
    check_pattern(tree, xr.DataTree.from_dict(pattern), optional)


def experiment_of(tree: xr.DataTree) -> Experiment:
    """The experiment that gave these results. Raises ``ResultsError`` or ``ConfigError`` where its configuration is
    damaged."""
    text = tree["config"].dataset.get("toml") if "config" in tree else None
    if text is None or text.shape or not isinstance(text.item(), str):
        raise ResultsError("the results hold no configuration (/config/toml)")
    return _built(text.item())


@functools.lru_cache(maxsize=32)
def _built(text: str) -> Experiment:
    try:
        data = parse_toml(text)
    except Unreadable as error:
        raise ResultsError(f"the configuration in the results {error}") from None
    protocol = data.get("protocol")
    if isinstance(protocol, dict) and "file" in protocol:  # results hold a waveform's points
        raise ResultsError("the configuration in the results names another file; it is not read")
    return build(data, source="the configuration in the results")


def folder_name(experiment: Experiment) -> str:
    """Name of a new run's folder: experiment, UTC time, hash."""
    return f"{experiment.name}-{time_stamp()}-{experiment.hash}"


def time_stamp() -> str:
    """Now, in UTC, as a folder's name has it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")


__all__ = [
    "FILE_NAME",
    "ResultsError",
    "assemble",
    "experiment_of",
    "find",
    "folder_name",
    "read",
    "run",
    "time_stamp",
    "whole_file",
    "write",
]
