"""Files of several measured devices as targets: their spectra and traces, as a population that the fit shall meet."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import mcdev
from mcdev.calibration import calibrate, conclusions, resolve
from mcdev.calibration.evaluation import evaluate
from mcdev.calibration.of_population import targets_of
from mcdev.calibration.plan import Plan
from mcdev.configuration.problems import ConfigError
from mcdev.measurements.contract import OK, RIGHT_CENSORED, UNDEFINED
from mcdev.statistics.readings import readings
from mcdev.statistics.statistic import statistic

DEVICES = 10


def law(median: str | float, sigma: float) -> dict[str, Any]:
    return {"distribution": "lognormal", "median": median, "sigma": sigma}


FILM: dict[str, Any] = {
    "preset": "device_1s",
    "conductivity": law("8e-9 S/m", 0.3),
    "capacitance": law("0.17 F/m^2", 0.2),
    "thickness": law("100 nm", 0.1),
}
SPECTRUM: dict[str, Any] = {
    "protocol": {
        "kind": "impedance",
        "settling": "0.1 s",
        "samples": 2,
        "lowest": "1 mHz",
        "highest": "100 Hz",
        "per_decade": 3,
    },
    "measurements": {
        "size": {"kind": "impedance_at", "frequencies": ["1 mHz", "10 mHz", "100 mHz", "1 Hz", "10 Hz", "100 Hz"]},
        "phase": {"kind": "impedance_at", "part": "phase", "frequencies": ["10 mHz", "100 mHz", "1 Hz", "10 Hz"]},
    },
}
SWITCH: dict[str, Any] = {
    "kind": "volatile_threshold",
    "threshold_voltage": "0.6 V",
    "hold_voltage": "0.3 V",
    "switching_rate": law("20 Hz", 0.2),
    "switching_exponent": 1.5,
    "relaxation_time": law("100 ms", 0.3),
    "on_conductance": law("100 uS", 0.2),
    "off_conductance": "1 uS",
    "integrator": {"coupling_interval": "20 ms", "tolerance": 1e-8},
}
TRACE: dict[str, Any] = {
    "protocol": {
        "kind": "pulse",
        "amplitude": "1.2 V",
        "width": "300 ms",
        "relaxation": "500 ms",
        "read_voltage": "0.1 V",
        "samples_per_pulse": 24,
        "relaxation_samples": 30,
    },
    "measurements": {
        "on": {"kind": "course_of_current", "window": "pulse", "parts": 6},
        "off": {"kind": "course_of_current", "window": "relaxation", "parts": 6},
        "tau_d": {"kind": "delay_time"},
    },
    "ensemble": {"cycles": 5, "cycle_to_cycle": {"relaxation_time": 0.1, "switching_rate": 0.15}},
}


def run(device: dict[str, Any], experiment: dict[str, Any], devices: int = DEVICES, **ensemble: Any) -> xr.DataTree:
    size = {"devices": devices, "precision": "float64"} | ensemble
    data = {"name": "planted", "device": device, **experiment}
    return mcdev.run(mcdev.build(data | {"ensemble": experiment.get("ensemble", {}) | size}))


def job(device: dict[str, Any], experiment: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Medians and spreads of all that is drawn."""
    drawn = [name for name, value in device.items() if isinstance(value, dict) and "median" in value]
    cycles = experiment.get("ensemble", {}).get("cycle_to_cycle", {})
    free: dict[str, Any] = {f"device.{name}.median": {} for name in drawn}
    free |= {f"device.{name}.sigma": {"low": 0.01, "high": 1.0} for name in drawn}
    free |= {f"ensemble.cycle_to_cycle.{name}": {"low": 0.01, "high": 1.0} for name in cycles}
    data: dict[str, Any] = {
        "name": "measured",
        "device": device,
        "experiments": {"it": experiment},
        "parameters": free,
        "measured": [{"experiment": "it", "files": "dev*.csv", "source": "planted"}],
        "search": {"members": 100},
    }
    return copy.deepcopy(data) | copy.deepcopy(more)


