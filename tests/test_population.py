"""Calibration to a population: its statistics as targets, spreads and correlations as free parameters."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mcdev
from mcdev.calibration import calibrate, conclusions, exact, resolve
from mcdev.calibration import tree as calibration_tree
from mcdev.calibration.evaluation import evaluate
from mcdev.calibration.fitted import write_fitted
from mcdev.calibration.misfit import Objective
from mcdev.calibration.of_population import calibration_of
from mcdev.calibration.outcome import Outcome
from mcdev.calibration.places import moved, numbers, place
from mcdev.calibration.plan import Plan
from mcdev.calibration.reading import Lanes
from mcdev.configuration.problems import ConfigError
from mcdev.machine.identity import Origin
from mcdev.measurements.contract import LEFT_CENSORED, OK, RIGHT_CENSORED
from mcdev.schema import Unit
from mcdev.statistics.components import variance_components
from mcdev.statistics.published import compare
from mcdev.statistics.statistic import statistic

DEVICES, CYCLES = 10, 20
DEVICE: dict[str, Any] = {
    "kind": "volatile_threshold",
    "threshold_voltage": "0.6 V",
    "hold_voltage": "0.3 V",
    "switching_rate": {"distribution": "lognormal", "median": "20 Hz", "sigma": 0.2},
    "switching_exponent": 1.5,
    "relaxation_time": {"distribution": "lognormal", "median": "100 ms", "sigma": 0.3},
    "on_conductance": "100 uS",
    "off_conductance": "1 uS",
    "integrator": {"coupling_interval": "20 ms", "tolerance": 1e-9},
}
PULSE: dict[str, Any] = {
    "protocol": {
        "kind": "pulse",
        "amplitude": "1.2 V",
        "width": "300 ms",
        "relaxation": "1 s",
        "samples_per_pulse": 24,
        "relaxation_samples": 30,
    },
    "ensemble": {
        "cycles": CYCLES,
        "cycle_to_cycle": {"relaxation_time": 0.1, "switching_rate": 0.15},
        "correlation": {"parameters": ["switching_rate", "relaxation_time"], "matrix": [[1.0, 0.5], [0.5, 1.0]]},
    },
    "measurements": {"tau_d": {"kind": "delay_time"}, "tau_r": {"kind": "relaxation_time"}},
}
SPREADS = ("switching_rate", "relaxation_time")
TOGETHER = "ensemble.correlation.switching_rate.relaxation_time"


def target(measurement: str, statistic: str, **about: Any) -> dict[str, Any]:
    value: Any = "50 ms" if statistic in ("mean", "median", "quantile") else 0.2
    own = {"experiment": "pulse", "measurement": measurement, "statistic": statistic, "value": value}
    return own | {"of_devices": DEVICES, "source": "planted"} | about


def job(**changes: Any) -> dict[str, Any]:
    """Medians, spreads and correlation of two parameters, from the same of two measurements."""
    free: dict[str, Any] = {f"device.{name}.median": {} for name in SPREADS}
    free |= {f"device.{name}.sigma": {"low": 0.01, "high": 1.0} for name in SPREADS}
    free |= {f"ensemble.cycle_to_cycle.{name}": {"low": 0.01, "high": 1.0} for name in SPREADS}
    data: dict[str, Any] = {
        "name": "population",
        "device": DEVICE,
        "experiments": {"pulse": PULSE},
        "parameters": free | {TOGETHER: {}},
        "targets": [
            *(
                target(name, what)
                for name in ("tau_d", "tau_r")
                for what in ("median", "sigma_ln_between", "sigma_ln_within")
            ),
            target("tau_d", "correlation", other="tau_r", value=-0.4),
        ],
        "search": {"members": 48},
    }
    return copy.deepcopy(data) | copy.deepcopy(changes)


def plan_of(data: dict[str, Any]) -> Plan:
    return resolve(data, Path())


# ------------------------------------------------------------------------------------- statistics


def drawn(devices: int, cycles: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """ln x of median 2 with σ_b = 0.3, σ_w = 0.1, all of it seen."""
    rng = np.random.default_rng(seed)
    x = 2.0 * np.exp(0.3 * rng.normal(size=(devices, 1)) + 0.1 * rng.normal(size=(devices, cycles)))
    return x, np.full(x.shape, OK)


def test_statistics_are_those_of_the_law() -> None:
    """Within three standard errors of a thousand devices through ten cycles."""
    x, status = drawn(1000, 10)
    total = np.hypot(0.3, 0.1)
    assert statistic("median", x, status) == pytest.approx(2.0, rel=3 * 1.2533 * 0.3 / np.sqrt(1000))
    assert statistic("quantile", x, status, 0.9) == pytest.approx(2 * np.exp(1.2816 * total), rel=0.06)
    assert statistic("sigma_ln_between", x, status) == pytest.approx(0.3, rel=3 / np.sqrt(2000))
    assert statistic("sigma_ln_within", x, status) == pytest.approx(0.1, rel=3 / np.sqrt(18000))
    assert statistic("sigma_ln_total", x, status) == pytest.approx(total, rel=3 / np.sqrt(2000))
    assert statistic("correlation", x, status, None, (1 / x, status)) == pytest.approx(-1.0)
    assert statistic("censored_share", x, status) == 0.0


def test_bounds_count_where_they_lie() -> None:
    x, status = drawn(200, 5)
    cut = float(np.quantile(x, 0.8))
    bounded = np.where(x > cut, RIGHT_CENSORED, status)
    seen = np.minimum(x, cut)
    assert statistic("censored_share", seen, bounded) == pytest.approx(0.2)
    assert statistic("median", seen, bounded) == pytest.approx(statistic("median", x, status), rel=1e-6)
    assert np.isnan(statistic("quantile", seen, bounded, 0.9))  # it lies among the bounds
    low = np.where(x < np.quantile(x, 0.2), LEFT_CENSORED, status)
    assert statistic("median", np.maximum(x, np.quantile(x, 0.2)), low) == pytest.approx(
        statistic("median", x, status), rel=1e-6
    )
    # by maximum likelihood, where those that were seen alone spread by a good deal less
    assert statistic("sigma_ln_between", seen, bounded) == pytest.approx(0.3, rel=0.15)
    assert variance_components(np.log(seen), bounded == OK).between.value < 0.26


@given(level=st.floats(0.05, 0.95), factor=st.floats(0.1, 10.0))
def test_a_quantile_goes_with_its_observations(level: float, factor: float) -> None:
    x, status = drawn(10, 20)
    assert statistic("quantile", factor * x, status, level) == pytest.approx(
        factor * statistic("quantile", x, status, level)
    )
    assert x.min() <= statistic("quantile", x, status, level) <= x.max()


# ------------------------------------------------------------------------------------- places


def test_a_number_of_a_distribution_is_put_where_it_is_read() -> None:
    experiment = mcdev.build({"name": "x", "device": DEVICE, **PULSE})
    for path, value in {
        "device.relaxation_time.median": 0.2,
        "device.relaxation_time.sigma": 0.7,
        "ensemble.cycle_to_cycle.switching_rate": 0.4,
        TOGETHER: -0.25,
        "device.on_conductance": 3e-4,
        "protocol.width": 0.5,
    }.items():
        other = moved(experiment, {path: value})
        found = place(other, path)
        assert found is not None
        assert found.value == value
        assert path.partition(".")[2] in numbers(experiment, path.partition(".")[0])
        assert mcdev.build(tomllib.loads(other.to_toml())) == other
    assert place(experiment, "device.relaxation_time.mean") is None


def test_devices_keep_their_quantiles_while_the_spread_moves() -> None:
    """ln(x/median)/σ of each device is the same number whatever the spread."""
    experiment = mcdev.build({"name": "x", "device": DEVICE, **PULSE})
    scores = []
    for sigma in (0.1, 0.5):
        trial = moved(experiment, {"device.relaxation_time.sigma": sigma})
        found = mcdev.simulation.trial.Trial(trial).draw(0, 20)["relaxation_time"]
        scores.append(np.log(found / 0.1) / sigma)
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-12)


@pytest.mark.parametrize(
    ("law", "slopes"),
    [
        # quantiles: low + u (high - low), and mean + sd s of a normal score s
        ({"distribution": "uniform", "low": "50 ms", "high": "150 ms"}, {"low": "1 - u", "high": "u"}),
        ({"distribution": "normal", "mean": "100 ms", "sd": "10 ms", "low": "1 ms"}, {"mean": "1", "sd": "s"}),
    ],
)
def test_devices_move_with_the_numbers_of_other_laws(law: dict[str, Any], slopes: dict[str, str]) -> None:
    experiment = mcdev.build({"name": "x", "device": DEVICE | {"relaxation_time": law}, **PULSE})

    def drawn_at(number: str, step: float) -> np.ndarray:
        path = f"device.relaxation_time.{number}"
        found = place(experiment, path)
        assert found is not None
        trial = mcdev.simulation.trial.Trial(moved(experiment, {path: found.value + step}))
        return np.asarray(trial.draw(0, 20)["relaxation_time"])

    x = drawn_at(next(iter(slopes)), 0.0)
    u, s = (x - 0.05) / 0.1, (x - 0.1) / 0.01
    for number, slope in slopes.items():
        found = (drawn_at(number, 1e-4) - drawn_at(number, -1e-4)) / 2e-4
        np.testing.assert_allclose(found, {"1 - u": 1 - u, "u": u, "1": np.ones(20), "s": s}[slope], atol=1e-9)


def test_what_is_drawn_from_samples_has_no_number_to_fit() -> None:
    device = DEVICE | {"relaxation_time": {"distribution": "samples", "values": [0.1, 0.2], "unit": "s"}}
    said = broken(device=device, parameters={"device.relaxation_time.median": {}})
    assert "is drawn from samples, which have no number that could move" in said


# ------------------------------------------------------------------------------------- derivatives


@pytest.mark.slow
def test_derivatives_by_spreads_are_those_of_the_population() -> None:
    """Along the realisations' tangents with their quantiles held, against differences of whole populations."""
    data = job()
    data["targets"] += [target("tau_r", "quantile", level=0.9), target("tau_d", "sigma_ln_total")]
    plan = plan_of(data)
    x = plan.values(plan.start)
    found = evaluate(plan, x, 1, 1, True, plan.goals)
    for j, p in enumerate(plan.parameters):
        ends = []
        for side in (-1, 1):
            at = x.copy()
            at[j] += side * 2e-5 * abs(x[j])
            ends.append(evaluate(plan, at, 1, 1, False, plan.goals).value)
        slope = (ends[1] - ends[0]) / (4e-5 * abs(x[j]))
        scale = np.abs(found.value / x[j])
        np.testing.assert_allclose(found.jacobian[:, j] / scale, slope / scale, atol=2e-4, err_msg=p.label)
    labels = [p.label for p in plan.parameters]
    own = found.jacobian * x / found.value[:, None]  # d ln(statistic)/d ln(parameter)
    goals = [g.label for g in plan.goals]
    assert own[goals.index("pulse: sigma_ln_between of tau_r"), labels.index("relaxation_time.sigma")] > 0.9
    assert own[goals.index("pulse: sigma_ln_within of tau_r"), labels.index("cycle_to_cycle.relaxation_time")] > 0.9
    # in proportion but for the samples of 33 ms, between which the passage is interpolated
    assert own[goals.index("pulse: median of tau_r"), labels.index("relaxation_time.median")] > 0.9


