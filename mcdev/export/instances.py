"""Device-to-device spread as instance parameters: devices drawn from a configuration or from a model card."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import numpy as np

from mcdev.configuration.experiment import Experiment
from mcdev.export.model import Model, of_pair
from mcdev.export.names import number
from mcdev.export.netlist import drawn
from mcdev.export.refusal import refused
from mcdev.files.plain_text import CsvWriter
from mcdev.schema import Unit, nearest
from mcdev.simulation.draws import draw_parameters
from mcdev.statistics.card import PARAMETER, Card
from mcdev.statistics.draw import resample

MOST = 100_000
"""Instances of one file."""


def from_experiment(experiment: Experiment, count: int) -> dict[str, np.ndarray]:
    """Parameter → values of the first devices, SI: those that ``mcdev run`` draws."""
    _check(count)
    return draw_parameters(experiment, 0, count)


def from_card(card: Card, point: int, experiment: Experiment, count: int, seed: int) -> dict[str, np.ndarray]:
    """Parameter → values of new devices, SI, with the card's distributions and correlations at one sweep point: those
    of ``mcdev stats CARD --resample`` with this seed. What the card does not hold is the configuration's.

    Raises ``ConfigError`` for a card of another family, another unit, or of numbers that this device cannot have.
    """
    _check(count)
    if not 1 <= point <= len(card.points):
        raise refused("--point", point, f"the card has {len(card.points)} sweep points; expected 1 to that")
    known = experiment.units
    quantities = {k: q for k, q in card.points[point - 1].quantities.items() if q.role == "parameter"}
    former = {re.sub(r"\W", "_", name): name for name in known}  # older cards had plain words
    words = {word: word.removeprefix(PARAMETER) for word in quantities}
    own = {n if n in known else former.get(n, n.removeprefix("parameter_")): word for word, n in words.items()}
    drawn = resample(card.points[point - 1], count, np.random.default_rng([seed, point - 1]))
    draws = draw_parameters(experiment, 0, count)
    if not own:
        raise refused("--card", card.title, "holds no device parameters; make it with mcdev stats RUN --card FILE")
    for name, label in own.items():
        if name not in known:
            family = f"a {experiment.device.kind} device has no such parameter"
            raise refused(label, None, f"{family}; {nearest(name, known)}: give the card of a run of this device")
        mark, given = known[name], quantities[label]
        if given.unit != (mark.unit or "1"):
            raise refused(label, given.unit, f"expected the unit {mark.unit or '1'}, as mcdev writes it in its cards")
        if label not in drawn:
            raise refused(label, given.family, "expected a distribution: make the card from a run of several devices")
        _within(label, mark, drawn[label][:, 0])
        draws[name] = drawn[label][:, 0] * mark.scale
    return draws


def _within(name: str, mark: Unit, values: np.ndarray) -> None:
    inside = np.isfinite(values)
    for bound, holds in (
        (mark.gt, np.greater),
        (mark.ge, np.greater_equal),
        (mark.lt, np.less),
        (mark.le, np.less_equal),
    ):
        if bound is not None:
            inside &= holds(values, bound)
    if not inside.all():
        worst = int(np.argmin(inside))
        message = (
            f"device {worst + 1} drew it, expected {mark.expectation}: try another --seed, or narrow the card's law"
        )
        raise refused(name, float(values[worst]), message)


def _check(count: int) -> None:
    if not 1 <= count <= MOST:
        raise refused("--instances", count, f"expected 1 to {MOST}; write several files")


def differing(model: Model, draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters that the model carries and that are not its default in every instance (a card has nine digits);
    those of a second memristor under their key path."""
    carried = model.carried
    draws = {k: np.atleast_2d(draws[k])[0] for k in carried}  # of several devices of a circuit the first
    close = {k: np.isclose(draws[k], p.value, rtol=1e-8, atol=0.0) for k, p in carried.items()}
    return {k: draws[k] for k in carried if not close[k].all()}


def to_spice(model: Model, draws: dict[str, np.ndarray], source: str) -> str:
    """An include file: a subcircuit for each device, ``NAME_1`` on, that fills in its own parameters; and one for each
    pair, ``NAME_pair_1`` on, where the model is of one."""
    own = differing(model, draws)
    count = next(iter(draws.values())).shape[-1]
    lines = [
        f"* {count} devices of {model.name}, {model.name}_1 to {model.name}_{count}: {source}.",
        f"* Include {model.name}.sub before this file. Use: X1 plus minus {model.name}_1",
    ]
    if model.network is not None:
        name, pins, drawn_ = f"{model.name}_network", list(model.network.pins), drawn(model.network, draws)
        lines.append(f"* Each circuit with its own elements and memristors, {name}_1 to {name}_{count}.")
        for i in range(count):
            lines += _filled(name, i, drawn_, pins)
    of_device = {k: v for k, v in own.items() if k in model.parameters}
    for i in range(count):
        lines += _filled(model.name, i, of_device)
    if model.second is not None:
        name = f"{model.name}_pair"
        lines.append(f"* Each device with its own second memristor, {name}_1 to {name}_{count}.")
        for i in range(count):
            lines += _filled(name, i, {of_pair(k): v for k, v in own.items()})
    return "\n".join([*lines, ""])


def _filled(name: str, i: int, own: dict[str, np.ndarray], pins: Sequence[str] = ("p", "n")) -> list[str]:
    given = [f"+ {key}={number(values[i])}" for key, values in own.items()]
    nodes = " ".join(pins)
    return [f".subckt {name}_{i + 1} {nodes}", f"X1 {nodes} {name}", *given, f".ends {name}_{i + 1}"]


def to_csv(model: Model, draws: dict[str, np.ndarray]) -> str:
    """A row a device, SI units: what to give each instance, in whatever netlist language; of a pair, by the names of
    the pair's parameters."""
    text = io.StringIO()
    writer = CsvWriter(text)
    carried = model.carried
    names = [(of_pair(k), p.unit) for k, p in carried.items()]
    columns = [np.atleast_2d(draws[name])[0] for name in carried]
    if model.network is not None:  # a row is a circuit, by the names of its own parameters
        units = {given.name: given.unit for given in model.network.given}
        own = drawn(model.network, draws)
        names, columns = [(name, units[name]) for name in own], list(own.values())
    writer.row(["device", *(f"{name} ({unit})" if unit else name for name, unit in names)])
    for i in range(next(iter(draws.values())).shape[-1]):
        writer.row([i + 1, *(number(column[i]) for column in columns)])
    return text.getvalue()
