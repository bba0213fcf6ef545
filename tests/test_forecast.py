"""What a dry run says: its estimate against the run itself, and what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest
from conftest import reduced

import mcdev
from mcdev.machine import compilation_cache
from mcdev.simulation import ensemble, forecast
from mcdev.simulation.trial import Trial

CONFIGS = Path(__file__).parents[1] / "configs"
MCDEV = Path(sys.executable).with_name("mcdev")


def processor_time(experiment: mcdev.Experiment) -> float:
    """Seconds of a run."""
    begin = time.process_time()
    ensemble.simulate(experiment, threads=1)
    return time.process_time() - begin


RESOLVED = {"device.preset": "device_p_pnp", "sweep.axes": {}, "ensemble.devices": 128}  # chooses its own steps
ESTIMATED: dict[str, dict[str, Any]] = {
    "wang2017/fig4b_train.toml": {},
    "shin2022/ten_thousand.toml": {"ensemble.devices": 1024},
    "shin2022/pulse_train.toml": RESOLVED,
}


@pytest.mark.slow  # in processor time, which other programs lengthen
@pytest.mark.parametrize("file", ESTIMATED)
def test_the_estimate_is_within_half_of_the_run(file: str) -> None:
    """Both in processor time of this process, which other programs lengthen alike. Half a second may fall into a
    disturbed moment, so it may be tried four times, each beside a run of its own."""
    experiment = mcdev.load(CONFIGS / file, ESTIMATED[file])
    processor_time(experiment)  # compiles
    ratios: list[float] = []
    for _ in range(4):
        ratios.append(forecast.forecast(experiment, 1).computing / processor_time(experiment))
        if 1 / 1.5 < ratios[-1] < 1.5:
            return
    pytest.fail(f"estimated over real: {ratios}")


def test_the_estimate_grows_with_the_work() -> None:
    experiment = reduced({"kind": "hold", "duration": "0.5 s", "samples": 64}, ensemble={"devices": 256})
    cost = forecast.calibrate(Trial(experiment))[1]
    one = forecast._seconds([Trial(experiment)], cost)[1]
    longer = forecast._seconds([Trial(experiment.with_({"protocol.duration": "5 s"}))], cost)[1]
    wider = forecast._seconds([Trial(experiment.with_({"ensemble.devices": 1024}))], cost)[1]
    assert cost.step > 0
    assert longer > 5 * one
    assert wider == pytest.approx(4 * one, rel=0.1)


@pytest.mark.slow
def test_a_circuit_with_channels_of_its_own_has_an_estimate() -> None:
    experiment = mcdev.load(CONFIGS / "shin2022" / "fig7_stdp.toml", {"sweep.axes": {}, "fits": {}, "output": {}})
    assert forecast.forecast(experiment.with_({"ensemble.devices": 8}), 1).computing > 0


def test_accelerators_that_were_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Interpolated between the ensemble sizes that were measured; families that were not are left out."""
    rows = [{"realisations": 64, "ns_per_step": 1.0}, {"realisations": 4096, "ns_per_step": 0.01}]
    (tmp_path / "accelerators.json").write_text(json.dumps({"A card": {"diffusive": rows}, "Other": {"none": rows}}))
    monkeypatch.setattr(forecast.resources, "files", lambda package: tmp_path)
    found = forecast.elsewhere(reduced(ensemble={"devices": 512}), 40 * 10**9)
    assert found == {"A card": pytest.approx(0.1 * 40)}


def test_dry_run_says_what_it_takes_and_writes_nothing(tmp_path: Path) -> None:
    config = tmp_path / "quiet.toml"
    config.write_text(reduced(ensemble={"devices": 8}).to_toml())
    command = [str(MCDEV), "run", str(config), "--dry-run", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    for word in ("8 realisations", "steps", "MiB", "time here", "accelerators"):
        assert word in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["quiet.toml"]


# ------------------------------------------------------------------------------------ compiled programs


@pytest.fixture
def no_cache() -> Iterator[None]:
    """JAX without the cache that an earlier test of this process may have switched on."""
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize("said", ["off", "0", "No", "FALSE"])
@pytest.mark.usefixtures("no_cache")
def test_the_cache_can_be_switched_off(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compilation_cache.VARIABLE, said)
    assert compilation_cache.folder() is None
    assert compilation_cache.switch_on() is None


@pytest.mark.parametrize("said", ["", "on", "True"])
def test_the_cache_lies_where_caches_lie(said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(compilation_cache.VARIABLE, said)
    monkeypatch.setattr(compilation_cache.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = compilation_cache.folder()
    assert place is not None
    assert place.parent == tmp_path / "mcdev"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compilation_cache.folder() == tmp_path / ".cache" / "mcdev" / place.name
    monkeypatch.setenv(compilation_cache.VARIABLE, str(tmp_path / "mine"))
    assert compilation_cache.folder() == tmp_path / "mine"


@pytest.mark.usefixtures("no_cache")
def test_a_folder_that_cannot_be_made_is_done_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(compilation_cache.VARIABLE, str(tmp_path / "file" / "cache"))
    assert compilation_cache.switch_on() is None


@pytest.mark.slow
def test_the_second_run_finds_the_first_ones_programs(tmp_path: Path) -> None:
    """And computes the same, to the bit, without a word about errors that are none; a damaged program is compiled
    again."""
    config, cache = tmp_path / "small.toml", tmp_path / "cache"
    config.write_text(reduced(ensemble={"devices": 8}).to_toml())

    def run(name: str) -> Any:
        command = [str(MCDEV), "run", str(config), "--no-figures", "--out", str(tmp_path / name)]
        environment = os.environ | {compilation_cache.VARIABLE: str(cache)}
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # importing JAX has set it in this process
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        assert "AOT" not in done.stderr
        return mcdev.read(tmp_path / name)["measurements/g/value"].values

    first = run("first")
    kept = {path.name for path in cache.glob("jit_advance*-cache")}  # others are kept where they took long enough
    assert kept
    second = run("second")
    assert {path.name for path in cache.glob("jit_advance*-cache")} == kept
    assert (first == second).all()
    for path in cache.glob("jit_advance*-cache"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert (first == run("third")).all()
