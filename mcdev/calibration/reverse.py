"""A trajectory for derivatives in reverse mode: what the ensemble records, at the cost of a few runs for any number of
parameters, and with memory that grows with the fourth root of the number of steps."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mcdev.circuits.contract import Circuit
from mcdev.devices.contract import Devices, LaneKey
from mcdev.integrators.checkpointed import checkpointed_loop, checkpointed_scan
from mcdev.program import Drive, rest, sample


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
    loop = checkpointed_loop(int(solutions.max()))

    def body(carry: Any, row: tuple[Any, ...]) -> tuple[Any, Any]:
        start, end, number, step = row
        carry, (means, _, _) = sample(
            devices, circuit, key, carry, (start, end, number, pairs[0], step), counted, 0, loop
        )
        return carry, means

    columns = tuple(jnp.asarray(x) for x in (rows.start, rows.end, solutions, rows.step))
    end, means = checkpointed_scan(body, rest(devices, circuit, key), columns)
    return means, end.intact
