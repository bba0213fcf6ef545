"""A configuration as a whole: conflicts between its sections, and what runs but should be known."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic_core import PydanticCustomError

from mcdev.circuits.elements.contract import GROUND
from mcdev.configuration.key_paths import axis_unit, set_value
from mcdev.configuration.preset_tables import without_preset
from mcdev.configuration.problems import ConfigError, Problem, key_path, keys_of, shown
from mcdev.configuration.reference import published
from mcdev.configuration.sweep import expand
from mcdev.devices.contract import CIRCUIT_CHANNELS
from mcdev.measurements.contract import of_element
from mcdev.measurements.spiking import Spiking, value_of
from mcdev.protocols.timeline import NoTimeline
from mcdev.schema import Unit, extremes, nearest, parted, sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcdev.configuration.experiment import Experiment
    from mcdev.measurements.contract import Measurement


def problems_of(experiment: Experiment) -> list[Problem]:
    """Conflicts between sections (each section alone has been checked already)."""
    try:
        _ = experiment.timeline
    except NoTimeline as error:  # of which all else speaks
        return [Problem(*_extreme(experiment), str(error))]
    found = _measurement_problems(experiment)
    swept = _sweep_problems(experiment)
    found += swept
    found += _reference_problems(experiment, not swept)
    if found:
        return found
    if experiment.sweep.axes:
        forms = experiment.forms
        wrong: dict[tuple[str, str, str], Problem] = {}  # of many points with one wrong value, the first

        def add(problem: Problem, where: str) -> None:
            same = (problem.key, shown(problem.value), problem.message)
            wrong.setdefault(same, problem._replace(message=f"{problem.message} ({where})"))

        for number, values in enumerate(experiment.sweep.points(), start=1):
            where = f"sweep point {number}: {', '.join(f'{path} = {shown(v)}' for path, v in values.items())}"
            try:
                point = experiment.point(number - 1)
                kinds, own = (", ".join(e.kinds) for e in (point, experiment))
                if kinds != own:
                    message = f"is of kind {kinds}, the others of kind {own}: run them one by one"
                    add(Problem("device", kinds, message), where)
                if point.channels.keys() != experiment.channels.keys():
                    odd = sorted(point.channels.keys() ^ experiment.channels.keys())
                    message = f"records other quantities than the others do ({', '.join(odd[:4])}): run them one by one"
                    add(Problem("circuit", point.circuit.kind, message), where)
                for name, form in point.forms.items():
                    if form != forms[name]:
                        message = f"is {form} here, and {forms[name]} elsewhere: give them two names"
                        add(Problem(key_path("measurements", name), None, message), where)
            except ConfigError as error:
                for problem in error.problems:
                    add(problem, where)
            if len(wrong) > 20:
                break
        found += wrong.values()
    return found


def _measurement_problems(experiment: Experiment) -> list[Problem]:
    found, timeline = [], experiment.timeline
    for name, measurement in experiment.measurements.items():
        key = key_path("measurements", name)
        for window in measurement.needs:
            if window not in timeline.windows:
                found.append(
                    Problem(
                        key,
                        measurement.kind,
                        f"needs the window '{window}', which this {experiment.protocol.kind} protocol does not have "
                        f"(it has: {', '.join(sorted(timeline.windows))})",
                    )
                )
                break
        else:
            if conflict := measurement.conflict(timeline):
                found.append(Problem(key, measurement.kind, f"the protocol does not have it: {conflict}"))
        if measurement.spectral and not experiment.protocol.frequencies.size:
            message = "reads an impedance spectrum; expected protocol.kind = 'impedance'"
            found.append(Problem(key, measurement.kind, message))
        for channel in measurement.needs_channels:
            if channel not in experiment.channels:
                message = f"reads '{channel}', which a {experiment.circuit.kind} circuit does not have"
                found.append(Problem(key, measurement.kind, f"{message}; expected circuit.kind = 'series_memristor'"))
        places = list(_place_problems(experiment, key, measurement))
        found += places
        if places:
            continue
        memristor = measurement.element if measurement.element in experiment.circuit.memristors else None
        device = experiment.table_of(memristor)[1]
        if measurement.layer and measurement.spectral and len(experiment.circuit.memristors) > 1:
            message = "refers to the thickness and area of one device, and the spectrum is that of several"
            found.append(Problem(key, measurement.kind, message))
        if measurement.layer and not device.layer:
            message = f"needs a thickness and an area, which {device.kind} devices do not have"
            found.append(Problem(key, measurement.kind, message))
        if measurement.full_scale and not device.full_scale:
            found.append(Problem(key, measurement.kind, f"refers to G_max, which {device.kind} devices do not have"))
        if isinstance(measurement, Spiking):
            found += _signal_problems(experiment, key, measurement)
    if experiment.protocol.frequencies.size and not experiment.device.small_signal:
        message = f"{experiment.device.kind} devices have no linearised equations; apply a sine as a waveform instead"
        found.append(Problem("protocol.kind", experiment.protocol.kind, message))
    if experiment.protocol.frequencies.size and not experiment.circuit.small_signal:
        without = [f"circuit.{key}" for key, t in experiment.circuit.tables.items() if not t.small_signal]
        of = f"the devices of {', '.join(without)} have" if without else f"a {experiment.circuit.kind} circuit has"
        message = f"{of} no linearised equations; apply a sine as a waveform instead"
        found.append(Problem("protocol.kind", experiment.protocol.kind, message))
    for path, table in experiment.circuit.tables.items():
        if experiment.precision == "float32" and not table.single_precision:
            message = "needs float64, the device runs in float32; write ensemble.precision = 'float64'"
            found.append(Problem(f"circuit.{path}", None, message))
    if experiment.ensemble.precision == "float32" and not experiment.device.single_precision:
        message = f"{experiment.device.kind} devices need float64; leave the key out"
        found.append(Problem("ensemble.precision", "float32", message))
    kinetic = not experiment.protocol.equilibrium or any(m.kinetic for m in experiment.measurements.values())
    for place, device in experiment.devices.items():
        found += [Problem(f"{place}.{key}", value, text) for key, value, text in device.conflicts(kinetic)]
    found += _spread_problems(experiment)
    return found


def _place_problems(experiment: Experiment, key: str, measurement: Measurement) -> Iterator[Problem]:
    """What is wrong with the element or node that a measurement names."""
    circuit, channels = experiment.circuit, experiment.channels
    parts = [parted(name) for name in channels]
    others = [place for quantity, place in parts if quantity == "current" and place is not None]
    elements = list(dict.fromkeys([*circuit.memristors, *others]))
    nodes = [place for quantity, place in parts if quantity == "voltage" and place is not None]
    ends = dict.fromkeys(end for one in circuit.elements_by_name.values() for end in getattr(one, "between", ()))
    named = {"element": [*circuit.elements_by_name], "node": [node for node in ends if node != GROUND]}
    for what, given, known in (("element", measurement.element, elements), ("node", measurement.node, nodes)):
        if given is None:
            continue
        if given not in known and given in named[what]:
            yield Problem(f"{key}.{what}", given, "is not recorded; write its name into circuit.record")
        elif not known and not named[what]:
            yield Problem(
                f"{key}.{what}", given, f"a circuit of kind {circuit.kind} names no {what}s; leave the key out"
            )
        elif given not in known:
            known = known or named[what]
            message = f"no such {what} of the circuit is recorded; {nearest(given, known)}"
            if given == type(measurement).model_fields[what].default:  # its kind says which
                message = f"a circuit of kind {circuit.kind} has no such {what}; {nearest(given, known)}, or write "
                message += "circuit.kind = 'series_memristor'"
            yield Problem(f"{key}.{what}", given, message)
        elif what == "element" and given != circuit.memristors[0] and f"current({given})" not in channels:
            yield Problem(f"{key}.{what}", given, "is not recorded; write its name into circuit.record")
        elif measurement.reads is not None:
            yield from _without_meaning(f"{key}.{what}", what, given, measurement, experiment)


def _without_meaning(
    key: str, what: str, given: str, measurement: Measurement, experiment: Experiment
) -> Iterator[Problem]:
    """What a measurement does not read of this element or node."""
    read, circuit = measurement.reads or (), experiment.circuit
    if not read:
        message = "reads the impedance of the whole circuit, as the source sees it; leave the key out"
        yield Problem(key, given, message)
    elif what == "node" and "voltage" not in read:
        message = f"a {measurement.kind} reads no voltage, so that a node changes nothing; leave the key out"
        yield Problem(key, given, message)
    elif what == "element" and given not in circuit.memristors and "conductance" in read:
        message = f"has a current alone, and a {measurement.kind} reads a conductance; expected a memristor: "
        yield Problem(key, given, message + ", ".join(circuit.memristors))


def _signal_problems(experiment: Experiment, key: str, measurement: Spiking) -> list[Problem]:
    """Whether there is the channel that a measurement of spikes watches, and whether its levels are of its unit."""
    channels = {**CIRCUIT_CHANNELS, **experiment.channels}
    signal = of_element(channels, measurement.detector.signal, measurement.element)
    if signal not in channels:
        message = f"no such channel is recorded ('{signal}'); {nearest(signal, channels)}"
        return [Problem(f"{key}.signal", measurement.signal, message)]
    unit = channels[signal].unit
    if measurement.threshold is None and unit != "S":
        message = f"'{signal}' is no conductance, so a share of G_max is no level of it; add threshold = …"
        return [Problem(f"{key}.threshold", None, message)]
    found = []
    for name in ("threshold", "reset"):
        level = getattr(measurement, name)
        try:
            if level is not None:
                value_of(level, unit)
        except PydanticCustomError as error:
            message = f"{sentence(error)} (the unit of '{signal}')"
            found.append(Problem(f"{key}.{name}", level, message))
    return found


def _extreme(experiment: Experiment) -> tuple[str, Any]:
    """Key and value of the protocol's quantity that is furthest from one in its unit: what to look at first."""
    written = {
        name: (abs(math.log10(abs(number))), mark.write(number))
        for name, field in type(experiment.protocol).model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Unit) and isinstance(number := getattr(experiment.protocol, name), float) and number != 0
    }
    name = max(written, key=lambda name: written[name][0], default="")
    return (f"protocol.{name}", written[name][1]) if name else ("protocol", None)


