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
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from mcdev.circuits import Alone, AnyCircuit
from mcdev.configuration.checks import notes_of, problems_of, warnings_of, with_own_keys
from mcdev.configuration.correlation import Correlation
from mcdev.configuration.describes import check_describes
from mcdev.configuration.display import as_html, one_line
from mcdev.configuration.extends import read_toml
from mcdev.configuration.key_paths import path_of_law, set_value
from mcdev.configuration.own_presets import OwnPreset, read_own
from mcdev.configuration.plugins import Plugin, load_installed, packed, plugins_of
from mcdev.configuration.preset_tables import fill, without_preset
from mcdev.configuration.problems import ConfigError, Problem, beside, described, unique
from mcdev.configuration.reference import Reference
from mcdev.configuration.samples import read_samples
from mcdev.configuration.sweep import Sweep, as_toml
from mcdev.devices import Device
from mcdev.devices.contract import DeviceConfig, Observable, Pace
from mcdev.files import structure
from mcdev.fits import AnyFit
from mcdev.kinds import stood_in
from mcdev.measurements import AnyMeasurement
from mcdev.protocols import AnyProtocol
from mcdev.protocols.timeline import Timeline
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
    placed,
    replaced,
)
from mcdev.schema.meanings import meaning


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
    """Names the random numbers: the same seed gives the same devices and cycles."""
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
    """Whether a run draws its pictures."""
    reference: tuple[Reference, ...] = ()
    """Published numbers to compare with."""


