"""Statistics of planted spreads: what was planted comes out, within intervals that hold as often as they say.

Coverage is counted over several hundred repetitions. A true coverage of 95 % leaves [90 %, 99 %] over 300 repetitions
with a probability below 0.001 (standard error 1.3 %).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy import signal, stats

import mcdev.statistics.components
import mcdev.statistics.resampling
from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED, UNDEFINED
from mcdev.statistics.autocorrelation import autocorrelation
from mcdev.statistics.censored import fit_laws, sample
from mcdev.statistics.components import Components, variance_components
from mcdev.statistics.correlation import correlate
from mcdev.statistics.drift import drift
from mcdev.statistics.mixed import censored_components
from mcdev.statistics.readings import Reading
from mcdev.statistics.resampling import device_weights, quantiles
from mcdev.statistics.survival import kaplan_meier

REPETITIONS = 300


def reading(label: str, values: np.ndarray, status: np.ndarray | None = None) -> Reading:
    """A measurement in seconds at one sweep point; values [device, cycle]."""
    status = np.zeros(values.shape, int) if status is None else status
    return Reading(label, label, None, "s", "made up", 0, {}, values, status)


def within(coverage: float) -> bool:
    return 0.90 <= coverage <= 0.99


def planted(draw: np.random.Generator, between: float, inner: float, devices: int = 30, cycles: int = 5) -> np.ndarray:
    """Values [device, cycle] of known D2D and C2C standard deviations."""
    return 2.0 + between * draw.standard_normal((devices, 1)) + inner * draw.standard_normal((devices, cycles))


# ---------------------------------------------------------------------------------- variance components


@pytest.fixture(scope="module", params=["balanced", "unbalanced", "few cycles", "small D2D"])
def repeated(request: pytest.FixtureRequest) -> tuple[float, float, list[Components]]:
    """Components of repeated experiments with the same truth."""
    between, inner, cycles = {"few cycles": (0.5, 0.3, 2), "small D2D": (0.1, 0.4, 5)}.get(request.param, (0.5, 0.3, 6))
    draw = np.random.default_rng(3)
    found = []
    for _ in range(REPETITIONS):
        x = planted(draw, between, inner, cycles=cycles)
        use = np.ones(x.shape, bool)
        if request.param == "unbalanced":  # one to six cycles a device
            use = np.arange(cycles) <= draw.integers(0, cycles, size=30)[:, None]
        found.append(variance_components(x, use))
    return between, inner, found


def test_components_are_unbiased(repeated: tuple[float, float, list[Components]]) -> None:
    """The variances, that is; where an estimate is cut at zero, the mean may only lie above."""
    between, inner, found = repeated
    for truth, estimates in ((inner, [c.within.value for c in found]), (between, [c.between.value for c in found])):
        variances = np.square(estimates)
        error = variances.std() / np.sqrt(REPETITIONS)
        cut = float(np.mean(variances == 0)) * 0.02
        assert -3.5 * error < variances.mean() - truth**2 < 3.5 * error + cut


def test_intervals_of_components_hold(repeated: tuple[float, float, list[Components]]) -> None:
    between, inner, found = repeated
    truths = {"between": between, "within": inner, "total": np.hypot(between, inner)}
    for name, truth in truths.items():
        ends = [getattr(c, name) for c in found]
        assert within(float(np.mean([e.low <= truth <= e.high for e in ends]))), name


def test_d2d_and_c2c_swapped_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: with the mean squares exchanged, the check above fails."""
    right = mcdev.statistics.components._difference

    def wrong(s1: float, s2: float, *rest: Any) -> Any:
        return right(s2, s1, *rest)

    monkeypatch.setattr(mcdev.statistics.components, "_difference", wrong)
    draw = np.random.default_rng(3)
    ends = [variance_components(planted(draw, 0.5, 0.3), np.ones((30, 5), bool)).between for _ in range(50)]
    assert np.mean([e.low <= 0.5 <= e.high for e in ends]) < 0.5


def test_a_negative_estimate_is_zero_with_an_interval() -> None:
    """Cycles that differ while the devices' means agree."""
    x = np.array([[1.0, 3.0], [3.0, 1.0], [1.0, 3.0], [2.5, 1.6]])
    found = variance_components(x, np.ones(x.shape, bool))
    assert found.between.value == 0
    assert found.between.low == 0
    assert np.isfinite(found.between.high)
    assert found.total.value == pytest.approx(found.within.value)


