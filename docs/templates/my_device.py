"""A device of your own: a threshold switch by Joule heating, like a vanadium dioxide (VO2) channel.

    C dT/dt = I V - k (T - T_0)                       heat capacity C, thermal conductance k
    I       = [G_off + (G_on - G_off) x(T)] V         insulator in parallel with metal
    x(T)    = 1 / (1 + exp(-(T - T_c)/w))             metallic share: half of it at the transition T_c

Current heats the channel, a hot channel conducts, and above a threshold this runs away; without voltage the channel
cools within C/k. One temperature for the whole channel, no latent heat and no hysteresis of the material itself.

    mcdev check my_device.py
    mcdev run my_device.toml --plugin my_device.py
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np

from mcdev.devices.contract import LaneKey, Observable, PerLane, per_lane
from mcdev.devices.ohmic import Ohmic
from mcdev.devices.one_state import OneState, OneStateDevices
from mcdev.schema import Drawn, PerDevice, extremes


class MyDevice(OneState):
    """A channel that turns metallic when it is hot."""

    kind: Literal["my_device"] = "my_device"

    # PerDevice(unit, bounds): may be a distribution, swept or calibrated. A default is in SI units.
    heat_capacity: Annotated[Drawn, PerDevice("J/K", gt=0)] = 1e-12
    """C of the channel."""
    thermal_conductance: Annotated[Drawn, PerDevice("W/K", gt=0)] = 1e-6
    """k, to what is around it."""
    ambient: Annotated[Drawn, PerDevice("K", gt=0)] = 300.0
    """T_0."""
    critical_temperature: Annotated[Drawn, PerDevice("K", gt=0)] = 340.0
    """T_c, at which half of the channel is metallic."""
    width: Annotated[Drawn, PerDevice("K", gt=0)] = 3.0
    """w, of the transition."""
    on_conductance: Annotated[Drawn, PerDevice("S", gt=0)] = 1e-3
    """G_on, of the metal."""
    off_conductance: Annotated[Drawn, PerDevice("S", gt=0)] = 1e-5
    """G_off, of the insulator."""

    @property
    def channels(self) -> dict[str, Observable]:
        return {"temperature": Observable("K", "temperature of the channel")}

    def fastest(self, voltage: float) -> float:
        """Of the state's rates (1/s) at this voltage: heating, or cooling; it sets the steps in a circuit."""
        capacity = extremes(self.heat_capacity)[0]
        heating = extremes(self.on_conductance)[1] * voltage**2 / (capacity * extremes(self.ambient)[0])
        return max(heating, extremes(self.thermal_conductance)[1] / capacity)

    def build(self, draws: dict[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any) -> MyDevices:
        parameters = {name: per_lane(value, dtype) for name, value in draws.items()}
        return MyDevices(parameters, self.integrator.tolerance)


class MyDevices(OneStateDevices):
    """A batch of them, one a lane. The state is (T - T_0)/T_0, a number of the order of one."""

    def rest(self, key: LaneKey) -> PerLane:
        return jnp.zeros_like(self.parameters["ambient"])

    def temperature(self, state: PerLane) -> PerLane:
        return self.parameters["ambient"] * (1.0 + state)

    def current_law(self, state: PerLane) -> Ohmic:
        p = self.parameters
        metallic = 1.0 / (1.0 + jnp.exp((p["critical_temperature"] - self.temperature(state)) / p["width"]))
        return Ohmic(p["off_conductance"] + (p["on_conductance"] - p["off_conductance"]) * metallic)

    def drift(self, x: PerLane, voltage: PerLane) -> PerLane:
        """Rate of the state (1/s) at this voltage across the device."""
        p = self.parameters
        power = self.current_law(x).current(voltage) * voltage
        return (power / p["ambient"] - p["thermal_conductance"] * x) / p["heat_capacity"]

    def observe(self, state: PerLane, voltage: PerLane) -> dict[str, PerLane]:
        return {"temperature": self.temperature(state)}
