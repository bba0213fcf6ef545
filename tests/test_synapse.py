"""A synapse of two memristors in series: how its weight changes with the spikes' order and rate, and the pictures."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import lane_keys

import mcdev
from mcdev.configuration.experiment import Experiment
from mcdev.devices.omiec_compact import OmiecCompact
from mcdev.figures import along_axis, learning_map, srdp, stdp_window
from mcdev.figures.pictures import PICTURES
from mcdev.fits.stdp_window import StdpWindow
from mcdev.integrators.interval import Interval
from mcdev.results.tree import assemble
from mcdev.simulation.ensemble import simulate

pytestmark = pytest.mark.usefixtures("double")

ECM = {"preset": "shin2022_ecm"}
SPIKES = {
    "kind": "stdp",
    "pre_high": "14 V",
    "post_high": "18 V",
    "pre_low": "6 V",
    "post_low": "6 V",
    "high_width": "500 us",
    "low_width": "200 ms",
    "delta_t": "50 ms",
    "read_width": "10 ms",
}
TAOX = {"preset": "wang2017_taox"}
RATE = {"kind": "srdp", "amplitude": "2.5 V", "width": "40 us", "t_zero": "40 us", "read_width": "10 us"}
CHANGE = {"weight": {"kind": "memristor_change"}}


def organic(circuit: dict[str, Any] | None = None, **more: Any) -> Experiment:
    data: dict[str, Any] = {
        "name": "synapse",
        "device": {"preset": "device_2s", "facilitation": "either_polarity"},
        "circuit": {"kind": "series_memristor", "reversed": True, "memristor": ECM} | (circuit or {}),
        "protocol": SPIKES,
        "measurements": CHANGE,
        "ensemble": {"devices": 4},
    }
    return mcdev.build(data | more)


def diffusive(**more: Any) -> Experiment:
    data = {
        "name": "synapse",
        "device": {"preset": "wang2017_sioxny_ag", "threshold_voltage": "0.55 V"},
        "circuit": {"kind": "series_memristor", "memristor": TAOX},
        "protocol": RATE,
        "measurements": CHANGE,
        "ensemble": {"devices": 250},
    }
    return mcdev.build(data | more)


@pytest.fixture(scope="module")
def spiked() -> Any:
    with jax.enable_x64(True):
        times = ["-4 s", "-0.4 s", "-50 ms", "50 ms", "0.4 s", "4 s"]
        fit = {"kind": "stdp_window", "measurement": "weight", "axis": "protocol.delta_t", "statistic": "mean"}
        experiment = organic(sweep={"axes": {"protocol.delta_t": times}}, fits={"window": fit})
        return experiment, simulate(experiment, threads=1)


def test_stdp_has_its_sign_and_its_order(spiked: Any) -> None:
    _, points = spiked
    change = np.array([point.values["weight"][0, 0] for point in points])
    assert np.all(change[:2] < 0.0) or change[0] == pytest.approx(0.0, abs=1e-3)
    assert change[2] < change[1] < 1e-3
    assert change[3] > change[4] > 10 * abs(change[5])


def test_balances_of_charge_and_energy(spiked: Any) -> None:
    """At every sample: one current through both, voltages that add up, hence power that does; the residual recorded."""
    _, points = spiked
    for point in points:
        mean = {name: series[0].astype(np.float64) for name, series in point.mean.items()}
        drop = mean["device_voltage"] - mean["device_voltage(M2)"]  # which is reversed
        np.testing.assert_allclose(drop, mean["voltage"], atol=1e-12)
        assert np.all(np.abs(mean["kirchhoff_residual"]) <= 1.1e-6 * np.abs(mean["current"]) + 1e-20)
        # A sample's mean of v G is its v times its G where they hardly change in it: in the high pulses.
        high = np.concatenate([np.arange(a, b) for a, b in point.timeline.windows["high"]])
        power = mean["current"] * mean["voltage"]
        each = mean["conductance"] * mean["device_voltage"] ** 2
        other = mean["conductance(M2)"] * mean["device_voltage(M2)"] ** 2
        np.testing.assert_allclose((each + other)[high], power[high], rtol=2e-3)


def test_the_picture_of_the_window_shows_points_and_fit(spiked: Any) -> None:
    """From the results alone: a mark a point, both sides of the fitted curve, both times in the legend; each device's
    own times are those of all, the devices being alike."""
    tree = assemble(*spiked, {})
    assert {p.NAME for p in PICTURES if p.applies(tree)} >= {"stdp_window"}
    assert not along_axis.applies(tree)
    figure = stdp_window.draw(tree)
    figure.canvas.draw()
    axes = figure.axes[0]
    marks = axes.containers[0].lines[0]
    np.testing.assert_allclose(np.asarray(marks.get_xdata(), float), [-4, -0.4, -0.05, 0.05, 0.4, 4])
    change = [point.values["weight"][0, 0] for point in spiked[1]]
    np.testing.assert_allclose(np.asarray(marks.get_ydata(), float), change, rtol=1e-9)
    found = tree["fits/window"].dataset
    np.testing.assert_allclose(found["tau_plus_of_device"][0], np.full(4, found["tau_plus"][0]), rtol=1e-9)
    curves = [line for line in axes.get_lines() if len(line.get_xdata()) == 200]
    assert len(curves) == 2
    for line, side in zip(curves, ("plus", "minus"), strict=True):
        tau, amplitude = (float(found[f"{name}_{side}"][0]) for name in ("tau", "a"))
        x = np.abs(np.asarray(line.get_xdata(), float))
        np.testing.assert_allclose(np.asarray(line.get_ydata(), float), amplitude * np.exp(-x / tau), rtol=1e-9)


def test_the_map_outlines_where_learning_works() -> None:
    """The cells that meet the stated criterion, and no other, lie inside the line."""
    axes = {
        "circuit.memristor.positive_threshold": ["3 V", "5 V", "9 V"],
        "circuit.memristor.positive_rate": ["0.01 Hz", "0.1 Hz", "0.2 Hz"],
        "protocol.delta_t": ["50 ms", "4 s"],
    }
    experiment = organic(sweep={"axes": axes}, ensemble={"devices": 1})
    points = simulate(experiment, threads=1)
    tree = assemble(experiment, points, {})
    assert learning_map.applies(tree)
    change = np.array([point.values["weight"][0, 0] for point in points]).reshape(3, 3, 2)
    works = (np.abs(change[..., 0]) >= 0.05) & (np.abs(change[..., 1]) <= 0.5 * np.abs(change[..., 0]))
    assert works.any()
    assert not works.all()
    figure = learning_map.draw(tree)
    figure.canvas.draw()
    sides = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 2]
    around = np.pad(works, 1)
    assert len(sides) == np.sum(around[1:] != around[:-1]) + np.sum(around[:, 1:] != around[:, :-1])


def test_own_polarity_opposes_the_other() -> None:
    """Why the option exists: after a spike of one polarity, the mechanism's own law carries less of the other than a
    rested device does, and either_polarity more; for one polarity alone there is no difference."""
    found = {}
    for way in ("own_polarity", "either_polarity"):
        table = OmiecCompact.model_validate_json(
            json.dumps(mcdev.presets()["device_2s"]["device"] | {"facilitation": way})
        )
        batch = table.build(
            {name: np.full(2, getattr(table, name)) for name in table.parameters()}, 0, np.arange(2), float
        )
        rested = batch.rest(lane_keys(2))
        low, still = jnp.asarray([6.0, -6.0]), jnp.zeros(2)
        interval = Interval.alike(1e-3, jnp.uint32(100), 2)
        spiked = batch.advance(rested, low, still, interval, lane_keys(2), interval.pairs)
        for polarity in (1, -1):
            volts = polarity * jnp.asarray([18.0, -18.0])
            now, then = (np.asarray(batch.current_law(s).current(volts)) for s in (spiked, rested))
            assert now[0] == pytest.approx(-now[1], rel=1e-12)
            found[way, polarity] = now[0] / then[0]
    assert found["own_polarity", 1] == found["either_polarity", 1] == pytest.approx(found["either_polarity", -1])
    assert found["either_polarity", 1] > 1.5
    assert found["own_polarity", -1] < 0.5


def test_weight_grows_with_the_rate() -> None:
    """Monotone over a decade in which the change is resolved, by several standard errors."""
    experiment = diffusive(sweep={"axes": {"protocol.t_zero": ["40 us", "120 us", "400 us"]}})
    points = simulate(experiment, threads=1)
    changes = [point.values["weight"][:, 0] for point in points]
    means, errors = ([f(c) for c in changes] for f in (np.mean, lambda c: np.std(c) / np.sqrt(c.size)))
    tree = assemble(experiment, points, {})
    assert srdp.applies(tree)
    marks = srdp.draw(tree).axes[0].containers[0].lines[0]
    np.testing.assert_allclose(np.asarray(marks.get_ydata(), float), means, rtol=1e-6)
    assert all(a - b > 3 * np.hypot(s, t) for a, b, s, t in zip(means, means[1:], errors, errors[1:], strict=False))
    assert means[0] > 0.3


# ------------------------------------------------------------------------------------------- fit of the window

AXIS = np.array([-8.0, -4.0, -2.0, -1.0, -0.3, -0.05, 0.05, 0.3, 1.0, 2.0, 4.0, 8.0])


def window(noise: float = 0.0) -> np.ndarray:
    exact = np.where(AXIS > 0, 0.3 * np.exp(-np.abs(AXIS) / 1.2), -0.2 * np.exp(-np.abs(AXIS) / 0.9))
    return exact + noise * np.random.default_rng(3).standard_normal(AXIS.size)


def test_a_known_window_is_recovered() -> None:
    fit = StdpWindow(measurement="w", axis="protocol.delta_t")
    found = {name: c.value for name, c in fit.fit(AXIS, window()).items()}
    assert found == pytest.approx(
        {"a_plus": 0.3, "tau_plus": 1.2, "a_minus": -0.2, "tau_minus": 0.9, "tau_ratio": 4 / 3, "rms_residual": 0.0},
        rel=1e-6,
        abs=1e-7,
    )
    assert np.isnan(fit.fit(AXIS[6:], window()[6:])["tau_minus"].value), "no point on that side"


def test_sensitivity_of_the_window() -> None:
    fit = StdpWindow(measurement="w", axis="protocol.delta_t")
    value = window(0.01)
    slopes = fit.sensitivity(AXIS, value)
    for i in range(AXIS.size):
        step = 1e-5 * np.eye(AXIS.size)[i]
        high, low = (fit.fit(AXIS, value + side * step) for side in (1, -1))
        for name, slope in slopes.items():
            assert slope[i] == pytest.approx((high[name].value - low[name].value) / 2e-5, rel=2e-3, abs=2e-4)
