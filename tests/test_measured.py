"""Measured files: what is read equals what was written, or is refused; never something else."""

from __future__ import annotations

import csv
import io
import itertools
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcdev
from mcdev.calibration import resolve
from mcdev.configuration.problems import ConfigError
from mcdev.measured import Layout, Quantity, read_table

CURVE: tuple[Quantity, ...] = ("time", "voltage", "current")
WAVE: tuple[Quantity, ...] = ("time", "voltage")
CONFIGS = Path(__file__).parents[1] / "configs"


def read(tmp_path: Path, text: str | bytes, wanted: tuple[Quantity, ...] = CURVE, **layout: Any) -> dict[str, Any]:
    """The columns as lists, and how many currents were no numbers."""
    path = tmp_path / "x.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    table = read_table(path, wanted, Layout(**layout), 2, 1000)
    return {**{q: v.tolist() for q, v in table.values.items()}, "unread": table.unread}


# ------------------------------------------------------------------------------- names and units

HEADERS = [
    "time/s,Ewe/V,I/mA",
    "time/s,Ewe/V,<I>/mA",
    "Time_s,Voltage_V,Current_mA",
    '"Time, s","Voltage, V","Current, mA"',
    "t (s),U [V],i(mA)",
    "time in s,voltage in V,current in mA",
    "Time (seconds),Voltage (Volts),Current (mA)",
    "Time,Voltage,Current\ns,V,mA",
    "Time,Voltage,Current\n(s),[V],(mA)",
    "# written by a script\n# time (s),voltage (V),current (mA)\n# on a Tuesday",
    "Time (s),Voltage (V),Current (mA),Temperature (K)",
]


