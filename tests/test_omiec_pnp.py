"""The device with resolved ions as a user runs it; its integrator has tests of its own (test_ion_transport.py)."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import xarray as xr
from conftest import array

import mcdev
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import ConfigError
from mcdev.devices import OmiecPnp

PULSE = {
    "kind": "pulse",
    "amplitude": "3.5 V",
    "width": "2 s",
    "relaxation": "2 s",
    "samples_per_pulse": 20,
    "relaxation_samples": 20,
}
PPF = {"ppf": {"kind": "mean_conductance"}}


def experiment(
    protocol: dict[str, Any] | None = None,
    measurements: dict[str, Any] | None = None,
    preset: str = "device_1s_pnp",
    devices: int = 4,
    **device: Any,
) -> Experiment:
    return mcdev.build(
        {
            "name": "test",
            "device": {"preset": preset, **device},
            "protocol": protocol or PULSE,
            "measurements": measurements or PPF,
            "ensemble": {"devices": devices},
        }
    )


def problems(**device: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        experiment(**device)
    return str(caught.value)


def device_of(tree: xr.DataTree) -> OmiecPnp:
    device = mcdev.experiment_of(tree).device
    assert isinstance(device, OmiecPnp)
    return device


HARD: dict[str, Any] = {"largest_density": "2.4e27 1/m^3"}
PROTOCOLS: dict[str, dict[str, Any]] = {
    "pulse": PULSE,
    "sweep": {
        "kind": "triangular_sweep",
        "amplitude": "4 V",
        "rate": "1 V/s",
        "polarity": "negative_first",
        "samples_per_branch": 10,
    },
    "train": {"kind": "pulse_train", "amplitude": "4.5 V", "width": "100 ms", "gap": "50 ms", "count": 4},
    "recovery": {"kind": "recovery", "amplitude": "3.5 V", "width": "100 ms", "gap": "50 ms", "recovery": "5 s"},
    "reversal": {"kind": "waveform", "time": [0, 2, 2.001, 4, 4.001, 5], "voltage": [3.5, 3.5, -3.5, -3.5, 0, 0]},
}


NAMES = [*PROTOCOLS][:2] + [pytest.param(name, marks=pytest.mark.slow) for name in [*PROTOCOLS][2:]]


@functools.cache
def driven(name: str) -> xr.DataTree:
    return mcdev.run(experiment(PROTOCOLS[name], **HARD))


@pytest.mark.parametrize("name", NAMES)
def test_no_step_fails_near_the_steric_limit(name: str) -> None:
    """Rest density 2.08e27, limit 2.4e27, up to 4.5 V: the bound holds and every device arrives."""
    tree = driven(name)
    assert (array(tree, "realisations/intact") == 1).all()
    ions = array(tree, "profile/anions") + array(tree, "profile/cations")
    assert float(ions.max()) <= 2.4e27 * (1 + 1e-12)
    assert float(ions.max()) > 2.3e27 or name in ("train", "recovery")
    assert float(array(tree, "profile/cations").min()) > 0


@pytest.mark.parametrize("name", NAMES)
def test_ions_are_conserved(name: str) -> None:
    tree = driven(name)
    widths = device_of(tree).widths
    for ion, at_rest in (("anions", 2e27), ("cations", 0.041 * 2e27)):
        mean = (array(tree, f"profile/{ion}").values * widths).sum(axis=-1)
        np.testing.assert_allclose(mean, at_rest, rtol=1e-11)


def test_charge_on_the_electrode_is_what_the_ions_left_there() -> None:
    """Gauss: ε E at the wall = dipole of the layer and the voltage over the empty layer, with both Stern layers."""
    tree = driven("pulse")
    epsilon, e, length, stern = 8.8541878128e-12 * 50, 1.602176634e-19, 1e-7, 0.34
    x, widths = array(tree, "profile/position").values, device_of(tree).widths
    net = array(tree, "profile/cations").values - array(tree, "profile/anions").values + (1 - 0.041) * 2e27
    dipole = e * (net * widths * length * (0.5 * length - x)).sum(axis=-1)[0, 0]
    held = array(tree, "response/voltage").values[0, 0]
    expected = (epsilon * held - dipole) / (length + 2 * epsilon / stern)
    field = array(tree, "response/interface_field").values[0, 0]
    at_ends = 0.5 * (field[1:19] + field[2:20])  # a sample records its mean: interpolated, but for curvature
    np.testing.assert_allclose(epsilon * at_ends, expected[1:19], rtol=6e-3)


def test_facilitation_is_the_field_at_the_electrodes() -> None:
    """I = I_0 G(V) (1 + β E): linear in the recorded field, sample by sample."""
    tree = driven("pulse")
    current, field = (array(tree, f"response/{n}").values[0, 0, :20] for n in ("current", "interface_field"))
    beta = float(array(tree, "parameters/field_gain").values[0, 0]) * 1.0
    ratio = current / (1 + beta * field)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)


def test_polarities_mirror_without_salt() -> None:
    """One mobile ion: under the opposite voltage the layers change places, charge and current change sign."""
    flipped = {**PULSE, "amplitude": "-3.5 V"}
    one, other = (mcdev.run(experiment(p, preset="device_p_pnp")) for p in (PULSE, flipped))
    for name, sign in (("current", -1), ("charge", -1)):
        a, b = (array(tree, f"response/{name}").values for tree in (one, other))
        np.testing.assert_allclose(a, sign * b, rtol=1e-6)
    a, b = (array(tree, "profile/anions").values for tree in (one, other))
    np.testing.assert_allclose(a, b[..., ::-1], rtol=1e-4)
    assert "cations" not in one["profile"]


def test_a_device_that_fails_says_so_and_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One device of six has a NaN for a diffusion coefficient: it alone is failed, with a remedy in the file."""
    good = mcdev.run(experiment(devices=6, thickness=SPREAD))
    build = mcdev.experiment_of(good).device.__class__.build

    def broken(self: Any, draws: Any, *rest: Any) -> Any:
        draws = {name: value.copy() for name, value in draws.items()}
        draws["conductivity"][2] = np.nan
        return build(self, draws, *rest)

    monkeypatch.setattr(type(mcdev.experiment_of(good).device), "build", broken)
    bad = mcdev.run(experiment(devices=6, thickness=SPREAD))
    assert array(bad, "realisations/intact").values[0, :, 0].tolist() == [1, 1, 0, 1, 1, 1]
    assert (array(bad, "measurements/ppf/status").values[0, :, 0] == [0, 0, 4, 0, 0, 0]).all()
    assert "device.mesh" in array(bad, "realisations/intact").attrs["comment"]
    others = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(
        array(bad, "measurements/ppf/value").values[0, others], array(good, "measurements/ppf/value").values[0, others]
    )
    assert np.isfinite(array(bad, "response/current").values).all()


