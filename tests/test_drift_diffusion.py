"""The transport law against exact results: equilibrium, Ornstein-Uhlenbeck decay, escape over a barrier, orders."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import strong
from scipy.integrate import quad

import mcdev.integrators.drift_diffusion as law
from mcdev.integrators import block_tridiagonal
from mcdev.integrators.block_tridiagonal import Rows, solve


def test_bernoulli() -> None:
    with jax.enable_x64(True):
        d = np.concatenate([-np.geomspace(1e-12, 1e4, 200)[::-1], [0.0], np.geomspace(1e-12, 1e4, 200)])
        with np.errstate(over="ignore"):
            exact = np.where(d == 0, 1, d / np.where(d == 0, 1, np.expm1(d)))
        ahead, back, slope = law.bernoulli_pair(jnp.asarray(d))
        np.testing.assert_allclose(ahead, exact, rtol=4e-15, atol=1e-300)
        np.testing.assert_allclose(back, exact[::-1], rtol=4e-15, atol=1e-300)
        value, tangent = jax.jvp(law.bernoulli, (jnp.asarray(d),), (jnp.ones(d.size),))
        np.testing.assert_array_equal(value, ahead)
        np.testing.assert_array_equal(tangent, slope)
        e = 1e-5
        inner = np.abs(d) < 500
        difference = (law.bernoulli(jnp.asarray(d + e)) - law.bernoulli(jnp.asarray(d - e))) / (2 * e)
        np.testing.assert_allclose(slope[inner], difference[inner], atol=1e-9)
        assert slope[0] == -1
        assert slope[-1] == 0


def check_no_flux_in_equilibrium() -> None:
    with jax.enable_x64(True):
        d = jnp.linspace(-120.0, 120.0, 4001)
        right = jnp.exp(-d)
        flux = law.scharfetter_gummel(jnp.ones_like(d), right, d, jnp.asarray(1.0))
        through = law.bernoulli(d)
        assert np.max(np.abs(flux / through)) < 1e-13


def test_no_flux_in_equilibrium() -> None:
    check_no_flux_in_equilibrium()


@pytest.mark.parametrize(("cells", "finest"), [(60, 2e-4), (61, 2e-4), (40, 0.01), (20, 0.2), (200, 1e-6)])
def test_mesh(cells: int, finest: float) -> None:
    widths = law.graded_mesh(cells, finest)
    assert widths.sum() == pytest.approx(1, abs=1e-14)
    assert widths[0] == pytest.approx(min(finest, 1 / cells), rel=1e-6)
    np.testing.assert_array_equal(widths, widths[::-1])
    assert np.all(np.diff(widths[: (cells + 1) // 2]) >= -1e-16)


@pytest.mark.parametrize(("cells", "finest"), [(1, 0.1), (10, 0.0), (10, float("nan"))])
def test_impossible_mesh(cells: int, finest: float) -> None:
    with pytest.raises(ValueError, match="mesh"):
        law.graded_mesh(cells, finest)


@pytest.mark.parametrize(
    ("size", "imaginary", "backend", "cells"),
    [
        *((size, imaginary, "cpu", 7) for size in (1, 2, 3) for imaginary in (0.0, 1.0)),
        *((1, 0.0, "gpu", 1), (1, 1.0, "gpu", 8), (3, 0.0, "gpu", 7)),
    ],
)
def test_block_tridiagonal(
    size: int, imaginary: float, backend: str, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a dense solver; the zeros by structure make no difference. Cell after cell, and all at once."""
    monkeypatch.setattr(block_tridiagonal, "backend", lambda: backend)
    lanes = 5
    random = np.random.default_rng(size)

    def entries(*shape: int) -> np.ndarray:
        return random.normal(size=shape) + (1j * imaginary * random.normal(size=shape) if imaginary else 0)

    blocks = entries(3, cells, size, size, lanes)
    blocks[1] += 6 * size * np.eye(size)[:, :, None]
    blocks[0, 0] = blocks[2, -1] = 0
    if size > 1:
        blocks[0, :, 0, 1:] = blocks[2, :, 0, 1:] = 0
    right = entries(cells, size, lanes)

    def row(cell: Any) -> Rows:
        lower, diagonal, upper, right = cell
        lines = [tuple(tuple(line) for line in block) for block in (lower, diagonal, upper)]
        if size > 1:
            first = [(lines[k][0][0], *[None] * (size - 1)) for k in (0, 2)]
            lines[0], lines[2] = (first[0], *lines[0][1:]), (first[1], *lines[2][1:])
        return Rows(lines[0], lines[1], lines[2], tuple(right))

    def solution(right: Any) -> Any:
        return solve(row, (*map(jnp.asarray, blocks), right))

    def transposed(seen: Any) -> Any:
        return jax.linear_transpose(solution, right)(seen)[0]

    with jax.enable_x64(True):
        found, back = (np.asarray(jax.jit(what)(right)) for what in (solution, transposed))
    dense = np.zeros((lanes, cells * size, cells * size), complex)
    for i in range(cells):
        for k, j in enumerate((i - 1, i, i + 1)):
            if 0 <= j < cells:
                place = np.s_[:, i * size : (i + 1) * size, j * size : (j + 1) * size]
                dense[place] = np.moveaxis(blocks[k, i], -1, 0)
    exact = np.linalg.solve(dense, right.reshape(cells * size, lanes).T[..., None])[..., 0]
    np.testing.assert_allclose(found.reshape(cells * size, lanes).T, exact, rtol=1e-11, atol=1e-13)
    against = np.linalg.solve(dense.swapaxes(1, 2), right.reshape(cells * size, lanes).T[..., None])[..., 0]
    np.testing.assert_allclose(back.reshape(cells * size, lanes).T, against, rtol=1e-11, atol=1e-13)


