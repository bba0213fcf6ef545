"""What a protocol is made of: straight pieces of voltage, cut into samples, with named windows.

Every recorded quantity is the mean over its sample, as read by an instrument with that aperture.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mcdev.kinds import Kind

MOST_SAMPLES = 5_000_000


class NoTimeline(ValueError):
    """Pieces that give no samples one after the other; the message says what was expected."""


class Piece(NamedTuple):
    """Voltage going straight from ``start`` to ``end`` (V) in ``duration`` seconds, recorded in ``samples`` samples."""

    duration: float
    start: float
    end: float
    samples: int
    windows: tuple[str, ...] = ()
    """Names of the windows that this piece is one of."""
    first_sample: float | None = None
    """If given, samples grow geometrically from this length (s), to resolve decades of time."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """The samples of a protocol, in order. All arrays are float64 and in SI units."""

    edges: np.ndarray
    """Times between which the samples lie; one more than samples."""
    start: np.ndarray
    """Source voltage at the start of each sample."""
    end: np.ndarray
    """Source voltage at the end of each sample."""
    windows: dict[str, np.ndarray] = field(default_factory=dict)
    """Name → [n, 2] first sample and one past the last, for every window of that name."""
    beside: np.ndarray = field(default_factory=lambda: np.empty((0, 2, 0)))
    """Voltage at the start and at the end of each sample [drive, 2, sample], of what else drives a circuit."""

    @functools.cached_property
    def widths(self) -> np.ndarray:
        """Length of each sample (s)."""
        found = np.diff(self.edges)
        found.flags.writeable = False
        return found

    @property
    def samples(self) -> int:
        return self.start.size

    @property
    def duration(self) -> float:
        return float(self.edges[-1])

    @property
    def voltage(self) -> np.ndarray:
        """Mean source voltage of each sample."""
        return 0.5 * (self.start + self.end)


@functools.lru_cache(maxsize=256)  # a train asks for the same grid after every pulse
def growing(duration: float, first: float, samples: int) -> np.ndarray:
    """``samples`` widths in geometric progression, the first as given, that add up to ``duration``."""
    if first * samples >= duration or first == 0:
        return np.full(samples, duration / samples)

    def reached(ratio: float) -> bool:
        try:
            return first * (ratio**samples - 1) / (ratio - 1) >= duration
        except OverflowError:  # a sum that is larger than any number
            return True
        except ZeroDivisionError:  # all widths alike
            return False

    low, high = 1.0, 2.0
    while not reached(high) and high < 1e300:
        high *= 2
    for _ in range(200):
        ratio = 0.5 * (low + high)
        if reached(ratio):
            high = ratio
        else:
            low = ratio
    with np.errstate(all="ignore"):  # what overflows is no timeline, and said there
        widths = first * high ** np.arange(samples)
        widths *= duration / widths.sum()
    widths.flags.writeable = False  # it is kept for the next who asks
    return widths


def timeline(pieces: list[Piece]) -> Timeline:
    """The samples of consecutive pieces; every timeline has the window ``all``. Raises :class:`NoTimeline`."""
    samples = sum(piece.samples for piece in pieces if piece.duration > 0)
    if samples > MOST_SAMPLES:
        raise NoTimeline(f"{samples} samples; expected at most {MOST_SAMPLES}: lower samples_per_… or the count")
    if samples == 0:
        raise NoTimeline("expected a duration above zero")
    with np.errstate(all="ignore"):  # what overflows is looked at in the end
        found = _joined(pieces)
        widths = found.widths
    stuck = ~(widths > 0) | ~(found.edges[1:] < 1e200)
    if stuck.any():
        at, width = found.edges[int(np.argmax(stuck))], widths[int(np.argmax(stuck))]
        raise NoTimeline(
            f"a sample of {width:.3g} s at {at:.3g} s: beside the longest times the shortest no longer count (double "
            f"precision has sixteen digits); expected times that differ by less, say from 1 ns to 1000 s"
        )
    if not (np.abs([found.start, found.end]) < 1e300).all():  # NaN is not, either
        raise NoTimeline("a voltage of more than 1e300 V; expected one that can be applied")
    return found


def with_others(main: Timeline, others: Sequence[Timeline]) -> Timeline:
    """The samples of a protocol, cut where others that go on beside it are; beyond their end these are at zero volts.
    Raises :class:`NoTimeline` for one that is longer."""
    if not others:
        return main
    for other in others:
        if other.duration > main.duration * (1 + 1e-9):
            raise NoTimeline(
                f"a source's own goes on for {other.duration:.4g} s, the table [protocol] for {main.duration:.4g} s; "
                "expected no more: give [protocol] a longer rest"
            )
    near = 1e-9 * main.widths.min()
    edges = main.edges
    for other in others:  # edges that differ by rounding only are one
        place = np.clip(np.searchsorted(edges, other.edges), 1, edges.size - 1)
        apart = np.minimum(np.abs(other.edges - edges[place - 1]), np.abs(other.edges - edges[place]))
        new = other.edges[(apart > near) & (other.edges < edges[-1])]
        edges = np.unique(np.concatenate([edges, new]))
    middle = 0.5 * (edges[1:] + edges[:-1])

    def cut(line: Timeline) -> np.ndarray:
        """[2, sample]"""
        which = np.clip(np.searchsorted(line.edges, middle) - 1, 0, line.samples - 1)
        slope = (line.end - line.start)[which] / line.widths[which]
        ends = np.stack([edges[:-1], edges[1:]]) - line.edges[which]
        return np.asarray(np.where(middle < line.duration, line.start[which] + slope * ends, 0.0))

    start, end = cut(main)
    places = np.searchsorted(edges, main.edges)
    windows = {name: places[spans] for name, spans in main.windows.items()}
    return Timeline(edges, start, end, windows, np.stack([cut(other) for other in others]))


def _joined(pieces: list[Piece]) -> Timeline:
    shapes: dict[Piece, tuple[np.ndarray, np.ndarray]] = {}  # a train repeats the same few
    widths, start, end = [], [], []
    windows: dict[str, list[tuple[int, int]]] = {}
    at = 0
    for piece in pieces:
        if piece.duration <= 0:
            continue
        if piece not in shapes:
            shapes[piece] = _cut(piece)
        w, ramp = shapes[piece]
        widths.append(w)
        start.append(ramp[:-1])
        end.append(ramp[1:])
        for name in piece.windows:
            windows.setdefault(name, []).append((at, at + piece.samples))
        at += piece.samples
    windows["all"] = [(0, at)]
    found = Timeline(
        edges=np.concatenate([[0.0], np.cumsum(np.concatenate(widths))]),
        start=np.concatenate(start),
        end=np.concatenate(end),
        windows={name: np.array(spans) for name, spans in windows.items()},
    )
    for array in (found.edges, found.start, found.end, *found.windows.values()):
        array.flags.writeable = False  # all who ask for it get the same
    return found


def _cut(piece: Piece) -> tuple[np.ndarray, np.ndarray]:
    """Widths of the piece's samples, and the voltages between them."""
    if piece.first_sample is None:
        w = np.full(piece.samples, piece.duration / piece.samples)
    else:
        w = growing(piece.duration, piece.first_sample, piece.samples)
    share = np.concatenate([[0.0], np.cumsum(w)]) / w.sum()
    return w, piece.start + (piece.end - piece.start) * share


class Protocol(Kind, abc.ABC):
    """The ``[protocol]`` table of one kind."""

    @abc.abstractmethod
    def pieces(self) -> list[Piece]:
        """The source's voltage against time: straight pieces, one after the other."""

    def timeline(self) -> Timeline:
        """The same as samples and windows. Raises :class:`NoTimeline`."""
        return self._timeline

    @functools.cached_property
    def _timeline(self) -> Timeline:
        return timeline(self.pieces())

    def concerns(self) -> Iterable[tuple[str, str]]:
        """(key, text) of what runs but should be known."""
        return ()

    @property
    def frequencies(self) -> np.ndarray:
        """Frequencies (Hz) at which the small-signal impedance is taken once the timeline has ended."""
        return np.empty(0)

    @property
    @abc.abstractmethod
    def equilibrium(self) -> bool:
        """Whether nothing changes in time, so that only averages of a stationary state can be read."""