def _sweep_problems(experiment: Experiment) -> list[Problem]:
    found = []
    lengths = {}
    for path, values in experiment.sweep.axes.items():
        key = key_path("sweep", "axes", path)
        if (plain := key_path(*keys_of(path))) != path:
            found.append(Problem(key, None, f"expected the key path as mcdev writes it: {plain}"))
            continue
        if keys_of(path)[0] not in ("device", "circuit", "protocol", "ensemble", "measurements"):
            found.append(
                Problem(key, None, "only keys below device, circuit, protocol, ensemble, measurements can be swept")
            )
            continue
        if path in ("ensemble.devices", "ensemble.cycles", "ensemble.precision"):
            found.append(Problem(key, None, "the size and precision of the ensemble cannot vary within a run"))
            continue
        try:
            lengths[path] = len(expand(values))
        except ValueError as error:
            found.append(Problem(key, None, str(error)))
            continue
        if lengths[path] == 0:
            found.append(Problem(key, [], "expected at least one value"))
        missing = set_value(
            experiment.to_dict(), path, expand(values)[0] if lengths[path] else None, must_exist=True, root=experiment
        )
        if missing:
            found.append(Problem(key, None, missing.message))
    if experiment.sweep.mode == "zip" and len(set(lengths.values())) > 1:
        shown = ", ".join(f"{path}: {n}" for path, n in lengths.items())
        found.append(Problem("sweep.mode", "zip", f"expected axes of equal length, got {shown}"))
    if not found and experiment.sweep.mode == "grid" and math.prod(lengths.values()) > 100_000:
        found.append(Problem("sweep.axes", None, f"{math.prod(lengths.values())} points; expected at most 100000"))
    for name, fit in experiment.fits.items():
        key = key_path("fits", name)
        if fit.measurement not in experiment.measurements:
            found.append(
                Problem(
                    f"{key}.measurement",
                    fit.measurement,
                    "no such measurement; " + nearest(fit.measurement, experiment.measurements),
                )
            )
        elif experiment.measurements[fit.measurement].entries(experiment.timeline) is not None:
            found.append(Problem(f"{key}.measurement", fit.measurement, "is a list; expected a single number"))
        elif fit.statistic == "mean_response" and experiment.measurements[fit.measurement].detector is not None:
            message = f"'{fit.measurement}' reads spikes, which a mean trajectory has not; expected 'mean' or 'median'"
            found.append(Problem(f"{key}.statistic", fit.statistic, message))
        if fit.axis not in experiment.sweep.axes:
            known = (
                nearest(fit.axis, experiment.sweep.axes) if experiment.sweep.axes else "there is none in [sweep.axes]"
            )
            found.append(Problem(f"{key}.axis", fit.axis, f"no such sweep axis; {known}"))
        elif not found:
            if lengths[fit.axis] < fit.least_points:
                found.append(
                    Problem(
                        f"{key}.axis", fit.axis, f"{lengths[fit.axis]} points; expected at least {fit.least_points}"
                    )
                )
            elif axis_unit(experiment, fit.axis) != fit.axis_unit:
                found.append(Problem(f"{key}.axis", fit.axis, f"expected an axis in {fit.axis_unit}"))
    return found


