"""Spread with censored, undefined and failed observations, on results made by hand."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
import xarray as xr
from conftest import reduced

import mcdev
from mcdev.configuration.reference import Reference, unit_chosen
from mcdev.devices.contract import CIRCUIT_CHANNELS
from mcdev.interface import terminal
from mcdev.measurements.contract import FAILED, LEFT_CENSORED, OK, RIGHT_CENSORED, UNDEFINED
from mcdev.results.tree import assemble
from mcdev.simulation.gathering import PointResult
from mcdev.statistics import COLUMNS, compare, fit_records, point_label, to_csv, to_json

KEYS = {"measurement", "unit", "point", "n", "n_ok", "n_censored", "mean", "sem", "sd", "median", "q05", "q95"}
NAN = float("nan")


def made(values: dict[str, Any], status: dict[str, Any], of_mean: dict[str, Any], reference: Any = ()) -> xr.DataTree:
    """The tree of measurements that were never taken: values [point, device, cycle(, entry)], 0.40 and 0.45 K."""
    first = np.asarray(next(iter(values.values())))
    experiment = reduced(
        {
            "kind": "pulse_train",
            "amplitude": "3 V",
            "width": "20 ms",
            "period": "30 ms",
            "count": 3,
            "relaxation": "1 s",
        },
        {"tau": {"kind": "relaxation_time"}, "g": {"kind": "pulse_conductance"}},
        {"devices": first.shape[1], "cycles": first.shape[2]},
    ).with_(
        {
            "sweep.axes": {"device.background_temperature": ["0.40 K", "0.45 K"]},
            "output.reference": list(reference),
            "output.quantiles": [0.5],
        }
    )
    points = []
    names = [*CIRCUIT_CHANNELS, "temperature"]
    for p, (_, variant) in enumerate(experiment.points()):
        timeline = variant.protocol.timeline()
        course = np.zeros((first.shape[2], timeline.samples))
        points.append(
            PointResult(
                timeline=timeline,
                parameters={name: np.ones(first.shape[1]) for name in experiment.device.parameters()},
                values={name: np.asarray(v, float)[p] for name, v in values.items()},
                status={name: np.asarray(s, np.int8)[p] for name, s in status.items()},
                of_mean={name: np.asarray(m, float)[p] for name, m in of_mean.items()},
                mean=dict.fromkeys(names, course),
                sem=dict.fromkeys(names, course),
                quantiles=dict.fromkeys(names, course[:, None]),
                trajectories=dict.fromkeys(names, course[:, None])
                | {"position": np.zeros((len(course), 1, timeline.samples, variant.device.parts))},
                profile={"density": np.zeros((*course.shape, 100))},
                impedance=np.empty((*first.shape[1:3], 0), complex),
                intact=np.ones(first.shape[1:3], bool),
            )
        )
    return assemble(experiment, points, {})


DEVICES, CYCLES = 5, 2
TAU = np.array(
    [
        [[1.0, 3.0], [2.0, 2.0], [4.0, 9.0], [NAN, 9.0], [0.1, 2.0]],
        [[9.0, 9.0], [9.0, 9.0], [9.0, 9.0], [NAN, NAN], [5.0, NAN]],
    ]
)
R, L, U, F = RIGHT_CENSORED, LEFT_CENSORED, UNDEFINED, FAILED
STATUS = np.array(
    [
        [[OK, OK], [OK, OK], [OK, R], [U, R], [L, OK]],
        [[R, R], [R, R], [R, R], [U, F], [OK, F]],
    ]
)
OF_MEAN = np.array(
    [
        [[2.0, 1.9, 2.1, 2.0], [3.0, 2.9, 3.1, 3.0]],
        [[NAN, 1.0, 1.0, 1.0], [NAN, 1.0, 1.0, 1.0]],
    ]
)
G = np.broadcast_to(np.array([0.1, 0.2, 0.3]), (2, DEVICES, CYCLES, 3)) + np.arange(DEVICES)[:, None, None] * 0.01


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    references = [
        {"measurement": "tau", "value": "2.5 s", "source": "a"},
        {"measurement": "tau", "value": "1500 ms", "source": "b", "statistic": "median"},
        {"measurement": "tau", "value": "> 0", "source": "c", "statistic": "mean_response"},
        {"measurement": "tau", "value": "1 s", "source": "d", "statistic": "median", "point": 2},
        {"measurement": "g", "entry": 3, "value": 0.25, "source": "e", "point": 2},
    ]
    g_of_mean = np.ones((2, CYCLES, 4, 3))
    values, status = {"tau": TAU, "g": G}, {"tau": STATUS, "g": np.zeros(G.shape)}
    return made(values, status, {"tau": OF_MEAN, "g": g_of_mean}, references)


@pytest.fixture(scope="module")
def records(tree: xr.DataTree) -> list[dict[str, Any]]:
    return mcdev.summarise(tree)


def record(records: list[dict[str, Any]], label: str, point: int = 0) -> dict[str, Any]:
    return [r for r in records if r["measurement"] == label][point]


def test_one_record_for_each_entry_and_point(records: list[dict[str, Any]]) -> None:
    assert [(r["measurement"], r["point"]["background_temperature"]) for r in records] == [
        *[("tau", "0.4 K"), ("tau", "0.45 K")],
        *[(f"g[{n}]", t) for t in ("0.4 K", "0.45 K") for n in (1, 2, 3)],
    ]


def test_counts(records: list[dict[str, Any]]) -> None:
    counts = ("n", "n_ok", "n_censored", "n_undefined", "n_failed")
    assert [record(records, "tau")[key] for key in counts] == [10, 6, 3, 1, 0]
    assert [record(records, "tau", 1)[key] for key in counts] == [10, 1, 6, 1, 2]


def test_mean_and_spread_of_the_uncensored(records: list[dict[str, Any]]) -> None:
    """Over 1 3 2 2 4 2; the standard error is of the devices' means 2 2 4 2."""
    found = record(records, "tau")
    values = [1.0, 3.0, 2.0, 2.0, 4.0, 2.0]
    assert found["unit"] == "s"
    assert found["mean"] == pytest.approx(np.mean(values))
    assert found["sd"] == pytest.approx(np.std(values, ddof=1))
    assert found["cv"] == pytest.approx(np.std(values, ddof=1) / np.mean(values))
    assert found["sem"] == pytest.approx(np.std([2.0, 2.0, 4.0, 2.0], ddof=1) / 2)


