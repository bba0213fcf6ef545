"""What measurements of spikes have in common: what a spike is, and in which window they are read.

A spike begins where the watched channel rises to ``threshold`` and ends where it falls below ``reset``. Both are found
while the run goes, at the two ends of every interval of the circuit, between which the crossing is interpolated
linearly: spikes that are shorter than a sample are seen. A spike belongs to the window in which it begins.
"""

from __future__ import annotations

import abc
from typing import Annotated, Any, NamedTuple, Self

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from mcdev.measurements.contract import (
    OK,
    RIGHT_CENSORED,
    UNDEFINED,
    Detector,
    Measurement,
    Reading,
    Series,
    Train,
    Trajectory,
    absent,
)
from mcdev.protocols.timeline import Timeline
from mcdev.schema import Fraction, Unit, converted, number_and_unit, percentage, refuse
from mcdev.schema.units import EXAMPLES

FRACTION = 0.1
"""Of G_max, where no threshold is given."""
RESET = 0.5
"""Of the threshold, where no reset is given."""


def unit_of(level: str) -> str:
    """SI unit of a level as it is written: "A" of "3 uA", "1" of a pure number. Raises ``ValueError`` for none."""
    _, unit = number_and_unit(level)
    if unit in ("", "%"):
        return "1"
    for known in EXAMPLES:
        try:
            converted(1.0, unit, known)
        except ValueError:
            continue
        return known
    raise ValueError(f"'{unit[:60]}' is no unit of anything that is recorded")


def value_of(level: str, unit: str) -> float:
    """A level in SI base units, read as a quantity in ``unit``. Refuses as ``Unit.parse``."""
    pure = level if percentage(level) is not None or number_and_unit(level)[1] else float(level)
    return Unit.of_results(unit).parse(level if unit != "1" else pure)


def _written(value: Any) -> Any:
    text = f"{value!r}" if isinstance(value, int | float) and not isinstance(value, bool) else value
    try:
        unit_of(text)
    except (ValueError, TypeError):
        refuse(value, "expected a level of the watched channel with its unit", 'write it like "1 uA"')
    return text


Level = Annotated[
    str,
    BeforeValidator(_written),
    WithJsonSchema({"type": ["string", "number"], "description": "a level with its unit", "examples": ["1 uA"]}),
]
"""A number in the unit of a channel, which is known only where all channels are."""


class Seen(NamedTuple):
    """The spikes of one window."""

    train: Train
    here: Bool[Array, " spike"]
    """Which of the kept ones begin in the window."""
    number: Int[Array, ""]
    """How many begin in it, as far as is known."""
    unknown: Bool[Array, ""]
    """Whether there may be more of them that were not kept."""


