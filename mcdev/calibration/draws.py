"""Draws from a posterior as ArviZ and xarray open them: ``posterior.nc``, from the results of any calibration.

/posterior             one variable a parameter [chain, draw], with its unit
/posterior_predictive  one variable a target [chain, draw], where the posterior was learnt from simulations
/observed_data         the reported numbers
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from mcdev.files.whole_file import whole_file

FILE_NAME = "posterior.nc"


def as_arviz(tree: xr.DataTree) -> xr.DataTree | None:
    """The groups that ArviZ knows; None where a calibration has no draws."""
    if "posterior" not in tree.children:
        return None
    table = tree["parameters"].dataset
    units = dict(zip(table["parameter"].values, table["unit"].values, strict=True))
    draws = tree["posterior"].dataset["draws"]
    names = [str(name) for name in draws["parameter"].values]
    groups = {
        "/": xr.Dataset(attrs={"title": tree.attrs["title"], "inference_library": "mcdev"}),
        "/posterior": _chain(names, draws.values, [str(units[name]) for name in names]),
    }
    if "predicted" in tree.children:
        data = tree["predicted"].dataset
        labels, unit = ([str(x) for x in data[key].values] for key in ("target", "unit"))
        groups["/posterior_predictive"] = _chain(labels, data["value"].values, unit)
        groups["/observed_data"] = xr.Dataset(
            {
                label: ((), float(value), {"units": u})
                for label, value, u in zip(labels, data["reported"], unit, strict=True)
            }
        )
    return xr.DataTree.from_dict(groups)


def _chain(names: list[str], values: np.ndarray, units: list[str]) -> xr.Dataset:
    """Columns of [draw, name] as variables of one chain; a name's slash, which files do not allow, becomes a colon."""
    found = xr.Dataset(coords={"chain": [0], "draw": np.arange(len(values))})
    for j, (name, unit) in enumerate(zip(names, units, strict=True)):
        found[name.replace("/", ":")] = xr.Variable(("chain", "draw"), values[None, :, j], {"units": unit})
    return found


def write(tree: xr.DataTree, folder: Path) -> Path | None:
    """Write ``posterior.nc`` into a folder, where there are draws."""
    draws = as_arviz(tree)
    if draws is None:
        return None
    path = folder / FILE_NAME
    with whole_file(path) as temporary:
        draws.to_netcdf(temporary, engine="h5netcdf")
    return path
