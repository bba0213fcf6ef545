"""A compact model of the diffusive memristor for circuit simulators: its particles' mean density in cells, one heat.

With v = V/V_th, κ the cooling rate and θ = k_B T/w_p, in units of the device (L, 1/κ, w_p, G_max):

    dn_i/dt = κ (j_{i-1} - j_i)                                  particles in cell i of N, walls at both ends
    j_i     = k x_i/sinh(x_i) [e^{-x_i} n_i - e^{x_i} n_{i+1}]   Scharfetter-Gummel: x_i = (u_{i+1} - u_i - p v)/(2θ)
    dh/dt   = κ (H v² g - h),   θ = θ_0 + h,   k = m θ           h: how much hotter than at rest
    e_i     = exp(-b n_i^c)                                      how likely cell i is empty
    w_i     = e_i (y w_{i-1} - 1) + 1,   R = Σ_i w_{i-1} (1 - e_i) + w_N,   w_0 = 1
    I       = G_max V g,   g = 1/(1 + a R) + g_f

This is eq. 4 of Wang et al. (2017, doi:10.1038/nmat4756) for a density (Risken 1989, §5), as in
devices/diffusive_density.py, on a coarse mesh; eq. 5 for the mean temperature, exact since it is linear in g; and for
eq. 3 the mean of Σ exp(gap/ℓ) over particles that fall into cells independently: w_i is the mean of exp(run/ℓ) over the
run of empty cells that ends at i, and y = exp(cell/ℓ). The mean of a conductance is not the conductance of a mean:
therefore ℓ, b, c, a, g_f are fitted; and u, p, m by some per cent from their physical values, which mends the mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import optimize
from scipy.constants import Boltzmann

from mcdev.configuration.experiment import Experiment, build
from mcdev.export.refusal import refused
from mcdev.export.single import one_device
from mcdev.machine.environment import computing
from mcdev.protocols.timeline import Timeline
from mcdev.schema import typical
from mcdev.simulation.ensemble import simulate

FAR = 100.0
"""x_i is held within it: e^x must be a number at whatever voltage a simulator tries."""
NUDGE = 1e-9
"""Added to x_i, so that x/sinh(x) is never 0/0."""
TRACE = 1e-6
"""Particles added to a cell before a power is taken of its number."""

_CELLS_PER_PERIOD = 1.4  # over θ_0, but three at least: the energy from cell to cell must not be much beyond θ
_LEAST_CELLS, _MOST_CELLS = 24, 120
_MOST, _FEWEST = 512, 256  # realisations
_STEP, _REST_STEP = 0.005, 0.02  # longest steps of the fit's integrator while driven and not, in 1/κ
_DRIVEN = 0.5  # V_th
_FLOOR = 0.03  # relative error of the ensemble's mean below which the fit does not look
_ITERATIONS = 30
_WIDE = 4.0  # how far a number may go from its start, in logarithms


class Train(NamedTuple):
    """Equal pulses, in V_th and 1/κ."""

    amplitude: float
    width: float
    gap: float
    pulses: int

    def __str__(self) -> str:
        return f"{self.pulses} of {self.amplitude:g} V_th and {self.width:g}/kappa, {self.gap:g}/kappa apart"


RANGE = "pulses of 2 to 4 V_th and 0.02 to 0.1/kappa, 0.02 to 2/kappa apart, up to 20 of them, from rest"
"""What the trains span."""
WANTED = 0.15
"""Largest error of a pulse's conductance that the header does not point at."""

