"""Results that an earlier mcdev wrote: of version 2 in the layout of version 3, and with the parameters of today.

Version 2 kept all measurements in one group, ``g`` beside ``g_status``, all fits in another, ``law_tau_1`` beside
``law_tau_1_error``, the sweep's axes and every coordinate at the root, and one position of the profile for all points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from mcdev.configuration.experiment import Experiment
from mcdev.configuration.key_paths import path_of_law
from mcdev.files.structure import Unreadable
from mcdev.results.tree import parameter
from mcdev.schema import typical

VERSION = 2
"""The oldest version that is read."""


def migrated(tree: xr.DataTree, experiment: Experiment, labels: Mapping[str, str]) -> xr.DataTree:
    """A tree of version 2 as one of version 3; ``labels``: what each sweep axis is called. Raises ``ValueError`` where
    names were mixed up in it, ``KeyError`` where something is missing."""
    old = {name: group.to_dataset(inherit=False) for name, group in tree.children.items()}
    root = tree.to_dataset()
    groups = {path: old[path[1:]] for path in ("/config", "/parameters", "/response", "/trajectories", "/spectrum")}
    groups["/"] = xr.Dataset(attrs=tree.attrs)
    groups["/sweep"] = xr.Dataset(coords={"point": root.coords["point"].variable})
    for axis in root.coords.values():
        if "path" in axis.attrs:
            path = str(axis.attrs["path"])
            about = {"units": axis.attrs["units"], "long_name": labels[path]}
            groups["/sweep"][path] = xr.Variable("point", axis.values, about)
    groups["/realisations"] = old["measurements"][["intact"]]
    groups["/measurements"], groups["/fits"] = xr.Dataset(), xr.Dataset()
    groups["/mean_response"] = xr.Dataset(attrs=old["mean_response"].attrs)
    for name in experiment.measurements:
        if f"{name}_status" in experiment.measurements:
            raise ValueError(f"the status of {name} was overwritten by the measurement {name}_status")
        entry = {f"{name}_entry": "entry"} if f"{name}_entry" in old["measurements"].dims else {}
        both = old["measurements"][[name, f"{name}_status"]].rename({name: "value", f"{name}_status": "status"} | entry)
        both["value"].attrs["ancillary_variables"] = "status"
        groups[f"/measurements/{name}"] = both
        groups[f"/mean_response/{name}"] = (
            old["mean_response"][[name]].rename({name: "value"} | entry).drop_attrs(deep=False)
        )
    for name in experiment.fits:
        groups[f"/fits/{name}"] = _fit(old["fits"], name, experiment)
    groups["/profile"] = _profile(old["profile"], experiment)
    whole = {path: _indexed(data, root) for path, data in groups.items()}
    return xr.DataTree.from_dict(whole)


def complete(tree: xr.DataTree, experiment: Experiment, written: Mapping[str, Any]) -> None:
    """Add the parameters that came later: those that ``written``, the configuration in the file, does not name, since
    every device had what is now their default; and a circuit's own numbers that no device draws, which were not kept
    before they could be drawn."""
    for name, (law, _) in experiment.kept_parameters.items():
        path = path_of_law(law)
        if "parameters" not in tree or name in tree["parameters"].dataset:
            continue
        laws = [point.laws[law] for _, point in experiment.points()]
        of_circuit = path.startswith("circuit.") and path.count(".") == 1
        if not _named(written, path) or (of_circuit and all(isinstance(each, float) for each in laws)):
            own = tree["parameters"].to_dataset()
            alike = np.repeat([[typical(each)] for each in laws], own.sizes["device"], axis=1)
            tree["parameters"].dataset = own.assign({name: parameter(experiment, name, alike)})


def unnamed(written: Mapping[str, Any], kind: str) -> bool:
    """Whether the circuit is of this kind, written when its elements had no names."""
    circuit = written.get("circuit", {})
    return circuit.get("kind") == kind and "record" not in circuit


def check_names(written: Mapping[str, Any]) -> None:
    """Raises :class:`mcdev.files.structure.Unreadable` for results of two memristors whose elements had no names."""
    if unnamed(written, "series_memristor"):
        raise Unreadable(
            "it is of an older mcdev, which called the second memristor's channels otherwise (memristor_voltage "
            "and so on); run its config.toml again"
        )


def add_channel(tree: xr.DataTree, pattern: Mapping[str, xr.Dataset], name: str) -> None:
    """A channel that is recorded now and was not: NaN."""
    for group in ("response", "trajectories"):
        if group in tree:
            own = tree[group].to_dataset()
            wanted = {n: v for n, v in pattern[f"/{group}"].data_vars.items() if str(n).startswith(name)}
            if wanted and not any(n in own for n in wanted):
                nothing = {n: xr.full_like(v, np.nan).variable for n, v in wanted.items()}
                tree[group].dataset = own.assign(nothing)


def add_coordinates(tree: xr.DataTree, group: str, wanted: xr.Dataset) -> None:
    """Give a group the coordinates that came later: none of its dimensions, each follows from the configuration."""
    if group not in tree:
        return
    own = tree[group].to_dataset()
    missing = {
        name: variable.variable
        for name, variable in wanted.coords.items()
        if name not in own.variables and name not in own.dims and set(variable.dims) <= set(own.dims)
    }
    if missing and len(missing) == len(set(wanted.coords) - set(own.dims)):
        tree[group].dataset = own.assign_coords(missing)


def _named(table: Any, path: str) -> bool:
    for key in path.split("."):
        if not isinstance(table, Mapping) or key not in table:
            return False
        table = table[key]
    return True


def _indexed(data: xr.Dataset, root: xr.Dataset) -> xr.Dataset:
    """With the coordinates of its own dimensions, which stood at the root."""
    return data.assign_coords({dim: root.coords[dim].variable for dim in data.dims if dim in root.coords})


def _fit(old: xr.Dataset, name: str, experiment: Experiment) -> xr.Dataset:
    fit = experiment.fits[name]
    about = {"equation": fit.equation, "measurement": fit.measurement, "axis": fit.axis}
    data = xr.Dataset(attrs=about | {"statistic": fit.statistic})
    data = data.assign_coords(curve=("curve", old[f"{name}_curve"].values, old[f"{name}_curve"].attrs))
    for key in fit.coefficients:
        for ending in ("", "_error", "_of_device"):
            if (former := f"{name}_{key}{ending}") in old:
                data[key + ending] = (("curve", *old[former].dims[1:]), old[former].values, dict(old[former].attrs))
        if key in data:
            data["note"] = ("curve", np.array(str(data[key].attrs.pop("comment")).split("\n")))
            for word in ("equation", "fit"):
                data[key].attrs.pop(word)
    return data


def _profile(old: xr.Dataset, experiment: Experiment) -> xr.Dataset:
    """Each sweep point's at its own positions: the file has those of the base configuration."""
    if "position" not in old.dims:
        return old
    bins = old.sizes["position"]
    positions = [point.device.profile_bins for _, point in experiment.points()]
    if any(p.size != bins for p in positions):
        raise ValueError(f"the profile has {bins} positions, the configuration others")
    about = old["position"].attrs
    data = old.drop_vars("position").rename_dims(position="bin")
    return data.assign_coords(position=(("point", "bin"), np.stack(positions), about))