@pytest.mark.parametrize("header", HEADERS)
def test_usual_headers_give_names_and_units(tmp_path: Path, header: str) -> None:
    extra = ",300" if "Temperature" in header else ""
    found = read(tmp_path, f"{header}\n0,0,1{extra}\n2,0.5,3{extra}\n")
    assert found == {"time": [0, 2], "voltage": [0, 0.5], "current": [1e-3, 3e-3], "unread": 0}


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    text = "Time,Current,Voltage\n0,1e-6,0.1\n1,2e-6,0.2\n"
    assert read(tmp_path, text) == {"time": [0, 1], "voltage": [0.1, 0.2], "current": [1e-6, 2e-6], "unread": 0}
    assert read(tmp_path, text, WAVE) == {"time": [0, 1], "voltage": [0.1, 0.2], "unread": 0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("X,CH1,CH2\n0,0,0\n", "line 1: column 1, 'X', is not understood and may be the time"),
        ("T,V,I\n0,0,0\n", "column 1, 'T', is not understood"),
        ("time (s),V1 (V),V2 (V),I (A)\n0,0,0,0\n", "column 2, 'V1 (V)', is not understood and may be the voltage"),
        ("time (s),V (V),U (V),I (A)\n0,0,0,0\n", "'V (V)', 'U (V)' for voltage; expected one: add columns = {"),
        ("time (s),V (V)\n0,0\n", "no column for current"),
        ("time (ms),V,I (A)\n0,0,0\n", "column 2, 'V', has no unit, where others have one; add units = { voltage"),
        ("time (s),V (kg),I (A)\n0,0,0\n", "column 2, 'V (kg)', is in 'kg'; expected a unit of voltage like V or mV"),
        ("time (s),V (V),I (V)\n0,0,0\n", "column 3, 'I (V)', is in 'V'; expected a unit of current"),
        ("TIME (MS),V (V),I (A)\n0,0,0\n", "column 1, 'TIME (MS)', is in 'MS'"),
        ("time (s),V (MV),I (A)\n0,0,0\n", "column 2, 'V (MV)', is in 'MV'"),
        ("time (s),V (V),I (A)\ns,V,A\n0,0,0\n", "units stand in the header and in the row below it"),
        ("time,V,I\ns,V\n0,0,0\n", "line 2 is 's,V': neither numbers nor a unit for each of the 3 columns"),
        ("0,--,0\n1,1,1\n", "line 1 is '0,--,0': column 2 is '--'; expected a number"),
        ("0,0,--\n1,1,1\n", "line 1 is '0,0,--': column 3 is '--'; expected a number"),
        ("0,0,0,0\n1,1,1,1\n", "4 columns and no header; expected 3, time (s), voltage (V) and current (A)"),
        ("0 0 0\n1 1 1\n", "expected commas, semicolons or tabs"),
        ("t;V;I\n0;0,5;0\n1;1.5;1\n", "line 2 is '0;0,5;0': '0,5' has a comma, and other numbers have a decimal point"),
        ("t;V;I\n0;1,500;0\n1;2,500;1\n", "line 2 is '0;1,500;0': '1,500' may be a decimal comma or part thousands"),
        ("t,V,I\n0,0,0\n1,1_0,1\n", "'1_0'"),
        ("t,V,I\n0,0,0\n1,1,1,1\n", "line 3 is '1,1,1,1': 4 columns; expected 3"),
        ("t,V,I\n0,0,0\nt,V,I\n1,1,1\n", "line 3 is 't,V,I'"),
        ('t,V,I\n0,0,"0\n1,1,1\n', "line 2 cannot be read"),
        ("t,V,I\n" + "0,0,0\n" * 2000, "more than 1000 rows"),
        ("(" * 90_000 + ",V,I\n0,0,0\n1,1,1\n", "column 1, '((((("),
        ("0" * 200_000 + ",0,0\n1,1,1\n", "line 1 has 200005 characters"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^(line|more)") as caught:
        read(tmp_path, text)
    assert said in str(caught.value)


def test_columns_and_units_may_be_given(tmp_path: Path) -> None:
    text = "X,CH1,CH2 (mA)\n0,1,2\n3,4,5\n"
    given: dict[str, Any] = {"columns": {"time": "X", "voltage": 2, "current": "CH2"}, "units": {"time": "ms"}}
    with pytest.raises(ValueError, match=r"'CH1', has no unit"):
        read(tmp_path, text, **given)
    given["units"]["voltage"] = "mV"
    assert read(tmp_path, text, **given) == {
        "time": [0, 3e-3], "voltage": [1e-3, 4e-3], "current": [2e-3, 5e-3], "unread": 0
    }  # fmt: skip
    numbered = {"time": 2, "voltage": 1}
    assert read(tmp_path, "5,0,7\n6,1,7\n", WAVE, columns=numbered)["voltage"] == [5, 6]
    for wrong, said in (
        ({"columns": {"time": "Y"}}, "columns.time is 'Y': no such column"),
        ({"columns": {"time": 4}}, "columns.time is 4: no such column"),
        ({"columns": {"time": 1, "voltage": 1}}, "expected different columns"),
        ({"units": {"time": "kg"}}, "units.time is 'kg'; expected a unit of time"),
    ):
        with pytest.raises(ValueError, match="line 1") as caught:
            read(tmp_path, "t,V,I\n0,1,2\n3,4,5\n", **wrong)
        assert said in str(caught.value)
    with pytest.raises(ValueError, match=r"leave units\.time out"):
        read(tmp_path, "t (s),V (V),I (A)\n0,1,2\n3,4,5\n", units={"time": "ms"})
    with pytest.raises(ValueError, match="columns and units are given of current"):
        read(tmp_path, "0,1\n1,2\n", WAVE, units={"current": "A"})


def test_a_mark_of_byte_order_and_line_ends_change_nothing(tmp_path: Path) -> None:
    plain = read(tmp_path, "0,1\n2,3\n4,5\n", WAVE)
    assert plain == {"time": [0, 2, 4], "voltage": [1, 3, 5], "unread": 0}
    assert read(tmp_path, "\ufeff0,1\r\n\r\n2,3\r\n# a comment\r\n4,5", WAVE) == plain
    assert read(tmp_path, b"0\t1\r2\t3\r4\t5\r", WAVE) == plain


# ------------------------------------------------------------------------------- instruments' words for nothing


@pytest.mark.parametrize("word", ["9.91e37", "9.9E+37", "-9.9e37", "9.90000030e+37", "nan", "NaN", "-Inf", "1e400"])
def test_no_number_is_a_gap_in_the_current_and_refused_elsewhere(tmp_path: Path, word: str) -> None:
    found = read(tmp_path, f"t (s),V (V),I (uA)\n0,0,1\n1,1,{word}\n2,1,\n3,1,4\n")
    np.testing.assert_array_equal(found["current"], [1e-6, np.nan, np.nan, 4e-6])
    assert found["unread"] == 1
    for row in (f"{word},1,1", f"1,{word},1"):
        with pytest.raises(ValueError, match=r"line 3 is .*stands for no number") as caught:
            read(tmp_path, f"t,V,I\n0,0,1\n{row}\n9,9,9\n")
        assert repr(word) in str(caught.value)


# ------------------------------------------------------------------------------- any table

SPELLINGS = {
    "time": (["time", "Time", "TIME", "t", "Elapsed time"], {"s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "min": 60}),
    "voltage": (["voltage", "Voltage", "V", "U", "Ewe", "Potential"], {"V": 1, "mV": 1e-3, "kV": 1e3, "Volts": 1}),
    "current": (["current", "Current", "I", "<I>"], {"A": 1, "mA": 1e-3, "uA": 1e-6, "nA": 1e-9, "Amps": 1}),
}
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: float(f"{x:.7g}"))


@st.composite
def tables(draw: st.DrawFn) -> tuple[bytes, dict[str, list[float]], int]:
    """A file's bytes, the SI values that it holds, and how many of its currents are an instrument's "not a number"."""
    order = draw(st.permutations(CURVE))
    named = draw(st.booleans())
    delimiter = draw(st.sampled_from(",;\t"))
    spelling = draw(st.sampled_from(["{}/{}", "{}_{}", "{}, {}", "{} ({})", "{} [{}]", "{}({})", "row", "bare"]))
    names = {q: draw(st.sampled_from(SPELLINGS[q][0])) for q in CURVE}
    units = {q: draw(st.sampled_from(sorted(SPELLINGS[q][1]))) for q in CURVE}
    if not named:
        order, units = list(CURVE), {"time": "s", "voltage": "V", "current": "A"}
    elif spelling == "bare":
        units = {"time": "s", "voltage": "V", "current": "A"}
    steps = draw(st.lists(st.integers(0, 5), min_size=3, max_size=12))
    times = np.cumsum([1, *steps]).tolist()
    for i in range(2, len(times)):  # two rows of one time are a step; a third is none
        if times[i] == times[i - 2]:
            times[i:] = [t + 1 for t in times[i:]]
    rows: list[list[str]] = []
    values: dict[str, list[float]] = {q: [] for q in CURVE}
    unread = 0
    for time in times:
        current = draw(st.one_of(NUMBERS, st.sampled_from(["", "9.91e37", "nan"])))
        unread += current in ("9.91e37", "nan")
        written = {"time": float(time), "voltage": draw(NUMBERS), "current": current}
        for q in CURVE:
            number = np.nan if isinstance(written[q], str) else float(written[q])
            values[q].append(number * SPELLINGS[q][1][units[q]])
        rows.append([written[q] if isinstance(written[q], str) else repr(written[q]) for q in order])
    head: list[list[str]] = []
    if named and spelling in ("row", "bare"):
        head.append([names[q] for q in order])
        if spelling == "row":
            head.append([units[q] for q in order])
    elif named:
        head.append([spelling.format(names[q], units[q]) for q in order])
    file = io.StringIO()
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    out = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end)
    for row in [*head, *rows]:
        if draw(st.integers(0, 9)) == 0:
            file.write(draw(st.sampled_from([end, f"# said{end}"])))
        out.writerow(row)
    text = file.getvalue()
    return text.encode("utf-8-sig" if draw(st.booleans()) else "utf-8"), values, unread


@settings(max_examples=100, deadline=None)
@given(table=tables())
def test_what_is_read_is_what_was_written(tmp_path_factory: pytest.TempPathFactory, table: Any) -> None:
    content, values, unread = table
    found = read(tmp_path_factory.getbasetemp(), content)
    for quantity in CURVE:
        np.testing.assert_allclose(found[quantity], values[quantity], rtol=1e-15, atol=0)
    assert found["unread"] == unread


@settings(max_examples=100, deadline=None)
@given(
    cells=st.lists(
        st.lists(
            st.sampled_from(
                ["0", "1", "2", "3.5", "", "--", "time", "t/s", "V", "V (mV)", "I_uA", "s", "A", "9.91e37"]
            ),
            min_size=2,
            max_size=4,
        ),
        min_size=1,
        max_size=6,
    )
)
def test_no_row_is_dropped(tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]]) -> None:
    """Whatever the cells are: refused, or every row with a number in it is one of the table."""
    text = "\n".join(",".join(row) for row in cells)
    rows = [row for row in cells if any(row)]
    try:
        found = read(tmp_path_factory.getbasetemp(), text, WAVE)
    except ValueError:
        return
    numeric = [row for row in rows if any(cell[:1] in tuple("0123456789") for cell in row if cell)]
    assert len(found["time"]) == len(numeric)


