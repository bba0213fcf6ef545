"""Files of several measured devices as targets: their spectra and traces, as a population that the fit shall meet."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import mcdev
from mcdev.calibration import calibrate, conclusions, load_job, resolve
from mcdev.calibration.evaluation import evaluate
from mcdev.calibration.folder import identity
from mcdev.calibration.of_population import targets_of
from mcdev.calibration.plan import Plan
from mcdev.calibration.read_off import Correlated, correlated, words
from mcdev.calibration.readings_of_sets import set_of
from mcdev.calibration.tree import place_of
from mcdev.configuration.problems import ConfigError
from mcdev.measured import Layout
from mcdev.measurements.contract import OK, RIGHT_CENSORED, UNDEFINED
from mcdev.results.of_files import measure, members_of
from mcdev.statistics.readings import readings
from mcdev.statistics.statistic import statistic

pytestmark = pytest.mark.usefixtures("unpolished")

DEVICES = 10
EXAMPLES = Path(__file__).parents[1] / "configs" / "examples"


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
        "phase": {
            "kind": "impedance_at",
            "part": "phase",
            "frequencies": ["10 mHz", "100 mHz", "1 Hz", "10 Hz", "100 Hz"],
        },
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


# ------------------------------------------------------------------------------------- what is read


@pytest.fixture(scope="module")
def measured_spectra() -> xr.DataTree:
    """The example's ten devices, with what is read of their spectra for the fit and more."""
    more = {
        part: {"kind": "impedance_at", "part": part, "frequencies": ["10 mHz", "0.5 Hz", "1 kHz"]}
        for part in ("magnitude", "phase", "resistance", "reactance")
    }
    more = {f"all_{part}": table for part, table in more.items()}
    whole = SPECTRUM | {"measurements": SPECTRUM["measurements"] | more}
    experiment = mcdev.build({"name": "more", "device": FILM, **whole})
    files = sorted((EXAMPLES / "spectra").glob("device*.csv"))
    return measure(members_of(files, experiment, None, Layout()), experiment, Layout())[0]


def test_points_of_a_spectrum(measured_spectra: xr.DataTree) -> None:
    """|Z| and phase at frequencies of the spectrum are its own; between two, straight over ln f; beyond, undefined."""
    tree = measured_spectra
    data = tree["spectrum"].dataset
    f, z = data["frequency"].values[0], (data["resistance"] + 1j * data["reactance"]).values[0, :, 0]
    found = {
        part: tree[f"measurements/all_{part}/value"].values[0, :, 0]
        for part in ("magnitude", "phase", "resistance", "reactance")
    }
    status = tree["measurements/all_phase/status"].values[0, :, 0]
    np.testing.assert_array_equal(status, [[OK, OK, UNDEFINED]] * DEVICES)
    at = int(np.argmin(np.abs(f - 0.01)))
    np.testing.assert_allclose(found["magnitude"][:, 0], np.abs(z[:, at]), rtol=1e-9)
    np.testing.assert_allclose(found["reactance"][:, 0], z[:, at].imag, rtol=1e-9)
    between = [np.exp(np.interp(np.log(0.5), np.log(f), np.log(np.abs(own)))) for own in z]
    np.testing.assert_allclose(found["magnitude"][:, 1], between, rtol=1e-9)
    size = np.hypot(found["resistance"][:, :2], found["reactance"][:, :2])
    np.testing.assert_allclose(size, found["magnitude"][:, :2], rtol=1e-12)


def trace_files(folder: Path, devices: int = 3, cycles: int = 5) -> np.ndarray:
    """Files of currents that are drawn, a row for each sample, [device, cycle, sample] (A)."""
    timeline = mcdev.build({"name": "x", "device": SWITCH, **TRACE}).timeline
    current = np.random.default_rng(1).uniform(1e-6, 1e-4, (devices, cycles, timeline.samples))
    for device in range(devices):
        for cycle in range(cycles):
            lines = ["time/s,U/V,I/A", f"0,{float(timeline.voltage[0])!r},"]
            rows = zip(timeline.edges[1:], timeline.voltage, current[device, cycle], strict=True)
            lines += [",".join(repr(float(x)) for x in row) for row in rows]
            (folder / f"dev{device}_c{cycle + 1}.csv").write_text("\n".join(lines))
    return current


