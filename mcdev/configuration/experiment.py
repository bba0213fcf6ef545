"""One experiment: what a configuration file says, checked as a whole.

    experiment = load("configs/wang2017/fig4b_train.toml")
    smaller = experiment.with_({"ensemble.devices": 64})

All that is wrong with a file is reported at once, before anything is compiled.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tomli_w
from pydantic import BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo

from mcdev.circuits import Alone, AnyCircuit
from mcdev.configuration.correlation import Correlation
from mcdev.configuration.plugins import Plugin, load_installed, packed, plugins_of
from mcdev.configuration.preset_tables import fill, without_preset
from mcdev.configuration.problems import ConfigError, Problem, beside, described, key_path, keys_of, shown, unique
from mcdev.configuration.reference import Reference, published
from mcdev.configuration.sweep import Sweep, expand
from mcdev.devices import Device
from mcdev.devices.contract import Observable, Pace
from mcdev.files import structure
from mcdev.fits import AnyFit
from mcdev.kinds import stood_in
from mcdev.measurements import AnyMeasurement
from mcdev.protocols import AnyProtocol
from mcdev.protocols.timeline import NoTimeline
from mcdev.protocols.waveform import PointsFile, read_points
from mcdev.schema import (
    Drawn,
    FileName,
    Interval,
    Name,
    Strict,
    Uniform,
    Unit,
    extremes,
    nearest,
    unit_of_key,
)


class Ensemble(Strict):
    """How many devices and cycles, and from which random numbers."""

    devices: int = Field(1000, ge=1, le=100_000_000)
    """Number of devices; each draws its parameters once (D2D spread)."""
    cycles: int = Field(1, ge=1, le=10_000_000)
    """Repetitions of the protocol on the same device (C2C spread)."""
    between_cycles: Literal["rest", "continue"] = "rest"
    """rest: every cycle starts from a freshly rested state; continue: from where the last one ended."""
    sampling: Literal["random", "sobol"] = "random"
    """How drawn parameters fill their distributions: at random, or evenly (a scrambled Sobol' sequence; best with a
    power of two of devices)."""
    correlation: Correlation | None = None
    """Between drawn parameters (D2D)."""
    cycle_to_cycle: dict[str, Annotated[float, Unit("", gt=0, le=2)]] = Field(default_factory=dict)
    """Parameter → σ of the logarithm of the factor by which it changes from cycle to cycle (C2C), drawn anew for each
    device and cycle, median 1."""
    equilibration: Interval = 0.0
    """Time at zero volts before the first cycle (before every cycle when rested), not recorded."""
    seed: int = Field(1, ge=0, lt=2**32)
    precision: Literal["auto", "float32", "float64"] = "auto"
    """auto: what suits the device, float32 for particles and float64 for ions."""


class Output(Strict):
    """What is kept, and where."""

    directory: str = "runs"
    """Folder in which each run makes its own."""
    trajectories: int = Field(8, ge=0, le=256)
    """Number of realisations whose full trajectory is kept."""
    cycles: int = Field(100, ge=1, le=100_000)
    """Number of cycles whose course over time is kept, evenly spread; measured is every cycle."""
    quantiles: tuple[Annotated[float, Unit("", ge=0, le=1)], ...] = (0.05, 0.25, 0.5, 0.75, 0.95)
    """Quantiles over the ensemble kept at every time."""
    figures: bool = True
    reference: tuple[Reference, ...] = ()
    """Published numbers to compare with."""


class Experiment(Strict):
    """The whole configuration."""

    name: FileName
    """Names the run's folder."""
    description: str = Field("", max_length=4000)
    device: Device
    circuit: AnyCircuit = Alone()
    protocol: AnyProtocol
    ensemble: Ensemble = Ensemble()
    measurements: dict[Name, AnyMeasurement] = Field(min_length=1)
    fits: dict[Name, AnyFit] = Field(default_factory=dict)
    sweep: Sweep = Sweep()
    output: Output = Output()

    @property
    def precision(self) -> Literal["float32", "float64"]:
        """What the ensemble is computed in."""
        return self.device.precision if self.ensemble.precision == "auto" else self.ensemble.precision

    @functools.cached_property
    def pacing_device(self) -> Any:
        """The device with every parameter's range as wide as devices and cycles make it: what step sizes suit."""
        widened = {}
        for name, sigma in self.ensemble.cycle_to_cycle.items():
            if name not in self.device.parameters():  # one of the circuit's
                continue
            low, high = extremes(getattr(self.device, name))
            far = math.exp(4.0 * sigma)
            widened[name] = Uniform(low=low / far, high=high * far)
        return self.device.model_copy(update=widened)

    def pace(self, voltage: float) -> Pace:
        """How finely time must be cut while the source applies ``voltage`` volts, for all devices of the circuit."""
        with np.errstate(all="ignore"):
            try:
                device = self.pacing_device
                own: Pace = device.divided_pace(voltage) if self.circuit.divides else device.pace(voltage)
                beside = self.circuit.pace(voltage)
            except ArithmeticError:  # a rate that is larger than any number
                return Pace(0.0, 0.0)
        return own if beside is None else Pace(*(min(pair) for pair in zip(own, beside, strict=True)))

    @property
    def laws(self) -> dict[str, Drawn]:
        """Value or distribution of each parameter that may differ from device to device: the device's by its name,
        those of what the circuit puts beside it by their key path."""
        return {name: getattr(self.device, name) for name in self.device.parameters()} | self.circuit.laws

    @property
    def units(self) -> dict[str, Unit]:
        """Unit of each of :attr:`laws`."""
        return self.device.parameters() | self.circuit.units

    def field(self, name: str) -> FieldInfo:
        """The field of the configuration behind one of :attr:`laws`."""
        key, _, last = name.rpartition(".")
        table = self.circuit.devices[key.removeprefix("circuit.")] if key else self.device
        return type(table).model_fields[last]

    @property
    def channels(self) -> dict[str, Observable]:
        """What is recorded besides ``CIRCUIT_CHANNELS``: of the device, then of the circuit."""
        return self.device.channels | self.circuit.channels

    def fit_read(self, name: str, coefficient: str | None) -> AnyFit | None:
        """The fit that is meant by this name, as a measurement may have it too: with a coefficient the fit, without one
        the measurement. None where it is no fit."""
        return self.fits.get(name) if coefficient is not None or name not in self.measurements else None

    @property
    def forms(self) -> dict[str, str]:
        """What each measurement is, in words: the same at every sweep point, or the values cannot stand together."""
        timeline = self.protocol.timeline()
        return {
            name: f"a {m.kind}, {'a number' if m.entries(timeline) is None else 'a list'} in {m.unit}"
            for name, m in self.measurements.items()
        }

    @property
    def kinds(self) -> list[str]:
        """Of the device and of those that the circuit holds: they decide what is recorded."""
        return [self.device.kind, *(str(getattr(table, "kind", "")) for table in self.circuit.devices.values())]

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Those that the kinds of its tables come from, at any sweep point."""
        every = [self, *(point for _, point in (self.points() if self.sweep.axes else ()))]
        rooms = (
            (e.device, e.circuit, *e.circuit.devices.values(), e.protocol, *e.measurements.values(), *e.fits.values())
            for e in every
        )
        return plugins_of(table for tables in rooms for table in tables)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickled with the sources of its plugins."""
        return packed(super().__reduce_ex__(protocol), self.plugins)

    # ------------------------------------------------------------------------------- variants

    def to_dict(self) -> dict[str, Any]:
        """Plain data that :func:`build` turns back into an equal experiment."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_toml(self) -> str:
        return tomli_w.dumps(self.to_dict())

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits that change with anything that can change a result."""
        data = {k: v for k, v in self.to_dict().items() if k not in ("name", "description", "output")}
        data |= {"plugin": [str(plugin.source) for plugin in self.plugins]} if self.plugins else {}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:8]

    def with_(self, changes: Mapping[str, Any]) -> Experiment:
        """The experiment with other values at some key paths: ``{"device.friction": 3.0}``.

        Another ``device.preset`` replaces what came from the old one; what was given beside it stands.
        """
        data = self.to_dict()
        if "device.preset" in changes:
            data["device"] = without_preset(self.device, data["device"])
        for key, table in self.circuit.devices.items():
            if f"circuit.{key}.preset" in changes:
                data["circuit"][key] = without_preset(table, data["circuit"][key])
        problems = [p for path, value in changes.items() if (p := set_value(data, path, value))]
        return build(data, problems=problems)

    def points(self) -> list[tuple[dict[str, Any], Experiment]]:
        """The sweep's points in order: the values of the axes, and the experiment with them filled in."""
        return list(self._points)

    @functools.cached_property
    def _points(self) -> list[tuple[dict[str, Any], Experiment]]:
        return [(values, self.point(number)) for number, values in enumerate(self._values)]

    @functools.cached_property
    def _values(self) -> list[dict[str, Any]]:
        return self.sweep.points()

    @functools.cached_property
    def _made(self) -> dict[int, Experiment]:
        return {}

    def point(self, number: int) -> Experiment:
        """One sweep point, built once. Raises ``ConfigError`` where its values cannot be."""
        if number not in self._made:
            self._made[number] = self._at(self._values[number])
        return self._made[number]

    def curves(self, axis: str) -> list[tuple[dict[str, Any], list[int]]]:
        """The sweep's points as curves along one axis: values of the other axes, and the numbers of the points. When
        the axes advance together (zip) all points are one curve."""
        found: dict[str, tuple[dict[str, Any], list[int]]] = {}
        for number, values in enumerate(self.sweep.points()):
            grid = self.sweep.mode == "grid"
            others = {path: value for path, value in values.items() if grid and path != axis}
            found.setdefault(json.dumps(others), (others, []))[1].append(number)
        return list(found.values())

    def _at(self, values: dict[str, Any]) -> Experiment:
        """One sweep point: nothing left to sweep, fit along an axis or compare with."""
        output = self.output.model_copy(update={"reference": ()})
        return self.model_copy(update={"sweep": Sweep(), "fits": {}, "output": output}).with_(values)

    # ------------------------------------------------------------------------------- checks

    def problems(self) -> list[Problem]:
        """Conflicts between sections (each section alone has been checked already)."""
        try:
            self.protocol.timeline()
        except NoTimeline as error:  # of which all else speaks
            return [Problem(*self._extreme(), str(error))]
        found = self._measurement_problems()
        swept = self._sweep_problems()
        found += swept
        found += self._reference_problems(not swept)
        if found:
            return found
        if self.sweep.axes:
            forms = self.forms
            wrong: dict[tuple[str, str, str], Problem] = {}  # of many points with one wrong value, the first

            def add(problem: Problem, where: str) -> None:
                same = (problem.key, shown(problem.value), problem.message)
                wrong.setdefault(same, problem._replace(message=f"{problem.message} ({where})"))

            for number, values in enumerate(self.sweep.points(), start=1):
                where = f"sweep point {number}: {', '.join(f'{path} = {shown(v)}' for path, v in values.items())}"
                try:
                    point = self.point(number - 1)
                    kinds, own = (", ".join(e.kinds) for e in (point, self))
                    if kinds != own:
                        message = f"is of kind {kinds}, the others of kind {own}: run them one by one"
                        add(Problem("device", kinds, message), where)
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

    def _measurement_problems(self) -> list[Problem]:
        found, timeline = [], self.protocol.timeline()
        for name, measurement in self.measurements.items():
            key = key_path("measurements", name)
            for window in measurement.needs:
                if window not in timeline.windows:
                    found.append(
                        Problem(
                            key,
                            measurement.kind,
                            f"needs the window '{window}', which this {self.protocol.kind} protocol does not have "
                            f"(it has: {', '.join(sorted(timeline.windows))})",
                        )
                    )
                    break
            else:
                if conflict := measurement.conflict(timeline):
                    found.append(Problem(key, measurement.kind, f"the protocol does not have it: {conflict}"))
            if measurement.spectral and not self.protocol.frequencies.size:
                message = "reads an impedance spectrum; expected protocol.kind = 'impedance'"
                found.append(Problem(key, measurement.kind, message))
            for channel in measurement.needs_channels:
                if channel not in self.channels:
                    message = f"reads '{channel}', which a {self.circuit.kind} circuit does not have"
                    found.append(
                        Problem(key, measurement.kind, f"{message}; expected circuit.kind = 'series_memristor'")
                    )
            if measurement.layer and not self.device.layer:
                message = f"needs a thickness and an area, which {self.device.kind} devices do not have"
                found.append(Problem(key, measurement.kind, message))
            if measurement.full_scale and not self.device.full_scale:
                found.append(
                    Problem(key, measurement.kind, f"refers to G_max, which {self.device.kind} devices do not have")
                )
        if self.protocol.frequencies.size and not self.device.small_signal:
            message = f"{self.device.kind} devices have no linearised equations; apply a sine as a waveform instead"
            found.append(Problem("protocol.kind", self.protocol.kind, message))
        if self.protocol.frequencies.size and not self.circuit.small_signal:
            message = f"a {self.circuit.kind} circuit has no linearised equations; apply a sine as a waveform instead"
            found.append(Problem("protocol.kind", self.protocol.kind, message))
        for path, table in self.circuit.devices.items():
            if self.precision == "float32" and not table.single_precision:
                message = "needs float64, the device runs in float32; write ensemble.precision = 'float64'"
                found.append(Problem(f"circuit.{path}", None, message))
        if self.ensemble.precision == "float32" and not self.device.single_precision:
            message = f"{self.device.kind} devices need float64; leave the key out"
            found.append(Problem("ensemble.precision", "float32", message))
        kinetic = not self.protocol.equilibrium or any(m.kinetic for m in self.measurements.values())
        found += [Problem(f"device.{key}", value, text) for key, value, text in self.device.conflicts(kinetic)]
        found += self._spread_problems()
        return found

    def _extreme(self) -> tuple[str, Any]:
        """Key and value of the protocol's quantity that is furthest from one in its unit: what to look at first."""
        written = {
            name: (abs(math.log10(abs(number))), mark.write(number))
            for name, field in type(self.protocol).model_fields.items()
            for mark in field.metadata
            if isinstance(mark, Unit) and isinstance(number := getattr(self.protocol, name), float) and number != 0
        }
        name = max(written, key=lambda name: written[name][0], default="")
        return (f"protocol.{name}", written[name][1]) if name else ("protocol", None)

    def _sweep_problems(self) -> list[Problem]:
        found = []
        lengths = {}
        for path, values in self.sweep.axes.items():
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
                self.to_dict(), path, expand(values)[0] if lengths[path] else None, must_exist=True, root=self
            )
            if missing:
                found.append(Problem(key, None, missing.message))
        if self.sweep.mode == "zip" and len(set(lengths.values())) > 1:
            shown = ", ".join(f"{path}: {n}" for path, n in lengths.items())
            found.append(Problem("sweep.mode", "zip", f"expected axes of equal length, got {shown}"))
        if not found and self.sweep.mode == "grid" and math.prod(lengths.values()) > 100_000:
            found.append(Problem("sweep.axes", None, f"{math.prod(lengths.values())} points; expected at most 100000"))
        for name, fit in self.fits.items():
            key = key_path("fits", name)
            if fit.measurement not in self.measurements:
                found.append(
                    Problem(
                        f"{key}.measurement",
                        fit.measurement,
                        "no such measurement; " + nearest(fit.measurement, self.measurements),
                    )
                )
            elif self.measurements[fit.measurement].entries(self.protocol.timeline()) is not None:
                found.append(Problem(f"{key}.measurement", fit.measurement, "is a list; expected a single number"))
            if fit.axis not in self.sweep.axes:
                known = nearest(fit.axis, self.sweep.axes) if self.sweep.axes else "there is none in [sweep.axes]"
                found.append(Problem(f"{key}.axis", fit.axis, f"no such sweep axis; {known}"))
            elif not found:
                if lengths[fit.axis] < fit.least_points:
                    found.append(
                        Problem(
                            f"{key}.axis", fit.axis, f"{lengths[fit.axis]} points; expected at least {fit.least_points}"
                        )
                    )
                elif axis_unit(self, fit.axis) != fit.axis_unit:
                    found.append(Problem(f"{key}.axis", fit.axis, f"expected an axis in {fit.axis_unit}"))
        return found

    def _spread_problems(self) -> list[Problem]:
        names, found = self.laws, []
        for name in self.ensemble.cycle_to_cycle:
            if name not in names:
                key = f"ensemble.cycle_to_cycle.{name}"
                found.append(Problem(key, None, f"no parameter of a {self.device.kind} device; {nearest(name, names)}"))
            elif extremes(names[name])[0] <= 0:
                message = "changes by a factor, so expected a parameter that is positive"
                found.append(Problem(f"ensemble.cycle_to_cycle.{name}", None, message))
        if self.ensemble.correlation is not None:
            for name in self.ensemble.correlation.parameters:
                key = "ensemble.correlation.parameters"
                if name not in names:
                    message = f"no parameter of a {self.device.kind} device; {nearest(name, names)}"
                    found.append(Problem(key, name, message))
                elif isinstance(names[name], float):
                    message = "has one value for all devices; give it a distribution, or leave it out"
                    found.append(Problem(key, name, message))
            found += self.ensemble.correlation.problems()
        return found

    def _reference_problems(self, countable: bool) -> list[Problem]:
        found = []
        for number, reference in enumerate(self.output.reference):
            key = f"output.reference.{number}"
            unit, problems = reference.resolved(self, key, countable)
            found += problems
            if unit is not None:
                try:
                    published(reference, unit)
                except ValueError as error:
                    found.append(Problem(f"{key}.value", reference.value, str(error)))
        return found

    def warnings(self) -> list[str]:
        """What runs but should be known: doubtful settings, a start out of equilibrium."""
        found: dict[str, None] = dict.fromkeys(self._label_warnings())
        for _, point in self.points():
            timeline = point.protocol.timeline()
            largest = float(np.max(np.abs([timeline.start, timeline.end])))
            for place, table in {"device": point.device, **point._beside}.items():
                doubtful = (*table.concerns(), *table.overdriven(largest))
                found |= {f"{place}.{key}: {text}": None for key, text in doubtful}
            found |= {f"protocol.{key}: {text}": None for key, text in point.protocol.concerns()}
            for text in point.device.rest_report(timeline.duration):
                found[text] = None
        return list(found)

    def _label_warnings(self) -> list[str]:
        """Parameters that are changed, drawn or swept although they only label axes, or although nothing here depends
        on them."""
        found = []
        spectral = bool(self.protocol.frequencies.size)
        points = [point for _, point in self.points()]
        for place, table in {"device": self.device, **self._beside}.items():
            given = without_preset(table, table.model_dump(mode="json", exclude_none=True))
            why = {
                name: "only what labels an axis (positions) changes with it; no current and no time does, because "
                "others are given in units of it. For another device change "
                f"{', '.join(f'{place}.{other}' for other in others)} as well"
                for name, others in table.labels.items()
            }
            own = ({"device": point.device, **point._beside}[place].idle(spectral) for point in points)
            everywhere = functools.reduce(lambda a, b: {name: a[name] for name in a if name in b}, own)
            why |= {name: f"no result changes with it: {reason}" for name, reason in everywhere.items()}
            for name, text in why.items():
                path = f"{place}.{name}"
                changed = getattr(table, "preset", None) is not None and name in given
                changed |= path in self.sweep.axes or not isinstance(getattr(table, name), float)
                changed |= bool({name if place == "device" else path} & set(self.ensemble.cycle_to_cycle))
                if changed:
                    found.append(f"{path}: {text}")
        return found

    @property
    def _beside(self) -> dict[str, Any]:
        """The circuit's own devices by their key path."""
        return {f"circuit.{key}": table for key, table in self.circuit.devices.items()}


