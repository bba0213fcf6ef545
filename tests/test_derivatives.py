"""Exact derivatives, forward and reverse, against central differences and against each other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import lane_keys
from jax import lax

import mcdev
import mcdev.integrators.ion_transport as ion_module
import mcdev.integrators.root as root_module
import mcdev.measurements.exponential_fit as fit_module
import mcdev.simulation.program as program_module
from mcdev.calibration.reverse import trajectory
from mcdev.circuits.contract import Circuit
from mcdev.circuits.loop import LoopCircuit
from mcdev.devices.contract import CIRCUIT_CHANNELS
from mcdev.devices.injection import Injection
from mcdev.fits import Arrhenius, DoubleExponential
from mcdev.fits.contract import Fit
from mcdev.integrators.checkpointed import checkpointed_loop
from mcdev.integrators.drift_diffusion import graded_mesh
from mcdev.integrators.interval import Interval
from mcdev.integrators.ion_transport import IonState, IonTransport
from mcdev.integrators.root import solve_monotone
from mcdev.measurements.exponential_fit import Exponential, fit_exponential
from mcdev.measurements.least_squares import levenberg_marquardt
from mcdev.simulation.draws import draw_parameters
from mcdev.simulation.reading import trajectory as put_together
from mcdev.simulation.trial import drive


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
        "alone": lambda p: LoopCircuit(p[1]),
        "resistor": lambda p: LoopCircuit(None, p[0]),
        "both": lambda p: LoopCircuit(p[1], p[0]),
    }
    return makes[kind]


@pytest.mark.parametrize("kind", ["alone", "resistor", "both"])
def test_circuits(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """dv and dI by conductance, source voltage, resistance and limit; lanes above, below and far below the limit."""
    monkeypatch.setattr(root_module, "_TOLERANCE", 1e-13)  # the differences need the zero itself

    def solved(p: Any) -> Any:
        circuit = wired(kind)((1e5 * p[0], 4e-6 * p[1]))
        applied = jnp.array([3.5, -2.5, 0.4]) * p[2]
        voltage, current, _ = circuit.solve(None, applied, law(3e-6 * jnp.ones(3) * p[3]))
        return jnp.stack([voltage, 1e6 * current])

    at = jnp.array([1.0, 1.0, 1.0, 1.0])
    forward, reverse = jax.jit(jax.jacfwd(solved))(at), jax.jit(jax.jacrev(solved))(at)
    run = jax.jit(solved)
    for k in range(4):

        def varied(x: float, k: int = k) -> Any:
            return run(at.at[k].set(x))

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


def stationary_fit(time: Any, y: Any, weight: Any, widths: Any = None) -> Any:
    """(τ, amplitude, offset, standard error) of the same least squares, to rounding: Newton's method on the first
    three, and the error from the inverse of the normal matrix."""

    def curve(p: Any) -> Any:
        tau = jnp.exp(p[0])
        if widths is None:
            return p[1] * jnp.exp(-time / tau) + p[2]
        inside = jnp.where(weight > 0, time, 0.0)  # elsewhere the exponentials may overflow
        begin, end = (jnp.exp(-(inside + side * widths) / tau) for side in (-0.5, 0.5))
        return p[1] * tau * (begin - end) / widths + p[2]

    share = weight / jnp.sum(weight)

    def cost(p: Any) -> Any:
        return 0.5 * jnp.sum(share * (curve(p) - y) ** 2)

    first = fit_exponential(time, y, weight, 0.0 if widths is None else widths)
    p = jnp.array([jnp.log(first.time_constant), first.amplitude, first.offset])
    for _ in range(4):
        p = p - jnp.linalg.solve(jax.hessian(cost)(p), jax.grad(cost)(p))
    jacobian = jax.jacfwd(curve)(p)
    inverse = jnp.linalg.inv(jacobian.T @ (share[:, None] * jacobian))
    error = jnp.exp(p[0]) * jnp.sqrt(2 * cost(p) * inverse[0, 0] / (jnp.sum(weight > 0) - 3))
    return jnp.array([jnp.exp(p[0]), p[1], p[2], error])


def fitted(time: Any, y: Any, weight: Any) -> Any:
    return jnp.stack(fit_exponential(time, y, weight))


def test_exponential_fit() -> None:
    """Each number of the fit by time, y and weight, each along a direction."""
    data = [jnp.asarray(x) for x in (TIME, COURSE, WEIGHT)]
    direction = jnp.cos(1.7 * jnp.arange(40)) * (WEIGHT > 0)

    def moved(s: Any) -> list[Any]:
        return [x + s[i] * direction for i, x in enumerate(data)]

    run = jax.jit(lambda s: stationary_fit(*moved(s)))
    forward = jax.jit(jax.jacfwd(lambda s: fitted(*moved(s))))(jnp.zeros(3))
    for i in range(3):
        expected = central(functools.partial(lambda i, s: run(s * jnp.eye(3)[i]), i), 0.0, 1e-3)
        np.testing.assert_allclose(forward[:, i], expected, rtol=1e-6)
    reverse = jax.jit(jax.jacrev(fitted, argnums=(0, 1, 2)))(*data)
    np.testing.assert_allclose(jnp.stack([x @ direction for x in reverse], axis=1), forward, rtol=1e-9)


def test_exponential_fit_at_the_end_of_its_grid_moves_with_it() -> None:
    """A straight line has its best τ beyond ten times the span: τ is that bound, and grows with the time axis."""
    y = jnp.asarray(1.0 + 0.2 * TIME + 1e-4 * TIME**2)

    def tau(stretch: Any) -> Any:
        return fitted(TIME * stretch, y, jnp.ones(40))[0]

    value, slope = jax.jit(lambda s: jax.jvp(tau, (s,), (1.0,)))(1.0)
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
    value, forward = jax.jit(lambda y: jax.jvp(least, (y,), (direction,)))(at)
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
    """Three devices at rest: with a limit, dilute, and one that does not exist."""
    one = jnp.ones(3)
    transport = IonTransport(
        widths=jnp.asarray(graded_mesh(cells, 0.02))[:, None] * one,
        charges=(-1,),
        screening=400.0 * one,
        stern=0.01 * one,
        rates=0.05 * one[None],
        packing=jnp.array([0.45, 1e-9, jnp.nan]),
        fixed_charge=one,
        field_scale=0.02 * one,
        tolerance=8e-3 * one,
        fixed_step=0.05 * one,
    )
    return transport, transport.rest(one[None])


@pytest.fixture(scope="module")
def ion_derivatives() -> tuple[Any, Any, Any]:
    """Forward and reverse derivatives [output, lane, input], and central differences, of a charge and discharge."""
    with jax.enable_x64(True):
        transport, state = ions()

        def arrived(p: Any) -> Any:
            """By κ², the Stern layer, the rate, the limit, the fixed charge, the field scale, widths, the voltage,
            the duration and the densities that it starts from."""
            widths = transport.widths * (1 + (p[7] - 1) * jnp.linspace(-1, 1, 12)[:, None])
            own = IonTransport(
                widths, (-1,), transport.screening * p[0], transport.stern * p[1], transport.rates * p[2],
                transport.packing + 0.45 * (p[3] - 1), transport.fixed_charge * p[4], transport.field_scale * p[5],
                transport.tolerance, transport.fixed_step * p[8],
            )  # fmt: skip
            volts = jnp.array([30.0, 20.0, 10.0]) * p[6]
            begin = eqx.tree_at(lambda s: s.log_ratio, state, state.log_ratio + 0.1 * (p[9] - 1))

            def piece(state: IonState, drive: tuple[Any, Any]) -> tuple[IonState, Any]:
                after = own.advance(state, drive[0] * volts, drive[1] * p[8] * jnp.ones(3))
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
            differences = [
                central(functools.partial(lambda k, x: run(at.at[k].set(x)), k), 1.0, 1e-3) for k in range(10)
            ]
        return forward, reverse, np.stack(differences, axis=-1)


def test_ions_against_differences(ion_derivatives: tuple[Any, Any, Any]) -> None:
    forward, _, expected = (x[:, :2] for x in ion_derivatives)
    largest = np.abs(expected).max(axis=0)
    assert (largest > 1e-2).all()
    assert (np.abs(forward - expected) <= 1e-6 * largest).all()


def test_ions_forward_and_reverse_agree_beside_a_failed_lane(ion_derivatives: tuple[Any, Any, Any]) -> None:
    """The third device has no limit that is a number: its derivatives may be anything, those of the others, by
    numbers that it shares with them too, are finite and right."""
    forward, reverse, _ = ion_derivatives
    assert np.isfinite(reverse).all()
    np.testing.assert_allclose(reverse, forward[:, :2], atol=1e-9 * np.abs(forward[:, :2]).max(), rtol=1e-9)


def test_more_steps_than_are_recorded_give_no_derivative() -> None:
    """In the lane that takes them, and in no other."""
    transport, state = ions()
    transport = eqx.tree_at(lambda t: t.fixed_step, transport, jnp.array([0.01, 0.001, 0.01]))

    def arrived(v: Any) -> Any:
        return transport.advance(state, v * jnp.ones(3), jnp.full(3, 0.14)).potential

    value, slope = jax.jit(lambda v: jax.jvp(arrived, (v,), (1.0,)))(10.0)
    assert np.isfinite(value).all()
    assert np.isfinite(slope).all(axis=0).tolist() == [True, False, True]


# -------------------------------------------------------------------------------------- whole protocols

WHOLE = {
    "kind": "recovery",
    "amplitude": "3.5 V",
    "width": "4 s",
    "gap": "200 ms",
    "recovery": "4 s",
    "read_voltage": "0.5 V",
}
READ = {
    "turn_on": {"kind": "exponential_fit", "of": "conductance"},
    "mean": {"kind": "mean_conductance"},
    "ppf": {"kind": "paired_pulse"},
    "spikes": {"kind": "weight_change", "relative_to": "first_pulse"},
}
FAMILIES: dict[str, dict[str, Any]] = {
    "level 1": {"preset": "device_1s"},
    "ions": {
        "preset": "device_1s_pnp",
        "mesh": {"cells": 10},
        "integrator": {"step": "50 ms"},
        "exponent": 2.0,
        "fast_gain": "0.1 1/V",
    },
}
WITHOUT_EFFECT = {"level 1": {"area", "relative_permittivity"}, "ions": {"area"}}


class Whole:
    """An experiment as a function of its devices and of the drive: logarithms of the turn-on time and of the mean
    conductance, facilitation, 4+1 spikes [number, lane]."""

    def __init__(self, family: str):
        self.experiment = mcdev.build(
            {"name": "t", "device": FAMILIES[family], "protocol": WHOLE, "measurements": READ}
        )
        self.names = sorted(self.experiment.device.parameters())
        self.nominal = {n: v[0] for n, v in draw_parameters(self.experiment, 0, 1).items()}
        self.timeline = self.experiment.protocol.timeline()
        self.rows = drive(self.experiment, self.timeline)

    def devices(self, factors: np.ndarray) -> Any:
        """Lanes whose parameters are the nominal ones times factors [parameter, lane]."""
        draws = {name: self.nominal[name] * factor for name, factor in zip(self.names, factors, strict=True)}
        return self.experiment.device.build(draws, 1, np.arange(factors.shape[1]), np.float64)

    def numbers(self, means: dict[str, Any]) -> Any:
        lanes = means["current"].shape[1]
        none = jnp.full(lanes, jnp.nan)

        def of(x: Any) -> Any:
            return jnp.broadcast_to(x, (lanes, *x.shape))

        trajectories = put_together(
            of(jnp.asarray(self.timeline.widths)),
            {name: means[name].T for name in CIRCUIT_CHANNELS},
            of(jnp.empty(0)),
            of(jnp.empty(0, complex)),
            {"full_scale": none, "cell_constant": none},
            {name: of(jnp.asarray(spans)) for name, spans in self.timeline.windows.items()},
        )
        readings = program_module.measure(tuple(self.experiment.measurements.values()), trajectories)
        turn_on, mean, facilitation, spikes = (value for value, _ in readings)
        return jnp.concatenate([jnp.log(jnp.stack([turn_on, mean])), facilitation[None], spikes[:, 1:].T])

    def at(self) -> tuple[Any, tuple[float, float]]:
        """One nominal device, and voltages and steps as they are."""
        return self.devices(np.ones((len(self.names), 1))), (1.0, 1.0)

    def scaled(self, drive_by: Any) -> Any:
        """The samples with all voltages and all steps times a number each."""
        louder, longer = drive_by
        rows = self.rows
        return rows._replace(start=rows.start * louder, end=rows.end * louder, step=rows.step * longer)

    def circuit(self, lanes: int) -> Any:
        return self.experiment.circuit.build(self.experiment.device, {}, 1, np.arange(lanes), np.float64)

    def run(self, devices: Any, drive_by: Any) -> Any:
        """As the ensemble computes it."""
        key = lane_keys(devices.fast.shape[0])
        kinds = (np.float64, np.float64, np.uint32, np.uint32, np.float64)
        columns = zip(self.scaled(drive_by)[:5], kinds, strict=True)
        rows = program_module.Row(*(jnp.asarray(x).astype(kind)[:, None] for x, kind in columns))
        lanes = key[0].shape[0]
        circuit = self.circuit(lanes)
        begin = program_module.rest(devices, circuit, key)
        place = program_module.Place(lanes, 0)
        means = program_module.advance(devices, circuit, key, begin, rows, begin.intact, place)[1].channels
        return self.numbers(means), means["current"]

    def backwards(self, devices: Any, drive_by: Any) -> Any:
        """The same for reverse mode."""
        key = lane_keys(devices.fast.shape[0])
        counted = jnp.ones(key[0].shape, bool)
        circuit = self.circuit(counted.size)
        means, _ = trajectory(devices, circuit, key, self.scaled(drive_by), counted)
        return self.numbers(means), means["current"]


@functools.cache
def forward_through(family: str) -> tuple[Whole, list[Any], np.ndarray, Any]:
    """The experiment; directions of devices and drive (logarithm of each parameter; voltages; durations), one leading
    axis; derivative of each number along each direction; currents."""
    whole = Whole(family)
    count = len(whole.names)
    unit, step = np.eye(count), 1e-5
    ends = [jax.tree.leaves(whole.devices(1 + sign * step * unit)) for sign in (1, -1)]
    at = whole.at()
    tangents = [
        jnp.zeros((count, *leaf.shape))
        if up.shape == leaf.shape  # the mesh, which belongs to all lanes
        else jnp.moveaxis(up - down, -1, 0)[..., None] / (2 * step)
        for leaf, up, down in zip(jax.tree.leaves(at[0]), *ends, strict=True)
    ]
    tangents = [jnp.concatenate([tangent, jnp.zeros((2, *tangent.shape[1:]))]) for tangent in tangents]
    tangents += [jnp.asarray(np.eye(count + 2)[:, count + k]) for k in range(2)]

    def along(tangent: list[Any]) -> Any:
        return jax.jvp(whole.run, at, jax.tree.unflatten(jax.tree.structure(at), tangent))

    (_, currents), (forward, _) = jax.jit(jax.vmap(along, out_axes=((None, None), -1)))(tangents)
    return whole, tangents, np.asarray(forward[:, 0]), currents


@pytest.mark.parametrize("family", ["level 1", pytest.param("ions", marks=pytest.mark.slow)])
def test_reverse_through_a_whole_protocol(family: str) -> None:
    """One pass back through the checkpointed trajectory is what all directions forward through the ensemble's own
    program are, and so are the currents."""
    whole, tangents, forward, currents = forward_through(family)
    weights = np.cos(np.arange(forward.shape[0]))

    def weighed(devices: Any, drive_by: Any) -> Any:
        numbers, current = whole.backwards(devices, drive_by)
        return weights @ numbers[:, 0], current

    gradient, same = jax.jit(jax.grad(weighed, argnums=(0, 1), has_aux=True))(*whole.at())
    np.testing.assert_allclose(same, currents, rtol=1e-12)
    pairs = zip(tangents, jax.tree.leaves(gradient), strict=True)
    reverse = sum(np.tensordot(tangent, leaf, axes=np.ndim(leaf)) for tangent, leaf in pairs)
    largest = np.max(np.abs(weights) @ np.abs(forward))
    np.testing.assert_allclose(reverse, weights @ forward, rtol=1e-9, atol=1e-9 * largest)


@pytest.mark.parametrize("family", ["level 1", pytest.param("ions", marks=pytest.mark.slow)])
def test_forward_through_a_whole_protocol(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against differences of runs whose stages and fits are solved to rounding."""
    whole, _, forward, _ = forward_through(family)
    count = len(whole.names)
    monkeypatch.setattr(ion_module, "_CONVERGED", 1e-8)
    monkeypatch.setattr(fit_module, "fit_exponential", polished_fit)
    run = jax.jit(lambda *at: whole.run(*at)[0])
    moves = [1e-3, -1e-3, 5e-4, -5e-4]
    lanes = whole.devices(np.concatenate([1 + h * np.eye(count) for h in moves], axis=1))
    up, down, half_up, half_down = np.split(np.asarray(run(lanes, (1.0, 1.0))), 4, axis=1)
    expected = (4 * (half_up - half_down) / 1e-3 - (up - down) / 2e-3) / 3
    np.testing.assert_allclose(forward[:, :count], expected, rtol=1e-6, atol=1e-9)
    acting = np.abs(expected).max(axis=0)
    assert {name for name, slope in zip(whole.names, acting, strict=True) if slope < 1e-8} == WITHOUT_EFFECT[family]
    nominal = whole.devices(np.ones((count, 4 * count)))  # of the same shape: no second compilation

    for k in range(2 if family == "level 1" else 1):  # ions take other steps in longer intervals

        def driven(x: float, k: int = k) -> Any:
            return run(nominal, (x, 1.0) if k == 0 else (1.0, x))[:, 0]

        np.testing.assert_allclose(forward[:, count + k], central(driven, 1.0, 1e-3), rtol=1e-6)


