"""The command line, end to end: what it prints, what it leaves, and with which exit code it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import jsonschema
import pytest
import tomli_w
from conftest import Ended

import mcdev
import mcdev.figures.pictures
import mcdev.simulation.ensemble
from mcdev.configuration.describes import describes
from mcdev.configuration.experiment import load
from mcdev.schema.units import readable
from mcdev.statistics import COLUMNS
from mcdev.statistics.screen import screens

MCDEV = Path(sys.executable).with_name("mcdev")
CONFIGS = Path(__file__).parents[1] / "configs"
CONFIG: dict[str, Any] = {
    "name": "small",
    "device": {"preset": "wang2017_reduced", "particles": 6, "friction": 1.0},
    "protocol": {
        "kind": "pulse_train",
        "amplitude": "3 V",
        "width": "0.02 s",
        "period": "0.03 s",
        "count": 4,
        "relaxation": "0.1 s",
    },
    "measurements": {"g": {"kind": "pulse_conductance"}, "tau": {"kind": "relaxation_time"}},
    "ensemble": {"devices": 16},
    "output": {
        "reference": [
            {"measurement": "g", "entry": 4, "value": 0.25, "source": "Fig. 4b: a quarter [sic]"},
            {"measurement": "tau", "value": "< 0", "statistic": "mean_response", "source": "nowhere"},
        ]
    },
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.toml"
    path.write_text(tomli_w.dumps(CONFIG))
    return path


def shell(*arguments: Any, cwd: Path) -> Ended:
    """The installed program in its own process."""
    done = subprocess.run([MCDEV, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


class Done(NamedTuple):
    folder: Path
    ended: Ended


@pytest.fixture(scope="module")
def done(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """One run in its own process, with overrides and a folder of its own."""
    folder = tmp_path_factory.mktemp("runs") / "deep" / "mine"
    overrides = ["--set", "ensemble.devices=12", "--set", "protocol.amplitude = 3.5 V", "--set", 'name="mine"']
    return Done(folder, shell("run", config, *overrides, "--out", folder, cwd=config.parent))


def one_message(ended: Ended, code: int, *phrases: str) -> None:
    """This exit code, one message with these phrases, and nothing of Python's own."""
    assert ended.code == code, ended.err
    assert ended.err.count("error:") == 1, ended.err
    assert "Traceback" not in ended.err + ended.out
    for phrase in phrases:
        assert phrase in ended.err


# ------------------------------------------------------------------------------- a run and what is made from it


def test_run(done: Done) -> None:
    folder, ended = done
    assert ended.code == 0, ended.err
    assert {path.name for path in folder.iterdir()} == {
        "results.h5",
        "run.json",
        "config.toml",
        "statistics.csv",
        "card.toml",
        "figures",
    }
    assert list((folder / "figures").glob("*.png"))
    assert f"results: {folder}/" in ended.out.replace("\n", "")
    assert "g[4]" in ended.out
    assert "Fig. 4b: a quarter [sic]" in ended.out
    assert "Traceback" not in ended.err
    tree = mcdev.read(folder)
    assert tree.attrs["title"] == "mine"
    assert tree["realisations"].sizes["device"] == 12
    assert load(folder / "config.toml").protocol.timeline().start.max() == 3.5
    assert (folder / "statistics.csv").read_text().startswith(",".join(COLUMNS))


def test_stats_in_each_format(done: Done, mcdev_main: Callable[..., Ended]) -> None:
    table, csv_, json_ = (mcdev_main("stats", done.folder, "--format", f) for f in ("table", "csv", "json"))
    assert (table.code, csv_.code, json_.code) == (0, 0, 0)
    records = json.loads(json_.out)
    assert {"measurement", "unit", "point", "n", "n_ok", "n_censored"} <= set(records[0])
    assert {"mean", "sem", "sd", "median", "q05", "q95"} <= set(records[0])
    assert [r["measurement"] for r in records] == ["g[1]", "g[2]", "g[3]", "g[4]", "tau"]
    assert records[0]["n"] == 12
    assert csv_.out == (done.folder / "statistics.csv").read_text()
    assert all(label in table.out for label in ("g[1]", "g[3]", "tau", "median"))


def test_laws_have_units(done: Done) -> None:
    tree = mcdev.read(done.folder)
    records = [record | {"unit": "s"} for record in mcdev.summarise(tree)]
    (laws,) = (table for table in screens(tree, records) if table.title == "laws")
    cells = {str(column.header): list(map(str, column.cells)) for column in laws.columns}
    assert all(cell.endswith(" s") for name in ("lognormal median", "Weibull scale") for cell in cells[name])
    assert not any(cell.endswith(" s") for name in ("σ_ln", "shape") for cell in cells[name])


