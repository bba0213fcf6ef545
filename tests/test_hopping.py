"""The hopping view: rates against quadrature, hops against the master equation, devices against the other views."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import cumulative_simpson
from scipy.interpolate import CubicSpline
from scipy.linalg import expm
from scipy.stats import chi2, ks_2samp

import mcdev
from mcdev.configuration.experiment import build, load
from mcdev.devices.diffusive_hopping import DiffusiveHopping
from mcdev.devices.landscape import InterfacialWells, Landscape, PeriodicPinning
from mcdev.devices.milestones import chain, forgetting, hops_at_equilibrium, lengths, milestones
from mcdev.devices.nanoparticles import Nanoparticles
from mcdev.devices.passages import passages
from mcdev.integrators import hops
from mcdev.integrators.hops import Crowding, hop
from mcdev.integrators.interval import Interval
from mcdev.integrators.noise import realisation_key
from mcdev.schema import typical
from mcdev.simulation.trial import trials

pytestmark = pytest.mark.usefixtures("double")

PRINTED = (4.5, 0.1, 0.15, 0.0)  # w_i, R_I, R_p, φ of Wang et al. 2017
REAL = (1.458, 0.2309, 0.0764, np.pi / 2)


rates_of = eqx.filter_jit(chain)
at_rest = eqx.filter_jit(lambda batch, key: batch.rest(key))


def landscape(wells: tuple[float, float, float, float]) -> tuple[Landscape, int]:
    depth, width, period, phase = (np.full(1, value) for value in wells)
    found = Landscape(InterfacialWells.of(depth, np.full(1, 0.85), width), PeriodicPinning.of(period, phase))
    return found, int(np.ceil(2.0 / wells[2])) + 1


def first_passage(of: Landscape, pull: float, theta: float, y: np.ndarray) -> Any:
    """Mean times from y[i] to y[j] > y[i], wall on the left: (1/θ) ∫ e^E ∫ e^-E, on a fine grid."""
    x = np.linspace(-1.0, 1.0, 200_001)
    e = (np.asarray(of.single_particle_energy(jnp.asarray(x)[:, None]))[:, 0] - pull * x) / theta
    below = cumulative_simpson(np.exp(e.min() - e), x=x, initial=0.0)
    time = CubicSpline(x, cumulative_simpson(np.exp(e - e.min()) * below, x=x, initial=0.0))
    return lambda i, j: (time(y[j]) - time(y[i])) / theta


def check_first_passages(wells: tuple[float, float, float, float], theta: float, pull: float, parts: int = 1) -> None:
    of, most = landscape(wells)
    found = milestones(of, most, parts)
    there = np.asarray(found.there)[:, 0]
    rates = rates_of(found, jnp.full(1, pull), jnp.full(1, theta))
    right, left = (np.asarray(r)[there, 0] for r in (rates.right, rates.left))
    y = np.asarray(found.at)[there, 0]
    exact = first_passage(of, pull, theta, y)
    for i, j in ((0, 1), (0, y.size - 1), (y.size // 2, y.size - 2), (y.size // 2, y.size // 2 + 2)):
        # Mean time of a birth-death chain from i to j by its own sum, which cancels nothing.
        total, onward = 0.0, 0.0
        for k in range(j):
            onward = (1.0 + left[k] * onward) / right[k]
            total += onward if k >= i else 0.0
        assert total == pytest.approx(float(exact(i, j)), rel=1e-6), f"first passage from {i} to {j}"


@pytest.mark.parametrize(("wells", "theta", "pull"), [
    (PRINTED, 0.45, 27.0), (PRINTED, 0.45, 0.0), (PRINTED, 0.3, -9.0), (REAL, 0.0891, 4.142), (REAL, 0.0891, 18.0),
    (REAL, 0.3, 0.0),
])  # fmt: skip
@pytest.mark.parametrize("parts", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_mean_first_passages_are_those_of_quadrature(
    wells: tuple[float, float, float, float], theta: float, pull: float, parts: int
) -> None:
    """Uphill and downhill; of escapes alone a lost factor in W would not be seen."""
    check_first_passages(wells, theta, pull, parts)


@pytest.mark.parametrize("wells", [PRINTED, REAL])
def test_weights_and_rates_are_in_balance(wells: tuple[float, float, float, float]) -> None:
    of, most = landscape(wells)
    found = milestones(of, most, 1)
    for theta, pull in ((0.094, 4.1), (0.45, 20.0)):
        rates = rates_of(found, jnp.full(1, pull), jnp.full(1, theta))
        weight, there = np.asarray(rates.log_weight)[:, 0], np.asarray(found.there)[:, 0]
        right, left = np.asarray(rates.right)[:, 0], np.asarray(rates.left)[:, 0]
        onward, back = there[:-1] & there[1:], there[1:] & there[:-1]
        flow = np.log(right[:-1][onward] / left[1:][back]) + weight[:-1][onward] - weight[1:][back]
        assert np.abs(flow).max() < 1e-12
        x = np.linspace(-1.0, 1.0, 200_001)
        e = (np.asarray(of.single_particle_energy(jnp.asarray(x)[:, None]))[:, 0] - pull * x) / theta
        whole = np.log(np.trapezoid(np.exp(e.min() - e), x)) - e.min()
        assert np.logaddexp.reduce(weight[there]) == pytest.approx(whole, abs=1e-8)  # the h add up to one
        hops = (np.exp(weight - whole) * (right + left))[there].sum()
        assert hops_at_equilibrium(found, pull, theta) == pytest.approx(hops, rel=1e-7)
        assert float(jnp.sum(lengths(found, jnp.full(1, theta)))) == pytest.approx(2.0, abs=1e-9)
        assert np.asarray(rates.within)[there, -1, 0] == pytest.approx(1.0, abs=1e-12)


def test_hops_forget_where_barriers_are_high() -> None:
    """1 - cv² of exit times over the pinning alone, worked out independently, and its fall with more milestones."""
    of = milestones(*landscape((0.0, 0.1, 0.15, np.pi / 2)), 1)
    critical = np.pi / 0.15
    table = {(0.0, 0.2): 0.020, (0.5, 0.094): 0.044, (0.0, 0.3): 0.079, (0.5, 0.141): 0.117, (0.5, 0.3): 0.265}
    for (tilt, theta), expected in table.items():
        off = [forgetting(of, parts, tilt * critical, theta) for parts in (1, 2, 4)]
        assert off[0] == pytest.approx(expected, rel=0.05)
        assert off[1] < 0.6 * off[0]
        assert off[2] < 0.3 * off[1]


def test_a_frozen_device_forgets_and_is_followed() -> None:
    """Barriers of thousands of k_B T, and slopes: neither overflows, and both say what they are."""
    of = milestones(*landscape((0.0, 0.1, 0.15, np.pi / 2)), 1)
    for theta in (3e-4, 3e-3):
        assert forgetting(of, 1, 0.0, theta) < 1e-9
    assert forgetting(of, 1, 1e4, 0.1) > 0.9
    device, hot = (
        experiment("diffusive_hopping", {"background_temperature": f"{kelvin} K"}).device for kelvin in (0.001, 30)
    )
    assert isinstance(device, DiffusiveHopping)
    assert isinstance(hot, DiffusiveHopping)
    assert device.pace(1.0).coupling > 1e20
    assert hot.pace(0.0).coupling * hot.hop_rate(0.0) * hot.particles == pytest.approx(1e4)


def test_a_lane_that_hops_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and its neighbour does not know of it."""
    monkeypatch.setattr(hops, "MOST", np.uint32(1000))
    key, clock = lanes(2)
    n = jnp.zeros((3, 2)).at[1].set(1.0)
    right, left = (jnp.broadcast_to(jnp.asarray(r)[:, None], (3, 2)) for r in ((1.0, 1.0, 0.0), (0.0, 1.0, 1.0)))
    end, followed = hop(n, right, left, None, jnp.array([1e6, 2.0]), key, clock)
    assert followed.tolist() == [False, True]
    alone, reached = hop(n, right, left, None, jnp.array([2.0, 2.0]), key, clock)
    assert reached.all()
    assert np.array_equal(end[:, 1], alone[:, 1])


