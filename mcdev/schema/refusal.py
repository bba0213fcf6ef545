"""How a value is refused: what was expected, what to write instead, the known word that comes nearest."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable
from typing import Any, NoReturn

from pydantic_core import PydanticCustomError

_COMPARED, _LISTED = 500, 100  # known words that a mistaken one is compared with, and that are listed


def refuse(value: Any, expected: str, remedy: str = "", key: str = "") -> NoReturn:
    """Reject a value: say what was expected and what to write instead.

    ``key`` names a key below the table that is being checked, for conflicts between two keys.
    """
    raise PydanticCustomError(
        "refused",
        "{expected}{remedy}",
        {"value": value, "expected": expected, "remedy": f"; {remedy}" if remedy else "", "key": key},
    )


def sentence(error: PydanticCustomError) -> str:
    """What :func:`refuse` said."""
    context = error.context or {}
    return str(context["expected"] + context["remedy"])


def nearest(word: str, known: Iterable[str]) -> str:
    """A phrase that names the closest known word, or lists the known ones."""
    words = [str(k) for k in itertools.islice(known, _COMPARED)]
    close = difflib.get_close_matches(str(word)[:_COMPARED], words, n=2, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(w) for w in close) + "?"
    if not words:
        return "there is none"
    return "known: " + ", ".join(sorted(words)[:_LISTED]) + (", …" if len(words) > _LISTED else "")
