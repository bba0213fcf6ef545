"""What cannot be exported, in one message."""

from __future__ import annotations

from typing import Any

from mcdev.configuration.problems import ConfigError, Problem


def refused(key: str, value: Any, message: str) -> ConfigError:
    """The error to raise: the key or option, its value, and what was expected instead."""
    return ConfigError([Problem(key, value, message)], "mcdev export")
