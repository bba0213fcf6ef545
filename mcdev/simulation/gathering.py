"""The chunks of a sweep point put together: values, means, quantiles, traces.

Means and quantiles are taken over all realisations at once, a few samples at a time, so that they do not depend on how
the work was cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np

from mcdev.machine.environment import computing
from mcdev.measurements.contract import FAILED, OK
from mcdev.protocols.timeline import Timeline
from mcdev.simulation.chunks import (
    Chunk,
    Share,
    chains,
)
from mcdev.simulation.group import Arrays
from mcdev.simulation.jackknife import GROUPS, without_groups
from mcdev.simulation.kept import Keeper
from mcdev.simulation.reading import likeness, read
from mcdev.simulation.spikes import Ragged, gathered, nothing
from mcdev.simulation.trial import Trial

_SAMPLES = 64  # of all realisations that are held together, at least
_NUMBERS = 2**14  # that are held together, at least; with many more the product of matrices keeps all cores busy


@dataclass
class PointResult:
    """What one sweep point left behind. Arrays are NumPy; sizes: D devices, C cycles, K kept cycles, T samples."""

    timeline: Timeline
    parameters: dict[str, np.ndarray]
    """Name → [D], SI units."""
    values: dict[str, np.ndarray]
    """Measurement → [D, C] or [D, C, entry]."""
    status: dict[str, np.ndarray]
    of_mean: dict[str, np.ndarray]
    """Measurement on the mean trajectory → [K, replicate] or [K, replicate, entry]; replicate 0 is of all
    devices, the others each leave out one group of them."""
    mean: dict[str, np.ndarray]
    """Channel → [K, T], mean over the intact realisations."""
    sem: dict[str, np.ndarray]
    quantiles: dict[str, np.ndarray]
    """Channel → [K, Q, T]."""
    trajectories: dict[str, np.ndarray]
    """Channel → [K, N, T] and inner coordinates → [K, N, T, part], of the first N devices."""
    profile: dict[str, np.ndarray]
    """Name → [K, T, bin], mean over the intact realisations."""
    impedance: np.ndarray
    """[D, C, F], complex (Ω): what the source sees at the protocol's frequencies; F = 0 if it has none."""
    intact: np.ndarray
    """[D, C]: False where a realisation broke down."""
    culprit: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.int32))
    """[D, C]: number of the device that broke down first, where a realisation has several; -1 elsewhere."""
    courses: dict[str, np.ndarray] = field(default_factory=dict)
    """Channel → [K, D, T] of every device, of the channels that were asked for."""
    spikes: dict[str, Ragged] = field(default_factory=dict)
    """Detector's name → all spikes that were kept."""


def gather(
    points: Sequence[Trial], shares: Sequence[Share], keeper: Keeper, courses: Sequence[str] = ()
) -> list[PointResult]:
    """The results of all sweep points from their chunks. Chunks that are not there count as broken down."""
    # Of where chunks are computed: JAX compiles anew where the place is left open.
    with computing(points[0].experiment.precision == "float64"), jax.default_device(jax.local_devices()[0]):
        found, means = [], []
        for i, (trial, of) in enumerate(zip(points, shares, strict=True)):
            chunks = [chunk for chain in chains(trial, i, of) for chunk in chain]
            result, own = _gathered(trial, {p: keeper.get(p) for p in chunks if keeper.has(p)}, courses)
            found.append(result)
            means += [(trial, result, mean) for mean in own]
        _measure_means(means)
    return found


class _Mean(NamedTuple):
    """The mean trajectories of one kept cycle: of all devices, and of all but each group."""

    cycle: int
    """Number among the kept ones."""
    channels: Arrays
    """Name → [T, replicate]."""
    impedance: np.ndarray
    """[F, replicate]."""
    references: Arrays
    """Name → [replicate]."""


