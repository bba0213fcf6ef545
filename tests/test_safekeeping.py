"""A run that cannot be lost: stopped, damaged, gone on with, the datasets are those of an uninterrupted run."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tomli_w
from conftest import Ended, elsewhere
from test_cli import one_message

import mcdev
from mcdev.configuration.experiment import build, load
from mcdev.files.whole_file import ResultsError
from mcdev.machine.identity import Origin
from mcdev.results import safekeeping
from mcdev.results.record import unused
from mcdev.results.scheduler import workers
from mcdev.simulation import ensemble
from mcdev.simulation.chunks import Chunk, Share, Work, chains, compute
from mcdev.simulation.group import Arrays
from mcdev.simulation.kept import Made
from mcdev.simulation.progress import unseen
from mcdev.simulation.trial import Trial, kept_cycles, trials

CONFIG: dict[str, Any] = {
    "name": "batch",
    "device": {
        "preset": "wang2017_reduced",
        "particles": 6,
        "friction": {"distribution": "lognormal", "median": 4.0, "sigma": 0.2},
    },
    "protocol": {"kind": "pulse", "amplitude": "3 V", "width": "0.02 s", "relaxation": "0.1 s"},
    "ensemble": {"devices": 600, "cycles": 3, "between_cycles": "continue"},
    "measurements": {"mean": {"kind": "mean_conductance"}, "tau": {"kind": "relaxation_time"}},
    "sweep": {"axes": {"device.background_temperature": ["0.40 K", "0.45 K"]}},
    "output": {"figures": False, "trajectories": 2},
}
CUT = [Share(1, 1), Share(2, 2)]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("batch") / "batch.toml"
    path.write_text(tomli_w.dumps(CONFIG))
    return path


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    with safekeeping.Folder(folder, load(config)) as keeper, workers() as pool:
        tree, aside = safekeeping.work(keeper, keeper.begin(pool.number), pool, lambda done, total: None)
        mcdev.write(tree, folder)
        keeper.done()
    assert not aside
    return folder


def datasets(folder: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item[()]).tobytes() + str(item.dtype).encode()

    with h5py.File(folder / "results.h5") as file:
        file.visititems(add)
    return found


def begun(config: Path, folder: Path, cut: list[Share] | None = None) -> list[Share]:
    """A folder in which every chunk is finished, and nothing put together."""
    with safekeeping.Folder(folder, load(config)) as keeper, workers() as pool:
        shares = cut or keeper.begin(pool.number)
        keeper.cut(shares)
        (folder / "config.toml").write_text(load(config).to_toml())
        ensemble.perform(keeper.trials, shares, keeper, pool.pool, pool.number, unseen())
    return shares


@pytest.fixture(scope="module")
def chunked(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cut finely: by groups and cycles at the first point, otherwise at the second."""
    folder = tmp_path_factory.mktemp("chunked")
    begun(config, folder, CUT)
    assert len(list((folder / "chunks").iterdir())) == 3 * 3 + 2 * 2
    return folder


@pytest.fixture
def stopped(chunked: Path, tmp_path: Path) -> Path:
    """A copy of that folder to harm."""
    return Path(shutil.copytree(chunked, tmp_path / "run"))


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


FINISHED = {"results.h5", "statistics.csv", "card.toml", "config.toml", "run.json"}


def test_a_run_is_gone_on_with_from_python(stopped: Path, whole: Path) -> None:
    """The same, bit for bit; once more, it is finished and read."""
    next((stopped / "chunks").iterdir()).unlink()
    mcdev.resume(stopped)
    assert datasets(stopped) == datasets(whole)
    written = (stopped / "results.h5").stat().st_mtime_ns
    assert mcdev.resume(stopped)["measurements/mean/value"].sizes["point"] == 2
    assert (stopped / "results.h5").stat().st_mtime_ns == written


