"""The model card: what another simulator needs to draw devices like these, in one small TOML file.

At each sweep point it holds the distribution of every quantity (measurement or drawn device parameter) and how they
go together, device to device and cycle to cycle. A card may come from a stranger: everything in it is checked.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import tomli_w
from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from mcdev.experiment import read_toml
from mcdev.problems import ConfigError, described, unique
from mcdev.schema import Strict, refuse

FORMAT: Literal["mcdev model card, version 1"] = "mcdev model card, version 1"
PROBABILITIES = (
    *(0.0, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    *(0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99, 0.995, 0.998, 1.0),
)
"""Shares at which the family ``quantiles`` is tabulated; the first is the smallest and the last the largest value."""
MOST_CYCLES, _POINTS, _QUANTITIES, _UNEVEN = 10_000_000, 100_000, 64, 1e-6

PARAMETER = "parameter:"
"""Stands before a device parameter that is called like a measurement; no measurement can be called so."""
_NAME = re.compile(rf"(?:{PARAMETER})?\w[\w. -]{{0,99}}(\[\d{{1,6}}\])?")


def _named(text: str) -> str:
    if not _NAME.fullmatch(text):
        refuse(text, "expected a name of up to 100 letters, digits, _ - . and blanks, like tau or g[4]")
    return text


def _one_line(text: str) -> str:
    if len(text) > 500 or not text.isprintable():
        refuse(text, "expected one line of up to 500 printable characters")
    return text


def _sized(value: float) -> float:
    if not 1e-200 < value < 1e200:
        refuse(value, "expected a number from 1e-200 to 1e200")
    return value


def _bounded(value: float) -> float:
    if not abs(value) < 1e200:
        refuse(value, "expected a number from -1e200 to 1e200")
    return value


Name = Annotated[str, AfterValidator(_named)]
Line = Annotated[str, AfterValidator(_one_line)]
Text = Annotated[str, StringConstraints(max_length=10_000)]
Positive = Annotated[float, AfterValidator(_sized)]
Number = Annotated[float, AfterValidator(_bounded)]
Part = Annotated[float, Field(ge=0, le=1)]
Sigma = Annotated[float, Field(ge=0, le=20)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Table = Annotated[list[Number], Field(min_length=len(PROBABILITIES), max_length=len(PROBABILITIES))]
Family = Literal["lognormal", "weibull", "normal", "quantiles", "constant", "undetermined"]
NonNegative = Annotated[float, Field(ge=0)]


class LognormalFit(Strict):
    """ln x is normal around ln(median)."""

    median: Positive
    """In the quantity's unit."""
    median_se: NonNegative | None = None
    sigma: Annotated[float, Field(gt=0, le=20)]
    """Standard deviation of ln x."""
    sigma_se: NonNegative | None = None
    aic: float


class WeibullFit(Strict):
    """F(x) = 1 - exp(-(x/scale)^shape)."""

    scale: Positive
    """In the quantity's unit."""
    scale_se: NonNegative | None = None
    shape: Annotated[float, Field(ge=0.01, le=1e6)]
    shape_se: NonNegative | None = None
    aic: float


class NormalFit(Strict):
    """A Gaussian."""

    mean: Number
    sd: Positive


class Quantity(Strict):
    """One measurement (entry of a list) or drawn parameter at one sweep point."""

    role: Literal["measurement", "parameter"]
    """Whether it was read off a device or is what the device was drawn with."""
    unit: Line
    criterion: Line = ""
    """What exactly the number means."""
    n: Count
    """Observations, devices times cycles."""
    right_censored: Part = 0.0
    """Share of which only a bound from below is known."""
    left_censored: Part = 0.0
    """Share of which only a bound from above is known."""
    undefined: Part = 0.0
    """Share without a value: nothing to measure, or broken down. Not drawn."""
    median: Number | None = None
    """In ``unit``, censored observations counted; absent where it is among them."""
    sigma_ln: Sigma | None = None
    """Standard deviation of ln x, device to device and cycle to cycle together."""
    sigma_ln_between: Sigma | None = None
    """Device to device alone; absent where there is one cycle."""
    sigma_ln_within: Sigma | None = None
    """Cycle to cycle alone; absent where there is one cycle."""
    device_share: Part = 1.0
    """Share of the variance of the normal scores that is between devices; 1 where there is one cycle."""
    family: Family
    """The distribution to draw from: of lognormal and Weibull that of smaller AIC, where it describes the values."""
    lognormal: LognormalFit | None = None
    weibull: WeibullFit | None = None
    normal: NormalFit | None = None
    quantiles: Annotated[list[Number], Field(min_length=len(PROBABILITIES), max_length=len(PROBABILITIES))] | None = (
        None
    )
    """Values below which the shares ``PROBABILITIES`` (0, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15 … 0.95, 0.975,
    0.99, 0.995, 0.998, 1) lie; linear between them."""
    constant: Number | None = None
    """The value of all."""

    @property
    def varies(self) -> bool:
        """Whether it has a distribution to draw from, so that it has correlations."""
        return self.family not in ("undetermined", "constant")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.family != "undetermined" and getattr(self, self.family) is None:
            refuse(self.family, f"expected the entry {self.family!r} that this family needs", "add it", key="family")
        if self.quantiles is not None and any(b < a for a, b in zip(self.quantiles, self.quantiles[1:], strict=False)):
            refuse(self.quantiles, "expected values that do not fall", "sort them", key="quantiles")
        return self