def test_what_cannot_be_told_apart_is_not() -> None:
    one_cycle = variance_components(np.arange(5.0)[:, None], np.ones((5, 1), bool))
    assert np.isnan([one_cycle.between.value, one_cycle.within.value]).all()
    assert one_cycle.total.value == pytest.approx(np.std(np.arange(5), ddof=1))
    one_device = variance_components(np.arange(5.0)[None], np.ones((1, 5), bool))
    assert one_device.within.value == pytest.approx(np.std(np.arange(5), ddof=1))
    assert np.isnan([one_device.between.value, one_device.total.value]).all()
    nothing = variance_components(np.full((3, 2), np.nan), np.zeros((3, 2), bool))
    assert (nothing.devices, nothing.observations) == (0, 0)
    single = variance_components(np.ones((1, 1)), np.ones((1, 1), bool))
    assert np.isnan(single.total.value)


# ---------------------------------------------------------------------------------- quantiles


def test_bootstrap_resamples_devices_not_cycles() -> None:
    """Cycles that repeat what the device did leave the interval of the median what it was."""
    one = np.random.default_rng(5).standard_normal((40, 1))
    many = np.repeat(one, 12, axis=1)
    first, second = (quantiles(x, np.zeros(x.shape, int), (0.5,))[0] for x in (one, many))
    assert (first.low, first.high) == pytest.approx((second.low, second.high))
    assert first.low < first.value < first.high


def test_intervals_of_the_median_hold() -> None:
    draw = np.random.default_rng(7)
    hits = []
    for _ in range(REPETITIONS):
        x = planted(draw, 0.5, 0.3, devices=50, cycles=4)
        found = quantiles(x, np.zeros(x.shape, int), (0.5,))[0]
        hits.append(found.low <= 2.0 <= found.high)
    assert within(float(np.mean(hits)))


def test_quantiles_among_the_censored_are_infinite() -> None:
    status = np.repeat([OK, RIGHT_CENSORED], [10, 10])[:, None]
    found = quantiles(np.arange(20.0)[:, None], status, (0.05, 0.5, 0.95))
    assert found[2].value == np.inf
    assert found[1].high == np.inf
    assert np.isfinite(found[0].value)


def test_many_devices_have_the_limit_of_the_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    x = planted(np.random.default_rng(8), 0.5, 0.3, devices=2000, cycles=3)
    shares = (0.05, 0.5, 0.95)
    by_resampling = quantiles(x, np.zeros(x.shape, int), shares)
    monkeypatch.setattr(mcdev.statistics.resampling, "MOST_RESAMPLED", 0)
    for one, other in zip(by_resampling, quantiles(x, np.zeros(x.shape, int), shares), strict=True):
        assert one.value == other.value
        assert other.high - other.low == pytest.approx(one.high - one.low, rel=0.2)
        assert other.low < other.value < other.high
    assert device_weights(50).shape == (50, 400)
    assert (device_weights(50).sum(axis=0) == 50).all()


# ---------------------------------------------------------------------------------- laws


LAWS: dict[str, Any] = {"lognormal": stats.lognorm(0.6, scale=3.0), "weibull": stats.weibull_min(1.7, scale=3.0)}
TRUTHS = {"lognormal": {"median": 3.0, "sigma": 0.6}, "weibull": {"scale": 3.0, "shape": 1.7}}


def censored_at(law: Any, draw: np.random.Generator, size: Any, right: float, left: float) -> tuple[Any, Any]:
    """Values and statuses with these shares beyond the bounds."""
    x = law.rvs(size=size, random_state=draw)
    low, high = law.ppf(left), law.ppf(1 - right)
    status = np.where(x > high, RIGHT_CENSORED, np.where(x < low, LEFT_CENSORED, OK))
    return np.clip(x, low, high), status


@pytest.mark.parametrize("family", LAWS)
@pytest.mark.parametrize("left", [0.0, 0.1])
def test_censored_fits_are_unbiased_and_their_intervals_hold(family: str, left: float) -> None:
    """30 % right-censored, with and without 10 % left-censored."""
    draw = np.random.default_rng(11)
    found = []
    for _ in range(250):
        laws = fit_laws(sample(*censored_at(LAWS[family], draw, (100, 1), 0.3, left)))
        assert set(laws) == {"lognormal", "weibull"}
        found.append(laws[family].parameters())
    for name, truth in TRUTHS[family].items():
        values = np.array([p[name][0].value for p in found])
        errors = np.array([p[name][1] for p in found])
        assert within(float(np.mean([p[name][0].low <= truth <= p[name][0].high for p in found]))), name
        assert values.std() == pytest.approx(errors.mean(), rel=0.15)  # the spread of a spread: 4.5 %
        bias = 0.02 * truth  # of maximum likelihood at n = 100, of the order 1/n
        assert abs(values.mean() - truth) < 3.5 * values.std() / np.sqrt(250) + bias


