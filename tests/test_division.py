"""A circuit that divides the voltage by what the states are: order of the steps, and what the default ones leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import mcdev
from mcdev.configuration.experiment import Experiment
from mcdev.simulation.ensemble import simulate

CONFIGS = Path(__file__).parents[1] / "configs" / "shin2022"
DEFAULT = 3e-3  # largest error that a default step may leave
RESISTOR = {"kind": "series_resistor", "resistance": "200 kohm"}
PRESETS = ["device_p", "device_1s", "device_2s"]


def behind_a_resistor(step: str = "auto", circuit: dict[str, Any] = RESISTOR) -> Experiment:
    return mcdev.build(
        {
            "name": "test",
            "device": {"preset": "device_2s", "integrator": {"step": step}},
            "circuit": circuit,
            "protocol": {"kind": "pulse", "amplitude": "3.5 V", "width": "4 s", "relaxation": "0 s"},
            "measurements": {"it": {"kind": "exponential_fit"}},
            "ensemble": {"devices": 1},
            "sweep": {"axes": {"device.preset": PRESETS}},
        }
    )


def stdp(step: str = "auto") -> Experiment:
    """Two spikes on a pair of memristors, as in Fig. 7; either first."""
    config = mcdev.load(CONFIGS / "fig7_stdp.toml").model_dump(exclude_unset=True, mode="json")
    measured = config["measurements"].pop("weight")
    return mcdev.build(
        {name: config[name] for name in ("name", "circuit", "protocol")}
        | {
            "device": {"preset": "device_p", "facilitation": "either_polarity", "integrator": {"step": step}},
            "measurements": {"it": measured},
            "ensemble": {"devices": 1},
            "sweep": {"axes": {"device.preset": PRESETS, "protocol.delta_t": ["-50 ms"]}},
        }
    )


def values(experiment: Experiment) -> np.ndarray:
    return np.array([point.values["it"].item() for point in simulate(experiment, threads=1)])


def test_default_steps_behind_a_resistor() -> None:
    """Against steps of 10, 5 and 2.5 ms, which cut every sample into equal ones, extrapolated at order 2, which the
    three show to be theirs."""
    coarse, fine, finer = (values(behind_a_resistor(step)) for step in ("10 ms", "5 ms", "2.5 ms"))
    np.testing.assert_allclose(values(behind_a_resistor()), finer + (finer - fine) / 3.0, rtol=DEFAULT)
    np.testing.assert_allclose(np.log2((coarse - fine) / (fine - finer)), 2.0, atol=0.3)


def test_default_steps_of_a_pair() -> None:
    np.testing.assert_allclose(values(stdp()), values(stdp("1 ms")), rtol=DEFAULT)


def test_a_device_alone_keeps_its_pace() -> None:
    """Nothing is divided there, and nothing need be followed more finely; a compliance divides."""
    for circuit in ({"kind": "alone"}, RESISTOR, {"kind": "alone", "compliance": "1 mA"}):
        experiment = behind_a_resistor(circuit=circuit)
        own, device = experiment.pace(3.5), experiment.device
        assert own == (device.divided_pace(3.5) if circuit != {"kind": "alone"} else device.pace(3.5))
    assert device.divided_pace(3.5).coupling < device.pace(3.5).coupling
