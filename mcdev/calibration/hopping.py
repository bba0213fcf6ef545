"""Gradients of an ensemble of hopping particles: damped tangents and a likelihood ratio, in forward mode.

Differentiating a Langevin trajectory at fixed random numbers is finite, has small error bars and is wrong: tangents
grow as exp(|U''| t/η) on barrier tops, and what they are worth is carried by events that are never sampled. So the
growing part is taken out of the tangent and put into the weight of the trajectory (Girsanov 1960; for likelihood
ratios of Markov chains Glynn 1990, doi:10.1145/84537.84552). For each step x' = x + h F(x) + s ξ, with J = ∂F/∂x,

    δx'  = (1 + h min(J, 0)) δx + h ∂F/∂p + F ∂h/∂p + ξ ∂s/∂p       the tangent that a recorded number sees
    S'   = S + Σ_i ξ_i h max(J_i, 0) δx_i/s                          the score: derivative of the log-likelihood

    d E[y]/dp = E[∂y·δx + (y - b) S],     b any baseline that does not see the noise ahead of it.

`docs/gradients.md` derives it, and says what it was compared with.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, UInt32

from mcdev.circuits.contract import Circuit
from mcdev.configuration.experiment import Experiment
from mcdev.devices.contract import Devices, LaneKey, PerLane
from mcdev.devices.diffusive import Diffusive, DiffusiveDevices, DiffusiveState, Integrator, Ohmic
from mcdev.devices.landscape import Landscape, PeriodicPinning
from mcdev.devices.tunnelling import relative_conductance
from mcdev.integrators.interval import Interval
from mcdev.integrators.langevin import Positions, euler_maruyama, reflect
from mcdev.integrators.noise import normal_pair, realisation_key
from mcdev.machine.environment import backend, computing
from mcdev.machine.threads import thread_pool
from mcdev.simulation.program import Place, Row, advance, compiler_options, rest
from mcdev.simulation.trial import BATCH, Drive, Trial

HORIZON = 8
"""Windows after which the critic stands for the rest of an output: two periods of a pulse train."""
_BLOCK = 64  # lanes whose particles are sorted together
_MOST_WELLS = 16
_WINDOW = 8.0  # coupling intervals in a window while a voltage is applied
_MOST_WINDOWS = 32  # of one straight piece
_GROWTH = 1.5  # of windows while no voltage is applied
_SPARSE = 0.5  # ρ_0 of the draw at rest, where the density of a half that is spread evenly is one
_RIDGE = 1.0  # in realisations: features are scaled to unit variance


_HELD: Any = None  # stands for the derivative of a count of steps


class Point(NamedTuple):
    """Where an ensemble is differentiated; or a direction, each array then being its derivative, with one more
    leading axis [parameter], and None where there is none."""

    devices: DiffusiveDevices
    """One lane a realisation; arrays [..., lane]."""
    circuit: Circuit
    rows: Drive
    """[sample]"""
    settle: Drive | None
    """Before the first sample."""


class Contributions(NamedTuple):
    """What every realisation contributes to outputs that are sums over windows of time."""

    value: np.ndarray
    """[output, window, realisation]"""
    tangent: np.ndarray
    """Damped tangent of the output, [output, parameter, realisation]."""
    score: np.ndarray
    """Growth of S before the first sample (draw at rest and equilibration), then in each window:
    [1 + window, parameter, realisation]."""
    feature: np.ndarray
    """State at the start of each window, [window, feature, realisation]. The first two are ln g and g."""


class Estimate(NamedTuple):
    """Outputs and their derivatives by the parameters, with standard errors."""

    value: np.ndarray
    """[output]"""
    value_se: np.ndarray
    gradient: np.ndarray
    """[output, parameter]"""
    gradient_se: np.ndarray
    """With the error of the critic's own fit."""
    parts: np.ndarray
    """Whose mean is the gradient, [output, parameter, realisation]."""
    influence: np.ndarray
    """What each realisation changes: parts, and its share in the critic's fit, [output, parameter, realisation]."""
    left_out: float
    """Share of realisations that broke down or whose tangents did, and that are in none of the above."""


# ------------------------------------------------------------------------------------- where