class Experiment(Strict):
    """The whole configuration."""

    name: FileName
    """Names the run's folder."""
    description: str = Field("", max_length=4000)
    """Free text, kept with the results."""
    device: Device
    """The device, by its kind or by a preset."""
    circuit: AnyCircuit = Alone()
    """What stands beside the device."""
    protocol: AnyProtocol
    """What the source does."""
    ensemble: Ensemble = Ensemble()
    """How many devices and cycles."""
    measurements: dict[Name, AnyMeasurement] = Field(min_length=1)
    """Name → what is measured on every realisation."""
    fits: dict[Name, AnyFit] = Field(default_factory=dict)
    """Name → a law that is fitted to a measurement along an axis of the sweep."""
    sweep: Sweep = Sweep()
    """Keys that take several values."""
    output: Output = Output()
    """What is kept."""
    presets: dict[str, OwnPreset] | None = None
    """Presets of one's own, by the name of the file that they were read from, or written here."""

    def __repr__(self) -> str:
        return one_line(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    @property
    def precision(self) -> Literal["float32", "float64"]:
        """What the ensemble is computed in."""
        return self.device.precision if self.ensemble.precision == "auto" else self.ensemble.precision

    @functools.cached_property
    def widest(self) -> tuple[DeviceConfig, AnyCircuit]:
        """Device and circuit with every parameter's range as wide as devices and cycles make it: what step sizes
        suit."""
        wide = {}
        for name, sigma in self.ensemble.cycle_to_cycle.items():
            low, high = extremes(self.laws[name])
            far = math.exp(4.0 * sigma)
            wide[path_of_law(name)] = Uniform(low=low / far, high=high * far)
        widened = replaced(self, wide)
        return widened.device, widened.circuit

    def pace(self, voltage: float) -> Pace:
        """How finely time must be cut while the source applies ``voltage`` volts, for all devices of the circuit."""
        with np.errstate(all="ignore"):
            try:
                device, circuit = self.widest
                beside = circuit.pace(voltage)
                paces = [] if beside is None else [beside]
                if not circuit.follows(device):
                    paces.append(device.divided_pace(voltage) if circuit.divides else device.pace(voltage))
            except ArithmeticError:  # a rate that is larger than any number
                return Pace(0.0, 0.0)
        return Pace(*(min(all_of) for all_of in zip(*paces, strict=True))) if paces else Pace(math.inf, math.inf)

    @property
    def laws(self) -> dict[str, Drawn]:
        """Value or distribution of each parameter that may differ from device to device: the device's by its name,
        those of what the circuit puts beside it by their key path."""
        return {name: getattr(self.device, name) for name in self.device.parameters()} | self.circuit.laws

    @property
    def units(self) -> dict[str, Unit]:
        """Unit of each of :attr:`laws`."""
        return self.device.parameters() | self.circuit.units

    def meaning(self, name: str) -> str:
        """What one of :attr:`laws` means, in words."""
        return self.circuit.meaning(name) if "." in name else meaning(type(self.device), name)

    def members(self, name: str) -> tuple[int, ...]:
        """Numbers of the devices of a realisation that each draw this one of :attr:`laws`."""
        return self.circuit.members(name) if "." in name else tuple(range(self.circuit.copies))

    @property
    def kept_parameters(self) -> dict[str, tuple[str, int]]:
        """What results hold of the parameters: name → one of :attr:`laws`, and which of its devices. Of the further
        ones only what is drawn, ``friction(M2)``, where the circuit records them or a measurement reads them."""
        found, names = {}, self.circuit.memristors
        kept = {name for name in names if name in self.elements_read or self.circuit.keeps(name)}
        for name, law in self.laws.items():
            found[name] = (name, 0)
            for which, number in enumerate(self.members(name)):
                if which and not isinstance(law, float) and names[number] in kept:
                    found[placed(name, names[number])] = (name, which)
        return found

    @property
    def elements_read(self) -> set[str]:
        """Elements of the circuit that measurements name."""
        return {m.element for m in self.measurements.values() if m.element is not None}

    def named(self, draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Parameters [lane] by the names that results have them under, from what was drawn: [lane], or [member, lane]
        of several devices."""
        return {name: np.atleast_2d(draws[law])[which] for name, (law, which) in self.kept_parameters.items()}

    def references(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What measurements may refer to, as ``DeviceConfig.references`` gives it: of the first memristor by its name,
        of others that are read as ``full_scale(M2)``. ``parameters`` as :meth:`named`."""
        found = self.device.references({name: parameters[name] for name in self.device.parameters()})
        for memristor in self.elements_read & set(self.circuit.memristors[1:]):
            place, table = self.table_of(memristor)
            own = {
                name: parameters.get(placed(f"{place}{name}", memristor), parameters[f"{place}{name}"])
                for name in table.parameters()
            }
            found |= {placed(name, memristor): value for name, value in table.references(own).items()}
        return found

    def table_of(self, memristor: str | None) -> tuple[str, DeviceConfig]:
        """Where the table of a memristor stands among :attr:`laws` (``circuit.devices.taox.``, or nothing), and the
        table; of the first memristor by default."""
        number = self.circuit.memristors.index(memristor) if memristor is not None else 0
        for key, table in self.circuit.tables.items():
            names = table.parameters()
            if names and number in self.members(f"circuit.{key}.{next(iter(names))}"):
                return f"circuit.{key}.", table
        return "", self.device

    @property
    def channels(self) -> dict[str, Observable]:
        """What is recorded besides ``CIRCUIT_CHANNELS``: of the device, then of the circuit."""
        return self.device.channels | self.circuit.channels(self.device)

    def fit_read(self, name: str, coefficient: str | None) -> AnyFit | None:
        """The fit that is meant by this name, as a measurement may have it too: with a coefficient the fit, without one
        the measurement. None where it is no fit."""
        return self.fits.get(name) if coefficient is not None or name not in self.measurements else None

    @functools.cached_property
    def timeline(self) -> Timeline:
        """The samples of a run. Raises ``NoTimeline``."""
        return self.circuit.timeline(self.protocol)

    @property
    def forms(self) -> dict[str, str]:
        """What each measurement is, in words: the same at every sweep point, or the values cannot stand together."""
        timeline = self.timeline
        return {
            name: f"a {m.kind}, {'a number' if m.entries(timeline) is None else 'a list'} in {m.unit}"
            for name, m in self.measurements.items()
        }

    @property
    def kinds(self) -> list[str]:
        """Of the device and of those that the circuit holds: they decide what is recorded."""
        return [self.device.kind, *(str(getattr(table, "kind", "")) for table in self.circuit.tables.values())]

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Those that the kinds of its tables come from, at any sweep point."""
        every = [self, *(point for _, point in (self.points() if self.sweep.axes else ()))]
        rooms = (
            (
                *(e.device, e.circuit, *e.circuit.tables.values(), *e.circuit.elements_by_name.values()),
                *(getattr(each, "protocol", None) for each in e.circuit.elements_by_name.values()),
                *(e.protocol, *e.measurements.values(), *e.fits.values()),
            )
            for e in every
        )
        return plugins_of(table for tables in rooms for table in tables if table is not None)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickled with the sources of its plugins."""
        return packed(super().__reduce_ex__(protocol), self.plugins)

    # ------------------------------------------------------------------------------- variants

    def to_dict(self) -> dict[str, Any]:
        """Plain data that :func:`build` turns back into an equal experiment."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_toml(self) -> str:
        """The text of a file that :func:`load` reads as an equal experiment, with the same points in the same order."""
        return as_toml(self.to_dict())

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits that change with anything that can change a result."""
        data = {k: v for k, v in self.to_dict().items() if k not in ("name", "description", "output")}
        if len(self.sweep.axes) > 1:
            data["axes"] = list(self.sweep.axes)  # their order numbers the points
        data |= {"plugin": [str(plugin.source) for plugin in self.plugins]} if self.plugins else {}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:8]

    def with_(self, changes: Mapping[str, Any]) -> Experiment:
        """The experiment with other values at some key paths: ``{"device.friction": 3.0}``.

        Another ``device.preset`` replaces what came from the old one; what was given beside it stands.
        """
        data = self.to_dict()
        if "device.preset" in changes:
            data["device"] = without_preset(self.device, data["device"], self.own_presets)
        for key, table in self.circuit.tables.items():
            if f"circuit.{key}.preset" in changes:
                *above, last = key.split(".")
                place = functools.reduce(operator.getitem, above, data["circuit"])
                place[last] = without_preset(table, place[last], self.own_presets)
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

    def problems(self) -> list[Problem]:
        """Conflicts between sections (each section alone has been checked already)."""
        return problems_of(self)

    def warnings(self) -> list[str]:
        """What runs but should be known: doubtful settings, a start out of equilibrium."""
        return warnings_of(self)

    def notes(self) -> list[str]:
        """What is known of the accuracy before a run, where nothing is doubtful."""
        return notes_of(self)

    @functools.cached_property
    def own_presets(self) -> dict[str, dict[str, Any]]:
        """Those of this configuration, as :func:`preset_tables.presets` has mcdev's."""
        return {name: preset.model_dump(mode="json") for name, preset in (self.presets or {}).items()}

    @property
    def beside(self) -> dict[str, Any]:
        """The circuit's own devices by their key path."""
        return {f"circuit.{key}": table for key, table in self.circuit.tables.items()}

    @property
    def devices(self) -> dict[str, DeviceConfig]:
        """All devices by their key path: the device, and those of the circuit."""
        return {"device": self.device, **self.beside}

    @property
    def remedy(self) -> str:
        """What may help where realisations break down: of each of :attr:`devices`, with its own key paths."""
        return "; ".join({with_own_keys(table.remedy, place): None for place, table in self.devices.items()})

    @property
    def alike(self) -> bool:
        """Whether realisations with equal parameters behave alike: no device has noise."""
        return all(device.alike for device in self.devices.values())

    @property
    def adaptive(self) -> bool:
        """Whether some device chooses its own steps."""
        return any(device.adaptive for device in self.devices.values())

    @property
    def exact(self) -> bool:
        """Whether a calibration may follow derivatives along the trajectory: ``DeviceConfig.exact`` of all devices."""
        return all(device.exact for device in self.devices.values())


# -------------------------------------------------------------------------------------- loading


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment of a TOML file. Raises ``ConfigError`` with everything that is wrong."""
    path = Path(path)
    data = read_toml(path)
    check_describes("experiment", data, str(path))
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
    unopened = read_own(table, folder or Path())
    unfilled, unread = unopened or fill(table), _read_waveform(table, folder or Path())
    unsampled = read_samples(table, folder or Path())
    found += unfilled + unread + unsampled
    spoilt = tuple(problem.key.removesuffix("file") for problem in unsampled)
    bare = tuple(problem.key.removesuffix("preset") for problem in unfilled)
    try:
        # As JSON, in which a list may stand for a tuple though nothing else may stand for another.
        experiment = Experiment.model_validate_json(json.dumps(table, default=_plain))
    except ValidationError as error:
        for problem, kind in described(error, table, Experiment):
            missing = kind in ("missing", "union_tag_not_found")
            absent = missing and problem.key.startswith(bare)  # the preset would have had it
            if not absent and not problem.key.startswith(spoilt):
                found.append(problem)
        raise ConfigError(unique(found), source) from None
    if unsampled:
        raise ConfigError(unique(found), source)
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
