"""A chunk: some neighbouring devices through some cycles at one sweep point, a pure function of its indices.

Chunks of several points that are alike are computed together, as lanes of one group (`group.py`). Realisation i comes
out the same bit for bit whatever the size of the ensemble, of the chunks, what they are computed with, or the number
and kind of workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mcdev.machine.environment import computing
from mcdev.measurements.contract import FAILED, OK, UNDEFINED
from mcdev.simulation.group import Arrays, Cycle, Group, Piece
from mcdev.simulation.progress import Progress, unseen
from mcdev.simulation.reading import read
from mcdev.simulation.spikes import Ragged, Spikes, gathered, ragged
from mcdev.simulation.trial import Trial

GRAIN = 2e9
"""Steps of inner coordinates in a chunk, at most: some 20 s of work, the price of losing one."""
_OF_CYCLES = ("intact", "culprit", "impedance")  # arrays [d, c, …]
_COPIES = 4
"""Of a group's recorded channels: as they come, as measurements see them, and what these make of them."""


class Chunk(NamedTuple):
    """Indices, each range up to but without its last."""

    point: int
    first: int
    """Of the devices; the beginning of a group."""
    last: int
    begin: int
    """Of the cycles."""
    end: int

    @property
    def name(self) -> str:
        return f"point {self.point}, devices {self.first} to {self.last - 1}, cycles {self.begin} to {self.end - 1}"


class Share(NamedTuple):
    """How large the chunks of one sweep point are. Changes where a run may be cut, and no result."""

    groups: int
    cycles: int


class Work(NamedTuple):
    """A chunk of a trial, and what the chunk before it in its chain left, if there is one."""

    trial: Trial
    chunk: Chunk
    before: Mapping[str, np.ndarray] | None = None


def bytes_of_group(trial: Trial) -> int:
    """What one group holds while one of its cycles is computed, recorded and measured."""
    return (_COPIES * trial.bytes_of_lane + trial.bytes_of_solution) * trial.lanes


