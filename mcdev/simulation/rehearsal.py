"""The first cycle of a run, rehearsed: its programs are compiled side by side, and beside whatever else is done.

A cycle calls some programs, one after the other: devices at rest, their advance, their impedance, the measurements.
Each is compiled at its first call, so that the compiler would work on one at a time while another core waits. A
rehearsal calls them with nothing to do. JAX lets a thread that calls a program wait for another one that is compiling
it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from mcdev.machine.environment import backend, computing
from mcdev.machine.threads import cores, thread_pool
from mcdev.simulation.chunks import measured
from mcdev.simulation.group import Cycle, Group, Piece
from mcdev.simulation.program import program
from mcdev.simulation.progress import unseen
from mcdev.simulation.trial import Drive, Trial

_known: set[Any] = set()
"""Of what was rehearsed in this process."""


@contextlib.contextmanager
def rehearsal(trial: Trial) -> Iterator[None]:
    """While this is open, the programs of a trial's first cycle are compiled beside what is done: where there is a core
    to spare, and nothing like the trial was rehearsed in this process. What fails here fails again where it is meant,
    and is said there."""
    if cores() < 2 or not _fresh(trial):
        yield
        return
    with thread_pool(2) as pool:
        with contextlib.suppress(Exception):
            for part in parts(trial):
                pool.submit(part)
        yield


def _fresh(trial: Trial) -> bool:
    """Whether nothing like it was rehearsed, as far as a glance tells. Devices of a kind may differ in what is compiled
    for them; these wait for the compiler, one program after the other."""
    experiment = trial.experiment
    kind = backend(), experiment.device.kind, experiment.circuit.kind, trial.lanes, trial.slot, trial.dtype
    fresh = kind not in _known
    _known.add(kind)
    return fresh


def parts(trial: Trial) -> list[Callable[[], object]]:
    """What may be called side by side, on the first accelerator: the advance takes as long to compile as all else."""
    place, x64 = jax.local_devices()[0], trial.experiment.precision == "float64"
    with jax.default_device(place), computing(x64):
        group = Group([Piece(trial, 0, min(trial.slot, trial.experiment.ensemble.devices))])
        key, rows = group.key(0), trial.rows
        resting = jax.eval_shape(program().rest, group.devices, group.circuit, key)
        blank = jax.device_put(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), resting))
        group.carry = blank._replace(spikes=group.watching)
        spikes = group.spikes()

    def moved() -> None:
        with jax.default_device(place), computing(x64):
            nothing = Drive(*(np.zeros_like(column[:1]) if len(column) else column for column in rows))
            group.advance(key, [nothing], unseen())
            group.carry = blank
            group.impedance()

    def rested_and_measured() -> None:
        with jax.default_device(place), computing(x64):
            program().rest(group.devices, group.circuit, key)
            lanes = group.own.size
            channels = {name: np.zeros((trial.timeline.samples, lanes), trial.dtype) for name in trial.channels}
            impedance = np.zeros((trial.frequency.size, lanes), np.result_type(trial.dtype, np.complex64))
            culprit = None if blank.culprit is None else np.zeros(lanes, np.int32)
            measured(group, Cycle(channels, {}, {}, impedance, np.zeros(lanes, bool), culprit, spikes))

    return [moved, rested_and_measured]
