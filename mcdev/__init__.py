"""mcdev: thousands of realisations of volatile memristors, in parallel, from one configuration.

import mcdev

experiment = mcdev.load("configs/wang2017/fig4b_train.toml")
results = mcdev.run(experiment.with_({"ensemble.devices": 256}))   # an xarray tree, with units
mcdev.summarise(results)                                           # mean, spread, quantiles
mcdev.frame(results)                                               # of pandas: one row a device and cycle
mcdev.draw(results, "figures")                                     # name → matplotlib figure; also written there
mcdev.report(results, "report.html")                               # all of it, to zoom and to choose in a browser
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
    from mcdev.figures.showing import draw, draw_panel, plot
    from mcdev.files.whole_file import ResultsError
    from mcdev.interface.exploring import explore
    from mcdev.interface.python import run
    from mcdev.machine.memory import NotEnoughMemory
    from mcdev.reports.report import report
    from mcdev.results.by_element import by_element
    from mcdev.results.file import read, write
    from mcdev.results.frame import frame
    from mcdev.results.resume import resume
    from mcdev.results.tree import experiment_of
    from mcdev.statistics import compare, make_card, summarise
    from mcdev.statistics.populations import compare_populations
    from mcdev.statistics.tables import statistics_frame

    __version__: str

# Imported when first asked for: JAX, xarray and SciPy take seconds, and the command line has to say how JAX logs before
# it is imported.
_HOMES = {
    "Experiment": "mcdev.configuration.experiment",
    "build": "mcdev.configuration.experiment",
    "by_element": "mcdev.results.by_element",
    "calibrate": "mcdev.calibration.folder:calibrate_file",
    "compare": "mcdev.statistics",
    "compare_populations": "mcdev.statistics.populations",
    "ConfigError": "mcdev.configuration.problems",
    "draw": "mcdev.figures.showing",
    "draw_panel": "mcdev.figures.showing",
    "experiment_of": "mcdev.results.tree",
    "explore": "mcdev.interface.exploring",
    "export_model": "mcdev.export.source:export",
    "frame": "mcdev.results.frame",
    "load": "mcdev.configuration.experiment",
    "load_plugin": "mcdev.configuration.plugins",
    "make_card": "mcdev.statistics",
    "NotEnoughMemory": "mcdev.machine.memory",
    "plot": "mcdev.figures.showing",
    "presets": "mcdev.configuration.preset_tables",
    "read": "mcdev.results.file",
    "report": "mcdev.reports.report",
    "ResultsError": "mcdev.files.whole_file",
    "resume": "mcdev.results.resume",
    "run": "mcdev.interface.python",
    "statistics_frame": "mcdev.statistics.tables",
    "summarise": "mcdev.statistics",
    "write": "mcdev.results.file",
}
__all__ = [
    "ConfigError",
    "Experiment",
    "NotEnoughMemory",
    "ResultsError",
    "build",
    "by_element",
    "calibrate",
    "compare",
    "compare_populations",
    "draw",
    "draw_panel",
    "experiment_of",
    "explore",
    "export_model",
    "frame",
    "load",
    "load_plugin",
    "make_card",
    "plot",
    "presets",
    "read",
    "report",
    "resume",
    "run",
    "statistics_frame",
    "summarise",
    "write",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("mcdev.machine.provenance").own_version()
    if name not in _HOMES:
        from difflib import get_close_matches

        close = get_close_matches(name, __all__, n=2)
        meant = f"; did you mean {' or '.join(close)}?" if close and not name.startswith("_") else ""
        raise AttributeError(f"module 'mcdev' has no attribute '{name}'{meant}")
    module, _, own = _HOMES[name].partition(":")
    return getattr(import_module(module), own or name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