def job_of_traces(**more: Any) -> dict[str, Any]:
    measured = {"experiment": "it", "files": "dev*.csv", "pattern": "dev{device}_c{cycle}.csv", "ceiling": "none"}
    return job(SWITCH, TRACE, measured=[measured | {"measurements": ["on", "off"]} | more])


def test_the_traces_of_a_set_are_targets_part_by_part(tmp_path: Path) -> None:
    """Mean, and standard deviation between devices and within, of the mean current in each part; the parts weighted by
    their lengths are the mean of the window."""
    current = trace_files(tmp_path)
    plan = resolve(job_of_traces(), tmp_path)
    experiment = plan.experiments["it", "[device]"]
    first, last = experiment.timeline.windows["pulse"][0]
    edges = first + (last - first) * np.arange(7) // 6
    widths = experiment.timeline.widths
    area = np.add.reduceat(current * widths, edges, axis=-1)[..., :-1]
    parts = area / np.add.reduceat(widths, edges)[:-1]
    for statistic_name in ("mean", "sd_between", "sd_within"):
        own = [g for g in plan.goals if g.read.measurement == "on" and g.read.statistic == statistic_name]
        known = {g.read.entry: g.value for g in own}
        for entry, value in known.items():
            assert entry is not None
            expected = statistic(statistic_name, parts[..., entry - 1], np.full(parts.shape[:2], OK))
            assert value == pytest.approx(expected, rel=1e-4)
        assert len(known) == 6 or statistic_name == "sd_between"  # which may come out as zero, and is no target then
    assert {g.of_devices for g in plan.goals} == {3}


