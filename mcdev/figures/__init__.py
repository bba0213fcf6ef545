"""Pictures, from a results tree alone. A new picture: its file, and a line in ``PICTURES``.

Each file has ``NAME``, the file's name without its ending; ``applies(tree)``, whether these results have what the
picture shows; and ``draw(tree)``, which returns a matplotlib ``Figure``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import xarray as xr
from matplotlib.figure import Figure

from mcdev.figures import (
    along_axis,
    arrhenius,
    distributions,
    exponential_fits,
    impedance,
    interval,
    ion_profiles,
    loops,
    paired_pulse,
    pulse_response,
    rate_change,
    recovery,
    train_response,
    waveform,
)
from mcdev.results import ResultsError


class Picture(Protocol):
    """What each file of this package provides."""

    NAME: str

    def applies(self, tree: xr.DataTree) -> bool: ...

    def draw(self, tree: xr.DataTree) -> Figure: ...


PICTURES: tuple[Picture, ...] = (
    pulse_response,
    train_response,
    paired_pulse,
    recovery,
    interval,
    rate_change,
    loops,
    impedance,
    exponential_fits,
    along_axis,
    ion_profiles,
    arrhenius,
    waveform,
    distributions,
)


def draw_all(tree: xr.DataTree, folder: Path) -> list[Path]:
    """Write every picture that applies as ``NAME.png`` into a folder, which is made if need be.

    Each is written to a temporary name and renamed. Raises ``ResultsError`` where the folder cannot be written.
    """
    written = []
    for picture in PICTURES:
        if not picture.applies(tree):
            continue
        figure = picture.draw(tree)
        path = folder / f"{picture.NAME}.png"
        temporary = folder / f".{picture.NAME}-{os.getpid()}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                figure.savefig(temporary, format="png", dpi=200)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise ResultsError(f"{path} cannot be written: {error.strerror or error}") from None
        written.append(path)
    return written


__all__ = ["PICTURES", "Picture", "draw_all"]
