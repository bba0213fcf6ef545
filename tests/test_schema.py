"""Quantities and distributions: what a unit means, what is refused, and that what is written reads back exactly."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError
from scipy import stats
from scipy.constants import Boltzmann, electron_volt

import mcdev
from mcdev.schema import Lognormal, Normal, PerDevice, Uniform, Unit, converted, extremes, nearest, typical, units
from mcdev.schema.units import readable, unit_most_written, unit_written

pytestmark = pytest.mark.promise

UNITS = ("V", "V/s", "s", "Hz", "K", "eV", "S", "ohm", "A", "m", "rad")


def refusal(unit: PerDevice, value: Any) -> tuple[str, str]:
    """The key below the value that is blamed, and the sentence."""
    with pytest.raises(PydanticCustomError) as caught:
        unit.parse_drawn(value)
    context = caught.value.context or {}
    return context["key"], context["expected"] + context["remedy"]


@pytest.mark.parametrize(
    ("unit", "text", "si"),
    [
        ("V", "3.5 V", 3.5),
        ("V", "120 mV", 0.12),
        ("V", "-.5e+1V", -5.0),
        ("V", " +2.  volt ", 2.0),
        ("V/s", "150 mV/s", 0.15),
        ("V/s", "1 V/ms", 1000.0),
        ("s", "20.5 ms", 0.0205),
        ("s", "100 us", 1e-4),
        ("s", "100 µs", 1e-4),
        ("s", "2 min", 120.0),
        ("Hz", "5 kHz", 5000.0),
        ("Hz", "500 1/s", 500.0),
        ("K", "300 K", 300.0),
        ("K", "27 degC", 300.15),
        ("eV", "0.27 eV", 0.27 * electron_volt),
        ("eV", "1000 k_B*K", 1000 * Boltzmann),
        ("eV", "1 J", 1.0),
        ("S", "100 uS", 1e-4),
        ("S", "1 1/ohm", 1.0),
        ("ohm", "10 kohm", 1e4),
        ("ohm", "10 kΩ", 1e4),
        ("A", "100 nA", 1e-7),
        ("m", "7.5 nm", 7.5e-9),
        ("rad", "90 deg", math.pi / 2),
        ("rad", "0 rad", 0.0),
    ],
)
def test_value_in_si(unit: str, text: str, si: float) -> None:
    assert Unit(unit).parse(text) == pytest.approx(si, rel=1e-12, abs=0)


@pytest.mark.parametrize(("written", "unit", "said"), [
    ("200", "m", '"200 nm"'),
    (200, "m", '"200 nm"'),
    (1.5e-8, "m", '"1.5e-08 m"'),
    (1e-30, "m", '"15 nm"'),
    (-200, "m", '"15 nm"'),
    (5, "s", '"5 ms" or "5 s"'),
    (1e-3, "s", '"0.001 s"'),
    (10_000, "ohm", '"10000 ohm"'),
    (300, "K", '"300 K"'),
    (1e-4, "S", '"0.0001 S"'),
])  # fmt: skip
def test_a_forgotten_unit_is_answered_with_a_plausible_value(written: Any, unit: str, said: str) -> None:
    """Within three decades of the unit's example and within bounds; else the example itself."""
    _, sentence = refusal(PerDevice(unit, gt=0), written)
    assert sentence.endswith("its unit is missing; write it like " + said)
    for text in said.split(" or "):
        assert Unit(unit, gt=0).parse(text.strip('"')) > 0


def test_a_pure_number_is_itself() -> None:
    assert Unit("").parse(4) == 4.0
    assert Unit("").parse("62 %") == 0.62
    assert Unit("", gt=0, lt=1).parse(" 5e1% ") == 0.5
    assert PerDevice("").parse_drawn({"distribution": "normal", "mean": "10 %", "sd": 0.01}) == Normal(
        mean=0.1, sd=0.01
    )
    assert isinstance(Unit("").parse(4), float)
    assert Unit("").parse(-0.3) == -0.3


