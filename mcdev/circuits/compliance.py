"""Current compliance: the source lowers its voltage until the current is at its limit (as an SMU does)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from mcdev.devices.contract import CurrentLaw, PerLane, per_lane
from mcdev.integrators.root import solve_monotone


def limit_current(
    voltage: PerLane, current: PerLane, limit: PerLane | None, law: CurrentLaw
) -> tuple[PerLane, PerLane]:
    """(voltage, current) where |current| ≤ limit, or without a limit; otherwise the voltage at which I(V) = ± limit."""
    if limit is None:
        return voltage, current
    aim = jnp.sign(voltage) * limit
    chord = law.chord(voltage)
    guess = jnp.where(chord > 0, aim / jnp.where(chord > 0, chord, 1.0), voltage)
    guess = jnp.where(jnp.abs(guess) < jnp.abs(voltage), guess, voltage)
    limited = solve_monotone(lambda v: law.current(v) - aim, guess, voltage, limit)
    over = jnp.abs(current) > limit
    return jnp.where(over, limited, voltage), jnp.where(over, aim, current)


def limits(compliance: float | None, lanes: int, dtype: Any) -> PerLane | None:
    """The compliance (A) of each lane; None without one."""
    return None if compliance is None else per_lane(compliance, dtype, lanes)