def _spread_problems(experiment: Experiment) -> list[Problem]:
    names, found = experiment.laws, []
    for name in experiment.ensemble.cycle_to_cycle:
        if name not in names:
            key = f"ensemble.cycle_to_cycle.{name}"
            found.append(
                Problem(key, None, f"no parameter of a {experiment.device.kind} device; {nearest(name, names)}")
            )
        elif extremes(names[name])[0] <= 0:
            message = "changes by a factor, so expected a parameter that is positive"
            found.append(Problem(f"ensemble.cycle_to_cycle.{name}", None, message))
    if experiment.ensemble.correlation is not None:
        for name in experiment.ensemble.correlation.parameters:
            key = "ensemble.correlation.parameters"
            if name not in names:
                message = f"no parameter of a {experiment.device.kind} device; {nearest(name, names)}"
                found.append(Problem(key, name, message))
            elif isinstance(names[name], float):
                message = "has one value for all devices; give it a distribution, or leave it out"
                found.append(Problem(key, name, message))
        found += experiment.ensemble.correlation.problems()
    return found


def _reference_problems(experiment: Experiment, countable: bool) -> list[Problem]:
    found = []
    for number, reference in enumerate(experiment.output.reference):
        key = f"output.reference.{number}"
        unit, problems = reference.resolved(experiment, key, countable)
        found += problems
        if unit is not None:
            try:
                published(reference, unit)
            except ValueError as error:
                found.append(Problem(f"{key}.value", reference.value, str(error)))
    return found


