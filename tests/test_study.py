"""Studies: several configurations in several variants; and what they rest on: presets as an axis, fits in a grid."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from conftest import Ended, array, elsewhere
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import CONFIGS, one_message

import mcdev
from mcdev import study
from mcdev.configuration.problems import ConfigError
from mcdev.figures import side_by_side
from mcdev.figures.pictures import draw_study
from mcdev.figures.style import BLACK
from mcdev.files.whole_file import ResultsError
from mcdev.results import file, safekeeping
from mcdev.results.scheduler import workers
from mcdev.schema import file_names, folded
from mcdev.simulation.draws import draw_parameters

RUN = """
name = "train"
[device]
preset = "device_p"
[protocol]
kind = "pulse_train"
amplitude = "3.5 V"
width = "0.1 s"
gap = "50 ms"
count = 2
[sweep.axes]
"device.preset" = ["device_p", "device_2s"]
[ensemble]
devices = 2
[measurements]
ppf = { kind = "paired_pulse" }
[[output.reference]]
measurement = "ppf"
point = 1
value = 0.242
source = "Table 1"
[[output.reference]]
measurement = "ppf"
point = 2
value = "> 0"
source = "Table 1, sign"
[[output.reference]]
measurement = "ppf"
point = 2
value = 0.841
source = "elsewhere"
"""
STUDY = """
name = "small"
runs = ["train.toml"]
source = "Table 1"
[variants.plain]
[variants.slow.set]
"device.conductivity" = "1e-11 S/cm"
[variants.slow.notes]
ppf = "a third of the conductivity"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.toml").write_text(RUN)
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


def perform(
    folder: Path, overrides: dict[str, Any] | None = None
) -> tuple[study.Plan, dict[tuple[str, str], xr.DataTree], list[str]]:
    plan, done = study.load_study(folder / "study.toml", overrides), []

    def run(member: study.Member, place: Path) -> None:
        done.append(member.variant)
        place.mkdir(parents=True, exist_ok=True)
        with safekeeping.Folder(place, member.experiment) as keeper, workers() as pool:
            tree, _ = safekeeping.work(keeper, keeper.begin(pool.number), pool, lambda done, total: None)
            file.write(tree, place)
            keeper.done()

    return plan, study.perform(plan, folder / "out", run), done


def test_table_has_a_row_a_number_and_a_column_a_variant(folder: Path) -> None:
    plan, trees, _ = perform(folder)
    first, second = study.table(plan, trees)
    assert (first.run, first.quantity, first.published) == ("train", "ppf", 0.242)
    assert list(first.entries) == ["plain", "slow"]
    assert first.entries["plain"].deviation == pytest.approx(0.0, abs=0.01)
    assert first.entries["slow"].value is not None
    assert first.entries["slow"].value < 0.15
    assert (first.entries["plain"].note, first.entries["slow"].note) == ("", "a third of the conductivity")
    assert second.published == "> 0"
    assert second.entries["plain"].deviation is None
    assert len(study.to_csv([first, second]).splitlines()) == 5


