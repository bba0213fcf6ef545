"""Measured traces in the place of simulated ones: the same samples, the same measurements, the same results.

Each sample of the protocol is the mean of what was recorded over it, as it is of what is simulated. A recorded row is
the mean since the row before. Where a sample has no recording it is unknown, and so is the conductance where the
voltage is next to nothing: gaps of a sample or two are bridged by a straight line, and a reading that depends on what
longer ones hold is undefined. Where the current is at the instrument's limit it is a bound: a reading that depends on
how far beyond the current would have gone is a bound too, if it moves in one direction only, else undefined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mcdev.configuration.experiment import Experiment
from mcdev.machine.environment import computing
from mcdev.machine.identity import Origin
from mcdev.measured import Recording
from mcdev.measurements.contract import FAILED, LEFT_CENSORED, OK, RIGHT_CENSORED, UNDEFINED
from mcdev.protocols.timeline import Timeline
from mcdev.schema import typical
from mcdev.simulation.chunks import Chunk, Share
from mcdev.simulation.gathering import PointResult, gather
from mcdev.simulation.group import Arrays
from mcdev.simulation.kept import InMemory, Made
from mcdev.simulation.reading import read
from mcdev.simulation.spikes import Spikes, gathered, in_series, ragged
from mcdev.simulation.trial import Trial

CHANNELS = ("voltage", "device_voltage", "current", "conductance")
"""What is known of a measured device."""
_NO_VOLTAGE = 1e-3
"""Share of the largest voltage below which a conductance is not known."""
_SHORT = 0.01
"""Share of all samples up to which a gap is bridged; two samples are in any case."""
_SAME = 1e-6
"""Relative difference up to which two readings are the same."""
_OVER = 0.01
"""Share of the protocol's duration by which a recording may be too short."""
_APART = 0.3
"""Share of the protocol's voltage by which the recorded one may be off, both in the mean square over time: a pulse that
is not where the protocol has it is off by 1.4, however short it is."""
_TRIED = 400
"""Times that are tried for the protocol's beginning."""


class Unsuited(ValueError):
    """A recording that is none of this protocol; the message says why and what to do."""


class Sampled(NamedTuple):
    """One realisation's recording on the protocol's samples [sample]."""

    voltage: np.ndarray
    current: np.ndarray
    """NaN where nothing was recorded."""
    bound: np.ndarray
    """+1 and -1 where the current is a bound, as in ``Recording.censored``."""
    impedance: np.ndarray
    """[frequency] (Ω)."""
    rows: float
    """Rows of the file to a sample, in the median; infinity where there are none, of a spectrum."""
    assumed: bool
    """Whether the voltage is the protocol's, since none was recorded."""


# -------------------------------------------------------------------------------------- onto the samples


def sampled(trial: Trial, recording: Recording, offset: float | None) -> Sampled:
    """A recording of one cycle on a trial's samples. ``offset``: when in the file the protocol begins (s); by default
    at its first row. Raises ``Unsuited``."""
    timeline = trial.timeline
    nothing = np.full(timeline.samples, np.nan)
    impedance = np.full(trial.frequency.size, np.nan, complex)
    if "frequency" in recording.values:
        impedance = _spectrum(trial.frequency, recording)
    if "time" not in recording.values:
        return Sampled(timeline.voltage, nothing, np.zeros(timeline.samples, int), impedance, np.inf, False)
    time = recording.values["time"]
    begin = float(time[0]) if offset is None else offset
    edges = timeline.edges + begin
    if time[-1] < edges[-1] - max(_OVER * timeline.duration, timeline.widths[-1]):
        raise Unsuited(
            f"the recording ends {time[-1] - begin:.4g} s after the protocol begins, which lasts "
            f"{timeline.duration:.4g} s; cut the protocol to what was recorded, or say by --offset when it begins"
        )
    current = means(time, recording.values["current"], edges)
    voltage = timeline.voltage
    if "voltage" in recording.values:
        voltage = means(time, recording.values["voltage"], edges)
        _check_voltage(timeline, time, recording.values["voltage"], voltage, begin)
        voltage = np.where(np.isfinite(voltage), voltage, timeline.voltage)
    limits = recording.censored.astype(float)
    touched = [means(time, (limits == sign).astype(float), edges) > 0 for sign in (1, -1)]
    with np.errstate(invalid="ignore"):
        rows = float(np.median(timeline.widths) / np.median(np.diff(time)[np.diff(time) > 0]))
    bound = touched[0].astype(int) - touched[1].astype(int)
    return Sampled(voltage, current, bound, impedance, rows, "voltage" not in recording.values)


