"""Every measurement of every family of devices is the same number, bit for bit, in an ensemble of any size."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import as_users

import mcdev
from mcdev.configuration.problems import ConfigError
from mcdev.devices import DEVICES
from mcdev.kinds import name_of
from mcdev.machine.environment import computing
from mcdev.measurements import MEASUREMENTS
from mcdev.simulation import reading, trial
from mcdev.simulation.ensemble import simulate
from mcdev.simulation.program import Program, program

pytestmark = pytest.mark.promise


def spread(median: str | float) -> dict[str, Any]:
    return {"distribution": "lognormal", "median": median, "sigma": 0.1}


REDUCED = {"preset": "wang2017_reduced", "particles": 4, "friction": spread(4.0)}
DENSITY = {"kind": "diffusive_density", "mesh": {"cells": 40}, "integrator": {"step": "0.005 s"}}
HOPPING = {"kind": "diffusive_hopping", "subdivision": 1, "capacity_stiffness": 0.5, "capacity_content": 0.5}
RESOLVED = {"mesh": {"cells": 16, "finest": "2 nm"}, "integrator": {"tolerance": 0.1}}
SWITCH = {
    "kind": "volatile_threshold",
    "threshold_voltage": spread("0.6 V"),
    "hold_voltage": "0.3 V",
    "switching_rate": "20 Hz",
    "switching_exponent": 1.5,
    "relaxation_time": "0.1 s",
    "on_conductance": "100 uS",
    "off_conductance": "1 uS",
}
FAMILIES: dict[str, tuple[int, dict[str, Any], float, float]] = {
    # Devices of the larger ensemble, as many as take another number of lanes at once than a few do, or more of them;
    # the device; volts; seconds of a pulse.
    "diffusive": (300, REDUCED, 3.0, 0.02),
    "diffusive_density": (70, REDUCED | DENSITY, 3.0, 0.02),
    "diffusive_hopping": (300, REDUCED | HOPPING, 3.0, 0.02),
    "omiec_compact": (900, {"preset": "device_1s", "thickness": spread("100 nm")}, 3.5, 0.5),
    "omiec_pnp": (70, {"preset": "device_1s_pnp", "thickness": spread("100 nm"), **RESOLVED}, 3.5, 0.5),
    "volatile_threshold": (300, SWITCH, 1.5, 0.1),
    "yakopcic": (300, {"preset": "wang2017_taox", "steepness": spread("0.5 1/V")}, 1.5, 0.001),
}
FEW = 5
VARIANTS: list[dict[str, Any]] = [
    *({"kind": "relaxation_time", "by": by, "switched": 1e-6} for by in ("1/e", "exponential_fit")),
    {"kind": "exponential_fit", "window": "relaxation"},
]
KINDS = [name_of(member) for member in MEASUREMENTS]


def protocols(family: str) -> list[dict[str, Any]]:
    _, _, volts, width = FAMILIES[family]
    shape = {"amplitude": f"{volts} V", "width": f"{width} s"}
    train = {"kind": "pulse_train", "gap": f"{width} s", "count": 3, "samples_per_pulse": 9, "samples_per_gap": 5}
    sweep = {"amplitude": f"{volts} V", "rate": f"{volts / width} V/s", "polarity": "positive_first"}
    found = [
        train | shape | {"relaxation": f"{3 * width} s", "relaxation_samples": 13},
        {"kind": "triangular_sweep", "samples_per_branch": 11} | sweep,
        {"kind": "impedance", "settling": f"{width} s", "samples": 3, "per_decade": 3},
    ]
    pair = {"kind": "srdp", "t_zero": f"{width} s", "count": 2, "read_width": f"{width} s"}
    return [*found, pair | shape] if family == "volatile_threshold" else found


def experiment(family: str, protocol: dict[str, Any], measurements: dict[str, Any], devices: int) -> mcdev.Experiment:
    pair = {"kind": "series_memristor", "memristor": {"preset": "wang2017_taox"}}
    return mcdev.build(
        {
            "name": "test",
            "device": FAMILIES[family][1],
            "circuit": pair if protocol["kind"] == "srdp" else {"kind": "alone"},
            "protocol": protocol,
            "measurements": measurements,
            "ensemble": {"devices": devices},
            "output": {"trajectories": 2},
        }
    )


def measurable(family: str, protocol: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every measurement that this family allows under this protocol."""
    found = {}
    for number, measurement in enumerate([*({"kind": kind} for kind in KINDS), *VARIANTS]):
        try:
            experiment(family, protocol, {"it": measurement}, FEW)
        except ConfigError as error:
            if not {p.key.split(".it")[0] for p in error.problems} <= {"measurements", "protocol.kind"}:
                raise
        else:
            found[f"{measurement['kind']}_{number}"] = measurement
    return found


