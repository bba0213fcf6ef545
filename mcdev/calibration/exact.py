"""Values and exact derivatives where a trajectory depends smoothly on the parameters: ions, and densities.

The ensemble's own program is differentiated in forward mode, through the integrator, the circuit's root and the fits
(each by the implicit function theorem, where they are solved). Devices and sweep points of one experiment are lanes of
one call. A parameter acts through the arrays that the program starts from (the batch of devices, the circuit, the
samples of the protocol); those are smooth algebra made by ordinary Python, so their derivatives are taken there by
central differences of relative width 2e-5, good to 1e-9.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcdev.calibration.plan import Case
from mcdev.calibration.reading import Ends, Lanes, Reading
from mcdev.calibration.reverse import advance_for_reverse
from mcdev.configuration.experiment import Experiment
from mcdev.integrators.noise import realisation_key
from mcdev.machine.environment import computing
from mcdev.measurements.contract import FAILED, OK
from mcdev.simulation.draws import of_cycle
from mcdev.simulation.program import Place, Row, advance, measure, record
from mcdev.simulation.reading import likeness, trajectory
from mcdev.simulation.spikes import detectors, seen, train, watching
from mcdev.simulation.trial import Drive, Trial

_WIDTH = 1e-5  # of a central difference, relative
_REVERSE_FROM = 10
"""Parameters for each number from which a walk back is cheaper than a tangent for each parameter: measured at level 1,
where a tangent costs 0.4 and a walk back 4 runs of values alone."""


class Start(NamedTuple):
    """What the program starts from; every array depends smoothly on the parameters and has the lanes last."""

    devices: Any
    circuit: Any
    start: Any
    """Source voltage at the start of each sample [sample, lane]."""
    end: Any
    widths: Any
    """Lengths of the samples [sample, lane] (s)."""
    references: dict[str, Any]
    """What measurements refer to besides, as ``DeviceConfig.references`` gives it [lane]."""
    settle: Any
    """Lengths of the samples of the equilibration [sample, lane]; none without one."""


class _Counts(NamedTuple):
    """Steps of each sample, which are held [sample, lane]."""

    solutions: Any
    pairs: Any


class _Batch(NamedTuple):
    """Cases that one call computes."""

    cases: list[Case]
    trials: list[Trial]
    start: Start
    directions: Start | None
    """The same, each array with one more leading axis [path]."""
    paths: tuple[str, ...]
    counts: _Counts
    settling: _Counts
    windows: dict[str, np.ndarray]
    """Name → [case, n, 2]."""
    size: _Size
    """Of each case."""


class _Size(NamedTuple):
    """Of one case's ensemble. Every cycle starts from rest, so that it is a lane of its own."""

    devices: int
    cycles: int

    @property
    def lanes(self) -> int:
        """Device after device, each with its cycles."""
        return self.devices * self.cycles


def _needed(experiment: Experiment, devices: int) -> _Size:
    """One realisation where all are alike, else as many devices as asked for through the experiment's cycles."""
    drawn = any(not isinstance(law, float) for law in experiment.laws.values())
    alike = not drawn and not experiment.ensemble.cycle_to_cycle and experiment.alike
    return _Size(1, 1) if alike else _Size(devices, experiment.ensemble.cycles)


def _start(trial: Trial, size: _Size) -> Start:
    """Float64 arrays on the host."""
    timeline, settle, lanes = trial.timeline, trial.settle, size.lanes
    drawn = trial.draw(0, size.devices)
    cycles = [of_cycle(trial.experiment, drawn, 0, size.devices, cycle) for cycle in range(size.cycles)]
    draws = {
        name: np.stack([own[name] for own in cycles], axis=-1).reshape(*value.shape[:-1], lanes)
        for name, value in drawn.items()
    }

    def each(series: np.ndarray) -> np.ndarray:
        return np.repeat(series[:, None], lanes, axis=1)

    devices, circuit = trial.build(draws, np.repeat(np.arange(size.devices), size.cycles), np.float64)
    return Start(
        devices=devices,
        circuit=circuit,
        start=each(timeline.start),
        end=each(timeline.end),
        widths=each(timeline.widths),
        references=trial.experiment.references(trial.experiment.named(draws)),
        settle=each(settle.step * 2 * settle.pairs * settle.solutions if settle else np.empty(0)),
    )


def _reach(here: float) -> float:
    """Half the width of a difference."""
    return _WIDTH * abs(here) if here != 0 else _WIDTH


