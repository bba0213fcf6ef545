"""Every family says what its largest conductance is, and measurements refer to that: analytic values where the
equations have a solution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_one_state import DRIFT, VOLATILE

import mcdev
from mcdev.configuration.problems import ConfigError
from mcdev.devices.contract import DeviceConfig
from mcdev.devices.volatile_threshold import VolatileThreshold
from mcdev.devices.yakopcic import Yakopcic

V_TH, V_HOLD, RATE, RATIO = 0.5, 0.2, 1e3, 100.0
"""Of ``VOLATILE``: V, V, Hz, G_on/G_off."""


def run(device: dict[str, Any], protocol: dict[str, Any], measurements: dict[str, Any]) -> dict[str, float]:
    data = {"name": "test", "device": device, "protocol": protocol, "measurements": measurements}
    tree = mcdev.run(mcdev.build(data | {"ensemble": {"devices": 1}}))
    return {record["measurement"].partition("[")[0]: record["mean"] for record in mcdev.summarise(tree)}


def test_delay_and_relaxation_of_a_volatile_threshold_device() -> None:
    """At 1 V = 2 V_th x = 1 - exp(-k t), and ln G is linear in x: G = 0.1 G_on at k t = ln(ln(G_on/G_off)/ln 10). After
    it ln G falls as exp(-t/τ)."""
    protocol = {"kind": "pulse", "amplitude": "1 V", "width": "4 ms", "relaxation": "50 ms"}
    protocol |= {"samples_per_pulse": 2000, "relaxation_samples": 400}
    found = run(VOLATILE, protocol, {"tau_d": {"kind": "delay_time"}, "tau_r": {"kind": "relaxation_time"}})
    assert found["tau_d"] == pytest.approx(np.log(np.log(RATIO) / np.log(10)) / RATE, rel=2e-3)
    end, level = 1 - np.exp(-RATE * 4e-3), 1 - np.log(50) / np.log(RATIO)
    assert found["tau_r"] == pytest.approx(10e-3 * np.log(end / level), rel=5e-3)


def test_threshold_and_hold_voltage_of_a_volatile_threshold_device() -> None:
    """A sweep at 2 V/s, slow against the switching: x'= k (V/V_th - 1)² (1 - x) with V = V_th + r t reaches
    ln(1/(1 - x)) = k V_th u³/(3 r), u = V/V_th - 1. Falling, it lets go below V_hold: with u = 1 - V/V_hold,
    ln(1/x) = V_hold u²/(2 r τ)."""
    rate = 2.0
    protocol = {"kind": "triangular_sweep", "amplitude": "1 V", "rate": f"{rate} V/s", "samples_per_branch": 2000}
    found = run(VOLATILE, protocol, {"v_th": {"kind": "threshold_voltage"}, "v_hold": {"kind": "hold_voltage"}})
    x = 1 - np.log(10) / np.log(RATIO)  # of 0.1 G_on
    up = (3 * rate / (RATE * V_TH) * np.log(1 / (1 - x))) ** (1 / 3)
    assert found["v_th"] == pytest.approx(V_TH * (1 + up), abs=5e-4)
    down = np.sqrt(2 * rate * 10e-3 / V_HOLD * np.log(1 / x))
    assert found["v_hold"] == pytest.approx(V_HOLD * (1 - down), abs=5e-4)


@pytest.mark.slow
def test_a_drift_device_has_the_conductance_of_its_end() -> None:
    """a_1 b at x = 1 near zero volts: a device read at 10 mV has the share x of it."""
    hold = {"kind": "pulse", "amplitude": "10 mV", "width": "1 ms", "relaxation": "1 ms"}
    found = run(DRIFT, hold, {"g": {"kind": "pulse_conductance"}})
    assert found["g"] == pytest.approx(0.11, rel=1e-6)


@pytest.mark.parametrize(
    ("table", "given", "expected"), [(VolatileThreshold, VOLATILE, 1e-4), (Yakopcic, DRIFT, 0.0085)]
)
def test_the_full_scale_is_of_each_realisation(
    table: type[DeviceConfig], given: dict[str, Any], expected: float
) -> None:
    device = mcdev.build(
        {
            "name": "t",
            "device": given,
            "protocol": {"kind": "hold", "duration": "1 s"},
            "measurements": {"g": {"kind": "mean_conductance"}},
        }
    ).device
    assert isinstance(device, table)
    draws = {name: np.array([1.0, 2.0]) * getattr(device, name) for name in device.parameters()}
    assert device.full_scale is not None
    scale = np.asarray(device.full_scale.of(draws))
    assert scale[0] == pytest.approx(expected)
    assert scale[1] > scale[0]


def test_a_device_without_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="refers to G_max, which omiec_compact devices do not have"):
        run(
            {"preset": "device_p"},
            {"kind": "pulse", "amplitude": "1 V", "width": "1 s", "relaxation": "1 s"},
            {"t": {"kind": "delay_time"}},
        )