class Matrix(Strict):
    """Correlations of normal scores, for a Gaussian copula."""

    names: Annotated[list[Name], Field(max_length=_QUANTITIES)]
    matrix: Annotated[list[list[float]], Field(max_length=_QUANTITIES)]
    """Symmetric, ones on the diagonal, positive semi-definite; in the order of ``names``."""

    @model_validator(mode="after")
    def _correlations(self) -> Self:
        size, rows = len(self.names), self.matrix
        if len(set(self.names)) < size:
            refuse(self.names, "expected each name once", key="names")
        if len(rows) != size or any(len(row) != size for row in rows):
            shape = " + ".join(str(len(row)) for row in rows[:4])
            refuse(f"{len(rows)} rows ({shape} …)", f"expected {size} rows of {size} numbers", key="matrix")
        for i, row in enumerate(rows):
            if row[i] != 1:
                refuse(row[i], f"expected 1 on the diagonal, at row {i + 1}", "write 1.0", key="matrix")
            for j, value in enumerate(row):
                if not -1 <= value <= 1:
                    refuse(value, f"expected a correlation from -1 to 1, at row {i + 1}", key="matrix")
                if value != rows[j][i]:
                    refuse(value, f"expected {rows[j][i]} as in row {j + 1}: it must be symmetric", key="matrix")
        lowest = float(np.linalg.eigvalsh(np.array(rows))[0]) if size else 0.0
        if lowest < -_UNEVEN:
            refuse(
                f"smallest eigenvalue {lowest:.3g}",
                "expected a positive semi-definite matrix: no random numbers have these correlations",
                "scale the correlations off the diagonal down, or leave a quantity out",
                key="matrix",
            )
        return self


class CardPoint(Strict):
    """One sweep point."""

    point: Annotated[dict[Line, Line], Field(max_length=32, default_factory=dict)]
    """Axis → value with its unit."""
    devices: Annotated[int, Field(ge=1, le=10**9)]
    """From which this was made."""
    cycles: Annotated[int, Field(ge=1, le=MOST_CYCLES)]
    quantities: Annotated[dict[Name, Quantity], Field(max_length=_QUANTITIES)]
    d2d: Matrix
    """Between devices: of what a device has in all its cycles."""
    c2c: Matrix | None = None
    """Within a device, from cycle to cycle; absent where there is one cycle."""

    @model_validator(mode="after")
    def _same_names(self) -> Self:
        drawn = {name for name, q in self.quantities.items() if q.varies}
        if set(self.d2d.names) != drawn:
            odd = sorted(set(self.d2d.names) ^ drawn)
            refuse(odd, "expected every quantity with a distribution, and no other", key="d2d.names")
        measured = {name for name in drawn if self.quantities[name].role == "measurement"}
        if (self.c2c is None) != (self.cycles == 1):
            refuse(self.cycles, "expected [points.c2c] where there are several cycles, and only there", key="cycles")
        if self.c2c is not None and set(self.c2c.names) != measured:
            odd = sorted(set(self.c2c.names) ^ measured)
            refuse(odd, "expected every measurement with a distribution, and no other", key="c2c.names")
        return self


class Provenance(Strict):
    """Which run this is of."""

    config_hash: Line = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    git_commit: Line = ""
    versions: Line = ""
    started: Line = ""


class Card(Strict):
    """A model card."""

    format: Literal["mcdev model card, version 1"]
    title: Line
    description: Text = ""
    provenance: Provenance
    points: Annotated[list[CardPoint], Field(min_length=1, max_length=_POINTS)]


def to_toml(card: Card) -> str:
    """The card as a TOML file, numbers to nine digits; what is not determined is left out."""
    return tomli_w.dumps(_short(card.model_dump(exclude_none=True)))


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_short(inner) for inner in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def read_card(path: Path) -> Card:
    """The card in a TOML file. Raises ``ConfigError`` with all that is wrong: unknown keys, numbers out of range or not
    finite, matrices that are no correlation matrices."""
    data = read_toml(path)
    try:
        return Card.model_validate(data)
    except ValidationError as error:
        raise ConfigError(unique([p for p, _ in described(error, data, Card)]), str(path)) from None
