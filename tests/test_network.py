"""Circuits of elements: nodal equations against dense algebra, charging against closed forms, oscillation periods,
energy, several devices of one realisation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from conftest import reduced
from hypothesis import given, settings
from hypothesis import strategies as st

import mcdev
from mcdev.integrators.exponential import adaptive_system, relaxation
from mcdev.integrators.nodal import Sources, solve, stiffness
from mcdev.integrators.topology import Floating, Loop, Network
from mcdev.machine.environment import computing

pytestmark = pytest.mark.usefixtures("unpolished")

FROZEN = {
    "kind": "volatile_threshold",
    "threshold_voltage": "100 V",
    "hold_voltage": "50 V",
    "switching_rate": "1 MHz",
    "switching_exponent": 1.0,
    "relaxation_time": "1 us",
    "on_conductance": "1 mS",
    "off_conductance": "1 uS",
}
"""Stays as it is, 1 uS."""
TWO_CONDUCTANCES = '''
"""Two conductances, 1 uS and G_on: on above 0.8 V, off below 0.4 V, in some 10 ps. Between them each stays (x = 0 and
x = 1 are stable, x = 1/2 is not)."""

from typing import Annotated, Literal

import jax.numpy as jnp

from mcdev.devices.contract import per_lane
from mcdev.devices.ohmic import Ohmic
from mcdev.devices.one_state import OneState, OneStateDevices
from mcdev.schema import Drawn, PerDevice


class TwoConductances(OneState):
    """Switches at once."""

    kind: Literal["two_conductances"] = "two_conductances"
    on_conductance: Annotated[Drawn, PerDevice("S", gt=0)] = 1e-3

    def fastest(self, voltage):
        return 1e12

    def build(self, draws, seed, devices, dtype):
        own = {name: per_lane(value, dtype) for name, value in draws.items()}
        return Both(own, self.integrator.tolerance)


class Both(OneStateDevices):
    def rest(self, key):
        return jnp.zeros_like(self.parameters["on_conductance"])

    def current_law(self, state):
        return Ohmic(jnp.where(state > 0.5, self.parameters["on_conductance"], 1e-6))

    def drift(self, x, voltage):
        size = jnp.abs(voltage)
        push = 1e3 * (jnp.maximum(size / 0.8 - 1.0, 0.0) * (1.2 - x) - jnp.maximum(1.0 - size / 0.4, 0.0) * (x + 0.2))
        return 1e11 * (x * (1.0 - x) * (x - 0.5) + push)
'''
NEURON = {"kind": "neuron", "resistance": "20 kohm", "capacitance": "1 nF"}


class Ohms(eqx.Module):
    g: Any

    def __call__(self, v: Any) -> Any:
        return self.g * v


class Sinh(eqx.Module):
    g: Any

    def __call__(self, v: Any) -> Any:
        return self.g * jnp.sinh(10.0 * v) / 10.0


def run(device: dict[str, Any], circuit: dict[str, Any], protocol: dict[str, Any], **more: Any) -> xr.DataTree:
    return mcdev.run(mcdev.build(table(device, circuit, protocol, **more)))


def table(device: dict[str, Any], circuit: dict[str, Any], protocol: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": "network",
        "device": device,
        "circuit": circuit,
        "protocol": protocol,
        "ensemble": {"devices": 2},
        "measurements": {"g": {"kind": "mean_conductance"}},
    } | more


def hold(voltage: str, duration: str, samples: int) -> dict[str, Any]:
    return {"kind": "hold", "voltage": voltage, "duration": duration, "samples": samples}


def course(tree: xr.DataTree, channel: str, realisation: int = 0) -> np.ndarray:
    return np.asarray(tree["trajectories"][channel].values[0, 0, realisation], float)


# ------------------------------------------------------------------------------- nodal equations


@settings(max_examples=6)  # each is another program to compile
@given(st.integers(2, 25), st.integers(0, 2**32 - 1))
def test_a_resistor_network_is_the_dense_solution(nodes: int, seed: int) -> None:
    """A random connected network with a grounded and a floating source."""
    rng = np.random.default_rng(seed)
    pairs = [(int(rng.integers(0, i)), i) for i in range(1, nodes + 1)]  # a tree from ground, which reaches all
    pairs += [tuple(int(x) for x in rng.choice(nodes + 1, 2, replace=False)) for _ in range(nodes)]
    ties, root = [], list(range(nodes + 1))  # a random forest of ties, either way round, chains among them
    for _ in range(int(rng.integers(1, nodes + 1))):
        a, b = (int(x) for x in rng.choice(nodes + 1, 2, replace=False))
        if root[a] != root[b]:
            root = [root[b] if own == root[a] else own for own in root]
            ties.append((a, b))
    network = Network.of(pairs, ties, 0)
    lanes = 3
    g, volts = rng.uniform(0.1, 1.0, (len(pairs), lanes)), rng.normal(size=(len(ties), lanes))
    with computing(True):
        blank = jnp.zeros((network.unknowns, lanes))
        found = jax.jit(lambda g, v: solve(network, Ohms(g), v, blank, True))(jnp.asarray(g), jnp.asarray(volts))
        potential = np.asarray(jax.jit(network.places.apply)(found.z))
    for lane in range(lanes):  # modified nodal analysis: potentials and source currents
        size = nodes + len(ties)
        a, b = np.zeros((size + 1, size + 1)), np.zeros(size + 1)
        for (p, m), x in zip(pairs, g[:, lane], strict=True):
            a[p, p] += x
            a[m, m] += x
            a[p, m] -= x
            a[m, p] -= x
        for k, (p, m) in enumerate(ties, start=nodes + 1):
            a[p, k], a[m, k], a[k, p], a[k, m] = -1.0, 1.0, 1.0, -1.0
            b[k] = volts[k - nodes - 1, lane]
        x = np.linalg.solve(a[1:, 1:], b[1:])
        np.testing.assert_allclose(
            potential[[network.nodes.index(i) for i in range(1, nodes + 1)], lane], x[:nodes], atol=1e-10
        )
        np.testing.assert_allclose(np.asarray(found.given)[:, lane], x[nodes:], atol=1e-10)


ELEMENTS = [("in", "a"), ("a", "b"), ("b", "0"), ("a", "0"), ("b", "c"), ("c", "in")]


@pytest.mark.parametrize("law", [Ohms, Sinh])
def test_the_derivative_is_that_of_the_solution(law: Any) -> None:
    network = Network.of(ELEMENTS, [("in", "0")], "0")
    g = np.random.default_rng(1).uniform(0.1, 1.0, (len(ELEMENTS), 4))

    def given(g: Any) -> Any:
        blank = jnp.zeros((network.unknowns, 4))
        return jnp.sum(solve(network, law(g), jnp.full((1, 4), 1.5), blank, law is Ohms).given)

    with computing(True):
        along = jnp.asarray(np.random.default_rng(2).normal(size=g.shape))
        g, value = jnp.asarray(g), jax.jit(given)
        _, forwards = jax.jit(lambda g: jax.jvp(given, (g,), (along,)))(g)
        backwards = jnp.sum(jax.jit(jax.grad(given))(g) * along)
        differences = (value(g + 1e-6 * along) - value(g - 1e-6 * along)) / 2e-6
    np.testing.assert_allclose([forwards, backwards], differences, rtol=1e-7)


def test_currents_add_up_in_every_node() -> None:
    """Laws that rise by e a hundred millivolts, six volts: Newton's method without its halving leaves the numbers."""
    network = Network.of(ELEMENTS, [("in", "0")], "0")
    with computing(True):
        g = jnp.asarray(10.0 ** np.random.default_rng(3).uniform(-9, 0, (len(ELEMENTS), 50)))
        blank = jnp.zeros((network.unknowns, 50))
        under = jax.jit(lambda volts: solve(network, Sinh(g), jnp.full((1, 50), volts), blank))
        found, small = under(6.0), under(1e-6)
    assert np.all(np.asarray(found.residual) <= 1e-8 * np.abs(np.asarray(found.given[0])))
    assert np.all(np.asarray(small.residual) <= 1e-8 * np.abs(np.asarray(small.given[0])))


