"""The same equations in Verilog-A, for simulators that compile it (Verilog-AMS Language Reference Manual 2.4).

States are internal nodes with ``idt``, whose second argument holds them at rest in the operating point.
"""

from __future__ import annotations

from mcdev.export.bridge import LEAST, OPENING_WIDTH, SIGN_WIDTH
from mcdev.export.model import Model
from mcdev.export.names import comment, number


def module(model: Model) -> str:
    """The text of the module's file."""
    states, variables, body = {"omiec_compact": _omiec, "bridge": _bridge}[model.family](model)
    lines = [f"// {line}".rstrip() for line in model.header]
    lines += ["//", '`include "disciplines.vams"', "", f"module {model.name}(p, n);", "  inout p, n;"]
    lines += ["  electrical p, n;", f"  electrical {', '.join(states)};"]
    for name, p in model.parameters.items():
        about = comment(f"{p.unit + ': ' if p.unit else ''}{p.about}")
        lines += [f"  // {line}" for line in about]
        bounds = "" if p.least is None else f" from ({number(p.least)}:inf)"
        lines.append(f"  parameter real {name} = {number(p.value)}{bounds};")
    lines += [
        f"  localparam real {name} = {number(value)};  // {about}" for name, (value, about) in model.fixed.items()
    ]
    lines += [f"  real {', '.join(variables)};", "", "  analog begin"]
    return "\n".join([*lines, *(f"    {line}" for line in body), "  end", "endmodule", ""])


_Parts = tuple[list[str], list[str], list[str]]


def _omiec(model: Model) -> _Parts:
    bias, helped = ("abs(v)", "1.0") if model.either else ("v", "sgn")
    variables = ["v", "sgn", "rate", "fast", "hopping", "u", "drive", "x", "rest", "opened", "base", "boost"]
    return (
        ["q", "m"],
        variables,
        [
            "v = V(p, n);",
            "sgn = (v < 0 ? -1.0 : 1.0);",
            "rate = conductivity / (thickness * capacitance);",
            "fast = fast_rate + conductivity / (thickness * fast_capacitance);",
            "hopping = hopping_field * thickness;",
            "// charge of the double layers over C, in volts",
            "u = V(q) * exp(stiffening * ln(1.0 + abs(V(q))));",
            f"drive = max(-3.0, min(3.0, ({bias} - u) / hopping));",
            "V(q) <+ idt(rate * hopping * sinh(drive), 0.0);",
            "// fast interfacial state, in volts",
            f"V(m) <+ idt(fast * ({bias} - V(m)), 0.0);",
            "// softplus(x) as max(x, 0) + ln(1 + exp(-|x|)), which cannot overflow",
            "x = (abs(v) - onset_voltage) / onset_width;",
            "rest = ln(1.0 + exp(-onset_voltage / onset_width));",
            "opened = max(x, 0.0) + ln(1.0 + exp(-abs(x))) - rest;",
            f"base = 1.0 + {helped} * (charge_gain * V(q) + fast_gain * V(m)) / exponent;",
            "boost = (base > 0 ? exp(exponent * ln(max(base, 1.0e-30))) : 0.0);",
            "I(p, n) <+ injection_conductance * onset_width * sgn * opened * boost;",
        ],
    )


def _bridge(model: Model) -> _Parts:
    least = number(LEAST)
    return (
        ["l", "s"],
        ["v", "size", "sgn", "over", "speed", "pushed", "hidden"],
        [
            "v = V(p, n) / threshold_voltage;",
            "size = abs(v);",
            f"sgn = tanh(v / {number(SIGN_WIDTH)});",
            "// speed of closing: over the barrier, and no faster than particles drift",
            "over = closing * exp(lowering * size + asymmetry * sgn);",
            "speed = size * over * drift / (over + drift);",
            "// gap that is left to close, in tunnelling lengths",
            f"V(l) <+ idt(cooling_rate * (opening * (1.0 - exp((V(l) - rest_gap) / {number(OPENING_WIDTH)}))"
            " - speed * V(l)), rest_gap);",
            "// what was swept past the bridge",
            f"pushed = pow(size + {least}, sweeping_power) - pow({least}, sweeping_power);",
            "V(s) <+ idt(cooling_rate * (sweeping * pushed * sgn * exp(-V(l)) - forgetting * V(s)), 0.0);",
            f"hidden = pow(V(s) * V(s) + {least} * {least}, 0.5 * power) - pow({least}, power);",
            "I(p, n) <+ maximum_conductance * V(p, n) * (least + (1.0 - least) * exp(-V(l) - hidden));",
        ],
    )
