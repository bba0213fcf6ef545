"""What the exporter prints of a device's own functions, against these functions: the house's devices and a user's."""

from __future__ import annotations

import functools
import math
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import lane_keys
from test_export import in_python
from test_export_pair import alone
from test_one_state import DRIFT, VOLATILE

from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import ConfigError
from mcdev.devices.contract import CurrentLaw, DeviceConfig, LaneKey, PerLane, RateEquations, per_lane
from mcdev.devices.one_state import OneState, OneStateDevices
from mcdev.export import Model, model_of, module, ngspice, subcircuit
from mcdev.export.expressions import FAR, Expression, Expressions, text
from mcdev.export.jaxpr import UnprintableError, formulas
from mcdev.export.laws import Laws, laws_of
from mcdev.export.model import SHUNT
from mcdev.integrators.interval import Interval
from mcdev.schema import Drawn, PerDevice, typical

HOLD = {"kind": "hold", "duration": "1 s"}


class Switch(OneState):
    """An insulator that a voltage turns into a metal, for a while."""

    kind: Literal["switch"] = "switch"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    critical_voltage: Annotated[Drawn, PerDevice("V", gt=0)]
    """V_c, at which half of it turns."""
    sharpness: Annotated[Drawn, PerDevice("V", gt=0)]
    """s, over how many volts it turns."""
    turning_rate: Annotated[Drawn, PerDevice("Hz", gt=0)]
    """k."""
    saturation: Annotated[Drawn, PerDevice("A", gt=0)]
    """I_s, of the junction in series with it."""
    metal: Annotated[Drawn, PerDevice("S", gt=0)]
    """G, of the metal."""
    residue: Annotated[Drawn, PerDevice("", gt=0, lt=1)]
    """x_0, what is metal at rest."""

    def fastest(self, voltage: float) -> float:
        return 2.0 * typical(self.turning_rate)

    def build(self, draws: dict[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any) -> SwitchDevices:
        parameters = {name: per_lane(value, dtype) for name, value in draws.items()}
        return SwitchDevices(parameters, self.integrator.tolerance)


class Junction(CurrentLaw):
    conductance: PerLane
    saturation: PerLane

    def current(self, voltage: PerLane) -> PerLane:
        diode = self.saturation * jnp.sign(voltage) * jnp.expm1(jnp.abs(voltage) / 0.3)
        return self.conductance * voltage + diode

    def chord(self, voltage: PerLane) -> PerLane:
        safe = jnp.where(jnp.abs(voltage) < 1e-6, 1e-6, voltage)
        return self.current(safe) / safe


class SwitchDevices(OneStateDevices):
    def rest(self, key: LaneKey) -> PerLane:
        return self.parameters["residue"]

    def current_law(self, state: PerLane) -> Junction:
        return Junction(self.parameters["metal"] * jnp.sqrt(state) ** 3, self.parameters["saturation"])

    def drift(self, x: PerLane, voltage: PerLane) -> PerLane:
        p = self.parameters
        turned = jax.nn.sigmoid((jnp.abs(voltage) - p["critical_voltage"]) / p["sharpness"])
        target = p["residue"] + (1.0 - p["residue"]) * turned**1.5
        pull = jnp.where((x < 0.5) & (target > 0.5), 1.0 + x**2, jnp.cosh(x) * jnp.logaddexp(x, 0.3))
        return p["turning_rate"] * pull * jnp.tanh(target - x)


TABLE: dict[str, Any] = {
    "critical_voltage": "1.2 V",
    "sharpness": "0.1 V",
    "turning_rate": "500 Hz",
    "saturation": "2 nA",
    "metal": "1 mS",
    "residue": 0.02,
}
SWITCH = Switch(**TABLE)


def with_device(device: DeviceConfig) -> Experiment:
    return alone(VOLATILE, HOLD).model_copy(update={"device": device})


def of_house(table: dict[str, Any]) -> DeviceConfig:
    return alone(table, HOLD).device


DEVICES = {
    "drift": of_house(DRIFT),
    "volatile": of_house(VOLATILE),
    "organic": of_house({"preset": "device_1s"}),
    "organic, either polarity": of_house({"preset": "device_2s", "facilitation": "either_polarity"}),
    "a user's own": SWITCH,
}
"""Every device that the printer takes."""


class Points:
    """States and voltages at random, and what JAX makes of them."""

    def __init__(self, device: DeviceConfig, count: int) -> None:
        equations = device.rate_equations
        assert isinstance(equations, RateEquations)
        random = np.random.default_rng(11)
        self.voltage = random.uniform(-4.0, 4.0, count)
        bounds = [
            (-1.0 if s.least is None else s.least, 3.0 if s.most is None else s.most) for s in equations.states.values()
        ]
        self.states = {n: random.uniform(*b, count) for n, b in zip(equations.states, bounds, strict=True)}
        draws = {n: np.full(count, typical(getattr(device, n))) for n in type(device).parameters()}
        with jax.enable_x64(True):
            self.devices = device.build(draws, 1, np.arange(count), np.float64)
            shape = jax.tree.structure(self.devices.rest(lane_keys(count)))
            self.state = jax.tree.unflatten(shape, [jnp.asarray(x) for x in self.states.values()])
            at = (self.devices, self.state, jnp.asarray(self.voltage))
            rates = jax.tree.leaves(jax.jit(equations.rate)(*at))
            self.rates = dict(zip(self.states, map(np.asarray, rates), strict=True))
            self.current = np.asarray(jax.jit(lambda d, s, v: d.current_law(s).current(v))(*at))


@functools.cache
def points_of(name: str) -> Points:
    return Points(DEVICES[name], 40)


@functools.cache
def model_named(name: str) -> Model:
    return model(DEVICES[name])


def model(device: DeviceConfig) -> Model:
    return model_of(with_device(device), "dut", "a test")


@pytest.mark.parametrize("name", DEVICES)
def test_verilog_a_is_what_jax_computes(name: str) -> None:
    points, text = points_of(name), module(model_named(name))
    for i, v in enumerate(points.voltage):
        found = in_python(text, {"pn": v} | {state: x[i] for state, x in points.states.items()})
        for state, rate in points.rates.items():
            assert found[f"<V({state})>"] == pytest.approx(rate[i], rel=1e-9, abs=1e-9 * np.abs(rate).max())
        assert found["<I(p, n)>"] == pytest.approx(points.current[i] + v / SHUNT, rel=1e-9)


@pytest.mark.ngspice
@pytest.mark.parametrize("name", DEVICES)
def test_spice_is_what_jax_computes(name: str) -> None:
    """The subcircuit's nodes are held at each point in turn, and its rates and current read."""
    points, own = points_of(name), model_named(name)
    assert isinstance(own.laws, Laws)
    held = {"a": points.voltage} | {f"x1.{state}": x for state, x in points.states.items()}
    lines = [subcircuit(own), "X1 a 0 dut"]
    for i, (node, series) in enumerate(held.items()):
        steps = " ".join(f"{k} {x!r} {k + 0.9} {x!r}" for k, x in enumerate(series.tolist()))
        lines.append(f"V{i} {node} 0 PWL({steps})")
    vectors = ["i(v0)", *(f"v(x1.d{state})" for state in points.states)]
    found = ngspice.waves("\n".join(lines), vectors, f".tran 0.1 {len(points.voltage)} 0 0.1 uic")
    at = np.searchsorted(found["time"], np.arange(len(points.voltage)) + 0.8)
    assert -found["i(v0)"][at] == pytest.approx(points.current, rel=1e-6, abs=1e-13)
    for state in own.laws.states:
        rate = found[f"v(x1.d{state.name})"][at] / state.time
        assert rate == pytest.approx(points.rates[state.name], rel=1e-6, abs=1e-6 * np.abs(rate).max())


@pytest.mark.parametrize("name", DEVICES)
def test_the_rate_is_the_one_that_the_ensemble_follows(name: str) -> None:
    points = points_of(name)
    with jax.enable_x64(True):
        step = 1e-6 / max(np.abs(rate).max() for rate in points.rates.values())
        interval = Interval.alike(0.5 * step, jnp.uint32(1), 40)
        clock, voltage = jnp.zeros(40, jnp.uint32), jnp.asarray(points.voltage)
        after = points.devices.advance(points.state, voltage, 0.0 * voltage, interval, lane_keys(40), clock)
        for x, y, rate in zip(
            jax.tree.leaves(points.state), jax.tree.leaves(after), points.rates.values(), strict=True
        ):
            assert (y - x) / step == pytest.approx(rate, rel=1e-5, abs=1e-5 * np.abs(rate).max())


# -------------------------------------------------------------------------------------- a user's own device


LEVELS, SPAN, EACH = (1.6, 0.3, -1.4, 1.0, 1.25, 0.1), 4e-3, 50  # V, s, points


def stepped(device: DeviceConfig) -> np.ndarray:
    """Current at the end of each of EACH equal times at each of LEVELS, by the ensemble's own advance and law."""
    with jax.enable_x64(True):
        draws = {n: np.array([typical(getattr(device, n))]) for n in type(device).parameters()}
        devices = device.build(draws, 1, np.arange(1), np.float64)
        key, clock = lane_keys(1), jnp.zeros(1, jnp.uint32)
        interval = Interval.alike(0.5 * SPAN / EACH, jnp.uint32(1), 1)

        def go(state: Any, volts: Any) -> tuple[Any, Any]:
            voltage = jnp.full(1, volts)
            state = devices.advance(state, voltage, 0.0 * voltage, interval, key, clock)
            return state, devices.current_law(state).current(voltage)[0]

        return np.asarray(jax.lax.scan(go, devices.rest(key), jnp.repeat(jnp.asarray(LEVELS), EACH))[1])


@pytest.mark.ngspice
def test_ngspice_follows_a_device_of_somebody_else() -> None:
    """Defined in this file, with not a line in the exporter: a trace within 0.02 % of its peak."""
    ours, own = stepped(SWITCH), subcircuit(model(SWITCH))
    steps = " ".join(f"{k * SPAN + 1e-9 * (k > 0)} {v} {(k + 1) * SPAN} {v}" for k, v in enumerate(LEVELS))
    ends = np.arange(1, ours.size + 1) * SPAN / EACH

    def off(text: str) -> float:
        circuit = f"{text}\nVin a 0 PWL({steps})\nX1 a 0 dut"
        times, waves = ngspice.transient(circuit, ["i(vin)"], len(LEVELS) * SPAN, 2e-5)
        theirs = -np.interp(ends, times, waves["i(vin)"])
        return float(np.sqrt(np.mean((theirs - ours) ** 2)) / np.abs(ours).max())

    assert off(own) < 2e-4
    wrong = own.replace("+ turning_rate=500.0\n", "+ turning_rate=510.0\n")
    assert wrong != own
    assert off(wrong) > 2e-4


def test_the_header_says_what_a_family_says_of_itself() -> None:
    header = " ".join(model(SWITCH).header)
    assert "dut: An insulator that a voltage turns into a metal, for a while (mcdev family switch)" in header
    assert "State on node x: a number between 0 and 1" in header
    organic = " ".join(model_named("organic").header)
    assert "Without effect here, and kept so that a device can be given whole: area, relative_permittivity." in organic
    assert "C dq/dt = (sigma/L) V_0 sinh{[(V - u)/V_0]_3}" in organic
    assert "I = I_0 G(V) [1 + z/n]_+^n" in organic
    assert "Nothing moves x at rest" in " ".join(model_named("drift").header)


class ErrorFunction(SwitchDevices):
    def drift(self, x: PerLane, voltage: PerLane) -> PerLane:
        return jax.scipy.special.erf(voltage) - x


class Sum(SwitchDevices):
    def current_law(self, state: PerLane) -> Junction:
        return Junction(jnp.cumsum(state), self.parameters["saturation"])


class Branch(SwitchDevices):
    def drift(self, x: PerLane, voltage: PerLane) -> PerLane:
        return x if voltage[0] > 0 else -x


class Endless(SwitchDevices):
    def drift(self, x: PerLane, voltage: PerLane) -> PerLane:
        return jnp.where(voltage > 1.0, jnp.inf, -x)


class Grown(SwitchDevices):
    def drift(self, x: PerLane, voltage: PerLane) -> PerLane:
        for _ in range(20):
            x = x * x - 0.5 * x
        return x


class Deep(SwitchDevices):
    def drift(self, x: PerLane, voltage: PerLane) -> PerLane:
        for _ in range(2000):
            x = 1.0 - x
        return x


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (ErrorFunction, "cannot be exported; its law uses erf, which has no text in a circuit simulator"),
        (Sum, "cannot be exported; its law uses cumsum, which has no text"),
        (Branch, "may use operators and jax.numpy: Attempted boolean conversion of traced array"),
        (Endless, "its law uses a constant that is no finite number"),
        (Grown, "its law uses a formula of more than 20000 operations"),
        (Deep, "or of more than 200 in each other"),
    ],
)
def test_a_law_without_a_text_is_refused_by_name(devices: type[SwitchDevices], expected: str) -> None:
    class Other(Switch):
        def build(self, draws: Any, seed: int, indices: np.ndarray, dtype: Any) -> SwitchDevices:
            return devices({k: jnp.asarray(v, dtype) for k, v in draws.items()}, 1e-6)

    with pytest.raises(ConfigError) as refused:
        laws_of(Other(**TABLE), "device")
    (problem,) = refused.value.problems
    assert (problem.key, problem.value) == ("device.kind", "switch")
    assert expected in problem.message
    assert "\n" not in problem.message