def point_of(experiment: Experiment, realisations: int, dtype: Any = np.float64) -> Point:
    """The ensemble of an experiment without a sweep, as this gradient simulates it: by Euler-Maruyama at its default
    step, since the weight of a step must be that of one Gaussian. float64 arrays are for differences of two points.

    Raises ValueError for a device or an interaction that has no such gradient.
    """
    device = experiment.device
    if not isinstance(device, Diffusive):
        raise ValueError(f"this gradient is for devices of kind 'diffusive', not {device.kind!r}")
    if device.interaction > 0:
        raise ValueError(
            "with an interaction between the particles the force on one depends on all others, which this gradient "
            "does not know: use differences with common random numbers, or interaction = 0"
        )
    integrator = Integrator(scheme="euler_maruyama", coupling_interval=device.integrator.coupling_interval)
    experiment = experiment.model_copy(update={"device": device.model_copy(update={"integrator": integrator})})
    with computing(np.dtype(dtype) == np.float64):
        trial = Trial(experiment)
        devices, circuit = trial.build(trial.draw(0, realisations), np.arange(realisations), dtype)
        assert isinstance(devices, DiffusiveDevices)
        return Point(devices, circuit, trial.rows, trial.settle)


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


# ------------------------------------------------------------------------------------- one step


@jax.custom_jvp
def _move(
    landscape: Landscape, live: Bool[Array, ""], pull: PerLane, h: PerLane, s: PerLane, x: Positions, xi: Positions
) -> tuple[Positions, PerLane]:
    """One step of Euler-Maruyama between the walls, and what it adds to the score: zero, but not its tangent."""
    return reflect(euler_maruyama(lambda x: landscape.force(x) + pull, x, h, s, xi, x)), jnp.zeros_like(h)


@_move.defjvp
def _move_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    landscape, live, pull, h, s, x, xi = primals
    d_landscape, _, d_pull, d_h, d_s, d_x, _ = tangents

    leaves = jax.tree.leaves(landscape)
    per_lane = all(leaf.ndim == 1 for leaf in leaves)  # not so with random pinning, whose wells differ

    def forces() -> tuple[Positions, Positions, list[Positions]]:
        # Every particle feels its own position alone, so one product gives the diagonal that is the whole Jacobian.
        force, slope = jax.jvp(landscape.force, (x,), (jnp.ones_like(x),))
        return force + pull, slope, _slopes(landscape, x) if per_lane else []

    force, slope, by_leaf = _apart(live, forces)
    after = x + h * force + s * xi
    free = h * d_pull + force * d_h + xi * d_s + (1.0 + h * jnp.minimum(slope, 0.0)) * d_x
    if per_lane:
        for by, along in zip(by_leaf, jax.tree.leaves(d_landscape), strict=True):
            free += h * by * along
    else:
        free += h * jax.jvp(lambda landscape: landscape.force(x), (landscape,), (d_landscape,))[1]
    mirrored = jnp.where(jnp.abs(after) > 1.0, -free, free)
    excess = jnp.sum(h / s * jnp.maximum(slope, 0.0) * xi * d_x, axis=0)
    return (reflect(after), jnp.zeros_like(h)), (mirrored, excess)


def _apart(live: Bool[Array, ""], compute: Callable[[], Any]) -> Any:
    """The same numbers, behind the border of a conditional. The compiler fuses across anything else, and would repeat
    them, random numbers included, in each direction's tangent: three times the cost. ``live`` must be true and
    unknown to the compiler."""
    shapes = jax.eval_shape(compute)
    return lax.cond(live, compute, lambda: jax.tree.map(lambda out: jnp.zeros(out.shape, out.dtype), shapes))


def _slopes(landscape: Landscape, x: Positions) -> list[Positions]:
    """Derivative of the force by each array [lane] of the landscape."""
    leaves, structure = jax.tree.flatten(landscape)

    def by(k: int) -> Positions:
        def force(leaf: Array) -> Positions:
            return jax.tree.unflatten(structure, [*leaves[:k], leaf, *leaves[k + 1 :]]).force(x)

        return jax.jvp(force, (leaves[k],), (jnp.ones_like(leaves[k]),))[1]

    return [by(k) for k in range(len(leaves))]


@jax.custom_jvp
def _conductance(x: Positions, tunnelling_length: PerLane) -> PerLane:
    """g of the chain, a few lanes at a time: the sorting network must stay behind the border of a loop, or the
    compiler copies it into everything that uses its result."""
    particles, lanes = x.shape
    blocks = (x.reshape(particles, -1, _BLOCK).swapaxes(0, 1), tunnelling_length.reshape(-1, _BLOCK))
    return lax.map(lambda block: relative_conductance(*block), blocks).reshape(lanes)


