"""Exported devices in circuits where nothing else fixes a node: in series, crossbars, driven by a current."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from scipy import optimize
from test_export import EDGE, PROTOCOLS, level_1
from test_export_pair import alone, drawn, unfitted
from test_one_state import DRIFT, VOLATILE

from mcdev.devices.omiec_compact import OmiecCompactDevices, OmiecState
from mcdev.export import model_of, ngspice, subcircuit
from mcdev.export.model import SHUNT
from mcdev.export.swarm_fit import relative_rms
from mcdev.simulation.draws import draw_parameters
from mcdev.simulation.ensemble import simulate

pytestmark = pytest.mark.usefixtures("unpolished")

HOLD = {"kind": "hold", "duration": "1 s"}
ORGANIC = {"preset": "device_1s"}
FAMILIES: dict[str, tuple[dict[str, Any], float, float, float]] = {
    "organic": (ORGANIC, 7.0, 1e-6, 5.0),
    "organic, either polarity": (ORGANIC | {"facilitation": "either_polarity"}, 7.0, 1e-6, 5.0),
    "yakopcic": (DRIFT, 1.0, 1e-4, 1e-2),
    "yakopcic, fully reset": (DRIFT | {"initial_state": 0.0}, 1.0, 0.0, 1e-2),
    "volatile_threshold": (VOLATILE, 1.0, 1e-5, 1e-2),
}
"""Name → device, and the scales of voltage, current and time of the circuits that it is tried in."""

SERIES = "Vin a 0 {source}\nX1 a b dut\nX2 b 0 dut"
OPPOSED = "Vin a 0 {source}\nX1 a b dut\nX2 0 b dut"
NODE = "Vin a 0 {source}\nV2 b 0 {third}\nX1 a k dut\nX2 b k dut\nX3 k 0 dut"
CROSSBAR = "\n".join(["Vc c0 0 0", *(f"X{i}{j} r{i} c{j} dut" for i in range(4) for j in range(4))])
SELECTED = f"Vin r0 0 {{source}}\n{CROSSBAR}"
"""The first row driven, the first column grounded; three rows and three columns float."""
CURRENT = "Iin 0 a {current}\nX1 a 0 dut"
CURRENTS = f"Iin 0 r0 {{current}}\n{CROSSBAR}"
CIRCUITS = {
    "in series": SERIES,
    "opposed": OPPOSED,
    "three at a node": NODE,
    "crossbar": SELECTED,
    "current": CURRENT,
    "current into a crossbar": CURRENTS,
}


def text_of(device: dict[str, Any], name: str = "dut") -> str:
    return subcircuit(model_of(alone(device, HOLD), name, "a test"))


def tried(text: str, circuit: str, voltage: float, current: float, time: float) -> None:
    """Operating point, and transients with and without ``uic``, under pulses from zero and under a constant; anything
    that ngspice warns of is an error."""
    driven = re.match(r"Iin 0 (\w+)", circuit)
    vector = f"v({driven[1]})" if driven else "i(vin)"
    transient = f".tran {time / 100:g} {time:g} 0 {time / 100:g}"
    pulse = "0 PULSE(0 {0:g} 0 {1:g} {1:g} {2:g} {3:g})"
    for shape, analysis in (("{0:g}", ".op"), ("{0:g}", f"{transient} uic"), (pulse, transient)):
        sources = [shape.format(size, 1e-4 * time, 0.3 * time, time) for size in (voltage, current)]
        elements = circuit.format(source=sources[0], current=sources[1], third=f"{voltage / 3:g}")
        found = ngspice.waves(f"{text}\n{elements}", [vector], analysis)
        assert np.isfinite(found[vector]).all()


@pytest.mark.ngspice
@pytest.mark.parametrize("family", FAMILIES)
def test_ngspice_solves_any_circuit_of_exported_devices(family: str) -> None:
    device, voltage, current, time = FAMILIES[family]
    text = text_of(device)
    for name, circuit in CIRCUITS.items():
        if current or not name.startswith("current"):  # no current flows through a device that does not conduct
            tried(text, circuit, voltage, current, time)


@pytest.mark.ngspice
def test_ngspice_solves_pairs_in_series_and_in_a_crossbar() -> None:
    text = subcircuit(model_of(drawn(protocol=HOLD, measurements={"m": {"kind": "mean_conductance"}}), "dut", "a test"))
    for name in ("in series", "crossbar", "current"):
        circuit = CIRCUITS[name].replace(" dut", " dut_pair")
        tried(text, circuit, 6.0, 1e-7, 1.0)


@pytest.mark.ngspice
def test_ngspice_solves_circuits_of_the_mean_of_particles(monkeypatch: pytest.MonkeyPatch) -> None:
    unfitted(monkeypatch)
    text = text_of({"preset": "wang2017_reduced", "particles": 10, "pinning_period": 0.25})  # 24 cells
    for name in ("three at a node", "current"):
        tried(text, CIRCUITS[name], 3.0, 0.01, 0.1)


@pytest.mark.ngspice
def test_two_equal_devices_in_series_share_the_voltage() -> None:
    """Each is one device at half of it, so that mcdev knows the current: the bound is that of a device alone."""
    experiment = level_1("device_1s", PROTOCOLS["pair"][0])
    timeline = experiment.protocol.timeline()
    twice = type(timeline)(timeline.edges, 2 * timeline.start, 2 * timeline.end, timeline.windows)
    text = subcircuit(model_of(experiment, "dut", "a test"))
    circuit = f"{text}\n{SERIES.format(source=ngspice.piecewise_linear(twice, EDGE))}"
    times, waves = ngspice.transient(circuit, ["i(vin)", "v(a)", "v(b)"], timeline.duration, 0.005)
    assert waves["v(b)"] == pytest.approx(0.5 * waves["v(a)"], rel=1e-6, abs=1e-6)  # ngspice's own vntol
    current = -ngspice.sampled(timeline, times, waves["i(vin)"])
    ours = simulate(experiment)[0].mean["current"][0]
    assert relative_rms(current, ours, timeline.widths) < 5e-4


def organic_law() -> tuple[Callable[[float], float], Callable[[float], float]]:
    """I(V) of Device-1S at rest, and where its states are in equilibrium with V, by mcdev's own equations."""
    experiment = level_1("device_1s", PROTOCOLS["pair"][0])
    devices: Any = experiment.device.build(draw_parameters(experiment, 0, 1), 1, np.arange(1), np.float64)
    assert isinstance(devices, OmiecCompactDevices)

    def current(v: float, q: float, m: float) -> float:
        state = OmiecState(np.array([q]), np.array([m]))
        return float(devices.current_law(state).current(np.array([v]))[0]) + v / SHUNT

    def settled(v: float) -> float:
        q = optimize.brentq(lambda q: float(devices.layer_voltage(np.array([q]))[0]) - v, -20, 20, xtol=1e-12)
        return current(v, q, v)

    return lambda v: current(v, 0.0, 0.0), settled


