"""Posteriors from simulations: what a data set reads, what is learnt from it, whether it may be believed."""

from __future__ import annotations

import copy
import functools
import math
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
import psutil
import pytest
import tomli_w
import xarray as xr
from conftest import Ended
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from test_cli import one_message
from test_shared_configurations import SWITCH

from mcdev.calibration import amortised, bank, calibrate, data_sets, infer, prior, resolve
from mcdev.calibration import file as calibration_file
from mcdev.calibration import folder as its_folder
from mcdev.calibration.bank import Bank
from mcdev.calibration.conditions import shown, usable, view_of
from mcdev.calibration.data_sets import _trial, simulate_sets
from mcdev.calibration.plan import Plan
from mcdev.calibration.trust import LEVELS, strangeness, trust
from mcdev.configuration.describes import describes
from mcdev.configuration.problems import ConfigError
from mcdev.figures.calibration import pictures as calibration_pictures
from mcdev.files.whole_file import ResultsError
from mcdev.machine.identity import Origin
from mcdev.measurements.contract import FAILED, OK, RIGHT_CENSORED, UNDEFINED
from mcdev.results.scheduler import Workers, workers

DEVICE: dict[str, Any] = SWITCH | {"integrator": {"coupling_interval": "20 ms"}}
PULSE: dict[str, Any] = {
    "protocol": {
        "kind": "pulse",
        "amplitude": "1.2 V",
        "width": "300 ms",
        "relaxation": "1 s",
        "samples_per_pulse": 20,
        "relaxation_samples": 40,
    },
    "measurements": {"tau_d": {"kind": "delay_time"}, "tau_r": {"kind": "relaxation_time"}},
}
JOB: dict[str, Any] = {
    "name": "learnt",
    "device": DEVICE,
    "experiments": {"pulse": PULSE},
    "parameters": {"device.relaxation_time": {"prior": {"median": "100 ms", "factor": 1.5}}},
    "targets": [
        {
            "experiment": "pulse",
            "measurement": "tau_r",
            "value": "250 ms",
            "uncertainty": "20 %",
            "source": "planted",
        }
    ],
    "simulations": {"number": 512},
    "report": {"posterior": 2000},
}


