"""What a spread over devices can contain: of devices that differ, of what changes from cycle to cycle, or of both."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from mcdev.results.of_files import is_measured
from mcdev.results.tree import experiment_of


class Contents(NamedTuple):
    """Of the spread between devices at one sweep point."""

    name: str
    """``D2D``; of one cycle also ``thermal``, ``C2C``, ``total`` or ``none``: in headings and names of statistics."""
    words: str
    """The same in a phrase."""


def contents(tree: xr.DataTree, index: int) -> Contents:
    """What differs between two devices at one sweep point.

    Over several cycles a device's own part (D2D) and what its cycles do (C2C) are told apart. In one cycle they are
    not: devices without noise differ by their parameters alone, devices whose parameters are the same by their noise
    alone, and else the spread is the total.
    """
    experiment = experiment_of(tree).points()[index][1]
    if is_measured(tree):  # what differs is not known, and nothing is left out
        if experiment.ensemble.cycles > 1:
            return Contents("D2D", "measured: device to device (D2D) and cycle to cycle (C2C) apart")
        return Contents("total", "measured, one cycle: the total of D2D and C2C, which it cannot tell apart")
    tables = [experiment.device, *experiment.circuit.tables.values()]
    drawn = tree["parameters"].dataset
    differ = any(np.ptp(values.values[index]) > 0 for values in drawn.data_vars.values())
    differ |= any(table.disordered for table in tables)
    if experiment.ensemble.cycles > 1:
        chance = "" if differ else "; no parameter differs between devices, so that D2D is what chance leaves"
        return Contents("D2D", f"device to device (D2D) and cycle to cycle (C2C) apart{chance}")
    thermal, changing = any(not table.alike for table in tables), bool(experiment.ensemble.cycle_to_cycle)
    noise = {"thermal": thermal, "C2C": changing}
    names = {"thermal": "thermal motion", "C2C": "changes from cycle to cycle"}
    within = " and ".join(names[name] for name, there in noise.items() if there)
    if differ and within:
        return Contents("total", f"one cycle: the total of D2D and of {within}, which it cannot tell apart")
    if differ:
        return Contents("D2D", "device to device (D2D): nothing else differs")
    if within:
        name = "thermal" if thermal and not changing else "C2C"
        return Contents(name, f"one cycle of devices of equal parameters: {within}, not device to device")
    return Contents("none", "devices of equal parameters without noise: nothing differs")
