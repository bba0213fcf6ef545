"""A run that cannot be lost: finished chunks in a folder, whole or not there, until all are put together.

    config.toml   the configuration
    run.json      what the run is: its identity (`identity.py`); how it is cut; at the end, the checksum of its results
    chunks/       a file for each finished chunk, its checksum in its name, its identity and place inside

A file is written under another name, flushed to the disk and renamed, so that it is whole or not there; when the run
goes on, every file is read, its checksum and its identity compared. What does not agree is computed again. Nothing in a
folder is trusted further than that: files are HDF5 arrays of the names, shapes and types expected, without links.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from pydantic import Field

from mcdev.configuration.experiment import Experiment
from mcdev.configuration.plugins import load_installed, loaded
from mcdev.files import structure
from mcdev.files.whole_file import ResultsError, whole_file
from mcdev.machine.identity import Identity, Origin, differences, told
from mcdev.results.file import FILE_NAME, find
from mcdev.results.names import CONFIG, RECORD
from mcdev.results.record import Record, agreed, alone, changes, read_record, stranger, write_record
from mcdev.results.scheduler import Workers
from mcdev.results.tree import assemble
from mcdev.schema import Strict
from mcdev.simulation.chunks import Chunk, Share, chains, layout
from mcdev.simulation.ensemble import perform, plan, total_steps
from mcdev.simulation.gathering import gather
from mcdev.simulation.kept import Made
from mcdev.simulation.progress import Progress
from mcdev.simulation.trial import trials

_MADE = (FILE_NAME, "statistics.csv", "card.toml")
ATTEMPTS = 3
"""After which a chunk that fails is set aside."""


class _Cut(Strict):
    groups: int = Field(ge=1, lt=2**31)
    cycles: int = Field(ge=1, lt=2**31)


class _Record(Record):
    """run.json"""

    cut: tuple[_Cut, ...] = Field((), max_length=1_000_000)
    results: str | None = Field(None, max_length=64)


def identity(experiment: Experiment) -> Identity:
    """Of an experiment's results, computed by this process."""
    sources = (plugin.source for plugin in experiment.plugins)
    return Identity.of(experiment.to_toml(), experiment.ensemble.seed, sources)


