"""What compact devices with a single state share: x' = drift(x, V), integrated to a tolerance.

The step is chosen by the integrator, one for each lane (``adaptive_rosenbrock``), so that no result depends on how a
protocol is cut into samples while the voltage is held. A circuit that divides its voltage between two such devices
follows the division within the interval too.
"""

from __future__ import annotations

import abc
from typing import Annotated, ClassVar, Literal

import equinox as eqx
from jaxtyping import Array, UInt32
from pydantic import Field

from mcdev.devices.contract import (
    DeviceConfig,
    Devices,
    LaneKey,
    Observable,
    Pace,
    PerLane,
    RateEquations,
    StateVariable,
)
from mcdev.integrators.exponential import adaptive_rosenbrock
from mcdev.integrators.interval import Interval
from mcdev.schema import Strict, Unit

_SHARE = 0.02  # of the state's range, by which it moves at most between two solutions of a circuit


class Tolerance(Strict):
    """How the state is integrated."""

    tolerance: Annotated[float, Unit("", ge=1e-12, le=1e-2)] = 1e-6
    """Largest error of the state in one step, for a state between 0 and 1."""
    coupling_interval: Annotated[float, Unit("s", gt=0)] | Literal["auto"] = "auto"
    """Longest interval over which a circuit with a resistor holds the voltage of the device constant. auto: the state
    changes by at most a fiftieth at the voltage of the source. Without a resistor, and for a second memristor, no such
    interval is needed."""


class OneState(DeviceConfig):
    """The table of such a family."""

    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)
    """Between which the state stays by its own equation; None where it has no such end. An exported model holds the
    current law to them."""

    preset: str | None = None
    """Name of a preset. It supplies every key that is not written here."""
    integrator: Tolerance = Field(default_factory=Tolerance)
    """How accurately the state is integrated."""

    in_reverse: ClassVar[bool] = False
    remedy: ClassVar[str] = "look for extreme parameters or voltages; a larger device.integrator.tolerance may help"

    @property
    def channels(self) -> dict[str, Observable]:
        return {"state": Observable("1", "state, between 0 and 1")}

    @property
    def rate_equations(self) -> RateEquations | str:
        least, most = self.bounds
        within = "" if least is None or most is None else f" between {least:g} and {most:g}"
        state = StateVariable(f"a number{within}, in volts", least, most)
        return RateEquations({"x": state}, lambda devices, x, voltage: devices.drift(x, voltage))

    @abc.abstractmethod
    def fastest(self, voltage: float) -> float:
        """The largest rate (1/s) at which any device's state moves at this voltage."""

    def pace(self, voltage: float) -> Pace:
        interval = self.integrator.coupling_interval
        if interval == "auto":
            interval = _SHARE / max(self.fastest(abs(voltage)), 1e-12)
        return Pace(interval, 0.5 * interval)


class OneStateDevices(Devices):
    """A batch of them; the state is x itself."""

    parameters: dict[str, PerLane]
    tolerance: float = eqx.field(static=True)

    @abc.abstractmethod
    def drift(self, x: PerLane, voltage: PerLane) -> PerLane:
        """dx/dt (1/s)."""

    def advance(
        self,
        state: PerLane,
        voltage: PerLane,
        current: PerLane,
        interval: Interval,
        key: LaneKey,
        clock: UInt32[Array, " lane"],
    ) -> PerLane:
        return adaptive_rosenbrock(lambda x: self.drift(x, voltage), state, interval.duration, self.tolerance)

    def observe(self, state: PerLane, voltage: PerLane) -> dict[str, PerLane]:
        return {"state": state}
