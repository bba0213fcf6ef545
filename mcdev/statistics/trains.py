"""The spikes of a run, realisation by realisation: what is stored as one flat list for all of them."""

from __future__ import annotations

import numpy as np
import xarray as xr


def train_names(tree: xr.DataTree) -> list[str]:
    """Names of the groups of spikes, one a detector; none where no spikes were asked for."""
    return [str(name) for name in tree["spikes"].children] if "spikes" in tree else []


def onsets(tree: xr.DataTree, name: str, point: int) -> list[list[np.ndarray]]:
    """When the spikes of each realisation of a sweep point begin, in seconds since its cycle began: for each device,
    for each cycle, a list."""
    data = tree[f"spikes/{name}"].dataset
    first, size = (data[key].values[point] for key in ("offset", "row_size"))
    flat = data["onset"].values
    return [
        [flat[begin : begin + length] for begin, length in zip(*rows, strict=True)]
        for rows in zip(first, size, strict=True)
    ]


def intervals(tree: xr.DataTree, name: str, point: int) -> np.ndarray:
    """Times between successive spikes of one cycle, of all realisations of a sweep point together (s)."""
    found = [np.diff(times) for cycles in onsets(tree, name, point) for times in cycles]
    return np.concatenate(found) if found else np.empty(0)
