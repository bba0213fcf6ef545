"""A device in a circuit, under the voltages of protocols."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mcdev.check.current_law import check_law
from mcdev.check.examples import LANES, SLOPE, SPREAD, experiment_of
from mcdev.check.failure import Failure, first_line
from mcdev.circuits.several import flat
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import ConfigError
from mcdev.devices.contract import CIRCUIT_CHANNELS, CurrentLaw, Observable
from mcdev.integrators.noise import realisation_key
from mcdev.kinds import Kind, name_of
from mcdev.machine.environment import computing
from mcdev.schema import is_unit, typical
from mcdev.simulation import program
from mcdev.simulation.trial import Trial

SAMPLES, INTERVALS = 8, 32
"""Samples that are tried, and circuit intervals in each; operation by operation one interval is."""
_WIDTH = 1e-4  # of a parameter, over which differences are taken
_SMALL = 1e-6  # of the current: a change by the differences above that is smaller does not show
_VOLTS = 4.0  # that the voltages of a protocol are scaled to
_ROUNDING = 1e5  # rounding errors between compiled and eager


def check_pair(device: type[Kind], circuit: type[Kind], protocols: Sequence[type[Kind]]) -> Iterator[Failure]:
    """A device in a circuit, under each of these protocols; what a configuration refuses is not tried."""
    pair = f"{name_of(device)} in {name_of(circuit)}"
    first = True
    for protocol in protocols:
        name = f"{pair} under {name_of(protocol)}"
        try:
            experiment = experiment_of(device, circuit, protocol)
        except ConfigError as error:
            if not _unsuited(error):
                yield Failure(name, "examples that a configuration takes", str(error.problems[0]))
            continue
        try:
            failures = list(_run(name, experiment, whole=first))
        except Exception as error:  # a stranger's code
            yield Failure(name, "to run", first_line(error))
            return
        yield from failures
        first = False


def _unsuited(error: ConfigError) -> bool:
    """Whether a device or circuit is refused under a protocol because it has no linearised equations."""
    return any("linearised equations" in problem.message for problem in error.problems)


class _Group(NamedTuple):
    devices: Any
    circuit: Any
    key: Any


def _group(experiment: Experiment, draws: Mapping[str, np.ndarray], indices: np.ndarray, dtype: Any) -> _Group:
    key = realisation_key(jnp.uint32(1), jnp.asarray(indices, jnp.uint32), jnp.uint32(0))
    return _Group(*Trial(experiment).build(dict(draws), indices, dtype), key)


def _draws(experiment: Experiment) -> dict[str, np.ndarray]:
    """Each parameter somewhat different in each lane, on the side that its bounds leave; no two in the same way, since
    where two are equal a law may have a kink."""
    found = {}
    for number, (name, law) in enumerate(experiment.laws.items(), start=1):
        mark = experiment.units[name]
        side = -1.0 if mark.lt is not None or mark.le is not None else 1.0
        found[name] = typical(law) * (1.0 + side * SPREAD * (np.arange(LANES) + 0.1 * number))
    return found


def _rows(experiment: Experiment, dtype: Any) -> program.Row:
    """Some samples of the protocol's voltages, scaled to ``_VOLTS``, each of ``INTERVALS`` circuit intervals at
    the device's pace."""
    line = experiment.timeline
    which = np.linspace(0, line.samples - 1, SAMPLES).round().astype(int)
    largest = max(float(np.abs([line.start, line.end]).max()), 1e-300)
    start, end = _VOLTS * line.start[which] / largest, _VOLTS * line.end[which] / largest
    pace = experiment.pace(_VOLTS)
    if not np.isfinite(pace.step):  # the circuit chooses the steps by itself, through intervals of any length
        pace = experiment.device.pace(_VOLTS)
    ones = np.ones(SAMPLES, np.uint32)
    step = np.full(SAMPLES, min(pace.step, 0.5 * pace.coupling))
    columns = (start.astype(dtype), end.astype(dtype), INTERVALS * ones, ones, step.astype(dtype))
    return program.Row(*(jnp.repeat(jnp.asarray(column)[:, None], LANES, axis=1) for column in columns))


