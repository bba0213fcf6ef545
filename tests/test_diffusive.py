"""The diffusive memristor: temperature, symmetry, particle number, resting state, one step against plain Python."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import array, compiled, devices_of, lane_keys, reduced, state_at
from test_langevin import boltzmann_cumulative

import mcdev
from mcdev.devices.diffusive_particles import DiffusiveDevices, DiffusiveState
from mcdev.integrators.interval import Interval
from mcdev.integrators.langevin import SCHEMES
from mcdev.simulation.program import Carry, Place, Row, sample

PULSE = {"kind": "pulse", "amplitude": "2 V", "width": "0.4 s", "relaxation": "0.2 s", "samples_per_pulse": 8}
PULSE |= {"relaxation_samples": 8}
TRAIN = {"kind": "pulse_train", "amplitude": "4 V", "width": "0.0205 s", "period": "0.041 s", "count": 4}

# ------------------------------------------------------------------------------------ temperature


def frozen(lanes: int = 4, **device: Any) -> tuple[DiffusiveDevices, DiffusiveState]:
    """Devices whose particles do not move, at equal gaps, where g = 1."""
    devices = devices_of(reduced(friction=1e12, **device), lanes)
    equal = np.linspace(-1, 1, devices.particles + 2)[1:-1]
    return devices, state_at(devices, np.repeat(equal[:, None], lanes, axis=1))


def heat(devices: DiffusiveDevices, state: DiffusiveState, voltage: Any, intervals: int, pairs: int = 1) -> np.ndarray:
    """Temperature θ [interval, lane] at the end of intervals of 0.05/κ at a voltage."""
    lanes = state.theta.shape[0]
    volts = jnp.broadcast_to(jnp.asarray(voltage, jnp.float32), (lanes,))
    step, count = jnp.float32(0.05 / (2 * pairs)), jnp.uint32(pairs)

    def go(state: DiffusiveState) -> Any:
        def body(state: DiffusiveState, i: Any) -> Any:
            current = devices.current_law(state).current(volts)
            clock = jnp.full(lanes, i * count)
            after = devices.advance(state, volts, current, Interval.alike(step, count, lanes), lane_keys(lanes), clock)
            return after, after.theta

        return jax.lax.scan(body, state, jnp.arange(intervals, dtype=jnp.uint32))[1]

    return np.asarray(compiled(go)(state), np.float64)


@pytest.mark.parametrize("pairs", [1, 7])
def test_cooling_curve(pairs: int) -> None:
    """θ - θ0 decays as exp(-κ t), however the time is cut; to float32."""
    devices, state = frozen()
    excess = np.array([0.1, 0.5, 1.0, 3.0])
    theta = heat(devices, state._replace(theta=state.theta + jnp.asarray(excess, jnp.float32)), 0.0, 60, pairs)
    time = 0.05 * np.arange(1, 61)
    np.testing.assert_allclose(theta, 0.45 + excess * np.exp(-time)[:, None], rtol=5e-6)


def check_heating() -> None:
    """At constant power θ approaches θ0 + h v² g as 1 - exp(-κ t), g = 1 for equal gaps."""
    devices, state = frozen(heating=0.7)
    volts = np.array([0.0, 0.5, -1.0, 2.0])
    theta = heat(devices, state, volts, 300)
    time = 0.05 * np.arange(1, 301)[:, None]
    np.testing.assert_allclose(theta, 0.45 + 0.7 * volts**2 * (1 - np.exp(-time)), rtol=2e-5)


def test_heating() -> None:
    check_heating()


def test_units_only_scale() -> None:
    """A device in volts, siemens, kelvin and microseconds does what the reduced one does (float32 rounding)."""
    physical: dict[str, Any] = {
        "half_gap": "15 nm",
        "cooling_rate": "2 kHz",
        "threshold_voltage": "0.3 V",
        "maximum_conductance": "0.2 mS",
        "pinning_energy": "0.086 eV",
    }
    kelvin = 0.086 * 1.602176634e-19 / 1.380649e-23
    one = mcdev.run(reduced(PULSE, particles=6))
    pulse = PULSE | {"amplitude": "0.6 V", "width": "0.2 ms", "relaxation": "0.1 ms"}
    other = mcdev.run(reduced(pulse, particles=6, background_temperature=f"{0.45 * kelvin!r} K", **physical))
    for channel, scale in (("device_voltage", 0.3), ("conductance", 2e-4), ("current", 6e-5), ("temperature", kelvin)):
        a, b = (
            array(tree, f"trajectories/{channel}").values[..., :3] for tree in (one, other)
        )  # before rounding grows
        np.testing.assert_allclose(b, scale * a, rtol=1e-3)
    a, b = (array(tree, "trajectories/position").values[..., :3, :] for tree in (one, other))
    np.testing.assert_allclose(b, 15e-9 * a, atol=15e-9 * 1e-3)


# ------------------------------------------------------------------------------------ symmetry


def test_force_is_odd_at_a_quarter_turn() -> None:
    x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (1000, 1)), jnp.float32)
    odd, general = (devices_of(reduced(pinning_phase=phase), 1).landscape for phase in ("90 deg", "0 rad"))
    scale = float(jnp.max(jnp.abs(odd.force(x))))
    np.testing.assert_allclose(odd.force(-x), -odd.force(x), atol=1e-5 * scale)
    assert np.max(np.abs(general.force(-x) + general.force(x))) > 0.5 * scale


def responses(phase: str, volts: float) -> np.ndarray:
    """Mean conductance of each of 768 devices during a pulse; the two polarities draw different numbers."""
    pulse = PULSE | {"amplitude": f"{volts} V", "width": "1 s", "relaxation": "0.01 s"}
    size = {"devices": 768, "seed": 1 if volts > 0 else 2}
    experiment = reduced(pulse, {"g": {"kind": "mean_conductance", "window": "pulse"}}, size, pinning_phase=phase)
    return np.asarray(array(mcdev.run(experiment), "measurements/g/value")).ravel()


def asymmetry(phase: str, volts: float = 1.0) -> float:
    """Difference of the mean responses to +V and -V, in standard errors."""
    a, b = responses(phase, volts), responses(phase, -volts)
    return float((a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / a.size))


def check_polarity_symmetry() -> None:
    assert abs(asymmetry("90 deg")) < 4, "polarity"


def test_polarity_symmetry() -> None:
    """At φ = π/2 within 4 standard errors; at φ = 0 the wells differ by 0.7 w_p and so do the polarities."""
    check_polarity_symmetry()
    assert abs(asymmetry("0 rad")) > 5


def test_drift_direction() -> None:
    """A positive voltage pushes the particles to the right: more of them there after a pulse (8 σ and more)."""
    for volts, side in ((2.0, 1), (-2.0, -1)):
        tree = mcdev.run(reduced(PULSE | {"amplitude": f"{volts} V"}, particles=6))
        density = array(tree, "profile/density").isel(point=0, kept_cycle=0, sample=7)
        moment = float((density * density["position"]).sum() / density.sum())
        assert side * moment > 0.1


# ------------------------------------------------------------------------------------ particle number


def check_particle_number(particles: int = 6) -> None:
    """At every sample the profile integrates to the number of particles, all of them between the walls."""
    tree = mcdev.run(reduced(PULSE, ensemble={"devices": 100}, particles=particles, half_gap="20 nm"))
    density = array(tree, "profile/density")
    bins = density.sizes["bin"]
    np.testing.assert_allclose(density.sum("bin") * (40e-9 / bins), particles, rtol=1e-5)
    position = array(tree, "trajectories/position").values
    assert position.shape[-1] == particles
    assert np.all(np.isfinite(position))
    assert np.all(np.abs(position) <= 20e-9 * (1 + 1e-6)), "outside the walls"
    assert np.mean(np.abs(position) < 20e-9 * 0.999) > 0.99, "stuck to the walls"


@pytest.mark.parametrize("particles", [6, 40])
def test_particle_number(particles: int) -> None:
    check_particle_number(particles)


# ------------------------------------------------------------------------------------ resting state


@pytest.mark.parametrize("phase", [0.0, np.pi / 2])
def test_rest_is_the_boltzmann_density_of_each_half(phase: float) -> None:
    """Chi-square over 40 bins of equal weight in each half, within 5 σ; half of the particles left."""
    devices = devices_of(reduced(pinning_phase=f"{phase} rad"), 1024)
    x = np.asarray(compiled(devices.rest)(lane_keys(1024)).x, np.float64)
    assert np.all(np.sum(x < 0, axis=0) == 20)
    grid, cumulative = boltzmann_cumulative(0.45, phase)
    middle = np.interp(0.0, grid, cumulative)
    for half, low, high in ((x[x < 0], 0.0, middle), (x[x > 0], middle, 1.0)):
        counts = np.histogram(half, np.interp(np.linspace(low, high, 41), cumulative, grid))[0]
        expected = half.size / 40
        assert abs(np.sum((counts - expected) ** 2) / expected - 39) < 5 * np.sqrt(2 * 39)


@pytest.mark.parametrize("split", [0.0, 0.25, 1.0])
def test_initial_split(split: float) -> None:
    devices = devices_of(reduced(initial_split=split), 64)
    x = np.asarray(compiled(devices.rest)(lane_keys(64)).x)
    np.testing.assert_array_equal(np.sum(x < 0, axis=0), round(40 * split))


def test_equilibrium_split() -> None:
    """Each particle chooses its side by weight: the share left within 5 standard errors, at two phases."""
    for phase in (0.0, np.pi / 2):
        devices = devices_of(reduced(pinning_phase=f"{phase} rad", initial_split="equilibrium"), 1024)
        left = np.asarray(compiled(devices.rest)(lane_keys(1024)).x) < 0
        grid, cumulative = boltzmann_cumulative(0.45, phase)
        share = float(np.interp(0.0, grid, cumulative))
        assert abs(left.mean() - share) < 5 * np.sqrt(share * (1 - share) / left.size)
        assert abs(left.sum(axis=0).var() / (40 * share * (1 - share)) - 1) < 5 * np.sqrt(2 / 1024)


@pytest.mark.parametrize("split", [0.5, "equilibrium"])
def test_rest_does_not_drift(split: Any) -> None:
    """At zero volts and φ = π/2 the conductance of the second half of 2/κ is that of the first 2 %, within 4
    standard errors of the paired difference."""
    hold = {"kind": "hold", "duration": "2 s", "samples": 50}
    experiment = reduced(
        hold,
        {"g": {"kind": "mean_conductance"}},
        {"devices": 256},
        pinning_phase="90 deg",
        initial_split=split,
    ).with_({"output.trajectories": 256})
    g = array(mcdev.run(experiment), "trajectories/conductance").values[0, 0]
    change = g[:, 25:].mean(axis=1) - g[:, 0]
    assert abs(change.mean()) < 4 * change.std() / np.sqrt(len(change))
    assert change.std() / np.sqrt(len(change)) < 0.1 * g.mean()  # so that the check can see a drift


def test_rest_report() -> None:
    """φ = 0 holds the right cluster deeper: a long run from an even split is out of equilibrium, a short one or one
    at φ = π/2 is not."""
    assert any("out of equilibrium" in text for text in reduced().device.rest_report(1e5))
    assert not reduced().device.rest_report(1.0)
    assert not reduced(pinning_phase="90 deg").device.rest_report(1e5)
    assert reduced(pinning_phase="90 deg", initial_split=0.2).device.rest_report(1e5)
    assert not reduced(initial_split="equilibrium").device.rest_report(1e5)
    assert reduced(interaction=0.5).device.rest_report(1.0)
    long = reduced({"kind": "hold", "duration": "100 ks"})
    assert any("out of equilibrium" in text for text in long.warnings())


# ------------------------------------------------------------------------------------ one step, three times
# The compiled step, the same code run operation by operation, and a float64 loop in NumPy written from the
# equations. They agree to rounding, not bit for bit: the compiler contracts a·b + c into one rounding.


def numpy_threefry(key: Any, counter: Any) -> Any:
    """Threefry-2x32-20 with 64-bit integers and a mask."""
    mask = np.uint64(0xFFFFFFFF)
    words = [np.asarray(k, np.uint64) for k in key]
    words.append(words[0] ^ words[1] ^ np.uint64(0x1BD11BDA))
    a, b = ((np.asarray(c, np.uint64) + k) & mask for c, k in zip(counter, words[:2], strict=True))
    for i, rotation in enumerate((13, 15, 26, 6, 17, 29, 16, 24, 13, 15, 26, 6, 17, 29, 16, 24, 13, 15, 26, 6)):
        a = (a + b) & mask
        b = (((b << np.uint64(rotation)) | (b >> np.uint64(32 - rotation))) & mask) ^ a
        if i % 4 == 3:
            n = i // 4 + 1
            a, b = (a + words[n % 3]) & mask, (b + words[(n + 1) % 3] + np.uint64(n)) & mask
    return a, b


def numpy_step(x: Any, theta: Any, voltage: Any, step: float, pairs: int, key: Any, clock: int) -> Any:
    """One coupling interval of the paper's device in float64. Shapes [particle, lane]; returns x, θ, g."""
    ends = np.ones((1, x.shape[1]))
    count = len(x) + 1

    def conductance(x: Any) -> Any:
        gaps = np.diff(np.concatenate([-ends, np.sort(x, axis=0), ends]), axis=0)
        return count * np.exp(2 / (count * 0.2)) / np.exp(gaps / 0.2).sum(axis=0)

    def force(x: Any) -> Any:
        well = sum((x - c) * np.exp(-(((x - c) / 0.1) ** 2)) for c in (-0.85, 0.85))
        return -900 * well - np.pi / 0.15 * np.cos(2 * np.pi * x / 0.15) + 9 * voltage

    target = 0.45 + voltage**2 * conductance(x)
    middle = target + (theta - target) * np.exp(-step * pairs)
    after = target + (theta - target) * np.exp(-2 * step * pairs)
    h, s = step / 4, np.sqrt(2 * middle * step / 4)
    particle = np.arange(len(x))[:, None]
    for i in range(pairs):
        a, b = numpy_threefry(key, (np.full(x.shape, clock + i), particle + np.zeros(x.shape, int)))
        radius = np.sqrt(-2 * np.log(((a >> np.uint64(8)).astype(float) + 0.5) / 2**24))
        for xi in (radius * np.cos(2 * np.pi * b / 2**32), radius * np.sin(2 * np.pi * b / 2**32)):
            here = force(x)
            x = x + 0.5 * h * (here + force(x + h * here + s * xi)) + s * xi
            x = np.where(x > 1, 2 - x, np.where(x < -1, -2 - x, x))
    return x, after, conductance(x)


