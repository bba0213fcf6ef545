"""Any circuit: named elements between named nodes.

[circuit]
kind = "network"
[circuit.elements]
V1 = { kind = "voltage_source", between = ["in", "0"] }
R1 = { kind = "resistor", between = ["in", "out"], resistance = "1 Mohm" }
M1 = { kind = "memristor", between = ["out", "0"] }
M2 = { kind = "memristor", between = ["out", "0"], device = "taox" }
[circuit.devices.taox]
preset = "wang2017_taox"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from mcdev.circuits.elements import AnyElement, Element, Memristor
from mcdev.circuits.wired import Part, Wired
from mcdev.devices import Device
from mcdev.devices.contract import DeviceConfig
from mcdev.schema import Name, nearest, refuse


class Network(Wired):
    """Named elements between named nodes; ground is the node 0."""

    kind: Literal["network"] = "network"
    example: ClassVar[Mapping[str, Any]] = {
        "elements": {
            "V1": {"kind": "voltage_source", "between": ["in", "0"]},
            "R1": {"kind": "resistor", "between": ["in", "out"], "resistance": "10 kohm"},
            "M1": {"kind": "memristor", "between": ["out", "0"]},
            "C1": {"kind": "capacitor", "between": ["out", "0"], "capacitance": "1 nF"},
        }
    }
    elements: dict[Name, AnyElement] = Field(min_length=1)
    """Its elements by name."""
    devices: dict[Name, Device] = Field(default_factory=dict)
    """Tables of memristors that are not of the table ``[device]``, by the name that they give."""

    @model_validator(mode="after")
    def _known(self) -> Network:
        for name, element in self.elements.items():
            if isinstance(element, Memristor) and element.device is not None and element.device not in self.devices:
                known = nearest(element.device, self.devices) if self.devices else "there is none below circuit.devices"
                refuse(element.device, f"no such table; {known}", key=f"elements.{name}.device")
        for name in self.devices:
            if f"devices.{name}" not in self.batches:
                refuse(None, "no memristor names this table", f'write device = "{name}" in one', key=f"devices.{name}")
        return self

    def parts(self) -> dict[str, Part]:
        def table(element: Element) -> str | None:
            named = element.device if isinstance(element, Memristor) else None
            return None if named is None else f"devices.{named}"

        return {
            name: Part(element, {own: f"circuit.elements.{name}.{own}" for own in element.parameters()}, table(element))
            for name, element in self.elements.items()
        }

    def table(self, key: str) -> DeviceConfig:
        return self.devices[key.removeprefix("devices.")]
