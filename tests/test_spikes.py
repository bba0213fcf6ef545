"""Spikes: detected while a run goes, measured with honest bounds, kept as lists of unlike length."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from conftest import array, reduced
from jax import lax
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from pydantic import TypeAdapter
from test_calibration import plan_of

import mcdev
from mcdev.calibration.evaluation import evaluate
from mcdev.configuration.experiment import Experiment
from mcdev.configuration.problems import ConfigError
from mcdev.figures import interspike_intervals, raster, rate_curve, regularity
from mcdev.files.whole_file import ResultsError
from mcdev.machine.threads import thread_pool
from mcdev.measurements import AnyMeasurement
from mcdev.measurements.contract import (
    LEFT_CENSORED,
    OK,
    RIGHT_CENSORED,
    STATUS_MEANINGS,
    UNDEFINED,
    Detector,
    Measurement,
    Train,
    Trajectory,
)
from mcdev.results import safekeeping
from mcdev.results.tree import trains
from mcdev.simulation.chunks import Share, chains
from mcdev.simulation.ensemble import perform, plan, simulate, total_steps
from mcdev.simulation.gathering import PointResult, gather
from mcdev.simulation.kept import InMemory
from mcdev.simulation.progress import Progress
from mcdev.simulation.reading import trajectory
from mcdev.simulation.spikes import Ragged, Spikes, Watch, gathered, seen, train, watch, watching
from mcdev.simulation.trial import Trial, trials
from mcdev.statistics.trains import intervals, onsets

LEVELS = Detector("g", 1.0, 0.5, False, 8)


# ------------------------------------------------------------------------------- the detector


def watched(
    ends: np.ndarray, detector: Detector = LEVELS, samples: int = 1, dtype: Any = np.float32, before: Any = None
) -> Watch:
    """After a channel whose intervals end at ``ends`` [interval, lane] and begin at ``before`` (where the last ended),
    as many in each sample."""
    behind = jnp.asarray(ends, dtype)
    before = jnp.concatenate([behind[:1], behind[:-1]]) if before is None else jnp.asarray(before, dtype)
    lanes, each = behind.shape[1], behind.shape[0] // samples
    start = watching([detector], {"full_scale": jnp.full(lanes, 2.0)}, dtype)
    all_of_them = jnp.full(lanes, each, jnp.uint32)

    def body(i: Any, at: Any) -> Any:
        return watch(at, {"g": before[i]}, {"g": behind[i]}, jnp.uint32(i % each), all_of_them)

    (found,) = jax.jit(lambda at: lax.fori_loop(0, behind.shape[0], body, at))(start)
    return found


def times(found: Spikes, widths: Any = (1.0,)) -> np.ndarray:
    """When the spikes of lane 0 begin, in samples of one second."""
    return np.asarray(found.begun[0] + found.begun[1])[: int(found.count[0]), 0]


def test_many_spikes_within_one_sample() -> None:
    """A sine of fifty periods in one sample: each is found where it crosses, and where it falls."""
    n, periods = 5000, 50
    phase = 2 * np.pi * periods * (np.arange(n) + 1) / n
    found = seen(watched(1.2 * np.sin(phase)[:, None], LEVELS._replace(most=64)))
    assert int(found.count[0]) == int(found.closed[0]) == periods
    begin = (np.arcsin(1 / 1.2) / (2 * np.pi) + np.arange(periods)) / periods
    end = (0.5 - np.arcsin(0.5 / 1.2) / (2 * np.pi) + np.arange(periods)) / periods
    bound = (2 * np.pi * periods / n) ** 2 / 8 / np.cos(np.arcsin(1 / 1.2)) / (2 * np.pi * periods)
    np.testing.assert_allclose(times(found), begin, atol=bound + 1e-6)
    np.testing.assert_allclose(found.ended[1][:periods, 0], end, atol=bound + 1e-6)
    np.testing.assert_allclose(found.peak[:periods, 0], 1.2, rtol=1e-3)


def test_noise_about_a_level_makes_no_further_spike() -> None:
    """Its size is below threshold - reset, so that each of five waves is one spike; without a gap it is many."""
    n = 4000
    wave = 0.9 - 0.9 * np.cos(2 * np.pi * 5 * np.arange(n) / n)
    noisy = wave + np.random.default_rng(1).uniform(-0.2, 0.2, n)
    assert int(seen(watched(noisy[:, None])).count[0]) == 5
    assert int(seen(watched(noisy[:, None], LEVELS._replace(reset=0.9999))).count[0]) > 20


def test_a_channel_that_jumps_with_the_source() -> None:
    """Between two intervals: a spike begins and ends at their common end. In one interval one ends, another begins."""
    before = np.array([0.0, 2.0, 2.0, 0.0, 2.0, 0.2])[:, None]
    behind = np.array([0.0, 2.0, 3.0, 0.0, 0.0, 1.8])[:, None]
    found = seen(watched(behind, samples=6, before=before))
    np.testing.assert_allclose(times(found), [1.0, 4.0, 5.5])
    np.testing.assert_allclose((found.ended[0] + found.ended[1])[:2, 0], [3.0, 4.75])
    np.testing.assert_allclose(found.peak[:3, 0], [3.0, 2.0, 1.8])
    assert (int(found.count[0]), int(found.closed[0])) == (3, 2)  # the last is still on
    at_once = seen(watched(np.array([[2.0], [0.0], [2.0]]), samples=3, before=np.array([[2.0], [0.0], [0.0]])))
    np.testing.assert_allclose(times(at_once), [0.0, 2.5])


def test_counted_beyond_what_is_kept() -> None:
    saw = np.tile([0.0, 2.0], 30)[:, None] * [1.0, 0.0]
    found = seen(watched(saw, LEVELS._replace(most=4), samples=60))
    assert found.count.tolist() == [30, 0]
    np.testing.assert_allclose(found.begun[0][:4, 0] + found.begun[1][:4, 0], [1.5, 3.5, 5.5, 7.5])


def test_lanes_with_fewer_intervals_wait() -> None:
    """Of two lanes in one sample the second has half as many intervals; what stands in its place is not seen."""
    (start,) = watching([LEVELS], {"full_scale": jnp.ones(2)}, np.float32)
    count = jnp.array([4, 2], jnp.uint32)
    levels = jnp.array([[0.0, 0.0], [2.0, 2.0], [0.0, 9.0], [2.0, 0.0], [2.0, 2.0]])

    def body(i: Any, at: Any) -> Any:
        return watch(at, {"g": levels[i]}, {"g": levels[i + 1]}, jnp.uint32(i), count)

    at = jax.jit(lambda at: lax.fori_loop(0, 4, body, at))((start,))
    found = seen(at[0])
    assert found.count.tolist() == [2, 1]
    np.testing.assert_allclose(found.begun[1][0], [0.125, 0.25])
    assert at[0].sample.tolist() == [1, 1]
    assert float(at[0].peak[1]) == 9.0  # the end of its second interval, of which the spike still lasts


def test_long_runs_round_no_interval() -> None:
    """After five million samples of a millisecond, a float32 of the seconds would be wrong by half a sample."""
    begun = np.array([[4_900_000, 4_900_001, 4_999_999], [0.25, 0.75, 0.125]], np.float32)[..., None]
    ended = begun + np.array([[0.0], [0.25]], np.float32)[..., None]
    found = Spikes(begun, ended, np.ones((3, 1)), np.array([3]), np.array([3]))
    made = train(found, np.full((5_000_000, 1), 1e-3), np.zeros(1, int))
    np.testing.assert_allclose(made.interval[1:, 0], [1.5e-3, 99.997375], rtol=1e-9)
    np.testing.assert_allclose(made.width[:, 0], 0.25e-3, rtol=1e-6)
    assert np.spacing(np.float32(4900.0)) > 4e-4


# ------------------------------------------------------------------------------- against what is known


SWITCH = {
    "kind": "volatile_threshold",
    "threshold_voltage": "0.6 V",
    "hold_voltage": "0.3 V",
    "switching_rate": "20 Hz",
    "switching_exponent": 1.5,
    "relaxation_time": "0.1 s",
    "on_conductance": "100 uS",
    "off_conductance": "1 uS",
}
WIDTH, GAP, COUNT, SAMPLES = 0.1, 0.3, 4, 50
TRAIN = {"kind": "pulse_train", "amplitude": "1.5 V", "width": f"{WIDTH} s", "gap": f"{GAP} s", "count": COUNT}
EVERY: dict[str, Any] = {
    **{kind: {"kind": kind} for kind in ("spike_count", "spike_latency", "firing", "firing_rate")},
    **{kind: {"kind": kind} for kind in ("interspike_interval", "spike_width", "spike_amplitude")},
    **{by: {"kind": "interspike_interval", "statistic": by} for by in ("median", "cv", "autocorrelation")},
    "few": {"kind": "spike_count", "most": 2},
}
FINE = TRAIN | {"samples_per_pulse": SAMPLES, "samples_per_gap": SAMPLES}
DEVICES = 50


def switch(measurements: dict[str, Any] | None = None, **sections: Any) -> Experiment:
    data = {"name": "switch", "device": SWITCH, "protocol": TRAIN, "ensemble": {"devices": DEVICES}}
    return mcdev.build(data | {"measurements": measurements or EVERY} | sections)


def known() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Beginning, end and peak of the spike of each pulse: x → 1 with the rate 20 Hz (1.5/0.6 - 1)^1.5 in it, and
    decays with 10 Hz after it; G = G_off^{1-x} G_on^x crosses 10 uS at x = 1/2, and 5 uS at ln 5/ln 100."""
    rate, x, found = 20.0 * 1.5**1.5, 0.0, []
    low = np.log(5.0) / np.log(100.0)
    for pulse in range(COUNT):
        top = 1.0 - (1.0 - x) * np.exp(-rate * WIDTH)
        start = pulse * (WIDTH + GAP)
        begin = start + np.log((1.0 - x) / 0.5) / rate
        found.append((begin, start + WIDTH + 0.1 * np.log(top / low), 1e-6 * 100.0**top))
        x = top * np.exp(-GAP / 0.1)
    begin, end, peak = np.array(found).T
    return begin, end, peak