class Folder:
    """The folder of one run, held by one process. Keeps finished chunks (``mcdev.simulation.kept.Keeper``).

    ``accept``: whether another machine's part in it is accepted (`record.py`).
    """

    def __init__(self, path: Path, experiment: Experiment, accept: bool = False):
        self.path, self.experiment = path, experiment
        self.trials = trials(experiment)
        self.chunks = path / "chunks"
        self.accept = accept
        self.own = identity(experiment)
        self.record = _Record(identity=self.own)
        self.notes: list[str] = []
        """What was found that is not used."""
        self._files: dict[Chunk, Path] = {}
        self._origins: dict[Chunk, Origin] = {}
        self._open: dict[Chunk, h5py.File] = {}
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Folder:
        self._held.enter_context(alone(self.path))
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._held.close()

    # ------------------------------------------------------------------------------- begun, gone on with, done

    def begin(self, workers: int, memory: float | None = None) -> list[Share]:
        """Make the folder one of this run; how it is cut, for a budget of ``memory`` bytes. What another run has left
        in it goes. Raises ``NotEnoughMemory`` and ``ConfigError`` before anything is written."""
        total_steps(self.trials)
        shares = plan(self.trials, workers, memory, in_memory=False)
        for name in _MADE:  # before the record: whose they are is not in doubt at any moment
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "figures", ignore_errors=True)
        shutil.rmtree(self.chunks, ignore_errors=True)
        with whole_file(self.path / CONFIG) as temporary:
            temporary.write_text(self.experiment.to_toml(), encoding="utf-8")
        self.cut(shares)
        return shares

    def cut(self, shares: Sequence[Share]) -> None:
        """Write down that this run is cut so. From here on it can be gone on with."""
        cut = tuple(_Cut(groups=of.groups, cycles=of.cycles) for of in shares)
        self._write(self.record.model_copy(update={"cut": cut}))

    def _write(self, record: _Record) -> None:
        write_record(self.path / RECORD, record)
        self.record = record

    def take_up(self) -> None:
        """Make the record that is here one's own. Raises ``ResultsError`` where there is none, or it is that of another
        configuration or code, or of another machine that is not accepted."""
        record = read_record(self.path / RECORD, _Record, "run")
        seen = agreed(record, self.own, self.path, self.accept, self.changed)
        if seen != record:
            write_record(self.path / RECORD, seen)
        self.record = seen

    def changed(self) -> list[str]:
        """How the configuration differs from that with which the run here was begun, in words."""
        record = read_record(self.path / RECORD, _Record, "run")
        if not record.identity.asks_otherwise(self.own):
            return []
        plugins = record.identity.changed_plugins(self.own)
        if record.identity.configuration == self.own.configuration and plugins:
            return plugins
        try:
            text = (self.path / CONFIG).read_text(encoding="utf-8")
            there = tomllib.loads(text)
        except (OSError, ValueError, RecursionError):
            return [f"which {CONFIG} there does not tell"]
        if Identity.of(text, 0).configuration != record.identity.configuration:
            return [f"{CONFIG} there is no longer what it was"]
        return plugins + changes(there, tomllib.loads(self.experiment.to_toml()))

    def go_on(self) -> list[Share]:
        """How the run that was begun here is cut; its finished chunks, read and compared, are known from here on.

        Raises ``ResultsError`` as :meth:`take_up`.
        """
        self.take_up()
        shares = [Share(cut.groups, cut.cycles) for cut in self.record.cut]
        if len(shares) != len(self.trials):
            raise ResultsError(f"{self.path / RECORD} is damaged: {len(shares)} sweep points for {len(self.trials)}")
        by_stem = {_stem(p): p for i, of in enumerate(shares) for chain in chains(self.trials[i], i, of) for p in chain}
        ours = {text.model_dump_json(): text.origin for text in self.record.identities}
        self._files.clear()
        foreign: Counter[str] = Counter()
        for file in sorted(self.chunks.iterdir()) if self.chunks.is_dir() else []:
            chunk = by_stem.get(file.name.split(".")[0])
            if file.is_dir() and not file.is_symlink():
                continue  # none of ours
            whole = chunk is not None and file.suffix == ".h5" and file.name == _name(chunk, _checksum(file))
            if chunk is not None and whole:
                labels = _labels_in(file)
                ours_all = labels.get("chunk") == _stem(chunk) and labels.get("identity") in ours
                if ours_all and _holds(file, layout(self.trials[chunk.point], chunk)):
                    self._files[chunk], self._origins[chunk] = file, ours[labels["identity"]]
                    continue
                foreign[_whose(labels, self.record.identity)] += 1
            file.unlink()  # cut off, damaged, of no use, or none of ours
        for whose, count in foreign.items():
            self.notes.append(f"{count} chunk{'s' if count > 1 else ''} in {self.chunks} left out, {whose}: done again")
        return shares

    def finished(self) -> bool:
        """Whether the results are there, as they were written. Raises ``ResultsError`` as :meth:`take_up`: they are not
        called finished before it is known that they are this run's."""
        self.take_up()
        file = self.path / FILE_NAME
        return self.record.results is not None and file.exists() and _checksum(file) == self.record.results

    @property
    def origins(self) -> list[Origin]:
        """Who computed what is here, and who puts it together."""
        return list(dict.fromkeys([*self._origins.values(), Origin.here()]))

    def done(self) -> None:
        """The results are written: finished chunks are no longer needed."""
        self._close()
        self._write(self.record.model_copy(update={"results": _checksum(self.path / FILE_NAME)}))
        shutil.rmtree(self.chunks, ignore_errors=True)

    # ------------------------------------------------------------------------------- chunks

    def has(self, chunk: Chunk) -> bool:
        return chunk in self._files

    def put(self, chunk: Chunk, made: Made) -> None:
        """Raises ``ResultsError`` where another machine has made it, and that is not accepted."""
        if made.origin not in self.record.origins:
            if not self.accept:
                raise stranger(self.record.identity.origin, made.origin)
            self._write(self.record.model_copy(update={"accepted": (*self.record.accepted, made.origin)}))
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", track_order=True) as file:
            file.attrs["chunk"] = _stem(chunk)
            file.attrs["identity"] = self.record.identity.made_by(made.origin).model_dump_json()
            for name, array in made.arrays.items():
                file.create_dataset(name, data=array)
        content = buffer.getvalue()
        path = self.chunks / _name(chunk, hashlib.sha256(content).hexdigest())
        with whole_file(path) as temporary:
            temporary.write_bytes(content)
        self._files[chunk], self._origins[chunk] = path, made.origin

    def get(self, chunk: Chunk) -> Mapping[str, np.ndarray]:
        return _Stored(self._opened(chunk))

    def _opened(self, chunk: Chunk) -> h5py.File:
        if chunk not in self._open:
            while len(self._open) >= 200:  # a process may not open many more
                self._open.pop(next(iter(self._open))).close()
            self._open[chunk] = h5py.File(self._files[chunk], "r")
        return self._open[chunk]

    def _close(self) -> None:
        for file in self._open.values():
            file.close()
        self._open.clear()

    def damaged(self) -> list[Chunk]:
        """Chunks whose file is not what was written; they are forgotten."""
        self._close()
        found = []
        for chunk, file in list(self._files.items()):
            if not file.exists() or file.name != _name(chunk, _checksum(file)):
                file.unlink(missing_ok=True)
                del self._files[chunk]
                found.append(chunk)
        return found