@pytest.mark.slow
def test_the_population_of_a_calibration_is_that_of_a_run(tmp_path: Path) -> None:
    """Device by device and cycle by cycle: the same statistics from ``mcdev run``'s own values."""
    plan = plan_of(job(search={"members": 8}))
    found = evaluate(plan, plan.values(plan.start), 1, 1, False, plan.goals).value
    references = [
        {"measurement": g.read.measurement, "statistic": g.read.statistic, "value": "> 0", "source": "planted"}
        | ({} if g.read.other is None else {"other": g.read.other})
        for g in plan.goals
    ]
    whole = PULSE | {"ensemble": PULSE["ensemble"] | {"devices": 8}, "output": {"reference": references}}
    tree = mcdev.run(mcdev.build({"name": "x", "device": DEVICE, **whole}))
    lanes = {
        name: Lanes(*(tree[f"measurements/{name}/{what}"].values[0] for what in ("value", "status")))
        for name in ("tau_d", "tau_r")
    }
    np.testing.assert_allclose(found, statistics(lanes, plan), rtol=1e-6)
    ours = [row["ours"] for row in compare(tree) if row["statistic"] not in ("mean", "median")]
    spread = [value for value, goal in zip(found, plan.goals, strict=True) if goal.read.statistic != "median"]
    np.testing.assert_allclose(ours, spread, rtol=1e-6)
    assert mcdev.draw(tree, tmp_path)  # published spreads are no points among the values


