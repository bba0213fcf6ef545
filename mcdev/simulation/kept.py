"""What is kept of the chunks that are finished."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from mcdev.machine.identity import Origin
from mcdev.simulation.chunks import (
    Chunk,
)
from mcdev.simulation.group import Arrays


class Made(NamedTuple):
    """A finished chunk, and who computed it."""

    arrays: Arrays
    origin: Origin


class Keeper(Protocol):
    """Where finished chunks are kept until all are there."""

    def has(self, chunk: Chunk) -> bool:
        """Whether the chunk is there, whole."""

    def put(self, chunk: Chunk, made: Made) -> None: ...

    def get(self, chunk: Chunk) -> Mapping[str, np.ndarray]:
        """Its arrays; parts of them may be read without the rest."""


class InMemory:
    """Keeps chunks as they are."""

    def __init__(self) -> None:
        self._arrays: dict[Chunk, Arrays] = {}

    def has(self, chunk: Chunk) -> bool:
        return chunk in self._arrays

    def put(self, chunk: Chunk, made: Made) -> None:
        self._arrays[chunk] = made.arrays

    def get(self, chunk: Chunk) -> Mapping[str, np.ndarray]:
        return self._arrays[chunk]