FITTED = (
    Train(3.1, 0.021, 0.07, 14),
    Train(3.0, 0.065, 1.0, 8),
    Train(3.3, 0.05, 0.7, 8),
    Train(4.0, 0.03, 0.05, 16),
    Train(2.05, 0.05, 0.22, 10),
    Train(3.5, 0.08, 0.58, 8),
    Train(2.3, 0.025, 0.47, 12),
    Train(3.9, 0.057, 1.5, 8),
    Train(2.7, 0.075, 0.085, 10),
    Train(2.8, 0.027, 0.032, 14),
    Train(3.5, 0.1, 0.057, 9),
    Train(2.1, 0.07, 0.04, 9),
    Train(2.9, 0.06, 1.8, 8),
    Train(2.4, 0.03, 0.124, 18),
    Train(2.5, 0.046, 0.32, 12),
    Train(3.2, 0.09, 0.022, 15),
    Train(3.7, 0.043, 0.1, 16),
    Train(2.2, 0.04, 2.0, 8),
)
HELD_OUT = (
    Train(3.0, 0.04, 0.6, 8),
    Train(3.0, 0.04, 0.3, 8),
    Train(3.0, 0.04, 1.0, 8),
    Train(2.2, 0.05, 0.05, 14),
    Train(3.6, 0.025, 0.2, 14),
    Train(2.6, 0.1, 0.15, 10),
    Train(3.8, 0.06, 1.5, 8),
    Train(2.4, 0.06, 2.0, 8),
    Train(4.0, 0.0205, 0.0205, 20),
    Train(2.0, 0.09, 0.9, 8),
)


class Numbers(NamedTuple):
    """The numbers of the equations above; all are pure. Floats, or what is traced while they are fitted."""

    steps: Any
    """u_{i+1} - u_i, N-1 of them."""
    rest: Any
    """n_i at rest, N of them."""
    pull: Any
    hops: Any
    background: Any
    heating: Any
    blocking: Any
    sharpness: Any
    reach: Any
    resistance: Any
    least: Any


MEANINGS = {
    "pull": "p, force of V_th over a cell, in w_p",
    "hops": "m, rate of hops between cells over theta, in kappa",
    "background": "theta_0, k_B T_0/w_p",
    "heating": "H, heat of V_th at G_max, in theta kappa",
    "blocking": "b, by which particles block a cell to a gap",
    "sharpness": "c, its power of their number",
    "reach": "y, factor by which an empty cell lengthens a gap's weight",
    "resistance": "a, of the weighted gaps",
    "least": "g_f, least conductance over G_max",
}

_START = {
    "pinning": 0.05,
    "well": 0.02,
    "pull": -0.03,
    "hops": 0.01,
    "blocking": -0.85,
    "sharpness": -1.2,
    "length": -1.9,
    "resistance": -5.7,
    "least": -5.6,
}
"""Logarithms, as the paper's device has them: the first four of factors of the physical value; length is ℓ in half
gaps."""


class Target(NamedTuple):
    """The mean of the ensemble under one protocol, in V_th, 1/κ and G_max."""

    name: str
    about: str
    fitted: bool
    timeline: Timeline
    """In SI units."""
    conductance: np.ndarray
    error: np.ndarray
    """Standard error of it."""
    pulses: np.ndarray
    """Samples that are the last quarters of a train's pulses; none of any other protocol."""


class Check(NamedTuple):
    """How well the mean of the ensemble is met under one protocol."""

    about: str
    fitted: bool
    train: bool
    conductance: float
    """rms error: of a train over its pulses, of each pulse's own conductance; else over time, relative to the peak."""
    worst: float
    """Of a train, the largest of its pulses; else the same as ``current``."""
    current: float
    """rms over time, relative to the peak."""
    noise: float
    """rms standard error of the ensemble's mean conductance, relative as ``conductance`` is."""


@dataclass(frozen=True)
class Fitted:
    """A compact model and what it is worth."""

    numbers: Numbers
    checks: dict[str, Check]
    realisations: int


# ------------------------------------------------------------------------------------- the ensemble


