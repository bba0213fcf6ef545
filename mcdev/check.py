"""Whether kinds keep their contract: what `mcdev check` tries, and the house's own test.

A device is tried in every circuit, under the voltages of every protocol, with four lanes whose parameters differ, from
the beginning on: a few samples, each as long as the device's own steps allow. What is expected of each pair:

    shapes      every channel [sample, lane], inner coordinates [sample, part, lane], profiles [sample, bin]
    finite      every number, and every lane intact
    jit = eager the same to rounding, compiled or operation by operation
    lanes       a lane comes out the same, bit for bit, whatever its neighbours are
    gradient    where a device says that it is differentiable: against central differences

Measurements, fits, protocols and pictures are tried by themselves. Each failure is one line: what was expected, what
was found, for which pair.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from pydantic import TypeAdapter, ValidationError

from mcdev.circuits import CIRCUITS
from mcdev.circuits.contract import CircuitConfig
from mcdev.circuits.elements import ELEMENTS
from mcdev.circuits.elements.contract import Conductor
from mcdev.circuits.several import flat
from mcdev.configuration.experiment import Experiment, build
from mcdev.configuration.plugins import Plugin
from mcdev.configuration.preset_tables import presets
from mcdev.configuration.problems import ConfigError
from mcdev.devices import DEVICES
from mcdev.devices.contract import CIRCUIT_CHANNELS, CurrentLaw, DeviceConfig, Observable
from mcdev.fits import FITS
from mcdev.fits.contract import Fit
from mcdev.integrators.noise import realisation_key
from mcdev.kinds import Kind, name_of
from mcdev.machine.environment import computing
from mcdev.measured import Layout
from mcdev.measured.instruments import INSTRUMENTS, Instrument
from mcdev.measurements import MEASUREMENTS
from mcdev.measurements.contract import OK, Detector, Measurement, Train, Trajectory
from mcdev.protocols import PROTOCOLS
from mcdev.protocols.timeline import NoTimeline, Protocol, Timeline
from mcdev.schema import Unit, is_unit, typical, unit_of_key
from mcdev.simulation import program
from mcdev.simulation.reading import trajectory
from mcdev.simulation.spikes import detectors, in_series, train
from mcdev.simulation.trial import Trial

LANES, SAMPLES, INTERVALS = 4, 8, 32
"""Lanes and samples that are tried, and circuit intervals in each; operation by operation one interval is."""
_SPREAD = 0.01  # by which parameters differ from lane to lane
_WIDTH = 1e-4  # of a parameter, over which differences are taken
_SLOPE = 0.02  # of the largest derivative, by which one may be off
_SMALL = 1e-6  # of the current: a change by the differences above that is smaller does not show
_VOLTS = 4.0  # that the voltages of a protocol are scaled to
_ROUNDING = 1e5  # rounding errors between compiled and eager


class Failure(NamedTuple):
    """What was not as a contract says."""

    of: str
    """The kind or pair."""
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.of}: expected {self.expected}; found {self.found}"


# -------------------------------------------------------------------------------------- what is tried


def table_of(kind: type[Kind]) -> dict[str, Any]:
    """A table with which a kind can be tried, as a configuration has it: a preset if there is one, else its
    ``example``, and for each key that must be given the example of its unit."""
    name = name_of(kind)
    preset = next((key for key, each in presets().items() if each["device"]["kind"] == name), None)
    if issubclass(kind, DeviceConfig) and preset is not None:
        return {"preset": preset, **kind.example}
    needed = {
        key: next((mark.example if mark.unit else 1.0 for mark in field.metadata if isinstance(mark, Unit)), None)
        for key, field in kind.model_fields.items()
        if field.is_required()
    }
    return {"kind": name, **{key: text for key, text in needed.items() if text is not None}, **kind.example}


def experiment_of(device: type[Kind], circuit: type[Kind], protocol: type[Kind]) -> Experiment:
    """One of each. Raises ``ConfigError`` where they do not suit each other, or an example is none."""
    return build(
        {
            "name": "check",
            "device": table_of(device),
            "circuit": table_of(circuit),
            "protocol": table_of(protocol),
            "ensemble": {"devices": LANES},
            "measurements": {"on_off": {"kind": "on_off_ratio"}},
        }
    )


def check_house() -> Iterator[Failure]:
    """The house's own: every pair, and every kind by itself."""
    yield from check_kinds([*PROTOCOLS, *MEASUREMENTS, *FITS, *ELEMENTS, *INSTRUMENTS])
    yield from _pairs(list(DEVICES), list(CIRCUITS), list(PROTOCOLS))