def test_finished_runs_are_taken_up_and_changed_ones_run_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of another machine or code are refused."""
    assert perform(folder)[2] == ["plain", "slow"]
    assert perform(folder)[2] == []
    (folder / "out" / "slow" / "train" / "results.h5").write_bytes(b"damaged")
    assert perform(folder)[2] == ["slow"]
    (folder / "train.toml").write_text(RUN.replace("0.1 s", "0.2 s"))
    plan, _, done = perform(folder)
    assert done == ["plain", "slow"]
    with monkeypatch.context() as there:
        elsewhere(there, processor="another")
        with pytest.raises(ResultsError, match="begun on another machine"):
            perform(folder)
        assert len(study.perform(plan, folder / "out", lambda member, place: None, accept=True)) == 2
    elsewhere(monkeypatch, code="f" * 64)
    with pytest.raises(ResultsError, match="another version of the code"):
        perform(folder)


# ------------------------------------------------------------------------------- whose a member's folder is

ALIKE = """
name = "alike"
runs = ["train.toml", "sub/train.toml"]
[variants."a b"]
[variants.a_b.set]
"device.conductivity" = "1e-11 S/cm"
"""


def test_members_do_not_share_a_folder_nor_numbers(folder: Path) -> None:
    """Variants that differ in a blank, runs of one name in two folders."""
    (folder / "sub").mkdir()
    (folder / "sub" / "train.toml").write_text(RUN.replace("0.1 s", "0.2 s"))
    (folder / "study.toml").write_text(ALIKE)
    plan, trees, done = perform(folder, {"ensemble.devices": 1})
    assert len(done) == len(trees) == len({str(member.folder).casefold() for member in plan.members}) == 4
    for member in plan.members:
        assert mcdev.experiment_of(trees[member.run, member.variant]) == member.experiment
        assert (folder / "out" / member.folder / "results.h5").exists()
    assert [row.run for row in study.table(plan, trees)] == ["train.toml"] * 3 + ["sub/train.toml"] * 3


def test_folders_of_shipped_studies_are_what_they_were() -> None:
    plan = study.load_study(CONFIGS / "shin2022" / "levels.toml")
    assert [str(member.folder) for member in plan.members] == ["level_1/pulse_train", "level_2/pulse_train"]


def test_a_run_that_stands_twice_is_refused(folder: Path) -> None:
    (folder / "study.toml").write_text(STUDY.replace('"train.toml"', '"train.toml", "./train.toml"'))
    with pytest.raises(ConfigError, match="is the name of two runs"):
        study.load_study(folder / "study.toml")


HOSTILE = [
    "",
    ".",
    "..",
    "../../escaped",
    "/somewhere",
    "a b",
    "a_b",
    "A_B",
    "a\nb",
    "a\0b",
    "C:x",
    "con",
    "é",
    "x" * 300,
]
HOSTILE += ["figures", "table.csv", *file_names(["a b", "a_b"]).values()]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=12) | st.sampled_from(HOSTILE), unique=True, max_size=12))
def test_any_names_have_file_names_of_their_own(labels: list[str]) -> None:
    """One path component each, and none like another, whatever the file system makes of case and accents."""
    names = file_names(labels, ("figures", "table.csv"))
    assert list(names) == labels
    used = [folded(name) for name in names.values()]
    assert len({*used, "figures", "table.csv"}) == len(labels) + 2
    for name in names.values():
        assert re.fullmatch(r"[^\W_][\w.-]*", name)
        assert len(name.encode()) < 120
        assert (Path("/out") / name).resolve().parent == Path("/out")


def test_an_edited_member_is_computed_again_and_said(folder: Path, mcdev_main: Callable[..., Ended]) -> None:
    """From the command line; the others are taken up. A member that was killed between its lock and its first record
    is begun again."""
    out = folder / "out"
    (out / "slow" / "train").mkdir(parents=True)
    (out / "slow" / "train" / ".lock").write_text("")
    arguments = ("run", folder / "study.toml", "--no-figures", "--set", "ensemble.devices=1", "--resume", out)
    first = mcdev_main(*arguments)
    assert first.code == 0, first.err
    before = (out / "table.csv").read_text()
    (folder / "train.toml").write_text(RUN.replace("count = 2", "count = 3").replace("50 ms", "80 ms"))
    again = mcdev_main(*arguments)
    assert again.code == 0, again.err
    said = again.err.replace("\n", "")
    assert f"{out / 'slow' / 'train'} is computed again: " in said
    assert 'protocol.gap: "0.05 s" there, "0.08 s" here; protocol.count: 2 there, 3 here' in said
    assert (out / "table.csv").read_text() != before
    third = mcdev_main(*arguments)
    assert "computed again" not in third.err
    assert (third.code, third.out) == (0, again.out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_study_says_how_to_go_on(
    folder: Path, mcdev_main: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """In whatever it is at: here, its table. A second signal on the way out changes nothing."""

    def stop(*_: Any) -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)

    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setattr(study, "perform", stop)
    ended = mcdev_main("run", folder / "study.toml", "--out", folder / "my out", "--set", "ensemble.seed=2")
    again = f"go on with: mcdev run {folder}/study.toml --resume '{folder}/my out' --set ensemble.seed=2"
    one_message(ended, 128 + number, again)


def test_variants_are_drawn_side_by_side(folder: Path) -> None:
    _, trees, _ = perform(folder)
    (path,) = draw_study(trees, folder / "figures")
    assert path.name == "train_side_by_side.png"
    figure = side_by_side.draw({variant: tree for (_, variant), tree in trees.items()})
    (legend,) = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert [each.partition(" (")[0] for each in words] == ["plain", "slow"]
    assert all("(mean of " in each or "(one device)" in each for each in words)
    assert {line.get_color() for line in legend.get_lines()} == {BLACK}, "a colour is a sweep point"
    assert draw_study({key: tree for key, tree in trees.items() if key[1] == "plain"}, folder) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (('"train.toml"', '"absent.toml"'), "absent.toml (plain)"),
        (("device.conductivity", "device.conductance"), "train.toml (slow): device.conductance"),
        (("ppf =", "pff ="), "variants.slow.notes.pff"),
        (('name = "small"', 'name = "no good/"'), "name"),
        (("[variants.plain]", "[variant.plain]"), "variant"),
    ],
)
def test_mistakes_are_named(folder: Path, change: tuple[str, str], named: str) -> None:
    (folder / "study.toml").write_text(STUDY.replace(*change))
    with pytest.raises(ConfigError) as caught:
        study.load_study(folder / "study.toml")
    assert any(p.key.startswith(named) for p in caught.value.problems), str(caught.value)


def test_command_line_runs_a_study(folder: Path) -> None:
    command = [sys.executable, "-m", "mcdev", "run", "study.toml", "--out", "done", "--no-figures"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "(1) a third of the conductivity" in ended.stdout
    assert (folder / "done" / "table.csv").exists()
    assert (folder / "done" / "slow" / "train" / "statistics.csv").exists()


# ------------------------------------------------------------------------ presets as an axis, fits in a grid


def experiment(axes: dict[str, Any], device: dict[str, Any] | None = None, **more: Any) -> mcdev.Experiment:
    return mcdev.build(
        {
            "name": "test",
            "device": {"preset": "device_p", **(device or {})},
            "protocol": {"kind": "pulse_train", "amplitude": "3.5 V", "width": "0.1 s", "gap": "50 ms", "count": 2},
            "measurements": {"ppf": {"kind": "paired_pulse"}},
            "ensemble": {"devices": 1},
            "sweep": {"axes": axes},
            **more,
        }
    )


PRESETS = {"device.preset": ["device_p", "device_1s", "device_2s"]}


def test_preset_axis_keeps_what_is_given_beside_it() -> None:
    points = [point for _, point in experiment(PRESETS, {"thickness": "90 nm"}).points()]
    drawn = [draw_parameters(point, 0, 1) for point in points]
    assert [float(d["conductivity"][0]) for d in drawn] == pytest.approx([2.79e-9, 7.72e-9, 1.9e-8])
    assert [float(d["thickness"][0]) for d in drawn] == pytest.approx([9e-8] * 3)
    assert [p.device.preset for p in points] == PRESETS["device.preset"]


def test_another_preset_replaces_the_old_one() -> None:
    one = experiment({}, {"area": "1 mm^2"})
    other = one.with_({"device.preset": "device_2s"})
    expected = experiment({}, {"preset": "device_2s", "area": "1 mm^2"})
    assert other == expected


def test_presets_of_two_kinds_do_not_mix() -> None:
    with pytest.raises(ConfigError, match="run them one by one"):
        experiment({"device.preset": ["device_p", "device_p_pnp"]})
    with pytest.raises(ConfigError, match="no such preset"):
        experiment({"device.preset": ["device_p", "device_x"]})


def test_quoted_key_paths_reach_keys_with_dots() -> None:
    one = experiment(PRESETS)
    other = one.with_({'sweep.axes."device.preset"': ["device_1s"]})
    assert [values["device.preset"] for values, _ in other.points()] == ["device_1s"]


GAPS = {"protocol.gap": ["0.05 s", "0.1 s", "0.3 s", "1 s", "3 s", "9 s"]}
DECAY = {"decay": {"kind": "double_exponential", "measurement": "ppf", "axis": "protocol.gap", "statistic": "mean"}}


def test_a_fit_in_a_grid_is_one_curve_for_each_value_of_the_other_axes() -> None:
    tree = mcdev.run(experiment(PRESETS | GAPS, fits=DECAY))
    tau = array(tree, "fits/decay/tau_2")
    assert tau.dims == ("curve",)
    assert tau.curve.values.tolist() == [f"preset = {p}" for p in PRESETS["device.preset"]]
    assert np.all(np.diff(tau.values) < 0)
    swapped = mcdev.run(experiment(GAPS | PRESETS, fits=DECAY))
    np.testing.assert_allclose(array(swapped, "fits/decay/tau_2").values, tau.values, rtol=1e-9)
    alone = mcdev.run(experiment(GAPS, {"preset": "device_1s"}, fits=DECAY))
    assert float(array(alone, "fits/decay/tau_2").values[0]) == pytest.approx(float(tau.values[1]), rel=1e-9)


def test_reference_to_a_fit_names_one_of_its_curves() -> None:
    def with_point(point: int) -> mcdev.Experiment:
        reference = {"measurement": "decay", "coefficient": "tau_2", "point": point, "value": "1 s", "source": "x"}
        return experiment(PRESETS | GAPS, fits=DECAY, output={"reference": [reference]})

    with_point(3)
    with pytest.raises(ConfigError, match="a curve between 1 and 3"):
        with_point(4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"measurements": {"s": {"kind": "equivalent_circuit"}}}, "expected protocol.kind = 'impedance'"),
        ({"device": {"preset": "wang2017_reduced"}, "protocol": {"kind": "impedance"}}, "no linearised equations"),
        ({"protocol": {"kind": "impedance", "lowest": "1 kHz", "highest": "1 Hz"}}, "highest > lowest"),
        ({"device": {"preset": "device_p", "conductivity": "-1e-9 S/m"}}, "device.conductivity"),
        ({"device": {"preset": "device_p", "thickness": "0 nm"}}, "device.thickness"),
        ({"measurements": {"t": {"kind": "delay_time"}}}, "refers to G_max"),
        ({"measurements": {"t": {"kind": "exponential_fit", "index": 3}}}, "window pulse 3 of 2"),
        ({"measurements": {"t": {"kind": "exponential_fit", "duration": "1 ms"}}}, "at least 5 are needed"),
    ],
)
def test_conflicts_are_named(changes: dict[str, Any], said: str) -> None:
    plain = experiment({}).to_dict()
    with pytest.raises(ConfigError) as caught:
        mcdev.build({**plain, "device": {"preset": "device_p"}, **changes})
    assert said in str(caught.value)


def test_recovery_is_a_train_and_one_more_pulse() -> None:
    protocol = {"kind": "recovery", "amplitude": "1 V", "width": "0.1 s", "gap": "50 ms", "recovery": "3 s"}
    timeline = mcdev.build(
        {
            "name": "r",
            "device": {"preset": "device_p"},
            "protocol": protocol,
            "measurements": {"p": {"kind": "paired_pulse", "second": 5}},
        }
    ).protocol.timeline()
    starts = [timeline.edges[first] for first, _ in timeline.windows["pulse"]]
    np.testing.assert_allclose(starts, [0, 0.15, 0.3, 0.45, 0.55 + 3])
    assert timeline.duration == pytest.approx(0.55 + 3 + 0.1)
