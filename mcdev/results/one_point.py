"""One sweep point of results, as if it had been run alone."""

from __future__ import annotations

import numpy as np
import xarray as xr

from mcdev.configuration.problems import ConfigError, Problem
from mcdev.results.display import as_results
from mcdev.results.tree import experiment_of


def at_point(tree: xr.DataTree, number: int) -> xr.DataTree:
    """The results at sweep point ``number``, from one: nothing is left of the sweep, and of fits along it. Raises
    ``ConfigError`` where there is no such point."""
    count = tree["realisations"].sizes["point"]
    if not 1 <= number <= count:
        raise ConfigError([Problem("--point", number, f"expected a sweep point from 1 to {count}")], "results")
    experiment = experiment_of(tree).point(number - 1)
    groups: dict[str, xr.Dataset] = {}
    for group in tree.subtree:
        data = group.to_dataset(inherit=False)
        if group.path.startswith("/fits/"):
            continue
        if "point" in data.dims:
            data = data.isel(point=[number - 1]).assign_coords(point=np.zeros(1, int))
        groups[group.path] = data
    text = xr.Variable((), experiment.to_toml(), dict(tree["config/toml"].attrs))
    groups["/config"] = xr.Dataset({"toml": text})
    groups["/sweep"] = xr.Dataset(coords={"point": np.zeros(1, int)})
    return as_results(xr.DataTree.from_dict(groups))
