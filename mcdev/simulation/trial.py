"""A trial: one sweep point, resolved. What follows from its configuration before any device is drawn, each once.

for trial in trials(experiment):
    trial.timeline, trial.rows, trial.settle, trial.lanes
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mcdev.circuits.contract import Circuit, CircuitConfig
from mcdev.circuits.several import built
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import ConfigError, Problem
from mcdev.devices.contract import CIRCUIT_CHANNELS, DeviceConfig, Devices
from mcdev.machine.environment import backend
from mcdev.measurements.contract import Detector
from mcdev.protocols.timeline import Timeline
from mcdev.simulation.draws import draw_parameters, of_device
from mcdev.simulation.spikes import detectors

BATCH = 64
"""Samples a call of the compiled program takes."""
_NARROW, _MANY_CALLS = 16, 100  # lanes; calls of the compiled program from which one of its own is worth compiling
_LEAST = 8  # lanes of a group
_FEWEST = 128  # of a group on a GPU: those of one block of its threads
_MOST_EVENTS = 1e7  # of a device in one sample, within which no call ends: 20 minutes of a core for 256 devices
_RECORDED = 2**30  # bytes that a group's recorded channels take there, at most, unless it is of the fewest lanes
_INTERVALS = 8  # of a sample, where the circuit follows the states by itself: what is recorded is a mean over them
_SLOTS = (1, 4, 16, 64, 256, 1024)
_QUARTER, _WORTH = 64, 0.8  # fewest lanes that fill a processor's vectors; share of the lanes that is fewer by enough


class Drive(NamedTuple):
    """The samples of a timeline as the compiled program sees them; shape [sample], or [sample, …] of several."""

    start: np.ndarray
    """Source voltage (V)."""
    end: np.ndarray
    solutions: np.ndarray
    """Times that the circuit is solved within the sample."""
    pairs: np.ndarray
    """Pairs of steps between two solutions."""
    step: np.ndarray
    """Seconds."""
    beside: Any = ()
    """Of what else drives the circuit, start and end of each sample [sample, …, drive, 2]; nothing in most circuits."""

    @property
    def steps(self) -> int:
        return int(2 * np.sum(self.solutions * self.pairs))

    def batches(self, steps: int = DeviceConfig.call_steps) -> Iterator[Drive]:
        """The samples in order, at most ``BATCH`` and about so many ``steps`` at a time."""
        counts = self.solutions * self.pairs
        most = counts if counts.ndim == 1 else counts.max(axis=tuple(range(1, counts.ndim)))
        first, pairs = 0, 0.0
        for i, more in enumerate(most.tolist()):
            if i - first == BATCH or (i > first and 2 * (pairs + more) > steps):
                yield Drive(*(column[first:i] for column in self))
                first, pairs = i, 0.0
            pairs += more
        yield Drive(*(column[first:] for column in self))


@dataclass(frozen=True)
class Trial:
    """One sweep point, ready to be computed."""

    experiment: Experiment
    points: int = 1
    """Sweep points of the whole ensemble, this one among them."""

    @functools.cached_property
    def timeline(self) -> Timeline:
        return self.experiment.timeline

    @functools.cached_property
    def frequency(self) -> np.ndarray:
        """Frequencies (Hz) of the impedance that is taken at the end; none under most protocols."""
        return self.experiment.protocol.frequencies

    @functools.cached_property
    def rows(self) -> Drive:
        """The protocol. Raises ``ConfigError`` where it takes no finite number of steps."""
        return drive(self.experiment, self.timeline)

    def calls(self, rows: Drive) -> Iterator[Drive]:
        """The samples of a protocol in order, as many at a time as one call of the compiled program takes."""
        return rows.batches(self._call_steps)

    @property
    def _call_steps(self) -> int:
        return min(device.call_steps for device in self.experiment.devices.values())

    @functools.cached_property
    def settle(self) -> Drive | None:
        """The time at zero volts before a cycle; None without one."""
        return settling(self.experiment)

    @functools.cached_property
    def lanes(self) -> int:
        """Realisations in a group, on this process's backend. On a CPU as the family says, or a quarter of that where
        it leaves a good part fewer lanes to be computed and dropped; a few devices through very many steps have a
        narrow program of their own. On others as many as the whole ensemble has, up to what the family says. The
        numbers are the same."""
        size, platform = self.experiment.ensemble, backend()
        wide = self.experiment.device.lanes[platform]
        for _ in range(math.ceil(math.log2(max(1, len(self.experiment.circuit.memristors))))):
            wide = max(_LEAST, wide // 2)  # a realisation of a circuit of many devices is as long as many realisations
        if platform != "cpu":
            return self._of_the_whole(wide)
        if size.devices <= _NARROW < wide and self.rows.steps * size.cycles > _MANY_CALLS * self._call_steps:
            return _NARROW
        quarter = wide // 4
        fewer = -(-size.devices // quarter) * quarter < _WORTH * (-(-size.devices // wide) * wide)
        return quarter if quarter >= _QUARTER and self.experiment.output.trajectories <= quarter and fewer else wide

    def _of_the_whole(self, most: int) -> int:
        """Lanes for every device, of all points where these are small enough to share a group: the fewest that are
        whole quarters of a power of two and whole blocks of threads. Powers of two alone would need fewer programs,
        but up to half of their lanes would compute what is dropped. Of quarters it is at most a fifth, and every slot
        still divides them. Fewer, then a power of two, where the family or the memory for what they record says so."""
        devices = self.experiment.ensemble.devices
        shared = [size * self.points for size in _SLOTS if devices <= size] if self.points > 1 else []
        wanted = shared[0] if shared else devices
        room = max(1, _RECORDED // self.bytes_of_lane)
        step = max(_FEWEST, 2 ** (wanted - 1).bit_length() // 8)
        return max(_FEWEST, min(-(-wanted // step) * step, 2 ** int(math.log2(min(most, room)))))

    @functools.cached_property
    def slot(self) -> int:
        """Lanes that this point has in a group that it shares with others: a power of four, so that there are few
        programs; all lanes where it shares none."""
        for size in _SLOTS:
            if self.experiment.ensemble.devices <= size <= self.lanes // 2:
                return size
        return self.lanes

    @property
    def groups(self) -> int:
        """Groups that the devices fill."""
        return -(-self.experiment.ensemble.devices // self.lanes)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.experiment.precision)

    @functools.cached_property
    def channels(self) -> tuple[str, ...]:
        """Names of all that is recorded."""
        return (*CIRCUIT_CHANNELS, *self.experiment.channels)

    @functools.cached_property
    def kept(self) -> np.ndarray:
        """The cycles whose course over time is kept."""
        return kept_cycles(self.experiment)

    @functools.cached_property
    def entries(self) -> dict[str, tuple[int, ...]]:
        """Measurement → shape of one value: () of a number, (n,) of a list."""
        found = {name: m.entries(self.timeline) for name, m in self.experiment.measurements.items()}
        return {name: () if count is None else (count,) for name, count in found.items()}

    @functools.cached_property
    def detectors(self) -> tuple[Detector, ...]:
        """Of spikes."""
        return detectors(self.experiment.measurements.values())

    @property
    def bytes_of_lane(self) -> int:
        """What one lane's recorded channels and spikes take."""
        spikes = 5 * sum(detector.most for detector in self.detectors)
        return (self.timeline.samples * len(self.channels) + spikes) * self.dtype.itemsize

    @property
    def bytes_of_solution(self) -> int:
        """What the solution of one lane's circuit takes."""
        return self.experiment.circuit.worked_with * self.dtype.itemsize

    def draw(self, first: int, last: int) -> dict[str, np.ndarray]:
        """Parameters of devices first … last-1, and of what the circuit puts beside them (SI)."""
        return draw_parameters(self.experiment, first, last)

    @functools.cached_property
    def computed(self) -> tuple[DeviceConfig, CircuitConfig]:
        """The tables with what they leave to the program chosen, by the largest voltage of the protocol."""
        reached = float(np.max(np.abs([self.timeline.start, self.timeline.end])))
        circuit = self.experiment.circuit
        most = circuit.reach(reached) if circuit.memristors else reached
        return self.experiment.device.under(most), circuit.under(most)

    def build(self, draws: dict[str, np.ndarray], indices: np.ndarray, dtype: Any = None) -> tuple[Devices, Circuit]:
        """The batch of devices with these parameters and indices, and their circuits."""
        experiment, kind = self.experiment, self.dtype if dtype is None else dtype
        seed, (device, circuit) = experiment.ensemble.seed, self.computed
        devices = built(device, of_device(experiment, draws), seed, indices, kind, range(circuit.copies))
        return devices, circuit.build(device, draws, seed, indices, kind)

    def steps(self, devices: int, cycles: int, first: bool = True) -> int:
        """Realisation-steps of some cycles of some devices; ``first``: whether the first cycle is among them."""
        rested = self.experiment.ensemble.between_cycles == "rest"
        settled = (cycles if rested else int(first)) * (self.settle.steps if self.settle else 0)
        return (self.rows.steps * cycles + settled) * devices

    @property
    def all_steps(self) -> int:
        """Realisation-steps of the whole point."""
        size = self.experiment.ensemble
        return self.steps(size.devices, size.cycles)


