"""The stretch of time that an integrator has to cover."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

PerLane = Float[Array, " lane"]


class Interval(NamedTuple):
    """A stretch of time over which voltage and current are held, in equal steps; each lane has its own."""

    step: PerLane
    """Length of one step (s)."""
    pairs: UInt32[Array, " lane"]
    """Pairs of steps that each lane takes; none where a lane waits for the others."""
    most: UInt32[Array, ""]
    """The largest of them: the turns of a loop through all lanes. A lane holds still once its own are done."""

    @classmethod
    def alike(cls, step: Any, pairs: Any, lanes: int) -> Interval:
        """The same steps in every lane; ``pairs`` is an unsigned whole number of 32 bits."""
        return cls(jnp.full(lanes, step), jnp.full(lanes, pairs), pairs)

    @property
    def duration(self) -> PerLane:
        """Seconds."""
        return self.step * (2.0 * self.pairs.astype(self.step.dtype))

    def times(self, copies: int) -> Interval:
        """The same for as many devices of each lane, one after the other."""
        return self._replace(step=jnp.tile(self.step, copies), pairs=jnp.tile(self.pairs, copies))
