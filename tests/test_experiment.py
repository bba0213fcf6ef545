"""An experiment as a whole: presets, variants, sweeps, references, warnings, and the file it is written to."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import diffusive, reduced

import mcdev
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.key_paths import axis_unit, axis_values, set_value
from mcdev.schema import Lognormal

TRAIN = {"kind": "pulse_train", "amplitude": "4 V", "width": "20 ms", "period": "41 ms", "count": 4}
PULSES = {"g": {"kind": "pulse_conductance"}, "peak": {"kind": "peak_pulse"}, "mean": {"kind": "mean_conductance"}}


def train(**sections: Any) -> Experiment:
    data = {
        "name": "train",
        "device": {"preset": "wang2017_reduced"},
        "protocol": TRAIN,
        "measurements": PULSES,
        "ensemble": {"devices": 8},
    }
    return mcdev.build(data | sections)


def swept(mode: Any = "grid", **axes: Any) -> Experiment:
    """Axes by the last word of their key."""
    paths = {
        "T": "device.background_temperature",
        "V": "protocol.amplitude",
        "n": "protocol.count",
        "f": "device.friction",
    }
    return train(sweep={"mode": mode, "axes": {paths[name]: values for name, values in axes.items()}})


# ------------------------------------------------------------------------------- presets, variants


@pytest.mark.parametrize("name", list(mcdev.presets()))
def test_presets_say_where_each_number_comes_from(name: str) -> None:
    preset = mcdev.presets()[name]
    assert preset["title"]
    assert ("doi:10.1038/nmat4756" if name.startswith("wang2017") else "doi:10.1039/d1ma01078f") in preset["source"]
    assert all(preset["notes"])
    assert set(preset["origin"]) == set(preset["device"]) - {"kind"}


@pytest.mark.parametrize("name", list(mcdev.presets()))
@pytest.mark.parametrize("by", ["dict", "toml"])
def test_experiments_read_back_equal(name: str, by: str) -> None:
    nanoparticles = {
        "friction": {"distribution": "lognormal", "median": 4.0, "sigma": 0.2},
        "background_temperature": {"distribution": "normal", "mean": "311 K", "sd": "1.7 K", "low": "300 K"},
        "pinning_energy": "0.0861733 eV",
        "pinning_phase": "17 deg",
        "pinning_disorder": {"depth_sigma": 0.1},
        "integrator": {"step": "1 ns"},
    }
    ions = {
        "thickness": {"distribution": "lognormal", "median": "101.3 nm", "sigma": 0.03},
        "conductivity": {"distribution": "normal", "mean": "3.3e-11 S/cm", "sd": "1e-12 S/cm", "low": "1e-11 S/cm"},
        "area": "0.0071 cm^2",
        "hopping_field": "0.0271 V/nm",
        "integrator": {"step": "1.7 ms"},
    }
    drift = {
        "steepness": {"distribution": "uniform", "low": "0.2 1/V", "high": "0.3 1/V"},
        "positive_current": {"distribution": "lognormal", "median": "101.3 uA", "sigma": 0.3},
        "negative_rate": "3.7 Hz",
        "integrator": {"tolerance": 1.7e-5},
    }
    kind = mcdev.presets()[name]["device"]["kind"]
    is_diffusive = kind.startswith("diffusive")
    if kind == "diffusive_hopping":  # which takes no steps
        del nanoparticles["integrator"]
        nanoparticles |= {"subdivision": 2, "reference_gap": "7 nm"}
    experiment = train(
        device={"preset": name, **(nanoparticles if is_diffusive else drift if kind == "yakopcic" else ions)},
        measurements=PULSES | {"g": {"kind": "pulse_conductance", "relative": is_diffusive}},
        circuit={"kind": "series_resistor", "resistance": "3.3 ohm", "compliance": "7 mA"},
        sweep={"axes": {"protocol.amplitude": {"start": "3 V", "stop": "5 V", "count": 3}}},
        output={"quantiles": [0.1, 0.9], "reference": [{"measurement": "peak", "value": "> 0", "source": "a paper"}]},
    )
    data = experiment.to_dict() if by == "dict" else tomllib.loads(experiment.to_toml())
    again = mcdev.build(data)
    assert again == experiment
    assert again.hash == experiment.hash
    assert again.to_toml() == experiment.to_toml()


def test_a_preset_supplies_what_is_not_given() -> None:
    experiment = train(device={"preset": "wang2017_sioxny_ag", "threshold_voltage": "1.5 V"})
    assert diffusive(experiment).threshold_voltage == 1.5
    assert diffusive(experiment).cooling_rate == 500.0
    again = mcdev.build(experiment.to_dict())
    assert diffusive(again).threshold_voltage == 1.5, "the preset must not win over the value"


def test_building_leaves_the_data_alone() -> None:
    data: dict[str, Any] = {
        "name": "x",
        "device": {"preset": "wang2017_reduced"},
        "protocol": dict(TRAIN),
        "measurements": {"g": {"kind": "mean_conductance"}},
    }
    before = repr(data)
    mcdev.build(data)
    assert repr(data) == before


def test_with_changes_one_value_and_leaves_the_original() -> None:
    first = train()
    second = first.with_({"device.friction": 2.0, "protocol.count": 7, "measurements.g.relative": False})
    assert (diffusive(first).friction, diffusive(second).friction) == (4.0, 2.0)
    assert second.protocol.timeline().windows["pulse"].shape == (7, 2)
    assert second.measurements["g"].unit == "S"
    law = {"distribution": "lognormal", "median": 3.0, "sigma": 0.1}
    assert diffusive(first.with_({"device.friction": law})).friction == Lognormal(median_value=3.0, sigma=0.1)


def test_with_takes_numbers_that_a_script_computed() -> None:
    changed = train().with_({"device.friction": np.float64(2.5), "ensemble.devices": np.int64(16)})
    assert (diffusive(changed).friction, changed.ensemble.devices) == (2.5, 16)


def test_overrides_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(train().to_toml())
    assert mcdev.load(file) == train()
    assert mcdev.load(str(file), {"ensemble.seed": 7}).ensemble.seed == 7


@pytest.mark.parametrize(
    "change",
    [
        {"device.friction": 3.9},
        {"protocol.width": "20.1 ms"},
        {"ensemble.seed": 2},
        {"ensemble.devices": 9},
        {"ensemble.precision": "float64"},
        {"measurements.g.relative": False},
        {"circuit.compliance": "1 A"},
        {
            "device.pinning_energy": {
                "distribution": "normal",
                "mean": "1 k_B*K",
                "sd": "0.01 k_B*K",
                "low": "0.5 k_B*K",
            }
        },
    ],
)
def test_the_hash_changes_with_what_changes_results(change: dict[str, Any]) -> None:
    assert train().with_(change).hash != train().hash


def test_the_order_of_axes_numbers_the_points_and_changes_the_hash() -> None:
    axes = {"device.friction": [1.0, 2.0], "protocol.width": ["1 ms", "2 ms"]}
    one, other = (train(sweep={"axes": dict(pairs)}) for pairs in (axes.items(), reversed(axes.items())))
    assert [values for values, _ in one.points()] != [values for values, _ in other.points()]
    assert one.hash != other.hash


def test_the_hash_is_of_the_experiment_not_of_its_name() -> None:
    renamed = train(name="other", description="words", output={"directory": "elsewhere", "figures": False})
    assert renamed.hash == train().hash
    assert len(train().hash) == 8
    same = train().with_({"protocol.width": "0.02 s", "device.cooling_rate": "1000 mHz"})
    assert same.hash == train().hash, "the same value in another unit"


# ------------------------------------------------------------------------------- sweeps


def test_points_keep_their_numbers_in_a_file() -> None:
    """A range, which TOML writes as a table, before lists, which it writes as values: also of tables."""
    laws = [{"distribution": "lognormal", "median": 4.0, "sigma": 0.1}, 3.0]
    experiment = swept(V={"start": "3 V", "stop": "4 V", "count": 2}, T=["0.40 K", "0.45 K"], f=laws)
    again = mcdev.build(tomllib.loads(experiment.to_toml()))
    assert again == experiment
    assert [values for values, _ in again.points()] == [values for values, _ in experiment.points()]


def test_without_a_sweep_there_is_one_point() -> None:
    ((values, point),) = train().points()
    assert values == {}
    assert point == train()


def test_a_grid_takes_every_combination_the_last_axis_fastest() -> None:
    experiment = swept(T=["0.40 K", "0.45 K"], n=[3, 4, 5])
    found = [
        (diffusive(p).background_temperature, len(p.protocol.timeline().windows["pulse"]))
        for _, p in experiment.points()
    ]
    assert found == [(t, n) for t in (0.40, 0.45) for n in (3, 4, 5)]
    assert all(point.sweep.axes == {} for _, point in experiment.points())


def test_zip_takes_the_axes_together() -> None:
    experiment = swept("zip", T=["0.40 K", "0.45 K"], n=[3, 4])
    assert [values for values, _ in experiment.points()] == [
        {"device.background_temperature": "0.40 K", "protocol.count": 3},
        {"device.background_temperature": "0.45 K", "protocol.count": 4},
    ]


@pytest.mark.parametrize(
    ("axis", "written", "expected"),
    [
        ("T", {"start": "0.3 K", "stop": "0.5 K", "count": 3}, ["0.3 K", "0.4 K", "0.5 K"]),
        ("V", {"start": "1 V", "stop": "100 V", "count": 3, "spacing": "log"}, ["1 V", "10 V", "100 V"]),
        ("V", {"start": "-1 V", "stop": "1 V", "count": 5}, ["-1 V", "-0.5 V", "0 V", "0.5 V", "1 V"]),
        ("V", {"start": "500 mV", "stop": "2 V", "count": 4}, ["500 mV", "1000 mV", "1500 mV", "2000 mV"]),
        ("V", {"start": "2 V", "stop": "20mV", "count": 3, "spacing": "log"}, ["2 V", "0.2 V", "0.02 V"]),
        ("T", {"start": "-273.05 degC", "stop": "0.3 K", "count": 2}, ["-273.05 degC", "-272.85 degC"]),
        ("f", {"start": 1.0, "stop": 4.0, "count": 3, "spacing": "log"}, [1.0, 2.0, 4.0]),
        ("f", {"start": "150 %", "stop": "200 %", "count": 3}, ["150 %", "175 %", "200 %"]),
        ("f", {"start": "150 %", "stop": 2, "count": 2}, ["150 %", "200 %"]),
        ("f", {"start": 5, "stop": 4, "count": 3}, [5.0, 4.5, 4.0]),
        ("n", {"start": 3, "stop": 9, "count": 4}, [3, 5, 7, 9]),
        ("n", {"start": 3, "stop": 48, "count": 5, "spacing": "log"}, [3, 6, 12, 24, 48]),
    ],
)
def test_ranges(axis: str, written: dict[str, Any], expected: list[Any]) -> None:
    experiment = swept(**{axis: written})
    found = [value for values, _ in experiment.points() for value in values.values()]
    assert found == expected
    assert mcdev.build(experiment.to_dict()) == experiment


def test_a_range_of_pulses_that_is_not_whole_is_refused() -> None:
    with pytest.raises(mcdev.ConfigError, match=r"protocol\.count = 3\.5"):
        swept(n={"start": 3, "stop": 4, "count": 3})


@pytest.mark.parametrize(
    ("stop", "said"),
    [
        ("2 K", "from '1 V' to '2 K': 'K' is a temperature, 'V' is a voltage"),
        ("2", "from '1 V' to '2': no unit and V do not measure the same"),
        ("2 volty", "'volty' is no known unit"),
        ("two V", "'two V': expected a finite number, with its unit"),
        ("1e999 V", "expected a finite number, with its unit"),
        ("-2 mV", "needs start and stop above zero"),
    ],
)
def test_a_range_between_two_dimensions_is_refused(stop: str, said: str) -> None:
    with pytest.raises(mcdev.ConfigError) as caught:
        swept(V={"start": "1 V", "stop": stop, "count": 3, "spacing": "log"})
    (problem,) = caught.value.problems
    assert problem.key == 'sweep.axes."protocol.amplitude"'
    assert said in problem.message.replace('"', "'")


def test_axes_in_their_unit() -> None:
    experiment = swept(
        "zip",
        T=["300 mK", "0.45 K"],
        V=["4 V", "3500 mV"],
        n=[3, 4],
        f=[4.0, {"distribution": "lognormal", "median": 4.0, "sigma": 0.1}],
    )
    assert axis_unit(experiment, "device.background_temperature") == "K"
    np.testing.assert_allclose(np.array(axis_values(experiment, "device.background_temperature")), [0.3, 0.45])
    np.testing.assert_allclose(np.array(axis_values(experiment, "protocol.amplitude")), [4.0, 3.5])
    assert axis_unit(experiment, "protocol.count") == ""
    np.testing.assert_array_equal(axis_values(experiment, "protocol.count"), [3, 4])
    words = axis_values(experiment, "device.friction")
    assert "lognormal" in words[1]


def test_parts_of_measurements_and_devices_can_be_swept() -> None:
    experiment = train(
        sweep={
            "axes": {"measurements.g.window": ["pulse", "all"], "device.integrator.scheme": ["heun", "euler_maruyama"]}
        }
    )

    def about(point: Experiment) -> tuple[str, str]:
        return point.to_dict()["measurements"]["g"]["window"], diffusive(point).integrator.scheme

    assert [about(p) for _, p in experiment.points()] == [
        (window, scheme) for window in ("pulse", "all") for scheme in ("heun", "euler_maruyama")
    ]


def test_a_sweep_that_changes_a_measurement_s_unit_is_refused() -> None:
    with pytest.raises(mcdev.ConfigError, match=r"measurements\.g"):
        train(sweep={"axes": {"measurements.g.relative": [True, False]}})


# ------------------------------------------------------------------------------- references, fits


@pytest.mark.parametrize(
    "reference",
    [
        {"measurement": "g", "entry": 4, "value": 0.25},
        {"measurement": "g", "entry": 4, "value": "25 %"},
        {"measurement": "mean", "value": "2 mS"},
        {"measurement": "peak", "value": "> 0", "statistic": "median"},
        {"measurement": "mean", "value": "< 0", "statistic": "mean_response", "point": 2},
    ],
)
def test_references(reference: dict[str, Any]) -> None:
    sweep = {"axes": {"device.friction": [4.0, 3.0]}}
    experiment = train(sweep=sweep, output={"reference": [{**reference, "source": "a paper"}]})
    assert experiment.output.reference[0].source == "a paper"
    assert all(point.output.reference == () for _, point in experiment.points())


def test_a_reference_to_a_fit_names_a_coefficient() -> None:
    sections: dict[str, Any] = {
        "sweep": {"axes": {"device.background_temperature": ["0.40 K", "0.45 K", "0.50 K"]}},
        "fits": {"e": {"kind": "arrhenius", "measurement": "mean", "axis": "device.background_temperature"}},
    }
    reference = {"measurement": "e", "value": "1 K", "source": "a paper"}
    with pytest.raises(mcdev.ConfigError, match=r"output\.reference\.0\.coefficient: is missing"):
        train(**sections, output={"reference": [reference]})
    fitted = train(**sections, output={"reference": [reference | {"coefficient": "activation_temperature"}]})
    assert fitted.fits["e"].statistic == "median"
    with pytest.raises(mcdev.ConfigError, match=r"coefficient = .*no such coefficient.*activation_energy"):
        train(**sections, output={"reference": [reference | {"coefficient": "activation_enegry"}]})
    wrong = reference | {"coefficient": "activation_temperature", "value": 1.0}
    with pytest.raises(mcdev.ConfigError, match=r"output\.reference\.0\.value = 1\.0.*a temperature"):
        train(**sections, output={"reference": [wrong]})


@pytest.mark.parametrize(
    ("sweep", "phrase"),
    [
        ({"axes": {"device.background_temperature": ["0.40 K", "0.45 K"]}}, "at least 3"),
        ({"axes": {}}, "no such sweep axis"),
    ],
)
def test_fits_that_cannot_be_made(sweep: dict[str, Any], phrase: str) -> None:
    fit = {"kind": "arrhenius", "measurement": "mean", "axis": "device.background_temperature"}
    with pytest.raises(mcdev.ConfigError, match=r"fits\.e") as caught:
        train(sweep=sweep, fits={"e": fit})
    assert phrase in str(caught.value)


# ------------------------------------------------------------------------------- warnings


def test_a_start_out_of_equilibrium_is_said() -> None:
    """At φ = 0 the two wells differ: a long run shows it, a short one does not, and φ = π/2 has no difference."""

    def warnings(duration: str, **device: Any) -> str:
        return "\n".join(reduced({"kind": "hold", "duration": duration}, **device).warnings())

    assert "rest check" in warnings("1000 s")
    assert 'device.initial_split = "equilibrium"' in warnings("1000 s")
    assert warnings("0.02 s") == ""
    assert warnings("1000 s", pinning_phase="90 deg") == ""
    assert warnings("1000 s", initial_split="equilibrium") == ""
    assert "interaction" in warnings("0.02 s", interaction=0.5)


def test_doubtful_steps_are_said_once() -> None:
    device = {"integrator": {"step": "2 ms", "coupling_interval": "0.5 s"}}
    experiment = train(device={"preset": "wang2017_reduced", **device}, sweep={"axes": {"protocol.count": [4, 5]}})
    found = experiment.warnings()
    assert len(found) == 2
    assert found[0].startswith("device.integrator.step: 0.002 s is")
    assert found[1].startswith("device.integrator.coupling_interval: 0.5 s")
    assert train().warnings() == []


# ------------------------------------------------------------------------------- waveforms


@pytest.mark.parametrize(
    "content", ["0,0\n1,2\n3,-2\n", "time (s),voltage (V)\n5,0\n6,2\n8,-2\n", "# c\n\n0, 0\r\n1,2e0\r\n3,-2"]
)
def test_a_waveform_is_read_beside_its_configuration_and_kept_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    """The path is relative to the configuration, times start at zero, and results do not depend on the file."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "pulse.csv").write_text(content, newline="")
    (folder / "mine.toml").write_text(
        'name = "mine"\ndevice.preset = "wang2017_reduced"\nmeasurements.g.kind = "mean_conductance"\n'
        '[protocol]\nkind = "waveform"\nfile = "pulse.csv"\nsamples_per_point = 2\n'
    )
    monkeypatch.chdir(tmp_path)
    experiment = mcdev.load("mine/mine.toml")
    np.testing.assert_allclose(experiment.protocol.timeline().edges, [0, 0.5, 1, 2, 3])
    np.testing.assert_allclose(experiment.protocol.timeline().end, [1, 2, 0, -2])
    (folder / "pulse.csv").unlink()
    assert "file" not in experiment.to_dict()["protocol"]
    assert mcdev.build(tomllib.loads(experiment.to_toml())) == experiment


def test_an_entry_of_a_list_is_named_by_its_number() -> None:
    data: dict[str, Any] = {"targets": [{"weight": 1}, {"weight": 1}], "list": [1, 2]}
    assert set_value(data, "targets.1.weight", 0) is None
    assert set_value(data, "list.0", 5) is None
    assert data == {"targets": [{"weight": 1}, {"weight": 0}], "list": [5, 2]}
    for path in ("targets.2.weight", "targets.weight", "list.x"):
        wrong = set_value(data, path, 0)
        assert wrong is not None
        assert "is a list; expected the number of an entry (0 to 1)" in wrong.message
