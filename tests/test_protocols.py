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

from mcdev.protocols import AnyProtocol
from mcdev.protocols.timeline import Piece, Timeline, growing, timeline
from mcdev.protocols.waveform import Waveform


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
