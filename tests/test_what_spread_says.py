"""Statistics that a reader takes rightly: rounding is no spread, a spread is named after what it can contain, and a
mean says of how many observations it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from test_statistics import made

import mcdev
from mcdev.figures.axes import counted, mean_label
from mcdev.interface.terminal import with_error
from mcdev.measurements.contract import OK, RIGHT_CENSORED
from mcdev.simulation.rounding import resolved, rounding, settled
from mcdev.statistics import contents, long_table, make_card, summarise
from mcdev.statistics.components import variance_components
from mcdev.statistics.correlation import correlate
from mcdev.statistics.readings import readings
from mcdev.statistics.screen import screens

pytestmark = pytest.mark.usefixtures("unpolished")

ODD = 3.334812939751995664
"""A number of which the mean of 60 is not the number itself."""


def results(tau: np.ndarray, status: np.ndarray | None = None) -> xr.DataTree:
    """tau and g = 2 tau [device, cycle], the same at both sweep points."""
    both = np.stack([tau, tau])
    status = np.zeros(both.shape) if status is None else np.stack([status, status])
    g = np.repeat(2 * both[..., None], 3, axis=-1)
    cycles = tau.shape[1]
    return made(
        {"tau": both, "g": g},
        {"tau": status, "g": np.zeros(g.shape)},
        {"tau": np.full((2, cycles, 17), ODD) * (1 + 1e-16 * np.arange(17)), "g": np.ones((2, cycles, 17, 3))},
    )


# ---------------------------------------------------------------------------------- rounding


@pytest.mark.parametrize("cycles", [1, 3])
def test_identical_devices_have_no_spread(cycles: int) -> None:
    """Bit by bit the same, or up to a unit in the last place: every spread and every error is exactly zero, in the
    records, the card and the text."""
    same = np.full((61, cycles), ODD)
    for tau in (same, np.nextafter(same, np.where(np.arange(61) % 3 == 0, 9.0, 0.0)[:, None])):
        tree = results(tau)
        record = summarise(tree)[0]
        spreads = ["sem", "sd", "cv", "mean_response_sem", "total_sd", "cv_total", "sigma_ln_total"]
        spreads += ["between_sd", "within_sd"] if cycles > 1 else []
        assert {name: record[name] for name in spreads} == dict.fromkeys(spreads, 0.0)
        assert record["mean"] == pytest.approx(ODD, rel=1e-15)
        assert make_card(tree).points[0].quantities["tau"].family == "constant"
        assert with_error(record["mean"], record["sem"]) == "3.335 ± 0"
        assert all(np.isnan(level.pearson[0, 1]) for level in correlate([r for r in readings(tree) if r.index == 0]))


def test_a_spread_just_beyond_rounding_is_one() -> None:
    """A hundred units in the last place of the run's precision are no rounding."""
    for precision in ("float64", "float32"):
        tau = ODD * (1 + 100 * float(np.finfo(precision).eps) * (np.arange(20) % 2))[:, None]
        tree = results(tau)
        tree.attrs["precision"] = precision
        record = summarise(tree)[0]
        assert record["sd"] == pytest.approx(np.std(tau, ddof=1), rel=1e-3, abs=0)
        assert not with_error(record["mean"], record["sem"]).endswith("± 0")


def test_rounding_is_that_of_the_precision() -> None:
    x = np.array([[1.0, 1.0 + 2e-7], [2.0, 2.0]])
    use = np.ones(x.shape, bool)
    assert (settled(x, use, "float32")[0] == 1.0).all()
    assert (settled(x, use, "float64") == x).all()
    assert (settled(x, use, "float32")[1] == 2.0).all(), "devices that differ stay apart"
    assert resolved(1e-17, 3.0) == 0.0
    assert resolved(1e-7, 3.0) == 1e-7
    assert rounding("float32") < 1e-6


def test_devices_that_repeat_themselves_have_no_c2c() -> None:
    """Seven equal cycles of each of three devices."""
    x = np.repeat(np.array([[0.1], [0.3], [0.7]]) / 3, 7, axis=1)
    assert variance_components(x, np.ones(x.shape, bool)).within.value == 0.0


