"""Files are written whole: under another name, flushed, then renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mcdev.files.plain_text import one_line


class ResultsError(ValueError):
    """A results file that cannot be read or written; the message says why and what to do, in one line."""

    def __init__(self, message: str):
        super().__init__(one_line(message))


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to, flushed and renamed at the end, so that ``path`` is whole or as it
    was. The folder is made if need be. Raises ``ResultsError`` where it cannot be written."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise ResultsError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:  # an interrupt, too, leaves no half file
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Have the new name on the disk too, where folders can be flushed."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
