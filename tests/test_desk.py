"""The command line beside its computing: new, list, show, diff, remove, and the options that say how much is said."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
import tomli_w
from conftest import Ended
from test_cli import one_message

import mcdev
from mcdev.configuration.problems import ConfigError
from mcdev.devices import DEVICES
from mcdev.interface import cli, terminal
from mcdev.interface.starter import devices, starter, tasks
from mcdev.protocols import PROTOCOLS
from mcdev.results.one_point import at_point
from mcdev.results.tree import experiment_of

CONFIG: dict[str, Any] = {
    "name": "small",
    "device": {
        "kind": "volatile_threshold",
        "threshold_voltage": "0.6 V",
        "hold_voltage": "0.3 V",
        "switching_rate": {"distribution": "lognormal", "median": "20 Hz", "sigma": 0.3},
        "switching_exponent": 1.5,
        "relaxation_time": "100 ms",
        "on_conductance": "100 uS",
        "off_conductance": "1 uS",
    },
    "protocol": {"kind": "pulse_train", "amplitude": "1 V", "width": "20 ms", "gap": "20 ms", "count": 3},
    "measurements": {"g": {"kind": "pulse_conductance"}, "tau": {"kind": "delay_time"}},
    "ensemble": {"devices": 6},
    "sweep": {"axes": {"protocol.amplitude": ["0.8 V", "1 V"], "protocol.gap": ["20 ms", "40 ms"]}},
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.toml"
    path.write_text(tomli_w.dumps(CONFIG))
    return path


@pytest.fixture(scope="module")
def made(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, and another that differs."""
    folder = tmp_path_factory.mktemp("runs")
    for name, seed in (("one", 1), ("two", 2)):
        words = ["run", config, "--set", f"ensemble.seed={seed}", "--out", folder / name, "--no-figures", "--quiet"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["mcdev", *map(str, words)])
            with pytest.raises(SystemExit) as ended:
                cli.main()
        assert ended.value.code == 0
    return folder


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    """A copy of both."""
    return Path(shutil.copytree(made, tmp_path / "runs"))


# ------------------------------------------------------------------------------- new


@pytest.mark.parametrize("kind", DEVICES.names)
def test_a_starter_of_every_device_is_valid(kind: str) -> None:
    """And what stands there as comments is, too."""
    text = starter(kind, "pulse_train")
    plain = mcdev.build(tomllib.loads(text))
    assert plain.device.kind == kind
    whole = "\n".join(line.removeprefix("# ") if " = " in line else line for line in text.splitlines())
    body, _, law = whole.partition("\n[circuit]")
    device = {line.partition(" = ")[0] for line in body.splitlines() if "distribution" not in line and " = " in line}
    assert set(plain.device.parameters()) <= device
    assert law


@pytest.mark.parametrize("task", PROTOCOLS.names)
def test_a_starter_of_every_task_is_valid(task: str) -> None:
    experiment = mcdev.build(tomllib.loads(starter("device_p", task, "mine")))
    assert (experiment.name, experiment.protocol.kind) == ("mine", task)
    assert experiment.device.preset == "device_p"
    assert len(experiment.measurements) >= 2


def test_every_key_that_a_starter_leaves_out_stands_there_as_a_comment() -> None:
    """With its default: uncommented it is the same experiment."""
    text = starter("volatile_threshold", "pulse")
    plain = mcdev.build(tomllib.loads(text))
    shown = [line for line in text.splitlines() if "distribution" not in line and "sweep" not in line]
    shown = [line.removeprefix("# ") if " = " in line else line for line in shown]
    assert len(shown) > len([line for line in text.splitlines() if not line.startswith("#")])
    every = mcdev.build(tomllib.loads("\n".join(line for line in shown if '"protocol.' not in line)))
    assert every.protocol == plain.protocol
    assert every.ensemble == plain.ensemble
    assert set(every.measurements) > set(plain.measurements)


def test_a_starter_runs_and_something_happens() -> None:
    tree = mcdev.run(mcdev.build(tomllib.loads(starter("volatile_threshold", "pulse"))), report=False)
    assert tree["realisations/intact"].values.all()
    assert (tree["measurements/delay_time/status"].values == 0).all(), "it switches"


