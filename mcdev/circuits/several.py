"""Several devices of one table in each realisation: their arrays, their parameters and their random numbers.

Between calls their arrays are [..., device, lane], so that realisations can be joined and cut as ever. Within, the
devices stand one after the other as lanes of one batch: N devices cost what N realisations of one do. Where there is
one device, the axis is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from mcdev.devices.contract import DeviceConfig, Devices, LaneKey
from mcdev.integrators.noise import threefry

_ELEMENT = np.uint32(0xFFFFFFFE)  # counter word of a device's key, beyond any particle


def flat(tree: Any, copies: int) -> Any:
    """Arrays [..., device, lane] with the devices one after the other as lanes."""
    if copies == 1:
        return tree
    return jax.tree.map(lambda leaf: leaf.reshape(*leaf.shape[:-2], -1), tree)


def stacked(tree: Any, copies: int) -> Any:
    """The opposite of :func:`flat`."""
    if copies == 1:
        return tree
    return jax.tree.map(lambda leaf: leaf.reshape(*leaf.shape[:-1], copies, -1), tree)


def chosen(where: Bool[Array, " lane"], these: Any, others: Any) -> Any:
    """Of the realisations ``where`` it holds these arrays, of the rest the others; also of arrays that have several
    devices one after the other."""

    def of(a: Any, b: Any) -> Any:
        copies = a.shape[-1] // where.shape[0]
        return jnp.where(jnp.tile(where, copies) if copies > 1 else where, a, b)

    return jax.tree.map(of, these, others)


def element_keys(key: LaneKey, numbers: Sequence[int]) -> LaneKey:
    """The key of each of these devices of each realisation, the devices one after the other. Number 0 has the
    realisation's own, so that the first device of a circuit does what it does alone."""
    if tuple(numbers) == (0,):
        return key
    others = [e for e in numbers if e]
    number = jnp.asarray(np.array(others, np.uint32))[:, None]
    words = threefry(
        (key[0][None], key[1][None]), (jnp.broadcast_to(number, (len(others), key[0].shape[0])), jnp.uint32(_ELEMENT))
    )
    own = [0] if 0 in numbers else []
    first, second = (jnp.concatenate([*(k for _ in own), w.reshape(-1)]) for k, w in zip(key, words, strict=True))
    return first, second


def built(
    table: DeviceConfig,
    draws: Mapping[str, np.ndarray],
    seed: int,
    devices: np.ndarray,
    dtype: Any,
    numbers: Sequence[int] = (0,),
) -> Devices:
    """The batch of the devices with these numbers of each realisation. ``draws``: their parameters (SI), [lane] or
    [device, lane]. ``devices``: the realisations' indices."""
    if len(numbers) == 1 and numbers[0] == 0:
        return table.build(dict(draws), seed, devices, dtype)
    shape = (len(numbers), devices.size)
    own = {name: np.broadcast_to(value, shape).reshape(-1) for name, value in draws.items()}
    which = (np.asarray(numbers, np.int64)[:, None] << 32) + devices  # what is drawn for a device alone has its index
    batch: Devices = stacked(table.build(own, seed, which.reshape(-1), dtype), len(numbers))
    return batch