def share(trial: Trial, workers: int, memory: float) -> Share:
    """Chunks of one sweep point that keep all workers busy, take no more than ``memory`` bytes each, and are short."""
    size, groups = trial.experiment.ensemble, trial.groups
    cost = trial.rows.steps * trial.lanes * max(1, trial.experiment.device.parts)
    room = max(1, int(memory // bytes_of_group(trial)))
    most = max(1, min(-(-groups // workers), int(GRAIN // cost), room))
    even = -(-groups // -(-groups // most))
    kept = trial.kept.size / size.cycles  # only these are held until the chunk is done
    cycles = max(1, min(size.cycles, int(GRAIN // (cost * even)), int(_COPIES * room / (even * kept))))
    return Share(even, cycles)


def chains(trial: Trial, point: int, of: Share) -> list[list[Chunk]]:
    """Chunks that must follow each other, in order: each goes on where the last one's devices were. Cycles that start
    from rest need no order."""
    size, lanes = trial.experiment.ensemble, trial.lanes
    found: list[list[Chunk]] = []
    for first in range(0, size.devices, of.groups * lanes):
        last = min(first + of.groups * lanes, size.devices)
        line = [
            Chunk(point, first, last, begin, min(begin + of.cycles, size.cycles))
            for begin in range(0, size.cycles, of.cycles)
        ]
        found += [line] if size.between_cycles == "continue" else [[chunk] for chunk in line]
    return found


def together(trials: Sequence[Trial], lines: Sequence[list[Chunk]]) -> list[list[list[Chunk]]]:
    """Chains that are computed side by side: those of neighbouring points that leave lanes free and are cut alike."""
    found: list[list[list[Chunk]]] = []
    kinds: list[Any] = []
    for line in lines:
        trial = trials[line[0].point]
        room = trial.lanes // trial.slot
        cycles = tuple((chunk.begin, chunk.end) for chunk in line)
        kind = (trial.lanes, trial.slot, trial.timeline.samples, trial.experiment.device.kind, cycles)
        fits = room > 1 and kinds and kinds[-1] == kind and len(found[-1]) < room
        if fits and all(line[0].point != other[0].point for other in found[-1]):
            found[-1].append(line)
        else:
            found.append([line])
            kinds.append(kind)
    return found


def compute(works: Sequence[Work], progress: Progress | None = None) -> list[Arrays]:
    """Everything that is kept of each chunk. Several are of trials that fit into one slot, and of the same cycles.

    parameter/NAME [d] · value/NAME, status/NAME [d, c] or [d, c, entry] · intact [d, c] · impedance [d, c, F] ·
    culprit [d, c], the number of the device that broke down, where a realisation has several ·
    series/CHANNEL [k, T, d] · inner/NAME [k, T, part, n] of the first n devices of all · profile/NAME [g, k, T, bin],
    summed over a group's realisations · spikes/i/total and kept [d, c], onset, width and amplitude [spike], of each
    detector, as in ``spikes.Ragged`` · carry/i […, d], the arrays of the devices' state at the end; with k the kept
    cycles among its own, g the groups.
    """
    with computing(works[0].trial.experiment.precision == "float64"):
        found: list[list[Arrays]] = [[] for _ in works]
        for members in _groups(works):
            own = _computed([works[i] for i, _ in members], [piece for _, piece in members], progress or unseen())
            for (i, _), arrays in zip(members, own, strict=True):
                found[i].append(arrays)
        return [
            {name: _joined(name, [part[name] for part in parts if name in part]) for name in parts[0]}
            for parts in found
        ]


def _groups(works: Sequence[Work]) -> list[list[tuple[int, Piece]]]:
    """Number of the work and piece of each member of a group, group after group."""
    pieces = [
        (i, Piece(work.trial, first, min(first + work.trial.slot, work.chunk.last)))
        for i, work in enumerate(works)
        for first in range(work.chunk.first, work.chunk.last, work.trial.slot)
    ]
    kinds: dict[Any, list[tuple[int, Piece]]] = {}
    for i, piece in pieces:
        kinds.setdefault(piece.structure, []).append((i, piece))
    found = []
    for members in kinds.values():
        room = members[0][1].trial.lanes // members[0][1].trial.slot
        found += [members[first : first + room] for first in range(0, len(members), room)]
    return found


def layout(trial: Trial, chunk: Chunk) -> dict[str, tuple[tuple[int | None, ...], str]]:
    """Name of each array that :func:`compute` gives → its shape and the kinds of numbers it may hold (NumPy's letters).
    Every carry/i has the devices last, as carry/0, whose other dimensions are not known here; nor is how many spikes
    there are."""
    experiment, kept = trial.experiment, trial.kept
    d, c, t = chunk.last - chunk.first, chunk.end - chunk.begin, trial.timeline.samples
    k, g = int(np.sum((kept >= chunk.begin) & (kept < chunk.end))), -(-d // trial.lanes)
    device, parts = experiment.device, experiment.device.parts
    found: dict[str, tuple[tuple[int | None, ...], str]] = {
        f"parameter/{name}": ((d,), "f") for name in experiment.kept_parameters
    }
    for name, entries in trial.entries.items():
        found |= {f"value/{name}": ((d, c, *entries), "f"), f"status/{name}": ((d, c, *entries), "i")}
    found |= {"intact": ((d, c), "b"), "impedance": ((d, c, trial.frequency.size), "c")}
    if len(experiment.circuit.memristors) > 1:
        found["culprit"] = ((d, c), "i")
    for i in range(len(trial.detectors)):
        found |= {f"spikes/{i}/{name}": ((d, c), "i") for name in ("total", "kept")}
        found |= {f"spikes/{i}/{name}": ((None,), "f") for name in ("onset", "width", "amplitude")}
    if k:
        found |= {f"series/{name}": ((k, t, d), "f") for name in trial.channels}
        found |= {f"profile/{name}": ((g, k, t, device.profile_bins.size), "f") for name in device.profiles}
        if chunk.first == 0:
            traced = min(experiment.output.trajectories, trial.slot)
            found |= {f"inner/{name}": ((k, t, parts, traced), "f") for name in device.coordinates}
    if experiment.ensemble.between_cycles == "continue" and chunk.end < experiment.ensemble.cycles:
        found["carry/0"] = ((None, d), "fiub")
    return found


def carried(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of a chunk's arrays, what the next one in its chain goes on from."""
    return {name: np.asarray(arrays[name]) for name in arrays if name.startswith("carry/")}


def _computed(works: Sequence[Work], pieces: Sequence[Piece], progress: Progress) -> list[Arrays]:
    """What is kept of each piece of one group."""
    group = Group(pieces)
    chunk, size, kept = works[0].chunk, works[0].trial.experiment.ensemble, set(works[0].trial.kept.tolist())
    states = [_state(work, piece) for work, piece in zip(works, pieces, strict=True)]
    if states[0]:
        group.restore([np.concatenate(leaf, axis=-1) for leaf in zip(*states, strict=True)])
    ends = np.cumsum(group.counts).tolist()
    spans = [slice(end - piece.count, end) for end, piece in zip(ends, pieces, strict=True)]
    cycles: list[list[Arrays]] = [[] for _ in pieces]
    trains: list[list[list[tuple[Ragged, int, int]]]] = [[[] for _ in piece.trial.detectors] for piece in pieces]
    for cycle in range(chunk.begin, chunk.end):
        out = group.run(cycle, progress)
        found = measured(group, out)
        for p, piece in enumerate(pieces):
            cycles[p].append({name: value[spans[p]] for name, value in found.items()})
            for parts, spikes in zip(trains[p], out.spikes.values(), strict=True):
                mine = Spikes(*(value[..., spans[p]] for value in spikes))
                one = ragged(mine, piece.trial.timeline.widths, out.intact[spans[p]])
                parts.append((one, 0, cycle - chunk.begin))
            if cycle in kept:
                cycles[p][-1] |= {f"series/{name}": series[:, spans[p]] for name, series in out.channels.items()}
                cycles[p][-1] |= {f"profile/{name}": total[..., p] for name, total in out.profile.items()}
                if piece.first == 0:
                    cycles[p][-1] |= {f"inner/{name}": value[..., p, :] for name, value in out.snapshot.items()}
    made = [_stacked(own) for own in cycles]
    for own, piece in zip(made, pieces, strict=True):
        named = piece.trial.experiment.named(piece.draws)
        own |= {f"parameter/{name}": value[: piece.count] for name, value in named.items()}
    for own, piece, lists in zip(made, pieces, trains, strict=True):
        for i, parts in enumerate(lists):
            whole = gathered(parts, piece.count, chunk.end - chunk.begin)
            own |= {f"spikes/{i}/{name}": value for name, value in whole._asdict().items()}
    if size.between_cycles == "continue" and chunk.end < size.cycles:
        for i, leaf in enumerate(group.leaves()):
            for own, span in zip(made, spans, strict=True):
                own[f"carry/{i}"] = leaf[..., span]
    return made


def _state(work: Work, piece: Piece) -> list[np.ndarray]:
    """What the chunk before left of this piece; nothing where there is none."""
    first, before = work.chunk.first, work.before or {}
    leaves = (np.asarray(before[f"carry/{i}"]) for i in range(len(before)))
    return [leaf[..., piece.first - first : piece.last - first] for leaf in leaves]


def measured(group: Group, out: Cycle) -> Arrays:
    """Every measurement of one cycle on each lane of a group; NaN and a status where there is no number."""
    found: Arrays = {"intact": out.intact, "impedance": np.where(out.intact, out.impedance, np.nan).T}
    trials = [piece.trial for piece in group.pieces]
    parts = [
        p.trial.experiment.references(
            {name: value[: p.count] for name, value in p.trial.experiment.named(p.draws).items()}
        )
        for p in group.pieces
    ]
    references = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if out.culprit is not None:
        found["culprit"] = out.culprit.astype(np.int32)
    readings = read(trials, group.which, out.channels, out.impedance, references, out.spikes)
    for name, (value, status) in readings.items():
        fine = out.intact.reshape(-1, *([1] * (value.ndim - 1)))
        broken = (status == OK) & ~np.isfinite(value)
        found[f"value/{name}"] = np.where(fine, value, np.nan)
        found[f"status/{name}"] = np.where(fine, np.where(broken, UNDEFINED, status), FAILED).astype(np.int8)
    return found


def _stacked(cycles: list[Arrays]) -> Arrays:
    """Cycles together: readings as [d, c, …], the rest as [k, …]."""
    names = dict.fromkeys(name for found in cycles for name in found)
    return {
        name: np.stack(
            [found[name] for found in cycles if name in found],
            axis=1 if name.startswith(("value/", "status/")) or name in _OF_CYCLES else 0,
        )
        for name in names
    }


def _joined(name: str, groups: list[np.ndarray]) -> np.ndarray:
    if name.startswith("series/"):
        return np.concatenate(groups, axis=2)
    if name.startswith("carry/"):
        return np.concatenate(groups, axis=-1)
    if name.startswith(("profile/", "inner/")):
        return groups[0] if name.startswith("inner/") else np.stack(groups)
    return np.concatenate(groups)