def lanes(count: int) -> tuple[Any, Any]:
    indices = jnp.arange(count, dtype=jnp.uint32)
    return realisation_key(jnp.uint32(5), indices, jnp.uint32(0)), jnp.zeros(count, jnp.uint32)


def test_one_particle_follows_its_master_equation() -> None:
    """Where it is after a time, against exp(Q t), by chi-square; rates over four decades."""
    count, sites = 4096, 5
    rng = np.random.default_rng(2)
    right, left = (10.0 ** rng.uniform(-2, 2, sites) for _ in range(2))
    right[-1], left[0] = 0.0, 0.0
    q = np.diag(right[:-1], 1) + np.diag(left[1:], -1)
    q -= np.diag(q.sum(axis=1))
    key, clock = lanes(count)
    wide = [jnp.broadcast_to(jnp.asarray(r)[:, None], (sites, count)) for r in (right, left)]
    n = jnp.zeros((sites, count)).at[2].set(1.0)
    for duration in (0.003, 0.3):
        end = np.asarray(hop(n, *wide, None, jnp.full(count, duration), key, clock)[0])
        assert np.array_equal(end.sum(axis=0), np.ones(count))
        expected = count * expm(q * duration)[2]
        seen = end.sum(axis=1)
        used = expected > 5
        statistic = np.sum((seen - expected)[used] ** 2 / expected[used])
        assert chi2.sf(statistic, used.sum() - 1) > 1e-3, (seen, expected)


