"""An experiment as a notebook and a Python prompt show it: one line, and tables that fold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from mcdev.files.html import page, part, table
from mcdev.schema.meanings import meaning

if TYPE_CHECKING:
    from mcdev.configuration.experiment import Experiment

_OPEN = ("device", "circuit", "protocol", "measurements")
_FEW = 8
"""Entries of a list that are shown."""


def one_line(experiment: Experiment) -> str:
    """``<Experiment 'train': diffusive (wang2017_reduced), alone, pulse_train; 64 devices × 1 cycle; …>``."""
    return f"<Experiment {experiment.name!r}: {_said(experiment)}>"


def _said(experiment: Experiment) -> str:
    preset, size, axes = getattr(experiment.device, "preset", None), experiment.ensemble, experiment.sweep.axes
    device = f"{experiment.device.kind} ({preset})" if preset else experiment.device.kind
    words = [f"{device}, {experiment.circuit.kind}, {experiment.protocol.kind}"]
    words.append(f"{counted(size.devices, 'device')} × {counted(size.cycles, 'cycle')}")
    words += [f"swept: {', '.join(axes)}"] if axes else []
    return "; ".join([*words, f"measures {', '.join(experiment.measurements)}"])


def counted(number: int, word: str) -> str:
    """``1 device``, ``2 devices``."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def as_html(experiment: Experiment) -> str:
    """The configuration as tables that fold, a section each: key, value with its unit, meaning."""
    data = experiment.to_dict()
    parts = [
        part(section, table(_rows(getattr(experiment, section), content)), section in _OPEN)
        for section, content in data.items()
        if isinstance(content, dict) and content
    ]
    return page(f"Experiment {experiment.name}: {_said(experiment)}", *parts)


def _rows(owner: Any, content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str, str]]:
    """Of a table, its keys below one another; what stands in tables of its own by its key path."""
    for key, value in content.items():
        own = owner.get(key) if isinstance(owner, Mapping) else getattr(owner, key, None)
        if isinstance(value, dict) and "distribution" not in value and isinstance(own, (BaseModel, Mapping)):
            yield from _rows(own, value, f"{above}{key}.")
            continue
        text = meaning(type(owner), key) if isinstance(owner, BaseModel) else ""
        yield f"{above}{key}", written(value), text.partition("\n")[0]


def written(value: Any) -> str:
    """A value of a configuration in words."""
    if isinstance(value, dict):
        name, *rest = (f"{v}" if k == "distribution" else f"{k} {written(v)}" for k, v in value.items())
        return ", ".join([name, *rest])
    if isinstance(value, list):
        shown = ", ".join(written(each) for each in value[:_FEW])
        return f"[{shown}{f', … ({len(value)})' if len(value) > _FEW else ''}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
