"""Circuits against closed forms and scipy: divider, compliance, either polarity, lanes that leave each other alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import reduced
from scipy.optimize import brentq

from mcdev.circuits import Alone, SeriesResistor
from mcdev.circuits.contract import Circuit, CircuitConfig
from mcdev.devices.contract import CurrentLaw, PerLane
from mcdev.devices.ohmic import Ohmic
from mcdev.integrators.root import solve_monotone

VOLTS = [3.0, 0.1, 1e-6, 0.0, -0.1, -2.5]


class Sinh(CurrentLaw):
    """I = a sinh(b V), a hopping contact: as far from ohmic as a device gets."""

    prefactor: PerLane
    rate: PerLane

    def current(self, voltage: PerLane) -> PerLane:
        return self.prefactor * jnp.sinh(self.rate * voltage)

    def chord(self, voltage: PerLane) -> PerLane:
        y = self.rate * voltage
        small = jnp.abs(y) < 1e-3
        return self.prefactor * self.rate * jnp.where(small, 1.0, jnp.sinh(y) / jnp.where(small, 1.0, y))


@jax.jit
def _solve(circuit: Circuit, applied: PerLane, law: CurrentLaw) -> tuple[PerLane, PerLane]:
    return circuit.solve(None, applied, law)[:2]


def solve(circuit: Circuit, volts: Any, law: CurrentLaw) -> tuple[np.ndarray, np.ndarray]:
    v, i = _solve(circuit, jnp.asarray(volts, jnp.float32), law)
    return np.asarray(v, np.float64), np.asarray(i, np.float64)


def built(table: CircuitConfig) -> Circuit:
    draws = {name: np.full(1, law) for name, law in table.laws.items()}
    return table.build(reduced().device, draws, 1, np.arange(1), np.float32)


def series(resistance: float, compliance: float | None = None) -> Circuit:
    limit = {} if compliance is None else {"compliance": f"{compliance!r} A"}
    return built(SeriesResistor.model_validate({"resistance": f"{resistance!r} ohm", **limit}))


def alone(compliance: float | None = None) -> Circuit:
    return built(Alone.model_validate({} if compliance is None else {"compliance": f"{compliance!r} A"}))


def lanes(value: float) -> Any:
    return jnp.full(len(VOLTS), value, jnp.float32)


@pytest.mark.parametrize("ratio", [1e-4, 0.3, 1.0, 1e5])
def test_divider(ratio: float) -> None:
    """v = V/(1 + R G), I = G v."""
    conductance = 2e-4
    v, i = solve(series(ratio / conductance), VOLTS, Ohmic(lanes(conductance)))
    np.testing.assert_allclose(v, np.array(VOLTS) / (1 + ratio), rtol=2e-6)
    np.testing.assert_allclose(i, conductance * np.array(VOLTS) / (1 + ratio), rtol=2e-6)


@pytest.mark.parametrize("rate", [1.0, 5.0, 20.0])
@pytest.mark.parametrize("resistance", [1e2, 1e4, 1e7])
def test_hopping_contact_in_series(rate: float, resistance: float) -> None:
    """Against brentq in float64; the residual V - v - R I is below 2e-6 of V (Kirchhoff, in float32)."""
    prefactor = 1e-6
    v, i = solve(series(resistance), VOLTS, Sinh(lanes(prefactor), lanes(rate)))
    for applied, found in zip(VOLTS, v, strict=True):
        if applied == 0:
            assert found == 0
            continue
        exact = brentq(lambda v, V=applied: v - V + resistance * prefactor * np.sinh(rate * v), *sorted((0.0, applied)))
        assert found == pytest.approx(exact, rel=1e-5)
    residual = v + resistance * prefactor * np.sinh(rate * v) - np.array(VOLTS, np.float32)
    assert np.all(
        np.abs(residual) <= 3e-6 * np.abs(VOLTS) + resistance * prefactor * rate * 2e-7 * np.abs(i / prefactor)
    )


def test_alone_sees_the_source() -> None:
    v, i = solve(alone(), VOLTS, Ohmic(lanes(0.5)))
    np.testing.assert_array_equal(v, np.array(VOLTS, np.float32))
    np.testing.assert_allclose(i, 0.5 * np.array(VOLTS), rtol=1e-6)


@pytest.mark.parametrize("law", [Ohmic(lanes(2e-3)), Sinh(lanes(1e-5), lanes(3.0))], ids=["ohmic", "sinh"])
@pytest.mark.parametrize("resistance", [None, 50.0])
def test_compliance(law: CurrentLaw, resistance: float | None) -> None:
    """Where the current would exceed the limit it is the limit, with its sign, and the device's voltage is the one
    that carries it; elsewhere nothing changes."""
    limit = 1e-3
    free, limited = (alone(c) if resistance is None else series(resistance, c) for c in (None, limit))
    v0, i0 = solve(free, VOLTS, law)
    v, i = solve(limited, VOLTS, law)
    over = np.abs(i0) > limit
    assert over.any()
    assert not over.all()
    np.testing.assert_array_equal(v[~over], v0[~over])
    np.testing.assert_array_equal(i[~over], i0[~over])
    np.testing.assert_allclose(i[over], np.sign(i0[over]) * limit, rtol=1e-6)
    assert np.all(np.abs(v[over]) < np.abs(v0[over]))
    assert np.all(v[over] * v0[over] > 0)
    carried = np.asarray(law.current(jnp.asarray(v, jnp.float32)), np.float64)
    np.testing.assert_allclose(carried[over], i[over], rtol=2e-6)


def test_polarities_mirror() -> None:
    """To rounding: the compiled sinh itself is not odd to the last bit."""
    law = Sinh(lanes(1e-5), lanes(4.0))
    for circuit in (series(1e3), series(1e3, 1e-4), alone(1e-4)):
        forth, back = solve(circuit, VOLTS, law), solve(circuit, -np.array(VOLTS), law)
        for a, b in zip(forth, back, strict=True):
            np.testing.assert_allclose(a, -b, rtol=1e-6)


def test_lanes_do_not_disturb_each_other() -> None:
    """Each lane alone, and beside a lane that needs every iteration or none at all (NaN, infinite): bit for bit."""
    law = Sinh(lanes(1e-5), jnp.asarray([1.0, 3.0, 10.0, 2.0, 5.0, 8.0], jnp.float32))
    circuit = series(1e4, 1e-4)
    v, i = solve(circuit, VOLTS, law)
    for lane in (0, 1, 3, 5):
        one = Sinh(law.prefactor[lane : lane + 1], law.rate[lane : lane + 1])
        np.testing.assert_array_equal(solve(circuit, VOLTS[lane : lane + 1], one)[0], v[lane : lane + 1])
    for prefactor, rate, volts in ((np.nan, 1.0, 1.0), (np.inf, 1.0, 1.0), (1e-12, 50.0, 30.0), (1e-5, 1.0, np.inf)):
        beside = Sinh(jnp.append(law.prefactor, prefactor), jnp.append(law.rate, rate))
        v_beside, i_beside = solve(circuit, [*VOLTS, volts], beside)
        np.testing.assert_array_equal(v_beside[:-1], v)
        np.testing.assert_array_equal(i_beside[:-1], i)


@pytest.mark.parametrize("guess", [0.0, 0.5, 1.0])
def test_root_of_a_hard_function(guess: float) -> None:
    """A residual whose slope spans eight decades, and one that is flat but for a kink."""
    end, scale = jnp.array([1.0]), jnp.array([1.0])
    steep = solve_monotone(lambda v: jnp.expm1(20 * v) * 1e-6 + v - 0.7, jnp.array([guess]), end, scale)
    exact = brentq(lambda v: np.expm1(20 * v) * 1e-6 + v - 0.7, 0, 1)
    assert float(steep[0]) == pytest.approx(exact, abs=2e-6)
    kink = solve_monotone(
        lambda v: jnp.where(v < 0.9, v * 1e-3, v * 1e-3 + (v - 0.9)) - 0.05, jnp.array([guess]), end, scale
    )
    assert float(kink[0]) == pytest.approx(0.9 + (0.05 - 0.9e-3) / 1.001, abs=5e-6)


def test_an_ohmic_divider_costs_no_iteration() -> None:
    """The guess is exact, so that the loop's body need not run; it does not run out of iterations either."""
    calls: list[Any] = []

    def residual(v: Any) -> Any:
        jax.debug.callback(calls.append, v)  # when it is evaluated, not when it is traced
        return v - 0.5

    root = solve_monotone(residual, jnp.array([0.5]), jnp.array([1.0]), jnp.array([1.0]))
    jax.effects_barrier()
    assert float(root[0]) == 0.5
    assert len(calls) == 1
