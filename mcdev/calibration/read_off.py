"""Whether the parameters of measured devices correlate as those of the model's devices do.

Medians and spreads of readings are what is fitted. They hardly tell which parameters are large in the same device. So
the parameters of each measured device are read off its readings: the straight line of what the model draws over what
is read of its devices,

    ŵ = B y,        B = C_wy C_yy⁻¹ over devices of the fitted model

with w the normal scores of the drawn parameters and y the readings along their principal axes. For every two
parameters that are read off well, the correlation r of ŵ over the D measured devices is compared with that over the
model's, by Fisher's z = artanh r. The largest difference counts. By chance it is as large as in the model's own
devices: D of them are taken out, time after time, and compared with the others in the same way. No law is assumed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mcdev.calibration.plan import Plan
from mcdev.calibration.readings_of_sets import DeviceReadings, of_devices
from mcdev.simulation.ensemble import simulate
from mcdev.statistics.copula import normal_scores

DEVICES = 500
"""Of the model."""
_TIMES = 999  # that devices are taken out
_TOLD = 0.05  # variance of a principal axis, in that of one reading, below which it is left out, as in `uncertainty.py`
_LEAST = 5  # devices measured, with fewer of which there is nothing to compare
_READ = 0.9  # share of the model's devices that have a reading; else it is left out
_WELL = 0.5  # share of a drawn parameter's variance that the readings must tell
_MOST = 0.9999  # of a correlation, whose z is then finite


class Correlated(NamedTuple):
    """The two parameters whose correlation is furthest off, in one set of measured devices."""

    label: str
    names: tuple[str, str]
    measured: float
    model: float
    chance: float
    """Share of sets of as many of the model's own devices in which some two are as far off."""


def compared(plan: Plan, x: np.ndarray, seed: int) -> list[Correlated]:
    """Each set of measured devices against the model with parameters ``x`` (SI); none of a set that tells of fewer than
    two parameters."""
    found = []
    for measured in plan.sets:
        if len(measured.values) < _LEAST or not measured.which:
            continue
        names, drawn, model = _model(plan, x, measured, seed)
        fine = np.isfinite(model).mean(axis=0) >= _READ
        whole = np.isfinite(model[:, fine]).all(axis=1)
        if fine.any() and whole.sum() > DEVICES // 2:
            one = correlated(measured.label, names, measured.values[:, fine], model[whole][:, fine], drawn[whole], seed)
            found += [one] if one is not None else []
    return found


def _model(plan: Plan, x: np.ndarray, measured: DeviceReadings, seed: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """What the model draws from device to device: names and values [device, parameter]; and the same readings of these
    devices [device, reading]."""
    pair = (measured.experiment, measured.device)
    values = plan.given(x, *pair)
    points = {}
    for index in dict.fromkeys(r.point for r in measured.which):
        experiment = plan.cases[pair][index].at(values)
        ensemble = experiment.ensemble.model_copy(update={"devices": DEVICES, "seed": seed % 2**32})
        output = experiment.output.model_copy(update={"trajectories": 0})
        points[index] = simulate(experiment.model_copy(update={"ensemble": ensemble, "output": output}))[0]
    columns = []
    for r in measured.which:
        value, status = (np.asarray(of[r.name]) for of in (points[r.point].values, points[r.point].status))
        if r.entry is not None:
            value, status = value[..., r.entry], status[..., r.entry]
        columns.append(of_devices(value, status, r.logarithmic))
    own = {name: np.asarray(v) for name, v in next(iter(points.values())).parameters.items()}
    names = [name for name, v in own.items() if v.ndim == 1 and np.ptp(v) > 0]
    return names, np.array([own[name] for name in names]).reshape(len(names), -1).T, np.array(columns).T


def correlated(
    label: str, names: list[str], own: np.ndarray, model: np.ndarray, drawn: np.ndarray, seed: int
) -> Correlated | None:
    """The two parameters of measured devices ``own`` [device, reading] that correlate least as in the model, of whose
    devices ``model`` [device, reading] are the readings and ``drawn`` [device, parameter] the parameters; None where
    fewer than two are read off well."""
    w = np.array([normal_scores(values) for values in drawn.T]).reshape(drawn.shape[::-1]).T
    scale = np.maximum(model.std(axis=0), 1e-300)
    size, turn = np.linalg.eigh(np.atleast_2d(np.corrcoef(model.T)))
    turn = turn[:, size > _TOLD]
    y, there = (model / scale) @ turn, (own / scale) @ turn
    line, centre = _line(w, y)
    told = 1.0 - np.var(w - (y - centre) @ line, axis=0) / np.var(w, axis=0) if w.size else np.empty(0)
    which = np.flatnonzero(told > _WELL)
    if len(which) < 2:
        return None
    pairs = list(itertools.combinations(range(len(which)), 2))

    def off(devices: np.ndarray, w: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        line = _line(w, y)[0]
        r = [np.corrcoef((some @ line).T) for some in (devices, y)]
        here, usual = (np.array([one[pair] for pair in pairs]) for one in r)
        z = [np.arctanh(np.clip(one, -_MOST, _MOST)) for one in (here, usual)]
        return np.abs(z[0] - z[1]), here, usual

    w = w[:, which]
    differences, here, usual = off(there, w, y)
    rng, others, by_chance = np.random.default_rng(seed), np.ones(len(y), bool), []
    for _ in range(_TIMES):
        out = rng.choice(len(y), len(own), replace=False)
        others[out] = False
        by_chance.append(off(y[out], w[others], y[others])[0].max())
        others[out] = True
    worst = int(np.argmax(differences))
    a, b = (names[which[i]] for i in pairs[worst])
    chance = (1 + np.sum(np.array(by_chance) >= differences[worst])) / (1 + _TIMES)
    return Correlated(label, (a, b), float(here[worst]), float(usual[worst]), float(chance))


def _line(w: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """B transposed [axis, parameter], and where y is centred."""
    centre = y.mean(axis=0)
    away = y - centre
    return np.linalg.solve(away.T @ away, away.T @ (w - w.mean(axis=0))), centre


def words(found: Iterable[Correlated], conflict: float) -> list[str]:
    """What is to be said of sets that less than a share ``conflict`` of the model's own are like."""
    return [
        f"{one.label}: {one.names[0]} and {one.names[1]} of the measured devices correlate by {one.measured:.2f}, "
        f"where the model's correlate by {one.model:.2f}; {100 * one.chance:.2g} % of sets of its own devices are as "
        "far off: the devices conflict with the model, and no interval holds this; give ensemble.correlation"
        for one in found
        if one.chance < conflict
    ]
