"""The grammar of a configuration: strict tables, quantities with a unit, distributions (`laws.py`).

A configuration is text that a person wrote, so everything in it is checked: unknown keys are refused,
a dimensional value must carry its unit (``"3.5 V"``), and a device parameter may be a distribution from
which one value per device is drawn. Inside the program every quantity is a float in SI base units.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import itertools
import math
import re
import typing
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NoReturn, Self

import pint
from pydantic import AfterValidator, BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import PydanticCustomError, core_schema

from mcdev.laws import Drawn as Drawn
from mcdev.laws import Law as Law
from mcdev.laws import Lognormal as Lognormal
from mcdev.laws import Normal as Normal
from mcdev.laws import Samples as Samples
from mcdev.laws import Uniform as Uniform
from mcdev.laws import extremes as extremes
from mcdev.laws import typical as typical
from mcdev.meanings import meaning

# Named units with small whole powers. The rest of what pint understands is arithmetic: m**9**9**9 would never end.
_FACTOR = r"°?[^\W\d]\w*(?:(?:\*\*|\^)-?\d)?"
_UNIT = re.compile(rf"(?:1\s*/\s*)?{_FACTOR}(?:(?:\s*[*/·]\s*|\s+){_FACTOR})*")
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*$", re.DOTALL)

_PERCENTAGE = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*%\s*$"  # for the JSON schema
_COMPARED, _LISTED = 500, 100  # known words that a mistaken one is compared with, and that are listed

# What a unit measures, for messages and labels.
_DIMENSIONS = {
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


class Strict(BaseModel):
    """A table of a configuration: immutable, no unknown keys, no NaN or infinity, no "64" or true for 64."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """As pydantic writes it, with what each key means."""
        written = handler(core)
        for key, about in handler.resolve_ref_schema(written).get("properties", {}).items():
            if text := meaning(cls, key):
                about["description"] = text
        return written

    def __dir__(self) -> list[str]:
        """The keys, and what mcdev itself adds: completion is not to offer pydantic's methods."""
        own = {name for name in dir(type(self)) if not hasattr(BaseModel, name) and not name.startswith("_")}
        return sorted(own | set(type(self).model_fields))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).model_fields:
            remedy = "make another one: experiment.with_({key path: value})"
            raise AttributeError(f"{type(self).__name__}.{name} is not changed in place; {remedy}")
        super().__setattr__(name, value)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """The same with other values. What was worked out from the old ones stays behind."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


@functools.cache
def _units() -> pint.UnitRegistry[float]:
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
def _in_base_units(text: str, expected: str) -> float:
    """A quantity in SI base units. Raises ``ValueError`` for text that is none, pint's error for another dimension."""
    given = _quantity(*number_and_unit(text))
    given.to(expected)  # refuses another dimension
    return float(given.to_base_units().magnitude)


@functools.lru_cache(maxsize=2**10)
def _scale(unit: str) -> float:
    return float(_units().Quantity(1.0, unit).to_base_units().magnitude) if unit else 1.0


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
        return float(given.to(wanted.units).magnitude)
    except pint.DimensionalityError:
        raise ValueError(f"'{unit}' is {Unit.dimension_of(unit)}, '{other}' is {Unit.dimension_of(other)}") from None


def refuse(value: Any, expected: str, remedy: str = "", key: str = "") -> NoReturn:
    """Reject a value: say what was expected and what to write instead.

    ``key`` names a key below the table that is being checked, for conflicts between two keys.
    """
    raise PydanticCustomError(
        "refused",
        "{expected}{remedy}",
        {"value": value, "expected": expected, "remedy": f"; {remedy}" if remedy else "", "key": key},
    )


def sentence(error: PydanticCustomError) -> str:
    """What :func:`refuse` said."""
    context = error.context or {}
    return str(context["expected"] + context["remedy"])


def nearest(word: str, known: Iterable[str]) -> str:
    """A phrase that names the closest known word, or lists the known ones."""
    words = [str(k) for k in itertools.islice(known, _COMPARED)]
    close = difflib.get_close_matches(str(word)[:_COMPARED], words, n=2, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(w) for w in close) + "?"
    if not words:
        return "there is none"
    return "known: " + ", ".join(sorted(words)[:_LISTED]) + (", …" if len(words) > _LISTED else "")


# ------------------------------------------------------------------------------------------ names

MOST_LETTERS = 80
_NAME = re.compile(r"[^\W_](?:[\w.-]| (?! ))*(?<![. ])")
_ALLOWED = (
    f"a name of at most {MOST_LETTERS} letters, digits, _ - . and single blanks, first a letter or digit, last neither "
    "a dot nor a blank"
)
# What Windows keeps for devices, with any ending: https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)
_TOLD_APART = re.compile(r".*-[0-9a-f]{8}", re.IGNORECASE)  # as `file_names` ends those that would be alike
_MOST_BYTES = 100


def _named(text: str) -> str:
    if len(text) <= MOST_LETTERS and _NAME.fullmatch(text):
        whole = unicodedata.normalize("NFC", text)
        if whole != text:
            refuse(
                text, "expected accented letters as one character each (Unicode form NFC)", f'write it like "{whole}"'
            )
        return text
    refuse(text, f"expected {_ALLOWED}", f'write it like "{file_name(text[: 4 * MOST_LETTERS]) or "tau_1"}"')


def _filed(text: str) -> str:
    if _DEVICES.fullmatch(text):
        refuse(text, "names a device on Windows, where no file can be called so", f'write it like "my_{text}"')
    if len(text.encode()) > _MOST_BYTES:
        refuse(text, f"expected at most {_MOST_BYTES} bytes (in UTF-8): it names a file", "shorten it")
    return text


