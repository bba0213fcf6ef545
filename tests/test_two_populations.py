"""Two populations beside each other: tests that hold what they promise, tables and pictures of both."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from conftest import Ended
from matplotlib.figure import Figure
from scipy import stats
from test_cli import one_message
from test_statistics import made

import mcdev
from mcdev.configuration.problems import ConfigError
from mcdev.figures import populations as picture
from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED, UNDEFINED
from mcdev.results.one_point import at_point
from mcdev.statistics import two_samples
from mcdev.statistics.populations import COLUMNS, compare_populations, correlations, to_csv
from mcdev.statistics.two_samples import compare_samples


def drawn(
    draw: np.random.Generator, devices: int, cycles: int, shift: float = 0.0, bound: float = np.inf, low: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Lognormal values [device, cycle], σ_ln 0.3 between and 0.2 within devices, with bounds on both sides."""
    logs = shift + 0.3 * draw.standard_normal((devices, 1)) + 0.2 * draw.standard_normal((devices, cycles))
    x = np.exp(logs)
    status = np.where(x > bound, RIGHT_CENSORED, np.where(x < low, LEFT_CENSORED, OK))
    return np.clip(x, low, bound), status


# ------------------------------------------------------------------------------- the test


def test_scores_are_wilcoxons_without_censoring() -> None:
    """The share of pairs is that of Mann and Whitney's U, and the permutation's p agrees with the exact one within four
    of its standard errors."""
    draw = np.random.default_rng(5)
    for shift in (0.0, 0.3, 0.6):
        first, second = drawn(draw, 9, 1, shift), drawn(draw, 11, 1)
        found = compare_samples(first, second)
        exact = stats.mannwhitneyu(first[0].ravel(), second[0].ravel(), method="exact")
        assert found.larger == pytest.approx(exact.statistic / (9 * 11))
        error = np.sqrt(exact.pvalue * (1 - exact.pvalue) / two_samples.RESAMPLES)
        assert abs(found.p - exact.pvalue) < 4 * error + 0.04  # Welch's t orders the permutations a little otherwise


def test_ties_count_half() -> None:
    ones, same = np.ones((4, 1)), np.zeros((4, 1), int)
    found = compare_samples((ones, same), (ones, same))
    assert found.larger == 0.5
    assert np.isnan(found.p)
    found = compare_samples((np.array([[1.0], [2.0]]), same[:2]), (np.array([[2.0], [3.0]]), same[:2]))
    assert found.larger == 0.125


@pytest.mark.parametrize(
    ("kinds", "larger"),
    [
        ((OK, OK), 0.0),
        ((RIGHT_CENSORED, OK), np.nan),  # above 1, and the other is 2: which is larger nobody knows
        ((OK, RIGHT_CENSORED), 0.0),
        ((OK, LEFT_CENSORED), np.nan),
        ((LEFT_CENSORED, OK), 0.0),
        ((LEFT_CENSORED, RIGHT_CENSORED), 0.0),
        ((RIGHT_CENSORED, LEFT_CENSORED), np.nan),
    ],
)
def test_what_a_bound_says(kinds: tuple[int, int], larger: float) -> None:
    """Of 1 against 2, each a value or a bound."""
    first, second = (np.array([[x]]) for x in (1.0, 2.0))
    found = compare_samples((first, np.full((1, 1), kinds[0])), (second, np.full((1, 1), kinds[1])))
    assert found.larger == pytest.approx(larger, nan_ok=True)


def test_what_is_censored_at_a_value_lies_beyond_it() -> None:
    one = np.ones((1, 1))
    for kind, larger in ((RIGHT_CENSORED, 1.0), (LEFT_CENSORED, 0.0)):
        assert compare_samples((one, np.full((1, 1), kind)), (one, np.zeros((1, 1), int))).larger == larger


@pytest.mark.parametrize("case", ["plain", "censored", "cycles", "unlike numbers", "many"])
def test_of_one_law_p_is_below_a_twentieth_in_a_twentieth(case: str) -> None:
    """Over 300 repetitions within [1.3 %, 9.5 %], which a test of exactly 5 % leaves with a probability of 0.001."""
    draw = np.random.default_rng(17)
    sizes = {"plain": (10, 1, 12, 1), "censored": (10, 3, 12, 3), "cycles": (8, 6, 8, 6)}
    sizes |= {"unlike numbers": (12, 10, 12, 1), "many": (250, 2, 200, 2)}
    n, c, m, d = sizes[case]
    ends = {"bound": 1.2, "low": 0.7} if case in ("censored", "many") else {}
    p = [compare_samples(drawn(draw, n, c, **ends), drawn(draw, m, d, **ends)).p for _ in range(300)]
    assert 0.013 <= np.mean(np.array(p) < 0.05) <= 0.095


