"""The results of a run: what the file holds, that other programs read it, and that no half file is ever left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import pytest
import xarray as xr
from conftest import reduced
from scipy.constants import Boltzmann, electron_volt

import mcdev
from mcdev.configuration.experiment import Experiment
from mcdev.files.whole_file import ResultsError
from mcdev.fits import Arrhenius
from mcdev.measurements.contract import OK, RIGHT_CENSORED, UNDEFINED
from mcdev.protocols.timeline import Piece, timeline
from mcdev.results.file import FILE_NAME
from mcdev.results.fits_along_axes import fit_along
from mcdev.results.names import folder_name
from mcdev.results.provenance import SCHEMA_VERSION
from mcdev.simulation.gathering import PointResult

pytestmark = pytest.mark.promise

DEVICES, CYCLES, PULSES = 12, 2, (3, 5, 3)


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    """Three points, of which the second is longer; every trajectory is kept."""
    small = reduced(
        {
            "kind": "pulse_train",
            "amplitude": "3 V",
            "width": "0.02 s",
            "period": "0.03 s",
            "count": 3,
            "relaxation": "0.1 s",
        },
        {"g": {"kind": "pulse_conductance"}, "mean": {"kind": "mean_conductance"}, "tau": {"kind": "relaxation_time"}},
        {"devices": DEVICES, "cycles": CYCLES},
        particles=6,
        friction={"distribution": "lognormal", "median": 1.0, "sigma": 0.1},
    )
    return small.with_(
        {
            "description": "two axes µ",
            "sweep": {
                "mode": "zip",
                "axes": {
                    "device.background_temperature": ["400 mK", "0.45 K", "0.50 K"],
                    "protocol.count": list(PULSES),
                    "circuit.kind": ["alone", "alone", "alone"],
                },
            },
            "fits.law": {
                "kind": "arrhenius",
                "measurement": "mean",
                "axis": "device.background_temperature",
                "statistic": "mean",
            },
            "output.trajectories": DEVICES,
        }
    )


@pytest.fixture(scope="module")
def tree(experiment: Experiment) -> xr.DataTree:
    return mcdev.run(experiment)


@pytest.fixture(scope="module")
def file(tree: xr.DataTree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mcdev.write(tree, tmp_path_factory.mktemp("run"))


def array(tree: xr.DataTree, path: str) -> Any:
    """The numbers of one variable."""
    return np.asarray(tree[path])


# ------------------------------------------------------------------------------- what it holds


def test_dimensions(tree: xr.DataTree) -> None:
    longest = tree["response"].sizes["sample"]
    assert tree["measurements/g/value"].dims == ("point", "device", "cycle", "entry")
    assert tree["measurements/g/value"].shape == (3, DEVICES, CYCLES, 5)
    assert tree["measurements/tau/value"].shape == (3, DEVICES, CYCLES)
    assert tree["mean_response/g/value"].shape == (3, CYCLES, 13, 5)
    assert tree["response/conductance"].shape == (3, CYCLES, longest)
    assert tree["response/conductance_quantiles"].shape == (3, CYCLES, 5, longest)
    assert tree["response/time"].shape == (3, longest)
    assert tree["trajectories/position"].shape == (3, CYCLES, DEVICES, longest, 6)
    assert tree["profile/density"].shape == (3, CYCLES, longest, 100)
    assert tree["parameters/friction"].shape == (3, DEVICES)


def test_coordinates(tree: xr.DataTree) -> None:
    axis = tree["sweep/device.background_temperature"]
    np.testing.assert_allclose(axis, [0.40, 0.45, 0.50])
    assert (axis.attrs["units"], axis.attrs["long_name"]) == ("K", "background_temperature")
    np.testing.assert_array_equal(tree["sweep/protocol.count"], PULSES)
    assert list(array(tree, "sweep/circuit.kind")) == ["alone"] * 3
    np.testing.assert_allclose(tree["response/quantile"], [0.05, 0.25, 0.5, 0.75, 0.95])
    assert tree["profile/position"].attrs["units"] == "m"


def test_every_number_has_a_unit_and_a_name(tree: xr.DataTree) -> None:
    for group in tree.subtree:
        for name, variable in group.data_vars.items():
            assert variable.attrs["long_name"], f"{group.path}/{name}"
            if variable.dtype.kind == "f":
                assert variable.attrs["units"], f"{group.path}/{name}"
    assert tree["response/current"].attrs["units"] == "A"
    assert tree["parameters/pinning_energy"].attrs["units"] == "eV"
    assert tree["measurements/tau/value"].attrs["units"] == "s"


def test_a_shorter_point_ends_in_nan(tree: xr.DataTree, experiment: Experiment) -> None:
    for point, (_, variant) in enumerate(experiment.points()):
        own = variant.protocol.timeline()
        time = array(tree, "response/time")[point]
        np.testing.assert_allclose(time[: own.samples], 0.5 * (own.edges[1:] + own.edges[:-1]))
        assert np.isnan(time[own.samples :]).all()
        for path in ("response/conductance", "trajectories/current"):
            assert np.isfinite(array(tree, path)[point, ..., : own.samples]).all()
            assert np.isnan(array(tree, path)[point, ..., own.samples :]).all()
        assert np.isnan(array(tree, "profile/density")[point, :, own.samples :]).all()
    status = array(tree, "measurements/g/status")
    assert (status[0, :, :, 3:] == -1).all()
    assert (status[1] == OK).all()
    np.testing.assert_array_equal(array(tree, "response/window_pulse")[0, 3:], -1)


def test_means_are_over_the_trajectories(tree: xr.DataTree) -> None:
    """All are kept here, so the ensemble's mean, error and quantiles can be made again from them."""
    for channel in ("current", "conductance", "temperature", "device_voltage"):
        kept = array(tree, f"trajectories/{channel}").astype(float)
        response = tree["response"].dataset
        np.testing.assert_allclose(response[channel], kept.mean(axis=2), rtol=1e-5)
        np.testing.assert_allclose(
            response[f"{channel}_sem"], kept.std(axis=2, ddof=1) / np.sqrt(DEVICES), rtol=1e-3, atol=1e-9
        )
        np.testing.assert_allclose(
            response[f"{channel}_quantiles"],
            np.moveaxis(np.quantile(kept, response["quantile"], axis=2), 0, 2),
            rtol=1e-5,
        )


