"""Kinds of one's own: loaded from a file or a package, in the fingerprint, in other processes, and results without."""

from __future__ import annotations

import importlib.metadata
import json
import pickle
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import alone
from pydantic import TypeAdapter

import mcdev
from mcdev import check
from mcdev.circuits import CIRCUITS
from mcdev.configuration import plugins
from mcdev.devices import DEVICES, Device
from mcdev.figures.pictures import draw_all
from mcdev.files.whole_file import ResultsError
from mcdev.fits import FITS
from mcdev.interface.application import again_with
from mcdev.interface.json_schema import config_schema
from mcdev.kinds import name_of
from mcdev.measurements import MEASUREMENTS
from mcdev.protocols import PROTOCOLS
from mcdev.results import safekeeping
from mcdev.results.unknown_kinds import NeedsPlugin
from mcdev.simulation.chunks import Chunk

pytestmark = pytest.mark.usefixtures("unpolished")

TEMPLATES = Path(__file__).parents[1] / "docs" / "templates"
EVERY = [TEMPLATES / f"my_{what}.py" for what in (*plugins.LISTS, "picture")]
MEASURED = textwrap.dedent("""
    from typing import ClassVar, Literal
    import jax.numpy as jnp
    from mcdev.measurements.contract import OK, Measurement, Reading, Trajectory

    class Last(Measurement):
        "Conductance of the last sample."

        kind: Literal["last"] = "last"
        unit: ClassVar[str] = "S"
        needs: ClassVar[tuple[str, ...]] = ("all",)
        criterion: ClassVar[str] = "conductance of the last sample"

        def measure(self, trajectory: Trajectory) -> Reading:
            return Reading(trajectory.conductance[-1], jnp.asarray(OK))
""")
"""A plugin that is loaded and compiled in no time."""
SMALL: dict[str, Any] = {
    "name": "small",
    "device": {"preset": "device_p"},
    "protocol": {"kind": "hold", "duration": "1 s", "samples": 3, "voltage": "1 V"},
    "measurements": {"g": {"kind": "last"}},
    "ensemble": {"devices": 2},
}


@pytest.fixture(autouse=True)
def _forgotten(forget: Callable[[], None]) -> None:
    """No test's plugins are those of another."""


def written(folder: Path, text: str = MEASURED, name: str = "my_last.py") -> Path:
    """A plugin file."""
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


# -------------------------------------------------------------------------------------- loading


def test_a_kind_of_ones_own_is_a_kind_like_others(tmp_path: Path) -> None:
    with pytest.raises(mcdev.ConfigError, match=r"measurements\.g\.kind = \"last\": no such kind; known: "):
        mcdev.build(SMALL)
    plugin = mcdev.load_plugin(written(tmp_path))
    experiment = mcdev.build(SMALL)
    assert type(experiment.measurements["g"]) is plugin.kinds[0]
    assert mcdev.build(experiment.to_dict()) == experiment
    assert experiment.plugins == (plugin,)
    assert mcdev.build({**SMALL, "measurements": {"g": {"kind": "on_off_ratio"}}}).plugins == ()
    definitions = config_schema()["$defs"]
    assert definitions["Last"]["properties"]["kind"]["const"] == "last"
    with pytest.raises(mcdev.ConfigError, match=r"measurements\.g\.nothing = 1: no such key"):
        mcdev.build({**SMALL, "measurements": {"g": {"kind": "last", "nothing": 1}}})


def test_a_file_is_run_once(tmp_path: Path) -> None:
    file = written(tmp_path)
    assert mcdev.load_plugin(file) is mcdev.load_plugin(file)
    file.write_text(file.read_text() + "\nMORE = 1\n")
    with pytest.raises(mcdev.ConfigError, match=r"loaded already with another source \(\w{12} there, \w{12} here\)"):
        mcdev.load_plugin(file)


def test_a_device_may_stand_beside_another() -> None:
    mcdev.load_plugin(TEMPLATES / "my_device.py")
    assert TypeAdapter(Device).validate_python({"kind": "my_device"}).kind == "my_device"


