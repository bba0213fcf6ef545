"""Designed experiments: exact optima of linear-Gaussian toys, planted devices, bad input."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_calibration import JOB
from test_shared_configurations import SWITCH

from mcdev.calibration import calibrate, fitted, foreseen, resolve
from mcdev.calibration.design import Look, choose, informed, shrinking, telling
from mcdev.calibration.foreseen import rows_of
from mcdev.calibration.next_experiments import information
from mcdev.calibration.plan import Plan
from mcdev.calibration.settings import looks, spaces_of
from mcdev.configuration.problems import ConfigError
from mcdev.measurements.contract import OK, RIGHT_CENSORED

NOTHING = np.empty((0, 2))


def line(_: int, places: np.ndarray) -> list[Look]:
    """y = a + b t at t in [0, 1], error 0.1."""
    return [Look(np.array([[1.0, t]]) / 0.1, np.empty((1, 0)), np.zeros(1)) for (t,) in places]


def test_a_line_is_measured_at_its_ends() -> None:
    """Both parameters: half of the experiments at each end. The slope alone: there too. With the intercept known: all
    at the far end, which leaves var b = 1/(n t²/σ² + 1)."""
    both = choose([1], line, shrinking(1e-6 * np.eye(2), [0, 1]), 4, 8, 1)
    assert sorted(float(one.place[0]) for one in both) == [0.0, 0.0, 1.0, 1.0]
    slope = choose([1], line, shrinking(1e-6 * np.eye(2), [1]), 2, 8, 1)
    assert sorted(float(one.place[0]) for one in slope) == [0.0, 1.0]
    known = np.diag([1e9, 1.0])
    far = choose([1], line, shrinking(known, [1]), 3, 8, 1)
    assert [float(one.place[0]) for one in far] == [1.0] * 3
    variance = np.linalg.inv(informed(known, [one.look for one in far]))[1, 1]
    assert variance == pytest.approx(1 / (1 + 3 / 0.1**2), rel=1e-6)


def test_an_optimum_between_the_limits_is_found() -> None:
    """y = exp(-k t): dy/d ln k = -k t exp(-k t) is steepest at t = 1/k, wherever the first settings lie; here k = 3."""

    def decay(_: int, places: np.ndarray) -> list[Look]:
        return [Look(np.array([[3 * t * np.exp(-3 * t)]]), np.empty((1, 0)), np.zeros(1)) for (t,) in places]

    chosen = choose([1], decay, shrinking(np.eye(1), [0]), 1, 4, 3)
    assert float(chosen[0].place[0]) == pytest.approx(1 / 3, abs=0.03)


def test_of_two_experiments_the_better_is_chosen_and_what_cannot_be_done_is_not() -> None:
    def look(space: int, places: np.ndarray) -> list[Look]:
        if space == 0:
            return [Look(np.empty((0, 1)), np.empty((0, 0)), np.empty(0)) for _ in places]
        return [Look(np.array([[float(space)]]), np.empty((1, 0)), np.zeros(1)) for _ in places]

    chosen = choose([0, 0, 2], look, shrinking(np.eye(1), [0]), 2, 4, 1)
    assert [one.space for one in chosen] == [2, 2]


def test_models_are_told_apart_where_neither_can_take_up_the_difference() -> None:
    """y = c and y = c + d t² with c hardly known in either: the value at one end says nothing, both ends together
    all that there is: Δ²/2σ² for each model, less what the spreads add."""
    apart, sd = 0.5, 0.1

    def look(_: int, places: np.ndarray) -> list[Look]:
        return [Look(np.ones((1, 1)) / sd, np.ones((1, 1)) / sd, np.array([-apart * t**2 / sd])) for (t,) in places]

    known = np.array([[1e-4]])
    chosen = choose([1], look, telling(known, known), 2, 8, 1)
    assert sorted(float(one.place[0]) for one in chosen) == [0.0, 1.0]
    score = telling(known, known)([one.look for one in chosen])
    assert score == pytest.approx((apart / sd) ** 2 / 2, rel=1e-3)
    assert telling(known, known)([chosen[0].look] * 2) < 0.01


def job(**changes: Any) -> dict[str, Any]:
    """Two parameters of Device-P from two numbers; a train of free amplitude, width, gap and number may follow."""
    data = copy.deepcopy(JOB)
    data["experiments"]["next"] = {
        "protocol": {"kind": "pulse_train", "amplitude": "2 V", "width": "50 ms", "gap": "1 s", "count": 2},
        "measurements": {"ppf": {"kind": "paired_pulse"}, "change": {"kind": "mean_current"}},
    }
    data["candidates"] = [
        {"experiment": "next", "measurement": "ppf", "uncertainty": "3 %", "floor": 0.01},
        {"experiment": "next", "measurement": "change", "uncertainty": "3 %", "floor": "1 nA"},
    ]
    data["design"] = {
        "number": 3,
        "tries": 8,
        "limits": {
            "protocol.amplitude": {"low": "1 V", "high": "4.5 V"},
            "protocol.width": {"low": "20 ms", "high": "1 s"},
            "protocol.gap": {"low": "20 ms", "high": "5 s"},
            "protocol.count": {"low": 2, "high": 4},
        },
    }
    return data | changes


def plan_of(data: dict[str, Any]) -> Plan:
    return resolve(data, Path())


def test_where_there_is_a_posterior_its_variance_is_what_is_known() -> None:
    """Draws whose logarithms have a known covariance, whatever the table of parameters says."""
    plan = plan_of(job())
    x = plan.values(plan.start)
    half = np.array([[0.3, 0.0], [0.1, 0.2]])
    draws = x * np.exp(np.random.default_rng(1).normal(size=(4000, 2)) @ half.T)
    found = np.linalg.inv(information(plan, None, draws))
    np.testing.assert_allclose(found, half @ half.T, atol=4 * 0.09 * np.sqrt(2 / 4000))


def test_simulations_know_one_model() -> None:
    data = job(simulations={"number": 1000}, models={"other": {"fixed": ["device.charge_gain"]}})
    assert "no effect" not in "".join(plan_of(data).warnings).replace("[models] has no effect", "")
    data["design"]["tell_apart"] = "other"
    with pytest.raises(ConfigError, match=r"design.tell_apart = \"other\": \[simulations\] know one model"):
        plan_of(data)


def test_simulations_measure_a_line_at_its_ends() -> None:
    """y = a + b t as above, but without its derivative: simulated at draws of a and b, scattering by 0.06, the
    instrument's error 0.08. As good as known derivatives over 0.1, to the errors of 128 draws."""
    rng = np.random.default_rng(4)
    covariance = np.array([[1.0, 0.3], [0.3, 0.5]])
    z = rng.multivariate_normal([0.0, 0.0], covariance, 128)
    goal = plan_of(job()).candidates[0]._replace(sigma=0.08, floor=0.0)
    status = np.full((128, 1), OK)

    def simulated(_: int, places: np.ndarray) -> list[Look]:
        found = []
        for (t,) in places:
            y = z @ [1.0, t] + 0.06 * np.random.default_rng(9).standard_normal(128)
            rows = rows_of(z, y[:, None], status, [goal])
            found.append(Look(rows, rows, np.zeros(len(rows))))
        return found

    known = np.linalg.inv(covariance)
    chosen = choose([1], simulated, shrinking(known, [0, 1]), 4, 8, 1)
    assert sorted(float(one.place[0]) for one in chosen) == [0.0, 0.0, 1.0, 1.0]
    exact = informed(known, [line(0, one.place[None])[0] for one in chosen])
    found = informed(known, [one.look for one in chosen])
    np.testing.assert_allclose(np.linalg.inv(found), np.linalg.inv(exact), rtol=4 * 0.36 * np.sqrt(2 / 128) + 0.05)