@pytest.mark.parametrize("family", LAWS)
def test_cycles_of_a_device_widen_the_errors(family: str) -> None:
    """Every cycle repeats the first: the standard errors are those of one cycle."""
    x, status = censored_at(LAWS[family], np.random.default_rng(13), (200, 1), 0.3, 0.0)
    one = fit_laws(sample(x, status))[family]
    many = fit_laws(sample(np.repeat(x, 6, 1), np.repeat(status, 6, 1)))[family]
    assert many.location == pytest.approx(one.location, abs=1e-4)
    np.testing.assert_allclose(np.sqrt(np.diag(many.covariance)), np.sqrt(np.diag(one.covariance)), rtol=0.3)


@pytest.mark.parametrize("family", LAWS)
def test_fits_agree_with_scipy(family: str) -> None:
    x, status = censored_at(LAWS[family], np.random.default_rng(17), (80, 1), 0.3, 0.1)
    law = fit_laws(sample(x, status))[family]
    data = stats.CensoredData(
        uncensored=x[status == OK], right=x[status == RIGHT_CENSORED], left=x[status == LEFT_CENSORED]
    )
    kind = {"lognormal": stats.lognorm, "weibull": stats.weibull_min}[family]
    shape, _, scale = kind.fit(data, floc=0)
    assert law.location == pytest.approx(np.log(scale), abs=2e-3)
    assert law.scale == pytest.approx(shape if family == "lognormal" else 1 / shape, rel=2e-3)
    theirs = kind(law.scale if family == "lognormal" else 1 / law.scale, scale=np.exp(law.location))
    likelihood = theirs.logpdf(x[status == OK]).sum() + theirs.logsf(x[status == RIGHT_CENSORED]).sum()
    likelihood += theirs.logcdf(x[status == LEFT_CENSORED]).sum()
    assert law.aic == pytest.approx(4 - 2 * likelihood)
    np.testing.assert_allclose(law.cdf(law.quantile(np.array([0.1, 0.5, 0.9]))), [0.1, 0.5, 0.9])


def test_the_smaller_aic_finds_the_law() -> None:
    draw = np.random.default_rng(19)
    for family, law in LAWS.items():
        found = [fit_laws(sample(*censored_at(law, draw, (200, 1), 0.2, 0.0))) for _ in range(40)]
        right = [min(laws.values(), key=lambda fitted: fitted.aic).family == family for laws in found]
        assert np.mean(right) > 0.85


def test_components_of_the_censored_are_those_of_all() -> None:
    """30 % beyond the bound: the analysis of variance of the others would find two thirds of the D2D spread."""
    draw, truth = np.random.default_rng(21), {"between": 0.5, "within": 0.3, "total": np.hypot(0.5, 0.3)}
    bound = np.exp(truth["total"] * stats.norm.ppf(0.7))
    found, naive = [], []
    for _ in range(100):
        x = np.exp(planted(draw, 0.5, 0.3, 60, 5) - 2.0)
        status = np.where(x > bound, RIGHT_CENSORED, OK)
        one = censored_components(np.minimum(x, bound), status)
        assert one is not None
        found.append(one)
        naive.append(variance_components(np.log(x), status == OK).between.value)
    for name, sigma in truth.items():
        estimates = [getattr(one, name) for one in found]
        assert np.mean([e.low <= sigma <= e.high for e in estimates]) >= 0.87, name  # 95 % less 3.7 standard errors
        values = np.array([e.value for e in estimates])
        bias = 0.02  # of maximum likelihood with 60 devices: half a part in 60, of σ_b
        assert abs(values.mean() - sigma) < 3.5 * values.std() / np.sqrt(100) + bias * sigma
    assert np.mean(naive) < 0.4