HEAD = MEASURED[: MEASURED.index("class")]
WRONG = {
    "syntax": ("x = (\n", r"bad\.py: line 1: SyntaxError: '\(' was never closed"),
    "import": ("x = 1\n\nimport nothing_at_all\n", r"bad\.py: line 3: ModuleNotFoundError: No module named"),
    "exit": ("\nraise SystemExit(3)\n", r"bad\.py: line 2: SystemExit: 3"),
    "nothing": (
        "x = 1\n",
        "defines no device, circuit, element, protocol, measurement, fit, instrument and no picture",
    ),
    "taken": (
        MEASURED.replace('"last"', '"on_off_ratio"'),
        r"the measurement 'on_off_ratio' exists already, as OnOffRatio of mcdev\.measurements\.on_off_ratio; give it",
    ),
    "twice": (
        MEASURED + MEASURED[len(HEAD) :].replace("class Last", "class Other"),
        "two classes have the kind",
    ),
    "words": (MEASURED.replace('"last"', '"The Last"'), r'Last\.kind: expected one word .*Literal\["my_device"\]'),
    "missing": (
        MEASURED.replace("def measure", "def mesure"),
        "Last does not provide measure, which every",
    ),
    "unnamed": ("def applies(tree): ...\ndef draw(tree): ...\n", 'but no name; expected NAME = "my_picture"'),
    "drawn": ('NAME = "loops"\ndef applies(tree): ...\ndef draw(tree): ...\n', r"exists already, in mcdev\.figures"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(mcdev.ConfigError, match=message) as caught:
        mcdev.load_plugin(written(tmp_path, text, "bad.py"))
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value.problems[0])
    assert plugins.loaded() == ()
    assert "last" not in MEASUREMENTS


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(mcdev.ConfigError, match=r"none\.py: cannot be read \(No such file or directory\)"):
        mcdev.load_plugin(tmp_path / "none.py")


def test_no_configuration_names_a_plugin(tmp_path: Path) -> None:
    """A TOML file from a stranger runs no code."""
    ran = tmp_path / "ran"
    written(tmp_path, f"open({str(ran)!r}, 'w')\n", "my_last.py")
    for key in ("plugin", "plugins"):
        with pytest.raises(mcdev.ConfigError, match=f"{key} = .*no such key"):
            mcdev.build(SMALL | {"measurements": {"g": {"kind": "on_off_ratio"}}, key: "my_last.py"}, folder=tmp_path)
    assert not ran.exists()


def test_an_installed_package_brings_its_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "installed_kinds").mkdir()
    written(tmp_path / "installed_kinds", name="inner.py")
    written(tmp_path / "installed_kinds", "from installed_kinds.inner import Last as Last\n", "__init__.py")
    entry = importlib.metadata.EntryPoint("any", "installed_kinds", plugins.GROUP)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry] if group == plugins.GROUP else [])
    plugins.load_installed.cache_clear()
    first = mcdev.build(SMALL).plugins[0].source
    assert (first.name, first.text) == ("installed_kinds", None)
    (tmp_path / "installed_kinds" / "inner.py").write_text("# another\n")
    assert plugins._installed_hash(sys.modules["installed_kinds"]) != first.sha256


def test_an_installed_package_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("any", "nothing_at_all", plugins.GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry])
    plugins.load_installed.cache_clear()
    with pytest.raises(mcdev.ConfigError, match=r"nothing_at_all: ModuleNotFoundError.*mend or uninstall the package"):
        mcdev.build(SMALL)


# -------------------------------------------------------------------------------------- whose numbers they are


def test_the_source_is_part_of_the_fingerprint(tmp_path: Path, forget: Callable[[], None]) -> None:
    file = written(tmp_path)
    mcdev.load_plugin(file)
    experiment = mcdev.build(SMALL)
    before = safekeeping.identity(experiment)
    folder = tmp_path / "run"
    folder.mkdir()
    with safekeeping.Folder(folder, experiment) as keeper:
        keeper.begin(1)
    forget()
    with pytest.raises(ResultsError, match=r"was begun with my_last\.py; give --plugin my_last\.py"):
        safekeeping.configuration(folder)
    file.write_text(file.read_text() + "\n# changed\n")
    mcdev.load_plugin(file)
    changed = mcdev.build(SMALL)
    assert changed.hash != experiment.hash
    assert safekeeping.identity(changed).configuration == before.configuration
    assert safekeeping.identity(changed).asks_otherwise(before)
    with (
        safekeeping.Folder(folder, changed) as keeper,
        pytest.raises(ResultsError, match=r"my_last\.py has changed \(\w{12} there, \w{12} here\)\); give"),
    ):
        keeper.go_on()


def test_the_command_that_goes_on_names_the_plugins(tmp_path: Path) -> None:
    file = written(tmp_path)
    mcdev.load_plugin(file)
    assert again_with(["a=1"], False) == ["--set", "a=1", "--plugin", str(file)]