@pytest.mark.parametrize("law", [Ohms, Sinh])
def test_a_source_at_its_limit_gives_its_limit(law: Any) -> None:
    """Between the two ways of a source the one that its limit allows; its current is the network's at its voltage."""
    free = Network.of(ELEMENTS, [("in", "0")], "0", free=[0])
    plain = Network.of(ELEMENTS, [("in", "0")], "0")
    lanes, volts = 8, 0.6
    with computing(True):
        g = jnp.asarray(np.random.default_rng(4).uniform(0.1, 1.0, (len(ELEMENTS), lanes)))
        aim = jnp.full((1, lanes), volts)
        held = jax.jit(lambda aim: solve(plain, law(g), aim, jnp.zeros((plain.unknowns, lanes)), law is Ohms))
        unlimited = held(aim)
        most = jnp.full((1, lanes), float(np.median(np.asarray(unlimited.given))))
        blank = jnp.zeros((free.unknowns, lanes))
        limited = jax.jit(lambda most: solve(free, law(g), aim, blank, False, Sources(most)))(most)
        again = held(limited.z[-1:])
    over = np.asarray(unlimited.given[0] > most[0])
    assert 0 < over.sum() < lanes
    np.testing.assert_allclose(np.asarray(limited.given[0])[over], np.asarray(most[0])[over], rtol=1e-8)
    np.testing.assert_allclose(np.asarray(limited.z[-1])[~over], volts, rtol=1e-12)
    np.testing.assert_allclose(limited.given, again.given, rtol=1e-7)


def test_several_sources_at_their_limits() -> None:
    """Four limited sources on a random network: each is at its voltage, or gives its limit and lies on the side of its
    voltage on which more current would take it further."""
    rng = np.random.default_rng(6)
    names = ["a", "b", "c", "d"]
    pairs = [(x, y) for i, x in enumerate(["0", *names]) for y in names[i:]]
    network = Network.of(pairs, [(name, "0") for name in names], "0", free=range(4))
    lanes = 400
    with computing(True):
        g = jnp.asarray(10.0 ** rng.uniform(-3, 0, (len(pairs), lanes)))
        aim, most = jnp.asarray(rng.normal(size=(4, lanes))), jnp.asarray(10.0 ** rng.uniform(-3, 0, (4, lanes)))
        blank = jnp.zeros((network.unknowns, lanes))
        found = jax.jit(lambda most: solve(network, Ohms(g), aim, blank, False, Sources(most)))(most)
    volts, amps, limit = (np.asarray(x) for x in (found.z[-4:], found.given, most))
    held = np.isclose(volts, aim, rtol=1e-7, atol=1e-9) & (np.abs(amps) <= limit * (1 + 1e-7))
    up = np.isclose(amps, limit, rtol=1e-7) & (volts <= np.asarray(aim) + 1e-9)
    down = np.isclose(amps, -limit, rtol=1e-7) & (volts >= np.asarray(aim) - 1e-9)
    assert np.all(held | up | down)
    assert 0.1 < held.mean() < 0.9