def test_components_without_censoring_are_those_of_the_analysis_of_variance() -> None:
    x = planted(np.random.default_rng(22), 0.5, 0.3, 200, 6)
    one = censored_components(np.exp(x), np.zeros(x.shape, int))
    other = variance_components(x, np.ones(x.shape, bool))
    assert one is not None
    for name in ("between", "within", "total"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.value == pytest.approx(b.value, rel=0.005)  # 1/200 degrees of freedom
        assert a.high - a.low == pytest.approx(b.high - b.low, rel=0.2)
    assert censored_components(-x, np.zeros(x.shape, int)) is None
    assert censored_components(np.exp(x[:, :1]), np.zeros((200, 1), int)) is None
    assert censored_components(np.ones((9, 3)), np.full((9, 3), RIGHT_CENSORED)) is None


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([1.0] * 20, [RIGHT_CENSORED] * 20),
        ([1.0, 2.0, 3.0, 4.0] + [9.0] * 20, [OK] * 4 + [RIGHT_CENSORED] * 20),
        ([2.0] * 20, [OK] * 20),
        ([-1.0] + [2.0, 3.0] * 10, [OK] * 21),
        ([np.nan] * 5, [UNDEFINED] * 5),
    ],
    ids=["all censored", "few events", "no spread", "negative", "nothing"],
)
def test_what_is_not_determined_is_no_error(values: list[float], status: list[int]) -> None:
    assert fit_laws(sample(np.array(values)[:, None], np.array(status)[:, None])) == {}


# ---------------------------------------------------------------------------------- survival


def test_kaplan_meier_of_the_leukaemia_trial() -> None:
    """Remission (weeks) of the 21 patients on 6-mercaptopurine (Freireich et al. 1963), the textbook's curve and its
    plain Greenwood standard errors on the log-log scale (Kalbfleisch and Prentice, table 1.1)."""
    weeks = np.array([6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35], float)
    censored = np.array([0, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1])
    curve = kaplan_meier(sample(weeks[:, None], np.where(censored, RIGHT_CENSORED, OK)[:, None]))
    assert curve is not None
    np.testing.assert_array_equal(curve.at, [6, 7, 10, 13, 16, 22, 23])
    np.testing.assert_allclose(curve.share, [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], atol=6e-4)
    greenwood = np.array([0.0764, 0.0869, 0.0963, 0.1068, 0.1141, 0.1282, 0.1346])
    reach = 1.96 * greenwood / (curve.share * np.abs(np.log(curve.share)))
    np.testing.assert_allclose(curve.low, curve.share ** np.exp(reach), atol=1e-3)
    np.testing.assert_allclose(curve.high, curve.share ** np.exp(-reach), atol=1e-3)
    assert curve.median() == 23
    assert curve.censored_at.size == 12


def test_cycles_of_a_device_widen_the_band() -> None:
    """The clustered variance is Greenwood's where each device has one observation, and stays it when cycles repeat."""
    x, status = censored_at(LAWS["weibull"], np.random.default_rng(23), (120, 1), 0.3, 0.0)
    one = sample(x, status)
    assert one is not None
    plain, forced = kaplan_meier(one), kaplan_meier(dataclasses.replace(one, clustered=True))
    many = kaplan_meier(sample(np.repeat(x, 5, 1), np.repeat(status, 5, 1)))
    assert plain is not None
    assert forced is not None
    assert many is not None
    middle = slice(10, -10)
    for other in (forced, many):
        np.testing.assert_allclose(other.share[middle], plain.share[middle], rtol=1e-6)
        np.testing.assert_allclose(other.low[middle], plain.low[middle], atol=0.02)
        np.testing.assert_allclose(other.high[middle], plain.high[middle], atol=0.02)


def test_nothing_happened() -> None:
    assert kaplan_meier(sample(np.ones((3, 1)), np.full((3, 1), RIGHT_CENSORED))) is None


# ---------------------------------------------------------------------------------- together


def pair(draw: np.random.Generator, d2d: float, c2c: float, devices: int, cycles: int) -> list[Reading]:
    """Two lognormal measurements with planted correlations between devices and within them."""

    def two(r: float, shape: tuple[int, ...]) -> np.ndarray:
        z = draw.standard_normal((2, *shape))
        return np.stack([z[0], r * z[0] + np.sqrt(1 - r * r) * z[1]])

    logs = 0.5 * two(d2d, (devices, 1)) + 0.3 * two(c2c, (devices, cycles))
    return [reading("a", np.exp(logs[0])), reading("b", 1e-3 * np.exp(logs[1]))]


