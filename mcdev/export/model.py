"""What is exported: a device's laws, its parameters with values, and what a reader must know of it.

With a second memristor in the circuit (V = v_1 + v_2, I_1(v_1) = I_2(v_2), mcdev/circuits/series_memristor.py) the
model holds that one too, and is written as a pair besides. A circuit of elements between nodes is written as a network
besides (`netlist.py`).
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from mcdev.circuits import Alone
from mcdev.circuits.series_memristor import SeriesMemristor
from mcdev.circuits.wired import Wired
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.plugins import PREFIX
from mcdev.configuration.preset_tables import presets
from mcdev.devices.contract import DeviceConfig, RateEquations
from mcdev.devices.diffusive import Diffusive
from mcdev.export import swarm, swarm_fit, swarm_trains
from mcdev.export.expressions import FAR
from mcdev.export.laws import Laws, laws_of
from mcdev.export.names import comment
from mcdev.export.netlist import Netlist, netlist_of
from mcdev.export.refusal import refused
from mcdev.machine.provenance import own_version
from mcdev.schema import extremes, typical
from mcdev.schema.meanings import meaning

SHUNT = 1e15
"""Resistance (ohm) beside every device, an instance parameter of its own. A law that vanishes over a range (an organic
device opposed by its layers, a drift memristor at x = 0) leaves a node between two such devices without a voltage, and
a simulator without a solution. It carries 1 fA at 1 V."""


class Parameter(NamedTuple):
    """An instance parameter, in SI units."""

    value: float
    """Of the median device."""
    unit: str
    about: str
    least: float | None = None
    """Exclusive bound from below, where there is one."""


@dataclass(frozen=True)
class Model:
    """A device ready to be written in any language."""

    name: str
    laws: Laws | swarm.Numbers
    """Formulas; of the diffusive family the numbers of its cells."""
    parameters: dict[str, Parameter]
    """What an instance may be given; the same names as in a configuration."""
    fixed: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Fitted numbers that are the same in every instance, with their meaning."""
    header: tuple[str, ...] = ()
    """Lines of plain text: provenance, equations, assumptions."""
    second: Model | None = None
    """The memristor in series with it, where the circuit has one."""
    turned: bool = False
    """Whether that one's terminals are exchanged."""
    pair_header: tuple[str, ...] = ()
    """Lines of plain text on the two together."""
    network: Netlist | None = None
    """The circuit that it is in, where that is one of elements between nodes."""
    others: Mapping[str, Model] = field(default_factory=dict)
    """Table → model of the memristors that are not of ``[device]``."""
    network_header: tuple[str, ...] = ()

    @property
    def carried(self) -> dict[str, Parameter]:
        """What an instance of the whole may be given, by the names of :attr:`Experiment.laws`: the device's own, and
        the second memristor's with its key path before them."""
        beside = {} if self.second is None else self.second.parameters
        return self.parameters | {f"{BESIDE}{name}": p for name, p in beside.items()}


BESIDE = "circuit.memristor."
"""Key path of the second memristor's parameters."""


def of_pair(name: str) -> str:
    """The name that one of :attr:`Model.carried` has as a parameter of the pair: ``circuit.memristor.steepness`` is
    ``memristor_steepness``."""
    return f"memristor_{name.removeprefix(BESIDE)}" if name.startswith(BESIDE) else name


def words_of_pair(experiment: Experiment) -> list[str]:
    """The parameters of its pair, where it has one: ngspice would read a subcircuit's name as one of them there."""
    return [of_pair(name) for name in experiment.units] if isinstance(experiment.circuit, SeriesMemristor) else []


def model_of(experiment: Experiment, name: str, provenance: str) -> Model:
    """The model of one sweep point's median device. ``provenance`` says where it is from, in a line.

    Raises ``ConfigError`` for a family without a circuit model.
    """
    model = _of_device(experiment, name, provenance)
    circuit = experiment.circuit
    if isinstance(circuit, Alone) or not isinstance(circuit, Wired):
        return model
    if not isinstance(circuit, SeriesMemristor):
        return _in_network(experiment, circuit, model, provenance)
    second = _of_second(circuit.memristor, f"{name}_memristor", provenance)
    header = _pair_header(circuit, model, provenance)
    return replace(model, second=second, turned=circuit.reversed, pair_header=header)


