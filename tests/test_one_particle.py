"""One particle, the reduced model of neurons of diffusive memristors: eq. 3 is then R ∝ cosh(x/λ). Its start, its
course in both views, and how long it takes to switch under a constant voltage, against quadratures."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import array, diffusive, reduced
from scipy.integrate import cumulative_trapezoid
from test_diffusive_density import advanced, batch, dense

import mcdev
from mcdev.devices.tunnelling import relative_conductance
from mcdev.export import swarm
from mcdev.measurements.contract import LEFT_CENSORED, RIGHT_CENSORED
from mcdev.simulation.ensemble import simulate

ONE: dict[str, Any] = {"particles": 1, "initial_split": 1.0, "interfacial_ratio": 0.0, "heating": 0.0}
"""A well on the left alone, from where the particle starts; the temperature stays."""


@pytest.mark.parametrize("tunnelling_length", [0.05, 0.2, 1.0])
def test_conductance_is_one_over_the_hyperbolic_cosine(tunnelling_length: float) -> None:
    with jax.enable_x64(True):
        x = np.linspace(-1, 1, 64)
        g = relative_conductance(jnp.asarray(x)[None], jnp.full(64, tunnelling_length))
        np.testing.assert_allclose(g, 1 / np.cosh(x / tunnelling_length), rtol=1e-13)


# ------------------------------------------------------------------------------------ where it starts


def test_it_starts_where_the_split_says() -> None:
    starts = [diffusive(reduced(particles=1, initial_split=split)).left for split in (1.0, 0.0, "equilibrium")]
    assert starts == [1, 0, None]


def test_it_starts_on_one_side() -> None:
    """The default split is one of many particles, so a side must be named, but for a bridge, which is spread evenly."""
    table: dict[str, Any]
    for table in ({}, {"initial_split": 0.3}):
        with pytest.raises(mcdev.ConfigError, match=r"device\.initial_split.*'equilibrium'.*write initial_split = 1"):
            reduced(particles=1, **table)
        with pytest.raises(mcdev.ConfigError, match=r"device\.initial_split"):
            dense(particles=1, **table)
    for table in ({"initial_split": "equilibrium"}, {"initial_state": "bridge"}):
        assert diffusive(reduced(particles=1, **table)).particles == 1


def test_it_has_none_to_attract_it() -> None:
    with pytest.raises(mcdev.ConfigError, match=r"device\.interaction.*two particles at least"):
        reduced(particles=1, initial_split=1, interaction=0.5)


# ------------------------------------------------------------------------------------ its course

PULSE: dict[str, Any] = {"kind": "pulse", "amplitude": "3 V", "width": "0.5 s", "relaxation": "0.2 s"}
PULSE |= {"samples_per_pulse": 10, "relaxation_samples": 4}


def test_a_run_has_its_position_and_its_profile() -> None:
    tree = mcdev.run(reduced(PULSE, ensemble={"devices": 256}, **ONE | {"heating": 1.0}))
    density = array(tree, "profile/density")
    np.testing.assert_allclose(density.sum("bin") * 2 / density.sizes["bin"], 1.0, rtol=1e-5)
    x, g = (array(tree, f"trajectories/{name}").values for name in ("position", "conductance"))
    assert x.shape[-1] == 1
    assert np.mean(x[..., 0, 0]) < -0.5
    assert x.max() > 0.5
    assert 0 < g.min() < 0.05
    assert 0.5 < g.max() <= 1 + 1e-6
    assert array(tree, "trajectories/temperature").values.max() > 0.46


def test_both_views_have_one_mean() -> None:
    """Mean conductance of 4096 particles under 3 V_th against the density's integral of 1/cosh, within 3.5 standard
    errors: without heat one particle has one law."""
    point = simulate(reduced(PULSE, ensemble={"devices": 4096}, **ONE))[0]
    found, error = point.mean["conductance"][0][:10], point.sem["conductance"][0][:10]
    with jax.enable_x64(True):
        devices, state = batch(1, **ONE)
        cells = np.linspace(-1, 1, 2 * devices.cells + 1)[1::2]
        means = []
        for _ in range(50):  # 5 in each sample
            means += [np.sum(np.asarray(state.density)[:, 0, 0] / np.cosh(cells / 0.2)) * 2 / devices.cells]
            state = advanced(devices, state, 3.0, 0.01, 2)
    means += [np.sum(np.asarray(state.density)[:, 0, 0] / np.cosh(cells / 0.2)) * 2 / devices.cells]
    ends = np.array(means)
    expected = (0.5 * (ends[1:] + ends[:-1])).reshape(10, 5).mean(axis=1)
    assert expected[-1] - expected[0] > 20 * error[-1]
    np.testing.assert_array_less(np.abs(found - expected), 3.5 * error)


# ------------------------------------------------------------------------------------ when it switches


def latency(volts: float, fraction: float) -> tuple[float, float]:
    """Mean and standard deviation of the time until g first reaches a fraction, from rest in the left half, by
    <T^n>(x) = n (η/θ) ∫_x^b dy e^{U/θ} ∫_-1^y dz e^{-U/θ} <T^{n-1}>(z), b = -λ arcosh(1/fraction)."""
    x = np.linspace(-1, 0, 200_001)
    u = -4.5 * np.exp(-(((x + 0.85) / 0.1) ** 2)) + 0.5 * np.sin(2 * np.pi * x / 0.15)
    start = np.exp(-(u - u.min()) / 0.45)
    tilted = (u - 9.0 * volts * x) / 0.45
    tilted -= tilted.min()
    beyond = x >= -0.2 * np.arccosh(1 / fraction)
    moments = [np.ones_like(x)]
    for n in (1, 2):
        inner = cumulative_trapezoid(np.exp(-tilted) * moments[-1], x, initial=0)
        outer = cumulative_trapezoid(np.exp(tilted) * inner, x, initial=0)
        arrived = outer[np.argmax(beyond)]
        moments.append(np.where(beyond, 0.0, n * 4.0 / 0.45 * (arrived - outer)))
    mean, second = (float(np.trapezoid(start * m, x) / np.trapezoid(start, x)) for m in moments[1:])
    return mean, float(np.sqrt(second - mean**2))


def check_latency(volts: float, devices: int, interval: float) -> None:
    """Within 3.5 standard errors and the 1 % of the default step; 25 % more friction would be seen. ``interval``: of a
    sample, by 1/v² as the circuit's intervals are."""
    fraction, slack = 0.5, 0.01
    mean, spread = latency(volts, fraction)
    width = mean + 12 * spread
    pulse: dict[str, Any] = {"kind": "pulse", "amplitude": f"{volts} V", "width": f"{width} s", "relaxation": "0.01 s"}
    pulse |= {"samples_per_pulse": int(np.ceil(width * volts**2 / interval)), "relaxation_samples": 1}
    measure = {"t": {"kind": "delay_time", "fraction": fraction}}
    point = simulate(reduced(pulse, measure, {"devices": devices}, **ONE))[0]
    assert np.all(point.status["t"] != RIGHT_CENSORED)
    assert np.mean(point.status["t"] == LEFT_CENSORED) < 0.005  # they begin in the middle of the gap
    found, error = float(point.values["t"].mean()), spread / np.sqrt(devices)
    assert abs(found - mean) < 3.5 * error + slack * mean
    assert abs(found - 1.25 * mean) > 3.5 * error + slack * mean
    assert abs(point.values["t"].std() / spread - 1) < 5 * np.sqrt(2 / devices)


def test_latency() -> None:
    check_latency(2.5, 1024, 8e-2)


@pytest.mark.slow
@pytest.mark.parametrize("volts", [2.0, 2.5])
def test_latency_closely(volts: float) -> None:
    check_latency(volts, 8192, 4e-2)


# ------------------------------------------------------------------------------------ export


def test_the_exported_model_starts_with_it() -> None:
    """All of it in the cells of the left half."""
    at = swarm.mesh(reduced(**ONE).device)
    with jax.enable_x64(True):
        rest = np.asarray(swarm.numbers(np.array(list(swarm.START.values())), at).rest)
    assert rest.sum() == pytest.approx(1.0)
    assert rest[at.left].sum() == pytest.approx(1.0)
