"""Gradients of hopping ensembles: against a deterministic density, against differences, and against being wrong."""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from conftest import MEAN, compiled, lane_keys, reduced

import mcdev
from mcdev.calibration import critic as critic_module
from mcdev.calibration import estimator
from mcdev.calibration.critic import Contributions, Estimate, estimate
from mcdev.calibration.estimator import Point, contribute, direction, point_of, score_of, stack
from mcdev.configuration.experiment import Experiment
from mcdev.simulation import ensemble

FAST: dict[str, Any] = {"kind": "pulse_train", "amplitude": "4 V", "width": "0.0205 s", "period": "0.041 s"}
FAST |= {"samples_per_pulse": 8, "samples_per_gap": 4}
Parameters = dict[str, tuple[float, str]]
DEVICE: Parameters = {
    "device.interfacial_energy": (4.5, ""),
    "device.drift": (9.0, ""),
    "device.background_temperature": (0.45, " K"),
    "device.friction": (4.0, ""),
}
SOURCE: Parameters = {"protocol.amplitude": (4.0, " V"), "protocol.width": (0.0205, " s")}


def moved(experiment: Experiment, key: str, value: float, unit: str) -> Experiment:
    return experiment.with_({key: f"{value!r}{unit}" if unit else value})


def tangents(experiment: Experiment, parameters: Parameters, count: int) -> tuple[Point, Point]:
    """The point of ``count`` realisations, and its directions by differences of ±1 %."""
    at = point_of(experiment, count)
    ways = []
    for key, (value, unit) in parameters.items():
        low, high = (point_of(moved(experiment, key, value * (1 + s), unit), count) for s in (-0.01, 0.01))
        ways.append(direction(at, low, high, 0.02 * value))
    return at, stack(ways)


def gradient(
    experiment: Experiment, parameters: Parameters, weights: np.ndarray, count: int, seed: int = 1, horizon: Any = 8
) -> Estimate:
    at, ways = tangents(experiment, parameters, count)
    return estimate(run(experiment, at, ways, weights, seed)[0], horizon)


def run(experiment: Experiment, at: Point, ways: Point, weights: np.ndarray, seed: int) -> tuple[Contributions, float]:
    return contribute(experiment, at, ways, {"conductance": weights}, seed, threads=1)


def ends_of_pulses(experiment: Experiment, numbers: tuple[int, ...]) -> np.ndarray:
    """Weights [output, sample] of the mean conductance over the last quarter of pulses."""
    timeline = experiment.protocol.timeline()
    ends = [timeline.windows["pulse"][number - 1][1] for number in numbers]
    return np.stack([np.isin(np.arange(timeline.samples), [end - 2, end - 1]) / 2.0 for end in ends])


def differences(
    experiment: Experiment, parameters: Parameters, weights: np.ndarray, share: float, groups: int
) -> tuple[np.ndarray, np.ndarray]:
    """Central differences of the default ensemble with common random numbers, and their standard errors."""

    def read(point: Experiment, seed: int) -> np.ndarray:
        changes = {"ensemble.seed": seed, "ensemble.devices": 256, "output.trajectories": 256}
        result = ensemble.simulate(point.with_(changes), threads=1)[0]
        return result.trajectories["conductance"][0].astype(float) @ weights.T

    found = []
    for key, (value, unit) in parameters.items():
        low, high = (moved(experiment, key, value * (1 + sign * share), unit) for sign in (-1, 1))
        slopes = [(read(high, seed) - read(low, seed)) / (2 * share * value) for seed in range(1001, 1001 + groups)]
        found.append(np.concatenate(slopes))
    every = np.stack(found, axis=-1)
    return every.mean(axis=0), every.std(axis=0, ddof=1) / np.sqrt(len(every))


def distance(found: Estimate, truth: np.ndarray, error: Any = 0.0) -> np.ndarray:
    return (found.gradient - truth) / np.hypot(found.gradient_se, error)


# ------------------------------------------------------------------------------- against a density

WELLS: dict[str, Any] = {"particles": 2, "interfacial_energy": 0.0, "heating": 0.0, "friction": 1.0}
WELLS |= {"pinning_period": 1.0, "pinning_phase": "1.5707963267948966 rad", "initial_split": 1.0}
WELLS |= {"background_temperature": "0.25 K", "drift": 0.3, "tunnelling_length": 0.5}
WELL_PARAMETERS: Parameters = {
    "device.background_temperature": (0.25, " K"),
    "device.drift": (0.3, ""),
    "device.friction": (1.0, ""),
    "device.pinning_period": (1.0, ""),
    "device.tunnelling_length": (0.5, ""),
    "protocol.voltage": (1.0, " V"),
}
HOLD = {"kind": "hold", "voltage": "1 V", "duration": "1 s", "samples": 24}


