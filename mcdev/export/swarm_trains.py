"""What the compact model of the nanoparticles is fitted to and tried on: trains of pulses, and the mean of an ensemble
under each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mcdev.configuration.experiment import Experiment, build
from mcdev.export.refusal import refused
from mcdev.export.single import one_device
from mcdev.protocols.timeline import Timeline
from mcdev.simulation.ensemble import simulate

_MOST, _FEWEST = 512, 256  # realisations
_TRAINS = ("train", "other")


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
    size = {**experiment.to_dict()["ensemble"], "devices": size_of(experiment), "cycles": 1, "cycle_to_cycle": {}}
    size.pop("correlation", None)
    return one_device(experiment, {}, {"ensemble": size | {"between_cycles": "rest", "equilibration": "0 s"}})


def size_of(experiment: Experiment) -> int:
    """Realisations under each protocol: as many as the ensemble has devices, within limits."""
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