@pytest.mark.slow
def test_spreads_of_devices_with_noise_have_derivatives_by_common_random_numbers() -> None:
    """Hopping devices through two cycles: the spread of their friction moves the spread between devices, by which the
    conductance goes about in proportion; from realisation to realisation they differ anyway."""
    data: dict[str, Any] = {
        "name": "noisy",
        "device": {
            "preset": "wang2017_reduced",
            "friction": {"distribution": "lognormal", "median": 5.0, "sigma": 0.5},
        },
        "experiments": {
            "train": {
                "protocol": {
                    "kind": "pulse_train",
                    "amplitude": "4 V",
                    "width": "20.5 ms",
                    "period": "41 ms",
                    "count": 2,
                },
                "measurements": {"g": {"kind": "pulse_conductance"}},
                "ensemble": {"cycles": 2},
            }
        },
        "parameters": {"device.friction.median": {}, "device.friction.sigma": {}},
        "targets": [
            {
                "experiment": "train",
                "measurement": "g",
                "entry": 2,
                "statistic": what,
                "value": 0.2,
                "source": "planted",
            }
            | {"of_devices": 10}
            for what in ("median", "sigma_ln_total", "censored_share")
        ],
    }
    plan = plan_of(data)
    found = evaluate(plan, plan.values(plan.start), 512, 3, True, plan.goals)
    assert all(method.startswith("differences") for method in found.methods)
    assert found.jacobian[0, 0] < -3 * found.jacobian_error[0, 0]  # more friction, later switching
    assert found.jacobian[1, 1] > 3 * found.jacobian_error[1, 1]
    assert np.all(np.diag(found.scatter)[:2] > 0)