def warnings_of(experiment: Experiment) -> list[str]:
    """What runs but should be known: doubtful settings, a start out of equilibrium."""
    found: dict[str, None] = dict.fromkeys(_label_warnings(experiment))
    for _, point in experiment.points():
        largest = _largest(point)
        for place, table in point.devices.items():
            doubtful = [*table.concerns(), *table.overdriven(largest)]
            doubtful += [(one.key, one.text) for one in table.accuracy(largest) if not one.good]
            found |= {f"{place}.{key}: {text}": None for key, text in doubtful}
            for text in table.rest_report(point.timeline.duration):
                found[text if place == "device" else f"{place}: {with_own_keys(text, place)}"] = None
        found |= {f"protocol.{key}: {text}": None for key, text in point.protocol.concerns()}
    return list(found)


def with_own_keys(text: str, place: str) -> str:
    """What a device says of itself, which calls its keys ``device.…``, with the key paths of its table at ``place``."""
    return text.replace("device.", f"{place}.")


def notes_of(experiment: Experiment) -> list[str]:
    """What is known of the accuracy before a run, where nothing is doubtful: of the sweep point where it is worst."""
    worst: dict[str, tuple[float, str]] = {}
    for _, point in experiment.points():
        for place, table in point.devices.items():
            for one in table.accuracy(_largest(point)):
                if one.good:
                    key = f"{place}.{one.key}"
                    worst[key] = max(worst.get(key, (0.0, "")), (one.error, one.text))
    return [f"{key}: {text}" for key, (_, text) in worst.items()]


def _largest(point: Experiment) -> float:
    """Voltage of the source (V)."""
    return float(np.max(np.abs([point.timeline.start, point.timeline.end])))


def _label_warnings(experiment: Experiment) -> list[str]:
    """Parameters that are changed, drawn or swept although they only label axes, or although nothing here depends
    on them."""
    found = []
    spectral = bool(experiment.protocol.frequencies.size)
    points = [point for _, point in experiment.points()]
    for place, table in experiment.devices.items():
        given = without_preset(table, table.model_dump(mode="json", exclude_none=True), experiment.own_presets)
        why = {
            name: "only what labels an axis (positions) changes with it; no current and no time does, because "
            "others are given in units of it. For another gap of the same material give the gap that they are stated "
            f"for, {place}.reference_gap; for another device change "
            f"{', '.join(f'{place}.{other}' for other in others)} as well"
            for name, others in table.labels.items()
        }
        own = (point.devices[place].idle(spectral) for point in points)
        everywhere = functools.reduce(lambda a, b: {name: a[name] for name in a if name in b}, own)
        why |= {name: f"no result changes with it: {reason}" for name, reason in everywhere.items()}
        for name, text in why.items():
            path = f"{place}.{name}"
            changed = getattr(table, "preset", None) is not None and name in given
            changed |= path in experiment.sweep.axes or not isinstance(getattr(table, name), float)
            changed |= bool({name if place == "device" else path} & set(experiment.ensemble.cycle_to_cycle))
            if changed:
                found.append(f"{path}: {text}")
    return found
