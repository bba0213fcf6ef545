"""Elementary functions of the hot loop, written out as polynomials so that they fuse and vectorise.

XLA's own cosine is not vectorised on the CPU; its exponential and logarithm are, but spend half of their instructions
on subnormal numbers, infinities and arguments that do not occur here. The polynomials are minimax fits (weighted least
squares, reweighted towards the largest error); the errors stated are theirs, before rounding.

A minimum or maximum is written as ``where``, which is one instruction and lets NaN through; ``jnp.minimum`` is three.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt32

from mcdev.machine.environment import backend

# sin(2πy)/y in y² for |y| ≤ 1/4: the sine to 3e-9 for float32, to 1.3e-11 for float64.
_SINE = (6.28318516, -41.34165503, 81.60100407, -76.54978222, 39.53670558)
_FINER_SINE = (6.283185306, -41.34170193, 81.60520943, -76.70366782, 41.99998967, -14.33702377)
# 2^f for |f| ≤ 1/2, to 7.5e-8 of itself.
_POWER = (1.000000072, 0.6931469671, 0.2402211972, 0.0555071329, 0.009675541293, 0.001327646679)
# -2 ln(1 + m)/m for √½ ≤ 1 + m ≤ √2, to 1.7e-7 of itself.
_LOGARITHM = (
    *(-1.999999891, 1.000007303, -0.6667011736, 0.4993981655),
    *(-0.3980034641, 0.3450169639, -0.3244504877, 0.2021352824),
)
_INTEGER = 12582912.0
"""1.5 · 2^23: added to a whole float32 it leaves the integer in the low bits. A conversion would do the same in seven
instructions, since XLA has it saturate. (Rounding in this way fails: XLA simplifies (x + c) - c.)"""
_ROOT_HALF = np.uint32(0x3F3504F3)  # the bits of √½ as a float32
_MANTISSA = np.uint32(0x007FFFFF)


def _polynomial(coefficients: tuple[float, ...], x: Float[Array, ...]) -> Float[Array, ...]:
    value = coefficients[-1] * x + coefficients[-2]
    for coefficient in reversed(coefficients[:-2]):
        value = value * x + coefficient
    return value


def cosine_turns(z: Float[Array, ...]) -> Float[Array, ...]:
    """cos(2πz) to 2e-7 in float32, to 2e-11 in float64: as sin(2πy) with y = ¼ - |z|, z reduced to half a turn."""
    return cosine_within(z - jnp.round(z))


def cosine_within(z: Float[Array, ...]) -> Float[Array, ...]:
    """The same of half a turn at most, |z| ≤ ½."""
    y = 0.25 - jnp.abs(z)
    return y * _polynomial(_SINE if z.dtype == jnp.float32 else _FINER_SINE, y * y)


def plain_gaussian(y: Float[Array, ...]) -> Float[Array, ...]:
    """exp(-y²). In float32 as precise as the rounding of y² leaves it, and 2^-125 where it is smaller than that; a NaN
    may come out as any number. A GPU has a 2^x of its own, as precise and in one instruction."""
    if y.dtype != jnp.float32:
        return jnp.exp(-y * y)
    power = y * y * (-1.0 / math.log(2.0))
    if backend() == "gpu":
        return jnp.exp2(power)
    power = jnp.where(power > -125.0, power, -125.0)
    whole = jnp.round(power)
    value = _polynomial(_POWER, power - whole)
    exponent = lax.bitcast_convert_type(whole + _INTEGER, jnp.uint32) << jnp.uint32(23)
    return lax.bitcast_convert_type(lax.bitcast_convert_type(value, jnp.uint32) + exponent, jnp.float32)


gaussian = jax.custom_jvp(plain_gaussian)
"""The same, with its derivative."""


@gaussian.defjvp
def _slope(
    primals: tuple[Float[Array, ...]], tangents: tuple[Float[Array, ...]]
) -> tuple[Float[Array, ...], Float[Array, ...]]:
    """Bits added to an exponent have no derivative of their own."""
    (y,), (moved,) = primals, tangents
    value = gaussian(y)
    return value, -2.0 * y * value * moved


def minus_twice_logarithm(bits: UInt32[Array, ...], dtype: jnp.dtype) -> Float[Array, ...]:
    """-2 ln u of u uniform on (0, 1]: the upper 24 of the random bits, centred in their cells."""
    # int32 converts to float in one vector instruction; uint32 does not.
    cell = lax.bitcast_convert_type(bits >> jnp.uint32(8), jnp.int32).astype(dtype) + 0.5
    if dtype != jnp.float32:
        return -2.0 * jnp.log(cell * 2.0**-24)
    # u = (1 + m) 2^n with 1 + m between √½ and √2; subtracting 24 from the exponent's bits divides by 2^24.
    pattern = lax.bitcast_convert_type(cell, jnp.uint32) - (_ROOT_HALF + jnp.uint32(24 << 23))
    n = (lax.bitcast_convert_type(pattern, jnp.int32) >> 23).astype(dtype)
    m = lax.bitcast_convert_type((pattern & _MANTISSA) + _ROOT_HALF, jnp.float32) - 1.0
    return m * _polynomial(_LOGARITHM, m) + n * (-2.0 * math.log(2.0))