def statistics(lanes: dict[str, Lanes], plan: Plan) -> list[float]:
    """The goals' statistics of these devices."""
    found = []
    for goal in plan.goals:
        read = goal.read
        other = None if read.other is None else lanes[read.other]
        found.append(statistic(read.statistic, *lanes[read.measurement], read.level, other))
    return found


# ------------------------------------------------------------------------------------- uncertainty


def test_a_few_devices_scatter_as_their_number_says() -> None:
    """σ of a median and of a spread of D devices, worked out from the ensemble, against what normal numbers scatter by;
    a given uncertainty is added in squares."""
    data = job()
    data["targets"][5]["uncertainty"] = 0.01
    plan = plan_of(data)
    objective = Objective(plan)
    objective(plan.start, 1, 1)
    median, within = objective.goals[3], objective.goals[5]
    assert within.label == "pulse: sigma_ln_within of tau_r"
    # σ_b/sqrt(D) of a mean of ln x, π/2 more variance for the devices' part of a median; a jackknife of 64 groups
    spread = np.hypot(0.3, 0.1) * np.sqrt(np.pi / 2) / np.sqrt(DEVICES)
    assert 0.7 * 0.3 / np.sqrt(DEVICES) < median.sigma / median.value < 1.3 * spread
    own = np.hypot(0.1 / np.sqrt(2 * DEVICES * (CYCLES - 1)) * within.value / 0.1, 0.01)
    assert within.sigma == pytest.approx(own, rel=0.2)


def test_statistics_that_scatter_more_than_their_uncertainties_correlate_by_no_more_than_one() -> None:
    """Uncertainties are chosen where spreads are small, and held where they are three times as large: what is said to
    correlate is a correlation still, the one that is there when they are chosen anew."""
    plan = plan_of(job(search={"members": 12}))
    objective = Objective(plan)
    objective.weigh(plan.start, 1, 1)
    x = plan.values(plan.start)
    x[[p.path.endswith("sigma") for p in plan.parameters]] *= 3
    u = np.array([p.coordinate.free(value) for p, value in zip(plan.parameters, x, strict=True)])
    held = objective(u, 1, 1).together
    np.testing.assert_allclose(np.diag(held), 1.0)
    assert np.linalg.eigvalsh(held).min() > -1e-9
    objective.weigh(u, 1, 1)
    wider = [i for i, goal in enumerate(plan.goals) if goal.read.statistic == "median"]
    np.testing.assert_allclose(held[np.ix_(wider, wider)], objective(u, 1, 1).together[np.ix_(wider, wider)], atol=1e-6)