class _Stored(Mapping[str, np.ndarray]):
    """The arrays of one file, read when and where they are asked for."""

    def __init__(self, file: h5py.File):
        self._file = file
        self._names = [name for name, _ in structure.members(file)]

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._file[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _holds(file: Path, wanted: Mapping[str, tuple[tuple[int | None, ...], str]]) -> bool:
    """Whether a chunk's file has the arrays that ``mcdev.simulation.chunks.layout`` says, and no others."""
    try:
        with structure.hdf5(file) as handle:
            found = {name: (item.shape, item.dtype.kind) for name, item in structure.members(handle)}
    except Exception:  # h5py raises many kinds for a file that is none of its own
        return False
    if {name for name in found if not name.startswith("carry/")} != {n for n in wanted if not n.startswith("carry/")}:
        return False
    carried = [name for name in found if name.startswith("carry/")]
    if bool(carried) != ("carry/0" in wanted) or set(carried) != {f"carry/{i}" for i in range(len(carried))}:
        return False
    return all(_fits(*found[name], *wanted[name if name in wanted else "carry/0"]) for name in found)


def _fits(shape: tuple[int, ...], kind: str, wanted: tuple[int | None, ...], kinds: str) -> bool:
    """Whether an array has a shape (its last dimensions, where the first of them is None) and a kind."""
    if wanted and wanted[0] is None:
        wanted = wanted[1:]
        shape = shape[len(shape) - len(wanted) :]
    return shape == wanted and kind in kinds


def _stem(chunk: Chunk) -> str:
    return "-".join(str(i) for i in chunk)


def _name(chunk: Chunk, checksum: str) -> str:
    return f"{_stem(chunk)}.{checksum[:32]}.h5"


def _checksum(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ResultsError(f"{file} cannot be read: {error.strerror or error}") from None


def _labels_in(file: Path) -> dict[str, str]:
    """What a chunk's file says of itself."""
    try:
        with structure.hdf5(file) as handle:
            return {name: str(handle.attrs[name]) for name in ("chunk", "identity") if name in handle.attrs}
    except Exception:  # no HDF5 file; h5py raises many kinds
        return {}


def _whose(labels: Mapping[str, str], own: Identity) -> str:
    """Why a whole chunk is not one of this run, in words."""
    try:
        there = Identity.model_validate_json(labels.get("identity", ""))
    except ValueError:
        return "which do not say what they were made with"
    if there.seed != own.seed:
        return f"of a run with another seed ({there.seed} there, {own.seed} here)"
    if there.asks_otherwise(own):
        return "of a run with another configuration"
    if there.origin != own.origin:
        return f"made by another machine or code ({told(differences(there.origin, own.origin))})"
    return "of other devices or cycles than their names say"


def altered(run: str | Path) -> str:
    """What is to be said where results are not as their run wrote them: ``run.json`` beside them has another checksum.
    Nothing of results that lie alone, or whose run has none. Raises ``ResultsError`` where there are no results."""
    file = find(run)
    try:
        written = read_record(file.parent / RECORD, _Record, "run").results
    except ResultsError:  # no record of this version of mcdev, which `mcdev run --resume` says
        return ""
    if file.name != FILE_NAME or written in (None, _checksum(file)):
        return ""
    return (
        f"{file} is not as the run wrote it: its checksum is not the one in {RECORD} beside it, so its numbers may "
        "have been changed or damaged; mcdev run --resume makes it again"
    )


def is_finished(folder: Path, experiment: Experiment, accept: bool = False) -> bool:
    """Whether the results of this very experiment lie in a folder, whole. False too where it holds a run that was begun
    with another configuration. Raises ``ResultsError`` as :meth:`Folder.take_up`."""
    kept = Folder(folder, experiment, accept)
    return (folder / RECORD).exists() and not kept.changed() and kept.finished()


def configuration(folder: Path) -> Path:
    """The configuration of the run that was begun in a folder. Raises ``ResultsError`` where there is none, or its
    plugins are not loaded."""
    record = read_record(folder / RECORD, _Record, "run")
    load_installed()
    here = {plugin.source.name for plugin in loaded()}
    missing = [name for each in record.identity.plugins if (name := each.rsplit(" ", 1)[0]) not in here]
    if missing:
        options = " ".join(f"--plugin {name}" for name in missing)
        raise ResultsError(f"{folder} was begun with {', '.join(missing)}; give {options}, with the path of the file")
    path = folder / CONFIG
    if not path.is_file():
        raise ResultsError(f"{path} is missing; give the configuration, or begin anew without --resume")
    return path


def work(
    folder: Folder, shares: Sequence[Share], workers: Workers, report: Callable[[int, int], None]
) -> tuple[xr.DataTree, dict[Chunk, str]]:
    """Compute what is missing and put everything together: the results, and the chunks that failed for good with the
    reason. Every dataset is the same, bit for bit, however often the run was stopped."""
    points, begin = folder.trials, datetime.datetime.now(datetime.UTC)
    while True:
        progress = Progress(total_steps(points), report)
        failed = perform(points, shares, folder, workers.pool, workers.number, progress, ATTEMPTS, workers.alone)
        if not folder.damaged():
            found = gather(points, shares, folder)
            wall = (datetime.datetime.now(datetime.UTC) - begin).total_seconds()
            about = {"started": begin.isoformat(timespec="seconds"), "wall_time_s": wall}
            return assemble(folder.experiment, found, about, folder.origins), failed
