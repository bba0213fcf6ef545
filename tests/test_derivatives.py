"""Exact derivatives, forward and reverse, against central differences and against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcdev.integrators.root as root_module
from mcdev.circuits.alone import AloneCircuit
from mcdev.circuits.contract import Circuit
from mcdev.circuits.series_resistor import SeriesResistorCircuit
from mcdev.devices.injection import Injection
from mcdev.fits import Arrhenius, DoubleExponential
from mcdev.fits.contract import Fit
from mcdev.integrators.root import solve_monotone
from mcdev.measurements.exponential_fit import fit_exponential
from mcdev.measurements.least_squares import levenberg_marquardt


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def central(f: Callable[[Any], Any], x: Any, step: float) -> Any:
    """f'(x) by two central differences and Richardson's extrapolation, error O(step⁴); x a number."""
    coarse, fine = ((np.asarray(f(x + h)) - np.asarray(f(x - h))) / (2 * h) for h in (step, 0.5 * step))
    return (4 * fine - coarse) / 3


# -------------------------------------------------------------------------------------- the zero of a function


def law(conductance: Any) -> Injection:
    c = jnp.asarray(conductance)
    one = jnp.ones_like(c)
    return Injection(c, 2.0 * one, 0.3 * one, jnp.array([0.5, 2.0, 0.0]), 0.1 * one, 3.0 * one)


def wired(kind: str) -> Callable[[Any], Circuit]:
    """A circuit from (resistance, compliance)."""
    makes: dict[str, Callable[[Any], Circuit]] = {
        "alone": lambda p: AloneCircuit(p[1]),
        "resistor": lambda p: SeriesResistorCircuit(p[0], None),
        "both": lambda p: SeriesResistorCircuit(p[0], p[1]),
    }
    return makes[kind]


@pytest.mark.parametrize("kind", ["alone", "resistor", "both"])
def test_circuits(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """dv and dI by conductance, source voltage, resistance and limit; lanes above, below and far below the limit."""
    monkeypatch.setattr(root_module, "_TOLERANCE", 1e-13)  # the differences need the zero itself

    @jax.jit
    def solved(p: Any) -> Any:
        circuit = wired(kind)((1e5 * p[0], 4e-6 * p[1]))
        applied = jnp.array([3.5, -2.5, 0.4]) * p[2]
        voltage, current = circuit.solve(None, applied, law(3e-6 * jnp.ones(3) * p[3]))
        return jnp.stack([voltage, 1e6 * current])

    at = jnp.array([1.0, 1.0, 1.0, 1.0])
    forward, reverse = jax.jit(jax.jacfwd(solved))(at), jax.jit(jax.jacrev(solved))(at)
    for k in range(4):

        def varied(x: float, k: int = k) -> Any:
            return solved(at.at[k].set(x))

        expected = central(varied, 1.0, 1e-3)
        np.testing.assert_allclose(forward[..., k], expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(forward, reverse, rtol=1e-12, atol=1e-15)


def test_zero_known_from_the_start_has_a_derivative() -> None:
    """v + R v = V with the exact guess: no iteration is taken; dv/dV = 1/(1 + R), dv/dR = -v/(1 + R)."""

    def v(applied: Any, r: Any) -> Any:
        guess = applied / (1 + r)
        return solve_monotone(lambda v: v + r * v - applied, guess, applied, jnp.abs(applied))[0]

    at = jnp.array([2.0]), jnp.array([0.5])
    for derivative in (jax.jacfwd, jax.jacrev):
        by_voltage, by_resistance = derivative(v, argnums=(0, 1))(*at)
        np.testing.assert_allclose(by_voltage, 1 / 1.5, rtol=1e-14)
        np.testing.assert_allclose(by_resistance, -2.0 / 1.5**2, rtol=1e-14)


def test_lane_without_a_zero_leaves_the_others_finite() -> None:
    def v(shift: Any, slope: Any) -> Any:
        return solve_monotone(lambda v: slope * v - shift, jnp.array([0.3, 0.3]), jnp.ones(2), jnp.ones(2))[0]

    for derivative in (jax.jacfwd, jax.jacrev):
        found = derivative(v)(jnp.array([0.5, jnp.nan]), jnp.array([1.0, 0.0]))
        np.testing.assert_allclose(found, [1.0, 0.0], rtol=1e-14)


# -------------------------------------------------------------------------------------- fits

TIME = np.linspace(0.05, 4.0, 40)
WEIGHT = np.where(np.arange(40) % 7 == 3, 0.0, 1.0 + 0.3 * np.sin(np.arange(40)))
COURSE = 2.0 - 1.5 * np.exp(-TIME / 0.8) + 0.3 * np.exp(-TIME / 0.1) + 0.02 * np.sin(5 * TIME)


@jax.jit
def stationary_fit(time: Any, y: Any, weight: Any) -> Any:
    """(τ, amplitude, offset, standard error) of the same least squares, to rounding: Newton's method on the first
    three, and the error from the inverse of the normal matrix."""

    def curve(p: Any) -> Any:
        return p[1] * jnp.exp(-time / jnp.exp(p[0])) + p[2]

    share = weight / jnp.sum(weight)

    def cost(p: Any) -> Any:
        return 0.5 * jnp.sum(share * (curve(p) - y) ** 2)

    first = fit_exponential(time, y, weight)
    p = jnp.array([jnp.log(first.time_constant), first.amplitude, first.offset])
    for _ in range(4):
        p = p - jnp.linalg.solve(jax.hessian(cost)(p), jax.grad(cost)(p))
    jacobian = jax.jacfwd(curve)(p)
    inverse = jnp.linalg.inv(jacobian.T @ (share[:, None] * jacobian))
    error = jnp.exp(p[0]) * jnp.sqrt(2 * cost(p) * inverse[0, 0] / (jnp.sum(weight > 0) - 3))
    return jnp.array([jnp.exp(p[0]), p[1], p[2], error])


@jax.jit
def fitted(time: Any, y: Any, weight: Any) -> Any:
    return jnp.stack(fit_exponential(time, y, weight))


@pytest.mark.parametrize("argument", [0, 1, 2], ids=["time", "y", "weight"])
def test_exponential_fit(argument: int) -> None:
    data = [jnp.asarray(x) for x in (TIME, COURSE, WEIGHT)]
    direction = jnp.cos(1.7 * jnp.arange(40)) * (WEIGHT > 0)

    def moved(s: Any) -> list[Any]:
        return [x + s * direction if i == argument else x for i, x in enumerate(data)]

    expected = central(lambda s: stationary_fit(*moved(s)), 0.0, 1e-3)
    forward = jax.jvp(lambda s: fitted(*moved(s)), (0.0,), (1.0,))[1]
    np.testing.assert_allclose(forward, expected, rtol=1e-6)
    reverse = jax.jit(jax.jacrev(fitted, argnums=argument))(*data)
    np.testing.assert_allclose(reverse @ direction, forward, rtol=1e-9)


def test_exponential_fit_at_the_end_of_its_grid_moves_with_it() -> None:
    """A straight line has its best τ beyond ten times the span: τ is that bound, and grows with the time axis."""
    y = jnp.asarray(1.0 + 0.2 * TIME + 1e-4 * TIME**2)

    def tau(stretch: Any) -> Any:
        return fitted(TIME * stretch, y, jnp.ones(40))[0]

    value, slope = jax.jvp(tau, (1.0,), (1.0,))
    assert float(value) == pytest.approx(10 * TIME[-1], rel=1e-6)
    assert float(slope) == pytest.approx(float(value), rel=1e-9)


def test_exponential_fit_of_a_flat_or_exact_course_has_finite_derivatives() -> None:
    for y in (np.ones(40), 1.0 + np.exp(-TIME)):
        slope = jax.jit(jax.grad(lambda y: fitted(TIME, y, jnp.ones(40))[0]))(jnp.asarray(y))
        assert np.isfinite(slope).all()


def test_levenberg_marquardt() -> None:
    """A fit with large residuals, where Gauss-Newton's matrix alone would give wrong derivatives."""

    def least(y: Any) -> Any:
        start = jnp.array([0.3, 1.0])
        return levenberg_marquardt(lambda p: jnp.exp(-TIME * jnp.exp(p[0])) * p[1] - y, start)[0]

    @jax.jit
    def polished(y: Any) -> Any:
        def cost(p: Any) -> Any:
            return jnp.sum((jnp.exp(-TIME * jnp.exp(p[0])) * p[1] - y) ** 2)

        p = least(y)
        for _ in range(6):
            p = p - jnp.linalg.solve(jax.hessian(cost)(p), jax.grad(cost)(p))
        return p

    at = jnp.asarray(np.exp(-TIME) + 0.3 * np.sin(3 * TIME))
    direction = jnp.asarray(np.cos(np.arange(40)))
    expected = central(lambda s: polished(at + s * direction), 0.0, 1e-3)
    value, forward = jax.jvp(jax.jit(least), (at,), (direction,))
    np.testing.assert_allclose(value, polished(at), rtol=1e-3)  # the search ends where the sum is known to a millionth
    np.testing.assert_allclose(forward, expected, rtol=1e-7)
    np.testing.assert_allclose(jax.jit(jax.jacrev(least))(at) @ direction, forward, rtol=1e-10)