def correlated(data: dict[str, Any], by: float) -> dict[str, Any]:
    """The job with this correlation of its devices' parameters."""
    data["experiments"]["pulse"]["ensemble"]["correlation"]["matrix"] = [[1.0, by], [by, 1.0]]
    return data


def measured(seed: int, by: float) -> dict[str, Lanes]:
    """Ten devices through twenty cycles, of the model at its truth but for its correlation."""
    data = correlated(job(), by)
    data["experiments"]["pulse"]["ensemble"]["seed"] = 1000 + seed
    plan = plan_of(data)
    values = {pair: plan.given(plan.values(plan.start), *pair) for pair in plan.experiments}
    case = plan.cases["pulse", "[device]"][0]
    lanes = exact.read([case], values, ("tau_d", "tau_r"), False, data["search"]["members"], 1, False)[case].lanes
    return {name: Lanes(*(array[:DEVICES] for array in found)) for name, found in lanes.items()}


def planted(
    seed: int, by: float = 0.5, more: tuple[float, ...] = (), members: int = 48
) -> tuple[dict[str, Any], np.ndarray]:
    """A job whose targets are those of ten devices through twenty cycles, started beside the truth; and the truth.
    ``more``: quantiles that are targets, too."""
    data = job()
    data["targets"] += [target(name, "quantile", level=q) for name in ("tau_d", "tau_r") for q in more]
    plan = plan_of(data)
    for entry, goal, value in zip(data["targets"], plan.goals, statistics(measured(seed, by), plan), strict=True):
        entry["value"] = value if goal.unit == "1" else Unit(goal.unit).write(value)
    truth = plan.values(plan.start)
    data["experiments"]["pulse"]["ensemble"]["seed"] = 7 + seed
    data["search"]["members"] = members
    for path, value in {"median": ("17 Hz", "120 ms"), "sigma": (0.25, 0.25)}.items():
        for name, start in zip(SPREADS, value, strict=True):
            data["parameters"][f"device.{name}.{path}"]["start"] = start
    return data, truth


def held(outcome: Outcome, truth: np.ndarray) -> np.ndarray:
    return (outcome.knowledge.low < truth) & (truth < outcome.knowledge.high)


# ------------------------------------------------------------------------------------- planted truth


def test_a_planted_population_is_found_within_its_intervals(tmp_path: Path) -> None:
    """One population of ten devices through twenty cycles: medians and spreads are known as well as t of nine degrees
    of freedom says, and the fitted population is an experiment with these spreads."""
    data, truth = planted(3)
    plan = plan_of(data)
    outcome = calibrate(plan)
    k = outcome.knowledge
    assert outcome.runs[0].best.loss < 1e-3  # as many numbers as parameters
    assert held(outcome, truth).all()
    np.testing.assert_allclose(k.reach, 2.2622, rtol=1e-4)
    labels = [p.label for p in plan.parameters]
    # of ten devices: σ_b/sqrt(10) of the median, at least 1/sqrt(18) of σ_b, 1/sqrt(380) of σ_w
    spread = outcome.plan.values(outcome.best.u)[labels.index("relaxation_time.sigma")]
    assert k.sd[labels.index("relaxation_time.median")] == pytest.approx(spread / np.sqrt(DEVICES), rel=0.5)
    assert k.sd[labels.index("relaxation_time.sigma")] == pytest.approx(1 / np.sqrt(2 * (DEVICES - 1)), rel=0.4)
    assert k.sd[labels.index("cycle_to_cycle.relaxation_time")] == pytest.approx(1 / np.sqrt(380), rel=0.4)
    assert "does not confirm the model" in "\n".join(conclusions(outcome))
    tree = calibration_tree.assemble(outcome, "", [Origin.here()])
    assert np.all(tree["targets/uncertainty"].values > 0)
    write_fitted(outcome, tmp_path)
    fitted = mcdev.load(tmp_path / "fitted" / "pulse.toml")
    drawn_from = place(fitted, "device.relaxation_time.sigma")
    assert drawn_from is not None
    assert drawn_from.value == pytest.approx(spread)
    assert fitted.ensemble.cycles == CYCLES
    assert [r.statistic for r in fitted.output.reference] == [g.read.statistic for g in plan.goals]


