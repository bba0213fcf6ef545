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
from mcdev.calibration.reading import Reading
from mcdev.calibration.reverse import advance_for_reverse
from mcdev.configuration.experiment import Experiment
from mcdev.devices.contract import CIRCUIT_CHANNELS
from mcdev.integrators.noise import realisation_key
from mcdev.machine.environment import computing
from mcdev.measurements.contract import OK, Trajectory
from mcdev.simulation.draws import draw_parameters, of_device
from mcdev.simulation.program import advance, drive, impedance_of, rest, settling

_WIDTH = 1e-5  # of a central difference, relative
_REVERSE_FROM = 10
"""Parameters for each number from which a walk back is cheaper than a tangent for each parameter: measured at level 1,
where a tangent costs 0.4 and a walk back 4 runs of values alone."""


class Start(NamedTuple):
    """What the program starts from, one lane a realisation; every array depends smoothly on the parameters."""

    devices: Any
    circuit: Any
    start: Any
    """Source voltage at the start of each sample [sample, lane]."""
    end: Any
    widths: Any
    """Lengths of the samples [sample, lane] (s)."""
    full_scale: Any
    cell_constant: Any
    settle: Any
    """Lengths of the samples of the equilibration [sample, lane]; none without one."""


class _Batch(NamedTuple):
    """Cases that one call computes."""

    cases: list[Case]
    experiments: list[Experiment]
    start: Start
    directions: Start | None
    """The same, each array with one more leading axis [path]."""
    paths: tuple[str, ...]
    solutions: np.ndarray
    pairs: np.ndarray
    settling: tuple[np.ndarray, ...]
    windows: dict[str, np.ndarray]
    lanes: int
    """Of each case."""
    by_lane: Any
    """Whether each array has an axis of lanes, its last."""


def lanes_needed(experiment: Experiment, devices: int) -> int:
    """One where all devices are alike, else as many as asked for."""
    drawn = any(not isinstance(law, float) for law in experiment.laws.values())
    return devices if drawn or not experiment.device.alike else 1


def _start(experiment: Experiment, lanes: int) -> Start:
    """Float64 arrays on the host."""
    device, seed = experiment.device, experiment.ensemble.seed
    draws = draw_parameters(experiment, 0, lanes)
    timeline = experiment.protocol.timeline()
    settle = settling(experiment)
    none = np.full(lanes, np.nan)

    def each(series: np.ndarray) -> np.ndarray:
        return np.repeat(series[:, None], lanes, axis=1)

    return Start(
        devices=device.build(of_device(experiment, draws), seed, np.arange(lanes), np.float64),
        circuit=experiment.circuit.build(np.float64, draws),
        start=each(timeline.start),
        end=each(timeline.end),
        widths=each(timeline.widths),
        full_scale=device.full_scale.of(draws) if device.full_scale else none,
        cell_constant=draws["thickness"] / draws["area"] if device.layer else none,
        settle=each(settle.step * 2 * settle.pairs * settle.solutions if settle else np.empty(0)),
    )


def _moved(case: Case, values: Mapping[str, float], path: str, lanes: int) -> Start:
    """Derivative of the start by one parameter."""
    here = values[path]
    h = _WIDTH * abs(here) if here != 0 else _WIDTH
    low, high = (_start(case.at({**values, path: here + side * h}), lanes) for side in (-1, 1))

    def slope(a: Any, b: Any) -> np.ndarray:
        return np.asarray((np.asarray(b, np.float64) - np.asarray(a, np.float64)) / (2 * h))

    low, high = (eqx.filter(side, eqx.is_inexact_array) for side in (low, high))
    return jax.tree.map(slope, low, high)