def _moved(case: Case, values: Mapping[str, float], path: str, size: _Size) -> Start:
    """Derivative of the start by one parameter."""
    here = values[path]
    h = _reach(here)
    low, high = (_start(Trial(case.at({**values, path: here + side * h})), size) for side in (-1, 1))

    def slope(a: Any, b: Any) -> np.ndarray:
        return np.asarray((np.asarray(b, np.float64) - np.asarray(a, np.float64)) / (2 * h))

    low, high = (eqx.filter(side, eqx.is_inexact_array) for side in (low, high))
    return jax.tree.map(slope, low, high)


def _batches(
    cases: Sequence[Case], values: Mapping[tuple[str, str], Mapping[str, float]], devices: int, slopes: bool
) -> list[_Batch]:
    """Cases of like shape side by side, lane after lane; each lane keeps its own steps."""
    kinds: dict[Any, list[int]] = {}
    own = [values[case.experiment, case.device] for case in cases]
    trials = [Trial(case.at(given)) for case, given in zip(cases, own, strict=True)]
    size = max(_needed(trial.experiment, devices) for trial in trials)
    lanes = size.lanes
    starts = [_start(trial, size) for trial in trials]
    paths = tuple(dict.fromkeys(path for given in own for path in given))
    for i, (trial, start) in enumerate(zip(trials, starts, strict=True)):
        shapes = tuple(np.shape(leaf) for leaf in jax.tree.leaves(start))
        kinds.setdefault((jax.tree.structure(start), shapes, likeness(trial)), []).append(i)

    def join(trees: list[Any]) -> Any:
        return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(x) for x in leaves], axis=-1), *trees)

    def towards(i: int, path: str) -> Any:
        if path in own[i]:
            return _moved(cases[i], own[i], path, size)
        return jax.tree.map(np.zeros_like, eqx.filter(starts[i], eqx.is_inexact_array))

    found = []
    for which in kinds.values():
        timelines = [trials[i].timeline for i in which]
        moved = [join([towards(i, path) for i in which]) for path in paths] if slopes else []
        found.append(
            _Batch(
                [cases[i] for i in which],
                [trials[i] for i in which],
                join([starts[i] for i in which]),
                jax.tree.map(lambda *leaves: np.stack(leaves), *moved) if moved else None,
                paths,
                _counts([trials[i].rows for i in which], lanes),
                _counts([trials[i].settle for i in which], lanes),
                {name: np.stack([line.windows[name] for line in timelines]) for name in timelines[0].windows},
                size,
            )
        )
    return found


def _counts(rows: Sequence[Drive | None], lanes: int) -> _Counts:
    """Of each lane, case after case."""
    none = np.empty(0)
    columns = [(of.solutions, of.pairs) if of else (none, none) for of in rows]
    return _Counts(*(np.repeat(np.stack(column, axis=1), lanes, axis=1) for column in zip(*columns, strict=True)))


# -------------------------------------------------------------------------------------- the program


def _row(start: Array, end: Array, widths: Array, counts: _Counts) -> Row:
    """Samples of these lengths, cut into their steps."""
    steps = 2.0 * counts.solutions * counts.pairs
    return Row(start, end, counts.solutions, counts.pairs, widths / steps.astype(widths.dtype))


