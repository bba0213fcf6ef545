"""What the command line prints: the tables of a run, a study and a calibration."""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import measure_renderables
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from mcdev.files.plain_text import visible
from mcdev.simulation.rounding import resolved


class _Outlet:
    """A text stream that may end before the program does: a closed pipe, a full disk. What it can no longer take is
    dropped, so that nothing that is being computed or written elsewhere is lost for it; what its encoding has no letter
    for is written out (``\\u03c4``)."""

    def __init__(self, stream: Any):
        self._stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text))
        except OSError as error:
            self._drop(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Remember why, and put nowhere what is still to come, Python's own last flush included."""
        self.failure = self.failure or error
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def outlets() -> Iterator[_Outlet]:
    """Standard output and error as :class:`_Outlet` while the program runs; yields the one of standard output."""
    before, made = (sys.stdout, sys.stderr), []
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        for given in before:
            stream = nowhere if given is None else given  # None: closed before the program began
            if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")
            made.append(_Outlet(stream))
        sys.stdout, sys.stderr = made
        try:
            yield made[0]
        finally:
            for outlet in made:
                outlet.flush()
            sys.stdout, sys.stderr = before


_LOUD = ("error", "warning", "set aside", "trouble")


class Screen(Console):
    """A terminal, or what stands for one, that text cannot steer. What mcdev prints may come from a file that somebody
    else made: nothing in it is a mark of style or a picture, and its control characters are written out. This is
    the one way to the terminal; a style is given beside the text, never in it."""

    def __init__(self, stderr: bool = False, width: int | None = None):
        super().__init__(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)
        self.hushed = False
        """Whether only what goes wrong is said, and where results are (``--quiet``)."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)

    def say(self, text: str, word: str = "", style: str = "") -> None:
        """A line that the terminal may wrap, after a word in a style: ``warning: …``."""
        if self.hushed and word not in _LOUD:
            return
        start = Text(f"{visible(word)}: ", style=style) if word else Text()
        self.print(Text.assemble(start, visible(text)), soft_wrap=True)

    def answer(self, text: str, plain: str) -> None:
        """What a command is called for: in words, or where it is hushed ``plain``, for a script."""
        self.print(Text(visible(plain if self.hushed else text)), soft_wrap=True)

    def table(self, table: Table) -> None:
        """A table; where the terminal is too narrow for its columns, one value a line, so that none is cut off."""
        if self.hushed:
            return
        roomy = self.options.update(width=10_000)
        fits = [
            measure_renderables(self, roomy, [column.header, *column.cells])[0 if not column.no_wrap else 1]
            for column in table.columns
        ]
        if sum(fits) + 2 * len(fits) <= self.width or not table.row_count:
            self.print(table)
            return
        for text in (table.title, *_records(table), table.caption):
            if text is not None:
                self.say(str(text))


def _records(table: Table) -> Iterable[str]:
    """A table's rows, one value a line, the first without its heading."""
    headings = [str(column.header) for column in table.columns]
    for row in zip(*(column.cells for column in table.columns), strict=True):
        first, *rest = row
        yield f"\n{first}"
        yield from (f"  {heading}: {cell}" for heading, cell in zip(headings[1:], rest, strict=True) if str(cell))


# Into a file or a pipe tables are as wide as they need, not as a terminal would be, unless COLUMNS says how wide.
_LONG = 25
"""Rows after which a table ends in a summary."""
_PIPE = None if "COLUMNS" in os.environ else 132
STDOUT = Screen(width=None if sys.stdout is None or sys.stdout.isatty() else _PIPE)
STDERR = Screen(stderr=True)


def print_study(plan: Any, rows: list[Any]) -> None:
    """Published numbers of a study beside those of each variant."""
    beside = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("quantity", "at", "published"):
        beside.add_column(heading, no_wrap=True)
    for variant in plan.study.variants:
        beside.add_column(variant, no_wrap=True)
        beside.add_column("error", justify="right", no_wrap=True)
    said: list[str] = []
    for row in rows:
        unit = "" if row.unit == "1" else f" {row.unit}"
        target = row.published if isinstance(row.published, str) else f"{row.published:.4g}"
        cells = [row.quantity, ", ".join(row.point.values()), target + unit]
        for entry in row.entries.values():
            mark = ""
            if entry.note:
                if entry.note not in said:
                    said.append(entry.note)
                mark = f" ({said.index(entry.note) + 1})"
            cells.append(_number(entry.value, 4) + unit)
            cells.append(("-" if entry.deviation is None else f"{100 * entry.deviation:+.1f} %") + mark)
        beside.add_row(*map(visible, cells))
    STDOUT.table(beside)
    for number, note in enumerate(said, start=1):
        STDOUT.say(f"({number}) {note}")


def print_calibration(tree: Any) -> None:
    """Targets, parameters, models and conclusions of a calibration."""
    targets, parameters = tree["targets"].dataset, tree["parameters"].dataset
    beside = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("target", "reported", "simulated", "pull"):
        beside.add_column(heading, no_wrap=heading != "target")
    for i, label in enumerate(targets["target"].values):
        t = {name: targets[name].values[i] for name in targets.data_vars}
        unit = "" if t["unit"] == "1" else f" {t['unit']}"
        pull = (f"{t['pull']:+.2f}" if math.isfinite(t["pull"]) else "-") + (
            " (not fitted)" if t["weight"] == 0 else ""
        )
        error = float(t["simulated_error"]) or None
        beside.add_row(
            visible(str(label)),
            with_error(float(t["reported"]), float(t["uncertainty"]) or None) + unit,
            with_error(float(t["simulated"]), error) + unit,
            pull,
        )
    if targets.sizes["target"]:
        STDOUT.table(beside)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("parameter", "fitted", "95 % interval", "relative s.d.", ""):
        table.add_column(heading, no_wrap=True)
    for i, label in enumerate(parameters["parameter"].values):
        p = {name: parameters[name].values[i] for name in ("unit", "value", "low", "high", "sd", "determined")}
        unit = "" if p["unit"] == "1" else f" {p['unit']}"
        interval = f"{p['low']:.4g} … {p['high']:.4g}"
        sd = f"{100 * p['sd']:.3g} %" if p["sd"] < 10 else "-"
        table.add_row(visible(str(label)), f"{p['value']:.4g}{unit}", interval, sd, "" if p["determined"] else "weak")
    STDOUT.table(table)
    if "models" in tree:
        compared = Table("model", "parameters", "numbers", "χ²", "worst", "AIC", "AICc", "BIC", box=SIMPLE_HEAD)
        models = tree["models"].dataset
        for i, name in enumerate(models["model"].values):
            numbers = [models[n].values[i] for n in ("chi_square", "worst", "aic", "aicc", "bic")]
            counts = [str(int(models[n].values[i])) for n in ("parameters", "numbers")]
            compared.add_row(visible(str(name)), *counts, *(f"{x:.3g}" for x in numbers))
        STDOUT.table(compared)
    singular = ", ".join(f"{s:.3g}" for s in parameters["singular_value"].values)
    STDOUT.say(f"singular values (derivatives of the deviations by ln x): {singular}")
    if "starts" in tree:
        STDOUT.say(f"loss at the end of each start: {', '.join(f'{x:.4g}' for x in tree['starts/loss'].values)}")
    for line in tree.attrs["conclusions"].split("\n"):
        if line:
            STDOUT.say(f"- {line}")


def print_tables(tree: Any, records: list[dict[str, Any]], every_entry: bool = False) -> None:
    """Statistics, fits and published numbers of a run; of long lists a few entries, unless all are asked for."""
    from mcdev import statistics
    from mcdev.results.tree import experiment_of
    from mcdev.schema.units import displayed, readable
    from mcdev.statistics.screen import at_point

    references = experiment_of(tree).output.reference
    axes = list(records[0]["point"]) if records else []
    all_counts = {"n_censored": "censored", "n_undefined": "undefined", "n_failed": "failed"}
    counts = {key: name for key, name in all_counts.items() if any(record[key] for record in records)}
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("measurement", *axes, "n", *counts.values()):
        table.add_column(heading, overflow="fold")
    for heading in ("mean ± s.e.", "CV", "median", "5-95 %"):
        table.add_column(heading, no_wrap=True)
    hidden = 0
    for record in records:
        if not every_entry and not _worth_a_row(record["measurement"], records):
            hidden += 1
            continue
        unit, scale = _prefixed(record, references)
        low, median, high = (_number(record[key], scale=scale) for key in ("q05", "median", "q95"))
        table.add_row(
            visible(record["measurement"] + unit),
            *at_point(record["point"]),
            str(record["n"]),
            *(str(record[key]) for key in counts),
            with_error(record["mean"], record["sem"], scale),
            _number(record["cv"], 2),
            median,
            f"{low} … {high}",
        )
    STDOUT.table(table)
    if hidden:
        STDOUT.say(f"{hidden} more rows are shown by mcdev stats RUN")
    if table.row_count > _LONG:
        STDOUT.say(_summary(records))
    if counts:
        STDOUT.say(f"mean and CV are of the values that are not {' or '.join(counts.values())}")
    if "n_censored" in counts:
        STDOUT.say(
            "censored: only a bound of the value is known; it counts in median and quantiles, but not in the mean"
        )
    for record in statistics.fit_records(tree):
        curve = f" ({record['curve']})" if record["curve"] else ""
        STDOUT.say(
            f"fit {record['fit']}{curve}: {record['meaning']} = "
            f"{with_error(record['value'], record['standard_error'])} {record['unit'].replace('1', '')} "
            f"({record['note']})"
        )
    compared = statistics.compare(tree)
    if compared:
        beside = Table("quantity", "published", "mcdev", "source", box=SIMPLE_HEAD, pad_edge=False)
        for record in compared:
            where = ", ".join(f"{axis} {readable(value)}" for axis, value in record["point"].items())
            unit = "" if record["unit"] == "1" else f" {displayed(record['unit'])}"
            beside.add_row(
                visible(record["what"] + (f" at {where}" if where else "")),
                visible(published(record) + unit),
                with_error(record["ours"], record["error"]),
                visible(record["source"]),
            )
        STDOUT.table(beside)


def _summary(records: list[dict[str, Any]]) -> str:
    """What a long table is of, in one line."""
    names = dict.fromkeys(record["measurement"].partition("[")[0] for record in records)
    points = {tuple(record["point"].items()) for record in records}
    wrong = {"n_censored": "censored", "n_undefined": "undefined", "n_failed": "failed"}
    sums = [f"{n} {word}" for key, word in wrong.items() if (n := sum(record[key] for record in records))]
    of = f" at {len(points)} sweep points" if len(points) > 1 else ""
    values = sum(record["n"] for record in records)
    return f"{len(records)} rows: {', '.join(names)}{of}; {values} values{', ' if sums else ''}{', '.join(sums)}"


def _worth_a_row(label: str, records: list[dict[str, Any]]) -> bool:
    """Of a list, entries 1, 2, 4, 7, 10, 20, 40, 70, … and the last."""
    name, bracket, entry = label.partition("[")
    if not bracket:
        return True
    number = int(entry.rstrip("]"))
    last = sum(1 for r in records if r["measurement"].startswith(f"{name}[") and r["point"] == records[0]["point"])
    return number == last or number / 10 ** int(math.log10(number)) in (1, 2, 4, 7)


def published(record: dict[str, Any]) -> str:
    """A published value, or what is published in words."""
    value = record["published"]
    return value if isinstance(value, str) else f"{value:g}"


def _prefixed(record: dict[str, Any], references: Iterable[Any] = ()) -> tuple[str, float]:
    """Unit in brackets, and the number that one such unit is: the unit of a published value if there is one, else with
    the prefix that suits the value."""
    from mcdev.configuration.reference import unit_chosen
    from mcdev.schema.units import converted, customary, displayed

    if (chosen := unit_chosen(references, record["measurement"].partition("[")[0], record["unit"])) != record["unit"]:
        return f" ({displayed(chosen)})", converted(1.0, chosen, record["unit"])
    size = abs(record["mean"] or record["median"] or 1.0)
    if record["unit"] == "1":
        return "", 1.0
    if "/" in record["unit"] or "^" in record["unit"]:
        usual, ratio = customary(record["unit"], size)
        return f" ({displayed(usual)})", 1.0 / ratio
    for prefix, scale in (("", 1.0), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9)):
        if size >= 0.1 * scale:
            return f" ({prefix}{record['unit']})", scale
    return f" ({record['unit']})", 1.0


def _number(value: float | None, digits: int = 3, scale: float = 1.0) -> str:
    return "-" if value is None else f"{value / scale:.{digits}g}"


def with_error(value: float | None, error: float | None, scale: float = 1.0) -> str:
    """A value to the second digit of its standard error; ``3.335 ± 0`` where there is no spread beyond rounding."""
    if value is None:
        return "-"
    value, error = value / scale, None if error is None else error / scale
    if error is None or not math.isfinite(error) or error < 0:
        return f"{value:.4g}"
    if resolved(error, value) == 0:
        return f"{value:.4g} ± 0"
    digits = 1 - math.floor(math.log10(error))
    if abs(value) >= 1e5 or (value != 0 and abs(value) < 1e-3):
        power = math.floor(math.log10(abs(value))) if value else 0
        scale = 10.0**power
        return f"({value / scale:.{max(digits + power, 0)}f} ± {error / scale:.{max(digits + power, 0)}f})e{power}"
    return f"{value:.{max(digits, 0)}f} ± {error:.{max(digits, 0)}f}"
