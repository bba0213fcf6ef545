"""A device as a subcircuit for ngspice: states on internal nodes, every device parameter an instance parameter.

Each state is the voltage of a node with a capacitor and a behavioural current source, C dx/dt = I(x, V). C is the
inverse of the state's own rate, so that currents are of the order of the state itself and the simulator's relative
tolerances decide the step, not its absolute ones.

The formulas are those of ``laws``, or of ``swarm`` for the diffusive family. What holds parameters only is a ``.param``
of its own. All else is written wherever it is used: a node for it would be tried at any value on the way to a solution,
outside the bounds that its formula keeps. A rate has a node: ngspice looks again until its nodes have settled.

A brace in a behavioural source holds one name, never an expression: ngspice 39 puts the text of ``{1-a}`` into a larger
expression without its brackets. Compound constants are parameters of their own.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from mcdev.export import swarm
from mcdev.export.expressions import Expression, text
from mcdev.export.laws import Laws
from mcdev.export.model import SHUNT, Model, of_pair
from mcdev.export.names import check_words, checked_name, comment, fresh, number
from mcdev.export.netlist import Netlist, current_text, element_word
from mcdev.export.swarm import FAR, NUDGE, TRACE


def subcircuit(model: Model) -> str:
    """The text of the library file: the device, and where it has a second memristor that one and the pair, or where it
    is in a circuit of elements the other tables' devices and the network.

    Raises ``ConfigError`` for a name that ngspice would take for something else.
    """
    checked_name(model.name, "name", "spice", map(of_pair, model.carried) if model.second else ())
    own = _alone(model)
    if model.network is not None:
        return "\n".join([own, *map(_alone, model.others.values()), _network(model, model.network)])
    return own if model.second is None else "\n".join([own, _alone(model.second), _pair(model)])


def _alone(model: Model) -> str:
    laws = model.laws
    body = _of_laws(laws, list(model.parameters)) if isinstance(laws, Laws) else _of_cells(laws, model.fixed)
    lines = [f"* {line}".rstrip() for line in model.header]
    lines += ["*", "* Instance parameters:"]
    for name, p in model.parameters.items():
        lines += [f"*   {line}" for line in comment(f"{name} = {p.value:.6g} {p.unit}".rstrip() + f": {p.about}")]
    lines.append(f"*   shunt = {SHUNT:g} ohm: beside the device, for nodes that nothing else gives a voltage")
    lines += [f"*   {name} = {value:.6g}: {about} (fitted)" for name, (value, about) in model.fixed.items()]
    lines += ["*", f"* Use: X1 plus minus {model.name}   or, say,   X1 plus minus {model.name} {_example(model)}"]
    lines.append("* Give a transient analysis a longest step no longer than a tenth of the shortest pulse.")
    lines += [f".subckt {model.name} p n params:"]
    lines += [f"+ {name}={number(p.value)}" for name, p in model.parameters.items()]
    lines += [f"+ shunt={number(SHUNT)}", "Rp p n {shunt}"]
    return "\n".join([*lines, *body, f".ends {model.name}", ""])


def _pair(model: Model) -> str:
    assert model.second is not None
    name = f"{model.name}_pair"
    nodes = "n k" if model.turned else "k n"
    return "\n".join(
        [
            *(f"* {line}".rstrip() for line in model.pair_header),
            f"* Use: X1 plus minus {name}   or, say,   X1 plus minus {name} {_example(model)}",
            f".subckt {name} p n params:",
            *(f"+ {of_pair(key)}={number(p.value)}" for key, p in model.carried.items()),
            f"X1 p k {model.name}",
            *(f"+ {key}={{{key}}}" for key in model.parameters),
            f"X2 {nodes} {model.second.name}",
            *(f"+ {key}={{memristor_{key}}}" for key in model.second.parameters),
            f".ends {name}",
            "",
        ]
    )


def _network(model: Model, network: Netlist) -> str:
    name = f"{model.name}_network"
    pins = " ".join(network.pins)
    lines = [
        *(f"* {line}".rstrip() for line in model.network_header),
        f"* Use: X1 {pins} {name}",
        f".subckt {name} {pins}" + (" params:" if network.given else ""),
        *(f"+ {given.name}={number(given.value)}" for given in network.given),
    ]
    for element in network.placed:
        a, b = element.nodes
        words = {parameter: f"{{{given.name}}}" for parameter, given in element.given.items()}
        own = element_word(element.name)
        if element.table is not None:
            of = model.others[element.table] if element.table else model
            lines += [f"X{own} {a} {b} {of.name}", *(f"+ {key}={word}" for key, word in words.items())]
        elif element.current is None:
            lines.append(f"C{own} {a} {b} {words['capacitance']}")
            lines += [f".ic V({node})=0" for node in (a, b) if node != "0" and node not in network.pins]
        else:
            voltage = f"V({a})" if b == "0" else f"(0-V({b}))" if a == "0" else f"V({a},{b})"
            formula = current_text(element.current, voltage, words)
            lines += _wrapped(f"B{own} {a} {b} I={formula}")
    return "\n".join([*lines, f".ends {name}", ""])


def _example(model: Model) -> str:
    name, p = next(iter(model.parameters.items()))
    return f"{name}={1.1 * p.value:.4g}"


_CLOCK = [
    "* 1 in a transient analysis, 0 in .op, .dc and .ac",
    "Vt t 0 DC 0 PWL(0 0 1e-15 1)",
]


_LEAK = "1e-12"
"""S, of a state's node towards rest: a state that nothing moves, or that moves alike wherever it is, would leave .op
and .dc without a solution. It moves the state by 1e-12 of its distance in a time of its own rate."""


def _of_laws(laws: Laws, parameters: list[str]) -> list[str]:
    nodes = [f"{d}{state.name}" for state in laws.states for d in ("", "d")]
    check_words([*parameters, *nodes], "spice", {"p", "n", "t", "shunt"})
    prefix = fresh("c", parameters)
    constants: dict[int, str] = {}
    lines: list[str] = []

    def word(e: Expression) -> str | None:
        if not e.constant:
            return {"state": f"V({e.value})", "voltage": "V(p,n)"}.get(e.operation)
        if e.operation == "parameter":
            return f"{{{e.value}}}"
        if id(e) not in constants:
            constants[id(e)] = f"{prefix}{len(constants) + 1}"
            lines.append(f".param {constants[id(e)]}={{{text(e, lambda _: None)}}}")
        return f"{{{constants[id(e)]}}}"

    body = list(_CLOCK) if any(state.keeps for state in laws.states) else []
    for state in laws.states:
        x, start, time = state.name, text(state.start, word), number(state.time)
        held = f"({start} - V({x}))"
        moved = f"V(t)*V(d{x}) + (1 - V(t))*{held}" if state.keeps else f"V(d{x}) + {_LEAK}*{held}"
        body += [f"* {line}" for line in comment(f"{state.about}; node d{x} is {time} s times its rate")]
        body += [f"C{x} {x} 0 {time}", f"B{x} 0 {x} I={moved}", f".ic V({x})={start}"]
        body += _wrapped(f"Bd{x} d{x} 0 V={time}*({text(state.rate, word)})")
    current = _wrapped(f"Bp p n I={text(laws.current, word)}")
    return [*lines, *body, "* current", *current]


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, 110, subsequent_indent="+ ", break_long_words=False, break_on_hyphens=False)


def _of_cells(p: swarm.Numbers, fixed: Mapping[str, tuple[float, str]]) -> list[str]:
    theta = "({background}+max(V(h),0))"
    cells = range(1, len(p.rest) + 1)
    lines = [
        *(f".param {name}={number(value)}" for name, (value, _) in fixed.items()),
        ".param unit={1/cooling_rate}",
        ".param force={pull/threshold_voltage}",
        ".param power={heating/(threshold_voltage*threshold_voltage)}",
        *_CLOCK,
        "* heat: theta less that at rest",
        "Ch h 0 {unit}",
        "Bh 0 h I=V(t)*{power}*V(p,n)*V(p,n)*V(g)-V(h)",
        "* 1/(2 theta), p v/(2 theta) and k",
        f"Bx x 0 V=0.5/{theta}",
        f"By y 0 V=0.5*{{force}}*V(p,n)/{theta}",
        f"Bk k 0 V=V(t)*{{hops}}*{theta}",
        "* particles in each cell, and what holds them outside a transient analysis",
    ]
    for i, rest in zip(cells, p.rest, strict=True):
        lines += [f"Cn{i} n{i} 0 {{unit}}", f"Bn{i} 0 n{i} I=(1-V(t))*({number(rest)}-V(n{i}))"]
    lines.append("* hops over each border")
    for i, up in enumerate(p.steps, start=1):
        x = f"(max(-{FAR:g},min({FAR:g},{number(up)}*V(x)-V(y)))+{NUDGE:g})"
        lines += [f"Bj{i} n{i} n{i + 1} I=V(k)*{x}/sinh({x})", f"+ *(exp(-{x})*V(n{i})-exp({x})*V(n{i + 1}))"]
    lines += [f".ic V(n{i})={number(rest)}" for i, rest in zip(cells, p.rest, strict=True)]
    lines += [".ic V(h)=0", "* how likely each cell is empty, and the weight of the run of empty cells that ends there"]
    for i in cells:
        lines.append(f"Be{i} e{i} 0 V=exp(-{{blocking}}*exp({{sharpness}}*ln(max(V(n{i}),0)+{TRACE:g})))")
        before = f"({{reach}}*V(w{i - 1})-1)" if i > 1 else "({reach}-1)"
        lines.append(f"Bw{i} w{i} 0 V=V(e{i})*{before}+1")
    lines += ["* the weighted gaps, and g", "Br r 0 V=1-V(e1)"]
    lines += [f"+ +V(w{i - 1})*(1-V(e{i}))" for i in cells[1:]]
    return [
        *lines,
        f"+ +V(w{cells[-1]})",
        "Bg g 0 V=1/(1+{resistance}*max(V(r),1))+{least}",
        "Bi p n I={maximum_conductance}*V(p,n)*max(V(g),{least})",
    ]
