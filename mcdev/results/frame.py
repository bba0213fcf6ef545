"""Results as a table of pandas: one row a realisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from mcdev.measurements.contract import STATUS_MEANINGS


def frame(tree: xr.DataTree) -> pd.DataFrame:
    """One row a device and cycle of each sweep point.

    Columns: ``point``, ``device`` and ``cycle``; the sweep's axes; ``intact``; the parameters, as drawn for the
    device; each measurement, ``NAME`` or ``NAME[1]``, ``NAME[2]``, … of a list, followed by ``NAME status`` (a
    category: ok, right_censored, left_censored, undefined, failed; the value of a censored one is a bound). The units
    stand in ``frame.attrs["units"]``, by the name of the column. What would have the name of another column has its
    whole path.
    """
    sizes = tree["realisations"].sizes
    shape = sizes["point"], sizes["device"], sizes["cycle"]
    columns: dict[str, Any] = dict(zip(("point", "device", "cycle"), map(np.ravel, np.indices(shape)), strict=True))
    units: dict[str, str] = {}
    parameters = tree["parameters"].dataset
    for path, axis in tree["sweep"].data_vars.items():
        label = str(axis.attrs["long_name"])
        name = str(path) if label in columns or label in parameters else label
        columns[name] = np.repeat(axis.values, shape[1] * shape[2])
        units[name] = str(axis.attrs["units"])
    columns["intact"] = tree["realisations"].dataset["intact"].values.ravel() == 1
    for parameter, drawn in parameters.data_vars.items():
        column = _free(str(parameter), f"parameters.{parameter}", columns)
        columns[column] = np.repeat(drawn.values.ravel(), shape[2])
        units[column] = str(drawn.attrs["units"])
    words = STATUS_MEANINGS.split()
    for name, group in tree["measurements"].children.items():
        value, status = group.dataset["value"], group.dataset["status"]
        entries = range(value.sizes["entry"]) if "entry" in value.sizes else [None]
        for entry in entries:
            label = str(name) if entry is None else f"{name}[{entry + 1}]"
            where = {} if entry is None else {"entry": entry}
            column = _free(label, f"measurements.{label}", columns)
            columns[column] = value.isel(where).values.ravel()
            units[column] = str(value.attrs["units"])
            state = _free(f"{column} status", f"measurements.{label} status", columns)
            columns[state] = pd.Categorical.from_codes(status.isel(where).values.ravel(), words)
    made = pd.DataFrame(columns)
    made.attrs["units"] = units
    return made


def _free(name: str, whole: str, taken: dict[str, Any]) -> str:
    return whole if name in taken else name