# ------------------------------------------------------------------------------- steps

TRAIN = [(0.0, 0.0), (1.0, 0.0), (1.0, 3.5), (2.0, 3.5), (2.0, 0.0), (3.0, 0.0)]


def test_two_points_of_one_time_are_a_step() -> None:
    """The samples of a step are those of a protocol of pulses: nothing lies between the two voltages."""
    time, voltage = zip(*TRAIN, strict=True)
    data = {
        "name": "step",
        "device": {"preset": "device_p"},
        "protocol": {"kind": "waveform", "time": time, "voltage": voltage, "samples_per_point": 10},
        "measurements": {"g": {"kind": "mean_conductance"}},
    }
    own = mcdev.build(data).protocol.timeline()
    assert own.samples == 30
    np.testing.assert_array_equal(own.start, np.repeat([0, 3.5, 0], 10))
    np.testing.assert_array_equal(own.end, own.start)
    np.testing.assert_allclose(own.widths, 0.1, rtol=1e-12)


def curve_of(path: Path, rows: list[tuple[float, float, float | str]], **curve: Any) -> dict[str, Any]:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("time (s)", "voltage (V)", "current (A)"), *rows])
    return {
        "name": "curve",
        "device": {"preset": "device_p"},
        "parameters": {"device.capacitance": {}},
        "curves": [{"file": path.name, "noise": "20 nA", **curve}],
    }


