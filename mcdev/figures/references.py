"""Published numbers (``output.reference``) as a picture overlays them: open black diamonds and dashed lines."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes

from mcdev.configuration.address import OF_SPREAD
from mcdev.configuration.reference import Reference, published
from mcdev.figures.lines import in_lines
from mcdev.figures.style import BLACK
from mcdev.results.tree import experiment_of


def references(tree: xr.DataTree, name: str, coefficient: str | None = None) -> list[tuple[Reference, float]]:
    """Those for a measurement, or for one coefficient of a fit; each with its value in the unit of the tree;
    none of which only the sign is published, and no spread, which is no value among others."""
    unit = unit_of(tree, name, coefficient)
    if unit is None:
        return []
    listed = experiment_of(tree).output.reference
    found = [
        r for r in listed if (r.measurement, r.coefficient) == (name, coefficient) and r.statistic not in OF_SPREAD
    ]
    values = [(reference, published(reference, unit)) for reference in found]
    return [(reference, value) for reference, value in values if isinstance(value, float)]


def unit_of(tree: xr.DataTree, name: str, coefficient: str | None) -> str | None:
    """Of a measurement, or of one coefficient of a fit; None where the fit had too few points to have any."""
    group, variable = (f"fits/{name}", coefficient) if coefficient else (f"measurements/{name}", "value")
    found = tree[group].dataset
    return str(found[variable].attrs["units"]) if variable in found else None


def cited(reference: Reference) -> str:
    """The source as a legend names it, in lines that fit a column."""
    return in_lines(reference.source, 46)


def diamond(axes: Axes, x: float, y: float, reference: Reference) -> None:
    """One published point."""
    axes.plot([x], [y], "D", markersize=5, mfc="none", mec=BLACK, mew=0.9, zorder=5, label=cited(reference))
