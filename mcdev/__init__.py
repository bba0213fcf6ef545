"""mcdev: thousands of realisations of volatile memristors, in parallel, from one configuration.

import mcdev

experiment = mcdev.load("configs/wang2017/fig4b_train.toml")
results = mcdev.run(experiment.with_({"ensemble.devices": 256}))   # an xarray tree, with units
mcdev.summarise(results)                                           # mean, spread, quantiles
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

    from mcdev.configuration.experiment import Experiment as Experiment
    from mcdev.configuration.experiment import build as build
    from mcdev.configuration.experiment import load as load
    from mcdev.configuration.plugins import load_plugin as load_plugin
    from mcdev.configuration.preset_tables import presets as presets
    from mcdev.configuration.problems import ConfigError as ConfigError
    from mcdev.files.whole_file import ResultsError as ResultsError
    from mcdev.results.file import read as read
    from mcdev.results.file import write as write
    from mcdev.results.tree import experiment_of as experiment_of
    from mcdev.results.tree import run as run
    from mcdev.statistics import summarise as summarise

# Imported when first asked for: JAX, xarray and SciPy take seconds, and the command line has to say how JAX logs before
# it is imported.
_HOMES = {
    "mcdev.configuration.experiment": ("Experiment", "build", "load"),
    "mcdev.configuration.plugins": ("load_plugin",),
    "mcdev.configuration.preset_tables": ("presets",),
    "mcdev.configuration.problems": ("ConfigError",),
    "mcdev.files.whole_file": ("ResultsError",),
    "mcdev.results.file": ("read", "write"),
    "mcdev.results.tree": ("experiment_of", "run"),
    "mcdev.statistics": ("summarise",),
}
__all__ = sorted(["plot", *(name for names in _HOMES.values() for name in names)])


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'mcdev' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def plot(tree: "xr.DataTree", folder: str | Path) -> list[Path]:
    """Draw every picture that applies to these results into a folder; returns the files."""
    from mcdev.figures import draw_all

    return draw_all(tree, Path(folder))
