"""Numbers drawn from curves: exponential and double-exponential fits, equivalent circuit, jackknife of a fit."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcdev.fits.contract import Coefficient, Fit
from mcdev.fits.double_exponential import DoubleExponential
from mcdev.measurements.contract import OK, RIGHT_CENSORED, UNDEFINED, Trajectory
from mcdev.measurements.equivalent_circuit import EquivalentCircuit, circuit_impedance
from mcdev.measurements.exponential_fit import ExponentialFit, fit_exponential
from mcdev.protocols.timeline import growing
from mcdev.results.fits_along_axes import fit_along

T = np.linspace(0.05, 19.95, 200)
REPETITIONS = 400
exponential = jax.jit(fit_exponential)
of_each_course = jax.jit(jax.vmap(fit_exponential, in_axes=(None, 0, None)))


@functools.cache
def measure(settings: ExponentialFit) -> Any:
    return jax.jit(settings.measure)


def trajectory(y: np.ndarray, widths: np.ndarray | None = None) -> Trajectory:
    w = np.full(y.size, 0.1) if widths is None else widths
    series = {name: jnp.asarray(y) for name in ("voltage", "device_voltage", "current", "conductance")}
    spans = {"pulse": jnp.array([[0, y.size]]), "all": jnp.array([[0, y.size]])}
    none = jnp.asarray(np.nan)
    return Trajectory(
        widths=jnp.asarray(w),
        **series,
        observed={},
        frequency=jnp.empty(0),
        impedance=jnp.empty(0, complex),
        full_scale=none,
        cell_constant=none,
        windows=spans,
    )


def fits_of_noise(sigma: float, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """τ and its standard error for courses 2 - 1.5 exp(-t/3) with Gaussian noise; shapes [repetition]."""
    noise = sigma * np.random.default_rng(5).standard_normal((REPETITIONS, T.size))
    with jax.enable_x64(True):
        found = of_each_course(T, 2.0 - 1.5 * np.exp(-T / 3.0) + noise, weight)
        return np.asarray(found.time_constant), np.asarray(found.standard_error)


def test_exponential_fit_is_unbiased_and_its_error_bar_covers() -> None:
    tau, error = fits_of_noise(0.05, np.ones(T.size))
    assert abs(tau.mean() - 3.0) < 3 * tau.std() / np.sqrt(REPETITIONS) + 0.01  # a bias of second order in the noise
    covered = np.mean(np.abs(tau - 3.0) < 1.96 * error)
    assert abs(covered - 0.95) < 3 * np.sqrt(0.95 * 0.05 / REPETITIONS)
    assert error.mean() == pytest.approx(tau.std(), rel=0.12)


def test_coverage_notices_a_wrong_error_bar() -> None:
    """The test of the test: an error bar 1.3 times too small is outside the limits above."""
    tau, error = fits_of_noise(0.05, np.ones(T.size))
    covered = np.mean(np.abs(tau - 3.0) < 1.96 * error / 1.3)
    assert abs(covered - 0.95) > 3 * np.sqrt(0.95 * 0.05 / REPETITIONS)


@pytest.mark.parametrize("tau", [0.15, 0.64, 3.8, 19.0, 60.0])
def test_exponential_fit_without_noise_is_exact(tau: float) -> None:
    with jax.enable_x64(True):
        found = exponential(T, 1e-7 * (1 + 5 * np.exp(-T / tau)), np.ones(T.size))
    np.testing.assert_allclose([float(x) for x in found[:3]], [tau, 5e-7, 1e-7], rtol=1e-6)


def test_uneven_samples_weigh_by_their_length() -> None:
    """A course that is not one exponential: growing samples with their widths as weights give the even samples' τ."""
    edges = np.concatenate([[0], np.geomspace(0.02, 20, 300)])
    t, w = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)

    def course(t: np.ndarray) -> np.ndarray:
        return np.exp(-t / 1.0) + np.exp(-t / 6.0)

    fine = np.linspace(0.005, 19.995, 2000)
    with jax.enable_x64(True):
        even = exponential(fine, course(fine), np.ones(fine.size))
        uneven = exponential(t, course(t), w)
        unweighted = exponential(t, course(t), np.ones(t.size))
    assert float(uneven.time_constant) == pytest.approx(float(even.time_constant), rel=3e-3)
    assert float(unweighted.time_constant) != pytest.approx(float(even.time_constant), rel=0.2)