def test_censored_observations_count_in_the_quantiles(records: list[dict[str, Any]]) -> None:
    """In order: <0.1 1 2 2 2 3 4 >9 >9. The median is a value; the ends fall among the bounds."""
    found = record(records, "tau")
    assert found["median"] == 2.0
    assert found["q05"] is None
    assert found["q95"] is None


def test_a_median_among_the_censored_is_unknown(records: list[dict[str, Any]]) -> None:
    """Six of seven are beyond nine: the uncensored one alone would give a median of 5."""
    found = record(records, "tau", 1)
    assert found["median"] is None
    assert found["q05"] == 5.0
    assert (found["mean"], found["sem"], found["sd"]) == (5.0, None, None)


def test_cycles_of_one_device_are_not_independent() -> None:
    """Twenty cycles that repeat exactly what the device did leave the standard error what it was."""
    one = np.array([1.0, 2.0, 4.0])[None, :, None] * np.ones((2, 3, 1))
    many = np.repeat(one, 20, axis=2)

    def sem(values: np.ndarray) -> float:
        g = np.ones((*values.shape, 3))
        tree = made(
            {"tau": values, "g": g},
            {"tau": np.zeros(values.shape), "g": np.zeros(g.shape)},
            {"tau": np.ones((2, values.shape[2], 2)), "g": np.ones((2, values.shape[2], 2, 3))},
        )
        found: float = mcdev.summarise(tree)[0]["sem"]
        return found

    assert sem(one) == pytest.approx(np.std([1, 2, 4], ddof=1) / np.sqrt(3))
    assert sem(many) == pytest.approx(sem(one))


def test_the_mean_response_and_its_jackknife_error(records: list[dict[str, Any]]) -> None:
    """Mean over cycles of replicate 0; error sqrt((n-1)/n Σ (x - mean)²) over the leave-one-group-out means."""
    found = record(records, "tau")
    assert found["mean_response"] == 2.5
    assert found["mean_response_sem"] == pytest.approx(np.sqrt(2 / 3 * (0.1**2 + 0.1**2)))
    assert record(records, "tau", 1)["mean_response"] is None