def test_another_process_is_sent_the_source(tmp_path: Path, forget: Callable[[], None]) -> None:
    """As a worker of Dask's unpickles what it is to compute, where no such file is."""
    file = written(tmp_path)
    mcdev.load_plugin(file)
    experiment = mcdev.build(SMALL)
    sent, sources, digest = pickle.dumps((experiment, Chunk(0, 0, 2, 0, 1))), experiment.plugins, experiment.hash
    forget()
    file.unlink()
    received, _ = pickle.loads(sent)
    assert received.to_dict() == experiment.to_dict()
    assert [plugin.source for plugin in received.plugins] == [plugin.source for plugin in sources]
    assert received.hash == digest
    forget()
    written(tmp_path, MEASURED + "\n# another\n")
    mcdev.load_plugin(file)
    with pytest.raises(mcdev.ConfigError, match="loaded already with another source"):
        pickle.loads(sent)


@pytest.mark.slow
def test_a_process_of_its_own_unpickles_it(tmp_path: Path) -> None:
    mcdev.load_plugin(written(tmp_path))
    sent = pickle.dumps(mcdev.build(SMALL))
    code = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read()).measurements['g'].kind)"
    ended = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert ended.stdout.split() == [b"last"]


# -------------------------------------------------------------------------------------- results


def test_an_element_of_ones_own(tmp_path: Path, forget: Callable[[], None]) -> None:
    """A diode beside a device that stays as it is: Kirchhoff's law, and its results without the plugin."""
    mcdev.load_plugin(TEMPLATES / "my_element.py")
    switch = {
        "threshold_voltage": "100 V",
        "hold_voltage": "50 V",
        "switching_rate": "1 MHz",
        "switching_exponent": 1.0,
    }
    switch |= {"relaxation_time": "1 us", "on_conductance": "1 mS", "off_conductance": "1 uS"}
    saturation = {"distribution": "lognormal", "median": "1 pA", "sigma": 0.5}
    elements = {
        "V1": {"kind": "voltage_source", "between": ["in", "0"]},
        "R1": {"kind": "resistor", "between": ["in", "out"], "resistance": "10 kohm"},
        "M1": {"kind": "memristor", "between": ["out", "0"]},
        "D1": {"kind": "my_element", "between": ["out", "0"], "saturation": saturation},
    }
    experiment = mcdev.build(
        SMALL
        | {"device": {"kind": "volatile_threshold"} | switch, "circuit": {"kind": "network", "elements": elements}}
        | {"measurements": {"g": {"kind": "mean_conductance"}}}
    )
    tree = mcdev.run(experiment)
    assert tree.attrs["plugins"].startswith("my_element.py ")
    seen = {
        name: tree["trajectories"][name].values[0, 0, :, -1] for name in ("voltage(out)", "current(D1)", "current(R1)")
    }
    drawn = tree["parameters"]["circuit.elements.D1.saturation"].values[0]
    np.testing.assert_allclose(seen["current(D1)"], drawn * np.expm1(seen["voltage(out)"] / 26e-3), rtol=1e-7)
    np.testing.assert_allclose(seen["current(R1)"], seen["current(D1)"] + 1e-6 * seen["voltage(out)"], rtol=1e-7)
    mcdev.write(tree, tmp_path)
    records = mcdev.summarise(tree)
    forget()
    read = mcdev.read(tmp_path)
    assert mcdev.experiment_of(read).to_dict() == experiment.to_dict()
    assert json.dumps(mcdev.summarise(read)) == json.dumps(records)


def test_results_of_every_template_are_read_without_them(tmp_path: Path, forget: Callable[[], None]) -> None:
    for file in EVERY:
        mcdev.load_plugin(file)
    data = tomllib.loads((TEMPLATES / "my.toml").read_text(encoding="utf-8"))
    data["ensemble"]["devices"] = 3
    data["output"] = {"reference": [{"measurement": "energy", "value": "20 nJ", "point": 3, "source": "nowhere"}]}
    experiment = mcdev.build(data)
    tree = mcdev.run(experiment)
    assert (np.asarray(tree["realisations"]["intact"]) == 1).all()
    assert {line.split(" ")[0] for line in tree.attrs["plugins"].splitlines()} == {
        file.name for file in EVERY if file.name not in ("my_picture.py", "my_element.py", "my_instrument.py")
    }
    drawn = {path.name for path in draw_all(tree, tmp_path / "with")}
    assert "my_picture.png" in drawn
    mcdev.write(tree, tmp_path)
    records = mcdev.summarise(tree)
    schema = config_schema()
    assert {f"my_{room}" for room in plugins.ROOMS} <= set(re.findall(r"my_\w+", json.dumps(schema)))
    forget()
    read = mcdev.read(tmp_path)
    again = mcdev.experiment_of(read)
    assert again.to_dict() == experiment.to_dict()
    assert again.channels == experiment.channels
    assert again.units.keys() == experiment.units.keys()
    assert [p.protocol.timeline().samples for _, p in again.points()] == [130, 130, 130]
    assert json.dumps(mcdev.summarise(read)) == json.dumps(records)
    (compared,) = mcdev.statistics.compare(read)
    assert (compared["published"], compared["unit"]) == (pytest.approx(20.0), "nJ")  # as the reference is written
    notes: list[str] = []
    assert {path.name for path in draw_all(read, tmp_path / "without", notes.append)} == drawn - {"my_picture.png"}
    with pytest.raises(NeedsPlugin, match="the kind 'my_device' is of a plugin that is not loaded"):
        again.device.pace(1.0)


