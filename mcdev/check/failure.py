"""What was not as a contract says, and an error in one line."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import ValidationError


class Failure(NamedTuple):
    """What was not as a contract says."""

    of: str
    """The kind or pair."""
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.of}: expected {self.expected}; found {self.found}"


def first_line(error: BaseException) -> str:
    """The error in one line."""
    if isinstance(error, ValidationError):
        each = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
