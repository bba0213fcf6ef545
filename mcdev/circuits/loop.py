"""A circuit that is one loop: the source, the device, and behind or before it at most one other element.

    V = v + R I(v)                          a resistor
    V = v_1 + v_2,    I_1(v_1) = I_2(v_2)   a second memristor

One current flows through everything, so that there is one unknown. It is found at the beginning of an interval that
suits the devices, by Newton's method safeguarded by bisection, which costs less than the nodal equations of any circuit
(`kirchhoff.py`). What remains of Kirchhoff's law is recorded (``kirchhoff_residual``). With more current than the
compliance, each element has the voltage that carries the limit.

The second memristor's law and the first one's never decrease, so the logarithm of the ratio of both currents has one
zero in the smaller of the two voltages, which is the unknown: the other, V minus it, is then known as well as the
source. Newton stops where the currents differ by less than 1e-6 of themselves.

A second memristor with one state is followed through the interval between two solutions with the voltage that it has
as its own state changes (the device's law being held), to the tolerance of its integrator; others hold their voltage
for an interval that suits both devices.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Complex, Float, UInt32

from mcdev.circuits.compliance import limit_current, limits
from mcdev.circuits.contract import Circuit, Division
from mcdev.circuits.elements import VoltageSource
from mcdev.circuits.elements.contract import GROUND
from mcdev.circuits.several import built, element_keys
from mcdev.circuits.wired import Part, Wired, part
from mcdev.devices.contract import CurrentLaw, DeviceConfig, Devices, LaneKey, Observable, PerLane, per_lane
from mcdev.devices.one_state import OneStateDevices
from mcdev.integrators.exponential import adaptive_rosenbrock
from mcdev.integrators.interval import Interval
from mcdev.integrators.root import solve_monotone
from mcdev.schema import Name, Unit, parted

_NO_CURRENT = {4: 1e-18, 8: 1e-30}
"""Bytes of a number → current (A) below which two are the same; its square must be a number for the derivatives."""


IN, OUT = "in", "out"
"""Nodes: the source's, and the one between the two elements."""
SECOND = "M2"


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


