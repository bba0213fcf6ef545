"""The pictures show what the tree holds, say in which unit, and survive results with nothing in them."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest
import xarray as xr
from conftest import reduced
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from test_figures_gallery import faults

import mcdev
from mcdev.figures import (
    along_axis,
    arrhenius,
    axes,
    calibration,
    density_panels,
    distributions,
    exponential_fits,
    impedance,
    interval,
    ion_profiles,
    loops,
    numbers,
    paired_pulse,
    pulse_response,
    rate_change,
    recovery,
    train_response,
    waveform,
)
from mcdev.figures.pictures import PICTURES, draw_all
from mcdev.figures.style import dress, legend_above, remark, sheet
from mcdev.files.whole_file import ResultsError
from mcdev.measurements.contract import FAILED, OK, RIGHT_CENSORED

pytestmark = pytest.mark.usefixtures("unpolished")

SMALL: dict[str, Any] = {"particles": 6, "friction": 1.0}
PHYSICAL: dict[str, Any] = {
    "half_gap": "10 nm",
    "cooling_rate": "1 kHz",
    "threshold_voltage": "0.3 V",
    "pinning_energy": "0.0862 eV",
    "maximum_conductance": {"distribution": "uniform", "low": "0.8 mS", "high": "1.2 mS"},
    "background_temperature": "450 K",
}
TEMPERATURE = "device.background_temperature"


def run(protocol: dict[str, Any], measurements: dict[str, Any], changes: dict[str, Any], **device: Any) -> xr.DataTree:
    experiment = reduced(protocol, measurements, {"devices": 16}, **(SMALL | device))
    return mcdev.run(experiment.with_(changes), threads=1)


@pytest.fixture(scope="module")
def pulse() -> xr.DataTree:
    return run(
        {"kind": "pulse", "amplitude": "2 V", "width": "0.2 s", "rest": "0.02 s", "relaxation": "0.5 s"},
        {"delay": {"kind": "delay_time"}, "relaxation": {"kind": "relaxation_time"}},
        {},
    )


@pytest.fixture(scope="module")
def heated() -> xr.DataTree:
    """Pulses at four temperatures, with an Arrhenius fit and the paper's coefficients beside it."""
    fit = {"kind": "arrhenius", "measurement": "delay", "axis": TEMPERATURE}
    published = [
        {"measurement": "tau", "coefficient": "activation_temperature", "value": "1 K", "source": "a line"},
        {"measurement": "tau", "coefficient": "log_prefactor", "value": -4, "source": "its height"},
        {"measurement": "delay", "point": 2, "value": "0.1 s", "source": "a point"},
    ]
    return run(
        {"kind": "pulse", "amplitude": "3 V", "width": "0.3 s", "relaxation": "0.02 s", "relaxation_samples": 20},
        {"delay": {"kind": "delay_time", "fraction": 0.05}},
        {
            "sweep.axes": {TEMPERATURE: ["0.30 K", "0.35 K", "0.40 K", "0.45 K"]},
            "fits": {"tau": fit, "tau_mean": fit | {"statistic": "mean_response"}},
            "output.reference": published,
        },
    )


@pytest.fixture(scope="module")
def train() -> xr.DataTree:
    return run(
        {"kind": "pulse_train", "amplitude": "4 V", "width": "0.02 s", "period": "0.04 s", "count": 6},
        {"g": {"kind": "pulse_conductance"}, "peak": {"kind": "peak_pulse"}},
        {
            "ensemble.cycles": 2,
            "output.reference": [{"measurement": "g", "entry": 4, "value": 0.25, "source": "a quarter after 4"}],
        },
    )


@pytest.fixture(scope="module")
def trains() -> xr.DataTree:
    """Physical units, gaps that give sweep points of very different durations, devices that differ in G_max."""
    return run(
        {"kind": "pulse_train", "amplitude": "0.9 V", "width": "20 us", "gap": "20 us", "count": 4},
        {"g": {"kind": "pulse_conductance"}, "dw": {"kind": "weight_change"}},
        {"sweep.axes": {"protocol.gap": ["20 us", "200 us"]}},
        **PHYSICAL,
    )


@pytest.fixture(scope="module")
def rates() -> xr.DataTree:
    protocol = {"kind": "rate_change", "amplitude": "0.9 V", "width": "20 us", "rates": ["5 kHz", "20 kHz"]}
    return run(protocol | {"counts": [2, 4]}, {"g": {"kind": "pulse_conductance", "relative": False}}, {}, **PHYSICAL)


@pytest.fixture(scope="module")
def swept() -> xr.DataTree:
    return run(
        {"kind": "triangular_sweep", "amplitude": "2 V", "rate": "20 V/s", "loops": 2},
        {"on": {"kind": "threshold_voltage"}, "off": {"kind": "hold_voltage"}, "ratio": {"kind": "on_off_ratio"}},
        {},
    )


@pytest.fixture(scope="module")
def waved() -> xr.DataTree:
    return run(
        {"kind": "waveform", "time": [0, 1e-4, 2e-4], "voltage": [0, 0.5, 0], "samples_per_point": 5},
        {"g": {"kind": "mean_conductance"}},
        {},
        **PHYSICAL,
    )


# Devices of Shin et al. 2022 with some spread. The two-pulse trains also differ in an axis of numbers.

PRESETS = ["device_p", "device_1s", "device_2s"]
TRAIN: dict[str, Any] = {"amplitude": "3.5 V", "width": "0.1 s", "samples_per_pulse": 5, "samples_per_gap": 4}


