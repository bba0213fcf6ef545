"""Where a free parameter stands in an experiment, by its key path:

    device.friction                     a number of the device, the circuit or the protocol
    device.friction.sigma               a number of the distribution that a parameter is drawn from
    ensemble.cycle_to_cycle.friction    the spread from cycle to cycle
    ensemble.correlation.friction.w_i   the correlation of two drawn parameters
    ensemble.correlation.factor.w_i     a loading on their common factor

Devices are drawn as quantiles of uniform numbers that have nothing to do with the parameters (``simulation/draws.py``).
Where a distribution's numbers move, those uniform numbers are held: each device moves along, and the ensemble has a
derivative by its spread (reparametrised draws, Kingma and Welling 2014, arXiv:1312.6114).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from mcdev.configuration.correlation import Correlation
from mcdev.configuration.experiment import Ensemble, Experiment
from mcdev.schema import Law, Unit, numbers_of, unit_of_key

SECTIONS = ("device", "circuit", "protocol")
_CYCLES, _CORRELATION = "ensemble.cycle_to_cycle.", "ensemble.correlation."
_BETWEEN = Unit("", ge=-0.999, le=0.999)


class Place(NamedTuple):
    """One number of an experiment."""

    mark: Unit
    """Its unit and its own bounds."""
    value: Any
    """A float in SI units; something else where there is no number to begin with."""


def place(experiment: Experiment, path: str) -> Place | None:
    """What stands at a key path; None where no number can."""
    if path.startswith(_CYCLES):
        name = path.removeprefix(_CYCLES)
        found = experiment.ensemble.cycle_to_cycle.get(name)
        return None if found is None else Place(Unit("", gt=0, le=2), found)
    if path.startswith(_CORRELATION):
        return _correlation(experiment.ensemble.correlation, path.removeprefix(_CORRELATION))
    section, _, rest = path.partition(".")
    name, _, number = rest.partition(".")
    if section not in SECTIONS:
        return None
    table = getattr(experiment, section)
    mark = unit_of_key(type(table), name)
    if mark is None:
        return None
    value = getattr(table, name)
    if not number:
        return Place(mark, value)
    if not isinstance(value, Law) or number not in numbers_of(value):
        return None
    field, dimensional = numbers_of(value)[number]
    return Place(_mark(mark, number, dimensional), getattr(value, field))


def _mark(own: Unit, number: str, dimensional: bool) -> Unit:
    if number in ("sigma", "sd"):
        return Unit(own.unit if dimensional else "", gt=0)
    if number == "median":
        return Unit(own.unit, gt=max(0.0, own.gt or 0.0, own.ge or 0.0), lt=own.lt, le=own.le)
    return Unit(own.unit, own.gt, own.ge, own.lt, own.le)


def _correlation(found: Correlation | None, rest: str) -> Place | None:
    if found is None:
        return None
    if found.factor is not None:
        which = _loading(found, rest)
        return None if which is None else Place(_BETWEEN, found.factor[which])
    both = _pair(found, rest)
    return None if both is None or len(found.parameters) > 2 else Place(_BETWEEN, float(found.full()[both]))


def _loading(found: Correlation, rest: str) -> int | None:
    names = [f"factor.{name}" for name in found.parameters]
    return names.index(rest) if rest in names else None


def _pair(found: Correlation, rest: str) -> tuple[int, int] | None:
    names = found.parameters
    every = ((i, j) for i in range(len(names)) for j in range(len(names)) if i != j)
    return next((pair for pair in every if f"{names[pair[0]]}.{names[pair[1]]}" == rest), None)


def numbers(experiment: Experiment, section: str) -> list[str]:
    """Key paths of a section that have a number, without the section's name."""
    if section == "ensemble":
        found = [f"cycle_to_cycle.{name}" for name in experiment.ensemble.cycle_to_cycle]
        together = experiment.ensemble.correlation
        if together is not None and together.factor is not None:
            found += [f"correlation.factor.{name}" for name in together.parameters]
        elif together is not None and len(together.parameters) == 2:
            found.append("correlation." + ".".join(together.parameters))
        return found
    table, found = getattr(experiment, section), []
    for name in type(table).model_fields:
        if unit_of_key(type(table), name) is not None:
            value = getattr(table, name)
            own = [f"{name}.{number}" for number in numbers_of(value)] if isinstance(value, Law) else [name]
            found += own
    return found


def moved(experiment: Experiment, values: Mapping[str, float]) -> Experiment:
    """The experiment with these values (SI) at these key paths."""
    sections: dict[str, Any] = {name: getattr(experiment, name) for name in (*SECTIONS, "ensemble")}
    changed = set()
    for path, value in values.items():
        section, _, rest = path.partition(".")
        sections[section] = (
            _ensemble(sections["ensemble"], path, value)
            if section == "ensemble"
            else _table(sections[section], rest, value)
        )
        changed.add(section)
    return experiment.model_copy(update={name: sections[name] for name in changed})


def _table(table: Any, rest: str, value: float) -> Any:
    name, _, number = rest.partition(".")
    if not number:
        return table.model_copy(update={name: value})
    law = getattr(table, name)
    return table.model_copy(update={name: dataclasses.replace(law, **{numbers_of(law)[number][0]: value})})


def _ensemble(ensemble: Ensemble, path: str, value: float) -> Ensemble:
    if path.startswith(_CYCLES):
        spreads = ensemble.cycle_to_cycle | {path.removeprefix(_CYCLES): value}
        return ensemble.model_copy(update={"cycle_to_cycle": spreads})
    together, rest = ensemble.correlation, path.removeprefix(_CORRELATION)
    assert together is not None
    if together.factor is not None:
        which = _loading(together, rest)
        loadings = tuple(value if i == which else f for i, f in enumerate(together.factor))
        return ensemble.model_copy(update={"correlation": together.model_copy(update={"factor": loadings})})
    matrix = ((1.0, value), (value, 1.0))
    return ensemble.model_copy(update={"correlation": together.model_copy(update={"matrix": matrix})})
