"""Measured values as a distribution: what is read, what is drawn, and where the numbers stand."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from test_shared_configurations import BASE, SWITCH, put

import mcdev
from mcdev.calibration import load_job
from mcdev.configuration.problems import ConfigError
from mcdev.files.whole_file import ResultsError
from mcdev.interface.json_schema import config_schema
from mcdev.results.tree import experiment_of
from mcdev.schema import PerDevice, extremes, typical
from mcdev.schema.laws import Samples
from mcdev.simulation.draws import draw_parameters

VOLTS = (0.61, 0.58, 0.66, 0.63, 0.63, 0.55, 0.71)
FILE = "# read by hand\ndevice,V_th (mV),tau_r (s)\n" + "".join(f"{i},{1000 * v:g},0.1\n" for i, v in enumerate(VOLTS))
THRESHOLD = {"distribution": "samples", "file": "devices.csv", "column": "V_th"}


def config(folder: Path, text: str = FILE, **device: Any) -> Path:
    (folder / "devices.csv").write_text(text, encoding="utf-8")
    table = SWITCH | {"threshold_voltage": THRESHOLD} | device
    return put(folder / "mine.toml", BASE | {"device": table, "sweep": {}})


# ------------------------------------------------------------------------------- what is drawn


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40), st.integers(1, 7))
def test_every_value_is_drawn_equally_often(values: list[float], often: int) -> None:
    """Of shares in the middle of equal classes each value comes as often as it stands there."""
    law = Samples(values=tuple(values))
    count = often * len(values)
    drawn = law.quantile((np.arange(count) + 0.5) / count)
    assert sorted(drawn) == sorted(values * often)
    assert law.support == (min(values), max(values))
    assert extremes(law) == (min(values), max(values))
    assert typical(law) == np.quantile(values, 0.5, method="inverted_cdf")


def test_draws_have_the_moments_and_quantiles_of_the_values(tmp_path: Path) -> None:
    """Mean within four standard errors, quantiles those of the file; Sobol' draws are evenly spread."""
    experiment = mcdev.load(config(tmp_path), {"ensemble.devices": 4096})
    drawn = draw_parameters(experiment, 0, 4096)["threshold_voltage"]
    assert set(np.round(drawn, 12)) == set(VOLTS)
    assert abs(drawn.mean() - np.mean(VOLTS)) < 4 * np.std(VOLTS) / 64
    assert np.quantile(drawn, 0.5, method="inverted_cdf") == pytest.approx(np.median(VOLTS))
    even = draw_parameters(experiment.with_({"ensemble.sampling": "sobol"}), 0, 4096)["threshold_voltage"]
    for value in set(VOLTS):
        share = np.isclose(even, value).mean()
        assert share == pytest.approx(VOLTS.count(value) / len(VOLTS), abs=2 / 4096)


def test_a_device_is_the_same_in_an_ensemble_of_any_size(tmp_path: Path) -> None:
    experiment = mcdev.load(config(tmp_path))
    few, many = (draw_parameters(experiment, 0, n)["threshold_voltage"] for n in (5, 500))
    np.testing.assert_array_equal(few, many[:5])


def test_samples_are_correlated_by_the_copula(tmp_path: Path) -> None:
    """Their normal scores: with ρ = 1 both come in the same order, with -1 in the opposite."""
    other = {"distribution": "lognormal", "median": "20 Hz", "sigma": 0.3}
    experiment = mcdev.load(config(tmp_path, switching_rate=other))
    for rho, sign in ((0.999999, 1), (-0.999999, -1)):
        names = ["threshold_voltage", "switching_rate"]
        table = {"parameters": names, "matrix": [[1.0, rho], [rho, 1.0]]}
        drawn = draw_parameters(experiment.with_({"ensemble.correlation": table}), 0, 400)
        order = np.argsort(drawn["switching_rate"])
        steps = sign * np.diff(drawn["threshold_voltage"][order])
        assert (steps >= 0).mean() > 0.98
        assert np.ptp(drawn["threshold_voltage"]) > 0


# ------------------------------------------------------------------------------- where the numbers stand


def test_the_configuration_holds_the_numbers(tmp_path: Path) -> None:
    experiment = mcdev.load(config(tmp_path))
    written = experiment.to_dict()["device"]["threshold_voltage"]
    assert written == {"distribution": "samples", "values": pytest.approx(list(VOLTS)), "unit": "V"}
    (tmp_path / "devices.csv").unlink()
    again = mcdev.build(tomllib.loads(experiment.to_toml()))
    assert again == experiment
    assert again.hash == experiment.hash
    assert again.to_toml() == experiment.to_toml()
    other = mcdev.load(config(tmp_path, FILE.replace("710", "720")))
    assert other.hash != experiment.hash


def test_energies_come_back_as_they_were_read(tmp_path: Path) -> None:
    """In a unit that is no whole number of the SI's."""
    mark = PerDevice("eV", gt=0)
    law = mark.parse_drawn({"distribution": "samples", "values": [0.1, 0.2, 1 / 3], "unit": "eV"})
    again = mark.parse_drawn(mark.write(law))
    assert again == law
    assert law.support[0] == pytest.approx(0.1 * mark.scale)


def test_a_run_and_its_file(tmp_path: Path) -> None:
    tree = mcdev.run(mcdev.load(config(tmp_path)), report=False)
    (tmp_path / "devices.csv").unlink()
    mcdev.write(tree, tmp_path / "run")
    read = mcdev.read(tmp_path / "run")
    assert set(np.round(read["parameters/threshold_voltage"].values.ravel(), 12)) <= set(VOLTS)
    assert "threshold_voltage" in experiment_of(read).to_toml()