@_conductance.defjvp
def _conductance_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[PerLane, PerLane]:
    """With g = n/Σ e_k over the n gaps, e_k = exp[(gap_k - 2/n)/λ]:

    ∂g/∂x_i = -(g²/n) (e_left of i - e_right of i)/λ      ∂g/∂λ = (g²/n) Σ e_k (gap_k - 2/n)/λ²

    The gaps beside each particle are found once for all directions; tangents through the sorting network would
    sort them again for each.
    """
    x, length = primals
    g, n = _conductance(x, length), x.shape[0] + 1
    to_left, to_right = _gaps(x)
    first = jnp.min(x, axis=0) + 1.0

    def term(gap: Array) -> Array:
        return jnp.exp((gap - 2.0 / n) / length)

    by_x = (term(to_right) - term(to_left)) / length
    stretch = jnp.sum(term(to_right) * (to_right - 2.0 / n), axis=0) + term(first) * (first - 2.0 / n)
    rise = jnp.sum(by_x * tangents[0], axis=0) + stretch / length**2 * tangents[1]
    return g, g * g / n * rise


def _gaps(x: Positions) -> tuple[Positions, Positions]:
    """Distance from each particle to its neighbours, or the walls, on the left and on the right."""

    def body(j: int, nearest: tuple[Positions, Positions]) -> tuple[Positions, Positions]:
        left, right = nearest
        return jnp.maximum(left, jnp.where(x[j] < x, x[j], -1.0)), jnp.minimum(right, jnp.where(x[j] > x, x[j], 1.0))

    left, right = lax.fori_loop(0, x.shape[0], body, (jnp.full_like(x, -1.0), jnp.ones_like(x)))
    return x - left, right - x


class ScoredState(NamedTuple):
    x: Positions
    theta: PerLane
    g: PerLane
    score: PerLane
    """Zero; its tangent is the derivative of the log-likelihood of all noise so far."""


class ScoredDevices(Devices):
    """Diffusive memristors whose tangents are damped and whose trajectories carry their score."""

    noisy: ClassVar[bool] = True

    inner: DiffusiveDevices
    wells: int = eqx.field(static=True)

    def rest(self, key: LaneKey) -> ScoredState:
        """The equilibrium inside each half of the gap follows the parameters, and its tangents are damped too.

        By inversion a particle moves with u = -∂F/ρ, F the cumulated density: far where ρ is small, on the barriers.
        It is let go at c u only, c = ρ/(ρ + ρ_0), and continuity, ∂ρ = -(ρ c u)' + ρ S, leaves for the score

            S = (1 - c) (∂_p ln ρ + c u ∂_x ln ρ).
        """
        draw, held = self.inner.draw(key), lax.stop_gradient
        zero = jnp.zeros_like(self.inner.theta_0)
        if self.inner.bridge:
            x, score = draw.x, zero
        else:
            log_z = jnp.where(draw.on_left, draw.log_left, draw.log_right)

            def log_density(x: Positions) -> Positions:
                return -draw.landscape.single_particle_energy(x) / self.inner.theta_0 - log_z

            damp = held(jax.nn.sigmoid(log_density(draw.x) - np.log(_SPARSE)))
            x = held(draw.x) + damp * (draw.x - held(draw.x))
            log_weight = (1.0 - damp) * log_density(x)
            if self.inner.left is None:  # which half was drawn, too
                log_weight += log_z - jnp.logaddexp(draw.log_left, draw.log_right)
            score = jnp.sum(log_weight - held(log_weight), axis=0)
        g = _conductance(x, self.inner.parameters["tunnelling_length"])
        return ScoredState(x, self.inner.theta_0 + zero, g, score)

    def current_law(self, state: ScoredState) -> Ohmic:
        return Ohmic(self.inner.parameters["maximum_conductance"] * state.g)

    def advance(
        self,
        state: ScoredState,
        voltage: PerLane,
        current: PerLane,
        interval: Interval,
        key: LaneKey,
        clock: UInt32[Array, " lane"],
    ) -> ScoredState:
        """All lanes take the same number of steps here."""
        move, live = self.inner.kinetics(state.theta, voltage, current, interval), interval.most > 0
        particle = jnp.arange(state.x.shape[0], dtype=jnp.uint32)[:, None]

        def body(i: UInt32[Array, ""], carry: tuple[Positions, PerLane]) -> tuple[Positions, PerLane]:
            x, score = carry
            counter = (jnp.broadcast_to(clock + i, x.shape), particle)
            noise: tuple[Positions, Positions] = _apart(live, lambda: normal_pair(key, counter, state.x.dtype))
            for xi in noise:
                x, excess = _move(self.inner.landscape, live, move.pull, move.h, move.s, x, xi)
                score = score + excess
            return x, score

        x, score = lax.fori_loop(jnp.uint32(0), interval.most, body, (state.x, state.score))
        g = _conductance(x, self.inner.parameters["tunnelling_length"])
        return ScoredState(x, move.theta, g, score)

    def observe(self, state: ScoredState, voltage: PerLane) -> dict[str, PerLane]:
        return {"temperature": state.theta * self.inner.kelvin}

    def profile(self, state: ScoredState) -> dict[str, Float[Array, "bin lane"]]:
        return {}

    def snapshot(self, state: ScoredState) -> dict[str, Float[Array, "part lane"]]:
        """The score, and what a critic may know of the state: ln g, g, θ, the largest gap, particles in each well."""
        return {"score": state.score[None], "feature": lax.stop_gradient(self.features(state))}

    def features(self, state: ScoredState) -> Float[Array, "feature lane"]:
        to_left, to_right = _gaps(state.x)
        largest = jnp.maximum(jnp.max(to_left, axis=0), jnp.max(to_right, axis=0))
        well = self._well(state.x)
        held = [jnp.sum(well == k, axis=0).astype(state.x.dtype) for k in range(self.wells)]
        return jnp.stack([jnp.log(state.g), state.g, state.theta, largest, *held])

    def _well(self, x: Positions) -> Positions:
        """Number of the pinning well that holds each particle, from the left; equal bins if they are random."""
        pinning = self.inner.landscape.pinning
        if not isinstance(pinning, PeriodicPinning):
            return jnp.clip(jnp.floor((x + 1.0) * (0.5 * self.wells)), 0, self.wells - 1)
        lowest, highest = (jnp.round(end * pinning.per_period + pinning.turns + 0.25) for end in (-1.0, 1.0))
        number = jnp.round(x * pinning.per_period + pinning.turns + 0.25) - lowest
        return jnp.floor(number * jnp.minimum(self.wells / (highest - lowest + 1.0), 1.0))

    def intact(self, state: ScoredState) -> Bool[Array, " lane"]:
        held = DiffusiveState(state.x, state.theta, state.x, state.g)
        return self.inner.intact(held)


