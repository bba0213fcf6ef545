"""The pictures of spread show what the statistics say, and are drawn only where there is enough to show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from test_figures import line, texts, xdata, ydata
from test_statistics import made

from mcdev.figures import cycle_traces, device_to_device, probability, scatter_matrix, survival
from mcdev.figures.pictures import PICTURES, draw_all
from mcdev.measurements.contract import FAILED, OK, RIGHT_CENSORED
from mcdev.statistics.autocorrelation import autocorrelation
from mcdev.statistics.censored import fit_laws, sample
from mcdev.statistics.components import variance_components
from mcdev.statistics.survival import kaplan_meier

pytestmark = pytest.mark.usefixtures("unpolished")

BOUND = 1.6
OF_SPREAD = (probability, survival, scatter_matrix, device_to_device, cycle_traces)


def results(devices: int = 60, cycles: int = 5, bound: float = BOUND) -> xr.DataTree:
    """tau (s), censored above a bound, and three entries of g that go with it, at two temperatures."""
    draw = np.random.default_rng(1)
    b, w = draw.standard_normal((2, devices, 1)), draw.standard_normal((2, 2, devices, cycles))
    tau = np.exp(np.array([0.0, -0.4])[:, None, None] + 0.4 * b[0] + 0.25 * w[0])
    last = 0.2 * np.exp(0.3 * (0.8 * b[0] + 0.6 * b[1]) + 0.2 * w[1])
    g = last[..., None] * np.array([0.5, 0.8, 1.0]) - 0.2
    return made(
        {"tau": np.minimum(tau, bound), "g": g},
        {"tau": np.where(tau > bound, RIGHT_CENSORED, OK), "g": np.zeros(g.shape)},
        {"tau": np.ones((2, cycles, 3)), "g": np.ones((2, cycles, 3, 3))},
    )


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    return results()


def tau(tree: xr.DataTree, point: int = 0) -> tuple[np.ndarray, np.ndarray]:
    data = tree["measurements/tau"].to_dataset()
    return data["value"].values[point], data["status"].values[point]


def test_probability_paper_has_both_fits_on_both(tree: xr.DataTree) -> None:
    """g is negative in part: neither law, no row. On a law's own paper its line is straight."""
    figure = probability.draw(tree)
    left, right = figure.axes
    assert left.get_ylabel() == "share, probit axis"
    assert right.get_xlabel() == r"$\tau$ ($1/{\kappa}$)"
    laws = fit_laws(sample(*tau(tree)))
    for axes, straight in ((left, "lognormal"), (right, "Weibull")):
        for family in ("lognormal", "Weibull"):
            (drawn,) = [one for one in axes.get_lines() if str(one.get_label()).startswith(f"0.4: {family}")]
            x, y = np.log(xdata(drawn)), ydata(drawn)
            slopes = np.diff(y) / np.diff(x)
            if family == straight:
                np.testing.assert_allclose(slopes, 1 / laws[family.lower()].scale, rtol=1e-3)
            else:
                assert np.ptp(slopes) > 0.1
    points = next(one for one in left.get_lines() if one.get_marker() == ".")
    assert xdata(points).max() < BOUND
    values, status = tau(tree)
    assert f"0.4: 300 observations, {int((status == RIGHT_CENSORED).sum())} right-censored" in texts(figure)
    assert f"AIC {laws['weibull'].aic:.1f}" in texts(figure)
    curve = kaplan_meier(sample(values, status))
    assert curve is not None
    half = 1 - 0.5 * (curve.before() + curve.share)
    shown = np.isin(curve.at, xdata(points))
    np.testing.assert_allclose(ydata(points), laws["lognormal"].z(half[shown]))


def test_survival_has_band_and_ticks(tree: xr.DataTree) -> None:
    figure = survival.draw(tree)
    (axes,) = figure.axes
    assert axes.get_ylabel() == "share not yet reached"
    curve = kaplan_meier(sample(*tau(tree)))
    assert curve is not None
    (drawn,) = [one for one in axes.get_lines() if str(one.get_label()).startswith("0.4: 300 observations")]
    np.testing.assert_allclose(ydata(drawn)[1:-1], curve.share)
    assert len(axes.collections) == 2  # a band a point
    ticks = next(one for one in axes.get_lines() if one.get_label() == "_censored")
    assert xdata(ticks) == pytest.approx([BOUND])
    assert ydata(ticks) == pytest.approx([curve.share[-1]])


