"""Axes along which keys of a configuration take several values.

[sweep.axes]
"protocol.gap" = { start = "0.5 ms", stop = "8 ms", count = 3, spacing = "log" }
"device.preset" = ["device_p", "device_1s"]
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import tomli_w
from pydantic import Discriminator, Field, Tag

from mcdev.configuration.problems import shown
from mcdev.files.toml_line import in_a_line, written_key
from mcdev.schema import Strict, converted, number_and_unit


class Range(Strict):
    """Values between two ends, evenly spaced linearly or in the logarithm; of a quantity, in the unit of ``start``."""

    start: int | float | str
    """First value, with its unit."""
    stop: int | float | str
    """Last value, with its unit."""
    count: int = Field(ge=2, le=10_000)
    """How many values there are, both ends counted."""
    spacing: Literal["linear", "log"] = "linear"
    """linear: equal differences; log: equal ratios."""


Axis = Annotated[
    Annotated[list[Any], Tag("list")] | Annotated[Range, Tag("range")],
    Discriminator(lambda value: "range" if isinstance(value, (dict, Range)) else "list"),
]


class Sweep(Strict):
    """Axes along which keys of the configuration take several values."""

    mode: Literal["grid", "zip"] = "grid"
    """grid: every combination, the last axis fastest; zip: the axes advance together."""
    axes: dict[str, Axis] = Field(default_factory=dict)
    """Key path → list of values, or a range {start, stop, count, spacing}."""

    def points(self) -> list[dict[str, Any]]:
        """Key path → value, one dictionary a sweep point in order; one empty one where nothing is swept."""
        axes = {path: expand(values) for path, values in self.axes.items()}
        combine: Iterator[tuple[Any, ...]] = (
            itertools.product(*axes.values()) if self.mode == "grid" else zip(*axes.values(), strict=True)
        )
        return [dict(zip(axes, values, strict=True)) for values in combine] if axes else [{}]


def expand(values: list[Any] | Range) -> list[Any]:
    """The values of one axis. Raises ``ValueError`` for ends that span no range."""
    if not isinstance(values, Range):
        return values
    texts = [values.start, values.stop]
    (first, unit), (last, other) = (_end(text) for text in texts)
    try:
        last = converted(last, other, unit)
    except ValueError as error:
        raise ValueError(f"from {shown(values.start)} to {shown(values.stop)}: {error}") from None
    if values.spacing == "log":
        if min(first, last) <= 0:
            raise ValueError("a log range needs start and stop above zero")
        spaced = np.geomspace(first, last, values.count)
    else:
        spaced = np.linspace(first, last, values.count)
    whole = not unit and all(isinstance(t, int) or str(t).lstrip("-").isdigit() for t in texts)
    rounded = [float(f"{x:.9g}") for x in spaced]
    if whole and all(x == int(x) for x in rounded):
        return [int(x) for x in rounded]
    return [f"{x:.9g} {unit}" if unit else x for x in rounded]


def _end(text: int | float | str) -> tuple[float, str]:
    try:
        number, unit = number_and_unit(text) if isinstance(text, str) else (float(text), "")
        if math.isfinite(number):
            return number, unit
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{shown(text)}: expected a finite number, with its unit")


def as_toml(data: Mapping[str, Any]) -> str:
    """A configuration as TOML. Axes keep their order, which numbers the points: TOML has tables after values, so that a
    range is written in one line."""
    sweep = dict(data.get("sweep", {}))
    axes = sweep.pop("axes", {})
    text = tomli_w.dumps({**data, "sweep": sweep} if "sweep" in data else data)
    lines = [f"{written_key(path)} = {in_a_line(values)}\n" for path, values in axes.items()]
    return text + ("\n[sweep.axes]\n" + "".join(lines) if lines else "")
