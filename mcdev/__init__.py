"""mcdev: thousands of realisations of volatile memristors, in parallel, from one configuration.

import mcdev

experiment = mcdev.load("configs/wang2017/fig4b_train.toml")
results = mcdev.run(experiment.with_({"ensemble.devices": 256}))   # an xarray tree, with units
mcdev.summarise(results)                                           # mean, spread, quantiles
"""

from pathlib import Path
from typing import TYPE_CHECKING

from mcdev.experiment import Experiment, build, load
from mcdev.preset_tables import presets
from mcdev.problems import ConfigError
from mcdev.results import ResultsError, experiment_of, read, run, write
from mcdev.statistics import summarise

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "ConfigError",
    "Experiment",
    "ResultsError",
    "build",
    "experiment_of",
    "load",
    "plot",
    "presets",
    "read",
    "run",
    "summarise",
    "write",
]


def plot(tree: "xr.DataTree", folder: str | Path) -> list[Path]:
    """Draw every picture that applies to these results into a folder; returns the files."""
    from mcdev.figures import draw_all  # matplotlib is slow to import and not always wanted

    return draw_all(tree, Path(folder))
