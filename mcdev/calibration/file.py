"""calibration.h5: written whole, checked when it is read."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import xarray as xr

from mcdev.calibration.display import as_calibration
from mcdev.files.structure import Unreadable, hdf5
from mcdev.files.whole_file import ResultsError, whole_file

FILE_NAME = "calibration.h5"


def _along(dimension: str, *names: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(names, (dimension,))


_READ: dict[str, dict[str, tuple[str, ...]]] = {
    "targets": _along("target", "target", "unit", "reported", "uncertainty", "simulated", "simulated_error")
    | _along("target", "pull", "weight", "series", "along", "at", "at_unit"),
    "parameters": _along("parameter", "parameter", "unit", "value", "low", "high", "sd", "determined")
    | {"singular_value": ("direction",), "correlation": ("parameter", "other")},
    "starts": {"loss": ("start",), "begin": ("start", "parameter")},
    "history": _along("line", "start", "stage", "loss", "taken"),
    "models": _along("model", "model", "parameters", "numbers", "chi_square", "worst", "aic", "aicc", "bic"),
    "curve": _along("sample", "time", "measured", "simulated", "sd"),
    "profile": _along("grid", "value", "chi_square"),
    "posterior": {"draws": ("draw", "parameter")},
    "training": {"loss": ("epoch", "of")},
    "checks": {"ranks": ("set", "parameter"), "level": ("level",), "covered": ("level",)},
    "predicted": {"value": ("draw", "target"), "reported": ("target",), "status": ("target",)},
    "course": {"time": ("sample",), "current": ("quantile", "sample"), "quantile": ("quantile",)},
}
"""What tables and pictures read, with its dimensions, by the group's name without its number."""
_TEXT = ("target", "unit", "parameter", "model", "series", "along", "at_unit")
_ADDED = ("sd", "series", "along", "at", "at_unit")  # files of earlier versions lack them
_ATTRIBUTES = {"curve": ("noise",), "profile": ("low", "high"), "checks": ("strangeness",)}


def write(tree: xr.DataTree, folder: Path) -> Path:
    """Write calibration.h5 into a folder."""
    path = folder / FILE_NAME
    with whole_file(path) as temporary:
        tree.to_netcdf(temporary, engine="h5netcdf")
    return path


def is_calibration(path: str | Path) -> bool:
    """Whether a folder or file holds the results of a calibration."""
    path = Path(path)
    return path.name == FILE_NAME or (path / FILE_NAME).exists()


def read(path: str | Path) -> xr.DataTree:
    """The tree of a calibration's folder or file. Raises ``ResultsError`` for what is not one."""
    path = Path(path)
    file = path / FILE_NAME if path.is_dir() else path
    try:
        with hdf5(file) as handle:
            if "mcdev_calibration_version" not in handle.attrs:
                raise ResultsError(f"{file} holds no calibration of mcdev")
        with file.open("rb") as stream, xr.open_datatree(stream, engine="h5netcdf") as tree:  # closed whatever happens
            loaded = tree.load()
        _check(loaded)
    except ResultsError:
        raise
    except Unreadable as error:
        raise ResultsError(f"{file} is not read: {error}") from None
    except Exception as error:  # h5py and xarray raise many kinds for a damaged file
        raise ResultsError(f"{file} cannot be read as a calibration: missing, damaged or cut off ({error})") from None
    return as_calibration(loaded)


def _check(tree: xr.DataTree) -> None:
    """Raises ``Unreadable`` where something is missing or of another kind that tables and pictures read."""
    needed = ("training", "checks") if "training" in tree.children else ("starts", "history")
    for name in ("targets", "parameters", *needed):
        if name not in tree.children:
            raise Unreadable(f"the group /{name} is missing")
    if not isinstance(tree.attrs.get("conclusions"), str):
        raise Unreadable("its conclusions are missing")
    for group, node in tree.children.items():
        kind = re.sub(r"_\d+$", "", str(group))
        data = node.dataset
        for name, dims in _READ.get(kind, {}).items():
            if name not in data.variables:
                if name in _ADDED:
                    continue
                raise Unreadable(f"/{group}/{name} is missing")
            found, empty = data[name], data[name].size == 0  # of no entries the file does not keep the type
            if found.dims != dims or (not empty and (found.dtype.kind in "OTU") != (name in _TEXT)):
                wanted = f"{'text' if name in _TEXT else 'numbers'} along {', '.join(dims)}"
                raise Unreadable(
                    f"/{group}/{name} is {found.dtype} along {', '.join(map(str, found.dims))}; not {wanted}"
                )
        for name in _ATTRIBUTES.get(kind, ()):
            if not isinstance(data.attrs.get(name), (int, float, np.number)):
                raise Unreadable(f"/{group} has no number called {name}")
        if kind == "profile" and not isinstance(data["value"].attrs.get("units"), str):
            raise Unreadable(f"/{group}/value has no unit")
    empty = "history" in tree.children and not tree["history"].sizes["line"]
    if empty or not tree["parameters"].sizes["parameter"]:
        raise Unreadable("it has no steps or no parameters")