def test_particles_that_push_each_other_reach_their_equilibrium() -> None:
    """Three particles on four sites: every occupation as often as its Boltzmann weight says, energy of the overfull
    clusters included; the moves of one particle alone are in balance."""
    count, sites, particles = 8192, 4, 3
    energy = np.array([0.0, 0.7, 0.5, -0.3])
    barrier = np.array([1.5, 1.0, 1.2])
    right, left = np.zeros(sites), np.zeros(sites)
    right[:-1], left[1:] = np.exp(energy[:-1] - barrier), np.exp(energy[1:] - barrier)
    share = np.array([[1.0, 0.4, 0.0, 0.0], [0.0, 0.0, 0.5, 1.0]])
    push, content = np.array([1.5, 0.8]), np.array([0.6, 1.0])

    def column(values: np.ndarray) -> Any:
        return jnp.broadcast_to(jnp.asarray(values)[..., None], (*values.shape, count))

    crowding = Crowding(column(push), column(content), column(share))
    key, clock = lanes(count)
    n = jnp.zeros((sites, count)).at[0].set(particles)
    end = np.asarray(hop(n, column(right), column(left), crowding, jnp.full(count, 60.0), key, clock)[0])
    states = [c for c in itertools.product(range(particles + 1), repeat=sites) if sum(c) == particles]
    weight = []
    for state in states:
        held = share @ np.array(state)
        own = 0.5 * push @ np.maximum(held - content, 0.0) ** 2
        ways = 1.0
        for number in state:  # particles are alike to the eye, not to the count of their arrangements
            ways /= float(np.prod(np.arange(1, number + 1)))
        weight.append(ways * np.exp(-energy @ np.array(state) - own))
    expected = count * np.array(weight) / np.sum(weight)
    seen = np.array([np.sum(np.all(end == np.array(s)[:, None], axis=0)) for s in states])
    used = expected > 5
    assert chi2.sf(np.sum((seen - expected)[used] ** 2 / expected[used]), used.sum() - 1) > 1e-3


def experiment(kind: str, device: dict[str, Any], **more: Any) -> mcdev.Experiment:
    scales = {
        "kind": kind, "particles": 40, "half_gap": "1 m", "cooling_rate": "1 Hz", "threshold_voltage": "1 V",
        "pinning_energy": "1 k_B*K", "maximum_conductance": "1 S", "background_temperature": "0.3 K",
        "tunnelling_length": 0.2, "interfacial_energy": 1.5, "interfacial_centre": 0.85, "interfacial_width": 0.2,
        "pinning_period": 0.15, "pinning_phase": "90 deg", "drift": 9.0, "heating": 0.0, "friction": 1.0,
    }  # fmt: skip
    return build(
        {
            "name": "hopping",
            "device": {**scales, **device},
            "circuit": {"kind": "alone"},
            "protocol": {"kind": "hold", "voltage": "0 V", "duration": "1 s", "samples": 8},
            "ensemble": {"devices": 64, "seed": 3},
            "measurements": {"g": {"kind": "mean_conductance"}},
            **more,
        }
    )