def polished_fit(time: Any, y: Any, weight: Any, widths: Any) -> Exponential:
    return Exponential(*stationary_fit(time, y, weight, widths))


def test_memory_in_reverse_grows_less_than_twofold_for_tenfold_steps() -> None:
    whole = Whole("level 1")
    devices = whole.devices(np.ones((len(whole.names), 64)))
    key, volts, step = lane_keys(64), jnp.full(64, 3.5), jnp.asarray(1e-3)

    def memory(steps: int) -> int:
        def charge(devices: Any) -> Any:
            def body(i: Any, state: Any) -> Any:
                interval = Interval.alike(step, np.uint32(1), 64)
                return devices.advance(state, volts, volts, interval, key, interval.pairs)

            return jnp.sum(checkpointed_loop(steps)(0, steps, body, devices.rest(key)).q)

        analysis = jax.jit(jax.grad(charge)).lower(devices).compile().memory_analysis()
        assert analysis is not None
        return int(analysis.temp_size_in_bytes)

    assert memory(3000) < 2 * memory(300)


@pytest.mark.parametrize(("bound", "count"), [(1, 0), (1, 1), (7, 5), (30, 30), (301, 211)])
def test_checkpointed_loop_is_a_loop(bound: int, count: int) -> None:
    """Value and derivative of x → sin(x + i/10) again and again, some blocks skipped, others in part."""

    def step(i: Any, x: Any) -> Any:
        return jnp.sin(x + jnp.asarray(i, x.dtype) / 10)

    def known(x: Any) -> Any:
        return lax.fori_loop(0, count, step, x)

    @jax.jit
    def found(x: Any, count: Any) -> Any:
        loop = checkpointed_loop(bound)
        return jax.value_and_grad(lambda x: loop(0, count, step, x))(x)

    np.testing.assert_allclose(found(0.7, count), jax.value_and_grad(known)(0.7), rtol=1e-12)
