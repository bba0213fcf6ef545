"""Voltage, current and conductance against time under any waveform, or a constant voltage."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from mcdev.figures.axes import (
    first_cycle,
    mean_label,
    means_label,
    point_colours,
    points,
    protocol_kind,
    quantity,
    shown_points,
    sweep_title,
)
from mcdev.figures.courses import course, draw_source, draw_steps, timelines
from mcdev.figures.style import GREY, RED, dress, legend_above, remark, sheet

NAME = "waveform"


def applies(tree: xr.DataTree) -> bool:
    return protocol_kind(tree) in ("waveform", "hold")


def draw(tree: xr.DataTree) -> Figure:
    """Three panels over one axis of time. Behind a resistor the device's own voltage is drawn beside the source's."""
    shown = shown_points(tree)
    alone = len(shown) == 1
    figure = sheet(3.7)
    panels = figure.subplots(3, 1, sharex=True, height_ratios=[0.8, 1, 1])
    every = timelines(tree)
    longest = max(every[point].duration for point in shown)
    time, time_label = quantity(tree, "s", np.array([longest]))
    labels = points(tree)[1] or [mean_label(tree)]
    for axes, channel, unit in zip(panels, ("voltage", "current", "conductance"), "VAS", strict=True):
        drawn = [course(tree, channel, point) for point in shown]
        value, label = quantity(tree, unit, np.concatenate([d.mean for d in drawn]))
        for point, one, colour in zip(shown, drawn, point_colours(tree, shown), strict=True):
            if channel == "voltage":
                draw_source(axes, every[point], time, value, RED if alone else colour)
                own = course(tree, "device_voltage", point)
                if alone and not np.allclose(own.mean, one.mean, equal_nan=True):
                    draw_steps(axes, own, time, value, GREY, "device, mean")
            else:
                draw_steps(axes, one, time, value, colour, labels[point], spread=alone)
        if not any(d.known for d in drawn):
            remark(axes, "no intact realisation")
        dress(axes, time_label if channel == "conductance" else "", label)
        axes.margins(y=0.12)
    panels[0].set_xlim(0, longest * time.factor)
    remark(panels[0], first_cycle(tree), "corner")
    title = "" if alone else f"{sweep_title(tree)}, {means_label(tree, shown)}, ± s.e.m."
    legend_above(figure, [panels[0], panels[2]] if alone else [panels[2]], title)
    return figure