class Spiking(Measurement, abc.ABC):
    """A measurement of spikes. Measurements with the same channel, levels and ``most`` share their detector."""

    signal: str = "conductance"
    """The recorded channel that is watched: conductance, current, device_voltage, voltage, or another of this device or
    circuit."""
    threshold: Level | None = None
    """Level that the channel rises to where a spike begins, in its unit. Without it a share of G_max (``fraction``)."""
    reset: Level | None = None
    """Level below which a spike ends; by default half of the threshold."""
    fraction: Fraction | None = None
    """The threshold as a share of the device's G_max; a tenth where no threshold is given."""
    reset_fraction: Fraction | None = None
    """The reset as a share of G_max; by default half of the fraction."""
    most: int = Field(256, ge=1, le=65536)
    """Spikes that are kept of each cycle; the count goes on beyond."""
    window: str = "all"
    """Window of the protocol in which spikes begin."""
    index: int = Field(1, ge=1)
    """Which window of that name, from one."""

    @model_validator(mode="after")
    def _levels(self) -> Self:
        both = [key for key in ("fraction", "reset_fraction") if getattr(self, key) is not None]
        if self.threshold is None and self.reset is not None:
            refuse(self.reset, "expected a threshold beside it", "add threshold = …", key="reset")
        if self.threshold is not None and both:
            refuse(getattr(self, both[0]), "expected either a threshold or a fraction of G_max", key=both[0])
        if self.threshold is None:
            low, high, key = self.detector.reset, self.detector.threshold, "reset_fraction"
        else:
            unit, key = unit_of(self.threshold), "reset"
            high = value_of(self.threshold, unit)
            if self.reset is None and high <= 0:
                refuse(None, "expected a reset beside a threshold that is not positive", "add reset = …", key="reset")
            low = value_of(self.reset, unit) if self.reset is not None else RESET * high
        if not low < high:
            refuse(getattr(self, key), "expected a level below the threshold", key=key)
        return self

    @property
    def detector(self) -> Detector:
        if self.threshold is None:
            high = FRACTION if self.fraction is None else self.fraction
            low = RESET * high if self.reset_fraction is None else self.reset_fraction
            return Detector(self._channel, high, low, True, self.most, self.element)
        unit = unit_of(self.threshold)
        high = value_of(self.threshold, unit)
        low = RESET * high if self.reset is None else value_of(self.reset, unit)
        return Detector(self._channel, high, low, False, self.most, self.element)

    @property
    def _channel(self) -> str:
        """With a node, its voltage stands for the source's."""
        return f"voltage({self.node})" if self.node is not None and self.signal == "voltage" else self.signal

    @property
    def signal_unit(self) -> str:
        """That of the watched channel, as the threshold has it."""
        return "S" if self.threshold is None else unit_of(self.threshold)

    @property
    def full_scale(self) -> bool:
        return self.threshold is None

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.window,)

    def conflict(self, timeline: Timeline) -> str | None:
        return absent(timeline, self.window, f"window {self.window!r}", self.index)

    @property
    def levels(self) -> str:
        """What a spike is, in words."""
        found = self.detector
        if found.full_scale:
            levels = f"rises to {found.threshold:g} G_max, until it falls below {found.reset:g} G_max"
        else:
            unit = "" if self.signal_unit == "1" else f" {self.signal_unit}"
            levels = f"rises to {found.threshold:g}{unit}, until it falls below {found.reset:g}{unit}"
        what = found.signal if found.element is None else f"{found.signal} of {found.element}"
        return f"from where {what} {levels}; the first {self.most} of a cycle"

    @property
    def spike(self) -> str:
        """The same, and where it is looked for."""
        return f"spikes ({self.levels}) that begin in window {self.window!r} {self.index}"

    def seen(self, trajectory: Trajectory) -> Seen:
        """The spikes of the window."""
        train = trajectory.spikes[self.detector.name]
        first, last = trajectory.windows[self.window][self.index - 1]
        kept = jnp.arange(train.sample.shape[0]) < train.count
        here = kept & (train.sample >= first) & (train.sample < last)
        lost = jnp.maximum(train.count.astype(jnp.int32) - train.sample.shape[0], 0)
        latest = train.sample[-1]  # of the kept ones, where some are lost
        # All that were lost began after the latest that was kept: where the window goes on to the end, within it.
        all_here = (latest >= first) & (last == trajectory.widths.shape[0])
        count = jnp.sum(here) + jnp.where(all_here, lost, 0)
        return Seen(train, here, count, (lost > 0) & (latest < last) & ~all_here)

    def over_ended(self, seen: Seen, value: Series, so_far: Float[Array, ""]) -> Reading:
        """Mean of a number [spike] over the spikes of the window that have ended. Where the only one is still on, the
        bound ``so_far``; without spikes undefined."""
        ended = seen.here & jnp.isfinite(seen.train.width)
        n, fires = jnp.sum(ended), jnp.any(seen.here)
        mean = jnp.sum(jnp.where(ended, value, 0.0)) / jnp.maximum(n, 1)
        found = jnp.where(n > 0, mean, jnp.where(fires, so_far, jnp.nan))
        return Reading(found, jnp.where(n > 0, OK, jnp.where(fires, RIGHT_CENSORED, UNDEFINED)))
