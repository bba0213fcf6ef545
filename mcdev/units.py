"""Units as people write them: the one that a user has written, the one that is usual, and how it is printed."""

from __future__ import annotations

import contextlib
import math
import re
from typing import Any

from mcdev.schema import Unit, converted, number_and_unit


def unit_written(unit: str, *texts: Any) -> str:
    """The unit that a user has written a quantity of ``unit`` in, in the first of ``texts`` (or values of their tables)
    that is one; ``unit`` where there is none, or one that zero is not zero of (°C)."""
    for text in texts:
        for each in text.values() if isinstance(text, dict) else [text]:
            with contextlib.suppress(ValueError, TypeError):
                found = number_and_unit(each)[1]
                if found and converted(0.0, found, unit) == 0.0:
                    return found
    return unit


_DISPLAYED = str.maketrans({"2": "²", "3": "³"})


def displayed(unit: str) -> str:
    """A unit as it is printed: µF/cm² for uF/cm^2, Ω for ohm."""
    text = re.sub(r"(?<![A-Za-z])u(?=[A-Za-z])", "µ", unit).replace("ohm", "Ω")
    return re.sub(r"\^([23])", lambda power: power[1].translate(_DISPLAYED), text)


def readable(value: Any) -> str:
    """A quantity as it is read most easily: ``0.0005 s`` as ``500 µs``, ``0.12 F/m^2`` as ``12 µF/cm²``; what is none
    as it is."""
    text = str(value)
    try:
        number, unit = number_and_unit(text)
    except ValueError:
        return text
    if unit not in Unit.EXAMPLES and unit not in _PREFIXED:
        return text
    if unit in _PREFIXED and (number == 0 or 0.1 <= abs(number) < 1e4):
        return text
    usual, ratio = customary(unit, number)
    return f"{number * ratio:g} {displayed(usual)}"


_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_PREFIXED = ("s", "V", "V/s", "A", "S", "Hz", "ohm", "m", "eV")


def customary(unit: str, size: float) -> tuple[str, float]:
    """The unit in which a quantity of this size (in ``unit``) is usually written, and how many of it are one ``unit``:
    uF/cm^2 for F/m^2, as in the example of an error message; seconds and the like with the prefix that suits."""
    if unit in _PREFIXED:
        power = 3 * math.floor(math.log10(abs(size) * 1.0005) / 3) if size and math.isfinite(size) else 0
        power = 0 if unit == "V" and 0.1 <= abs(size) < 1 else min(max(power, -15), 12)  # one writes 0.75 V
        return _PREFIXES[power] + unit, 10.0**-power
    usual = number_and_unit(Unit.EXAMPLES[unit])[1] if unit in Unit.EXAMPLES else unit
    return usual, converted(1.0, unit, usual)
