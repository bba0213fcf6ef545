"""mcdev: thousands of realisations of volatile memristors, in parallel, from one configuration.

    import mcdev

    experiment = mcdev.load("configs/wang2017/fig4b_train.toml")
    results = mcdev.run(experiment.with_({"ensemble.devices": 256}))   # an xarray tree, with units
    mcdev.summarise(results)                                           # mean, spread, quantiles
"""

from mcdev.experiment import ConfigError, Experiment, build, load, presets
from mcdev.results import ResultsError, experiment_of, read, run, write
from mcdev.statistics import summarise

__all__ = [
    "ConfigError",
    "Experiment",
    "ResultsError",
    "build",
    "experiment_of",
    "load",
    "presets",
    "read",
    "run",
    "summarise",
    "write",
]
