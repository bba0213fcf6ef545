"""The text of a measured file: its bytes, in whichever encoding an instrument's computer wrote them."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import NamedTuple

_LARGEST_FILE = 16 * 2**20
_NO_LETTERS = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f-\x9f]")  # in Latin-1


class Text(NamedTuple):
    """What a file holds."""

    content: str
    said: tuple[str, ...] = ()
    """What should be known of how it was read."""


def bytes_of(path: Path) -> bytes:
    """A file's bytes. Raises ``ValueError`` for one that is not there or too large."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError("is larger than 16 MiB; thin it out")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None


def decoded(data: bytes) -> Text:
    """UTF-8 with or without a byte-order mark, else Latin-1, which is said. Raises ``ValueError`` for what is no
    text."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or data[:1000].count(0) > 100:
        raise ValueError(
            "is a text in UTF-16, or no text: it holds bytes of zero; save it in UTF-8 (in a spreadsheet as "
            '"CSV UTF-8", in an editor by "save with encoding")'
        )
    try:
        return Text(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        if _NO_LETTERS.search(data):
            raise ValueError(f"is not a text file (byte {error.start + 1})") from None
        return Text(data.decode("latin-1"), (f"is not in UTF-8 (byte {error.start + 1}): read as Latin-1",))
