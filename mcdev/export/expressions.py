"""Formulas as trees, and their text. What is equal is one object; every formula knows within which numbers it lies.

The rules of the printer, so that no number overflows at whatever voltage or state a simulator tries on its way, and the
derivative that it takes of the text is right everywhere:

    exp x        e^[x] (1 + (x - 80)_+),  [x] = min(x, 80): straight on beyond 80
    sinh x       sinh [x] + cosh [x] (x - [x]),  [x] held within ±80: straight on too; cosh x alike
    expm1 x      tanh(x/2) (e^x + 1), which keeps small numbers;  log1p x as ln(1 + x), to 1e-16
    ln x         ln max(x, 1e-300);  √x as √max(x, 0)
    x^y          and e^(y ln x): pow, of x held within 1e-300 and 1e15;  0 for x ≤ 0;  a whole y as a product
    |x|          (x < 0 ? -x : x), whose slope at zero is not zero
    max(x, y)    is written max(y, x): ngspice has at x = y the slope of what stands second, and |x| that of x

A rule is left out where the numbers cannot go that far (an exponent below zero); exp, sinh and cosh of parameters alone
are as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcdev.export.names import number

FAR = 80.0
"""Argument from which exp, sinh and cosh go straight on: beyond any use, and e^80 times anything is still a number."""
_TINY, _LARGE = 1e-300, 1e15
_FUNCTIONS: dict[str, Callable[[float], Any]] = {
    "exp": np.exp,
    "ln": np.log,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
}
_RISING = ("exp", "ln", "sinh", "tanh", "sqrt")
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "min": np.minimum,
    "max": np.maximum,
    "pow": np.power,
    "<": np.less,
    "<=": np.less_equal,
    "==": np.equal,
}
COMPARISONS = ("<", "<=", "==")
_LEVELS = {"+": 1, "-": 1, "*": 2, "/": 2}
_ANY = (-math.inf, math.inf)


@dataclass(frozen=True, eq=False)
class Expression:
    """A number, a name, or an operation on others. ``? :`` takes a comparison and two formulas."""

    operation: str
    """``number``, ``parameter``, ``state``, ``voltage``, or what is done to the operands."""
    operands: tuple[Expression, ...]
    value: float | str
    """The number, or the name."""
    within: tuple[float, float]
    """The smallest and the largest number that it can be."""
    constant: bool
    """Whether no state and no voltage is in it."""
    size: int
    """Operations of its text, if each is written wherever it is used."""

    @property
    def number(self) -> float | None:
        return float(self.value) if self.operation == "number" else None


class Expressions:
    """Where formulas are made. Booleans are the numbers 0 and 1."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Expression] = {}

    def number(self, value: float) -> Expression:
        return self._one("number", (), float(value), (float(value), float(value)), True)

    def name(self, kind: str, name: str, least: float | None = None, most: float | None = None) -> Expression:
        within = (-math.inf if least is None else least, math.inf if most is None else most)
        return self._one(kind, (), name, within, kind == "parameter")

    def _one(
        self, operation: str, operands: tuple[Expression, ...], value: float | str, within: Any, constant: bool
    ) -> Expression:
        key = (operation, *map(id, operands), repr(value))
        if key not in self._known:
            size = 1 + sum(e.size for e in operands)
            self._known[key] = Expression(operation, operands, value, within, constant, size)
        return self._known[key]

    def __call__(self, operation: str, *operands: Expression) -> Expression:
        """An operation, or what it comes to."""
        simple = self._simplified(operation, operands)
        if simple is not None:
            return simple
        return self._one(operation, operands, "", _within(operation, operands), all(e.constant for e in operands))

    def _simplified(self, operation: str, operands: tuple[Expression, ...]) -> Expression | None:
        numbers = [e.number for e in operands]
        of: Callable[..., Any] | None = _OPERATORS.get(operation) or _FUNCTIONS.get(operation)
        if of and None not in numbers:
            with np.errstate(all="ignore"):
                return self.number(float(of(*numbers)))
        first, second = operands[0], operands[-1]
        if operation == "==" and first is second:  # a test for NaN, of which there is none
            return self.number(1.0)
        if operation == "? :":
            chosen = numbers[0]
            if chosen is not None:
                return operands[1] if chosen else second
            return second if operands[1] is second else None
        if operation == "*" and 0.0 in numbers:
            return self.number(0.0)
        if (operation in ("+", "-") and numbers[1] == 0.0) or (operation in ("*", "/") and numbers[1] == 1.0):
            return first
        if (operation, numbers[0]) in (("+", 0.0), ("*", 1.0)):
            return second
        negated = operation == "-" and numbers[0] == 0.0 and second.operation == "-"
        return second.operands[1] if negated and second.operands[0].number == 0.0 else None

    def negative(self, x: Expression) -> Expression:
        return self("-", self.number(0.0), x)

    def choice(self, condition: Expression, then: Expression, other: Expression) -> Expression:
        """``condition`` is 0 or 1."""
        comparison = self("<", self.number(0.5), condition)
        if condition.operation == "? :" and {e.number for e in condition.operands[1:]} == {0.0, 1.0}:
            comparison = condition.operands[0]
            then, other = (then, other) if condition.operands[1].number else (other, then)
        return self("? :", comparison, self._given(comparison, 1, then), self._given(comparison, 2, other))

    def _given(self, comparison: Expression, branch: int, formula: Expression) -> Expression:
        """It where a comparison is known: laws in JAX choose twice, so that no derivative is that of 0^y."""
        done: dict[int, Expression] = {}
        for e in in_order([formula]):
            operands = [done[id(operand)] for operand in e.operands]
            if e.operation == "? :" and e.operands[0] is comparison:
                done[id(e)] = operands[branch]
            else:
                same = all(a is b for a, b in zip(operands, e.operands, strict=True))
                done[id(e)] = e if same else self(e.operation, *operands)
        return done[id(formula)]

    def compared(self, operation: str, x: Expression, y: Expression) -> Expression:
        """0 or 1."""
        return self("? :", self(operation, x, y), self.number(1.0), self.number(0.0))

    def size(self, x: Expression) -> Expression:
        """|x|."""
        return self("? :", self("<", x, self.number(0.0)), self.negative(x), x)

    def bounded(self, x: Expression, least: float | None, most: float | None) -> Expression:
        """x within the bounds that there are."""
        x = x if least is None else self("max", x, self.number(least))
        return x if most is None else self("min", x, self.number(most))

    def exp(self, x: Expression) -> Expression:
        logarithms = [i for i, e in enumerate(x.operands) if x.operation == "*" and e.operation == "ln"]
        if logarithms:
            (of,) = x.operands[logarithms[0]].operands
            return self._raised(of, x.operands[1 - logarithms[0]])
        if x.constant or x.within[1] <= FAR:
            return self("exp", x)
        far, one = self.number(FAR), self.number(1.0)
        ahead = self("max", self("-", x, far), self.number(0.0))
        return self("*", self("exp", self("min", x, far)), self("+", one, ahead))

    def hyperbolic(self, name: str, x: Expression) -> Expression:
        """sinh or cosh."""
        if x.constant or (x.within[0] >= -FAR and x.within[1] <= FAR):
            return self(name, x)
        near = self.bounded(x, -FAR, FAR)
        slope = self("cosh" if name == "sinh" else "sinh", near)
        return self("+", self(name, near), self("*", slope, self("-", x, near)))

    def expm1(self, x: Expression) -> Expression:
        half = self("tanh", self("*", self.number(0.5), x))
        return self("*", half, self("+", self.exp(x), self.number(1.0)))

    def ln(self, x: Expression) -> Expression:
        return self("ln", x if x.within[0] > 0 else self("max", x, self.number(_TINY)))

    def root(self, x: Expression) -> Expression:
        return self("sqrt", x if x.within[0] >= 0 else self("max", x, self.number(0.0)))

    def power(self, x: Expression, y: Expression) -> Expression:
        if y.number is not None and y.number == round(y.number) and abs(y.number) <= 16:
            return self.whole_power(x, round(y.number))
        if x.within[0] > 0:
            return self._raised(x, y)
        value = self._raised(self("max", x, self.number(_TINY)), y)
        return self("? :", self("<", self.number(0.0), x), value, self.number(0.0))

    def _raised(self, x: Expression, y: Expression) -> Expression:
        """x^y of an x above zero."""
        return self("pow", x if x.within[1] <= _LARGE else self("min", x, self.number(_LARGE)), y)

    def whole_power(self, x: Expression, n: int) -> Expression:
        if n < 0:
            return self("/", self.number(1.0), self.whole_power(x, -n))
        if n < 2:
            return x if n else self.number(1.0)
        half = self.whole_power(x, n // 2)
        return self("*", self("*", half, half), x) if n % 2 else self("*", half, half)


def _within(operation: str, operands: tuple[Expression, ...]) -> tuple[float, float]:
    """Between which numbers a result lies, of its operands' own; wider where they hang together."""
    (a, b), (c, d) = operands[0].within, operands[-1].within
    with np.errstate(all="ignore"):
        if operation in _RISING:
            low, high = (float(_FUNCTIONS[operation](x)) for x in (a, b))
        elif operation == "+":
            low, high = a + c, b + d
        elif operation == "-":
            low, high = a - d, b - c
        elif operation == "*" and operands[0] is operands[1]:
            low, high = 0.0 if a <= 0 <= b else min(a * a, b * b), max(a * a, b * b)
        elif operation in ("*", "/"):
            if operation == "/":
                if c < 0 < d:
                    return _ANY
                c, d = (1 / d if d else -math.inf), (1 / c if c else math.inf)
            ends = [x * y if x and y else 0.0 for x in (a, b) for y in (c, d)]
            low, high = min(ends), max(ends)
        elif operation in ("min", "max"):
            low, high = float(_OPERATORS[operation](a, c)), float(_OPERATORS[operation](b, d))
        elif operation == "? :":
            return _of_choice(*operands)
        else:
            return {"pow": (0.0, math.inf)}.get(operation, (0.0, 1.0) if operation in COMPARISONS else _ANY)
    return (-math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high)


def _of_choice(comparison: Expression, then: Expression, other: Expression) -> tuple[float, float]:
    """Of both branches; where x is taken for being below y, no further than y."""
    (a, b), (c, d) = then.within, other.within
    if comparison.operation != "==":
        less, more = comparison.operands
        a = max(a, less.within[0]) if then is more else a
        b = min(b, more.within[1]) if then is less else b
        c = max(c, more.within[0]) if other is less else c
        d = min(d, less.within[1]) if other is more else d
        if then.operation == "-" and then.operands[0].number == 0.0 and then.operands[1] is less:
            a = max(a, -more.within[1])
    return min(a, c), max(b, d)


def in_order(expressions: Iterable[Expression]) -> list[Expression]:
    """All that they are made of, each once and after its operands."""
    found: dict[int, Expression] = {}
    left = list(expressions)[::-1]
    while left:
        ahead = [operand for operand in left[-1].operands if id(operand) not in found]
        left.extend(reversed(ahead))
        if not ahead:
            e = left.pop()
            found[id(e)] = e
    return list(found.values())


def text(expression: Expression, word: Callable[[Expression], str | None]) -> str:
    """The formula in the grammar that SPICE and Verilog-A share. ``word`` gives what has a name of its own there;
    a parameter, a state and the voltage have the tree's unless it says otherwise."""
    return _text(expression, word)[0]


def _text(e: Expression, word: Callable[[Expression], str | None]) -> tuple[str, int]:
    """The text, and how closely it is bound: 3 for what stands alone, 2 for a product, 1 for a sum."""
    own = number(float(e.value)) if e.operation == "number" else word(e) or (None if e.operands else str(e.value))
    if own is not None:
        return (f"({own})" if own.startswith("-") else own), 3

    def bound(operand: Expression, level: int) -> str:
        written, its = _text(operand, word)
        return written if its >= level else f"({written})"

    if e.operation == "? :":
        comparison, *branches = e.operands
        sides = [_text(x, word)[0] for x in (*comparison.operands, *branches)]
        return f"({sides[0]} {comparison.operation} {sides[1]} ? {sides[2]} : {sides[3]})", 3
    if e.operation not in _LEVELS:
        sides = [_text(x, word)[0] for x in e.operands]
        return f"{e.operation}({', '.join(sides if e.operation == 'pow' else sides[::-1])})", 3
    level = _LEVELS[e.operation]
    first, second = e.operands
    if e.operation == "-" and first.number == 0.0:
        return f"(-{bound(second, 3)})", 3
    sign = f" {e.operation} " if level == 1 else e.operation
    return f"{bound(first, level)}{sign}{bound(second, level + 1)}", level
