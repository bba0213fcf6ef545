"""Calibration jobs: coordinates, derivatives, planted truth, weak directions, resuming, bad input, intervals."""

from __future__ import annotations

import copy
import csv
import functools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
import tomli_w
from conftest import Ended, elsewhere
from hypothesis import given
from hypothesis import strategies as st
from test_cli import one_message

import mcdev
from mcdev.calibration import calibrate, conclusions, resolve
from mcdev.calibration import exact as exact_mode
from mcdev.calibration import file as calibration_file
from mcdev.calibration import folder as its_folder
from mcdev.calibration.coordinates import Coordinate
from mcdev.calibration.evaluation import Evaluation, evaluate
from mcdev.calibration.misfit import Evaluations, Objective
from mcdev.calibration.plan import Case, Plan
from mcdev.calibration.search import search
from mcdev.calibration.uncertainty import known
from mcdev.configuration.problems import ConfigError
from mcdev.machine.identity import Identity
from mcdev.simulation.ensemble import simulate
from mcdev.simulation.program import compiler_options, measure, program
from mcdev.simulation.trial import Trial

TURN_ON: dict[str, Any] = {
    "protocol": {"kind": "pulse", "amplitude": "3.5 V", "width": "20 s", "relaxation": "0 s", "samples_per_pulse": 60},
    "measurements": {"tau_on": {"kind": "exponential_fit"}},
}
PAIR: dict[str, Any] = {
    "protocol": {"kind": "pulse_train", "amplitude": "3.5 V", "width": "100 ms", "gap": "50 ms", "count": 2},
    "measurements": {"ppf": {"kind": "paired_pulse"}},
}
JOB: dict[str, Any] = {
    "name": "job",
    "device": {"preset": "device_p"},
    "experiments": {"turn_on": TURN_ON, "pair": PAIR},
    "parameters": {
        "device.capacitance": {"low": "1 uF/cm^2", "high": "100 uF/cm^2"},
        "device.charge_gain": {"low": "0.1 1/V", "high": "30 1/V"},
    },
    "targets": [
        {"experiment": "turn_on", "measurement": "tau_on", "value": "3.8 s", "uncertainty": "3 %", "source": "Table 1"},
        {"experiment": "pair", "measurement": "ppf", "value": 0.242, "uncertainty": 0.007, "source": "Table 1"},
    ],
}


