"""A compact model of the diffusive memristor for circuit simulators: two states, fitted to the ensemble's mean.

The particles' bridge is described by the gap that is left to close, ℓ, and by what has been swept past it, s, with
v = V/V_th and κ the cooling rate, which is the scale of time of the device:

    dℓ/dt = κ r [1 - e^{-(ℓ_0 - ℓ)/d}] - κ c(v) ℓ
    ds/dt = κ k |v|^q sgn(v) e^{-ℓ} - κ f s
    c(v)  = |v| A m/(A + m),     A = a e^{u|v| + e sgn(v)}
    I     = G_max V [g_f + (1 - g_f) e^{-ℓ - |s|^p}]

A field closes the gap: over a barrier that it lowers (A, where the threshold comes from), and no faster than particles
drift (m). Without it the gap opens again, at a constant speed of ln G, as tunnelling over a growing gap has it. Once
there is a bridge, the field sweeps its particles on to the far terminal, and conductance falls: depression. The form is
ours, after the mechanism of Wang et al. (2017, doi:10.1038/nmat4756); its numbers are fitted, not derived. Heat is no
state of its own: what it does within these protocols is in the fitted rates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import optimize

from mcdev.ensemble import simulate
from mcdev.environment import computing
from mcdev.experiment import Experiment, build
from mcdev.export.refusal import refused
from mcdev.export.single import one_device
from mcdev.protocols.timeline import Timeline

SIGN_WIDTH = 0.02
"""sgn(v) is tanh(v/SIGN_WIDTH): a simulator's Newton iteration wants a slope."""
LEAST = 1e-3
"""|v|^q is (|v| + LEAST)^q - LEAST^q, and |s|^p is (s² + LEAST²)^{p/2} - LEAST^p, for the same reason."""

OPENING_WIDTH = 0.2
"""d: opening ends softly there. Fits make it as small as they may, and simulators do not like corners."""

_STEP = 0.02  # longest step of the fit's integrator, in 1/κ
_FLOOR = 0.5  # g_f as a share of the conductance at rest
_MOST, _FEWEST = 512, 32  # realisations of the fit
_ITERATIONS = 80
_WIDE = 5.0  # how far the fit may go from its start, in logarithms


class Bridge(NamedTuple):
    """The fitted numbers; all are pure: voltages in V_th, times in 1/κ."""

    rest_gap: float
    least: float
    closing: float
    lowering: float
    asymmetry: float
    drift: float
    opening: float
    sweeping: float
    sweeping_power: float
    forgetting: float
    power: float


MEANINGS = {
    "rest_gap": "l_0, gap at rest, in tunnelling lengths: -ln of its conductance over G_max",
    "least": "g_f, least conductance over G_max",
    "closing": "a, speed of closing over the barrier, in kappa per V_th",
    "lowering": "u, by which a field lowers the barrier, per V_th",
    "asymmetry": "e, by which the two polarities differ",
    "drift": "m, speed of closing once the barrier is gone, in kappa per V_th",
    "opening": "r, speed of opening, in kappa",
    "sweeping": "k, rate of sweeping past the bridge, in kappa",
    "sweeping_power": "q, its power of the voltage",
    "forgetting": "f, rate at which the swept come back, in kappa",
    "power": "p, power of s in the conductance",
}

_FREE = tuple(name for name in Bridge._fields if name not in ("rest_gap", "least"))
_SIGNED = ("asymmetry",)  # the others are positive, and fitted by their logarithm
_START = {
    "closing": 0.2,
    "lowering": 1.4,
    "asymmetry": 0.02,
    "drift": 11.0,
    "opening": 0.35,
    "sweeping": 0.5,
    "sweeping_power": 0.5,
    "forgetting": 0.16,
    "power": 2.1,
}


class Check(NamedTuple):
    """How well the mean of the ensemble is met under one protocol; all are shares of the trace's peak."""

    about: str
    fitted: bool
    conductance: float
    """rms over the trace's time."""
    current: float
    noise: float
    """rms standard error of the ensemble's mean conductance."""


