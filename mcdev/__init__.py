"""mcdev: thousands of realisations of volatile memristors, in parallel, from one configuration.

import mcdev

experiment = mcdev.load("configs/wang2017/fig4b_train.toml")
results = mcdev.run(experiment.with_({"ensemble.devices": 256}))   # an xarray tree, with units
mcdev.summarise(results)                                           # mean, spread, quantiles
mcdev.draw(results, "figures")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcdev.calibration.folder import calibrate_file as calibrate
    from mcdev.configuration.experiment import Experiment, build, load
    from mcdev.configuration.plugins import load_plugin
    from mcdev.configuration.preset_tables import presets
    from mcdev.configuration.problems import ConfigError
    from mcdev.export.source import export as export_model
    from mcdev.figures import draw_all as draw
    from mcdev.files.whole_file import ResultsError
    from mcdev.machine.memory import NotEnoughMemory
    from mcdev.results.file import read, write
    from mcdev.results.resume import resume
    from mcdev.results.tree import experiment_of, run
    from mcdev.statistics import compare, make_card, summarise
    from mcdev.statistics.tables import frame

# Imported when first asked for: JAX, xarray and SciPy take seconds, and the command line has to say how JAX logs before
# it is imported.
_HOMES = {
    "Experiment": "mcdev.configuration.experiment",
    "build": "mcdev.configuration.experiment",
    "calibrate": "mcdev.calibration.folder:calibrate_file",
    "compare": "mcdev.statistics",
    "ConfigError": "mcdev.configuration.problems",
    "draw": "mcdev.figures:draw_all",
    "experiment_of": "mcdev.results.tree",
    "export_model": "mcdev.export.source:export",
    "frame": "mcdev.statistics.tables",
    "load": "mcdev.configuration.experiment",
    "load_plugin": "mcdev.configuration.plugins",
    "make_card": "mcdev.statistics",
    "NotEnoughMemory": "mcdev.machine.memory",
    "presets": "mcdev.configuration.preset_tables",
    "read": "mcdev.results.file",
    "ResultsError": "mcdev.files.whole_file",
    "resume": "mcdev.results.resume",
    "run": "mcdev.results.tree",
    "summarise": "mcdev.statistics",
    "write": "mcdev.results.file",
}
__all__ = [
    "ConfigError",
    "Experiment",
    "NotEnoughMemory",
    "ResultsError",
    "build",
    "calibrate",
    "compare",
    "draw",
    "experiment_of",
    "export_model",
    "frame",
    "load",
    "load_plugin",
    "make_card",
    "presets",
    "read",
    "resume",
    "run",
    "summarise",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mcdev' has no attribute '{name}'")
    module, _, own = _HOMES[name].partition(":")
    return getattr(import_module(module), own or name)


def __dir__() -> list[str]:
    return __all__