def test_new(tmp_path: Path, mcdev_main: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed = mcdev_main("new")
    assert all(name in listed.out for name in (*devices(), *tasks()))
    ended = mcdev_main("new", "volatile_threshold", "hold")
    assert "mcdev run volatile_threshold_hold.toml" in ended.out
    assert mcdev_main("validate", "volatile_threshold_hold.toml").code == 0
    one_message(mcdev_main("new", "volatile_threshold", "hold"), 3, "exists; choose another --out")
    one_message(mcdev_main("new", "volatile_treshold", "holt"), 2, "volatile_threshold", "did you mean 'hold'")
    with pytest.raises(ConfigError, match="impedance"):
        starter("volatile_threshold", "impedance")


# ------------------------------------------------------------------------------- list, show, diff, remove


def test_list_and_show(runs: Path, mcdev_main: Callable[..., Ended]) -> None:
    (runs / "mine").mkdir()  # no run
    os.utime(runs / "two" / "results.h5", (1e9, 1e9))
    stopped = runs / "one" / "run.json"  # as of a run whose results are not yet put together
    stopped.write_text(stopped.read_text().replace('"results":"', '"results":null,"former":"'))
    listed = mcdev_main("list", runs)
    assert listed.code == 0
    assert "2 in" in listed.out
    assert "6 × 1" in listed.out
    assert "stopped, " in next(line for line in listed.out.splitlines() if "one" in line)
    assert "finished" in next(line for line in listed.out.splitlines() if "two" in line)
    shown = mcdev_main("show", runs / "two")
    for words in ("run, finished", "volatile_threshold", "pulse_train", "protocol.gap", "g[3]", "tau"):
        assert words in shown.out
    assert f"go on with: mcdev run --resume {runs / 'one'}" in mcdev_main("show", runs / "one").out.replace("\n", "")
    one_message(mcdev_main("show", runs / "mine"), 3, "is no folder of a run")
    one_message(mcdev_main("list", runs / "absent"), 3, "is no folder")


def test_diff(runs: Path, config: Path, mcdev_main: Callable[..., Ended]) -> None:
    ended = mcdev_main("diff", runs / "one", runs / "two")
    assert "ensemble.seed" in ended.out
    assert "1 key differs" in ended.out
    assert "0 keys differ" in mcdev_main("diff", runs / "one", config).out, "a file counts with its defaults"


def test_remove_asks_and_leaves_what_is_yours(
    runs: Path, mcdev_main: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = runs / "one", runs / "two"
    monkeypatch.setattr("typer.confirm", lambda text: False)
    assert "nothing is removed" in mcdev_main("remove", one).out
    assert one.is_dir()
    (one / "figures").mkdir()
    for mine in (one / "notes.txt", one / "figures" / "mine.odt"):
        mine.write_text("mine")
        one_message(mcdev_main("remove", "--yes", two, one), 3, mine.name, "move it elsewhere")
        assert two.is_dir(), "all or none"
        mine.unlink()
    (one / "figures" / "link.png").symlink_to(two / "results.h5")
    one_message(mcdev_main("remove", "--yes", one), 3, "link.png")
    (one / "figures" / "link.png").unlink()
    with filelock.FileLock(one / ".lock"):
        code = f"import sys; sys.argv = ['mcdev', 'remove', '--yes', {str(one)!r}]\n"
        code += "from mcdev.__main__ import main; main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert "is being worked on" in done.stderr.replace("\n", " ")
    assert mcdev_main("remove", "--yes", one, two).code == 0
    assert list(runs.iterdir()) == []
    one_message(mcdev_main("remove", "--yes", runs), 3, "is no folder of a run")


# ------------------------------------------------------------------------------- options


def test_version_and_completion(mcdev_main: Callable[..., Ended]) -> None:
    assert mcdev_main("--version").out == f"mcdev {mcdev.__version__}\n"
    assert "--install-completion" in mcdev_main("--help").out


def test_quiet_says_where_and_what_goes_wrong(config: Path, tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    folder = tmp_path / "run"
    words = ("--set", "device.relaxation_time=1 s", "--set", "sweep={}")
    one_message(mcdev_main("run", config, "--quiet", "--out", folder, *words, "--set", "ensemble.seed=-1"), 2, "seed")
    ended = mcdev_main("run", config, "-q", "--out", folder, *words, "--only", "distributions", "--format", "svg")
    assert ended.out == f"{folder}\n"
    loud = mcdev_main("stats", folder)
    assert "median" in loud.out, "the next command is not hushed"


def test_some_pictures_as_vectors_of_one_point(runs: Path, mcdev_main: Callable[..., Ended]) -> None:
    run = runs / "one"
    assert mcdev_main("plot", run, "--only", "interval", "--format", "pdf").code == 0
    assert (run / "figures" / "interval.pdf").read_bytes().startswith(b"%PDF")
    assert [path.name for path in (run / "figures").iterdir()] == ["interval.pdf"]
    assert mcdev_main("plot", run, "--point", 3, "--only", "pulse_response", "--only", "train_response").code == 0
    assert list((run / "figures" / "point_3").glob("*.png"))
    one_message(mcdev_main("plot", run, "--only", "intervall"), 2, "did you mean 'interval'")
    one_message(mcdev_main("plot", run, "--format", "tiff"), 2, "expected png, svg, pdf")
    one_message(mcdev_main("plot", run, "--point", 5), 2, "expected a sweep point from 1 to 4")
    table = mcdev_main("stats", run, "--point", 2, "--format", "csv").out
    assert len(table.splitlines()) == 1 + 4
    one_message(mcdev_main("run", runs / "one" / "config.toml", "--only", "no_picture"), 2, "no such picture")


def test_one_point_is_as_if_it_had_been_run_alone(runs: Path) -> None:
    tree = mcdev.read(runs / "one")
    alone = at_point(tree, 3)
    experiment = experiment_of(tree).point(2)
    assert experiment_of(alone) == experiment
    again = mcdev.run(experiment)
    for name in ("measurements/g/value", "parameters/switching_rate", "response/current"):
        np.testing.assert_array_equal(alone[name], again[name])
    assert mcdev.draw(alone).keys() == mcdev.draw(again).keys()


def test_long_tables_end_in_a_summary(runs: Path, mcdev_main: Callable[..., Ended]) -> None:
    assert "rows:" not in mcdev_main("stats", runs / "one").out
    records = mcdev.summarise(mcdev.read(runs / "one"), variability=False) * 2
    for record in records:
        record |= {"n_censored": 0}
    assert terminal._summary(records) == "32 rows: g, tau at 4 sweep points; 192 values"
    records[0] |= {"n_censored": 2}
    assert terminal._summary(records).endswith("192 values, 4 censored"), "both copies"