LANES = [2**14 + 1, 2**15 + 1]


@pytest.mark.slow
def test_compiled_is_eager_is_plain_python() -> None:
    """Three coupling intervals of four steps of three particles, at lane counts that no vector width divides. The eager
    one has the fewer lanes: the compiled one has the same numbers in these, with as many beside them."""
    few, key, step, pairs = LANES[0], lane_keys(LANES[1]), 3e-4, 2
    voltage = jnp.asarray(np.random.default_rng(1).uniform(-3, 3, LANES[1]), jnp.float32)

    def onward(lanes: int) -> Any:
        devices, own = devices_of(reduced(particles=3), lanes), tuple(word[:lanes] for word in key)

        def advance(state: DiffusiveState, clock: Any) -> DiffusiveState:
            current = devices.current_law(state).current(voltage[:lanes])
            interval = Interval.alike(jnp.float32(step), jnp.uint32(pairs), lanes)
            return devices.advance(state, voltage[:lanes], current, interval, own, jnp.full(lanes, clock))

        return advance, compiled(devices.rest)(own)

    (of_few, begin), (of_many, start) = (onward(lanes) for lanes in LANES)
    fast, faster = compiled(of_few), compiled(of_many)
    quick, eager, many = begin, begin, start
    x, theta = np.asarray(start.x, np.float64), np.asarray(start.theta, np.float64)
    for i in range(3):
        clock = jnp.uint32(i * pairs)
        quick, many = fast(quick, clock), faster(many, clock)
        with jax.disable_jit():
            eager = of_few(eager, clock)
        x, theta, g = numpy_step(x, theta, np.asarray(voltage, np.float64), step, pairs, key, i * pairs)
    assert np.max(np.abs(x - np.asarray(start.x))) > 0.05  # something moved
    for mine, lanes in ((quick, few), (many, LANES[1])):
        np.testing.assert_allclose(mine.x[:, :few], eager.x, atol=1e-5)
        np.testing.assert_allclose(mine.theta[:few], eager.theta, rtol=1e-5)
        np.testing.assert_allclose(mine.g[:few], eager.g, rtol=2e-4)
        np.testing.assert_allclose(mine.x, x[:, :lanes], atol=3e-5)
        np.testing.assert_allclose(mine.theta, theta[:lanes], rtol=2e-5)
        np.testing.assert_allclose(mine.g, g[:lanes], rtol=5e-4)


