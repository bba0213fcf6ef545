"""Which number of an experiment's results is meant: a measurement, an entry of a list, or a coefficient of a fit."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from mcdev.configuration.problems import ConfigError, Problem
from mcdev.schema import Fraction, Strict, nearest

if TYPE_CHECKING:
    from mcdev.configuration.experiment import Experiment


Statistic = Literal[
    "mean",
    "median",
    "mean_response",
    "quantile",
    "sigma_ln_between",
    "sigma_ln_within",
    "sigma_ln_total",
    "sd_between",
    "sd_within",
    "sd_total",
    "correlation",
    "censored_share",
]
_PURE = ("sigma_ln_between", "sigma_ln_within", "sigma_ln_total", "correlation", "censored_share")
OF_SPREAD = (*_PURE, "sd_between", "sd_within", "sd_total", "quantile")
"""Statistics that say how a population is spread."""


class Address(Strict):
    """One number. Whoever names one (a published number, a target of a calibration) is asked for it the same way."""

    measurement: str
    """Name of an entry of [measurements] or [fits]."""
    entry: int | None = Field(None, ge=1)
    """Number of an entry of a list, counted from one (the pulse)."""
    coefficient: str | None = None
    """Name of a coefficient of a fit."""
    point: int = Field(1, ge=1)
    """Number of the sweep point, counted from one; for a fit, number of the curve."""
    statistic: Statistic = "mean"
    """Statistic of the ensemble. mean, median, quantile: over devices and cycles. mean_response: the measurement of the
    mean trajectory. sigma_ln_between, sigma_ln_within, sigma_ln_total: standard deviation of ln x from device to device
    (D2D), from cycle to cycle (C2C), and of both. sd_between, sd_within, sd_total: the same of x itself, which may be
    negative, in its unit. correlation: that of devices with another measurement. censored_share: share of values that
    are censored."""
    level: Fraction | None = None
    """For a quantile: the share of the population below it."""
    other: str | None = None
    """For a correlation: the other measurement of the same experiment, or ``g[4]`` for an entry of a list."""

    @property
    def label(self) -> str:
        """``conductance[3]``, or ``rate: activation_energy``."""
        if self.coefficient is not None:
            return f"{self.measurement}: {self.coefficient}"
        return self.measurement if self.entry is None else f"{self.measurement}[{self.entry}]"

    @property
    def words(self) -> str:
        """``sigma_ln_between of tau``, ``quantile 0.9 of tau``, ``correlation of tau and ppf``."""
        level = f" {self.level:g}" if self.level is not None else ""
        return f"{self.statistic}{level} of {self.label}" + (f" and {self.other}" if self.other is not None else "")

    def resolved(self, experiment: Experiment, key: str, points: bool = True) -> tuple[str | None, list[Problem]]:
        """Unit of the number in this experiment, and what is wrong with its address, which stands at ``key``. The unit
        is None where there is no such number. ``points``: whether the sweep can be counted yet."""
        unit, found = self._resolved(experiment, key, points)
        found += self._of_population(experiment, key)
        return None if unit is None else self.unit_of(unit), found

    def unit_of(self, measured: str) -> str:
        """Unit of the statistic of what is measured in a unit."""
        return "1" if self.statistic in _PURE else measured

    def _of_population(self, experiment: Experiment, key: str) -> list[Problem]:
        """What is wrong with the statistic and its own keys."""
        found = []
        if self.coefficient is not None and self.statistic in OF_SPREAD:
            message = "a coefficient of a fit is one number for all devices; expected a measurement, or leave it out"
            found.append(Problem(f"{key}.statistic", self.statistic, message))
        for name, value, of in (("level", self.level, "quantile"), ("other", self.other, "correlation")):
            if value is None and self.statistic == of:
                example = {"level": "level = 0.9", "other": 'other = "NAME" (another measurement)'}[name]
                found.append(Problem(f"{key}.{name}", None, f"is missing; a {of} needs {example}"))
            elif value is not None and self.statistic != of:
                found.append(Problem(f"{key}.{name}", value, f"belongs to statistic = {of!r}; leave it out"))
        if self.statistic.endswith(("_between", "_within")) and experiment.ensemble.cycles == 1:
            total = self.statistic.rpartition("_")[0] + "_total"
            message = f"one cycle does not tell devices from cycles; raise ensemble.cycles, or ask for {total}"
            found.append(Problem(f"{key}.statistic", self.statistic, message))
        if self.other is not None:
            name, entry = self.partner
            measurement = experiment.measurements.get(name)
            if measurement is None:
                message = f"no such measurement; {nearest(name, experiment.measurements)}"
                found.append(Problem(f"{key}.other", self.other, message))
            else:
                entries = measurement.entries(experiment.timeline)
                if (entries is None) != (entry is None) or not 1 <= (entry or 1) <= (entries or 1):
                    what = f"is a list of {entries}; write it like {name}[1]" if entries else "is a single number"
                    found.append(Problem(f"{key}.other", self.other, f"'{name}' {what}"))
        return found

    @property
    def partner(self) -> tuple[str, int | None]:
        """Measurement and entry that ``other`` names."""
        name, bracket, entry = (self.other or "").partition("[")
        return name, int(entry[:-1]) if bracket and entry[:-1].isdigit() and entry.endswith("]") else None

    def _resolved(self, experiment: Experiment, key: str, points: bool) -> tuple[str | None, list[Problem]]:
        """The same of the measurement or fit alone."""
        found: list[Problem] = []
        name = self.measurement
        fit = experiment.fit_read(name, self.coefficient)
        if fit is None and name not in experiment.measurements:
            known = nearest(name, [*experiment.measurements, *experiment.fits])
            return None, [Problem(f"{key}.measurement", name, f"no such measurement or fit; {known}")]
        if points:
            count, what = len(experiment.sweep.points()), "sweep point"
            if fit is not None:
                count, what = len(experiment.curves(fit.axis)), "curve"
            if self.point > count:
                of = ": the points of the axes that the fit is not along" if fit is not None else ""
                found.append(Problem(f"{key}.point", self.point, f"expected a {what} between 1 and {count}{of}"))
        if fit is not None:
            if self.entry is not None:
                message = f"'{name}' is a fit, which has coefficients and no list; leave the entry out"
                found.append(Problem(f"{key}.entry", self.entry, message))
            if self.coefficient in fit.coefficients:
                return fit.coefficients[self.coefficient], found
            given = "is missing" if self.coefficient is None else "no such coefficient"
            message = f"{given}; '{name}' is a fit: {nearest(self.coefficient or '', fit.coefficients)}"
            return None, [*found, Problem(f"{key}.coefficient", self.coefficient, message)]
        if self.coefficient is not None:
            message = f"'{name}' is a measurement, not a fit; leave the coefficient out"
            found.append(Problem(f"{key}.coefficient", self.coefficient, message))
        if found:
            return None, found
        measurement = experiment.measurements[name]
        if self.statistic == "mean_response" and measurement.detector is not None:
            message = f"'{name}' reads spikes, which a mean trajectory has not; expected 'mean' or 'median'"
            return measurement.unit, [Problem(f"{key}.statistic", self.statistic, message)]
        at = experiment
        if points:
            with contextlib.suppress(ConfigError):  # what is wrong with a point is said where points are looked at
                at = experiment.point(self.point - 1)
        entries = measurement.entries(at.timeline)
        if entries is None and self.entry is not None:
            message = f"'{name}' is a single number; leave the entry out"
            return measurement.unit, [Problem(f"{key}.entry", self.entry, message)]
        if entries is not None and not 1 <= (self.entry or 0) <= entries:
            given = "is missing; " if self.entry is None else ""
            message = f"{given}'{name}' is a list; expected an entry between 1 and {entries}"
            return measurement.unit, [Problem(f"{key}.entry", self.entry, message)]
        return measurement.unit, found
