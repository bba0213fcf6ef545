"""Whether a tree that was read is built like one that mcdev wrote: what all that read it later rely on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from mcdev.files.structure import Unreadable

_FIXED = ("units", "kind", "path", "axis", "fit", "measurement", "statistic", "coefficient", "flag_values")
"""Attributes that programs read: they are as they must be. The others are words for people."""
_ANY = ("replicate",)
"""Dimensions whose size is mcdev's own choice, at least one."""
_FREE = ("spike",)
"""Dimensions whose size nobody knows beforehand."""
_WORDS = ("curve",)
"""Coordinates that are words for people."""


def check(tree: xr.DataTree, pattern: xr.DataTree, optional: Mapping[str, Sequence[xr.Dataset]] | None = None) -> None:
    """Raises :class:`structure.Unreadable` with the first difference: the groups, arrays, dimensions, sizes,
    kinds and attributes of ``pattern``, the values of its coordinates and windows, and no others.

    ``optional``: path of a group → arrays that it may have besides, in sets: where the first of a set is, all are.
    """
    groups = {group.path: group.to_dataset(inherit=False) for group in tree.subtree}
    wanted = {group.path: group.to_dataset(inherit=False) for group in pattern.subtree}
    for path in wanted:
        if path not in groups:
            raise Unreadable(f"the group {path} is missing")
    for path, found in groups.items():
        if path not in wanted:
            raise Unreadable(f"its configuration gives no group {path}")
        _check_group(path.rstrip("/"), found, wanted[path], (optional or {}).get(path, ()))


def _check_group(path: str, found: xr.Dataset, wanted: xr.Dataset, optional: Sequence[xr.Dataset]) -> None:
    allowed = {name: variable for each in optional for name, variable in each.variables.items()}
    _check_attributes(path or "/", found.attrs, wanted.attrs)
    begun = [each for each in optional if next(iter(each.data_vars)) in found]
    for name in (*wanted.variables, *(name for each in begun for name in each.variables)):
        if name not in found.variables:
            raise Unreadable(f"{path}/{name} is missing")
    for name, variable in found.variables.items():
        where = f"{path}/{name}"
        expected = wanted.variables.get(name, allowed.get(name))
        if expected is None:
            raise Unreadable(f"its configuration gives no {where}")
        _check_array(where, variable, expected)
        if (name in wanted.coords and name not in _WORDS) or str(name).startswith("window_"):
            _check_values(where, variable.values, expected.values)


def _check_array(where: str, found: xr.Variable, wanted: xr.Variable) -> None:
    sizes = [(size, wanted.sizes.get(dim)) for dim, size in found.sizes.items() if dim not in (*_ANY, *_FREE)]
    none = any(found.sizes.get(dim, 1) < 1 for dim in _ANY)
    if found.dims != wanted.dims or none or any(own != other for own, other in sizes):
        raise Unreadable(f"{where} is {_described(found)}; expected {_described(wanted)}")
    if _sort(found.values) != _sort(wanted.values):
        raise Unreadable(f"{where} holds {_sort(found.values)}; expected {_sort(wanted.values)}")
    _check_attributes(where, found.attrs, wanted.attrs)
    flags = wanted.attrs.get("flag_values")
    if flags is not None and not np.isin(found.values, [-1, *flags]).all():
        raise Unreadable(f"{where} holds other numbers than {flags.tolist()} and -1")


def _check_values(where: str, found: np.ndarray, wanted: np.ndarray) -> None:
    if wanted.dtype.kind == "f":
        same = np.allclose(found, wanted, rtol=1e-6, atol=0.0, equal_nan=True)
    else:
        same = bool(np.all(found == wanted))
    if not same:
        raise Unreadable(f"{where} holds other values than its configuration gives")


def _check_attributes(where: str, found: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> None:
    for name, value in wanted.items():
        if name not in found:
            raise Unreadable(f"{where} has no attribute {name}")
        if _sort(found[name]) != _sort(value):
            raise Unreadable(f"the attribute {name} of {where} is {_sort(found[name])}; expected {_sort(value)}")
        if name in _FIXED and not (np.shape(found[name]) == np.shape(value) and np.all(found[name] == value)):
            raise Unreadable(f"the attribute {name} of {where} is {found[name]!r}; expected {value!r}")


def _sort(value: Any) -> str:
    """What an array or attribute holds, in words."""
    array = np.asarray(value)
    if array.dtype.kind == "O":
        return "text" if all(isinstance(each, str) for each in array.ravel()) else "something else"
    kinds = {"i": "whole numbers", "u": "whole numbers", "f": "numbers", "c": "complex numbers", "b": "truth values"}
    return kinds.get(array.dtype.kind, "text" if array.dtype.kind in "UT" else "something else")


def _described(variable: xr.Variable) -> str:
    sizes = ", ".join(f"{dim}: {size}" for dim, size in variable.sizes.items())
    return f"an array ({sizes})" if sizes else "one value"