def test_one_devices_traces_are_data_of_simulations(tmp_path: Path) -> None:
    """Of a single device, where numbers need not have a gradient: the medians over its cycles."""
    current = trace_files(tmp_path, devices=1)
    data = job_of_traces()
    for name, (low, high) in {"switching_rate": ("1 Hz", "100 Hz"), "relaxation_time": ("10 ms", "1 s")}.items():
        data["parameters"][f"device.{name}.median"] = {"low": low, "high": high}
    data["parameters"]["device.on_conductance.median"] = {"low": "10 uS", "high": "1 mS"}
    plan = resolve(data | {"simulations": {"number": 256}}, tmp_path)
    assert {(g.of_devices, g.read.statistic, g.status) for g in plan.goals} == {(1, "median", OK)}
    assert len(plan.goals) == 12
    assert current.min() < plan.goals[0].value < current.max()
    with pytest.raises(ConfigError, match=r"measured.0.of_devices = 1: so few devices do not tell"):
        resolve(data, tmp_path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"files": "none*.csv"}, 'measured.0.files = "none*.csv": no such files'),
        ({"files": "."}, "expected a pattern of files' names"),
        ({"files": ""}, "expected a pattern of files' names"),
        ({"files": "a\0b"}, "null"),
        ({"files": "../dev*.csv"}, "leads out of the configuration's folder"),
        ({"experiment": "is"}, 'measured.0.experiment = "is": no such experiment on this device'),
        ({"device": "P"}, 'measured.0.device = "P": expected one of the devices'),
        ({"measurements": ["onn"]}, "measured.0.measurements = \"onn\": no such measurement; did you mean 'on'"),
        ({"offset": "2.5"}, 'measured.0.offset = "2.5"'),
        ({"pattern": "dev{device}.txt"}, "its name is not of the pattern"),
        ({"pattern": None}, "hold 1 cycles of each device; expected as many here"),
        ({"weight": -1}, "measured.0.weight"),
    ],
)
def test_what_is_wrong_with_a_set_is_said(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    trace_files(tmp_path)
    data = job_of_traces(**{key: value for key, value in changed.items() if value is not None})
    if None in changed.values():
        data["measured"][0].pop("pattern")
    with pytest.raises(ConfigError) as error:
        resolve(data, tmp_path)
    assert said in str(error.value)


def test_a_link_to_elsewhere_is_not_read(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    trace_files(own)
    elsewhere = tmp_path / "secret.csv"
    next(own.glob("dev*.csv")).rename(elsewhere)
    (own / "dev9_c1.csv").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="leads out of the configuration's folder"):
        resolve(job_of_traces(), own)


def test_a_protocol_that_is_free_reads_no_files(tmp_path: Path) -> None:
    trace_files(tmp_path)
    data = job_of_traces()
    data["parameters"]["protocol.relaxation"] = {"low": "0.4 s", "high": "0.6 s"}
    with pytest.raises(ConfigError, match="is free, and the files of"):
        resolve(data, tmp_path)


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


def test_the_spectra_of_ten_devices_give_medians_and_spreads(measured_spectra: xr.DataTree) -> None:
    """Targets are the statistics of the files' spectra, point by point; their derivatives by medians and spreads are
    those of whole populations; and the fitted intervals hold what was planted."""
    plan = load_job(EXAMPLES / "calibrate_spectra.toml")
    truth = np.array([8e-9, 0.3, 0.17, 0.2, 1e-7, 0.1])
    own = [r for r in readings(measured_spectra) if r.name in SPECTRUM["measurements"]]
    expected = [t for reading in own for t in targets_of(reading, "planted", False)]
    assert [(g.read.measurement, g.read.entry, g.read.statistic) for g in plan.goals] == [
        (t["measurement"], t["entry"], t["statistic"]) for t in expected
    ]
    assert {g.read.statistic for g in plan.goals} == {"median", "sigma_ln_total", "sd_total"}
    assert {g.of_devices for g in plan.goals} == {DEVICES}
    for goal, t in zip(plan.goals, expected, strict=True):
        assert goal.value == pytest.approx(goal.mark.parse(t["value"]), rel=1e-5)
    # A picture shows them along the frequency at which they were read, not along their number.
    places = {(place.along, place.unit, place.at) for place in (place_of(plan, goal) for goal in plan.goals)}
    (spectrum,) = plan.experiments.values()
    asked = [m.axis(spectrum.timeline) for m in spectrum.measurements.values()]
    assert places == {("frequency", "Hz", f) for axis in asked if axis for f in axis[2].tolist()}
    outcome = calibrate(plan)
    k = outcome.knowledge
    assert [one.label for one in outcome.correlated] == ["spectra/device*.csv"]
    other = plan.sets[0]._replace(values=np.roll(plan.sets[0].values, 1, axis=1))
    moved = dataclasses.replace(plan, sets=(other,))
    assert identity(plan) != identity(moved), "what is read of the same device is a part of what is asked for"
    assert np.all((k.low < truth) & (truth < k.high))
    assert k.freedom < len(plan.goals) - truth.size  # the points of a curve have fewer axes than points
    assert "conflict" not in "\n".join(conclusions(outcome))
    x = plan.values(plan.start)
    found = evaluate(plan, x, 1, 1, True, plan.goals)
    for j in (0, 1):
        ends = []
        for side in (-1, 1):
            at = x.copy()
            at[j] *= 1 + side * 2e-5
            ends.append(evaluate(plan, at, 1, 1, False, plan.goals).value)
        slope = (ends[1] - ends[0]) / (4e-5 * x[j])
        scale = np.abs(found.value / x[j])
        np.testing.assert_allclose(found.jacobian[:, j] / scale, slope / scale, atol=2e-4)


def among(devices: int, r: float, seed: int) -> Correlated | None:
    """Parameters a, b, c, of which a and b correlate by ``r`` in so many measured devices and not in the model; three
    readings tell a and b, another tells c by a third of its variance."""
    rng = np.random.default_rng(seed)
    mixing = np.array([[1.0, 0.2, 0.0], [0.5, -1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])

    def read(w: np.ndarray) -> np.ndarray:
        return w @ mixing.T + rng.normal(size=(len(w), 4)) * [0.1, 0.1, 0.1, 1.4]

    full = np.array([[1.0, r, 0.0], [r, 1.0, 0.0], [0.0, 0.0, 1.0]])
    own, drawn = rng.multivariate_normal(np.zeros(3), full, devices), rng.normal(size=(500, 3))
    return correlated("made", ["a", "b", "c"], read(own), read(drawn), np.exp(drawn), seed)


def test_parameters_that_correlate_are_found_and_named() -> None:
    """Two of them in ten devices, by 0.95, and none by chance: of ten sets without correlation no more lie below a
    tenth than three (probability of more: 1 %). What is not read off well is not looked at."""
    for seed in (1, 2):
        found = among(10, 0.95, seed)
        assert found is not None
        assert found.names == ("a", "b")
        assert found.measured > 0.8
        assert abs(found.model) < 0.15
        assert found.chance < 0.01
        assert "made: a and b of the measured devices correlate by 0.9" in words([found], 0.01)[0]
    chances = [found.chance for seed in range(10) if (found := among(10, 0.0, seed)) is not None]
    assert len(chances) == 10
    assert sum(chance < 0.1 for chance in chances) <= 3
    assert np.median(chances) > 0.2
    one = np.random.default_rng(1).normal(size=(300, 1))
    assert correlated("made", ["a"], one[:10], one, one, 1) is None


def fitted(
    device: dict[str, Any], experiment: dict[str, Any], seed: int, model: dict[str, Any], **ensemble: Any
) -> tuple[np.ndarray, str]:
    """A population of ten devices, and a model of it (``device`` with some of its settings changed): which intervals
    hold the values of ``device``, and what is said."""
    tree = run(device, experiment, seed=1000 + seed, **ensemble)
    own = copy.deepcopy(experiment)
    own.setdefault("ensemble", {})["seed"] = 7 + seed
    linear = ("on", "off")
    targets = [
        {"experiment": "it"} | t
        for reading in readings(tree)
        for t in targets_of(reading, "planted", reading.name in linear)
    ]
    plan: Plan = resolve(job(device | model, own, targets=targets, measured=[]), Path())
    read = set_of("planted", "it", "[device]", readings(tree), set(linear))
    plan = dataclasses.replace(plan, sets=(read,))
    truth = plan.values(plan.start)
    outcome = calibrate(plan)
    held = (outcome.knowledge.low < truth) & (truth < outcome.knowledge.high)
    return held, "\n".join(conclusions(outcome))


@pytest.mark.slow
@pytest.mark.parametrize(("device", "experiment"), [(FILM, SPECTRUM), (SWITCH, TRACE)], ids=["spectra", "traces"])
def test_intervals_hold_planted_populations(device: dict[str, Any], experiment: dict[str, Any]) -> None:
    """Of twenty populations at least sixteen intervals hold for each median and spread, and at most one population is
    said to conflict with the model that made it."""
    found = [fitted(device, experiment, seed, {}) for seed in range(20)]
    held = np.sum([one for one, _ in found], axis=0)
    print(held, sum("conflict with the model" in said for _, said in found))
    assert np.all(held >= 16), held
    assert sum("conflict with the model" in said for _, said in found) <= 1


@pytest.mark.slow
def test_spectra_of_devices_whose_parameters_correlate_are_said_to_conflict() -> None:
    """Conductivity and thickness by 0.98, which no spread in the model is: at least nine of ten populations conflict,
    and the two are named."""
    together = {"parameters": ["conductivity", "thickness"], "matrix": [[1.0, 0.98], [0.98, 1.0]]}
    said = [fitted(FILM, SPECTRUM, seed, {}, correlation=together)[1] for seed in range(10)]
    assert sum("conductivity and thickness of the measured devices correlate" in text for text in said) >= 9


@pytest.mark.slow
def test_spectra_of_another_law_are_said_to_conflict() -> None:
    """Thickness spreads by a tenth, and in the model it does not: at least nine of ten populations conflict."""
    said = [fitted(FILM, SPECTRUM, seed, {"thickness": "100 nm"})[1] for seed in range(10)]
    assert sum("conflict with the model" in text for text in said) >= 9


def test_parts_of_a_course_stand_at_their_middles() -> None:
    hold = {"kind": "hold", "duration": "0.8 s", "samples": 8}
    course = {"i": {"kind": "course_of_current", "parts": 4}}
    experiment = mcdev.build({"name": "t", "device": {"preset": "device_p"}, "protocol": hold, "measurements": course})
    axis = experiment.measurements["i"].axis(experiment.timeline)
    assert axis is not None
    assert axis[:2] == ("time", "s")
    np.testing.assert_allclose(axis[2], [0.1, 0.3, 0.5, 0.7])
