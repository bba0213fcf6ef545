"""What a rehearsal compiles is what the first cycle calls, so that nothing waits for the compiler twice."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

import mcdev
from mcdev.configuration.experiment import Experiment
from mcdev.simulation import program
from mcdev.simulation.chunks import Chunk, Work, compute
from mcdev.simulation.rehearsal import parts
from mcdev.simulation.trial import trials

CONFIGS = Path(__file__).parents[1] / "configs"
ION_SPECTRUM = {
    "name": "spectrum",
    "device": {"preset": "device_p"},
    "protocol": {"kind": "impedance", "settling": "0.02 s", "samples": 11, "per_decade": 2},
    "measurements": {"z": {"kind": "impedance_at", "frequencies": ["1 kHz"]}},
}
NEURONS = {"device.particles": 3, "protocol.duration": "0.1 s", "protocol.samples": 11}
CASES: dict[str, Callable[[], Experiment]] = {
    "a train on particles": lambda: mcdev.load(CONFIGS / "wang2017/fig4b_train.toml").with_({"device.particles": 3}),
    "a spectrum of ions": lambda: mcdev.build(ION_SPECTRUM),
    "neurons side by side": lambda: mcdev.load(CONFIGS / "neuron/neuron_coupled.toml").with_(NEURONS),
}


@pytest.mark.parametrize("case", CASES)
def test_the_first_cycle_compiles_no_more_than_its_rest(
    case: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(program, "_programs", {})  # nothing that other tests have compiled
    trial = trials(CASES[case]().with_({"ensemble.devices": 3}))[0]
    for part in parts(trial):
        part()
    with jax.log_compiles(), jax.default_device(jax.local_devices()[0]):  # as a run says where it computes
        (found,) = compute([Work(trial, Chunk(0, 0, 3, 0, 1))])
    compiled = re.findall(r"Compiling jit\((\w+)\)", caplog.text)
    assert not {"rest", "advance", "measure", "impedance_of"} & set(compiled)
    (again,) = compute([Work(trial, Chunk(0, 0, 3, 0, 1))])
    for name, value in found.items():
        np.testing.assert_array_equal(value, again[name])
