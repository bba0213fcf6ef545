"""TOML values in one line: tables and lists as well, which tomli-w spreads over several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomli_w


def in_a_line(value: Any) -> str:
    """A value as it stands behind the equals sign."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{written_key(key)} = {in_a_line(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(in_a_line(each) for each in value) + "]"
    return tomli_w.dumps({"x": value}).removeprefix("x = ").strip()


def written_key(key: str) -> str:
    """A key, in quotes where it needs them."""
    return tomli_w.dumps({key: 0}).removesuffix(" = 0\n")
