"""Devices drawn from a model card have the card's own numbers, whatever populations it was made of, and none is outside
what the quantity can be; where drawn devices differ, the card says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from conftest import Ended
from test_statistics import made

import mcdev.statistics.card_of_run
from mcdev.statistics import Card, make_card, read_card, to_toml
from mcdev.statistics.draw import resample

DRAWN, STUCK, FACTOR = 4000, 0.1, 30.0


def tree_of(tau: np.ndarray, g: np.ndarray) -> xr.DataTree:
    """Results of two measurements [device, cycle], the same at both sweep points."""
    both = np.stack([tau, tau]), np.repeat(np.stack([g, g])[..., None], 3, axis=-1)
    cycles = tau.shape[1]
    return made(
        {"tau": both[0], "g": both[1]},
        {"tau": np.zeros(both[0].shape), "g": np.zeros(both[1].shape)},
        {"tau": np.ones((2, cycles, 3)), "g": np.ones((2, cycles, 3, 3))},
    )


def populations(
    stuck: float = STUCK, devices: int = 200, cycles: int = 10, within: tuple[float, float] = (0.2, 0.2)
) -> xr.DataTree:
    """tau with a tenth of the devices stuck at thirty times the rest in every cycle, and a conductance that is as many
    times smaller in them; both spread by 0.1 between the devices of a population."""
    draw = np.random.default_rng(3)
    is_stuck = draw.permutation(np.arange(devices) < round(stuck * devices))[:, None]
    own = draw.standard_normal((2, devices, 1))
    noise = draw.standard_normal((2, devices, cycles))
    ln_tau = 0.1 * own[0] + np.log(FACTOR) * is_stuck + np.where(is_stuck, within[1], within[0]) * noise[0]
    ln_g = 0.1 * (0.6 * own[0] + 0.8 * own[1]) - np.log(FACTOR) * is_stuck + 0.1 * (0.5 * noise[0] + 0.8 * noise[1])
    return tree_of(np.exp(ln_tau), np.exp(ln_g))


def numbers_of(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Spreads of ln x between and within devices, by the expectations of the mean squares, and Pearson's correlations
    with ln y of the devices' means and of the deviations from them; [device, cycle]."""
    a, b = np.log(x), np.log(y)
    cycles = a.shape[1]
    found = {"pearson means": float(np.corrcoef(a.mean(axis=1), b.mean(axis=1))[0, 1])}
    if cycles == 1:
        return found | {"total": float(a.std(ddof=1))}
    rest_a, rest_b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    square = float((rest_a**2).sum()) / (a.shape[0] * (cycles - 1))
    found["pearson deviations"] = float(np.corrcoef(rest_a.ravel(), rest_b.ravel())[0, 1])
    found["within"] = float(np.sqrt(square))
    found["between"] = float(np.sqrt(a.mean(axis=1).var(ddof=1) - square / cycles))
    return found


def drawn_from(card: Card, devices: int = DRAWN) -> dict[str, np.ndarray]:
    return resample(card.points[0], devices, np.random.default_rng(11))


@pytest.mark.parametrize(
    "planted",
    [
        pytest.param({"stuck": 0.0}, id="one population"),
        pytest.param({}, id="two populations"),
        pytest.param({"stuck": 0.5, "devices": 60}, id="halves"),
        pytest.param({"within": (0.2, 0.02)}, id="stuck ones are quiet"),
        pytest.param({"cycles": 1}, id="one cycle"),
    ],
)
def test_drawn_devices_have_the_numbers_of_the_card(planted: dict[str, Any], tmp_path: Path) -> None:
    """Spreads within 10 %, correlations within 0.05: of the sample the card was made of, and of the card after it went
    through its file."""
    tree = populations(**planted)
    (tmp_path / "card.toml").write_text(to_toml(make_card(tree)))
    card = read_card(tmp_path / "card.toml")
    point, drawn = card.points[0], drawn_from(card)
    assert point.not_drawn == []
    tau, g = (np.asarray(tree[f"measurements/{n}/value"].values[0], float) for n in ("tau", "g"))
    source, found = numbers_of(tau, g[:, :, 0]), numbers_of(drawn["tau"], drawn["g[1]"])
    for name, value in source.items():
        assert found[name] == (pytest.approx(value, abs=0.05) if "pearson" in name else pytest.approx(value, rel=0.1))
    q = point.quantities["tau"]
    assert q.sigma_ln == pytest.approx(np.log(drawn["tau"]).std(ddof=1), rel=0.1)
    if "within" in source:
        assert (q.sigma_ln_between, q.sigma_ln_within) == pytest.approx((found["between"], found["within"]), rel=0.1)