@dataclass(frozen=True)
class Fitted:
    """A compact model and what it is worth."""

    bridge: Bridge
    checks: dict[str, Check]
    realisations: int


def protocols(threshold: float, rate: float) -> dict[str, tuple[str, bool, dict[str, Any]]]:
    """Name → (in words, whether it is fitted, ``[protocol]`` table) for a device with this V_th (V) and κ (1/s)."""

    def volts(v: float) -> str:
        return f"{v * threshold!r} V"

    def seconds(t: float) -> str:
        return f"{t / rate!r} s"

    read = {"read_voltage": volts(0.05)}
    train: dict[str, Any] = {
        "kind": "pulse_train",
        "amplitude": volts(4.0),
        "width": seconds(0.0205),
        "period": seconds(0.041),
    }
    train |= {"count": 30, **read}
    few: dict[str, Any] = {
        "kind": "pulse_train",
        "amplitude": volts(2.5),
        "width": seconds(0.1),
        "gap": seconds(0.2),
        "count": 2,
    }
    spikes = _spikes(threshold, rate)
    return {
        "pulse": (
            "1.5 V_th for 2/kappa, read for 20/kappa",
            True,
            {"kind": "pulse", "amplitude": volts(1.5), "width": seconds(2.0), "relaxation": seconds(20.0), **read},
        ),
        "pair": ("two of 2.5 V_th and 0.1/kappa, 0.2/kappa apart", True, {**few, "relaxation": seconds(2.0), **read}),
        "train": ("30 of 4 V_th and 0.0205/kappa, one every 0.041/kappa", True, train),
        "recovery": (
            "4+1 of 4 V_th and 0.0205/kappa, 0.0205/kappa apart, the last after 5/kappa",
            True,
            {
                "kind": "recovery",
                "amplitude": volts(4.0),
                "width": seconds(0.0205),
                "gap": seconds(0.0205),
                "recovery": seconds(5.0),
                **read,
            },
        ),
        "sweep": (
            "0, 1.5, 0, -1.5, 0 V_th at 0.15 kappa V_th",
            True,
            {
                "kind": "triangular_sweep",
                "amplitude": volts(1.5),
                "rate": f"{0.15 * threshold * rate!r} V/s",
                "polarity": "positive_first",
            },
        ),
        "spikes": ("two spikes of opposite sign: 3 V_th for 0.03/kappa, then 1 V_th for 0.3/kappa", True, spikes),
        "low pulse": (
            "1.2 V_th for 3/kappa, read for 10/kappa",
            False,
            {"kind": "pulse", "amplitude": volts(1.2), "width": seconds(3.0), "relaxation": seconds(10.0), **read},
        ),
        "after train": ("the train, then read for 5/kappa", False, {**train, "relaxation": seconds(5.0)}),
    }


def _spikes(threshold: float, rate: float) -> dict[str, Any]:
    edge = 1e-4
    spans = [(0.03, 3.0), (0.3, 1.0), (0.5, 0.05), (0.03, -3.0), (0.3, -1.0), (2.0, 0.05)]
    time, voltage = [0.0], [0.0]
    for span, level in spans:
        points = np.linspace(edge, span, 20)
        time += list(time[-1] + points)
        voltage += [level] * points.size
    return {
        "kind": "waveform",
        "time": [float(t / rate) for t in time],
        "voltage": [float(v * threshold) for v in voltage],
    }


class Target(NamedTuple):
    """The mean of the ensemble under one protocol, in V_th, 1/κ and G_max."""

    name: str
    about: str
    fitted: bool
    timeline: Timeline
    """In SI units."""
    conductance: np.ndarray
    error: np.ndarray