@pytest.mark.slow
def test_compiled_sample_is_eager() -> None:
    """The whole sample of the ensemble, circuit and recording included: of the fewer lanes eagerly, of the more with
    the same numbers in these, and a density of all."""
    experiment = reduced(particles=3)
    few, kinds = LANES[0], (jnp.float32, jnp.float32, jnp.uint32, jnp.uint32, jnp.float32)

    def whole(lanes: int) -> Any:
        devices = devices_of(experiment, lanes)
        circuit = experiment.circuit.build(experiment.device, {}, 1, np.arange(lanes), np.float32)
        key = lane_keys(lanes)
        state = compiled(devices.rest)(key)
        carry = Carry(state, None, jnp.zeros(lanes, jnp.uint32), devices.intact(state))
        row = Row(*(jnp.full(lanes, x, kind) for x, kind in zip((0.0, 3.0, 2, 1, 3e-4), kinds, strict=True)))
        counted = jnp.ones(lanes, bool)

        def go(devices: DiffusiveDevices, carry: Any) -> Any:
            return sample(devices, circuit, key, carry, row, counted, Place(lanes, 4), (jnp.uint32(2), jnp.uint32(1)))

        return go, devices, carry

    go, devices, carry = whole(few)
    with jax.disable_jit():
        after_eager, (means_eager, profile_eager, snapshot_eager) = go(devices, carry)
    assert np.all(after_eager.clock == 2)
    for lanes in LANES:
        go, devices, carry = whole(lanes)
        after, (means, profile, snapshot) = compiled(go)(devices, carry)
        assert np.all(after.clock == 2)
        assert bool(jnp.all(after.intact))
        for name in means:
            np.testing.assert_allclose(means[name][..., :few], means_eager[name], rtol=2e-4, atol=1e-7)
        np.testing.assert_allclose(means["voltage"], 1.5, rtol=1e-6)
        np.testing.assert_allclose(snapshot["position"], snapshot_eager["position"], atol=1e-5)
        np.testing.assert_allclose(np.sum(profile["density"]) * 2 / devices.bins, 3 * lanes, rtol=1e-5)
        if lanes == few:  # a particle that rounding moves across the edge of a bin counts in the neighbour
            off = np.sum(np.abs(profile["density"] - profile_eager["density"]))
            assert off < 1e-3 * np.sum(profile_eager["density"])


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_a_loop_over_steps_is_the_step(scheme: str) -> None:
    """``advance`` against scheme.step called from a Python loop, for every scheme."""
    lanes, pairs, step = 64, 8, 1e-4
    devices = devices_of(reduced(particles=4, integrator={"scheme": scheme}), lanes)
    key = lane_keys(lanes)
    quiet = jnp.zeros(lanes)
    state = compiled(devices.rest)(key)
    interval = Interval.alike(jnp.float32(step), jnp.uint32(pairs), lanes)
    end = compiled(devices.advance)(state, quiet, quiet, interval, key, jnp.zeros(lanes, jnp.uint32))
    x: Any = np.asarray(state.x)
    before: Any = np.zeros((4, lanes), np.float32)
    h: Any = step / 4
    s: Any = np.sqrt(2 * 0.45 * step / 4)
    for i in range(pairs):
        a, b = numpy_threefry(key, (np.full(x.shape, i), np.arange(4)[:, None] + np.zeros(x.shape, int)))
        radius = np.sqrt(-2 * np.log(((a >> np.uint64(8)).astype(float) + 0.5) / 2**24))
        for xi in (radius * np.cos(2 * np.pi * b / 2**32), radius * np.sin(2 * np.pi * b / 2**32)):
            x = SCHEMES[scheme].step(devices.landscape.force, x, h, s, xi, before)
            x, before = np.clip(np.where(x > 1, 2 - x, np.where(x < -1, -2 - x, x)), -1, 1), xi
    np.testing.assert_allclose(end.x, x, atol=2e-5)


