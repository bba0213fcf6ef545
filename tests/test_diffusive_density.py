"""The diffusive memristor in the density view: against exact laws, against its particles, and its derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import array, devices_of, lane_keys, reduced

import mcdev
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.preset_tables import presets
from mcdev.devices.diffusive_density import DensityState, DiffusiveDensity, DiffusiveDensityDevices
from mcdev.devices.tunnelling import relative_conductance
from mcdev.integrators.interval import Interval
from mcdev.integrators.noise import realisation_key
from mcdev.simulation.draws import draw_parameters

pytestmark = pytest.mark.usefixtures("double")

LANES = 8
RELAXATION = {
    "kind": "pulse",
    "amplitude": "0 V",
    "width": "1 ms",
    "samples_per_pulse": 1,
    "relaxation": "8 s",
    "relaxation_samples": 120,
}
FAST = {"kind": "pulse_train", "amplitude": "4 V", "width": "0.0205 s", "period": "0.041 s", "count": 4}


def dense(
    protocol: dict[str, Any] | None = None, measurements: Any = None, devices: int = 64, **device: Any
) -> Experiment:
    """An experiment on the paper's device in its own units, in the density view."""
    table = presets()["wang2017_reduced"]["device"] | {"kind": "diffusive_density"} | device
    like = reduced(protocol, measurements).to_dict()
    return mcdev.build(
        {k: like[k] for k in ("name", "protocol", "measurements")} | {"device": table, "ensemble": {"devices": devices}}
    )


_rest = jax.jit(lambda devices, key: devices.rest(key))
_profile = jax.jit(lambda devices, state: devices.profile(state))


def batch(lanes: int = LANES, **device: Any) -> tuple[DiffusiveDensityDevices, DensityState]:
    experiment = dense(**device)
    assert isinstance(experiment.device, DiffusiveDensity)
    built = experiment.device.build(draw_parameters(experiment, 0, lanes), 1, np.arange(lanes), np.float64)
    return built, _rest(built, lane_keys(lanes))


@jax.jit
def _advanced(devices: DiffusiveDensityDevices, state: DensityState, volts: Any, step: Any, pairs: Any) -> DensityState:
    key, one = lane_keys(state.theta.size), jnp.uint32(1)
    voltage = jnp.full(state.theta.shape, volts)

    def body(_: Any, state: DensityState) -> DensityState:
        current = devices.current_law(state).current(voltage)
        interval = Interval.alike(step, one, state.theta.size)
        return devices.advance(state, voltage, current, interval, key, interval.pairs)

    final: DensityState = jax.lax.fori_loop(0, pairs, body, state)
    return final


