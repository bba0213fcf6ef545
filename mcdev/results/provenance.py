"""Where results come from: configuration, seed, code, machine, libraries, sources of the numbers."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from mcdev.configuration.experiment import Experiment
from mcdev.configuration.preset_tables import presets
from mcdev.kinds import name_of
from mcdev.machine.environment import backend
from mcdev.machine.identity import Origin, together, written
from mcdev.machine.provenance import code_version, versions

SCHEMA_VERSION = 3
"""Of the results' layout."""


def attributes(experiment: Experiment, variants: list[Experiment], origins: Sequence[Origin]) -> dict[str, Any]:
    """Attributes of the results' root."""
    every = [table for point in variants for table in (point.device, *point.circuit.tables.values())]
    named = dict.fromkeys(name for table in every if (name := getattr(table, "preset", None)))
    known = presets() | experiment.own_presets
    used = [known[name] for name in named]
    first, *others = (point.device.reduced_units for point in variants)
    reduced = {si: name for si, name in first.items() if all(units.get(si) == name for units in others)}
    return {
        "title": experiment.name,
        "description": experiment.description,
        "Conventions": "CF-1.11",
        "mcdev_schema_version": SCHEMA_VERSION,
        "config_hash": experiment.hash,
        "seed": experiment.ensemble.seed,
        "precision": experiment.precision,
        "backend": backend(),
        "accelerator": str(jax.devices()[0].device_kind),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": versions("jax", "jaxlib", "numpy", "xarray", "h5py"),
        "code_version": code_version(),
        "git_commit": git_commit(),
        # what of the device the numbers do not tell, for whoever reads them without its plugin
        "alike": int(all(table.alike for table in every)),
        "disordered": int(any(table.disordered for table in every)),
        "plugins": "\n".join(
            f"{plugin.source} ({', '.join(name_of(kind) for kind in plugin.kinds)})" for plugin in experiment.plugins
        ),
        "origins": written(origins),
        "notes": "\n".join(experiment.notes()),
        "warnings": "\n".join(filter(None, [*experiment.warnings(), together(origins)])),
        "reduced_units": "; ".join(f"1 {si} = {name}" for si, name in reduced.items()),
        "device_source": "\n".join(dict.fromkeys(preset["source"] for preset in used)),
        "device_notes": "\n".join(dict.fromkeys(note for preset in used for note in preset["notes"])),
    }


def git_commit() -> str:
    """Commit of the source tree that mcdev runs from; empty where there is none."""
    folder = Path(__file__).resolve().parents[1]
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "log", "-1", "--format=%H", "--", "."],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
