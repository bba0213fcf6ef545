"""A function of jax.numpy as formulas: its jaxpr, read one primitive after another.

What is printed is what the ensemble computes, in float64. Every array is of one lane, so that a shape means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from mcdev.export.expressions import Expression, Expressions
from mcdev.machine.environment import computing

_CALLS = {"jit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
"""Primitives that call another function, each with the name under which its jaxpr is."""
_SAME = ("broadcast_in_dim", "reshape", "squeeze", "copy", "stop_gradient", "optimization_barrier")


class UnprintableError(Exception):
    """A primitive without a text; the message names it."""


_Rule = Callable[..., Expression]
_RULES: dict[str, _Rule] = {
    "add": lambda make, x, y: make("+", x, y),
    "add_any": lambda make, x, y: make("+", x, y),
    "sub": lambda make, x, y: make("-", x, y),
    "mul": lambda make, x, y: make("*", x, y),
    "div": lambda make, x, y: make("/", x, y),
    "max": lambda make, x, y: make("max", x, y),
    "min": lambda make, x, y: make("min", x, y),
    "neg": lambda make, x: make.negative(x),
    "abs": lambda make, x: make.size(x),
    "sign": lambda make, x: make(
        "? :", make("<", x, make.number(0)), make.number(-1), make.compared("<", make.number(0), x)
    ),
    "exp": lambda make, x: make.exp(x),
    "exp2": lambda make, x: make.exp(make("*", make.number(np.log(2.0)), x)),
    "expm1": lambda make, x: make.expm1(x),
    "log": lambda make, x: make.ln(x),
    "log1p": lambda make, x: make.ln(make("+", make.number(1), x)),
    "logistic": lambda make, x: make("/", make.number(1), make("+", make.number(1), make.exp(make.negative(x)))),
    "sinh": lambda make, x: make.hyperbolic("sinh", x),
    "cosh": lambda make, x: make.hyperbolic("cosh", x),
    "tanh": lambda make, x: make("tanh", x),
    "sin": lambda make, x: make("sin", x),
    "cos": lambda make, x: make("cos", x),
    "sqrt": lambda make, x: make.root(x),
    "rsqrt": lambda make, x: make("/", make.number(1), make.root(x)),
    "square": lambda make, x: make("*", x, x),
    "pow": lambda make, x, y: make.power(x, y),
    "clamp": lambda make, least, x, most: make("min", make("max", x, least), most),
    "lt": lambda make, x, y: make.compared("<", x, y),
    "le": lambda make, x, y: make.compared("<=", x, y),
    "gt": lambda make, x, y: make.compared("<", y, x),
    "ge": lambda make, x, y: make.compared("<=", y, x),
    "eq": lambda make, x, y: make.compared("==", x, y),
    "ne": lambda make, x, y: make.choice(make.compared("==", x, y), make.number(0), make.number(1)),
    "and": lambda make, x, y: make("*", x, y),
    "or": lambda make, x, y: make("max", x, y),
    "not": lambda make, x: make.choice(x, make.number(0), make.number(1)),
    "is_finite": lambda make, x: make.number(1),
    "select_n": lambda make, which, no, yes: make.choice(which, yes, no),
}
"""Primitive → its formula."""


def formulas(
    make: Expressions, function: Callable[..., Sequence[Any]], arguments: Sequence[Expression]
) -> list[Expression]:
    """What a function of arrays of one lane returns, for these arguments.

    Raises ``UnprintableError`` for a primitive that has no text.
    """
    with computing(True):
        traced = jax.make_jaxpr(function)(*(jnp.ones(1) for _ in arguments))
        return _read(make, traced, arguments)


def _read(make: Expressions, closed: ClosedJaxpr, arguments: Sequence[Expression]) -> list[Expression]:
    known: dict[Any, Expression] = dict(zip(closed.jaxpr.invars, arguments, strict=True))
    known |= {var: _constant(make, value) for var, value in zip(closed.jaxpr.constvars, closed.consts, strict=True)}

    def of(atom: Any) -> Expression:
        return _constant(make, atom.val) if isinstance(atom, Literal) else known[atom]

    for equation in _needed(closed):
        found = _result(make, equation, [of(atom) for atom in equation.invars])
        known |= dict(zip(equation.outvars, found, strict=True))
    return [of(atom) for atom in closed.jaxpr.outvars]


def _needed(closed: ClosedJaxpr) -> list[Any]:
    """The equations that something in the result depends on, in their order."""
    wanted, found = set(map(id, closed.jaxpr.outvars)), []
    for equation in reversed(closed.jaxpr.eqns):
        if not wanted.isdisjoint(map(id, equation.outvars)):
            found.append(equation)
            wanted.update(map(id, equation.invars))
    return found[::-1]


def _result(make: Expressions, equation: Any, operands: list[Expression]) -> list[Expression]:
    name, parameters = equation.primitive.name, equation.params
    if name in _CALLS:
        return _read(make, parameters[_CALLS[name]], operands)
    for var in equation.outvars:
        kind = var.aval.dtype
        if np.prod(var.aval.shape) != 1:
            raise UnprintableError(f"{name}, to an array of {var.aval.shape} numbers")
        if not jnp.issubdtype(kind, jnp.floating) and not jnp.issubdtype(kind, jnp.bool_):
            raise UnprintableError(f"{name}, to a number of type {kind}")
    if name == "integer_pow":
        return [make.whole_power(operands[0], parameters["y"])]
    if name in _RULES:
        return [_RULES[name](make, *operands)]
    if name in _SAME or (name == "convert_element_type" and jnp.issubdtype(parameters["new_dtype"], jnp.floating)):
        return operands
    raise UnprintableError(name)


def _constant(make: Expressions, value: Any) -> Expression:
    array = np.asarray(value)
    if array.size != 1:
        raise UnprintableError(f"a constant array of {array.size} numbers")
    return make.number(float(array.reshape(())))
