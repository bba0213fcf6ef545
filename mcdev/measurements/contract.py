"""What every measurement is: one trajectory in; value and status out.

``measure`` sees a single realisation and is written in jax.numpy; the ensemble maps it over all of them.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int

from mcdev.kinds import Kind
from mcdev.protocols.timeline import Timeline
from mcdev.schema import Name, at_place, parted, placed

OK = 0
RIGHT_CENSORED = 1
LEFT_CENSORED = 2
UNDEFINED = 3
FAILED = 4
STATUS_MEANINGS = "ok right_censored left_censored undefined failed"
"""ok: a value. right_censored: the truth lies above the value given (a bound), left_censored: below it.
undefined: there was nothing to measure (no relaxation without switching). failed: the realisation broke down."""

Series = Float[Array, " time"]


class Detector(NamedTuple):
    """What counts as a spike: a recorded channel rises to a threshold, and later falls below a lower level. Noise about
    one of the two alone makes no further spike."""

    signal: str
    """Name of the channel that is watched."""
    threshold: float
    """Where a spike begins, in the unit of the channel (SI), or as a share of G_max."""
    reset: float
    """Below which it ends."""
    full_scale: bool
    """Whether both are shares of the device's G_max."""
    most: int
    """Spikes that are kept of each cycle, the first ones; they are counted beyond."""
    element: str | None = None
    """The element of the circuit that is watched; by default the first memristor."""

    @property
    def name(self) -> str:
        """By which a trajectory knows its spikes."""
        return "{} {!r} {!r} {} {} {}".format(*self)


def of_element(names: Iterable[str], name: str, element: str | None) -> str:
    """Which of these is meant by a name at an element: ``current(M2)``. Where none carries the element's name in
    brackets it is the first memristor, and the name stands as it is."""
    marked = element is not None and any(parted(each)[1] == element for each in names)
    return placed(name, element) if element is not None and marked else name


class Train(eqx.Module):
    """The spikes that a detector saw in one cycle of one realisation: the first ones, in order. Times that are not
    there (the interval before the first spike, the width of one that had not ended) are NaN, as are entries beyond the
    count. Intervals and widths are differences that were taken in double precision: long runs do not round them."""

    sample: Int[Array, " spike"]
    """In which each begins."""
    share: Float[Array, " spike"]
    """Of that sample, at which it begins."""
    interval: Float[Array, " spike"]
    """Seconds since the spike before began."""
    width: Float[Array, " spike"]
    """Seconds until it ends."""
    peak: Float[Array, " spike"]
    """Largest value of the watched channel until it ends (SI)."""
    count: Int[Array, ""]
    """Of all spikes, also of those that are not kept."""


class Trajectory(eqx.Module):
    """What was recorded of one realisation; every entry is the mean over its sample, in SI units."""

    widths: Series
    """Length of each sample in seconds."""
    voltage: Series
    """Source voltage."""
    device_voltage: Series
    current: Series
    conductance: Series
    """Current over device voltage; defined at zero voltage too."""
    observed: dict[str, Series]
    """What this family records besides; names as in ``DeviceConfig.channels``."""
    frequency: Float[Array, " frequency"]
    """Frequencies (Hz) of the impedance spectrum taken at the end; none under most protocols."""
    impedance: Complex[Array, " frequency"]
    """Small-signal impedance (Ω) that the source sees."""
    full_scale: Float[Array, ""]
    """The device's largest conductance (S); NaN if its family has none."""
    cell_constant: Float[Array, ""]
    """Thickness over area (1/m); NaN if it is no uniform layer."""
    windows: dict[str, Int[Array, "n 2"]]
    """First sample and one past the last of each window, by name."""
    of_others: dict[str, Float[Array, ""]] = eqx.field(default_factory=dict)
    """References of other memristors of the circuit: ``full_scale(M2)``."""
    spikes: dict[str, Train] = eqx.field(default_factory=dict)
    """By the name of their detector. A mean trajectory has none: a mean of spikes is no spike."""

    def at(self, element: str | None, node: str | None) -> Trajectory:
        """As seen at this element of the circuit, and with this node's voltage as the source's. What an element does
        not have is NaN."""
        seen, own = self, at_place(self.observed, element)
        if own:  # it is not the first memristor
            nan = jnp.full_like(self.conductance, jnp.nan)
            refers = at_place(self.of_others, element)
            no_number = jnp.full_like(self.full_scale, jnp.nan)
            seen = dataclasses.replace(
                seen,
                device_voltage=own.get("device_voltage", nan),
                current=own.get("current", nan),
                conductance=own.get("conductance", nan),
                observed=self.observed | own,
                full_scale=refers.get("full_scale", no_number),
                cell_constant=refers.get("cell_constant", no_number),
            )
        if node is not None:
            seen = dataclasses.replace(seen, voltage=self.observed[placed("voltage", node)])
        return seen

    def window(self, name: str, index: int = 0) -> Bool[Array, " time"]:
        """Mask of the samples of one window; negative indices count from the end."""
        first, last = self.windows[name][index]
        sample = jnp.arange(self.widths.shape[0])
        return (sample >= first) & (sample < last)

    def time_in(self, mask: Bool[Array, " time"]) -> Series:
        """Middle of each sample, counted from the beginning of the window."""
        widths = jnp.where(mask, self.widths, 0.0)
        return jnp.cumsum(widths) - 0.5 * widths

    def begin_of(self, train: Train, mask: Bool[Array, " time"]) -> Float[Array, " spike"]:
        """When each spike begins, in seconds from the beginning of the window; of spikes within the window alone."""
        widths = jnp.where(mask, self.widths, 0.0)
        return (jnp.cumsum(widths) - widths)[train.sample] + train.share * self.widths[train.sample]

    def span(self, mask: Bool[Array, " time"]) -> Float[Array, ""]:
        """Length of the window in seconds."""
        return jnp.sum(jnp.where(mask, self.widths, 0.0))

    def mean(self, series: Series, mask: Bool[Array, " time"]) -> Float[Array, ""]:
        """Time average over the window."""
        return jnp.sum(jnp.where(mask, series * self.widths, 0.0)) / self.span(mask)

    def last(self, series: Series, mask: Bool[Array, " time"]) -> Float[Array, ""]:
        """Value in the window's last sample."""
        return series[jnp.max(jnp.where(mask, jnp.arange(series.shape[0]), -1))]


