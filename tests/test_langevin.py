"""The stochastic dynamics against exact laws: weak order, free diffusion, Boltzmann density, passage times.

Everything that draws random numbers goes through the device's own ``advance``, and every tolerance is a number
of standard errors. The checks are functions, so that test_planted_bugs can show that they fail when they should.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import compiled, devices_of, lane_keys, reduced, state_at
from jax import lax
from scipy import stats
from scipy.integrate import cumulative_trapezoid
from scipy.linalg import expm
from test_landscape import energy_of_paper

from mcdev.devices.diffusive_particles import DiffusiveDevices
from mcdev.integrators.interval import Interval
from mcdev.integrators.langevin import SCHEMES, WRITTEN_OUT, diffuse, reflect

# ------------------------------------------------------------------------------------ weak order
# On a circle, x in [0, 2π), the law of one step is a matrix: E[f(x')] = Σ_j w_j f(x'(x, ξ_j)) with Gauss-Hermite
# noise and trigonometric interpolation of f. Weak errors follow without sampling, to 1e-12.

NODES, TEMPERATURE = 64, 0.7
GRID = 2 * np.pi * np.arange(NODES) / NODES
WAVES = np.fft.fftfreq(NODES, 1 / NODES)
NOISE, WEIGHT = np.polynomial.hermite_e.hermegauss(40)
WEIGHT = WEIGHT / WEIGHT.sum()
OBSERVABLE = np.cos(GRID) + 0.5 * np.sin(GRID)


def smooth_force(x: Any) -> Any:
    """-U' with U = -cos x + ½ sin 2x: nonlinear, without symmetry."""
    return -np.sin(x) - np.cos(2 * x)


def mean_at(points: np.ndarray) -> np.ndarray:
    """The matrix that takes f on the grid to Σ_j w_j f(points[j]); points [noise, grid]."""
    values = np.exp(1j * WAVES * points[..., None]) @ np.fft.fft(np.eye(NODES)) / NODES
    return np.einsum("j,jik->ik", WEIGHT, values.real)


def transition(name: str, h: float) -> tuple[np.ndarray, np.ndarray]:
    """The matrix of one step of the scheme, and of the observation at its end.

    Leimkuhler-Matthews remembers its last noise ξ: z = x - s ξ/2 is a Markov chain, and x = z + s ξ/2 observes it.
    """
    step: Callable[..., Any] = SCHEMES[name].step
    s = np.sqrt(2 * TEMPERATURE * h)
    xi = NOISE[:, None]
    if not SCHEMES[name].remembers_noise:
        return mean_at(step(smooth_force, GRID, h, s, xi, 0 * xi)), np.eye(NODES)
    after = step(smooth_force, GRID + 0.5 * s * xi, h, s, 0 * xi, xi)  # z after the step does not hold the new noise
    return mean_at(after), mean_at(GRID + 0.5 * s * xi)


def finite_time_error(name: str, h: float) -> float:
    """Largest weak error at time 1 over all starting points."""
    derivative = (np.fft.ifft(1j * WAVES[:, None] * np.fft.fft(np.eye(NODES), axis=0), axis=0)).real
    second = (np.fft.ifft(-(WAVES[:, None] ** 2) * np.fft.fft(np.eye(NODES), axis=0), axis=0)).real
    exact = expm(smooth_force(GRID)[:, None] * derivative + TEMPERATURE * second) @ OBSERVABLE
    matrix, observe = transition(name, h)
    return float(np.max(np.abs(np.linalg.matrix_power(matrix, round(1 / h)) @ observe @ OBSERVABLE - exact)))


def stationary_error(name: str, h: float) -> float:
    """Error of the stationary mean of the observable."""
    weight = np.exp((np.cos(GRID) - 0.5 * np.sin(2 * GRID)) / TEMPERATURE)
    matrix, observe = transition(name, h)
    late = np.linalg.matrix_power(matrix, round(60 / h))[0] @ observe @ OBSERVABLE
    return abs(float(late - weight @ OBSERVABLE / weight.sum()))


def order(error: Callable[[str, float], float], name: str) -> float:
    steps = np.array([0.02, 0.01, 0.005])
    return float(np.polyfit(np.log(steps), np.log([error(name, h) for h in steps]), 1)[0])


@pytest.mark.parametrize(
    ("scheme", "finite_time", "stationary"),
    [("euler_maruyama", 1, 1), ("heun", 2, 2), ("leimkuhler_matthews", 1, 2)],
)
def test_weak_order(scheme: str, finite_time: int, stationary: int) -> None:
    assert order(finite_time_error, scheme) == pytest.approx(finite_time, abs=0.2)
    assert order(stationary_error, scheme) == pytest.approx(stationary, abs=0.2)