def test_cycles_of_one_device_are_no_witnesses_of_their_own() -> None:
    """Taken as independent they would find differences that are none: the test is able to fail."""
    draw = np.random.default_rng(23)
    naive, honest = [], []
    for _ in range(60):
        first, second = drawn(draw, 6, 10), drawn(draw, 6, 10)
        honest.append(compare_samples(first, second).p)
        flat = [(x.reshape(-1, 1), s.reshape(-1, 1)) for x, s in (first, second)]
        naive.append(compare_samples(flat[0], flat[1]).p)
    assert np.mean(np.array(naive) < 0.05) > 0.3
    assert np.mean(np.array(honest) < 0.05) < 0.15


def test_a_shift_is_seen_through_censoring() -> None:
    """Of one and a half standard deviations, with a third beyond a bound, in nine of ten; the log-rank test of scipy
    agrees on which are significant in most."""
    draw = np.random.default_rng(31)
    seen, same = [], []
    for _ in range(60):
        first, second = drawn(draw, 15, 1, 0.54, 1.7), drawn(draw, 15, 1, 0.0, 1.7)
        p = compare_samples(first, second).p
        seen.append(p < 0.05)
        theirs = stats.logrank(*(stats.CensoredData(x[s == OK], right=x[s != OK]) for x, s in (first, second)))
        same.append((p < 0.05) == (theirs.pvalue < 0.05))
    assert np.mean(seen) > 0.9
    assert np.mean(same) > 0.85


def test_what_is_not_known_is_left_out() -> None:
    first, second = drawn(np.random.default_rng(2), 8, 2), drawn(np.random.default_rng(3), 8, 2)
    more = np.vstack([first[0], np.full((3, 2), np.nan)]), np.vstack([first[1], np.full((3, 2), UNDEFINED)])
    assert compare_samples(more, second) == compare_samples(first, second)
    nothing = np.full((3, 2), np.nan), np.full((3, 2), UNDEFINED)
    assert np.isnan(compare_samples(nothing, second)).tolist()[:2] == [True, True]
    assert np.isnan(compare_samples(nothing, nothing).larger)


# ------------------------------------------------------------------------------- of two results


def results(seed: int, shift: float = 0.0, bound: float = np.inf, rho: float = 0.0) -> xr.DataTree:
    """tau and a list g that goes with it by ``rho``; 24 devices of three cycles, the same at two sweep points."""
    draw = np.random.default_rng(seed)
    tau, status = drawn(draw, 24, 3, shift, bound)
    noise = drawn(draw, 24, 3)[0]
    g = np.stack([np.exp(rho * np.log(tau) + np.sqrt(1 - rho**2) * np.log(noise)), noise, noise], axis=-1)
    return twice({"tau": tau, "g": g}, {"tau": status, "g": np.zeros(g.shape)})


def twice(values: dict[str, np.ndarray], status: dict[str, np.ndarray]) -> xr.DataTree:
    """The same at two sweep points; [device, cycle(, entry)]."""
    of_mean = {name: np.ones((2, x.shape[1], 3, *x.shape[2:])) for name, x in values.items()}
    values, status = ({name: np.stack([x, x]) for name, x in each.items()} for each in (values, status))
    return made(values, status, of_mean)


def one_cycle(devices: int) -> xr.DataTree:
    tau = np.arange(1.0, devices + 1)[:, None]
    return twice({"tau": tau, "g": tau[..., None]}, {"tau": 0 * tau, "g": 0 * tau[..., None]})


def without(tree: xr.DataTree, name: str) -> xr.DataTree:
    groups = {group.path: group.to_dataset() for group in tree.subtree if group.path != f"/measurements/{name}"}
    return xr.DataTree.from_dict(groups)