def _in_network(experiment: Experiment, circuit: Wired, model: Model, provenance: str) -> Model:
    others = {}
    for key, table in circuit.tables.items():
        name = key.rpartition(".")[2]
        lines = [_written(provenance), f"The memristors of the table circuit.{key}.", *_of_table(table), *_ALWAYS]
        others[name] = _exact(table, f"circuit.{key}", f"{model.name}_{re.sub(r'[^0-9A-Za-z]', '_', name)}", lines)
    carried = {"": set(model.parameters)} | {name: set(other.parameters) for name, other in others.items()}
    network = netlist_of(experiment, circuit, carried)
    nodes = ", ".join(f"{pin} (node {node})" for pin, node in network.pins.items())
    lines = [
        f"{model.name}_network: the circuit of the configuration (mcdev circuit {circuit.kind})",
        _written(provenance),
        f"Pins, where its sources are, which are not in it: {nodes}. Ground is the netlist's 0.",
        "Capacitors begin without charge (.ic, idt). Kirchhoff's laws are the simulator's.",
    ]
    if limited := [name for name in circuit.sources if getattr(circuit.elements_by_name[name], "compliance", None)]:
        lines.append(f"NOT in it: the compliance of {', '.join(limited)}.")
    if isinstance(model.laws, swarm.Numbers):
        lines.append("Its devices are the mean of many; the circuit of a mean is not the mean of many circuits.")
    lines.append("Parameters: of each element NAME_parameter; of memristors those that are distributed.")
    return replace(model, network=network, others=others, network_header=_plain(lines))


def _of_device(experiment: Experiment, name: str, provenance: str) -> Model:
    if isinstance(experiment.device, Diffusive):
        return _swarm(experiment, experiment.device, name, provenance)
    return _exact(experiment.device, "device", name, _common(experiment, provenance))


def _of_second(memristor: DeviceConfig, name: str, provenance: str) -> Model:
    lines = [
        _written(provenance),
        "The second memristor of the circuit, in series with the device.",
        *_of_table(memristor),
    ]
    return _exact(memristor, "circuit.memristor", name, [*lines, *_ALWAYS])


def _exact(device: Any, key: str, name: str, common: list[str]) -> Model:
    """The model of a family whose equations are written as they are."""
    laws, family = laws_of(device, key), type(device)
    equations = device.rate_equations
    assert isinstance(equations, RateEquations)
    lines = [f"{name}: {_first_line(family)} (mcdev family {device.kind})", *common]
    for source in laws.sources:
        stated = f"Equations, as {source.removeprefix(PREFIX)} states them."
        lines += [f"{stated} The formulas below are printed from its functions:"]
        lines += [f"  {line}" for line in _paragraphs(inspect.getdoc(sys.modules.get(source, family)) or "")]
    chosen = {n: getattr(device, n) for n in family.model_fields if n not in (*family.parameters(), "kind", "preset")}
    lines += [f"Chosen: {n} = {value}." for n, value in chosen.items() if isinstance(value, (str, bool, int, float))]
    for state in laws.states:
        lines.append(f"State on node {state.name}: {state.about}.")
        if state.keeps:
            lines.append(
                f"  Nothing moves {state.name} at rest: .op, .dc and .ac see it as it starts, at whatever bias."
            )
    if laws.idle:
        lines.append(f"Without effect here, and kept so that a device can be given whole: {', '.join(laws.idle)}.")
    lines.append(f"Where they could overflow, exp, sinh and cosh go straight on from an argument of {FAR:g}.")
    lines += [*equations.notes, *_notes(device)]
    return Model(name, laws, _parameters(device, family.parameters()), header=_plain(lines))


def _paragraphs(text: str) -> list[str]:
    """A line each; what is indented, equations, as it is."""
    lines = []
    for block in text.split("\n\n"):
        lines += block.splitlines() if block.startswith(" ") else [" ".join(block.split())]
    return lines


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or thing.__name__).splitlines()[0].rstrip(".")