def means(time: np.ndarray, value: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean of a recorded course between neighbouring edges [n], each row's value holding since the row before; NaN
    where nothing was recorded."""
    steps = np.diff(time, prepend=time[0])
    known = np.isfinite(value)
    area = np.cumsum(np.where(known, value, 0.0) * steps)
    span = np.cumsum(np.where(known, steps, 0.0))
    lasting = np.concatenate([[True], np.diff(time) > 0])
    area, span = (np.interp(edges, time[lasting], x[lasting]) for x in (area, span))
    with np.errstate(invalid="ignore", divide="ignore"):
        covered = np.diff(span)
        return np.where(covered > 1e-9 * np.diff(edges), np.diff(area) / covered, np.nan)


def _check_voltage(
    timeline: Timeline, time: np.ndarray, recorded: np.ndarray, voltage: np.ndarray, begin: float
) -> None:
    """Raises ``Unsuited`` where the recorded voltage is not the protocol's, and says where it would be."""
    size = float(np.sqrt(np.average(timeline.voltage**2, weights=timeline.widths)))
    if size == 0:
        return

    def apart(own: np.ndarray) -> float:
        known = np.isfinite(own)
        off = (own - timeline.voltage)[known] ** 2
        return float(np.sqrt(np.average(off, weights=timeline.widths[known]))) / size if known.any() else np.inf

    off = apart(voltage)
    if off <= _APART:
        return
    tries = np.unique(time[np.linspace(0, time.size - 1, min(time.size, _TRIED)).round().astype(int)])
    found = [apart(means(time, recorded, timeline.edges + at)) for at in tries]
    best = int(np.argmin(found))
    hint = f'with --offset "{tries[best]:.6g} s" they are {100 * found[best]:.2g} %' if found[best] < off / 2 else ""
    raise Unsuited(
        f"the recorded voltage is not the protocol's: they are {100 * off:.2g} % apart in the mean square, beginning "
        f"at {begin:.6g} s of the file; {hint or 'give the protocol that was applied'}"
    )


def _spectrum(frequency: np.ndarray, recording: Recording) -> np.ndarray:
    """The recorded impedance at a trial's frequencies, straight between neighbours over the logarithm of frequency.
    Raises ``Unsuited``."""
    order = np.argsort(recording.values["frequency"])
    own = recording.values["frequency"][order]
    if not frequency.size:
        raise Unsuited('the file holds a spectrum, and the protocol takes none; expected protocol.kind = "impedance"')
    if frequency[0] < own[0] * (1 - 1e-6) or frequency[-1] > own[-1] * (1 + 1e-6):
        raise Unsuited(
            f"the spectrum was recorded from {own[0]:.4g} Hz to {own[-1]:.4g} Hz, the protocol's goes from "
            f"{frequency[0]:.4g} Hz to {frequency[-1]:.4g} Hz; set protocol.lowest and protocol.highest"
        )
    at, known = np.log(frequency), np.log(own)
    real, imaginary = (np.interp(at, known, recording.values[q][order]) for q in ("resistance", "reactance"))
    return np.asarray(real + 1j * imaginary)


# -------------------------------------------------------------------------------------- measured


def results_of(trials: Sequence[Trial], traces: Sequence[Mapping[tuple[int, int], Sampled]]) -> list[PointResult]:
    """The results of all sweep points, from their traces by (device, cycle); what has none counts as broken down.

    Parameters of measured devices are not known, so that results hold none; measurements that refer to a device's
    largest conductance or shape take those of the configuration."""
    keeper, shares, uncertain = InMemory(), [], []
    with computing(True):
        for point, (trial, own) in enumerate(zip(trials, traces, strict=True)):
            size = trial.experiment.ensemble
            shares.append(Share(trial.groups, size.cycles))
            chunk = Chunk(point, 0, size.devices, 0, size.cycles)
            arrays, names = _arrays(trial, own)
            keeper.put(chunk, Made(arrays, Origin.here()))
            uncertain.append(names)
    found = gather(trials, shares, keeper)
    for result, names in zip(found, uncertain, strict=True):
        for name in names:  # a mean of bounds is no reading
            result.of_mean[name] = np.full_like(result.of_mean[name], np.nan)
        result.parameters = {name: np.full_like(value, np.nan) for name, value in result.parameters.items()}
    return found


def _arrays(trial: Trial, traces: Mapping[tuple[int, int], Sampled]) -> tuple[Arrays, set[str]]:
    """What a simulated chunk of all devices and cycles would hold (`chunks.py`), and the measurements of which some
    reading depends on what is not known."""
    experiment, timeline = trial.experiment, trial.timeline
    d, c, t = experiment.ensemble.devices, experiment.ensemble.cycles, timeline.samples
    lanes = sorted(traces)
    intact = np.zeros((d, c), bool)
    impedance = np.full((d, c, trial.frequency.size), np.nan, complex)
    own = own_values(experiment)
    named = {name: np.full(d, value) for name, value in own.items()}
    found: Arrays = {f"parameter/{name}": value for name, value in named.items()}
    channels = _channels([traces[lane] for lane in lanes], timeline)
    references = {
        name: np.broadcast_to(np.asarray(value, float), (len(lanes),))
        for name, value in experiment.references({name: value[:1] for name, value in named.items()}).items()
    }
    for lane in lanes:
        intact[lane], impedance[lane] = True, traces[lane].impedance
    readings, spikes, uncertain = _readings(trial, [traces[lane] for lane in lanes], channels, references)
    for name, entries in trial.entries.items():
        value, status = np.full((d, c, *entries), np.nan), np.full((d, c, *entries), FAILED, np.int8)
        for i, lane in enumerate(lanes):
            value[lane], status[lane] = readings[name][0][i], readings[name][1][i]
        found |= {f"value/{name}": value, f"status/{name}": status}
    found |= {"intact": intact, "impedance": impedance}
    for number, seen in enumerate(spikes):
        parts = []
        for i, (device, cycle) in enumerate(lanes):
            mine = Spikes(*(np.asarray(x)[..., i : i + 1] for x in seen))
            parts.append((ragged(mine, timeline.widths, np.ones(1, bool)), device, cycle))
        whole = gathered(parts, d, c)
        found |= {f"spikes/{number}/{name}": each for name, each in whole._asdict().items()}
    kept = trial.kept.tolist()
    for name in trial.channels:
        series = np.full((len(kept), t, d), np.nan)
        for i, (device, cycle) in enumerate(lanes):
            if cycle in kept and name in channels:
                series[kept.index(cycle), :, device] = channels[name][:, i]
        found[f"series/{name}"] = series
    table, traced = experiment.device, min(experiment.output.trajectories, trial.slot)
    found |= {f"profile/{n}": np.full((1, len(kept), t, table.profile_bins.size), np.nan) for n in table.profiles}
    found |= {f"inner/{name}": np.full((len(kept), t, table.parts, traced), np.nan) for name in table.coordinates}
    return found, uncertain


def own_values(experiment: Experiment) -> dict[str, float]:
    """The configuration's own value of each parameter that results hold, or the median of its distribution."""
    return {name: typical(experiment.laws[law]) for name, (law, _) in experiment.kept_parameters.items()}


def _channels(traces: Sequence[Sampled], timeline: Timeline) -> Arrays:
    """What was recorded [sample, lane], short gaps bridged."""
    voltage, current = (np.stack([getattr(each, name) for each in traces], axis=1) for name in ("voltage", "current"))
    current = _bridged(current)
    largest = np.nanmax(np.abs(voltage), axis=0, initial=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        conductance = np.where(np.abs(voltage) > _NO_VOLTAGE * largest, current / voltage, np.nan)
    return {
        "voltage": voltage,
        "device_voltage": voltage,
        "current": current,
        "conductance": _bridged(conductance),
    }


def _bridged(series: np.ndarray) -> np.ndarray:
    """Series [sample, lane] with a straight line through every short gap; at an end the value beside it."""
    found = series.copy()
    longest = max(2, int(_SHORT * series.shape[0]))
    index = np.arange(series.shape[0])
    for lane in range(series.shape[1]):
        known = np.isfinite(series[:, lane])
        if known.all() or not known.any():
            continue
        edges = np.flatnonzero(np.diff(np.concatenate([[False], ~known, [False]]).astype(int)))
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            if last - first <= longest:
                gap = slice(first, last)
                found[gap, lane] = np.interp(index[gap], index[known], series[known, lane])
    return found


Readings = dict[str, tuple[np.ndarray, np.ndarray]]


def _readings(
    trial: Trial, traces: Sequence[Sampled], channels: Arrays, references: Arrays
) -> tuple[Readings, tuple[Spikes, ...], set[str]]:
    """Value and status of every measurement of each trace; the spikes that were seen; and the measurements of which
    some reading depends on what is not known."""
    impedance = np.stack([each.impedance for each in traces], axis=1)

    def of(own: Arrays) -> tuple[Readings, tuple[Spikes, ...]]:
        nothing = dict.fromkeys(trial.channels, np.full_like(own["current"], np.nan))
        series = nothing | own
        spikes: tuple[Spikes, ...] = ()
        if trial.detectors:
            watched = {name: series[name] for name in CHANNELS}
            found = in_series(trial.detectors, watched, references)
            spikes = tuple(Spikes(*(np.asarray(x) for x in each)) for each in found)
        named = dict(zip((each.name for each in trial.detectors), spikes, strict=True))
        return read([trial], np.zeros(len(traces), int), series, impedance, references, named), spikes

    unknown = {name: ~np.isfinite(series) for name, series in channels.items() if name in ("current", "conductance")}
    plain = {name: np.where(unknown[name], 0.0, x) if name in unknown else x for name, x in channels.items()}
    readings, spikes = of(plain)
    readings = {
        name: (value, np.where((status == OK) & ~np.isfinite(value), UNDEFINED, status))
        for name, (value, status) in readings.items()
    }
    uncertain: set[str] = set()
    lasting = any(mask.any() for mask in unknown.values()) and "time" in _what(traces)
    if lasting:
        others = [of(_filled(plain, unknown, factor))[0] for factor in (1.0, 10.0)]
        uncertain |= _differing(readings, others)
        readings = {name: _where_same(own, [other[name] for other in others]) for name, own in readings.items()}
    bound = np.stack([each.bound for each in traces], axis=1)
    if bound.any():
        others = [of(_raised(plain, bound, how))[0] for how in range(len(_RAISES))]
        uncertain |= _differing(readings, others)
        readings = {name: _bounds(own, [other[name] for other in others]) for name, own in readings.items()}
    return readings, spikes, uncertain


def _what(traces: Sequence[Sampled]) -> set[str]:
    """Whether there are courses in time at all: of a spectrum alone nothing is unknown that is read."""
    return {"time"} if any(np.isfinite(each.rows) for each in traces) else set()


def _filled(channels: Arrays, unknown: Arrays, factor: float) -> Arrays:
    """With something else than nothing where nothing is known: the largest that is, times a factor."""
    found = dict(channels)
    for name, mask in unknown.items():
        largest = np.max(np.abs(channels[name]), axis=0, initial=0.0)
        found[name] = np.where(mask, factor * largest, channels[name])
    return found


_RAISES = (2.0, 100.0, None, None)
"""How far a current may have gone beyond its bound: as many times as far, growing along the course, or falling."""


def _raised(channels: Arrays, bound: np.ndarray, how: int) -> Arrays:
    factor = _RAISES[how]
    along = np.linspace(0.0, 1.0, bound.shape[0])[:, None]
    times = factor if factor is not None else 1.0 + 9.0 * (along if how == 2 else 1.0 - along)
    up = np.where(bound != 0, times, 1.0)
    return channels | {name: channels[name] * up for name in ("current", "conductance")}


def _same(own: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    alike = np.isclose(own[0], other[0], rtol=_SAME, atol=0.0, equal_nan=True)
    return np.asarray((own[1] == other[1]) & (alike | (own[1] == UNDEFINED)))


def _differing(readings: Readings, others: Sequence[Readings]) -> set[str]:
    return {name for name, own in readings.items() if not all(_same(own, other[name]).all() for other in others)}


def _where_same(
    own: tuple[np.ndarray, np.ndarray], others: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """A reading that depends on what is not known is undefined."""
    same = np.all([_same(own, other) for other in others], axis=0)
    return np.where(same, own[0], np.nan), np.where(same, own[1], UNDEFINED).astype(np.int8)


def _bounds(
    own: tuple[np.ndarray, np.ndarray], others: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """A reading that depends on how far a current would have gone is a bound where it goes in one direction."""
    value, status = own
    same = np.all([_same(own, other) for other in others], axis=0)
    fine = np.all([other[1] == OK for other in others], axis=0) & (status == OK)
    slack = _SAME * np.abs(value)
    with np.errstate(invalid="ignore"):
        up = fine & np.all([other[0] >= value - slack for other in others], axis=0)
        down = fine & np.all([other[0] <= value + slack for other in others], axis=0)
    told = np.select([same, up, down], [status, RIGHT_CENSORED, LEFT_CENSORED], UNDEFINED)
    return np.where(told == UNDEFINED, np.where(same, value, np.nan), value), told.astype(np.int8)