def test_a_device_stays_in_its_population() -> None:
    """As in the source, where every cycle of a device is far from the other population."""
    drawn = np.log(drawn_from(make_card(populations()))["tau"]) > 0.5 * np.log(FACTOR)
    assert drawn.any(axis=1).mean() == pytest.approx(STUCK, abs=4 * np.sqrt(STUCK * (1 - STUCK) / DRAWN) + 0.005)
    assert (drawn.any(axis=1) == drawn.all(axis=1)).all()


def test_quiet_devices_are_drawn_quiet() -> None:
    """The law within a device goes with its level: 0.02 in the stuck ones, 0.2 in the others."""
    drawn = np.log(drawn_from(make_card(populations(within=(0.2, 0.02))))["tau"])
    stuck = drawn.mean(axis=1) > 0.5 * np.log(FACTOR)
    spread = drawn.std(axis=1, ddof=1)
    assert np.median(spread[stuck]) < 0.05
    assert np.median(spread[~stuck]) == pytest.approx(0.2, rel=0.1)


# ---------------------------------------------------------------------------------- never outside


def with_parameter(name: str, values: list[float]) -> xr.DataTree:
    """Results in which this parameter differs between devices."""
    tree = populations(devices=len(values), cycles=2)
    data = tree["parameters"].to_dataset()
    data[name] = data[name].copy(data=np.stack([values, values]))
    tree["parameters"] = xr.DataTree(data)
    return tree


def test_few_positive_values_stay_positive() -> None:
    """1, 2 and 4: σ_ln is ln 2, and a normal of the same moments would be negative in 6 % of devices."""
    card = make_card(with_parameter("half_gap", [1.0, 2.0, 4.0]))
    q = card.points[0].quantities["half_gap"]
    assert (q.family, q.assumed, q.greater_than) == ("lognormal", True, 0.0)
    assert q.sigma_ln == pytest.approx(np.log(2))
    drawn = drawn_from(card, 100_000)["half_gap"]
    assert (drawn > 0).all()
    assert np.log(drawn[:, 0]).std() == pytest.approx(np.log(2), rel=4 / np.sqrt(2 * 100_000))


@pytest.mark.parametrize("values", [[1.0, 2.0, 4.0], [1.0, 1.5], [3.0, 1.0, 9.0, 2.0, 40.0]])
def test_measurements_that_cannot_be_negative_are_not(values: list[float]) -> None:
    tau = np.array(values)[:, None]
    card = make_card(tree_of(tau, tau))
    assert card.points[0].quantities["tau"].at_least == 0.0
    assert card.points[0].not_drawn == []
    assert (drawn_from(card, 20_000)["tau"] > 0).all()


@pytest.mark.parametrize("least", [5e-324, 1e-310, 1e-155, 1e-140])
def test_values_whose_squares_are_no_numbers_have_a_card(least: float) -> None:
    """Zeros and one other value. Where the square of that is no double number there is no spread to draw."""
    tau = np.where(np.arange(6) == 4, least, 0.0)[:, None]
    point = make_card(tree_of(tau, np.ones((6, 1)))).points[0]
    assert (point.quantities["tau"].family == "constant") == (least < 1e-150)
    assert point.not_drawn == []
    drawn = resample(point, DRAWN, np.random.default_rng(11))["tau"]
    assert ((drawn >= 0.0) & (drawn <= 2 * least)).all()