class LoopCircuit(Circuit):
    """One loop of each realisation; parameters [lane]. What ``solve`` finds besides is the other element's voltage."""

    compliance: PerLane | None
    resistance: PerLane | None = None
    """Of a resistor before the device."""
    memristor: Devices | None = None
    """Behind the device."""
    reversed: bool = eqx.field(static=True, default=False)
    """Whether its first terminal is the one at ground."""
    recorded: tuple[tuple[str, str, str], ...] = eqx.field(static=True, default=())
    """(channel, quantity, element or node) of what is recorded besides the first memristor's."""

    @property
    def divides(self) -> bool:
        return self.compliance is not None or self.resistance is not None or self.several

    @property
    def several(self) -> bool:
        return self.memristor is not None

    @property
    def noisy(self) -> bool:
        return self.memristor is not None and self.memristor.noisy

    def rest(self, key: LaneKey, dtype: Any) -> Any:
        return None if self.memristor is None else self.memristor.rest(element_keys(key, (1,)))

    def second(self, state: Any) -> CurrentLaw:
        """The second memristor's law as the source sees it."""
        assert self.memristor is not None
        law = self.memristor.current_law(state)
        return Turned(law) if self.reversed else law

    def own(self, voltage: PerLane) -> PerLane:
        """The second memristor's voltage or current, counted by its own terminals."""
        return -voltage if self.reversed else voltage

    @eqx.filter_jit  # traced once, wherever it stands in a program
    def solve(self, state: Any, applied: PerLane, law: CurrentLaw) -> Division:
        if self.memristor is not None:
            second = self.second(state)
            v_1, v_2 = divide(applied, law, second)
            current = law.current(v_1)
            of_device = limit_current(v_1, current, self.compliance, law)
            return Division(*of_device, limit_current(v_2, current, self.compliance, second)[0])
        if self.resistance is None:
            return Division(*limit_current(applied, law.current(applied), self.compliance, law), None)
        resistance = self.resistance
        guess = applied / (1.0 + resistance * law.chord(applied))
        free = solve_monotone(lambda v: v - applied + resistance * law.current(v), guess, applied, jnp.abs(applied))
        v, current = limit_current(free, law.current(free), self.compliance, law)
        rest = applied - v if self.compliance is None else jnp.where(v == free, applied - v, resistance * current)
        return Division(v, current, rest)

    def observe(
        self, state: Any, division: Division, law: CurrentLaw, observed: Mapping[str, PerLane]
    ) -> dict[str, PerLane]:
        voltage, current, other = division
        found: dict[str, PerLane] = {}
        of_second: Mapping[str, PerLane] = {}
        if self.memristor is not None:
            second = self.second(state)
            found["kirchhoff_residual"] = law.current(voltage) - second.current(other)
            of_second = {
                "device_voltage": self.own(other),
                "current": self.own(current),
                "conductance": second.chord(other),
                **self.memristor.observe(state, self.own(other)),
            }
        elif self.resistance is not None:
            found["kirchhoff_residual"] = law.current(voltage) - other / self.resistance
        for channel, what, name in self.recorded:
            if what == "potential":
                whole = voltage if other is None else voltage + other
                behind = voltage if self.memristor is None else other
                found[channel] = whole if name == IN else behind
            elif name == SECOND:
                found[channel] = of_second[what]
            else:
                found[channel] = current
        return found

    def intact(self, state: Any) -> Bool[Array, "part lane"] | None:
        return None if self.memristor is None else self.memristor.intact(state)[None]

    def impedance(
        self,
        state: Any,
        division: Division,
        law: CurrentLaw,
        device: Complex[Array, "frequency lane"],
        frequency: Float[Array, " frequency"],
    ) -> Complex[Array, "frequency lane"]:
        if self.memristor is not None:
            return device + 1.0 / self.memristor.admittance(state, self.own(division.inner), frequency)
        return device if self.resistance is None else self.resistance + device

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
        if memristor is None:
            return None
        if isinstance(memristor, OneStateDevices):

            def drift(x: PerLane) -> PerLane:
                voltage = self.solve(x, applied, law).inner
                return memristor.drift(x, self.own(voltage))

            return adaptive_rosenbrock(drift, state, interval.duration, memristor.tolerance)
        voltage, current = self.own(division.inner), self.own(division.current)
        return memristor.advance(state, voltage, current, interval, element_keys(key, (1,)), clock)


class Loop(Wired):
    """A circuit of one loop. Nothing is recorded of it but the first memristor, unless ``record`` says so."""

    record: tuple[Name, ...] = ()
    """Names of the elements and nodes that are recorded besides the first memristor; by default none."""
    compliance: Annotated[float, Unit("A", gt=0)] | None = None
    """Largest current that the source lets through."""

    @property
    def source(self) -> dict[str, Part]:
        """The element that every loop has."""
        return {"V1": part(VoltageSource, IN, GROUND, {}, compliance=self.compliance)}

    @property
    def _of_two(self) -> bool:
        return OUT in self.network.nodes

    @property
    def divides(self) -> bool:
        return self.compliance is not None or self._of_two

    def channels(self, device: DeviceConfig) -> dict[str, Observable]:
        found = super().channels(device)
        return found if self._of_two else {name: about for name, about in found.items() if parted(name)[1]}

    def follows(self, device: DeviceConfig) -> bool:
        return False

    def build(
        self, device: DeviceConfig, draws: Mapping[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any
    ) -> LoopCircuit:
        resistance, memristor = None, None
        for name in itertools.chain(*self.conductors.values()):
            resistance = per_lane(draws[self.keys_of(name)["resistance"]], dtype)
        for key, table in self.tables.items():
            own = {name: draws[f"circuit.{key}.{name}"] for name in table.parameters()}
            memristor = built(table, own, seed, devices, dtype, (1,))
        return LoopCircuit(
            limits(self.compliance, devices.size, dtype),
            resistance,
            memristor,
            reversed=self.elements_by_name[SECOND].between[1] == OUT if memristor else False,
            recorded=tuple(
                (channel, what, parted(channel)[1] or "") for channel, (what, _, _) in self.recorded(device).items()
            ),
        )
