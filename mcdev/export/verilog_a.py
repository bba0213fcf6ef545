"""The same equations in Verilog-A, for simulators that compile it (Verilog-AMS Language Reference Manual 2.4).

States are internal nodes with ``idt``, whose second argument holds them at rest in the operating point.
"""

from __future__ import annotations

from collections.abc import Mapping

from mcdev.export.model import FAR, SHUNT, Model, Parameter, of_pair
from mcdev.export.names import checked_name, comment, number
from mcdev.export.swarm import FAR as FAR_APART
from mcdev.export.swarm import NUDGE, TRACE


def module(model: Model) -> str:
    """The text of the file: the device's module, and where it has a second memristor that one's and the pair's.

    Raises ``ConfigError`` for a name that is a keyword.
    """
    checked_name(model.name, "name", "verilog-a")
    text = '`include "disciplines.vams"\n\n' + _alone(model)
    return text if model.second is None else "\n".join([text, _alone(model.second), _pair(model)])


def _alone(model: Model) -> str:
    parts = {"omiec_compact": _omiec, "swarm": _swarm, "yakopcic": _yakopcic, "volatile_threshold": _volatile}
    states, variables, body = parts[model.family](model)
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


_Parts = tuple[list[str], list[str], list[str]]


def _omiec(model: Model) -> _Parts:
    bias, helped = ("size", "1.0") if model.either else ("v", "sgn")
    variables = ["v", "sgn", "size", "rate", "fast", "hopping", "u", "drive", "x", "rest", "opened", "base", "boost"]
    return (
        ["q", "m"],
        variables,
        [
            "v = V(p, n);",
            "sgn = (v < 0 ? -1.0 : 1.0);",
            "// abs(v) has no slope at zero",
            "size = sgn * v;",
            "rate = conductivity / (thickness * capacitance);",
            "fast = fast_rate + conductivity / (thickness * fast_capacitance);",
            "hopping = hopping_field * thickness;",
            "// charge of the double layers over C, in volts",
            "u = V(q) * exp(stiffening * ln(1.0 + abs(V(q))));",
            f"drive = max(-3.0, min(3.0, ({bias} - u) / hopping));",
            "V(q) <+ idt(rate * hopping * sinh(drive), 0.0);",
            "// fast interfacial state, in volts",
            f"V(m) <+ idt(fast * ({bias} - V(m)), 0.0);",
            "// softplus(x) in two branches, so that it cannot overflow and has its slope everywhere",
            "x = (size - onset_voltage) / onset_width;",
            "rest = ln(1.0 + exp(-onset_voltage / onset_width));",
            "opened = (x > 0 ? x + ln(1.0 + exp(-x)) : ln(1.0 + exp(x)));",
            f"base = 1.0 + {helped} * (charge_gain * V(q) + fast_gain * V(m)) / exponent;",
            "boost = (base > 0 ? exp(exponent * ln(max(base, 1.0e-30))) : 0.0);",
            "I(p, n) <+ injection_conductance * onset_width * sgn * (opened - rest) * boost;",
        ],
    )


def _swarm(model: Model) -> _Parts:
    assert model.cells is not None
    p, far = model.cells, number(FAR_APART)
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


def _yakopcic(model: Model) -> _Parts:
    far = number(FAR)
    return (
        ["x"],
        ["v", "growth", "fall", "over", "under", "slowed", "damped", "scale", "bent"],
        [
            "v = V(p, n);",
            f"growth = positive_rate * (exp(max(min(v, {far}), positive_threshold)) * (1.0 + max(v - {far}, 0.0))"
            " - exp(positive_threshold));",
            f"fall = negative_rate * (exp(max(min(-v, {far}), negative_threshold)) * (1.0 + max(-v - {far}, 0.0))"
            " - exp(negative_threshold));",
            "over = max(V(x) - positive_onset, 0.0);",
            "under = max(1.0 - negative_onset - V(x), 0.0);",
            "slowed = exp(-positive_damping * over) * (1.0 - over / (1.0 - positive_onset));",
            "damped = exp(-negative_damping * under) * (1.0 - under / (1.0 - negative_onset));",
            "// state, between 0 and 1, in volts",
            "V(x) <+ idt(growth * slowed - fall * damped, initial_state);",
            "scale = (v < 0 ? negative_current : positive_current);",
            f"// sinh(b V), straight on from b V = {far}: a simulator tries voltages at which it would overflow",
            f"bent = max(-{far}, min({far}, steepness * v));",
            "I(p, n) <+ scale * max(V(x), 0.0) * (sinh(bent) + cosh(bent) * (steepness * v - bent));",
        ],
    )


def _volatile(model: Model) -> _Parts:
    return (
        ["x"],
        ["v", "over", "growth", "loss", "off"],
        [
            "v = V(p, n);",
            "over = max(abs(v) / threshold_voltage - 1.0, 0.0);",
            "growth = switching_rate * pow(over, switching_exponent);",
            "loss = max(1.0 - abs(v) / hold_voltage, 0.0) / relaxation_time;",
            "// state, between 0 and 1, in volts",
            "V(x) <+ idt(growth * (1.0 - V(x)) - loss * V(x), 0.0);",
            "off = ln(off_conductance);",
            "// the state held within -1 and 2, where it never is: a simulator tries states that would overflow",
            "I(p, n) <+ exp(off + max(-1.0, min(2.0, V(x))) * (ln(on_conductance) - off)) * v;",
        ],
    )
