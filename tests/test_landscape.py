"""Forces are minus the gradients of energies; the curvature stays below its bound; pinning of both kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import devices_of, reduced
from scipy.integrate import cumulative_trapezoid

from mcdev.devices.landscape import Attraction, Landscape, RandomPinning, curvature_bound, well_exchange

X64 = jax.enable_x64
DISORDER = {"period_sigma": 0.2, "depth_sigma": 0.3}


def energy_of_paper(x: np.ndarray, phase: float = 0.0, depth: float = 4.5, tilt: float = 0.0) -> np.ndarray:
    """U(x) - tilt x as printed, with the paper's numbers; written independently of the package."""
    wells = np.exp(-(((x + 0.85) / 0.1) ** 2)) + np.exp(-(((x - 0.85) / 0.1) ** 2))
    return -depth * wells + 0.5 * np.sin(2 * np.pi * x / 0.15 + phase) - tilt * x


@jax.jit
def pairs_of(landscape: Landscape, x: Any) -> list[tuple[Any, Any]]:
    """Each force, and the gradient that it should be minus of."""
    wells, pinning = landscape.wells, landscape.pinning
    pairs = [(wells.force, wells.energy), (pinning.force, pinning.energy)]
    pairs.append((landscape.force, landscape.single_particle_energy))
    return [(force(x), minus_gradient(energy, x)) for force, energy in pairs]


def minus_gradient(energy: Callable[[Any], Any], x: Any) -> Any:
    return -jax.grad(lambda x: jnp.sum(energy(x)))(x)


def positions(particles: int = 400, lanes: int = 3) -> Any:
    return jnp.asarray(np.random.default_rng(5).uniform(-1, 1, (particles, lanes)))


@pytest.mark.parametrize("phase", ["0 rad", "1.1 rad", "90 deg"])
@pytest.mark.parametrize("disorder", [None, DISORDER])
def test_force_is_minus_the_gradient(phase: str, disorder: dict[str, float] | None) -> None:
    with X64(True):
        device = devices_of(reduced(pinning_phase=phase, pinning_disorder=disorder), 3, np.float64)
        for force, expected in pairs_of(device.landscape, positions()):
            np.testing.assert_allclose(force, expected, atol=1e-5)


def test_energy_is_that_of_the_paper() -> None:
    """Up to the neighbouring well, which is below 5e-6 of the depth where the other one acts."""
    with X64(True):
        for phase in (0.0, 1.1):
            device = devices_of(reduced(pinning_phase=f"{phase} rad"), 1, np.float64)
            x = np.linspace(-1, 1, 2001)
            energy = device.landscape.single_particle_energy(jnp.asarray(x)[:, None])[:, 0]
            np.testing.assert_allclose(energy, energy_of_paper(x, phase), atol=5e-6 * 4.5)


def pair_energy(x: Any, strength: Any, per_width: Any) -> Any:
    """-(2 e/P) Σ_{i<j} exp(-(x_i-x_j)²/R_I²), summed over lanes."""
    y = (x[:, None] - x[None, :]) * per_width
    pairs = jnp.triu(jnp.ones(y.shape[:2]), 1)[:, :, None]
    return -jnp.sum(2 * strength / x.shape[0] * jnp.sum(pairs * jnp.exp(-y * y), axis=(0, 1)))


def test_attraction_is_minus_the_gradient() -> None:
    with X64(True):
        attraction = Attraction(jnp.array([4.5, 1.0, 0.0]), jnp.array([10.0, 5.0, 10.0]))
        x = positions(40)
        expected = minus_gradient(lambda x: pair_energy(x, attraction.strength, attraction.per_width), x)
        np.testing.assert_allclose(attraction.force(x), expected, atol=1e-10)
        np.testing.assert_allclose(np.sum(attraction.force(x), axis=0), 0.0, atol=1e-10)  # action is reaction


def test_half_the_particles_hold_one_as_deep_as_a_well() -> None:
    with X64(True):
        together = jnp.concatenate([jnp.full((20, 1), -0.5), jnp.full((19, 1), 0.9)])
        depth, width = jnp.array([4.5]), jnp.array([10.0])
        here = pair_energy(jnp.concatenate([together, jnp.full((1, 1), -0.5)]), depth, width)
        away = pair_energy(jnp.concatenate([together, jnp.full((1, 1), 0.2)]), depth, width)
        assert float(away - here) == pytest.approx(4.5, rel=1e-6)


def test_interaction_takes_its_share_from_the_wells() -> None:
    device = devices_of(reduced(interaction=0.25), 1)
    assert device.landscape.attraction is not None
    assert float(device.landscape.attraction.strength[0]) == pytest.approx(0.25 * 4.5)
    assert float(device.landscape.wells.depth[0]) == pytest.approx(0.75 * 4.5)


