"""A calibration's file from somebody else: what tables and pictures read is there, or one line says what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from mcdev.calibration import file as calibration_file
from mcdev.files.whole_file import ResultsError

Layout = dict[str, dict[str, tuple[str, ...]]]
LAYOUT: Layout = {
    "targets": {"target": ("target",), "reported": ("target",), "pull": ("target",), "weight": ("target",)},
    "parameters": {"parameter": ("parameter",), "value": ("parameter",), "correlation": ("parameter", "other")},
    "starts": {"loss": ("start",), "begin": ("start", "parameter")},
    "history": {"loss": ("line",), "stage": ("line",)},
    "curve_1": {"time": ("sample",), "measured": ("sample",)},
    "profile_1": {"value": ("grid",), "chi_square": ("grid",)},
}
"""A choice of what every file has."""


def made() -> dict[str, xr.Dataset]:
    """Groups of a calibration of two parameters, two targets, a curve and a profile."""
    words = calibration_file._TEXT
    about: dict[str, dict[str, Any]] = {
        "curve_1": {"title": "c", "noise": 1e-9},
        "profile_1": {"title": "p", "low": 0.5, "high": 1.5},
    }
    groups = {"/": xr.Dataset(attrs={"mcdev_calibration_version": 1, "conclusions": "all met"})}
    for group in LAYOUT:
        data = xr.Dataset(attrs=about.get(group, {}))
        for name, dims in calibration_file._READ[group.removesuffix("_1")].items():
            one = "a" if name in words else 1.0
            data[name] = xr.Variable(dims, np.full((2,) * len(dims), one), {"units": "1"})
        groups[f"/{group}"] = data
    return groups


def read(groups: dict[str, xr.Dataset], folder: Path) -> None:
    calibration_file.read(calibration_file.write(xr.DataTree.from_dict(groups), folder))


def test_what_is_whole_is_read(tmp_path: Path) -> None:
    read(made(), tmp_path)


@pytest.mark.parametrize(
    ("group", "name", "how"),
    [(g, n, how) for g, names in LAYOUT.items() for n, how in zip(names, ("missing", "of another kind"), strict=False)],
)
def test_what_is_missing_or_of_another_kind_is_named(group: str, name: str, how: str, tmp_path: Path) -> None:
    groups = made()
    data = groups[f"/{group}"]
    if how == "missing":
        groups[f"/{group}"] = data.drop_vars(name)
    else:
        other: Any = 1.0 if data[name].dtype.kind in "OU" else "a"
        variable = xr.Variable(data[name].dims, np.full(data[name].shape, other), {"units": "1"})
        groups[f"/{group}"] = data.drop_vars(name).assign({name: variable})
    with pytest.raises(ResultsError, match=f"/{group}/{name}"):
        read(groups, tmp_path)


def test_a_missing_group_is_named(tmp_path: Path) -> None:
    groups = made()
    del groups["/starts"]
    with pytest.raises(ResultsError, match="the group /starts is missing"):
        read(groups, tmp_path)
