"""Every picture of spread at one, two, four and twelve sweep points, with and without censoring: no text lies on
another, none is cut off. Text is judged by where it is drawn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import xarray as xr
from conftest import reduced
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox

import mcdev
from mcdev.devices.contract import CIRCUIT_CHANNELS
from mcdev.figures import along_axis, calibration, probability
from mcdev.figures.axes import symbol_of
from mcdev.figures.pictures import PICTURES
from mcdev.measurements.contract import OK, RIGHT_CENSORED
from mcdev.results.tree import assemble
from mcdev.schema.units import readable
from mcdev.simulation.gathering import PointResult
from mcdev.statistics import summarise

TRAIN = {
    "kind": "pulse_train",
    "amplitude": "3 V",
    "width": "20 ms",
    "period": "30 ms",
    "count": 3,
    "relaxation": "1 s",
}
MEASURED = {
    "tau_r": {"kind": "relaxation_time"},
    "tau_d": {"kind": "delay_time"},
    "g": {"kind": "pulse_conductance"},
    "ppf": {"kind": "paired_pulse"},
}
COURSES = ("waveform", "train_response", "pulse_response")  # there are no courses in these results


def results(points: int, censored: bool, devices: int = 24, cycles: int = 4) -> xr.DataTree:
    """What was never simulated: times over decades, of which a third is a bound, ratios of either sign, lists."""
    draw = np.random.default_rng(3)
    temperatures = [f"{0.4 + 0.01 * i:.2f} K" for i in range(points)]
    axes = {"device.background_temperature": temperatures} if points > 1 else {}
    ensemble = {"devices": devices, "cycles": cycles}
    experiment = reduced(TRAIN, MEASURED, ensemble).with_({"sweep.axes": axes, "output.quantiles": [0.5]})
    names = [*CIRCUIT_CHANNELS, "temperature"]
    found = []
    for number, (_, variant) in enumerate(experiment.points()):
        timeline = variant.timeline
        z = 0.3 * draw.standard_normal((4, devices, 1)) + 0.4 * draw.standard_normal((4, devices, cycles))
        tau = {"tau_r": np.exp(z[0] - 0.05 * number), "tau_d": 1e-3 * np.exp(2 * z[1] + 0.1 * number)}
        bounds = {"tau_r": 1.1, "tau_d": 1.2e-3} if censored else {"tau_r": np.inf, "tau_d": np.inf}
        g = np.exp(0.2 * z[3])[..., None] * np.array([0.2, 0.5, 0.9])
        course = np.zeros((cycles, timeline.samples))
        status = {name: np.where(x > bounds[name], RIGHT_CENSORED, OK) for name, x in tau.items()}
        of_mean = {name: np.ones((cycles, 3, *((3,) if name == "g" else ()))) for name in MEASURED}
        found.append(
            PointResult(
                timeline=timeline,
                parameters={name: np.ones(devices) for name in experiment.device.parameters()},
                values={name: np.minimum(x, bounds[name]) for name, x in tau.items()} | {"g": g, "ppf": z[2]},
                status=status | {"g": np.zeros(g.shape, int), "ppf": np.zeros(z[2].shape, int)},
                of_mean=of_mean,
                mean=dict.fromkeys(names, course),
                sem=dict.fromkeys(names, course),
                quantiles=dict.fromkeys(names, course[:, None]),
                trajectories={},
                profile={"density": np.zeros((*course.shape, variant.device.profile_bins.size))},
                impedance=np.empty((devices, cycles, 0), complex),
                intact=np.ones((devices, cycles), bool),
            )
        )
    return assemble(experiment, found, {})


def ticks(axes: Axes) -> Iterator[tuple[Text, bool]]:
    """Labels of the ticks, and whether each is drawn."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        room = 1e-9 * (high - low)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            inside = low - room <= tick.get_loc() <= high + room
            yield tick.label1, inside and axes.axison
            yield tick.label2, inside and axes.axison


def texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every text of a picture that is drawn, and where."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    of_ticks = dict(pair for axes in figure.axes for pair in ticks(axes))
    shown = [t for t in figure.findobj(Text) if of_ticks.get(t, True) and t.get_visible() and t.get_text().strip()]
    return [(t.get_text(), t.get_window_extent(canvas.get_renderer())) for t in shown]


def faults(figure: Figure) -> list[tuple[str, ...]]:
    """Texts that overlap by more than a pixel, texts beyond the picture's edge, and legends that lie in a panel, where
    they may hide what is drawn."""
    found: list[tuple[str, ...]] = []
    drawn = texts(figure)
    whole = figure.bbox.padded(1.0)
    found += [("cut off", text) for text, box in drawn if not whole.containsx(box.x0) or not whole.containsx(box.x1)]
    found += [("cut off", text) for text, box in drawn if not whole.containsy(box.y0) or not whole.containsy(box.y1)]
    for (one, a), (other, b) in itertools.combinations(drawn, 2):
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1:
            found.append((one, other))
    legends = [box.get_window_extent() for box in figure.findobj(Legend)]
    panels = [axes.bbox.padded(-1.0) for axes in figure.axes]
    found += [("legend in a panel",) for box in legends if any(box.overlaps(panel) for panel in panels)]
    return found


def test_faults_are_found() -> None:
    figure = Figure(figsize=(3, 2), layout="constrained")
    axes = figure.subplots()
    axes.set_title("well")
    assert faults(figure) == []
    axes.text(0.5, 0.5, "one upon", transform=axes.transAxes)
    axes.text(0.52, 0.51, "another", transform=axes.transAxes)
    figure.text(0.9, 0.5, "too long for the picture")
    assert ("one upon", "another") in faults(figure)
    assert ("cut off", "too long for the picture") in faults(figure)
    axes.plot([0, 1], [0, 1], label="line")
    assert ("legend in a panel",) not in faults(figure)
    axes.legend()
    assert ("legend in a panel",) in faults(figure)


EVERY = list(itertools.product([1, 2, 4, 12], [False, True]))


@pytest.mark.parametrize(
    ("points", "censored"),
    [pytest.param(*case, marks=() if case == (4, True) else pytest.mark.slow) for case in EVERY],
)
def test_no_text_lies_on_another_and_none_is_cut_off(points: int, censored: bool) -> None:
    tree = results(points, censored)
    found, drawn = {}, []
    for picture in PICTURES:
        if picture.NAME not in COURSES and picture.applies(tree):
            drawn.append(picture.NAME)
            if wrong := faults(picture.draw(tree)):
                found[picture.NAME] = wrong
    assert found == {}
    expected = {"distributions", "probability", "scatter_matrix", "device_to_device", "cycle_traces"}
    expected |= ({"survival"} if censored else set()) | ({"interval"} if points > 1 else set())
    assert set(drawn) == expected | ({"along_axis"} if points > 2 else set())


def test_medians_along_an_axis_where_values_are_censored() -> None:
    """And means where none is; how many values are uncensored stands there."""
    tree = results(4, True)
    rows = [r for r in summarise(tree, variability=False) if r["measurement"] == "tau_r"]
    figure = Figure()
    axes = figure.subplots()
    along_axis.panel(tree, "tau_r", axes)
    middle = next(line for line in axes.get_lines() if len(line.get_xdata()) == 4)
    expected = [np.nan if r["median"] is None else r["median"] for r in rows]
    np.testing.assert_allclose(middle.get_ydata(), expected)
    legend = axes.get_legend()
    assert legend is not None
    assert "median, 95 % interval" in legend.get_title().get_text()
    assert {t.get_text() for t in axes.texts} >= {str(r["n_ok"]) for r in rows}
    other = figure.subplots()
    along_axis.panel(tree, "ppf", other)
    rows = [r for r in summarise(tree, variability=False) if r["measurement"] == "ppf"]
    np.testing.assert_allclose(other.get_lines()[0].get_ydata(), [r["mean"] for r in rows])


