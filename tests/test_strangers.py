"""Files from a stranger: they run no code, read no other file, and claim no memory that is not there."""

from __future__ import annotations

import contextlib
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

import mcdev
from mcdev.calibration import resolve
from mcdev.experiment import load
from mcdev.problems import ConfigError, beside
from mcdev.results import FILE_NAME, ResultsError
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


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (external_link, "links to other places"),
        (soft_link, "links to other places"),
        (external_storage, "keeps /response/stolen in other files"),
        (virtual, "keeps /response/stolen in other files"),
        (huge, "GiB of memory are free"),
    ],
)
def test_a_results_file_that_points_elsewhere_is_not_read(
    mine: Path, harm: Callable[[h5py.File], None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine.parent)
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
