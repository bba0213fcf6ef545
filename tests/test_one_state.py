"""Devices of a single state, a drift and a volatile memristor, and their steps: against scipy and closed forms."""

from __future__ import annotations

import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import MEAN, as_users, lane_keys
from scipy.integrate import solve_ivp

import mcdev
from mcdev.devices.volatile_threshold import VolatileThreshold
from mcdev.devices.yakopcic import Yakopcic
from mcdev.integrators.exponential import adaptive_rosenbrock
from mcdev.integrators.interval import Interval
from mcdev.simulation.ensemble import simulate

pytestmark = pytest.mark.usefixtures("double")


def test_adaptive_steps_meet_their_tolerance() -> None:
    """Logistic growth over many time constants at rates that differ by decades between lanes; an error that falls
    with the tolerance; lanes that do not care for each other; a tangent that is that of the solution."""
    rate = jnp.asarray([0.0, 1e-3, 1.0, 30.0, 1e5])

    @functools.partial(as_users, static_argnums=1)
    def solution(rate: Any, tolerance: float) -> Any:
        return adaptive_rosenbrock(lambda x: rate * x * (1 - x), jnp.full(rate.shape, 0.1), jnp.asarray(2.0), tolerance)

    exact = 1 / (1 + 9 * np.exp(-2.0 * np.asarray(rate)))
    errors = [np.abs(np.asarray(solution(rate, tol)) - exact).max() for tol in (1e-4, 1e-6, 1e-8)]
    assert errors[0] < 1e-3
    assert errors[1] < 1e-4
    assert errors[2] < 0.1 * errors[1]
    np.testing.assert_array_equal(solution(rate[2:4], 1e-6), solution(rate, 1e-6)[2:4])
    _, slope = jax.jvp(lambda r: solution(r, 1e-9), (rate,), (jnp.ones_like(rate),))
    np.testing.assert_allclose(slope, 2.0 * exact * (1 - exact), rtol=1e-5, atol=1e-7)
    bursts = jax.jit(lambda x: adaptive_rosenbrock(jnp.square, x, jnp.asarray(2.0), 1e-6))  # x' = x² from 1, at t = 1
    assert np.isnan(bursts(jnp.ones(1))).all()


DRIFT = {
    "kind": "yakopcic",
    "positive_current": "0.17 A",
    "negative_current": "0.1 A",
    "steepness": "0.05 1/V",
    "positive_threshold": "0.16 V",
    "negative_threshold": "0.15 V",
    "positive_rate": "4 kHz",
    "negative_rate": "3 kHz",
    "positive_onset": 0.3,
    "negative_onset": 0.5,
    "positive_damping": 1.0,
    "negative_damping": 5.0,
    "initial_state": 0.11,
}
VOLATILE = {
    "kind": "volatile_threshold",
    "threshold_voltage": "0.5 V",
    "hold_voltage": "0.2 V",
    "switching_rate": "1 kHz",
    "switching_exponent": 2.0,
    "relaxation_time": "10 ms",
    "on_conductance": "100 uS",
    "off_conductance": "1 uS",
}


def yakopcic_rate(x: float, v: float) -> float:
    """dx/dt, written out anew from the paper's equations."""
    g = 4e3 * (np.exp(v) - np.exp(0.16)) if v > 0.16 else -3e3 * (np.exp(-v) - np.exp(0.15)) if v < -0.15 else 0.0
    f = 1.0
    if v > 0 and x >= 0.3:
        f = np.exp(-1.0 * (x - 0.3)) * ((0.3 - x) / 0.7 + 1)
    if v < 0 and x <= 0.5:
        f = np.exp(5.0 * (x + 0.5 - 1)) * x / 0.5
    return float(g * f)


