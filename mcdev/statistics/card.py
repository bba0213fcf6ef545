"""The model card: what another simulator needs to draw devices like these, in one small TOML file.

At each sweep point it holds the distribution of every quantity (measurement or drawn device parameter) and how they
go together, device to device and cycle to cycle. A card may come from a stranger: everything in it is checked.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import tomli_w
from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator
from scipy import special

from mcdev.configuration.extends import read_toml
from mcdev.configuration.problems import ConfigError, Problem, described, unique
from mcdev.schema import Strict, refuse
from mcdev.statistics.readings import Support

FORMAT: Literal["mcdev model card, version 2"] = "mcdev model card, version 2"
_FORMATS = ("mcdev model card, version 1", FORMAT)
PROBABILITIES = (
    *(0.0, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    *(0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99, 0.995, 0.998, 1.0),
)
"""Shares at which the family ``quantiles`` of cards of version 1 is tabulated."""
MOST_CYCLES, _POINTS, _QUANTITIES, _UNEVEN = 10_000_000, 100_000, 64, 1e-6
MOST_KNOTS, MOST_NOTES, _LEAST_MASS = 65, 200, 1e-3

PARAMETER = "parameter:"
"""Stands before a device parameter that is called like a measurement; no measurement can be called so."""
_NUMBERS = re.compile(r"\[\n(?: +-?[0-9][0-9.eE+-]*,\n)+ *\]")
_NAME = re.compile(rf"(?:{PARAMETER})?\w[\w. -]{{0,99}}(\(\w[\w. -]{{0,79}}\)|\[\d{{1,6}}\])?")


def _named(text: str) -> str:
    if not _NAME.fullmatch(text):
        refuse(text, "expected a name of up to 100 letters, digits, _ - . and blanks, like tau, g[4] or friction(M2)")
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
Family = Literal["lognormal", "weibull", "normal", "table", "quantiles", "constant", "undetermined"]
NonNegative = Annotated[float, Field(ge=0)]


class LognormalFit(Strict):
    """ln x is normal around ln(median)."""

    median: Positive
    """In the quantity's unit."""
    median_se: NonNegative | None = None
    sigma: Annotated[float, Field(gt=0, le=20)]
    """Standard deviation of ln x; ``sigma_ln`` where nothing is censored."""
    sigma_se: NonNegative | None = None
    aic: float | None = None
    """Absent where the law was not fitted but has the moments of few values, or of the model with random effects."""


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


class Curve(Strict):
    """A function of a share from 0 to 1, linear between its knots; two knots of one share are a step."""

    shares: Annotated[list[Part], Field(min_length=2, max_length=MOST_KNOTS)]
    values: Annotated[list[Number], Field(min_length=2, max_length=MOST_KNOTS)]

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if len(self.shares) != len(self.values):
            refuse(len(self.values), f"expected as many values as shares, {len(self.shares)}", key="values")
        if self.shares[0] != 0 or self.shares[-1] != 1 or _falls(self.shares):
            refuse(self.shares, "expected shares that rise from 0 to 1", "sort them", key="shares")
        return self


