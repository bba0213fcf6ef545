"""A run's results as a notebook and a Python prompt show them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from mcdev.configuration.display import counted
from mcdev.files.html import escaped, page, part, table
from mcdev.measurements.contract import FAILED, LEFT_CENSORED, OK, RIGHT_CENSORED, UNDEFINED
from mcdev.results.fits_along_axes import in_order

_MOST = 60
"""Rows of a table."""
_COUNTS = {"ok": (OK,), "censored": (RIGHT_CENSORED, LEFT_CENSORED), "undefined": (UNDEFINED,), "failed": (FAILED,)}
_PROVENANCE = ("description", "seed", "precision", "started", "wall_time_s", "versions", "config_hash", "device_source")


class Results(xr.DataTree):
    """The xarray tree of a run; its groups: `tree.py`. What it adds is how it is shown."""

    __slots__ = ()

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self, *_: Any) -> str:
        if not _is_whole(self):
            return str(super().__repr__())
        axes = [f"{axis.attrs['long_name']} ({axis.attrs['units']})" for axis in self["sweep"].data_vars.values()]
        lines = [
            f"<mcdev results '{self.attrs['title']}': {_size(self)}>",
            f"  measurements: {', '.join(_names(self))}",
        ]
        lines += [f"  sweep: {', '.join(axes)}"] if axes else []
        return "\n".join([*lines, f"  groups: {', '.join(map(str, self.children))}"])

    def _repr_html_(self) -> str:
        if not _is_whole(self):
            return str(super()._repr_html_())
        parts = [part("measurements", _measurements(self), unfolded=True)]
        if self["sweep"].data_vars:
            parts.append(part("sweep", _sweep(self)))
        parts.append(part("parameters", _parameters(self)))
        warnings = str(self.attrs.get("warnings", "")).splitlines()
        parts += [part(f"{len(warnings)} warnings", table([("", line) for line in warnings]))] if warnings else []
        known = [(name, str(self.attrs[name])) for name in _PROVENANCE if name in self.attrs]
        parts.append(part("provenance", table(known)))
        text = escaped(self["config/toml"].item(), 20_000)
        parts.append(part("configuration", f"<pre>{text}</pre>"))
        parts.append(part("groups", str(super()._repr_html_())))
        return page(f"mcdev results {self.attrs['title']}: {_size(self)}", *parts)


def as_results(tree: xr.DataTree) -> xr.DataTree:
    """The same tree, shown as results."""
    return Results(dataset=tree.to_dataset(), children=dict(tree.children))


def _is_whole(tree: xr.DataTree) -> bool:
    """Not a part of one, or what is left of one."""
    wanted = {"realisations", "measurements", "sweep", "parameters", "config"}
    return tree.parent is None and "title" in tree.attrs and wanted <= set(map(str, tree.children))


def _size(tree: xr.DataTree) -> str:
    sizes = tree["realisations"].sizes
    numbers = [counted(sizes[dim], dim) for dim in ("point", "device", "cycle") if dim in sizes]
    return " × ".join(numbers)


def _names(tree: xr.DataTree) -> list[str]:
    """Each measurement with its unit; of a list also how many entries it has."""
    found = []
    for name, group in tree["measurements"].children.items():
        value = group.dataset["value"]
        entries = f"[{value.sizes['entry']}]" if "entry" in value.sizes else ""
        found.append(f"{name}{entries} ({value.attrs['units']})")
    return found


def _measurements(tree: xr.DataTree) -> str:
    """Median of each measurement at each sweep point, with what is counted in it; of a list its last entry."""
    rows: list[tuple[Any, ...]] = []
    several = tree["realisations"].sizes.get("point", 1) > 1
    for name, group in tree["measurements"].children.items():
        value, status = group.dataset["value"], group.dataset["status"]
        label = str(name)
        if "entry" in value.sizes:
            label += f"[{value.sizes['entry']}]"
            value, status = value.isel(entry=-1), status.isel(entry=-1)
        for i in range(value.sizes.get("point", 1)):
            v, s = (
                np.asarray(each.isel(point=i).values if "point" in each.sizes else each.values)
                for each in (value, status)
            )
            line = in_order(v.astype(float), s)
            middle = float(np.quantile(line, 0.5, method="closest_observation")) if line.size else np.nan
            shown = f"{middle:.4g}" if np.isfinite(middle) else "-"
            counts = [str(int(np.isin(s, which).sum())) for which in _COUNTS.values()]
            where = (str(i),) if several else ()
            rows.append((label, *where, shown, value.attrs["units"], *counts, value.attrs["criterion"]))
    headings = ["measurement", *(["point"] if several else []), "median", "unit", *_COUNTS, "criterion"]
    return table(rows[:_MOST], headings) + (f"{len(rows) - _MOST} more rows" if len(rows) > _MOST else "")


def _sweep(tree: xr.DataTree) -> str:
    axes = tree["sweep"].data_vars
    columns = [[f"{x:g}" if isinstance(x, float) else str(x) for x in axis.values.tolist()] for axis in axes.values()]
    headings = ["point", *(f"{axis.attrs['long_name']} ({axis.attrs['units']})" for axis in axes.values())]
    return table([(str(i), *row) for i, row in enumerate(zip(*columns, strict=True))][:_MOST], headings)


def _parameters(tree: xr.DataTree) -> str:
    """Median and range over the devices of the first sweep point."""
    rows = []
    for name, drawn in tree["parameters"].data_vars.items():
        x = drawn.values[:1].ravel() if drawn.ndim > 1 else np.atleast_1d(drawn.values)
        spread = f"{x.min():.4g} … {x.max():.4g}" if x.size and x.min() < x.max() else ""
        middle = f"{np.median(x):.4g}" if x.size else "-"
        rows.append((name, middle, spread, drawn.attrs.get("units", ""), drawn.attrs.get("long_name", "")))
    return table(rows, ["parameter", "median", "range", "unit", "meaning"])
