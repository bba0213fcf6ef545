"""Two memristors in series: divider, balances, plasticity, and the single-state devices that stand in for drift and
volatile memristors, against closed forms and scipy."""

from __future__ import annotations

import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import MEAN, lane_keys, reduced
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import lambertw

import mcdev
from mcdev.circuits.loop import LoopCircuit, Turned
from mcdev.circuits.loop import divide as uncompiled
from mcdev.circuits.series_memristor import SeriesMemristor
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import ConfigError
from mcdev.devices.ohmic import Ohmic
from mcdev.devices.omiec_compact import OmiecCompact
from mcdev.devices.volatile_threshold import VolatileThreshold
from mcdev.devices.yakopcic import HyperbolicSine, Yakopcic
from mcdev.figures import along_axis, learning_map, srdp, stdp_window
from mcdev.figures.pictures import PICTURES
from mcdev.fits.stdp_window import StdpWindow
from mcdev.integrators.exponential import adaptive_rosenbrock
from mcdev.integrators.interval import Interval
from mcdev.results.tree import assemble
from mcdev.simulation.draws import draw_parameters
from mcdev.simulation.ensemble import simulate
from mcdev.simulation.trial import trials

VOLTS = np.array([3.0, 0.1, 1e-6, 0.0, -0.1, -2.5])

divide = jax.jit(uncompiled)


@pytest.fixture(autouse=True)
def _double() -> Any:
    with jax.enable_x64(True):
        yield


def ohmic(conductance: float) -> Ohmic:
    return Ohmic(jnp.full(VOLTS.size, conductance))


def sine(scale: float, steepness: float, backward: float | None = None) -> HyperbolicSine:
    one = jnp.ones(VOLTS.size)
    return HyperbolicSine(scale * one, (backward or scale) * one, steepness * one)


class Diode(HyperbolicSine):
    """I = I_s (e^{V/V_T} - 1): the law of a diode, as asymmetric as a law gets."""

    def current(self, voltage: Any) -> Any:
        return self.forward * jnp.expm1(self.steepness * voltage)

    def chord(self, voltage: Any) -> Any:
        small = jnp.abs(voltage) < 1e-9
        safe = jnp.where(small, 1.0, voltage)
        return jnp.where(small, self.forward * self.steepness, self.current(safe) / safe)


# ------------------------------------------------------------------------------------------- divider


@pytest.mark.parametrize("ratio", [1e-6, 0.3, 1.0, 1e5])
def test_two_resistors(ratio: float) -> None:
    """v_1 = V G_2/(G_1 + G_2), and both voltages are exact, not only the larger."""
    v_1, v_2 = divide(jnp.asarray(VOLTS), ohmic(2e-4 * ratio), ohmic(2e-4))
    np.testing.assert_allclose(v_1, VOLTS / (1 + ratio), rtol=3e-6)
    np.testing.assert_allclose(v_2, VOLTS * ratio / (1 + ratio), rtol=3e-6)


