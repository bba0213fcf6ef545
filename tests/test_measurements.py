"""Every measurement on trajectories made by hand, where the answer and the status are known."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import TypeAdapter

from mcdev.measurements import AnyMeasurement
from mcdev.measurements.contract import (
    LEFT_CENSORED,
    OK,
    RIGHT_CENSORED,
    STATUS_MEANINGS,
    UNDEFINED,
    Measurement,
    Trajectory,
    first_passage,
)
from mcdev.protocols.timeline import Timeline


def measurement(kind: str, **table: Any) -> Measurement:
    made: Measurement = TypeAdapter(AnyMeasurement).validate_python({"kind": kind, **table})
    return made


def trajectory(conductance: Any, voltage: Any, widths: Any = 1.0, full_scale: Any = 1.0, **windows: Any) -> Trajectory:
    """Ohmic, directly at the source; a window is (first, past the last) or a list of these."""
    g = jnp.asarray(conductance, jnp.float32)
    v = jnp.broadcast_to(jnp.asarray(voltage, jnp.float32), g.shape)
    spans = {name: jnp.asarray(np.atleast_2d(span)) for name, span in windows.items()}
    return Trajectory(
        widths=jnp.broadcast_to(jnp.asarray(widths, jnp.float32), g.shape),
        voltage=v,
        device_voltage=v,
        current=g * v,
        conductance=g,
        observed={},
        frequency=jnp.empty(0),
        impedance=jnp.empty(0, jnp.complex64),
        full_scale=jnp.asarray(full_scale, jnp.float32),
        cell_constant=jnp.asarray(jnp.nan),
        windows=spans | {"all": jnp.array([[0, g.size]])},
    )


def read(how: Measurement, on: Trajectory) -> tuple[Any, Any]:
    value, status = how.measure(on)
    return np.asarray(value, float), np.asarray(status)


def assert_reads(how: Measurement, on: Trajectory, value: Any, status: int, rel: float = 1e-5) -> None:
    found, its = read(how, on)
    assert np.all(its == status), STATUS_MEANINGS.split()[int(its.flat[0])]
    np.testing.assert_allclose(found, value, rtol=rel)


NAN = float("nan")


# ------------------------------------------------------------------------------- first passage


@pytest.mark.parametrize(
    ("level", "at", "found", "at_once"),
    [(3.0, 2.5, True, False), (2.0, 2.0, True, False), (9.0, None, False, False), (0.5, 1.0, True, True)],
)
def test_first_passage_interpolates(level: float, at: float | None, found: bool, at_once: bool) -> None:
    """Between samples at 2 (signal 2) and 3 (signal 4), level 3 is met at 2.5; only the window counts."""
    coordinate, signal = jnp.arange(6.0), jnp.array([9.0, 1.0, 2.0, 4.0, 1.0, 9.0])
    passage = first_passage(coordinate, signal, jnp.asarray(level), jnp.arange(6) % 5 > 0)
    assert (bool(passage.found), bool(passage.at_once)) == (found, at_once)
    if at is not None:
        assert float(passage.at) == pytest.approx(at)


def test_trajectory_means_weigh_by_time() -> None:
    t = trajectory([1.0, 4.0, 7.0], 1.0, widths=[1.0, 2.0, 5.0], here=(0, 2))
    mask = t.window("here")
    assert float(t.mean(t.conductance, mask)) == pytest.approx(3.0)
    assert float(t.span(mask)) == 3.0
    assert float(t.last(t.conductance, mask)) == 4.0
    np.testing.assert_allclose(t.time_in(mask)[:2], [0.5, 2.0])


# ------------------------------------------------------------------------------- times

STEP = np.concatenate([np.full(4, 0.01), np.linspace(0.0, 0.9, 10), np.full(6, 0.9)])
"""Rises by 0.1 a sample from sample 4 on."""


def test_delay_time() -> None:
    """Level 0.35 lies halfway between samples of 0.3 and 0.4, whose middles are 3.5 and 4.5 widths after the start."""
    on = trajectory(2 * STEP, 1.0, widths=0.5, full_scale=2.0, pulse=(4, 20))
    assert_reads(measurement("delay_time", fraction=0.35), on, 4.0 * 0.5, OK)
    assert_reads(measurement("delay_time"), on, 1.5 * 0.5, OK)


def test_delay_time_of_a_later_pulse_counts_from_that_pulse() -> None:
    on = trajectory([0.0, 0.0, 0.0, 0.0, 0.0, 0.2, 0.2], 1.0, pulse=[(0, 2), (3, 7)])
    assert_reads(measurement("delay_time", pulse=2), on, 2.0, OK)
    assert_reads(measurement("delay_time", pulse=1), on, 2.0, RIGHT_CENSORED)


def test_delay_time_right_censored_at_the_width() -> None:
    on = trajectory(STEP * 0.05, 1.0, widths=0.5, pulse=(4, 20))
    assert_reads(measurement("delay_time"), on, 8.0, RIGHT_CENSORED)


def decay(tau: float, start: float = 0.8, rest: float = 0.0, samples: int = 400, width: float = 0.05) -> Trajectory:
    """Four samples of rest, four of pulse at ``start``, then an exponential decay from the switch-off."""
    middle = (np.arange(samples) + 0.5) * width
    g = np.concatenate([np.full(4, rest), np.full(4, rest + start), rest + start * np.exp(-middle / tau)])
    return trajectory(g, 0.0, widths=width, pulse=(4, 8), relaxation=(8, 8 + samples))


@pytest.mark.parametrize("tau", [0.3, 1.0, 4.0])
def test_relaxation_time_by_each_criterion(tau: float) -> None:
    """ln(0.8/0.02) τ, τ and τ; chords of an exponential cost less than (width/τ)²/8 of τ."""
    on = decay(tau)
    tolerance = 2e-4 + (0.05 / tau) ** 2 / 8
    assert_reads(measurement("relaxation_time"), on, tau * np.log(40), OK, rel=tolerance)
    assert_reads(measurement("relaxation_time", by="fraction", fraction=0.2), on, tau * np.log(4), OK, rel=tolerance)
    assert_reads(measurement("relaxation_time", by="1/e"), on, tau, OK, rel=tolerance)
    assert_reads(measurement("relaxation_time", by="exponential_fit"), on, tau, OK, rel=1e-3)


def test_relaxation_to_1_e_is_counted_from_the_resting_conductance() -> None:
    assert_reads(measurement("relaxation_time", by="1/e"), decay(1.0, start=0.5, rest=0.2), 1.0, OK, rel=1e-3)


@pytest.mark.parametrize("by", ["fraction", "1/e"])
def test_relaxation_right_censored_at_the_end(by: str) -> None:
    assert_reads(measurement("relaxation_time", by=by), decay(100.0), 20.0, RIGHT_CENSORED)


@pytest.mark.parametrize("by", ["fraction", "1/e", "exponential_fit"])
def test_relaxation_undefined_without_switching(by: str) -> None:
    assert_reads(measurement("relaxation_time", by=by), decay(1.0, start=0.05), NAN, UNDEFINED)
    assert_reads(measurement("relaxation_time", by=by, switched=0.9), decay(1.0), NAN, UNDEFINED)


def test_exponential_fit_of_growth_is_undefined() -> None:
    on = trajectory([0.0, 0.5, 0.5, 0.6, 0.7, 0.8], 0.0, pulse=(0, 2), relaxation=(2, 6))
    assert_reads(measurement("relaxation_time", by="exponential_fit"), on, NAN, UNDEFINED)


def test_exponential_fit_ignores_what_lies_below_the_fraction() -> None:
    """A floor below 2 % of G_max would otherwise pull the slope."""
    clean = decay(1.0)
    floored = decay(1.0).conductance.at[8 + 100 :].set(0.004)
    on = trajectory(floored, 0.0, widths=0.05, pulse=(4, 8), relaxation=(8, 408))
    how = measurement("relaxation_time", by="exponential_fit")
    assert read(how, on)[0] == pytest.approx(read(how, clean)[0], rel=1e-3)


def test_relaxation_from_the_end_of_the_last_pulse() -> None:
    on = trajectory([0.0, 0.01, 0.0, 0.9, 0.5, 0.0, 0.0], 0.0, pulse=[(1, 2), (3, 4)], relaxation=(4, 7))
    assert_reads(measurement("relaxation_time", fraction=0.25), on, 1.0, OK)


def test_a_gap_between_pulse_and_relaxation_is_part_of_it() -> None:
    """A train's last gap: the device relaxes in it, and 3 samples in 0.9 → 0.1 crosses 0.25."""
    on = trajectory([0.0, 0.9, 0.8, 0.6, 0.4, 0.1, 0.0, 0.0], 0.0, pulse=(1, 2), gap=(2, 5), relaxation=(5, 8))
    assert_reads(measurement("relaxation_time", fraction=0.25), on, 3.0, OK)
    late = trajectory([0.0, 0.9, 0.1, 0.05, 0.0, 0.0], 0.0, widths=0.5, pulse=(1, 2), gap=(2, 4), relaxation=(4, 6))
    assert_reads(measurement("relaxation_time", fraction=0.25), late, 0.5, LEFT_CENSORED)


