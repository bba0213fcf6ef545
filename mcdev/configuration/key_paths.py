"""Key paths of a configuration: values set at them, units and values of the sweep's axes along them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from mcdev.configuration.problems import Problem, keys_of
from mcdev.schema import Unit, nearest, unit_of_key

if TYPE_CHECKING:
    from mcdev.configuration.experiment import Experiment


def axis_unit(experiment: Experiment, path: str) -> str:
    """Unit of the quantity at a key path; empty for pure numbers and words."""
    *parents, last = keys_of(path)
    table = _below(experiment, parents)
    mark = unit_of_key(type(table), last) if isinstance(table, BaseModel) else None
    return mark.unit if mark else ""


def axis_values(experiment: Experiment, path: str) -> np.ndarray | list[str]:
    """Values of a sweep axis in the unit of :func:`axis_unit`, one a point; text where they are not numbers."""
    unit = Unit(axis_unit(experiment, path))
    values = [point[path] for point in experiment.sweep.points()]
    try:
        return np.array([unit.parse(value) / unit.scale for value in values])
    except Exception:  # a distribution, a word: an axis need not be a number
        return [json.dumps(value) if not isinstance(value, str) else value for value in values]


def path_of_law(name: str) -> str:
    """Key path of one of ``Experiment.laws``: the device's parameters have their names there, the circuit's a path."""
    return name if "." in name else f"device.{name}"


def set_value(
    data: dict[str, Any], path: str, value: Any, must_exist: bool = False, root: Experiment | None = None
) -> Problem | None:
    """Set a value at a key path; returns what is wrong with the path, if anything. A key that holds dots itself stands
    in quotes: ``sweep.axes."protocol.gap"``. An entry of a list has its number from 0, as in messages:
    ``targets.0.weight``."""
    *parents, last = parts = keys_of(path)
    if must_exist and root is not None:
        siblings = _keys_of(_below(root, parents))
        if last not in siblings:
            return Problem(path, None, f"no such key; {nearest(last, siblings)}" if siblings else "no such key")
    table: Any = data
    for part, onward in itertools.pairwise(parts):
        inner = table.setdefault(part, {}) if isinstance(table, dict) else table[int(part)]
        if isinstance(inner, list):
            if not (onward.isdecimal() and int(onward) < len(inner)):
                numbers = f"0 to {len(inner) - 1}" if inner else "none"
                return Problem(path, value, f"'{part}' is a list; expected the number of an entry ({numbers})")
        elif not isinstance(inner, dict):
            return Problem(path, value, f"'{part}' is not a table")
        table = inner
    if not all(parts):
        return Problem(path, value, "expected a key path like device.friction")
    table[last if isinstance(table, dict) else int(last)] = value
    return None


def changed_keys(there: Any, here: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Key paths at which two configurations differ, with both values; None where there is none."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in dict.fromkeys([*there, *here]):
            yield from changed_keys(there.get(key), here.get(key), f"{path}.{key}" if path else str(key))
    elif there != here:
        yield path, there, here


def _below(root: BaseModel, keys: Sequence[str]) -> Any:
    """What stands at these keys; None where nothing does."""
    node: Any = root
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else getattr(node, key, None)
    return node


def _keys_of(node: Any) -> list[str]:
    if isinstance(node, BaseModel):
        return list(type(node).model_fields)
    return list(node) if isinstance(node, dict) else []
