"""Pictures for a command, each named once it is there."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from mcdev.interface.terminal import STDERR, STDOUT


def draw(tree: Any, folder: Path, form: str = "png", only: Collection[str] = (), style: str = "single") -> list[Path]:
    """Those of a run."""
    from mcdev.figures.pictures import draw_all

    drawn = draw_all(tree, folder, lambda why: STDERR.say(why, "note"), form, only, style)
    for path in drawn:
        STDOUT.say(f"figure: {path}")
    return drawn


def draw_calibration(
    tree: Any, folder: Path, form: str = "png", only: Collection[str] = (), style: str = "single"
) -> None:
    """Those of a calibration."""
    from mcdev.figures import pictures

    for path in pictures.draw_calibration(tree, folder, form, only, style):
        STDOUT.say(f"figure: {path}")