# ---------------------------------------------------------------------------------- what it contains


def of(cycles: int = 1, differ: bool = False, device: dict[str, Any] | None = None, **ensemble: Any) -> xr.DataTree:
    """Results of a configuration that was never run; ``differ``: a parameter was drawn apart."""
    tree = results(np.random.default_rng(1).lognormal(size=(6, cycles)))
    given = {
        "name": "t",
        "device": device or {"preset": "wang2017_reduced"},
        "protocol": {"kind": "hold", "duration": "1 s"},
        "measurements": {"g": {"kind": "mean_conductance"}},
        "ensemble": {"devices": 6, "cycles": cycles} | ensemble,
        "sweep": {"axes": {"protocol.duration": ["1 s", "2 s"]}},
    }
    tree["config"]["toml"] = xr.Variable((), mcdev.build(given).to_toml())
    if differ:
        tree["parameters"]["friction"][:] = np.arange(6.0) + 1
    return tree


DISORDER = {"preset": "wang2017_reduced", "pinning_disorder": {"period_sigma": 0.1}}


@pytest.mark.parametrize(
    ("given", "name", "words"),
    [
        ({}, "thermal", "thermal motion, not device to device"),
        ({"differ": True}, "total", "the total of D2D and of thermal motion"),
        ({"device": DISORDER}, "total", "the total of D2D"),
        ({"cycle_to_cycle": {"friction": 0.1}}, "C2C", "thermal motion and changes from cycle to cycle"),
        ({"cycles": 2}, "D2D", "D2D is what chance leaves"),
        ({"cycles": 2, "differ": True}, "D2D", "device to device (D2D) and cycle to cycle (C2C) apart"),
        ({"device": {"preset": "device_p"}, "differ": True}, "D2D", "nothing else differs"),
        ({"device": {"preset": "device_p"}}, "none", "nothing differs"),
    ],
)
def test_a_spread_is_named_after_what_it_contains(given: dict[str, Any], name: str, words: str) -> None:
    """In the terminal's tables, the correlations, the long table and the card."""
    tree = of(**given)
    found = contents(tree, 0)
    assert found.name == name
    assert words in found.words
    levels = correlate([r for r in readings(tree) if r.index == 0])
    assert [level.level for level in levels] == [name] + (["C2C"] if given.get("cycles") else [])
    assert make_card(tree).points[0].contains == found.words
    statistics = {row["statistic"] for row in long_table(tree, summarise(tree))}
    assert f"pearson_ln_{name.lower()}" in statistics
    shown = screens(tree, summarise(tree))
    assert found.words in str(shown[0].caption)
    assert any(name in str(column.header) for column in shown[0].columns)
    assert any(f"correlations {name}" in str(table.title) for table in shown)


# ---------------------------------------------------------------------------------- of how many


def censored() -> xr.DataTree:
    """46 of 64 devices did not get there."""
    tau = np.random.default_rng(1).lognormal(size=(64, 1))
    status = np.where(np.arange(64) < 46, RIGHT_CENSORED, OK)[:, None]
    return results(tau, status)


def test_a_mean_says_of_how_many_it_is() -> None:
    tree = censored()
    row = summarise(tree)[0]
    assert counted([row]) == " (18 of 64, 46 censored)"
    assert counted([row, row | {"n_ok": 20, "n_censored": 44}]) == " (18–20 of 64, 44–46 censored)"
    assert counted([row | {"n_ok": 64, "n_censored": 0}]) == ""
    assert mean_label(tree) == "mean of 64"
    tree["realisations"]["intact"][0, :2, 0] = 0
    assert mean_label(tree) == "mean of 62 of 64", "those that broke down are not in the mean course"


def test_the_long_table_says_of_how_many_each_number_is() -> None:
    tree = censored()
    rows = [r for r in long_table(tree, summarise(tree)) if r["measurement"] == "tau"]
    n = {row["statistic"]: row["n"] for row in rows}
    assert (n["mean"], n["sd"], n["total_sd"]) == (18, 18, 18)
    assert (n["q05"], n["lognormal_sigma"], n["n_right"]) == (64, 64, 64)