@pytest.mark.slow
def test_all_families_and_measurements_are_here() -> None:
    assert set(FAMILIES) == {name_of(m) for m in DEVICES}
    measured = {
        entry["kind"]
        for family in FAMILIES
        for protocol in protocols(family)
        for entry in measurable(family, protocol).values()
    }
    assert measured == set(KINDS)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_device_is_the_same_in_any_ensemble(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among many others, among few, and among few through so many steps that they have a narrow program of their
    own."""
    many = FAMILIES[family][0]
    for protocol in protocols(family):
        measurements = measurable(family, protocol)
        if not measurements:
            continue
        few = experiment(family, protocol, measurements, FEW)
        (small,), (large,) = (simulate(each, threads=1) for each in (few, few.with_({"ensemble.devices": many})))
        with monkeypatch.context() as patch:
            patch.setattr(trial, "_MANY_CALLS", 0)
            assert trial.trials(few)[0].lanes == 16
            (narrow,) = simulate(few, threads=1)
        for name, value in small.values.items():
            np.testing.assert_array_equal(value, narrow.values[name], err_msg=name)
            np.testing.assert_array_equal(value, large.values[name][:FEW], err_msg=name)
            np.testing.assert_array_equal(small.status[name], large.status[name][:FEW], err_msg=name)
        for name, series in small.trajectories.items():
            np.testing.assert_array_equal(series, large.trajectories[name], err_msg=name)
        np.testing.assert_array_equal(small.impedance, large.impedance[:FEW])
        assert any(np.unique(value[np.isfinite(value)]).size > FEW for value in large.values.values())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_lane_is_summed_alike_whatever_the_number_of_lanes(dtype: type) -> None:
    """XLA hands the larger of these to a library that adds in another order, unless it is told not to."""
    sums = {
        "of rows": lambda a: jnp.sum(a, axis=0),
        "of columns": lambda a: jax.vmap(jnp.sum)(a.T),
        "of what is made on the way": lambda a: jnp.mean(jnp.exp(a), axis=0),
        "running": lambda a: jnp.cumsum(a, axis=0),
        "by a matrix": lambda a: jnp.einsum("fc,csl->fsl", jnp.tri(a.shape[0], dtype=a.dtype), a[:, None] * a[:2]),
    }
    with computing(dtype is np.float64):
        for count in (8, 40, 100):
            terms = np.random.default_rng(0).normal(size=(count, 2048)).astype(dtype)
            for name, total in sums.items():
                made = as_users(total)
                few, *others = (np.asarray(made(terms[:, :lanes]))[..., :8] for lanes in (16, 64, 256, 2048))
                for other in others:
                    np.testing.assert_array_equal(few, other, err_msg=f"{name}, {count} terms")


def test_measurements_see_one_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """On any version of the compiler: the order of a sum cannot follow the ensemble where its shape does not."""
    shapes = set()

    class Watched(Program):
        def __init__(self, backend: str) -> None:
            super().__init__(backend)
            measure = self.measure

            def watched(measurements: Any, trajectories: Any) -> Any:
                shapes.add(tuple(leaf.shape for leaf in jax.tree.leaves(trajectories)))
                return measure(measurements, trajectories)

            self.measure = watched

    watched = Watched(jax.default_backend())
    monkeypatch.setattr(reading, "program", lambda: watched)
    protocol = protocols("volatile_threshold")[0]
    for devices in (1, FEW, 70, 250):  # groups of 64 lanes, and of 256
        simulate(experiment("volatile_threshold", protocol, {"g": {"kind": "mean_conductance"}}, devices), threads=1)
    assert len(shapes) == 1
    assert program() is not watched
