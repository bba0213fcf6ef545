"""Two memristors in series, as one circuit: states and division together against closed forms and scipy, the second
one's noise, spectrum and steps, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import MEAN, reduced
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from test_loop import VOLTS, ohmic
from test_one_state import DRIFT, VOLATILE, yakopcic_rate
from test_synapse import ECM, RATE, SPIKES, TAOX, diffusive, organic

import mcdev
from mcdev.circuits.loop import LoopCircuit
from mcdev.circuits.series_memristor import SeriesMemristor
from mcdev.configuration.problems import ConfigError
from mcdev.devices.ohmic import Ohmic
from mcdev.devices.yakopcic import Yakopcic
from mcdev.integrators.interval import Interval
from mcdev.simulation.draws import draw_parameters
from mcdev.simulation.ensemble import simulate
from mcdev.simulation.trial import trials

pytestmark = pytest.mark.usefixtures("double", "unpolished")


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


def test_a_second_memristor_that_is_followed_is_recorded_within_each_sample() -> None:
    """The first asks for no interval shorter than a sample; what is recorded of the second is a mean over eight."""
    still = TAOX | {"positive_rate": "0 Hz", "negative_rate": "0 Hz"}
    protocol = {"kind": "pulse", "amplitude": "2 V", "width": "10 ms", "samples_per_pulse": 4, "relaxation": "0 s"}
    circuit = {"kind": "series_memristor", "memristor": VOLATILE}
    for wired in (circuit, NAMED | {"devices": {"second": VOLATILE}}):
        parts = {"name": "two", "device": still, "circuit": wired, "protocol": protocol, "measurements": MEAN}
        assert np.all(trials(mcdev.build(parts))[0].rows.solutions >= 8)


def test_steps_suit_the_widest_cycle_of_either() -> None:
    """What changes from cycle to cycle in the second memristor shortens the steps as it does in the first."""
    device = {"preset": "wang2017_reduced"}
    parts = {"name": "two", "device": device, "protocol": SPIKES, "measurements": MEAN}
    two = parts | {"circuit": {"kind": "series_memristor", "memristor": device}}
    calm, *wild = (
        mcdev.build(two | {"ensemble": {"cycle_to_cycle": changes}}).pace(3.0).step
        for changes in ({}, {"cooling_rate": 0.5}, {"circuit.memristor.cooling_rate": 0.5})
    )
    assert wild[0] == wild[1] < 0.3 * calm


def test_what_is_said_of_the_second_names_its_own_keys() -> None:
    still, restless = {"preset": "wang2017_taox"}, {"preset": "wang2017_reduced", "interfacial_ratio": 0.0}
    rest = {"name": "two", "protocol": {"kind": "hold", "duration": "1000 s"}, "measurements": MEAN}
    circuit = {"kind": "series_memristor", "memristor": restless}
    one, two = (mcdev.build(rest | parts) for parts in ({"device": restless}, {"device": still, "circuit": circuit}))
    (first,), (second,) = ([text for text in each.warnings() if "rest check" in text] for each in (one, two))
    own_key = "circuit.memristor.initial_split"
    assert second == "circuit.memristor: " + first.replace("device.initial_split", own_key)
    assert "circuit.memristor.integrator.step" in two.remedy


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
