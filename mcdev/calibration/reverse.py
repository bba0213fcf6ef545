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
from mcdev.simulation.program import Drive, rest, sample


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
    columns = tuple(jnp.asarray(x) for x in (rows.start, rows.end, solutions, pairs, rows.step))
    onward = advance_for_reverse(int(solutions.max()), int(pairs[0]))
    end, (means, _, _) = onward(devices, circuit, key, rest(devices, circuit, key), columns, counted, 0)
    return means, end.intact


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
        rows: tuple[Any, ...],
        counted: Bool[Array, " lane"],
        kept: int,
    ) -> tuple[Any, tuple[Any, ...]]:
        def body(carry: Any, row: tuple[Any, ...]) -> tuple[Any, Any]:
            start, end, number, step = row
            carry, (means, _, _) = sample(
                devices, circuit, key, carry, (start, end, number, np.uint32(pairs), step), counted, kept, loop
            )
            return carry, means

        start, end, solutions, _, step = rows
        carry, means = checkpointed_scan(body, carry, (start, end, solutions, step))
        return carry, (means, {}, {})

    return advance
