"""Derivatives of ensembles whose trajectories jump, for families that carry their score (``DeviceConfig.score``).

The ensemble's own program is differentiated in forward mode, with the batch that carries the score in place of the
devices; `critic.py` makes derivatives of what each realisation contributes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcdev.calibration.critic import HORIZON, Contributions, Estimate, estimate
from mcdev.circuits.contract import Circuit
from mcdev.configuration.experiment import Experiment
from mcdev.devices.contract import Devices, LaneKey, Score
from mcdev.integrators.noise import realisation_key
from mcdev.machine.environment import backend, computing
from mcdev.machine.threads import thread_pool
from mcdev.simulation.program import Place, Row, advance, compiler_options, rest
from mcdev.simulation.trial import BATCH, Drive, Trial

_BLOCK = 64  # lanes whose particles are sorted together
_WINDOW = 8.0  # coupling intervals in a window while a voltage is applied
_MOST_WINDOWS = 32  # of one straight piece
_GROWTH = 1.5  # of windows while no voltage is applied

_HELD: Any = None  # stands for the derivative of a count of steps


class Point(NamedTuple):
    """Where an ensemble is differentiated; or a direction, each array then being its derivative, with one more
    leading axis [parameter], and None where there is none."""

    devices: Devices
    """One lane a realisation; arrays [..., lane]."""
    circuit: Circuit
    rows: Drive
    """[sample]"""
    settle: Drive | None
    """Before the first sample."""


def point_of(experiment: Experiment, realisations: int, dtype: Any = np.float64) -> Point:
    """The ensemble of an experiment without a sweep, as its device is simulated for its score. float64 arrays are for
    differences of two points.

    Raises ValueError for a device or a setting that has no score.
    """
    experiment = experiment.model_copy(update={"device": score_of(experiment).table})
    with computing(np.dtype(dtype) == np.float64):
        trial = Trial(experiment)
        devices, circuit = trial.build(trial.draw(0, realisations), np.arange(realisations), dtype)
        return Point(devices, circuit, trial.rows, trial.settle)


def lacks(experiment: Experiment) -> str:
    """Why the estimator does not know the devices of this experiment; "" where it does."""
    device = experiment.device
    if others := [place for place, table in experiment.beside.items() if not table.differentiable]:
        return f"the devices of {', '.join(others)} have noise, and the estimator knows that of [device] alone"
    try:
        return "" if device.score is not None else f"devices of kind {device.kind!r} have no score"
    except ValueError as error:
        return str(error)


def score_of(experiment: Experiment) -> Score:
    """How this device carries its score. Raises ValueError where it does not."""
    score: Score | None = experiment.device.score
    if score is None:
        raise ValueError(
            f"devices of kind {experiment.device.kind!r} have no score, so that this gradient is not theirs"
        )
    return score


def direction(at: Point, low: Point, high: Point, interval: float) -> Point:
    """Derivative of a point by one parameter, from two points that lie ``interval`` apart in it."""

    def slope(low: Any, high: Any) -> np.ndarray:
        return (np.asarray(high, np.float64) - np.asarray(low, np.float64)) / interval

    def of(low: Any, high: Any) -> Any:
        low, high = (eqx.filter(side, eqx.is_inexact_array) for side in (low, high))
        return jax.tree.map(slope, low, high)

    # The number of steps may differ between the points; at the point itself it is held, and its steps stretch.
    steps = 2 * at.rows.solutions * at.rows.pairs
    length = [side.rows.step * 2 * side.rows.solutions * side.rows.pairs for side in (low, high)]
    rows = Drive(
        slope(low.rows.start, high.rows.start),
        slope(low.rows.end, high.rows.end),
        _HELD,
        _HELD,
        slope(*length) / steps,
    )
    return Point(of(low.devices, high.devices), of(low.circuit, high.circuit), rows, None)


def stack(directions: list[Point]) -> Point:
    """Several directions as one, with the axis [parameter] first."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *directions)


def windows_of(rows: Drive) -> np.ndarray:
    """Ends of the windows of time (one past the last sample), at sample edges: a few in a pulse and growing ones in
    the quiet, so that each holds a like amount of what happens."""
    width = rows.step * 2 * rows.solutions * rows.pairs
    driven = np.maximum(np.abs(rows.start), np.abs(rows.end))
    quiet = driven <= 0.1 * driven.max(initial=0.0)
    joined = (rows.start[1:] == rows.end[:-1]) & (quiet[1:] == quiet[:-1])
    first = np.concatenate([[0], np.flatnonzero(~joined) + 1, [rows.start.size]])
    ends: list[int] = []
    last = 0.0
    for begin, end in itertools.pairwise(first):
        time = np.cumsum(width[begin:end])
        if quiet[begin] and last > 0:
            parts = max(2, int(np.log1p(time[-1] / last * (_GROWTH - 1)) / np.log(_GROWTH)))
            aims = np.cumsum(_GROWTH ** np.arange(parts)) if time[-1] > 4 * last else np.arange(1, parts + 1)
        else:
            parts = max(2, min(round(float(rows.solutions[begin:end].sum()) / _WINDOW), _MOST_WINDOWS))
            aims = np.arange(1, parts + 1)
        aims = aims * (time[-1] / aims[-1])
        cut = np.unique(np.abs(time[:, None] - aims).argmin(axis=0))
        ends.extend(int(begin + i + 1) for i in cut)
        if not quiet[begin]:
            last = time[-1] / parts
    return np.array(ends)