def omiec(protocol: dict[str, Any], measurements: dict[str, Any], **more: Any) -> xr.DataTree:
    experiment = mcdev.build(
        {
            "name": "test",
            "device": {
                "preset": "device_p",
                "thickness": {"distribution": "lognormal", "median": "100 nm", "sigma": 0.03},
            },
            "protocol": protocol,
            "measurements": measurements,
            "sweep": {"axes": {"device.preset": PRESETS}},
            "ensemble": {"devices": 6},
        }
        | more
    )
    return mcdev.run(experiment, threads=1)


@pytest.fixture(scope="module")
def spectra() -> xr.DataTree:
    return omiec(
        {"kind": "impedance", "settling": "0.1 s", "lowest": "1 Hz", "highest": "1 MHz", "per_decade": 5},
        {"conductivity": {"kind": "equivalent_circuit"}},
        circuit={"kind": "series_resistor", "resistance": "100 ohm"},
        output={"reference": [{"measurement": "conductivity", "point": 2, "value": "7.72e-9 S/m", "source": "T1"}]},
    )


@pytest.fixture(scope="module")
def turned_on() -> xr.DataTree:
    """Pulses of four magnitudes on two devices, the first not the smallest."""
    return omiec(
        {"kind": "pulse", "amplitude": "3.5 V", "width": "10 s", "samples_per_pulse": 80, "relaxation": "0 s"},
        {"tau_on": {"kind": "exponential_fit"}, "late": {"kind": "exponential_fit", "start": "1 s", "duration": "3 s"}},
        sweep={"axes": {"device.preset": PRESETS[::2], "protocol.amplitude": ["3.5 V", "3 V", "4 V", "4.5 V"]}},
        output={"reference": [{"measurement": "tau_on", "point": 5, "value": "0.64 s", "source": "Table 1"}]},
    )


@pytest.fixture(scope="module")
def facilitated() -> xr.DataTree:
    """Two pulses at eight intervals, with two decay times along them."""
    gap = {"start": "0.05 s", "stop": "20 s", "count": 8, "spacing": "log"}
    return omiec(
        {"kind": "pulse_train", "count": 2, "gap": "50 ms"} | TRAIN,
        {"ppf": {"kind": "paired_pulse"}},
        sweep={"axes": {"device.preset": PRESETS, "protocol.gap": gap}},
        fits={
            "decay": {"kind": "double_exponential", "measurement": "ppf", "axis": "protocol.gap", "statistic": "mean"}
        },
        output={
            "reference": [
                {"measurement": "ppf", "point": 9, "value": 0.444, "source": "Table 1"},
                {"measurement": "decay", "coefficient": "tau_1", "point": 2, "value": "96 ms", "source": "Table 1"},
                {"measurement": "decay", "coefficient": "tau_2", "point": 2, "value": "2.14 s", "source": "Table 1"},
            ]
        },
    )


@pytest.fixture(scope="module")
def recovered() -> xr.DataTree:
    return omiec(
        {"kind": "recovery", "gap": "50 ms", "recovery": "10 s"} | TRAIN,
        {"index": {"kind": "paired_pulse", "first": 1, "second": 5}},
        sweep={
            "mode": "zip",
            "axes": {"device.preset": PRESETS, "protocol.recovery": ["12 s", "9 s", "5 s"]},
        },
        output={"reference": [{"measurement": "index", "point": 3, "value": 0.023, "source": "Table 1"}]},
    )


@pytest.fixture(scope="module")
def hysteresis() -> xr.DataTree:
    return omiec(
        {"kind": "triangular_sweep", "amplitude": "4 V", "rate": "1 V/s", "samples_per_branch": 20},
        {"area": {"kind": "loop_area"}},
    )


@pytest.fixture(scope="module")
def ions(recovered: xr.DataTree) -> xr.DataTree:
    """Layers of 1 nm at both electrodes of a device of 100 nm, on a graded grid; larger while the voltage is on."""
    one_side = np.append(0.0, np.geomspace(0.02e-9, 50e-9, 40))
    position = np.concatenate([one_side, 100e-9 - one_side[-2::-1]])
    volts = recovered["response"].dataset["voltage"].values[:, :1, :, None]
    layers = np.exp(-position / 1e-9) - np.exp(-(100e-9 - position) / 1e-9)
    numbers_of = {"anions": 1e27 * np.exp(volts * layers), "cations": 1e27 * np.exp(-volts * layers)}
    values = numbers_of | {"potential": volts * (1 - position / 100e-9)}
    dims = ("point", "kept_cycle", "sample", "bin")
    units = {"anions": "1/m^3", "cations": "1/m^3", "potential": "V"}
    other = recovered.copy(deep=True)
    other["profile"].dataset = xr.Dataset(
        {name: (dims, array, {"units": units[name]}) for name, array in values.items()},
        coords={"position": (("point", "bin"), np.tile(position, (volts.shape[0], 1)), {"units": "m"})},
    )
    return other


def panel(figure: Figure, y: str) -> Axes:
    """The one panel whose vertical axis begins with these words."""
    found = [a for a in figure.axes if a.get_ylabel().startswith(y)]
    assert len(found) == 1, [a.get_ylabel() for a in figure.axes]
    return found[0]


def line(panel: Axes, label: str) -> Line2D:
    found = [drawn for drawn in panel.get_lines() if drawn.get_label() == label]
    assert len(found) == 1, [drawn.get_label() for drawn in panel.get_lines()]
    return found[0]


def ydata(drawn: Line2D) -> np.ndarray:
    return np.asarray(drawn.get_ydata(), float)


def xdata(drawn: Line2D) -> np.ndarray:
    return np.asarray(drawn.get_xdata(), float)