def _gathered(
    trial: Trial, parts: Mapping[Chunk, Mapping[str, np.ndarray]], courses: Sequence[str]
) -> tuple[PointResult, list[_Mean]]:
    experiment, timeline = trial.experiment, trial.timeline
    result = empty(trial, min(experiment.output.trajectories, experiment.ensemble.devices, trial.slot))
    for name in courses:
        size = (*result.mean[name].shape[:1], experiment.ensemble.devices, timeline.samples)
        result.courses[name] = np.full(size, np.nan, result.mean[name].dtype)
    for chunk, arrays in parts.items():
        d, c = slice(chunk.first, chunk.last), slice(chunk.begin, chunk.end)
        for name in result.parameters:
            result.parameters[name][d] = arrays[f"parameter/{name}"][()]
        for name in experiment.measurements:
            result.values[name][d, c] = arrays[f"value/{name}"][()]
            result.status[name][d, c] = arrays[f"status/{name}"][()]
        result.intact[d, c] = arrays["intact"][()]
        result.impedance[d, c] = arrays["impedance"][()]
        if "culprit" in arrays:
            result.culprit[d, c] = arrays["culprit"][()]
    for i, detector in enumerate(trial.detectors):
        lists = [
            (Ragged(*(np.asarray(arrays[f"spikes/{i}/{name}"]) for name in Ragged._fields)), chunk.first, chunk.begin)
            for chunk, arrays in parts.items()
        ]
        result.spikes[detector.name] = gathered(lists, experiment.ensemble.devices, experiment.ensemble.cycles)
    means = []
    for k, cycle in enumerate(trial.kept):
        own = {chunk: arrays for chunk, arrays in parts.items() if chunk.begin <= cycle < chunk.end}
        if (mean := _collect(trial, k, int(cycle), own, result)) is not None:
            means.append(mean)
    return result, means


def empty(trial: Trial, traced: int) -> PointResult:
    """A sweep point of which nothing is known: NaN, and every realisation broken down; courses of
    ``traced`` realisations."""
    experiment, timeline, dtype = trial.experiment, trial.timeline, trial.dtype
    size, output = experiment.ensemble, experiment.output
    d, c, k, t = size.devices, size.cycles, trial.kept.size, timeline.samples
    bins, parts = experiment.device.profile_bins.size, experiment.device.parts
    values, status, of_mean = {}, {}, {}
    for name, entries in trial.entries.items():
        values[name] = np.full((d, c, *entries), np.nan)
        status[name] = np.full((d, c, *entries), FAILED, dtype=np.int8)
        of_mean[name] = np.full((k, 1 + min(GROUPS, d), *entries), np.nan)
    names = trial.channels
    return PointResult(
        timeline=timeline,
        parameters={name: np.full(d, np.nan) for name in experiment.kept_parameters},
        values=values,
        status=status,
        of_mean=of_mean,
        mean={name: np.full((k, t), np.nan, dtype) for name in names},
        sem={name: np.full((k, t), np.nan, dtype) for name in names},
        quantiles={name: np.full((k, len(output.quantiles), t), np.nan, dtype) for name in names},
        trajectories={name: np.full((k, traced, t), np.nan, dtype) for name in names}
        | {name: np.full((k, traced, t, parts), np.nan, dtype) for name in experiment.device.coordinates},
        profile={name: np.full((k, t, bins), np.nan, dtype) for name in experiment.device.profiles},
        impedance=np.full((d, c, trial.frequency.size), np.nan, complex),
        intact=np.zeros((d, c), dtype=bool),
        culprit=np.full((d, c), -1, np.int32),
        spikes={detector.name: nothing(d, c) for detector in trial.detectors},
    )


