"""Files from a stranger: they run no code, read no other file, and claim no memory that is not there."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tomli_w
from conftest import reduced
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table

import mcdev
from mcdev.calibration import resolve
from mcdev.configuration.experiment import load
from mcdev.configuration.problems import ConfigError, beside
from mcdev.files import structure
from mcdev.files.plain_text import CsvWriter, visible
from mcdev.files.whole_file import ResultsError
from mcdev.interface import terminal
from mcdev.results.file import FILE_NAME
from mcdev.statistics.card import read_card
from mcdev.statistics.tables import to_json
from mcdev.study import load_study

pytestmark = pytest.mark.promise

PULSE = {"kind": "pulse", "amplitude": "3 V", "width": "0.02 s", "relaxation": "0 s"}
SECRET = "root:x:0:0"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = mcdev.run(reduced(PULSE, {"mean": {"kind": "mean_conductance"}}, {"devices": 2}, particles=6))
    return mcdev.write(tree, tmp_path_factory.mktemp("run"))


@pytest.fixture
def mine(results: Path, tmp_path: Path) -> Path:
    path = tmp_path / FILE_NAME
    path.write_bytes(results.read_bytes())
    (tmp_path / "secret").write_text(SECRET)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.arange(3.0)
    return path


def external_link(file: h5py.File) -> None:
    file["response/stolen"] = h5py.ExternalLink("other.h5", "/secret")


def soft_link(file: h5py.File) -> None:
    file["response/alias"] = h5py.SoftLink("/config/toml")


def external_storage(file: h5py.File) -> None:
    file.create_dataset("response/stolen", (10,), "u1", external=[("secret", 0, 10)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (3,))
    file.create_virtual_dataset("response/stolen", layout)


def huge(file: h5py.File) -> None:
    """64 PiB declared, nothing written."""
    file.create_dataset("response/huge", (2**56,), "f8", chunks=(2**20,), compression="gzip")


def large(file: h5py.File) -> None:
    """9.6 GB in a file of some hundred kilobytes."""
    file.create_dataset("response/large", (1_200_000_000,), "f8", chunks=(2**20,), compression="gzip")


def circle(file: h5py.File) -> None:
    """A group that holds one that holds it."""
    file["response/inner/outer"] = file["response"]


def twice(file: h5py.File) -> None:
    file["response/again"] = file["config/toml"]


def deep(file: h5py.File) -> None:
    file.create_group("response" + "/a" * 40)


def crowd(file: h5py.File) -> None:
    for i in range(400):
        file.create_group(f"fits/{i}")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (external_link, "links to other places"),
        (soft_link, "links to other places"),
        (external_storage, "keeps /response/stolen in other files"),
        (virtual, "keeps /response/stolen in other files"),
        (huge, "GiB of memory are free"),
        (large, "declares 96[0-9]{8}, more than can be packed"),
        (circle, "twice: its links go round or meet"),
        (twice, "twice: its links go round or meet"),
        (deep, "nests groups deeper"),
        (crowd, "has more than 300 members"),
    ],
)
def test_a_results_file_that_points_elsewhere_is_not_read(
    mine: Path, harm: Callable[[h5py.File], None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine.parent)
    monkeypatch.setattr(structure, "_MEMBERS", 300)
    with h5py.File(mine, "r+") as file:
        harm(file)
    with pytest.raises(ResultsError, match=said):
        mcdev.read(mine)


def test_the_configuration_in_the_results_reads_no_file(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine.parent)
    tree = mcdev.read(mine)
    text = str(tree["config/toml"].item())
    before, _, after = text.partition("[protocol]")
    _, _, rest = after.partition("[")
    tree["config/toml"].values = before + '[protocol]\nkind = "waveform"\nfile = "secret"\n[' + rest
    with pytest.raises(ResultsError, match="names another file"):
        mcdev.experiment_of(tree)


OUTWARD = ["../secret", "/etc/passwd", "sub/../../secret", "link"]


@pytest.mark.parametrize("name", OUTWARD)
def test_configurations_read_only_what_lies_beside_them(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "sent"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_text(SECRET)
    (folder / "link").symlink_to(tmp_path / "secret")
    path = folder / "config.toml"
    measured = {"mean": {"kind": "mean_conductance"}}
    device = {"preset": "wang2017_reduced"}
    config: dict[str, Any] = {
        "name": "x",
        "device": device,
        "protocol": {"kind": "waveform", "file": name},
        "measurements": measured,
    }
    path.write_text(tomli_w.dumps(config))
    with pytest.raises(ConfigError, match="leads out of the configuration's folder") as wave:
        load(path)
    path.write_text(tomli_w.dumps({"name": "x", "runs": [name], "variants": {"a": {}}}))
    with pytest.raises(ConfigError, match="leads out of the configuration's folder") as study:
        load_study(path)
    job: dict[str, Any] = {"name": "x", "device": device, "parameters": {"device.friction": {}}}
    with pytest.raises(ConfigError, match="leads out of the configuration's folder") as curve:
        resolve(job | {"curves": [{"file": name, "noise": "1 nA"}]}, folder)
    with pytest.raises(ConfigError, match="leads out of the configuration's folder") as experiment:
        resolve(job | {"experiments": {"e": {"file": name}}, "targets": []}, folder)
    for error in (wave, study, curve, experiment):
        assert SECRET not in str(error.value)


def test_what_lies_below_may_be_read(tmp_path: Path) -> None:
    assert beside(tmp_path, "a/b.csv") == tmp_path / "a/b.csv"


def no_group(file: h5py.File) -> None:
    del file["measurements"]


def no_attribute(file: h5py.File) -> None:
    del file["measurements/mean/value"].attrs["units"]


def wrong_unit(file: h5py.File) -> None:
    file["response/current"].attrs["units"] = "\x1b[31mfurlong"


def wrong_type(file: h5py.File) -> None:
    del file["realisations/intact"]
    file["realisations/intact"] = "yes"


def damaged_configuration(file: h5py.File) -> None:
    file["config/toml"][()] = 'name = "x\n[['


def more_devices(file: h5py.File) -> None:
    """A configuration of ten million devices, to be made before anything is compared with it."""
    file["config/toml"][()] = file["config/toml"][()].decode().replace("devices = 2\n", "devices = 10000000\n")


def other_window(file: h5py.File) -> None:
    file["response/window_all"][...] = 10**6


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (no_group, r"/measurements.* is missing|no group"),
        (no_attribute, "/measurements/mean/value has no attribute units"),
        (wrong_unit, r"the attribute units of /response/current is '\\x1b\[31mfurlong'; expected 'A'"),
        (wrong_type, "/realisations/intact is one value; expected an array"),
        (damaged_configuration, "the configuration in the results is not valid TOML"),
        (more_devices, "it has 2 of the dimension device; its configuration gives 10000000"),
        (other_window, "/response/window_all holds other values"),
    ],
)
def test_results_are_as_their_configuration_gives_them(
    mine: Path, harm: Callable[[h5py.File], None], said: str
) -> None:
    with h5py.File(mine, "r+") as file:
        harm(file)
    with pytest.raises(ResultsError, match=said) as error:
        mcdev.read(mine)
    assert str(error.value).isprintable()


def test_a_heap_that_leads_nowhere_is_refused(mine: Path) -> None:
    """The library itself walks through it for ever."""
    content = bytearray(mine.read_bytes())
    at = content.find(b"GCOL")
    while at >= 0:  # the first text gets no number and no length
        content[at + 16 : at + 32] = bytes(16)
        at = content.find(b"GCOL", at + 1)
    mine.write_bytes(bytes(content))
    with pytest.raises(ResultsError, match="damaged where its texts lie"):
        mcdev.read(mine)


# ------------------------------------------------------------------------------- text files


def card_with(more: str) -> str:
    return f'format = "mcdev model card, version 1"\ntitle = "x"\n{more}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (card_with("a" + ".a" * 20_000 + " = 1"), "nests keys deeper than 64 levels"),
        (card_with("a = " + "[" * 100 + "]" * 100), "nests deeper than 64 levels"),
        (card_with("a = " + "[" * 20_000), "nests values deeper"),
        (card_with("\n".join(f"k{i} = 1" for i in range(400_000))), "expected at most 200000 keys"),
        (card_with("a = [" + "1," * 2_100_000 + "]"), "2000000 values"),
        (card_with(f"a = {'9' * 5000}"), "more than 4300 digits"),
        (card_with(f"a = 0x{'f' * 100_000}"), "a whole number of 400000 bits"),
    ],
    ids=["dotted", "nested", "nested and open", "keys", "values", "digits", "hexadecimal"],
)
def test_a_text_beyond_all_measure_is_refused_before_it_is_looked_at(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "card.toml"
    path.write_text(text)
    for reader in (read_card, load, load_study):
        with pytest.raises(ConfigError, match=said) as error:
            reader(path)
        assert len(str(error.value)) < 1000


def test_an_error_prints_what_a_person_reads() -> None:
    """Twenty thousand unknown keys were 2.5 MB."""
    with pytest.raises(ConfigError) as error:
        mcdev.build(GOOD | {f"key_{i}": "x" * 1000 for i in range(20_000)})
    text = str(error.value)
    assert len(error.value.problems) == 20_000
    assert len(text) < 10_000
    assert text.count("\n") == 21
    assert text.endswith("and 19980 more; mend these first")


def test_no_text_in_an_error_steers_the_terminal() -> None:
    steering = "a\x1b[31m\x9b\u202e\r\nb\udcff"
    with pytest.raises(ConfigError) as error:
        mcdev.build(GOOD | {"name": steering[:-1], "\x1b[31m": 1})
    said = [str(error.value), str(ResultsError(steering))]
    assert all(line.isprintable() for text in said for line in text.split("\n"))
    assert "a\\x1b[31m\\x9b\\u202e\\r\\nb\\udcff" in said[1]


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("  =1", "'  =1"),
        ("\uff1d1", "'\uff1d1"),
        ("-0.5 V", "-0.5 V"),
        ("-1e-9", "-1e-9"),
        (-1.5, "-1.5"),
        (None, ""),
        ("a\x1b]0;x\x07", "a\\x1b]0;x\\x07"),
        ("\r=1", "\\r=1"),
        ("tau", "tau"),
    ],
)
def test_cells_are_text_or_numbers_and_never_formulas(cell: Any, written: str) -> None:
    text = io.StringIO()
    CsvWriter(text).row([cell, 1])
    assert next(csv.reader([text.getvalue()])) == [written, "1"]


def test_every_table_goes_through_one_writer() -> None:
    files = Path(mcdev.__file__).parent.rglob("*.py")
    assert [file.name for file in files if "csv.writer" in file.read_text(encoding="utf-8")] == ["plain_text.py"]


def test_no_text_of_a_file_steers_the_terminal() -> None:
    """Neither by control characters nor by marks of style, whatever way it is printed."""
    screen = terminal.Screen(width=400)
    screen.file = io.StringIO()
    steering = "a\x1b[31m\x9b \u202e [red]b[/] \\[bold] :warning:"
    screen.print(steering, soft_wrap=True)
    screen.say(steering, "warning", "yellow")
    table = Table("", title=steering, caption=steering)
    table.add_row(visible(steering))
    table.add_row(steering)  # forgotten: escaped all the same, though too late for the width of its column
    screen.table(table)
    said = screen.file.getvalue()
    assert all(line.isprintable() for line in said.split("\n"))
    assert said.count(r"a\x1b[31m\x9b \u202e [red]b[/] \[bold] :warning:") >= 5


@pytest.mark.parametrize("change", ["\x9b31m", "\x7f", "\u202e"])
def test_json_shows_control_characters_as_json_does(change: str) -> None:
    text = to_json([{"criterion": f"a{change}b"}])
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == [{"criterion": f"a{change}b"}]


KEYS = ["name", "device", "protocol", "ensemble", "measurements", "fits", "sweep", "output", "circuit", "__class__"]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("$(touch x)"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), inner),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=6), st.data())
def test_any_configuration_is_valid_or_one_error(data: dict[str, Any], more: Any) -> None:
    """Never a traceback of another kind, a hang or an allocation."""
    try_to_build(data, more)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=6), st.data())
def test_ten_thousand_configurations_are_valid_or_one_error(data: dict[str, Any], more: Any) -> None:
    try_to_build(data, more)


GOOD: dict[str, Any] = {
    "name": "x",
    "device": {"preset": "wang2017_reduced"},
    "protocol": PULSE,
    "ensemble": {"devices": 10},
    "measurements": {"mean": {"kind": "mean_conductance"}},
}
PATHS = [
    *("device.friction", "device.particles", "device.interfacial_energy", "protocol.amplitude", "protocol.width"),
    *("ensemble.devices", "ensemble.cycles", "ensemble.seed", "output.trajectories", "ensemble.correlation"),
    *("ensemble.cycle_to_cycle", "sweep.axes", "measurements.mean.kind", "output.cycles", "circuit.kind"),
]


def try_to_build(data: dict[str, Any], more: Any) -> None:
    """The data as they are, and a good configuration with one value replaced by one of theirs."""
    sections: dict[str, Any] = {k: dict(v) if isinstance(v, dict) else v for k, v in GOOD.items()}
    path = more.draw(st.sampled_from(PATHS))
    section, _, key = path.partition(".")
    changed = sections | {section: dict(sections.get(section, {}))}
    changed[section][key] = more.draw(values)
    for candidate in (data, changed):
        with contextlib.suppress(ConfigError):
            assert mcdev.build(candidate).points()