def test_steep_laws_are_followed_to_the_end() -> None:
    """A selector of 10 mV at six volts behind a thousand ohms, against the logarithm that Newton's method creeps down;
    and where there is no solution (a law that is no number) the lane says so."""
    network = Network.of([("in", "x"), ("x", "0")], [("in", "0")], "0")

    class Steep(eqx.Module):
        scale: Any

        def __call__(self, v: Any) -> Any:
            return jnp.stack([1e-9 * self.scale * 0.01 * jnp.sinh(v[0] / 0.01), 1e-3 * v[1]])

    with computing(True):
        scale = jnp.asarray([1.0, jnp.nan])
        blank = jnp.zeros((network.unknowns, 2))
        found = jax.jit(lambda scale: solve(network, Steep(scale), jnp.full((1, 2), 6.0), blank))(scale)
    x = float(found.z[0, 0])
    np.testing.assert_allclose(1e-11 * np.sinh((6.0 - x) / 0.01), 1e-3 * x, rtol=1e-6)
    assert np.isnan(np.asarray(found.z[0, 1]))


def test_what_a_capacitor_sees_is_the_derivative() -> None:
    network = Network.of([("in", "a"), ("a", "0"), ("a", "b"), ("b", "0")], [("in", "0"), ("b", "0")], "0")
    with computing(True):
        g = jnp.asarray(np.random.default_rng(5).uniform(0.1, 1.0, (4, 3)))

        def given(charge: Any) -> Any:
            ties = jnp.stack([jnp.ones(3), charge])
            return solve(network, Ohms(g), ties, jnp.zeros((network.unknowns, 3)), True).given[1]

        _, slope = jax.jit(lambda at: jax.jvp(given, (at,), (jnp.ones(3),)))(jnp.zeros(3))
        np.testing.assert_allclose(stiffness(network, g, [1])[0, 0], slope, rtol=1e-12)


def test_loops_and_floating_nodes_are_found() -> None:
    with pytest.raises(Loop) as loop:
        Network.of([("a", "0")], [("a", "0"), ("b", "a"), ("b", "0")], "0")
    assert loop.value.tie == 2
    with pytest.raises(Floating) as floating:
        Network.of([("in", "0"), ("a", "b")], [("in", "0"), ("b", "c")], "0")
    assert set(floating.value.nodes) == {"a", "b", "c"}


# ------------------------------------------------------------------------------- exponentials


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_the_mean_speed_is_that_of_the_matrix_exponential(size: int) -> None:
    from scipy.linalg import expm

    rng = np.random.default_rng(size)
    roots = rng.normal(size=(4, size, size))
    rate = np.einsum("lij,lkj->ikl", roots, roots) * np.array([1e-4, 1.0, 1e2, 1e5])
    speed = rng.normal(size=(size, 4))
    with computing(True):
        found = np.asarray(relaxation(jnp.asarray(rate), jnp.ones(4), jnp.asarray(speed)))
    for lane in range(4):
        whole = np.zeros((size + 1, size + 1))
        whole[:size, :size], whole[:size, size] = -rate[..., lane], speed[:, lane]
        np.testing.assert_allclose(
            found[:, lane], expm(whole)[:size, size], rtol=1e-10, atol=1e-12 * np.abs(speed).max()
        )


def test_a_stiff_system_keeps_its_tolerance() -> None:
    """Van der Pol's oscillator with μ = 50 against an implicit Runge-Kutta method."""
    from scipy.integrate import solve_ivp

    reference = solve_ivp(
        lambda _, y: [y[1], 50 * (1 - y[0] ** 2) * y[1] - y[0]], (0, 30), [2, 0], "Radau", rtol=1e-10, atol=1e-12
    )
    with computing(True):
        found = adaptive_system(
            lambda y: jnp.stack([y[1], 50 * (1 - y[0] ** 2) * y[1] - y[0]]),
            jnp.array([[2.0, 2.0], [0.0, 0.0]]),
            jnp.array([30.0, 0.0]),
            jnp.full((2, 2), 1e-7),
        )
    np.testing.assert_allclose(np.asarray(found)[:, 0], reference.y[:, -1], rtol=1e-4)
    np.testing.assert_array_equal(np.asarray(found)[:, 1], [2.0, 0.0])


# ------------------------------------------------------------------------------- charging


def trapezoid(values: Any, edges: np.ndarray, intervals: int) -> np.ndarray:
    """Means over samples, of the ends of as many intervals in each."""
    share = np.linspace(0.0, 1.0, intervals + 1)
    at = values(edges[:-1, None] + np.diff(edges)[:, None] * share)
    return np.asarray(0.5 * (at[:, 1:] + at[:, :-1]).mean(axis=1))