def reading(y: np.ndarray, **settings: Any) -> tuple[float, int]:
    with jax.enable_x64(True):
        value, status = measure(ExponentialFit.model_validate(settings))(trajectory(y))
    return float(value), int(status)


def test_window_of_the_fit_is_respected() -> None:
    """τ = 1 for five seconds, then τ = 4: each part gives its own."""
    y = np.where(T < 5, np.exp(-T / 1.0), np.exp(-5.0) * np.exp(-(T - 5) / 4.0))
    assert reading(y, duration="5 s")[0] == pytest.approx(1.0, rel=1e-4)
    assert reading(y, start="5 s")[0] == pytest.approx(4.0, rel=1e-4)


def test_courses_without_a_time_constant() -> None:
    assert reading(np.ones(T.size))[1] == UNDEFINED
    value, status = reading(1 - 1e-3 * T)  # a straight line: the time constant lies beyond what the window shows
    assert status == RIGHT_CENSORED
    assert value == pytest.approx(5 * T[-1])
    assert reading(np.full(T.size, np.nan))[1] == UNDEFINED
    assert reading(np.exp(-T / 3))[1] == OK


def test_double_exponential_recovers_its_constants() -> None:
    axis = np.geomspace(0.05, 20, 14)
    y = 0.1 * np.exp(-axis / 0.1) + 0.3 * np.exp(-axis / 3.0) + 0.02
    found = DoubleExponential(measurement="ppf", axis="protocol.gap").fit(axis, y)
    got = [found[name].value for name in ("tau_1", "tau_2", "c_1", "c_2", "c_0")]
    np.testing.assert_allclose(got, [0.1, 3.0, 0.1, 0.3, 0.02], rtol=1e-6)


def test_double_exponential_under_noise() -> None:
    axis, random = np.geomspace(0.05, 20, 14), np.random.default_rng(3)
    fit = DoubleExponential(measurement="ppf", axis="protocol.gap")
    y = 0.1 * np.exp(-axis / 0.1) + 0.3 * np.exp(-axis / 3.0)
    found = [fit.fit(axis, y + 1e-3 * random.standard_normal(axis.size)) for _ in range(60)]
    for name, true in (("tau_1", 0.1), ("tau_2", 3.0)):
        values = np.array([f[name].value for f in found])
        assert abs(values.mean() - true) < 3 * values.std() / np.sqrt(values.size) + 0.01 * true
        assert values.std() < 0.15 * true


class Slope(Fit):
    """A fit linear in its values, whose error is known: the mean over the axis."""

    kind: Literal["slope"] = "slope"
    axis_unit: ClassVar[str] = "1"
    coefficients: ClassVar[dict[str, str]] = {"mean": "1"}
    least_points: ClassVar[int] = 1
    equation: ClassVar[str] = "mean"

    def fit(self, axis: np.ndarray, value: np.ndarray) -> dict[str, Coefficient]:
        return {"mean": Coefficient(float(value.mean()), "1", "mean")}

    def sensitivity(self, axis: np.ndarray, value: np.ndarray) -> dict[str, np.ndarray]:
        return {"mean": np.full(value.size, 1.0 / value.size)}


def test_jackknife_error_of_a_fit_is_the_standard_error() -> None:
    """With one device in each group, leaving one out gives exactly s/√n for a mean. The factor for the other divisor
    would be √(n/(n-1)) off: 3 % here, far above the tolerance."""
    x = np.random.default_rng(1).standard_normal((16, 1))
    replicates = np.array([[x.mean(), *[np.delete(x, i).mean() for i in range(16)]]])
    point: Any = SimpleNamespace(
        values={"m": x}, status={"m": np.zeros_like(x, dtype=np.int8)}, of_mean={"m": replicates}
    )
    _, errors, note = fit_along(Slope(measurement="m", axis="a", statistic="mean_response"), np.array([1.0]), [point])
    assert errors["mean"] == pytest.approx(float(x.std(ddof=1)) / 4, rel=1e-12)
    assert "jackknife over 16 groups" in note


HERTZ = np.geomspace(1, 1e6, 61)
impedance_of = jax.jit(circuit_impedance)
ELEMENTS = {
    "series_resistance": 100.0,
    "ionic_resistance": 18.5e6,
    "geometric_capacitance": 2e-9,
    "layer_capacitance": 1.2e-7,
}


