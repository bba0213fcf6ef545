"""``mcdev measure``: what is read off a measured trace is what is read off the simulated one that it was made from."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from conftest import Ended
from hypothesis import given, settings
from hypothesis import strategies as st

import mcdev
from mcdev.measured import Layout
from mcdev.measured.look import look
from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED, UNDEFINED
from mcdev.results.file import read, write
from mcdev.results.of_files import measure, members_of
from mcdev.simulation.recorded import means

DEVICE: dict[str, Any] = {
    "kind": "volatile_threshold",
    "threshold_voltage": "0.6 V",
    "hold_voltage": "0.3 V",
    "switching_rate": {"distribution": "lognormal", "median": "200 Hz", "sigma": 0.3},
    "switching_exponent": 1.5,
    "relaxation_time": {"distribution": "lognormal", "median": "20 ms", "sigma": 0.2},
    "on_conductance": "100 uS",
    "off_conductance": "1 uS",
}
PULSE: dict[str, Any] = {
    "protocol": {
        "kind": "pulse",
        "amplitude": "1 V",
        "width": "40 ms",
        "rest": "5 ms",
        "relaxation": "100 ms",
        "read_voltage": "0.1 V",
    },
    "measurements": {
        "tau_d": {"kind": "delay_time"},
        "tau_r": {"kind": "relaxation_time"},
        "ratio": {"kind": "on_off_ratio"},
        "mean": {"kind": "mean_current"},
    },
}
MORE: dict[str, Any] = {
    "protocol": PULSE["protocol"],
    "measurements": {
        "tau_fit": {"kind": "relaxation_time", "by": "exponential_fit"},
        "tau": {"kind": "exponential_fit", "window": "relaxation"},
        "spikes": {"kind": "spike_count"},
    },
}
SWEEP: dict[str, Any] = {
    "protocol": {"kind": "triangular_sweep", "amplitude": "1 V", "rate": "20 V/s"},
    "measurements": {
        "v_th": {"kind": "threshold_voltage"},
        "v_hold": {"kind": "hold_voltage"},
        "area": {"kind": "loop_area"},
        "slope": {"kind": "switching_slope"},
    },
}
TRAIN: dict[str, Any] = {
    "protocol": {
        "kind": "pulse_train",
        "amplitude": "0.9 V",
        "width": "5 ms",
        "period": "15 ms",
        "count": 5,
        "read_voltage": "0.1 V",
        "relaxation": "50 ms",
    },
    "measurements": {
        "ppf": {"kind": "paired_pulse"},
        "g": {"kind": "pulse_conductance"},
        "peak": {"kind": "peak_pulse"},
        "weight": {"kind": "weight_change"},
    },
}
PATTERN = "dev{device}_c{cycle}.csv"


def experiment_of(table: dict[str, Any], devices: int = 3, cycles: int = 2, **more: Any) -> Any:
    size = {"devices": devices, "cycles": cycles, "cycle_to_cycle": {"switching_rate": 0.1}, "precision": "float64"}
    return mcdev.build({"name": "planted", "device": DEVICE, "ensemble": size, **table, **more})


def files_of(tree: xr.DataTree, experiment: Any, folder: Path, change: Callable[..., Any] | None = None) -> list[Path]:
    """A file for each device and cycle, a row for each sample. ``change``: what an instrument does to currents."""
    edges, voltage = experiment.timeline.edges, tree["trajectories/voltage"].values[0]
    current = tree["trajectories/current"].values[0]
    made = []
    for cycle in range(voltage.shape[0]):
        for device in range(voltage.shape[1]):
            own: Any = current[cycle, device].copy()
            own = own if change is None else change(own)
            lines = ["Time (ms);U/V;I/uA", f"{float(1e3 * edges[0])!r};{float(voltage[cycle, device, 0])!r};"]
            for t, v, i in zip(edges[1:], voltage[cycle, device], own, strict=True):
                lines.append(f"{float(1e3 * t)!r};{float(v)!r};{'' if np.isnan(i) else repr(float(1e6 * i))}")
            made.append(folder / f"dev{device}_c{cycle + 1}.csv")
            made[-1].write_text("\n".join(lines))
    return sorted(made)


def both(
    table: dict[str, Any], folder: Path, change: Callable[..., Any] | None = None, **layout: Any
) -> tuple[xr.DataTree, xr.DataTree, list[str]]:
    experiment = experiment_of(table)
    tree = mcdev.run(experiment)
    files = files_of(tree, experiment, folder, change)
    members = members_of(files, experiment, PATTERN, Layout(**layout))
    found, notes = measure(members, experiment, Layout(**layout))
    return tree, found, notes


def readings(tree: xr.DataTree, name: str) -> tuple[np.ndarray, np.ndarray]:
    group = tree[f"measurements/{name}"]
    return group["value"].values, group["status"].values


@pytest.mark.parametrize(
    ("table", "rtol"),
    [
        pytest.param(PULSE, 1e-6, id="pulse"),
        pytest.param(MORE, 1e-6, id="more", marks=pytest.mark.slow),
        # over a sample of 10 mV the mean of I/V is mean I over mean V but for (dV/V)²/12 = 1e-5 at 0.9 V
        pytest.param(SWEEP, 2e-5, id="sweep", marks=pytest.mark.slow),
        pytest.param(TRAIN, 1e-6, id="train", marks=pytest.mark.slow),
    ],
)
def test_the_same_is_read_off_a_measured_trace_as_off_the_simulated_one(
    table: dict[str, Any], rtol: float, tmp_path: Path
) -> None:
    tree, found, _ = both(table, tmp_path, ceiling="none")
    for name in table["measurements"]:
        value, status = readings(tree, name)
        own, told = readings(found, name)
        np.testing.assert_array_equal(told, status, err_msg=name)
        np.testing.assert_allclose(own, value, rtol=rtol, err_msg=name)
        mean = tree[f"mean_response/{name}/value"].values
        np.testing.assert_allclose(found[f"mean_response/{name}/value"].values, mean, rtol=rtol, err_msg=name)
    for channel in ("voltage", "current", "current_sem", "current_quantiles"):
        a, b = (x[f"response/{channel}"].values for x in (found, tree))
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-15, err_msg=channel)


@pytest.mark.slow
def test_a_spectrum_gives_the_same_equivalent_circuit(tmp_path: Path) -> None:
    data = {
        "name": "spectrum",
        "device": {"preset": "device_p"},
        "protocol": {"kind": "impedance", "lowest": "1 Hz", "highest": "100 kHz", "per_decade": 5},
        "measurements": {"sigma": {"kind": "equivalent_circuit"}},
        "ensemble": {"devices": 1},
    }
    experiment: Any = mcdev.build(data)
    tree = mcdev.run(experiment)
    group = tree["spectrum"]
    rows = zip(experiment.protocol.frequencies, group["resistance"].values[0, 0, 0], group["reactance"].values[0, 0, 0],
               strict=True)  # fmt: skip
    names = "Freq/Hz, Z'/ohm, Z\"/ohm, Z/ohm, Phase/deg\n\n"
    lines = [f"{f!r}, {a!r}, {b!r}, 0, 0" for f, a, b in (map(float, row) for row in rows)]
    (tmp_path / "x.txt").write_text("Instrument Model:  CHI660E\n" + names + "\n".join(lines[::-1]))
    members = members_of([tmp_path / "x.txt"], experiment, None, Layout())
    found, _ = measure(members, experiment, Layout())
    value, status = readings(tree, "sigma")
    own, told = readings(found, "sigma")
    np.testing.assert_array_equal(told, status)
    np.testing.assert_allclose(own, value, rtol=1e-6)


# ------------------------------------------------------------------------------- bounds and gaps


def test_a_compliance_makes_bounds_of_what_it_touches_and_of_nothing_else(tmp_path: Path) -> None:
    """At 20 µA: a fifth of the largest conductance. The delay until a tenth of it is not touched; the largest ratio,
    the relaxation's beginning and the mean are."""
    tree, found, notes = both(PULSE, tmp_path, lambda i: np.minimum(i, 2e-5), ceiling="20 uA")
    assert any("6 of 6 recordings reach the instrument's limit" in note for note in notes)
    np.testing.assert_array_equal(readings(found, "tau_d")[1], readings(tree, "tau_d")[1])
    np.testing.assert_allclose(readings(found, "tau_d")[0], readings(tree, "tau_d")[0], rtol=1e-6)
    np.testing.assert_array_equal(readings(found, "tau_r")[1], readings(tree, "tau_r")[1])
    for name in ("ratio", "mean"):
        value, status = readings(found, name)
        assert (status == RIGHT_CENSORED).all(), name
        truth, fine = readings(tree, name)
        assert (value < truth)[fine == OK].all(), f"{name} is a bound from below"
        assert np.isnan(found[f"mean_response/{name}/value"].values).all(), "a mean of bounds is no reading"
    assert np.isfinite(found["mean_response/tau_d/value"].values).all()