@pytest.mark.parametrize("device", ["followed", "particles"])
def test_charging_through_a_resistor_is_exact(device: str) -> None:
    """v = V_k (1 - e^{-t/τ}), τ = C R R_k/(R + R_k), V_k = V R_k/(R + R_k), with the device's conductance frozen; the
    capacitor discharges through the device while the source gives nothing."""
    if device == "followed":
        tree = run(FROZEN, NEURON, {"kind": "pulse", "amplitude": "2 V", "width": "30 us", "relaxation": "50 us"})
        g, resistance, capacitance, volts, on, intervals, close = 1e-6, 20e3, 1e-9, 2.0, 30e-6, 8, 1e-9
    else:  # particles that do not move: no drift, no heat, infinite friction
        still = {
            "preset": "wang2017_reduced",
            "friction": 1e12,
            "drift": 0.0,
            "heating": 0.0,
            "initial_state": "bridge",
        }
        circuit = {"kind": "neuron", "resistance": "2 ohm", "capacitance": "0.5 F"}
        tree = run(still, circuit, {"kind": "pulse", "amplitude": "2 V", "width": "1 s", "relaxation": "1 s"})
        g = float(course(tree, "conductance")[0])
        np.testing.assert_allclose(course(tree, "conductance"), g, rtol=1e-4)
        resistance, capacitance, volts, on, intervals, close = 2.0, 0.5, 2.0, 1.0, 100, 2e-4
    tau = capacitance / (1 / resistance + g)
    level = volts / (1 + resistance * g)

    def exact(t: np.ndarray) -> np.ndarray:
        rising = level * -np.expm1(-np.minimum(t, on) / tau)
        return np.asarray(rising * np.exp(-np.maximum(t - on, 0.0) / tau))

    width = tree["response"]["width"].values[0]
    edges = np.concatenate([[0.0], np.cumsum(width)])
    np.testing.assert_allclose(course(tree, "voltage(out)"), trapezoid(exact, edges, intervals), atol=close * volts)


def test_the_period_of_a_relaxation_oscillator(tmp_path: Path, forget: Any) -> None:
    """T = τ_off ln((V_off - v_lo)/(V_off - v_hi)) + τ_on ln((v_hi - V_on)/(v_lo - V_on)), τ_k = C R R_k/(R + R_k),
    V_k = V R_k/(R + R_k), where the device switches on at v_hi and off at v_lo."""
    (tmp_path / "two_conductances.py").write_text(TWO_CONDUCTANCES)
    mcdev.load_plugin(tmp_path / "two_conductances.py")
    tree = run({"kind": "two_conductances"}, NEURON, hold("2 V", "200 us", 4000))
    v, high, low, resistance, capacitance = course(tree, "voltage(out)"), 0.8, 0.4, 20e3, 1e-9

    def towards(g: float) -> tuple[float, float]:
        return capacitance / (1 / resistance + g), 2.0 / (1 + resistance * g)

    (tau_off, v_off), (tau_on, v_on) = towards(1e-6), towards(1e-3)
    period = tau_off * np.log((v_off - low) / (v_off - high)) + tau_on * np.log((high - v_on) / (low - v_on))
    middle = (np.arange(v.size) + 0.5) * 200e-6 / v.size
    rising = np.flatnonzero((v[1:] > 0.6) & (v[:-1] <= 0.6))
    crossings = middle[rising] + (0.6 - v[rising]) / (v[rising + 1] - v[rising]) * 200e-6 / v.size
    assert len(crossings) > 12
    np.testing.assert_allclose(np.diff(crossings)[1:].mean(), period, rtol=2e-3)  # the switch takes some 2e-4 of it


def test_energy_is_kept() -> None:
    """What the source gives is what resistor and device turn to heat and what the capacitor holds. Means over samples
    of an eighth of the particle's interval: the product of two means is the mean of the product to second order."""
    circuit = {"kind": "neuron", "resistance": "60 ohm", "capacitance": "1.6667 mF"}
    tree = run({"preset": "wang2017_reduced"}, circuit, hold("4 V", "0.5 s", 4000), ensemble={"devices": 4})
    for i in range(4):
        c = {
            name: course(tree, name, i)
            for name in ("voltage", "voltage(out)", "current", "current(V1)", "current(R1)", "device_voltage")
        }
        dt = 0.5 / 4000
        given = np.sum(c["voltage"] * c["current(V1)"]) * dt
        heat = np.sum((c["voltage"] - c["voltage(out)"]) * c["current(R1)"] + c["device_voltage"] * c["current"]) * dt
        last = c["voltage(out)"][-1] + 0.5 * (c["voltage(out)"][-1] - c["voltage(out)"][-2])
        held = 0.5 * 1.6667e-3 * last**2
        np.testing.assert_allclose(given, heat + held, rtol=2e-3)
        np.testing.assert_allclose(c["current(V1)"], c["current(R1)"], rtol=1e-4, atol=1e-7)


def test_the_interval_is_of_second_order() -> None:
    """A device with states of its own pace beside a capacitor: the error falls with the square of the interval."""
    device = {"preset": "device_p"}
    circuit = {"kind": "neuron", "resistance": "1 Mohm", "capacitance": "100 nF"}

    def end(interval: float) -> np.ndarray:
        tree = run(device, circuit | {"interval": f"{interval} s"}, hold("2 V", "0.4 s", 4))
        return np.array([course(tree, channel)[-1] for channel in ("conductance", "voltage(out)")])

    exact = end(2.5e-4)
    errors = np.abs([end(interval) - exact for interval in (8e-3, 4e-3, 2e-3)])
    orders = np.log2(errors[:-1] / errors[1:])
    assert np.all((orders > 1.8) & (orders < 2.2)), orders


