"""Exported drift and volatile memristors, and the pair of a circuit with two: ngspice against mcdev."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from test_export import EDGE, HOUSE, in_ngspice, in_python
from test_one_state import DRIFT, VOLATILE
from test_synapse import ECM, diffusive, organic

import mcdev
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import ConfigError
from mcdev.devices import one_state
from mcdev.export import export, instances, model_of, module, ngspice, subcircuit, swarm, swarm_fit
from mcdev.export.model import SHUNT
from mcdev.export.names import checked_name
from mcdev.export.swarm_fit import relative_rms
from mcdev.protocols.timeline import Timeline
from mcdev.simulation.draws import draw_parameters, of_device
from mcdev.simulation.ensemble import simulate
from mcdev.statistics import make_card, to_toml

STDP = HOUSE / "configs" / "shin2022" / "fig7_stdp.toml"
SHARP = 1e-9  # s: the jumps of devices that switch within a millisecond

READ = {"samples_per_pulse": 400, "relaxation_samples": 400}
SWEEP = {"kind": "triangular_sweep", "polarity": "positive_first"}
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any], float]] = {
    "yakopcic pulse": (
        DRIFT,
        READ | {"kind": "pulse", "amplitude": "0.7 V", "width": "2 ms", "read_voltage": "0.1 V", "relaxation": "2 ms"},
        1e-5,
    ),
    "yakopcic sweep": (DRIFT, SWEEP | {"amplitude": "0.8 V", "rate": "400 V/s"}, 1e-5),
    "volatile_threshold pulse": (
        VOLATILE,
        READ | {"kind": "pulse", "amplitude": "1 V", "width": "3 ms", "read_voltage": "50 mV", "relaxation": "40 ms"},
        5e-5,
    ),
    "volatile_threshold sweep": (VOLATILE, SWEEP | {"amplitude": "1 V", "rate": "100 V/s"}, 1e-5),
}
"""Name → device, protocol, and the longest step that ngspice is given (s)."""


def alone(device: dict[str, Any], protocol: dict[str, Any]) -> Experiment:
    data = {"name": "dut", "device": device, "protocol": protocol, "ensemble": {"devices": 1}}
    return mcdev.build(data | {"measurements": {"mean": {"kind": "mean_conductance"}}})


# -------------------------------------------------------------------------------------- one state


@pytest.mark.ngspice
@pytest.mark.parametrize("name", FAMILIES)
def test_ngspice_follows_a_device_of_one_state(name: str) -> None:
    """Trace within 0.02 % of its peak; half the step changes nothing."""
    device, protocol, step = FAMILIES[name]
    experiment = alone(device, protocol)
    timeline = experiment.protocol.timeline()
    text = subcircuit(model_of(experiment, "dut", "a test"))
    whole, half = (in_ngspice(text, timeline, h, edge=SHARP) for h in (step, 0.5 * step))
    ours = simulate(experiment)[0].mean["current"][0]
    assert relative_rms(whole, ours, timeline.widths) < 2e-4
    assert relative_rms(half, whole, timeline.widths) < 2e-4
    # The test of the test: a rate 2 % off leaves the tolerance.
    right, rate = ("positive_rate=4000.0", 4080) if device is DRIFT else ("switching_rate=1000.0", 1020)
    wrong = text.replace(f"+ {right}\n", f"+ {right.partition('=')[0]}={rate}\n")
    assert wrong != text
    assert relative_rms(in_ngspice(wrong, timeline, step, edge=SHARP), ours, timeline.widths) > 2e-4


@pytest.mark.ngspice
@pytest.mark.parametrize(("device", "at_rest"), [(DRIFT, 0.11 * 0.17 * np.sinh(0.05 * 0.1)), (VOLATILE, 0.1e-6)])
def test_a_dc_analysis_below_the_threshold_sees_the_state_at_rest(device: dict[str, Any], at_rest: float) -> None:
    """A state that nothing moves has no equilibrium of its own; ngspice must find one all the same. Without its .ic a
    transient analysis begins with the operating point that .op and .dc would give."""
    text = subcircuit(model_of(alone(device, FAMILIES["yakopcic pulse"][1]), "dut", "a test"))
    free = "\n".join(line for line in text.splitlines() if not line.startswith(".ic"))
    assert free != text.rstrip()
    _, waves = ngspice.transient(f"{free}\nVin a 0 0.1\nX1 a 0 dut", ["i(vin)"], 1e-6, 1e-7)
    assert -waves["i(vin)"][0] == pytest.approx(at_rest, rel=1e-6)


@pytest.mark.parametrize("device", [DRIFT, VOLATILE], ids=lambda device: str(device["kind"]))
def test_verilog_a_has_the_equations_of_one_state(device: dict[str, Any]) -> None:
    experiment = alone(device, FAMILIES["yakopcic pulse"][1])
    text = module(model_of(experiment, "dut", "a test"))
    with jax.enable_x64(True):
        draws = of_device(experiment, draw_parameters(experiment, 0, 1))
        devices: Any = experiment.device.build(draws, 1, np.arange(1), np.float64)
        assert isinstance(devices, one_state.OneStateDevices)
        for v, x in ((0.7, 0.2), (0.7, 0.6), (-0.6, 0.3), (-0.6, 0.9), (0.1, 0.5), (-0.05, 0.5), (0.0, 0.4)):
            found = in_python(text, {"pn": v, "x": x})
            state, volts = np.array([x]), np.array([v])
            assert found["<V(x)>"] == pytest.approx(float(devices.drift(state, volts)[0]), rel=1e-9, abs=1e-12)
            current = float(devices.current_law(state).current(volts)[0])
            assert found["<I(p, n)>"] == pytest.approx(current + v / SHUNT, rel=1e-9)


@pytest.mark.parametrize("device", [DRIFT, VOLATILE, {"preset": "device_p"}], ids=["drift", "volatile", "organic"])
def test_no_name_of_a_module_is_a_keyword(device: dict[str, Any]) -> None:
    text = module(model_of(alone(device, FAMILIES["yakopcic pulse"][1]), "dut", "a test"))
    lists = re.findall(r"^  (?:real|electrical) (.*);$", text, re.MULTILINE)
    declared = [*re.findall(r"parameter real (\w+)", text), *", ".join(lists).split(", ")]
    assert len(declared) > 10
    for name in declared:
        assert checked_name(name, "name", "verilog-a") == name


# -------------------------------------------------------------------------------------- the pair


def in_pair(text: str, timeline: Timeline, step: float, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Current through a pair and voltage of its middle node, means over each sample."""
    circuit = f"{text}\nVin a 0 {ngspice.piecewise_linear(timeline, EDGE)}\nX1 a 0 {name}"
    times, waves = ngspice.transient(circuit, ["i(vin)", "v(x1.k)"], timeline.duration, step)
    return -ngspice.sampled(timeline, times, waves["i(vin)"]), ngspice.sampled(timeline, times, waves["v(x1.k)"])


