"""The pictures of a run. A new one: its file, and a line in ``PICTURES``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import xarray as xr
from matplotlib.figure import Figure

from mcdev.configuration.plugins import loaded, reason
from mcdev.configuration.problems import ConfigError, Problem
from mcdev.figures import (
    along_axis,
    arrhenius,
    calibration,
    cycle_traces,
    device_to_device,
    distributions,
    exponential_fits,
    impedance,
    interspike_intervals,
    interval,
    ion_profiles,
    learning_map,
    loops,
    paired_pulse,
    probability,
    pulse_response,
    raster,
    rate_change,
    rate_curve,
    read_margin,
    recovery,
    regularity,
    scatter_matrix,
    side_by_side,
    srdp,
    stdp_window,
    survival,
    train_response,
    waveform,
)
from mcdev.figures.saving import save
from mcdev.results.unknown_kinds import NeedsPlugin
from mcdev.schema import file_names, nearest


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
    stdp_window,
    srdp,
    learning_map,
    raster,
    interspike_intervals,
    rate_curve,
    regularity,
    read_margin,
    along_axis,
    ion_profiles,
    arrhenius,
    waveform,
    distributions,
    probability,
    survival,
    scatter_matrix,
    device_to_device,
    cycle_traces,
)

Say = Callable[[str], None]


def draw_all(
    tree: xr.DataTree,
    folder: str | Path,
    left_out: Say = lambda why: None,
    form: str = "png",
    only: Collection[str] = (),
    style: str = "single",
) -> list[Path]:
    """Write every picture that applies as ``NAME.png`` into a folder, which is made if need be; those of plugins, too.
    ``form``: one of ``FORMATS``; ``only``: names of the pictures that are wanted; ``style``: one of ``STYLES``.

    Each is written to a temporary name and renamed. Raises ``ResultsError`` where the folder cannot be written.
    ``left_out`` is told of pictures that need a plugin which is not loaded, and of plugins' pictures that fail.
    """
    return [save(figure, folder, name, form, style) for name, figure in drawn(tree, left_out, only)]


def drawn(
    tree: xr.DataTree, left_out: Say = lambda why: None, only: Collection[str] = ()
) -> Iterator[tuple[str, Figure]]:
    """Name and figure of every picture that applies, or of those named in ``only``. Raises ``ConfigError`` for a name
    that no picture has; one that does not apply is told to ``left_out``."""
    if "mcdev_calibration_version" in tree.attrs:
        yield from _chosen(list(calibration.pictures(tree)), only)
        return
    check_names(only)
    for picture in PICTURES:
        if only and picture.NAME not in only:
            continue
        try:
            figure = picture.draw(tree) if picture.applies(tree) else None
        except NeedsPlugin as error:
            left_out(f"the picture {picture.NAME} is left out: {error}{_named(tree)}")
            continue
        if figure is not None:
            yield picture.NAME, figure
        elif only:
            left_out(f"the picture {picture.NAME} does not apply to these results")
    for plugin in loaded():
        for picture in plugin.pictures:
            if only and picture.NAME not in only:
                continue
            try:
                figure = picture.draw(tree) if picture.applies(tree) else None
            except Exception as error:  # a stranger's code; the run is done, and its other pictures are wanted
                left_out(f"the picture {picture.NAME} of {plugin.source.name} is left out: {reason(error, plugin)}")
                continue
            if figure is not None:
                yield picture.NAME, figure


def names() -> list[str]:
    """Of all pictures of a run, plugins' included."""
    return [p.NAME for p in PICTURES] + [str(p.NAME) for plugin in loaded() for p in plugin.pictures]


def check_names(only: Collection[str]) -> None:
    """Raises ``ConfigError`` for names that no picture has."""
    _check(only, names())


def _check(only: Collection[str], known: Sequence[str]) -> None:
    wrong = [Problem(name, None, f"no such picture; {nearest(name, known)}") for name in only if name not in known]
    if wrong:
        raise ConfigError(wrong, "pictures")


def _chosen(pictures: Sequence[tuple[str, Figure]], only: Collection[str]) -> Iterator[tuple[str, Figure]]:
    _check(only, [name for name, _ in pictures])
    return ((name, figure) for name, figure in pictures if not only or name in only)


def _named(tree: xr.DataTree) -> str:
    """The plugins of a run, in brackets."""
    names = [line.split(" ")[0] for line in str(tree.attrs.get("plugins", "")).splitlines()]
    return f" ({', '.join(names)})" if names else ""


def draw_study(
    trees: dict[tuple[str, str], xr.DataTree], folder: Path, form: str = "png", style: str = "single"
) -> list[Path]:
    """Write ``RUN_side_by_side.png`` for each run whose variants can be compared; keys are (run, variant)."""
    written = []
    names = file_names([run for run, _ in trees])
    for run, file in names.items():
        variants = {variant: tree for (name, variant), tree in trees.items() if name == run}
        if side_by_side.applies(variants):
            written.append(save(side_by_side.draw(variants), folder, f"{file}_{side_by_side.NAME}", form, style))
    return written


def draw_calibration(
    tree: xr.DataTree, folder: Path, form: str = "png", only: Collection[str] = (), style: str = "single"
) -> list[Path]:
    """Write the pictures of a calibration's results, or those named in ``only``."""
    return [save(figure, folder, name, form, style) for name, figure in drawn(tree, only=only)]
