"""The results' file: written whole, read only if it has what a run of its own configuration would have written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from mcdev.configuration.problems import ConfigError
from mcdev.files.pattern import check as check_pattern
from mcdev.files.structure import Unreadable, hdf5, parse_toml
from mcdev.files.whole_file import ResultsError, whole_file
from mcdev.results import former_results
from mcdev.results.display import as_results
from mcdev.results.fits_along_axes import coefficients, curves
from mcdev.results.names import CONFIG
from mcdev.results.provenance import SCHEMA_VERSION
from mcdev.results.tree import axis_labels, experiment_of, unfitted
from mcdev.results.unknown_kinds import missing
from mcdev.simulation.gathering import empty
from mcdev.simulation.trial import trials

FILE_NAME = "results.h5"


def write(tree: xr.DataTree, folder: str | Path) -> Path:
    """Write ``results.h5`` and ``config.toml`` into a folder."""
    path = Path(folder) / FILE_NAME
    big = {
        group.path: {
            n: {"zlib": True, "complevel": 1, "shuffle": True} for n, v in group.variables.items() if v.size > 4096
        }
        for group in tree.subtree
    }
    with whole_file(path) as temporary:
        tree.to_netcdf(temporary, engine="h5netcdf", encoding=big)
    with whole_file(path.parent / CONFIG) as temporary:
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
    return as_results(loaded)


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
    """Raises :class:`mcdev.files.structure.Unreadable` unless a tree has what a run of its own configuration would have
    written: the pattern is such a run in which nothing was computed. Parameters that came later are filled in. A
    ``migrated`` tree is given the attributes that its version had not, since they follow from the configuration."""
    experiment = experiment_of(tree)
    resolved = trials(experiment)
    sizes = {
        "point": len(resolved),
        "device": experiment.ensemble.devices,
        "cycle": experiment.ensemble.cycles,
        "kept_cycle": resolved[0].kept.size,
        "sample": max(trial.timeline.samples for trial in resolved),
        "quantile": len(experiment.output.quantiles),
    }
    found = {dim: size for group in tree.subtree for dim, size in group.sizes.items()}
    for dim, size in sizes.items():  # before anything of that size is made
        if found.get(dim) != size:
            raise Unreadable(f"it has {found.get(dim, 0)} of the dimension {dim}; its configuration gives {size}")
    written = parse_toml(str(tree["config/toml"].item()))
    former_results.check_names(written)
    former_results.complete(tree, experiment, written)
    traced = found.get("trajectory", 0)  # the backend of the run decided, too
    if traced > min(experiment.output.trajectories, experiment.ensemble.devices):
        raise Unreadable(f"it has {traced} trajectories, more than its configuration gives")
    points = [empty(trial, traced) for trial in resolved]
    pattern = unfitted(experiment, points)
    former_results.add_coordinates(tree, "trajectories", pattern["/trajectories"])
    if former_results.unnamed(written, "series_resistor"):
        former_results.add_channel(tree, pattern, "kirchhoff_residual")
    if traced == 0:  # arrays of nothing are not always written
        pattern["/trajectories"] = tree["trajectories"].to_dataset() if "trajectories" in tree else xr.Dataset()
    about = {"title": "", "description": "", "config_hash": "", "seed": 0, "reduced_units": "", "warnings": ""}
    pattern["/"] = xr.Dataset(attrs=about)
    if missing(written):  # the unit of an unknown key is not known
        pattern["/sweep"] = tree["sweep"].dataset
        spikes = tree["spikes"].children if "spikes" in tree else {}  # nor which spikes an unknown measurement reads
        pattern |= {f"/spikes/{name}": group.to_dataset() for name, group in spikes.items()}
    labels = axis_labels(experiment)
    pattern |= {f"/fits/{name}": curves(experiment, fit, labels) for name, fit in experiment.fits.items()}
    optional = {f"/fits/{name}": coefficients(experiment, fit) for name, fit in experiment.fits.items()}
    for group in tree.subtree if migrated else ():
        wanted = pattern[group.path].variables if group.path in pattern else {}
        for name, variable in group.variables.items():
            if name in wanted:
                variable.attrs = dict(wanted[name].attrs) | dict(variable.attrs)
    check_pattern(tree, xr.DataTree.from_dict(pattern), optional)
    for name, group in tree["spikes"].children.items() if "spikes" in tree else ():
        _check_lists(f"/spikes/{name}", group.dataset)


def _check_lists(path: str, data: xr.Dataset) -> None:
    """Raises :class:`mcdev.files.structure.Unreadable` unless the lists of all realisations follow each other."""
    size, offset = data["row_size"].values.ravel(), data["offset"].values.ravel()
    whole = data.sizes.get("spike", 0)
    if (size < 0).any() or not np.array_equal(offset, np.cumsum(size) - size) or size.sum() != whole:
        raise Unreadable(f"{path}: row_size and offset do not divide its {whole} spikes")