def test_a_point_of_a_probability_plot_takes_one_line() -> None:
    """With the numbers of both laws, so that a legend is no taller than its panel."""
    tree = results(4, True)
    figure = probability.draw(tree)
    part = figure.subfigs[0]
    legend, panel = part.legends[0], part.axes[0]
    FigureCanvasAgg(figure).draw()
    assert len(legend.get_texts()) == 4 + 2
    assert "shape" in legend.get_texts()[0].get_text()
    assert legend.get_window_extent().height < panel.get_window_extent().height


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tau_d", r"$\tau_\mathrm{d}$"),
        ("tau", r"$\tau$"),
        ("tau_r_1e", r"$\tau_\mathrm{r}$, 1e"),
        ("sigma_on", r"$\sigma_\mathrm{on}$"),
        ("ppf", "PPF"),
        ("V_th", r"$V_\mathrm{th}$"),
        ("V_th_2", r"$V_\mathrm{th}$, 2"),
        ("V_th_", r"$V_\mathrm{th}$"),
        ("tau_", r"$\tau$"),
        ("on_off", "on off"),
        ("taud", "taud"),
    ],
)
def test_names_as_physics_writes_them(name: str, words: str) -> None:
    assert symbol_of(name) == words


def of_calibration(points: int, censored: bool) -> xr.DataTree:
    """Targets at so many points of a sweep on two devices, in the way of real ones: long names, values over decades; as
    many parameters as fit them, the last undetermined or at its bound. ``censored``: some numbers could not be read."""
    draw = np.random.default_rng(5)
    gaps = 0.05 * 2.0 ** np.arange(points)
    rows = [(device, gap) for device in ("P", "Device 1S") for gap in gaps]
    names = [f"interval: weight_change at protocol gap {readable(f'{gap} s')} ({device})" for device, gap in rows]
    count = len(rows)
    reported = np.array([0.6 * np.exp(-gap) for _, gap in rows])
    simulated = reported * np.exp(0.1 * draw.standard_normal(count))
    if censored:
        simulated[-1] = np.nan
    text = {
        "target": names,
        "unit": ["1"] * count,
        "series": [f"interval: weight_change ({device})" for device, _ in rows],
        "along": ["gap"] * count,
        "at_unit": ["s"] * count,
    }
    numbers = {"reported": reported, "uncertainty": 0.1 * reported, "simulated": simulated}
    numbers |= {"simulated_error": 0.03 * reported, "at": [gap for _, gap in rows]}
    numbers |= {"pull": (simulated - reported) / (0.1 * reported), "weight": np.arange(count) % 5 != 4}
    targets = {name: ("target", np.array(values)) for name, values in (text | numbers).items()}
    known = [
        "capacitance",
        "charge_gain (P)",
        "correlation.switching_rate.relaxation_time",
        "cycle_to_cycle.switching_rate",
    ]
    labels = [known[i % 4] + ("" if i < 4 else f" {i}") for i in range(points)]
    value = 10.0 ** np.arange(points)
    high = np.where(np.arange(points) == points - 1, 3.0, 1.2) * value
    matrix = np.clip(np.eye(points) + 0.3 * draw.standard_normal((points, points)), -1, 1)
    parameters = {"parameter": ("parameter", labels), "unit": ("parameter", ["uF/cm^2"] * points)}
    parameters |= {"value": ("parameter", value), "low": ("parameter", 0.8 * value), "high": ("parameter", high)}
    parameters |= {"upper_bound": ("parameter", high), "lower_bound": ("parameter", np.full(points, np.nan))}
    parameters |= {"determined": ("parameter", np.arange(points) < max(points - 1, 1))}
    parameters |= {"correlation": (("parameter", "other"), matrix)}
    parameters |= {"singular_value": ("direction", 30.0 * 0.4 ** np.arange(points))}
    lines = np.arange(12)
    history = {
        "start": lines // 6,
        "stage": lines % 6 // 3,
        "taken": np.ones(12, int),
        "loss": 300.0 / (1 + lines % 6) ** 3,
    }
    time = np.linspace(0, 8, 200)
    curve = {
        "time": time,
        "measured": 2e-7 * np.exp(-time),
        "simulated": 2.1e-7 * np.exp(-time),
        "sd": np.full(200, 2e-9),
    }
    profile = xr.Dataset(attrs={"title": labels[-1], "low": 0.5, "high": np.nan})
    profile["value"] = xr.Variable("grid", np.linspace(0.4, 2, 9), {"units": "uF/cm^2"})
    profile["chi_square"] = xr.Variable("grid", 20 * (np.linspace(0.4, 2, 9) - 1) ** 2)
    groups = {
        "/": xr.Dataset(attrs={"title": "t", "conclusions": ""}),
        "/targets": xr.Dataset(targets),
        "/parameters": xr.Dataset(parameters),
        "/starts": xr.Dataset(
            {"begin": (("start", "parameter"), np.outer([0.5, 2.0], value)), "loss": ("start", [1.0, 2.0])}
        ),
        "/history": xr.Dataset({name: ("line", values) for name, values in history.items()}),
        "/curve_1": xr.Dataset({name: ("sample", values) for name, values in curve.items()}, {}, {"title": "c"}),
        "/profile_1": profile,
    }
    return xr.DataTree.from_dict(groups)