def test_what_is_across_in_the_first_sample_is_a_bound() -> None:
    """Half a sample is no reading of a time that is shorter than the sample."""
    on = trajectory([0.0, 0.5, 0.5, 0.0, 0.0], 1.0, widths=0.5, pulse=(1, 3), relaxation=(3, 5))
    assert_reads(measurement("delay_time"), on, 0.5, LEFT_CENSORED)
    for by in ("fraction", "1/e"):
        assert_reads(measurement("relaxation_time", by=by), on, 0.5, LEFT_CENSORED)


# ------------------------------------------------------------------------------- trains


def train(levels: list[float], samples: int = 4, full_scale: float = 1.0, voltage: float = 2.0) -> Trajectory:
    """Pulses whose conductance climbs to the level in the last sample (the last quarter); gaps of two samples."""
    g: list[float] = []
    spans = []
    for level in levels:
        spans.append((len(g), len(g) + samples))
        g += [level * (k + 1) / samples for k in range(samples)] + [0.0, 0.0]
    v = np.zeros(len(g))
    for a, b in spans:
        v[a:b] = voltage
    return trajectory(g, v, full_scale=full_scale, pulse=spans)


def test_pulse_conductance() -> None:
    on = train([0.2, 0.8, 0.5], full_scale=2.0)
    assert_reads(measurement("pulse_conductance", relative=False), on, [0.2, 0.8, 0.5], OK)
    assert_reads(measurement("pulse_conductance"), on, [0.1, 0.4, 0.25], OK)
    assert measurement("pulse_conductance", relative=False).unit == "S"


