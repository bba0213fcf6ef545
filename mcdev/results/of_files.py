"""Results from measured files: the measurements and fits of a configuration, read off what instruments recorded.

    members = members_of(files, experiment, "dev{device}_c{cycle}.csv", Layout())
    tree = measure(members, experiment, Layout())

The tree is that of a run, so that all that is made of a run's results is made of these. Its identity is that of the
files and of how they were read: their names, SHA-256, devices and cycles stand in ``measured_files``, the settings in
``measured_reading``.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tomli_w
import xarray as xr

from mcdev.circuits import Alone
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import ConfigError, Problem, key_path
from mcdev.measured import Layout, Quantity, Recording
from mcdev.measured.columns import understood
from mcdev.measured.look import value
from mcdev.measured.recording import recording_of, sheet_of
from mcdev.results.tree import assemble
from mcdev.simulation.recorded import CHANNELS, Sampled, Unsuited, own_values, results_of, sampled
from mcdev.simulation.trial import Trial, trials

PLACES = ("device", "cycle", "point")
"""What a pattern of file names may tell."""
_SPARSE = 1.0
"""Rows to a sample below which it is said."""


def is_measured(tree: xr.DataTree) -> bool:
    """Whether results are of measured files: their parameters are not known, and the device of their configuration is
    not theirs."""
    return "measured_files" in tree.attrs


class Member(NamedTuple):
    """One file, and which realisations it holds."""

    path: Path
    sha256: str
    device: str
    cycle: int | None
    """From one; None where the file's own cycles count."""
    point: int
    """Sweep point, from zero."""
    specimen: str | None
    """Which of the file's devices, where it holds several."""


def members_of(files: Sequence[Path], experiment: Experiment, pattern: str | None, layout: Layout) -> list[Member]:
    """The files' devices and cycles: from their names by a pattern, else every file is a device. Raises
    ``ConfigError``."""
    found, problems = [], []
    told = _told(pattern)
    alike = len({path.name for path in files}) < len(set(files))  # in several folders
    points = len(experiment.points())
    for path in files:
        names: dict[str, str] = {}
        if told is not None:
            match = told.fullmatch(path.name)
            if match is None:
                problems.append(Problem(str(path), None, f"its name is not of the pattern {pattern!r}"))
                continue
            names = match.groupdict()
        point = int(names.get("point", 1)) - 1
        if not 0 <= point < points:
            problems.append(Problem(str(path), None, f"point {point + 1} of {points} in its name"))
            continue
        if points > 1 and "point" not in names:
            message = f"the configuration sweeps over {points} points; expected a pattern with {{point}}, from one"
            raise ConfigError([Problem("--pattern", pattern, message)], "files")
        try:
            content = path.read_bytes()
            several = dict.fromkeys(sheet_of(path, layout)[1].devices)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            problems.append(Problem(str(path), None, str(why)))
            continue
        own = list(several) if layout.specimen is None and len(several) > 1 else [layout.specimen]
        cycle = int(names["cycle"]) if "cycle" in names else None
        for specimen in own:
            device = " ".join(
                filter(
                    None, (names.get("device", (str(path) if alike else path.name) if told is None else ""), specimen)
                )
            )
            found.append(Member(path, hashlib.sha256(content).hexdigest(), device, cycle, point, specimen))
    counted: dict[Any, Member] = {}
    for member in found:
        place = (member.point, member.device, member.cycle)
        if place in counted:
            message = f"is of the same device and cycle as {counted[place].path.name}; tell them apart by a pattern"
            problems.append(Problem(str(member.path), None, message))
        counted[place] = member
    if problems:
        raise ConfigError(problems, "files")
    return found


def _told(pattern: str | None) -> re.Pattern[str] | None:
    """A pattern of file names as a regular expression. Raises ``ConfigError``."""
    if pattern is None:
        return None
    parts = re.split(r"\{(\w*)\}", pattern)
    words = parts[1::2]
    if not words or any(word not in PLACES for word in words) or len(set(words)) < len(words):
        message = "expected {device}, {cycle} and {point} in it, each once at most, like dev{device}_c{cycle}.csv"
        raise ConfigError([Problem("--pattern", pattern, message)], "files")
    made = [re.escape(part) if i % 2 == 0 else _group(part) for i, part in enumerate(parts)]
    return re.compile("".join(made))


def _group(word: str) -> str:
    return f"(?P<{word}>{'.+?' if word == 'device' else '[0-9]{1,9}'})"


def measure(
    members: Sequence[Member],
    experiment: Experiment,
    layout: Layout,
    offset: float | None = None,
) -> tuple[xr.DataTree, list[str]]:
    """The tree of results, and what should be known of it. Raises ``ConfigError`` where a file is not read, does not
    suit the protocol, or a measurement reads what is not measured."""
    _check(experiment)
    begun = datetime.datetime.now(datetime.UTC)
    devices = list(dict.fromkeys(member.device for member in members))
    read, problems = _read(members, trials(experiment), layout, offset)
    if problems:
        raise ConfigError(problems, "files")
    cycles = sorted({cycle for _, _, cycle in read})
    changes: dict[str, Any] = {
        "ensemble.devices": len(devices),
        "ensemble.cycles": len(cycles),
        "ensemble.between_cycles": "rest",
        "ensemble.precision": "float64",
    }
    own = experiment.with_(changes)
    points = trials(own)
    traces: list[dict[tuple[int, int], Sampled]] = [{} for _ in points]
    for (point, device, cycle), each in read.items():
        traces[point][devices.index(device), cycles.index(cycle)] = each
    results = results_of(points, traces)
    notes = _notes(own, traces, members, len(devices) * len(cycles))
    lines = [
        f"{m.path.name} sha256 {m.sha256} device {m.device}"
        + (f" cycle {m.cycle}" if m.cycle is not None else "")
        + (f" point {m.point + 1}" if len(points) > 1 else "")
        for m in members
    ]
    how = layout.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    how |= {} if offset is None else {"offset": f"{offset!r} s"}
    identity = json.dumps([own.hash, sorted(lines), how], sort_keys=True)
    about = {
        "started": begun.isoformat(timespec="seconds"),
        "wall_time_s": (datetime.datetime.now(datetime.UTC) - begun).total_seconds(),
        "title": f"{experiment.name}, measured",
        "config_hash": hashlib.sha256(identity.encode()).hexdigest()[:8],
        "measured_files": "\n".join(lines),
        "measured_devices": "\n".join(devices),
        "measured_reading": tomli_w.dumps(how),
        "warnings": "\n".join(notes),
    }
    return assemble(own, results, about), notes