def test_the_density_counts_the_particles_where_they_are(tree: xr.DataTree) -> None:
    density = array(tree, "profile/density")[1]
    x = array(tree, "trajectories/position")[1]
    counted = np.stack([[np.histogram(at, 100, (-1, 1))[0] for at in cycle] for cycle in np.moveaxis(x, 1, 2)])
    np.testing.assert_allclose(density.sum(axis=-1) * 0.02, 6, rtol=1e-5)
    off = np.abs(density * 0.02 * DEVICES - counted).sum(axis=-1)
    assert off.max() <= 2, "a particle on a bin's edge may fall on either side"


def test_what_was_drawn(tree: xr.DataTree) -> None:
    friction = array(tree, "parameters/friction")
    assert np.unique(friction).size == DEVICES
    np.testing.assert_array_equal(friction[0], friction[1])
    np.testing.assert_allclose(array(tree, "parameters/background_temperature")[:, 0], [0.40, 0.45, 0.50])


def test_provenance(tree: xr.DataTree, experiment: Experiment) -> None:
    about = tree.attrs
    assert about["title"] == "test"
    assert about["description"] == "two axes µ"
    assert about["config_hash"] == experiment.hash
    assert (about["seed"], about["precision"]) == (1, "float32")
    assert (about["mcdev_schema_version"], about["Conventions"]) == (SCHEMA_VERSION, "CF-1.11")
    assert about["backend"] in ("cpu", "gpu", "tpu")
    assert all(f"{name} " in about["versions"] for name in ("mcdev", "jax", "jaxlib", "numpy"))
    assert about["wall_time_s"] > 0
    assert about["started"].endswith("+00:00")
    assert "doi:10.1038/nmat4756" in about["device_source"]
    assert about["reduced_units"].startswith("1 s = 1/κ")
    assert {"machine", "accelerator", "git_commit", "warnings", "device_notes"} <= set(about)


def test_the_folder_is_named_after_experiment_time_and_hash(experiment: Experiment) -> None:
    name, stamp, digest = folder_name(experiment).split("-")
    assert (name, digest) == ("test", experiment.hash)
    assert len(stamp) == len("20170101T000000Z")


# ------------------------------------------------------------------------------- the file


def assert_identical(a: xr.DataTree, b: xr.DataTree) -> None:
    """Values, dimensions and units; the file's own dtypes for text and lengths do not matter."""
    assert {g.path for g in a.subtree if g.data_vars or g.path == "/"} == {
        g.path for g in b.subtree if g.data_vars or g.path == "/"
    }
    for group in a.subtree:
        for name, variable in group.data_vars.items():
            other = b[f"{group.path}/{name}"]
            assert other.dims == variable.dims
            np.testing.assert_array_equal(np.asarray(other), variable.values)
            assert other.attrs.get("units") == variable.attrs.get("units")
            assert other.attrs["long_name"] == variable.attrs["long_name"]


def test_read_gives_back_the_tree(tree: xr.DataTree, file: Path) -> None:
    again = mcdev.read(file.parent)
    assert_identical(tree, again)
    assert {k: v for k, v in again.attrs.items() if k != "flag"} == tree.attrs
    assert_identical(again, mcdev.read(str(file)))