@pytest.mark.parametrize("samples", [8, 64])
def test_yakopcic_against_scipy(samples: int) -> None:
    """Set and reset from either side of the windows: state and current, whatever the number of samples."""
    pulses = [(0.5e-3, 0.6), (1e-3, 0.1), (0.4e-3, -0.5), (2e-3, 0.8), (3e-3, -0.9)]
    times, volts = [0.0], [pulses[0][1]]
    for width, v in pulses:  # steps, as steep as a waveform's points allow
        times += [times[-1] + 1e-12, times[-1] + width] if times[-1] else [width]
        volts += [v, v] if len(times) > 2 else [v]
    experiment = mcdev.build(
        {
            "name": "drift",
            "device": DRIFT,
            "protocol": {"kind": "waveform", "time": times, "voltage": volts, "samples_per_point": samples},
            "measurements": MEAN,
            "ensemble": {"devices": 1},
        }
    )
    (found,) = simulate(experiment, threads=1)
    x = 0.11
    for number, (width, v) in enumerate(pulses):
        x = solve_ivp(lambda _, y, v=v: [yakopcic_rate(y[0], v)], (0, width), [x], rtol=1e-10, atol=1e-12).y[0, -1]
        last = (2 * number + 1) * samples - 1
        state, current = (found.mean[name][0, last] for name in ("state", "current"))
        scale = (0.17 if v >= 0 else 0.1) * np.sinh(0.05 * v)
        assert current == pytest.approx(scale * state, rel=1e-9)
        end = state if number == 0 else 1.5 * state - 0.5 * found.mean["state"][0, last - 1]  # from the sample's middle
        assert abs(end - x) < (0.03 if samples == 8 else 4e-3)
    after = mcdev.build(experiment.to_dict() | {"protocol": {"kind": "hold", "duration": "1 s", "samples": 4}})
    (held,) = simulate(after, threads=1)
    assert np.all(held.mean["state"] == 0.11), "it keeps its state at zero volts"


def test_yakopcic_ends_where_scipy_does() -> None:
    """The state at the end of one long interval, to the integrator's tolerance."""
    device = Yakopcic.model_validate_json(json.dumps(DRIFT))
    draws = {name: np.full(6, getattr(device, name)) for name in device.parameters()}
    batch = device.build(draws, 0, np.arange(6), np.float64)
    volts = np.array([0.6, -0.6, 0.15, 0.2, 1.5, -3.0])
    start = jnp.asarray([0.05, 0.95, 0.5, 0.29, 0.4, 0.6])
    none = jnp.zeros(6)
    interval = Interval.alike(5e-4, jnp.uint32(1), 6)
    end = batch.advance(start, jnp.asarray(volts), none, interval, lane_keys(6), interval.pairs)
    for x, v, found in zip(np.asarray(start), volts, np.asarray(end), strict=True):
        exact = solve_ivp(lambda _, y, v=v: [yakopcic_rate(y[0], v)], (0, 1e-3), [x], rtol=1e-11, atol=1e-13).y[0, -1]
        assert found == pytest.approx(exact, abs=5e-5)


def test_volatile_threshold_has_its_three_regimes() -> None:
    """Exact exponentials: switching above V_th, holding between, relaxing below V_hold; either polarity."""
    device = VolatileThreshold.model_validate_json(json.dumps(VOLATILE))
    draws = {name: np.full(8, getattr(device, name)) for name in device.parameters()}
    batch = device.build(draws, 0, np.arange(8), np.float64)
    volts = np.array([1.0, -1.0, 0.75, 0.5, 0.2, 0.1, -0.1, 0.0])
    x, t = 0.4, 2e-3
    interval = Interval.alike(t / 2, jnp.uint32(1), 8)
    end = batch.advance(jnp.full(8, x), jnp.asarray(volts), jnp.zeros(8), interval, lane_keys(8), interval.pairs)
    up = [1 - 0.6 * np.exp(-1e3 * t), 1 - 0.6 * np.exp(-1e3 * 0.25 * t)]
    down = [x * np.exp(-t / 10e-3 * 0.5), x * np.exp(-t / 10e-3)]
    np.testing.assert_allclose(end, [up[0], up[0], up[1], x, x, down[0], down[0], down[1]], rtol=1e-9)
    law = batch.current_law(jnp.linspace(0, 1, 8))
    np.testing.assert_allclose(law.current(jnp.ones(8)), np.geomspace(1e-6, 1e-4, 8), rtol=1e-12)
