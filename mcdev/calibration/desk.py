"""A calibration's folder: begun, gone on with, finished.

evaluations/      every evaluation, one file each
job.json          fingerprint of the configuration and its files
calibration.h5, fitted.toml, fitted/, targets.csv, parameters.csv     at the end
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import xarray as xr

from mcdev.calibration import report
from mcdev.calibration.calibrate import calibrate
from mcdev.calibration.plan import Plan
from mcdev.calibration.search import Step
from mcdev.provenance import code_version
from mcdev.results import ResultsError, time_stamp


def fingerprint(plan: Plan) -> str:
    """Changes with anything that can change a result, measured curves and the code included."""
    kept = {k: v for k, v in plan.data.items() if k not in ("description", "notes", "directory")}
    text = json.dumps(kept, sort_keys=True, default=str).encode()
    for trace in plan.traces:
        text += trace.time.tobytes() + trace.voltage.tobytes() + trace.current.tobytes()
    text += json.dumps({"/".join(pair): e.hash for pair, e in plan.experiments.items()}, sort_keys=True).encode()
    return hashlib.sha256(text + code_version().encode()).hexdigest()


def folder_name(plan: Plan) -> str:
    """Name of a new calibration's folder: name, UTC time, fingerprint."""
    return f"{plan.job.name}-{time_stamp()}-{fingerprint(plan)[:8]}"


def begin(plan: Plan, folder: Path) -> None:
    """Make a folder one of this plan."""
    (folder / "evaluations").mkdir(exist_ok=True)
    (folder / "job.json").write_text(json.dumps({"fingerprint": fingerprint(plan)}), encoding="utf-8")


def check(plan: Plan, folder: Path) -> None:
    """Raises ``ResultsError`` where this folder holds no calibration of this very plan."""
    try:
        begun = json.loads((folder / "job.json").read_text(encoding="utf-8"))["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ResultsError(f"{folder} holds no calibration that was begun; leave out --resume") from None
    if begun != fingerprint(plan):
        raise ResultsError(
            f"{folder} was begun with another configuration or another version of the code; give those it was begun "
            "with, or begin anew without --resume"
        )
    (folder / "evaluations").mkdir(exist_ok=True)


def work(plan: Plan, folder: Path, say: Callable[[str], None]) -> xr.DataTree:
    """Calibrate and write everything; what was computed before is repeated from the folder."""

    def progress(phase: str, step: Step | None) -> None:
        if step is None:
            say(f"{plan.job.name}: {phase}")
            return
        starts = plan.job.search.starts.number
        worst = f", worst: {step.worst}" if step.worst else ""
        say(
            f"{plan.job.name}: {phase}, start {step.start + 1} of {starts}, stage {step.stage + 1}, {step.optimiser} "
            f"step {step.step}, {step.devices} realisations, loss {step.loss:.4g}{worst}"
        )

    outcome = calibrate(plan, folder / "evaluations", progress)
    tree = report.assemble(outcome, tomli_w.dumps(_plain(plan.data)))
    report.write(tree, folder)
    report.write_fitted(outcome, folder)
    _tables(tree, folder)
    return tree


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def _tables(tree: xr.DataTree, folder: Path) -> None:
    for group, key, columns in (
        ("targets", "target", ("unit", "reported", "uncertainty", "simulated", "simulated_error", "pull", "source")),
        ("parameters", "parameter", ("unit", "value", "low", "high", "sd", "determined", "start")),
    ):
        data = tree[group].dataset
        with (folder / f"{group}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([key, *columns])
            for i, label in enumerate(data[key].values):
                writer.writerow([label, *(data[column].values[i] for column in columns)])