def check_positions(state: str) -> None:
    found = {}
    for kind in ("diffusive", "diffusive_hopping"):
        device = experiment(kind, {"initial_state": state, "background_temperature": "0.2 K"}).device
        count = 1024
        draws = {name: np.full(count, getattr(device, name)) for name in device.parameters()}
        batch = jax.tree.map(jnp.asarray, device.build(draws, 1, np.arange(count), np.dtype("float64")))
        key = realisation_key(jnp.uint32(7 if kind == "diffusive" else 8), jnp.arange(count, dtype=jnp.uint32), 0)
        if state == "bridge" and kind == "diffusive":  # let each particle find the place in its own well
            begin = at_rest(batch, key)
            quiet = Interval.alike(2e-4, jnp.uint32(60), count)
            zero = jnp.zeros(count)
            found[kind] = eqx.filter_jit(batch.advance)(begin, zero, zero, quiet, key, jnp.zeros(count, jnp.uint32)).g
        else:
            found[kind] = at_rest(batch, key).g
    assert ks_2samp(*(np.log(np.asarray(g)) for g in found.values())).pvalue > 1e-3, f"conductance at {state}"


@pytest.mark.parametrize("state", ["rest", "bridge"])
def test_positions_are_those_of_the_landscape(state: str) -> None:
    """Conductances of particles at rest, where the other view draws from the Boltzmann density itself: particles put
    at the minima would give another. Of a bridge, spread evenly, milestones keep the density of each well."""
    check_positions(state)