def advanced(
    devices: DiffusiveDensityDevices, state: DensityState, volts: float, duration: float, steps: int
) -> DensityState:
    """After these steps under a voltage, the conductance followed."""
    final: DensityState = _advanced(devices, state, volts, duration / steps, steps // 2)
    return final


def test_no_particle_is_lost() -> None:
    """Each cluster keeps its integral through a pulse of 4 V_th, and the profile counts all particles."""
    devices, state = batch(initial_split=0.25)
    after = advanced(devices, state, 4.0, 0.1, 40)
    np.testing.assert_allclose(after.density.sum(0) * 2 / devices.cells, 1.0, rtol=1e-11)
    assert float(jnp.abs(after.density - state.density).max()) > 1.0
    assert float(after.density.min()) > -1e-12
    profile = np.asarray(_profile(devices, after)["density"])
    np.testing.assert_allclose(profile.sum(axis=0) * 2 / devices.bins, 40, rtol=1e-11)
    broken = after._replace(density=after.density.at[:, :, 0].set(jnp.nan))
    assert not devices.intact(broken._replace(x=broken.x.at[3, 0].set(jnp.nan)))[0]


def test_the_boltzmann_density_stays() -> None:
    devices, state = batch()
    _, energy = devices._energy()
    weight = jnp.exp(-energy / devices.theta_0)
    density = jnp.broadcast_to((weight / weight.sum(0) * devices.cells / 2)[:, None], state.density.shape)
    at = devices._state(density, state.share, state.theta)
    after = advanced(devices, at, 0.0, 50.0, 10)
    np.testing.assert_allclose(after.density, density, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(after.x, at.x, atol=1e-8)


@pytest.mark.parametrize(
    "start", [{}, {"initial_split": 0.3}, {"initial_split": "equilibrium"}, {"initial_state": "bridge"}]
)
def test_a_realisation_starts_where_its_particles_do(start: dict[str, Any]) -> None:
    """Both views draw the same numbers; the density's positions are those of a mesh of 800 cells, and the conductance
    is that of the chain of particles at them."""
    _, state = batch(mesh={"cells": 800}, **start)
    particles = devices_of(reduced(**start), LANES, np.float64).rest(lane_keys(LANES))
    np.testing.assert_allclose(state.x, particles.x, atol=1.2e-3)
    chain = relative_conductance(state.x, jnp.full(LANES, 0.2))
    np.testing.assert_allclose(state.g, chain, rtol=1e-12)


def test_a_bridge_is_spread_evenly_and_conducts() -> None:
    lanes = 512
    for state in (
        batch(lanes, initial_state="bridge")[1],
        _rest(devices_of(reduced(initial_state="bridge"), lanes), lane_keys(lanes)),
    ):
        x = np.sort(np.ravel(state.x))
        distance = np.abs(0.5 * (x + 1) - (np.arange(x.size) + 0.5) / x.size).max()
        assert distance * np.sqrt(x.size) < 1.63, "Kolmogorov's distance at 1 %"
        assert float(state.g.mean()) > 0.95
        np.testing.assert_allclose(state.theta, 0.45, rtol=1e-6)


@pytest.mark.slow
def test_relaxation_without_heating_is_that_of_the_particles() -> None:
    """Independent particles: the mean conductance of 512 realisations agrees within three standard errors."""
    start: dict[str, Any] = {"initial_state": "bridge", "heating": 0.0}
    swarm = mcdev.run(dense(RELAXATION, devices=512, mesh={"cells": 400}, **start))
    particles = mcdev.run(reduced(RELAXATION, ensemble={"devices": 512, "seed": 2}, **start))
    a, b = (array(tree, "response/conductance").values[0, 0] for tree in (swarm, particles))
    s, t = (array(tree, "response/conductance_sem").values[0, 0] for tree in (swarm, particles))
    at = np.searchsorted(array(swarm, "response/time").values[0], [0.1, 1.0, 3.0, 5.0, 7.5])
    assert b[at[-1]] < 0.45 * b[0]
    np.testing.assert_array_less(np.abs(a - b)[at], 3 * np.hypot(s, t)[at])


def test_converges_in_cells_and_steps() -> None:
    """Second order in the cell's width and in the step: cumulated densities of a relaxation and under a voltage."""

    def relaxed(cells: int) -> np.ndarray:
        devices, state = batch(2, initial_state="bridge", mesh={"cells": cells})
        density = np.asarray(advanced(devices, state, 0.0, 6.0, 60).density)
        return (np.cumsum(density, axis=0) * 2 / cells)[cells // 50 - 1 :: cells // 50]

    fine = relaxed(800)
    errors = [np.abs(relaxed(cells) - fine).max() for cells in (100, 200)]
    assert errors[0] > 3 * errors[1]
    assert errors[1] < 0.005

    devices, state = batch(heating=0.0)  # heat is followed to first order in the coupling interval

    def cumulated(steps: int) -> np.ndarray:
        density = np.asarray(advanced(devices, state, 2.0, 0.2, steps).density)
        return np.cumsum(density, axis=0) * 2 / devices.cells

    exact = cumulated(640)
    errors = [np.abs(cumulated(steps) - exact).max() for steps in (20, 40, 80)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


@pytest.mark.slow
def test_a_pulse_train_is_nearly_that_of_the_particles() -> None:
    """Conductance at the fourth pulse within 5 % (and two standard errors), and its spread."""
    measure = {"G": {"kind": "pulse_conductance"}}
    swarm = mcdev.run(dense(FAST, measure, devices=2048, integrator={"step": "4 ms"}))
    particles = mcdev.run(reduced(FAST, measure, {"devices": 4096}))
    a, b = (array(tree, "measurements/G/value").values[0, :, 0, 3] for tree in (swarm, particles))
    error = np.hypot(a.std() / np.sqrt(a.size), b.std() / np.sqrt(b.size))
    assert error < 0.02 * b.mean()
    assert abs(a.mean() - b.mean()) < 0.05 * b.mean() + 2 * error
    np.testing.assert_allclose(a.std(), b.std(), rtol=0.15)


# ------------------------------------------------------------------------------------- derivatives


def outcome(steps: int = 6) -> tuple[dict[str, Any], Callable[[dict[str, Any]], Any]]:
    """Parameters of a batch, and its mean conductance during a pulse of 3 V_th as a function of them."""
    experiment = dense(mesh={"cells": 106})  # no cell at which the pinning passes zero
    device = experiment.device
    draws = draw_parameters(experiment, 0, LANES)
    key = realisation_key(jnp.full(LANES, 1, jnp.uint32), jnp.arange(LANES, dtype=jnp.uint32), jnp.uint32(0))

    def mean(parameters: dict[str, Any]) -> Any:
        devices = device.build(parameters, 1, np.arange(LANES), np.float64)
        voltage, one = jnp.full(LANES, 3.0), jnp.uint32(1)

        def body(state: Any, _: None) -> tuple[Any, Any]:
            current = devices.current_law(state).current(voltage)
            interval = Interval.alike(jnp.asarray(6e-3), one, LANES)
            state = devices.advance(state, voltage, current, interval, key, interval.pairs)
            return state, jnp.mean(current / voltage)

        return jax.lax.scan(body, devices.rest(key), length=steps)[1].mean()

    return draws, mean


@pytest.mark.slow
def test_forward_derivatives_are_those_of_differences() -> None:
    """By every parameter, to 1e-6 of the value per relative change; reverse mode gives the same numbers."""
    draws, mean = outcome()
    compiled = jax.jit(mean)
    zero = {name: np.zeros_like(value) for name, value in draws.items()}
    reverse = jax.jit(jax.grad(mean))({name: jnp.asarray(value) for name, value in draws.items()})
    forward = jax.jit(lambda tangent: jax.jvp(mean, (draws,), (tangent,)))
    felt = 0
    for name, value in draws.items():
        scale = np.where(value == 0, 1.0, value)  # the phase is zero
        exact = float(forward(zero | {name: scale})[1])
        shift = 3e-6
        ends = [float(compiled(draws | {name: value + sign * shift * scale})) for sign in (1, -1)]
        difference = (ends[0] - ends[1]) / (2 * shift)
        assert abs(exact - difference) < 1e-6 * max(abs(exact), 1.0), (name, exact, difference)
        np.testing.assert_allclose(np.sum(reverse[name] * scale), exact, rtol=1e-8, atol=1e-12)
        felt += abs(exact) > 1e-3
    assert felt >= 12


def test_the_energy_has_its_derivative_on_every_mesh() -> None:
    """By the pinning's period, x/R_p times the force, also in cells at which the pinning passes zero."""
    devices, _ = batch(1, mesh={"cells": 100})

    def energy(per_period: Any) -> Any:
        pinning = eqx.tree_at(lambda p: p.per_period, devices.landscape.pinning, per_period)
        return eqx.tree_at(lambda d: d.landscape.pinning, devices, pinning)._energy()[1]

    centres, _ = devices._energy()
    rate = devices.parameters["pinning_period"]
    slope = jax.jvp(energy, (1 / rate,), (-1 / rate**2,))[1]
    np.testing.assert_allclose(slope, centres / rate * devices.landscape.pinning.force(centres), atol=1e-4)


# ---------------------------------------------------------------------------------- configuration


def test_a_coarse_mesh_is_warned_of() -> None:
    assert dense().device.concerns() == []
    found = dict(dense(background_temperature="0.094 K").device.concerns())
    assert "350 would do" in found["mesh.cells"]
    assert "mesh.cells" not in dict(dense(background_temperature="0.094 K", mesh={"cells": 350}).device.concerns())


def test_pace_follows_the_voltage_alone() -> None:
    device = dense().device
    assert device.pace(0.0).step > 1e9
    assert device.pace(4.0).coupling == pytest.approx(2e-2 / 16)
    assert dense(integrator={"step": "1 ms"}).device.pace(0.0) == (2e-3, 1e-3)
