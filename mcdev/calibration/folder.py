"""A calibration's folder: begun, gone on with, finished.

job.json          whose it is: its identity (`identity.py`) and configuration
evaluations/      every evaluation, one file each, its checksum in its name, its identity inside
simulations/      simulated data sets (`bank.py`), and network.npz, which has learnt from them; with [simulations]
calibration.h5, fitted.toml, fitted/, targets.csv, parameters.csv     at the end
posterior.nc, design.toml     where there are draws, and designed experiments
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import xarray as xr

from mcdev.calibration import draws, fitted, learnt
from mcdev.calibration import file as calibration_file
from mcdev.calibration import tree as calibration_tree
from mcdev.calibration.calibrate import calibrate
from mcdev.calibration.inference import infer
from mcdev.calibration.misfit import Evaluations
from mcdev.calibration.plan import Plan, load_job
from mcdev.calibration.search import Step
from mcdev.files.plain_text import CsvWriter
from mcdev.files.whole_file import ResultsError, whole_file
from mcdev.machine.identity import Identity, Origin
from mcdev.results.names import time_stamp
from mcdev.results.record import Record, agreed, alone, changes, read_record, write_record
from mcdev.results.scheduler import Workers

RECORD = "job.json"


class _Record(Record):
    """job.json"""

    configuration: dict[str, Any]
    """The file as it was written, but for what changes no number."""


def _asked(plan: Plan) -> dict[str, Any]:
    kept = {k: v for k, v in plan.data.items() if k not in ("description", "notes", "directory")}
    plain: dict[str, Any] = json.loads(json.dumps(_plain(kept), default=str))
    return plain


def identity(plan: Plan) -> Identity:
    """Of a calibration by this process. Changes with anything that can change a result, measured curves and files of
    experiments included."""
    text = json.dumps(_asked(plan), sort_keys=True).encode()
    for trace in plan.traces:
        text += trace.time.tobytes() + trace.voltage.tobytes() + trace.current.tobytes()
    # As text: the order of a sweep's axes numbers its points.
    of_files = [(g.label, g.value, g.status) for g in plan.goals if g.key.startswith("measured.")]
    text += json.dumps(of_files).encode() if of_files else b""
    for measured in plan.sets:
        text += measured.values.tobytes()
    experiments = {"/".join(pair): experiment.to_toml() for pair, experiment in plan.experiments.items()}
    sources = {plugin.source for experiment in plan.experiments.values() for plugin in experiment.plugins}
    return Identity.of(text + json.dumps(experiments, sort_keys=True).encode(), plan.job.search.seed, sources)


def folder_name(plan: Plan) -> str:
    """Name of a new calibration's folder: name, UTC time, what is asked for."""
    return f"{plan.job.name}-{time_stamp()}-{identity(plan).configuration[:8]}"


def begin(plan: Plan, folder: Path) -> Evaluations:
    """Make a folder one of this plan."""
    record = _Record(identity=identity(plan), configuration=_asked(plan))
    write_record(folder / RECORD, record)
    return _book(record, folder)


def check(plan: Plan, folder: Path, accept: bool) -> _Record:
    """The record of a calibration of this very plan. ``accept``: whether another machine's part in it is accepted.

    Raises ``ResultsError`` where the folder holds none."""
    record = read_record(folder / RECORD, _Record, "calibration")

    def changed() -> list[str]:
        plugins = record.identity.changed_plugins(identity(plan))
        return plugins + changes(record.configuration, _asked(plan)) or ["a file that it reads"]

    return agreed(record, identity(plan), folder, accept, changed)


def go_on(plan: Plan, folder: Path, accept: bool) -> Evaluations:
    """The evaluations of a calibration that was begun. Raises as :func:`check`."""
    record = check(plan, folder, accept)
    write_record(folder / RECORD, record)
    return _book(record, folder)


def _book(record: _Record, folder: Path) -> Evaluations:
    own = record.identity.made_by(Origin.here())
    return Evaluations(folder / "evaluations", [*(i for i in record.identities if i != own), own])


def work(
    plan: Plan,
    folder: Path,
    book: Evaluations,
    say: Callable[[str], None],
    crew: Workers | None = None,
    accept: bool = False,
) -> xr.DataTree:
    """Calibrate and write everything; what was computed before is repeated from the folder. ``crew``: who simulates,
    with [simulations]. ``accept``: whether its workers may be other machines."""

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

    source = tomli_w.dumps(_plain(plan.data))
    if plan.job.simulations is not None:
        found = infer(plan, folder, lambda phase: progress(phase, None), crew, None if accept else book.accepted)
        tree = learnt.assemble(found, source, list(dict.fromkeys([*book.origins, *found.origins])))
        learnt.write_fitted(found, folder)
        fitted.write_design(found.designed, folder)
    else:
        outcome = calibrate(plan, book, progress)
        tree = calibration_tree.assemble(outcome, source, book.origins)
        fitted.write_fitted(outcome, folder)
        fitted.write_design(outcome.designed, folder)
    calibration_file.write(tree, folder)
    draws.write(tree, folder)
    _tables(tree, folder)
    return tree


def calibrate_file(
    path: str | Path,
    out: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> xr.DataTree:
    """Fit device parameters to the numbers and curves that a calibration's file names; the tree of its results, written
    into ``out`` or a new folder. An ``out`` that a stopped calibration of the same file has left is gone on with.

    ``overrides``: key path → value, as ``--set``. ``say`` hears how far it is. Raises ``ConfigError`` with everything
    that is wrong with the file, ``ResultsError`` for a folder of another calibration.
    """
    plan = load_job(path, overrides)
    folder = Path(out) if out is not None else Path(plan.job.directory) / folder_name(plan)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"{folder} cannot be made: {error.strerror or error}; choose another folder") from None
    with alone(folder):
        kept = go_on(plan, folder, False) if (folder / RECORD).exists() else begin(plan, folder)
        return work(plan, folder, kept, say)


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
        text = io.StringIO()
        writer = CsvWriter(text)
        writer.row([key, *columns])
        for i, label in enumerate(data[key].values):
            writer.row([label, *(data[column].values[i] for column in columns)])
        with whole_file(folder / f"{group}.csv") as temporary:
            temporary.write_bytes(text.getvalue().encode())
