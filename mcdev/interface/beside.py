"""Two results side by side, on the terminal and in a folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from mcdev.configuration.problems import ConfigError
from mcdev.files.plain_text import visible
from mcdev.files.whole_file import whole_file
from mcdev.interface.terminal import STDERR, STDOUT
from mcdev.schema import file_name
from mcdev.statistics.components import Estimate
from mcdev.statistics.populations import Beside, Together, compare_populations, correlations, to_csv
from mcdev.statistics.screen import at_point

_MATRICES = 2
"""Sweep points whose correlations are shown."""


def print_beside(first: Any, second: Any, runs: Sequence[Path], out: Path | None, form: str) -> None:
    """Tables of what two results have in common, a picture a measurement, and the table as CSV; a note where they have
    nothing in common."""
    names = _names(runs)
    try:
        found = compare_populations(first, second)
    except ConfigError as error:
        for problem in error.problems:
            STDERR.say(f"the populations are not compared: {problem}", "note")
        return
    STDOUT.table(_populations(found, names))
    points = list(dict.fromkeys(beside.pair.first.index for beside in found))[:_MATRICES]
    together = correlations([beside.pair for beside in found if beside.pair.first.index in points])
    if together:
        STDOUT.table(_together(together, names))
    folder = out or _place(runs[0]) / "figures" / f"beside_{file_name(names[1]) or 'other'}"
    from mcdev.figures.populations import draw_beside

    with whole_file(folder / "populations.csv") as temporary:
        temporary.write_text(to_csv(found, names), encoding="utf-8")
    for path in draw_beside(first, found, names, folder, form):
        STDOUT.say(f"figure: {path}")
    STDOUT.say(f"table: {folder / 'populations.csv'}")


def _place(run: Path) -> Path:
    return run if run.is_dir() else run.parent


def _names(runs: Sequence[Path]) -> tuple[str, str]:
    """What the two are called: by their folders, by their whole paths where these are alike."""
    one, other = (_place(run).resolve().name for run in runs)
    return (one, other) if one != other else (str(runs[0]), str(runs[1]))


def _populations(found: list[Beside], names: tuple[str, str]) -> Table:
    axes = list(found[0].pair.point)
    headings = ["measurement", *axes, "of", "n", "censored", "median (95 %)", "σ_ln D2D", "σ_ln C2C", "p"]
    least = min((b.difference.p for b in found if math.isfinite(b.difference.p)), default=math.nan)
    count = sum(math.isfinite(b.difference.p) for b in found)
    caption = (
        "σ_ln with 95 % intervals; in brackets where one cycle cannot tell D2D from C2C\n"
        "p: both are of one law and differ by chance alone (scores of censored observations, devices permuted)"
    )
    if count > 1 and least < 0.05:
        caption += f"\nof {count} comparisons one in twenty is below 0.05 by chance; below {0.05 / count:.2g} none is"
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption=caption, caption_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for beside in found:
        for name, one in zip(names, (beside.first, beside.second), strict=True):
            whole = one is beside.first
            unit = "" if beside.pair.first.unit == "1" else f" {beside.pair.first.unit}"
            p = beside.difference.p if whole else math.nan
            alone = math.isnan(one.logs.between.value) and math.isnan(one.logs.within.value)
            table.add_row(
                visible(beside.pair.label) if whole else "",
                *(at_point(beside.pair.point) if whole else [""] * len(axes)),
                visible(name),
                f"{one.n} of {one.devices} × {one.cycles}",
                str(one.censored),
                _with_interval(one.median) + unit,
                f"[{_with_interval(one.logs.total)}]" if alone else _with_interval(one.logs.between),
                "" if alone else _with_interval(one.logs.within),
                "" if math.isnan(p) else f"{p:.2g}",
            )
    return table


def _together(found: list[Together], names: tuple[str, str]) -> Table:
    axes = list(found[0].point)
    caption = "Pearson, of ln x where all are positive (95 %); p: both are equal"
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption=caption, caption_justify="left")
    for heading in ("correlation of", *axes, "level", *map(visible, names), "p"):
        table.add_column(heading, overflow="fold")
    for each in found:
        p = "" if math.isnan(each.p) else f"{each.p:.2g}"
        cells = (_with_interval(each.first), _with_interval(each.second))
        table.add_row(visible(" and ".join(each.names)), *at_point(each.point), each.level, *cells, p)
    return table


def _with_interval(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "-"
    if not math.isfinite(estimate.value):
        return "beyond what was observed"
    if math.isnan(estimate.low):
        return f"{estimate.value:.3g}"
    ends = ["?" if not math.isfinite(end) else f"{end:.3g}" for end in (estimate.low, estimate.high)]
    return f"{estimate.value:.3g} ({ends[0]} … {ends[1]})"
