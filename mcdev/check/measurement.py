"""A measurement by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from pydantic import ValidationError

from mcdev.check.examples import made
from mcdev.check.failure import Failure, first_line
from mcdev.kinds import name_of
from mcdev.machine.environment import computing
from mcdev.measurements.contract import OK, Detector, Measurement, Train, Trajectory
from mcdev.protocols import PROTOCOLS
from mcdev.protocols.timeline import Protocol, Timeline
from mcdev.schema import is_unit
from mcdev.simulation.reading import trajectory
from mcdev.simulation.spikes import detectors, in_series, train


def check_measurement(kind: type[Any], protocols: Iterable[type[Protocol]] = PROTOCOLS) -> Iterator[Failure]:
    """Value and status of a trajectory: under every one of these protocols that has the windows, compiled or not, on a
    device of which the conductance rises while a voltage is applied and falls afterwards."""
    name = name_of(kind)
    try:
        measurement: Measurement = made(kind)
    except ValidationError as error:
        yield Failure(name, "an example that is a measurement", first_line(error))
        return
    if not is_unit("" if measurement.unit == "1" else measurement.unit):
        yield Failure(name, "a unit that can be read, or 1", measurement.unit)
    if not measurement.criterion.strip():
        yield Failure(name, "a criterion: what exactly the number means", "nothing")
    tried = 0
    for other in protocols:
        protocol = made(other)
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
            yield Failure(pair, "measure() to give a value and a status", first_line(error))
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


def _train(detector: Detector, channels: Mapping[str, np.ndarray], widths: np.ndarray, full_scale: float) -> Train:
    """What a detector sees where each sample is one interval, over which a channel goes on from its last value."""
    course = {detector.signal: jnp.asarray(channels[detector.signal])[:, None]}
    (seen_by,) = in_series((detector,), course, {"full_scale": jnp.full(1, full_scale)})
    found: Train = jax.tree.map(lambda x: x[..., 0], train(seen_by, jnp.asarray(widths)[:, None], jnp.zeros(1, int)))
    return found