def test_numbers_that_err_together_count_once() -> None:
    """Two readings of one device with the same scatter e: aᵀ S⁻¹ a of their covariance, not of two independent ones."""
    rng = np.random.default_rng(1)
    z, own = rng.normal(size=(20_000, 1)), rng.normal(size=(20_000, 1))
    y = z + 0.3 * own + 0.1 * rng.normal(size=(20_000, 2))
    goals = [plan_of(job()).candidates[0]._replace(sigma=1e-6, floor=0.0)] * 2
    rows = rows_of(z, y, np.full(y.shape, OK), goals)
    expected = 1.0 / (0.3**2 + 0.1**2 / 2)
    assert float((rows.T @ rows)[0, 0]) == pytest.approx(expected, rel=4 * np.sqrt(2 / 20_000))
    status = np.full(y.shape, OK)
    status[: len(y) // 5, 1] = RIGHT_CENSORED
    assert rows_of(z, y, status, goals).shape == (1, 1), "what is a bound in a fifth of the draws is passed over"


def test_the_scatter_of_devices_is_in_what_is_foreseen() -> None:
    """τ_r = c τ of devices whose τ differ by σ = 0.3, known to 10 %: one device tells the median's logarithm to
    √(0.3² + 0.1²). A pulse below the threshold tells nothing."""
    device = SWITCH | {"relaxation_time": {"distribution": "lognormal", "median": "100 ms", "sigma": 0.3}}
    pulse = {"kind": "pulse", "amplitude": "1.2 V", "width": "300 ms", "relaxation": "1.5 s"}
    data = {
        "name": "toy",
        "device": device | {"integrator": {"coupling_interval": "20 ms"}},
        "experiments": {"it": {"protocol": pulse, "measurements": {"tau_r": {"kind": "relaxation_time"}}}},
        "parameters": {"device.relaxation_time.median": {"low": "50 ms", "high": "200 ms"}},
        "targets": [{"experiment": "it", "measurement": "tau_r", "value": "0.2 s", "of_devices": 1, "source": "made"}],
        "candidates": [{"experiment": "it", "measurement": "tau_r", "uncertainty": "10 %", "floor": "1 us"}],
        "design": {"limits": {"protocol.amplitude": {"low": "0.1 V", "high": "1.2 V"}}},
        "simulations": {"number": 1000},
    }
    plan = plan_of(data)
    draws = 0.1 * np.exp(0.1 * np.random.default_rng(1).normal(size=(500, 1)))
    below, above = foreseen.looks(plan, draws, spaces_of(plan)[0], np.array([[0.0], [1.0]]), 1)
    assert below.rows.shape == (0, 1)
    told = 1.0 / (0.3**2 + 0.1**2)
    assert float(above.rows[0, 0] ** 2) == pytest.approx(told, rel=4 * np.sqrt(2 / 128) + 4 * 0.3 / 0.1 / np.sqrt(128))


@pytest.mark.parametrize(
    ("design", "said"),
    [
        (
            {"shrink": ["capacitence"]},
            "design.shrink = \"capacitence\": no such free parameter; did you mean 'capacitance'",
        ),
        ({"tell_apart": "other"}, "no such model"),
        ({"limits": {"protocol.amplitude": {"low": "3 V", "high": "2 V"}}}, "expected low < high"),
        ({"limits": {"protocol.amplitude": {"low": "3 s", "high": "2 V"}}}, 'design.limits."protocol.amplitude"'),
        ({"limits": {"protocol.recovery": {"low": "1 s", "high": "2 s"}}}, "is a number of no candidate's protocol"),
        ({"limits": {"device.capacitance": {"low": 1, "high": 2}}}, "is a number of no candidate's protocol"),
        ({"number": 0}, "design.number"),
    ],
)
def test_what_is_wrong_with_a_design_is_said_before_anything_is_computed(design: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        plan_of(job(design=design))
    assert said in str(error.value)


def test_a_share_needs_a_floor() -> None:
    data = job()
    del data["candidates"][0]["floor"]
    with pytest.raises(ConfigError, match=r"candidates.0.floor: is missing|candidates.0.floor.*give floor"):
        plan_of(data)
    goal = plan_of(job()).candidates[0]
    assert goal.expected_sigma(1.0) == pytest.approx(0.03)
    assert goal.expected_sigma(0.0) == 0.01


@pytest.mark.slow
def test_three_designed_experiments_shrink_more_than_three_random_ones(tmp_path: Path) -> None:
    """A planted device, fitted again with what the experiments give of it: their intervals against those of ten sets of
    three random experiments within the same limits, by the same ruler."""
    outcome = calibrate(plan_of(job()))
    found = outcome.designed
    assert found is not None
    assert len(found.chosen) == 3
    assert (found.after < found.before).all()
    plan = outcome.plan
    space = spaces_of(plan)[0]
    x, known = plan.values(outcome.best.u), information(plan, outcome.knowledge, None)
    rng = np.random.default_rng(2)
    places = rng.uniform(size=(30, 4))
    random = looks(plan, x, space, places, 1, 1, None)
    score = shrinking(known, [0, 1])
    designed = score([one.look for _, one in found.chosen])
    others = [score(random[3 * i : 3 * i + 3]) for i in range(10)]
    factor = np.exp((designed - np.array(others)) / 4)  # of the mean length of an interval of both
    print(f"sd {found.before} -> {found.after}; intervals shorter by a factor of {factor}")
    assert designed > max(others)
    fitted.write_design(found, tmp_path)
    again = job(design=None)
    del again["design"]
    written = tomllib.loads((tmp_path / "design.toml").read_text())["experiments"]
    again["experiments"] |= written
    again["targets"] += [
        {"experiment": name, "measurement": m, "value": v, "uncertainty": u, "source": "planted"}
        for name, own in zip(written, found.chosen, strict=True)
        for m, v, u in planted(plan, x, own, space)
    ]
    del again["candidates"]
    after = calibrate(plan_of(again)).knowledge
    assert np.allclose(after.sd, found.after, rtol=0.05)


def planted(plan: Plan, x: np.ndarray, own: Any, space: Any) -> list[tuple[str, Any, Any]]:
    """What the device itself would read: (measurement, value, uncertainty)."""
    from mcdev.calibration.settings import _rows

    value, _, sigma = _rows(plan, x, space, [own[0].at(own[1].place)], 1, 1)
    return [
        (g.read.measurement, v, u) if g.unit == "1" else (g.read.measurement, f"{v!r} {g.unit}", f"{u!r} {g.unit}")
        for g, v, u in zip(space.goals, value[0].tolist(), sigma[0].tolist(), strict=True)
    ]
