"""A circuit of elements as one subcircuit: what lies between which of its nodes. The sources stay outside; their nodes
are its pins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from mcdev.circuits.elements import Capacitor, Element, Memristor
from mcdev.circuits.elements.contract import GROUND, Conductor
from mcdev.circuits.wired import Wired
from mcdev.configuration.experiment import Experiment
from mcdev.devices.contract import DeviceConfig
from mcdev.export.expressions import Expression, Expressions, text
from mcdev.export.jaxpr import UnprintableError, formulas
from mcdev.export.names import check_words
from mcdev.export.refusal import refused
from mcdev.schema import Drawn, Unit, typical


class Given(NamedTuple):
    """A parameter of the subcircuit."""

    name: str
    """``R1_resistance``, ``M2_friction``."""
    law: str
    """Which of ``Experiment.laws`` it is; nothing for what has one value in every circuit."""
    member: int
    """Of several memristors that draw it, which."""
    value: float
    """Of the median circuit (SI)."""
    unit: str


class Placed(NamedTuple):
    """An element between two nodes of the netlist."""

    name: str
    nodes: tuple[str, str]
    table: str | None
    """Of a memristor: the name of its table, empty for ``[device]``; None for other elements."""
    current: Expression | None
    """Of a conductor: of its voltage and its parameters, by their own names."""
    given: dict[str, Given]
    """Its parameter → that of the subcircuit."""


@dataclass(frozen=True)
class Netlist:
    """All of them."""

    pins: dict[str, str]
    """Node of the netlist → of the circuit; those that sources hold."""
    placed: tuple[Placed, ...]
    tables: dict[str, DeviceConfig]
    """Name → table of the memristors that are not of ``[device]``."""

    @property
    def given(self) -> list[Given]:
        return list(dict.fromkeys(given for element in self.placed for given in element.given.values()))


def _apart(names: Iterable[str]) -> None:
    """Refuses elements that a netlist, which tells no capitals from small letters, would take for one."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(element_word(name).lower(), name)
        if other != name:
            message = f"and {other!r} are one name in a netlist ({element_word(name)}); call one of them otherwise"
            raise refused(f"circuit.elements.{name}", None, message)


def netlist_of(experiment: Experiment, circuit: Wired, carried: dict[str, set[str]]) -> Netlist:
    """The circuit of one sweep point. ``carried``: table → parameters that its model may be given.

    Raises ``ConfigError`` for an element whose law has no text.
    """
    _apart(circuit.elements_by_name)
    nodes = _nodes(circuit)
    placed: list[Placed] = []
    pins: dict[str, str] = {}
    batches = {name: (table or "").rpartition(".")[2] for table, names in circuit.batches.items() for name in names}
    for name, element in circuit.elements_by_name.items():
        ends = nodes[element.between[0]], nodes[element.between[1]]
        if name in circuit.sources:
            pins |= {nodes[node]: node for node in element.between if node != GROUND}
        elif isinstance(element, Memristor):
            given = _of_memristor(experiment, name, batches[name], carried[batches[name]])
            placed.append(Placed(name, ends, batches[name], None, given))
        else:
            given = _of_element(circuit, name, element)
            placed.append(Placed(name, ends, None, _current(name, element), given))
    words = {given.name for element in placed for given in element.given.values()}
    check_words(words, "spice", {*nodes.values(), "shunt"})
    tables = {key.rpartition(".")[2]: table for key, table in circuit.tables.items()}
    return Netlist(pins, tuple(placed), tables)


def _nodes(circuit: Wired) -> dict[str, str]:
    """Node → its name in a netlist, where ground is 0 and no word of the language is a node."""
    found = {GROUND: "0"}
    for node in map(str, circuit.network.nodes):
        if node != GROUND:
            plain = "n_" + re.sub(r"\W", "_", node, flags=re.ASCII).lower()
            found[node] = plain if plain not in found.values() else f"{plain}_{len(found)}"
    return found


def element_word(name: str) -> str:
    """An element's name as part of a word of a netlist."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def _of_memristor(experiment: Experiment, name: str, table: str, carried: set[str]) -> dict[str, Given]:
    """What is drawn for this memristor, of what its model carries."""
    place, of = experiment.table_of(name)
    found = {}
    for parameter, mark in of.parameters().items():
        law: Drawn = getattr(of, parameter)
        if parameter in carried and not isinstance(law, float):
            key = f"{place}{parameter}"
            member = experiment.members(key).index(experiment.circuit.memristors.index(name))
            found[parameter] = Given(f"{element_word(name)}_{parameter}", key, member, typical(law), mark.unit)
    return found


def _of_element(circuit: Wired, name: str, element: Element) -> dict[str, Given]:
    keys = circuit.keys_of(name)
    marks: dict[str, Unit] = element.parameters()
    found = {}
    for parameter, mark in marks.items():
        value = typical(getattr(element, parameter))
        found[parameter] = Given(f"{element_word(name)}_{parameter}", keys.get(parameter, ""), 0, value, mark.unit)
    return found


def _current(name: str, element: Element) -> Expression | None:
    if isinstance(element, Capacitor):
        return None
    assert isinstance(element, Conductor)
    make, names = Expressions(), list(element.parameters())

    def current(voltage: Any, *values: Any) -> list[Any]:
        return [element.law(dict(zip(names, values, strict=True))).current(voltage)]

    try:
        arguments = [make.name("voltage", "v"), *(make.name("parameter", own, 0.0, None) for own in names)]
        return formulas(make, current, arguments)[0]
    except UnprintableError as error:
        message = f"cannot be exported; its law uses {error}, which has no text in a circuit simulator"
        raise refused(f"circuit.elements.{name}.kind", element.kind, message) from None
    except jax.errors.JAXTypeError as error:
        message = f"cannot be exported; its law is traced, and may use jax.numpy: {str(error).splitlines()[0]}"
        raise refused(f"circuit.elements.{name}.kind", element.kind, message) from None


def current_text(current: Expression, voltage: str, words: Mapping[str, str]) -> str:
    """The formula of a conductor's current, where its voltage and its parameters are called so."""

    def word(e: Expression) -> str | None:
        if e.operation == "voltage":
            return voltage
        return words[str(e.value)] if e.operation == "parameter" else None

    return text(current, word)


def drawn(netlist: Netlist, draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameter of the subcircuit → its value in each circuit, from the draws by law."""
    return {g.name: np.atleast_2d(draws[g.law])[g.member] for g in netlist.given if g.law in draws}
