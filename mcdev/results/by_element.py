"""A quantity of all elements of a network along one axis."""

from __future__ import annotations

import xarray as xr

from mcdev.files.whole_file import ResultsError
from mcdev.results.tree import experiment_of
from mcdev.schema import nearest, parted


def by_element(tree: xr.DataTree, path: str) -> xr.DataArray:
    """``by_element(tree, "response/conductance")``: ``conductance`` of the first memristor, ``conductance(M2)`` and so
    on, in the order of the circuit's elements, along the new first dimension ``element``; its coordinate holds their
    names. Of ``voltage`` the first is the source's, and nodes follow.

    Raises ``ResultsError`` where the group has no such quantity."""
    where, _, quantity = path.rpartition("/")
    found_at = tree.get(where)
    group = found_at.dataset if isinstance(found_at, xr.DataTree) else xr.Dataset()
    first = "source" if quantity == "voltage" else experiment_of(tree).circuit.memristors[0]
    found = {}
    for name, data in group.data_vars.items():
        own, element = parted(str(name))
        if own == quantity:
            found[element or first] = data
    if not found:
        known = sorted({own for own, _ in map(parted, map(str, group.data_vars)) if "(" not in own})
        raise ResultsError(f"{path}: these results have no such quantity; {nearest(quantity, known)}")
    axis = xr.DataArray(list(found), dims="element", name="element", attrs={"long_name": "element"})
    of_all = xr.concat(found.values(), dim=axis, combine_attrs="override", coords="minimal", compat="override")
    return of_all.rename(quantity)