def spectra(tree: xr.DataTree, folder: Path) -> None:
    """A file for each device."""
    data = tree["spectrum"].dataset
    for device in range(data.sizes["device"]):
        rows = zip(
            data["frequency"].values[0],
            data["resistance"].values[0, device, 0],
            data["reactance"].values[0, device, 0],
            strict=True,
        )
        lines = ["freq/Hz,Re(Z)/Ohm,Im(Z)/Ohm", *(",".join(repr(float(x)) for x in row) for row in rows)]
        (folder / f"dev{device:02d}.csv").write_text("\n".join(lines))


def traces(tree: xr.DataTree, experiment: Any, folder: Path) -> None:
    """A file for each device and cycle, a row for each sample."""
    edges = experiment.timeline.edges
    voltage, current = (tree[f"trajectories/{name}"].values[0] for name in ("voltage", "current"))
    for cycle in range(voltage.shape[0]):
        for device in range(voltage.shape[1]):
            rows = zip(edges[1:], voltage[cycle, device], current[cycle, device], strict=True)
            lines = ["time/s,U/V,I/A", f"{float(edges[0])!r},{float(voltage[cycle, device, 0])!r},"]
            lines += [",".join(repr(float(x)) for x in row) for row in rows]
            (folder / f"dev{device}_c{cycle + 1}.csv").write_text("\n".join(lines))


# ------------------------------------------------------------------------------------- what is read


def test_points_of_a_spectrum_and_parts_of_a_course() -> None:
    """|Z| and phase at frequencies of the spectrum are its own; between two, straight over ln f; beyond, undefined. The
    parts of a course, weighted by their lengths, are its mean."""
    parts = {name: {"kind": "impedance_at", "part": name, "frequencies": ["10 mHz", "0.5 Hz", "1 kHz"]} for name in
             ("magnitude", "phase", "resistance", "reactance")}
    tree = run(FILM, SPECTRUM | {"measurements": parts}, devices=2)
    data = tree["spectrum"].dataset
    f, z = data["frequency"].values[0], (data["resistance"] + 1j * data["reactance"]).values[0, :, 0]
    found = {name: tree[f"measurements/{name}/value"].values[0, :, 0] for name in parts}
    np.testing.assert_array_equal(tree["measurements/phase/status"].values[0, :, 0], [[OK, OK, UNDEFINED]] * 2)
    for own, which in zip(z, range(2), strict=True):
        at = int(np.argmin(np.abs(f - 0.01)))
        assert found["magnitude"][which, 0] == pytest.approx(abs(own[at]), rel=1e-9)
        assert found["reactance"][which, 0] == pytest.approx(own[at].imag, rel=1e-9)
        between = np.exp(np.interp(np.log(0.5), np.log(f), np.log(np.abs(own))))
        assert found["magnitude"][which, 1] == pytest.approx(between, rel=1e-9)
        size = np.hypot(found["resistance"][which, :2], found["reactance"][which, :2])
        np.testing.assert_allclose(size, found["magnitude"][which, :2], rtol=1e-12)
    own = TRACE | {"measurements": {"parts": {"kind": "course_of_current", "parts": 7}, "mean": {"kind": "mean_current"}}}
    tree = run(SWITCH, own, devices=2)
    widths = np.diff(mcdev.build({"name": "x", "device": SWITCH, **own}).timeline.edges)
    edges = np.arange(8) * widths.size // 7
    weight = np.add.reduceat(widths, edges[:-1]) / widths.sum()
    course, mean = (tree[f"measurements/{name}/value"].values[0] for name in ("parts", "mean"))
    np.testing.assert_allclose(course @ weight, mean, rtol=1e-9)


def test_more_parts_than_samples_are_refused() -> None:
    own = TRACE | {"measurements": {"on": {"kind": "course_of_current", "window": "pulse", "parts": 25}}}
    with pytest.raises(ConfigError, match="24 samples in the window for 25 parts; lower parts"):
        mcdev.build({"name": "x", "device": SWITCH, **own})


