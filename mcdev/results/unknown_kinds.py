"""Results of kinds that are not known here, because their plugin is not loaded: read, counted and drawn without it.

A stand-in takes the place of the table that nobody here knows. It keeps the keys as they were given and answers from
what the results hold: parameters with their units, channels, windows, criteria. What only the plugin could say (an
equation, a law) raises :class:`NeedsPlugin`.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, NoReturn

import numpy as np
import xarray as xr
from pydantic import ConfigDict, PrivateAttr, create_model

from mcdev.circuits.contract import CircuitConfig
from mcdev.circuits.elements.contract import Conductor
from mcdev.circuits.wired import Wired
from mcdev.configuration.experiment import Experiment, build
from mcdev.configuration.plugins import ROOMS
from mcdev.devices.contract import CIRCUIT_CHANNELS, DeviceConfig, Observable, Pace, PerLane
from mcdev.files.structure import Unreadable, parse_toml
from mcdev.files.whole_file import ResultsError
from mcdev.fits.contract import Coefficient, Fit
from mcdev.kinds import Kind, Kinds, standing_in
from mcdev.measurements.contract import Measurement, Reading, Trajectory
from mcdev.protocols.timeline import Piece, Protocol, Timeline
from mcdev.schema import Drawn, PerDevice, at_place, is_unit, parted

_BOUNDS = {"greater_than": "gt", "at_least": "ge", "less_than": "lt", "at_most": "le"}
_OPEN = ConfigDict(extra="allow")


class NeedsPlugin(ResultsError):
    """What was asked for is known to a plugin that is not loaded."""


def _needed(table: Kind) -> NoReturn:
    raise NeedsPlugin(f"the kind '{table.kind}' is of a plugin that is not loaded; give it with --plugin")


def missing(data: Mapping[str, Any]) -> list[str]:
    """The kinds of a configuration that are not known here."""

    def kinds_in(section: Any) -> list[Any]:
        if not isinstance(section, dict):
            return []
        own = [section["kind"]] if "kind" in section else []
        return own + [kind for table in section.values() for kind in kinds_in(table)]

    known = {name for kinds in ROOMS.values() for name in kinds.names}
    sections = (data.get(name) for name in ("device", "circuit", "protocol", "measurements", "fits"))
    return [kind for section in sections for kind in kinds_in(section) if isinstance(kind, str) and kind not in known]


# -------------------------------------------------------------------------------------- stand-ins


class _DeviceHeld(NamedTuple):
    channels: dict[str, Observable]
    coordinates: dict[str, Observable]
    profiles: dict[str, Observable]
    bins: np.ndarray
    parts: int
    precision: Literal["float32", "float64"]
    reduced_units: dict[str, str]
    remedy: str
    disordered: bool


_NOTHING = _DeviceHeld({}, {}, {}, np.empty(0), 0, "float64", {}, "", False)


class UnknownDevice(DeviceConfig):
    """Of a family that is not known here; its parameters are those that the results hold."""

    model_config = _OPEN
    _held: _DeviceHeld = PrivateAttr(default=_NOTHING)

    @property
    def channels(self) -> dict[str, Observable]:
        return self._held.channels

    @property
    def coordinates(self) -> dict[str, Observable]:
        return self._held.coordinates

    @property
    def profiles(self) -> dict[str, Observable]:
        return self._held.profiles

    @property
    def profile_bins(self) -> np.ndarray:
        return self._held.bins

    @property
    def parts(self) -> int:
        return self._held.parts

    @property
    def precision(self) -> Literal["float32", "float64"]:
        return self._held.precision

    @property
    def reduced_units(self) -> dict[str, str]:
        return self._held.reduced_units

    @property
    def disordered(self) -> bool:
        return self._held.disordered

    @property
    def rate_equations(self) -> str:
        return f"its kind {self.kind!r} is of a plugin that is not loaded: give --plugin FILE"

    @property
    def remedy(self) -> str:
        return self._held.remedy

    def pace(self, voltage: float) -> Pace:
        _needed(self)

    def build(self, draws: dict[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any) -> NoReturn:
        _needed(self)


class UnknownCircuit(CircuitConfig):
    """A circuit that is not known here."""

    model_config = _OPEN
    _channels: dict[str, Observable] = PrivateAttr(default={})
    _devices: dict[str, DeviceConfig] = PrivateAttr(default={})

    def channels(self, device: DeviceConfig) -> dict[str, Observable]:
        return self._channels

    @property
    def tables(self) -> dict[str, DeviceConfig]:
        return self._devices

    def build(
        self, device: DeviceConfig, draws: Mapping[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any
    ) -> NoReturn:
        _needed(self)


class UnknownElement(Conductor):
    """An element of a circuit that is not known here."""

    model_config = _OPEN

    def law(self, values: Mapping[str, PerLane]) -> NoReturn:
        _needed(self)


class UnknownProtocol(Protocol):
    """A protocol that is not known here; its timeline is that of the results."""

    model_config = _OPEN
    _seen: Timeline | None = PrivateAttr(default=None)
    _frequencies: np.ndarray = PrivateAttr(default=np.empty(0))

    @property
    def frequencies(self) -> np.ndarray:
        return self._frequencies

    @property
    def equilibrium(self) -> bool:
        return False

    def pieces(self) -> list[Piece]:
        _needed(self)

    def timeline(self) -> Timeline:
        return self._seen or _needed(self)


class UnknownMeasurement(Measurement):
    """A measurement that is not known here; unit and criterion are those of the results."""

    model_config = _OPEN
    _about: dict[str, Any] = PrivateAttr(default={})
    _entries: int | None = PrivateAttr(default=None)

    @property
    def unit(self) -> str:
        return str(self._about["units"])

    @property
    def criterion(self) -> str:
        return str(self._about["criterion"])

    @property
    def needs(self) -> tuple[str, ...]:
        return ()

    @property
    def nonnegative(self) -> bool:
        return "at_least" in self._about

    def entries(self, timeline: Timeline) -> int | None:
        return self._entries

    def measure(self, trajectory: Trajectory) -> Reading:
        _needed(self)


class UnknownFit(Fit):
    """A fit that is not known here; its coefficients are those of the results."""

    model_config = _OPEN
    _coefficients: dict[str, str] = PrivateAttr(default={})
    _equation: str = PrivateAttr(default="")

    @property
    def coefficients(self) -> dict[str, str]:
        return self._coefficients

    @property
    def equation(self) -> str:
        return self._equation

    @property
    def axis_unit(self) -> str:
        return ""

    @property
    def least_points(self) -> int:
        return 1

    def fit(self, axis: np.ndarray, value: np.ndarray) -> dict[str, Coefficient]:
        _needed(self)

    def sensitivity(self, axis: np.ndarray, value: np.ndarray) -> dict[str, np.ndarray]:
        _needed(self)


_OF_ROOM: dict[str, type[Kind]] = {
    "device": UnknownDevice,
    "circuit": UnknownCircuit,
    "element": UnknownElement,
    "protocol": UnknownProtocol,
    "measurement": UnknownMeasurement,
    "fit": UnknownFit,
}


# -------------------------------------------------------------------------------------- from the results

_kept: dict[int, tuple[weakref.ref[xr.DataTree], str, Experiment]] = {}
"""What was made of a tree that is still there."""


def experiment_with_stand_ins(data: dict[str, Any], text: str, tree: xr.DataTree) -> Experiment:
    """The experiment of these results; ``text`` is their configuration and ``data`` its tables. It ran once, so that
    its sections are not checked against each other again. Raises ``ConfigError``, and ``Unreadable`` for names and
    units that no plugin can have given."""
    number = id(tree)
    kept = _kept.get(number)
    if kept is not None and kept[0]() is tree and kept[1] == text:
        return kept[2]
    _check_parameters(tree)
    with standing_in(lambda kinds, kind: _class_of(kinds, kind, tree)):
        experiment = build(data, source="the configuration in the results")
        points = [point for _, point in experiment.points()]
    _tell(experiment, tree, 0)
    for index, point in enumerate(points):
        _tell(point, tree, index)
    _kept[number] = weakref.ref(tree, lambda _: _forget(number)), text, experiment
    return experiment


def _forget(number: int) -> None:
    _kept.pop(number, None)


def _class_of(kinds: Kinds[Any], kind: str, tree: xr.DataTree) -> type[Kind]:
    room = next(room for room, each in ROOMS.items() if each.contract is kinds.contract)
    if room == "element":
        return _made(UnknownElement, kind, _parameters(tree, _place(tree, kind)))
    if room != "device":
        return _made(_OF_ROOM[room], kind, _parameters(tree, "circuit.") if room == "circuit" else {})
    made = _made(UnknownDevice, kind, _parameters(tree, _place(tree, kind)))
    made.alike = bool(tree.attrs.get("alike", 1))
    return made


def _place(tree: xr.DataTree, kind: str) -> str:
    """Where the parameters of the first device or element of this kind stand: nothing before those of ``[device]``."""
    data = parse_toml(str(tree["config"].dataset["toml"].item()))
    circuit = data.get("circuit", {})
    tables = {"": data["device"]} | {f"circuit.{key}.": table for key, table in circuit.items()}
    for group in ("devices", "elements"):
        tables |= {f"circuit.{group}.{key}.": table for key, table in circuit.get(group, {}).items()}
    of_kind = (place for place, table in tables.items() if isinstance(table, dict) and table.get("kind") == kind)
    return next(of_kind, "")


def _made(stand_in: type[Kind], kind: str, fields: dict[str, Any]) -> Any:
    of_kind: Any = Literal[kind]
    return create_model(f"{stand_in.__name__}_{kind}", __base__=stand_in, kind=(of_kind, kind), **fields)


def _unit(array: xr.DataArray) -> str:
    unit = str(array.attrs.get("units", "1"))
    return "" if unit == "1" else unit


def _check_parameters(tree: xr.DataTree) -> None:
    """Before fields are made of them: a stranger may have written the file."""
    for path, array in tree["parameters"].data_vars.items():
        name, unit = parted(str(path))[0].rpartition(".")[2], _unit(array)
        if hasattr(UnknownDevice, name) or not name.isidentifier() or name.startswith("_") or not is_unit(unit):
            raise Unreadable(f"the parameter {name} in {unit} is none that a device can have")


def _parameters(tree: xr.DataTree, prefix: str) -> dict[str, Any]:
    """Fields of a table's parameters, with units and bounds as the results give them."""
    found: dict[str, Any] = {}
    for path, array in tree["parameters"].data_vars.items():
        name = str(path).removeprefix(prefix)
        if not str(path).startswith(prefix) or "." in name or "(" in name:
            continue
        bounds = {short: float(array.attrs[long]) for long, short in _BOUNDS.items() if long in array.attrs}
        found[name] = (Annotated[Drawn, PerDevice(_unit(array), **bounds)], ...)
    return found