def protocols(threshold: float, rate: float) -> dict[str, tuple[str, bool, dict[str, Any]]]:
    """Name → (in words, whether it is fitted, ``[protocol]`` table) for a device with this V_th (V) and κ (1/s)."""

    def volts(v: float) -> str:
        return f"{v * threshold!r} V"

    def seconds(t: float) -> str:
        return f"{t / rate!r} s"

    read = {"read_voltage": volts(0.05)}
    found: dict[str, tuple[str, bool, dict[str, Any]]] = {}
    for trains, fitted in ((FITTED, True), (HELD_OUT, False)):
        for i, train in enumerate(trains, start=1):
            table: dict[str, Any] = {
                "kind": "pulse_train",
                "amplitude": volts(train.amplitude),
                "width": seconds(train.width),
            }
            table |= {"gap": seconds(train.gap), "count": train.pulses, "samples_per_pulse": 4, "samples_per_gap": 4}
            found[f"{'train' if fitted else 'other'} {i}"] = (str(train), fitted, table | read)
    fast = {"amplitude": volts(4.0), "width": seconds(0.0205), "gap": seconds(0.0205)}
    return found | {
        "pulse": (
            "1.5 V_th for 2/kappa, read for 20/kappa",
            False,
            {"kind": "pulse", "amplitude": volts(1.5), "width": seconds(2.0), "relaxation": seconds(20.0), **read},
        ),
        "low pulse": (
            "1.2 V_th for 3/kappa, read for 10/kappa",
            False,
            {"kind": "pulse", "amplitude": volts(1.2), "width": seconds(3.0), "relaxation": seconds(10.0), **read},
        ),
        "sweep": (
            "0, 1.5, 0, -1.5, 0 V_th at 0.15 kappa V_th",
            False,
            {
                "kind": "triangular_sweep",
                "amplitude": volts(1.5),
                "rate": f"{0.15 * threshold * rate!r} V/s",
                "polarity": "positive_first",
            },
        ),
        "recovery": (
            "4+1 of 4 V_th and 0.0205/kappa, 0.0205/kappa apart, the last after 5/kappa",
            False,
            {"kind": "recovery", **fast, "recovery": seconds(5.0), **read},
        ),
        "spikes": (
            "two spikes of opposite sign: 3 V_th for 0.03/kappa, then 1 V_th for 0.3/kappa",
            False,
            _spikes(threshold, rate),
        ),
        "after train": (
            "30 of 4 V_th and 0.0205/kappa, 0.0205/kappa apart, then read for 5/kappa",
            False,
            {"kind": "pulse_train", **fast, "count": 30, "relaxation": seconds(5.0), **read},
        ),
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


def median_device(experiment: Experiment) -> Experiment:
    """One sweep point with every drawn parameter at its median, as an ensemble of realisations of that device."""
    size = {**experiment.to_dict()["ensemble"], "devices": _size(experiment), "cycles": 1, "cycle_to_cycle": {}}
    size.pop("correlation", None)
    return one_device(experiment, {}, {"ensemble": size | {"between_cycles": "rest", "equilibration": "0 s"}})


def _size(experiment: Experiment) -> int:
    return int(np.clip(experiment.ensemble.devices, _FEWEST, _MOST))


def targets(experiment: Experiment) -> list[Target]:
    """The median device's ensemble under each protocol, each from a seed of its own: the noise of what they share, the
    device at rest, averages out."""
    base = median_device(experiment)
    device: Any = base.device
    scale = (device.threshold_voltage, device.cooling_rate, device.maximum_conductance)
    found = []
    for number, (name, (about, fitted, table)) in enumerate(protocols(*scale[:2]).items()):
        data = base.to_dict()
        seeded = data["ensemble"] | {"seed": base.ensemble.seed + number}
        point = simulate(build(data | {"protocol": table, "ensemble": seeded}))[0]
        if not point.intact.all():
            message = f"{np.sum(~point.intact)} realisations broke down under '{about}': {device.remedy}"
            raise refused("device", None, message)
        ends = [last - 1 for _, last in point.timeline.windows.get("pulse", ())] if name.split()[0] in _TRAINS else []
        found.append(
            Target(
                name,
                about,
                fitted,
                point.timeline,
                np.asarray(point.mean["conductance"][0], float) / scale[2],
                np.asarray(point.sem["conductance"][0], float) / scale[2],
                np.array(ends, int),
            )
        )
    return found


_TRAINS = ("train", "other")

# ------------------------------------------------------------------------------------- the model


class Mesh(NamedTuple):
    """What the device's parameters say of the cells."""

    well: np.ndarray
    """Energy of the interfacial wells at each cell's middle, in w_p."""
    pinning: np.ndarray
    left: np.ndarray
    """Whether a cell is of the left half."""
    share: float | None
    """Of the particles that start there; None: in equilibrium."""
    particles: int
    background: float
    heating: float
    pull: float
    hops: float

    @property
    def cell(self) -> float:
        """Width of a cell, in half gaps."""
        return 2.0 / self.well.size


def mesh(device: Any) -> Mesh:
    """Three cells to a pinning period, and more in a cold device."""
    p = {name: float(typical(getattr(device, name))) for name in type(device).parameters()}
    background = Boltzmann * p["background_temperature"] / p["pinning_energy"]
    of_period = max(3, round(_CELLS_PER_PERIOD / background))
    cells = int(np.clip(round(2 * of_period / p["pinning_period"]), _LEAST_CELLS, _MOST_CELLS))
    x = (np.arange(cells) + 0.5) * 2.0 / cells - 1.0
    depths = {-1: 1.0, 1: p["interfacial_ratio"]}  # by terminal, in units of the left one's
    wells = [
        depth * np.exp(-(((x - side * p["interfacial_centre"]) / p["interfacial_width"]) ** 2))
        for side, depth in depths.items()
    ]
    return Mesh(
        -p["interfacial_energy"] * np.sum(wells, axis=0),
        0.5 * np.sin(2 * np.pi * x / p["pinning_period"] + p["pinning_phase"]),
        x < 0,
        None if device.initial_split == "equilibrium" else device.initial_split,
        device.particles,
        background,
        p["heating"],
        p["drift"] * 2.0 / cells,
        (cells / 2.0) ** 2 / p["friction"],
    )


def numbers(x: Any, at: Mesh) -> Numbers:
    """The model's numbers from those that are fitted, in the order of ``_START``."""
    q = dict(zip(_START, x, strict=True))
    energy = jnp.exp(q["well"]) * at.well + jnp.exp(q["pinning"]) * at.pinning
    weight = jnp.exp((jnp.min(energy) - energy) / at.background)
    rest = weight / jnp.sum(weight)
    if at.share is not None:
        left = jnp.sum(rest * at.left)
        rest = rest * jnp.where(at.left, at.share / left, (1.0 - at.share) / (1.0 - left))
    return Numbers(
        jnp.diff(energy),
        at.particles * rest,
        at.pull * jnp.exp(q["pull"]),
        at.hops * jnp.exp(q["hops"]),
        at.background,
        at.heating,
        jnp.exp(q["blocking"]),
        jnp.exp(q["sharpness"]),
        jnp.exp(at.cell / jnp.exp(q["length"])),
        jnp.exp(q["resistance"]),
        jnp.exp(q["least"]),
    )


_Cells = Float[Array, "cell lane"]
_Lane = Float[Array, " lane"]


def conductance(p: Numbers, n: _Cells) -> _Lane:
    """g of the particles in each cell."""
    empty = jnp.exp(-p.blocking * (jnp.maximum(n, 0.0) + TRACE) ** p.sharpness)
    weight, total = jnp.ones(n.shape[1:]), jnp.zeros(n.shape[1:])
    for e in empty:
        total = total + weight * (1.0 - e)
        weight = e * (p.reach * weight - 1.0) + 1.0
    return 1.0 / (1.0 + p.resistance * (total + weight)) + p.least


def rates(p: Numbers, heat: _Lane, v: _Lane) -> tuple[_Cells, _Cells]:
    """Of hops to the right and to the left over each border, in κ; v in V_th."""
    theta = p.background + heat
    x = jnp.clip((jnp.asarray(p.steps)[:, None] - p.pull * v) / (2 * theta), -FAR, FAR) + NUDGE
    both = p.hops * theta * x / jnp.sinh(x)
    return both * jnp.exp(-x), both * jnp.exp(x)


def slopes(p: Numbers, n: _Cells, heat: _Lane, v: _Lane) -> tuple[_Cells, _Lane, _Lane]:
    """dn/dt, dh/dt (in κ) and g at a voltage v (in V_th); the module's equations."""
    right, left = rates(p, heat, v)
    g = conductance(p, n)
    return _divergence(right * n[:-1] - left * n[1:]), p.heating * v * v * g - heat, g


def _divergence(flux: _Cells) -> _Cells:
    wall = jnp.zeros_like(flux[:1])
    return jnp.concatenate([wall, flux]) - jnp.concatenate([flux, wall])


# ------------------------------------------------------------------------------------- the fit's integrator


class Rows(NamedTuple):
    """Steps of the fit's integrator, a lane a protocol; lanes end with steps of no length."""

    step: np.ndarray
    voltage: np.ndarray
    sample: np.ndarray
    """Number of the sample that the step is in."""
    share: np.ndarray
    """Of its sample."""
    samples: int


def rows_of(found: Iterable[Target], threshold: float, rate: float) -> Rows:
    """The steps of these protocols for a device with this V_th (V) and κ (1/s)."""
    lanes, most = [], 0
    for target in found:
        lines, t = [], target.timeline
        for i, width in enumerate(t.widths * rate):
            driven = max(abs(t.start[i]), abs(t.end[i])) > _DRIVEN * threshold
            count = int(np.ceil(width / (_STEP if driven else _REST_STEP) * (1 - 1e-9)))
            middles = t.start[i] + (t.end[i] - t.start[i]) * (np.arange(count) + 0.5) / count
            lines += [(width / count, v / threshold, i, 1.0 / count) for v in middles]
        lanes.append(np.array(lines).T)
        most = max(most, t.samples)
    table = np.zeros((4, max(lane.shape[1] for lane in lanes), len(lanes)))
    for i, lane in enumerate(lanes):
        table[:, : lane.shape[1], i] = lane
    step, voltage, sample, share = table
    return Rows(step, voltage, sample.astype(int), share, most)


_SHARE = 2.0 - np.sqrt(2.0)  # of a step that TR-BDF2 takes by trapezoids


def _moved(n: _Cells, right: _Cells, left: _Cells, step: _Lane) -> _Cells:
    """n after a step at constant rates, by TR-BDF2 (Bank et al. 1985): of second order, and no fast mode rings."""
    a, wall = 0.5 * _SHARE * step, jnp.zeros_like(right[:1])
    below, above = -a * jnp.concatenate([wall, right]), -a * jnp.concatenate([left, wall])
    diagonal = 1.0 + a * (jnp.concatenate([right, wall]) + jnp.concatenate([wall, left]))
    solve = _factored(below, diagonal, above)
    middle = solve(n + a * _divergence(right * n[:-1] - left * n[1:]))
    return solve((middle - (1.0 - _SHARE) ** 2 * n) / (_SHARE * (2.0 - _SHARE)))


def _factored(below: _Cells, diagonal: _Cells, above: _Cells) -> Callable[[_Cells], _Cells]:
    """Solver of a tridiagonal system, lane by lane (Thomas); the matrix is diagonally dominant."""

    def down(before: _Lane, row: tuple[_Lane, _Lane, _Lane]) -> tuple[_Lane, tuple[_Lane, _Lane]]:
        pivot = 1.0 / (row[1] - row[0] * before)
        return row[2] * pivot, (row[2] * pivot, pivot)

    zero = jnp.zeros_like(diagonal[0])
    _, (upper, pivot) = jax.lax.scan(down, zero, (below, diagonal, above), unroll=8)

    def solve(right: _Cells) -> _Cells:
        def forward(before: _Lane, row: tuple[_Lane, ...]) -> tuple[_Lane, _Lane]:
            now = (row[2] - row[0] * before) * row[1]
            return now, now

        def backward(after: _Lane, row: tuple[_Lane, _Lane]) -> tuple[_Lane, _Lane]:
            now = row[1] - row[0] * after
            return now, now

        _, reduced = jax.lax.scan(forward, zero, (below, pivot, right), unroll=8)
        _, found = jax.lax.scan(backward, zero, (upper, reduced), reverse=True, unroll=8)
        return found

    return solve


def course(p: Numbers, rows: Rows) -> Float[Array, "sample lane"]:
    """g, mean over each sample, from rest; density and heat in turn, each with the other's middle value."""
    lanes = rows.step.shape[1]
    rest = jnp.broadcast_to(jnp.asarray(p.rest)[:, None], (len(p.rest), lanes))

    def step(state: tuple[_Cells, _Lane, _Lane], row: tuple[_Lane, _Lane]) -> tuple[tuple[_Cells, _Lane, _Lane], _Lane]:
        (n, heat, g), (h, v) = state, row
        power = p.heating * v * v
        middle = heat + (power * g - heat) * -jnp.expm1(-0.5 * h)
        n = _moved(n, *rates(p, middle, v), h)
        after = conductance(p, n)
        mean = 0.5 * (g + after)
        return (n, heat + (power * mean - heat) * -jnp.expm1(-h), after), mean

    start = (rest, jnp.zeros(lanes), conductance(p, rest))
    _, g = jax.lax.scan(step, start, (jnp.asarray(rows.step), jnp.asarray(rows.voltage)))
    return jnp.zeros((rows.samples, lanes)).at[rows.sample, jnp.arange(lanes)[None, :]].add(g * rows.share)


def fit(experiment: Experiment) -> Fitted:
    """The compact model of one sweep point's median device, and its errors. Deterministic: one start, from the device's
    own parameters; bounds keep what the trains do not determine from running away."""
    device: Any = median_device(experiment).device
    found = targets(experiment)
    with computing(True):
        return _fit(found, device, _size(experiment))


def _fit(found: list[Target], device: Any, realisations: int) -> Fitted:
    scale, at = (device.threshold_voltage, device.cooling_rate), mesh(device)
    used = [t for t in found if t.fitted]
    rows = rows_of(used, *scale)
    sample = np.concatenate([np.arange(t.timeline.samples) for t in used])
    lane = np.repeat(np.arange(len(used)), [t.timeline.samples for t in used])
    measured = np.log(np.concatenate([t.conductance for t in used]))
    weight = np.concatenate([_weight(t, scale[0]) for t in used])

    def residual(x: Any) -> Any:
        return (jnp.log(course(numbers(x, at), rows)[sample, lane]) - measured) * weight

    value, slope = jax.jit(residual), jax.jit(jax.jacfwd(residual))
    start = np.array(list(_START.values()))
    best = optimize.least_squares(
        lambda x: np.asarray(value(x)),
        start,
        jac=lambda x: np.asarray(slope(x)),
        bounds=(start - _WIDE, start + _WIDE),
        x_scale=0.1,
        max_nfev=_ITERATIONS,
    )
    p = numbers(best.x, at)
    checks: dict[str, Check] = {}
    for trains in (True, False):
        some = [t for t in found if bool(t.pulses.size) == trains]
        if some:
            modelled = _modelled(p, rows_of(some, *scale))
            checks |= {t.name: _check(t, modelled[: t.timeline.samples, i], scale[0]) for i, t in enumerate(some)}
    plain = Numbers(*(np.asarray(x, float).tolist() for x in p))
    return Fitted(plain, checks, realisations)


def _modelled(p: Numbers, rows: Rows) -> np.ndarray:
    return np.asarray(jax.jit(lambda: course(p, rows))())


def _weight(t: Target, threshold: float) -> np.ndarray:
    """One over the error of ln g, the ensemble's and what the fit does not look below; most for what a pulse is judged
    by, its last quarter, and least for what flows between pulses."""
    counts = np.where(np.abs(t.timeline.voltage) > _DRIVEN * threshold, 0.5, 0.1)
    counts[t.pulses] = 1.0
    found: np.ndarray = counts / np.hypot(_FLOOR, t.error / t.conductance)
    return found


def _check(t: Target, modelled: np.ndarray, threshold: float) -> Check:
    v, w = t.timeline.voltage / threshold, t.timeline.widths
    current = relative_rms(modelled * v, t.conductance * v, w)
    if t.pulses.size:
        off = modelled[t.pulses] / t.conductance[t.pulses] - 1.0
        noise = float(np.sqrt(np.mean((t.error[t.pulses] / t.conductance[t.pulses]) ** 2)))
        return Check(t.about, t.fitted, True, float(np.sqrt(np.mean(off**2))), float(np.abs(off).max()), current, noise)
    noise = float(np.sqrt(np.average(t.error**2, weights=w)) / t.conductance.max())
    return Check(t.about, t.fitted, False, relative_rms(modelled, t.conductance, w), current, current, noise)


def relative_rms(ours: np.ndarray, theirs: np.ndarray, widths: np.ndarray) -> float:
    """Root of the mean square difference over time, over the largest size of ``theirs``."""
    return float(np.sqrt(np.average((ours - theirs) ** 2, weights=widths)) / np.abs(theirs).max())
