"""What a report holds: choices, panels of curves, blocks of text and tables; and when each of them is shown.

Everything that depends on a choice has ``of``: name of a choice → number of the option. It is shown while all of these
options are chosen. A text in here is shown as it is written: it is no HTML, but for the body of a block.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from mcdev.files.html import escaped

Of = Mapping[str, int]
Look = Literal["line", "thin", "dashed", "dots", "band", "map", "dotted line"]


@dataclass(frozen=True)
class Choice:
    """Something that the reader chooses among."""

    name: str
    """What other things call it; unlike all others in a report."""
    title: str
    options: Sequence[str]
    begin: frozenset[int] = frozenset({0})
    """What is chosen at the beginning."""
    several: bool = True
    """Whether several options may be chosen at once."""
    of: Of = field(default_factory=dict)


@dataclass(frozen=True)
class Curve:
    """Points of one look, in the units of the panel's axes."""

    x: np.ndarray | Sequence[str]
    y: np.ndarray | Sequence[str]
    look: Look = "line"
    name: str = ""
    """What the legend and the pointer call it."""
    colour: str = "#0072B2"
    of: Of = field(default_factory=dict)
    texts: Sequence[str] = ()
    """What the pointer says of each point beside its place."""
    error: np.ndarray | None = None
    """Half the length of a bar about each y; of a band its lower ends; of a map its heights [y, x]."""
    across: bool = False
    """Whether the bars are about x."""
    key: bool = True
    """Whether it has a line in the legend."""


@dataclass(frozen=True)
class Panel:
    """One picture that can be zoomed."""

    title: str
    x: str
    y: str
    curves: Sequence[Curve]
    log_x: bool = False
    log_y: bool = False
    legend: str = ""
    """What the curves differ in: the title of the legend."""
    note: str = ""
    """A line below it: what is not shown, and how it is made."""
    of: Of = field(default_factory=dict)


class Column(NamedTuple):
    """One number of every point of a panel whose axes are chosen."""

    label: str
    values: np.ndarray
    positive: bool


@dataclass(frozen=True)
class Pairs:
    """A panel of dots whose axes are two of the columns, chosen by the reader."""

    title: str
    columns: Sequence[Column]
    """All of one length, of the dots one after another."""
    group: np.ndarray
    """Of each dot the option of the choice ``by``; all zero where there is none."""
    colours: Sequence[str]
    """Of each option."""
    texts: Sequence[str]
    """What the pointer says of each dot."""
    by: str = ""
    legend: str = ""
    begin: tuple[int, int] = (0, 1)
    note: str = ""
    of: Of = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """A part of the report that is no picture."""

    title: str
    body: str
    """HTML."""
    unfolded: bool = True
    of: Of = field(default_factory=dict)


@dataclass(frozen=True)
class Contents:
    """All of a report, or of a part of it."""

    choices: tuple[Choice, ...] = ()
    panels: tuple[Panel | Pairs, ...] = ()
    blocks: tuple[Block, ...] = ()

    def within(self, choice: str, option: int) -> Contents:
        """The same as a part of a larger report: shown while this option is chosen, with choices of its own."""

        def own(of: Of) -> dict[str, int]:
            return {choice: option} | {f"{name} {option}": chosen for name, chosen in of.items()}

        def inside(panel: Panel | Pairs) -> Panel | Pairs:
            if isinstance(panel, Pairs):
                return replace(panel, of=own(panel.of), by=panel.by and f"{panel.by} {option}")
            return replace(panel, of=own(panel.of), curves=[replace(c, of=own(c.of)) for c in panel.curves])

        return Contents(
            tuple(replace(c, name=f"{c.name} {option}", of=own(c.of)) for c in self.choices),
            tuple(inside(panel) for panel in self.panels),
            tuple(replace(block, of=own(block.of)) for block in self.blocks),
        )


class Cell(NamedTuple):
    """A cell of a table that is sorted by a number and not by its text."""

    text: str
    value: float


def sortable(headings: Sequence[str], rows: Iterable[Sequence[str | Cell]]) -> str:
    """A table as HTML, which is sorted by a click on a heading."""
    head = "".join(f'<th><button type="button">{escaped(word)}</button></th>' for word in headings)
    return f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{"".join(map(_row, rows))}</tbody></table>'


def _row(cells: Sequence[str | Cell]) -> str:
    return f"<tr>{''.join(map(_cell, cells))}</tr>"


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, Cell):
        value = f"{cell.value:.9g}" if np.isfinite(cell.value) else ""
        return f'<td class="number" data-value="{value}">{escaped(cell.text)}</td>'
    return f"<td>{escaped(cell)}</td>"
