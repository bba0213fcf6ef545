"""Exact derivatives, forward and reverse, against central differences and against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import mcdev.integrators.ion_transport as ion_module
import mcdev.integrators.root as root_module
from mcdev.circuits.alone import AloneCircuit
from mcdev.circuits.contract import Circuit
from mcdev.circuits.series_resistor import SeriesResistorCircuit
from mcdev.devices.injection import Injection
from mcdev.fits import Arrhenius, DoubleExponential
from mcdev.fits.contract import Fit
from mcdev.integrators.drift_diffusion import graded_mesh
from mcdev.integrators.ion_transport import IonState, IonTransport
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


# -------------------------------------------------------------------------------------- ions


def ions(cells: int = 12) -> tuple[IonTransport, IonState]:
    """Three devices at rest: with salt and limit, dilute, and one that does not exist."""
    one = jnp.ones(3)
    transport = IonTransport(
        widths=jnp.asarray(graded_mesh(cells, 0.02)),
        charges=(-1, 1),
        screening=400.0 * one,
        stern=0.01 * one,
        rates=jnp.stack([one, 0.7 * one]),
        packing=jnp.array([0.45, 1e-9, jnp.nan]),
        fixed_charge=0.9 * one,
        field_scale=0.02 * one,
        tolerance=8e-3 * one,
        fixed_step=0.05 * one,
    )
    return transport, transport.rest(jnp.stack([one, 0.1 * one]))


@pytest.fixture(scope="module")
def ion_derivatives() -> tuple[Any, Any, Any]:
    """Forward and reverse derivatives [output, lane, input], and central differences, of a charge and discharge."""
    with jax.enable_x64(True):
        transport, state = ions()

        def arrived(p: Any) -> Any:
            """By κ², the Stern layer, both rates, the limit, the fixed charge, the field scale, widths, the voltage,
            the duration and the densities that it starts from."""
            widths = transport.widths * (1 + (p[7] - 1) * jnp.linspace(-1, 1, 12))
            own = IonTransport(
                widths, (-1, 1), transport.screening * p[0], transport.stern * p[1], transport.rates * p[2],
                transport.packing + 0.45 * (p[3] - 1), transport.fixed_charge * p[4], transport.field_scale * p[5],
                transport.tolerance, transport.fixed_step * p[8],
            )  # fmt: skip
            volts = jnp.array([30.0, 20.0, 10.0]) * p[6]
            begin = eqx.tree_at(lambda s: s.log_ratio, state, state.log_ratio + 0.1 * (p[9] - 1))

            def piece(state: IonState, drive: tuple[Any, Any]) -> tuple[IonState, Any]:
                after = own.advance(state, drive[0] * volts, drive[1] * p[8])
                walls = jnp.stack(own.wall_fields(after, drive[0] * volts))
                return after, jnp.concatenate([after.potential[::3], after.log_ratio[:, ::4].reshape(-1, 3), walls])

            _, seen = lax.scan(piece, begin, (jnp.array([1.0, -0.3]), jnp.array([0.5, 0.2])))
            return seen.reshape(-1, 3)

        at = jnp.ones(10)
        forward = jax.jit(jax.jacfwd(arrived))(at)
        reverse = jax.jit(jax.jacrev(lambda p: arrived(p)[:, :2]))(at)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ion_module, "_CONVERGED", 1e-7)  # the differences need each stage to rounding
            run = jax.jit(lambda p: arrived(p))
            differences = [central(lambda x, k=k: run(at.at[k].set(x)), 1.0, 1e-3) for k in range(10)]  # type: ignore[misc]
        return forward, reverse, np.stack(differences, axis=-1)


def test_ions_against_differences(ion_derivatives: tuple[Any, Any, Any]) -> None:
    forward, _, expected = (x[:, :2] for x in ion_derivatives)
    largest = np.abs(expected).max(axis=0)
    assert (largest > 1e-3).all()
    assert (np.abs(forward - expected) <= 1e-6 * largest).all()


def test_ions_forward_and_reverse_agree_beside_a_failed_lane(ion_derivatives: tuple[Any, Any, Any]) -> None:
    """The third device has no limit that is a number: its derivatives may be anything, those of the others, by
    numbers that it shares with them too, are finite and right."""
    forward, reverse, _ = ion_derivatives
    assert np.isfinite(reverse).all()
    np.testing.assert_allclose(reverse, forward[:, :2], atol=1e-9 * np.abs(forward[:, :2]).max(), rtol=1e-9)