def change(timeline: Timeline, current: np.ndarray, middle: np.ndarray) -> float:
    """(W_2 - W_1)/W_1 from what a circuit designer can measure: current and middle node. Of a window's samples, the
    first is the jump."""
    (a, b), (c, d) = timeline.windows["read"][0], timeline.windows["read"][-1]
    before, after = (np.mean(current[i + 1 : j] / middle[i + 1 : j]) for i, j in ((a, b), (c, d)))
    return float(after / before - 1.0)


@pytest.mark.ngspice
def test_the_stdp_of_the_paper_as_a_whole_circuit() -> None:
    """Both orders at two Δt, Device-2S at its median: trace within 0.05 % of its peak, weight within 0.5 % of itself.

    mcdev with a step of 1 ms. Read at 1 V, far below either threshold, instead of zero volts, so that current and
    voltage of the read tell the conductance.
    """
    every = ["50 ms", "0.2 s", "-50 ms", "-0.2 s"]
    changes = {
        "sweep.axes": {"device.preset": ["device_2s"], "protocol.delta_t": every},
        "device.thickness": "100 nm",
        "device.integrator.step": "1 ms",
        "protocol.read_voltage": "1 V",
        "ensemble.devices": 1,
        "fits": {},
        "output": {},
    }
    experiment = mcdev.load(STDP).with_(changes)
    points = simulate(experiment, threads=1)
    text = subcircuit(model_of(experiment.points()[0][1], "dut", "a test"))
    weights = []
    for (_, chosen), point in zip(experiment.points(), points, strict=True):
        timeline = chosen.protocol.timeline()
        current, middle = in_pair(text, timeline, 1e-4, "dut_pair")
        assert relative_rms(current, point.mean["current"][0], timeline.widths) < 5e-4
        assert relative_rms(middle, -point.mean["device_voltage(M2)"][0], timeline.widths) < 5e-4
        weights.append(change(timeline, current, middle))
        assert weights[-1] == pytest.approx(float(point.values["weight"][0, 0]), rel=5e-3)
    assert weights[0] > weights[1] > 0.1
    assert weights[2] < weights[3] < -0.1
    # Turned round, the second memristor would learn the other way.
    straight = text.replace("\nX2 n k dut_memristor\n", "\nX2 k n dut_memristor\n")
    assert straight != text
    first = experiment.points()[0][1].protocol.timeline()
    assert change(first, *in_pair(straight, first, 1e-3, "dut_pair")) < 0


