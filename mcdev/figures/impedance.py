"""Impedance spectra: Bode and Nyquist (Shin et al. 2022, Fig. 2)."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, MultipleLocator, NullFormatter
from scipy.optimize import least_squares

from mcdev.figures.axes import counted, first_cycle, mean_label, point_colours, points, scale, shown_points, sweep_title
from mcdev.figures.numbers import published, with_unit
from mcdev.figures.style import GREY, dress, legend_above, remark, sheet
from mcdev.machine.environment import computing
from mcdev.measurements.equivalent_circuit import EquivalentCircuit, circuit_impedance
from mcdev.results.tree import experiment_of
from mcdev.statistics import summarise

NAME = "impedance"

_ELEMENTS = ("series_resistance", "ionic_resistance", "geometric_capacitance", "layer_capacitance")


class Spectrum(NamedTuple):
    """Impedance of every intact realisation at one sweep point, first cycle."""

    frequency: np.ndarray
    """[F] in Hz."""
    impedance: np.ndarray
    """[device, F] in Ω."""

    @property
    def mean(self) -> np.ndarray:
        return np.asarray(self.impedance.mean(axis=0)) if len(self.impedance) else np.full(self.frequency.size, np.nan)


def applies(tree: xr.DataTree) -> bool:
    return "frequency" in tree["spectrum"].dataset


def draw(tree: xr.DataTree) -> Figure:
    """|Z| and phase against frequency, -Im Z against Re Z. Dots: means over devices; band: 5-95 % of them; line: the
    equivalent circuit fitted to the mean spectrum, where the configuration measures one."""
    shown = shown_points(tree)
    spectra = [_spectrum(tree, point) for point in shown]
    hertz = scale(tree, "Hz", np.array([1.0]))
    figure = sheet(4.9)
    size, phase, plane = figure.subplots(3, 1, height_ratios=[1, 0.8, 1.5])
    phase.sharex(size)
    ohm = scale(tree, "ohm", np.concatenate([[0.0], *(s.mean.real for s in spectra), *(s.mean.imag for s in spectra)]))
    fitted = any(isinstance(m, EquivalentCircuit) for m in experiment_of(tree).measurements.values())
    for point, spectrum, colour in zip(shown, spectra, point_colours(tree, shown), strict=True):
        label = (points(tree)[1][point] if points(tree)[1] else mean_label(tree, point)) + _conductivity(tree, point)
        _draw_spectrum((size, phase, plane), spectrum, hertz.factor, ohm.factor, colour, label)
        if fitted and np.isfinite(spectrum.mean).all():
            _draw_circuit((size, phase, plane), spectrum, hertz.factor, ohm.factor, colour)
    lowest, highest = min(s.frequency.min() for s in spectra), max(s.frequency.max() for s in spectra)
    for axes in (size, phase):
        axes.set_xscale("log")
        axes.set_xlim(hertz.factor * lowest / 1.6, hertz.factor * highest * 1.6)
        axes.xaxis.set_major_locator(LogLocator(numticks=12))
    size.tick_params(labelbottom=False)
    dress(size, "", r"$|Z|$ (Ω)")
    dress(phase, hertz.label("frequency", "f"), "phase (°)")
    phase.yaxis.set_major_locator(MultipleLocator(30))
    if all(np.all(s.mean.imag <= 0) & np.all(s.mean.real >= 0) for s in spectra):
        phase.set_ylim(-95, 5)
    dress(plane, rf"$\mathrm{{Re}}\,Z$ ({ohm.unit})", rf"$-\mathrm{{Im}}\,Z$ ({ohm.unit})")
    for axis in (size.xaxis, phase.xaxis):
        axis.set_minor_formatter(NullFormatter())
    plane.set_aspect("equal", adjustable="datalim")
    plane.set_anchor("W")
    for axis in (plane.xaxis, plane.yaxis):
        axis.set_major_locator(MaxNLocator(6))
    if any(np.isfinite(s.mean).any() for s in spectra):
        size.set_yscale("log")
        size.yaxis.set_minor_formatter(NullFormatter())
    else:
        remark(size, "no intact realisation")
    remark(plane, first_cycle(tree), "corner")
    if fitted:
        size.plot(
            [],
            [],
            color=GREY,
            linewidth=0.7,
            label=r"circuit $R_s + (R_\mathrm{ion}\,\|\,C_\mathrm{geo}) + C_\mathrm{dl}$",
        )
    several = tree["realisations"].sizes["device"] > 1
    legend_above(
        figure, [size], "; ".join(filter(None, [sweep_title(tree), "band and thin lines: devices" if several else ""]))
    )
    return figure


def _spectrum(tree: xr.DataTree, point: int) -> Spectrum:
    data = tree["spectrum"].dataset.isel(point=point)
    frequency = data["frequency"].values
    known = np.isfinite(frequency)
    every = (data["resistance"].values + 1j * data["reactance"].values)[:, 0, known]  # [device, F]
    return Spectrum(frequency[known], every[np.isfinite(every).all(axis=1)])


def _conductivity(tree: xr.DataTree, point: int) -> str:
    """What the circuit gave for the conductivity, and what is published of it."""
    measurements = experiment_of(tree).measurements
    circuits = {name: m for name, m in measurements.items() if isinstance(m, EquivalentCircuit)}
    for name, circuit in circuits.items():
        if circuit.result == "conductivity":
            row = [r for r in summarise(tree, variability=False) if r["measurement"] == name][point]
            if row["mean"] is None:
                return ""
            error = np.nan if row["sem"] is None else row["sem"]
            value = with_unit(tree, row["unit"], row["mean"], error)
            return rf": $\sigma$ = {value}{counted([row])}" + published(tree, name, point)
    return ""


def _draw_spectrum(
    panels: tuple[Axes, Axes, Axes], drawn: Spectrum, hertz: float, ohm: float, colour: Any, label: str
) -> None:
    frequency, every = drawn.frequency * hertz, drawn.impedance
    look: dict[str, Any] = {"marker": "o", "markersize": 2.0, "markeredgewidth": 0, "linewidth": 0, "color": colour}
    for axes, values in ((panels[0], np.abs(every)), (panels[1], np.degrees(np.angle(every)))):
        if len(values) > 1:
            low, high = np.quantile(values, [0.05, 0.95], axis=0)
            axes.fill_between(frequency, low, high, color=colour, alpha=0.2, linewidth=0)
    mean = drawn.mean
    panels[0].plot(frequency, np.abs(mean), label=label, **look)
    panels[1].plot(frequency, np.degrees(np.angle(mean)), **look)
    for single in every if 1 < len(every) <= 20 else ():
        panels[2].plot(single.real * ohm, -single.imag * ohm, color=colour, linewidth=0.3, alpha=0.35)
    panels[2].plot(mean.real * ohm, -mean.imag * ohm, **look)


def _draw_circuit(panels: tuple[Axes, Axes, Axes], drawn: Spectrum, hertz: float, ohm: float, colour: Any) -> None:
    """The circuit that fits the mean spectrum best."""
    logs = fit_circuit(drawn.frequency, drawn.mean)
    inside = np.geomspace(drawn.frequency.min(), drawn.frequency.max(), 200)
    line = circuit(logs, inside)
    look: dict[str, Any] = {"color": colour, "linewidth": 0.7}
    panels[0].plot(inside * hertz, np.abs(line), label="_circuit", **look)
    panels[1].plot(inside * hertz, np.degrees(np.angle(line)), label="_circuit", **look)
    panels[2].plot(line.real * ohm, -line.imag * ohm, label="_circuit", **look)


def fit_circuit(frequency: np.ndarray, impedance: np.ndarray) -> np.ndarray:
    """Logarithms of the circuit's four elements, by least squares of the relative deviation as the measurement does."""
    size, high = np.abs(impedance), int(np.argmax(frequency))
    geometric = 1.0 / (2 * np.pi * frequency[high] * max(-impedance[high].imag, 1e-6 * size[high]))
    start = [max(impedance[high].real, 1e-6 * size[high]), size.max(), geometric, 30.0 * geometric]

    def deviation(logs: np.ndarray) -> np.ndarray:
        relative = (circuit(logs, frequency) - impedance) / size
        return np.concatenate([relative.real, relative.imag])

    return np.asarray(least_squares(deviation, np.log(start), x_scale="jac").x)


def circuit(logs: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Impedance (Ω) of the logarithms of its elements: R_s, R_ion, C_geo, C_dl (Ω, F)."""
    with computing(True):
        elements = {name: jnp.asarray(x) for name, x in zip(_ELEMENTS, logs, strict=True)}
        return np.asarray(circuit_impedance(elements, jnp.asarray(2 * np.pi * frequency)))