def trials(experiment: Experiment) -> list[Trial]:
    """The sweep's points in order."""
    points = [point for _, point in experiment.points()]
    return [Trial(point, len(points)) for point in points]


def kept_cycles(experiment: Experiment) -> np.ndarray:
    """The cycles whose course over time is kept: ``output.cycles`` of them, evenly spread, with the first and last."""
    total = experiment.ensemble.cycles
    return np.unique(np.linspace(0, total - 1, min(total, experiment.output.cycles)).round().astype(np.int64))


def drive(experiment: Experiment, timeline: Timeline) -> Drive:
    """Cut each sample into equal circuit intervals, and each of these into an even number of equal steps, so
    that every boundary of the protocol is met exactly and no step exceeds the device's pace.

    Raises ``ConfigError`` where that is no finite number of steps: at extreme voltages or times.
    """
    largest, circuit = np.maximum(np.abs(timeline.start), np.abs(timeline.end)), experiment.circuit
    if circuit.stores:  # what was charged is not there again before it has been seen to be
        largest = np.maximum.accumulate(largest)
        if experiment.ensemble.between_cycles == "continue":
            largest = np.full_like(largest, largest.max())
    largest = np.array([circuit.reach(float(v)) for v in largest]) if circuit.memristors else largest
    voltages, which = np.unique(largest, return_inverse=True)
    paces = np.array([experiment.pace(float(voltage)) for voltage in voltages])
    widths, coupling, longest = timeline.widths, paces[which, 0], paces[which, 1]
    if circuit.follows_any(experiment.device):
        coupling = np.minimum(coupling, widths / _INTERVALS)
    with np.errstate(all="ignore"):  # what overflows is looked at in the end
        solutions = np.ceil(widths / coupling * (1 - 1e-9))
        pairs = np.maximum(np.ceil(widths / solutions / (2 * longest) * (1 - 1e-9)), 1)
        step = widths / (solutions * 2 * pairs)
        endless = ~((step > 0) & np.isfinite(2 * solutions * pairs))
    if endless.any():
        i = int(np.argmax(endless))
        message = (
            f"{widths[i]:.3g} s at {largest[i]:.3g} V take no finite number of steps of at most {longest[i]:.3g} s; "
            "expected times and voltages at which the device can be followed: shorten the one or lower the other"
        )
        raise ConfigError([Problem("protocol", experiment.protocol.kind, message)], experiment.name)
    _followed(experiment, float(widths.max()), float(largest.max()))
    beside = np.moveaxis(timeline.beside, -1, 0) if circuit.drives else ()
    return Drive(timeline.start, timeline.end, solutions, pairs, step, beside)


def _followed(experiment: Experiment, longest: float, voltage: float) -> None:
    """Raises ``ConfigError`` where a sample has more events than can be followed one by one."""
    for place, device in experiment.devices.items():
        events = device.events(voltage) * longest
        if events > _MOST_EVENTS:
            message = (
                f"a device has some {events:.2g} events in a sample of {longest:.3g} s, and each is followed; expected "
                f"at most {_MOST_EVENTS:g}: lower {place}.background_temperature, take more and shorter samples, or "
                f'write {place}.kind = "diffusive"'
            )
            raise ConfigError([Problem("protocol", experiment.protocol.kind, message)], experiment.name)


def settling(experiment: Experiment) -> Drive | None:
    """The time at zero volts before a cycle, cut as :func:`drive` cuts a protocol; None without one."""
    if experiment.ensemble.equilibration == 0:
        return None
    duration = experiment.ensemble.equilibration
    edges = np.linspace(0, duration, BATCH + 1)
    quiet = np.zeros(BATCH)
    return drive(experiment, Timeline(edges, quiet, quiet, beside=np.zeros((experiment.circuit.drives, 2, BATCH))))
