"""What a protocol is made of: straight pieces of voltage, cut into samples, with named windows.

Every recorded quantity is the mean over its sample, as read by an instrument with that aperture.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mcdev.schema import Strict


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


@dataclass(frozen=True)
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

    @property
    def widths(self) -> np.ndarray:
        return np.diff(self.edges)

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


def growing(duration: float, first: float, samples: int) -> np.ndarray:
    """``samples`` widths in geometric progression, the first as given, that add up to ``duration``."""
    if first * samples >= duration:
        return np.full(samples, duration / samples)
    low, high = 1.0, 2.0
    while first * (high**samples - 1) / (high - 1) < duration:
        high *= 2
    for _ in range(200):
        ratio = 0.5 * (low + high)
        if first * (ratio**samples - 1) / (ratio - 1) < duration:
            low = ratio
        else:
            high = ratio
    widths = first * high ** np.arange(samples)
    return widths * (duration / widths.sum())


def timeline(pieces: list[Piece]) -> Timeline:
    """The samples of consecutive pieces; every timeline has the window ``all``."""
    widths, start, end = [], [], []
    windows: dict[str, list[tuple[int, int]]] = {}
    at = 0
    for piece in pieces:
        if piece.duration <= 0:
            continue
        if piece.first_sample is None:
            w = np.full(piece.samples, piece.duration / piece.samples)
        else:
            w = growing(piece.duration, piece.first_sample, piece.samples)
        share = np.concatenate([[0.0], np.cumsum(w)]) / w.sum()
        ramp = piece.start + (piece.end - piece.start) * share
        widths.append(w)
        start.append(ramp[:-1])
        end.append(ramp[1:])
        for name in piece.windows:
            windows.setdefault(name, []).append((at, at + piece.samples))
        at += piece.samples
    windows["all"] = [(0, at)]
    return Timeline(
        edges=np.concatenate([[0.0], np.cumsum(np.concatenate(widths))]),
        start=np.concatenate(start),
        end=np.concatenate(end),
        windows={name: np.array(spans) for name, spans in windows.items()},
    )


class Protocol(Strict, abc.ABC):
    """The ``[protocol]`` table of one kind."""

    @abc.abstractmethod
    def timeline(self) -> Timeline:
        """The source's voltage against time, as samples and windows."""

    @property
    def frequencies(self) -> np.ndarray:
        """Frequencies (Hz) at which the small-signal impedance is taken once the timeline has ended."""
        return np.empty(0)

    @property
    @abc.abstractmethod
    def equilibrium(self) -> bool:
        """Whether nothing changes in time, so that only averages of a stationary state can be read."""
