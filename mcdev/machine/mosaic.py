"""Kernels of a GPU in Pallas for Mosaic, of one lane a thread or a few: what its versions name differently, and its
interpreter on a CPU, in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

LEAST = 128
"""Lanes of a block of threads are a multiple of this."""


class Block:
    """The lanes of one block of threads, spread over its threads."""

    def __init__(self, lanes: int, interpret: Any):
        """``interpret``: Pallas's parameters of its interpreter; None on a GPU."""
        self.lanes, self._interpret = lanes, interpret

    def load(self, ref: Any, *at: Any) -> Array:
        """A row of an array, each thread its own lanes."""
        from jax.experimental.pallas import mosaic_gpu as plgpu

        if self._interpret:
            return ref[at]
        place = (ref.at[at],) if _recent() else (ref, at)
        found: Array = plgpu.load(*place, layout=self._layout(), optimized=False)
        return found

    def wide(self, value: Any, dtype: Any = None) -> Array:
        """The same value in all lanes."""
        from jax.experimental.pallas import mosaic_gpu as plgpu

        full = jnp.full((self.lanes,), value, dtype)
        return full if self._interpret else plgpu.layout_cast(full, self._layout())

    def _layout(self) -> Any:
        from jax.experimental.pallas import mosaic_gpu as plgpu

        return plgpu.Layout.WG_STRIDED((self.lanes,), vec_size=self.lanes // LEAST)


def kernel(
    body: Callable[..., None], shapes: Any, grid: dict[str, int], interpret: Any, **parameters: Any
) -> Callable[..., Any]:
    """``body`` of references to what is given and to what it fills (``shapes``), once for every point of ``grid``.
    ``parameters``: of Mosaic's compiler."""
    from jax.experimental.pallas import mosaic_gpu as plgpu

    options: Any = {
        "out_type" if _recent() else "out_shape": shapes,
        "grid": tuple(grid.values()),
        "grid_names": tuple(grid),
        "compiler_params": plgpu.CompilerParams(**parameters),
    }
    made: Callable[..., Any] = plgpu.kernel(body, **options, **({"interpret": interpret} if interpret else {}))
    return made


def _recent() -> bool:
    """Whether names are those from jax 0.11 on."""
    from jax.experimental.pallas import mosaic_gpu as plgpu

    return "out_type" in inspect.signature(plgpu.kernel).parameters
