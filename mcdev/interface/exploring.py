"""A device to play with in a notebook: sliders on its parameters, and the mean and the spread of 64 devices redrawn.

What a slider changes are numbers that the compiled program takes, so that it is compiled once, for the first picture.
Needs ipywidgets (``pip install 'mcdev[notebook]'``).
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from mcdev.configuration.experiment import Experiment, build
from mcdev.configuration.preset_tables import presets
from mcdev.configuration.problems import ConfigError, Problem
from mcdev.figures.axes import quantity, scale
from mcdev.figures.courses import course, draw_source, draw_steps, timelines
from mcdev.figures.style import BLUE, RED, dress, legend, sheet
from mcdev.files.structure import parse_toml
from mcdev.interface.python import experiment_from
from mcdev.interface.starter import starter
from mcdev.machine import compilation_cache
from mcdev.results import tree as results
from mcdev.schema import nearest, typical
from mcdev.schema.meanings import meaning
from mcdev.schema.units import customary

DEVICES = 64
_AROUND = 5.0
"""A slider goes from the value over this to the value times this, within the parameter's bounds."""
_FIRST = 8
"""Parameters that have sliders where none are named."""
_STEPS = 200
_SPREAD = "spread"


class Knob(NamedTuple):
    """One parameter that has a slider."""

    key: str
    unit: str
    """In which it is shown."""
    value: float
    low: float
    high: float
    logarithmic: bool
    bounds: Mapping[str, float]
    """Of what it may be at all: the keys ``low`` and ``high`` of a distribution, where there are such bounds above
    zero."""
    meaning: str


class Explorer:
    """The devices of an experiment, with numbers that can be changed. A notebook shows sliders and a picture; ``set``
    does the same without one."""

    def __init__(self, experiment: Experiment, parameters: Iterable[str] = (), channel: str = "conductance"):
        one = {"ensemble.devices": DEVICES, "ensemble.cycles": 1, "output.trajectories": 0, "sweep.axes": {}}
        measured = {"on_off": {"kind": "on_off_ratio"}}  # none is shown, and one must be there
        plain = {"fits": {}, "output.reference": [], "measurements": measured}
        self.experiment = experiment.with_(one | plain)
        """As it is drawn now."""
        self.knobs = {knob.key: knob for knob in _knobs(self.experiment, tuple(parameters))}
        self.values = {key: knob.value for key, knob in self.knobs.items()}
        """Of each parameter that has a slider, in the unit of its knob."""
        self.spread = 0.05
        """σ of ln of each of these from device to device."""
        self.channel = channel
        compilation_cache.switch_on()
        self._change()

    def set(self, spread: float | None = None, **values: float) -> Figure:
        """The picture with other values of parameters, each in the unit of its knob. Raises ``ConfigError`` for what
        has no slider, and where the device does not admit the values together."""
        self._move(values, spread)
        return self.draw()

    def _move(self, values: Mapping[str, float], spread: float | None = None) -> None:
        wrong = [Problem(key, None, f"has no slider; {nearest(key, self.knobs)}") for key in values.keys() - self.knobs]
        if wrong:
            raise ConfigError(wrong, "explore")
        before = self.values, self.spread
        self.values = {**self.values, **values}
        self.spread = self.spread if spread is None else spread
        try:
            self._change()
        except ConfigError:
            self.values, self.spread = before
            raise

    def _change(self) -> None:
        self.experiment = self.experiment.with_(
            {f"device.{key}": _drawn(self.knobs[key], value, self.spread) for key, value in self.values.items()}
        )
        self.results = results.run(self.experiment)

    def draw(self) -> Figure:
        """The source's voltage, and below it the channel: mean, standard error and the outermost quantiles."""
        figure = sheet(2.8)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1, 2.2])
        source, drawn = timelines(self.results)[0], course(self.results, self.channel)
        time, time_label = quantity(self.results, "s", np.array([source.duration]))
        volts, volts_label = quantity(self.results, "V", np.append(source.start, source.end))
        draw_source(upper, source, time, volts, RED)
        dress(upper, "", volts_label)
        about = self.results["response"].dataset[self.channel].attrs
        value = scale(self.results, about["units"], drawn.mean)
        draw_steps(lower, drawn, time, value, BLUE, f"mean of {DEVICES}")
        dress(lower, time_label, value.named(self.channel.replace("_", " ")))
        lower.set_xlim(0, source.duration * time.factor)
        legend(lower)
        return figure

    @property
    def channels(self) -> list[str]:
        """What can be drawn."""
        data = self.results["response"].dataset
        return [str(name) for name in data.data_vars if f"{name}_quantiles" in data]

    def toml(self) -> str:
        """The configuration as it is drawn, to be kept: ``mcdev run`` runs it."""
        return self.experiment.to_toml()

    def widget(self) -> Any:
        """Sliders, a choice of the channel and the picture, of ipywidgets. What a configuration does not admit is said
        below them. Raises ``ConfigError`` where ipywidgets is not installed."""
        try:
            import ipywidgets
        except ImportError:
            remedy = "is not installed: pip install 'mcdev[notebook]'"
            raise ConfigError([Problem("ipywidgets", None, remedy)], "explore") from None
        look = {"style": {"description_width": "11em"}, "layout": {"width": "28em"}, "continuous_update": False}
        sliders: dict[str, Any] = {
            key: _slider(ipywidgets, knob, self.values[key], look) for key, knob in self.knobs.items()
        }
        spread = ipywidgets.FloatSlider(self.spread, min=0.0, max=0.5, step=0.01, description=_SPREAD, **look)
        sliders[_SPREAD] = spread
        channel = ipywidgets.Dropdown(options=self.channels, value=self.channel, description="channel")
        picture, said = ipywidgets.Image(value=_png(self.draw()), format="png"), ipywidgets.Label()

        def redraw(change: Mapping[str, Any]) -> None:
            key = next((key for key, slider in sliders.items() if slider is change["owner"]), "")
            try:
                if key == _SPREAD:
                    self._move({}, change["new"])
                elif key:
                    self._move({key: change["new"]})
                else:
                    self.channel = change["new"]
                said.value = ""
            except ConfigError as error:
                said.value = "; ".join(problem.message for problem in error.problems)
                return
            picture.value = _png(self.draw())

        for each in (*sliders.values(), channel):
            each.observe(redraw, names="value")
        return ipywidgets.HBox([ipywidgets.VBox([*sliders.values(), channel, said]), picture])

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget())