def test_planted_correlations_are_found_each_at_its_level() -> None:
    """D2D of means over cycles: diluted, r = (0.25·0.8 - 0.09·0.5/C)/(0.25 + 0.09/C)."""
    cycles, d2d, c2c = 8, 0.8, -0.5
    expected = {"D2D": (0.25 * d2d + 0.09 * c2c / cycles) / (0.25 + 0.09 / cycles), "C2C": c2c}
    draw = np.random.default_rng(29)
    hits: dict[str, list[bool]] = {f"{level} {method}": [] for level in expected for method in ("pearson", "spearman")}
    for _ in range(REPETITIONS):
        for found in correlate(pair(draw, d2d, c2c, 40, cycles)):
            for method in ("pearson", "spearman"):
                r = expected[found.level]
                truth = r if method == "pearson" else 6 / np.pi * np.arcsin(r / 2)
                ends = found.interval(method, 0, 1)
                hits[f"{found.level} {method}"].append(ends.low <= truth <= ends.high)
    assert {name: within(float(np.mean(h))) for name, h in hits.items()} == dict.fromkeys(hits, True)


def test_correlations_of_what_does_not_vary_are_not_determined() -> None:
    found = correlate([reading("a", np.ones((10, 2))), reading("b", np.arange(20.0).reshape(10, 2))])
    assert [f.level for f in found] == ["D2D", "C2C"]
    assert np.isnan([f.pearson[0, 1] for f in found]).all()
    assert np.isnan(found[0].interval("pearson", 0, 1).low)
    assert correlate([reading("a", np.ones((10, 2)))]) == []


@pytest.mark.parametrize("cycles", [3, 6, 40, 250])
def test_white_noise_has_no_autocorrelation(cycles: int) -> None:
    """Also with few cycles, where the subtracted mean would make it look negative; the band holds 95 %."""
    draw = np.random.default_rng(31)
    found = []
    for _ in range(REPETITIONS):
        one = autocorrelation(planted(draw, 1.0, 0.3, 25, cycles), np.ones((25, cycles), bool), 2)
        assert one is not None
        found.append(one)
    values, band = np.stack([f.values for f in found]), found[0].band
    assert (np.abs(values.mean(axis=0)) < 3.5 * band / 1.96 / np.sqrt(REPETITIONS)).all()
    assert all(within(float(share)) for share in (np.abs(values) <= band).mean(axis=0))


def test_memory_from_cycle_to_cycle_is_found() -> None:
    draw = np.random.default_rng(37)
    x = draw.standard_normal((50, 60))
    for cycle in range(1, 60):
        x[:, cycle] = 0.6 * x[:, cycle - 1] + 0.8 * x[:, cycle]
    found = autocorrelation(x + 5 * draw.standard_normal((50, 1)), np.ones(x.shape, bool))
    assert found is not None
    np.testing.assert_allclose(found.values[:3], [0.6, 0.36, 0.216], atol=0.06)
    assert autocorrelation(x[:, :2], np.ones((50, 2), bool)) is None
    assert autocorrelation(np.ones((5, 5)), np.ones((5, 5), bool)) is None


# ------------------------------------------------------------------------------------- drift


@pytest.mark.parametrize(("devices", "cycles", "memory"), [(1, 2000, 0.0), (1, 2000, 0.6), (30, 40, 0.0)])
def test_a_planted_drift_is_found_and_its_interval_holds(devices: int, cycles: int, memory: float) -> None:
    """Devices with means of their own that rise by 0.3 of the cycles' standard deviation, with and without memory from
    cycle to cycle (first order autoregression): 95 % intervals hold in 95 % of 600, within three standard errors."""
    draw = np.random.default_rng(5)
    held, found = 0, []
    for _ in range(600):
        fresh = np.sqrt(1 - memory**2) * draw.standard_normal((devices, cycles + 50))
        noise = signal.lfilter([1.0], [1.0, -memory], fresh)[:, 50:]
        values = 5.0 * draw.standard_normal((devices, 1)) + np.linspace(0.0, 0.3, cycles) + noise
        change = drift(values, draw.random((devices, cycles)) < 0.9)
        assert change is not None
        held += change.low < 0.3 < change.high
        found.append(change.value)
    assert abs(np.mean(found) - 0.3) < 4 * np.std(found) / np.sqrt(600)
    assert abs(held / 600 - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 600)


def test_few_cycles_have_no_drift() -> None:
    assert drift(np.zeros((5, 9)), np.ones((5, 9), bool)) is None