@pytest.mark.parametrize("between", ["step", "line"])
def test_a_curve_that_rests_long_and_is_sampled_fast_is_read(tmp_path: Path, between: str) -> None:
    """An hour of rest, then a microsecond a sample: times over steps of 4e9, and the steps are as written."""
    rows = [(0.0, 0.0, ""), (3600.0, 0.0, 1e-9)]
    rows += [(3600 + 1e-6 * i, 1.0, 1e-7 * i) for i in range(1, 20)]
    plan = resolve(curve_of(tmp_path / "rest.csv", rows, between=between), tmp_path)
    ((_, experiment),) = plan.experiments.items()
    timeline = experiment.protocol.timeline()
    assert timeline.samples == len(rows) - 1 == plan.traces[0].current.size
    np.testing.assert_allclose(timeline.widths[1:], 1e-6, rtol=1e-6)
    np.testing.assert_array_equal(timeline.end, [0.0, *[1.0] * 19])
    np.testing.assert_array_equal(timeline.start, [0.0, 1.0 if between == "step" else 0.0, *[1.0] * 18])


@pytest.mark.parametrize("between", ["step", "line"])
def test_a_step_written_as_two_rows_is_one_in_a_curve(tmp_path: Path, between: str) -> None:
    currents: list[float | str] = ["", 1e-9, "", 2e-7, "", 3e-9]
    rows = [(t, v, i) for (t, v), i in zip(TRAIN, currents, strict=True)]
    plan = resolve(curve_of(tmp_path / "pwl.csv", rows, between=between), tmp_path)
    ((_, experiment),) = plan.experiments.items()
    timeline, trace = experiment.protocol.timeline(), plan.traces[0]
    np.testing.assert_array_equal(timeline.start, [0, 3.5, 0])
    np.testing.assert_array_equal(timeline.end, [0, 3.5, 0])
    np.testing.assert_array_equal(trace.current, [1e-9, 2e-7, 3e-9])
    np.testing.assert_array_equal(trace.time, [0, 1, 2, 3])
    np.testing.assert_array_equal(trace.voltage[1:], [0, 3.5, 0])


def test_what_an_instrument_could_not_read_is_left_out_and_said(tmp_path: Path) -> None:
    rows: list[tuple[float, float, float | str]] = [(0.1 * i, 1.0, 1e-7 * i) for i in range(8)]
    rows[3], rows[4], rows[5] = (0.3, 1.0, 9.91e37), (0.4, 1.0, "nan"), (0.5, 1.0, "")
    plan = resolve(curve_of(tmp_path / "scpi.csv", rows), tmp_path)
    np.testing.assert_array_equal(np.isnan(plan.traces[0].current), [0, 0, 1, 1, 1, 0, 0])
    assert [w for w in plan.warnings if "2 of 7 currents are an instrument's infinity or no number" in w]


# ------------------------------------------------------------------------------- one error for one mistake