def test_numbers_of_both_are_those_of_each() -> None:
    one, other = results(1, 0.5, 1.8), results(2)
    every = compare_populations(one, other)
    assert len(every) == 2 * 4
    found = {b.pair.label: b for b in every if b.pair.first.index == 0}
    assert set(found) == {"tau", "g[1]", "g[2]", "g[3]"}
    for tree, which in ((one, "first"), (other, "second")):
        for record in mcdev.summarise(tree):
            if record["point"] != found["tau"].pair.point:
                continue
            population = getattr(found[record["measurement"]], which)
            assert (population.devices, population.cycles) == (24, 3)
            assert population.n == record["n_ok"] + record["n_censored"]
            assert population.censored == record["n_censored"]
            for name, key in (("median", ""), ("median", "_low"), ("median", "_high")):
                value = getattr(population.median, key.removeprefix("_") or "value")
                assert (value if np.isfinite(value) else None) == pytest.approx(record[name + key])
            assert population.logs.between.value == pytest.approx(record["sigma_ln_between"])
            assert population.logs.within.low == pytest.approx(record["sigma_ln_within_low"])
    assert found["tau"].difference.p < 0.01
    assert found["tau"].difference.larger > 0.7
    assert found["g[2]"].difference.p > 0.05
    rows = list(csv.DictReader(io.StringIO(to_csv(list(found.values()), ("a", "b")))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["population"] for row in rows[:2]] == ["a", "b"]
    assert float(rows[0]["p"]) == pytest.approx(found["tau"].difference.p)


def test_correlations_of_both() -> None:
    together = correlations([b.pair for b in compare_populations(results(1, rho=0.95), results(2, rho=0.0))])
    of_tau = {t.level: t for t in together if set(t.names) == {"tau", "g[1]"}}  # of the last sweep point
    assert set(of_tau) == {"D2D", "C2C"}
    for each in of_tau.values():
        assert each.first.low > 0.7
        assert each.second.low < 0 < each.second.high
        assert each.p < 0.001
    assert all(len({name.partition("[")[0] for name in t.names}) == 2 for t in together), "none within a list"
    assert len(together) == 2 * 2 * 3, "points, levels, pairs"


def test_what_cannot_be_compared_is_said() -> None:
    tree = one_cycle(2)
    with pytest.raises(ConfigError, match=r"none has the same name in both \(g; tau\)"):
        compare_populations(without(tree, "tau"), without(tree, "g"))
    other = tree.copy(deep=True)
    other["measurements/tau"].dataset["value"].attrs["units"] = "V"
    with pytest.raises(ConfigError, match="is in V in the other results"):
        compare_populations(tree, other)
    warm = at_point(tree, 1)
    with pytest.raises(ConfigError, match=r"no sweep point is in both \(no sweep; background_temperature = 0.4 K"):
        compare_populations(warm, tree)
    assert len(compare_populations(warm, at_point(tree, 2))) == 2, "the only one of each, whatever it is"


def test_the_picture_has_d2d_and_c2c_apart() -> None:
    """Curves reach one, or the share that is not censored; n is said; the bands hold the curves."""
    one, other = results(1, 0.5, 1.8), results(2)
    found = [b for b in compare_populations(one, other) if b.pair.label == "tau"]
    assert len(picture.draw(one, found, ("a", "b")).axes) == 6
    found = found[:1]
    figure: Figure = picture.draw(one, found, ("measured", "simulated"))
    every, devices, cycles = figure.axes
    ends = [line.get_ydata()[-1] for line in every.get_lines()]
    censored = float((one["measurements/tau/status"].values == RIGHT_CENSORED).mean())
    assert ends[0] == pytest.approx(1 - censored)
    assert ends[1] == 1
    labels = [line.get_label() for line in every.get_lines()]
    assert labels[0].startswith("measured: 72 values of 24 devices, ")
    assert "right-censored" in labels[0]
    assert labels[1] == "simulated: 72 values of 24 devices"
    assert "D2D" in devices.get_xlabel()
    assert "C2C" in cycles.get_xlabel()
    assert "n = 24" in {text.get_text() for text in devices.texts}
    sigma = np.std(picture._parts(found[0].pair.second, True)[1])
    assert sigma == pytest.approx(found[0].second.logs.within.value, rel=0.02)
    assert "p = " in every.get_title(loc="left")


def test_one_cycle_has_one_panel() -> None:
    tree = one_cycle(12)
    assert len(picture.draw(tree, compare_populations(tree, tree)[:1], ("a", "b")).axes) == 1


def test_on_the_command_line(tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    for name, tree in (("measured", results(1, 0.5, 1.8)), ("simulated", results(2))):
        mcdev.write(tree, tmp_path / name)
    one, other = tmp_path / "measured", tmp_path / "simulated"
    ended = mcdev_main("compare", one, other, "--format", "pdf")
    assert ended.code == 0, ended.err
    for words in ("72 of 24 × 3", "median (95 %)", "σ_ln C2C", "correlation of", "permuted"):
        assert words in ended.out
    folder = one / "figures" / "beside_simulated"
    assert {path.name for path in folder.iterdir()} == {"tau.pdf", "g_1.pdf", "g_2.pdf", "g_3.pdf", "populations.csv"}
    assert (folder / "tau.pdf").read_bytes().startswith(b"%PDF")
    one_message(mcdev_main("compare", one, tmp_path / "absent"), 3, "does not exist")