def test_a_falling_reading_is_a_bound_from_above(tmp_path: Path) -> None:
    _, found, _ = both(PULSE, tmp_path, lambda i: -np.minimum(i, 2e-5), ceiling="20 uA")
    assert (readings(found, "mean")[1] == LEFT_CENSORED).all()


def test_what_was_not_recorded_makes_undefined_what_depends_on_it(tmp_path: Path) -> None:
    def blind(current: np.ndarray) -> np.ndarray:
        current[130:] = np.nan  # some way into the relaxation
        current[40] = np.nan  # bridged
        return current

    tree, found, notes = both(PULSE, tmp_path, blind, ceiling="none")
    assert any("6 of 6 recordings have samples without a current" in note for note in notes)
    np.testing.assert_array_equal(readings(found, "tau_d")[1], readings(tree, "tau_d")[1])
    np.testing.assert_allclose(readings(found, "tau_d")[0], readings(tree, "tau_d")[0], rtol=0.02)
    assert (readings(found, "tau_r")[1] == UNDEFINED).all()
    assert (readings(found, "mean")[1] == UNDEFINED).all()


def test_without_a_voltage_nothing_is_known_of_the_conductance(tmp_path: Path) -> None:
    table = {"protocol": PULSE["protocol"] | {"read_voltage": "0 V"}, "measurements": PULSE["measurements"]}
    tree, found, _ = both(table, tmp_path, ceiling="none")
    assert (readings(tree, "tau_r")[1] == OK).any()
    assert (readings(found, "tau_r")[1] == UNDEFINED).all()
    np.testing.assert_array_equal(readings(found, "tau_d")[1], readings(tree, "tau_d")[1])
    np.testing.assert_allclose(readings(found, "mean")[0], readings(tree, "mean")[0], rtol=1e-6)


