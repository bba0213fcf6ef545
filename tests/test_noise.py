"""The random numbers: the published generator, the right distribution, independent streams."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import compiled, lane_keys
from jax.extend.random import threefry_2x32
from scipy import stats

from mcdev.integrators.elementary import cosine_turns, gaussian, minus_twice_logarithm
from mcdev.integrators.noise import normal_pair, realisation_key, threefry, uniform

pytestmark = pytest.mark.promise

SIGMAS = 5.0

# Threefry-2x32 with 20 rounds: counter, key, output (kat_vectors of Random123, Salmon et al. 2011).
KNOWN_ANSWERS = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_threefry_known_answers(counter: Any, key: Any, answer: Any) -> None:
    key, counter = jnp.asarray(key, jnp.uint32), jnp.asarray(counter, jnp.uint32)
    words = threefry((key[0], key[1]), (counter[0], counter[1]))
    assert tuple(int(word) for word in words) == answer


def test_threefry_is_that_of_jax() -> None:
    rng = np.random.default_rng(0)
    key = rng.integers(0, 2**32, 2, dtype=np.uint32)
    counter = rng.integers(0, 2**32, (2, 4096), dtype=np.uint32)
    theirs = np.asarray(threefry_2x32(jnp.asarray(key), jnp.asarray(counter.ravel()))).reshape(2, -1)
    ours = threefry((jnp.asarray(key[0]), jnp.asarray(key[1])), (jnp.asarray(counter[0]), jnp.asarray(counter[1])))
    np.testing.assert_array_equal(np.asarray(ours), theirs)


@functools.cache
def draws(seed: int = 1, cycle: int = 0, first_step: int = 0, first_particle: int = 0, first_device: int = 0) -> Any:
    """Two times 2^20 normals: 256 devices, 64 particles, 64 pairs of steps. Shape [2, step, particle, device]."""
    devices = jnp.arange(first_device, first_device + 256, dtype=jnp.uint32)
    key = realisation_key(jnp.uint32(seed), devices, jnp.uint32(cycle))
    step = jnp.arange(first_step, first_step + 64, dtype=jnp.uint32)[:, None, None]
    particle = jnp.arange(first_particle, first_particle + 64, dtype=jnp.uint32)[None, :, None]
    shape = (64, 64, 256)
    counter = (jnp.broadcast_to(step, shape), jnp.broadcast_to(particle, shape))
    return np.asarray(normal_pair(key, counter, jnp.dtype(jnp.float32)), np.float64)


def check_normal(x: np.ndarray) -> None:
    """Moments to the fourth, tails and 64 equally likely bins of standard normals, at 5 standard errors."""
    n = x.size
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10395 - 225)):
        assert abs(np.mean(x**power) - expected) < SIGMAS * np.sqrt(variance / n), f"moment {power}"
    for level in (2.0, 3.0, 4.0, 4.5):
        p = 2 * stats.norm.sf(level)
        assert abs(np.mean(np.abs(x) > level) - p) < SIGMAS * np.sqrt(p / n), f"tail beyond {level}"
    counts = np.histogram(x, stats.norm.ppf(np.linspace(0, 1, 65)))[0]
    assert stats.chisquare(counts).pvalue > 2 * stats.norm.sf(SIGMAS)


@pytest.mark.parametrize("which", [0, 1])
def test_normal_pair_is_normal(which: int) -> None:
    check_normal(draws()[which].ravel())


@pytest.mark.parametrize("fault", [1.005, 0.995])
def test_the_check_sees_half_a_percent(fault: float) -> None:
    with pytest.raises(AssertionError, match="moment 2"):
        check_normal(fault * draws()[0].ravel())


def test_the_two_of_a_pair_are_independent() -> None:
    a, b = (x.ravel() for x in draws())
    for f in (lambda x: x, lambda x: x**2, np.abs):
        for g in (lambda x: x, lambda x: x**2, np.abs):
            assert abs(np.corrcoef(f(a), g(b))[0, 1]) < SIGMAS / np.sqrt(a.size)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"cycle": 1},
        {"first_device": 256},
        {"first_step": 64},
        {"first_particle": 64},
        {"seed": 2, "cycle": 2**31},
    ],
)
def test_streams_are_uncorrelated(other: dict[str, int]) -> None:
    a, b = draws().ravel(), draws(**other).ravel()
    assert not np.any(np.all(a.reshape(-1, 64) == b.reshape(-1, 64), axis=1))
    for power in (1, 2):
        assert abs(np.corrcoef(a**power, b**power)[0, 1]) < SIGMAS / np.sqrt(a.size)


@pytest.mark.parametrize("axis", [1, 2, 3], ids=["step", "particle", "device"])
def test_neighbours_in_a_stream_are_uncorrelated(axis: int) -> None:
    x = draws()
    left, right = np.take(x, range(x.shape[axis] - 1), axis), np.take(x, range(1, x.shape[axis]), axis)
    assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < SIGMAS / np.sqrt(left.size)


def test_keys_do_not_collide() -> None:
    """Device and cycle stay separate words: (device 1, cycle 0) is not (device 0, cycle 1), nor is a seed a shift."""
    keys = [np.stack(lane_keys(64, seed, cycle)) for seed in range(4) for cycle in range(4)]
    assert np.unique(np.concatenate(keys, axis=1), axis=1).shape[1] == 4 * 4 * 64


def test_cosine() -> None:
    z = np.concatenate([np.linspace(-3, 3, 200_001), np.linspace(-0.26, 0.26, 50_001)]).astype(np.float32)
    error = np.asarray(compiled(cosine_turns)(jnp.asarray(z)), np.float64) - np.cos(2 * np.pi * z.astype(np.float64))
    assert np.max(np.abs(error)) < 2.5e-7


def test_gaussian() -> None:
    """exp(-y²) of the float32 y, to what its exponent's rounding allows: 2^-24 of y² and of the product with 1/ln 2."""
    y = np.linspace(-12, 12, 400_001).astype(np.float32)
    exact = np.exp(-(y.astype(np.float64) ** 2))
    found = np.asarray(compiled(gaussian)(jnp.asarray(y)), np.float64)  # what XLA simplifies shows only so
    allowed = (2.0**-22 + 1.5 * 2.0**-23 * y.astype(np.float64) ** 2) * exact
    assert np.max((np.abs(found - exact) - allowed)[exact > 2.0**-120]) < 0
    assert np.all(found[exact <= 2.0**-120] < 2.0**-119)
    slope = np.asarray(compiled(jax.vmap(jax.grad(gaussian)))(jnp.asarray(y[::100])), np.float64)
    assert np.max(np.abs(slope + 2 * y[::100] * exact[::100])) < 5e-6
    with jax.enable_x64(True):
        assert np.asarray(gaussian(jnp.asarray(np.float64(0.7)))) == pytest.approx(np.exp(-0.49), rel=1e-15)