@pytest.mark.slow
def test_intervals_of_medians_and_spreads_hold_planted_populations() -> None:
    """Twenty populations of ten devices through twenty cycles, each fitted from beside the truth: of every median,
    spread and correlation at least sixteen intervals of twenty hold. No true population is called a conflict more than
    once (eleven numbers, seven parameters)."""
    holding, conflicts = [], 0
    for seed in range(20):
        data, truth = planted(seed, more=(0.1, 0.9), members=100)
        outcome = calibrate(plan_of(data))
        holding.append(held(outcome, truth))
        conflicts += "conflict" in "\n".join(conclusions(outcome))
    assert np.all(np.sum(holding, axis=0) >= 16), np.sum(holding, axis=0)
    assert conflicts <= 1


@pytest.mark.slow
def test_a_population_that_goes_together_otherwise_is_said_to_conflict() -> None:
    """Devices whose parameters go together, and a model in which they are independent: at least nine of ten such
    populations are called a conflict, with the number that is not met."""
    said = []
    for seed in range(10):
        data = correlated(planted(seed, by=0.98, members=100)[0], 0.0)
        del data["parameters"][TOGETHER]
        said.append("\n".join(conclusions(calibrate(plan_of(data)))))
    assert sum("conflict with the model" in text for text in said) >= 9
    assert sum("correlation of tau_d and tau_r is not met" in text for text in said) >= 9


# ------------------------------------------------------------------------------------- bad input


def broken(**changes: Any) -> str:
    with pytest.raises(ConfigError) as error:
        plan_of(job(**changes))
    return str(error.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (target("tau_r", "quantile"), "targets.0.level: is missing; a quantile needs level = 0.9"),
        (target("tau_r", "median", level=0.9), "belongs to statistic = 'quantile'"),
        (target("tau_r", "correlation"), "targets.0.other: is missing"),
        (target("tau_r", "correlation", other="tau_x"), "no such measurement; did you mean"),
        (target("tau_r", "correlation", other="tau_d[2]"), "'tau_d' is a single number"),
        (target("tau_r", "correlation", other="tau_d", value=1.5), "expected one between -1 and 1"),
        (
            target("tau_r", "sigma_ln_within", of_devices=None),
            "targets.0.uncertainty: is missing; give it, or of_devices",
        ),
        (target("tau_r", "sigma_ln_within", of_devices=2), "of_devices"),
        (target("tau_r", "censored_share"), "changes in steps and has no derivative to follow"),
        (target("tau_r", "mean_response"), "read in one cycle"),
        (target("tau_r", "sigma"), "targets.0.statistic"),
    ],
)
def test_a_statistic_that_cannot_be_is_said_before_anything_is_computed(changed: dict[str, Any], said: str) -> None:
    own = {key: value for key, value in changed.items() if value is not None}
    assert said in broken(targets=[own, *job()["targets"]])


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (
            "device.relaxation_time",
            "expected one number where it is fitted, or device.relaxation_time.median, or device.relaxation_time.sigma",
        ),
        ("device.relaxation_time.mean", "did you mean 'relaxation_time.median'"),
        ("device.on_conductance.sigma", "has one value for all devices; give it a distribution"),
        ("ensemble.cycle_to_cycle.on_conductance", "no such spread of the ensemble"),
        ("ensemble.correlation.switching_rate.on_conductance", "no such spread of the ensemble"),
        ("ensemble.devices", "no such spread of the ensemble"),
    ],
)
def test_a_spread_that_is_not_there_is_said(path: str, said: str) -> None:
    assert said in broken(parameters={path: {}})