# ------------------------------------------------------------------------------- onto the samples


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(st.floats(0.01, 2.0), min_size=3, max_size=30),
    values=st.lists(st.floats(-5, 5), min_size=30, max_size=30),
    cuts=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=10, unique=True),
)
def test_means_keep_the_charge(steps: list[float], values: list[float], cuts: list[float]) -> None:
    """Whatever the samples are cut like: the sum of mean times length is the integral of what was recorded."""
    time = np.concatenate([[0.0], np.cumsum(steps)])
    value = np.array([0.0, *values[: len(steps)]])
    edges = np.concatenate([[0.0], np.sort(cuts) * time[-1], [time[-1]]])
    found = means(time, value, edges)
    widths = np.diff(edges)
    known = np.isfinite(found)
    np.testing.assert_allclose(np.sum((found * widths)[known]), np.sum(value[1:] * np.diff(time)), atol=1e-6 * time[-1])
    own = means(time, value, time)
    np.testing.assert_allclose(own, value[1:], atol=1e-9)


def test_a_hole_in_the_recording_is_a_hole_in_the_samples() -> None:
    time, value = np.arange(7.0), np.array([0, 1, 1, np.nan, np.nan, 2, 2])
    np.testing.assert_array_equal(means(time, value, np.array([0, 1, 2.5, 4, 6.0])), [1, 1, np.nan, 2])
    np.testing.assert_array_equal(means(time, value, np.array([-2.0, 0, 1, 6, 8])), [np.nan, 1, 5 / 3, np.nan])