def test_pulse_conductance_averages_the_last_quarter() -> None:
    on = trajectory([0, 0, 0, 0, 0, 0, 1, 3], 1.0, widths=[1, 1, 1, 1, 1, 1, 3, 1], pulse=(0, 8))
    assert_reads(measurement("pulse_conductance"), on, [1.5], OK)


def test_weight_change() -> None:
    on = train([0.2, 0.8, 0.1], full_scale=2.0)
    assert_reads(measurement("weight_change"), on, [0.0, 0.3, -0.05], OK)
    assert_reads(measurement("weight_change", relative_to="first_pulse"), on, [0.0, 3.0, -0.5], OK)
    assert not measurement("weight_change", relative_to="first_pulse").full_scale


@pytest.mark.parametrize(("levels", "index"), [([0.2, 0.5, 0.9], 1.5), ([0.4, 0.1, 0.9], -0.75)])
def test_paired_pulse(levels: list[float], index: float) -> None:
    assert_reads(measurement("paired_pulse"), train(levels), index, OK)


def test_paired_pulse_of_any_two() -> None:
    assert_reads(measurement("paired_pulse", first=2, second=3), train([0.2, 0.5, 1.0]), 1.0, OK)


@pytest.mark.parametrize(
    ("levels", "value", "status"),
    [([0.1, 0.5, 0.9, 0.4], 3, OK), ([0.9, 0.5, 0.4], 1, OK), ([0.1, 0.2, 0.3], 3, RIGHT_CENSORED)],
)
def test_peak_pulse(levels: list[float], value: float, status: int) -> None:
    assert_reads(measurement("peak_pulse"), train(levels), value, status)


@pytest.mark.parametrize(
    ("levels", "value", "status"),
    [
        ([0.2, 0.6, 0.8, 0.6, 0.2], 3.0, OK),
        ([0.2, 0.8, 0.8, 0.2], 2.5, OK),
        ([1 - 0.1 * (n - 3.3) ** 2 for n in range(1, 6)], 3.3, OK),
        ([0.9, 0.5, 0.3], 1.0, LEFT_CENSORED),
        ([0.88, 0.9, 0.3], 1.0, LEFT_CENSORED),
        ([0.2, 0.5, 0.9], 3.0, RIGHT_CENSORED),
        ([0.2, 0.9, 0.88], 3.0, RIGHT_CENSORED),
    ],
)
def test_inflection(levels: list[float], value: float, status: int) -> None:
    """A vertex between samples is found exactly on a parabola; changes below a tenth of the peak do not count."""
    assert_reads(measurement("inflection"), train(levels), value, status)


# ------------------------------------------------------------------------------- sweeps


def loop(up: list[float], down: list[float], sign: int = 1, top: float = 1.0) -> Trajectory:
    """Conductances at the middles of the rising and of the falling samples of one branch."""
    n = len(up)
    rising = (np.arange(n) + 0.5) / n * top
    v = sign * np.concatenate([rising, rising[::-1]])
    name = "positive" if sign > 0 else "negative"
    return trajectory(up + down, v, **{f"{name}_up": (0, n), f"{name}_down": (n, 2 * n)})


BRANCH = {1: "positive", -1: "negative"}