def test_a_source_may_have_a_protocol_of_its_own() -> None:
    """Two sources through equal resistors onto a frozen device: v = (V_1 + V_2) G/(2 G + G_k) at every sample; samples
    are cut where either of both steps, windows stay the protocol's, and the shorter one ends at zero."""
    own = {"kind": "pulse", "amplitude": "-1 V", "width": "3.5 us", "relaxation": "2 us"}
    elements = {
        "V1": {"kind": "voltage_source", "between": ["a", "0"]},
        "V2": {
            "kind": "voltage_source",
            "between": ["b", "0"],
            "share": 2.0,
            "protocol": own | {"samples_per_pulse": 7, "relaxation_samples": 4},
        },
        "R1": {"kind": "resistor", "between": ["a", "m"], "resistance": "1 kohm"},
        "R2": {"kind": "resistor", "between": ["b", "m"], "resistance": "1 kohm"},
        "M1": {"kind": "memristor", "between": ["m", "0"]},
    }
    circuit = {"kind": "network", "elements": elements}
    protocol = {"kind": "pulse", "amplitude": "3 V", "width": "5 us", "relaxation": "5 us"}
    protocol |= {"samples_per_pulse": 5, "relaxation_samples": 5}
    tree = run(FROZEN, circuit, protocol)
    edges = np.concatenate([[0.0], np.cumsum(tree["response"]["width"].values[0])])
    np.testing.assert_allclose(edges, np.concatenate([np.arange(0, 6, 0.5), np.arange(6, 11)]) * 1e-6, rtol=1e-9)
    middle = 0.5 * (edges[1:] + edges[:-1])
    first, second = np.where(middle < 5e-6, 3.0, 0.0), np.where(middle < 3.5e-6, -2.0, 0.0)
    np.testing.assert_allclose(course(tree, "voltage(b)"), second, atol=1e-12)
    np.testing.assert_allclose(course(tree, "voltage"), first, atol=1e-12)
    np.testing.assert_allclose(course(tree, "voltage(m)"), (first + second) * 1e-3 / (2e-3 + 1e-6), atol=1e-12)
    np.testing.assert_array_equal(tree["response"]["window_pulse"].values[0], [[0, 10]])
    longer = {**elements, "V2": elements["V2"] | {"protocol": own | {"relaxation": "9 us"}}}
    with pytest.raises(mcdev.ConfigError, match="goes on for"):
        mcdev.build(table(FROZEN, {"kind": "network", "elements": longer}, protocol))


@pytest.mark.slow
@pytest.mark.parametrize("device", ["followed", "held"])
def test_a_source_at_its_limit_charges_evenly(device: str) -> None:
    """A current I into C beside a frozen device: v = I t/C where the device takes nothing; from a source at its
    compliance, and from a current source until its voltage is near its own limit."""
    own = FROZEN if device == "followed" else {"preset": "wang2017_reduced", "maximum_conductance": "1e-12 S"}
    over = {"kind": "neuron", "resistance": "1 kohm", "capacitance": "1 uF", "compliance": "1 uA"}
    elements = {
        "I1": {"kind": "current_source", "between": ["out", "0"], "transconductance": "1 uS", "compliance": "0.3 V"},
        "C1": {"kind": "capacitor", "between": ["out", "0"], "capacitance": "1 uF"},
        "M1": {"kind": "memristor", "between": ["out", "0"]},
    }
    protocol = hold("1 V", "0.4 s", 10)
    tree = run(own, over, protocol)
    middle = (np.arange(10) + 0.5) * 0.04
    leak = device == "followed"  # 1 uS: v = V (1 - e^{-t}), in seconds; the mean over each sample
    expected = 1.0 - (np.exp(-(middle - 0.02)) - np.exp(-(middle + 0.02))) / 0.04 if leak else middle
    np.testing.assert_allclose(course(tree, "voltage(out)"), expected, rtol=2e-3)
    driven = course(run(own, {"kind": "network", "elements": elements}, protocol), "voltage(out)")
    np.testing.assert_allclose(driven[:6], expected[:6], rtol=2e-3)
    assert np.all((driven[-1:] > 0.29) & (driven[-1:] <= 0.3 * (1 + 1e-6)))


def test_two_sources_one_upon_the_other() -> None:
    """The second raises what the first holds: v = V_1 - V_2 share where their nodes hang together."""
    elements = {
        "V1": {"kind": "voltage_source", "between": ["in", "0"]},
        "V2": {"kind": "voltage_source", "between": ["in", "x"], "share": 0.25},
        "M1": {"kind": "memristor", "between": ["x", "0"]},
    }
    tree = run(FROZEN, {"kind": "network", "elements": elements}, hold("1 V", "1 us", 2))
    np.testing.assert_allclose(course(tree, "voltage(x)"), 0.75, rtol=1e-12)
    np.testing.assert_allclose(course(tree, "current"), 0.75e-6, rtol=1e-12)


# ------------------------------------------------------------------------------- several devices


def pair(coupling: str | None) -> dict[str, Any]:
    """Two neurons, coupled by a resistor or not."""
    elements: dict[str, Any] = {"V1": {"kind": "voltage_source", "between": ["in", "0"]}}
    for i in (1, 2):
        elements |= {
            f"R{i}": {"kind": "resistor", "between": ["in", f"n{i}"], "resistance": "60 ohm"},
            f"C{i}": {"kind": "capacitor", "between": [f"n{i}", "0"], "capacitance": "1.6667 mF"},
            f"M{i}": {"kind": "memristor", "between": [f"n{i}", "0"]},
        }
    if coupling is not None:
        elements["Rc"] = {"kind": "resistor", "between": ["n1", "n2"], "resistance": coupling}
    return {"kind": "network", "elements": elements}


LONE = {"kind": "neuron", "resistance": "60 ohm", "capacitance": "1.6667 mF"}
DRAWN = {"preset": "wang2017_reduced", "friction": {"distribution": "lognormal", "median": 4.0, "sigma": 0.1}}


