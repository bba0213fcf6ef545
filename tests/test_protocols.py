"""What a protocol does to the source's voltage, sample by sample."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mcdev.configuration.experiment import build
from mcdev.configuration.problems import ConfigError
from mcdev.kinds import name_of
from mcdev.protocols import PROTOCOLS, AnyProtocol
from mcdev.protocols.timeline import NoTimeline, Piece, Timeline, growing, timeline
from mcdev.protocols.waveform import Waveform
from mcdev.simulation.ensemble import total_steps
from mcdev.simulation.trial import trials


def timeline_of(**table: Any) -> Timeline:
    protocol: AnyProtocol = TypeAdapter(AnyProtocol).validate_json(json.dumps(table))
    return protocol.timeline()


TRAIN = {"kind": "pulse_train", "amplitude": "4 V", "width": "20 ms", "count": 3, "read_voltage": "0.1 V"}


def assert_consistent(t: Timeline) -> None:
    """Samples follow one another, from zero; windows lie within; lengths agree."""
    assert t.edges.size == t.samples + 1 == t.start.size + 1 == t.end.size + 1
    assert t.edges[0] == 0
    assert np.all(t.widths > 0)
    assert t.windows["all"].tolist() == [[0, t.samples]]
    for spans in t.windows.values():
        assert np.all(spans[:, 0] < spans[:, 1])
        assert spans.max() <= t.samples


def test_hold() -> None:
    t = timeline_of(kind="hold", voltage="0.2 V", duration="3 s", samples=6)
    assert_consistent(t)
    np.testing.assert_allclose(t.edges, np.arange(7) * 0.5)
    assert np.all(t.start == 0.2)
    assert np.all(t.end == 0.2)
    assert t.windows["hold"].tolist() == [[0, 6]]


def test_pulse() -> None:
    t = timeline_of(
        kind="pulse",
        amplitude="1.5 V",
        width="2 s",
        rest="0.5 s",
        relaxation="40 s",
        read_voltage="50 mV",
        samples_per_pulse=100,
        relaxation_samples=60,
    )
    assert_consistent(t)
    assert t.duration == pytest.approx(42.5)
    (rest,), (pulse,), (relaxation,) = (t.windows[name].tolist() for name in ("rest", "pulse", "relaxation"))
    assert (rest, pulse, relaxation) == ([0, 20], [20, 120], [120, 180])
    assert t.edges[20] == pytest.approx(0.5)
    assert t.edges[120] == pytest.approx(2.5)
    assert np.all(t.voltage[20:120] == 1.5)
    assert np.all(np.delete(t.voltage, np.s_[20:120]) == 0.05)
    assert t.widths[120] == pytest.approx(0.02, rel=1e-6), "relaxation is resolved from the pulse's sample on"
    assert np.all(np.diff(t.widths[120:]) > 0)


def test_pulse_without_rest_or_relaxation() -> None:
    t = timeline_of(kind="pulse", amplitude="1 V", width="1 s", relaxation="0 s", samples_per_pulse=4)
    assert set(t.windows) == {"all", "pulse"}
    assert t.samples == 4


@pytest.mark.parametrize("spacing", [{"period": "50 ms"}, {"gap": "30 ms"}])
def test_pulse_train(spacing: dict[str, str]) -> None:
    """By period or by gap: the same times."""
    t = timeline_of(**TRAIN, **spacing, relaxation="0.2 s", samples_per_pulse=4, samples_per_gap=3)
    assert_consistent(t)
    first = t.windows["pulse"][:, 0]
    np.testing.assert_allclose(t.edges[first], [0, 0.05, 0.1], atol=1e-12)
    np.testing.assert_allclose(t.edges[t.windows["pulse"][:, 1]], [0.02, 0.07, 0.12], atol=1e-12)
    assert t.windows["gap"].tolist() == [[4, 7], [11, 14], [18, 21]]
    assert t.windows["relaxation"].tolist() == [[21, 121]]
    assert t.duration == pytest.approx(0.35)
    pulsed = np.zeros(t.samples, bool)
    for a, b in t.windows["pulse"]:
        pulsed[a:b] = True
    np.testing.assert_array_equal(t.voltage, np.where(pulsed, 4.0, 0.1))


def test_rate_change() -> None:
    t = timeline_of(
        kind="rate_change",
        amplitude="2.8 V",
        width="100 us",
        rates=["200 Hz", "5 kHz", "200 Hz"],
        counts=[2, 3, 1],
        samples_per_pulse=4,
        samples_per_gap=2,
    )
    assert_consistent(t)
    starts = t.edges[t.windows["pulse"][:, 0]]
    np.testing.assert_allclose(starts, [0, 5e-3, 10e-3, 10.2e-3, 10.4e-3, 10.6e-3], atol=1e-12)
    assert t.duration == pytest.approx(15.6e-3)
    assert [len(t.windows[f"section_{k}"]) for k in (1, 2, 3)] == [2, 3, 1]
    np.testing.assert_array_equal(t.windows["section_2"], t.windows["pulse"][2:5])


@pytest.mark.parametrize(
    ("polarity", "order"),
    [
        ("positive", ["positive_up", "positive_down"]),
        ("negative", ["negative_up", "negative_down"]),
        ("positive_first", ["positive_up", "positive_down", "negative_up", "negative_down"]),
        ("negative_first", ["negative_up", "negative_down", "positive_up", "positive_down"]),
    ],
)
def test_triangular_sweep(polarity: str, order: list[str]) -> None:
    t = timeline_of(
        kind="triangular_sweep", amplitude="1.5 V", rate="0.15 V/s", polarity=polarity, loops=2, samples_per_branch=5
    )
    assert_consistent(t)
    assert t.duration == pytest.approx(2 * len(order) * 10.0)
    for place, name in enumerate(order):
        np.testing.assert_array_equal(t.windows[name][:, 0], [5 * place, 5 * (place + len(order))])
        first, last = t.windows[name][0]
        sign = 1 if name.startswith("positive") else -1
        line = sign * np.linspace(0, 1.5, 6)
        line = line if name.endswith("up") else line[::-1]
        np.testing.assert_allclose(t.start[first:last], line[:-1], atol=1e-12)
        np.testing.assert_allclose(t.end[first:last], line[1:], atol=1e-12)
    np.testing.assert_allclose(t.start[1:], t.end[:-1], atol=1e-12)
    np.testing.assert_allclose((t.end - t.start) / t.widths, np.sign(t.end - t.start) * 0.15)


def test_a_sweep_rests_before_each_loop() -> None:
    """At 0 V, for as long as it says; the branches are those without a rest."""
    sweep = {"kind": "triangular_sweep", "amplitude": "1 V", "rate": "10 V/s", "polarity": "positive", "loops": 2}
    line, plain = timeline_of(**sweep, rest="2 s"), timeline_of(**sweep)
    rests = [np.arange(*window) for window in line.windows["rest"]]
    assert len(rests) == 2
    for rest in rests:
        assert line.widths[rest].sum() == pytest.approx(2.0)
        assert not np.any(line.start[rest])
        assert not np.any(line.end[rest])
    branches = np.setdiff1d(np.arange(line.samples), np.concatenate(rests))
    np.testing.assert_allclose(line.start[branches], plain.start)
    np.testing.assert_allclose(line.widths[branches], plain.widths)


def test_waveform_is_met_at_its_points() -> None:
    t = Waveform(time=(0.0, 1.0, 3.0), voltage=(0.0, 2.0, -2.0), samples_per_point=4).timeline()
    assert_consistent(t)
    np.testing.assert_allclose(t.edges, [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3])
    np.testing.assert_allclose(t.start, [0, 0.5, 1, 1.5, 2, 1, 0, -1])
    np.testing.assert_allclose(t.end, [0.5, 1, 1.5, 2, 1, 0, -1, -2])


def test_a_piece_without_duration_leaves_no_sample() -> None:
    t = timeline([Piece(0.0, 1.0, 1.0, 5, ("nothing",)), Piece(1.0, 0.0, 2.0, 2, ("ramp",))])
    assert set(t.windows) == {"ramp", "all"}
    np.testing.assert_allclose(t.voltage, [0.5, 1.5])


@settings(max_examples=100, deadline=None)
@given(
    duration=st.floats(1e-9, 1e3),
    share=st.floats(1e-8, 2.0),
    samples=st.integers(1, 500),
)
def test_growing_samples_fill_the_duration(duration: float, share: float, samples: int) -> None:
    """They add up, never shrink, grow by one ratio, and begin as asked where that is possible."""
    widths = growing(duration, share * duration, samples)
    assert widths.size == samples
    assert math.fsum(widths) == pytest.approx(duration, rel=1e-12)
    ratios = widths[1:] / widths[:-1]
    assert np.all(ratios >= 1 - 1e-12)
    if samples > 1:
        assert np.ptp(ratios) < 1e-9 * ratios[0]
    if share * samples < 1 and samples > 1:
        assert widths[0] == pytest.approx(share * duration, rel=1e-6)
    else:
        np.testing.assert_allclose(widths, duration / samples)


# ------------------------------------------------------------------------------- extreme numbers

EVERY: dict[str, dict[str, Any]] = {
    "pulse": {"amplitude": "1 V", "width": "2 ms", "relaxation": "5 ms", "rest": "1 ms"},
    "pulse_train": {"amplitude": "1 V", "width": "2 ms", "gap": "5 ms", "count": 3, "relaxation": "5 ms"},
    "recovery": {"amplitude": "1 V", "width": "2 ms", "gap": "5 ms", "count": 3, "recovery": "1 s"},
    "rate_change": {"amplitude": "1 V", "width": "2 ms", "rates": ["10 Hz", "100 Hz"], "counts": [2, 3]},
    "triangular_sweep": {"amplitude": "1 V", "rate": "10 V/s"},
    "waveform": {"time": [0.0, 1e-3, 2e-3], "voltage": [0.0, 1.0, 0.0]},
    "hold": {"duration": "1 s", "voltage": "0.1 V"},
    "impedance": {"bias": "0.1 V", "settling": "1 s", "lowest": "1 Hz", "highest": "1 kHz"},
    "bipolar_cycle": {"amplitude": "1 V", "width": "2 ms", "read_voltage": "0.1 V", "read_width": "1 ms"},
    "srdp": {"amplitude": "1 V", "width": "2 ms", "t_zero": "5 ms", "read_width": "1 ms", "rest": "1 ms"},
    "stdp": {"pre_high": "1 V", "post_high": "-1 V", "pre_low": "-0.1 V", "post_low": "0.1 V", "high_width": "2 ms"}
    | {"low_width": "5 ms", "delta_t": "1 ms", "read_width": "1 ms", "rest": "1 ms"},
}
EXTREME = [5e30, 1e300, 1e-300, 1e-30, 1e-9, 3e-3, 1e5, 1e15, -1e300, -1.0, 0.0, 1e308, 5e-324]
WHOLE = [-1, 0, 1, 2, 7, 2000, 10**9, 10**19, 10**400, 10**4000]


def keys_of_protocols() -> list[tuple[str, str]]:
    """Every key that takes a number, of every protocol."""
    models = {name_of(model): model for model in PROTOCOLS}
    assert set(models) == set(EVERY)
    return [
        (kind, key)
        for kind, model in models.items()
        for key, field in model.model_fields.items()
        if field.annotation in (int, float, float | None) or key in ("time", "voltage", "rates", "counts")
    ]


@st.composite
def extreme_protocol(draw: st.DrawFn) -> dict[str, Any]:
    """One protocol with one key, or two, far out."""
    kind = draw(st.sampled_from(sorted(EVERY)))
    table: dict[str, Any] = {"kind": kind, **EVERY[kind]}
    own = [key for k, key in keys_of_protocols() if k == kind]
    for key in draw(st.lists(st.sampled_from(own), min_size=1, max_size=2, unique=True)):
        table[key] = draw(st.sampled_from(values_of(kind, key)))
    return table


def values_of(kind: str, key: str) -> list[Any]:
    if key in ("time", "voltage") and kind == "waveform":
        return [[0.0, x, 2 * x] for x in EXTREME]
    if key == "rates":
        return [[f"{x!r} Hz", "100 Hz"] for x in EXTREME]
    if key == "counts":
        return [[n, 3] for n in WHOLE]
    units = {"loops": "", "rate": "V/s", "lowest": "Hz", "highest": "Hz", "bias": "V"}
    volts = ("amplitude", "voltage", "read_voltage", "pre_high", "post_high", "pre_low", "post_low")
    whole = key.startswith(("samples", "count", "per_", "loops")) or key.endswith("_samples")
    unit = "V" if key in volts else units.get(key, "s")
    return [*WHOLE, 0.5] if whole else [f"{x!r} {unit}" for x in EXTREME]


def builds_or_says_why(protocol: dict[str, Any]) -> None:
    try:
        experiment = build({**MEASURED, "protocol": protocol})
        assert total_steps(trials(experiment)) > 0
        experiment.warnings()
    except ConfigError:
        return
    line = experiment.protocol.timeline()
    assert np.isfinite(line.edges).all()
    assert (np.diff(line.edges) > 0).all()
    assert np.isfinite(line.start).all()
    assert np.isfinite(line.end).all()


MEASURED: dict[str, Any] = {
    "name": "x",
    "device": {"preset": "device_p"},
    "measurements": {"g": {"kind": "mean_conductance"}},
    "ensemble": {"devices": 4},
}


@settings(max_examples=100, deadline=None)
@given(extreme_protocol())
def test_extreme_numbers_give_a_timeline_or_one_error(protocol: dict[str, Any]) -> None:
    builds_or_says_why(protocol)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["device_p", "wang2017_sioxny_ag", "shin2022_ecm", "device_p_pnp"])
def test_every_extreme_number_gives_a_timeline_or_one_error(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEASURED, "device", {"preset": preset})
    for kind, key in keys_of_protocols():
        for value in values_of(kind, key):
            builds_or_says_why({"kind": kind, **EVERY[kind], key: value})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": "5e30 s"}, r'protocol.width = "5e\+30 s": a sample of 0 s at 5e\+30 s'),
        ({"relaxation": "1e-300 s"}, r'protocol.relaxation = "1e-300 s": a sample of 0 s at 0.003 s'),
        ({"amplitude": "1e300 V"}, r'protocol.amplitude = "1e300 V": expected a voltage .* none beyond 1e\+06 V'),
    ],
)
def test_an_extreme_number_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        total_steps(trials(build({**MEASURED, "protocol": {"kind": "pulse", **EVERY["pulse"], **change}})))


def test_what_is_no_number_of_steps_is_refused_without_a_warning() -> None:
    """Samples of the smallest double number, which is no step of a device of one state: zero times infinity."""
    waveform = {"kind": "waveform", **EVERY["waveform"], "time": [0.0, 5e-324, 1e-323]}
    with pytest.raises(ConfigError, match="take no finite number of steps"):
        total_steps(trials(build({**MEASURED, "device": {"preset": "shin2022_ecm"}, "protocol": waveform})))


@pytest.mark.parametrize(("duration", "first", "samples"), [(5.0, 2e-5, 2000), (1.0, 0.999 / 7, 7), (1e9, 1e-9, 9999)])
def test_a_grid_of_many_samples_grows(duration: float, first: float, samples: int) -> None:
    widths = growing(duration, first, samples)
    assert widths.sum() == pytest.approx(duration, rel=1e-12)
    assert widths[0] == pytest.approx(first, rel=1e-6)
    assert (np.diff(widths) >= 0).all()


def test_too_many_samples_are_refused_before_they_are_made() -> None:
    train = {**EVERY["pulse_train"], "kind": "pulse_train", "count": 100_000, "samples_per_pulse": 10_000}
    with pytest.raises(NoTimeline, match="1000800100 samples; expected at most 5000000"):
        timeline_of(**train)
