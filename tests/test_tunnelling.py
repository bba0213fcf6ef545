"""Resistance of a chain of gaps against configurations computed by hand, and its sorting network."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcdev.devices import tunnelling
from mcdev.devices.tunnelling import sorting_network

RATES = [0.05, 0.2, 1.0]


def conductance(x: Any, tunnelling_length: float) -> np.ndarray:
    """g of positions [particle] or [particle, lane]."""
    x = jnp.asarray(np.asarray(x, np.float32).reshape(len(x), -1))
    return np.asarray(jax.jit(tunnelling.relative_conductance)(x, jnp.full(x.shape[1], tunnelling_length, jnp.float32)))


def by_definition(x: np.ndarray, tunnelling_length: float) -> np.ndarray:
    """R_min/R_M as the paper writes it, in float64. Positions [particle, lane]."""
    ends = np.ones((1, x.shape[1]))
    chain = np.concatenate([-ends, np.sort(np.asarray(x, np.float64), axis=0), ends])
    count = len(x) + 1
    smallest = count * np.exp(2 / (count * tunnelling_length))
    return smallest / np.exp(np.diff(chain, axis=0) / tunnelling_length).sum(axis=0)


def check_hand_computed() -> None:
    """Two and three particles, written out."""
    e = np.exp
    np.testing.assert_allclose(conductance([-0.5, 0.5], 0.5), 3 * e(4 / 3) / (e(1) + e(2) + e(1)), rtol=1e-5)
    np.testing.assert_allclose(conductance([0.5, -0.5], 0.5), 3 * e(4 / 3) / (e(1) + e(2) + e(1)), rtol=1e-5)
    np.testing.assert_allclose(conductance([1.0, -1.0], 0.5), 3 * e(4 / 3) / (1 + e(4) + 1), rtol=1e-5)
    three = 4 * e(2.5) / (e(2) + e(3) + e(1) + e(4))  # gaps 0.4, 0.6, 0.2, 0.8
    for order in itertools.permutations([-0.6, 0.0, 0.2]):
        np.testing.assert_allclose(conductance(order, 0.2), three, rtol=1e-5)


def check_permutations() -> None:
    """The order in which particles are numbered does not matter, and the definition holds for 40 of them."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, (40, 512))
    for tunnelling_length in RATES:
        g = conductance(x, tunnelling_length)
        np.testing.assert_allclose(g, by_definition(x.astype(np.float32), tunnelling_length), rtol=1e-5)
        np.testing.assert_array_equal(conductance(rng.permuted(x, axis=0), tunnelling_length), g)


@pytest.mark.parametrize("lanes", [16, 256])
@pytest.mark.parametrize("particles", [1, 7, 40])
def test_at_rest_it_is_the_same_bit_for_bit(particles: int, lanes: int) -> None:
    """Sorted by the library or by the network, the same gaps are added in the same order."""
    x = np.random.default_rng(particles).uniform(-1, 1, (particles, lanes)).astype(np.float32)
    rate = jnp.full(lanes, 0.2, jnp.float32)
    once = jax.jit(tunnelling.conductance_once)(x, rate)
    np.testing.assert_array_equal(once, jax.jit(tunnelling.relative_conductance)(x, rate))


def test_hand_computed() -> None:
    check_hand_computed()


def test_permutations() -> None:
    check_permutations()


@pytest.mark.parametrize("particles", [2, 7, 40, 200])
@pytest.mark.parametrize("tunnelling_length", RATES)
def test_equal_gaps_give_the_largest_conductance(particles: int, tunnelling_length: float) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (particles, 512))
    x[:, 0] = np.linspace(-1, 1, particles + 2)[1:-1]
    g = conductance(x, tunnelling_length)
    np.testing.assert_allclose(g[0], 1.0, rtol=2e-5)
    assert np.all(g[1:] < 1.0)


@pytest.mark.parametrize("wall", [-1.0, 1.0])
@pytest.mark.parametrize("particles", [2, 40])
def test_all_particles_at_one_wall(wall: float, particles: int) -> None:
    """One gap of 2 in series with P gaps of zero."""
    rate, count = 1 / 0.2, particles + 1
    expected = count * np.exp(2 * rate / count) / (particles + np.exp(2 * rate))
    np.testing.assert_allclose(conductance(np.full((particles, 512), wall), 0.2), expected, rtol=1e-5)


@pytest.mark.parametrize("lanes", [1, 3, 256, 257, 512])
def test_blocks_of_lanes_give_the_same(lanes: int) -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (10, lanes))
    np.testing.assert_allclose(conductance(x, 0.2), by_definition(x.astype(np.float32), 0.2), rtol=1e-5)


def test_short_tunnelling_length_does_not_overflow() -> None:
    """exp(gap/λ) alone would overflow float32 at gap/λ > 88; here up to 180."""
    x = np.random.default_rng(2).uniform(-1, 1, (40, 512))
    g = conductance(x, 0.011)
    assert np.all(np.isfinite(g))
    np.testing.assert_allclose(g, by_definition(x.astype(np.float32), 0.011), rtol=2e-4)
    # g itself leaves the range of float32 only where the resistance is 1e38 times the smallest: then it is zero
    far = conductance(np.ones((40, 512)), 0.002)
    assert np.all(far == 0.0)


@pytest.mark.parametrize("n", range(1, 15))
def test_sorting_network_by_the_zero_one_principle(n: int) -> None:
    """A network that sorts every sequence of zeros and ones sorts everything (Knuth, TAOCP 3, 5.3.4 Z)."""
    rows = list(np.array(list(itertools.product([0, 1], repeat=n))).T)
    for low, high in sorting_network(n):
        rows[low], rows[high] = np.minimum(rows[low], rows[high]), np.maximum(rows[low], rows[high])
    assert all(np.all(a <= b) for a, b in itertools.pairwise(rows))


@pytest.mark.parametrize("n", [2, 17, 40, 100, 128, 129, 300])
def test_sorted_particles(n: int) -> None:
    x = np.random.default_rng(n).normal(size=(n, 64)).astype(np.float32)
    np.testing.assert_array_equal(np.stack(tunnelling.sort_particles(jnp.asarray(x))), np.sort(x, axis=0))
