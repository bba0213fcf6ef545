"""Posteriors from simulations: what a data set reads, what is learnt from it, whether it may be believed."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from mcdev.calibration import resolve
from mcdev.calibration import folder as its_folder
from mcdev.calibration.plan import Plan

DEVICE: dict[str, Any] = {
    "kind": "volatile_threshold",
    "threshold_voltage": "0.6 V",
    "hold_voltage": "0.3 V",
    "switching_rate": "20 Hz",
    "switching_exponent": 1.5,
    "relaxation_time": "100 ms",
    "on_conductance": "100 uS",
    "off_conductance": "1 uS",
    "integrator": {"coupling_interval": "20 ms"},
}
PULSE: dict[str, Any] = {
    "protocol": {
        "kind": "pulse",
        "amplitude": "1.2 V",
        "width": "300 ms",
        "relaxation": "1 s",
        "samples_per_pulse": 20,
        "relaxation_samples": 40,
    },
    "measurements": {"tau_d": {"kind": "delay_time"}, "tau_r": {"kind": "relaxation_time"}},
}
JOB: dict[str, Any] = {
    "name": "learnt",
    "device": DEVICE,
    "experiments": {"pulse": PULSE},
    "parameters": {"device.relaxation_time": {"prior": {"median": "100 ms", "factor": 1.5}}},
    "targets": [
        {
            "experiment": "pulse",
            "measurement": "tau_r",
            "value": "250 ms",
            "uncertainty": "20 %",
            "source": "planted",
        }
    ],
    "simulations": {"number": 512},
    "report": {"posterior": 2000},
}


def job(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(JOB) | changes


def plan_of(data: dict[str, Any]) -> Plan:
    return resolve(data, Path())


def test_a_conjugate_posterior_is_learnt_from_a_devices_simulations(tmp_path: Path) -> None:
    """τ_r goes as the relaxation time τ, both with Gaussian logarithms: the posterior is known."""
    plan = plan_of(job())
    tree = its_folder.work(plan, tmp_path, its_folder.begin(plan, tmp_path), lambda text: None)
    print(tree.attrs["conclusions"])
    print(tree["parameters"].dataset)
