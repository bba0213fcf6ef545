"""mcdev from a Python session: runs from whatever says what they are, tables, pictures, and how all of it is shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import xarray as xr
from conftest import reduced
from matplotlib.figure import Figure
from pydantic import BaseModel

import mcdev
from mcdev.calibration.display import as_calibration
from mcdev.configuration.problems import ConfigError

TRAIN = {"kind": "pulse_train", "amplitude": "3 V", "width": "0.02 s", "period": "0.03 s", "count": 3}
TRAIN |= {"relaxation": "0.05 s"}
MEASURED = {"g": {"kind": "pulse_conductance"}, "tau": {"kind": "delay_time"}, "friction": {"kind": "mean_conductance"}}
ENSEMBLE = {"devices": 3, "cycles": 2}


def small() -> mcdev.Experiment:
    law = {"distribution": "lognormal", "median": 1.0, "sigma": 0.2}
    experiment = reduced(TRAIN, MEASURED, ENSEMBLE, particles=6, friction=law)
    return experiment.with_({"sweep.axes": {"protocol.amplitude": ["3 V", "4 V"], "device.friction": [1.0, 2.0]}})


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    return mcdev.run(small())


def test_a_run_from_a_path_a_dictionary_and_an_experiment(tree: xr.DataTree, tmp_path: Path) -> None:
    experiment = small()
    file = tmp_path / "small.toml"
    file.write_text(experiment.to_toml(), encoding="utf-8")
    heard: list[tuple[int, int]] = []
    again = mcdev.run(str(file), report=lambda done, total: heard.append((done, total)))
    assert heard[-1][0] == heard[-1][1] > 0
    for other in (again, mcdev.run(experiment.to_dict(), report=False)):
        for name in ("measurements/g/value", "parameters/friction", "trajectories/current"):
            xr.testing.assert_identical(other[name], tree[name])


def test_what_is_no_experiment_is_said(tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(tomli_w.dumps({"name": "s", "runs": ["a.toml"], "variants": {"one": {}}}))
    job = tmp_path / "job.toml"
    job.write_text(tomli_w.dumps({"name": "j", "parameters": {"device.friction": {}}}))
    wrong: Any = 3
    for given, words in (
        (study, "a study stands here"),
        (job, "from Python: mcdev.calibrate"),
        (wrong, "expected the path of a configuration, a dictionary or an Experiment"),
        (tmp_path / "absent.toml", "cannot be read"),
        ({"name": "x"}, "device: is missing"),
    ):
        with pytest.raises(ConfigError, match=words):
            mcdev.run(given)
    with pytest.raises(ConfigError, match="did you mean 'friction'"):
        small().with_({"device.frction": 2.0})


def test_a_configuration_is_not_changed_in_place() -> None:
    experiment: Any = small()
    with pytest.raises(AttributeError, match="with_"):
        experiment.ensemble.devices = 4


def test_completion_offers_keys_and_no_methods_of_pydantic() -> None:
    experiment = small()
    for table in (experiment, experiment.device, experiment.ensemble):
        offered = set(dir(table))
        assert set(type(table).model_fields) <= offered
        assert not offered & set(dir(BaseModel))
    assert {"with_", "to_toml"} <= set(dir(experiment))


def test_the_module_says_its_version_and_what_was_meant() -> None:
    assert mcdev.__version__.startswith("0.")
    assert "__version__" in dir(mcdev)
    with pytest.raises(AttributeError, match="did you mean read"):
        _ = mcdev.raed


def test_frame_has_a_row_a_realisation(tree: xr.DataTree) -> None:
    """Its numbers are those of the tree; names that two columns would have are told apart; statuses are categories."""
    table = mcdev.frame(tree)
    assert len(table) == 4 * 3 * 2
    assert list(table.columns[:3]) == ["point", "device", "cycle"]
    assert {"amplitude", "device.friction", "friction", "measurements.friction", "g[3]", "tau status"} <= set(table)
    for row in table.itertuples():
        at = {"point": row.point, "device": row.device, "cycle": row.cycle}
        assert table.loc[row.Index, "g[2]"] == tree["measurements/g/value"].sel(at).values[1]
        assert table.loc[row.Index, "friction"] == tree["parameters/friction"].sel(point=row.point, device=row.device)
        assert table.loc[row.Index, "amplitude"] == tree["sweep/protocol.amplitude"].values[row.point]
    words = np.array(["ok", "right_censored", "left_censored", "undefined", "failed"])
    assert table["tau status"].tolist() == words[tree["measurements/tau/status"].values.ravel()].tolist()
    assert table["tau status"].dtype.name == "category"
    assert table.attrs["units"]["tau"] == "s"
    assert table.attrs["units"]["amplitude"] == "V"


def test_trajectories_have_time_and_device(tree: xr.DataTree, tmp_path: Path) -> None:
    course = tree["trajectories/current"].isel(point=1)
    assert course.coords["time"].attrs["units"] == "s"
    np.testing.assert_array_equal(course.coords["time"], tree["response/time"].isel(point=1))
    assert course.coords["device"].values.tolist() == [0, 1, 2]
    mcdev.write(tree, tmp_path)
    xr.testing.assert_identical(mcdev.read(tmp_path)["trajectories/current"], tree["trajectories/current"])


def test_results_from_before_trajectories_had_coordinates_are_read(tree: xr.DataTree, tmp_path: Path) -> None:
    former = xr.DataTree.from_dict({group.path: group.to_dataset(inherit=False) for group in tree.subtree})
    former["trajectories"].dataset = former["trajectories"].to_dataset().drop_vars(["time", "device"])
    mcdev.write(former, tmp_path)
    xr.testing.assert_identical(mcdev.read(tmp_path)["trajectories/current"], tree["trajectories/current"])


def test_short_texts(tree: xr.DataTree) -> None:
    assert len(repr(small()).splitlines()) == 1
    for words in ("diffusive (wang2017_reduced)", "3 devices × 2 cycles", "protocol.amplitude", "measures g, tau"):
        assert words in repr(small())
    assert len(repr(tree).splitlines()) == 4
    for words in ("4 points × 3 devices × 2 cycles", "g[3] (1)", "tau (s)", "amplitude (V)"):
        assert words in repr(tree)
    assert "Dimensions" in repr(tree["measurements"])


def test_notebooks_show_tables_with_units_that_fold(tree: xr.DataTree) -> None:
    """And no text of a configuration as HTML."""
    shown = small().with_({"description": "<script>alert(1)</script>"})._repr_html_()
    for words in ("<details open>", "<summary>device</summary>", "lognormal, median 1, sigma 0.2", "3 V", "0.02 s"):
        assert words in shown
    results: Any = tree.copy()
    results.attrs["description"] = "<script>"
    page = results._repr_html_()
    for words in ("<details open><summary>measurements", "tau", "V_th", "seed", "pulse_train"):
        assert words in page
    assert "<script>" not in page
    assert "alert" not in shown or "&lt;script&gt;" in shown


def test_a_calibration_is_shown() -> None:
    targets = xr.Dataset(
        {
            "target": ("target", ["tau <on>"]),
            "unit": ("target", ["s"]),
            "reported": ("target", [3.8]),
            "uncertainty": ("target", [0.1]),
            "simulated": ("target", [3.9]),
            "pull": ("target", [1.0]),
        }
    )
    columns: dict[str, list[Any]] = {"unit": ["K"], "value": [300.0], "low": [290.0], "high": [310.0]}
    parameters = xr.Dataset(
        {name: ("parameter", values) for name, values in columns.items()}
        | {"parameter": ("parameter", ["device.t"]), "determined": ("parameter", [0])}
    )
    about = {"title": "mine", "conclusions": "device.t is weak\nall met", "configuration": "name = 'mine'"}
    groups = {"/": xr.Dataset(attrs=about), "/targets": targets, "/parameters": parameters}
    found: Any = as_calibration(xr.DataTree.from_dict(groups))
    assert "device.t = 300 K (weakly determined)" in repr(found)
    page = found._repr_html_()
    for words in ("290 … 310", "3.8 ± 0.1 s", "+1.00", "tau &lt;on&gt;", "<li>all met</li>"):
        assert words in page


def test_draw_gives_figures(tree: xr.DataTree, tmp_path: Path) -> None:
    drawn = mcdev.draw(tree, only=["interval"])
    assert list(drawn) == ["interval"]
    assert isinstance(drawn["interval"], Figure)
    assert 'src="data:image/png;base64,' in drawn._repr_html_()
    assert repr(drawn) == "<pictures: interval>"
    again = mcdev.draw(tree, tmp_path / "here", only="interval", format="svg")
    assert list(again) == ["interval"]
    assert (tmp_path / "here" / "interval.svg").read_text().startswith("<?xml")
    with pytest.raises(ConfigError, match="did you mean 'interval'"):
        mcdev.draw(tree, only="intervall")
    with pytest.raises(ConfigError, match="expected one of png, svg, pdf"):
        drawn.save(tmp_path, "tiff")
    with pytest.warns(UserWarning, match="impedance does not apply"):
        assert not mcdev.draw(tree, only="impedance")


def test_a_picture_of_one_panel_in_axes_of_ones_own(tree: xr.DataTree) -> None:
    """It draws what the picture itself has, and touches no other panel."""
    figure = Figure()
    left, right = figure.subplots(1, 2)
    mcdev.draw_panel(tree, "interval", left)
    own = mcdev.draw(tree, only="interval")["interval"].axes[0]
    assert left.get_ylabel() == own.get_ylabel()
    assert left.get_xlabel() == "pulse number"
    for mine, theirs in zip(left.get_lines(), own.get_lines(), strict=True):
        np.testing.assert_array_equal(mine.get_xydata(), theirs.get_xydata())
    assert left.get_legend() is not None
    assert not right.has_data()
    assert len(figure.axes) == 2
    for name, of, words in (
        ("impedance", None, "no picture of one panel"),
        ("srdp", None, "does not apply"),
        ("interval", "tau", "is not shown by this picture"),
    ):
        with pytest.raises(ConfigError, match=words):
            mcdev.draw_panel(tree, name, right, of)


def test_plot_in_a_script_shows_windows(tree: xr.DataTree) -> None:
    """Each figure becomes one of pyplot's; where there is no screen nothing is shown, and nothing fails."""
    code = (
        "import matplotlib, warnings\n"
        "matplotlib.use('agg')\n"
        "import mcdev\n"
        "from matplotlib import pyplot\n"
        "from mcdev.figures import showing\n"
        "shown = []\n"
        "pyplot.show = lambda: shown.extend(pyplot.figure(n) for n in pyplot.get_fignums())\n"
        "made = showing.Pictures(a=showing.Figure(), b=showing.Figure())\n"
        "showing.draw = lambda *_, **__: made\n"
        "showing.plot(None)\n"
        "assert shown == list(made.values()), shown\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_calibration_makes_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the command does: where no folder is given, and where the one that is given is not there yet."""
    seen: list[Path] = []
    monkeypatch.setattr("mcdev.calibration.folder.work", lambda plan, folder, kept, say: seen.append(folder))
    job = Path(__file__).parent.parent / "configs" / "examples" / "calibrate_scope.toml"
    mcdev.calibrate(job, overrides={"directory": str(tmp_path / "runs")})
    mcdev.calibrate(job, out=tmp_path / "a" / "b")
    assert seen[0].parent == tmp_path / "runs"
    assert seen[1] == tmp_path / "a" / "b"
    assert all((folder / "job.json").is_file() for folder in seen)
