"""A device's laws as formulas, read from the functions that its ensemble computes with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcdev.devices.contract import DeviceConfig, RateEquations
from mcdev.export.expressions import Expression, Expressions, in_order
from mcdev.export.jaxpr import UnprintableError, formulas
from mcdev.export.refusal import refused
from mcdev.machine.environment import computing
from mcdev.schema import Unit, typical

MOST = 20_000
"""Operations of one formula, if each is written wherever it is used: as a subcircuit has them."""

DEEPEST = 200
"""Operations within one another."""


@dataclass(frozen=True)
class State:
    """One state of a device, on a node of its own."""

    name: str
    about: str
    start: Expression
    """At rest, of the parameters."""
    rate: Expression
    """d/dt, in 1/s of the state's unit."""
    keeps: bool
    """Whether nothing moves it at rest and zero volts, so that it has no equilibrium of its own."""
    time: float
    """How quickly the median device's relaxes there, to a power of ten (s); 1 s where it keeps."""


@dataclass(frozen=True)
class Laws:
    """d(state)/dt and I of the states and the voltage."""

    states: tuple[State, ...]
    current: Expression
    """Of states within their bounds, whatever a simulator tries; the rates see them as they are, and lead them back."""
    sources: tuple[str, ...]
    """Names of the modules whose functions these are."""
    idle: tuple[str, ...]
    """Parameters that are in none of them."""


def laws_of(device: Any, key: str) -> Laws:
    """The laws of a device whose table stands at ``key``.

    Raises ``ConfigError`` for a family without rate equations, or with something in them that has no text.
    """
    equations = device.rate_equations
    if isinstance(equations, str):
        raise refused(f"{key}.kind", device.kind, f"cannot be exported; {equations}")
    try:
        return _read(device, equations)
    except UnprintableError as error:
        message = f"cannot be exported; its law uses {error}, which has no text in a circuit simulator"
        raise refused(f"{key}.kind", device.kind, f"{message}; docs/spice.md lists what has") from None
    except jax.errors.JAXTypeError as error:
        message = "cannot be exported; its build, rest, rate and current law are traced, and may use operators and"
        raise refused(f"{key}.kind", device.kind, f"{message} jax.numpy: {str(error).splitlines()[0]}") from None


def _read(device: DeviceConfig, equations: RateEquations) -> Laws:
    make = Expressions()
    marks = type(device).parameters()
    names, bounds = list(equations.states), equations.states.values()
    parameters = [make.name("parameter", name, *_bounds(mark)) for name, mark in marks.items()]
    states = [make.name("state", name) for name in names]
    held = [make.bounded(x, b.least, b.most) for x, b in zip(states, bounds, strict=True)]
    sources: dict[str, None] = {}

    def everything(voltage: Any, *arrays: Any) -> list[Any]:
        values, own = dict(zip(marks, arrays, strict=False)), arrays[len(marks) :]
        devices, start, rates = _motion(device, equations, values, own[: len(names)], voltage)
        law = devices.current_law(jax.tree.unflatten(jax.tree.structure(start), own[len(names) :]))
        sources.update(dict.fromkeys((type(devices).__module__, type(law).__module__)))
        return [law.current(voltage), *jax.tree.leaves(start), *jax.tree.leaves(rates)]

    current, *rest = formulas(make, everything, [make.name("voltage", "v"), *parameters, *states, *held])
    found = []
    for i, (name, state, slope) in enumerate(zip(names, bounds, _slopes(device, equations), strict=True)):
        keeps = not -math.inf < slope < 0
        time = 1.0 if keeps else 10.0 ** max(-20, min(20, round(-math.log10(-slope))))
        found.append(State(name, state.about, rest[i], rest[len(names) + i], keeps, time))
    every = in_order([current, *rest])
    depth: dict[int, int] = {}
    for e in every:
        depth[id(e)] = 1 + max((depth[id(operand)] for operand in e.operands), default=0)
    if max(e.size for e in every) > MOST or max(depth.values()) > DEEPEST:
        raise UnprintableError(f"a formula of more than {MOST} operations, or of more than {DEEPEST} in each other")
    if not all(math.isfinite(e.number) for e in every if e.number is not None):
        raise UnprintableError("a constant that is no finite number")
    used = {e.value for e in every if e.operation == "parameter"}
    return Laws(tuple(found), current, tuple(sources), tuple(name for name in marks if name not in used))


def _bounds(mark: Unit) -> tuple[float | None, float | None]:
    """Of a parameter, in SI units."""
    least = mark.gt if mark.ge is None else mark.ge
    most = mark.lt if mark.le is None else mark.le
    return None if least is None else least * mark.scale, None if most is None else most * mark.scale


def _motion(
    device: Any, equations: RateEquations, parameters: Mapping[str, Any], own: Sequence[Any], voltage: Any
) -> tuple[Any, Any, Any]:
    """The device built, its state at rest, and how a state moves under a voltage; of one lane."""
    devices = device.build(parameters, 0, np.arange(1), np.float64)
    start = devices.rest((np.zeros(1, np.uint32), np.zeros(1, np.uint32)))
    rates = equations.rate(devices, jax.tree.unflatten(jax.tree.structure(start), own), voltage)
    return devices, start, rates


def _slopes(device: DeviceConfig, equations: RateEquations) -> list[float]:
    """Slope of each state's rate in that state, of the median device at rest and zero volts (1/s)."""
    medians = {name: np.array([typical(getattr(device, name))]) for name in type(device).parameters()}

    def rates(x: Float[Array, " state"]) -> Float[Array, " state"]:
        return jnp.concatenate(jax.tree.leaves(_motion(device, equations, medians, list(x[:, None]), jnp.zeros(1))[2]))

    def slopes() -> Float[Array, " state"]:
        anywhere = [jnp.zeros(1)] * len(equations.states)
        start = _motion(device, equations, medians, anywhere, jnp.zeros(1))[1]
        return jnp.diagonal(jax.jacfwd(rates)(jnp.concatenate(jax.tree.leaves(start))))

    with computing(True):
        return [float(slope) for slope in jax.jit(slopes)()]  # compiled, since one compilation is less than fifty
