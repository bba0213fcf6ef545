"""Names that users choose: what a name may be, and that none meets a word of mcdev's own, wherever it is stored."""

from __future__ import annotations

import csv
import gzip
import io
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from conftest import Ended, array, reduced
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

import mcdev
from mcdev.calibration.plan import fitted_name, resolve
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import ConfigError, key_path, keys_of
from mcdev.devices.contract import CIRCUIT_CHANNELS
from mcdev.figures import distributions
from mcdev.results.tree import assemble
from mcdev.schema import FileName, Name, file_name, folded
from mcdev.simulation.gathering import PointResult
from mcdev.statistics import compare, fit_records, long_table, make_card, read_card, to_csv, to_toml, write_devices

NAME, FILE = TypeAdapter(Name), TypeAdapter(FileName)
OURS = (
    *("g", "g_status", "g_entry", "value", "status", "entry", "intact", "device", "point", "cycle"),
    *("kept_cycle", "sample", "replicate", "time", "width", "quantile", "curve", "note", "law", "law_tau_1"),
    *("tau_1", "tau_1_error", "activation_energy", "activation_energy_error", "activation_energy_of_device"),
    *("friction", "parameter_friction", "parameters", "measurements", "realisations", "bin", "position"),
    *("frequency", "config", "toml", "measurement", "a.b", "a_b", "A", "a", "device.friction"),
    *("circuit.memristor.x", "con", "nul", "1", "2e3", "τ_on"),
)


# ---------------------------------------------------------------------------------------- what a name may be


@pytest.mark.parametrize("name", [*OURS, "level 1", "fig4b_train", "a-b", "été", "測定", "x" * 80, "R²"])
def test_a_name(name: str) -> None:
    assert NAME.validate_python(name) == name


REFUSED = {
    "nothing": "",
    "a slash": "a/b",
    "a folder above": "../x",
    "a backslash": "a\\b",
    "a line break": "a\nb",
    "a line break at the end": "a\n",
    "a terminal's escape": "a\x1b[31mb",
    "another control character": "a\x9bb",
    "a formula": "=1+1",
    "a minus before": "-a",
    "an underscore before": "_a",
    "a dot before": ".a",
    "a dot behind": "a.",
    "a blank before": " a",
    "a blank behind": "a ",
    "two blanks": "a  b",
    "a tab": "a\tb",
    "a bracket": "g[4]",
    "a colon": "a:b",
    "a quote": 'a"b',
    "a dollar": "a$b",
    "a bidirectional mark": "a\u202eb",
    "an emoji": "a😀",
    "too long": "x" * 81,
    "accents apart": unicodedata.normalize("NFD", "été"),
}


@pytest.mark.parametrize("name", [pytest.param(name, id=what) for what, name in REFUSED.items()])
def test_no_name(name: str) -> None:
    with pytest.raises(ValidationError, match=r"write it like"):
        NAME.validate_python(name)


def test_what_the_remedy_says_is_a_name() -> None:
    for name in REFUSED.values():
        with pytest.raises(ValidationError) as caught:
            NAME.validate_python(name)
        remedy = caught.value.errors()[0]["msg"].rpartition('write it like "')[2].removesuffix('"')
        assert NAME.validate_python(remedy) == remedy


@pytest.mark.parametrize("name", ["con", "NUL", "aux.txt", "Com1", "lpt9.x", "é" * 51])
def test_a_name_that_cannot_be_a_file_s(name: str) -> None:
    assert NAME.validate_python(name) == name
    with pytest.raises(ValidationError, match=r"Windows|bytes"):
        FILE.validate_python(name)


def test_names_that_would_share_a_file() -> None:
    assert folded("Level 1") == folded("level_1")
    assert folded("a.b") != folded("a_b")
    assert len({folded(name) for name in OURS}) == len(OURS) - 1  # A and a


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_file_name_is_a_name(words: list[str]) -> None:
    made = file_name("a", *words)
    assert FILE.validate_python(made) == made


