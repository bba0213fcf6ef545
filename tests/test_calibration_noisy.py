"""Calibration of ensembles with noise: their derivatives, by estimator and by differences, and their errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import reduced
from scipy.constants import Boltzmann
from test_calibration import job, plan_of

import mcdev
from mcdev.calibration import calibrate, conclusions, noisy
from mcdev.calibration.evaluation import Evaluation, evaluate
from mcdev.calibration.job import ONLY
from mcdev.calibration.misfit import Objective
from mcdev.calibration.outcome import Outcome
from mcdev.calibration.plan import Case
from mcdev.calibration.search import corrected
from mcdev.calibration.uncertainty import known
from mcdev.configuration.problems import ConfigError
from mcdev.simulation.trial import Trial


@pytest.mark.slow
def test_the_density_s_derivative_is_that_of_its_time_scale_not_of_a_tread() -> None:
    """From a bridge without a voltage time enters as κt only: d ln τ/d ln κ = -1. Along one trajectory of frozen
    quantiles the derivative misses that several-fold; across steps of 20 % it is there within its error."""
    protocol = {"kind": "pulse", "amplitude": "0 V", "width": "1 ns", "samples_per_pulse": 1}
    data: dict[str, Any] = {
        "name": "bridge",
        "device": {"preset": "wang2017_reduced", "kind": "diffusive_density", "initial_state": "bridge"},
        "experiments": {
            "relaxation": {
                "protocol": protocol | {"relaxation": "500 s", "relaxation_samples": 150},
                "measurements": {"tau_r": {"kind": "relaxation_time", "by": "fraction", "fraction": 0.02}},
            }
        },
        "parameters": {"device.cooling_rate": {}},
        "targets": [
            {
                "experiment": "relaxation",
                "measurement": "tau_r",
                "statistic": "mean_response",
                "value": "10 s",
                "uncertainty": "10 %",
                "source": "x",
            }
        ],
        "search": {"reach": 0.2},
    }
    data["device"]["background_temperature"] = "0.3 K"
    plan = plan_of(data)
    assert not plan.exact
    x = plan.values(plan.start)
    found = evaluate(plan, x, 64, 1, True, plan.goals)
    slope, error = (a[0, 0] * x[0] / found.value[0] for a in (found.jacobian, found.jacobian_error))
    assert 0 < error < 0.2
    assert abs(slope + 1) < 3 * error


def test_coefficients_of_a_fit_are_compared_in_si_units() -> None:
    """One slope of ln τ against 1/T, once as an energy in eV and once in kelvin: both in SI, k_B apart. Its error is
    that of the points together, which share their quantiles."""
    data: dict[str, Any] = {
        "name": "bridge",
        "device": {"preset": "wang2017_reduced", "kind": "diffusive_density", "initial_state": "bridge"},
        "experiments": {
            "relaxation": {
                "protocol": {
                    "kind": "pulse",
                    "amplitude": "0 V",
                    "width": "1 ns",
                    "samples_per_pulse": 1,
                    "relaxation": "500 s",
                    "relaxation_samples": 100,
                },
                "measurements": {"tau_r": {"kind": "relaxation_time", "by": "fraction", "fraction": 0.02}},
                "fits": {
                    "law": {
                        "kind": "arrhenius",
                        "measurement": "tau_r",
                        "axis": "device.background_temperature",
                        "statistic": "mean_response",
                    }
                },
                "sweep": {"axes": {"device.background_temperature": ["0.3 K", "0.35 K", "0.45 K"]}},
            }
        },
        "parameters": {"device.cooling_rate": {}},
        "targets": [
            {"experiment": "relaxation", "measurement": "law", "coefficient": c, "source": "x"} | about
            for c, about in (
                ("activation_energy", {"value": "1e-4 eV", "uncertainty": "10 %"}),
                ("activation_temperature", {"value": "1 K", "uncertainty": "0.1 K"}),
                ("log_prefactor", {"value": 0.1, "uncertainty": 0.1}),
            )
        ],
    }
    plan = plan_of(data)
    found = evaluate(plan, plan.values(plan.start), 64, 1, True, plan.goals)
    energy, temperature, _ = found.value
    assert energy == pytest.approx(Boltzmann * temperature, rel=1e-12)
    assert found.error[0] == pytest.approx(Boltzmann * found.error[1], rel=1e-9)
    assert 0.5 < temperature < 1.5
    # κ scales time: dA/d ln κ = -1, dB/d ln κ = 0
    rate = plan.values(plan.start)[0]
    assert abs(rate * found.jacobian[2, 0] + 1) < 3 * rate * found.jacobian_error[2, 0]
    assert abs(rate * found.jacobian[1, 0]) < 3 * rate * found.jacobian_error[1, 0]


def train_job(values: dict[int, float], uncertainty: float | str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Conductances of hopping devices at these pulses of a train."""
    pulses = {"amplitude": "4 V", "width": "20.5 ms", "period": "41 ms", "count": max(values)}
    about: dict[str, Any] = {"experiment": "train", "uncertainty": uncertainty, "source": "planted"}
    return {
        "name": "train",
        "device": {"preset": "wang2017_reduced"},
        "experiments": {
            "train": {
                "protocol": {"kind": "pulse_train", **pulses},
                "measurements": {"g": {"kind": "pulse_conductance"}},
            }
        },
        "parameters": parameters,
        "targets": [{**about, "measurement": "g", "entry": entry, "value": value} for entry, value in values.items()],
    }