class Reading(NamedTuple):
    value: Float[Array, ...]
    status: Int[Array, ...]


class Passage(NamedTuple):
    at: Float[Array, ""]
    found: Bool[Array, ""]
    at_once: Bool[Array, ""]
    """Whether the window's first sample was already across."""


def first_passage(coordinate: Series, signal: Series, level: Float[Array, ""], mask: Bool[Array, " time"]) -> Passage:
    """Where a signal first rises to a level within a window, by linear interpolation between two samples.

    Pass the negatives of signal and level for a fall.
    """
    reached = mask & (signal >= level)
    found = jnp.any(reached)
    i = jnp.argmax(reached)
    first = jnp.argmax(mask)
    j = jnp.maximum(i - 1, first)
    rise = signal[i] - signal[j]
    share = jnp.where(rise > 0, (level - signal[j]) / jnp.where(rise > 0, rise, 1.0), 1.0)
    at = coordinate[j] + jnp.clip(share, 0.0, 1.0) * (coordinate[i] - coordinate[j])
    return Passage(at, found, found & (i == first))


def absent(timeline: Timeline, window: str, name: str, number: int) -> str | None:
    """``loop 3 of 2`` where the timeline has fewer windows than the one asked for; None if it has it."""
    count = len(timeline.windows[window])
    return f"{name} {number} of {count}" if number > count else None


class Measurement(Kind, abc.ABC):
    """One entry of the ``[measurements]`` table."""

    element: Name | None = None
    """Name of the circuit's element that it reads; by default the first memristor."""
    node: Name | None = None
    """Name of the circuit's node whose voltage it takes for the source's; by default the source."""

    kinetic: ClassVar[bool] = True
    """Whether it depends on rates, not on equilibrium averages alone."""
    reads: ClassVar[tuple[str, ...] | None] = None
    """What it reads of its element and its node, of conductance, current and voltage; None where nobody has said."""

    @property
    @abc.abstractmethod
    def unit(self) -> str: ...

    @property
    @abc.abstractmethod
    def criterion(self) -> str:
        """What exactly the number means, in a phrase; it is kept in the results."""

    @property
    @abc.abstractmethod
    def needs(self) -> tuple[str, ...]:
        """Names of the windows that the protocol must have."""

    @property
    def needs_channels(self) -> tuple[str, ...]:
        """Names of the recorded channels that it reads and that not every device or circuit has."""
        return ()

    @property
    def linear(self) -> bool:
        """Whether it is linear in what was recorded, so that its mean over like devices is that of their mean
        trajectory."""
        return False

    @property
    def nonnegative(self) -> bool:
        """Whether it cannot be negative, whatever the device: a time, a magnitude, a ratio of magnitudes."""
        return False

    @property
    def full_scale(self) -> bool:
        """Whether it refers to the device's largest conductance."""
        return False

    @property
    def layer(self) -> bool:
        """Whether it refers to the device's thickness and area."""
        return False

    @property
    def spectral(self) -> bool:
        """Whether it reads the impedance spectrum instead of the trajectory."""
        return False

    @property
    def detector(self) -> Detector | None:
        """What the spikes are that it reads; None where it reads none. The mean trajectory has none, so that this
        measurement is not taken of it."""
        return None

    @property
    def stepped(self) -> bool:
        """Whether it is a count, which a small change of a parameter leaves as it is: its derivative along one
        trajectory says nothing."""
        return False

    def entries(self, timeline: Timeline) -> int | None:
        """Length of the value if it is a list (one entry a pulse), None if it is a number."""
        return None

    def axis(self, timeline: Timeline) -> tuple[str, str, np.ndarray] | None:
        """What the entries of a list stand at: its name, its unit, and its value for each entry. None where they are
        numbered."""
        return None

    def conflict(self, timeline: Timeline) -> str | None:
        """Why this measurement cannot be taken from this timeline, or None."""
        return None

    @abc.abstractmethod
    def measure(self, trajectory: Trajectory) -> Reading:
        """Value in SI units and status. Under a failed realisation anything may be returned."""
