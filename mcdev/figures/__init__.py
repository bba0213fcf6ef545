"""Pictures, from a results tree alone; and of a measured file. The list is in `pictures.py`.

Each file has ``NAME``, the file's name without its ending; ``applies(tree)``, whether these results have what the
picture shows; and ``draw(tree)``, which returns a matplotlib ``Figure``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcdev.figures.pictures import (
        FORMATS,
        PICTURES,
        Picture,
        check_names,
        draw_all,
        draw_calibration,
        draw_study,
        drawn,
        names,
    )

__all__ = [
    "FORMATS",
    "PICTURES",
    "Picture",
    "check_names",
    "draw_all",
    "draw_calibration",
    "draw_study",
    "drawn",
    "names",
]


def __getattr__(name: str) -> Any:
    """Imported when first asked for: the picture of a measured file needs none of what a run's pictures need."""
    if name not in __all__:
        raise AttributeError(f"module 'mcdev.figures' has no attribute '{name}'")
    return getattr(import_module("mcdev.figures.pictures"), name)
