"""Labels of axes without the mathematics of matplotlib, which a browser does not set."""

from __future__ import annotations

import re
import unicodedata

import xarray as xr

_LETTER = re.compile(r"\\([a-z]+)")


def plain(label: str) -> str:
    r"""``$\tau_\mathrm{d}$ (ms)`` as ``τ_d (ms)``: what stands between dollar signs in letters and signs."""
    parts = label.split("$")
    return "".join(_written(part) if i % 2 else part for i, part in enumerate(parts)).strip()


def _written(formula: str) -> str:
    bare = re.sub(r"\\mathrm(?=\{)", "", formula).replace(r"\,", " ")
    return _LETTER.sub(lambda match: _greek(match[1]), bare).replace("{", "").replace("}", "")


def _greek(name: str) -> str:
    try:
        return unicodedata.lookup(f"GREEK SMALL LETTER {name.upper().replace('LAMBDA', 'LAMDA')}")
    except KeyError:
        return name


def device_names(tree: xr.DataTree) -> list[str]:
    """As in the files that they were measured in, else by their numbers, from one."""
    count = tree["realisations"].sizes["device"]
    names = str(tree.attrs.get("measured_devices", "")).splitlines()
    return names if len(names) == count else [str(i + 1) for i in range(count)]