class Tabulated(Strict):
    """A law as numbers, for what no named law describes.

    ``values``: x = Q(Φ(z)) with z as for every law. ``devices``: a device has a level Q(Φ(b)), and its cycles lie
    around it, ln x = ln Q(Φ(b)) + S(Φ(b)) D(Φ(w)), without the logarithms where it is not logarithmic.
    """

    of: Literal["values", "devices"]
    """Whether the quantiles are those of all observations, or of the devices' levels."""
    logarithmic: bool
    """Whether values are interpolated, and deviations added, as logarithms: where all values are positive."""
    quantiles: Curve
    """Q, in the quantity's unit."""
    deviations: Curve | None = None
    """D, quantiles of a cycle's deviation from its device's level, over their standard deviation S; absent where they
    are normal, D(Φ(w)) = w."""
    spread: Curve | None = None
    """S, by the share of the devices below this level: of ln x where logarithmic, else in the quantity's unit."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if _falls(self.quantiles.values):
            refuse(self.quantiles.values, "expected values that do not fall", "sort them", key="quantiles.values")
        if self.logarithmic and self.quantiles.values[0] < 1e-200:
            refuse(self.quantiles.values[0], "expected positive values of a logarithmic table", key="quantiles.values")
        if (self.spread is None) == (self.of == "devices"):
            refuse(self.of, "expected the entry 'spread' in a table of devices, and only there", key="of")
        if self.of == "values" and self.deviations is not None:
            refuse(self.of, "expected the entry 'deviations' in a table of devices only", key="of")
        for name, least, most in (("deviations", -1e6, 1e6), ("spread", 0.0, 1e150)):
            curve = getattr(self, name)
            if curve is not None and not (least <= min(curve.values) and max(curve.values) <= most):
                refuse(curve.values, f"expected numbers from {least:g} to {most:g}", key=f"{name}.values")
        if self.deviations is not None and _falls(self.deviations.values):
            refuse(self.deviations.values, "expected values that do not fall", "sort them", key="deviations.values")
        return self


def _falls(values: list[float]) -> bool:
    return any(b < a for a, b in itertools.pairwise(values))


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
    greater_than: Number | None = None
    at_least: Number | None = None
    less_than: Number | None = None
    at_most: Number | None = None
    """Bounds of the quantity itself, in ``unit``: nothing outside is drawn. A law is cut there and renormalised."""
    median: Number | None = None
    """In ``unit``, censored observations counted; absent where it is among them."""
    sigma_ln: Sigma | None = None
    """Standard deviation of ln x, device to device and cycle to cycle together."""
    sigma_ln_between: Sigma | None = None
    """Device to device alone; absent where there is one cycle."""
    sigma_ln_within: Sigma | None = None
    """Cycle to cycle alone; absent where there is one cycle."""
    sd: NonNegative | None = None
    """Standard deviation, where not all values are positive; in ``unit``."""
    sd_between: NonNegative | None = None
    sd_within: NonNegative | None = None
    device_share: Part = 1.0
    """Share of the variance of the normal scores that is between devices; 1 where there is one cycle."""
    family: Family
    """The distribution to draw from, the first whose drawn devices have the numbers above: of lognormal and Weibull
    that of smaller AIC, where it describes the values; a normal where some are not positive; a table."""
    assumed: bool | None = None
    """True where there are too few devices to tell the family."""
    lognormal: LognormalFit | None = None
    weibull: WeibullFit | None = None
    normal: NormalFit | None = None
    table: Tabulated | None = None
    quantiles: Table | None = None
    """Of cards of version 1: values below which the shares ``PROBABILITIES`` (0, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.15 … 0.95, 0.975, 0.99, 0.995, 0.998, 1) lie; linear between them."""
    constant: Number | None = None
    """The value of all."""

    @property
    def support(self) -> Support:
        """The bounds of the quantity."""
        return Support(self.greater_than, self.at_least, self.less_than, self.at_most)

    @property
    def logarithmic(self) -> bool:
        """Whether all that is drawn is positive, so that spreads and correlations are those of ln x."""
        return self.family in ("lognormal", "weibull") or (self.table is not None and self.table.logarithmic)

    @property
    def varies(self) -> bool:
        """Whether it has a distribution to draw from, so that it has correlations."""
        return self.family not in ("undetermined", "constant")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.family != "undetermined" and getattr(self, self.family) is None:
            refuse(self.family, f"expected the entry {self.family!r} that this family needs", "add it", key="family")
        if self.quantiles is not None and _falls(self.quantiles):
            refuse(self.quantiles, "expected values that do not fall", "sort them", key="quantiles")
        self._inside()
        return self

    def _inside(self) -> None:
        """Refuses a law that the bounds leave nothing of, and tables that reach beyond them."""
        low, high = self.scores_of_bounds()
        if not special.ndtr(high) - special.ndtr(low) > _LEAST_MASS:
            refuse(self.family, f"expected a law within the bounds, {self.support}", "widen the bounds", key="family")
        drawn = {"quantiles": self.quantiles or [], "constant": [] if self.constant is None else [self.constant]}
        drawn["table"] = self.table.quantiles.values if self.table is not None else []
        for name, values in drawn.items():
            if self.family == name and not self.support.holds(np.array(values)).all():
                refuse(values, f"expected values within the bounds, {self.support}", "widen the bounds", key=name)

    def scores_of_bounds(self) -> tuple[float, float]:
        """Normal scores at which the bounds cut the family's law; infinite where there is none to cut."""
        ends = np.array(self.support.ends)
        with np.errstate(divide="ignore", over="ignore"):
            positive = np.maximum(ends, 0.0)
            if self.family == "lognormal" and self.lognormal:
                ends = (np.log(positive) - np.log(self.lognormal.median)) / self.lognormal.sigma
            elif self.family == "weibull" and self.weibull:
                ends = -special.ndtri(np.exp(-((positive / self.weibull.scale) ** self.weibull.shape)))
            elif self.family == "normal" and self.normal:
                ends = (ends - self.normal.mean) / self.normal.sd
            else:
                return -np.inf, np.inf
        return float(ends[0]), float(ends[1])