def _wells(devices: DiffusiveDevices) -> int:
    pinning = devices.landscape.pinning
    if not isinstance(pinning, PeriodicPinning):
        return _MOST_WELLS
    return min(int(np.ceil(2 * float(np.max(np.asarray(pinning.per_period))))) + 1, _MOST_WELLS)


# ------------------------------------------------------------------------------------- the program


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


def _of_group(point: Point, tangents: Point, lanes: slice, size: int, dtype: Any) -> tuple[Any, Any]:
    """(devices, circuit) of these lanes, filled up to ``size`` with the last, and their tangents."""

    def cut(leaf: Any) -> np.ndarray:
        array = np.asarray(leaf)[..., lanes]
        missing = size - array.shape[-1]
        return np.concatenate([array, np.repeat(array[..., -1:], missing, axis=-1)], axis=-1).astype(dtype)

    (devices, circuit), (d_devices, d_circuit) = (
        jax.tree.map(lambda leaf: jnp.asarray(cut(leaf)), (of.devices, of.circuit)) for of in (point, tangents)
    )
    wells = _wells(point.devices)
    return (ScoredDevices(devices, wells), circuit), (ScoredDevices(d_devices, wells), d_circuit)


def _run_group(
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
    whole, towards = _of_group(point, tangents, lanes, size, dtype)
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


def hopping_gradient(
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
    """The simulation behind ``hopping_gradient``: contributions of the intact realisations, share of the others."""
    dtype = np.dtype(experiment.precision)
    realisations = point.devices.theta_0.shape[-1]
    windows = windows_of(point.rows) if windows is None else np.asarray(windows)
    size = min(Trial(experiment).lanes, -(-realisations // _BLOCK) * _BLOCK)
    x64 = dtype == np.float64

    def one(first: int) -> tuple[Contributions, np.ndarray]:
        with computing(x64):
            index = jnp.arange(first, first + size, dtype=jnp.uint32)
            key = jax.jit(realisation_key)(jnp.full_like(index, seed), index, jnp.uint32(0))
            lanes = slice(first, min(first + size, realisations))
            return _run_group(point, tangents, weights, windows, key, lanes, size, dtype)

    with thread_pool(threads) as pool:
        groups = list(pool.map(one, range(0, realisations, size)))
    whole = Contributions(*(np.concatenate(parts, axis=-1) for parts in zip(*(g[0] for g in groups), strict=True)))
    intact = np.concatenate([g[1] for g in groups])
    for part in whole:
        intact &= np.all(np.isfinite(part), axis=tuple(range(part.ndim - 1)))
    return Contributions(*(part[..., intact] for part in whole)), 1.0 - float(intact.mean())


# ------------------------------------------------------------------------------------- the estimate


class _Fit(NamedTuple):
    """A ridge regression and, for each realisation, its prediction by the fit to all others."""

    prediction: np.ndarray
    """[realisation, output]"""
    surprise: np.ndarray
    """Value minus prediction."""
    design: np.ndarray
    """[realisation, feature], scaled."""
    inverse: np.ndarray
    """[feature, feature]: of the design's normal matrix."""


def _fit(features: np.ndarray, values: np.ndarray) -> _Fit:
    """Predict values [realisation, output] from features [feature, realisation]; y_i - f_-i = (y_i - f_i)/(1 - H_ii).

    Leaving out one matters: a fit that has seen the realisation it is subtracted from takes away part of the
    signal, features over realisations of it.
    """
    centred = features.T - features.mean(axis=1)
    spread = centred.std(axis=0)
    varies = spread > 1e-6 * np.maximum(np.abs(features).max(axis=1), 1e-300)
    design = np.column_stack([np.ones(features.shape[1]), centred[:, varies] / spread[varies]])
    penalty = np.full(design.shape[1], _RIDGE)
    penalty[0] = 0.0
    inverse = np.linalg.inv(design.T @ design + np.diag(penalty))
    leverage = np.sum((design @ inverse) * design, axis=1)
    surprise = (values - design @ (inverse @ (design.T @ values))) / (1.0 - leverage[:, None])
    return _Fit(values - surprise, surprise, design, inverse)


def estimate(contributions: Contributions, horizon: int | None = HORIZON, left_out: float = 0.0) -> Estimate:
    """Gradients from contributions:

        g = mean_i [∂y_i + Σ_w ΔS_wi (Σ_{u=w}^{w+K-1} y_ui + V_{w+K,i} - b_wi)]

    with V_w the critic, a regression of what y still gains from window w on upon the state's features there, and
    b_w a regression of the bracket upon (ln g, g) at the start of w, both leaving out realisation i.
    """
    value, tangent, score, feature = contributions
    windows, realisations = value.shape[1:]
    if realisations < 2 * (feature.shape[1] + 1):
        raise ValueError(
            f"{realisations} intact realisations are too few for a critic of {feature.shape[1]} features: expected "
            f"at least {2 * (feature.shape[1] + 1)}"
        )
    later = np.cumsum(value[:, ::-1], axis=1)[:, ::-1].transpose(1, 2, 0)  # [window, realisation, output]
    parts = tangent.copy()
    fits = 0.0
    for w in range(windows):
        aim = later[w]
        if not np.any(aim):
            break
        if horizon is not None and w + horizon < windows and np.any(later[w + horizon]):
            critic = _fit(feature[w + horizon], later[w + horizon])
            aim = aim - critic.surprise
            # An error of the critic's coefficients moves every term: its share per realisation, first order.
            moved = score[w + 1] + score[0] if w == 0 else score[w + 1]
            reach = (moved @ critic.design) @ critic.inverse  # [parameter, feature]
            fits = fits + np.einsum("pf,if,io->opi", reach, critic.design, critic.surprise)
        bracket = _fit(feature[w, :2], aim).surprise
        parts += bracket.T[:, None, :] * score[w + 1]
        if w == 0:  # the draw itself is noise that its features have seen
            parts += _fit(feature[0, :0], aim).surprise.T[:, None, :] * score[0]
    influence = parts + fits
    total = value.sum(axis=1)
    root = np.sqrt(realisations)
    return Estimate(
        value=total.mean(axis=-1),
        value_se=total.std(axis=-1, ddof=1) / root,
        gradient=parts.mean(axis=-1),
        gradient_se=influence.std(axis=-1, ddof=1) / root,
        parts=parts,
        influence=influence,
        left_out=left_out,
    )