def problems_of(data: dict[str, Any], folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        resolve(data, folder)
    return [str(p) for p in caught.value.problems]


def test_a_bad_line_is_one_error(tmp_path: Path) -> None:
    data = curve_of(tmp_path / "bad.csv", [(0.1 * i, "oops" if i == 3 else 1.0, 1e-7) for i in range(8)])
    data["parameters"] |= {"device.charge_gain": {}, "device.stiffening": {}}
    data["report"] = {"profile": ["charge_gain"]}
    (found,) = problems_of(data, tmp_path)
    assert "line 5 is '" in found
    assert "is 'oops'; expected a number" in found
    data["parameters"]["device.charge_gian"] = {}
    data["curves"][0]["noise"] = "20 nV"
    assert len(problems_of(data, tmp_path)) == 3, "mistakes of their own are said beside it"


def test_a_wrong_device_is_one_error_whatever_uses_it(tmp_path: Path) -> None:
    data = curve_of(tmp_path / "good.csv", [(0.1 * i, 1.0, 1e-7) for i in range(8)])
    data["curves"] *= 2
    data["device"]["preset"] = "device_q"
    (found,) = problems_of(data, tmp_path)
    assert found.startswith("device.preset")


def test_what_is_wrong_with_an_experiment_on_every_device_is_said_once(tmp_path: Path) -> None:
    data: dict[str, Any] = {
        "name": "three",
        "devices": {"P": {"preset": "device_p"}, "S": {"preset": "device_1s"}},
        "experiments": {
            "on": {
                "protocol": {"kind": "waveform", "file": "missing.csv"},
                "measurements": {"tau": {"kind": "exponential_fit", "window": "all"}},
            }
        },
        "parameters": {"device.capacitance": {}},
        "targets": [{"experiment": "on", "measurement": "tau", "value": "1 s", "uncertainty": "5 %", "source": "x"}],
    }
    (found,) = problems_of(data, tmp_path)
    assert found.startswith("experiments.on.protocol.file")
    data["experiments"] = {}
    (found,) = problems_of(data, tmp_path)
    assert found.startswith("experiments: none is given")


def test_a_parameter_of_an_unknown_experiment_is_one_error() -> None:
    file = CONFIGS / "shin2022" / "calibrate_table1.toml"
    with pytest.raises(ConfigError) as caught:
        mcdev.calibration.load_job(file, {"parameters.protocol.recovery.experiments": ["recovry"]})
    (found,) = caught.value.problems
    assert "no such; did you mean 'recovery'?" in found.message


def test_one_wrong_value_of_an_axis_is_one_error() -> None:
    data = {
        "name": "grid",
        "device": {"preset": "device_p"},
        "protocol": {"kind": "pulse", "amplitude": "3.5 V", "width": "1 s", "relaxation": "1 s"},
        "measurements": {"g": {"kind": "mean_conductance"}},
        "sweep": {"axes": {"protocol.width": ["1 s", "-1 s"], "protocol.amplitude": ["1 V", "2 V", "3 V"]}},
    }
    with pytest.raises(ConfigError) as caught:
        mcdev.build(data)
    (found,) = caught.value.problems
    assert "(sweep point 4: " in found.message
    assert found.value == "-1 s"


def test_a_value_of_no_kind_that_it_may_have_is_one_error() -> None:
    data = {"name": "x", "sweep": {"axes": {"device.friction": {"start": {}, "stop": 2, "count": 3}}}}
    with pytest.raises(ConfigError) as caught:
        mcdev.build(data)
    assert [p.message for p in caught.value.problems if p.key.endswith("start")] == ["expected a number or a string"]


def test_both_uses_read_the_shipped_files(tmp_path: Path) -> None:
    """In other units and another order, and with the columns named in the configuration, they give the same numbers."""
    shutil.copytree(CONFIGS / "examples", tmp_path / "x")
    folder = tmp_path / "x"
    sine = mcdev.load(folder / "waveform.toml")
    rows = [line.split(",") for line in (folder / "sine.csv").read_text().splitlines()[2:]]
    text = "\n".join(["Index,CH1 (mV),t_ms", *(f"{i},{float(v) * 1e3!r},{float(t) * 1e3!r}" for i, (t, v) in
                                               enumerate(rows))])  # fmt: skip
    (folder / "sine.csv").write_text(text, encoding="utf-8-sig")
    again = mcdev.load(folder / "waveform.toml", {"protocol.columns": {"time": "t_ms", "voltage": "CH1"}})
    np.testing.assert_allclose(again.protocol.time, sine.protocol.time, rtol=1e-15)
    np.testing.assert_allclose(again.protocol.voltage, sine.protocol.voltage, rtol=1e-15)
    with pytest.raises(ConfigError, match="column 1, 'Index', is not understood"):
        mcdev.load(folder / "waveform.toml")
    assert all(a < b for a, b in itertools.pairwise(sine.protocol.time))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("time (ms),voltage (mV)\n0,0\n2,750\n", ([0, 2e-3], [0, 0.75])),
        ("Time,Current,Voltage\n0,7,0\n1,7,3\n", ([0, 1], [0, 3])),
        ("\ufeff0,0\n1,1\n2,1\n", ([0, 1, 2], [0, 1, 1])),
        ("0,--\n1,1\n2,1\n", "line 1 is '0,--'"),
        ("time (s),voltage (V)\n0,0\n1,9.91e37\n", "line 3 is '1,9.91e37'"),
        ("0,0\n1,0\n1,1\n2,1\n", ([0, 1, 1, 2], [0, 0, 1, 1])),
    ],
)
def test_a_waveform_is_applied_as_it_was_meant(tmp_path: Path, text: str, expected: Any) -> None:
    (tmp_path / "w.csv").write_text(text, encoding="utf-8")
    data = {
        "name": "w",
        "device": {"preset": "device_p"},
        "protocol": {"kind": "waveform", "file": "w.csv"},
        "measurements": {"g": {"kind": "mean_conductance"}},
    }
    if isinstance(expected, str):
        with pytest.raises(ConfigError) as caught:
            mcdev.build(data, folder=tmp_path)
        assert expected in str(caught.value)
        return
    protocol: Any = mcdev.build(data, folder=tmp_path).protocol
    np.testing.assert_allclose(protocol.time, expected[0], rtol=1e-15)
    np.testing.assert_allclose(protocol.voltage, expected[1], rtol=1e-15)


