"""Pictures in a Python session: as figures to go on with, in a notebook, in windows."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcdev.configuration.problems import ConfigError, Problem
from mcdev.figures import FORMATS, STYLES
from mcdev.figures.pictures import PICTURES, drawn
from mcdev.figures.saving import save
from mcdev.figures.style import styled
from mcdev.files.html import escaped, page
from mcdev.schema import nearest


class Pictures(dict[str, Figure]):
    """Name → matplotlib figure. A notebook shows them all."""

    def __repr__(self) -> str:
        return f"<pictures: {', '.join(self) or 'none'}>"

    def _repr_html_(self) -> str:
        return "".join(page(name, f'<img alt="{escaped(name)}" src="{_inline(one)}">') for name, one in self.items())

    def save(self, folder: str | Path, format: str = "png") -> list[Path]:
        """Write each as ``NAME.format`` into a folder, which is made if need be: png, svg or pdf."""
        if format not in FORMATS:
            raise ConfigError([Problem("format", format, f"expected one of {', '.join(FORMATS)}")], "pictures")
        return [save(figure, folder, name, format) for name, figure in self.items()]


def draw(
    tree: xr.DataTree,
    folder: str | Path | None = None,
    only: str | Iterable[str] = (),
    format: str = "png",
    style: str = "single",
) -> Pictures:
    """The pictures that apply to the results of a run or a calibration: name → matplotlib figure.

    ``folder``: where they are also written, as ``format``: png, svg or pdf. ``style``: single or double, as wide as one
    column of a journal or as both; no type in them is below 7 pt. ``only``: the names of those that are wanted. What is
    left out, and why, is a warning. Raises ``ConfigError`` for a name that no picture has.
    """
    if style not in STYLES:
        raise ConfigError([Problem("style", style, f"expected one of {', '.join(STYLES)}")], "pictures")
    wanted = (only,) if isinstance(only, str) else tuple(only)
    made = Pictures(drawn(tree, lambda why: warnings.warn(why, stacklevel=3), wanted))
    for figure in made.values():
        styled(figure, style)
    if folder is not None:
        made.save(folder, format)
    return made


def plot(tree: xr.DataTree, only: str | Iterable[str] = ()) -> None:
    """Show the pictures of :func:`draw`: in a notebook below the cell, else in windows, which a script waits for."""
    made = draw(tree, only=only)
    try:
        from IPython import display, get_ipython
    except ImportError:
        shell = None
    else:
        shell = get_ipython()
    if shell is not None and "IPKernelApp" in shell.config:
        display.display(made)
        return
    from matplotlib import pyplot  # chooses a window system as it is imported

    for name, figure in made.items():
        pyplot.figure(name, FigureClass=cast(type[Figure], lambda *_, _own=figure, **__: _own))
    pyplot.show()


def draw_panel(tree: xr.DataTree, name: str, axes: Axes, of: str | None = None) -> None:
    """Draw one picture into axes of one's own: those that have one panel for each measurement or fit.

    ``name``: of the picture; ``of``: the measurement or fit, which may be left out where there is one only. Raises
    ``ConfigError`` for a picture that has other panels, and for a measurement that it does not show.
    """
    single: dict[str, Any] = {picture.NAME: picture for picture in PICTURES if hasattr(picture, "panel")}
    if name not in single:
        raise ConfigError([Problem(name, None, f"no picture of one panel; {nearest(name, single)}")], "pictures")
    picture = single[name]
    shown = list(picture.panels(tree)) if picture.applies(tree) else []
    if not shown:
        raise ConfigError([Problem(name, None, "does not apply to these results")], "pictures")
    if of is None and len(shown) > 1:
        raise ConfigError([Problem(name, None, f"shows {', '.join(shown)}: say which by of = …")], "pictures")
    if of is not None and of not in shown:
        raise ConfigError([Problem(name, of, f"is not shown by this picture; {nearest(of, shown)}")], "pictures")
    picture.panel(tree, of or shown[0], axes)


def _inline(figure: Figure) -> str:
    with io.BytesIO() as temporary:
        figure.savefig(temporary, format="png", dpi=130)
        return f"data:image/png;base64,{base64.b64encode(temporary.getvalue()).decode()}"
