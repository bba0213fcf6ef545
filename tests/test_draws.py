"""What devices are drawn from: the same device whatever the ensemble, correlations as asked for, own cycles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import reduced
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import mcdev
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import ConfigError
from mcdev.simulation.draws import draw_parameters, of_cycle

pytestmark = pytest.mark.promise

PULSE = {"kind": "pulse", "amplitude": "3 V", "width": "0.02 s", "relaxation": "0 s"}
MEASURED = {"mean": {"kind": "mean_conductance"}}
LAWS: dict[str, Any] = {
    "friction": {"distribution": "lognormal", "median": 4.0, "sigma": 0.2},
    "interfacial_energy": {"distribution": "lognormal", "median": 4.5, "sigma": 0.1},
    "interfacial_width": {"distribution": "uniform", "low": 0.09, "high": 0.11},
    "heating": {"distribution": "normal", "mean": 1.0, "sd": 0.1, "low": 0.5},
}
MATRIX = [[1.0, 0.8, -0.3], [0.8, 1.0, 0.1], [-0.3, 0.1, 1.0]]
N = 4096


def drawn(devices: int = N, **ensemble: Any) -> Experiment:
    return reduced(PULSE, MEASURED, {"devices": devices, **ensemble}, particles=6, **LAWS)


def scores(values: np.ndarray) -> np.ndarray:
    return stats.norm.ppf((stats.rankdata(values) - 0.5) / values.size)


def test_parameters_whose_names_begin_alike_are_independent() -> None:
    """interfacial_energy and interfacial_width: streams are named by whole names."""
    found = draw_parameters(drawn(), 0, N)
    pairs = np.corrcoef([scores(found[name]) for name in LAWS])
    assert np.max(np.abs(pairs - np.eye(len(LAWS)))) < 5 / np.sqrt(N)


def test_a_correlation_matrix_holds_between_normal_scores() -> None:
    names = ["friction", "interfacial_width", "heating"]
    found = draw_parameters(drawn(correlation={"parameters": names, "matrix": MATRIX}), 0, N)
    pairs = np.corrcoef([scores(found[name]) for name in names])
    error = 5 * (1 - np.array(MATRIX) ** 2) / np.sqrt(N) + 2e-3
    assert np.all(np.abs(pairs - MATRIX) < error)
    # and the distributions are as they were
    alone = draw_parameters(drawn(), 0, N)
    for name in names:
        assert stats.ks_2samp(found[name], alone[name]).pvalue > 1e-4
    np.testing.assert_array_equal(found["interfacial_energy"], alone["interfacial_energy"])


def test_one_factor_correlates_by_the_product_of_loadings() -> None:
    names = ["friction", "interfacial_energy"]
    found = draw_parameters(drawn(correlation={"parameters": names, "factor": [0.9, -0.5]}), 0, N)
    pair = np.corrcoef([np.log(found[name]) for name in names])[0, 1]
    assert pair == pytest.approx(-0.45, abs=5 * (1 - 0.45**2) / np.sqrt(N))


@pytest.mark.parametrize("sampling", ["random", "sobol"])
def test_device_i_is_the_same_whatever_is_drawn_with_it(sampling: str) -> None:
    correlation = {"parameters": ["friction", "heating"], "matrix": [[1, 0.5], [0.5, 1]]}
    experiment = drawn(sampling=sampling, correlation=correlation)
    whole, part = draw_parameters(experiment, 0, 1000), draw_parameters(experiment, 256, 512)
    for name in whole:
        np.testing.assert_array_equal(whole[name][256:512], part[name])


def test_sobol_fills_evenly() -> None:
    """The mean of 1024 quasi-random draws is nearer than a tenth of a random sample's standard error."""
    found = draw_parameters(drawn(sampling="sobol"), 0, 1024)
    gap = abs(np.log(found["friction"] / 4.0).mean())
    assert gap < 0.1 * 0.2 / np.sqrt(1024)