def test_a_spread_of_what_may_be_negative() -> None:
    """Within three standard errors of normal numbers; not determined among bounds."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1000, 1)) * 2.0 + rng.normal(size=(1000, 10)) * 0.5 - 1.0
    status = np.full(x.shape, OK)
    assert statistic("sd_between", x, status) == pytest.approx(2.0, rel=3 / np.sqrt(2000))
    assert statistic("sd_within", x, status) == pytest.approx(0.5, rel=3 / np.sqrt(18000))
    assert statistic("sd_total", x, status) == pytest.approx(np.hypot(2.0, 0.5), rel=3 / np.sqrt(2000))
    status[0, 0] = RIGHT_CENSORED
    assert np.isnan(statistic("sd_total", x, status))


# ------------------------------------------------------------------------------------- planted truth


def test_the_spectra_of_ten_devices_give_medians_and_spreads(tmp_path: Path) -> None:
    """Targets are the statistics of the files' spectra, point by point; their derivatives by medians and spreads are
    those of whole populations; and the fitted intervals hold what was planted."""
    tree = run(FILM, SPECTRUM, seed=11)
    spectra(tree, tmp_path)
    data = job(FILM, SPECTRUM)
    truth = np.array([8e-9, 0.17, 1e-7, 0.3, 0.2, 0.1])
    for name, start in {"conductivity": "6e-9 S/m", "capacitance": "0.2 F/m^2", "thickness": "90 nm"}.items():
        data["parameters"][f"device.{name}.median"]["start"] = start
        data["parameters"][f"device.{name}.sigma"]["start"] = 0.2
    plan = resolve(data, tmp_path)
    expected = [t for reading in readings(tree) for t in targets_of(reading, "planted")]
    assert [(g.read.measurement, g.read.entry, g.read.statistic) for g in plan.goals] == [
        (t["measurement"], t["entry"], t["statistic"]) for t in expected
    ]
    assert {g.read.statistic for g in plan.goals} == {"median", "sigma_ln_total", "sd_total"}
    assert {g.of_devices for g in plan.goals} == {DEVICES}
    for goal, t in zip(plan.goals, expected, strict=True):
        assert goal.mark.write(goal.value) == goal.mark.write(goal.mark.parse(t["value"]))
    outcome = calibrate(plan)
    k = outcome.knowledge
    assert np.all((k.low < truth) & (truth < k.high))
    assert k.freedom < len(plan.goals) - truth.size  # the points of a curve have fewer axes than points
    assert "conflict" not in "\n".join(conclusions(outcome))
    x = plan.values(plan.start)
    found = evaluate(plan, x, 1, 1, True, plan.goals)
    for j in (0, 3):
        ends = []
        for side in (-1, 1):
            at = x.copy()
            at[j] *= 1 + side * 2e-5
            ends.append(evaluate(plan, at, 1, 1, False, plan.goals).value)
        slope = (ends[1] - ends[0]) / (4e-5 * x[j])
        scale = np.abs(found.value / x[j])
        np.testing.assert_allclose(found.jacobian[:, j] / scale, slope / scale, atol=2e-4)


def held_and_conflicts(
    device: dict[str, Any], experiment: dict[str, Any], other: dict[str, Any], number: int
) -> tuple[np.ndarray, int]:
    """Of populations of ten devices, made with ``other`` settings of the device or the ensemble and fitted by the model:
    which intervals hold [population, parameter], and how often a conflict is said."""
    held, conflicts = [], 0
    for seed in range(number):
        tree = run(device | other.get("device", {}), experiment, seed=1000 + seed, **other.get("ensemble", {}))
        own = copy.deepcopy(experiment)
        own.setdefault("ensemble", {})["seed"] = 7 + seed
        targets = [{"experiment": "it"} | t for reading in readings(tree) for t in targets_of(reading, "planted")]
        plan: Plan = resolve(job(device, own, targets=targets, measured=[]), Path())
        truth = plan.values(plan.start)
        outcome = calibrate(plan)
        held.append((outcome.knowledge.low < truth) & (truth < outcome.knowledge.high))
        conflicts += "conflict with" in "\n".join(conclusions(outcome))
    return np.array(held), conflicts
