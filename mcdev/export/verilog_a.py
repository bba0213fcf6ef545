"""The same equations in Verilog-A, for simulators that compile it (Verilog-AMS Language Reference Manual 2.4).

States are internal nodes with ``idt``, whose second argument holds them at rest in the operating point. What is used
twice is a variable, and so is every choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from mcdev.export import swarm
from mcdev.export.expressions import COMPARISONS, Expression, in_order, text
from mcdev.export.laws import Laws
from mcdev.export.model import SHUNT, Model, Parameter, of_pair
from mcdev.export.names import check_words, checked_name, comment, fresh, number
from mcdev.export.netlist import Netlist, current_text, element_word
from mcdev.export.swarm import FAR, NUDGE, TRACE


def module(model: Model) -> str:
    """The text of the file: the device's module, and where it has a second memristor that one's and the pair's.

    Raises ``ConfigError`` for a name that is a keyword.
    """
    checked_name(model.name, "name", "verilog-a")
    own = '`include "disciplines.vams"\n\n' + _alone(model)
    if model.network is not None:
        return "\n".join([own, *map(_alone, model.others.values()), _network(model, model.network)])
    return own if model.second is None else "\n".join([own, _alone(model.second), _pair(model)])


def _alone(model: Model) -> str:
    laws = model.laws
    states, variables, body = _of_laws(laws, list(model.parameters)) if isinstance(laws, Laws) else _of_cells(laws)
    lines = [f"// {line}".rstrip() for line in model.header]
    lines += [f"module {model.name}(p, n);", "  inout p, n;"]
    lines += ["  electrical p, n;", f"  electrical {', '.join(states)};", *_declared(model.parameters)]
    lines += [f"  parameter real shunt = {number(SHUNT)} from (0:inf);"]
    lines += [
        f"  localparam real {name} = {number(value)};  // {about}" for name, (value, about) in model.fixed.items()
    ]
    lines += [f"  real {', '.join(variables)};", "", "  analog begin"]
    body += ["I(p, n) <+ V(p, n) / shunt;"]
    return "\n".join([*lines, *(f"    {line}" for line in body), "  end", "endmodule", ""])


def _declared(parameters: Mapping[str, Parameter]) -> list[str]:
    lines = []
    for name, p in parameters.items():
        about = comment(f"{p.unit + ': ' if p.unit else ''}{p.about}")
        lines += [f"  // {line}" for line in about]
        bounds = "" if p.least is None else f" from ({number(p.least)}:inf)"
        lines.append(f"  parameter real {name} = {number(p.value)}{bounds};")
    return lines


def _pair(model: Model) -> str:
    assert model.second is not None
    nodes = "n, k" if model.turned else "k, n"
    own = ",\n".join(f"    .{key}({key})" for key in model.parameters)
    other = ",\n".join(f"    .{key}(memristor_{key})" for key in model.second.parameters)
    return "\n".join(
        [
            *(f"// {line}".rstrip() for line in model.pair_header),
            f"// Where a compiler takes no instances (OpenVAF), connect {model.name} and",
            f"// {model.second.name} in the netlist.",
            f"module {model.name}_pair(p, n);",
            "  inout p, n;",
            "  electrical p, n, k;",
            *_declared({of_pair(key): p for key, p in model.carried.items()}),
            f"  {model.name} #(\n{own}\n  ) first(p, k);",
            f"  {model.second.name} #(\n{other}\n  ) second({nodes});",
            "endmodule",
            "",
        ]
    )


def _network(model: Model, network: Netlist) -> str:
    name = f"{model.name}_network"
    inner = sorted({node for element in network.placed for node in element.nodes} - {"0", *network.pins})
    pins = ", ".join(network.pins)
    lines = [
        *(f"// {line}".rstrip() for line in model.network_header),
        "// Where a compiler takes no instances (OpenVAF), build it in the netlist from the modules above.",
        f"module {name}({pins});",
        f"  inout {pins};",
        f"  electrical {', '.join([*network.pins, *inner, 'zero'])};",
        "  ground zero;",
        *(f"  parameter real {given.name} = {number(given.value)};" for given in network.given),
    ]
    flows = []
    for element in network.placed:
        a, b = ("zero" if node == "0" else node for node in element.nodes)
        words = {parameter: given.name for parameter, given in element.given.items()}
        if element.table is not None:
            of = model.others[element.table] if element.table else model
            filled = ", ".join(f".{key}({word})" for key, word in words.items())
            lines.append(f"  {of.name} {f'#({filled}) ' if filled else ''}x_{element_word(element.name)}({a}, {b});")
        elif element.current is None:
            charge = f"{words['capacitance']} * V({a}, {b})"
            flows.append(f"    I({a}, {b}) <+ ddt({charge});")
        else:
            formula = current_text(element.current, f"V({a}, {b})", words)
            flows.append(f"    I({a}, {b}) <+ {formula};")
    analog = ["  analog begin", *flows, "  end"] if flows else []
    return "\n".join([*lines, *analog, "endmodule", ""])


_Parts = tuple[list[str], list[str], list[str]]


def _of_laws(laws: Laws, parameters: list[str]) -> _Parts:
    states = [state.name for state in laws.states]
    check_words([*parameters, *states], "verilog-a", {"p", "n", "v", "shunt"})
    prefix = fresh("t", [*parameters, *states])
    roots = [laws.current, *(state.start for state in laws.states), *(state.rate for state in laws.states)]
    every = in_order(roots)
    uses = Counter(id(operand) for e in every for operand in e.operands)
    names: dict[int, str] = {}
    lines = ["v = V(p, n);"]

    def word(e: Expression) -> str | None:
        return names.get(id(e), f"V({e.value})" if e.operation == "state" else None)

    for e in every:
        if e.operation == "? :" or (e.operation not in COMPARISONS and e.size > 2 and uses[id(e)] > 1):
            lines.append(f"{prefix}{len(names) + 1} = {text(e, word)};")
            names[id(e)] = f"{prefix}{len(names) + 1}"
    for state in laws.states:
        lines += [f"// {line}" for line in comment(state.about)]
        lines.append(f"V({state.name}) <+ idt({text(state.rate, word)}, {text(state.start, word)});")
    return states, ["v", *names.values()], [*lines, f"I(p, n) <+ {text(laws.current, word)};"]


def _of_cells(p: swarm.Numbers) -> _Parts:
    far = number(FAR)
    last = len(p.rest)
    cells = range(1, last + 1)
    lines = [
        "v = V(p, n) / threshold_voltage;",
        "theta = background + max(V(h), 0.0);",
        "rate = cooling_rate * hops * theta;",
        "// how likely a cell is empty, weight of the run of empty cells that ends there, and of all gaps",
        "weight = 1.0;",
        "gaps = 0.0;",
    ]
    for i in cells:
        lines += [
            f"empty = exp(-blocking * pow(max(V(n{i}), 0.0) + {number(TRACE)}, sharpness));",
            "gaps = gaps + weight * (1.0 - empty);",
            "weight = empty * (reach * weight - 1.0) + 1.0;",
        ]
    lines += [
        "g = 1.0 / (1.0 + resistance * (gaps + weight)) + least;",
        "// heat: theta less that at rest",
        "V(h) <+ idt(cooling_rate * (heating * v * v * g - V(h)), 0.0);",
        "// hops over each border, and the particles in each cell",
        "before = 0.0;",
    ]
    for i, (up, rest) in enumerate(zip(p.steps, p.rest, strict=False), start=1):
        lines += [
            f"x = max(-{far}, min({far}, ({number(up)} - pull * v) / (2.0 * theta))) + {number(NUDGE)};",
            f"after = rate * x / sinh(x) * (exp(-x) * V(n{i}) - exp(x) * V(n{i + 1}));",
            f"V(n{i}) <+ idt(before - after, {number(rest)});",
            "before = after;",
        ]
    lines += [
        f"V(n{last}) <+ idt(before, {number(p.rest[-1])});",
        "I(p, n) <+ maximum_conductance * V(p, n) * g;",
    ]
    variables = ["v", "theta", "rate", "weight", "gaps", "empty", "g", "before", "after", "x"]
    return [*(f"n{i}" for i in cells), "h"], variables, lines