@pytest.mark.parametrize(
    ("unit", "value", "phrase"),
    [
        (PerDevice("V"), 3.5, 'write it like "3.5 V"'),
        (PerDevice("V"), "3.5", 'write it like "3.5 V"'),
        (PerDevice("V"), "3.5 s", "'s' is a time"),
        (PerDevice("V"), "3.5 kg", "'kg' is of another dimension"),
        (PerDevice("V"), "3.5 volty", "'volty' is no known unit"),
        (PerDevice("V"), "V", 'write it like "3.5 V"'),
        (PerDevice("V"), "", "a voltage with its unit"),
        (PerDevice("V"), "nan V", "a voltage"),
        (PerDevice("V"), "1e999 V", "finite"),
        (PerDevice("V"), "3,5 V", "a voltage"),
        (PerDevice("V"), True, "a voltage"),
        (PerDevice("V"), None, "a voltage"),
        (PerDevice("V"), ["3 V"], "a voltage"),
        pytest.param(PerDevice("V"), 10**400, "a voltage", id="endless"),
        (PerDevice("eV"), "300 K", "'K' is a temperature"),
        (PerDevice("s", gt=0), "0 s", "> 0 s"),
        (PerDevice("s", gt=0), "-3 ms", "> 0 s"),
        (PerDevice("s", ge=0), "-1 ns", "≥ 0 s"),
        (PerDevice("V", lt=1, ge=-1), "1000 mV", "≥ -1 V and < 1 V"),
        (PerDevice("eV", le=2), "3 eV", "≤ 2 eV"),
        (PerDevice(""), "3", "without quotes and without a unit"),
        (PerDevice(""), "0.62", "without quotes and without a unit"),
        (PerDevice(""), "x %", "without quotes and without a unit"),
        (PerDevice(""), "1e999 %", "finite"),
        (PerDevice("", lt=1), "120 %", "expected a number < 1"),
        (PerDevice("V"), "5 %", "'%' is no known unit"),
        (PerDevice(""), False, "a number"),
        (PerDevice(""), math.nan, "finite"),
        (PerDevice(""), -math.inf, "finite"),
        pytest.param(PerDevice(""), 10**400, "finite", id="endless number"),
        (PerDevice("", gt=0, lt=1), 1, "> 0 and < 1"),
    ],
)
def test_refused_with_what_to_write_instead(unit: Unit, value: Any, phrase: str) -> None:
    key, message = refusal(unit, value)
    assert not key
    assert message.startswith("expected ")
    assert phrase in message


@pytest.mark.parametrize("unit", ["m**9**9**9**9", "m**99999999", "(m)", "__import__('os')", "m+m", "m\x00"], ids=repr)
def test_arithmetic_in_a_unit_is_refused(unit: str) -> None:
    """pint evaluates expressions, and one like m**9**9**9**9 would never end."""
    assert "length" in refusal(PerDevice("m"), f"1 {unit}")[1]


def test_the_bounds_are_in_the_unit_as_written() -> None:
    assert Unit("eV", gt=0.1, lt=1).parse("0.5 eV") == pytest.approx(0.5 * electron_volt)
    assert Unit("s", ge=0).parse("0 s") == 0.0
    assert Unit("", le=1).parse(1) == 1.0


@settings(max_examples=200, deadline=None)
@given(value=st.floats(allow_nan=False, allow_infinity=False), unit=st.sampled_from(UNITS))
def test_what_is_written_parses_back_to_the_identical_float(value: float, unit: str) -> None:
    assert Unit(unit).parse(Unit(unit).write(value)) == value


def test_written_short_where_short_is_exact() -> None:
    assert Unit("V").write(0.12) == "0.12 V"
    assert Unit("eV").write(0.27 * electron_volt) == "0.27 eV"
    assert Unit("s").write(0.0205) == "0.0205 s"
    assert Unit("").write(0.2) == 0.2
    assert Unit("A").write(None) is None


# ---------------------------------------------------------------------------------- distributions

NORMAL = {"distribution": "normal", "mean": "300 K", "sd": "15 K", "low": "250 K", "high": "1000 K"}
LOGNORMAL = {"distribution": "lognormal", "median": "2 mV", "sigma": 0.3}
UNIFORM = {"distribution": "uniform", "low": "10 nm", "high": "20 nm"}


def test_parsed_into_si() -> None:
    assert PerDevice("K", gt=0).parse_drawn(NORMAL) == Normal(mean=300.0, sd=15.0, low=250.0, high=1000.0)
    assert PerDevice("V").parse_drawn(LOGNORMAL) == Lognormal(median_value=0.002, sigma=0.3)
    drawn = PerDevice("m").parse_drawn(UNIFORM)
    assert isinstance(drawn, Uniform)
    assert (drawn.low, drawn.high) == pytest.approx((1e-8, 2e-8), rel=1e-14)
    assert PerDevice("K").parse_drawn("3 K") == 3.0


@pytest.mark.parametrize(("unit", "table"), [("K", NORMAL), ("V", LOGNORMAL), ("m", UNIFORM)])
def test_distributions_read_back_equal(unit: str, table: dict[str, Any]) -> None:
    drawn = PerDevice(unit).parse_drawn(table)
    assert PerDevice(unit).parse_drawn(PerDevice(unit).write(drawn)) == drawn


