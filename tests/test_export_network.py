"""Circuits of elements as subcircuits: ngspice against mcdev."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mcdev
from mcdev.configuration.experiment import Experiment
from mcdev.export import export, instances, model_of, module, ngspice, subcircuit
from mcdev.export.netlist import drawn
from mcdev.simulation.draws import draw_parameters

pytestmark = pytest.mark.usefixtures("unpolished")

EDGE = 1e-9  # s: of the source's steps in ngspice
TEMPLATES = Path(__file__).parents[1] / "docs" / "templates"
VOLATILE = {
    "kind": "volatile_threshold",
    "threshold_voltage": "0.8 V",
    "hold_voltage": "0.4 V",
    "switching_rate": "20 MHz",
    "switching_exponent": 1.0,
    "relaxation_time": "5 us",
    "on_conductance": "2 mS",
    "off_conductance": "1 uS",
}


def experiment(device: dict[str, Any], circuit: dict[str, Any], protocol: dict[str, Any]) -> Experiment:
    data = {"name": "dut", "device": device, "circuit": circuit, "protocol": protocol, "ensemble": {"devices": 2}}
    return mcdev.build(data | {"measurements": {"g": {"kind": "mean_conductance"}}})


def ours(of: Experiment, channel: str) -> tuple[np.ndarray, np.ndarray]:
    """(middle of each sample, mean over it)."""
    timeline = of.protocol.timeline()
    tree = mcdev.run(of)
    return 0.5 * (timeline.edges[1:] + timeline.edges[:-1]), tree["trajectories"][channel].values[0, 0, 0]


def driven(of: Experiment, vector: str, step: float) -> tuple[np.ndarray, np.ndarray]:
    """The same circuit in ngspice, under the protocol's voltage."""
    timeline = of.protocol.timeline()
    times = np.repeat(timeline.edges[1:-1], 2) + np.tile([0.0, EDGE], timeline.samples - 1)
    volts = np.stack([timeline.end[:-1], timeline.start[1:]], axis=1).ravel()
    points = [(0.0, 0.0), (EDGE, timeline.start[0]), *zip(times, volts, strict=True)]
    points.append((timeline.duration, timeline.end[-1]))
    source = " ".join(f"{t:.12g} {v:.12g}" for t, v in points)
    text = f"{subcircuit(model_of(of, 'dut', 'a test'))}\nVin a 0 PWL({source})\nX1 a dut_network"
    t, waves = ngspice.transient(text, [vector], timeline.duration, step)
    return t, waves[vector]


def falls(t: np.ndarray, v: np.ndarray, level: float) -> np.ndarray:
    i = np.flatnonzero((v[1:] < level) & (v[:-1] >= level))
    return t[i] + (level - v[i]) / (v[i + 1] - v[i]) * (t[i + 1] - t[i])


@pytest.mark.ngspice
def test_a_neuron_spikes_alike_in_both(forget: Any) -> None:
    """A switch by Joule heating from a plugin, under a constant voltage: every spike at its time, to 1e-3."""
    mcdev.load_plugin(TEMPLATES / "my_device.py")
    neuron = {"kind": "neuron", "resistance": "50 kohm", "capacitance": "1 nF"}
    protocol = {"kind": "hold", "voltage": "5 V", "duration": "200 us", "samples": 2000}
    of = experiment({"kind": "my_device"}, neuron, protocol)
    there = falls(*driven(of, "v(x1.n_out)", 2e-8), level=0.8)
    here = falls(*ours(of, "voltage(out)"), level=0.8)
    assert len(here) == len(there) == 8
    np.testing.assert_allclose(here, there, rtol=1e-3)


@pytest.mark.ngspice
def test_pulses_add_up_alike_in_both() -> None:
    """A leaky neuron of a volatile memristor: charges of several pulses add up until it switches; trace within 0.3 %
    of its peak. A capacitance 3 % off leaves that."""
    train = {"kind": "pulse_train", "amplitude": "2 V", "width": "5 us", "gap": "5 us", "count": 8}
    train |= {"samples_per_pulse": 100, "samples_per_gap": 100}
    neuron = {"kind": "neuron", "resistance": "20 kohm", "capacitance": "1 nF"}
    of = experiment(VOLATILE, neuron, train)
    at, v = ours(of, "voltage(out)")
    assert v.max() > 0.8  # it switches
    t, there = driven(of, "v(x1.n_out)", 2e-8)
    off = np.interp(at, t, there) - v
    assert np.sqrt(np.mean(off**2)) < 3e-3 * v.max()
    t, wrong = driven(experiment(VOLATILE, neuron | {"capacitance": "1.03 nF"}, train), "v(x1.n_out)", 2e-8)
    assert np.sqrt(np.mean((np.interp(at, t, wrong) - v) ** 2)) > 3e-3 * v.max()


