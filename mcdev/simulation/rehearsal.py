"""The first cycle of a run, rehearsed: its later programs are compiled while its first one is.

A cycle calls some programs, one after the other: devices at rest, their advance, their impedance, the measurements.
Each is compiled at its first call, so that the compiler would work on one at a time while another core waits. A
rehearsal calls all but the first with nothing to do. JAX lets a thread that calls a program wait for another one that
is compiling it.
"""

from __future__ import annotations

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcdev.machine.environment import backend, computing
from mcdev.simulation.chunks import measured
from mcdev.simulation.group import Cycle, Group, Piece
from mcdev.simulation.program import program
from mcdev.simulation.progress import unseen
from mcdev.simulation.trial import Drive, Trial

_known: set[Any] = set()
"""Of what was rehearsed in this process."""


def needed(trial: Trial) -> bool:
    """Whether nothing like this trial was rehearsed in this process, as far as a glance tells. Devices of a kind may
    differ in what is compiled for them; these wait for the compiler, one program after the other."""
    experiment = trial.experiment
    kind = backend(), experiment.device.kind, experiment.circuit.kind, trial.lanes, trial.slot, trial.dtype
    fresh = kind not in _known
    _known.add(kind)
    return fresh


def rehearse(trial: Trial) -> None:
    """Call the later programs of a cycle with nothing to do, on the first accelerator. What fails here fails again
    where it is meant, and is said there."""
    with contextlib.suppress(Exception), jax.default_device(jax.local_devices()[0]):
        rehearsed(trial)


def rehearsed(trial: Trial) -> None:
    """The same, where it may be known what fails."""
    with computing(trial.experiment.precision == "float64"):
        group = Group([Piece(trial, 0, min(trial.slot, trial.experiment.ensemble.devices))])
        key, rows = group.key(0), trial.rows
        resting = jax.eval_shape(program().rest, group.devices, group.circuit, key)
        blank = jax.tree.map(lambda leaf: jnp.asarray(np.zeros(leaf.shape, leaf.dtype)), resting)
        group.carry = blank._replace(spikes=group.watching)
        nothing = Drive(*(np.zeros_like(column[:1]) if len(column) else column for column in rows))
        recorded, spikes = group.advance(key, [nothing], unseen()), group.spikes()
        group.carry = group.carry._replace(spikes=())
        samples, lanes = trial.timeline.samples, group.own.size
        channels = {name: np.zeros((samples, lanes), series.dtype) for name, series in recorded.channels.items()}
        culprit = None if blank.culprit is None else np.zeros(lanes, np.int32)
        measured(group, Cycle(channels, {}, {}, group.impedance(), np.zeros(lanes, bool), culprit, spikes))