def test_stats_of_the_file_itself(done: Done, mcdev_main: Callable[..., Ended]) -> None:
    assert mcdev_main("stats", done.folder / "results.h5").code == 0
    one_message(mcdev_main("stats", done.folder, "--format", "xml"), 2, "--format xml", "expected table, csv, json")


def test_compare(done: Done, mcdev_main: Callable[..., Ended]) -> None:
    """A Markdown table: every row has the five columns of the head, ours with its error."""
    ended = mcdev_main("compare", done.folder, done.folder)
    assert ended.code == 0
    rows = [line.strip("| ").split(" | ") for line in ended.out.splitlines()]
    assert rows[0] == ["run", "quantity", "published", "mcdev", "source"]
    assert [len(row) for row in rows[2:]] == [5] * 4
    assert rows[2][:3] == ["mine", "g[4]", "0.25"]
    assert "±" in rows[2][3]
    assert rows[3][1:3] == ["tau", "< 0 s"] or rows[3][1:3] == ["tau", "< 0"]


def test_results_that_were_changed_since_are_said(
    done: Done, tmp_path: Path, mcdev_main: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are shown all the same: whoever changed them may have known why."""
    monkeypatch.setattr(mcdev.figures.pictures, "draw_all", lambda *_: [])
    folder = shutil.copytree(done.folder, tmp_path / "run")
    assert mcdev_main("stats", folder).err == ""
    with h5py.File(folder / "results.h5", "r+") as handle:
        handle["measurements/g/value"][...] *= 2
    for command in (["stats"], ["stats", "--format", "csv"], ["compare"], ["plot", "--out", tmp_path / "figures"]):
        ended = mcdev_main(command[0], folder, *command[1:])
        assert ended.code == 0
        assert ended.err.count("warning:") == 1
        assert "results.h5 is not as the run wrote it" in ended.err.replace("\n", " ")
    (tmp_path / "alone").mkdir()
    shutil.copy(folder / "results.h5", tmp_path / "alone")
    assert mcdev_main("stats", tmp_path / "alone").err == "", "nothing is known of it"


def test_nothing_is_printed_before_all_is_read(done: Done, tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    (tmp_path / "bad.h5").write_text("bad")
    ended = mcdev_main("compare", done.folder, tmp_path / "bad.h5")
    one_message(ended, 3, "bad.h5")
    assert ended.out == ""


def test_what_was_written_is_said(done: Done, tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    card, devices = tmp_path / "card.toml", tmp_path / "devices.csv"
    ended = mcdev_main("stats", done.folder, "--card", card)
    assert f"written: {card} (model card of 1 sweep point)" in ended.err.replace("\n", "")
    ended = mcdev_main("stats", card, "--resample", 3, "--out", devices)
    assert f"written: {devices} (3 devices drawn with seed 0 at 1 sweep point)" in ended.err.replace("\n", "")
    assert mcdev_main("stats", card, "--resample", 3).out == devices.read_text(), "nothing else on standard output"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("0.0005 s", "500 µs"),
        ("2e-09 m", "2 nm"),
        ("0.4 V", "0.4 V"),
        ("0.05 V/s", "50 mV/s"),
        ("250000 Hz", "250 kHz"),
        ("0.001 s", "1 ms"),
        ("0 s", "0 s"),
        ("1e-05 m^2", "0.1 cm²"),
        ("1e-05", "1e-05"),
        ("device_p", "device_p"),
    ],
)
def test_values_of_an_axis_have_a_prefix(value: str, said: str) -> None:
    assert readable(value) == said


def test_plot_from_the_results_alone(done: Done, tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    (tmp_path / "results.h5").write_bytes((done.folder / "results.h5").read_bytes())
    assert mcdev_main("plot", tmp_path / "results.h5").code == 0
    drawn = {path.name: path.stat().st_size for path in (tmp_path / "figures").iterdir()}
    assert set(drawn) == {path.name for path in (done.folder / "figures").iterdir()}
    assert min(drawn.values()) > 5000
    assert mcdev_main("plot", tmp_path, "--out", tmp_path / "elsewhere").code == 0
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == set(drawn)


def test_run_makes_its_own_folder(config: Path, tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    """Named by experiment, time and hash, under output.directory; --no-figures draws none."""
    ended = mcdev_main("run", config, "--no-figures", "--threads", 1, "--set", f"output.directory={tmp_path}/all")
    assert ended.code == 0, ended.err
    (folder,) = (tmp_path / "all").iterdir()
    assert folder.name.startswith("small-2")
    assert folder.name.endswith(load(config).hash)
    made = {path.name for path in folder.iterdir()}
    assert made == {"results.h5", "run.json", "config.toml", "statistics.csv", "card.toml"}


def test_a_realisation_that_broke_down_is_said(
    config: Path, tmp_path: Path, mcdev_main: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is written, and the exit code tells."""
    compute = mcdev.simulation.chunks.compute

    def with_one_broken(*arguments: Any) -> list[dict[str, Any]]:
        arrays = compute(*arguments)
        arrays[0]["intact"][3] = False
        return arrays

    monkeypatch.setattr(mcdev.simulation.ensemble, "compute", with_one_broken)
    ended = mcdev_main("run", config, "--no-figures", "--out", tmp_path / "run")
    one_message(ended, 1, "1 of 16 realisations broke down")
    assert (tmp_path / "run" / "results.h5").exists()


# ------------------------------------------------------------------------------- looking, without computing


@pytest.mark.parametrize("file", sorted(CONFIGS.rglob("*.toml")), ids=lambda path: path.stem)
def test_validate_every_configuration(file: Path, mcdev_main: Callable[..., Ended]) -> None:
    ended = mcdev_main("validate", file)
    assert ended.code == 0, ended.err
    assert re.search(rf"{re.escape(str(file))}: (?:[^:\n]+: )?valid\. .*(?:devices|parameters)", ended.out)


def test_validate_says_what_is_wrong(config: Path, mcdev_main: Callable[..., Ended]) -> None:
    ended = mcdev_main(
        "validate", config, "--set", "ensemble.devices=0", "--set", "protocol.widht=1 ms", "--set", "x.y=[1]"
    )
    one_message(ended, 2, "3 errors", "ensemble.devices = 0:", "protocol.widht", "did you mean 'width'?", "x = ")


@pytest.mark.parametrize(
    ("value", "shown"), [("4", "4"), ("0.40 K", "0.40 K"), ('"0.40 K"', "0.40 K"), ("[1, 2]", "[1, 2]")]
)
def test_values_of_overrides_are_toml_or_text(
    config: Path, mcdev_main: Callable[..., Ended], value: str, shown: str
) -> None:
    ended = mcdev_main("validate", config, "--set", f"protocol.amplitude={value}")
    assert f"protocol.amplitude = {json.dumps(shown) if 'K' in shown else shown}: expected a voltage" in ended.err


@pytest.mark.parametrize("pair", ["ensemble.devices", "=5", " = 5", "", "ensemble..devices=5"])
def test_overrides_that_are_none(config: Path, mcdev_main: Callable[..., Ended], pair: str) -> None:
    one_message(
        mcdev_main("validate", config, "--set", pair),
        2,
        pair.strip() if "=" not in pair else "key" if ".." in pair else "KEY=VALUE",
    )


def test_schema_is_a_json_schema_that_knows_our_files(mcdev_main: Callable[..., Ended]) -> None:
    """Every shipped configuration is valid by it; what mcdev refuses for its form is not."""
    ended = mcdev_main("schema")
    assert ended.code == 0
    schema = json.loads(ended.out)
    jsonschema.Draft202012Validator.check_schema(schema)
    checker = jsonschema.Draft202012Validator(schema)
    plain = [path for path in sorted(CONFIGS.rglob("*.toml")) if describes(path) == "experiment"]
    configs = [tomllib.loads(path.read_text()) for path in plain]
    for data in [*configs, CONFIG]:
        assert [error.message for error in checker.iter_errors(data)] == []
    typos: dict[str, dict[str, Any]] = {
        "device": {"frictoin": 4.0},
        "protocol": {"widht": "1 ms"},
        "ensemble": {"devices": 0},
        "measurements": {"g": {"kind": "pulse_conductanc"}},
        "output": {"figures": "yes"},
        "sweep": {"mode": "zpi"},
    }
    for section, change in typos.items():
        assert not checker.is_valid({**CONFIG, section: {**CONFIG.get(section, {}), **change}}), section
    assert not checker.is_valid({key: value for key, value in CONFIG.items() if key != "name"})
    assert checker.is_valid({**CONFIG, "protocol": {"kind": "waveform", "file": "pulse.csv"}})
    law = {"distribution": "lognormal", "median": "1 Hz", "sigma": 0.1}
    assert checker.is_valid({**CONFIG, "device": {**CONFIG["device"], "cooling_rate": law}})
    assert not checker.is_valid({**CONFIG, "device": {**CONFIG["device"], "cooling_rate": {**law, "sd": 1}}})


def test_presets(mcdev_main: Callable[..., Ended]) -> None:
    ended = mcdev_main("presets")
    assert ended.code == 0
    for name, preset in mcdev.presets().items():
        assert name in ended.out
        assert all(key in ended.out for key in preset["origin"])


def test_doctor(mcdev_main: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing wrong here; a version known to give wrong results is trouble, and the exit code tells."""
    ended = mcdev_main("doctor")
    assert ended.code == 0, ended.out
    assert all(word in ended.out for word in ("python", "versions", "backend", "devices", "precision", "wide vectors"))
    assert "nothing wrong found" in ended.out
    from importlib import metadata

    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.10.2" if name in ("jax", "jaxlib") else version(name))
    ended = mcdev_main("doctor")
    assert ended.code == 1
    assert "trouble: jax 0.10.2 gives silently wrong results" in ended.out


# ------------------------------------------------------------------------------- what cannot be done


def test_wrong_usage(mcdev_main: Callable[..., Ended], tmp_path: Path) -> None:
    assert mcdev_main("rnu").code == 2
    assert mcdev_main("run").code == 2
    one_message(mcdev_main("run", tmp_path / "none.toml"), 2, "none.toml", "cannot be read (No such file or directory)")


def test_a_folder_with_something_in_it_is_left_alone(
    config: Path, tmp_path: Path, mcdev_main: Callable[..., Ended]
) -> None:
    (tmp_path / "results.h5").write_text("the only copy")
    one_message(mcdev_main("run", config, "--out", tmp_path), 3, "exists and is not empty", "--out")
    assert (tmp_path / "results.h5").read_text() == "the only copy"
    one_message(mcdev_main("run", config, "--out", tmp_path / "results.h5"), 3, "exists and is not empty")


def test_a_folder_that_cannot_be_made(config: Path, tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    (tmp_path / "file").write_text("")
    one_message(mcdev_main("run", config, "--out", tmp_path / "file" / "run"), 3, "cannot be written", "--out")


@pytest.mark.parametrize("command", ["run", "validate"])
def test_more_memory_than_there_is(
    config: Path, tmp_path: Path, mcdev_main: Callable[..., Ended], command: str
) -> None:
    """Said before anything is computed, and no folder is left behind."""
    out = ["--out", tmp_path / "run"] if command == "run" else []
    ended = mcdev_main(command, config, "--set", "ensemble.devices=100000000", *out)
    one_message(ended, 4, "GiB", "ensemble.devices")
    assert not (tmp_path / "run").exists()


def test_a_cycle_of_more_steps_than_random_numbers(
    config: Path, tmp_path: Path, mcdev_main: Callable[..., Ended]
) -> None:
    """A configuration asks for it, so it is that which is wrong."""
    ended = mcdev_main("run", config, "--set", "protocol.relaxation=1000000000 s", "--out", tmp_path / "run")
    one_message(ended, 2, "2^33", "between_cycles")


@pytest.mark.parametrize("command", ["stats", "compare", "plot"])
def test_results_that_cannot_be_read(command: str, tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    one_message(mcdev_main(command, tmp_path / "none"), 3, "none", "does not exist")
    one_message(mcdev_main(command, tmp_path), 3, "results.h5", "does not exist")
    (tmp_path / "results.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(3000))
    one_message(mcdev_main(command, tmp_path), 3, "results.h5", "damaged or cut off")
    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    one_message(mcdev_main(command, tmp_path / "other.h5"), 3, "other.h5", "no results file of mcdev")


def test_an_interrupt_leaves_no_results(config: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle of hours of work: one line that says how to go on, exit code 130, no half file."""
    out = tmp_path / "run"
    long = ("ensemble.cycles=5000", "device.particles=40", "output.trajectories=0")
    running = subprocess.Popen(
        [MCDEV, "run", config, *(word for pair in long for word in ("--set", pair)), "--out", out],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "160"},
    )
    try:
        while not (out / "run.json").exists() and running.poll() is None:
            time.sleep(0.1)
        time.sleep(1)
        assert running.poll() is None, running.communicate()
        running.send_signal(signal.SIGINT)
        printed = running.communicate()
    finally:
        running.kill()
        running.wait()
    one_message(Ended(running.returncode, *printed), 130, f"go on with: mcdev run --resume {out}")
    assert {path.name for path in out.iterdir()} <= {"run.json", "config.toml", "chunks"}
    assert not list(out.rglob("*.tmp"))
