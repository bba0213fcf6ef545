"""Electronic injection that double layers of ions facilitate: the current of an ion-conducting memristor.

    I = I_0 G(V) [1 + z/n]₊ⁿ,    G(V) = sgn(V) w [ln(1 + e^{(|V| - V_t)/w}) - ln(1 + e^{-V_t/w})]

G opens softly at V_t over a width w. z is what the ions add: positive where their layers help the carriers that
this polarity injects, negative where they oppose them. n = 1 is linear in z, n → ∞ exponential. The form is a
calibrated one: Shin et al. (2022, doi:10.1039/d1ma01078f) describe the mechanism (sections 3.1, 3.3), no equation.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from mcdev.devices.contract import CurrentLaw, PerLane

_SMALL = 1e-9  # V; below it the chord is that of the origin


class Injection(CurrentLaw):
    """All arrays one number a lane."""

    conductance: PerLane
    """I_0 per volt of G (S)."""
    onset: PerLane
    """V_t (V)."""
    width: PerLane
    """w (V)."""
    facilitation: PerLane
    """z at zero volts, as a positive voltage has it; its negative holds for a negative one."""
    response: PerLane
    """dz/dV at once, before any ion moves (1/V)."""
    exponent: PerLane
    """n."""
    either: bool = eqx.field(static=True, default=False)
    """Whether z helps both polarities alike, instead of helping one and opposing the other."""

    def current(self, voltage: PerLane) -> PerLane:
        return self.chord(voltage) * voltage

    def chord(self, voltage: PerLane) -> PerLane:
        size = jnp.maximum(jnp.abs(voltage), _SMALL)
        opened = jax.nn.softplus((size - self.onset) / self.width) - jax.nn.softplus(-self.onset / self.width)
        z = self.facilitation + self.response * voltage
        helped = z if self.either else jnp.where(voltage < 0, -z, z)
        base = 1.0 + helped / self.exponent
        boost = jnp.where(base > 0, jnp.exp(self.exponent * jnp.log(jnp.where(base > 0, base, 1.0))), 0.0)
        return self.conductance * self.width * opened * boost / size