def test_what_the_devices_and_the_ensemble_scatter_by_is_counted() -> None:
    """A number of one hopping device is no 3 % number. Whether a target is met is judged with the simulated mean's own
    error: 3.3 uncertainties off, where that error is 0.6 of one, are 2.8 standard deviations."""
    plan = plan_of(train_job({1: 0.03}, "3 %", {"device.friction": {"low": 1, "high": 10}}))
    zero = np.zeros((1, 1))
    value, error = np.array([0.03 * np.exp(3.3 * 0.03)]), np.array([0.6 * 0.03 * 0.03])
    said = {}
    for name, off in (("certain", 0.0), ("simulated", float(error[0] * np.exp(3.3 * 0.03)))):
        final = Evaluation(value, np.array([off]), zero + 0.1, zero, (), (), 0.0, ("",), np.array([[off**2]]))
        m = Objective(plan)._misfit(plan.start, final, True)
        outcome = Outcome(plan, [], m, final, known(plan, m), [], [], [], 0, 0.0)
        said[name] = conclusions(outcome)
    assert any("is not met" in line for line in said["certain"])
    assert not any("is not met" in line for line in said["simulated"])
    assert not any("scatter from device" in line for line in said["certain"])
    (line,) = (line for line in said["simulated"] if "scatter from device" in line)
    devices = int(np.ceil(2000 * (0.6 * np.exp(3.3 * 0.03)) ** 2))
    assert f"train: g[1] (of {devices})" in line


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ({"kind": "diffusive_hopping"}, "devices of kind 'diffusive_hopping' have no score"),
        ({"interaction": 0.5}, "with an interaction between the particles"),
    ],
)
def test_an_estimator_that_does_not_know_the_device_is_refused(device: dict[str, Any], words: str) -> None:
    data = train_job({1: 0.03}, 0.01, {"device.friction": {"low": 1, "high": 10}})
    data["device"] = {**data["device"], **device}
    data["search"] = {"derivatives": "estimator"}
    with pytest.raises(ConfigError, match=f'search.derivatives = "estimator": {words}.*write derivatives = "diff'):
        plan_of(data)
    data["search"] = {}
    assert plan_of(data).goals


def test_noise_of_a_second_memristor_counts() -> None:
    """A device without noise beside one with: its numbers are means of ensembles, and no derivative is exact."""
    switch = {
        "kind": "volatile_threshold",
        "threshold_voltage": "5 V",
        "hold_voltage": "0.2 V",
        "switching_rate": "1 kHz",
        "switching_exponent": 2.0,
        "relaxation_time": "10 ms",
        "on_conductance": "100 uS",
        "off_conductance": "20 uS",
    }
    pair = {"kind": "series_memristor", "memristor": {"preset": "wang2017_sioxny_device"}}
    data = {
        "name": "pair",
        "device": switch,
        "experiments": {
            "pulse": {
                "circuit": pair,
                "protocol": {"kind": "pulse", "amplitude": "1 V", "width": "1 ms", "relaxation": "0 s"},
                "measurements": {"i": {"kind": "mean_current", "window": "pulse"}},
            }
        },
        "parameters": {"device.off_conductance": {"low": "5 uS", "high": "80 uS"}},
        "targets": [
            {"experiment": "pulse", "measurement": "i", "value": "1.4 uA", "uncertainty": "5 %", "source": "x"}
        ],
    }
    plan = plan_of(data)
    assert not plan.exact
    ((case,),) = plan.cases.values()
    assert case.ensemble_of(64, 1) == 64
    data["search"] = {"derivatives": "estimator"}
    with pytest.raises(ConfigError, match=r"devices of circuit\.memristor have noise"):
        plan_of(data)


