"""Names that a user chooses, and names of files that are made of them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from mcdev.schema.refusal import refuse

MOST_LETTERS = 80
_NAME = re.compile(r"[^\W_](?:[\w.-]| (?! ))*(?<![. ])")
_ALLOWED = (
    f"a name of at most {MOST_LETTERS} letters, digits, _ - . and single blanks, first a letter or digit, last neither "
    "a dot nor a blank"
)
# What Windows keeps for devices, with any ending: https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)
_TOLD_APART = re.compile(r".*-[0-9a-f]{8}", re.IGNORECASE)  # as `file_names` ends those that would be alike
_MOST_BYTES = 100


def _named(text: str) -> str:
    if len(text) > MOST_LETTERS or not _NAME.fullmatch(text):
        refuse(text, f"expected {_ALLOWED}", f'write it like "{file_name(text[: 4 * MOST_LETTERS]) or "tau_1"}"')
    whole = unicodedata.normalize("NFC", text)
    if whole != text:
        refuse(text, "expected accented letters as one character each (Unicode form NFC)", f'write it like "{whole}"')
    return text


def _filed(text: str) -> str:
    if _DEVICES.fullmatch(text):
        refuse(text, "names a device on Windows, where no file can be called so", f'write it like "my_{text}"')
    if len(text.encode()) > _MOST_BYTES:
        refuse(text, f"expected at most {_MOST_BYTES} bytes (in UTF-8): it names a file", "shorten it")
    return text


def file_name(*words: str) -> str:
    """A name for a file that is made of others, joined by _: what a name may not hold becomes _, and it is cut where it
    is too long. Two of them may be alike."""
    text = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", "_".join(words)))
    text = re.sub(r"^[\W_]+", "", text)[:MOST_LETTERS].encode()[:_MOST_BYTES].decode(errors="ignore")
    return text.rstrip("._")


def folded(name: str) -> str:
    """What two names that cannot stand beside each other as files have in common: some file systems tell no capitals
    from small letters, and a blank becomes an underscore."""
    return unicodedata.normalize("NFC", name.replace(" ", "_").casefold())


def file_names(labels: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Label, whatever it is → a name for a file or folder, never a path, and none like another's: where two would be
    alike, or one is ``taken``, each has a digest of its label added."""
    plain = {label: file_name(label) or "unnamed" for label in labels}
    often = Counter(folded(name) for name in (*plain.values(), *taken))
    return {
        label: f"{name}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
        if often[folded(name)] > 1 or _DEVICES.fullmatch(name) or _TOLD_APART.fullmatch(name)
        else name
        for label, name in plain.items()
    }


Name = Annotated[
    str,
    AfterValidator(_named),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MOST_LETTERS, "description": _ALLOWED}),
]
"""Any name that a user chooses. It has no slash, bracket, colon or quote, so that what mcdev puts around names
(``g[4]``, ``/measurements/g/value``) is never a name itself."""
FileName = Annotated[Name, AfterValidator(_filed)]
"""A name that becomes that of a file or folder, on any system."""