def file_name(*words: str) -> str:
    """A name for a file that is made of others, joined by _: what a name may not hold becomes _, and it is cut where it
    is too long. Two of them may be alike."""
    text = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", "_".join(words)))
    text = re.sub(r"^[\W_]+", "", text)[:MOST_LETTERS].encode()[:_MOST_BYTES].decode(errors="ignore")
    return text.rstrip("._")


def folded(name: str) -> str:
    """What two names that cannot stand beside each other as files have in common: some file systems tell no capitals
    from small letters, and a blank becomes an underscore."""
    return unicodedata.normalize("NFC", name.replace(" ", "_").casefold())


def file_names(labels: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Label, whatever it is → a name for a file or folder, never a path, and none like another's: where two would be
    alike, or one is ``taken``, each has a digest of its label added."""
    plain = {label: file_name(label) or "unnamed" for label in labels}
    often = Counter(folded(name) for name in (*plain.values(), *taken))
    return {
        label: f"{name}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
        if often[folded(name)] > 1 or _DEVICES.fullmatch(name) or _TOLD_APART.fullmatch(name)
        else name
        for label, name in plain.items()
    }


Name = Annotated[
    str,
    AfterValidator(_named),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MOST_LETTERS, "description": _ALLOWED}),
]
"""Any name that a user chooses. It has no slash, bracket, colon or quote, so that what mcdev puts around names
(``g[4]``, ``/measurements/g/value``) is never a name itself."""
FileName = Annotated[Name, AfterValidator(_filed)]
"""A name that becomes that of a file or folder, on any system."""


# ---------------------------------------------------------------------------------- distributions

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


# -------------------------------------------------------------------------------------- quantities


@dataclass(frozen=True)
class Unit:
    """Marks a float (or a ``Drawn``) as a quantity in this unit, within bounds given in the same unit.

    ``Annotated[float, Unit("V")]`` accepts ``"3.5 V"`` or ``"120 mV"`` and holds volts;
    ``Unit("")`` is a pure number, 0.62 or ``"62 %"``. Energies are held in joules, whatever the bounds' unit.
    """

    unit: str
    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    per_device: ClassVar[bool] = False

    EXAMPLES: ClassVar[dict[str, str]] = {
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

    @property
    def example(self) -> str:
        return self.EXAMPLES.get(self.unit, f"1 {self.unit}".strip())

    @property
    def scale(self) -> float:
        """One of this unit in SI base units."""
        return _scale(self.unit)

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that there are, in this unit, by the names that results and model cards give them."""
        named = {"greater_than": self.gt, "at_least": self.ge, "less_than": self.lt, "at_most": self.le}
        return {name: float(bound) for name, bound in named.items() if bound is not None}

    def written_in(self, unit: str) -> Unit:
        """The same quantity in another unit, as somebody has written it; with the same bounds."""
        ratio = self.scale / _scale(unit)
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
        what = f"{_DIMENSIONS.get(self.unit, 'a quantity')} with its unit" if self.unit else "a number"
        return what + (f" {self._range()}" if self._range() else "")

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
            base = _in_base_units(value, self.unit)
        except pint.DimensionalityError:
            refuse(
                value,
                f"expected {self.expectation}, but '{unit}' is {self.dimension_of(unit)}",
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

    @staticmethod
    def dimension_of(unit: str) -> str:
        """What a unit measures, in words."""
        given = _units().Unit(unit)
        for known, what in _DIMENSIONS.items():
            if given.is_compatible_with(known):
                return what
        return "of another dimension"

    def _finite(self, value: Any, number: float) -> float:
        try:
            number = float(number)
        except OverflowError:  # a whole number of more than 308 digits
            number = math.inf
        if not math.isfinite(number):
            refuse(value, f"expected {self.expectation}, and a finite one")
        return number

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
        if value is None:
            return None
        if isinstance(value, Samples):
            unit = {"unit": self.unit} if self.unit else {}
            return {"distribution": value.distribution, "values": list(value.values), **unit}
        if isinstance(value, (Normal, Lognormal, Uniform)):
            _, fields, _ = _FORMS[value.distribution]
            table: dict[str, Any] = {"distribution": value.distribution}
            for key, (field, has_unit) in fields.items():
                number = getattr(value, field)
                if number is not None:
                    table[key] = Unit(self.unit).write(number) if has_unit else number
            return table
        if not self.unit:
            return value
        shown = value / self.scale
        for text in (f"{shown:.12g} {self.unit}", f"{shown!r} {self.unit}"):
            if math.isfinite(shown) and self._parse_unbounded(text) == value:
                return text
        base = _units().Quantity(1.0, self.unit).to_base_units().units
        return f"{value!r} {base:~C}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        parse: Callable[[Any], Any] = self.parse if source is float else self.parse_drawn

        def checked(value: Any) -> Any:
            parsed = parse(value)
            self._check_reach(value, typical(parsed))
            return parsed

        return core_schema.no_info_plain_validator_function(
            checked, serialization=core_schema.plain_serializer_function_ser_schema(self.write, when_used="json")
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        if self.unit:
            value: dict[str, Any] = {"type": "string", "description": self.expectation, "examples": [self.example]}
        else:
            value = {"type": ["number", "string"], "pattern": _PERCENTAGE, "description": self.expectation}
        return value


class PerDevice(Unit):
    """The same mark for a device parameter; its JSON schema also admits the distributions."""

    per_device: ClassVar[bool] = True

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        value = super().__get_pydantic_json_schema__(schema, handler)
        number = {"type": ["number", "string"], "pattern": _PERCENTAGE}
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
