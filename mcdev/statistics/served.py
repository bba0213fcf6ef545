"""What ``mcdev stats`` does: results or a card in, text and files out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import xarray as xr

from mcdev.configuration.problems import ConfigError, Problem
from mcdev.files.whole_file import whole_file
from mcdev.results.file import read
from mcdev.results.one_point import at_point
from mcdev.statistics.card import Card, read_card, to_toml
from mcdev.statistics.card_of_run import make_card
from mcdev.statistics.draw import check_size, write_devices
from mcdev.statistics.summary import summarise
from mcdev.statistics.tables import long_csv, long_table, to_csv, to_json, write_parquet

FORMATS = ("table", "csv", "json", "long", "parquet")
_DEFAULT_FILE = "statistics.parquet"
_REMARKS = 20


def check_format(name: str, out: Path | None) -> None:
    """Raises ``ConfigError`` where there is no such format, or a table of the terminal is asked for as a file."""
    if name not in FORMATS:
        raise _usage(f"--format {name}", None, f"expected {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    if name == "parquet" and out is None:
        raise _usage("--format parquet", None, f"a Parquet file is no text; add --out {_DEFAULT_FILE}")


def is_card(path: Path) -> bool:
    """Whether a path names a model card rather than results: a TOML file."""
    return path.suffix == ".toml" and not path.is_dir()


def open_run(path: Path, point: int | None = None) -> tuple[xr.DataTree, list[dict[str, Any]]]:
    """Results and their records, or those at one sweep point, from one. Raises ``ResultsError``, and ``ConfigError``
    where there is no such point."""
    tree = read(path) if point is None else at_point(read(path), point)
    return tree, summarise(tree)


def serve(
    path: Path, card: Path | None, resample: int | None, seed: int, out: Path | None
) -> tuple[list[str], list[str]]:
    """Write the card of a run (``card``), or draw devices from a card or a run's card (``resample``), as CSV into a
    file or to standard output. In words, which files were written; and what a reader must know of the card: numbers
    that drawn devices do not have, families that are not determined. Raises ``ConfigError`` and ``ResultsError``."""
    if is_card(path) and resample is None:
        read_card(path)
        raise _usage(
            str(path), None, "is a model card, which holds no results; draw devices from it with --resample 1000"
        )
    found = read_card(path) if is_card(path) else make_card(read(path))
    if resample is not None:
        check_size(found, resample)
    written, points = [], f"{len(found.points)} sweep point{'s' if len(found.points) > 1 else ''}"
    if card is not None:
        _write(to_toml(found), card)
        written.append(f"written: {card} (model card of {points})")
    if resample is not None:
        _draw(found, resample, seed, out)
        if out is not None:
            written.append(f"written: {out} ({resample} devices drawn with seed {seed} at {points})")
    return written, _remarks(found)


def _remarks(card: Card) -> list[str]:
    found: dict[str, None] = {}
    for point in card.points:
        where = ", ".join(f"{axis} = {value}" for axis, value in point.point.items())
        for text in point.not_drawn:
            found[f"drawn devices differ from the card{f' at {where}' if where else ''}: {text}"] = None
        for name, q in point.quantities.items():
            if q.assumed:
                found[f"{name}: {point.devices} devices do not determine its family; taken: {q.family}"] = None
    more = [f"and {len(found) - _REMARKS} more remarks, in the card"] if len(found) > _REMARKS else []
    return [*list(found)[:_REMARKS], *more]


def _draw(card: Card, devices: int, seed: int, out: Path | None) -> None:
    if out is None:
        write_devices(card, devices, seed, sys.stdout)
        return
    with whole_file(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        write_devices(card, devices, seed, file)


def export(tree: xr.DataTree, records: list[dict[str, Any]], name: str, out: Path | None) -> None:
    """The statistics in one of ``FORMATS`` but ``table``, into a file or to standard output."""
    if name == "parquet" and out is not None:
        write_parquet(long_table(tree, records), out)
        return
    if name == "csv":
        text = to_csv(records)
    elif name == "json":
        text = to_json(records) + "\n"
    else:
        text = long_csv(long_table(tree, records))
    if out is None:
        sys.stdout.write(text)
    else:
        _write(text, out)


def _write(text: str, path: Path) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _usage(key: str, value: Any, message: str) -> ConfigError:
    return ConfigError([Problem(key, value, message)], "mcdev stats")
