"""The model card: it holds what a run showed, comes back as it was, devices drawn from it are like those it was made
from, and a bad one is refused with one message."""

from __future__ import annotations

import csv
import importlib.util
import io
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import xarray as xr
from conftest import Ended
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_cli import one_message
from test_statistics import made

import mcdev
from mcdev.configuration.problems import ConfigError
from mcdev.measurements.contract import OK, RIGHT_CENSORED
from mcdev.results.file import write
from mcdev.statistics import LONG, Card, long_table, make_card, read_card, summarise, to_toml, write_parquet
from mcdev.statistics.card import MOST_CYCLES, PROBABILITIES
from mcdev.statistics.copula import nearest
from mcdev.statistics.draw import MOST_DEVICES, check_size, resample

DEVICES, CYCLES = 400, 3
D2D, C2C, SHARE = 0.7, -0.4, 0.8
CUT = 1.8
"""Bound (s) at which tau is censored."""


def planted(devices: int = DEVICES, cycles: int = CYCLES, bound: float = np.inf) -> xr.DataTree:
    """tau: lognormal, median 1 s, σ_ln 0.5, of whose variance 80 % is between devices; the first entry of g goes with
    it by D2D 0.7 and C2C -0.4, the second is uniform and goes with nothing, the third is the same for all."""
    draw = np.random.default_rng(41)

    def scores(r_b: float, r_w: float) -> tuple[np.ndarray, np.ndarray]:
        b, w = draw.standard_normal((2, 2, devices, 1)), draw.standard_normal((2, 2, devices, cycles))
        second = [r_b * b[:, 0] + np.sqrt(1 - r_b**2) * b[:, 1], r_w * w[:, 0] + np.sqrt(1 - r_w**2) * w[:, 1]]
        mix = np.sqrt([SHARE, 1 - SHARE])
        return mix[0] * b[:, 0] + mix[1] * w[:, 0], mix[0] * second[0] + mix[1] * second[1]

    first, second = scores(D2D, C2C)
    tau = np.exp(0.5 * first)
    g = np.stack([0.1 * np.exp(0.2 * second), draw.random(tau.shape), np.full(tau.shape, 0.3)], axis=-1)
    status = np.where(tau > bound, RIGHT_CENSORED, OK)
    return made(
        {"tau": np.minimum(tau, bound), "g": g},
        {"tau": status, "g": np.zeros(g.shape)},
        {"tau": np.ones((2, cycles, 3)), "g": np.ones((2, cycles, 3, 3))},
    )


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    return planted()


@pytest.fixture(scope="module")
def card(tree: xr.DataTree) -> Card:
    return make_card(tree)


