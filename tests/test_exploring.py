"""Sliders without a browser: what they change, in which units, that nothing is compiled again, and what is refused."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from conftest import array

import mcdev
from mcdev.interface.exploring import Explorer

ONE_STATE: dict[str, Any] = {
    "name": "one",
    "device": {
        "kind": "volatile_threshold",
        "threshold_voltage": "0.6 V",
        "hold_voltage": "0.3 V",
        "switching_rate": "200 Hz",
        "switching_exponent": 1.5,
        "relaxation_time": "100 ms",
        "on_conductance": "100 uS",
        "off_conductance": "1 uS",
    },
    "protocol": {"kind": "pulse", "amplitude": "1 V", "width": "10 ms", "relaxation": "50 ms"},
    "measurements": {"g": {"kind": "mean_conductance"}},
}
PARTICLES = {
    "name": "particles",
    "device": {"preset": "wang2017_reduced", "particles": 6, "friction": 1.0},
    "protocol": {"kind": "hold", "duration": "0.02 s", "samples": 4},
    "measurements": {"g": {"kind": "mean_conductance"}},
}


@pytest.fixture(scope="module")
def explorer() -> Explorer:
    return mcdev.explore(ONE_STATE)


_compilations: list[str] = []


@pytest.fixture(scope="module")
def heard() -> list[str]:
    """What JAX compiles, or fetches from its cache on disk."""
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: _compilations.append(name))
    return _compilations


def compiled(heard: list[str]) -> int:
    return sum("backend_compile" in name for name in heard)


@pytest.mark.parametrize(
    "what", [ONE_STATE, pytest.param(PARTICLES, marks=pytest.mark.slow)], ids=["one state", "particles"]
)
def test_a_slider_compiles_nothing(what: dict[str, Any], heard: list[str]) -> None:
    made = mcdev.explore(what)
    made.set(spread=0.1)
    before = compiled(heard)
    keys = [key for key in made.knobs if key != "background_temperature"][:3]
    for key in keys:
        made.set(**{key: 1.03 * made.values[key]})
    assert compiled(heard) == before
    jax.jit(lambda x: x * 3.7)(np.arange(7.0)).block_until_ready()
    assert compiled(heard) > before  # that it would have been heard


def test_what_is_drawn_is_what_a_run_gives(explorer: Explorer) -> None:
    explorer.set(spread=0.0, relaxation_time=50.0, switching_rate=100.0)
    changed = ONE_STATE | {"device": ONE_STATE["device"] | {"relaxation_time": "50 ms", "switching_rate": "100 Hz"}}
    alone = mcdev.run(mcdev.build(changed | {"ensemble": {"devices": 64}}), report=False)
    np.testing.assert_allclose(array(explorer.results, "response/current"), array(alone, "response/current"))
    assert mcdev.build(explorer.experiment.to_dict()).hash == explorer.experiment.hash
    assert "0.05 s" in explorer.toml()


def test_spread_makes_a_band(explorer: Explorer) -> None:
    explorer.set(spread=0.0)
    assert np.ptp(array(explorer.results, "response/current_quantiles").values, axis=2).max() == 0
    figure = explorer.set(spread=0.2)
    assert np.ptp(array(explorer.results, "response/current_quantiles").values, axis=2).max() > 0
    assert [line.get_label() for line in figure.axes[1].lines] == ["mean of 64"]


def test_sliders_have_the_units_that_people_write() -> None:
    knobs = mcdev.explore("device_1s", ["capacitance", "thickness", "charge_gain"]).knobs
    assert (knobs["capacitance"].unit, knobs["capacitance"].value) == ("uF/cm^2", pytest.approx(16.958))
    assert (knobs["thickness"].unit, knobs["thickness"].value) == ("nm", pytest.approx(100.0))
    assert knobs["charge_gain"].unit == "1/V"
    for knob in knobs.values():
        assert knob.low < knob.value < knob.high


def test_a_slider_stays_within_what_a_parameter_may_be() -> None:
    knob = mcdev.explore("device_1s", ["relative_permittivity"]).knobs["relative_permittivity"]
    assert knob.low >= 1.0


def test_the_widget_redraws(explorer: Explorer) -> None:
    """Its Python side: a slider moved, a channel chosen."""
    controls, picture = explorer.widget().children
    sliders = {slider.description: slider for slider in controls.children}
    before = bytes(picture.value)
    slider = sliders["relaxation time (ms)"]
    slider.value = 0.5 * slider.value
    assert explorer.values["relaxation_time"] == pytest.approx(slider.value)
    assert bytes(picture.value) != before
    before = bytes(picture.value)
    sliders["channel"].value = "current"
    assert bytes(picture.value) != before
    sliders["spread"].value = 0.3
    assert explorer.spread == 0.3


def test_what_a_device_does_not_admit_is_said_and_nothing_changes(explorer: Explorer) -> None:
    before = dict(explorer.values)
    with pytest.raises(mcdev.ConfigError, match="expected a hold voltage below the threshold"):
        explorer.set(spread=0.0, threshold_voltage=200.0, hold_voltage=900.0)
    assert explorer.values == before
    controls, _ = explorer.widget().children
    sliders = {slider.description: slider for slider in controls.children}
    sliders["spread"].value = 0.0
    sliders["threshold voltage (V)"].value = sliders["threshold voltage (V)"].min
    assert "below the threshold" in controls.children[-1].value


def test_what_is_no_device_parameter_or_channel_is_named() -> None:
    with pytest.raises(mcdev.ConfigError, match="device_1z: is no preset and no file; did you mean"):
        mcdev.explore("device_1z")
    with pytest.raises(mcdev.ConfigError, match="thicknes: is no parameter of this device; did you mean 'thickness'"):
        mcdev.explore("device_1s", ["thicknes"])
    with pytest.raises(mcdev.ConfigError, match="curent: is no channel; did you mean 'current'"):
        mcdev.explore(ONE_STATE, channel="curent")
    with pytest.raises(mcdev.ConfigError, match="friction: has no slider"):
        mcdev.explore(ONE_STATE).set(friction=2.0)