@pytest.mark.parametrize(
    ("points", "censored"),
    [pytest.param(*case, marks=() if case == (4, True) else pytest.mark.slow) for case in EVERY],
)
def test_no_text_of_a_calibration_lies_on_another_and_none_is_cut_off(points: int, censored: bool) -> None:
    drawn = dict(calibration.pictures(of_calibration(points, censored)))
    assert {name: wrong for name, figure in drawn.items() if (wrong := faults(figure))} == {}
    expected = {"pulls", "history", "parameters", "curve_1", "profile_1"}
    assert set(drawn) == expected | ({"correlation", "along"} if points > 1 else set())


def test_reported_and_fitted_numbers_along_an_axis() -> None:
    """Each device in a colour, its points by rising gap."""
    figure = dict(calibration.pictures(of_calibration(4, False)))["along"]
    bars = [c for c in figure.axes[0].containers if isinstance(c, ErrorbarContainer)]
    assert [c.get_label() for c in bars] == ["P: reported", "P: fitted", "Device 1S: reported", "Device 1S: fitted"]
    for bar in bars:
        np.testing.assert_allclose(bar[0].get_xdata(), [0.05, 0.1, 0.2, 0.4])
    np.testing.assert_allclose(bars[0][0].get_ydata(), 0.6 * np.exp(-np.array([0.05, 0.1, 0.2, 0.4])))
    assert figure.axes[0].get_xlabel() == "gap (s)"


def test_an_interval_that_ends_at_its_bound_is_marked() -> None:
    axes = dict(calibration.pictures(of_calibration(4, False)))["parameters"].axes[0]
    marked = [line for line in axes.get_lines() if line.get_label() == "ends at its bound"]
    assert len(marked) == 4  # all upper ends are at a bound
    assert marked[-1].get_xdata()[0] == pytest.approx(3.0)


def test_pictures_are_as_wide_as_columns_and_their_type_can_be_read() -> None:
    """In millimetres; no type below 7 pt, also where a picture is as wide as a page. Only powers are smaller."""
    tree = results(4, True)
    wanted = [p.NAME for p in PICTURES if p.NAME not in COURSES and p.applies(tree)]
    for style, width in (("single", 89), ("double", 183)):
        for name, figure in mcdev.draw(tree, only=wanted, style=style).items():
            wide = name == "scatter_matrix"  # which is so by itself: too much for a column
            assert figure.get_figwidth() * 25.4 == pytest.approx(183 if wide else width)
            small = [t.get_text() for t in figure.findobj(Text) if t.get_text().strip() and t.get_fontsize() < 7]
            assert small == [], name
            if style == "double":
                assert faults(figure) == [], name
    with pytest.raises(mcdev.ConfigError, match='style = "triple": expected one of single, double'):
        mcdev.draw(tree, style="triple")