def test_scatter_matrix_shows_devices(tree: xr.DataTree) -> None:
    figure = scatter_matrix.draw(tree)
    assert len(figure.axes) == 9
    assert texts(figure).count("D2D") == 3
    assert "C2C" in texts(figure)
    below = figure.axes[3]
    (points,) = below.get_lines()
    values, status = tau(tree)
    known = np.where(status == OK, np.log(values), np.nan)
    seen = np.isfinite(known).any(axis=1)
    expected = np.exp(np.nanmean(known[seen], axis=1))
    np.testing.assert_allclose(xdata(points)[seen], expected)


def test_d2d_beside_c2c(tree: xr.DataTree) -> None:
    figure = device_to_device.draw(tree)
    left, right, left_g, right_g = figure.axes
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "s.d. between devices",
        "mean of a device, bar: s.d. of its cycles",
    ]
    assert right.get_ylabel() == r"$\sigma_\mathrm{ln}$"
    assert right_g.get_ylabel() == "standard deviation"
    heights = [c.patches[0].get_height() for c in right.containers if isinstance(c, BarContainer)]
    planted = np.array([0.4, 0.25])  # of results()
    deviation = planted / np.sqrt([2 * 60, 2 * 60 * 4])
    assert (np.abs(heights[:2] - planted) < 3 * deviation).all()
    values, status = tau(tree)
    dropped = variance_components(np.log(values), status == OK)
    assert dropped.total.value < planted[0]  # what leaving out the censored would have drawn
    assert heights[2] == pytest.approx(np.hypot(*heights[:2]))
    bars = next(c for c in left.containers if isinstance(c, ErrorbarContainer))
    middle = ydata(bars.lines[0])
    assert (np.diff(middle) >= 0).all()
    assert left.get_title() == "background temperature ($w_{p}/k_{B}$): 0.4\nleft out: 36 of 300 censored"
    assert left_g.get_ylabel().endswith("entry 3")


def test_traces_count_the_censored(tree: xr.DataTree) -> None:
    figure = cycle_traces.draw(tree)
    left, right = figure.axes[:2]
    assert sum(one.get_label() == "_device" for one in left.get_lines()) == 8
    values, status = tau(tree)
    line_up = np.where(status == OK, values, np.inf)
    expected = np.quantile(line_up, 0.5, axis=0, method="closest_observation")
    np.testing.assert_allclose(ydata(line(left, "median of all")), expected)
    memory = autocorrelation(np.log(np.where(status == OK, values, 1.0)), status == OK)
    assert memory is not None
    drawn = next(one for one in right.get_lines() if one.get_marker() == "o")
    np.testing.assert_allclose(ydata(drawn), memory.values)


def test_they_are_drawn_only_where_there_is_enough(tree: xr.DataTree, tmp_path: Path) -> None:
    names = {path.stem for path in draw_all(tree, tmp_path)}
    assert {picture.NAME for picture in OF_SPREAD} <= names
    few, one_cycle = results(12, 2), results(80, 1)
    assert [p.NAME for p in OF_SPREAD if p.applies(few)] == []
    assert {p.NAME for p in OF_SPREAD if p.applies(one_cycle)} == {"probability", "survival", "scatter_matrix"}
    assert not survival.applies(results(30, 1, np.inf))
    assert {p.NAME for p in PICTURES} >= {p.NAME for p in OF_SPREAD}


def test_nothing_was_measured(tree: xr.DataTree) -> None:
    """No picture applies, and none fails."""
    empty = tree.copy(deep=True)
    for group in empty["measurements"].children.values():
        status = group["status"]
        group["status"] = status.copy(data=np.full(status.shape, FAILED))
    assert [p.NAME for p in OF_SPREAD if p.applies(empty)] == []


def test_one_observation_that_varies_little_draws() -> None:
    """All censored but a handful, of one device each."""
    drawn = [p.draw(results(25, 3, 0.5)) for p in OF_SPREAD if p.applies(results(25, 3, 0.5))]
    assert all(isinstance(figure, Figure) for figure in drawn)
