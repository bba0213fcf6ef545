"""A group: lanes that advance together in one call of the compiled program.

A lane is one device at one sweep point. Each point has a *slot* of neighbouring lanes: as many as its devices need, or
the whole group where they fill it. A group is always full: lanes without a device of their own repeat a neighbour, and
are dropped. Random numbers are named by seed, device and cycle, and each lane keeps its own point's steps, so a
realisation comes out the same bit for bit whatever it shares a group with.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from mcdev.circuits.contract import Circuit
from mcdev.devices.contract import Devices, LaneKey
from mcdev.simulation.draws import of_cycle
from mcdev.simulation.program import Carry, Place, Row, program
from mcdev.simulation.progress import Progress
from mcdev.simulation.reading import likeness
from mcdev.simulation.spikes import Spikes, Watch, seen, watching
from mcdev.simulation.trial import BATCH, Drive, Trial

Arrays = dict[str, np.ndarray]

_COUNTS = ("solutions", "pairs")  # columns of a row that are whole numbers


@dataclass(frozen=True)
class Piece:
    """Neighbouring devices of one trial, at most as many as its slot has lanes. Its arrays have the slot's lanes; the
    last device also stands in those that are left."""

    trial: Trial
    first: int
    last: int

    @property
    def count(self) -> int:
        return self.last - self.first

    @functools.cached_property
    def indices(self) -> np.ndarray:
        """Of the devices."""
        return np.minimum(np.arange(self.first, self.first + self.trial.slot), self.last - 1)

    @functools.cached_property
    def draws(self) -> Arrays:
        """Name → parameter (SI) of each lane."""
        own = self.trial.draw(self.first, self.last)
        return {name: value[..., self.indices - self.first] for name, value in own.items()}

    @functools.cached_property
    def built(self) -> tuple[Devices, Circuit]:
        """Devices and circuits with these parameters; those of the first cycle where they change from cycle to cycle,
        since a device may lack a part at a value that a parameter has in no cycle."""
        return self.in_cycle(0) if self.changes else self.trial.build(self.draws, self.indices)

    @property
    def changes(self) -> bool:
        """Whether its parameters change from cycle to cycle."""
        return bool(self.trial.experiment.ensemble.cycle_to_cycle)

    def in_cycle(self, cycle: int) -> tuple[Devices, Circuit]:
        """The same as they are in one cycle."""
        changed = of_cycle(self.trial.experiment, self.draws, self.first, self.count, cycle)
        return self.trial.build(changed, self.indices)

    @functools.cached_property
    def structure(self) -> Any:
        """What pieces must have in common to share a group: all but the numbers in their arrays."""
        leaves, tree = jax.tree.flatten(self.built)
        size = self.trial.experiment.ensemble
        return (
            *(tree, tuple((np.shape(leaf), leaf.dtype) for leaf in leaves)),
            *(self.trial.lanes, self.trial.slot, self.trial.settle is None, size.between_cycles),
            likeness(self.trial),
        )


class Cycle(NamedTuple):
    """What one cycle of a group leaves behind, of the lanes with a device of their own, piece after piece."""

    channels: Arrays
    """Name → [T, lane]."""
    profile: Arrays
    """Name → [T, bin, piece], summed over the piece's intact lanes."""
    snapshot: Arrays
    """Name → [T, part, piece, kept]."""
    impedance: np.ndarray
    """[F, lane]."""
    intact: np.ndarray
    """[lane]."""
    culprit: np.ndarray | None
    """Number of the device that first broke down [lane], -1 where none did; None where a realisation has one."""
    spikes: dict[str, Spikes]
    """Of each detector, by its name; NumPy's arrays."""