# ------------------------------------------------------------------------------------ step and coupling


def fourth_pulse(changes: dict[str, Any] | None = None) -> np.ndarray:
    """Conductance at pulse 4 of the paper's train, of each device."""
    experiment = reduced(TRAIN, {"g": {"kind": "pulse_conductance"}}, {"devices": 1024}).with_(changes or {})
    return np.asarray(array(mcdev.run(experiment), "measurements/g/value"))[0, :, 0, 3]


def assert_equal_means(a: np.ndarray, b: np.ndarray, sigmas: float) -> None:
    assert abs(a.mean() - b.mean()) < sigmas * np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / a.size)


@pytest.mark.parametrize(
    "finer", [{"device.integrator.step": 0.25}, {"device.integrator.coupling_interval": 0.25}], ids=["step", "coupling"]
)
def test_finer_steps_change_nothing(finer: dict[str, float]) -> None:
    """Four times finer, within 3 standard errors (of about 3 % of the mean)."""
    pace = reduced().device.pace(4.0)
    key, factor = next(iter(finer.items()))
    value = factor * (pace.step if key.endswith("step") else pace.coupling)
    fine = fourth_pulse({key: f"{value!r} s", "ensemble.seed": 2})
    assert_equal_means(fourth_pulse(), fine, 3)


