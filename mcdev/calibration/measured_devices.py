"""Files of several measured devices as targets: their spectra, their traces, and what is read off them.

The files are measured as ``mcdev measure`` measures them, under the experiment's protocol, so that measured and
simulated devices are read by the same code. Of D devices the statistics of each reading are targets of D devices: the
curves of a list point by point, each with its median and its spread. How they err together is known from the simulated
population (`misfit.py`).

One device alone, which simulations can learn from, gives its readings themselves, or their median over its cycles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import PydanticCustomError

from mcdev.calibration.job import Job, Measured, Target
from mcdev.calibration.of_population import no_target, read_at, targets_of
from mcdev.calibration.readings_of_sets import DeviceReadings, set_of
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import ConfigError, Problem, beside, key_path
from mcdev.measured import Layout
from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED, UNDEFINED
from mcdev.schema import Unit, nearest, sentence
from mcdev.statistics.readings import Reading, readings


def targets_of_files(
    key: str,
    measured: Measured,
    job: Job,
    devices: Iterable[str],
    experiments: Mapping[tuple[str, str], Experiment],
    folder: Path,
) -> tuple[list[Target], DeviceReadings, list[str]]:
    """The targets of one table, the readings that they are of, device by device, and what should be known of them in
    words. Raises ``ConfigError`` with all that is wrong with it."""
    from mcdev.results.of_files import measure, members_of  # they bring all that a run's results need

    device, experiment = _measured(key, measured, job, list(devices), experiments)
    wrong = _unknown(key, measured, experiment, job)
    files: list[Path] = []
    try:
        files = _files(folder, measured.files)
    except (ValueError, NotImplementedError) as error:
        wrong.append(Problem(f"{key}.files", measured.files, str(error)))
    offset = None
    try:
        offset = None if measured.offset is None else Unit("s").parse(measured.offset)
    except PydanticCustomError as error:
        wrong.append(Problem(f"{key}.offset", measured.offset, sentence(error)))
    if wrong:
        raise ConfigError(wrong, job.name)
    own = {name: experiment.measurements[name] for name in measured.measurements or experiment.measurements}
    layout = Layout.model_validate(measured.model_dump(include=set(Layout.model_fields)))
    try:
        alone = experiment.model_copy(update={"measurements": own, "fits": {}})
        tree, notes = measure(members_of(files, alone, measured.pattern, layout), alone, layout, offset)
    except ConfigError as error:
        at = f"{key}.files"
        raise ConfigError([Problem(at, p.value, f"{p.key}: {p.message}") for p in error.problems], job.name) from None
    count, cycles = (int(tree["realisations"].sizes[name]) for name in ("device", "cycle"))
    if cycles != experiment.ensemble.cycles:
        message = f"the files of {key} hold {cycles} cycles of each device; expected as many here"
        at = key_path("experiments", measured.experiment, "ensemble", "cycles")
        raise ConfigError([Problem(at, experiment.ensemble.cycles, message)], job.name)
    source = measured.source or measured.files
    targets: list[dict[str, Any]] = []
    fit: list[Reading] = []
    for reading in readings(tree):
        if count == 1:
            targets.append(_of_one_device(reading, source))
        elif (why := no_target(reading)) is not None:
            notes.append(why)
        else:
            targets += targets_of(reading, source, own[reading.name].linear)
            fit.append(reading)
    if not targets:
        message = f"nothing to fit: {'; '.join(notes)}"
        raise ConfigError([Problem(f"{key}.files", measured.files, message)], job.name)
    common = {"experiment": measured.experiment, "device": device, "weight": measured.weight}
    linear = {name for name, measurement in own.items() if measurement.linear}
    found = set_of(measured.files, measured.experiment, device, fit, linear)
    said = [f"{measured.files}: {note}" for note in notes]
    return [Target.model_validate(target | common) for target in targets], found, said


def _measured(
    key: str,
    measured: Measured,
    job: Job,
    devices: list[str],
    experiments: Mapping[tuple[str, str], Experiment],
) -> tuple[str, Experiment]:
    """The device and the experiment that the files are of."""
    device = measured.device or (devices[0] if len(devices) == 1 else "")
    if device not in devices:
        message = f"expected one of the devices; {nearest('', devices)}"
        raise ConfigError([Problem(f"{key}.device", measured.device, message)], job.name)
    experiment = experiments.get((measured.experiment, device))
    if experiment is None:
        names = [name for name, other in experiments if other == device and name in job.experiments]
        message = f"no such experiment on this device; {nearest(measured.experiment, names)}"
        raise ConfigError([Problem(f"{key}.experiment", measured.experiment, message)], job.name)
    return device, experiment


def _files(folder: Path, pattern: str) -> list[Path]:
    """In the order of their names. Raises ``ValueError`` where there are none, or one leads out of the folder."""
    if not Path(pattern).name:
        raise ValueError('expected a pattern of files\' names, like "spectra/device*.csv"')
    beside(folder, pattern)
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not found:
        raise ValueError("no such files beside the calibration's or below it")
    return [beside(folder, str(path.relative_to(folder))) for path in found]  # none is a link to elsewhere


def _unknown(key: str, measured: Measured, experiment: Experiment, job: Job) -> list[Problem]:
    """What is asked for that is not there, or not known well enough."""
    wrong = [
        Problem(f"{key}.measurements", name, f"no such measurement; {nearest(name, experiment.measurements)}")
        for name in measured.measurements
        if name not in experiment.measurements
    ]
    for path, free in job.parameters.items():
        if path.startswith("protocol.") and (not free.experiments or measured.experiment in free.experiments):
            message = f"is free, and the files of {key} are read by it; expected a protocol that is known"
            wrong.append(Problem(key_path("parameters", path), None, message))
    if not experiment.measurements:
        wrong.append(Problem(f"{key}.experiment", measured.experiment, "has no measurements; nothing to read"))
    return wrong


def _of_one_device(reading: Reading, source: str) -> dict[str, Any]:
    """A single device's reading, or the median over its cycles, with what it is: a number, a bound, or undefined."""
    fine = np.isfinite(reading.values) & (reading.status != UNDEFINED)
    codes = {int(code) for code in reading.status[fine]} or {UNDEFINED}
    signs = {OK: "", RIGHT_CENSORED: "> ", LEFT_CENSORED: "< "}
    code = next((c for c in (RIGHT_CENSORED, LEFT_CENSORED) if codes == {c}), OK)
    value = float(np.median(reading.values[fine])) if fine.any() else np.nan
    unit = "" if reading.unit == "1" else f" {reading.unit}"
    written = f"{signs[code]}{value:.9g}{unit}" if np.isfinite(value) else "undefined"
    return read_at(reading) | {
        "statistic": "mean" if reading.values.size == 1 else "median",
        "value": float(written) if not unit and code == OK and np.isfinite(value) else written,
        "of_devices": 1,
        "source": source,
    }
