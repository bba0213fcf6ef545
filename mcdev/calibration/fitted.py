"""What a calibration found, as configurations: fitted.toml, a study that runs, and design.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from mcdev.calibration.next_experiments import Designed
from mcdev.calibration.outcome import Outcome
from mcdev.calibration.places import moved
from mcdev.calibration.plan import Plan, fitted_name
from mcdev.calibration.settings import tables
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.sweep import as_toml
from mcdev.files.whole_file import whole_file
from mcdev.measurements.contract import OK
from mcdev.schema import file_name


def write_fitted(outcome: Outcome, folder: Path) -> Path:
    """:func:`write_study` of the best point of the search."""
    return write_study(outcome.plan, outcome.plan.values(outcome.best.u), folder)


def write_study(plan: Plan, x: np.ndarray, folder: Path) -> Path:
    """``fitted.toml``, a study that ``mcdev run`` runs as it is: every experiment on every device with parameters ``x``
    (SI), with the reported numbers to compare with; the experiments themselves lie in ``fitted/``."""
    read = {(g.experiment, g.device) for g in plan.goals} | {(t.experiment, t.device) for t in plan.traces}
    files = []
    for (name, device), experiment in plan.experiments.items():
        if (name, device) not in read:
            continue
        own = _fitted(plan, experiment, name, device, plan.given(x, name, device))
        file = folder / "fitted" / f"{own['name']}.toml"
        with whole_file(file) as temporary:
            temporary.write_text(as_toml(own), encoding="utf-8")
        files.append(f"fitted/{file.name}")
    study = {
        "name": file_name(plan.job.name, "fitted"),
        "description": f"Fitted by mcdev: {plan.job.description}"[:4000],
        "runs": files,
        "variants": {"fitted": {}},
    }
    path = folder / "fitted.toml"
    with whole_file(path) as temporary:
        temporary.write_text(tomli_w.dumps(study), encoding="utf-8")
    return path


def _fitted(plan: Plan, experiment: Experiment, name: str, device: str, values: dict[str, float]) -> dict[str, Any]:
    data = moved(experiment, values).to_dict()
    several = len({d for _, d in plan.experiments}) > 1
    data["name"] = fitted_name(name, device, several)
    drawn = any(not isinstance(law, float) for law in experiment.laws.values())
    alike = experiment.alike and not drawn and not experiment.ensemble.cycle_to_cycle
    many = plan.cases[name, device][0].own_devices or plan.job.report.final_devices
    data["ensemble"]["devices"] = 1 if alike else many
    references = []
    for goal in plan.goals:
        if (goal.experiment, goal.device) != (name, device) or goal.status != OK:
            continue
        reference: dict[str, Any] = {"measurement": goal.read.measurement, "point": goal.read.point}
        reference |= {"value": goal.mark.write(goal.value), "source": goal.source, "statistic": goal.read.statistic}
        for key in ("entry", "coefficient", "level", "other"):
            if getattr(goal.read, key) is not None:
                reference[key] = getattr(goal.read, key)
        references.append(reference)
    data["output"] = {**data.get("output", {}), "reference": references}
    return data


def write_design(found: Designed | None, folder: Path) -> Path | None:
    """``design.toml``: the designed experiments, to be copied into a calibration's file; None without any."""
    if found is None:
        return None
    path = folder / "design.toml"
    with whole_file(path) as temporary:
        temporary.write_text(tomli_w.dumps(designed_tables(found)), encoding="utf-8")
    return path


def designed_tables(found: Designed) -> dict[str, Any]:
    """The designed experiments as they stand in a calibration's file."""
    return {
        "experiments": {f"designed_{i + 1}": tables(space, one.place) for i, (space, one) in enumerate(found.chosen)}
    }
