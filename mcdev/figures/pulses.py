"""Values at each pulse of a train, from a measurement of that kind or else from the mean course."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from mcdev.figures.courses import course, window
from mcdev.measurements.contract import OK
from mcdev.results.tree import experiment_of


@dataclass(frozen=True)
class AtPulses:
    """One value a pulse, [pulse], in the unit of the tree."""

    name: str
    """Of the measurement; empty where the values are of the mean course, in siemens."""
    unit: str
    mean: np.ndarray
    sem: np.ndarray

    @property
    def number(self) -> np.ndarray:
        """Pulses are counted from one."""
        return np.arange(1, self.mean.size + 1)


def listed(tree: xr.DataTree, *kinds: str) -> list[str]:
    """Names of the measurements with an entry for each pulse; of these kinds, if any are given."""
    lists = {name: data for name, data in tree["measurements"].children.items() if "entry" in data.dims}
    return [name for name, data in lists.items() if not kinds or data["value"].attrs["kind"] in kinds]


def measured(tree: xr.DataTree, name: str, point: int, cycle: int | None = None) -> AtPulses:
    """Mean over realisations, and its standard error from the devices' own means: cycles are not independent."""
    data = tree[f"measurements/{name}"].dataset
    values, status = (data[n].isel(point=point).values for n in ("value", "status"))  # [device, cycle, pulse]
    values, status = values[..., (status >= 0).any(axis=(0, 1))], status[..., (status >= 0).any(axis=(0, 1))]
    if cycle is not None:
        values, status = values[:, [cycle]], status[:, [cycle]]
    fine = (status == OK) & np.isfinite(values)
    total = np.where(fine, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):  # no value at all: NaN is the answer
        mean = total.sum(axis=(0, 1)) / fine.sum(axis=(0, 1))
        own = total.sum(axis=1) / fine.sum(axis=1)  # [device, pulse]
        count = np.isfinite(own).sum(axis=0)
        centre = np.where(np.isfinite(own), own, 0.0).sum(axis=0) / count
        square = np.where(np.isfinite(own), (own - centre) ** 2, 0.0).sum(axis=0)
        sem = np.where(count > 1, np.sqrt(square / (count - 1) / count), np.nan)
    return AtPulses(name, str(data["value"].attrs["units"]), mean, sem)


def last_quarters(tree: xr.DataTree, point: int = 0) -> list[slice]:
    """Samples of the last quarter of each pulse, over which its conductance is read."""
    return [slice(last - max((last - first) // 4, 1), last) for first, last in window(tree, "pulse", point)]


def of_course(tree: xr.DataTree, point: int) -> AtPulses:
    """Conductance of the mean course in the last quarter of each pulse. Its error is taken as that of one sample:
    within a pulse the samples of a realisation are hardly independent."""
    drawn, quarters = course(tree, "conductance", point), last_quarters(tree, point)
    mean, sem = (np.array([series[quarter].mean() for quarter in quarters]) for series in (drawn.mean, drawn.sem))
    return AtPulses("", "S", mean, sem)


def conductance_at(tree: xr.DataTree, point: int) -> AtPulses:
    """Conductance at each pulse of the first cycle: measured where the configuration asks for it."""
    names = listed(tree, "pulse_conductance")
    return measured(tree, names[0], point, cycle=0) if names else of_course(tree, point)


def full_scale(tree: xr.DataTree) -> float | None:
    """The one G_max (S) that all devices share; None where they differ or have none."""
    device, parameters = experiment_of(tree).device, tree["parameters"].dataset
    if device.full_scale is None:
        return None
    values = device.full_scale.of({name: parameters[name].values * u.scale for name, u in device.parameters().items()})
    return float(values.flat[0]) if np.ptp(values) == 0 else None
