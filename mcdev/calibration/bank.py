"""Simulated data sets on disk: in parts as they come, so that a stopped calibration goes on where it was, and the next
device of the same experiment needs none of its own.

NUMBER.CHECKSUM.npz     parameters, readings and statuses of ``PART`` data sets, and the machine that computed them
about.json              what they depend on, each as a checksum: experiments, parameters, targets, seed

Part n is named by the seed and n alone: more data sets add parts, and change none. A part is computed whole, by this
process or by one of a cluster's workers; it is this process that writes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mcdev.calibration import prior
from mcdev.calibration.data_sets import DataSets, simulate_sets
from mcdev.calibration.plan import Plan
from mcdev.files import structure
from mcdev.files.archive import archive, is_whole, number_of, write_numbered
from mcdev.files.whole_file import ResultsError, whole_file
from mcdev.machine.identity import Origin
from mcdev.machine.provenance import code_version
from mcdev.results.record import stranger
from mcdev.results.scheduler import Workers

FOLDER, ABOUT = "simulations", "about.json"
PART = 256
"""Data sets that are simulated together, and lost by a kill at most."""


class Part(NamedTuple):
    """``PART`` data sets, and who computed them."""

    scores: np.ndarray
    """Normal scores of the parameters [set, parameter]."""
    sets: DataSets
    origin: Origin


def simulated(plan: Plan, number: int, threads: int | None = None) -> Part:
    """Part ``number``: a pure function of the plan and the number, whoever computes it."""
    assert plan.job.simulations is not None
    rng = np.random.default_rng([plan.job.simulations.seed, number])
    scores = rng.standard_normal((PART, len(plan.parameters)))
    seeds = rng.integers(2**32, size=PART)
    sets = simulate_sets(plan, prior.values(plan.parameters, scores), seeds, threads=threads)
    return Part(scores, sets, Origin.here())


class Bank:
    """Simulated data sets of one plan: in a folder, or in memory where there is none."""

    def __init__(
        self,
        plan: Plan,
        folder: Path | None = None,
        complete: bool = False,
        accepted: Collection[Origin] | None = None,
    ):
        """``complete``: what the folder holds is taken as it is. ``accepted``: the machines whose parts count; every
        one's where none is given. Raises ``ResultsError`` where the folder is of something else."""
        self.plan, self.folder, self.complete, self.accepted = plan, folder, complete, accepted
        self.about = about(plan)
        self.origins: tuple[Origin, ...] = ()
        """Who computed what was filled in."""
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

    def filled(self, report: Callable[[str], None], crew: Workers | None = None) -> tuple[np.ndarray, DataSets]:
        """Normal scores of the parameters [set, parameter] and their data sets: as many as the plan asks for, or the
        folder holds, in whole parts. ``crew``: who computes; the threads of this process, if none is given.

        Raises ``ResultsError`` where workers fail, or one is another machine than those accepted; what was finished is
        kept.
        """
        assert self.plan.job.simulations is not None
        count = -(-self.plan.job.simulations.number // PART)
        if self.complete and self.folder is not None:
            held = {number_of(path) for path in self.folder.iterdir()}
            count = next(n for n in range(len(held) + 1) if n not in held)
            if not count:
                raise ResultsError(f"{self.folder} holds no simulated data sets; begin without simulations.trained")
        found = {number: part for number in range(count) if (part := self._kept(number)) is not None}
        self.repeated += PART * len(found)
        report(f"simulations, {len(found) * PART} of {count * PART}")
        for number, part in self._made([n for n in range(count) if n not in found], crew):
            if self.accepted is not None and part.origin not in self.accepted:
                raise stranger(Origin.here(), part.origin)
            if self.folder is not None:
                arrays = {"scores": part.scores, "value": part.sets.value, "status": part.sets.status}
                whose = np.array(part.origin.model_dump_json().encode())
                write_numbered(self.folder, number, arrays | {"origin": whose})
            found[number] = part
            report(f"simulations, {len(found) * PART} of {count * PART}")
        parts = [found[number] for number in range(count)]
        self.origins = tuple(dict.fromkeys(part.origin for part in parts))
        value, status = (np.concatenate([getattr(part.sets, name) for part in parts]) for name in ("value", "status"))
        return np.concatenate([part.scores for part in parts]), DataSets(value, status, {})

    def _made(self, numbers: Sequence[int], crew: Workers | None) -> Iterator[tuple[int, Part]]:
        """Parts as they are finished: one after the other by the threads of this process, which share each; or as
        tasks of workers that are other processes, one thread each."""
        if crew is None or not crew.alone:
            for number in numbers:
                yield number, simulated(self.plan, number, crew.number if crew is not None else None)
            return
        tasks: dict[Future[Part], int] = {crew.pool.submit(simulated, self.plan, n, 1): n for n in numbers}
        failed: list[Exception] = []
        try:
            for task in as_completed(tasks):
                try:
                    part = task.result()
                except Exception as error:  # whatever a worker died of: the others' work is not lost for it
                    failed.append(error)
                    continue
                yield tasks[task], part
        finally:  # an error or an interrupt: let nothing new begin
            for task in tasks:
                task.cancel()
        if failed:
            raise ResultsError(
                f"{len(failed)} of {len(tasks)} parts of the simulations failed on the workers "
                f"({type(failed[0]).__name__}: {failed[0]}); the others are kept, --resume tries them again"
            )

    def _kept(self, part: int) -> Part | None:
        """Of the folder; None where it is not there, damaged, or of a machine that is not accepted."""
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
                    origin = Origin.model_validate_json(bytes(data["origin"].item()))
            except (structure.Unreadable, KeyError, ValueError, TypeError):
                continue
            known = self.accepted is None or origin in self.accepted
            if known and all(found[name].shape == (PART, width) for name, width in shapes.items()):
                return Part(found["scores"], DataSets(found["value"], found["status"], {}), origin)
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