@functools.cache
def finely() -> PointResult:
    (found,) = simulate(switch(protocol=FINE), threads=1)
    return found


@pytest.mark.promise
def test_spikes_of_a_device_whose_times_are_known() -> None:
    """Within what a straight line between the ends of an interval misses of an exponential: h² (ln G)'² / 8."""
    begin, end, peak = known()
    spikes, few = finely().spikes.values()
    assert (spikes.total == COUNT).all()
    assert (spikes.kept == COUNT).all()
    assert (few.kept == 2).all()
    rate, height = 20.0 * 1.5**1.5, np.log(100.0)
    bound = (WIDTH / SAMPLES) ** 2 / 8 * (0.5 * rate * height) * 3
    for device in (0, DEVICES - 1):
        own = slice(device * COUNT, (device + 1) * COUNT)
        np.testing.assert_allclose(spikes.onset[own], begin, atol=bound)
        np.testing.assert_allclose(spikes.onset[own] + spikes.width[own], end, atol=2e-4)
        np.testing.assert_allclose(spikes.amplitude[own], peak, rtol=1e-6)


def test_measurements_of_these_spikes() -> None:
    begin, end, peak = known()
    found, gaps = finely(), np.diff(begin)
    expected = {
        "spike_count": COUNT,
        "firing": 1.0,
        "firing_rate": COUNT / (COUNT * (WIDTH + GAP)),
        "spike_latency": begin[0],
        "interspike_interval": gaps.mean(),
        "median": np.median(gaps),
        "cv": gaps.std(ddof=1) / gaps.mean(),
        "spike_width": (end - begin).mean(),
        "spike_amplitude": peak.mean(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found.values[name][:, 0], value, rtol=2e-3, err_msg=name)
        assert (found.status[name] == OK).all(), name
    assert (found.status["autocorrelation"] == UNDEFINED).all()  # three intervals are two pairs
    for name in EVERY:
        assert np.isnan(found.of_mean[name]).all(), "a mean trajectory has no spikes"


@pytest.mark.slow
def test_windows_divide_the_spikes() -> None:
    measured = {f"n{i}": {"kind": "spike_count", "window": "pulse", "index": i + 1} for i in range(COUNT)}
    measured |= {"late": {"kind": "spike_latency", "window": "pulse", "index": 3}}
    measured |= {"none": {"kind": "spike_latency", "window": "gap", "index": 2}}
    (found,) = simulate(switch(measured), threads=1)
    assert [found.values[f"n{i}"][0, 0] for i in range(COUNT)] == [1.0] * COUNT
    assert found.values["late"][0, 0] == pytest.approx(known()[0][2] - 2 * (WIDTH + GAP), rel=5e-3)
    assert found.status["none"][0, 0] == RIGHT_CENSORED
    assert found.values["none"][0, 0] == pytest.approx(GAP)


@pytest.mark.slow
def test_a_current_is_watched_through_a_resistor() -> None:
    """The source's step makes a current at once: it counts as a spike that begins with the window."""
    measured = {
        "n": {"kind": "spike_count", "signal": "current", "threshold": "50 uA"},
        "top": {"kind": "spike_amplitude", "signal": "current", "threshold": "50 uA"},
        "leak": {"kind": "spike_latency", "signal": "current", "threshold": "1 uA", "reset": "0.9 uA"},
        "fall": {"kind": "spike_count", "signal": "device_voltage", "threshold": "1.4 V", "reset": "1 V"},
    }
    experiment = switch(measured, circuit={"kind": "series_resistor", "resistance": "10 kohm"})
    (found,) = simulate(experiment, threads=1)
    assert found.values["n"][0, 0] == COUNT
    recorded = found.trajectories["current"][0, 0]
    peaks = [recorded[first:last].max() for first, last in found.timeline.windows["pulse"]]
    assert 1.0 < found.values["top"][0, 0] / np.mean(peaks) < 1.02  # the peak above the means of samples
    assert found.status["leak"][0, 0] == LEFT_CENSORED
    assert found.values["leak"][0, 0] == pytest.approx(WIDTH / 16)
    assert found.values["fall"][0, 0] == COUNT
    assert [d.signal for d in Trial(experiment).detectors] == ["current", "current", "device_voltage"]


@pytest.mark.slow
def test_spikes_do_not_depend_on_the_samples() -> None:
    """The same particles through the same intervals, in samples of 5 and of 160 intervals."""
    found = []
    n = {"n": {"kind": "spike_count", "fraction": 0.05, "reset_fraction": 0.048}}
    interval = reduced({"kind": "hold", "voltage": "3 V", "duration": "1 s"}, n, particles=4).pace(3.0).coupling
    for samples in (64, 2):
        experiment = reduced(
            {"kind": "hold", "voltage": "3 V", "duration": f"{320 * interval!r} s", "samples": samples},
            n,
            {"devices": 64},
            particles=4,
        )
        assert Trial(experiment).rows.solutions.sum() == 320
        (result,) = simulate(experiment, threads=1)
        found.append(next(iter(result.spikes.values())))
    fine, coarse = found
    assert fine.total.sum() > 100
    assert (fine.total > 2).any(), "more than one in a sample"
    np.testing.assert_array_equal(fine.total, coarse.total)
    np.testing.assert_allclose(coarse.onset, fine.onset, atol=1e-6)
    np.testing.assert_allclose(coarse.width, fine.width, atol=2e-6)
    np.testing.assert_array_equal(coarse.amplitude, fine.amplitude)


@pytest.mark.slow
def test_settling_is_not_watched() -> None:
    """A device that starts in a bridge conducts while it settles, and its spike is over when the cycle begins."""
    device = {"particles": 4, "initial_state": "bridge"}
    hold = {"kind": "hold", "voltage": "0 V", "duration": "0.1 s", "samples": 4}
    n = {"n": {"kind": "spike_count", "fraction": 0.01, "reset_fraction": 0.005}}
    rested = reduced(hold, n, {"devices": 4, "equilibration": "20 s"}, **device)
    (settled,), (fresh,) = (simulate(e, threads=1) for e in (rested, rested.with_({"ensemble.equilibration": "0 s"})))
    assert fresh.values["n"].sum() >= 4
    assert settled.values["n"].sum() < fresh.values["n"].sum()


# ------------------------------------------------------------------------------- honest bounds


def spiking(kind: str, **settings: Any) -> Measurement:
    made: Measurement = TypeAdapter(AnyMeasurement).validate_python(
        {"kind": kind, "signal": "g", "threshold": 1.0, "most": 4} | settings
    )
    return made


def read(how: Measurement, begin: Any, width: Any = None, count: int | None = None) -> tuple[float, str]:
    """Of spikes that begin at these times, of a protocol of ten samples of a second with the window 'late' from 5 to 8
    and 'end' from 5 on."""
    begin = np.asarray(begin, float)
    most = 4
    widths = np.full(begin.size, 0.25) if width is None else np.asarray(width, float)

    def filled(x: np.ndarray, fill: float = np.nan) -> Any:
        return jnp.asarray(np.concatenate([x, np.full(most - x.size, fill)])[:most])

    sample = np.floor(begin)
    spikes = Train(
        sample=filled(sample, 0).astype(int),
        share=filled(begin - sample, 0),
        interval=filled(np.diff(begin, prepend=np.nan)),
        width=filled(widths),
        peak=filled(np.arange(begin.size) + 2.0),
        count=jnp.asarray(begin.size if count is None else count),
    )
    flat = jnp.ones(10)
    windows = {"all": jnp.array([[0, 10]]), "late": jnp.array([[5, 8]]), "end": jnp.array([[5, 10]])}
    channels = dict.fromkeys(("voltage", "device_voltage", "current", "conductance"), flat)
    references = {"full_scale": jnp.ones(()), "cell_constant": jnp.ones(())}
    assert how.detector is not None
    on: Trajectory = trajectory(
        flat, channels, jnp.empty(0), jnp.empty(0), references, windows, {how.detector.name: spikes}
    )
    value, status = how.measure(on)
    return float(value), STATUS_MEANINGS.split()[int(status)]


NAN = float("nan")


@pytest.mark.parametrize(
    ("kind", "settings", "begin", "more", "value", "status"),
    [
        ("spike_count", {}, [], {}, 0, "ok"),
        ("spike_count", {}, [1.0, 2.0, 3.0, 4.0], {"count": 9}, 9, "ok"),
        ("spike_count", {"window": "late"}, [1.0, 5.0, 7.5, 8.0], {}, 2, "ok"),
        ("spike_count", {"window": "late"}, [1.0, 2.0, 5.0, 8.5], {"count": 9}, 1, "ok"),
        ("spike_count", {"window": "late"}, [1.0, 2.0, 5.0, 6.5], {"count": 9}, 2, "right_censored"),
        ("spike_count", {"window": "end"}, [1.0, 2.0, 5.0, 6.5], {"count": 9}, 7, "ok"),
        ("spike_count", {"window": "end"}, [1.0, 2.0, 3.0, 4.5], {"count": 9}, 0, "right_censored"),
        ("firing", {}, [], {}, 0, "ok"),
        ("firing", {"window": "late"}, [4.9], {}, 0, "ok"),
        ("firing", {"window": "late"}, [5.0], {}, 1, "ok"),
        ("firing", {"window": "late"}, [1.0, 2.0, 3.0, 4.0], {"count": 9}, 0, "undefined"),
        ("firing_rate", {"window": "late"}, [5.0, 6.0], {}, 2 / 3, "ok"),
        ("firing_rate", {}, [], {}, 0, "ok"),
        ("spike_latency", {}, [], {}, 10, "right_censored"),
        ("spike_latency", {}, [2.5, 3.0], {}, 2.5, "ok"),
        ("spike_latency", {}, [0.0, 3.0], {}, 1, "left_censored"),
        ("spike_latency", {"window": "late"}, [2.5, 5.5], {}, 0.5, "ok"),
        ("spike_latency", {"window": "late"}, [2.5, 9.5], {}, 3, "right_censored"),
        ("spike_latency", {"window": "late"}, [1.0, 2.0, 3.0, 4.0], {"count": 9}, 3, "undefined"),
        ("interspike_interval", {}, [], {}, NAN, "undefined"),
        ("interspike_interval", {}, [2.5], {}, 7.5, "right_censored"),
        ("interspike_interval", {"window": "late"}, [2.5, 7.0], {}, 1.0, "right_censored"),
        ("interspike_interval", {"window": "late"}, [2.5, 5.5, 6.0], {}, 0.5, "ok"),
        ("interspike_interval", {}, [1.0, 2.0, 4.0, 8.0], {}, 7 / 3, "ok"),
        ("interspike_interval", {"statistic": "median"}, [1.0, 2.0, 4.0, 8.0], {}, 2, "ok"),
        ("interspike_interval", {"statistic": "median"}, [1.0, 2.0, 4.0], {}, 1.5, "ok"),
        ("interspike_interval", {"statistic": "median"}, [1.0], {}, 9, "right_censored"),
        ("interspike_interval", {"statistic": "cv"}, [1.0, 2.0], {}, NAN, "undefined"),
        ("interspike_interval", {"statistic": "cv"}, [1.0, 2.0, 5.0], {}, np.sqrt(2) / 2, "ok"),
        ("interspike_interval", {"statistic": "cv"}, [1.0, 2.0, 3.0], {}, 0, "ok"),
        ("interspike_interval", {"statistic": "autocorrelation"}, [1.0, 2.0, 4.0, 8.0], {}, NAN, "undefined"),
        ("interspike_interval", {"statistic": "mean"}, [1.0, 2.0, 3.0, 4.0], {"count": 5}, 1, "ok"),
        ("interspike_interval", {"window": "late"}, [1.0, 2.0, 3.0, 6.0], {"count": 9}, NAN, "undefined"),
        ("spike_width", {}, [], {}, NAN, "undefined"),
        ("spike_width", {}, [1.0, 4.0], {"width": [0.5, 1.0]}, 0.75, "ok"),
        ("spike_width", {}, [1.0, 4.0], {"width": [0.5, NAN]}, 0.5, "ok"),
        ("spike_width", {"window": "late"}, [1.0, 5.5], {"width": [0.5, NAN]}, 4.5, "right_censored"),
        ("spike_amplitude", {}, [], {}, NAN, "undefined"),
        ("spike_amplitude", {}, [1.0, 2.0], {}, 2.5, "ok"),
        ("spike_amplitude", {}, [1.0], {"width": [NAN]}, 2, "right_censored"),
    ],
)
def test_values_and_bounds(
    kind: str, settings: dict[str, Any], begin: list[float], more: dict[str, Any], value: float, status: str
) -> None:
    found, its = read(spiking(kind, **settings), begin, **more)
    assert its == status
    assert found == pytest.approx(value, nan_ok=True, rel=1e-6)


def test_correlation_of_successive_intervals() -> None:
    """Against NumPy's, over five spikes and more; none where all intervals are alike."""
    how = spiking("interspike_interval", statistic="autocorrelation", most=9)
    draw = np.random.default_rng(3)
    spans = draw.exponential(size=8)
    wanted = np.corrcoef(spans[:-1], spans[1:])[0, 1]
    for own, value, status in ((spans, wanted, OK), (np.full(8, 0.3), NAN, UNDEFINED)):
        begin = np.concatenate([[0.1], 0.1 + np.cumsum(own)])
        found = Spikes(
            *(np.stack([np.zeros(9), begin / 100.0])[..., None] for _ in range(2)),
            np.ones((9, 1)),
            np.array([9]),
            np.array([9]),
        )
        made = train(found, np.array([[100.0]]), np.zeros(1, int))
        assert how.detector is not None
        one = jax.tree.map(lambda x: jnp.asarray(x[..., 0]), made)
        flat = dict.fromkeys(("voltage", "device_voltage", "current", "conductance"), jnp.ones(1))
        on = trajectory(
            jnp.full(1, 100.0),
            flat,
            jnp.empty(0),
            jnp.empty(0),
            {"full_scale": jnp.ones(()), "cell_constant": jnp.ones(())},
            {"all": jnp.array([[0, 1]])},
            {how.detector.name: one},
        )
        reading = how.measure(on)
        assert int(reading.status) == status
        assert float(reading.value) == pytest.approx(value, nan_ok=True, rel=1e-4)


@pytest.mark.slow
def test_statistics_where_most_devices_never_fire() -> None:
    """A device whose threshold lies above the pulse stays silent. The share that fires is that of the thresholds
    below; the median latency is beyond what was observed; the others' mean is not taken for all."""
    drawn = {"distribution": "uniform", "low": "1 V", "high": "2 V"}
    measured = {"p": {"kind": "firing"}, "t": {"kind": "spike_latency"}, "isi": {"kind": "interspike_interval"}}
    pulse = {"kind": "pulse", "amplitude": "1.4 V", "width": "4 s", "relaxation": "0.1 s"}
    tree = mcdev.run(
        switch(
            measured,
            device=SWITCH | {"threshold_voltage": drawn, "switching_exponent": 1.0},
            protocol=pulse,
            ensemble={"devices": 200},
        )
    )
    below = array(tree, "parameters/threshold_voltage").values[0]
    over = np.maximum(1.4 / below - 1.0, 0.0)
    fires = np.log(2.0) < 20.0 * over * 4.0  # x = 1/2 within the pulse
    records = {record["measurement"]: record for record in mcdev.summarise(tree)}
    assert 0.25 < fires.mean() < 0.5
    assert records["p"]["mean"] == pytest.approx(fires.mean())
    assert (records["t"]["n_ok"], records["t"]["n_censored"]) == (fires.sum(), (~fires).sum())
    assert records["t"]["median"] is None
    assert records["isi"]["n_ok"] == 0
    assert (records["isi"]["n_censored"], records["isi"]["n_undefined"]) == (fires.sum(), (~fires).sum())
    assert records["t"]["mean_response"] is None


# ------------------------------------------------------------------------------- the same, bit for bit


NOISY: dict[str, Any] = {
    "name": "noisy",
    "device": {
        "preset": "wang2017_reduced",
        "particles": 4,
        "friction": {"distribution": "lognormal", "median": 4.0, "sigma": 0.2},
    },
    "protocol": {"kind": "pulse", "amplitude": "3 V", "width": "0.3 s", "relaxation": "0.1 s", "relaxation_samples": 9},
    "ensemble": {"devices": 70, "cycles": 2, "between_cycles": "continue"},
    "measurements": {
        "n": {"kind": "spike_count", "fraction": 0.05, "reset_fraction": 0.049, "most": 2},
        "isi": {"kind": "interspike_interval", "fraction": 0.05, "reset_fraction": 0.049, "most": 2},
        "high": {"kind": "spike_count"},
    },
    "output": {"figures": False, "trajectories": 2},
}


def cut(experiment: Experiment, shares: list[Share] | None, threads: int) -> PointResult:
    points, keeper = trials(experiment), InMemory()
    own = shares or plan(points, threads)
    with thread_pool(threads) as pool:
        perform(points, own, keeper, pool, threads, Progress(total_steps(points), lambda done, total: None))
    return gather(points, own, keeper)[0]


@pytest.fixture(scope="module")
def noisy() -> PointResult:
    return cut(mcdev.build(NOISY), None, 1)


def assert_same(found: PointResult, wanted: PointResult, devices: int | None = None) -> None:
    for name in wanted.values:
        np.testing.assert_array_equal(found.values[name], wanted.values[name][:devices])
    for name, whole in wanted.spikes.items():
        last = int(whole.kept[:devices].sum())
        expected = Ragged(whole.total[:devices], whole.kept[:devices], *(flat[:last] for flat in whole[2:]))
        for got, want in zip(found.spikes[name], expected, strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.promise
def test_the_same_in_any_chunks_and_ensemble(noisy: PointResult) -> None:
    first, second = noisy.spikes.values()
    assert (first.total > first.kept).any()
    assert first.kept.max() == 2
    assert 0 < second.total.sum() < first.total.sum()
    for share in (Share(1, 1), Share(2, 1)):
        assert_same(cut(mcdev.build(NOISY), [share], 2), noisy)
    few = mcdev.build(NOISY | {"ensemble": NOISY["ensemble"] | {"devices": 20}})
    assert_same(cut(few, None, 1), noisy, 20)


@pytest.mark.promise
def test_the_same_beside_other_sweep_points(noisy: PointResult) -> None:
    """As lanes of one group with a point of other levels, and one of another length."""
    few = mcdev.build(NOISY | {"ensemble": NOISY["ensemble"] | {"devices": 20}})
    swept = few.with_({"sweep.axes": {"device.background_temperature": ["0.5 K", "0.4 K"]}})
    own = few.with_({"device.background_temperature": "0.4 K"})
    assert_same(simulate(swept, threads=1)[1], simulate(own, threads=1)[0])


@pytest.mark.slow
def test_a_run_that_lost_chunks_has_the_same_spikes(noisy: PointResult, tmp_path: Path) -> None:
    """Every second chunk of a finished run is lost, and made again."""
    experiment, shares, folder = mcdev.build(NOISY), [Share(1, 1)], tmp_path / "run"
    folder.mkdir()
    with safekeeping.Folder(folder, experiment) as keeper, thread_pool(1) as pool:
        keeper.begin(1)
        keeper.cut(shares)
        perform(keeper.trials, shares, keeper, pool, 1, Progress(total_steps(keeper.trials), lambda done, total: None))
    files = sorted((folder / "chunks").iterdir())
    assert len(files) == sum(len(chain) for chain in chains(keeper.trials[0], 0, shares[0])) == 4
    for file in files[::2]:
        file.unlink()
    stored = mcdev.resume(folder)["spikes/n"].dataset
    spikes = next(iter(noisy.spikes.values()))
    np.testing.assert_array_equal(stored["onset"].values, spikes.onset)
    np.testing.assert_array_equal(stored["row_size"].values[0], spikes.kept)


# ------------------------------------------------------------------------------- what is kept


AMPLITUDES = ["0.5 V", "1 V", "1.5 V"]


@pytest.fixture(scope="module")
def drawn() -> xr.DataTree:
    """Devices whose rate of switching differs, so that some are silent, under pulses of three heights."""
    spread = {"switching_rate": {"distribution": "lognormal", "median": "10 Hz", "sigma": 0.6}}
    axes = {"protocol.amplitude": AMPLITUDES}
    size = {"devices": DEVICES, "cycles": 2}
    return mcdev.run(switch(device=SWITCH | spread, protocol=FINE, ensemble=size, sweep={"axes": axes}))


def test_lists_of_unlike_length_in_the_results(drawn: xr.DataTree, tmp_path: Path) -> None:
    """Offsets and sizes, over points, devices and cycles. A file whose lists do not fit together is not read."""
    assert list(drawn["spikes"].children) == ["spike_count", "few"]
    assert drawn["measurements/cv/value"].attrs["spikes"] == "/spikes/spike_count"
    data, few = drawn["spikes/spike_count"].dataset, drawn["spikes/few"].dataset
    size = data["row_size"].values
    assert size.shape == (3, 50, 2)
    rate = array(drawn, "measurements/firing_rate/value").values
    np.testing.assert_allclose(size, rate * COUNT * (WIDTH + GAP), rtol=1e-6)
    np.testing.assert_array_equal(data["offset"].values.ravel(), np.cumsum(size) - size.ravel())
    assert data.sizes["spike"] == size.sum() > 100
    assert (size == 0).any()
    np.testing.assert_array_equal(few["count"].values, size)
    np.testing.assert_array_equal(few["row_size"].values, np.minimum(size, 2))
    np.testing.assert_array_equal(array(drawn, "measurements/few/value").values, size)
    assert data["row_size"].attrs["sample_dimension"] == "spike"
    assert (data["onset"].attrs["units"], data["amplitude"].attrs["units"]) == ("s", "S")
    for device, lists in enumerate(onsets(drawn, "spike_count", 2)):
        for cycle, begin in enumerate(lists):
            assert begin.size == size[2, device, cycle]
            assert (np.diff(begin) > 0).all()
            assert ((begin % (WIDTH + GAP)) < WIDTH).all(), "while a pulse lasts"
    assert intervals(drawn, "spike_count", 2).size == np.maximum(size[2] - 1, 0).sum()
    assert intervals(drawn, "spike_count", 0).size == 0
    mcdev.write(drawn, tmp_path)
    assert mcdev.read(tmp_path)["spikes/spike_count"].dataset.identical(data)
    with h5py.File(tmp_path / "results.h5", "r+") as file:
        file["spikes/few/row_size"][0, 0, 0] += 1
    with pytest.raises(ResultsError, match="/spikes/few: row_size and offset do not divide its"):
        mcdev.read(tmp_path)


def test_measurements_that_differ_at_one_point_have_lists_of_their_own() -> None:
    measured = {"n": {"kind": "spike_count", "fraction": 0.1}, "t": {"kind": "spike_latency"}, "p": {"kind": "firing"}}
    swept = switch(measured, sweep={"axes": {"measurements.t.fraction": [0.1, 0.3]}})
    assert trains([point for _, point in swept.points()]) == [["n", "p"], ["t"]]
    assert trains([swept.point(0)]) == [["n", "t", "p"]]


def test_parts_are_put_in_order_and_what_is_missing_has_no_spikes() -> None:
    def part(*lists: list[float]) -> Ragged:
        size, flat = np.array([[len(own)] for own in lists]), np.array([x for own in lists for x in own])
        return Ragged(size, size, flat, flat, flat)

    found = gathered([(part([3.0], [4.0, 5.0]), 0, 1), (part([1.0, 2.0], []), 0, 0), (part([9.0]), 3, 1)], 4, 2)
    assert found.onset.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 9.0]
    assert found.kept.tolist() == [[2, 1], [0, 2], [0, 0], [0, 1]]


def test_measurements_of_equal_levels_share_a_detector() -> None:
    measured = EVERY | {"same": {"kind": "spike_count", "fraction": 0.1, "reset_fraction": 0.05}}
    measured |= {"less": {"kind": "spike_count", "most": 2}, "volts": {"kind": "firing", "threshold": "10 uS"}}
    found = Trial(switch(measured)).detectors
    assert found[:2] == (
        Detector("conductance", 0.1, 0.05, True, 256),
        Detector("conductance", 0.1, 0.05, True, 2),
    )
    assert found[2][0] == "conductance"
    assert found[2][1:3] == pytest.approx((1e-5, 5e-6))
    assert len(found) == 3


# ------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("how", "key", "words"),
    [
        ({"signal": "curent", "threshold": "1 uA"}, "signal", "did you mean 'current'"),
        ({"threshold": "1 uA"}, "threshold", "'uA' is a current.*unit of 'conductance'"),
        ({"signal": "current"}, "threshold", "is no conductance.*add threshold"),
        ({"signal": "current", "threshold": 3}, "threshold", "its unit is missing"),
        ({"signal": "current", "threshold": "3 foo"}, "threshold", "with its unit"),
        ({"signal": "current", "threshold": True}, "threshold", "with its unit"),
        ({"threshold": "3 uS", "reset": "4 uS"}, "reset", "below the threshold"),
        ({"threshold": "3 uS", "reset": "4 mA"}, "", "'mA' is a current"),
        ({"threshold": "-1 uS"}, "reset", "add reset"),
        ({"reset": "4 uS"}, "reset", "add threshold"),
        ({"threshold": "3 uS", "fraction": 0.1}, "fraction", "either a threshold or a fraction"),
        ({"fraction": 0.1, "reset_fraction": 0.2}, "reset_fraction", "below the threshold"),
        ({"most": 0}, "most", "greater than or equal to 1"),
        ({"window": "pulse", "index": 9}, "", "window 'pulse' 9 of 4"),
        ({"window": "puls"}, "", "needs the window 'puls'"),
    ],
)
def test_levels_that_cannot_be_are_refused(how: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        switch({"n": {"kind": "spike_count"} | how})
    assert [p.key for p in error.value.problems] == [f"measurements.n.{key}".rstrip(".")]


def test_a_family_without_g_max_needs_a_threshold() -> None:
    device = {"preset": "device_1s"}
    pulse = {"kind": "pulse", "amplitude": "3.5 V", "width": "5 s", "relaxation": "5 s"}
    with pytest.raises(ConfigError, match="refers to G_max"):
        switch({"n": {"kind": "spike_count"}}, device=device, protocol=pulse)
    assert switch({"n": {"kind": "spike_count", "threshold": "1 nS"}}, device=device, protocol=pulse)


@pytest.mark.parametrize("where", ["fit", "reference"])
def test_a_mean_trajectory_has_no_spikes(where: str) -> None:
    table = {"measurement": "t", "statistic": "mean_response"}
    axes = {"axes": {"device.relaxation_time": ["0.1 s", "0.2 s", "0.3 s"]}}
    more: dict[str, Any] = {"output": {"reference": [table | {"value": "1 s", "source": "x"}]}}
    if where == "fit":
        fit = {"kind": "double_exponential", "axis": "device.relaxation_time"} | table
        more = {"fits": {"f": fit}, "sweep": axes}
    with pytest.raises(ConfigError, match="which a mean trajectory has not"):
        switch({"t": {"kind": "spike_latency"}}, **more)


def calibration(measurement: str, value: str | float, **more: Any) -> dict[str, Any]:
    return {
        "name": "fit",
        "device": SWITCH,
        "experiments": {"train": {"protocol": TRAIN, "measurements": EVERY}},
        "parameters": {"device.switching_rate": {}, "device.relaxation_time": {}, "device.on_conductance": {}},
        "targets": [
            {"experiment": "train", "measurement": measurement, "value": value, "uncertainty": "5 %", "source": "x"}
            | more
        ],
    }


@pytest.mark.slow
def test_derivatives_of_times_against_differences() -> None:
    """In forward mode through the detector: of all that is a time or a height, by rate, relaxation and G_on."""
    targets = {"spike_latency": "0.02 s", "spike_width": "0.2 s", "interspike_interval": "0.4 s"}
    targets |= {"spike_amplitude": "90 uS", "cv": 0.01}
    data = calibration("spike_latency", "0.02 s")
    data["targets"] = [calibration(name, value)["targets"][0] for name, value in targets.items()]
    job = plan_of(data)
    assert job.exact
    x = job.values(job.start)
    found = evaluate(job, x, 1, 1, True, job.goals)
    begin, end, peak = known()
    truth = [begin[0], (end - begin).mean(), np.diff(begin).mean(), peak.mean()]
    np.testing.assert_allclose(found.value[:4], truth, rtol=0.02)
    for j in range(x.size):
        step = 1e-5 * x[j] * np.eye(x.size)[j]
        low, high = (evaluate(job, x + side * step, 1, 1, False, job.goals).value for side in (-1, 1))
        slope = (high - low) / (2 * step[j])  # so near that no count of intervals changes
        size = np.abs(found.value / x[j])
        np.testing.assert_allclose(found.jacobian[:, j] / size, slope / size, rtol=1e-5, atol=1e-7)
    assert (np.abs(found.jacobian[0] * x / found.value[0]) > 0.1).sum() == 2  # the rate, and the level in G_on


@pytest.mark.parametrize("name", ["spike_count", "firing", "firing_rate"])
def test_a_count_has_no_derivative_to_follow(name: str) -> None:
    value = "2.5 Hz" if name == "firing_rate" else 1.0
    with pytest.raises(ConfigError, match=r"changes in steps.*weight = 0"):
        plan_of(calibration(name, value))
    data = calibration(name, value, weight=0.0)
    data["targets"] += calibration("spike_latency", "0.02 s")["targets"]
    assert len(plan_of(data).goals) == 2


def test_a_target_on_the_mean_trajectory_is_refused() -> None:
    with pytest.raises(ConfigError, match="which a mean trajectory has not"):
        plan_of(calibration("spike_latency", "0.02 s", statistic="mean_response"))


# ------------------------------------------------------------------------------- pictures


def texts(figure: Figure) -> str:
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    legends = [*figure.legends, *(legend for part in figure.subfigs for legend in part.legends)]
    found += [text.get_text() for legend in legends for text in legend.get_texts()]
    return "\n".join([*found, *(axes.get_title() for axes in figure.axes)])


def test_raster_marks_every_spike(drawn: xr.DataTree) -> None:
    figure = raster.draw(drawn)
    above, below = figure.axes[:2]
    data = drawn["spikes/spike_count"].dataset
    marks = [collection.get_positions() for collection in below.collections]
    assert [len(each) for each in marks] == data["row_size"].values[2, :40, 0].tolist()
    (steps,) = above.patches
    assert isinstance(steps, StepPatch)
    assert steps.get_data().values.size == drawn["trajectories"].sizes["sample"]
    assert "first 40 of 50 devices" in texts(figure)


def test_histogram_of_intervals_says_number_and_median(drawn: xr.DataTree) -> None:
    figure = interspike_intervals.draw(drawn)
    axes = figure.axes[0]
    assert axes.get_xscale() == "log"
    found = intervals(drawn, "spike_count", 2)
    assert f"1.5: n = {found.size}, median {1e3 * np.median(found):.3g} ms" in texts(figure)
    assert "0.5: no interval" in texts(figure)


def test_rate_curve_counts_the_silent(drawn: xr.DataTree) -> None:
    figure = rate_curve.draw(drawn)
    above, below = figure.axes
    value = array(drawn, "measurements/firing_rate/value").values
    np.testing.assert_allclose(above.lines[0].get_ydata(), value.mean(axis=(1, 2)))
    np.testing.assert_allclose(below.lines[0].get_ydata(), (value > 0).mean(axis=(1, 2)))
    assert (value == 0).any()
    assert "n = 50 devices" in texts(figure)


def test_regularity_says_how_many_it_is_of(drawn: xr.DataTree) -> None:
    figure = regularity.draw(drawn)
    assert "of 100" in texts(figure)
    assert "undefined" in texts(figure)


def test_pictures_of_spikes_do_not_apply_without(drawn: xr.DataTree) -> None:
    pictures = (raster, interspike_intervals, rate_curve, regularity)
    assert all(picture.applies(drawn) for picture in pictures)
    without = drawn.copy()
    text = switch({"g": {"kind": "mean_conductance"}}, sweep={"axes": {"protocol.amplitude": AMPLITUDES}}).to_toml()
    without["config"].dataset["toml"].values[()] = text
    del without["spikes"]
    assert not any(picture.applies(without) for picture in pictures)


# ------------------------------------------------------------------------------- elements and nodes


def pair(measurements: dict[str, Any]) -> Experiment:
    """Two neurons on one source, not coupled."""
    elements: dict[str, Any] = {"V1": {"kind": "voltage_source", "between": ["in", "0"]}}
    for i in (1, 2):
        out = f"out{i}"
        elements |= {
            f"R{i}": {"kind": "resistor", "between": ["in", out], "resistance": "60 ohm"},
            f"C{i}": {"kind": "capacitor", "between": [out, "0"], "capacitance": "1.6667 mF"},
            f"M{i}": {"kind": "memristor", "between": [out, "0"]},
        }
    return mcdev.build(
        {
            "name": "pair",
            "device": {"preset": "wang2017_reduced", "particles": 6},
            "circuit": {"kind": "network", "elements": elements},
            "protocol": {"kind": "hold", "voltage": "4 V", "duration": "2 s", "samples": 8},
            "measurements": measurements,
            "ensemble": {"devices": 8},
        }
    )


@pytest.mark.slow
def test_spikes_of_an_element_and_of_a_node() -> None:
    """The first memristor, named or not, and the second, whose channel may also be given by its whole name; a node's
    voltage likewise."""
    levels = {"threshold": "1 V", "reset": "0.9 V"}
    measured: dict[str, Any] = {
        "first": {"kind": "spike_count"},
        "named": {"kind": "spike_count", "element": "M1"},
        "second": {"kind": "spike_count", "element": "M2"},
        "whole": {"kind": "spike_count", "signal": "conductance(M2)", "threshold": "0.1 S"},
        "node": {"kind": "spike_count", "signal": "voltage", "node": "out2", **levels},
        "same": {"kind": "spike_count", "signal": "voltage(out2)", **levels},
    }
    (found,) = simulate(pair(measured), threads=1)
    first, named, second, whole, node, same = found.values.values()
    assert first.sum() > 0
    assert second.sum() > 0
    np.testing.assert_array_equal(first, named)
    np.testing.assert_array_equal(second, whole)
    assert (first != second).any()
    np.testing.assert_array_equal(node, same)
    assert node.sum() > 0


def test_a_channel_that_an_element_has_not_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no such channel is recorded \('conductance\(R1\)'\)"):
        pair({"n": {"kind": "spike_count", "element": "R1"}})


@pytest.mark.slow
def test_a_neuron_keeps_its_rate_over_a_thousand_cooling_times() -> None:
    """It settles within 500/κ (96 devices: a half more in the first 100/κ, and 5(2) % fewer in 600-1000/κ than in
    100-500/κ); from then on as many spikes in either half of what is left, within three standard errors.
    With two equal wells it falls silent in the first hundred."""
    file = Path(__file__).parents[1] / "configs" / "neuron" / "neuron_single.toml"
    longer = {"protocol.duration": "1000 s", "protocol.samples": 1000, "ensemble.devices": 32, "ensemble.seed": 11}
    tree = mcdev.run(mcdev.load(file).with_(longer))
    begins = [cycle[0] for cycle in onsets(tree, "count", 0)]

    def spikes(low: float, high: float) -> np.ndarray:
        return np.array([np.sum((b >= low) & (b < high)) for b in begins])

    change = spikes(750, 1000) - spikes(500, 750)
    error = change.std(ddof=1) / np.sqrt(len(begins))
    print(
        f"\nspikes a device: {spikes(500, 1000).mean():.2f}; {change.mean():.2f} ± {error:.2f} more in the second half"
    )
    assert error < 0.1 * spikes(500, 750).mean()
    assert abs(change.mean()) < 3 * error
    assert spikes(500, 900).mean() > 0.8 * spikes(100, 500).mean()