@pytest.mark.parametrize("conductance", [1e-9, 1e-5, 1e-1])
def test_resistor_and_diode(conductance: float) -> None:
    """Closed form, v = V + I_s/G - V_T W[I_s/(G V_T) e^{(V + I_s/G)/V_T}] for the diode's voltage, W being Lambert's;
    where its argument is no number, bisection."""
    scale, thermal = 1e-6, 0.1
    diode = Diode(*(jnp.full(VOLTS.size, x) for x in (scale, scale, 1 / thermal)))
    v_1, v_2 = divide(jnp.asarray(VOLTS), diode, ohmic(conductance))
    shifted, expected = VOLTS + scale / conductance, np.empty(VOLTS.size)
    fraction = scale / (conductance * thermal)
    for i, volts in enumerate(VOLTS):
        if shifted[i] / thermal < 20:
            expected[i] = shifted[i] - thermal * np.real(lambertw(fraction * np.exp(shifted[i] / thermal)))
        else:
            expected[i] = brentq(
                lambda v, V=volts: scale * np.expm1(v / thermal) - conductance * (V - v), -3, 3, xtol=1e-14
            )
    np.testing.assert_allclose(v_1, expected, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(v_1 + v_2, VOLTS, rtol=1e-15)


@pytest.mark.parametrize("second", [sine(1e-9, 6.0), sine(1e-2, 1.0, 1e-5), sine(1e-6, 20.0)])
def test_kirchhoff_residual(second: HyperbolicSine) -> None:
    """Both currents agree to 1.1e-6 of themselves, whichever element holds the voltage, and in single precision."""
    for first in (ohmic(1e-7), ohmic(1e-3), sine(1e-6, 5.0)):
        v_1, v_2 = divide(jnp.asarray(VOLTS), first, second)
        i_1, i_2 = first.current(v_1), second.current(v_2)
        np.testing.assert_allclose(i_1, i_2, rtol=1.1e-6)
        assert np.all(np.asarray(v_1) * VOLTS >= 0)
        assert np.all(np.asarray(v_2) * VOLTS >= 0)
        halves = jax.tree.map(lambda a: a.astype(jnp.float32), (jnp.asarray(VOLTS), first, second))
        v_1, v_2 = divide(*halves)
        np.testing.assert_allclose(halves[1].current(v_1), halves[2].current(v_2), rtol=1e-5)


def test_turned_laws_mirror() -> None:
    first, second = sine(1e-6, 3.0), sine(2e-6, 1.0, 5e-6)
    forth = divide(jnp.asarray(VOLTS), first, Turned(second))
    back = divide(-jnp.asarray(VOLTS), first, second)
    for a, b in zip(forth, back, strict=True):
        np.testing.assert_allclose(a, -np.asarray(b), rtol=1e-9)


def test_gradient_of_the_divider() -> None:
    """By the implicit function theorem, forwards and in reverse, against central differences of a tighter bisection."""

    def second_voltage(p: Any) -> Any:
        first = HyperbolicSine(*(jnp.full(1, x) for x in (1e-6 * p[0], 1e-6, 3.0 * p[1])))
        return divide(2.0 * p[3:4], first, Ohmic(1e-5 * p[2:3]))[1][0]

    def exact(p: np.ndarray) -> float:
        def residual(v: float) -> float:
            return float(1e-6 * p[0] * np.sinh(3.0 * p[1] * (2 * p[3] - v)) - 1e-5 * p[2] * v)

        return float(brentq(residual, 0, 2 * p[3], xtol=1e-15, rtol=1e-14))

    p = np.ones(4)
    differences = [(exact(p + h) - exact(p - h)) / 2e-5 for h in 1e-5 * np.eye(4)]
    np.testing.assert_allclose(jax.jit(jax.grad(second_voltage))(jnp.asarray(p)), differences, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(second_voltage))(jnp.asarray(p)), differences, rtol=1e-5)


def test_single_precision_has_tangents_at_zero_volts_too() -> None:
    """Where both currents are nothing, the share is that of the conductances."""
    laws = (ohmic(1e-6), sine(3e-5, 0.5))
    first, second = (jax.tree.map(lambda a: a.astype(jnp.float32), law) for law in laws)
    volts = jnp.asarray(VOLTS, jnp.float32)
    _, share = jax.jit(lambda v: jax.jvp(lambda v: divide(v, first, second)[1], (v,), (jnp.ones_like(v),)))(volts)
    assert np.all(np.isfinite(share))
    assert float(share[3]) == pytest.approx(1 / 16, rel=1e-4)


# ------------------------------------------------------------------------------------------- one state


def test_adaptive_steps_meet_their_tolerance() -> None:
    """Logistic growth over many time constants at rates that differ by decades between lanes; an error that falls
    with the tolerance; lanes that do not care for each other; a tangent that is that of the solution."""
    rate = jnp.asarray([0.0, 1e-3, 1.0, 30.0, 1e5])

    @functools.partial(jax.jit, static_argnums=1)
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