def test_any_cut_and_any_number_of_workers_give_the_same(whole: Path, config: Path, tmp_path: Path) -> None:
    for number, cut in ((1, CUT), (3, [Share(3, 1), Share(1, 3)])):
        folder = tmp_path / str(number)
        folder.mkdir()
        with safekeeping.Folder(folder, load(config)) as keeper, workers("threads", number) as pool:
            tree, _ = safekeeping.work(keeper, cut, pool, lambda done, total: None)
            mcdev.write(tree, folder)
        assert datasets(folder) == datasets(whole)
    read, run = (tree["measurements"] for tree in (mcdev.read(whole), mcdev.run(load(config))))
    assert list(read.children) == list(run.children)
    for name, group in run.children.items():
        assert {k: v.values.tobytes() for k, v in group.data_vars.items()} == {
            k: v.values.tobytes() for k, v in read[name].data_vars.items()
        }


def test_gone_on_with_after_losing_some(whole: Path, stopped: Path, mcdev_main: Callable[..., Ended]) -> None:
    """Missing, cut off, damaged and foreign files: what is whole is taken, the rest computed, nothing stray left."""
    files = sorted((stopped / "chunks").iterdir())
    files[0].unlink()
    files[4].write_bytes(files[4].read_bytes()[:1000])
    (stopped / "chunks" / ".0-0-256-0-1-abc.tmp").write_text("half")
    (stopped / "chunks" / "notes.txt").write_text("mine")
    (stopped / ".results-zs5pu_1e.tmp").write_text("half")  # found by killing at random
    ended = mcdev_main("run", "--resume", stopped)
    assert ended.code == 0, ended.err
    assert datasets(stopped) == datasets(whole)
    assert files_of(stopped) == FINISHED


def test_every_flipped_byte_is_seen(stopped: Path, config: Path) -> None:
    """A byte anywhere in any chunk: 200 of them here, and a thousand in the slow test."""
    flip(stopped, config, 200)