def test_an_offset_says_when_the_protocol_begins(tmp_path: Path) -> None:
    experiment = experiment_of(PULSE)
    tree = mcdev.run(experiment)
    file, *_ = files_of(tree, experiment, tmp_path)
    head, first, *rows = file.read_text().splitlines()
    before = [f"{k - 40};0.1;0" for k in range(40)]
    (tmp_path / "late.csv").write_text("\n".join([head, *before, first.rstrip(";") + ";0", *rows]))
    members = members_of([tmp_path / "late.csv"], experiment, None, Layout())
    with pytest.raises(mcdev.ConfigError, match="the recorded voltage is not the protocol's") as caught:
        measure(members, experiment, Layout())
    assert 'with --offset "0 s" they are' in str(caught.value)
    found, _ = measure(members, experiment, Layout(), 0.0)
    np.testing.assert_allclose(readings(found, "tau_d")[0], readings(tree, "tau_d")[0][:, :1, :1], rtol=1e-6)


def test_cycles_of_one_file_are_cycles_of_one_device(tmp_path: Path) -> None:
    """Below each other with times that go on, told by a column that counts; each begins 40 ms after its first row."""
    experiment = experiment_of(PULSE)
    tree = mcdev.run(experiment)
    first, second, *_ = files_of(tree, experiment, tmp_path)
    lines, start = ["cycle;" + first.read_text().splitlines()[0]], 0.0
    for number, file in enumerate((first, second), start=1):
        rows = [row.split(";") for row in file.read_text().splitlines()[1:]]
        lines += [f"{number};{start + k - 40!r};0.1;0" for k in range(40)]
        lines += [f"{number};{start + float(t)!r};{v};{i or 0}" for t, v, i in rows]
        start += 1000.0
    (tmp_path / "both.csv").write_text("\n".join(lines))
    members = members_of([tmp_path / "both.csv"], experiment, None, Layout())
    found, _ = measure(members, experiment, Layout(), 0.0)
    value, status = (each[:, :1] for each in readings(tree, "tau_d"))
    np.testing.assert_array_equal(readings(found, "tau_d")[1], status)
    np.testing.assert_allclose(readings(found, "tau_d")[0], value, rtol=1e-6)


def test_without_a_column_of_voltage_the_protocol_s_is_taken_and_said(tmp_path: Path) -> None:
    experiment = experiment_of(PULSE)
    tree = mcdev.run(experiment)
    file, *_ = files_of(tree, experiment, tmp_path)
    rows = [row.split(";") for row in file.read_text().splitlines()]
    (tmp_path / "bare.csv").write_text("\n".join(f"{t};{i}" for t, _, i in rows))
    members = members_of([tmp_path / "bare.csv"], experiment, None, Layout())
    found, notes = measure(members, experiment, Layout())
    assert "1 of 1 recordings have no voltage: the protocol's is taken" in notes
    np.testing.assert_allclose(readings(found, "ratio")[0], readings(tree, "ratio")[0][:, :1, :1], rtol=1e-6)


# ------------------------------------------------------------------------------- refusals


def problems_of(call: Callable[[], Any]) -> str:
    with pytest.raises(mcdev.ConfigError) as caught:
        call()
    return str(caught.value)