DECAYS = np.geomspace(0.05, 20, 14)
FITS: list[tuple[Fit, np.ndarray, np.ndarray]] = [
    (
        Arrhenius(measurement="t", axis="device.temperature"),
        np.array([290.0, 300.0, 310.0, 330.0]),
        np.array([4.1, 2.9, 2.3, 1.2]),
    ),
    (
        DoubleExponential(measurement="ppf", axis="protocol.gap"),
        DECAYS,
        0.1 * np.exp(-DECAYS / 0.1) + 0.3 * np.exp(-DECAYS / 3.0) + 3e-3 * np.sin(7 * np.arange(14)),
    ),
]


@pytest.mark.parametrize(("fit", "axis", "value"), FITS, ids=["arrhenius", "double_exponential"])
def test_sensitivity_of_a_fit(fit: Fit, axis: np.ndarray, value: np.ndarray) -> None:
    found = fit.sensitivity(axis, value)
    assert found.keys() == fit.coefficients.keys()
    for i in range(axis.size):
        one = np.eye(axis.size)[i]

        def refit(s: float, one: np.ndarray = one) -> np.ndarray:
            return np.array([c.value for c in fit.fit(axis, value + s * one).values()])

        expected = central(refit, 0.0, 1e-3 * np.ptp(value))
        for k, name in enumerate(fit.coefficients):
            largest = np.abs(found[name]).max()
            assert found[name][i] == pytest.approx(expected[k], rel=1e-5, abs=2e-5 * largest)
