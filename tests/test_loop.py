"""The division of a voltage between two elements in one loop, against closed forms and bisection."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import lambertw

from mcdev.circuits.loop import Turned
from mcdev.circuits.loop import divide as uncompiled
from mcdev.devices.ohmic import Ohmic
from mcdev.devices.yakopcic import HyperbolicSine

pytestmark = pytest.mark.usefixtures("double")

VOLTS = np.array([3.0, 0.1, 1e-6, 0.0, -0.1, -2.5])

divide = jax.jit(uncompiled)


def ohmic(conductance: float) -> Ohmic:
    return Ohmic(jnp.full(VOLTS.size, conductance))


def sine(scale: float, steepness: float, backward: float | None = None) -> HyperbolicSine:
    one = jnp.ones(VOLTS.size)
    return HyperbolicSine(scale * one, (backward or scale) * one, steepness * one)


class Diode(HyperbolicSine):
    """I = I_s (e^{V/V_T} - 1): the law of a diode, as asymmetric as a law gets."""

    def current(self, voltage: Any) -> Any:
        return self.forward * jnp.expm1(self.steepness * voltage)

    def chord(self, voltage: Any) -> Any:
        small = jnp.abs(voltage) < 1e-9
        safe = jnp.where(small, 1.0, voltage)
        return jnp.where(small, self.forward * self.steepness, self.current(safe) / safe)


@pytest.mark.parametrize("ratio", [1e-6, 0.3, 1.0, 1e5])
def test_two_resistors(ratio: float) -> None:
    """v_1 = V G_2/(G_1 + G_2), and both voltages are exact, not only the larger."""
    v_1, v_2 = divide(jnp.asarray(VOLTS), ohmic(2e-4 * ratio), ohmic(2e-4))
    np.testing.assert_allclose(v_1, VOLTS / (1 + ratio), rtol=3e-6)
    np.testing.assert_allclose(v_2, VOLTS * ratio / (1 + ratio), rtol=3e-6)


@pytest.mark.parametrize("conductance", [1e-9, 1e-5, 1e-1])
def test_resistor_and_diode(conductance: float) -> None:
    """Closed form, v = V + I_s/G - V_T W[I_s/(G V_T) e^{(V + I_s/G)/V_T}] for the diode's voltage, W being Lambert's;
    where its argument is no number, bisection."""
    scale, thermal = 1e-6, 0.1
    diode = Diode(*(jnp.full(VOLTS.size, x) for x in (scale, scale, 1 / thermal)))
    v_1, v_2 = divide(jnp.asarray(VOLTS), diode, ohmic(conductance))
    shifted, expected = VOLTS + scale / conductance, np.empty(VOLTS.size)
    fraction = scale / (conductance * thermal)
    for i, volts in enumerate(VOLTS):
        if shifted[i] / thermal < 20:
            expected[i] = shifted[i] - thermal * np.real(lambertw(fraction * np.exp(shifted[i] / thermal)))
        else:
            expected[i] = brentq(
                lambda v, V=volts: scale * np.expm1(v / thermal) - conductance * (V - v), -3, 3, xtol=1e-14
            )
    np.testing.assert_allclose(v_1, expected, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(v_1 + v_2, VOLTS, rtol=1e-15)


@pytest.mark.parametrize("second", [sine(1e-9, 6.0), sine(1e-2, 1.0, 1e-5), sine(1e-6, 20.0)])
def test_kirchhoff_residual(second: HyperbolicSine) -> None:
    """Both currents agree to 1.1e-6 of themselves, whichever element holds the voltage, and in single precision."""
    for first in (ohmic(1e-7), ohmic(1e-3), sine(1e-6, 5.0)):
        v_1, v_2 = divide(jnp.asarray(VOLTS), first, second)
        i_1, i_2 = first.current(v_1), second.current(v_2)
        np.testing.assert_allclose(i_1, i_2, rtol=1.1e-6)
        assert np.all(np.asarray(v_1) * VOLTS >= 0)
        assert np.all(np.asarray(v_2) * VOLTS >= 0)
        halves = jax.tree.map(lambda a: a.astype(jnp.float32), (jnp.asarray(VOLTS), first, second))
        v_1, v_2 = divide(*halves)
        np.testing.assert_allclose(halves[1].current(v_1), halves[2].current(v_2), rtol=1e-5)


def test_turned_laws_mirror() -> None:
    first, second = sine(1e-6, 3.0), sine(2e-6, 1.0, 5e-6)
    forth = divide(jnp.asarray(VOLTS), first, Turned(second))
    back = divide(-jnp.asarray(VOLTS), first, second)
    for a, b in zip(forth, back, strict=True):
        np.testing.assert_allclose(a, -np.asarray(b), rtol=1e-9)


def test_gradient_of_the_divider() -> None:
    """By the implicit function theorem, forwards and in reverse, against central differences of a tighter bisection."""

    def second_voltage(p: Any) -> Any:
        first = HyperbolicSine(*(jnp.full(1, x) for x in (1e-6 * p[0], 1e-6, 3.0 * p[1])))
        return divide(2.0 * p[3:4], first, Ohmic(1e-5 * p[2:3]))[1][0]

    def exact(p: np.ndarray) -> float:
        def residual(v: float) -> float:
            return float(1e-6 * p[0] * np.sinh(3.0 * p[1] * (2 * p[3] - v)) - 1e-5 * p[2] * v)

        return float(brentq(residual, 0, 2 * p[3], xtol=1e-15, rtol=1e-14))

    p = np.ones(4)
    differences = [(exact(p + h) - exact(p - h)) / 2e-5 for h in 1e-5 * np.eye(4)]
    np.testing.assert_allclose(jax.jit(jax.grad(second_voltage))(jnp.asarray(p)), differences, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(second_voltage))(jnp.asarray(p)), differences, rtol=1e-5)


def test_single_precision_has_tangents_at_zero_volts_too() -> None:
    """Where both currents are nothing, the share is that of the conductances."""
    laws = (ohmic(1e-6), sine(3e-5, 0.5))
    first, second = (jax.tree.map(lambda a: a.astype(jnp.float32), law) for law in laws)
    volts = jnp.asarray(VOLTS, jnp.float32)
    _, share = jax.jit(lambda v: jax.jvp(lambda v: divide(v, first, second)[1], (v,), (jnp.ones_like(v),)))(volts)
    assert np.all(np.isfinite(share))
    assert float(share[3]) == pytest.approx(1 / 16, rel=1e-4)