def double_well(theta: float, drift: float, friction: float, period: float, length: float, voltage: float) -> float:
    """Mean g over the last eighth of a time 1/κ for two particles that start in the left of two wells,
    U = ½ cos(2πx/R_p), from their Fokker-Planck equation.

    Two thousandths of the gap a cell; rates between cells as Scharfetter and Gummel's (1969,
    doi:10.1109/T-ED.1969.16566), Crank-Nicolson in time.
    """
    cells = 400
    edges = np.linspace(-1, 1, cells + 1)
    x, dx = 0.5 * (edges[1:] + edges[:-1]), 2 / cells
    u = 0.5 * np.cos(2 * np.pi * x / period)
    density = np.where(x < 0, np.exp(-u / theta), 0)
    density /= density.sum()
    jump = np.diff(u - drift * voltage * x) / theta
    rate = theta / friction / dx**2
    right, left = rate * bernoulli(jump), rate * bernoulli(-jump)
    diagonal = -np.concatenate([right, [0]]) - np.concatenate([[0], left])
    generator = scipy.sparse.diags([right, diagonal, left], [-1, 0, 1], format="csc")
    steps = 800
    one = scipy.sparse.identity(cells, format="csc")
    solve = scipy.sparse.linalg.factorized((one - generator * (0.5 / steps)).tocsc())
    lower, upper = np.minimum(x[:, None], x), np.maximum(x[:, None], x)
    total = sum(np.exp((gap - 2 / 3) / length) for gap in (1 + lower, upper - lower, 1 - upper))
    mean = 0.0
    for k in range(steps):
        before = density
        density = solve(before + generator @ before * (0.5 / steps))
        if k >= steps * 7 // 8:
            middle = 0.5 * (before + density)
            mean += float(middle @ (3 / total) @ middle) / (steps / 8)
    return mean


def bernoulli(z: np.ndarray) -> np.ndarray:
    return np.where(np.abs(z) < 1e-8, 1 - z / 2, z / np.expm1(np.where(z == 0, 1, z)))


@functools.cache
def in_two_wells() -> tuple[Estimate, Estimate, np.ndarray, float, np.ndarray]:
    experiment = reduced(HOLD, **WELLS)
    weights = np.zeros((1, 24))
    weights[0, -3:] = 1 / 3
    at, ways = tangents(experiment, WELL_PARAMETERS, 1024)
    contributions, _ = run(experiment, at, ways, weights, 3)
    values = [value for value, _ in WELL_PARAMETERS.values()]
    slopes = []
    for k, value in enumerate(values):
        low, high = (double_well(*[v + (i == k) * s * 0.01 * value for i, v in enumerate(values)]) for s in (-1, 1))
        slopes.append((high - low) / (0.02 * value))
    plain = contributions.tangent.mean(axis=-1)[0]
    return estimate(contributions), estimate(contributions, None), np.array(slopes), double_well(*values), plain


@pytest.mark.slow
def test_two_wells_against_their_density() -> None:
    """Kramers escape: every derivative of the mean conductance, within three standard errors of the Fokker-Planck
    equation's; with and without the critic."""
    critic, unbiased, slopes, mean, _ = in_two_wells()
    assert abs(critic.value[0] - mean) < 3 * critic.value_se[0]
    for found in (critic, unbiased):
        assert np.all(np.abs(distance(found, slopes)) < 3), distance(found, slopes)
    assert np.sum(np.abs(slopes) > 5 * critic.gradient_se[0]) >= 4, "too noisy to tell anything"


def test_tangents_alone_are_wrong_in_two_wells() -> None:
    """The planted bug: without the score nothing but a motion inside the wells is left."""
    critic, _, slopes, _, plain = in_two_wells()
    wrong = np.abs(plain - slopes) / critic.gradient_se[0]
    assert np.all(wrong[:3] > 5), wrong