@pytest.mark.slow
def test_hopping_ensembles_have_derivatives_for_everything_that_is_measured() -> None:
    """The estimator for what is linear in the trajectory, differences with common random numbers for the rest."""
    data = train_job({1: 0.03}, 0.01, {"device.friction": {"low": 1, "high": 10}})
    data["experiments"]["train"]["protocol"]["count"] = 2
    data["experiments"]["train"]["measurements"]["ppf"] = {"kind": "paired_pulse"}
    data["targets"].append(
        {"experiment": "train", "measurement": "ppf", "value": 0.5, "uncertainty": 0.1, "source": "planted"}
    )
    data["search"] = {"derivatives": "estimator"}
    plan = plan_of(data)
    x = plan.values(plan.start)
    found = evaluate(plan, x, 128, 3, True, plan.goals)
    assert found.methods[0].startswith("damped tangents")
    assert found.methods[1].startswith("differences")
    assert np.all(np.isfinite(found.jacobian))
    assert np.all(found.jacobian_error > 0)
    data["search"] = {}  # few parameters: differences
    by_difference = evaluate(plan_of(data), x, 128, 3, True, plan.goals)
    gap = found.jacobian[0, 0] - by_difference.jacobian[0, 0]
    assert abs(gap) < 4 * np.hypot(found.jacobian_error[0, 0], by_difference.jacobian_error[0, 0])


def test_a_derivative_is_taken_beside_a_value_at_which_a_part_is_missing() -> None:
    """Two equal wells hold one depth: the ratio, and nothing else, is moved by a hair."""
    data = train_job({2: 0.06}, 0.01, {"device.interfacial_ratio": {"low": 0.5, "high": 2}, "device.friction": {}})
    (case,) = plan_of(data).cases["train", ONLY]
    for ratio, expected in ((1.0, 1 + 1e-9), (0.7, 0.7)):
        found = noisy._beside(case, {"device.interfacial_ratio": ratio, "device.friction": 4.0}, 3)
        assert found == {"device.interfacial_ratio": expected, "device.friction": 4.0}


@pytest.mark.slow
def test_wells_that_are_equal_so_far_have_a_derivative() -> None:
    """At the ratio 1 a device holds one depth, and on either side two. Estimator against differences, for the ratio and
    for a parameter beside it, at the conductance that a cluster on the right leaves under a negative voltage."""
    data = train_job({2: 0.06}, 0.01, {"device.interfacial_ratio": {"low": 0.5, "high": 2}, "device.friction": {}})
    data["device"] |= {"particles": 8}
    data["experiments"]["train"]["protocol"]["amplitude"] = "-4 V"
    found = {}
    for way in ("estimator", "differences"):
        plan = plan_of(data | {"search": {"derivatives": way}})
        found[way] = evaluate(plan, np.array([1.0, 4.0]), 512, 3, True, plan.goals)
    one, other = found["estimator"], found["differences"]
    assert one.methods[0].startswith("damped tangents")
    assert np.all(one.jacobian_error[0] < 0.5 * np.abs(one.jacobian[0]))
    gap = np.abs(one.jacobian[0] - other.jacobian[0])
    assert np.all(gap < 4 * np.hypot(one.jacobian_error[0], other.jacobian_error[0]))


