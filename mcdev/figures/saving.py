"""How a picture becomes a file."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from mcdev.figures.style import styled
from mcdev.files.whole_file import whole_file


def save(figure: Figure, folder: str | Path, name: str, form: str = "png", style: str = "single") -> Path:
    """``NAME.form`` in a folder, which is made if need be. Raises ``ResultsError`` where it cannot be written."""
    path = Path(folder) / f"{name}.{form}"
    with whole_file(path) as temporary:
        styled(figure, style).savefig(temporary, format=form, dpi=200)
    return path
