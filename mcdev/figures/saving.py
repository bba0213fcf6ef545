"""How a picture becomes a file."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from mcdev.files.whole_file import whole_file


def save(figure: Figure, folder: str | Path, name: str) -> Path:
    """``NAME.png`` in a folder, which is made if need be. Raises ``ResultsError`` where it cannot be written."""
    path = Path(folder) / f"{name}.png"
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=200)
    return path
