"""Quantities: a number with its unit and bounds. Inside the program each is a float in SI base units."""

from __future__ import annotations

import math
import typing
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from mcdev.schema.refusal import refuse
from mcdev.schema.units import (
    DIMENSIONS,
    EXAMPLES,
    OtherDimension,
    base_of,
    dimension_of,
    in_base_units,
    number_and_unit,
    percentage,
    scale_of,
)

PERCENTAGE = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*%\s*$"
"""Text that is a percentage, for the JSON schema."""

REACH: dict[str, tuple[float, float]] = {
    "V": (1e-9, 1e6),
    "A": (1e-21, 1e6),
    "S": (0.0, 1e6),
    "ohm": (0.0, 1e21),
    "K": (1e-9, 1e9),
    "Hz": (1e-15, 1e21),
    "m": (1e-15, 1e6),
    "eV": (1e-12, 1e9),
}
"""Unit → smallest and largest number of it that stands for something that can be built or applied. Outside is a slip of
the unit or of the power of ten, or an instrument's sign for no number. The smallest is that of quantities which are
above zero by their nature."""


@dataclass(frozen=True)
class Unit:
    """Marks a float as a quantity in this unit, within bounds given in the same unit.

    ``Annotated[float, Unit("V")]`` accepts ``"3.5 V"`` or ``"120 mV"`` and holds volts;
    ``Unit("")`` is a pure number, 0.62 or ``"62 %"``. Energies are held in joules, whatever the bounds' unit.
    """

    unit: str
    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    @classmethod
    def of_results(cls, unit: str) -> Unit:
        """Of a number in results, where the unit of a pure number is ``1``."""
        return cls("" if unit == "1" else unit)

    @property
    def example(self) -> str:
        return EXAMPLES.get(self.unit, f"1 {self.unit}".strip())

    @property
    def scale(self) -> float:
        """One of this unit in SI base units."""
        return scale_of(self.unit)

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that there are, in this unit, by the names that results and model cards give them."""
        named = {"greater_than": self.gt, "at_least": self.ge, "less_than": self.lt, "at_most": self.le}
        return {name: float(bound) for name, bound in named.items() if bound is not None}

    def written_in(self, unit: str) -> Unit:
        """The same quantity in another unit, as somebody has written it; with the same bounds."""
        ratio = self.scale / scale_of(unit)
        return Unit(unit, *(None if b is None else b * ratio for b in (self.gt, self.ge, self.lt, self.le)))

    def _range(self) -> str:
        bounds = [
            f"{sign} {bound:g} {self.unit}".strip()
            for sign, bound in ((">", self.gt), ("≥", self.ge), ("<", self.lt), ("≤", self.le))
            if bound is not None
        ]
        return " and ".join(bounds)

    @property
    def expectation(self) -> str:
        what = f"{DIMENSIONS.get(self.unit, 'a quantity')} with its unit" if self.unit else "a number"
        return what + (f" {self._range()}" if self._range() else "")

    def read(self, value: Any) -> Any:
        """What the key of a configuration holds: :meth:`parse`, within what can be built or applied (``REACH``)."""
        number = self.parse(value)
        self._check_reach(value, number)
        return number

    def parse(self, value: Any) -> float:
        """The value in SI base units. Refuses what has no unit, another dimension, or is out of bounds."""
        number = self._parse_unbounded(value)
        shown = number / self.scale
        if (
            (self.gt is not None and not shown > self.gt)
            or (self.ge is not None and not shown >= self.ge)
            or (self.lt is not None and not shown < self.lt)
            or (self.le is not None and not shown <= self.le)
        ):
            refuse(value, f"expected {self.expectation}")
        return number

    def _check_reach(self, value: Any, number: float) -> None:
        """Refuses what is of the right dimension and beyond what there is (``REACH``)."""
        least, most = REACH.get(self.unit, (0.0, math.inf))
        shown, remedy = number / self.scale, "look at its unit and its power of ten"
        if abs(shown) > most:
            refuse(value, f"expected {self.expectation}, and none beyond {most:g} {self.unit}", remedy)
        if self.gt == 0 and shown < least:
            refuse(value, f"expected {self.expectation}, and none below {least:g} {self.unit}", remedy)

    def _parse_unbounded(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            refuse(value, f"expected {self.expectation}", f'write it like "{self.example}"' if self.unit else "")
        if not self.unit:
            return self._parse_pure(value)
        if not isinstance(value, str):
            refuse(value, f"expected {self.expectation}", self._with_unit(self._finite(value, value)))
        try:
            number, unit = number_and_unit(value)
        except ValueError:
            refuse(value, f"expected {self.expectation}", f'write it like "{self.example}"')
        if not unit:
            refuse(value, f"expected {self.expectation}", self._with_unit(self._finite(value, number)))
        try:
            base = in_base_units(value, self.unit)
        except OtherDimension:
            refuse(
                value,
                f"expected {self.expectation}, but '{unit}' is {dimension_of(unit)}",
                f'write it like "{self.example}"',
            )
        except ValueError as error:
            refuse(value, f"expected {self.expectation}, but {error}", f'write it like "{self.example}"')
        return self._finite(value, base)

    def _parse_pure(self, value: str | int | float) -> float:
        """A number as it stands, or a percentage in quotes."""
        if isinstance(value, str):
            part = percentage(value)
            if part is None:
                refuse(value, f"expected {self.expectation}", "write it without quotes and without a unit")
            return self._finite(value, part)
        return self._finite(value, value)

    def _with_unit(self, number: float) -> str:
        """What to write instead of a number without a unit: that number in the units of this and of the example, where
        it comes within three decades of the example; else the example."""
        like = Unit(self.unit)._parse_unbounded(self.example)
        texts = []
        for unit in dict.fromkeys((number_and_unit(self.example)[1], self.unit)):
            text = f"{number:g} {unit}"
            try:
                ratio = abs(self.parse(text) / like)
            except PydanticCustomError:  # out of bounds
                continue
            if ratio == 0 or 1e-3 < ratio < 1e3:
                texts.append(f'"{text}"')
        return "its unit is missing; write it like " + (" or ".join(texts) or f'"{self.example}"')

    def _finite(self, value: Any, number: float) -> float:
        try:
            number = float(number)
        except OverflowError:  # a whole number of more than 308 digits
            number = math.inf
        if not math.isfinite(number):
            refuse(value, f"expected {self.expectation}, and a finite one")
        return number

    def write(self, value: Any) -> Any:
        """The text that parses back to exactly this value."""
        if value is None:
            return None
        if not self.unit:
            return value
        shown = value / self.scale
        for text in (f"{shown:.12g} {self.unit}", f"{shown!r} {self.unit}"):
            if math.isfinite(shown) and self._parse_unbounded(text) == value:
                return text
        return f"{value!r} {base_of(self.unit)}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.read, serialization=core_schema.plain_serializer_function_ser_schema(self.write, when_used="json")
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        if self.unit:
            value: dict[str, Any] = {"type": "string", "description": self.expectation, "examples": [self.example]}
        else:
            value = {"type": ["number", "string"], "pattern": PERCENTAGE, "description": self.expectation}
        return value


Voltage = Annotated[float, Unit("V")]
Duration = Annotated[float, Unit("s", gt=0)]
Interval = Annotated[float, Unit("s", ge=0)]
Rate = Annotated[float, Unit("Hz", gt=0)]
Temperature = Annotated[float, Unit("K", gt=0)]
Resistance = Annotated[float, Unit("ohm", gt=0)]
Current = Annotated[float, Unit("A", gt=0)]
PureNumber = Annotated[float, Unit("")]
Fraction = Annotated[float, Unit("", gt=0, lt=1)]
Share = Annotated[float, Unit("", ge=0, le=1)]


def unit_of_key(table: type[BaseModel], key: str) -> Unit | None:
    """The unit of a table's key, also where its number is optional or one of several forms; None where it has none."""
    known = table.model_fields.get(key)
    if known is None:
        return None
    variants = [known, *typing.get_args(known.annotation)]
    marks = [m for v in variants for m in (*getattr(v, "metadata", ()), *getattr(v, "__metadata__", ()))]
    return next((mark for mark in marks if isinstance(mark, Unit)), None)
