"""Names of what belongs to one element or node of a circuit: ``current(R1)``, ``voltage(in)``, ``friction(M2)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

_Value = TypeVar("_Value")


def placed(quantity: str, place: str) -> str:
    """``placed("current", "R1")``: ``current(R1)``."""
    return f"{quantity}({place})"


def parted(name: str) -> tuple[str, str | None]:
    """``parted("current(R1)")``: ``("current", "R1")``. What is of no place has None, as has ``current(R1)_sem``."""
    quantity, _, place = name.partition("(")
    return (quantity, place[:-1]) if place.endswith(")") else (name, None)


def at_place(named: Mapping[str, _Value], place: str | None) -> dict[str, _Value]:
    """What is there of one place, by quantity; empty for None."""
    parts = ((parted(name), value) for name, value in named.items())
    return {quantity: value for (quantity, where), value in parts if where is not None and where == place}