@given(st.lists(st.one_of(st.sampled_from(OURS), st.just("my name")), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_key_paths_are_read_as_they_are_written(keys: list[str]) -> None:
    assert keys_of(key_path(*keys)) == keys


PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "name": lambda name: {"name": name},
    "measurements": lambda name: {"measurements": {"g": {"kind": "mean_conductance"}, name: {"kind": "delay_time"}}},
    "fits": lambda name: {
        "fits": {name: {"kind": "arrhenius", "measurement": "g", "axis": "device.background_temperature"}},
        "sweep": {"axes": {"device.background_temperature": ["0.4 K", "0.45 K", "0.5 K"]}},
    },
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["a/b", "", "../x", "a\nb", "a\x1bb", "=1+1"])
def test_a_bad_name_is_one_clear_line(place: str, name: str) -> None:
    data = reduced({"kind": "pulse", "amplitude": "3 V", "width": "0.02 s", "relaxation": "0.1 s"}).to_dict()
    with pytest.raises(ConfigError) as caught:
        mcdev.build(data | PLACES[place](name))
    (problem,) = caught.value.problems
    assert problem.key == (place if place == "name" else key_path(place, name))
    assert problem.value == name
    assert "expected a name of at most 80 letters" in str(problem)
    assert str(problem).isprintable()


def test_a_bad_name_of_a_variant_an_experiment_a_device_a_model(tmp_path: Path) -> None:
    from mcdev.study import load_study

    (tmp_path / "one.toml").write_text(reduced().to_toml())
    (tmp_path / "study.toml").write_text('name = "s"\nruns = ["one.toml"]\n[variants."../../escaped"]\n')
    with pytest.raises(ConfigError, match=r'variants\."\.\./\.\./escaped" = .*: expected a name'):
        load_study(tmp_path / "study.toml")
    for place in ("experiments", "devices", "models"):
        with pytest.raises(ConfigError, match=rf'{place}\."a/b" = "a/b": expected a name'):
            resolve({"name": "j", "parameters": {"device.friction": {}}, place: {"a/b": {}}}, tmp_path)


def test_set_reaches_names_with_dots_and_blanks(tmp_path: Path) -> None:
    file = tmp_path / "one.toml"
    pulse = {"kind": "pulse", "amplitude": "3 V", "width": "0.02 s", "relaxation": "0.1 s"}
    names = {name: {"kind": "relaxation_time"} for name in ("my.name", "my name")}
    file.write_text(reduced(pulse, names).to_toml())
    changed = mcdev.load(file, {'measurements."my.name".by': "1/e", 'measurements."my name".by': "1/e"})
    assert {m.criterion for m in changed.measurements.values()} == {changed.measurements["my name"].criterion}
    assert changed.measurements["my.name"] != mcdev.load(file).measurements["my.name"]
    swept = mcdev.load(file, {"sweep.axes": {'measurements."my.name".by': ["1/e", "fraction"]}})
    assert [point.measurements["my.name"].by for _, point in swept.points()] == ["1/e", "fraction"]
    with pytest.raises(ConfigError, match=r"expected the key path as mcdev writes it: device\.friction"):
        mcdev.load(file, {"sweep.axes": {'"device".friction': [1.0, 2.0]}})


# ------------------------------------------------------------------------- no name meets a word of mcdev's own

HEAT = ["0.40 K", "0.45 K", "0.50 K"]
DEVICES, CYCLES, PULSES = 4, 2, 2


def asked(names: Sequence[str], **more: list[Any]) -> Experiment:
    """Measurements of these names, a number and a list in turn, and a fit of every number with its own name; ``more``:
    another axis of the sweep."""
    protocol = {"kind": "pulse_train", "amplitude": "3 V", "width": "20 ms", "period": "30 ms", "count": PULSES}
    kinds = ("mean_conductance", "pulse_conductance")
    measurements = {name: {"kind": kinds[i % 2]} for i, name in enumerate(names)}
    along = {"kind": "arrhenius", "axis": "device.background_temperature", "statistic": "mean_response"}
    fits = {name: along | {"measurement": name} for name in names[::2]}
    references = [{"measurement": name, "value": "1 S", "source": "a", "statistic": "median"} for name in names[::2]]
    references += [
        {"measurement": name, "coefficient": "activation_energy", "point": 1, "value": "1 eV", "source": "b"}
        for name in names[::2]
    ]
    data = reduced(protocol, measurements, {"devices": DEVICES, "cycles": CYCLES}).to_dict()
    axes = {"device.background_temperature": HEAT} | {f"device.{name}": values for name, values in more.items()}
    output = {"quantiles": [0.5], "reference": references, "trajectories": 1}
    return mcdev.build(data | {"fits": fits, "sweep": {"axes": axes}, "output": output})


def answered(experiment: Experiment) -> list[PointResult]:
    """What the sweep points might have left behind: every number is another."""
    draw, devices, cycles = np.random.default_rng(0), experiment.ensemble.devices, experiment.ensemble.cycles
    channels = [*CIRCUIT_CHANNELS, *experiment.channels]
    found = []
    for _, variant in experiment.points():
        timeline = variant.protocol.timeline()
        course = np.zeros((cycles, timeline.samples))
        values, of_mean = {}, {}
        for name, measurement in experiment.measurements.items():
            tail = () if measurement.entries(timeline) is None else (PULSES,)
            values[name] = draw.uniform(1.0, 2.0, (devices, cycles, *tail))
            of_mean[name] = draw.uniform(1.0, 2.0, (cycles, 1 + devices, *tail))
        found.append(
            PointResult(
                timeline=timeline,
                parameters={name: draw.uniform(1.0, 2.0, devices) for name in experiment.laws},
                values=values,
                status={name: np.zeros(v.shape, np.int8) for name, v in values.items()},
                of_mean=of_mean,
                mean=dict.fromkeys(channels, course),
                sem=dict.fromkeys(channels, course),
                quantiles=dict.fromkeys(channels, np.zeros((cycles, len(variant.output.quantiles), timeline.samples))),
                trajectories=dict.fromkeys(channels, course[:, None])
                | {
                    name: np.zeros((*course[:, None].shape, variant.device.parts))
                    for name in variant.device.coordinates
                },
                profile={"density": np.zeros((*course.shape, variant.device.profile_bins.size))},
                impedance=np.empty((devices, cycles, 0), complex),
                intact=np.ones((devices, cycles), bool),
            )
        )
    return found


def check(names: Sequence[str], folder: Path) -> None:
    """A run with measurements and fits of these names: written, read, summarised, with the right numbers everywhere."""
    experiment = asked(names)
    points = answered(experiment)
    mcdev.write(assemble(experiment, points, {}), folder)
    tree = mcdev.read(folder)
    assert list(tree["measurements"].children) == list(names)
    assert mcdev.experiment_of(tree) == experiment
    expected = {
        label: [float(p.values[name].reshape(DEVICES, CYCLES, -1)[..., i].mean()) for p in points]
        for name in names
        for i, label in enumerate([name] if points[0].values[name].ndim == 2 else [f"{name}[1]", f"{name}[2]"])
    }
    records = mcdev.summarise(tree, variability=False)
    assert sorted(r["measurement"] for r in records) == sorted(label for label in expected for _ in points)
    for label, means in expected.items():
        np.testing.assert_allclose([r["mean"] for r in records if r["measurement"] == label], means)

    rows = list(csv.DictReader(io.StringIO(to_csv(records))))
    assert [(row["measurement"], float(row["mean"])) for row in rows] == [
        (r["measurement"], r["mean"]) for r in records
    ]
    long = [row for row in long_table(tree, records) if row["statistic"] == "mean"]
    assert [(row["measurement"], row["value"]) for row in long] == [(r["measurement"], r["mean"]) for r in records]

    for name in names:
        frame = tree[f"measurements/{name}"].to_dataset().to_dataframe()
        assert len(frame) == np.stack([p.values[name] for p in points]).size
        assert list(frame.columns) == ["value", "status"]
    assert [r["fit"] for r in fit_records(tree) if r["coefficient"] == "activation_energy"] == list(experiment.fits)
    for record in compare(tree):
        name, _, coefficient = record["what"].partition(": ")
        if coefficient:
            assert record["ours"] == float(tree[f"fits/{name}/{coefficient}"][0])
        else:
            x = np.sort(points[0].values[name].ravel())
            assert record["ours"] == np.quantile(x, 0.5, method="closest_observation")


def check_card(names: Sequence[str], folder: Path) -> None:
    """The model card holds each measurement and each device parameter, whatever they are called."""
    experiment = asked(names)
    points = answered(experiment)
    (folder / "card.toml").write_text(to_toml(make_card(assemble(experiment, points, {}))), encoding="utf-8")
    card = read_card(folder / "card.toml")
    quantities = card.points[0].quantities
    for name in names:
        values = points[0].values[name]
        for i in range(PULSES if values.ndim == 3 else 1):
            own = quantities[name if values.ndim == 2 else f"{name}[{i + 1}]"]
            x = np.sort((values if values.ndim == 2 else values[..., i]).ravel())
            assert own.role == "measurement"
            assert own.median == pytest.approx(np.quantile(x, 0.5, method="closest_observation"))
    friction = quantities["parameter:friction" if "friction" in names[::2] else "friction"]
    assert friction.role == "parameter"
    text = io.StringIO()
    write_devices(card, 2, 1, text)
    headings = next(csv.reader(io.StringIO(text.getvalue())))
    known = {name for point in card.points for name, q in point.quantities.items() if q.family != "undetermined"}
    assert len(set(headings)) == len(headings) == 3 + len(known)


def chosen() -> st.SearchStrategy[list[str]]:
    """Names in one experiment: mcdev's own words, words next to them, and any text."""
    ends = st.sampled_from(["", "_status", "_entry", "_error", "_curve", "_of_device", "_1", ".x", " x"])
    near = st.builds(lambda word, end: word + end, st.sampled_from(OURS), ends)
    anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=90)
    letters = st.text(st.characters(categories=["L", "N"], include_characters="_-. "), min_size=1, max_size=12)
    return st.lists(st.one_of(near, anything, letters), min_size=1, max_size=4, unique=True)