def drawn(**more: Any) -> Experiment:
    """A pair with distributions on both sides."""
    wide = {"distribution": "lognormal", "sigma": 0.1}
    device = {"preset": "device_2s", "facilitation": "either_polarity", "thickness": {**wide, "median": "100 nm"}}
    memristor = ECM | {"positive_current": {**wide, "median": "60 uA"}, "initial_state": 0.4}
    circuit = {"memristor": memristor}
    return organic(circuit, name="dut", device=device, ensemble={"devices": 12}, **more)


@pytest.mark.slow
@pytest.mark.ngspice
def test_instances_of_pairs_are_those_that_mcdev_draws() -> None:
    """Two pairs of the configuration's distributions, each against its own realisation, under a short pulse."""
    protocol = {"kind": "pulse", "amplitude": "6 V", "width": "20 ms", "relaxation": "20 ms", "read_voltage": "1 V"}
    experiment = drawn(protocol=protocol, measurements={"mean": {"kind": "mean_conductance"}})
    timeline = experiment.protocol.timeline()
    model = model_of(experiment, "dut", "a test")
    draws = instances.from_experiment(experiment, 2)
    text = subcircuit(model) + instances.to_spice(model, draws, "a test")
    names = [f"dut_pair_{i + 1}" for i in range(2)]
    assert re.findall(r"^\.subckt (\S+)", text, re.MULTILINE)[-4:] == ["dut_1", "dut_2", *names]
    assert f"+ memristor_positive_current={float(draws['circuit.memristor.positive_current'][1])!r}\n" in text
    ours = simulate(experiment, threads=1)[0].trajectories["current"][0]
    theirs = [in_ngspice(text, timeline, 1e-4, name) for name in names]
    for i in range(2):
        for j in range(2):
            assert (relative_rms(theirs[i], ours[j], timeline.widths) < 1e-3) == (i == j), "each is its own, no other"
    table = instances.to_csv(model, draws).splitlines()
    assert len(table) == 3
    assert "memristor_positive_current (A)" in table[0].split(",")


def test_a_card_draws_both_sides_of_a_pair(tmp_path: Path) -> None:
    experiment = drawn(
        protocol={"kind": "hold", "duration": "1 s"}, measurements={"mean": {"kind": "mean_conductance"}}
    )
    tree = mcdev.run(experiment)
    mcdev.write(tree, tmp_path)
    card = tmp_path / "card.toml"
    card.write_text(to_toml(make_card(tree)), encoding="utf-8")
    files = export(tmp_path, "verilog-a", tmp_path / "out", count=50, card=card, seed=2)
    rows = [line.split(",") for line in files[1].read_text(encoding="ascii").splitlines()]
    for label, median in (("thickness (m)", 1e-7), ("memristor_positive_current (A)", 6e-5)):
        values = np.log([float(row[rows[0].index(label)]) for row in rows[1:]])
        assert values.mean() == pytest.approx(np.log(median), abs=5 * 0.1 / np.sqrt(12)), label
        assert 0.03 < values.std() < 0.3, label


