"""NumPy archives that a calibration leaves behind, and those of a series: NUMBER.CHECKSUM.npz, so that one that was cut
off or altered is known by its name."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mcdev.files.structure import check_archive
from mcdev.files.whole_file import whole_file

_NAME = re.compile(r"(\d+)\.[0-9a-f]{32}\.npz")


def number_of(path: Path) -> int | None:
    """Of an archive of a series; None for a file of another name."""
    named = _NAME.fullmatch(path.name)
    return int(named[1]) if named else None


def is_whole(path: Path, content: bytes) -> bool:
    """Whether an archive of a series holds what was written under its name."""
    number = number_of(path)
    return number is not None and path.name == _name(number, content)


def write_archive(file: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by their names."""
    _write(file, _packed(arrays))


def write_numbered(folder: Path, number: int, arrays: Mapping[str, Any]) -> Path:
    """Write one of a series."""
    content = _packed(arrays)
    path = folder / _name(number, content)
    _write(path, content)
    return path


@contextlib.contextmanager
def archive(content: bytes) -> Iterator[Any]:
    """The arrays of an archive, checked. Raises ``Unreadable``, and what NumPy raises for an array that is none."""
    check_archive(content)
    with np.load(io.BytesIO(content), allow_pickle=False) as data:
        yield data


def _packed(arrays: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _name(number: int, content: bytes) -> str:
    return f"{number:06d}.{hashlib.sha256(content).hexdigest()[:32]}.npz"


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
