"""A picture of your own, from results alone: current against the device's voltage, of the first realisations.

mcdev plot FOLDER --plugin my_picture.py
"""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

NAME = "my_picture"
"""The file that it is written to, without the ending."""


def applies(tree: xr.DataTree) -> bool:
    """Whether these results have what the picture shows; here: trajectories."""
    return "current" in tree["trajectories"].dataset


def draw(tree: xr.DataTree) -> Figure:
    """One line a realisation, at the first sweep point, in the first cycle. The tree has SI units."""
    kept = tree["trajectories"].dataset.isel(point=0, kept_cycle=0)
    figure = Figure(figsize=(3.4, 2.6), layout="constrained")
    axes = figure.subplots()
    for voltage, current in zip(kept["device_voltage"].values, kept["current"].values, strict=True):
        axes.plot(voltage, current * 1e6, linewidth=0.8)
    axes.set_xlabel("voltage across the device (V)")
    axes.set_ylabel("current (µA)")
    return figure
