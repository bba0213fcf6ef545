"""What is exported: a device's equations by family, its parameters with values, and what a reader must know of it."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mcdev.devices.omiec_compact import OmiecCompact
from mcdev.experiment import Experiment
from mcdev.export import bridge
from mcdev.export.names import checked_name, comment
from mcdev.preset_tables import presets
from mcdev.problems import ConfigError, Problem
from mcdev.schema import typical


class Parameter(NamedTuple):
    """An instance parameter, in SI units."""

    value: float
    """Of the median device."""
    unit: str
    about: str
    least: float | None = None
    """Exclusive bound from below, where there is one."""


@dataclass(frozen=True)
class Model:
    """A device ready to be written in any language."""

    name: str
    family: str
    """``omiec_compact``, or ``bridge``: the diffusive family's compact model."""
    parameters: dict[str, Parameter]
    """What an instance may be given; the same names as in a configuration."""
    fixed: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Fitted numbers that are the same in every instance, with their meaning."""
    header: tuple[str, ...] = ()
    """Lines of plain text: provenance, equations, assumptions."""
    either: bool = False
    """Of ``omiec_compact``: whether the states follow |V| and help both polarities."""


def model_of(experiment: Experiment, name: str, provenance: str) -> Model:
    """The model of one sweep point's median device. ``provenance`` says where it is from, in a line.

    Raises ``ConfigError`` for a name that breaks a netlist or a family without a circuit model.
    """
    checked_name(name, "name")
    kind = experiment.device.kind
    if kind == "omiec_compact":
        return _omiec(experiment, name, provenance)
    if kind == "diffusive":
        return _bridge(experiment, name, provenance)
    remedy = {
        "omiec_pnp": "resolved ions have no circuit model: export the level-1 family omiec_compact (presets device_p, "
        "device_1s, device_2s), calibrated to the same numbers",
        "diffusive_density": "the density view has no ensemble to fit to: export the family diffusive",
    }
    message = f"cannot be exported; {remedy.get(kind, 'expected omiec_compact or diffusive')}"
    raise ConfigError([Problem("device.kind", kind, message)], "mcdev export")


def _parameters(experiment: Experiment, names: tuple[str, ...]) -> dict[str, Parameter]:
    device = experiment.device
    found = {}
    for name, mark in type(device).parameters().items():
        if name in names:
            text = (type(device).model_fields[name].description or name).splitlines()[0]
            found[name] = Parameter(typical(getattr(device, name)), mark.unit, text, mark.gt)
    return found


def _common(experiment: Experiment, provenance: str) -> list[str]:
    device = experiment.device
    version = importlib.metadata.version("mcdev")
    lines = [f"Written by mcdev {version} from {provenance}."]
    if experiment.description:
        lines.append(f"Description: {experiment.description}")
    if device.preset:
        lines.append(f"Preset {device.preset}. Source: {presets()[device.preset]['source']}")
    drawn = [name for name in type(device).parameters() if not isinstance(getattr(device, name), float)]
    lines.append("Units are SI: V, A, s, m, S, F. Default values are those of the median device.")
    if drawn:
        lines.append(f"Distributed from device to device in the configuration: {', '.join(drawn)}.")
    lines.append("Noise: none. Two instances of equal parameters behave alike; no random number is drawn in a run.")
    if experiment.ensemble.cycle_to_cycle:
        changing = ", ".join(experiment.ensemble.cycle_to_cycle)
        lines.append(f"Cycle-to-cycle changes of the configuration ({changing}) are not in this model.")
    if experiment.circuit.kind != "alone":
        lines.append(f"The circuit of the configuration ({experiment.circuit.kind}) is not in this model: build it.")
    lines.append(
        "A transient analysis starts at rest (.ic, idt), whatever voltage is on at time zero. No statement refers to a "
        "time step."
    )
    return lines


def _omiec(experiment: Experiment, name: str, provenance: str) -> Model:
    assert isinstance(experiment.device, OmiecCompact)
    either = experiment.device.facilitation == "either_polarity"
    lines = [
        f"{name}: ion-conducting organic memristor, level 1, two states (mcdev family omiec_compact)",
        *_common(experiment, provenance),
        "Equations, those of mcdev/devices/omiec_compact.py and injection.py (mechanism: Shin et al. 2022,",
        "doi:10.1039/d1ma01078f; their form is calibrated):",
        "  C dq/dt = (sigma/L) V0 sinh[(V - u)/V0], argument within -3 and 3;  u = q (1 + |q|/1V)^alpha;  V0 = E0 L",
        "  dm/dt = (V - m) (k_f + sigma/(L C_f))",
        "  I = I0 sgn(V) w [softplus((|V| - V_t)/w) - softplus(-V_t/w)] [1 + sgn(V) (beta q + gamma m)/n]+^n",
        *(
            ["  facilitation = either_polarity (assumed): |V| in both states, and no sgn(V) in the bracket"]
            if either
            else []
        ),
        "States: nodes q and m, in volts.",
        "Assumed: the current is the electrons'; the ions' charging current (at most V sigma A/L) is not in it, as in",
        "mcdev. relative_permittivity enters mcdev's impedance only, and nothing here; it and area are kept so that a",
        "model card's devices can be given whole. Temperature does not enter: the parameters are of the measured one.",
    ]
    names = tuple(OmiecCompact.parameters())
    return Model(name, "omiec_compact", _parameters(experiment, names), either=either, header=_plain(lines))


CARRIED = ("threshold_voltage", "maximum_conductance", "cooling_rate")
"""What the compact model of the diffusive family carries exactly: the scales of voltage, conductance and time."""


def _bridge(experiment: Experiment, name: str, provenance: str) -> Model:
    device: Any = experiment.device
    if device.initial_state != "rest":
        message = 'the compact model starts at rest; write initial_state = "rest"'
        raise ConfigError([Problem("device.initial_state", device.initial_state, message)], "mcdev export")
    fitted = bridge.fit(experiment)
    drawn = [n for n in type(device).parameters() if not isinstance(getattr(device, n), float)]
    left = [n for n in drawn if n not in CARRIED]
    lines = [
        f"{name}: diffusive memristor, compact model of two states (mcdev family diffusive)",
        *_common(experiment, provenance),
        "NOT the particles: two states fitted to the MEAN of the ensemble. A single device jumps; its mean does not,",
        "and a circuit that answers to one device's jump is not described by it.",
        "Equations (v = V/V_th, kappa the cooling rate):",
        f"  dl/dt = kappa r [1 - exp(-(l_0 - l)/{bridge.OPENING_WIDTH:g})] - kappa c(v) l,   c = |v| A m/(A + m),",
        "  A = a exp(u |v| + e sgn v);   ds/dt = kappa k |v|^q sgn(v) exp(-l) - kappa f s",
        "  I = G_max V [g_f + (1 - g_f) exp(-l - |s|^p)]",
        f"  sgn v is tanh(v/{bridge.SIGN_WIDTH:g}), |v|^q is (|v| + d)^q - d^q, |s|^p is (s^2 + d^2)^(p/2) - d^p, "
        f"d = {bridge.LEAST:g}",
        "States: nodes l (gap that is left to close, in tunnelling lengths) and s (what was swept past the bridge).",
        f"Fitted to the mean of {fitted.realisations} realisations of the median device. Errors: root mean square over",
        "the time of the trace, relative to its peak; of the conductance, of the current, and for comparison the",
        "standard error of the ensemble's mean conductance:",
    ]
    for key, c in fitted.checks.items():
        how = "" if c.fitted else " (NOT FITTED)"
        lines.append(
            f"  {key}{how}: conductance {100 * c.conductance:.1f} %, current {100 * c.current:.1f} %, "
            f"noise {100 * c.noise:.1f} % - {c.about}"
        )
    lines += [
        "Exact from instance to instance: threshold_voltage, maximum_conductance, cooling_rate, which are scales.",
        "Assumed: rates depend on voltage alone. Heat stored over a long train is not a state, so that the rise of",
        "conductance while a hot device cools is missed: see 'after train'. Other temperatures want another fit.",
    ]
    if left:
        lines.append(f"NOT carried, taken at the median for every instance: {', '.join(left)}.")
    fixed = {key: (value, bridge.MEANINGS[key]) for key, value in fitted.bridge._asdict().items()}
    return Model(name, "bridge", _parameters(experiment, CARRIED), fixed, _plain(lines))


def _plain(lines: list[str]) -> tuple[str, ...]:
    return tuple(plain for line in lines for plain in comment(line))