def test_entries_of_a_list(records: list[dict[str, Any]]) -> None:
    assert record(records, "g[2]")["mean"] == pytest.approx(0.22)
    assert record(records, "g[3]", 1)["median"] == pytest.approx(0.32)
    assert record(records, "g[1]")["unit"] == "1"


def test_json_is_strict_and_complete(records: list[dict[str, Any]]) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    again = json.loads(to_json(records), parse_constant=refuse)
    assert again == records
    for r in again:
        assert set(r) >= KEYS
        assert set(r["point"]) == {"background_temperature"}
        assert isinstance(r["n"], int)


def test_csv(records: list[dict[str, Any]]) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(records))))
    assert tuple(rows[0]) == COLUMNS
    assert set(COLUMNS) >= KEYS
    assert len(rows) == len(records)
    assert rows[0]["point"] == "background_temperature = 0.4 K"
    assert (rows[1]["median"], rows[1]["mean"]) == ("", "5.0")
    assert float(rows[0]["mean"]) == record(records, "tau")["mean"]


def test_published_numbers_beside_ours(tree: xr.DataTree, records: list[dict[str, Any]]) -> None:
    found = compare(tree)
    first = record(records, "tau")
    assert [f["source"] for f in found] == list("abcde")
    assert [f["what"] for f in found] == ["tau", "tau", "tau", "tau", "g[3]"]
    assert [f["published"] for f in found] == [2.5, 1500.0, "> 0", 1.0, 0.25]
    assert [f["unit"] for f in found] == ["s", "ms", "s", "s", "1"]  # as theirs is written
    assert found[0]["ours"] == first["mean"]
    assert found[0]["error"] == first["sem"]
    assert (found[1]["ours"], found[1]["error"]) == (2000.0, None)
    assert (found[2]["ours"], found[2]["error"]) == (2.5, first["mean_response_sem"])
    assert found[3]["ours"] is None
    assert found[4]["ours"] == pytest.approx(0.32)
    assert found[4]["point"] == {"background_temperature": "0.45 K"}


def test_a_measurement_is_shown_in_the_unit_of_its_published_value(records: list[dict[str, Any]]) -> None:
    """Not in that of a coefficient, nor of a number that is a share; pure numbers stay so."""
    given = [
        Reference(measurement="tau", value=0.3, source="a", statistic="sigma_ln_between"),
        Reference(measurement="tau", value="> 0", source="b"),
        Reference(measurement="tau", value="2500 ms", source="c"),
        Reference(measurement="tau", value="1 s", source="d"),
        Reference(measurement="ppf", value="24 %", source="e"),
    ]
    assert unit_chosen(given, "tau", "s") == "ms"
    assert unit_chosen(given, "delay", "s") == "s"
    assert unit_chosen(given, "ppf", "1") == "1"
    tau = record(records, "tau")
    assert terminal._prefixed(tau, given) == (" (ms)", pytest.approx(1e-3))
    assert terminal._prefixed(tau) == (" (s)", 1.0)


def test_points_and_fits(tree: xr.DataTree) -> None:
    assert point_label(tree, 1) == {"background_temperature": "0.45 K"}
    assert fit_records(tree) == []


def test_nothing_at_all_was_measured() -> None:
    """Every realisation broke down: counts, and no number that looks like a result."""
    tau, g = np.full((2, 1, 1), NAN), np.full((2, 1, 1, 3), NAN)
    tree = made(
        {"tau": tau, "g": g},
        {"tau": np.full(tau.shape, FAILED), "g": np.full(g.shape, FAILED)},
        {"tau": np.full((2, 1, 2), NAN), "g": np.full((2, 1, 2, 3), NAN)},
    )
    for r in mcdev.summarise(tree):
        assert (r["n"], r["n_ok"], r["n_failed"]) == (1, 0, 1)
        assert {r[key] for key in ("mean", "sem", "sd", "cv", "median", "q05", "q95", "mean_response")} == {None}
    json.loads(to_json(mcdev.summarise(tree)))
