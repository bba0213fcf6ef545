"""How the folder of a run is called, and what lies in it."""

from __future__ import annotations

import datetime

from mcdev.configuration.experiment import Experiment

RECORD, CONFIG = "run.json", "config.toml"


def folder_name(experiment: Experiment) -> str:
    """Name of a new run's folder: experiment, UTC time, hash."""
    return f"{experiment.name}-{time_stamp()}-{experiment.hash}"


def time_stamp() -> str:
    """Now, in UTC, as a folder's name has it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