@pytest.fixture(scope="module")
def folder(tree: xr.DataTree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run")
    write(tree, place)
    return place


def data_of(card: Card) -> dict[str, Any]:
    return tomllib.loads(to_toml(card))


def entry(card: Card, level: str, a: str, b: str) -> float:
    matrix = getattr(card.points[0], level)
    return float(matrix.matrix[matrix.names.index(a)][matrix.names.index(b)])


# ---------------------------------------------------------------------------------- what it holds


def test_it_holds_what_was_planted(card: Card, tree: xr.DataTree) -> None:
    """Within 4 standard errors: of a correlation (1 - r²)/sqrt(n), of a σ 1/sqrt(2 n)."""
    assert [p.point for p in card.points] == [{"background_temperature": t} for t in ("0.4 K", "0.45 K")]
    tau = card.points[0].quantities["tau"]
    assert (tau.family, tau.unit, tau.n, tau.role) == ("lognormal", "s", DEVICES * CYCLES, "measurement")
    assert tau.sigma_ln_between == pytest.approx(0.5 * np.sqrt(SHARE), rel=4 / np.sqrt(2 * DEVICES))
    assert tau.sigma_ln_within == pytest.approx(0.5 * np.sqrt(1 - SHARE), rel=4 / np.sqrt(2 * 2 * DEVICES))
    assert tau.device_share == pytest.approx(SHARE, abs=0.05)
    assert tau.lognormal is not None
    assert tau.weibull is not None
    assert tau.lognormal.aic < tau.weibull.aic
    assert card.points[0].quantities["g[3]"].constant == 0.3
    assert card.points[0].quantities["g[2]"].family == "table"
    assert entry(card, "d2d", "tau", "g[1]") == pytest.approx(D2D, abs=4 * (1 - D2D**2) / np.sqrt(DEVICES))
    assert entry(card, "c2c", "tau", "g[1]") == pytest.approx(C2C, abs=4 / np.sqrt(2 * DEVICES))
    assert "g[3]" not in card.points[0].d2d.names
    assert card.points[0].quantities["friction"].role == "parameter"
    assert card.provenance.config_hash == tree.attrs["config_hash"]
    assert "numpy" in card.provenance.versions


def test_it_comes_back_as_it_was(card: Card, tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text(to_toml(card))
    again = read_card(path)
    assert to_toml(again) == to_toml(card)
    assert again.points[0].quantities["tau"].family == "lognormal"


def test_one_cycle_has_no_c2c() -> None:
    only = make_card(planted(60, 1)).points[0]
    assert only.c2c is None
    assert only.quantities["tau"].sigma_ln_between is None
    assert only.quantities["tau"].sigma_ln is not None


def test_censored_observations_are_used() -> None:
    """12 % beyond the bound: the law of all comes out, not that of those that were seen."""
    tau = make_card(planted(bound=CUT)).points[0].quantities["tau"]
    assert 0.05 < tau.right_censored < 0.2
    assert tau.lognormal is not None
    assert tau.lognormal.sigma == pytest.approx(0.5, rel=4 / np.sqrt(DEVICES))
    assert tau.sigma_ln_between == pytest.approx(0.5 * np.sqrt(SHARE), rel=4 / np.sqrt(DEVICES))
    assert tau.sigma_ln_within == pytest.approx(0.5 * np.sqrt(1 - SHARE), rel=4 / np.sqrt(2 * DEVICES))
    assert tau.device_share == pytest.approx(SHARE, abs=0.06)
    assert tau.family == "lognormal"


def test_what_is_not_known_is_not_drawn() -> None:
    point = make_card(planted(30, 2, bound=1e-9)).points[0]
    assert point.quantities["tau"].family == "undetermined"
    assert "tau" not in resample(point, 5, np.random.default_rng(0))


ODD = st.one_of(
    st.floats(1e-30, 1e30),
    st.floats(-10, 10),
    st.floats(1.0, 1.0000001),
    st.sampled_from([0.0, 1.0, 1.0, 1.0, 1e60, -1e60, 5e-324, float("nan")]),
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data(), kind=st.sampled_from(["odd", "wide", "alike"]))
def test_any_results_have_a_card_and_statistics(data: st.DataObject, kind: str) -> None:
    """A run must not fail at its very end: whatever was measured, a card is made that can be read and drawn from."""
    values = {"odd": ODD, "wide": st.floats(1e-30, 1e30), "alike": st.floats(1.0, 1.0000001)}[kind]
    shape = (2, 8, 2)
    tau = np.array(data.draw(st.lists(values, min_size=32, max_size=32))).reshape(shape)
    status = np.array(data.draw(st.lists(st.integers(0, 4), min_size=32, max_size=32))).reshape(shape)
    status = status if data.draw(st.booleans()) else np.zeros(shape)
    g = np.ones((*shape, 3))
    tree = made(
        {"tau": tau, "g": g},
        {"tau": status, "g": np.zeros(g.shape)},
        {"tau": np.ones((2, 2, 3)), "g": np.ones((2, 2, 3, 3))},
    )
    card = Card.model_validate(tomllib.loads(to_toml(make_card(tree))))
    for point in card.points:
        for drawn in resample(point, 5, np.random.default_rng(0)).values():
            assert np.isfinite(drawn).all()
    assert len(long_table(tree, summarise(tree))) > 8


def test_one_device_shows_no_distribution() -> None:
    point = make_card(planted(1, 3)).points[0]
    assert {q.family for q in point.quantities.values()} == {"undetermined"}
    assert resample(point, 2, np.random.default_rng(0)) == {}


# ---------------------------------------------------------------------------------- drawing from it


@pytest.mark.parametrize("bound", [np.inf, CUT], ids=["all seen", "censored"])
def test_drawn_devices_are_like_those_of_the_card(bound: float, tree: xr.DataTree) -> None:
    """Medians, spreads and correlations at both levels, within 4 standard errors of the card's own sample, for the
    truth that it was made from."""
    point = make_card(tree if np.isinf(bound) else planted(bound=bound)).points[0]
    drawn = resample(point, 20_000, np.random.default_rng(43))
    n = np.sqrt(DEVICES)
    tau, g = np.log(drawn["tau"]), np.log(drawn["g[1]"])
    assert tau.shape == (20_000, CYCLES)
    assert np.median(tau) == pytest.approx(0.0, abs=4 * 1.25 * 0.5 / n)
    assert np.median(g) == pytest.approx(np.log(0.1), abs=4 * 1.25 * 0.2 / n)
    means, g_means = tau.mean(axis=1), g.mean(axis=1)
    rest, g_rest = tau - means[:, None], g - g_means[:, None]
    assert rest.std() * np.sqrt(CYCLES / (CYCLES - 1)) == pytest.approx(0.5 * np.sqrt(1 - SHARE), rel=4 / n)
    assert tau.std() == pytest.approx(0.5, rel=4 / n)
    truth = (SHARE * D2D + (1 - SHARE) * C2C / CYCLES) / (SHARE + (1 - SHARE) / CYCLES)  # of means over three cycles
    assert np.corrcoef(means, g_means)[0, 1] == pytest.approx(truth, abs=4 * (1 - truth**2) / n)
    assert np.corrcoef(rest.ravel(), g_rest.ravel())[0, 1] == pytest.approx(C2C, abs=4 / n)
    uniform = drawn["g[2]"]
    assert np.quantile(uniform, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=4 * 0.5 / n)
    assert (drawn["g[3]"] == 0.3).all()


def test_a_lost_correlation_would_be_seen(tree: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: without the root of the matrix, the check above fails."""
    monkeypatch.setattr("mcdev.statistics.draw.root", lambda matrix: np.eye(len(matrix)))
    with pytest.raises(AssertionError):
        test_drawn_devices_are_like_those_of_the_card(np.inf, tree)


def test_a_matrix_that_is_none_is_mended() -> None:
    """As pairs with different devices may give."""
    odd = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])
    mended = nearest(odd)
    assert np.linalg.eigvalsh(mended)[0] > -1e-8
    assert (np.diag(mended) == 1).all()
    np.testing.assert_array_equal(mended, mended.T)
    sound = np.array([[1.0, 0.5], [0.5, 1.0]])
    np.testing.assert_array_equal(nearest(sound), sound)


# ---------------------------------------------------------------------------------- bad cards


def at(data: dict[str, Any], *path: Any) -> Any:
    for step in path:
        data = data[step]
    return data


def spoiled(card: Card, path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    data = data_of(card)
    at(data, *path[:-1])[path[-1]] = value
    return data


FIRST = ("points", 0)
TAU = (*FIRST, "quantities", "tau")
BAD: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "no number": ((*TAU, "lognormal", "sigma"), float("nan"), "finite"),
    "infinite": ((*TAU, "lognormal", "median"), float("inf"), "finite"),
    "too small": ((*TAU, "lognormal", "median"), 0.0, "from 1e-200"),
    "two lines": ((*FIRST, "point", "a\x1b[31m\nb"), "x", r'points.0.point."a\u001b[31m\nb" = "a\u001b[31m\nb"'),
    "negative": ((*TAU, "lognormal", "sigma"), -0.1, "greater than 0"),
    "text": ((*TAU, "n"), "many", "integer"),
    "unknown key": ((*TAU, "sigmas"), 1.0, "did you mean"),
    "family": ((*TAU, "family"), "cauchy", "expected one of"),
    "family without its numbers": ((*TAU, "family"), "normal", "add it"),
    "not symmetric": ((*FIRST, "d2d", "matrix", 0, 1), 0.123, "symmetric"),
    "diagonal": ((*FIRST, "d2d", "matrix", 0, 0), 0.9, "diagonal"),
    "no correlation": ((*FIRST, "d2d", "matrix", 0, 1), 2.0, "from -1 to 1"),
    "shape": ((*FIRST, "d2d", "matrix", 0), [1.0], "rows of"),
    "not a number in a matrix": ((*FIRST, "d2d", "matrix", 0, 1), float("nan"), "finite"),
    "outside its bounds": ((*TAU, "at_most"), 1e-9, "within the bounds"),
    "bounds that leave nothing": ((*FIRST, "quantities", "g[3]", "less_than"), 0.1, "widen the bounds"),
    "a table that falls": ((*FIRST, "quantities", "g[2]", "table", "quantiles", "values", 1), -1.0, "do not fall"),
    "shares that fall": ((*FIRST, "quantities", "g[2]", "table", "quantiles", "shares", 1), 1.0, "from 0 to 1"),
    "a table too long": ((*FIRST, "quantities", "g[2]", "table", "quantiles", "values"), [1.0] * 100, "at most"),
    "names": ((*FIRST, "d2d", "names", 0), "other", "every quantity"),
    "a formula for a name": ((*FIRST, "quantities", "=cmd()"), {}, "expected a name of up to"),
    "cycles": ((*FIRST, "cycles"), MOST_CYCLES + 1, "less than or equal"),
    "format": (("format",), "mcdev model card, version 99", "reads version 1 and version 2; update mcdev"),
    "no card": (("format",), "a picture", "is no model card; those begin with format = "),
    "no points": (("points",), [], "at least one"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_card_is_refused_with_one_message(
    name: str, card: Card, tmp_path: Path, mcdev_main: Callable[..., Ended]
) -> None:
    path, value, phrase = BAD[name]
    file = tmp_path / "card.toml"
    file.write_text(tomli_w.dumps(spoiled(card, path, value)))
    one_message(mcdev_main("stats", file, "--resample", 3), 2, phrase)


def test_an_indefinite_matrix_is_refused(card: Card, tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    """Each number in it is sound."""
    data = data_of(card)
    size = len(data["points"][0]["d2d"]["names"])
    assert size == 3
    data["points"][0]["d2d"]["matrix"] = [[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]]
    file = tmp_path / "card.toml"
    file.write_text(tomli_w.dumps(data))
    ended = mcdev_main("stats", file, "--resample", 3)
    one_message(ended, 2, "points.0.d2d.matrix", "eigenvalue -0.8", "positive semi-definite", "scale the correlations")


@pytest.mark.parametrize("text", ["", "format = ", "a = [[[[", "\x00", "format = 1\n[points]\n"])
def test_what_is_no_card_is_refused(text: str, tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    file = tmp_path / "card.toml"
    file.write_text(text)
    one_message(mcdev_main("stats", file, "--resample", 3), 2)


def test_a_missing_card_is_said(tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    one_message(mcdev_main("stats", tmp_path / "card.toml", "--resample", 3), 2, "cannot be read")


VALUES = st.one_of(
    st.none().map(lambda _: {}),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(max_size=8),
    st.booleans(),
    st.lists(st.floats(), max_size=4),
)
PLACES = st.sampled_from(
    [place for place, _, _ in BAD.values()]
    + [(*TAU, "quantiles"), (*TAU, "table"), (*TAU, "less_than"), (*FIRST, "c2c"), (*FIRST, "d2d", "scores")]
)


@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=PLACES, value=VALUES)
def test_any_card_is_read_or_refused(
    place: tuple[Any, ...], value: Any, card: Card, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No other error, and what is accepted can be drawn from: finite numbers."""
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(tomli_w.dumps(spoiled(card, place, value)), encoding="utf-8")
    try:
        found = read_card(file)
    except ConfigError:
        return
    for name, drawn in resample(found.points[0], 20, np.random.default_rng(0)).items():
        assert np.isfinite(drawn).all(), name


def test_limits(card: Card) -> None:
    check_size(card, 1)
    for devices in (0, -5, MOST_DEVICES + 1):
        with pytest.raises(ConfigError, match=r"expected 1 to 1,000,000 devices"):
            check_size(card, devices)
    with pytest.raises(ConfigError, match="numbers with this card; expected no more than"):
        check_size(card, MOST_DEVICES)


# ---------------------------------------------------------------------------------- the command line


def test_stats_writes_a_card_and_draws_devices(folder: Path, tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    """From the run and from its card the same devices; another seed, others."""
    file, drawn = tmp_path / "card.toml", tmp_path / "drawn.csv"
    assert mcdev_main("stats", folder, "--card", file).code == 0
    first = mcdev_main("stats", file, "--resample", 7, "--seed", 5)
    assert first.code == 0
    assert mcdev_main("stats", file, "--resample", 7, "--seed", 5, "--out", drawn).code == 0
    assert drawn.read_text() == first.out
    assert mcdev_main("stats", file, "--resample", 7, "--seed", 6).out != first.out
    rows = list(csv.DictReader(io.StringIO(first.out)))
    assert len(rows) == 2 * 7 * CYCLES
    assert {"background_temperature", "device", "cycle", "tau (s)", "g[1] (1)", "friction (1)"} <= set(rows[0])
    assert [r["device"] for r in rows[: 2 * CYCLES]] == ["0"] * CYCLES + ["1"] * CYCLES
    taus = [float(r["tau (s)"]) for r in csv.DictReader(io.StringIO(mcdev_main("stats", folder, "--resample", 7).out))]
    assert len(taus) == 2 * 7 * CYCLES


def test_a_card_holds_no_results(card: Card, tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    file = tmp_path / "card.toml"
    file.write_text(to_toml(card))
    one_message(mcdev_main("stats", file), 2, "holds no results", "--resample")
    one_message(mcdev_main("stats", file, "--resample", 0), 2, "expected 1 to")
    one_message(mcdev_main("stats", file, "--resample", 1, "--out", tmp_path), 3, "cannot be written")


def test_long_tables(tree: xr.DataTree, folder: Path, tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    """One number a row: what the records have, correlations and memory; as text the same as in memory."""
    rows = long_table(tree, summarise(tree))
    kinds = {r["statistic"] for r in rows}
    assert {"mean", "between_sd", "sigma_ln_within", "q95", "weibull_shape", "pearson_ln_d2d"} <= kinds
    assert {"spearman_c2c", "autocorrelation_ln"} <= kinds
    assert "survival" not in kinds
    frame = mcdev.statistics_frame(tree)
    assert list(frame.columns) == list(LONG)
    assert frame["value"].tolist() == pytest.approx([row["value"] for row in rows], nan_ok=True)
    assert "survival" in {r["statistic"] for r in long_table(planted(40, 2, CUT), summarise(planted(40, 2, CUT)))}
    file = tmp_path / "long.csv"
    assert mcdev_main("stats", folder, "--format", "long", "--out", file).code == 0
    again = list(csv.DictReader(io.StringIO(file.read_text())))
    assert tuple(again[0]) == LONG
    assert len(again) == len(rows)
    one = next(r for r in rows if r["statistic"] == "median")
    assert next(float(r["value"]) for r in again if r["statistic"] == "median") == one["value"]
    assert one["low"] < one["value"] < one["high"]
    assert one["unit"] == "s"


def test_parquet_or_how_to_get_it(
    folder: Path, tree: xr.DataTree, tmp_path: Path, mcdev_main: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    one_message(mcdev_main("stats", folder, "--format", "parquet"), 2, "add --out")
    file = tmp_path / "long.parquet"
    if importlib.util.find_spec("pyarrow"):
        from pyarrow import parquet

        rows = long_table(tree, summarise(tree))
        write_parquet(rows, file)
        table = parquet.read_table(file)
        assert tuple(table.column_names) == LONG
        assert table.column("value").to_pylist() == [float(r["value"]) for r in rows]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    one_message(mcdev_main("stats", folder, "--format", "parquet", "--out", file), 2, "pip install 'mcdev[parquet]'")


def test_probabilities_rise() -> None:
    assert list(PROBABILITIES) == sorted(set(PROBABILITIES))
    assert (PROBABILITIES[0], PROBABILITIES[-1]) == (0.0, 1.0)