def median_device(experiment: Experiment) -> Experiment:
    """One sweep point with every drawn parameter at its median, as an ensemble of realisations of that device."""
    size = {**experiment.to_dict()["ensemble"], "devices": _size(experiment), "cycles": 1, "cycle_to_cycle": {}}
    size.pop("correlation", None)
    return one_device(experiment, {}, {"ensemble": size | {"between_cycles": "rest", "equilibration": "0 s"}})


def targets(experiment: Experiment) -> list[Target]:
    """The median device's ensemble under each protocol."""
    base = median_device(experiment)
    device: Any = base.device
    scale = (device.threshold_voltage, device.cooling_rate, device.maximum_conductance)
    found = []
    for name, (about, fitted, table) in protocols(*scale[:2]).items():
        point = simulate(build(base.to_dict() | {"protocol": table}))[0]
        if not point.intact.all():
            message = f"{np.sum(~point.intact)} realisations broke down under '{about}': {device.remedy}"
            raise refused("device", None, message)
        found.append(
            Target(
                name,
                about,
                fitted,
                point.timeline,
                np.asarray(point.mean["conductance"][0], float) / scale[2],
                np.asarray(point.sem["conductance"][0], float) / scale[2],
            )
        )
    return found


def slopes(p: Any, gap: Any, swept: Any, v: Any) -> tuple[Any, Any, Any]:
    """dℓ/dt, ds/dt (in κ) and g at a voltage v (in V_th); the module's equations."""
    size, sign = jnp.abs(v), jnp.tanh(v / SIGN_WIDTH)
    over = p.closing * jnp.exp(p.lowering * size + p.asymmetry * sign)
    speed = size * over * p.drift / (over + p.drift)
    opens = p.opening * -jnp.expm1(-(p.rest_gap - gap) / OPENING_WIDTH)
    closes = speed * gap
    pushed = (size + LEAST) ** p.sweeping_power - LEAST**p.sweeping_power
    sweeps = p.sweeping * pushed * sign * jnp.exp(-gap) - p.forgetting * swept
    hidden = (swept * swept + LEAST**2) ** (0.5 * p.power) - LEAST**p.power
    return opens - closes, sweeps, p.least + (1.0 - p.least) * jnp.exp(-gap - hidden)


class Rows(NamedTuple):
    """Steps of the fit's integrator, of all protocols one after another."""

    step: np.ndarray
    start: np.ndarray
    end: np.ndarray
    begins: np.ndarray
    """Where a protocol begins, with a device at rest."""
    sample: np.ndarray
    """Number of the sample that the step is in."""
    share: np.ndarray
    """Of its sample."""


def _rows(found: list[Target], threshold: float, rate: float) -> Rows:
    lines, first = [], 0
    for target in found:
        widths = target.timeline.widths * rate
        for i, width in enumerate(widths):
            count = int(np.ceil(width / _STEP * (1 - 1e-9)))
            ramp = np.linspace(target.timeline.start[i], target.timeline.end[i], count + 1) / threshold
            for k in range(count):
                begins = float(i == 0 and k == 0)
                lines.append((width / count, ramp[k], ramp[k + 1], begins, first + i, 1.0 / count))
        first += widths.size
    columns = np.array(lines).T
    step, start, end, begins, sample, share = columns
    return Rows(step, start, end, begins, sample.astype(int), share)


def course(p: Any, rows: Rows, samples: int) -> Float[Array, " sample"]:
    """g, mean over each sample, by the classical Runge-Kutta method of order 4."""
    rest = jnp.stack([jnp.asarray(p.rest_gap, float), jnp.zeros(())])

    def slope(y: Float[Array, " 2"], v: Float[Array, ""]) -> Float[Array, " 2"]:
        return jnp.stack(slopes(p, y[0], y[1], v)[:2])

    def step(y: Float[Array, " 2"], row: tuple[Any, ...]) -> tuple[Float[Array, " 2"], Float[Array, ""]]:
        h, v0, v1, begins = row
        y, v = jnp.where(begins > 0, rest, y), 0.5 * (v0 + v1)
        k1 = slope(y, v0)
        k2 = slope(y + 0.5 * h * k1, v)
        k3 = slope(y + 0.5 * h * k2, v)
        k4 = slope(y + h * k3, v1)
        middle = y + 0.5 * h * k2
        after = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        # A search may ask for rates that this step cannot follow; what it asks for is then bad, but a number.
        after = jnp.clip(after, jnp.stack([jnp.zeros(()), -20.0 * jnp.ones(())]), jnp.stack([rest[0], 20.0]))
        return after, slopes(p, middle[0], middle[1], v)[2]

    _, g = jax.lax.scan(step, rest, tuple(jnp.asarray(c) for c in rows[:4]))
    return jnp.zeros(samples).at[rows.sample].add(g * rows.share)