# ------------------------------------------------------------------------------------------- in an ensemble

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


def test_two_identical_devices_share_the_voltage() -> None:
    """Half each, and the same states."""
    device = {"preset": "device_1s"}
    experiment = organic(
        device=device,
        circuit={"kind": "series_memristor", "reversed": False, "memristor": device},
        protocol={"kind": "pulse", "amplitude": "7 V", "width": "0.1 s", "relaxation": "0.1 s"},
        measurements=MEAN,
    )
    (found,) = simulate(experiment, threads=1)
    np.testing.assert_allclose(found.mean["device_voltage"], found.mean["device_voltage(M2)"], rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(found.mean["charge"], found.mean["charge(M2)"], rtol=1e-5)
    assert found.mean["charge"].max() > 0


def pair(memristor: dict[str, Any], **more: Any) -> LoopCircuit:
    """A circuit of as many lanes as there are voltages."""
    table = SeriesMemristor.model_validate_json(json.dumps({"memristor": memristor} | more))
    draws = {name: np.full(VOLTS.size, law) for name, law in table.laws.items()}
    return table.build(table.memristor, draws, 1, np.arange(VOLTS.size), np.float64)


@jax.jit
def solve(circuit: LoopCircuit, state: Any, applied: Any, law: Ohmic) -> Any:
    return circuit.solve(state, applied, law)


@jax.jit
def advance(circuit: LoopCircuit, applied: Any, law: Ohmic, seconds: Any) -> Any:
    key = (jnp.zeros(VOLTS.size, jnp.uint32),) * 2
    state = circuit.rest(key, np.float64)
    division = circuit.solve(state, applied, law)
    interval = Interval.alike(seconds / 2, jnp.uint32(1), VOLTS.size)
    return circuit.advance(state, applied, law, division, interval, key, key[0])


def after(circuit: LoopCircuit, volts: np.ndarray, law: Ohmic, seconds: float) -> np.ndarray:
    """The memristor's state after a constant source voltage."""
    return np.asarray(advance(circuit, jnp.asarray(volts), law, jnp.asarray(seconds)))


def test_a_stuck_memristor_is_a_resistor() -> None:
    """With rates of zero and a nearly ohmic law it keeps its state and divides as a resistor does."""
    stuck = DRIFT | {"positive_rate": "0 Hz", "negative_rate": "0 Hz", "steepness": "1e-4 1/V"}
    stuck |= {"initial_state": 0.5, "positive_current": "0.4 A", "negative_current": "0.4 A"}  # 20 uS
    circuit, law = pair(stuck), ohmic(5e-6)
    np.testing.assert_array_equal(after(circuit, 10 * VOLTS, law, 1.0), 0.5)
    found = solve(circuit, jnp.full(VOLTS.size, 0.5), jnp.asarray(VOLTS), law)
    np.testing.assert_allclose(found.current, VOLTS * 4e-6, rtol=2e-6)
    np.testing.assert_allclose(found.inner, VOLTS * 0.2, rtol=2e-6)


def test_reversed_polarity() -> None:
    """A positive source sets the memristor as it stands and resets it turned; a negative one the other way round."""
    law = ohmic(1e-2)
    straight, turned = (after(pair(DRIFT, reversed=way), VOLTS, law, 1e-4) for way in (False, True))
    mirrored = after(pair(DRIFT, reversed=True), -VOLTS, law, 1e-4)
    assert straight[0] > 0.11 > turned[0]
    assert straight[-1] < 0.11 < turned[-1]
    np.testing.assert_allclose(mirrored, straight, rtol=1e-12)


def test_the_memristor_follows_its_own_voltage() -> None:
    """State and division together against scipy: the source holds, the divider shifts as the memristor is written."""
    conductance = 1e-3
    found = after(pair(DRIFT), VOLTS, ohmic(conductance), 2e-3)

    def rate(x: float, volts: float) -> float:
        def residual(v: float) -> float:
            return float((0.17 if v >= 0 else 0.1) * x * np.sinh(0.05 * v) - conductance * (volts - v))

        return yakopcic_rate(x, brentq(residual, -4, 4, xtol=1e-14))

    for volts, x in zip(VOLTS, found, strict=True):
        exact = solve_ivp(lambda _, y, V=volts: [rate(y[0], V)], (0, 2e-3), [0.11], rtol=1e-9, atol=1e-11).y[0, -1]
        assert x == pytest.approx(exact, abs=1e-4)
    assert found[0] > 0.3


def test_compliance_holds_both_elements_back() -> None:
    """Each has the voltage that carries the limit; below it nothing changes."""
    law, state, limit = ohmic(5e-3), jnp.full(VOLTS.size, 0.5), 1e-3
    free, held = (solve(pair(DRIFT, **more), state, jnp.asarray(VOLTS), law) for more in ({}, {"compliance": "1 mA"}))
    over = np.abs(free.current) > limit
    assert over.any()
    assert not over.all()
    for a, b in zip(free, held, strict=True):
        np.testing.assert_array_equal(np.asarray(a)[~over], np.asarray(b)[~over])
    np.testing.assert_allclose(np.abs(np.asarray(held.current))[over], limit, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(held.voltage)[over], np.sign(VOLTS[over]) * limit / 5e-3, rtol=2e-6)
    expected = np.arcsinh(limit / (0.5 * np.where(VOLTS > 0, 0.17, 0.1))) / 0.05 * np.sign(VOLTS)
    np.testing.assert_allclose(np.asarray(held.inner)[over], expected[over], rtol=2e-6)


def test_the_cut_into_samples_does_not_show() -> None:
    """The memristor follows its voltage within an interval: ten times as many solutions change nothing to speak of."""
    few, many = (
        simulate(organic(protocol=SPIKES | {"samples_per_high": n}), threads=1)[0].values["weight"][0, 0]
        for n in (4, 64)
    )
    assert few == pytest.approx(many, rel=5e-3)


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


def test_a_second_memristor_that_is_followed_is_recorded_within_each_sample() -> None:
    """The first asks for no interval shorter than a sample; what is recorded of the second is a mean over eight."""
    still = TAOX | {"positive_rate": "0 Hz", "negative_rate": "0 Hz"}
    protocol = {"kind": "pulse", "amplitude": "2 V", "width": "10 ms", "samples_per_pulse": 4, "relaxation": "0 s"}
    circuit = {"kind": "series_memristor", "memristor": VOLATILE}
    for wired in (circuit, NAMED | {"devices": {"second": VOLATILE}}):
        parts = {"name": "two", "device": still, "circuit": wired, "protocol": protocol, "measurements": MEAN}
        assert np.all(trials(mcdev.build(parts))[0].rows.solutions >= 8)


NAMED = {
    "kind": "network",
    "elements": {
        "V1": {"kind": "voltage_source", "between": ["in", "0"]},
        "M1": {"kind": "memristor", "between": ["in", "out"]},
        "M2": {"kind": "memristor", "between": ["0", "out"], "device": "second"},
    },
}


@pytest.mark.slow
def test_two_devices_with_noise_in_a_loop_are_those_of_a_network() -> None:
    """One unknown or the nodal equations: the same random numbers, and the same numbers but for rounding, of the second
    device turned and of the node between both."""
    device = {"preset": "wang2017_reduced"}  # what is drawn has random numbers of its own key path
    loop = {"kind": "series_memristor", "memristor": device, "reversed": True, "record": ["M2", "out", "V1"]}
    network = NAMED | {"devices": {"second": device}, "record": ["M2", "out", "V1"]}
    mean = {"first": {"kind": "mean_conductance"}, "second": {"kind": "mean_conductance", "element": "M2"}}
    protocol = {"kind": "pulse", "amplitude": "4 V", "width": "0.2 s", "relaxation": "0.1 s"}
    parts = {"name": "two", "device": device, "protocol": protocol, "measurements": mean, "ensemble": {"devices": 6}}
    one, other = (simulate(mcdev.build(parts | {"circuit": circuit}), threads=1)[0] for circuit in (loop, network))
    for name in mean:
        np.testing.assert_allclose(one.values[name], other.values[name], rtol=1e-4)
    assert np.all(one.values["first"] != one.values["second"])
    assert set(one.mean) == set(other.mean)
    for name in set(one.mean) - {"kirchhoff_residual"}:
        np.testing.assert_allclose(one.mean[name], other.mean[name], rtol=1e-3, atol=1e-5, err_msg=name)
    assert np.all(one.mean["device_voltage(M2)"][0] <= 0.0)


@pytest.mark.slow
def test_the_spectrum_of_two_in_series_is_the_sum() -> None:
    """Of two devices with linearised equations, the second as it stands and turned; as the nodal equations have it."""
    device = {"preset": "device_2s"}
    protocol = {"kind": "impedance", "lowest": "1 Hz", "highest": "1 kHz", "per_decade": 2}
    spectrum = {"z": {"kind": "impedance_at", "frequencies": ["10 Hz"]}}
    parts = {"name": "z", "device": device, "protocol": protocol, "measurements": spectrum, "ensemble": {"devices": 1}}
    circuits: list[dict[str, Any]] = [
        {"kind": "alone"},
        {"kind": "series_memristor", "memristor": device},
        {"kind": "series_memristor", "memristor": device, "reversed": True},
        NAMED | {"devices": {"second": device}},
    ]
    found = (simulate(mcdev.build(parts | {"circuit": circuit}), threads=1)[0] for circuit in circuits)
    alone, pair, turned, nodes = (point.impedance[0] for point in found)
    np.testing.assert_allclose(pair, 2 * alone, rtol=1e-9)
    np.testing.assert_allclose(turned, 2 * alone, rtol=1e-9)
    np.testing.assert_allclose(nodes, 2 * alone, rtol=1e-6)


@pytest.mark.slow
def test_realisations_are_the_same_in_any_ensemble() -> None:
    """Also with a second memristor that varies from device to device and from cycle to cycle."""
    spread = {"distribution": "lognormal", "median": "1.1 V", "sigma": 0.1}
    drawn = {"circuit": {"kind": "series_memristor", "memristor": TAOX | {"positive_threshold": spread}}}
    size = {"cycles": 2, "cycle_to_cycle": {"circuit.memristor.positive_rate": 0.1}}
    short = RATE | {"count": 4}
    (small,), (large,) = (
        simulate(diffusive(protocol=short, ensemble={"devices": n} | size, **drawn), threads=1) for n in (5, 40)
    )
    name = "circuit.memristor.positive_threshold"
    assert np.std(small.parameters[name]) > 0
    for key in small.parameters:
        np.testing.assert_array_equal(small.parameters[key], large.parameters[key][:5])
    np.testing.assert_array_equal(small.values["weight"], large.values["weight"][:5])
    assert np.all(np.isfinite(small.values["weight"]))
    assert np.any(small.values["weight"][:, 0] != small.values["weight"][:, 1])


def test_drawing_the_memristor_moves_no_other_stream() -> None:
    """Streams are named by the whole key: a device's spread is the same with and without one of the memristor."""
    spread = {"distribution": "lognormal", "median": "0.55 V", "sigma": 0.1}
    device = {"preset": "wang2017_sioxny_ag", "threshold_voltage": spread}
    both = TAOX | {"positive_threshold": {"distribution": "uniform", "low": "1 V", "high": "1.2 V"}}
    one = draw_parameters(diffusive(device=device, circuit={"kind": "alone"}, measurements=MEAN), 0, 9)
    two = draw_parameters(diffusive(device=device, circuit={"kind": "series_memristor", "memristor": both}), 0, 9)
    np.testing.assert_array_equal(one["threshold_voltage"], two["threshold_voltage"])
    assert np.std(two["circuit.memristor.positive_threshold"]) > 0


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


# ------------------------------------------------------------------------------------------- errors

BAD = [
    ({"circuit": {"kind": "series_memristor"}}, "circuit.memristor", "missing"),
    (
        {"circuit": {"kind": "series_memristor", "memristor": {"preset": "wang2017_taoxx"}}},
        "circuit.memristor.preset",
        "taox",
    ),
    (
        {"circuit": {"kind": "series_memristor", "memristor": {"preset": "shin2022_ecm", "kind": "memristor"}}},
        "circuit.memristor",
        "kind",
    ),
    (
        {"circuit": {"kind": "series_memristor", "memristor": TAOX, "record": ["M3"]}},
        "circuit.record",
        "known: 0, M1, M2",
    ),
    ({"circuit": {"kind": "series_memristor", "memristor": TAOX, "record": []}}, "weight.element", "circuit.record"),
    ({"circuit": {"kind": "series_memristor", "memristor": TAOX | {"steepness": "1 V"}}}, "memristor.steepness", "1/V"),
    ({"circuit": {"kind": "series_memristor", "memristor": TAOX | {"positive_onset": 1.0}}}, "positive_onset", "< 1"),
    ({"circuit": {"kind": "series_memristor", "memristor": TAOX | {"stepness": "1 1/V"}}}, "stepness", "steepness"),
    ({"circuit": {"kind": "alone"}}, "measurements.weight", "series_memristor"),
    ({"protocol": SPIKES | {"delta_t": "0 s"}}, "protocol.delta_t", "expected a time"),
    ({"protocol": SPIKES | {"delta_t": 0.05}}, "protocol.delta_t", "unit"),
    ({"protocol": RATE | {"count": 0}}, "protocol.count", "1"),
    ({"protocol": {"kind": "hold", "duration": "1 s"}}, "measurements.weight", "read"),
    (
        {"protocol": {"kind": "impedance", "low": "1 Hz", "high": "1 kHz"}, "measurements": MEAN},
        "protocol",
        "",
    ),
    ({"ensemble": {"cycle_to_cycle": {"circuit.memristor.rate": 0.1}}}, "ensemble.cycle_to_cycle", "no parameter"),
    (
        {"fits": {"w": {"kind": "stdp_window", "measurement": "weight", "axis": "protocol.rest"}}},
        "fits.w.axis",
        "no such sweep axis",
    ),
    (
        {"sweep": {"axes": {"circuit.memristor.preset": ["shin2022_ecm", "device_p"]}}},
        "device",
        "of kind",
    ),
]


@pytest.mark.parametrize(("change", "key", "words"), BAD, ids=[f"{key}: {words}" for _, key, words in BAD])
def test_bad_input_is_named(change: dict[str, Any], key: str, words: str) -> None:
    data = organic().to_dict() | change
    with pytest.raises(ConfigError) as caught:
        mcdev.build(data)
    assert any(key in problem.key for problem in caught.value.problems), caught.value
    assert words in str(caught.value)


def test_another_preset_replaces_the_memristor() -> None:
    """What came from the old one goes, what was given beside it stays."""
    experiment = organic(circuit={"memristor": ECM | {"steepness": "0.4 1/V"}})
    other = experiment.with_({"circuit.memristor.preset": "wang2017_taox"})
    memristor = other.circuit.tables["memristor"]
    assert isinstance(memristor, Yakopcic)
    assert (memristor.steepness, memristor.positive_threshold) == (0.4, 1.1)
    assert mcdev.build(other.to_dict()) == other


def test_other_circuits_record_what_they_did() -> None:
    assert list(reduced().channels) == list(reduced().device.channels)
    assert list(reduced().laws) == list(reduced().device.parameters())