@pytest.mark.parametrize("phase", ["0 rad", "1.1 rad", "90 deg"])
def test_random_pinning_without_disorder_is_periodic(phase: str) -> None:
    with X64(True):
        periodic = devices_of(reduced(pinning_phase=phase), 3, np.float64).landscape.pinning
        even = reduced(pinning_phase=phase, pinning_disorder={"period_sigma": 0.0, "depth_sigma": 0.0})
        random = devices_of(even, 3, np.float64).landscape.pinning
        x = positions()
        np.testing.assert_allclose(random.energy(x), periodic.energy(x), atol=1e-7)
        np.testing.assert_allclose(random.force(x), periodic.force(x), atol=1e-5)


def test_random_pinning_spans_the_gap_and_differs_between_devices() -> None:
    pinning = devices_of(reduced(pinning_disorder={"period_sigma": 0.5, "depth_sigma": 0.3}), 4000).landscape.pinning
    assert isinstance(pinning, RandomPinning)
    tops, depth = np.asarray(pinning.tops), np.asarray(pinning.depth)
    assert np.all(tops[0] <= -1)
    assert np.all(tops[-1] >= 1)
    widths = np.log(np.diff(tops, axis=0) / 0.15)
    n = widths.size
    for sample, sigma in ((widths, 0.5), (np.log(depth), 0.3)):  # within 5 standard errors
        assert abs(sample.mean()) < 5 * sigma / np.sqrt(n)
        assert abs(sample.std() - sigma) < 5 * sigma / np.sqrt(2 * n)
    assert np.unique(depth, axis=1).shape[1] == 4000


def test_random_pinning_is_continuous() -> None:
    with X64(True):
        pinning = devices_of(reduced(pinning_disorder=DISORDER), 5, np.float64).landscape.pinning
        assert isinstance(pinning, RandomPinning)
        tops = pinning.tops[1:-1]
        for edge in (tops - 1e-9, tops + 1e-9):
            np.testing.assert_allclose(pinning.energy(edge), 0.5, atol=1e-6)
            np.testing.assert_allclose(pinning.force(edge), 0.0, atol=1e-4)


@pytest.mark.parametrize("phase", ["0 rad", "1.1 rad", "90 deg"])
def test_curvature_stays_below_its_bound(phase: str) -> None:
    bound = curvature_bound(4.5, 0.1, 0.15, 1.0, 0.0)
    assert bound == pytest.approx(1777, abs=1)
    with X64(True):
        device = devices_of(reduced(pinning_phase=phase), 1, np.float64)
        second = jax.vmap(jax.grad(jax.grad(lambda x: device.landscape.single_particle_energy(x[None, None])[0, 0])))
        curvature = np.abs(jax.jit(second)(np.linspace(-1, 1, 20_000)))
    assert np.max(curvature) < bound
    assert np.max(curvature) > 0.7 * bound  # the step follows from it: a loose bound would be slow


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.1, 0.5])
def test_curvature_of_the_attraction_stays_below_its_bound(spread: float) -> None:
    """The largest eigenvalue of the Hessian, not only its diagonal."""
    x = spread * np.random.default_rng(1).normal(size=40)
    with X64(True):
        hessian = jax.jit(jax.hessian(lambda x: pair_energy(x[:, None], jnp.array([4.5]), jnp.array([10.0]))))(x)
    largest = np.abs(np.linalg.eigvalsh(hessian)).max()
    bound = curvature_bound(0.0, 0.1, 1e6, 0.0, 4.5)
    assert largest < bound * (1 + 1e-9)
    if spread == 0.0:
        assert largest == pytest.approx(bound)


def passage_time(start: float, target: float, theta: float, potential: Callable[[np.ndarray], np.ndarray]) -> float:
    """Mean first-passage time in η L²/w_p from start to target, wall at -1 (or mirrored, at +1)."""
    wall = -1.0 if target > start else 1.0
    x = np.linspace(wall, target, 100_001)
    u = potential(x) / theta
    u -= u.min()
    inner = cumulative_trapezoid(np.exp(-u), x, initial=0)
    times = cumulative_trapezoid(np.exp(u) * inner, x, initial=0)
    order = np.argsort(x)
    return float((times[-1] - np.interp(start, x[order], times[order])) / theta)


@pytest.mark.parametrize(("phase", "theta"), [(0.0, 0.45), (0.0, 0.3), (np.pi / 2, 0.45)])
def test_exchange_between_the_wells(phase: float, theta: float) -> None:
    landscape: Landscape = devices_of(reduced(pinning_phase=f"{phase} rad"), 1).landscape
    share, exchange = well_exchange(landscape, theta, 4.0)
    x = np.linspace(-1, 1, 400_001)
    u = energy_of_paper(x, phase)
    weight = np.exp(-(u - u.min()) / theta)
    left, right = x[np.argmin(np.where(x < 0, u, np.inf))], x[np.argmin(np.where(x > 0, u, np.inf))]
    assert share == pytest.approx(weight[x < 0].sum() / weight.sum(), rel=1e-3)
    there, back = (
        4.0 * passage_time(a, b, theta, lambda x: energy_of_paper(x, phase)) for a, b in ((left, right), (right, left))
    )
    assert exchange == pytest.approx(1 / (1 / there + 1 / back), rel=5e-3)