def _pair_header(circuit: SeriesMemristor, model: Model, provenance: str) -> tuple[str, ...]:
    name = model.name
    lines = [
        f"{name}_pair: {name} from p to the node k, {name}_memristor from k to n (mcdev circuit series_memristor)",
        _written(provenance),
        "Equations: V = v_1 + v_2, I_1(v_1) = I_2(v_2), v_1 of the device and v_2 of the second memristor",
    ]
    if circuit.reversed:
        lines.append(
            "reversed: the second memristor's terminals are exchanged, its own p is the pair's n. A positive voltage"
        )
        lines.append("of the pair is negative to it.")
    if circuit.compliance is not None:
        lines.append(f"NOT in it: the compliance of the configuration, {circuit.compliance:g} A, is the source's.")
    if isinstance(model.laws, swarm.Numbers):
        lines.append("The device is the mean of many; the pair of a mean is not the mean of many pairs.")
    lines.append("Parameters: the device's by their names, the second memristor's with memristor_ before them.")
    return _plain(lines)


def _parameters(device: Any, names: Iterable[str]) -> dict[str, Parameter]:
    found = {}
    for name, mark in type(device).parameters().items():
        if name in names:
            text = (meaning(type(device), name) or name).splitlines()[0]
            found[name] = Parameter(typical(getattr(device, name)), mark.unit, text, mark.gt)
    return found


_ALWAYS = (
    "A transient analysis starts at rest (.ic, idt), whatever voltage is on at time zero. No statement refers to a "
    "time step.",
    f"Beside mcdev's equations: shunt, {SHUNT:g} ohm from p to n, a parameter of every instance. Where a law has no",
    "conductance of its own it gives a node between two devices a voltage. It carries 1 fA at 1 V.",
)


def _of_table(device: Any) -> list[str]:
    """What a device's table alone says: its preset, what is distributed."""
    lines = []
    if preset := getattr(device, "preset", None):  # a family of somebody else may have none
        source = presets().get(preset, {}).get("source")
        lines.append(f"Preset {preset}." + (f" Source: {source}" if source else ""))
    drawn = [name for name in type(device).parameters() if not isinstance(getattr(device, name), float)]
    lines.append("Units are SI: V, A, s, m, S, F. Default values are those of the median device.")
    if drawn:
        lines.append(f"Distributed from device to device in the configuration: {', '.join(drawn)}.")
    lines.append("Noise: none. Two instances of equal parameters behave alike; no random number is drawn in a run.")
    return lines


def _written(provenance: str) -> str:
    return f"Written by mcdev {own_version()} from {provenance}."


def _common(experiment: Experiment, provenance: str) -> list[str]:
    lines = [_written(provenance)]
    if experiment.description:
        lines.append(f"Description: {experiment.description}")
    lines += _of_table(experiment.device)
    if experiment.ensemble.cycle_to_cycle:
        changing = ", ".join(experiment.ensemble.cycle_to_cycle)
        lines.append(f"Cycle-to-cycle changes of the configuration ({changing}) are not in this model.")
    circuit, kind = experiment.circuit, experiment.circuit.kind
    if kind == "series_memristor":
        lines.append(
            f"The circuit of the configuration ({kind}) is in the pair, not in this model of the device alone."
        )
    elif isinstance(circuit, Wired) and not isinstance(circuit, Alone):
        lines.append(f"The circuit of the configuration ({kind}) is in the network, not in this model of the device.")
    elif not isinstance(circuit, Alone):
        lines.append(f"The circuit of the configuration ({kind}) is not in this model: build it.")
    elif circuit.compliance is not None:
        lines.append(f"The compliance of the configuration, {circuit.compliance:g} A, is not in this model.")
    return [*lines, *_ALWAYS]


def _notes(device: Any) -> list[str]:
    """What the preset's file says is assumed."""
    preset = getattr(device, "preset", None)
    notes = presets().get(preset, {}).get("notes", []) if preset else []
    return [f"Of the preset: {note}" for note in notes]


CARRIED = ("threshold_voltage", "maximum_conductance", "cooling_rate")
"""What the compact model of the diffusive family carries exactly: the scales of voltage, conductance and time."""