class Matrix(Strict):
    """Correlations between quantities."""

    names: Annotated[list[Name], Field(max_length=_QUANTITIES)]
    matrix: Annotated[list[list[float]], Field(max_length=_QUANTITIES)]
    """Pearson's, of ln x where all values are positive, of normal scores where some are censored. Symmetric, ones on
    the diagonal, positive semi-definite; in the order of ``names``."""
    scores: Annotated[list[list[float]], Field(max_length=_QUANTITIES)] | None = None
    """Of the normal numbers that a Gaussian copula starts from, so that what is drawn has ``matrix``; absent where it
    is the same, as for lognormal quantities."""

    @property
    def drawn(self) -> np.ndarray:
        """[name, name]: what to draw normal numbers with."""
        return np.array(self.matrix if self.scores is None else self.scores)

    @model_validator(mode="after")
    def _correlations(self) -> Self:
        if len(set(self.names)) < len(self.names):
            refuse(self.names, "expected each name once", key="names")
        _check_matrix(self.matrix, len(self.names), "matrix")
        if self.scores is not None:
            _check_matrix(self.scores, len(self.names), "scores")
        return self


def _check_matrix(rows: list[list[float]], size: int, key: str) -> None:
    if len(rows) != size or any(len(row) != size for row in rows):
        shape = " + ".join(str(len(row)) for row in rows[:4])
        refuse(f"{len(rows)} rows ({shape} …)", f"expected {size} rows of {size} numbers", key=key)
    for i, row in enumerate(rows):
        if row[i] != 1:
            refuse(row[i], f"expected 1 on the diagonal, at row {i + 1}", "write 1.0", key=key)
        for j, value in enumerate(row):
            if not -1 <= value <= 1:
                refuse(value, f"expected a correlation from -1 to 1, at row {i + 1}", key=key)
            if value != rows[j][i]:
                refuse(value, f"expected {rows[j][i]} as in row {j + 1}: it must be symmetric", key=key)
    lowest = float(np.linalg.eigvalsh(np.array(rows))[0]) if size else 0.0
    if lowest < -_UNEVEN:
        refuse(
            f"smallest eigenvalue {lowest:.3g}",
            "expected a positive semi-definite matrix: no random numbers have these correlations",
            "scale the correlations off the diagonal down, or leave a quantity out",
            key=key,
        )


class CardPoint(Strict):
    """One sweep point."""

    point: Annotated[dict[Line, Line], Field(max_length=32, default_factory=dict)]
    """Axis → value with its unit."""
    devices: Annotated[int, Field(ge=1, le=10**9)]
    """From which this was made."""
    cycles: Annotated[int, Field(ge=1, le=MOST_CYCLES)]
    contains: Line = ""
    """What the spread over devices contains: of one cycle it may be thermal motion alone, or a total."""
    quantities: Annotated[dict[Name, Quantity], Field(max_length=_QUANTITIES)]
    d2d: Matrix
    """Between devices: of what a device has in all its cycles; of one cycle of what ``contains`` says."""
    c2c: Matrix | None = None
    """Within a device, from cycle to cycle; absent where there is one cycle."""
    not_drawn: Annotated[list[Line], Field(max_length=MOST_NOTES, default_factory=list)]
    """Numbers of this point that devices drawn from it do not have, each with what they have instead."""

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

    format: Literal["mcdev model card, version 1", "mcdev model card, version 2"]
    """Version 1 had no bounds, tables or ``scores``: its matrices are those of the normal numbers."""
    title: Line
    description: Text = ""
    provenance: Provenance
    points: Annotated[list[CardPoint], Field(min_length=1, max_length=_POINTS)]


def to_toml(card: Card) -> str:
    """The card as a TOML file, numbers to nine digits, a list of them a line; what is not determined is left out."""
    text = tomli_w.dumps(_short(card.model_dump(exclude_none=True)))
    return _NUMBERS.sub(lambda found: "[" + ", ".join(found[0].strip("[],\n ").split(",\n    ")) + "]", text)


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
    written = data.get("format")
    if written not in _FORMATS:
        newer = isinstance(written, str) and written.startswith("mcdev model card")
        why = (
            "this mcdev reads version 1 and version 2; update mcdev"
            if newer
            else f"is no model card; those begin with format = {FORMAT!r}"
        )
        raise ConfigError([Problem("format", written, why)], str(path))
    try:
        return Card.model_validate(data)
    except ValidationError as error:
        raise ConfigError(unique([p for p, _ in described(error, data, Card)]), str(path)) from None