def _split(tree: Any) -> tuple[Any, Any]:
    return eqx.partition(tree, eqx.is_inexact_array)


def _along(function: Any, at: Any, towards: Any) -> tuple[Any, Any, Any]:
    """(value, derivatives [parameter, …], the rest) of a function that returns (value, rest)."""

    def one(along: Any) -> Any:
        return jax.jvp(function, (at,), (along,), has_aux=True)

    return jax.vmap(one, out_axes=(None, 0, None))(towards)


def _begin(fixed: Any, at: Any, towards: Any, key: LaneKey) -> tuple[Any, Any, Any]:
    """The rested carry; ``at`` are the differentiable leaves of (devices, circuit), ``fixed`` the others."""

    def function(at: Any) -> tuple[Any, Any]:
        devices, circuit = eqx.combine(at, fixed)
        return _split(rest(devices, circuit, key))

    return _along(function, at, towards)


def _go_on(fixed: Any, at: Any, towards: Any, key: LaneKey) -> tuple[Any, Any, Any]:
    """A batch of samples; leaves are of (devices, circuit, carry, rows). Returns the carry's leaves, the channels'
    means and the score with their derivatives; the others are the carry's and the features."""

    def function(at: Any) -> tuple[Any, Any]:
        devices, circuit, carry, rows = eqx.combine(at, fixed)
        lanes = carry.intact.shape[0]
        carry, seen = advance(devices, circuit, key, carry, rows, jnp.ones(lanes, bool), Place(lanes, lanes))
        leaves, others = _split(carry)
        return (leaves, seen.channels, seen.snapshot["score"][:, 0, 0]), (others, seen.snapshot["feature"][:, :, 0])

    return _along(function, at, towards)


class _Compiled:
    def __init__(self, backend: str):
        options = compiler_options(backend)
        self.begin = jax.jit(_begin, compiler_options=options)
        self.go_on = jax.jit(_go_on, compiler_options=options)
        self.feature = jax.jit(lambda devices, state: devices.features(state), compiler_options=options)


_programs: dict[str, _Compiled] = {}


def _of_group(score: Score, point: Point, tangents: Point, lanes: slice, size: int, dtype: Any) -> tuple[Any, Any]:
    """(devices, circuit) of these lanes, filled up to ``size`` with the last, and their tangents."""

    def cut(leaf: Any) -> np.ndarray:
        array = np.asarray(leaf)[..., lanes]
        missing = size - array.shape[-1]
        return np.concatenate([array, np.repeat(array[..., -1:], missing, axis=-1)], axis=-1).astype(dtype)

    (devices, circuit), (d_devices, d_circuit) = (
        jax.tree.map(lambda leaf: jnp.asarray(cut(leaf)), (of.devices, of.circuit)) for of in (point, tangents)
    )
    own, along = (score.carry(batch, point.devices) for batch in (devices, d_devices))
    return (own, circuit), (along, d_circuit)


def _run_group(
    way: Score,
    point: Point,
    tangents: Point,
    weights: Mapping[str, np.ndarray],
    windows: np.ndarray,
    key: LaneKey,
    lanes: slice,
    size: int,
    dtype: Any,
) -> tuple[Contributions, np.ndarray]:
    """Contributions of these realisations, and which of them are intact."""
    compiled = _programs.setdefault(backend(), _Compiled(backend()))
    whole, towards = _of_group(way, point, tangents, lanes, size, dtype)
    at, fixed = _split(whole)
    carry, d_carry, others = compiled.begin(fixed, at, towards, key)
    directions = jax.tree.leaves(towards)[0].shape[0]
    if point.settle is not None:
        nowhere = np.zeros((directions, point.settle.start.size))
        quiet = Drive(nowhere, nowhere, _HELD, _HELD, nowhere)
        for rows, d_rows in _batches(point.settle, quiet, dtype):
            (carry, _, _), (d_carry, _, _), (others, _) = compiled.go_on(
                (*fixed, others, rows[1]), (*at, carry, rows[0]), (*towards, d_carry, d_rows), key
            )
    outputs = next(iter(weights.values())).shape[0]
    value = np.zeros((outputs, windows.size, size))
    tangent = np.zeros((outputs, directions, size))
    score = np.zeros((1 + windows.size, directions, size))
    score[0] = d_carry.state.score
    first = compiled.feature(whole[0], eqx.combine(carry, others).state)
    feature = np.zeros((windows.size + 1, *first.shape))
    feature[0] = first
    done = 0
    for rows, d_rows in _batches(point.rows, tangents.rows, dtype):
        (carry, means, _), (d_carry, d_means, d_score), (others, features) = compiled.go_on(
            (*fixed, others, rows[1]), (*at, carry, rows[0]), (*towards, d_carry, d_rows), key
        )
        samples = int(np.count_nonzero(np.asarray(rows[1].solutions)))
        for name, weight in weights.items():
            part = weight[:, done : done + samples]
            # The sum over a window's samples, as one product: the window each sample belongs to.
            belongs = np.searchsorted(windows, np.arange(done, done + samples), side="right")
            series = np.asarray(means[name], np.float64)[:samples]
            for w in np.unique(belongs):
                inside = belongs == w
                value[:, w] += part[:, inside] @ series[inside]
            tangent += np.einsum("ot,ptl->opl", part, np.asarray(d_means[name], np.float64)[:, :samples])
        for w, end in enumerate(windows):
            if done < end <= done + samples:
                score[w + 1] = np.asarray(d_score)[:, end - done - 1]
                feature[w + 1] = np.asarray(features)[end - done - 1]
        done += samples
    score = np.diff(score, axis=0, prepend=0.0)
    count = lanes.stop - lanes.start
    intact = np.asarray(eqx.combine(carry, others).intact)[:count]
    return Contributions(*(part[..., :count] for part in (value, tangent, score, feature[:-1]))), intact