def _collect(
    trial: Trial, k: int, cycle: int, parts: Mapping[Chunk, Mapping[str, np.ndarray]], result: PointResult
) -> _Mean | None:
    """Fold the courses of one kept cycle into the point's result; the mean trajectories, where a device is left."""
    experiment, samples = trial.experiment, trial.timeline.samples
    intact = result.intact[:, cycle]
    place = {chunk: int(cycle_index(trial.kept, chunk, cycle)) for chunk in parts}
    n = int(intact.sum())
    left = without_groups(n).T.astype(float)
    weights = left / np.maximum(left.sum(axis=0), 1.0)  # of the means of all realisations, and of all but each group
    means: Arrays = {}
    together = held_together(intact.size)
    for name, mean in result.mean.items():
        replicates = []
        for begin in range(0, samples, together):
            span = slice(begin, min(begin + together, samples))
            block = np.full((span.stop - span.start, intact.size), np.nan, mean.dtype)
            for chunk, arrays in parts.items():
                block[:, chunk.first : chunk.last] = arrays[f"series/{name}"][place[chunk], span]
            if name in result.courses:
                result.courses[name][k, :, span] = block.T
            if not n:
                continue
            good = block[:, intact]
            wide = good.astype(np.float64)
            mean[k, span] = wide.mean(axis=1)
            result.sem[name][k, span] = wide.std(axis=1, ddof=1) / np.sqrt(n) if n > 1 else np.nan
            ranked = np.quantile(wide, experiment.output.quantiles, axis=1) if n > 1 else wide.T  # one is all of them
            result.quantiles[name][k][:, span] = ranked
            replicates.append(wide @ weights)
        if n:
            means[name] = np.concatenate(replicates)
    for chunk, arrays in parts.items():
        if chunk.first == 0:
            _keep_traces(k, place[chunk], arrays, result)
    if not n:
        return None
    for name, store in result.profile.items():
        groups = (g for chunk, arrays in parts.items() for g in arrays[f"profile/{name}"][:, place[chunk]])
        store[k] = sum(group.astype(np.float64) for group in groups) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        parallel = 1.0 / ((1.0 / result.impedance[intact, cycle].T) @ weights)  # currents add, so admittances do
    own = experiment.references(result.parameters)
    return _Mean(k, means, parallel, {name: value[intact] @ weights for name, value in own.items()})


def _measure_means(means: Sequence[tuple[Trial, PointResult, _Mean]]) -> None:
    """Every measurement of the mean trajectories, those of alike points together."""
    kinds: dict[Any, list[tuple[Trial, PointResult, _Mean]]] = {}
    for member in means:
        kinds.setdefault(likeness(member[0]), []).append(member)
    for members in kinds.values():
        of = [mean for _, _, mean in members]
        counts = [mean.impedance.shape[1] for mean in of]
        readings = read(
            [trial for trial, _, _ in members],
            np.repeat(np.arange(len(members)), counts),
            {name: np.concatenate([mean.channels[name] for mean in of], axis=1) for name in of[0].channels},
            np.concatenate([mean.impedance for mean in of], axis=1),
            {name: np.concatenate([mean.references[name] for mean in of]) for name in of[0].references},
            spikes=None,
        )
        for name, (value, status) in readings.items():
            fine = np.split(np.where(status == OK, value, np.nan), np.cumsum(counts)[:-1])
            for (_, result, mean), own in zip(members, fine, strict=True):
                result.of_mean[name][mean.cycle, : own.shape[0]] = own


def held_together(devices: int) -> int:
    """Samples of all realisations that are held together."""
    return max(_SAMPLES, _NUMBERS // devices)


def cycle_index(kept: np.ndarray, chunk: Chunk, cycle: int) -> int:
    """Number of a kept cycle among those of its chunk."""
    return int(np.sum((kept >= chunk.begin) & (kept < cycle)))


def _keep_traces(k: int, at: int, arrays: Mapping[str, np.ndarray], result: PointResult) -> None:
    for name, store in result.trajectories.items():
        count = store.shape[1]
        if name in result.mean:
            store[k] = np.asarray(arrays[f"series/{name}"][at, :, :count]).T
        else:
            store[k] = np.moveaxis(arrays[f"inner/{name}"][at][..., :count], -1, 0)
