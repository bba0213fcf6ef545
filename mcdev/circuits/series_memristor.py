"""A second memristor in series with the device: the synapse of Wang et al. (2017, doi:10.1038/nmat4756, Fig. 6a) and of
Shin et al. (2022, doi:10.1039/d1ma01078f, Fig. 7a).

    V = v_1 + v_2,    I_1(v_1) = I_2(v_2)

Both laws never decrease, so the logarithm of the ratio of both currents has one zero in the smaller of the two
voltages, which is the unknown: the other, V minus it, is then known as well as the source. Newton's method safeguarded
by bisection stops where the currents differ by less than 1e-6 of themselves. What remains is recorded
(``kirchhoff_residual``). With more current than the compliance, each element has the voltage that carries the limit.

A second memristor with one state is followed through the interval between two solutions with the voltage that it has
as its own state changes (the device's law being held), to the tolerance of its integrator; others hold their voltage
for an interval that suits both devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, UInt32

from mcdev.circuits.compliance import limit_current, limits
from mcdev.circuits.contract import Circuit, CircuitConfig, Division
from mcdev.devices import Deterministic
from mcdev.devices.contract import CurrentLaw, DeviceConfig, Devices, LaneKey, Observable, Pace, PerLane
from mcdev.devices.one_state import OneState, OneStateDevices
from mcdev.integrators.exponential import adaptive_rosenbrock
from mcdev.integrators.interval import Interval
from mcdev.integrators.root import solve_monotone
from mcdev.schema import Unit

_NO_CURRENT = {4: 1e-18, 8: 1e-30}
"""Bytes of a number → current (A) below which two are the same; its square must be a number for the derivatives."""
_PREFIX = "memristor_"


class Turned(CurrentLaw):
    """The law of a device whose terminals are exchanged."""

    law: CurrentLaw

    def current(self, voltage: PerLane) -> PerLane:
        return -self.law.current(-voltage)

    def chord(self, voltage: PerLane) -> PerLane:
        return self.law.chord(-voltage)


def divide(applied: PerLane, first: CurrentLaw, second: CurrentLaw) -> tuple[PerLane, PerLane]:
    """(v_1, v_2) with v_1 + v_2 = applied and I_1(v_1) = I_2(v_2), to 1e-6 of the current."""
    sign = jnp.where(applied < 0, -1.0, 1.0).astype(applied.dtype)
    size = applied * sign
    share = jnp.full_like(size, 0.5)  # of the second
    for _ in range(3):
        g_1, g_2 = first.chord(applied * (1.0 - share)), second.chord(applied * share)
        total = g_1 + g_2
        share = jnp.where(total > 0, g_1 / jnp.where(total > 0, total, 1.0), 0.5)
    g_share = jnp.where(total > 0, g_2 / jnp.where(total > 0, total, 1.0), 0.5)
    lesser = lax.stop_gradient(share) <= 0.5  # the second has the smaller voltage
    guess = lax.stop_gradient(size * jnp.where(lesser, share, g_share))

    def voltages(small: PerLane) -> tuple[PerLane, PerLane]:
        small = sign * small
        return jnp.where(lesser, applied - small, small), jnp.where(lesser, small, applied - small)

    none = _NO_CURRENT[size.dtype.itemsize]

    def residual(small: PerLane) -> PerLane:
        v_1, v_2 = voltages(small)
        # A state that has fallen to nothing may be below zero by rounding; its current then has no logarithm.
        i_1, i_2 = (jnp.maximum(sign * law.current(v), 0.0) for law, v in ((first, v_1), (second, v_2)))
        rising, falling = jnp.where(lesser, i_2, i_1), jnp.where(lesser, i_1, i_2)
        return jnp.log((rising + none) / (falling + none))

    return voltages(solve_monotone(residual, guess, size, jnp.ones_like(size)))


class SeriesMemristorCircuit(Circuit):
    memristor: Devices
    compliance: PerLane | None
    reversed: bool = eqx.field(static=True)

    def rest(self, key: LaneKey, dtype: Any) -> Any:
        return self.memristor.rest(key)

    def second(self, state: Any) -> CurrentLaw:
        """The memristor's law as the source sees it."""
        law = self.memristor.current_law(state)
        return Turned(law) if self.reversed else law

    def own(self, voltage: PerLane) -> PerLane:
        """The memristor's voltage or current, counted by its own terminals."""
        return -voltage if self.reversed else voltage

    def solve(self, state: Any, applied: PerLane, law: CurrentLaw) -> Division:
        second = self.second(state)
        v_1, v_2 = divide(applied, law, second)
        current = law.current(v_1)
        of_device = limit_current(v_1, current, self.compliance, law)
        return Division(*of_device, limit_current(v_2, current, self.compliance, second)[0])

    def observe(
        self, state: Any, division: Division, law: CurrentLaw, observed: Mapping[str, PerLane]
    ) -> dict[str, PerLane]:
        second = self.second(state)
        return {
            "memristor_voltage": division.inner,
            "memristor_conductance": second.chord(division.inner),
            "kirchhoff_residual": law.current(division.voltage) - second.current(division.inner),
        } | {_PREFIX + name: value for name, value in self.memristor.observe(state, self.own(division.inner)).items()}

    def advance(
        self,
        state: Any,
        applied: PerLane,
        law: CurrentLaw,
        division: Division,
        interval: Interval,
        key: LaneKey,
        clock: UInt32[Array, " lane"],
    ) -> Any:
        memristor = self.memristor
        if isinstance(memristor, OneStateDevices):

            def drift(x: PerLane) -> PerLane:
                voltage = self.solve(x, applied, law).inner
                return memristor.drift(x, self.own(voltage))

            return adaptive_rosenbrock(drift, state, interval.duration, memristor.tolerance)
        voltage, current = self.own(division.inner), self.own(division.current)
        return memristor.advance(state, voltage, current, interval, key, clock)


class SeriesMemristor(CircuitConfig):
    """The device in series with a second memristor, which has a state and parameters of its own."""

    kind: Literal["series_memristor"] = "series_memristor"
    example: ClassVar[Mapping[str, Any]] = {"memristor": {"preset": "wang2017_taox"}}
    memristor: Deterministic
    """The second memristor: any device without noise."""
    reversed: bool = False
    """Whether its terminals are exchanged, so that a positive source gives it a negative voltage."""
    compliance: Annotated[float, Unit("A", gt=0)] | None = None
    """Largest current that the source lets through."""

    @property
    def small_signal(self) -> bool:
        return False

    @property
    def tables(self) -> dict[str, DeviceConfig]:
        return {"memristor": self.memristor}

    def channels(self, device: DeviceConfig) -> dict[str, Observable]:
        return {
            "memristor_voltage": Observable("V", "voltage across the second memristor"),
            "memristor_conductance": Observable("S", "conductance of the second memristor (current over its voltage)"),
            "kirchhoff_residual": Observable("A", "current of the device minus that of the second memristor"),
        } | {
            _PREFIX + name: Observable(about.unit, f"{about.long_name}, of the second memristor")
            for name, about in self.memristor.channels.items()
        }

    def pace(self, voltage: float) -> Pace | None:
        return None if isinstance(self.memristor, OneState) else self.memristor.divided_pace(voltage)

    def build(
        self, device: DeviceConfig, draws: Mapping[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any
    ) -> SeriesMemristorCircuit:
        own = {name: draws[f"circuit.memristor.{name}"] for name in self.memristor.parameters()}
        memristor = self.memristor.build(own, seed, devices, dtype)
        return SeriesMemristorCircuit(memristor, limits(self.compliance, devices.size, dtype), self.reversed)