def bars(panel: Axes, number: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Heights and half-lengths of error bars."""
    drawn = panel.containers[number]
    assert isinstance(drawn, ErrorbarContainer)
    heights, _, lengths = drawn.lines
    assert isinstance(heights, Line2D)
    assert isinstance(lengths[0], LineCollection)
    return ydata(heights), np.array([0.5 * (bar[1, 1] - bar[0, 1]) for bar in lengths[0].get_segments()])


def texts(figure: Figure) -> str:
    """Every word in a figure, its legends included."""
    return "\n".join(t.get_text() for t in figure.findobj(Text) if isinstance(t, Text))


def mean(tree: xr.DataTree, channel: str, point: int = 0) -> np.ndarray:
    values = tree["response"].dataset[channel].isel(point=point, kept_cycle=0).values
    return np.asarray(values[np.isfinite(values)])


def changed(tree: xr.DataTree, group: str, **arrays: np.ndarray) -> xr.DataTree:
    """A copy with other numbers in some variables of a group."""
    other = tree.copy(deep=True)
    data = tree[group].to_dataset()
    other[group].dataset = data.assign({name: data[name].copy(data=array) for name, array in arrays.items()})
    return other


def emptied(tree: xr.DataTree) -> xr.DataTree:
    """The same run if no realisation had stayed intact."""
    named = [f"{kind}/{name}" for kind in ("mean_response", "measurements", "fits") for name in tree[kind].children]
    for group in ("response", "trajectories", "profile", "spectrum", *named):
        arrays = {str(name): values.values for name, values in tree[group].to_dataset().data_vars.items()}
        nothing = {n: np.full_like(a, np.nan) for n, a in arrays.items() if a.dtype.kind == "f"}
        failed = {n: np.where(a >= 0, FAILED, a) for n, a in arrays.items() if n == "status"}
        known = {n: arrays[n] for n in ("time", "width", "frequency") if n in arrays}
        tree = changed(tree, group, **(nothing | failed | known))
    return tree


# ---------------------------------------------------------------------------------------- each picture


def test_pulse_response_shows_mean_spread_and_density(pulse: xr.DataTree) -> None:
    figure = pulse_response.draw(pulse)
    answer = panel(figure, "conductance")
    drawn = line(answer, "mean of 16")
    np.testing.assert_array_equal(ydata(drawn), mean(pulse, "conductance"))
    np.testing.assert_allclose(xdata(drawn), mean_time(pulse))
    assert answer.get_ylabel() == r"conductance $G/G_{\mathrm{max}}$"
    assert answer.get_xlabel() == r"time ${\kappa} t$"
    said = texts(figure).split("\n")
    assert {"5–95 %", "± s.e.m.", "single"} <= set(said)
    assert said.count("moments of the densities below") == 1
    assert sum(drawn.get_label() in ("single", "_single") for drawn in answer.get_lines()) == 3

    panels = [a for a in figure.axes if a.get_yscale() == "log"]
    assert len(panels) == 4
    assert panels[-1].get_xlabel() == "$x/L$"
    assert [t.get_text() for p in panels for t in p.texts] == ["a1", "a2", "a3", "a4"]
    position = pulse["trajectories"].dataset["position"].isel(point=0, kept_cycle=0, trajectory=0, sample=-1).values
    np.testing.assert_array_equal(xdata(line(panels[-1], "particles")), position)


def mean_time(tree: xr.DataTree) -> np.ndarray:
    return np.asarray(tree["response"].dataset["time"].isel(point=0).values)


def test_every_sweep_point_has_its_mean(heated: xr.DataTree) -> None:
    answer = panel(pulse_response.draw(heated), "conductance")
    for point, label in enumerate(("0.3", "0.35", "0.4", "0.45")):
        np.testing.assert_array_equal(ydata(line(answer, label)), mean(heated, "conductance", point))


def test_train_response_marks_what_is_published(train: xr.DataTree) -> None:
    figure = train_response.draw(train)
    answer = panel(figure, "conductance")
    np.testing.assert_allclose(ydata(line(answer, "mean of 16")), mean(train, "conductance"), rtol=1e-6)
    diamond = line(answer, "a quarter after 4")
    assert diamond.get_marker() == "D"
    assert ydata(diamond) == [0.25]
    assert xdata(diamond) == pytest.approx([3 * 0.04 + 0.0175])
    measured = train["measurements/g"].dataset["value"].isel(point=0, cycle=0).mean("device").values
    np.testing.assert_allclose(bars(answer)[0], measured, rtol=1e-6)
    assert "cycle 1 of 2" in texts(figure)
    assert sum(a.get_yscale() == "log" for a in figure.axes) == 6


def test_train_of_devices_that_differ_has_two_axes(trains: xr.DataTree) -> None:
    figure = train_response.draw(trains)
    assert panel(figure, "conductance").get_ylabel() == "conductance $G$ (µS)"
    assert panel(figure, "$G").get_ylabel() == r"$G\,/\,G_{\mathrm{max}}$"
    assert panel(figure, "conductance").get_xlabel() == "time $t$ (µs)"
    assert "gap (µs): 20, point 1 of 2" in texts(figure)


def test_interval_has_a_line_a_point(trains: xr.DataTree) -> None:
    figure = interval.draw(trains)
    upper, lower = figure.axes
    assert lower.get_xlabel() == "pulse number"
    assert lower.get_ylabel() == r"$(G_{n}\,-\,G_{1})/G_{\mathrm{max}}$"
    assert [c.get_label() for c in upper.containers] == ["20", "200"]
    assert "gap (µs), mean of 16, ± s.e.m." in texts(figure)
    values = trains["measurements/g"].dataset["value"].isel(point=1, cycle=0).values
    heights, lengths = bars(upper, 1)
    np.testing.assert_allclose(heights, values.mean(axis=0))
    np.testing.assert_allclose(lengths, values.std(axis=0, ddof=1) / np.sqrt(16))


def test_rate_change_names_the_rates(rates: xr.DataTree) -> None:
    figure = rate_change.draw(rates)
    by_number, by_time = figure.axes
    assert by_number.get_ylabel() == "g (µS)"
    assert by_time.get_ylabel() == "conductance $G$ (µS)"
    assert {"5 kHz", "20 kHz"} <= set(texts(figure).split("\n"))
    drawn = bars(by_number)[0]
    np.testing.assert_allclose(drawn, 1e6 * rates["measurements/g"].dataset["value"].values.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(ydata(line(by_time, "mean of 16")), 1e6 * mean(rates, "conductance"), rtol=1e-6)


def test_loops_are_of_the_first_loop(swept: xr.DataTree) -> None:
    figure = loops.draw(swept)
    current, conductance = figure.axes
    assert current.get_yscale() == "log"
    assert current.get_ylabel() == r"current $|I|/(G_{\mathrm{max}}\,V_{\mathrm{th}})$"
    assert conductance.get_xlabel() == r"source voltage $V/V_{\mathrm{th}}$"
    means = [drawn for drawn in current.get_lines() if drawn.get_label() == "mean"]
    expected = np.abs(mean(swept, "current"))
    np.testing.assert_array_equal(np.concatenate([ydata(drawn) for drawn in means]), expected[: expected.size // 2])
    assert "loop 1 of 2" in texts(figure)
    medians = {r["measurement"]: r["median"] for r in mcdev.summarise(swept)}
    marked = [xdata(drawn)[0] for drawn in conductance.get_lines() if xdata(drawn).size == 2]
    assert sorted(marked) == sorted(value for name, value in medians.items() if name != "ratio" and value is not None)


def test_arrhenius_draws_points_fit_and_paper(heated: xr.DataTree) -> None:
    figure = arrhenius.draw(heated)
    upper, lower = figure.axes
    assert upper.get_xlabel() == "$w_p/k_B T$"
    assert upper.get_ylabel() == r"delay $\tau$ ($1/{\kappa}$)"
    medians = [r["median"] for r in mcdev.summarise(heated)]
    np.testing.assert_allclose(bars(upper)[0], medians)
    central = heated["mean_response/delay"].dataset["value"].isel(kept_cycle=0, replicate=0).values
    np.testing.assert_allclose(bars(lower)[0], central[np.isfinite(central)])
    assert ydata(line(upper, "a point")) == [0.1]
    paper = line(upper, "a line")
    np.testing.assert_allclose(np.log(ydata(paper)), -4 + xdata(paper))
    fits = heated["fits/tau"].dataset
    fitted = next(drawn for drawn in upper.get_lines() if str(drawn.get_label()).startswith("fit: $A = "))
    slope, intercept = np.polyfit(xdata(fitted), np.log(ydata(fitted)), 1)
    assert slope == pytest.approx(float(fits["activation_temperature"][0]))
    assert intercept == pytest.approx(float(fits["log_prefactor"][0]))


def test_distributions_count_the_censored(pulse: xr.DataTree) -> None:
    values = np.linspace(0.01, 0.05, 16)
    status = np.where(np.arange(16) < 4, RIGHT_CENSORED, OK)
    measured = {"value": values[None, :, None], "status": status[None, :, None]}
    figure = distributions.draw(changed(pulse, "measurements/delay", **measured))
    left, right = figure.axes[:2]
    assert left.get_xlabel() == r"delay ($1/{\kappa}$)"
    assert "12 ok, 4 right-censored" in texts(figure)
    steps = right.get_lines()[0]
    assert ydata(steps).max() == pytest.approx(12 / 16)
    np.testing.assert_array_equal(xdata(steps)[1:-1], values[4:])


def test_distributions_spanning_decades_are_logarithmic(swept: xr.DataTree) -> None:
    for lowest, expected in ((1.0, "log"), (200.0, "linear"), (0.0, "linear")):
        ratio = np.append(lowest, np.linspace(300, 1000, 15))[None, :, None]
        figure = distributions.draw(changed(swept, "measurements/ratio", value=ratio))
        assert [a.get_xscale() for a in figure.axes if a.get_xlabel() == "ratio"] == [expected, expected]


def test_waveform_in_physical_units(waved: xr.DataTree) -> None:
    figure = waveform.draw(waved)
    labels = [a.get_ylabel() for a in figure.axes]
    assert labels == ["voltage $V$ (V)", "current $I$ (µA)", "conductance $G$ (µS)"]
    assert figure.axes[-1].get_xlabel() == "time $t$ (µs)"
    source = line(figure.axes[0], "source")
    assert np.max(ydata(source)) == pytest.approx(0.5)
    assert np.max(xdata(source)) == pytest.approx(200)
    steps = line(figure.axes[1], "mean of 16")  # means over samples, from edge to edge of each
    np.testing.assert_allclose(ydata(steps), np.repeat(1e6 * mean(waved, "current"), 2), rtol=1e-6)
    edges = mcdev.experiment_of(waved).timeline.edges
    np.testing.assert_allclose(xdata(steps), np.repeat(1e6 * edges, 2)[1:-1], rtol=1e-6)


# ---------------------------------------------------------------------------------------- ions and presets


def per_device(tree: xr.DataTree, name: str, point: int) -> tuple[float, float]:
    """Mean of a measurement and its standard error."""
    values = tree[f"measurements/{name}"].dataset["value"].isel(point=point, cycle=0).values
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))


def labelled(figure: Figure, begin: str) -> list[str]:
    """Texts of the legends that begin with these words, each once."""
    return sorted({text for text in (t.get_text() for t in figure.findobj(Text)) if text.startswith(begin)})


def test_impedance_shows_spectra_and_the_circuit(spectra: xr.DataTree) -> None:
    figure = impedance.draw(spectra)
    size, phase, plane = figure.axes
    assert (size.get_xscale(), size.get_yscale(), phase.get_xscale(), plane.get_xscale()) == ("log",) * 3 + ("linear",)
    assert phase.get_xlabel() == "frequency $f$ (Hz)"
    assert plane.get_xlabel() == r"$\mathrm{Re}\,Z$ (MΩ)"
    data = spectra["spectrum"].dataset.isel(cycle=0).mean("device")
    for point, name in enumerate(PRESETS):
        z = (data["resistance"] + 1j * data["reactance"]).isel(point=point).values
        drawn = next(one for one in size.get_lines() if str(one.get_label()).startswith(name))
        np.testing.assert_allclose(ydata(drawn), np.abs(z))
        np.testing.assert_allclose(xdata(drawn), data["frequency"].isel(point=point).values)
        circuit = [one for one in plane.get_lines() if one.get_label() == "_circuit"][point]
        there = (xdata(circuit) + 1j * ydata(circuit))[:, None]
        assert np.abs(there - 1e-6 * z.conj()).min(axis=0).max() < 0.02e-6 * np.abs(z).max()
    (label,) = labelled(figure, "device_1s")
    assert label.endswith("(published: 7.72×10⁻¹¹ S/cm)")
    assert float(label.split(" = ")[1][:4]) == pytest.approx(1e9 * per_device(spectra, "conductivity", 1)[0], abs=0.01)


def test_circuit_of_a_circuit_is_itself() -> None:
    frequency = np.geomspace(1, 1e6, 31)
    elements = np.log([100.0, 3e7, 2e-9, 6e-8])
    found = impedance.fit_circuit(frequency, impedance.circuit(elements, frequency))
    np.testing.assert_allclose(found, elements, rtol=1e-6)


def test_exponential_fits_are_drawn_through_the_mean(turned_on: xr.DataTree) -> None:
    figure = exponential_fits.draw(turned_on)
    upper, lower = figure.axes
    assert upper.get_ylabel() == "current $I$ (µA)"
    assert upper.get_xlabel() == "time $t$ (s)"
    courses = [one for one in upper.get_lines() if one.get_marker() == "o"]
    assert len(courses) == 2  # one a device, at the first voltage listed
    for one, point in zip(courses, (0, 4), strict=True):
        assert set(ydata(one)) <= set(1e6 * mean(turned_on, "current", point))
    assert r"$\tau_\mathrm{on}$: preset, at amplitude 3.5 V, mean of 6" in texts(figure)
    value, error = per_device(turned_on, "tau_on", 4)
    assert f"device_2s: $\\tau$ = {numbers.with_error(1e3 * value, 1e3 * error)} ms (published: 640 ms)" in texts(
        figure
    )
    fitted = [one for one in upper.get_lines() if one.get_marker() != "o" and xdata(one).size]
    assert len(fitted) == 2
    slope = np.diff(np.log(np.abs(np.diff(ydata(fitted[0]))))) / np.diff(xdata(fitted[0]))[:-1]
    np.testing.assert_allclose(-1 / slope, per_device(turned_on, "tau_on", 0)[0], rtol=0.02)
    late = [xdata(one) for one in lower.get_lines() if one.get_marker() == "o"]
    assert all(0 <= x.min() < 0.2 and 2.8 < x.max() <= 3.0 for x in late)  # counted from the start of the fit


def test_currents_far_apart_are_scaled(turned_on: xr.DataTree) -> None:
    current = turned_on["response"].dataset["current"].values.copy()
    current[4:] *= 100
    figure = exponential_fits.draw(changed(turned_on, "response", current=current))
    assert figure.axes[0].get_ylabel() == r"current $I/I_{\mathrm{max}}$"
    assert max(ydata(one).max() for one in figure.axes[0].get_lines() if one.get_marker() == "o") <= 1.0


def test_along_an_axis_means_are_sorted_and_diamonds_published(turned_on: xr.DataTree) -> None:
    upper, lower = along_axis.draw(turned_on).axes
    assert (upper.get_xlabel(), upper.get_ylabel(), lower.get_ylabel()) == (
        "amplitude (V)",
        r"$\tau_\mathrm{on}$ (s)",
        "late (s)",
    )
    heights, lengths = bars(upper, 1)
    expected = [per_device(turned_on, "tau_on", point) for point in (5, 4, 6, 7)]  # 3, 3.5, 4, 4.5 V
    np.testing.assert_allclose(heights, [value for value, _ in expected])
    np.testing.assert_allclose(lengths, [error for _, error in expected])
    diamond = line(upper, "Table 1")
    assert (xdata(diamond)[0], ydata(diamond)[0]) == (3.5, 0.64)
    assert upper.get_xscale() == "linear"


def test_along_an_axis_decades_are_logarithmic(turned_on: xr.DataTree) -> None:
    values = turned_on["measurements/tau_on"].dataset["value"].values.copy()
    values[0] *= 100
    upper, lower = along_axis.draw(changed(turned_on, "measurements/tau_on", value=values)).axes
    assert (upper.get_yscale(), lower.get_yscale()) == ("log", "linear")


def test_along_an_axis_the_fit_is_drawn(facilitated: xr.DataTree) -> None:
    figure = along_axis.draw(facilitated)
    (only,) = figure.axes
    assert (only.get_xscale(), only.get_yscale(), only.get_xlabel()) == ("log", "linear", "gap (s)")
    assert len(only.containers) == 3
    fits = facilitated["fits/decay"].dataset
    fitted = [one for one in only.get_lines() if one.get_label() == "_decay"]
    for curve, one in enumerate(fitted):
        c = {key: float(fits[key][curve]) for key in ("c_0", "c_1", "c_2", "tau_1", "tau_2")}
        x = xdata(one)
        expected = c["c_1"] * np.exp(-x / c["tau_1"]) + c["c_2"] * np.exp(-x / c["tau_2"]) + c["c_0"]
        np.testing.assert_allclose(ydata(one), expected)
        points = [per_device(facilitated, "ppf", 8 * curve + i)[0] for i in range(8)]
        gaps = facilitated["sweep"].dataset["protocol.gap"].values[:8]
        np.testing.assert_allclose(np.interp(gaps, x, ydata(one)), points, atol=0.02)
    (label,) = labelled(figure, "device_1s")
    assert label.endswith("\n(published: 96 ms, 2.14 s)")
    assert r"$\tau_1$ = " in label


def test_along_an_axis_needs_one_of_numbers(
    heated: xr.DataTree, recovered: xr.DataTree, spectra: xr.DataTree, pulse: xr.DataTree, trains: xr.DataTree
) -> None:
    for tree in (heated, recovered, spectra, pulse, trains):  # arrhenius, zip with names, names, none, two values
        assert not along_axis.applies(tree)


def test_paired_pulses_are_relative_to_the_first(facilitated: xr.DataTree) -> None:
    assert not train_response.applies(facilitated)
    figure = paired_pulse.draw(facilitated)
    answer = panel(figure, "current")
    assert answer.get_xlabel() == "time $t$ (ms)"
    assert "preset, at gap 0.05 s, mean of 6" in texts(figure)
    assert len({str(one.get_color()) for one in answer.get_lines() if one.get_label() and ydata(one).size > 2}) == 3
    for point, name in zip((0, 8, 16), PRESETS, strict=True):
        drawn = next(one for one in answer.get_lines() if str(one.get_label()).startswith(name))
        y = ydata(drawn)[::2]
        assert y[:5].mean() == pytest.approx(1.0)
        assert y[9:14].mean() - 1 == pytest.approx(per_device(facilitated, "ppf", point)[0], rel=0.02)
    (label,) = labelled(figure, "device_1s")
    assert label.endswith("(published: 0.444)")
    assert len(panel(figure, "$V").get_lines()) == 1  # the same source for all


def test_recovery_is_cut_out(recovered: xr.DataTree) -> None:
    figure = recovery.draw(recovered)
    left, right = figure.axes[2:]
    assert left.get_ylabel() == r"current $I/\langle I_1\rangle$"
    assert left.get_xlim() == pytest.approx((0, 585))
    assert right.get_xlim() == pytest.approx((-35, 100))
    assert right.get_xlabel() == "$t - t_{5}$ (ms)"
    for name, point in zip(PRESETS, range(3), strict=True):
        drawn = next(one for one in right.get_lines() if str(one.get_label()).startswith(name))
        last = ydata(drawn)[xdata(drawn) > -1e-6][1:]
        assert last.mean() - 1 == pytest.approx(per_device(recovered, "index", point)[0], abs=0.03)
        assert xdata(drawn).max() == pytest.approx(100)
    (label,) = labelled(figure, "device_2s, 5")
    assert label.endswith("(published: 0.023)")
    assert "no intact realisation" not in texts(figure)


def test_ion_profiles_enlarge_both_electrodes(ions: xr.DataTree) -> None:
    assert ion_profiles.applies(ions)
    figure = ion_profiles.draw(ions)
    panels = np.reshape(np.array(figure.axes, dtype=object), (3, 3))
    assert [row[0].get_ylabel() for row in panels] == ["anions (1/m³)", "cations (1/m³)", r"potential $\phi$ (V)"]
    assert [row[1].get_yscale() for row in panels] == ["log", "log", "linear"]
    assert [p.get_xlim() for p in panels[2]] == [pytest.approx(limits) for limits in ((0, 4), (0, 100), (96, 100))]
    assert panels[2, 1].get_xlabel() == "position $x$ (nm)"
    moments = ion_profiles.moments(ions)
    assert len(moments) == 5
    assert len(panels[0, 0].get_lines()) == 5
    text, sample = moments[2]
    profile = ions["profile"].dataset["anions"].values[0, 0, sample]
    np.testing.assert_allclose(ydata(line(panels[0, 2], text)), profile)


def test_moments_of_the_ions_follow_the_pulse(turned_on: xr.DataTree, pulse: xr.DataTree) -> None:
    first, last = pulse["response"].dataset["window_pulse"].values[0, 0]
    samples = [sample for _, sample in ion_profiles.moments(pulse)]
    assert samples[0] == first - 1
    assert samples[2] == last - 1
    assert first < samples[1] < last - 1 < samples[3] < samples[4] == int(np.isfinite(mean_time(pulse)).sum()) - 1
    evenly = [sample for _, sample in ion_profiles.moments(turned_on)]  # nothing follows the pulse
    assert np.ptp(np.diff(evenly)) <= 1


def test_loops_of_devices_without_full_scale_are_linear_and_apart(hysteresis: xr.DataTree) -> None:
    figure = loops.draw(hysteresis)
    above, *below = figure.axes
    assert above.get_yscale() == "log"
    assert [p.get_title() for p in below] == PRESETS
    assert below[0].get_ylabel() == r"current $I/|I|_{\mathrm{max}}$"
    for p in below:
        drawn = np.concatenate([ydata(one) for one in p.get_lines()])
        assert (drawn.min() < -0.5, np.abs(drawn).max()) == (True, 1.0)


def test_presets_have_distinct_colours_and_numbers_a_scale(hysteresis: xr.DataTree, heated: xr.DataTree) -> None:
    assert axes.point_colours(hysteresis, [0, 1, 2]) == ["#000000", "#D55E00", "#0072B2"]
    assert all(isinstance(colour, tuple) for colour in axes.point_colours(heated, [0, 1, 2, 3]))


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (3.804, 0.04, "3.80(4) s"),
        (0.01234, 0.0002, "12.34(20) ms"),
        (3.8, np.nan, "3.8 s"),
        (2.81886, 1e-6, "2.819 s"),
        (np.nan, 1.0, "no value"),
    ],
)
def test_numbers_carry_their_error(waved: xr.DataTree, value: float, error: float, expected: str) -> None:
    assert numbers.with_unit(waved, "s", value, error) == expected


def test_small_numbers_are_powers_of_ten(waved: xr.DataTree) -> None:
    assert numbers.with_unit(waved, "S/m", 2.79e-9, 0.05e-9) == "2.79(5)×10⁻¹¹ S/cm"


# ---------------------------------------------------------------------------------------- scales


@pytest.mark.parametrize(
    ("unit", "largest", "shown"),
    [
        ("s", 2e-5, "µs"),
        ("A", 1e-7, "nA"),
        ("S", 9.99e-4, "µS"),
        ("S", 1e-3, "mS"),
        ("V", 0.75, "V"),
        ("V", 0.01, "mV"),
    ],
)
def test_prefix_suits_the_largest_value(waved: xr.DataTree, unit: str, largest: float, shown: str) -> None:
    scale = axes.scale(waved, unit, np.array([0.0, -largest, np.nan]))
    assert scale.unit == shown
    assert (0.1 if unit == "V" else 0.999) <= largest * scale.factor < 1000


@pytest.mark.parametrize("values", [[], [np.nan], [0.0]])
def test_scale_of_nothing_is_plain(waved: xr.DataTree, values: list[float]) -> None:
    assert axes.scale(waved, "s", np.array(values)) == axes.Scale(1.0, "s")


# ---------------------------------------------------------------------------------------- poor results


@pytest.mark.parametrize(
    "name",
    [
        "pulse",
        "heated",
        "train",
        "trains",
        "rates",
        "swept",
        "waved",
        "spectra",
        "turned_on",
        "facilitated",
        "recovered",
        "hysteresis",
        "ions",
    ],
)
def test_nothing_intact_is_drawn_and_said(name: str, request: pytest.FixtureRequest) -> None:
    empty = emptied(request.getfixturevalue(name))
    for picture in PICTURES:
        if picture.applies(empty):
            figure = picture.draw(empty)
            figure.draw_without_rendering()
            words = texts(figure)
            assert any(w in words for w in ("no intact realisation", "no value at any temperature", "no uncensored"))


def test_one_device_has_no_spread(tmp_path: Path) -> None:
    tree = run(
        {"kind": "pulse", "amplitude": "2 V", "width": "0.01 s", "relaxation": "0.4 s"},
        {"delay": {"kind": "delay_time"}},
        {"ensemble.devices": 1},
    )
    tree["trajectories"].dataset = xr.Dataset()
    assert [path.name for path in draw_all(tree, tmp_path)] == ["pulse_response.png", "distributions.png"]
    figure = pulse_response.draw(tree)
    answer = panel(figure, "conductance")
    assert answer.get_xscale() == "log"  # a relaxation many times longer than the pulse
    assert answer.get_xlabel().endswith("after switch-on")
    np.testing.assert_array_equal(ydata(line(answer, "one device")), mean(tree, "conductance"))
    assert "s.e.m." not in texts(figure)


# ---------------------------------------------------------------------------------------- files


def test_draw_all_writes_what_applies(train: xr.DataTree, tmp_path: Path) -> None:
    mcdev.write(train, tmp_path)
    written = draw_all(mcdev.read(tmp_path), tmp_path / "figures")
    assert [path.name for path in written] == ["train_response.png", "distributions.png"]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(path.name for path in written)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_folder_that_cannot_be_written_is_said(waved: xr.DataTree, tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("a file, not a folder")
    with pytest.raises(ResultsError, match=r"waveform\.png cannot be written"):
        draw_all(waved, tmp_path / "figures")
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]


def test_pictures_have_distinct_names_and_global_settings_stay(waved: xr.DataTree) -> None:
    assert len({picture.NAME for picture in PICTURES}) == len(PICTURES)
    before = dict(matplotlib.rcParams)
    waveform.draw(waved)
    assert dict(matplotlib.rcParams) == before


def test_a_censored_end_of_the_band_is_said(heated: xr.DataTree) -> None:
    """An arrow where the 95 % quantile lies beyond what was observed."""
    status = np.full(heated["measurements/delay"].dataset["status"].shape, OK)
    assert "arrows:" not in texts(along_axis.draw(changed(heated, "measurements/delay", status=status)))
    status[2, :4] = RIGHT_CENSORED
    figure = along_axis.draw(changed(heated, "measurements/delay", status=status))
    marks = [line for line in figure.axes[0].get_lines() if line.get_marker() == r"$\uparrow$"]
    assert len(marks) == 1
    assert float(xdata(marks[0])[0]) == pytest.approx(0.40)
    assert "arrows: the band extends beyond" in texts(figure)


def parameters_of(count: int) -> xr.DataTree:
    """What the pictures of a calibration read of its parameters."""
    number = np.arange(count)
    data = {name: ("parameter", np.full(count, value)) for name, value in (("low", 0.9), ("high", 1.1), ("value", 1.0))}
    data |= {"unit": ("parameter", np.full(count, "1")), "determined": ("parameter", np.ones(count))}
    data |= {"singular_value": ("parameter", 10.0**-number), "parameter": ("parameter", [f"p{i}" for i in number])}
    data["correlation"] = (("parameter", "other"), np.eye(count))
    groups = {
        "/parameters": xr.Dataset(data),
        "/starts": xr.Dataset({"begin": (("start", "parameter"), np.ones((1, count)))}),
    }
    groups |= {"/targets": xr.Dataset(coords={"target": np.array([], str)})}
    history = {name: ("line", np.ones(2)) for name in ("loss", "stage", "taken")} | {"start": ("line", np.zeros(2))}
    return xr.DataTree.from_dict(groups | {"/history": xr.Dataset(history)})


@pytest.mark.parametrize("count", [1, 2, 9])
def test_few_parameters_of_a_calibration(count: int) -> None:
    """One is correlated with nothing; the numbers of few are written; an interval is wide enough to be seen."""
    drawn = dict(calibration.pictures(parameters_of(count)))
    assert ("correlation" in drawn) == (count > 1)
    if count > 1:
        assert ("1.00" in texts(drawn["correlation"]).split("\n")) == (count < 9)
    low, high = drawn["parameters"].axes[0].get_xlim()
    assert low == pytest.approx(1 / high)
    assert 1.1 < high < 1.3
    assert drawn["parameters"].get_figheight() >= 1.0


def test_moments_of_a_decay_on_a_logarithmic_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the mean has fallen to half, and no sample twice; on a linear axis soon after the pulse."""
    monkeypatch.setattr(pulse_response, "window", lambda tree, name: [(0, 1)])
    edges = np.array([0.0, 1.0, 2.0, 12.0, 112.0, 1112.0])
    mean = np.array([10.0, 10.0, 9.0, 4.0, 0.0])
    drawn = SimpleNamespace(edges=edges, time=0.5 * (edges[1:] + edges[:-1]), mean=mean, known=True)
    found = pulse_response._moments(None, drawn, logarithmic=True)
    assert [tuple(moment) for moment in found] == [("a1", 0), ("a2", 3), ("a3", 4)]
    assert [moment.sample for moment in pulse_response._moments(None, drawn, logarithmic=False)] == [0, 1, 4]


def test_long_names_of_an_axis_do_not_squeeze_a_panel() -> None:
    figure = sheet(2.0)
    axes = figure.subplots()
    remark(axes, "background temperature (K), width (ms), relaxation (ms): 300, 4, 80, point 1 of 4", "corner")
    figure.draw_without_rendering()
    assert axes.get_position().width > 0.7
    assert "\n" in axes.texts[0].get_text()


@pytest.mark.parametrize(
    "name", ["pulse", "heated", "train", "trains", "rates", "swept", "waved", "spectra", "turned_on", "recovered"]
)
@pytest.mark.parametrize("style", ["single", pytest.param("double", marks=pytest.mark.slow)])
def test_no_picture_of_a_run_has_faults(name: str, style: str, request: pytest.FixtureRequest) -> None:
    """No text on another or cut off, no legend in a panel; as wide as a column, and as both."""
    drawn = mcdev.draw(request.getfixturevalue(name), style=style)
    assert {one: wrong for one, figure in drawn.items() if (wrong := faults(figure))} == {}


def test_a_sweep_axis_is_in_the_unit_that_the_user_wrote(turned_on: xr.DataTree) -> None:
    """In that in which most of its values are written."""
    other = turned_on.copy(deep=True)
    written = str(turned_on["config/toml"].item())
    amplitudes = '["3.5 V", "3 V", "4 V", "4.5 V"]'
    assert amplitudes in written
    other["config/toml"] = written.replace(amplitudes, '["3500 mV", "3000 mV", "4 V", "4500 mV"]')
    upper = along_axis.draw(other).axes[0]
    assert upper.get_xlabel() == "amplitude (mV)"
    np.testing.assert_allclose(xdata(upper.get_lines()[0]), [3000, 3500, 4000, 4500])
    assert "preset, at amplitude 3500 mV" in texts(exponential_fits.draw(other))


def test_a_power_of_ten_stands_in_the_label() -> None:
    figure = sheet(3.0)
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot([1e-10, 3e-10], [1.0, 2.0])
    lower.plot([1e-10, 3e-10], [2e5, 8e5])
    dress(upper, "", "ratio")
    dress(lower, "conductivity (S/cm)", "misfit")
    figure.draw_without_rendering()
    assert (upper.get_xlabel(), upper.get_ylabel()) == ("", "ratio")
    assert lower.get_xlabel() == "conductivity ($10^{-10}$ S/cm)"
    assert faults(figure) == []
    lower.set_xlim(0.0, 3.0)
    figure.draw_without_rendering()
    assert lower.get_xlabel() == "conductivity (S/cm)"


def test_a_long_title_of_a_legend_takes_several_lines() -> None:
    figure = sheet(2.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label="one")
    legend_above(figure, [axes], "background temperature (K), width of the pulse (ms), relaxation (ms), mean of 16")
    assert faults(figure) == []


def test_names_of_moments_lie_beside_each_other() -> None:
    """Where points crowd, and at the panel's edges."""
    axes = sheet(2.0).subplots()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    points = [(0.0, 0.0), (0.01, 0.02), (0.02, 0.02), (0.03, 0.04), (1.0, 1.0)]
    taken: list[Bbox] = []
    places = [density_panels._free(axes, at, taken) for at in points]
    names = taken[1::2]
    for one, other in itertools.combinations(names, 2):
        assert not one.overlaps(other)
    assert places[0][0] > 0 > places[-1][0]