def explore(
    device: Experiment | Mapping[str, Any] | str | os.PathLike[str],
    parameters: Iterable[str] = (),
    channel: str = "conductance",
) -> Explorer:
    """Sliders on the parameters of a device, in a notebook, with the mean and the band of 64 devices.

    ``device``: the name of a preset, which gets a train of pulses, or an experiment as :func:`mcdev.run` takes it.
    ``parameters``: those that get a slider; by default the first eight that are numbers above zero. ``channel``: what
    is drawn first. Raises ``ConfigError`` for what is no device, parameter or channel.
    """
    if isinstance(device, str) and device in presets():
        device = build(parse_toml(starter(device, "pulse_train")))
    elif isinstance(device, str) and not Path(device).exists():
        wrong = Problem(device, None, f"is no preset and no file; {nearest(device, presets())}")
        raise ConfigError([wrong], "explore")
    made = Explorer(experiment_from(device), parameters)
    if channel not in made.channels:
        raise ConfigError([Problem(channel, None, f"is no channel; {nearest(channel, made.channels)}")], "explore")
    made.channel = channel
    return made


def _knobs(experiment: Experiment, wanted: tuple[str, ...]) -> list[Knob]:
    device = experiment.device
    marks = device.parameters()
    wrong = [
        Problem(key, None, f"is no parameter of this device; {nearest(key, marks)}")
        for key in wanted
        if key not in marks
    ]
    if wrong:
        raise ConfigError(wrong, "explore")
    positive = [key for key in marks if key not in device.labels and typical(getattr(device, key)) > 0]
    found = []
    for key in wanted or positive[:_FIRST]:
        mark, size = marks[key], typical(getattr(device, key))
        unit, factor = customary(mark.unit, size / mark.scale)
        value = size / mark.scale * factor
        ends = {name: bound * factor for name, bound in mark.bounds.items()}
        bounds = {"low" if name.startswith(("g", "at_l")) else "high": end for name, end in ends.items() if end > 0}
        reach = (value / _AROUND, value * _AROUND) if value > 0 else (value - _AROUND, value + _AROUND)
        low = max([reach[0], *(end for end in ends.values() if end <= value)])
        high = min([reach[1], *(end for end in ends.values() if end >= value)])
        description = (meaning(type(device), key) or key).partition("\n")[0]
        found.append(Knob(key, unit, value, low, high, low > 0, bounds, description))
    return found


def _drawn(knob: Knob, value: float, spread: float) -> Any:
    """What the device's table holds: a distribution about the value, where there is spread."""

    def written(number: float) -> str | float:
        return f"{number!r} {knob.unit}" if knob.unit else number

    if spread == 0 or value <= 0:
        return written(value)
    ends = {name: written(end) for name, end in knob.bounds.items()}
    return {"distribution": "lognormal", "median": written(value), "sigma": spread} | ends


def _slider(ipywidgets: Any, knob: Knob, value: float, look: Mapping[str, Any]) -> Any:
    text = f"{knob.key.replace('_', ' ')} ({knob.unit})" if knob.unit else knob.key.replace("_", " ")
    about = {"value": value, "description": text, "tooltip": knob.meaning, "readout_format": ".4g"}
    if not knob.logarithmic:
        step = (knob.high - knob.low) / _STEPS
        return ipywidgets.FloatSlider(min=knob.low, max=knob.high, step=step, **about, **look)
    low, high = math.log10(knob.low), math.log10(knob.high)
    return ipywidgets.FloatLogSlider(min=low, max=high, step=(high - low) / _STEPS, **about, **look)


def _png(figure: Figure) -> bytes:
    with io.BytesIO() as temporary:
        figure.savefig(temporary, format="png", dpi=150)
        return temporary.getvalue()