def test_float64_agrees_and_leaves_no_trace() -> None:
    """Within 4 standard errors, and nearly the same trajectories at first, as the numbers drawn are the same."""
    narrow = reduced(TRAIN, {"g": {"kind": "pulse_conductance"}}, {"devices": 256}, particles=10)
    wide = narrow.with_({"ensemble.precision": "float64"})
    one, other = mcdev.run(narrow), mcdev.run(wide)
    assert jnp.zeros(1).dtype == jnp.float32
    assert array(other, "trajectories/conductance").dtype == np.float64
    a, b = (array(tree, "measurements/g/value").values[0, :, 0, 3] for tree in (one, other))
    assert_equal_means(a, b, 4)
    first = [array(tree, "trajectories/conductance").values[..., 0] for tree in (one, other)]
    np.testing.assert_allclose(first[0], first[1], rtol=1e-3)


def test_broken_lane_is_seen() -> None:
    devices = devices_of(reduced(particles=4), 3)
    state = compiled(devices.rest)(lane_keys(3))
    assert np.all(devices.intact(state))
    broken = state._replace(x=state.x.at[1, 0].set(jnp.nan), theta=state.theta.at[2].set(jnp.inf))
    np.testing.assert_array_equal(devices.intact(broken), [False, True, False])
    profile = devices.profile(broken)["density"][:, 1]
    assert float(jnp.sum(profile) * 2 / devices.bins) == pytest.approx(4)


def test_device_is_a_pytree_of_lanes() -> None:
    """Every array of a batch has the lanes last, so that batches can be cut."""
    devices = devices_of(reduced(pinning_disorder={"period_sigma": 0.1}, interaction=0.5), 6)
    assert all(leaf.shape[-1] == 6 for leaf in jax.tree.leaves(eqx.filter(devices, eqx.is_array)))