@eqx.filter_jit
def _rested(group: _Group) -> program.Carry:
    return program.rest(group.devices, group.circuit, group.key)


def _advanced(group: _Group, carry: program.Carry, rows: program.Row) -> tuple[Any, ...]:
    """Of the group: channels, profile, inner coordinates, and which lanes are intact."""
    counted = jnp.ones(LANES, bool)
    place = program.Place(LANES, LANES)
    carry, seen = program.advance(group.devices, group.circuit, group.key, carry, rows, counted, place)
    inner = {name: value[..., 0, :] for name, value in seen.snapshot.items()}  # one sweep point has all lanes
    profile = {name: value[..., 0] for name, value in seen.profile.items()}
    return seen.channels, profile, inner, carry.intact


_compiled = eqx.filter_jit(_advanced)


def _run(name: str, experiment: Experiment, whole: bool) -> Iterator[Failure]:
    """``whole``: eager and with derivatives, too, which no protocol changes."""
    dtype, indices, draws = np.dtype(experiment.precision), np.arange(LANES), _draws(experiment)
    with computing(dtype == np.float64):
        rows = _rows(experiment, dtype)
        group = _group(experiment, draws, indices, dtype)
        built = {"build() of the device": group.devices, "build() of the circuit": group.circuit}
        if unlike := _without_lanes(name, built):
            yield unlike
            return
        rested = _rested(group)
        states = {"rest() of the device": rested.state, "rest() of the circuit": rested.circuit}
        if unlike := _without_lanes(name, states):
            yield unlike
            return
        means, profile, inner, intact = found = jax.tree.map(np.asarray, _compiled(group, rested, rows))
        wrong = list(_shapes(name, experiment, *found))
        yield from wrong
        if wrong:
            return
        for channel, series in (means | profile | inner).items():
            if not np.isfinite(series).all():
                lanes = sorted(set(np.nonzero(~np.isfinite(series))[-1].tolist()))
                yield Failure(f"{name}, {channel}", "finite numbers", f"others in lanes {lanes}")
                return
        if not intact.all():
            yield Failure(name, "every lane intact", str(intact.tolist()))
            return
        yield from _independent(name, experiment, draws, rows, means, inner)
        if not whole:
            return
        yield from check_law(name, _law_of(group, rested), LANES * group.circuit.copies)
        once = program.Row(*(column[:1] for column in rows._replace(solutions=jnp.ones_like(rows.solutions))))
        first = jax.tree.map(np.asarray, _compiled(group, rested, once)[0])
        with jax.disable_jit():
            eager = _advanced(group, rested, once)[0]
        units = {label: about.unit for label, about in (CIRCUIT_CHANNELS | experiment.channels).items()}
        for channel in means:
            off = np.abs(first[channel] - np.asarray(eager[channel])).max()
            like = [np.abs(means[label]).max() for label in means if units[label] == units[channel]]
            rounding = _ROUNDING * np.finfo(dtype).eps * max(*like, 1e-300)
            if off > rounding:
                yield Failure(f"{name}, {channel}", "the same compiled and not", f"a difference of {off:.3g}")
    if experiment.device.differentiable:
        with computing(True):
            yield from _gradient(name, experiment, draws)


def _without_lanes(name: str, made: Mapping[str, Any]) -> Failure | None:
    """The first array that has not the lanes last, of what these parts made."""
    for part, tree in made.items():
        for leaf in jax.tree.leaves(tree):
            if np.shape(leaf)[-1:] != (LANES,):
                return Failure(f"{name}, {part}", "arrays with the lanes last", str(np.shape(leaf)))
    return None