def flip(folder: Path, config: Path, times: int) -> None:
    """One byte of every chunk at a time."""
    draw = random.Random(1)
    right = {file: file.read_bytes() for file in sorted((folder / "chunks").iterdir())}
    keeper = safekeeping.Folder(folder, load(config))
    for _ in range(-(-times // len(right))):
        for file, content in right.items():
            wrong = bytearray(content)
            wrong[draw.randrange(len(wrong))] ^= 1 << draw.randrange(8)
            file.write_bytes(bytes(wrong))
        keeper.go_on()
        assert list((folder / "chunks").iterdir()) == []
    for file, content in right.items():
        file.write_bytes(content)


def test_a_chunk_that_is_damaged_while_the_run_goes_on_is_done_again(
    whole: Path, stopped: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After all are finished, before they are put together."""
    harmed = []
    perform = ensemble.perform

    def then_harm(*arguments: Any) -> Any:
        found = perform(*arguments)
        if not harmed:
            harmed.append(sorted((stopped / "chunks").iterdir())[2])
            harmed[0].write_bytes(b"nothing")
        return found

    monkeypatch.setattr(safekeeping, "perform", then_harm)
    with safekeeping.Folder(stopped, load(config)) as keeper, workers() as pool:
        tree, _ = safekeeping.work(keeper, keeper.go_on(), pool, lambda done, total: None)
        mcdev.write(tree, stopped)
    assert harmed
    assert datasets(stopped) == datasets(whole)


def test_a_finished_run_is_verified_and_not_repeated(
    stopped: Path, whole: Path, mcdev_main: Callable[..., Ended]
) -> None:
    assert mcdev_main("run", "--resume", stopped).code == 0
    before = (stopped / "results.h5").read_bytes()
    again = mcdev_main("run", "--resume", stopped)
    assert again.code == 0
    assert "is finished" in again.err
    assert (stopped / "results.h5").read_bytes() == before
    wrong = bytearray(before)
    wrong[len(wrong) // 2] ^= 1
    (stopped / "results.h5").write_bytes(bytes(wrong))
    assert mcdev_main("run", "--resume", stopped).code == 0
    assert datasets(stopped) == datasets(whole)


@pytest.mark.parametrize(
    ("harm", "arguments", "code", "said"),
    [
        (lambda f: None, ["--set", "ensemble.devices=601"], 3, "begun with another configuration"),
        (lambda f: (f / "run.json").unlink(), [], 3, "holds no run that was begun"),
        (lambda f: (f / "run.json").write_text("{"), [], 3, "is damaged"),
        (lambda f: (f / "run.json").write_text("[" * 100_000), [], 3, "is damaged"),
        (lambda f: (f / "config.toml").unlink(), [], 3, "config.toml is missing"),
        (lambda f: None, ["--out", "elsewhere"], 2, "both name the folder"),
        (lambda f: None, ["--scheduler", "slurm"], 2, "expected threads or dask"),
        (lambda f: None, ["--scheduler-address", "tcp://127.0.0.1:9"], 3, "no Dask scheduler answers"),
    ],
)
def test_what_cannot_be_gone_on_with_is_said(
    stopped: Path,
    mcdev_main: Callable[..., Ended],
    harm: Callable[[Path], Any],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    harm(stopped)
    before = files_of(stopped)
    one_message(mcdev_main("run", "--resume", stopped, *arguments), code, said)
    assert files_of(stopped) == before


def test_other_code_may_not_go_on(
    stopped: Path, mcdev_main: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(monkeypatch, code="f" * 64)
    one_message(mcdev_main("run", "--resume", stopped), 3, "version of the code", "code: ", "ffffffffffff here")
    one_message(mcdev_main("run", "--resume", stopped, "--accept-other-machine"), 3, "version of the code")


# ------------------------------------------------------------------------------- whose a folder and a chunk are


def test_another_run_s_chunk_is_not_taken_for_ours(
    stopped: Path, whole: Path, config: Path, tmp_path: Path, mcdev_main: Callable[..., Ended]
) -> None:
    """Of another seed, cut the same; or one of ours under another one's name. Both are whole, and both are left out."""
    other = load(config, {"ensemble.seed": 2})
    trial = trials(other)[0]
    chunk = chains(trial, 0, CUT[0])[0][0]
    with safekeeping.Folder(tmp_path, other) as keeper:
        keeper.put(chunk, Made(compute([Work(trial, chunk)])[0], Origin.here()))
    (foreign,) = (tmp_path / "chunks").iterdir()
    named = {file.name.split(".")[0]: file for file in (stopped / "chunks").iterdir()}
    named["0-0-256-0-1"].unlink()
    shutil.copy(foreign, stopped / "chunks")
    shutil.copy(
        named["0-256-512-1-2"], named["0-256-512-2-3"].with_name(named["0-256-512-1-2"].name.replace("1-2", "2-3"))
    )
    named["0-256-512-2-3"].unlink()
    ended = mcdev_main("run", "--resume", stopped)
    assert ended.code == 0, ended.err
    said = ended.err.replace("\n", "")
    assert "1 chunk in" in said
    assert "of a run with another seed (2 there, 1 here): done again" in said
    assert "of other devices or cycles than their names say: done again" in said
    assert datasets(stopped) == datasets(whole)


def test_another_processor_may_not_go_on_unasked(stopped: Path) -> None:
    """XLA compiles for fewer vector instructions, as on an older processor: its numbers differ in their last bits."""
    before = files_of(stopped)
    command = [sys.executable, "-m", "mcdev", "run", "--resume", str(stopped)]
    older = os.environ | {"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2", "COLUMNS": "160"}
    done = subprocess.run(command, env=older, capture_output=True, text=True, check=False)
    said = ("begun on another machine", "processor: ", "avx", "none there, --xla_cpu_max_isa=SSE4_2 here")
    one_message(Ended(done.returncode, done.stdout, done.stderr), 3, *said, "--accept-other-machine")
    assert files_of(stopped) == before


def test_another_machine_is_accepted_and_said(
    stopped: Path, mcdev_main: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every record, in the results, and no longer asked for on either machine."""
    next((stopped / "chunks").iterdir()).unlink()
    with monkeypatch.context() as there:
        elsewhere(there, processor="another")
        one_message(mcdev_main("run", "--resume", stopped), 3, "another machine", "another here")
        ended = mcdev_main("run", "--resume", stopped, "--accept-other-machine")
        assert ended.code == 0, ended.err
        assert mcdev_main("run", "--resume", stopped).code == 0
    assert mcdev_main("run", "--resume", stopped).code == 0
    about = mcdev.read(stopped).attrs
    assert "numbers of 2 machines are put together" in about["warnings"]
    assert "numbers of 2 machines are put together" in ended.err
    origins = [Origin.model_validate_json(line) for line in about["origins"].splitlines()]
    assert origins == [Origin.here(), Origin.here().model_copy(update={"processor": "another"})]


@pytest.mark.parametrize("accept", [False, True])
def test_a_worker_on_another_machine_is_noticed(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accept: bool
) -> None:
    """It is who computes that says who it is."""
    experiment = load(config, {"ensemble.between_cycles": "rest"})
    monkeypatch.setattr(ensemble, "compute", lambda works, *_: [{"nothing": np.zeros(1)} for _ in works])
    progress = unseen()
    with safekeeping.Folder(tmp_path, experiment, accept) as keeper, workers() as pool:
        shares = keeper.begin(pool.number)
        elsewhere(monkeypatch, processor="another")
        if accept:
            ensemble.perform(keeper.trials, shares, keeper, pool.pool, 1, progress)
            assert [origin.processor for origin in keeper.record.accepted] == ["another"]
        else:
            with pytest.raises(ResultsError, match=r"a worker is another machine \(processor: .*another here"):
                ensemble.perform(keeper.trials, shares, keeper, pool.pool, 1, progress)


def test_a_finished_run_is_not_taken_for_one_of_another_configuration(
    whole: Path, config: Path, tmp_path: Path, mcdev_main: Callable[..., Ended]
) -> None:
    folder = shutil.copytree(whole, tmp_path / "run")
    changed = ("--set", "protocol.width=0.03 s", "--set", "ensemble.seed=7")
    ended = mcdev_main("run", config, "--resume", folder, *changed)
    one_message(ended, 3, 'protocol.width: "0.02 s" there, "0.03 s" here', "ensemble.seed: 1 there, 7 here")
    assert "mean" not in ended.out
    (folder / "config.toml").write_text((folder / "config.toml").read_text().replace("0.02 s", "0.03 s"))
    one_message(mcdev_main("run", "--resume", folder), 3, "config.toml there is no longer what it was")


def test_every_record_and_chunk_says_what_it_depends_on(stopped: Path, config: Path) -> None:
    record = json.loads((stopped / "run.json").read_text())
    assert record["identity"]["seed"] == 1
    origin = record["identity"]["origin"]
    assert set(origin) >= {"code", "libraries", "backend", "accelerator", "system", "processor", "flags", "settings"}
    assert "enable_x64 False, default_matmul_precision None" in origin["settings"]
    for file in (stopped / "chunks").iterdir():
        with h5py.File(file) as handle:
            assert json.loads(handle.attrs["identity"]) == record["identity"]
            assert handle.attrs["chunk"] == file.name.split(".")[0]


def test_a_record_of_an_older_or_newer_mcdev_is_refused(stopped: Path, mcdev_main: Callable[..., Ended]) -> None:
    record = stopped / "run.json"
    right = record.read_text()
    record.write_text('{"fingerprint":"abc","cut":[{"groups":1,"cycles":1}],"results":null}')
    one_message(mcdev_main("run", "--resume", stopped), 3, "was begun by an older mcdev")
    record.write_text(right.replace('"version":2', '"version":3'))
    one_message(mcdev_main("run", "--resume", stopped), 3, "was begun by a newer mcdev")


def test_killed_before_its_record_a_run_begins_again(
    config: Path, tmp_path: Path, mcdev_main: Callable[..., Ended]
) -> None:
    """With the same command, whatever it had written until then."""
    small = ("--set", "ensemble.devices=250", "--set", "ensemble.cycles=1", "--set", "sweep.axes={}")
    text = load(config, {"ensemble.devices": 250, "ensemble.cycles": 1, "sweep.axes": {}}).to_toml()
    for name, content in {".lock": "", ".run-zs5pu_1e.tmp": "hal", "config.toml": text}.items():
        assert unused(tmp_path, {"config.toml": text})
        (tmp_path / name).write_text(content)
    ended = mcdev_main("run", config, "--out", tmp_path, *small)
    assert ended.code == 0, ended.err
    assert files_of(tmp_path) == FINISHED
    again = mcdev_main("run", config, "--out", tmp_path, *small)
    one_message(again, 3, "exists and is not empty", "--resume")


def test_a_folder_of_someone_else_s_is_not_begun_in(tmp_path: Path) -> None:
    assert unused(tmp_path, {})
    (tmp_path / "config.toml").write_text("mine")
    assert not unused(tmp_path, {"config.toml": "theirs"})
    assert unused(tmp_path, {"config.toml": "mine"})
    (tmp_path / "notes").mkdir()
    assert not unused(tmp_path, {"config.toml": "mine"})


def test_two_runs_do_not_share_a_folder(stopped: Path, config: Path, mcdev_main: Callable[..., Ended]) -> None:
    with safekeeping.Folder(stopped, load(config)):
        one_message(mcdev_main("run", "--resume", stopped), 3, "being worked on by another run")


def test_a_full_disk_loses_nothing(
    config: Path, tmp_path: Path, whole: Path, mcdev_main: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing fails after some chunks, as on a full disk; with room again the run goes on."""
    put, kept = safekeeping.Folder.put, []

    def until_full(self: safekeeping.Folder, chunk: Chunk, arrays: Arrays) -> None:
        if len(kept) == 1:
            raise ResultsError(f"{self.path} cannot be written: No space left on device")
        kept.append(chunk)
        put(self, chunk, arrays)

    monkeypatch.setattr(safekeeping.Folder, "put", until_full)
    ended = mcdev_main("run", config, "--out", tmp_path / "run")
    one_message(ended, 3, "No space left on device", f"go on with: mcdev run --resume {tmp_path / 'run'}")
    monkeypatch.setattr(safekeeping.Folder, "put", put)
    assert mcdev_main("run", "--resume", tmp_path / "run").code == 0
    assert datasets(tmp_path / "run") == datasets(whole)


def test_a_chunk_that_fails_is_tried_again_and_then_set_aside(
    config: Path, tmp_path: Path, whole: Path, mcdev_main: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times; the rest finishes, what is missing counts as broken down, and is tried when the run goes on."""
    tries: list[Chunk] = []

    def failing(works: Sequence[Work], *more: Any) -> list[Arrays]:
        for chunk in [work.chunk for work in works]:
            if chunk.point == 1 and chunk.first == 0:
                tries.append(chunk)
                raise RuntimeError("planted")
        return compute(works, *more)

    monkeypatch.setattr(ensemble, "compute", failing)
    ended = mcdev_main("run", config, "--out", tmp_path / "run")
    assert ended.code == 1
    assert "set aside: point 1, devices 0 to" in ended.err
    assert "RuntimeError: planted" in ended.err
    assert len(tries) == 3
    intact = mcdev.read(tmp_path / "run")["realisations/intact"].values
    assert intact[0].all()
    assert 0 < (intact[1] == 0).sum() < intact[1].size
    monkeypatch.setattr(ensemble, "compute", compute)
    assert mcdev_main("run", "--resume", tmp_path / "run").code == 0
    assert datasets(tmp_path / "run") == datasets(whole)


def test_killed_at_random_moments(config: Path, tmp_path: Path, whole: Path) -> None:
    """SIGKILL, twice here, after 2.7 and 3.8 s of some six that a run takes; a hundred in the slow test."""
    kill(config, tmp_path / "run", whole, 2, 1960)


def kill(config: Path, folder: Path, whole: Path, times: int, seed: int) -> None:
    draw = random.Random(seed)
    command = [sys.executable, "-m", "mcdev", "run"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    arguments = [str(config), "--out", str(folder)]
    for _ in range(times):
        process = subprocess.Popen([*command, *arguments], **quiet)
        moment = draw.uniform(0.0, 10.0)
        deadline = time.monotonic() + moment
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        process.wait()
        if (folder / "run.json").exists():
            arguments = ["--resume", str(folder)]
        elif folder.exists():
            shutil.rmtree(folder)
    assert subprocess.run([*command, *arguments], check=False, **quiet).returncode == 0
    assert datasets(folder) == datasets(whole)
    assert files_of(folder) == FINISHED


def test_a_request_to_terminate_says_how_to_go_on(config: Path, tmp_path: Path) -> None:
    """SIGTERM, as by a cluster's time limit, is answered as Ctrl-C is (tests/test_cli.py)."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "mcdev", "run", str(config), "--out", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (folder / "run.json").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == 143
    assert f"go on with: mcdev run --resume {folder}" in said.replace("\n", "")
    assert "Traceback" not in said


@pytest.mark.parametrize("finished", [False, True])
def test_what_a_stop_leaves_behind_is_said(
    config: Path, tmp_path: Path, mcdev_main: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    """Before the first chunk is finished nothing is kept."""
    folder = tmp_path / "run"
    put = safekeeping.Folder.put

    def stopped(self: safekeeping.Folder, chunk: Chunk, made: Made) -> None:
        if finished:
            put(self, chunk, made)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(os, "_exit", sys.exit)
        patch.setattr(safekeeping.Folder, "put", stopped)
        patch.setattr(safekeeping, "perform", put_first)
        ended = mcdev_main("run", config, "--out", folder)
    kept = "what was computed is kept" if finished else "no part of it was finished"
    one_message(ended, 143, f"stopped; {kept}, go on with: mcdev run --resume {folder}")


def put_first(*arguments: Any) -> None:
    """In place of all the work, its first chunk."""
    (keeper,) = (one for one in arguments if isinstance(one, safekeeping.Folder))
    chunk = chains(trials(keeper.experiment)[0], 0, CUT[0])[0][0]
    keeper.put(chunk, Made({"nothing": np.zeros(1)}, Origin.here()))


def test_courses_of_some_cycles_only(config: Path) -> None:
    """Every cycle is measured; the kept ones are those of a run that keeps all."""
    few = load(config, {"ensemble.devices": 4, "ensemble.cycles": 7, "output.cycles": 3})
    assert kept_cycles(few).tolist() == [0, 3, 6]
    some, every = mcdev.run(few), mcdev.run(few.with_({"output.cycles": 7}))
    assert some["measurements/mean/value"].sizes["cycle"] == 7
    assert some["response/conductance"].sizes["kept_cycle"] == 3
    np.testing.assert_array_equal(some["measurements/mean/value"].values, every["measurements/mean/value"].values)
    for name in ("conductance", "conductance_sem"):
        np.testing.assert_array_equal(some[f"response/{name}"], every[f"response/{name}"].isel(kept_cycle=[0, 3, 6]))


def test_chunks_cover_everything_once(config: Path) -> None:
    experiment = load(config, {"ensemble.cycles": 10, "sweep.axes": {}})
    for groups in (1, 2, 3):
        for cycles in (1, 3, 10):
            seen = np.zeros((600, 10), int)
            for chain in chains(Trial(experiment), 0, Share(groups, cycles)):
                assert [c.begin for c in chain[1:]] == [c.end for c in chain[:-1]]
                for chunk in chain:
                    seen[chunk.first : chunk.last, chunk.begin : chunk.end] += 1
            assert np.all(seen == 1)


def test_points_that_share_a_group_may_be_lost_one_by_one(tmp_path: Path) -> None:
    """Each point keeps a chunk of its own, and is computed again without its neighbours: the same bit for bit, with
    other steps, carried states and parameters that change from cycle to cycle."""
    axes = {"protocol.width": ["0.02 s", "0.03 s", "0.05 s"], "device.background_temperature": ["0.40 K", "0.45 K"]}
    ensemble_ = CONFIG["ensemble"] | {"devices": 3, "cycle_to_cycle": {"friction": 0.1}}
    experiment = build(CONFIG | {"ensemble": ensemble_, "sweep": {"axes": axes}})
    assert len({trial.rows.steps for trial in trials(experiment)}) == 3
    whole = mcdev.run(experiment)
    with safekeeping.Folder(tmp_path, experiment) as keeper, workers() as pool:
        shares = [Share(1, 2)] * 6
        keeper.begin(pool.number)
        keeper.cut(shares)
        ensemble.perform(keeper.trials, shares, keeper, pool.pool, 1, unseen())
        assert len(list(keeper.chunks.iterdir())) == 12
        for stem in ("0-0-3-2-3", "3-0-3-2-3", "4-0-3-0-2", "4-0-3-2-3"):
            next(keeper.chunks.glob(f"{stem}.*")).unlink()
        keeper.damaged()
        tree, aside = safekeeping.work(keeper, shares, pool, lambda done, total: None)
    assert not aside
    for group in ("measurements/mean", "measurements/tau", "response", "profile", "trajectories", "realisations"):
        for name, array in whole[group].data_vars.items():
            np.testing.assert_array_equal(tree[group][name].values, array.values, err_msg=f"{group}/{name}")


def test_a_budget_bounds_the_chunks_and_refuses_what_does_not_fit(
    config: Path, mcdev_main: Callable[..., Ended]
) -> None:
    """A smaller budget cuts more finely; below what must be held together, one error before any work."""
    experiment = load(config, {"ensemble.devices": 100_000, "output.trajectories": 0})
    sizes = [ensemble.plan(trials(experiment), 2, gib * 2**30, in_memory=False)[0].groups for gib in (0.6, 1.0)]
    assert sizes[0] < sizes[1]
    one_message(
        mcdev_main("run", config, "--memory", 0.2, "--set", "ensemble.devices=1000000"), 4, "its budget is 0.2 GiB"
    )


def test_dask_gives_the_same(config: Path, tmp_path: Path, whole: Path) -> None:
    """Two processes on this machine."""
    with safekeeping.Folder(tmp_path, load(config)) as keeper, workers("dask", 2) as pool:
        tree, aside = safekeeping.work(keeper, CUT, pool, lambda done, total: None)
        mcdev.write(tree, tmp_path)
    assert not aside
    assert datasets(tmp_path) == datasets(whole)


@pytest.mark.slow
def test_several_accelerators_in_one_process_give_the_same(config: Path, tmp_path: Path, whole: Path) -> None:
    """Chunks go round them; here the processor poses as three."""
    command = [sys.executable, "-m", "mcdev", "run", str(config), "--out", str(tmp_path)]
    three = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
    subprocess.run(command, check=True, env=three, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert datasets(tmp_path) == datasets(whole)


@pytest.mark.slow
def test_one_process_for_each_accelerator_under_dask_gives_the_same(config: Path, tmp_path: Path, whole: Path) -> None:
    """As docs/gpu.md says: a scheduler, two workers that see one device each, and a run that finds the scheduler. Here
    the processor poses as two devices for the run itself, so that its own would be another number of them."""
    import distributed

    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    where = ["--scheduler-file", str(file)]
    started = [subprocess.Popen([*dask, "scheduler", "--port", "0", "--no-dashboard", *where], **quiet)]
    try:
        while not file.exists():
            assert started[0].poll() is None
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        for device in range(2):
            one = os.environ | {"CUDA_VISIBLE_DEVICES": str(device)}
            command = [*dask, "worker", *where, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
            started.append(subprocess.Popen(command, env=one, cwd=tmp_path, **quiet))
        with distributed.Client(address) as client:
            client.wait_for_workers(2)
        command = [sys.executable, "-m", "mcdev", "run", str(config), "--out", str(tmp_path / "run")]
        two = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
        subprocess.run([*command, "--scheduler-address", address], check=True, env=two, **quiet)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()
    assert datasets(tmp_path / "run") == datasets(whole)


@pytest.mark.slow
def test_a_hundred_kills(config: Path, tmp_path: Path, whole: Path) -> None:
    """In five runs of twenty kills each: a run that lives long enough is finished."""
    for part in range(5):
        kill(config, tmp_path / str(part), whole, 20, 20)


@pytest.mark.slow
def test_a_thousand_flipped_bytes(stopped: Path, config: Path) -> None:
    flip(stopped, config, 1000)


@pytest.mark.slow
def test_dask_with_workers_killed(config: Path, tmp_path: Path, whole: Path) -> None:
    """Every worker process once, while the run goes on."""
    import threading

    import psutil

    def murder() -> None:
        for _ in range(4):
            time.sleep(4)
            victims = [
                p for p in psutil.Process(os.getpid()).children(recursive=True) if "spawn_main" in " ".join(p.cmdline())
            ]
            if victims:
                random.Random(1).choice(victims).kill()

    with safekeeping.Folder(tmp_path, load(config)) as keeper, workers("dask", 2) as pool:
        killer = threading.Thread(target=murder)
        killer.start()
        tree, aside = safekeeping.work(keeper, CUT, pool, lambda done, total: None)
        killer.join()
        mcdev.write(tree, tmp_path)
    assert not aside
    assert datasets(tmp_path) == datasets(whole)
