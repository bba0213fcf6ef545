"""Files that somebody else may have made: how much of one is looked at before it is refused.

A file of a hundred kilobytes can declare gigabytes, hold itself, or nest twenty thousand levels deep. Nothing is read
from results, chunks, checkpoints, cards and configurations before it stands within these budgets, which are counts of
bytes and members: whoever reads on afterwards needs none of its own. What the members are called and hold is checked
by the reader that knows it.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import re
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

if TYPE_CHECKING:
    import h5py  # takes a quarter of a second, and whoever reads text does without

LARGEST_TEXT = 16 * 2**20
"""Bytes of a configuration, card or record."""
_DEPTH = 64  # of tables in tables; the grammar has six levels
_KEYS, _VALUES = 200_000, 2_000_000  # of one text file
_BITS = 10_000  # of a whole number; 64 are meant, and with more than 14,000 no message could quote it
_MEMBERS, _GROUPS_DEEP, _ATTRIBUTES = 20_000, 8, 128  # of one HDF5 file; attributes of one member
_ATTRIBUTE_BYTES, _TEXT_BYTES, _TEXTS, _AT_ONCE = 2**20, 64 * 2**20, 200_000, 64
_PACKED = 1100
"""Times that declared data may be larger than the file: deflate packs a byte no further than 1032-fold."""
_HEAP = b"GCOL\x01\0\0\0"  # how a heap begins
_SMALL = 2**20  # bytes that any file may declare


class Unreadable(ValueError):
    """A file, or data from one, that is refused; the message says why. The reader says which file, and what to do."""


# -------------------------------------------------------------------------------------- text


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises :class:`Unreadable` for what is none, or none of a sensible size."""
    keys, values = text.count("="), text.count(",") + text.count("[") + text.count("{")
    if keys > _KEYS or values > _VALUES:
        raise Unreadable(f"has about {max(keys, values)} entries; expected at most {_KEYS} keys, {_VALUES} values")
    dotted = text.translate({ord(" "): None, ord("\t"): None})
    if any(piece.count(".") > _DEPTH for piece in re.split(r"[,=\[\]{}\r\n]", dotted)):
        raise Unreadable(f"nests keys deeper than {_DEPTH} levels")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Unreadable(f"is not valid TOML: {error}") from None
    except RecursionError:
        raise Unreadable(f"nests values deeper than {_DEPTH} levels") from None
    except ValueError:  # a whole number of more digits than Python reads
        raise Unreadable("is not valid TOML: a whole number has more than 4300 digits") from None
    check_data(data)
    return data


def read_toml(path: Path) -> dict[str, Any]:
    """The same of a file. Raises ``OSError`` where it cannot be opened."""
    return parse_toml(read_text(path))


def read_text(path: Path) -> str:
    """A text file of sensible size. Raises :class:`Unreadable`, and ``OSError`` where it cannot be opened."""
    if path.stat().st_size > LARGEST_TEXT:
        raise Unreadable(f"is larger than {LARGEST_TEXT // 2**20} MiB: this is no configuration")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Unreadable("is not a UTF-8 text file") from None


def check_data(data: Any) -> None:
    """Raises :class:`Unreadable` for tables that are nested too deep, are too many, or hold a whole number of more
    digits than Python writes out."""
    members = 0
    waiting: list[tuple[str, Any, int]] = [("", data, 0)]
    while waiting:
        key, value, depth = waiting.pop()
        if isinstance(value, dict):
            inner: Any = ((f"{key}.{name}" if key else str(name), each) for name, each in value.items())
        elif isinstance(value, (list, tuple)):
            inner = ((key, each) for each in value)
        else:
            if isinstance(value, int) and value.bit_length() > _BITS:
                raise Unreadable(
                    f"{key or 'the value'} is a whole number of {value.bit_length()} bits; expected at most 64"
                )
            continue
        members += len(value)
        if depth == _DEPTH:
            raise Unreadable(f"nests deeper than {_DEPTH} levels")
        if members > _VALUES:
            raise Unreadable(f"has more than {_VALUES} entries")
        waiting += [(name, each, depth + 1) for name, each in inner]


# -------------------------------------------------------------------------------------- HDF5


