"""Units: their arithmetic, what each measures, the one that a user has written, the one that is usual, how it is
printed."""

from __future__ import annotations

import collections
import contextlib
import functools
import math
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pint

# Named units with small whole powers. The rest of what pint understands is arithmetic: m**9**9**9 would never end.
_FACTOR = r"°?[^\W\d]\w*(?:(?:\*\*|\^)-?\d)?"
_UNIT = re.compile(rf"(?:1\s*/\s*)?{_FACTOR}(?:(?:\s*[*/·]\s*|\s+){_FACTOR})*")
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*$", re.DOTALL)

DIMENSIONS = {
    "V": "a voltage",
    "V/s": "a voltage rate",
    "s": "a time",
    "Hz": "a rate",
    "K": "a temperature",
    "eV": "an energy",
    "S": "a conductance",
    "ohm": "a resistance",
    "A": "a current",
    "m": "a length",
    "rad": "an angle",
    "m^2": "an area",
    "S/m": "a conductivity",
    "F/m^2": "a capacitance per area",
    "V/m": "an electric field",
    "m/V": "an inverse electric field",
    "1/m^3": "a number density",
    "1/V": "an inverse voltage",
}
"""Unit → what it measures, in words, for messages and labels."""

EXAMPLES: dict[str, str] = {
    "V": "3.5 V",
    "V/s": "0.1 V/s",
    "s": "100 ms",
    "Hz": "5 kHz",
    "K": "300 K",
    "eV": "0.27 eV",
    "S": "1 mS",
    "ohm": "10 kohm",
    "A": "100 nA",
    "m": "15 nm",
    "rad": "90 deg",
    "m^2": "0.007 cm^2",
    "S/m": "2.79e-11 S/cm",
    "F/m^2": "10 uF/cm^2",
    "V/m": "0.1 V/nm",
    "m/V": "2 nm/V",
    "1/m^3": "2e27 1/m^3",
    "1/V": "1.6 1/V",
}
"""Unit → a quantity of it, as one writes it."""


class OtherDimension(ValueError):
    """Two units that do not measure the same."""


@functools.cache
def _units() -> pint.UnitRegistry[float]:
    import pint  # slow to import, and what only answers needs none

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)


def number_and_unit(text: str) -> tuple[float, str]:
    """3.5 and "mV" of "3.5 mV"; the unit is empty where there is none. Raises ``ValueError`` for what is no number."""
    match = _NUMBER.match(text)
    if not match:
        raise ValueError(f"{text[:60]!r} is no number")
    return float(match[1]), match[2]


def percentage(text: Any) -> float | None:
    """0.05 of the text "5 %"; None of anything else."""
    match = _NUMBER.match(text) if isinstance(text, str) else None
    return float(match[1]) / 100 if match and match[2] == "%" else None


def _quantity(number: float, unit: str) -> Any:
    """Raises ``ValueError`` for text that is no unit."""
    if len(unit) <= 60 and _UNIT.fullmatch(unit):
        try:
            return _units().Quantity(number, unit)
        except Exception:  # pint raises many kinds of error for text that is no unit
            pass
    raise ValueError(f"'{unit[:60]}' is no known unit")


def is_unit(text: str) -> bool:
    """Whether a text is a unit; the empty one is that of a pure number."""
    try:
        return not text or _quantity(1.0, text) is not None
    except ValueError:
        return False


@functools.lru_cache(maxsize=2**16)  # the points of a sweep have most quantities in common
def in_base_units(text: str, expected: str) -> float:
    """A quantity in SI base units. Raises ``ValueError`` for text that is none, ``OtherDimension`` for one of another
    dimension."""
    given = _quantity(*number_and_unit(text))
    _in(given, expected)
    return float(given.to_base_units().magnitude)


def _in(given: Any, unit: Any) -> Any:
    """A quantity of pint's in another unit. Raises ``OtherDimension``."""
    import pint

    try:
        return given.to(unit)
    except pint.DimensionalityError as error:
        raise OtherDimension(str(error)) from None


@functools.lru_cache(maxsize=2**10)
def scale_of(unit: str) -> float:
    """One of a unit in SI base units."""
    return float(_units().Quantity(1.0, unit).to_base_units().magnitude) if unit else 1.0


def base_of(unit: str) -> str:
    """The SI base units of a unit, as pint reads them."""
    return f"{_units().Quantity(1.0, unit).to_base_units().units:~C}"


def converted(number: float, unit: str, other: str) -> float:
    """A number of one unit in another; the percent is one of a pure number. Raises ``ValueError`` for what is no unit,
    or one of another dimension."""
    if unit == other:
        return number
    if {unit, other} <= {"", "%"}:
        return number / 100 if unit else number * 100
    if not unit or not other or "%" in (unit, other):
        raise ValueError(f"{unit or 'no unit'} and {other or 'no unit'} do not measure the same")
    given, wanted = _quantity(number, unit), _quantity(1.0, other)
    try:
        return float(_in(given, wanted.units).magnitude)
    except OtherDimension:
        raise ValueError(f"'{unit}' is {dimension_of(unit)}, '{other}' is {dimension_of(other)}") from None


def dimension_of(unit: str) -> str:
    """What a unit measures, in words."""
    given = _units().Unit(unit)
    for known, what in DIMENSIONS.items():
        if given.is_compatible_with(known):
            return what
    return "of another dimension"


def unit_written(unit: str, *texts: Any) -> str:
    """The unit that a user has written a quantity of ``unit`` in, in the first of ``texts`` (or values of their tables)
    that is one; ``unit`` where there is none, or one that zero is not zero of (°C). Pure numbers, ``1``, stay what they
    are."""
    return next(_units_of(unit, texts), unit)


def unit_most_written(unit: str, *texts: Any) -> str:
    """As ``unit_written``, but the unit in which most of ``texts`` are written; of equally many the first."""
    found = collections.Counter(_units_of(unit, texts))
    return found.most_common(1)[0][0] if found else unit


def _units_of(unit: str, texts: Iterable[Any]) -> Iterator[str]:
    """The unit of each text that is a quantity of ``unit``."""
    for text in texts:
        for each in text.values() if isinstance(text, dict) else [text]:
            with contextlib.suppress(ValueError, TypeError):
                found = number_and_unit(each)[1]
                if found and converted(0.0, found, unit) == 0.0:
                    yield found


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
    if unit not in EXAMPLES and unit not in _PREFIXED:
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
    usual = number_and_unit(EXAMPLES[unit])[1] if unit in EXAMPLES else unit
    return usual, converted(1.0, unit, usual)