def _batches(
    cases: Sequence[Case], values: Mapping[tuple[str, str], Mapping[str, float]], devices: int, slopes: bool
) -> list[_Batch]:
    """Cases of like shape, concatenated lane after lane."""
    kinds: dict[Any, list[int]] = {}
    experiments = [case.at(values[case.experiment, case.device]) for case in cases]
    starts, directions, counts, lane_leaves, settlings = [], [], [], [], []
    paths = tuple(dict.fromkeys(path for case in cases for path in values[case.experiment, case.device]))
    lanes = max(lanes_needed(e, devices) for e in experiments)
    for i, (case, e) in enumerate(zip(cases, experiments, strict=True)):
        start = _start(e, lanes)
        fewer, more = (eqx.filter(side, eqx.is_array) for side in (start, _start(e, lanes + 1)))
        by_lane = jax.tree.map(lambda a, b: np.shape(a) != np.shape(b), fewer, more)
        own = values[case.experiment, case.device]
        moved = [_moved(case, own, p, lanes) if p in own else None for p in paths] if slopes else []
        timeline = e.protocol.timeline()
        rows, settle = drive(e, timeline), settling(e)
        starts.append(start)
        lane_leaves.append(by_lane)
        directions.append(moved)
        counts.append((rows.solutions, rows.pairs))
        settlings.append((settle.solutions, settle.pairs) if settle else (np.empty(0), np.empty(0)))
        shared = [
            np.asarray(leaf).tobytes()
            for leaf, lane in zip(
                jax.tree.leaves(eqx.filter(start, eqx.is_array)), jax.tree.leaves(by_lane), strict=True
            )
            if not lane
        ]
        kind = (
            jax.tree.structure(start),
            tuple(np.shape(leaf)[:-1] for leaf in jax.tree.leaves(start)),
            tuple((name, spans.tobytes()) for name, spans in sorted(timeline.windows.items())),
            e.protocol.frequencies.tobytes(),
            tuple(e.measurements.items()),
            tuple(shared),
        )
        kinds.setdefault(kind, []).append(i)

    def join(which: list[int], trees: list[Any]) -> Any:
        """One tree; leaves that belong to lanes are joined along their last axis."""
        by_lane = lane_leaves[which[0]]
        return jax.tree.map(
            lambda lane, *leaves: np.concatenate([np.asarray(x) for x in leaves], axis=-1) if lane else leaves[0],
            by_lane,
            *trees,
        )

    found = []
    for which in kinds.values():
        static = eqx.filter(starts[which[0]], eqx.is_array, inverse=True)
        start = eqx.combine(join(which, [eqx.filter(starts[i], eqx.is_array) for i in which]), static)
        arrays = eqx.filter(start, eqx.is_array)
        zero = {i: jax.tree.map(np.zeros_like, eqx.filter(starts[i], eqx.is_inexact_array)) for i in which}
        moved = []
        if slopes:
            for j in range(len(paths)):
                parts = [directions[i][j] if directions[i][j] is not None else zero[i] for i in which]
                lanes_of_inexact = jax.tree.map(
                    lambda lane, leaf: lane if eqx.is_inexact_array(leaf) else None, lane_leaves[which[0]], arrays
                )
                moved.append(
                    jax.tree.map(
                        lambda lane, *leaves: np.concatenate(leaves, axis=-1) if lane else leaves[0],
                        lanes_of_inexact,
                        *parts,
                    )
                )
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *moved) if moved else None
        found.append(
            _Batch(
                [cases[i] for i in which],
                [experiments[i] for i in which],
                start,
                stacked,
                paths,
                np.max([counts[i][0] for i in which], axis=0),
                np.max([counts[i][1] for i in which], axis=0),
                tuple(np.max([settlings[i][k] for i in which], axis=0) for k in (0, 1)),
                experiments[which[0]].protocol.timeline().windows,
                lanes,
                lane_leaves[which[0]],
            )
        )
    return found


# -------------------------------------------------------------------------------------- the program