def test_bounds_of_a_parameter_hold() -> None:
    """A tunnelling length is above 0 and at most 2: a lognormal of these values would exceed it."""
    values = np.minimum(1.8 * np.exp(0.1 * np.random.default_rng(5).standard_normal(100)), 2.0)
    card = make_card(with_parameter("tunnelling_length", values.tolist()))
    q = card.points[0].quantities["tunnelling_length"]
    assert (q.greater_than, q.at_most) == (0.0, 2.0)
    drawn = drawn_from(card)["tunnelling_length"]
    assert drawn.max() <= 2.0
    assert np.log(drawn[:, 0]).std() == pytest.approx(np.log(values).std(ddof=1), rel=0.1)


def test_a_law_is_cut_at_a_bound() -> None:
    """Half of a lognormal: every draw below the median, with the quantiles of that half."""
    point = make_card(populations(stuck=0.0)).points[0]
    q = point.quantities["tau"]
    assert q.lognormal is not None
    cut = q.model_copy(update={"less_than": q.lognormal.median})
    changed = point.model_copy(update={"quantities": point.quantities | {"tau": cut}})
    drawn = resample(changed, 9, np.random.default_rng(0))
    assert (drawn["tau"] < q.lognormal.median).all()


# ---------------------------------------------------------------------------------- what cannot be drawn is said


def test_a_form_that_misses_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mcdev_main: Callable[..., Ended]
) -> None:
    """With only the first of the forms, as cards were before, two populations are missed: in the card, and in what
    ``stats`` prints."""
    every = mcdev.statistics.card_of_run._forms
    monkeypatch.setattr(mcdev.statistics.card_of_run, "_forms", lambda *given: list(every(*given))[:1])
    card = make_card(populations())
    said = "\n".join(card.points[0].not_drawn)
    assert re.search(r"tau: sigma_ln_within = 0\.2, of drawn devices 0\.[3-7]", said)
    (tmp_path / "card.toml").write_text(to_toml(card))
    ended = mcdev_main("stats", tmp_path / "card.toml", "--resample", 2)
    assert ended.code == 0
    assert "drawn devices differ from the card" in ended.err


def test_a_correlation_that_is_lost_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcdev.statistics.draw.root", lambda matrix: np.eye(len(matrix)))
    assert any("d2d of tau and g[1] = " in text for text in make_card(populations()).points[0].not_drawn)


def test_few_devices_are_said(tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    (tmp_path / "card.toml").write_text(to_toml(make_card(with_parameter("half_gap", [1.0, 2.0, 4.0]))))
    ended = mcdev_main("stats", tmp_path / "card.toml", "--resample", 2)
    assert "half_gap: 3 devices do not determine its family; taken: lognormal" in ended.err


# ---------------------------------------------------------------------------------- cards of before

OLD = """format = "mcdev model card, version 1"
title = "old"

[provenance]

[[points]]
devices = 40
cycles = 2

[points.quantities.tau]
role = "measurement"
unit = "s"
n = 80
sigma_ln = 0.461450473
device_share = 0.665368047
family = "lognormal"
lognormal = { median = 0.987432433, sigma = 0.456580716, aic = 103.6 }

[points.quantities.g]
role = "measurement"
unit = "1"
n = 80
device_share = 0.2
family = "quantiles"
quantiles = [
    0.0, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5,
    0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99, 0.995, 0.998, 3.0,
]

[points.d2d]
names = ["tau", "g"]
matrix = [[1.0, 0.7], [0.7, 1.0]]

[points.c2c]
names = ["tau", "g"]
matrix = [[1.0, -0.4], [-0.4, 1.0]]
"""


def test_an_old_card_draws_what_it_drew(tmp_path: Path) -> None:
    """Numbers of the program of version 1."""
    (tmp_path / "card.toml").write_text(OLD)
    drawn = resample(read_card(tmp_path / "card.toml").points[0], 2, np.random.default_rng(5))
    expected = [[0.5825715279316901, 0.9063345024951247], [0.7393195554917938, 1.4927549018179442]]
    np.testing.assert_allclose(drawn["tau"], expected, rtol=1e-12)
    expected = [[0.12314742083841917, 0.15829719595213815], [0.8381510081031707, 0.17716297089507693]]
    np.testing.assert_allclose(drawn["g"], expected, rtol=1e-12)
