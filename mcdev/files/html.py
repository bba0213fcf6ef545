"""HTML for notebooks: tables, and parts that fold. Every text in it is shown as it is written."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from mcdev.files.plain_text import visible

_LONGEST = 300
_CELL = "text-align:left;padding:0 1em 0 0;vertical-align:top"


def escaped(text: object, most: int = _LONGEST) -> str:
    """A text in one that HTML does not run, cut where it is long."""
    plain = visible(str(text))
    return html.escape(plain if len(plain) <= most else plain[: most - 1] + "…")


def bullets(lines: Iterable[object], most: int = 2000) -> str:
    """A list of sentences."""
    return f"<ul>{''.join(f'<li>{escaped(line, most)}</li>' for line in lines)}</ul>"


def table(rows: Iterable[Sequence[object]], headings: Sequence[str] = ()) -> str:
    """A table of texts; a row's last cell is in grey where there are no headings: it says what the others mean."""
    head = "".join(f'<th style="{_CELL}">{escaped(word)}</th>' for word in headings)
    lines = [f"<tr>{head}</tr>"] if headings else []
    for row in rows:
        grey = "" if headings else ";opacity:0.6"
        styles = [_CELL] * (len(row) - 1) + [_CELL + grey]
        cells = (f'<td style="{style}">{escaped(cell)}</td>' for cell, style in zip(row, styles, strict=True))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def part(title: object, body: str, unfolded: bool = False) -> str:
    """A part that folds; ``body`` is HTML."""
    return f"<details{' open' if unfolded else ''}><summary>{escaped(title)}</summary>{body}</details>"


def page(title: object, *parts: str) -> str:
    """A title and parts, as a notebook shows them."""
    return f"<div><b>{escaped(title)}</b>{''.join(parts)}</div>"
