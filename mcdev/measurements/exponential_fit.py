"""Time constant of an exponential course: turn-on and relaxation times (Shin et al. 2022, eqs. 1 and 2)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float
from pydantic import Field

from mcdev.measurements.contract import OK, RIGHT_CENSORED, UNDEFINED, Measurement, Reading, Series, Trajectory
from mcdev.protocols.timeline import Timeline
from mcdev.schema import Interval, Unit

_GRID = 48
_REFINEMENTS = 50  # each narrows the bracket by the golden ratio: to 1e-10 of the grid's spacing
_GOLDEN = 0.618033988749895
_POLISH, _NEAR = 2, 1e-3  # Newton steps to the minimum that is differentiated, and their bound in the grid's spacing
_SERIES = 1e-3  # of (w/2τ)², below which its hyperbolic sine is a series: right to 1e-8
_LONGEST = 40.0  # of w/2τ: samples that no fit to them resolves, and whose sinh would overflow
_AT_END = 1e-6  # of the grid's spacing: nearer to an end of the grid, the minimum lies there or beyond


class Exponential(NamedTuple):
    """y = amplitude · exp(-t/time_constant) + offset."""

    time_constant: Float[Array, ""]
    amplitude: Float[Array, ""]
    offset: Float[Array, ""]
    standard_error: Float[Array, ""]
    """Of the time constant, from the residuals: of a noise that is independent from sample to sample."""


def _mean_decay(time: Series, widths: Series | float, tau: Float[Array, ""]) -> Series:
    """exp(-t/τ), averaged over samples."""
    x = jnp.minimum(0.5 * widths / tau, _LONGEST)
    squared = x * x
    small = squared < _SERIES
    safe = jnp.where(small, 1.0, x)
    return jnp.exp(-time / tau) * jnp.where(small, 1.0 + squared / 6.0, jnp.sinh(safe) / safe)


def _regression(
    log_tau: Float[Array, ""], time: Series, y: Series, weight: Series, widths: Series | float
) -> tuple[Series, Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """The decay of this τ, amplitude and offset of the course along it, and the square that is left."""
    e = _mean_decay(time, widths, jnp.exp(log_tau))
    mean_e, mean_y = jnp.sum(weight * e), jnp.sum(weight * y)
    variance = jnp.sum(weight * (e - mean_e) ** 2)
    slope = jnp.sum(weight * (e - mean_e) * (y - mean_y)) / jnp.where(variance > 0, variance, 1.0)
    residual = y - mean_y - slope * (e - mean_e)
    return e, slope, mean_y - slope * mean_e, jnp.sum(weight * residual**2)


def _grid(time: Series, weight: Series) -> Float[Array, " grid"]:
    """Of ln τ, from the shortest weighted sample to ten times the span."""
    span = jnp.max(jnp.where(weight > 0, time, 0.0))
    return jnp.log(span) + jnp.linspace(-jnp.log(2.0 * jnp.sum(weight > 0)), jnp.log(10.0), _GRID)


@jax.custom_jvp
def _minimum(time: Series, y: Series, weight: Series, widths: Series | Float[Array, ""]) -> Float[Array, ""]:
    """ln τ of the least square. The rule of its derivatives is traced where one is asked for and nowhere else: that
    takes many times as long as the search."""
    grid = _grid(time, weight)

    def left_over(log_tau: Float[Array, ""]) -> Float[Array, ""]:
        return _regression(log_tau, time, y, weight, widths)[3]

    cost = lax.map(left_over, grid)
    best = jnp.clip(jnp.argmin(cost), 1, _GRID - 2)

    def narrow(_: int, bracket: tuple[Float[Array, ""], Float[Array, ""]]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        low, high = bracket
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        falls = left_over(left) > left_over(right)
        return jnp.where(falls, left, low), jnp.where(falls, high, right)

    low, high = lax.fori_loop(0, _REFINEMENTS, narrow, (grid[best - 1], grid[best + 1]))
    return 0.5 * (low + high)


def _stationary(
    log_tau: Float[Array, ""], time: Series, y: Series, weight: Series, widths: Series | Float[Array, ""]
) -> Float[Array, ""]:
    """Zero at the minimum: the slope of the square by ln τ, or the distance from an end of the grid."""
    grid = _grid(time, weight)

    def slope(log_tau: Float[Array, ""]) -> Float[Array, ""]:
        return jax.grad(lambda x: _regression(x, time, y, weight, widths)[3])(log_tau)

    # The search sees the minimum to the root of the rounding; what is differentiated here is nearer to it.
    x, spacing = lax.stop_gradient(log_tau), grid[1] - grid[0]
    for _ in range(_POLISH):
        here, curvature = jax.jvp(slope, (x,), (jnp.ones_like(x),))
        move = here / jnp.where(curvature > 0, curvature, jnp.inf)
        x = jnp.where(jnp.abs(move) < _NEAR * spacing, x - move, x)
    first, last = log_tau - grid[0], log_tau - grid[-1]
    end = jnp.where(first < _AT_END * spacing, first, last)
    at_end = (first < _AT_END * spacing) | (last > -_AT_END * spacing)
    return jnp.where(at_end, end, slope(log_tau + lax.stop_gradient(x - log_tau)))


@_minimum.defjvp
def _(given: tuple[Any, ...], along: tuple[Any, ...]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """By the implicit function theorem."""
    log_tau = _minimum(*given)
    curvature = jax.jvp(lambda x: _stationary(x, *given), (log_tau,), (jnp.ones_like(log_tau),))[1]
    change = jax.jvp(lambda *moved: _stationary(log_tau, *moved), given, along)[1]
    return log_tau, -change / jnp.where(curvature > 0, curvature, 1.0)  # without a minimum they stay finite


def fit_exponential(time: Series, y: Series, weight: Series, widths: Series | float = 0.0) -> Exponential:
    """Weighted least squares, global in τ, to means of the course over samples of these ``widths`` (s) around
    ``time``, or to its values at these times.

    The mean of exp(-t/τ) over a sample of width w is that of its middle times sinh(x)/x, x = w/2τ.

    For a given τ amplitude and offset follow from linear regression, which leaves one number to search (variable
    projection; Golub and Pereyra 1973, doi:10.1137/0710036): on a grid from the shortest weighted sample to ten
    times the span, then by golden section. Weights are relative inverse variances; samples of weight zero are out.

    The derivatives by time, y and weight are those of the minimum: of the zero of d(least squares)/d ln τ by the
    implicit function theorem. A minimum at an end of the grid moves with that end.
    """
    weight = weight / jnp.sum(weight)
    samples = jnp.sum(weight > 0)
    log_tau = _minimum(time, y, weight, jnp.asarray(widths, y.dtype))
    e, amplitude, offset, square = _regression(log_tau, time, y, weight, widths)
    tau, one = jnp.exp(log_tau), jnp.ones_like(log_tau)
    # What of the tangent dy/d ln τ amplitude and offset cannot mimic: its residual from regression on e and a constant.
    tangent = amplitude * jax.jvp(lambda x: _mean_decay(time, widths, jnp.exp(x)), (log_tau,), (one,))[1]
    e_own, t_own = e - jnp.sum(weight * e), tangent - jnp.sum(weight * tangent)
    square_e = jnp.sum(weight * e_own**2)
    free = jnp.sum(weight * (t_own - jnp.sum(weight * t_own * e_own) / square_e * e_own) ** 2)
    variance = square / jnp.maximum(samples - 3, 1) / jnp.where(free > 0, free, 1.0)
    spread = jnp.sqrt(jnp.where(variance > 0, variance, 1.0))  # a square root at zero has no derivative
    error = jnp.where(variance > 0, tau * spread, tau * variance)
    return Exponential(tau, amplitude, offset, jnp.where(free > 0, error, jnp.nan))


class ExponentialFit(Measurement):
    """Y = A_0 exp(-t/τ) + Y_0 over a window of the protocol, by least squares with equal weight to equal times.

    What is fitted are means over samples, so the reading of an exponential does not depend on how finely it was
    sampled. Where the course has a faster part that a sample does not resolve, it does (docs/numerics.md).
    The window decides τ where the course is not one exponential; it is part of the criterion. A τ above five
    times the fitted span is right-censored there; a course that does not change is undefined.
    """

    kind: Literal["exponential_fit"] = "exponential_fit"
    result: Literal["time_constant", "standard_error", "amplitude", "offset"] = "time_constant"
    """Which number of the fit."""
    of: Literal["current", "conductance"] = "current"
    """What is fitted."""
    window: str = "pulse"
    """Name of the protocol's window whose course is fitted."""
    index: int = Field(1, ge=1)
    """Which window of that name, counted from one."""
    start: Interval = 0.0
    """Time after the window's beginning from which the course is fitted."""
    duration: Annotated[float, Unit("s", gt=0)] | None = None
    """Length of the fitted course; the whole window if not given."""

    @property
    def unit(self) -> str:
        return (
            "s" if self.result in ("time_constant", "standard_error") else {"current": "A", "conductance": "S"}[self.of]
        )

    @property
    def nonnegative(self) -> bool:
        return self.result in ("time_constant", "standard_error")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.window,)

    @property
    def criterion(self) -> str:
        till = "its end" if self.duration is None else f"{self.start + self.duration:g} s"
        return (
            f"{self.result} of A exp(-t/τ) + Y_0 fitted to the {self.of} of window {self.window} {self.index} from "
            f"{self.start:g} s to {till}, as the samples' means have it"
        )

    def conflict(self, timeline: Timeline) -> str | None:
        spans = timeline.windows[self.window]
        if self.index > len(spans):
            return f"window {self.window} {self.index} of {len(spans)}"
        first, last = spans[self.index - 1]
        middle = 0.5 * (timeline.edges[1:] + timeline.edges[:-1])[first:last] - timeline.edges[first]
        end = self.start + (self.duration or float("inf"))
        count = int(((middle >= self.start) & (middle <= end)).sum())
        return None if count >= 5 else f"{count} samples in the fitted course; at least 5 are needed"

    def measure(self, trajectory: Trajectory) -> Reading:
        mask = trajectory.window(self.window, self.index - 1)
        time, widths = trajectory.time_in(mask), trajectory.widths
        begin, end = (jnp.where(mask, jnp.maximum(time + side * widths, self.start), 0.0) for side in (-0.5, 0.5))
        if self.duration is not None:
            begin, end = (jnp.minimum(edge, self.start + self.duration) for edge in (begin, end))
        weight = end - begin  # a sample that the window's end cuts counts for what is inside
        mask &= weight > 1e-6 * widths
        weight = jnp.where(mask, weight, 0.0)
        series = trajectory.current if self.of == "current" else trajectory.conductance
        size = jnp.max(jnp.where(mask, jnp.abs(series), 0.0))
        scale = jnp.where(size > 0, size, 1.0)  # amperes squared would leave the range of float32
        found = fit_exponential(time - self.start, series / scale, weight, widths)
        span = jnp.max(jnp.where(mask, time, 0.0)) - self.start
        change = jnp.abs(found.amplitude) * -jnp.expm1(-span / found.time_constant)
        flat = ~(change > 1e-6) | ~jnp.isfinite(found.time_constant)
        value = found._asdict()[self.result]
        if self.result in ("amplitude", "offset"):
            value = value * scale
        late = found.time_constant > 5.0 * span
        if self.result == "time_constant":
            value = jnp.where(late, 5.0 * span, value)
        return Reading(jnp.where(flat, jnp.nan, value), jnp.where(flat, UNDEFINED, jnp.where(late, RIGHT_CENSORED, OK)))


__all__ = ["Exponential", "ExponentialFit", "fit_exponential"]