def test_a_family_says_why_it_has_no_equations() -> None:
    class Other(Switch):
        @property
        def rate_equations(self) -> str:
            return "a reason"

    with pytest.raises(ConfigError, match="cannot be exported; a reason"):
        laws_of(Other(**TABLE), "device")


def test_a_parameter_that_a_language_reads_otherwise_is_refused_by_that_language() -> None:
    class Other(Switch):
        delay: Annotated[Drawn, PerDevice("s", gt=0)]

    own = model(Other(**TABLE, delay="1 s"))
    assert "+ delay=1.0\n" in subcircuit(own)
    with pytest.raises(ConfigError, match=r"delay.*is a word of verilog-a"):
        module(own)


# -------------------------------------------------------------------------------------- the rules


FUNCTIONS = {name: getattr(math, name) for name in ("exp", "sinh", "cosh", "tanh", "sqrt", "sin", "cos")}
FUNCTIONS |= {"ln": math.log, "min": min, "max": max, "pow": pow}


def value(e: Expression, x: float) -> float:
    """A formula of x, choice by choice: the branch that is not taken is not computed, as in both languages."""
    if e.operation == "? :":
        comparison, then, other = e.operands
        return value(then if eval(_python(comparison, x)) else other, x)
    return float(eval(_python(e, x), {}, FUNCTIONS)) if e.operands else float(x if e.operation == "state" else e.value)