@pytest.mark.parametrize("sign", [1, -1])
def test_threshold_and_hold_voltage(sign: int) -> None:
    """|V| where G crosses 0.1: between 0.375 (0.05) and 0.625 (0.15) rising, 0.375 (0.3) and 0.125 (0.0) falling."""
    on = loop([0.0, 0.05, 0.15, 0.9], [0.9, 0.9, 0.3, 0.0], sign)
    assert_reads(measurement("threshold_voltage", polarity=BRANCH[sign]), on, 0.5, OK)
    assert_reads(measurement("hold_voltage", polarity=BRANCH[sign]), on, 0.375 - 0.25 * 2 / 3, OK)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_device_that_never_switches(sign: int) -> None:
    """V_th lies above the highest voltage seen; there is nothing to hold."""
    on = loop([0.0, 0.01, 0.02, 0.03], [0.03, 0.02, 0.01, 0.0], sign)
    assert_reads(measurement("threshold_voltage", polarity=BRANCH[sign]), on, 0.875, RIGHT_CENSORED)
    assert_reads(measurement("hold_voltage", polarity=BRANCH[sign]), on, NAN, UNDEFINED)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_device_that_never_lets_go(sign: int) -> None:
    on = loop([0.2, 0.3, 0.4, 0.9], [0.9, 0.8, 0.7, 0.6], sign)
    assert_reads(measurement("hold_voltage", polarity=BRANCH[sign]), on, 0.125, LEFT_CENSORED)


def test_a_later_loop() -> None:
    on = trajectory(
        [0.0, 0.0, 0.9, 0.9, 0.0, 0.2, 0.9, 0.0],
        [0.25, 0.75, 0.75, 0.25] * 2,
        positive_up=[(0, 2), (4, 6)],
        positive_down=[(2, 4), (6, 8)],
    )
    assert_reads(measurement("threshold_voltage", loop=2), on, 0.5, OK)
    assert_reads(measurement("threshold_voltage", loop=1), on, 0.75, RIGHT_CENSORED)
    assert_reads(measurement("hold_voltage", loop=1), on, 0.25, LEFT_CENSORED)
    assert_reads(measurement("hold_voltage", loop=2), on, 0.25 + 0.5 / 9, OK)


@pytest.mark.parametrize("sign", [1, -1])
def test_switching_slope(sign: int) -> None:
    """From V = 0.5 to 0.75 (the third and second last of four) G grows three-fold: decades = log10(3 · 1.5)."""
    v = np.array([0.25, 0.5, 0.75, 1.0]) * sign
    name = f"{BRANCH[sign]}_up"
    on = trajectory([0.01, 0.01, 0.03, 0.03], v, **{name: (0, 4)})
    how = measurement("switching_slope", polarity=BRANCH[sign])
    assert_reads(how, on, 0.25 / np.log10(4.5), OK)
    steep = trajectory([0.01, 0.01, 0.3, 0.3], v, **{name: (0, 4)})
    assert_reads(how, steep, 0.25 / np.log10(45), LEFT_CENSORED)
    ohmic = trajectory([0.03, 0.03, 0.02, 0.01], v, **{name: (0, 4)})
    assert_reads(how, ohmic, NAN, UNDEFINED)


# ------------------------------------------------------------------------------- ratios and averages


def test_on_off_ratio() -> None:
    assert_reads(measurement("on_off_ratio"), trajectory([0.02, 0.5, 0.9, 0.1], 1.0), 45.0, OK)


def test_mean_conductance_weighs_by_time() -> None:
    on = trajectory([0.2, 0.8, 0.5], 0.0, widths=[3.0, 1.0, 1.0], gap=[(0, 2), (2, 3)])
    assert_reads(measurement("mean_conductance", window="gap"), on, 0.35, OK)
    assert_reads(measurement("mean_conductance"), on, 0.38, OK)


# ------------------------------------------------------------------------------- what they ask of a protocol


@pytest.mark.parametrize(
    ("how", "windows", "phrase"),
    [
        (measurement("delay_time", pulse=3), {"pulse": 2}, "pulse 3 of 2"),
        (measurement("paired_pulse", first=1, second=3), {"pulse": 2}, "pulse 3 of 2"),
        (measurement("inflection"), {"pulse": 2}, "fewer than 3"),
        (measurement("peak_pulse"), {"pulse": 2}, "fewer than 3"),
        (measurement("threshold_voltage", loop=3), {"positive_up": 2}, "loop 3 of 2"),
        (measurement("hold_voltage", loop=3, polarity="negative"), {"negative_down": 2}, "loop 3 of 2"),
        (measurement("switching_slope", loop=3), {"positive_up": 2}, "loop 3 of 2"),
    ],
)
def test_what_a_protocol_does_not_have(how: Measurement, windows: dict[str, int], phrase: str) -> None:
    def of(count: int) -> Timeline:
        spans = {name: np.array([[k, k + 1] for k in range(count)]) for name in windows}
        return Timeline(np.arange(count + 1.0), np.zeros(count), np.zeros(count), spans)

    assert set(how.needs) == set(windows)
    assert phrase in (how.conflict(of(2)) or "")
    assert how.conflict(of(3)) is None
