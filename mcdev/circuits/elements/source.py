"""Sources: what the protocol drives."""

from __future__ import annotations

import abc
from typing import Annotated, Literal

from mcdev.circuits.elements.contract import Element
from mcdev.protocols import AnyProtocol
from mcdev.schema import Drawn, PerDevice, Unit


class Source(Element, abc.ABC):
    """What drives a circuit."""

    protocol: AnyProtocol | None = None
    """What it does instead of the table ``[protocol]``, whose windows stay those of the measurements; zero volts once
    it has ended."""


class VoltageSource(Source):
    """Holds its first node above its second by a share of the protocol's voltage."""

    kind: Literal["voltage_source"] = "voltage_source"
    share: Annotated[Drawn, PerDevice("")] = 1.0
    """Of the protocol's voltage: 0.5 under a V/2 scheme, 0 for a node that is held at zero."""
    compliance: Annotated[float, Unit("A", gt=0)] | None = None
    """Largest current that it gives or takes; beyond, it holds this current instead of its voltage."""


class CurrentSource(Source):
    """Drives a current out of its first node, in proportion to the protocol's voltage."""

    kind: Literal["current_source"] = "current_source"
    transconductance: Annotated[Drawn, PerDevice("S")]
    """Its current for each volt of the protocol."""
    compliance: Annotated[float, Unit("V", gt=0)]
    """Largest voltage between its nodes; over its last hundredth the current goes to zero. It has no default: what
    the devices can meet at most decides the time steps."""