@functools.cache
def circuit_fit(result: str) -> Any:
    measurement = EquivalentCircuit.model_validate({"result": result})

    def fit(z: Any) -> Any:
        spectrum: Any = SimpleNamespace(frequency=jnp.asarray(HERTZ), impedance=z, cell_constant=jnp.asarray(1 / 7.0))
        return tuple(measurement.measure(spectrum))

    return jax.jit(fit)


def fitted(z: np.ndarray, result: str) -> tuple[float, int]:
    with jax.enable_x64(True):
        value, status = circuit_fit(result)(jnp.asarray(z))
    return float(value), int(status)


def spectrum(**changes: float) -> np.ndarray:
    with jax.enable_x64(True):
        logs = {name: jnp.log(value) for name, value in (ELEMENTS | changes).items()}
        return np.asarray(impedance_of(logs, 2 * np.pi * HERTZ))


@pytest.mark.parametrize("name", ELEMENTS)
def test_known_circuit_is_recovered(name: str) -> None:
    value, status = fitted(spectrum(), name)
    assert status == OK
    assert value == pytest.approx(ELEMENTS[name], rel=1e-6)


def test_circuit_is_an_rc_circuit() -> None:
    """Independent of the code: a bulk R ∥ C has half its resistance and a phase of -45° at 1/(2πRC)."""
    alone = spectrum(series_resistance=1e-3, layer_capacitance=1e-3)
    corner = 1 / (2 * np.pi * 18.5e6 * 2e-9)
    z = np.interp(corner, HERTZ, alone.real) + 1j * np.interp(corner, HERTZ, alone.imag)
    assert z == pytest.approx(18.5e6 * (0.5 - 0.5j), rel=0.01)
    assert fitted(alone, "conductivity")[0] == pytest.approx(1 / 7.0 / 18.5e6, rel=1e-4)


def test_noisy_spectra_give_an_unbiased_resistance() -> None:
    random, z = np.random.default_rng(2), spectrum()
    noisy = [z * (1 + 0.01 * (random.standard_normal(61) + 1j * random.standard_normal(61))) for _ in range(60)]
    r = np.array([fitted(one, "ionic_resistance")[0] for one in noisy])
    assert abs(r.mean() / 18.5e6 - 1) < 3 * r.std() / 18.5e6 / np.sqrt(r.size)
    assert r.std() / 18.5e6 < 0.01


def test_a_broken_spectrum_is_undefined() -> None:
    assert fitted(np.full(61, np.nan + 0j), "conductivity")[1] == UNDEFINED


# ------------------------------------------------------------------------------------ however it was sampled


def means_over(edges: np.ndarray, tau: float) -> np.ndarray:
    """Of 2 - 1.5 exp(-t/τ), over each sample."""
    return 2.0 + 1.5 * tau * np.diff(np.exp(-edges / tau)) / np.diff(edges)


@pytest.mark.parametrize("samples", [12, 25, 100, 400])
@pytest.mark.parametrize("course", [{}, {"start": "0.33 s", "duration": "7.77 s"}])
def test_the_time_constant_does_not_depend_on_the_samples(samples: int, course: dict[str, str]) -> None:
    """Growing samples, the last ones longer than τ; the course may begin and end within one."""
    tau, edges = 1.7, np.concatenate([[0.0], np.cumsum(growing(20.0, 0.01, samples))])
    fit = ExponentialFit.model_validate({"kind": "exponential_fit"} | course)
    with jax.enable_x64(True):
        found = measure(fit)(trajectory(means_over(edges, tau), np.diff(edges)))
    assert float(found.value) == pytest.approx(tau, rel=1e-6)


def test_a_course_ends_where_it_ends() -> None:
    """Within a sample: τ of a course that is no exponential changes steadily with its end, not sample by sample."""
    edges = np.linspace(0.0, 20.0, 101)
    y = means_over(edges, 1.7) + means_over(edges, 9.0)
    ends = np.linspace(8.0, 8.4, 5)  # by half a sample
    with jax.enable_x64(True):
        fits = (ExponentialFit.model_validate({"kind": "exponential_fit", "duration": f"{end} s"}) for end in ends)
        found = np.diff([float(measure(fit)(trajectory(y, np.diff(edges))).value) for fit in fits])
    assert found.min() > 0
    assert found.max() < 2.0 * found.min()