def job(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(JOB) | changes


def plan_of(data: dict[str, Any]) -> Plan:
    return resolve(data, Path())


def test_the_order_of_axes_numbers_the_points_of_what_is_kept() -> None:
    """Neither simulations nor evaluations are taken for those of the same axes in another order."""
    axes = {"protocol.amplitude": ["1.1 V", "1.2 V"], "protocol.width": ["200 ms", "300 ms"]}
    plans = []
    for pairs in (axes.items(), reversed(axes.items())):
        data = job()
        name = next(iter(data["experiments"]))
        data["experiments"][name]["sweep"] = {"axes": dict(pairs)}
        plans.append(plan_of(data))
    assert bank.about(plans[0])["experiments"] != bank.about(plans[1])["experiments"]
    assert its_folder.identity(plans[0]) != its_folder.identity(plans[1])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, xr.DataTree]:
    """A small one, from file to results: one flow, few steps, one way of training."""
    folder = tmp_path_factory.mktemp("learnt")
    again = {"experiment": "pulse", "measurement": "tau_r", "uncertainty": "20 %", "floor": "1 us"}
    plan = plan_of(job(candidates=[again], design={"number": 2}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(amortised, "_WAYS", amortised._WAYS[:1])
        patch.setattr(amortised, "train", functools.partial(amortised.train, steps=400, members=1))
        return plan, folder, its_folder.work(plan, folder, its_folder.begin(plan, folder), lambda text: None)


def test_a_conjugate_posterior_is_learnt_from_a_devices_simulations(finished: tuple[Plan, Path, xr.DataTree]) -> None:
    """τ_r = c τ exactly, and both have Gaussian logarithms: 1/var = 1/ln² 1.5 + 1/0.2², mean the weighted one."""
    plan, _, tree = finished
    c = float(simulate_sets(plan, np.array([[0.1]]), np.array([1])).value[0, 0]) / 0.1
    prior_weight, weight = math.log(1.5) ** -2, 0.2**-2
    mean = (prior_weight * math.log(0.1) + weight * math.log(0.25 / c)) / (prior_weight + weight)
    sd = (prior_weight + weight) ** -0.5
    n = np.log(tree["posterior/draws"].values[:, 0])
    assert abs(n.mean() - mean) < 0.2 * sd
    assert abs(n.std() / sd - 1) < 0.15


def test_a_learnt_posterior_is_what_a_design_begins_with(finished: tuple[Plan, Path, xr.DataTree]) -> None:
    """Two more readings of the same number, each as good as the first: 1/var grows by 2/0.2². What is left of errors
    is that 128 draws do not give the straight line exactly: 1/128 of 1/var for each experiment."""
    _, folder, tree = finished
    before, after = (float(tree[f"design/{name}"][0]) for name in ("before", "after"))
    assert before == pytest.approx(float(tree["parameters/sd"][0]), rel=1e-3)
    assert after == pytest.approx((before**-2 + 2 / 0.2**2) ** -0.5, rel=0.02)
    assert "one standard deviation is" in tree.attrs["conclusions"]
    assert "designed_2" in (folder / "design.toml").read_text()


def test_its_results_are_read_drawn_and_opened_by_arviz(finished: tuple[Plan, Path, xr.DataTree]) -> None:
    _, folder, tree = finished
    again = calibration_file.read(folder)
    assert again["posterior/draws"].shape == (2000, 1)
    assert again["checks/ranks"].shape[1] == 1
    names = [name for name, _ in calibration_pictures(again)]
    assert {"corner", "predicted", "checks", "course_1", "parameters", "pulls"} <= set(names)
    with xr.open_datatree(folder / "posterior.nc", engine="h5netcdf") as draws:
        assert draws["posterior"]["relaxation_time"].dims == ("chain", "draw")
        assert draws["posterior"]["relaxation_time"].attrs["units"] == "s"
        assert draws["posterior_predictive"]["pulse: tau_r"].sizes["draw"] == 256
        assert draws["observed_data"]["pulse: tau_r"].attrs["units"] == "ms"
        assert float(draws["observed_data"]["pulse: tau_r"]) == pytest.approx(250)
    assert describes(folder / "fitted.toml") == "study"
    assert "95 % regions of the posterior contain" in tree.attrs["conclusions"]


def test_what_was_simulated_and_learnt_serves_the_next_device(
    finished: tuple[Plan, Path, xr.DataTree], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is simulated or trained again; the intervals move with the number. Another prior is refused."""
    _, folder, before = finished
    monkeypatch.setattr(amortised, "train", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(bank, "simulate_sets", lambda *_: pytest.fail("simulated again"))
    data = job(simulations={"number": 512, "trained": str(folder)})
    data["targets"][0]["value"] = "125 ms"
    plan = plan_of(data)
    after = its_folder.work(plan, tmp_path, its_folder.begin(plan, tmp_path), lambda text: None)
    ratio = float(after["parameters/value"][0] / before["parameters/value"][0])
    assert ratio == pytest.approx(0.5 ** (0.2**-2 / (0.2**-2 + math.log(1.5) ** -2)), rel=0.07)
    assert not (tmp_path / "simulations").exists()
    data["parameters"]["device.relaxation_time"]["prior"]["factor"] = 1.6
    with pytest.raises(ResultsError, match="are of other parameters"):
        infer(plan_of(data), tmp_path)


def test_a_stopped_or_damaged_bank_is_filled_up_and_the_same(
    finished: tuple[Plan, Path, xr.DataTree], tmp_path: Path
) -> None:
    plan, folder, _ = finished
    kept = shutil.copytree(folder / "simulations", tmp_path / "simulations")
    whole = Bank(plan, folder / "simulations").filled(lambda text: None)
    first, second = sorted(kept.glob("0*.npz"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-20] + b"x" * 20)
    half = Bank(plan, kept)
    again = half.filled(lambda text: None)
    assert half.repeated == 0
    assert np.array_equal(whole[0], again[0])
    assert np.array_equal(whole[1].value, again[1].value, equal_nan=True)
    assert Bank(plan, kept).filled(lambda text: None)[0].shape == (512, 1)


def same(one: tuple[np.ndarray, data_sets.DataSets], other: tuple[np.ndarray, data_sets.DataSets]) -> bool:
    """Bit for bit."""
    arrays = [(scores, sets.value, sets.status) for scores, sets in (one, other)]
    return all(a.tobytes() == b.tobytes() for a, b in zip(*arrays, strict=True))


class Elsewhere(ThreadPoolExecutor):
    """Works on what it is sent as another process does: on a copy of its bytes. Returns copies, too."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        sent = pickle.dumps((fn, args, kwargs))

        def work() -> Any:
            function, own, named = pickle.loads(sent)
            return pickle.loads(pickle.dumps(function(*own, **named)))

        return super().submit(work)


def test_workers_simulate_the_same(finished: tuple[Plan, Path, xr.DataTree], tmp_path: Path) -> None:
    """Bit for bit, one thread each; what they have finished is in the folder, and is not computed again."""
    plan, folder, _ = finished
    with Elsewhere(2) as pool:
        own = Bank(plan, tmp_path / "simulations").filled(lambda text: None, Workers(pool, 2, True))
    assert same(own, Bank(plan, folder / "simulations").filled(lambda text: None))
    again = Bank(plan, tmp_path / "simulations")
    assert same(own, again.filled(lambda text: None))
    assert again.repeated == 512


def test_what_workers_finished_is_kept_where_one_fails(
    finished: tuple[Plan, Path, xr.DataTree], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And gone on with. Parts come in any order, and stand in theirs."""
    plan, folder, _ = finished
    whole = Bank(plan, folder / "simulations")
    parts = {number: whole._kept(number) for number in (0, 1)}

    def fails_once(plan: Plan, number: int, threads: int) -> Any:
        if number == 0:
            raise MemoryError("no room")
        return parts[number]

    monkeypatch.setattr(bank, "simulated", fails_once)
    with ThreadPoolExecutor(1) as pool:
        crew = Workers(pool, 1, True)
        with pytest.raises(ResultsError, match=r"1 of 2 parts of the simulations failed .*MemoryError: no room"):
            Bank(plan, tmp_path).filled(lambda text: None, crew)
        said: list[str] = []
        monkeypatch.setattr(bank, "simulated", lambda plan, number, threads: parts[number])
        half = Bank(plan, tmp_path)
        assert same(half.filled(said.append, crew), whole.filled(lambda text: None))
    assert half.repeated == 256
    assert said[-1] == "simulations, 512 of 512"


def test_a_worker_that_is_another_machine_is_refused_or_said(
    finished: tuple[Plan, Path, xr.DataTree], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parts count where they are accepted, and only there."""
    plan, folder, _ = finished
    whole, here = Bank(plan, folder / "simulations"), Origin.here()
    other = here.model_copy(update={"processor": "a quantum computer"})
    kept = {number: part for number in (0, 1) if (part := whole._kept(number)) is not None}
    monkeypatch.setattr(bank, "simulated", lambda plan, n, threads: kept[n]._replace(origin=(here, other)[n]))
    with ThreadPoolExecutor(1) as pool:
        crew = Workers(pool, 1, True)
        with pytest.raises(ResultsError, match=r"a worker is another machine .*a quantum computer"):
            Bank(plan, tmp_path / "a", accepted=[here]).filled(lambda text: None, crew)
        accepting = Bank(plan, tmp_path / "b")
        accepting.filled(lambda text: None, crew)
    assert set(accepting.origins) == {here, other}
    assert [Bank(plan, tmp_path / "b", accepted=[here])._kept(n) is None for n in (0, 1)] == [False, True]


def test_a_search_has_no_workers_of_its_own(tmp_path: Path, mcdev_main: Callable[..., Ended]) -> None:
    data = job()
    del data["simulations"]
    file = tmp_path / "job.toml"
    file.write_text(tomli_w.dumps(data))
    for options in (("--scheduler", "dask"), ("--threads", 2), ("--scheduler-address", "tcp://127.0.0.1:9")):
        one_message(mcdev_main("calibrate", file, *options), 2, "are of [simulations], which the file has not")
    one_message(mcdev_main("calibrate", file, "--scheduler", "slurm"), 2, "expected threads or dask")


@pytest.mark.parametrize(("losses", "taken"), [((0.0, 0.0), 0), ((0.0, -1.0, -1.0), 1), ((0.0, -1.0, -2.0), 2)])
def test_another_way_of_training_is_taken_while_it_does_better(
    losses: tuple[float, ...], taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On what is held out: the first flow tries one way after the other, and the others are trained as it was. Where
    the held scores come from normal numbers twice as wide, the flows begin from such."""
    tried: list[tuple[int, float]] = []

    def trained(epoch: Any, start: Any, way: tuple[int, float], steps: int, rounds: int) -> Any:
        tried.append(way)
        loss = losses[amortised._WAYS.index(way)]
        return amortised._Trained(start.params, [(loss, loss)], np.full(len(start.held[0]), loss))

    monkeypatch.setattr(amortised, "_trained", trained)
    monkeypatch.setattr(amortised, "_flow", lambda parameters, width, seed: eqx.nn.Identity())
    monkeypatch.setattr(amortised, "_backwards", lambda flow, s, x: (np.full(s.shape, 2.0), np.zeros(len(s))))
    data = np.random.default_rng(1).normal(size=(3, 200, 2))
    network = amortised.train(*data, 1, members=2)
    assert network.wide == 2.0
    assert tried == [*amortised._WAYS[: len(losses)], amortised._WAYS[taken]]
    assert network.losses.tolist() == [[losses[taken]] * 2]


def test_draws_are_of_the_law_whose_density_is_given() -> None:
    """Of the mean of two flows that begin from normal numbers 1.5 wide: the density has an integral of one, and draws
    follow it (Kolmogorov and Smirnov, one in a thousand); it is wider than that from standard normal numbers."""
    flows = tuple(amortised._flow(1, 1, seed) for seed in (1, 2))
    x = np.linspace(-15, 15, 3001)
    shown = np.array([[0.3]])
    found = {}
    for wide in (1.0, 1.5):
        network = amortised.Network(flows, 1, 1, np.zeros((1, 2)), wide)
        density = np.exp(amortised.log_density(network, x[None, :, None], shown)[0])
        total = np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(x))
        assert total[-1] == pytest.approx(1.0, abs=1e-3)
        drawn = amortised.draw(network, shown, 1000, 1)[0, :, 0]
        assert stats.kstest(drawn, lambda s, total=total: np.interp(s, x[1:], total)).pvalue > 0.001
        assert amortised.log_density(network, drawn[:1, None], shown) == pytest.approx(
            amortised.log_density(network, drawn[None, :1, None], shown)[0]
        )
        found[wide] = np.interp([0.1, 0.9], total, x[1:])
    assert np.diff(found[1.5]) == pytest.approx(1.5 * np.diff(found[1.0]), rel=0.1)


def test_an_observation_unlike_anything_simulated_is_flagged() -> None:
    """Also where each number by itself is common: two that always agree, and here do not."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3000, 1)) + 0.1 * rng.standard_normal((3000, 2))
    assert strangeness(x[:2000], x[2000:], np.array([1.0, -1.0])) < 0.01
    usual = [
        strangeness(x[:2000], x[2000:], one)
        for one in rng.standard_normal((200, 1)) + 0.1 * rng.standard_normal((200, 2))
    ]
    assert np.mean(np.array(usual) < 0.01) <= 0.03
    assert strangeness(x[:2000], x[2000:], np.array([8.0, 8.0])) < 0.01


def test_a_bound_is_information_and_a_breakdown_is_none() -> None:
    """Devices that never relax or never switch read as bounds and as undefined; what broke down is left out. None of
    them reaches the network as NaN."""
    data = job()
    data["parameters"] = {
        "device.relaxation_time": {"low": "10 ms", "high": "10 s"},
        "device.threshold_voltage": {"low": "0.5 V", "high": "1.3 V"},
    }
    plan = plan_of(data)
    sets = simulate_sets(plan, np.array([[0.1, 0.6], [9.0, 0.6], [0.1, 1.29], [np.nan, 0.6]]), np.arange(4))
    assert sets.status[:, 0].tolist() == [OK, RIGHT_CENSORED, UNDEFINED, FAILED]
    assert sets.value[1, 0] == pytest.approx(1.0, rel=0.2), "the bound is the relaxation's length"
    fine = usable(sets.status)
    assert fine.tolist() == [True, True, True, False]
    view = view_of(plan.goals, sets.value[fine], sets.status[fine])
    x, noise = shown(view, plan.goals, sets.value[fine], sets.status[fine])
    assert x.shape == (3, 3), "the value, and a flag for each of two statuses"
    assert np.isfinite(x).all()
    assert x[:, 1:].tolist() == [[0, 0], [1, 0], [0, 1]]
    assert (noise[:, 0] > 0).tolist() == [True, False, False], "an instrument's noise is on numbers only"


def test_a_data_set_that_would_take_for_ever_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(job())
    monkeypatch.setattr(data_sets, "TOO_LONG", 0.5)
    monkeypatch.setattr(data_sets, "_computed", lambda *_: pytest.fail("begun"))
    assert (simulate_sets(plan, np.array([[0.1]]), np.array([1])).status == FAILED).all()


def test_statistics_of_simulated_devices_are_of_as_many_as_were_measured() -> None:
    """Medians of ten devices scatter √10 times less than those of one; devices of a data set differ, and are the same
    in every experiment."""
    data = job(device=DEVICE | {"relaxation_time": {"distribution": "lognormal", "median": "100 ms", "sigma": 0.3}})
    data["experiments"]["again"] = PULSE
    data["parameters"] = {"device.relaxation_time.median": {"low": "50 ms", "high": "200 ms"}}
    target = {"measurement": "tau_r", "statistic": "median", "value": "250 ms", "source": "planted"}
    data["targets"] = [{"experiment": e, "of_devices": n, **target} for e in ("pulse", "again") for n in (1, 10)]
    sets = simulate_sets(plan_of(data), np.full((64, 1), 0.1), np.arange(64))
    one, ten = np.log(sets.value[:, 0]).std(), np.log(sets.value[:, 1]).std()
    assert one == pytest.approx(0.3, rel=0.25)
    assert 1.8 < one / ten < 4.2
    assert np.array_equal(sets.value[:, :2], sets.value[:, 2:])


def test_a_device_has_thermal_motion_of_its_own_in_each_experiment() -> None:
    """Its random numbers are named by data set, device, experiment and point; what is drawn of it by the first two."""
    data = job(device=DEVICE | {"relaxation_time": {"distribution": "lognormal", "median": "100 ms", "sigma": 0.3}})
    data["parameters"] = {"device.relaxation_time.median": {"low": "50 ms", "high": "200 ms"}}
    data["experiments"]["again"] = PULSE
    data["targets"] = [data["targets"][0] | {"experiment": e, "of_devices": 2} for e in ("pulse", "again")]
    cases = [case for own in plan_of(data).cases.values() for case in own]
    made = {
        (case.experiment, seed, device): _trial(case, {"device.relaxation_time.median": 0.1}, seed, device, math.inf)
        for case in cases
        for seed in (1, 2)
        for device in (0, 1)
    }
    found = {key: trial.experiment for key, trial in made.items() if trial is not None}
    assert len({e.ensemble.seed for e in found.values()}) == 8
    assert len({e.device.relaxation_time for e in found.values()}) == 4
    assert found["pulse", 1, 0].device.relaxation_time == found["again", 1, 0].device.relaxation_time


@given(z=st.floats(-4, 4), kind=st.sampled_from(["flat", "gaussian", "cut", "signed"]))
def test_normal_scores_and_values_are_inverse(z: float, kind: str) -> None:
    own = {
        "flat": {"low": "20 ms", "high": "1 s"},
        "gaussian": {"prior": {"median": "100 ms", "factor": 1.5}},
        "cut": {"low": "50 ms", "high": "150 ms", "prior": {"median": "100 ms", "factor": 1.5}},
        "signed": {"low": -0.5, "high": 4.0},
    }[kind]
    path = "device.switching_exponent" if kind == "signed" else "device.relaxation_time"
    parameters = plan_of(job(parameters={path: own})).parameters
    x = prior.values(parameters, np.array([[z]]))
    low, high = parameters[0].coordinate.low, parameters[0].coordinate.high
    assert low is None or x[0, 0] >= low
    assert high is None or x[0, 0] <= high
    assert prior.scores(parameters, x)[0, 0] == pytest.approx(z, abs=1e-4)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"parameters": {"device.relaxation_time": {"low": "1 ms"}}}, "give high (a bound), or a prior"),
        (
            {"parameters": {"device.relaxation_time": {}}},
            "give low (more than zero, because it is a scale), or a prior",
        ),
        ({"simulations": {"number": 10}}, "simulations.number"),
        ({"simulations": {"trained": 3}}, "simulations.trained"),
        ({"weight": 0.5}, "targets.0.weight"),
        ({"weight": 0}, "nothing to learn from"),
        ({"value": "> 20 K"}, "targets.0.value"),
        ({"value": "undefined", "scale": "linear"}, "a share of what has no value"),
        ({"device": {"preset": "wang2017_sioxny_ag"}}, "say how many devices the number is of"),
    ],
)
def test_what_simulations_cannot_do_is_said_before_anything_is_computed(changed: dict[str, Any], said: str) -> None:
    own = {key: value for key, value in changed.items() if key in JOB}
    data = job(**own)
    data["targets"][0] |= {key: value for key, value in changed.items() if key not in JOB}
    if "device" in changed:
        data["parameters"] = {"device.friction": {"low": 1, "high": 9}}
    with pytest.raises(ConfigError) as error:
        plan_of(data)
    assert said in str(error.value)


def test_bounds_are_for_simulations_only() -> None:
    data = job()
    data["targets"][0]["value"] = "> 900 ms"
    goal = plan_of(data).goals[0]
    assert (goal.status, goal.value) == (RIGHT_CENSORED, pytest.approx(0.9))
    del data["simulations"]
    with pytest.raises(ConfigError, match=r"is no number that gradients could follow; add \[simulations\]"):
        plan_of(data)
    with pytest.raises(ConfigError, match="a posterior from simulations is no search"):
        calibrate(plan_of(job()))
    with pytest.raises(ResultsError, match="holds no simulations"):
        infer(plan_of(job(simulations={"trained": "nowhere"})))


def test_what_stands_beside_simulations_without_effect_is_said() -> None:
    said = plan_of(job(search={"members": 8}, report={"profile": ["relaxation_time"]})).warnings
    assert "with [simulations] nothing is searched for: [search], report.profile have no effect" in said


# ------------------------------------------------------------------------------------- long validation


@pytest.mark.slow
def test_a_clusters_workers_simulate_the_same_and_killed_ones_cost_no_simulation(tmp_path: Path) -> None:
    """Twice a worker process of Dask's dies, after a part has come back: the numbers are those of one process, and what
    had come back is not computed again."""
    plan = plan_of(job(simulations={"number": 1536}))
    alone = Bank(plan).filled(lambda text: None)
    deaths = 0

    def murder(text: str) -> None:
        nonlocal deaths
        if deaths < 2 and not text.startswith("simulations, 0 "):
            kept = psutil.Process().children(recursive=True)
            victims = [p for p in kept if "spawn_main" in " ".join(p.cmdline())]
            victims[0].kill()
            deaths += 1

    with workers("dask", 2) as crew:
        found = Bank(plan, tmp_path / "simulations").filled(murder, crew)
    assert deaths == 2
    assert same(found, alone)
    assert len(list((tmp_path / "simulations").glob("0*.npz"))) == 6, "each part was written once"


@pytest.mark.slow
def test_the_posterior_of_level_1_is_that_of_nuts() -> None:
    """Two parameters from two numbers: same means, widths and correlation by gradients and from simulations."""
    from test_calibration import job as organic

    by_gradients = calibrate(plan_of(organic(report={"posterior": 300}))).posterior
    assert by_gradients is not None
    found = infer(plan_of(organic(simulations={"number": 4096}, report={"posterior": 4000})))
    ours, theirs = np.log(found.values), np.log(by_gradients.values)
    sd = theirs.std(axis=0)
    error = 4 / np.sqrt(by_gradients.effective)
    print(f"mean off by {(ours.mean(axis=0) - theirs.mean(axis=0)) / sd} sd, widths {ours.std(axis=0) / sd}")
    print(f"correlations {np.corrcoef(ours.T)[0, 1]:.3f}, {np.corrcoef(theirs.T)[0, 1]:.3f}; {error / 4} error of NUTS")
    assert np.all(np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < sd * (0.15 + error))
    assert np.all(np.abs(ours.std(axis=0) / sd - 1) < 0.15 + error)
    assert abs(np.corrcoef(ours.T)[0, 1] - np.corrcoef(theirs.T)[0, 1]) < 0.15


@pytest.mark.slow
def test_simulated_truths_of_populations_have_uniform_ranks_and_are_covered() -> None:
    """Ten devices through three cycles, with censored ones: median and spread of two parameters. Regions hold as many
    truths as the law of so many cases allows, neither fewer nor more but in one of a thousand each: of 2048 cases 93.5
    to 96.4 % at 95 %."""
    device = DEVICE | {
        "relaxation_time": {"distribution": "lognormal", "median": "200 ms", "sigma": 0.2},
        "switching_rate": {"distribution": "lognormal", "median": "10 Hz", "sigma": 0.2},
    }
    pulse = copy.deepcopy(PULSE) | {"ensemble": {"cycles": 3, "cycle_to_cycle": {"relaxation_time": 0.1}}}
    data = job(device=device, experiments={"pulse": pulse}, simulations={"number": 10240})
    data["parameters"] = {
        "device.relaxation_time.median": {"low": "50 ms", "high": "800 ms"},
        "device.relaxation_time.sigma": {"low": 0.05, "high": 0.8},
        "device.switching_rate.median": {"low": "3 Hz", "high": "30 Hz"},
        "device.switching_rate.sigma": {"low": 0.05, "high": 0.8},
    }
    quantiles = {("tau_r", 0.2): "200 ms", ("tau_r", 0.5): "300 ms", ("tau_d", 0.2): "70 ms", ("tau_d", 0.5): "100 ms"}
    data["targets"] = [
        {"measurement": m, "statistic": "quantile", "level": level, "value": value}
        for (m, level), value in quantiles.items()
    ] + [{"measurement": m, "statistic": "censored_share", "value": 0.1} for m in ("tau_r", "tau_d")]
    data["targets"] = [t | {"experiment": "pulse", "of_devices": 10, "source": "planted"} for t in data["targets"]]
    plan = plan_of(data)
    scores, sets = Bank(plan).filled(lambda text: None)
    view = view_of(plan.goals, sets.value, sets.status)
    x, noise = shown(view, plan.goals, sets.value, sets.status)
    network = amortised.train(scores[:8192], x[:8192], noise[:8192], 1)
    t = trust(network, scores[8192:], x[8192:], x[:8192], x[0], 1)
    print("uniform", t.uniform, "covered", dict(zip(np.round(LEVELS, 2).tolist(), t.covered.tolist(), strict=True)))
    assert (t.uniform > 0.001).all()
    inside = np.round(t.covered * t.tested)
    assert (stats.binom.cdf(inside, t.tested, LEVELS) > 0.001).all()
    assert (stats.binom.sf(inside - 1, t.tested, LEVELS) > 0.001).all()