def _packed(values: dict[str, float]) -> np.ndarray:
    return np.array([values[name] if name in _SIGNED else np.log(values[name]) for name in _FREE])


def _unpacked(x: Any, fixed: dict[str, float]) -> Bridge:
    free: dict[str, Any] = {name: x[i] if name in _SIGNED else jnp.exp(x[i]) for i, name in enumerate(_FREE)}
    return Bridge(**fixed, **free)


def fit(experiment: Experiment) -> Fitted:
    """The compact model of one sweep point's median device, and its errors. Deterministic: one start, from the numbers
    of the paper's own device; bounds keep what the protocols do not determine from running away."""
    device: Any = median_device(experiment).device
    found = targets(experiment)
    with computing(True):
        return _fit(found, device.threshold_voltage, device.cooling_rate, _size(experiment))


def _size(experiment: Experiment) -> int:
    return int(np.clip(experiment.ensemble.devices, _FEWEST, _MOST))


def _fit(found: list[Target], threshold: float, rate: float, realisations: int) -> Fitted:
    used = [t for t in found if t.fitted]
    at_rest = float(next(t.conductance[0] for t in found if t.name == "sweep"))
    floor = _FLOOR * at_rest
    fixed = {"rest_gap": float(-np.log((at_rest - floor) / (1.0 - floor))), "least": floor}
    weight = np.concatenate([_weight(t) for t in used])
    measured = np.concatenate([t.conductance for t in used])
    rows = _rows(used, threshold, rate)

    def residual(x: Any) -> Any:
        return (course(_unpacked(x, fixed), rows, measured.size) - measured) * weight

    value, slope = jax.jit(residual), jax.jit(jax.jacfwd(residual))
    start = _packed(_START)
    best = optimize.least_squares(
        lambda x: np.asarray(value(x)),
        start,
        jac=lambda x: np.asarray(slope(x)),
        bounds=(start - _WIDE, start + _WIDE),
        max_nfev=_ITERATIONS,
    )
    bridge = Bridge(*(float(x) for x in _unpacked(jnp.asarray(best.x), fixed)))
    every = _rows(found, threshold, rate)
    modelled = np.asarray(course(bridge, every, sum(t.conductance.size for t in found)))
    checks, first = {}, 0
    for t in found:
        here = modelled[first : first + t.conductance.size]
        first += t.conductance.size
        v, w = t.timeline.voltage / threshold, t.timeline.widths
        checks[t.name] = Check(
            t.about,
            t.fitted,
            relative_rms(here, t.conductance, w),
            relative_rms(here * v, t.conductance * v, w),
            float(np.sqrt(np.average(t.error**2, weights=w)) / t.conductance.max()),
        )
    return Fitted(bridge, checks, realisations)


def _weight(t: Target) -> np.ndarray:
    """So that the sum of squares is the mean square over time, relative to the peak."""
    w: np.ndarray = np.sqrt(t.timeline.widths / t.timeline.duration) / t.conductance.max()
    return w


def relative_rms(ours: np.ndarray, theirs: np.ndarray, widths: np.ndarray) -> float:
    """Root of the mean square difference over time, over the largest size of ``theirs``."""
    return float(np.sqrt(np.average((ours - theirs) ** 2, weights=widths)) / np.abs(theirs).max())
