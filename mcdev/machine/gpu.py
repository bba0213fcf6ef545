"""How this process computes on a GPU: in the fast ways that work there, each tried once by a small program.

A fast way may fail where a driver, a library or the device is older than it. Then the plain way is taken, which gives
numbers as good; which one it was is part of who computed something (``identity.Origin.flags``), since their last bits
may differ. On other backends there is nothing to choose.
"""

from __future__ import annotations

import bisect
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
from jax import lax

from mcdev.machine.environment import backend, computing

VARIABLE = "MCDEV_GPU_WITHOUT"
"""Of the environment: names of ways that are not to be taken, parted by commas."""
_OPTIONS = {
    "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,CONDITIONAL,WHILE",
    "xla_gpu_graph_min_graph_size": "1",
    # It makes copies whose places the host works out at every turn, which keeps a loop out of the graph.
    "xla_disable_hlo_passes": "dynamic-slice-annotator",
}


class Way:
    """A fast way of computing on a GPU, and whether it is open."""

    def __init__(self, name: str, taken: str, instead: str, trial: Callable[[], None]):
        """``trial`` raises where the way is closed. ``taken`` and ``instead``: in words, what then computes."""
        self.name, self._taken, self._instead, self._trial = name, taken, instead, trial
        self._refusal: str | None = None
        self._tried, self._trying = False, threading.RLock()

    def open(self) -> bool:
        """Whether it is taken here. The first question runs the trial."""
        if backend() != "gpu":
            return False
        with self._trying:
            if not self._tried:
                self._tried = True
                self._attempt()
        return self._refusal is None

    def _attempt(self) -> None:
        if self.name in os.environ.get(VARIABLE, "").replace(" ", "").split(","):
            self._refusal = f"{VARIABLE} says so"
            return
        try:
            # It may be asked in the middle of a tracing, of which a thread of its own knows nothing.
            with ThreadPoolExecutor(1) as own:
                own.submit(self._run_trial).result()
        except Exception as error:  # of a compiler, a driver, a library: whatever it is, the plain way is left
            self.close(error)
            self.warn()

    def _run_trial(self) -> None:
        with computing(False):
            self._trial()

    def presume(self) -> None:
        """Open without a trial: where one compiles for a GPU that is not here."""
        self._tried, self._refusal = True, None

    def close(self, why: BaseException | str) -> None:
        """It fails here. From now on the plain way is taken."""
        said = (str(why).strip() or type(why).__name__).split("\n")[0][:200]
        self._tried, self._refusal = True, said.replace(",", ";")  # commas part the items of an origin

    def warn(self) -> None:
        """Say that the plain way is taken, if it is."""
        if not self.open():
            message = f"on this GPU {self._instead}, which is slower: {self._refusal}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    def __str__(self) -> str:
        return self._taken if self.open() else f"{self._instead} ({self._refusal})"


def _loops_on_the_device() -> None:
    """Two loops in one another whose turns only the device knows, and a choice, as in the program itself."""

    def turn(i: jax.Array, x: jax.Array) -> jax.Array:
        longer = lax.fori_loop(0, (x[0] % 3).astype(jnp.int32) + 1, lambda _, y: y + 1.0, x)
        return lax.cond(longer[0] > 5.0, lambda y: y - 1.0, lambda y: y + 2.0, longer)

    def both(x: jax.Array) -> jax.Array:
        return lax.fori_loop(0, x[0].astype(jnp.int32), turn, x)

    begin = jnp.full(128, 7.0, jnp.float32)
    plain, on_device = (jax.jit(both, compiler_options=options)(begin) for options in ({}, _OPTIONS))
    if not jnp.array_equal(plain, on_device):
        raise ArithmeticError("loops in a graph give other numbers than loops that the host drives")


GRAPHS = Way("graphs", "loops on the device", "the host drives the loops", _loops_on_the_device)
WAYS = [GRAPHS]
"""All that there are, by their names."""


def offered(way: Way) -> Way:
    """A module's own way, now one of ``WAYS``. Their order is that of the items of an origin, and does not depend on
    which module is imported first."""
    bisect.insort(WAYS, way, key=lambda way: way.name)
    return way


def graph_options() -> dict[str, str]:
    """Of XLA's compiler, under which a call with all of its loops is one launch of a graph."""
    return dict(_OPTIONS)


def taken() -> tuple[str, ...]:
    """Names of the ways that are open; none on other backends."""
    return tuple(way.name for way in WAYS if way.open())


def retreats(why: Exception) -> Iterator[list[Way]]:
    """After a program has failed in the ways that are open: without each of them alone, then without all. Gives what
    is closed, and where the caller stops it stays so; where nothing helps, it was not for the ways."""
    ways = [way for way in WAYS if way.open()]
    for closed in [*([way] for way in reversed(ways)), ways] if ways else []:
        for way in ways:
            way.presume()
        for way in closed:
            way.close(why)
        yield closed
    for way in ways:
        way.presume()


def described() -> list[str]:
    """Which ways are taken here; nothing on other backends."""
    return [str(way) for way in WAYS] if backend() == "gpu" else []