def test_logarithm_of_random_bits() -> None:
    """Every cell at both ends of the interval, and every sixteenth between: to 4e-7 of itself, never negative."""
    cells = np.unique(
        np.concatenate([np.arange(1 << 16), np.arange(1 << 24, step=16), (1 << 24) - np.arange(1, 65537)])
    )
    bits = jnp.asarray(cells.astype(np.uint32) << np.uint32(8))
    found = np.asarray(compiled(lambda bits: minus_twice_logarithm(bits, jnp.dtype(jnp.float32)))(bits), np.float64)
    exact = -2.0 * np.log((cells + 0.5).astype(np.float32).astype(np.float64) * 2.0**-24)
    assert np.all(found >= 0)
    assert np.max(np.abs(found - exact) - 4e-7 * exact) <= 0
    with jax.enable_x64(True):
        double = np.asarray(minus_twice_logarithm(bits, jnp.dtype(jnp.float64)))
    np.testing.assert_allclose(double, -2.0 * np.log((cells + 0.5) * 2.0**-24), rtol=1e-14)


def test_uniform_never_reaches_zero() -> None:
    bits = jnp.asarray([0, 255, 256, 2**31, 2**32 - 1], jnp.uint32)
    u = np.asarray(uniform(bits, jnp.dtype(jnp.float32)))
    assert np.all(u > 0)
    assert np.all(u <= 1)
    np.testing.assert_allclose(u, [2.0**-25, 2.0**-25, 1.5 * 2.0**-24, 0.5, 1.0], rtol=1e-7)


def test_cosine_has_the_right_derivative_where_it_folds() -> None:
    """At every quarter turn, where a pinning potential passes zero and a mesh likes to have its points."""
    with jax.enable_x64(True):
        z = jnp.arange(-8, 9) / 4.0
        slope = jax.vmap(jax.grad(cosine_turns))(z)
        assert np.asarray(slope) == pytest.approx(-2 * np.pi * np.sin(2 * np.pi * np.asarray(z)), abs=1e-6)
