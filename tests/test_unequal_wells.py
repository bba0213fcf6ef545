"""Interfacial wells of unequal depth: energy and force, equilibrium in both views, mirror images, where the ratio comes
from (drawn, swept, from cycle to cycle), what it means with an attraction, export."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import as_users, devices_of, lane_keys, reduced, state_at
from test_diffusive_density import advanced, batch

import mcdev
from mcdev.devices.diffusive_particles import DiffusiveState
from mcdev.devices.landscape import well_exchange
from mcdev.export import swarm
from mcdev.integrators.interval import Interval
from mcdev.simulation.ensemble import simulate

LANES = 64
PAPER: dict[str, Any] = {"particles": 8, "interfacial_ratio": 0.4, "pinning_phase": "1.5707963267948966 rad"}
WIDE: dict[str, Any] = {
    "particles": 8,
    "interfacial_energy": 3.0,
    "interfacial_ratio": 0.4,
    "interfacial_width": 0.2,
    "pinning_period": 0.5,
    "pinning_phase": "1.1 rad",
    "background_temperature": "0.8 K",
    "heating": 0.0,
    "friction": 1.0,
}
"""Wells between which a particle goes within 3/κ."""


@pytest.fixture
def double() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def energy(x: np.ndarray, ratio: float = 0.4) -> np.ndarray:
    """U of ``WIDE``, written independently of the package; both wells are felt everywhere."""
    left, right = (np.exp(-(((x - centre) / 0.2) ** 2)) for centre in (-0.85, 0.85))
    return -3.0 * (left + ratio * right) + 0.5 * np.sin(2 * np.pi * x / 0.5 + 1.1)


def share_on_the_left(ratio: float = 0.4) -> float:
    x = np.linspace(-1, 1, 200_001)
    weight = np.exp(-energy(x, ratio) / 0.8)
    return float(np.trapezoid(np.where(x < 0, weight, 0.0), x) / np.trapezoid(weight, x))


# ------------------------------------------------------------------------------------ energy and force


@jax.jit
def _along(landscape: Any, x: Any) -> tuple[Any, Any, Any]:
    slope = jax.grad(lambda x: jnp.sum(landscape.single_particle_energy(x)))(x)
    return landscape.single_particle_energy(x), slope, landscape.force(x)


@pytest.mark.parametrize("ratio", [0.0, 0.4, 1.0, 2.5])
def test_energy_and_force(ratio: float) -> None:
    with jax.enable_x64(True):
        landscape = devices_of(reduced(**WIDE | {"interfacial_ratio": ratio}), 3, np.float64).landscape
        x = jnp.asarray(np.random.default_rng(5).uniform(-1, 1, (400, 3)))
        found, slope, force = _along(landscape, x)
        np.testing.assert_allclose(found, energy(np.asarray(x), ratio), atol=1e-6)
        np.testing.assert_allclose(force, -slope, atol=1e-5)


def test_equal_wells_have_one_depth(double: None) -> None:
    """At the ratio 1 the devices hold no second depth. Where they do, two equal ones act as one, to rounding."""
    one = devices_of(reduced(), 3).landscape.wells
    assert one.right is None
    assert batch(2)[0].landscape.wells.right is None
    two = devices_of(reduced(interfacial_ratio=1 + 1e-12), 3).landscape.wells
    assert two.right is not None
    x = jnp.asarray(np.random.default_rng(5).uniform(-1, 1, (400, 3)), jnp.float32)
    np.testing.assert_allclose(two.force(x), one.force(x), rtol=1e-6)
    np.testing.assert_allclose(two.energy(x), one.energy(x), rtol=1e-6)


def test_a_step_suits_the_deeper_well() -> None:
    steps = [reduced(interfacial_ratio=r).device.pace(1.0).step for r in (0.0, 1.0, 3.0)]
    assert steps[0] == steps[1]
    assert steps[1] / steps[2] == pytest.approx((1777 + 4 * 450) / 1777, rel=1e-3)
    spread = {"distribution": "uniform", "low": 0.5, "high": 3.0}
    assert reduced(interfacial_ratio=spread).device.pace(1.0).step == pytest.approx(steps[2], rel=1e-3)
    with pytest.raises(mcdev.ConfigError, match="stability limit"):
        reduced(interfacial_ratio=20.0, integrator={"step": "3 ms"})
    reduced(integrator={"step": "3 ms"})


# ------------------------------------------------------------------------------------ equilibrium


_rest = jax.jit(lambda devices, key: devices.rest(key).x)


def check_rest(lanes: int = 1024) -> None:
    """Drawn in equilibrium, as many are on the left as the wells' weights say, within 4 standard errors; and each half
    is as its own well has it (χ² over 20 bins of equal weight)."""
    devices = devices_of(reduced(**WIDE | {"initial_split": "equilibrium"}), lanes)
    x = np.asarray(_rest(devices, lane_keys(lanes)), np.float64)
    share = share_on_the_left()
    error = np.sqrt(share * (1 - share) / x.size)
    assert abs(np.mean(x < 0) - share) < 4 * error, "share on the left at rest"
    grid = np.linspace(-1, 1, 20_001)
    weight = np.exp(-energy(grid) / 0.8)
    cumulated = np.concatenate([[0.0], np.cumsum(0.5 * (weight[1:] + weight[:-1]))])
    cumulated /= cumulated[-1]
    middle = np.interp(0.0, grid, cumulated)
    for half, low, high in ((x[x < 0], 0.0, middle), (x[x > 0], middle, 1.0)):
        edges = np.interp(np.linspace(low, high, 21), cumulated, grid)
        expected = half.size / 20
        excess = np.sum((np.histogram(half, edges)[0] - expected) ** 2) / expected - 19
        assert abs(excess) < 5 * np.sqrt(2 * 19), "density at rest"


@as_users
def _moved(devices: Any, state: DiffusiveState, volts: Any, step: Any, intervals: Any) -> DiffusiveState:
    lanes, eight = state.theta.size, jnp.uint32(8)
    voltage, interval, key = jnp.full(lanes, volts), Interval.alike(step, eight, lanes), lane_keys(lanes)

    def body(i: Any, state: DiffusiveState) -> DiffusiveState:
        current = devices.current_law(state).current(voltage)
        return devices.advance(state, voltage, current, interval, key, jnp.full(lanes, i * eight))

    final: DiffusiveState = jax.lax.fori_loop(jnp.uint32(0), intervals, body, state)
    return final


def moved(start: list[float], volts: float, duration: float, **device: Any) -> DiffusiveState:
    """256 devices whose particles start here, after some time under a voltage."""
    experiment = reduced(**device)
    intervals = int(np.ceil(duration / (16 * experiment.device.pace(volts).step)))
    devices = devices_of(experiment, 256)
    state = state_at(devices, np.repeat(np.array(start)[:, None], 256, axis=1))
    final: DiffusiveState = _moved(devices, state, volts, jnp.float32(duration / intervals / 16), jnp.uint32(intervals))
    return final


def check_share() -> None:
    """All start on the right; after seven exchange times the share on the left is that of the quadrature, within 4
    standard errors."""
    x = np.asarray(moved([0.85] * 8, 0.0, 23.0, **WIDE).x)
    measured, share = float(np.mean(x < 0)), share_on_the_left()
    error = np.sqrt(share * (1 - share) / x.size)
    assert abs(measured - share) < 4 * error, f"share on the left {measured:.3f} instead of {share:.3f}"


def test_rest() -> None:
    check_rest()


def test_share() -> None:
    check_share()
    assert share_on_the_left(1.0) < share_on_the_left() - 0.2  # so that a ratio without effect is seen


def test_share_of_the_density(double: None) -> None:
    """Reached by the cluster that starts on the right, on 200 cells; drawn in equilibrium, within 4 standard errors."""
    devices, rested = batch(LANES, **WIDE)
    after = advanced(devices, rested, 0.0, 60.0, 100)
    left = np.asarray(after.density)[:100, 1].sum(axis=0) * 2 / 200
    np.testing.assert_allclose(left, share_on_the_left(), atol=5e-4)
    landscape = devices_of(reduced(**WIDE), 1).landscape
    assert well_exchange(landscape, 0.8, 1.0)[0] == pytest.approx(share_on_the_left(), abs=1e-3)
    _, drawn = batch(LANES, **WIDE | {"initial_split": "equilibrium"})
    share, on_left = share_on_the_left(), np.asarray(drawn.share) <= 1.0
    assert abs(on_left.mean() - share) < 4 * np.sqrt(share * (1 - share) / on_left.size)


def test_rest_report() -> None:
    """One well on the left holds everything in the end; a start from there is at rest."""
    (said,) = reduced(interfacial_ratio=0.0).device.rest_report(1e3)
    assert "equilibrium 1.00" in said
    assert "interfacial_ratio is 1" in said
    assert not reduced(interfacial_ratio=0.0, initial_split=1.0).device.rest_report(1e3)
    assert reduced(interfacial_ratio=0.9, pinning_phase="90 deg").device.rest_report(1e5)


# ------------------------------------------------------------------------------------ mirror images


def mirrored(**device: Any) -> dict[str, Any]:
    """The device seen from behind; at a phase of a quarter turn the pinning is its own image."""
    ratio = device["interfacial_ratio"]
    return device | {"interfacial_energy": 4.5 * ratio, "interfacial_ratio": 1 / ratio}


def test_mirror_image_of_the_density(double: None) -> None:
    """Depth w and ratio r under V are depth wr and ratio 1/r under -V, the particles on the other side: densities, heat
    and conductance are the same to rounding."""
    devices, state = batch(LANES, **PAPER)
    behind, other = batch(LANES, **mirrored(**PAPER))
    np.testing.assert_allclose(other.density, state.density[::-1, ::-1], rtol=1e-11, atol=1e-11)
    other = behind._state(other.density, 2.0 - state.share, other.theta)
    volts, duration = 2.5, 0.2
    after, image = advanced(devices, state, volts, duration, 80), advanced(behind, other, -volts, duration, 80)
    assert float(np.abs(after.density - state.density).max()) > 1
    assert float(np.abs(after.theta - state.theta).max()) > 0.01
    np.testing.assert_allclose(image.density, after.density[::-1, ::-1], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(image.x, -after.x, atol=1e-8)
    np.testing.assert_allclose(image.g, after.g, rtol=1e-7)
    np.testing.assert_allclose(image.theta, after.theta, rtol=1e-8)


def test_mirror_image_of_the_particles() -> None:
    """In law, six of eight particles on the left or on the right: mean conductance and position after a pulse of 1.5
    V_th differ by less than 4 standard errors, and those of the same device the other way round by more than 8."""
    start, width = [-0.85] * 6 + [0.85] * 2, 0.5
    own = moved(start, 1.5, width, **PAPER)
    image = moved([-x for x in start], -1.5, width, **mirrored(**PAPER))
    other = moved([-x for x in start], -1.5, width, **PAPER)

    def apart(a: Any, b: Any) -> float:
        return float((a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / a.size))

    for side, far in ((image, False), (other, True)):
        for a, b in ((own.g, side.g), (own.x.mean(axis=0), -side.x.mean(axis=0))):
            assert (abs(apart(a, b)) > 8) if far else (abs(apart(a, b)) < 4)


# ------------------------------------------------------------------------------------ where a ratio comes from

SHORT: dict[str, Any] = {"kind": "pulse", "amplitude": "2 V", "width": "0.02 s", "relaxation": "0.01 s"}
SHORT |= {"samples_per_pulse": 2, "relaxation_samples": 2}
SPREAD = {"distribution": "lognormal", "median": 0.7, "sigma": 0.3}


def values(ensemble: dict[str, Any] | None = None, sweep: Any = None, **device: Any) -> np.ndarray:
    """Mean conductance [point, device, cycle]."""
    experiment = reduced(SHORT, ensemble={"devices": 4} | (ensemble or {}), particles=2, **device)
    points = simulate(experiment.with_({"sweep.axes": sweep}) if sweep else experiment)
    return np.stack([point.values["g"] for point in points])


def test_swept_drawn_and_from_cycle_to_cycle() -> None:
    """Of a sweep the point at 1 is bit for bit the device without a ratio, whatever stands beside it; a ratio acts
    where it is drawn, and from cycle to cycle."""
    swept, default = values(sweep={"device.interfacial_ratio": [0.5, 1.0, 2.0]}), values({"cycles": 2})
    np.testing.assert_array_equal(swept[1], default[0, :, :1])
    np.testing.assert_array_equal(swept[2], values(interfacial_ratio=2.0)[0])
    assert np.all(swept[[0, 2]] != swept[1])
    drawn = values(interfacial_ratio=SPREAD)
    np.testing.assert_array_equal(drawn[:, :3], values({"devices": 3}, interfacial_ratio=SPREAD))
    assert np.all(drawn != swept[1])
    changing = {"ensemble.cycle_to_cycle.interfacial_ratio": [0.1, 0.4]}
    cycles: dict[str, Any] = {"cycles": 2, "cycle_to_cycle": {"interfacial_ratio": 0.1}}
    moved = values(cycles, changing)
    assert np.all(moved[0] != moved[1])
    assert np.all(moved[0] != default)


# ------------------------------------------------------------------------------------ with other settings


def test_the_attraction_belongs_to_no_terminal() -> None:
    """A quarter of the left well's depth acts between particles; of the rest, and of it alone, the right well has its
    ratio. At rest a cluster of half of the particles stands in for what acts between them."""
    built = devices_of(reduced(interaction=0.25, interfacial_ratio=0.4), 1)
    wells, attraction = built.landscape.wells, built.landscape.attraction
    assert attraction is not None
    assert wells.right is not None
    assert built.full_right is not None
    found = [float(a[0]) for a in (attraction.strength, wells.depth, wells.right.depth, built.full_right)]
    assert found == pytest.approx([0.25 * 4.5, 0.75 * 4.5, 0.75 * 0.4 * 4.5, (0.75 * 0.4 + 0.25) * 4.5])


@pytest.mark.parametrize("table", [{"interfacial_energy": 0.0}, {"interaction": 1.0}])
def test_a_ratio_without_effect_is_warned_of(table: dict[str, Any]) -> None:
    quiet = reduced(**table)
    assert not [w for w in quiet.warnings() if "no result changes" in w]
    (warning,) = [w for w in reduced(interfacial_ratio=0.5, **table).warnings() if "no result changes" in w]
    assert warning.startswith("device.interfacial_ratio: ")
    assert "interfacial_ratio" not in reduced(interfacial_ratio=0.5).device.idle(False)


def test_the_exported_model_has_both_depths() -> None:
    """Energies of the cells are those of the landscape at their middles."""
    with jax.enable_x64(True):
        experiment = reduced(**WIDE)
        at = swarm.mesh(experiment.device)
        x = (np.arange(at.well.size) + 0.5) * at.cell - 1.0
        landscape = devices_of(experiment, 1, np.float64).landscape
        exact = np.asarray(_along(landscape, jnp.asarray(x)[:, None])[0])[:, 0]
    np.testing.assert_allclose(at.well + at.pinning, exact, atol=1e-6)
    lowest = [at.well[at.left == side].min() for side in (True, False)]
    assert lowest[1] / lowest[0] == pytest.approx(0.4, rel=1e-6)