def _tell(experiment: Experiment, tree: xr.DataTree, point: int) -> None:
    """Give the stand-ins what the results hold of them at this sweep point."""
    circuit, device = experiment.circuit, experiment.device
    recorded = _channels(tree)
    if isinstance(circuit, UnknownCircuit):
        circuit._devices = _devices_of(circuit, tree)
        own = {} if isinstance(device, UnknownDevice) else device.channels
        circuit._channels = {name: about for name, about in recorded.items() if name not in own}
    for key, table in circuit.tables.items():
        if isinstance(table, UnknownDevice) and isinstance(circuit, Wired):
            (name, *_) = circuit.batches[key]  # its channels are those of the first one
            table._held = _NOTHING._replace(
                channels={
                    own: about._replace(long_name=about.long_name.removesuffix(f", of {name}"))
                    for own, about in at_place(recorded, name).items()
                    if own not in CIRCUIT_CHANNELS
                }
            )
    if isinstance(device, UnknownDevice):
        others = set(circuit.channels(device)) | {name for name in recorded if "(" in name}
        if isinstance(circuit, UnknownCircuit):
            others, circuit._channels = set(), {}
        device._held = _held_of_device(tree, point, {n: about for n, about in recorded.items() if n not in others})
    if isinstance(experiment.protocol, UnknownProtocol):
        experiment.protocol._seen = _timeline(tree, point)
        if "frequency" in tree["spectrum"].dataset:
            frequency = tree["spectrum"].dataset["frequency"].isel(point=point).values
            experiment.protocol._frequencies = frequency[np.isfinite(frequency)]
    for name, measurement in experiment.measurements.items():
        if isinstance(measurement, UnknownMeasurement):
            group = tree[f"measurements/{name}"].dataset
            measurement._about = dict(group["value"].attrs)
            if "entry" in group.dims:
                status = group["status"].isel(point=point).values
                measurement._entries = int((status >= 0).any(axis=(0, 1)).sum())
    for name, fit in experiment.fits.items():
        if isinstance(fit, UnknownFit):
            group = tree[f"fits/{name}"].dataset
            fit._equation = str(group.attrs["equation"])
            found = [array for array in group.data_vars.values() if "coefficient" in array.attrs]
            fit._coefficients = {str(a.attrs["coefficient"]): str(a.attrs["units"]) for a in found}