@pytest.mark.parametrize("stiffness", [0.05, 0.15])
def test_stationary_variance_in_a_harmonic_well(stiffness: float) -> None:
    """k h = stiffness, s² = 2 h θ, k = θ = 1: Euler 1/(1 - kh/2), Leimkuhler-Matthews exact, Heun within (kh/2)²."""

    def variance(name: str) -> float:
        h, force = stiffness, lambda x: -x
        s = np.sqrt(2 * h)
        zero, one = np.float64(0), np.float64(1)
        step: Callable[..., Any] = SCHEMES[name].step  # plain arithmetic: works on NumPy's numbers too
        keep = step(force, one, h, s, zero, zero)  # the step is linear: its coefficients
        new, old = step(force, zero, h, s, one, zero), step(force, zero, h, s, zero, one)
        return float((new**2 + old**2 + 2 * keep * new * old) / (1 - keep**2))

    assert variance("euler_maruyama") == pytest.approx(1 / (1 - stiffness / 2), rel=1e-12)
    assert variance("leimkuhler_matthews") == pytest.approx(1, rel=1e-12)
    assert variance("heun") == pytest.approx(1, abs=0.3 * stiffness**2)


@pytest.mark.parametrize("name", list(SCHEMES))
def test_stability_limit(name: str) -> None:
    """The deterministic part contracts just below the limit and grows just above."""
    scheme = SCHEMES[name]
    step: Callable[..., Any] = scheme.step
    for factor, stable in ((0.99, True), (1.01, False)):
        h = factor * scheme.stability_limit
        assert (abs(step(lambda x: -x, np.float64(1), h, 0.0, 0.0, 0.0)) < 1) == stable


# ------------------------------------------------------------------------------------ stepping


def test_reflect() -> None:
    x = jnp.array([[0.3, 1.25, -1.5, 1.0, -1.0, 2.5, -3.0]])
    np.testing.assert_allclose(reflect(x)[0], [0.3, 0.75, -0.5, 1.0, -1.0, -0.5, 1.0])
    assert np.all(np.abs(reflect(jnp.array([[5.0, -7.0, 1e30, -1e30]]))) <= 1)


@pytest.mark.parametrize("name", list(SCHEMES))
def test_a_stretch_may_be_cut_anywhere(name: str) -> None:
    """Five pairs of steps at once are two and three: numbers are named by the clock, the last noise is handed on."""
    key = lane_keys(16)
    x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (3, 16)), jnp.float32)
    h, s = jnp.full(16, 1e-3), jnp.full(16, 0.03)

    @jax.jit
    def run(x: Any, before: Any, first: Any, pairs: Any) -> Any:
        interval = Interval.alike(jnp.float32(1.0), pairs, 16)
        return diffuse(SCHEMES[name], jnp.sin, x, before, h, s, key, jnp.full(16, first), interval)

    whole = run(x, jnp.zeros_like(x), jnp.uint32(7), jnp.uint32(5))
    half = run(*run(x, jnp.zeros_like(x), jnp.uint32(7), jnp.uint32(2)), jnp.uint32(9), jnp.uint32(3))
    np.testing.assert_array_equal(whole[0], half[0])
    np.testing.assert_array_equal(whole[1], half[1])
    assert np.any(np.asarray(whole[1]) != 0) == SCHEMES[name].remembers_noise


