"""What each device is: its parameters, drawn once (D2D), and what changes from cycle to cycle (C2C).

Every number is named by seed, parameter, device and cycle: device i is the same in an ensemble of any size, and its
cycle c the same in a run of any length.
"""

from __future__ import annotations

import hashlib

import numpy as np
import scipy  # its parts are imported when they are first used

from mcdev.configuration.experiment import Experiment


def draw_parameters(experiment: Experiment, first: int, last: int) -> dict[str, np.ndarray]:
    """Parameters of devices first … last-1, and of what the circuit puts beside them, in SI units: [device], or
    [member, device] of what several devices of a circuit draw each.

    Each drawn parameter has a stream of uniform numbers u of its own, or a coordinate of one Sobol' sequence (Owen's
    scrambling; Sobol' 1967, Owen 1998, doi:10.1006/jcom.1998.0487). Correlated ones go through a Gaussian copula,

        z' = L z,   z = Φ⁻¹(u),   L Lᵀ = ρ         (Nelsen 2006, An Introduction to Copulas)

    so that ρ holds between their normal scores, whatever their distributions.
    """
    laws = experiment.laws
    names = [name for name, law in laws.items() if not isinstance(law, float)]
    members = {name: len(experiment.members(name)) for name in laws}
    uniform = _uniform(experiment, {name: members[name] for name in names}, first, last)
    correlation = experiment.ensemble.correlation
    if correlation is not None:
        for m in range(min(members[name] for name in correlation.parameters)):
            z = np.stack([scipy.special.ndtri(uniform[name, m]) for name in correlation.parameters])
            together = scipy.special.ndtr(np.linalg.cholesky(correlation.full()) @ z)
            uniform |= {(name, m): u for name, u in zip(correlation.parameters, together, strict=True)}
    draws = {}
    for name, drawn in laws.items():
        count, devices = members[name], last - first
        if isinstance(drawn, float):
            value = np.full((count, devices), drawn)
        else:
            value = np.stack([drawn.quantile(uniform[name, m]) for m in range(count)])
        draws[name] = value if count > 1 else value[0]
    return draws


def of_device(experiment: Experiment, draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of the device alone, as it is built from."""
    return {name: draws[name] for name in experiment.device.parameters()}


def of_cycle(
    experiment: Experiment, draws: dict[str, np.ndarray], first: int, count: int, cycle: int
) -> dict[str, np.ndarray]:
    """The parameters of ``count`` devices from ``first`` on as they are in one cycle: those of
    ``ensemble.cycle_to_cycle`` times a lognormal factor of median 1 for each device and cycle. What ``draws`` holds
    beyond these devices only fills up, and is as the last."""
    changed = dict(draws)
    for name, sigma in experiment.ensemble.cycle_to_cycle.items():
        key = [experiment.ensemble.seed, _word(f"cycle {name}")]
        members = len(experiment.members(name))
        u = np.stack([_stream(key, first, count, [0, 0, m, cycle + 1]) for m in range(members)])
        filled = np.pad(scipy.special.ndtri(u), ((0, 0), (0, draws[name].shape[-1] - count)), mode="edge")
        changed[name] = draws[name] * np.exp(sigma * filled).reshape(draws[name].shape)
    return changed


def _word(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def _uniform(
    experiment: Experiment, members: dict[str, int], first: int, last: int
) -> dict[tuple[str, int], np.ndarray]:
    """A number for each device of each name's members; ``members``: how many draw it."""
    seed = experiment.ensemble.seed
    names = [(name, m) for name, count in members.items() for m in range(count)]
    if experiment.ensemble.sampling == "sobol" and names:
        from scipy.stats import qmc  # slow to import, and not always wanted

        sequence = qmc.Sobol(len(names), scramble=True, bits=32, rng=np.random.default_rng(seed))
        if first:
            sequence.fast_forward(first)
        many = 1 << (last - first - 1).bit_length()  # the sequence wants a power of two
        points = np.clip(sequence.random(many)[: last - first], 2.0**-33, 1 - 2.0**-33)
        return dict(zip(names, points.T, strict=True))
    return {(name, m): _stream([seed, _word(name)], first, last - first, [0, 0, m, 0]) for name, m in names}


def _stream(key: list[int], first: int, count: int, counter: list[int] | None = None) -> np.ndarray:
    """Uniform numbers ``first`` … ``first + count - 1`` of a stream. Its counter is set, so that none before them is
    made: one count makes four."""
    stream = np.random.Philox(key=key, counter=counter).advance(first // 4)
    return np.random.Generator(stream).random(first % 4 + count)[first % 4 :]
