"""Simulated data sets on disk: in parts as they come, so that a stopped calibration goes on where it was, and the next
device of the same experiment needs none of its own.

NUMBER.CHECKSUM.npz     parameters, readings and statuses of ``PART`` data sets
about.json              what they depend on, each as a checksum: experiments, parameters, targets, seed

Part n is named by the seed and n alone: more data sets add parts, and change none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mcdev.calibration import prior
from mcdev.calibration.data_sets import DataSets, simulate_sets
from mcdev.calibration.plan import Plan
from mcdev.files import structure
from mcdev.files.archive import archive, is_whole, number_of, write_numbered
from mcdev.files.whole_file import ResultsError, whole_file
from mcdev.machine.provenance import code_version

FOLDER, ABOUT = "simulations", "about.json"
PART = 256
"""Data sets that are simulated together, and lost by a kill at most."""


class Bank:
    """Simulated data sets of one plan: in a folder, or in memory where there is none."""

    def __init__(self, plan: Plan, folder: Path | None = None, complete: bool = False):
        """``complete``: what the folder holds is taken as it is. Raises ``ResultsError`` where it is of something
        else."""
        self.plan, self.folder, self.complete = plan, folder, complete
        self.about = about(plan)
        self.repeated = 0
        """Data sets that were taken from the folder."""
        if folder is None:
            return
        file = folder / ABOUT
        if file.exists():
            different = [name for name, here in self.about.items() if _read_about(file).get(name) != here]
            if different:
                raise ResultsError(
                    f"the simulations in {folder} are of other {', '.join(different)}; begin anew in another folder, "
                    "or without simulations.trained"
                )
        else:
            with whole_file(file) as temporary:
                temporary.write_text(json.dumps(self.about, indent=1), encoding="utf-8")

    def filled(self, report: Callable[[str], None]) -> tuple[np.ndarray, DataSets]:
        """Normal scores of the parameters [set, parameter] and their data sets: as many as the plan asks for, or the
        folder holds, in whole parts."""
        assert self.plan.job.simulations is not None
        count = -(-self.plan.job.simulations.number // PART)
        if self.complete and self.folder is not None:
            held = {number_of(path) for path in self.folder.iterdir()}
            count = next(n for n in range(len(held) + 1) if n not in held)
            if not count:
                raise ResultsError(f"{self.folder} holds no simulated data sets; begin without simulations.trained")
        parts = []
        for part in range(count):
            report(f"simulations, {part * PART} of {count * PART}")
            parts.append(self._part(part))
        scores = np.concatenate([scores for scores, _ in parts])
        value = np.concatenate([sets.value for _, sets in parts])
        return scores, DataSets(value, np.concatenate([sets.status for _, sets in parts]), {})

    def _part(self, part: int) -> tuple[np.ndarray, DataSets]:
        assert self.plan.job.simulations is not None
        kept = self._kept(part)
        if kept is not None:
            self.repeated += PART
            return kept
        rng = np.random.default_rng([self.plan.job.simulations.seed, part])
        scores = rng.standard_normal((PART, len(self.plan.parameters)))
        seeds = rng.integers(2**32, size=PART)
        sets = simulate_sets(self.plan, prior.values(self.plan.parameters, scores), seeds)
        if self.folder is not None:
            write_numbered(self.folder, part, {"scores": scores, "value": sets.value, "status": sets.status})
        return scores, sets

    def _kept(self, part: int) -> tuple[np.ndarray, DataSets] | None:
        """Of the folder; None where it is not there, or damaged."""
        if self.folder is None:
            return None
        shapes = {"scores": len(self.plan.parameters), "value": len(self.plan.goals), "status": len(self.plan.goals)}
        for path in self.folder.glob(f"{part:06d}.*.npz"):
            content = path.read_bytes()
            if not is_whole(path, content):
                continue
            try:
                with archive(content) as data:
                    found = {name: data[name] for name in shapes}
            except (structure.Unreadable, KeyError, ValueError):
                continue
            if all(found[name].shape == (PART, width) for name, width in shapes.items()):
                return found["scores"], DataSets(found["value"], found["status"], {})
        return None


def about(plan: Plan) -> dict[str, str]:
    """Checksums of all that simulated data sets depend on, by what they are of. Reported values are not among it."""
    assert plan.job.simulations is not None
    read = {(g.experiment, g.device) for g in plan.goals}
    experiments = {"/".join(pair): e.to_toml() for pair, e in plan.experiments.items() if pair in read}
    parameters = [
        [
            *(p.path, p.devices, p.experiments, p.coordinate.low, p.coordinate.high, p.coordinate.scale),
            *(p.prior_centre, p.prior_sd if p.prior_centre is not None else None),
        ]
        for p in plan.parameters
    ]
    targets = [[g.experiment, g.device, g.read_as, g.of_devices] for g in plan.goals]
    plugins = sorted(str(plugin.source) for e in plan.experiments.values() for plugin in e.plugins)
    return {
        "experiments": checksum([experiments, plugins]),
        "parameters": checksum(parameters),
        "targets": checksum(targets),
        "seed": checksum(plan.job.simulations.seed),
        "code": code_version(),
    }


def checksum(data: object) -> str:
    """Of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()


def _read_about(file: Path) -> dict[str, str]:
    try:
        found = json.loads(structure.read_text(file))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{file} cannot be read ({error}); begin anew in another folder") from None
    return found if isinstance(found, dict) else {}