def test_quantiles_of_each_law() -> None:
    u = np.linspace(0.01, 0.99, 9)
    np.testing.assert_allclose(Normal(mean=2.0, sd=0.5).quantile(u), 2 + 0.5 * stats.norm.ppf(u), rtol=1e-12)
    np.testing.assert_allclose(
        Lognormal(median_value=3.0, sigma=0.4).quantile(u), 3 * np.exp(0.4 * stats.norm.ppf(u)), rtol=1e-12
    )
    np.testing.assert_allclose(Uniform(low=-1.0, high=3.0).quantile(u), -1 + 4 * u, rtol=1e-12)


def test_truncation_cuts_and_renormalises() -> None:
    """Against scipy's truncated Gaussian, an independent formula; the ends are the bounds."""
    law = Normal(mean=1.0, sd=0.5, low=0.5, high=3.0)
    u = np.linspace(0, 1, 11)
    np.testing.assert_allclose(law.quantile(u), stats.truncnorm(-1.0, 4.0, 1.0, 0.5).ppf(u), rtol=1e-9)
    assert law.support == pytest.approx((0.5, 3.0))
    one_sided = Normal(mean=1.0, sd=0.5, low=0.5)
    np.testing.assert_allclose(one_sided.quantile(u), stats.truncnorm(-1.0, np.inf, 1.0, 0.5).ppf(u), rtol=1e-9)
    assert one_sided.median > 1.0


@pytest.mark.parametrize("far", [5.0, 9.0, 50.0, 1e4])
def test_a_bound_many_deviations_away_is_a_bound(far: float) -> None:
    """Where the Gaussian's share beyond it underflows: still met, and allowed."""
    law = Normal(mean=1.0, sd=0.5 / far, low=0.5, high=1.5)
    assert law.support == pytest.approx((0.5, 1.5), rel=1e-6)
    table = {"distribution": "normal", "mean": 1.0, "sd": 0.5 / far, "low": 0.5, "high": 1.5}
    assert PerDevice("", gt=0, le=2).parse_drawn(table) == law


def test_typical_and_extremes() -> None:
    assert typical(2.5) == 2.5
    assert extremes(2.5) == (2.5, 2.5)
    law = Normal(mean=10.0, sd=1.0)
    assert typical(law) == pytest.approx(10.0)
    assert extremes(law) == pytest.approx((10 - 3.719016, 10 + 3.719016), rel=1e-6)
    assert typical(Lognormal(median_value=3.0, sigma=0.4)) == pytest.approx(3.0)
    assert extremes(Uniform(low=0.0, high=1.0)) == pytest.approx((1e-4, 1 - 1e-4))


@pytest.mark.parametrize(
    ("table", "key", "phrase"),
    [
        ({}, "distribution", "'normal', 'lognormal', 'uniform'"),
        ({"distribution": "cauchy"}, "distribution", "'normal'"),
        ({"distribution": ["normal"]}, "distribution", "'normal'"),
        ({"distribution": {"normal": 1}}, "distribution", "'normal'"),
        ({"distribution": "normal", "mean": "1 K"}, "sd", "needs 'sd'"),
        ({"distribution": "normal", "mean": "1 K", "sd": "0 K"}, "sd", "> 0"),
        ({"distribution": "normal", "mean": "1 K", "sd": "-1 K"}, "sd", "> 0"),
        ({"distribution": "normal", "mean": "1 K", "sd": "1 V"}, "sd", "'V' is a voltage"),
        ({"distribution": "normal", "mean": 1, "sd": "1 K"}, "mean", 'write it like "1 K"'),
        ({"distribution": "normal", "mena": "1 K", "sd": "1 K"}, "mena", "did you mean 'mean'?"),
        ({"distribution": "lognormal", "median": "1 K", "sigma": "0.1 K"}, "sigma", "without a unit"),
        ({"distribution": "lognormal", "median": "0 K", "sigma": 0.1}, "median", "> 0"),
        ({"distribution": "lognormal", "median": "1 K", "sigma": 0}, "sigma", "> 0"),
        ({"distribution": "uniform", "low": "2 K", "high": "1 K"}, "low", "low < high"),
        ({"distribution": "uniform", "low": "2 K", "high": "2 K"}, "low", "low < high"),
        ({"distribution": "uniform", "low": "0 K"}, "high", "needs 'high'"),
        ({"distribution": "uniform", "low": "-1 K", "high": "1 K"}, "low", "reaches below"),
        ({"distribution": "uniform", "low": "1 K", "high": "6 K"}, "high", "reaches above"),
        ({"distribution": "normal", "mean": "2 K", "sd": "0.1 K", "high": "3 K"}, "low", "add low"),
        ({"distribution": "normal", "mean": "2 K", "sd": "0.1 K", "low": "1 K"}, "high", "add high"),
    ],
)
def test_distributions_refused(table: dict[str, Any], key: str, phrase: str) -> None:
    blamed, message = refusal(PerDevice("K", gt=0, le=5), table)
    assert blamed == key
    assert phrase in message