@pytest.mark.parametrize("name", list(SCHEMES))
@pytest.mark.parametrize("count", [2, 8])
def test_pairs_written_out_are_the_same_steps(name: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU takes them: whole turns of several pairs, then the rest one by one. The compiler may round the sums of a
    step otherwise, which changes a position by some units in the last place over eleven pairs."""
    key, x = lane_keys(16), jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (3, 16)), jnp.float32)
    h, s = jnp.full(16, 1e-3), jnp.full(16, 0.03)

    def run() -> tuple[Any, Any]:
        interval, first = Interval.alike(jnp.float32(1.0), jnp.uint32(11), 16), jnp.full(16, 7, jnp.uint32)
        return jax.jit(lambda: diffuse(SCHEMES[name], jnp.sin, x, jnp.zeros_like(x), h, s, key, first, interval))()

    monkeypatch.setitem(WRITTEN_OUT, jax.default_backend(), 1)
    one_by_one = run()
    monkeypatch.setitem(WRITTEN_OUT, jax.default_backend(), count)
    for written_out, looped in zip(run(), one_by_one, strict=True):
        np.testing.assert_allclose(written_out, looped, rtol=0, atol=2e-6)


# ------------------------------------------------------------------------------------ free diffusion


class Flat(eqx.Module):
    """No landscape."""

    def force(self, x: Any) -> Any:
        return jnp.zeros_like(x)


def free(theta: float = 0.45, friction: float = 4.0, **device: Any) -> DiffusiveDevices:
    devices = devices_of(reduced(particles=8, background_temperature=f"{theta} K", friction=friction, **device), 4096)
    return cast(DiffusiveDevices, eqx.tree_at(lambda d: d.landscape, devices, Flat()))


def moved(devices: DiffusiveDevices, x: np.ndarray, time: float, pairs: int, voltage: float = 0.0) -> np.ndarray:
    """Positions after ``2 · pairs`` equal steps without current, so that the temperature stays."""
    lanes = x.shape[1]

    def go(devices: DiffusiveDevices, x: Any) -> Any:
        quiet, step = jnp.zeros(lanes), jnp.float32(time / (2 * pairs))
        state = state_at(devices, x)
        key = lane_keys(lanes)
        interval = Interval.alike(step, jnp.uint32(pairs), lanes)
        return devices.advance(state, quiet + voltage, quiet, interval, key, jnp.zeros(lanes, jnp.uint32)).x

    return np.asarray(compiled(go)(devices, jnp.asarray(x, jnp.float32)), np.float64)


def check_free_diffusion() -> None:
    """<x²> = 2 θ t/η and <x> = f v t/η from the middle, 8 σ before the walls; 32768 particles, 5 standard errors."""
    time, theta, friction = 0.06, 0.45, 4.0
    n, variance = 8 * 4096, 2 * theta / friction * time
    x = moved(free(theta, friction), np.zeros((8, 4096)), time, 20)
    assert np.abs(x).max() < 1
    assert abs(np.mean(x**2) / variance - 1) < 5 * np.sqrt(2 / n), "mean square displacement"
    assert stats.kstest(x.ravel() / np.sqrt(variance), "norm").pvalue > 1e-6
    drifted = moved(free(theta, friction), np.zeros((8, 4096)), time, 20, voltage=1.0)
    assert abs(np.mean(drifted) - 9.0 * time / friction) < 5 * np.sqrt(variance / n), "drift"


def check_walls() -> None:
    """Between walls the uniform law stays, and everything that begins at one point becomes uniform."""
    rng = np.random.default_rng(2)
    n = 8 * 4096
    for start in (rng.uniform(-1, 1, (8, 4096)), np.full((8, 4096), 0.9)):
        x = moved(free(), start, 60.0, 500)  # 17 times 4η/(π²θ), in which the slowest mode decays
        assert np.all(np.abs(x) <= 1), "outside the walls"
        counts = np.histogram(x, 40, (-1, 1))[0]
        excess = np.sum((counts - n / 40) ** 2) / (n / 40) - 39
        assert abs(excess) < 5 * np.sqrt(2 * 39), "not uniform"


def test_free_diffusion() -> None:
    check_free_diffusion()


def test_walls() -> None:
    check_walls()


# ------------------------------------------------------------------------------------ Boltzmann density

BINS = 40


def boltzmann_cumulative(theta: float, phase: float = 0.0, tilt: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    x = np.linspace(-1, 1, 40_001)
    u = energy_of_paper(x, phase, tilt=tilt)
    total = cumulative_trapezoid(np.exp(-(u - u.min()) / theta), x, initial=0)
    return x, total / total[-1]


def check_boltzmann(scheme: str, theta: float = 0.45) -> None:
    """32768 independent particles that begin in the exact density stay in it, at the scheme's default step, while
    the wells relax a hundred times over; chi-square over 40 bins of equal weight within 5 σ of its mean.

    The bias of the step is below this: 0.5 % of the wells' variance is 0.5 in chi-square (σ = 9).
    """
    experiment = reduced(particles=8, background_temperature=f"{theta} K", integrator={"scheme": scheme})
    lanes, time = 4096, 0.5
    x, cumulative = boltzmann_cumulative(theta)
    start = np.interp(np.random.default_rng(4).uniform(size=(8, lanes)), cumulative, x)
    pairs = int(np.ceil(time / (2 * experiment.device.pace(0.0).step)))
    end = moved(devices_of(experiment, lanes), start, time, pairs)
    edges = np.interp(np.linspace(0, 1, BINS + 1), cumulative, x)
    for positions, when in ((start, "start"), (end, "end")):
        counts = np.histogram(positions, edges)[0]
        excess = np.sum((counts - 8 * lanes / BINS) ** 2) / (8 * lanes / BINS) - (BINS - 1)
        assert abs(excess) < 5 * np.sqrt(2 * (BINS - 1)), f"Boltzmann density at the {when}"


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_boltzmann_density(scheme: str) -> None:
    check_boltzmann(scheme)


# ------------------------------------------------------------------------------------ passage times


def passage_moments(start: float, target: float, theta: float, tilt: float, friction: float) -> tuple[float, float]:
    """First two moments of the first-passage time from start to target, wall at -1, by
    <T^n>(x) = n (η/θ) ∫_x^target dy e^{U/θ} ∫_-1^y dz e^{-U/θ} <T^{n-1}>(z)."""
    x = np.linspace(-1, target, 100_001)
    u = energy_of_paper(x, tilt=tilt) / theta
    u -= u.min()
    moments = [np.ones_like(x)]
    for n in (1, 2):
        inner = cumulative_trapezoid(np.exp(-u) * moments[-1], x, initial=0)
        outer = cumulative_trapezoid(np.exp(u) * inner, x, initial=0)
        moments.append(n * friction / theta * (outer[-1] - outer))
    return float(np.interp(start, x, moments[1])), float(np.interp(start, x, moments[2]))


def passage_time(scheme: str, theta: float, voltage: float, lanes: int, multiple: float) -> tuple[float, float, float]:
    """(measured, exact, relative standard error) of the mean time from the left interfacial well's bottom across
    its barrier into the middle of the gap, at the scheme's default step.

    A particle that arrives starts again at the bottom, so that all computing counts. After a few mean times T,
    K arrivals a particle have <K> = t/T + (σ²/T² - 1)/2 and a variance of t σ²/T³ (renewal theory: Cox 1962, §4).
    The crossing is looked for after every pair of steps; on average a path so watched crosses 0.5826 sqrt(2 D dt)
    late (Broadie, Glasserman and Kou 1997), by which the exact target is moved. It is worth 0.1 to 1 %.
    """
    particles, start, target, friction = 8, -0.85, -0.0375, 4.0
    experiment = reduced(particles=particles, background_temperature=f"{theta} K", integrator={"scheme": scheme})
    devices, step = devices_of(experiment, lanes), experiment.device.pace(voltage).step
    late = 0.5826 * np.sqrt(2 * theta / friction * 2 * step)
    exact, second = passage_moments(start, target + late, theta, 9.0 * voltage, friction)
    pairs = int(np.ceil(multiple * exact / (2 * step)))

    def go(devices: DiffusiveDevices, pairs: Any) -> Any:
        quiet, one, h = jnp.zeros(lanes), jnp.uint32(1), jnp.float32(step)
        key = lane_keys(lanes)

        def body(i: Any, carry: Any) -> Any:
            state, arrivals = carry
            interval = Interval.alike(h, one, lanes)
            state = devices.advance(state, quiet + voltage, quiet, interval, key, jnp.full(lanes, i))
            arrived = state.x > target
            return state._replace(x=jnp.where(arrived, start, state.x)), arrivals + arrived

        x = jnp.full((particles, lanes), start, jnp.float32)
        return lax.fori_loop(jnp.uint32(0), pairs, body, (state_at(devices, x), jnp.zeros(x.shape, jnp.int32)))[1]

    arrivals = float(np.mean(np.asarray(compiled(go)(devices, jnp.uint32(pairs)), np.float64)))
    time, spread = pairs * 2 * step, second - exact**2
    measured = time / (arrivals - 0.5 * (spread / exact**2 - 1))
    return measured, exact, float(np.sqrt(spread * time / exact**3 / (particles * lanes)) * exact / time)


def check_passage_time(scheme: str, theta: float, voltage: float, lanes: int, multiple: float = 4.0) -> None:
    """Within 3.5 standard errors and the 1 % that the default step is chosen for."""
    measured, exact, error = passage_time(scheme, theta, voltage, lanes, multiple)
    assert abs(measured / exact - 1) < 3.5 * error + 0.01, f"passage time {measured / exact:.4f} ± {error:.4f}"


@pytest.mark.parametrize("scheme", ["euler_maruyama", "heun"])
@pytest.mark.parametrize(("theta", "voltage", "lanes"), [(1.5, 0.0, 192), (2.0, 0.0, 256), (0.45, 2.0, 384)])
def test_passage_time(scheme: str, theta: float, voltage: float, lanes: int) -> None:
    check_passage_time(scheme, theta, voltage, lanes, multiple=3.0)


def test_leimkuhler_matthews_slows_barrier_crossing() -> None:
    """5 % at its default step, 10 standard errors: the same check refuses it, and so does the configuration."""
    with pytest.raises(AssertionError, match=r"passage time 1\.0"):
        check_passage_time("leimkuhler_matthews", 0.45, 2.0, 1536, multiple=3.0)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["euler_maruyama", "heun"])
@pytest.mark.parametrize(("theta", "voltage", "lanes"), [(0.8, 0.0, 512), (0.6, 1.0, 2048), (0.45, 2.0, 8192)])
def test_passage_time_closely(scheme: str, theta: float, voltage: float, lanes: int) -> None:
    check_passage_time(scheme, theta, voltage, lanes)