@pytest.mark.slow
def test_a_network_of_one_is_the_device_alone() -> None:
    """Its parameters, its random numbers, its steps; the last bits are another program's."""
    one = {
        "V1": {"kind": "voltage_source", "between": ["in", "0"]},
        "M1": {"kind": "memristor", "between": ["in", "0"]},
    }
    protocol = hold("3 V", "0.3 s", 20)
    found = run(DRAWN, {"kind": "network", "elements": one}, protocol)
    alone = run(DRAWN, {"kind": "alone"}, protocol)
    for name in alone["trajectories"].data_vars:
        np.testing.assert_allclose(found["trajectories"][name], alone["trajectories"][name], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_uncoupled_devices_of_a_network_do_not_know_of_each_other() -> None:
    """The first is the lone neuron's device, but for rounding; the second is another of the same law."""
    protocol = hold("4 V", "0.3 s", 30)
    two, one = run(DRAWN, pair(None), protocol), run(DRAWN, LONE, protocol)
    for name in ("conductance", "temperature", "device_voltage"):
        np.testing.assert_allclose(two["trajectories"][name], one["trajectories"][name], rtol=1e-4, atol=1e-6)
    assert np.all(two["parameters"]["friction"].values != two["parameters"]["friction(M2)"].values)
    other = two["trajectories"]["conductance(M2)"].values
    assert np.all(np.abs(other - two["trajectories"]["conductance"].values).max(axis=-1) > 1e-6)


@pytest.mark.slow
def test_like_places_behave_alike_in_law() -> None:
    """Two coupled neurons: the mean conductance of the one is that of the other, and their difference is of no sign."""
    measurements = {"one": {"kind": "mean_conductance"}, "two": {"kind": "mean_conductance", "element": "M2"}}
    device = {"preset": "wang2017_reduced", "pinning_phase": "90 deg"}
    tree = run(device, pair("100 ohm"), hold("4 V", "1 s", 10), ensemble={"devices": 256}, measurements=measurements)
    one, two = (tree[f"measurements/{name}"]["value"].values.ravel() for name in ("one", "two"))
    difference = one - two
    assert np.std(difference) > 0
    assert abs(difference.mean()) < 4 * difference.std(ddof=1) / np.sqrt(difference.size)


@pytest.mark.slow
def test_a_realisation_is_the_same_in_any_ensemble() -> None:
    """Chunks never cut a network: three of forty are the first three, cycle by cycle, with devices of two tables."""
    circuit = pair("100 ohm")
    circuit["elements"]["S1"] = {"kind": "memristor", "between": ["n1", "0"], "device": "taox"}
    circuit["devices"] = {
        "taox": {
            "preset": "wang2017_taox",
            "positive_rate": {"distribution": "lognormal", "median": "0.1 Hz", "sigma": 0.2},
        }
    }
    size = {"cycles": 2, "cycle_to_cycle": {"friction": 0.1}}
    protocol = hold("4 V", "0.05 s", 5)
    few, many = (run(DRAWN, circuit, protocol, ensemble=size | {"devices": n}) for n in (3, 40))
    for name in few["trajectories"].data_vars:
        np.testing.assert_array_equal(few["trajectories"][name], many["trajectories"][name][:, :, :3])
    for name in few["parameters"].data_vars:
        np.testing.assert_array_equal(few["parameters"][name], many["parameters"][name][:, :3])
    value = "measurements/g/value"
    np.testing.assert_array_equal(few[value], many[value][:, :3])
    assert np.ptp(many["parameters"]["circuit.devices.taox.positive_rate"].values) > 0


FRAGILE = '''
"""A resistor of 1 kohm that breaks down above a voltage of its own."""

from typing import Annotated, Literal

import jax.numpy as jnp

from mcdev.devices.contract import per_lane
from mcdev.devices.ohmic import Ohmic
from mcdev.devices.one_state import OneState, OneStateDevices
from mcdev.schema import Drawn, PerDevice


class Fragile(OneState):
    """Breaks down."""

    kind: Literal["fragile"] = "fragile"
    limit: Annotated[Drawn, PerDevice("V", gt=0)] = 1.0

    def fastest(self, voltage):
        return 1.0

    def build(self, draws, seed, devices, dtype):
        return Broken({name: per_lane(value, dtype) for name, value in draws.items()}, self.integrator.tolerance)


class Broken(OneStateDevices):
    def rest(self, key):
        return jnp.zeros_like(self.parameters["limit"])

    def current_law(self, state):
        return Ohmic(1e-3 * (1.0 + 0.0 * state))

    def drift(self, x, voltage):
        return jnp.where(jnp.abs(voltage) > self.parameters["limit"], jnp.nan, 0.0 * x)
'''


@pytest.mark.parametrize("capacitor", [False, True])
def test_the_device_that_breaks_down_is_named(capacitor: bool, tmp_path: Path, forget: Any) -> None:
    """Two of a thousand ohms in series: that with the lower limit breaks down, and its realisation with it."""
    (tmp_path / "fragile.py").write_text(FRAGILE)
    mcdev.load_plugin(tmp_path / "fragile.py")
    spread = {"distribution": "lognormal", "median": "2 V", "sigma": 0.5}
    elements: dict[str, Any] = {
        "V1": {"kind": "voltage_source", "between": ["in", "0"]},
        "M1": {"kind": "memristor", "between": ["in", "mid"]},
        "M2": {"kind": "memristor", "between": ["mid", "0"], "device": "other"},
    }
    if capacitor:
        elements["C1"] = {"kind": "capacitor", "between": ["mid", "0"], "capacitance": "1 nF"}
    other = {"other": {"kind": "fragile", "limit": "2 V"}}
    circuit = {"kind": "network", "elements": elements, "devices": other}
    protocol = {"kind": "triangular_sweep", "amplitude": "8 V", "rate": "1 V/s", "samples_per_branch": 160}
    many = {"devices": 20}
    tree = run({"kind": "fragile", "limit": spread}, circuit, protocol, ensemble=many)
    limit = tree["parameters"]["limit"].values[0]
    culprit = tree["realisations"]["culprit"].values[0, :, 0]
    assert not tree["realisations"]["intact"].values.any()
    clear = np.abs(limit - 2.0) > 0.1
    assert clear.sum() > 10
    np.testing.assert_array_equal(culprit[clear], np.where(limit < 2.0, 0, 1)[clear])
    assert set(culprit) == {0, 1}


def test_a_measurement_reads_the_element_that_it_names() -> None:
    """The delay of each of two memristors, of different G_max, against its own channel."""
    circuit = pair(None)
    circuit["elements"]["M2"] = {"kind": "memristor", "between": ["n2", "0"], "device": "large"}
    circuit["devices"] = {"large": {"preset": "wang2017_reduced", "maximum_conductance": "3 S"}}
    delays = {
        "one": {"kind": "delay_time", "fraction": 0.02},
        "two": {"kind": "delay_time", "fraction": 0.02, "element": "M2"},
    }
    protocol = {"kind": "pulse", "amplitude": "4 V", "width": "1 s", "relaxation": "0.1 s"}
    tree = run({"preset": "wang2017_reduced"}, circuit, protocol, measurements=delays, ensemble={"devices": 8})
    edges = np.concatenate([[0.0], np.cumsum(tree["response"]["width"].values[0])])
    for name, channel, full in (("one", "conductance", 1.0), ("two", "conductance(M2)", 3.0)):
        value, status = (tree[f"measurements/{name}"][x].values[0, :, 0] for x in ("value", "status"))
        assert (status == 0).sum() >= 4
        for i in np.flatnonzero(status == 0):
            g = course(tree, channel, i)
            first = int(np.argmax(g >= 0.02 * full))
            assert edges[first - 1] <= value[i] <= edges[first + 1]


def test_a_node_may_stand_for_the_source() -> None:
    tree = run(
        FROZEN,
        {"kind": "divider", "resistance": "1 Mohm"},
        {"kind": "triangular_sweep", "amplitude": "2 V", "rate": "1e3 V/s"},
        measurements={"area": {"kind": "loop_area"}, "of_node": {"kind": "loop_area", "node": "out"}},
    )
    area, of_node = (float(tree[f"measurements/{name}"]["value"].values[0, 0, 0]) for name in ("area", "of_node"))
    assert np.isfinite([area, of_node]).all()


def test_impedance_knows_its_frequency() -> None:
    """Z = R + 1/(1/Z_device + iωC), and the device's own from the run alone."""
    protocol = {"kind": "impedance", "lowest": "1 Hz", "highest": "1 MHz"}
    device = {"preset": "device_p"}
    alone = run(device, {"kind": "alone"}, protocol)["spectrum"].dataset
    wired = run(device, {"kind": "neuron", "resistance": "1 kohm", "capacitance": "2 nF"}, protocol)["spectrum"].dataset
    frequency = alone["frequency"].values[0]
    own = (alone["resistance"] + 1j * alone["reactance"]).values[0, 0, 0]
    found = (wired["resistance"] + 1j * wired["reactance"]).values[0, 0, 0]
    expected = 1e3 + 1.0 / (1.0 / own + 2j * np.pi * frequency * 2e-9)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_drawn_elements_differ_from_realisation_to_realisation() -> None:
    spread = {"distribution": "lognormal", "median": "20 kohm", "sigma": 0.3}
    tree = run(FROZEN, NEURON | {"resistance": spread}, hold("2 V", "1 ms", 2), ensemble={"devices": 5})
    drawn = tree["parameters"]["circuit.resistance"].values[0]
    assert np.ptp(drawn) > 1e3
    for i in range(5):
        np.testing.assert_allclose(course(tree, "voltage(out)", i)[-1], 2 / (1 + drawn[i] * 1e-6), rtol=1e-9)


# ------------------------------------------------------------------------------- bad input

GOOD: dict[str, Any] = {
    "V1": {"kind": "voltage_source", "between": ["in", "0"]},
    "R1": {"kind": "resistor", "between": ["in", "out"], "resistance": "10 kohm"},
    "M1": {"kind": "memristor", "between": ["out", "0"]},
}


@pytest.mark.parametrize(
    ("name", "between", "more", "key", "words"),
    [
        ("C1", ["a", "b"], {"capacitance": "1 nF"}, "circuit.elements", "node a, b (of C1)"),
        ("V2", ["in", "0"], {}, "circuit.elements.V2.between", "closes a loop"),
        ("V1", ["in", "far"], {}, "circuit.elements.V1.between", "node far has no other element"),
        ("V1", ["in", "GND"], {}, "circuit.elements.V1.between", 'ground is node 0: write "0" for GND'),
        ("C1", ["in", "0"], {"capacitance": "1 nF"}, "circuit.elements.C1.between", "loop"),
        ("R2", ["out", "out"], {"resistance": "1 ohm"}, "circuit.elements.R2.between", "shorted"),
        ("R2", ["out", "0"], {"resistance": "0 ohm"}, "circuit.elements.R2.resistance", "> 0"),
        ("R2", ["out", "0"], {"resistance": "-1 ohm"}, "circuit.elements.R2.resistance", "> 0"),
        ("C1", ["out", "0"], {"capacitance": "0 F"}, "circuit.elements.C1.capacitance", "> 0"),
        ("M2", ["out", "0"], {"device": "x"}, "circuit.elements.M2.device", "no such table"),
        ("M1", ["out", "0"], {"kind": "resistor", "resistance": "1 ohm"}, "circuit.elements", "memristor"),
        ("V1", ["in", "0"], {"kind": "resistor", "resistance": "1 ohm"}, "circuit.elements", "source"),
        (
            "I1",
            ["lone", "0"],
            {"kind": "current_source", "transconductance": "1 uS", "compliance": "1 V"},
            "circuit.elements",
            "node lone (of I1)",
        ),
        ("R2", ["M1", "0"], {"resistance": "1 ohm"}, "circuit.elements", "of an element and of a node"),
        ("L1", ["in", "0"], {"kind": "inductor"}, "circuit.elements.L1", "inductor"),
    ],
)
def test_one_clear_message(name: str, between: list[str], more: dict[str, Any], key: str, words: str) -> None:
    kinds = {"C": "capacitor", "V": "voltage_source", "R": "resistor", "M": "memristor"}
    element = {"kind": kinds.get(name[0]), "between": between} | more
    circuit = {"kind": "network", "elements": GOOD | {name: element}}
    with pytest.raises(mcdev.ConfigError) as error:
        mcdev.build(table(FROZEN, circuit, hold("1 V", "1 s", 2)))
    (problem,) = error.value.problems
    assert problem.key.startswith(key), str(problem)
    assert words in str(problem)


@pytest.mark.parametrize(
    ("measurement", "key", "words"),
    [
        ({"kind": "mean_conductance", "element": "R1"}, "element", "has a current alone"),
        ({"kind": "relaxation_time", "element": "C1"}, "element", "expected a memristor: M1"),
        ({"kind": "mean_current", "node": "out"}, "node", "reads no voltage"),
        ({"kind": "impedance_at", "frequencies": ["10 Hz"], "element": "M1"}, "element", "as the source sees it"),
    ],
)
def test_what_an_element_or_node_does_not_have_is_refused(measurement: Any, key: str, words: str) -> None:
    """It used to be a bound, NaN, or the number of another element."""
    spectrum = {"kind": "impedance", "lowest": "1 Hz", "highest": "1 kHz"}
    pulse = {"kind": "pulse", "amplitude": "1 V", "width": "1 ms", "relaxation": "1 ms"}
    protocol = spectrum if measurement["kind"] == "impedance_at" else pulse
    device = {"preset": "device_1s"}
    with pytest.raises(mcdev.ConfigError) as error:
        mcdev.build(table(device, NEURON, protocol, measurements={"m": measurement}))
    (problem,) = error.value.problems
    assert problem.key == f"measurements.m.{key}"
    assert words in str(problem)


def test_what_has_a_name_and_is_not_recorded_is_told_so() -> None:
    wired = {"kind": "series_resistor", "resistance": "1 kohm"}
    for place, name in (("element", "R1"), ("node", "out")):
        measurement = {"kind": "spike_count", "signal": "voltage" if place == "node" else "current", place: name}
        with pytest.raises(mcdev.ConfigError, match=r"is not recorded; write its name into circuit\.record"):
            mcdev.build(table(FROZEN, wired, hold("1 V", "1 s", 2), measurements={"m": measurement | {"threshold": 1}}))


def test_an_element_that_is_not_there_is_named() -> None:
    for place, word in (({"element": "M2"}, "M1"), ({"node": "x"}, "out")):
        with pytest.raises(mcdev.ConfigError, match=word):
            mcdev.build(
                table(
                    FROZEN,
                    {"kind": "network", "elements": GOOD},
                    hold("1 V", "1 s", 2),
                    measurements={"g": {"kind": "mean_conductance", **place}},
                )
            )
    assert reduced(measurements={"g": {"kind": "mean_conductance", "element": "M1"}}).circuit.memristors == ["M1"]
    with pytest.raises(mcdev.ConfigError, match="M1"):
        reduced(measurements={"g": {"kind": "mean_conductance", "element": "M2"}})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("0 s", "expected a time with its unit > 0 s, or 'auto'"),
        ("3 V", "expected a time with its unit > 0 s, or 'auto', but 'V' is a voltage"),
        ("atuo", "expected one of 'auto'; did you mean 'auto'?"),
    ],
)
def test_a_value_that_is_neither_a_quantity_nor_the_word_has_one_error(value: str, words: str) -> None:
    with pytest.raises(mcdev.ConfigError, match=re.escape(words)) as refused:
        mcdev.build(table(FROZEN, {"kind": "network", "elements": GOOD, "interval": value}, hold("1 V", "0.1 s", 4)))
    assert len(refused.value.problems) == 1


def test_a_quantity_of_all_elements_along_one_axis() -> None:
    """The first memristor's has no name of its own; of voltages the source's has none, and nodes follow."""
    elements = {
        "V1": {"kind": "voltage_source", "between": ["in", "0"]},
        "M1": {"kind": "memristor", "between": ["in", "mid"]},
        "M2": {"kind": "memristor", "between": ["mid", "0"]},
    }
    tree = run(FROZEN, {"kind": "network", "elements": elements}, hold("1 V", "0.1 s", 4))
    of_both = mcdev.by_element(tree, "response/conductance")
    assert (of_both.dims[0], of_both.element.values.tolist(), of_both.attrs["units"]) == ("element", ["M1", "M2"], "S")
    for name, stored in (("M1", "conductance"), ("M2", "conductance(M2)")):
        assert np.array_equal(of_both.sel(element=name), tree[f"response/{stored}"])
    assert mcdev.by_element(tree, "response/voltage").element.values.tolist() == ["source", "in", "mid"]
    for wrong, words in (("response/conductanse", "did you mean 'conductance'"), ("nowhere/x", "no such quantity")):
        with pytest.raises(mcdev.ResultsError, match=words):
            mcdev.by_element(tree, wrong)