def test_results_of_a_network_of_plugin_devices_are_read_without_it(tmp_path: Path, forget: Callable[[], None]) -> None:
    """Of [device] and of a table of the circuit: channels and parameters of each are told from the others'."""
    mcdev.load_plugin(TEMPLATES / "my_device.py")
    elements = {
        "V1": {"kind": "voltage_source", "between": ["in", "0"]},
        "M1": {"kind": "memristor", "between": ["in", "a"]},
        "M2": {"kind": "memristor", "between": ["a", "b"]},
        "M3": {"kind": "memristor", "between": ["b", "0"], "device": "other"},
    }
    wired = {"kind": "network", "elements": elements, "devices": {"other": {"kind": "my_device"}}}
    own = {"device": {"kind": "my_device"}, "circuit": wired, "measurements": {"g": {"kind": "mean_conductance"}}}
    experiment = mcdev.build(SMALL | own)
    tree = mcdev.run(experiment)
    mcdev.write(tree, tmp_path)
    forget()
    read = mcdev.read(tmp_path)
    assert mcdev.experiment_of(read).channels == experiment.channels
    assert {"temperature", "temperature(M2)", "temperature(M3)"} <= set(experiment.channels)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of results of a plugin's measurement."""
    folder = tmp_path_factory.mktemp("results")
    with alone():
        mcdev.load_plugin(written(folder))
        mcdev.write(mcdev.run(mcdev.build(SMALL)), folder)
    return folder