def _swarm(experiment: Experiment, device: Diffusive, name: str, provenance: str) -> Model:
    if device.initial_state != "rest":
        message = 'the compact model starts at rest; write initial_state = "rest"'
        raise refused("device.initial_state", device.initial_state, message)
    fitted = swarm_fit.fit(experiment)
    cells = len(fitted.numbers.rest)
    drawn = [n for n in type(device).parameters() if not isinstance(getattr(device, n), float)]
    left = [n for n in drawn if n not in CARRIED]
    lines = [
        f"{name}: diffusive memristor, compact model of {cells} cells and a temperature (mcdev family diffusive)",
        *_common(experiment, provenance),
        "NOT the particles: their mean density, for the MEAN of the ensemble. A single device jumps; its mean does",
        "not, and a circuit that answers to one device's jump is not described by it.",
        "Equations (v = V/V_th, kappa the cooling rate; those of mcdev/export/swarm.py):",
        "  dn_i/dt = kappa (j_(i-1) - j_i),   j_i = k x_i/sinh(x_i) [exp(-x_i) n_i - exp(x_i) n_(i+1)]",
        "  x_i = (u_(i+1) - u_i - p v)/(2 theta),   theta = theta_0 + h,   k = m theta,   dh/dt = kappa (H v^2 g - h)",
        "  e_i = exp(-b n_i^c),   w_i = e_i (y w_(i-1) - 1) + 1,   R = sum w_(i-1) (1 - e_i) + w_N,   w_0 = 1",
        "  I = G_max V g,   g = 1/(1 + a R) + g_f",
        f"States: nodes n1 to n{cells} (particles in each cell, in volts) and h (k_B (T - T_0)/w_p, in volts).",
        "Operating points (.op, .dc, .ac) see the particles at rest, whatever the bias: it has no memory of a time.",
        *_worth(fitted),
        "Exact from instance to instance: threshold_voltage, maximum_conductance, cooling_rate, which are scales.",
        "Other temperatures, frictions or wells want another export.",
    ]
    if left:
        lines.append(f"NOT carried, taken at the median for every instance: {', '.join(left)}.")
    crowded = extremes(device.capacity_stiffness)[1] > 0
    if device.interaction > 0 or device.pinning_disorder is not None or crowded:
        lines.append(
            "NOT in the equations: attraction between particles, random wells, what a cluster can hold; only the fit "
            "knows of them."
        )
    fixed = {key: (getattr(fitted.numbers, key), about) for key, about in swarm.MEANINGS.items()}
    return Model(name, fitted.numbers, _parameters(device, CARRIED), fixed, _plain(lines))


def _worth(fitted: swarm_fit.Fitted) -> list[str]:
    """What the header says of the fit: of all trains in a line each way, then each that was not fitted."""
    trains = [c for c in fitted.checks.values() if c.train]
    held = [c for c in trains if not c.fitted]
    lines = [
        f"Fitted to the mean of {fitted.realisations} realisations of the median device under trains. RANGE: "
        f"{swarm_trains.RANGE}.",
        "Error of each pulse's own conductance (mean over its last quarter) against the ensemble's mean, root mean",
        "square over the pulses and worst pulse, beside the ensemble's own standard error (rms):",
    ]
    for some, what in ((held, "NOT FITTED"), ([c for c in trains if c.fitted], "fitted")):
        if some:
            rms = (sum(c.conductance**2 for c in some) / len(some)) ** 0.5
            noise = (sum(c.noise**2 for c in some) / len(some)) ** 0.5
            both = swarm_fit.Check(what, False, True, rms, max(c.worst for c in some), 0.0, noise)
            lines.append(f"  {len(some)} trains, {what}: {_percents(both)}")
    lines += [f"    {_percents(c)} - {c.about}" for c in held]
    worst = max((c.worst for c in held), default=float("inf"))
    if worst > swarm_fit.WANTED:
        lines.append(
            f"  NOTE: the worst pulse is off by more than {100 * swarm_fit.WANTED:g} %: see which trains above."
        )
    lines += [
        "OUTSIDE that range (weaker or longer pulses, other intervals, sweeps) the model was not fitted and is not",
        "promised. Measured, rms over the time of the trace relative to its peak:",
    ]
    lines += [f"  {key}: {_percents(c)} - {c.about}" for key, c in fitted.checks.items() if not c.train]
    return lines


def _percents(c: swarm_fit.Check) -> str:
    if c.train:
        return f"rms {100 * c.conductance:.1f} %, worst {100 * c.worst:.1f} %, noise {100 * c.noise:.1f} %"
    return f"conductance {100 * c.conductance:.1f} %, current {100 * c.current:.1f} %, noise {100 * c.noise:.1f} %"


def _plain(lines: list[str]) -> tuple[str, ...]:
    return tuple(plain for line in lines for plain in comment(line))