def _batches(rows: Drive, d_rows: Drive, dtype: Any) -> Iterator[tuple[Any, Any]]:
    """((differentiable columns, counts), tangents) of batches of samples, filled up with samples of no steps."""
    done = 0
    for part in rows.batches():
        samples = slice(done, done + part.start.size)
        missing = BATCH - part.start.size

        def fill(column: Any, kind: Any, missing: int = missing) -> Array:
            column = np.asarray(column)
            whole = np.concatenate([column, np.zeros((*column.shape[:-1], missing))], -1)
            return jnp.asarray(whole[..., None].astype(kind))  # one point

        start, end, step = (fill(column, dtype) for column in (part.start, part.end, part.step))
        counts = Row(_HELD, _HELD, fill(part.solutions, np.uint32), fill(part.pairs, np.uint32), _HELD)
        d_start, d_end, d_step = (fill(c[:, samples], dtype) for c in (d_rows.start, d_rows.end, d_rows.step))
        yield (Row(start, end, _HELD, _HELD, step), counts), Row(d_start, d_end, _HELD, _HELD, d_step)
        done += part.start.size


def gradient(
    experiment: Experiment,
    point: Point,
    tangents: Point,
    weights: Mapping[str, np.ndarray],
    seed: int,
    horizon: int | None = HORIZON,
    windows: np.ndarray | None = None,
    threads: int | None = None,
) -> Estimate:
    """Mean over realisations of linear outputs, and its derivatives.

        y_o = Σ_channel Σ_t weight[channel][o, t] channel[t]          (SI units; sample means as recorded)

    ``point`` is ``point_of(experiment, realisations)``, ``tangents`` the stacked directions. Realisations have the
    random numbers of an ensemble with this ``seed`` (first cycle), so they do not depend on the size of the group
    or of the ensemble. ``windows`` (ends, in samples) default to ``windows_of(point.rows)``; ``horizon`` None leaves
    out the critic: no bias, more noise.
    """
    contributions, left_out = contribute(experiment, point, tangents, weights, seed, windows, threads)
    return estimate(contributions, horizon, left_out)


def contribute(
    experiment: Experiment,
    point: Point,
    tangents: Point,
    weights: Mapping[str, np.ndarray],
    seed: int,
    windows: np.ndarray | None = None,
    threads: int | None = None,
) -> tuple[Contributions, float]:
    """The simulation behind ``gradient``: contributions of the intact realisations, share of the others."""
    dtype = np.dtype(experiment.precision)
    realisations, score = jax.tree.leaves(point.devices)[0].shape[-1], score_of(experiment)
    windows = windows_of(point.rows) if windows is None else np.asarray(windows)
    size = min(Trial(experiment).lanes, -(-realisations // _BLOCK) * _BLOCK)
    x64 = dtype == np.float64

    def one(first: int) -> tuple[Contributions, np.ndarray]:
        with computing(x64):
            index = jnp.arange(first, first + size, dtype=jnp.uint32)
            key = jax.jit(realisation_key)(jnp.full_like(index, seed), index, jnp.uint32(0))
            lanes = slice(first, min(first + size, realisations))
            return _run_group(score, point, tangents, weights, windows, key, lanes, size, dtype)

    with thread_pool(threads) as pool:
        groups = list(pool.map(one, range(0, realisations, size)))
    whole = Contributions(*(np.concatenate(parts, axis=-1) for parts in zip(*(g[0] for g in groups), strict=True)))
    intact = np.concatenate([g[1] for g in groups])
    for part in whole:
        intact &= np.all(np.isfinite(part), axis=tuple(range(part.ndim - 1)))
    return Contributions(*(part[..., intact] for part in whole)), 1.0 - float(intact.mean())