def _python(e: Expression, x: float) -> str:
    if e.operation not in "+-*/<<===":
        return f"{e.operation}({', '.join(repr(value(operand, x)) for operand in e.operands)})"
    left, right = (repr(value(operand, x)) for operand in e.operands)
    return f"({left}) {e.operation} ({right})"


def printed(function: Any) -> Expression:
    make = Expressions()
    return formulas(make, lambda x: [function(x)], [make.name("state", "x")])[0]


E80 = math.exp(FAR)


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (jnp.exp, 80.0, E80),
        (jnp.exp, 100.0, 21 * E80),
        (jnp.exp, -1e6, 0.0),
        (jnp.sinh, -100.0, -10.5 * E80),
        (jnp.cosh, 100.0, 10.5 * E80),
        (jnp.expm1, 1e-12, math.expm1(1e-12)),
        (jnp.expm1, -200.0, -1.0),
        (jax.nn.sigmoid, -1e5, 0.0),
        (jax.nn.sigmoid, 1e5, 1.0),
        (jax.nn.softplus, 1e5, 1e5),
        (jax.nn.softplus, -1e5, 0.0),
        (jnp.log, -1.0, math.log(1e-300)),
        (jnp.sqrt, -1.0, 0.0),
        (lambda x: x**2.5, -1.0, 0.0),
        (lambda x: x**2.5, 1.7, 1.7**2.5),
        (lambda x: x**20.5, 1e200, 1e15**20.5),
        (lambda x: jnp.exp(2.5 * jnp.log(x)), 1.7, 1.7**2.5),
        (lambda x: x**-3, -1.7, -(1.7**-3)),
        (lambda x: x**7, 1.1, 1.1**7),
        (lambda x: 2.0**x, 3.0, 8.0),
        (jnp.sign, 0.0, 0.0),
        (jnp.sign, -2.0, -1.0),
        (lambda x: jnp.where(~((x > 1) | (x <= -1)) & (x != 0.5), 2.0 * x, -x), 0.5, -0.5),
        (lambda x: jnp.where(~((x > 1) | (x <= -1)) & (x != 0.5), 2.0 * x, -x), 1.0, 2.0),
        (lambda x: jnp.where(~((x > 1) | (x <= -1)) & (x != 0.5), 2.0 * x, -x), -1.0, 1.0),
        (lambda x: jnp.clip(x, -1.0, 2.0), 5.0, 2.0),
        (lambda x: jnp.where(jnp.isnan(x), 1.0, jax.lax.stop_gradient(x)), 5.0, 5.0),
        (lambda x: (x > 2).astype(float) * jax.lax.rsqrt(x) + jnp.square(x), 4.0, 16.5),
    ],
)
def test_no_number_overflows_and_none_is_lost(function: Any, x: float, expected: float) -> None:
    assert value(printed(function), x) == pytest.approx(expected, rel=1e-12)