@pytest.mark.slow
@pytest.mark.ngspice
def test_every_kind_of_element_is_written() -> None:
    """Two tables of memristors, a selector, a resistor between two inner nodes; currents to 1e-3."""
    elements = {
        "V1": {"kind": "voltage_source", "between": ["in", "0"]},
        "R 1": {"kind": "resistor", "between": ["in", "top"], "resistance": "1 kohm"},
        "M1": {"kind": "memristor", "between": ["top", "mid"]},
        "S1": {"kind": "selector", "between": ["mid", "0"], "conductance": "50 uS", "steepness": "0.3 V"},
        "D1": {"kind": "memristor", "between": ["top", "0"], "device": "drift"},
        "C1": {"kind": "capacitor", "between": ["top", "mid"], "capacitance": "50 pF"},
    }
    circuit = {"kind": "network", "elements": elements, "devices": {"drift": {"preset": "wang2017_taox"}}}
    protocol = {"kind": "pulse", "amplitude": "2 V", "width": "20 us", "relaxation": "10 us"}
    of = experiment(VOLATILE, circuit, protocol)
    at, i = ours(of, "current(R 1)")
    t, there = driven(of, "i(vin)", 1e-9)
    off = np.interp(at, t, -there) - i
    inside = (at > 1.5e-6) & (np.abs(at - 20e-6) > 1e-6)  # between the charging and discharging of 50 pF
    assert np.sqrt(np.mean(off[inside] ** 2)) < 1e-3 * np.abs(i).max()


def test_the_network_says_what_it_is() -> None:
    circuit = {"kind": "neuron", "resistance": "20 kohm", "capacitance": "1 nF", "compliance": "1 mA"}
    of = experiment(VOLATILE, circuit, {"kind": "hold", "voltage": "1 V", "duration": "1 us", "samples": 2})
    model = model_of(of, "dut", "a test")
    for text in (subcircuit(model), module(model)):
        assert "NOT in it: the compliance of V1." in text
        assert "n_in (node in)" in text
        assert text.count("dut_network") >= 2


def test_instances_of_a_network_have_their_own_memristors(tmp_path: Path) -> None:
    """Each memristor's drawn parameters and the drawn resistance, as mcdev draws them."""
    spread = {"distribution": "lognormal", "median": "1 uS", "sigma": 0.2}
    elements = {
        "V1": {"kind": "voltage_source", "between": ["in", "0"]},
        "R1": {
            "kind": "resistor",
            "between": ["in", "out"],
            "resistance": {"distribution": "lognormal", "median": "1 kohm", "sigma": 0.1},
        },
        "M1": {"kind": "memristor", "between": ["out", "0"]},
        "M2": {"kind": "memristor", "between": ["out", "0"]},
    }
    of = experiment(
        VOLATILE | {"off_conductance": spread},
        {"kind": "network", "elements": elements},
        {"kind": "hold", "voltage": "1 V", "duration": "1 us", "samples": 2},
    )
    model = model_of(of, "dut", "a test")
    assert model.network is not None
    own = drawn(model.network, instances.from_experiment(of, 3))
    tree = mcdev.run(of.with_({"ensemble.devices": 3}))
    parameters = {name: tree["parameters"][name].values[0] for name in tree["parameters"].data_vars}
    np.testing.assert_array_equal(own["M1_off_conductance"], parameters["off_conductance"])
    np.testing.assert_array_equal(own["M2_off_conductance"], parameters["off_conductance(M2)"])
    np.testing.assert_array_equal(own["R1_resistance"], parameters["circuit.elements.R1.resistance"])
    assert draw_parameters(of, 0, 3)["off_conductance"].shape == (2, 3)
    config = tmp_path / "dut.toml"
    config.write_text(of.to_toml())
    for language in ("spice", "verilog-a"):
        files = export(config, language, tmp_path / language, count=3)
        assert len(files) == 2
        text = files[1].read_text()
        assert repr(float(parameters["off_conductance(M2)"][2])) in text