def check_plugin(plugin: Plugin) -> Iterator[Failure]:
    """What a plugin defines: each of its devices, circuits and protocols with all of the other two."""

    def own(contract: Any) -> list[type[Any]]:
        return [kind for kind in plugin.kinds if issubclass(kind, contract)]

    devices, circuits, protocols = own(DeviceConfig), own(CircuitConfig), own(Protocol)
    yield from _pairs(devices, list(CIRCUITS), list(PROTOCOLS))
    yield from _pairs([each for each in DEVICES if each not in devices], circuits, list(PROTOCOLS))
    others = [each for each in CIRCUITS if each not in circuits]
    yield from _pairs([each for each in DEVICES if each not in devices], others, protocols)
    yield from check_kinds(plugin.kinds)


def _pairs(
    devices: Sequence[type[Kind]], circuits: Sequence[type[Kind]], protocols: Sequence[type[Kind]]
) -> Iterator[Failure]:
    for device in devices:
        for circuit in circuits:
            yield from check_pair(device, circuit, protocols)


def check_kinds(kinds: Iterable[type[Kind]]) -> Iterator[Failure]:
    """Each by itself."""
    for kind in kinds:
        yield from check_fields(kind)
        if issubclass(kind, Protocol):
            yield from check_protocol(kind)
        elif issubclass(kind, Measurement):
            yield from check_measurement(kind)
        elif issubclass(kind, Fit):
            yield from check_fit(kind)
        elif issubclass(kind, Conductor):
            yield from check_conductor(kind)
        elif issubclass(kind, Instrument):
            yield from check_instrument(kind)


# -------------------------------------------------------------------------------------- one kind


def check_fields(kind: type[Kind]) -> Iterator[Failure]:
    """Every number says its unit, and every key what it is."""
    name = name_of(kind)
    for key, field in kind.model_fields.items():
        if key == "kind":
            continue
        either = typing.get_origin(field.annotation) in (types.UnionType, typing.Union)
        numbers = float in (field.annotation, *(typing.get_args(field.annotation) if either else ()))
        if numbers and unit_of_key(kind, key) is None:
            yield Failure(f"{name}.{key}", 'a unit, like Annotated[float, Unit("V")]', "a number without one")
    for mark in (m for field in kind.model_fields.values() for m in field.metadata if isinstance(m, Unit)):
        if not is_unit(mark.unit):
            yield Failure(name, "units that can be read", mark.unit)
    if not (kind.__doc__ or "").strip() or kind.__doc__ == kind.__base__.__doc__:
        yield Failure(name, "a sentence under the class that says what it is", "none")


def _made(kind: type[Any]) -> Any:
    """The table of a kind by itself, read as from a configuration. Raises ``ValueError``."""
    return TypeAdapter(kind).validate_python(table_of(kind) | {"kind": name_of(kind)}, strict=False)


def check_protocol(kind: type[Protocol]) -> Iterator[Failure]:
    """Samples one after the other, and windows within them."""
    name = name_of(kind)
    try:
        protocol = _made(kind)
        line: Timeline = protocol.timeline()
        frequencies = np.asarray(protocol.frequencies)
    except (ValidationError, NoTimeline) as error:
        yield Failure(name, "an example that is a protocol", _first(error))
        return
    count = line.samples
    if line.edges.shape != (count + 1,) or line.start.shape != (count,) or line.end.shape != (count,):
        shapes = f"{line.edges.shape}, {line.start.shape}, {line.end.shape}"
        yield Failure(name, "edges [sample + 1], start and end [sample]", shapes)
        return
    if not (np.diff(line.edges) > 0).all() or line.edges[0] != 0:
        yield Failure(name, "edges that rise from zero", f"{line.edges[:4]} …")
    if not np.isfinite([line.start, line.end]).all():
        yield Failure(name, "finite voltages", "others")
    for window, spans in line.windows.items():
        good = spans.ndim == 2 and spans.shape[1:] == (2,) and spans.dtype.kind == "i"
        if not good or not ((spans[:, 0] >= 0) & (spans[:, 0] < spans[:, 1]) & (spans[:, 1] <= count)).all():
            yield Failure(
                f"{name}, window {window}", f"whole numbers [n, 2] between 0 and {count}", str(spans.tolist())
            )
    if "all" not in line.windows:
        yield Failure(name, "the window 'all'; make the timeline with mcdev.protocols.timeline.timeline", "none")
    if frequencies.ndim != 1 or not (frequencies > 0).all():
        yield Failure(name, "frequencies [n] above zero", str(frequencies))


