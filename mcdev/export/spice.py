"""A device as a subcircuit for ngspice: states on internal nodes, every device parameter an instance parameter.

Each state is the voltage of a node with a capacitor and a behavioural current source, C dx/dt = I(x, V). C is the
inverse of the state's own rate, so that currents are of the order of the state itself and the simulator's relative
tolerances decide the step, not its absolute ones.

A brace in a behavioural source holds one name, never an expression: ngspice 39 puts the text of ``{1-a}`` into a larger
expression without its brackets. Compound constants are parameters of their own.
"""

from __future__ import annotations

from mcdev.export.model import FAR, SHUNT, Model, of_pair
from mcdev.export.names import checked_name, comment, number
from mcdev.export.swarm import FAR as FAR_APART
from mcdev.export.swarm import NUDGE, TRACE


def subcircuit(model: Model) -> str:
    """The text of the library file: the device, and where it has a second memristor that one and the pair.

    Raises ``ConfigError`` for a name that ngspice would take for something else.
    """
    checked_name(model.name, "name", "spice", map(of_pair, model.carried) if model.second else ())
    text = _alone(model)
    return text if model.second is None else "\n".join([text, _alone(model.second), _pair(model)])


def _alone(model: Model) -> str:
    body = {"omiec_compact": _omiec, "swarm": _swarm, "yakopcic": _yakopcic, "volatile_threshold": _volatile}
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
    lines += [f"+ shunt={number(SHUNT)}", "Rs p n {shunt}"]
    return "\n".join([*lines, *body[model.family](model), f".ends {model.name}", ""])


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


def _example(model: Model) -> str:
    name, p = next(iter(model.parameters.items()))
    return f"{name}={1.1 * p.value:.4g}"


def _omiec(model: Model) -> list[str]:
    # abs has no slope at zero in ngspice: without current no conductance, and nodes between devices without a voltage.
    size, sign = "(V(p,n) < 0 ? -V(p,n) : V(p,n))", "(V(p,n) < 0 ? -1 : 1)"
    opened = f"(({size}-{{onset_voltage}})/{{onset_width}})"
    bias, helped = (size, "1") if model.either else ("V(p,n)", sign)
    base = f"(1+{helped}*({{charge_gain}}*V(q)+{{fast_gain}}*V(m))/{{exponent}})"
    return [
        ".param rate={conductivity/(thickness*capacitance)}",
        ".param fast={fast_rate+conductivity/(thickness*fast_capacitance)}",
        ".param hopping={hopping_field*thickness}",
        ".param closed={ln(1+exp(-onset_voltage/onset_width))}",
        ".param scale={injection_conductance*onset_width}",
        "* charge of the double layers over C, in volts",
        "Cq q 0 {1/rate}",
        f"Bq 0 q I={{hopping}}*sinh(max(-3,min(3,({bias}-V(q)*exp({{stiffening}}*ln(1+abs(V(q)))))/{{hopping}})))",
        "* fast interfacial state, in volts",
        "* so that .op and .dc have a solution where the sinh is capped",
        f"Gq q 0 q 0 {_LEAK}",
        "Cm m 0 {1/fast}",
        f"Bm 0 m I={bias}-V(m)",
        ".ic V(q)=0 V(m)=0",
        "* softplus(x) in two branches, so that it cannot overflow and has its slope everywhere",
        f"Bi p n I={{scale}}*{sign}",
        f"+ *(({opened} > 0 ? {opened}+ln(1+exp(-{opened})) : ln(1+exp({opened})))-{{closed}})",
        f"+ *({base} > 0 ? exp({{exponent}}*ln(max({base},1e-30))) : 0)",
    ]


_CLOCK = [
    "* 1 in a transient analysis, 0 in .op, .dc and .ac",
    "Vt t 0 DC 0 PWL(0 0 1e-15 1)",
]


def _swarm(model: Model) -> list[str]:
    assert model.cells is not None
    p, theta = model.cells, "({background}+max(V(h),0))"
    cells = range(1, len(p.rest) + 1)
    lines = [
        *(f".param {name}={number(value)}" for name, (value, _) in model.fixed.items()),
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
        x = f"(max(-{FAR_APART:g},min({FAR_APART:g},{number(up)}*V(x)-V(y)))+{NUDGE:g})"
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


_LEAK = "1e-12"
"""S, of a state's node towards rest: a state that nothing moves, or that moves alike wherever it is, would leave .op
and .dc without a solution. It moves the state by 1e-12 of its distance in a time of its own rate."""


def _yakopcic(model: Model) -> list[str]:
    above, below = "max(V(x)-{positive_onset},0)", "max({sinking}-V(x),0)"
    bent = f"max(-{FAR:g},min({FAR:g},{{steepness}}*V(p,n)))"  # no node of its own: the simulator would try any value
    return [
        ".param rise={positive_rate*exp(positive_threshold)}",
        ".param sink={negative_rate*exp(negative_threshold)}",
        ".param rising={1-positive_onset}",
        ".param sinking={1-negative_onset}",
        "* growth and fall, windows apart, in 1/s",
        f"Bg g 0 V={{rise}}*({_exponential('(V(p,n)-{positive_threshold})')}-1)",
        f"Bf f 0 V={{sink}}*({_exponential('(V(n,p)-{negative_threshold})')}-1)",
        *_CLOCK,
        "* state; it has no rate of its own, so that 1 V/s is 1 A",
        "Cx x 0 1",
        f"Bx 0 x I=V(t)*(V(g)*exp(-{{positive_damping}}*{above})*(1-{above}/{{rising}})",
        f"+ -V(f)*exp(-{{negative_damping}}*{below})*(1-{below}/{{sinking}}))+(1-V(t))*({{initial_state}}-V(x))",
        ".ic V(x)={initial_state}",
        f"* sinh(b V), straight on from b V = {FAR:g}: a simulator tries voltages at which it would overflow",
        "Bi p n I=(V(p,n) < 0 ? {negative_current} : {positive_current})*max(V(x),0)",
        f"+ *(sinh({bent})+cosh({bent})*({{steepness}}*V(p,n)-{bent}))",
    ]


def _exponential(over: str) -> str:
    """exp(max(V - V_t, 0)/1 V), straight on from FAR volts. A difference of two exponentials would leave, below the
    threshold, a rounding error that moves the state as fast as the leak does."""
    return f"exp(max(min({over},{FAR:g}),0))*(1+max({over}-{FAR:g},0))"


def _volatile(model: Model) -> list[str]:
    over = "(abs(V(p,n))/{threshold_voltage}-1)"
    return [
        ".param growth={switching_rate*relaxation_time}",
        ".param least={ln(off_conductance)}",
        ".param decades={ln(on_conductance)-ln(off_conductance)}",
        "* state",
        "Cx x 0 {relaxation_time}",
        f"Bx 0 x I=({over} > 0 ? {{growth}}*exp({{switching_exponent}}*ln(max({over},1e-30))) : 0)*(1-V(x))",
        "+ -max(1-abs(V(p,n))/{hold_voltage},0)*V(x)",
        "* so that .op and .dc have a solution where nothing moves the state",
        f"Gx x 0 x 0 {_LEAK}",
        ".ic V(x)=0",
        "* the state held within -1 and 2, where it never is: a simulator tries states at which this would overflow",
        "Bi p n I=exp({least}+max(-1,min(2,V(x)))*{decades})*V(p,n)",
    ]