def hold(names: list[str], folder: Path) -> None:
    """What is no name is refused in one line before anything is done; the rest go together through everything."""
    fine = []
    for name in names:
        try:
            fine.append(NAME.validate_python(name))
        except ValidationError:
            with pytest.raises(ConfigError) as caught:
                asked([name])
            assert all(str(p).isprintable() and "expected" in str(p) for p in caught.value.problems)
            assert [p.key for p in caught.value.problems] == [key_path("measurements", name)]
    if fine:
        check(fine, folder)


@given(names=chosen())
@settings(max_examples=4, deadline=None, derandomize=True)
def test_any_name_is_refused_or_right(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    hold(names, tmp_path_factory.mktemp("named"))


@pytest.mark.slow
@given(names=chosen())
@settings(max_examples=400, deadline=None, derandomize=True)
def test_any_of_many_names_is_refused_or_right(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    hold(names, tmp_path_factory.mktemp("named"))


def test_our_own_words_together(tmp_path: Path) -> None:
    check(["g", "device", "g_status", "value", "intact", "point"], tmp_path)


def test_a_curve_of_a_fit_is_found_whatever_the_other_axes_are() -> None:
    """One of them is a distribution, whose text holds commas."""
    experiment = asked(["a"], friction=[4.0, {"distribution": "lognormal", "median": 4.0, "sigma": 0.1}])
    tree = assemble(experiment, answered(experiment), {})
    median, of_fit = compare(tree)
    assert of_fit["what"] == "a: activation_energy"
    assert of_fit["ours"] == float(tree["fits/a/activation_energy"][0])
    assert (of_fit["point"], median["point"]["friction"]) == ({"friction": "4.0"}, "4.0")
    assert len(fit_records(tree)) == 2 * len({r["coefficient"] for r in fit_records(tree)})


def test_a_card_of_our_own_words(tmp_path: Path) -> None:
    check_card(["friction", "device", "cycle", "parameter_friction", "a b", "a_b"], tmp_path)


def test_the_command_line_writes_them(tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    """``g`` beside ``g_status``, and the names of the results' own dimensions and variables."""
    names = ["g", "g_status", "intact", "device"]
    experiment = reduced(None, {name: {"kind": "mean_conductance"} for name in names}, {"devices": 6})
    (tmp_path / "one.toml").write_text(experiment.to_toml())
    ended = mcdev_main("run", tmp_path / "one.toml", "--out", tmp_path / "run", "--no-figures")
    assert ended.code == 0, ended.err
    expected = array(mcdev.run(experiment), "measurements/g/value").values.mean()
    text = (tmp_path / "run" / "statistics.csv").read_text(encoding="utf-8")
    rows = {row["measurement"]: row for row in csv.DictReader(io.StringIO(text))}
    assert list(rows) == names
    for row in rows.values():
        assert float(row["mean"]) == pytest.approx(expected, rel=1e-6)
        assert row["n_ok"] == "6"
    quantities = read_card(tmp_path / "run" / "card.toml").points[0].quantities
    assert [name for name, quantity in quantities.items() if quantity.role == "measurement"] == names


def test_two_names_of_the_same_words_are_told_apart_in_pictures() -> None:
    experiment = asked(["a_b", "x", "a b"])
    figure = distributions.draw(assemble(experiment, answered(experiment), {}))
    assert {axes.get_xlabel() for axes in figure.axes} == {r"a_b ($G_{\mathrm{max}}$)", r"a b ($G_{\mathrm{max}}$)"}


# ------------------------------------------------------------------------------------ names beside one another


def test_a_measurement_that_is_another_thing_elsewhere_is_refused() -> None:
    """Values in siemens and shares of G_max cannot stand in one array."""
    train = {"kind": "pulse_train", "amplitude": "3 V", "width": "20 ms", "period": "30 ms", "count": 2}
    one = reduced(train, {"g": {"kind": "pulse_conductance"}})
    with pytest.raises(ConfigError, match=r"measurements\.g: is a pulse_conductance, a list in S here, and .* in 1"):
        one.with_({"sweep.axes": {"measurements.g.relative": [True, False]}})


def test_axes_with_one_last_key_are_told_apart() -> None:
    pulse = {"kind": "pulse", "amplitude": "3 V", "width": "0.02 s", "relaxation": "0.1 s"}
    names = {name: {"kind": "relaxation_time"} for name in ("a", "b")}
    one = reduced(pulse, names, {"devices": DEVICES, "cycles": CYCLES})
    swept = one.with_(
        {"sweep.axes": {"measurements.a.by": ["1/e", "fraction"], "measurements.b.by": ["1/e", "fraction"]}}
    )
    tree = assemble(swept, answered(swept), {})
    assert mcdev.statistics.point_label(tree, 1) == {"measurements.a.by": "1/e", "measurements.b.by": "fraction"}


def job(experiments: Sequence[str], devices: Sequence[str]) -> dict[str, Any]:
    pulse = {"kind": "pulse", "amplitude": "3.5 V", "width": "20 s", "relaxation": "0 s"}
    table = {"protocol": pulse, "measurements": {"tau": {"kind": "exponential_fit"}}}
    return {
        "name": "n" * 80,
        "devices": {name: {"preset": "device_p"} for name in devices},
        "experiments": dict.fromkeys(experiments, table),
        "parameters": {"device.capacitance": {"low": "1 uF/cm^2", "high": "100 uF/cm^2"}},
        "targets": [
            {"experiment": experiments[0], "measurement": "tau", "value": "3 s", "uncertainty": "3 %", "source": "a"}
        ],
    }


def test_fitted_experiments_that_would_share_a_file_are_refused() -> None:
    resolve(job(["a", "a.b"], ["c", "b_c"]), Path())
    for experiments, devices in ((["a", "a_b"], ["c", "b_c"]), (["a b", "a_b"], ["c"]), (["x", "X"], ["c"])):
        with pytest.raises(ConfigError, match=r"would share the file fitted/.*rename one of them"):
            resolve(job(experiments, devices), Path())
    assert FILE.validate_python(fitted_name("e" * 80, "d" * 80, True)) == "e" * 80


def test_a_device_and_an_experiment_may_be_called_like_our_own(tmp_path: Path) -> None:
    """``device`` was what the only device was called, ``curve scope`` the experiment of a measured curve."""
    (tmp_path / "scope.csv").write_text("".join(f"{i},1,1e-6\n" for i in range(6)))
    data = job(["curve scope"], ["device", "other"])
    plan = resolve(data | {"curves": [{"file": "scope.csv", "device": "device", "noise": "1 nA"}]}, tmp_path)
    assert len(plan.experiments) == 3
    assert plan.experiments["curve scope", "device"].protocol.kind == "pulse"
    assert plan.traces[0].label == "curve scope (device)"


# -------------------------------------------------------------------------------------- files of former versions


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mcdev wrote when its results had version 2: three temperatures, and with them three gaps."""
    file = tmp_path_factory.mktemp("former") / "results.h5"
    packed = Path(__file__).parent / "data" / "results_version_2.h5.gz"
    file.write_bytes(gzip.decompress(packed.read_bytes()))
    return file


def test_results_of_version_2_are_read(former: Path, tmp_path: Path) -> None:
    tree = mcdev.read(former)
    assert tree.attrs["mcdev_schema_version"] == 3
    with h5py.File(former, "r") as old:
        for name in ("g", "tau", "mean"):
            np.testing.assert_array_equal(tree[f"measurements/{name}/value"], old[f"measurements/{name}"])
            np.testing.assert_array_equal(tree[f"measurements/{name}/status"], old[f"measurements/{name}_status"])
            np.testing.assert_array_equal(tree[f"mean_response/{name}/value"], old[f"mean_response/{name}"])
        for key in ("activation_energy", "log_prefactor"):
            for end in ("", "_error"):
                np.testing.assert_array_equal(tree[f"fits/law/{key}{end}"], old[f"fits/law_{key}{end}"])
        np.testing.assert_array_equal(tree["response/conductance"], old["response/conductance"])
        np.testing.assert_array_equal(tree["sweep/device.half_gap"], old["half_gap"])
    position = tree["profile/position"].values  # the file has that of the first point alone
    np.testing.assert_allclose(position[:, -1], 0.875 * np.array([1.0, 2.0, 3.0]))

    experiment = mcdev.experiment_of(tree)
    again = assemble(experiment, answered(experiment), {})
    for group in ("sweep", "parameters", "realisations", "measurements", "mean_response", "profile", "fits", "config"):
        assert shape(tree[group]) == shape(again[group])
    mcdev.write(tree, tmp_path)
    xr.testing.assert_equal(mcdev.read(tmp_path), tree)
    assert [r["point"]["half_gap"] for r in mcdev.summarise(tree, False)[-3:]] == ["1 m", "2 m", "3 m"]


def test_a_parameter_that_came_later_is_filled_in(tmp_path: Path) -> None:
    """A file whose configuration does not name a parameter with a default is from before it; one whose configuration
    does has lost it, and is refused."""
    experiment = reduced(None, None, {"devices": 3})
    tree = assemble(experiment, answered(experiment), {})
    drawn = tree["parameters"].dataset
    tree["parameters"].dataset = drawn.drop_vars("interfacial_ratio")
    mcdev.write(tree, tmp_path)
    with pytest.raises(mcdev.ResultsError, match="/parameters/interfacial_ratio is missing"):
        mcdev.read(tmp_path)
    stored = tree["config/toml"]
    text = str(stored.item()).replace("interfacial_ratio = 1.0\n", "")
    tree["config"]["toml"] = xr.DataArray(text, attrs=stored.attrs)
    mcdev.write(tree, tmp_path)
    filled = mcdev.read(tmp_path)["parameters/interfacial_ratio"]
    np.testing.assert_array_equal(filled, np.ones((1, 3)))
    assert filled.attrs == drawn["interfacial_ratio"].attrs


def test_a_resistance_was_not_kept_before_it_could_be_drawn(tmp_path: Path) -> None:
    """Results of a series resistor from then are read, each sweep point with its own; a drawn one that is lost is
    not."""
    base = reduced(None, None, {"devices": 3}).to_dict()
    wired = {"kind": "series_resistor", "resistance": "2 ohm"}
    swept = mcdev.build(base | {"circuit": wired, "sweep": {"axes": {"circuit.resistance": ["1 ohm", "2 ohm"]}}})
    spread = {"distribution": "lognormal", "median": "2 ohm", "sigma": 0.1}
    drawn = mcdev.build(base | {"circuit": wired | {"resistance": spread}})
    for experiment in (swept, drawn):
        tree = assemble(experiment, answered(experiment), {})
        tree["parameters"].dataset = tree["parameters"].dataset.drop_vars("circuit.resistance")
        mcdev.write(tree, tmp_path)
        if experiment is swept:
            filled = mcdev.read(tmp_path)["parameters/circuit.resistance"]
            np.testing.assert_array_equal(filled, [[1.0] * 3, [2.0] * 3])
        else:
            with pytest.raises(mcdev.ResultsError, match=r"/parameters/circuit\.resistance is missing"):
                mcdev.read(tmp_path)


def shape(tree: xr.DataTree) -> dict[str, dict[str, Any]]:
    """Every variable's dimensions and lengths, group by group."""
    return {g.path: {str(n): dict(v.sizes) for n, v in g.variables.items()} for g in tree.subtree}


def test_a_former_version_is_named_where_it_cannot_be_read(former: Path, tmp_path: Path) -> None:
    def changed(work: Callable[[h5py.File], None]) -> Path:
        file = tmp_path / "results.h5"
        file.write_bytes(former.read_bytes())
        with h5py.File(file, "r+") as handle:
            work(handle)
        return file

    def first(handle: h5py.File) -> None:
        handle.attrs["mcdev_schema_version"] = 1

    def overwritten(handle: h5py.File) -> None:
        text = handle["config/toml"].asstr()[()]
        handle["config/toml"][()] = text + '\n[measurements.tau_status]\nkind = "mean_conductance"\n'

    def missing(handle: h5py.File) -> None:
        del handle["measurements/tau"]

    for work, phrase in (
        (first, r"early mcdev \(schema 1\)"),
        (overwritten, "version 2 .* the status of tau was overwritten"),
        (missing, "version 2 .*tau"),
    ):
        with pytest.raises(mcdev.ResultsError, match=phrase):
            mcdev.read(changed(work))


# ------------------------------------------------------------------------------ what belongs to a point of a sweep


def test_particles_are_counted_at_every_point_of_a_sweep_of_the_gap() -> None:
    """40 particles integrate to 40, whatever the gap."""
    tree = mcdev.run(reduced(None, None, {"devices": 8}).with_({"sweep.axes": {"device.half_gap": ["1 m", "2 m"]}}))
    for point, half in enumerate((1.0, 2.0)):
        position = array(tree, "profile/position").values[point]
        width = np.diff(position)
        np.testing.assert_allclose([position[0] - width[0] / 2, position[-1] + width[0] / 2], [-half, half])
        held = array(tree, "profile/density").values[point, 0] @ np.full(position.size, width[0])
        np.testing.assert_allclose(held, 40.0, rtol=1e-5)


def test_profiles_of_more_and_of_fewer_bins_stand_together() -> None:
    swept = asked(["a"], profile_count=[100, 20])
    profile = assemble(swept, answered(swept), {})["profile"].to_dataset()
    for name in ("density", "position"):
        count = np.isfinite(profile[name].values).sum(axis=-1)
        assert (count[::2] == 100).all()
        assert (count[1::2] == 20).all()


def test_ions_are_counted_at_every_point_of_a_sweep_of_the_thickness() -> None:
    """∫ n dx is the density at rest times this point's thickness; the cells' edges follow from their middles."""
    hold = {"kind": "hold", "duration": "1 ms", "samples": 2}
    one = mcdev.build(
        {
            "name": "ions",
            "device": {"preset": "device_p_pnp"},
            "protocol": hold,
            "measurements": {"g": {"kind": "mean_conductance"}},
            "ensemble": {"devices": DEVICES, "cycles": CYCLES},
            "sweep": {"axes": {"device.thickness": ["100 nm", "50 nm", "200 nm"]}},
        }
    )
    points = []
    for result, (_, variant) in zip(answered(one), one.points(), strict=True):
        samples, bins = result.timeline.samples, variant.device.profile_bins.size
        rest = {name: np.full((CYCLES, samples, bins), variant.device.ion_density) for name in variant.device.profiles}
        points.append(replace(result, profile=rest))
    tree = assemble(one, points, {})
    for point, (_, variant) in enumerate(one.points()):
        middles = array(tree, "profile/position").values[point]
        edges = [0.0]
        for middle in middles:
            edges.append(2 * middle - edges[-1])
        assert edges[-1] == pytest.approx(variant.device.thickness)
        held = np.diff(edges) @ array(tree, "profile/anions").values[point, 0, 0]
        assert held == pytest.approx(variant.device.ion_density * variant.device.thickness)


def test_a_sweep_of_the_number_of_particles() -> None:
    """Trajectories of six and of four particles stand together; what one has not is NaN."""
    six = reduced(None, None, {"devices": DEVICES, "cycles": CYCLES}, particles=6)
    swept = six.with_({"sweep.axes": {"device.particles": [6, 4]}})
    points = answered(swept)
    for point, count in zip(points, (6, 4), strict=True):
        point.trajectories["position"] = np.ones((CYCLES, 1, point.timeline.samples, count))
    position = array(assemble(swept, points, {}), "trajectories/position").values
    assert np.isfinite(position).sum(axis=-1).reshape(2, -1).tolist() == [[6] * 8, [4] * 8]


def test_a_sweep_of_a_scale_is_not_in_reduced_units() -> None:
    """One volt is V_th at the first point only."""
    one = reduced(None, None, {"devices": DEVICES, "cycles": CYCLES})
    assert "1 V = V_th" in assemble(one, answered(one), {}).attrs["reduced_units"]
    swept = one.with_({"sweep.axes": {"device.threshold_voltage": ["1 V", "2 V"]}})
    assert assemble(swept, answered(swept), {}).attrs["reduced_units"] == ""


def test_a_group_has_the_coordinates_of_its_own_dimensions() -> None:
    """One row a realisation, and no more: nothing is repeated for every sample."""
    experiment = asked(["a", "b"])
    points = answered(experiment)
    tree = assemble(experiment, points, {})
    frame = tree["measurements/a"].to_dataset().to_dataframe()
    assert frame.index.names == ["point", "device", "cycle"]
    assert len(frame) == len(points) * DEVICES * CYCLES
    assert frame.loc[(1, 2, 0), "value"] == points[1].values["a"][2, 0]
    assert len(tree["parameters"].to_dataset().to_dataframe()) == len(points) * DEVICES
    assert len(tree["sweep"].to_dataset().to_dataframe()) == len(points)
    besides = {"/profile": {"position"}, "/trajectories": {"time", "device"}}
    for group in tree.subtree:
        more = besides.get(group.path, set())
        assert set(group.to_dataset().coords) <= set(group.to_dataset(inherit=False).dims) | more
        for name in group.coords:
            assert set(group[name].dims) <= {d for v in group.data_vars.values() for d in v.dims} | {"point"}