def mean_of(experiment: mcdev.Experiment) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time, mean conductance and its standard error."""
    response = mcdev.run(experiment)["response"]
    time, mean, sem = (np.asarray(response[name]).squeeze() for name in ("time", "conductance", "conductance_sem"))
    return time, mean, sem


def falls_through(level: float, time: np.ndarray, mean: np.ndarray, sem: np.ndarray) -> tuple[float, float]:
    """When the mean first does, and the standard error of that."""
    assert mean[0] > level > mean[-1]
    i = int(np.argmax(mean < level))
    at = np.interp(level, mean[i - 1 : i + 1][::-1], time[i - 1 : i + 1][::-1])
    slope = (mean[i] - mean[i - 1]) / (time[i] - time[i - 1])
    return float(at), float(abs(sem[i] / slope))


@pytest.mark.slow
@pytest.mark.parametrize("theta", [0.45, 0.30, 0.2, 0.141, 0.094])
def test_a_relaxation_is_that_of_the_density(theta: float) -> None:
    """Mean conductance from a bridge, where the density view is exact: halfway from where it begins to where it ends
    (at θ = 0.45 it keeps 0.6 of G_max) at the same time, within 2 % and three standard errors of both."""
    duration = {0.45: 15.0, 0.30: 10.0, 0.2: 25.0, 0.141: 120.0, 0.094: 4000.0}[theta]
    # Fewer particles and devices where the density only has to be smooth: its mean is that of any number of devices.
    common = {"initial_state": "bridge", "background_temperature": f"{theta} K"}
    protocol = {"kind": "hold", "voltage": "0 V", "duration": f"{duration} s", "samples": 60}
    exact = experiment(
        "diffusive_density", {**common, "mesh": {"cells": 300}}, protocol=protocol,
        ensemble={"devices": 96, "seed": 5}, output={"trajectories": 0},
    )  # fmt: skip
    hopping = experiment(
        "diffusive_hopping",
        common,
        protocol=protocol,
        ensemble={"devices": 1024, "seed": 3},
        output={"trajectories": 0},
    )
    curves = mean_of(exact), mean_of(hopping)
    halfway = 0.5 * (curves[0][1][0] + curves[0][1][-1])
    (at, error), (other, its_error) = (falls_through(halfway, *curve) for curve in curves)
    print(theta, at, error, other, its_error, other / at - 1)
    assert abs(other - at) < 0.02 * at + 3 * np.hypot(error, its_error)


def test_lengths_and_a_diffusion_coefficient_with_units() -> None:
    """The device of the same shares, at its own gap and at another one; what is told half is refused."""
    shares = {"tunnelling_length": 0.2, "interfacial_centre": 0.85, "interfacial_width": 0.2, "pinning_period": 0.15}
    typed = {name: f"{2e-3 * share!r} mm" for name, share in shares.items()}  # the half gap is 2 um
    scale = 0.3 * 1.0 * 2e-6**2  # θ_0 κ L²: of friction 1
    given = {**typed, "friction": f"{scale!r} m^2/s", "half_gap": "2 um"}
    plain = experiment("diffusive_hopping", {"half_gap": "2 um", "reference_gap": "2 um", "friction": 1.0}).device
    with_units = experiment("diffusive_hopping", given).device
    assert isinstance(plain, Nanoparticles)
    assert isinstance(with_units, Nanoparticles)
    for gap in (2e-6, 3e-6):
        both = [device.model_copy(update={"half_gap": gap}).median for device in (plain, with_units)]
        assert both[1] == pytest.approx(both[0], rel=1e-12)
    law = {"distribution": "lognormal", "median": f"{scale!r} m^2/s", "sigma": 0.3}
    drawn = experiment("diffusive_hopping", given | {"friction": law}).device
    assert isinstance(drawn, Nanoparticles)
    assert typical(drawn.friction) == pytest.approx(1.0, rel=1e-12)
    for wrong, words in (
        ({"tunnelling_length": 0.2}, "tunnelling_length = 0.2: others of this device are written with units"),
        ({"friction": 1.0}, "friction = 1.0: others of this device"),
        ({"friction": {"distribution": "uniform", "low": "1e-12 m^2/s", "high": "2e-12 m^2/s"}}, "lognormal"),
        ({"tunnelling_length": "0.2 V"}, "tunnelling_length"),
    ):
        with pytest.raises(mcdev.ConfigError, match=re.escape(words)):
            experiment("diffusive_hopping", given | wrong)
    with pytest.raises(mcdev.ConfigError) as caught:  # what is right is not blamed for what is wrong
        experiment("diffusive_hopping", given | {"half_gap": 20, "pinning_energy": 0.3})
    assert [problem.key for problem in caught.value.problems] == ["device.half_gap", "device.pinning_energy"]


def test_a_reference_gap_keeps_the_material() -> None:
    """Twice the gap with the same nanometres and the same diffusion coefficient is the device whose shares are half and
    whose friction is four times as large; at the reference itself nothing changes."""
    own = {"pinning_period": 0.1, "interfacial_width": 0.16, "tunnelling_length": 0.1, "friction": 2.0}
    given = {"half_gap": "4 m", "reference_gap": "2 m", **own}
    for kind in ("diffusive", "diffusive_density", "diffusive_hopping"):
        wide = experiment(kind, given).device
        shares = {name: value / 2 for name, value in own.items()} | {"friction": 8.0, "interfacial_centre": 0.925}
        plain = experiment(kind, {"half_gap": "4 m", **shares}).device
        assert isinstance(wide, Nanoparticles)
        assert isinstance(plain, Nanoparticles)
        for name in own:
            assert wide.span(name) == pytest.approx(plain.span(name))
        draws = [{n: np.full(3, getattr(d, n)) for n in d.parameters()} for d in (wide, plain)]
        batches = [d.build(p, 1, np.arange(3), np.dtype("float64")) for d, p in zip((wide, plain), draws, strict=True)]
        for a, b in zip(*(jax.tree.leaves(batch) for batch in batches), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    assert experiment("diffusive", {**given, "half_gap": "2 m"}).device.median == pytest.approx(
        experiment("diffusive", {"half_gap": "2 m", **own}).device.median
    )
    assert not any("only what labels" in text for text in experiment("diffusive", given).warnings())


def test_a_gap_too_short_for_its_material_is_refused() -> None:
    with pytest.raises(mcdev.ConfigError, match=r"half_gap.*too short"):
        experiment("diffusive", {"half_gap": "0.1 m", "reference_gap": "2 m"})


def test_steep_wells_are_told_to_sweep_the_bridge_away() -> None:
    """The printed set at the temperature of the real device, in every view."""
    for kind in ("diffusive", "diffusive_density", "diffusive_hopping"):
        printed = {"interfacial_energy": 4.5, "interfacial_width": 0.1, "background_temperature": "0.094 K"}
        assert any("no bridge stands" in text for text in experiment(kind, printed).warnings())
        assert not any("no bridge stands" in text for text in experiment(kind, {}).warnings())


def test_milestones_are_as_many_as_the_voltage_asks_for() -> None:
    """And where no number of them does, the other view is named."""
    device = experiment("diffusive_hopping", {"background_temperature": "0.094 K"}).device
    assert device.under(0.0).subdivision == 1
    assert device.under(0.6).subdivision == 2
    (doubtful,), (fine,) = device.accuracy(4.0), device.accuracy(0.6)
    assert "nothing hops" in doubtful.text
    assert not doubtful.good
    assert fine.good
    assert fine.error < 0.05
    assert "off by at most" in fine.text


def test_more_hops_than_can_be_followed_are_refused_before_the_run() -> None:
    """By the hops of a device at equilibrium, of a sample: no call ends within one."""
    path = Path(__file__).parents[1] / "configs" / "wang2017" / "device_fig3a_pulse.toml"
    found = mcdev.load(path)
    (trial,) = trials(found)
    assert found.device.events(0.0) * trial.timeline.widths.max() < 1e7
    assert trial.rows.steps > 0
    (hot,) = trials(load(path, {"device.background_temperature": "30000 K"}))
    with pytest.raises(
        mcdev.ConfigError, match=r"events in a sample.*expected at most 1e\+07: lower device.background"
    ):
        _ = hot.rows


def in_the_left_half(of: mcdev.Experiment, samples: list[int]) -> np.ndarray:
    """Mean number of particles left of the middle."""
    density = np.asarray(mcdev.run(of)["profile/density"]).squeeze()
    return np.asarray(density[:, : density.shape[1] // 2].sum(axis=1)[samples] * 2.0 / density.shape[1])


@pytest.mark.slow
def test_a_cluster_with_a_capacity_gives_back_alike_in_all_views() -> None:
    """Twenty particles, eighteen on the right, which holds eight: how many have come back at 10, 40 and 80."""
    device = {
        "particles": 20, "background_temperature": "0.2 K", "interfacial_energy": 1.458, "interfacial_width": 0.2309,
        "pinning_period": 0.0764, "initial_split": 0.1, "capacity_content": 0.8, "capacity_stiffness": 0.658,
    }  # fmt: skip
    protocol = {"kind": "hold", "voltage": "0 V", "duration": "80 s", "samples": 80}
    at, counts = [9, 39, 79], {"diffusive": 256, "diffusive_hopping": 2048}
    held = {}
    for kind, devices in counts.items():
        own = experiment(
            kind, device, protocol=protocol, ensemble={"devices": devices, "seed": 3}, output={"trajectories": 0}
        )
        held[kind] = in_the_left_half(own, at)
    plain = experiment(
        "diffusive_hopping", device | {"capacity_stiffness": 0.0}, protocol=protocol,
        ensemble={"devices": 2048, "seed": 3}, output={"trajectories": 0},
    )  # fmt: skip
    print(held, in_the_left_half(plain, at))
    # A standard deviation of 1.5 particles a device, from the spread of the ensembles.
    error = 1.5 * np.sqrt(sum(1.0 / n for n in counts.values()))
    assert np.abs(held["diffusive"] - held["diffusive_hopping"]).max() < 3 * error
    density = experiment(
        "diffusive_density", device, protocol=protocol, ensemble={"devices": 4, "seed": 3}, output={"trajectories": 0}
    )
    # The mean content alone: right to half a particle for a push of 0.6 k_B T a particle.
    assert in_the_left_half(density, at) == pytest.approx(held["diffusive_hopping"], abs=0.5)
    assert held["diffusive_hopping"][2] > in_the_left_half(plain, at)[2] + 1.0


@pytest.mark.slow
@pytest.mark.parametrize("theta", [0.3, 0.141])
def test_whole_devices_switch_and_relax_as_in_the_other_view(theta: float) -> None:
    """Heat and a series resistance, a pulse and its relaxation: two-sample tests of the delay, of the relaxation time
    and of the conductance at the pulse's end. The hops' own error, half of 1 - cv², widens the tests."""
    # Each such that it is off at rest and switches within the pulse.
    depth, drift, width = {0.3: (2.5, 10.0, 1.0), 0.141: (1.2, 6.0, 40.0)}[theta]
    device = {
        "particles": 40, "background_temperature": f"{theta} K", "heating": 0.05, "drift": drift,
        "interfacial_energy": depth, "tunnelling_length": 0.15,
    }  # fmt: skip
    protocol = {
        "kind": "pulse", "amplitude": "1 V", "width": f"{width} s", "relaxation": f"{6 * width} s",
        "samples_per_pulse": 100, "relaxation_samples": 100,
    }  # fmt: skip
    measurements = {
        "tau_d": {"kind": "delay_time", "fraction": 0.1},
        "tau_r": {"kind": "relaxation_time", "fraction": 0.1},
        "on": {"kind": "pulse_conductance"},
    }
    found, allowed = {}, 0.0
    for kind in ("diffusive", "diffusive_hopping"):
        own = experiment(
            kind, device, protocol=protocol, circuit={"kind": "series_resistor", "resistance": "2 ohm"},
            ensemble={"devices": 256, "seed": 4}, measurements=measurements, output={"trajectories": 0},
        )  # fmt: skip
        if isinstance(own.device, DiffusiveHopping):
            allowed = 0.5 * own.device.under(1.0).forgetting(1.0)
        tree = mcdev.run(own)
        found[kind] = {name: np.asarray(tree[f"measurements/{name}/value"]).ravel() for name in measurements}
    for name in measurements:
        a, b = (of[name][np.isfinite(of[name])] for of in found.values())
        test = ks_2samp(a, b)
        print(theta, name, np.median(a), np.median(b), test.statistic, test.pvalue, allowed)
        critical = 1.63 * np.sqrt(1.0 / a.size + 1.0 / b.size)  # of one in a hundred
        assert test.statistic < critical + allowed, name


def test_a_screen_says_what_the_device_will_do() -> None:
    """Times against the chain's own sum, on/off against devices at rest, activation energy against times at two
    temperatures."""
    device = mcdev.load("configs/wang2017/device_fig3a_pulse.toml").device
    assert isinstance(device, DiffusiveHopping)
    screened = passages(device, voltage=0.75)
    draws = {name: np.full(256, value) for name, value in device.median.items()}
    batch = jax.tree.map(jnp.asarray, device.build(draws, 1, np.arange(256), np.dtype("float64")))
    key = realisation_key(jnp.uint32(9), jnp.arange(256, dtype=jnp.uint32), jnp.uint32(0))
    resting = np.asarray(at_rest(batch, key).g)
    # A median of 256 whose logarithm spreads by 0.5 is known to 4 %; the two gaps' own spread bends it a little.
    assert screened.on_off == pytest.approx(1.0 / np.median(resting), rel=0.3)

    pull, theta = device.drift * 0.75 / device.threshold_voltage, float(np.asarray(batch.theta_0)[0])
    one = jax.tree.map(lambda leaf: leaf[..., :1], batch.of)
    rates = rates_of(one, jnp.full(1, pull), jnp.full(1, theta))
    right, left, y = (np.asarray(a)[:, 0] for a in (rates.right, rates.left, one.at))
    begin = int(np.argmin(np.where(y < 0, np.asarray(one.energy_at)[:, 0], np.inf)))
    middle = int(np.argmin(np.abs(y)))
    total, onward = 0.0, 0.0
    for k in range(middle):
        onward = (1.0 + left[k] * onward) / right[k]
        total += onward if k >= begin else 0.0
    # To the milestone nearest the middle, which is half a hop away at most: of some twelve hops.
    assert screened.escape == pytest.approx(total * device.friction / device.cooling_rate, rel=0.1)

    warmer = passages(device.model_copy(update={"background_temperature": 330.0}), voltage=0.75)
    ratio = np.log(screened.relaxation / warmer.relaxation) / (1 / 300.0 - 1 / 330.0)
    assert ratio * 8.617333e-5 == pytest.approx(screened.activation_energy, rel=0.02)
    assert screened.athermal_voltage == pytest.approx(0.858 * 1.458 / 0.2309 / 4.142 * 0.75, rel=0.01)


def test_results_say_how_far_hops_were_from_forgetting_where_the_devices_have_been() -> None:
    """At the voltage across the device and the temperature that were met, not those that could have been."""
    of = experiment(
        "diffusive_hopping", {"heating": 0.5, "particles": 8, "subdivision": 1},
        circuit={"kind": "series_resistor", "resistance": "1 kohm"},
        protocol={"kind": "hold", "voltage": "0.5 V", "duration": "0.5 s", "samples": 8}, output={"trajectories": 0},
    )  # fmt: skip
    tree = mcdev.run(of)
    said = "\n".join(str(tree.attrs[name]) for name in ("notes", "warnings"))
    (line,) = (text for text in said.splitlines() if "which were met" in text)
    response = tree["response"]
    volts, kelvin = (float(np.abs(response[f"{n}_quantiles"]).max()) for n in ("device_voltage", "temperature"))
    assert isinstance(of.device, DiffusiveHopping)
    assert f"up to {volts:.3g} V across it and {kelvin:.4g} K" in line
    assert line.endswith(f"{0.5 * of.device.under(0.5).forgetting(volts, kelvin):.1g}")