@contextlib.contextmanager
def hdf5(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to read, checked. Raises :class:`Unreadable`, and what h5py raises for a file that is none."""
    import h5py

    _check_heaps(path)
    with h5py.File(path, "r") as handle:
        _check_hdf5(handle)
        yield handle


def _check_heaps(path: Path) -> None:
    """The places where texts lie: the library walks through them by lengths that it does not look at, and never comes
    back from a length of nothing (HDF5 file format specification 3.0, III.E, global heap)."""
    if path.stat().st_size == 0:
        raise Unreadable("is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(_HEAP)
        while at >= 0:
            size = int.from_bytes(content[at + 8 : at + 16], "little")
            place, end = at + 16, at + size
            while end - place >= 16:
                number = int.from_bytes(content[place : place + 2], "little")
                length = int.from_bytes(content[place + 8 : place + 16], "little")
                step = 16 + -(-length // 8) * 8 if number else length
                if not 16 <= step <= end - place:
                    raise Unreadable("is damaged where its texts lie")
                place += step
            if size < 16 or end > len(content):
                raise Unreadable("is damaged where its texts lie")
            at = content.find(_HEAP, at + 1)


def _check_hdf5(handle: h5py.File) -> None:
    """Raises :class:`Unreadable` for a file that points to other files or to itself, or claims more than it can hold:
    whoever sent it, reading it reads nothing else, and allocates nothing out of proportion to it."""
    import h5py

    size = int(handle.id.get_filesize())
    room = min(psutil.virtual_memory().available, _SMALL + _PACKED * size)
    seen: set[int] = {h5py.h5o.get_info(handle["/"].id).addr}
    total = texts = members = 0
    groups: list[tuple[h5py.Group, int]] = [(handle["/"], 0)]
    while groups:
        group, depth = groups.pop()
        _check_attributes(group)
        for name in group:
            members += 1
            if members > _MEMBERS:
                raise Unreadable(f"has more than {_MEMBERS} members")
            where = f"{group.name.rstrip('/')}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise Unreadable(f"links to other places ({where})")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise Unreadable(f"holds {where} twice: its links go round or meet")
            seen.add(address)
            if isinstance(item, h5py.Group):
                if depth == _GROUPS_DEEP:
                    raise Unreadable(f"nests groups deeper than {_GROUPS_DEEP} levels")
                groups.append((item, depth + 1))
                continue
            if not isinstance(item, h5py.Dataset):
                raise Unreadable(f"holds {where}, which is neither a group nor an array")
            total += _declared(item)
            if total > room:
                raise Unreadable(_too_much(total, size))
            _check_attributes(item)
            if item.dtype.kind == "O":
                texts += item.size
                _check_texts(item, texts)


def _too_much(declared: int, size: int) -> str:
    free = psutil.virtual_memory().available
    if declared > free:
        return f"declares {declared / 2**30:.3g} GiB and {free / 2**30:.3g} GiB of memory are free"
    return f"has {size} bytes and declares {declared}, more than can be packed into them"


def _declared(item: h5py.Dataset) -> int:
    """Bytes that reading an array takes: of all its elements, or of one of its blocks where that is larger."""
    import h5py

    if item.external or item.is_virtual:
        raise Unreadable(f"keeps {item.name} in other files")
    made = item.id.get_create_plist()
    filters = [made.get_filter(i)[0] for i in range(made.get_nfilters())]
    if set(filters) - {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}:
        raise Unreadable(f"packs {item.name} in a way that is not read")
    if item.shape is None or item.dtype.kind not in "biufcSO" or len(item.shape) > 8:
        raise Unreadable(f"holds {item.name}, which is no array of numbers or text")
    if item.dtype.kind == "O" and h5py.check_string_dtype(item.dtype) is None:
        raise Unreadable(f"holds {item.name}, which is no array of numbers or text")
    block = int(np.prod(item.chunks or (0,), dtype=object)) * item.dtype.itemsize
    return max(int(np.prod(item.shape, dtype=object)) * item.dtype.itemsize, block)


def _check_texts(item: h5py.Dataset, count: int) -> None:
    """Texts may be of any length, and a thousand of them one and the same place in the file."""
    if count > _TEXTS:
        raise Unreadable(f"holds more than {_TEXTS} texts")
    if item.ndim > 1:
        raise Unreadable(f"holds a table of texts, {item.name}; expected lists")
    length = 0
    for first in range(0, item.size, _AT_ONCE):
        length += sum(map(len, item[first : first + _AT_ONCE] if item.ndim else [item[()]]))
        if length > _TEXT_BYTES:
            raise Unreadable(f"holds more than {_TEXT_BYTES // 2**20} MiB of text in {item.name}")


def _check_attributes(item: h5py.HLObject) -> None:
    import h5py

    count = h5py.h5a.get_num_attrs(item.id)
    if count > _ATTRIBUTES:
        raise Unreadable(f"has {count} attributes at {item.name}; expected at most {_ATTRIBUTES}")
    for index in range(count):
        attribute = h5py.h5a.open(item.id, index=index)
        if attribute.get_storage_size() > _ATTRIBUTE_BYTES:
            raise Unreadable(f"has an attribute of {attribute.get_storage_size()} bytes at {item.name}")


# -------------------------------------------------------------------------------------- archives


def check_archive(content: bytes) -> None:
    """Raises :class:`Unreadable` for a NumPy archive (.npz) that is none, or that would unpack to more than it can
    hold."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            declared = sum(member.file_size for member in members) + sum(_npy_bytes(archive, m) for m in members)
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise Unreadable(f"is no archive of arrays ({error})") from None
    if len(members) > _MEMBERS or declared > 2 * (_SMALL + _PACKED * len(content)):
        raise Unreadable(f"has {len(content)} bytes and declares {declared} in {len(members)} members")


def _npy_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Bytes that the header of an array in an archive asks for."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    return int(np.prod(shape, dtype=object)) * dtype.itemsize


def members(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """Path and array of everything below a group that has been checked."""
    import h5py

    for name in group:
        item = group[name]
        if isinstance(item, h5py.Dataset):
            yield item.name.lstrip("/"), item
        else:
            yield from members(item)