class Group:
    """Pieces of one structure, from cycle to cycle."""

    def __init__(self, pieces: Sequence[Piece]):
        trial = pieces[0].trial
        self.pieces, self.slot, self.lanes, self.dtype = list(pieces), trial.slot, trial.lanes, trial.dtype
        self.place = Place(self.slot, min(trial.experiment.output.trajectories, self.slot))
        self.counts = np.array([piece.count for piece in pieces])
        self.which = np.repeat(np.arange(self.counts.size), self.counts)
        """Number of the piece of each lane that has a device of its own, piece after piece."""
        has = [np.arange(self.slot) < count for count in self.counts]
        self.own = np.flatnonzero(np.concatenate(has))
        """These lanes."""
        self.counted = jax.device_put(self._full(has))
        self.devices, self.circuit = self._together([piece.built for piece in pieces])
        self.carry: Carry | None = None

    def _full(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Slots side by side; the last one also stands in what is left of the lanes."""
        left = self.lanes // self.slot - len(parts)
        return np.concatenate([*parts, *[parts[-1]] * left], axis=-1)

    def _together(self, built: Sequence[tuple[Devices, Circuit]]) -> tuple[Devices, Circuit]:
        if self.slot == self.lanes:
            whole = built[0]
        else:
            whole = jax.tree.map(lambda *leaves: self._full([np.asarray(leaf) for leaf in leaves]), *built)
        found: tuple[Devices, Circuit] = jax.device_put(whole)
        return found

    def key(self, cycle: int) -> LaneKey:
        """Of the random numbers of each lane."""
        seeds = [np.full(self.slot, piece.trial.experiment.ensemble.seed) for piece in self.pieces]
        words = (self._full(x).astype(np.uint32) for x in (seeds, [piece.indices for piece in self.pieces]))
        found: LaneKey = program().key(*words, np.uint32(cycle))
        return found

    @functools.cached_property
    def watching(self) -> tuple[Watch, ...]:
        """The detectors of spikes at the beginning of a cycle."""
        of = [(p.trial.experiment, p.draws) for p in self.pieces]
        own = [experiment.references(experiment.named(draws)) for experiment, draws in of]
        together = {name: self._full([np.asarray(each[name]) for each in own]) for name in own[0]}
        found: tuple[Watch, ...] = jax.device_put(watching(self.pieces[0].trial.detectors, together, self.dtype))
        return found

    def spikes(self) -> dict[str, Spikes]:
        """What each detector has seen in this cycle, by its name; of the lanes with a device of their own."""
        watches = () if self.carry is None else self.carry.spikes
        return {
            detector.name: Spikes(*(np.asarray(x)[..., self.own] for x in seen(watch)))
            for detector, watch in zip(self.pieces[0].trial.detectors, watches, strict=True)
        }

    def restore(self, leaves: Sequence[np.ndarray]) -> None:
        """Go on from where other groups ended: as :meth:`leaves` gives it."""
        blank = jax.eval_shape(program().rest, self.devices, self.circuit, self.key(0))
        starts = np.cumsum(self.counts) - self.counts
        lanes = [start + piece.indices - piece.first for start, piece in zip(starts, self.pieces, strict=True)]
        places = self._full(lanes)
        own = jax.device_put([leaf[..., places] for leaf in leaves])
        self.carry = jax.tree.unflatten(jax.tree.structure(blank), own)

    def leaves(self) -> list[np.ndarray]:
        """Each array of the state, of the lanes with a device of their own."""
        return [np.asarray(leaf)[..., self.own] for leaf in jax.tree.leaves(self.carry)]

    def run(self, cycle: int, progress: Progress) -> Cycle:
        """One cycle of every lane."""
        key, trials = self.key(cycle), [piece.trial for piece in self.pieces]
        if any(piece.changes for piece in self.pieces):
            self.devices, self.circuit = self._together([piece.in_cycle(cycle) for piece in self.pieces])
        if self.carry is None or trials[0].experiment.ensemble.between_cycles == "rest":
            # What settling sees is forgotten; with detectors it is the same program that advances through it.
            self.carry = program().rest(self.devices, self.circuit, key)._replace(spikes=self.watching)
            if settle := [trial.settle for trial in trials if trial.settle is not None]:
                self.advance(key, settle, progress)
        self.carry = self.carry._replace(clock=jax.device_put(np.zeros(self.lanes, np.uint32)), spikes=self.watching)
        recorded = self.advance(key, [trial.rows for trial in trials], progress)
        spikes = self.spikes()
        self.carry = self.carry._replace(spikes=())
        return Cycle(
            {name: series[:, self.own] for name, series in recorded.channels.items()},
            recorded.profile,
            recorded.snapshot,
            self.impedance(),
            np.asarray(self.carry.intact)[self.own],
            None if self.carry.culprit is None else np.asarray(self.carry.culprit)[self.own],
            spikes,
        )

    def impedance(self) -> np.ndarray:
        """[F, lane] at the end of the protocol, of the lanes with a device of their own."""
        trials = [piece.trial for piece in self.pieces]
        if not trials[0].frequency.size:
            return np.empty((0, self.own.size), complex)
        bias = self._full([np.full(self.slot, trial.rows.end[-1]) for trial in trials])
        at = (x.astype(self.dtype) for x in (bias, trials[0].frequency))
        return np.asarray(program().impedance(self.devices, self.circuit, self.carry, *at))[:, self.own]

    def advance(self, key: LaneKey, drives: Sequence[Drive], progress: Progress) -> Any:
        """Every piece through its own rows, all of one length; what was recorded, as NumPy's arrays."""
        points = self.lanes // self.slot
        columns = zip(*drives, strict=True)
        stacked: Any = (np.stack(column, axis=1) if len(column[0]) else () for column in columns)
        rows = Drive(*stacked)
        own = np.minimum(np.arange(points), len(drives) - 1)  # the last piece also stands in what is left
        parts = []
        for batch in self.pieces[0].trial.calls(rows):
            samples = batch.start.shape[0]
            filled = {}
            for name, column in batch._asdict().items():
                if not len(column):
                    continue
                whole = np.zeros((BATCH, points, *column.shape[2:]), np.uint32 if name in _COUNTS else self.dtype)
                whole[:samples] = column[:, own]
                filled[name] = jax.device_put(whole)
            self.carry, out = program().advance(
                self.devices, self.circuit, key, self.carry, Row(**filled), self.counted, place=self.place
            )
            parts.append(jax.tree.map(lambda series, n=samples: np.asarray(series)[:n], out))
            steps = 2 * np.sum(batch.solutions * batch.pairs, axis=0)[: self.counts.size]
            progress.add(int(steps @ self.counts))
        return jax.tree.map(lambda *series: np.concatenate(series), *parts)