def job(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(JOB) | changes


def plan_of(data: dict[str, Any], folder: Path = Path()) -> Plan:
    return resolve(data, folder)


# ------------------------------------------------------------------------------------- coordinates


@given(
    low=st.one_of(st.none(), st.floats(-100, 100)),
    span=st.one_of(st.none(), st.floats(0.1, 100)),
    share=st.floats(0.01, 0.99),
)
def test_a_coordinate_is_inverted_and_its_slope_is_its_derivative(
    low: float | None, span: float | None, share: float
) -> None:
    high = None if span is None else (0.0 if low is None else low) + span
    bottom = low if low is not None else (high - 10.0 if high is not None else -5.0)
    x = bottom + share * ((high if high is not None else bottom + 10.0) - bottom)
    c = Coordinate(low, high, 3.0)
    if not c.inside(x):
        return
    u = c.free(x)
    assert c.value(u) == pytest.approx(x, rel=1e-9, abs=1e-9)
    assert c.slope(u) == pytest.approx((c.value(u + 1e-4) - c.value(u - 1e-4)) / 2e-4, rel=1e-4, abs=1e-9)
    for far in (-1e4, 1e4):  # no step leaves the bounds
        assert low is None or c.value(far) >= low - 1e-9
        assert high is None or c.value(far) <= high + 1e-9


# ------------------------------------------------------------------------------------- derivatives


def test_derivatives_are_those_of_the_simulation() -> None:
    """Forward mode through integrator and fits against central differences of whole simulations. The step
    is fixed, so that both ends of a difference take the same number of them."""
    data = job(device={"preset": "device_p", "integrator": {"step": "5 ms"}})
    data["parameters"]["device.conductivity"] = {}
    data["parameters"]["protocol.width"] = {"experiments": ["pair"]}
    plan = plan_of(data)
    x = plan.values(plan.start)
    exact = evaluate(plan, x, 1, 1, True, plan.goals)
    for j, p in enumerate(plan.parameters):
        if p.path.startswith("protocol"):
            continue  # the number of steps in a pulse follows its width
        ends = []
        for h in (0.01, 0.02):  # Richardson: what is left is of fourth order; τ_on itself is found to 1e-8
            low, high = x.copy(), x.copy()
            low[j], high[j] = x[j] * (1 - h), x[j] * (1 + h)
            values = [evaluate(plan, at, 1, 1, False, plan.goals).value for at in (low, high)]
            ends.append((values[1] - values[0]) / (2 * h * x[j]))
        reference = (4 * ends[0] - ends[1]) / 3
        scale = np.abs(exact.value / x[j])
        np.testing.assert_array_less(np.abs(exact.jacobian[:, j] - reference), 5e-6 * scale + 1e-30)
    j = [p.path for p in plan.parameters].index("protocol.width")
    assert exact.jacobian[0, j] == 0
    assert exact.jacobian[1, j] > 0


@pytest.mark.slow
@pytest.mark.parametrize("resistor", [False, True])
def test_reverse_mode_is_chosen_by_the_number_of_parameters_and_agrees(
    resistor: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Walked back or along tangents, the same derivatives; of a resistor beside the device and two experiments, too."""
    data = job()
    for path in ("conductivity", "exponent", "fast_gain"):
        data["parameters"][f"device.{path}"] = {}
    if resistor:
        for experiment in ("turn_on", "pair"):
            data["experiments"][experiment]["circuit"] = {"kind": "series_resistor", "resistance": "10 kohm"}
        data["parameters"]["circuit.resistance"] = {"low": "1 kohm"}
    else:  # both numbers of one experiment: one program each way
        data["experiments"]["pair"]["protocol"] |= {"width": "4 s", "samples_per_pulse": 60}
        data["experiments"]["pair"]["measurements"] |= {"tau_on": {"kind": "exponential_fit", "index": 1}}
        data["targets"][0]["experiment"] = "pair"
        del data["experiments"]["turn_on"]
    plan = plan_of(data)
    x = plan.values(plan.start)
    walked: list[int] = []
    back = exact_mode._with_pullback

    def counted(*arguments: Any) -> Any:
        walked.append(1)
        return back(*arguments)

    monkeypatch.setattr(exact_mode, "_with_pullback", counted)
    forward = evaluate(plan, x, 1, 1, True, plan.goals)
    assert not walked
    monkeypatch.setattr(exact_mode, "_REVERSE_FROM", 2)
    reverse = evaluate(plan, x, 1, 1, True, plan.goals)
    assert len(walked) == len(data["experiments"])
    np.testing.assert_array_equal(forward.value, reverse.value)
    np.testing.assert_allclose(
        reverse.jacobian, forward.jacobian, rtol=1e-8, atol=1e-12 * np.abs(forward.jacobian).max()
    )


# ------------------------------------------------------------------------------------- the whole job


def planted(truth: dict[str, float], **changes: Any) -> tuple[dict[str, Any], np.ndarray]:
    """A job whose targets come from a device with these factors on its parameters; and the true values."""
    data = job(**changes)
    plan = plan_of(data)
    x = plan.values(plan.start) * np.array([truth.get(p.path, 1.0) for p in plan.parameters])
    found = evaluate(plan, x, 1, 1, False, plan.goals).value
    for target, value, goal in zip(data["targets"], found, plan.goals, strict=True):
        target["value"] = f"{float(value)!r} {goal.unit}" if goal.unit != "1" else float(value)
    return data, x


def test_planted_parameters_are_found_from_far_off_and_within_their_intervals() -> None:
    data, truth = planted({"device.capacitance": 1.5, "device.charge_gain": 0.7})
    data["search"] = {"starts": {"number": 2, "factor": 2.0}}
    outcome = calibrate(plan_of(data))
    assert all(run.best.loss < 1e-6 for run in outcome.runs)
    np.testing.assert_allclose(outcome.plan.values(outcome.best.u), truth, rtol=1e-3)
    k = outcome.knowledge
    assert np.all((k.low < truth) & (truth < k.high))
    assert k.determined.all()
    text = "\n".join(conclusions(outcome))
    assert "does not confirm the model" in text  # two numbers, two parameters
    assert "ends at its" not in text
    bound = outcome.plan.parameters[0].coordinate.low
    cut = outcome._replace(knowledge=k._replace(low=np.array([bound, k.low[1]])))
    (said,) = [line for line in conclusions(cut) if "ends at its" in line]
    assert said.startswith("the interval of capacitance ends at its lower bound, 1 uF/cm^2")


def test_a_target_at_a_sweep_point_is_called_by_its_values() -> None:
    """With the units in which they were written; without a sweep by the experiment and the number alone."""
    data = job()
    data["experiments"]["pair"] = PAIR | {"sweep": {"axes": {"protocol.gap": ["50 ms", "0.5 s"]}}}
    data["targets"][1]["point"] = 2
    assert [goal.label for goal in plan_of(data).goals] == ["turn_on: tau_on", "pair: ppf at gap 0.5 s"]


def test_what_is_not_determined_is_said_in_words() -> None:
    """τ_on goes as L C/σ: of the thickness and the capacitance only the product is determined by it (V_0 = E_0 L is
    held by fitting the hopping field along)."""
    data = job()
    data["targets"] = data["targets"][:1]
    data["parameters"] = {"device.capacitance": {}, "device.conductivity": {}}
    plan = plan_of(data)
    assert any("at least 1 directions cannot be determined" in w for w in plan.warnings)
    objective = Objective(plan)
    k = known(plan, objective(plan.start, 1, 1))
    assert not k.determined.any()
    assert len(k.words) == 1
    assert "only as a ratio" in k.words[0]
    assert "capacitance" in k.words[0]
    assert "conductivity" in k.words[0]


def test_a_prior_counts_as_a_number() -> None:
    data = job()
    data["targets"] = data["targets"][:1]
    data["parameters"] = {
        "device.capacitance": {},
        "device.conductivity": {"prior": {"median": "2.79e-11 S/cm", "factor": 1.1}},
    }
    plan = plan_of(data)
    assert plan.warnings == ()[:0] or all("cannot be determined" not in w for w in plan.warnings)
    k = known(plan, Objective(plan)(plan.start, 1, 1))
    assert k.determined.all()
    assert k.sd[1] == pytest.approx(np.log(1.1), rel=0.02)


def test_a_target_out_of_reach_is_named() -> None:
    data = job()
    data["targets"][1]["value"] = 25.0
    data["parameters"]["device.charge_gain"]["high"] = "3 1/V"
    outcome = calibrate(plan_of(data))
    assert any(line.startswith("pair: ppf is not met") for line in conclusions(outcome))


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_the_other_optimisers_lower_the_loss_too(optimiser: str) -> None:
    data, _ = planted({"device.capacitance": 1.3, "device.charge_gain": 0.8})
    data["search"] = {"stages": [{"optimiser": optimiser, "steps": 40, "learning_rate": 0.1}]}
    plan = plan_of(data)
    objective = Objective(plan)
    before = objective(plan.start, 1, 1, slopes=False).loss
    after = search(objective, lambda step: None)[0].best.loss
    assert after < 1e-2 * before


def test_resuming_repeats_the_same_trajectory_without_computing(tmp_path: Path) -> None:
    data, _ = planted({"device.capacitance": 1.5})
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    own = [its_folder.identity(plan_of(data))]
    whole = search(Objective(plan_of(data), Evaluations(tmp_path / "whole", own)), lambda step: None)[0]

    class Cut(Exception):
        pass

    def stop(step: Any) -> None:
        if step.step == 2:
            raise Cut

    with pytest.raises(Cut):
        search(Objective(plan_of(data), Evaluations(tmp_path / "cut", own)), stop)
    kept = sorted((tmp_path / "cut").glob("*.npz"))
    kept[-1].write_bytes(kept[-1].read_bytes()[:50])  # cut off while being written
    book = Evaluations(tmp_path / "cut", own)
    again = search(Objective(plan_of(data), book), lambda step: None)[0]
    assert book.repeated == len(kept) - 1
    assert [s.u.tolist() for s in again.steps] == [s.u.tolist() for s in whole.steps]
    assert again.best.loss == whole.best.loss
    assert "1 of the evaluations" in book.notes[0]
    assert {file.name for file in (tmp_path / "cut").iterdir()} == {
        file.name for file in (tmp_path / "whole").iterdir()
    }


def test_every_flipped_byte_of_an_evaluation_is_seen(tmp_path: Path) -> None:
    """All of them; a whole one of another calibration or machine is no more taken than a damaged one."""
    own = Identity.of("ours", 1)
    numbers = np.arange(6.0).reshape(2, 3)
    evaluation = Evaluation(numbers[0], numbers[1], numbers, numbers, (numbers[0],), (numbers,), 0.0, ("exact",))
    book = Evaluations(tmp_path, [own])
    assert book.look_up("point") is None
    book.write("point", evaluation)
    (file,) = tmp_path.iterdir()
    right = file.read_bytes()
    with file.open("r+b", buffering=0) as harmed:
        for place, byte in enumerate(right):
            harmed.seek(place)
            harmed.write(bytes([byte ^ 1 << place % 8]))
            book.number = 0
            assert book.look_up("point") is None
            harmed.seek(place)
            harmed.write(bytes([byte]))
    others = [
        Identity.of("theirs", 1),
        Identity.of("ours", 2),
        own.made_by(own.origin.model_copy(update={"flags": "-"})),
    ]
    for identity in others:
        assert Evaluations(tmp_path, [identity]).look_up("point") is None
    assert Evaluations(tmp_path, [own]).look_up("elsewhere") is None
    again = Evaluations(tmp_path, [own]).look_up("point")
    assert again is not None
    np.testing.assert_array_equal(again.current_jacobians[0], numbers)


# ------------------------------------------------------------------------------------- bad input


def broken(change: Callable[[dict[str, Any]], Any]) -> str:
    data = job()
    change(data)
    with pytest.raises(ConfigError) as error:
        plan_of(data)
    return str(error.value)


def _put(data: Any, path: str, value: Any) -> None:
    *parents, last = path.split("/")
    for part in parents:
        data = data[int(part)] if isinstance(data, list) else data[part]
    data[int(last) if isinstance(data, list) else last] = value


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("targets/0/measurement", "tau_onn", "no such measurement or fit; did you mean 'tau_on'?"),
        ("targets/0/experiment", "turnon", "no such experiment; did you mean 'turn_on'?"),
        ("targets/0/value", "3.8 V", "expected a time with its unit"),
        ("targets/0/value", 3.8, "expected a time with its unit"),
        ("targets/0/uncertainty", "0 %", "expected more than zero"),
        ("targets/0/uncertainty", "3 V", "targets.0.uncertainty = \"3 V\": expected a time with its unit"),
        ("targets/1/value", "24.2", "without quotes and without a unit"),
        ("parameters/device.capacitance/prior", {"median": "1 s", "sd": "1 s"}, "expected a capacitance per area"),
        ("targets/0/entry", 2, "is a single number; leave the entry out"),
        ("targets/0/point", 2, "expected a sweep point between 1 and 1"),
        ("targets/0/wieght", 2, "no such key; did you mean 'weight'?"),
        ("parameters/device.capacitanse", {}, "did you mean 'capacitance'"),
        ("parameters/capacitance", {}, "expected a key path like device.NAME"),
        ("parameters/device.capacitance/low", "20 uF/cm^2", "does not lie between the bounds"),
        ("parameters/device.capacitance/low", "200 uF/cm^2", "expected low < high"),
        ("parameters/device.capacitance/low", "-1 uF/cm^2", "lies outside what the parameter may be"),
        ("parameters/device.capacitance/low", "1 V", "expected a capacitance per area"),
        ("parameters/protocol.period", {}, "leaves it out"),
        ("device/capacitance", {"distribution": "normal", "mean": "9 uF/cm^2", "sd": "1 uF/cm^2", "low": "1 uF/cm^2"},
         "is a distribution"),
        ("experiments/turn_on/protocl", {}, "no such key; did you mean 'protocol'?"),
        ("experiments/turn_on/protocol/widht", "1 s", "did you mean 'width'?"),
        ("experiments/turn_on/ensemble", {"cycles": 3}, "one cycle is what a calibration computes"),
        ("device/preset", "device_q", "no such preset"),
        ("report", {"profile": ["capacitence"]}, "did you mean 'capacitance'?"),
        ("models", {"m": {"fixed": ["device.exponent"]}}, "is no free parameter"),
        ("targets", [], "nothing to fit to"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_is_computed(path: str, value: Any, said: str) -> None:
    assert said in broken(lambda data: _put(data, path, value))


def test_a_percentage_is_a_pure_number_as_value_and_a_share_as_uncertainty() -> None:
    data = job()
    data["targets"][1] |= {"value": "24.2 %", "uncertainty": "5 %"}
    data["search"] = {"reach": "10 %"}
    plan = plan_of(data)
    assert plan.goals[1].value == 0.242
    assert plan.goals[1].sigma == pytest.approx(0.0121, rel=1e-12)
    assert plan.job.search.reach == 0.1


def test_devices_that_differ_need_a_start() -> None:
    data = job()
    data["devices"] = {"P": {"preset": "device_p"}, "S": {"preset": "device_2s"}}
    del data["device"]
    with pytest.raises(ConfigError, match="the devices or experiments differ"):
        plan_of(data)
    for name in data["parameters"]:
        data["parameters"][name]["per_device"] = True
    labels = [p.label for p in plan_of(data).parameters]
    assert labels == ["capacitance[P]", "capacitance[S]", "charge_gain[P]", "charge_gain[S]"]


# ------------------------------------------------------------------------------------- the command line


def test_calibrate_from_the_command_line(
    tmp_path: Path, mcdev_main: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with everything in it; fitted.toml runs as it is and gives the reported numbers back; resuming repeats
    it; another configuration may not go on with it, another machine only where that is accepted."""
    data, _ = planted({"device.capacitance": 1.2})
    data["search"] = {"stages": [{"steps": 12}]}
    data["report"] = {"profile": ["charge_gain"], "profile_points": 3}
    data["candidates"] = [{"experiment": "pair", "measurement": "ppf", "uncertainty": "1 %"}]
    config, folder = tmp_path / "job.toml", tmp_path / "out"
    config.write_text(tomli_w.dumps(data))
    folder.mkdir()
    (folder / ".lock").write_text("")  # killed before its record
    ended = mcdev_main("calibrate", config, "--out", folder)
    assert ended.code == 0, ended.err
    for name in ("calibration.h5", "fitted.toml", "targets.csv", "parameters.csv", "figures/pulls.png"):
        assert (folder / name).exists(), name
    assert {"history.png", "parameters.png", "correlation.png", "profile_1.png"} <= {
        file.name for file in (folder / "figures").iterdir()
    }
    assert "of the candidates, measure next" in ended.out
    assert "95 % interval" in ended.out
    ran = mcdev_main("run", folder / "fitted.toml", "--out", tmp_path / "fitted", "--no-figures")
    assert ran.code == 0, ran.err
    with (tmp_path / "fitted" / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    for row in rows:
        assert abs(float(row["deviation"])) < 2e-3
    again = mcdev_main("calibrate", config, "--resume", folder, "--no-figures")
    assert again.code == 0, again.err
    repeated = mcdev.calibrate(config, folder)
    assert repeated["parameters/value"].identical(calibration_file.read(folder)["parameters/value"])
    other = mcdev_main("calibrate", config, "--resume", folder, "--set", "search.seed=9")
    one_message(other, 3, "was begun with another configuration", "search.seed: null there, 9 here")
    with monkeypatch.context() as there:
        elsewhere(there, flags="--xla_cpu_max_isa=AVX2")
        one_message(mcdev_main("calibrate", config, "--resume", folder), 3, "another machine", "none there, --xla_cpu")
        accepted = mcdev_main("calibrate", config, "--resume", folder, "--no-figures", "--accept-other-machine")
        assert accepted.code == 0, accepted.err
        assert "numbers of 2 machines are put together" in accepted.out.replace("\n", " ")
    record = json.loads((folder / "job.json").read_text())
    assert record["configuration"]["name"] == data["name"]
    assert [origin["flags"] for origin in record["accepted"]] == ["--xla_cpu_max_isa=AVX2"]
    with monkeypatch.context() as stopped:
        stopped.setattr(os, "_exit", sys.exit)
        stopped.setattr(its_folder, "work", lambda *_: signal.raise_signal(signal.SIGTERM))
        ended = mcdev_main("calibrate", config, "--resume", folder)
        one_message(ended, 143, f"go on with: mcdev calibrate {config} --resume {folder}")
    (folder / "job.json").write_text('{"fingerprint": "abc"}')
    one_message(mcdev_main("calibrate", config, "--resume", folder), 3, "was begun by an older mcdev")
    none = mcdev_main("calibrate", config, "--resume", tmp_path / "nothing")
    one_message(none, 3, "holds no calibration")
    drawn = mcdev_main("plot", folder)
    assert drawn.code == 0
    assert "pulls.png" in drawn.out


# ------------------------------------------------------------------------------------- intervals and posteriors


@pytest.mark.slow
def test_intervals_cover_planted_parameters_as_often_as_they_say() -> None:
    """Twenty sets of numbers with Gaussian errors of 3 % from one known device, three parameters and five numbers:
    95 % intervals hold the truth in 90 to 100 % of sixty cases (2.2 standard errors below 95 % is 89 %)."""
    data = job()
    data["experiments"]["weaker"] = copy.deepcopy(TURN_ON)
    data["experiments"]["weaker"]["protocol"]["amplitude"] = "3 V"
    data["experiments"]["wider"] = copy.deepcopy(PAIR)
    data["experiments"]["wider"]["protocol"]["gap"] = "1 s"
    data["experiments"]["longer"] = copy.deepcopy(PAIR)
    data["experiments"]["longer"]["protocol"]["width"] = "300 ms"
    data["parameters"]["device.exponent"] = {"low": 0.3, "high": 6}
    more = [("weaker", "tau_on", "1 s"), ("wider", "ppf", 0.1), ("longer", "ppf", 0.1)]
    data["targets"] += [
        {"experiment": e, "measurement": m, "value": v, "uncertainty": "3 %", "source": "planted"} for e, m, v in more
    ]
    for target in data["targets"]:
        target["uncertainty"] = "3 %"
    plan = plan_of(data)
    truth = plan.values(plan.start)
    right = evaluate(plan, truth, 1, 1, False, plan.goals).value
    covered = []
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0.0, 0.03, right.size)
        for target, value, goal in zip(data["targets"], right * np.exp(noise), plan.goals, strict=True):
            target["value"] = float(value) if goal.unit == "1" else f"{float(value)!r} {goal.unit}"
        outcome = calibrate(plan_of(data))
        k = outcome.knowledge
        assert k.determined.all()
        covered += ((k.low < truth) & (truth < k.high)).tolist()
    assert 0.90 <= np.mean(covered) <= 1.0
    print(f"coverage of 95 % intervals: {np.mean(covered):.3f} of {len(covered)}")


@pytest.mark.slow
def test_the_posterior_is_that_of_the_covariance_where_the_data_say_enough() -> None:
    """Few per cent of uncertainty: there the model is linear, and the posterior Gaussian with the same width."""
    outcome = calibrate(plan_of(job(report={"posterior": 300})))
    p = outcome.posterior
    assert p is not None
    assert p.divergent == 0
    assert p.accepted > 0.7
    z = np.log(p.values)
    error = outcome.knowledge.sd / np.sqrt(2 * p.effective)
    assert np.all(np.abs(z.std(axis=0) - outcome.knowledge.sd) < 4 * error)
    off = np.abs(z.mean(axis=0) - outcome.knowledge.natural)
    assert np.all(off < 4 * outcome.knowledge.sd / np.sqrt(p.effective) + outcome.knowledge.sd**2)


def test_a_posterior_needs_exact_derivatives() -> None:
    data = job(device={"preset": "wang2017_reduced"})
    data["experiments"] = {"pair": copy.deepcopy(PAIR)}
    data["targets"] = data["targets"][1:]
    data["parameters"] = {"device.friction": {}}
    data["report"] = {"posterior": 10}
    with pytest.raises(ConfigError, match="draws need exact derivatives"):
        calibrate(plan_of(data))


def test_a_calibration_computes_what_a_run_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points of a sweep keep their own steps, side by side in one call as in a run: joined at the larger number of
    steps they would differ by 3e-4. Both are compiled as users' are: a minimum of a sum of squares follows rounding."""
    as_users = functools.partial(eqx.filter_jit, compiler_options=compiler_options(jax.default_backend()))
    monkeypatch.setattr(exact_mode, "_values", as_users(exact_mode._simulate))
    monkeypatch.setattr(program(), "measure", as_users(measure))
    experiment = mcdev.build(
        {
            "name": "one",
            "device": {"preset": "device_1s"},
            "protocol": {"kind": "pulse", "amplitude": "3 V", "width": "20 s", "relaxation": "0 s"},
            "measurements": {"tau_on": {"kind": "exponential_fit"}, "g": {"kind": "mean_conductance"}},
            "ensemble": {"devices": 1},
            "sweep": {"axes": {"protocol.amplitude": ["1.5 V", "2.5 V", "4 V"]}},
        }
    )
    points = [point for _, point in experiment.points()]
    assert len({Trial(point).rows.steps for point in points}) == 3
    cases = [Case("one", "", number, point) for number, point in enumerate(points)]
    found = exact_mode.read(cases, {("one", ""): {"device.charge_gain": 2.0}}, ["g", "tau_on"], False, 1, 1, False)
    for case, run in zip(cases, simulate(experiment.with_({"device.charge_gain": "2 1/V"})), strict=True):
        for name in ("g", "tau_on"):
            assert found[case].value[name][0] == pytest.approx(run.values[name][0, 0], rel=1e-9)
