"""What the command line prints: the tables of a run, a study and a calibration."""

from __future__ import annotations

import math
import sys
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mcdev.rounding import resolved

# Into a file or a pipe tables are as wide as they need, not as a terminal would be.
STDOUT = Console(highlight=False, width=None if sys.stdout.isatty() else 132)
STDERR = Console(stderr=True, highlight=False)


def plain(text: str) -> str:
    """Text in which square brackets are brackets, not marks for the terminal."""
    return text.replace("[", r"\[")


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
        beside.add_row(*(plain(cell) for cell in cells))
    STDOUT.print(beside)
    for number, note in enumerate(said, start=1):
        STDOUT.print(f"({number}) {plain(note)}", soft_wrap=True)


def print_calibration(tree: Any) -> None:
    """Targets, parameters, models and conclusions of a calibration."""
    targets, parameters = tree["targets"].dataset, tree["parameters"].dataset
    beside = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("target", "reported", "simulated", "pull"):
        beside.add_column(heading, no_wrap=heading != "target")
    for i, label in enumerate(targets["target"].values):
        t = {name: targets[name].values[i] for name in targets.data_vars}
        unit = "" if t["unit"] == "1" else f" {t['unit']}"
        pull = f"{t['pull']:+.2f}" + (" (not fitted)" if t["weight"] == 0 else "")
        error = float(t["simulated_error"]) or None
        beside.add_row(
            plain(str(label)),
            with_error(float(t["reported"]), float(t["uncertainty"])) + unit,
            with_error(float(t["simulated"]), error) + unit,
            pull,
        )
    if targets.sizes["target"]:
        STDOUT.print(beside)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("parameter", "fitted", "95 % interval", "relative s.d.", ""):
        table.add_column(heading, no_wrap=True)
    for i, label in enumerate(parameters["parameter"].values):
        p = {name: parameters[name].values[i] for name in ("unit", "value", "low", "high", "sd", "determined")}
        unit = "" if p["unit"] == "1" else f" {p['unit']}"
        interval = f"{p['low']:.4g} … {p['high']:.4g}"
        sd = f"{100 * p['sd']:.3g} %" if p["sd"] < 10 else "-"
        table.add_row(plain(str(label)), f"{p['value']:.4g}{unit}", interval, sd, "" if p["determined"] else "weak")
    STDOUT.print(table)
    if "models" in tree:
        compared = Table("model", "parameters", "numbers", "χ²", "worst", "AIC", "AICc", "BIC", box=SIMPLE_HEAD)
        models = tree["models"].dataset
        for i, name in enumerate(models["model"].values):
            numbers = [models[n].values[i] for n in ("chi_square", "worst", "aic", "aicc", "bic")]
            counts = [str(int(models[n].values[i])) for n in ("parameters", "numbers")]
            compared.add_row(plain(str(name)), *counts, *(f"{x:.3g}" for x in numbers))
        STDOUT.print(compared)
    singular = ", ".join(f"{s:.3g}" for s in parameters["singular_value"].values)
    STDOUT.print(f"singular values (deviations by ln x): {singular}", soft_wrap=True)
    STDOUT.print(f"loss at the end of each start: {', '.join(f'{x:.4g}' for x in tree['starts/loss'].values)}")
    for line in tree.attrs["conclusions"].split("\n"):
        if line:
            STDOUT.print(f"- {plain(line)}", soft_wrap=True)


def print_tables(tree: Any, records: list[dict[str, Any]], every_entry: bool = False) -> None:
    """Statistics, fits and published numbers of a run; of long lists a few entries, unless all are asked for."""
    from mcdev import statistics

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
        unit, scale = _prefixed(record)
        low, median, high = (_number(record[key], scale=scale) for key in ("q05", "median", "q95"))
        table.add_row(
            plain(record["measurement"]) + unit,
            *record["point"].values(),
            str(record["n"]),
            *(str(record[key]) for key in counts),
            with_error(record["mean"], record["sem"], scale),
            _number(record["cv"], 2),
            median,
            f"{low} … {high}",
        )
    STDOUT.print(table)
    if hidden:
        STDOUT.print(f"{hidden} more rows: mcdev stats RUN")
    if counts:
        STDOUT.print(f"mean and CV: of those of n that are not {' or '.join(counts.values())}")
    if "n_censored" in counts:
        STDOUT.print("censored: only a bound is known; they enter median and quantiles, not the mean")
    for record in statistics.fit_records(tree):
        curve = f" ({record['curve']})" if record["curve"] else ""
        STDOUT.print(
            f"fit {record['fit']}{plain(curve)}: {record['meaning']} = "
            f"{with_error(record['value'], record['standard_error'])} {record['unit'].replace('1', '')} "
            f"({record['note']})",
            soft_wrap=True,
        )
    references = statistics.compare(tree)
    if references:
        beside = Table("quantity", "published", "mcdev", "source", box=SIMPLE_HEAD, pad_edge=False)
        for record in references:
            where = ", ".join(f"{axis} {value}" for axis, value in record["point"].items())
            unit = "" if record["unit"] == "1" else f" {record['unit']}"
            beside.add_row(
                plain(record["what"] + (f" at {where}" if where else "")),
                published(record) + unit,
                with_error(record["ours"], record["error"]),
                plain(record["source"]),
            )
        STDOUT.print(beside)


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


def _prefixed(record: dict[str, Any]) -> tuple[str, float]:
    """Unit in brackets with the prefix that suits the value, and the number that one such unit is."""
    size = abs(record["mean"] or record["median"] or 1.0)
    if record["unit"] == "1":
        return "", 1.0
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