def test_a_difference_is_right_where_the_number_of_steps_changes() -> None:
    """At this friction the lower end takes half as many steps again as middle and upper end, so that common random
    numbers are common to two of three only. Against ensembles that share none."""
    data = train_job({2: 0.06, 4: 0.25}, 0.01, {"device.friction": {"low": 1, "high": 10}})
    plan = plan_of(data)
    (case,) = plan.cases["train", ONLY]
    ends = 3.9156 * 1.05 ** np.array([-1.0, 0.0, 1.0])
    below, middle, above = ({tuple(r) for r in steps_of(case.at({"device.friction": x}))} for x in ends)
    assert middle == above != below
    found = evaluate(plan, ends[1:2], 1024, 3, True, plan.goals)
    low, high = (evaluate(plan, x, 4096, seed, False, plan.goals) for x, seed in ((ends[:1], 4), (ends[2:], 5)))
    wide = 2 * np.log(1.05)
    slope = found.jacobian[:, 0] * ends[1] / found.value
    expected = np.log(high.value / low.value) / wide
    independent = np.hypot(high.error / high.value, low.error / low.value) / wide
    own = found.jacobian_error[:, 0] * ends[1] / found.value
    assert np.all(np.abs(slope - expected) < 3 * np.hypot(own, independent))
    assert np.all(own < 0.3)


def steps_of(experiment: mcdev.Experiment) -> np.ndarray:
    rows = Trial(experiment).rows
    return np.stack([rows.solutions, rows.pairs], axis=1)


def test_threshold_and_amplitude_of_hopping_devices_only_as_a_ratio() -> None:
    data = train_job({2: 0.06, 4: 0.25}, "3 %", {"device.threshold_voltage": {}, "protocol.amplitude": {}})
    plan = plan_of(data)
    k = known(plan, Objective(plan)(plan.start, 256, 1))
    assert any("only as a ratio" in word for word in k.words)
    assert not k.determined.any()


@pytest.mark.slow
def test_intervals_of_hopping_devices_cover_planted_parameters() -> None:
    """Twenty sets of a train's conductances with Gaussian errors of 3 %, fitted with ensembles whose own noise is as
    large: 95 % intervals hold the truth in 90 to 100 % of forty cases."""
    parameters = {
        "device.friction": {"low": 1.5, "high": 10},
        "device.interfacial_energy": {"low": 3, "high": 7},
    }
    data = train_job(dict.fromkeys((2, 4, 7, 10), 0.5), "3 %", parameters)
    data["search"] = {"stages": [{"devices": 512, "steps": 12}], "largest_ensemble": 4096}
    data["report"] = {"final_devices": 4096}
    plan = plan_of(data)
    truth = plan.values(plan.start)
    right = evaluate(plan, truth, 16384, 999, False, plan.goals).value
    covered = []
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0.0, 0.03, right.size)
        for target, value in zip(data["targets"], right * np.exp(noise), strict=True):
            target["value"] = float(value)
        data["search"]["seed"] = 10 * seed + 1
        for path, factor in (("friction", 1.15), ("interfacial_energy", 0.93)):
            index = [p.path for p in plan.parameters].index(f"device.{path}")
            data["parameters"][f"device.{path}"]["start"] = float(truth[index] * factor)
        k = calibrate(plan_of(data)).knowledge
        assert k.determined.all()
        covered += ((k.low < truth) & (truth < k.high)).tolist()
    print(f"coverage of 95 % intervals: {np.mean(covered):.3f} of {len(covered)}")
    assert 0.90 <= np.mean(covered) <= 1.0