@pytest.mark.parametrize("split", ["equilibrium", 0.5])
def test_rested_state_follows_the_parameters(split: Any) -> None:
    """Derivatives of E[g] at rest by θ_0 and the wells' depth, against quadrature."""
    names = {"background_temperature": (0.25, " K"), "interfacial_energy": (1.0, "")}
    table = WELLS | {"initial_split": split, "pinning_phase": "1.2 rad", "interfacial_energy": 1.0}
    experiment = reduced({"kind": "hold", "voltage": "0 V", "duration": "1 us", "samples": 1}, **table)
    at, ways = tangents(experiment, {f"device.{name}": value for name, value in names.items()}, 2048)
    whole, towards = estimator._of_group(score_of(experiment), at, ways, slice(0, 2048), 2048, np.float32)
    leaves, fixed = estimator._split(whole)
    keys = lane_keys(2048, 5)
    carry, slopes, _ = compiled(estimator._begin)(fixed, leaves, towards, keys)
    g, g_slope, score = (np.asarray(a, float) for a in (carry.state.g, slopes.state.g, slopes.state.score))
    every = g_slope + (g - g.mean()) * score

    def mean(theta: float, depth: float) -> float:
        x = np.linspace(-1, 1, 801)[:-1] + 1 / 800
        wells = np.exp(-(((np.abs(x) - 0.85) / 0.1) ** 2))
        weight = np.exp(-(0.5 * np.sin(2 * np.pi * x + 1.2) - depth * wells) / theta)
        sides = [weight * (x < 0), weight * (x > 0)] if split == 0.5 else [weight, weight]
        first, second = (side / side.sum() for side in sides)
        lower, upper = np.minimum(x[:, None], x), np.maximum(x[:, None], x)
        total = sum(np.exp((gap - 2 / 3) / 0.5) for gap in (1 + lower, upper - lower, 1 - upper))
        return float(first @ (3 / total) @ second)

    assert abs(g.mean() - mean(0.25, 1.0)) < 3 * g.std() / np.sqrt(2048)
    truth = [
        (mean(0.2525, 1.0) - mean(0.2475, 1.0)) / 0.005,
        (mean(0.25, 1.01) - mean(0.25, 0.99)) / 0.02,
    ]
    error = every.std(axis=1) / np.sqrt(2048)
    assert np.all(np.abs(every.mean(axis=1) - truth) < 3 * error), (every.mean(axis=1), truth, error)
    assert np.all(np.abs(truth) > 5 * error), "too noisy to tell anything"


# ------------------------------------------------------------------------------- against differences


@functools.cache
def fast_train() -> tuple[Experiment, np.ndarray, Point, Point, Contributions]:
    experiment = reduced(FAST | {"count": 4})
    weights = ends_of_pulses(experiment, (1, 4))
    at, ways = tangents(experiment, DEVICE | SOURCE, 1024)
    contributions, left_out = run(experiment, at, ways, weights, 1)
    assert left_out == 0
    return experiment, weights, at, ways, contributions


@pytest.mark.slow
def test_train_against_differences() -> None:
    """Pulses 1 and 4: parameters of the device, amplitude and width."""
    experiment, weights, _, _, contributions = fast_train()
    found = estimate(contributions)
    slopes, errors = differences(experiment, DEVICE | SOURCE, weights, 0.08, 3)
    assert np.all(np.abs(distance(found, slopes, errors)) < 3), distance(found, slopes, errors)
    # The planted bug: the tangents alone, however good they look after one pulse, are far off after four.
    plain = contributions.tangent.mean(axis=-1)[1]
    assert np.all(np.abs(plain - slopes[1]) > 5 * np.hypot(found.gradient_se, errors)[1])


@pytest.mark.slow
def test_behind_a_resistor_at_negative_voltage() -> None:
    experiment = reduced(FAST | {"amplitude": "-5 V", "count": 3}).with_(
        {"circuit": {"kind": "series_resistor", "resistance": "2 ohm"}}
    )
    parameters = DEVICE | {"protocol.amplitude": (-5.0, " V"), "circuit.resistance": (2.0, " ohm")}
    weights = ends_of_pulses(experiment, (3,))
    found = gradient(experiment, parameters, weights, 768)
    slopes, errors = differences(experiment, parameters, weights, 0.1, 3)
    assert np.all(np.abs(distance(found, slopes, errors)) < 3), distance(found, slopes, errors)
    assert np.sum(np.abs(slopes) > 5 * found.gradient_se) >= 4, "too noisy to tell anything"


@pytest.mark.slow
def test_realisations_are_those_of_the_ensemble() -> None:
    """The same as an ensemble of the same scheme computes, whatever the number of realisations beside them."""
    experiment, weights, _, _, contributions = fast_train()
    at, ways = tangents(experiment, DEVICE | SOURCE, 300)
    fewer, _ = run(experiment, at, ways, weights, 1)
    for few, many in zip(fewer, contributions, strict=True):
        np.testing.assert_array_equal(few, many[..., :300])
    changes = {"device.integrator": {"scheme": "euler_maruyama"}, "ensemble.devices": 256, "output.trajectories": 256}
    result = ensemble.simulate(experiment.with_({"ensemble.seed": 1} | changes), threads=1)[0]
    g = result.trajectories["conductance"][0].astype(float) @ weights.T
    np.testing.assert_allclose(contributions.value.sum(axis=1)[:, :256], g.T, rtol=1e-3)