def test_what_has_no_spread_has_no_statistics_of_it() -> None:
    alike = DEVICE | {"switching_rate": "20 Hz", "relaxation_time": "100 ms"}
    pulse = copy.deepcopy(PULSE)
    del pulse["ensemble"]["correlation"], pulse["ensemble"]["cycle_to_cycle"]
    one = {"experiments": {"pulse": pulse}, "device": alike, "parameters": {"device.relaxation_time": {}}}
    assert "its devices are alike" in broken(**one, targets=[target("tau_r", "sigma_ln_between")])
    assert "its devices are alike" in broken(**one, targets=[target("tau_r", "median")])
    assert "one cycle is what a calibration computes" in broken(
        **one, targets=[target("tau_r", "mean", of_devices=None, uncertainty="5 %") | {"of_devices": None}]
    )
    pulse["ensemble"]["cycles"] = 1
    one["device"] = DEVICE
    one["parameters"] = {"device.relaxation_time.sigma": {}}
    assert "one cycle does not tell devices from cycles" in broken(**one, targets=[target("tau_r", "sigma_ln_between")])
    pulse["ensemble"]["cycles"] = 2
    assert "its cycles are alike" in broken(**one, targets=[target("tau_r", "sigma_ln_within")])


def test_three_correlations_are_freed_as_loadings() -> None:
    pulse = copy.deepcopy(PULSE)
    names = [*SPREADS, "on_conductance"]
    device = DEVICE | {"on_conductance": {"distribution": "lognormal", "median": "100 uS", "sigma": 0.1}}
    matrix = [[1.0 if i == j else 0.2 for i in range(3)] for j in range(3)]
    pulse["ensemble"]["correlation"] = {"parameters": names, "matrix": matrix}
    said = broken(experiments={"pulse": pulse}, device=device, parameters={TOGETHER: {}})
    assert "give factor = […] and free ensemble.correlation.factor.NAME" in said
    pulse["ensemble"]["correlation"] = {"parameters": names, "factor": [0.5, 0.5, 0.5]}
    path = "ensemble.correlation.factor.switching_rate"
    plan = plan_of(job(experiments={"pulse": pulse}, device=device) | {"parameters": {path: {}}})
    changed = plan.cases["pulse", "[device]"][0].at({path: 0.9})
    assert changed.ensemble.correlation is not None
    assert changed.ensemble.correlation.factor == (0.9, 0.5, 0.5)


def small(devices: int = 4, **changes: Any) -> mcdev.Experiment:
    return mcdev.build({"name": "ours", "device": DEVICE, **PULSE} | changes).with_(
        {"ensemble.devices": devices, "ensemble.cycles": 3}
    )


def test_a_population_becomes_the_calibration_that_fits_it() -> None:
    """Its targets are the statistics of the results, its free parameters what their configuration draws."""
    tree = mcdev.run(small(measurements=PULSE["measurements"] | {"ratio": {"kind": "on_off_ratio"}}))
    tree["measurements/ratio"]["status"][...] = RIGHT_CENSORED
    job, left_out = calibration_of(tree)
    assert left_out == ["ratio: 12 of 12 are bounds; no target"]
    plan = resolve(job, Path())
    free = {f"device.{name}.{what}" for name in SPREADS for what in ("median", "sigma")}
    assert {p.path for p in plan.parameters} == free | {f"ensemble.cycle_to_cycle.{name}" for name in SPREADS} | {
        TOGETHER
    }
    tau, status = (np.asarray(tree[f"measurements/tau_r/{of}"])[0] for of in ("value", "status"))
    for goal in plan.goals:
        assert goal.of_devices == 4
        if goal.read.measurement == "tau_r":
            expected = statistic(goal.read.statistic, tau, status, goal.read.level)
            assert goal.value == pytest.approx(expected, rel=1e-5)
    read = [(goal.read.measurement, goal.read.statistic) for goal in plan.goals]
    each = ("median", "quantile", "sigma_ln_between", "sigma_ln_within")
    assert read == [*(("tau_d", s) for s in each), *(("tau_r", s) for s in each), ("tau_d", "correlation")]


def test_a_population_that_tells_nothing_is_said() -> None:
    alike = DEVICE | {"switching_rate": "20 Hz", "relaxation_time": "100 ms"}
    plain = {key: PULSE[key] for key in ("protocol", "measurements")}
    with pytest.raises(ConfigError, match="a parameter that differs from device to device"):
        calibration_of(mcdev.run(mcdev.build({"name": "ours", "device": alike, **plain, "ensemble": {"devices": 4}})))
    with pytest.raises(ConfigError, match="three devices or more"):
        calibration_of(mcdev.run(small(2)))