def _simulate(
    onward: Callable[..., Any],
    fixed: Any,
    counts: tuple[Array, ...],
    settling: tuple[Array, ...],
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
    lanes = start.full_scale.shape[0]
    counted = jnp.ones(lanes, bool)
    carry = rest(start.devices, start.circuit, key)
    if start.settle.shape[0]:
        solutions, pairs = settling
        step = start.settle / (2.0 * solutions * pairs).astype(start.settle.dtype)[:, None]
        quiet = jnp.zeros_like(start.settle)
        carry, _ = onward(start.devices, start.circuit, key, carry, (quiet, quiet, *settling, step), counted, 0)
        carry = carry._replace(clock=jnp.uint32(0))
    solutions, pairs = counts
    step = start.widths / (2.0 * solutions * pairs).astype(start.widths.dtype)[:, None]
    rows = (start.start, start.end, solutions, pairs, step)
    carry, (channels, _, _) = onward(start.devices, start.circuit, key, carry, rows, counted, 0)
    intact = carry.intact
    impedance = jnp.zeros((0, lanes), complex)
    if frequency.shape[0]:
        impedance = impedance_of(start.devices, start.circuit, carry, start.end[-1], frequency)
    references = {"full_scale": start.full_scale, "cell_constant": start.cell_constant}
    channels = {name: jnp.where(intact, series, 0.0) for name, series in channels.items()}
    widths = start.widths
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
    own = {name: channels.pop(name) for name in CIRCUIT_CHANNELS}

    def one(widths: Array, own: Any, observed: Any, impedance: Array, references: Any) -> list[Any]:
        trajectory = Trajectory(
            widths=widths,
            **own,
            observed=observed,
            frequency=frequency,
            impedance=impedance,
            **references,
            windows=windows,
        )
        return [tuple(m.measure(trajectory)) for m in measurements]

    readings = jax.vmap(one, in_axes=(1, 1, 1, 1, 0))(widths, own, channels, impedance, references)
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


def _back(batch: _Batch, first: Experiment, names: Sequence[str], curves: bool) -> Callable[..., Any] | None:
    """What to advance with in reverse mode; None where forward mode is the cheaper, or the only one: a curve has as
    many numbers as samples, and what lanes share (a circuit's resistance) has one derivative for all of them."""
    timeline = first.protocol.timeline()
    outputs = sum(first.measurements[name].entries(timeline) or 1 for name in names)
    devices = (first.device, *first.circuit.devices.values())
    if curves or batch.directions is None or len(batch.paths) < _REVERSE_FROM * outputs:
        return None
    if not all(device.in_reverse for device in devices):
        return None
    shared = jax.tree.map(
        lambda lane, moved: not lane and bool(np.any(moved)),
        jax.tree.map(lambda lane, moved: lane, batch.by_lane, batch.directions),
        batch.directions,
    )
    pairs = np.concatenate([batch.pairs, batch.settling[1]]).astype(int)
    if any(jax.tree.leaves(shared)) or np.any(pairs != pairs[0]):
        return None
    return advance_for_reverse(int(np.concatenate([batch.solutions, batch.settling[0]]).max()), int(pairs[0]))


def _along(batch: _Batch, values: list[np.ndarray], gradients: list[Any], of_mean: bool) -> list[np.ndarray]:
    """Derivatives [path, lane or case(, entry)] of each number, from the gradients of its sums over lanes: no lane
    acts on another."""
    leaves = jax.tree.leaves(batch.directions)

    def by_lane(gradient: Any) -> np.ndarray:
        parts = [
            # what a number does not depend on may be none itself (G_max of a family without)
            np.where(np.asarray(g) == 0, 0.0, np.asarray(g) * d).reshape(len(batch.paths), -1, d.shape[-1]).sum(axis=1)
            for g, d in zip(jax.tree.leaves(gradient), leaves, strict=True)
            if d.ndim > 1 and d.shape[-1] == len(batch.cases) * batch.lanes
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
            first = batch.experiments[0]
            measurements = tuple(first.measurements[name] for name in names)
            at, fixed = eqx.partition(jax.tree.map(_device_array, batch.start), eqx.is_inexact_array)
            count = len(batch.cases)
            index = jnp.asarray(np.tile(np.arange(batch.lanes), count), jnp.uint32)
            key = realisation_key(jnp.uint32(seed), index, jnp.uint32(0))
            arguments = (
                fixed,
                tuple(jnp.asarray(c, jnp.uint32) for c in (batch.solutions, batch.pairs)),
                tuple(jnp.asarray(c, jnp.uint32) for c in batch.settling),
                {name: jnp.asarray(spans) for name, spans in batch.windows.items()},
                jnp.asarray(first.protocol.frequencies),
                key,
                measurements,
                count,
                of_mean,
            )
            back = _back(batch, first, names, curves)
            moved: Any = None
            if slopes and batch.paths and back is not None:
                whole, gradients, others = _with_pullback(at, back, *arguments)
                moved = (_along(batch, [np.asarray(v) for v in whole[0]], gradients, of_mean), None)
            elif slopes and batch.paths:
                whole, moved, others = _with_slopes(
                    jax.tree.map(jnp.asarray, batch.directions), at, advance, *arguments
                )
            else:
                whole, others = _values(advance, *arguments, at)
            found |= _unpack(batch, names, of_mean, whole, moved, others, curves)
    return found


def _device_array(leaf: Any) -> Any:
    return jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf


def _unpack(
    batch: _Batch, names: Sequence[str], of_mean: bool, whole: Any, moved: Any, others: Any, curves: bool
) -> dict[Case, Reading]:
    (values, current), (status, intact, courses) = jax.tree.map(np.asarray, (whole, others))
    n, paths = batch.lanes, batch.paths
    found = {}
    for i, case in enumerate(batch.cases):
        lanes = slice(i, i + 1) if of_mean else slice(i * n, (i + 1) * n)
        own = intact[i * n : (i + 1) * n]
        reading = Reading(paths, left_out=1.0 - float(own.mean()))
        reading.current = current[:, i]
        if curves and lanes_needed(case.base, n) > 1:
            reading.courses = courses[:, i * n : (i + 1) * n].T[own]
        if moved is not None and moved[1] is not None:
            reading.current_slope = np.asarray(moved[1])[:, :, i]
        for k, name in enumerate(names):
            fine = (status[k][lanes] == OK) & np.isfinite(values[k][lanes])
            if not of_mean:
                fine &= own.reshape(-1, *([1] * (fine.ndim - 1)))
            slope = np.asarray(moved[0][k])[:, lanes] if moved is not None else None
            reading.add(name, values[k][lanes], fine, slope)
        found[case] = reading
    return found
