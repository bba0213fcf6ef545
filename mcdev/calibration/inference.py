"""A posterior from simulations alone, where no gradient is exact: draw, simulate, learn, check, condition, predict.

plan = load_job("configs/wang2017/posterior_pulse.toml")         # with [simulations]
found = infer(plan)

What is learnt does not depend on the reported numbers (but on their uncertainties, the instrument's noise): it is kept
in the calibration's folder, and ``simulations.trained`` takes it for the next device of the same experiment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mcdev.calibration import amortised, bank, prior
from mcdev.calibration.bank import Bank
from mcdev.calibration.conditions import observed, shown, unseen, usable, view_of
from mcdev.calibration.data_sets import DataSets, simulate_sets
from mcdev.calibration.foreseen import looks
from mcdev.calibration.goals import Goal
from mcdev.calibration.next_experiments import Designed, designed, information
from mcdev.calibration.plan import Plan
from mcdev.calibration.trust import Trust, missed, trust
from mcdev.configuration.problems import ConfigError, Problem
from mcdev.files.whole_file import ResultsError
from mcdev.machine.identity import Origin
from mcdev.measurements.contract import OK
from mcdev.results.scheduler import Workers

DRAWS = 2000
"""Where ``report.posterior`` says none."""
_PREDICTED = 256  # draws of which data sets are simulated
_HELD, _LEAST_HELD, _MOST_HELD = 0.1, 20, 1000  # data sets that are not trained on: share, least, most
_LEAST = 50  # that can be learnt from


class Inferred(NamedTuple):
    """Everything that was found."""

    plan: Plan
    values: np.ndarray
    """Draws from the posterior [draw, parameter], SI."""
    scores: np.ndarray
    """The same as normal scores of the prior."""
    trust: Trust
    losses: np.ndarray
    """Of the training [epoch, 2]."""
    predicted: DataSets
    """What the first draws predict, each of other devices, with the instrument's noise [draw, target]."""
    missed: np.ndarray
    """[target]: probability that the posterior predicts something as far off as what was reported."""
    without: tuple[Goal, ...]
    """Reported numbers of a status that no simulation has."""
    simulated: int
    """Data sets that were learnt from or tested with."""
    failed: int
    """Data sets that broke down, and are in neither."""
    wall: float
    designed: Designed | None
    """What to measure next, where ``[design]`` asks for it."""
    origins: tuple[Origin, ...]
    """Who computed the simulations."""

    @property
    def labels(self) -> list[str]:
        return [p.label for p in self.plan.parameters]


def infer(
    plan: Plan,
    folder: Path | None = None,
    report: Callable[[str], None] = lambda text: None,
    crew: Workers | None = None,
    accepted: Collection[Origin] | None = None,
) -> Inferred:
    """Draws from the posterior, and how far they may be believed.

    ``folder``: of the calibration, where simulations and network are kept. ``crew``: who simulates; the threads of this
    process, if none is given. ``accepted``: the machines whose simulations count; every one's where none is given.
    Raises ``ResultsError`` where ``simulations.trained`` holds those of something else, or a worker fails;
    ``ConfigError`` where there is too little to learn from.
    """
    job = plan.job.simulations
    assert job is not None
    begin = time.monotonic()
    place = _trained(plan, job.trained) if job.trained is not None else folder
    complete = job.trained is not None
    own = Bank(plan, None if place is None else place / bank.FOLDER, complete, None if complete else accepted)
    scores, sets = own.filled(report, crew)
    which = [j for j, g in enumerate(plan.goals) if g.weight > 0]
    goals = [plan.goals[j] for j in which]
    fine = usable(sets.status[:, which])
    if fine.sum() < _LEAST:
        message = (
            f"{int((~fine).sum())} of {fine.size} data sets broke down, which leaves too few to learn from; expected "
            "bounds and priors within which devices can be followed"
        )
        raise ConfigError([Problem("simulations", None, message)], plan.job.name)
    scores, value, status = scores[fine], sets.value[fine][:, which], sets.status[fine][:, which]
    held = int(np.clip(_HELD * len(scores), _LEAST_HELD, _MOST_HELD))
    trained, others = slice(0, len(scores) - held), slice(len(scores) - held, None)
    report("training")
    view = view_of(goals, value[trained], status[trained])
    key = _key(plan, goals, len(scores))
    kept = next((k for at in (place, folder) if at and (k := amortised.read(at / amortised.FILE, key))), None)
    x, noise = shown(kept[1] if kept else view, goals, value, status)
    if kept is None:
        network = amortised.train(scores[trained], x[trained], noise[trained], job.seed)
        if folder is not None:
            amortised.write(network, view, key, folder / amortised.FILE)
    else:
        network, view = kept
    report("checks")
    rng = np.random.default_rng([job.seed, len(scores)])
    noisy = x + noise * rng.standard_normal(x.shape)
    seen = shown(view, goals, *observed(goals))[0]
    believed = trust(network, scores[others], noisy[others], noisy[trained], seen[0], job.seed)
    report("posterior")
    drawn = amortised.draw(network, seen, plan.job.report.posterior or DRAWS, job.seed)[0]
    values = prior.values(plan.parameters, drawn)
    first = values[:_PREDICTED]
    seeds, threads = rng.integers(2**32, size=len(first)), None if crew is None or crew.alone else crew.number
    report("predictions")
    predicted = simulate_sets(plan, first, seeds, currents=True, threads=threads)
    predicted = predicted._replace(value=_with_noise(plan, predicted, rng))
    plans = None
    if plan.job.design is not None:
        known = information(plan, None, values)
        plans = designed(
            plan, known, None, lambda space, places: looks(plan, values, space, places, job.seed, threads), report
        )
    return Inferred(
        plan,
        values,
        drawn,
        believed,
        network.losses,
        predicted,
        missed(plan.goals, predicted.value, predicted.status),
        tuple(unseen(view, goals)),
        len(scores),
        int((~fine).sum()),
        time.monotonic() - begin,
        plans,
        own.origins,
    )


def _with_noise(plan: Plan, sets: DataSets, rng: np.random.Generator) -> np.ndarray:
    """Values with the instrument's noise."""
    found = sets.value.copy()
    for j, goal in enumerate(plan.goals):
        for i in np.flatnonzero((sets.status[:, j] == OK) & np.isfinite(found[:, j])):
            t = goal.on_scale(float(found[i, j]))
            if np.isfinite(t):
                found[i, j] = goal.off_scale(t + goal.noise * float(rng.standard_normal()))
    return found


def _trained(plan: Plan, named: str) -> Path:
    """The folder of another calibration; beside the file, or from where the command is given."""
    for place in (plan.folder / named, Path(named)):
        if (place / bank.FOLDER / bank.ABOUT).is_file():
            return place
    raise ResultsError(
        f"simulations.trained: {named} holds no simulations; expected the folder of a calibration with [simulations]"
    )


def _key(plan: Plan, goals: list[Goal], number: int) -> str:
    """Of all that a network is learnt from."""
    noise = [[g.read_as, g.scale, round(g.noise, 12)] for g in goals]
    return bank.checksum([bank.about(plan), noise, number])
