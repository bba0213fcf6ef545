"""What ``mcdev new`` writes runs as it is: calibrations, studies, examples with the files that they name."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ended

import mcdev
from mcdev.calibration import load_job
from mcdev.interface.examples import example, examples
from mcdev.study import load_study

DEVICES = [
    "volatile_threshold",
    pytest.param("device_p", marks=pytest.mark.slow),
    pytest.param("wang2017_sioxny_ag", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("device", DEVICES)
def test_a_first_calibration_is_met_where_it_begins(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mcdev_main: Callable[..., Ended]
) -> None:
    """Its targets are simulated with the device's own parameters, its bounds lie about these."""
    monkeypatch.chdir(tmp_path)
    ended = mcdev_main("new", device, "calibration")
    assert ended.code == 0, ended.err
    file = tmp_path / f"{device}_calibration.toml"
    assert "mcdev calibrate" in ended.out
    plan = load_job(file)
    assert 1 <= len(plan.parameters) == len(plan.goals) <= 2
    for parameter in plan.parameters:
        low, high = parameter.coordinate.low, parameter.coordinate.high
        assert low is not None
        assert high is not None
        assert low < parameter.start < high
    assert mcdev_main("new", device, "calibration").code == 3  # it is there
    assert not [line for line in file.read_text(encoding="utf-8").splitlines() if len(line) > 400]


@pytest.mark.slow
def test_a_first_calibration_finds_its_own_parameters(tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    assert mcdev_main("new", "device_p", "calibration", "--out", tmp_path / "job.toml").code == 0
    plan = load_job(tmp_path / "job.toml")
    fitted = mcdev.calibrate(tmp_path / "job.toml", tmp_path / "out")["parameters"].dataset
    for parameter, low, high in zip(plan.parameters, fitted["low"].values, fitted["high"].values, strict=True):
        assert low < parameter.start / parameter.mark.scale < high


@pytest.mark.parametrize("device", ["device_1s", "wang2017_sioxny_ag", "yakopcic"])
def test_a_first_study_is_valid(device: str, tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    ended = mcdev_main("new", device, "study", "--out", tmp_path / "mine.toml")
    assert ended.code == 0
    plan = load_study(tmp_path / "mine.toml")
    assert [m.variant for m in plan.members] == ["as it is", "another device"]
    assert {m.run for m in plan.members} == {"mine_run"}
    first, second = (member.experiment for member in plan.members)
    assert first.hash != second.hash


def test_examples_come_with_the_files_that_they_name(tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    assert {"wang2017/fig4b_train", "shin2022/table1", "examples/calibrate_scope"} <= set(examples())
    assert list(example("examples/calibrate_scope")) == ["calibrate_scope.toml", "scope.csv"]
    assert mcdev_main("new", "examples/calibrate_spectra", "--out", tmp_path / "spectra.toml").code == 0
    assert len(list((tmp_path / "spectra").glob("device*.csv"))) == 10
    assert load_job(tmp_path / "spectra.toml").goals
    named = set(example("shin2022/table1"))
    runs = tomllib.loads(example("shin2022/table1")["table1.toml"].decode())["runs"]
    assert named == {"table1.toml", *runs}
    ended = mcdev_main("new", "examples/calibrate_scope", "--out", tmp_path / "a.toml")
    assert ended.code == 0
    assert "mcdev calibrate" in ended.out
    assert len(load_job(tmp_path / "a.toml").traces) == 1
    assert mcdev_main("new", "examples/calibrate_scope", "--out", tmp_path / "a.toml").code == 3


def test_the_list_names_tasks_and_examples(mcdev_main: Callable[..., Ended]) -> None:
    out = mcdev_main("new").out
    assert all(words in out for words in ("pulse_train", "calibration", "study", "wang2017/fig4b_train"))


def test_what_is_no_example_is_said(mcdev_main: Callable[..., Ended]) -> None:
    ended = mcdev_main("new", "wang2017/fig4b_trian")
    assert ended.code == 2
    assert "did you mean" in ended.err