def test_results_name_no_file(tmp_path: Path) -> None:
    tree = mcdev.run(mcdev.build(BASE | {"sweep": {}}), report=False)
    text = tomli_w.dumps(BASE | {"sweep": {}, "device": SWITCH | {"threshold_voltage": THRESHOLD}})
    tree["config"].dataset = tree["config"].to_dataset().assign(toml=text)
    with pytest.raises(ResultsError, match="names another file"):
        experiment_of(tree)


def test_wherever_a_distribution_may_stand(tmp_path: Path) -> None:
    """In a base, in a preset of one's own, along a sweep, for a circuit's element, in a calibration."""
    (tmp_path / "data").mkdir()
    config(tmp_path / "data")
    over = put(tmp_path / "over.toml", {"extends": "data/mine.toml", "name": "over"})
    preset = {"device": SWITCH | {"threshold_voltage": THRESHOLD}}
    put(tmp_path / "data" / "batch.toml", preset)
    with_preset = put(tmp_path / "with_preset.toml", BASE | {"device": {"preset": "data/batch.toml"}, "sweep": {}})
    axes = {"device.threshold_voltage": ["0.6 V", THRESHOLD | {"file": "data/devices.csv"}]}
    swept = put(tmp_path / "swept.toml", BASE | {"device": SWITCH, "sweep": {"axes": axes}})
    for file in (over, with_preset, swept):
        *_, (_, last) = mcdev.load(file).points()
        assert last.device.threshold_voltage.values == pytest.approx(VOLTS)
    (tmp_path / "r.csv").write_text("R [kohm]\n9\n10\n11\n")
    resistance = {"distribution": "samples", "file": "r.csv"}
    wired = BASE | {"device": SWITCH, "sweep": {}, "circuit": {"kind": "series_resistor", "resistance": resistance}}
    assert mcdev.load(put(tmp_path / "wired.toml", wired)).circuit.resistance.support == (9e3, 11e3)
    job = {
        "name": "job",
        "device": SWITCH | {"threshold_voltage": THRESHOLD | {"file": "data/devices.csv"}},
        "experiments": {"one": {k: BASE[k] for k in ("protocol", "measurements")}},
        "parameters": {"device.switching_rate": {"low": "1 Hz", "high": "100 Hz"}},
        "targets": [{"experiment": "one", "measurement": "tau", "value": "20 ms", "uncertainty": "5 %", "source": "s"}],
    }
    (experiment,) = load_job(put(tmp_path / "job.toml", job)).experiments.values()
    assert experiment.device.threshold_voltage.values == pytest.approx(VOLTS)


def test_without_a_file() -> None:
    table = {"distribution": "samples", "values": [610, 580.5, 660], "unit": "mV"}
    experiment = mcdev.build(BASE | {"device": SWITCH | {"threshold_voltage": table}, "sweep": {}})
    assert experiment.device.threshold_voltage.values == pytest.approx((0.61, 0.5805, 0.66))
    pure = {"distribution": "samples", "values": [1.2, 1.4]}
    experiment = mcdev.build(BASE | {"device": SWITCH | {"switching_exponent": pure}, "sweep": {}})
    assert experiment.device.switching_exponent == Samples(values=(1.2, 1.4))


# ------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        (FILE, {"file": "../devices.csv"}, "leads out of the configuration's folder"),
        (FILE, {"file": "absent.csv"}, "cannot be read"),
        (FILE, {"column": None}, r"has 3 columns; say which by column = …; it has 'device', 'V_th \(mV\)'"),
        (FILE, {"column": "V_hold"}, "has no column 'V_hold'"),
        (FILE, {"column": 4}, "has no column 4"),
        (FILE, {"column": "tau_r"}, "expected values that are a voltage with its unit > 0 V, but 's' is a time"),
        (FILE, {"column": 1}, "no unit"),
        (FILE, {"colum": 2}, "did you mean 'column'"),
        (FILE, {"unit": "V"}, "is in 'mV' as its header says, and unit is 'V'; leave unit out"),
        (FILE.replace("610", "n/a"), {}, r"value 1 of 'V_th \(mV\)' is 'n/a'; expected a number"),
        (FILE.replace("610", ""), {}, "value 1 of .* is ''"),
        (FILE.replace("610", "-3"), {}, "-0.003 V.*is among the values; expected a voltage with its unit > 0 V"),
        (FILE.replace("610", "9.91e37"), {}, "and none beyond 1e.06 V"),
        ("610\n620\n", {"column": None}, "expected a header like"),
        ("V_th (mV)\n610\n", {"column": None}, "of 2 numbers at least"),
        ("", {}, "is empty; expected a header"),
    ],
)
def test_what_is_wrong_is_said_once(text: str, changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    law = {key: value for key, value in (THRESHOLD | changes).items() if value is not None}
    with pytest.raises(ConfigError, match=words) as error:
        mcdev.load(config(tmp_path, text, threshold_voltage=law))
    assert len(error.value.problems) == 1, error.value
    assert error.value.problems[0].key.startswith("device.threshold_voltage")


def test_the_schema_knows_samples(tmp_path: Path) -> None:
    validator = jsonschema.Draft202012Validator(config_schema())
    validator.validate(tomllib.loads(config(tmp_path).read_text()))
    validator.validate(mcdev.load(tmp_path / "mine.toml").to_dict())