def check_measurement(kind: type[Any], protocols: Iterable[type[Protocol]] = PROTOCOLS) -> Iterator[Failure]:
    """Value and status of a trajectory: under every one of these protocols that has the windows, compiled or not, on a
    device of which the conductance rises while a voltage is applied and falls afterwards."""
    name = name_of(kind)
    try:
        measurement: Measurement = _made(kind)
    except ValidationError as error:
        yield Failure(name, "an example that is a measurement", _first(error))
        return
    if not is_unit("" if measurement.unit == "1" else measurement.unit):
        yield Failure(name, "a unit that can be read, or 1", measurement.unit)
    if not measurement.criterion.strip():
        yield Failure(name, "a criterion: what exactly the number means", "nothing")
    tried = 0
    for other in protocols:
        protocol = _made(other)
        line = protocol.timeline()
        if not set(measurement.needs) <= set(line.windows) or measurement.conflict(line) is not None:
            continue
        if measurement.spectral and not protocol.frequencies.size:
            continue
        tried += 1
        yield from _measured(f"{name} under {name_of(other)}", measurement, protocol, line)
    if not tried:
        yield Failure(name, f"windows that some protocol has ({', '.join(measurement.needs)})", "no such protocol")


def _measured(pair: str, measurement: Measurement, protocol: Protocol, line: Timeline) -> Iterator[Failure]:
    with computing(True):
        seen = _trajectory(measurement, protocol, line)
        try:
            value, status = eqx.filter_jit(measurement.measure)(seen)
            eager = measurement.measure(seen)
        except Exception as error:  # a stranger's code
            yield Failure(pair, "measure() to give a value and a status", _first(error))
            return
    entries = measurement.entries(line)
    shape = () if entries is None else (entries,)
    if np.shape(value) != shape or np.shape(status) != shape:
        yield Failure(pair, f"value and status of shape {shape}", f"{np.shape(value)} and {np.shape(status)}")
        return
    if not np.isin(status, range(5)).all() or np.asarray(status).dtype.kind not in "iu":
        yield Failure(pair, "a status between 0 and 4 (mcdev.measurements.contract)", str(np.asarray(status)))
    fine = np.asarray(status) == OK
    if not np.isfinite(np.asarray(value)[fine]).all():
        yield Failure(pair, "a finite value where the status is ok", str(np.asarray(value)))
    if not np.array_equal(status, eager.status) or not np.allclose(value, eager.value, rtol=1e-9, equal_nan=True):
        yield Failure(pair, "the same compiled and not", f"{np.asarray(value)} and {np.asarray(eager.value)}")


def _trajectory(measurement: Measurement, protocol: Protocol, line: Timeline) -> Trajectory:
    """A device whose conductance follows V² with a delay of a tenth of the protocol."""
    widths = line.widths
    voltage = 0.5 * (line.start + line.end)
    rate, state, course = 10.0 / widths.sum(), 0.0, []
    for width, applied in zip(widths, voltage, strict=True):
        state += (applied**2 / (1.0 + applied**2) - state) * -np.expm1(-rate * width)
        course.append(state)
    conductance = 1e-6 + 1e-3 * np.array(course)
    frequency = np.asarray(protocol.frequencies, float)
    channels = {"voltage": voltage, "device_voltage": voltage, "current": conductance * voltage}
    channels |= dict.fromkeys(("conductance", *measurement.needs_channels), conductance)
    impedance = 1e3 + 1.0 / (1e-4 + 2j * np.pi * frequency * 1e-6)
    references = {"full_scale": 1e-3, "cell_constant": 1e-3}
    spikes = {each.name: _train(each, channels, widths, 1e-3) for each in detectors([measurement])}
    whole: Trajectory = jax.tree.map(
        jnp.asarray, trajectory(widths, channels, frequency, impedance, references, line.windows, spikes)
    )
    return whole


def check_instrument(kind: type[Any]) -> Iterator[Failure]:
    """A format takes no other text for its own, and refuses what is none of it with ``ValueError``."""
    name = name_of(kind)
    format_: Instrument = kind(kind=name)
    if not isinstance(getattr(format_, "title", None), str):
        yield Failure(f"{name}.title", "what people call it", "none")
    for text in ("", "a\n", "time (s),voltage (V)\n0,0\n1,1\n", '"', "\t\n\t;,\n" * 3):
        for what, call in (("recognises()", format_.recognises), ("read()", lambda t: format_.read(t, Layout()))):
            try:
                found = call(text)
            except ValueError:
                continue
            except Exception as error:  # a stranger's code
                yield Failure(f"{name}, {what} of {text!r}", "an answer or ValueError", _first(error))
                continue
            if what == "recognises()" and found is not False:
                yield Failure(f"{name}, {what} of {text!r}", "False: other formats have such texts", repr(found))


def check_conductor(kind: type[Conductor]) -> Iterator[Failure]:
    """The law of an element of circuits."""
    name = name_of(kind)
    try:
        element: Conductor = kind.model_validate({**table_of(kind), "between": ["a", "b"]}, strict=False)
    except ValidationError as error:
        yield Failure(name, "an example that is an element", _first(error))
        return
    spread = 1.0 + _SPREAD * np.arange(LANES)
    with computing(True):
        values = {key: jnp.asarray(typical(getattr(element, key)) * spread) for key in element.parameters()}
        try:
            law = element.law(values)
        except Exception as error:  # a stranger's code
            yield Failure(name, "law() to give a law", _first(error))
            return
        yield from _law(name, law, LANES)