# -------------------------------------------------------------------------------------- loading


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ``ConfigError`` where it cannot be read as one."""
    try:
        return structure.read_toml(path)
    except OSError as error:
        raise ConfigError([Problem(str(path), None, f"cannot be read ({error.strerror})")], str(path)) from None
    except structure.Unreadable as error:
        raise ConfigError([Problem(str(path), None, str(error))], str(path)) from None


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment of a TOML file. Raises ``ConfigError`` with everything that is wrong."""
    path = Path(path)
    data = read_toml(path)
    problems = [p for key, value in (overrides or {}).items() if (p := set_value(data, key, value))]
    return build(data, folder=path.parent, source=str(path), problems=problems)


def build(
    data: Mapping[str, Any],
    folder: Path | None = None,
    source: str = "configuration",
    problems: Sequence[Problem] = (),
) -> Experiment:
    """The experiment of plain data, as in a TOML file. ``folder`` is where relative file names start."""
    found = list(problems)
    try:
        structure.check_data(data)
    except structure.Unreadable as error:
        raise ConfigError([Problem("the configuration", None, str(error))], source) from None
    load_installed()
    table: dict[str, Any] = copy.deepcopy(dict(data))
    unfilled, unread = fill(table), _read_waveform(table, folder or Path())
    found += unfilled + unread
    bare = tuple(problem.key.removesuffix("preset") for problem in unfilled)
    try:
        # As JSON, in which a list may stand for a tuple though nothing else may stand for another.
        experiment = Experiment.model_validate_json(json.dumps(table, default=_plain))
    except ValidationError as error:
        for problem, kind in described(error, table, Experiment):
            missing = kind in ("missing", "union_tag_not_found")
            if not (missing and problem.key.startswith(bare)):  # the preset would have had it
                found.append(problem)
        raise ConfigError(unique(found), source) from None
    if stood_in():  # what a stand-in suits is not known
        return experiment
    # whether a measurement suits a waveform that could not be read is not known
    found += [p for p in experiment.problems() if not (unread and p.key.startswith("measurements."))]
    if found:
        raise ConfigError(unique(found), source)
    return experiment


