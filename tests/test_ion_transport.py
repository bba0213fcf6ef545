"""Poisson-Nernst-Planck against exact laws: conservation, equilibrium, double layers, charging, impedance, orders.

The checks are functions, so that `test_planted` can show that they fail when the program is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import forget_programs, strong

import mcdev.integrators.ion_transport as model
from mcdev.integrators.drift_diffusion import HISTORY, bernoulli_pair, graded_mesh
from mcdev.integrators.ion_transport import IonState, IonTransport

VOLT = 38.68  # in kT/e
ELEMENTARY, THERMAL, VACUUM = 1.602176634e-19, 0.025852, 8.8541878128e-12


@pytest.fixture(autouse=True)
def double() -> Any:
    with jax.enable_x64(True):
        yield


def film(
    salt: Any, packing: Any = 2 / 2.4, cells: int = 60, conductivity: Any = 1.9e-8, **other: Any
) -> tuple[IonTransport, Any]:
    """100 nm of a mixed conductor: 2e27 m^-3 anions, cations ``salt``, the rest of their charge fixed (Shin 2022)."""
    salt, packing, conductivity = np.broadcast_arrays(salt, packing, conductivity)
    one, thickness, density, permittivity = np.ones(salt.shape), 100e-9, 2e27, 30 * VACUUM
    contents = np.stack([one, salt])
    diffusivity = conductivity * THERMAL / (ELEMENTARY * density * contents.sum(0))
    devices = IonTransport(
        widths=jnp.asarray(graded_mesh(cells, 2e-4 * 60 / cells))[:, None] * one,
        charges=(-1, 1),
        screening=jnp.asarray(one * ELEMENTARY * density * thickness**2 / (permittivity * THERMAL)),
        stern=jnp.asarray(one * permittivity / (0.25 * thickness)),
        rates=jnp.asarray(diffusivity / thickness**2 * np.ones((2, 1))),
        packing=jnp.asarray(packing * one),
        fixed_charge=jnp.asarray(1 - salt),
        field_scale=jnp.asarray(one * THERMAL / (thickness * 2.6e7)),
        tolerance=jnp.asarray(one * other.pop("tolerance", model.TOLERANCE)),
        fixed_step=jnp.asarray(one * other.pop("fixed_step", 0.0)),
        **other,
    )
    return devices, jnp.asarray(contents)


def electrolyte(
    debye: float, stern: float, packing: Any = 0.0, cells: int = 60, finest: float = 1e-4, lanes: int = 4, **other: Any
) -> tuple[IonTransport, Any]:
    """A symmetric 1:1 electrolyte with both ions mobile, of density 1 each; rate 1, Debye length ``debye`` L."""
    one = jnp.ones(lanes)
    devices = IonTransport(
        widths=jnp.asarray(graded_mesh(cells, finest))[:, None] * one,
        charges=(-1, 1),
        screening=one / (2 * debye**2),
        stern=one * stern,
        rates=jnp.ones((2, lanes)),
        packing=packing * one,
        fixed_charge=0 * one,
        field_scale=0 * one,
        tolerance=one * other.pop("tolerance", model.TOLERANCE),
        fixed_step=one * other.pop("fixed_step", 0.0),
    )
    return devices, jnp.ones((2, lanes))


_advance = jax.jit(lambda devices, *arguments: devices.advance(*arguments))
_respond = jax.jit(lambda devices, *arguments: devices.charge_response(*arguments))


def advance(devices: IonTransport, state: IonState, voltage: Any, duration: Any) -> IonState:
    after: IonState = _advance(*strong((devices, state, voltage, jnp.broadcast_to(duration, state.voltage.shape))))
    return after


def respond(devices: IonTransport, state: IonState, voltage: Any, omega: float) -> np.ndarray:
    return np.asarray(_respond(*strong((devices, state, voltage, omega))))


def along(devices: IonTransport, state: IonState, volts: Any, durations: Any) -> list[IonState]:
    states = []
    one = jnp.ones(devices.screening.shape)
    for v, t in zip(volts, durations, strict=True):
        state = advance(devices, state, v * VOLT * one, jnp.asarray(float(t)))
        states.append(state)
    return states


def amounts(devices: IonTransport, state: IonState) -> Any:
    return np.einsum("il,sil->sl", devices.widths, devices.densities(state))


# ------------------------------------------------------------------------------------ ions and bounds

PROTOCOL = ((3.5, 1.5, 0.0, -3.5, 3.5, 0.0), (20.0, 3.0, 20.0, 40.0, 1.0, 1e4))


def check_conservation() -> None:
    devices, contents = film(salt=[0.083, 0.041, 0.083, 0.041], packing=[2 / 2.4, 2 / 2.4, 0, 0])
    for state in along(devices, devices.rest(contents), *PROTOCOL):
        np.testing.assert_allclose(amounts(devices, state), contents, rtol=1e-11)
        density = devices.densities(state)
        assert np.all(density > 0)
        assert np.all(devices.packing * density.sum(0) <= 1 + 1e-14)
        assert not np.any(state.status)
        assert np.all(np.asarray(state.rejected) < 0.35 * np.asarray(state.steps))
        left, right = devices.wall_fields(state, state.voltage)
        np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-4)  # the film as a whole is neutral


def test_conservation() -> None:
    check_conservation()


def test_hard_steps() -> None:
    """Voltages reversed at once, no cations at all, and a hundred thousand seconds: no lane fails."""
    devices, contents = film(salt=[0.0, 0.0, 0.083, 0.041], packing=[2 / 2.4, 0, 2 / 2.2, 2 / 10], conductivity=2.79e-9)
    state = along(devices, devices.rest(contents), (3.5, -3.5, 3.5, -5.0), (5.0, 5.0, 1e5, 1.0))[-1]
    assert not np.any(state.status)
    assert np.all(devices.packing * devices.densities(state).sum(0) <= 1 + 1e-14)
    np.testing.assert_allclose(amounts(devices, state)[0], 1, rtol=1e-11)


def check_equilibrium_has_no_flux() -> None:
    devices, contents = film(salt=[0.083, 0.083, 0.041, 0.041], packing=[2 / 2.4, 0, 2 / 2.4, 0])
    voltage = jnp.asarray([1.0, 1.0, -0.3, -0.3]) * VOLT
    state = advance(devices, devices.rest(contents), voltage, jnp.asarray(1e7))

    @jax.jit
    def parts_of_flux(devices: IonTransport, state: IonState) -> tuple[Any, Any]:
        x = model._pack(state)
        faces = devices._faces(x, devices._densities(x)[0], voltage, devices._inverse_gaps())
        return faces.left, faces.right

    left, right = (np.asarray(part) for part in parts_of_flux(devices, state))
    assert np.max(np.abs(left - right) / (left + right)) < 1e-10
    # c_s/c_0 e^(z φ) is uniform
    for s, z in enumerate(devices.charges):
        level = np.asarray(state.log_ratio[s] + z * state.potential)
        assert np.ptp(level, axis=0).max() < 1e-9


def test_equilibrium_has_no_flux() -> None:
    check_equilibrium_has_no_flux()


# ------------------------------------------------------------------------------------ double layers


def check_double_layer(packing: float) -> None:
    """Grahame's charge, E = sqrt(2 κ²/v ln(1 + 4 v c sinh²(ζ/2))) (Kilic et al. 2007, eq. 7; v → 0: Grahame 1947).

    And the profile of Gouy and Chapman: tanh(φ/4) = tanh(ζ/4) e^(-x/λ) for v = 0.
    """
    devices, contents = electrolyte(0.02, 1e-9, packing, cells=120, finest=2e-5)
    voltage = 2 * jnp.asarray([0.2, 2.0, 6.0, 10.0])
    state = advance(devices, devices.rest(contents), voltage, jnp.asarray(50.0))
    left, _ = devices.wall_fields(state, voltage)
    middle = devices.densities(state)[0, 60]
    zeta = voltage - left * devices.stern - state.potential[59:61].mean(0)
    rise = 4 * middle * np.sinh(zeta / 2) ** 2
    grown = np.log1p(packing * rise) / packing if packing else rise
    np.testing.assert_allclose(left, np.sqrt(2 * devices.screening * grown), rtol=0.01)
    if not packing:
        x = np.cumsum(devices.widths[:, 0]) - 0.5 * devices.widths[:, 0]
        decay = np.exp(-x[:, None] * np.sqrt(2 * devices.screening * middle))
        exact = 4 * np.arctanh(np.tanh(zeta / 4) * decay)
        found = state.potential - state.potential[59:61].mean(0)
        near = x < 0.1
        assert np.max(np.abs(found - exact)[near] / zeta) < 0.01


@pytest.mark.parametrize("packing", [0.0, 0.4])
def test_double_layer(packing: float) -> None:
    check_double_layer(packing)


def check_charging_time() -> None:
    """τ = λ (L/2)/D / (1 + δ), δ = λ_S/λ (Bazant, Thornton, Ajdari 2004, eq. 34), for a thin double layer."""
    debye = 0.004
    devices, contents = electrolyte(debye, 0.0)
    devices = eqx.tree_at(lambda d: d.stern, devices, debye * jnp.asarray([0.01, 0.5, 1.0, 3.0]))
    voltage = jnp.full(4, 0.1)
    state = devices.rest(contents)
    fields = []
    times = debye / 2 * np.asarray([0.2, 0.4, 0.6, 40])
    for t in np.diff(times, prepend=0):
        state = advance(devices, state, voltage, jnp.asarray(t))
        fields.append(np.asarray(devices.wall_fields(state, voltage)[0]))
    late = fields[-1]
    tau = (times[2] - times[0]) / np.log((late - fields[0]) / (late - fields[2]))
    exact = debye / 2 / (1 + np.asarray(devices.stern) / debye)
    np.testing.assert_allclose(tau, exact, rtol=0.05)


def test_charging_time() -> None:
    check_charging_time()


# ------------------------------------------------------------------------------------ impedance


def linear_response(debye: float, stern: float, omega: float) -> complex:
    """d(wall field)/dV of the linear equations at rest, solved by hand: q'' = k² q, k² = 1/λ² + i ω/r, -φ'' = κ² q,
    q' + 2 φ' = 0 at the walls (Bazant, Thornton, Ajdari 2004, §III B)."""
    screening, k = 1 / (2 * debye**2), np.sqrt(1 / debye**2 + 1j * omega)
    slope = 0.5 * k * (1 - 2 * screening / k**2)  # over A cosh(k/2), as all below
    field = screening / k + slope
    return complex(field / (2 * screening / k**2 * np.tanh(k / 2) + slope + 2 * stern * field))


def check_impedance() -> None:
    """The exact linear response, and its plateau R = L/(σ A) between double layers and geometric capacitance."""
    debye = 0.003
    devices, contents = electrolyte(debye, debye)
    state, zero = devices.rest(contents), jnp.zeros(4)
    resistance, capacitance = debye**2, 1 / (4 * debye)  # 1/(κ² Σ z² r c); Stern and diffuse layers in series
    for omega in np.geomspace(0.001 / (resistance * capacitance), 30 / resistance, 12):
        found = respond(devices, state, zero, omega)
        exact = linear_response(debye, debye, omega)
        np.testing.assert_allclose(found, exact, rtol=0.005)
        impedance, simple = 1 / (1j * omega * exact), resistance + 1 / (1j * omega * capacitance)
        assert abs(impedance * (1 / simple + 1j * omega) - 1) < 0.04  # the circuit, for a thin double layer
    plateau = 1 / np.sqrt(resistance * resistance * capacitance)
    impedance = 1 / (1j * plateau * respond(devices, state, zero, plateau))
    np.testing.assert_allclose(impedance.real, resistance, rtol=0.025)


def test_impedance() -> None:
    check_impedance()


@pytest.mark.parametrize("bias", [pytest.param(0.0, marks=pytest.mark.slow), 0.8])
def test_small_sine_in_time(bias: float) -> None:
    """A sine of 2 mV, held in 64 steps a period, gives amplitude and phase of the linearised system.

    What the geometric capacitance answers at once is subtracted: it would see the stairs.
    """
    steps, periods = 64, 3
    omega = np.asarray([0.6, 6.0])
    devices, contents = film(salt=[0.083, 0.083], tolerance=1e-4)
    rest = advance(devices, devices.rest(contents), jnp.full(2, bias * VOLT), jnp.asarray(1e4))
    exact = [respond(devices, rest, rest.voltage, w) for w in omega]
    at_once = 1 / (1 + 2 * np.asarray(devices.stern))
    # one clock for both lanes: the faster sine is made by faster ions, which is the same thing
    devices = eqx.tree_at(lambda d: d.rates, devices, devices.rates * (omega[0] / omega)[None])
    state, amplitude = rest, 0.002 * VOLT
    dt = 2 * np.pi / omega[0] / steps
    fields = []
    for k in range(steps * periods):
        swing = amplitude * np.sin(2 * np.pi * (k + 0.5) / steps)
        state = advance(devices, state, rest.voltage + swing, jnp.asarray(dt))
        fields.append(np.asarray(devices.wall_fields(state, state.voltage)[0]) - at_once * swing)
    last = np.asarray(fields[-steps:])
    turn = np.exp(-2j * np.pi * (np.arange(steps) + 1) / steps)
    found = 2j * (turn @ last) / steps / amplitude
    for lane in range(2):
        assert abs(found[lane] / (exact[lane][lane] - at_once[lane]) - 1) < 0.015


# ------------------------------------------------------------------------------------ orders


def wall_field(cells: int, step: float, packing: float, voltage: float, duration: float) -> Any:
    devices, contents = film(salt=[0.083], packing=packing, cells=cells, fixed_step=step)
    state = along(devices, devices.rest(contents), (voltage,), (duration,))[-1]
    assert not np.any(state.status)
    return float(devices.wall_fields(state, state.voltage)[0][0])


@pytest.mark.parametrize("packing", [0.0, 2 / 2.4])
def test_order_in_time(packing: float) -> None:
    steps = (20, 40, 80)
    exact = wall_field(60, 0.5 / 1280, packing, 0.5, 0.5)
    errors = [abs(wall_field(60, 0.5 / n, packing, 0.5, 0.5) / exact - 1) for n in steps]
    print("\n", {n: f"{e:.2e}" for n, e in zip(steps, errors, strict=True)})
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.25)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("packing", [0.0, 2 / 2.4])
def test_order_in_space(packing: float) -> None:
    cells = (40, 80, 160)
    exact = wall_field(640, 0.02, packing, 0.5, 2.0)
    errors = [abs(wall_field(n, 0.02, packing, 0.5, 2.0) / exact - 1) for n in cells]
    print("\n", {n: f"{e:.2e}" for n, e in zip(cells, errors, strict=True)})
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.3)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.3)


def test_tolerance() -> None:
    """The default tolerance keeps the wall field within 4.5e-4 all along a turn-on; a tighter one does better."""
    devices, contents = film(salt=[0.083] * 6, packing=[2 / 2.4, 2 / 2.4, 2 / 2.4, 0, 0, 0])
    devices = eqx.tree_at(lambda d: d.tolerance, devices, model.TOLERANCE * jnp.asarray([1, 0.1, 0.01, 1, 0.1, 0.01]))
    voltage = jnp.full(6, 3.5 * VOLT)
    worst = np.zeros(6)
    for t in np.geomspace(0.05, 20, 8):
        state = advance(devices, devices.rest(contents), voltage, jnp.asarray(t))
        field = np.asarray(devices.wall_fields(state, voltage)[0])
        worst = np.maximum(worst, np.abs(field / np.repeat(field[[2, 5]], 3) - 1))
    print("\n", worst)
    assert np.all(worst < 4.5e-4)
    assert np.all(worst[[1, 4]] < 0.3 * worst[[0, 3]])


# ------------------------------------------------------------------------------------ lanes


def leaves_of(state: IonState, lanes: Any) -> list[np.ndarray]:
    return [np.asarray(leaf)[..., lanes] for leaf in jax.tree.leaves(state)]


@pytest.mark.parametrize("absurd", [float("nan"), 1e300, -1.0])
def test_a_failing_lane_disturbs_no_other(absurd: float) -> None:
    devices, contents = film(salt=[0.083, 0.041, 0.083, 0.041], packing=[2 / 2.4, 2 / 2.4, 0, 0])
    others = [0, 1, 3]
    good = along(devices, devices.rest(contents), (3.5, 0.0), (2.0, 2.0))[-1]
    broken = eqx.tree_at(lambda d: d.rates, devices, devices.rates.at[:, 2].set(absurd))
    bad = along(broken, broken.rest(contents), (3.5, 0.0), (2.0, 2.0))[-1]
    if absurd < 1e300 or np.isnan(absurd):
        assert bad.status[2] == model.NO_STEP
        np.testing.assert_array_equal(bad.log_ratio[..., 2], devices.rest(contents).log_ratio[..., 2])
    for one, other in zip(leaves_of(good, others), leaves_of(bad, others), strict=True):
        np.testing.assert_array_equal(one, other)


def test_too_many_steps() -> None:
    devices, contents = film(salt=[0.083] * 4, most_steps=10)
    state = along(devices, devices.rest(contents), (3.5,), (20.0,))[-1]
    assert np.all(state.status == model.TOO_MANY)
    assert np.all(state.steps <= 10)
    np.testing.assert_allclose(amounts(devices, state), contents, rtol=1e-11)
    assert set(model.STATUS) == {0, 1, 2}


# ------------------------------------------------------------------------------------ planted bugs


def flux_reversed(patch: pytest.MonkeyPatch) -> None:
    def wrong(d: Any) -> Any:
        ahead, back, slope = bernoulli_pair(d)
        return back, ahead, -1 - slope

    patch.setattr(model, "bernoulli_pair", wrong)


def half_cell_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(IonTransport, "_walls", lambda self: (1 / self.stern, 1 / self.stern))


def factor_two_in_poisson(patch: pytest.MonkeyPatch) -> None:
    right = IonTransport._charge
    patch.setattr(IonTransport, "_charge", lambda self, c: 0.5 * right(self, c))


def not_additive(patch: pytest.MonkeyPatch) -> None:
    """The last correction in ln c."""
    patch.setattr(model, "_ADDITIVE", -1.0)


def history_clipped(patch: pytest.MonkeyPatch) -> None:
    """Densities below zero set to zero, at no one's cost."""

    def wrong(self: Any, before: Any, after: Any) -> Any:
        return jnp.maximum(before + HISTORY * (after - before), 0.0)

    patch.setattr(IonTransport, "_history", wrong)


@pytest.mark.parametrize(
    ("bug", "check"),
    [
        (factor_two_in_poisson, check_charging_time),
        (half_cell_lost, check_impedance),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                (flux_reversed, check_equilibrium_has_no_flux),
                (half_cell_lost, lambda: check_double_layer(0.0)),
                (not_additive, check_conservation),
                (history_clipped, check_conservation),
            )
        ),
    ],
)
def test_planted(
    bug: Callable[[pytest.MonkeyPatch], None], check: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bug(monkeypatch)
    forget_programs()
    try:
        with pytest.raises(AssertionError):
            check()
    finally:
        monkeypatch.undo()
        forget_programs()