@pytest.mark.parametrize(
    "header", ["time/s,Ewe/V,I/mA", "Time_s,Voltage_V,Current_mA", '"Time, s","Voltage, V","I, mA"']
)
def test_a_curve_is_fitted_in_its_own_units(tmp_path: Path, header: str) -> None:
    data = curve_of(tmp_path / "c.csv", [])
    rows = "".join(f"{t},1,{t}\n" for t in range(6))
    (tmp_path / "c.csv").write_text(f"{header}\n{rows}6,1,9.91e37\n")
    trace = resolve(data, tmp_path).traces[0]
    np.testing.assert_allclose(trace.current, [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, np.nan], rtol=1e-15)


@pytest.mark.parametrize(
    "text",
    [
        "# time_ms voltage_mV\n0,0\n2,750\n4,750\n",
        "# Time [ms]\tVoltage [mV]\n0,0\n2,750\n",
        "# ms, mV\ntime,voltage\n0,0\n2,750\n",
        "#Time (min)\n#V\n0,0\n2,1\n",
        "0,0\n# time (ms), voltage (mV)\n2,750\n",
    ],
)
def test_a_comment_that_speaks_of_other_units_is_not_passed_over(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the comment names the unit"):
        read(tmp_path, text, WAVE)


# ----------------------------------------------------------------------- as spreadsheets of other countries write


ROWS = "time (s);current (A)\n0,5;1,2e-6\n1,5;2e-6\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (ROWS.replace(",", ".").encode("utf-16"), "UTF-16, or no text: it holds bytes of zero; save it in UTF-8"),
        (ROWS.replace(",", ".").encode("utf-16-le") * 4, "UTF-16, or no text"),
        (
            b"time (s),current (A)\n0,5,1,2\n",
            "4 columns; expected 2, as in the first row (numbers with a decimal",
        ),
        (b"Time, ms,Current, uA\n0,1\n1,2\n2,3\n", 'write it like Time (ms), or like "Time, ms" in quotes'),
    ],
)
def test_what_was_found_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "scope.csv").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(said)):
        read_table(tmp_path / "scope.csv", ("time", "current"), Layout(), 1, 100)


@pytest.mark.parametrize("text", [ROWS, ROWS.replace(",", "."), ROWS.split("\n", 1)[1]])
def test_commas_and_points_before_decimals_are_read_alike(tmp_path: Path, text: str) -> None:
    (tmp_path / "scope.csv").write_text(text)
    table = read_table(tmp_path / "scope.csv", ("time", "current"), Layout(), 1, 100)
    np.testing.assert_allclose(table.values["time"], [0.5, 1.5])
    np.testing.assert_allclose(table.values["current"], [1.2e-6, 2e-6])
    assert ("numbers have a decimal comma" in table.said) == ("," in text)