def _simulate(
    onward: Callable[..., Any],
    fixed: Any,
    counts: _Counts,
    settling: _Counts,
    windows: dict[str, Array],
    frequency: Array,
    key: Any,
    measurements: tuple[Any, ...],
    cases: int,
    of_mean: bool,
    at: Any,
) -> tuple[Any, Any]:
    """(values and mean current, (status, intact, current of each lane)) for all lanes, or values of the mean trajectory
    of each case. ``onward``: ``program.advance``, or its like that may be walked back."""
    start: Start = eqx.combine(at, fixed)
    lanes = key[0].shape[0]
    settle = None
    if start.settle.shape[0]:
        quiet = jnp.zeros_like(start.settle)
        settle = _row(quiet, quiet, start.settle, settling)
    rows = _row(start.start, start.end, start.widths, counts)
    watched = () if of_mean else detectors(measurements)
    begin = watching(watched, start.references, start.widths.dtype)
    place = Place(lanes, 0)
    carry, recorded, impedance = record(
        start.devices, start.circuit, key, settle, rows, frequency, place, onward, begin
    )
    spikes = {
        detector.name: train(seen(watch), start.widths, jnp.arange(lanes))
        for detector, watch in zip(watched, carry.spikes, strict=True)
    }
    intact, references, widths = carry.intact, start.references, start.widths
    channels = {name: jnp.where(intact, series, 0.0) for name, series in recorded.channels.items()}
    share = jnp.where(intact, 1.0, 0.0).reshape(cases, -1)
    share = share / jnp.maximum(share.sum(axis=1, keepdims=True), 1.0)

    def mean(series: Array) -> Array:
        by_case = series.reshape(*series.shape[:-1], cases, lanes // cases)
        return jnp.einsum("...cl,cl->...c", by_case, share.astype(series.dtype))

    current, courses = mean(channels["current"]), channels["current"]
    if of_mean:
        channels = {name: mean(series) for name, series in channels.items()}
        impedance = 1.0 / mean(1.0 / impedance) if frequency.shape[0] else mean(impedance)
        references = {name: mean(value) for name, value in references.items()}
        widths = mean(widths)
    else:
        windows = {name: jnp.repeat(spans, lanes // cases, axis=0) for name, spans in windows.items()}

    def first(array: Array) -> Array:
        return jnp.moveaxis(array, -1, 0)

    whole = trajectory(
        first(widths),
        {name: first(series) for name, series in channels.items()},
        jnp.broadcast_to(frequency, (widths.shape[-1], *frequency.shape)),
        first(impedance),
        references,
        windows,
        jax.tree.map(first, spikes),
    )
    readings = measure(measurements, whole)
    values = [value for value, _ in readings]
    return (values, current), ([status for _, status in readings], intact, courses)


_values = eqx.filter_jit(_simulate)


@eqx.filter_jit
def _with_slopes(directions: Any, at: Any, *arguments: Any) -> tuple[Any, Any, Any]:
    def one(direction: Any) -> Any:
        return jax.jvp(functools.partial(_simulate, *arguments), (at,), (direction,), has_aux=True)

    return jax.vmap(one, out_axes=(None, 0, None))(directions)


@eqx.filter_jit
def _with_pullback(at: Any, *arguments: Any) -> tuple[Any, list[Any], Any]:
    """(values and current, for each number and entry the gradient of its sum over lanes, others)."""

    def numbers(at: Any) -> tuple[Any, Any]:
        whole: Callable[..., Any] = functools.partial(_simulate, *arguments)
        (values, current), others = whole(at)
        return values, (current, others)

    values, pull, (current, others) = jax.vjp(numbers, at, has_aux=True)
    gradients = []
    for k, value in enumerate(values):
        for entry in range(value.shape[1] if value.ndim == 2 else 1):
            seed = [jnp.zeros_like(v) for v in values]
            seed[k] = seed[k].at[..., entry].set(1.0) if value.ndim == 2 else jnp.ones_like(value)
            gradients.append(pull(seed)[0])
    return (values, current), gradients, others


def _back(batch: _Batch, names: Sequence[str], curves: bool) -> Callable[..., Any] | None:
    """What to advance with in reverse mode; None where forward mode is the cheaper, or the only one: a curve has as
    many numbers as samples."""
    trial = batch.trials[0]
    outputs = sum(trial.experiment.measurements[name].entries(trial.timeline) or 1 for name in names)
    devices = (trial.experiment.device, *trial.experiment.circuit.tables.values())
    if curves or batch.directions is None or len(batch.paths) < _REVERSE_FROM * outputs:
        return None
    if not all(device.in_reverse for device in devices):
        return None
    if detectors(trial.experiment.measurements[name] for name in names):  # what they keep is not walked back through
        return None
    pairs = np.concatenate([batch.counts.pairs, batch.settling.pairs]).astype(int)
    if np.any(pairs != pairs[0, 0]):
        return None
    most = np.concatenate([batch.counts.solutions, batch.settling.solutions]).max()
    return advance_for_reverse(int(most), int(pairs[0, 0]))


def _along(batch: _Batch, values: list[np.ndarray], gradients: list[Any], of_mean: bool) -> list[np.ndarray]:
    """Derivatives [path, lane or case(, entry)] of each number, from the gradients of its sums over lanes: no lane
    acts on another."""
    leaves = jax.tree.leaves(batch.directions)

    def by_lane(gradient: Any) -> np.ndarray:
        parts = [
            # what a number does not depend on may be none itself (G_max of a family without)
            np.where(np.asarray(g) == 0, 0.0, np.asarray(g) * d).reshape(len(batch.paths), -1, d.shape[-1]).sum(axis=1)
            for g, d in zip(jax.tree.leaves(gradient), leaves, strict=True)
        ]
        total = np.sum(parts, axis=0)
        return total.reshape(len(batch.paths), len(batch.cases), -1).sum(axis=2) if of_mean else total

    found, rest_of = [], iter(gradients)
    for value in values:
        columns = [by_lane(next(rest_of)) for _ in range(value.shape[1] if value.ndim == 2 else 1)]
        found.append(np.stack(columns, axis=-1) if value.ndim == 2 else columns[0])
    return found


def read(
    cases: Sequence[Case],
    values: Mapping[tuple[str, str], Mapping[str, float]],
    names: Sequence[str],
    of_mean: bool,
    devices: int,
    seed: int,
    slopes: bool,
    curves: bool = False,
) -> dict[Case, Reading]:
    """What these cases' measurements ``names`` read, at these parameter values ((experiment, device) → path → SI).

    ``of_mean``: on the mean trajectory; else the mean over realisations (the median of a single one is the same).
    """
    found: dict[Case, Reading] = {}
    with computing(True):
        for batch in _batches(cases, values, devices, slopes):
            first = batch.trials[0]
            measurements = tuple(first.experiment.measurements[name] for name in names)
            at, fixed = eqx.partition(jax.tree.map(_device_array, batch.start), eqx.is_inexact_array)
            count = len(batch.cases)
            index = jnp.asarray(np.tile(np.arange(batch.size.lanes), count), jnp.uint32)
            key = realisation_key(jnp.full_like(index, seed), index, jnp.uint32(0))
            back = _back(batch, names, curves)
            arguments: tuple[Any, ...] = (
                fixed,
                *(_Counts(*(jnp.asarray(c, jnp.uint32) for c in own)) for own in (batch.counts, batch.settling)),
                {name: jnp.asarray(spans) for name, spans in batch.windows.items()},
                jnp.asarray(first.frequency),
                key,
                measurements,
                count,
                of_mean,
            )
            moved: Any = None
            if slopes and batch.paths and back is not None:
                whole, gradients, others = _with_pullback(at, back, *arguments)
                moved = (_along(batch, [np.asarray(v) for v in whole[0]], gradients, of_mean), None)
            elif slopes and batch.paths:
                whole, moved, others = _with_slopes(
                    jax.tree.map(jnp.asarray, batch.directions), at, advance, *arguments
                )
            else:
                whole, others = _values(advance, *(*arguments, at))
            found |= _unpack(batch, values, names, of_mean, whole, moved, others, curves)
    return found


def _device_array(leaf: Any) -> Any:
    return jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf


def _unpack(
    batch: _Batch,
    at: Mapping[tuple[str, str], Mapping[str, float]],
    names: Sequence[str],
    of_mean: bool,
    whole: Any,
    moved: Any,
    others: Any,
    curves: bool,
) -> dict[Case, Reading]:
    (values, current), (status, intact, courses) = jax.tree.map(np.asarray, (whole, others))
    n, paths = batch.size.lanes, batch.paths
    found = {}
    for i, case in enumerate(batch.cases):
        lanes = slice(i, i + 1) if of_mean else slice(i * n, (i + 1) * n)
        own = intact[i * n : (i + 1) * n]
        reading = Reading(paths, left_out=1.0 - float(own.mean()))
        reading.current = current[:, i]
        if curves and n > 1:
            reading.courses = courses[:, i * n : (i + 1) * n].T[own]
        if moved is not None and moved[1] is not None:
            reading.current_slope = np.asarray(moved[1])[:, :, i]
        for k, name in enumerate(names):
            fine = (status[k][lanes] == OK) & np.isfinite(values[k][lanes])
            if not of_mean:
                fine &= own.reshape(-1, *([1] * (fine.ndim - 1)))
            slope = np.asarray(moved[0][k])[:, lanes] if moved is not None else None
            reading.add(name, values[k][lanes], fine, slope)
            if not of_mean:
                broken = ~own.reshape(-1, *([1] * (fine.ndim - 1)))
                each = np.where(broken, FAILED, status[k][lanes])
                _keep(reading, name, batch.size, at[case.experiment, case.device], values[k][lanes], each, slope)
        found[case] = reading
    return found


def _keep(
    reading: Reading,
    name: str,
    size: _Size,
    at: Mapping[str, float],
    values: np.ndarray,
    status: np.ndarray,
    slope: np.ndarray | None,
) -> None:
    """Every realisation's number, and the same a little along its tangent by each parameter."""

    def by_cycle(series: np.ndarray) -> np.ndarray:
        return series.reshape(size.devices, size.cycles, *series.shape[1:])

    reading.lanes[name] = Lanes(by_cycle(values), by_cycle(status))
    if slope is None:
        return
    ends = []
    for path, tangent in zip(reading.paths, slope, strict=True):
        here = at.get(path, 0.0)  # of another case's parameter the tangent is zero
        h = _reach(here)
        low, high = (Lanes(by_cycle(values + side * h * tangent), by_cycle(status)) for side in (-1, 1))
        ends.append(Ends((here - h, here, here + h), {name: low}, {name: high}, True))
    reading.ends[name], reading.how[name] = tuple(ends), "exact, quantiles held"