def _shapes(
    name: str,
    experiment: Experiment,
    means: dict[str, np.ndarray],
    profile: dict[str, np.ndarray],
    inner: dict[str, np.ndarray],
    intact: np.ndarray,
) -> Iterator[Failure]:
    device = experiment.device
    described: dict[str, Observable] = experiment.channels | device.coordinates | device.profiles
    for label, about in described.items():
        if not is_unit("" if about.unit == "1" else about.unit) or not about.long_name.strip():
            yield Failure(f"{name}, {label}", "a unit that can be read (or 1) and a name in words", str(tuple(about)))
    parts: tuple[tuple[str, dict[str, np.ndarray], Iterable[str], tuple[int, ...]], ...] = (
        ("observe()", means, (*CIRCUIT_CHANNELS, *experiment.channels), (SAMPLES, LANES)),
        ("snapshot()", inner, device.coordinates, (SAMPLES, device.parts, LANES)),
        ("profile()", profile, device.profiles, (SAMPLES, device.profile_bins.size)),
    )
    for what, arrays, names, shape in parts:
        if set(arrays) != set(names):
            yield Failure(f"{name}, {what}", f"{', '.join(names) or 'nothing'}", ", ".join(arrays) or "nothing")
        for label, array in arrays.items():
            if array.shape != shape:
                yield Failure(f"{name}, {label}", f"shape {shape}", str(array.shape))
    if intact.shape != (LANES,) or intact.dtype != bool:
        yield Failure(f"{name}, intact()", f"truth values of shape ({LANES},)", f"{intact.dtype} {intact.shape}")


def _independent(
    name: str,
    experiment: Experiment,
    draws: Mapping[str, np.ndarray],
    rows: program.Row,
    means: dict[str, np.ndarray],
    inner: dict[str, np.ndarray],
) -> Iterator[Failure]:
    """A lane stays where it is and has copies of itself for neighbours, instead of others."""
    lane, dtype = 1, np.dtype(experiment.precision)
    alone = {key: np.full(LANES, values[lane]) for key, values in draws.items()}
    group = _group(experiment, alone, np.full(LANES, lane), dtype)
    own_means, _, own_inner, _ = jax.tree.map(np.asarray, _compiled(group, _rested(group), rows))
    for channel, series in (means | inner).items():
        other = (own_means | own_inner)[channel]
        if not np.array_equal(series[..., lane], other[..., lane]):
            off = np.abs(series[..., lane] - other[..., lane]).max()
            yield Failure(f"{name}, {channel}", "a lane that does not depend on its neighbours", f"{off:.3g} of change")


@eqx.filter_jit
def _law_of(group: _Group, carry: program.Carry) -> CurrentLaw:
    """Of all devices of the lanes."""
    copies = group.circuit.copies
    return flat(group.devices, copies).current_law(flat(carry.state, copies))


def _gradient(name: str, experiment: Experiment, draws: Mapping[str, np.ndarray]) -> Iterator[Failure]:
    """Of the current, by each parameter, along the same change of what is built from it."""
    rows, indices = _rows(experiment, np.float64), np.arange(LANES)
    here = _group(experiment, draws, indices, np.float64)
    for parameter, values in draws.items():
        h = _WIDTH * np.where(values == 0, 1.0, np.abs(values))
        low, high = (
            _group(experiment, {**draws, parameter: values + side * h}, indices, np.float64) for side in (-1, 1)
        )
        current, slope, difference = (np.asarray(each) for each in _slopes(here, low, high, rows))
        allowed = SLOPE * np.abs(difference).max() + _SMALL * np.abs(current).max()
        if not np.isfinite(slope).all() or np.abs(slope - difference).max() > allowed:
            at = np.unravel_index(int(np.argmax(np.abs(slope - difference))), slope.shape)
            yield Failure(
                f"{name}, derivative of the current by {parameter}", f"{difference[at]:.4g} A", f"{slope[at]:.4g} A"
            )


@eqx.filter_jit
def _slopes(here: _Group, low: _Group, high: _Group, rows: program.Row) -> tuple[Any, Any, Any]:
    """The current [sample, lane], and how it changes from low to high: by JAX's derivative, and by differences."""
    moving, still = eqx.partition(here, eqx.is_inexact_array)
    ends = [eqx.filter(side, eqx.is_inexact_array) for side in (low, high)]
    tangent = jax.tree.map(lambda a, b: 0.5 * (b - a), *ends)

    def current(moving: Any) -> Any:
        group = eqx.combine(moving, still)
        return _advanced(group, _rested(group), rows)[0]["current"]

    value, slope = jax.jvp(current, (moving,), (tangent,))
    return value, slope, 0.5 * (current(ends[1]) - current(ends[0]))
