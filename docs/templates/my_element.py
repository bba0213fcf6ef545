"""A circuit element of your own: a junction diode.

    I = I_s (exp(V/V_e) - 1),        V_e = n k_B T/q        (Shockley 1949, doi:10.1002/j.1538-7305.1949.tb03645.x)

Beyond forty V_e the law goes on straight, so that no current is larger than any number.

    mcdev check my_element.py

    [circuit.elements]
    D1 = { kind = "my_element", between = ["out", "0"], saturation = "1 pA" }
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import jax.numpy as jnp

from mcdev.circuits.elements.contract import Conductor
from mcdev.devices.contract import CurrentLaw, PerLane
from mcdev.schema import Drawn, PerDevice

_MOST = 40.0


class MyElement(Conductor):
    """A junction diode; its current flows easily from the first node to the second."""

    kind: Literal["my_element"] = "my_element"
    saturation: Annotated[Drawn, PerDevice("A", gt=0)] = 1e-12
    """I_s, against the easy direction."""
    emission: Annotated[Drawn, PerDevice("V", gt=0)] = 26e-3
    """V_e: so much more voltage is e times the current."""

    def law(self, values: Mapping[str, PerLane]) -> MyLaw:
        return MyLaw(values["saturation"], values["emission"])


class MyLaw(CurrentLaw):
    """Current against voltage of a batch of them, one a lane: zero at zero, and never decreasing."""

    saturation: PerLane
    emission: PerLane

    def current(self, voltage: PerLane) -> PerLane:
        x = voltage / self.emission
        inside = jnp.minimum(x, _MOST)
        return self.saturation * (jnp.expm1(inside) + jnp.exp(_MOST) * jnp.maximum(x - _MOST, 0.0))

    def chord(self, voltage: PerLane) -> PerLane:
        """Current over voltage, finite at zero volts too."""
        small = jnp.abs(voltage) < 1e-4 * self.emission
        safe = jnp.where(small, self.emission, voltage)
        return jnp.where(small, self.saturation / self.emission, self.current(safe) / safe)
