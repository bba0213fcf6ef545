"""A calibration's results as a notebook and a Python prompt show them."""

from __future__ import annotations

from typing import Any

import xarray as xr

from mcdev.files.html import bullets, escaped, page, part, table


class CalibrationResults(xr.DataTree):
    """The xarray tree of a calibration; its groups: `tree.py`. What it adds is how it is shown."""

    __slots__ = ()

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self, *_: Any) -> str:
        if not _is_whole(self):
            return str(super().__repr__())
        groups = ", ".join(map(str, self.children))
        fitted = "\n".join(f"  {label} = {value}{weak}" for label, value, _, weak in _parameters(self))
        return f"<mcdev calibration '{self.attrs['title']}': {_size(self)}>\n{fitted}\n  groups: {groups}"

    def _repr_html_(self) -> str:
        if not _is_whole(self):
            return str(super()._repr_html_())
        conclusions = str(self.attrs["conclusions"]).splitlines()
        parts = [
            part("parameters", table(_parameters(self), ["parameter", "fitted", "95 % interval", ""]), unfolded=True),
            part("targets", table(_targets(self), ["target", "reported", "simulated", "pull", "source"]), True),
            part("conclusions", bullets(conclusions)),
            part("configuration", f"<pre>{escaped(self.attrs.get('configuration', ''), 20_000)}</pre>"),
            part("groups", str(super()._repr_html_())),
        ]
        return page(f"mcdev calibration {self.attrs['title']}: {_size(self)}", *parts)


def as_calibration(tree: xr.DataTree) -> xr.DataTree:
    """The same tree, shown as a calibration's results."""
    return CalibrationResults(dataset=tree.to_dataset(), children=dict(tree.children))


def _is_whole(tree: xr.DataTree) -> bool:
    return (
        tree.parent is None
        and {"title", "conclusions"} <= set(tree.attrs)
        and {"targets", "parameters"} <= set(map(str, tree.children))
    )


def _size(tree: xr.DataTree) -> str:
    return f"{tree['parameters'].sizes['parameter']} parameters, {tree['targets'].sizes.get('target', 0)} numbers"


def _unit(text: object) -> str:
    return "" if text == "1" else f" {text}"


def _parameters(tree: xr.DataTree) -> list[tuple[str, str, str, str]]:
    found = tree["parameters"].dataset
    columns = (found[name].values for name in ("parameter", "unit", "value", "low", "high", "determined"))
    return [
        (str(label), f"{value:.4g}{_unit(unit)}", f"{low:.4g} … {high:.4g}", "" if known else " (weakly determined)")
        for label, unit, value, low, high, known in zip(*columns, strict=True)
    ]


def _targets(tree: xr.DataTree) -> list[tuple[str, ...]]:
    found = tree["targets"].dataset
    names = ("target", "unit", "reported", "uncertainty", "simulated", "pull", "source")
    columns = (found[name].values if name in found else [""] * found.sizes.get("target", 0) for name in names)
    return [
        (str(label), f"{there:.4g} ± {sigma:.2g}{_unit(unit)}", f"{here:.4g}{_unit(unit)}", f"{pull:+.2f}", str(source))
        for label, unit, there, sigma, here, pull, source in zip(*columns, strict=True)
    ]
