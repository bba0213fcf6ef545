"""Random numbers that depend on who asks, not on when: Threefry-2x32-20 in counter mode.

A realisation's stream is keyed by (seed, device, cycle); one number of it by (step, particle). The five
words stay separate 32-bit words, so nothing wraps into a neighbour's stream and realisation i is the same
bit for bit in an ensemble of ten or ten million, in any chunk, on any thread.

Threefry (Salmon et al. 2011, doi:10.1145/2063384.2063405) with its full 20 rounds is the generator behind
``jax.random``; it passes the BigCrush battery. Written out here, it fuses into the loop that uses it.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt32

from mcdev.integrators.elementary import cosine_turns, cosine_within, minus_twice_logarithm

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA


def threefry(
    key: tuple[UInt32[Array, ...], UInt32[Array, ...]],
    counter: tuple[UInt32[Array, ...], UInt32[Array, ...]],
) -> tuple[UInt32[Array, ...], UInt32[Array, ...]]:
    """The Threefry-2x32 block function with 20 rounds: 64 random bits for a 64-bit key and counter."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    a, b = counter[0] + schedule[0], counter[1] + schedule[1]
    for r in range(20):
        rotation = _ROTATIONS[r % 8]
        a = a + b
        b = ((b << jnp.uint32(rotation)) | (b >> jnp.uint32(32 - rotation))) ^ a
        if r % 4 == 3:
            injection = r // 4 + 1
            a = a + schedule[injection % 3]
            b = b + (schedule[(injection + 1) % 3] + jnp.uint32(injection))  # the sum is made once, outside the loop
    return a, b


def realisation_key(
    seed: UInt32[Array, ...], device: UInt32[Array, " lane"], cycle: UInt32[Array, ""]
) -> tuple[UInt32[Array, " lane"], UInt32[Array, " lane"]]:
    """The key of each realisation: Threefry of (device, cycle) under the seed."""
    return threefry((seed, jnp.uint32(0)), (device, jnp.full_like(device, cycle)))


def uniform(bits: UInt32[Array, ...], dtype: jnp.dtype) -> Float[Array, ...]:
    """Uniform on (0, 1]: 24 bits, centred in their cells; in float32 the last cell rounds to 1."""
    # int32 converts to float in one vector instruction; uint32 does not.
    return (lax.bitcast_convert_type(bits >> jnp.uint32(8), jnp.int32).astype(dtype) + 0.5) * 2.0**-24


def normal_pair(
    key: tuple[UInt32[Array, ...], UInt32[Array, ...]],
    counter: tuple[UInt32[Array, ...], UInt32[Array, ...]],
    dtype: jnp.dtype,
) -> tuple[Float[Array, ...], Float[Array, ...]]:
    """Two independent standard normals (Box and Muller 1958, doi:10.1214/aoms/1177706645).

    The radius is cut at 5.9 standard deviations, beyond which lie 4e-9 of all draws.
    """
    a, b = threefry(key, counter)
    radius = jnp.sqrt(minus_twice_logarithm(a, dtype))
    angle = lax.bitcast_convert_type(b, jnp.int32).astype(dtype) * 2.0**-32
    return radius * cosine_within(angle), radius * cosine_turns(angle - 0.25)