def test_what_is_read_of_one_ensemble_is_simulated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each realisation and of the mean trajectory: the ensemble and one on either side of each parameter; the
    numbers are those of passes of their own."""
    experiment = reduced(
        {"kind": "pulse", "amplitude": "2 V", "width": "0.1 s", "relaxation": "0.1 s"},
        {"g": {"kind": "mean_conductance"}, "ratio": {"kind": "on_off_ratio"}},
        {"devices": 16},
        particles=4,
    )
    case, values, reach = Case("one", "", 0, experiment), {"device.friction": 4.0}, {"device.friction": 0.05}
    wanted = [noisy.Wanted(False, ("g",)), noisy.Wanted(True, ("ratio",))]
    apart = [noisy.read(case, values, reach, [one], 16, 3, True)[case, one.of_mean] for one in wanted]
    runs: list[Any] = []
    true = noisy.simulate

    def counted(*given: Any, **more: Any) -> Any:
        runs.append(given)
        return true(*given, **more)

    monkeypatch.setattr(noisy, "simulate", counted)
    found = noisy.read(case, values, reach, wanted, 16, 3, True)
    assert len(runs) == 3
    for own, one, name in zip(apart, wanted, ("g", "ratio"), strict=True):
        both = found[case, one.of_mean], own
        np.testing.assert_array_equal(*(reading.value[name] for reading in both))
        np.testing.assert_array_equal(*(reading.slope[name] for reading in both))


def test_settings_of_differences_where_there_are_none_are_said() -> None:
    """Devices without noise have exact derivatives: how far differences would reach changes nothing."""
    data: dict[str, Any] = {
        "name": "exact",
        "device": {"preset": "device_p"},
        "experiments": {
            "hold": {
                "protocol": {"kind": "hold", "duration": "0.02 s"},
                "measurements": {"g": {"kind": "mean_conductance"}},
            }
        },
        "parameters": {"device.conductivity": {"reach": 0.2}},
        "targets": [
            {"experiment": "hold", "measurement": "g", "value": "1 mS", "uncertainty": "1 %", "source": "none"}
        ],
        "search": {"derivatives": "differences"},
    }
    (said,) = plan_of(data).warnings
    assert 'search.derivatives, parameters."device.conductivity".reach have no effect' in said
    data["device"] = {"preset": "wang2017_reduced", "particles": 4}
    data["parameters"] = {"device.friction": {"reach": 0.2}}
    assert not plan_of(data).warnings


def test_each_parameter_has_its_own_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Differences reach as far as stands at the parameter, else as in the search; a step goes no further than four of
    the shortest that it uses up."""
    hold = {"kind": "pulse", "amplitude": "2 V", "width": "0.02 s", "relaxation": "0.02 s"}
    data: dict[str, Any] = {
        "name": "reaches",
        "device": {"preset": "wang2017_reduced", "particles": 4},
        "experiments": {"hold": {"protocol": hold, "measurements": {"g": {"kind": "mean_conductance"}}}},
        "parameters": {"device.friction": {"reach": 0.2}, "device.drift": {}},
        "targets": [
            {"experiment": "hold", "measurement": "g", "value": "3 S", "uncertainty": "1 %", "source": "far off"}
        ],
        "search": {"derivatives": "differences", "reach": "1 %"},
    }
    plan = plan_of(data)
    start = dict(zip(("device.friction", "device.drift"), plan.values(plan.start), strict=True))
    seen: list[tuple[float, float]] = []
    true = noisy.simulate

    def noted(experiment: Any, **more: Any) -> Any:
        median = experiment.device.median
        seen.append((median["friction"] / start["device.friction"], median["drift"] / start["device.drift"]))
        return true(experiment, **more)

    monkeypatch.setattr(noisy, "simulate", noted)
    misfit = Objective(plan)(plan.start, 16, 1)
    expected = [(1, 1), (1 / 1.2, 1), (1.2, 1), (1, 1 / 1.01), (1, 1.01)]
    np.testing.assert_allclose(sorted(seen), sorted(expected), rtol=1e-12)

    pull = np.array([[1.0, 1.0]]), np.array([-1e3])  # both parameters are asked to go far
    step = corrected(plan, misfit._replace(jacobian=pull[0], residual=pull[1])).u - misfit.u
    moved = np.log(plan.values(misfit.u + step) / plan.values(misfit.u))
    np.testing.assert_allclose(moved.max(), 4 * 0.01, rtol=0.02)
    data["parameters"]["device.drift"] = {"reach": 0.1}
    plan = plan_of(data)
    step = corrected(plan, misfit._replace(jacobian=pull[0], residual=pull[1])).u - misfit.u
    moved = np.log(plan.values(misfit.u + step) / plan.values(misfit.u))
    np.testing.assert_allclose(moved.max(), 4 * 0.1, rtol=0.02)


def test_a_prior_holds_where_derivatives_are_noise() -> None:
    """What is known beforehand is not taken away with the noise of what the numbers say."""
    data = job()
    data["parameters"]["device.capacitance"]["prior"] = {"median": "9 uF/cm^2", "factor": 1.1}
    plan = plan_of(data)
    u = plan.start
    misfit = Objective(plan)(u, 1, 1)
    clear = known(plan, misfit)
    noise = np.zeros_like(misfit.jacobian)
    noise[:2] = 1e3 * np.abs(misfit.jacobian[:2]).max()
    hidden = known(plan, misfit._replace(jacobian_error=noise))
    k = np.sqrt(hidden.inflation)
    np.testing.assert_allclose(hidden.sd[0], k * np.log(1.1), rtol=1e-6)
    assert clear.sd[0] < hidden.sd[0] < hidden.sd[1] == 3.0
    assert not hidden.determined[1]