def _check(experiment: Experiment) -> None:
    """Raises ``ConfigError`` where the configuration asks for what no file holds."""
    problems = []
    if not isinstance(experiment.circuit, Alone):
        message = "a measured trace is that of the device alone; leave [circuit] out"
        problems.append(Problem("circuit.kind", experiment.circuit.kind, message))
    for name, measurement in experiment.measurements.items():
        reads = list(measurement.needs_channels)
        reads += [measurement.detector.signal] if measurement.detector is not None else []
        if other := [channel for channel in reads if channel not in CHANNELS]:
            message = f"reads {', '.join(other)}, which is not measured; leave it out"
            problems.append(Problem(key_path("measurements", name), None, message))
    if problems:
        raise ConfigError(problems, experiment.name)


def _read(
    members: Sequence[Member], points: Sequence[Trial], layout: Layout, offset: float | None
) -> tuple[dict[tuple[int, str, int], Sampled], list[Problem]]:
    """(point, device, cycle) → its recording on the protocol's samples; cycles from one."""
    found: dict[tuple[int, str, int], Sampled] = {}
    problems = []
    for member in members:
        trial = points[member.point]
        try:
            recording = _recording(member, trial, layout)
            own = list(range(len(recording.cycles)))
            if member.cycle is not None and len(own) > 1 and layout.cycle is None:
                raise Unsuited(
                    f"holds {len(own)} cycles, and its name says one; leave {{cycle}} out of the pattern, or choose "
                    "one by --read cycle=1"
                )
            if layout.cycle is not None:
                if layout.cycle > len(own):
                    raise Unsuited(f"cycle is {layout.cycle}; the file has {len(own)}")
                own = [layout.cycle - 1]
            for number, index in enumerate(own, start=1):
                place = (member.point, member.device, member.cycle or number)
                found[place] = sampled(trial, recording.cycle(index), _begin(recording, index, offset))
        except ValueError as error:
            problems.append(Problem(str(member.path), None, str(error)))
    return found, problems


def _begin(recording: Recording, index: int, offset: float | None) -> float | None:
    """When the protocol begins in a cycle: as long after its first row as ``offset`` is after the first cycle's."""
    if offset is None or "time" not in recording.values:
        return None
    time = recording.values["time"]
    return float(offset + time[recording.cycles[index].start] - time[recording.cycles[0].start])


def _recording(member: Member, trial: Trial, layout: Layout) -> Recording:
    own = layout.model_copy(update={"specimen": member.specimen})
    name, sheet = sheet_of(member.path, own)
    wanted: tuple[Quantity, ...] = ("time", "voltage", "current")
    if trial.frequency.size:
        wanted = ("frequency", "resistance", "reactance")
    elif sheet.names is not None and "voltage" not in {*sheet.known, *understood(sheet.names), *layout.columns}:
        there = {*sheet.known, *understood(sheet.names), *layout.columns}
        wanted = ("time", "current") if "current" in there and sheet.width == 2 else wanted
    return recording_of(name, sheet, wanted, own)


def _notes(
    experiment: Experiment, traces: Sequence[Mapping[tuple[int, int], Sampled]], members: Sequence[Member], whole: int
) -> list[str]:
    """What should be known of the results, in sentences."""
    every = [each for point in traces for each in point.values()]
    found = []
    if any(np.isfinite(each.rows) for each in every):
        found.append(
            "each sample is the mean of what was recorded over it, a row's current being the mean since the row before"
        )
    if silent := sum(each.assumed for each in every):
        found.append(f"{silent} of {len(every)} recordings have no voltage: the protocol's is taken")
    missing = whole * len(traces) - len(every)
    if missing:
        found.append(f"{missing} of {whole * len(traces)} realisations have no file; they count as failed")
    sparse = sum(each.rows < _SPARSE for each in every)
    if sparse:
        least = min(each.rows for each in every)
        found.append(
            f"{sparse} of {len(every)} recordings have fewer rows than the protocol has samples (down to {least:.2g} "
            "to a sample): neighbouring samples repeat a row; lower the protocol's samples"
        )
    limited = sum(bool(each.bound.any()) for each in every)
    if limited:
        found.append(
            f"{limited} of {len(every)} recordings reach the instrument's limit: readings that it touches are bounds"
        )
    gaps = sum(bool(np.isnan(each.current).any()) for each in every if np.isfinite(each.rows))
    if gaps:
        found.append(f"{gaps} of {len(every)} recordings have samples without a current")
    if any(m.full_scale for m in experiment.measurements.values()) and (scale := experiment.device.full_scale):
        own = experiment.references({n: np.array([v]) for n, v in own_values(experiment).items()})["full_scale"]
        number = value(float(np.ravel(own)[0]), "S") if np.isfinite(own).all() else "none"
        found.append(f"G_max is the configuration's: {scale.words}, {number}")
    return found