def test_cycles_change_by_the_factor_asked_for() -> None:
    experiment = drawn(cycle_to_cycle={"friction": 0.1})
    base = draw_parameters(experiment, 0, N)
    cycles = [of_cycle(experiment, base, 0, N, c) for c in range(3)]
    logs = np.array([np.log(c["friction"] / base["friction"]) for c in cycles])
    assert logs.std() == pytest.approx(0.1, rel=5 / np.sqrt(2 * logs.size))
    assert abs(logs.mean()) < 5 * 0.1 / np.sqrt(logs.size)
    assert np.max(np.abs(np.corrcoef(logs) - np.eye(3))) < 5 / np.sqrt(N)
    np.testing.assert_array_equal(cycles[0]["heating"], base["heating"])
    part = of_cycle(experiment, draw_parameters(experiment, 258, 300), 258, 42, 2)
    np.testing.assert_array_equal(part["friction"], cycles[2]["friction"][258:300])


def test_a_parameter_that_changes_from_cycle_to_cycle_changes_what_is_measured() -> None:
    """Conductance scales with G_max: with a C2C factor on it alone, readings of one device follow the factor."""
    ensemble: dict[str, Any] = {"devices": 8, "cycles": 4}
    fixed = mcdev.run(reduced(PULSE, MEASURED, ensemble, particles=6))
    ensemble["cycle_to_cycle"] = {"maximum_conductance": 0.3}
    experiment = reduced(PULSE, MEASURED, ensemble, particles=6)
    changed = mcdev.run(experiment)
    base = draw_parameters(experiment, 0, 8)
    factor = np.stack([of_cycle(experiment, base, 0, 8, c)["maximum_conductance"] for c in range(4)], axis=1)
    ratio = changed["measurements/mean/value"].values[0] / fixed["measurements/mean/value"].values[0]
    np.testing.assert_allclose(ratio, factor, rtol=1e-4)


def test_steps_suit_the_widest_cycle() -> None:
    calm, wild = drawn(), drawn(cycle_to_cycle={"cooling_rate": 0.5})
    assert wild.pace(3.0).step < 0.3 * calm.pace(3.0).step


@pytest.mark.parametrize(
    ("ensemble", "said"),
    [
        ({"correlation": {"parameters": ["friction", "drift"], "factor": [0.5, 0.5]}}, "has one value for all devices"),
        ({"correlation": {"parameters": ["friction", "frictoin"], "factor": [0.5, 0.5]}}, "did you mean 'friction'"),
        ({"correlation": {"parameters": ["friction", "friction"], "factor": [0.5, 0.5]}}, "different names"),
        ({"correlation": {"parameters": ["friction", "heating"]}}, "either matrix"),
        ({"correlation": {"parameters": ["friction", "heating"], "factor": [0.5, 1.0]}}, "between -1 and 1"),
        ({"correlation": {"parameters": ["friction", "heating"], "matrix": [[1, 0.5]]}}, "2 rows of 2"),
        ({"correlation": {"parameters": ["friction", "heating"], "matrix": [[1, 0.5], [0.4, 1]]}}, "symmetric"),
        ({"correlation": {"parameters": ["friction", "heating"], "matrix": [[1, 1.2], [1.2, 1]]}}, "positive definite"),
        ({"cycle_to_cycle": {"frictoin": 0.1}}, "did you mean 'friction'"),
        ({"cycle_to_cycle": {"friction": -0.1}}, "cycle_to_cycle"),
        ({"cycle_to_cycle": {"pinning_phase": 0.1}}, "positive"),
        ({"sampling": "halton"}, "sampling"),
    ],
)
def test_what_cannot_be_drawn_is_said(ensemble: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        drawn(**ensemble)


@given(st.lists(st.floats(-1.5, 1.5), min_size=3, max_size=3))
def test_any_matrix_is_used_or_refused(entries: list[float]) -> None:
    a, b, c = entries
    matrix = [[1.0, a, b], [a, 1.0, c], [b, c, 1.0]]
    names = ["friction", "interfacial_width", "heating"]
    correlation = {"parameters": names, "matrix": matrix}
    if np.linalg.eigvalsh(np.array(matrix))[0] < 1e-9:
        with pytest.raises(ConfigError, match=r"ensemble\.correlation\.matrix"):
            drawn(64, correlation=correlation)
        return
    found = draw_parameters(drawn(64, correlation=correlation), 0, 64)
    assert all(np.all(np.isfinite(found[name])) for name in names)