def test_a_picture_that_needs_the_plugin_is_left_out(
    results: Path, tmp_path: Path, forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    forget()
    tree = mcdev.read(results)

    def asks(tree: Any) -> Any:
        return mcdev.experiment_of(tree).measurements["g"].measure(tree)

    monkeypatch.setattr("mcdev.figures.loops.applies", asks)
    notes: list[str] = []
    assert draw_all(tree, tmp_path / "figures", notes.append)
    assert notes == [
        "the picture loops is left out: the kind 'last' is of a plugin that is not loaded; give it with --plugin "
        "(my_last.py)"
    ]


def test_a_picture_of_ones_own_that_fails_is_left_out(results: Path, tmp_path: Path) -> None:
    text = 'NAME = "mine"\ndef applies(tree):\n    return True\ndef draw(tree):\n    return 1 / 0\n'
    mcdev.load_plugin(written(tmp_path, text, "mine.py"))
    notes: list[str] = []
    draw_all(mcdev.read(results), tmp_path, notes.append)
    assert notes == ["the picture mine of mine.py is left out: line 5: ZeroDivisionError: division by zero"]


def test_units_in_results_are_not_trusted(results: Path, tmp_path: Path, forget: Callable[[], None]) -> None:
    """What a unit is to pint, arithmetic, might never end."""
    mcdev.load_plugin(results / "my_last.py")
    tree = mcdev.read(results)
    tree["parameters"]["thickness"].attrs["units"] = "m**9**9**9**9"
    mcdev.write(tree, tmp_path)
    forget()
    with pytest.raises(ResultsError, match=r"the parameter thickness in m\*\*9\*\*9\*\*9\*\*9 is none that a device"):
        mcdev.read(tmp_path)


# -------------------------------------------------------------------------------------- the contract


FAULTS = {
    "nan": (
        "trajectory.conductance[-1]",
        "jnp.nan * trajectory.conductance[-1]",
        "a finite value where the status is",
    ),
    "shape": ("trajectory.conductance[-1]", "trajectory.conductance", r"value and status of shape \(\); found"),
    "status": ("jnp.asarray(OK)", "jnp.asarray(7)", r"a status between 0 and 4"),
    "unit": ('str] = "S"', 'str] = "nonsense"', "a unit that can be read, or 1; found nonsense"),
    "words": ('"conductance of the last sample"', '" "', "a criterion"),
    "number": ("unit: ClassVar", "level: float = 0.5\n    unit: ClassVar", r"last\.level: expected a unit, like"),
    "window": ('("all",)', '("nowhere",)', r"windows that some protocol has \(nowhere\); found no such protocol"),
}


@pytest.mark.parametrize(("right", "wrong", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_of_a_measurement_is_found(tmp_path: Path, right: str, wrong: str, message: str) -> None:
    text = MEASURED.replace(right, wrong)
    assert text != MEASURED
    (kind,) = mcdev.load_plugin(written(tmp_path, text)).kinds
    found = [*check.check_fields(kind), *check.check_measurement(kind, [PROTOCOLS["hold"]])]
    failures = [str(failure) for failure in found]
    assert any(re.search(message, failure) for failure in failures), failures


def test_what_mcdev_has_of_protocols_and_fits_keeps_the_contract() -> None:
    assert [str(failure) for failure in check.check_kinds([*PROTOCOLS, *FITS])] == []


def test_a_device_of_the_house_keeps_the_contract() -> None:
    """One of the pairs; all of them in the slow test."""
    assert [str(f) for f in check.check_pair(DEVICES["yakopcic"], CIRCUITS["alone"], list(PROTOCOLS))] == []


DEVICE_FAULTS = {
    "neighbours": (
        'return Ohmic(p["off',
        'return Ohmic(jnp.mean(state) * p["off',
        "a lane that does not depend on its",
    ),
    "slope": (
        'return Ohmic(p["off_conductance"]',
        'return Ohmic(jax.lax.stop_gradient(p["off_conductance"])',
        "derivative of the current by",
    ),
    "state": (
        'return jnp.zeros_like(self.parameters["ambient"])',
        "return jnp.zeros(1)",
        r"rest\(\) of the device: expected arrays with the lanes last; found \(1,\)",
    ),
    "shape": ('{"temperature": self', '{"heat": self', r"observe\(\): expected .*temperature; found .*heat"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("right", "wrong", "message"), DEVICE_FAULTS.values(), ids=DEVICE_FAULTS)
def test_a_fault_of_a_device_is_found(tmp_path: Path, right: str, wrong: str, message: str) -> None:
    template = (TEMPLATES / "my_device.py").read_text(encoding="utf-8")
    text = template.replace(right, wrong).replace("import jax.numpy", "import jax\nimport jax.numpy")
    plugin = mcdev.load_plugin(written(tmp_path, text, "my_device.py"))
    found = check.check_pair(plugin.kinds[0], CIRCUITS["alone"], [PROTOCOLS["pulse"]])
    failures = [str(failure) for failure in found]
    assert any(re.search(message, failure) for failure in failures), failures


@pytest.mark.slow
@pytest.mark.parametrize("circuit", list(CIRCUITS), ids=name_of)
@pytest.mark.parametrize("device", list(DEVICES), ids=name_of)
def test_every_pair_keeps_the_contract(device: Any, circuit: Any) -> None:
    assert [str(failure) for failure in check.check_pair(device, circuit, list(PROTOCOLS))] == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(MEASUREMENTS), ids=name_of)
def test_every_measurement_keeps_the_contract(kind: Any) -> None:
    assert [str(failure) for failure in check.check_kinds([kind])] == []


@pytest.mark.slow
@pytest.mark.parametrize("file", EVERY, ids=lambda file: file.stem)
def test_every_template_keeps_the_contract(file: Path) -> None:
    """From the command line, as docs/plugins.md says."""
    ended = subprocess.run(
        [sys.executable, "-m", "mcdev", "check", str(file)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "nothing wrong found" in ended.stdout


@pytest.mark.slow
def test_templates_from_the_command_line(tmp_path: Path) -> None:
    """Run with workers of Dask's, gone on with, and then counted, compared and drawn without the plugins."""

    def mcdev_(*words: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "mcdev", *map(str, words)]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    given = [word for file in EVERY for word in ("--plugin", file)]
    config, out = TEMPLATES / "my.toml", tmp_path / "out"
    ended = mcdev_("run", config, *given, "--out", out, "--scheduler", "dask", "--threads", 2)
    assert ended.returncode == 0, ended.stderr
    assert (out / "figures" / "my_picture.png").is_file()
    assert mcdev_("run", "--resume", out, *given).returncode == 0
    refused = mcdev_("run", "--resume", out)
    assert refused.returncode == 3
    assert "give --plugin my_circuit.py --plugin my_device.py" in refused.stderr
    for words in (("stats", out), ("compare", out), ("plot", out, "--out", tmp_path / "figures")):
        ended = mcdev_(*words)
        assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "figures" / "distributions.png").is_file()
