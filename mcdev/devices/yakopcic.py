"""A drift memristor that keeps its state: the model of Yakopcic, Taha, Subramanyam, Pino and Rogers (2011, IEEE
Electron Device Lett. 32, 1436, doi:10.1109/LED.2011.2163292).

    I     = a_1 x sinh(b V)   for V ≥ 0,    a_2 x sinh(b V)   for V < 0
    dx/dt = g(V) f(x, V)
    g     = A_p (e^{V/1V} - e^{V_p/1V})    for V > V_p,
            -A_n (e^{-V/1V} - e^{V_n/1V})  for V < -V_n,    0 between
    f     = e^{-α_p (x - x_p)} (1 - x)/(1 - x_p)     for V > 0, x ≥ x_p    (1 below)
            e^{α_n (x - 1 + x_n)} x/(1 - x_n)        for V < 0, x ≤ 1 - x_n (1 above)

x lies between 0 and 1, which the windows (1 - x)/(1 - x_p) and x/(1 - x_n) see to. The paper's η, which turns the
direction of the motion, is left to the circuit: it can turn the whole device round. Parameters have the paper's
meaning; in SPICE libraries they are a1, a2, b, Vp, Vn, Ap, An, xp, xn, alphap, alphan, xo.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from mcdev.devices.contract import CurrentLaw, FullScale, LaneKey, PerLane, per_lane
from mcdev.devices.one_state import OneState, OneStateDevices
from mcdev.schema import Drawn, PerDevice, extremes

_SMALL = 1e-3  # of b V; below it the series of sinh(y)/y is exact to rounding


class Yakopcic(OneState):
    """A non-volatile drift memristor, with a threshold and a rate for each polarity and a window at each end."""

    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)

    kind: Literal["yakopcic"] = "yakopcic"

    positive_current: Annotated[Drawn, PerDevice("A", gt=0)]
    """a_1, scale of the current at positive voltage."""
    negative_current: Annotated[Drawn, PerDevice("A", gt=0)]
    """a_2, scale of the current at negative voltage."""
    steepness: Annotated[Drawn, PerDevice("1/V", gt=0)]
    """b, steepness of the current against voltage."""
    positive_threshold: Annotated[Drawn, PerDevice("V", ge=0)]
    """V_p, voltage above which the state grows."""
    negative_threshold: Annotated[Drawn, PerDevice("V", ge=0)]
    """V_n. The state falls at voltages below -V_n."""
    positive_rate: Annotated[Drawn, PerDevice("Hz", ge=0)]
    """A_p, rate of the growth."""
    negative_rate: Annotated[Drawn, PerDevice("Hz", ge=0)]
    """A_n, rate of the fall."""
    positive_onset: Annotated[Drawn, PerDevice("", ge=0, lt=1)]
    """x_p, state above which the growth slows down."""
    negative_onset: Annotated[Drawn, PerDevice("", ge=0, lt=1)]
    """x_n. The fall slows down at states below 1 - x_n."""
    positive_damping: Annotated[Drawn, PerDevice("", ge=0)]
    """α_p, how quickly the growth slows down."""
    negative_damping: Annotated[Drawn, PerDevice("", ge=0)]
    """α_n, how quickly the fall slows down."""
    initial_state: Annotated[Drawn, PerDevice("", ge=0, le=1)]
    """x, state at the beginning of a cycle that starts from rest."""

    full_scale: ClassVar[FullScale | None] = FullScale(
        "positive_current times steepness, at x = 1 near zero volts", lambda p: p["positive_current"] * p["steepness"]
    )

    def fastest(self, voltage: float) -> float:
        ends = (("positive_threshold", "positive_rate"), ("negative_threshold", "negative_rate"))
        over = (
            extremes(getattr(self, rate))[1]
            * (math.exp(min(voltage, 500.0)) - math.exp(extremes(getattr(self, at))[0]))
            for at, rate in ends
        )
        return max(0.0, *over)

    def build(self, draws: dict[str, np.ndarray], seed: int, devices: np.ndarray, dtype: Any) -> YakopcicDevices:
        parameters = {name: per_lane(value, dtype) for name, value in draws.items()}
        return YakopcicDevices(parameters, self.integrator.tolerance)


class HyperbolicSine(CurrentLaw):
    """I = a sinh(b V), with a scale for each polarity."""

    forward: PerLane
    """a for V ≥ 0 (A)."""
    backward: PerLane
    """a for V < 0 (A)."""
    steepness: PerLane
    """b (1/V)."""

    def current(self, voltage: PerLane) -> PerLane:
        return jnp.where(voltage < 0, self.backward, self.forward) * jnp.sinh(self.steepness * voltage)

    def chord(self, voltage: PerLane) -> PerLane:
        y = self.steepness * voltage
        small = jnp.abs(y) < _SMALL
        ratio = jnp.where(small, 1.0 + y * y / 6.0, jnp.sinh(y) / jnp.where(small, 1.0, y))
        return jnp.where(voltage < 0, self.backward, self.forward) * self.steepness * ratio


class YakopcicDevices(OneStateDevices):
    """A batch of devices; see the module's equations."""

    def rest(self, key: LaneKey) -> PerLane:
        return self.parameters["initial_state"]

    def current_law(self, state: PerLane) -> HyperbolicSine:
        p = self.parameters
        return HyperbolicSine(p["positive_current"] * state, p["negative_current"] * state, p["steepness"])

    def drift(self, x: PerLane, voltage: PerLane) -> PerLane:
        p = self.parameters
        up, down = p["positive_threshold"], p["negative_threshold"]
        # Beyond a threshold only: elsewhere the exponentials must not overflow into a derivative that is no number.
        high, low = jnp.maximum(voltage, up), jnp.maximum(-voltage, down)
        growth = p["positive_rate"] * (jnp.exp(high) - jnp.exp(up))
        fall = p["negative_rate"] * (jnp.exp(low) - jnp.exp(down))
        above = jnp.maximum(x - p["positive_onset"], 0.0)
        below = jnp.maximum(1.0 - p["negative_onset"] - x, 0.0)
        slowed = jnp.exp(-p["positive_damping"] * above) * (1.0 - above / (1.0 - p["positive_onset"]))
        damped = jnp.exp(-p["negative_damping"] * below) * (1.0 - below / (1.0 - p["negative_onset"]))
        return growth * slowed - fall * damped
