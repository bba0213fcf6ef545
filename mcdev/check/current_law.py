"""The law of a current: of a device in its state, or of an element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from mcdev.check.failure import Failure
from mcdev.devices.contract import CurrentLaw


def check_law(name: str, law: CurrentLaw, lanes: int) -> Iterator[Failure]:
    """The current is of the voltage's sign, zero at zero, never decreasing, and the chord is its ratio to it."""
    size = jax.tree.leaves(law)[0].dtype
    volts = np.linspace(-1.0, 1.0, 11, dtype=size)
    currents, chords = (np.asarray(each) for each in _currents(law, volts, lanes))
    largest, eps = np.abs(currents).max(), np.finfo(size).eps
    if (np.diff(currents, axis=0) < -100 * eps * largest).any():
        yield Failure(f"{name}, current()", "a current that never decreases with the voltage", "one that does")
    if (currents * volts[:, None] < 0).any() or (np.abs(currents[5]) > 100 * eps * largest).any():
        yield Failure(f"{name}, current()", "a current of the voltage's sign, zero at zero", "another")
    if not np.isfinite(chords).all() or (np.abs(chords * volts[:, None] - currents) > 1e4 * eps * largest).any():
        yield Failure(f"{name}, chord()", "current over voltage, finite at zero too", "another")


@eqx.filter_jit
def _currents(law: CurrentLaw, volts: Any, lanes: int) -> tuple[Any, Any]:
    """Current and chord [voltage, lane]."""
    each = [jnp.full(lanes, volt) for volt in volts]
    return jnp.stack([law.current(v) for v in each]), jnp.stack([law.chord(v) for v in each])
