"""Measurements of many lanes: what was recorded, and what a measurement may refer to besides, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from mcdev.devices.contract import CIRCUIT_CHANNELS
from mcdev.machine.environment import backend
from mcdev.measurements.contract import Train, Trajectory
from mcdev.simulation.program import program
from mcdev.simulation.spikes import Spikes, train
from mcdev.simulation.trial import Trial

_AT_ONCE = {"cpu": 64, "gpu": 1024, "tpu": 1024}  # lanes that the measurements are taken on together

NO_SPIKES: Mapping[str, Any] = MappingProxyType({})
"""Of a mean trajectory."""


def trajectory(
    widths: Any,
    channels: Mapping[str, Any],
    frequency: Any,
    impedance: Any,
    references: Mapping[str, Any],
    windows: Mapping[str, Any],
    spikes: Mapping[str, Train] = NO_SPIKES,
) -> Trajectory:
    """What a measurement sees; of one lane, or of many with one more axis. ``references``: as
    ``Experiment.references`` gives them. ``spikes``: by the name of their detector."""
    return Trajectory(
        widths=widths,
        **{name: channels[name] for name in CIRCUIT_CHANNELS},
        observed={name: series for name, series in channels.items() if name not in CIRCUIT_CHANNELS},
        frequency=frequency,
        impedance=impedance,
        **{name: value for name, value in references.items() if "(" not in name},
        of_others={name: value for name, value in references.items() if "(" in name},
        windows=dict(windows),
        spikes=dict(spikes),
    )


def likeness(trial: Trial) -> Any:
    """What trials must have in common to be read together."""
    return (
        tuple(trial.experiment.measurements.items()),
        trial.timeline.samples,
        tuple((name, spans.shape) for name, spans in sorted(trial.timeline.windows.items())),
        trial.frequency.tobytes(),
        trial.dtype,
        trial.channels,
    )


def read(
    trials: Sequence[Trial],
    which: np.ndarray,
    channels: Mapping[str, np.ndarray],
    impedance: np.ndarray,
    references: Mapping[str, np.ndarray],
    spikes: Mapping[str, Spikes] | None,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Value and status of every measurement on every lane, for channels [T, lane], impedance [F, lane] and references
    [lane]. ``which``: the trial of each lane; the trials are alike (:func:`likeness`). ``spikes``: by the name of their
    detector; None of mean trajectories, of which measurements of spikes are left out.

    Lanes are measured in blocks of one size, the last of which is filled up: the order in which a compiled sum adds
    depends on the shape of what it adds, and so would its last bit."""
    lanes, at_once, dtype = which.size, _AT_ONCE[backend()], trials[0].dtype
    fine = np.stack([trial.timeline.widths for trial in trials])
    widths = fine.astype(dtype)
    windows = {name: np.stack([t.timeline.windows[name] for t in trials]) for name in trials[0].timeline.windows}
    frequency = trials[0].frequency.astype(dtype)
    complex_ = np.result_type(dtype, np.complex64)
    every = trials[0].experiment.measurements
    measurements = {name: m for name, m in every.items() if spikes is not None or m.detector is None}
    if not measurements:
        return {}
    seconds = {name: train(found, fine.T, which) for name, found in (spikes or {}).items()}
    blocks = []
    for first in range(0, lanes, at_once):
        place = np.minimum(np.arange(first, first + at_once), lanes - 1)
        trial = which[place]

        def lane_first(array: np.ndarray, kind: Any = dtype, place: np.ndarray = place) -> Array:
            return jax.device_put(np.ascontiguousarray(array[..., place].T.astype(kind)))

        block = trajectory(
            jax.device_put(widths[trial]),
            {name: lane_first(series) for name, series in channels.items()},
            jax.device_put(np.broadcast_to(frequency, (at_once, frequency.size))),
            lane_first(impedance, complex_),
            {name: lane_first(value) for name, value in references.items()},
            {name: jax.device_put(spans[trial]) for name, spans in windows.items()},
            {
                name: jax.tree.map(lambda x: lane_first(x, dtype if x.dtype.kind == "f" else np.int32), found)
                for name, found in seconds.items()
            },
        )
        readings = program().measure(tuple(measurements.values()), block)
        blocks.append([(np.asarray(value, np.float64), np.asarray(status)) for value, status in readings])
    return {
        name: (np.concatenate(values)[:lanes], np.concatenate(status)[:lanes])
        for name, (values, status) in zip(
            measurements, (zip(*parts, strict=True) for parts in zip(*blocks, strict=True)), strict=True
        )
    }