@pytest.mark.ngspice
def test_a_crossbar_with_floating_lines_obeys_kirchhoff() -> None:
    """The sneak path by hand: by symmetry the three floating rows share a voltage, and the three columns. From the row
    to the columns 3 devices, 9 on to the rows, 3 to the grounded column: 3 I(V - c) = 9 I(c - r) = 3 I(r)."""
    with jax.enable_x64(True):
        at_rest, _ = organic_law()
        for v in (7.0, 1.0):
            r, c = optimize.fsolve(
                lambda x, v=v: (
                    1e9 * np.array([at_rest(v - x[1]) - at_rest(x[0]), 3 * at_rest(x[1] - x[0]) - at_rest(x[0])])
                ),
                [0.45 * v, 0.55 * v],
                xtol=1e-12,
            )
            circuit = f"{text_of(ORGANIC)}\n{SELECTED.format(source=f'{v:g}')}"
            found = ngspice.waves(circuit, ["v(r2)", "v(c3)", "i(vc)"], ".tran 1n 10n 0 1n uic")
            assert found["v(r2)"][1] == pytest.approx(r, rel=1e-4)
            assert found["v(c3)"][1] == pytest.approx(c, rel=1e-4)
            assert found["i(vc)"][1] == pytest.approx(at_rest(v) + 3 * at_rest(r), rel=1e-4, abs=2e-12)  # ngspice's own
    conductance = 1e-6  # of the volatile device below its threshold, which is linear
    found = ngspice.waves(f"{text_of(VOLATILE)}\n{SELECTED.format(source='0.1')}", ["i(vc)"], ".op")
    assert found["i(vc)"][0] == pytest.approx(0.1 * conductance * (1 + 9 / 7), rel=1e-6)


@pytest.mark.ngspice
def test_a_current_finds_the_voltage_of_the_law() -> None:
    """At once that of the states at rest, in the operating point that of the states in equilibrium."""
    text = text_of(ORGANIC)
    with jax.enable_x64(True):
        at_rest, settled = organic_law()
        for current in (1e-9, 1e-6):
            circuit = f"{text}\n{CURRENT.format(current=f'{current:g}')}"
            first = ngspice.waves(circuit, ["v(a)"], ".tran 1n 10n 0 1n uic")["v(a)"][1]
            last = ngspice.waves(circuit, ["v(a)"], ".op")["v(a)"][0]
            assert at_rest(first) == pytest.approx(current, rel=2e-3)
            assert settled(last) == pytest.approx(current, rel=2e-3)
            assert last < first


@pytest.mark.ngspice
def test_a_bias_does_not_move_what_a_device_keeps() -> None:
    """A drift memristor far above its threshold, in .op and at every point of .dc."""
    text = f"{text_of(DRIFT)}\nVin a 0 0.9\nX1 a 0 dut"
    at_rest = 0.11 * 0.17 * np.sinh(0.05 * np.array([0.5, 0.7, 0.9]))
    assert -ngspice.waves(text, ["i(vin)"], ".op")["i(vin)"] == pytest.approx(at_rest[2:], rel=1e-9)
    assert -ngspice.waves(text, ["i(vin)"], ".dc Vin 0.5 0.9 0.2")["i(vin)"] == pytest.approx(at_rest, rel=1e-9)