def _plain(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's, for values that a script computed."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else str(value)


def axis_unit(experiment: Experiment, path: str) -> str:
    """Unit of the quantity at a key path; empty for pure numbers and words."""
    *parents, last = keys_of(path)
    table = _below(experiment, parents)
    mark = unit_of_key(type(table), last) if isinstance(table, BaseModel) else None
    return mark.unit if mark else ""


def axis_values(experiment: Experiment, path: str) -> np.ndarray | list[str]:
    """Values of a sweep axis in the unit of :func:`axis_unit`, one a point; text where they are not numbers."""
    unit = Unit(axis_unit(experiment, path))
    values = [point[path] for point in experiment.sweep.points()]
    try:
        return np.array([unit.parse(value) / unit.scale for value in values])
    except Exception:  # a distribution, a word: an axis need not be a number
        return [json.dumps(value) if not isinstance(value, str) else value for value in values]


def _read_waveform(data: dict[str, Any], folder: Path) -> list[Problem]:
    protocol = data.get("protocol")
    if not isinstance(protocol, dict) or protocol.get("kind") != "waveform" or "file" not in protocol:
        return []
    written = {key: protocol.pop(key) for key in PointsFile.model_fields if key in protocol}
    try:
        points = PointsFile.model_validate_json(json.dumps(written, default=_plain))
        protocol["time"], protocol["voltage"] = read_points(beside(folder, points.file), points)
    except ValidationError as error:
        found = [p for p, _ in described(error, written, PointsFile)]
        problems = [Problem(f"protocol.{p.key}", p.value, p.message) for p in found]
    except ValueError as error:
        problems = [Problem("protocol.file", written["file"], str(error))]
    else:
        return []
    protocol["time"], protocol["voltage"] = [0.0, 1.0], [0.0, 0.0]  # so that only the file is complained about
    return problems


def set_value(
    data: dict[str, Any], path: str, value: Any, must_exist: bool = False, root: Experiment | None = None
) -> Problem | None:
    """Set a value at a key path (one that holds dots itself stands in quotes: ``sweep.axes."protocol.gap"``); returns
    what is wrong with the path, if anything."""
    *parents, last = parts = keys_of(path)
    if must_exist and root is not None:
        siblings = _keys_of(_below(root, parents))
        if last not in siblings:
            return Problem(path, None, f"no such key; {nearest(last, siblings)}" if siblings else "no such key")
    table = data
    for part in parents:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            return Problem(path, value, f"'{part}' is not a table")
        table = inner
    if not all(parts):
        return Problem(path, value, "expected a key path like device.friction")
    table[last] = value
    return None


def _below(root: BaseModel, keys: Sequence[str]) -> Any:
    """What stands at these keys; None where nothing does."""
    node: Any = root
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else getattr(node, key, None)
    return node


def _keys_of(node: Any) -> list[str]:
    if isinstance(node, BaseModel):
        return list(type(node).model_fields)
    return list(node) if isinstance(node, dict) else []