def _channels(tree: xr.DataTree) -> dict[str, Observable]:
    """What was recorded besides ``CIRCUIT_CHANNELS``."""
    means = {
        str(name): array
        for name, array in tree["response"].data_vars.items()
        if array.dims == ("point", "kept_cycle", "sample") and f"{name}_sem" in tree["response"].dataset
    }
    return {
        name: Observable(str(array.attrs["units"]), str(array.attrs["long_name"]).removeprefix("mean "))
        for name, array in means.items()
        if name not in CIRCUIT_CHANNELS
    }


def _devices_of(circuit: UnknownCircuit, tree: xr.DataTree) -> dict[str, DeviceConfig]:
    """The devices that an unknown circuit holds: those whose parameters the results have."""
    names = (str(path).split(".") for path in tree["parameters"].data_vars)
    keys = dict.fromkeys(parts[1] for parts in names if len(parts) == 3 and parts[0] == "circuit")
    given = circuit.model_extra or {}
    return {
        key: _made(UnknownDevice, given[key]["kind"], _parameters(tree, f"circuit.{key}.")).model_validate(given[key])
        for key in keys
    }


def _held_of_device(tree: xr.DataTree, point: int, channels: dict[str, Observable]) -> _DeviceHeld:
    inner = {name: array for name, array in tree["trajectories"].data_vars.items() if "part" in array.dims}
    profile = tree["profile"].dataset
    bins = profile["position"].isel(point=point).values if "position" in profile.coords else np.empty(0)
    pairs = (part.partition(" = ") for part in str(tree.attrs.get("reduced_units", "")).split("; ") if part)
    comment = str(tree["realisations"].dataset["intact"].attrs.get("comment", ""))
    return _DeviceHeld(
        channels=channels,
        coordinates={str(name): _about(array) for name, array in inner.items()},
        profiles={str(name): _about(array) for name, array in profile.data_vars.items()},
        bins=bins[np.isfinite(bins)],
        parts=max((array.sizes["part"] for array in inner.values()), default=0),
        precision="float32" if tree.attrs.get("precision") == "float32" else "float64",
        reduced_units={left.removeprefix("1 "): right for left, _, right in pairs},
        remedy=comment.removeprefix("where realisations break down "),
        disordered=bool(tree.attrs.get("disordered", 0)),
    )


def _about(array: xr.DataArray) -> Observable:
    return Observable(str(array.attrs["units"]), str(array.attrs["long_name"]))


def _timeline(tree: xr.DataTree, point: int) -> Timeline:
    """The samples of one sweep point; within each the voltage is its mean."""
    response = tree["response"].dataset.isel(point=point)
    widths = response["width"].values
    count = int(np.isfinite(widths).sum())
    voltage = response["voltage"].isel(kept_cycle=0).values[:count]
    found = {str(name): array.values for name, array in response.data_vars.items() if str(name).startswith("window_")}
    spans = {name.removeprefix("window_"): each[each[:, 0] >= 0] for name, each in found.items()}
    return Timeline(
        edges=np.concatenate([[0.0], np.cumsum(widths[:count])]),
        start=voltage,
        end=voltage,
        windows={
            name.removeprefix("window_"): all_[all_[:, 0] >= 0] for name, all_ in spans.items() if (all_ >= 0).any()
        },
    )