def test_what_does_not_suit_is_refused_in_words(tmp_path: Path) -> None:
    experiment = experiment_of(PULSE)
    tree = mcdev.run(experiment)
    file, *_ = files_of(tree, experiment, tmp_path)
    lines = file.read_text().splitlines()
    assert "is not of the pattern" in problems_of(lambda: members_of([file], experiment, "x{device}.csv", Layout()))
    for wrong in ("x.csv", "{devise}.csv", "{device}{device}.csv"):
        assert "expected {device}, {cycle} and {point}" in problems_of(
            lambda wrong=wrong: members_of([file], experiment, wrong, Layout())
        )
    again = problems_of(lambda: members_of([file, file], experiment, None, Layout()))
    assert "of the same device and cycle as dev0_c1.csv" in again
    short = tmp_path / "short.csv"
    short.write_text("\n".join(lines[: len(lines) // 2]))
    members = members_of([short], experiment, None, Layout())
    assert "cut the protocol to what was recorded" in problems_of(lambda: measure(members, experiment, Layout()))
    own = members_of([file], experiment, None, Layout())
    behind = experiment_of(PULSE, circuit={"kind": "series_resistor", "resistance": "1 kohm"})
    assert "leave [circuit] out" in problems_of(lambda: measure(own, behind, Layout()))
    inside = experiment_of(
        PULSE | {"measurements": {"n": {"kind": "spike_count", "signal": "state", "threshold": 0.5, "reset": 0.2}}}
    )
    assert "reads state, which is not measured" in problems_of(lambda: measure(own, inside, Layout()))
    swept = experiment_of(PULSE, sweep={"axes": {"protocol.amplitude": ["1 V", "1.2 V"]}})
    assert "expected a pattern with {point}" in problems_of(lambda: members_of([file], swept, None, Layout()))


# ------------------------------------------------------------------------------- the results


def test_points_of_a_sweep_are_told_by_the_names(tmp_path: Path) -> None:
    experiment = experiment_of(PULSE, 2, 1, sweep={"axes": {"protocol.amplitude": ["1 V", "1.2 V"]}})
    tree = mcdev.run(experiment)
    files = []
    for point, (_, own) in enumerate(experiment.points()):
        folder = tmp_path / str(point)
        folder.mkdir()
        one = mcdev.run(own)
        for file in files_of(one, own, folder):
            target = tmp_path / f"p{point + 1}_{file.name}"
            file.rename(target)
            files.append(target)
    members = members_of(files, experiment, "p{point}_dev{device}_c1.csv", Layout())
    found, _ = measure(members, experiment, Layout())
    np.testing.assert_allclose(readings(found, "tau_d")[0], readings(tree, "tau_d")[0], rtol=1e-6)


def test_the_results_are_those_of_a_run_and_say_what_they_are_of(tmp_path: Path) -> None:
    _, found, _ = both(PULSE, tmp_path)
    write(found, tmp_path / "out")
    again = read(tmp_path / "out")
    assert again.attrs["measured_files"].splitlines()[1].startswith("dev0_c2.csv sha256 ")
    assert again.attrs["measured_devices"] == "0\n1\n2"
    assert again.attrs["title"] == "planted, measured"
    assert np.isnan(again["parameters/switching_rate"].values).all(), "nobody knows them"
    (record, *_) = mcdev.summarise(again)
    assert (record["measurement"], record["n"]) == ("tau_d", 6)
    card = mcdev.make_card(again)
    assert "measured: device to device (D2D) and cycle to cycle (C2C) apart" in str(card)
    name = again.attrs["config_hash"]
    file = tmp_path / "dev1_c1.csv"
    file.write_text(file.read_text() + "\n")
    experiment = experiment_of(PULSE)
    members = members_of(sorted(tmp_path.glob("*.csv")), experiment, PATTERN, Layout())
    assert measure(members, experiment, Layout())[0].attrs["config_hash"] != name
    (tmp_path / "dev2_c2.csv").unlink()
    members = members_of(sorted(tmp_path.glob("*.csv")), experiment, PATTERN, Layout())
    ragged, notes = measure(members, experiment, Layout())
    assert "1 of 6 realisations have no file; they count as failed" in notes
    assert int(ragged["realisations/intact"].sum()) == 5


HOUSE = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_example_of_the_page_finds_what_was_planted(tmp_path: Path) -> None:
    """From files of a source meter: rows of 0.1 ms, a noise of half a percent, a compliance that cuts the ratio off."""
    spec = importlib.util.spec_from_file_location("instrument_files", HOUSE / "docs" / "instrument_files.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    experiment: Any = mcdev.load(HOUSE / "configs" / "examples" / "planted_pulse.toml", {"ensemble.cycles": 5})
    tree = mcdev.run(experiment)
    files = script.write_files(tree, tmp_path)
    seen = look(files[0], Layout())
    assert seen.recording is not None
    assert (seen.recording.format, len(seen.recording.cycles), seen.problem) == ("easyexpert", 5, "")
    assert [limit.level for limit in seen.recording.ceilings] == [60e-6]
    members = members_of(files, experiment, "device{device}.csv", Layout())
    found, _ = measure(members, experiment, Layout(), script.BEFORE)
    for name, most in (("tau_d", 0.02), ("tau_r", 0.02)):
        value, status = readings(tree, name)
        own, told = readings(found, name)
        assert (told == status).mean() > 0.95, name
        off = np.log(own / value)[(told == OK) & (status == OK)]
        assert abs(np.median(off)) < 0.005, f"{name}: no bias beyond half a percent"
        assert np.quantile(np.abs(off), 0.9) < most, name
    value, status = readings(found, "ratio")
    touched = status == RIGHT_CENSORED
    assert touched.mean() > 0.8
    assert (value[touched] <= readings(tree, "ratio")[0][touched] * 1.05).all()


@pytest.mark.slow
def test_the_whole_way_from_files_to_circuits(tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    """The page's commands one after the other: instrument's files, what is understood of them, readings, the population
    as a calibration begun elsewhere, many devices of it, both populations beside each other, SPICE."""
    config = HOUSE / "configs" / "examples" / "planted_pulse.toml"
    runs = {name: tmp_path / "runs" / name for name in ("planted", "measured", "population", "model")}
    assert mcdev_main("run", config, "--out", runs["planted"], "--no-figures").code == 0
    script, files = HOUSE / "docs" / "instrument_files.py", tmp_path / "files"
    subprocess.run([sys.executable, script, runs["planted"], "--output", files], check=True, capture_output=True)
    made = sorted(files.glob("*.csv"))
    assert mcdev_main("look", made[0], "--out", tmp_path / "seen").code == 0
    read = ("--pattern", "device{device}.csv", "--offset", "2.5 ms", "--out", runs["measured"], "--no-figures")
    assert mcdev_main("measure", *made, "--config", config, *read).code == 0
    job = tmp_path / "population.toml"
    assert mcdev_main("stats", runs["measured"], "--calibration", job).code == 0
    elsewhere = ("switching_rate.median.start=100 Hz", "relaxation_time.median.start=50 ms")
    begun = [word for start in elsewhere for word in ("--set", f"parameters.device.{start}")]
    assert mcdev_main("calibrate", job, *begun, "--out", runs["population"], "--no-figures").code == 0
    with (runs["population"] / "parameters.csv").open(encoding="utf-8") as file:
        fitted = {row["parameter"]: (float(row["low"]), float(row["high"])) for row in csv.DictReader(file)}
    planted = {
        "switching_rate.median": 300.0, "switching_rate.sigma": 0.3, "relaxation_time.median": 0.02,
        "relaxation_time.sigma": 0.2, "cycle_to_cycle.switching_rate": 0.15, "cycle_to_cycle.relaxation_time": 0.1,
        "correlation.switching_rate.relaxation_time": 0.0,
    }  # fmt: skip
    held = [low <= planted[name] <= high for name, (low, high) in fitted.items()]
    assert len(held) == 7
    assert sum(held) >= 6, fitted  # intervals of 95 %
    many = ("--set", "ensemble.devices=200", "--set", "ensemble.cycles=2", "--no-figures", "--out", runs["model"])
    assert mcdev_main("run", runs["population"] / "fitted" / "planted_pulse.toml", *many).code == 0
    ended = mcdev_main("compare", runs["measured"], runs["model"])
    assert ended.code == 0
    assert "τ_r" in ended.out or "tau_r" in ended.out
    spice = ("--to", "spice", "--instances", 200, "--name", "cell", "--output", tmp_path / "spice")
    assert mcdev_main("export", runs["model"], *spice).code == 0
    assert (tmp_path / "spice" / "cell_instances.sub").read_text().count(".subckt cell_") == 200


@pytest.mark.slow
def test_every_picture_of_a_run_is_drawn_of_measured_files(tmp_path: Path) -> None:
    tree, found, _ = both(PULSE, tmp_path, ceiling="none")
    write(found, tmp_path / "out")
    of_run = {path.name for path in mcdev.draw(tree, tmp_path / "run")}
    assert of_run
    assert {path.name for path in mcdev.draw(read(tmp_path / "out"), tmp_path / "measured")} == of_run


@pytest.mark.slow
def test_spikes_are_found_between_the_samples(tmp_path: Path) -> None:
    """A run sees them at every interval; a file has one number a sample, so that an edge is off by half of one."""
    table = {"protocol": PULSE["protocol"], "measurements": {"width": {"kind": "spike_width"}}}
    tree, found, _ = both(table, tmp_path, ceiling="none")
    longest = np.nanmax(tree["response/width"].values)
    value, status = readings(tree, "width")
    own, told = readings(found, "width")
    np.testing.assert_array_equal(told, status)
    np.testing.assert_allclose(own, value, rtol=0, atol=0.5 * longest)


@pytest.mark.slow
def test_the_command_leaves_what_a_run_leaves(tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    experiment = experiment_of(PULSE)
    files = files_of(mcdev.run(experiment), experiment, tmp_path)
    config, out = tmp_path / "pulse.toml", tmp_path / "out"
    config.write_text(experiment.to_toml())
    ended = mcdev_main("measure", *files, "--config", config, "--pattern", PATTERN, "--out", out, "--no-figures")
    assert ended.code == 0, ended.err
    assert "G_max is the configuration's: on_conductance, at x = 1, 100 uS" in ended.err
    assert "tau_d" in ended.out
    made = {"results.h5", "config.toml", "statistics.csv", "card.toml"}
    assert {path.name for path in out.iterdir()} == made
    for words in (("stats", out), ("plot", out), ("stats", out, "--card", tmp_path / "card.toml")):
        assert mcdev_main(*words).code == 0
    ended = mcdev_main("stats", tmp_path / "card.toml", "--resample", 5, "--seed", 1)
    assert ended.code == 0
    assert len(ended.out.splitlines()) == 1 + 5 * 2
    ended = mcdev_main("export", out, "--to", "spice", "--output", tmp_path / "spice")
    assert ended.code == 2
    assert "calibrate a device to them first" in ended.err


def test_the_command_says_which_file_is_not_understood(tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    config, file = tmp_path / "pulse.toml", tmp_path / "a.csv"
    config.write_text(experiment_of(PULSE).to_toml())
    file.write_text("time (s),voltage (V),I\n0,0,0\n1,0,0\n")
    ended = mcdev_main("measure", file, "--config", config, "--read", "units.current=V")
    assert ended.code == 2
    assert "a.csv: line 1: units.current is 'V'; expected a unit of current" in ended.err
    ended = mcdev_main("measure", file, "--config", config, "--offset", "2")
    assert ended.code == 2
    assert "--offset 2: expected a time with its unit" in ended.err