@pytest.mark.parametrize("write", [subcircuit, module])
def test_the_pair_says_what_it_is(write: Callable[..., str]) -> None:
    """Three models in a file, every parameter of both passed on, and what is not in it named."""
    circuit = {"kind": "series_memristor", "reversed": True, "memristor": ECM, "compliance": "1 mA"}
    model = model_of(organic(circuit), "dut", "a test")
    text = write(model)
    assert re.findall(r"^(?:\.subckt|module) (\w+)", text, re.MULTILINE) == ["dut", "dut_memristor", "dut_pair"]
    assert "NOT in it: the compliance of the configuration, 0.001 A" in text
    assert "reversed: the second memristor's terminals are exchanged" in text
    assert "Every number here is assumed." in " ".join(text.split())
    pair = text[text.index("dut_pair p n" if write is subcircuit else "module dut_pair") :]
    for name in organic().laws:
        own = name.replace("circuit.memristor.", "memristor_")
        last = name.rpartition(".")[2]
        assert (f"+ {last}={{{own}}}\n" if write is subcircuit else f".{last}({own})") in pair
    assert ("X2 n k dut_memristor" if write is subcircuit else "second(n, k);") in pair
    plain = write(model_of(organic({"reversed": False}), "dut", "a test"))
    assert "terminals are exchanged" not in plain
    assert ("X2 k n dut_memristor" if write is subcircuit else "second(k, n);") in plain


def unfitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compact model of a diffusive device without its minutes: at the numbers that its fit starts from."""

    def start(experiment: Experiment) -> swarm_fit.Fitted:
        with jax.enable_x64(True):
            found = swarm.numbers(np.array(list(swarm.START.values())), swarm.mesh(experiment.device))
        return swarm_fit.Fitted(swarm.Numbers(*(np.asarray(x, float).tolist() for x in found)), {}, 1)

    monkeypatch.setattr(swarm_fit, "fit", start)


def test_a_mean_beside_a_memristor_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The diffusive family's compact model is the ensemble's mean; fitted elsewhere, here a stand-in."""
    unfitted(monkeypatch)
    text = subcircuit(model_of(diffusive(), "dut", "a test"))
    assert "the pair of a mean is not the mean of many pairs" in text
    assert "X1 p k dut\n" in text


def test_a_second_memristor_without_a_circuit_model_is_refused() -> None:
    experiment = organic({"memristor": {"preset": "device_p_pnp"}}, measurements={"mean": {"kind": "mean_conductance"}})
    with pytest.raises(ConfigError, match=r'circuit\.memristor\.kind = "omiec_pnp": cannot be exported'):
        model_of(experiment, "dut", "a test")


def test_a_pair_is_not_called_as_one_of_its_parameters() -> None:
    """ngspice would put the parameter's value in the place of the subcircuit's name."""
    model = model_of(organic(), "Thickness", "a test")
    with pytest.raises(ConfigError, match="write --name device_Thickness"):
        subcircuit(model)
    assert "module Thickness(p, n);" in module(model)


# -------------------------------------------------------------------------------------- SRDP


@pytest.mark.slow
def test_the_organic_synapse_learns_by_rate() -> None:
    """configs/shin2022/srdp.toml, the slowest of its devices: the change falls with t_zero."""
    axes = {"device.preset": ["device_2s"], "protocol.t_zero": ["20 ms", "0.1 s", "0.5 s"]}
    changes = {"sweep.axes": axes, "device.thickness": "100 nm", "ensemble.devices": 1}
    experiment = mcdev.load(HOUSE / "configs" / "shin2022" / "srdp.toml").with_(changes)
    found = [float(point.values["weight"][0, 0]) for point in simulate(experiment, threads=1)]
    assert np.all(np.diff(found) < -0.1)
    assert found[-1] > 0.3
