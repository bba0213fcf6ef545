"""A run that cannot be lost: finished chunks in a folder, whole or not there, until all are put together.

    run.json      what the run is: fingerprint of configuration, code and backend; how it is cut; at the end, the
                  checksum of its results
    config.toml   the configuration
    chunks/       a file for each finished chunk, its checksum in its name

A file is written under another name, flushed to the disk and renamed, so that it is whole or not there; when the run
goes on, every file is read and its checksum compared. What does not agree is computed again. Nothing in a folder is
trusted further than that: files are HDF5 arrays of the names, shapes and types expected, without links.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import h5py
import jax
import numpy as np
import xarray as xr
from pydantic import Field, ValidationError

from mcdev.chunks import Arrays, Chunk, Progress, Share, chains
from mcdev.ensemble import gather, perform, plan, total_steps
from mcdev.experiment import Experiment
from mcdev.provenance import code_version
from mcdev.results import FILE_NAME, ResultsError, assemble, harmless, whole_file
from mcdev.scheduler import Workers
from mcdev.schema import Strict

_WRITTEN = ("results", "run", "config", "statistics", "card")
ATTEMPTS = 3
"""After which a chunk that fails is set aside."""


class _Cut(Strict):
    groups: int = Field(ge=1, lt=2**31)
    cycles: int = Field(ge=1, lt=2**31)


class _Record(Strict):
    """run.json"""

    fingerprint: str = Field(max_length=64)
    cut: tuple[_Cut, ...] = Field(min_length=1, max_length=1_000_000)
    results: str | None = Field(None, max_length=64)


def fingerprint(experiment: Experiment) -> str:
    """Changes with anything that can change a bit of the results: configuration, code, libraries, backend."""
    text = experiment.to_toml() + code_version() + jax.default_backend()
    return hashlib.sha256(text.encode()).hexdigest()


class Folder:
    """The folder of one run, held by one process. Keeps finished chunks (``mcdev.ensemble.Keeper``)."""

    def __init__(self, path: Path, experiment: Experiment):
        self.path, self.experiment = path, experiment
        self.chunks = path / "chunks"
        self._own = fingerprint(experiment)
        self._files: dict[Chunk, Path] = {}
        self._open: dict[Chunk, h5py.File] = {}
        self._lock = filelock.FileLock(path / ".lock")

    def __enter__(self) -> Folder:
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise ResultsError(
                f"{self.path} is being worked on by another run; wait for it, or choose another folder"
            ) from None
        except OSError as error:
            raise ResultsError(f"{self.path} cannot be written: {error.strerror or error}") from None
        for stem in _WRITTEN:  # halves that a kill left; nobody else is at work here
            for half in self.path.glob(f".{stem}-*.tmp"):
                half.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        with contextlib.suppress(OSError):  # while it is held, so that nobody holds a lock that is no longer there
            (self.path / ".lock").unlink(missing_ok=True)
        self._lock.release()

    # ------------------------------------------------------------------------------- begun, gone on with, done

    def begin(self, workers: int, memory: float | None = None) -> list[Share]:
        """Make the folder one of this run; how it is cut, for a budget of ``memory`` bytes. Raises
        ``NotEnoughMemory`` and ``ConfigError`` before anything is written."""
        total_steps(self.experiment)
        shares = plan(self.experiment, workers, memory, in_memory=False)
        with whole_file(self.path / "config.toml") as temporary:
            temporary.write_text(self.experiment.to_toml(), encoding="utf-8")
        self._record(shares, None)
        return shares

    def _record(self, shares: Sequence[Share], results: str | None) -> None:
        cut = [_Cut(groups=of.groups, cycles=of.cycles) for of in shares]
        text = _Record(fingerprint=self._own, cut=tuple(cut), results=results).model_dump_json()
        with whole_file(self.path / "run.json") as temporary:
            temporary.write_text(text, encoding="utf-8")

    def go_on(self) -> list[Share]:
        """How the run that was begun here is cut; its finished chunks, read and compared, are known from here on.

        Raises ``ResultsError`` where the folder holds no run, or one of another configuration or code.
        """
        record = _read_record(self.path)
        if record.fingerprint != self._own:
            raise ResultsError(
                f"{self.path} was begun with another configuration, version of the code or backend; give those it was "
                "begun with, or begin anew without --resume"
            )
        shares = [Share(cut.groups, cut.cycles) for cut in record.cut]
        points = [point for _, point in self.experiment.points()]
        if len(shares) != len(points):
            raise ResultsError(f"{self.path / 'run.json'} is damaged: {len(shares)} sweep points for {len(points)}")
        by_stem = {_stem(p): p for i, of in enumerate(shares) for chain in chains(points[i], i, of) for p in chain}
        self._files.clear()
        for file in sorted(self.chunks.iterdir()) if self.chunks.is_dir() else []:
            chunk = by_stem.get(file.name.split(".")[0])
            if chunk is not None and file.suffix == ".h5" and file.name == _name(chunk, _checksum(file)):
                self._files[chunk] = file
            else:  # cut off, damaged, or of no use
                file.unlink()
        return shares

    @property
    def finished(self) -> bool:
        """Whether the results are there, as they were written."""
        record = _read_record(self.path)
        file = self.path / FILE_NAME
        return record.results is not None and file.exists() and _checksum(file) == record.results

    def done(self, shares: Sequence[Share]) -> None:
        """The results are written: finished chunks are no longer needed."""
        self._close()
        self._record(shares, _checksum(self.path / FILE_NAME))
        shutil.rmtree(self.chunks, ignore_errors=True)

    # ------------------------------------------------------------------------------- chunks

    def has(self, chunk: Chunk) -> bool:
        return chunk in self._files

    def put(self, chunk: Chunk, arrays: Arrays) -> None:
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", track_order=True) as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array)
        content = buffer.getvalue()
        path = self.chunks / _name(chunk, hashlib.sha256(content).hexdigest())
        with whole_file(path) as temporary:
            temporary.write_bytes(content)
        self._files[chunk] = path

    def get(self, chunk: Chunk) -> Mapping[str, np.ndarray]:
        return _Stored(self._opened(chunk))

    def _opened(self, chunk: Chunk) -> h5py.File:
        if chunk not in self._open:
            while len(self._open) >= 200:  # a process may not open many more
                self._open.pop(next(iter(self._open))).close()
            file = h5py.File(self._files[chunk], "r")
            harmless(file, self._files[chunk])
            self._open[chunk] = file
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
        self._names = [name for name, _ in _datasets(file)]

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._file[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _datasets(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    for name in group:
        item = group[name]
        if isinstance(item, h5py.Dataset):
            yield item.name.lstrip("/"), item
        else:
            yield from _datasets(item)


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


def _read_record(folder: Path) -> _Record:
    path = folder / "run.json"
    try:
        return _Record.model_validate_json(path.read_bytes())
    except OSError:
        raise ResultsError(f"{folder} holds no run that was begun; leave out --resume") from None
    except ValidationError:
        raise ResultsError(f"{path} is damaged; begin anew without --resume") from None


def configuration(folder: Path) -> Path:
    """The configuration of the run that was begun in a folder. Raises ``ResultsError`` where there is none."""
    _read_record(folder)
    path = folder / "config.toml"
    if not path.is_file():
        raise ResultsError(f"{path} is missing; give the configuration, or begin anew without --resume")
    return path


def work(
    folder: Folder, shares: Sequence[Share], workers: Workers, report: Callable[[int, int], None]
) -> tuple[xr.DataTree, dict[Chunk, str]]:
    """Compute what is missing and put everything together: the results, and the chunks that failed for good with the
    reason. Every dataset is the same, bit for bit, however often the run was stopped."""
    experiment, begin = folder.experiment, datetime.datetime.now(datetime.UTC)
    while True:
        progress = Progress(total_steps(experiment), report)
        aside = perform(experiment, shares, folder, workers.pool, workers.number, progress, ATTEMPTS, workers.alone)
        if not folder.damaged():
            points = gather(experiment, shares, folder)
            wall = (datetime.datetime.now(datetime.UTC) - begin).total_seconds()
            about = {"started": begin.isoformat(timespec="seconds"), "wall_time_s": wall}
            return assemble(experiment, points, about), aside