SPREAD = {"distribution": "lognormal", "median": "100 nm", "sigma": 0.05}


def test_a_device_is_the_same_in_any_ensemble() -> None:
    few, many = (mcdev.run(experiment(devices=n, thickness=SPREAD)) for n in (3, 70))
    a, b = (array(tree, "measurements/ppf/value").values[0, :3] for tree in (few, many))
    np.testing.assert_array_equal(a, b)
    assert array(many, "measurements/ppf/value").values.std() > 0


@pytest.mark.slow
def test_defaults_are_accurate() -> None:
    """Tolerance and mesh of the defaults against ten times finer ones: current within 0.5 % through a pulse."""
    coarse = mcdev.run(experiment(devices=1))
    for finer in ({"integrator": {"tolerance": 8e-5}}, {"mesh": {"cells": 240, "finest": "0.005 nm"}}):
        fine = mcdev.run(experiment(devices=1, **finer))
        a, b = (array(tree, "response/current").values[0, 0, :20] for tree in (coarse, fine))
        np.testing.assert_allclose(a, b, rtol=5e-3)


def test_fast_state_is_off_unless_declared() -> None:
    plain, declared = (mcdev.run(experiment(fast_gain=gain)) for gain in ("0 1/V", "0.142 1/V"))
    assert float(array(declared, "response/current").max()) > float(array(plain, "response/current").max())
    assert "no mode of 75-112 ms" in plain.attrs["device_notes"]


@pytest.mark.parametrize("preset", ["device_p_pnp", pytest.param("device_2s_pnp", marks=pytest.mark.slow)])
def test_conductivity_from_the_spectrum(preset: str) -> None:
    measured = {"sigma": {"kind": "equivalent_circuit"}}
    tree = mcdev.run(experiment({"kind": "impedance"}, measured, preset, devices=1))
    sigma = array(tree, "parameters/conductivity").values[0, 0]
    assert float(array(tree, "measurements/sigma/value").values.item()) == pytest.approx(sigma, rel=0.025)


@pytest.mark.slow
def test_spectrum_is_the_limit_of_a_small_sine() -> None:
    """100 mV at 0.5 Hz, six periods: the last two's current d(charge)/dt against the linearised admittance."""
    hertz, periods, points = 0.5, 6, 64
    time = np.linspace(0, periods / hertz, periods * points + 1)
    wave = {"kind": "waveform", "time": time.tolist(), "voltage": (0.1 * np.sin(2 * np.pi * hertz * time)).tolist()}
    quiet: dict[str, Any] = {"injection_conductance": "1e-30 S", "devices": 1, "integrator": {"tolerance": 1e-4}}
    run = mcdev.run(experiment(wave, preset="device_2s_pnp", **quiet))
    spectrum = mcdev.run(
        experiment({"kind": "impedance", "lowest": "0.5 Hz", "highest": "5 Hz"}, preset="device_2s_pnp", **quiet)
    )
    charge = array(run, "response/charge").values[0, 0]
    middle = 0.5 * (time[1:] + time[:-1])
    late = middle > (periods - 2) / hertz
    basis = np.exp(-2j * np.pi * hertz * middle[late])
    response = 2 * np.mean(charge[late] * basis) / (0.1 / 1j)
    z = complex(*(array(spectrum, f"spectrum/{part}").values[0, 0, 0, 0] for part in ("resistance", "reactance")))
    admittance = 2j * np.pi * hertz * response
    assert abs(admittance * z - 1) < 0.02


def test_bad_parameters_are_refused_by_name() -> None:
    assert "device.conductivity" in problems(conductivity="-1e-9 S/m")
    assert "device.thickness" in problems(thickness="0 nm")
    assert "would not fit" in problems(largest_density="2.05e27 1/m^3")
    assert "float64" in _precision_problem()
    assert "thicker than the layer" in problems(mesh={"cells": 60, "finest": "10 nm"})


def _precision_problem() -> str:
    with pytest.raises(ConfigError) as caught:
        experiment().with_({"ensemble.precision": "float32"})
    return str(caught.value)


def test_a_mesh_coarser_than_the_debye_length_is_named() -> None:
    warnings = experiment(mesh={"cells": 20, "finest": "1 nm"}).warnings()
    assert any("Debye length" in text and "will be wrong" in text for text in warnings)
    assert experiment().warnings() == []