# ------------------------------------------------------------------------------------ Fokker-Planck


@functools.cache
def marching(bernoulli_pair: Any) -> Any:
    """One program for every march, and another where this function is planted with a bug."""

    @jax.jit
    def go(density: Any, potential: Any, widths: Any, rate: Any, step: Any, steps: Any) -> Any:
        def body(_: int, p: Any) -> Any:
            return law.fokker_planck_step(p, potential, widths, rate, step)

        return jax.lax.fori_loop(0, steps, body, density)

    return go


def march(density: Any, potential: Any, widths: Any, rate: Any, time: Any, steps: int) -> np.ndarray:
    arguments = strong((density, potential, widths, rate, time / steps))
    return np.asarray(marching(law.bernoulli_pair)(*arguments, jnp.int32(steps)))


def centres(widths: np.ndarray) -> np.ndarray:
    return np.cumsum(widths) - 0.5 * widths


def check_boltzmann() -> None:
    """From anywhere to e^-U, which then stays, in any potential; nothing is lost."""
    with jax.enable_x64(True):
        widths = law.graded_mesh(50, 0.005)
        x = centres(widths)[:, None]
        potential = jnp.asarray(np.concatenate([3 * np.cos(4 * x), 8 * x, 40 * (x - 0.4) ** 2], axis=1))
        rate = jnp.asarray([1.0, 2.0, 0.5])
        start = jnp.asarray(np.random.default_rng(0).uniform(0, 1, potential.shape))
        late = march(start, potential, jnp.asarray(widths), rate, 20.0, 60)
        mass = widths @ np.asarray(start)
        np.testing.assert_allclose(widths @ late, mass, rtol=1e-9)
        exact = np.exp(-potential)
        np.testing.assert_allclose(late, exact * mass / (widths @ exact), rtol=1e-8)


def test_boltzmann() -> None:
    check_boltzmann()


def ornstein_uhlenbeck(cells: int, steps: int) -> float:
    """Mean position after one relaxation time in U = k x²/2, released at 1: exactly e^-1."""
    half, stiffness = 3.0, 16.0
    widths = np.full(cells, 2 * half / cells)
    x = centres(widths) - half
    edges = np.concatenate([[-half], x + 0.5 * widths])
    spread = 0.35

    def smooth(edge: np.ndarray) -> np.ndarray:
        return np.tanh((edge - 1) / spread) / 2

    start = np.diff(smooth(edges)) / widths
    start = start / (widths @ start)
    late = march(
        jnp.asarray(start[:, None]),
        jnp.asarray((0.5 * stiffness * x**2)[:, None]),
        jnp.asarray(widths),
        jnp.ones(1),
        1 / stiffness,
        steps,
    )[:, 0]
    return float(widths @ (x * late) / (widths @ (x * start)))


def test_orders_on_ornstein_uhlenbeck() -> None:
    with jax.enable_x64(True):
        space = [abs(ornstein_uhlenbeck(n, 512) - np.exp(-1)) for n in (60, 120, 240)]
        fine = ornstein_uhlenbeck(120, 1024)
        time = [abs(ornstein_uhlenbeck(120, n) - fine) for n in (4, 8, 16)]
    print("\nerror against cells 60, 120, 240:", space, "\nerror against steps 4, 8, 16:", time)
    assert np.log2(space[0] / space[1]) == pytest.approx(2, abs=0.15)
    assert np.log2(time[0] / time[1]) == pytest.approx(2, abs=0.2)
    assert np.log2(time[1] / time[2]) == pytest.approx(2, abs=0.2)


def check_escape_rate() -> None:
    """Over a barrier of 7 kT: the populations relax at 2/(∫ e^U ∫ e^-U) (Kramers 1940; Risken 1989, §5.10)."""
    height = 7.0

    def energy(x: Any) -> Any:
        return height * (x**2 - 1) ** 2

    over = quad(lambda x: np.exp(energy(x)), -1, 1)[0]
    well = quad(lambda x: np.exp(-energy(x)), -1.8, 0)[0]
    rate = 2 / (over * well)
    with jax.enable_x64(True):
        widths = np.full(120, 3.6 / 120)
        x = centres(widths) - 1.8
        start = np.where(x < 0, np.exp(-energy(x)), 0)[:, None]
        potential = jnp.asarray(energy(x)[:, None])
        one = march(jnp.asarray(start), potential, jnp.asarray(widths), jnp.ones(1), 1 / rate, 100)
        two = march(jnp.asarray(one), potential, jnp.asarray(widths), jnp.ones(1), 1 / rate, 100)
    difference = [float(widths @ (np.sign(x)[:, None] * p)[:, 0]) for p in (one, two)]
    assert difference[0] * difference[1] > 0
    assert np.log(difference[0] / difference[1]) == pytest.approx(1, abs=0.02)


def test_escape_rate() -> None:
    check_escape_rate()


def swapped(d: Any) -> Any:
    ahead, back, slope = ORIGINAL(d)
    return back, ahead, -1 - slope


def quarter(d: Any) -> Any:
    return ORIGINAL(d / 2)


ORIGINAL = law.bernoulli_pair


@pytest.mark.parametrize("bug", [swapped, quarter])
@pytest.mark.parametrize("check", [check_no_flux_in_equilibrium, check_boltzmann, check_escape_rate])
def test_planted(bug: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wrong direction of drift, and half the drift, turn the checks red."""
    monkeypatch.setattr(law, "bernoulli_pair", bug)
    with pytest.raises(AssertionError):
        check()