def _train(detector: Detector, channels: Mapping[str, np.ndarray], widths: np.ndarray, full_scale: float) -> Train:
    """What a detector sees where each sample is one interval, over which a channel goes on from its last value."""
    course = {detector.signal: jnp.asarray(channels[detector.signal])[:, None]}
    (seen_by,) = in_series((detector,), course, {"full_scale": jnp.full(1, full_scale)})
    found: Train = jax.tree.map(lambda x: x[..., 0], train(seen_by, jnp.asarray(widths)[:, None], jnp.zeros(1, int)))
    return found


def check_fit(kind: type[Fit]) -> Iterator[Failure]:
    """Coefficients as named, and their derivatives by each value against differences."""
    name = name_of(kind)
    try:
        fit: Fit = kind.model_validate({"measurement": "m", "axis": "device.x", **table_of(kind)}, strict=False)
    except ValidationError as error:
        yield Failure(name, "an example that is a fit", _first(error))
        return
    for key, unit in fit.coefficients.items():
        if not is_unit("" if unit == "1" else unit):
            yield Failure(f"{name}.{key}", "a unit that can be read, or 1", unit)
    axis, value = (np.array(column) for column in fit.example_data)
    try:
        found, slopes = fit.fit(axis, value), fit.sensitivity(axis, value)
    except Exception as error:  # a stranger's code
        yield Failure(name, "fit() and sensitivity() of its example_data", _first(error))
        return
    if set(found) != set(fit.coefficients) or set(slopes) != set(fit.coefficients):
        names = f"{', '.join(found)} and {', '.join(slopes)}"
        yield Failure(name, f"fit() and sensitivity() to give {', '.join(fit.coefficients)}", names)
        return
    for i in range(axis.size):
        h = 1e-5 * np.abs(value).max()
        step = h * np.eye(axis.size)[i]
        high, low = fit.fit(axis, value + step), fit.fit(axis, value - step)
        for key in found:
            slope, largest = (high[key].value - low[key].value) / (2 * h), np.abs(slopes[key]).max()
            if not abs(slopes[key][i] - slope) <= _SLOPE * largest:
                yield Failure(f"{name}.{key}", f"a derivative of {slope:.4g} by value {i}", f"{slopes[key][i]:.4g}")


# -------------------------------------------------------------------------------------- a pair


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
            yield Failure(name, "to run", _first(error))
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
        found[name] = typical(law) * (1.0 + side * _SPREAD * (np.arange(LANES) + 0.1 * number))
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
        yield from _law(name, _law_of(group, rested), LANES * group.circuit.copies)
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
def _currents(law: CurrentLaw, volts: Any, lanes: int) -> tuple[Any, Any]:
    """Current and chord [voltage, lane]."""
    each = [jnp.full(lanes, volt) for volt in volts]
    return jnp.stack([law.current(v) for v in each]), jnp.stack([law.chord(v) for v in each])


@eqx.filter_jit
def _law_of(group: _Group, carry: program.Carry) -> CurrentLaw:
    """Of all devices of the lanes."""
    copies = group.circuit.copies
    return flat(group.devices, copies).current_law(flat(carry.state, copies))


def _law(name: str, law: CurrentLaw, lanes: int) -> Iterator[Failure]:
    """The current is of the voltage's sign, zero at zero, never decreasing, and the chord is its ratio to it."""
    size = jax.tree.leaves(law)[0].dtype
    volts = np.linspace(-1.0, 1.0, 11, dtype=size)
    currents, chords = (np.asarray(each) for each in _currents(law, volts, lanes))
    largest, eps = np.abs(currents).max(), np.finfo(size).eps
    if (np.diff(currents, axis=0) < -100 * eps * largest).any():
        yield Failure(f"{name}, current()", "a current that never decreases with the voltage", "one that does")
    if (currents * volts[:, None] < 0).any() or (np.abs(currents[5]) > 100 * eps * largest).any():
        yield Failure(f"{name}, current()", "a current of the voltage's sign, zero at zero", "another")
    if not np.isfinite(chords).all() or (np.abs(chords * volts[:, None] - currents) > 1e4 * eps * largest).any():
        yield Failure(f"{name}, chord()", "current over voltage, finite at zero too", "another")


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
        allowed = _SLOPE * np.abs(difference).max() + _SMALL * np.abs(current).max()
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


def _first(error: BaseException) -> str:
    """The error in one line."""
    if isinstance(error, ValidationError):
        each = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


__all__ = ["Failure", "check_house", "check_kinds", "check_pair", "check_plugin", "experiment_of", "table_of"]
