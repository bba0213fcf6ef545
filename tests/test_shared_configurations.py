"""Configurations that people share: one on top of another, and presets of one's own."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import tomli_w

import mcdev
from mcdev.calibration import load_job
from mcdev.configuration.describes import describes
from mcdev.configuration.extends import merged
from mcdev.configuration.problems import ConfigError
from mcdev.files.whole_file import ResultsError
from mcdev.interface.json_schema import config_schema
from mcdev.results.tree import experiment_of
from mcdev.study import load_study

SWITCH = {
    "kind": "volatile_threshold",
    "threshold_voltage": "0.6 V",
    "hold_voltage": "0.3 V",
    "switching_rate": "20 Hz",
    "switching_exponent": 1.5,
    "relaxation_time": "100 ms",
    "on_conductance": "100 uS",
    "off_conductance": "1 uS",
}
BASE: dict[str, Any] = {
    "name": "base",
    "device": SWITCH | {"relaxation_time": {"distribution": "lognormal", "median": "100 ms", "sigma": 0.1}},
    "protocol": {"kind": "pulse", "amplitude": "1 V", "width": "50 ms", "relaxation": "100 ms"},
    "ensemble": {"devices": 4},
    "measurements": {"tau": {"kind": "delay_time"}, "g": {"kind": "mean_conductance"}},
    "sweep": {"axes": {"protocol.amplitude": {"start": "0.8 V", "stop": "1 V", "count": 3}}},
}
PRESET = {"title": "batch 7", "source": "my notebook", "device": SWITCH, "origin": {"threshold_voltage": "measured"}}


def put(path: Path, data: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(data), encoding="utf-8")
    return path


# ------------------------------------------------------------------------------- extends


def test_what_a_file_says_stands_over_its_base(tmp_path: Path) -> None:
    put(tmp_path / "base.toml", BASE)
    over = {"extends": "base.toml", "name": "mine", "device": {"threshold_voltage": "0.7 V"}, "ensemble": {"seed": 9}}
    experiment = mcdev.load(put(tmp_path / "mine.toml", over))
    whole = BASE | {"name": "mine", "ensemble": {"devices": 4, "seed": 9}}
    whole["device"] = BASE["device"] | {"threshold_voltage": "0.7 V"}
    assert experiment == mcdev.build(whole)
    assert experiment.hash == mcdev.build(whole).hash
    assert "extends" not in experiment.to_toml()
    assert mcdev.load(tmp_path / "mine.toml", {"ensemble.seed": 3}).ensemble.seed == 3


@pytest.mark.parametrize(
    ("below", "over", "expected"),
    [
        ({"distribution": "normal", "mean": 1, "sd": 2}, {"distribution": "normal", "mean": 3}, None),
        ({"start": 1, "stop": 2, "count": 3}, {"start": 4, "stop": 5, "count": 6, "spacing": "log"}, None),
        ({"kind": "pulse", "width": 1}, {"kind": "hold", "duration": 2}, None),
        ({"kind": "pulse", "width": 1}, {"kind": "pulse", "gap": 2}, {"kind": "pulse", "width": 1, "gap": 2}),
        ({"kind": "exponential_fit", "start": 1}, {"start": 2}, {"kind": "exponential_fit", "start": 2}),
        ([1, 2], [3], None),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ("300 K", {"distribution": "normal", "mean": 1, "sd": 2}, None),
    ],
    ids=["distribution", "range", "another kind", "same kind", "start alone", "list", "tables", "value"],
)
def test_tables_are_completed_and_values_replaced(below: Any, over: Any, expected: Any) -> None:
    assert merged({"x": below, "y": 1}, {"x": over}) == {"x": over if expected is None else expected, "y": 1}


def test_a_chain_with_files_of_its_own(tmp_path: Path) -> None:
    """Files that a base names lie beside it."""
    wave = BASE | {"protocol": {"kind": "waveform", "file": "wave.csv"}, "sweep": {}}
    wave["measurements"] = {"g": {"kind": "mean_conductance"}}
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "wave.csv").write_text("time (s),voltage (V)\n0,0\n1,1\n2,0\n")
    put(tmp_path / "common" / "base.toml", wave)
    put(tmp_path / "common" / "next.toml", {"extends": "base.toml", "ensemble": {"seed": 5}})
    experiment = mcdev.load(put(tmp_path / "mine.toml", {"extends": "common/next.toml", "name": "mine"}))
    assert (experiment.name, experiment.ensemble.seed) == ("mine", 5)
    assert experiment.to_dict()["protocol"]["voltage"] == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("mine.toml", "extends itself: mine.toml → mine.toml"),
        ("a.toml", "extends itself: mine.toml → a.toml → mine.toml"),
        ("../base.toml", "leads out of the configuration's folder"),
        ("/etc/passwd", "leads out of the configuration's folder"),
        ("absent.toml", "cannot be read"),
        ("broken.toml", "is not valid TOML"),
        (3, "expected the name"),
    ],
)
def test_what_cannot_be_extended(given: Any, words: str, tmp_path: Path) -> None:
    own = tmp_path / "own"
    put(tmp_path / "base.toml", BASE)
    put(own / "a.toml", {"extends": "mine.toml"})
    (own / "broken.toml").write_text("a = = 1")
    with pytest.raises(ConfigError, match=words) as error:
        mcdev.load(put(own / "mine.toml", {"extends": given, "name": "x"}))
    assert "\n  extends" in str(error.value)


def test_a_link_does_not_lead_out(tmp_path: Path) -> None:
    put(tmp_path / "secret.toml", BASE)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "link.toml").symlink_to(tmp_path / "secret.toml")
    with pytest.raises(ConfigError, match="leads out"):
        mcdev.load(put(tmp_path / "own" / "mine.toml", {"extends": "link.toml"}))


def test_studies_and_their_members(tmp_path: Path) -> None:
    put(tmp_path / "base.toml", BASE)
    put(tmp_path / "fast.toml", {"extends": "base.toml", "name": "fast", "protocol": {"width": "10 ms"}})
    put(tmp_path / "all.toml", {"name": "all", "runs": ["base.toml", "fast.toml"], "variants": {"plain": {}}})
    study = put(tmp_path / "warm.toml", {"extends": "all.toml", "name": "warm", "variants": {"other": {}}})
    assert describes(study) == "study"
    plan = load_study(study)
    assert plan.study.name == "warm"
    assert {(m.run, m.variant) for m in plan.members} == {(r, v) for r in ("base", "fast") for v in ("plain", "other")}
    assert next(m for m in plan.members if m.run == "fast").experiment.to_dict()["protocol"]["width"] == "0.01 s"


# ------------------------------------------------------------------------------- presets of one's own


def with_preset(**device: Any) -> dict[str, Any]:
    return BASE | {"device": {"preset": "batch7.toml", **device}}


def test_a_preset_beside_the_configuration(tmp_path: Path) -> None:
    put(tmp_path / "batch7.toml", PRESET)
    experiment = mcdev.load(put(tmp_path / "mine.toml", with_preset(threshold_voltage="0.7 V")))
    expected = mcdev.build(BASE | {"device": SWITCH | {"threshold_voltage": "0.7 V"}})
    assert experiment.device.model_copy(update={"preset": None}) == expected.device
    (tmp_path / "batch7.toml").unlink()
    again = mcdev.build(tomllib.loads(experiment.to_toml()))
    assert again == experiment, "the configuration holds what the file said"


def test_the_numbers_of_a_preset_are_part_of_the_hash(tmp_path: Path) -> None:
    file = put(tmp_path / "mine.toml", with_preset())
    hashes = set()
    for volts in ("0.6 V", "0.7 V"):
        put(tmp_path / "batch7.toml", PRESET | {"device": SWITCH | {"threshold_voltage": volts}})
        hashes.add(mcdev.load(file).hash)
    assert len(hashes) == 2


def test_a_preset_on_top_of_one_of_ours(tmp_path: Path) -> None:
    put(tmp_path / "mine.toml", {"device": {"preset": "wang2017_sioxny_ag", "friction": 3.0}})
    data = BASE | {"device": {"preset": "mine.toml"}, "sweep": {}}
    ours = mcdev.build(data | {"device": {"preset": "wang2017_sioxny_ag", "friction": 3.0}})
    experiment = mcdev.build(data, folder=tmp_path)
    assert experiment.device.preset == "mine.toml"
    assert experiment.device.model_copy(update={"preset": "wang2017_sioxny_ag"}) == ours.device


def test_presets_of_ones_own_along_a_sweep(tmp_path: Path) -> None:
    for name, volts in (("a", "0.5 V"), ("b", "0.7 V")):
        put(tmp_path / f"{name}.toml", PRESET | {"device": SWITCH | {"threshold_voltage": volts}, "source": name})
    data = BASE | {
        "device": {"preset": "a.toml"},
        "sweep": {"axes": {"device.preset": ["a.toml", "b.toml"]}},
    }
    experiment = mcdev.load(put(tmp_path / "mine.toml", data))
    volts = [point.device.threshold_voltage for _, point in experiment.points()]
    assert volts == [0.5, 0.7]
    tree = mcdev.run(experiment)
    assert tree.attrs["device_source"] == "a\nb"
    (tmp_path / "a.toml").unlink()
    mcdev.write(tree, tmp_path / "run")
    read = mcdev.read(tmp_path / "run")
    assert experiment_of(read) == experiment
    np.testing.assert_array_equal(read["parameters/threshold_voltage"], [[0.5] * 4, [0.7] * 4])


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        (None, r"device\.preset .*batch7\.toml.*cannot be read"),
        ({"device": {"threshold_voltage": "0.6 V"}}, r"device\.kind: is missing"),
        ({"device": SWITCH, "nots": []}, "no such key; did you mean 'notes'"),
        ({"device": SWITCH | {"threshold_voltage": "0.6"}}, "its unit is missing"),
        ({"device": {"preset": "wang"}}, "no such preset"),
    ],
)
def test_what_is_wrong_with_a_preset_is_said(preset: dict[str, Any] | None, words: str, tmp_path: Path) -> None:
    if preset is not None:
        put(tmp_path / "batch7.toml", preset)
    with pytest.raises(ConfigError, match=words):
        mcdev.load(put(tmp_path / "mine.toml", with_preset()))


def test_a_preset_lies_in_the_folder(tmp_path: Path) -> None:
    put(tmp_path / "batch7.toml", PRESET)
    data = with_preset(preset="../batch7.toml")
    with pytest.raises(ConfigError, match="leads out of the configuration's folder"):
        mcdev.load(put(tmp_path / "own" / "mine.toml", data))


def test_results_name_no_preset_file(tmp_path: Path) -> None:
    """Those of a stranger neither: nothing beside them is read."""
    put(tmp_path / "batch7.toml", PRESET)
    tree = mcdev.run(mcdev.build(BASE | {"sweep": {}}))
    text = tomli_w.dumps(with_preset() | {"sweep": {}})
    tree["config"].dataset = tree["config"].to_dataset().assign(toml=text)
    with pytest.raises(ResultsError, match="names another file"):
        experiment_of(tree)


def test_a_calibration_finds_its_presets_beside_itself(tmp_path: Path) -> None:
    put(tmp_path / "batch7.toml", PRESET)
    put(tmp_path / "experiments" / "pulse.toml", BASE | {"sweep": {}})
    job = {
        "name": "job",
        "device": {"preset": "batch7.toml"},
        "experiments": {"one": {"file": "experiments/pulse.toml"}},
        "parameters": {"device.switching_rate": {"low": "1 Hz", "high": "100 Hz"}},
        "targets": [{"experiment": "one", "measurement": "tau", "value": "20 ms", "uncertainty": "5 %", "source": "s"}],
    }
    plan = load_job(put(tmp_path / "job.toml", job))
    (experiment,) = plan.experiments.values()
    assert experiment.device.threshold_voltage == 0.6
    next_job = put(tmp_path / "next.toml", {"extends": "job.toml", "name": "next", "search": {"seed": 4}})
    assert load_job(next_job).job.search.seed == 4
    (tmp_path / "batch7.toml").unlink()
    with pytest.raises(ConfigError, match=r"device\.preset.*cannot be read"):
        load_job(tmp_path / "job.toml")


def test_the_schema_knows_both(tmp_path: Path) -> None:
    validator = jsonschema.Draft202012Validator(config_schema())
    validator.validate({"extends": "base.toml"})
    validator.validate(with_preset())
    validator.validate(BASE)
    assert not validator.is_valid({"name": "neither"})
    assert not validator.is_valid(with_preset(preset="no_such_preset"))