def test_a_rule_is_left_out_where_numbers_cannot_go_that_far() -> None:
    def written(function: Any) -> str:
        return text(printed(function), lambda _: None)

    assert written(lambda x: jnp.exp(-jnp.abs(x))) == "exp((-(x < 0.0 ? (-x) : x)))"
    assert written(lambda x: jnp.exp(jnp.tanh(x))) == "exp(tanh(x))"
    assert written(jnp.exp) == "exp(min(80.0, x))*(1.0 + max(0.0, x - 80.0))"
    assert written(lambda x: jnp.log(1.0 + x * x)) == "ln(1.0 + x*x)"
    assert written(lambda x: (x - 1.0) - (2.0 - x) / (x * 3.0)) == "x - 1.0 - (2.0 - x)/(x*3.0)"
    assert written(lambda x: jnp.exp(-0.5 * jnp.log1p(jnp.tanh(x) ** 2))) == "pow(1.0 + tanh(x)*tanh(x), (-0.5))"
    twice = "(0.0 < x ? ln(max(1e-300, x)) : 0.0)"
    assert written(lambda x: jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1.0)), 0.0)) == twice


def test_arrays_and_whole_numbers_are_no_formulas() -> None:
    with pytest.raises(UnprintableError, match="broadcast_in_dim, to an array"):
        printed(lambda x: jnp.broadcast_to(x, (3,)).sum())
    with pytest.raises(UnprintableError, match="a constant array of 3 numbers"):
        printed(lambda x: (x * np.arange(3.0))[0])
    with pytest.raises(UnprintableError, match="convert_element_type, to a number of type int"):
        printed(lambda x: x.astype(int) * x)
    with pytest.raises(UnprintableError, match="floor"):
        printed(jnp.floor)


class Unbounded(Switch):
    """The same, of which nothing says where its state stays."""

    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)


def test_a_current_follows_a_state_that_has_no_bounds() -> None:
    """Wherever the state goes: it is held to 0 and 1 only where the family says that the state stays there."""
    written = SWITCH.model_dump(mode="json")
    held, free = (module(model(kind.model_validate(written))) for kind in (Switch, Unbounded))

    def current(text: str, x: float) -> float:
        (name,) = (n for n in in_python(text, {"pn": 0.3, "x": x}) if n.startswith("<I(p"))
        return float(in_python(text, {"pn": 0.3, "x": x})[name])

    assert current(held, 0.7) == current(free, 0.7)
    assert current(held, 1.5) == current(held, 1.0)
    assert current(free, 1.5) > current(free, 1.0)