@pytest.mark.parametrize("bounds", [{"low": "100 K", "high": "101 K"}, {"low": "100 K"}, {"high": "1 mK"}])
def test_a_truncation_that_leaves_nothing_is_refused(bounds: dict[str, str]) -> None:
    table = {"distribution": "normal", "mean": "10 K", "sd": "0.1 K"} | bounds
    assert "leaves no probability" in refusal(PerDevice("K"), table)[1]


def test_nearest_names_the_closest_or_lists_all() -> None:
    assert nearest("frictoin", ["friction", "drift"]) == "did you mean 'friction'?"
    assert nearest("zzz", ["b", "a"]) == "known: a, b"


def test_a_number_in_another_unit() -> None:
    assert converted(5.0, "s", "ms") == pytest.approx(5000.0, rel=1e-15)
    assert converted(350.0, "K", "degC") == pytest.approx(76.85, rel=1e-12)
    assert converted(0.1, "mV", "mV") == 0.1
    assert converted(0.05, "", "%") == 5.0
    for unit, other, said in (
        ("s", "V", "'s' is a time, 'V' is a voltage"),
        ("", "V", "no unit and V do not measure the same"),
        ("%", "V", "% and V"),
        ("m**9**9", "m", "no known unit"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            converted(1.0, unit, other)


def test_a_copy_with_other_values_is_worked_out_anew() -> None:
    """Neither a timeline nor the device that sets the pace is carried over from the old values."""
    experiment = mcdev.load(Path(__file__).parents[1] / "configs" / "shin2022" / "fig4_turn_on.toml").points()[0][1]
    assert experiment.protocol.timeline().duration == pytest.approx(20)
    before = experiment.pace(3.0)
    changed = experiment.protocol.model_copy(update={"width": 99.0})
    assert changed.timeline().duration == pytest.approx(99)
    slower = experiment.device.model_copy(update={"capacitance": 2 * experiment.device.capacitance})
    assert experiment.model_copy(update={"device": slower}).pace(3.0).step == pytest.approx(2 * before.step)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0.0005 s", "500 µs"),
        ("0.5 s", "0.5 s"),
        ("5e-09 m", "5 nm"),
        ("0.12 F/m^2", "12 µF/cm²"),
        ("7.72e-09 S/m", "7.72e-11 S/cm"),
        ("12000 ohm", "12 kΩ"),
        ("300 K", "300 K"),
        ("device_p", "device_p"),
        ("3", "3"),
    ],
)
def test_quantities_are_read_in_usual_units(written: str, read: str) -> None:
    assert readable(written) == read


def test_a_unit_is_the_one_that_is_written() -> None:
    assert unit_written("F/m^2", None, "10 uF/cm^2") == "uF/cm^2"
    assert unit_written("F/m^2", {"P": "10 mF/m^2"}) == "mF/m^2"
    assert unit_written("K", "20 degC") == "K"  # whose zero is another
    assert unit_written("s", 3, "word") == "s"


def test_unit_that_most_quantities_are_written_in() -> None:
    assert unit_most_written("s", "50 ms", "0.2 s", "0.5 s") == "s"
    assert unit_most_written("s", "50 ms", "0.2 s") == "ms"  # of equally many the first
    assert unit_most_written("K", 3, "word") == "K"
    capacitance = Unit("F/m^2", gt=0, lt=2).written_in("uF/cm^2")
    assert capacitance.scale == pytest.approx(0.01)
    assert (capacitance.gt, capacitance.lt) == (0, pytest.approx(200))
    assert capacitance.parse("0.12 F/m^2") == pytest.approx(0.12)


def test_a_unit_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures and tables ask for the same few again and again."""
    known = units.scale_of("uF/cm^2")
    monkeypatch.setattr(units, "_units", lambda: pytest.fail("looked up again"))
    assert units.scale_of("uF/cm^2") == known == pytest.approx(0.01)