def test_xarray_opens_it(tree: xr.DataTree, file: Path) -> None:
    with xr.open_datatree(file, engine="h5netcdf") as opened:
        assert_identical(tree, opened.load())


def test_h5py_opens_it_with_dimension_scales(file: Path) -> None:
    with h5py.File(file, "r") as handle:
        g = handle["measurements/g/value"]
        assert g.shape == (3, DEVICES, CYCLES, 5)
        assert g.attrs["units"] in ("1", b"1")
        assert len(g.dims[1]) == 1
        assert h5py.h5ds.is_scale(handle["measurements/g/point"].id)
        assert np.isfinite(handle["response/conductance"][1]).all()
        assert handle["config/toml"].asstr()[()].startswith('name = "test"')


def test_the_file_rebuilds_the_experiment(experiment: Experiment, file: Path) -> None:
    assert mcdev.experiment_of(mcdev.read(file)) == experiment
    assert mcdev.load(file.parent / "config.toml") == experiment
    assert sorted(path.name for path in file.parent.iterdir()) == ["config.toml", FILE_NAME]
    umask = os.umask(0)
    os.umask(umask)
    assert file.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("broken"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_nothing_and_harms_nothing(
    tree: xr.DataTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    (tmp_path / FILE_NAME).write_text("the results of before")

    def half(self: xr.DataTree, path: Path, **_: Any) -> None:
        Path(path).write_bytes(b"half a file")
        raise error

    monkeypatch.setattr(xr.DataTree, "to_netcdf", half)
    with pytest.raises((ResultsError, RuntimeError, KeyboardInterrupt)) as caught:
        mcdev.write(tree, tmp_path)
    if isinstance(error, OSError):
        assert isinstance(caught.value, ResultsError)
        assert "No space left on device" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert (tmp_path / FILE_NAME).read_text() == "the results of before"


def test_a_folder_that_cannot_be_made(tree: xr.DataTree, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ResultsError, match="cannot be written"):
        mcdev.write(tree, tmp_path / "taken")


@pytest.mark.parametrize(
    ("spoil", "phrase"),
    [
        (lambda path, _: None, "does not exist"),
        (lambda path, good: path.write_bytes(good[: len(good) // 2]), "damaged or cut off"),
        (lambda path, good: path.write_bytes(good[:-1]), "damaged or cut off"),
        (lambda path, good: path.write_bytes(good[:4000]), "is damaged"),
        (lambda path, _: path.write_bytes(b""), "is empty"),
        (lambda path, _: path.write_bytes(np.random.default_rng(1).bytes(5000)), "damaged or cut off"),
        (lambda path, _: path.write_text("name = 'a configuration'"), "damaged or cut off"),
        (lambda path, _: h5py.File(path, "w").close(), "no results file of mcdev"),
    ],
    ids=["missing", "half", "last byte", "first bytes", "empty", "random", "text", "plain HDF5"],
)
def test_what_is_no_results_file(file: Path, tmp_path: Path, spoil: Any, phrase: str) -> None:
    path = tmp_path / FILE_NAME
    spoil(path, file.read_bytes())
    for given in (tmp_path, path):
        with pytest.raises(ResultsError, match=FILE_NAME) as caught:
            mcdev.read(given)
        assert phrase in str(caught.value)


@pytest.mark.parametrize(
    ("version", "phrase"),
    [(SCHEMA_VERSION + 1, "newer mcdev"), ("one", "damaged"), ([1, 1], "no results file"), (np.nan, "damaged")],
)
def test_a_file_of_another_schema(file: Path, tmp_path: Path, version: Any, phrase: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(file.read_bytes())
    with h5py.File(path, "r+") as handle:
        handle.attrs["mcdev_schema_version"] = version
    with pytest.raises(ResultsError, match=phrase):
        mcdev.read(path)


def test_a_damaged_block_inside_is_an_error_too(file: Path, tmp_path: Path) -> None:
    """Zeros over a compressed block: the head of the file is fine, its numbers are not."""
    path = tmp_path / FILE_NAME
    path.write_bytes(file.read_bytes())
    with h5py.File(path, "r") as handle:
        block = handle["trajectories/position"].id.get_chunk_info(0)
    with path.open("r+b") as opened:
        opened.seek(block.byte_offset)
        opened.write(bytes(block.size))
    with pytest.raises(ResultsError, match="damaged"):
        mcdev.read(path)


# ------------------------------------------------------------------------------- fits


AXIS = np.array([300.0, 350.0, 400.0, 450.0])


def synthetic(energy: float, spread: float, devices: int = 400, seed: int = 3) -> list[PointResult]:
    """Times log-normal around exp(-20 + E_a/k_B T); a tenth of them censored, one device without a value."""
    rng = np.random.default_rng(seed)
    points = []
    for temperature in AXIS:
        law = np.exp(-20 + energy * electron_volt / (Boltzmann * temperature))
        values = law * np.exp(spread * rng.standard_normal((devices, 1)))
        status = np.full(values.shape, OK, np.int8)
        late = values > np.quantile(values, 0.9)
        status[late], values[late] = RIGHT_CENSORED, np.quantile(values, 0.9)
        status[0], values[0] = UNDEFINED, np.nan
        members = np.arange(devices) % 16
        of_mean = np.array([law, *[law * np.exp(0.05 * spread * rng.standard_normal()) for _ in set(members)]])
        points.append(
            PointResult(
                timeline=timeline([Piece(1.0, 0.0, 0.0, 1)]),
                parameters={},
                values={"tau": values},
                status={"tau": status},
                of_mean={"tau": of_mean[None]},
                mean={},
                sem={},
                quantiles={},
                trajectories={},
                profile={},
                impedance=np.empty((0, 0, 0), complex),
                intact=np.empty(0),
            )
        )
    return points


def arrhenius(statistic: str) -> Arrhenius:
    return Arrhenius.model_validate(
        {"measurement": "tau", "axis": "device.background_temperature", "statistic": statistic}
    )


def test_arrhenius_of_an_exact_law() -> None:
    found = arrhenius("mean").fit(AXIS, np.exp(-20 + 0.27 * electron_volt / (Boltzmann * AXIS)))
    assert found["activation_energy"].value == pytest.approx(0.27, rel=1e-9)
    assert found["activation_energy"].unit == "eV"
    assert found["activation_temperature"].value == pytest.approx(0.27 * electron_volt / Boltzmann, rel=1e-9)
    assert found["log_prefactor"].value == pytest.approx(-20, rel=1e-9)
    assert found["rms_residual"].value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("statistic", "phrase"), [("median", "bootstrap"), ("mean", "bootstrap"), ("mean_response", "jackknife")]
)
def test_a_planted_activation_energy_is_recovered_with_its_error(statistic: str, phrase: str) -> None:
    """Within four standard errors, which must themselves be no larger than the spread allows."""
    best, errors, note = fit_along(arrhenius(statistic), AXIS, synthetic(0.27, 0.5))
    error = errors["activation_energy"]
    assert 0 < error < 0.02
    assert abs(best["activation_energy"].value - 0.27) < 4 * error
    assert set(errors) == set(best)
    assert phrase in note
    assert "4 of 4 points" in note


def test_the_bootstrap_error_is_the_spread_of_repeated_runs() -> None:
    """Two hundred other seeds scatter as the error says, within what that many and three errors can tell (4 × 7 %)."""

    def energy(points: list[PointResult]) -> float:
        times = [p.values["tau"][p.status["tau"] == OK].mean() for p in points]
        return arrhenius("mean").fit(AXIS, np.array(times))["activation_energy"].value

    scatter = np.std([energy(synthetic(0.27, 0.5, 100, seed)) for seed in range(200)], ddof=1)
    errors = [fit_along(arrhenius("mean"), AXIS, synthetic(0.27, 0.5, 100, seed))[1] for seed in range(3)]
    assert np.mean([e["activation_energy"] for e in errors]) == pytest.approx(scatter, rel=0.28)


def test_points_without_a_value_are_left_out() -> None:
    points = synthetic(0.27, 0.1)
    points[3].status["tau"][:], points[3].of_mean["tau"][:] = RIGHT_CENSORED, np.nan
    for statistic in ("median", "mean", "mean_response"):
        best, _, note = fit_along(arrhenius(statistic), AXIS, points)
        assert best["activation_energy"].value == pytest.approx(0.27, abs=0.02)
        assert "3 of 4 points" in note
    points[2].status["tau"][:] = RIGHT_CENSORED
    best, errors, note = fit_along(arrhenius("median"), AXIS, points)
    assert not best
    assert not errors
    assert "2 of 4 points" in note


def test_fits_in_the_tree(tree: xr.DataTree) -> None:
    law = tree["fits/law"].to_dataset()
    names = ("activation_energy", "activation_temperature", "log_prefactor", "rms_residual")
    assert set(law.data_vars) == {f"{k}{end}" for k in names for end in ("", "_error")} | {"note"}
    energy = law["activation_energy"]
    assert energy.dims == ("curve",)
    assert energy.attrs["units"] == "eV"
    assert float(law["activation_energy_error"][0]) > 0
    assert "400 bootstrap" in str(law["note"].values[0])
    ln_g = np.log(cast(Any, tree["measurements/mean/value"]).mean(("device", "cycle")).values)
    slope, intercept = np.polyfit(1 / np.array([0.40, 0.45, 0.50]), ln_g, 1)
    assert float(law["activation_temperature"][0]) == pytest.approx(slope, rel=1e-6)
    assert float(law["log_prefactor"][0]) == pytest.approx(intercept, rel=1e-6)
