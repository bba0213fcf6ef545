"""Distributions as a user writes them: a device parameter may be one, from which each device draws one value."""

from __future__ import annotations

from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from mcdev.schema.laws import Drawn, Law, Lognormal, Normal, Samples, Uniform, typical
from mcdev.schema.quantities import PERCENTAGE, Unit
from mcdev.schema.refusal import nearest, refuse, sentence
from mcdev.schema.units import converted

# What a user writes -> (class, field of the class, carries the parameter's unit)
_FORMS: dict[str, tuple[type[Any], dict[str, tuple[str, bool]], set[str]]] = {
    "normal": (
        Normal,
        {"mean": ("mean", True), "sd": ("sd", True), "low": ("low", True), "high": ("high", True)},
        {"mean", "sd"},
    ),
    "lognormal": (
        Lognormal,
        {
            "median": ("median_value", True),
            "sigma": ("sigma", False),
            "low": ("low", True),
            "high": ("high", True),
        },
        {"median", "sigma"},
    ),
    "uniform": (Uniform, {"low": ("low", True), "high": ("high", True)}, {"low", "high"}),
}
SAMPLE_KEYS = ("distribution", "file", "column", "values", "unit")
FEWEST_SAMPLES, MOST_SAMPLES = 2, 100_000
_SAMPLES_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "distribution": {"const": Samples.distribution},
        "file": {"type": "string", "description": "Measured values, one a row, beside the configuration or below it."},
        "column": {"type": ["string", "integer"], "description": "Its name in the header, or its number from one."},
        "values": {"type": "array", "items": {"type": "number"}, "minItems": FEWEST_SAMPLES},
        "unit": {"type": "string"},
    },
    "required": ["distribution"],
    "additionalProperties": False,
}


def numbers_of(law: Law) -> dict[str, tuple[str, bool]]:
    """The numbers that a distribution was given, by the key that a user writes: key → (field of the class, whether it
    carries the parameter's unit). None of samples."""
    fields = _FORMS[law.distribution][1] if law.distribution in _FORMS else {}
    return {key: form for key, form in fields.items() if isinstance(getattr(law, form[0]), float)}


class PerDevice(Unit):
    """The same mark for a device parameter, ``Annotated[Drawn, PerDevice("V")]``: a value or a distribution."""

    def read(self, value: Any) -> Drawn:
        drawn = self.parse_drawn(value)
        self._check_reach(value, typical(drawn))
        return drawn

    def parse_drawn(self, value: Any) -> Drawn:
        """A value or a distribution (a table with the key ``distribution``)."""
        if not isinstance(value, dict):
            return self.parse(value)
        kind = value.get("distribution")
        if kind == Samples.distribution:
            return self._parse_samples(value)
        if not isinstance(kind, str) or kind not in _FORMS:
            known = ", ".join(repr(k) for k in (*_FORMS, Samples.distribution))
            refuse(kind, f"expected distribution = {known}", key="distribution")
        law, fields, required = _FORMS[kind]
        for key in value:
            if key != "distribution" and key not in fields:
                refuse(value[key], f"a {kind} distribution has no '{key}'", nearest(key, fields), key=key)
        for key in sorted(required - set(value)):
            refuse(value, f"a {kind} distribution needs '{key}'", f"add {key} = …", key=key)
        free, plain = Unit(self.unit), Unit("")
        numbers = {}
        for key, (field, has_unit) in fields.items():
            if key in value:
                unit = free if has_unit else plain
                try:
                    numbers[field] = unit.parse(value[key])
                except PydanticCustomError as error:
                    context = error.context or {}
                    refuse(value[key], context["expected"], context["remedy"].removeprefix("; "), key=key)
        for key in ("sd", "sigma", "median_value"):
            if key in numbers and not numbers[key] > 0:
                shown = "median" if key == "median_value" else key
                refuse(value[shown], "expected a value > 0", key=shown)
        low, high = numbers.get("low"), numbers.get("high")
        if low is not None and high is not None and not low < high:
            refuse(value["low"], f"expected low < high (high is {value['high']!r})", key="low")
        drawn: Drawn = law(**numbers)
        self._check_support(value, drawn)
        return drawn

    def _parse_samples(self, value: dict[str, Any]) -> Samples:
        """``{ distribution = "samples", values = […], unit = "mV" }``: what a file's name stood for."""
        for key in value:
            if key not in SAMPLE_KEYS:
                refuse(value[key], f"samples have no '{key}'", nearest(key, SAMPLE_KEYS), key=key)
        given, unit = value.get("values"), value.get("unit", "")
        if not isinstance(given, (list, tuple)) or len(given) < FEWEST_SAMPLES:
            expected = f"expected a file, or values = […] of {FEWEST_SAMPLES} numbers at least"
            refuse(given, expected, 'write file = "devices.csv"', key="values")
        if len(given) > MOST_SAMPLES:
            refuse(len(given), f"expected at most {MOST_SAMPLES} values", key="values")
        numbers = [self._finite(each, each) for each in given if isinstance(each, (int, float))]
        if len(numbers) < len(given):
            refuse(given, "expected numbers, and their unit in unit = …", key="values")
        try:
            first, second = (converted(each, str(unit), self.unit) for each in (0.0, 1.0))
        except ValueError as error:
            like = f'write it like unit = "{self.unit}"' if self.unit else "leave it out"
            refuse(unit, f"expected values that are {self.expectation}, but {error}", like, key="unit")
        exact = unit == self.unit
        law = Samples(values=tuple(x if exact else first + (second - first) * x for x in numbers), scale=self.scale)
        for end in law.support:
            text = self.write(float(end))
            try:
                self._check_reach(text, self.parse(text))
            except PydanticCustomError as error:
                refuse(text, f"is among the values; {sentence(error)}", key="values")
        return law

    def _check_support(self, value: dict[str, Any], drawn: Any) -> None:
        low, high = drawn.support
        low, high = low / self.scale, high / self.scale
        if not drawn.possible:
            refuse(value, "the truncation leaves no probability between low and high")
        if (self.gt is not None and low < self.gt) or (self.ge is not None and low < self.ge):
            refuse(
                value, f"this distribution reaches below the allowed range ({self._range()})", "add low = …", key="low"
            )
        if (self.lt is not None and high > self.lt) or (self.le is not None and high > self.le):
            refuse(
                value,
                f"this distribution reaches above the allowed range ({self._range()})",
                "add high = …",
                key="high",
            )

    def write(self, value: Any) -> Any:
        """The text or table that parses back to exactly this value."""
        if isinstance(value, Samples):
            unit = {"unit": self.unit} if self.unit else {}
            return {"distribution": value.distribution, "values": list(value.values), **unit}
        if isinstance(value, Law):
            _, fields, _ = _FORMS[value.distribution]
            table: dict[str, Any] = {"distribution": value.distribution}
            for key, (field, has_unit) in fields.items():
                number = getattr(value, field)
                if number is not None:
                    table[key] = Unit(self.unit).write(number) if has_unit else number
            return table
        return super().write(value)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        value = super().__get_pydantic_json_schema__(schema, handler)
        number = {"type": ["number", "string"], "pattern": PERCENTAGE}
        tables = [
            {
                "type": "object",
                "properties": {"distribution": {"const": kind}}
                | {key: (value if has_unit else number) for key, (_, has_unit) in fields.items()},
                "required": ["distribution", *sorted(required)],
                "additionalProperties": False,
            }
            for kind, (_, fields, required) in _FORMS.items()
        ]
        tables.append(_SAMPLES_SCHEMA)
        return {"anyOf": [value, *tables], "description": self.expectation}
