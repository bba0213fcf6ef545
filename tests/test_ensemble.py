"""Realisation i is the same, bit for bit, whatever stands around it; one that breaks down harms no other."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from conftest import array, reduced

import mcdev
from mcdev.configuration.experiment import Experiment
from mcdev.devices.diffusive import Diffusive
from mcdev.measurements.contract import FAILED, OK
from mcdev.measurements.mean_conductance import MeanConductance
from mcdev.simulation.draws import draw_parameters

pytestmark = pytest.mark.promise

TRAIN = {"kind": "pulse_train", "amplitude": "3 V", "width": "0.02 s", "period": "0.03 s", "count": 3}
MEASURED = {"g": {"kind": "pulse_conductance"}, "mean": {"kind": "mean_conductance"}}
SPREAD = {
    "friction": {"distribution": "lognormal", "median": 4.0, "sigma": 0.2},
    "background_temperature": {"distribution": "normal", "mean": "0.45 K", "sd": "0.02 K", "low": "0.3 K"},
    "tunnelling_length": {"distribution": "uniform", "low": 0.15, "high": 0.25},
}
DISORDER = {"pinning_disorder": {"period_sigma": 0.1, "depth_sigma": 0.1}}


def train(devices: int, device: dict[str, Any] | None = None, **ensemble: Any) -> Experiment:
    """A short train on small devices that differ from one another."""
    return reduced(
        TRAIN, MEASURED, {"devices": devices, **ensemble}, particles=6, **(SPREAD if device is None else device)
    )


def readings(tree: xr.DataTree, devices: int, point: int = 0) -> np.ndarray:
    """Everything measured on the first devices: [device, cycle, number]."""
    g, mean = (array(tree, f"measurements/{name}/value").values[point, :devices] for name in ("g", "mean"))
    return np.concatenate([g, mean[..., None]], axis=-1)


def assert_same(tree: xr.DataTree, other: xr.DataTree, devices: int) -> None:
    np.testing.assert_array_equal(readings(tree, devices), readings(other, devices))
    kept = min(tree["trajectories"].sizes["trajectory"], other["trajectories"].sizes["trajectory"])
    for name, series in tree["trajectories"].data_vars.items():
        np.testing.assert_array_equal(series[:, :, :kept], array(other, f"trajectories/{name}")[:, :, :kept])
    for name, drawn in tree["parameters"].data_vars.items():
        np.testing.assert_array_equal(drawn[:, :devices], array(other, f"parameters/{name}")[:, :devices])


@pytest.fixture(scope="module")
def large() -> xr.DataTree:
    return mcdev.run(train(600, SPREAD | DISORDER), threads=2)


@pytest.mark.parametrize("devices", [1, 10, 256, 300])
def test_same_in_an_ensemble_of_any_size(large: xr.DataTree, devices: int) -> None:
    assert_same(mcdev.run(train(devices, SPREAD | DISORDER)), large, devices)


def test_same_on_any_number_of_threads(large: xr.DataTree) -> None:
    assert_same(mcdev.run(train(600, SPREAD | DISORDER), threads=1), large, 600)


def test_same_in_any_sweep(large: xr.DataTree) -> None:
    """As the second of two points that change the device, and beside points of another length."""
    drawn = SPREAD["background_temperature"]
    for axis, values, at in (
        ("device.background_temperature", ["0.5 K", drawn], 1),
        ("protocol.count", [5, 3, 1], 1),
        ("ensemble.seed", [7, 1], 1),
    ):
        tree = mcdev.run(train(20, SPREAD | DISORDER).with_({"sweep.axes": {axis: values}}), threads=2)
        ours = readings(tree, 20, at)
        theirs = readings(large, 20)
        np.testing.assert_array_equal(ours[..., :3], theirs[..., :3])
        np.testing.assert_array_equal(ours[..., -1], theirs[..., -1])


def test_every_device_cycle_and_seed_is_its_own(large: xr.DataTree) -> None:
    alike = train(40, device={}, cycles=3)
    one, other = readings(mcdev.run(alike), 40), readings(mcdev.run(alike.with_({"ensemble.seed": 2})), 40)
    everything = np.concatenate([one, other], axis=1)[..., -1]
    assert len(np.unique(everything)) == everything.size
    assert len(np.unique(readings(large, 600)[..., -1])) == 600


def test_cycles_have_the_prefix_property() -> None:
    for between in ("rest", "continue"):
        few, many = (readings(mcdev.run(train(10, cycles=n, between_cycles=between)), 10) for n in (1, 3))
        np.testing.assert_array_equal(few[:, 0], many[:, 0])


def test_continued_cycles_go_on_from_where_they_were() -> None:
    """A second cycle after rest begins at the background temperature; a continued one is still warm."""
    device = {"friction": 1e6}
    warm, rested = (
        array(mcdev.run(train(10, device, cycles=2, between_cycles=b)), "trajectories/temperature").values[0, 1, :, 0]
        for b in ("continue", "rest")
    )
    assert np.all(warm > rested)


def test_parameters_have_the_prefix_property() -> None:
    few, many = (draw_parameters(train(10), 0, n) for n in (10, 1000))
    part = draw_parameters(train(10), 100, 300)
    for name, values in many.items():
        np.testing.assert_array_equal(few[name], values[:10])
        np.testing.assert_array_equal(part[name], values[100:300])
    spread = [name for name, values in many.items() if np.ptp(values) > 0]
    assert set(spread) == {"friction", "background_temperature", "tunnelling_length"}
    pairs = np.corrcoef([many[name] for name in spread]) - np.eye(3)
    assert np.max(np.abs(pairs)) < 5 / np.sqrt(1000)


def test_parameters_follow_their_distribution() -> None:
    many = draw_parameters(train(10), 0, 20_000)
    logarithm = np.log(many["friction"] / 4.0)
    assert abs(logarithm.mean()) < 5 * 0.2 / np.sqrt(20_000)
    assert abs(logarithm.std() - 0.2) < 5 * 0.2 / np.sqrt(40_000)
    assert many["background_temperature"].min() >= 0.3
    assert 0.15 <= many["tunnelling_length"].min() < 0.1501
    assert 0.2499 < many["tunnelling_length"].max() <= 0.25


# ------------------------------------------------------------------------------------ breakdown

BROKEN = 5


def break_one(monkeypatch: pytest.MonkeyPatch, parameter: str, value: float) -> None:
    """Give device 5 an impossible parameter."""
    build = Diffusive.build

    def broken(self: Diffusive, draws: Any, seed: int, devices: np.ndarray, dtype: Any) -> Any:
        batch = build(self, draws, seed, devices, dtype)
        lane = jnp.asarray(devices == BROKEN)
        return eqx.tree_at(lambda b: b.parameters[parameter], batch, replace_fn=lambda p: jnp.where(lane, value, p))

    monkeypatch.setattr(Diffusive, "build", broken)


WIRED = {"kind": "series_resistor", "resistance": "0.5 ohm", "compliance": "0.9 A"}


@pytest.mark.parametrize(
    ("parameter", "value", "circuit"),
    [
        ("heating", 3e38, None),
        ("heating", np.nan, None),
        ("friction", 0.0, None),
        ("drift", np.inf, None),
        ("heating", 3e38, WIRED),
        ("tunnelling_length", np.nan, WIRED),
    ],
)
def test_one_overflow_leaves_the_others_alone(
    monkeypatch: pytest.MonkeyPatch, parameter: str, value: float, circuit: dict[str, Any] | None
) -> None:
    experiment = train(40, cycles=2)
    if circuit:
        experiment = experiment.with_({"circuit": circuit})
    sound = mcdev.run(experiment)
    break_one(monkeypatch, parameter, value)
    tree = mcdev.run(experiment)

    others = np.arange(40) != BROKEN
    np.testing.assert_array_equal(readings(tree, 40)[others], readings(sound, 40)[others])
    for name, series in sound["trajectories"].data_vars.items():
        kept = others[: series.sizes["trajectory"]]
        np.testing.assert_array_equal(array(tree, f"trajectories/{name}").values[:, :, kept], series.values[:, :, kept])

    intact = array(tree, "realisations/intact").values[0]
    np.testing.assert_array_equal(intact, np.repeat(others[:, None], 2, axis=1))
    data = tree["measurements/g"].to_dataset()
    assert np.all(data["status"].values[0, BROKEN] == FAILED)
    assert np.all(np.isnan(data["value"].values[0, BROKEN]))
    assert np.all(data["status"].values[0, others] == OK)

    for summary in ("response", "profile", "mean_response/g", "mean_response/mean"):
        for name, series in tree[summary].data_vars.items():
            assert np.all(np.isfinite(series.values)), f"{summary}/{name}"
    records = {r["measurement"]: r for r in mcdev.summarise(tree)}
    assert records["mean"]["n_failed"] == 2
    assert records["mean"]["n_ok"] == 78
    assert records["mean"]["mean"] == pytest.approx(readings(sound, 40)[others, :, -1].mean(), rel=1e-6)


def test_means_are_over_the_intact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Response and profile are those of the other seven devices, computed here from their trajectories."""
    sound = mcdev.run(train(8))
    break_one(monkeypatch, "heating", 3e38)
    tree = mcdev.run(train(8))
    others = np.arange(8) != BROKEN
    for channel in ("conductance", "temperature", "current"):
        expected = array(sound, f"trajectories/{channel}").values[0, 0, others].astype(float)
        np.testing.assert_allclose(array(tree, f"response/{channel}").values[0, 0], expected.mean(axis=0), rtol=1e-6)
        error = expected.std(axis=0, ddof=1) / np.sqrt(7)
        np.testing.assert_allclose(array(tree, f"response/{channel}_sem").values[0, 0], error, rtol=1e-5, atol=1e-12)
    position = array(sound, "trajectories/position").values[0, 0, others]
    bins = tree["profile"].sizes["bin"]
    for sample in (0, -1):
        counts = np.histogram(position[:, sample], np.linspace(-1, 1, bins + 1))[0]
        density = array(tree, "profile/density").values[0, 0, sample]
        assert np.sum(np.abs(density * 2 / bins * 7 - counts)) < 2.5  # a particle on the edge of a bin
    assert array(tree, "realisations/intact").values[0].sum() == 7


def test_all_broken_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_ensemble.BROKEN", 0)
    break_one(monkeypatch, "heating", np.nan)
    tree = mcdev.run(train(1))
    assert np.all(array(tree, "measurements/g/status").values == FAILED)
    assert np.all(np.isnan(array(tree, "response/conductance").values))


def test_devices_and_their_mean_are_measured_by_one_compiled_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement is traced once a run: the mean trajectories go through the program of the realisations."""
    traced = []
    true = MeanConductance.measure

    def counted(self: MeanConductance, trajectory: Any) -> Any:
        traced.append(type(trajectory.widths))
        return true(self, trajectory)

    monkeypatch.setattr(MeanConductance, "measure", counted)
    hold = {"kind": "hold", "duration": "0.02 s", "samples": 7}
    mcdev.run(reduced(hold, {"g": {"kind": "mean_conductance"}}, {"devices": 20}, particles=3))
    assert len(traced) == 1
