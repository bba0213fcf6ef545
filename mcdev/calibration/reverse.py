"""A trajectory for derivatives in reverse mode: what the ensemble records, at the cost of a few runs for any number of
parameters, and with memory that grows with the fourth root of the number of steps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mcdev.circuits.contract import Circuit
from mcdev.devices.contract import Devices, LaneKey
from mcdev.integrators.checkpointed import checkpointed_loop, checkpointed_scan
from mcdev.simulation.program import Place, Recorded, Row, rest, sample
from mcdev.simulation.trial import Drive


def trajectory(
    devices: Devices, circuit: Circuit, key: LaneKey, rows: Drive, counted: Bool[Array, " lane"]
) -> tuple[dict[str, Float[Array, "sample lane"]], Bool[Array, " lane"]]:
    """(mean of each channel over each sample, whether each lane is intact at the end), from rest.

    To be differentiated by devices, circuit, and voltages and steps of the rows. How many circuit solutions and pairs
    of steps each sample takes must be known beforehand (NumPy), and the pairs be the same in all samples, as they are
    where the circuit is solved every pair of steps. Random numbers, of families that use them, have no derivative.
    """
    solutions, pairs = (np.asarray(x, np.uint32) for x in (rows.solutions, rows.pairs))
    if np.any(pairs != pairs[0]):
        raise ValueError(f"pairs of steps from {pairs.min()} to {pairs.max()}; reverse mode needs the same in all rows")
    lanes = counted.shape[0]
    own = (rows.start, rows.end, solutions, rows.pairs, rows.step)
    columns = Row(*(jnp.repeat(jnp.asarray(x)[:, None], lanes, axis=1) for x in own))
    onward = advance_for_reverse(int(solutions.max()), int(pairs[0]))
    end, seen = onward(devices, circuit, key, rest(devices, circuit, key), columns, counted, Place(lanes, 0))
    return seen.channels, end.intact


@functools.cache
def advance_for_reverse(bound: int, pairs: int) -> Callable[..., Any]:
    """``program.advance`` for derivatives in reverse mode: at most ``bound`` circuit solutions in a sample,
    ``pairs`` pairs of steps between two. Cached, so that the same numbers are the same function to the compiler."""
    loop = checkpointed_loop(bound)

    def advance(
        devices: Devices,
        circuit: Circuit,
        key: LaneKey,
        carry: Any,
        rows: Row,
        counted: Bool[Array, " lane"],
        place: Place,
    ) -> tuple[Any, Recorded]:
        def body(carry: Any, row: tuple[Any, ...]) -> tuple[Any, Any]:
            start, end, solutions, step = row
            own = Row(start, end, solutions, jnp.full_like(solutions, pairs), step)
            most = jnp.max(solutions), np.uint32(pairs)
            carry, seen = sample(devices, circuit, key, carry, own, counted, place, most, loop)
            return carry, seen.channels

        carry, means = checkpointed_scan(body, carry, (rows.start, rows.end, rows.solutions, rows.step))
        return carry, Recorded(means, {}, {})

    return advance