# ------------------------------------------------------------------------------- the estimate


def chain(rng: np.random.Generator, realisations: int, windows: int = 24) -> Contributions:
    """x' = 0.9 x + p + ξ, and y = x at the end: dE[y]/dp = Σ 0.9^k, and the score of a step is ξ."""
    xi = rng.standard_normal((windows, realisations))
    x = np.zeros((windows + 1, realisations))
    for k in range(windows):
        x[k + 1] = 0.9 * x[k] + xi[k]
    feature = np.stack([x[:-1], *rng.standard_normal((7, windows, realisations))], axis=1)
    score = np.concatenate([np.zeros((1, 1, realisations)), xi[:, None]])
    value = np.zeros((1, windows, realisations))
    value[0, -1] = x[-1]
    return Contributions(value, np.zeros((1, 1, realisations)), score, feature)


CHAIN = (1 - 0.9**24) / 0.1


@pytest.mark.parametrize("horizon", [4, 8, None])
@pytest.mark.parametrize("realisations", [32, 256])
def test_estimate_is_unbiased_and_its_error_honest(horizon: int | None, realisations: int) -> None:
    """On a chain that the critic's features describe exactly: replicate runs scatter about the true derivative, as
    widely as the standard error says."""
    rng = np.random.default_rng(1)
    runs = [estimate(chain(rng, realisations), horizon) for _ in range(100)]
    gradients = np.array([run.gradient[0, 0] for run in runs])
    assert abs(gradients.mean() - CHAIN) < 3 * gradients.std() / np.sqrt(100)
    ratio = gradients.std() / np.mean([run.gradient_se[0, 0] for run in runs])
    assert 0.8 < ratio < 1.25, ratio


def test_baselines_that_saw_the_realisation_are_biased(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: residuals of the fit itself in place of those that leave one out."""
    honest = critic_module._fit

    def in_sample(features: np.ndarray, values: np.ndarray) -> Any:
        fit = honest(features, values)
        surprise = values - fit.design @ (fit.inverse @ (fit.design.T @ values))
        return fit._replace(prediction=values - surprise, surprise=surprise)

    monkeypatch.setattr(critic_module, "_fit", in_sample)
    rng = np.random.default_rng(1)
    gradients = np.array([estimate(chain(rng, 32), 8).gradient[0, 0] for _ in range(100)])
    assert abs(gradients.mean() - CHAIN) > 5 * gradients.std() / np.sqrt(100)


@pytest.mark.slow
def test_standard_error_against_replicates() -> None:
    """Of the train: the scatter of sixteen independent sets of 64 realisations over the formula, which counts the
    critic's own fit; without that the scatter is much larger than said."""
    _, _, _, _, contributions = fast_train()
    sets = [estimate(Contributions(*(part[..., k::16] for part in contributions))) for k in range(16)]
    scatter = np.std([one.gradient for one in sets], axis=0, ddof=1)
    said = np.sqrt(np.mean([one.gradient_se**2 for one in sets], axis=0))
    ratio = np.exp(np.mean(np.log(scatter / said)))
    assert 0.75 < ratio < 1.3, scatter / said


def test_broken_realisations_are_left_out() -> None:
    experiment, weights, _, _, contributions = fast_train()
    at, ways = tangents(experiment, DEVICE | SOURCE, 256)
    theta = np.array(ways.devices.theta_0)
    theta[:, 7] = np.nan
    broken = ways._replace(devices=eqx.tree_at(lambda d: d.theta_0, ways.devices, theta))
    rest, left_out = run(experiment, at, broken, weights, 1)
    assert left_out == 1 / 256
    np.testing.assert_array_equal(rest.value, np.delete(contributions.value[..., :256], 7, axis=-1))
    np.testing.assert_array_equal(rest.score, np.delete(contributions.score[..., :256], 7, axis=-1))


def test_what_has_no_such_gradient_says_so() -> None:
    hold = {"protocol": HOLD, "measurements": MEAN}
    with pytest.raises(ValueError, match="common random numbers"):
        point_of(reduced(HOLD, interaction=0.5), 64)
    with pytest.raises(ValueError, match="of kind 'omiec_compact' have no score"):
        point_of(mcdev.build({"name": "other", "device": {"preset": "device_1s"}} | hold), 64)
    with pytest.raises(ValueError, match="too few"):
        estimate(chain(np.random.default_rng(1), 8))
